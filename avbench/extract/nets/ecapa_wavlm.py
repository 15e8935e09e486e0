"""The speaker head that UniSpeech trained on WavLM: the states of all layers in, one vector per sound out.

A learned mean of the states, each channel brought to mean 0 and variance 1 over time, then ECAPA-TDNN with 512
channels: a convolution, three squeeze-and-excitation Res2 blocks, attentive mean and deviation, a linear layer.
Desplanques, Thienpondt, Demuynck: ECAPA-TDNN, Interspeech 2020. In this variant the rectifier stands before batch
normalisation, attention sees no global context, and nothing follows the last linear layer. Names and sizes are those of
the `speaker_verification` networks of the UniSpeech project.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

__all__ = ["WIDTH", "SpeakerHead"]

WIDTH = 256  # of the embedding
GROUPS = 8  # that a Res2 block splits its channels into
BOTTLENECK = 128  # channels of squeeze-and-excitation and of attention


class SpeakerHead(nn.Module):
    """(L, B, T, D) states, T > 1 → (B, 256), of no fixed length. `offset` is added to the mean of the states."""

    def __init__(self, states: int = 25, depth: int = 1024, channels: int = 512, offset: float = 1e-6) -> None:
        super().__init__()
        self.offset = offset
        self.feature_weight = nn.Parameter(torch.zeros(states))
        self.layer1 = _Convolution(depth, channels, 5)
        self.layer2 = _Block(channels, dilation=2)
        self.layer3 = _Block(channels, dilation=3)
        self.layer4 = _Block(channels, dilation=4)
        self.conv = nn.Conv1d(3 * channels, 3 * channels, 1)
        self.pooling = _Pooling(3 * channels)
        self.bn = nn.BatchNorm1d(6 * channels)
        self.linear = nn.Linear(6 * channels, WIDTH)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        return self.embed(self.mixed(states))

    def mixed(self, states: torch.Tensor) -> torch.Tensor:
        """(L, B, T, D) → (B, D, T): the weighted mean of the states, each channel of mean 0 and variance 1 over time."""
        weights = torch.softmax(self.feature_weight, dim=0)
        mean = torch.einsum("l,lbtd->bdt", weights, states)
        return functional.instance_norm(mean + self.offset, eps=1e-5)

    def embed(self, mixed: torch.Tensor) -> torch.Tensor:
        """(B, D, T) → (B, 256)."""
        hidden = self.layer1(mixed)
        blocks = []
        for block in (self.layer2, self.layer3, self.layer4):
            hidden = block(hidden)
            blocks.append(hidden)
        pooled = self.pooling(torch.relu(self.conv(torch.cat(blocks, dim=1))))
        embedding: torch.Tensor = self.linear(self.bn(pooled))
        return embedding


class _Convolution(nn.Module):
    """Convolution, rectifier, batch normalisation; as long as what comes in."""

    def __init__(self, before: int, after: int, size: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv1d(before, after, size, padding=size // 2)
        self.bn = nn.BatchNorm1d(after)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.bn(torch.relu(self.conv(hidden)))
        return result


class _Res2(nn.Module):
    """Eight groups of channels, one after the other: each but the last is convolved with what came out before it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        width = channels // GROUPS
        self.convs = nn.ModuleList(
            nn.Conv1d(width, width, 3, padding=dilation, dilation=dilation) for _ in range(GROUPS - 1)
        )
        self.bns = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(GROUPS - 1))

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        *groups, last = hidden.chunk(GROUPS, dim=1)
        results = []
        carried: torch.Tensor | None = None
        for group, conv, bn in zip(groups, self.convs, self.bns, strict=True):
            carried = bn(torch.relu(conv(group if carried is None else carried + group)))
            results.append(carried)
        return torch.cat([*results, last], dim=1)


class _Excitation(nn.Module):
    """Scales each channel by a number in 0 to 1 that depends on the means of all."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Linear(channels, BOTTLENECK)
        self.linear2 = nn.Linear(BOTTLENECK, channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        squeezed = torch.relu(self.linear1(hidden.mean(dim=2)))
        return hidden * torch.sigmoid(self.linear2(squeezed)).unsqueeze(2)


class _Block(nn.Module):
    """A squeeze-and-excitation Res2 block with a way around it."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.Conv1dReluBn1 = _Convolution(channels, channels)
        self.Res2Conv1dReluBn = _Res2(channels, dilation)
        self.Conv1dReluBn2 = _Convolution(channels, channels)
        self.SE_Connect = _Excitation(channels)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        changed = self.Conv1dReluBn2(self.Res2Conv1dReluBn(self.Conv1dReluBn1(hidden)))
        return hidden + torch.as_tensor(self.SE_Connect(changed))


class _Pooling(nn.Module):
    """(B, C, T) → (B, 2 C): mean and deviation over time, each channel with weights of its own."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.linear1 = nn.Conv1d(channels, BOTTLENECK, 1)
        self.linear2 = nn.Conv1d(BOTTLENECK, channels, 1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        weights = torch.softmax(self.linear2(torch.tanh(self.linear1(hidden))), dim=2)
        mean = (weights * hidden).sum(dim=2)
        variance = (weights * hidden**2).sum(dim=2) - mean**2
        return torch.cat([mean, variance.clamp(min=1e-9).sqrt()], dim=1)
