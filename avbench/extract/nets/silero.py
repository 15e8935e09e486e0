"""Silero's voice activity network at 16 kHz: the probability of speech in each 32 ms.

Each chunk of 512 samples is read together with the 64 before it: magnitudes of a short Fourier transform (the bases
are stored as a convolution), four convolutions over time down to one vector, an LSTM that carries its state from chunk
to chunk, and a linear layer. Names and sizes are those of version 6 of the silero-vad project, whose file it loads.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.nn import functional

from .loading import fit, read_safetensors

__all__ = ["CHUNK", "VoiceActivity", "load_voice_activity"]

CHUNK = 512  # samples at 16 kHz that one probability is about
CONTEXT = 64  # samples before it that are read with it
BINS = 129  # of the Fourier transform of 256 samples; reals, then imaginaries, in `stft_conv`


class VoiceActivity(nn.Module):
    """(N,) samples at 16 kHz, full scale = 1 → (ceil(N / 512),) probabilities of speech."""

    def __init__(self) -> None:
        super().__init__()
        self.stft_conv = nn.Conv1d(1, 2 * BINS, 256, stride=128, bias=False)
        self.conv1 = nn.Conv1d(BINS, 128, 3, padding=1)
        self.conv2 = nn.Conv1d(128, 64, 3, stride=2, padding=1)
        self.conv3 = nn.Conv1d(64, 64, 3, stride=2, padding=1)
        self.conv4 = nn.Conv1d(64, 128, 3, padding=1)
        self.lstm_cell = nn.LSTMCell(128, 128)
        self.final_conv = nn.Conv1d(128, 1, 1)

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        padded = functional.pad(samples, (CONTEXT, -len(samples) % CHUNK))
        chunks = padded.unfold(0, CONTEXT + CHUNK, CHUNK).unsqueeze(1)
        spectrum = self.stft_conv(functional.pad(chunks, (0, 64), mode="reflect"))
        hidden = (spectrum[:, :BINS] ** 2 + spectrum[:, BINS:] ** 2).sqrt()
        for layer in (self.conv1, self.conv2, self.conv3, self.conv4):
            hidden = torch.relu(layer(hidden))
        state = None
        answers = []
        for vector in hidden.squeeze(-1).split(1):
            state = self.lstm_cell(vector, state)
            answers.append(state[0])
        logits = self.final_conv(torch.relu(torch.cat(answers)).unsqueeze(-1))
        return torch.sigmoid(logits).flatten()


def load_voice_activity(path: Path) -> VoiceActivity:
    """The network with the numbers of silero-vad's file for 16 kHz."""
    network = VoiceActivity()
    fit(network, read_safetensors(path), path)
    return network
