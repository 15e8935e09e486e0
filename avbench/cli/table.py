"""The table of a split."""

from __future__ import annotations

from pathlib import Path

import click

from ..errors import unknown
from .shared import FILE, option, profile_option, runs_option, say, split_option

__all__ = ["show_table", "table"]


@click.command()
@split_option
@runs_option
@option("--method", "methods", multiple=True, help="Only this method; may be repeated.  [default: all]")
@profile_option
@option("--metric", "metrics", multiple=True, help="Only this scale; may be repeated.  [default: all]")
@option("--format", "form", default="text", help="text, markdown, latex or csv.")
@option("--figure", type=FILE, help="Draws the table as well: a path that ends in .png, .svg or .pdf.")
@option("--figure-width", type=click.Choice(["column", "full"]), default="full", help="3.4 or 7.0 inches.")
def table(
    split: str,
    runs: Path,
    methods: tuple[str, ...],
    profile: str | None,
    metrics: tuple[str, ...],
    form: str,
    figure: Path | None,
    figure_width: str,
) -> None:
    """Prints the table of a split from the score files below RUNS. Needs no clips, media or networks."""
    show_table(runs, split, form, profile, methods, metrics, figure, figure_width)


def show_table(
    runs: Path,
    split: str,
    form: str,
    profile: str | None,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    figure: Path | None = None,
    figure_width: str = "full",
) -> None:
    from ..report import FORMATS, write_figure
    from ..results import load
    from ..table import build

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    results = load(runs, split, profile=profile, methods=methods or None, metrics=metrics or None)
    for notice in results.notices:
        say(f"note: {notice}")
    table = build(results)
    if figure is not None:
        write_figure(figure, results, table, figure_width)
    click.echo(FORMATS[form](table).rstrip("\n"))
    if figure is not None:
        say(f"wrote {figure}")
