"""Does the paper agree with itself? Everything that can be recomputed from what it prints, and where it differs.

Conventions
- A printed number stands for all that round to it. Two numbers agree where some values behind them do; one number in
  two tables is to be printed alike.
- A mark is right or wrong at printed digits: nobody can rank what the reader cannot see. Ranks are dense.
- What more than one reading of the paper fits, or a test that it does not name, cannot be decided; it is no disagreement.
- Two disagreements are one fact where they rest on a comparison of the same two numbers.
- p of preferences is the paper's own test, exact and two-sided on wins with ties left out, of the integer counts that
  print as its percentages. It treats votes as independent; `Votes` says what is left of it where they are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from ..errors import UsageError
from ..stats import binomial
from ..table import Mark
from ..votes import Counts, Sensitivity, fitting_shares, sensitivity, t_of_d
from .numbers import Again, Beyond, Number, Paper, Preference, Statement, paper
from .studies import fitting, gains, likely
from .tables import decided

__all__ = ["KINDS", "RANKS", "Check", "Kind", "Report", "Status", "Votes", "check"]

Kind = Literal["mark", "run", "statement", "total", "preference", "again", "rating", "claim"]
Status = Literal["agrees", "disagrees", "cannot be decided"]

KINDS: dict[Kind, str] = {
    "mark": "Best and second of each column",
    "run": "Numbers of one run in several tables",
    "statement": "What the text says of the tables",
    "total": "Pairs and speakers of all splits",
    "preference": "Win rates and p of the preferences",
    "again": "Numbers of the preferences that are said again",
    "rating": "Shares, p and effect size of the ratings",
    "claim": "What the text says of the ratings",
}
RANKS = (
    "best and second are taken as dense ranks of what is printed: equal numbers share a mark, and second is the next "
    "other number; the paper names no rule"
)
MARKED: dict[Mark, str] = {"best": "bold", "second": "underlined", "": "plain"}
LEAST_P_IN_FULL = 1e-4


class Check(NamedTuple):
    """One thing that was printed, and what it comes to."""

    kind: Kind
    where: str
    printed: str  # of what the text says: our words for it
    recomputed: str
    status: Status
    remark: str = ""
    compared: tuple[str, ...] = ()  # the comparisons of two numbers that it rests on

    @property
    def agrees(self) -> bool:
        return self.status == "agrees"

    @property
    def quoted(self) -> bool:
        """Whether `printed` stands there so; what the text says is in our words."""
        return self.kind not in ("statement", "claim")


class Votes(NamedTuple):
    """One count of votes behind a row of the preferences, and what its p is worth."""

    baseline: str
    question: str
    counts: Counts
    said: bool  # whether the number of votes is in the range that the paper says
    sensitivity: Sensitivity


class Report(NamedTuple):
    """All checks, in the paper's order."""

    name: str
    arxiv: str
    checks: tuple[Check, ...]
    votes: tuple[Votes, ...]
    beyond: tuple[Beyond, ...]

    @property
    def disagreements(self) -> tuple[Check, ...]:
        return tuple(one for one in self.checks if one.status == "disagrees")

    @property
    def undecided(self) -> tuple[Check, ...]:
        return tuple(one for one in self.checks if one.status == "cannot be decided")

    @property
    def facts(self) -> tuple[tuple[Check, ...], ...]:
        """The disagreements, together where they are one fact, in the paper's order."""
        facts: list[list[Check]] = []
        for one in self.disagreements:
            same = [fact for fact in facts if any(set(one.compared) & set(other.compared) for other in fact)]
            facts = [fact for fact in facts if not any(fact is other for other in same)]
            facts.append([*(check for fact in same for check in fact), one])
        order = {id(one): at for at, one in enumerate(self.disagreements)}
        sorted_facts = [tuple(sorted(fact, key=lambda one: order[id(one)])) for fact in facts]
        return tuple(sorted(sorted_facts, key=lambda fact: order[id(fact[0])]))

    def tally(self, kind: Kind) -> tuple[int, int, int]:
        """How many were checked, how many disagree, and how many cannot be decided."""
        of = [one for one in self.checks if one.kind == kind]
        return (
            len(of),
            sum(one.status == "disagrees" for one in of),
            sum(one.status == "cannot be decided" for one in of),
        )


def check() -> Report:
    """Recomputes marks, repeated numbers, statements, win rates, p-values and effect sizes of the paper."""
    known = paper()
    return Report(
        name=known.head.name,
        arxiv=known.head.arxiv,
        checks=(
            *_marks(known),
            *_runs(known),
            *_statements(known),
            *_totals(known),
            *_preferences(known),
            *_again(known),
            *_ratings(known),
            *_claims(known),
        ),
        votes=tuple(_votes(known)),
        beyond=known.head.beyond,
    )


# Tables ----------------------------------------------------------------------------------------------------------


def _marks(known: Paper) -> Iterator[Check]:
    for layout in known.head.tables:
        for number in known.numbers[layout.number]:
            column = known.column(layout.number, number.split, number.metric)
            marks = decided(known, layout, number.split, number.metric)
            mark = marks.get(number.row, "")
            agrees = mark == number.mark
            yield Check(
                "mark",
                _place(known, layout.number, number),
                f"{number.text} {MARKED[number.mark]}",
                MARKED[mark],
                _status(agrees),
                "" if agrees else _why(number, mark, column, marks, layout.row),
                () if agrees else _rivals(layout.number, number, mark, column, marks),
            )


def _rivals(
    table: int, number: Number, mark: Mark, column: Sequence[Number], marks: Mapping[str, Mark]
) -> tuple[str, ...]:
    """The comparisons behind a wrong mark: with whom the printed one is due, and who has the due one in print."""
    return tuple(
        _pair(table, number, other)
        for other in column
        if other is not number
        if (number.mark and marks.get(other.row) == number.mark) or (mark and other.mark == mark)
    )


def _why(number: Number, mark: Mark, column: Sequence[Number], marks: Mapping[str, Mark], rows: str) -> str:
    """What a reader has to see to believe it; `rows` is what the rows are, where they are no methods."""
    equal = sum(one.value == number.value for one in column)
    if mark and equal > 1:
        return f"{number.text} stands {'twice' if equal == 2 else f'{equal} times'}"
    wanted: Mark = "second" if number.mark == "second" else "best"
    holders = [
        f"{one.text} ({rows} {one.row})" if rows else f"{one.text} ({one.row})"
        for one in column
        if marks.get(one.row) == wanted and one is not number
    ]
    return f"{wanted}: {', '.join(holders)}" if holders else ""


def _runs(known: Paper) -> Iterator[Check]:
    for run in known.head.runs:
        first, *others = run.rows
        numbers = {one.metric: one for one in _of(known, first.table, run.split, first.row)}
        for other in others:
            for number in _of(known, other.table, run.split, other.row):
                if number.metric in numbers:
                    here, there = numbers[number.metric], number
                    yield Check(
                        "run",
                        _place(known, other.table, there),
                        there.text,
                        f"{here.text} in Table {first.table}",
                        _status(here.value == there.value),
                        other.assumption,
                        (f"{run.split}, {first.row}, {number.metric}: {here.text} or {there.text}",),
                    )


def _statements(known: Paper) -> Iterator[Check]:
    for statement in known.head.statements:
        for split in statement.splits:
            column = {one.row: one for one in known.column(statement.table, split, statement.metric)}
            ours = [column[row] for row in statement.rows]
            others = [one for row, one in column.items() if row in (statement.others or column)]
            label = known.head.metrics[statement.metric].label
            of = f"{statement.where}, of Table {statement.table}, {known.head.splits[split].label}, {label}"
            if statement.place in ("gap", "gain"):
                yield _difference(known, statement, of, ours[0], others)
            elif statement.place == "opposed":
                yield _opposed(known, statement, of, split, ours)
            elif statement.place == "range":
                yield _within(statement, of, ours)
            else:
                yield _order(statement, of, ours, [one for one in others if one not in ours])


def _order(statement: Statement, of: str, ours: list[Number], others: list[Number]) -> Check:
    """Whether rows stand above or below all others; in first or last place a tie will do."""
    above = statement.place in ("above", "highest")
    sign = 1 if above else -1
    tie = statement.place in ("highest", "lowest")
    against = [
        (one, other)
        for one in ours
        for other in others
        if sign * one.value < sign * other.value or (one.value == other.value and not tie)
    ]
    said = "; ".join(
        f"{one.row} {one.text}, but {', '.join(f'{other.row} {other.text}' for mine, other in against if mine is one)}"
        for one in ours
        if any(mine is one for mine, _ in against)
    )
    return Check(
        "statement",
        of,
        statement.says,
        said or "so it is",
        _status(not against),
        statement.remark if against else "",
        tuple(_pair(statement.table, one, other) for one, other in against),
    )


def _within(statement: Statement, of: str, ours: list[Number]) -> Check:
    """Whether every number is in the printed range, its ends included."""
    least, most = (Decimal(end) for end in statement.printed.split("–"))
    outside = [one for one in ours if not least <= one.value <= most]
    return Check(
        "statement",
        of,
        f"{statement.says}: {statement.printed}",
        ", ".join(f"{one.row} {one.text}" for one in ours),
        _status(not outside),
        statement.remark if outside else "",
        tuple(f"{statement.table}, {one.split}, {one.metric}: {one.row}, {statement.printed}" for one in outside),
    )


def _difference(known: Paper, statement: Statement, of: str, ours: Number, others: list[Number]) -> Check:
    """The gap to the nearest of the others, or the gain over it in percent."""
    higher = known.head.metrics[statement.metric].direction == "higher"
    nearest = (max if higher else min)(others, key=lambda one: one.value)
    low, high = _behind(ours.text)
    least, most = _behind(nearest.text)
    if statement.place == "gain" and nearest.value == 0:
        raise UsageError(f"{of}: a gain over {nearest.row}, {nearest.text}; expected a number other than 0.")
    if statement.place == "gap":
        between = (low - most, high - least)
        value = f"{ours.value - nearest.value}"
    else:
        between = (100 * (low / most - 1), 100 * (high / least - 1))
        value = f"{100 * (ours.value / nearest.value - 1):.1f}"
    return Check(
        "statement",
        of,
        f"{statement.says}: {statement.printed}",
        f"{value} ({ours.text} against {nearest.row} {nearest.text})",
        _status(_overlap(_behind(statement.printed), between)),
        statement.remark,
        (_pair(statement.table, ours, nearest),),
    )


def _opposed(known: Paper, statement: Statement, of: str, split: str, ours: list[Number]) -> Check:
    """Whether of every two rows the lower in one metric is the higher in the other; a tie in either is no contradiction."""
    opposite = {one.row: one for one in known.column(statement.table, split, statement.opposite)}
    wrong = [
        (less, more)
        for less in ours
        for more in ours
        if less.value < more.value and opposite[less.row].value < opposite[more.row].value
    ]
    said = "; ".join(
        f"{less.row} {less.text} and {opposite[less.row].text}, but {more.row} {more.text} and {opposite[more.row].text}"
        for less, more in wrong
    )
    return Check(
        "statement",
        of,
        statement.says,
        said or "so it is",
        _status(not wrong),
        statement.remark if wrong else "",
        tuple(
            _pair(statement.table, *two)
            for less, more in wrong
            for two in ((less, more), (opposite[less.row], opposite[more.row]))
        ),
    )


def _totals(known: Paper) -> Iterator[Check]:
    totals, splits = known.head.totals, known.head.splits.values()
    for what, printed, parts in (
        ("pairs", totals.pairs, [one.pairs for one in splits]),
        ("speakers", totals.speakers, [one.speakers for one in splits]),
    ):
        recomputed = f"{' + '.join(map(str, parts))} = {sum(parts)}"
        yield Check("total", totals.where, f"{printed} {what}", recomputed, _status(printed == sum(parts)))


# Preferences -----------------------------------------------------------------------------------------------------


def _preferences(known: Paper) -> Iterator[Check]:
    everywhere = known.head.preferences.everywhere
    for row in known.figure3:
        fits, where = fitting(known, row), f"Figure 3, {_about(row)}"
        shown = likely(known, row)
        yield Check(
            "preference",
            where,
            f"{row.preferred_pct} % against {row.baseline_pct} %, win rate {row.win_rate_pct} %",
            ", or ".join(
                f"{one.wins} of {one.wins + one.losses}: {100 * one.wins / (one.wins + one.losses):.2f} %"
                for one in shown
            )
            or "no count of votes prints so",
            _status(bool(fits)),
        )
        if not fits:
            continue  # no counts, no p
        ps = sorted({binomial(one.wins, one.losses) for one in shown})
        for place, claim in ((where, row.p_claim), (f"{everywhere.where}, {_about(row)}", everywhere.p_claim)):
            bound = float(claim.removeprefix("<"))
            yield Check(
                "preference",
                place,
                f"p < {claim.removeprefix('<')}",
                f"p = {' or '.join(map(_p, ps))}",
                _status(all(binomial(one.wins, one.losses) < bound for one in fits)),
            )


def _again(known: Paper) -> Iterator[Check]:
    """A number that is said elsewhere, in fewer digits, is to be what the paper's own rounds to."""
    for again in known.elsewhere:
        row = next(one for one in known.figure3 if _about(one) == _about(again))
        for printed, meant in ((again.preferred_pct, row.preferred_pct), (again.baseline_pct, row.baseline_pct)):
            if not printed:
                continue
            ties = {_rounded(100 * one.ties / one.votes, printed) for one in likely(known, row)}
            agrees = _overlap(_behind(printed), _behind(meant))
            yield Check(
                "again",
                f"{again.where}, {_about(row)}",
                f"{printed} %",
                f"{meant} % in Figure 3",
                _status(agrees),
                f"{printed} % is the share of equal votes" if not agrees and ties == {printed} else "",
            )


def _votes(known: Paper) -> Iterator[Votes]:
    pairs = known.head.preferences.pairs
    for row in known.figure3:
        for one in likely(known, row):
            said = int(row.annotations_low) <= one.votes <= int(row.annotations_high)
            yield Votes(row.baseline, row.question, one, said, sensitivity(*one, one.votes / pairs))


def _about(row: Preference | Again) -> str:
    return f"{row.question.replace('_', ' ')} against {row.baseline}"


# Ratings ---------------------------------------------------------------------------------------------------------


def _ratings(known: Paper) -> Iterator[Check]:
    head, where = known.head.ratings, "appendix D.2"
    counts = {method: int(known.rating("ratings_per_method", method)) for method in (head.ours, head.other)}
    for method, count in counts.items():
        share = known.rating("bad_rating_pct", method)
        fits = fitting_shares(float(share), count)
        said = " or ".join(f"{one} of {count}: {100 * one / count:.2f} %" for one in fits)
        yield Check("rating", where, f"{method}: {share} % Bad", said or "no count prints so", _status(bool(fits)))
    for method, count in counts.items():
        mean = known.rating("overall_mos", method)
        least, most = (bound * count for bound in _behind(mean))
        sums = range(-int(-least // 1), int(most) + 1)
        said = " or ".join(f"{one} / {count}" for one in sums)
        yield Check(
            "rating", where, f"{method}: mean {mean}", said or "no sum of ratings prints so", _status(bool(sums))
        )

    yield _p_beside_d(known, where, counts)
    yield _scenarios(known, where)


def _p_beside_d(known: Paper, where: str, counts: Mapping[str, int]) -> Check:
    """Whether p is that of d: by t of all ratings it must be; fewer valid ratings or ranks leave it undecided.

    Ranks are tried on one pair of histograms that prints as the shares, means and d of the paper.
    """
    both = f"{known.head.ratings.ours} vs {known.head.ratings.other}"
    d, p = known.rating("cohens_d", both), known.rating("p_value", both)
    value = t_of_d(float(d), *counts.values()).p
    fewer = [n for n in range(2, min(counts.values())) if _t_fits(d, p, n, n)]
    shares = [float(known.rating("bad_rating_pct", method)) for method in counts]
    of_them = [n for n in fewer if all(fitting_shares(share, n) for share in shares)]
    escapes = []
    if fewer:
        escapes.append(
            f"t of {_run(fewer)} valid ratings of each method"
            + (f" (of these, {_several(of_them, 'and')} print as both shares of Bad, too)" if of_them else "")
        )
    ranks = Decimal(_mann_whitney(known.head.ratings.possible)) if _possible(known, counts, d) else None
    if ranks is not None and _overlap(_behind(p), (ranks, ranks)):
        ours, other = (" + ".join(map(str, one)) for one in known.head.ratings.possible)
        escapes.append(
            f"Mann-Whitney on {' and '.join(map(str, counts.values()))}, as with {ours} against {other} ratings of "
            f"{known.head.ratings.scale[0]} to {known.head.ratings.scale[1]}, which print as all else"
        )
    agrees = _t_fits(d, p, *counts.values())
    status: Status = "agrees" if agrees else "cannot be decided" if escapes else "disagrees"
    fits = f"; p = {p} fits {', or '.join(escapes)}" if escapes and not agrees else ""
    return Check(
        "rating",
        where,
        f"p = {p} beside d = {d}",
        f"p = {value:.3f}",
        status,
        f"t of independent ratings, {' and '.join(map(str, counts.values()))}{fits}; the paper names no test, and only "
        "the ratings could tell",
    )


def _t_fits(d: str, p: str, n_ours: int, n_theirs: int) -> bool:
    """Whether some d that prints so has, by t, some p that prints so."""
    bounds = [t_of_d(float(one), n_ours, n_theirs).p for one in _behind(d)]
    return _overlap(_behind(p), (Decimal(min(bounds)), Decimal(max(bounds))))


def _possible(known: Paper, counts: Mapping[str, int], d: str) -> bool:
    """Whether the histograms that the data hold print as the paper's counts, shares, means and d."""
    head = known.head.ratings
    scale = range(head.scale[0], head.scale[1] + 1)
    means, squares = [], 0.0
    for (method, count), histogram in zip(counts.items(), head.possible, strict=True):
        bad = known.rating("bad_rating_pct", method)
        if len(histogram) != len(scale) or sum(histogram) != count:
            return False
        if histogram[0] not in fitting_shares(float(bad), count):
            return False
        total = sum(rating * times for rating, times in zip(scale, histogram, strict=True))
        mean = Decimal(total) / count
        if not _overlap(_behind(known.rating("overall_mos", method)), (mean, mean)):
            return False
        means.append(total / count)
        squares += sum(times * (rating - total / count) ** 2 for rating, times in zip(scale, histogram, strict=True))
    if not squares:
        return False
    effect = Decimal((means[0] - means[1]) / math.sqrt(squares / (sum(counts.values()) - 2)))
    return _overlap(_behind(d), (effect, effect))


def _claims(known: Paper) -> Iterator[Check]:
    """Whether who is said to be significantly surpassed was rated at all, and with what p."""
    head = known.head.ratings
    for claim in head.claims:
        if claim.over == head.other:
            p = known.rating("p_value", f"{head.ours} vs {head.other}")
            fits, said = Decimal(p) < Decimal(claim.level), f"p = {p} in {claim.source}"
        else:
            fits, said = False, f"{claim.source} has ratings of {head.ours} and {head.other} only"
        yield Check("claim", claim.where, claim.says, said, _status(fits), "" if fits else claim.remark)


def _mann_whitney(histograms: Sequence[Sequence[int]]) -> float:
    """Two-sided p of two histograms over the same ratings: normal, corrected for ties, not for continuity.

    Mann and Whitney 1947, "On a test of whether one of two random variables is stochastically larger than the other".
    """
    from scipy.special import ndtr

    one, other = histograms
    n_one, n_other = sum(one), sum(other)
    u, below, ties = 0.0, 0, 0
    for mine, theirs in zip(one, other, strict=True):
        u += mine * (below + theirs / 2)
        below += theirs
        ties += (mine + theirs) ** 3 - (mine + theirs)
    n = n_one + n_other
    variance = n_one * n_other / 12 * (n + 1 - ties / (n * (n - 1)))
    return 1.0 if variance == 0 else 2.0 * float(ndtr(-abs(u - n_one * n_other / 2) / math.sqrt(variance)))


def _scenarios(known: Paper, where: str) -> Check:
    """Whether the gains that are not printed can make up the whole: none may be above the least of the largest, or below 0."""
    head, printed = known.head.ratings, {name: Decimal(gain) for name, gain in gains(known).items()}
    won = int(known.rating("scenarios_won_of_10", head.ours))
    whole = Decimal(known.rating("overall_mos", head.ours)) - Decimal(known.rating("overall_mos", head.other))
    hidden = head.scenarios - len(printed)
    hidden_won = won - sum(gain > 0 for gain in printed.values())
    # A printed mean may be off by half of its last digit, and this is a difference of two.
    rest = [head.scenarios * (whole + slack) - sum(printed.values()) for slack in (Decimal("-0.01"), Decimal("0.01"))]
    largest = min((gain for gain in printed.values() if gain > 0), default=Decimal(0))
    needed = head.scenarios * whole - sum(printed.values())
    return Check(
        "rating",
        where,
        f"{won} of {head.scenarios} scenarios, mean difference {whole}",
        f"the {hidden} that are not printed gain {needed} together, at most {largest} each",
        _status(hidden == hidden_won and rest[1] > 0 and rest[0] <= hidden * largest),
    )


# Printed numbers -------------------------------------------------------------------------------------------------


def _behind(text: str) -> tuple[Decimal, Decimal]:
    """The least and the greatest number that prints so."""
    number = Decimal(text)
    half = Decimal(5).scaleb(int(number.as_tuple().exponent) - 1)
    return number - half, number + half


def _status(agrees: bool) -> Status:
    return "agrees" if agrees else "disagrees"


def _pair(table: int, one: Number, other: Number) -> str:
    """A comparison of two numbers of a column, whichever is named first."""
    return f"{table}, {one.split}, {one.metric}: {', '.join(sorted((one.row, other.row)))}"


def _run(numbers: Sequence[int]) -> str:
    """From where to where, if nothing between is missing; else each."""
    whole = len(numbers) > 2 and numbers[-1] - numbers[0] == len(numbers) - 1
    return f"{numbers[0]} to {numbers[-1]}" if whole else _several(numbers)


def _several(numbers: Sequence[int], word: str = "or") -> str:
    *most, last = map(str, numbers)
    return f"{', '.join(most)} {word} {last}" if most else last


def _overlap(one: tuple[Decimal, Decimal], other: tuple[Decimal, Decimal]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def _rounded(value: float, like: str) -> str:
    """`value` in as many digits as `like` has."""
    return f"{value:.{max(0, -int(Decimal(like).as_tuple().exponent))}f}"


def _p(p: float) -> str:
    return f"{p:.1e}" if p < LEAST_P_IN_FULL else f"{p:.4f}"


def _of(known: Paper, table: int, split: str, row: str) -> list[Number]:
    return [one for one in known.numbers[table] if (one.split, one.row) == (split, row)]


def _place(known: Paper, table: int, number: Number) -> str:
    layout, head = known.layout(table), known.head
    row = f"{layout.row} {number.row}" if layout.row else number.row
    return f"Table {table}, {head.splits[number.split].label}, {head.metrics[number.metric].label}, {row}"
