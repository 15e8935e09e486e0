"""CSV, wide: one row per method, values at full precision, then how many clips each is the mean of."""

from __future__ import annotations

import csv as standard
import io

from ..table import Table

__all__ = ["csv"]


def csv(table: Table) -> str:
    """method, label, kind, then SCALE…, then SCALE_n…; an empty field where nothing was measured."""
    scales = [column.scale for column in table.columns]
    out = io.StringIO()
    writer = standard.writer(out, lineterminator="\n")
    writer.writerow(["method", "label", "kind", *scales, *(f"{scale}_n" for scale in scales)])
    for block in table.blocks:
        for row in block.rows:
            values = ["" if cell.value is None else repr(cell.value) for cell in row.cells]
            writer.writerow([row.method, row.label, row.kind, *values, *(cell.measured for cell in row.cells)])
    return out.getvalue()
