"""Pairs × methods → clips in RUNS/METHOD/SPLIT/, one mp4 and one sidecar a pair.

A clip is made in a folder of its own and takes its name in one step, after its sidecar: the mp4 is what says
"done". The same command continues where a stop or a kill left off. What cannot be made is recorded in the
sidecar with its reason, and the other pairs go on.

A method that makes many clips in one go runs in one process of its own, asked for one answer after the other: how far
it is with a clip, or that one is finished, which is committed before it goes on. A kill loses the clips that it had
begun. Its seconds in costs.jsonl are those since the clip before, the loading of networks among those of the first:
where several clips are made side by side, single numbers say little, and their sum is the time that all of them took.

Shards of a split share a run folder; each writes the files of its own pairs, and the same run.json as the others. With
a signer every clip but those of controls gets a signed statement that it is synthetic (C2PA) before its digest is taken;
such clips differ from run to run, and one that somebody's method has signed keeps that statement. Clips that are there
already stay as they are.

Consent. Methods that make a person say new words go by the field consent of each pair, of which the beginning is read:

    "refused", "withdrawn …", "no …", …      refused: never made
    "", "unknown", "pending", "null", …      says nothing: only where whoever runs it says that they agreed, by a flag
    "none: public-domain portrait", …        nobody was asked, for a reason: likewise, but enough for methods that make
                                             no likeness of worth: untrained ones, and those without a model
    anything else                            stated

A statement that begins like a refusal and is none has to be put otherwise.
"""

from __future__ import annotations

import errno
import functools
import hashlib
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from .errors import AvbenchError, Incomparable, MediaError, NotFinite, SplitError, UsageError, WorkerDied
from .home import DISK_FULL, FileDigests, home, package_version, sha256, sweep, writing
from .methods import Item, Machine, Made, Method, Resolved, Step, Wanted, resolve
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
from .signing import Generation, Signer, Source, read_manifest, sign
from .split import Pair, Split, media_path, media_root
from .workers import Progress, Report, check_workers, notes, run_jobs, silent, stop_run

__all__ = ["Generated", "generate", "planned"]

Stance = Literal["refused", "silent", "nobody", "stated"]  # of a pair on consent

# Words of a statement of consent, as they begin. What is neither agreement nor refusal is taken for silence.
AGREEMENT = ("agree", "consented", "given", "granted", "licensed", "signed", "yes")
REFUSAL = ("cannot", "declin", "denie", "deny", "never", "objected", "refus", "revok", "unauth", "without", "withdr")
NEGATION = ("false", "no", "non", "not")  # whole words
SILENCE = ("not applicable", "not asked", "not known", "not recorded", "not stated", "not yet", "no information")
NOBODY = ("nobody", "none")
BEFORE = ("been", "consent", "has", "is", "she", "he", "they", "was")  # words that may stand before an agreement


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


class _Batch(NamedTuple):
    """The clips that a method makes in one go."""

    jobs: list[_Job]
    machine: Machine


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
    machine: Machine = Machine(),  # noqa: B008 - a constant
    signer: Signer | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Generated:
    """Makes what is missing of every method's clips of `split`; `limit` takes the first pairs only and marks the run.

    `shard` takes a part of these; seeds do not depend on it. `consent` says that the people shown have agreed, where
    the pairs do not state it: methods that make them say new words need one or the other, and a refusal stands.
    `machine` is for methods that run networks. `signer` signs what is made now.

    What is wrong with a request is said before anything is written, and what can be told without network files first.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit = {limit}; expected 1 or more.")
    workers = check_workers(workers)
    asked = _asked(methods, runs, split)
    pairs = _pairs(split, limit, shard)
    media = _Media(split, data)
    begins = {
        one.folder: {pair.id: (index, pair) for index, pair in pairs if _is_left(one, pair, split, overwrite)}
        for one in asked
    }
    for one in asked:
        if left := list(begins[one.folder].values()):
            _require_consent(one.resolved, [pair for _, pair in left], consent)
            _require_sense(
                one.resolved, [media.item(pair, one.resolved.seed + index, False) for index, pair in left], machine
            )
    for one in asked:
        if begins[one.folder]:
            _require_ready(one.resolved, machine, report)
    prepare(split, data, workers, report)
    spared: list[tuple[str, str, str]] = []
    with ExitStack() as held:
        for one in sorted(asked, key=lambda one: one.folder):
            held.enter_context(lock_shard(one.folder, "generate", shard, notes(report, "generate")))
        together: list[_Job] = []  # in any order, by as many workers as there are
        in_one_go: list[_Batch] = []
        for one in asked:
            if shard is None:
                sweep(one.folder)  # which takes what another machine writes for what a kill left
            part = _empty_part_folder(one.folder, shard)
            held.callback(shutil.rmtree, part, ignore_errors=True)
            method = one.resolved.method
            jobs: list[_Job] = []
            made_with = dict(method.fingerprint()) if method.fingerprint is not None else {}
            late: list[Pair] = []  # whose media are not those of the failure that is recorded
            for index, pair in pairs:
                request = media.request(one, pair, one.resolved.seed + index, made_with)
                if not _is_done(one.folder, request, overwrite):
                    item = media.item(pair, request.seed, method.kind == "control")
                    clip = part / f"{pair.id}.mp4"
                    said = _recorded(pair, method, consent) if method.consent else ""
                    jobs.append(_Job(one.text, one.folder, item, request, clip, media.root, said))
                    late += [] if pair.id in begins[one.folder] else [pair]
            if late:
                _require_consent(one.resolved, late, consent)
                _require_sense(one.resolved, [job.item for job in jobs], machine)
                _require_ready(one.resolved, machine, report)
            _require_one_making(one.folder, made_with, {job.item.pair for job in jobs})
            _describe(one.folder, one.resolved, split, limit)
            if method.make_many is None:
                together += jobs
            elif jobs:
                in_one_go.append(_Batch(jobs, machine))
        total = len(together) + sum(len(batch.jobs) for batch in in_one_go)
        made = failed = 0
        begun: dict[tuple[Path, str], float] = {}  # how much is done of the clips in the making
        report(Progress("generate", 0, total, 0))
        at_once = min([workers, *(one.resolved.method.workers or workers for one in asked)])
        with closing(_all_made(together, in_one_go, at_once, report)) as answers:
            for job, answer in answers:
                if isinstance(answer, Step):
                    begun[job.folder, job.item.pair] = answer.done / answer.of
                else:
                    outcome = _signed(job, answer, signer)
                    if not _commit(job, outcome):
                        spared.append((job.folder.parent.name, job.item.pair, outcome.failure))
                    begun.pop((job.folder, job.item.pair), None)
                    made += not outcome.failure
                    failed += bool(outcome.failure)
                report(Progress("generate", made + failed, total, failed, begun=sum(begun.values())))
        for one in asked:
            _describe(one.folder, one.resolved, split, limit)
    if signer is not None and (count := sum(_unsigned(one, pair) for one in asked for _, pair in pairs)):
        notes(report, "generate")(
            f"clips without a manifest, as they were there already: {count}; --overwrite all makes them anew"
        )
    failures = spared + [
        (one.resolved.name, pair.id, sidecar.failure)
        for one in asked
        for _, pair in pairs
        if (sidecar := read_sidecar(one.folder / f"{pair.id}.json")) is not None and sidecar.failure
    ]
    places = {(one.resolved.name, pair.id): (place, index) for place, one in enumerate(asked) for index, pair in pairs}
    failures.sort(key=lambda failure: places[failure[:2]])
    return Generated(made, len(pairs) * len(asked) - made - len(failures), failures)


def planned(
    split: Split,
    methods: Sequence[str],
    runs: Path,
    *,
    overwrite: Overwrite = "never",
    limit: int | None = None,
    shard: Shard | None = None,
    machine: Machine = Machine(),  # noqa: B008 - a constant
) -> list[tuple[str, str]]:
    """What `generate` would cost: of every method its name, and a line or a table for a person.

    Makes nothing, and needs neither media nor consent nor network files. Clips that are there already do not count.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit = {limit}; expected 1 or more.")
    media, found = _Media(split, None), []
    for one in _asked(methods, runs, split):
        method, name = one.resolved.method, one.resolved.name
        left = [pair for _, pair in _pairs(split, limit, shard) if _is_left(one, pair, split, overwrite)]
        clips = f"{len(left)} clip{'s' * (len(left) != 1)} to be made"
        if method.plan is not None and left:
            found.append((name, method.plan(len(left), media.item(left[0], one.resolved.seed, False), machine)))
        elif method.make_many is not None or method.licences:
            found.append((name, f"{clips}; it does not say what they cost." if left else f"{clips}."))
        else:
            found.append((name, f"{clips}, without networks."))
    return found


# What is asked ---------------------------------------------------------------------------------------------------


def _pairs(split: Split, limit: int | None, shard: Shard | None) -> list[tuple[int, Pair]]:
    """The pairs that are asked for, each with its place in the split."""
    return [(index, pair) for index, pair in enumerate(split.pairs[:limit]) if shard is None or shard.has(index)]


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


def _is_left(one: _Asked, pair: Pair, split: Split, overwrite: Overwrite) -> bool:
    """Whether a clip is to be made, as far as its folder says; what media it was made from is not looked at."""
    if overwrite == "all":
        return True
    path = one.folder / f"{pair.id}.json"
    sidecar = read_sidecar(path) if path.is_file() else None
    if sidecar is not None and sidecar.failure:
        same = (sidecar.request.method, sidecar.request.split) == (one.full_name, split.label)
        return overwrite == "failed" or not same
    return not (one.folder / f"{pair.id}.mp4").is_file()


def _require_consent(one: Resolved, pairs: Sequence[Pair], given: bool) -> None:
    if not one.method.consent:
        return
    if refused := [pair for pair in pairs if _stance(pair) == "refused"]:
        first = refused[0]
        raise UsageError(
            f"{one.name} makes people say what they have not said, and {len(refused)} of {len(pairs)} pairs "
            f"refuse{'s' * (len(refused) == 1)} consent (first {first.id}: {_line(first.consent)!r}). Take "
            "them out of pairs.jsonl, or correct their field consent: --i-have-consent does not overrule it."
        )
    if unstated := [pair.id for pair in pairs if not _recorded(pair, one.method, given)]:
        do = "does" if len(unstated) == 1 else "do"
        raise UsageError(
            f"{one.name} makes people say what they have not said, and {len(unstated)} of {len(pairs)} pairs {do} "
            f"not say that they agreed (first {unstated[0]}). State it in the field consent of pairs.jsonl, or give "
            "--i-have-consent, which is recorded with every clip."
        )


def _require_sense(one: Resolved, items: Sequence[Item], machine: Machine) -> None:
    """What can be told of a request before files are asked for."""
    if one.method.check is not None:
        one.method.check(items, machine)


def _require_ready(one: Resolved, machine: Machine, report: Report) -> None:
    """What would keep a method from making clips, before anything is prepared or made."""
    if one.method.ready is None:
        return
    if one.method.licences:
        notes(report, "generate")(
            f"checking the network files of {one.name}: minutes where they are new, as all is read"
        )
    one.method.ready(machine)


def _stance(pair: Pair) -> Stance:
    """What a pair's statement of consent says: agreement where it begins with one and has no word of refusal."""
    text = pair.consent.lower().replace("\N{RIGHT SINGLE QUOTATION MARK}", "'")
    words = re.findall(r"[\w']+", text)
    if not words or " ".join(words).startswith(SILENCE):
        return "silent"
    refuses = any(word in NEGATION or word.endswith("n't") or word.startswith(REFUSAL) for word in words)
    agrees = next((word for word in words if word not in BEFORE), "").startswith(AGREEMENT)
    if refuses:
        return "silent" if agrees else "refused"
    if words[0] in NOBODY:
        return "nobody" if len(words) > 1 else "silent"
    return "stated" if agrees else "silent"


def _recorded(pair: Pair, method: Method, given: bool) -> str:
    """What is recorded of the consent of whoever a pair shows; empty where it is not enough for this method."""
    stance, text = _stance(pair), _line(pair.consent)
    if stance == "stated":
        return f"stated with the pair: {text}"
    if stance == "refused":
        return ""
    says = f"the pair says: {text}" if text else "the pair says nothing"
    if given:
        return f"given with --i-have-consent; {says}"
    if stance == "nobody" and (method.untrained or method.kind != "model"):
        return f"not asked for an untrained method or a baseline; {says}"
    return ""


def _line(text: str) -> str:
    return " ".join(text.split())


class _Media:
    """The media of a split with their digests, each read once. Paths are absolute."""

    def __init__(self, split: Split, data: Path | None) -> None:
        self.split = split
        self.data = (data if data is not None else home("media")).absolute()
        self.root = media_root(split, self.data)
        self._digests = FileDigests()

    def request(self, one: _Asked, pair: Pair, seed: int, made_with: dict[str, str]) -> Request:
        seen = ""
        if one.resolved.method.kind == "control":
            stranger = self._stranger(pair)
            targets = self._digest(pair, "target") + (":" + self._digest(stranger, "target") if stranger else "")
            seen = hashlib.sha256(targets.encode()).hexdigest()
        return Request(
            target_sha256=seen,
            made_with=made_with,
            method=one.full_name,
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
        return overwrite == "never" and request.differs(sidecar.request) is None
    if not made:
        return False  # killed between the two files
    if (difference := request.differs(sidecar.request)) is not None:
        what, then, now = difference
        raise Incomparable(
            f"{folder / request.pair}.json was made for {what} {then!r}, and now it is {now!r}. "
            "Make it again with --overwrite all, or take another --runs folder."
        )
    return True


def _require_one_making(folder: Path, made_with: Mapping[str, str], again: Collection[str]) -> None:
    """Incomparable where clips that stay are of other settings or networks than those that are to be made."""
    if not again:
        return
    for path in sorted(folder.glob("*.mp4")):
        sidecar = read_sidecar(path.with_suffix(".json"))
        if sidecar is None or path.stem in again:
            continue
        then = sidecar.request.made_with
        for part in made_with.keys() & then.keys():
            if made_with[part] != then[part]:
                raise Incomparable(
                    f"{path} was made with {part} {then[part]}, and now it would be {made_with[part]} (its sidecar has them "
                    "in full). Make all clips again with --overwrite all, or take another --runs folder."
                )


# What is made ----------------------------------------------------------------------------------------------------


def _all_made(
    together: Sequence[_Job], in_one_go: Sequence[_Batch], at_once: int, report: Report
) -> Generator[tuple[_Job, _Outcome | Step], None, None]:
    """Every job with its outcome, as they are finished, and before it with as many steps as are told of."""
    with closing(run_jobs(_make, together, at_once, _died)) as finished:
        yield from finished
    for batch in in_one_go:
        notes(report, "generate")(f"loading the networks of {batch.jobs[0].folder.parent.name}")
        by_pair = {job.item.pair: job for job in batch.jobs}
        with closing(_answers(batch)) as answers:
            for answer in answers:
                if isinstance(answer, Step):
                    yield by_pair[answer.pair], answer
                else:
                    pair, outcome = answer
                    yield by_pair[pair], outcome


def _answers(batch: _Batch) -> Generator[tuple[str, _Outcome] | Step, None, None]:
    """All that one worker says, which keeps what it has begun between the calls: the last finds it ended."""
    ended = False

    def calls() -> Iterator[_Batch | None]:
        yield batch
        while not ended:
            yield None

    with closing(run_jobs(_make_next, calls(), 1)) as answers:
        for _, answer in answers:
            if answer is None:
                ended = True
            else:
                yield answer


def _make(job: _Job) -> _Outcome:
    """Runs in a worker: writes the clip to `job.part`, or says why not."""
    one = resolve(job.method)
    return _outcome(one, job, lambda: one.method.make(job.item, job.part), time.perf_counter())


_begun: list[Iterator[tuple[str, _Outcome] | Step]] = []  # in the worker of a method that makes many clips in one go


def _make_next(batch: _Batch | None) -> tuple[str, _Outcome] | Step | None:
    """Runs in a worker of its own: goes on with the jobs that its first call brought; None after the last."""
    if batch is not None:
        _begun[:] = [_made_in_turn(batch.jobs, batch.machine)]
    return next(_begun[0], None)


def _made_in_turn(jobs: Sequence[_Job], machine: Machine) -> Iterator[tuple[str, _Outcome] | Step]:
    """Every job's pair and outcome, in the method's order, which is not shown those whose media are absent.

    The seconds of a clip are those since the one before it, so that each second is in one of them.
    """
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
            for made in one.method.make_many(wanted, machine) if wanted else ():
                job = _answered(made, left)
                if isinstance(made, Step):
                    yield made
                    continue
                outcome = _outcome(one, job, functools.partial(_returned, made), begun)
                del left[made.pair]
                yield made.pair, outcome
                begun = time.perf_counter()
            if left:
                raise RuntimeError(f"make_many ended without {', '.join(left)}")
    except (Exception, SystemExit) as error:
        _raise_faults_of_the_machine(error, "on a machine with more of it, or with --memory offload")
        if _is_ours(jobs[0]):
            raise
        for pair, job in left.items():
            now = time.perf_counter()
            yield pair, _Outcome(now - begun, _provenance(one, job), "", _reason(error, job))
            begun = time.perf_counter()


def _answered(made: object, left: Mapping[str, _Job]) -> _Job:
    """The job that an answer of `make_many` is for; TypeError where it is for none."""
    if not isinstance(made, Made | Step):
        raise TypeError(f"make_many yielded {type(made).__name__}; expected Made or Step")
    if isinstance(made, Step) and not (made.of > 0 and 0 <= made.done <= made.of):
        raise TypeError(f"make_many yielded step {made.done} of {made.of}; expected 0 to as many as there are")
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
        _raise_faults_of_the_machine(error, "with --workers 1")
        if _is_ours(job) and not isinstance(error, MediaError | NotFinite | SplitError):
            raise  # a fault of ours stops the run
        failure = _reason(error, job)
    return _Outcome(time.perf_counter() - begun, provenance, clip_sha256, failure)


def _signed(job: _Job, outcome: _Outcome, signer: Signer | None) -> _Outcome:
    """The outcome with its clip signed and its digest taken anew, where clips of its kind are; MediaError is a failure.

    A manifest that is there already is somebody else's statement, and is kept.
    """
    method = resolve(job.method).method
    if signer is None or outcome.failure or method.kind == "control":
        return outcome
    source: Source = "trainedAlgorithmicMedia" if method.kind == "model" or method.licences else "compositeSynthetic"
    if method.untrained:
        source = "algorithmicMedia"
    generation = Generation(
        job.request.method,
        job.request.seed,
        hashlib.sha256(msgspec.json.encode(job.request)).hexdigest(),
        source,
        method.untrained,
    )
    try:
        there = read_manifest(job.part)
        if there is not None:
            kept = {"kept": there.label, "claim_generator": there.generator, "valid": there.valid}
            return outcome._replace(provenance={**outcome.provenance, "c2pa": kept})
        recorded = sign(job.part, signer, generation)
    except MediaError as error:
        return outcome._replace(clip_sha256="", failure=_reason(error, job))
    return outcome._replace(provenance={**outcome.provenance, "c2pa": recorded}, clip_sha256=sha256(job.part))


def _unsigned(one: _Asked, pair: Pair) -> bool:
    """Whether a clip that would be signed is there without a manifest of ours."""
    sidecar = read_sidecar(one.folder / f"{pair.id}.json")
    made = sidecar is not None and not sidecar.failure and "c2pa" not in sidecar.provenance
    return made and one.resolved.method.kind != "control"


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


def _raise_faults_of_the_machine(error: BaseException, remedy: str) -> None:
    """A full disk or memory is not the pair's fault: it stops the run, in one clear line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, WorkerDied):  # which says itself what to do
            raise cause
        if isinstance(cause, MemoryError) or (isinstance(cause, OSError) and cause.errno == errno.ENOMEM):
            raise WorkerDied(
                f"a worker process is out of memory. What was finished is kept; run the same command again, {remedy}."
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
    known = read_run(folder)
    info = RunInfo(
        label=one.method.label,
        kind=one.method.kind,
        order=one.method.order,
        untrained=one.method.untrained,
        limited=0 if whole or limit is None else max(limit, known.limited),
        limited_scores=known.limited_scores,
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
