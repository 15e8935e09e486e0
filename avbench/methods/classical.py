"""The classical cascade: a speech synthesiser for the line, a warp of the first frame for the picture.

    voice.wav → timbre ┐
    line → espeak-ng, its voice chosen, tuned and filtered → sound ┐
                                        phonemes with times → mouth ┴→ first frame, warped → mp4

What a cascade cannot know it leaves out: the prompt's environment and manner are ignored, nobody else is in the picture
and nothing behind the face moves. With `voice=plain` the line has espeak-ng's own voice, with `mouth=frozen` the first
frame stands still, so that a fault of the voice and one of the lips can be told apart. The sound does not depend on the
picture, nor the other way round except through the times of the phonemes.

A first frame of another shape than the clip is cut to it around its middle. A line that does not fit into the clip at
the synthesiser's fastest, a reference without a voice and a first frame without a face are the pair's failures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..clip import FRAME_RATE, Sound, read_audio, read_image, write_clip
from ..errors import MediaError
from ..extract import FACES_DLIB, ready
from ..puppet import Matched, Phoneme, Timbre, animate, match, motion, mouth_track, plain, rig, timbre_of

if TYPE_CHECKING:
    from . import Item

__all__ = ["COMMENT", "Mouth", "Voice", "cascade"]

Frames = NDArray[np.uint8]
Voice = Literal["matched", "plain"]
Mouth = Literal["moving", "frozen"]

COMMENT = "Synthetic: avbench classical cascade. A picture animated by rules, an espeak-ng voice; nobody said this."
RATE = 44_100  # samples a second
LEAD_S, TAIL_S = 0.1, 0.06  # of silence before the first phoneme and after the last
LEVEL = 0.085  # root mean square of speech, full scale = 1
PEAK = 0.9


def cascade(voice: Voice, mouth: Mouth) -> Callable[[Item, Path], dict[str, Any]]:
    """The cascade with a voice matched to the reference or plain, and with a moving or a frozen mouth."""

    def make(item: Item, path: Path) -> dict[str, Any]:
        spoken, provenance = _spoken(item, voice)
        sound, phonemes = _placed(spoken, item.frames)
        picture = _fitted(read_image(item.face), item.width - item.width % 2, item.height - item.height % 2)
        if mouth == "moving":
            video = _animated(item, picture, sound, phonemes)
        else:
            video = np.broadcast_to(picture, (item.frames, *picture.shape))
        write_clip(path, video, sound, COMMENT)
        return provenance

    return make


# Sound ------------------------------------------------------------------------------------------------------------


def _spoken(item: Item, voice: Voice) -> tuple[Matched, dict[str, Any]]:
    """The line, and how it came about."""
    seconds = item.frames / FRAME_RATE - LEAD_S - TAIL_S
    reference = timbre_of(read_audio(item.voice))
    if voice == "plain":
        made = plain(item.prompt.speech, item.language, seconds)
    elif reference is None:
        raise MediaError(
            f"{item.voice}: no voiced speech; expected some seconds of the voice that pair {item.pair} is to have. "
            "Give it another reference, or take classical@voice=plain."
        )
    else:
        made = match(item.prompt.speech, item.language, seconds, reference)
    return made, {
        "voice": made.voice.name,
        "pitch": made.voice.pitch,
        "inflection": made.voice.inflection,
        "formants": made.warp,
        "words_per_minute": made.speech.words_per_minute,
        "hertz": _rounded(made.timbre, "hertz"),
        "semitones": _rounded(made.timbre, "semitones"),
        "reference_hertz": _rounded(reference, "hertz"),
        "reference_semitones": _rounded(reference, "semitones"),
    }


def _rounded(timbre: Timbre | None, what: Literal["hertz", "semitones"]) -> float | None:
    return None if timbre is None else round(float(getattr(timbre, what)), 2)


def _placed(made: Matched, frames: int) -> tuple[Sound, tuple[Phoneme, ...]]:
    """The line in a clip of that many frames, and its phonemes at the clip's times."""
    import soxr

    samples = np.asarray(soxr.resample(made.speech.samples, made.speech.rate, RATE), np.float32)
    first = round(LEAD_S * RATE)
    whole = np.zeros(round(frames / FRAME_RATE * RATE), np.float32)
    samples = samples[: len(whole) - first]
    level = max(float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))), 1e-9)
    gain = min(LEVEL / level, PEAK / max(float(np.abs(samples).max()), 1e-9))
    whole[first : first + len(samples)] = samples * np.float32(gain)
    phonemes = tuple(Phoneme(name, start + LEAD_S, end + LEAD_S) for name, start, end in made.speech.phonemes)
    return Sound(whole, RATE), phonemes


# Picture ----------------------------------------------------------------------------------------------------------


def _fitted(picture: Frames, width: int, height: int) -> Frames:
    """The middle of a picture, as large as the clip's shape allows, at the clip's size."""
    from PIL import Image

    rows, columns = picture.shape[:2]
    if (columns, rows) == (width, height):
        return picture
    scale = min(columns / width, rows / height)
    left, top = (columns - scale * width) / 2, (rows - scale * height) / 2
    box = (left, top, left + scale * width, top + scale * height)
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.LANCZOS, box=box))


def _animated(item: Item, picture: Frames, sound: Sound, phonemes: tuple[Phoneme, ...]) -> Frames:
    """(T, H, W, 3): the picture speaking."""
    from ..extract.faces_dlib import faces_of

    ready([FACES_DLIB.name])
    faces = faces_of(picture[None])
    if not faces.detected.any():
        raise MediaError(
            f"{item.face}: no face is found in it; expected the first frame of pair {item.pair}, with a face that looks "
            "into the camera. Give it another, or take classical@mouth=frozen."
        )
    puppet = rig(picture, faces.landmarks[0])
    seed = int.from_bytes(hashlib.sha256(f"{item.seed} motion".encode()).digest()[:8])
    return animate(puppet, mouth_track(phonemes, sound, item.frames), motion(puppet, item.frames, seed))
