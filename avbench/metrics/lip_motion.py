"""How much does the mouth move? The spread over time of its inner opening.

    lip_motion_dlib = 100 · std( opening / face height )

Conventions. Opening is the mean of the three inner vertical distances (61-67, 62-66, 63-65), face height that from
the bridge of the nose to the chin (27-8), both of the same frame; the standard deviation is the population's, over
the frames whose landmarks can be believed. More is not better: speech has a typical amount, a shaking mouth more.
"""

from __future__ import annotations

import numpy as np

from ..extract import FACES_DLIB
from ..features import Faces
from ..metric import Card, Measured, Metric, Sample
from .landmarks import face_height, inner_opening
from .usable import require_movement

__all__ = ["LIP_MOTION_DLIB", "lip_motion"]


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
