"""Words in a sound: how a text is said, how the words are found, and what the two scales make of it."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.clip import Sound, write_clip
from avbench.extract import WORDS_SPHINX
from avbench.extract.spelling import letters_to_phones, number_words, phones_of, words_of
from avbench.extract.words_sphinx import Segment, align, frame_goodness, is_english, to_level, word_goodness
from avbench.features import Alignment, Features, load, path_of, save
from avbench.metric import Measured, Sample, Unmeasurable
from avbench.metrics.intelligibility import GOP_SPHINX, REJECTED_BELOW, WORDS_REJECTED_SPHINX
from avbench.puppet import Voice, speak
from avbench.run import read_scores
from avbench.score import Scored, score
from avbench.split import Prompt

from .scored import pair_json, split_files

LINE = "The quick brown fox jumps over the lazy dog by the river."
OTHER = "Nobody remembers who put up that old clock near my mother's house."


@functools.cache
def spoken(text: str = LINE) -> Sound:
    speech = speak(text, Voice("en-us"), (2.5, 5.0))
    return Sound(speech.samples, speech.rate)


def same(one: Alignment, other: Alignment) -> bool:
    pairs = zip(dataclasses.astuple(one), dataclasses.astuple(other), strict=True)
    return all(np.asarray(mine).tobytes() == np.asarray(theirs).tobytes() for mine, theirs in pairs)


def alignment(*goodness: float, aligned: bool = True) -> Alignment:
    count = len(goodness)
    return Alignment(
        words=np.array([f"w{number}" for number in range(count)], dtype=np.str_),
        known=np.arange(count) != 0,
        starts=np.zeros(count, np.float32),
        ends=np.zeros(count, np.float32),
        goodness=np.array(goodness, np.float32),
        aligned=aligned,
        clip_goodness=-1.25 if aligned else 0.0,
    )


def sample(record: Alignment, transcript: str = "said", language: str = "en") -> Sample:
    sides: dict[str, Any] = {side: Features({}) for side in ("target", "voice", "face")}
    clip = Features({WORDS_SPHINX.name: record})
    return Sample(clip=clip, **sides, prompt=Prompt("", "", "", ""), transcript=transcript, language=language)


# How a text is said ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", "hello world"),
        ("Anna’s well-known “café”", "anna's well known cafe"),
        ("in 1999", "in nineteen ninety nine"),
        ("1,234 of 342", "one thousand two hundred thirty four of three hundred forty two"),
        ("the 3rd, the 20th", "the third the twentieth"),
        ("£3.50", "three point five zero pounds"),
        ("50% & more", "fifty percent and more"),
        ("Dr. Who", "doctor who"),
        ("agent 007", "agent zero zero seven"),
        ("the 1990s and the 90s", "the nineteen nineties and the nineties"),
        ("9" * 5000, "nine " * 5000),
        ("… — 漢字", ""),
        ("", ""),
    ],
)
def test_a_text_becomes_the_words_that_a_speaker_says(text: str, words: str) -> None:
    assert words_of(text) == words.split()


@given(st.text(max_size=60))
def test_any_text_becomes_words_of_letters_and_inner_apostrophes(text: str) -> None:
    for word in words_of(text):
        assert word.replace("'", "").isalpha()
        assert word.isascii()
        assert word[0] != "'" != word[-1]


@given(st.integers(0, 10**13))
def test_a_number_has_words_and_none_twice_over(number: int) -> None:
    words = number_words(number)
    assert words
    assert ("zero" in words) == (number == 0 or (number >= 10**12 and "0" in str(number)))


def test_an_unknown_word_is_pronounced_from_words_that_are_known_else_from_its_letters() -> None:
    known = {"walk": "W AO K", "sun": "S AH N", "flower": "F L AW ER", "color": "K AH L ER", "make": "M EY K"}
    assert phones_of("walked", known.get) == "W AO K T"
    assert phones_of("making", known.get) == "M EY K IH NG"
    assert phones_of("colour", known.get) == "K AH L ER"
    assert phones_of("sunflower", known.get) == "S AH N F L AW ER"
    assert phones_of("wwe", known.get).startswith("D AH B AH L Y UW")
    assert phones_of("bbc", known.get) == "B IY B IY S IY"
    assert phones_of("zib", known.get) == letters_to_phones("zib") == "Z IH B"


@given(st.text("abcdefghijklmnopqrstuvwxyz'", min_size=1, max_size=12).filter(lambda word: word.strip("'") != ""))
def test_any_word_has_phones(word: str) -> None:
    assert phones_of(word, lambda _: None).split()


# How words are found ---------------------------------------------------------------------------------------------


def test_goodness_is_the_difference_of_scores_spread_over_frames() -> None:
    path = [Segment("<sil>", 0, 2, -2.0), Segment("word", 2, 6, -20.0)]
    loop = [Segment("AH", 0, 4, -4.0), Segment("B", 4, 6, -6.0)]
    assert frame_goodness(path, loop).tolist() == [0.0, 0.0, -4.0, -4.0, -2.0, -2.0]
    with pytest.raises(ValueError, match="frame 6"):
        frame_goodness(path, loop[:1])


def test_five_frames_of_doubt_are_taken_into_a_word() -> None:
    differences = np.array([0.0, 0.0, -4.0, -4.0, -2.0, -2.0])
    assert word_goodness(differences, Segment("word", 2, 6, -20.0)) == pytest.approx(-12 / 9)
    long = np.full(500, -4.0)
    assert word_goodness(long, Segment("word", 0, 500, -9.0)) == pytest.approx(-4 * 500 / 505)


def test_a_sound_is_brought_to_one_level_unless_its_peak_forbids() -> None:
    tone = np.sin(np.arange(16_000) * 0.1).astype(np.float32)
    loud, quiet = to_level(tone * np.float32(0.5)), to_level(tone * np.float32(0.01))
    assert np.abs(loud.astype(int) - quiet).max() <= 1
    assert np.sqrt(np.mean((loud / 32767.0) ** 2)) == pytest.approx(10 ** (-26 / 20), rel=1e-3)
    click = np.zeros(16_000, np.float32)
    click[5] = 0.2
    assert to_level(click).max() == round(0.99 * 32767)


def test_the_words_of_a_line_are_found_in_order_and_right_ones_fit_better_than_others() -> None:
    right, wrong = align(spoken(), LINE), align(spoken(), OTHER)
    assert right.aligned
    assert right.words.tolist() == words_of(LINE)
    assert right.known.all()
    assert (right.ends > right.starts).all()
    assert (np.diff(right.starts) > 0).all()
    assert right.ends[-1] <= len(spoken().samples) / spoken().rate + 0.02
    assert right.clip_goodness > wrong.clip_goodness + 1
    assert (right.goodness < REJECTED_BELOW).mean() < (wrong.goodness < REJECTED_BELOW).mean()


def test_a_word_that_the_dictionary_lacks_is_found_too_and_said_to_be_unknown() -> None:
    found = align(spoken(), LINE.replace("river", "rivver"))
    assert found.aligned
    assert found.known.tolist() == [word != "rivver" for word in found.words.tolist()]


@pytest.mark.slow
def test_an_alignment_does_not_depend_on_what_was_aligned_before_nor_on_the_process() -> None:
    first = align(spoken(), LINE)
    align(spoken(OTHER), OTHER)
    align(Sound(spoken().samples * np.float32(0.05), spoken().rate), "zyxgar " + OTHER)
    assert same(first, align(spoken(), LINE))
    program = (
        "from tests.test_intelligibility import *; import hashlib\n"
        "align(spoken(OTHER), LINE)\n"
        "print(hashlib.sha256(align(spoken(), LINE).goodness.tobytes()).hexdigest())"
    )
    root = Path(__file__).resolve().parent.parent
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == hashlib.sha256(first.goodness.tobytes()).hexdigest()
    assert done.stderr == "", "the decoder is silent"


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(0, np.float32),
        np.zeros(16_000, np.float32),
        np.full(300, 0.1, np.float32),
        np.full(16_000, 1e-4, np.float32),
        np.random.default_rng(1).normal(0, 0.1, 8000).astype(np.float32),
    ],
    ids=["empty", "silent", "20 ms", "inaudible", "half a second of noise"],
)
def test_words_are_not_found_where_there_is_no_room_for_them(samples: np.ndarray[Any, Any]) -> None:
    found = align(Sound(samples, 16_000), LINE)
    assert not found.aligned
    assert len(found.words) == len(words_of(LINE))
    assert not found.goodness.any()
    assert found.clip_goodness == 0


@pytest.mark.slow
def test_silence_at_the_end_makes_a_clip_neither_better_nor_worse_and_more_speech_makes_it_worse() -> None:
    rate = spoken().rate
    longer = Sound(np.concatenate([spoken().samples, np.zeros(3 * rate, np.float32)]), rate)
    for text in (LINE, OTHER):
        assert align(longer, text).clip_goodness == pytest.approx(align(spoken(), text).clip_goodness, abs=0.15)
    more = Sound(np.concatenate([spoken().samples, spoken(OTHER).samples]), rate)
    assert align(more, LINE).clip_goodness < align(spoken(), LINE).clip_goodness - 0.5


def test_hiss_says_no_words() -> None:
    hiss = Sound(np.random.default_rng(2).normal(0, 0.003, 4 * 16_000).astype(np.float32), 16_000)
    found = align(hiss, LINE)
    assert found.clip_goodness < align(spoken(), OTHER).clip_goodness
    assert (found.goodness < REJECTED_BELOW).all()


def test_a_word_of_letters_that_are_not_said_is_found_too() -> None:
    assert align(spoken(), "hello wwe there").known.tolist() == [True, False, True]


def test_no_words_are_aligned_to_nothing() -> None:
    found = align(spoken(), "漢字!")
    assert (found.aligned, len(found.words)) == (False, 0)


def test_a_stored_alignment_is_read_as_it_was_and_belongs_to_its_text(tmp_path: Path) -> None:
    for record in (align(spoken(), LINE), align(spoken(), "")):
        save(tmp_path / "record.npz", record)
        read = load(tmp_path / "record.npz", Alignment)
        assert read is not None
        assert same(read, record)
    assert len({path_of("audio:00", "words/1", text) for text in ("", "one", "two")}) == 3


# The scales ------------------------------------------------------------------------------------------------------


def measured(answer: float | Measured) -> Measured:
    assert isinstance(answer, Measured)
    return answer


def test_a_word_below_the_bound_is_rejected_and_named() -> None:
    found = measured(
        WORDS_REJECTED_SPHINX.measure(sample(alignment(-1.0, REJECTED_BELOW, REJECTED_BELOW - 0.01, -9.0)))
    )
    assert found.value == 50.0
    assert found.detail == {"aligned": True, "words": 4, "out_of_dictionary": 1, "rejected": ["w2", "w3"]}
    assert measured(GOP_SPHINX.measure(sample(alignment(-1.0)))).value == -1.25


def test_words_that_are_not_found_are_all_rejected_and_have_no_goodness() -> None:
    lost = sample(alignment(0.0, 0.0, aligned=False))
    found = measured(WORDS_REJECTED_SPHINX.measure(lost))
    assert found.value == 100.0
    assert found.detail["aligned"] is False
    with pytest.raises(Unmeasurable, match=r"not aligned.* 2 words"):
        GOP_SPHINX.measure(lost)


@pytest.mark.parametrize("metric", [GOP_SPHINX, WORDS_REJECTED_SPHINX], ids=lambda metric: metric.name)
def test_another_language_and_an_empty_transcript_are_unmeasurable(metric: Any) -> None:
    with pytest.raises(Unmeasurable, match="'de'"):
        metric.measure(sample(alignment(-1.0), language="de"))
    with pytest.raises(Unmeasurable, match="is empty"):
        metric.measure(sample(alignment(), transcript=""))
    with pytest.raises(Unmeasurable, match="no words in English letters"):
        metric.measure(sample(alignment(), transcript="漢字"))
    assert [is_english(tag) for tag in ("en", "en-GB", "en_US", "EN", "", "English", "eng", "de", "enm")] == [
        *[True] * 7, *[False] * 2,
    ]  # fmt: skip


def test_the_cards_say_that_this_is_no_word_error_rate() -> None:
    for metric in (GOP_SPHINX, WORDS_REJECTED_SPHINX):
        assert any("not a word error rate" in confound for confound in metric.card.confounds)


# The line --------------------------------------------------------------------------------------------------------


@pytest.fixture
def scored(tmp_path: Path) -> Callable[[str, str], tuple[Scored, dict[str, Any]]]:
    """One spoken clip, scored with a transcript in a language; its rows by scale."""
    grey = np.full((60, 16, 16, 3), 128, np.uint8)
    for place in (tmp_path / "runs" / "theirs" / "said" / "a.mp4", tmp_path / "data" / "said" / "a.mp4"):
        place.parent.mkdir(parents=True)
        write_clip(place, grey, spoken())

    def run(transcript: str, language: str = "en") -> tuple[Scored, dict[str, Any]]:
        split = split_files(tmp_path / "said", [pair_json("a", transcript=transcript, language=language)])
        metrics = [GOP_SPHINX.name, WORDS_REJECTED_SPHINX.name]
        done = score(tmp_path / "runs", splits=[str(split)], metrics=metrics, data=tmp_path / "data", workers=1)
        rows = read_scores(tmp_path / "runs" / "theirs" / "said").values()
        return done, {row.scale: row for row in rows}

    return run


def test_a_changed_transcript_is_aligned_anew_and_the_old_one_is_remembered(
    scored: Callable[[str, str], tuple[Scored, dict[str, Any]]],
) -> None:
    first, rows = scored(LINE, "en")
    assert first.extracted == 1
    right = rows["gop_sphinx"].value
    second, rows = scored(OTHER, "en")
    assert second.extracted == 1
    assert rows["gop_sphinx"].value < right
    again, rows = scored(LINE, "en")
    assert again.extracted == 0
    assert rows["gop_sphinx"].value == right
    assert math.isfinite(right)


def test_a_pair_in_another_language_gets_rows_with_the_reason(
    scored: Callable[[str, str], tuple[Scored, dict[str, Any]]],
) -> None:
    _, rows = scored("Guten Tag", "de")
    assert {row.value for row in rows.values()} == {None}
    assert all("'de'" in row.failure for row in rows.values())
