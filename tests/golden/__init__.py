"""Numbers that the reference implementations gave on inputs and parameters made by rule, and these rules.

No trained network is involved: every parameter and input is computed from its name, the same on every machine. The
files hold what the published code answered: syncnet_python for lip sync and S3FD, UniSpeech, s3prl and SpeechBrain for
the speaker networks, insightface for alignment, torchaudio for the resampler, transformers and torchlibrosa for CLAP's spectrum.
"""

from __future__ import annotations

import json
import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FACTORS", "audio", "fill", "frames", "golden", "unit"]

# Factors that keep a randomly filled network in range.
FACTORS = {
    "netcnnlip.0.weight": 1 / 100,
    "netcnnaud.0.weight": 1 / 10,
    "netfclip.3.weight": 0.05,
    "netfcaud.3.weight": 0.05,
    "vgg.0.weight": 1 / 50,
}
CONSTANTS = {"L2Norm3_3.weight": 10.0, "L2Norm4_3.weight": 8.0, "L2Norm5_3.weight": 5.0}
SHARED = {"netfclip.3.bias", "netfcaud.3.bias"}  # one common offset, so that silence beyond the ends does not win


def golden(name: str) -> dict[str, Any]:
    """The numbers of `NAME.json`."""
    found: dict[str, Any] = json.loads((Path(__file__).parent / f"{name}.json").read_text())
    return found


def unit(name: str, count: int) -> NDArray[np.float64]:
    """(count,) pseudo-random numbers of mean 0 and variance 1, uniform; the same everywhere: splitmix64 from the name's CRC-32."""
    start = np.uint64(zlib.crc32(name.encode()) << 32)
    with np.errstate(over="ignore"):
        z = (start + np.arange(1, count + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z ^= z >> np.uint64(31)
    return (2 * ((z >> np.uint64(11)).astype(np.float64) * 2.0**-53) - 1) * math.sqrt(3)


def fill(shapes: Mapping[str, Iterable[int]]) -> dict[str, NDArray[Any]]:
    """Parameters of SyncNet, S3FD or the ECAPA head, by their names in the state dict."""
    sizes = {name: tuple(shape) for name, shape in shapes.items()}
    return {name: _parameter(name, shape, sizes) for name, shape in sizes.items()}


def frames(count: int, height: int, width: int) -> NDArray[np.uint8]:
    """(count, height, width, 3) moving stripes and tiles."""
    t, y, x, c = np.meshgrid(*map(np.arange, (count, height, width, 3)), indexing="ij", sparse=True)
    p = (3 * x + 5 * y + 67 * c + 11 * t + 7 * (x // 16) * (y // 16) * (1 + t % 5)) % 512
    return np.where(p < 256, p, 511 - p).astype(np.uint8)


def audio(count: int) -> NDArray[np.int16]:
    """(count,) a rising tone that swells and fades, with noise; at 16 kHz."""
    n = np.arange(count)
    t = n / 16000
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * t)
    tone = 6000 * swell * np.sin(2 * np.pi * (200 * t + 150 * t**2))
    return np.rint(tone + 600 * unit("audio-noise", count)).astype(np.int16)


def _parameter(name: str, shape: tuple[int, ...], sizes: Mapping[str, tuple[int, ...]]) -> NDArray[Any]:
    stem, _, last = name.rpartition(".")
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    if name in CONSTANTS:
        return np.full(shape, CONSTANTS[name], np.float32)
    z = unit("shared.bias" if name in SHARED else name, math.prod(shape)).reshape(shape)
    normalised = f"{stem}.running_mean" in sizes
    if name in SHARED:
        z = 0.3 * z
    elif last == "running_mean":
        z = 0.1 * z
    elif last == "running_var":
        z = 1 + 0.25 * np.abs(z)
    elif normalised and last == "weight":
        z = 1 + 0.1 * z
    elif normalised and last == "bias":
        z = 0.1 * z
    elif len(shape) >= 2:
        z = z * math.sqrt(2 / math.prod(shape[1:]))
    else:
        z = 0.05 * z
    return (z * FACTORS.get(name, 1.0)).astype(np.float32)
