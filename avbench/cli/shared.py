"""What the commands share: options, exit codes, a line for a person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

__all__ = [
    "EXIT_INCOMPLETE",
    "EXIT_INTERNAL",
    "EXIT_INTERRUPTED",
    "EXIT_USAGE",
    "FILE",
    "FOLDER",
    "data_option",
    "device_option",
    "found_as",
    "limit_option",
    "option",
    "overwrite_option",
    "profile_option",
    "runs_option",
    "say",
    "split_option",
    "workers_option",
]

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_USAGE = 2
EXIT_INCOMPLETE = 4
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130


def say(line: str) -> None:
    """One line for a person."""
    click.echo(line, err=True)


def found_as(runs: Path, methods: Sequence[str]) -> tuple[str, ...]:
    """The folders below RUNS of methods whose options are in any order and spelling."""
    from ..run import find_runs

    folders = {run.method for run in find_runs(runs)} if methods else set()
    if folders.issuperset(methods):
        return tuple(methods)
    from ..methods import folder_name

    return tuple(folder_name(method, folders) for method in methods)


def option(*names: str, **settings: Any) -> Callable[[Command], Command]:
    """A click option whose default is shown."""
    return click.option(*names, show_default=settings.pop("show_default", True), **settings)


FOLDER = click.Path(path_type=Path, file_okay=False)
FILE = click.Path(path_type=Path, dir_okay=False)
runs_option = option("--runs", type=FOLDER, default=Path("runs"), help="Folder of METHOD/SPLIT folders.")
data_option = option(
    "--data", type=FOLDER, help="Folder that holds SPLIT/ with its media.  [default: AVBENCH_HOME/media]"
)
split_option = option("--split", default="demo", help="Which split; `avbench ls splits` lists them.")
device_option = option("--device", default="auto", help="Where networks run: auto, cpu, cuda, cuda:1, …")
limit_option = option("--limit", type=int, help="Only the first N pairs; marks the run, and no table takes it unasked.")
workers_option = option(
    "--workers", type=int, help="Worker processes; never changes a number.  [default: one per CPU, as memory allows]"
)
profile_option = option("--profile", help="Which family of recipes.  [default: the split's]")
overwrite_option = option(
    "--overwrite",
    type=click.Choice(["never", "failed", "all"]),
    default="never",
    help="What to do again: nothing, recorded failures, or everything.",
)
