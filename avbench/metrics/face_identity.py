"""Is it the same face, by the paper's networks? Cosine between the mean ArcFace embeddings of two faces.

    face_sim          = cos( mean of the clip's embeddings, mean of the target's )
    face_sim_no_first   the same without the frames of the first half second, on both sides
    face_sim_ref      = cos( mean of the clip's embeddings, embedding of the given image )

Conventions. authors: the embeddings of five fixed frames, averaged as they leave the network; one frame that shows a
face is enough. community: unit embeddings of up to 25 evenly spaced frames of the face that is followed, averaged;
the face is there in at least half of all frames. The first frame of a generated clip is as good as the given image,
hence the scale without it: the frames 0 to 12 at 25 fps are left out.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..extract.faces_buffalo import FACES_BUFFALO, FACES_BUFFALO_AUTHORS, authors_frames
from ..features import Faces, Feature
from ..metric import Card, Measured, Metric, Sample, Source, Unmeasurable
from .usable import require_embeddings

__all__ = [
    "FACE_SIM",
    "FACE_SIM_AUTHORS",
    "FACE_SIM_NO_FIRST",
    "FACE_SIM_NO_FIRST_AUTHORS",
    "FACE_SIM_REF",
    "FACE_SIM_REF_AUTHORS",
    "FIRST_FRAMES",
    "face_identity",
    "require_any",
]

FIRST_FRAMES = 13  # those that begin before 0.5 s at 25 fps

Embeddings = NDArray[np.float64]  # (K, D), K > 0
Require = Callable[[Faces, Source], Embeddings]


def face_identity(
    clip: Faces, other: Faces, source: Source, require: Require = require_embeddings, no_first: bool = False
) -> Measured:
    """Cosine, -1 to 1, of the mean embeddings; `source` names the other side, `require` what must be seen of a face."""
    here, there = require(clip, "clip"), require(other, source)
    if no_first:
        here, there = _later(clip, here, "clip"), _later(other, there, source)
    reference = there.mean(axis=0)
    frames = [_cosine(embedding, reference) for embedding in here]
    detail = {
        "found": [int(clip.detected.sum()), int(clip.sampled.sum())],
        f"{source}_found": [int(other.detected.sum()), int(other.sampled.sum())],
        "frames": [len(here), len(there)],
        "lowest": round(min(frames), 4),
        "highest": round(max(frames), 4),
    }
    return Measured(_cosine(here.mean(axis=0), reference), detail)


def require_any(faces: Faces, source: Source) -> Embeddings:
    """(K, D), K > 0: the embeddings of a face that is there in at least one of the authors' five frames."""
    if not len(faces.embeddings):
        frames = authors_frames(len(faces.sampled))
        raise Unmeasurable(f"no face found in any of the frames {', '.join(map(str, frames))}", source)
    return faces.embeddings.astype(np.float64)


def _later(faces: Faces, embeddings: Embeddings, source: Source) -> Embeddings:
    later = embeddings[faces.embedded >= FIRST_FRAMES]
    if not len(later):
        raise Unmeasurable(
            f"the face was looked at in {len(embeddings)} frames, all of them before frame {FIRST_FRAMES} (0.5 s)",
            source,
        )
    return later


def _cosine(one: Embeddings, other: Embeddings) -> float:
    """0 where one of them has no direction."""
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.clip(one @ other / lengths, -1, 1)) if lengths > 0 else 0.0


# Scales ----------------------------------------------------------------------------------------------------------

_AUTHORS = (
    "SCRFD at 320 pixels, score 0.3; the largest face of frames 0, 1/4, 1/2, 3/4 and 1 of the clip; five points onto "
    "the 112-pixel template; ArcFace; raw embeddings averaged; cosine. A frame without a face is left out."
)
_COMMUNITY = (
    "SCRFD on every frame at 640 pixels, where it finds nothing at 320, then at 160 inside a black border, score 0.5; "
    "the largest face followed; five points onto the 112-pixel template; ArcFace on up to 25 evenly spaced frames; unit "
    "embeddings averaged; cosine."
)
_SOURCE = "insightface's buffalo_l: Deng et al. 2019 (ArcFace, ResNet-50, WebFace600K), Guo et al. 2021 (SCRFD)"
_DECODED = (
    "frames are those of the clip decoded in full and shown at 25 fps; the released code asks the container to seek, "
    "which may land beside the frame"
)
_CONFOUNDS = (
    "the first frame of a generated clip is as good as the given image, which is the target's first frame: read "
    "face_sim_no_first beside it",
    "a face that hardly moves scores higher: read it beside lip_motion",
    "two pictures of one person are commonly taken to lie above 0.3 or 0.4; what differs above that is pose, expression "
    "and copied frames more than identity",
    "pose, light, glasses and strong compression lower it",
    "not to be compared with face_sim_dlib, or across profiles: other networks, other frames",
)
_RANGE = "cosine, -1 to 1; in the paper 0.75 to 0.90 for means over clips"


def _metric(profile: str, name: str, label: str, other: Source, card: Card) -> Metric:
    """One scale against the `other` side."""
    authors, no_first = profile == "authors", name == "face_sim_no_first"
    feature = FACES_BUFFALO_AUTHORS if authors else FACES_BUFFALO
    return Metric(
        profile=profile,
        name=name,
        label=label,
        unit="cosine",
        direction="higher",
        digits=3,
        tolerance=2e-3,
        protocol=1,
        needs={"clip": (feature,), other: (feature,)},
        measure=functools.partial(_measure, feature, other, require_any if authors else require_embeddings, no_first),
        card=card,
    )


def _measure(feature: Feature[Faces], other: Source, require: Require, no_first: bool, sample: Sample) -> Measured:
    side = sample.face if other == "face" else sample.target
    return face_identity(sample.clip[feature], side[feature], other, require, no_first)


def _card(question: str, recipe: str, assumed: str = "") -> Card:
    return Card(question=question, recipe=recipe, source=_SOURCE, range=_RANGE, confounds=_CONFOUNDS, assumed=assumed)


_TARGET = "Is the person in the clip the person in the real clip?"
_LATER = "Is it still the same person when the opening, which was given, is left out?"
_GIVEN = "Is the person in the clip the person in the given image?"
_NO_FIRST = " Without the frames before 0.5 s, on both sides."
_REF = " The other side is the given image, one frame."
_NOT_RELEASED = "not in the released code: the authors' recipe on "

FACE_SIM_AUTHORS = _metric("authors", "face_sim", "Face sim.", "target", _card(_TARGET, _AUTHORS, _DECODED))
FACE_SIM_NO_FIRST_AUTHORS = _metric(
    "authors",
    "face_sim_no_first",
    "Face sim. (no first)",
    "target",
    _card(_LATER, _AUTHORS + _NO_FIRST, f"{_NOT_RELEASED}the frames that remain; {_DECODED}"),
)
FACE_SIM_REF_AUTHORS = _metric(
    "authors",
    "face_sim_ref",
    "Face sim. (ref.)",
    "face",
    _card(_GIVEN, _AUTHORS + _REF, f"{_NOT_RELEASED}the given image; {_DECODED}"),
)

FACE_SIM = _metric("community", "face_sim", "Face sim.", "target", _card(_TARGET, _COMMUNITY))
FACE_SIM_NO_FIRST = _metric(
    "community", "face_sim_no_first", "Face sim. (no first)", "target", _card(_LATER, _COMMUNITY + _NO_FIRST)
)
FACE_SIM_REF = _metric("community", "face_sim_ref", "Face sim. (ref.)", "face", _card(_GIVEN, _COMMUNITY + _REF))
