"""Who speaks: the GE2E embedding of the speech in a sound.

    sound → mono, 16 kHz → raised to -30 dBFS if quieter → speech with 0.3 s around it (Silero) → windows of 1.6 s
    → mean embedding

Conventions. Level, mel scale and windows are Resemblyzer's, so that its network sees what it was trained on: 40 mel
bands (Slaney's scale and areas) of the power spectrum, 25 ms every 10 ms, no logarithm; windows of 160 frames that
begin every 77 frames, the last one kept if at least three quarters of it are speech. Two departures: speech that does
not fill a window is repeated, not padded with zeros, which made short sounds of one person differ; and stretches of
speech keep 0.3 s on both sides. Cut at the detector's edges they lose onsets and unvoiced ends, and in noise most of
their length: anything from 0.25 to 0.4 s tells people apart better, loud or noisy.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import weights
from ..features import Feature, Voice

if TYPE_CHECKING:
    from ..clip import Sound
    from .nets.ge2e import SpeakerEncoder
    from .nets.silero import VoiceActivity

__all__ = [
    "MIN_SPEECH_SECONDS",
    "RATE",
    "VOICE_GE2E",
    "embed_speech",
    "keep_speech",
    "mel_power",
    "raise_level",
    "speech_spans",
    "voice_of",
    "widened",
    "window_starts",
]

VOICE_GE2E = Feature("voice_ge2e", "audio", Voice)

RATE = 16_000  # Hz
MIN_SPEECH_SECONDS = 0.5  # less than that holds too few different sounds to tell who speaks
SILENT_PEAK = 1e-3  # -60 dBFS: below it there is nothing but the noise of a codec to raise

LEVEL_DBFS = -30.0
FFT, HOP = 400, 160  # samples: 25 ms, 10 ms
MELS = 40
WINDOW, STEP = 160, 77  # frames
MIN_COVERAGE = 0.75  # of the last window
WINDOWS_AT_ONCE = 4  # the network always gets that many, so that its sums are formed in one order

SPEECH, PAUSE = 0.5, 0.35  # probabilities at which speech begins and ends
MIN_SPEECH, MIN_PAUSE, MARGIN = 0.25, 0.1, 0.3  # seconds


def voice_of(sound: Sound) -> Voice:
    """The embedding of the speech in a sound; all zero where there is less than MIN_SPEECH_SECONDS of it."""
    import soxr

    peak = float(np.abs(sound.samples).max(initial=0.0))
    speech, seconds = np.zeros(0, np.float32), 0.0
    if peak >= SILENT_PEAK:
        samples = np.asarray(soxr.resample(sound.samples, sound.rate, RATE), dtype=np.float32)
        speech, seconds = keep_speech(raise_level(samples))
    long_enough = seconds >= MIN_SPEECH_SECONDS
    return Voice(
        embedding=embed_speech(speech) if long_enough else np.zeros(256, np.float32),
        speech_seconds=seconds,
        peak=peak,
    )


def raise_level(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Brings a quieter sound to a root mean square of -30 dBFS; a louder one, or silence, stays as it is."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0
    wanted = 10.0 ** (LEVEL_DBFS / 20)
    return samples if rms == 0 or rms >= wanted else samples * np.float32(wanted / rms)


# Where there is speech -------------------------------------------------------------------------------------------


def keep_speech(samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], float]:
    """The stretches of speech in (N,) samples at 16 kHz with what is around them; seconds of speech without that."""
    import torch

    if not len(samples):
        return samples, 0.0
    with torch.inference_mode():
        probabilities = _voice_activity()(torch.from_numpy(samples)).numpy()
    spans = speech_spans(probabilities, len(samples))
    kept = np.concatenate([samples[start:end] for start, end in widened(spans, len(samples))] or [samples[:0]])
    return kept, sum(end - start for start, end in spans) / RATE


def speech_spans(probabilities: NDArray[np.float32], length: int, chunk: int = 512) -> list[tuple[int, int]]:
    """First and last+1 sample of each stretch of speech, from one probability per chunk of samples.

    Speech begins at a probability of 0.5 and lasts until it has stayed below 0.35 for 0.1 s; stretches under 0.25 s
    are dropped.
    """
    spans: list[list[int]] = []
    speaking, quiet_since = False, -1
    for index, probability in enumerate(probabilities):
        now = index * chunk
        if probability >= SPEECH:
            quiet_since = -1
            if not speaking:
                speaking = True
                spans.append([now, length])
        elif speaking and (probability < PAUSE or quiet_since >= 0):
            if quiet_since < 0:
                quiet_since = now
            if probability < PAUSE and now - quiet_since >= MIN_PAUSE * RATE:
                spans[-1][1] = quiet_since
                speaking, quiet_since = False, -1
    return [(start, end) for start, end in spans if end - start >= MIN_SPEECH * RATE]


def widened(spans: Sequence[tuple[int, int]], length: int) -> list[tuple[int, int]]:
    """The stretches with 0.3 s more at both ends where there is room; no sample is in two of them."""
    margin = int(MARGIN * RATE)
    result: list[tuple[int, int]] = []
    for start, end in spans:
        first = max(start - margin, result[-1][1] if result else 0)
        result.append((first, min(end + margin, length)))
    return result


@functools.cache
def _voice_activity() -> VoiceActivity:
    from .nets.silero import load_voice_activity

    return load_voice_activity(weights.path("silero-vad"))


# Whose speech it is ----------------------------------------------------------------------------------------------


def embed_speech(speech: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) samples of speech at 16 kHz, N > 0 → (256,) of unit length."""
    import torch

    starts = window_starts(len(speech))
    frames = mel_power(np.resize(speech, max(len(speech), (starts[-1] + WINDOW) * HOP)))
    windows = np.stack([frames[start : start + WINDOW] for start in starts])
    encoder = _speaker_encoder()
    embeddings = []
    with torch.inference_mode():
        for first in range(0, len(windows), WINDOWS_AT_ONCE):
            batch = np.zeros((WINDOWS_AT_ONCE, WINDOW, MELS), np.float32)
            part = windows[first : first + WINDOWS_AT_ONCE]
            batch[: len(part)] = part
            embeddings.append(encoder(torch.from_numpy(batch)).numpy()[: len(part)])
    mean = np.concatenate(embeddings).mean(axis=0, dtype=np.float64)
    return np.asarray(mean / max(float(np.linalg.norm(mean)), 1e-12), dtype=np.float32)


def window_starts(samples: int) -> list[int]:
    """First frames of the windows over that many samples of speech; always at least one window."""
    frames = math.ceil((samples + 1) / HOP)
    starts = list(range(0, max(1, frames - WINDOW + STEP + 1), STEP))
    covered = (samples - starts[-1] * HOP) / (WINDOW * HOP)
    return starts[:-1] if covered < MIN_COVERAGE and len(starts) > 1 else starts


def mel_power(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) samples at 16 kHz → (1 + N // 160, 40) power in mel bands around the samples 0, 160, 320, …"""
    padded = np.pad(samples, FFT // 2)
    blocks = np.lib.stride_tricks.sliding_window_view(padded, FFT)[::HOP]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(FFT) / FFT)
    power = np.abs(np.fft.rfft(blocks * window)) ** 2
    return np.asarray(power @ _mel_bands().T, dtype=np.float32)


@functools.cache
def _mel_bands() -> NDArray[np.float64]:
    """(40, 201) triangles of area 1 (in Hz) on Slaney's mel scale: linear below 1 kHz, logarithmic above."""
    knee, per_mel, ratio = 15.0, 200 / 3, math.log(6.4) / 27
    top = knee + math.log(RATE / 2 / (knee * per_mel)) / ratio
    mels = np.linspace(0, top, MELS + 2)
    edges = np.where(mels < knee, mels * per_mel, knee * per_mel * np.exp(ratio * (mels - knee)))
    hertz = np.arange(FFT // 2 + 1) * RATE / FFT
    low, centre, high = (edges[i : i + MELS, None] for i in range(3))
    triangles = np.minimum((hertz - low) / (centre - low), (high - hertz) / (high - centre)).clip(0)
    return np.asarray(triangles * 2 / (high - low))


@functools.cache
def _speaker_encoder() -> SpeakerEncoder:
    from .nets.ge2e import load_speaker_encoder

    return load_speaker_encoder(weights.path("ge2e-resemblyzer"))
