"""How network files are read: as numbers only, every one of them accounted for.

A pickle may hold code; torch's restricted reader refuses all but tensors and plain containers. A safetensors file is
a length (8 bytes, little endian), a JSON table of names, types, shapes and byte ranges, and then the numbers.
"""

from __future__ import annotations

import json
import math
import pickle
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import torch

from ...errors import WeightsError

__all__ = ["fit", "read_pickled", "read_safetensors"]


def read_pickled(path: Path, wrapper: str, beside: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """The tensors under the key `wrapper` of a torch file; `beside` names what else the file may hold.

    WeightsError for a file that holds anything else, or anything but numbers.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: not a torch file of numbers ({reason}). It was not opened further.") from error
    if not isinstance(stored, Mapping) or wrapper not in stored:
        raise WeightsError(f"{path}: no {wrapper!r} in it; found {_listed(stored)}.")
    if surplus := set(stored) - {wrapper, *beside}:
        raise WeightsError(f"{path}: unexpected {_listed(surplus)}; expected {wrapper!r} and {_listed(beside)}.")
    state = stored[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"{path}: {wrapper!r} is not a table of tensors.")
    return {str(name): value for name, value in state.items()}


def read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    """The float32 tensors of a safetensors file; WeightsError for one that contradicts itself."""
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    if len(content) < 8 or start > len(content):
        raise WeightsError(f"{path}: not a safetensors file; its table would end at byte {start} of {len(content)}.")
    state = {}
    try:
        table = json.loads(content[8:start])
        for name, entry in table.items():
            if name == "__metadata__":
                continue
            first, last = (start + offset for offset in entry["data_offsets"])
            shape = tuple(int(length) for length in entry["shape"])
            if entry["dtype"] != "F32" or not start <= first <= last <= len(content):
                raise ValueError(f"{name} is {entry['dtype']} in bytes {first} to {last} of {len(content)}")
            if 4 * math.prod(shape) != last - first:
                raise ValueError(f"{name} has the shape {shape} in {last - first} bytes")
            numbers = np.frombuffer(content[first:last], dtype="<f4").astype(np.float32)
            state[name] = torch.from_numpy(numbers.reshape(shape))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: not a safetensors file of float32 numbers ({error}).") from error
    return state


def fit(module: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path, unused: Collection[str] = ()) -> None:
    """Gives the module its numbers; every name and shape must agree, but those in `unused` may be left over."""
    try:
        module.load_state_dict({name: value for name, value in state.items() if name not in unused}, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path}: the file is of another network than {type(module).__name__}: {error}") from error
    module.eval().requires_grad_(False)


def _listed(names: object) -> str:
    if not isinstance(names, Collection) or isinstance(names, str):
        return type(names).__name__
    return ", ".join(sorted(map(repr, names))) or "nothing"
