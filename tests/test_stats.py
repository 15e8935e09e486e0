"""Statistics, by hand fractions, by enumeration, against statsmodels and scipy.stats, and what must hold for all numbers."""

from __future__ import annotations

import itertools
import math
import statistics
from collections import Counter
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np
import pytest
import scipy.stats
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW, ttest_ind

from avbench.errors import UsageError
from avbench.stats import (
    EXACT_SPEAKERS,
    FLIPS,
    benjamini_hochberg,
    binomial,
    clopper_pearson,
    cluster_bootstrap,
    cohens_d,
    cohens_d_paired,
    holm,
    intraclass_correlation,
    mann_whitney,
    mean_interval,
    paired_permutation,
    power,
    rank_biserial,
    sign_flip,
    sign_flip_interval,
    smallest_difference,
    smallest_effect,
    t_mean,
    t_tail,
    welch,
    wilcoxon,
    wilson,
)

MEANS = st.lists(st.floats(-1e6, 1e6).map(lambda one: round(one, 3)), min_size=2, max_size=12)
INTEGERS = st.lists(st.integers(-6, 6), min_size=1, max_size=9)
FACTORS = st.sampled_from([1e-9, 0.001, 0.3, 7.0, 100.0, 1e12])
PS = st.lists(st.floats(0, 1), min_size=1, max_size=12)
# Upper 2.5 % points of Student's t, as any statistics book prints them.
PRINTED = {1: 12.7062, 2: 4.3027, 3: 3.1824, 5: 2.5706, 7: 2.3646, 9: 2.2622, 30: 2.0423}
# Wins and losses that fit the published preference rates, and their p (easy and hard, against two products).
VOTES = [
    (230, 50, 9.3e-29),
    (195, 16, 2.7e-40),
    (157, 113, 0.00875),
    (212, 58, 8.6e-22),
    (159, 60, 1.6e-11),
    (187, 88, 2.3e-9),
    (189, 89, 2.0e-9),
]
HARD = [5, 5, 5, 4, 4, 4, 4, 4]  # clips of each speaker


def reals(values: Sequence[float]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array(values, dtype=np.float64)


def by_enumeration(values: Sequence[int]) -> Fraction:
    """The sign-flip p over all assignments, in whole numbers."""
    sums = [abs(sum(map(int.__mul__, signs, values))) for signs in itertools.product((1, -1), repeat=len(values))]
    return Fraction(sum(one >= abs(sum(values)) for one in sums), len(sums))


def by_counting(values: Sequence[int]) -> Fraction:
    """The same of many whole numbers: how many assignments give each sum, one value at a time."""
    ways = Counter({0: 1})
    for value in values:
        ways = sum(
            (Counter({total + sign * value: many for total, many in ways.items()}) for sign in (1, -1)), Counter()
        )
    return Fraction(sum(many for total, many in ways.items() if abs(total) >= abs(sum(values))), 2 ** len(values))


# Student's t -----------------------------------------------------------------------------------------------------


def chance(t: float, freedom: int, steps: int = 2000) -> float:
    """P(-t < T < t) of Student's t by Simpson's rule on its density."""
    constant = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    x = np.linspace(-t, t, steps + 1)
    weights = np.where(np.arange(steps + 1) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    density = constant * (1 + x * x / freedom) ** (-(freedom + 1) / 2)
    return float((weights * density).sum() * (2 * t / steps) / 3)


def standard_units(means: list[float], confidence: float = 0.95) -> float:
    """Half the interval's width in standard errors."""
    low, high = mean_interval(np.array(means), confidence)
    return (high - low) / 2 / (statistics.stdev(means) / math.sqrt(len(means)))


@pytest.mark.parametrize("freedom", PRINTED)
def test_the_half_width_is_the_printed_quantile_in_standard_errors(freedom: int) -> None:
    assert standard_units([float(number * number) for number in range(freedom + 1)]) == pytest.approx(
        PRINTED[freedom], abs=5e-5
    )


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.99])
@pytest.mark.parametrize("count", [2, 4, 9])
def test_the_half_width_holds_the_share_that_was_asked_for(count: int, confidence: float) -> None:
    t = standard_units([0.1 * number**3 for number in range(count)], confidence)
    assert chance(t, count - 1) == pytest.approx(confidence, abs=1e-6)


def test_two_speakers_by_hand() -> None:
    # The mean is 0.5, s = 0.2 / √2, s / √2 = 0.1, and t of one degree of freedom is 12.70620.
    assert mean_interval(np.array([0.4, 0.6])) == pytest.approx((0.5 - 1.270620, 0.5 + 1.270620), abs=1e-6)


@given(st.floats(-1e300, 1e300), st.integers(2, 9))
def test_equal_means_give_an_interval_of_no_width_at_their_value(value: float, count: int) -> None:
    assert mean_interval(np.full(count, value)) == (value, value)


@given(MEANS)
def test_the_interval_is_centred_on_the_mean_and_grows_with_confidence(means: list[float]) -> None:
    low, high = mean_interval(np.array(means))
    wide_low, wide_high = mean_interval(np.array(means), 0.99)
    assert (low + high) / 2 == pytest.approx(statistics.fmean(means), rel=1e-9, abs=1e-6)
    assert wide_low <= low <= high <= wide_high


@given(MEANS)
def test_mirrored_means_give_the_mirrored_interval(means: list[float]) -> None:
    low, high = mean_interval(np.array(means))
    assert mean_interval(-np.array(means)) == pytest.approx((-high, -low), rel=1e-12, abs=1e-12)


def test_the_square_of_a_huge_or_tiny_deviation_does_not_run_out_of_range() -> None:
    for scale in (1e-200, 1e200):
        low, high = mean_interval(np.array([1.0, 2.0, 4.0]) * scale)
        expected = mean_interval(np.array([1.0, 2.0, 4.0]))
        assert (low / scale, high / scale) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("means", "confidence", "words"),
    [
        ([], 0.95, "two or more"),
        ([0.5], 0.95, "two or more"),
        ([0.5, math.nan], 0.95, "finite"),
        ([0.5, math.inf], 0.95, "finite"),
        ([0.5, 0.6], 1.0, "between 0 and 1"),
        ([0.5, 0.6], 0.0, "between 0 and 1"),
    ],
)
def test_what_has_no_interval_is_refused(means: list[float], confidence: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        mean_interval(np.array(means), confidence)


def test_t_by_hand_where_its_curve_has_a_formula() -> None:
    # One degree of freedom: p = 1 - 2/π · arctan t; here t = 0.5 / 0.1. Two: p = 1 - t / √(2 + t²); here t = 2√3.
    assert t_mean(reals([0.4, 0.6])).p == pytest.approx(1 - 2 / math.pi * math.atan(5), rel=1e-12)
    found = t_mean(reals([1, 2, 3]))
    assert found.p == pytest.approx(1 - 2 * math.sqrt(3 / 14), rel=1e-12)
    assert (found.value, found.degrees) == (2.0, 2)


@given(MEANS, st.floats(-1e6, 1e6), st.sampled_from([0.5, 0.9, 0.99]))
def test_t_equals_two_independent_tools(means: list[float], null: float, confidence: float) -> None:
    assume(statistics.pstdev(means) > 1e-3)
    found = t_mean(reals(means), null=null, confidence=confidence)
    other = scipy.stats.ttest_1samp(means, null)
    assert found.p == pytest.approx(other.pvalue, rel=1e-6, abs=1e-300)
    assert (found.lower, found.upper) == pytest.approx(tuple(other.confidence_interval(confidence)), rel=1e-9, abs=1e-6)
    _, larger, _ = DescrStatsW(means).ttest_mean(null, alternative="larger")
    assert t_tail(reals(means), null) == pytest.approx(larger, rel=1e-6, abs=1e-300)


@given(MEANS, st.floats(0.5, 0.999))
def test_the_interval_ends_where_p_is_what_confidence_leaves(means: list[float], confidence: float) -> None:
    assume(statistics.pstdev(means) > 1e-2)
    found = t_mean(reals(means), confidence=confidence)
    for end in (found.lower, found.upper):
        assert t_mean(reals(means), null=end).p == pytest.approx(1 - confidence, rel=1e-4)


@given(MEANS, st.floats(-1e6, 1e6))
def test_the_two_tails_make_one(means: list[float], null: float) -> None:
    assert t_tail(reals(means), null) + t_tail(-reals(means), -null) == pytest.approx(1)


def test_without_spread_a_difference_is_certain_and_none_is_none() -> None:
    assert t_mean(np.zeros(8)) == (0.0, 0.0, 0.0, 1.0, 7)
    assert t_mean(np.full(8, 0.1)) == (0.1, 0.1, 0.1, 0.0, 7)
    assert t_mean(np.full(8, 0.1), null=0.1).p == 1
    assert t_mean(np.full(8, 0.1), null=0.2).p == 0
    assert [t_tail(np.full(3, value), 0.5) for value in (0.6, 0.5, 0.4)] == [0.0, 0.5, 1.0]


# Sign flips --------------------------------------------------------------------------------------------------------


def test_sign_flips_by_hand() -> None:
    # Of ±1 ±2 ±3 only all up and all down reach 6. Of four ones, 2 reach 4 and 8 reach 2: 10 of 16.
    assert sign_flip(reals([1, 2, 3])) == (0.25, 0.25, True, 8)
    assert sign_flip(reals([1, 1, 1, -1])) == (0.625, 0.125, True, 16)
    assert sign_flip(reals([0.7])) == (1.0, 1.0, True, 2)
    assert sign_flip(np.zeros(8)).p == 1


@pytest.mark.parametrize(("speakers", "least"), [(8, 1 / 128), (14, 1 / 8192), (20, 1 / 2**19)])
def test_the_attainable_p_is_that_of_speakers_who_all_agree(speakers: int, least: float) -> None:
    found = sign_flip(np.linspace(1, 2, speakers))
    assert found == (least, least, True, 2**speakers)


@given(INTEGERS, st.sampled_from([1.0, 0.1, 1e-9, 3e7]))
def test_sign_flips_equal_an_enumeration_in_whole_numbers(values: list[int], unit: float) -> None:
    # Units that no binary fraction is: sums that tie in whole numbers differ by rounding.
    assert sign_flip(reals(values) * unit).p == float(by_enumeration(values))


def test_sign_flips_equal_an_independent_tool() -> None:
    values = np.random.default_rng(1).normal(0.4, 1, 11)
    other = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided", vectorized=True
    )
    assert sign_flip(values).p == pytest.approx(other.pvalue, rel=1e-12)


@pytest.mark.parametrize("shift", [0, 1, 3])
def test_above_twenty_speakers_it_is_monte_carlo_and_says_so(shift: int) -> None:
    rng = np.random.default_rng(shift)
    values = [int(value) + shift for value in rng.integers(-9, 10, size=41)]
    found = sign_flip(reals(values) / 7)
    truth = float(by_counting(values))
    assert not found.exact
    assert found.flips == FLIPS
    assert found.attainable == 1 / (FLIPS + 1)
    assert found.p == pytest.approx(truth, abs=4 * math.sqrt(truth * (1 - truth) / FLIPS) + 1 / FLIPS)
    assert (found.p * (FLIPS + 1)) == pytest.approx(round(found.p * (FLIPS + 1)), abs=1e-6), "(k + 1) / (B + 1)"


def test_monte_carlo_never_answers_zero_and_its_seed_tells() -> None:
    agreed = np.linspace(1, 2, 41)
    assert sign_flip(agreed, flips=99).p == 1 / 100
    unsure = np.random.default_rng(0).normal(0.2, 1, 41)
    assert sign_flip(unsure, seed=3) == sign_flip(unsure, seed=3)
    assert sign_flip(unsure, seed=3).p != sign_flip(unsure, seed=4).p
    assert sign_flip(unsure[:EXACT_SPEAKERS], seed=3) == sign_flip(unsure[:EXACT_SPEAKERS], seed=4), "exact: no seed"


@pytest.mark.parametrize("speakers", [8, 41])
def test_neither_order_nor_orientation_nor_unit_changes_a_sign_flip(speakers: int) -> None:
    rng = np.random.default_rng(5)
    means = rng.normal(0.3, 1, speakers).round(1)
    expected = sign_flip(means)
    assert sign_flip(-means) == expected
    assert sign_flip(rng.permutation(means)) == expected
    assert sign_flip(means * 1e-7) == expected
    low, high = sign_flip_interval(means)
    assert sign_flip_interval(-means) == (-high, -low)
    assert sign_flip_interval(rng.permutation(means)) == (low, high)
    assert sign_flip_interval(means * 8) == (low * 8, high * 8)
    assert sign_flip_interval(means + 64) == pytest.approx((low + 64, high + 64), rel=1e-12)


def test_the_inverted_interval_by_hand() -> None:
    # Six speakers: p = 2/64 while all lie above the shift, 4/64 > 0.05 once it has reached the lowest.
    assert sign_flip_interval(reals([1, 2, 3, 4, 5, 6])) == (1.0, 6.0)
    # At 90 % six of 64 may be rejected too: the flips of nobody, of 1 and of 2 make 6/64, that of {1, 2} at 1.5 makes 8/64.
    assert sign_flip_interval(reals([1, 2, 3, 4, 5, 6]), confidence=0.9) == (2.0, 5.0)
    assert sign_flip_interval(np.full(9, 0.3)) == (0.3, 0.3)


def test_few_speakers_exclude_no_shift() -> None:
    assert sign_flip_interval(reals([1, 2, 3, 4, 5])) == (-math.inf, math.inf)  # 2/32 > 0.05
    assert sign_flip_interval(reals([1, 2, 3, 4, 5]), confidence=0.9375) == (1.0, 5.0)  # 2/32 is not above 2/32
    assert sign_flip_interval(reals([1.0])) == (-math.inf, math.inf)
    assert sign_flip_interval(np.linspace(1, 2, 41), flips=9) == (-math.inf, math.inf)  # 1/10 > 0.05


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([6, 8, 11, 25]), st.sampled_from([0.8, 0.9, 0.95]))
def test_inside_the_inverted_interval_nothing_is_rejected_and_outside_everything(
    seed: int, speakers: int, confidence: float
) -> None:
    means = np.random.default_rng(seed).standard_t(3, speakers)
    low, high = sign_flip_interval(means, confidence=confidence, flips=499)
    assert low <= means.mean() <= high
    step, alpha = 1e-6 * float(np.ptp(means)), round(1 - confidence, 12)
    for inside in (low, low + step, high - step, high):
        assert sign_flip(means - inside, flips=499).p > alpha
    for outside in (low - step, low - 1e3 * step, high + step, high + 1e3 * step):
        assert sign_flip(means - outside, flips=499).p <= alpha


# Clips as independent ------------------------------------------------------------------------------------------------


def exact_binomial(wins: int, losses: int) -> Fraction:
    fewer, both = min(wins, losses), wins + losses
    return min(Fraction(1), 2 * Fraction(sum(math.comb(both, k) for k in range(fewer + 1)), 2**both))


@pytest.mark.parametrize(("wins", "losses", "rounded"), VOTES)
def test_published_votes_have_the_p_of_exact_fractions(wins: int, losses: int, rounded: float) -> None:
    found, truth = binomial(wins, losses), exact_binomial(wins, losses)
    assert abs(Fraction(found) / truth - 1) < Fraction(1, 10**12)
    assert found == pytest.approx(scipy.stats.binomtest(wins, wins + losses).pvalue, rel=1e-9)
    assert found == pytest.approx(rounded, rel=0.025), "as it was computed for the facts"
    assert binomial(losses, wins) == found


def test_every_small_vote_has_the_p_of_exact_fractions() -> None:
    assert binomial(0, 0) == 1
    for wins, losses in itertools.product(range(25), repeat=2):
        assert binomial(wins, losses) == pytest.approx(float(exact_binomial(wins, losses)), rel=1e-13)


def test_signed_ranks_by_hand() -> None:
    # All five above: 2 of 32. The least rank below: rank sums 1 or less come of 2 choices of 32, twice.
    assert wilcoxon(reals([1, 2, 3, 4, 5])) == pytest.approx(2 / 32)
    assert wilcoxon(reals([-1, 2, 3, 4, 5])) == pytest.approx(4 / 32)
    assert wilcoxon(reals([0, 0, 1, 2, 3, 4, 5])) == pytest.approx(2 / 32), "differences of 0 are left out"
    assert wilcoxon(np.zeros(5)) == 1
    many = np.arange(1.0, 31) * np.where(np.arange(30) % 3, 1, -1)
    assert wilcoxon(np.concatenate([many, np.zeros(30)])) == wilcoxon(many) != 1, "nor do they count for many"


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=3, max_size=9, unique=True), st.integers(0, 2**9 - 1))
def test_signed_ranks_equal_an_enumeration(sizes: list[int], signs: int) -> None:
    values = [size if signs >> place & 1 else -size for place, size in enumerate(sizes)]
    ranks = [1 + sum(other < size for other in sizes) for size in sizes]
    assert wilcoxon(reals(values)) == pytest.approx(
        float(by_enumeration([rank if value > 0 else -rank for rank, value in zip(ranks, values, strict=True)]))
    )


def test_ranks_take_what_differs_by_rounding_for_equal() -> None:
    # 0.3 - 0.2 is a little below 0.1 and 1.1 - 1 a little above.
    assert wilcoxon(reals([0.3 - 0.2, 0.1, 1.1 - 1, -0.4])) == wilcoxon(reals([1, 1, 1, -4]))
    assert mann_whitney(reals([0.3 - 0.2, 1.1 - 1]), reals([0.1, 0.4, 0.5])) == mann_whitney(
        reals([1, 1]), reals([1, 4, 5])
    )
    assert rank_biserial(reals([0.3 - 0.2, -0.1, 1.1 - 1])) == pytest.approx(1 / 3)


def test_the_rank_test_by_hand_and_by_enumeration() -> None:
    # Three above four: one of 35 choices of three, and its mirror.
    assert mann_whitney(reals([5, 6, 7]), reals([1, 2, 3, 4])) == pytest.approx(2 / 35)
    pool = range(1, 9)
    for ours in itertools.combinations(pool, 3):
        away = [abs(sum(chosen) - 13.5) for chosen in itertools.combinations(pool, 3)]
        expected = sum(one >= abs(sum(ours) - 13.5) for one in away) / len(away)
        theirs = [one for one in pool if one not in ours]
        assert mann_whitney(reals(ours), reals(theirs)) == pytest.approx(expected)
    assert mann_whitney(np.ones(4), np.ones(9)) == 1


def test_the_rank_test_of_many_is_the_normal_curve_with_ties_and_continuity() -> None:
    rng = np.random.default_rng(2)
    ours, theirs = rng.integers(1, 6, 40).astype(float), rng.integers(1, 6, 50).astype(float)
    above = sum(float(a > b) + float(a == b) / 2 for a in ours for b in theirs)
    ties = Counter([*ours, *theirs]).values()
    variance = 40 * 50 / 12 * (91 - sum(many**3 - many for many in ties) / (90 * 89))
    z = (abs(above - 1000) - 0.5) / math.sqrt(variance)
    assert mann_whitney(ours, theirs) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=1e-9)


def test_the_paired_permutation_of_clips_is_that_of_the_enumeration() -> None:
    assert paired_permutation(reals([3, -1, 2, 5, 1, 4])) == float(by_enumeration([3, -1, 2, 5, 1, 4]))
    many = [int(value) for value in np.random.default_rng(3).integers(-5, 8, size=35)]
    assert paired_permutation(reals(many)) == pytest.approx(float(by_counting(many)), abs=0.003)


@given(MEANS, MEANS)
def test_welch_equals_two_independent_tools(ours: list[float], theirs: list[float]) -> None:
    assume(min(statistics.pstdev(ours), statistics.pstdev(theirs)) > 1e-3)
    expected = scipy.stats.ttest_ind(ours, theirs, equal_var=False).pvalue
    assert welch(reals(ours), reals(theirs)) == pytest.approx(expected, rel=1e-6, abs=1e-300)
    _, other, _ = ttest_ind(ours, theirs, usevar="unequal")
    assert welch(reals(theirs), reals(ours)) == pytest.approx(other, rel=1e-6, abs=1e-300)


def test_welch_without_spread() -> None:
    assert welch(np.ones(3), np.ones(4)) == 1
    assert welch(np.ones(3), np.zeros(4)) == 0
    # One side alone varies: its own t, here of one degree of freedom and t = 0.5 / 0.1.
    assert welch(reals([0.4, 0.6]), np.zeros(9)) == pytest.approx(1 - 2 / math.pi * math.atan(5), rel=1e-9)


# Clusters ----------------------------------------------------------------------------------------------------------


def test_two_clusters_resampled_reach_from_the_one_to_the_other() -> None:
    # Each alone is drawn in a quarter of the resamples.
    values, clusters = reals([1, 2, 3, 7, 9]), np.array([4, 4, 4, 0, 0])
    assert cluster_bootstrap(values, clusters) == (2.0, 8.0)
    assert cluster_bootstrap(values, clusters, confidence=0.4) == (4.4, 4.4), "the mean of all five, in half of them"


def test_clusters_that_are_alike_give_no_width_however_their_values_vary() -> None:
    values = np.tile(reals([-5, 0, 8]), 6)
    assert cluster_bootstrap(values, np.repeat(np.arange(6), 3)) == (1.0, 1.0)
    low, high = cluster_bootstrap(values, np.arange(18))
    assert low < 0 < 2 < high, "as independent clips they would"


def test_of_equal_clusters_the_interval_has_the_quantiles_of_all_resamples() -> None:
    means = [0.0, 1.0, 5.0, 6.0]
    every = sorted(statistics.fmean(drawn) for drawn in itertools.product(means, repeat=4))
    values = np.repeat(reals(means), 2) + np.tile([-0.5, 0.5], 4)
    found = cluster_bootstrap(values, np.repeat(np.arange(4), 2), confidence=0.8)
    # Steps of a quarter: the simulated quantile is the true one or its neighbour.
    assert found == pytest.approx((every[25], every[-26]), abs=0.26)


def test_neither_names_nor_order_nor_orientation_decide_which_clusters_are_drawn() -> None:
    rng = np.random.default_rng(8)
    clusters = np.repeat(np.arange(8), HARD)
    values = rng.normal(size=8)[clusters] + rng.normal(size=35)
    low, high = cluster_bootstrap(values, clusters)
    order = rng.permutation(35)
    assert cluster_bootstrap(values[order], clusters[order]) == (low, high)
    assert cluster_bootstrap(values, rng.permutation(8)[clusters]) == (low, high)
    assert cluster_bootstrap(-values, clusters) == (-high, -low)
    assert cluster_bootstrap(values, clusters, seed=1) != (low, high)


def test_intraclass_correlation_by_hand() -> None:
    # Means 1 and 5 about 3: between = 2·(4 + 4) = 16, within = (2 + 2) / 2 = 2, (16 - 2) / (16 + 2) = 7/9.
    assert intraclass_correlation(reals([0, 2, 4, 6]), np.array([7, 7, 3, 3])) == pytest.approx(7 / 9)
    assert intraclass_correlation(reals([0, 4, 0, 4]), np.array([0, 0, 1, 1])) == 0, "less than by chance is none"
    assert intraclass_correlation(reals([2, 2, 5, 5]), np.array([0, 0, 1, 1])) == 1
    assert intraclass_correlation(np.full(4, 0.1), np.array([0, 0, 1, 1])) == 0


@given(st.integers(0, 10**6), FACTORS)
def test_intraclass_correlation_follows_from_an_independent_f(seed: int, factor: float) -> None:
    rng = np.random.default_rng(seed)
    sizes = rng.integers(1, 6, size=rng.integers(3, 8))
    assume(sizes.max() > 1)
    clusters = np.repeat(np.arange(len(sizes)), sizes)
    values = (1.2 * rng.normal(size=len(sizes))[clusters] + rng.normal(size=len(clusters))) * factor
    # An analysis of variance takes the clusters of one value too.
    centres = np.array([values[clusters == one].mean() for one in range(len(sizes))])
    between = (sizes * (centres - values.mean()) ** 2).sum() / (len(sizes) - 1)
    within = ((values - centres[clusters]) ** 2).sum() / (len(values) - len(sizes))
    f = between / within
    if sizes.min() > 1:
        groups = [values[clusters == one] for one in range(len(sizes))]
        assert f == pytest.approx(scipy.stats.f_oneway(*groups).statistic)
    size = (len(values) - (sizes**2).sum() / len(values)) / (len(sizes) - 1)
    found = intraclass_correlation(values, clusters)
    assert found == pytest.approx(max(0.0, (f - 1) / (f - 1 + size)), abs=1e-9)
    order = rng.permutation(len(values))
    assert intraclass_correlation(-values[order], clusters[order]) == pytest.approx(found, abs=1e-12)


def test_intraclass_correlation_finds_what_was_planted() -> None:
    rng = np.random.default_rng(4)
    clusters = np.repeat(np.arange(3000), 4)
    values = math.sqrt(0.3) * rng.normal(size=3000)[clusters] + math.sqrt(0.7) * rng.normal(size=12000)
    assert intraclass_correlation(values, clusters) == pytest.approx(0.3, abs=0.03)


# Shares ------------------------------------------------------------------------------------------------------------


@given(st.integers(1, 400), st.data(), st.sampled_from([0.8, 0.95, 0.99]))
def test_both_intervals_of_a_share_equal_an_independent_tool(
    trials: int, data: st.DataObject, confidence: float
) -> None:
    successes = data.draw(st.integers(0, trials))
    for ours, name in ((wilson, "wilson"), (clopper_pearson, "beta")):
        low, high = ours(successes, trials, confidence)
        expected = proportion_confint(successes, trials, alpha=1 - confidence, method=name)
        assert (low, high) == pytest.approx(expected, rel=1e-9, abs=1e-12)
        assert 0 <= low <= successes / trials <= high <= 1
        assert ours(trials - successes, trials, confidence) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_intervals_of_a_share_by_hand() -> None:
    # Nothing in ten: the exact end is where (1 - p)^10 = 0.025, the score's z² / (10 + z²).
    assert clopper_pearson(0, 10) == pytest.approx((0, 1 - 0.025**0.1), abs=1e-12)
    assert wilson(0, 10) == pytest.approx((0, 1.959964**2 / (10 + 1.959964**2)), abs=1e-6)


@pytest.mark.parametrize("trials", [5, 12, 35])
def test_the_exact_interval_always_covers_and_the_score_interval_covers_on_average(trials: int) -> None:
    shares = np.linspace(0.005, 0.995, 199)
    covered = {}
    for ours in (wilson, clopper_pearson):
        ends = [ours(successes, trials) for successes in range(trials + 1)]
        covered[ours] = [
            sum(
                math.comb(trials, k) * share**k * (1 - share) ** (trials - k)
                for k, (low, high) in enumerate(ends)
                if low <= share <= high
            )
            for share in shares
        ]
    assert min(covered[clopper_pearson]) >= 0.95
    assert min(covered[wilson]) < 0.95
    assert statistics.fmean(covered[wilson]) == pytest.approx(0.95, abs=0.01)


# Many tests ----------------------------------------------------------------------------------------------------------


def test_adjustments_by_hand() -> None:
    # Sorted 0.01, 0.02, 0.03, 0.5, times 4, 3, 2, 1; and times 4/1, 4/2, 4/3, 4/4.
    ps = [0.03, 0.01, 0.5, 0.02]
    assert holm(ps) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert benjamini_hochberg(ps) == pytest.approx([0.04, 0.04, 0.5, 0.04])
    assert holm([]) == benjamini_hochberg([]) == []
    assert holm([0.7, 0.8]) == [1.0, 1.0]


@settings(max_examples=5, deadline=None)  # the tool takes its time
@given(PS)
def test_adjustments_equal_an_independent_tool(ps: list[float]) -> None:
    assert holm(ps) == pytest.approx(list(multipletests(ps, method="holm")[1]), abs=1e-12)
    assert benjamini_hochberg(ps) == pytest.approx(list(multipletests(ps, method="fdr_bh")[1]), abs=1e-12)


@given(PS, st.randoms())
def test_adjusted_p_are_no_smaller_keep_their_order_and_go_with_their_test(ps: list[float], rng: object) -> None:
    adjusted, milder = holm(ps), benjamini_hochberg(ps)
    for p, strict, mild in zip(ps, adjusted, milder, strict=True):
        assert p <= mild * (1 + 1e-12)
        assert mild <= strict * (1 + 1e-12)
        assert strict <= min(1.0, len(ps) * p) or strict == pytest.approx(
            max(adjusted[ps.index(q)] for q in ps if q <= p)
        )
    for (p, one), (q, other) in itertools.product(zip(ps, adjusted, strict=True), repeat=2):
        assert p > q or one <= other
    assert holm(ps[::-1]) == adjusted[::-1]
    assert benjamini_hochberg(ps[::-1]) == milder[::-1]


# Sizes -------------------------------------------------------------------------------------------------------------


def test_effect_sizes_by_hand() -> None:
    assert cohens_d_paired(reals([1, 2, 3])) == pytest.approx(2.0)
    # Both vary by 1 about 2 and 5, the pooled deviation is 1.
    assert cohens_d(reals([1, 2, 3]), reals([4, 5, 6])) == pytest.approx(-3.0)
    # Variances 2 of two values and 1 of three: pooled (1·2 + 2·1) / 3 = 4/3.
    assert cohens_d(reals([0, 2]), reals([2, 3, 4])) == pytest.approx(-2 / math.sqrt(4 / 3))
    assert rank_biserial(reals([1, 2, -3])) == 0
    assert rank_biserial(reals([1, -1, 2, 0])) == pytest.approx((4.5 - 1.5) / 6)
    assert (rank_biserial(reals([1, 5])), rank_biserial(reals([-1, -5])), rank_biserial(np.zeros(3))) == (1, -1, 0)


def test_without_spread_an_effect_is_infinite_or_none() -> None:
    assert cohens_d_paired(np.full(3, -0.1)) == -math.inf
    assert cohens_d_paired(np.zeros(3)) == 0
    assert cohens_d(np.full(3, 0.3), np.full(2, 0.1)) == math.inf
    assert cohens_d(np.full(3, 0.1), np.full(2, 0.1)) == 0


@given(MEANS, MEANS)
def test_effect_sizes_follow_from_an_independent_t_and_ranks(ours: list[float], theirs: list[float]) -> None:
    assume(min(statistics.pstdev(ours), statistics.pstdev(theirs)) > 1e-3)
    t = scipy.stats.ttest_ind(ours, theirs).statistic
    scale = math.sqrt(1 / len(ours) + 1 / len(theirs))
    assert cohens_d(reals(ours), reals(theirs)) == pytest.approx(t * scale, rel=1e-6, abs=1e-9)
    t = scipy.stats.ttest_1samp(ours, 0).statistic
    assert cohens_d_paired(reals(ours)) == pytest.approx(t / math.sqrt(len(ours)), rel=1e-6, abs=1e-9)
    kept = [value for value in ours if value]
    ranks = scipy.stats.rankdata(np.abs(kept))
    assert rank_biserial(reals(ours)) == pytest.approx((ranks * np.sign(kept)).sum() / ranks.sum(), abs=1e-12)


@settings(max_examples=25, deadline=None)
@given(MEANS.map(lambda means: means[:7]), FACTORS)  # few: ranks with ties are permuted
def test_the_unit_and_the_orientation_change_no_p_and_no_effect_size(values: list[float], factor: float) -> None:
    means, others = reals(values), reals(values[::-1]) ** 2 / 1e6 + 1
    for test in (lambda a: t_mean(a).p, wilcoxon, lambda a: paired_permutation(a, flips=99)):
        assert test(means * factor) == pytest.approx(test(means), rel=1e-6)
        assert test(-means) == pytest.approx(test(means), rel=1e-12)
        assert test(means[::-1]) == pytest.approx(test(means), rel=1e-12)
    for two in (welch, mann_whitney):
        assert two(means * factor, others * factor) == pytest.approx(two(means, others), rel=1e-6)
        assert two(-others, -means) == pytest.approx(two(means, others), rel=1e-12)
    for size in (cohens_d_paired, rank_biserial):
        assert size(-means * factor) == pytest.approx(-size(means), rel=1e-6, abs=1e-12)


# Power -------------------------------------------------------------------------------------------------------------


def found(shift: float, degrees: int, critical: float, steps: int = 20_000) -> float:
    """P(|t| > critical) at a shift in standard errors, by Simpson's rule over the measured spread."""
    spread = np.linspace(1e-9, 1 + 12 / math.sqrt(degrees), steps + 1)
    weights = np.where(np.arange(steps + 1) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    constant = math.log(2) + degrees / 2 * math.log(degrees / 2) - math.lgamma(degrees / 2)
    density = np.exp(constant + (degrees - 1) * np.log(spread) - degrees * spread**2 / 2)
    reached = scipy.stats.norm.cdf(shift - critical * spread) + scipy.stats.norm.cdf(-shift - critical * spread)
    return float((weights * density * reached).sum() * (spread[1] - spread[0]) / 3)


@pytest.mark.parametrize("speakers", [2, 8, 14, 41, 300])
@pytest.mark.parametrize("effect", [0.0, 0.1, 0.5, 1.3, 9.0])
@pytest.mark.parametrize("alpha", [0.05, 0.01])
def test_power_equals_an_integral(speakers: int, effect: float, alpha: float) -> None:
    critical = float(scipy.stats.t.ppf(1 - alpha / 2, speakers - 1))
    expected = found(effect * math.sqrt(speakers), speakers - 1, critical)
    assert power(effect, [1] * speakers, alpha=alpha) == pytest.approx(expected, rel=1e-7)
    # Four clips of a speaker with correlation 0.4: the mean's variance is 0.4 + 0.6 / 4 = 0.55.
    assert power(-effect * math.sqrt(0.55), [4] * speakers, 0.4, alpha) == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize("speakers", [2, 8, 14, 41])
@pytest.mark.parametrize("effect", [0.0, 0.1, 0.5])
def test_power_equals_an_independent_tool_where_that_answers(speakers: int, effect: float) -> None:
    assert power(effect, [1] * speakers) == pytest.approx(TTestPower().power(effect, speakers, 0.05), rel=1e-9)


@pytest.mark.parametrize("wanted", [0.5, 0.8, 0.99])
@pytest.mark.parametrize("clips", [[1] * 35, HARD, [3, 1]])
def test_the_smallest_effect_is_found_as_often_as_was_wanted(clips: list[int], wanted: float) -> None:
    effect = smallest_effect(clips, 0.3, wanted=wanted)
    assert power(effect, clips, 0.3) == pytest.approx(wanted, abs=1e-9)
    error = math.sqrt(sum(0.3 + 0.7 / count for count in clips)) / len(clips)
    critical = float(scipy.stats.t.ppf(0.975, len(clips) - 1))
    assert found(effect / error, len(clips) - 1, critical) == pytest.approx(wanted, abs=1e-6)


def test_the_smallest_effects_that_are_quoted_of_the_paper_s_splits() -> None:
    assert smallest_effect([1] * 35) == pytest.approx(0.49, abs=0.005)
    assert smallest_effect([1] * 35, alpha=0.05 / 5) == pytest.approx(0.61, abs=0.005)
    assert smallest_effect([1] * 35, alpha=0.05 / 30) == pytest.approx(0.73, abs=0.005)
    assert smallest_effect(HARD, 0.3) == pytest.approx(0.78, abs=0.01)
    assert 0.41 < smallest_effect([2] * 8 + [1] * 33) < smallest_effect([2] * 8 + [1] * 33, 0.3) < 0.435


@given(st.lists(st.integers(1, 9), min_size=2, max_size=20), st.floats(0, 1), st.floats(0, 3))
def test_more_clips_speakers_effect_or_independence_find_no_less(clips: list[int], r: float, effect: float) -> None:
    found = power(effect, clips, r)
    assert 0.05 - 1e-9 <= found <= 1
    assert power(effect + 0.1, clips, r) >= found - 1e-9
    assert power(effect, [count + 1 for count in clips], r) >= found - 1e-9
    assert power(effect, clips * 2, r) >= found - 1e-9
    assert power(effect, clips, r / 2) >= found - 1e-9


def test_power_where_there_is_none_or_all() -> None:
    assert power(0.0, HARD) == pytest.approx(0.05)
    assert power(1e-100, [1, 1]) == pytest.approx(0.05)
    assert power(1e200, [1, 1]) == 1
    assert smallest_effect(HARD, wanted=0.05) == 0
    assert smallest_effect(HARD, wanted=0.050001) > 0
    assert power(smallest_effect([1, 1], alpha=1e-9), [1, 1], alpha=1e-9) == pytest.approx(0.8)


@given(st.floats(0, 1e300), st.integers(2, 60), st.sampled_from([0.05, 1e-3, 1e-12]))
@example(1.192092896e-07, 2, 1e-3)  # where the library's tail is lost
def test_no_effect_is_too_small_or_too_large_for_power(effect: float, speakers: int, alpha: float) -> None:
    assert 0.999999 * alpha <= power(effect, [1] * speakers, alpha=alpha) <= 1
    for edge in (1e-7, 1e5):  # where limits take over from the curve
        around = [power(edge * share / math.sqrt(speakers), [1] * speakers, alpha=alpha) for share in (0.9999, 1.0001)]
        assert around[0] == pytest.approx(around[1], rel=1e-3)


def test_power_is_how_often_simulated_speakers_are_found() -> None:
    effect, trials, speaker = 0.8, 3000, np.repeat(np.arange(8), HARD)
    rng = np.random.default_rng(6)
    voices, clips = rng.normal(size=(trials, 8)), rng.normal(size=(trials, 35))
    values = effect + math.sqrt(0.3) * voices[:, speaker] + math.sqrt(0.7) * clips
    means = np.add.reduceat(values, np.r_[0, np.cumsum(HARD)[:-1]], axis=1) / HARD
    found = sum(t_mean(one).p <= 0.05 for one in means) / trials
    expected = power(effect, HARD, 0.3)
    assert found == pytest.approx(expected, abs=3 * math.sqrt(expected * (1 - expected) / trials))


def test_the_smallest_difference_is_the_smallest_effect_in_the_scale_s_unit() -> None:
    means = reals([0.1, 0.4, 0.2, 0.7, 0.3])
    assert smallest_difference(means) == pytest.approx(smallest_effect([1] * 5) * statistics.stdev(means))
    assert smallest_difference(means + 9, wanted=0.9) == pytest.approx(
        smallest_effect([1] * 5, wanted=0.9) * statistics.stdev(means)
    )
    assert smallest_difference(np.full(5, 0.1)) == 0


# What is refused ---------------------------------------------------------------------------------------------------

TWO, PLACES = reals([1, 2]), np.array([0, 1])


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (lambda: t_mean(reals([1])), "two or more"),
        (lambda: t_mean(TWO, null=math.nan), "null is nan; expected a finite number"),
        (lambda: t_mean(TWO, confidence=95), "between 0 and 1"),
        (lambda: t_tail(reals([1]), 0), "a t test .* two or more"),
        (lambda: sign_flip(reals([])), "one or more"),
        (lambda: sign_flip(reals([math.nan])), "not all finite"),
        (lambda: sign_flip(TWO, flips=0), "flips: 0; expected a whole number of 1"),
        (lambda: sign_flip(np.ones((2, 2))), "one axis"),
        (lambda: sign_flip_interval(TWO, confidence=0), "between 0 and 1"),
        (lambda: sign_flip_interval(reals([math.inf])), "not all finite"),
        (lambda: binomial(-1, 3), "wins: -1; expected a whole number of 0"),
        (lambda: wilcoxon(reals([])), "one or more"),
        (lambda: paired_permutation(reals([math.nan, 1])), "not all finite"),
        (lambda: cluster_bootstrap(TWO, np.array([3, 3])), "one cluster; expected two"),
        (lambda: cluster_bootstrap(TWO, np.array([3])), "a cluster for each value"),
        (lambda: cluster_bootstrap(TWO, PLACES, resamples=0), "resamples: 0"),
        (lambda: wilson(3, 2), "3 successes in 2 trials"),
        (lambda: clopper_pearson(0, 0), "trials: 0; expected a whole number of 1"),
        (lambda: holm([0.5, 1.2]), "a p of 1.2"),
        (lambda: benjamini_hochberg([math.nan]), "a p of nan"),
        (lambda: cohens_d(TWO, reals([1])), "two or more"),
        (lambda: cohens_d_paired(reals([1])), "two or more"),
        (lambda: rank_biserial(reals([])), "one or more"),
        (lambda: intraclass_correlation(TWO, PLACES), "one value each; expected a cluster of two"),
        (lambda: power(math.inf, HARD), "effect is inf"),
        (lambda: power(0.5, [4]), "power of 1 speakers"),
        (lambda: power(0.5, [4, 0]), "clips of a speaker: 0"),
        (lambda: power(0.5, HARD, 1.1), "correlation of 1.1"),
        (lambda: power(0.5, HARD, alpha=5), "alpha is 5"),
        (lambda: smallest_effect(HARD, wanted=80), "wanted is 80"),
        (lambda: smallest_difference(reals([1])), "two or more"),
        (lambda: welch(TWO, reals([1])), "two or more"),
        (lambda: mann_whitney(TWO, reals([])), "one or more"),
    ],
)
def test_what_cannot_be_computed_is_refused(asked: Callable[[], object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        asked()
