"""Clips × metrics → rows in scores.jsonl.

First the features: every stream that a metric needs and the store lacks is decoded once and extracted once,
whichever methods, pairs and metrics share it. As soon as all features of a clip are there its metrics are measured, and
its rows are appended. `Unmeasurable` is caught here and nowhere else: the row then carries the reason.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .clip import stream_sha256
from .errors import AvbenchError, MediaError, SplitError, UsageError, unknown
from .extract import EXTRACTORS, Engine, Medium, engine_of, extract, ready, stored_at
from .features import Feature, Features, Record, Sense, load, save
from .home import FileDigests, home, imported, sweep
from .metric import UNTRAINED, Measured, Metric, Sample, Scale, Source, Unmeasurable
from .metrics import METRICS, scale_of, select
from .prepare import prepare
from .run import (
    Overwrite,
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
from .split import Pair, Prompt, Split, known_splits, load_split, media_path, media_root
from .weights import WEIGHTS
from .workers import Progress, Report, check_workers, cpu_workers, free_bytes, notes, run_jobs, silent

__all__ = ["Scored", "check_media", "score"]

SCORES = "scores.jsonl"
BYTES_A_WORKER = 10**9  # frames of a clip, and what runs them
WORKERS_ON_GPU = 2  # while one decodes, the other computes; each holds its own networks


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
    """One stream, by content: the same in every file that carries it. With what of the pair is read with it, if anything."""

    content_sha256: str
    sense: Sense
    text: str = ""


class _Job(NamedTuple):
    """What a worker does with one file or prompt: the extractors that each of its streams lacks."""

    source: Path | Prompt
    names: Mapping[_Stream, tuple[str, ...]]
    engine: Engine


class _Part(NamedTuple):
    """What came of one stream."""

    stream: _Stream
    seconds: float
    failure: str  # why it cannot be decoded, if it cannot


class _Todo(NamedTuple):
    """One clip with the metrics that it still needs, and where each source's features come from."""

    run: Run
    pair: Pair
    row: ScoreRow  # the key of its rows, with scale and revision left empty
    metrics: list[Metric]
    sources: Mapping[Source, Path | Prompt]


class _Options(NamedTuple):
    engine: Engine
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
    device: str = "auto",
    untrained: bool = False,
    strided: bool = False,
    overwrite: Overwrite = "never",
    limit: int | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Scored:
    """Scores every METHOD/SPLIT below `runs` whose split is known, on the split's profile unless another is given.

    `strided` takes the faster revision of the scales that have one. `untrained` puts tiny random networks in the place of
    those that are told where to run: it tries the line, and its numbers are refused by every table, and never take the
    place of others.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit = {limit}; expected 1 or more.")
    chosen, known, skipped = _choose(runs, splits, methods)
    asked = {name: _metrics(profile or split.head.profile, metrics, strided) for name, split in known.items()}
    names = list(dict.fromkeys(name for found in asked.values() for metric in found for name in _features(metric)))
    engine = _engine(names, device, untrained)
    ready(names, engine)
    workers = _workers_on(engine, names, workers)
    for split in known.values():
        prepare(split, data, workers, report)
        if any(set(metric.needs) - {"clip"} for metric in asked[split.name]):
            check_media(split, data)
    for folder in home("features").glob("*"):
        sweep(folder)
    with ExitStack() as held:
        for run in chosen:
            held.enter_context(lock(run.folder, "score", notes(report, "score")))
            sweep(run.folder)
        return _score(chosen, known, asked, _Options(engine, data, overwrite, limit, workers, report), skipped)


def _score(
    chosen: list[Run],
    known: Mapping[str, Split],
    asked: Mapping[str, list[Metric]],
    options: _Options,
    skipped: list[str],
) -> Scored:
    if options.engine.untrained:
        for run in chosen:
            _spare_trained(run, asked[run.split], options.engine)
    digests = _Digests()
    todos: list[_Todo] = []
    kept = missing = 0
    for run in chosen:
        split = known[run.split]
        metrics = asked[run.split]
        scales = {metric.name: scale_of(metric, options.engine) for metric in metrics}
        rows = read_scores(run.folder)
        write_scales(run.folder, scales.values())
        if options.limit is not None:
            _mark_limited(run, options.limit, whole=False)  # before the first row: a kill must not hide it
        for pair in split.pairs[: options.limit]:
            row = _row(run, split, pair, options.data, digests)
            if row is None:
                missing += 1
                continue
            lacking = [metric for metric in metrics if _lacks(rows, row, scales[metric.name], options.overwrite)]
            if lacking:
                todos.append(_Todo(run, pair, row, lacking, _sources(run, split, pair, options.data)))
            else:
                kept += 1
    plan = _Plan(todos, digests, options.engine)
    failures = _work(todos, plan, options)
    for run in chosen:
        _finish(run, known[run.split], options, digests)
    return Scored(chosen, len(todos), kept, missing, dict(failures), skipped, len(plan.names))


# What there is to do ---------------------------------------------------------------------------------------------


def _choose(runs: Path, splits: Sequence[str], methods: Sequence[str]) -> tuple[list[Run], dict[str, Split], list[str]]:
    """The run folders to score, their splits by name, and a line for each folder passed over."""
    found = find_runs(runs)
    methods_here = sorted({run.method for run in found})
    for method in methods:
        if method not in methods_here:
            raise unknown(f"run below {runs}", method, methods_here)
    named = {split.name: split for split in map(load_split, splits)}
    names = list(named) or known_splits()
    chosen, skipped = [], []
    for run in found:
        if methods and run.method not in methods:
            continue
        if run.split in names:
            chosen.append(run)
        elif not named:
            skipped.append(f"{run.folder}: no split {run.split!r} is known")
    if not chosen:
        raise UsageError(
            f"{runs}: nothing to score; expected RUNS/METHOD/SPLIT/PAIR.mp4 with SPLIT one of {', '.join(names)}."
            + "".join(f"\n  skipped {line}" for line in skipped)
        )
    return chosen, named or {name: load_split(name) for name in sorted({run.split for run in chosen})}, skipped


def _metrics(profile: str, names: Sequence[str], strided: bool) -> list[Metric]:
    ours = [name for name in names if ":" not in name]
    theirs = {name: _imported(name) for name in dict.fromkeys(names) if ":" in name}
    known = set(METRICS)
    for name, metric in theirs.items():
        key = f"{metric.profile}/{metric.name}"
        if key in known:
            raise UsageError(f"metric {name}: there is another {key} already; give yours a name of its own.")
        known.add(key)
    chosen = select(profile, ours, strided) if ours or not names else []
    if strided and not chosen:
        raise UsageError(f"strided: {', '.join(theirs)} have no such revision. Leave --strided out.")
    return [*chosen, *theirs.values()]


def _features(metric: Metric) -> list[str]:
    """The extractors that a metric stands on."""
    return [feature.name for features in metric.needs.values() for feature in features]


def _engine(names: Sequence[str], device: str, untrained: bool) -> Engine:
    """Where the networks of these extractors run. UsageError where none of them can be told, or tried untrained."""
    movable = [name for name in names if EXTRACTORS[name].on_engine]
    if device not in ("auto", "cpu") and not movable:
        raise UsageError(f"device {device!r}: {', '.join(names)} run on CPUs only. Leave --device out.")
    if untrained and not movable:
        raise UsageError(f"untrained: {', '.join(names)} come with their networks; there is nothing to stand in for.")
    return engine_of(device if movable else "cpu", untrained)


def _workers_on(engine: Engine, names: Sequence[str], workers: int | None) -> int:
    """As many as asked for; else one a CPU, or a few that share a GPU, but no more than there is memory for.

    Each has networks of its own: measured, about twice what their files have, half of which is stored in half precision.
    """
    if workers is not None:
        return check_workers(workers)
    files = {name for one in names if EXTRACTORS[one].on_engine for name in EXTRACTORS[one].weights}
    each = BYTES_A_WORKER + 2 * sum(WEIGHTS[name].size for name in files)
    free = None if engine.untrained or not files else free_bytes()
    room = cpu_workers() if free is None else max(1, free // each)
    return min(cpu_workers(), room, WORKERS_ON_GPU if engine.accelerated else room)


def _imported(text: str) -> Metric:
    """`module:NAME` → the Metric of that name."""
    found = imported("metric", text)
    if not isinstance(found, Metric):
        raise UsageError(f"metric {text}: found {type(found).__name__}; expected an avbench.Metric.")
    return found


def check_media(split: Split, data: Path | None) -> None:
    """A split none of whose clips is there means a wrong folder, not as many failures."""
    if not any(media_path(split, pair, "target", data).is_file() for pair in split.pairs):
        raise SplitError(
            f"{media_root(split, data)}: none of the {len(split.pairs)} target clips of split {split.name} is there. "
            "Give the folder that holds them: --data FOLDER, with the split's name below it."
        )


class _Digests(FileDigests):
    """sha256 of files and of streams, each computed once."""

    def __init__(self) -> None:
        super().__init__()
        self._streams: dict[tuple[Path, Sense], _Stream | MediaError] = {}

    def read(self, todo: _Todo, source: Source, feature: Feature[Any]) -> _Stream:
        """What an extractor reads of one of a clip's files. MediaError where the file has no such stream."""
        medium = todo.sources[source]
        if isinstance(medium, Prompt):
            stream = _Stream(hashlib.sha256(msgspec.json.encode(medium)).hexdigest(), "text")
        else:
            stream = self.stream(medium, _sense(source, feature))
        return stream._replace(text=getattr(todo.pair, feature.reads)) if feature.reads else stream

    def stream(self, path: Path, sense: Sense) -> _Stream:
        """MediaError where the file has no such stream."""
        if (path, sense) not in self._streams:
            try:
                self._streams[path, sense] = _Stream(_content(path, sense), sense)
            except MediaError as error:
                self._streams[path, sense] = error
        found = self._streams[path, sense]
        if isinstance(found, MediaError):
            raise found
        return found


def _content(path: Path, sense: Sense) -> str:
    """The digest of all that an extractor of that sense reads of a file."""
    if sense == "both":
        return hashlib.sha256(f"{stream_sha256(path, 'video')}{stream_sha256(path, 'audio')}".encode()).hexdigest()
    assert sense != "text"
    return stream_sha256(path, sense)


def _paths(run: Run, split: Split, pair: Pair, data: Path | None) -> dict[Source, Path]:
    return {
        "clip": run.folder / f"{pair.id}.mp4",
        "target": media_path(split, pair, "target", data),
        "voice": media_path(split, pair, "voice", data),
        "face": media_path(split, pair, "face", data),
    }


def _sources(run: Run, split: Split, pair: Pair, data: Path | None) -> dict[Source, Path | Prompt]:
    return {**_paths(run, split, pair, data), "prompt": pair.prompt}


def _row(run: Run, split: Split, pair: Pair, data: Path | None, digests: _Digests) -> ScoreRow | None:
    """The key that a clip's rows have now; None where nobody has tried to make the clip."""
    paths = _paths(run, split, pair, data)
    clip = digests.file(paths["clip"])
    if clip == FileDigests.ABSENT and _not_made(run, pair) is None:
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


def _spare_trained(run: Run, metrics: Sequence[Metric], engine: Engine) -> None:
    """UsageError where there are rows of networks that were trained: what only tries the line must not clear them."""
    tried = {scale.key for metric in metrics if UNTRAINED in (scale := scale_of(metric, engine)).revision}
    rows = read_scores(run.folder).values()
    there = {row.scale for row in rows if f"{row.profile}/{row.scale}" in tried and UNTRAINED not in row.revision}
    if there:
        raise UsageError(
            f"untrained: {run.folder} has scores of trained networks on {', '.join(sorted(there))}, which these numbers "
            "would replace. Try the line on a copy of the clips: avbench score COPY --untrained."
        )


# Features --------------------------------------------------------------------------------------------------------


class _Plan:
    """Which streams must still be extracted, for which features, and which clips wait for each."""

    def __init__(self, todos: Sequence[_Todo], digests: _Digests, engine: Engine) -> None:
        self.digests = digests
        self.engine = engine
        self.names: dict[_Stream, dict[str, None]] = {}  # extractors that each stream lacks
        self.sources: dict[_Stream, Path | Prompt] = {}
        self.open: list[set[_Stream]] = []  # per clip, the streams that it waits for
        self.failures: dict[_Stream, str] = {}  # streams that cannot be decoded
        self._stored: dict[tuple[_Stream, str], bool] = {}
        for todo in todos:
            self.open.append({stream for metric in todo.metrics for stream in self._lacking(todo, metric)})

    def jobs(self) -> list[_Job]:
        """One job for each file and prompt, in the order in which the clips come: none is decoded twice."""
        jobs: dict[Path | Prompt, dict[_Stream, tuple[str, ...]]] = {}
        for stream, names in self.names.items():
            jobs.setdefault(self.sources[stream], {})[stream] = tuple(names)
        return [_Job(source, names, self.engine) for source, names in jobs.items()]

    def _lacking(self, todo: _Todo, metric: Metric) -> Iterator[_Stream]:
        for source, feature, medium in _needs(todo, metric):
            try:
                stream = self.digests.read(todo, source, feature)
            except MediaError:
                continue  # said again, with its reason, when the clip is measured
            if not self._is_stored(stream, feature):
                self.sources.setdefault(stream, medium)
                self.names.setdefault(stream, {})[feature.name] = None
                yield stream

    def _is_stored(self, stream: _Stream, feature: Feature[Any]) -> bool:
        key = (stream, feature.name)
        if key not in self._stored:
            self._stored[key] = load(_place(stream, feature.name, self.engine), feature.record) is not None
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
        rows: list[ScoreRow] = []
        try:
            rows.extend(_measured(todos[number], plan))
        finally:  # a metric that stops the run does not take the others' numbers with it
            append_rows(todos[number].run.folder / SCORES, rows)
        reasons = [row.failure.partition(": ")[2] for row in rows if row.failure is not None]  # without the file
        failures.update(reasons)
        done, failed = done + 1, failed + bool(reasons)
        options.report(Progress("score", done, len(todos), failed))

    options.report(Progress("score", 0, len(todos), 0))
    for number, streams in enumerate(plan.open):
        if not streams:
            finish(number)
    with closing(run_jobs(_extract, plan.jobs(), options.workers)) as extracted:
        for job, parts in extracted:
            for part in parts:
                first = todos[waiting[part.stream][0]]
                names, seconds = job.names[part.stream], round(part.seconds, 3)
                cost = {"stage": "extract", "pair": first.pair.id, "features": names, "seconds": seconds}
                append_costs(first.run.folder, [cost])
                if part.failure:
                    plan.failures[part.stream] = part.failure
                for number in waiting[part.stream]:
                    plan.open[number].discard(part.stream)
                    if not plan.open[number]:
                        finish(number)
    return failures


def _extract(job: _Job) -> list[_Part]:
    """Runs in a worker: each stream is decoded once, and its features go into the store; or why it cannot be decoded."""
    medium = Medium(job.source)
    return [_extracted(medium, stream, names, job.engine) for stream, names in job.names.items()]


def _extracted(medium: Medium, stream: _Stream, names: Sequence[str], engine: Engine) -> _Part:
    begun = time.perf_counter()
    failure = ""
    try:
        records = extract(medium, stream.sense, names, stream.text, engine)
        if isinstance(medium.source, Path) and _content(medium.source, stream.sense) != stream.content_sha256:
            raise UsageError(
                f"{medium.source}: changed while it was being scored. Let it be finished, and score again."
            )
        for name, record in records.items():
            save(_place(stream, name, engine), record)
    except MediaError as error:
        assert isinstance(medium.source, Path)
        failure = _problem(error, medium.source)
    return _Part(stream, time.perf_counter() - begun, failure)


def _needs(todo: _Todo, metric: Metric) -> Iterator[tuple[Source, Feature[Any], Path | Prompt]]:
    """Every feature that a metric asks for, with what it comes from, where that is there."""
    for source, features in metric.needs.items():
        medium = todo.sources[source]
        if isinstance(medium, Prompt) or medium.is_file():
            for feature in features:
                yield source, feature, medium


def _sense(source: Source, feature: Feature[Any]) -> Sense:
    """The given face is a picture: a video extractor sees it as one frame."""
    return "image" if source == "face" else feature.sense


def _place(stream: _Stream, name: str, engine: Engine) -> Path:
    return stored_at(stream.content_sha256, stream.sense, name, stream.text, engine)


# Rows ------------------------------------------------------------------------------------------------------------


def _measured(todo: _Todo, plan: _Plan) -> Iterator[ScoreRow]:
    """One row for each metric that the clip still needs: a value, or the reason why there is none."""
    for metric in todo.metrics:
        row = _on(todo.row, scale_of(metric, plan.engine))
        try:
            yield _valued(row, metric.measure(_sample(todo, metric, plan)))
        except Unmeasurable as reason:
            said = f"{_named(todo, reason.source)}: {reason}"
            # A file name need not be UTF-8; a row is.
            yield msgspec.structs.replace(row, failure=said.encode(errors="replace").decode())
        except Exception as error:
            if f"{metric.profile}/{metric.name}" in METRICS:
                raise  # a fault of ours
            raise UsageError(
                f"metric {metric.name} on {todo.sources['clip']}: {type(error).__name__}: {error}. A metric "
                "answers a finite number, or Measured(value, detail), or raises Unmeasurable(reason)."
            ) from error


def _valued(row: ScoreRow, answer: float | Measured) -> ScoreRow:
    """The row with its value. ValueError where it, or a number in its detail, is not finite; TypeError if it is no number."""
    measured = answer if isinstance(answer, Measured) else Measured(answer)
    value = float(measured.value)
    detail = msgspec.to_builtins(dict(measured.detail))
    for name, number in [("value", value), *detail.items()]:
        if isinstance(number, float) and not math.isfinite(number):
            raise ValueError(f"{name} = {number}")
    return msgspec.structs.replace(row, value=value, detail=detail)


def _sample(todo: _Todo, metric: Metric, plan: _Plan) -> Sample:
    """The features that a metric asks for; Unmeasurable names the file where one cannot be had."""
    records: dict[Source, dict[str, Record]] = {source: {} for source in todo.sources}
    for source, features in metric.needs.items():
        medium = todo.sources[source]
        if isinstance(medium, Path):
            _check_file(todo, source, medium, plan.digests)
        for feature in features:
            try:
                stream = plan.digests.read(todo, source, feature)
            except MediaError as error:
                assert isinstance(medium, Path)
                raise Unmeasurable(_problem(error, medium), source) from error
            if stream in plan.failures:
                raise Unmeasurable(plan.failures[stream], source)
            place = _place(stream, feature.name, plan.engine)
            record = load(place, feature.record)
            if record is None:
                raise AvbenchError(f"{place}: vanished or damaged meanwhile. Run it again.")
            records[source][feature.name] = record
    return Sample(
        clip=Features(records["clip"]),
        target=Features(records["target"]),
        voice=Features(records["voice"]),
        face=Features(records["face"]),
        wording=Features(records["prompt"]),
        prompt=todo.pair.prompt,
        transcript=todo.pair.transcript,
        language=todo.pair.language,
    )


def _check_file(todo: _Todo, source: Source, path: Path, digests: _Digests) -> None:
    """A file that is absent, or not the one that the split names, is the pair's failure."""
    if not path.is_file():
        reason = _not_made(todo.run, todo.pair) if source == "clip" else None
        raise Unmeasurable(f"not generated: {reason}" if reason else "no such file", source)
    found, expected = digests.file(path), todo.pair.sha256.get(source)
    if expected is not None and found != expected:
        raise Unmeasurable(f"sha256 {found[:12]}…, expected {expected[:12]}…", source)


def _problem(error: MediaError, path: Path) -> str:
    """What is wrong with a file, without its path: a row is the same wherever the files lie."""
    return str(error).removeprefix(f"{path}: ").replace(str(path), path.name)


def _named(todo: _Todo, source: Source) -> str:
    """A file by its name in its folder of clips or media; the prompt by that word."""
    if source == "clip":
        return f"{todo.pair.id}.mp4"
    return source if source == "prompt" else f"{source} {getattr(todo.pair, source)}"


def _finish(run: Run, split: Split, options: _Options, digests: _Digests) -> None:
    """Rewrites scores.jsonl in pair, then scale order, without what other clips, media or revisions left behind."""
    scales = read_scales(run.folder)
    places = {pair.id: number for number, pair in enumerate(split.pairs)}
    now = {pair.id: _row(run, split, pair, options.data, digests) for pair in split.pairs}

    def is_current(row: ScoreRow) -> bool:
        scale = scales.get(f"{row.profile}/{row.scale}")
        if row.split != split.label or row.pair not in places or scale is None or row.revision != scale.revision:
            return False
        # Without the clip there is nothing newer to hold the row against: it stays.
        current = now[row.pair]
        return current is None or row.key[:6] == current.key[:6]

    def place(row: ScoreRow) -> tuple[int, str, int, str]:
        return places[row.pair], row.profile, scales[f"{row.profile}/{row.scale}"].order, row.scale

    rows = sorted(filter(is_current, read_scores(run.folder).values()), key=place)
    rewrite_scores(run.folder / SCORES, rows)
    _mark_limited(run, options.limit, _are_whole(rows, [name for name, row in now.items() if row is not None]))


def _are_whole(rows: Iterable[ScoreRow], pairs: Iterable[str]) -> bool:
    """Whether every scale that has rows has one for each of these pairs."""
    scored: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        scored.setdefault((row.profile, row.scale), set()).add(row.pair)
    return all(found.issuperset(pairs) for found in scored.values())


def _mark_limited(run: Run, limit: int | None, whole: bool) -> None:
    """Says in run.json that fewer pairs were scored than have clips because that was asked for, until they all are."""
    info = read_run(run.folder)
    limited = 0 if whole else limit or info.limited_scores
    if limited != info.limited_scores:
        write_run(run.folder, msgspec.structs.replace(info, limited_scores=limited))
