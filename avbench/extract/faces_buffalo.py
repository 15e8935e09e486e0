"""The face of a clip by the networks of insightface's buffalo_l: where it is, 68 landmarks, and who it is.

    community   every frame, detector at 640 pixels, score 0.5 → one face followed → 68 points on every frame
                → embeddings of up to 25 of its frames, each of length 1
    authors     every frame, detector at 320 pixels, score 0.3 → the largest face of each frame → 68 points on every
                frame → embeddings of five fixed frames, as they leave the network

Conventions. The size that the detector is shown is always given: the project's own default has changed between its
versions. Where nothing is found at 640, the frame is tried at 320, and then at 160 pixels in the middle of a black
square of 320: faces that fill the frame are missed at a large size, and a face is easier to see with something around
it. The authors chose 320 and 0.3 for that. Their five frames of T are floor(i · (T - 1) / 4): 0, 30, 60, 90 and 120 of
121; a frame without a face counts for nothing, and a frame that comes twice (fewer than five frames) counts once.
Where a frame has no face, its box is interpolated, and still before the first and after the last; landmarks are
found in it all the same, and `detected` says which to believe. An image is a clip of one frame.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import weights
from ..features import Faces, Feature
from .engine import CPU, Engine
from .faces_dlib import Box, evenly, largest_track

if TYPE_CHECKING:
    from .nets.arcface import Embedder
    from .nets.landmarks68 import Landmarker
    from .nets.scrfd import Detections, Detector

__all__ = [
    "FACES_BUFFALO",
    "FACES_BUFFALO_AUTHORS",
    "Face",
    "Networks",
    "authors_faces",
    "authors_frames",
    "community_faces",
    "faces_of",
    "faces_of_authors",
    "fill_boxes",
]

FACES_BUFFALO = Feature("faces_buffalo", "video", Faces)
FACES_BUFFALO_AUTHORS = Feature("faces_buffalo_authors", "video", Faces)

SQUARES = ((640, 640), (320, 320), (320, 160))  # pixels of the square, and of the frame's longer side on it
THRESHOLD = 0.5
EMBEDDED = 25  # frames
AUTHORS_SQUARE = (320, 320)
AUTHORS_THRESHOLD = 0.3
AUTHORS_FRAMES = 5


class Networks(NamedTuple):
    """What looks at frames; see `nets` for what each takes and gives."""

    detect: Detector
    embed: Embedder
    find_landmarks: Landmarker


class Face(NamedTuple):
    """One detection."""

    box: Box
    points: NDArray[np.float32]  # (5, 2) pixels


def faces_of(frames: NDArray[np.uint8], engine: Engine = CPU) -> Faces:
    """The face in (T, H, W, 3) RGB frames, T > 0, as the community's recipe finds it."""
    return community_faces(frames, _networks(engine))


def faces_of_authors(frames: NDArray[np.uint8], engine: Engine = CPU) -> Faces:
    """The face in (T, H, W, 3) RGB frames, T > 0, as the authors' recipe finds it."""
    return authors_faces(frames, _networks(engine))


def community_faces(frames: NDArray[np.uint8], networks: Networks) -> Faces:
    """The face with the largest total area, followed; unit embeddings of 25 evenly spaced of the frames that show it."""
    from .nets.scrfd import Canvas

    found: list[list[Face]] = []
    for frame in frames:
        for square in SQUARES:
            faces = _listed(networks.detect(frame, Canvas(*square), THRESHOLD))
            if faces:
                break
        found.append(faces)
    track = largest_track([(index, [face.box for face in faces]) for index, faces in enumerate(found)])
    chosen = {index: next(face for face in found[index] if face.box == box) for index, box in sorted(track.items())}
    record = _record(frames, chosen, evenly(list(chosen), EMBEDDED), networks)
    lengths = np.linalg.norm(record.embeddings.astype(np.float64), axis=1, keepdims=True)
    return dataclasses.replace(record, embeddings=(record.embeddings / np.maximum(lengths, 1e-12)).astype(np.float32))


def authors_faces(frames: NDArray[np.uint8], networks: Networks) -> Faces:
    """The largest face of each frame; raw embeddings of the five frames, of those that show one."""
    from .nets.scrfd import Canvas

    chosen: dict[int, Face] = {}
    for index, frame in enumerate(frames):
        faces = _listed(networks.detect(frame, Canvas(*AUTHORS_SQUARE), AUTHORS_THRESHOLD))
        if faces:
            chosen[index] = max(faces, key=lambda face: (face.box[2] - face.box[0]) * (face.box[3] - face.box[1]))
    return _record(frames, chosen, [index for index in authors_frames(len(frames)) if index in chosen], networks)


def authors_frames(count: int) -> list[int]:
    """The five frames that the authors look at, of so many; fewer where there are fewer."""
    return sorted(set(np.linspace(0, count - 1, AUTHORS_FRAMES).astype(int).tolist()))


def fill_boxes(boxes: Mapping[int, Box], count: int) -> NDArray[np.float32]:
    """(count, 4) boxes by frame, at least one known: as known, linear between, still before the first and after the last."""
    known = np.array(sorted(boxes))
    corners = np.array([boxes[index] for index in known.tolist()])
    return np.stack([np.interp(np.arange(count), known, corners[:, side]) for side in range(4)], axis=1).astype(
        np.float32
    )


def _record(
    frames: NDArray[np.uint8], chosen: Mapping[int, Face], embedded: Sequence[int], networks: Networks
) -> Faces:
    """The record of one face, given by frame; embeddings as they leave the network."""
    from .nets import arcface, landmarks68

    count, height, width = frames.shape[:3]
    detected = np.zeros(count, dtype=bool)
    detected[list(chosen)] = True
    boxes = np.zeros((count, 4), np.float32)
    landmarks = np.zeros((count, landmarks68.POINTS, 2), np.float32)
    crops = [arcface.align(frames[index], chosen[index].points) for index in embedded]
    embeddings = networks.embed(np.array(crops, np.uint8).reshape(-1, arcface.SIDE, arcface.SIDE, 3))
    if chosen:
        boxes = fill_boxes({index: face.box for index, face in chosen.items()}, count)
        cut = [landmarks68.crop(frame, box) for frame, box in zip(frames, boxes, strict=True)]
        points = networks.find_landmarks(np.stack([picture for picture, _ in cut]))
        landmarks = np.stack(
            [landmarks68.onto_frame(*pair) for pair in zip(points, (onto for _, onto in cut), strict=True)]
        )
    return Faces(
        size=np.array([width, height], np.float32),
        sampled=np.ones(count, dtype=bool),
        detected=detected,
        boxes=boxes,
        landmarks=landmarks,
        embeddings=embeddings,
        embedded=np.array(embedded, np.int32),
    )


def _listed(found: Detections) -> list[Face]:
    """One record per face; the numbers of a box as Python has them, so that they can be compared and looked up."""
    boxes: list[Box] = [(left, top, right, bottom) for left, top, right, bottom in found.boxes.tolist()]
    return [Face(box, points) for box, points in zip(boxes, found.points, strict=True)]


@functools.cache
def _networks(engine: Engine) -> Networks:
    import cv2

    from .nets import arcface, landmarks68, scrfd

    cv2.setNumThreads(1)
    if engine.untrained:
        return Networks(scrfd.untrained_scrfd(), arcface.untrained_arcface(), landmarks68.untrained_landmarks())
    return Networks(
        detect=scrfd.load_scrfd(weights.path("scrfd-10g"), engine),
        embed=arcface.load_arcface(weights.path("arcface-r50"), engine),
        find_landmarks=landmarks68.load_landmarks(weights.path("landmarks-1k3d68"), engine),
    )
