"""The line: demo, generate, score."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import UsageError
from .progress import Bars
from .shared import (
    EXIT_INCOMPLETE,
    FILE,
    FOLDER,
    data_option,
    device_option,
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
    from ..generator.recipe import Memory
    from ..run import Overwrite
    from ..score import Scored
    from ..signing import Signer

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
@option("--model", metavar="NAME", help="The option model of every method: tiny tries the line on random networks.")
@option("--shard", metavar="I/N", help="Only the I-th of N parts of the pairs; the others may run beside it.")
@option(
    "--i-have-consent", "consent", is_flag=True, help="The people shown agreed, where pairs say nothing; a no stands."
)
@device_option
@option(
    "--memory",
    type=click.Choice(["auto", "resident", "staged", "offload"]),
    default="auto",
    help="Networks all on the device, one stage after the other, or from the CPU's memory; auto: the first that fits.",
)
@option("--plan", is_flag=True, help="Prints memory, passes and time of each method, and makes nothing.")
@option(
    "--c2pa-certificate",
    "certificate",
    type=FILE,
    help="Signs every synthetic clip: the certificates, PEM, with --c2pa-key.",
)
@option("--c2pa-key", "key", type=FILE, help="The private key of the first of the certificates, PEM.")
@option(
    "--workers",
    type=int,
    help="Worker processes; never changes a clip, and is not for methods that make many in one go.  [default: one per CPU]",
)
def generate(
    methods: tuple[str, ...],
    split: str,
    runs: Path,
    data: Path | None,
    overwrite: Overwrite,
    limit: int | None,
    sweeps: tuple[str, ...],
    model: str | None,
    shard: str | None,
    consent: bool,
    device: str,
    memory: Memory,
    plan: bool,
    certificate: Path | None,
    key: Path | None,
    workers: int | None,
) -> None:
    """Makes each pair's clip: RUNS/METHOD/SPLIT/PAIR.mp4."""
    from ..generate import generate, planned
    from ..methods import Machine, swept, with_option
    from ..run import parse_shard
    from ..split import load_split

    asked = swept(with_option(methods, "model", model) if model is not None else methods, sweeps)
    part = parse_shard(shard) if shard is not None else None
    machine = Machine(device, memory)
    if plan:
        for name, said in planned(
            load_split(split), asked, runs, overwrite=overwrite, limit=limit, shard=part, machine=machine
        ):
            click.echo(f"{name}: {said}" if "\n" not in said else f"{name}\n{said}\n")
        return
    signer = _signer(certificate, key)
    _tell_terms(asked)
    with Bars() as bars:
        made = generate(
            load_split(split),
            asked,
            runs,
            data=data,
            overwrite=overwrite,
            limit=limit,
            shard=part,
            consent=consent,
            machine=machine,
            signer=signer,
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
@device_option
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
    from ..methods import folder_name
    from ..run import find_runs
    from ..score import score

    place = folder or runs
    folders = {run.method for run in find_runs(place)} if methods else set()
    with Bars() as bars:
        scored = score(
            place,
            splits=splits,
            methods=[folder_name(method, folders) for method in methods],
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


def _signer(certificate: Path | None, key: Path | None) -> Signer | None:
    from ..signing import read_signer

    if certificate is not None and key is not None:
        return read_signer(certificate, key)
    if certificate is not None or key is not None:
        given, other = ("--c2pa-certificate", "--c2pa-key") if key is None else ("--c2pa-key", "--c2pa-certificate")
        raise UsageError(f"{given} without {other}; expected both, or neither. Give {other} FILE too.")
    return None


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
        say(
            "error: some clips could not be made; mend the media or the method of those named, then --overwrite failed "
            "tries them again."
        )
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
