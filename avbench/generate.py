"""Pairs × methods → clips in RUNS/METHOD/SPLIT/, one mp4 and one sidecar a pair.

A clip is made in a folder of its own and takes its name in one step, after its sidecar: the mp4 is what says
"done". The same command continues where a stop or a kill left off. What cannot be made is recorded in the
sidecar with its reason, and the other pairs go on.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from .errors import AvbenchError, Incomparable, MediaError, SplitError, UsageError, WorkerDied
from .home import DISK_FULL, FileDigests, home, package_version, sha256, sweep, writing
from .methods import Item, Resolved, resolve
from .prepare import prepare
from .run import (
    Overwrite,
    Request,
    RunInfo,
    Sidecar,
    append_costs,
    lock,
    read_run,
    read_sidecar,
    run_folder,
    write_run,
    write_sidecar,
)
from .split import Pair, Split, media_path, media_root
from .workers import Progress, Report, check_workers, notes, run_jobs, silent, stop_run

__all__ = ["Generated", "generate"]


class Generated(NamedTuple):
    """What a call of `generate` did, in clips. `failures` are (method, pair, reason), those of earlier calls included."""

    made: int
    kept: int
    failures: list[tuple[str, str, str]]


class _Asked(NamedTuple):
    """A method that was asked for."""

    text: str  # as given: the worker resolves it again
    full_name: str  # NAME[@key=value,…], of somebody's own with its module before it
    resolved: Resolved
    folder: Path


class _Job(NamedTuple):
    """One clip to be made. Paths that a method sees are absolute, since it may change its working folder."""

    method: str
    folder: Path
    item: Item
    request: Request
    part: Path  # absolute
    media: Path  # absolute root of the split's media, which a reason does not repeat


class _Outcome(NamedTuple):
    seconds: float
    provenance: dict[str, Any]
    clip_sha256: str
    failure: str


def generate(
    split: Split,
    methods: Sequence[str],
    runs: Path,
    *,
    data: Path | None = None,
    overwrite: Overwrite = "never",
    limit: int | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Generated:
    """Makes what is missing of every method's clips of `split`; `limit` takes the first pairs only and marks the run."""
    if limit is not None and limit < 1:
        raise UsageError(f"limit = {limit}; expected 1 or more.")
    workers = check_workers(workers)
    asked = _asked(methods, runs, split)
    prepare(split, data, workers, report)
    media = _Media(split, data)
    pairs = list(enumerate(split.pairs))[:limit]
    spared: list[tuple[str, str, str]] = []
    with ExitStack() as held:
        for one in sorted(asked, key=lambda one: one.folder):
            held.enter_context(lock(one.folder, "generate", notes(report, "generate")))
        jobs: list[_Job] = []
        for one in asked:
            sweep(one.folder)
            part = _empty_part_folder(one.folder)
            held.callback(shutil.rmtree, part, ignore_errors=True)
            _describe(one.folder, one.resolved, split, limit)
            control = one.resolved.method.kind == "control"
            for index, pair in pairs:
                request = media.request(one.full_name, pair, one.resolved.seed + index, control)
                if not _is_done(one.folder, request, overwrite):
                    item = media.item(pair, request.seed, control)
                    jobs.append(_Job(one.text, one.folder, item, request, part / f"{pair.id}.mp4", media.root))
        made = failed = 0
        report(Progress("generate", 0, len(jobs), 0))
        at_once = min([workers, *(one.resolved.method.workers or workers for one in asked)])
        with closing(run_jobs(_make, jobs, at_once, _died)) as finished:
            for job, outcome in finished:
                if not _commit(job, outcome):
                    spared.append((job.folder.parent.name, job.item.pair, outcome.failure))
                made += not outcome.failure
                failed += bool(outcome.failure)
                report(Progress("generate", made + failed, len(jobs), failed))
        for one in asked:
            _describe(one.folder, one.resolved, split, limit)
    failures = spared + [
        (one.resolved.name, pair.id, sidecar.failure)
        for one in asked
        for _, pair in pairs
        if (sidecar := read_sidecar(one.folder / f"{pair.id}.json")) is not None and sidecar.failure
    ]
    places = {(one.resolved.name, pair.id): (place, index) for place, one in enumerate(asked) for index, pair in pairs}
    failures.sort(key=lambda failure: places[failure[:2]])
    return Generated(made, len(pairs) * len(asked) - made - len(failures), failures)


# What is asked ---------------------------------------------------------------------------------------------------


def _asked(methods: Sequence[str], runs: Path, split: Split) -> list[_Asked]:
    """The methods by folder; one that is asked for twice is made once, two that share a folder are refused."""
    found: dict[str, _Asked] = {}
    for text in methods:
        resolved = resolve(text)
        module, colon, _ = text.rpartition(":")
        one = _Asked(text, f"{module}{colon}{resolved.name}", resolved, run_folder(runs, resolved.name, split.name))
        first = found.setdefault(resolved.name, one)
        if first.full_name != one.full_name:
            raise UsageError(
                f"methods {first.text} and {text} would both write to {one.folder}; expected names that differ. "
                "Rename one, or give each its own --runs folder."
            )
    return list(found.values())


class _Media:
    """The media of a split with their digests, each read once. Paths are absolute."""

    def __init__(self, split: Split, data: Path | None) -> None:
        self.split = split
        self.data = (data if data is not None else home("media")).absolute()
        self.root = media_root(split, self.data)
        self._digests = FileDigests()

    def request(self, method: str, pair: Pair, seed: int, control: bool) -> Request:
        seen = ""
        if control:
            stranger = self._stranger(pair)
            targets = self._digest(pair, "target") + (":" + self._digest(stranger, "target") if stranger else "")
            seen = hashlib.sha256(targets.encode()).hexdigest()
        return Request(
            target_sha256=seen,
            method=method,
            split=self.split.label,
            pair=pair.id,
            seed=seed,
            voice_sha256=self._digest(pair, "voice"),
            face_sha256=self._digest(pair, "face"),
        )

    def item(self, pair: Pair, seed: int, control: bool) -> Item:
        stranger = self._stranger(pair) if control else None
        return Item(
            pair=pair.id,
            speaker=pair.speaker,
            prompt=pair.prompt,
            transcript=pair.transcript,
            language=pair.language,
            voice=media_path(self.split, pair, "voice", self.data),
            face=media_path(self.split, pair, "face", self.data),
            seed=seed,
            frames=self.split.head.frames,
            width=self.split.head.width,
            height=self.split.head.height,
            truth=media_path(self.split, pair, "target", self.data) if control else None,
            stranger=media_path(self.split, stranger, "target", self.data) if stranger else None,
        )

    def _digest(self, pair: Pair, medium: Literal["voice", "face", "target"]) -> str:
        return self._digests.file(media_path(self.split, pair, medium, self.data))

    def _stranger(self, pair: Pair) -> Pair | None:
        """The next pair, in order and round, of a speaker who differs in all that the split says of speakers."""
        own = self.split.speaker(pair.speaker)
        start = self.split.index(pair.id) + 1
        for other in (*self.split.pairs[start:], *self.split.pairs[:start]):
            theirs = self.split.speaker(other.speaker)
            differs = not own.face or own.face != theirs.face
            if other.speaker != pair.speaker and differs and (not own.voice or own.voice != theirs.voice):
                return other
        return None


def _is_done(folder: Path, request: Request, overwrite: Overwrite) -> bool:
    """Whether a pair needs no work. A clip without our sidecar is somebody else's, and is kept."""
    if overwrite == "all":
        return False
    sidecar = read_sidecar(folder / f"{request.pair}.json")
    made = (folder / f"{request.pair}.mp4").is_file()
    if sidecar is None:
        return made
    if sidecar.failure:
        return overwrite == "never" and sidecar.request == request
    if not made:
        return False  # killed between the two files
    if sidecar.request != request:
        field = next(
            name for name in request.__struct_fields__ if getattr(request, name) != getattr(sidecar.request, name)
        )
        raise Incomparable(
            f"{folder / request.pair}.json was made for {field} {getattr(sidecar.request, field)!r}, and now it is "
            f"{getattr(request, field)!r}. Make it again with --overwrite all, or take another --runs folder."
        )
    return True


# What is made ----------------------------------------------------------------------------------------------------


def _make(job: _Job) -> _Outcome:
    """Runs in a worker: writes the clip to `job.part`, or says why not."""
    one = resolve(job.method)
    begun = time.perf_counter()
    provenance = _provenance(one)
    clip_sha256 = failure = ""
    try:
        with writing(job.part):
            _check_media(job.item)
            returned = _plain(one.method.make(job.item, job.part), job)
            if not job.part.is_file():
                raise MediaError(f"{one.name} returned without writing {job.part.name}")
            clip_sha256 = sha256(job.part)
            provenance.update(returned)
    except BaseException as error:
        _raise_faults_of_the_machine(error)
        ours = ":" not in job.method
        if ours and not isinstance(error, MediaError | SplitError):
            raise  # a fault of ours stops the run
        failure = _reason(error, job)
    return _Outcome(time.perf_counter() - begun, provenance, clip_sha256, failure)


def _died(job: _Job) -> _Outcome:
    """The outcome where somebody's method takes the worker down with it."""
    if ":" not in job.method:
        stop_run(job)
    return _Outcome(0.0, _provenance(resolve(job.method)), "", "the worker process died while making this clip")


def _provenance(one: Resolved) -> dict[str, Any]:
    return {"label": one.method.label, "kind": one.method.kind, "untrained": one.method.untrained}


def _plain(returned: Any, job: _Job) -> dict[str, Any]:
    """What a method returned, as JSON has it; the same wherever and whenever the clip is made."""
    if returned is None:
        return {}
    if not isinstance(returned, Mapping):
        raise TypeError(f"make returned {type(returned).__name__}; expected None or a mapping of provenance")
    try:
        content = msgspec.json.encode(dict(returned)).decode()
        plain: dict[str, Any] = msgspec.json.decode(_portable(content, job))
    except Exception as error:
        raise TypeError(
            f"the provenance that make returned cannot be written as JSON ({error}); "
            "expected text, numbers, truth values, None, lists and mappings of these"
        ) from error
    return plain


def _raise_faults_of_the_machine(error: BaseException) -> None:
    """A full disk or memory is not the pair's fault: it stops the run, in one clear line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM):
            raise WorkerDied(
                "a worker process is out of memory. What was finished is kept; run the same command again, "
                "with --workers 1."
            ) from error
        if isinstance(cause, OSError) and cause.errno in DISK_FULL:
            raise error
        cause = cause.__cause__


def _reason(error: BaseException, job: _Job) -> str:
    """What an error says, in text that any file can hold and any run of the pair repeats."""
    if isinstance(error.__cause__, OSError) and not isinstance(error, MediaError):
        error = error.__cause__  # `writing` speaks of folders of ours, and this was one of theirs
    try:
        said = str(error)
    except Exception:  # noqa: BLE001 - somebody's exception may fail at anything
        said = "its message cannot be shown"
    text = said if isinstance(error, AvbenchError) else f"{type(error).__name__}: {said}"
    return _portable(text.encode(errors="replace").decode(), job)


def _portable(text: str, job: _Job) -> str:
    """The text without process numbers and without the folders of this run."""
    name = re.escape(job.part.name)
    text = re.sub(rf"\.{name}\.\d+\.part", job.part.name, text)  # where `atomic` writes it
    for folder, shown in ((job.part.parent, ".part"), (job.part.parent.parent, job.folder.name), (job.media, "media")):
        for place in (folder, folder.resolve()):
            text = text.replace(f"{place}/", "").replace(str(place), shown)
    return text


def _check_media(item: Item) -> None:
    for what, path in (("voice", item.voice), ("face", item.face), ("target", item.truth), ("target", item.stranger)):
        if path is not None and not path.is_file():
            raise MediaError(f"{path}: no such file; the {what} of pair {item.pair} is expected there.")


def _commit(job: _Job, outcome: _Outcome) -> bool:
    """Sidecar first, clip last: a clip that has its name is finished and belongs to its sidecar.

    The old clip goes when the outcome is known, and before its sidecar changes. Somebody's clip without a sidecar of
    ours stays where its pair has failed, and nothing is written beside it: then the answer is False.
    """
    clip = job.folder / f"{job.item.pair}.mp4"
    spared = bool(outcome.failure) and clip.is_file() and read_sidecar(clip.with_suffix(".json")) is None
    if not spared:
        with writing(clip):
            clip.unlink(missing_ok=True)
        sidecar = Sidecar(
            request=job.request,
            provenance=outcome.provenance,
            versions={"avbench": package_version(), "av": version("av")},
            clip_sha256=outcome.clip_sha256,
            failure=outcome.failure,
        )
        write_sidecar(clip.with_suffix(".json"), sidecar)
        if not outcome.failure:
            with writing(clip):
                os.replace(job.part, clip)
    append_costs(job.folder, [{"stage": "generate", "pair": job.item.pair, "seconds": round(outcome.seconds, 3)}])
    return not spared


def _describe(folder: Path, one: Resolved, split: Split, limit: int | None) -> None:
    """run.json; limited where fewer clips than pairs were asked for and the rest is not there."""
    whole = limit is None or all(
        (folder / f"{pair.id}.mp4").is_file() or (folder / f"{pair.id}.json").is_file() for pair in split.pairs
    )
    info = RunInfo(
        label=one.method.label,
        kind=one.method.kind,
        order=one.method.order,
        untrained=one.method.untrained,
        limited=0 if whole or limit is None else limit,
        limited_scores=read_run(folder).limited_scores,
    )
    write_run(folder, info)


def _empty_part_folder(folder: Path) -> Path:
    """Where unfinished clips lie; those of a killed process are thrown away. Call it under the lock."""
    for left in folder.glob(".part-*"):
        shutil.rmtree(left, ignore_errors=True)
    part = folder / f".part-{os.getpid()}"
    with writing(part):
        part.mkdir()
    return part.absolute()
