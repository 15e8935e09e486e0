"""Extractors: one medium in, and for some a text of the pair; one feature record out.

An extractor is named by the feature that it makes. Its revision `name/protocol@weights8` says everything that its
output depends on besides medium and text: `protocol` counts changes of the recipe, `weights8` the network files
(`untrained` where tiny random networks stand in for them). Importing this package loads no network and no library
that runs one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from .. import clip, weights
from ..clip import DECODE, Sound
from ..errors import UsageError, unknown
from ..features import Feature, Record, Sense, path_of
from ..metric import UNTRAINED
from ..split import Prompt
from . import clap, faces_buffalo, lips_compat, lips_syncnet, voice_ecapa, voice_wavlm, whisper
from .engine import CPU, Engine, engine_of, providers
from .faces_dlib import FACES_DLIB, MAX_SIDE, faces_of
from .speech_energy import SPEECH_ENERGY, energy_of
from .voice_ge2e import VOICE_GE2E, voice_of
from .words_sphinx import WORDS_SPHINX, align

__all__ = [
    "CPU",
    "EXTRACTORS",
    "FACES_DLIB",
    "SPEECH_ENERGY",
    "VOICE_GE2E",
    "WORDS_SPHINX",
    "Engine",
    "Extractor",
    "Medium",
    "engine_of",
    "extract",
    "ready",
    "revision",
    "stored_at",
]


@dataclasses.dataclass(frozen=True)
class Extractor:
    """How one feature is made.

    `run` gets (T, H, W, 3) uint8 RGB frames at 25 fps, a Sound, both in a tuple, or a Prompt; then the text, if the
    feature reads one; then the Engine, if `on_engine`.
    """

    feature: Feature[Any]
    protocol: int
    weights: tuple[str, ...]
    modules: tuple[str, ...]  # what must be importable
    run: Callable[..., Record]
    max_side: int | None = None  # pixels that frames are reduced to
    extra: str = "embedded"  # which of avbench's extras brings the modules
    on_engine: bool = False  # whether its networks run where they are told to, and can be tried untrained
    half: bool = False  # whether it computes in float16 on an accelerator
    seconds: float = 0.0  # measured, a clip of 121 frames on one core: bench/line.py, bench/cost.py


def _network(
    feature: Feature[Any],
    protocol: int,
    run: Callable[..., Record],
    weights: tuple[str, ...],
    modules: tuple[str, ...],
    seconds: float,
) -> Extractor:
    """An extractor of the paper's profiles, whose networks run where they are told to."""
    return Extractor(feature, protocol, weights, modules, run, extra="metrics", on_engine=True, seconds=seconds)


_BUFFALO = ("scrfd-10g", "arcface-r50", "landmarks-1k3d68")
_SYNC = ("s3fd", "syncnet-v2")
_WHISPER = ("whisper-large-v3", "whisper-tokenizer")
_CLAP = ("safetensors", "soxr", "tokenizers", "torch", "transformers")
_SPOKEN = ("jiwer", "safetensors", "tokenizers", "torch", "transformers")

_ALL = (
    Extractor(
        feature=FACES_DLIB,
        protocol=1,
        weights=("dlib-68-landmarks", "dlib-resnet-face"),
        modules=("dlib", "scipy"),
        seconds=1.0,
        run=faces_of,
        max_side=MAX_SIDE,
    ),
    Extractor(
        feature=VOICE_GE2E,
        protocol=2,
        weights=("ge2e-resemblyzer", "silero-vad"),
        modules=("safetensors", "soxr", "torch"),
        run=voice_of,
        seconds=0.03,
    ),
    Extractor(feature=SPEECH_ENERGY, protocol=1, weights=(), modules=("scipy", "soxr"), run=energy_of, seconds=0.01),
    Extractor(
        feature=WORDS_SPHINX,
        protocol=1,
        weights=("sphinx-en-us",),
        modules=("pocketsphinx", "soxr"),
        run=align,
        seconds=0.5,
    ),
    _network(
        voice_wavlm.VOICE_WAVLM,
        1,
        voice_wavlm.wavlm_voice_of,
        ("wavlm-large-finetune",),
        ("torch", "transformers"),
        2.6,
    ),
    _network(
        voice_wavlm.VOICE_WAVLM_PRETRAINED,
        1,
        voice_wavlm.pretrained_voice_of,
        ("wavlm-large", "wavlm-large-finetune"),
        ("torch", "transformers"),
        2.5,
    ),
    _network(voice_ecapa.VOICE_ECAPA, 1, voice_ecapa.ecapa_voice_of, ("ecapa-voxceleb",), ("torch",), 0.25),
    _network(faces_buffalo.FACES_BUFFALO, 1, faces_buffalo.faces_of, _BUFFALO, ("cv2", "onnxruntime"), 27),
    _network(
        faces_buffalo.FACES_BUFFALO_AUTHORS, 1, faces_buffalo.faces_of_authors, _BUFFALO, ("cv2", "onnxruntime"), 10
    ),
    _network(lips_syncnet.LIPS_SYNCNET, 1, lips_syncnet.lips_of, _SYNC, ("cv2", "torch"), 29),
    _network(lips_syncnet.LIPS_SYNCNET_EVERY8, 1, lips_syncnet.lips_every8_of, _SYNC, ("cv2", "torch"), 5.4),
    _network(lips_syncnet.SOUND_SYNCNET, 1, lips_syncnet.sound_of, ("syncnet-v2",), ("torch",), 0.3),
    _network(lips_compat.SYNC_COMPAT, 1, lips_compat.sync_tracks, _SYNC, ("cv2", "soxr", "torch"), 37),
    _network(clap.CLAP_SOUND, 1, clap.meaning_of_sound, ("clap-htsat-unfused",), _CLAP, 0.25),
    _network(clap.CLAP_SOUND_16K, 1, clap.meaning_of_sound_16k, ("clap-htsat-unfused",), _CLAP, 0.25),
    _network(clap.CLAP_TEXT, 1, clap.meaning_of_text, ("clap-htsat-unfused", "clap-tokenizer"), _CLAP, 0.4),
    _network(
        clap.CLAP_TEXT_AUTHORS, 1, clap.meaning_of_text_authors, ("clap-htsat-unfused", "clap-tokenizer"), _CLAP, 0.4
    ),
    _network(whisper.WORDS_WHISPER, 1, whisper.words_heard, (*_WHISPER, "whisper-normalizer"), _SPOKEN, 120),
    dataclasses.replace(
        _network(whisper.WORDS_WHISPER_AUTHORS, 1, whisper.words_heard_authors, _WHISPER, _SPOKEN, 120), half=True
    ),
    _network(whisper.WORDING_WHISPER, 1, whisper.wording_of, ("whisper-normalizer",), ("transformers",), 0.001),
)

EXTRACTORS: dict[str, Extractor] = {extractor.feature.name: extractor for extractor in _ALL}


def revision(name: str, engine: Engine = CPU) -> str:
    """`name/protocol@weights8`; without the last part where no network is used. Opens no network file."""
    extractor = _extractor(name)
    if not extractor.weights:
        return f"{name}/{extractor.protocol}"
    if extractor.on_engine and engine.untrained:
        return f"{name}/{extractor.protocol}{UNTRAINED}"
    precision = "-float16" if extractor.half and engine.accelerated else ""
    return f"{name}/{extractor.protocol}@{weights.digest8(extractor.weights)}{precision}"


def stored_at(content_sha256: str, sense: Sense, name: str, text: str = "", engine: Engine = CPU) -> Path:
    """Where the store keeps what that extractor makes of that stream, read with that text (it may be absent)."""
    return path_of(f"{sense}:{content_sha256}", f"{revision(name, engine)}+decode:{DECODE}", text)


def ready(names: Sequence[str], engine: Engine = CPU) -> None:
    """Makes sure that these extractors can run: libraries are installed, and fit the device; networks are there and right."""
    extractors = [_extractor(name) for name in names]
    absent = {
        module: extractor.extra for extractor in extractors for module in extractor.modules if find_spec(module) is None
    }
    if absent:
        extras = ",".join(sorted(set(absent.values())))
        raise UsageError(
            f"{', '.join(names)}: not importable here: {', '.join(absent)}. Run: pip install 'avbench[{extras}]'"
        )
    trained = [one for one in extractors if not (one.on_engine and engine.untrained)]
    if any("onnxruntime" in one.modules for one in trained):
        providers(engine)
    weights.ensure(dict.fromkeys(weight for extractor in trained for weight in extractor.weights))


class Medium:
    """A file whose streams are decoded when they are asked for, and then kept; or a prompt, which is read as it is."""

    def __init__(self, source: Path | Prompt) -> None:
        self.source = source
        self._frames: dict[tuple[bool, int | None], Any] = {}
        self._sound: Sound | None = None

    def read(self, sense: Sense, max_side: int | None = None) -> Any:
        """What an extractor of that sense is given; an image is a clip of one frame. MediaError names a file that fails."""
        if isinstance(self.source, Prompt):
            return self.source
        match sense:
            case "audio":
                return self._heard(self.source)
            case "both":
                return self._seen(self.source, False, max_side), self._heard(self.source)
            case _:
                return self._seen(self.source, sense == "image", max_side)

    def _seen(self, path: Path, still: bool, max_side: int | None) -> Any:
        key = (still, max_side)
        if key not in self._frames:
            self._frames[key] = (
                clip.read_image(path, max_side=max_side)[None] if still else clip.read_video(path, max_side=max_side)
            )
        return self._frames[key]

    def _heard(self, path: Path) -> Sound:
        if self._sound is None:
            self._sound = clip.read_audio(path)
        return self._sound


def extract(
    source: Path | Prompt | Medium, sense: Sense, names: Sequence[str], text: str = "", engine: Engine = CPU
) -> dict[str, Record]:
    """Runs the named extractors on one stream. MediaError names a file that cannot be decoded.

    `text` is what the extractors that read something of the pair are given. Give a `Medium` where more than one
    stream of a file is wanted.
    """
    medium = source if isinstance(source, Medium) else Medium(source)
    extractors = [_extractor(name) for name in names]
    for extractor in extractors:
        expected = extractor.feature.sense
        if expected != sense and (expected, sense) != ("video", "image"):
            raise UsageError(f"{extractor.feature.name} reads {expected}; it was given the {sense} of {medium.source}.")

    def record(extractor: Extractor) -> Record:
        given: list[Any] = [medium.read(sense, extractor.max_side)]
        if extractor.feature.reads:
            given.append(text)
        if extractor.on_engine:
            given.append(engine)
        return extractor.run(*given)

    return {extractor.feature.name: record(extractor) for extractor in extractors}


def _extractor(name: str) -> Extractor:
    if name not in EXTRACTORS:
        raise unknown("extractor", name, EXTRACTORS)
    return EXTRACTORS[name]
