"""Scoring: what is done again, what is stale, what somebody's metric may do, and what a limit leaves behind."""

from __future__ import annotations

import dataclasses
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from avbench import extract
from avbench import score as scoring
from avbench.clip import Sound, stream_sha256, write_clip
from avbench.errors import UsageError
from avbench.extract import CPU, SPEECH_ENERGY, stored_at
from avbench.metric import Card, Measured, Metric, Sample, Unmeasurable
from avbench.run import read_run, read_scores
from avbench.score import Scored, score
from avbench.workers import Progress

from .scored import pair_json, split_files

PAIRS = ("one", "two", "three")


def level(sample: Sample) -> float:
    return float(sample.clip[SPEECH_ENERGY].rms.max())


def make_metric(measure: Callable[[Sample], float | Measured] = level, **changes: object) -> Metric:
    made = Metric(
        profile="embedded",
        name="level",
        label="Level",
        unit="",
        direction="none",
        digits=2,
        tolerance=0.0,
        protocol=1,
        needs={"clip": (SPEECH_ENERGY,)},
        measure=measure,
        card=Card(question="", recipe="", source="", range="", confounds=()),
    )
    return dataclasses.replace(made, **changes)  # type: ignore[arg-type]


def not_a_number(sample: Sample) -> float:
    return float("nan")


def broken(sample: Sample) -> float:
    raise ValueError("no such thing")


def odd_detail(sample: Sample) -> Measured:
    return Measured(1.0, {"loudest": float("inf")})


def never(sample: Sample) -> float:
    raise Unmeasurable("\udcff is in its name")


LEVEL = make_metric()
PEAK = make_metric(name="peak")
NAN = make_metric(not_a_number, name="nan")
BROKEN = make_metric(broken, name="broken")
ODD = make_metric(odd_detail, name="odd")
LEVEL_TOO = make_metric()
NEVER = make_metric(never, name="never")
THIEF = make_metric(name="av_corr")


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a split `mini` of three pairs, whose clips are a second of noise, and a home of its own."""
    split_files(tmp_path / "splits" / "mini", [pair_json(name) for name in PAIRS])
    for number, name in enumerate(PAIRS):
        clip(tmp_path / "runs" / "m" / "mini" / f"{name}.mp4", number)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "home"))
    return tmp_path


def clip(path: Path, seed: int) -> None:
    noise = np.random.default_rng(seed).normal(0, 0.1, 48000).astype(np.float32)
    write_clip(path, np.zeros((25, 16, 16, 3), np.uint8), Sound(noise, 48000))


def scored(*metrics: str, limit: int | None = None, split: str = "mini") -> Scored:
    names = [f"{__name__}:{name}" for name in metrics or ("LEVEL",)]
    return score(Path("runs"), splits=[split], metrics=names, limit=limit, workers=1)


def values(scale: str = "level") -> dict[str, float | None]:
    return {row.pair: row.value for row in read_scores(Path("runs/m/mini")).values() if row.scale == scale}


def test_a_clip_that_changed_is_scored_again_and_the_others_are_not() -> None:
    first = scored()
    assert (first.scored, first.kept, first.extracted) == (3, 0, 3)
    before = values()
    clip(Path("runs/m/mini/two.mp4"), seed=9)
    again = scored()
    assert (again.scored, again.kept, again.extracted) == (1, 2, 1)
    after = values()
    assert list(after) == list(PAIRS)  # the old row is gone
    assert [after[name] == before[name] for name in PAIRS] == [True, False, True]


def test_a_clip_that_changes_between_plan_and_extraction_stores_nothing() -> None:
    path = Path("runs/m/mini/one.mp4")
    stream = scoring._Stream(stream_sha256(path, "audio"), "audio")
    clip(path, seed=9)
    with pytest.raises(UsageError, match=r"one\.mp4: changed while"):
        scoring._extract(scoring._Job(path, {stream: ("speech_energy",)}, CPU))
    assert not list(Path("home/features").rglob("*.npz"))


def test_a_new_decode_protocol_reads_no_old_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    old = stored_at("0" * 64, "audio", "speech_energy")
    monkeypatch.setattr(extract, "DECODE", 99)
    assert stored_at("0" * 64, "audio", "speech_energy") != old


def test_a_damaged_feature_is_extracted_again() -> None:
    scored()
    before = values()
    for path in Path("home/features").rglob("*.npz"):
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(bytes(content[:-7]))
    Path("runs/m/mini/scores.jsonl").unlink()
    assert scored().extracted == 3
    assert values() == before


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("NAN", r"nan on .*mp4: ValueError: value = nan"),
        ("BROKEN", r"broken on .*mp4: ValueError: no such thing"),
        ("ODD", "loudest = inf"),
        ("THIEF", "another embedded/av_corr"),
        ("level", "expected an avbench.Metric"),
        ("nothing_of_that_name", "nothing_of_that_name"),
    ],
)
def test_somebodys_metric_that_does_what_it_must_not_is_named(name: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        scored("LEVEL", name)
    assert values(name.lower()) == {}


def test_a_metric_that_stops_the_run_takes_no_other_number_with_it() -> None:
    with pytest.raises(UsageError):
        scored("LEVEL", "NAN")
    assert list(values()) == ["one"]


def test_two_metrics_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="another embedded/level"):
        score(Path("runs"), splits=["mini"], metrics=[f"{__name__}:LEVEL", f"{__name__}:LEVEL_TOO"])


def test_a_reason_that_is_not_text_is_made_readable() -> None:
    scored("NEVER")
    assert {row.failure for row in read_scores(Path("runs/m/mini")).values()} == {
        f"{name}.mp4: ? is in its name" for name in PAIRS
    }


def test_old_revisions_of_somebodys_metric_go(monkeypatch: pytest.MonkeyPatch) -> None:
    scored()
    monkeypatch.setattr(sys.modules[__name__], "LEVEL", make_metric(protocol=2))
    scored()
    rows = read_scores(Path("runs/m/mini")).values()
    assert [row.revision.split("+")[0] for row in rows] == ["level:2"] * 3


def test_scores_outlive_their_clips_but_not_their_split(place: Path) -> None:
    scored()
    before = values()
    for name in PAIRS:
        Path(f"runs/m/mini/{name}.mp4").unlink()
    assert scored().missing == 3
    assert values() == before
    split_files(place / "splits" / "mini", [pair_json(name, language="de") for name in PAIRS])
    scored()
    assert values() == {}


def test_a_limited_run_is_marked_until_every_scale_has_every_pair() -> None:
    scored("LEVEL", "PEAK", limit=1)
    assert read_run(Path("runs/m/mini")).limited_scores == 1
    scored("PEAK")
    assert read_run(Path("runs/m/mini")).limited_scores == 1
    scored("LEVEL")
    assert read_run(Path("runs/m/mini")).limited_scores == 0


def test_a_limit_on_one_scale_beside_a_whole_one_is_marked() -> None:
    scored("LEVEL")
    scored("PEAK", limit=2)
    assert read_run(Path("runs/m/mini")).limited_scores == 2


def test_a_limited_run_is_marked_before_its_first_row() -> None:
    with pytest.raises(UsageError):
        scored("NAN", limit=1)
    assert read_run(Path("runs/m/mini")).limited_scores == 1


def test_a_split_may_be_given_by_its_folder(place: Path) -> None:
    shutil.move(place / "splits" / "mini", place / "elsewhere" / "mini")
    assert scored(split="elsewhere/mini").scored == 3


def test_a_second_process_says_that_it_waits() -> None:
    notes: list[str] = []

    def report(progress: Progress) -> None:
        notes.append(progress.note)

    code = "import sys, time; from pathlib import Path; from avbench.run import lock\n"
    code += "with lock(Path('runs/m/mini'), 'score'): print(flush=True); time.sleep(2.5)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=dict(os.environ)) as other:
        assert other.stdout is not None
        other.stdout.readline()
        begun = time.monotonic()
        score(Path("runs"), splits=["mini"], metrics=[f"{__name__}:LEVEL"], workers=1, report=report)
    assert time.monotonic() - begun > 1.0
    assert any("waiting for another avbench score" in note for note in notes)
    assert list(values()) == list(PAIRS)
