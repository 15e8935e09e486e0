"""For a terminal: aligned columns, headings above them in few lines, coverage beside the number it belongs to."""

from __future__ import annotations

from ..table import Block, Cell, Column, Table
from .columns import balanced, pad, width, wrapped

__all__ = ["text"]

MARKS = {"best": "¹", "second": "²", "": " "}
PAGE = 100  # columns that words are broken to; a table of many scales is as wide as it must be
GUTTER = "  "


def text(table: Table) -> str:
    """Caption, table, gaps and signatures; ¹ is best and ² second."""
    rows = [row for block in table.blocks for row in block.rows]
    labels = [f"{_indent(block)}{row.label}" for block in table.blocks for row in block.rows]
    first = max([width(table.corner), *map(width, labels)])  # headings of blocks may run over the numbers
    cells = [_aligned([row.cells[number] for row in rows]) for number in range(len(table.columns))]
    units = any(column.unit for column in table.columns)
    heads = [
        _heading(column, max(map(width, under), default=0), units)
        for column, under in zip(table.columns, cells, strict=True)
    ]
    widths = [max(map(width, head + column)) for head, column in zip(heads, cells, strict=True)]
    across = first + sum(len(GUTTER) + columns for columns in widths)
    rule = "─" * across
    high = max(map(len, heads), default=0)
    lines = [*wrapped(table.caption, PAGE), ""]
    for number in range(high):
        at = [head[number - high + len(head)] if number >= high - len(head) else "" for head in heads]
        lines.append(_line(table.corner if number == high - 1 else "", first, at, widths))
    row_number = 0
    for block in table.blocks:
        lines += [rule, *([block.heading] if block.heading else [])]
        lines += [f"{_indent(block)}{line}" for line in wrapped(block.note, max(PAGE, across)) if block.note]
        for _ in block.rows:
            lines.append(_line(labels[row_number], first, [column[row_number] for column in cells], widths))
            row_number += 1
    lines.append(rule)
    if table.gaps:
        lines += ["", *(line for gap in table.gaps for line in _hanging(gap))]
    if table.signatures:
        lines += ["", *table.signatures]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def _indent(block: Block) -> str:
    return GUTTER if block.heading else ""


def _heading(column: Column, least: int, units: bool) -> list[str]:
    """The label in at most two lines, its unit below where any has one; they may be as wide as the numbers are."""
    lines = balanced(column.heading, 2, least)
    lines += balanced(column.unit, 2, least) if units else []
    return [line.replace("\N{NO-BREAK SPACE}", " ") for line in lines]


def _aligned(cells: list[Cell]) -> list[str]:
    """Numbers under each other, with room for a mark and stars where one of the column has some, then coverage."""
    marked = any(cell.mark for cell in cells)
    starred = max((len(cell.stars) for cell in cells), default=0)
    numbers = [f"{cell.text}{MARKS[cell.mark] if marked else ''}{cell.stars:<{starred}}" for cell in cells]
    coverages = [f" {cell.coverage}" if cell.coverage else "" for cell in cells]
    wide, far = max(map(width, numbers), default=0), max(map(width, coverages), default=0)
    return [
        pad(number, wide, right=True) + pad(coverage, far, right=bool(coverage))
        for number, coverage in zip(numbers, coverages, strict=True)
    ]


def _line(label: str, first: int, cells: list[str], widths: list[int]) -> str:
    padded = [pad(cell, columns, right=True) for cell, columns in zip(cells, widths, strict=True)]
    return GUTTER.join([pad(label, first), *padded])


def _hanging(line: str) -> list[str]:
    start, *rest = wrapped(line, PAGE - 2)
    return [start, *(f"  {continued}" for continued in rest)]
