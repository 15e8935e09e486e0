"""The networks that avbench measures with: what each file is, whose it is, and how it comes to this machine.

    WEIGHTS[name]   address, size, digest, licence       path(name)     the file, fetched if need be, checked
    fetch(name)     download now                         verify(name)   hash the whole file again

A file has one of these sources:

    Installed   a file inside an installed distribution, found through its metadata; the package is never imported
    Folder      several files of one model inside an installed distribution; each is hashed, and together they are one
    Wheel       a file inside a wheel that pip downloads on first use; nothing of it is installed or run

A further kind of source is one record and one branch each in `where` and `_obtain`. Every file is pinned by size
and sha256, and one that differs is never opened by a network. A verified file is hashed once per process and
remembered by path, size and time of change (100 MB take 0.05 to 0.15 s, so nothing is remembered on disk).
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from .errors import WeightsError, unknown
from .home import home, sha256, writing

__all__ = [
    "WEIGHTS",
    "Folder",
    "Installed",
    "Weight",
    "Wheel",
    "digest8",
    "ensure",
    "fetch",
    "path",
    "present",
    "verify",
    "where",
]


@dataclasses.dataclass(frozen=True)
class Installed:
    """A file inside a distribution that one of avbench's extras installs."""

    distribution: str
    version: str  # the one whose file was pinned
    member: str  # path of the file, relative to where distributions are installed
    extra: str  # the extra of avbench that brings it


@dataclasses.dataclass(frozen=True)
class Folder:
    """A model of several files inside a distribution that one of avbench's extras installs: one record, one digest.

    The digest is that of the list which `sha256sum MEMBERS` prints in the folder.
    """

    distribution: str
    version: str
    folder: str  # relative to where distributions are installed
    members: tuple[str, ...]  # every file that is read, relative to the folder; others may lie beside them
    extra: str


@dataclasses.dataclass(frozen=True)
class Wheel:
    """A file inside a wheel of the package index. The wheel is data: no dependency, never installed."""

    requirement: str  # NAME==VERSION
    member: str  # path of the file inside the wheel
    sha256: str  # of the wheel


@dataclasses.dataclass(frozen=True)
class Weight:
    """One network file, or the files of one model."""

    name: str
    source: Installed | Folder | Wheel
    size: int  # bytes, of all files together
    sha256: str
    licence: str
    commercial: bool  # whether the licence allows commercial use
    note: str
    address: str  # the project's page
    used_by: tuple[str, ...]  # extractors


def _models(member: str) -> Installed:
    return Installed(
        distribution="face_recognition_models",
        version="0.3.0",
        member=f"face_recognition_models/models/{member}",
        extra="embedded",
    )


_ALL = (
    Weight(
        name="dlib-68-landmarks",
        source=_models("shape_predictor_68_face_landmarks.dat"),
        size=99_693_937,
        sha256="fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f",
        licence="non-commercial: trained on iBUG 300-W",
        commercial=False,
        note="68 facial landmarks. The package says MIT, but the data set it was trained on excludes commercial use; "
        "ask Imperial College London before using it in a product.",
        address="https://github.com/davisking/dlib-models",
        used_by=("faces_dlib",),
    ),
    Weight(
        name="dlib-resnet-face",
        source=_models("dlib_face_recognition_resnet_model_v1.dat"),
        size=22_466_066,
        sha256="55533b28a95800a551ba546ba62fe69625c7e95a7061c338adffead08719da30",
        licence="CC0-1.0",
        commercial=True,
        note="ResNet with 29 convolutions, 128 numbers per face; dlib's author placed it in the public domain.",
        address="https://github.com/davisking/dlib-models",
        used_by=("faces_dlib",),
    ),
    Weight(
        name="ge2e-resemblyzer",
        source=Wheel(
            requirement="Resemblyzer==0.1.4",
            member="resemblyzer/pretrained.pt",
            sha256="8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
        ),
        size=17_090_379,
        sha256="39373b86598fa3da9fcddee6142382efe09777e8d37dc9c0561f41f0070f134e",
        licence="Apache-2.0",
        commercial=True,
        note="GE2E speaker encoder, 256 numbers per voice; trained on LibriSpeech, VoxCeleb1 and VoxCeleb2.",
        address="https://github.com/resemble-ai/Resemblyzer",
        used_by=("voice_ge2e",),
    ),
    Weight(
        name="silero-vad",
        source=Installed(
            distribution="silero-vad",
            version="6.2.3",
            member="silero_vad/data/silero_vad_16k.safetensors",
            extra="embedded",
        ),
        size=1_239_748,
        sha256="c59271c284ae9c8335d795d60e0bfdb71aaaceec578d9bd9ffc1b8153c319ea1",
        licence="MIT",
        commercial=True,
        note="Voice activity, one probability per 32 ms.",
        address="https://github.com/snakers4/silero-vad",
        used_by=("voice_ge2e",),
    ),
    Weight(
        name="sphinx-en-us",
        source=Folder(
            distribution="pocketsphinx",
            version="5.1.1",
            folder="pocketsphinx/model/en-us",
            members=(
                "cmudict-en-us.dict",
                "en-us/feat.params",
                "en-us/mdef",
                "en-us/means",
                "en-us/noisedict",
                "en-us/sendump",
                "en-us/transition_matrices",
                "en-us/variances",
            ),
            extra="embedded",
        ),
        size=9_883_609,
        sha256="14a825d848fb745776589823f8b93548a7480ca04467fe4d79ab700cee22c9f6",
        licence="BSD-2-Clause",
        commercial=True,
        note="American English: 42 phones in context (Gaussian mixtures, no neural network) and the CMU dictionary.",
        address="https://github.com/cmusphinx/pocketsphinx",
        used_by=("words_sphinx",),
    ),
)

WEIGHTS: dict[str, Weight] = {weight.name: weight for weight in _ALL}


def where(name: str) -> Path:
    """Where the file, or the folder of files, lies or will lie once fetched. WeightsError where its package is absent."""
    weight = _weight(name)
    match weight.source:
        case Installed():
            return _installed_path(weight, weight.source.member)
        case Folder(folder=folder, members=members):
            return _installed_path(weight, f"{folder}/{members[0]}").parents[len(PurePosixPath(members[0]).parts) - 1]
        case Wheel():
            # The digest in the name lets two versions of avbench share one folder.
            return home("weights", f"{name}.{weight.sha256[:8]}{PurePosixPath(weight.source.member).suffix}")


def present(name: str) -> bool:
    """Whether the right number of bytes is there; their digest is not looked at."""
    try:
        weight = _weight(name)
        return sum(file.stat().st_size for file in _files(weight, where(name))) == weight.size
    except (OSError, WeightsError):
        return False


def path(name: str) -> Path:
    """The file, ready to be opened: fetched if it is absent or damaged and its source can be, and verified."""
    weight, place = _weight(name), where(name)
    fault = _fault(weight, place)
    if fault:
        _obtain(weight, place, fault)
    return place


def fetch(name: str) -> Path:
    """Hashes the whole file, and downloads it anew if it is absent or damaged."""
    _digest.cache_clear()
    return path(name)


def verify(name: str) -> Path:
    """Hashes the whole file; WeightsError where it is absent or not the pinned one. Downloads nothing."""
    weight, place = _weight(name), where(name)
    _digest.cache_clear()
    fault = _fault(weight, place)
    if fault:
        raise WeightsError(f"{name}: {fault}. {_remedy(weight)}")
    return place


def ensure(names: Iterable[str]) -> None:
    """Fetches and verifies all of them before long work begins; one WeightsError lists every one that fails."""
    faults = []
    for name in names:
        try:
            path(name)
        except WeightsError as error:
            faults.append(str(error))
    if faults:
        raise WeightsError("\n".join(faults))


def digest8(names: Sequence[str]) -> str:
    """Eight hexadecimal digits that change when any of these files, or their order, does. Reads no file."""
    return hashlib.sha256("\n".join(_weight(name).sha256 for name in names).encode()).hexdigest()[:8]


# What is wrong with a file, and what to do about it --------------------------------------------------------------


def _weight(name: str) -> Weight:
    if name not in WEIGHTS:
        raise unknown("weights", name, WEIGHTS)
    return WEIGHTS[name]


def _fault(weight: Weight, place: Path) -> str:
    """What keeps the file from being used; empty if nothing does."""
    files = _files(weight, place)
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
    if size != weight.size:
        return f"{place} has {size} bytes{_together(files)}; expected {weight.size}"
    try:
        digests = [_digest(file, *state) for file, state in zip(files, states, strict=True)]
    except OSError as error:
        return f"{error.filename or place} cannot be read ({error.strerror})"
    if _combined(weight, digests) != weight.sha256:
        return f"{place} is damaged or another {'model' if len(files) > 1 else 'file'}; expected sha256 {weight.sha256}"
    return ""


def _files(weight: Weight, place: Path) -> list[Path]:
    """What has to be read of a weight that lies at `place`."""
    match weight.source:
        case Folder(members=members):
            return [place / member for member in members]
        case _:
            return [place]


def _together(files: Sequence[Path]) -> str:
    return f" in the {len(files)} files of the model" if len(files) > 1 else ""


def _combined(weight: Weight, digests: Sequence[str]) -> str:
    """The digest of one file; of several, that of the list that sha256sum prints."""
    match weight.source:
        case Folder(members=members):
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
        case Wheel():
            return f"Run: avbench weights fetch {weight.name}"


def _obtain(weight: Weight, place: Path, fault: str) -> None:
    """Puts the file in its place, or says why it cannot be had."""
    match weight.source:
        case Installed() | Folder():
            raise WeightsError(f"{weight.name}: {fault}. {_remedy(weight)}")
        case Wheel():
            _obtain_from_wheel(weight, weight.source, place)


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


# Files inside wheels ---------------------------------------------------------------------------------------------


def _obtain_from_wheel(weight: Weight, source: Wheel, place: Path) -> None:
    """Downloads the wheel, checks it, and takes the one member out of it.

    One process at a time; whoever waited finds the file there. All is done in a folder of its own and the file takes
    its name in one step, so that a kill leaves the old state and a folder that the next download removes.
    """
    from filelock import FileLock

    with writing(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        lock = FileLock(place.with_name(f".{weight.name}.lock"))
        lock.acquire()
    try:
        if not _fault(weight, place):
            return
        for left in place.parent.glob(f".{weight.name}.*.part"):
            shutil.rmtree(left, ignore_errors=True)
        with (
            writing(place),
            tempfile.TemporaryDirectory(
                dir=place.parent, prefix=f".{weight.name}.", suffix=".part", ignore_cleanup_errors=True
            ) as folder,
        ):
            wheel = _download(weight, source, Path(folder) / "wheel")
            member = Path(folder) / "member"
            _take_out(weight, source, wheel, member)
            member.replace(place)
    finally:
        lock.release()


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


def _take_out(weight: Weight, source: Wheel, wheel: Path, member: Path) -> None:
    """Writes the one member to the path `member`, whatever its name inside the wheel; no more bytes than are pinned."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as stored, member.open("wb") as file:
            found = _copy(stored, file, weight.size)
    except KeyError:
        raise WeightsError(f"{weight.name}: {wheel.name} has no member {source.member}.") from None
    except zipfile.BadZipFile as error:
        raise WeightsError(f"{weight.name}: {wheel.name} cannot be unpacked ({error}).") from error
    if found != weight.sha256:
        raise WeightsError(
            f"{weight.name}: {source.member} in {wheel.name} is not the pinned file; expected {weight.size} bytes "
            f"with sha256 {weight.sha256}. It was not kept."
        )


def _copy(source: IO[bytes], target: IO[bytes], size: int) -> str:
    """Copies at most `size` bytes, and says their sha256; empty if there were more or fewer."""
    digest, left = hashlib.sha256(), size
    while left > 0 and (block := source.read(min(left, 1 << 20))):
        target.write(block)
        digest.update(block)
        left -= len(block)
    return digest.hexdigest() if left == 0 and not source.read(1) else ""
