"""Network files: ls, fetch, verify, unlock, where."""

from __future__ import annotations

import click

from ..errors import AvbenchError, WeightsError, unknown
from .progress import ByteBar
from .shared import EXIT_USAGE, option, say

__all__ = ["weights"]

WIDTH = 80  # characters


@click.group()
def weights() -> None:
    """Network files: what they are, where they lie, whether they are right."""


@weights.command("ls")
def weights_ls() -> None:
    """Lists every network file: size, what is here of it, licence, the extractors or recipes that use it."""
    from ..weights import WEIGHTS, size, state

    for name, weight in WEIGHTS.items():
        here, comma, consent = state(name).partition(", needs ")
        click.echo(_lines(f"{name:26} {size(name):>12}  {here}"))
        click.echo(
            _lines(f"    {f'needs {consent}: ' if comma else ''}{weight.licence}; for {', '.join(weight.used_by)}")
        )


@weights.command("fetch")
@click.argument("names", nargs=-1)
@option("--profile", "profiles", multiple=True, help="All files of these recipes.  [default, without names: embedded]")
@option("--accept-licence", "accepted", metavar="NAME", multiple=True, help="You accept this licence; it is recorded.")
@option("--offline", is_flag=True, help="Download nothing, only check what is here.")
def weights_fetch(names: tuple[str, ...], profiles: tuple[str, ...], accepted: tuple[str, ...], offline: bool) -> None:
    """Brings network files to this machine and checks them. A download that was stopped goes on where it was."""
    import os

    from ..weights import accept, fetch

    wanted = dict.fromkeys(_weights_named(names) if names else [])
    for profile in profiles or (() if names else ("embedded",)):
        wanted.update(dict.fromkeys(_weights_of_profile(profile)))
    for name in accepted:
        accept(name)
    if offline:
        os.environ["AVBENCH_OFFLINE"] = "1"
    failed = False
    for name in wanted:
        try:
            with ByteBar() as bar:
                place = fetch(name, bar)
            click.echo(f"{name:26} {place}")
        except WeightsError as error:  # the others are still worth having
            say(f"error: {error}")
            failed = True
    if failed:
        raise SystemExit(EXIT_USAGE)


@weights.command("verify")
@click.argument("names", nargs=-1)
def weights_verify(names: tuple[str, ...]) -> None:
    """Compares size and sha256 of the named files with the registry; fetches nothing. Without names: all that is here."""
    from ..weights import WEIGHTS, Download, Wheel, verify, where

    wrong = 0
    for name in _weights_named(names) if names else WEIGHTS:
        if not names and isinstance(WEIGHTS[name].source, Download | Wheel) and not where(name).exists():
            click.echo(f"{name:26} absent")
            continue
        try:
            verify(name)
            click.echo(f"{name:26} ok")
        except AvbenchError as error:
            wrong += 1
            click.echo(f"{name:26} {error}")
    if wrong:
        raise SystemExit(1)


@weights.command("unlock")
@click.argument("names", nargs=-1, required=True)
def weights_unlock(names: tuple[str, ...]) -> None:
    """Forgets what the named files were when they first came: those that are here now are locked at next use."""
    from ..weights import unlock

    for name in _weights_named(names):
        click.echo(f"{name:26} {'unlocked' if unlock(name) else 'was not locked'}")


@weights.command("where")
@click.argument("name")
def weights_where(name: str) -> None:
    """Prints the path of a network file."""
    from ..weights import where

    click.echo(str(where(_weights_named((name,))[0])))


def _lines(text: str) -> str:
    """Wrapped for the narrowest of terminals, with what is behind the first line set in."""
    import textwrap

    return textwrap.fill(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _weights_named(names: tuple[str, ...]) -> list[str]:
    from ..weights import WEIGHTS

    for name in names:
        if name not in WEIGHTS:
            raise unknown("weights", name, WEIGHTS)
    return list(names)


def _weights_of_profile(profile: str) -> list[str]:
    """The network files of all extractors that the metrics of a profile read."""
    from ..extract import EXTRACTORS
    from ..metric import PROFILES
    from ..metrics import METRICS

    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    needs = [need for metric in METRICS.values() if metric.profile == profile for need in metric.needs.values()]
    features = {feature.name for need in needs for feature in need}
    return list(dict.fromkeys(name for feature in sorted(features) for name in EXTRACTORS[feature].weights))
