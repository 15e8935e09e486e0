"""The gate: record a baseline, check a candidate against it."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ..errors import AvbenchError
from .shared import FILE, FOLDER, found_as, option, profile_option, runs_option, say

if TYPE_CHECKING:
    from ..gate import Check

__all__ = ["gate"]


@click.group()
def gate() -> None:
    """Did it get worse? Holds a run against a recorded baseline, a margin for each scale."""


@gate.command()
@click.argument("folder", metavar="[RUNS]", type=FOLDER, required=False)
@runs_option
@option("--method", required=True, help="Whose scores are the baseline.")
@option("--split", default="demo", help="Which split; `avbench ls splits` lists them.")
@profile_option
@option("--metric", "metrics", multiple=True, help="Only this scale; may be repeated.  [default: all]")
@option("--margin", "margins", multiple=True, help="SCALE=X, the loss that passes; may be repeated.")
@option("--repeats", multiple=True, help="The method with another seed, for margins from its spread; may be repeated.")
@option("--alpha", type=float, default=0.05, help="Chance of a wrong verdict that margins are calibrated for.")
@option("--expires", "days", type=int, default=180, help="Days until checks warn; 0 = never.")
@option("--out", type=FILE, help="The file to write.  [default: reports/gate/SPLIT-METHOD.json]")
def record(
    folder: Path | None,
    runs: Path,
    method: str,
    split: str,
    profile: str | None,
    metrics: tuple[str, ...],
    margins: tuple[str, ...],
    repeats: tuple[str, ...],
    alpha: float,
    days: int,
    out: Path | None,
) -> None:
    """Writes the scores of METHOD and the margins as a baseline."""
    from ..gate import parse_margins, record, write_baseline

    method, *again = found_as(folder or runs, (method, *repeats))
    baseline = record(
        folder or runs,
        split,
        method,
        today=_today(),
        profile=profile,
        metrics=metrics,
        margins=parse_margins(margins),
        repeats=again,
        days=days or None,
        alpha=alpha,
    )
    path = out or Path("reports", "gate", f"{baseline.split.rpartition('@')[0]}-{method}.json")
    write_baseline(path, baseline)
    for one in baseline.scales:
        if one.margin is None:
            say(f"{one.scale.name}: no margin")
        elif one.margin.spread is None:
            say(f"{one.scale.name}: margin {one.margin.value:g}")
        else:
            say(
                f"{one.scale.name}: margin {one.margin.value:g}, from a spread of {one.margin.spread:.3g} over "
                f"{len(one.margin.runs)} runs and {one.margin.speakers} speakers"
            )
    say(f"wrote {path}")


@gate.command()
@click.argument("folder", metavar="[RUNS]", type=FOLDER, required=False)
@runs_option
@option("--baseline", type=FILE, required=True, help="What `gate record` wrote.")
@option("--method", help="The candidate.  [default: the baseline's method]")
@option("--split", help="Name or folder of the split.  [default: the baseline's]")
@option(
    "--rule", "rules", multiple=True, help="SCALE or SCALE:margin=X; may be repeated.  [default: every stored margin]"
)
@option("--alpha", type=float, default=0.05, help="Chance of any wrong pass, and of any wrong regression.")
@option("--strict", is_flag=True, help="What is undecided, or an expired baseline, fails too.")
@option("--format", "form", type=click.Choice(["text", "json", "junit", "github"]), default="text", help="Of stdout.")
@option("--junit", "junit_file", type=FILE, help="Writes JUnit XML here as well.")
@option("--summary", type=FILE, help="Appends Markdown to this file, such as $GITHUB_STEP_SUMMARY.")
def check(
    folder: Path | None,
    runs: Path,
    baseline: Path,
    method: str | None,
    split: str | None,
    rules: tuple[str, ...],
    alpha: float,
    strict: bool,
    form: str,
    junit_file: Path | None,
    summary: Path | None,
) -> None:
    """Ends with 1 where METHOD got worse than the baseline by more than a margin; says why, a sentence a rule."""
    from ..gate import check, parse_rule, read_baseline
    from ..report.github import github, github_error, summary_error
    from ..report.junit import junit, junit_error
    from ..report.verdicts import verdict_json, verdict_markdown, verdict_text

    forms = {"text": verdict_text, "json": verdict_json, "junit": junit, "github": github}
    try:
        found = check(
            folder or runs,
            read_baseline(baseline),
            today=_today(),
            method=found_as(folder or runs, (method,))[0] if method else None,
            split=split,
            rules=[parse_rule(rule) for rule in rules],
            alpha=alpha,
            strict=strict,
        )
    except AvbenchError as error:  # said where CI looks, too; main says it on stderr and ends with its code
        if form == "github":
            click.echo(github_error(str(error)), nl=False)
        try:
            _write(junit_file, junit_error(str(error)))
            _append(summary, summary_error(str(error)))
        except AvbenchError as further:
            say(f"error: {further}")
        raise
    click.echo(forms[form](found), nl=False)
    _write(junit_file, junit(found))
    _append(summary, verdict_markdown(found))
    _finish(found, form)


def _finish(found: Check, form: str) -> None:
    if form != "text":
        say(found.conclusion)
    if found.outdated:
        say(f"{'error' if found.strict else 'warning'}: {found.outdated}")
    if found.failed:
        raise SystemExit(1)


def _today() -> date:
    return datetime.now(UTC).date()


def _write(path: Path | None, text: str) -> None:
    from ..home import atomic

    if path is not None:
        with atomic(path) as part:
            part.write_text(text, encoding="utf-8")


def _append(path: Path | None, text: str) -> None:
    from ..home import writing

    if path is not None:
        with writing(path), path.open("a", encoding="utf-8") as file:
            file.write(text)
