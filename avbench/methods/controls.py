"""Controls: clips whose scores are known beforehand, because each breaks one thing and nothing else.

    truth      the real clip, byte for byte: a reference line
    still      its first frame frozen, the true sound: what a metric of identity cannot see
    replay     its moving face, the reference audio: the right voice, the wrong words and lips
    shifted    the real clip with its sound moved by k frames: lip sync alone is wrong
    damaged    the real clip with one kind of damage (damage.py), both streams encoded again
    stranger   another speaker's real clip: the level of a wrong face and voice

Streams that a control leaves alone are copied packet by packet, so that their scores are exactly the truth's.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .. import damage
from ..clip import read_audio, read_video, write_clip
from ..damage import Given, shift_sound
from ..errors import SplitError
from ..extract.words_sphinx import is_english

if TYPE_CHECKING:
    from . import Item

__all__ = ["damaged", "replay", "shifted", "still", "stranger", "truth"]


def truth(item: Item, path: Path) -> None:
    """The real clip."""
    shutil.copyfile(_given(item.truth, item), path)


def still(item: Item, path: Path) -> None:
    """The first frame of the real clip for its whole length, with its sound."""
    real = _given(item.truth, item)
    frames = read_video(real)
    height, width = (side - side % 2 for side in frames.shape[1:3])  # H.264 needs even sides
    write_clip(path, np.broadcast_to(frames[0, :height, :width], (len(frames), height, width, 3)), real)


def replay(item: Item, path: Path) -> None:
    """The real clip's picture with the reference audio as its sound."""
    write_clip(path, _given(item.truth, item), read_audio(item.voice))


def shifted(frames: int) -> Callable[[Item, Path], None]:
    """The real clip with its sound `frames` video frames later (earlier where negative); silence fills the gap."""

    def make(item: Item, path: Path) -> None:
        real = _given(item.truth, item)
        write_clip(path, real, shift_sound(read_audio(real), frames))

    return make


def damaged(kind: str, amount: float) -> Callable[[Item, Path], None]:
    """The real clip with that much damage of one kind; UsageError where there is no such kind or amount."""
    damage.check_amount(kind, amount)

    def make(item: Item, path: Path) -> None:
        text = item.transcript if is_english(item.language) else ""  # which is all that can be found in a sound
        given = Given(other=item.stranger, text=text, seed=item.seed)
        damage.damaged(_given(item.truth, item), path, [(kind, amount)], given)

    return make


def stranger(item: Item, path: Path) -> None:
    """The real clip of a speaker who differs in face and voice."""
    if item.stranger is None:
        raise SplitError(
            f"pair {item.pair}: the split has no speaker who differs from {item.speaker!r} in face and voice."
        )
    shutil.copyfile(item.stranger, path)


def _given(truth: Path | None, item: Item) -> Path:
    if truth is None:
        raise SplitError(f"pair {item.pair}: a control needs the target clip, and none was given.")
    return truth
