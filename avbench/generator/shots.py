"""What a clip is made from: a face, a voice and a prompt, looked over before anything is loaded.

What is wrong with the request as a whole is raised; what is wrong with one pair is its failure, and the others are made.
Prompts hold three tags, as the model was adapted with.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..clip import FRAME_RATE, MAX_SECONDS, Sound, read_audio, read_image, read_video
from ..errors import MediaError, UsageError
from ..split import Prompt
from . import audio
from .recipe import Recipe

__all__ = ["LATENT_FRAMES", "LATENT_PIXELS", "Given", "Pixels", "Shot", "check", "prompt_text", "read"]

Pixels: TypeAlias = NDArray[np.uint8]

LATENT_FRAMES, LATENT_PIXELS = 8, 32  # of video to a latent
MIN_FACE_PIXELS = 32  # each way: less is no face
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
    source: Path | None = None  # the clip to be dubbed, where a recipe asks for one


class Given(NamedTuple):
    """Media of a shot, checked: RGB (H, W, 3), the voice and its mel, frames (T, H, W, 3) of a clip to be dubbed."""

    face: Pixels | None
    voice: Sound | None
    mel: Tensor | None
    source: Pixels | None


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
            raise UsageError(f"{shot.pair}: {shot.frames} frames; expected at most {MAX_SECONDS:g} s of them.")
        if min(shot.width, shot.height) < MIN_PIXELS or shot.width % step or shot.height % step:
            near = " x ".join(str(max(MIN_PIXELS, round(side / step) * step)) for side in (shot.width, shot.height))
            raise UsageError(
                f"{shot.pair}: {shot.width} x {shot.height} pixels; expected multiples of {step}, at least {MIN_PIXELS} "
                f"({recipe.name} has {recipe.stages} stage{'s' * (recipe.stages > 1)}), such as {near}."
            )
        if recipe.reference == "dub" and shot.source is None:
            raise UsageError(f"{shot.pair}: no clip to be dubbed; {recipe.name} needs one for every pair.")
    for name, seen in (("pair", [shot.pair for shot in shots]), ("path", [str(shot.path) for shot in shots])):
        if twice := [one for one, times in Counter(seen).items() if times > 1]:
            raise UsageError(f"{name} {twice[0]} stands for more than one of {len(seen)} clips; expected one each.")


def read(recipe: Recipe, shot: Shot) -> Given:
    """MediaError where a pair holds what no clip can be made of."""
    source = None
    face = None
    if recipe.reference == "dub" and shot.source is not None:
        source = read_video(shot.source)
        if len(source) < shot.frames:
            raise MediaError(f"{shot.source}: {len(source)} frames at 25 fps; expected {shot.frames} to be dubbed.")
        source = source[: shot.frames]
        face = source[0]
    elif recipe.first_frame:
        face = read_image(shot.face)
    if face is not None and min(face.shape[:2]) < MIN_FACE_PIXELS:
        height, width, _ = face.shape
        raise MediaError(
            f"{shot.face if source is None else shot.source}: a first frame of {width} x {height} pixels; expected at "
            f"least {MIN_FACE_PIXELS} each way."
        )
    if recipe.reference == "none":
        return Given(face, None, None, source)
    file = shot.voice if shot.source is None or source is None else shot.source
    voice = _voice(recipe, shot, read_audio(file))
    try:
        return Given(face, voice, audio.reference_mel(voice), source)
    except MediaError as error:
        raise MediaError(f"{file}: {error}") from error


def prompt_text(prompt: Prompt) -> str:
    """A prompt in the three tags that the model was adapted with."""
    sounds = " ".join(part.strip() for part in (prompt.manner, prompt.environment) if part.strip())
    return f"[VISUAL]: {prompt.visual.strip()}\n[SPEECH]: {prompt.speech.strip()}\n[SOUNDS]: {sounds}"


def _voice(recipe: Recipe, shot: Shot, sound: Sound) -> Sound:
    """As much of it as the recipe takes; of a clip to be dubbed, as long as the picture, with silence at its end."""
    samples = sound.samples
    if recipe.reference == "dub":
        whole = np.zeros(round(shot.frames / FRAME_RATE * sound.rate), np.float32)
        kept = samples[: len(whole)]
        whole[: len(kept)] = kept
        samples = whole
    elif recipe.reference_seconds is not None:
        samples = samples[: round(recipe.reference_seconds * sound.rate)]
    return Sound(samples, sound.rate)


def _nearest_frames(frames: int) -> int:
    return LATENT_FRAMES * max(1, round((frames - 1) / LATENT_FRAMES)) + 1
