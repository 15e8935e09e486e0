"""GitHub's Markdown: bold and underlined marks, coverage in brackets, signatures folded away below."""

from __future__ import annotations

import re

from ..table import Cell, Table

__all__ = ["escape", "markdown"]

SPECIAL = re.compile(r"[\\`*_\[\]<>#|~$&]")  # means something anywhere
FIRST = re.compile(r"^(\d*)([-+=.)])")  # makes a list or a heading of a line that it begins


def markdown(table: Table) -> str:
    """One table; a block begins with its heading in bold in a row of its own."""
    columns = table.columns
    head = ["", *(escape(f"{column.label} {column.arrow}".rstrip()) for column in columns)]
    units = ["", *(escape(column.unit) for column in columns)]
    lines = [escape(table.caption), "", _line(head), _line(["---", *("---:" for _ in columns)]), _line(units)]
    for block in table.blocks:
        lines.append(_line([f"**{escape(block.heading)}**", *("" for _ in columns)]))
        lines += [_line([escape(row.label), *map(_cell, row.cells)]) for row in block.rows]
    if table.gaps:
        lines += ["", *(f"- {escape(line)}" for line in table.gaps)]
    lines += ["", "<details><summary>Signatures</summary>", "", "```text", *table.signatures, "```", "", "</details>"]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """`text` as Markdown that shows it as it is, also within a table."""
    return FIRST.sub(r"\1\\\2", SPECIAL.sub(r"\\\g<0>", text))


def _cell(cell: Cell) -> str:
    marked = {"best": f"**{cell.text}**", "second": f"<ins>{cell.text}</ins>", "": cell.text}[cell.mark]
    return f"{marked} ({cell.coverage})" if cell.coverage else marked


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
