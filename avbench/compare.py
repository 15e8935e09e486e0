"""What may be claimed of one method against another, and what may not?

Conventions
- A difference is other − baseline on one pair. It is turned so that above 0 is better than the baseline, whatever the
  scale's direction; on a scale without one it stays as measured, and nothing is won, lost or claimed.
- Estimate, interval and p are Student's t on one mean for each speaker, speakers alike. The exact sign-flip test of the
  same means stands beside them with the least p that so many speakers can give.
- Differences are over pairs measured for both. A pair measured for one and failed for the other is won by the former
  and is a gap of the latter; a pair failed for both is a tie. A method with a gap cannot be claimed better than the
  other: leaving out the clips that defeat a metric must never make a claim. It may withdraw one, better or worse.
- A claim needs an adjusted p below alpha. p are adjusted within a scale over its comparisons; in the adjustment of
  others, one with an unmeasured pair counts as p = 1. So no failure makes anybody's adjusted p smaller by moving pairs
  out of a third method's test.
- compare(a, b) is -compare(b, a) to the last bit, and the order of pairs and speakers changes nothing.
- A pair that was never scored is no failure: the comparison stops with `Incomplete`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import Incomplete, UsageError, unknown
from .metric import Scale
from .results import Entry, Results, clean, signature
from .stats import (
    EXACT_SPEAKERS,
    FLIPS,
    SignFlip,
    benjamini_hochberg,
    binomial,
    cluster_bootstrap,
    cohens_d_paired,
    holm,
    paired_permutation,
    power,
    sign_flip,
    sign_flip_interval,
    smallest_difference,
    smallest_effect,
    t_mean,
    wilcoxon,
)

__all__ = [
    "ADJUSTMENTS",
    "TESTS",
    "WANTED",
    "Adjust",
    "Alternative",
    "Claim",
    "Comparison",
    "Comparisons",
    "Paired",
    "Plan",
    "Reason",
    "compare",
    "even_clips",
    "finding",
    "paired",
    "plan",
]

Adjust = Literal["holm", "bh", "none"]
Claim = Literal["better", "worse", "none"]
Reason = Literal["", "no direction", "nothing measured", "one speaker", "gap", "not significant"]

ADJUSTMENTS: Mapping[str, str] = {
    "holm": "Holm",
    "bh": "Benjamini-Hochberg",
    "none": "no adjustment",
}
CLIPS = "treats clips as independent"
TESTS: Mapping[str, str] = {  # beside t, and what is to be said of each
    "t": "",
    "binomial": f"Binomial: exact test of wins, ties out; {CLIPS}",
    "wilcoxon": f"Wilcoxon: signed-rank test of pairs; {CLIPS}",
    "permutation": f"Permutation: signs of pairs flipped; {CLIPS}",
    "bootstrap": "Bootstrap: percentile interval, speakers resampled",
}
WANTED = 0.8  # how often what is called detectable would have been found
MORE_DIGITS = 3  # than the scale's, at most
ROUNDING = 1e-12  # speakers whose means differ by less, as a share of the means, differ alike


class Paired(NamedTuple):
    """Two methods on one scale, pair by pair. Differences are other − baseline as measured, in the scale's unit."""

    differences: NDArray[np.float64]  # (K,) of pairs measured for both
    weights: NDArray[np.float64]  # (K,) what each counts: 1, or its words
    pairs: NDArray[np.int32]  # (K,) places in `Results.pairs`, ascending
    speakers: NDArray[np.int32]  # (K,) places in `Results.speakers`
    means: NDArray[np.float64]  # (G,) of each speaker's differences, weighted
    clips: NDArray[np.int32]  # (G,) pairs of each
    heard: NDArray[np.int32]  # (G,) places in `Results.speakers`, ascending
    baseline_only: NDArray[np.int32]  # pairs measured for the baseline and failed for the other
    other_only: NDArray[np.int32]  # the reverse
    both_failed: NDArray[np.int32]


class Alternative(NamedTuple):
    """What another test than t says: a p, or an interval of the oriented difference."""

    test: str  # of TESTS
    p: float | None
    lower: float | None
    upper: float | None


class Comparison(NamedTuple):
    """One method against the baseline on one scale. Numbers are None where the data do not give them."""

    scale: str
    baseline: str
    other: str
    pairs: int  # measured for both
    speakers: int
    difference: float | None  # mean of speaker means, oriented, in the scale's unit
    lower: float | None  # of its t interval; None with fewer than two speakers
    upper: float | None
    p: float | None  # two-sided
    adjusted: float | None  # over the comparisons of the scale
    sign_flip: SignFlip | None
    flip_lower: float | None  # of the inverted sign-flip test; None: unbounded, as with few speakers
    flip_upper: float | None
    wins: int | None  # pairs on which the other is better; None on a scale without direction
    ties: int | None
    losses: int | None
    binomial: float | None  # p of wins among wins and losses; treats clips as independent
    effect: float | None  # mean of speaker means over their standard deviation, oriented
    smallest: float | None  # true difference that would have been found with probability WANTED
    other_gaps: int  # pairs failed for the other and measured for the baseline
    baseline_gaps: int
    both_failed: int
    alternative: Alternative | None
    claim: Claim
    why: Reason  # of no claim


class Comparisons(NamedTuple):
    """All that a format lays out: methods against one baseline, scale by scale. Words are free of control characters."""

    split: str  # name@digest
    title: str
    profile: str
    baseline: str
    others: tuple[str, ...]
    alpha: float
    confidence: float
    adjust: Adjust
    test: str  # of TESTS
    pairs: int  # of the split
    speakers: int
    scales: tuple[Scale, ...]
    digits: Mapping[str, int]  # scale → decimals that show its differences
    rows: tuple[Comparison, ...]  # by scale, then method
    labels: Mapping[str, str]  # method → what a person calls it
    caption: str
    signatures: tuple[str, ...]  # one for each scale

    @property
    def even(self) -> bool:
        """Whether all comparisons have the same pairs and speakers in number; the caption says how many, then."""
        return len({(row.pairs, row.speakers) for row in self.rows}) == 1

    def of(self, scale: str) -> tuple[Comparison, ...]:
        """The comparisons on one scale, in the order of the methods."""
        return tuple(row for row in self.rows if row.scale == scale)


class Plan(NamedTuple):
    """What so many pairs of so many speakers can find. Effects are in standard deviations of a pair's difference."""

    clips: tuple[int, ...]  # pairs of each speaker
    correlation: float  # of two pairs of one speaker
    alpha: float
    methods: int  # compared with one baseline
    smallest: float  # effect found with probability WANTED by one comparison
    smallest_adjusted: float  # by the strictest of Holm's steps
    attainable: float  # least p of the sign-flip test
    exact: bool  # it tries all assignments of signs
    attainable_adjusted: float  # the best that Holm leaves of it
    effect: float | None  # one that was asked for
    power: float | None  # the probability of finding it
    power_adjusted: float | None


def paired(results: Results, scale: Scale, baseline: str, other: str) -> Paired:
    """The two methods on the pairs of the split. Incomplete: a pair was not scored. UsageError: their words differ."""
    ours, theirs = results.scores[other, scale.name], results.scores[baseline, scale.name]
    for method, scores in ((baseline, theirs), (other, ours)):
        if scores.rows < len(results.pairs):
            raise _incomplete(results, scale, method, len(results.pairs) - scores.rows)
    both, at_ours, at_theirs = np.intersect1d(ours.measured, theirs.measured, assume_unique=True, return_indices=True)
    weights = ours.weights[at_ours]
    if not np.array_equal(weights, theirs.weights[at_theirs]):
        place = int(np.flatnonzero(weights != theirs.weights[at_theirs])[0])
        raise UsageError(
            f"{scale.name} of pair {results.pairs[both[place]]}: {weights[place]:g} words for {other}, "
            f"{theirs.weights[at_theirs][place]:g} for {baseline}; expected as many, as both should say the same. "
            "Score both again with one version."
        )
    differences = ours.values[at_ours] - theirs.values[at_theirs]
    speakers = results.speaker_of[both]
    heard, clips = np.unique(speakers, return_counts=True)
    return Paired(
        differences=differences,
        weights=weights,
        pairs=both.astype(np.int32),
        speakers=speakers,
        means=_speaker_means(differences, weights, speakers),
        clips=clips.astype(np.int32),
        heard=heard.astype(np.int32),
        baseline_only=np.setdiff1d(theirs.measured, ours.measured, assume_unique=True),
        other_only=np.setdiff1d(ours.measured, theirs.measured, assume_unique=True),
        both_failed=np.intersect1d(ours.failed, theirs.failed, assume_unique=True),
    )


def compare(
    results: Results,
    baseline: str,
    others: Sequence[str],
    *,
    alpha: float = 0.05,
    adjust: Adjust = "holm",
    confidence: float = 0.95,
    test: str = "t",
    sign_flips: bool = True,
) -> Comparisons:
    """Every other method against the baseline on every scale of the results; `test` adds what another one says.

    Without `sign_flips` these are left out (above 20 speakers they take most of the time), and no claim changes.

    UsageError: an unknown method, test or adjustment, one method twice, or one that is untrained or was limited.
    Incomplete: a pair was not scored.
    """
    _check(results, baseline, others)
    for kind, name, known in (("test", test, TESTS), ("adjustment", adjust, ADJUSTMENTS)):
        if name not in known:
            raise unknown(kind, name, known)
    for word, share in (("alpha", alpha), ("confidence", confidence)):
        if not 0.0 < share < 1.0:
            raise UsageError(f"{word} = {share}; expected a share between 0 and 1, such as 0.05 or 0.95.")
    strictest = alpha if adjust == "none" else alpha / len(others)
    labels = _labels([entry for entry in results.methods if entry.method in (baseline, *others)])
    rows: list[Comparison] = []
    for scale in results.scales:
        found = []
        for other in others:
            there = paired(results, scale, baseline, other)
            row = _measured(scale, baseline, other, there, strictest, confidence, test)
            found.append(_with_sign_flips(row, _oriented(scale, there.means), confidence) if sign_flips else row)
        rows += [_judged(row, scale, p, alpha) for row, p in zip(found, _adjusted(found, adjust), strict=True)]
    return Comparisons(
        split=results.split,
        title=clean(results.title),
        profile=results.profile,
        baseline=baseline,
        others=tuple(others),
        alpha=alpha,
        confidence=confidence,
        adjust=adjust,
        test=test,
        pairs=len(results.pairs),
        speakers=len(results.speakers),
        scales=results.scales,
        digits={
            scale.name: _digits(scale, [row for row in rows if row.scale == scale.name]) for scale in results.scales
        },
        rows=tuple(rows),
        labels=labels,
        caption=_caption(results, labels[baseline], rows, alpha, adjust, test),
        signatures=tuple(signature(results, scale) for scale in results.scales),
    )


def finding(row: Comparison, comparisons: Comparisons) -> str:
    """One comparison in words: what is claimed, or why nothing is, and what would have been found."""
    other, baseline = comparisons.labels[row.other], comparisons.labels[row.baseline]
    reach = ""
    if row.smallest is not None:
        size = f"{row.smallest:.{comparisons.digits[row.scale]}f}"
        reach = f"; a true difference of {size} would have been found four times in five"
    if row.claim != "none":
        return f"{other}: {row.claim} than {baseline}{reach}."
    gaps = [
        f"{count} pair{'s' * (count != 1)} failed for {method} alone"
        for method, count in ((other, row.other_gaps), (baseline, row.baseline_gaps))
        if count
    ]
    reasons: dict[Reason, str] = {
        "no direction": "no claim, as the scale has no better side",
        "nothing measured": "no claim, as no pair was measured for both",
        "one speaker": "no claim, as one speaker says nothing of the next",
        "gap": f"no claim, as {' and '.join(gaps)}",
        "not significant": f"not told apart from {baseline}{reach}"
        if row.effect is not None or row.difference
        else f"no speaker's mean differs from {baseline}'s",
    }
    return f"{other}: {reasons[row.why]}."


def plan(
    clips: Sequence[int],
    *,
    correlation: float = 0.0,
    alpha: float = 0.05,
    methods: int = 1,
    effect: float | None = None,
) -> Plan:
    """What can be found with `clips` pairs of each speaker, by one comparison and by one of several methods under Holm."""
    if methods < 1:
        raise UsageError(f"{methods} methods; expected one or more to compare with the baseline.")
    speakers = len(clips)
    exact = speakers <= EXACT_SPEAKERS
    attainable = 2.0 ** (1 - speakers) if exact else 1 / (FLIPS + 1)
    return Plan(
        clips=tuple(clips),
        correlation=correlation,
        alpha=alpha,
        methods=methods,
        smallest=smallest_effect(clips, correlation, alpha, WANTED),
        smallest_adjusted=smallest_effect(clips, correlation, alpha / methods, WANTED),
        attainable=attainable,
        exact=exact,
        attainable_adjusted=min(1.0, methods * attainable),
        effect=effect,
        power=None if effect is None else power(effect, clips, correlation, alpha),
        power_adjusted=None if effect is None else power(effect, clips, correlation, alpha / methods),
    )


def even_clips(pairs: int, speakers: int) -> tuple[int, ...]:
    """So many pairs over so many speakers, as evenly as they go. UsageError: fewer than two speakers, or pairs than speakers."""
    if not 2 <= speakers <= pairs:
        raise UsageError(
            f"{pairs} pairs of {speakers} speakers; expected two speakers or more, and a pair or more of each."
        )
    each, more = divmod(pairs, speakers)
    return tuple(each + (place < more) for place in range(speakers))


# What may be compared --------------------------------------------------------------------------------------------


def _check(results: Results, baseline: str, others: Sequence[str]) -> None:
    entries = {entry.method: entry for entry in results.methods}
    if not others:
        raise UsageError("a baseline and nothing to compare with it; expected another method or more.")
    for place, method in enumerate((baseline, *others)):
        if method not in entries:
            raise unknown("method", method, entries)
        if method in (baseline, *others)[:place]:
            raise UsageError(f"method {method!r} is named twice; expected a baseline and others, each once.")
        if entries[method].untrained:
            raise UsageError(
                f"{method}: its generator has no trained weights, so a difference says nothing of a model. "
                "`avbench table` shows it where it is named; compare trained ones."
            )
        if entries[method].limited:
            raise UsageError(
                f"{method} was limited to {entries[method].limited} pairs; expected all {len(results.pairs)} of the split. "
                "Generate and score it without --limit."
            )


def _incomplete(results: Results, scale: Scale, method: str, missing: int) -> Incomplete:
    """The notices of the results name the command: they know the folder."""
    told = next((notice for notice in results.notices if notice.startswith(f"{method}: ") and "missing" in notice), "")
    return Incomplete(
        f"{scale.name}: {missing} of {len(results.pairs)} pairs have no score for {method}; expected all, as those that "
        f"are missing could change what is claimed. "
        + (told or f"`avbench score --split {results.split.rpartition('@')[0]} --method {method}` makes them.")
    )


# One comparison --------------------------------------------------------------------------------------------------


def _speaker_means(
    differences: NDArray[np.float64], weights: NDArray[np.float64], speakers: NDArray[np.int32]
) -> NDArray[np.float64]:
    """(G,) by place of the speaker, of exact sums: the order of pairs has no say."""
    order = np.argsort(speakers, kind="stable")
    edges = np.flatnonzero(np.diff(speakers[order])) + 1
    products = differences * weights
    return np.array(
        [math.fsum(products[group]) / math.fsum(weights[group]) for group in np.split(order, edges) if len(group)],
        dtype=np.float64,
    )


def _measured(
    scale: Scale, baseline: str, other: str, found: Paired, alpha: float, confidence: float, test: str
) -> Comparison:
    """All that one pair of methods gives; claim and adjusted p need their neighbours."""
    differences, means = _oriented(scale, found.differences), _oriented(scale, found.means)
    row = Comparison(
        scale=scale.name,
        baseline=baseline,
        other=other,
        pairs=len(differences),
        speakers=len(means),
        difference=math.fsum(means) / len(means) if len(means) else None,
        lower=None,
        upper=None,
        p=None,
        adjusted=None,
        sign_flip=None,
        flip_lower=None,
        flip_upper=None,
        wins=None,
        ties=None,
        losses=None,
        binomial=None,
        effect=None,
        smallest=None,
        other_gaps=len(found.baseline_only),
        baseline_gaps=len(found.other_only),
        both_failed=len(found.both_failed),
        alternative=None,
        claim="none",
        why="",
    )
    if scale.direction != "none":
        row = _with_wins(row, found, differences)
    if len(means) > 1:
        row = _with_tests(row, means, alpha, confidence)
    return row._replace(alternative=_alternative(test, row, differences, means, confidence))


def _oriented(scale: Scale, differences: NDArray[np.float64]) -> NDArray[np.float64]:
    """Above 0 is better; never -0.0."""
    return (-1.0 if scale.direction == "lower" else 1.0) * differences + 0.0


def _with_wins(row: Comparison, found: Paired, differences: NDArray[np.float64]) -> Comparison:
    """A measured clip beats a failed one; two failed ones tie."""
    wins = int((differences > 0).sum()) + len(found.other_only)
    losses = int((differences < 0).sum()) + len(found.baseline_only)
    ties = int((differences == 0).sum()) + len(found.both_failed)
    return row._replace(wins=wins, ties=ties, losses=losses, binomial=binomial(wins, losses))


def _with_tests(row: Comparison, means: NDArray[np.float64], alpha: float, confidence: float) -> Comparison:
    """Of two speakers or more."""
    estimate = t_mean(means, confidence=confidence)
    spread = float(np.ptp(means)) > ROUNDING * float(np.abs(means).max())
    return row._replace(
        difference=estimate.value,
        lower=estimate.lower,
        upper=estimate.upper,
        # Where all speakers differ alike, t has nothing to judge by and answers 0; the sign-flip test can be trusted.
        p=estimate.p if spread else sign_flip(means).p,
        effect=cohens_d_paired(means) if spread else None,
        smallest=smallest_difference(means, alpha, WANTED) if spread else None,
    )


def _with_sign_flips(row: Comparison, means: NDArray[np.float64], confidence: float) -> Comparison:
    if len(means) < 2:
        return row
    lower, upper = sign_flip_interval(means, confidence=confidence)
    return row._replace(sign_flip=sign_flip(means), flip_lower=_bound(lower), flip_upper=_bound(upper))


def _alternative(
    test: str,
    row: Comparison,
    differences: NDArray[np.float64],
    means: NDArray[np.float64],
    confidence: float,
) -> Alternative | None:
    if test == "t":
        return None
    if test == "binomial":
        return Alternative(test, row.binomial, None, None)
    if test == "bootstrap":
        if len(means) < 2:
            return Alternative(test, None, None, None)
        lower, upper = cluster_bootstrap(means, np.arange(len(means)), confidence=confidence)
        return Alternative(test, None, lower, upper)
    tests: dict[str, Callable[[NDArray[np.float64]], float]] = {
        "wilcoxon": wilcoxon,
        "permutation": paired_permutation,
    }
    return Alternative(test, tests[test](differences) if len(differences) else None, None, None)


def _bound(end: float) -> float | None:
    """None for what has no bound."""
    return end if math.isfinite(end) else None


# Of many comparisons -----------------------------------------------------------------------------------------------


def _adjusted(rows: Sequence[Comparison], adjust: Adjust) -> list[float | None]:
    """Within a scale. A row keeps its own p, and to others it is 1 as soon as a pair is unmeasured."""
    adjusting: dict[Adjust, Callable[[Sequence[float]], list[float]]] = {
        "holm": holm,
        "bh": benjamini_hochberg,
        "none": list,
    }
    said = [1.0 if row.p is None or row.other_gaps or row.baseline_gaps or row.both_failed else row.p for row in rows]
    return [
        None if row.p is None else adjusting[adjust]([*said[:place], row.p, *said[place + 1 :]])[place]
        for place, row in enumerate(rows)
    ]


def _judged(row: Comparison, scale: Scale, adjusted: float | None, alpha: float) -> Comparison:
    """The claim, or why there is none."""
    row = row._replace(adjusted=adjusted)
    if scale.direction == "none":
        return row._replace(why="no direction")
    if row.difference is None:
        return row._replace(why="gap" if row.other_gaps or row.baseline_gaps else "nothing measured")
    if row.speakers < 2 or adjusted is None:
        return row._replace(why="one speaker")
    # Who would be called the better one must have measured all that the other has.
    if (row.difference > 0 and row.other_gaps) or (row.difference < 0 and row.baseline_gaps):
        return row._replace(why="gap")
    if adjusted >= alpha or row.difference == 0:
        return row._replace(why="not significant")
    return row._replace(claim="better" if row.difference > 0 else "worse")


# Words -----------------------------------------------------------------------------------------------------------


def _digits(scale: Scale, rows: Sequence[Comparison]) -> int:
    """The scale's decimals, or more where its differences would be lost: two figures of the finest interval's half width."""
    halves = [
        (row.upper - row.lower) / 2
        for row in rows
        if row.upper is not None and row.lower is not None and row.upper > row.lower
    ]
    if not halves:
        return scale.digits
    wanted = 1 - math.floor(math.log10(min(halves)))
    return max(scale.digits, min(wanted, scale.digits + MORE_DIGITS, 9))


def _labels(entries: Sequence[Entry]) -> dict[str, str]:
    """With the method's name where two have the same label."""
    labels = [clean(entry.label) or clean(entry.method) for entry in entries]
    return {
        entry.method: f"{label} ({clean(entry.method)})" if labels.count(label) > 1 else label
        for entry, label in zip(entries, labels, strict=True)
    }


def _caption(
    results: Results, baseline: str, rows: Sequence[Comparison], alpha: float, adjust: Adjust, test: str
) -> str:
    """What the numbers are and how they were made, in sentences."""
    pairs, speakers, others = len(results.pairs), len(results.speakers), len({row.other for row in rows})
    corpora = [clean(scale.label) for scale in results.scales if scale.aggregate == "corpus"]
    directed = any(scale.direction != "none" for scale in results.scales)
    undirected = [clean(scale.label) for scale in results.scales if scale.direction == "none"]
    family = f"adjusted by {ADJUSTMENTS[adjust]} over the methods of a scale" if adjust != "none" else "not adjusted"
    needs = "adjusted p" if adjust != "none" else "p"
    strictest = f", at alpha/{others}" if adjust != "none" and others > 1 else ""
    sampled = next((row.sign_flip for row in rows if row.sign_flip is not None and not row.sign_flip.exact), None)
    tested = {row.sign_flip.attainable for row in rows if row.sign_flip is not None}
    least = f"; no p below {tested.pop():.2g} is possible" if len(tested) == 1 else ""
    alike = any(row.effect is None and row.p is not None and row.difference != 0.0 for row in rows)
    sentences = [
        f"{clean(results.title).rstrip('.')}.",
        f"{others} method{'s' * (others != 1)} against {baseline}.",
        f"Split {clean(results.split)}: {pairs} pair{'s' * (pairs != 1)}, {speakers} speaker{'s' * (speakers != 1)}. "
        f"Profile {clean(results.profile)}.",
        "A difference is the mean over speakers of method minus baseline"
        + (", turned so that above 0 is better than the baseline." if directed else "."),
        f"{' and '.join(undirected)}: without a better side, as measured, and nothing is claimed."
        if undirected
        else "",
        f"{' and '.join(corpora)}: pairs weigh in a speaker's mean by their words." if corpora else "",
        f"Interval and p: Student's t over speakers; p {family}; a claim needs {needs} below {alpha:g}.",
        f"Sign-flip: the same means, {sampled.flips:,} random assignments of signs (Monte Carlo)."
        if sampled
        else f"Sign-flip: the same means, exact{least}.",
        "Where all speakers differ alike, p is that of the sign-flip test." if alike else "",
        "W/T/L: pairs won, tied, lost; a measured clip beats one that failed." if directed else "",
        f"Detectable: the true difference that would have been found four times in five{strictest}.",
        f"{TESTS[test]}." if test != "t" else "",
        clean(results.note),
    ]
    return " ".join(sentence for sentence in sentences if sentence)
