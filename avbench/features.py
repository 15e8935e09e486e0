"""Feature records, and the store that keeps them by content.

An extractor turns one medium into one record; metrics are pure functions on records. A record is stored under
the sha256 of all that it was computed from: the bytes of the stream it reads, the text that it reads them with, the
extractor's revision and the dtype. The same bytes are therefore never measured twice, whatever file, method or run they appear in.
"""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from .home import atomic, home

__all__ = [
    "DTYPE",
    "Alignment",
    "Faces",
    "Feature",
    "Features",
    "LipTracks",
    "Reads",
    "Record",
    "Sense",
    "SoundMeaning",
    "SoundWindows",
    "SpeakerEmbedding",
    "SpeechEnergy",
    "SyncTracks",
    "TextMeaning",
    "Transcript",
    "Voice",
    "Wording",
    "load",
    "path_of",
    "save",
]

DTYPE = "float32"

Sense = Literal["video", "audio", "both", "image", "text"]  # both: picture and sound of one clip
Reads = Literal["", "transcript", "language"]  # what of the pair is read beside the medium


@dataclasses.dataclass(frozen=True)
class Faces:
    """The largest face of a clip or image, followed over its T frames at 25 fps (an image has T = 1).

    Coordinates are pixels (x to the right, y down) of the decoded, possibly reduced, frame.
    """

    size: NDArray[np.float32]  # (2,) width, height of the decoded frame, pixels
    sampled: NDArray[np.bool_]  # (T,) frames on which the detector ran
    detected: NDArray[np.bool_]  # (T,) of these, where it found a face
    boxes: NDArray[np.float32]  # (T, 4) left, top, right, bottom; interpolated; all zero where there is no face at all
    landmarks: NDArray[np.float32]  # (T, 68, 2) iBUG order; all zero where there is no face at all
    embeddings: NDArray[np.float32]  # (K, D) of the frames named by embedded; K may be 0
    embedded: NDArray[np.int32]  # (K,) frame indices


@dataclasses.dataclass(frozen=True)
class Voice:
    """A speaker embedding of one sound."""

    embedding: NDArray[np.float32]  # (D,) unit length; all zero where speech is too short
    speech_seconds: float  # of speech alone, without what is around it
    peak: float  # largest absolute sample, full scale = 1


@dataclasses.dataclass(frozen=True)
class SpeechEnergy:
    """The loudness of a sound in the speech band, one value per video frame at 25 fps."""

    rms: NDArray[np.float32]  # (T,) root mean square around each frame's time, full scale = 1


@dataclasses.dataclass(frozen=True)
class Alignment:
    """The W words of a text, found in a sound one after the other, and how well each fits what is heard there.

    Goodness is in nats per frame of 10 ms: by how much the word explains its frames worse than free phones do.
    Times and goodness are zero where the text does not fit the sound at all.
    """

    words: NDArray[np.str_]  # (W,) lower case, numbers spelled out
    known: NDArray[np.bool_]  # (W,) in the dictionary; the others are pronounced by rule
    starts: NDArray[np.float32]  # (W,) seconds
    ends: NDArray[np.float32]  # (W,) seconds
    goodness: NDArray[np.float32]  # (W,) about 0 and less
    aligned: bool
    clip_goodness: float  # of all frames, the pauses too


@dataclasses.dataclass(frozen=True)
class SpeakerEmbedding:
    """What a speaker network makes of a whole sound: no voice activity, no trimming."""

    embedding: NDArray[np.float32]  # (D,) as it leaves the network; all zero where the sound is too short
    seconds: float
    peak: float  # largest absolute sample, full scale = 1


@dataclasses.dataclass(frozen=True)
class LipTracks:
    """Every face of a clip that can be followed long enough, and what the lip half of SyncNet makes of each.

    The K tracks stand one after the other in the concatenated arrays: frames `starts[k]` to `ends[k]` (exclusive) of
    the clip at 25 fps, in the order in which they were found. Window v of a track shows its frames v to v + 4.
    """

    frames: int  # of the clip
    starts: NDArray[np.int32]  # (K,) first frame
    ends: NDArray[np.int32]  # (K,) frame after the last
    detected: NDArray[np.int32]  # (K,) frames on which the detector ran and found this face
    confidence: NDArray[np.float32]  # (K,) mean of the detector's scores, 0 to 1
    boxes: NDArray[np.float32]  # (sum of lengths, 3) centre x, centre y, half side s of each frame, pixels, smoothed
    lips: NDArray[np.float32]  # (sum of windows, D), each track has max(0, length - 4) windows
    faces_seen: int  # detections in all frames together, those of no track as well


@dataclasses.dataclass(frozen=True)
class SoundWindows:
    """What the sound half of SyncNet makes of a clip's sound: window v is heard with video frames v to v + 4."""

    embeddings: NDArray[np.float32]  # (W, D)
    samples: int  # at 16 kHz
    peak: float  # largest absolute sample, full scale = 1


@dataclasses.dataclass(frozen=True)
class SyncTracks:
    """Lips and sound of every track, cut and coded anew as the published pipeline does."""

    tracks: NDArray[np.int32]  # (K, 2) first frame, frame after the last, of the transcoded clip
    detected: NDArray[np.int32]  # (K,)
    confidence: NDArray[np.float32]  # (K,)
    windows: NDArray[np.int32]  # (K,) windows that lips and sound both have
    lips: NDArray[np.float32]  # (sum of windows, D)
    sounds: NDArray[np.float32]  # (sum of windows, D)
    frames: int  # of the transcoded clip: one more than it had, where it has sound
    faces_seen: int
    peak: float


@dataclasses.dataclass(frozen=True)
class SoundMeaning:
    """A sound in the space that CLAP shares between sounds and sentences."""

    embedding: NDArray[np.float32]  # (D,) unit length; all zero where there is no sound
    windows: int  # of 10 s, whose mean it is
    peak: float  # largest absolute sample, full scale = 1


@dataclasses.dataclass(frozen=True)
class TextMeaning:
    """The audible parts of a prompt in the same space."""

    environment: NDArray[np.float32]  # (D,) unit length; all zero where the prompt says nothing
    manner: NDArray[np.float32]  # (D,) likewise
    combined: NDArray[np.float32]  # (D,) likewise, of both in one sentence
    tokens: NDArray[np.int32]  # (3,) length of each text in tokens, before any cut


@dataclasses.dataclass(frozen=True)
class Transcript:
    """What a speech recogniser reads out of a sound."""

    text: str
    normal: str  # as the recogniser's own normaliser of that language leaves it; empty where it is not asked
    tokens: int  # that it wrote
    compression: float  # bytes of the text over bytes of the same, zlib; beyond 2.4 it repeats itself
    seconds: float  # of sound
    peak: float  # largest absolute sample, full scale = 1


@dataclasses.dataclass(frozen=True)
class Wording:
    """A text as the recogniser's normalisers leave it."""

    english: str
    other: str  # as words of another language


Record = (
    Faces
    | Voice
    | SpeechEnergy
    | Alignment
    | SpeakerEmbedding
    | LipTracks
    | SoundWindows
    | SyncTracks
    | SoundMeaning
    | TextMeaning
    | Transcript
    | Wording
)
R = TypeVar("R", bound=Record)


@dataclasses.dataclass(frozen=True)
class Feature(Generic[R]):
    """The name of one kind of record: what extractors make and metrics ask for."""

    name: str  # the extractor's name, e.g. "faces_dlib"
    sense: Sense  # which stream it reads
    record: type[R]
    reads: Reads = ""


class Features:
    """The records of one medium, taken by `Feature`."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self._records = dict(records)

    def __getitem__(self, feature: Feature[R]) -> R:
        record = self._records[feature.name]
        if not isinstance(record, feature.record):
            raise TypeError(f"{feature.name} is a {type(record).__name__}, not a {feature.record.__name__}")
        return record


def path_of(content_sha256: str, extractor_revision: str, text: str = "") -> Path:
    """Where the record of that content, read with that text, by that extractor lies in the store (it may be absent)."""
    read = [content_sha256, extractor_revision, DTYPE]
    if text:
        read.append(f"text:{hashlib.sha256(text.encode()).hexdigest()}")
    key = hashlib.sha256("\n".join(read).encode()).hexdigest()
    return home("features", key[:2], f"{key}.npz")


def save(path: Path, record: Record) -> None:
    """Writes a record; a reader sees all of it or nothing."""
    fields: dict[str, Any] = {
        field.name: np.asarray(getattr(record, field.name)) for field in dataclasses.fields(record)
    }
    with atomic(path) as part, part.open("wb") as file:
        np.savez(file, **fields)


def load(path: Path, record: type[R]) -> R | None:
    """Reads a record; None where there is none, or none that can be read (it is then computed again)."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            values = {field.name: stored[field.name] for field in dataclasses.fields(record)}
    except PermissionError:
        raise
    except (OSError, KeyError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None  # absent, or damaged: a flipped bit can look like any of these
    return record(**{name: value.item() if value.ndim == 0 else value for name, value in values.items()})
