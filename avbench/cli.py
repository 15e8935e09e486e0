"""The command line: parses, prints, exits; the only file that does.

What a program may want to read goes to stdout; progress, notices and errors go to stderr. Each command imports
its verb inside, so that `--help` and `table` stay instant.
"""

from __future__ import annotations

import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from .errors import AvbenchError, WeightsError, unknown

if TYPE_CHECKING:
    from .generate import Generated
    from .run import Overwrite
    from .score import Scored
    from .workers import Progress

__all__ = ["app", "main"]

Command = TypeVar("Command", bound=Callable[..., Any])

EXIT_USAGE = 2
EXIT_INCOMPLETE = 4
EXIT_INTERNAL = 70
EXIT_INTERRUPTED = 130


def main() -> None:
    """The console script. Exit codes: 0 ok, 1 failed check, 2 usage, 3 incomparable, 4 incomplete, 70 internal, 130 stopped."""
    try:
        sys.exit(app.main(standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        say("stopped; the same command continues from here.")
        sys.exit(EXIT_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AvbenchError as error:
        say(f"error: {error}")
        sys.exit(error.exit_code)
    except OSError as error:  # a file that may not be read, a machine without memory: nothing that a report would mend
        say(f"error: {error.filename or 'the system'}: {error.strerror or error}.")
        sys.exit(EXIT_USAGE)
    except Exception:
        traceback.print_exc()
        say("error: this is a fault of avbench; please report it with the lines above.")
        sys.exit(EXIT_INTERNAL)


def say(line: str) -> None:
    """One line for a person."""
    click.echo(line, err=True)


# Options that several commands share -----------------------------------------------------------------------------


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


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="avbench", message="%(package)s %(version)s")
def app() -> None:
    """Measures how well a model makes a given person (a face and a voice) say given words in a given place.

    split → generate → score → table. Each step leaves files, and the same command continues after a stop.
    """


# The line --------------------------------------------------------------------------------------------------------


@app.command()
@runs_option
@workers_option
def demo(runs: Path, workers: int | None) -> None:
    """Makes the demo split, the clips of a baseline and of controls, and their scores; prints the table."""
    from .generate import generate
    from .methods import DEMO
    from .score import score
    from .split import load_split

    split = load_split("demo")
    with Bars() as bars:
        made = generate(split, DEMO, runs, workers=workers, report=bars)
        scored = score(runs, splits=[split.name], methods=DEMO, workers=workers, report=bars)
    tell_generated(made)
    tell_scored(scored)
    show_table(runs, split.name, "text", None, (), ())
    say(f"\nThe clips and scores are in {runs}/. The same as LaTeX: avbench table --runs {runs} --format latex")
    finish_generated(made)


@app.command()
@option("--method", "methods", multiple=True, required=True, help="NAME[@key=value,…] or module:NAME; may be repeated.")
@split_option
@runs_option
@data_option
@overwrite_option
@limit_option
@workers_option
def generate(
    methods: tuple[str, ...],
    split: str,
    runs: Path,
    data: Path | None,
    overwrite: Overwrite,
    limit: int | None,
    workers: int | None,
) -> None:
    """Makes each pair's clip: RUNS/METHOD/SPLIT/PAIR.mp4."""
    from .generate import generate
    from .split import load_split

    with Bars() as bars:
        made = generate(
            load_split(split),
            methods,
            runs,
            data=data,
            overwrite=overwrite,
            limit=limit,
            workers=workers,
            report=bars,
        )
    tell_generated(made)
    finish_generated(made)


@app.command()
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
    from .score import score

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
    tell_scored(scored)


@app.command()
@split_option
@runs_option
@option("--method", "methods", multiple=True, help="Only this method; may be repeated.  [default: all]")
@profile_option
@option("--metric", "metrics", multiple=True, help="Only this scale; may be repeated.  [default: all]")
@option("--format", "form", default="text", help="text, markdown, latex or csv.")
@option("--figure", type=FILE, help="Draws the table as well: a path that ends in .png, .svg or .pdf.")
@option("--figure-width", type=click.Choice(["column", "full"]), default="full", help="3.4 or 7.0 inches.")
def table(
    split: str,
    runs: Path,
    methods: tuple[str, ...],
    profile: str | None,
    metrics: tuple[str, ...],
    form: str,
    figure: Path | None,
    figure_width: str,
) -> None:
    """Prints the table of a split from the score files below RUNS. Needs no clips, media or networks."""
    show_table(runs, split, form, profile, methods, metrics, figure, figure_width)


def show_table(
    runs: Path,
    split: str,
    form: str,
    profile: str | None,
    methods: tuple[str, ...],
    metrics: tuple[str, ...],
    figure: Path | None = None,
    figure_width: str = "full",
) -> None:
    from .report import FORMATS, write_figure
    from .results import load
    from .table import build

    if form not in FORMATS:
        raise unknown("format", form, FORMATS)
    results = load(runs, split, profile=profile, methods=methods or None, metrics=metrics or None)
    for notice in results.notices:
        say(f"note: {notice}")
    table = build(results)
    if figure is not None:
        write_figure(figure, results, table, figure_width)
    click.echo(FORMATS[form](table).rstrip("\n"))
    if figure is not None:
        say(f"wrote {figure}")


@app.command()
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
    from .audit import audit, failures, text, unjudged, write
    from .report import FIGURES

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


# What there is ---------------------------------------------------------------------------------------------------


@app.command()
@click.argument("what", type=click.Choice(["splits", "methods", "metrics", "profiles"]))
def ls(what: str) -> None:
    """Lists the splits, methods, metrics or profiles, one a line."""
    for name, text in LISTS[what]():
        click.echo(f"{name:24} {text}")


def _splits() -> list[tuple[str, str]]:
    from .split import known_splits, load_split

    found = []
    for name in known_splits():
        try:
            split = load_split(name)
            found.append((name, f"{len(split.pairs)} pairs, {split.digest}: {split.head.title}"))
        except AvbenchError as error:  # the others are still worth listing
            found.append((name, f"error: {error}"))
    return found


def _methods() -> list[tuple[str, str]]:
    import inspect

    from .methods import METHODS, summary

    found = []
    for name, factory in METHODS.items():
        keys = ",".join(f"{key}=…" for key in inspect.signature(factory).parameters)
        found.append((f"{name}@{keys}" if keys else name, summary(name)))
    return found


def _metrics() -> list[tuple[str, str]]:
    from .metrics import METRICS

    return [(metric.name, f"{metric.profile}: {metric.card.question}") for metric in METRICS.values()]


def _profiles() -> list[tuple[str, str]]:
    from .metric import PROFILES

    return list(PROFILES.items())


LISTS = {"splits": _splits, "methods": _methods, "metrics": _metrics, "profiles": _profiles}


@app.command()
@click.argument("metric")
@profile_option
def describe(metric: str, profile: str | None) -> None:
    """Prints a metric's card: question, recipe, source, range, what confounds it, networks and their licences."""
    from .metric import PROFILES
    from .metrics import METRICS, scale_of
    from .metrics.card import card

    of_profile = [one for one in METRICS.values() if profile in (None, one.profile)]
    found = [one for one in of_profile if one.name == metric]
    if not of_profile:
        raise unknown("profile", str(profile), PROFILES)
    if not found:
        raise unknown("metric", metric, dict.fromkeys(one.name for one in of_profile))
    click.echo("\n\n".join(card(one, scale_of(one)) for one in found))


@app.command()
def doctor() -> None:
    """Examines this machine: what is installed, what is missing, what to type."""
    from .doctor import examine

    checks = examine()
    for check in checks:
        click.echo(f"{check.state:4}  {check.name:24} {check.found}")
        if check.do:
            click.echo(f"{'':30} {check.do}")
    if any(check.state == "fail" for check in checks):
        raise SystemExit(1)


@app.command()
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
    from .selftest import cross_check

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


@app.group()
def weights() -> None:
    """Network files: what they are, where they lie, whether they are right."""


@weights.command("ls")
def weights_ls() -> None:
    """Lists every network file: size, what is here of it, licence, the extractors that use it."""
    from .weights import WEIGHTS, state

    for name, weight in WEIGHTS.items():
        size = f"{weight.size / 1e6:7,.1f} MB" if weight.size else "      ? MB"
        click.echo(f"{name:20} {size}  {state(name)}; {weight.licence}; for {', '.join(weight.used_by)}")


@weights.command("fetch")
@click.argument("names", nargs=-1)
@option("--profile", "profiles", multiple=True, help="All files of these recipes.  [default, without names: embedded]")
@option("--accept-licence", "accepted", metavar="NAME", multiple=True, help="You accept this licence; it is recorded.")
@option("--offline", is_flag=True, help="Download nothing, only check what is here.")
def weights_fetch(names: tuple[str, ...], profiles: tuple[str, ...], accepted: tuple[str, ...], offline: bool) -> None:
    """Brings network files to this machine and checks them. A download that was stopped goes on where it was."""
    import os

    from .weights import accept, fetch

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
            click.echo(f"{name:20} {place}")
        except WeightsError as error:  # the others are still worth having
            say(f"error: {error}")
            failed = True
    if failed:
        raise SystemExit(EXIT_USAGE)


@weights.command("verify")
@click.argument("names", nargs=-1)
def weights_verify(names: tuple[str, ...]) -> None:
    """Compares size and sha256 of the named files with the registry; fetches nothing. Without names: all that is here."""
    from .weights import WEIGHTS, Download, Wheel, verify, where

    wrong = 0
    for name in _weights_named(names) if names else WEIGHTS:
        if not names and isinstance(WEIGHTS[name].source, Download | Wheel) and not where(name).exists():
            click.echo(f"{name:20} absent")
            continue
        try:
            verify(name)
            click.echo(f"{name:20} ok")
        except AvbenchError as error:
            wrong += 1
            click.echo(f"{name:20} {error}")
    if wrong:
        raise SystemExit(1)


@weights.command("where")
@click.argument("name")
def weights_where(name: str) -> None:
    """Prints the path of a network file."""
    from .weights import where

    click.echo(str(where(_weights_named((name,))[0])))


def _weights_named(names: tuple[str, ...]) -> list[str]:
    from .weights import WEIGHTS

    for name in names:
        if name not in WEIGHTS:
            raise unknown("weights", name, WEIGHTS)
    return list(names)


def _weights_of_profile(profile: str) -> list[str]:
    """The network files of all extractors that the metrics of a profile read."""
    from .extract import EXTRACTORS
    from .metric import PROFILES
    from .metrics import METRICS

    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    needs = [need for metric in METRICS.values() if metric.profile == profile for need in metric.needs.values()]
    features = {feature.name for need in needs for feature in need}
    return list(dict.fromkeys(name for feature in sorted(features) for name in EXTRACTORS[feature].weights))


# What people see while they wait ---------------------------------------------------------------------------------


class Bars:
    """One progress bar for each stage, on stderr: done, time left, rate, failures."""

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, progress: Progress) -> None:
        if progress.note:
            say(f"{progress.note} …")
            return
        if progress.stage != self._stage or self._bar is None:
            self._close()
            self._open(progress)
        self._bar.set_postfix_str(f"{progress.failed} failed" if progress.failed else "", refresh=False)
        self._bar.update(progress.done - self._bar.n)
        if progress.done >= progress.total:
            self._close()

    def _open(self, progress: Progress) -> None:
        from tqdm import tqdm

        watched = sys.stderr.isatty()
        self._stage = progress.stage
        self._bar = tqdm(
            total=progress.total,
            desc=f"{progress.stage:8}",
            unit="clip",
            file=sys.stderr,
            mininterval=0.2 if watched else 15.0,  # a log keeps every line
            dynamic_ncols=watched,
            disable=progress.total == 0,
        )

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class ByteBar:
    """The progress of one download, on stderr: bytes, time left, rate. Nothing is shown where nothing is downloaded."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> ByteBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, name: str, done: int, total: int) -> None:
        if self._bar is None:
            from tqdm import tqdm

            watched = sys.stderr.isatty()
            self._bar = tqdm(
                total=total,
                initial=done,
                desc=name,
                unit="B",
                unit_scale=True,
                file=sys.stderr,
                mininterval=0.2 if watched else 15.0,  # a log keeps every line
                dynamic_ncols=watched,
            )
        self._bar.total = total
        if done < self._bar.n:  # it began anew
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)


def tell_generated(made: Generated) -> None:
    say(f"generate: {made.made} made, {made.kept} there already, {len(made.failures)} failed")
    for method, pair, reason in made.failures:
        say(f"  {method} {pair}: {reason}")


def finish_generated(made: Generated) -> None:
    if made.failures:
        say("error: some clips could not be made; --overwrite failed tries them again.")
        raise SystemExit(EXIT_INCOMPLETE)


def tell_scored(scored: Scored) -> None:
    say(
        f"score: {scored.scored} clips scored, {scored.kept} complete already, {scored.missing} pairs without a clip; "
        f"{scored.extracted} streams extracted"
    )
    for reason, count in sorted(scored.failures.items(), key=lambda item: (-item[1], item[0])):
        say(f"  {count} x unmeasurable: {reason}")
    for line in scored.skipped:
        say(f"  skipped {line}")
