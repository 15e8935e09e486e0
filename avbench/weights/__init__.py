"""The networks that avbench measures with: what each file is, whose it is, and how it comes to this machine.

    WEIGHTS[name]   address, size, digest, licence       path(name)     the file, checked, ready to be opened
    fetch(name)     download now                         verify(name)   hash the whole file again

A file has one of these sources (`registry.py`):

    Installed   a file inside an installed distribution, found through its metadata; the package is never imported
    Folder      several files of one model inside an installed distribution; each is hashed, and together they are one
    Wheel       a file inside a wheel that pip downloads on first use; nothing of it is installed or run
    Download    a file on the web, or one of a zip there, up to gigabytes: `avbench weights fetch`, never by itself
    Repository  a model of many files in a model repository, likewise; all of them are hashed together

A further kind of source is one record and one branch each in `where` and `_obtain`. Every file is pinned by size
and sha256, in the registry or, where nobody publishes them, in `weights.lock` from its first use on; one that differs
is never opened by a network. A verified file is hashed once per process and remembered by path, size and time of
change (100 MB take 0.05 to 0.15 s, so nothing is remembered on disk). AVBENCH_OFFLINE=1: nothing is downloaded.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple
from urllib.parse import urlsplit

from ..errors import WeightsError, unknown
from ..home import home, sha256, writing
from . import books
from .downloads import Wanted, discard, download
from .registry import WEIGHTS, Download, Folder, Installed, Repository, Weight, Wheel

__all__ = [
    "UNLOCKED",
    "WEIGHTS",
    "Download",
    "Folder",
    "Installed",
    "Report",
    "Repository",
    "Weight",
    "Wheel",
    "accept",
    "command",
    "digest8",
    "ensure",
    "fetch",
    "offline",
    "path",
    "present",
    "state",
    "terms",
    "verify",
    "where",
]

Report = Callable[[str, int, int], None]  # name of what is downloaded, bytes that are there, bytes in all

UNLOCKED = "unlocked"  # what `digest8` says of files whose digest is not known before they have come
INDEX = "model_index.json"  # of a model in diffusers' layout
MEMBER_BYTES = 4 << 30  # the most that is taken out of a zip for a file of unknown size


def where(name: str) -> Path:
    """Where the file, or the folder of files, lies or will lie once fetched. WeightsError where its package is absent."""
    weight = _weight(name)
    match weight.source:
        case Installed():
            return _installed_path(weight, weight.source.member)
        case Folder(folder=folder, members=members):
            return _installed_path(weight, f"{folder}/{members[0]}").parents[len(PurePosixPath(members[0]).parts) - 1]
        case Wheel(member=member):
            file = member
        case Repository():
            return home("weights", name)
        case Download(addresses=addresses, member=member):
            file = member or urlsplit(addresses[0]).path
    # The digest in the name lets two versions of avbench share one folder.
    digest = f".{weight.sha256[:8]}" if weight.sha256 else ""
    return home("weights", f"{name}{digest}{PurePosixPath(file).suffix}")


def present(name: str) -> bool:
    """Whether the right number of bytes is there; their digest is not looked at."""
    try:
        weight = _weight(name)
        size = sum(file.stat().st_size for file in _files(weight, where(name)))
        return size == (_pin(weight).size or size)
    except (OSError, WeightsError):
        return False


def path(name: str) -> Path:
    """The file, ready to be opened: verified, and locked if this is its first use.

    One that is absent or damaged is fetched if that is a matter of seconds (a Wheel); else WeightsError says what to
    run, as it does where the licence has to be accepted first.
    """
    weight, place = _weight(name), where(name)
    _require_accepted(weight)
    fault = _fault(weight, place)
    if fault:
        if isinstance(weight.source, Download):
            raise WeightsError(f"{name}: {fault}. {_remedy(weight)}")
        _obtain(weight, place, fault, None)
    _lock(weight, place, "")
    return place


def fetch(name: str, report: Report | None = None) -> Path:
    """Hashes the whole file, and downloads it anew if it is absent or damaged. `report` hears of every megabyte."""
    _digest.cache_clear()
    weight, place = _weight(name), where(name)
    _require_accepted(weight)
    if fault := _fault(weight, place):
        _obtain(weight, place, fault, report)
    _lock(weight, place, "")
    return place


def verify(name: str) -> Path:
    """Hashes the whole file; WeightsError where it is absent or not the pinned one. Downloads and locks nothing."""
    weight, place = _weight(name), where(name)
    _digest.cache_clear()
    fault = _fault(weight, place)
    if not fault and not _pin(weight).sha256:
        fault = f"{place} is there, and nothing is known yet that it could be compared with"
    if fault:
        raise WeightsError(f"{name}: {fault}. {_remedy(weight)}")
    return place


def ensure(names: Iterable[str]) -> None:
    """Verifies (and locks) all of them before long work begins; WeightsError lists what fails, with what to run.

    Everything that has to be downloaded by hand is one line with one command.
    """
    names, faults, to_fetch = list(names), [], []
    for name in names:
        weight = _weight(name)
        if isinstance(weight.source, Download) and not (present(name) and _accepted(weight)):
            to_fetch.append(name)
            continue
        try:
            path(name)
        except WeightsError as error:
            faults.append(str(error))
    if to_fetch:
        absent = [WEIGHTS[name] for name in to_fetch if not present(name)]
        wanting = list(dict.fromkeys(WEIGHTS[name].terms for name in to_fetch if not _accepted(WEIGHTS[name])))
        known = sum(weight.size for weight in absent) / 1e6
        size = f" ({known:,.0f} MB)" if known else ""
        said = [f"not here: {', '.join(weight.name for weight in absent)}{size}"] if absent else []
        said += [f"to be accepted: {', and '.join(map(_licence, wanting))}"] if wanting else []
        faults.insert(0, f"network files {'; '.join(said)}. Run: {command(to_fetch)}")
    if faults:
        raise WeightsError("\n".join(faults))


def command(names: Sequence[str]) -> str:
    """The command that fetches these files, with the licences that have to be accepted and are not."""
    wanting = dict.fromkeys(_weight(name).terms for name in names if not _accepted(_weight(name)))
    return " ".join(["avbench weights fetch", *names, *(f"--accept-licence {name}" for name in wanting)])


def digest8(names: Sequence[str]) -> str:
    """Eight hexadecimal digits that change when any of these files, or their order, does; reads none of them.

    UNLOCKED where a file has neither a published digest nor a lock yet. `ensure` locks, so that nothing is ever
    scored under that name.
    """
    digests = [_pin(_weight(name)).sha256 for name in names]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:8] if all(digests) else UNLOCKED


def state(name: str) -> str:
    """What is the matter with a file here, in a few words; its bytes are counted and not read."""
    weight = _weight(name)
    words = []
    if present(name):
        words.append("there")
    elif part := _begun(weight):
        words.append(f"{part / 1e6:,.0f} MB of a download")
    else:
        words.append("of another size" if _exists(weight) else "absent")
    if not weight.sha256:
        entry = books.locked(name)
        words.append(f"locked {entry.date}" if entry else "not locked yet")
    if weight.terms:
        date = books.accepted(weight)
        words.append(f"accepted {date}" if date else f"needs --accept-licence {weight.terms}")
    return ", ".join(words)


def terms() -> dict[str, list[str]]:
    """What can be accepted, and which files each covers."""
    found: dict[str, list[str]] = {}
    for name, weight in WEIGHTS.items():
        if weight.terms:
            found.setdefault(weight.terms, []).append(name)
    return found


def accept(name: str) -> None:
    """Records that the user accepts these terms. UsageError for a name that nothing asks for."""
    if name not in terms():
        raise unknown("licence", name, terms())
    covered = terms()[name]
    books.accept(name, WEIGHTS[covered[0]].licence, covered)


def offline() -> bool:
    """Whether the user forbade downloads."""
    return os.environ.get("AVBENCH_OFFLINE", "0").lower() not in ("", "0", "false", "no")


# What is wrong with a file, and what to do about it --------------------------------------------------------------


class _Pin(NamedTuple):
    """What a file has to be; 0 and empty where that is not known yet."""

    size: int
    sha256: str


def _weight(name: str) -> Weight:
    if name not in WEIGHTS:
        raise unknown("weights", name, WEIGHTS)
    return WEIGHTS[name]


def _pin(weight: Weight) -> _Pin:
    """From the registry; for a file without a published digest, from the lock."""
    if not weight.sha256 and (entry := books.locked(weight.name)):
        return _Pin(entry.size, entry.sha256)
    return _Pin(weight.size, weight.sha256)


def _lock(weight: Weight, place: Path, address: str) -> None:
    """Makes a file without a published digest the one that every later file must equal."""
    if not _pin(weight).sha256:
        files = _files(weight, place)
        states = [(file.stat().st_size, file.stat().st_mtime_ns) for file in files]
        digests = [_digest(file, *state) for file, state in zip(files, states, strict=True)]
        books.lock(weight.name, sum(size for size, _ in states), _combined(weight, place, digests), address)


def _fault(weight: Weight, place: Path) -> str:
    """What keeps the file from being used; empty if nothing does."""
    files, pin = _files(weight, place), _pin(weight)
    states = []
    for file in files:
        try:
            status = file.stat()
        except FileNotFoundError:
            return f"{file} is not there"
        except OSError as error:
            return f"{file} cannot be read ({error.strerror})"
        states.append((status.st_size, status.st_mtime_ns))
    size = sum(bytes_ for bytes_, _ in states)
    if pin.size and size != pin.size:
        return f"{place} has {size} bytes{_together(files)}; expected {pin.size}"
    if not pin.sha256:
        return "" if size else f"{place} is empty"
    try:
        digests = [_digest(file, *state) for file, state in zip(files, states, strict=True)]
    except OSError as error:
        return f"{error.filename or place} cannot be read ({error.strerror})"
    if _combined(weight, place, digests) != pin.sha256:
        return f"{place} is damaged or another {'model' if len(files) > 1 else 'file'}; expected sha256 {pin.sha256}"
    return ""


def _files(weight: Weight, place: Path) -> list[Path]:
    """What has to be read of a weight that lies at `place`."""
    match weight.source:
        case Folder(members=members):
            return [place / member for member in members]
        case Repository(folders=folders):
            found = [path for folder in folders for path in (place / folder).rglob("[!.]*") if path.is_file()]
            return [place / INDEX, *sorted(found)]
        case _:
            return [place]


def _together(files: Sequence[Path]) -> str:
    return f" in the {len(files)} files of the model" if len(files) > 1 else ""


def _combined(weight: Weight, place: Path, digests: Sequence[str]) -> str:
    """The digest of one file; of several, that of the list that sha256sum prints."""
    match weight.source:
        case Folder() | Repository():
            members = (file.relative_to(place).as_posix() for file in _files(weight, place))
            lines = (f"{digest}  {member}\n" for digest, member in zip(digests, members, strict=True))
            return hashlib.sha256("".join(lines).encode()).hexdigest()
        case _:
            return digests[0]


@functools.cache
def _digest(file: Path, size: int, mtime_ns: int) -> str:
    """sha256 of a file. Size and time are part of what is remembered: a changed file is read again."""
    return sha256(file)


def _remedy(weight: Weight) -> str:
    match weight.source:
        case Installed(distribution, version) | Folder(distribution, version):
            return f"Run: {sys.executable} -m pip install --force-reinstall --no-deps {distribution}=={version}"
        case Wheel() | Download():
            return f"Run: {command([weight.name])}"


def _accepted(weight: Weight) -> bool:
    return not weight.terms or bool(books.accepted(weight))


def _licence(name: str) -> str:
    covered = terms()[name]
    return f"{name}, the licence of {', '.join(covered)} ({WEIGHTS[covered[0]].licence})"


def _require_accepted(weight: Weight) -> None:
    if not _accepted(weight):
        raise WeightsError(
            f"{weight.name}: its licence is not accepted here: {weight.licence}; see {weight.address}. "
            f"Expected your consent. {_remedy(weight)}"
        )


def _require_online(weight: Weight, fault: str) -> None:
    if offline():
        raise WeightsError(
            f"{weight.name}: {fault}, and nothing is downloaded (AVBENCH_OFFLINE or --offline). Allow downloads, or put "
            f"the file there yourself. {_remedy(weight)}"
        )


def _obtain(weight: Weight, place: Path, fault: str, report: Report | None) -> None:
    """Puts the file in its place, or says why it cannot be had."""
    match weight.source:
        case Installed() | Folder():
            raise WeightsError(f"{weight.name}: {fault}. {_remedy(weight)}")
        case Wheel():
            _require_online(weight, fault)
            _obtain_from_wheel(weight, weight.source, place)
        case Repository():
            _require_online(weight, fault)
            _obtain_repository(weight, weight.source, place, fault)
        case Download():
            _require_online(weight, fault)
            _obtain_from_web(weight, weight.source, place, report)


# Files of installed distributions --------------------------------------------------------------------------------


def _installed_path(weight: Weight, member: str) -> Path:
    """Where the distribution of a weight has put one of its files."""
    from importlib.metadata import PackageNotFoundError, distribution

    source = weight.source
    assert isinstance(source, Installed | Folder)
    try:
        files = distribution(source.distribution).files or []
    except PackageNotFoundError:
        raise WeightsError(
            f"{weight.name}: {source.distribution} is not installed; expected its file {member}. "
            f"Run: {sys.executable} -m pip install 'avbench[{source.extra}]'"
        ) from None
    for file in files:
        if file.as_posix() == member:
            return Path(str(file.locate()))
    raise WeightsError(
        f"{weight.name}: the installed {source.distribution} has no file {member}; expected version "
        f"{source.version}. {_remedy(weight)}"
    )


# Files on the web ------------------------------------------------------------------------------------------------


def _obtain_from_web(weight: Weight, source: Download, place: Path, report: Report | None) -> None:
    """Downloads the file, or the zip that it is in, and gives it its name once it is known to be right.

    What a kill leaves behind is a part, with which the next download begins. A zip is downloaded once for all files
    of it that are wanted here, and not kept.
    """
    name = place.name if not source.member else PurePosixPath(urlsplit(source.addresses[0]).path).name
    part = place.with_name(f".{name}.part")
    told = functools.partial(report, name) if report is not None else None
    with _alone(place, name):
        if not _fault(weight, place):
            return
        if not source.member:
            with _told_of_lock(weight):
                address = download(source.addresses, part, Wanted(weight.name, *_pin(weight)), told)
            _lock(weight, part, address)
            with writing(place):
                part.replace(place)
            discard(part)
            return
        members = _of_same_archive(weight, source)
        room = sum(member.size for member in members)
        wanted = Wanted(name, source.archive_size, source.archive_sha256, room)
        address = download(source.addresses, part, wanted, told)
        try:
            for member in members:
                _unpack(member, part, name, where(member.name), address)
        except WeightsError:
            discard(part)  # else the next attempt would begin with it
            raise
        discard(part)


def _obtain_repository(weight: Weight, source: Repository, place: Path, fault: str) -> None:
    """Downloads all files of a model, which takes its name when they are there; what a kill leaves is gone on with."""
    if not source.repository:
        raise WeightsError(
            f"{weight.name}: {fault}, and nobody is known to offer it in diffusers' layout. {weight.note} Expected "
            f"{INDEX} and the folders {', '.join(source.folders)} in {place}."
        )
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise WeightsError(
            f"{weight.name}: huggingface_hub, which downloads it, is not installed. "
            f"Run: {sys.executable} -m pip install 'avbench[generate]'"
        ) from None
    with _alone(place, place.name), writing(place):
        if not _fault(weight, place):
            return
        if place.exists():
            raise WeightsError(
                f"{weight.name}: {fault}. Remove that folder, or mend it. Then: {command([weight.name])}"
            )
        part = place.with_name(f".{place.name}.part")
        try:
            patterns = [INDEX, *(f"{folder}/*" for folder in source.folders)]
            snapshot_download(source.repository, revision=source.revision, allow_patterns=patterns, local_dir=part)
        except Exception as error:
            said = " ".join(str(error).split())
            raise WeightsError(
                f"{weight.name}: {source.repository} could not be downloaded ({type(error).__name__}: {said}). Look at "
                f"{weight.address}: it may want to be agreed to there, by you. What has come is kept."
            ) from error
        absent = [name for name in (INDEX, *source.folders) if not (part / name).exists()]
        if absent:
            raise WeightsError(f"{weight.name}: {source.repository} has no {', '.join(absent)}; it was not taken.")
        part.replace(place)


@contextlib.contextmanager
def _told_of_lock(weight: Weight) -> Iterator[None]:
    """Adds to an error that the digest was locked here, where that is why another file is refused."""
    try:
        yield
    except WeightsError as error:
        if not (entry := books.locked(weight.name)):
            raise
        raise WeightsError(
            f"{error} The digest is that of the first file that came ({entry.date}); if you trust the new one, remove "
            f"the entry {weight.name} from {home('weights', 'weights.lock')}."
        ) from error


def _of_same_archive(weight: Weight, source: Download) -> list[Weight]:
    """This file, then every other of the same zip that is wanting here and whose licence is accepted."""
    others = [
        other
        for other in WEIGHTS.values()
        if isinstance(other.source, Download)
        and other.source.member
        and other.source.addresses == source.addresses
        and other.name != weight.name
        and _accepted(other)
        and _fault(other, where(other.name))
    ]
    return [weight, *others]


def _unpack(weight: Weight, archive: Path, shown: str, place: Path, address: str) -> None:
    """Takes one file out of a zip; it takes its name when it is right."""
    assert isinstance(weight.source, Download)
    with writing(place), _scratch(place, weight.name) as folder:
        taken = folder / "member"
        _take_out(weight, weight.source.member, archive, shown, taken)
        _lock(weight, taken, address)
        taken.replace(place)


def _exists(weight: Weight) -> bool:
    try:
        return where(weight.name).exists()
    except WeightsError:  # its package is not installed
        return False


def _begun(weight: Weight) -> int:
    """Bytes that an unfinished download has left."""
    source = weight.source
    if not isinstance(source, Download) or isinstance(source, Repository):
        return 0
    place = where(weight.name)
    name = place.name if not source.member else PurePosixPath(urlsplit(source.addresses[0]).path).name
    try:
        return place.with_name(f".{name}.part").stat().st_size
    except OSError:
        return 0


# Files inside wheels ---------------------------------------------------------------------------------------------


def _obtain_from_wheel(weight: Weight, source: Wheel, place: Path) -> None:
    """Downloads the wheel, checks it, and takes the one member out of it.

    All is done in a folder of its own and the file takes its name in one step, so that a kill leaves the old state
    and a folder that the next download removes.
    """
    with _alone(place, weight.name):
        if not _fault(weight, place):
            return
        with writing(place), _scratch(place, weight.name) as folder:
            wheel = _download(weight, source, folder / "wheel")
            member = folder / "member"
            _take_out(weight, source.member, wheel, wheel.name, member)
            member.replace(place)


def _download(weight: Weight, source: Wheel, folder: Path) -> Path:
    done = _pip(["download", "--no-deps", "--only-binary=:all:", "--dest", str(folder), source.requirement])
    if done.returncode:
        said = [line.strip() for line in (done.stderr + "\n" + done.stdout).splitlines() if line.strip()]
        raise WeightsError(
            f"{weight.name}: pip could not download {source.requirement} (it ended with {done.returncode}: "
            f"{said[-1] if said else 'it said nothing'}). Expected a wheel from the package index: check the network "
            f"and pip's settings, or put {source.member} of that wheel at {where(weight.name)} yourself. "
            f"Then run: avbench weights fetch {weight.name}"
        )
    wheels = sorted(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise WeightsError(
            f"{weight.name}: pip left {len(wheels)} wheels of {source.requirement}; expected one. {_remedy(weight)}"
        )
    found = sha256(wheels[0])
    if found != source.sha256:
        raise WeightsError(
            f"{weight.name}: the wheel {wheels[0].name} that pip downloaded has sha256 {found}; expected "
            f"{source.sha256}. It was not opened. Check which package index pip is set to use."
        )
    return wheels[0]


def _pip(arguments: list[str]) -> subprocess.CompletedProcess[str]:
    """Runs this interpreter's pip, which prints nothing and asks nothing."""
    command = [sys.executable, "-m", "pip", "--quiet", "--no-input", "--disable-pip-version-check", *arguments]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False
    )


# What both share -------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _alone(place: Path, name: str) -> Iterator[None]:
    """One process at a time; whoever waited finds the file there."""
    from filelock import FileLock

    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_name(f".{name}.lock"))
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def _scratch(place: Path, name: str) -> Iterator[Path]:
    """A folder beside the file for half-done work; those that kills left are removed."""
    for left in place.parent.glob(f".{name}.*.part"):
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(
        dir=place.parent, prefix=f".{name}.", suffix=".part", ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


def _take_out(weight: Weight, member: str, archive: Path, shown: str, target: Path) -> None:
    """Writes the one member to the path `target`, whatever its name inside the archive; no more bytes than are pinned."""
    pin = _pin(weight)
    try:
        with zipfile.ZipFile(archive) as opened:
            entries = [entry for entry in opened.infolist() if entry.filename == member]
            if len(entries) != 1:
                found = f"has {len(entries)} members" if entries else "has no member"
                raise WeightsError(f"{weight.name}: {shown} {found} {member}; expected one. It was not unpacked.")
            if entries[0].is_dir() or stat.S_ISLNK(entries[0].external_attr >> 16):
                raise WeightsError(f"{weight.name}: {member} in {shown} is no plain file. It was not unpacked.")
            with opened.open(entries[0]) as stored, target.open("wb") as file:
                size, found = _copy(stored, file, pin.size or MEMBER_BYTES)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise WeightsError(f"{weight.name}: {shown} cannot be unpacked ({error}).") from error
    if not found or (pin.sha256 and found != pin.sha256):
        expected = f"{pin.size} bytes with sha256 {pin.sha256}" if pin.sha256 else f"at most {MEMBER_BYTES} bytes"
        raise WeightsError(
            f"{weight.name}: {member} in {shown} is not the pinned file; expected {expected}. It was not kept."
        )
    if pin.size and size != pin.size:
        raise WeightsError(f"{weight.name}: {member} in {shown} has {size} bytes; expected {pin.size}.")


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> tuple[int, str]:
    """Copies at most `size` bytes, and says how many there were and their sha256; empty if there are more."""
    digest, left = hashlib.sha256(), size
    while left > 0 and (block := source.read(min(left, 1 << 20))):
        target.write(block)
        digest.update(block)
        left -= len(block)
    return size - left, "" if source.read(1) else digest.hexdigest()
