"""Do the lips move with the sound? SyncNet's distance at the best shift, and how much better that is than the others.

    d(v, j) = ‖ lips(v) - sound(v + j - 15) + 10⁻⁶ ‖, j = 0 … 30; beyond the ends of a track sound(·) = 0
    M(j) = mean of d over the windows v         lse_d = min M         lse_c = median M - lse_d
    offset = 15 - argmin M, frames; positive: the sound is early         lse_sum = lse_d + lse_c = median M

Conventions. m frames have both picture and sound, m - 5 windows. Every track is scored; D, C and their sum are those
of one and the same track, that of the highest C, the longest where they tie. Static video is near every sound: it has a
low D with a C near 0, and a low sum, which is why all three belong together.

Chung and Zisserman 2016; D and C as in the evaluation of Wav2Lip (Prajwal et al. 2020).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..extract.lips_compat import SYNC_COMPAT
from ..extract.lips_syncnet import LIPS_SYNCNET, LIPS_SYNCNET_EVERY8, SOUND_SYNCNET, SPARED
from ..features import Feature, LipTracks, SoundWindows, SyncTracks
from ..metric import Card, Measured, Metric, Sample, Unmeasurable
from .usable import require_peak

__all__ = [
    "LSE_C",
    "LSE_C_AUTHORS",
    "LSE_C_EVERY8",
    "LSE_D",
    "LSE_D_AUTHORS",
    "LSE_D_EVERY8",
    "LSE_SUM",
    "LSE_SUM_AUTHORS",
    "LSE_SUM_EVERY8",
    "SHIFT",
    "Sync",
    "as_published",
    "best_track",
    "distances",
    "recoded_syncs",
    "strided",
    "sync_of",
    "track_syncs",
]

SHIFT = 15  # frames to either side
EPSILON = 1e-6
MIN_WINDOWS = 25  # one second: under the span of shifts most of a mean would be padding
SILENT_PEAK = 1e-3  # -60 dBFS

Numbers = NDArray[np.floating]


class Sync(NamedTuple):
    """How well one track fits its sound."""

    distance: float  # D
    confidence: float  # C
    offset: int  # frames; positive: the sound is early
    windows: int
    first: int  # frame of the clip
    last: int  # the frame after the last


# The arithmetic --------------------------------------------------------------------------------------------------


def distances(lips: Numbers, sounds: Numbers, shift: int = SHIFT) -> NDArray[np.float64]:
    """(W, D) lips and (W, D) sounds of the same windows → (W, 2 · shift + 1) distances; column `shift` is no shift."""
    if lips.shape != sounds.shape:
        raise ValueError(f"lips {lips.shape} and sounds {sounds.shape} must be of the same windows")
    seen, heard = lips.astype(np.float64), np.pad(sounds.astype(np.float64), ((shift, shift), (0, 0)))
    count = len(seen)
    columns = [np.linalg.norm(seen - heard[j : j + count] + EPSILON, axis=1) for j in range(2 * shift + 1)]
    return np.stack(columns, axis=1)


def sync_of(lips: Numbers, sounds: Numbers, shift: int = SHIFT) -> tuple[float, float, int]:
    """D, C and offset of the same W > 0 windows of lips and sounds."""
    by_shift = distances(lips, sounds, shift).mean(axis=0)
    best = int(by_shift.argmin())
    return float(by_shift[best]), float(np.median(by_shift) - by_shift[best]), shift - best


def best_track(syncs: Sequence[Sync]) -> Sync:
    """The track of the highest C; of equals the longest, then the first."""
    return max(syncs, key=lambda sync: (sync.confidence, sync.windows))


def track_syncs(tracks: LipTracks, sound: SoundWindows) -> list[Sync]:
    """Every track that has at least a second of sound, in memory: each against its own stretch of the sound."""
    syncs = []
    ends = np.maximum(tracks.ends - tracks.starts - SPARED + 1, 0).cumsum()
    for first, last, end in zip(tracks.starts.tolist(), tracks.ends.tolist(), ends.tolist(), strict=True):
        begin = end - max(0, last - first - SPARED + 1)
        windows = min(last - first - SPARED, len(sound.embeddings) - first)
        if windows >= MIN_WINDOWS:
            lips = tracks.lips[begin : begin + windows]
            syncs.append(Sync(*sync_of(lips, sound.embeddings[first : first + windows]), windows, first, last))
    return syncs


def recoded_syncs(tracks: SyncTracks) -> list[Sync]:
    """Every track that has a window, cut and coded anew as the published pipeline does."""
    syncs = []
    ends = tracks.windows.cumsum()
    for (first, last), windows, end in zip(tracks.tracks.tolist(), tracks.windows.tolist(), ends.tolist(), strict=True):
        if windows > 0:
            part = slice(end - windows, end)
            syncs.append(Sync(*sync_of(tracks.lips[part], tracks.sounds[part]), windows, first, last))
    return syncs


# The scales ------------------------------------------------------------------------------------------------------


def _measured(syncs: Sequence[Sync], value: Callable[[Sync], float], seen: dict[str, Any]) -> Measured:
    best = best_track(syncs)
    detail = {
        "offset": best.offset,
        "frames": [best.first, best.last],
        "windows": best.windows,
        "lse_d": round(best.distance, 4),
        "lse_c": round(best.confidence, 4),
        "tracks": [
            {
                "frames": [sync.first, sync.last],
                "lse_d": round(sync.distance, 4),
                "lse_c": round(sync.confidence, 4),
                "offset": sync.offset,
            }
            for sync in syncs
        ],
        **seen,
    }
    return Measured(value(best), detail)


def _direct(feature: Feature[LipTracks], value: Callable[[Sync], float]) -> Callable[[Sample], Measured]:
    def measure(sample: Sample) -> Measured:
        tracks, sound = sample.clip[feature], sample.clip[SOUND_SYNCNET]
        _require_track(len(tracks.starts), tracks.faces_seen, tracks.frames)
        require_peak(sound.peak, SILENT_PEAK)
        syncs = track_syncs(tracks, sound)
        if not syncs:
            raise Unmeasurable(
                f"{len(tracks.starts)} faces followed, {sound.samples / 16_000:.2f} s of sound; none of them has "
                f"{MIN_WINDOWS + SPARED} frames ({(MIN_WINDOWS + SPARED) / 25:.1f} s) with sound"
            )
        return _measured(syncs, value, {"faces_seen": tracks.faces_seen, "followed": tracks.detected.tolist()})

    return measure


def _recoded(feature: Feature[SyncTracks], value: Callable[[Sync], float]) -> Callable[[Sample], Measured]:
    def measure(sample: Sample) -> Measured:
        tracks = sample.clip[feature]
        _require_track(len(tracks.tracks), tracks.faces_seen, tracks.frames)
        require_peak(tracks.peak, SILENT_PEAK)
        syncs = recoded_syncs(tracks)
        if not syncs:
            raise Unmeasurable(f"{len(tracks.tracks)} faces followed; none of them has {SPARED + 1} frames with sound")
        return _measured(syncs, value, {"faces_seen": tracks.faces_seen, "followed": tracks.detected.tolist()})

    return measure


def _require_track(count: int, faces_seen: int, frames: int) -> None:
    if not faces_seen:
        raise Unmeasurable(f"no face found in {frames} frames")
    if not count:
        raise Unmeasurable(
            f"no face can be followed long enough or is large enough: {faces_seen} detections in {frames} frames"
        )


_DIRECT = (
    "S3FD on every frame (shorter side 256), faces followed by overlap for more than 50 frames and over 100 pixels, "
    "224 x 224 crops and sound in memory without recoding, SyncNet, 31 shifts, windows m - 5, at least 25 of them; the "
    "track of the highest C."
)
_SOURCE = "Chung and Zisserman 2016 (SyncNet); D and C as in Wav2Lip's evaluation; steps checked against syncnet_python"
_CONFOUNDS = (
    "static or nearly static video lowers D without any synchrony: read D, C and D + C together",
    "music, noise and other speakers in the sound lower C; so do hands and microphones before the mouth",
    "a clip of a few seconds has few windows, and shifts beyond a track's ends are compared with silence",
    "pipelines disagree (track length, recoding, which track): never compare with numbers of another pipeline",
    "trained on speech of British television at 25 fps: other languages, drawings and songs score lower",
)
_NEEDS: dict[Any, tuple[Feature[Any], ...]] = {"clip": (LIPS_SYNCNET, SOUND_SYNCNET)}


def _distance(sync: Sync) -> float:
    return sync.distance


def _confidence(sync: Sync) -> float:
    return sync.confidence


def _sum(sync: Sync) -> float:
    return sync.distance + sync.confidence


_VALUES: dict[str, Callable[[Sync], float]] = {"lse_d": _distance, "lse_c": _confidence, "lse_sum": _sum}

LSE_D = Metric(
    profile="community",
    name="lse_d",
    label="LSE-D",
    unit="distance",
    direction="lower",
    digits=2,
    tolerance=2e-2,
    protocol=1,
    needs=_NEEDS,
    measure=_direct(LIPS_SYNCNET, _distance),
    card=Card(
        question="How far are lips and sound from each other, at the shift that suits them best?",
        recipe=_DIRECT,
        source=_SOURCE,
        range="0 upwards; published systems 7.9 to 12.4, real talking clips 6 to 8.5",
        confounds=_CONFOUNDS,
    ),
)

LSE_C = Metric(
    profile="community",
    name="lse_c",
    label="LSE-C",
    unit="distance",
    direction="higher",
    digits=2,
    tolerance=2e-2,
    protocol=1,
    needs=_NEEDS,
    measure=_direct(LIPS_SYNCNET, _confidence),
    card=Card(
        question="How much nearer are lips and sound at their best shift than at a middling one?",
        recipe=_DIRECT,
        source=_SOURCE,
        range="0 upwards; published systems 1.2 to 4.4, real talking clips 6 to 8.5",
        confounds=_CONFOUNDS,
    ),
)

LSE_SUM = Metric(
    profile="community",
    name="lse_sum",
    label="LSE-D + C",
    unit="distance",
    direction="none",
    digits=2,
    tolerance=2e-2,
    protocol=1,
    needs=_NEEDS,
    measure=_direct(LIPS_SYNCNET, _sum),
    card=Card(
        question="How far are lips and sound from each other at a middling shift: do the lips move at all?",
        recipe=f"{_DIRECT} The median over shifts, which is D + C.",
        source=_SOURCE,
        range="0 upwards; most published systems 11.5 to 14; about 10 where low D comes from still lips",
        confounds=_CONFOUNDS,
    ),
)


def strided(metric: Metric) -> Metric:
    """The same scale from boxes of every eighth frame: faster, of another revision."""
    return dataclasses.replace(
        metric,
        needs={"clip": (LIPS_SYNCNET_EVERY8, SOUND_SYNCNET)},
        measure=_direct(LIPS_SYNCNET_EVERY8, _VALUES[metric.name]),
        card=dataclasses.replace(
            metric.card, recipe=metric.card.recipe.replace("on every frame", "on every eighth frame, lines between")
        ),
    )


def as_published(metric: Metric, feature: Feature[SyncTracks]) -> Metric:
    """The same scale through the published pipeline's own transcodes, for the profile `authors`."""
    recipe = (
        "As syncnet_python's pipeline: 25 fps MPEG-4 and MP3 in AVI, JPEG frames, S3FD at a quarter, shots, tracks of more "
        "than 100 frames and over 100 pixels, XVID crops, SyncNet, 31 shifts, windows m - 5; the track of the highest C."
    )
    return dataclasses.replace(
        metric,
        profile="authors",
        needs={"clip": (feature,)},
        measure=_recoded(feature, _VALUES[metric.name]),
        card=dataclasses.replace(
            metric.card,
            recipe=recipe,
            confounds=(
                *metric.card.confounds,
                "the pipeline's transcodes move the sound by about 0.4 of a frame against the picture",
                "clips with a face in 100 frames or fewer are lost",
                "a clip whose sound has its peak below -60 dBFS is unmeasurable; the pipeline scores it",
            ),
            assumed="the paper names SyncNet and Wav2Lip and no pipeline; syncnet_python's is taken",
        ),
    )


LSE_D_AUTHORS, LSE_C_AUTHORS = as_published(LSE_D, SYNC_COMPAT), as_published(LSE_C, SYNC_COMPAT)
LSE_SUM_AUTHORS = as_published(LSE_SUM, SYNC_COMPAT)

LSE_D_EVERY8, LSE_C_EVERY8, LSE_SUM_EVERY8 = strided(LSE_D), strided(LSE_C), strided(LSE_SUM)
