"""What a mouth does while a line is spoken: four numbers per frame, from timed phonemes and loudness.

Each IPA letter has a target shape; shapes last as long as their sounds, are smoothed (neighbouring sounds share
a mouth), and open further where the sound is louder. Lips that must meet (p, b, m) meet whatever the neighbours
do, and lips rest together in pauses. Frame k shows the mouth at k / 25 s.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..clip import FRAME_RATE, Sound
from .voice import Phoneme

__all__ = ["Mouth", "mouth_track"]

Array = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Mouth:
    """The shape of a mouth in T frames."""

    opening: Array  # (T,) 0 closed … 1 as wide as an open vowel
    width: Array  # (T,) -1 rounded … 0 at rest … 1 spread
    bite: Array  # (T,) 0 … 1 the lower lip at the upper teeth
    tongue: Array  # (T,) 0 … 1 the tongue raised to the teeth


class _Shape(NamedTuple):
    opening: float
    width: float = 0.0
    bite: float = 0.0
    tongue: float = 0.0


REST = _Shape(0.0)
UNKNOWN = _Shape(0.3)  # a letter that is not in the table: half-open, as an indistinct vowel
LIPS_TOGETHER = "pbm"
SHAPES = {
    **dict.fromkeys("pbm", _Shape(0.0)),
    **dict.fromkeys("fv", _Shape(0.12, 0.1, bite=1.0)),
    **dict.fromkeys("θð", _Shape(0.26, 0.1, tongue=1.0)),
    **dict.fromkeys("tdnɾ", _Shape(0.2, 0.15, tongue=0.5)),
    **dict.fromkeys("lɫ", _Shape(0.3, 0.1, tongue=0.8)),
    **dict.fromkeys("sz", _Shape(0.12, 0.35)),
    **dict.fromkeys("ʃʒ", _Shape(0.2, -0.6)),
    **dict.fromkeys("rɹɻɚɝ", _Shape(0.28, -0.4)),
    **dict.fromkeys("kɡgŋxʔ", _Shape(0.28)),
    **dict.fromkeys("hɦ", _Shape(0.4)),
    "j": _Shape(0.2, 0.5),
    **dict.fromkeys("wʍ", _Shape(0.1, -1.0)),
    **dict.fromkeys("iɪᵻy", _Shape(0.3, 0.7)),
    **dict.fromkeys("eɛ", _Shape(0.6, 0.45)),
    **dict.fromkeys("æa", _Shape(0.95, 0.3)),
    **dict.fromkeys("ɑɐ", _Shape(1.0)),
    **dict.fromkeys("ʌɜ", _Shape(0.7)),
    "ə": _Shape(0.42),
    **dict.fromkeys("ɒɔ", _Shape(0.8, -0.4)),
    "o": _Shape(0.6, -0.75),
    **dict.fromkeys("uʊ", _Shape(0.28, -0.9)),
}
MARKS = "ˈˌː:̩̪̃ʲ͡ˑ"  # stress, length and other marks that have no shape of their own

STEP_S = 0.005  # the grid on which shapes are smoothed
SPREAD_S = 0.032  # standard deviation of the smoothing
CLOSING_S = 0.06  # how long lips take to part after p, b, m, and to meet before them
CLOSURE_S = 0.03  # espeak-ng dates a stop from its burst, which the closed lips precede
BURST_S = 0.012
PAUSE_S = 0.12  # a shorter pause does not bring the lips to rest
LEAD_S = 0.011  # mouths are this much ahead of the shapes' times: measured, so that the best lag is zero
QUIET_SHARE = 0.5  # of its opening that a mouth keeps where the sound is faintest
LOUDNESS_DB = 25.0  # from faintest to loudest


def mouth_track(phonemes: tuple[Phoneme, ...], speech: Sound, frames: int) -> Mouth:
    """The mouth during `frames` frames of a sound in which these phonemes are spoken; its time is the sound's."""
    grid = np.arange(-0.5, frames / FRAME_RATE + 0.5, STEP_S)
    targets = np.zeros((len(grid), 4))
    together = np.zeros(len(grid))
    for shape, letter, start, end in _letters(phonemes):
        targets[(grid >= start) & (grid < end)] = shape
        if letter and letter in LIPS_TOGETHER:
            first, last = start - CLOSURE_S, start + BURST_S if letter == "p" else end - BURST_S
            distance = np.maximum(np.maximum(first - grid, grid - max(first, last)), 0.0)
            together = np.maximum(together, 0.5 + 0.5 * np.cos(np.pi * np.minimum(distance / CLOSING_S, 1.0)))
    smooth = _smoothed(targets, SPREAD_S / STEP_S)
    loud = QUIET_SHARE + (1 - QUIET_SHARE) * _loudness(speech, grid)
    smooth[:, 0] *= loud * (1.0 - together)
    smooth[:, 2] *= 1.0 - together
    moments = np.arange(frames) / FRAME_RATE + LEAD_S
    opening, width, bite, tongue = (np.interp(moments, grid, column) for column in smooth.T)
    return Mouth(opening, width, bite, tongue)


def _letters(phonemes: tuple[Phoneme, ...]) -> list[tuple[_Shape, str, float, float]]:
    """Shape, letter, start and end of each letter; the letters of a phoneme (diphthongs, affricates) share its time."""
    spans: list[tuple[_Shape, str, float, float]] = []
    for number, phoneme in enumerate(phonemes):
        letters = [letter for letter in phoneme.name if letter not in MARKS]
        if not letters:
            short = phoneme.end - phoneme.start < PAUSE_S and 0 < number < len(phonemes) - 1
            spans.append((spans[-1][0] if short and spans else REST, "", phoneme.start, phoneme.end))
            continue
        edges = np.linspace(phoneme.start, phoneme.end, len(letters) + 1)
        for letter, start, end in zip(letters, edges[:-1], edges[1:], strict=True):
            spans.append((SHAPES.get(letter, UNKNOWN), letter, float(start), float(end)))
    return spans


def _smoothed(columns: Array, sigma: float) -> Array:
    from scipy.ndimage import gaussian_filter1d

    filtered: Array = gaussian_filter1d(columns, sigma, axis=0, mode="nearest")
    return filtered


def _loudness(speech: Sound, moments: Array) -> Array:
    """0 … 1: the level of the speech band, 300 to 3400 Hz, around each moment, from LOUDNESS_DB below loud speech up."""
    from scipy.signal import butter, sosfiltfilt

    high = min(3400.0, 0.45 * speech.rate)
    band = sosfiltfilt(butter(2, (300.0, high), "bandpass", fs=speech.rate, output="sos"), speech.samples)
    half = 0.02
    total = np.concatenate([[0.0], np.cumsum(band**2)])
    first = np.clip(((moments - half) * speech.rate).astype(int), 0, len(band))
    last = np.clip(((moments + half) * speech.rate).astype(int), 0, len(band))
    power = (total[last] - total[first]) / max(1.0, 2 * half * speech.rate)
    level = 10 * np.log10(power + 1e-12)
    loud = np.percentile(level[power > 0], 95) if (power > 0).any() else 0.0
    return _smoothed(np.clip((level - loud) / LOUDNESS_DB + 1, 0.0, 1.0), 0.02 / STEP_S)
