"""A model of many files, from a model repository.

    fetched(offers, part, about) → the address, with the commit that the files are of

What is wanted is a list of offers: a repository, and what of it. Each repository is asked first which commit is meant
and how many bytes it has, so that one that is closed, lacks a folder or does not fit on the disk is told before the
first byte, and so that what has come can be counted. A file that is whole is kept whatever stops the download; those
that were under way begin anew, as huggingface_hub continues none.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import WeightsError
from ..home import DISK_FULL
from .downloads import require_room

__all__ = ["About", "Offer", "Report", "begun", "fetched"]

Report = Callable[[str, int, int], None]  # name of the model, bytes that are there, bytes in all

LOOK_SECONDS = 0.5  # between two looks at how much has come
STALE = "*.????????.incomplete"  # what huggingface_hub was writing when it was killed, and never continues


class Offer(NamedTuple):
    """What is taken from one repository."""

    repository: str  # OWNER/NAME
    revision: str
    parts: tuple[str, ...]  # files and folders at its top

    def has(self, name: str) -> bool:
        """Whether a file of the repository is one of these."""
        return name.split("/")[0] in self.parts


class About(NamedTuple):
    """Whose download it is, for what is told."""

    name: str  # of the model
    command: str  # that goes on with it
    report: Report | None


class _Listed(NamedTuple):
    """The files of an offer, at one commit."""

    offer: Offer
    commit: str
    sizes: dict[str, int]  # bytes


def fetched(offers: Sequence[Offer], part: Path, about: About) -> str:
    """Fills the folder `part` with all that is offered. WeightsError where it cannot be had, FolderError without room."""
    _library(about)
    with _told(offers[0], part, 0, about):
        part.mkdir(parents=True, exist_ok=True)
        for stale in part.rglob(STALE):
            stale.unlink(missing_ok=True)
    listed = [_listed(offer, part, about) for offer in offers]
    total = sum(sum(one.sizes.values()) for one in listed)
    require_room(part, total - begun(part))
    with _watched(part, total, about):
        for one in listed:
            _download(one, part, total, about)
    first = listed[0]
    return f"https://huggingface.co/{first.offer.repository}/tree/{first.commit}"


def begun(part: Path) -> int:
    """Bytes that have come, of finished files and of those under way; 0 where nothing was begun."""
    size = 0
    for file in part.rglob("*"):
        hidden = file.relative_to(part).parts[0].startswith(".")
        if not hidden or file.suffix == ".incomplete":
            with contextlib.suppress(FileNotFoundError):  # it has just taken its name
                size += file.stat().st_size if file.is_file() else 0
    return size


# One repository --------------------------------------------------------------------------------------------------


def _listed(offer: Offer, part: Path, about: About) -> _Listed:
    """What the repository has of what is wanted."""
    hub = _library(about)
    with _told(offer, part, 0, about):
        info = hub.HfApi().model_info(offer.repository, revision=offer.revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in info.siblings if offer.has(file.rfilename)}
    absent = [name for name in offer.parts if not any(file.split("/")[0] == name for file in sizes)]
    if absent:
        raise WeightsError(
            f"{about.name}: {_page(offer)} has no {', '.join(absent)}; expected {', '.join(offer.parts)}. "
            "It was not taken."
        )
    return _Listed(offer, info.sha, sizes)


def _download(listed: _Listed, part: Path, total: int, about: About) -> None:
    """All files of one offer; those that are whole already are not asked for again."""
    offer, hub = listed.offer, _library(about)
    patterns = [name if name in listed.sizes else f"{name}/*" for name in offer.parts]
    with _told(offer, part, total, about):
        hub.snapshot_download(
            offer.repository, revision=listed.commit, allow_patterns=patterns, local_dir=part, tqdm_class=_unseen()
        )
    for name, size in listed.sizes.items():
        file = part / name
        found = file.stat().st_size if file.is_file() else -1
        if found != size:
            what = f"has {found} bytes" if found >= 0 else "did not come"
            raise WeightsError(
                f"{about.name}: {name} of {offer.repository} {what}; expected {size} bytes. What is whole is kept. "
                f"Run: {about.command}"
            )


@contextlib.contextmanager
def _told(offer: Offer, part: Path, total: int, about: About) -> Iterator[None]:
    """Says of each failure whose it is: the repository's, its owner's terms, the network's or the disk's."""
    errors: Any = importlib.import_module("huggingface_hub.errors")
    page = _page(offer)
    try:
        yield
    except errors.GatedRepoError as error:
        raise WeightsError(
            f"{about.name}: {page} is given only to those who agree to its terms there. Open that page, agree, make a "
            f"token, and give it here: hf auth login. Then run: {about.command}"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise WeightsError(
            f"{about.name}: {page} has no revision {offer.revision}; expected a branch or commit of it. "
            "It was not taken."
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise WeightsError(
            f"{about.name}: {page} is not there, or is closed to you. Look at that page; where it opens for you, run: "
            f"hf auth login. Then run: {about.command}"
        ) from error
    except errors.HfHubHTTPError as error:
        status = getattr(error.response, "status_code", "an error")
        raise WeightsError(
            f"{about.name}: {page} answers {status}. What is whole is kept; later, run: {about.command}"
        ) from error
    except (errors.HTTPError, errors.XetDownloadError, OSError) as error:
        if isinstance(error, OSError) and (error.errno in DISK_FULL or error.filename is not None):
            raise  # what it says of the disk is for whoever is writing there
        if total:
            require_room(part, total - begun(part))  # some say otherwise that a disk is full
        cause = error.__cause__ or error
        raise WeightsError(
            f"{about.name}: {page} cannot be reached, or the line broke ({type(cause).__name__}: "
            f"{' '.join(str(cause).split())}). What is whole is kept. Check the network, then run: {about.command}"
        ) from error


def _page(offer: Offer) -> str:
    return f"https://huggingface.co/{offer.repository}"


def _library(about: About) -> Any:
    try:
        return importlib.import_module("huggingface_hub")
    except ImportError:
        raise WeightsError(
            f"{about.name}: huggingface_hub, which downloads it, is not installed. "
            f"Run: {sys.executable} -m pip install 'avbench[generate]'"
        ) from None


# What is seen of it ----------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _watched(part: Path, total: int, about: About) -> Iterator[None]:
    """Tells every half second how much has come: what lies on the disk, whoever wrote it and however."""
    report, ended = about.report, threading.Event()
    if report is None:
        yield
        return

    def watch() -> None:
        while True:
            report(about.name, min(begun(part), total), total)
            if ended.wait(LOOK_SECONDS):
                break

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
        report(about.name, min(begun(part), total), total)


def _unseen() -> type:
    """A progress bar that never shows, for a library that draws its own."""
    from tqdm import tqdm

    class Unseen(tqdm):  # type: ignore[type-arg]
        def __init__(self, *arguments: Any, **settings: Any) -> None:
            super().__init__(*arguments, **{**settings, "disable": True})

    return Unseen
