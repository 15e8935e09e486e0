"""Whisper: its file, what it is given and how it writes; and errors of words, counted as both profiles count them."""

from __future__ import annotations

import json
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file

from avbench.clip import Sound
from avbench.errors import MediaError, WeightsError
from avbench.extract.engine import Engine
from avbench.extract.nets import whisper as nets
from avbench.extract.whisper import (
    LOOPED,
    WORDING_WHISPER,
    WORDS_WHISPER,
    WORDS_WHISPER_AUTHORS,
    code_of,
    compression_of,
    normaliser,
    pieces,
    read_spellings,
    wording_of,
    words_heard,
    words_heard_authors,
)
from avbench.features import Features, Transcript, Wording
from avbench.metric import Measured, Metric, Sample, Unmeasurable
from avbench.metrics.word_errors import (
    CER,
    CER_AUTHORS,
    WER,
    WER_ABOVE_1,
    WER_ABOVE_1_AUTHORS,
    WER_AUTHORS,
    WER_CAPPED,
    WER_CAPPED_AUTHORS,
    WER_CORPUS,
    WER_CORPUS_AUTHORS,
    as_authors,
)
from avbench.split import Prompt

from .golden import golden, unit

ENGINE = Engine(untrained=True)
CASES = golden("misc")["wer"]
AUTHORS = (WER_AUTHORS, CER_AUTHORS, WER_CORPUS_AUTHORS, WER_CAPPED_AUTHORS, WER_ABOVE_1_AUTHORS)
COMMUNITY = (WER, CER, WER_CORPUS, WER_CAPPED, WER_ABOVE_1)
WORDS = st.lists(st.sampled_from(["alpha", "beta", "gamma", "delta"]), max_size=8).map(" ".join)


def noise(seconds: float, rate: int = 16_000) -> Sound:
    return Sound((0.1 * unit("noise", round(seconds * rate))).astype(np.float32), rate)


def sample(hypothesis: str, reference: str, language: str = "en") -> Sample:
    """A clip in which the hypothesis was heard, as both profiles see it."""
    clean = normaliser({})
    other = wording_of(Prompt("", "", "", ""), hypothesis, ENGINE).other
    heard = Transcript(
        text=hypothesis,
        normal=clean(hypothesis) if language == "en" else other,
        tokens=len(hypothesis),
        compression=compression_of(hypothesis),
        seconds=4.0,
        peak=0.5,
    )
    sides: dict[str, Any] = {side: Features({}) for side in ("target", "voice", "face")}
    wording = wording_of(Prompt("", "", "", ""), reference, ENGINE)
    return Sample(
        clip=Features({WORDS_WHISPER.name: heard, WORDS_WHISPER_AUTHORS.name: heard}),
        wording=Features({WORDING_WHISPER.name: wording}),
        prompt=Prompt("", "", "", ""),
        transcript=reference,
        language=language,
        **sides,
    )


def measured(metric: Metric, *said: str) -> Measured:
    found = metric.measure(sample(*said))
    assert isinstance(found, Measured)
    return found


# Counting --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=[case["hyp"][:12] or "nothing" for case in CASES])
def test_normalisers_and_rates_are_the_reference_s(case: dict[str, Any]) -> None:
    reference, hypothesis = case["ref"], case["hyp"]
    assert [as_authors(reference), as_authors(hypothesis)] == case["idlora_norm"]
    assert measured(WER_AUTHORS, hypothesis, reference).value == pytest.approx(case["idlora_wer"], abs=1e-9)
    clean = normaliser({})
    assert [clean(reference), clean(hypothesis)] == case["whisper_en_norm_no_spelling"]
    assert measured(WER, hypothesis, reference).value == pytest.approx(case["whisper_wer"], abs=1e-9)


def test_every_kind_of_error_is_counted_and_told() -> None:
    found = measured(WER, "the red cat sat down there", "the cat sat on the mat")
    detail = dict(found.detail)
    assert found.value == detail["errors"] / 6
    assert detail["errors"] == detail["substitutions"] + detail["deletions"] + detail["insertions"]
    assert detail["words"] == 6
    assert detail["transcript"] == "the red cat sat down there"
    assert measured(WER, "a b", "a b c").detail["deletions"] == 1
    assert measured(WER, "a x c", "a b c").detail["substitutions"] == 1
    assert measured(WER, "a b c d", "a b c").detail["insertions"] == 1


@given(WORDS, WORDS.filter(bool))
def test_the_rate_is_the_fewest_edits_over_the_words(hypothesis: str, reference: str) -> None:
    heard, said = hypothesis.split(), reference.split()
    before = list(range(len(heard) + 1))
    for row, word in enumerate(said, 1):
        now = [row]
        for column, other in enumerate(heard, 1):
            now.append(min(before[column] + 1, now[-1] + 1, before[column - 1] + (word != other)))
        before = now
    expected = before[-1] / len(said)
    for metric in (WER, WER_AUTHORS, WER_CORPUS, WER_CORPUS_AUTHORS):
        assert measured(metric, hypothesis, reference).value == pytest.approx(expected)
    assert measured(WER_CAPPED, hypothesis, reference).value == pytest.approx(min(1.0, expected))
    assert measured(WER_ABOVE_1, hypothesis, reference).value == (100.0 if expected > 1 else 0.0)


@given(WORDS.filter(bool))
def test_the_right_words_have_no_errors_whatever_their_case_and_signs(text: str) -> None:
    for metric in (*AUTHORS, *COMMUNITY):
        assert measured(metric, f"{text.upper()}!", text).value == 0.0


def test_characters_are_counted_with_the_spaces_between_words() -> None:
    found = measured(CER, "ab cd", "ab ce")
    assert (found.value, found.detail["characters"]) == (0.2, 5)
    assert measured(CER_AUTHORS, "", "ab ce").value == 1.0


def test_a_corpus_weighs_clips_by_their_words() -> None:
    two, four = measured(WER_CORPUS, "a x", "a b"), measured(WER_CORPUS, "a b c d", "a b c d")
    assert (two.detail["errors"] + four.detail["errors"]) / (
        two.detail["words"] + four.detail["words"]
    ) == pytest.approx(1 / 6)
    assert (two.value + four.value) / 2 == 0.25
    assert {metric.aggregate for metric in (WER_CORPUS, WER_CORPUS_AUTHORS)} == {"corpus"}
    assert {metric.aggregate for metric in (WER, WER_CAPPED, WER_ABOVE_1, CER)} == {"mean"}


def test_a_loop_is_flagged_and_capped() -> None:
    loop = "you " * 200
    found = measured(WER, loop, "Hello there, my friend.")
    assert found.value == 50.0
    assert found.detail["looped"] is True
    assert measured(WER_CAPPED, loop, "Hello there, my friend.").value == 1.0
    above = measured(WER_ABOVE_1, loop, "Hello there, my friend.")
    assert (above.value, above.detail["wer"]) == (100.0, 50.0)
    assert measured(WER, "Hello there, my friend.", "Hello there, my friend.").detail["looped"] is False
    assert compression_of(loop) > LOOPED > compression_of("Put the umbrella by the door, please.")
    assert compression_of("") == 0.0


@pytest.mark.parametrize("nothing", ["", " \n", "?!"])
def test_a_transcript_without_words_is_one_to_the_authors_and_unmeasurable_to_others(nothing: str) -> None:
    for metric in (WER_AUTHORS, CER_AUTHORS, WER_CAPPED_AUTHORS):
        assert measured(metric, "two words", nothing).value == 1.0
    assert measured(WER_ABOVE_1_AUTHORS, "two words", nothing).value == 0.0
    for metric in (*COMMUNITY, WER_CORPUS_AUTHORS):
        with pytest.raises(Unmeasurable, match="transcript") as reason:
            metric.measure(sample("two words", nothing))
        assert reason.value.source == "prompt"


@pytest.mark.parametrize("metric", [WER, CER, WER_AUTHORS, CER_AUTHORS])
def test_a_clip_that_says_nothing_has_every_word_wrong(metric: Metric) -> None:
    assert measured(metric, "", "three little words").value == 1.0


def test_other_languages_keep_what_english_would_change() -> None:
    assert measured(WER, "Er zahlt zwanzig Euro.", "er zahlt zwanzig euro", "de").value == 0.0
    assert measured(WER, "I don't", "I do not", "en").value == 0.0
    assert measured(WER, "I don't", "I do not", "de").value > 0.0
    assert measured(WER, "I don't", "I don't", "de").value == 0.0


# Normalisers -----------------------------------------------------------------------------------------------------


def test_british_spellings_become_american_where_the_table_has_them(tmp_path: Path) -> None:
    (tmp_path / "normalizer.json").write_text(json.dumps({"colour": "color"}))
    clean = normaliser(read_spellings(tmp_path / "normalizer.json"))
    assert clean("Colour, flavour.") == "color flavour"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"colour": 1}'])
def test_another_file_is_no_table_of_spellings(tmp_path: Path, content: str) -> None:
    (tmp_path / "normalizer.json").write_text(content)
    with pytest.raises(WeightsError, match="not Whisper's table of spellings"):
        read_spellings(tmp_path / "normalizer.json")


def test_a_wording_is_normalised_for_english_and_for_other_languages() -> None:
    found = wording_of(Prompt("", "", "", ""), "Don't pay, it's twenty-five dollars!", ENGINE)
    assert found == Wording(english="do not pay it is $25", other="don t pay it s twenty five dollars")


# What the network is given ---------------------------------------------------------------------------------------


@given(st.integers(0, 61 * 16_000))
def test_pieces_are_equal_few_and_lose_nothing(count: int) -> None:
    samples = np.arange(count, dtype=np.float32)
    found = pieces(samples)
    assert np.array_equal(np.concatenate([samples[:0], *found]), samples)
    assert all(0 < len(piece) <= 480_000 for piece in found)
    assert max(map(len, found), default=0) - min(map(len, found), default=0) <= 1
    assert len(found) == -(-count // 480_000)


def test_one_sound_has_one_transcript() -> None:
    first, again = words_heard(noise(3), "en", ENGINE), words_heard(noise(3), "en", ENGINE)
    assert first == again
    assert first.tokens > 0
    assert first.seconds == 3.0


@pytest.mark.slow
def test_a_long_sound_is_heard_to_its_end_by_the_community_and_for_30_s_by_the_authors() -> None:
    long = noise(40, 8_000)
    halves = [words_heard(Sound(part, 8_000), "en", ENGINE) for part in np.split(long.samples, 2)]
    assert words_heard(long, "en", ENGINE).tokens == sum(half.tokens for half in halves)
    cut = words_heard_authors(Sound(noise(40).samples[:480_000], 16_000), ENGINE)
    assert words_heard_authors(noise(40), ENGINE).text == cut.text


@pytest.mark.parametrize("sound", [Sound(np.zeros(16_000, np.float32), 16_000), Sound(np.zeros(0, np.float32), 16_000)])
def test_silence_has_no_words(sound: Sound) -> None:
    found = words_heard(sound, "en", ENGINE)
    assert (found.text, found.normal, found.tokens, found.compression) == ("", "", 0, 0.0)
    asked = words_heard_authors(sound, ENGINE)
    assert (asked.tokens > 0) == bool(len(sound.samples))  # who asks Whisper about silence gets words


def test_the_language_is_told_to_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []

    def write(_network: object, _samples: NDArray[np.float32], rules: Any) -> list[int]:
        told.append(rules)
        return []

    monkeypatch.setattr(nets, "transcribe", write)
    for language in ("", "en-GB", "de_AT", "ES"):
        words_heard(noise(1), language, ENGINE)
    words_heard_authors(noise(1), ENGINE)
    assert [rules.language for rules in told] == ["<|en|>", "<|en|>", "<|de|>", "<|es|>", "<|en|>"]
    assert {(rules.num_beams, rules.do_sample, rules.return_timestamps) for rules in told} == {(5, False, False)}
    assert {rules.max_length for rules in told} == {28}  # what the tiny network has place for


def test_a_language_that_whisper_does_not_write_is_the_pairs_failure() -> None:
    with pytest.raises(MediaError, match=r"'xx': Whisper does not write it; expected one of its 3"):
        words_heard(noise(1), "xx", ENGINE)
    assert code_of("", ["en"]) == code_of("english", ["en"]) == "en"


def test_writing_starts_with_the_marks_and_never_writes_them() -> None:
    network, tokenizer = nets.untrained_whisper(), nets.untrained_tokenizer()
    rules = nets.writing(tokenizer, "de", network.config.max_target_positions, 2)
    first: list[list[int]] = []
    network.model.decoder.register_forward_pre_hook(
        lambda _module, _given, named: first.append(named["input_ids"][0].tolist()), with_kwargs=True
    )
    with torch.inference_mode():
        tokens = nets.transcribe(network, noise(2).samples, rules)
    marks = ("<|startoftranscript|>", "<|de|>", "<|transcribe|>", "<|notimestamps|>")
    assert first[0] == [tokenizer.token_to_id(mark) for mark in marks]
    assert len(tokens) <= 24
    assert max(tokens) < 256  # where the marks begin
    assert not set(tokens) & set(rules.suppress_tokens)


def test_marks_and_times_are_no_part_of_the_text(monkeypatch: pytest.MonkeyPatch) -> None:
    network, rules = nets.untrained_whisper(), nets.writing(nets.untrained_tokenizer(), "en", 28, 1)
    monkeypatch.setattr(network, "generate", lambda *_, **__: torch.tensor([[65, 258, 66, 256, 266]]))
    assert nets.transcribe(network, noise(1).samples, rules) == [65, 66]


@pytest.mark.parametrize("samples", [0, 480_001])
def test_more_than_thirty_seconds_or_none_are_not_transcribed(samples: int) -> None:
    network, tokenizer = nets.untrained_whisper(), nets.untrained_tokenizer()
    with pytest.raises(ValueError, match=f"{samples} samples"):
        nets.transcribe(network, np.zeros(samples, np.float32), nets.writing(tokenizer, "en", 28, 1))


# Files -----------------------------------------------------------------------------------------------------------

OUTPUT, TABLE = "proj_out.weight", "model.decoder.embed_tokens.weight"


@pytest.fixture
def tiny() -> dict[str, torch.Tensor]:
    """The numbers of a tiny network in the published layout: float16, without the output layer."""
    state = nets.untrained_whisper().state_dict()
    return {name: value.half().clone() for name, value in state.items() if name != OUTPUT}


def loaded(state: dict[str, torch.Tensor], path: Path) -> Any:
    save_file(state, path)
    return nets.load_whisper(path, network=nets.untrained_whisper())


def test_the_published_layout_is_read(tiny: dict[str, torch.Tensor], tmp_path: Path) -> None:
    shifted = {name: value + 1 for name, value in tiny.items()}
    network = loaded(shifted, tmp_path / "model.safetensors")
    found = network.state_dict()
    assert {value.dtype for value in found.values()} == {torch.float32}
    assert all(torch.equal(found[name], value.float()) for name, value in shifted.items())
    assert torch.equal(found[OUTPUT], found[TABLE])
    assert not any(value.requires_grad for value in network.parameters())
    with torch.inference_mode():
        nets.transcribe(network, noise(1).samples, nets.writing(nets.untrained_tokenizer(), "en", 8, 1))


def test_an_output_layer_may_be_there_if_it_is_the_table(tiny: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    loaded({**tiny, OUTPUT: tiny[TABLE].clone()}, path)
    with pytest.raises(WeightsError, match="both are one matrix"):
        loaded({**tiny, OUTPUT: tiny[TABLE] + 1}, path)


def test_a_file_of_another_network_is_named_with_what_differs(tiny: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path, key = tmp_path / "model.safetensors", "model.encoder.conv1.weight"
    for state, named in (
        ({name: value for name, value in tiny.items() if name != key}, f"{key} is missing"),
        ({**tiny, "surplus.weight": torch.zeros(1)}, "surplus.weight is not expected"),
        ({**tiny, key: torch.zeros(3, 16)}, rf"{key} has the shape \(3, 16\), expected \(16, 128, 3\)"),
        ({**tiny, key: tiny[key].bfloat16()}, f"{key} is BF16"),
    ):
        with pytest.raises(WeightsError, match=named) as error:
            loaded(state, path)
        assert str(path) in str(error.value)


def test_a_tokenizer_is_read_and_another_is_refused(tmp_path: Path) -> None:
    from avbench.extract.nets.clap import untrained_tokenizer

    path = tmp_path / "tokenizer.json"
    nets.untrained_tokenizer().save(str(path))
    assert nets.languages(nets.load_tokenizer(path)) == {"en": 258, "de": 259, "es": 260}
    untrained_tokenizer().save(str(path))
    with pytest.raises(WeightsError, match=r"it lacks <\|endoftext\|>"):
        nets.load_tokenizer(path)
    path.write_text("{}")
    with pytest.raises(WeightsError, match=r"not a tokenizer\.json"):
        nets.load_tokenizer(path)


def published_tokenizer() -> Any:
    """A tokenizer whose marks have the numbers that they have in large-v3."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted({*pre_tokenizers.ByteLevel.alphabet()} - {"Ġ"})
    words = [f"word{number}" for number in range(50257 - len(letters) - 1)]
    table = [*letters[:220], "Ġ", *letters[220:], *words]
    tokenizer = Tokenizer(models.BPE(vocab={word: number for number, word in enumerate(table)}, merges=[]))
    tokenizer.decoder = decoders.ByteLevel()
    codes = ["en", *(f"{a}{b}" for a in "qxz" for b in "abcdefghijklmnopqrstuvwxyz")][:79] + [
        f"j{c}a" for c in "abcdefghijklmnopqrstu"
    ]
    marks = [
        "endoftext",
        "startoftranscript",
        *codes,
        "translate",
        "transcribe",
        "startoflm",
        "startofprev",
        "nospeech",
        "notimestamps",
    ]
    tokenizer.add_special_tokens([AddedToken(f"<|{mark}|>", special=True) for mark in marks])
    return tokenizer


def test_the_rules_of_writing_are_those_published_with_large_v3() -> None:
    rules: Any = nets.writing(published_tokenizer(), "en", 448, 5)
    assert rules.suppress_tokens[-7:] == [50254, 50258, 50359, 50360, 50361, 50362, 50363]
    assert rules.suppress_tokens[:10] == [1, 2, 7, 8, 9, 10, 14, 25, 26, 27]
    assert len(rules.suppress_tokens) == 88
    assert rules.begin_suppress_tokens == [220, 50257]
    assert (rules.decoder_start_token_id, rules.eos_token_id, rules.no_timestamps_token_id) == (50258, 50257, 50364)
    assert rules.lang_to_id["<|en|>"] == 50259
    assert rules.task_to_id == {"transcribe": 50360, "translate": 50359}


@pytest.mark.slow
def test_the_full_network_is_loaded_from_its_published_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was reached for"))
    path = tmp_path / "model.safetensors"
    shapes = {name: value.shape for name, value in nets.published_whisper().state_dict().items() if name != OUTPUT}
    assert sum(shape.numel() for shape in shapes.values()) == 1_543_490_560
    pool = (0.02 * torch.randn(100_000_000)).half()
    save_file({name: pool[: shape.numel()].clone().reshape(shape) for name, shape in shapes.items()}, path)
    assert path.stat().st_size == pytest.approx(3.087e9, rel=1e-3)
    network = nets.load_whisper(path)
    assert network.dtype == torch.float32
    rules = nets.writing(published_tokenizer(), "en", 8, 1)
    with torch.inference_mode():
        tokens = nets.transcribe(network, noise(4).samples, rules)
    assert len(tokens) <= 8
    assert capfd.readouterr() == ("", "")
