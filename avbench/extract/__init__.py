"""Extractors: one medium in, and for some the text that should be said; one feature record out.

An extractor is named by the feature that it makes. Its revision `name/protocol@weights8` says everything that its
output depends on besides medium and text: `protocol` counts changes of the recipe, `weights8` the network files.
Importing this package loads no network and no library that runs one.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import weights
from ..errors import UsageError, unknown
from ..features import Feature, Record, Sense
from .faces_dlib import FACES_DLIB, MAX_SIDE, faces_of
from .speech_energy import SPEECH_ENERGY, energy_of
from .voice_ge2e import VOICE_GE2E, voice_of
from .words_sphinx import WORDS_SPHINX, align

__all__ = [
    "EXTRACTORS",
    "FACES_DLIB",
    "SPEECH_ENERGY",
    "VOICE_GE2E",
    "WORDS_SPHINX",
    "Extractor",
    "extract",
    "ready",
    "revision",
]


@dataclasses.dataclass(frozen=True)
class Extractor:
    """How one feature is made. `run` gets (T, H, W, 3) uint8 RGB frames at 25 fps, or a Sound; then the text, if read."""

    feature: Feature[Any]
    protocol: int
    weights: tuple[str, ...]
    modules: tuple[str, ...]  # what must be importable
    run: Callable[..., Record]
    max_side: int | None = None  # pixels that frames are reduced to


_ALL = (
    Extractor(
        feature=FACES_DLIB,
        protocol=1,
        weights=("dlib-68-landmarks", "dlib-resnet-face"),
        modules=("dlib", "scipy"),
        run=faces_of,
        max_side=MAX_SIDE,
    ),
    Extractor(
        feature=VOICE_GE2E,
        protocol=2,
        weights=("ge2e-resemblyzer", "silero-vad"),
        modules=("soxr", "torch"),
        run=voice_of,
    ),
    Extractor(feature=SPEECH_ENERGY, protocol=1, weights=(), modules=("scipy", "soxr"), run=energy_of),
    Extractor(
        feature=WORDS_SPHINX,
        protocol=1,
        weights=("sphinx-en-us",),
        modules=("pocketsphinx", "soxr"),
        run=align,
    ),
)

EXTRACTORS: dict[str, Extractor] = {extractor.feature.name: extractor for extractor in _ALL}


def revision(name: str) -> str:
    """`name/protocol@weights8`; without the last part where no network is used. Reads no file."""
    extractor = _extractor(name)
    digest = f"@{weights.digest8(extractor.weights)}" if extractor.weights else ""
    return f"{name}/{extractor.protocol}{digest}"


def ready(names: Sequence[str]) -> None:
    """Makes sure that these extractors can run: their libraries are installed, their networks fetched and right."""
    extractors = [_extractor(name) for name in names]
    needed = dict.fromkeys(module for extractor in extractors for module in extractor.modules)
    absent = [module for module in needed if find_spec(module) is None]
    if absent:
        raise UsageError(
            f"{', '.join(names)}: not importable here: {', '.join(absent)}. Run: pip install 'avbench[embedded]'"
        )
    weights.ensure(dict.fromkeys(weight for extractor in extractors for weight in extractor.weights))


def extract(path: Path, sense: Sense, names: Sequence[str], text: str = "") -> dict[str, Record]:
    """Decodes one stream of a file once and runs the named extractors on it. MediaError names a file that fails.

    An image may go to every extractor that reads video: it is a clip of one frame. `text` is what should be said,
    for those that read it.
    """
    from .. import clip

    extractors = [_extractor(name) for name in names]
    for extractor in extractors:
        expected = extractor.feature.sense
        if expected != sense and (expected, sense) != ("video", "image"):
            raise UsageError(f"{extractor.feature.name} reads {expected}; it was given the {sense} of {path}.")

    @functools.cache
    def decoded(max_side: int | None) -> Any:
        match sense:
            case "audio":
                return clip.read_audio(path)
            case "video":
                return clip.read_video(path, max_side=max_side)
            case "image":
                return clip.read_image(path, max_side=max_side)[None]

    def record(extractor: Extractor) -> Record:
        medium = decoded(extractor.max_side)
        return extractor.run(medium, text) if extractor.feature.reads_text else extractor.run(medium)

    return {extractor.feature.name: record(extractor) for extractor in extractors}


def _extractor(name: str) -> Extractor:
    if name not in EXTRACTORS:
        raise unknown("extractor", name, EXTRACTORS)
    return EXTRACTORS[name]
