"""Where each token lies, for the rotary embedding: in seconds on one clock for sound and picture, and in pixels.

    target   0 ─────────── 4.81 s         reference   -5.05 ─────────── -0.04 s   (126 tokens)

Conventions. A position is an interval, start and end; the network takes its middle. The first latent frame of a video
and the first latent of a sound stand for one frame and one mel column, all others for 8 and 4: both encoders are causal.
A latent of sound therefore lasts 0.04 s, but the first 0.01 s.

Negative positions. A reference of another clip keeps its own order in time and is moved as a whole before the target,
which stays where it was in pre-training: the last reference token ends 0.04 s, one latent, before zero (ID-LoRA, section
3.2). The order in which tokens are listed means nothing; only positions do.

Precision. Positions are float32 here. The published ID-LoRA was trained and run with positions rounded to bfloat16: those
of the video, and those of the reference before it is moved (the move is in bfloat16 too). `rounded` gives these: with
`before(rounded(reference))` reference tokens of 5 s lie up to 29 ms away from where they belong. Positions of the video
must reach the rotary embedding in bfloat16, which forms middles in the type it is given: up to 26 ms in 121 frames.
"""

from __future__ import annotations

import torch

from ..errors import UsageError

__all__ = ["GAP_SECONDS", "audio_positions", "before", "rounded", "video_positions"]

GAP_SECONDS = 0.04  # one latent of sound

FRAMES, PIXELS = 8, 32  # of video to a latent, in time and in each direction of the picture
COLUMNS = 4  # of the mel spectrogram to a latent
COLUMN_SAMPLES, RATE = 160, 16_000  # of sound to a column; Hz


def video_positions(frames: int, height: int, width: int, fps: float) -> torch.Tensor:
    """(1, 3, F · H · W, 2): seconds, rows and columns in pixels, of an F x H x W grid of latents, frame by frame, row by row.

    UsageError for an empty grid, or no frames per second.
    """
    if min(frames, height, width) < 1 or not fps > 0:
        raise UsageError(
            f"video positions of {frames} x {height} x {width} latents at {fps} frames per second; "
            "expected at least one latent each way, and a rate above 0."
        )
    seconds = (_edges(frames, FRAMES) / fps).reshape(frames, 1, 1, 2)
    rows = _cells(height).reshape(1, height, 1, 2)
    columns = _cells(width).reshape(1, 1, width, 2)
    grid = (frames, height, width, 2)
    return torch.stack([axis.expand(grid).reshape(-1, 2) for axis in (seconds, rows, columns)])[None]


def audio_positions(count: int) -> torch.Tensor:
    """(1, 1, N, 2): seconds, of N latents of sound from zero on. UsageError for none."""
    if count < 1:
        raise UsageError(f"audio positions of {count} latents; expected at least one.")
    return (_edges(count, COLUMNS) * COLUMN_SAMPLES / RATE)[None, None]


def before(positions: torch.Tensor, gap: float = GAP_SECONDS) -> torch.Tensor:
    """Positions (1, k, N, 2) moved in time as a whole so that the last token ends `gap` seconds before zero.

    In the type they are given in; rows and columns, where there are any, stay.
    """
    if not gap > 0:
        raise UsageError(f"a gap of {gap} s before the target; expected more than 0.")
    end = positions[:, 0, :, 1].max().item()
    moved = positions.clone()
    moved[:, 0] = moved[:, 0] - end - gap  # two subtractions, the published order: in bfloat16 it tells
    return moved


def rounded(positions: torch.Tensor) -> torch.Tensor:
    """Positions in bfloat16, as the published ID-LoRA has them. Beside float32 ones they become float32 again."""
    return positions.to(torch.bfloat16)


# Edges -----------------------------------------------------------------------------------------------------------


def _edges(count: int, stride: int) -> torch.Tensor:
    """(N, 2) start and end of latents in units of the signal; the first holds one, the others `stride`."""
    edges = (stride * torch.arange(count + 1, dtype=torch.float32) + 1 - stride).clamp(min=0)
    return torch.stack([edges[:-1], edges[1:]], dim=-1)


def _cells(count: int) -> torch.Tensor:
    """(N, 2) first and last edge of latents along one side of the picture, pixels."""
    edges = PIXELS * torch.arange(count + 1, dtype=torch.float32)
    return torch.stack([edges[:-1], edges[1:]], dim=-1)
