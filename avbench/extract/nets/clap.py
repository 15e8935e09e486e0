"""CLAP: sounds and sentences in one space; the transformers network `ClapModel` in the sizes of laion/clap-htsat-unfused.

An HTSAT (a Swin transformer over a logarithmic mel spectrum of 10 s) and a RoBERTa each end in 512 numbers of unit
length; their cosine says how well a sentence describes a sound. Wu, Chen, Zhang, Hui, Berg-Kirkpatrick, Dubnov:
Large-scale contrastive language-audio pretraining, ICASSP 2023. Sizes and front end stand here as code, so that nothing
but numbers is read from files. The published file is safetensors, or a torch file with the same names.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

from ...errors import WeightsError
from .loading import fit, numbered, read_pickled, read_safetensors, read_tokenizer

__all__ = [
    "MAX_TOKENS",
    "RATE",
    "WINDOW",
    "encode_sound",
    "encode_text",
    "load_clap",
    "load_tokenizer",
    "log_mel",
    "published_clap",
    "text_tokens",
    "untrained_clap",
    "untrained_tokenizer",
]

RATE = 48_000  # Hz
WINDOW = 10 * RATE  # samples that the network hears at once
MAX_TOKENS = 512  # its 514 positions less the two that RoBERTa keeps for padding

# Counted, not learned: files of some versions of transformers hold them, of others not.
_COUNTED = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")


def published_clap() -> ClapModel:
    """The network in its published sizes, with random numbers."""
    return _network({}, {})


def load_clap(path: Path) -> ClapModel:
    """The network with the numbers of laion/clap-htsat-unfused: `model.safetensors`, or `pytorch_model.bin`.

    WeightsError names what is missing, surplus or of another shape, and counted entries that are counted otherwise.
    """
    state = read_pickled(path) if _is_zip(path) else read_safetensors(path, kinds=("F32", "I64"))
    network = published_clap()
    ours = network.state_dict()
    for name, value in ours.items():
        if name.rpartition(".")[2] in _COUNTED:
            stored = state.setdefault(name, value)
            if not name.endswith("num_batches_tracked") and not torch.equal(stored.to(value.dtype), value):
                raise WeightsError(
                    f"{path}: {name} is not what the network counts itself; the file is of another network"
                )
    fit(network, state, path)
    return network


def untrained_clap() -> ClapModel:
    """A tiny network of the same kind with random numbers; it reads what `untrained_tokenizer` writes."""
    network = _network(
        {
            "vocab_size": 259,
            "hidden_size": 16,
            "intermediate_size": 32,
            "num_hidden_layers": 1,
            "num_attention_heads": 2,
        },
        {"hidden_size": 64, "patch_embeds_hidden_size": 8, "depths": [1, 1, 1, 1], "num_attention_heads": [1, 1, 2, 2]},
    )
    return numbered(network)


def load_tokenizer(path: Path) -> Tokenizer:
    """RoBERTa's tokenizer from a `tokenizer.json`; WeightsError where it is none, or lacks `<s>` and `</s>`."""
    tokenizer = read_tokenizer(path)
    _fixed(tokenizer)
    found = tokenizer.encode("a").ids
    if [found[0], found[-1]] != [tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")]:
        raise WeightsError(f"{path}: another tokenizer than RoBERTa's; it does not put a text between <s> and </s>.")
    return tokenizer


def untrained_tokenizer() -> Tokenizer:
    """One token for each byte, between `<s>` and `</s>`."""
    marks = {"<s>": 0, "<pad>": 1, "</s>": 2}
    letters = {letter: len(marks) + place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab={**marks, **letters}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    _fixed(tokenizer)
    return tokenizer


def log_mel(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N,) samples at 48 kHz, 0 < N ≤ 480000 → (1001, 64) dB.

    A shorter sound is repeated as often as it fits whole, then silent. 64 bands of Slaney's scale and areas, 50 to
    14000 Hz, over frames of 1024 samples (Hann) every 480.
    """
    if not 0 < len(samples) <= WINDOW:  # beyond, the extractor would cut at random
        raise ValueError(f"{len(samples)} samples; expected 1 to {WINDOW}")
    found = _front_end()(samples, sampling_rate=RATE, return_tensors="np")
    return np.asarray(found["input_features"][0, 0], dtype=np.float32)


def encode_sound(network: ClapModel, mels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(1001, 64) dB → (D,) of unit length."""
    device = network.logit_scale_a.device
    given = torch.from_numpy(mels)[None, None].to(device)
    longer = torch.zeros((1, 1), dtype=torch.bool, device=device)
    pooled = network.audio_model(input_features=given, is_longer=longer).pooler_output
    return _unit(network.audio_projection(pooled))


def encode_text(network: ClapModel, tokens: Sequence[int]) -> NDArray[np.float32]:
    """Token numbers → (D,) of unit length."""
    ids = torch.tensor([list(tokens)], device=network.logit_scale_a.device)
    pooled = network.text_model(input_ids=ids, attention_mask=torch.ones_like(ids)).pooler_output
    return _unit(network.text_projection(pooled))


def text_tokens(tokenizer: Tokenizer, text: str) -> list[int]:
    """All token numbers of a text, `<s>` and `</s>` included."""
    return list(tokenizer.encode(text).ids)


def _network(text: dict[str, object], audio: dict[str, object]) -> ClapModel:
    config = ClapConfig(
        text_config={
            "vocab_size": 50265,
            "hidden_size": 768,
            "num_hidden_layers": 12,
            "num_attention_heads": 12,
            "intermediate_size": 3072,
            "hidden_act": "gelu",
            "max_position_embeddings": 514,
            "type_vocab_size": 1,
            "layer_norm_eps": 1e-12,
            "pad_token_id": 1,
            **text,
        },
        audio_config={
            "window_size": 8,
            "num_mel_bins": 64,
            "spec_size": 256,
            "hidden_act": "gelu",
            "patch_size": 4,
            "patch_stride": [4, 4],
            "hidden_size": 768,
            "depths": [2, 2, 6, 2],
            "num_attention_heads": [4, 8, 16, 32],
            "enable_fusion": False,
            "patch_embeds_hidden_size": 96,
            "enable_patch_layer_norm": True,
            "flatten_patch_embeds": True,
            "qkv_bias": True,
            "mlp_ratio": 4.0,
            "layer_norm_eps": 1e-5,
            **audio,
        },
        projection_dim=512,
        projection_hidden_act="relu",
    )
    config._attn_implementation = "eager"  # plain products: the same sums whatever the device offers
    return ClapModel(config)


@functools.cache
def _front_end() -> ClapFeatureExtractor:
    return ClapFeatureExtractor(
        feature_size=64,
        sampling_rate=RATE,
        hop_length=480,
        max_length_s=WINDOW // RATE,
        fft_window_size=1024,
        frequency_min=50,
        frequency_max=14_000,
        truncation="rand_trunc",
        padding="repeatpad",
    )


def _fixed(tokenizer: Tokenizer) -> None:
    """A file may say how its users should cut and pad; that is for the extractor to say."""
    tokenizer.no_truncation()
    tokenizer.no_padding()


def _unit(vectors: torch.Tensor) -> NDArray[np.float32]:
    vector = vectors[0].double().cpu().numpy()
    return np.asarray(vector / max(float(np.linalg.norm(vector)), 1e-12), dtype=np.float32)


def _is_zip(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(2) == b"PK"
