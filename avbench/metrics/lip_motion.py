"""How much does the mouth move? The spread over time of its inner opening.

    lip_motion, lip_motion_dlib = 100 · std( opening / face height )

Conventions. Opening is the mean of the three inner vertical distances (61-67, 62-66, 63-65), face height that from
the bridge of the nose to the chin (27-8), both of the same frame; the standard deviation is the population's, over
the frames whose landmarks can be believed. More is not better: speech has a typical amount, a shaking mouth more.

lip_motion has landmarks of every frame that shows a face; up to five frames without one are bridged in a straight
line, and longer gaps, like those before the first and after the last face, are left out. What the opening is divided
by is part of a scale: another norm is another protocol.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..extract import FACES_DLIB
from ..extract.faces_buffalo import FACES_BUFFALO, FACES_BUFFALO_AUTHORS
from ..features import Faces
from ..metric import Card, Measured, Metric, Sample, Unmeasurable
from .landmarks import distance, face_height, inner_opening
from .usable import MIN_FRAMES, require_movement

__all__ = [
    "LIP_MOTION",
    "LIP_MOTION_AUTHORS",
    "LIP_MOTION_DLIB",
    "MAX_GAP",
    "NORMS",
    "bridged",
    "interocular",
    "lip_motion",
    "mouth_motion",
    "mouth_width",
]

MAX_GAP = 5  # frames without a face that are bridged
MIN_COVERED = 0.5  # of all frames

Points = NDArray[np.float32]  # (T, 68, 2) pixels
Series = NDArray[np.float64]  # (T,)


def mouth_motion(faces: Faces, norm: str = "face_height") -> Measured:
    """Per cent of the norm, 0 and more; of a face that is there, or bridged, in at least half of the frames and 1 s."""
    count, found = len(faces.detected), int(faces.detected.sum())
    if not found:
        raise Unmeasurable(f"no face found in any of {count} frames")
    relative = 100 * inner_opening(faces.landmarks) / np.maximum(NORMS[norm](faces.landmarks), 1.0)
    opening, known = bridged(relative, faces.detected)
    covered = int(known.sum())
    if covered < max(MIN_FRAMES, MIN_COVERED * count):
        raise Unmeasurable(
            f"the face can be followed in {covered} of {count} frames; at least half of them, and {MIN_FRAMES} (1 s), "
            "are needed"
        )
    detail = {
        "frames": [covered, count],
        "found": [found, count],
        "norm": norm,
        "opening_mean": round(float(opening[known].mean()), 3),
        "opening_max": round(float(opening[known].max()), 3),
    }
    return Measured(float(opening[known].std()), detail)


def bridged(series: Series, known: NDArray[np.bool_]) -> tuple[Series, NDArray[np.bool_]]:
    """The series, linear across up to MAX_GAP unknown values between two known ones, and which values are now known."""
    places = np.flatnonzero(known)
    filled, now = series.copy(), known.copy()
    for first, last in zip(places[:-1].tolist(), places[1:].tolist(), strict=True):
        if 1 < last - first <= MAX_GAP + 1:
            filled[first : last + 1] = np.linspace(series[first], series[last], last - first + 1)
            now[first:last] = True
    return filled, now


def interocular(points: Points) -> Series:
    """(T,) between the outer corners of the eyes."""
    return distance(points, 36, 45)


def mouth_width(points: Points) -> Series:
    """(T,) between the inner corners of the mouth."""
    return distance(points, 60, 64)


NORMS: dict[str, Callable[[Points], Series]] = {
    "face_height": face_height,
    "interocular": interocular,
    "mouth_width": mouth_width,
}


def lip_motion(faces: Faces) -> Measured:
    """Per cent of the face's height, 0 and more."""
    frames = require_movement(faces)
    points = faces.landmarks[frames]
    opening = 100 * inner_opening(points) / np.maximum(face_height(points), 1.0)  # no face is one pixel high
    detail = {
        "frames": [int(frames.sum()), len(frames)],
        "found": [int(faces.detected.sum()), int(faces.sampled.sum())],
        "opening_mean": round(float(opening.mean()), 3),
        "opening_max": round(float(opening.max()), 3),
    }
    return Measured(float(opening.std()), detail)


def _of_clip(sample: Sample) -> Measured:
    return lip_motion(sample.clip[FACES_DLIB])


def _of_authors(sample: Sample) -> Measured:
    return mouth_motion(sample.clip[FACES_BUFFALO_AUTHORS])


def _of_community(sample: Sample) -> Measured:
    return mouth_motion(sample.clip[FACES_BUFFALO])


_UNRELEASED = (
    "everything: the authors released no code of it. The paper names no normaliser; of the usual ones only the height of "
    "the face brings real clips into its range of 0.95 to 3.07"
)
_CONFOUNDS = (
    "no direction: a method's value is to be held against that of `truth`, not maximised. The paper prints an upward "
    "arrow because all its methods move less than real speakers do",
    "laughing, chewing and jitter of the landmarks count like speech",
    "the paper's table 4 shows only the 30 % of clips with the highest face similarity",
    "not to be compared with lip_motion_dlib: other landmarks",
)
_SOURCE = "ID-LoRA, table 4; landmarks of insightface's buffalo_l (1k3d68)"
_RANGE = "0 and more; in the paper 0.95 to 3.07"
_QUESTION = "How much does the mouth move?"
_ARITHMETIC = (
    "68 landmarks on every frame; 100 times the standard deviation of the inner opening over the height of the face (27 "
    "to 8); up to 5 frames without a face bridged in a straight line, longer gaps left out."
)

LIP_MOTION_AUTHORS = Metric(
    profile="authors",
    name="lip_motion",
    label="Lip motion",
    unit="% of face height",
    direction="none",
    digits=2,
    tolerance=2e-2,
    protocol=1,
    needs={"clip": (FACES_BUFFALO_AUTHORS,)},
    measure=_of_authors,
    card=Card(
        question=_QUESTION,
        recipe=f"SCRFD at 320 pixels, score 0.3, the largest face of every frame; {_ARITHMETIC}",
        source=_SOURCE,
        range=_RANGE,
        confounds=_CONFOUNDS,
        assumed=_UNRELEASED,
    ),
)

LIP_MOTION = Metric(
    profile="community",
    name="lip_motion",
    label="Lip motion",
    unit="% of face height",
    direction="none",
    digits=2,
    tolerance=2e-2,
    protocol=1,
    needs={"clip": (FACES_BUFFALO,)},
    measure=_of_community,
    card=Card(
        question=_QUESTION,
        recipe=f"SCRFD at 640 pixels (320, 160), score 0.5, the largest face followed; {_ARITHMETIC}",
        source=_SOURCE,
        range=_RANGE,
        confounds=_CONFOUNDS,
        assumed="the height of the face as the normaliser: there is no usual one",
    ),
)


LIP_MOTION_DLIB = Metric(
    profile="embedded",
    name="lip_motion_dlib",
    label="Lip motion",
    unit="% of face height",
    direction="none",
    digits=2,
    tolerance=2e-2,
    protocol=1,
    needs={"clip": (FACES_DLIB,)},
    measure=_of_clip,
    card=Card(
        question="How much does the mouth move?",
        recipe="68 landmarks on every frame; 100 times the standard deviation of the inner opening over the height of "
        "the face (27 to 8).",
        source="ID-LoRA, table 4 (which uses another landmark network)",
        range="0 and more; real talking clips have a median of 2.5 to 2.8, a frozen face stays under 0.3",
        confounds=(
            "no direction: a method's value is to be held against that of `truth`, not maximised. The paper prints an "
            "upward arrow because all its methods move less than real speakers do",
            "laughing, chewing and jitter of the landmarks count like speech",
            "strong compression lowers it by about a tenth",
        ),
        assumed="the paper names no normaliser; of the usual ones only the height of the face brings real clips into its "
        "range of 0.95 to 3.07",
    ),
)
