"""What does a table say? Rows, cells, marks and the words around them, decided once for every format.

Conventions
- A cell is the scale's aggregate over measured clips at the scale's digits. Where a clip of the split was not
  measured, the coverage stands beside the number; where none was, the cell is a dash and its coverage 0.
- Best and second are decided on the numbers as printed: dense ranks, ties share. Controls, untrained and limited
  methods are not ranked. Neither is a cell with a gap that not every ranked method has: leaving out the clips that
  defeat a metric must never pay.
- A signature for each column says how its numbers were made; numbers with different signatures do not compare.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Literal, NamedTuple

from ..home import package_version
from ..metric import Scale
from ..results import Entry, Results, Scores, aggregate
from ..run import Kind

__all__ = ["DASH", "Block", "Cell", "Column", "Mark", "Row", "Table", "build", "marks"]

DASH = "–"  # nothing was measured
ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
STEERING = ("Cc", "Cf", "Cs")  # control, format (direction overrides) and half characters
JOINERS = "\u200c\u200d"  # invisible, and part of how some scripts and emoji are written

Mark = Literal["", "second", "best"]


class Column(NamedTuple):
    """One scale."""

    scale: str
    label: str
    unit: str
    arrow: str  # ↑ higher is better, ↓ lower is better, or empty
    digits: int

    @property
    def heading(self) -> str:
        """The label with its arrow, which no line break parts from the last word."""
        return f"{self.label}\N{NO-BREAK SPACE}{self.arrow}" if self.arrow else self.label


class Cell(NamedTuple):
    """One number, or a dash. `measured`, `failed` and `missing` add up to the pairs of the split."""

    text: str  # at printed digits
    value: float | None  # at full precision; None exactly where `measured` is 0
    measured: int
    failed: int
    missing: int
    mark: Mark

    @property
    def coverage(self) -> str:
        """`14/16`; empty where every pair was measured."""
        gaps = self.failed + self.missing
        return f"{self.measured}/{self.measured + gaps}" if gaps else ""


class Row(NamedTuple):
    """One method."""

    method: str
    label: str
    kind: Kind
    cells: tuple[Cell, ...]


class Block(NamedTuple):
    """Rows under a heading of their own."""

    heading: str
    rows: tuple[Row, ...]


class Table(NamedTuple):
    """All that a format lays out. Words are free of control characters; nothing else is escaped."""

    name: str  # the split's
    caption: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    gaps: tuple[str, ...]  # for each method with gaps, how many clips failed and how many scores are missing
    signatures: tuple[str, ...]  # one for each column


def build(results: Results) -> Table:
    """The table of results: methods, then controls."""
    marked = {scale.name: marks(results, scale) for scale in results.scales}
    labels = _labels(results.methods)
    rows = []
    for entry in results.methods:
        cells = [
            _cell(results, scale, results.scores[entry.method, scale.name], marked[scale.name].get(entry.method, ""))
            for scale in results.scales
        ]
        rows.append(Row(_clean(entry.method), labels[entry.method], entry.kind, tuple(cells)))
    columns = tuple(
        Column(_clean(scale.name), _clean(scale.label), _clean(scale.unit), ARROWS[scale.direction], scale.digits)
        for scale in results.scales
    )
    blocks = [
        Block("Methods", tuple(row for row in rows if row.kind != "control")),
        Block("Controls", tuple(row for row in rows if row.kind == "control")),
    ]
    gaps = tuple(line for row in rows if (line := _gaps(row, columns)))
    return Table(
        name=_clean(results.split.rpartition("@")[0]),
        caption=_clean(_caption(results, bool(gaps), any(marked.values()))),
        columns=columns,
        blocks=tuple(block for block in blocks if block.rows),
        gaps=gaps,
        signatures=tuple(_clean(_signature(results, scale)) for scale in results.scales),
    )


def marks(results: Results, scale: Scale) -> dict[str, Mark]:
    """Method → best or second on that scale; empty where fewer than two methods compete or the split ranks nothing."""
    rivals = {
        entry.method: results.scores[entry.method, scale.name]
        for entry in results.methods
        if entry.competes and results.scores[entry.method, scale.name].rows
    }
    if not results.ranks or scale.direction == "none" or len(rivals) < 2:
        return {}
    # A clip that defeats the metric for everybody (say, a target without a face) is nobody's fault.
    excused = set.intersection(*({int(pair) for pair in scores.failed} for scores in rivals.values()))
    printed = {
        method: Decimal(_text(scale, scores))
        for method, scores in rivals.items()
        if len(scores.measured) and len(scores.measured) + len(excused) == len(results.pairs)
    }
    ranking = sorted(set(printed.values()), reverse=scale.direction == "higher")
    names: dict[Decimal, Mark] = dict(zip(ranking, ("best", "second"), strict=False))
    return {method: names[value] for method, value in printed.items() if value in names}


# Cells -----------------------------------------------------------------------------------------------------------


def _cell(results: Results, scale: Scale, scores: Scores, mark: Mark) -> Cell:
    measured, failed = len(scores.measured), len(scores.failed)
    return Cell(
        text=_text(scale, scores) if measured else DASH,
        value=aggregate(scale, scores) if measured else None,
        measured=measured,
        failed=failed,
        missing=len(results.pairs) - measured - failed,
        mark=mark,
    )


def _text(scale: Scale, scores: Scores) -> str:
    text = f"{aggregate(scale, scores):.{scale.digits}f}"
    return text.removeprefix("-") if Decimal(text) == 0 else text  # never -0.000


# Words -----------------------------------------------------------------------------------------------------------


def _labels(entries: Sequence[Entry]) -> dict[str, str]:
    """What each row is called: with the method's name where two have the same label, and with what weakens its numbers."""
    labels = [_clean(entry.label) or _clean(entry.method) for entry in entries]
    shown = {}
    for entry, label in zip(entries, labels, strict=True):
        remarks = [_clean(entry.method)] if labels.count(label) > 1 else []
        remarks += ["untrained"] if entry.untrained else []
        remarks += [f"first {entry.limited} pairs"] if entry.limited else []
        shown[entry.method] = f"{label} ({', '.join(remarks)})" if remarks else label
    return shown


def _gaps(row: Row, columns: Sequence[Column]) -> str:
    parts = []
    for cell, column in zip(row.cells, columns, strict=True):
        counts = [f"{cell.failed} failed"] if cell.failed else []
        counts += [f"{cell.missing} not scored"] if cell.missing else []
        if counts:
            parts.append(f"{column.scale} {' and '.join(counts)}")
    return f"{row.label}: {', '.join(parts)}" if parts else ""


def _caption(results: Results, gaps: bool, marked: bool) -> str:
    pairs, speakers = len(results.pairs), len(results.speakers)
    directions = {scale.direction for scale in results.scales}
    words = [
        f"{results.title.rstrip('.')}.",
        f"Split {results.split}: {pairs} pair{'s' * (pairs != 1)}, {speakers} speaker{'s' * (speakers != 1)}.",
        f"Profile {results.profile}; each number is the mean over measured clips{_corpora(results)}"
        + (f" (n/{pairs} beside it where fewer than {pairs})." if gaps else "."),
        "Higher (↑) is better." if directions >= {"higher"} and "lower" not in directions else "",
        "Lower (↓) is better." if directions >= {"lower"} and "higher" not in directions else "",
        "Higher (↑) or lower (↓) is better." if directions >= {"higher", "lower"} else "",
        "Best and second are marked, at printed digits, among methods without gaps of their own." if marked else "",
        results.note,
    ]
    return " ".join(word for word in words if word)


def _corpora(results: Results) -> str:
    """Which scales are not means of clips."""
    names = [scale.label for scale in results.scales if scale.aggregate == "corpus"]
    return f", of {' and '.join(names)} over their words" if names else ""


def _signature(results: Results, scale: Scale) -> str:
    fields = {
        "v": package_version(),
        "split": results.split,
        "profile": results.profile,
        "scale": scale.name,
        "agg": scale.aggregate,
        "n": len(results.pairs),
        "rev": scale.revision,
    }
    return "|".join(["avbench", *(f"{name}:{value}" for name, value in fields.items())])


def _clean(text: str) -> str:
    """One line without characters that could steer a terminal or a typesetter; those become U+FFFD."""
    visible = (
        "\ufffd" if unicodedata.category(char) in STEERING and char not in JOINERS and not char.isspace() else char
        for char in text
    )
    return " ".join("".join(visible).split())
