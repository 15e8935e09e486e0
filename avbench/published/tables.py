"""The paper's tables in our types, marks decided anew, and its rows beside a table of ours.

Conventions
- Texts are as printed. Best and second are recomputed on them: dense ranks, ties share; second only where that
  table underlines at all.
- A published row never ranks beside one of ours: other clips, other people, code that was not released.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..errors import UsageError
from ..table import BLANK, Block, Cell, Column, Mark, Row, Table, ranked
from ..table.model import ARROWS
from .numbers import Layout, Number, Paper, paper

__all__ = ["beside", "decided", "table_of", "tables", "tables_of"]


def tables() -> list[Table]:
    """All tables of the paper, in its order."""
    return [table_of(layout.number) for layout in paper().head.tables]


def table_of(number: int) -> Table:
    """One table of the paper, in the paper's form. UsageError where it has none of that number."""
    return _table(paper(), paper().layout(number), [])


def tables_of(split: str, form: str | None = None) -> list[Table]:
    """What the paper's tables (of one form) say of one split; empty where they say nothing."""
    return [
        _table(paper(), layout, [split])
        for layout in paper().head.tables
        if form in (None, layout.form) and any(number.split == split for number in paper().numbers[layout.number])
    ]


def beside(table: Table, split: str, form: str = "main") -> Table:
    """`table` with the paper's rows of that split and form in blocks of their own, without marks, under its columns.

    UsageError where the paper has nothing for that split and form, or under any of its columns.
    """
    known = paper()
    of_form = [
        layout
        for layout in known.head.tables
        if layout.form == form and any(number.split == split for number in known.numbers[layout.number])
    ]
    blocks = [_aligned(table, known, layout, split) for layout in of_form]
    if not blocks:
        raise UsageError(
            f"--published: the paper has no such table of split {split!r}; expected one of "
            f"{', '.join(known.head.splits)}. Leave it out, or see all with `avbench published`."
        )
    rows = [row for block in blocks for row in block.rows]
    if not any(cell.text for row in rows for cell in row.cells):
        raise UsageError(
            f"--published: for split {split!r} and the form {form} the paper has none of the scales "
            f"{', '.join(column.scale for column in table.columns)}; it has {', '.join(_metrics(known, of_form, split))}. "
            "Take these with --profile authors, or leave --published out."
        )
    return table._replace(blocks=(*table.blocks, *blocks))


def decided(known: Paper, layout: Layout, split: str, metric: str) -> dict[str, Mark]:
    """Row → its mark, recomputed; rows without one are left out."""
    direction = known.head.metrics[metric].direction
    found = ranked({one.row: one.text for one in known.column(layout.number, split, metric)}, direction)
    return {row: mark for row, mark in found.items() if layout.seconds or mark == "best"}


# Laid out --------------------------------------------------------------------------------------------------------


def _table(known: Paper, layout: Layout, splits: Sequence[str]) -> Table:
    """The table, or what it says of some splits."""
    numbers = [one for one in known.numbers[layout.number] if not splits or one.split in splits]
    of = list(dict.fromkeys(one.split for one in numbers))
    metrics = list(dict.fromkeys(one.metric for one in numbers))
    side_by_side = layout.layout == "columns" and len(of) > 1
    marks = {(split, metric): decided(known, layout, split, metric) for split in of for metric in metrics}
    cells = {
        (one.split, one.metric, one.row): _cell(one, marks[one.split, one.metric].get(one.row, "")) for one in numbers
    }
    grid = [(split, metric) for split in of for metric in metrics] if side_by_side else [("", one) for one in metrics]
    blocks = []
    for split in [""] if side_by_side else of:
        inside = dict.fromkeys(one.row for one in numbers if side_by_side or one.split == split)
        rows = (
            _row(known, layout, split, row, (cells.get((split or own, metric, row), BLANK) for own, metric in grid))
            for row in inside
        )
        blocks.append(Block(known.head.splits[split].label if split else "", tuple(rows)))
    return Table(
        name="-".join([f"{known.folder}-table{layout.number}", *splits]),
        caption=_caption(known, layout, metrics),
        columns=tuple(_column(known, metric, split) for split, metric in grid),
        blocks=tuple(blocks),
        corner=layout.row,
    )


def _metrics(known: Paper, layouts: Sequence[Layout], split: str) -> list[str]:
    """What some tables have of a split."""
    numbers = [number for layout in layouts for number in known.numbers[layout.number]]
    return list(dict.fromkeys(number.metric for number in numbers if number.split == split))


def _aligned(table: Table, known: Paper, layout: Layout, split: str) -> Block:
    """The rows of a split under somebody else's columns; with their own word for what they are, where ours is another."""
    numbers = [one for one in known.numbers[layout.number] if one.split == split]
    cells = {(one.row, one.metric): _cell(one, "") for one in numbers}
    rows = (
        _row(known, layout, split, row, (cells.get((row, column.scale), BLANK) for column in table.columns))
        for row in dict.fromkeys(one.row for one in numbers)
    )
    if layout.row != table.corner:
        rows = (row._replace(label=f"{layout.row} {row.label}".lstrip()) for row in rows)
    return Block(
        f"{known.head.name}, Table {layout.number}",
        tuple(rows),
        note=f"as published (arXiv {known.head.arxiv}), other items, not comparable",
    )


def _row(known: Paper, layout: Layout, split: str, row: str, cells: Iterable[Cell]) -> Row:
    """`method` is where the numbers stand, so that a CSV file says it and no method of ours has the same name."""
    origin = "/".join(part for part in (known.folder, f"table{layout.number}", split, row) if part)
    return Row(origin, f"{row} (default)" if row == layout.default else row, "published", tuple(cells))


def _cell(number: Number, mark: Mark) -> Cell:
    return Cell(text=number.text, value=float(number.value), mark=mark)


def _column(known: Paper, metric: str, split: str) -> Column:
    """`split` where a column is of one of several splits."""
    head = known.head.metrics[metric]
    label = f"{known.head.splits[split].short} {head.short or head.label}" if split else head.label
    scale = f"{split}/{metric}" if split else metric
    return Column(scale, label, head.unit, ARROWS[head.direction], head.digits)


def _caption(known: Paper, layout: Layout, metrics: Sequence[str]) -> str:
    directions = {known.head.metrics[metric].direction for metric in metrics}
    better = {
        frozenset({"higher"}): "Higher (↑) is better.",
        frozenset({"lower"}): "Lower (↓) is better.",
    }.get(frozenset(directions), "Higher (↑) or lower (↓) is better.")
    return " ".join(
        words
        for words in (
            f"{layout.title}.",
            f"Table {layout.number} as published (arXiv {known.head.arxiv}): other items, not comparable with numbers "
            "of avbench.",
            better,
            f"Best {'and second are' if layout.seconds else 'is'} marked anew, at printed digits; ties share.",
            layout.note,
        )
        if words
    )
