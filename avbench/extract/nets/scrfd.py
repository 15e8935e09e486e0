"""SCRFD: where the faces of a frame are, with five points each.

    frame → longer side made `reach` pixels, on a black square → network → one answer per cell and anchor → NMS

The network looks at cells of 8, 16 and 32 pixels, each with two anchors, and gives a score, the distances from the
cell to the four sides, and five points (left eye, right eye, nose, left and right corner of the mouth; left in the
picture). Guo, Deng, Lattas, Zafeiriou: Sample and computation redistribution for efficient face detection, 2021; the
arithmetic is that of the insightface project, whose file it loads: the corner of the cell is its origin, boxes are
compared with one pixel added to their sides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..engine import Engine
from .onnx_file import OnnxNetwork, open_onnx

__all__ = ["Canvas", "Detections", "Detector", "decode", "letterbox", "load_scrfd", "suppress", "untrained_scrfd"]

STRIDES = (8, 16, 32)
ANCHORS = 2
OVERLAP = 0.4  # intersection over union of two boxes that are one face
SCORE, BOX, POINTS = 1, 4, 10  # numbers per anchor


class Canvas(NamedTuple):
    """What the detector is shown of a frame."""

    side: int  # pixels of the black square, a multiple of 32
    reach: int  # pixels of the frame's longer side on it: at the top left where it fills the square, else in the middle


class Detections(NamedTuple):
    """The N faces of a frame, best first, in pixels of the frame."""

    boxes: NDArray[np.float32]  # (N, 4) left, top, right, bottom
    scores: NDArray[np.float32]  # (N,) 0 to 1
    points: NDArray[np.float32]  # (N, 5, 2)


Detector = Callable[[NDArray[np.uint8], Canvas, float], Detections]  # (H, W, 3) RGB, canvas, least score


def load_scrfd(path: Path, engine: Engine) -> Detector:
    """The detector of insightface's det_10g.onnx, or of another SCRFD with five points and three strides."""
    network = open_onnx(path, engine, (1, 3, None, None))
    _require_outputs(network)

    def detect(frame: NDArray[np.uint8], canvas: Canvas, threshold: float) -> Detections:
        picture, scale, left, top = letterbox(frame, canvas)
        blob = (picture.astype(np.float32) - np.float32(127.5)) * np.float32(1 / 128)
        outputs = network(np.ascontiguousarray(blob.transpose(2, 0, 1)[None]))
        boxes, scores, points = decode(_sorted(network, outputs, canvas.side), canvas.side, threshold)
        shift = np.array([left, top], np.float32)
        return suppress(
            Detections((boxes - np.tile(shift, 2)) / np.float32(scale), scores, (points - shift) / np.float32(scale))
        )

    return detect


def untrained_scrfd() -> Detector:
    """Finds one face in the middle of every frame, half as high as the frame's shorter side."""

    def detect(frame: NDArray[np.uint8], canvas: Canvas, threshold: float) -> Detections:
        height, width = frame.shape[:2]
        high = min(height, width) / 2
        corner = np.array([width / 2 - 0.4 * high, height / 2 - 0.5 * high])
        extent = np.array([0.8 * high, high])
        places = np.array([[0.3, 0.4], [0.7, 0.4], [0.5, 0.6], [0.35, 0.8], [0.65, 0.8]])
        return Detections(
            boxes=np.concatenate([corner, corner + extent])[None].astype(np.float32),
            scores=np.ones(1, np.float32),
            points=(corner + places * extent)[None].astype(np.float32),
        )

    return detect


def letterbox(frame: NDArray[np.uint8], canvas: Canvas) -> tuple[NDArray[np.uint8], float, int, int]:
    """The square that the network sees; pixels on it per pixel of the frame, and the frame's left and top on it."""
    import cv2

    height, width = frame.shape[:2]
    # As insightface rounds: the shorter side is cut to whole pixels, and both sides are divided by the height's ratio.
    if height > width:
        high, wide = canvas.reach, max(1, int(canvas.reach / (height / width)))
    else:
        high, wide = max(1, int(canvas.reach * (height / width))), canvas.reach
    square = np.zeros((canvas.side, canvas.side, 3), np.uint8)
    left, top = ((canvas.side - wide) // 2, (canvas.side - high) // 2) if canvas.reach < canvas.side else (0, 0)
    square[top : top + high, left : left + wide] = cv2.resize(frame, (wide, high), interpolation=cv2.INTER_LINEAR)
    return square, high / height, left, top


def decode(outputs: Sequence[NDArray[np.float32]], side: int, threshold: float) -> Detections:
    """(N, 1) scores, (N, 4) distances and (N, 10) points of each of the three strides, in that order → all above
    the threshold, in pixels of the square, in no order, the same face many times."""
    found: list[Detections] = []
    for level, stride in enumerate(STRIDES):
        scores, distances, points = outputs[level], outputs[level + 3], outputs[level + 6]
        cells = side // stride
        rows, columns = np.divmod(np.repeat(np.arange(cells * cells), ANCHORS), cells)
        centres = (np.stack([columns, rows], axis=1) * stride).astype(np.float32)
        kept = np.flatnonzero(scores[:, 0] >= threshold)
        centre, distance = centres[kept], distances[kept] * np.float32(stride)
        found.append(
            Detections(
                boxes=np.concatenate([centre - distance[:, :2], centre + distance[:, 2:]], axis=1),
                scores=scores[kept, 0],
                points=centre[:, None] + (points[kept] * np.float32(stride)).reshape(-1, 5, 2),
            )
        )
    return Detections(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def suppress(found: Detections) -> Detections:
    """The best of each group of overlapping boxes, best first; equal scores stay in their order."""
    order = np.argsort(-found.scores, kind="stable")
    left, top, right, bottom = found.boxes[order].T
    areas = (right - left + 1) * (bottom - top + 1)
    left_over, kept = np.arange(len(order)), []
    while len(left_over):
        best, others = left_over[0], left_over[1:]
        kept.append(order[best])
        wide = np.minimum(right[best], right[others]) - np.maximum(left[best], left[others]) + 1
        high = np.minimum(bottom[best], bottom[others]) - np.maximum(top[best], top[others]) + 1
        shared = np.maximum(0, wide) * np.maximum(0, high)
        left_over = others[shared <= OVERLAP * (areas[best] + areas[others] - shared)]
    return Detections(*(values[np.array(kept, int)] for values in found))


def _require_outputs(network: OnnxNetwork) -> None:
    """Nine outputs: per stride scores, distances and points. Their order is told by their sizes when they come."""
    expected = sorted([SCORE, BOX, POINTS] * len(STRIDES))
    last = [shape[-1] if len(shape) in (2, 3) else -1 for shape in network.outputs]
    known = sorted(length for length in last if isinstance(length, int))
    if len(last) != len(expected) or any(known.count(length) > expected.count(length) for length in known):
        network.refuse(f"{len(last)} outputs of {known} numbers per anchor", f"9 of {expected}")


def _sorted(network: OnnxNetwork, outputs: list[NDArray[np.float32]], side: int) -> list[NDArray[np.float32]]:
    """Scores, distances, points, each of the strides 8, 16 and 32, whatever order the file has them in."""
    anchors = [ANCHORS * (side // stride) ** 2 for stride in STRIDES]
    expected = [(rows, numbers) for numbers in (SCORE, BOX, POINTS) for rows in anchors]
    tables = [output[0] if output.ndim == 3 and len(output) == 1 else output for output in outputs]
    by_shape = {table.shape: table for table in tables}
    if sorted(by_shape) != sorted(expected):
        network.refuse(f"outputs {sorted(by_shape)} for a square of {side} pixels", str(sorted(expected)))
    return [by_shape[shape] for shape in expected]
