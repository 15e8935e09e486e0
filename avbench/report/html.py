"""One HTML page that needs nothing from elsewhere: no scripts, no fonts, no pictures; for light and dark screens.

Marks are bold and underlined, coverage stands small beside its number, signatures are folded away. Numbers of one
column stand under each other: what follows a number hangs out to its right.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from ..table import Block, Cell, Column, Table

__all__ = ["html", "page"]

STYLE = """\
:root { color-scheme: light dark; --ink: #1b1b1b; --quiet: #5c5c5c; --line: #b8b8b8; --faint: #e6e6e6; --paper: #ffffff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #ececec; --quiet: #a8a8a8; --line: #6a6a6a; --faint: #333333; --paper: #161616; }
}
body { margin: 2rem auto; padding: 0 1.25rem; max-width: 76rem; background: var(--paper); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; border-top: 2px solid var(--ink); border-bottom: 2px solid var(--ink);
  font-variant-numeric: tabular-nums; }
section { margin-bottom: 3rem; }
p { max-width: 48rem; }
th, td { padding: 0.22rem 0 0.22rem 1.4rem; text-align: right; white-space: nowrap; font-weight: normal; }
th.corner, th.row, .block th { text-align: left; padding-left: 0; }
thead th { vertical-align: bottom; white-space: normal; font-weight: 600; }
.unit, .note, .gaps { color: var(--quiet); font-size: 0.85em; font-weight: normal; }
.unit { display: block; }
tbody { border-top: 1px solid var(--line); }
tbody tr:hover { background: var(--faint); }
.block th { color: var(--quiet); font-style: italic; white-space: normal; }
.block .note { display: block; font-style: normal; }
th.inner { padding-left: 0.8rem; }
b { font-weight: 700; }
u { text-underline-offset: 0.2em; }
.beside { display: inline-block; text-align: left; }
.coverage { color: var(--quiet); font-size: 0.75em; padding-left: 0.3em; }
details { margin-top: 1.2rem; color: var(--quiet); }
code { font-size: 0.8em; overflow-wrap: anywhere; }
"""


def html(table: Table) -> str:
    """A page with caption, table, gaps and signatures."""
    return page([table])


def page(tables: Sequence[Table]) -> str:
    """A page of several."""
    names = ", ".join(dict.fromkeys(table.name for table in tables))
    lines = [
        "<!DOCTYPE html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>avbench: {escape(names)}</title>",
        f"<style>\n{STYLE}</style>",
        "</head>",
        "<body>",
        *(line for table in tables for line in _lines(table)),
        "</body>",
        "</html>",
    ]
    return "\n".join(lines) + "\n"


def _lines(table: Table) -> list[str]:
    rows = [row for block in table.blocks for row in block.rows]
    rooms = [_room([row.cells[number] for row in rows]) for number in range(len(table.columns))]
    lines = [
        "<section>",
        f"<p>{escape(table.caption)}</p>",
        '<div class="wide">',
        "<table>",
        "<thead>",
        f'<tr><th class="corner" scope="col">{escape(table.corner)}</th>{"".join(map(_heading, table.columns))}</tr>',
        "</thead>",
    ]
    for block in table.blocks:
        lines += ["<tbody>", *_title(block, 1 + len(table.columns))]
        for row in block.rows:
            kind = "row inner" if block.heading else "row"
            cells = "".join(map(_cell, row.cells, rooms))
            lines.append(f'<tr><th class="{kind}" scope="row">{escape(row.label)}</th>{cells}</tr>')
        lines.append("</tbody>")
    lines += ["</table>", "</div>"]
    if table.gaps:
        lines += ['<ul class="gaps">', *(f"<li>{escape(line)}</li>" for line in table.gaps), "</ul>"]
    if table.signatures:
        lines += ["<details>", "<summary>Signatures</summary>", "<ul>"]
        lines += [f"<li><code>{escape(signature)}</code></li>" for signature in table.signatures]
        lines += ["</ul>", "</details>"]
    return [*lines, "</section>"]


def _heading(column: Column) -> str:
    unit = f' <span class="unit">{escape(column.unit)}</span>' if column.unit else ""
    return f'<th scope="col">{escape(column.heading)}{unit}</th>'


def _title(block: Block, columns: int) -> list[str]:
    if not block.heading and not block.note:
        return []
    note = f' <span class="note">{escape(block.note)}</span>' if block.note else ""
    return [f'<tr class="block"><th scope="rowgroup" colspan="{columns}">{escape(block.heading)}{note}</th></tr>']


def _room(cells: list[Cell]) -> float:
    """What stars and coverage of a column take at most, in letters of a number."""
    return max(
        (len(cell.stars) * 0.9 + (0.5 + len(cell.coverage) * 0.8) * bool(cell.coverage) for cell in cells), default=0
    )


def _cell(cell: Cell, room: float) -> str:
    number = escape(cell.text)
    marked = {"best": f"<b>{number}</b>", "second": f"<u>{number}</u>", "": number}[cell.mark]
    if not room:
        return f"<td>{marked}</td>"
    coverage = f'<span class="coverage">{cell.coverage}</span>' if cell.coverage else ""
    return (
        f'<td>{marked}<span class="beside" style="min-width: {room:.1f}ch">{escape(cell.stars)}{coverage}</span></td>'
    )
