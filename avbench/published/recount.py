"""Does the paper agree with itself? Everything that can be recomputed from what it prints, and where it differs.

Conventions
- A printed number stands for all that round to it. Two numbers agree where some values behind them do; one number in
  two tables is to be printed alike.
- A mark is right or wrong at printed digits: nobody can rank what the reader cannot see.
- p of preferences is the paper's own test, exact and two-sided on wins with ties left out, of the integer counts that
  print as its percentages. It treats votes as independent; `Votes` says what is left of it where they are not.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from ..stats import binomial
from ..table import Mark
from ..votes import Counts, Sensitivity, fitting_shares, sensitivity, t_of_d
from .numbers import Again, Beyond, Number, Paper, Preference, Statement, paper
from .studies import fitting, gains, likely
from .tables import decided

__all__ = ["KINDS", "Check", "Kind", "Report", "Votes", "check"]

Kind = Literal["mark", "run", "statement", "total", "preference", "again", "rating"]

KINDS: dict[Kind, str] = {
    "mark": "Best and second of each column",
    "run": "Numbers of one run in several tables",
    "statement": "What the text says of the tables",
    "total": "Pairs and speakers of all splits",
    "preference": "Win rates and p of the preferences",
    "again": "Numbers of the preferences that are said again",
    "rating": "Shares, p and effect size of the ratings",
}
MARKED: dict[Mark, str] = {"best": "bold", "second": "underlined", "": "plain"}
LEAST_P_IN_FULL = 1e-4


class Check(NamedTuple):
    """One thing that was printed, and what it comes to."""

    kind: Kind
    where: str
    printed: str
    recomputed: str
    agrees: bool
    remark: str = ""


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
        return tuple(one for one in self.checks if not one.agrees)

    def tally(self, kind: Kind) -> tuple[int, int]:
        """How many were checked, and how many disagree."""
        of = [one for one in self.checks if one.kind == kind]
        return len(of), sum(not one.agrees for one in of)


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
                agrees,
                "" if agrees else _why(number, mark, column, marks, layout.row),
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
                        here.value == there.value,
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
    return Check("statement", of, statement.says, said or "so it is", not against)


def _difference(known: Paper, statement: Statement, of: str, ours: Number, others: list[Number]) -> Check:
    """The gap to the nearest of the others, or the gain over it in percent."""
    higher = known.head.metrics[statement.metric].direction == "higher"
    nearest = (max if higher else min)(others, key=lambda one: one.value)
    low, high = _behind(ours.text)
    least, most = _behind(nearest.text)
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
        _overlap(_behind(statement.printed), between),
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
    return Check("statement", of, statement.says, said or "so it is", not wrong)


def _totals(known: Paper) -> Iterator[Check]:
    totals, splits = known.head.totals, known.head.splits.values()
    for what, printed, parts in (
        ("pairs", totals.pairs, [one.pairs for one in splits]),
        ("speakers", totals.speakers, [one.speakers for one in splits]),
    ):
        recomputed = f"{' + '.join(map(str, parts))} = {sum(parts)}"
        yield Check("total", totals.where, f"{printed} {what}", recomputed, printed == sum(parts))


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
            bool(fits),
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
                all(binomial(one.wins, one.losses) < bound for one in fits),
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
                agrees,
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
    both = f"{head.ours} vs {head.other}"
    counts = {method: int(known.rating("ratings_per_method", method)) for method in (head.ours, head.other)}
    for method, count in counts.items():
        share = known.rating("bad_rating_pct", method)
        fits = fitting_shares(float(share), count)
        said = " or ".join(f"{one} of {count}: {100 * one / count:.2f} %" for one in fits)
        yield Check("rating", where, f"{method}: {share} % Bad", said or "no count prints so", bool(fits))
    for method, count in counts.items():
        mean = known.rating("overall_mos", method)
        least, most = (bound * count for bound in _behind(mean))
        sums = range(-int(-least // 1), int(most) + 1)
        said = " or ".join(f"{one} / {count}" for one in sums)
        yield Check("rating", where, f"{method}: mean {mean}", said or "no sum of ratings prints so", bool(sums))

    d, p = known.rating("cohens_d", both), known.rating("p_value", both)
    bounds = [t_of_d(float(one), *counts.values()).p for one in _behind(d)]
    value = t_of_d(float(d), *counts.values()).p
    implied = _d_of_p(float(p), *counts.values())
    yield Check(
        "rating",
        where,
        f"p = {p} beside d = {d}",
        f"p = {value:.3f}",
        _overlap(_behind(p), (Decimal(min(bounds)), Decimal(max(bounds)))),
        f"t of independent ratings, {' and '.join(map(str, counts.values()))}; p = {p} would be d = {implied:.3f}; the "
        "paper names no test",
    )
    yield _scenarios(known, where)


def _d_of_p(p: float, n_ours: int, n_theirs: int) -> float:
    """The Cohen's d of two independent samples whose Student's t has that two-sided p."""
    from scipy.special import stdtrit

    return -float(stdtrit(n_ours + n_theirs - 2, p / 2)) * math.sqrt(1 / n_ours + 1 / n_theirs)


def _scenarios(known: Paper, where: str) -> Check:
    """Whether the gains that are not printed can make up the whole: none may be above the least of the largest, or below 0."""
    head, printed = known.head.ratings, {name: Decimal(gain) for name, gain in gains(known).items()}
    won = int(known.rating("scenarios_won_of_10", head.ours))
    whole = Decimal(known.rating("overall_mos", head.ours)) - Decimal(known.rating("overall_mos", head.other))
    hidden = head.scenarios - len(printed)
    hidden_won = won - sum(gain > 0 for gain in printed.values())
    # A printed mean may be off by half of its last digit, and this is a difference of two.
    rest = [head.scenarios * (whole + slack) - sum(printed.values()) for slack in (Decimal("-0.01"), Decimal("0.01"))]
    largest = min(gain for gain in printed.values() if gain > 0)
    needed = head.scenarios * whole - sum(printed.values())
    return Check(
        "rating",
        where,
        f"{won} of {head.scenarios} scenarios, mean difference {whole}",
        f"the {hidden} that are not printed gain {needed} together, at most {largest} each",
        hidden == hidden_won and rest[1] > 0 and rest[0] <= hidden * largest,
    )


# Printed numbers -------------------------------------------------------------------------------------------------


def _behind(text: str) -> tuple[Decimal, Decimal]:
    """The least and the greatest number that prints so."""
    number = Decimal(text)
    half = Decimal(5).scaleb(int(number.as_tuple().exponent) - 1)
    return number - half, number + half


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
