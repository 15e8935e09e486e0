"""The table of a split, in every form and format, and its figures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click
from click.core import ParameterSource

from ..errors import Incomplete, UsageError, unknown
from .published import laid_out
from .shared import FILE, found_as, option, profile_option, runs_option, say, split_option
from .study import counted

if TYPE_CHECKING:
    from ..results import Results
    from ..table import Table

__all__ = ["KINDS", "Kind", "Wanted", "show_table", "table"]

Kind = Literal["main", "ablation", "sweep", "lip-bias", "human"]

KINDS: tuple[Kind, ...] = ("main", "ablation", "sweep", "lip-bias", "human")


class Wanted(NamedTuple):
    """What the options of `avbench table` say beside runs, split and format."""

    profile: str | None = None
    methods: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()
    asked: Kind | None = None  # the form, where it was said
    votes: Path | None = None
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

    @property
    def kind(self) -> Kind:
        return self.asked or "main"


@click.command()
@split_option
@runs_option
@option("--method", "--methods", "methods", multiple=True, help="Only this method; may be repeated.  [default: all]")
@profile_option
@option("--metric", "--metrics", "metrics", multiple=True, help="Only this scale; may be repeated.  [default: all]")
@option("--kind", "asked", type=click.Choice(KINDS), help="Which form of those that papers print.  [default: main]")
@option("--votes", type=FILE, help="Of human: a file of votes, as `avbench study votes` takes it.")
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
    human     preferences of people: of --votes, or without it what was published

    Without scores of a split of the ID-LoRA paper it prints what was published of it, all forms or that of --kind, and
    ends with 4.
    """
    asked = Wanted(**wanted)
    _check(form, asked)
    if asked.kind == "human":
        named = click.get_current_context().get_parameter_source("split") is ParameterSource.COMMANDLINE
        _show_human(form, asked.votes, split if named else None)
    else:
        _show(runs, split, form, asked)


def show_table(
    runs: Path,
    split: str,
    form: str = "text",
    profile: str | None = None,
    methods: tuple[str, ...] = (),
    metrics: tuple[str, ...] = (),
) -> None:
    """The table of a split as another command prints it."""
    wanted = Wanted(profile, methods, metrics)
    _check(form, wanted)
    _show(runs, split, form, wanted)


def _show(runs: Path, split: str, form: str, wanted: Wanted) -> None:
    from ..report import FORMATS, write_figure
    from ..report.scatter import write_scatter

    if not _scored(runs, split):
        _published_alone(runs, split, form, wanted)
    asked = (*wanted.methods, *([] if wanted.baseline is None else [wanted.baseline]))
    found = dict(zip(asked, found_as(runs, asked), strict=True))
    wanted = wanted._replace(
        methods=tuple(found[method] for method in wanted.methods),
        baseline=None if wanted.baseline is None else found[wanted.baseline],
    )
    results = _results(runs, split, wanted)
    for notice in results.notices:
        say(f"note: {notice}")
    table = _built(runs, results, wanted)
    _say_left_out(wanted, table)
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
    from ..table import LIP_SCALES, check_share

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    only: tuple[tuple[str, object, str], ...] = (
        ("--figure", wanted.figure, "main"),
        ("--scatter", wanted.scatter, "main"),
        ("--key", wanted.key, "sweep"),
        ("--share", wanted.share, "lip-bias"),
        ("--votes", wanted.votes, "human"),
    )
    for name, given, kind in only:
        if given is not None and given is not False and wanted.kind != kind:
            raise UsageError(f"{name} goes with --kind {kind}, not with --kind {wanted.kind}. Leave one of them out.")
    if wanted.kind == "human":
        for name, of_runs in _of_runs(wanted).items():
            if of_runs:
                raise UsageError(
                    f"{name} does not go with --kind human: votes are of people, not of runs. Leave it out."
                )
    if wanted.share is not None:
        check_share(wanted.share)
    if wanted.kind == "lip-bias" and wanted.metrics and set(wanted.metrics) not in map(set, LIP_SCALES):
        pairs = " or ".join(" and ".join(pair) for pair in LIP_SCALES)
        raise UsageError(
            f"--metric {', '.join(wanted.metrics)} with --kind lip-bias, whose columns are {pairs}. Leave --metric out."
        )
    if wanted.kind == "lip-bias" and (wanted.baseline or wanted.stars):
        raise UsageError(
            "--baseline and --stars do not go with --kind lip-bias: its clips differ from method to method, and nothing "
            "is paired. Leave them out."
        )
    if wanted.scatter_scale and not wanted.scatter:
        raise UsageError("--scatter-scale without --scatter FILE; expected where to draw. Give both.")


def _of_runs(wanted: Wanted) -> dict[str, bool]:
    """Options that say something of runs, and whether they were given."""
    return {
        "--method": bool(wanted.methods),
        "--profile": wanted.profile is not None,
        "--metric": bool(wanted.metrics),
        "--baseline": wanted.baseline is not None,
        "--stars": wanted.stars,
        "--published": wanted.published,
        "--hide-controls": wanted.hide_controls,
    }


def _name(split: str) -> str:
    return Path(split).absolute().name


def _scored(runs: Path, split: str) -> bool:
    """Whether any run of the split has scores; a folder of clips alone has nothing to show."""
    from ..run import find_runs

    return runs.is_dir() and any(
        path.stat().st_size
        for run in find_runs(runs)
        if run.split == _name(split)
        for path in run.folder.glob("scores*.jsonl")
    )


def _say_left_out(wanted: Wanted, table: Table) -> None:
    """A notice of methods that were named and that the form has no row for. One alone names the family."""
    if wanted.kind not in ("ablation", "sweep") or len(wanted.methods) < 2:
        return
    from ..results import clean

    rows = {row.method for block in table.blocks for row in block.rows}
    left = [method for method in wanted.methods if clean(method) not in rows]
    if left:
        say(f"note: {', '.join(map(clean, left))}: no row of this {wanted.kind}, and left out.")


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


def _show_human(form: str, votes: Path | None, split: str | None) -> None:
    """Preferences of a file of votes, or the published ones."""
    from ..published import preferences_table, ratings_table
    from ..table.human import human

    if votes is None:
        click.echo(laid_out([preferences_table(), ratings_table()], form))
    else:
        click.echo(laid_out([human(*counted(votes, None, split))], form))


def _published_alone(runs: Path, split: str, form: str, wanted: Wanted) -> None:
    """Without scores: prints what was published of the split, if anything was, and ends with Incomplete."""
    from ..metric import PROFILES
    from ..published import tables_of
    from ..split import load_split

    name = _name(split)
    if not tables_of(name):
        return
    head = load_split(split, protocol=True).head
    if wanted.stars and wanted.baseline is None:
        raise UsageError(
            "--stars without --baseline: a star says that a method differs from one that is named. Give both."
        )
    if wanted.profile is not None and wanted.profile not in PROFILES:
        raise unknown("profile", wanted.profile, sorted(PROFILES))
    makes = "`avbench generate` makes clips of a split that has pairs, `avbench score` scores them."
    if wanting := _wanting_scores(wanted, head.profile):
        raise Incomplete(
            f"{runs}: no scores of split {name!r}, and {', '.join(wanting)} can be had of scores alone. {makes} Without "
            "such options it prints what was published."
        )
    tables = _with_metrics(tables_of(name, wanted.asked), wanted, name)
    click.echo(laid_out(tables, form))
    lacking = f" Nor are its pairs here: {head.protocol.missing}." if head.protocol is not None else ""
    raise Incomplete(
        f"{runs}: no scores of split {name!r}, so the numbers above are published ones alone.{lacking} {makes}"
    )


def _wanting_scores(wanted: Wanted, profile: str) -> list[str]:
    """Options that published numbers cannot follow."""
    from ..table import SHARE

    given = {
        "--method": bool(wanted.methods),
        f"--profile {wanted.profile}": wanted.profile not in (None, profile),
        "--key": wanted.key is not None,
        f"--share {wanted.share}": wanted.share not in (None, SHARE),
        "--baseline": wanted.baseline is not None,
        "--figure": wanted.figure is not None,
        "--scatter": wanted.scatter is not None,
    }
    return [name for name, there in given.items() if there]


def _with_metrics(tables: list[Table], wanted: Wanted, split: str) -> list[Table]:
    """These tables, with the columns that were asked for. UsageError where there is no such table or column."""
    if not tables:
        raise UsageError(
            f"nothing published of split {split!r} has the form {wanted.kind}. Leave --kind out to see what has."
        )
    there = list(dict.fromkeys(column.scale for table in tables for column in table.columns))
    for name in wanted.metrics:
        if name not in there:
            raise unknown(f"metric in what was published of split {split!r}", name, there)
    if not wanted.metrics:
        return tables
    shown = []
    for table in tables:
        kept = [number for number, column in enumerate(table.columns) if column.scale in wanted.metrics]
        if kept:
            shown.append(_with_columns(table, kept))
    return shown


def _with_columns(table: Table, kept: list[int]) -> Table:
    blocks = tuple(
        block._replace(
            rows=tuple(row._replace(cells=tuple(row.cells[number] for number in kept)) for row in block.rows)
        )
        for block in table.blocks
    )
    return table._replace(columns=tuple(table.columns[number] for number in kept), blocks=blocks)
