"""WavLM with UniSpeech's speaker head: one vector for a sound.

    (B, N) samples at 16 kHz → seven strided convolutions, a frame every 20 ms → L - 1 transformer layers
    → L states (what goes into each layer, and the normalised end) → SpeakerHead → (B, 256)

Chen et al.: WavLM, IEEE J-STSP 2022. The network is transformers' `WavLMModel`, built from sizes written here and never
from a model hub. Its file comes in two dialects: fairseq's names (UniSpeech's fine-tuned file, below
`feature_extract.model.`) and the model hub's older ones (`microsoft/wavlm-large`). Both are translated name by name,
and a file with one name or shape too few, too many or too odd is refused by that name.

A trap: from transformers 5.16 on, the last of the `hidden_states` of such a model lacks its final normalisation; the one
that was meant is `last_hidden_state`.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional
from transformers import WavLMConfig, WavLMModel

from ...errors import WeightsError
from .ecapa_wavlm import SpeakerHead
from .loading import fit, read_pickled

__all__ = [
    "LARGE",
    "MIN_SAMPLES",
    "WavlmSpeaker",
    "fairseq_name",
    "hidden_states",
    "hub_name",
    "load_wavlm_finetuned",
    "load_wavlm_pretrained",
    "module_name",
    "untrained_wavlm",
    "wavlm",
]

MIN_SAMPLES = 720  # at 16 kHz: two frames, of 400 samples each, 320 apart; one has no variance over time

# What distinguishes WavLM-Large from the sizes that transformers takes by itself.
LARGE: dict[str, Any] = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
BACKBONE = "feature_extract.model."  # before the names of WavLM in UniSpeech's file
TRAINING = ("loss_calculator.projection.weight",)  # in the same file; of the training loss
BESIDE = ("best_valid_eer",)  # what that file holds beside its tensors

# Beginnings of names: fairseq's, and those of WavLMModel. {n} is the number of a layer; the first that fits counts.
_NAMES = (
    ("mask_emb", "masked_spec_embed"),
    ("feature_extractor.conv_layers.{n}.0.", "feature_extractor.conv_layers.{n}.conv."),
    ("feature_extractor.conv_layers.{n}.2.1.", "feature_extractor.conv_layers.{n}.layer_norm."),
    ("layer_norm.", "feature_projection.layer_norm."),
    ("post_extract_proj.", "feature_projection.projection."),
    ("encoder.pos_conv.0.weight_g", "encoder.pos_conv_embed.conv.parametrizations.weight.original0"),
    ("encoder.pos_conv.0.weight_v", "encoder.pos_conv_embed.conv.parametrizations.weight.original1"),
    ("encoder.pos_conv.0.bias", "encoder.pos_conv_embed.conv.bias"),
    ("encoder.layer_norm.", "encoder.layer_norm."),
    ("encoder.layers.{n}.self_attn_layer_norm.", "encoder.layers.{n}.layer_norm."),
    ("encoder.layers.{n}.final_layer_norm.", "encoder.layers.{n}.final_layer_norm."),
    ("encoder.layers.{n}.fc1.", "encoder.layers.{n}.feed_forward.intermediate_dense."),
    ("encoder.layers.{n}.fc2.", "encoder.layers.{n}.feed_forward.output_dense."),
    ("encoder.layers.{n}.self_attn.grep_linear.", "encoder.layers.{n}.attention.gru_rel_pos_linear."),
    ("encoder.layers.{n}.self_attn.grep_a", "encoder.layers.{n}.attention.gru_rel_pos_const"),
    ("encoder.layers.{n}.self_attn.relative_attention_bias.", "encoder.layers.{n}.attention.rel_attn_embed."),
    ("encoder.layers.{n}.self_attn.", "encoder.layers.{n}.attention."),
)
# What the hub's files still call by the names of torch's former weight normalisation.
_FORMER = (("parametrizations.weight.original0", "weight_g"), ("parametrizations.weight.original1", "weight_v"))


class WavlmSpeaker(nn.Module):
    """(B, N) samples at 16 kHz, full scale = 1, N >= MIN_SAMPLES → (B, 256), of no fixed length.

    `normalised`: each sound is brought to mean 0 and variance 1 first, as WavLM-Large was trained.
    """

    def __init__(self, backbone: WavLMModel, head: SpeakerHead, normalised: bool) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.normalised = normalised

    def forward(self, samples: torch.Tensor) -> torch.Tensor:
        if self.normalised:
            samples = functional.layer_norm(samples, samples.shape[-1:], eps=1e-5)
        embedding: torch.Tensor = self.head(hidden_states(self.backbone, samples))
        return embedding


def wavlm(sizes: Mapping[str, Any]) -> WavLMModel:
    """A WavLM of the large kind (layer normalisation first) with these sizes and random numbers."""
    kind: dict[str, Any] = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "layerdrop": 0.0}
    return WavLMModel(WavLMConfig(**kind, **sizes))


def hidden_states(backbone: WavLMModel, samples: torch.Tensor) -> torch.Tensor:
    """(B, N) → (L, B, T, D): what goes into each layer, and the end after its normalisation."""
    found = backbone(samples, output_hidden_states=True)
    return torch.stack([*found.hidden_states[:-1], found.last_hidden_state])


def load_wavlm_finetuned(path: Path) -> WavlmSpeaker:
    """UniSpeech's `wavlm_large_finetune.pth`: WavLM and head as they were trained together; normalised input."""
    state = read_pickled(path, wrapper="model", beside=BESIDE)
    speaker = WavlmSpeaker(_empty_large(), SpeakerHead(), normalised=True)
    _fit(speaker.backbone, _below(state, BACKBONE), path, fairseq_name, BACKBONE)
    _fit(speaker.head, _beside(state, BACKBONE), path, str, unused=TRAINING)
    return speaker.eval()


def load_wavlm_pretrained(backbone_path: Path, head_path: Path) -> WavlmSpeaker:
    """The hub's WavLM-Large as it was pre-trained, and the head alone of UniSpeech's file; input and states as they are.

    The released code of ID-LoRA's authors does so, although the head was trained with another WavLM.
    """
    speaker = WavlmSpeaker(_empty_large(), SpeakerHead(offset=0.0), normalised=False)
    _fit(speaker.backbone, read_pickled(backbone_path), backbone_path, hub_name)
    head = _beside(read_pickled(head_path, wrapper="model", beside=BESIDE), BACKBONE)
    _fit(speaker.head, head, head_path, str, unused=TRAINING)
    return speaker.eval()


def untrained_wavlm(normalised: bool = True) -> WavlmSpeaker:
    """A tiny one with random numbers, the same every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(zlib.crc32(b"untrained-wavlm"))
        sizes: dict[str, Any] = {
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "intermediate_size": 64,
        }
        backbone = wavlm({**sizes, "conv_dim": (16,) * 7})
        head = SpeakerHead(states=3, depth=32, channels=64, offset=1e-6 if normalised else 0.0)
    speaker = WavlmSpeaker(backbone, head, normalised)
    return speaker.eval().requires_grad_(False)


# Names -----------------------------------------------------------------------------------------------------------


def fairseq_name(module: str) -> str:
    """What fairseq calls the tensor that WavLMModel calls `module`. KeyError for one that is in neither."""
    return _translated(module, [(ours, theirs) for theirs, ours in _NAMES])


def module_name(fairseq: str) -> str:
    """What WavLMModel calls the tensor that fairseq calls `fairseq`. KeyError for one that is in neither."""
    return _translated(fairseq, _NAMES)


def hub_name(module: str) -> str:
    """What the model hub's file calls the tensor that WavLMModel calls `module`."""
    for now, former in _FORMER:
        module = module.replace(now, former)
    return module


def _translated(name: str, names: Collection[tuple[str, str]]) -> str:
    for before, after in names:
        found = re.match(re.escape(before).replace(r"\{n\}", r"(\d+)"), name)
        if found:
            return after.format(n=found[1] if found.groups() else "") + name[found.end() :]
    raise KeyError(name)


# Files -----------------------------------------------------------------------------------------------------------


def _empty_large() -> WavLMModel:
    """WavLM-Large with whatever numbers lie in memory: to draw 315 million random ones takes longer than to read them."""
    with torch.device("meta"):
        backbone = wavlm(LARGE)
    return backbone.to_empty(device="cpu")


def _below(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


def _beside(state: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if not name.startswith(prefix)}


def _fit(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    path: Path,
    name_of: Callable[[str], str],
    prefix: str = "",
    *,
    unused: Collection[str] = (),
) -> None:
    """Gives the module the file's numbers; WeightsError names what differs as the file does."""
    expected = {name_of(name): (name, value.shape) for name, value in module.state_dict().items()}
    faults = [f"missing {prefix}{name}" for name in expected if name not in state]
    faults += [f"unexpected {prefix}{name}" for name in state if name not in expected and name not in unused]
    faults += [
        f"{prefix}{name} has the shape {tuple(state[name].shape)} instead of {tuple(shape)}"
        for name, (_, shape) in expected.items()
        if name in state and state[name].shape != shape
    ]
    if faults:
        more = f" and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise WeightsError(
            f"{path}: the file is of another network than {type(module).__name__}: {', '.join(faults[:5])}{more}."
        )
    fit(module, {ours: state[name] for name, (ours, _) in expected.items()}, path)
