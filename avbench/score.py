"""Clips × metrics → rows in scores.jsonl.

First the features: every stream that a metric needs and the store lacks is decoded once and extracted once,
whichever methods and pairs share it. As soon as all features of a clip are there its metrics are measured, and
its rows are appended. `Unmeasurable` is caught here and nowhere else: the row then carries the reason.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from .clip import stream_sha256
from .errors import AvbenchError, MediaError, SplitError, UsageError
from .extract import extract, ready, revision
from .features import Feature, Features, Record, Sense, load, path_of, save
from .home import imported, sha256
from .metric import Measured, Metric, Sample, Scale, Source, Unmeasurable
from .metrics import METRICS, scale_of, select
from .prepare import prepare
from .run import (
    Run,
    ScoreRow,
    append_costs,
    append_rows,
    find_runs,
    lock,
    read_run,
    read_scales,
    read_scores,
    read_sidecar,
    rewrite_scores,
    write_run,
    write_scales,
)
from .split import Pair, Split, known_splits, load_split, media_path, media_root
from .workers import Progress, Report, cpu_workers, run_jobs, silent

__all__ = ["Overwrite", "Scored", "score"]

Overwrite = Literal["never", "failed", "all"]

SCORES = "scores.jsonl"
ABSENT = ""  # the digest of a file that is not there
FILE = "<file>"  # stands for a path in a reason: the same stream may lie in several files


class Scored(NamedTuple):
    """What a call of `score` did, in clips; `skipped` says which folders were passed over, and why."""

    runs: list[Run]
    scored: int  # clips that got new rows
    kept: int  # clips whose rows were all there
    missing: int  # pairs without a clip
    failures: dict[str, int]  # reason → how many of the new rows
    skipped: list[str]
    extracted: int  # streams that a network or detector went over


class _Stream(NamedTuple):
    """One stream, by content: the same in every file that carries it."""

    content_sha256: str
    sense: Sense


class _Job(NamedTuple):
    """What a worker does with one stream."""

    stream: _Stream
    path: Path  # a file that carries it
    names: tuple[str, ...]  # extractors


class _Todo(NamedTuple):
    """One clip with the metrics that it still needs, and where each source's features come from."""

    run: Run
    pair: Pair
    row: ScoreRow  # the key of its rows, with scale and revision left empty
    metrics: list[Metric]
    paths: Mapping[Source, Path]


class _Options(NamedTuple):
    data: Path | None
    overwrite: Overwrite
    limit: int | None
    workers: int
    report: Report


def score(
    runs: Path,
    *,
    splits: Sequence[str] = (),
    methods: Sequence[str] = (),
    profile: str | None = None,
    metrics: Sequence[str] = (),
    data: Path | None = None,
    overwrite: Overwrite = "never",
    limit: int | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Scored:
    """Scores every METHOD/SPLIT below `runs` whose split is known, on the split's profile unless another is given."""
    if limit is not None and limit < 1:
        raise UsageError(f"limit = {limit}; expected 1 or more.")
    workers = workers or cpu_workers()
    chosen, skipped = _choose(runs, splits, methods)
    known = {name: load_split(name) for name in sorted({run.split for run in chosen})}
    asked = {name: _metrics(profile or split.head.profile, metrics) for name, split in known.items()}
    ready(list(dict.fromkeys(name for found in asked.values() for metric in found for name in _features(metric))))
    for split in known.values():
        prepare(split, data, workers, report)
        _check_media(split, data)
    with ExitStack() as held:
        for run in chosen:
            held.enter_context(lock(run.folder, "score"))
        return _score(chosen, known, asked, _Options(data, overwrite, limit, workers, report), skipped)


def _score(
    chosen: list[Run],
    known: Mapping[str, Split],
    asked: Mapping[str, list[Metric]],
    options: _Options,
    skipped: list[str],
) -> Scored:
    digests = _Digests()
    todos: list[_Todo] = []
    kept = missing = 0
    for run in chosen:
        split = known[run.split]
        metrics = asked[run.split]
        scales = {metric.name: scale_of(metric) for metric in metrics}
        rows = read_scores(run.folder)
        write_scales(run.folder, scales.values())
        for pair in split.pairs[: options.limit]:
            row = _row(run, split, pair, options.data, digests)
            if row is None:
                missing += 1
                continue
            lacking = [metric for metric in metrics if _lacks(rows, row, scales[metric.name], options.overwrite)]
            if lacking:
                todos.append(_Todo(run, pair, row, lacking, _paths(run, split, pair, options.data)))
            else:
                kept += 1
    plan = _Plan(todos, digests)
    failures = _work(todos, plan, options)
    for run in chosen:
        _finish(run, known[run.split], options, digests)
    return Scored(chosen, len(todos), kept, missing, dict(failures), skipped, len(plan.names))


# What there is to do ---------------------------------------------------------------------------------------------


def _choose(runs: Path, splits: Sequence[str], methods: Sequence[str]) -> tuple[list[Run], list[str]]:
    """The run folders to score, and a line for each one passed over."""
    wanted = {Path(name).name for name in splits}
    chosen, skipped = [], []
    found = find_runs(runs)
    for method in methods:
        if method not in {run.method for run in found}:
            raise UsageError(
                f"{runs / method}: no such run. Below {runs}: {', '.join(sorted({run.method for run in found})) or 'nothing'}."
            )
    splits_here = known_splits()
    for run in found:
        if (wanted and run.split not in wanted) or (methods and run.method not in methods):
            continue
        if run.split in splits_here:
            chosen.append(run)
        else:
            skipped.append(f"{run.folder}: no split {run.split!r} is known")
    if not chosen:
        raise UsageError(
            f"{runs}: nothing to score; expected RUNS/METHOD/SPLIT/PAIR.mp4 with SPLIT one of {', '.join(splits_here)}."
            + "".join(f"\n  skipped {line}" for line in skipped)
        )
    return chosen, skipped


def _metrics(profile: str, names: Sequence[str]) -> list[Metric]:
    ours = [name for name in names if ":" not in name]
    theirs = [_imported(name) for name in names if ":" in name]
    return [*(select(profile, ours) if ours or not names else []), *theirs]


def _features(metric: Metric) -> list[str]:
    """The extractors that a metric stands on."""
    return [feature.name for features in metric.needs.values() for feature in features]


def _imported(text: str) -> Metric:
    """`module:NAME` → the Metric of that name."""
    found = imported("metric", text)
    if not isinstance(found, Metric):
        raise UsageError(f"metric {text}: found {type(found).__name__}; expected an avbench.Metric.")
    return found


def _check_media(split: Split, data: Path | None) -> None:
    """A split none of whose clips is there means a wrong folder, not as many failures."""
    if not any(media_path(split, pair, "target", data).is_file() for pair in split.pairs):
        raise SplitError(
            f"{media_root(split, data)}: none of the {len(split.pairs)} target clips of split {split.name} is there. "
            "Give the folder that holds them: --data FOLDER, with the split's name below it."
        )


class _Digests:
    """sha256 of files and of streams, each computed once."""

    def __init__(self) -> None:
        self._files: dict[Path, str] = {}
        self._streams: dict[tuple[Path, Sense], _Stream | MediaError] = {}

    def file(self, path: Path) -> str:
        if path not in self._files:
            self._files[path] = sha256(path) if path.is_file() else ABSENT
        return self._files[path]

    def stream(self, path: Path, sense: Sense) -> _Stream:
        """MediaError where the file has no such stream."""
        if (path, sense) not in self._streams:
            try:
                self._streams[path, sense] = _Stream(stream_sha256(path, sense), sense)
            except MediaError as error:
                self._streams[path, sense] = error
        found = self._streams[path, sense]
        if isinstance(found, MediaError):
            raise found
        return found


def _paths(run: Run, split: Split, pair: Pair, data: Path | None) -> dict[Source, Path]:
    return {
        "clip": run.folder / f"{pair.id}.mp4",
        "target": media_path(split, pair, "target", data),
        "voice": media_path(split, pair, "voice", data),
        "face": media_path(split, pair, "face", data),
    }


def _row(run: Run, split: Split, pair: Pair, data: Path | None, digests: _Digests) -> ScoreRow | None:
    """The key that a clip's rows have now; None where nobody has tried to make the clip."""
    paths = _paths(run, split, pair, data)
    clip = digests.file(paths["clip"])
    if clip == ABSENT and _not_made(run, pair) is None:
        return None
    references = digests.file(paths["voice"]) + digests.file(paths["face"])
    return ScoreRow(
        split=split.label,
        pair=pair.id,
        speaker=pair.speaker,
        clip_sha256=clip,
        target_sha256=digests.file(paths["target"]),
        reference_sha256=hashlib.sha256(references.encode()).hexdigest(),
        profile="",
        scale="",
        revision="",
    )


def _not_made(run: Run, pair: Pair) -> str | None:
    """Why `generate` could not make the clip, where it says so."""
    sidecar = read_sidecar(run.folder / f"{pair.id}.json")
    return sidecar.failure if sidecar is not None and sidecar.failure else None


def _lacks(rows: Mapping[tuple[str, ...], ScoreRow], row: ScoreRow, scale: Scale, overwrite: Overwrite) -> bool:
    there = rows.get(_on(row, scale).key)
    return there is None or overwrite == "all" or (overwrite == "failed" and there.failure is not None)


def _on(row: ScoreRow, scale: Scale) -> ScoreRow:
    return msgspec.structs.replace(row, profile=scale.profile, scale=scale.name, revision=scale.revision)


# Features --------------------------------------------------------------------------------------------------------


class _Plan:
    """Which streams must still be extracted, for which features, and which clips wait for each."""

    def __init__(self, todos: Sequence[_Todo], digests: _Digests) -> None:
        self.digests = digests
        self.names: dict[_Stream, dict[str, None]] = {}  # extractors that each stream lacks
        self.paths: dict[_Stream, Path] = {}
        self.open: list[set[_Stream]] = []  # per clip, the streams that it waits for
        self.failures: dict[_Stream, str] = {}  # streams that cannot be decoded
        self._stored: dict[tuple[_Stream, str], bool] = {}
        for todo in todos:
            self.open.append({stream for metric in todo.metrics for stream in self._lacking(todo, metric)})

    def jobs(self) -> list[_Job]:
        """One job for each stream, in the order in which the clips come."""
        return [_Job(stream, self.paths[stream], tuple(names)) for stream, names in self.names.items()]

    def _lacking(self, todo: _Todo, metric: Metric) -> Iterator[_Stream]:
        for source, feature, path in _needs(todo, metric):
            try:
                stream = self.digests.stream(path, _sense(source, feature))
            except MediaError:
                continue  # said again, with its reason, when the clip is measured
            if not self._is_stored(stream, feature):
                self.paths.setdefault(stream, path)
                self.names.setdefault(stream, {})[feature.name] = None
                yield stream

    def _is_stored(self, stream: _Stream, feature: Feature[Any]) -> bool:
        key = (stream, feature.name)
        if key not in self._stored:
            self._stored[key] = load(_stored_at(stream, feature.name), feature.record) is not None
        return self._stored[key]


def _work(todos: Sequence[_Todo], plan: _Plan, options: _Options) -> Counter[str]:
    """Extracts what the store lacks and measures each clip as soon as its features are there; answers the failures."""
    waiting: dict[_Stream, list[int]] = {}
    for number, streams in enumerate(plan.open):
        for stream in streams:
            waiting.setdefault(stream, []).append(number)
    failures: Counter[str] = Counter()
    done = failed = 0

    def finish(number: int) -> None:
        nonlocal done, failed
        rows = _measure(todos[number], plan)
        append_rows(todos[number].run.folder / SCORES, rows)
        reasons = [row.failure for row in rows if row.failure is not None]
        failures.update(reasons)
        done, failed = done + 1, failed + bool(reasons)
        options.report(Progress("score", done, len(todos), failed))

    options.report(Progress("score", 0, len(todos), 0))
    for number, streams in enumerate(plan.open):
        if not streams:
            finish(number)
    for job, (seconds, failure) in run_jobs(_extract, plan.jobs(), options.workers):
        if failure:
            plan.failures[job.stream] = failure
        first = todos[waiting[job.stream][0]]
        cost = {"stage": "extract", "pair": first.pair.id, "features": job.names, "seconds": round(seconds, 3)}
        append_costs(first.run.folder, [cost])
        for number in waiting[job.stream]:
            plan.open[number].discard(job.stream)
            if not plan.open[number]:
                finish(number)
    return failures


def _extract(job: _Job) -> tuple[float, str]:
    """Runs in a worker: one decoding, all features of a stream into the store; or why it cannot be decoded."""
    begun = time.perf_counter()
    failure = ""
    try:
        for name, record in extract(job.path, job.stream.sense, job.names).items():
            save(_stored_at(job.stream, name), record)
    except MediaError as error:
        failure = str(error).replace(str(job.path), FILE)
    return time.perf_counter() - begun, failure


def _needs(todo: _Todo, metric: Metric) -> Iterator[tuple[Source, Feature[Any], Path]]:
    """Every feature that a metric asks for, with the file that it comes from, where that file is there."""
    for source, features in metric.needs.items():
        path = todo.paths[source]
        if path.is_file():
            for feature in features:
                yield source, feature, path


def _sense(source: Source, feature: Feature[Any]) -> Sense:
    """The given face is a picture: a video extractor sees it as one frame."""
    return "image" if source == "face" else feature.sense


def _stored_at(stream: _Stream, name: str) -> Path:
    return path_of(f"{stream.sense}:{stream.content_sha256}", revision(name))


# Rows ------------------------------------------------------------------------------------------------------------


def _measure(todo: _Todo, plan: _Plan) -> list[ScoreRow]:
    """One row for each metric that the clip still needs: a value, or the reason why there is none."""
    rows = []
    for metric in todo.metrics:
        row = _on(todo.row, scale_of(metric))
        try:
            measured = metric.measure(_sample(todo, metric, plan))
        except Unmeasurable as reason:
            # A file name need not be UTF-8; a row is.
            readable = str(reason).encode(errors="replace").decode()
            rows.append(msgspec.structs.replace(row, failure=readable))
            continue
        if not isinstance(measured, Measured):
            measured = Measured(measured)
        value = float(measured.value)
        if not math.isfinite(value):
            raise AvbenchError(
                f"metric {metric.name} answered {value} for {todo.run.folder / todo.pair.id}.mp4; "
                "a metric must answer a finite number or raise Unmeasurable. This is a fault of the metric."
            )
        rows.append(msgspec.structs.replace(row, value=value, detail=dict(measured.detail)))
    return rows


def _sample(todo: _Todo, metric: Metric, plan: _Plan) -> Sample:
    """The features that a metric asks for; Unmeasurable names the file where one cannot be had."""
    records: dict[Source, dict[str, Record]] = {"clip": {}, "target": {}, "voice": {}, "face": {}}
    for source, features in metric.needs.items():
        path = todo.paths[source]
        _check_file(todo, source, path, plan.digests)
        for feature in features:
            try:
                stream = plan.digests.stream(path, _sense(source, feature))
            except MediaError as error:
                raise Unmeasurable(_named(source, str(error).replace(str(path), _short(todo, source)))) from error
            if stream in plan.failures:
                raise Unmeasurable(_named(source, plan.failures[stream].replace(FILE, _short(todo, source))))
            record = load(_stored_at(stream, feature.name), feature.record)
            if record is None:
                raise AvbenchError(f"{_stored_at(stream, feature.name)}: vanished or damaged meanwhile. Run it again.")
            records[source][feature.name] = record
    return Sample(
        clip=Features(records["clip"]),
        target=Features(records["target"]),
        voice=Features(records["voice"]),
        face=Features(records["face"]),
        prompt=todo.pair.prompt,
    )


def _check_file(todo: _Todo, source: Source, path: Path, digests: _Digests) -> None:
    """A file that is absent, or not the one that the split names, is the pair's failure."""
    if not path.is_file():
        reason = _not_made(todo.run, todo.pair) if source == "clip" else None
        raise Unmeasurable(
            f"not generated: {reason}" if reason else _named(source, f"{_short(todo, source)}: no such file")
        )
    expected = todo.pair.sha256.get(source)
    if expected is not None and digests.file(path) != expected:
        found = digests.file(path)
        raise Unmeasurable(_named(source, f"{_short(todo, source)}: sha256 {found[:12]}…, expected {expected[:12]}…"))


def _short(todo: _Todo, source: Source) -> str:
    """A file's name in its folder of clips or media: what a row may say on every machine."""
    return todo.paths[source].name if source == "clip" else str(getattr(todo.pair, source))


def _named(source: Source, reason: str) -> str:
    return reason if source == "clip" else f"{source} {reason}"


def _finish(run: Run, split: Split, options: _Options, digests: _Digests) -> None:
    """Rewrites scores.jsonl in pair, then scale order, without what other clips, media or revisions left behind."""
    rows = read_scores(run.folder)
    scales = read_scales(run.folder)
    ours = {f"{metric.profile}/{metric.name}": scale_of(metric) for metric in METRICS.values()}
    places = {pair.id: number for number, pair in enumerate(split.pairs)}
    now = {pair.id: _row(run, split, pair, options.data, digests) for pair in split.pairs}

    def is_current(row: ScoreRow) -> bool:
        current = now.get(row.pair)
        scale = ours.get(f"{row.profile}/{row.scale}")
        if row.pair not in places or (scale is not None and row.revision != scale.revision):
            return False
        # Without the clip there is nothing newer to hold the row against: it stays.
        return current is None or row.key[:6] == current.key[:6]

    def place(row: ScoreRow) -> tuple[int, str, int, str]:
        scale = scales.get(f"{row.profile}/{row.scale}")
        return places[row.pair], row.profile, scale.order if scale is not None else len(ours), row.scale

    rewrite_scores(run.folder / SCORES, sorted(filter(is_current, rows.values()), key=place))
    _mark_limited(run, rows.values(), now, options.limit)


def _mark_limited(run: Run, rows: Iterable[ScoreRow], now: Mapping[str, ScoreRow | None], limit: int | None) -> None:
    """Says in run.json that fewer pairs were scored than have clips, where that was asked for."""
    info = read_run(run.folder)
    scored = {row.pair for row in rows}
    left = any(row is not None and pair not in scored for pair, row in now.items())
    limited = limit if limit is not None and left else 0
    if limited != info.limited_scores:
        write_run(run.folder, msgspec.structs.replace(info, limited_scores=limited))
