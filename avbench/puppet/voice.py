"""A line spoken by espeak-ng, with the time of every phoneme."""

from __future__ import annotations

import dataclasses
import functools
import json
import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..clip import Sound
from ..errors import AvbenchError, SplitError, UsageError

__all__ = ["Phoneme", "Speech", "Voice", "compare", "speak", "voice_of"]

SLOWEST, FASTEST = 120, 220  # words a minute, between which a line still sounds spoken
TAIL_S = 0.05  # kept after the last phoneme, for its decay


class Voice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How espeak-ng sounds: an accent with a timbre (`en-us+f3`), and how it is used."""

    name: str  # LANGUAGE or LANGUAGE+VARIANT, as espeak-ng knows them
    pitch: int = 50  # 0 to 99
    inflection: int = 50  # pitch range, 0 to 99
    words_per_minute: int = 170  # unless a line must be fitted


class Phoneme(NamedTuple):
    """One sound of a line; an empty name is a pause."""

    name: str  # IPA, with stress marks
    start: float  # seconds
    end: float


@dataclasses.dataclass(frozen=True)
class Speech:
    """A spoken line."""

    samples: NDArray[np.float32]  # (N,) full scale = 1
    rate: int  # samples a second
    phonemes: tuple[Phoneme, ...]
    words_per_minute: int  # the speed that made it fit


def speak(text: str, voice: Voice, seconds: tuple[float, float]) -> Speech:
    """Speaks a line so that it lasts between these bounds from first to last phoneme, at the voice's own speed if it can.

    The same request gives the same samples. UsageError where the voice does not exist, and of that SplitError where
    the line does not fit.
    """
    library, data = _espeak()
    _check_variant(voice.name, data)
    request = {
        "text": text,
        "voice": voice.name,
        "pitch": voice.pitch,
        "inflection": voice.inflection,
        "words_per_minute": [voice.words_per_minute, SLOWEST, FASTEST],
        "seconds": list(seconds),
    }
    header, sound = _asked(text, library, data, request)
    rate = int(header["rate"])
    phonemes = [Phoneme(name, start / rate, end / rate) for name, start, end in header["phonemes"]]
    while phonemes and not phonemes[-1].name:
        phonemes.pop()
    samples = sound[: round((phonemes[-1].end + TAIL_S) * rate)]
    return Speech(samples, rate, tuple(phonemes), int(header["words_per_minute"]))


def compare(text: str, names: Sequence[str]) -> dict[str, Sound]:
    """The same text by each of these voices as it is, to tell them apart by: quick, and without times of phonemes."""
    library, data = _espeak()
    for name in names:
        _check_variant(name, data)
    header, samples = _asked(text, library, data, {"text": text, "voices": list(names)})
    ends = np.cumsum(header["samples"])[:-1]
    return {name: Sound(part, int(header["rate"])) for name, part in zip(names, np.split(samples, ends), strict=True)}


def voice_of(language: str) -> str:
    """espeak-ng's own voice of a language as tags name it (`en`, `pt-BR`); where a region has none, the language's.

    A language that is not given is taken for English, as everywhere.
    """
    _, data = _espeak()
    known = _languages(data)
    tag = language.strip().lower().replace("_", "-") or "en"
    for wanted in (tag, tag.partition("-")[0]):
        if wanted in known:
            return known[wanted]
    raise SplitError(f"espeak-ng speaks no language {language!r}; expected one of the {len(known)} tags of its voices.")


@functools.cache
def _languages(data: Path) -> dict[str, str]:
    """The voice of each language tag: of those that claim it, the one of the lowest number, as espeak-ng ranks them."""
    found: dict[str, tuple[int, str]] = {}
    for path in sorted((data / "lang").rglob("*")):
        for line in path.read_text("utf-8", "ignore").splitlines() if path.is_file() else []:
            key, *words = line.split()[:3] or [""]
            if key == "language" and words:
                claim = (int(words[1]) if len(words) > 1 else 5, path.name.lower())
                found[words[0].lower()] = min(claim, found.get(words[0].lower(), claim))
    return {tag: name for tag, (_, name) in found.items()}


def _asked(text: str, library: Path, data: Path, request: dict[str, Any]) -> tuple[dict[str, Any], NDArray[np.float32]]:
    """What the program answers: its header, and samples (N,). SplitError where the line is not to be spoken so."""
    program = Path(__file__).with_name("_espeak.py")
    whole = json.dumps({"library": str(library), "data": str(data), **request}).encode()
    answer = subprocess.run([sys.executable, "-I", str(program)], input=whole, capture_output=True, check=False)
    if answer.returncode != 0:
        said = answer.stderr.decode(errors="replace").strip().splitlines()
        raise AvbenchError(f"espeak-ng ended with {answer.returncode} while speaking {text!r}: {' '.join(said[-1:])}")
    line, _, sound = answer.stdout.partition(b"\n")
    header = json.loads(line)
    if "problem" in header:
        raise SplitError(f"{header['problem']}.")
    return header, np.frombuffer(sound, "<i2").astype(np.float32) / np.float32(32768)


def _espeak() -> tuple[Path, Path]:
    """Library and data of the installed wheel, which is looked up and not imported."""
    spec = find_spec("espeakng_loader")
    folder = Path(spec.origin).parent if spec is not None and spec.origin is not None else None
    if folder is None:
        raise UsageError(
            "espeak-ng is not installed; the demo's voices need it: python -m pip install 'avbench[embedded]'."
        )
    for name in ("libespeak-ng.so", "libespeak-ng.dylib", "espeak-ng.dll"):
        if (folder / name).is_file():
            return folder / name, folder / "espeak-ng-data"
    raise UsageError(
        f"{folder}: no espeak-ng library; reinstall it: python -m pip install --force-reinstall espeakng-loader."
    )


def _check_variant(name: str, data: Path) -> None:
    """espeak-ng passes over a variant that it does not know; a voice that is not what it says is worse than an error."""
    _, plus, variant = name.partition("+")
    known = sorted(path.name for path in (data / "voices" / "!v").iterdir())
    if plus and variant not in known:
        raise UsageError(
            f"espeak-ng has no variant {variant!r}, asked for by voice {name!r}. Known: {', '.join(known)}."
        )
