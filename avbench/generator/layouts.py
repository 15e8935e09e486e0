"""The networks of LTX-2 at their published sizes, as configurations that diffusers and transformers build them from.

    layout, part → configuration → network without weights (device "meta"), or with random ones

A configuration says how large a network is, and so what a run of it costs, before a file of it is here. 2.0 is that of
LTX-2 19B, 2.3 of LTX-2.3 22B; both read the prompt with Gemma 3 12B. "19B" and "22B" count the connectors: the
transformers have 18.9 and 19.0 thousand million parameters.

Conventions. Adapters are known by rank and layers, from the sizes of their files (the distilled one adapts every linear
layer: 7.6 GB at rank 384; that of ID-LoRA those of sound and the bridges: 1.16 GB at rank 128). Only what differs from the
defaults of diffusers' classes is listed, which are those of 2.0 for most parts. Names of parts are those of the folders on
disk.

Sources: the class defaults of diffusers 0.42 and the numbers in its conversion script for LTX-2; the Gemma 3 report,
arXiv 2503.19786, with the configuration published beside its 12B weights.
"""

from __future__ import annotations

import contextlib
import copy
import importlib
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple, TypeAlias

import torch

from ..errors import unknown

__all__ = ["ADAPTERS", "LAYOUTS", "PARTS", "Lora", "build", "configuration", "instantiate", "kind"]

Layout: TypeAlias = Literal["2.0", "2.3"]
Part: TypeAlias = Literal[
    "audio_vae", "connectors", "latent_upsampler", "text_encoder", "transformer", "vae", "vocoder"
]

LAYOUTS: tuple[Layout, ...] = ("2.0", "2.3")
PARTS: tuple[Part, ...] = (
    "text_encoder",
    "connectors",
    "transformer",
    "vae",
    "audio_vae",
    "vocoder",
    "latent_upsampler",
)
LTX2 = "diffusers.pipelines.ltx2"
SOUND, BRIDGES = r"audio_(attn[12]|ff)\.", r"(audio_to_video|video_to_audio)_attn\."


class Lora(NamedTuple):
    """A published adapter: its rank, and the linear layers that it adapts, as a regular expression from their start."""

    rank: int
    modules: str


ADAPTERS: dict[str, Lora] = {
    "audio-ic-lora-audio-only": Lora(32, rf"transformer_blocks\.\d+\.{SOUND}"),
    "audio-ic-lora-cross-modal": Lora(32, rf"transformer_blocks\.\d+\.({SOUND}|{BRIDGES})"),
    "id-lora-2.3-celebvhq": Lora(128, rf"transformer_blocks\.\d+\.({SOUND}|{BRIDGES})"),
    "id-lora-2.3-talkvid": Lora(128, rf"transformer_blocks\.\d+\.({SOUND}|{BRIDGES})"),
    "id-lora-celebvhq": Lora(128, rf"transformer_blocks\.\d+\.({SOUND}|{BRIDGES})"),
    "id-lora-talkvid": Lora(128, rf"transformer_blocks\.\d+\.({SOUND}|{BRIDGES})"),
    "just-dub-it": Lora(128, r"transformer_blocks\.\d+\."),
    "ltx-2-distilled-lora": Lora(384, ""),
    "ltx-2.3-distilled-lora": Lora(384, ""),
}


def configuration(layout: Layout, part: Part) -> dict[str, Any]:
    """What the network differs in from its class; a copy. UsageError names an unknown layout or part."""
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    if part not in PARTS:
        raise unknown("part of the model", part, PARTS)
    return copy.deepcopy(_COMMON[part] | _CHANGED[layout].get(part, {}))


def kind(layout: Layout, part: Part) -> tuple[str, str]:
    """The module and the name of the class of a part."""
    configuration(layout, part)  # refuses what there is none of
    if part == "vocoder" and layout == "2.3":
        return LTX2, "LTX2VocoderWithBWE"
    return _CLASSES[part]


def build(
    layout: Layout,
    part: Part,
    device: str | torch.device = "meta",
    dtype: torch.dtype = torch.bfloat16,
    changes: dict[str, Any] | None = None,
) -> Any:
    """The network in evaluation, its numbers those of its class's own initialisation; on "meta" it has none.

    `changes` replace entries of the configuration: `{"num_layers": 1}` is a transformer of one block.
    """
    settings = configuration(layout, part) | (changes or {})
    return instantiate(kind(layout, part), settings, device, dtype)


def instantiate(
    of: tuple[str, str], settings: Mapping[str, Any], device: str | torch.device, dtype: torch.dtype
) -> Any:
    """A network of a class (`kind`) and a configuration; its numbers are made where, and of the type, they are wanted."""
    module, name = of
    library = importlib.import_module(module)
    with torch.device(device), _default(dtype), torch.no_grad():
        if module == "transformers":  # some of its buffers are float32 whatever the weights are
            network = getattr(library, name)(library.Gemma3Config.from_dict(dict(settings)))
        else:
            network = getattr(library, name).from_config(dict(settings))
            torch.nn.Module.to(network, dtype)  # buffers too; diffusers' own warns of it
    return network.eval().requires_grad_(False)


# Building --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _default(dtype: torch.dtype) -> Iterator[None]:
    """Numbers are of this type unless somebody says another."""
    kept = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(kept)


# Facts -----------------------------------------------------------------------------------------------------------


_CLASSES: dict[str, tuple[str, str]] = {
    "text_encoder": ("transformers", "Gemma3ForConditionalGeneration"),
    "connectors": (LTX2, "LTX2TextConnectors"),
    "transformer": ("diffusers", "LTX2VideoTransformer3DModel"),
    "vae": ("diffusers", "AutoencoderKLLTX2Video"),
    "audio_vae": ("diffusers", "AutoencoderKLLTX2Audio"),
    "vocoder": (LTX2, "LTX2Vocoder"),
    "latent_upsampler": (LTX2, "LTX2LatentUpsamplerModel"),
}

_COMMON: dict[str, dict[str, Any]] = {
    "text_encoder": {
        "text_config": {
            "hidden_size": 3840,
            "intermediate_size": 15360,
            "num_hidden_layers": 48,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 256,
            "query_pre_attn_scalar": 256,
            "sliding_window": 1024,
            "vocab_size": 262208,
        },
        "vision_config": {
            "hidden_size": 1152,
            "intermediate_size": 4304,
            "num_hidden_layers": 27,
            "num_attention_heads": 16,
            "image_size": 896,
            "patch_size": 14,
            "vision_use_head": False,
        },
        "mm_tokens_per_image": 256,
    },
    "connectors": {"rope_type": "split"},
    "transformer": {"rope_type": "split"},
    "vae": {"decoder_causal": False, "spatial_compression_ratio": 32, "temporal_compression_ratio": 8},
    "audio_vae": {},
    "vocoder": {},
    "latent_upsampler": {},
}

_CHANGED: dict[str, dict[str, dict[str, Any]]] = {
    "2.0": {},
    "2.3": {
        "connectors": {
            "video_connector_num_attention_heads": 32,
            "video_connector_num_layers": 8,
            "video_gated_attn": True,
            "audio_connector_num_attention_heads": 32,
            "audio_connector_attention_head_dim": 64,
            "audio_connector_num_layers": 8,
            "audio_gated_attn": True,
            "per_modality_projections": True,
            "proj_bias": True,
        },
        "transformer": {
            "gated_attn": True,
            "cross_attn_mod": True,
            "audio_gated_attn": True,
            "audio_cross_attn_mod": True,
            "use_prompt_embeddings": False,
            "perturbed_attn": True,
        },
        "vae": {
            "block_out_channels": (256, 512, 1024, 1024),
            "decoder_block_out_channels": (256, 512, 512, 1024),
            "layers_per_block": (4, 6, 4, 2, 2),
            "decoder_layers_per_block": (4, 6, 4, 2, 2),
            "decoder_spatio_temporal_scaling": (True,) * 4,
            "decoder_inject_noise": (False,) * 5,
            "upsample_type": ("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
            "upsample_residual": (False,) * 4,
            "upsample_factor": (2, 2, 1, 2),
            "decoder_spatial_padding_mode": "zeros",
        },
        "latent_upsampler": {"use_rational_resampler": False},
    },
}
