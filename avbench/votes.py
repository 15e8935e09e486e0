"""What did people say? Votes and ratings of a human study, counted, and how sure the counts are.

    votes file     rater, pair, speaker, question, ours, other, vote       one vote a row: ours, other or tie
    ratings file   rater, pair, method, rating [, speaker] [, scenario]    one rating a row: 1 (Bad) to 5 (Excellent)

Conventions
- Files are CSV with these headings or JSON lines with these keys, by their ending; other columns are passed over.
  `ours` and `other` are methods. A split can tell the speakers of a votes file that has no such column.
- A vote's score is +1 for ours, 0 for a tie, -1 for the other. A win rate leaves ties out.
- Votes on one pair, of one rater and on one speaker resemble each other. What treats votes or ratings as independent
  says so by its name or docstring; beside it stands the same question asked of means: of pairs, raters and speakers,
  each kind taken as the unit in turn. None of these knows of the others, and where raters and speakers both differ each
  of them is wrong too often. So claims go by `crossed`, which knows of speakers (or pairs, where nobody says the
  speaker) and raters at once. Of ratings it takes those of one rater of both methods on one pair, and their difference.
- Where all clusters are alike, t has no error to judge by. Then there is no interval, and p is that of the sign-flip
  test of their means; of `crossed`, the largest over pairs, raters and speakers. So four votes that agree prove little.
- Published totals have no clusters. `sensitivity` says how alike the votes on one pair may be before a p is lost.
- Holm's adjustment is over all rows of one answer: every other method and question, or every scenario.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar, get_args

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import UsageError, unknown
from .stats import (
    Estimate,
    SignFlip,
    binomial,
    clopper_pearson,
    cluster_bootstrap,
    cohens_d,
    holm,
    mann_whitney,
    mean_interval,
    sign_flip,
    t_mean,
    welch,
    wilcoxon,
    wilson,
)

__all__ = [
    "CORRELATIONS",
    "RATINGS",
    "UNITS",
    "Clustered",
    "Contrast",
    "Correlated",
    "Counts",
    "Crossed",
    "Interval",
    "Opinion",
    "Opinions",
    "Preference",
    "Rating",
    "Sensitivity",
    "TTest",
    "Tested",
    "Vote",
    "fitting_counts",
    "fitting_shares",
    "load_ratings",
    "load_votes",
    "opinions",
    "oriented",
    "sensitivity",
    "t_of_d",
    "tally",
]

CORRELATIONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)  # of the scores of two votes on one pair
RATINGS = (1, 2, 3, 4, 5)
UNITS = ("pair", "rater", "speaker")  # what votes are clustered by
SCORES = {"ours": 1, "tie": 0, "other": -1}
VOTE_COLUMNS = ("rater", "pair", "speaker", "question", "ours", "other", "vote")
RATING_COLUMNS = ("rater", "pair", "method", "rating")
LEVEL = 0.05  # that `tipping` passes
ROUNDING = 1e-12  # of scores and ratings: means that differ by less are the same
MOST_VOTES = 10_000  # of a printed total: at more of them, one digit fits hundreds of counts

Answer = Literal["ours", "other", "tie"]
Reals = NDArray[np.float64]
Key = TypeVar("Key")


class Interval(NamedTuple):
    """95 %, unless another confidence was asked for."""

    lower: float
    upper: float


class Vote(NamedTuple):
    """One rater's answer to one question on one pair of clips."""

    rater: str
    pair: str
    speaker: str
    question: str
    ours: str  # method
    other: str  # method
    vote: Answer


class Rating(NamedTuple):
    """One rater's opinion of one clip: of `method` on `pair`."""

    rater: str
    pair: str
    method: str
    rating: int  # 1 to 5
    speaker: str = ""  # empty where the file does not say
    scenario: str = ""


class Counts(NamedTuple):
    """Votes for ours, for the other, and for neither."""

    wins: int
    losses: int
    ties: int

    @property
    def votes(self) -> int:
        return self.wins + self.losses + self.ties

    @property
    def decided(self) -> int:
        return self.wins + self.losses

    @property
    def win_rate(self) -> float | None:
        """Share of wins, 0 to 1, ties left out; None where every vote is a tie."""
        return self.wins / self.decided if self.decided else None


class Tested(NamedTuple):
    """A mean, 95 % unless another confidence was asked for, and the two-sided p of its being 0."""

    value: float
    lower: float | None  # None where all clusters are alike
    upper: float | None
    p: float
    degrees: int  # of freedom, of t
    test: Literal["t", "sign-flip"]  # that p is of: sign-flip where all clusters are alike


class Clustered(NamedTuple):
    """The votes as means of clusters: pairs, raters or speakers, two or more of them, each weighing alike."""

    unit: str  # one of UNITS
    clusters: int
    score: Tested  # Student's t on cluster mean scores, -1 to 1
    adjusted: float  # Holm's, of its p
    flip: SignFlip  # of the same means
    flip_adjusted: float  # Holm's, of its p
    win_rate: Interval | None  # cluster bootstrap; None where fewer than two clusters have a decided vote, or all alike


class Crossed(NamedTuple):
    """All votes, with what those on one speaker (or pair) share and what those of one rater share: two-way clusters.

    Source: Cameron, Gelbach and Miller, "Robust inference with multiway clustering", Journal of Business & Economic
    Statistics 29 (2011). The variance is never below that of either kind of cluster alone.
    """

    units: tuple[str, str]  # speaker or pair, and rater
    score: Tested  # Student's t of the mean score, -1 to 1; degrees of freedom of the fewer clusters
    adjusted: float  # Holm's, of its p
    win_rate: Interval | None  # likewise of decided votes, within 0 to 1; None: fewer than two clusters, or all alike


class Preference(NamedTuple):
    """One question asked of ours and one other method."""

    ours: str
    other: str
    question: str
    counts: Counts
    pairs: int
    raters: int
    speakers: int
    p: float  # exact two-sided binomial of wins, ties left out: treats votes as independent
    adjusted: float  # Holm's
    wilson: Interval | None  # of the win rate: treats votes as independent
    clopper_pearson: Interval | None  # likewise, never too narrow
    clustered: tuple[Clustered, ...]  # in the order of UNITS

    crossed: Crossed | None  # None where there is one rater, or one pair

    @property
    def interval(self) -> Interval | None:
        """Of the win rate: the crossed one, else what spans the cluster bootstrap intervals; None where all are alike."""
        if self.crossed is not None:
            return self.crossed.win_rate
        found = [one.win_rate for one in self.clustered if one.win_rate is not None]
        return Interval(min(one.lower for one in found), max(one.upper for one in found)) if found else None

    @property
    def clustered_p(self) -> float | None:
        """Holm's: the crossed one, else the largest of those by unit."""
        if self.crossed is not None:
            return self.crossed.adjusted
        return max((one.adjusted for one in self.clustered), default=None)


class Opinion(NamedTuple):
    """The ratings of one method, in one scenario or in all."""

    method: str
    scenario: str  # empty: all
    ratings: int
    pairs: int
    speakers: int  # 0 where the file does not say
    histogram: tuple[int, ...]  # how many 1, 2, … 5
    mean: float  # of ratings
    bad: int  # ratings up to the limit of Bad
    by_rating: Interval | None  # t of the mean: treats ratings as independent; None, as the others, where all are alike
    by_pair: Interval | None  # t on pair means
    by_speaker: Interval | None  # t on speaker means (of pair means)


class Contrast(NamedTuple):
    """Ours against one other method, in one scenario or in all; above 0 = ours is rated higher. None: not to be computed.

    Claims go by `crossed`.
    """

    ours: str
    other: str
    scenario: str  # empty: all
    difference: float  # of the means of ratings
    d: float | None  # Cohen's, of ratings; None without spread
    welch: float | None  # p: treats ratings as independent; None without spread
    mann_whitney: float  # p: treats ratings as independent
    pairs: int  # rated for both; the following are of these
    by_pair: Tested | None  # t on differences of pair means: treats pairs as independent, whoever rates them
    by_pair_adjusted: float | None  # Holm's, of its p
    wilcoxon: float | None  # p, of the same differences
    speakers: int
    by_speaker: Tested | None  # t on speaker means of these differences: treats speakers as independent, likewise
    by_speaker_adjusted: float | None  # Holm's, of its p
    flip: SignFlip | None  # of the same speaker means
    paired: int  # ratings of both methods by one rater on one pair; the following are of their differences
    units: tuple[str, str]  # speaker or pair, and rater
    crossed: Tested | None  # t of the mean with both kinds in clusters; None where there are not two of each
    crossed_adjusted: float | None  # Holm's, of its p


class Opinions(NamedTuple):
    """All that a file of ratings says. Rows of all scenarios come first, then those of each."""

    ours: str
    methods: tuple[str, ...]  # ours first
    scenarios: tuple[str, ...]  # in order of appearance; empty where the file names none
    limit: int  # ratings up to this count as Bad
    opinions: tuple[Opinion, ...]
    contrasts: tuple[Contrast, ...]


class Correlated(NamedTuple):
    """What is left of a p where votes on one pair resemble each other so much."""

    correlation: float
    design_effect: float
    effective: float  # independent votes that would say as much
    p: float


class Sensitivity(NamedTuple):
    """Totals without their votes, under several correlations."""

    votes_per_pair: float
    rows: tuple[Correlated, ...]
    tipping: float | None  # the correlation from which p is above 0.05; 0 if it always is, None if it never is


class TTest(NamedTuple):
    """Student's t of two independent samples."""

    t: float
    degrees: int
    p: float  # two-sided


# Votes -----------------------------------------------------------------------------------------------------------


def load_votes(path: Path, speakers: Mapping[str, str] | None = None) -> list[Vote]:
    """The votes of a file, in its order; `speakers` tells the speaker of each pair where no column does.

    UsageError, with the line: a column or field that is not there, a vote that is none of ours, other and tie, a
    second vote of a rater on the same question, a pair with two speakers, a method compared with itself.
    """
    wanted = tuple(name for name in VOTE_COLUMNS if name != "speaker" or speakers is None)
    seen: dict[tuple[str, ...], int] = {}
    speaker_of = _Constant("pair", "speaker", dict(speakers or {}))
    votes = []
    for line, row in _rows(path, wanted, ("speaker",)):
        place = f"{path}, line {line}"
        if row["vote"] not in SCORES:
            raise UsageError(f"{place}: vote {row['vote']!r}; expected one of {', '.join(SCORES)}.")
        if row["ours"] == row["other"]:
            raise UsageError(f"{place}: {row['ours']!r} against itself; expected two methods in ours and other.")
        if speakers is not None and row["pair"] not in speakers:
            raise UsageError(
                f"{place}: pair {row['pair']!r}, which the split does not have. Is it another split's file?"
            )
        speaker = speaker_of.agreed(row["pair"], row.get("speaker"), path, line)
        key = (row["rater"], row["pair"], row["question"], *sorted((row["ours"], row["other"])))
        _once(
            seen, key, f"rater {row['rater']!r} votes on pair {row['pair']!r}, question {row['question']!r}", path, line
        )
        votes.append(
            Vote(row["rater"], row["pair"], speaker, row["question"], row["ours"], row["other"], _answer(row["vote"]))
        )
    return votes


def oriented(votes: Sequence[Vote], ours: str | None = None) -> list[Vote]:
    """Votes on comparisons that `ours` is part of, turned so that it is `ours` in all. None: the file's own, if it has one.

    UsageError: no votes, several methods in the column and none asked for, or an unknown one.
    """
    if not votes:
        raise UsageError("no votes; expected one at least.")
    named = list(dict.fromkeys(vote.ours for vote in votes))
    if ours is None:
        if len(named) > 1:
            raise UsageError(
                f"the column ours names {', '.join(named)}; expected one method. Say which: --ours {named[0]}"
            )
        ours = named[0]
    methods = dict.fromkeys(method for vote in votes for method in (vote.ours, vote.other))
    if ours not in methods:
        raise unknown("method", ours, methods)
    turned: dict[Answer, Answer] = {"ours": "other", "other": "ours", "tie": "tie"}
    return [
        vote if vote.ours == ours else vote._replace(ours=ours, other=vote.ours, vote=turned[vote.vote])
        for vote in votes
        if ours in (vote.ours, vote.other)
    ]


def tally(
    votes: Sequence[Vote], ours: str | None = None, *, confidence: float = 0.95, seed: int = 0
) -> tuple[Preference, ...]:
    """Counts and tests of each other method and question, in order of appearance. UsageError as of `oriented`."""
    groups: dict[tuple[str, str], list[Vote]] = {}
    for vote in oriented(votes, ours):
        groups.setdefault((vote.other, vote.question), []).append(vote)
    others = list(dict.fromkeys(other for other, _ in groups))
    rows = [_preference(groups[key], confidence, seed) for key in sorted(groups, key=lambda key: others.index(key[0]))]
    alone = iter(holm([row.p for row in rows]))
    tests = {unit: [one for row in rows for one in row.clustered if one.unit == unit] for unit in UNITS}
    scores = {unit: iter(holm([one.score.p for one in of])) for unit, of in tests.items()}
    flips = {unit: iter(holm([one.flip.p for one in of])) for unit, of in tests.items()}
    both = iter(holm([row.crossed.score.p for row in rows if row.crossed is not None]))
    return tuple(
        row._replace(
            adjusted=next(alone),
            crossed=None if row.crossed is None else row.crossed._replace(adjusted=next(both)),
            clustered=tuple(
                one._replace(adjusted=next(scores[one.unit]), flip_adjusted=next(flips[one.unit]))
                for one in row.clustered
            ),
        )
        for row in rows
    )


# Ratings ---------------------------------------------------------------------------------------------------------


def load_ratings(path: Path) -> list[Rating]:
    """The ratings of a file, in its order.

    UsageError, with the line: a column or field that is not there, a rating that is not a whole number from 1 to 5,
    a second rating of the same clip by a rater, a pair with two speakers or scenarios.
    """
    seen: dict[tuple[str, ...], int] = {}
    constants = {name: _Constant("pair", name, {}) for name in ("speaker", "scenario")}
    ratings = []
    for line, row in _rows(path, RATING_COLUMNS, tuple(constants)):
        if row["rating"] not in map(str, RATINGS):
            raise UsageError(f"{path}, line {line}: rating {row['rating']!r}; expected a whole number from 1 to 5.")
        given = {name: one.agreed(row["pair"], row.get(name), path, line) for name, one in constants.items()}
        key = (row["rater"], row["pair"], row["method"])
        _once(seen, key, f"rater {row['rater']!r} rates pair {row['pair']!r} of {row['method']!r}", path, line)
        ratings.append(Rating(row["rater"], row["pair"], row["method"], int(row["rating"]), **given))
    return ratings


def opinions(
    ratings: Sequence[Rating],
    ours: str | None = None,
    *,
    limit: int = 1,
    confidence: float = 0.95,
    seed: int = 0,
) -> Opinions:
    """Means and contrasts over all scenarios and in each. `ours` is the first method of the file unless it is named.

    Ratings up to `limit` count as Bad. UsageError: no ratings, an unknown method, or a limit that is no rating.
    """
    if not ratings:
        raise UsageError("no ratings; expected one at least.")
    if limit not in RATINGS:
        raise UsageError(f"ratings up to {limit} as Bad; expected a whole number from 1 to 5.")
    methods = list(dict.fromkeys(one.method for one in ratings))
    if ours is None:
        ours = methods[0]
    if ours not in methods:
        raise unknown("method", ours, methods)
    methods = [ours, *(method for method in methods if method != ours)]
    scenarios = [name for name in dict.fromkeys(one.scenario for one in ratings) if name]
    rows: list[Opinion] = []
    contrasts: list[Contrast] = []
    for family in ([""], scenarios):
        found: list[Contrast] = []
        for scenario in family:
            here = [one for one in ratings if scenario in ("", one.scenario)]
            by_method = {method: [one for one in here if one.method == method] for method in methods}
            rows += [
                _opinion(method, scenario, given, limit, confidence) for method, given in by_method.items() if given
            ]
            found += [
                _contrast(scenario, by_method[ours], by_method[other], confidence, seed)
                for other in methods[1:]
                if by_method[ours] and by_method[other]
            ]
        contrasts += _adjusted(found)
    return Opinions(ours, tuple(methods), tuple(scenarios), limit, tuple(rows), tuple(contrasts))


# Published totals ------------------------------------------------------------------------------------------------


def fitting_counts(
    ours_pct: float,
    other_pct: float,
    win_rate_pct: float | None = None,
    *,
    low: int = 270,
    high: int = 315,
    digits: int = 1,
) -> list[Counts]:
    """Every count of `low` to `high` votes that prints as these percentages at that many digits, fewest votes first.

    A number halfway between two printed ones fits both: nobody says how it was rounded. Exact, without floats.
    UsageError: a percentage with more digits or outside 0 to 100, or no range of votes.
    """
    if not 1 <= low <= high <= MOST_VOTES:
        raise UsageError(
            f"{low} to {high} votes; expected a range within 1 to {MOST_VOTES:,} that does not run backwards. So few "
            "digits tell nothing of more votes."
        )
    ours, other = _printed(ours_pct, digits), _printed(other_pct, digits)
    rate = None if win_rate_pct is None else _printed(win_rate_pct, digits)
    half = Fraction(1, 2 * 10**digits)
    return [
        Counts(wins, losses, votes - wins - losses)
        for votes in range(low, high + 1)
        for wins in _fitting(ours, half, votes)
        for losses in _fitting(other, half, votes)
        if wins + losses <= votes
        if rate is None or (wins + losses and abs(Fraction(100 * wins, wins + losses) - rate) <= half)
    ]


def fitting_shares(pct: float, trials: int, digits: int = 1) -> list[int]:
    """Every count out of `trials` that prints as this percentage. UsageError as of `fitting_counts`."""
    if trials < 1:
        raise UsageError(f"a share of {trials}; expected one at least.")
    return list(_fitting(_printed(pct, digits), Fraction(1, 2 * 10**digits), trials))


def sensitivity(
    wins: int,
    losses: int,
    ties: int,
    votes_per_pair: float,
    correlations: Sequence[float] = CORRELATIONS,
) -> Sensitivity:
    """p of such counts if the scores of two votes on one pair had these correlations, each 0 to 1.

    `votes_per_pair`: all votes of the question over its pairs, ties too. Its design effect 1 + (votes_per_pair - 1) ρ
    (Kish, "Survey Sampling", 1965, section 5.4) divides the votes and so the square of z; z is that of the exact
    binomial p, which stands at correlation 0. UsageError: a negative count, or numbers outside those ranges.
    """
    if min(wins, losses, ties) < 0:
        raise UsageError(f"{wins} wins, {losses} losses and {ties} ties; expected counts of 0 or more.")
    if not (math.isfinite(votes_per_pair) and votes_per_pair >= 1):
        raise UsageError(f"{votes_per_pair} votes a pair; expected 1 or more.")
    for correlation in correlations:
        if not 0 <= correlation <= 1:
            raise UsageError(f"a correlation of {correlation}; expected 0 to 1.")
    from scipy.special import ndtr, ndtri

    independent = binomial(wins, losses)
    z = -float(ndtri(independent / 2))
    rows = []
    for correlation in correlations:
        effect = 1.0 + (votes_per_pair - 1.0) * correlation
        # Not below the exact one, which a round trip through z could miss by a rounding.
        p = independent if effect == 1.0 else max(independent, 2.0 * float(ndtr(-z / math.sqrt(effect))))
        rows.append(Correlated(correlation, effect, (wins + losses + ties) / effect, p))
    return Sensitivity(votes_per_pair, tuple(rows), _tipping(z / -float(ndtri(LEVEL / 2)), votes_per_pair))


def t_of_d(d: float, n_ours: int, n_theirs: int) -> TTest:
    """Student's t that a Cohen's d (of the pooled deviation) says of two independent samples. Treats ratings as independent.

    UsageError: a sample of none, fewer than three values in all, or a d that is not finite.
    """
    if min(n_ours, n_theirs) < 1 or n_ours + n_theirs < 3:
        raise UsageError(f"samples of {n_ours} and {n_theirs}; expected one value at least in each and three in all.")
    if not math.isfinite(d):
        raise UsageError(f"a Cohen's d of {d}; expected a finite number.")
    from scipy.special import stdtr

    t = d * math.sqrt(n_ours * n_theirs / (n_ours + n_theirs))
    degrees = n_ours + n_theirs - 2
    return TTest(t, degrees, 2.0 * float(stdtr(degrees, -abs(t))))


# Files -----------------------------------------------------------------------------------------------------------


def _rows(path: Path, wanted: Sequence[str], optional: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Line number and fields, none of them empty; optional ones in every row or in none. UsageError: no row at all."""
    readers = {".csv": _csv_rows, ".jsonl": _json_rows}
    if path.suffix.lower() not in readers:
        raise UsageError(f"{path}: a file ending in {path.suffix!r}; expected one that ends in .csv or .jsonl.")
    names: tuple[str, ...] | None = None
    try:
        for line, row in readers[path.suffix.lower()](path):
            if names is None:
                names = (*wanted, *(name for name in optional if name in row and name not in wanted))
            missing = [name for name in names if name not in row]
            if missing:
                raise UsageError(
                    f"{path}, line {line}: no {' and no '.join(missing)}; expected {', '.join(names)}"
                    + (". The option --split tells the speakers." if missing == ["speaker"] else ".")
                )
            late = [name for name in optional if name in row and name not in names]
            if late:
                raise UsageError(f"{path}, line {line}: {late[0]} is given; expected it in every row or in none.")
            fields = {name: row[name].strip() for name in names}
            for name, value in fields.items():
                if not value:
                    raise UsageError(f"{path}, line {line}: {name} is empty; expected a value in every row.")
            yield line, fields
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}). Save it as UTF-8.") from error
    if names is None:
        raise UsageError(f"{path}: no rows; expected {', '.join(wanted)} in each.")


def _csv_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, strict=True)
        heading: list[str] | None = None
        try:
            for cells in reader:
                line = reader.line_num
                if not any(cell.strip() for cell in cells):
                    continue
                if heading is None:
                    heading = [cell.strip() for cell in cells]
                    twice = [name for name, times in Counter(heading).items() if times > 1]
                    if twice:
                        raise UsageError(
                            f"{path}, line {line}: {len(heading)} columns, more than one named {twice[0]!r}."
                        )
                elif len(cells) != len(heading):
                    raise UsageError(
                        f"{path}, line {line}: {len(cells)} fields; expected {len(heading)} as in the heading."
                    )
                else:
                    yield line, dict(zip(heading, cells, strict=True))
        except csv.Error as error:
            raise UsageError(f"{path}, line {reader.line_num}: not CSV: {error}.") from error


def _json_rows(path: Path) -> Iterator[tuple[int, dict[str, str]]]:
    with path.open(encoding="utf-8-sig") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            try:
                row = msgspec.json.decode(text, type=dict[str, Any])
            except msgspec.MsgspecError as error:
                raise UsageError(f"{path}, line {line}: {error}; expected one JSON object a line.") from error
            # A whole number may be a name, too; nothing else is read as one.
            yield line, {name: str(value) for name, value in row.items() if type(value) in (str, int)}


def _once(seen: dict[tuple[str, ...], int], key: tuple[str, ...], what: str, path: Path, line: int) -> None:
    if key in seen:
        raise UsageError(f"{path}, line {line}: {what} for the second time, after line {seen[key]}; expected once.")
    seen[key] = line


class _Constant:
    """What must be the same in all rows of a pair."""

    def __init__(self, of: str, name: str, known: dict[str, str]) -> None:
        self._of, self._name = of, name
        self._known = known
        self._lines: dict[str, int] = {}

    def agreed(self, key: str, value: str | None, path: Path, line: int) -> str:
        """The value that counts for `key`; None takes what is known, or nothing."""
        if value is None:
            return self._known.get(key, "")
        known = self._known.setdefault(key, value)
        if known != value:
            where = f"line {self._lines[key]}" if key in self._lines else "the split"
            raise UsageError(
                f"{path}, line {line}: {self._of} {key!r} has {self._name} {value!r}, but {known!r} in {where}; "
                "expected one."
            )
        self._lines.setdefault(key, line)
        return known


def _answer(text: str) -> Answer:
    return next(answer for answer in get_args(Answer) if answer == text)


# Votes, counted ---------------------------------------------------------------------------------------------------


def _preference(votes: Sequence[Vote], confidence: float, seed: int) -> Preference:
    """Of one other method and question, not adjusted yet."""
    given = Counter(vote.vote for vote in votes)
    counts = Counts(given["ours"], given["other"], given["tie"])
    names = {unit: [str(getattr(vote, unit)) for vote in votes] for unit in UNITS}
    if not all(names["speaker"]):
        del names["speaker"]
    scores = np.array([SCORES[vote.vote] for vote in votes], dtype=np.float64)
    p = binomial(counts.wins, counts.losses)
    return Preference(
        ours=votes[0].ours,
        other=votes[0].other,
        question=votes[0].question,
        counts=counts,
        pairs=len(set(names["pair"])),
        raters=len(set(names["rater"])),
        speakers=len(set(names.get("speaker", ()))),
        p=p,
        adjusted=p,
        wilson=Interval(*wilson(counts.wins, counts.decided, confidence)) if counts.decided else None,
        clopper_pearson=Interval(*clopper_pearson(counts.wins, counts.decided, confidence)) if counts.decided else None,
        clustered=tuple(
            _clustered(unit, scores, of, confidence, seed) for unit, of in names.items() if len(set(of)) > 1
        ),
        crossed=_crossed(scores, names, confidence, seed) if _several(names) else None,
    )


def _units(names: Mapping[str, Sequence[str]]) -> tuple[str, str]:
    """What is crossed: speakers, or pairs where there are not two speakers, with raters."""
    return ("speaker" if len(set(names.get("speaker", ()))) > 1 else "pair", "rater")


def _several(names: Mapping[str, Sequence[str]]) -> bool:
    """Whether there are two of each of them."""
    return all(len(set(names[unit])) > 1 for unit in _units(names))


def _clustered(unit: str, scores: Reals, of: Sequence[str], confidence: float, seed: int) -> Clustered:
    clusters = _places(of)
    means = _means(scores, clusters)
    flip = sign_flip(means, seed=seed)
    score = _tested(means, confidence, seed)
    decided, within = scores[scores != 0.0], clusters[scores != 0.0]
    win_rate = None
    if len(set(within.tolist())) > 1:
        lower, upper = cluster_bootstrap(decided, within, confidence=confidence, seed=seed)
        win_rate = Interval((1.0 + lower) / 2.0, (1.0 + upper) / 2.0) if upper - lower > ROUNDING else None
    return Clustered(
        unit=unit,
        clusters=len(means),
        score=score,
        adjusted=score.p,
        flip=flip,
        flip_adjusted=flip.p,
        win_rate=win_rate,
    )


def _crossed(scores: Reals, names: Mapping[str, Sequence[str]], confidence: float, seed: int) -> Crossed:
    """Of two speakers (or pairs) and two raters at least."""
    units = _units(names)
    first, second = (_places(names[unit]) for unit in units)
    score = _cross_tested(scores, names, confidence, seed)
    decided = scores != 0.0
    win_rate = None
    if min(len(set(of[decided].tolist())) for of in (first, second)) > 1:
        ends = _two_way(scores[decided], first[decided], second[decided], confidence)
        if ends is not None:
            win_rate = Interval(max(0.0, (1.0 + ends.lower) / 2.0), min(1.0, (1.0 + ends.upper) / 2.0))
    return Crossed(units, score, score.p, win_rate)


def _tested(means: Reals, confidence: float, seed: int) -> Tested:
    """Student's t on (G,) means, two or more; where they are alike, their sign-flip test."""
    found = t_mean(means, confidence=confidence)
    if float(np.ptp(means)) > ROUNDING:
        return Tested(*found, test="t")
    return Tested(found.value, None, None, sign_flip(means, seed=seed).p, found.degrees, "sign-flip")


def _cross_tested(values: Reals, names: Mapping[str, Sequence[str]], confidence: float, seed: int) -> Tested:
    """Of the mean of (N,) values, whole numbers, by two-way clusters; where these are alike, the largest sign-flip p."""
    first, second = (_places(names[unit]) for unit in _units(names))
    found = _two_way(values, first, second, confidence)
    if found is not None:
        return Tested(*found, test="t")
    kinds = [_places(of) for of in names.values() if len(set(of)) > 1]
    p = max(sign_flip(_means(values, kind), seed=seed).p for kind in kinds)
    return Tested(float(values.sum()) / len(values), None, None, p, _degrees(first, second), "sign-flip")


def _degrees(first: NDArray[np.intp], second: NDArray[np.intp]) -> int:
    return min(len(set(first.tolist())), len(set(second.tolist()))) - 1


def _two_way(scores: Reals, first: NDArray[np.intp], second: NDArray[np.intp], confidence: float) -> Estimate | None:
    """Student's t of the mean of (N,) scores in two kinds of clusters, two or more of each; None: the error is 0."""
    from scipy.special import stdtr, stdtrit

    mean = float(scores.sum()) / len(scores)
    one, two = _variance(scores, first, mean), _variance(scores, second, mean)
    cells = first.astype(np.int64) * (int(second.max()) + 1) + second
    error = math.sqrt(max(one, two, one + two - _variance(scores, cells, mean)))
    if error <= ROUNDING:
        return None
    degrees = _degrees(first, second)
    half = float(stdtrit(degrees, 0.5 + confidence / 2)) * error
    return Estimate(mean, mean - half, mean + half, 2.0 * float(stdtr(degrees, -abs(mean) / error)), degrees)


def _variance(scores: Reals, clusters: NDArray[np.integer], mean: float) -> float:
    """Of the mean of (N,) scores, from the sums of two or more clusters. The order of rows changes no digit."""
    found, at = np.unique(clusters, return_inverse=True)
    off = np.bincount(at.reshape(-1), weights=scores) - np.bincount(at.reshape(-1)) * mean
    return math.fsum(off**2) / len(scores) ** 2 * len(found) / (len(found) - 1)


def _places(names: Sequence[str]) -> NDArray[np.intp]:
    """(N,) a number for each, the same for the same name, whatever the order of rows."""
    return np.unique(np.array(names), return_inverse=True)[1].reshape(-1)


def _means(values: Reals, clusters: NDArray[np.intp]) -> Reals:
    """(G,) of each cluster, sums of whole numbers: exact."""
    sums = np.bincount(clusters, weights=values)
    means: Reals = sums / np.bincount(clusters)
    return means


# Ratings, averaged --------------------------------------------------------------------------------------------------


def _opinion(method: str, scenario: str, ratings: Sequence[Rating], limit: int, confidence: float) -> Opinion:
    values = np.array([one.rating for one in ratings], dtype=np.float64)
    pairs = _pair_means(ratings)
    speakers = _speaker_means(pairs, {one.pair: one.speaker for one in ratings})
    given = Counter(one.rating for one in ratings)

    def interval(means: Reals) -> Interval | None:
        spread = len(means) > 1 and float(np.ptp(means)) > ROUNDING
        return Interval(*mean_interval(means, confidence)) if spread else None

    return Opinion(
        method=method,
        scenario=scenario,
        ratings=len(ratings),
        pairs=len(pairs),
        speakers=len(speakers),
        histogram=tuple(given[rating] for rating in RATINGS),
        mean=float(values.sum()) / len(values),
        bad=sum(given[rating] for rating in RATINGS if rating <= limit),
        by_rating=interval(values),
        by_pair=interval(_values(pairs)),
        by_speaker=interval(_values(speakers)),
    )


def _contrast(
    scenario: str, ours: Sequence[Rating], theirs: Sequence[Rating], confidence: float, seed: int
) -> Contrast:
    """Not adjusted yet."""
    first, second = (np.array([one.rating for one in given], dtype=np.float64) for given in (ours, theirs))
    means, others = _pair_means(ours), _pair_means(theirs)
    differences = {pair: means[pair] - others[pair] for pair in means if pair in others}
    speakers = _values(_speaker_means(differences, {one.pair: one.speaker for one in ours}))
    paired = _values(differences)
    several = min(len(first), len(second)) > 1 and bool(np.ptp(first) or np.ptp(second))
    by_pair = _tested(paired, confidence, seed) if len(paired) > 1 else None
    flip = sign_flip(speakers, seed=seed) if len(speakers) > 1 else None
    by_speaker = _tested(speakers, confidence, seed) if len(speakers) > 1 else None
    both, names = _rated_both(ours, theirs)
    crossed = _cross_tested(both, names, confidence, seed) if _several(names) else None
    return Contrast(
        ours=ours[0].method,
        other=theirs[0].method,
        scenario=scenario,
        difference=float(first.sum()) / len(first) - float(second.sum()) / len(second),
        d=cohens_d(first, second) if several else None,
        welch=welch(first, second) if several else None,
        mann_whitney=mann_whitney(first, second),
        pairs=len(paired),
        by_pair=by_pair,
        by_pair_adjusted=None if by_pair is None else by_pair.p,
        wilcoxon=wilcoxon(paired) if len(paired) > 1 else None,
        speakers=len(speakers),
        by_speaker=by_speaker,
        by_speaker_adjusted=None if by_speaker is None else by_speaker.p,
        flip=flip,
        paired=len(both),
        units=_units(names),
        crossed=crossed,
        crossed_adjusted=None if crossed is None else crossed.p,
    )


def _rated_both(ours: Sequence[Rating], theirs: Sequence[Rating]) -> tuple[Reals, dict[str, list[str]]]:
    """Differences (N,) of the ratings of one rater on one pair, and who and what they are of, by unit."""
    others = {(one.rater, one.pair): one.rating for one in theirs}
    kept = [one for one in ours if (one.rater, one.pair) in others]
    values = np.array([one.rating - others[one.rater, one.pair] for one in kept], dtype=np.float64)
    names = {unit: [str(getattr(one, unit)) for one in kept] for unit in UNITS}
    if not all(names["speaker"]):
        del names["speaker"]
    return values, names


def _adjusted(contrasts: Sequence[Contrast]) -> list[Contrast]:
    """Holm over these, for each kind of test by itself."""
    pairs = iter(holm([one.by_pair.p for one in contrasts if one.by_pair is not None]))
    speakers = iter(holm([one.by_speaker.p for one in contrasts if one.by_speaker is not None]))
    crossed = iter(holm([one.crossed.p for one in contrasts if one.crossed is not None]))
    return [
        one._replace(
            crossed_adjusted=None if one.crossed is None else next(crossed),
            by_pair_adjusted=None if one.by_pair is None else next(pairs),
            by_speaker_adjusted=None if one.by_speaker is None else next(speakers),
        )
        for one in contrasts
    ]


def _pair_means(ratings: Sequence[Rating]) -> dict[str, float]:
    given: dict[str, list[int]] = {}
    for one in ratings:
        given.setdefault(one.pair, []).append(one.rating)
    return {pair: sum(values) / len(values) for pair, values in given.items()}


def _speaker_means(pairs: Mapping[str, float], speaker_of: Mapping[str, str]) -> dict[str, float]:
    """Mean of each speaker's pairs; nothing where the speakers are not known."""
    given: dict[str, list[float]] = {}
    for pair, value in pairs.items():
        if speaker_of[pair]:
            given.setdefault(speaker_of[pair], []).append(value)
    return {speaker: math.fsum(values) / len(values) for speaker, values in given.items()}


def _values(means: Mapping[str, float]) -> Reals:
    """(G,) of them, and 0 for what rounding has left of it."""
    found = np.array(list(means.values()), dtype=np.float64)
    return np.where(np.abs(found) > ROUNDING, found, 0.0)


# Totals ------------------------------------------------------------------------------------------------------------


def _printed(pct: float, digits: int) -> Fraction:
    """The percentage as it is printed, exactly."""
    if not 0 <= digits <= 9:
        raise UsageError(f"percentages at {digits} digits; expected 0 to 9.")
    if not 0 <= pct <= 100:
        raise UsageError(f"{pct} %; expected 0 to 100.")
    exact = Fraction(str(float(pct)))
    if (exact * 10**digits).denominator != 1:
        raise UsageError(f"{pct} % has more than {digits} digits after the point; expected no more. Say how many.")
    return exact


def _fitting(pct: Fraction, half: Fraction, trials: int) -> Iterable[int]:
    """Counts whose percentage of `trials` is at most `half` away."""
    least, most = (pct - half) * trials / 100, (pct + half) * trials / 100
    return range(max(0, math.ceil(least)), min(trials, math.floor(most)) + 1)


def _tipping(ratio: float, votes_per_pair: float) -> float | None:
    """The correlation at which z, so many times the one that the level wants, is no more than that."""
    if ratio <= 1.0:
        return 0.0
    if not math.isfinite(ratio) or ratio**2 > votes_per_pair:
        return None  # not even if all votes on a pair were the same
    return (ratio**2 - 1.0) / (votes_per_pair - 1.0)
