"""The networks of a recipe's model, built from configurations alone: what they are, and how many bytes they hold.

    recipe, folder (or the published sizes) → configurations → networks on "meta", or on a device with random numbers
    adapters → rank and layers, of their files where they are here → beside the layers that they are for

Conventions. The transformer has one block, as often as the real one has blocks: on "meta" no one sees the difference, and
on a GPU it takes the room of one and the time of all. Precision is as in `networks`: sound in float32 always, fp8 for most
layers of the transformer alone. Published files hold bfloat16.
"""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from ... import weights
from ...errors import WeightsError
from .. import adapters, layouts
from .. import networks as loading
from ..networks import Precision
from ..recipe import Adapter, Recipe

__all__ = ["Blocks", "Large", "Parts"]

Large: TypeAlias = Literal["text_encoder", "transformer"]  # whose blocks may be offloaded
Network: TypeAlias = Any  # of diffusers or transformers: to type checkers their classes are empty

SINGLE = ("audio_vae", "vocoder")  # run in float32 always
PUBLISHED = torch.bfloat16


class Blocks(NamedTuple):
    """Bytes of a network whose blocks are offloaded one by one."""

    rest: int  # outside of them
    all: int
    largest: int


class Parts:
    """The networks of a model: `names`, by folder; on "meta" each is built once. `adapters` are those of both stages.

    WeightsError for a folder without configurations, and for an adapter that is neither here nor known.
    """

    def __init__(self, recipe: Recipe, folder: Path | None, precision: Precision) -> None:
        self._folder, self._precision, self._layout = folder, precision, recipe.layout
        self.dtype = torch.float32 if precision == "fp32" else torch.bfloat16
        self.adapters = {**recipe.stage_one, **recipe.stage_two}
        self.names = tuple(part for part in layouts.PARTS if recipe.refine or part != "latent_upsampler")
        self._configs: dict[str, dict[str, Any]] = {
            part: layouts.configuration(self._layout, part) if folder is None else loading.configuration(folder / part)
            for part in self.names
        }
        self._blocks = int(self._configs["transformer"].get("num_layers", 48))
        self._loras = {name: _lora(adapter) for name, adapter in self.adapters.items()}
        self._meta: dict[str, Network] = {}

    def meta(self, part: str) -> Network:
        """A network without numbers."""
        if part not in self._meta:
            self._meta[part] = self.build(part, torch.device("meta"))
        return self._meta[part]

    def build(self, part: str, place: torch.device) -> Network:
        """A network as it is run, with random numbers."""
        dtype = torch.float32 if part in SINGLE else self.dtype
        kind = layouts.kind(self._layout, part)  # type: ignore[arg-type]
        if part != "transformer":
            return layouts.instantiate(kind, self._configs[part], place, dtype)
        network = layouts.instantiate(kind, {**self._configs[part], "num_layers": 1}, place, dtype)
        for name, lora in self._loras.items():
            _adapt(network, name, lora)
        if self._precision == "fp8":
            network.enable_layerwise_casting(torch.float8_e4m3fn, dtype, skip_modules_pattern=loading.KEPT_AT_FP8)
        network.transformer_blocks = nn.ModuleList([network.transformer_blocks[0]] * self._blocks)
        return network

    @functools.cached_property
    def stored(self) -> dict[str, int]:
        """Bytes of every network and adapter on the device."""
        found = {part: _held(self.meta(part)) for part in self.names}
        found["transformer"] = sum(times * value.nbytes for value, times in self._of(None))
        return found | {name: sum(times * value.nbytes for value, times in self._of(name)) for name in self.adapters}

    @property
    def unpacked(self) -> int:
        """Bytes of the transformer before it is cast to fp8, and of its adapters."""
        return self._numbers * self.dtype.itemsize + sum(self.stored[name] for name in self.adapters)

    @property
    def disk(self) -> int:
        """Bytes of the files; of those that are not here, as many as their numbers take."""
        return sum(map(self._on_disk, self.stored))

    def in_blocks(self, part: Large) -> Blocks:
        """What is in the blocks of a network, with all adapters, and what is not."""
        network = self.meta(part)
        if part == "text_encoder":  # what sees is never on the device
            network = network.model.language_model
        blocks = network.transformer_blocks if part == "transformer" else network.layers
        inside = {id(value) for block in blocks for value in block.parameters()}
        rest = sum(value.nbytes for value in network.parameters() if id(value) not in inside)
        sizes = [sum(value.nbytes for value in block.parameters()) for block in blocks]
        return Blocks(rest, sum(sizes), max(sizes))

    def _on_disk(self, name: str) -> int:
        file = _file(self.adapters[name]) if name in self.adapters else None
        if file is not None:
            return file.stat().st_size
        if name in self.names and self._folder is not None:
            return sum(each.stat().st_size for each in (self._folder / name).glob("*.safetensors"))
        if name == "transformer":
            return self._numbers * PUBLISHED.itemsize
        return self.stored[name] * PUBLISHED.itemsize // (torch.float32 if name in SINGLE else self.dtype).itemsize

    @property
    def _numbers(self) -> int:
        return sum(times * value.numel() for value, times in self._of(None))

    def _of(self, adapter: str | None) -> Iterator[tuple[Tensor, int]]:
        """Parameters of an adapter, or of the transformer without any, and how many blocks have one."""
        for name, value in self.meta("transformer").named_parameters():
            if f".{adapter}." in name if adapter else ".lora_" not in name:
                yield value, self._blocks if name.startswith("transformer_blocks.") else 1


# Adapters --------------------------------------------------------------------------------------------------------


def _file(adapter: Adapter) -> Path | None:
    """The file of an adapter, where it is here."""
    if adapter.path:
        return Path(adapter.path) if Path(adapter.path).is_file() else None
    return weights.where(adapter.weights) if weights.present(adapter.weights) else None


def _lora(adapter: Adapter) -> layouts.Lora:
    """Rank and layers: those of the file where it is here, else what is known of the published one."""
    file = _file(adapter)
    if file is not None:
        return _read(file)
    if adapter.weights not in layouts.ADAPTERS:
        raise WeightsError(f"{adapter.path or adapter.weights}: no such adapter file; expected a LoRA as safetensors.")
    return layouts.ADAPTERS[adapter.weights]


def _read(file: Path) -> layouts.Lora:
    """What a file adapts: the names of layers in a block, and the largest rank."""
    from safetensors import SafetensorError, safe_open

    ends, rank, layers = adapters.SIDES[0], 0, set[str]()
    try:
        with safe_open(file, framework="pt") as stored:
            for key in stored.keys():  # noqa: SIM118 # not a dict
                _, _, layer = key.removesuffix(ends).partition("transformer_blocks.")
                if key.endswith(ends) and layer:
                    layers.add(layer.partition(".")[2])
                    rank = max(rank, stored.get_slice(key).get_shape()[0])
    except (OSError, SafetensorError) as error:
        raise WeightsError(f"{file}: {error}; expected a LoRA as safetensors.") from error
    if not layers:
        raise WeightsError(f"{file}: no {ends} of any transformer block; expected a LoRA as the trainers write it.")
    return layouts.Lora(rank, rf"transformer_blocks\.\d+\.({'|'.join(map(re.escape, sorted(layers)))})$")


def _adapt(network: Network, name: str, lora: layouts.Lora) -> None:
    """Puts an adapter of random numbers into the layers that it is for."""
    from peft import LoraConfig

    found = {
        layer.removesuffix(".base_layer")
        for layer, module in network.named_modules()
        if isinstance(module, nn.Linear) and ".lora_" not in layer and re.match(lora.modules, layer)
    }
    config = LoraConfig(r=lora.rank, lora_alpha=lora.rank, target_modules=sorted(found), init_lora_weights=False)
    with warnings.catch_warnings(), network.device:  # else numbers are drawn on the CPU first, and thrown away
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several side by side are meant
        network.add_adapter(config, adapter_name=name)
    for parameter, value in network.named_parameters():
        if f".{name}." in parameter:  # peft makes some of them float32
            value.data = value.data.to(network.dtype)
    network.requires_grad_(False)


def _held(network: Network) -> int:
    return sum(int(each.nbytes) for each in [*network.parameters(), *network.buffers()])
