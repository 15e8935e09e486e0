"""What a clip is made from: a face, a voice and a prompt, looked over before anything is loaded.

    request → `check` → refused as a whole, or taken
    files of a pair → `read` → pixels, voice and its mel; or the pair's failure, and the others are made

Taken as it is meant. A picture is upright (EXIF), RGB, on white where it is transparent. Sound of any rate and any number
of channels is mixed to one (stereo to its mean, surround by the place of its channels), brought to 16 kHz by `audio`;
what is less than that has no upper band, and the record says so.

A clip to be dubbed. Where a recipe wants one and the pair has none, it is a still: the first frame for the length of the
clip, with the voice as its sound.

Prompts hold three tags, as the model was adapted with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..clip import FRAME_RATE, Sound, read_audio, read_image, read_video
from ..errors import MediaError, UsageError
from ..split import Prompt
from . import audio
from .recipe import Recipe

__all__ = ["LATENT_FRAMES", "LATENT_PIXELS", "Given", "Pixels", "Shot", "check", "prompt_text", "read"]

Pixels: TypeAlias = NDArray[np.uint8]

LATENT_FRAMES, LATENT_PIXELS = 8, 32  # of video to a latent
MIN_FACE_PIXELS = 32  # each way: less is no face
MAX_ASPECT = 8  # of a first frame, longer side to shorter: of more, most would be cut off
MAX_SECONDS = 20  # what positions in time are scaled by: the networks know none beyond
MIN_PIXELS = 64  # each way: the decoder mirrors latents at their edges, and of a single one there is no mirror image


class Shot(NamedTuple):
    """One clip to be made: what it is made from, and where it goes. `frames` are at 25 fps."""

    pair: str
    prompt: Prompt
    voice: Path
    face: Path
    seed: int
    frames: int
    width: int  # pixels
    height: int
    path: Path
    source: Path | None = None  # the clip to be dubbed, where a recipe asks for one; None: a still of face and voice


class Given(NamedTuple):
    """Media of a shot, checked: RGB (H, W, 3), the voice and its mel, frames (T, H, W, 3) of a clip to be dubbed.

    `reference` says for the record what the voice was, and what is dubbed; empty without a reference.
    """

    face: Pixels | None
    voice: Sound | None
    mel: Tensor | None
    source: Pixels | None
    reference: dict[str, Any]


def check(recipe: Recipe, shots: Sequence[Shot]) -> None:
    """UsageError for a request that cannot be met whatever the pairs hold: lengths, sizes, two clips at one place."""
    step = LATENT_PIXELS * recipe.stages
    for shot in shots:
        if shot.frames < 1 + LATENT_FRAMES or shot.frames % LATENT_FRAMES != 1:
            raise UsageError(
                f"{shot.pair}: {shot.frames} frames; expected 8 k + 1 of them, such as {_nearest_frames(shot.frames)}: "
                "a latent holds eight, the first one."
            )
        if shot.frames > MAX_SECONDS * FRAME_RATE:
            raise UsageError(
                f"{shot.pair}: {shot.frames} frames; expected at most {MAX_SECONDS} s of them: positions go no further."
            )
        if min(shot.width, shot.height) < MIN_PIXELS or shot.width % step or shot.height % step:
            near = " x ".join(str(max(MIN_PIXELS, round(side / step) * step)) for side in (shot.width, shot.height))
            raise UsageError(
                f"{shot.pair}: {shot.width} x {shot.height} pixels; expected multiples of {step}, at least {MIN_PIXELS} "
                f"({recipe.name} has {recipe.stages} stage{'s' * (recipe.stages > 1)}), such as {near}."
            )
    for name, seen in (("pair", [shot.pair for shot in shots]), ("path", [str(shot.path) for shot in shots])):
        if twice := [one for one, times in Counter(seen).items() if times > 1]:
            raise UsageError(f"{name} {twice[0]} stands for more than one of {len(seen)} clips; expected one each.")


def read(recipe: Recipe, shot: Shot) -> Given:
    """MediaError where a pair holds what no clip can be made of."""
    source = None
    face = None
    if recipe.reference == "dub" and shot.source is not None:
        source = _dubbed(shot, shot.source)
        face = source[0]
    elif recipe.first_frame:
        face = _picture(read_image(shot.face), shot.face)
    if recipe.reference == "none":
        return Given(face, None, None, source, {})
    file = shot.voice if shot.source is None or source is None else shot.source
    sound = read_audio(file, surround=True)
    try:
        voice = _voice(recipe, shot, sound)
        mel = audio.reference_mel(voice)
    except MediaError as error:
        raise MediaError(f"{file}: {error}") from error
    return Given(face, voice, mel, source, _record(recipe, sound, voice, source))


def prompt_text(prompt: Prompt) -> str:
    """A prompt in the three tags that the model was adapted with."""
    sounds = " ".join(part.strip() for part in (prompt.manner, prompt.environment) if part.strip())
    return f"[VISUAL]: {prompt.visual.strip()}\n[SPEECH]: {prompt.speech.strip()}\n[SOUNDS]: {sounds}"


# Pictures --------------------------------------------------------------------------------------------------------


def _dubbed(shot: Shot, file: Path) -> Pixels:
    """As many frames of a clip as are to be dubbed."""
    frames = read_video(file)
    if len(frames) < shot.frames:
        raise MediaError(f"{file}: {len(frames)} frames at 25 fps; expected {shot.frames} to be dubbed.")
    return np.stack([_picture(frame, file) for frame in frames[: shot.frames]])


def _picture(pixels: Pixels, file: Path) -> Pixels:
    """The same (H, W, 3); MediaError where it is no picture of a face."""
    height, width, _ = pixels.shape
    if min(height, width) < MIN_FACE_PIXELS:
        raise MediaError(
            f"{file}: a first frame of {width} x {height} pixels; expected at least {MIN_FACE_PIXELS} each way."
        )
    if max(height, width) > MAX_ASPECT * min(height, width):
        raise MediaError(
            f"{file}: a first frame of {width} x {height} pixels; expected sides of at most {MAX_ASPECT} to 1: crop it "
            "about the face."
        )
    return pixels


# Sound -----------------------------------------------------------------------------------------------------------


def _voice(recipe: Recipe, shot: Shot, sound: Sound) -> Sound:
    """As much of it as the recipe takes; of a clip to be dubbed, as long as the picture, with silence at its end."""
    samples = sound.samples
    if recipe.reference == "dub":
        whole = np.zeros(round(shot.frames / FRAME_RATE * sound.rate), np.float32)
        kept = samples[: len(whole)]
        audio.check_reference(Sound(kept, sound.rate))  # silence makes nothing long enough
        whole[: len(kept)] = kept
        samples = whole
    elif recipe.reference_seconds is not None:
        samples = samples[: round(recipe.reference_seconds * sound.rate)]
    return Sound(samples, sound.rate)


def _record(recipe: Recipe, heard: Sound, voice: Sound, source: Pixels | None) -> dict[str, Any]:
    """What the reference was and how much of it was taken, as JSON has it."""
    taken = min(len(heard.samples), len(voice.samples))
    said: dict[str, Any] = {"seconds": taken / voice.rate, "rate": voice.rate}
    if voice.rate < audio.RATE:
        said["band_limited_hz"] = voice.rate / 2
    if recipe.reference == "dub":
        said["dubbed"] = "a clip" if source is not None else "a still: the first frame held, with the voice"
    return said


def _nearest_frames(frames: int) -> int:
    return LATENT_FRAMES * max(1, round((frames - 1) / LATENT_FRAMES)) + 1
