"""Comparisons of methods, and what a number of pairs can tell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError, unknown
from .shared import FILE, found_as, option, profile_option, runs_option, say, split_option

if TYPE_CHECKING:
    from ..compare import Adjust

__all__ = ["compare", "power"]


@click.command()
@click.argument("baseline", metavar="BASELINE")
@click.argument("others", metavar="METHOD...", nargs=-1, required=True)
@split_option
@runs_option
@profile_option
@option("--metric", "metrics", multiple=True, help="Only this scale; may be repeated.  [default: all]")
@option("--alpha", type=float, default=0.05, help="A claim needs an adjusted p below it.")
@option("--confidence", type=float, default=0.95, help="Of the intervals.")
@option(
    "--adjust",
    type=click.Choice(["holm", "bh", "none"]),
    default="holm",
    help="For several methods, within a scale: Holm, Benjamini-Hochberg or nothing.",
)
@option(
    "--test",
    type=click.Choice(["t", "binomial", "wilcoxon", "permutation", "bootstrap"]),
    default="t",
    help="Shown beside t in a column of its own; claims stay with t.",
)
@option("--format", "form", default="text", help="text, json or latex.")
@option("--figure", type=FILE, help="Draws a forest plot as well: a path that ends in .png, .svg or .pdf.")
@option("--figure-width", type=click.Choice(["column", "full"]), default="full", help="3.4 or 7.0 inches.")
def compare(
    baseline: str,
    others: Sequence[str],
    split: str,
    runs: Path,
    profile: str | None,
    metrics: tuple[str, ...],
    alpha: float,
    confidence: float,
    adjust: Adjust,
    test: str,
    form: str,
    figure: Path | None,
    figure_width: str,
) -> None:
    """Says what may be claimed of each METHOD against BASELINE, from the score files below RUNS.

    Methods are folder names. Every pair of the split must be scored for all of them.
    """
    from ..compare import compare
    from ..report.comparison import COMPARISON_FORMATS
    from ..results import load

    if form not in COMPARISON_FORMATS:
        raise unknown("format", form, COMPARISON_FORMATS)
    baseline, *others = found_as(runs, (baseline, *others))
    results = load(runs, split, profile=profile, methods=(baseline, *others), metrics=metrics or None)
    compared = compare(results, baseline, others, alpha=alpha, adjust=adjust, confidence=confidence, test=test)
    for notice in results.notices:
        say(f"note: {notice}")
    if figure is not None:
        from ..report.forest import write_forest

        write_forest(figure, compared, figure_width)
    click.echo(COMPARISON_FORMATS[form](compared).rstrip("\n"))
    if figure is not None:
        say(f"wrote {figure}")


@click.command()
@option("--split", help="Pairs and speakers of this split; `avbench ls splits` lists them.")
@option("--pairs", type=int, help="So many pairs, shared out evenly; with --speakers, instead of a split.")
@option("--speakers", type=int, help="So many speakers.")
@option("--correlation", type=float, default=0.3, help="Of the differences of two pairs of one speaker, 0 to 1.")
@option("--effect", type=float, help="How often would this one be found? In standard deviations of a difference.")
@option("--methods", type=int, default=1, help="So many methods against one baseline.")
@option("--alpha", type=float, default=0.05, help="Of a claim.")
def power(
    split: str | None,
    pairs: int | None,
    speakers: int | None,
    correlation: float,
    effect: float | None,
    methods: int,
    alpha: float,
) -> None:
    """Says what a comparison can find, before anything is generated. Without options: of the demo."""
    from ..compare import even_clips, plan
    from ..report.comparison import plan_text

    if (pairs is None) != (speakers is None) or (split is not None and pairs is not None):
        raise UsageError("either --split, or --pairs and --speakers together; expected one of the two.")
    clips = _clips_of(split or "demo") if pairs is None or speakers is None else even_clips(pairs, speakers)
    planned = plan(clips, correlation=correlation, alpha=alpha, methods=methods, effect=effect)
    click.echo(plan_text(planned).rstrip("\n"))


def _clips_of(name: str) -> tuple[int, ...]:
    """Pairs of each speaker of a split."""
    from collections import Counter

    from ..split import load_split

    split = load_split(name)
    if not split.pairs:
        raise UsageError(f"split {name!r} has no pairs yet; expected some. Give --pairs and --speakers instead.")
    return tuple(Counter(pair.speaker for pair in split.pairs).values())
