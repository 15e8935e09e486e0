"""How network files are read: as numbers only, every one of them accounted for.

A pickle may hold code; torch's restricted reader refuses all but tensors and plain containers. A safetensors file
can hold nothing but numbers; its own library checks that its table and its bytes agree.
"""

from __future__ import annotations

import math
import pickle
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import torch

from ...errors import WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["channels_last", "fit", "numbered", "read_pickled", "read_safetensors", "read_tokenizer"]

Module = TypeVar("Module", bound=torch.nn.Module)


def read_pickled(path: Path, wrapper: str | None = None, beside: Collection[str] = ()) -> dict[str, torch.Tensor]:
    """The tensors under the key `wrapper` of a torch file, or of one that holds a table of tensors alone (None).

    `beside` names what else may stand beside the wrapper. WeightsError for a file that holds anything else, or
    anything but numbers.
    """
    try:
        stored = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WeightsError(f"{path}: not a torch file of numbers ({reason}). It was not opened further.") from error
    if wrapper is None:
        return _tensors(stored, f"{path}: the file")
    if not isinstance(stored, Mapping) or wrapper not in stored:
        raise WeightsError(f"{path}: no {wrapper!r} in it; found {_listed(stored)}.")
    if surplus := set(stored) - {wrapper, *beside}:
        raise WeightsError(f"{path}: unexpected {_listed(surplus)}; expected {wrapper!r} and {_listed(beside)}.")
    return _tensors(stored[wrapper], f"{path}: {wrapper!r}")


def read_safetensors(path: Path, kinds: Collection[str] = ("F32",)) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file, in its order and types; `kinds` are the types expected ("F32", "F16").

    WeightsError for a file that contradicts itself, or holds numbers of another type.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stored:
            names = stored.offset_keys()
            found = {name: stored.get_slice(name).get_dtype() for name in names}
            if strange := [f"{name} is {kind}" for name, kind in found.items() if kind not in kinds]:
                raise WeightsError(f"{path}: not a safetensors file of {' or '.join(kinds)} numbers ({strange[0]}).")
            return {name: stored.get_tensor(name) for name in names}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file of {' or '.join(kinds)} numbers ({error}).") from error


def read_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer of a `tokenizer.json`; WeightsError where it is none."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises no narrower one
        raise WeightsError(f"{path}: not a tokenizer.json ({error}).") from error


def fit(module: torch.nn.Module, state: Mapping[str, torch.Tensor], path: Path, unused: Collection[str] = ()) -> None:
    """Gives the module its numbers; every name and shape must agree, but those in `unused` may be left over."""
    try:
        module.load_state_dict({name: value for name, value in state.items() if name not in unused}, strict=True)
    except RuntimeError as error:
        raise WeightsError(f"{path}: the file is of another network than {type(module).__name__}: {error}") from error
    module.eval().requires_grad_(False)


def channels_last(module: Module) -> Module:
    """Lays the weights of planar convolutions out as processors read them fastest; the numbers stay the same."""
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return module


def numbered(module: Module) -> Module:
    """Gives an untrained module random numbers that depend on names and shapes alone, and makes it ready to run.

    Weights keep the size of what goes through them; scales and variances are near 1, biases and means near 0.
    """
    for name, value in module.state_dict().items():
        if not value.is_floating_point():
            continue
        drawn = torch.randn(value.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
        if value.ndim > 1:
            value.copy_(drawn * math.sqrt(2 / math.prod(value.shape[1:])))
        else:
            value.copy_(0.05 * drawn + (0.0 if name.endswith(("bias", "mean")) else 1.0))
    return module.eval().requires_grad_(False)


def _tensors(stored: object, place: str) -> dict[str, torch.Tensor]:
    if not isinstance(stored, Mapping):
        raise WeightsError(f"{place} is not a table of tensors but a {type(stored).__name__}.")
    if strange := [
        f"{name!r} is a {type(value).__name__}" for name, value in stored.items() if not torch.is_tensor(value)
    ]:
        raise WeightsError(f"{place} is not a table of tensors: {', '.join(strange[:3])}.")
    return {str(name): value for name, value in stored.items()}


def _listed(names: object) -> str:
    if not isinstance(names, Collection) or isinstance(names, str):
        return type(names).__name__
    return ", ".join(sorted(map(repr, names))) or "nothing"
