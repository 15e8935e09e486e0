"""How many preferred it? The form of the paper's Figure 3: rates of votes, with what they are worth.

Conventions
- A block for each other method, a row for each question. Shares are of all votes; the win rate leaves ties out.
- Beside the p that treats votes as independent stand others that do not. From a votes file: t on the mean score with
  the votes of a speaker and of a rater in clusters. From published totals: the same binomial under a correlation of the
  votes on one pair.
- Where several counts fit what was printed, a p is the largest of theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from ..home import package_version
from ..results import clean
from ..votes import Counts, Preference, sensitivity
from .model import DASH, Block, Cell, Column, Row, RowKind, Table

__all__ = ["SHOWN", "Totals", "human", "human_of_totals"]

SHOWN = (0.1, 0.2)  # correlations beside published totals
RATE_DIGITS, P_DIGITS = 1, 3
_ALIKE = (
    "Where all clusters are alike, there is no error to judge by: the win rate has no interval, and p, where the mean "
    "scores are alike, is the largest of the sign-flip tests of their means."
)


class Totals(NamedTuple):
    """One question of a published study, as it was printed, in percent."""

    other: str
    question: str
    ours_pct: float
    other_pct: float
    win_rate_pct: float
    fits: tuple[Counts, ...]  # all that print so; none: the numbers contradict each other


def human(preferences: Sequence[Preference], source: str = "") -> Table:
    """The table of a votes file; `source` names the file and its digest in the signature."""
    columns = [
        Column("ours", "Ours", "%", "", RATE_DIGITS),
        Column("equal", "Equal", "%", "", RATE_DIGITS),
        Column("other", "Other", "%", "", RATE_DIGITS),
        Column("win_rate", "Win rate", "%", "", RATE_DIGITS),
        Column("win_rate_from", "from", "%", "", RATE_DIGITS),
        Column("win_rate_to", "to", "%", "", RATE_DIGITS),
        Column("votes", "Votes", "", "", 0),
        Column("p_holm", "p", "votes", "", P_DIGITS),
        Column("p_holm_clustered", "p", "clustered", "", P_DIGITS),
    ]
    rows: list[tuple[str, Row]] = []
    for row in preferences:
        votes, interval = row.counts.votes, row.interval
        cells = [
            *(_rate(count / votes, votes) for count in (row.counts.wins, row.counts.ties, row.counts.losses)),
            _rate(row.counts.win_rate, row.counts.decided),
            _rate(None if interval is None else interval.lower, row.counts.decided),
            _rate(None if interval is None else interval.upper, row.counts.decided),
            Cell(str(votes), votes, votes),
            _p(row.adjusted, row.counts.decided),
            _p(row.clustered_p, votes),
        ]
        rows.append((row.other, _row(row.other, row.question, "baseline", cells)))
    ours = preferences[0].ours if preferences else ""
    fields = {
        "v": package_version(),
        "form": "human",
        "ours": ours,
        "votes": source,
        "p": f"binomial+two-way-t/holm{len(rows)}",
    }
    return Table(
        name="human",
        caption=clean(_caption(preferences)),
        columns=tuple(columns),
        blocks=_blocks(rows, ours),
        signatures=(clean("|".join(["avbench", *(f"{name}:{value}" for name, value in fields.items() if value)])),),
        corner="Question",
    )


def human_of_totals(ours: str, rows: Sequence[Totals], pairs: int, caption: str) -> Table:
    """The table of published totals of a study on so many pairs; `caption` says whose, what is computed is added."""
    columns = (
        Column("ours", "Ours", "%", "", RATE_DIGITS),
        Column("equal", "Equal", "%", "", RATE_DIGITS),
        Column("other", "Other", "%", "", RATE_DIGITS),
        Column("win_rate", "Win rate", "%", "", RATE_DIGITS),
        Column("votes", "Votes", "", "", 0),
        Column("p", "p", "at\N{NO-BREAK SPACE}0", "", P_DIGITS),
        *(Column(f"p_at_{rho}", "p", f"at\N{NO-BREAK SPACE}{rho}", "", P_DIGITS) for rho in SHOWN),
    )
    laid: list[tuple[str, Row]] = []
    for row in rows:
        equal = round(100 - row.ours_pct - row.other_pct, RATE_DIGITS)
        shares = (row.ours_pct, equal, row.other_pct, row.win_rate_pct)
        found = [
            [one.p for one in sensitivity(*fit, max(1.0, fit.votes / pairs), (0.0, *SHOWN)).rows] for fit in row.fits
        ]
        numbers = sorted({fit.votes for fit in row.fits})
        cells = [
            *(Cell(f"{share:.{RATE_DIGITS}f}", share) for share in shares),
            Cell("/".join(map(str, numbers)) or DASH, float(numbers[0]) if len(numbers) == 1 else None),
            *(_p(max((ps[at] for ps in found), default=None), 0) for at in range(1 + len(SHOWN))),
        ]
        laid.append((row.other, _row(row.other, row.question, "published", cells)))
    said = (
        "Shares of all votes, the win rate without ties; votes: every number of them that fits. "
        "p at 0: exact two-sided binomial, ties left out, which treats votes as independent; at "
        f"{_listed([str(rho) for rho in SHOWN])}: the same if the votes on one of the {pairs} pairs correlate so much "
        "(design effect). Where several counts fit, the largest p."
    )
    return Table("human", clean(f"{caption} {said}"), columns, _blocks(laid, ours), corner="Question")


# Cells -----------------------------------------------------------------------------------------------------------


def _row(other: str, question: str, kind: RowKind, cells: Sequence[Cell]) -> Row:
    return Row(clean(other), clean(question), kind, tuple(cells))


def _blocks(rows: Sequence[tuple[str, Row]], ours: str) -> tuple[Block, ...]:
    """One for each other method, in order of appearance."""
    others = dict.fromkeys(other for other, _ in rows)
    return tuple(
        Block(clean(f"{ours} against {other}"), tuple(row for of, row in rows if of == other)) for other in others
    )


def _rate(share: float | None, count: int) -> Cell:
    """A share, 0 to 1, in percent."""
    return Cell(DASH, None) if share is None else Cell(f"{100 * share:.{RATE_DIGITS}f}", 100 * share, count)


def _p(p: float | None, count: int) -> Cell:
    if p is None:
        return Cell(DASH, None)
    least = 10.0**-P_DIGITS
    return Cell(f"<{least:.{P_DIGITS}f}" if p < least else f"{p:.{P_DIGITS}f}", p, count)


# Words -----------------------------------------------------------------------------------------------------------


def _caption(preferences: Sequence[Preference]) -> str:
    units = next((row.crossed.units for row in preferences if row.crossed is not None), None)
    if units is not None:
        said = f"Student's t on the mean score (+1, 0, -1), the votes of a {units[0]} and those of a {units[1]} in clusters"
    elif any(row.clustered for row in preferences):
        found = list(dict.fromkeys(f"{one.unit}s" for row in preferences for one in row.clustered))
        said = f"Student's t on mean scores (+1, 0, -1) of {_listed(found)}, the largest"
    else:
        said = ""
    words = [
        "Votes of raters: shares of all votes, and the win rate without ties"
        + (", from and to the ends of its clustered 95 % interval." if said else "."),
        "p of votes: exact two-sided binomial, ties left out, which treats votes as independent.",
        f"p clustered: {said}; claims go by it." if said else "",
        _ALIKE if any(_alike(row) for row in preferences) else "",
        f"Each column of p is adjusted over its {len(preferences)} rows (Holm)." if len(preferences) > 1 else "",
    ]
    return " ".join(word for word in words if word)


def _alike(row: Preference) -> bool:
    """Whether clusters that are all alike leave the row without an interval, or with the p of another test."""
    scores = [row.crossed.score] if row.crossed is not None else [one.score for one in row.clustered]
    return any(one.test != "t" for one in scores) or bool(scores and row.counts.decided and row.interval is None)


def _listed(words: Sequence[str]) -> str:
    """a, b and c."""
    return " and ".join(part for part in (", ".join(words[:-1]), "".join(words[-1:])) if part)
