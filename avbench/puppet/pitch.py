"""How high a voice speaks, moment by moment: the fundamental frequency, or that there is none.

    sound → 8 kHz → spectra every 10 ms → flattened by the sound's own long-term spectrum → autocorrelation
    → its highest peaks at each moment → the cheapest path through them → the same within the speaker's own range

After Boersma (1993), "Accurate short-term analysis of the fundamental frequency": the autocorrelation of a windowed
stretch is divided by the window's own, so that a periodic stretch has peaks near 1 at its period and the multiples of
it; a path that pays for leaps keeps to one octave. Flattening is added here, because the rumble of a street is nearly
periodic, and nothing of it is left to be so when it has been made white.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..clip import Sound

__all__ = ["HIGHEST_HZ", "LOWEST_HZ", "STEP_S", "pitch_track"]

Array = NDArray[np.float64]

LOWEST_HZ, HIGHEST_HZ = 60.0, 500.0
STEP_S = 0.01

RATE = 8000  # Hz
WINDOW_S = 0.05  # three periods of the lowest voice
BAND_HZ = (80.0, 1600.0)  # where harmonics are strong and noise is weak; mains hum lies below
FLATTENED_HZ = (
    150.0  # standard deviation of the smoothing that makes the long-term spectrum: no single harmonic is left
)
CANDIDATES = 6  # peaks a moment
VOICING = 0.45  # the height of a peak that a voice has at least
OCTAVE_COST = 0.02  # for an octave lower: multiples of the period are peaks as high as the period's own
LEAP_COST = 0.35  # for an octave from one moment to the next
ONSET_COST = 0.14  # for the beginning or the end of a voice
QUIET_DB = 25.0  # below loud speech; what is softer is no voice
SILENT_DB = -80.0  # relative to full scale; what is softer is no sound
OWN_RANGE = (0.6, 1.8)  # of a speaker: times the lower and the upper quartile


def pitch_track(sound: Sound) -> Array:
    """(T,) Hz around the moments 0, 10 ms, 20 ms, … of a sound; 0 where there is no voice."""
    import soxr

    samples = np.asarray(soxr.resample(sound.samples, sound.rate, RATE), np.float64)
    half = round(WINDOW_S * RATE / 2)
    if len(samples) < 2 * half:
        return np.zeros(len(samples) // round(STEP_S * RATE) + 1)
    blocks = np.lib.stride_tricks.sliding_window_view(np.pad(samples, half), 2 * half)[:: round(STEP_S * RATE)]
    blocks = blocks - blocks.mean(axis=1, keepdims=True)
    correlation, power = _autocorrelation(blocks)
    level = 10 * np.log10(np.maximum(power, 1e-20))
    heard = 10 * np.log10(np.square(blocks).mean(axis=1) + 1e-20) > SILENT_DB
    loud = heard & (level > np.percentile(level, 95) - QUIET_DB)
    track = _track(correlation, loud, (LOWEST_HZ, HIGHEST_HZ))
    if not track.any():
        return track
    low, high = np.percentile(track[track > 0], [25, 75])
    return _track(correlation, loud, (max(LOWEST_HZ, OWN_RANGE[0] * low), min(HIGHEST_HZ, OWN_RANGE[1] * high)))


def _track(correlation: Array, loud: NDArray[np.bool_], bounds: tuple[float, float]) -> Array:
    """(T,) Hz within the bounds, 0 without a voice, of correlations (T, L) at moments that are loud or not."""
    lags, heights = _peaks(correlation, bounds)
    hertz = RATE / lags
    strengths = np.where(heights > 0, heights - OCTAVE_COST * np.log2(HIGHEST_HZ / hertz), -1.0)
    return _path(hertz, strengths, np.where(loud, VOICING, 2.0))


def _autocorrelation(blocks: Array) -> tuple[Array, Array]:
    """(T, L) of blocks (T, N), at lags from 0, 1 where they repeat themselves; (T,) their power, flattened."""
    count = blocks.shape[1]
    size = 2 ** int(np.ceil(np.log2(1.5 * count)))
    window = np.hanning(count + 2)[1:-1]
    power = np.abs(np.fft.rfft(blocks * window, size)) ** 2
    weight = _flattening(power.mean(axis=0), size)
    longest = round(RATE / LOWEST_HZ) + 2
    own = np.fft.irfft(np.abs(np.fft.rfft(window, size)) ** 2)[:longest]
    correlation = np.fft.irfft(power * weight)[:, :longest]
    zero = np.maximum(correlation[:, :1], 1e-20)
    return correlation / zero / (own / own[0]), zero[:, 0]


def _flattening(power: Array, size: int) -> Array:
    """What each frequency's power is multiplied by: one over the long-term spectrum, nothing outside the band."""
    from scipy.ndimage import gaussian_filter1d

    hertz = np.arange(len(power)) * RATE / size
    smooth = gaussian_filter1d(power, FLATTENED_HZ * size / RATE, mode="nearest")
    edge = 30.0
    inside = np.clip((hertz - BAND_HZ[0]) / edge + 1, 0, 1) * np.clip((BAND_HZ[1] - hertz) / (4 * edge) + 1, 0, 1)
    weight: Array = inside / np.maximum(smooth, 1e-6 * smooth.max() + 1e-20)
    return weight


def _peaks(correlation: Array, bounds: tuple[float, float]) -> tuple[Array, Array]:
    """The CANDIDATES highest peaks of each row: lags and heights (T, CANDIDATES) between samples; height 0 where fewer."""
    shortest, longest = int(RATE / bounds[1]), min(int(RATE / bounds[0]) + 1, correlation.shape[1] - 2)
    before, here, after = (correlation[:, shortest + step : longest + step + 1] for step in (-1, 0, 1))
    is_peak = (here > before) & (here >= after) & (here > 0.1)
    bend = np.where(is_peak, before - 2 * here + after, -1.0)
    offset = np.where(is_peak, 0.5 * (before - after) / bend, 0.0)
    height = np.where(is_peak, here - 0.25 * (before - after) * offset, 0.0)
    best = np.argsort(-height, axis=1, kind="stable")[:, :CANDIDATES]
    lags = shortest + best + np.take_along_axis(offset, best, axis=1)
    return lags, np.minimum(np.take_along_axis(height, best, axis=1), 1.0)


def _path(hertz: Array, strengths: Array, silence: Array) -> Array:
    """(T,) of the path with the largest sum of strengths less costs; candidate 0 is that there is no voice."""
    count = len(hertz)
    octave = np.log2(np.concatenate([np.ones((count, 1)), hertz], axis=1))
    gains = np.concatenate([silence[:, None], strengths], axis=1)
    voiced = np.arange(octave.shape[1]) > 0
    switches = voiced[:, None] != voiced
    both = voiced[:, None] & voiced
    total = gains[0]
    came = np.zeros(octave.shape, np.intp)
    for moment in range(1, count):
        leap = np.abs(octave[moment - 1][:, None] - octave[moment])
        reached = total[:, None] - np.where(both, LEAP_COST * leap, ONSET_COST * switches)
        came[moment] = reached.argmax(axis=0)
        total = reached.max(axis=0) + gains[moment]
    track = np.zeros(count)
    place = int(total.argmax())
    for moment in range(count - 1, -1, -1):
        track[moment] = hertz[moment, place - 1] if place else 0.0
        place = int(came[moment, place])
    return track
