"""ECAPA-TDNN of SpeechBrain, trained on VoxCeleb: one vector of 192 numbers for a sound.

    (B, N) samples at 16 kHz → 80 mel bands in dB, a frame every 10 ms, each band of mean 0 over the sound
    → a convolution, three squeeze-and-excitation Res2 blocks → attentive mean and deviation → (B, 192)

Desplanques, Thienpondt, Demuynck: ECAPA-TDNN, Interspeech 2020, with 1024 channels, 3072 before pooling, global context
in the attention, and sounds mirrored at their ends. Names, sizes and defaults are those of `spkrec-ecapa-voxceleb`,
whose `embedding_model.ckpt` it loads.
"""

from __future__ import annotations

import math
import zlib
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from .loading import fit, read_pickled

__all__ = ["MELS", "MIN_SAMPLES", "EcapaTdnn", "load_ecapa_tdnn", "mel_levels", "untrained_ecapa_tdnn"]

MELS = 80
MIN_SAMPLES = 640  # at 16 kHz: five frames; fewer cannot be mirrored by the four that the widest convolution wants
RATE = 16_000  # Hz
FFT, HOP = 400, 160  # samples: 25 ms, 10 ms
FLOOR = 1e-10  # least power in a band, full scale = 1
RANGE_DB = 80.0  # what lies further below the loudest band and frame of the sound is raised to that
GROUPS = 8  # that a Res2 block splits its channels into
BOTTLENECK = 128  # channels of squeeze-and-excitation and of attention
VARIANCE = 1e-12  # least variance that a deviation is taken of


class EcapaTdnn(nn.Module):
    """(B, N) samples at 16 kHz, full scale = 1, N >= MIN_SAMPLES → (B, width), of no fixed length."""

    def __init__(self, channels: int = 1024, pooled: int = 3072, width: int = 192) -> None:
        super().__init__()
        first = _Convolution(MELS, channels, size=5)
        self.blocks = nn.ModuleList([first, *(_Block(channels, dilation) for dilation in (2, 3, 4))])
        self.mfa = _Convolution(3 * channels, pooled)
        self.asp = _Pooling(pooled)
        self.asp_bn = _Norm(2 * pooled)
        self.fc = _Mirrored(2 * pooled, width)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        levels = mel_levels(samples)
        return self.embed(levels - levels.mean(dim=2, keepdim=True))

    def embed(self, features: torch.Tensor) -> torch.Tensor:
        """(B, 80, T) → (B, width)."""
        hidden = self.blocks[0](features)
        results = []
        for block in self.blocks[1:]:
            hidden = block(hidden)
            results.append(hidden)
        pooled = self.asp(self.mfa(torch.cat(results, dim=1)))
        embedding: torch.Tensor = self.fc(self.asp_bn(pooled)).squeeze(2)
        return embedding


def mel_levels(samples: torch.Tensor) -> torch.Tensor:
    """(B, N) samples at 16 kHz → (B, 80, 1 + N // 160) power in mel bands, dB, around the samples 0, 160, 320, …

    SpeechBrain's `Fbank` as it is by default: Hamming window, silence beyond the ends; triangles on the mel scale of
    2595 log10(1 + f / 700), of height 1, symmetric (as wide on the right as on the left).
    """
    window = torch.hamming_window(FFT, device=samples.device)
    spectrum = torch.stft(samples, FFT, HOP, window=window, center=True, pad_mode="constant", return_complex=True)
    power = torch.view_as_real(spectrum).square().sum(dim=-1)
    bands = _bands().to(power.device) @ power
    levels = 10 * torch.log10(bands.clamp(min=FLOOR))
    loudest = levels.amax(dim=(1, 2), keepdim=True)
    return torch.maximum(levels, loudest - RANGE_DB)


def load_ecapa_tdnn(path: Path) -> EcapaTdnn:
    """The network with the numbers of `embedding_model.ckpt`."""
    network = EcapaTdnn()
    fit(network, read_pickled(path), path)
    return network


def untrained_ecapa_tdnn() -> EcapaTdnn:
    """A tiny one with random numbers, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(b"untrained-ecapa-tdnn"))
        network = EcapaTdnn(channels=32, pooled=48)
    return network.eval().requires_grad_(False)


def _bands() -> torch.Tensor:
    """(80, 201) triangles."""
    mels = torch.linspace(0, 2595 * math.log10(1 + RATE / 2 / 700), MELS + 2)
    hertz = 700 * (10 ** (mels / 2595) - 1)
    widths = (hertz[1:] - hertz[:-1])[:-1, None]
    slopes = (torch.linspace(0, RATE // 2, FFT // 2 + 1) - hertz[1:-1, None]) / widths
    return torch.minimum(1 + slopes, 1 - slopes).clamp(min=0)


class _Mirrored(nn.Module):
    """A convolution as long as what comes in, which is mirrored at its ends."""

    def __init__(self, before: int, after: int, size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.margin = dilation * (size - 1) // 2
        self.conv = nn.Conv1d(before, after, size, dilation=dilation)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        wider = functional.pad(hidden, (self.margin, self.margin), mode="reflect") if self.margin else hidden
        result: torch.Tensor = self.conv(wider)
        return result


class _Norm(nn.Module):
    """Batch normalisation."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(hidden)
        return result


class _Convolution(nn.Module):
    """Convolution, rectifier, batch normalisation."""

    def __init__(self, before: int, after: int, size: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = _Mirrored(before, after, size, dilation)
        self.norm = _Norm(after)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.norm(torch.relu(self.conv(hidden)))
        return result


class _Res2(nn.Module):
    """Eight groups of channels, one after the other: each but the first is convolved with what came out before it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        width = channels // GROUPS
        self.blocks = nn.ModuleList(_Convolution(width, width, 3, dilation) for _ in range(GROUPS - 1))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        first, *groups = hidden.chunk(GROUPS, dim=1)
        results = [first]
        for index, (group, block) in enumerate(zip(groups, self.blocks, strict=True)):
            results.append(block(group + results[-1] if index else group))
        return torch.cat(results, dim=1)


class _Excitation(nn.Module):
    """Scales each channel by a number in 0 to 1 that depends on the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = _Mirrored(channels, BOTTLENECK)
        self.conv2 = _Mirrored(BOTTLENECK, channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        squeezed = torch.relu(self.conv1(hidden.mean(dim=2, keepdim=True)))
        return hidden * torch.sigmoid(self.conv2(squeezed))


class _Block(nn.Module):
    """A squeeze-and-excitation Res2 block with a way around it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.tdnn1 = _Convolution(channels, channels)
        self.res2net_block = _Res2(channels, dilation)
        self.tdnn2 = _Convolution(channels, channels)
        self.se_block = _Excitation(channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        changed: torch.Tensor = self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(hidden))))
        return hidden + changed


class _Pooling(nn.Module):
    """(B, C, T) → (B, 2 C, 1): mean and deviation over time with weights that see both of the whole sound."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.tdnn = _Convolution(3 * channels, BOTTLENECK)
        self.conv = _Mirrored(BOTTLENECK, channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        even = torch.full_like(hidden[:, :1], 1 / hidden.shape[2])
        context = [part.expand_as(hidden) for part in _statistics(hidden, even)]
        weights = torch.softmax(self.conv(torch.tanh(self.tdnn(torch.cat([hidden, *context], dim=1)))), dim=2)
        return torch.cat(_statistics(hidden, weights), dim=1)


def _statistics(hidden: torch.Tensor, weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """(B, C, 1) weighted mean over time and deviation from it."""
    mean = (weights * hidden).sum(dim=2, keepdim=True)
    variance = (weights * (hidden - mean) ** 2).sum(dim=2, keepdim=True)
    return mean, variance.clamp(min=VARIANCE).sqrt()
