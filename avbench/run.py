"""Runs on disk: names of methods, folders, sidecars and score rows.

    RUNS/METHOD/SPLIT/   PAIR.mp4  PAIR.json  run.json  scores.jsonl  scales.json  costs.jsonl

METHOD is `NAME[@key=value,…]`. PAIR.json and run.json are optional: somebody else's folder of clips is a run.
Scores are appended by one writer under a lock and flushed clip by clip; a torn last line is what a kill leaves
behind and is passed over. The last row of a key is the one that counts.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Literal, NamedTuple, TypeVar

import msgspec

from .errors import UsageError
from .home import atomic, writing
from .metric import Scale

__all__ = [
    "Kind",
    "Overwrite",
    "Request",
    "Run",
    "RunInfo",
    "ScoreRow",
    "Shard",
    "Sidecar",
    "append_costs",
    "append_rows",
    "find_runs",
    "format_method",
    "lock",
    "lock_shard",
    "parse_method",
    "parse_shard",
    "read_run",
    "read_scales",
    "read_scores",
    "read_sidecar",
    "rewrite_scores",
    "run_folder",
    "scan_scores",
    "write_run",
    "write_scales",
    "write_sidecar",
]

METHOD = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]*)(?:@(?P<options>.+))?")
SHARD = re.compile(r"(?P<number>[0-9]{1,6})/(?P<of>[0-9]{1,6})")
OPTION = re.compile(r"(?P<key>[a-z][a-z0-9_]*)=(?P<value>[A-Za-z0-9.+_-]+)")

DAMAGED = (msgspec.DecodeError, UnicodeDecodeError)  # what a file that is not what avbench wrote can raise

Kind = Literal["control", "baseline", "model"]
Overwrite = Literal["never", "failed", "all"]  # what is made or scored again
Row = TypeVar("Row", bound=msgspec.Struct)
Content = TypeVar("Content")


class RunInfo(msgspec.Struct, frozen=True, omit_defaults=True):
    """run.json: what a table must know of a method. Absent means a model that nobody has described."""

    label: str
    kind: Kind = "model"
    order: int = 1000
    untrained: bool = False
    limited: int = 0  # clips of only so many pairs were asked for; 0 = of all
    limited_scores: int = 0  # likewise, scores


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a sidecar records of the request; media by digest."""

    method: str  # NAME[@key=value,…], of somebody's own with its module before it
    split: str
    pair: str
    seed: int
    voice_sha256: str
    face_sha256: str
    target_sha256: str = ""  # controls: of the digests of the own and the stranger's real clip
    made_with: dict[str, str] = {}  # what the method is made of, such as settings and networks: digests by name

    def differs(self, recorded: Request) -> tuple[str, object, object] | None:
        """Where another request was for something else: a field or part, what was recorded, and what is asked for.

        A part of the method is compared where both know its digest: networks need not be here to keep clips.
        """
        for field in self.__struct_fields__:
            then, now = getattr(recorded, field), getattr(self, field)
            if field == "made_with":
                for part in now.keys() & then.keys():
                    if now[part] != then[part]:
                        return part, then[part], now[part]
            elif then != now:
                return field, then, now
        return None


class Sidecar(msgspec.Struct, frozen=True, omit_defaults=True):
    """PAIR.json: how a clip came to be. `clip_sha256` XOR `failure`."""

    request: Request
    provenance: dict[str, Any]
    versions: dict[str, str]
    clip_sha256: str = ""
    failure: str = ""


class ScoreRow(msgspec.Struct, frozen=True, omit_defaults=True):
    """One number, or one failure, of one clip on one scale. All fields before `value` are its key."""

    split: str  # name@digest
    pair: str
    speaker: str
    clip_sha256: str
    target_sha256: str
    reference_sha256: str  # of the given voice and face together
    profile: str
    scale: str
    revision: str
    value: float | None = None
    failure: str | None = None
    detail: dict[str, Any] = {}

    @property
    def key(self) -> tuple[str, ...]:
        return (
            self.split, self.pair, self.speaker, self.clip_sha256, self.target_sha256,
            self.reference_sha256, self.profile, self.scale, self.revision,
        )  # fmt: skip


class Run(NamedTuple):
    """One METHOD/SPLIT folder."""

    method: str
    split: str
    folder: Path


class Shard(NamedTuple):
    """A part of the pairs: every `of`-th one, from the `number`-th on, counted from 1."""

    number: int
    of: int

    def has(self, index: int) -> bool:
        """Whether the pair at this place in pairs.jsonl, counted from 0, is in this part."""
        return index % self.of == self.number - 1


# Names -------------------------------------------------------------------------------------------------------


def parse_method(text: str) -> tuple[str, dict[str, str]]:
    """`shifted@frames=5` → ("shifted", {"frames": "5"}). UsageError where the form is wrong."""
    match = METHOD.fullmatch(text)
    if match is None:
        raise UsageError(f"method {text!r}; expected NAME or NAME@key=value,… as in shifted@frames=5.")
    options: dict[str, str] = {}
    for item in (match["options"] or "").split(",") if match["options"] else []:
        option = OPTION.fullmatch(item)
        if option is None:
            raise UsageError(f"method {text!r}: option {item!r}; expected key=value as in shifted@frames=5.")
        if option["key"] in options:
            raise UsageError(f"method {text!r}: option {option['key']!r} is given twice.")
        options[option["key"]] = option["value"]
    return match["name"], options


def format_method(name: str, options: Mapping[str, Any]) -> str:
    """The inverse of `parse_method`, with options in alphabetical order: the folder name."""
    if not options:
        return name
    return f"{name}@{','.join(f'{key}={options[key]}' for key in sorted(options))}"


def parse_shard(text: str) -> Shard:
    """`2/4` → the second of four parts. UsageError where it is none."""
    match = SHARD.fullmatch(text)
    if match is None or not 1 <= int(match["number"]) <= int(match["of"]):
        raise UsageError(f"shard {text!r}; expected I/N with I from 1 to N, as in 2/4.")
    return Shard(int(match["number"]), int(match["of"]))


def run_folder(runs: Path, method: str, split: str) -> Path:
    """`RUNS/METHOD/SPLIT`."""
    return runs / method / split


def find_runs(runs: Path) -> list[Run]:
    """Every METHOD/SPLIT folder below RUNS, by name. Files and hidden folders are passed over."""
    if not runs.is_dir():
        raise UsageError(
            f"{runs}: no such folder; expected RUNS/METHOD/SPLIT/PAIR.mp4 below it. `avbench generate` makes one."
        )
    found = []
    for method in sorted(path for path in runs.iterdir() if path.is_dir() and not path.name.startswith(".")):
        for split in sorted(path for path in method.iterdir() if path.is_dir() and not path.name.startswith(".")):
            found.append(Run(method.name, split.name, split))
    return found


# Small files ---------------------------------------------------------------------------------------------------


def write_run(folder: Path, info: RunInfo) -> None:
    _write(folder / "run.json", info)


def read_run(folder: Path) -> RunInfo:
    """run.json; where there is none, a model labelled by its folder."""
    path = folder / "run.json"
    if not path.is_file():
        return RunInfo(label=folder.parent.name.encode(errors="replace").decode())  # JSON is UTF-8
    return _decode(path, RunInfo)


def write_sidecar(path: Path, sidecar: Sidecar) -> None:
    _write(path, sidecar)


def read_sidecar(path: Path) -> Sidecar | None:
    """PAIR.json as avbench wrote it; None where it is absent or somebody else's."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Sidecar)
    except (FileNotFoundError, *DAMAGED):
        return None


def write_scales(folder: Path, scales: Iterable[Scale]) -> None:
    """Adds the scales to scales.json; keys of other profiles and scales stay."""
    known = {scale.key: scale for scale in read_scales(folder).values()}
    known.update({scale.key: scale for scale in scales})
    ordered = sorted(known.values(), key=lambda scale: (scale.profile, scale.order, scale.name))
    _write(folder / "scales.json", {scale.key: scale for scale in ordered})


def read_scales(folder: Path) -> dict[str, Scale]:
    """scales.json, keyed profile/scale; empty where there is none."""
    path = folder / "scales.json"
    if not path.is_file():
        return {}
    return _decode(path, dict[str, Scale])


def append_costs(folder: Path, costs: Iterable[Mapping[str, Any]]) -> None:
    """Seconds, and nothing else of the run, go here."""
    with writing(folder / "costs.jsonl"), (folder / "costs.jsonl").open("ab") as file:
        for cost in costs:
            file.write(msgspec.json.encode(cost) + b"\n")


def _write(path: Path, content: object) -> None:
    with atomic(path) as part:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")


def _decode(path: Path, kind: type[Content]) -> Content:
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except DAMAGED as error:
        raise UsageError(f"{path}: {error}; expected what avbench writes. Remove it or mend it.") from error


# Score rows ------------------------------------------------------------------------------------------------------


def scan_scores(folder: Path, kind: type[Row]) -> Iterator[tuple[Path, int, Row]]:
    """Every row of scores.jsonl in file order, with file and line; a torn last line is passed over.

    `kind` is ScoreRow, or a record with some of its fields: a table reads a million rows, and needs few of them.
    """
    decoder = msgspec.json.Decoder(kind)
    path = folder / "scores.jsonl"
    if not path.is_file():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                row = decoder.decode(line)
            except DAMAGED as error:
                if not line.strip() or not line.endswith(b"\n"):  # no line end: a kill tore it
                    continue
                raise UsageError(f"{path}, line {number}: {error}. Remove that line and score again.") from error
            yield path, number, row


def read_scores(folder: Path) -> dict[tuple[str, ...], ScoreRow]:
    """All rows of a run by key, the last row of a key winning and standing where it was written."""
    rows: dict[tuple[str, ...], ScoreRow] = {}
    for _, _, row in scan_scores(folder, ScoreRow):
        rows.pop(row.key, None)
        rows[row.key] = row
    return rows


def append_rows(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Appends rows and flushes them, beginning on a line of its own even after a torn one."""
    content = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    with writing(path), path.open("ab+") as file:
        _end_last_line(file)
        file.write(content)
        file.flush()


def _end_last_line(file: BinaryIO) -> None:
    """After a kill the last line may have no end: it gets one if it is a row, and is cut off if it is torn."""
    if file.tell() == 0:
        return
    file.seek(-1, os.SEEK_END)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    try:
        msgspec.json.decode(content[start:], type=ScoreRow)
        file.write(b"\n")
    except DAMAGED:
        file.truncate(start)


def rewrite_scores(path: Path, rows: Iterable[ScoreRow]) -> None:
    """Replaces the file in one step by these rows, in the order given."""
    content = b"".join(msgspec.json.encode(row) + b"\n" for row in rows)
    if path.is_file() and path.read_bytes() == content:
        return
    with atomic(path) as part:
        part.write_bytes(content)


@contextmanager
def lock(folder: Path, what: str, waiting: Callable[[str], None] = lambda line: None) -> Iterator[None]:
    """Holds a run folder for one writer; a second one says that it is waiting until the first is done, or gone."""
    from filelock import FileLock, Timeout

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        held = FileLock(folder / f".{what}.lock")
        try:
            held.acquire(timeout=1)
        except Timeout:
            waiting(f"waiting for another avbench {what} in {folder}")
            held.acquire()
    try:
        yield
    finally:
        held.release()


@contextmanager
def lock_shard(
    folder: Path, what: str, shard: Shard | None, waiting: Callable[[str], None] = lambda line: None
) -> Iterator[None]:
    """`lock` for a writer of some of the pairs: shards of one division share the folder, all others wait.

    `.WHAT.lock` is held while it is found out who else is here, and by a writer of all pairs to its end;
    `.WHAT-I-of-N.lock` by a shard to its end.
    """
    with ExitStack() as held:
        with ExitStack() as entering:
            entering.enter_context(lock(folder, what, waiting))
            for path in sorted(folder.glob(f".{what}-*-of-*.lock")):
                if shard is None or not path.name.endswith(f"-of-{shard.of}.lock"):
                    other = lock(folder, path.name.removeprefix(".").removesuffix(".lock"), waiting)
                    (held if shard is None else entering).enter_context(other)
            if shard is None:
                held.push(entering.pop_all())
            else:
                held.enter_context(lock(folder, f"{what}-{shard.number}-of-{shard.of}", waiting))
        yield
