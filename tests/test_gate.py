"""The gate: verdicts from scores by hand, against other tools; what is refused; what CI reads; the demo's own controls."""

from __future__ import annotations

import json
import math
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import click
import msgspec
import numpy as np
import pytest
import yaml
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from scipy import stats as reference

from avbench.cli import app
from avbench.cli.gate import gate
from avbench.errors import Incomparable, Incomplete, UsageError
from avbench.gate import (
    CHANCE,
    Baseline,
    Check,
    Question,
    Rule,
    check,
    judge,
    parse_margins,
    parse_rule,
    read_baseline,
    record,
    write_baseline,
)
from avbench.metric import Scale
from avbench.report.github import github, github_error
from avbench.report.junit import junit, junit_error
from avbench.report.verdicts import verdict_json, verdict_markdown, verdict_text
from avbench.run import RunInfo
from avbench.split import load_split

from .line import COMMAND, Demo, avbench, environment
from .scored import make_run, make_scale, make_split

ROOT = Path(__file__).resolve().parent.parent
TODAY = date(2026, 3, 1)
SPEAKERS = {f"p{number}": f"s{number % 4}" for number in range(12)}
RANK = {"regression": 0, "undecided": 1, "pass": 2}

means = st.lists(st.floats(-1, 1).map(lambda value: round(value, 3)), min_size=2, max_size=9).map(np.array)
margins = st.floats(0, 0.5).map(lambda value: round(value, 3))
questions = st.builds(Question, means, st.sampled_from([0, 0, 0, 1, 2]), margins)

Column = Mapping[str, float | str]


def column(
    shift: float = 0.0, spread: float = 0.01, seed: int = 0, speakers: Iterable[str] = SPEAKERS
) -> dict[str, float]:
    noise = np.random.default_rng(seed)
    return {pair: 0.5 + shift + spread * float(noise.normal()) for pair in speakers}


def gated(
    place: Path,
    before: Column,
    after: Column,
    margin: float = 0.02,
    *,
    scale: Scale | None = None,
    speakers: Mapping[str, str] = SPEAKERS,
    **options: Any,
) -> Check:
    """The check of `after` against `before` on one scale, by way of all files."""
    scale = scale or make_scale()
    split = make_split(place, speakers)
    make_run(place, split, "old", {scale.name: before}, [scale])
    make_run(place, split, "new", {scale.name: after}, [scale])
    folder = str(place / "mini")
    baseline = record(place / "runs", folder, "old", today=TODAY, margins={scale.name: margin})
    write_baseline(place / "gate.json", baseline)
    assert read_baseline(place / "gate.json") == baseline
    return check(place / "runs", baseline, today=TODAY, method="new", split=folder, **options)


# Verdicts --------------------------------------------------------------------------------------------------------


def test_a_single_rule_is_students_t_as_another_tool_has_it() -> None:
    values = np.array([0.01, -0.02, 0.005, -0.01, 0.03, -0.015])
    (answer,) = judge([Question(values, 0, 0.012)], 0.05)
    greater = reference.ttest_1samp(values, -0.012, alternative="greater")
    assert answer.p_pass == pytest.approx(greater.pvalue, rel=1e-12)
    assert answer.p_regression == pytest.approx(1 - greater.pvalue, rel=1e-12)
    assert answer.lower == pytest.approx(greater.confidence_interval(0.95).low, rel=1e-12)
    less = reference.ttest_1samp(values, -0.012, alternative="less")
    assert answer.upper == pytest.approx(less.confidence_interval(0.95).high, rel=1e-12)


@pytest.mark.parametrize(("before", "after", "margin"), [(0.50, 0.48, 0.02), (0.30, 0.28, 0.02), (0.9, 0.6, 0.3)])
def test_a_loss_of_exactly_the_margin_is_no_regression_however_it_is_rounded(
    before: float, after: float, margin: float
) -> None:
    (answer,) = judge([Question(np.full(8, after - before), 0, margin)])
    assert answer.verdict == "pass"
    (more,) = judge([Question(np.full(8, after - before - 1e-6), 0, margin)])
    assert more.verdict == "regression"
    around = np.array([-1, -1, 1, 1]) * 1e-3 + (after - before)
    (open_,) = judge([Question(around, 0, margin)])
    assert open_.p_pass == pytest.approx(0.5)


def test_the_loss_that_is_said_to_be_found_is_found_so_often_among_other_rules(tmp_path: Path) -> None:
    """Regressions are tested at Holm's first step where this rule alone is one."""
    unchanged = [make_scale(f"same{number}") for number in range(3)]
    hit = make_scale("hit")
    speakers = {f"p{number}": f"s{number}" for number in range(8)}
    split = make_split(tmp_path, speakers)
    scales = [hit, *unchanged]
    before = {scale.name: column(seed=number, speakers=speakers) for number, scale in enumerate(scales)}
    after = {scale.name: column(seed=9 + number, speakers=speakers) for number, scale in enumerate(scales)}
    make_run(tmp_path, split, "old", before, scales)
    make_run(tmp_path, split, "new", after, scales)
    folder = str(tmp_path / "mini")
    baseline = record(tmp_path / "runs", folder, "old", today=TODAY, margins={scale.name: 0.02 for scale in scales})
    found = check(tmp_path / "runs", baseline, today=TODAY, method="new", split=folder)
    ruling = next(one for one in found.rulings if one.scale == "hit")
    differences = np.array([after["hit"][pair] - before["hit"][pair] for pair in speakers])
    assert ruling.resolution is not None
    draws = np.random.default_rng(1).normal(size=(600, 8)) * differences.std(ddof=1) - 0.02 - ruling.resolution
    others = [Question(np.array([1e-3, -1e-3] * 4), 0, 0.02)] * 3
    hits = sum(judge([Question(means, 0, 0.02), *others])[0].verdict == "regression" for means in draws)
    assert 0.8 - 4 * math.sqrt(0.16 / 600) < hits / 600 < 0.8 + 4 * math.sqrt(0.16 / 600)


@given(st.lists(questions, min_size=1, max_size=5))
def test_holm_is_stepped_down_over_the_rules(asked: list[Question]) -> None:
    answers = judge(asked, 0.05)
    alone = [judge([question], 0.05)[0] for question in asked]  # one rule: nothing is adjusted
    for kind in ("p_pass", "p_regression"):
        ps = [getattr(one, kind) for one in alone]
        rejected = set()
        for step, number in enumerate(sorted(range(len(ps)), key=ps.__getitem__)):
            if ps[number] > 0.05 / (len(ps) - step):
                break
            rejected.add(number)
        verdict = kind.removeprefix("p_")
        assert {number for number, answer in enumerate(answers) if answer.verdict == verdict} == rejected


@given(st.lists(questions, min_size=1, max_size=5))
def test_a_verdict_is_what_its_bounds_say(asked: list[Question]) -> None:
    for question, answer in zip(asked, judge(asked, 0.05), strict=True):
        if answer.lower is None or answer.upper is None:
            assert answer.verdict != "pass"
            continue
        if min(abs(answer.lower + question.margin), abs(answer.upper + question.margin)) < 1e-12:
            continue  # a matter of rounding
        assert (answer.verdict == "pass") == (answer.lower > -question.margin)
        assert (answer.verdict == "regression") == (answer.upper < -question.margin)


def test_after_the_first_rule_that_does_not_pass_the_others_keep_its_level() -> None:
    question = Question(np.array([0.01, -0.02, 0.005, -0.01, 0.03, -0.015]), 0, 0.0185)
    (alone,) = judge([question])
    assert 0.025 < alone.p_pass < 0.05
    assert alone.verdict == "pass"
    for answer in judge([question, question]):  # the second is not tested at 0.05
        assert answer.verdict == "undecided"
        assert answer.lower_level == 0.025
        assert answer.lower is not None
        assert answer.lower < -question.margin


@pytest.mark.parametrize(
    ("values", "margin", "verdict"),
    [
        ([0.0, 0.0, 0.0], 0.0, "pass"),
        ([0.0], 0.0, "pass"),  # a single speaker, and nothing changed
        ([-0.5], 0.1, "undecided"),
        ([0.5], 0.1, "undecided"),
        ([], 0.1, "undecided"),
        ([0.0, 0.0, -1e-9], 0.0, "undecided"),
        ([-0.25, -0.25], 0.25, "pass"),  # no width, and not below
        ([-0.25, -0.25], 0.2, "regression"),
        ([0.001, 0.002, 0.001], 0.0, "pass"),
    ],
)
def test_small_cases(values: list[float], margin: float, verdict: str) -> None:
    assert judge([Question(np.array(values), 0, margin)])[0].verdict == verdict


# Clips that cannot be measured ------------------------------------------------------------------------------------


@given(means.map(lambda values: values[:6]), st.integers(1, 3), margins, st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_no_values_of_hidden_means_are_more_regressive_than_the_formula(
    known: np.ndarray, free: int, margin: float, seed: int
) -> None:
    bound = judge([Question(known, free, margin)], 0.05)[0].p_regression
    draws = np.random.default_rng(seed)
    for scale in 10.0 ** np.arange(-3, 5):
        centres = np.repeat(draws.normal(0, scale, (500, 1)), free, axis=1)
        spreads = draws.normal(0, 1, (500, free)) * scale * draws.choice([0, 0.1, 1], (500, 1))
        assert bound <= one_sided(known + margin, centres + spreads + margin).min() + 1e-9


def one_sided(known: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """p of a mean of at least 0, for each row of hidden means beside the known ones, by the definition."""
    whole = np.hstack([np.tile(known, (len(hidden), 1)), hidden])
    spread = whole.std(axis=1, ddof=1)
    rows, spread = whole[spread > 0], spread[spread > 0]
    t = rows.mean(axis=1) / (spread / math.sqrt(rows.shape[1]))
    return np.append(reference.t.cdf(t, rows.shape[1] - 1), 1.0)


@pytest.mark.parametrize(
    ("known", "free"),
    [
        ([-0.3, -0.1, -0.2], 1),
        ([-0.3, 0.1, -0.2], 2),
        ([0.3, 0.1, -0.2], 1),
        ([0.0, 0.0, 0.0, 0.0], 2),
        ([0.1, 0.2], 3),
    ],
)
def test_hidden_means_come_as_near_to_the_formula_as_one_likes(known: list[float], free: int) -> None:
    bound = judge([Question(np.array(known), free, 0.0)], 0.05)[0].p_regression
    tried = one_sided(np.array(known), np.repeat(-np.geomspace(1e-4, 1e7, 20_001)[:, None], free, axis=1))
    assert tried.min() == pytest.approx(bound, rel=1e-4)


def test_where_all_is_hidden_nothing_speaks_against_a_regression() -> None:
    assert judge([Question(np.array([]), 3, 0.1)])[0].verdict == "regression"
    assert judge([Question(np.array([]), 1, 0.1)])[0].verdict == "undecided"  # a single speaker decides nothing


@given(st.data())
@settings(max_examples=25, deadline=None, phases=[Phase.reuse, Phase.generate])
def test_turning_a_measured_clip_into_a_failure_never_raises_a_verdict(data: st.DataObject) -> None:
    scales = [make_scale("one"), make_scale("two", direction="lower")]
    values = st.floats(-0.05, 0.05).map(lambda value: round(value, 3))
    outcome = st.one_of(values, values, values, st.just("no face"))
    drawn = st.fixed_dictionaries(dict.fromkeys(SPEAKERS, outcome))
    old, new = ({scale.name: data.draw(drawn) for scale in scales} for _ in range(2))
    shift = data.draw(st.sampled_from([0.0, 0.04, -0.04, 0.3, -0.3]))
    new = {
        name: {pair: value if isinstance(value, str) else value + shift for pair, value in outcomes.items()}
        for name, outcomes in new.items()
    }
    measured = [(name, pair) for name in new for pair, value in new[name].items() if not isinstance(value, str)]
    if not measured:
        return
    broken = {name: dict(outcomes) for name, outcomes in new.items()}
    for name, pair in data.draw(st.lists(st.sampled_from(measured), min_size=1, max_size=4)):
        broken[name][pair] = "no face"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        split = make_split(place, SPEAKERS)
        for method, outcomes in (("old", old), ("new", new), ("broken", broken)):
            make_run(place, split, method, outcomes, scales)
        mini = str(place / "mini")
        baseline = record(place / "runs", mini, "old", today=TODAY, margins={"one": 0.02, "two": 0.03})
        before, after = (
            check(place / "runs", baseline, today=TODAY, method=method, split=mini) for method in ("new", "broken")
        )
    for was, now in zip(before.rulings, after.rulings, strict=True):
        assert RANK[now.verdict] <= RANK[was.verdict], (was.sentence, now.sentence)
    assert not (after.verdict == "pass" and before.verdict != "pass")


def test_a_hidden_clip_keeps_a_better_run_from_passing_and_says_why(tmp_path: Path) -> None:
    found = gated(tmp_path, column(), {**column(0.1, seed=1), "p3": "no face in any frame"})
    (ruling,) = found.rulings
    assert (ruling.verdict, ruling.gaps, ruling.pairs, ruling.speakers) == ("undecided", 1, 11, 4)
    assert (
        "1 clip of 1 speaker could be measured for the baseline and cannot be now (no face in any frame)"
        in ruling.sentence
    )
    assert ruling.answer.lower is None


def test_a_speaker_with_a_hidden_clip_is_free_whatever_the_others_say(tmp_path: Path) -> None:
    found = gated(tmp_path, column(), {**column(0.1, seed=1), "p3": "no face", "p6": "no face"})
    expected = reference.t.cdf(-math.sqrt(3 * 2 / (4 - 2)), 3)  # two of four speakers, the others above the margin
    assert found.rulings[0].answer.p_regression == pytest.approx(expected, rel=1e-12)


def test_pairs_that_the_baseline_failed_on_are_left_out_and_said(tmp_path: Path) -> None:
    found = gated(tmp_path, {**column(), "p3": "no face", "p4": "no face"}, {**column(seed=1), "p4": "no speech"}, 0.1)
    (ruling,) = found.rulings
    assert (ruling.verdict, ruling.gaps, ruling.left_out, ruling.pairs) == ("pass", 0, 2, 10)
    assert ruling.sentence.endswith("2 pairs that the baseline failed on are left out.")


# Invariances -------------------------------------------------------------------------------------------------------


@given(questions, st.sampled_from([2.0**-30, 0.1, 3.0, 1e5]))
def test_rescaling_scale_and_margin_together_changes_nothing(question: Question, factor: float) -> None:
    (before,) = judge([question])
    (after,) = judge([Question(question.means * factor, question.free, question.margin * factor)])
    assert after.p_pass == pytest.approx(before.p_pass, rel=1e-6, abs=1e-12)
    assert after.p_regression == pytest.approx(before.p_regression, rel=1e-6, abs=1e-12)


def test_the_order_of_pairs_changes_nothing(tmp_path: Path) -> None:
    before, after = column(), column(-0.01, seed=1)
    here = gated(tmp_path / "here", before, after)
    turned = gated(tmp_path / "turned", before, after, speakers=dict(reversed(SPEAKERS.items())))
    assert here.rulings == turned.rulings


def test_a_scale_where_lower_is_better_is_turned(tmp_path: Path) -> None:
    lower = make_scale(direction="lower")
    better, worse = column(-0.1, seed=1), column(0.1, seed=1)
    assert gated(tmp_path / "better", column(), better, scale=lower).verdict == "pass"
    found = gated(tmp_path / "worse", column(), worse, scale=lower)
    assert found.verdict == "regression"
    assert found.rulings[0].difference == pytest.approx(-0.1, abs=0.02)
    assert gated(tmp_path / "higher", column(), worse).verdict == "pass"


def test_the_difference_is_of_speaker_means_and_not_of_clips(tmp_path: Path) -> None:
    speakers = {"a1": "ann", "a2": "ann", "a3": "ann", "b1": "ben"}
    after = {"a1": 0.1, "a2": 0.2, "a3": 0.3, "b1": -0.2}
    found = gated(tmp_path, dict.fromkeys(speakers, 0.0), after, speakers=speakers)
    assert found.rulings[0].difference == pytest.approx(0.0)
    assert (found.rulings[0].pairs, found.rulings[0].speakers) == (4, 2)


# What is refused -----------------------------------------------------------------------------------------------------


@pytest.fixture
def world(tmp_path: Path) -> tuple[Path, Baseline]:
    """Runs `old` and `new` on two scales, and the baseline of `old`."""
    split = make_split(tmp_path, SPEAKERS)
    scales = [make_scale("sim"), make_scale("moves", direction="none")]
    for method in ("old", "new"):
        make_run(tmp_path, split, method, {scale.name: column() for scale in scales}, scales)
    return tmp_path, record(tmp_path / "runs", str(tmp_path / "mini"), "old", today=TODAY, margins={"sim": 0.02})


def again(place: Path, baseline: Baseline, **options: Any) -> Check:
    return check(place / "runs", baseline, today=TODAY, split=str(place / "mini"), **{"method": "new", **options})


def replaced(baseline: Baseline, **fields: Any) -> Baseline:
    """With another `sim`."""
    scales = [
        msgspec.structs.replace(one, scale=msgspec.structs.replace(one.scale, **fields))
        if one.scale.name == "sim"
        else one
        for one in baseline.scales
    ]
    return msgspec.structs.replace(baseline, scales=tuple(scales))


@pytest.mark.parametrize("field", ["revision", "direction", "unit", "aggregate"])
def test_a_changed_signature_is_incomparable_and_named(world: tuple[Path, Baseline], field: str) -> None:
    place, baseline = world
    other = {"revision": "sim/1+net/1@01234567+decode:2", "direction": "lower", "unit": "%", "aggregate": "corpus"}
    with pytest.raises(Incomparable, match=f"{field} of sim differs.*{re.escape(other[field])}"):
        again(place, replaced(baseline, **{field: other[field]}))


def test_another_split_digest_is_incomparable(world: tuple[Path, Baseline]) -> None:
    place, baseline = world
    with pytest.raises(Incomparable, match="split digest differs: 'mini@00000000'"):
        again(place, msgspec.structs.replace(baseline, split="mini@00000000"))


def test_another_profile_is_incomparable(world: tuple[Path, Baseline]) -> None:
    place, baseline = world
    with pytest.raises(Incomparable, match=r"profile differs: 'authors'.*'embedded'.*--profile authors"):
        again(place, msgspec.structs.replace(baseline, profile="authors"))


@pytest.mark.parametrize("field", ["target_sha256", "reference_sha256"])
def test_other_media_are_incomparable_even_where_both_runs_call_them_the_same(
    world: tuple[Path, Baseline], field: str
) -> None:
    place, baseline = world
    first = msgspec.structs.replace(baseline.pairs[0], **{field: "other"})
    with pytest.raises(Incomparable, match=f"{field} of pair p0 differs: 'other'"):
        again(place, msgspec.structs.replace(baseline, pairs=(first, *baseline.pairs[1:])))


def test_media_of_a_run_agree_over_its_measured_clips(tmp_path: Path) -> None:
    split = make_split(tmp_path, SPEAKERS)
    make_run(tmp_path, split, "failed", {"one": column(), "two": {**column(), "p0": "no sound"}})
    make_run(tmp_path, split, "mixed", {"one": column(), "two": column()})
    for method, pair in (("failed", "p0"), ("mixed", "p1")):  # another target, of the second scale alone
        path = tmp_path / "runs" / method / "mini" / "scores.jsonl"
        lines = path.read_text().splitlines(keepends=True)
        path.write_text("".join(
            line.replace(f'"t-{pair}"', '"other"') if '"two"' in line else line for line in lines
        ))  # fmt: skip
    mini = str(tmp_path / "mini")
    baseline = record(tmp_path / "runs", mini, "failed", today=TODAY, margins={"one": 0.02})
    assert baseline.pairs[0].target_sha256 == "t-p0"
    with pytest.raises(Incomparable, match=r"pair p1 was held against other media on two.*`avbench score"):
        record(tmp_path / "runs", mini, "mixed", today=TODAY)


def test_missing_rows_name_the_command(world: tuple[Path, Baseline]) -> None:
    place, baseline = world
    scores = place / "runs" / "new" / "mini" / "scores.jsonl"
    scores.write_text("".join(scores.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(
        Incomplete, match=r"1 of 12 pairs have no score of sim, the first is p0.*avbench score .*--metric sim"
    ):
        again(place, baseline)


def test_a_scale_that_was_never_scored_names_the_command(world: tuple[Path, Baseline]) -> None:
    place, baseline = world
    make_run(place, load_split(str(place / "mini")), "bare", {"other": column()})
    with pytest.raises(
        Incomplete, match=r"no scores of sim.*`avbench score .* --method bare --profile embedded --metric sim`"
    ):
        again(place, baseline, method="bare")


def test_an_incomplete_run_is_no_baseline(world: tuple[Path, Baseline]) -> None:
    place, _ = world
    make_run(place, load_split(str(place / "mini")), "half", {"sim": {"p0": 0.5}})
    with pytest.raises(Incomplete, match="half: 11 of 12 pairs"):
        record(place / "runs", str(place / "mini"), "half", today=TODAY)


@pytest.mark.parametrize(
    "info", [RunInfo("x", untrained=True), RunInfo("x", limited=3), RunInfo("x", limited_scores=3)]
)
def test_untrained_and_limited_runs_are_refused_on_either_side(world: tuple[Path, Baseline], info: RunInfo) -> None:
    place, baseline = world
    make_run(place, load_split(str(place / "mini")), "odd", {"sim": column()}, info=info)
    with pytest.raises(UsageError, match=r"method odd: (its model is untrained|limited to its first 3 pairs)"):
        again(place, baseline, method="odd")
    with pytest.raises(UsageError, match="method odd"):
        record(place / "runs", str(place / "mini"), "odd", today=TODAY)


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ([Rule("smi", 0.1)], "unknown scale of the baseline 'smi'. Did you mean sim"),
        ([Rule("moves", 0.1)], "moves: neither higher nor lower is better"),
        ([Rule("sim", 0.1), Rule("sim", None)], "two rules of sim"),
        ([Rule("sim", -0.1)], "a margin of -0.1 on sim"),
    ],
)
def test_rules_that_cannot_be_asked(world: tuple[Path, Baseline], rules: list[Rule], message: str) -> None:
    with pytest.raises(UsageError, match=re.escape(message)):
        again(*world, rules=rules)


def test_without_any_margin_the_error_says_how_to_give_one(world: tuple[Path, Baseline]) -> None:
    place, _ = world
    bare = record(place / "runs", str(place / "mini"), "old", today=TODAY)
    with pytest.raises(UsageError, match="Give --rule sim:margin=X, or record with --margin or --repeats"):
        again(place, bare)
    with pytest.raises(UsageError, match="Give --rule sim:margin=X, or record with --margin sim=X"):
        again(place, bare, rules=[Rule("sim", None)])
    assert again(place, bare, rules=[Rule("sim", 0.0)]).verdict == "pass"


def test_rules_and_margins_are_read_or_refused() -> None:
    assert parse_rule("sim:margin=0.02") == Rule("sim", 0.02)
    assert parse_rule("sim") == Rule("sim", None)
    assert parse_margins(["sim=0.02", "wer=1e-2"]) == {"sim": 0.02, "wer": 0.01}
    for text in (
        "sim:",
        "sim:margin",
        "sim:margin=",
        "sim:margin=x",
        "sim:margin=nan",
        "sim:margin=-1",
        ":margin=1",
        "sim:m=1",
    ):
        with pytest.raises(UsageError, match="expected"):
            parse_rule(text)
    for texts in (["sim"], ["=1"], ["sim=inf"], ["sim=1", "sim=2"]):
        with pytest.raises(UsageError, match="expected"):
            parse_margins(texts)


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0, math.nan])
def test_alpha_is_a_chance(world: tuple[Path, Baseline], alpha: float) -> None:
    with pytest.raises(UsageError, match="alpha"):
        again(*world, alpha=alpha)


def test_a_damaged_baseline_is_refused_and_another_form_is_named(world: tuple[Path, Baseline]) -> None:
    place, baseline = world
    path = place / "gate.json"
    write_baseline(path, baseline)
    content = json.loads(path.read_text())
    with pytest.raises(UsageError, match="no such file; expected a baseline"):
        read_baseline(place / "nothing.json")
    for text, message in [
        ("{", "expected a baseline"),
        (json.dumps({**content, "form": 2}), "form 2; this avbench reads form 1"),
        (json.dumps({**content, "more": 2}), "more"),
        (json.dumps({**content, "pairs": content["pairs"][1:]}), "moves does not have every pair"),
        (json.dumps({**content, "pairs": [*content["pairs"], content["pairs"][0]]}), "a pair twice"),
        (json.dumps({**content, "split": "mini"}), "split 'mini' with a pair twice, or without its digest"),
        (json.dumps({**content, "scales": [*content["scales"], content["scales"][0]]}), "a scale stands there twice"),
        (json.dumps(content).replace('"value": 0.', '"failure": "x", "value": 0.', 1), "one of them"),
    ]:
        path.write_text(text)
        with pytest.raises(UsageError, match=message):
            read_baseline(path)


def test_a_machine_without_the_split_checks_the_baselines_own_pairs(
    world: tuple[Path, Baseline], monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place, baseline = world
    here = again(place, baseline)
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    there = check(place / "runs", baseline, today=TODAY, method="new")
    assert there.rulings == here.rulings
    scores = place / "runs" / "new" / "mini" / "scores.jsonl"
    scores.write_text("".join(line for line in scores.read_text().splitlines(keepends=True) if '"p7"' not in line))
    with pytest.raises(Incomplete, match="1 of 12 pairs have no score of sim, the first is p7"):
        check(place / "runs", baseline, today=TODAY, method="new")


# Margins from repeats ------------------------------------------------------------------------------------------------


def repeated(place: Path, runs: int, spread: float, seed: int = 0, **fields: Any) -> Path:
    split = make_split(place, SPEAKERS)
    scale = make_scale(**fields)
    for number in range(runs):
        make_run(place, split, f"m@seed={number}", {"sim": column(0.0, spread, seed + number)}, [scale])
    return place / "runs"


def test_repeats_are_the_method_with_another_seed_and_nothing_else(tmp_path: Path) -> None:
    split = make_split(tmp_path, SPEAKERS)
    scale = make_scale()
    for method in ("gen@size=2", "gen@seed=7,size=2", "gen@size=3", "other"):
        make_run(tmp_path, split, method, {scale.name: column()}, [scale])

    def of(*repeats: str) -> Baseline:
        return record(tmp_path / "runs", str(tmp_path / "mini"), "gen@size=2", today=TODAY, repeats=repeats)

    assert of("gen@seed=7,size=2").scales[0].margin is not None
    for stranger in ("gen@size=3", "other"):
        with pytest.raises(UsageError, match=rf"--repeats {stranger}: not gen@size=2 with another seed.*gen@.*seed=1"):
            of("gen@seed=7,size=2", stranger)


def test_a_margin_is_what_a_rerun_passes_at_nine_times_in_ten(tmp_path: Path) -> None:
    runs = repeated(tmp_path, 3, 0.01)
    names = [f"m@seed={number}" for number in range(3)]
    baseline = record(runs, str(tmp_path / "mini"), names[0], today=TODAY, repeats=names[1:])
    margin = baseline.scales[0].margin
    assert margin is not None
    assert margin.spread is not None
    values = np.array([[column(0.0, 0.01, number)[pair] for pair in SPEAKERS] for number in range(3)])
    by_speaker = values.reshape(3, 3, 4).mean(axis=1)  # pairs go round the four speakers
    variance = by_speaker.var(axis=0, ddof=1).mean()  # of a speaker's mean over runs
    assert margin.spread == pytest.approx(math.sqrt(2 * variance), rel=1e-12)
    error = margin.spread / math.sqrt(4)
    assert float(reference.nct.sf(reference.t.isf(0.05, 3), 3, margin.value / error)) == pytest.approx(
        CHANCE, abs=0.005
    )
    assert (margin.speakers, margin.runs, margin.level, margin.chance) == (4, tuple(names), 0.05, CHANCE)
    assert float(f"{margin.value:.3g}") == margin.value  # as a person would write it


def test_reruns_without_any_spread_leave_the_scales_tolerance(tmp_path: Path) -> None:
    split = make_split(tmp_path, SPEAKERS)
    for method in ("m", "m@seed=1"):
        make_run(tmp_path, split, method, {"sim": column()}, [make_scale(tolerance=0.004)])
    baseline = record(tmp_path / "runs", str(tmp_path / "mini"), "m", today=TODAY, repeats=["m@seed=1"])
    assert baseline.scales[0].margin is not None
    assert baseline.scales[0].margin.value == 0.004


def test_a_given_margin_comes_before_a_calibrated_one_and_counts_as_a_rule(tmp_path: Path) -> None:
    split = make_split(tmp_path, SPEAKERS)
    for seed, method in enumerate(["m", "m@seed=1"]):
        make_run(tmp_path, split, method, {name: column(seed=seed) for name in ("one", "two")})
    mini = str(tmp_path / "mini")
    options: dict[str, Any] = {"today": TODAY, "repeats": ["m@seed=1"]}
    one, two = record(tmp_path / "runs", mini, "m", margins={"one": 0.5}, **options).scales
    assert one.margin is not None
    assert two.margin is not None
    assert (one.margin.value, one.margin.spread) == (0.5, None)
    assert two.margin.level == 0.025
    with pytest.raises(UsageError, match="a run stands there twice"):
        record(tmp_path / "runs", mini, "m", today=TODAY, repeats=["m"])


@pytest.mark.parametrize("days", [0, 36_501, 10**12])
def test_a_baseline_is_good_for_some_days(world: tuple[Path, Baseline], days: int) -> None:
    with pytest.raises(UsageError, match=f"expires after {days} days; expected 1 to 36500"):
        record(world[0] / "runs", str(world[0] / "mini"), "old", today=TODAY, days=days)


def test_a_baseline_expires(world: tuple[Path, Baseline]) -> None:
    place, baseline = world
    assert baseline.expires == date(2026, 8, 28)
    options: dict[str, Any] = {"method": "new", "split": str(place / "mini")}
    in_time = check(place / "runs", baseline, today=date(2026, 8, 28), strict=True, **options)
    late = check(place / "runs", baseline, today=date(2026, 8, 29), **options)
    strict = check(place / "runs", baseline, today=date(2026, 8, 29), strict=True, **options)
    assert (in_time.outdated, in_time.failed) == ("", False)
    assert "expired on 2026-08-28" in late.outdated
    assert (late.failed, strict.failed) == (False, True)
    for_ever = record(place / "runs", str(place / "mini"), "old", today=TODAY, days=None)
    assert for_ever.expires is None
    with pytest.raises(UsageError, match="expires after -1 days"):
        record(place / "runs", str(place / "mini"), "old", today=TODAY, days=-1)


# What CI reads ------------------------------------------------------------------------------------------------------


@pytest.fixture
def three(tmp_path: Path) -> Check:
    """A check with one verdict of each kind; names as hostile as files allow."""
    evil = 'a\x1b[31m|<b>&"\n::error::x,y:z%0A\ud83d\ude00'.encode("utf-16", "surrogatepass").decode("utf-16")
    scales = [make_scale("good"), make_scale("dim"), make_scale(evil)]
    split = make_split(tmp_path, SPEAKERS)
    make_run(tmp_path, split, "old", {scale.name: column() for scale in scales}, scales)
    after = {"good": column(seed=1), "dim": column(-0.02, 0.03, seed=2), evil: column(-0.3, seed=3)}
    make_run(tmp_path, split, "new", after, scales)
    given_margins = {"good": 0.05, "dim": 0.02, evil: 0.02}
    mini = str(tmp_path / "mini")
    baseline = record(tmp_path / "runs", mini, "old", today=TODAY, margins=given_margins, days=1)
    return check(tmp_path / "runs", baseline, today=date(2027, 1, 1), method="new", split=mini)


def test_the_text_has_a_line_and_a_sentence_for_each_rule(three: Check) -> None:
    text = verdict_text(three)
    assert "\x1b" not in text
    assert [ruling.verdict for ruling in three.rulings] == ["regression", "undecided", "pass"]
    for ruling in three.rulings:
        assert re.search(rf"^{re.escape(ruling.scale)} +{ruling.verdict} ", text, re.M)
        assert ruling.sentence in " ".join(text.split())
    assert text.endswith(f"{three.conclusion}\n")
    assert three.conclusion.startswith("regression: ")
    assert "expired on 2026-03-02" in text
    assert max(map(len, text.splitlines())) <= 160


def test_json_is_whole_and_plain(three: Check) -> None:
    found = json.loads(verdict_json(three))
    assert found["verdict"] == "regression"
    assert found["failed"] is True
    assert {one["scale"]: one["answer"]["verdict"] for one in found["rulings"]} == {
        ruling.scale: ruling.verdict for ruling in three.rulings
    }
    assert found["rulings"][0]["answer"]["lower"] == three.rulings[0].answer.lower
    assert found["expires"] == "2026-03-02"


def cases(text: str) -> dict[str, str]:
    root = ElementTree.fromstring(text)
    (suite,) = root
    found = {}
    for case in suite:
        (inside,) = case
        found[str(case.get("name"))] = inside.tag
    for element in (root, suite):
        assert element.get("tests") == str(len(found))
        for name, tag in (("failures", "failure"), ("skipped", "skipped"), ("errors", "error")):
            assert element.get(name) == str(list(found.values()).count(tag))
    return found


def test_junit_fails_what_fails_the_check_and_skips_what_is_undecided(three: Check) -> None:
    plain, strict = cases(junit(three)), cases(junit(three._replace(strict=True)))
    tags = {"pass": "system-out", "undecided": "skipped", "regression": "failure"}
    assert {ruling.verdict for ruling in three.rulings} == set(tags)
    for ruling in three.rulings:
        assert plain[ruling.scale] == tags[ruling.verdict]
        assert strict[ruling.scale] == ("system-out" if ruling.verdict == "pass" else "failure")
    assert (plain["baseline in date"], strict["baseline in date"]) == ("skipped", "failure")
    assert cases(junit_error("no \x00 scores")) == {"check": "error"}


def commands(text: str) -> list[tuple[str, dict[str, str], str]]:
    """Workflow commands as a runner reads them."""
    found = []
    for line in text.splitlines():
        match = re.fullmatch(r"::(\w+) ([^:]*)::(.*)", line)
        assert match is not None, line
        properties = dict(item.split("=", 1) for item in match[2].split(","))
        for escape, char in (("%3A", ":"), ("%2C", ","), ("%0D", "\r"), ("%0A", "\n"), ("%25", "%")):
            properties = {name: value.replace(escape, char) for name, value in properties.items()}
        data = match[3].replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%")
        found.append((match[1], properties, data))
    return found


def test_annotations_say_what_they_say_whatever_the_names_are(three: Check) -> None:
    levels = {"regression": "error", "undecided": "warning"}
    wanted = [
        (levels[ruling.verdict], {"title": f"avbench gate: {ruling.scale} {ruling.verdict}"}, ruling.sentence)
        for ruling in three.rulings
        if ruling.verdict != "pass"
    ]
    found = commands(github(three))
    assert found[:-2] == wanted
    assert [severity for severity, _, _ in found[-2:]] == ["warning", "notice"]
    assert {severity for severity, _, _ in commands(github(three._replace(strict=True)))} == {"error", "notice"}
    assert commands(github_error("100 %\n::error::x"))[0][2] == "100 %\n::error::x"


def test_the_step_summary_is_a_table_whatever_the_names_are(three: Check) -> None:
    lines = verdict_markdown(three).splitlines()
    table = [line for line in lines if line.startswith("|")]
    assert len(table) == 2 + len(three.rulings)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in table} == {10}
    assert lines[0].startswith("### avbench gate: regression")


# The command -------------------------------------------------------------------------------------------------------


def test_the_command_ends_with_the_verdict(tmp_path: Path) -> None:
    split = make_split(tmp_path, SPEAKERS)
    for method, shift, spread in (("old", 0.0, 0.01), ("same", 0.0, 0.01), ("worse", -0.2, 0.01), ("noisy", 0.0, 0.2)):
        make_run(tmp_path, split, method, {"sim": column(shift, spread)})
    mini, path = str(tmp_path / "mini"), tmp_path / "gate.json"
    said = avbench("gate", "record", tmp_path / "runs", "--method", "old", "--split", mini, "--margin", "sim=0.02", "--out", path,
        home=tmp_path).stderr  # fmt: skip
    assert said.splitlines()[0] == "sim: margin 0.02"

    def checked(method: str, *options: object, expect: int) -> subprocess.CompletedProcess[str]:
        words = ("gate", "check", tmp_path / "runs", "--baseline", path, "--split", mini, "--method", method)
        return avbench(*words, *options, home=tmp_path, expect=expect)

    assert checked("same", "--strict", expect=0).stdout.endswith("pass: 1 rule, no regression.\n")
    assert "sim got worse" in checked("worse", expect=1).stdout
    assert "undecided" in checked("noisy", expect=0).stdout
    checked("noisy", "--strict", expect=1)
    checked("worse", "--rule", "sim:margin=0.5", expect=0)
    assert json.loads(checked("worse", "--format", "json", expect=1).stdout)["verdict"] == "regression"
    files = tmp_path / "ci"
    files.mkdir()
    (files / "summary.md").write_text("before\n")
    done = checked(
        "worse", "--format", "github", "--junit", files / "g.xml", "--summary", files / "summary.md", expect=1
    )
    assert commands(done.stdout)[0][0] == "error"
    assert cases((files / "g.xml").read_text()) == {"sim": "failure"}
    assert (files / "summary.md").read_text().startswith("before\n### avbench gate: regression: sim")
    (tmp_path / "runs" / "same" / "mini" / "scores.jsonl").unlink()
    summary = files / "refused.md"
    done = checked("same", "--format", "github", "--junit", files / "g.xml", "--summary", summary, expect=4)
    assert commands(done.stdout)[0][0] == "error"
    assert cases((files / "g.xml").read_text()) == {"check": "error"}
    assert summary.read_text().startswith("**avbench gate: not checked.**")
    done = checked("same", "--junit", files / "g.xml" / "no", expect=4)  # a place that cannot be
    assert "no scores" in done.stderr
    done = checked("worse", "--junit", files / "g.xml" / "no", expect=2)
    assert "sim got worse" in done.stdout, "the verdict is printed before a file fails"


# The action and the workflow ----------------------------------------------------------------------------------------


def described(path: str) -> Any:
    return yaml.safe_load((ROOT / path).read_text())


def parsed(words: Sequence[str]) -> click.Context:
    """The words after `avbench` as the command line understands them; a wrong option or a missing one is an error."""
    command: click.Command = gate if words[0] == "gate" else app.commands[words[0]]
    rest = list(words[1:])
    while isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    return command.make_context(command.name, rest)


def test_every_avbench_command_of_the_workflow_is_one() -> None:
    (job,) = described(".github/workflows/gate.yml")["jobs"].values()
    found = [
        shlex.split(line)[1:]
        for step in job["steps"]
        for line in str(step.get("run", "")).splitlines()
        if line.startswith(".venv/bin/avbench")
    ]
    assert [parsed(words).info_name for words in found] == ["demo", "demo", "record"]
    with pytest.raises(click.UsageError):
        parsed(["gate", "record", "--methods", "x"])


def test_what_the_workflow_gives_the_action_is_what_it_takes() -> None:
    action = described(".github/actions/gate/action.yml")
    (job,) = described(".github/workflows/gate.yml")["jobs"].values()
    (step,) = (step for step in job["steps"] if step.get("uses") == "./.github/actions/gate")
    required = {name for name, one in action["inputs"].items() if one.get("required")}
    assert required <= set(step["with"]) <= set(action["inputs"])
    assert all("default" in one for name, one in action["inputs"].items() if name not in required)
    recorded = next(line for one in job["steps"] if "gate record" in (line := str(one.get("run", ""))))
    assert Path(step["with"]["baseline"]).name == Path(shlex.split(recorded)[-1]).name


def test_actions_of_others_are_pinned_and_inputs_are_never_pasted_into_scripts() -> None:
    for path in [*ROOT.glob(".github/workflows/*.yml"), *ROOT.glob(".github/actions/*/action.yml")]:
        content = yaml.safe_load(path.read_text())
        runs = [content["runs"]] if "runs" in content else list(content["jobs"].values())
        for step in (step for one in runs for step in one["steps"]):
            assert re.fullmatch(r"\./.+|[\w./-]+@[0-9a-f]{40}|", step.get("uses", "")), path
            assert "${{" not in step.get("run", ""), path


@pytest.mark.parametrize(
    ("method", "extra", "code"),
    [
        ("same", {}, 0),
        ("worse", {"RULES": "sim:margin=0.02\n\n  other\n"}, 1),
        ("worse", {"RULES": "sim:margin=0.5"}, 0),
    ],
)
def test_the_action_runs_the_gate(tmp_path: Path, method: str, extra: dict[str, str], code: int) -> None:
    place = tmp_path / "a folder; touch x"  # inputs are data
    split = make_split(place, SPEAKERS)
    for name, shift in (("old", 0.0), ("same", 0.0), ("worse", -0.2)):
        make_run(place, split, name, {scale: column(shift) for scale in ("sim", "other")})
    baseline = record(
        place / "runs", str(place / "mini"), "old", today=TODAY, margins={"sim": 0.02, "other": 0.5}, days=None
    )
    write_baseline(place / "gate.json", baseline)
    (step,) = described(".github/actions/gate/action.yml")["runs"]["steps"]
    inputs = {"BASELINE": place / "gate.json", "RUNS": place / "runs", "METHOD": method, "SPLIT": place / "mini", "RULES": "",
        "ALPHA": "0.05", "STRICT": "true", "JUNIT": place / "gate.xml", "COMMAND": " ".join(COMMAND)}  # fmt: skip
    assert set(inputs) == set(step["env"])
    for name, value in step["env"].items():
        assert value == f"${{{{ inputs.{name.lower()} }}}}"
    variables = {name: str(value) for name, value in inputs.items()} | extra
    done = subprocess.run(
        ["bash", "-c", step["run"]],
        env={**environment(tmp_path), **variables, "GITHUB_STEP_SUMMARY": str(place / "summary.md")},
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert commands(done.stdout)[-1][0] == "notice"
    assert (place / "summary.md").read_text().startswith("### avbench gate: ")
    assert len(cases((place / "gate.xml").read_text())) == {"": 2, "sim:margin=0.5": 1}.get(variables["RULES"], 2)
    assert sorted(path.name for path in place.iterdir()) == ["gate.json", "gate.xml", "mini", "runs", "summary.md"]


# The demo ----------------------------------------------------------------------------------------------------------

DEMO_MARGINS = {"spk_sim_ge2e": 0.02, "face_sim_dlib": 0.02, "av_corr": 0.1}


@pytest.fixture(scope="session")
def demo_baseline(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The truth's scores, recorded by the command."""
    path = tmp_path_factory.mktemp("gate") / "truth.json"
    options = [word for name, margin in DEMO_MARGINS.items() for word in ("--margin", f"{name}={margin}")]
    avbench("gate", "record", demo.runs, "--method", "truth", *options, "--out", path, home=demo.home)
    return path


@pytest.mark.parametrize(
    ("method", "worse"),
    [
        ("truth", []),
        ("stranger", ["spk_sim_ge2e", "face_sim_dlib"]),
        ("shifted@frames=8", ["av_corr"]),
        ("still", ["av_corr"]),
    ],
)
def test_damage_of_the_demo_fails_the_gate_and_names_the_scale(
    demo: Demo, demo_baseline: Path, method: str, worse: list[str]
) -> None:
    done = avbench("gate", "check", demo.runs, "--baseline", demo_baseline, "--method", method, "--strict",
        home=demo.home, expect=bool(worse))  # fmt: skip
    assert re.findall(r"^(\w+) got worse: ", done.stdout, re.M) == worse
    assert len(re.findall(r"^\w+ +(?:pass|regression) ", done.stdout, re.M)) == len(DEMO_MARGINS)  # none undecided


def test_a_voice_swapped_and_a_mouth_frozen_in_a_cascade_fail_its_own_gate(demo: Demo, tmp_path: Path) -> None:
    path = tmp_path / "classical.json"
    avbench("gate", "record", demo.runs, "--method", "classical", "--margin", "spk_sim_ge2e_ref=0.02", "--margin",
        "av_corr=0.1", "--out", path, home=demo.home)  # fmt: skip
    for method, scale in (("classical@voice=plain", "spk_sim_ge2e_ref"), ("classical@mouth=frozen", "av_corr")):
        done = avbench("gate", "check", demo.runs, "--baseline", path, "--method", method, home=demo.home, expect=1)
        assert re.findall(r"^(\w+) got worse: ", done.stdout, re.M) == [scale]
