"""The networks that avbench measures with: what each file is, whose it is, and how it comes to this machine.

    WEIGHTS[name]   address, size, digest, licence       path(name)     the file, checked, ready to be opened
    fetch(name)     download now                         verify(name)   hash the whole file again
    ensure(names)   all of them, before long work        unlock(name)   forget what a file was when it first came

A file has one of these sources (`registry.py`):

    Installed   a file inside an installed distribution, found through its metadata; the package is never imported
    Folder      several files of one model inside an installed distribution; each is hashed, and together they are one
    Wheel       a file inside a wheel that pip downloads on first use; nothing of it is installed or run
    Download    a file on the web, or one of a zip there, up to gigabytes: `avbench weights fetch`, never by itself
    Repository  a model of many files in a model repository, likewise (`hub`); all of them are hashed together

A further kind of source is one record and one branch each in `where` and `_obtain`. Every file is pinned by size
and sha256, in the registry or, where nobody publishes them, in `weights.lock` from its first use on, if it is then of
the kind that it should be (`forms`); one that differs is never opened by a network. A file is hashed once per process
and remembered by path, size and time of change; one of more than LARGE_BYTES (100 MB take 0.05 to 0.15 s) is remembered
on disk (`books`), where `fetch` and `verify` do not look. AVBENCH_OFFLINE=1: nothing is downloaded.
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
from . import books, hub
from .downloads import Wanted, discard, download
from .forms import INDEX, misfit, misfit_of_model
from .registry import WEIGHTS, Download, Folder, Installed, Repository, Terms, Weight, Wheel

__all__ = [
    "UNLOCKED",
    "WEIGHTS",
    "Download",
    "Folder",
    "Installed",
    "Report",
    "Repository",
    "Terms",
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
    "size",
    "state",
    "terms",
    "unlock",
    "verify",
    "where",
]

Report = Callable[[str, int, int], None]  # name of what is downloaded, bytes that are there, bytes in all

UNLOCKED = "unlocked"  # what `digest8` says of files whose digest is not known before they have come
LARGE_BYTES = 1 << 28  # of a file that is not read again where it is known
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
        weight, place = _weight(name), where(name)
        size = sum(file.stat().st_size for file in _files(weight, place))
        return not _parts_absent(weight, place) and size == (_pin(weight).size or size)
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
            raise WeightsError(f"{name}: {fault}. {_remedy(weight, place)}")
        _obtain(weight, place, fault, None)
    _lock(weight, place, "")
    return place


def fetch(name: str, report: Report | None = None) -> Path:
    """Hashes the whole file, and downloads it anew if it is absent or damaged. `report` hears of every megabyte."""
    weight, place = _weight(name), where(name)
    _require_accepted(weight)
    _forget(weight, place)
    if fault := _fault(weight, place):
        _obtain(weight, place, fault, report)
    _lock(weight, place, "")
    return place


def verify(name: str) -> Path:
    """Hashes the whole file; WeightsError where it is absent or not the pinned one. Downloads and locks nothing."""
    weight, place = _weight(name), where(name)
    _forget(weight, place)
    fault = _fault(weight, place)
    if not fault and not _pin(weight).sha256:
        fault = f"{place} is there, and nothing is known yet that it could be compared with"
    if fault:
        raise WeightsError(f"{name}: {fault}. {_remedy(weight, place)}")
    return place


def ensure(names: Iterable[str]) -> None:
    """Verifies (and locks) all of them before long work begins; WeightsError lists what fails, with what to run.

    What has to be fetched is a list, a line for each file, with one command for all of them.
    """
    names, faults, wanting = list(names), [], []
    for name in names:
        weight = _weight(name)
        if isinstance(weight.source, Download) and not (_settled(weight) and _accepted(weight)):
            wanting.append(weight)
            continue
        try:
            path(name)
        except WeightsError as error:
            faults.append(str(error))
    if wanting:
        faults.insert(0, _wanting(wanting))
    if faults:
        raise WeightsError("\n".join(faults))


def command(names: Sequence[str]) -> str:
    """The command that fetches these files, with the licences that have to be accepted and are not."""
    wanting = dict.fromkeys(one for name in names for one in _not_accepted(_weight(name)))
    return " ".join(["avbench weights fetch", *names, *(f"--accept-licence {name}" for name in wanting)])


def digest8(names: Sequence[str]) -> str:
    """Eight hexadecimal digits that change when any of these files, or their order, does; reads none of them.

    UNLOCKED where a file has neither a published digest nor a lock yet. `ensure` locks, so that nothing is ever
    scored under that name.
    """
    digests = [_pin(_weight(name)).sha256 for name in names]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()[:8] if all(digests) else UNLOCKED


def size(name: str) -> str:
    """How large it is, for a person: "1.3 GB", "about 70 GB" of one that never came, "size unknown"."""
    weight = _weight(name)
    known = _pin(weight).size
    if known:
        return _amount(known)
    return f"about {_amount(weight.about_bytes)}" if weight.about_bytes else "size unknown"


def state(name: str) -> str:
    """What is the matter with a file here, in a few words; its bytes are counted and not read."""
    weight = _weight(name)
    words = []
    if present(name):
        words.append("there")
    elif part := _begun(weight):
        words.append(f"begun, {_amount(part)} there")
    elif not _exists(weight):
        words.append("absent")
    else:
        parts = _parts_absent(weight, where(name))
        words.append(f"without {', '.join(parts)}" if parts else "of another size")
    if not weight.sha256:
        entry = books.locked(name)
        words.append(f"locked {entry.date}" if entry else "not locked yet")
    if absent := _not_accepted(weight):
        words.append(f"needs {' '.join(f'--accept-licence {one}' for one in absent)}")
    elif weight.terms:
        words.append(f"accepted {max(books.accepted(terms.name) for terms in weight.terms)}")
    return ", ".join(words)


def terms() -> dict[str, list[str]]:
    """What can be accepted, and which files each covers."""
    found: dict[str, list[str]] = {}
    for name, weight in WEIGHTS.items():
        for one in weight.terms:
            found.setdefault(one.name, []).append(name)
    return found


def accept(name: str) -> None:
    """Records that the user accepts these terms, and no others. UsageError for a name that nothing asks for."""
    covered = terms()
    if name not in covered:
        raise unknown("licence", name, covered)
    licence = next(one.licence for one in WEIGHTS[covered[name][0]].terms if one.name == name)
    books.accept(name, licence, covered[name])


def unlock(name: str) -> bool:
    """Forgets what a file was when it first came: the next one is locked. False where nothing was locked."""
    locked = books.locked(_weight(name).name) is not None
    if locked:
        books.unlock(name)
    return locked


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
    """Makes a file without a published digest the one that every later file must equal, if it is of its kind."""
    if not _pin(weight).sha256:
        if fault := _misfit(weight, place):
            raise WeightsError(f"{weight.name}: {fault}. It was not locked. {_remedy(weight, place)}")
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
    if absent := _parts_absent(weight, place):
        return f"{place} has no {', '.join(absent)}"
    size, locked = sum(bytes_ for bytes_, _ in states), _locked(weight)
    if pin.size and size != pin.size:
        if locked:
            return f"{place} holds {size} bytes{_together(files)}; expected {pin.size}, as it was locked {locked.date}"
        return f"{place} has {size} bytes{_together(files)}; expected {pin.size}"
    if not weight.sha256 and (fault := _misfit(weight, place)):
        return fault
    if not pin.sha256:
        return "" if size else f"{place} is empty"
    try:
        digests = [_digest(file, *state) for file, state in zip(files, states, strict=True)]
    except OSError as error:
        return f"{error.filename or place} cannot be read ({error.strerror})"
    if _combined(weight, place, digests) != pin.sha256:
        since = f", which was locked {locked.date}" if locked else ""
        what = "model" if len(files) > 1 else "file"
        return f"{place} is damaged or another {what}; expected sha256 {pin.sha256}{since}"
    return ""


def _misfit(weight: Weight, place: Path) -> str:
    """What speaks against a file, which may be a part still, being what it should; empty if nothing does."""
    match weight.source:
        case Repository(folders=folders):
            return misfit_of_model(place, folders)
        case Download(member=member):
            return misfit(place, PurePosixPath(member).suffix or where(weight.name).suffix)
    return ""


def _locked(weight: Weight) -> books.Lock | None:
    """Its lock, where that is what it is compared with."""
    return None if weight.sha256 else books.locked(weight.name)


def _parts_absent(weight: Weight, place: Path) -> list[str]:
    """The parts of a model that a folder lacks."""
    match weight.source:
        case Repository(folders=folders):
            return [name for name in (INDEX, *folders) if not (place / name).exists()]
    return []


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
    if size < LARGE_BYTES:
        return sha256(file)
    known = books.noted(file)
    if not known:
        before = file.stat()
        known = sha256(file)
        books.note(file, before, known)
    return known


def _forget(weight: Weight, place: Path) -> None:
    """Its files are read, whatever is remembered of them."""
    _digest.cache_clear()
    books.forget(_files(weight, place))


def _remedy(weight: Weight, place: Path | None = None) -> str:
    """What to do about a fault; where another file than the locked one lies at `place`, also how to believe it."""
    match weight.source:
        case Installed(distribution, version) | Folder(distribution, version):
            return f"Run: {sys.executable} -m pip install --force-reinstall --no-deps {distribution}=={version}"
        case Wheel() | Download():
            todo = f"Run: {command([weight.name])}"
    if place is None or not place.exists() or _parts_absent(weight, place):
        return todo
    if isinstance(weight.source, Repository):  # what is there is its owner's
        todo = f"Remove that folder, or mend it; then r{todo[1:]}"
    if not _locked(weight):
        return todo
    return f"{todo} (the locked one); or, if you trust what is there, remove the lock: {_unlocking(weight)}"


def _unlocking(weight: Weight) -> str:
    return f"avbench weights unlock {weight.name}"


def _accepted(weight: Weight) -> bool:
    return not _not_accepted(weight)


def _not_accepted(weight: Weight) -> list[str]:
    """The names of the terms of a file that wait for consent."""
    return [terms.name for terms in weight.terms if not books.accepted(terms.name)]


def _settled(weight: Weight) -> bool:
    """Whether nothing has to be downloaded: it is there, or is another than the locked one, which is its owner's."""
    return present(weight.name) or (_locked(weight) is not None and _exists(weight))


def _wanting(wanting: Sequence[Weight]) -> str:
    """What has to be fetched or accepted: a line for each file, and one command."""
    absent = [weight for weight in wanting if not _settled(weight)]
    known = sum(weight.size or weight.about_bytes for weight in absent)
    about = "" if all(weight.size for weight in absent) else "about "
    head = (
        f"network files to fetch, {about}{_amount(known)}" if absent else "network files whose licence is not accepted"
    )
    lines = []
    for weight in wanting:
        words = state(weight.name) if _settled(weight) else size(weight.name)
        if weight in absent and (part := _begun(weight)):
            words += f", {_amount(part)} of it there"
        lines.append(f"    {weight.name}: {words}; {weight.address}; {weight.licence}")
    return "\n".join([f"{head}:", *lines, f"Run: {command([weight.name for weight in wanting])}"])


def _amount(bytes_: int) -> str:
    """Bytes for a person: 53 kB, 164 MB, 7.6 GB."""
    for unit, name in ((10**9, "GB"), (10**6, "MB")):
        if bytes_ >= unit:
            return f"{f'{bytes_ / unit:,.1f}'.removesuffix('.0')} {name}"
    return f"{bytes_ / 1e3:,.0f} kB"


def _require_accepted(weight: Weight) -> None:
    if not _accepted(weight):
        raise WeightsError(
            f"{weight.name}: its licence is not accepted here: {weight.licence}; see {weight.address}. "
            f"Expected your consent. {_remedy(weight)}"
        )


def _require_online(weight: Weight, fault: str) -> None:
    if offline():
        what = "its folder" if isinstance(weight.source, Repository) else "the file"
        raise WeightsError(
            f"{weight.name}: {fault}, and nothing is downloaded (AVBENCH_OFFLINE or --offline). Allow downloads, or put "
            f"{what} there yourself. {_remedy(weight)}"
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
            _obtain_repository(weight, weight.source, place, report)
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
    part = _part(weight)
    name = part.name.removeprefix(".").removesuffix(".part")
    told = functools.partial(report, name) if report is not None else None
    with _alone(place, name):
        if not _fault(weight, place):
            return
        if not source.member:
            with _told_of_lock(weight):
                address = download(source.addresses, part, Wanted(weight.name, *_pin(weight)), told)
            _lock_part(weight, part, address)
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


def _obtain_repository(weight: Weight, source: Repository, place: Path, report: Report | None) -> None:
    """Downloads all parts of a model, or those that are not there, which take their names when they have come.

    A kill leaves a part, with which the next download goes on.
    """
    with _alone(place, place.name), writing(place):
        if not (fault := _fault(weight, place)):
            return
        absent = _parts_absent(weight, place)
        if not absent:
            raise WeightsError(f"{weight.name}: {fault}. {_remedy(weight, place)}")
        part = _part(weight)
        about = hub.About(weight.name, command([weight.name]), report)
        address = hub.fetched(_offers(source, absent), part, about)
        if not place.exists():
            if fault := misfit_of_model(part, source.folders):
                raise WeightsError(
                    f"{weight.name}: {fault}. It was not taken; remove {part} before you fetch it again."
                )
            part.replace(place)
        else:  # its owner put the others there
            for name in absent:
                (part / name).replace(place / name)
            shutil.rmtree(part)
        if fault := _fault(weight, place):
            raise WeightsError(f"{weight.name}: {fault}. {_remedy(weight, place)}")
        _lock(weight, place, address)


def _offers(source: Repository, parts: Sequence[str]) -> list[hub.Offer]:
    """Which repository gives which of these parts of a model."""
    lenders, offered = dict(source.borrowed), dict[str, list[str]]()
    for name in parts:
        offered.setdefault(lenders.get(name, source.repository), []).append(name)
    return [
        hub.Offer(repository, source.revision if repository == source.repository else "main", tuple(names))
        for repository, names in offered.items()
    ]


@contextlib.contextmanager
def _told_of_lock(weight: Weight) -> Iterator[None]:
    """Adds to an error that the digest was locked here, where that is why another file is refused."""
    try:
        yield
    except WeightsError as error:
        if not (entry := books.locked(weight.name)):
            raise
        raise WeightsError(
            f"{error} The digest is that of the first file that came ({entry.date}); if you trust the new one: "
            f"{_unlocking(weight)}"
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


def _part(weight: Weight) -> Path:
    """Where a download lies until it is whole; of a file in a zip, that of the zip."""
    place = where(weight.name)
    name = place.name
    match weight.source:
        case Download(addresses=addresses, member=member) if member:
            name = PurePosixPath(urlsplit(addresses[0]).path).name
    return place.with_name(f".{name}.part")


def _lock_part(weight: Weight, part: Path, address: str) -> None:
    """Locks a download. One that is not what it should be is not kept, or the next would begin with it."""
    try:
        _lock(weight, part, address)
    except WeightsError:
        discard(part)
        raise


def _begun(weight: Weight) -> int:
    """Bytes that an unfinished download has left."""
    match weight.source:
        case Repository():
            return hub.begun(_part(weight))
        case Download():
            part = _part(weight)
            return part.stat().st_size if part.is_file() else 0
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
