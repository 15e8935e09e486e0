"""Distances between facial landmarks (iBUG's order of 68 points), frame by frame."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["chin_drop", "distance", "eye_distance", "face_height", "inner_opening", "lip_drop", "outer_opening"]

Points = NDArray[np.float32]  # (T, 68, 2) pixels
Series = NDArray[np.float64]  # (T,) pixels

NOSE_BRIDGE, NOSE_BASE, CHIN, LOWER_LIP = 27, 33, 8, 57


def distance(points: Points, one: int, other: int) -> Series:
    """(T,) Euclidean distance between two landmarks."""
    return np.asarray(np.linalg.norm(points[:, one].astype(np.float64) - points[:, other], axis=1))


def inner_opening(points: Points) -> Series:
    """Between the inner edges of the lips: mean of three distances."""
    return _mean(points, ((61, 67), (62, 66), (63, 65)))


def outer_opening(points: Points) -> Series:
    """Between the outer edges of the lips: mean of three distances."""
    return _mean(points, ((50, 58), (51, 57), (52, 56)))


def lip_drop(points: Points) -> Series:
    """From the base of the nose to the lower lip."""
    return distance(points, NOSE_BASE, LOWER_LIP)


def chin_drop(points: Points) -> Series:
    """From the base of the nose to the chin."""
    return distance(points, NOSE_BASE, CHIN)


def face_height(points: Points) -> Series:
    """From the bridge of the nose to the chin."""
    return distance(points, NOSE_BRIDGE, CHIN)


def eye_distance(points: Points) -> Series:
    """Between the centres of the eyes."""
    centres = points[:, 36:48].astype(np.float64).reshape(len(points), 2, 6, 2).mean(axis=2)
    return np.asarray(np.linalg.norm(centres[:, 0] - centres[:, 1], axis=1))


def _mean(points: Points, pairs: tuple[tuple[int, int], ...]) -> Series:
    return np.asarray(np.mean([distance(points, one, other) for one, other in pairs], axis=0))
