"""The line: the demo split through the command line, once for each test run, and what its controls must show."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from avbench.clip import stream_sha256
from avbench.run import ScoreRow, find_runs, read_scales, read_scores
from avbench.split import load_split

from .line import Demo, avbench, environment, run_files
from .paper import compiled, needs_latex

SCALES = {"spk_sim_ge2e", "spk_sim_ge2e_ref", "face_sim_dlib", "face_sim_dlib_ref", "av_corr", "lip_motion_dlib",
    "gop_sphinx", "words_rejected_sphinx",
}  # fmt: skip


def rows_of(demo: Demo, method: str, scale: str) -> list[ScoreRow]:
    rows = [row for row in read_scores(demo.runs / method / "demo").values() if row.scale == scale]
    assert len(rows) == len(load_split("demo").pairs)
    return rows


def mean(demo: Demo, method: str, scale: str) -> float:
    return float(np.mean([row.value for row in rows_of(demo, method, scale) if row.value is not None]))


def test_the_demo_prints_a_row_for_every_control_with_every_column(demo: Demo) -> None:
    assert len(demo.methods) >= 6
    for run in find_runs(demo.runs):
        assert {scale.name for scale in read_scales(run.folder).values()} >= SCALES
    csv = avbench("table", "--runs", demo.runs, "--format", "csv", home=demo.home)
    lines = csv.stdout.splitlines()
    assert len(lines) == 1 + len(demo.methods)
    assert set(lines[0].split(",")) >= SCALES
    assert {f"{scale}_n" for scale in SCALES} <= set(lines[0].split(","))


def test_the_printed_table_carries_signatures_and_says_that_it_ranks_nothing(demo: Demo) -> None:
    assert demo.stdout.count("avbench|") >= len(SCALES)
    assert load_split("demo").label in demo.stdout
    assert "ranks nothing" in " ".join(demo.stdout.split())  # the caption is wrapped


def test_streams_that_a_control_leaves_alone_score_exactly_as_the_truth(demo: Demo) -> None:
    for method, scales in {
        "shifted@frames=2": ["face_sim_dlib", "face_sim_dlib_ref", "lip_motion_dlib"],
        "shifted@frames=8": ["face_sim_dlib", "face_sim_dlib_ref", "lip_motion_dlib"],
        "replay": ["face_sim_dlib", "face_sim_dlib_ref", "lip_motion_dlib"],
        "still": ["spk_sim_ge2e", "spk_sim_ge2e_ref"],
    }.items():
        for scale in scales:
            theirs = [row.value for row in rows_of(demo, method, scale)]
            assert theirs == [row.value for row in rows_of(demo, "truth", scale)], (method, scale)


def test_the_truth_is_its_own_target(demo: Demo) -> None:
    for scale in ("spk_sim_ge2e", "face_sim_dlib"):
        assert [row.value for row in rows_of(demo, "truth", scale)] == pytest.approx([1.0] * 16, abs=1e-5)


def test_shifted_loses_av_corr_as_the_shift_grows(demo: Demo) -> None:
    truth, near, far = (mean(demo, method, "av_corr") for method in ("truth", "shifted@frames=2", "shifted@frames=8"))
    assert truth > near + 0.1
    assert near > far + 0.05


@pytest.mark.parametrize("frames", [2, 8])
def test_av_offset_finds_the_shift_within_a_frame_for_most_clips(demo: Demo, frames: int) -> None:
    true = [row.detail["av_offset"] for row in rows_of(demo, "truth", "av_corr") if row.value is not None]
    found = [
        row.detail["av_offset"] for row in rows_of(demo, f"shifted@frames={frames}", "av_corr") if row.value is not None
    ]
    assert np.mean([abs(offset) <= 1 for offset in true]) > 0.75
    assert np.mean([abs(offset + frames) <= 1 for offset in found]) > 0.75  # negative: the sound is late


def test_a_still_has_under_a_third_of_the_truths_lip_motion(demo: Demo) -> None:
    assert mean(demo, "still", "lip_motion_dlib") < mean(demo, "truth", "lip_motion_dlib") / 3


def test_a_stranger_has_the_lowest_voice_and_face_similarity(demo: Demo) -> None:
    for scale in ("spk_sim_ge2e", "spk_sim_ge2e_ref", "face_sim_dlib", "face_sim_dlib_ref"):
        # espeak-ng's own voice is a man's, further from the demo's eight women than they are from one another.
        plain = {"classical@voice=plain"} if scale.startswith("spk") else set()
        others = [mean(demo, method, scale) for method in demo.methods if method not in {"stranger", *plain}]
        assert mean(demo, "stranger", scale) < min(others), scale


def test_a_voice_matched_to_the_reference_is_nearer_to_it_than_a_plain_one_and_than_a_strangers(demo: Demo) -> None:
    scale = "spk_sim_ge2e_ref"
    matched, plain = mean(demo, "classical", scale), mean(demo, "classical@voice=plain", scale)
    assert mean(demo, "replay", scale) > mean(demo, "truth", scale) > matched + 0.05
    assert matched > plain + 0.1
    assert matched > mean(demo, "stranger", scale) + 0.05
    better = [
        one.value > other.value
        for one, other in zip(
            rows_of(demo, "classical", scale), rows_of(demo, "classical@voice=plain", scale), strict=True
        )
        if one.value is not None and other.value is not None
    ]
    assert np.mean(better) > 0.8


def test_lips_of_the_cascade_move_with_its_sound_and_frozen_ones_do_not(demo: Demo) -> None:
    still = mean(demo, "still", "lip_motion_dlib")
    assert mean(demo, "classical@mouth=frozen", "lip_motion_dlib") < still + 0.2
    for method in ("classical", "classical@voice=plain"):
        assert mean(demo, method, "av_corr") > 0.4
        assert mean(demo, method, "lip_motion_dlib") > 3 * still
    for method in ("classical@mouth=frozen", "still"):
        assert abs(mean(demo, method, "av_corr")) < 0.1


def test_a_frozen_mouth_changes_nothing_that_is_heard(demo: Demo) -> None:
    for scale in ("spk_sim_ge2e", "spk_sim_ge2e_ref"):
        heard = [[row.value for row in rows_of(demo, name, scale)] for name in ("classical", "classical@mouth=frozen")]
        assert heard[0] == heard[1]
    for pair in load_split("demo").pairs:
        clips = [demo.runs / name / "demo" / f"{pair.id}.mp4" for name in ("classical", "classical@mouth=frozen")]
        assert stream_sha256(clips[0], "audio") == stream_sha256(clips[1], "audio")


def test_the_cascade_says_its_line_and_a_replay_and_a_stranger_do_not(demo: Demo) -> None:
    rejected = {method: mean(demo, method, "words_rejected_sphinx") for method in demo.methods}
    others = min(rejected["replay"], rejected["stranger"])
    for method in ("classical", "classical@voice=plain", "classical@mouth=frozen"):
        assert rejected[method] < 0.7 * others, method
    assert rejected["classical"] == rejected["classical@mouth=frozen"]


def test_the_cascade_keeps_the_face(demo: Demo) -> None:
    for method in ("classical", "classical@voice=plain", "classical@mouth=frozen"):
        assert mean(demo, method, "face_sim_dlib_ref") > mean(demo, "stranger", "face_sim_dlib_ref") + 0.05


def test_a_replay_keeps_the_voice(demo: Demo) -> None:
    assert mean(demo, "replay", "spk_sim_ge2e_ref") > 0.99
    assert mean(demo, "replay", "spk_sim_ge2e") > mean(demo, "stranger", "spk_sim_ge2e") + 0.1


def test_no_row_is_both_or_neither_value_and_failure(demo: Demo) -> None:
    for run in find_runs(demo.runs):
        for row in read_scores(run.folder).values():
            assert (row.value is None) != (row.failure is None)


def test_scoring_again_extracts_nothing_and_changes_nothing(demo: Demo) -> None:
    before = run_files(demo.runs)
    again = avbench("score", demo.runs, home=demo.home)
    assert "0 clips scored" in again.stderr
    assert "0 streams extracted" in again.stderr
    assert run_files(demo.runs) == before


@pytest.mark.slow
def test_a_limited_run_is_marked_and_no_table_takes_it_unasked(demo: Demo, tmp_path: Path) -> None:
    runs = tmp_path / "runs"
    for method in ("truth", "still"):
        limit = ("--limit", 2) if method == "still" else ()
        avbench("generate", "--method", method, "--runs", runs, *limit, home=demo.home)
    avbench("score", runs, "--metric", "lip_motion_dlib", home=demo.home)
    unasked = avbench("table", "--runs", runs, "--format", "csv", home=demo.home)
    assert [line.split(",")[0] for line in unasked.stdout.splitlines()[1:]] == ["truth"]
    assert "still" in unasked.stderr
    asked = avbench("table", "--runs", runs, "--format", "csv", "--method", "still", home=demo.home)
    assert asked.stdout.splitlines()[1].startswith("still,")
    avbench("generate", "--method", "still", "--runs", runs, home=demo.home)
    avbench("score", runs, "--metric", "lip_motion_dlib", home=demo.home)
    whole = avbench("table", "--runs", runs, "--format", "csv", home=demo.home)
    assert len(whole.stdout.splitlines()) == 3


@needs_latex
def test_the_demos_latex_compiles(demo: Demo, tmp_path: Path) -> None:
    table = avbench("table", "--runs", demo.runs, "--format", "latex", home=demo.home)
    compiled(tmp_path, table.stdout)
    assert (tmp_path / "paper.pdf").is_file()


def test_a_laptop_without_torch_prints_the_same_table_from_the_score_files(
    demo: Demo, laptop: Path, tmp_path: Path
) -> None:
    for run in find_runs(demo.runs):
        there = tmp_path / "runs" / run.method / run.split
        there.mkdir(parents=True)
        for name in ("run.json", "scores.jsonl", "scales.json"):  # no clips
            shutil.copy(run.folder / name, there)
    arguments = ["-m", "avbench", "table", "--runs", str(tmp_path / "runs"), "--format", "latex"]
    done = subprocess.run(
        [str(laptop), *arguments], env=environment(tmp_path / "home"), capture_output=True, text=True, check=True
    )
    assert done.stdout == avbench("table", "--runs", demo.runs, "--format", "latex", home=demo.home).stdout
    torch = subprocess.run([str(laptop), "-c", "import torch"], capture_output=True, text=True, check=False)
    assert "ModuleNotFoundError" in torch.stderr
