"""Ways of holding weights: what is on the device in a phase, and which way has room.

    resident   all networks but those of the text; these, before, by themselves
    staged     the networks of one phase, all clips going through it before the next
    offload    of the transformer and the text encoder the block that runs, the others in CPU memory

"auto" is the first of these that fits.

Conventions. Bytes of the device are weights, and beside them what a phase makes. What a library sets aside besides
(cuBLAS, fragments) is not known beforehand: a tenth of the free memory is left to it. On a CPU networks that wait are in
the same memory, and every way needs what "resident" does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias, get_args

import torch

from ...workers import free_bytes
from .. import pipeline
from ..latents import video_grid
from ..recipe import Memory
from .parts import Large
from .phases import Request

__all__ = ["MODES", "Mode", "amount", "chosen", "host_bytes", "weights_held"]

Mode: TypeAlias = Literal["resident", "staged", "offload"]

MODES: tuple[Mode, ...] = get_args(Mode)
AT_ONCE = 1  # blocks on the device when they are offloaded: the next one comes when that one has gone
FREE = 0.9  # of the device's free memory that may be filled
TEXT = ("text_encoder", "connectors")
STAGED = {  # networks on the device together, as the pipeline brings them
    "text": TEXT,
    "inputs": ("vae", "audio_vae"),
    "stage one": ("transformer",),
    "upsampling": ("vae", "latent_upsampler"),
    "stage two": ("transformer",),
    "picture": ("vae", "audio_vae", "vocoder"),
    "sound": ("vae", "audio_vae", "vocoder"),
}


def weights_held(name: str, request: Request) -> dict[Mode, int]:
    """Bytes of weights on the device in the phase of that name."""
    recipe, parts, stored = request.recipe, request.parts, request.parts.stored
    resident = sum(count for part, count in stored.items() if (part in TEXT) == (name == "text"))
    used = {"stage one": recipe.stage_one, "stage two": recipe.stage_two}.get(name, {})  # the idle ones wait elsewhere
    staged = sum(stored[part] for part in (*STAGED[name], *used))
    # Without its blocks the transformer stays on the device; all adapters are parts of it.
    large: Large = "text_encoder" if name == "text" else "transformer"
    blocks = parts.in_blocks(large)
    running = AT_ONCE * blocks.largest if large in STAGED[name] else 0
    others = sum(stored[part] for part in STAGED[name] if part != large)
    return {"resident": resident, "staged": staged, "offload": blocks.rest + running + others}


def chosen(asked: Memory, phases: Iterable[Mapping[Mode, int]], place: torch.device) -> tuple[Mode, str]:
    """The way that is taken, and why, from the bytes of each phase in every way."""
    rows = [needed if place.type != "cpu" else dict.fromkeys(MODES, needed["resident"]) for needed in phases]
    peaks = {mode: max(needed[mode] for needed in rows) for mode in MODES}
    free = _free(place)
    fits = {mode: free is None or peaks[mode] <= FREE * free for mode in MODES}
    there = "" if free is None else f"of {amount(free)} free"
    if asked != "auto":
        return asked, "as asked for" + ("" if fits[asked] else f", though it needs {amount(peaks[asked])} {there}")
    if not any(fits.values()):
        least = min(MODES, key=lambda mode: peaks[mode])
        return least, f"though nothing fits: it needs {amount(peaks[least])} {there}"
    if free is None:
        return "resident", "as nothing is known of the memory of the device"
    mode = next(mode for mode in MODES if fits[mode])
    larger = "".join(f"; {each} needs {amount(peaks[each])}" for each in MODES[: MODES.index(mode)])
    return mode, f"the first that fits into {FREE:.0%} {there}{larger}"


def amount(count: int) -> str:
    """Bytes for a person: in GB (10^9), MB or kB."""
    for unit, of in (("GB", 1e9), ("MB", 1e6)):
        if count >= of:
            return f"{count / of:.1f} {unit}"
    return f"{count / 1e3:.1f} kB"


def host_bytes(request: Request, mode: Mode, place: torch.device, peak: int) -> int:
    """CPU memory: all of it on a CPU (`peak`); else networks on their way to the device or waiting; latents, one picture.

    Blocks that are offloaded from a GPU lie in pages that are locked: they are copied there, all before the first of
    them is given up.
    """
    parts, shot = request.parts, request.shot
    together = 1 if mode == "resident" else pipeline.BATCH
    latent = 4 * video_grid(shot, 1).tokens * int(parts.meta("transformer").config.in_channels)
    made = together * latent + 3 * math.prod((shot.frames, shot.width, shot.height))
    if place.type == "cpu":
        return max(peak, parts.unpacked) + made
    texts = [parts.stored[part] for part in TEXT]
    rest = sum(parts.stored.values()) - sum(texts)
    waiting = max(texts) if mode == "resident" else max(sum(texts), rest)
    if mode == "offload":
        adapted = sum(parts.stored[part] for part in ("transformer", *parts.adapters))
        copied = [sum(texts) + parts.in_blocks("text_encoder").all, adapted + parts.in_blocks("transformer").all]
        waiting = max(waiting, *copied)
    return max(parts.unpacked, waiting) + made


def _free(place: torch.device) -> int | None:
    """Bytes of the device that nobody holds; None where the system does not say."""
    return int(torch.cuda.mem_get_info(place)[0]) if place.type == "cuda" else free_bytes()
