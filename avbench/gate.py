"""Did it get worse? A candidate's scores against a recorded baseline, a margin for each scale, and one of three verdicts.

Conventions
- A difference is candidate minus baseline on the same pair, turned so that above 0 is better. Its unit of independence
  is the speaker: Student's t on the weighted speaker means of `compare.paired`, clips measured for both.
- For margin m and true difference d a rule *passes* where d ≤ -m is rejected, is a *regression* where d ≥ -m is
  rejected, and else is *undecided*. Both one-sided p are adjusted by Holm over the rules, each kind among its own: so
  the chance that any rule passes wrongly is at most alpha, and so is, as long as no clip became unmeasurable, the chance
  of any wrong regression.
- In terms of bounds: sorted by p, the k-th of K rules is tested at alpha / (K - k + 1), and after the first that is not
  rejected the others keep that level. A rule passes exactly where its lower bound of that level is at least -m, and is a
  regression exactly where its upper bound is below -m.
- Speakers whose differences are all the same have an interval of no width. A scale on which nothing changed passes, even
  with margin 0 or a single speaker; otherwise a single speaker decides nothing.
- A clip that the baseline could be measured on and the candidate cannot never passes. The mean of its speaker may then
  be anything: where some value of such means would make a regression it is one, else it is undecided. So no failure
  ever raises a verdict, and a few lost clips of several speakers can fail a candidate whose other clips got better.
  Pairs that the baseline failed on are left out, and said.
- A baseline knows what its numbers depend on: split digest, profile, media, and revision of each scale. Where one of them
  changed nothing is compared: `Incomparable` names it.
"""

from __future__ import annotations

import dataclasses
import math
import shlex
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from itertools import combinations
from pathlib import Path
from typing import Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .compare import paired
from .errors import Incomparable, Incomplete, UsageError, unknown
from .home import atomic, package_version
from .metric import Scale
from .results import Entry, Results, Scores, clean, load
from .run import format_method, parse_method, read_scales, run_folder, scan_scores
from .split import load_split
from .stats import holm, smallest_difference, smallest_effect, t_mean, t_tail

__all__ = [
    "ALPHA",
    "CHANCE",
    "EXPIRES_DAYS",
    "FORM",
    "Answer",
    "Baseline",
    "Check",
    "Item",
    "Margin",
    "Outcome",
    "Question",
    "Recorded",
    "Rule",
    "Ruling",
    "Severity",
    "Verdict",
    "check",
    "judge",
    "parse_margins",
    "parse_rule",
    "read_baseline",
    "record",
    "write_baseline",
]

ALPHA = 0.05
CHANCE = 0.9  # with which a rerun without a change passes at a calibrated margin
EXPIRES_DAYS = 180
MOST_DAYS = 36_500
ROUNDING = 1e-9  # of the larger of margin and difference: nearer to each other is the same
FORM = 1  # of the file; another one is not read
FOUND = 0.8  # chance of what "could have been found"
BASELINE = "the baseline"  # beside a candidate's name, which has no blank
SIGNED = ("revision", "direction", "unit", "aggregate")  # of a scale; others are words and layout

Severity = Literal["notice", "warning", "error"]
Verdict = Literal["pass", "undecided", "regression"]
Reals = NDArray[np.float64]


class Rule(NamedTuple):
    """A scale that must not get worse by more than `margin`; None = the one that the baseline has."""

    scale: str
    margin: float | None


class Question(NamedTuple):
    """A rule in numbers."""

    means: Reals  # (H,) of speakers whose clips are all measured; above 0 is better
    free: int  # speakers more, of whom a clip could be measured for the baseline only
    margin: float  # ≥ 0


class Answer(NamedTuple):
    """What the numbers say. Bounds are None where there are none: a single speaker, or free ones."""

    verdict: Verdict
    lower: float | None
    upper: float | None
    lower_level: float  # chance that the true difference is below `lower`
    upper_level: float  # and above `upper`
    p_pass: float  # adjusted, of a difference of at most -margin
    p_regression: float  # adjusted, of a difference of at least -margin


class Ruling(NamedTuple):
    """One rule, what was found, and a sentence that explains it. Differences: above 0 is better."""

    scale: str
    label: str
    unit: str
    direction: str
    digits: int  # that show the margin, too
    margin: float
    difference: float | None  # mean of speaker means; None where no pair is measured for both
    answer: Answer
    pairs: int  # measured for both
    speakers: int  # of those
    gaps: int  # pairs measured for the baseline only
    left_out: int  # pairs that the baseline failed on
    resolution: (
        float | None
    )  # no change passes at this margin, and a loss of margin + this is found, four times in five, at Holm's first step
    sentence: str

    @property
    def verdict(self) -> Verdict:
        return self.answer.verdict


class Check(NamedTuple):
    """Every rule of a gate, and the words around them."""

    split: str  # name@digest
    profile: str
    method: str  # the candidate
    baseline: str  # its method
    recorded: date
    expires: date | None
    alpha: float
    strict: bool
    rulings: tuple[Ruling, ...]
    title: str  # what is held against what, and how
    outdated: str  # where the baseline has expired, what that means; else empty

    @property
    def verdict(self) -> Verdict:
        """The worst of all rules."""
        verdicts = {ruling.verdict for ruling in self.rulings}
        return "regression" if "regression" in verdicts else "undecided" if "undecided" in verdicts else "pass"

    @property
    def failed(self) -> bool:
        """Whether the check ends with 1: a regression; when strict also what is undecided, or a baseline out of date."""
        return self.verdict == "regression" or (self.strict and (self.verdict == "undecided" or bool(self.outdated)))

    @property
    def conclusion(self) -> str:
        """The verdict and the scales that it is about."""
        names = [ruling.scale for ruling in self.rulings if ruling.verdict == self.verdict]
        if self.verdict == "pass":
            return f"pass: {_count(len(names), 'rule')}, no regression."
        return f"{self.verdict}: {', '.join(names)} ({len(names)} of {_count(len(self.rulings), 'rule')})."

    def severity(self, ruling: Ruling) -> Severity:
        """How loud a rule is: what fails the check is an error."""
        if ruling.verdict == "pass":
            return "notice"
        return "error" if ruling.verdict == "regression" or self.strict else "warning"


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One clip on one scale: `value` XOR `failure`. `weight`: what it counts, as in `Scores`."""

    value: float | None = None
    failure: str | None = None
    weight: float = 1.0

    def __post_init__(self) -> None:
        if (self.value is None) == (self.failure is None) or not 0 < self.weight < math.inf:
            raise ValueError("an outcome has a value or a failure, one of them, and a weight above 0")


class Item(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One pair, and the sha256 of what its clips were held against; empty where no clip of it was measured."""

    pair: str
    speaker: str
    target_sha256: str
    reference_sha256: str


class Margin(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """The loss that is let pass, and where it comes from; `spread` and what follows only where it was calibrated."""

    value: float
    spread: float | None = None  # standard deviation of a speaker's mean difference between two runs without a change
    speakers: int = 0
    runs: tuple[str, ...] = ()  # methods
    level: float = 0.0  # alpha / number of rules
    chance: float = 0.0  # with which no change passes

    def __post_init__(self) -> None:
        if not 0 <= self.value < math.inf:
            raise ValueError("a margin is a number from 0 up")


class Recorded(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One scale of a baseline."""

    scale: Scale
    margin: Margin | None
    outcomes: dict[str, Outcome]  # by pair


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file that `gate record` writes: all that a check needs but the candidate's own scores."""

    form: int
    avbench: str  # version; recorded, not compared
    split: str  # name@digest
    profile: str
    method: str
    recorded: date
    expires: date | None
    pairs: tuple[Item, ...]  # in the split's order
    scales: tuple[Recorded, ...]  # in column order


# Record ----------------------------------------------------------------------------------------------------------


def record(
    runs: Path,
    split: str,
    method: str,
    *,
    today: date,
    profile: str | None = None,
    metrics: Sequence[str] = (),
    margins: Mapping[str, float] | None = None,
    repeats: Sequence[str] = (),
    days: int | None = EXPIRES_DAYS,
    alpha: float = ALPHA,
) -> Baseline:
    """The scores of RUNS/`method`/`split` as a baseline that is good for so many days (None: for ever).

    Margins by scale are taken as given. `repeats` are methods that differ from `method` by the seed alone: every other
    scale with a direction gets the margin at which its rule passes a rerun without a change with probability CHANCE, if
    the spread that was measured is the true one, with the speakers that there are and every such scale a rule; at least
    the scale's tolerance.
    Errors are those of `results.load`; Incomplete where a pair has no score.
    """
    _check_alpha(alpha)
    if days is not None and not 1 <= days <= MOST_DAYS:
        raise UsageError(f"a baseline that expires after {days} days; expected 1 to {MOST_DAYS}.")
    methods = [method, *repeats]
    if len(set(methods)) < len(methods):
        raise UsageError(
            f"--repeats {', '.join(repeats)} of method {method}: a run stands there twice, and would differ from itself by "
            "nothing. Give runs of other seeds."
        )
    for repeat in repeats:
        if _but_for_seed(repeat) != _but_for_seed(method):
            raise UsageError(
                f"--repeats {repeat}: not {method} with another seed, and margins are the spread of nothing else. "
                f"Give runs such as {_another_seed(method)}."
            )
    load_split(split)  # without it, nobody knows which pairs there should be
    results = load(runs, split, profile=profile, methods=methods, metrics=list(metrics) or None)
    for entry in results.methods:
        _check_entry(entry)
        for scale in results.scales:
            _check_rows(runs, results, entry.method, scale)
    given = dict(margins or {})
    for name, value in given.items():
        _directed(name, results.scales)
        _check_margin(name, value)
    free = [scale.name for scale in results.scales if repeats and scale.direction != "none" and scale.name not in given]
    level = alpha / max(1, len(given) + len(free))
    media = _media(run_folder(runs, method, _name(results.split)), results.split, results.scales)
    return Baseline(
        form=FORM,
        avbench=package_version(),
        split=results.split,
        profile=results.profile,
        method=method,
        recorded=today,
        expires=None if days is None else today + timedelta(days=days),
        pairs=tuple(
            Item(pair, results.speakers[speaker], *media.get(pair, ("", "")))
            for pair, speaker in zip(results.pairs, results.speaker_of, strict=True)
        ),
        scales=tuple(
            Recorded(
                scale,
                Margin(given[scale.name])
                if scale.name in given
                else _calibrated(results, scale, methods, level)
                if scale.name in free
                else None,
                _outcomes(results.pairs, results.scores[method, scale.name]),
            )
            for scale in results.scales
        ),
    )


def write_baseline(path: Path, baseline: Baseline) -> None:
    """JSON that a person can read and a review can show."""
    with atomic(path) as part:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(baseline), indent=1) + b"\n")


def read_baseline(path: Path) -> Baseline:
    """The inverse of `write_baseline`. UsageError where the file is not there, damaged or of another form."""
    again = "`avbench gate record` writes one."
    if not path.is_file():
        raise UsageError(f"{path}: no such file; expected a baseline. {again}")
    try:
        form = msgspec.json.decode(path.read_bytes(), type=_Form).form
        if form != FORM:
            raise UsageError(f"{path}: form {form}; this avbench reads form {FORM}. {again}")
        baseline = msgspec.json.decode(path.read_bytes(), type=Baseline)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}; expected a baseline. {again}") from error
    pairs = {item.pair for item in baseline.pairs}
    if len(pairs) < len(baseline.pairs) or not all(baseline.split.rpartition("@")):
        raise UsageError(f"{path}: split {baseline.split!r} with a pair twice, or without its digest. {again}")
    if len({one.scale.name for one in baseline.scales}) < len(baseline.scales):
        raise UsageError(f"{path}: a scale stands there twice. {again}")
    for one in baseline.scales:
        if one.outcomes.keys() != pairs or one.scale.profile != baseline.profile:
            raise UsageError(f"{path}: {one.scale.name} does not have every pair on {baseline.profile}. {again}")
    return baseline


# Check -----------------------------------------------------------------------------------------------------------


def check(
    runs: Path,
    baseline: Baseline,
    *,
    today: date,
    method: str | None = None,
    split: str | None = None,
    rules: Sequence[Rule] = (),
    alpha: float = ALPHA,
    strict: bool = False,
) -> Check:
    """Holds RUNS/`method`/SPLIT (the baseline's method unless another is given) against the baseline.

    Without rules every scale with a margin is one. `split` is a name or a folder, by default the baseline's name.
    Incomparable: a signature or a medium changed. Incomplete: a pair has no score. UsageError: a rule that cannot be
    asked, an untrained or limited candidate.
    """
    _check_alpha(alpha)
    method = method or baseline.method
    split = split or _name(baseline.split)
    asked = _rules(baseline, rules)
    candidate = _candidate(runs, baseline, method, split, [one.scale.name for one, _ in asked])
    joined = [_joined(candidate, baseline, one, method) for one, _ in asked]
    measured = [_question(results, one, margin, method) for results, (one, margin) in zip(joined, asked, strict=True)]
    answers = judge([found.question for found in measured], alpha)
    rulings = tuple(
        _ruling(one.scale, found, answer, alpha / len(asked))
        for (one, _), found, answer in zip(asked, measured, answers, strict=True)
    )
    outdated = ""
    if baseline.expires is not None and today > baseline.expires:
        outdated = (
            f"The baseline of {baseline.recorded} expired on {baseline.expires}: what it was made with may have moved on. "
            "`avbench gate record` makes a new one."
        )
    return Check(
        split=baseline.split,
        profile=baseline.profile,
        method=clean(method),
        baseline=clean(baseline.method),
        recorded=baseline.recorded,
        expires=baseline.expires,
        alpha=alpha,
        strict=strict,
        rulings=rulings,
        title=_title(baseline, method, alpha, len(rulings)),
        outdated=outdated,
    )


def judge(questions: Sequence[Question], alpha: float = ALPHA) -> list[Answer]:
    """The verdicts of rules that are asked together, in the order given; `alpha` below 0.5."""
    raw_pass = [_p_pass(question) for question in questions]
    raw_regression = [_p_regression(question) for question in questions]
    answers = []
    for question, p_pass, lower_level, p_regression, upper_level in zip(
        questions,
        holm(raw_pass),
        _levels(raw_pass, alpha),
        holm(raw_regression),
        _levels(raw_regression, alpha),
        strict=True,
    ):
        lower = upper = None
        if not question.free and len(question.means) > 1:
            lower = t_mean(question.means, confidence=1 - 2 * lower_level).lower
            upper = t_mean(question.means, confidence=1 - 2 * upper_level).upper
        verdict: Verdict = "regression" if p_regression <= alpha else "pass" if p_pass <= alpha else "undecided"
        answers.append(Answer(verdict, lower, upper, lower_level, upper_level, p_pass, p_regression))
    return answers


def parse_rule(text: str) -> Rule:
    """`spk_sim:margin=0.02` or `spk_sim`."""
    scale, colon, rest = text.partition(":")
    key, equals, number = rest.partition("=")
    if not scale or (colon and (key != "margin" or not equals)):
        raise UsageError(f"rule {text!r}; expected SCALE or SCALE:margin=X, as in spk_sim:margin=0.02.")
    return Rule(scale, _number(f"rule {text!r}", scale, number) if colon else None)


def parse_margins(texts: Sequence[str]) -> dict[str, float]:
    """Each `spk_sim=0.02`."""
    margins: dict[str, float] = {}
    for text in texts:
        scale, equals, number = text.partition("=")
        if not scale or not equals:
            raise UsageError(f"margin {text!r}; expected SCALE=X, as in spk_sim=0.02.")
        if scale in margins:
            raise UsageError(f"two margins of {scale}; expected one. Leave one out.")
        margins[scale] = _number(f"margin {text!r}", scale, number)
    return margins


# The tests -------------------------------------------------------------------------------------------------------


def _p_pass(question: Question) -> float:
    """One-sided p of d ≤ -margin."""
    if question.free or not _decides(question.means):
        return 1.0
    above = _above_margin(question)
    if _is_constant(above):
        return 0.0 if above[0] >= 0 else 1.0
    return t_tail(above, 0.0)


def _p_regression(question: Question) -> float:
    """One-sided p of d ≥ -margin; of free means, the least that they can bring about."""
    above = _above_margin(question)
    if question.free:
        return _least_p(above, question.free)
    if not _decides(question.means):
        return 1.0
    if _is_constant(above):
        return 0.0 if above[0] < 0 else 1.0
    return t_tail(-above, 0.0)


def _above_margin(question: Question) -> Reals:
    """By how much each mean (G,) is above -margin: 0 where all but rounding is the margin, and alike where they are alike."""
    above = question.means + question.margin
    if not len(above):
        return above
    least = ROUNDING * max(question.margin, float(np.abs(question.means).max()))
    above = np.where(np.abs(above) <= least, 0.0, above)
    return np.full(len(above), above[0]) if float(np.ptp(above)) <= least else above


def _least_p(known: Reals, free: int) -> float:
    """The least one-sided p of `mean ≥ 0` that `free` further means x can give beside the known (H,) ones.

    Of all G = H + free means y, t = √(G-1) · c / √(1 - c²) rises with c = Σy / (√G · |y|), so c is to be least. With
    A = Σ known and B = Σ known²: for a given sum of the free means |y| is least where they are equal, x = S / free. Then
    c² G = (A + S)² / (B + S²/free) has its extreme for A < 0 at S = free · B / A, where it is free + A²/B; for A ≥ 0 it
    rises to free as S falls without end. So p is that of t = -√((G-1) · e / (G - e)), e = free + A²/B or free.
    """
    total = len(known) + free
    if total < 2:
        return 1.0
    largest = float(np.abs(known).max(initial=0.0))  # squares in its unit do not run out of range
    scaled = known / largest if largest else known
    summed, squares = math.fsum(scaled), math.fsum(scaled**2)
    reach = free + (summed**2 / squares if summed < 0 else 0.0)
    if reach >= total or (_is_constant(known) and summed < 0) or not len(known):
        return 0.0  # all means may be one and the same number below 0
    from scipy.special import stdtr

    return float(stdtr(total - 1, -math.sqrt((total - 1) * reach / (total - reach))))


def _decides(means: Reals) -> bool:
    """Whether there is anything to test: two speakers, or one of whom nothing changed."""
    return len(means) > 1 or (len(means) == 1 and means[0] == 0)


def _is_constant(means: Reals) -> bool:
    return bool(len(means)) and bool((means == means[0]).all())


def _levels(ps: Sequence[float], alpha: float) -> list[float]:
    """The level that Holm's procedure tests each p at; after the first that is not rejected the level stays."""
    order = sorted(range(len(ps)), key=lambda number: ps[number])
    rejected = sum(p <= alpha for p in holm(ps))
    levels = [alpha] * len(ps)
    for rank, number in enumerate(order):
        levels[number] = alpha / (len(ps) - min(rank, rejected))
    return levels


# From scores to numbers -------------------------------------------------------------------------------------------


class _Measured(NamedTuple):
    """A question, and what is said beside its answer."""

    question: Question
    difference: float | None
    pairs: int
    speakers: int
    gaps: int
    left_out: int
    reason: str  # of the first gap


def _question(results: Results, recorded: Recorded, margin: float, method: str) -> _Measured:
    """`results` has the baseline and the candidate."""
    scale = recorded.scale
    found = paired(results, scale, BASELINE, method)
    sign = -1.0 if scale.direction == "lower" else 1.0
    means = sign * np.asarray(found.means, dtype=np.float64)
    hidden = np.unique(results.speaker_of[np.asarray(found.baseline_only, dtype=np.int64)])
    known = means[~np.isin(found.heard, hidden)]
    scores = results.scores[method, scale.name]
    reasons = dict(zip(scores.failed.tolist(), scores.reasons, strict=True))
    return _Measured(
        question=Question(known, len(hidden), margin),
        difference=math.fsum(means) / len(means) + 0.0 if len(means) else None,
        pairs=len(found.pairs),
        speakers=len(means),
        gaps=len(found.baseline_only),
        left_out=len(results.scores[BASELINE, scale.name].failed),
        reason=clean(reasons[int(found.baseline_only[0])]) if len(found.baseline_only) else "",
    )


def _joined(candidate: Results, baseline: Baseline, recorded: Recorded, method: str) -> Results:
    """The candidate's results on one scale with the baseline as another method beside it."""
    name = recorded.scale.name
    outcomes = [(place, recorded.outcomes[item.pair]) for place, item in enumerate(baseline.pairs)]
    measured = [(place, one.value, one.weight) for place, one in outcomes if one.value is not None]
    failed = [(place, one.failure) for place, one in outcomes if one.failure is not None]
    scores = Scores(
        measured=np.array([place for place, _, _ in measured], dtype=np.int32),
        values=np.array([value for _, value, _ in measured], dtype=np.float64),
        weights=np.array([weight for _, _, weight in measured], dtype=np.float64),
        failed=np.array([place for place, _ in failed], dtype=np.int32),
        reasons=tuple(reason for _, reason in failed),
    )
    return dataclasses.replace(
        candidate,
        methods=(Entry(BASELINE, BASELINE, "model", untrained=False, limited=0), *candidate.methods),
        scales=(recorded.scale,),
        scores={(BASELINE, name): scores, (method, name): candidate.scores[method, name]},
    )


def _calibrated(results: Results, scale: Scale, methods: Sequence[str], level: float) -> Margin | None:
    """From the differences between every two runs; None where fewer than two speakers tell.

    They are not centred: what a seed does to all speakers at once is noise, too. Their mean square is that of a speaker's
    mean difference between two runs, on len(speakers) · (len(methods) - 1) degrees of freedom.
    """
    between = [paired(results, scale, one, other).means for one, other in combinations(methods, 2)]
    speakers = min(map(len, between))
    if speakers < 2:
        return None
    every = np.concatenate(between)
    spread = math.sqrt(math.fsum(every**2) / len(every))
    needed = smallest_effect([1] * speakers, alpha=2 * level, wanted=CHANCE) * spread
    return Margin(
        value=max(_rounded_up(needed), scale.tolerance),
        spread=spread,
        speakers=speakers,
        runs=tuple(methods),
        level=level,
        chance=CHANCE,
    )


def _rounded_up(value: float) -> float:
    """To three significant digits, as a person would write it."""
    if value <= 0:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(value)) - 2)
    return float(f"{math.ceil(value / step) * step:.3g}")


def _outcomes(pairs: Sequence[str], scores: Scores) -> dict[str, Outcome]:
    values = zip(scores.measured.tolist(), scores.values.tolist(), scores.weights.tolist(), strict=True)
    found = {place: Outcome(value=value, weight=weight) for place, value, weight in values}
    found.update(
        (place, Outcome(failure=reason)) for place, reason in zip(scores.failed.tolist(), scores.reasons, strict=True)
    )
    return {pairs[place]: found[place] for place in sorted(found)}


# What may be held against the baseline -----------------------------------------------------------------------------


class _Form(msgspec.Struct):
    """What every form of the file has."""

    form: int


class _Row(msgspec.Struct, gc=False):
    """What a row says of the media that its clip was held against."""

    split: str
    pair: str
    target_sha256: str
    reference_sha256: str
    profile: str
    scale: str
    revision: str
    value: float | None = None


def _rules(baseline: Baseline, rules: Sequence[Rule]) -> list[tuple[Recorded, float]]:
    """Scale and margin of each rule, in the order of the scales."""
    known = {one.scale.name: one for one in baseline.scales}
    if not rules:
        found = [(one, one.margin.value) for one in baseline.scales if one.margin is not None]
        if not found:
            able = [one.scale.name for one in baseline.scales if one.scale.direction != "none"]
            raise UsageError(
                "the baseline has no margin, and no rule is given; expected a loss that may pass. Give "
                f"--rule {next(iter(able), 'SCALE')}:margin=X, or record with --margin or --repeats."
            )
        return found
    asked: dict[str, float] = {}
    for rule in rules:
        _directed(rule.scale, [one.scale for one in baseline.scales])
        stored = known[rule.scale].margin
        if rule.scale in asked:
            raise UsageError(f"two rules of {rule.scale}; expected one. Leave one out.")
        if rule.margin is None and stored is None:
            raise UsageError(
                f"rule {rule.scale}: no margin, and the baseline has none. Give --rule {rule.scale}:margin=X, or record "
                f"with --margin {rule.scale}=X or --repeats."
            )
        asked[rule.scale] = stored.value if rule.margin is None and stored is not None else float(rule.margin or 0.0)
        _check_margin(rule.scale, asked[rule.scale])
    return [(one, asked[one.scale.name]) for one in baseline.scales if one.scale.name in asked]


def _candidate(runs: Path, baseline: Baseline, method: str, split: str, metrics: list[str]) -> Results:
    """The candidate's results on the scales of the rules, once they are found to be comparable with the baseline."""
    name = Path(split).name
    folder = run_folder(runs, method, name)
    scored = read_scales(folder) if folder.is_dir() else {}
    profiles = sorted({scale.profile for scale in scored.values()})
    if profiles and baseline.profile not in profiles:
        raise _changed("profile", baseline.profile, ", ".join(profiles), f"score it with --profile {baseline.profile}")
    unscored = [metric for metric in metrics if f"{baseline.profile}/{metric}" not in scored]
    if scored and unscored:
        raise Incomplete(
            f"{folder}: no scores of {', '.join(unscored)}. "
            f"{_score(runs, name, method, baseline.profile, unscored)} makes them."
        )
    results = load(runs, split, profile=baseline.profile, methods=[method], metrics=metrics)
    (entry,) = results.methods
    _check_entry(entry)
    if results.split != baseline.split:
        raise _changed("split digest", baseline.split, results.split, "record the baseline anew")
    recorded = {one.scale.name: one.scale for one in baseline.scales}
    for scale in results.scales:
        for field in SIGNED:
            ours, theirs = getattr(recorded[scale.name], field), getattr(scale, field)
            if ours != theirs:
                raise _changed(f"{field} of {scale.name}", ours, theirs, "score both with one avbench and record anew")
    results = _in_order(results, baseline)
    for scale in results.scales:
        _check_rows(runs, results, method, scale)
    media = _media(folder, results.split, results.scales)
    for item in baseline.pairs:
        if not item.target_sha256 or item.pair not in media:
            continue
        for field, ours, theirs in zip(
            ("target_sha256", "reference_sha256"),
            (item.target_sha256, item.reference_sha256),
            media[item.pair],
            strict=True,
        ):
            if ours != theirs:
                raise _changed(f"{field} of pair {item.pair}", ours, theirs, "use the media of the baseline")
    return results


def _in_order(results: Results, baseline: Baseline) -> Results:
    """`results` with the pairs of the baseline: where the split is not known here, it has but those with a row."""
    pairs = tuple(item.pair for item in baseline.pairs)
    if results.pairs == pairs:
        return results
    places = {pair: place for place, pair in enumerate(pairs)}
    stranger = set(results.pairs) - set(pairs)
    if stranger:
        raise _changed("split", f"without {min(stranger)}", f"with {min(stranger)}", "record the baseline anew")
    moved = np.array([places[pair] for pair in results.pairs], dtype=np.int32)
    names = list(dict.fromkeys(item.speaker for item in baseline.pairs))
    return dataclasses.replace(
        results,
        pairs=pairs,
        speakers=tuple(names),
        speaker_of=np.array([names.index(item.speaker) for item in baseline.pairs], dtype=np.int32),
        scores={key: _moved(scores, moved) for key, scores in results.scores.items()},
    )


def _moved(scores: Scores, places: NDArray[np.int32]) -> Scores:
    measured, failed = places[scores.measured], places[scores.failed]
    by_place, by_failed = np.argsort(measured), np.argsort(failed)
    return Scores(
        measured=measured[by_place],
        values=scores.values[by_place],
        weights=scores.weights[by_place],
        failed=failed[by_failed],
        reasons=tuple(scores.reasons[number] for number in by_failed),
    )


def _media(folder: Path, split: str, scales: Sequence[Scale]) -> dict[str, tuple[str, str]]:
    """What the measured clips of a run were held against, by pair. Incomparable where its own scales differ in it."""
    current = {(split, scale.profile, scale.name, scale.revision) for scale in scales}
    last = {
        (row.scale, row.pair): row
        for _, _, row in scan_scores(folder, _Row)
        if (row.split, row.profile, row.scale, row.revision) in current
    }
    found: dict[str, tuple[str, str]] = {}
    for row in last.values():
        media = (row.target_sha256, row.reference_sha256)
        if row.value is not None and found.setdefault(row.pair, media) != media:
            raise Incomparable(
                f"{folder}: pair {row.pair} was held against other media on {row.scale} than on a scale before it. "
                f"{_score(folder.parent.parent, _name(split), folder.parent.name, row.profile)} scores it anew."
            )
    return found


def _changed(field: str, ours: str, theirs: str, what: str) -> Incomparable:
    return Incomparable(
        f"{field} differs: {ours!r} (the baseline), {theirs!r} (the candidate). What changed in between cannot be told from "
        f"a change of the method. To go on, {what}."
    )


def _score(runs: Path, split: str, method: str, profile: str, metrics: Sequence[str] = ()) -> str:
    """The command that scores a run, in backquotes."""
    words = ["avbench", "score", str(runs), "--split", split, "--method", method, "--profile", profile]
    return f"`{shlex.join([*words, *(word for name in metrics for word in ('--metric', name))])}`"


# What may be asked -----------------------------------------------------------------------------------------------


def _check_entry(entry: Entry) -> None:
    if entry.untrained:
        raise UsageError(
            f"method {entry.method}: its model is untrained, and random numbers get neither better nor worse; "
            "expected clips of a trained one."
        )
    if entry.limited:
        raise UsageError(
            f"method {entry.method}: limited to its first {entry.limited} pair{'s' * (entry.limited != 1)}; expected all of them. Run it without --limit."
        )


def _check_rows(runs: Path, results: Results, method: str, scale: Scale) -> None:
    scores = results.scores[method, scale.name]
    if scores.rows < len(results.pairs):
        there = {*scores.measured.tolist(), *scores.failed.tolist()}
        first = next(pair for place, pair in enumerate(results.pairs) if place not in there)
        raise Incomplete(
            f"{method}: {len(results.pairs) - scores.rows} of {len(results.pairs)} pairs have no score of {scale.name}, the "
            f"first is {first}. {_score(runs, _name(results.split), method, scale.profile, [scale.name])} makes them."
        )


def _directed(name: str, scales: Iterable[Scale]) -> None:
    known = {scale.name: scale for scale in scales}
    if name not in known:
        raise unknown("scale of the baseline", name, known)
    if known[name].direction == "none":
        raise UsageError(
            f"{name}: neither higher nor lower is better on this scale, so it cannot get worse. Leave it out of the rules."
        )


def _check_margin(name: str, margin: float) -> None:
    if not 0 <= margin < math.inf:
        raise UsageError(f"a margin of {margin} on {name}; expected a number from 0 up, in the scale's unit.")


def _check_alpha(alpha: float) -> None:
    if not 0 < alpha < 0.5:
        raise UsageError(f"alpha {alpha}; expected a chance above 0 and below 0.5, such as 0.05.")


def _number(what: str, scale: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError as error:
        raise UsageError(f"{what}: {text!r} is no number; expected the margin in the unit of {scale}.") from error
    _check_margin(scale, value)
    return value


def _but_for_seed(method: str) -> tuple[str, dict[str, str]]:
    name, options = parse_method(method)
    return name, {key: value for key, value in options.items() if key != "seed"}


def _another_seed(method: str) -> str:
    name, options = _but_for_seed(method)
    return format_method(name, {**options, "seed": "1"})


# Words -----------------------------------------------------------------------------------------------------------


def _ruling(scale: Scale, found: _Measured, answer: Answer, strictest: float) -> Ruling:
    """`strictest` is the level of Holm's first step."""
    question = found.question
    resolution = None
    if answer.lower is not None and not _is_constant(question.means):
        resolution = smallest_difference(question.means, alpha=2 * strictest, wanted=FOUND)
    decimals = f"{question.margin:.6f}".rstrip("0").partition(".")[2]
    ruling = Ruling(
        scale=clean(scale.name),
        label=clean(scale.label),
        unit=clean(scale.unit),
        direction=scale.direction,
        digits=max(scale.digits, len(decimals)),
        margin=question.margin,
        difference=found.difference,
        answer=answer,
        pairs=found.pairs,
        speakers=found.speakers,
        gaps=found.gaps,
        left_out=found.left_out,
        resolution=resolution,
        sentence="",
    )
    left_out = f" {_count(found.left_out, 'pair')} that the baseline failed on {_are(found.left_out)} left out."
    return ruling._replace(sentence=_sentence(ruling, found) + (left_out if found.left_out else ""))


def _sentence(ruling: Ruling, found: _Measured) -> str:
    """What was found, in words that stand alone."""
    name, answer, digits = ruling.scale, ruling.answer, ruling.digits
    size = f"({_count(ruling.pairs, 'pair')}, {_count(ruling.speakers, 'speaker')})"
    margin = f"the margin of {ruling.margin:.{digits}f}"
    if ruling.gaps:
        lost = (
            f"{name}: {_count(ruling.gaps, 'clip')} of {_count(found.question.free, 'speaker')} could be measured for the "
            f"baseline and cannot be now ({found.reason})"
        )
        if ruling.verdict == "regression":
            there = (
                ""
                if ruling.difference is None
                else f" (of those measured for both {_signed(ruling.difference, digits)})"
            )
            return (
                f"{lost}; what such clips may be worth would be a loss beyond {margin}{there}, so this is a regression."
            )
        return f"{lost}; that never passes."
    if not ruling.pairs:
        return f"{name}: no pair is measured for both, so nothing can be said."
    if bool(len(found.question.means)) and not found.question.means.any():
        return f"{name} did not change: no speaker's mean moved {size}."
    difference = f"the difference is {_signed(ruling.difference or 0.0, digits)}"
    if answer.lower is None or answer.upper is None:
        return f"{name} is undecided: {difference} {size}, and one speaker says nothing of the next."
    lower, upper = _signed(answer.lower, digits), _signed(answer.upper, digits)
    if ruling.verdict == "pass":
        return (
            f"{name} passes: {difference} and at least {lower} ({_sure(answer.lower_level)}), within {margin} {size}."
        )
    if ruling.verdict == "regression":
        return (
            f"{name} got worse: {difference} and at most {upper} ({_sure(answer.upper_level)}), beyond {margin} {size}."
        )
    could = ""
    if ruling.resolution is not None:
        could = (
            f" With this spread, a rerun without a change passes four times in five at a margin of "
            f"{ruling.resolution:.{digits}f}, and a loss of {ruling.margin + ruling.resolution:.{digits}f} is found as often."
        )
    return (
        f"{name} is undecided: {difference}, between {lower} and {upper} {size}; a loss beyond {margin} is neither shown nor "
        f"ruled out.{could}"
    )


def _title(baseline: Baseline, method: str, alpha: float, rules: int) -> str:
    until = "" if baseline.expires is None else f", good until {baseline.expires}"
    return clean(
        f"{method} against the baseline of {baseline.method} ({baseline.recorded}{until}) on {baseline.split}, profile "
        f"{baseline.profile}. Differences are means of speakers, and above 0 is better; alpha {alpha:g}, by Holm over "
        f"{_count(rules, 'rule')}. The last column is the loss that would be found four times in five."
    )


def _sure(level: float) -> str:
    return f"confidence {100 * (1 - level):.4g} %"


def _signed(value: float, digits: int) -> str:
    text = f"{value:+.{digits}f}"
    return text.lstrip("+-") if not text.strip("+-0.") else text  # never -0.000


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"


def _are(number: int) -> str:
    return "is" if number == 1 else "are"


def _name(label: str) -> str:
    """The name of name@digest."""
    return label.rpartition("@")[0]
