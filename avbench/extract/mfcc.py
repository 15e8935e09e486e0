"""Mel-frequency cepstra as SyncNet was trained on: those of python_speech_features with its defaults.

    y[n] = x[n] - 0.97 x[n-1] → 25 ms every 10 ms, rectangular → power spectrum → 26 triangles on the mel scale → ln
    → orthonormal DCT-II, 13 kept → lifter of 22; coefficient 0 is the log energy of the frame

Conventions. Samples are whole 16-bit values, not ±1; a sound of N samples has 1 + ceil((N - 400) / 160) frames, and
zeros fill the last one. A band or frame without energy counts as the smallest step of a double, 2^-52.
"""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

__all__ = ["COEFFICIENTS", "HOP", "RATE", "mfcc"]

RATE = 16_000  # Hz
FRAME, HOP = 400, 160  # samples
FFT, BANDS = 512, 26
COEFFICIENTS = 13
PRE_EMPHASIS, LIFTER = 0.97, 22
NOTHING = float(np.finfo(np.float64).eps)

Numbers = NDArray[np.float64]


def mfcc(samples: NDArray[np.int16]) -> Numbers:
    """(N,) samples at 16 kHz → (frames, 13); none for no samples."""
    if not len(samples):
        return np.zeros((0, COEFFICIENTS))
    signal = samples.astype(np.float64)
    signal[1:] -= PRE_EMPHASIS * signal[:-1]
    count = 1 + max(0, -(-(len(signal) - FRAME) // HOP))
    signal = np.pad(signal, (0, max(0, (count - 1) * HOP + FRAME - len(signal))))
    frames = np.lib.stride_tricks.sliding_window_view(signal, FRAME)[::HOP]
    power = np.abs(np.fft.rfft(frames, FFT)) ** 2 / FFT
    energy, bands = power.sum(axis=1), power @ _triangles().T
    cepstra = np.log(np.where(bands == 0, NOTHING, bands)) @ _cosines().T
    cepstra *= 1 + LIFTER / 2 * np.sin(np.pi * np.arange(COEFFICIENTS) / LIFTER)
    cepstra[:, 0] = np.log(np.where(energy == 0, NOTHING, energy))
    return np.asarray(cepstra)


@functools.cache
def _triangles() -> Numbers:
    """(26, 257) weights of the bands, from 0 Hz to 8 kHz; corners on whole bins."""
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    hertz = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    corners = np.floor((FFT + 1) * hertz / RATE)
    bins = np.arange(FFT // 2 + 1)
    low, centre, high = (corners[side : side + BANDS, None] for side in range(3))
    rising = np.where((low <= bins) & (bins < centre), (bins - low) / (centre - low), 0)
    falling = np.where((centre <= bins) & (bins < high), (high - bins) / (high - centre), 0)
    return np.asarray(rising + falling)


@functools.cache
def _cosines() -> Numbers:
    """(13, 26) the first rows of the orthonormal DCT-II."""
    row, column = np.arange(COEFFICIENTS)[:, None], np.arange(BANDS)
    rows = np.sqrt(2 / BANDS) * np.cos(np.pi * row * (2 * column + 1) / (2 * BANDS))
    rows[0] /= np.sqrt(2)
    return np.asarray(rows)
