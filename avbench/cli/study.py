"""Human studies: votes, ratings, and totals that somebody printed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError, unknown
from .shared import FILE, option, say

if TYPE_CHECKING:
    from ..votes import Preference

__all__ = ["counted", "study"]

EXIT_FAILED = 1

votes_file = click.argument("file", type=click.Path(path_type=Path, exists=True, dir_okay=False))
ours_option = option("--ours", help="Which method is ours.  [default: the file's]")
figure_option = option("--figure", type=FILE, help="Draws it as well: a path that ends in .png, .svg or .pdf.")


@click.group()
def study() -> None:
    """Arithmetic of human studies: preference votes, opinion scores, and published totals."""


@study.command()
@votes_file
@ours_option
@option("--split", help="Tells the speaker of each pair, where the file has no such column.")
@option("--format", "form", default="text", help="text, json, markdown, latex, csv or html.")
@figure_option
def votes(file: Path, ours: str | None, split: str | None, form: str, figure: Path | None) -> None:
    """Win, tie and loss of each question, with tests by vote, pair, rater and speaker.

    FILE: .csv or .jsonl with rater, pair, speaker, question, ours, other and vote (ours, other or tie).
    """
    from ..report import FORMATS
    from ..report.opinions import preferences_json, preferences_text, write_rates
    from ..table.human import human

    if form != "json" and form not in FORMATS:
        raise unknown("format", form, ["json", *FORMATS])
    preferences, source = counted(file, ours, split)
    if figure is not None:
        write_rates(figure, preferences)
    if form == "json":
        click.echo(preferences_json(preferences).rstrip("\n"))
    else:
        click.echo(FORMATS[form](human(preferences, source)).rstrip("\n"))
    if form == "text":
        click.echo(f"\n{preferences_text(preferences)}".rstrip("\n"))
    if figure is not None:
        say(f"wrote {figure}")


@study.command()
@votes_file
@ours_option
@option("--bad", default=1, help="Ratings up to this count as Bad.")
@option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
@figure_option
def mos(file: Path, ours: str | None, bad: int, form: str, figure: Path | None) -> None:
    """Mean opinion scores with intervals, in all scenarios and in each, and their contrasts.

    FILE: .csv or .jsonl with rater, pair, method and rating (1 to 5), and speaker and scenario where there are any.
    """
    from ..report.opinions import opinions_json, opinions_text, write_means
    from ..votes import load_ratings, opinions

    found = opinions(load_ratings(file), ours, limit=bad)
    if figure is not None:
        write_means(figure, found)
    click.echo((opinions_json if form == "json" else opinions_text)(found).rstrip("\n"))
    if figure is not None:
        say(f"wrote {figure}")


@study.command()
@option("--ours", type=float, required=True, help="Printed share of votes for ours, in percent.")
@option("--other", type=float, required=True, help="Printed share of votes for the other, in percent.")
@option("--win-rate", type=float, help="Printed win rate, in percent.")
@option("--from", "low", default=270, help="Fewest votes.")
@option("--to", "high", default=315, help="Most votes.")
@option("--digits", default=1, help="Printed digits after the point.")
@option("--pairs", default=35, help="How many pairs the votes are spread over.")
@option("--votes-per-pair", type=float, help="Instead of votes over pairs.")
@option("--format", "form", type=click.Choice(["text", "json"]), default="text", help="How to print it.")
def totals(
    ours: float,
    other: float,
    win_rate: float | None,
    low: int,
    high: int,
    digits: int,
    pairs: int,
    votes_per_pair: float | None,
    form: str,
) -> None:
    """Every count of votes that prints as these percentages, and what its p is worth if votes on a pair correlate.

    Ends with 1 where no count fits: then the printed numbers contradict each other.
    """
    from ..report.opinions import totals_json, totals_text
    from ..votes import fitting_counts, sensitivity

    if pairs < 1:
        raise UsageError(f"{pairs} pairs; expected one at least.")
    fits = fitting_counts(ours, other, win_rate, low=low, high=high, digits=digits)
    found = [
        (fit, sensitivity(*fit, max(1.0, fit.votes / pairs) if votes_per_pair is None else votes_per_pair))
        for fit in fits
    ]
    click.echo((totals_json if form == "json" else totals_text)(found).rstrip("\n"))
    if not fits:
        raise SystemExit(EXIT_FAILED)


def counted(file: Path, ours: str | None, split: str | None) -> tuple[tuple[Preference, ...], str]:
    """A file of votes, counted, and its name with its digest. A split says who speaks where the file does not."""
    from ..home import sha256
    from ..split import load_split
    from ..votes import load_votes, oriented, tally

    speakers = None if split is None else {pair.id: pair.speaker for pair in load_split(split).pairs}
    every = load_votes(file, speakers)
    kept = oriented(every, ours)
    if len(kept) < len(every):
        say(f"note: {len(every) - len(kept)} of {len(every)} votes are not about {kept[0].ours} and are left out.")
    return tally(kept), f"{file.name}@{sha256(file)[:12]}"
