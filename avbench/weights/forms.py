"""Whether a file is of the kind that its name says, before it is locked as the right one.

    misfit(path, suffix)              of one file
    misfit_of_model(place, folders)   of a model in diffusers' layout

A file without a published digest is believed when it first comes. A web page, half a file or a model without some of
its parts must not be. Only heads are read: of a safetensors file that, with its own reader, which also compares the
length of the file with what the head says; of JSON all of it. Files of other kinds are taken as they are.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from ..errors import WeightsError

__all__ = ["INDEX", "misfit", "misfit_of_model"]

INDEX = "model_index.json"  # of a model in diffusers' layout
CONFIGURED = "config.json"  # of a part that is a network, beside its numbers
CONFIGURATIONS = (CONFIGURED, "scheduler_config.json", "tokenizer_config.json")  # one of which every part has


def misfit(path: Path, suffix: str = "") -> str:
    """What speaks against a file being what its suffix (or the one given, of a part) says; empty if nothing does."""
    match suffix or path.suffix:
        case ".safetensors":
            said = _safetensors(path)
            return f"{path} is no safetensors file ({said}); expected one" if said else ""
        case ".json":
            said = _json(path)
            return f"{path} is no JSON file ({said}); expected one" if said else ""
    return ""


def misfit_of_model(place: Path, folders: Sequence[str]) -> str:
    """What speaks against a folder being a whole model with these parts; empty if nothing does."""
    absent = [name for name in (INDEX, *folders) if not (place / name).exists()]
    if absent:
        return f"{place} has no {', '.join(absent)}; expected {INDEX} and the folders {', '.join(folders)}"
    faults = (misfit(place / INDEX), *(_misfit_of_part(place / name) for name in folders))
    return next((fault for fault in faults if fault), "")


# One part --------------------------------------------------------------------------------------------------------


def _misfit_of_part(folder: Path) -> str:
    """Configuration there, every file what its name says, every shard that an index names there."""
    files = sorted(path for path in folder.rglob("[!.]*") if path.is_file())
    names = {path.relative_to(folder).as_posix() for path in files}
    if not names.intersection(CONFIGURATIONS):
        return f"{folder} has none of {', '.join(CONFIGURATIONS)}; expected the configuration of this part"
    if CONFIGURED in names and not any(name.endswith(".safetensors") for name in names):
        return f"{folder} has no safetensors file; expected the numbers of this network"
    for path in files:
        if fault := misfit(path):
            return fault
        if path.name.endswith(".safetensors.index.json"):
            listed = json.loads(path.read_bytes())
            shards = listed.get("weight_map") if isinstance(listed, dict) else None
            if not isinstance(shards, dict):
                return f"{path} has no weight_map; expected the list of shards"
            absent = sorted(set(map(str, shards.values())) - names)
            if absent:
                return f"{folder} has no {', '.join(absent)}; expected all shards that {path.name} names"
    return ""


def _safetensors(path: Path) -> str:
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise WeightsError(
            f"{path}: safetensors, which reads its head, is not installed. "
            f"Run: {sys.executable} -m pip install 'avbench[generate]'"
        ) from None
    try:
        with safe_open(path, framework="numpy"):
            return ""
    except SafetensorError as error:
        return " ".join(str(error).split())


def _json(path: Path) -> str:
    try:
        json.loads(path.read_bytes())
    except ValueError as error:
        return " ".join(str(error).split())
    return ""
