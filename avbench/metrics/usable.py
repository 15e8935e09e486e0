"""What a feature must hold before a metric may be computed from it; else `Unmeasurable` says what was found."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..extract.voice_ge2e import MIN_SPEECH_SECONDS
from ..features import Faces, SpeechEnergy, Voice
from ..metric import Source, Unmeasurable

__all__ = [
    "MIN_FRAMES",
    "require_embeddings",
    "require_movement",
    "require_peak",
    "require_sound",
    "require_voice",
    "seen",
]

MIN_FOUND = 0.5  # of the sampled frames; by chance, faces are found in a few hundredths of frames without any
MIN_FRAMES = 25  # one second
SILENT_RMS = 3e-4  # -70 dBFS in the speech band, in the loudest 40 ms
BRIDGED_FRAMES = 6  # from one detection to the next across which landmarks are still believed: one was missed


def require_embeddings(faces: Faces, source: Source) -> NDArray[np.float64]:
    """(K, D), K > 0: the embeddings of a face that is there in at least half of the sampled frames."""
    _require_found(faces, source)
    return faces.embeddings.astype(np.float64)


def require_movement(faces: Faces) -> NDArray[np.bool_]:
    """(T,) the frames of the clip whose landmarks can be believed; there are at least 25, and all frames if possible."""
    _require_found(faces, "clip")
    frames = seen(faces)
    if frames.sum() < MIN_FRAMES:
        raise Unmeasurable(
            f"the face can be followed in {int(frames.sum())} of {len(frames)} frames; "
            f"at least {MIN_FRAMES} (1 s) are needed"
        )
    return frames


def require_voice(voice: Voice, source: Source) -> NDArray[np.float64]:
    """(D,) the embedding of a voice that speaks for half a second or more."""
    if voice.speech_seconds < MIN_SPEECH_SECONDS:
        raise Unmeasurable(
            f"{voice.speech_seconds:.2f} s of speech (peak of the sound {_dbfs(voice.peak)}); "
            f"at least {MIN_SPEECH_SECONDS} s are needed",
            source,
        )
    return voice.embedding.astype(np.float64)


def require_sound(energy: SpeechEnergy) -> NDArray[np.float64]:
    """(T,) the loudness of a clip that is not silent in the speech band."""
    loudest = float(energy.rms.max(initial=0.0))
    if loudest < SILENT_RMS:
        raise Unmeasurable(
            f"silence: at most {_dbfs(loudest)} between 300 and 3400 Hz; at least {_dbfs(SILENT_RMS)} are needed"
        )
    return energy.rms.astype(np.float64)


def require_peak(peak: float, least: float, source: Source = "clip") -> None:
    """Unmeasurable where a sound's largest absolute sample is less than what counts as sound."""
    if peak < least:
        level = f"{20 * np.log10(peak):.0f} dBFS" if peak > 0 else "digital silence"
        raise Unmeasurable(
            f"silence: the sound's peak is {level}; at least {20 * np.log10(least):.0f} dBFS is needed", source
        )


def seen(faces: Faces) -> NDArray[np.bool_]:
    """(T,) whether a frame lies on or between detections that are near each other, or at an end close to one."""
    found = np.flatnonzero(faces.detected)
    result = np.zeros(len(faces.detected), dtype=bool)
    result[found] = True
    reach = BRIDGED_FRAMES // 2 - 1  # before the first and after the last detection, where the next sample is not due
    for first, last in zip(found[:-1].tolist(), found[1:].tolist(), strict=True):
        if last - first <= BRIDGED_FRAMES:
            result[first:last] = True
    if len(found):
        result[max(0, int(found[0]) - reach) : int(found[0])] = True
        result[int(found[-1]) : int(found[-1]) + reach + 1] = True
    return result


def _require_found(faces: Faces, source: Source) -> None:
    found, sampled = int(faces.detected.sum()), int(faces.sampled.sum())
    if found == 0:
        raise Unmeasurable(f"no face found in any of {sampled} sampled frames", source)
    if found < MIN_FOUND * sampled:
        raise Unmeasurable(f"face found in {found} of {sampled} sampled frames; at least half are needed", source)


def _dbfs(amplitude: float) -> str:
    return f"{20 * np.log10(amplitude):.0f} dBFS" if amplitude > 0 else "0, digital silence"
