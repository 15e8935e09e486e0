"""Pairs × methods → clips in RUNS/METHOD/SPLIT/, one mp4 and one sidecar a pair.

A clip is made in a folder of its own and takes its name in one step, after its sidecar: the mp4 is what says
"done". The same command continues where a stop or a kill left off. What cannot be made is recorded in the
sidecar with its reason, and the other pairs go on.

A method that makes many clips in one go runs in one process of its own, asked for one clip after the other: what it
has finished is committed before it begins the next. Shards of a split share a run folder; each writes the files of its
own pairs, and the same run.json as the others.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from .errors import AvbenchError, Incomparable, MediaError, SplitError, UsageError, WorkerDied
from .home import DISK_FULL, FileDigests, home, package_version, sha256, sweep, writing
from .methods import Item, Made, Resolved, Wanted, resolve
from .prepare import prepare
from .run import (
    Overwrite,
    Request,
    RunInfo,
    Shard,
    Sidecar,
    append_costs,
    lock_shard,
    read_run,
    read_sidecar,
    run_folder,
    write_run,
    write_sidecar,
)
from .split import Pair, Split, media_path, media_root
from .workers import Progress, Report, check_workers, notes, run_jobs, silent, stop_run

__all__ = ["Generated", "generate"]

SAYS_NOTHING = ("", "none", "no", "unknown", "unstated", "not stated", "n/a", "todo")  # of consent, without a reason


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
    consent: str = ""  # what is recorded of it, where the method needs it


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
    shard: Shard | None = None,
    consent: bool = False,
    workers: int | None = None,
    report: Report = silent,
) -> Generated:
    """Makes what is missing of every method's clips of `split`; `limit` takes the first pairs only and marks the run.

    `shard` takes a part of these; seeds do not depend on it. `consent` says that the people shown have agreed, where
    the pairs do not state it: methods that make them say new words need one or the other.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit = {limit}; expected 1 or more.")
    workers = check_workers(workers)
    asked = _asked(methods, runs, split)
    pairs = [(index, pair) for index, pair in enumerate(split.pairs[:limit]) if shard is None or shard.has(index)]
    for one in asked:
        if any(_may_be_made(one.folder, pair.id, overwrite) for _, pair in pairs):
            _require_ready(one, [pair for _, pair in pairs], consent, report)
    prepare(split, data, workers, report)
    media = _Media(split, data)
    spared: list[tuple[str, str, str]] = []
    with ExitStack() as held:
        for one in sorted(asked, key=lambda one: one.folder):
            held.enter_context(lock_shard(one.folder, "generate", shard, notes(report, "generate")))
        together: list[_Job] = []  # in any order, by as many workers as there are
        in_one_go: list[list[_Job]] = []
        for one in asked:
            if shard is None:
                sweep(one.folder)  # which takes what another machine writes for what a kill left
            part = _empty_part_folder(one.folder, shard)
            held.callback(shutil.rmtree, part, ignore_errors=True)
            _describe(one.folder, one.resolved, split, limit)
            method = one.resolved.method
            jobs: list[_Job] = []
            for index, pair in pairs:
                request = media.request(one.full_name, pair, one.resolved.seed + index, method.kind == "control")
                if not _is_done(one.folder, request, overwrite):
                    item = media.item(pair, request.seed, method.kind == "control")
                    clip = part / f"{pair.id}.mp4"
                    said = _consent(pair, consent) if method.consent else ""
                    jobs.append(_Job(one.text, one.folder, item, request, clip, media.root, said))
            if method.make_many is None:
                together += jobs
            elif jobs:
                in_one_go.append(jobs)
        total = len(together) + sum(map(len, in_one_go))
        made = failed = 0
        report(Progress("generate", 0, total, 0))
        at_once = min([workers, *(one.resolved.method.workers or workers for one in asked)])
        with closing(_all_made(together, in_one_go, at_once)) as finished:
            for job, outcome in finished:
                if not _commit(job, outcome):
                    spared.append((job.folder.parent.name, job.item.pair, outcome.failure))
                made += not outcome.failure
                failed += bool(outcome.failure)
                report(Progress("generate", made + failed, total, failed))
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


def _may_be_made(folder: Path, pair: str, overwrite: Overwrite) -> bool:
    """Whether a look at the folder alone leaves it open that there is work to do."""
    return overwrite != "never" or not (folder / f"{pair}.mp4").is_file()


def _require_ready(one: _Asked, pairs: Sequence[Pair], consent: bool, report: Report) -> None:
    """What would keep a method from making clips, before anything is prepared or made."""
    method = one.resolved.method
    if method.consent and not consent and (unstated := [pair.id for pair in pairs if not _consent(pair, False)]):
        raise UsageError(
            f"{one.resolved.name} makes people say what they have not said, and {len(unstated)} of {len(pairs)} pairs do "
            f"not say whether they agreed (first {unstated[0]}). State it in the field consent of pairs.jsonl, or give "
            "--i-have-consent, which is recorded with every clip."
        )
    if method.licences and method.ready is not None:
        notes(report, "generate")(f"checking the network files of {one.resolved.name}")
    if method.ready is not None:
        method.ready()


def _consent(pair: Pair, given: bool) -> str:
    """What is known of the consent of whoever a pair shows; empty where nothing is."""
    stated = " ".join(pair.consent.split())
    if stated.lower().strip(".?- ") not in SAYS_NOTHING:
        return f"stated with the pair: {stated}"
    return "given with --i-have-consent" if given else ""


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


def _all_made(
    together: Sequence[_Job], in_one_go: Sequence[Sequence[_Job]], at_once: int
) -> Generator[tuple[_Job, _Outcome], None, None]:
    """Every job with its outcome, as they are finished."""
    with closing(run_jobs(_make, together, at_once, _died)) as finished:
        yield from finished
    for jobs in in_one_go:
        by_pair = {job.item.pair: job for job in jobs}
        # One worker, which keeps what it has begun between the calls: the first brings the jobs, the last finds it ended.
        calls = itertools.chain([jobs], itertools.repeat(None, len(jobs)))
        with closing(run_jobs(_make_next, calls, 1)) as answers:
            for _, answer in answers:
                if answer is not None:
                    pair, outcome = answer
                    yield by_pair[pair], outcome


def _make(job: _Job) -> _Outcome:
    """Runs in a worker: writes the clip to `job.part`, or says why not."""
    one = resolve(job.method)
    return _outcome(one, job, lambda: one.method.make(job.item, job.part), time.perf_counter())


_begun: list[Iterator[tuple[str, _Outcome]]] = []  # in the worker of a method that makes many clips in one go


def _make_next(jobs: Sequence[_Job] | None) -> tuple[str, _Outcome] | None:
    """Runs in a worker of its own: makes the next clip of the jobs that its first call brought; None after the last."""
    if jobs is not None:
        _begun[:] = [_made_in_turn(jobs)]
    return next(_begun[0], None)


def _made_in_turn(jobs: Sequence[_Job]) -> Iterator[tuple[str, _Outcome]]:
    """Every job's pair and outcome, in the method's order, which is not shown those whose media are absent."""
    one = resolve(jobs[0].method)
    assert one.method.make_many is not None
    left: dict[str, _Job] = {}
    for job in jobs:
        if _absent(job.item):
            yield job.item.pair, _outcome(one, job, dict, time.perf_counter())
        else:
            left[job.item.pair] = job
    wanted = [Wanted(job.item, job.part) for job in left.values()]
    begun = time.perf_counter()
    try:
        with writing(jobs[0].part):
            for made in one.method.make_many(wanted) if wanted else ():
                job = _answered(made, left)
                outcome = _outcome(one, job, functools.partial(_returned, made), begun)
                del left[made.pair]
                yield made.pair, outcome
                begun = time.perf_counter()
            if left:
                raise RuntimeError(f"make_many ended without {', '.join(left)}")
    except (Exception, SystemExit) as error:
        _raise_faults_of_the_machine(error)
        if _is_ours(jobs[0]):
            raise
        for pair, job in left.items():
            yield pair, _Outcome(time.perf_counter() - begun, _provenance(one, job), "", _reason(error, job))


def _answered(made: object, left: Mapping[str, _Job]) -> _Job:
    """The job that an answer of `make_many` is for; TypeError where it is for none."""
    if not isinstance(made, Made):
        raise TypeError(f"make_many yielded {type(made).__name__}; expected Made")
    if made.pair not in left:
        raise TypeError(f"make_many answered for {made.pair!r}; expected one of {', '.join(left) or 'none any more'}")
    return left[made.pair]


def _returned(made: Made) -> Mapping[str, Any]:
    """What `make` would have returned, or raised."""
    if made.failure:
        raise MediaError(made.failure)
    return made.provenance


def _outcome(one: Resolved, job: _Job, make: Callable[[], Mapping[str, Any] | None], begun: float) -> _Outcome:
    """The outcome of `make`, which has `job.part` written or raises why not."""
    provenance = _provenance(one, job)
    clip_sha256 = failure = ""
    try:
        with writing(job.part):
            if absent := _absent(job.item):
                raise MediaError(absent)
            returned = _plain(make(), job)
            if not job.part.is_file():
                raise MediaError(f"{one.name} returned without writing {job.part.name}")
            clip_sha256 = sha256(job.part)
            provenance.update(returned)
    except BaseException as error:
        _raise_faults_of_the_machine(error)
        if _is_ours(job) and not isinstance(error, MediaError | SplitError):
            raise  # a fault of ours stops the run
        failure = _reason(error, job)
    return _Outcome(time.perf_counter() - begun, provenance, clip_sha256, failure)


def _is_ours(job: _Job) -> bool:
    return ":" not in job.method


def _died(job: _Job) -> _Outcome:
    """The outcome where somebody's method takes the worker down with it."""
    if _is_ours(job):
        stop_run(job)
    return _Outcome(0.0, _provenance(resolve(job.method), job), "", "the worker process died while making this clip")


def _provenance(one: Resolved, job: _Job) -> dict[str, Any]:
    known: dict[str, Any] = {"label": one.method.label, "kind": one.method.kind, "untrained": one.method.untrained}
    if job.consent:
        known["consent"] = job.consent
    if one.method.licences:
        known["licences"] = dict(one.method.licences)
    return known


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


def _absent(item: Item) -> str:
    """Which medium is not there; empty where all are."""
    for what, path in (("voice", item.voice), ("face", item.face), ("target", item.truth), ("target", item.stranger)):
        if path is not None and not path.is_file():
            return f"{path}: no such file; the {what} of pair {item.pair} is expected there."
    return ""


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


def _empty_part_folder(folder: Path, shard: Shard | None) -> Path:
    """Where unfinished clips lie; those of a killed process are thrown away. Call it under the lock.

    What other shards are at stays; a run without shards has the folder for itself.
    """
    own = ".part-" if shard is None else f".part-{shard.number}-of-{shard.of}-"
    for left in folder.glob(f"{own}*"):
        shutil.rmtree(left, ignore_errors=True)
    part = folder / f"{own}{os.getpid()}"
    with writing(part):
        part.mkdir()
    return part.absolute()
