"""Where nothing is to be found: what claims something keeps its word, what takes clips as independent does not.

The simulation of bench/calibration.py at smaller size; its bounds, its seeds, its procedures.
"""

from __future__ import annotations

import importlib.util
import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench.stats import EXACT_SPEAKERS

PROGRAM = Path(__file__).resolve().parent.parent / "bench" / "calibration.py"
TRIALS = 800


def program() -> Any:
    """The module; programs are in no package."""
    spec = importlib.util.spec_from_file_location("calibration", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


calibration = program()
JUDGED = [cell for cell in calibration.cells() if cell.shape in calibration.JUDGED_SHAPES]
NORMAL = [cell for cell in JUDGED if cell.shape == "normal"]

cells = pytest.mark.parametrize("cell", JUDGED, ids=lambda cell: f"{cell.split}-{cell.correlation}-{cell.shape}")


def allowed(trials: int) -> float:
    """For all the figures of this file together."""
    return float(calibration.slack(trials, len(JUDGED) * len(calibration.CLAIMING)))


def test_every_split_and_correlation_is_drawn_with_the_clips_of_the_paper() -> None:
    assert {(cell.split, len(cell.clips), sum(cell.clips)) for cell in JUDGED} == {
        ("hard", 8, 35),
        ("easy", 14, 36),
        ("talkvid", 41, 49),
    }
    assert {cell.correlation for cell in JUDGED} == {0.0, 0.3, 0.5}
    assert len(set(JUDGED)) == len(JUDGED) == 18
    for cell in JUDGED:
        assert max(cell.clips) - min(cell.clips) <= 1, "as evenly as may be"


@pytest.mark.parametrize("cell", calibration.cells()[-3:] + NORMAL, ids=lambda cell: f"{cell.split}-{cell.correlation}")
def test_what_is_drawn_has_the_mean_the_variance_and_the_correlation_that_were_asked_for(cell: Any) -> None:
    trials = list(calibration.draw(cell, 2000, 1))
    clips = np.array([trial.clips for trial in trials]) - calibration.TRUTH
    assert clips.mean() == pytest.approx(0, abs=0.05)
    assert clips.var() == pytest.approx(1, abs=0.1)
    assert np.mean(clips[:, 0] * clips[:, 1]) == pytest.approx(cell.correlation, abs=0.15), "of the first speaker"
    assert np.mean(clips[:, 0] * clips[:, -1]) == pytest.approx(0, abs=0.1), "of two speakers"
    first = cell.clips[0]
    assert trials[7].means[0] == pytest.approx(trials[7].clips[:first].mean())
    assert trials[7].means[-1] == pytest.approx(trials[7].clips[-cell.clips[-1] :].mean())


@cells
def test_what_claims_something_errs_no_more_than_it_says(cell: Any) -> None:
    trials = TRIALS if len(cell.clips) <= EXACT_SPEAKERS else 300
    found = calibration.shares(cell, trials, 0, calibration.CLAIMING)
    short = {
        name: share for name, share in found.items() if calibration.falls_short(cell, name, share, allowed(trials))
    }
    assert not short
    assert found["t"] == pytest.approx(1 - found["t covers"], abs=1e-9), (
        "a test and its interval are each other's mirror"
    )
    assert found["flips"] == pytest.approx(1 - found["flips cover"], abs=1e-9)


@pytest.mark.parametrize("correlation", [0.3, 0.5])
def test_what_takes_clips_as_independent_falls_short_of_the_same_bound(correlation: float) -> None:
    cell = calibration.Cell("hard", correlation, "normal")
    found = calibration.shares(cell, TRIALS, 0, {"clip t": calibration.clip_t_errs})
    assert calibration.falls_short(cell, "clip t", found["clip t"], allowed(TRIALS))
    # The mean's variance is greater than is thought, by the design effect of clusters that size.
    effect = 1 + correlation * (sum(count**2 for count in cell.clips) / sum(cell.clips) - 1)
    expected = math.erfc(1.96 / math.sqrt(effect) / math.sqrt(2))
    assert found["clip t"] == pytest.approx(expected, abs=0.05)


def test_ranks_and_wins_of_clips_fall_short_as_well() -> None:
    cell = calibration.Cell("hard", 0.5, "normal")
    found = calibration.shares(cell, 200, 0, calibration.OF_CLIPS)
    assert all(calibration.falls_short(cell, name, share, allowed(200)) for name, share in found.items())


def test_with_one_clip_of_each_speaker_and_no_correlation_clips_are_independent() -> None:
    cell = calibration.Cell("talkvid", 0.0, "normal")
    found = calibration.shares(cell, TRIALS, 0, {"clip t": calibration.clip_t_errs})
    assert not calibration.falls_short(cell, "clip t", found["clip t"], allowed(TRIALS))


def test_the_attainable_size_is_the_greatest_that_is_no_more_than_five_percent() -> None:
    # 6 of 128 and 409 of 8192; of Monte Carlo 100 of 2000.
    found = {cell.split: cell.attainable for cell in NORMAL}
    assert found == {"hard": 6 / 128, "easy": 409 / 8192, "talkvid": 0.05}


def test_the_bound_covers_all_figures_at_once() -> None:
    trials, figures = 4000, 72
    error = math.sqrt(0.05 * 0.95 / trials)
    beyond = 1 - statistics.NormalDist().cdf(calibration.slack(trials, figures) / error)
    assert beyond * figures == pytest.approx(0.01)


@pytest.mark.parametrize(
    ("name", "share", "short"),
    [
        ("t", 0.0626, True),
        ("t", 0.0624, False),
        ("t", 0.0, False),
        ("t covers", 0.9374, True),
        ("t covers", 1.0, False),
        ("flips", 0.0599, True),  # 6 of 128 is 0.0469
        ("flips", 0.0339, True),
        ("flips", 0.0469, False),
        ("flips cover", 0.93, True),
    ],
)
def test_a_figure_falls_short_on_its_wrong_side(name: str, share: float, short: bool) -> None:
    assert calibration.falls_short(NORMAL[0], name, share, 0.0125) is short


@pytest.mark.parametrize(
    ("claiming", "code", "words"),
    [(None, 0, "# 0 of 72"), (lambda trial: True, 1, "100.00!"), (lambda trial: False, 0, "0.00 ")],
)
def test_the_program_ends_with_1_where_a_claim_falls_short(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    claiming: Callable[[Any], bool] | None,
    code: int,
    words: str,
) -> None:
    monkeypatch.setattr(calibration, "OF_CLIPS", dict.fromkeys(calibration.OF_CLIPS, lambda trial: True))
    if claiming is not None:
        monkeypatch.setitem(calibration.CLAIMING, "t", claiming)
    assert calibration.main(["--trials", "20"]) == code
    printed = capsys.readouterr().out
    assert words in printed
    assert len(printed.splitlines()) == 4 + 1 + 21 + 1
