"""CSV, wide: one row per method, values at full precision, then how many clips of the split were measured.

Several tables have different columns: where a command prints more than one, a blank line stands between them, and each
begins with a head of its own.
"""

from __future__ import annotations

import csv as standard
import io

from ..table import Cell, Table

__all__ = ["csv"]


def csv(table: Table) -> str:
    """method, label, kind, then SCALE…, then SCALE_n…; an empty field where nothing was measured.

    A published number is as printed, without coverage, and the block that says whose it is comes after the kind. What
    was computed of published numbers, such as a p, is at full precision.
    """
    scales = [column.scale for column in table.columns]
    published = any(row.kind == "published" for block in table.blocks for row in block.rows)
    out = io.StringIO()
    writer = standard.writer(out, lineterminator="\n")
    head = ["method", "label", "kind", *(["block"] if published else [])]
    writer.writerow([*head, *scales, *(f"{scale}_n" for scale in scales)])
    for block in table.blocks:
        for row in block.rows:
            whose = [block.heading] if published else []
            values = map(_printed if row.kind == "published" else _exact, row.cells)
            counts = ["" if row.kind == "published" else cell.measured for cell in row.cells]
            writer.writerow([row.method, row.label, row.kind, *whose, *values, *counts])
    return out.getvalue()


def _exact(cell: Cell) -> str:
    return "" if cell.value is None else repr(cell.value)


def _printed(cell: Cell) -> str:
    """The text where it is the number; `<0.001` and what was rounded for the eye are not."""
    if cell.value is None:
        return ""
    try:
        return cell.text if float(cell.text) == cell.value else repr(cell.value)
    except ValueError:
        return repr(cell.value)
