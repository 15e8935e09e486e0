"""Does the mouth move with the sound? Correlation of mouth movement and speech energy, and where it is largest.

    mouth   inner and outer opening, lower lip and chin from the nose, each over the distance of the eyes;
            0.7 to 6 Hz; each to unit variance; summed; differentiated
    sound   RMS of 300 to 3400 Hz in 40 ms around each frame; logarithm, floor at 0.1 of its 95th percentile;
            0.7 to 6 Hz; differentiated
    r(lag)  their correlation at lags of -15 to 15 frames, divided by the whole length and not by the overlap
    av_corr = w · max of r(-1), r(0), r(1)        av_offset = the lag of the largest r, negative = audio late

Conventions. Dividing by the whole length keeps a few frames of overlap at a large lag from winning by chance. A
correlation knows no sizes: the jitter of landmarks on a frozen face, or the ripple of a steady hiss, would be scaled up
to look like movement or speech. The weight w = V / (V + J²) · E / (E + H²) compares the variance V of the mouth's
distances with that of such jitter, and E of the log loudness with that of such ripple. It is above 0.9 for people who
talk; for a still frame the score goes to 0, which is the answer and not a failure to measure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..extract import FACES_DLIB, SPEECH_ENERGY
from ..features import Faces, SpeechEnergy
from ..metric import Card, Measured, Metric, Sample, Unmeasurable
from .landmarks import chin_drop, eye_distance, inner_opening, lip_drop, outer_opening
from .usable import MIN_FRAMES, require_movement, require_sound

__all__ = ["AV_CORR", "MAX_LAG", "av_correlation", "energy_change", "lagged_correlation", "mouth_change"]

Series = NDArray[np.float64]

FRAME_RATE = 25
MAX_LAG = 15  # frames
NEAR = 1  # frames by which sound and picture may differ unnoticed
BAND = (0.7, 6.0)  # Hz: syllables
EYE_SMOOTHING = 5.0  # frames: the eyes' distance changes with the head, not with speech
ENERGY_FLOOR = 0.1  # of the 95th percentile
# As a share of the eyes' distance. Real frozen faces, compressed: 0.0009 (median) to 0.0028 (largest of 31); the same
# swayed as a whole: 0.005 (median); real speech: 0.021 (least of 31) to 0.08.
JITTER = 0.004
# In nepers. White noise, rain and an engine: 0.05 to 0.1; real speech: 0.46 (least of 36) and more.
RIPPLE = 0.1


def av_correlation(faces: Faces, energy: SpeechEnergy) -> Measured:
    """-1 to 1; the detail has `av_offset` in frames, but not where mouth or sound are as good as constant."""
    frames, rms = require_movement(faces), require_sound(energy)
    count = min(len(frames), len(rms))
    if count < MIN_FRAMES:
        raise Unmeasurable(f"{count} frames of picture and sound together; at least {MIN_FRAMES} (1 s) are needed")
    together = int(frames[:count].sum())
    if together < MIN_FRAMES:
        raise Unmeasurable(
            f"the face can be followed in {together} of the {count} frames that have sound; "
            f"at least {MIN_FRAMES} (1 s) are needed"
        )
    mouth, movement = mouth_change(faces.landmarks[:count], frames[:count])
    sound, modulation = energy_change(rms[:count])
    weight = movement**2 / (movement**2 + JITTER**2) * modulation**2 / (modulation**2 + RIPPLE**2)
    by_lag = lagged_correlation(mouth, sound, MAX_LAG)
    near = by_lag[MAX_LAG - NEAR : MAX_LAG + NEAR + 1]
    best = int(np.argmax(by_lag))
    detail: dict[str, Any] = {
        "mouth_movement": round(100 * movement, 3),
        "sound_modulation": round(modulation, 3),
        "frames": [int(frames[:count].sum()), count],
        "found": [int(faces.detected.sum()), int(faces.sampled.sum())],
    }
    if movement > JITTER and modulation > RIPPLE:
        detail |= {"av_offset": best - MAX_LAG, "at_offset": round(weight * float(by_lag[best]), 4)}
    return Measured(weight * float(near.max()), detail)


def mouth_change(points: NDArray[np.float32], believed: NDArray[np.bool_]) -> tuple[Series, float]:
    """(T, 68, 2) landmarks → (T - 1,) change of the mouth from frame to frame, and the size of its movement.

    The size is the root mean square of the four distances between 0.7 and 6 Hz, as a share of the eyes' distance.
    Frames that are not believed are bridged in a straight line, which adds no movement.
    """
    from scipy.ndimage import gaussian_filter1d

    places = np.arange(len(points))
    eyes = np.interp(places, places[believed], eye_distance(points)[believed])
    scale = np.maximum(gaussian_filter1d(eyes, EYE_SMOOTHING, mode="nearest"), 1.0)
    series = []
    for measure in (inner_opening, outer_opening, lip_drop, chin_drop):
        known = measure(points)[believed] / scale[believed]
        series.append(_syllables(np.interp(places, places[believed], known)))
    spreads = [float(one.std()) for one in series]
    total = np.sum(
        [one / spread for one, spread in zip(series, spreads, strict=True) if spread > 0] or [series[0]], axis=0
    )
    return np.diff(total), float(np.sqrt(np.mean(np.square(spreads))))


def energy_change(rms: Series) -> tuple[Series, float]:
    """(T,) loudness → (T - 1,) change of its logarithm between 0.7 and 6 Hz from frame to frame, and its size in nepers."""
    floor = ENERGY_FLOOR * float(np.percentile(rms, 95))
    series = _syllables(np.log(np.maximum(rms, max(floor, 1e-9))))
    return np.diff(series), float(series.std())


def lagged_correlation(mouth: Series, sound: Series, max_lag: int) -> Series:
    """(2 · max_lag + 1,) correlation at lags -max_lag to max_lag: entry 0 pairs a mouth with a sound that comes later.

    0 throughout where one of them does not change.
    """
    one, other = mouth - mouth.mean(), sound - sound.mean()
    size = float(np.sqrt(np.sum(one**2) * np.sum(other**2)))
    if size == 0:
        return np.zeros(2 * max_lag + 1)
    count = len(one)
    padded = np.pad(other, max_lag)
    return (
        np.array([one @ padded[max_lag - lag : max_lag - lag + count] for lag in range(-max_lag, max_lag + 1)]) / size
    )


def _syllables(series: Series) -> Series:
    """What changes at 0.7 to 6 Hz (Butterworth, order 2, forwards and backwards)."""
    from scipy.signal import butter, sosfiltfilt

    filtered = sosfiltfilt(butter(2, BAND, "bandpass", fs=FRAME_RATE, output="sos"), series, padlen=MIN_FRAMES - 1)
    return np.asarray(filtered)


def _of_clip(sample: Sample) -> Measured:
    return av_correlation(sample.clip[FACES_DLIB], sample.clip[SPEECH_ENERGY])


AV_CORR = Metric(
    profile="embedded",
    name="av_corr",
    label="AV corr.",
    unit="correlation",
    direction="higher",
    digits=3,
    tolerance=2e-2,
    protocol=1,
    needs={"clip": (FACES_DLIB, SPEECH_ENERGY)},
    measure=_of_clip,
    card=Card(
        question="Does the mouth move with the sound, and at the same time?",
        recipe="Change of four mouth distances (68 landmarks) against change of the log energy of 300 to 3400 Hz, both "
        "0.7 to 6 Hz; largest correlation within one frame of no lag, times the shares of movement and loudness that are not "
        "jitter or hiss. Detail: av_offset, the lag within 15 frames at which it is largest; negative = "
        "audio late.",
        source="designed and checked for this profile on real talking clips; no learnt network",
        range="-1 to 1; real clips in sync 0.35 to 0.73 (median 0.53), with the sound of another clip -0.3 to 0.5 (median "
        "0.1), a frozen face within 0.05 of 0",
        confounds=(
            "music, crowds and a second speaker in the sound lower it; so does a hand before the mouth",
            "a clip of a few seconds has few syllables: compare methods over many clips, never single clips",
            "a mouth that opens with loudness alone scores high, whatever it articulates",
            "sound shifted by two frames or more counts as out of sync: `at_offset` is what it would have been in sync",
        ),
    ),
)
