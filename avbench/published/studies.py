"""The paper's two studies with people: what it prints of them, as tables.

Only percentages are printed. The counts of votes behind them are integers, and few integers print so: they are found by
trying all, and p-values are theirs.
"""

from __future__ import annotations

from ..table import Block, Cell, Column, Row, Table
from ..table.human import Totals, human_of_totals
from ..votes import Counts, fitting_counts
from .numbers import Paper, Preference, paper

__all__ = ["fitting", "gains", "likely", "preferences_table", "ratings_table"]


def fitting(known: Paper, row: Preference) -> list[Counts]:
    """Every count that prints as this row, of as many votes as the study can have had, fewest votes first."""
    return fitting_counts(
        float(row.preferred_pct),
        float(row.baseline_pct),
        float(row.win_rate_pct),
        low=known.head.preferences.votes_at_least,
        high=known.head.preferences.votes_at_most,
    )


def likely(known: Paper, row: Preference) -> list[Counts]:
    """Of these, the ones within the number of votes that the paper says; all, where none is."""
    fits = fitting(known, row)
    said = [one for one in fits if int(row.annotations_low) <= one.votes <= int(row.annotations_high)]
    return said or fits


def preferences_table() -> Table:
    """The study of preferences (Figure 3): rates as printed, p of the counts that fit them, also where votes correlate."""
    known = paper()
    rows = [
        Totals(
            row.baseline,
            row.question.replace("_", " "),
            float(row.preferred_pct),
            float(row.baseline_pct),
            float(row.win_rate_pct),
            tuple(likely(known, row)),
        )
        for row in known.figure3
    ]
    caption = f"Which of two clips people preferred. Figure 3 as published (arXiv {known.head.arxiv})."
    table = human_of_totals(known.head.name, rows, known.head.preferences.pairs, caption)
    return table._replace(name=f"{known.folder}-preferences")


def ratings_table() -> Table:
    """The study of ratings (appendix D.2), as printed."""
    known = paper()
    head = known.head.ratings
    columns = (
        Column("overall_mos", "MOS", "1–5", "↑", 2),
        Column("bad_rating_pct", "Rated Bad", "%", "↓", 1),
        Column("ratings_per_method", "Ratings", "", "", 0),
    )
    rows = []
    for method in (head.ours, head.other):
        texts = [known.rating(column.scale, method) for column in columns]
        cells = tuple(Cell(text, float(text)) for text in texts)
        rows.append(Row(f"{known.folder}/ratings/{method}", method, "published", cells))
    both = f"{head.ours} vs {head.other}"
    scenarios = ", ".join(f"{name.replace('_', ' ')} {float(gain):+.2f}" for name, gain in gains(known).items())
    caption = (
        f"How well sounds are heard that the prompt asks for. As published (arXiv {known.head.arxiv}, appendix D.2): "
        f"p {known.rating('p_value', both)}, Cohen's d {known.rating('cohens_d', both)}; {head.ours} leads in "
        f"{known.rating('scenarios_won_of_10', head.ours)} of {head.scenarios} scenarios ({scenarios}; the others are "
        "not printed)."
    )
    return Table(f"{known.folder}-ratings", caption, columns, (Block("", tuple(rows)),))


def gains(known: Paper) -> dict[str, str]:
    """Scenario → by how much the paper's method was rated above the other, where that is printed."""
    kind = "mos_difference:"
    return {one.quantity.removeprefix(kind): one.value for one in known.ratings if one.quantity.startswith(kind)}
