"""A sound as LTX-2 reads it: log-mel levels, latents, tokens.

    Sound → 16 kHz, two channels → magnitudes of 1024-sample windows every 10 ms → 64 mel bands, natural logarithm
    → audio encoder, four columns to a latent of 8 channels x 16 bands → one token of 128 numbers → normalised

Conventions. Windows are periodic Hann, centred on samples 0, 160, 320, …; the sound is mirrored at its ends. Bands are
triangles on Slaney's mel scale (linear to 1 kHz, logarithmic above), of equal area, 0 to 8000 Hz; a magnitude below 1e-5
counts as 1e-5. A token lists its 16 bands for the first channel, then for the second: statistics have 128 entries, one
for each number of a token. All of a reference is used; nothing is trimmed or padded.

The network was trained on two channels; a `Sound` has one, which stands for both. The encoder runs in float32 and gives
the mean of its distribution: in bfloat16 it is off by more than a percent.

Slaney: Auditory Toolbox, Interval Research 1998-010.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import MediaError, UsageError
from ..extract.resample import resample

if TYPE_CHECKING:
    from ..clip import Sound

__all__ = [
    "BANDS",
    "CHANNELS",
    "MAX_SECONDS",
    "MELS",
    "MIN_SECONDS",
    "RATE",
    "check_reference",
    "denormalise",
    "log_mel",
    "mel_bands",
    "normalise",
    "pack",
    "reference_mel",
    "reference_tokens",
    "unpack",
]

AudioVae: TypeAlias = Any  # diffusers.AutoencoderKLLTX2Audio: to type checkers its classes are empty

RATE = 16_000  # Hz
WINDOW, HOP = 1024, 160  # samples
MELS = 64
FLOOR = 1e-5  # least magnitude in a band, full scale = 1
CHANNELS, BANDS = 8, 16  # of a latent
MIN_SECONDS, MAX_SECONDS = 0.3, 30.0  # of a reference: less is no voice, more has positions the network never saw
SILENT_PEAK = 1e-3  # -60 dBFS

LINEAR_HZ, MELS_PER_HZ = 1000.0, 3 / 200  # Slaney's scale is linear up to here
OCTAVE = math.log(6.4) / 27  # and above, one mel is so much in the logarithm of frequency


def check_reference(sound: Sound) -> None:
    """MediaError for a voice that is shorter than 0.3 s or longer than 30 s, silent, or not of finite numbers."""
    seconds = len(sound.samples) / sound.rate
    if not MIN_SECONDS <= seconds <= MAX_SECONDS:
        cure = "give more of the voice" if seconds < MIN_SECONDS else "cut it: about 5 s are best"
        raise MediaError(
            f"a voice reference of {seconds:.2f} s; expected {MIN_SECONDS:g} to {MAX_SECONDS:g} s; {cure}."
        )
    if not np.isfinite(sound.samples).all():
        raise MediaError("a voice reference with samples that are not finite numbers; expected sound between -1 and 1.")
    peak = float(np.abs(sound.samples).max())
    if peak < SILENT_PEAK:
        raise MediaError(
            f"a silent voice reference: its largest sample is {peak:.1e}; expected at least {SILENT_PEAK:g} of full "
            "scale (stereo is mixed to one channel: opposite channels cancel)."
        )


def reference_mel(sound: Sound) -> torch.Tensor:
    """(1, 2, 1 + N // 160, 64) of a voice, N its samples at 16 kHz; MediaError as `check_reference`."""
    check_reference(sound)
    heard = torch.from_numpy(resample(sound.samples, sound.rate, RATE))
    return log_mel(heard.expand(2, -1))[None]


def reference_tokens(audio_vae: AudioVae, mel: torch.Tensor) -> torch.Tensor:
    """(B, 2, T, 64) → (B, ceil(T / 4), 128) normalised tokens in float32, on the encoder's device."""
    kept = audio_vae.dtype
    device = next(audio_vae.parameters()).device
    if kept != torch.float32:  # diffusers warns of a change that is none
        audio_vae.to(torch.float32)
    try:
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            latent = audio_vae.encode(mel.to(device, torch.float32)).latent_dist.mode()
    finally:
        if kept != torch.float32:
            audio_vae.to(kept)
    return normalise(pack(latent), audio_vae.latents_mean.float(), audio_vae.latents_std.float())


# Levels ----------------------------------------------------------------------------------------------------------


def log_mel(samples: torch.Tensor) -> torch.Tensor:
    """(..., N) samples at 16 kHz, N > 512 → (..., 1 + N // 160, 64) logarithms of magnitudes."""
    if samples.shape[-1] <= WINDOW // 2:
        raise UsageError(f"levels of {samples.shape[-1]} samples; expected more than {WINDOW // 2}: ends are mirrored.")
    window = torch.hann_window(WINDOW, dtype=torch.float32, device=samples.device)
    flat = samples.float().reshape(-1, samples.shape[-1])
    spectrum = torch.stft(flat, WINDOW, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
    bands = torch.from_numpy(mel_bands()).to(samples.device) @ spectrum.abs()
    return bands.clamp(min=FLOOR).log().transpose(-1, -2).reshape(*samples.shape[:-1], -1, MELS)


@functools.cache
def mel_bands() -> NDArray[np.float32]:
    """(64, 513) weights of the bins of a spectrum in each band."""
    edges = _hertz(np.linspace(_mels(0.0), _mels(RATE / 2), MELS + 2))
    bins = np.linspace(0, RATE / 2, WINDOW // 2 + 1)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.minimum((bins - low) / (centre - low), (high - bins) / (high - centre)).clip(min=0)
    return (triangles * 2 / (high - low)).astype(np.float32)


def _mels(hertz: float) -> float:
    linear = LINEAR_HZ * MELS_PER_HZ
    return hertz * MELS_PER_HZ if hertz < LINEAR_HZ else linear + math.log(hertz / LINEAR_HZ) / OCTAVE


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    linear = LINEAR_HZ * MELS_PER_HZ
    return np.where(mels < linear, mels / MELS_PER_HZ, LINEAR_HZ * np.exp((mels - linear) * OCTAVE))


# Tokens ----------------------------------------------------------------------------------------------------------


def pack(latent: torch.Tensor) -> torch.Tensor:
    """(B, C, T, F) → (B, T, C · F): one token to a time, the bands of the first channel first."""
    return latent.transpose(1, 2).flatten(2)


def unpack(tokens: torch.Tensor, channels: int = CHANNELS) -> torch.Tensor:
    """(B, T, C · F) → (B, C, T, F), what `pack` was given."""
    batch, times, _ = tokens.shape
    return tokens.reshape(batch, times, channels, -1).transpose(1, 2)


def normalise(tokens: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(B, T, C) as the encoder gives them → as the loop has them; `mean` and `std` (C,) are the encoder's."""
    return (tokens - mean) / std


def denormalise(tokens: torch.Tensor, mean: torch.Tensor, std: torch.Tensor) -> torch.Tensor:
    """(B, T, C) as the loop has them → as the decoder wants them."""
    return tokens * std + mean
