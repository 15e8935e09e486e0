"""GitHub's Markdown: bold and underlined marks, coverage in brackets, signatures folded away below."""

from __future__ import annotations

import re

from ..table import Cell, Table

__all__ = ["escape", "markdown"]

SPECIAL = re.compile(r"[\\`*_\[\]<>#|~$&]")  # means something anywhere
FIRST = re.compile(r"^(\d*)([-+=.)])")  # makes a list or a heading of a line that it begins


def markdown(table: Table) -> str:
    """One table; a block begins with its heading in bold, and its note in italics, in rows of their own."""
    columns = table.columns
    empty = ["" for _ in columns]
    head = [escape(table.corner), *(escape(f"{column.label} {column.arrow}".rstrip()) for column in columns)]
    lines = [escape(table.caption), "", _line(head), _line(["---", *("---:" for _ in columns)])]
    if any(column.unit for column in columns):
        lines.append(_line(["", *(escape(column.unit) for column in columns)]))
    for block in table.blocks:
        lines += [_line([f"**{escape(block.heading)}**", *empty])] if block.heading else []
        lines += [_line([f"*{escape(block.note)}*", *empty])] if block.note else []
        lines += [_line([escape(row.label), *map(_cell, row.cells)]) for row in block.rows]
    if table.gaps:
        lines += ["", *(f"- {escape(line)}" for line in table.gaps)]
    if table.signatures:
        lines += ["", "<details><summary>Signatures</summary>", ""]
        lines += ["```text", *table.signatures, "```", "", "</details>"]
    return "\n".join(lines) + "\n"


def escape(text: str) -> str:
    """`text` as Markdown that shows it as it is, also within a table."""
    return FIRST.sub(r"\1\\\2", SPECIAL.sub(r"\\\g<0>", text))


def _cell(cell: Cell) -> str:
    number, stars = (SPECIAL.sub(r"\\\g<0>", text) for text in (cell.text, cell.stars))
    starred = {"best": f"**{number}**", "second": f"<ins>{number}</ins>", "": number}[cell.mark] + stars
    return f"{starred} ({cell.coverage})" if cell.coverage else starred


def _line(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"
