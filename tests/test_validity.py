"""bench/validity.py: its arithmetic by hand, its choice of pairs and texts, its figures on features that are known."""

from __future__ import annotations

import csv
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench import weights
from avbench.clip import Sound, write_audio
from avbench.errors import WeightsError
from avbench.features import Alignment, Record, SpeechEnergy
from avbench.features import Voice as VoiceRecord
from avbench.prepare.manifest import MANIFEST, Entry, read_manifest
from avbench.puppet import Voice, speak

from .test_metrics import face, faces_with, points_of, sounding, syllables

PROGRAM = Path(__file__).resolve().parent.parent / "bench" / "validity.py"
REAL = Path(os.environ.get("AVBENCH_REAL_MEDIA", "no-such-folder"))

numbers = st.lists(st.integers(-3, 3).map(float) | st.just(-np.inf), min_size=1, max_size=12)


def program() -> Any:
    """The module; programs are in no package."""
    spec = importlib.util.spec_from_file_location("validity", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["validity"] = module
    spec.loader.exec_module(module)
    return module


with pytest.MonkeyPatch.context() as environment:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        environment.setenv(name, os.environ.get(name, "1"))  # which the program sets; afterwards as it was
    validity = program()


def entry(kind: str, person: str, source: str = "", text: str = "", sync: str = "ok", by: str = "") -> Entry:
    return Entry(Path(f"/{kind}-{person}-{source}"), kind, person, text, by, "en", sync, source)


def figures(scale: str, entries: Sequence[Entry], made: Any) -> dict[str, Any]:
    """The values of one scale's figures, from what `made` answers in place of the workers."""
    media = validity.Media(list(entries))
    return dict(validity.PARTS[scale].figures(media, made))


# Arithmetic ------------------------------------------------------------------------------------------------------


def test_auc_by_hand() -> None:
    assert validity.auc([2, 3], [0, 1]) == 1
    assert validity.auc([0, 1], [2, 3]) == 0
    assert validity.auc([1, 3], [2]) == 0.5
    assert validity.auc([1], [1]) == 0.5
    assert validity.auc([1, 2, 2], [1, 2]) == pytest.approx(3.5 / 6)
    assert validity.auc([-np.inf, 1], [-np.inf]) == 0.75
    assert validity.auc([], [1]) is None
    assert validity.auc([1], []) is None


@given(high=numbers, low=numbers)
def test_auc_turned_round_is_one_minus_itself_and_counts_pairs(high: list[float], low: list[float]) -> None:
    counted = sum((one > other) + (one == other) / 2 for one in high for other in low) / (len(high) * len(low))
    assert validity.auc(high, low) == pytest.approx(counted)
    assert validity.auc(high, low) + validity.auc(low, high) == pytest.approx(1)


def test_equal_error_rate_by_hand() -> None:
    assert validity.equal_error_rate([3, 4], [1, 2]) == 0
    assert validity.equal_error_rate([1, 2], [3, 4]) == 1
    assert validity.equal_error_rate([1, 2, 3, 4], [0, 0, 0, 2.5]) == 0.25  # at 2: one of four on either side
    assert validity.equal_error_rate([1, 5, 6, 7, 8], [0, 0, 0, 0, 2]) == pytest.approx(0.2)
    assert validity.equal_error_rate([1, 5], [0, 0, 0, 2]) == 0.25 / 2  # at 1 and 2 they are as near: the smaller
    assert validity.equal_error_rate([1], []) is None


@given(same=numbers, different=numbers)
def test_equal_error_rate_is_a_share_and_follows_any_rising_scale(same: list[float], different: list[float]) -> None:
    rate = validity.equal_error_rate(same, different)
    assert 0 <= rate <= 1
    assert validity.equal_error_rate(np.arctan(same), np.arctan(different)) == rate


@pytest.mark.parametrize(
    ("spoken", "heard", "errors"),
    [("kitten", "sitting", 3), ("", "abc", 3), ("abc", "", 3), ("abc", "abc", 0), ("abcd", "acbd", 2)],
)
def test_word_errors_by_hand(spoken: str, heard: str, errors: int) -> None:
    assert validity.word_errors(list(spoken), list(heard)) == errors


# Form ------------------------------------------------------------------------------------------------------------


def test_a_line_has_five_fields_and_a_bar_is_met_where_it_is_reached() -> None:
    assert validity.line("face.auc", validity.Figure(0.995, "3/40")) == "face.auc 0.9950 >=0.995 pass 3/40"
    assert validity.line("face.auc", validity.Figure(0.99499, "3/40")).split()[3] == "short"
    assert validity.line("voice.eer", validity.Figure(0.06, "1/1")) == "voice.eer 0.0600 <=0.06 pass 1/1"
    assert validity.line("voice.eer", validity.Figure(0.061, "1/1")).split()[3] == "short"
    assert validity.line("face.missing", validity.Figure(0.0, "7")) == "face.missing 0.0000 <=0 pass 7"
    assert validity.line("face.auc", validity.Figure(None, "0/0")).startswith("# face.auc")


def test_every_bar_has_its_figure_in_the_order_of_the_table_and_nothing_is_measured_on_nothing() -> None:
    found = [item for scale in validity.PARTS for item in figures(scale, [], None).items()]
    assert [name for name, _ in found] == list(validity.BARS)
    assert {figure.value for _, figure in found} == {None}
    assert all(name.startswith(f"{scale}.") for scale in validity.PARTS for name in figures(scale, [], None))


def test_a_folder_that_cannot_be_used_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert validity.main([str(tmp_path)]) == 2
    assert MANIFEST in capsys.readouterr().err
    (tmp_path / MANIFEST).write_text("path,kind,person_id\n")
    assert validity.main([str(tmp_path), "--only", "faces"]) == 2
    assert "no figure begins so" in capsys.readouterr().err
    assert validity.main([str(tmp_path), "--only", "face"]) == 2
    said = capsys.readouterr()
    assert "nothing to measure" in said.err
    assert all(line.startswith("# ") for line in said.out.splitlines())


# Who and what ----------------------------------------------------------------------------------------------------


def test_pairs_of_one_person_are_split_by_source_and_nobody_is_no_person() -> None:
    entries = [
        entry("clip", "ann", "a"),
        entry("clip", "ann", "a"),
        entry("speech", "ann", "b"),
        entry("clip", "ben", "c"),
        entry("clip", "", "d"),
        entry("clip", "", "d"),
    ]
    places = range(len(entries))
    assert validity.same_pairs(entries, places) == ([(0, 2), (1, 2)], [(0, 1)])
    assert validity.different_pairs(entries, places) == [(0, 3), (1, 3), (2, 3)]


def test_pieces_of_one_recording_count_only_where_there_is_too_little_else() -> None:
    few = [entry("clip", "ann", "a"), entry("clip", "ann", "a"), entry("clip", "ben", "b")]
    many = [*few, *(entry("clip", "cat", f"c{number}") for number in range(7))]  # 21 pairs
    faces = {"ann": face((1.0, 0.0)), "ben": face((0.0, 1.0)), "cat": face((-1.0, 0.0))}
    for entries, n in ((few, "1/2"), (many, "21/23")):
        made = {one.path: faces[one.person] for one in entries}
        found = figures("face", entries, lambda job, made=made: made[job.path])
        assert found["face.auc"] == (1.0, n)


@pytest.mark.parametrize(
    ("text", "fits"),
    [("bin blue at f two now", True), ("bin blue at w two now", False), ("bin blue at f two now now", False)],
)
def test_a_grid_sentence_has_six_slots(text: str, fits: bool) -> None:
    assert validity.fits_grid(text.split()) is fits


@settings(max_examples=60)
@given(
    words=st.lists(st.sampled_from(["lay", "white", "with", "fresh", "snow", "peas"]), min_size=4, max_size=20),
    seed=st.integers(0, 10_000),
)
def test_a_near_miss_replaces_a_quarter_by_words_that_are_not_in_the_text(words: list[str], seed: int) -> None:
    pool = ["again", "bluish", "thick", "now", "fresh"]
    changed, replaced = validity.near_miss(words, pool, seed)
    assert [one != other for one, other in zip(changed, words, strict=True)] == replaced
    assert sum(replaced) == max(1, round(len(words) / 4))
    assert not {word for word, new in zip(changed, replaced, strict=True) if new} & set(words)
    assert validity.near_miss(words, pool, seed) == (changed, replaced)


def test_no_word_is_replaced_by_one_that_is_spelt_like_it() -> None:
    words, pool = ["and", "his", "and", "his"], ["end", "is", "the"]
    changed = [validity.near_miss(words, pool, seed)[0] for seed in range(40)]
    changes = {pair for one in changed for pair in zip(words, one, strict=True) if pair[0] != pair[1]}
    assert changes == {("and", "is"), ("and", "the"), ("his", "end"), ("his", "the")}
    assert validity.near_miss(["and"] * 4, ["end"], 0) == (["and"] * 4, [False] * 4)


def test_only_english_texts_of_four_words_that_somebody_vouches_for_are_held_against_sounds() -> None:
    said = "set blue by two"
    entries = [
        entry("clip", "ann", text=said),
        entry("speech", "ann", text=said, by="a standard prompt, read"),
        entry("speech", "ann", text="too few words"),
        entry("speech", "ann", text=said, by="PROMPTED text"),
        entry("speech", "ann", text=said, by="keywords asserted in a test"),
        entry("clip_generated", "ann", text=said),
        entry("speech", "ann", text=said)._replace(language="de"),
    ]
    assert sorted(validity._texts(validity.Media(entries))) == [0, 1]


# Figures on features that are known ------------------------------------------------------------------------------


def test_who_cannot_be_found_is_missing_and_the_worst_of_pairs() -> None:
    entries = [entry("clip", who, str(number)) for number, who in enumerate(["ann", "ann", "ben", "ben"])]
    entries += [entry("face_negative", ""), entry("clip_nospeech", ""), entry("clip_nospeech", "cat")]
    faces = [face((1.0, 0.0)), face((1.0, 0.1)), face((0.0, 1.0)), face(found=0), face(found=0), face((1.0, 0.0))]
    made = {one.path: faces[place] for place, one in enumerate(entries[:6])}
    found = figures("face", entries, lambda job: made[job.path])
    assert found["face.missing"] == (0.25, "4")
    assert found["face.coverage"] == (0.75, "4")
    assert found["face.false"] == (0.5, "2")
    assert found["face.auc"] == (0.5, "2/4")  # the pair with a missing face is below all others


def test_noise_on_one_side_is_heard_from_each_side() -> None:
    entries = [entry("speech", who, str(number)) for number, who in enumerate(["ann", "ann", "ben"])]
    asked = []

    def made(job: Any) -> VoiceRecord:
        asked.append((job.path, job.damage, job.seed))
        vector = (0.0, 1.0) if "ben" in job.path.name else (1.0, 0.0)
        return VoiceRecord(np.array(vector, np.float32), 3.0, 0.5)

    assert {figure.n for figure in figures("voice", entries, made).values()} == {"1/2"}
    sides = {(one[:2], other[:2]) for one, other in zip(asked[::2], asked[1::2], strict=True)}
    first, last = (entries[place].path for place in (0, 2))
    assert {((first, "noise"), (last, "")), ((last, "noise"), (first, ""))} < sides
    noisy = {(path, seed) for path, damage, seed in asked if damage == "noise"}
    assert len(noisy) == 3 * validity.DRAWS
    wanted = {(job.path, job.damage, job.seed) for job in validity.PARTS["voice"].jobs(validity.Media(entries))}
    assert set(asked) == wanted


def test_a_mouth_in_step_passes_every_bar_of_av_corr_and_one_that_is_late_misses_its_offset() -> None:
    entries = [entry("clip", str(number)) for number in range(4)] + [entry("clip", "unsure", sync="offset?")]
    openings = [syllables(150, number) for number in range(4)]

    def made_with(late: int) -> Any:
        def made(job: Any) -> Record:
            opening = openings[int(job.path.name.split("-")[1])]
            if job.feature == "faces_dlib":
                return faces_with(points_of(10 * opening))
            shift = late + int(job.damage.removeprefix("noise") or 0)
            rms = sounding(opening).rms
            return SpeechEnergy(np.roll(rms, shift))

        return made

    good = figures("av_corr", entries, made_with(0))
    assert {name: figure.value for name, figure in good.items()} == dict.fromkeys(good, 1.0)
    assert [good[f"av_corr.{name}"].n for name in ("offset", "imposed", "above_others")] == ["4", "16", "12"]
    late = figures("av_corr", entries, made_with(4))
    assert late["av_corr.offset"].value == 0
    assert late["av_corr.imposed"].value == 0


def test_lips_are_held_against_both_stills_and_ratios_are_medians() -> None:
    entries = [entry("clip", str(number)) for number in range(3)]
    sizes = {"": [10] * 3, "crf35": [9, 5, 10], "half": [7, 8, 8], "frozen": [0] * 3, "swayed": [12] * 3}

    def made(job: Any) -> Record:
        return faces_with(points_of(sizes[job.damage][int(job.path.name.split("-")[1])] * syllables(100, 3)))

    found = figures("lip_motion", entries, made)
    assert found["lip_motion.above_frozen"] == (1.0, "3")
    assert found["lip_motion.auc_still"] == (0.5, "3/6")
    assert found["lip_motion.ratio_crf35"].value == pytest.approx(0.9, abs=0.01)
    assert found["lip_motion.ratio_half"].value == pytest.approx(0.8, abs=0.01)


def test_words_count_by_their_own_goodness_and_a_clip_that_is_not_aligned_is_the_worst() -> None:
    texts = ["six spoons of peas", "five thick slabs of blue cheese", "a snack for her brother bob"]
    entries = [entry("speech", str(number), text=text) for number, text in enumerate(texts)]

    def made(job: Any) -> Record:
        words = job.text.split()
        spoken = texts[int(job.path.name.split("-")[1])].split()
        goodness = np.array([-1.0 if word in spoken else -9.0 for word in words], np.float32)
        loud = job.damage == "" or spoken[0] == "six"
        aligned = loud and set(words) & set(spoken) - {"of"} != set()
        zeros = np.zeros(len(words), np.float32)
        return Alignment(
            words=np.array(words),
            known=np.ones(len(words), bool),
            starts=zeros,
            ends=zeros,
            goodness=goodness if aligned else zeros,
            aligned=aligned,
            clip_goodness=float(goodness.mean()) if aligned else 0.0,
        )

    found = figures("speech", entries, made)
    assert found["speech.auc_wrong"] == (1.0, "3/6")
    assert found["speech.auc_near_miss"] == (1.0, f"3/{3 * validity.DRAWS}")
    assert found["speech.auc_words"].value == 1
    assert found["speech.rejected_right"].value == 0
    assert found["speech.rejected_replaced"].value == 1
    # In noise one sound of three aligns: of the right texts one lies above all wrong ones, two tie with them; of the words
    # 3 of 4 and 4 of 6 are kept in each draw, so 3 (aligned) and 8 (not) are held against 1 and 4.
    assert found["speech.auc_wrong_10db"].value == pytest.approx((1 * 6 + 2 * 6 / 2) / (3 * 6))
    assert found["speech.auc_words_10db"].value == pytest.approx((3 * (1 + 4) + 8 * 4 / 2) / (11 * 5))
    assert found["speech.wer_grid"].value is None


def test_one_figure_that_falls_short_ends_the_program_with_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{number},clip,{who}" for number, who in enumerate(["ann", "ann", "ben", "ben"])]
    (tmp_path / MANIFEST).write_text("\n".join(["path,kind,person_id", *rows]))
    for number in range(4):
        (tmp_path / str(number)).write_bytes(b".")
    for last, status in ((face((0.1, 1.0)), 0), (face((0.1, 1.0), found=3), 1)):
        faces = [face((1.0, 0.0)), face((1.0, 0.1)), face((0.0, 1.0)), last]
        of_job = {
            job: faces[int(job.path.name)]
            for job in validity.PARTS["face"].jobs(validity.Media(read_manifest(tmp_path)))
        }
        monkeypatch.setattr(validity, "_extracted", lambda *_, made=of_job: made)
        assert validity.main([str(tmp_path), "--only", "face"]) == status


# Damage ----------------------------------------------------------------------------------------------------------


def sound(seconds: float = 2.0, rate: int = 16_000) -> Sound:
    samples = 0.1 * np.random.default_rng(5).standard_normal(round(seconds * rate))
    return Sound(samples.astype(np.float32), rate)


def damaged_sound(damage: str, seed: int = 0) -> Sound:
    job = validity.Job(Path(), "audio", "voice_ge2e", damage, seed)
    result: Sound = validity._damaged_sound(job, sound())
    return result


def test_noise_is_ten_decibels_below_the_sound_and_follows_its_seed() -> None:
    clean = sound().samples.astype(np.float64)
    noise = damaged_sound("noise").samples - clean
    assert 10 * np.log10(np.mean(clean**2) / np.mean(noise**2)) == pytest.approx(10, abs=0.1)
    assert np.array_equal(damaged_sound("noise").samples, damaged_sound("noise").samples)
    assert not np.array_equal(damaged_sound("noise").samples, damaged_sound("noise", seed=1).samples)


@pytest.mark.parametrize("frames", [-10, -3, 6])
def test_a_late_sound_begins_with_silence_and_keeps_its_length(frames: int) -> None:
    clean, moved = sound().samples, damaged_sound(f"{frames:+}").samples
    step = frames * 640  # 16 kHz, 25 frames a second
    assert len(moved) == len(clean)
    if frames > 0:
        assert np.array_equal(moved[step:], clean[:-step])
        assert not moved[:step].any()
    else:
        assert np.array_equal(moved[:step], clean[-step:])
        assert not moved[step:].any()


def test_a_swaying_still_moves_as_a_whole() -> None:
    """Two dots keep their distance while they travel and turn."""
    still = np.zeros((120, 160, 3), np.uint8)
    dots = ((40, 60), (80, 110))  # rows, columns
    for row, column in dots:
        still[row - 2 : row + 3, column - 2 : column + 3] = 255
    frames = validity.swayed(still, 75, seed=3)
    assert frames.shape == (75, 120, 160, 3)
    offset = np.array([0, 85])
    places = np.stack([centre(frames[:, :, :85]), centre(frames[:, :, 85:]) + offset], axis=1)  # (T, 2, 2)
    distance = np.linalg.norm(places[:, 1] - places[:, 0], axis=1)
    assert distance == pytest.approx(np.hypot(40, 50), abs=0.3)
    travel = np.ptp(places[:, 0], axis=0)
    assert travel.max() > 2
    assert np.abs(np.diff(places, axis=0)).max() < 1.0, "slowly"
    angle = np.degrees(np.arctan2(*(places[:, 1] - places[:, 0]).T))
    assert 2 < np.ptp(angle) <= 2 * validity.TILT + 0.5
    assert np.array_equal(frames, validity.swayed(still, 75, seed=3))
    assert not np.array_equal(frames, validity.swayed(still, 75, seed=4))


def centre(frames: Any) -> Any:
    """(T, 2) rows and columns of the centre of what is bright."""
    light = frames[..., 0].astype(float)
    rows, columns = np.indices(light.shape[1:])
    mass = light.sum(axis=(1, 2))
    return np.stack([(light * rows).sum(axis=(1, 2)) / mass, (light * columns).sum(axis=(1, 2)) / mass], axis=1)


@pytest.mark.parametrize("size", [(48, 64), (47, 63)])
def test_pictures_are_halved_and_compressed(size: tuple[int, int]) -> None:
    frames = np.random.default_rng(0).integers(0, 256, (4, *size, 3), dtype=np.uint8)
    halved = damaged_video("half", frames)
    assert halved.shape == (4, size[0] // 2, size[1] // 2, 3)
    assert damaged_video("crf35", frames).shape == (4, size[0] // 2 * 2, size[1] // 2 * 2, 3)
    assert np.array_equal(damaged_video("", frames), frames)
    if size == (48, 64):
        expected = frames.reshape(4, 24, 2, 32, 2, 3).mean(axis=(2, 4))
        assert np.abs(halved - expected).max() <= 1
        grey = np.repeat(frames[..., :1], 3, axis=3)  # colours are stored at half the resolution anyway
        hard, mild = (np.abs(validity._encoded(grey, crf).astype(float) - grey).mean() for crf in (35, 18))
        assert hard > 1.5 * mild
    (stored,) = damaged_video("jpeg20", frames[:1])
    assert stored.shape == (*size, 3)
    assert 1 < np.abs(stored.astype(float) - frames[0]).mean() < 80


def damaged_video(damage: str, frames: Any) -> Any:
    return validity._damaged_video(validity.Job(Path(), "video", "faces_dlib", damage), frames)


# The program -----------------------------------------------------------------------------------------------------


def lines_of(folder: Path, only: str, workers: int) -> tuple[int, list[str]]:
    command = [sys.executable, str(PROGRAM), str(folder), "--only", only, "--workers", str(workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, done.stdout.splitlines()


def judged(returncode: int, lines: Sequence[str]) -> dict[str, list[str]]:
    """The figures by name; the lines must be in form, and the exit status that of the worst."""
    rows = {line.split()[0]: line.split() for line in lines if not line.startswith("#")}
    for name, (_, value, bar, verdict, n) in rows.items():
        assert bar == f"{validity.BARS[name].side}{validity.BARS[name].limit:g}"
        assert verdict == ("pass" if validity.BARS[name].holds(float(value)) else "short")
        assert n.replace("/", "").isdigit()
    assert returncode == any(row[3] == "short" for row in rows.values())
    return rows


@pytest.mark.slow
def test_synthetic_voices_are_told_apart_by_the_program(tmp_path: Path) -> None:
    try:
        weights.ensure(["ge2e-resemblyzer", "silero-vad"])
    except WeightsError as error:
        pytest.skip(f"no speaker encoder: {str(error).splitlines()[0][:120]}")
    rows = ["path,kind,person_id"]
    for voice in ("en-us+m1", "en-us+f2"):
        for number, text in enumerate(("The quick brown fox jumps over the dog.", "Six spoons of fresh snow peas.")):
            speech = speak(text, Voice(voice), (2.5, 4.5))
            name = f"{voice[-2:]}{number}.wav"
            write_audio(tmp_path / name, Sound(speech.samples, speech.rate))
            rows.append(f"{name},speech,{voice[-2:]}")
    (tmp_path / MANIFEST).write_text("\n".join(rows))
    found = judged(*lines_of(tmp_path, "voice.auc", workers=1))
    assert {name: row[4] for name, row in found.items()} == dict.fromkeys(
        ("voice.auc", "voice.auc_ungated", "voice.auc_10db_both", "voice.auc_10db"), "2/4"
    )
    assert float(found["voice.auc"][1]) > 0.8


@pytest.mark.real
@pytest.mark.slow
def test_the_same_lines_for_any_number_of_workers_on_real_clips(tmp_path: Path) -> None:
    if not (REAL / MANIFEST).is_file():
        pytest.skip("no clips of real people: AVBENCH_REAL_MEDIA names no folder that has them")
    with (REAL / MANIFEST).open(newline="", encoding="utf-8") as file:
        clips = [row for row in csv.DictReader(file) if row["kind"] == "clip" and row.get("sync") == "ok"][:3]
    with (tmp_path / MANIFEST).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, clips[0].keys())
        writer.writeheader()
        for number, row in enumerate(clips):
            (tmp_path / f"{number}.mp4").symlink_to(REAL / row["path"])
            writer.writerow({**row, "path": f"{number}.mp4"})
    returncode, lines = lines_of(tmp_path, "lip_motion", workers=1)
    assert lines_of(tmp_path, "lip_motion", workers=2) == (returncode, lines)
    found = judged(returncode, lines)
    assert len(found) == 4
    assert found["lip_motion.above_frozen"][1] == "1.0000"
    assert found["lip_motion.auc_still"][4] == "3/6"
