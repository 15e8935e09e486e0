"""How loud the speech band is around each video frame.

    sound → mono, 16 kHz → 300 to 3400 Hz (Butterworth, order 4, forwards and backwards) → RMS over 40 ms at k/25 s

The band is that of the telephone: it keeps most of what a mouth does to a sound, and leaves out rumble and hiss.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..features import Feature, SpeechEnergy

if TYPE_CHECKING:
    from ..clip import Sound

__all__ = ["SPEECH_ENERGY", "energy_of", "frame_rms"]

SPEECH_ENERGY = Feature("speech_energy", "audio", SpeechEnergy)

RATE = 16_000  # Hz
BAND = (300.0, 3400.0)  # Hz
ORDER = 4
FRAME = RATE // 25  # samples from one video frame to the next, and length of the window


def energy_of(sound: Sound) -> SpeechEnergy:
    """RMS in the speech band around each video frame of a sound; one value at least."""
    import soxr
    from scipy.signal import butter, sosfiltfilt

    samples = np.asarray(soxr.resample(sound.samples, sound.rate, RATE), dtype=np.float64)
    padding = min(FRAME, max(0, len(samples) - 1))
    if padding:
        samples = sosfiltfilt(butter(ORDER, BAND, "bandpass", fs=RATE, output="sos"), samples, padlen=padding)
    return SpeechEnergy(rms=frame_rms(samples))


def frame_rms(samples: NDArray[np.float64]) -> NDArray[np.float32]:
    """(N,) samples at 16 kHz → (max(1, ceil(N / 640)),) RMS over the 640 samples around sample 640 k.

    Beyond the ends there is silence, which counts.
    """
    frames = max(1, math.ceil(len(samples) / FRAME))
    padded = np.zeros(frames * FRAME)
    end = min(len(samples), len(padded) - FRAME // 2)  # what the last window does not reach
    padded[FRAME // 2 : FRAME // 2 + end] = samples[:end]
    return np.asarray(np.sqrt(np.square(padded).reshape(frames, FRAME).mean(axis=1)), dtype=np.float32)
