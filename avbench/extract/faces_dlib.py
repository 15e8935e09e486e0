"""The face of a clip: where it is, its 68 landmarks on every frame, and who it is.

    frames, longest side at most 720 → detector on every third frame → one face followed → boxes interpolated and
    smoothed → 68 points on every frame → embeddings of five frames

Conventions. The detector (HOG) runs on the frame as it is, and on the frame at twice the size only where that finds
nothing. Detections are linked to tracks by overlap; the track with the largest total area is *the* face: with two
people it stays on one of them, the one who is larger and longer in view. Between detections boxes are interpolated,
before the first and after the last they stand still; they are smoothed over time because the detector's boxes jump by
its cell size, which would shake the landmarks. Landmarks are the mean of three predictions, each from the box moved
a little: a single one may leap by pixels when a frame changes by nothing that can be seen. An image is a clip of one
frame.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .. import weights
from ..features import Faces, Feature

__all__ = ["FACES_DLIB", "MAX_SIDE", "Box", "evenly", "faces_of", "largest_track", "smooth_boxes"]

FACES_DLIB = Feature("faces_dlib", "video", Faces)

MAX_SIDE = 720  # pixels; a face of 1/9 of that is still found
EVERY = 3  # frames from one detection to the next
OVERLAP = 0.3  # intersection over union that two boxes of one track share at least
SMOOTHING = 3.0  # frames, standard deviation of the Gaussian
EMBEDDED = 5  # frames
NUDGES = ((0.0, 0.05), (0.0433, -0.025), (-0.0433, -0.025))  # right and down, in widths of the box; they sum to zero
POINTS, WIDTH = 68, 128

Box = tuple[float, float, float, float]  # left, top, right, bottom, pixels


def faces_of(frames: NDArray[np.uint8]) -> Faces:
    """The face in (T, H, W, 3) RGB frames, T > 0; its arrays are zero and empty where there is none."""
    count, height, width = frames.shape[:3]
    grey = [_grey(frame) for frame in frames]
    sampled = np.arange(count) % EVERY == 0
    track = largest_track([(index, _detect(grey[index])) for index in np.flatnonzero(sampled).tolist()])
    detected = np.zeros(count, dtype=bool)
    detected[list(track)] = True
    boxes = np.zeros((count, 4), np.float32)
    landmarks = np.zeros((count, POINTS, 2), np.float32)
    embedded = evenly(sorted(track), EMBEDDED)
    embeddings = np.zeros((0, WIDTH), np.float32)
    if track:
        boxes = smooth_boxes(track, count)
        landmarks = np.stack([_landmarks(image, box) for image, box in zip(grey, boxes, strict=True)])
        embeddings = np.stack([_embedding(frames[index], boxes[index], landmarks[index]) for index in embedded])
    return Faces(
        size=np.array([width, height], np.float32),
        sampled=sampled,
        detected=detected,
        boxes=boxes,
        landmarks=landmarks,
        embeddings=embeddings,
        embedded=np.array(embedded, np.int32),
    )


def largest_track(detections: Sequence[tuple[int, Sequence[Box]]]) -> dict[int, Box]:
    """Follows every face, and answers the boxes, by frame, of the one with the largest total area; {} without any.

    A box continues the track whose last box it overlaps most, each track once per frame; else it begins a new one.
    """
    tracks: list[dict[int, Box]] = []
    for index, boxes in detections:
        links = [
            (_overlap(next(reversed(track.values())), box), number, place)
            for number, track in enumerate(tracks)
            for place, box in enumerate(boxes)
        ]
        free = set(range(len(boxes)))
        for overlap, number, place in sorted(links, key=lambda link: (-link[0], link[1], link[2])):
            if overlap >= OVERLAP and place in free and index not in tracks[number]:
                tracks[number][index] = boxes[place]
                free.remove(place)
        tracks.extend({index: boxes[place]} for place in sorted(free))
    return max(tracks, key=lambda track: sum(map(_area, track.values())), default={})


def smooth_boxes(track: dict[int, Box], count: int) -> NDArray[np.float32]:
    """(count, 4) boxes of a track with at least one: linear between its frames, still outside, then smoothed."""
    from scipy.ndimage import gaussian_filter1d

    known = np.array(sorted(track))
    corners = np.array([track[index] for index in known.tolist()])
    boxes = np.stack([np.interp(np.arange(count), known, corners[:, side]) for side in range(4)], axis=1)
    return np.asarray(gaussian_filter1d(boxes, SMOOTHING, axis=0, mode="nearest"), dtype=np.float32)


def evenly(items: Sequence[int], count: int) -> list[int]:
    """`count` of the items from first to last at even distances; all of them where there are fewer."""
    if len(items) <= count:
        return list(items)
    return [items[place] for place in np.linspace(0, len(items) - 1, count).astype(int).tolist()]


def _area(box: Box) -> float:
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def _overlap(one: Box, other: Box) -> float:
    """Intersection over union, 0 to 1."""
    shared = _area((max(one[0], other[0]), max(one[1], other[1]), min(one[2], other[2]), min(one[3], other[3])))
    union = _area(one) + _area(other) - shared
    return shared / union if union else 0.0


def _grey(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W) luma of an RGB frame, ITU-R BT.601, in whole numbers so that every machine rounds alike."""
    weighted = frame[..., 0] * np.uint32(19595) + frame[..., 1] * np.uint32(38470) + frame[..., 2] * np.uint32(7471)
    return np.asarray((weighted + np.uint32(1 << 15)) >> np.uint32(16), dtype=np.uint8)


# dlib ------------------------------------------------------------------------------------------------------------


def _detect(image: NDArray[np.uint8]) -> list[Box]:
    found = _detector()(image, 0) or _detector()(image, 1)
    return [(float(box.left()), float(box.top()), float(box.right()), float(box.bottom())) for box in found]


def _landmarks(image: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.float32]:
    """(68, 2) mean of the points predicted from nudged copies of the box."""
    width = box[2] - box[0]
    predictions = []
    for right, down in NUDGES:
        moved = box + width * np.array([right, down, right, down], np.float32)
        shape = _landmarker()(image, _rectangle(moved))
        predictions.append([(point.x, point.y) for point in shape.parts()])
    return np.asarray(np.mean(predictions, axis=0), dtype=np.float32)


def _embedding(
    frame: NDArray[np.uint8], box: NDArray[np.float32], landmarks: NDArray[np.float32]
) -> NDArray[np.float32]:
    """(128,) of the face, turned upright and cut out by its landmarks."""
    import dlib

    points = [dlib.point(x, y) for x, y in np.rint(landmarks).astype(int).tolist()]
    shape = dlib.full_object_detection(_rectangle(box), points)
    return np.array(_recogniser().compute_face_descriptor(np.ascontiguousarray(frame), shape), np.float32)


def _rectangle(box: NDArray[np.float32]) -> Any:
    import dlib

    return dlib.rectangle(*np.rint(box).astype(int).tolist())


@functools.cache
def _detector() -> Any:
    import dlib

    return dlib.get_frontal_face_detector()


@functools.cache
def _landmarker() -> Any:
    import dlib

    return dlib.shape_predictor(str(weights.path("dlib-68-landmarks")))


@functools.cache
def _recogniser() -> Any:
    import dlib

    return dlib.face_recognition_model_v1(str(weights.path("dlib-resnet-face")))
