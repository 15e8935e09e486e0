"""Cuts a turned and scaled square out of a frame.

Bilinear, exact, rounded to the nearest whole number, black outside of the frame. It is written here because libraries
differ: OpenCV 4 rounds places to 1/32 of a pixel, which changes sharp edges by several levels, and OpenCV 5 does not.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["warp"]


def warp(frame: NDArray[np.uint8], onto: NDArray[np.float64], side: int) -> NDArray[np.uint8]:
    """(H, W, 3) frame → (side, side, 3): `onto` is the (2, 3) map of pixels of the frame onto pixels of the square."""
    height, width = frame.shape[:2]
    back = np.linalg.inv(onto[:, :2])
    rows, columns = np.indices((side, side), dtype=np.float64)
    across, down = columns - onto[0, 2], rows - onto[1, 2]
    x, y = back[0, 0] * across + back[0, 1] * down, back[1, 0] * across + back[1, 1] * down
    # Far outside all is black, and whole numbers of any size fit.
    x, y = np.clip(x, -2, width + 1), np.clip(y, -2, height + 1)
    left, top = np.floor(x).astype(int), np.floor(y).astype(int)
    total = np.zeros((side, side, 3))
    for column, share_x in ((left, left + 1 - x), (left + 1, x - left)):
        for row, share_y in ((top, top + 1 - y), (top + 1, y - top)):
            inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
            pixels = frame[np.clip(row, 0, height - 1), np.clip(column, 0, width - 1)]
            total += (share_x * share_y * inside)[..., None] * pixels
    return np.rint(total).astype(np.uint8)
