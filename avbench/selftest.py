"""Does avbench get what the package that everybody knows gets, on this machine, with the same files?

    cross_check(PACKAGE, python, clips) → the package's numbers beside ours, their differences, the allowed differences

The packages cannot live in one environment with avbench, or with each other. Each has a program of one file in
`bench/crosscheck/`, which says in its head what it needs; it is run by another Python, in which that is installed. It
reads a request (JSON: sounds, clips, texts, weights) and prints an answer (JSON: values by name, versions).

Conventions. Where the package's own reading of files is not what is asked about, both sides get the same wav files of
16 bits, written from the clips. `clap 2 3` is the second clip and the third text. Allowed differences are
those of arithmetic in another order, where network and input are the same; where they are not (decoders, transcodes,
another file of the same network), the package's `note` says so, and they are wide.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
import subprocess
import tempfile
import tomllib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from .clip import Sound, read_audio, write_audio
from .errors import UsageError, unknown
from .extract import CPU, Engine, extract, ready
from .home import data_folders
from .metrics.lip_sync import best_track, track_syncs
from .metrics.voice_similarity import cosine
from .split import Prompt
from .weights import path as weights_path

__all__ = ["PACKAGES", "TEXTS", "Compared", "CrossCheck", "Package", "Request", "cross_check", "runner_of"]

Value = float | str

TEXTS = (
    "A man is speaking. Rain falls on a tin roof.",
    "a woman speaks calmly in a large empty hall",
    "Heavy traffic, engines and a distant siren.",
)
SENTENCES = (
    "Mr. O'Neil's twenty-five colours weren't grey; they cost £1,250.50, um, in 1999.",
    "I'm gonna pay (laughs) for the organisation's 3rd programme.",
    "Dr. Smith's won't've… [music] ÀÉÎ 50% off!",
)


class Request(msgspec.Struct, frozen=True):
    """What both sides are asked."""

    clips: list[str]  # absolute paths
    sounds: list[str]  # of the same clips, as mono wav files of 16 bits
    texts: list[str]
    weights: dict[str, str]  # name → file; those that both sides read
    checkpoint: str = ""  # a file of the package's own


class _Answer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the other side says."""

    values: dict[str, Value]
    versions: dict[str, str]


@dataclasses.dataclass(frozen=True)
class Package:
    """One package to check against."""

    name: str  # of its program, and of the package
    extractors: tuple[str, ...]  # ours
    weights: tuple[str, ...]  # that its program reads
    ours: Callable[[Request, Engine], Mapping[str, Value]]
    tolerances: Mapping[str, float]  # by the first word of a value's name; of texts: words that differ, in parts of 1
    note: str
    texts: tuple[str, ...] = ()
    sounds: bool = True  # whether it is given sounds
    rate: int = 0  # Hz of the sounds; 0 keeps that of the clip
    seconds: float = math.inf  # of each sound
    least: int = 1  # clips


class Compared(NamedTuple):
    """One value of both sides; None where a side has none."""

    name: str
    ours: Value | None
    theirs: Value | None
    difference: float  # infinite where only one side has a value
    tolerance: float

    @property
    def agrees(self) -> bool:
        return self.difference <= self.tolerance


class CrossCheck(NamedTuple):
    """All values, what the package is, and how to read the tolerances."""

    package: str
    versions: dict[str, str]
    note: str
    values: list[Compared]

    @property
    def agrees(self) -> bool:
        return bool(self.values) and all(value.agrees for value in self.values)


def cross_check(
    package: str, python: Path, clips: Sequence[Path], checkpoint: Path | None = None, engine: Engine = CPU
) -> CrossCheck:
    """Runs the package's program with that Python, and compares. UsageError where either side cannot run.

    Our networks are looked for first: WeightsError says what to fetch before anything is decoded or run.
    """
    known = PACKAGES.get(package)
    if known is None:
        raise unknown("package", package, PACKAGES)
    runner = runner_of(package)
    if len(clips) < known.least:
        raise UsageError(f"selftest --against {package}: {len(clips)} clips; expected {known.least} or more.")
    ready(known.extractors, engine)
    with tempfile.TemporaryDirectory(prefix="avbench-selftest-") as folder:
        request = Request(
            clips=[str(clip.absolute()) for clip in clips],
            sounds=_sounds(known, clips, Path(folder)) if known.sounds else [],
            texts=list(known.texts),
            weights={} if engine.untrained else {name: str(weights_path(name)) for name in known.weights},
            checkpoint=str(checkpoint.absolute()) if checkpoint else "",
        )
        answer = _ask(runner, python, request)
        ours = known.ours(request, engine)
    names = dict.fromkeys([*ours, *answer.values])
    values = [_compared(name, ours.get(name), answer.values.get(name), known.tolerances) for name in names]
    return CrossCheck(package, answer.versions, known.note, values)


def runner_of(package: str) -> Path:
    """The program of a package; UsageError says where it was looked for."""
    file = Path("crosscheck", f"{package}.py")
    for folder in data_folders("bench"):
        if (folder / file).is_file():
            return folder / file
    raise UsageError(
        f"bench/{file} is neither in the working folder ({Path.cwd()}) nor beside the package "
        f"({Path(__file__).resolve().parents[1]}). It is part of the source code, not of the installed package: run "
        "this in a checkout."
    )


# What we get -----------------------------------------------------------------------------------------------------


def _voices(request: Request, engine: Engine) -> Mapping[str, Value]:
    embeddings = [_one(sound, "audio", "voice_ecapa", engine=engine).embedding for sound in request.sounds]
    return {
        f"spk_sim_ecapa {i + 1} {j + 1}": cosine(embeddings[i], embeddings[j])
        for i in range(len(embeddings))
        for j in range(i)
    }


def _meanings(request: Request, engine: Engine) -> Mapping[str, Value]:
    sounds = [_one(sound, "audio", "clap_sound", engine=engine).embedding for sound in request.sounds]
    prompts = [Prompt(visual="", speech="", manner="", environment=text) for text in request.texts]
    texts = [_one(prompt, "text", "clap_text", engine=engine).environment for prompt in prompts]
    return {
        f"clap {i + 1} {j + 1}": cosine(sound, text)
        for (i, sound), (j, text) in itertools.product(enumerate(sounds), enumerate(texts))
    }


def _words(request: Request, engine: Engine) -> Mapping[str, Value]:
    nothing = Prompt(visual="", speech="", manner="", environment="")
    normalised = {
        f"normalised {number + 1}": _one(nothing, "text", "wording_whisper", text, engine).english
        for number, text in enumerate(request.texts)
    }
    heard = {
        f"words {number + 1}": _one(sound, "audio", "words_whisper", "en", engine).normal
        for number, sound in enumerate(request.sounds)
    }
    return {**normalised, **heard}


def _syncs(request: Request, engine: Engine) -> Mapping[str, Value]:
    values: dict[str, Value] = {}
    for number, clip in enumerate(request.clips):
        lips = _one(clip, "video", "lips_syncnet", engine=engine)
        syncs = track_syncs(lips, _one(clip, "audio", "sound_syncnet", engine=engine))
        if syncs:
            best = best_track(syncs)
            values[f"lse_d {number + 1}"] = best.distance
            values[f"lse_c {number + 1}"] = best.confidence
            values[f"offset {number + 1}"] = float(best.offset)
    return values


def _one(source: str | Prompt, sense: Any, name: str, text: str = "", engine: Engine = CPU) -> Any:
    """The record that one extractor makes of one medium."""
    return extract(Path(source) if isinstance(source, str) else source, sense, [name], text, engine)[name]


PACKAGES: dict[str, Package] = {
    package.name: package
    for package in (
        Package(
            name="speechbrain",
            extractors=("voice_ecapa",),
            weights=("ecapa-voxceleb",),
            ours=_voices,
            tolerances={"spk_sim_ecapa": 1e-4},
            note="Same checkpoint, same sounds; SpeechBrain's network and filter banks, torchaudio's resampler.",
            least=2,
        ),
        Package(
            name="laion_clap",
            extractors=("clap_sound", "clap_text"),
            weights=(),
            ours=_meanings,
            tolerances={"clap": 5e-3},
            note="The first 10 s of each sound. LAION's own checkpoint, which is believed to hold the same numbers as "
            "ours; larger differences mean that it does not.",
            texts=TEXTS,
            seconds=10.0,
        ),
        Package(
            name="openai_whisper",
            extractors=("wording_whisper", "words_whisper"),
            weights=(),
            ours=_words,
            tolerances={"normalised": 0.0, "words": 0.1},
            note="Sounds at 16 kHz, at most 30 s. Both search with five beams at temperature 0, and end the search by "
            "rules of their own: one word in ten may differ.",
            texts=SENTENCES,
            rate=16_000,
            seconds=30.0,
        ),
        Package(
            name="syncnet_python",
            extractors=("lips_syncnet", "sound_syncnet"),
            weights=("s3fd", "syncnet-v2"),
            ours=_syncs,
            tolerances={"lse_d": 0.3, "lse_c": 0.6, "offset": 1.0},
            note="Same checkpoints. The package codes pictures anew twice (MPEG-4, JPEG), and may move them by a frame "
            "against the sound; we do neither. How much that changes real scores has not been measured: the allowed "
            "differences are a guess.",
            sounds=False,
        ),
    )
}


# The other side --------------------------------------------------------------------------------------------------


def _sounds(package: Package, clips: Sequence[Path], folder: Path) -> list[str]:
    """The sounds of the clips as wav files, as this package is to get them."""
    files = []
    for number, clip in enumerate(clips):
        sound = read_audio(clip)
        if package.rate and sound.rate != package.rate:
            resample = import_module("soxr").resample
            sound = Sound(resample(sound.samples, sound.rate, package.rate).astype("float32"), package.rate)
        if package.seconds < math.inf:
            sound = Sound(sound.samples[: round(package.seconds * sound.rate)], sound.rate)
        file = folder / f"{number + 1}.wav"
        write_audio(file, sound)
        files.append(str(file))
    return files


def _ask(runner: Path, python: Path, request: Request) -> _Answer:
    """Runs the program; what it says on stderr matters only where it fails."""
    try:
        done = subprocess.run(
            [str(python), str(runner)], input=msgspec.json.encode(request), capture_output=True, check=False
        )
    except OSError as error:
        raise UsageError(
            f"--python {python}: cannot be run ({error.strerror}). Expected the Python of an environment with: "
            f"{' '.join(_requirements(runner))}"
        ) from error
    if done.returncode:
        said = [line.strip() for line in done.stderr.decode(errors="replace").splitlines() if line.strip()]
        needed = " ".join(f"'{requirement}'" for requirement in _requirements(runner))
        raise UsageError(
            f"{runner.name} ended with {done.returncode}: {said[-1] if said else 'it said nothing'}. "
            f"What it needs: {python} -m pip install {needed}"
        )
    try:
        answer = msgspec.json.decode(done.stdout, type=_Answer)
    except msgspec.DecodeError as error:
        raise UsageError(
            f"{runner.name}: its answer cannot be read ({error}); expected values and versions."
        ) from error
    return answer


def _requirements(runner: Path) -> list[str]:
    """The packages that a program names in its head (PEP 723)."""
    head = re.search(r"^# /// script\n((?:#.*\n)*?)# ///$", runner.read_text(encoding="utf-8"), re.MULTILINE)
    lines = [line.removeprefix("#").removeprefix(" ") for line in (head[1] if head else "").splitlines()]
    return list(tomllib.loads("\n".join(lines)).get("dependencies", []))


# Side by side ----------------------------------------------------------------------------------------------------


def _compared(name: str, ours: Value | None, theirs: Value | None, tolerances: Mapping[str, float]) -> Compared:
    return Compared(name, ours, theirs, _difference(ours, theirs), tolerances.get(name.partition(" ")[0], 0.0))


def _difference(ours: Value | None, theirs: Value | None) -> float:
    """Of numbers: absolute. Of texts: 0 where they are equal, else words that differ over words of theirs."""
    match ours, theirs:
        case (str(), str()):
            if ours == theirs:
                return 0.0
            there = theirs.split()
            return max(_edits(ours.split(), there), 1) / max(len(there), 1)
        case (int() | float(), int() | float()):
            difference = abs(ours - theirs)
            return difference if math.isfinite(difference) else math.inf
        case _:
            return math.inf


def _edits(first: Sequence[str], second: Sequence[str]) -> int:
    """Fewest words to insert, delete or replace."""
    row = list(range(len(second) + 1))
    for i, word in enumerate(first):
        previous, row = row, [i + 1]
        for j, other in enumerate(second):
            row.append(min(previous[j + 1] + 1, row[j] + 1, previous[j] + (word != other)))
    return row[-1]
