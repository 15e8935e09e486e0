"""SyncNet: lips and sound of five video frames as two vectors, near each other where they belong together.

Chung, Zisserman: Out of time: automated lip sync in the wild, ACCV 2016 workshops; layers and names as in the file
`syncnet_v2.model` of the project syncnet_python. `SyncNet` is laid out as that file is; `Halves` computes the same and
is what runs: normalisations are folded into the layers before them, and as only the first lip layer sees time, five
frames of three colours are read as one image of fifteen channels.
"""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

from .loading import channels_last, fit, numbered, read_pickled

__all__ = ["COLUMNS", "FRAMES", "Halves", "SyncNet", "halves", "load_syncnet", "untrained_syncnet"]

FRAMES = 5  # of video in one window
COLUMNS = 20  # of cepstra in one window
SLIM = 16  # by which the untrained network is narrower

Size = int | tuple[int, ...]


class SyncNet(nn.Module):
    """Both halves; `slim` divides the number of channels of every layer."""

    def __init__(self, slim: int = 1) -> None:
        super().__init__()
        narrow, middle, wide = 96 // slim, 256 // slim, 512 // slim
        self.netcnnaud = nn.Sequential(
            *_planar(1, 64 // slim, 3, padding=1),
            nn.MaxPool2d(1, stride=1),
            *_planar(64 // slim, 192 // slim, 3, padding=1),
            nn.MaxPool2d(3, stride=(1, 2)),
            *_planar(192 // slim, 384 // slim, 3, padding=1),
            *_planar(384 // slim, middle, 3, padding=1),
            *_planar(middle, middle, 3, padding=1),
            nn.MaxPool2d(3, stride=2),
            *_planar(middle, wide, (5, 4)),
        )
        self.netfcaud = _joined(wide)
        self.netfclip = _joined(wide)
        self.netcnnlip = nn.Sequential(
            *_spatial(3, narrow, (FRAMES, 7, 7), stride=(1, 2, 2)),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_spatial(narrow, middle, (1, 5, 5), stride=(1, 2, 2), padding=(0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2), padding=(0, 1, 1)),
            *_spatial(middle, middle, (1, 3, 3), padding=(0, 1, 1)),
            *_spatial(middle, middle, (1, 3, 3), padding=(0, 1, 1)),
            *_spatial(middle, middle, (1, 3, 3), padding=(0, 1, 1)),
            nn.MaxPool3d((1, 3, 3), stride=(1, 2, 2)),
            *_spatial(middle, wide, (1, 6, 6)),
        )

    def lips(self, windows: torch.Tensor) -> torch.Tensor:
        """(N, 3, 5, 224, 224) BGR, 0 to 255 → (N, D)."""
        return cast(torch.Tensor, self.netfclip(self.netcnnlip(windows).flatten(1)))

    def sounds(self, windows: torch.Tensor) -> torch.Tensor:
        """(N, 1, 13, 20) cepstra → (N, D)."""
        return cast(torch.Tensor, self.netfcaud(self.netcnnaud(windows).flatten(1)))


class Halves(nn.Module):
    """The same network, made to run fast; lips take (N, 15, 224, 224): frame 0 blue, green, red, frame 1 blue, …"""

    def __init__(self, lips: nn.Sequential, sounds: nn.Sequential) -> None:
        super().__init__()
        self.lips = lips
        self.sounds = sounds

    @property
    def width(self) -> int:
        """D, of both embeddings."""
        return cast(nn.Linear, self.lips[-1]).out_features


def load_syncnet(path: Path) -> SyncNet:
    """The network with the numbers of `syncnet_v2.model`."""
    network = SyncNet()
    fit(network, read_pickled(path), path)
    return network


def untrained_syncnet() -> SyncNet:
    """A slim network with random numbers, the same every time."""
    network = numbered(SyncNet(slim=SLIM))
    with torch.no_grad():
        for layer in (network.netcnnlip[0], network.netcnnaud[0]):
            cast(nn.Conv2d, layer).weight.mul_(0.01)  # what they read is in the hundreds
    return network


def halves(network: SyncNet) -> Halves:
    """Folds the network; the answers differ by rounding alone."""
    sounds = nn.Sequential(*_folded(network.netcnnaud), nn.Flatten(), *_folded(network.netfcaud))
    lips = nn.Sequential(*map(_flat, _folded(network.netcnnlip)), nn.Flatten(), *_folded(network.netfclip))
    return channels_last(Halves(lips, sounds).eval().requires_grad_(False))


# Layers ----------------------------------------------------------------------------------------------------------


def _planar(channels: int, width: int, kernel: Size, padding: int = 0) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, kernel, padding=padding), nn.BatchNorm2d(width), nn.ReLU(inplace=True)  # type: ignore[arg-type]


def _spatial(
    channels: int, width: int, kernel: tuple[int, int, int], stride: Size = 1, padding: Size = 0
) -> tuple[nn.Module, ...]:
    layer = nn.Conv3d(channels, width, kernel, stride=stride, padding=padding)  # type: ignore[arg-type]
    return layer, nn.BatchNorm3d(width), nn.ReLU(inplace=True)


def _joined(wide: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(wide, wide), nn.BatchNorm1d(wide), nn.ReLU(inplace=True), nn.Linear(wide, 2 * wide))


def _folded(layers: nn.Sequential) -> list[nn.Module]:
    """Without normalisations, and without maxima over single cells."""
    made: list[nn.Module] = []
    for layer in layers:
        match layer:
            case nn.BatchNorm1d():
                made[-1] = fuse_linear_bn_eval(cast(nn.Linear, made[-1]), layer)
            case nn.BatchNorm2d() | nn.BatchNorm3d():
                made[-1] = fuse_conv_bn_eval(cast(nn.Conv3d, made[-1]), layer)
            case nn.MaxPool2d(kernel_size=1):
                pass
            case _:
                made.append(layer)
    return made


def _flat(layer: nn.Module) -> nn.Module:
    """A layer over (time, rows, columns) as one over rows and columns: its time is channels, or 1."""
    match layer:
        case nn.Conv3d():
            width, channels, time = layer.weight.shape[:3]
            made = nn.Conv2d(
                time * channels,
                width,
                layer.kernel_size[1:],  # type: ignore[arg-type]
                stride=layer.stride[1:],  # type: ignore[arg-type]
                padding=layer.padding[1:],  # type: ignore[arg-type]
            )
            made.weight = nn.Parameter(layer.weight.detach().transpose(1, 2).flatten(1, 2))
            made.bias = layer.bias
            return made
        case nn.MaxPool3d():
            kernel, stride, padding = (_planes(size) for size in (layer.kernel_size, layer.stride, layer.padding))
            return nn.MaxPool2d(kernel, stride, padding)
        case _:
            return layer


def _planes(size: object) -> tuple[int, ...] | int:
    return size[1:] if isinstance(size, tuple) else cast(int, size)
