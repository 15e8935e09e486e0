"""The table of a split, in every form and format, and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from ..errors import Incomplete, UsageError, unknown
from .shared import FILE, option, profile_option, runs_option, say, split_option

if TYPE_CHECKING:
    from ..results import Results
    from ..table import Table

__all__ = ["KINDS", "Kind", "Wanted", "show_table", "table"]

Kind = Literal["main", "ablation", "sweep", "lip-bias"]

KINDS: tuple[Kind, ...] = ("main", "ablation", "sweep", "lip-bias")


class Wanted(NamedTuple):
    """What the options of `avbench table` say beside runs, split and format."""

    profile: str | None = None
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    kind: Kind = "main"
    key: str | None = None
    share: float | None = None
    baseline: str | None = None
    stars: bool = False
    published: bool = False
    hide_controls: bool = False
    figure: Path | None = None
    figure_width: str = "full"
    scatter: Path | None = None
    scatter_scale: str | None = None


@click.command()
@split_option
@runs_option
@option("--method", "--methods", "methods", multiple=True, help="Only this method; may be repeated.  [default: all]")
@profile_option
@option("--metric", "--metrics", "metrics", multiple=True, help="Only this scale; may be repeated.  [default: all]")
@option("--kind", type=click.Choice(KINDS), default="main", help="Which form; the others are those of papers.")
@option("--key", help="Of a sweep: the option that METHOD@KEY=value differ in.  [default: the only one]")
@option("--share", type=float, help="Of lip-bias: the share of clips, those most like the face.  [default: 0.3]")
@option("--baseline", metavar="METHOD", help="Says which differences from this method would be found.")
@option("--stars", is_flag=True, help="Stars what differs from the baseline.")
@option("--published", is_flag=True, help="Adds what papers print of this split, in a block of its own.")
@option("--hide-controls", is_flag=True, help="Leaves the controls out.")
@option("--format", "form", default="text", help="text, markdown, latex, csv or html.")
@option("--figure", type=FILE, help="Draws the table as well: a path that ends in .png, .svg or .pdf.")
@option("--figure-width", type=click.Choice(["column", "full"]), default="full", help="3.4 or 7.0 inches.")
@option("--scatter", type=FILE, help="Draws a scale against lip motion: a path like that of --figure.")
@option("--scatter-scale", metavar="SCALE", help="Which scale.  [default: face similarity]")
def table(split: str, runs: Path, form: str, **wanted: Any) -> None:
    """Prints the table of a split from the score files below RUNS. Needs no clips, media or networks.

    \b
    main      methods, then controls
    ablation  a method METHOD below its variants METHOD@key=value
    sweep     METHOD@key=1, METHOD@key=2, …, by the number
    lip-bias  lip motion of the clips that are most like the face
    """
    _show(runs, split, form, Wanted(**wanted))


def show_table(
    runs: Path,
    split: str,
    form: str = "text",
    profile: str | None = None,
    methods: tuple[str, ...] = (),
    metrics: tuple[str, ...] = (),
) -> None:
    """The table of a split as another command prints it."""
    _show(runs, split, form, Wanted(profile, methods, metrics))


def _show(runs: Path, split: str, form: str, wanted: Wanted) -> None:
    from ..report import FORMATS, write_figure
    from ..report.scatter import write_scatter

    _check(form, wanted)
    if not _runs_of(runs, split):
        _published_alone(runs, split, form)
    results = _results(runs, split, wanted)
    for notice in results.notices:
        say(f"note: {notice}")
    table = _built(runs, results, wanted)
    if wanted.figure is not None:
        write_figure(wanted.figure, results, table, wanted.figure_width)
    if wanted.scatter is not None:
        write_scatter(wanted.scatter, results, table, versus=wanted.scatter_scale, width=wanted.figure_width)
    if wanted.published:
        from ..published import beside

        table = beside(table, _name(split), wanted.kind)
    click.echo(FORMATS[form](table).rstrip("\n"))
    for path in (wanted.figure, wanted.scatter):
        if path is not None:
            say(f"wrote {path}")


def _check(form: str, wanted: Wanted) -> None:
    """UsageError: an unknown format, or options that do not go together."""
    from ..report import FORMATS

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    only: tuple[tuple[str, object, str], ...] = (
        ("--figure", wanted.figure, "main"),
        ("--scatter", wanted.scatter, "main"),
        ("--key", wanted.key, "sweep"),
        ("--share", wanted.share, "lip-bias"),
    )
    for name, given, kind in only:
        if given is not None and given is not False and wanted.kind != kind:
            raise UsageError(f"{name} goes with --kind {kind}, not with --kind {wanted.kind}. Leave one of them out.")
    if wanted.kind == "lip-bias" and (wanted.baseline or wanted.stars):
        raise UsageError(
            "--baseline and --stars do not go with --kind lip-bias: its clips differ from method to method, and nothing "
            "is paired. Leave them out."
        )
    if wanted.scatter_scale and not wanted.scatter:
        raise UsageError("--scatter-scale without --scatter FILE; expected where to draw. Give both.")


def _name(split: str) -> str:
    return Path(split).name


def _runs_of(runs: Path, split: str) -> bool:
    from ..run import find_runs

    return runs.is_dir() and any(run.split == _name(split) for run in find_runs(runs))


def _results(runs: Path, split: str, wanted: Wanted) -> Results:
    """One --method of an ablation or a sweep is the method that the others are variants of."""
    from ..results import load
    from ..table import without_controls

    methods = wanted.methods if wanted.kind in ("main", "lip-bias") or len(wanted.methods) > 1 else ()
    if methods and wanted.baseline is not None and wanted.baseline not in methods:
        methods = (*methods, wanted.baseline)
    results = load(runs, split, profile=wanted.profile, methods=methods or None, metrics=wanted.metrics or None)
    if not wanted.hide_controls:
        return results
    shown = without_controls(results)
    if wanted.baseline in {entry.method for entry in results.methods} - {entry.method for entry in shown.methods}:
        raise UsageError(
            f"--baseline {wanted.baseline} is a control, and --hide-controls hides it. Leave one of them out."
        )
    return shown


def _built(runs: Path, results: Results, wanted: Wanted) -> Table:
    from ..run import run_folder
    from ..table import SHARE, ablation, build, default_of, find_sweep, lip_bias, sweep

    named = wanted.methods[0] if len(wanted.methods) == 1 else None
    if wanted.kind == "ablation":
        return ablation(results, named, baseline=wanted.baseline, stars=wanted.stars)
    if wanted.kind == "sweep":
        of = find_sweep(results, wanted.key, named)
        default = default_of(run_folder(runs, of.name, results.split.rpartition("@")[0]), of.key)
        return sweep(results, of, default, baseline=wanted.baseline, stars=wanted.stars)
    if wanted.kind == "lip-bias":
        return lip_bias(results, SHARE if wanted.share is None else wanted.share)
    return build(results, baseline=wanted.baseline, stars=wanted.stars)


def _published_alone(runs: Path, split: str, form: str) -> None:
    """Without runs: prints what was published of the split, if anything was, and ends with Incomplete."""
    from ..published import tables_of
    from ..report import FORMATS
    from ..report.html import page
    from ..split import load_split

    tables = tables_of(_name(split))
    if not tables:
        return
    protocol = load_split(split, protocol=True).head.protocol
    texts = [page(tables)] if form == "html" else [FORMATS[form](table) for table in tables]
    click.echo("\n".join(texts).rstrip("\n"))
    lacking = f" Nor are its pairs here: {protocol.missing}." if protocol is not None else ""
    raise Incomplete(
        f"{runs}: no run of split {_name(split)!r}, so the numbers above are published ones alone.{lacking} "
        "`avbench generate` makes clips of a split that has pairs, `avbench score` scores them."
    )
