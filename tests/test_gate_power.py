"""How often the gate is right, on simulated reruns: false alarms, false passes, losses found, and calibrated margins."""

from __future__ import annotations

import importlib.util
import itertools
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats as reference

from avbench.gate import CHANCE, Check, check, record

from .scored import make_run, make_split

PROGRAM = Path(__file__).resolve().parent.parent / "bench" / "gate.py"
ALPHA = 0.05
SEED, CORRELATION, MARGIN = 0.02, 0.3, 0.02
RERUNS = 200
SCALES = ("one", "two", "three")


@pytest.fixture(scope="module")
def bench() -> Any:
    """bench/gate.py, a program that is no part of the package."""
    spec = importlib.util.spec_from_file_location("bench_gate", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (module.SEED, module.CORRELATION, module.MARGIN) == (SEED, CORRELATION, MARGIN)
    return module


def most(trials: int, chance: float = ALPHA) -> int:
    """Events of that chance that so many trials hold but once in a thousand times."""
    return int(reference.binom.ppf(0.999, trials, chance))


def rerun(place: Path, pairs: int, speakers: int, reruns: int, loss: float = 0.0) -> list[Check]:
    """Checks of runs that differ by the seed, and by `loss` on the first scale, through files."""
    draws = np.random.default_rng(pairs)
    owner = {f"p{number}": f"s{number % speakers}" for number in range(pairs)}
    split = make_split(place, owner)
    pair = {name: dict(zip(owner, draws.normal(0.5, 0.1, pairs), strict=True)) for name in SCALES}

    def run(method: str, lost: float) -> None:
        scores: dict[str, dict[str, float | str]] = {}
        for name in SCALES:
            voices = dict(
                zip(dict.fromkeys(owner.values()), draws.normal(0, SEED * CORRELATION**0.5, speakers), strict=True)
            )
            clips = draws.normal(0, SEED * (1 - CORRELATION) ** 0.5, pairs)
            scores[name] = {
                item: float(pair[name][item] + voices[owner[item]] + clip - (lost if name == SCALES[0] else 0.0))
                for item, clip in zip(owner, clips, strict=True)
            }
        make_run(place, split, method, scores)

    found = []
    for number in range(reruns):
        run(f"old@seed={number}", 0.0)
        run(f"new@seed={number}", loss)
        today, folder = date(2026, 3, 1), str(place / "mini")
        margins = dict.fromkeys(SCALES, MARGIN)
        baseline = record(place / "runs", folder, f"old@seed={number}", today=today, margins=margins)
        found.append(
            check(place / "runs", baseline, today=today, method=f"new@seed={number}", split=folder, strict=True)
        )
        for method in ("old", "new"):  # a check reads every run of the split
            (place / "runs" / f"{method}@seed={number}").rename(place / f"{method}-{number}")
    return found


@pytest.mark.parametrize(("pairs", "speakers"), [(49, 41), (35, 8)])
def test_reruns_without_a_change_raise_no_more_false_alarms_than_alpha(bench: Any, pairs: int, speakers: int) -> None:
    checks = bench.simulated(pairs, speakers, [0.0] * 3, RERUNS)
    alarms = sum(any(answer.verdict == "regression" for answer in answers) for answers in checks)
    assert alarms <= ALPHA * RERUNS
    at_the_margin = bench.simulated(pairs, speakers, [MARGIN], 2000)  # where most go wrong
    assert sum(answers[0].verdict == "regression" for answers in at_the_margin) <= most(2000)
    assert sum(answers[0].verdict == "pass" for answers in at_the_margin) <= most(2000)
    assert sum(answers[0].verdict == "regression" for answers in at_the_margin) > 0.03 * 2000  # not for being timid


def test_a_loss_of_twice_the_margin_is_found_at_the_size_of_talkvid(bench: Any) -> None:
    checks = bench.simulated(49, 41, [2 * MARGIN, 0.0, 0.0], RERUNS)
    assert sum(answers[0].verdict == "regression" for answers in checks) >= 0.9 * RERUNS
    assert not any(answers[0].verdict == "pass" for answers in checks)


def test_where_power_is_missing_a_check_is_undecided_and_never_a_false_pass(bench: Any) -> None:
    checks = bench.simulated(35, 8, [2 * MARGIN, 0.0, 0.0], RERUNS)
    verdicts = [answers[0].verdict for answers in checks]
    assert "pass" not in verdicts
    assert verdicts.count("undecided") > 0.1 * RERUNS
    assert verdicts.count("undecided") + verdicts.count("regression") == RERUNS


@pytest.mark.parametrize("wrong", ["pass", "regression"])
def test_all_rules_at_their_margins_together_are_wrong_no_more_often_than_alpha(bench: Any, wrong: str) -> None:
    trials = 2000
    checks = bench.simulated(35, 8, [MARGIN] * 3, trials)
    assert sum(any(answer.verdict == wrong for answer in answers) for answers in checks) <= most(trials)
    alone = [bench.simulated(35, 8, [MARGIN], trials, seed) for seed in range(3)]  # the same numbers, not adjusted
    unadjusted = sum(any(answer.verdict == wrong for (answer,) in three) for three in zip(*alone, strict=True))
    assert unadjusted > most(trials)


@pytest.mark.slow
@pytest.mark.parametrize(("loss", "least", "largest"), [(0.0, 0, ALPHA * RERUNS), (2 * MARGIN, 0.9 * RERUNS, RERUNS)])
def test_the_same_through_files(tmp_path: Path, loss: float, least: float, largest: float) -> None:
    checks = rerun(tmp_path, 49, 41, RERUNS, loss)
    assert least <= sum(found.verdict == "regression" for found in checks) <= largest
    if loss:
        assert not any(found.rulings[-1].verdict == "pass" and found.rulings[-1].scale == SCALES[0] for found in checks)
        assert all(found.failed for found in checks)


def test_calibrated_margins_let_a_rerun_pass_about_as_often_as_they_say(tmp_path: Path) -> None:
    owner = {f"p{number}": f"s{number % 8}" for number in range(16)}
    split, folder, today = make_split(tmp_path, owner), str(tmp_path / "mini"), date(2026, 3, 1)
    draws = np.random.default_rng(3)
    passed = []
    for number in range(40):
        names = [f"m@seed={number * 10 + seed}" for seed in range(4)]
        for name in names:
            make_run(
                tmp_path, split, name, {"one": dict(zip(owner, draws.normal(0.5, SEED, 16).tolist(), strict=True))}
            )
        baseline = record(tmp_path / "runs", folder, names[0], today=today, repeats=names[1:3])
        found = check(tmp_path / "runs", baseline, today=today, method=names[3], split=folder)
        passed.append(found.verdict == "pass")
        for name in names:
            (tmp_path / "runs" / name).rename(tmp_path / name)
    low, high = reference.binom.ppf([0.001, 0.999], len(passed), CHANCE - 0.02)
    assert low <= sum(passed) <= high


def test_clips_are_dealt_as_evenly_as_the_numbers_allow(bench: Any) -> None:
    for pairs, speakers in itertools.product((8, 35, 49), (8, 5)):
        clips = bench.even_clips(pairs, speakers)
        assert (sum(clips), len(clips), max(clips) - min(clips) <= 1) == (pairs, speakers, True)
