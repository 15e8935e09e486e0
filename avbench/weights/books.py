"""What is written down beside the network files, in AVBENCH_HOME/weights: which licences were accepted, the digests of
files for which nobody publishes one, and those of large files that were read here.

    weights.lock    {name: {size, sha256, address, date}}     the file as it first came; every later one must equal it
    licences.json   {terms: {licence, date, weights}}         what `avbench weights fetch --accept-licence TERMS` records
    digests.json    {path: {size, mtime_ns, ctime_ns, sha256}}     a file as it was when all of it was read

The first two are meant to be read, and copied to another machine, by people. The third saves reading: a file that has
changed since in size or in one of its times, as a copy of it has, is read again. AVBENCH_ACCEPT_LICENCES=TERMS,TERMS
accepts for the processes that see it, and records nothing.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import msgspec

from ..errors import FolderError, WeightsError
from ..home import atomic, home, writing

__all__ = ["Acceptance", "Lock", "Reading", "accept", "accepted", "forget", "lock", "locked", "note", "noted", "unlock"]


class Lock(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file as it first came."""

    size: int  # bytes
    sha256: str
    address: str  # where it came from; empty for a file that somebody put there
    date: str  # ISO, of the day


class Acceptance(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """That somebody accepted a licence, and when."""

    licence: str
    date: str
    weights: list[str]  # names


class Reading(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file when all of it was read. The system sets ctime by itself whenever a file is changed or moved."""

    size: int  # bytes
    mtime_ns: int
    ctime_ns: int
    sha256: str


T = TypeVar("T", Lock, Acceptance, Reading)


def locked(name: str) -> Lock | None:
    """The lock of a file; None where it has none yet."""
    return _read(_lock_file(), Lock).get(name)


def lock(name: str, size: int, sha256: str, address: str) -> None:
    """Writes down what this file is from now on."""
    _write(_lock_file(), name, Lock(size, sha256, address, _today()), Lock)


def unlock(name: str) -> None:
    """Forgets it: whatever comes next is locked."""
    _write(_lock_file(), name, None, Lock)


def accepted(terms: str) -> str:
    """When these terms were accepted (a date, or "now" where the environment does); empty if they were not."""
    listed = os.environ.get("AVBENCH_ACCEPT_LICENCES", "").split(",")
    if terms in (name.strip() for name in listed):
        return "now"
    entry = _read(home("weights", "licences.json"), Acceptance).get(terms)
    return entry.date if entry else ""


def accept(terms: str, licence: str, names: list[str]) -> None:
    """Records that the terms of these files were accepted today."""
    _write(home("weights", "licences.json"), terms, Acceptance(licence, _today(), names), Acceptance)


def noted(file: Path) -> str:
    """The sha256 of a file that was read before and is as it was then; empty for any other."""
    entry = _read(_digests_file(), Reading).get(str(file))
    return entry.sha256 if entry is not None and entry == _reading(file.stat(), entry.sha256) else ""


def note(file: Path, before: os.stat_result, sha256: str) -> None:
    """Writes down what all of a file's bytes came to; `before` is its state when the reading began."""
    try:
        _write(_digests_file(), str(file), _reading(before, sha256), Reading)
    except FolderError:
        return  # a home that others keep: the file is read again next time


def forget(files: Iterable[Path]) -> None:
    """What was noted of these files counts no more."""
    known = _read(_digests_file(), Reading)
    for file in files:
        if str(file) in known:
            _write(_digests_file(), str(file), None, Reading)


# Files of names --------------------------------------------------------------------------------------------------


def _lock_file() -> Path:
    return home("weights", "weights.lock")


def _digests_file() -> Path:
    return home("weights", "digests.json")


def _reading(status: os.stat_result, sha256: str) -> Reading:
    return Reading(status.st_size, status.st_mtime_ns, status.st_ctime_ns, sha256)


def _read(path: Path, kind: type[T]) -> dict[str, T]:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        return msgspec.json.decode(content, type=dict[str, kind])  # type: ignore[valid-type]
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise WeightsError(
            f"{path}: cannot be read ({error}). Mend it, or remove it: it is then begun anew."
        ) from error


def _write(path: Path, name: str, entry: T | None, kind: type[T]) -> None:
    """Changes one entry; two processes do it one after the other."""
    from filelock import FileLock

    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(f".{path.name}.lock")):
            entries = {key: value for key, value in _read(path, kind).items() if key != name}
            if entry is not None:
                entries[name] = entry
            content = msgspec.json.format(msgspec.json.encode(dict(sorted(entries.items()))), indent=2)
            with atomic(path) as part:
                part.write_bytes(content + b"\n")


def _today() -> str:
    return datetime.datetime.now(datetime.UTC).date().isoformat()
