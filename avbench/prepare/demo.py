"""The demo split's media: two public-domain portraits made to speak in eight voices and six places.

    portrait → look (cut, mirrored, graded)  ┐
    line → voice → phonemes → mouth          ┴→ frames ┐
                         speech over a place ──────────┴→ target.mp4, whose first frame is face.png
    another line by the same voice over the place of the reference → voice.wav

Everything is in the split's [recipe] and follows from it: the same recipe gives the same bytes with the same versions of the libraries. What is made says in
its own metadata that it is synthetic.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..clip import FRAME_RATE, Sound, write_audio, write_clip, write_image
from ..errors import SplitError, UsageError
from ..puppet import Phoneme, Speech, Voice, animate, motion, mouth_track, rig, speak
from ..split import Pair, Split, media_path
from .sounds import PLACES, place, under

__all__ = [
    "COMMENT",
    "RECIPE",
    "Look",
    "PairRecipe",
    "Portrait",
    "Recipe",
    "check",
    "make",
    "picture",
    "recipe_of",
    "say",
]

Frames = NDArray[np.uint8]
Points = NDArray[np.float32]

RECIPE = 1  # raise it, here and in split.toml, whenever the same recipe would give other media
COMMENT = "Synthetic: avbench demo. A public-domain portrait animated by rules, an espeak-ng voice; nobody said this."

RATE = 44_100  # samples a second
LEAD_S = 0.1  # before the first phoneme
SPOKEN_S = (3.8, 4.6)  # from first to last phoneme
LEVEL = 0.085  # root mean square of speech, full scale = 1
PEAK = 0.9  # nothing is louder, environment included
# Landmarks of a mirrored face: each takes the place of the one on the other side.
MIRRORED = (
    *range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31,
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62, 61, 60, 67, 66, 65,
)  # fmt: skip


class Portrait(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A picture inside an installed package, and where its face is."""

    distribution: str
    file: str  # relative to where distributions are installed
    sha256: str
    landmarks: tuple[tuple[float, float], ...]  # 68, iBUG order, pixels from the upper left corner


class Look(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a speaker's picture is made from a portrait."""

    centre: tuple[float, float]  # of the cut, pixels of the portrait
    side: float  # of the cut, pixels of the portrait
    mirror: bool = False
    slim: float = 1.0  # how much narrower the face becomes
    tilt: float = 0.0  # degrees, clockwise
    exposure: float = 1.0  # factor
    contrast: float = 1.0
    saturation: float = 1.0
    warmth: float = 0.0  # -1 blue … 1 orange
    light: tuple[float, float] = (0.0, 0.0)  # how much brighter at the right and at the lower edge than in the middle


class PairRecipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What pairs.jsonl does not say of a pair."""

    place: str  # under the target's speech
    snr_db: float
    reference: str  # the line of the reference audio
    reference_place: str


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """[recipe] of split.toml."""

    version: int
    portraits: dict[str, Portrait]  # by the `face` of speakers
    voices: dict[str, Voice]  # by the `voice` of speakers
    looks: dict[str, Look]  # by speaker
    pairs: dict[str, PairRecipe]


def recipe_of(split: Split) -> Recipe:
    """The recipe of a split; SplitError where it is not one that this version of the code makes."""
    where = f"{split.folder}/split.toml"
    version = split.head.recipe.get("version")
    if version != RECIPE:
        raise SplitError(
            f"{where}: [recipe] version {version!r}; this avbench makes version {RECIPE}. Use the split and the avbench of one release."
        )
    try:
        recipe = msgspec.convert(split.head.recipe, Recipe)
    except msgspec.ValidationError as error:
        raise SplitError(f"{where}: [recipe]: {error}.") from error
    return recipe


def check(split: Split) -> None:
    """SplitError where the recipe lacks something that a pair needs."""
    recipe = recipe_of(split)
    where = f"{split.folder}/split.toml"
    for name, portrait in recipe.portraits.items():
        if len(portrait.landmarks) != 68:
            raise SplitError(f"{where}: portrait {name!r} has {len(portrait.landmarks)} landmarks; expected 68.")
    for pair in split.pairs:
        speaker = split.speaker(pair.speaker)
        for kind, name, known in (
            ("pairs", pair.id, recipe.pairs),
            ("looks", pair.speaker, recipe.looks),
            ("portraits", speaker.face, recipe.portraits),
            ("voices", speaker.voice, recipe.voices),
        ):
            if name not in known:
                raise SplitError(
                    f"{where}: pair {pair.id!r} needs {name!r} in [recipe.{kind}], which has {', '.join(known)}."
                )
        for name in (recipe.pairs[pair.id].place, recipe.pairs[pair.id].reference_place):
            if name not in PLACES:
                raise SplitError(f"{where}: pair {pair.id!r} is in the place {name!r}; known are {', '.join(PLACES)}.")


def make(split: Split, pair: Pair, data: Path | None, media: Sequence[str]) -> None:
    """Makes these media of a pair; each appears whole."""
    recipe = recipe_of(split)
    own = recipe.pairs[pair.id]
    voice = recipe.voices[split.speaker(pair.speaker).voice]
    seconds = split.head.frames / FRAME_RATE
    if "voice" in media:
        spoken, span, _ = say(own.reference, voice, seconds)
        sound = _placed(spoken, span, own.reference_place, own.snr_db, f"{pair.id} reference")
        write_audio(media_path(split, pair, "voice", data), sound)
    if "face" in media or "target" in media:
        spoken, span, phonemes = say(pair.prompt.speech, voice, seconds)
        portrait = recipe.portraits[split.speaker(pair.speaker).face]
        size = (split.head.width, split.head.height)
        puppet = rig(*picture(portrait, recipe.looks[pair.speaker], size))
        mouth = mouth_track(phonemes, spoken, split.head.frames)
        video = animate(puppet, mouth, motion(puppet, split.head.frames, _seed(f"{pair.id} motion")))
        sound = _placed(spoken, span, own.place, own.snr_db, f"{pair.id} target")
        if "target" in media:
            write_clip(media_path(split, pair, "target", data), video, sound, COMMENT)
        if "face" in media:
            write_image(media_path(split, pair, "face", data), video[0])


# Sound ---------------------------------------------------------------------------------------------------------


def say(line: str, voice: Voice, seconds: float) -> tuple[Sound, tuple[int, int], tuple[Phoneme, ...]]:
    """A line in a clip of that length: its sound, the samples in which it is spoken, its phonemes at the clip's times."""
    import soxr

    speech: Speech = speak(line, voice, SPOKEN_S)
    samples = np.asarray(soxr.resample(speech.samples, speech.rate, RATE), np.float32)
    first, count = round(LEAD_S * RATE), round(seconds * RATE)
    if first + len(samples) > count:
        raise UsageError(
            f"{line!r} ends {LEAD_S + len(samples) / RATE:.2f} s into a clip of {seconds:g} s; shorten it."
        )
    whole = np.zeros(count, np.float32)
    level = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    whole[first : first + len(samples)] = samples * np.float32(min(LEVEL / level, 0.8 * PEAK / np.abs(samples).max()))
    phonemes = tuple(Phoneme(name, start + LEAD_S, end + LEAD_S) for name, start, end in speech.phonemes)
    return Sound(whole, RATE), (first, first + len(samples)), phonemes


def _placed(spoken: Sound, span: tuple[int, int], name: str, snr_db: float, use: str) -> Sound:
    around = place(name, len(spoken.samples) / spoken.rate, spoken.rate, _seed(f"{use} {name}"))
    mixed = under(spoken.samples, span, around, snr_db)
    return Sound(mixed * np.float32(min(1.0, PEAK / np.abs(mixed).max())), spoken.rate)


def _seed(use: str) -> int:
    return int.from_bytes(hashlib.sha256(use.encode()).digest()[:8])


# Picture -------------------------------------------------------------------------------------------------------


def picture(portrait: Portrait, look: Look, size: tuple[int, int]) -> tuple[Frames, Points]:
    """A speaker's picture (H, W, 3) of `size` (width, height) and its landmarks (68, 2)."""
    from PIL import Image, ImageFilter

    source = _portrait(portrait)
    width, height = size
    scale = look.side / height  # pixels of the portrait in one of the picture
    turn = np.deg2rad(look.tilt)
    across = np.array([np.cos(turn), -np.sin(turn)]) * scale * look.slim * (-1 if look.mirror else 1)
    down = np.array([np.sin(turn), np.cos(turn)]) * scale
    corner = np.array(look.centre) - across * width / 2 - down * height / 2
    for far in (corner, corner + across * width, corner + down * height, corner + across * width + down * height):
        if not ((far >= 0) & (far <= source.size)).all():
            raise SplitError(
                f"the look with centre {look.centre} and side {look.side:g} reaches beyond {portrait.file} "
                f"({source.width} x {source.height} pixels), at {far.round(1).tolist()}; move it or make it smaller."
            )
    coefficients = (across[0], down[0], corner[0], across[1], down[1], corner[1])
    image = source.transform(size, Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC)
    if scale < 1:  # enlarging softens
        image = image.filter(ImageFilter.UnsharpMask(radius=0.8 / scale, percent=70, threshold=2))
    points = np.linalg.solve(np.stack([across, down], axis=1), (np.array(portrait.landmarks) - corner).T).T - 0.5
    if look.mirror:
        points = points[list(MIRRORED)]
    return _graded(np.asarray(image), look), points.astype(np.float32)


def _graded(image: Frames, look: Look) -> Frames:
    height, width = image.shape[:2]
    colour = image.astype(np.float32) / 255
    colour = 0.5 + (colour * np.float32(look.exposure) - 0.5) * np.float32(look.contrast)
    grey = colour @ np.array([0.299, 0.587, 0.114], np.float32)
    colour = grey[..., None] + (colour - grey[..., None]) * np.float32(look.saturation)
    colour = colour * np.array([1 + 0.1 * look.warmth, 1 + 0.01 * look.warmth, 1 - 0.14 * look.warmth], np.float32)
    x, y = np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    colour = colour * (1 + np.float32(look.light[0]) * x + np.float32(look.light[1]) * y)[..., None]
    return np.rint(np.clip(colour, 0, 1) * 255).astype(np.uint8)


@functools.cache
def _portrait(portrait: Portrait) -> Any:
    """The portrait as an RGB image of Pillow."""
    from PIL import Image

    name = portrait.distribution
    try:
        path = Path(str(distribution(name).locate_file(portrait.file)))
        content = path.read_bytes()
    except (PackageNotFoundError, FileNotFoundError) as error:
        raise UsageError(
            f"the portrait {portrait.file} of {name} is absent; the demo is made from it: python -m pip install 'avbench[embedded]'."
        ) from error
    found = hashlib.sha256(content).hexdigest()
    if found != portrait.sha256:
        raise UsageError(
            f"{path}: sha256 {found[:16]}…; expected {portrait.sha256[:16]}…. Another version of {name} has another picture: "
            "python -m pip install 'avbench[embedded]' brings the one that the demo is made from."
        )
    return Image.open(path).convert("RGB")
