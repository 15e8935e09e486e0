"""Kills: twenty during `generate`, twenty during `score`; running again ends with exactly the undisturbed files."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from avbench.run import read_scores

from .line import COMMAND, Demo, avbench, environment, run_files

KILLS = 20
WORKERS = 2


def kill_and_rerun(arguments: list[str], home: Path, progress: Callable[[], int], seed: int) -> None:
    """Twenty times: starts the command, waits until it has got somewhere, SIGKILLs it. Then lets it end."""
    chance = random.Random(seed)
    for kill in range(KILLS):
        before = progress()
        process = subprocess.Popen(
            [*COMMAND, *arguments],
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        while progress() == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.2))
        assert process.poll() is None, f"it ended before kill {kill + 1} of {KILLS}: give it more to do"
        # Half the time the parent alone, so that orphaned workers are covered too.
        if chance.random() < 0.5:
            process.kill()
        else:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    avbench(*arguments, home=home)
    time.sleep(1.0)  # an orphan would have shown itself by now


def home_without_features(demo: Demo, folder: Path) -> Path:
    """An AVBENCH_HOME with the demo's media and weights, in which nothing is extracted yet."""
    folder.mkdir()
    for name in ("media", "weights"):
        (folder / name).symlink_to(demo.home / name)
    return folder


SOMEBODYS = """
import os

import numpy as np

from avbench.clip import read_audio, read_image, write_clip


def logged(item, path):
    with open(os.environ["BEGUN"], "a") as log:
        log.write(item.pair + "\\n")
    face = read_image(item.face)
    write_clip(path, np.broadcast_to(face, (item.frames, *face.shape)), read_audio(item.voice))
"""


@pytest.mark.slow
def test_twenty_kills_during_generate_leave_the_undisturbed_files(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A method from somebody's module, which logs each clip that it begins, beside two of ours."""
    (tmp_path / "somebodys.py").write_text(SOMEBODYS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    methods = ("somebodys:logged", "somebodys:logged@seed=1", "shifted@frames=3", "still")
    arguments = ["generate", "--workers", str(WORKERS), *(word for name in methods for word in ("--method", name))]
    monkeypatch.setenv("BEGUN", str(tmp_path / "calm.log"))
    avbench(*arguments, "--runs", tmp_path / "calm", home=demo.home)
    monkeypatch.setenv("BEGUN", str(tmp_path / "killed.log"))
    killed = tmp_path / "killed"

    def clips() -> int:
        return len(list(killed.rglob("*/demo/*.mp4")))

    kill_and_rerun([*arguments, "--runs", str(killed)], demo.home, clips, seed=1)
    assert run_files(killed) == run_files(tmp_path / "calm")
    begun = (tmp_path / "killed.log").read_text().splitlines()
    needed = (tmp_path / "calm.log").read_text().splitlines()
    assert len(begun) - len(needed) <= WORKERS * KILLS, "more than one clip a worker and kill was made again"


# Found by every Python that starts with this on its path, so also by workers.
LOGS_EXTRACTIONS = """
import os

import avbench.extract

undisturbed = avbench.extract.extract


def extract(path, sense, names, *text):
    with open(os.environ["BEGUN"], "a") as log:
        log.write(f"{path} {sense}\\n")
    return undisturbed(path, sense, names, *text)


avbench.extract.extract = extract
"""


@pytest.mark.slow
def test_twenty_kills_during_score_leave_the_undisturbed_files(
    demo: Demo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calm, killed = tmp_path / "calm", tmp_path / "killed"
    for method in ("truth", "replay"):
        shutil.copytree(demo.runs / method, calm / method)
        shutil.copytree(demo.runs / method, killed / method)
        for path in (calm / method / "demo", killed / method / "demo"):
            (path / "scores.jsonl").unlink()
            (path / "costs.jsonl").unlink()
    (tmp_path / "sitecustomize.py").write_text(LOGS_EXTRACTIONS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setenv("BEGUN", str(tmp_path / "calm.log"))
    avbench("score", calm, "--workers", WORKERS, home=home_without_features(demo, tmp_path / "calm-home"))
    monkeypatch.setenv("BEGUN", str(tmp_path / "killed.log"))
    home = home_without_features(demo, tmp_path / "killed-home")

    def features() -> int:
        return len(list(home.glob("features/*/*.npz")))

    kill_and_rerun(["score", str(killed), "--workers", str(WORKERS)], home, features, seed=2)
    assert run_files(killed) == run_files(calm)
    for method in ("truth", "replay"):
        folder = killed / method / "demo"
        lines = (folder / "scores.jsonl").read_text().splitlines()
        assert len(lines) == len(read_scores(folder)), "a key stands twice"
    begun = (tmp_path / "killed.log").read_text().splitlines()
    needed = (tmp_path / "calm.log").read_text().splitlines()
    assert len(begun) - len(needed) <= WORKERS * KILLS, "more than one clip a worker and kill was extracted again"
    assert not list(home.glob("features/*/.*.part"))


@pytest.mark.slow
def test_one_and_two_workers_give_the_same_bytes(demo: Demo, tmp_path: Path) -> None:
    files = []
    for workers in (1, 2):
        home = home_without_features(demo, tmp_path / f"home{workers}")
        runs = tmp_path / f"runs{workers}"
        for method in ("still", "replay"):
            avbench("generate", "--method", method, "--runs", runs, "--workers", workers, "--limit", 4, home=home)
        avbench("score", runs, "--workers", workers, home=home)
        latex = avbench(
            "table", "--runs", runs, "--format", "latex", "--method", "still", "--method", "replay", home=home
        )
        files.append((run_files(runs), latex.stdout))
    assert files[0] == files[1]
