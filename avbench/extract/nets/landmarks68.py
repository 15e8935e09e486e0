"""68 landmarks of a face, by a network that predicts a head in three dimensions (1k3d68).

    frame, box → square of 1.5 times its longer side → 192 × 192 → network → 1103 points, of which the last 68 count

The 68 are in iBUG's order; their depth is left out. File and arithmetic are those of the insightface project.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..engine import Engine
from .onnx_file import first_operators, open_onnx
from .warp import warp

__all__ = ["POINTS", "SIDE", "Landmarker", "crop", "load_landmarks", "onto_frame", "untrained_landmarks"]

SIDE = 192  # pixels of the crop
POINTS = 68
ALL_POINTS = 1103
MARGIN = 1.5  # of the box's longer side

Landmarker = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, 192, 192, 3) RGB → (N, 68, 2) pixels of the crop


def load_landmarks(path: Path, engine: Engine) -> Landmarker:
    """The landmarks of insightface's 1k3d68.onnx."""
    network = open_onnx(path, engine, (None, 3, SIDE, SIDE))
    network.require_outputs((None, 3 * ALL_POINTS))
    nodes = first_operators(path, 8)
    operators = {operator for operator, _ in nodes}
    # The graph scales its input itself: by two operators, or by a normalisation at its very beginning.
    own = {"Sub", "Mul"} <= operators or any(name == "bn_data" for _, name in nodes[:3])
    mean, factor = np.float32(0 if own else 127.5), np.float32(1 if own else 1 / 128)

    def find(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        blobs = (crops.transpose(0, 3, 1, 2).astype(np.float32) - mean) * factor
        points = network.each(blobs, 3 * ALL_POINTS).reshape(len(crops), ALL_POINTS, 3)
        return (points[:, -POINTS:, :2] + np.float32(1)) * np.float32(SIDE // 2)

    return find


def untrained_landmarks() -> Landmarker:
    """A drawn face in the middle of each crop, whose mouth is open by how bright the crop's lower half is."""

    def find(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        opening = 0.1 * crops[:, SIDE // 2 :, SIDE // 4 : 3 * SIDE // 4].mean(axis=(1, 2, 3)) / 255
        return np.array([_drawn(float(one)) for one in opening], np.float32).reshape(len(crops), POINTS, 2)

    return find


def crop(frame: NDArray[np.uint8], box: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """(192, 192, 3) crop around a box, black where it reaches out of the frame, and the (2, 3) map onto it."""
    left, top, right, bottom = box.astype(np.float64)
    scale = SIDE / (max(right - left, bottom - top, 1.0) * MARGIN)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    onto_crop = np.column_stack([np.eye(2) * scale, SIDE / 2 - scale * middle])
    return warp(frame, onto_crop, SIDE), onto_crop


def onto_frame(points: NDArray[np.float32], onto_crop: NDArray[np.float64]) -> NDArray[np.float32]:
    """(68, 2) pixels of a crop → pixels of the frame that it was cut from."""
    return np.asarray((points - onto_crop[:, 2]) @ np.linalg.inv(onto_crop[:, :2]).T, dtype=np.float32)


def _drawn(opening: float) -> NDArray[np.float64]:
    """(68, 2) landmarks of a plain face, pixels of the crop; `opening` of the lips in heights of the face."""
    around = np.linspace(0, np.pi, 17)
    jaw = np.stack([-0.5 * np.cos(around), 0.5 * np.sin(around)], axis=1)
    across = np.linspace(-0.1, 0.1, 5)
    brow = np.stack([across, np.full(5, -0.22)], axis=1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.1, 0.1, 4)], axis=1)
    nostrils = np.stack([across, np.full(5, 0.13)], axis=1)
    corners = np.array([180, 240, 300, 0, 60, 120]) * np.pi / 180
    eye = np.stack([0.08 * np.cos(corners), 0.03 * np.sin(corners)], axis=1)
    outer, inner = (np.pi + np.arange(count) * 2 * np.pi / count for count in (12, 8))
    lips = np.stack([0.16 * np.cos(outer), (0.05 + opening / 2) * np.sin(outer)], axis=1)
    mouth = np.stack([0.12 * np.cos(inner), opening / 2 * np.sin(inner)], axis=1)
    left, right, low = np.array([-0.22, 0.0]), np.array([0.22, 0.0]), np.array([0.0, 0.28])
    parts = [
        jaw, brow + left, brow + right, bridge, nostrils,
        eye + left + [0, -0.1], eye + right + [0, -0.1], lips + low, mouth + low,
    ]  # fmt: skip
    return SIDE / 2 + SIDE / MARGIN * np.concatenate(parts)
