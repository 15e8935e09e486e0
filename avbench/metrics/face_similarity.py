"""Is it the same face? Cosine between the mean embeddings of two faces.

    face_sim_dlib = cos( mean of the clip's 5 embeddings, mean of the target's 5 )        _ref: of the given image

Conventions. Embeddings (dlib, 128 numbers, not normalised) are averaged as they are; the mean is over five frames
evenly spaced among those in which the face was found. The range is compressed: see the card.
"""

from __future__ import annotations

import numpy as np

from ..extract import FACES_DLIB
from ..features import Faces
from ..metric import Card, Measured, Metric, Sample, Source
from .usable import require_embeddings

__all__ = ["FACE_SIM_DLIB", "FACE_SIM_DLIB_REF", "face_similarity"]

_CONFOUNDS = (
    "dlib cosines are compressed: different people have a median of 0.84 and reach 0.92; recordings of one person have "
    "a median of 0.98 and seldom less than 0.93. Read differences, not the distance from 0",
    "a face that hardly moves stays closer to the given image: read it beside lip_motion_dlib",
    "the first frame of a generated clip may be a copy of the given image: `without_first` leaves it out",
    "pose, light, glasses and strong compression lower it",
)
_SOURCE = "King 2009 (dlib); the mean over five frames follows the ID-LoRA paper, which uses another network"


def face_similarity(clip: Faces, other: Faces, source: Source) -> Measured:
    """Cosine, -1 to 1, of the mean embeddings; `source` names the other side in reasons."""
    here, there = require_embeddings(clip, "clip"), require_embeddings(other, source)
    reference = there.mean(axis=0)
    frames = [_cosine(embedding, reference) for embedding in here]
    later = here[clip.embedded > 0]
    detail = {
        "found": [int(clip.detected.sum()), int(clip.sampled.sum())],
        f"{source}_found": [int(other.detected.sum()), int(other.sampled.sum())],
        "lowest": _rounded(min(frames)),
        "highest": _rounded(max(frames)),
    }
    if len(later):
        detail["without_first"] = _rounded(_cosine(later.mean(axis=0), reference))
    return Measured(_cosine(here.mean(axis=0), reference), detail)


def _against_target(sample: Sample) -> Measured:
    return face_similarity(sample.clip[FACES_DLIB], sample.target[FACES_DLIB], "target")


def _against_face(sample: Sample) -> Measured:
    return face_similarity(sample.clip[FACES_DLIB], sample.face[FACES_DLIB], "face")


def _cosine(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.clip(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)), -1, 1))


def _rounded(value: float) -> float:
    return round(value, 4)


FACE_SIM_DLIB = Metric(
    profile="embedded",
    name="face_sim_dlib",
    label="Face sim.",
    unit="cosine",
    direction="higher",
    digits=3,
    tolerance=2e-3,
    protocol=1,
    needs={"clip": (FACES_DLIB,), "target": (FACES_DLIB,)},
    measure=_against_target,
    card=Card(
        question="Is the person in the clip the person in the real clip?",
        recipe="HOG detector on every third frame, largest face followed, 68 landmarks, dlib's ResNet on 5 evenly "
        "spaced frames of each side; cosine between the two means.",
        source=_SOURCE,
        range="cosine; in practice 0.75 (another person) to 1.0 (the same frames)",
        confounds=_CONFOUNDS,
    ),
)

FACE_SIM_DLIB_REF = Metric(
    profile="embedded",
    name="face_sim_dlib_ref",
    label="Face sim. (ref.)",
    unit="cosine",
    direction="higher",
    digits=3,
    tolerance=2e-3,
    protocol=1,
    needs={"clip": (FACES_DLIB,), "face": (FACES_DLIB,)},
    measure=_against_face,
    card=Card(
        question="Is the person in the clip the person in the given image?",
        recipe="As face_sim_dlib, but against the one embedding of the given image.",
        source=_SOURCE,
        range="cosine; in practice 0.75 (another person) to 1.0 (the image itself)",
        confounds=_CONFOUNDS,
    ),
)
