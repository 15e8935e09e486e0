"""What is a table? Rows, cells and the words around them, as every format lays them out.

Conventions
- All decisions are made: texts are at printed digits, marks and stars are set, blocks and rows are in order.
- Words are free of control characters; nothing else is escaped.
- A published number has no coverage (measured, failed and missing are 0) and its row is of the kind `published`.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from ..run import Kind

__all__ = ["ARROWS", "BLANK", "DASH", "Block", "Cell", "Column", "Mark", "Row", "RowKind", "Table"]

ARROWS = {"higher": "↑", "lower": "↓", "none": ""}
DASH = "–"  # nothing was measured

Mark = Literal["", "second", "best"]
RowKind = Literal[Kind, "published"]


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
    """One number, a dash, or nothing. `measured`, `failed` and `missing` add up to the pairs that it is of."""

    text: str  # at printed digits
    value: float | None  # at full precision; None where there is no number
    measured: int = 0
    failed: int = 0
    missing: int = 0
    mark: Mark = ""
    stars: str = ""  # *, ** or ***: differs from the baseline

    @property
    def coverage(self) -> str:
        """`14/16`; empty where every pair was measured."""
        gaps = self.failed + self.missing
        return f"{self.measured}/{self.measured + gaps}" if gaps else ""


BLANK = Cell("", None)  # where a table has no such scale


class Row(NamedTuple):
    """One method."""

    method: str
    label: str
    kind: RowKind
    cells: tuple[Cell, ...]


class Block(NamedTuple):
    """Rows under a heading of their own, which may be empty; `note` stands small below the heading."""

    heading: str
    rows: tuple[Row, ...]
    note: str = ""


class Table(NamedTuple):
    """All that a format lays out."""

    name: str  # the split's, and the form where it is not the main one: no two tables of a paper share it
    caption: str
    columns: tuple[Column, ...]
    blocks: tuple[Block, ...]
    gaps: tuple[str, ...] = ()  # for each method with gaps, how many clips failed and how many scores are missing
    signatures: tuple[str, ...] = ()  # one for each column, or none at all
    corner: str = ""  # heading of the labels
