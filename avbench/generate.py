"""Pairs × methods → clips in RUNS/METHOD/SPLIT/, one mp4 and one sidecar a pair.

A clip is made in a folder of its own and takes its name in one step, after its sidecar: the mp4 is what says
"done". The same command continues where a stop or a kill left off. What cannot be made is recorded in the
sidecar with its reason, and the other pairs go on.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Sequence
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

from .errors import AvbenchError, Incomparable, MediaError, SplitError, UsageError
from .home import package_version, sha256, writing
from .methods import Item, Resolved, resolve
from .prepare import prepare
from .run import (
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
from .workers import Progress, Report, cpu_workers, run_jobs, silent

__all__ = ["Generated", "Overwrite", "generate"]

Overwrite = Literal["never", "failed", "all"]


class Generated(NamedTuple):
    """What a call of `generate` did, in clips. `failures` are (method, pair, reason), those of earlier calls included."""

    made: int
    kept: int
    failures: list[tuple[str, str, str]]


class _Job(NamedTuple):
    method: str  # as given: the worker resolves it again
    folder: Path
    item: Item
    request: Request
    part: Path
    media: Path  # the root of the split's media, which a reason does not repeat


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
    resolved = {method: resolve(method) for method in methods}
    folders = {method: run_folder(runs, one.name, split.name) for method, one in resolved.items()}
    workers = workers or cpu_workers()
    prepare(split, data, workers, report)
    media = _Media(split, data)
    pairs = list(enumerate(split.pairs))[:limit]
    with ExitStack() as held:
        for folder in sorted(set(folders.values())):
            held.enter_context(lock(folder, "generate"))
        jobs: list[_Job] = []
        for method, one in resolved.items():
            folder = folders[method]
            part = _empty_part_folder(folder)
            held.callback(shutil.rmtree, part, ignore_errors=True)
            _describe(folder, one, split, limit)
            for index, pair in pairs:
                request = media.request(one.name, pair, one.seed + index)
                if not _is_done(folder, request, overwrite):
                    item = media.item(pair, request.seed, one.method.kind == "control")
                    jobs.append(_Job(method, folder, item, request, part / f"{pair.id}.mp4", media_root(split, data)))
        made = failed = 0
        report(Progress("generate", 0, len(jobs), 0))
        at_once = min([workers, *(one.method.workers for one in resolved.values() if one.method.workers)])
        for job, outcome in run_jobs(_make, jobs, at_once):
            _commit(job, outcome)
            made += not outcome.failure
            failed += bool(outcome.failure)
            report(Progress("generate", made + failed, len(jobs), failed))
        for method, one in resolved.items():
            _describe(folders[method], one, split, limit)
    failures = [
        (one.name, pair.id, sidecar.failure)
        for method, one in resolved.items()
        for _, pair in pairs
        if (sidecar := read_sidecar(folders[method] / f"{pair.id}.json")) is not None and sidecar.failure
    ]
    return Generated(made, len(pairs) * len(resolved) - made - len(failures), failures)


# What is asked ---------------------------------------------------------------------------------------------------


class _Media:
    """The media of a split with their digests, each read once."""

    def __init__(self, split: Split, data: Path | None) -> None:
        self.split = split
        self.data = data
        self._digests: dict[Path, str] = {}

    def request(self, method: str, pair: Pair, seed: int) -> Request:
        return Request(
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

    def _digest(self, pair: Pair, medium: Literal["voice", "face"]) -> str:
        path = media_path(self.split, pair, medium, self.data)
        if path not in self._digests:
            self._digests[path] = sha256(path) if path.is_file() else ""
        return self._digests[path]

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
    provenance: dict[str, Any] = {"label": one.method.label, "kind": one.method.kind, "untrained": one.method.untrained}
    clip_sha256 = failure = ""
    try:
        with writing(job.part):  # a full disk is the machine's fault, not the pair's
            _check_media(job.item)
            provenance.update(one.method.make(job.item, job.part) or {})
            if not job.part.is_file():
                raise MediaError(f"{one.name} returned without writing {job.part.name}")
            clip_sha256 = sha256(job.part)
    except (MediaError, SplitError) as error:
        failure = str(error)
    except (AvbenchError, OSError):
        raise
    except Exception as error:
        if ":" not in job.method:
            raise  # a fault of ours stops the run
        failure = f"{type(error).__name__}: {error}"
    return _Outcome(time.perf_counter() - begun, provenance, clip_sha256, failure.replace(f"{job.media}/", ""))


def _check_media(item: Item) -> None:
    for what, path in (("voice", item.voice), ("face", item.face), ("target", item.truth), ("target", item.stranger)):
        if path is not None and not path.is_file():
            raise MediaError(f"{path}: no such file; the {what} of pair {item.pair} is expected there.")


def _commit(job: _Job, outcome: _Outcome) -> None:
    """Sidecar first, clip last: a clip that has its name is finished and belongs to its sidecar."""
    clip = job.folder / f"{job.item.pair}.mp4"
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
    return part
