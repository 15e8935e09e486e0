"""The GE2E speaker encoder: one unit vector for a window of speech.

Three LSTM layers read a mel spectrogram frame by frame; the last state of the last one goes through a linear layer
and a rectifier. Wan, Wang, Papir, Lopez Moreno: Generalized end-to-end loss for speaker verification, ICASSP 2018;
sizes and names as in the Resemblyzer project, whose file it loads.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from .loading import fit, read_pickled

__all__ = ["MELS", "WIDTH", "SpeakerEncoder", "load_speaker_encoder"]

MELS = 40  # channels of the spectrogram
WIDTH = 256  # of every layer and of the embedding


class SpeakerEncoder(nn.Module):
    """(B, T, 40) mel power → (B, 256), each of length 1, no entry negative."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(MELS, WIDTH, num_layers=3, batch_first=True)
        self.linear = nn.Linear(WIDTH, WIDTH)

    def forward(self, mels: torch.Tensor) -> torch.Tensor:
        _, (states, _) = self.lstm(mels)
        raw = torch.relu(self.linear(states[-1]))
        return functional.normalize(raw)  # zeros stay zeros: a window may leave every unit at rest


def load_speaker_encoder(path: Path) -> SpeakerEncoder:
    """The encoder with the numbers of Resemblyzer's file, which also holds the state of its training."""
    encoder = SpeakerEncoder()
    state = read_pickled(path, wrapper="model_state", beside=("step", "optimizer_state"))
    fit(encoder, state, path, unused=("similarity_weight", "similarity_bias"))  # of the training loss
    return encoder
