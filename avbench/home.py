"""Where things lie: the user's cache folders, the data that ships with the package, and files that appear whole.

AVBENCH_HOME (default: `avbench` in the user's cache folder) holds `media/`, `features/` and `weights/`.
Shipped data (`splits/`, `baselines/`, `reports/published/`) is looked up in the working folder, then in the
checkout, then in the installed package.
"""

from __future__ import annotations

import errno
import hashlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from .errors import FolderError, UsageError

__all__ = [
    "DISK_FULL",
    "FileDigests",
    "atomic",
    "data_folders",
    "home",
    "imported",
    "package_version",
    "sha256",
    "sweep",
    "writing",
]


DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


def home(*parts: str) -> Path:
    """A path below AVBENCH_HOME; not created here."""
    root = os.environ.get("AVBENCH_HOME")
    if root is None:
        from platformdirs import user_cache_dir

        root = user_cache_dir("avbench", appauthor=False)
    return Path(root).expanduser().joinpath(*parts)


def imported(kind: str, text: str) -> Any:
    """What `module:NAME` names: somebody's own method or metric. The working folder is searched too."""
    module, _, name = text.rpartition(":")
    if not all(part.isidentifier() for part in module.split(".")):
        raise UsageError(
            f"{kind} {text}: module {module!r}; expected MODULE:NAME as in mine:make or package.mine:make."
        )
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.insert(0, str(Path.cwd()))  # a console script does not have the working folder on its path
    try:
        found = import_module(module)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"{kind} {text}: {error}; expected an importable module (the working folder is searched)."
        ) from error
    except (Exception, SystemExit) as error:
        said = " ".join(str(error).split())
        raise UsageError(
            f"{kind} {text}: importing {module} raised {type(error).__name__}: {said}; "
            f"expected a module that can be imported. Mend it: python -c 'import {module}' shows where."
        ) from error
    try:
        return getattr(found, name)
    except AttributeError as error:
        raise UsageError(f"{kind} {text}: {module} has no {name!r}; expected a name that it defines.") from error


def package_version() -> str:
    """The version of avbench that is running."""
    from importlib.metadata import version

    return version("avbench")


def data_folders(kind: str) -> list[Path]:
    """Every existing folder of shipped data of that kind (`splits`, …), nearest first."""
    package = Path(__file__).resolve().parent
    candidates = [Path.cwd() / kind, package.parent / kind, package / "data" / kind]
    return [folder for folder in dict.fromkeys(candidates) if folder.is_dir()]


def sha256(path: Path) -> str:
    """The sha256 of a file's bytes, as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class FileDigests:
    """sha256 of files, each computed once; `ABSENT` for a file that is not there."""

    ABSENT = ""

    def __init__(self) -> None:
        self._files: dict[Path, str] = {}

    def file(self, path: Path) -> str:
        if path not in self._files:
            self._files[path] = sha256(path) if path.is_file() else self.ABSENT
        return self._files[path]


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns what the operating system says against writing `path` into one clear line."""
    try:
        yield
    except OSError as error:
        if error.errno in DISK_FULL:
            raise FolderError(
                f"{path}: the disk is full. What was finished is kept; free some space and run the same command again."
            ) from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise FolderError(
                f"{path}: not writable ({error.strerror}). Give a folder that you may write to."
            ) from error
        if error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR):
            raise UsageError(
                f"{path}: cannot be made ({error.strerror}): a file stands where a folder is needed."
            ) from error
        raise


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Yields a path beside `path` to write to; on success it takes the name `path` in one step, else it is removed.

    A reader sees the old file or the new one, never a part. The name carries the process id, so that two
    processes do not share it.
    """
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            yield part
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Removes what killed processes left of `atomic` in this folder; parts of living ones stay. Call it under a lock."""
    for part in folder.glob(".*.part"):
        writer = part.name.split(".")[-2]
        if part.is_file() and not (writer.isdecimal() and _is_alive(int(writer))):
            with writing(part):
                part.unlink(missing_ok=True)


def _is_alive(process: int) -> bool:
    """Whether this machine has a process of that number; signal 0 asks and does nothing."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # somebody else's
    return True
