"""Comparisons: hand fractions, independent tools, what never pays, and what is printed. Properties by hypothesis."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp, wilcoxon
from statsmodels.stats.multitest import multipletests

from avbench.cli.compare import compare as compare_command
from avbench.cli.compare import power as power_command
from avbench.compare import Claim, Comparison, Comparisons, compare, even_clips, finding, paired, plan
from avbench.errors import Incomparable, Incomplete, UsageError
from avbench.metric import Scale
from avbench.report.comparison import COMPARISON_FORMATS, comparison_json, comparison_latex, comparison_text, plan_text
from avbench.results import Entry, Results, Scores
from avbench.run import RunInfo
from avbench.stats import power, sign_flip, smallest_effect

from .paper import compiled, needs_latex
from .scored import make_run, make_scale, make_split, results_of

Outcome = float | str  # a value, or why there is none
FAILED = "no face"
SPEAKERS = ("ann", "ann", "bob", "cid")
UNEQUAL = ("a", "b", "b", "c", "d", "d", "d", "e")


def scores(outcomes: Sequence[Outcome], words: Sequence[float] | None = None) -> Scores:
    places = [place for place, one in enumerate(outcomes) if not isinstance(one, str)]
    failed = [place for place, one in enumerate(outcomes) if isinstance(one, str)]
    weights = [1.0 if words is None else words[place] for place in places]
    return Scores(
        measured=np.array(places, dtype=np.int32),
        values=np.array([outcomes[place] for place in places], dtype=np.float64),
        weights=np.array(weights, dtype=np.float64),
        failed=np.array(failed, dtype=np.int32),
        reasons=(FAILED,) * len(failed),
    )


def results(
    found: Mapping[str, Sequence[Outcome]],
    speakers: Sequence[str] = SPEAKERS,
    scale: Scale | None = None,
    words: Mapping[str, Sequence[float]] | None = None,
    entries: Mapping[str, Entry] | None = None,
) -> Results:
    """Of one scale, by hand: for each method an outcome of each pair."""
    scale = scale or make_scale()
    names = tuple(dict.fromkeys(speakers))
    return Results(
        split="mini@01234567",
        title="A split for tests",
        note="",
        ranks=True,
        profile="embedded",
        pairs=tuple(f"p{place}" for place in range(len(speakers))),
        speakers=names,
        speaker_of=np.array([names.index(one) for one in speakers], dtype=np.int32),
        methods=tuple((entries or {}).get(name, Entry(name, name.upper(), "model", False, 0)) for name in found),
        scales=(scale,),
        scores={(name, scale.name): scores(of, (words or {}).get(name)) for name, of in found.items()},
        notices=(),
    )


def rows(found: Mapping[str, Sequence[Outcome]], *more: Any, **options: Any) -> dict[str, Comparison]:
    """Of all methods against the first, by name."""
    baseline, *others = found
    return {row.other: row for row in compare(results(found, *more), baseline, others, **options).rows}


def one(ours: Sequence[Outcome], theirs: Sequence[Outcome], *more: Any, **options: Any) -> Comparison:
    return rows({"base": theirs, "ours": ours}, *more, **options)["ours"]


# Numbers, by hand and by an independent tool -----------------------------------------------------------------------


def test_a_difference_is_the_mean_over_speakers_of_other_minus_baseline() -> None:
    row = one([0.75, 0.5, 0.5, 1.0], [0.25, 0.5, 0.25, 0.5])
    ann, bob, cid = (Fraction(1, 2) + 0) / 2, Fraction(1, 4), Fraction(1, 2)
    assert row.difference == float((ann + bob + cid) / 3)
    assert (row.pairs, row.speakers, row.wins, row.ties, row.losses) == (4, 3, 3, 1, 0)
    assert row.binomial == 0.25  # 2 / 2^3


def test_the_speaker_is_the_unit_whatever_the_number_of_clips() -> None:
    found = results({"base": [0.0] * 8, "ours": [1.0, 2.0, 4.0, 0.5, 3.0, 3.0, 9.0, 0.0]}, UNEQUAL)
    pairs = paired(found, found.scales[0], "base", "ours")
    assert pairs.means.tolist() == [1.0, 3.0, 0.5, 5.0, 0.0]
    assert pairs.clips.tolist() == [1, 2, 1, 3, 1]
    assert pairs.heard.tolist() == [0, 1, 2, 3, 4]
    assert pairs.speakers.tolist() == [0, 1, 1, 2, 3, 3, 3, 4]
    assert pairs.weights.tolist() == [1.0] * 8


def test_estimate_interval_and_p_are_students_t_on_speaker_means() -> None:
    ours = [0.71, 0.65, 0.80, 0.42, 0.55, 0.61, 0.58, 0.90]
    row = one(ours, [0.5] * 8, UNEQUAL, confidence=0.9)
    means = [np.mean([o - 0.5 for o, s in zip(ours, UNEQUAL, strict=True) if s == name]) for name in "abcde"]
    tool = ttest_1samp(means, 0.0)
    assert row.p == pytest.approx(tool.pvalue, rel=1e-12)
    interval = tool.confidence_interval(0.9)
    assert (row.lower, row.upper) == pytest.approx((interval.low, interval.high), rel=1e-12)
    assert row.effect == pytest.approx(np.mean(means) / np.std(means, ddof=1), rel=1e-12)
    assert row.sign_flip is not None
    assert (row.sign_flip.exact, row.sign_flip.attainable) == (True, 2 / 2**5)


def test_a_difference_above_zero_is_better_whatever_the_direction() -> None:
    ours, theirs = [1.0, 2.0, 3.0, 4.0], [2.0, 4.0, 8.0, 8.0]
    higher, lower = (one(ours, theirs, SPEAKERS, make_scale(direction=way)) for way in ("higher", "lower"))
    assert higher.difference is not None
    assert lower.difference == -higher.difference > 0
    assert (lower.wins, lower.losses) == (higher.losses, higher.wins) == (4, 0)
    assert (lower.p, lower.sign_flip) == (higher.p, higher.sign_flip)


def test_a_scale_without_direction_is_shown_as_measured_and_takes_no_claim() -> None:
    row = one([9.0] * 3 + [9.5], [1.0] * 4, SPEAKERS, make_scale(direction="none"))
    assert row.difference == pytest.approx(8 + 1 / 6)
    assert row.p is not None
    assert row.p < 0.05
    assert (row.wins, row.ties, row.losses, row.binomial) == (None, None, None, None)
    assert (row.claim, row.why) == ("none", "no direction")


def test_pairs_of_a_corpus_weigh_by_their_words() -> None:
    corpus, words = make_scale(aggregate="corpus"), {"base": [1, 3, 5, 7], "ours": [1, 3, 5, 7]}
    found = results({"base": [0.0] * 4, "ours": [8.0, 4.0, 2.0, 3.0]}, SPEAKERS, corpus, words)
    assert paired(found, corpus, "base", "ours").means.tolist() == [(8 + 12) / 4, 2.0, 3.0]
    assert compare(found, "base", ["ours"]).rows[0].difference == (5 + 2 + 3) / 3


def test_words_that_differ_between_methods_are_refused_with_pair_and_numbers() -> None:
    words = {"base": [1, 3, 5, 7], "ours": [1, 3, 6, 7]}
    found = results({"base": [0.0] * 4, "ours": [1.0] * 4}, SPEAKERS, make_scale(aggregate="corpus"), words)
    with pytest.raises(UsageError, match=r"sim of pair p2: 6 words for ours, 5 for base; expected as many"):
        compare(found, "base", ["ours"])


def test_adjusted_p_are_those_of_an_independent_tool() -> None:
    random = np.random.default_rng(5)
    found = {"base": [0.0] * 8, **{f"m{n}": (0.3 * n + random.normal(size=8)).tolist() for n in range(4)}}
    for ours, theirs in (("holm", "holm"), ("bh", "fdr_bh")):
        compared = rows(found, [f"s{n}" for n in range(8)], adjust=ours)
        expected = multipletests([row.p for row in compared.values()], method=theirs)[1]
        assert [row.adjusted for row in compared.values()] == pytest.approx(expected, rel=1e-12)
    plain = rows(found, [f"s{n}" for n in range(8)], adjust="none").values()
    assert [row.adjusted for row in plain] == [row.p for row in plain]


def test_what_could_have_been_found_is_larger_where_more_is_asked() -> None:
    ours = [0.71, 0.65, 0.80, 0.42, 0.55, 0.61, 0.58, 0.90]
    found = {"base": [0.5] * 8, "ours": ours, "more": [value + 0.01 * n for n, value in enumerate(ours)]}
    single = one(ours, [0.5] * 8, UNEQUAL).smallest
    double, bare = (rows(found, UNEQUAL, adjust=adjust)["ours"].smallest for adjust in ("holm", "none"))
    assert single is not None
    assert double is not None
    assert single == bare
    assert double > single
    half = one(ours, [0.5] * 8, UNEQUAL, alpha=0.025).smallest
    assert double == half


@pytest.mark.parametrize(
    ("test", "label"),
    [("binomial", "clips as independent"), ("wilcoxon", "clips as independent"),
     ("permutation", "clips as independent"), ("bootstrap", "speakers resampled")],
)  # fmt: skip
def test_a_named_alternative_is_shown_and_labelled_and_claims_nothing(test: str, label: str) -> None:
    found = results({"base": [0.5] * 8, "ours": [0.71, 0.65, 0.80, 0.42, 0.55, 0.61, 0.58, 0.90]}, UNEQUAL)
    plain, shown = compare(found, "base", ["ours"]), compare(found, "base", ["ours"], test=test)
    row = shown.rows[0]
    assert label in shown.caption
    assert label not in plain.caption
    assert row._replace(alternative=None) == plain.rows[0]
    assert row.alternative is not None
    if test == "bootstrap":
        assert row.alternative.lower is not None
        assert row.alternative.upper is not None
        assert row.difference is not None
        assert row.alternative.lower < row.difference < row.alternative.upper
    else:
        assert row.alternative.p is not None
        assert 0.0 < row.alternative.p < 1.0


def test_clipwise_alternatives_are_those_of_an_independent_tool() -> None:
    ours = [0.71, 0.66, 0.80, 0.42, 0.55, 0.62, 0.57, 0.90]
    alternative = one(ours, [0.5] * 8, UNEQUAL, test="wilcoxon").alternative
    assert alternative is not None
    assert alternative.p == pytest.approx(wilcoxon(np.array(ours) - 0.5).pvalue, rel=1e-12)


# What may not be claimed -------------------------------------------------------------------------------------------


def many(value: float, spread: float = 0.01, count: int = 8) -> list[Outcome]:
    """So near to a value that any difference is seen."""
    return [value + spread * (-1) ** place * (1 + place / 9) for place in range(count)]


EIGHT = [f"s{place}" for place in range(8)]


def test_claims_are_made_where_the_adjusted_p_is_below_alpha() -> None:
    assert [(row.claim, row.why) for row in rows({"base": [0.5] * 8, "up": many(0.8), "down": many(0.2)}, EIGHT).values()] == [
        ("better", ""), ("worse", ""),
    ]  # fmt: skip
    close = one(many(0.502), [0.5] * 8, EIGHT)
    assert (close.claim, close.why) == ("none", "not significant")
    assert close.adjusted is not None
    assert close.adjusted > 0.05
    assert one(many(0.502), [0.5] * 8, EIGHT, alpha=close.adjusted + 1e-9).claim == "better"


def test_a_measured_clip_beats_a_failed_one_and_two_failed_ones_tie() -> None:
    row = one([FAILED, 0.9, FAILED, 0.1], [FAILED, FAILED, 0.5, 0.5])
    assert (row.wins, row.ties, row.losses) == (1, 1, 2)
    assert (row.pairs, row.other_gaps, row.baseline_gaps, row.both_failed) == (1, 1, 1, 1)


def test_who_has_a_gap_is_not_called_better_and_may_be_called_worse() -> None:
    good, bad = [*many(0.8)[:7], FAILED], [*many(0.2)[:7], FAILED]
    assert (one(good, [0.5] * 8, EIGHT).claim, one(good, [0.5] * 8, EIGHT).why) == ("none", "gap")
    assert one(bad, [0.5] * 8, EIGHT).claim == "worse"
    assert one([0.5] * 8, good, EIGHT).why == "gap"
    assert one([0.5] * 8, bad, EIGHT).claim == "better"


def test_pairs_that_failed_for_both_are_nobodys_fault() -> None:
    row = one([*many(0.8)[:7], FAILED], [*[0.5] * 7, FAILED], EIGHT)
    assert (row.claim, row.pairs, row.ties) == ("better", 7, 1)


def test_to_others_a_comparison_with_an_unmeasured_pair_counts_as_one() -> None:
    whole = rows({"base": [0.5] * 8, "ours": many(0.505), "more": many(0.8)}, EIGHT)
    torn = rows({"base": [0.5] * 8, "ours": many(0.505), "more": [*many(0.8)[:7], FAILED]}, EIGHT)
    assert whole["ours"].adjusted == whole["ours"].p
    assert torn["ours"].p == whole["ours"].p
    assert torn["ours"].adjusted == 2 * (torn["ours"].p or 0)


@pytest.mark.parametrize("both", [1.0, 0.5])
def test_one_speaker_has_a_difference_and_neither_interval_nor_claim(both: float) -> None:
    row = one([1.0, both], [0.0, 0.0], ["ann", "ann"], test="bootstrap")
    assert row.difference == (1 + both) / 2
    assert (row.lower, row.p, row.adjusted, row.sign_flip, row.smallest) == (None,) * 5
    assert (row.claim, row.why) == ("none", "one speaker")


def test_where_nothing_is_measured_for_both_nothing_is_a_number() -> None:
    row = one([FAILED] * 4, [FAILED] * 4, test="wilcoxon")
    assert (row.difference, row.p, row.ties, row.why) == (None, None, 4, "nothing measured")
    assert one([FAILED] * 4, [0.5] * 4).why == "gap"


def test_speakers_that_differ_alike_are_judged_by_sign_flips() -> None:
    two = one([0.6, 0.6], [0.5, 0.5], ["ann", "bob"])
    assert (two.p, two.claim, two.effect, two.smallest) == (0.5, "none", None, None)
    eight = one([0.7] * 8, [0.6] * 8, EIGHT)
    assert (eight.p, eight.claim) == (2 / 2**8, "better")
    rounded = one([0.1 + 0.1 * n for n in range(2)], [0.1 * n for n in range(2)], ["ann", "bob"])  # equal but for bits
    assert rounded.p == 0.5


def test_a_method_that_does_the_same_is_no_claim() -> None:
    compared = compare(results({"base": [0.5] * 4, "same": [0.5] * 4}), "base", ["same"])
    row = compared.rows[0]
    assert (row.difference, row.lower, row.upper, row.p, row.claim, row.ties) == (0.0, 0.0, 0.0, 1.0, "none", 4)
    assert finding(row, compared) == "SAME: no speaker's mean differs from BASE's."


# What is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"untrained": True}, "its generator has no trained weights"),
        ({"limited": 2}, "was limited to 2 pairs; expected all 4"),
    ],
)
def test_untrained_and_limited_methods_are_refused(change: Mapping[str, Any], said: str) -> None:
    entry = Entry("ours", "Ours", "model", False, 0)._replace(**change)
    found = results({"base": [0.0] * 4, "ours": [1.0] * 4}, entries={"ours": entry})
    for baseline, other in (("base", "ours"), ("ours", "base")):
        with pytest.raises(UsageError, match=said):
            compare(found, baseline, [other])


@pytest.mark.parametrize(
    ("others", "options", "said"),
    [
        (["our"], {}, "unknown method 'our'. Did you mean ours"),
        (["ours", "ours"], {}, "'ours' is named twice"),
        (["base"], {}, "'base' is named twice"),
        ([], {}, "nothing to compare"),
        (["ours"], {"alpha": 0.0}, "alpha = 0"),
        (["ours"], {"confidence": 95.0}, "confidence = 95"),
        (["ours"], {"adjust": "bonferroni"}, "unknown adjustment 'bonferroni'"),
        (["ours"], {"test": "welch"}, "unknown test 'welch'"),
    ],
)
def test_other_requests_are_refused_with_what_was_expected(
    others: list[str], options: dict[str, Any], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        compare(results({"base": [0.0] * 4, "ours": [1.0] * 4}), "base", others, **options)


def test_missing_scores_stop_a_comparison_and_name_the_command(tmp_path: Path) -> None:
    split = make_split(tmp_path, {"p1": "ann", "p2": "bob"})
    make_run(tmp_path, split, "base", {"sim": {"p1": 0.5, "p2": 0.5}})
    make_run(tmp_path, split, "ours", {"sim": {"p1": 0.5}})
    found = results_of(tmp_path)
    command = rf"`avbench score {tmp_path / 'runs'} --split mini --method ours`"
    for baseline, other in (("base", "ours"), ("ours", "base")):
        with pytest.raises(Incomplete, match=f"sim: 1 of 2 pairs have no score for ours; .*{command}"):
            paired(found, found.scales[0], baseline, other)


# Properties ----------------------------------------------------------------------------------------------------------

value = st.integers(-40, 40).map(lambda number: number / 16) | st.floats(-3, 3).filter(
    lambda number: number == 0 or abs(number) > 1e-100
)
outcome = value | st.just(FAILED)
directions = st.sampled_from(["higher", "lower"])


@st.composite
def methods(draw: st.DrawFn, least: int = 2, most: int = 2) -> tuple[dict[str, list[Outcome]], list[str]]:
    """Outcomes of some methods, and the speaker of each pair."""
    pairs = draw(st.integers(2, 9))
    speakers = [f"s{draw(st.integers(0, 4))}" for _ in range(pairs)]
    count = draw(st.integers(least, most))
    shift = draw(st.sampled_from([0.0, 2.0, -8.0]))
    found: dict[str, list[Outcome]] = {}
    for number in range(count):
        drawn = draw(st.lists(outcome, min_size=pairs, max_size=pairs))
        found[f"m{number}"] = [one if isinstance(one, str) else one + number * shift for one in drawn]
    return found, speakers


MIRRORED: dict[Claim, Claim] = {"better": "worse", "worse": "better", "none": "none"}


def negated(number: float | None) -> float | None:
    return None if number is None else -number


@given(methods(), directions, st.sampled_from(["t", "binomial", "wilcoxon", "permutation", "bootstrap"]))
@settings(max_examples=100, deadline=None)
def test_a_against_b_is_minus_b_against_a_to_the_last_bit(
    drawn: tuple[dict[str, list[Outcome]], list[str]], direction: str, test: str
) -> None:
    found, speakers = drawn
    of = results(found, speakers, make_scale(direction=direction))
    ((there,), (back,)) = (compare(of, a, [b], test=test).rows for a, b in (("m0", "m1"), ("m1", "m0")))
    alternative = there.alternative
    mirrored = there._replace(
        baseline=there.other,
        other=there.baseline,
        difference=negated(there.difference),
        lower=negated(there.upper),
        upper=negated(there.lower),
        flip_lower=negated(there.flip_upper),
        flip_upper=negated(there.flip_lower),
        effect=negated(there.effect),
        wins=there.losses,
        losses=there.wins,
        other_gaps=there.baseline_gaps,
        baseline_gaps=there.other_gaps,
        alternative=alternative
        and alternative._replace(lower=negated(alternative.upper), upper=negated(alternative.lower)),
        claim=MIRRORED[there.claim],
    )
    assert mirrored == back


@pytest.mark.parametrize("test", ["bootstrap", "permutation"])
def test_what_is_drawn_at_random_is_mirrored_too(test: str) -> None:
    random = np.random.default_rng(3)
    speakers = [f"s{place}" for place in range(25)]
    of = results({"a": random.exponential(size=25).tolist(), "b": random.exponential(size=25).tolist()}, speakers)
    ((there,), (back,)) = (compare(of, *names, test=test).rows for names in (("a", ["b"]), ("b", ["a"])))
    assert there.sign_flip is not None
    assert not there.sign_flip.exact
    assert there.sign_flip == back.sign_flip
    assert there.alternative is not None
    assert back.alternative is not None
    assert (there.flip_lower, there.flip_upper) == (negated(back.flip_upper), negated(back.flip_lower))
    assert there.alternative.p == back.alternative.p
    assert there.alternative.lower == negated(back.alternative.upper)


@given(methods(2, 4), st.randoms(use_true_random=False), st.sampled_from(["t", "wilcoxon", "permutation", "bootstrap"]))
@settings(max_examples=60, deadline=None)
def test_the_order_of_pairs_and_speakers_changes_nothing(
    drawn: tuple[dict[str, list[Outcome]], list[str]], random: Any, test: str
) -> None:
    found, speakers = drawn
    order = list(range(len(speakers)))
    random.shuffle(order)
    shuffled = {name: [of[place] for place in order] for name, of in found.items()}
    assert rows(shuffled, [speakers[place] for place in order], test=test) == rows(found, speakers, test=test)


@given(methods(2, 3), st.sampled_from([2.0**-30, 0.25, 1024.0]))
@settings(max_examples=60, deadline=None)
def test_rescaling_a_scale_changes_no_p_and_no_count(
    drawn: tuple[dict[str, list[Outcome]], list[str]], factor: float
) -> None:
    found, speakers = drawn
    rescaled = {name: [one if isinstance(one, str) else one * factor for one in of] for name, of in found.items()}
    for before, after in zip(rows(found, speakers).values(), rows(rescaled, speakers).values(), strict=True):
        for field in ("p", "adjusted", "sign_flip", "wins", "ties", "losses", "binomial", "effect", "claim", "why"):
            assert getattr(after, field) == getattr(before, field), field
        if before.difference is not None:
            assert after.difference == before.difference * factor


@given(methods(2, 4), st.sampled_from([0.1, 3.7, 1e6]))
@settings(max_examples=60, deadline=None)
def test_rescaling_by_any_factor_changes_p_by_rounding_alone(
    drawn: tuple[dict[str, list[Outcome]], list[str]], factor: float
) -> None:
    found, speakers = drawn
    tenths = {name: [one if isinstance(one, str) else round(one * 8) / 8 for one in of] for name, of in found.items()}
    rescaled = {name: [one if isinstance(one, str) else one * factor for one in of] for name, of in tenths.items()}
    for before, after in zip(rows(tenths, speakers).values(), rows(rescaled, speakers).values(), strict=True):
        assert after.p == pytest.approx(before.p, rel=1e-6) if before.p is not None else after.p is None


@given(methods(3, 4), directions, st.data())
@settings(max_examples=200, deadline=None)
def test_turning_a_measured_clip_into_a_failure_never_pays(
    drawn: tuple[dict[str, list[Outcome]], list[str]], direction: str, data: st.DataObject
) -> None:
    found, speakers = drawn
    measured = [(name, n) for name, of in found.items() for n, one in enumerate(of) if not isinstance(one, str)]
    assume(measured)
    loser, place = data.draw(st.sampled_from(measured))
    after = {**found, loser: [*found[loser][:place], FAILED, *found[loser][place + 1 :]]}
    alpha = data.draw(st.sampled_from([0.05, 0.4]))
    adjust = data.draw(st.sampled_from(["holm", "bh"]))
    scale = make_scale(direction=direction)
    then, now = (rows(of, speakers, scale, alpha=alpha, adjust=adjust) for of in (found, after))
    if loser == "m0":  # the baseline
        for name in then:
            assert (now[name].losses or 0) <= (then[name].losses or 0)
            assert not (now[name].claim == "worse" and then[name].claim != "worse")
        return
    assert (now[loser].wins or 0) <= (then[loser].wins or 0)
    for name in then:  # nor does it help another
        assert not (now[name].claim == "better" and then[name].claim != "better")


def test_failing_where_the_baseline_has_failed_opens_no_claim() -> None:
    """Were a gap of the baseline to bar the claim, failing there too would bring it back."""
    base: list[Outcome] = [*[0.5] * 7, FAILED]
    ours = many(0.8)
    assert one(ours, base, EIGHT).claim == one([*ours[:7], FAILED], base, EIGHT).claim == "better"


# What is printed -----------------------------------------------------------------------------------------------------


def several() -> Comparisons:
    found = results({"base": [0.5] * 8, "up": many(0.8), "near": many(0.501), "torn": [*many(0.8)[:7], FAILED]}, EIGHT)
    return compare(found, "base", ["up", "near", "torn"])


def test_the_text_says_what_is_claimed_why_not_and_what_could_have_been_found() -> None:
    text = comparison_text(several())
    near = several().rows[1]
    assert near.smallest is not None
    assert f"NEAR: not told apart from BASE; a true difference of {near.smallest:.3f} would have been found" in text
    assert "TORN: no claim, as 1 pair failed for TORN alone." in text
    lines = {
        line.split()[0]: line for line in text.splitlines() if line.split()[-1:] in (["better"], ["none"], ["gap"])
    }
    assert lines["UP"].split()[-1] == "better"
    assert "8/0/0" in lines["UP"]
    assert lines["TORN"].endswith("none: gap")
    assert "7/0/1" in lines["TORN"]
    assert "UP: " not in text
    assert text.endswith("\n")
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_pairs_and_speakers_are_columns_where_they_differ_and_in_the_caption_where_not() -> None:
    (head,) = (line for line in comparison_text(several()).splitlines() if line.startswith("method"))
    assert head.split()[-6:] == ["possible", "pairs", "speakers", "W/T/L", "detectable", "claim"]
    even = comparison_text(compare(results({"a": [0.0] * 4, "b": [1.0, 2.0, 3.0, 4.0]}), "a", ["b"]))
    assert "4 pairs, 3 speakers" in even
    assert "no p below 0.25 is possible" in " ".join(even.split())
    assert "  speakers  " not in even


def test_the_json_has_every_number_and_reads_back() -> None:
    compared = several()
    read = json.loads(comparison_json(compared), parse_constant=lambda name: pytest.fail(name))
    assert [row["difference"] for row in read["rows"]] == [row.difference for row in compared.rows]
    assert set(read["rows"][0]) == {*Comparison._fields, "words"}
    assert read["rows"][0]["sign_flip"] == {"p": 2 / 2**8, "attainable": 2 / 2**8, "exact": True, "flips": 2**8}
    assert read["rows"][2]["why"] == "gap"
    assert read["scales"]["sim"]["direction"] == "higher"
    assert (read["baseline"], read["others"], read["alpha"]) == ("base", ["up", "near", "torn"], 0.05)


def test_an_unbounded_interval_is_null_and_never_infinity() -> None:
    row = one([0.6, 0.9, 0.7, 0.8], [0.5] * 4)
    assert (row.flip_lower, row.flip_upper) == (None, None)  # three speakers: no p below 0.25
    assert row.lower is not None


@needs_latex
def test_latex_compiles_whatever_the_names(tmp_path: Path) -> None:
    hostile = Entry("ours", "100 % & $x_1$ {~^\\} #é 漢 \u202e", "model", False, 0)
    scale = make_scale(label="Sim_{1}", unit="% of x", direction="none")
    found = results({"base": [0.5] * 4, "ours": [0.1, 0.4, FAILED, 0.9]}, SPEAKERS, scale, entries={"ours": hostile})
    body = comparison_latex(compare(found, "base", ["ours"], test="bootstrap"))
    assert body.isascii()
    assert "Undefined control sequence" not in compiled(tmp_path, body)


def test_digits_show_a_difference_that_the_scales_own_would_hide() -> None:
    fine = [0.5 + 0.00002 * (1 + n % 3) for n in range(8)]
    compared = compare(results({"base": [0.5] * 8, "ours": fine}, EIGHT), "base", ["ours"])
    assert compared.digits == {"sim": 6}
    assert "+0.000038" in comparison_text(compared)


# The command ---------------------------------------------------------------------------------------------------------


def run(place: Path, *words: str) -> Result:
    options = ["--runs", str(place / "runs"), "--split", str(place / "mini")]
    return CliRunner().invoke(compare_command, [*words, *options])


@pytest.fixture
def scored_runs(tmp_path: Path) -> Path:
    split = make_split(tmp_path, {f"p{n}": speaker for n, speaker in enumerate(UNEQUAL)})
    info = {"base": RunInfo("The base", order=1), "ours": RunInfo("Our own", order=2)}
    for method, start in (("base", 0.5), ("ours", 0.7)):
        outcomes = {f"p{n}": start + 0.01 * (n % 3) * (method == "ours") for n in range(8)}
        make_run(tmp_path, split, method, {"sim": outcomes, "tone": outcomes}, info=info[method])
    return tmp_path


@pytest.mark.parametrize("form", sorted(COMPARISON_FORMATS))
def test_the_command_prints_each_format_to_stdout(scored_runs: Path, form: str) -> None:
    done = run(scored_runs, "base", "ours", "--format", form, "--metric", "sim")
    assert done.exit_code == 0, done.output
    found = results_of(scored_runs, metrics=["sim"])
    assert done.stdout == COMPARISON_FORMATS[form](compare(found, "base", ["ours"]))
    assert "Our own" in done.stdout
    assert "Tone" not in done.stdout


def test_the_first_method_is_the_baseline(scored_runs: Path) -> None:
    there, back = (
        json.loads(run(scored_runs, *words, "--format", "json").stdout)["rows"][0]
        for words in (("base", "ours"), ("ours", "base"))
    )
    assert there["claim"] == "better"
    assert back["claim"] == "worse"
    assert there["difference"] == -back["difference"]


def test_other_digests_end_with_three_and_missing_rows_with_four(scored_runs: Path) -> None:
    split = make_split(scored_runs, {f"p{n}": speaker for n, speaker in enumerate(UNEQUAL)})
    make_run(scored_runs, split, "old", {"sim": {"p0": 0.5}}, split="mini@deadbeef")
    differs = run(scored_runs, "base", "old")
    assert isinstance(differs.exception, Incomparable)
    assert differs.exception.exit_code == 3
    assert "split digest differs" in str(differs.exception)
    make_run(scored_runs, split, "half", {"sim": {"p0": 0.5}})
    lacks = run(scored_runs, "base", "half", "--metric", "sim")
    assert isinstance(lacks.exception, Incomplete)
    assert lacks.exception.exit_code == 4
    assert "--method half`" in str(lacks.exception)


def test_another_revision_ends_with_three_and_is_named(scored_runs: Path) -> None:
    split = make_split(scored_runs, {f"p{n}": speaker for n, speaker in enumerate(UNEQUAL)})
    scale = make_scale(revision="sim/2+net/1@01234567")
    outcomes = {"sim": {f"p{n}": 0.5 for n in range(8)}}
    make_run(scored_runs, split, "newer", outcomes, [scale])
    differs = run(scored_runs, "base", "newer", "--metric", "sim")
    assert isinstance(differs.exception, Incomparable)
    assert "revision of sim differs" in str(differs.exception)


def test_an_unknown_format_is_refused_with_those_that_there_are(scored_runs: Path) -> None:
    refused = run(scored_runs, "base", "ours", "--format", "jsn")
    assert isinstance(refused.exception, UsageError)
    assert "unknown format 'jsn'. Did you mean json? Known: text, json, latex" in str(refused.exception)


# What could be found -------------------------------------------------------------------------------------------------


def test_pairs_are_shared_out_evenly() -> None:
    assert even_clips(35, 8) == (5, 5, 5, 4, 4, 4, 4, 4)
    assert even_clips(4, 4) == (1, 1, 1, 1)
    for pairs, speakers in ((3, 4), (9, 1), (0, 0)):
        with pytest.raises(UsageError, match="expected two speakers or more"):
            even_clips(pairs, speakers)


def test_a_plan_says_what_one_comparison_and_several_can_find() -> None:
    clips = even_clips(35, 8)
    planned = plan(clips, correlation=0.3, methods=5, effect=0.8)
    assert planned.smallest == smallest_effect(clips, 0.3, 0.05, 0.8)
    assert planned.smallest_adjusted == smallest_effect(clips, 0.3, 0.01, 0.8)
    assert (planned.attainable, planned.attainable_adjusted) == (2 / 2**8, 5 * 2 / 2**8)
    assert planned.power == power(0.8, clips, 0.3, 0.05)
    assert planned.power_adjusted == power(0.8, clips, 0.3, 0.01)
    assert math.isclose(power(planned.smallest, clips, 0.3, 0.05), 0.8, abs_tol=1e-6)
    text = plan_text(planned)
    assert text.startswith("35 pairs of 8 speakers (4 to 5 each), correlation 0.3 within a speaker, alpha 0.05\n")
    assert "0.0078" in text
    assert "0.039" in text


def test_the_least_p_is_the_one_that_the_test_itself_gives() -> None:
    for speakers in (2, 5, 20, 21):
        means = np.arange(1.0, speakers + 1.0)
        tested = sign_flip(means)
        planned = plan((1,) * speakers)
        assert (planned.attainable, planned.exact) == (tested.attainable, tested.exact)


def test_the_power_command_takes_a_split_or_numbers(tmp_path: Path) -> None:
    make_split(tmp_path, {f"p{n}": speaker for n, speaker in enumerate(UNEQUAL)})
    runner = CliRunner()
    of_split = runner.invoke(power_command, ["--split", str(tmp_path / "mini"), "--methods", "3"])
    assert of_split.stdout == plan_text(plan((1, 2, 1, 3, 1), correlation=0.3, methods=3))
    numbers = runner.invoke(power_command, ["--pairs", "9", "--speakers", "4", "--correlation", "0"])
    assert numbers.stdout == plan_text(plan((3, 2, 2, 2), correlation=0.0))
    assert "Holm" not in numbers.stdout
    assert isinstance(runner.invoke(power_command, ["--pairs", "9"]).exception, UsageError)
    with pytest.raises(UsageError, match="0 methods"):
        plan((3, 2), methods=0)
