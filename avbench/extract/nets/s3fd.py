"""S3FD, the face detector of the published lip-sync pipeline: boxes of all sizes from one look at an image.

    RGB - (123, 117, 104) → VGG16 and two more stages → six maps, strides 4 to 128, each with two heads
    → probability of a face, and the offset of its box from one square prior per cell
    → score > 0.05, best 5000, overlap at most 0.3, 750 of them → caller's threshold → pixels → overlap at most 0.1

Conventions. All of Zhang et al. (S3FD: single shot scale-invariant face detector, ICCV 2017), with the names of the
file `sfd_face.pth` and the numbers and order of syncnet_python's detector. Suppression is greedy in two rounds, best
score first; a box is only ever suppressed by one that scores higher, so that those below the caller's threshold can be
left out before the first round without changing its answer.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from .loading import channels_last, fit, read_pickled

__all__ = [
    "MEANS",
    "S3FD",
    "CentredFace",
    "Detector",
    "Found",
    "faces_in",
    "gathered",
    "load_s3fd",
    "map_sizes",
    "priors",
    "suppress",
    "to_pixels",
    "untrained_s3fd",
]

MEANS = (123.0, 117.0, 104.0)  # of red, green, blue, 0 to 255
STRIDES = (4, 8, 16, 32, 64, 128)  # pixels of the image per cell of a map
SIZES = (16, 32, 64, 128, 256, 512)  # pixels: side of its priors
VARIANCES = (0.1, 0.2)  # of centre and size
LEAST_SCORE, MOST_BEFORE, MOST_AFTER, OVERLAP = 0.05, 5000, 750, 0.3  # first round
OVERLAP_IN_PIXELS = 0.1  # second round

# Channels of VGG16's convolutions by stage; each stage ends with a 2 x 2 maximum.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
TAPS = (256, 512, 512, 1024, 512, 256)  # channels of the six maps

Boxes = NDArray[np.float32]


class Found(NamedTuple):
    """What the heads say of B images: for each prior, smallest stride first, rows before columns."""

    scores: torch.Tensor  # (B, P) probability of a face
    offsets: torch.Tensor  # (B, P, 4)


class _Norm(nn.Module):
    """Divides by the length over channels, and gives each channel its own scale."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x / (x.square().sum(dim=1, keepdim=True).sqrt() + 1e-10) * self.weight[:, None, None]


class S3FD(nn.Module):
    """(B, 3, H, W) RGB, 0 to 255 less MEANS → Found."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for stage, widths in enumerate(STAGES):
            for width in widths:
                layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU(inplace=True)]
                channels = width
            layers.append(nn.MaxPool2d(2, 2, ceil_mode=stage == 2))
        layers += [nn.Conv2d(512, 1024, 3, padding=6, dilation=6), nn.ReLU(inplace=True)]
        layers += [nn.Conv2d(1024, 1024, 1), nn.ReLU(inplace=True)]
        self.vgg = nn.ModuleList(layers)
        self.L2Norm3_3 = _Norm(256)
        self.L2Norm4_3 = _Norm(512)
        self.L2Norm5_3 = _Norm(512)
        self.extras = nn.ModuleList(
            [
                nn.Conv2d(1024, 256, 1),
                nn.Conv2d(256, 512, 3, stride=2, padding=1),
                nn.Conv2d(512, 128, 1),
                nn.Conv2d(128, 256, 3, stride=2, padding=1),
            ]
        )
        self.loc = nn.ModuleList([nn.Conv2d(width, 4, 3, padding=1) for width in TAPS])
        self.conf = nn.ModuleList([nn.Conv2d(width, 2 if tap else 4, 3, padding=1) for tap, width in enumerate(TAPS)])

    def forward(self, images: torch.Tensor) -> Found:
        return gathered(self.heads(images))

    def heads(self, images: torch.Tensor) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """The two maps of each stride as they leave the network: (B, 2 or 4, h, w) classes and (B, 4, h, w) offsets."""
        norms = {15: self.L2Norm3_3, 22: self.L2Norm4_3, 29: self.L2Norm5_3}  # after these layers
        x, taps = images, []
        for index, layer in enumerate(self.vgg):
            x = layer(x)
            if index in norms:
                taps.append(norms[index](x))
        taps.append(x)
        for index, layer in enumerate(self.extras):
            x = torch.relu(layer(x))
            if index % 2:
                taps.append(x)
        return [(conf(tap), loc(tap)) for tap, conf, loc in zip(taps, self.conf, self.loc, strict=True)]


class CentredFace(nn.Module):
    """Finds one face in every image, in its middle, 0.4 of its shorter side: it stands in for S3FD where a line is tried."""

    SCORE, SHARE = 0.99, 0.4

    def forward(self, images: torch.Tensor) -> Found:
        count, _, height, width = images.shape
        square = self.SHARE * min(height, width)
        known = torch.tensor(priors(height, width))
        wanted = torch.tensor([0.5, 0.5, square / width, square / height])
        nearest = int((known - wanted).abs().sum(dim=1).argmin())
        scores = torch.zeros(count, len(known))
        offsets = torch.zeros(count, len(known), 4)
        scores[:, nearest] = self.SCORE
        prior = known[nearest]
        offsets[:, nearest, :2] = (wanted[:2] - prior[:2]) / (VARIANCES[0] * prior[2:])
        offsets[:, nearest, 2:] = torch.log(wanted[2:] / prior[2:]) / VARIANCES[1]
        return Found(scores, offsets)


Detector = S3FD | CentredFace


def load_s3fd(path: Path) -> S3FD:
    """The detector with the numbers of `sfd_face.pth`."""
    network = S3FD()
    fit(network, read_pickled(path), path)
    return channels_last(network)


def untrained_s3fd() -> CentredFace:
    """A rule in place of the network: one centred face in every image."""
    return CentredFace().eval()


# From heads to boxes ---------------------------------------------------------------------------------------------


def gathered(heads: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> Found:
    """The maps of all strides, one after the other. On the first map the best of three kinds of background counts."""
    scores, offsets = [], []
    for classes, places in heads:
        background, face = classes[:, :-1].amax(dim=1), classes[:, -1]
        scores.append(functional.softmax(torch.stack([background, face]), dim=0)[1].flatten(1))
        offsets.append(places.permute(0, 2, 3, 1).flatten(1, 2))
    return Found(torch.cat(scores, dim=1), torch.cat(offsets, dim=1))


def faces_in(scores: NDArray[np.float32], offsets: Boxes, size: tuple[int, int], threshold: float = 0.9) -> Boxes:
    """First round on one image of `size` (height, width): (P,) and (P, 4) → (n, 5) left, top, right, bottom, score.

    Coordinates are shares of width and height; best score first, all above the threshold, at most 750.
    """
    order = np.flatnonzero(scores > max(LEAST_SCORE, threshold))
    order = order[np.argsort(-scores[order], kind="stable")][:MOST_BEFORE]
    prior, offset = priors(*size)[order], offsets[order]
    centre = prior[:, :2] + offset[:, :2] * np.float32(VARIANCES[0]) * prior[:, 2:]
    extent = prior[:, 2:] * np.exp(offset[:, 2:] * np.float32(VARIANCES[1]))
    first = centre - extent / 2
    boxes = np.concatenate([first, extent + first, scores[order, None]], axis=1)
    return boxes[suppress(boxes, OVERLAP)[:MOST_AFTER]]


def to_pixels(boxes: Boxes, width: int, height: int) -> Boxes:
    """Second round: (n, 5) boxes of `faces_in`, best first → those that are left, in pixels of an image of that size."""
    scaled = boxes * np.array([width, height, width, height, 1], np.float32)
    return scaled[suppress(scaled, OVERLAP_IN_PIXELS)]


def suppress(boxes: Boxes, overlap: float) -> NDArray[np.intp]:
    """The places of those (n, 5) boxes, best first, that overlap no better kept one by more than `overlap`."""
    left, top, right, bottom = boxes[:, :4].T
    areas = (right - left) * (bottom - top)
    rest, kept = np.arange(len(boxes)), []
    while len(rest):
        best, rest = rest[0], rest[1:]
        kept.append(best)
        width = np.minimum(right[best], right[rest]) - np.maximum(left[best], left[rest])
        height = np.minimum(bottom[best], bottom[rest]) - np.maximum(top[best], top[rest])
        shared = np.maximum(width, 0) * np.maximum(height, 0)
        rest = rest[shared / (areas[best] + areas[rest] - shared) <= overlap]
    return np.array(kept, np.intp)


def map_sizes(height: int, width: int) -> list[tuple[int, int]]:
    """Rows and columns of the six maps of an image of that size."""

    def halved(length: int) -> list[int]:
        third = -(-(length // 2 // 2) // 2)  # the third maximum rounds up, the others down
        fifth = third // 2 // 2
        sixth = (fifth - 1) // 2 + 1
        return [length // 4, third, third // 2, fifth, sixth, (sixth - 1) // 2 + 1]

    return list(zip(halved(height), halved(width), strict=True))


@functools.lru_cache(maxsize=64)
def priors(height: int, width: int) -> Boxes:
    """(P, 4) centre x, centre y, width, height of the priors of an image of that size, as shares of it."""
    made = []
    for (rows, columns), stride, size in zip(map_sizes(height, width), STRIDES, SIZES, strict=True):
        y, x = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
        squares = np.empty((rows * columns, 4))
        squares[:, 0], squares[:, 1] = (x.ravel() + 0.5) * stride / width, (y.ravel() + 0.5) * stride / height
        squares[:, 2:] = size / width, size / height
        made.append(squares)
    every = np.concatenate(made).astype(np.float32)
    every.flags.writeable = False  # shared by all who ask
    return every
