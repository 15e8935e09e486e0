"""Pictures from latents: every frame is where a decoder of the whole would have it."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from torch import Tensor

from avbench.errors import NotFinite
from avbench.generator.latents import Grid, _stride, decoded_frames
from avbench.generator.tiny import save_tiny

LEVELS = 256


class Clock:
    """A decoder whose frames show their number, as levels: of a first latent one frame, of each other eight."""

    dtype = torch.float32
    latents_mean, latents_std = torch.zeros(1), torch.ones(1)
    config = SimpleNamespace(scaling_factor=1.0)
    use_framewise_decoding = True
    use_tiling = False

    def enable_tiling(self, *sizes: int | None) -> None:
        self.use_tiling = True

    def decode(self, latent: Tensor, noise: None, return_dict: bool) -> tuple[Tensor]:
        assert self.use_tiling
        assert not self.use_framewise_decoding
        first, *rest = latent[0, 0, :, 0, 0].tolist()
        numbers = [8 * first, *(8 * number - left for number in rest for left in range(7, -1, -1))]
        levels = torch.tensor(numbers) % LEVELS
        return ((levels / 127.5 - 1)[None, None, :, None, None].expand(1, 3, -1, 64, 64).clone(),)


@pytest.mark.parametrize("count", [1, 2, 5, 6, 8, 9, 10, 11, 14, 15, 16, 20, 31])
def test_every_frame_of_a_long_clip_is_shown_once_and_in_its_place(count: int) -> None:
    grid = Grid(count, 2, 2)
    clock: Any = Clock()
    frames = decoded_frames(clock, torch.arange(count, dtype=torch.float32).repeat_interleave(4)[None, :, None], grid)
    assert frames.shape == (8 * (count - 1) + 1, 64, 64, 3)
    assert (frames[:, 0, 0, 0] == np.arange(8 * (count - 1) + 1) % LEVELS).all()
    assert (frames == frames[:, :1, :1, :1]).all()
    assert clock.use_framewise_decoding
    assert not clock.use_tiling


@pytest.fixture(scope="module", params=["2.0", "2.3"])
def vae(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    library: Any = diffusers
    folder = save_tiny(tmp_path_factory.mktemp("vae"), request.param)
    return library.AutoencoderKLLTX2Video.from_pretrained(folder / "vae").eval().requires_grad_(False)


def test_pieces_are_near_the_whole_and_nowhere_a_frame_off(vae: Any) -> None:
    grid = Grid(14, 2, 2)
    tokens = torch.randn((1, grid.tokens, 8), generator=torch.Generator().manual_seed(0))
    pieces = decoded_frames(vae, tokens, grid).astype(float)
    mean, std = vae.latents_mean, vae.latents_std / vae.config.scaling_factor
    latent = (tokens * std + mean).transpose(1, 2).reshape(1, 8, *grid)
    whole = ((vae.decode(latent, None).sample[0].permute(1, 2, 3, 0) + 1) * 127.5).clamp(0, 255).numpy()
    assert pieces.shape == whole.shape
    assert np.abs(pieces[:41] - whole[:41]).max() < 0.51
    for start in range(41, 97, 8):
        off = {
            shift: math.sqrt(np.square(pieces[start : start + 8] - whole[start + shift : start + shift + 8]).mean())
            for shift in (-1, 0, 1)
        }
        assert off[0] < 0.75 * min(off[-1], off[1])


@pytest.mark.parametrize(("height", "width"), [(2, 18), pytest.param(17, 15, marks=pytest.mark.slow)])
def test_tiles_are_near_the_whole_up_to_every_edge(vae: Any, height: int, width: int) -> None:
    grid = Grid(1, height, width)
    tokens = torch.randn((1, grid.tokens, 8), generator=torch.Generator().manual_seed(0))
    tiled = decoded_frames(vae, tokens, grid).astype(float)
    mean, std = vae.latents_mean, vae.latents_std / vae.config.scaling_factor
    latent = (tokens * std + mean).transpose(1, 2).reshape(1, 8, *grid)
    whole = ((vae.decode(latent, None).sample[0].permute(1, 2, 3, 0) + 1) * 127.5).clamp(0, 255).numpy()
    for edge in np.s_[:, :64], np.s_[:, -64:], np.s_[:, :, :64], np.s_[:, :, -64:]:
        assert np.square(tiled[edge] - whole[edge]).mean() < 0.015 * whole.var()


@pytest.mark.parametrize("latents", [2, 16, *range(17, 90), 183, 400])
def test_no_tile_shows_only_what_one_before_it_has_shown(latents: int) -> None:
    stride = _stride(latents) // 32
    assert 0 < stride <= 16
    starts = range(0, latents, stride)
    assert latents - starts[-1] > (16 - stride) * (len(starts) > 1)


def test_levels_are_rounded_once_whatever_the_decoder_computes_in() -> None:
    class Half(Clock):
        dtype = torch.bfloat16

        def decode(self, latent: Tensor, noise: None, return_dict: bool) -> tuple[Tensor]:
            return (torch.full((1, 3, 1, 64, 64), 0.50390625, dtype=torch.bfloat16),)

    half: Any = Half()
    frames = decoded_frames(half, torch.zeros(1, 4, 1), Grid(1, 2, 2))
    assert (frames == round((0.50390625 + 1) * 127.5)).all()  # 191.748; in bfloat16 it would be 191 or 192.5


def test_a_picture_that_is_not_finite_is_told_of_and_tiling_is_off_again() -> None:
    class Broken(Clock):
        def decode(self, latent: Tensor, noise: None, return_dict: bool) -> tuple[Tensor]:
            return (torch.full((1, 3, 1, 64, 64), math.nan),)

    broken: Any = Broken()
    with pytest.raises(NotFinite, match="check the weights of vae"):
        decoded_frames(broken, torch.zeros(1, 4, 1), Grid(1, 2, 2))
    assert not broken.use_tiling
