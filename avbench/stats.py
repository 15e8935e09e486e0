"""How sure is a difference? Every test, interval, correction, effect size and power here: arrays in, numbers out.

Conventions
- The unit of independence is the speaker. Clips of one voice resemble each other, so what claims anything takes one
  mean for each speaker, and n counts speakers. What treats clips as independent says so in its docstring.
- Differences are oriented by the caller; no function knows what is better. All p are two-sided unless a function says
  otherwise. A test rejects at alpha where p ≤ alpha.
- Neither the order of the values nor their unit changes a p, and the mirrored values (-x) have the same p and the
  mirrored interval. Sums that differ by no more than rounding are ties.
- Randomness has a seed: the same arrays and seed give the same numbers on every machine.
- Nothing answers NaN: what cannot be computed raises UsageError, which says what was found and what was expected.
  Some answers are infinite, where infinity is the answer, and the docstring says where.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

__all__ = [
    "EXACT_SPEAKERS",
    "FLIPS",
    "Estimate",
    "SignFlip",
    "benjamini_hochberg",
    "binomial",
    "clopper_pearson",
    "cluster_bootstrap",
    "cohens_d",
    "cohens_d_paired",
    "holm",
    "intraclass_correlation",
    "mann_whitney",
    "mean_interval",
    "paired_permutation",
    "power",
    "rank_biserial",
    "sign_flip",
    "sign_flip_interval",
    "smallest_difference",
    "smallest_effect",
    "t_mean",
    "t_tail",
    "welch",
    "wilcoxon",
    "wilson",
]

FLIPS = 99_999  # seeded ones, where there are too many to try all
EXACT_SPEAKERS = 20  # up to here every assignment of signs is tried
ROUNDING = 1e-10  # of the largest value or sum: what differs by less is equal
NEAR, FAR = 1e-7, 1e5  # standard errors, between which the noncentral F is computed; beyond, its limits are as exact
AT_ONCE = 1 << 21  # random numbers drawn in one go: bounds the memory

Reals = NDArray[np.float64]


class Estimate(NamedTuple):
    """A mean with its interval and the two-sided p of its being `null`."""

    value: float
    lower: float
    upper: float
    p: float
    degrees: int  # of freedom


class SignFlip(NamedTuple):
    """The sign-flip test of speaker means."""

    p: float  # two-sided
    attainable: float  # the least p that so many speakers can give
    exact: bool  # all assignments were tried; False: Monte Carlo
    flips: int  # assignments tried; of Monte Carlo, those drawn, to which the observed one is added


# Of speaker means ------------------------------------------------------------------------------------------------


def mean_interval(means: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of independent speaker means (G,), G ≥ 2: mean ∓ t(G-1) · s / √G.

    Equal means give an interval of no width. UsageError: fewer than two means, one that is not finite, or a
    confidence outside 0 to 1, both excluded. Source: Student, "The probable error of a mean", Biometrika 6 (1908).
    """
    if means.ndim != 1 or len(means) < 2:
        raise UsageError(
            f"an interval of {means.shape} speaker means; expected two or more: one speaker says nothing of the next."
        )
    if not np.isfinite(means).all():
        raise UsageError("an interval of speaker means that are not all finite; expected measured clips alone.")
    _check_share("confidence", confidence)
    centre, spread = _mean_and_spread(means)
    if not spread:
        return centre, centre
    from scipy.special import stdtrit

    half = float(stdtrit(len(means) - 1, 0.5 + confidence / 2)) * spread / math.sqrt(len(means))
    return centre - half, centre + half


def t_mean(means: Reals, *, null: float = 0.0, confidence: float = 0.95) -> Estimate:
    """Student's t on (G,) speaker means, G ≥ 2, with the interval of `mean_interval`.

    No spread at all: p is 1 where the mean is `null`, else 0, and the interval has no width. Source: Student (1908).
    """
    lower, upper = mean_interval(means, confidence)
    value, _ = _mean_and_spread(means)
    tail = t_tail(means, null) if value > null else t_tail(-means, -null)
    return Estimate(value, lower, upper, 2 * tail, len(means) - 1)


def t_tail(means: Reals, null: float) -> float:
    """One-sided p of `true mean ≤ null` against `> null`, of (G,) speaker means, G ≥ 2; 1 - it is the other side.

    No spread at all: 0 where the mean is above `null`, 0.5 where it is `null`, else 1. Source: Student (1908).
    """
    _check_values("a t test", means, least=2)
    _check_finite("null", null)
    centre, spread = _mean_and_spread(means)
    if not spread:
        return 0.5 if centre == null else float(centre < null)
    from scipy.special import stdtr

    return float(stdtr(len(means) - 1, (null - centre) / spread * math.sqrt(len(means))))


def sign_flip(means: Reals, *, seed: int = 0, flips: int = FLIPS) -> SignFlip:
    """Sign-flip test of (G,) speaker means, G ≥ 1: the share of assignments of signs whose |sum| reaches the observed.

    It asks that a speaker's mean be as likely as its mirror image, as it is where two methods may change places, and
    nothing more of its distribution. Up to EXACT_SPEAKERS all 2^G assignments are tried; above, `flips` seeded ones and
    the observed one: p = (k + 1) / (flips + 1).
    Sources: Fisher, "The design of experiments" (1935), section 21; Phipson and Smyth, "Permutation p-values should
    never be zero", Statistical Applications in Genetics and Molecular Biology 9 (2010), for the observed one.
    """
    _check_values("a sign-flip test", means, least=1)
    _check_count("flips", flips)
    exact = len(means) <= EXACT_SPEAKERS
    total = math.fsum(means)
    ordered = np.sort(means if total >= 0 else -means)  # neither order nor orientation decides which flips are drawn
    reached = abs(total) - ROUNDING * math.fsum(np.abs(means))
    hits = tried = 0
    for sums, _ in _subsets(ordered, seed, flips):
        hits += int(np.count_nonzero(np.abs(abs(total) - 2 * sums) >= reached))
        tried += len(sums)
    attainable = max(2.0 ** (1 - len(means)), 0.0 if exact else 1 / (flips + 1))
    return SignFlip(hits / tried, attainable, exact, 2 ** len(means) if exact else flips)


def sign_flip_interval(
    means: Reals, *, confidence: float = 0.95, seed: int = 0, flips: int = FLIPS
) -> tuple[float, float]:
    """All shifts θ of (G,) speaker means, G ≥ 1, for which `sign_flip(means - θ)` has p above 1 - confidence.

    (-inf, inf) where the attainable p is above 1 - confidence: so few speakers exclude no shift. With the same seed and
    flips the interval and the test agree, Monte Carlo or not.

    Below the mean, an assignment that flips the speakers F and leaves U reaches the observed sum where θ is at least
    the lesser of the means of F and of U. So p grows with θ by steps at these numbers, and the end is one of them.
    Source: Tritchler, "On inverting permutation tests", Journal of the American Statistical Association 79 (1984).
    """
    _check_values("a sign-flip interval", means, least=1)
    _check_share("confidence", confidence)
    _check_count("flips", flips)
    return _lower_end(means, 1 - confidence, seed, flips), -_lower_end(-means, 1 - confidence, seed, flips)


# Of clips, taken as independent, or resampled by cluster ------------------------------------------------------------


def binomial(wins: int, losses: int) -> float:
    """Exact two-sided p of so many wins among wins + losses, if each had even chances; 1 where both are 0.

    Ties are left out. Treats clips as independent. Source: Dixon and Mood, "The statistical sign test", Journal of the
    American Statistical Association 41 (1946).
    """
    for name, count in (("wins", wins), ("losses", losses)):
        _check_count(name, count, least=0)
    if wins == losses:
        return 1.0
    from scipy.special import betainc

    fewer, more = sorted((wins, losses))
    return min(1.0, 2 * float(betainc(more, fewer + 1, 0.5)))


def wilcoxon(differences: Reals) -> float:
    """Wilcoxon's signed-rank test of (N,) differences, N ≥ 1, those of 0 left out; 1 where all are. Clips as independent.

    Exact up to 50 differences without ties and up to 13 with them, else by the normal curve with its correction for
    ties (scipy).
    Source: Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945).
    """
    _check_values("a signed-rank test", differences, least=1)
    settled = _settled(differences)
    if not settled.any():
        return 1.0
    from scipy.stats import wilcoxon as test

    return float(test(settled[settled != 0]).pvalue)


def paired_permutation(differences: Reals, *, seed: int = 0, flips: int = FLIPS) -> float:
    """Permutation test of (N,) paired differences, N ≥ 1: within each pair the two may change places.

    The sign flips of `sign_flip`, of clips: treats clips as independent.
    """
    return sign_flip(differences, seed=seed, flips=flips).p


def cluster_bootstrap(
    values: Reals, clusters: NDArray[np.integer], *, confidence: float = 0.95, seed: int = 0, resamples: int = 9_999
) -> tuple[float, float]:
    """Percentile interval of the mean of values (N,), whole clusters (N,) resampled; two clusters or more.

    With few clusters it is too narrow, so it claims nothing. Sources: Efron and Tibshirani, "An introduction to the
    bootstrap" (1993), chapter 13; Field and Welsh, "Bootstrapping clustered data", Journal of the Royal Statistical
    Society B 69 (2007).
    """
    _check_share("confidence", confidence)
    _check_count("resamples", resamples)
    groups = _by_cluster("a cluster bootstrap", values, clusters)
    # In an order of their own, so that neither names nor orientation decide which are drawn.
    ours = sorted((math.fsum(group), len(group)) for group in groups)
    mirrored = sorted((-total, count) for total, count in ours)
    sign = 1 if ours >= mirrored else -1
    totals, counts = np.array(ours if sign > 0 else mirrored).T
    rng = np.random.default_rng(seed)
    means = []
    for many in _blocks(resamples, len(totals)):
        drawn = rng.integers(len(totals), size=(many, len(totals)))
        means.append(totals[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    ends = np.quantile(np.concatenate(means), [0.5 - confidence / 2, 0.5 + confidence / 2])
    lower, upper = sorted(sign * float(end) for end in ends)
    return lower, upper


def welch(ours: Reals, theirs: Reals) -> float:
    """Welch's t on two independent samples (N,) and (M,), two values or more each. Treats values as independent.

    No spread in either: 1 where they are equal, else 0. Source: Welch, "The generalization of Student's problem when
    several different population variances are involved", Biometrika 34 (1947).
    """
    for values in (ours, theirs):
        _check_values("Welch's test", values, least=2)
    (centre, spread), (other, other_spread) = _mean_and_spread(ours), _mean_and_spread(theirs)
    largest = max(spread, other_spread)
    if not largest:
        return float(centre == other)
    from scipy.special import stdtr

    one, two = (spread / largest) ** 2 / len(ours), (other_spread / largest) ** 2 / len(theirs)
    degrees = (one + two) ** 2 / (one**2 / (len(ours) - 1) + two**2 / (len(theirs) - 1))
    return 2 * float(stdtr(degrees, -abs(centre - other) / largest / math.sqrt(one + two)))


def mann_whitney(ours: Reals, theirs: Reals) -> float:
    """Mann and Whitney's rank test of two independent samples (N,) and (M,). Treats values as independent.

    1 where all values are equal. Exact where there are no ties and one sample has 8 values or fewer, else by the normal
    curve with its corrections for ties and continuity (scipy). Source: Mann and Whitney, "On a test of whether one of
    two random variables is stochastically larger than the other", Annals of Mathematical Statistics 18 (1947).
    """
    for values in (ours, theirs):
        _check_values("a rank test", values, least=1)
    settled = _settled(np.concatenate([ours, theirs]))
    if (settled == settled[0]).all():
        return 1.0
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(settled[: len(ours)], settled[len(ours) :], alternative="two-sided").pvalue)


# Of shares -------------------------------------------------------------------------------------------------------


def wilson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a share, near its level on average. Treats trials as independent.

    Source: Wilson, "Probable inference, the law of succession, and statistical inference", Journal of the American
    Statistical Association 22 (1927).
    """
    _check_trials(successes, trials, confidence)
    from scipy.special import ndtri

    z = float(ndtri(0.5 + confidence / 2))
    share, weight = successes / trials, z * z / trials
    centre = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / trials + weight / trials / 4) / (1 + weight)
    # The formula's ends at no and at all successes are 0 and 1, but for rounding.
    return (0.0 if successes == 0 else centre - half), (1.0 if successes == trials else centre + half)


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact interval of a share: never below its level, whatever the share. Treats trials as independent.

    Source: Clopper and Pearson, "The use of confidence or fiducial limits illustrated in the case of the binomial",
    Biometrika 26 (1934).
    """
    _check_trials(successes, trials, confidence)
    from scipy.special import betaincinv

    tail, failures = 0.5 - confidence / 2, trials - successes
    lower = 0.0 if successes == 0 else float(betaincinv(successes, failures + 1, tail))
    upper = 1.0 if failures == 0 else 1 - float(betaincinv(failures, successes + 1, tail))
    return lower, upper


# Of many tests ----------------------------------------------------------------------------------------------------


def holm(ps: Sequence[float]) -> list[float]:
    """Adjusted p, in the order given: rejecting those at most alpha errs anywhere with chance alpha at most.

    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian Journal of Statistics 6 (1979).
    """
    return _adjusted(ps, [len(ps) - place for place in range(len(ps))], rising=True)


def benjamini_hochberg(ps: Sequence[float]) -> list[float]:
    """Adjusted p, in the order given: of those at most alpha, a share of alpha is expected to be wrong.

    It asks for independent or positively dependent tests. Source: Benjamini and Hochberg, "Controlling the false
    discovery rate", Journal of the Royal Statistical Society B 57 (1995).
    """
    return _adjusted(ps, [len(ps) / (place + 1) for place in range(len(ps))], rising=False)


# Sizes -----------------------------------------------------------------------------------------------------------


def cohens_d_paired(differences: Reals) -> float:
    """Mean of (N,) differences, N ≥ 2, in their own standard deviations; ±inf where they have none, 0 where all are 0.

    Source: Cohen, "Statistical power analysis for the behavioral sciences" (1988), section 2.3.5, where it is d_z.
    """
    _check_values("Cohen's d", differences, least=2)
    return _ratio(*_mean_and_spread(differences))


def cohens_d(ours: Reals, theirs: Reals) -> float:
    """Difference of the means of (N,) and (M,), two values or more each, in their pooled standard deviation.

    ±inf where neither has any spread, 0 where the means are equal. Source: Cohen (1988), section 2.5.2.
    """
    for values in (ours, theirs):
        _check_values("Cohen's d", values, least=2)
    (centre, spread), (other, other_spread) = _mean_and_spread(ours), _mean_and_spread(theirs)
    freedom = len(ours) - 1, len(theirs) - 1
    pooled = math.hypot(spread * math.sqrt(freedom[0]), other_spread * math.sqrt(freedom[1])) / math.sqrt(sum(freedom))
    return _ratio(centre - other, pooled)


def rank_biserial(differences: Reals) -> float:
    """Matched-pairs rank-biserial correlation of (N,) differences, N ≥ 1: -1 all below 0, 1 all above; 0 where all are 0.

    The share of the rank sum that is above 0 less the share below, differences of 0 left out. Source: Kerby, "The
    simple difference formula", Comprehensive Psychology 3 (2014).
    """
    _check_values("a rank-biserial correlation", differences, least=1)
    settled = _settled(differences)
    settled = settled[settled != 0]
    if not len(settled):
        return 0.0
    _, places, counts = np.unique(np.abs(settled), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return float((ranks * np.sign(settled)).sum() / ranks.sum())


def intraclass_correlation(values: Reals, clusters: NDArray[np.integer]) -> float:
    """Share of the variance of values (N,) that lies between clusters (N,), by one-way analysis of variance; not below 0.

    Two clusters or more, one of them of two values or more; 0 where nothing varies. Sources: Shrout and Fleiss,
    "Intraclass correlations", Psychological Bulletin 86 (1979), case 1; Donner, "A review of inference procedures for
    the intraclass correlation coefficient in the one-way random effects model", International Statistical Review 54
    (1986), for clusters of unequal size.
    """
    groups = _by_cluster("an intraclass correlation", values, clusters)
    n, g = len(values), len(groups)
    if n == g:
        raise UsageError(
            f"an intraclass correlation of {n} clusters with one value each; expected a cluster of two values or more: "
            "nothing else tells what varies within one."
        )
    centre, spread = _mean_and_spread(values)
    if not spread:
        return 0.0
    groups = [(group - centre) / spread for group in groups]
    centres = [math.fsum(group) / len(group) for group in groups]
    between = math.fsum(len(group) * mean**2 for group, mean in zip(groups, centres, strict=True)) / (g - 1)
    within = math.fsum(math.fsum((group - mean) ** 2) for group, mean in zip(groups, centres, strict=True)) / (n - g)
    size = (n - math.fsum(len(group) ** 2 for group in groups) / n) / (g - 1)
    if between <= within:
        return 0.0
    return (between - within) / (between + (size - 1) * within)


# What could have been found ----------------------------------------------------------------------------------------


def power(effect: float, clips: Sequence[int], correlation: float = 0.0, alpha: float = 0.05) -> float:
    """Chance that the two-sided t on speaker means finds an `effect`, in standard deviations of a clip's difference.

    `clips` of each speaker (G ≥ 2), `correlation` 0 to 1 of two clips of one speaker. The mean of m clips has the
    variance r + (1 - r) / m; of unequal m the average is taken. Sources: Cohen (1988), chapter 2; Killip, Mahfoud and
    Pearce, "What is an intracluster correlation coefficient?", Annals of Family Medicine 2 (2004).
    """
    _check_finite("effect", effect)
    _check_share("alpha", alpha)
    return _found(abs(effect) / _error_of_design(clips, correlation), len(clips) - 1, alpha)


def smallest_effect(clips: Sequence[int], correlation: float = 0.0, alpha: float = 0.05, wanted: float = 0.8) -> float:
    """The effect that `power` finds with probability `wanted`, in standard deviations of a clip's difference."""
    error = _error_of_design(clips, correlation)
    return _smallest_shift(len(clips) - 1, alpha, wanted) * error


def smallest_difference(means: Reals, alpha: float = 0.05, wanted: float = 0.8) -> float:
    """The difference that another run of so many speakers would find with probability `wanted`, in the scale's unit.

    From (G,) speaker means as they were measured, G ≥ 2: from their standard deviation, taken as the true one. 0 where
    they have none.
    """
    _check_values("a smallest difference", means, least=2)
    return _smallest_shift(len(means) - 1, alpha, wanted) * _mean_and_spread(means)[1] / math.sqrt(len(means))


# Sums and flips ----------------------------------------------------------------------------------------------------


def _mean_and_spread(values: Reals) -> tuple[float, float]:
    """Mean and standard deviation (N - 1) of (N,), N ≥ 2: exactly 0 where all are equal. No order changes a bit."""
    count = len(values)
    if (values == values[0]).all():
        return float(values[0]), 0.0  # exactly: the sum may be rounded
    centre = math.fsum(values) / count
    # The spread is taken in units of the largest deviation, so that no square runs out of range.
    deviations = values - centre
    largest = float(np.abs(deviations).max())
    return centre, largest * math.sqrt(math.fsum((deviations / largest) ** 2) / (count - 1))


def _ratio(numerator: float, denominator: float) -> float:
    """Their ratio; without a denominator 0 or infinite."""
    if denominator:
        return numerator / denominator
    return math.copysign(math.inf, numerator) if numerator else 0.0


def _settled(values: Reals) -> Reals:
    """(N,) values in units of the largest, to as many digits as are no rounding: what ranks may be taken of."""
    largest = float(np.abs(values).max())
    return np.round(values / largest, round(-math.log10(ROUNDING))) + 0.0 if largest else np.zeros_like(values)


def _blocks(count: int, width: int) -> Iterator[int]:
    """Numbers of rows that add up to `count`, none of more than AT_ONCE values."""
    most = max(1, AT_ONCE // width)
    for done in range(0, count, most):
        yield min(most, count - done)


def _subsets(values: Reals, seed: int, flips: int) -> Iterator[tuple[Reals, Reals]]:
    """Sums and sizes, (K,) each, of the subsets of (G,) values that are flipped; the first one is empty.

    All that leave the last value, as flipping the others instead is the same test; above EXACT_SPEAKERS the empty one
    and then `flips` drawn ones.
    """
    sums, sizes = np.zeros(1), np.zeros(1)
    if len(values) <= EXACT_SPEAKERS:
        for value in values[:-1]:
            sums, sizes = np.concatenate([sums, sums + value]), np.concatenate([sizes, sizes + 1])
    yield sums, sizes
    if len(values) > EXACT_SPEAKERS:
        rng = np.random.default_rng(seed)
        for many in _blocks(flips, len(values)):
            flipped = rng.integers(2, size=(many, len(values)), dtype=np.int8).astype(np.float64)
            yield flipped @ values, flipped.sum(axis=1)


def _lower_end(means: Reals, alpha: float, seed: int, flips: int) -> float:
    """The least shift that the sign-flip test does not reject; -inf where it rejects none."""
    count = len(means)
    centre = math.fsum(means) / count
    deviations = np.sort(means - centre)  # as `sign_flip` orders them for any shift below the mean
    steps = []
    for sums, sizes in _subsets(deviations, seed, flips):
        part = (sizes > 0) & (sizes < count)  # nobody or all flipped: the observed sum is reached whatever the shift
        both = sums[part] / sizes[part], -sums[part] / (count - sizes[part])
        steps.append(np.concatenate([np.minimum(*both), np.full(len(sums) - len(both[0]), -np.inf)]))
    ends = np.concatenate(steps)
    # p is the share of steps passed. The first place where it is above alpha (1 - 0.9 is not quite 0.1):
    place = math.floor(alpha * len(ends) + ROUNDING)
    return centre + float(np.partition(ends, place)[place])


def _by_cluster(what: str, values: Reals, clusters: NDArray[np.integer]) -> list[Reals]:
    """The values (N,) of each of two or more clusters."""
    _check_values(what, values, least=2)
    if clusters.shape != values.shape:
        raise UsageError(
            f"{what} of {values.shape} values in {clusters.shape} clusters; expected a cluster for each value."
        )
    order = np.argsort(clusters, kind="stable")
    _, first = np.unique(clusters[order], return_index=True)
    if len(first) < 2:
        raise UsageError(f"{what} of one cluster; expected two or more: one says nothing of the next.")
    return np.split(values[order], first[1:])


def _adjusted(ps: Sequence[float], factors: Sequence[float], *, rising: bool) -> list[float]:
    """p, each times the factor of its place by size, made monotone from the least up or from the greatest down."""
    for p in ps:
        if not 0.0 <= p <= 1.0:
            raise UsageError(f"a p of {p} to adjust; expected 0 to 1.")
    if not len(ps):
        return []
    order = np.argsort(ps, kind="stable")
    scaled = np.asarray(ps, dtype=np.float64)[order] * factors
    steady = np.maximum.accumulate(scaled) if rising else np.minimum.accumulate(scaled[::-1])[::-1]
    adjusted = np.empty(len(ps))
    adjusted[order] = np.minimum(steady, 1.0)
    return [float(p) for p in adjusted]


# Noncentral t --------------------------------------------------------------------------------------------------------


def _error_of_design(clips: Sequence[int], correlation: float) -> float:
    """Standard error of the mean over speakers, in standard deviations of a clip's difference."""
    if len(clips) < 2:
        raise UsageError(f"the power of {len(clips)} speakers; expected two or more: one says nothing of the next.")
    for count in clips:
        _check_count("clips of a speaker", count)
    if not 0.0 <= correlation <= 1.0:
        raise UsageError(f"a correlation of {correlation} of the clips of a speaker; expected 0 to 1.")
    variance = math.fsum(correlation + (1 - correlation) / count for count in clips) / len(clips)
    return math.sqrt(variance / len(clips))


def _found(shift: float, degrees: int, alpha: float) -> float:
    """Chance that |t| is significant where the true mean is `shift` standard errors from the null."""
    from scipy.special import gammainc, ncfdtr, stdtrit

    if shift < NEAR:
        return alpha
    critical = float(stdtrit(degrees, 1 - alpha / 2))
    if shift > FAR:  # only the measured spread is left to chance: χ² of its degrees of freedom
        ratio = shift / critical
        return float(gammainc(degrees / 2, degrees * ratio * ratio / 2))
    # t² is noncentral F. Its far tail is rounded off, or lost, where the shift is small: the test finds no less than alpha.
    return max(alpha, 1 - float(ncfdtr(1, degrees, shift**2, critical**2)))


def _smallest_shift(degrees: int, alpha: float, wanted: float) -> float:
    """Standard errors from the null that are found with probability `wanted`, by bisection."""
    _check_share("alpha", alpha)
    _check_share("wanted", wanted)
    if wanted <= alpha:
        return 0.0  # the test finds that often what is not there
    low, high = 0.0, 1.0
    while _found(high, degrees, alpha) < wanted:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if _found(middle, degrees, alpha) < wanted else (low, middle)
    return high


# What is refused ---------------------------------------------------------------------------------------------------


def _check_values(what: str, values: Reals, *, least: int) -> None:
    if values.ndim != 1 or len(values) < least:
        number = {1: "one", 2: "two"}[least]
        raise UsageError(f"{what} of values of shape {values.shape}; expected one axis of {number} or more.")
    if not np.isfinite(values).all():
        raise UsageError(f"{what} of values that are not all finite; expected measured clips alone.")


def _check_finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise UsageError(f"{name} is {value}; expected a finite number.")


def _check_share(name: str, value: float) -> None:
    if not 0.0 < value < 1.0:
        raise UsageError(f"{name} is {value}; expected a share between 0 and 1, such as 0.95.")


def _check_count(name: str, value: int, *, least: int = 1) -> None:
    if value != int(value) or value < least:
        raise UsageError(f"{name}: {value}; expected a whole number of {least} or more.")


def _check_trials(successes: int, trials: int, confidence: float) -> None:
    _check_share("confidence", confidence)
    _check_count("trials", trials)
    _check_count("successes", successes, least=0)
    if successes > trials:
        raise UsageError(f"{successes} successes in {trials} trials; expected no more than there were trials.")
