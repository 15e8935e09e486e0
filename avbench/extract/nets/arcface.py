"""ArcFace: whose face it is, as 512 numbers.

    frame, five points → turned upright, scaled and cut to 112 × 112 → network → embedding, not normalised

The five points are brought onto those of a template by the similarity (turn, scale, shift; no mirror) with the least
squares of distances. Umeyama: Least-squares estimation of transformation parameters between two point patterns, PAMI
1991. Deng, Guo, Xue, Zafeiriou: ArcFace, CVPR 2019; template and file are those of the insightface project.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..engine import Engine
from .onnx_file import first_operators, open_onnx
from .warp import warp

__all__ = ["SIDE", "WIDTH", "Embedder", "align", "load_arcface", "similarity", "untrained_arcface"]

SIDE = 112  # pixels of the crop
WIDTH = 512  # numbers of an embedding
LEAST_SCALE = 1e-3  # points that are one have none; a face of 100,000 pixels has more

# Left and right eye, nose, left and right corner of the mouth (left in the picture), pixels of the crop.
TEMPLATE = ((38.2946, 51.6963), (73.5318, 51.5014), (56.0252, 71.7366), (41.5493, 92.3655), (70.7299, 92.2041))

Embedder = Callable[[NDArray[np.uint8]], NDArray[np.float32]]  # (N, 112, 112, 3) RGB crops → (N, 512)


def load_arcface(path: Path, engine: Engine) -> Embedder:
    """The embedder of insightface's w600k_r50.onnx, or of another of the same input and output."""
    network = open_onnx(path, engine, (None, 3, SIDE, SIDE))
    network.require_outputs((None, WIDTH))
    operators = {operator for operator, _ in first_operators(path, 8)}
    own = {"Sub", "Mul"} <= operators  # the graph scales its input itself
    mean, factor = np.float32(0 if own else 127.5), np.float32(1 if own else 1 / 127.5)

    def embed(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        return network.each((crops.transpose(0, 3, 1, 2).astype(np.float32) - mean) * factor, WIDTH)

    return embed


def untrained_arcface() -> Embedder:
    """A random projection of the crop, reduced to 14 × 14."""
    generator = np.random.default_rng(zlib.crc32(b"untrained-arcface"))
    matrix = generator.standard_normal((WIDTH, 14 * 14 * 3)) / 14

    def embed(crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        small = crops.reshape(len(crops), 14, 8, 14, 8, 3).mean(axis=(2, 4)) / 127.5 - 1
        return np.array([matrix @ crop.ravel() for crop in small], np.float32).reshape(len(crops), WIDTH)

    return embed


def align(frame: NDArray[np.uint8], points: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(112, 112, 3) crop of the face with these (5, 2) points; black where it reaches out of the frame."""
    return warp(frame, similarity(points), SIDE)


def similarity(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """(2, 3) map of the frame onto the crop that brings (5, 2) points nearest to the template's."""
    template = np.array(TEMPLATE, np.float32).astype(np.float64)
    source = points.astype(np.float64)
    here, there = source.mean(axis=0), template.mean(axis=0)
    left, sizes, right = np.linalg.svd((template - there).T @ (source - here) / len(source))
    signs = np.array([1.0, 1.0 if np.linalg.det(left @ right) > 0 else -1.0])
    turn = left @ np.diag(signs) @ right
    spread = float(np.square(source - here).sum(axis=1).mean())
    scale = float(sizes @ signs) / spread if spread > 0 else 0.0
    scaled = max(scale, LEAST_SCALE) * turn
    return np.column_stack([scaled, there - scaled @ here])
