"""Between media and latents: pictures and sound → normalised tokens, and back.

    (T, H, W, 3) → video encoder → (1, F · h · w, C), frame by frame, row by row
    tokens of a grid → upsampler → those of one of twice the height and width
    tokens → video decoder, in overlapping tiles → (T, H, W, 3);   tokens → decoder → vocoder → sound

Conventions. Tokens are normalised with the statistics of their network, (1, N, C) in float32; networks have a dtype of
their own. Decoded sound is 30 ms shorter than the picture. Both its channels are mixed: a `Sound` has one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ..clip import FRAME_RATE, Sound
from ..errors import NotFinite
from . import audio
from .shots import LATENT_FRAMES, LATENT_PIXELS, Pixels, Shot

__all__ = ["Grid", "audio_tokens", "decoded_frames", "decoded_sound", "encoded", "fitted", "upsampled", "video_grid"]

Network: TypeAlias = Any  # of diffusers or transformers: to type checkers their classes are empty

AUDIO_LATENTS_PER_SECOND = 25
MAX_FACTOR = 2  # by which a picture is shrunk by plain bilinear interpolation, as the authors do by any
TILE_PIXELS, TILE_STRIDE = 512, 448  # of the decoder, in the picture
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


def video_grid(shot: Shot, shrink: int) -> Grid:
    """The latents of a clip's picture in the stage whose sides are `shrink` times smaller."""
    pixels = LATENT_PIXELS * shrink
    return Grid((shot.frames - 1) // LATENT_FRAMES + 1, shot.height // pixels, shot.width // pixels)


def audio_tokens(shot: Shot) -> int:
    """How many latents a clip's sound has."""
    return round(shot.frames / FRAME_RATE * AUDIO_LATENTS_PER_SECOND)


def fitted(picture: Pixels, height: int, width: int, fit: Literal["crop", "stretch"]) -> Tensor:
    """(T, H, W, 3) → (1, 3, T, height, width) from -1 to 1: bilinear, stretched, or covering and cut about its middle.

    To less than half, the filter is as wide as the factor: plain bilinear, which the networks' authors use at all sizes,
    skips pixels there and makes moiré of hair and cloth; and the first frame is what the whole clip is made to look like.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(0, 3, 1, 2).float()
    _, _, rows, columns = pixels.shape
    size = (height, width)
    if fit == "crop":  # in whole numbers, so that a picture of the right shape is never a pixel short
        if rows * width > columns * height:
            size = (-(-rows * width // columns), width)
        else:
            size = (height, -(-columns * height // rows))
    if size != (rows, columns):
        wide = max(rows / size[0], columns / size[1]) > MAX_FACTOR
        pixels = functional.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=wide)
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
    """Tokens → (T, H, W, 3) RGB, decoded in overlapping pieces where it is large."""
    latent = _folded(audio.denormalise(tokens, *_statistics(vae)), grid).to(vae.dtype)
    frames = np.empty((LATENT_FRAMES * (grid.frames - 1) + 1, *grid.pixels, 3), np.uint8)
    done = 0
    with _tiled(vae, grid):
        for piece in _in_time(vae, latent):
            if not piece.isfinite().all():
                raise NotFinite(
                    f"decoded pixels are not finite (in {vae.dtype}); if every pair is so, check the weights of vae."
                )
            levels = ((piece[0].permute(1, 2, 3, 0) + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
            frames[done : done + len(levels)] = levels.cpu().numpy()
            done += len(levels)
    return frames


def decoded_sound(audio_vae: Network, vocoder: Network, tokens: Tensor) -> Sound:
    """Normalised tokens (1, T, C) → what is heard, both channels mixed."""
    packed = audio.denormalise(tokens.float(), audio_vae.latents_mean, audio_vae.latents_std)
    mel = audio_vae.decode(audio.unpack(packed, audio_vae.config.latent_channels), return_dict=False)[0]
    samples = vocoder(mel)[0].mean(dim=0)
    if not samples.isfinite().all():
        raise NotFinite(
            "decoded samples are not finite; if every pair is so, check the weights of audio_vae and vocoder."
        )
    return Sound(samples.clamp(-1, 1).cpu().numpy(), vocoder.config.output_sampling_rate)


def _in_time(vae: Network, latent: Tensor) -> Iterator[Tensor]:
    """The decoded frames (1, 3, t, H, W) of latents (1, C, F, h, w), piece by piece, in float32.

    A decoder makes one frame of the first latent that it gets and eight of each other: of a later piece that frame is
    the last of the latent, and is left out. Where pieces overlap one fades into the other.
    """
    size, stride = TILE_FRAMES // LATENT_FRAMES, TILE_FRAMES_STRIDE // LATENT_FRAMES
    before: Tensor | None = None
    for start in range(0, latent.shape[2], stride):
        piece = vae.decode(latent[:, :, start : start + size + 1], None, return_dict=False)[0].float()
        if before is not None:
            piece = piece[:, :, 1:]
            count = before.shape[2]
            share = (torch.arange(count, device=piece.device) / count)[:, None, None]
            piece[:, :, :count] = before * (1 - share) + piece[:, :, :count] * share
        if start + size + 1 >= latent.shape[2]:
            yield piece
            return
        kept = TILE_FRAMES_STRIDE + (start == 0)
        before = piece[:, :, kept:]
        yield piece[:, :, :kept]


@contextlib.contextmanager
def _tiled(vae: Network, grid: Grid) -> Iterator[None]:
    """Decodes large pictures in tiles; `_in_time` cuts time, as diffusers' own cut leaves later pieces a frame late."""
    framewise = vae.use_framewise_decoding
    vae.enable_tiling(TILE_PIXELS, TILE_PIXELS, None, _stride(grid.height), _stride(grid.width))
    vae.use_framewise_decoding = False
    try:
        yield
    finally:
        vae.use_tiling, vae.use_framewise_decoding = False, framewise


def _stride(latents: int) -> int:
    """Pixels from tile to tile: such that the fewest that do are of one width, and the last one is not a mere strip.

    A strip is decoded without what is beside it, and all of it would be in what the picture fades into.
    """
    size, most = TILE_PIXELS // LATENT_PIXELS, TILE_STRIDE // LATENT_PIXELS
    if latents <= size:
        return TILE_PIXELS
    strides = (-(-latents // tiles) for tiles in range(-(-latents // most), latents))
    return LATENT_PIXELS * next(stride for stride in strides if (latents - 1) % stride + 1 > size - stride)


def _statistics(vae: Network) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of the latents of a video."""
    return vae.latents_mean.float(), vae.latents_std.float() / vae.config.scaling_factor


def _flat(latent: Tensor) -> Tensor:
    """(1, C, F, h, w) → (1, F · h · w, C), frame by frame, row by row, in float32."""
    return latent.float().flatten(2).transpose(1, 2)


def _folded(tokens: Tensor, grid: Grid) -> Tensor:
    return tokens.transpose(1, 2).reshape(1, -1, *grid)
