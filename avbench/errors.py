"""Every error that avbench raises on purpose; each says what was found, what was expected and what to do.

AvbenchError                exit code
├── UsageError              2   an unknown name, a malformed option, a file or folder that cannot be used
│   ├── SplitError          2   a split that contradicts itself or its media
│   └── FolderError         2   a folder that cannot be written, or a full disk
├── WeightsError            2   a network file that is absent, damaged or not to be had
├── Incomparable            3   scores that differ in split digest, profile or revision
├── Incomplete              4   scores that are not there
├── WorkerDied              70  a worker process that ended without an answer, or has no memory left
├── NotFinite               -   numbers of a network that are not finite: recorded with the pair, never fatal
└── MediaError              -   a clip, sound or image that cannot be decoded: recorded with the pair, never fatal

`Unmeasurable` is not here: a clip that defeats a metric is an outcome (`metric.py`).
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = [
    "AvbenchError",
    "FolderError",
    "Incomparable",
    "Incomplete",
    "MediaError",
    "NotFinite",
    "SplitError",
    "UsageError",
    "WeightsError",
    "WorkerDied",
    "unknown",
]


class AvbenchError(Exception):
    """The base of all; `exit_code` is what the command line ends with."""

    exit_code = 70


class UsageError(AvbenchError):
    """The request cannot be carried out as it was given."""

    exit_code = 2


class SplitError(UsageError):
    """A split contradicts itself or its media."""


class FolderError(UsageError):
    """A folder cannot be read or written, or the disk is full."""


class WeightsError(AvbenchError):
    """A network file is absent, damaged or not to be had."""

    exit_code = 2


class Incomparable(AvbenchError):
    """Scores differ in a field that must agree: split digest, profile or revision."""

    exit_code = 3


class Incomplete(AvbenchError):
    """Scores that were asked for are not there."""

    exit_code = 4


class WorkerDied(AvbenchError):
    """A worker process ended without an answer (killed, or crashed in native code), or has no memory left."""


class NotFinite(AvbenchError):
    """A network has given numbers that are not finite."""


class MediaError(AvbenchError):
    """A clip, sound or image cannot be decoded; the message names the file."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UsageError:
    """The error for a name that is not registered: lists what is, with close matches first."""
    names = list(known)
    close = get_close_matches(name, names, n=2, cutoff=0.5)
    hint = f" Did you mean {' or '.join(close)}?" if close else ""
    return UsageError(f"unknown {kind} {name!r}.{hint} Known: {', '.join(names) or 'none'}.")
