"""The published numbers: as tables, and held against each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from ..errors import unknown
from .shared import option

if TYPE_CHECKING:
    from ..table import Table

__all__ = ["check_published", "laid_out", "published"]

HUMAN = "human"


@click.command()
@click.argument("which", metavar="[1…5|human]", required=False)
@option("--format", "form", default="text", help="text, markdown, latex, csv or html.")
def published(which: str | None, form: str) -> None:
    """Prints the tables of the ID-LoRA paper, or one of them; `human` is its two studies with people.

    Numbers are as published. Marks are decided anew, at printed digits: `avbench check-published` says where the paper
    has others. Of several tables, csv has a blank line between them and a head for each; html has them on one page.
    """
    from ..report import FORMATS

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    click.echo(laid_out(_tables(which), form))


def laid_out(tables: Sequence[Table], form: str) -> str:
    """Several tables in a format that there is, without the last line end."""
    from ..report import FORMATS
    from ..report.html import page

    texts = [page(tables)] if form == "html" else [FORMATS[form](table) for table in tables]
    return "\n".join(texts).rstrip("\n")


def _tables(which: str | None) -> list[Table]:
    from ..published import paper, preferences_table, ratings_table, table_of, tables

    numbers = [str(layout.number) for layout in paper().head.tables]
    if which is None:
        return [*tables(), preferences_table(), ratings_table()]
    if which == HUMAN:
        return [preferences_table(), ratings_table()]
    if which not in numbers:
        raise unknown("published table", which, [*numbers, HUMAN])
    return [table_of(int(which))]


@click.command("check-published")
@option("--format", "form", type=click.Choice(["text", "json"]), default="text")
def check_published(form: str) -> None:
    """Recomputes marks, win rates, p-values and effect sizes of the ID-LoRA paper; lists where the print disagrees.

    It is a report on the paper, so it ends with 0 whatever it finds.
    """
    from ..published import check
    from ..report.recount import as_json, text

    click.echo({"text": text, "json": as_json}[form](check()).rstrip("\n"))
