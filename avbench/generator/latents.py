"""Between media and latents: pictures and sound → normalised tokens, and back.

    (T, H, W, 3) → video encoder → (1, F · h · w, C), frame by frame, row by row
    tokens of a grid → upsampler → those of one of twice the height and width
    tokens → video decoder, in overlapping tiles → (T, H, W, 3);   tokens → decoder → vocoder → sound

Conventions. Tokens are normalised with the statistics of their network, (1, N, C) in float32; networks have a dtype of
their own. Decoded sound is 30 ms shorter than the picture. Both its channels are mixed: a `Sound` has one.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..clip import Sound
from ..errors import AvbenchError
from . import audio
from .shots import LATENT_PIXELS, Pixels

__all__ = ["Grid", "decoded_frames", "decoded_sound", "encoded", "fitted", "upsampled"]

Network: TypeAlias = Any  # of diffusers or transformers: to type checkers their classes are empty

TILE_PIXELS, TILE_STRIDES = 512, (448, 416)  # of the decoder, in the picture
TILE_FRAMES, TILE_FRAMES_STRIDE = 64, 40  # and in time


class Grid(NamedTuple):
    """Latents of a video, each way."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        return self.frames * self.height * self.width

    @property
    def pixels(self) -> tuple[int, int]:
        return self.height * LATENT_PIXELS, self.width * LATENT_PIXELS


def fitted(picture: Pixels, height: int, width: int, fit: Literal["crop", "stretch"]) -> Tensor:
    """(T, H, W, 3) → (1, 3, T, height, width) from -1 to 1: bilinear, stretched, or covering and cut about its middle."""
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(0, 3, 1, 2).float()
    _, _, rows, columns = pixels.shape
    size = (height, width)
    if fit == "crop":  # in whole numbers, so that a picture of the right shape is never a pixel short
        if rows * width > columns * height:
            size = (-(-rows * width // columns), width)
        else:
            size = (height, -(-columns * height // rows))
    if size != (rows, columns):
        pixels = functional.interpolate(pixels, size, mode="bilinear", align_corners=False)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    pixels = pixels[:, :, top : top + height, left : left + width]
    return (pixels / 127.5 - 1).permute(1, 0, 2, 3)[None]


def encoded(vae: Network, pixels: Tensor) -> Tensor:
    """(1, 3, T, H, W) from -1 to 1 → normalised tokens (1, N, C), the mean of what the encoder gives."""
    latent = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
    return audio.normalise(_flat(latent), *_statistics(vae))


def upsampled(vae: Network, upsampler: Network, tokens: Tensor, grid: Grid) -> Tensor:
    """Tokens of a grid → those of one of twice the height and width, as the network makes them of latents."""
    latent = _folded(audio.denormalise(tokens, *_statistics(vae)), grid)
    return audio.normalise(_flat(upsampler(latent.to(upsampler.dtype))), *_statistics(vae))


def decoded_frames(vae: Network, tokens: Tensor, grid: Grid) -> Pixels:
    """Tokens → (T, H, W, 3) RGB. Decoded in overlapping tiles where it is large; encoding never is."""
    latent = _folded(audio.denormalise(tokens, *_statistics(vae)), grid)
    strides = _stride(grid.height), _stride(grid.width)
    vae.enable_tiling(TILE_PIXELS, TILE_PIXELS, TILE_FRAMES, *strides, TILE_FRAMES_STRIDE)
    vae.use_framewise_decoding = True
    try:
        pixels = vae.decode(latent.to(vae.dtype), None, return_dict=False)[0][0]
    finally:
        vae.use_tiling = vae.use_framewise_decoding = False
    if not pixels.isfinite().all():
        raise AvbenchError(f"decoded pixels are not finite (in {vae.dtype}): use bf16 or fp32, and check the weights.")
    levels = ((pixels.permute(1, 2, 3, 0) + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    frames: Pixels = levels.cpu().numpy()
    return frames


def decoded_sound(audio_vae: Network, vocoder: Network, tokens: Tensor) -> Sound:
    """Normalised tokens (1, T, C) → what is heard, both channels mixed."""
    packed = audio.denormalise(tokens.float(), audio_vae.latents_mean, audio_vae.latents_std)
    mel = audio_vae.decode(audio.unpack(packed, audio_vae.config.latent_channels), return_dict=False)[0]
    samples = vocoder(mel)[0].mean(dim=0)
    if not samples.isfinite().all():
        raise AvbenchError("decoded samples are not finite: check the weights of audio_vae and vocoder.")
    return Sound(samples.clamp(-1, 1).cpu().numpy(), vocoder.config.output_sampling_rate)


def _stride(latents: int) -> int:
    """From tile to tile, in pixels, such that the last one is never a single latent wide, which cannot be decoded."""
    return next(stride for stride in TILE_STRIDES if latents % (stride // LATENT_PIXELS) != 1)


def _statistics(vae: Network) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of the latents of a video."""
    return vae.latents_mean.float(), vae.latents_std.float() / vae.config.scaling_factor


def _flat(latent: Tensor) -> Tensor:
    """(1, C, F, h, w) → (1, F · h · w, C), frame by frame, row by row, in float32."""
    return latent.float().flatten(2).transpose(1, 2)


def _folded(tokens: Tensor, grid: Grid) -> Tensor:
    return tokens.transpose(1, 2).reshape(1, -1, *grid)
