"""The line: demo, generate, score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .progress import Bars
from .shared import (
    EXIT_INCOMPLETE,
    FOLDER,
    data_option,
    limit_option,
    option,
    overwrite_option,
    profile_option,
    runs_option,
    say,
    split_option,
    workers_option,
)
from .table import show_table

if TYPE_CHECKING:
    from ..generate import Generated
    from ..run import Overwrite
    from ..score import Scored

__all__ = ["demo", "generate", "score"]


@click.command()
@runs_option
@workers_option
def demo(runs: Path, workers: int | None) -> None:
    """Makes the demo split, the clips of a baseline and of controls, and their scores; prints the table."""
    from ..generate import generate
    from ..methods import DEMO
    from ..score import score
    from ..split import load_split

    split = load_split("demo")
    with Bars() as bars:
        made = generate(split, DEMO, runs, workers=workers, report=bars)
        scored = score(runs, splits=[split.name], methods=DEMO, workers=workers, report=bars)
    _tell_generated(made)
    _tell_scored(scored)
    show_table(runs, split.name, "text", None, (), ())
    say(f"\nThe clips and scores are in {runs}/. The same as LaTeX: avbench table --runs {runs} --format latex")
    _finish_generated(made)


@click.command()
@option("--method", "methods", multiple=True, required=True, help="NAME[@key=value,…] or module:NAME; may be repeated.")
@split_option
@runs_option
@data_option
@overwrite_option
@limit_option
@option(
    "--sweep", "sweeps", multiple=True, metavar="KEY=V1,V2,…", help="Every method once for each value of an option."
)
@option("--shard", metavar="I/N", help="Only the I-th of N parts of the pairs; the others may run beside it.")
@option("--i-have-consent", "consent", is_flag=True, help="The people shown agreed, also where pairs do not say so.")
@workers_option
def generate(
    methods: tuple[str, ...],
    split: str,
    runs: Path,
    data: Path | None,
    overwrite: Overwrite,
    limit: int | None,
    sweeps: tuple[str, ...],
    shard: str | None,
    consent: bool,
    workers: int | None,
) -> None:
    """Makes each pair's clip: RUNS/METHOD/SPLIT/PAIR.mp4."""
    from ..generate import generate
    from ..methods import swept
    from ..run import parse_shard
    from ..split import load_split

    asked = swept(methods, sweeps)
    _tell_terms(asked)
    with Bars() as bars:
        made = generate(
            load_split(split),
            asked,
            runs,
            data=data,
            overwrite=overwrite,
            limit=limit,
            shard=parse_shard(shard) if shard is not None else None,
            consent=consent,
            workers=workers,
            report=bars,
        )
    _tell_generated(made)
    _finish_generated(made)


@click.command()
@click.argument("folder", metavar="[RUNS]", type=FOLDER, required=False)
@runs_option
@option("--split", "splits", multiple=True, help="Only this split; may be repeated.  [default: every known one]")
@option("--method", "methods", multiple=True, help="Only this method's folder; may be repeated.  [default: all]")
@profile_option
@option("--metric", "metrics", multiple=True, help="Only this metric, or module:NAME; may be repeated.  [default: all]")
@option("--device", default="auto", help="Where networks run: auto, cpu, cuda, cuda:1, …")
@option("--strided", is_flag=True, help="Faces on every 8th frame for lip sync: faster, and a revision of its own.")
@option("--untrained", is_flag=True, help="Tiny random networks, to try the line; no table takes the numbers.")
@data_option
@overwrite_option
@limit_option
@workers_option
def score(
    folder: Path | None,
    runs: Path,
    splits: tuple[str, ...],
    methods: tuple[str, ...],
    profile: str | None,
    metrics: tuple[str, ...],
    device: str,
    strided: bool,
    untrained: bool,
    data: Path | None,
    overwrite: Overwrite,
    limit: int | None,
    workers: int | None,
) -> None:
    """Scores every METHOD/SPLIT folder below RUNS, also folders of clips made elsewhere."""
    from ..score import score

    with Bars() as bars:
        scored = score(
            folder or runs,
            splits=splits,
            methods=methods,
            profile=profile,
            metrics=metrics,
            device=device,
            strided=strided,
            untrained=untrained,
            data=data,
            overwrite=overwrite,
            limit=limit,
            workers=workers,
            report=bars,
        )
    _tell_scored(scored)


def _tell_terms(methods: list[str]) -> None:
    """What to know of these methods, and each of their networks once, with its licence."""
    from ..methods import resolve

    found = [resolve(method) for method in methods]
    for one in found:
        for note in one.method.notes:
            say(f"note: {one.name}: {note}")
    told = dict(entry for one in found for entry in one.method.licences.items())
    if told:
        say("Licences of the networks, which go with what they make:")
    for name, licence in told.items():
        say(f"  {name}: {licence}")


def _tell_generated(made: Generated) -> None:
    say(f"generate: {made.made} made, {made.kept} there already, {len(made.failures)} failed")
    for method, pair, reason in made.failures:
        say(f"  {method} {pair}: {reason}")


def _finish_generated(made: Generated) -> None:
    if made.failures:
        say("error: some clips could not be made; --overwrite failed tries them again.")
        raise SystemExit(EXIT_INCOMPLETE)


def _tell_scored(scored: Scored) -> None:
    say(
        f"score: {scored.scored} clips scored, {scored.kept} complete already, {scored.missing} pairs without a clip; "
        f"{scored.extracted} streams extracted"
    )
    for reason, count in sorted(scored.failures.items(), key=lambda item: (-item[1], item[0])):
        say(f"  {count} x unmeasurable: {reason}")
    for line in scored.skipped:
        say(f"  skipped {line}")
