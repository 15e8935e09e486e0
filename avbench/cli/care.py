"""What there is, and whether it is in order: ls, describe, audit, doctor, selftest."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AvbenchError, unknown
from .progress import Bars
from .shared import (
    EXIT_INCOMPLETE,
    FILE,
    FOLDER,
    data_option,
    option,
    overwrite_option,
    profile_option,
    say,
    workers_option,
)

if TYPE_CHECKING:
    from ..run import Overwrite

__all__ = ["audit", "describe", "doctor", "ls", "selftest"]


@click.command()
@option("--split", default="demo", help="A split, or a folder of clips with a MANIFEST.csv.")
@option("--out", type=FOLDER, default=Path("audit"), help="Folder of NAME/ with runs, tables and figures.")
@profile_option
@option("--damage", "damages", multiple=True, help="Only this kind of damage; may be repeated.  [default: all]")
@option("--metric", "metrics", multiple=True, help="Only this metric, or module:NAME; may be repeated.  [default: all]")
@option("--format", "form", default="svg", help="Of the figures: svg, png or pdf.")
@data_option
@overwrite_option
@option("--limit", type=int, help="Only the first N pairs.")
@workers_option
def audit(
    split: str,
    out: Path,
    profile: str | None,
    damages: tuple[str, ...],
    metrics: tuple[str, ...],
    form: str,
    data: Path | None,
    overwrite: Overwrite,
    limit: int | None,
    workers: int | None,
) -> None:
    """Damages every clip in graded steps and asks of every scale: does it fall where it must, and only there?"""
    from ..audit import audit, failures, text, unjudged, write
    from ..report import FIGURES

    if form not in FIGURES:
        raise unknown("format", form, FIGURES)
    with Bars() as bars:
        found = audit(
            split,
            out,
            profile=profile,
            damages=damages,
            metrics=metrics,
            data=data,
            overwrite=overwrite,
            limit=limit,
            workers=workers,
            report=bars,
        )
    for notice in found.notices:
        say(f"note: {notice}")
    click.echo(text(found).rstrip("\n"))
    for path in write(found, form):
        say(f"wrote {path}")
    if failures(found):
        raise SystemExit(1)
    if found.unmade or unjudged(found):
        say("error: not all was judged. --overwrite failed tries again what could not be made.")
        raise SystemExit(EXIT_INCOMPLETE)


@click.command()
@click.argument("what", type=click.Choice(["splits", "methods", "metrics", "profiles"]))
def ls(what: str) -> None:
    """Lists the splits, methods, metrics or profiles, one a line."""
    for name, text in LISTS[what]():
        click.echo(f"{name:24} {text}")


def _splits() -> list[tuple[str, str]]:
    from ..split import known_splits, load_split

    found = []
    for name in known_splits(protocols=True):
        try:
            split = load_split(name, protocol=True)
            known = split.head.protocol
            what = f"{len(split.pairs)} pairs, {split.digest}"
            if known is not None:
                what = f"protocol, {known.pairs} pairs of {known.speakers} speakers, not here"
            found.append((name, f"{what}: {split.head.title}"))
        except AvbenchError as error:  # the others are still worth listing
            found.append((name, f"error: {error}"))
    return found


def _methods() -> list[tuple[str, str]]:
    from ..methods import METHODS, options, summary

    found = []
    for name in METHODS:
        keys = ", ".join(options(name))
        found.append((name, f"{summary(name)}; @ {keys}" if keys else summary(name)))
    return found


def _metrics() -> list[tuple[str, str]]:
    from ..metrics import METRICS

    return [(metric.name, f"{metric.profile}: {metric.card.question}") for metric in METRICS.values()]


def _profiles() -> list[tuple[str, str]]:
    from ..metric import PROFILES

    return list(PROFILES.items())


LISTS = {"splits": _splits, "methods": _methods, "metrics": _metrics, "profiles": _profiles}


@click.command()
@click.argument("metric")
@profile_option
def describe(metric: str, profile: str | None) -> None:
    """Prints a metric's card: question, recipe, source, range, what confounds it, networks and their licences."""
    from ..metric import PROFILES
    from ..metrics import METRICS, scale_of
    from ..metrics.card import card

    of_profile = [one for one in METRICS.values() if profile in (None, one.profile)]
    found = [one for one in of_profile if one.name == metric]
    if not of_profile:
        raise unknown("profile", str(profile), PROFILES)
    if not found:
        raise unknown("metric", metric, dict.fromkeys(one.name for one in of_profile))
    click.echo("\n\n".join(card(one, scale_of(one)) for one in found))


@click.command()
def doctor() -> None:
    """Examines this machine: what is installed, what is missing, what to type."""
    from ..doctor import examine

    checks = examine()
    for check in checks:
        click.echo(f"{check.state:4}  {check.name:24} {check.found}")
        if check.do:
            click.echo(f"{'':30} {check.do}")
    if any(check.state == "fail" for check in checks):
        raise SystemExit(1)


@click.command()
@option("--against", "package", required=True, help="speechbrain, laion_clap, openai_whisper or syncnet_python.")
@option(
    "--python",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The Python of an environment that has the package; bench/crosscheck/NAME.py says what that needs.",
)
@option("--checkpoint", type=FILE, help="A network file of the package's own.  [default: the package downloads it]")
@click.argument("clips", metavar="CLIP...", type=FILE, nargs=-1, required=True)
def selftest(package: str, python: Path, checkpoint: Path | None, clips: tuple[Path, ...]) -> None:
    """Prints avbench's numbers beside those of a package that you know, on your clips."""
    from ..selftest import cross_check

    say(f"running {package} with {python} …")
    found = cross_check(package, python, clips, checkpoint)
    click.echo(f"{package} ({', '.join(f'{name} {version}' for name, version in found.versions.items())})")
    for number, clip in enumerate(clips):
        click.echo(f"  {number + 1}  {clip}")
    click.echo(f"{'':20} {'avbench':>12} {'package':>12} {'difference':>12} {'allowed':>9}")
    for value in found.values:
        both = [one for one in (value.ours, value.theirs) if isinstance(one, str)]
        ours, theirs = ("text", "text") if both else (_number(value.ours), _number(value.theirs))
        mark = "" if value.agrees else "  differs"
        click.echo(f"{value.name:20} {ours:>12} {theirs:>12} {value.difference:12.2g} {value.tolerance:9.2g}{mark}")
        for text in dict.fromkeys(both):
            click.echo(f"{'':20} {text}")
    click.echo(found.note)
    if not found.agrees:
        say("error: avbench and the package differ by more than is allowed.")
        raise SystemExit(1)


def _number(value: float | str | None) -> str:
    return "none" if value is None else f"{value:.5g}"
