"""Whisper: speech to text; the transformers network `WhisperForConditionalGeneration` in the sizes of large-v3.

An encoder over the mel spectrum of 30 s, and a decoder that writes the text token by token. Radford, Kim, Xu,
Brockman, McLeavey, Sutskever: Robust speech recognition via large-scale weak supervision, 2022. Sizes, front end and
the rules of writing stand here as code, so that nothing but numbers and tokens is read from files. The published file
is safetensors in float16, and leaves out the output layer, which is the table of token embeddings.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import GenerationConfig, WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration
from transformers.models.whisper.configuration_whisper import NON_SPEECH_TOKENS_MULTI
from transformers.utils import logging as remarks

from ...errors import WeightsError
from .loading import numbered, read_tokenizer

__all__ = [
    "RATE",
    "WINDOW",
    "languages",
    "load_tokenizer",
    "load_whisper",
    "published_whisper",
    "transcribe",
    "untrained_tokenizer",
    "untrained_whisper",
    "writing",
]

RATE = 16_000  # Hz
WINDOW = 30 * RATE  # samples that the network hears at once
MELS = 128

_AT_ONCE = 32  # tensors that are read together
_OUTPUT, _TABLE = "proj_out.weight", "model.decoder.embed_tokens.weight"  # one matrix under two names
_MARKS = (
    "<|endoftext|>",
    "<|startoftranscript|>",
    "<|translate|>",
    "<|transcribe|>",
    "<|startoflm|>",
    "<|startofprev|>",
    "<|nospeech|>",
    "<|notimestamps|>",
)
_SPACE = "Ġ"  # how a tokenizer of bytes writes one


def published_whisper() -> WhisperForConditionalGeneration:
    """The network in the sizes of large-v3, without numbers: it lies on torch's device `meta`."""
    return _without_numbers(
        vocab_size=51866,
        d_model=1280,
        encoder_layers=32,
        encoder_attention_heads=20,
        encoder_ffn_dim=5120,
        decoder_layers=32,
        decoder_attention_heads=20,
        decoder_ffn_dim=5120,
    )


def load_whisper(
    path: Path, dtype: torch.dtype = torch.float32, network: WhisperForConditionalGeneration | None = None
) -> WhisperForConditionalGeneration:
    """The network (large-v3 unless told otherwise) with the numbers of a `model.safetensors`, computing in `dtype`.

    Every name and shape must agree, but the output layer may be absent. WeightsError names what does not. In memory
    are the network and, one after the other, the numbers of the file.
    """
    network = network or published_whisper()
    wanted = {name: tuple(value.shape) for name, value in network.state_dict().items() if name != _OUTPUT}
    found = _shapes(path)
    faults = [f"{name} is missing" for name in wanted if name not in found]
    faults += [f"{name} is not expected" for name in found if name not in wanted and name != _OUTPUT]
    faults += [
        f"{name} has the shape {found[name]}, expected {shape}"
        for name, shape in wanted.items()
        if found.get(name, shape) != shape
    ]
    if faults:
        more = f", and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(f"{path}: the file is of another network than Whisper: {'; '.join(faults[:3])}{more}.")
    if _OUTPUT in found and not torch.equal(*_numbers(path, (_OUTPUT, _TABLE)).values()):
        raise WeightsError(f"{path}: {_OUTPUT} is not {_TABLE}; in Whisper both are one matrix.")
    for first in range(0, len(wanted), _AT_ONCE):
        for name, value in _numbers(path, list(wanted)[first : first + _AT_ONCE]).items():
            _put(network, name, value.to(dtype, copy=True))
    network.tie_weights()
    network.train(False).requires_grad_(False)
    return network


def untrained_whisper() -> WhisperForConditionalGeneration:
    """A tiny network of the same kind with random numbers; writes at most 24 tokens of `untrained_tokenizer`."""
    network = WhisperForConditionalGeneration(_config(**_TINY))
    return numbered(network)


def load_tokenizer(path: Path) -> Tokenizer:
    """Whisper's tokenizer from a `tokenizer.json`; WeightsError where it is none, or lacks one of the marks."""
    tokenizer = read_tokenizer(path)
    absent = [mark for mark in (*_MARKS, _SPACE) if tokenizer.token_to_id(mark) is None]
    if absent or "en" not in languages(tokenizer):
        raise WeightsError(f"{path}: another tokenizer than Whisper's; it lacks {', '.join(absent) or '<|en|>'}.")
    return tokenizer


def untrained_tokenizer() -> Tokenizer:
    """One token for each byte, the marks, and three languages."""
    letters = {letter: place for place, letter in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE(vocab=letters, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    marks = [*_MARKS[:2], "<|en|>", "<|de|>", "<|es|>", *_MARKS[2:]]
    tokenizer.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    return tokenizer


def languages(tokenizer: Tokenizer) -> dict[str, int]:
    """The languages that can be written, by their codes, and their tokens: those between two of the marks."""
    first, last = _number(tokenizer, "<|startoftranscript|>"), _number(tokenizer, "<|translate|>")
    marks = {number: tokenizer.id_to_token(number) or "" for number in range(first + 1, last)}
    return {mark[2:-2]: number for number, mark in marks.items()}


def writing(tokenizer: Tokenizer, language: str, longest: int, beams: int) -> GenerationConfig:
    """How text is written: beam search at temperature 0, no fallback, no timestamps.

    At most `longest` tokens, fewer where the network has no place for them beside the marks.
    """
    mark = {name: _number(tokenizer, name) for name in _MARKS}
    end = mark["<|endoftext|>"]
    silent = {number for name, number in mark.items() if name not in ("<|endoftext|>", "<|notimestamps|>")}
    codes = languages(tokenizer)
    rules: dict[str, Any] = {
        "decoder_start_token_id": mark["<|startoftranscript|>"],
        "eos_token_id": end,
        "pad_token_id": end,
        "bos_token_id": end,
        "no_timestamps_token_id": mark["<|notimestamps|>"],
        "lang_to_id": {f"<|{code}|>": number for code, number in codes.items()},
        "task_to_id": {"transcribe": mark["<|transcribe|>"], "translate": mark["<|translate|>"]},
        "is_multilingual": True,
        "language": f"<|{language}|>",
        "task": "transcribe",
        "return_timestamps": False,
        # Signs that are written and not said (brackets, notes, dashes), then the marks; not at once a space or the end.
        "suppress_tokens": sorted({number for number in NON_SPEECH_TOKENS_MULTI if number < end} | silent),
        "begin_suppress_tokens": [_number(tokenizer, _SPACE), end],
        "max_length": longest,
        "num_beams": beams,
        "do_sample": False,
        "length_penalty": 1.0,
        "early_stopping": False,
        "use_cache": True,
    }
    return GenerationConfig(**rules)  # type: ignore[no-untyped-call]


def transcribe(
    network: WhisperForConditionalGeneration, samples: NDArray[np.float32], rules: GenerationConfig
) -> list[int]:
    """(N,) samples at 16 kHz, 0 < N ≤ 480000 → the token numbers of the text, marks left out."""
    if not 0 < len(samples) <= WINDOW:  # beyond, the front end would cut
        raise ValueError(f"{len(samples)} samples; expected 1 to {WINDOW}")
    found = _front_end()(samples, sampling_rate=RATE, return_tensors="pt", return_attention_mask=True)
    device, dtype = network.device, network.dtype
    network.generation_config = rules  # what `generate` would otherwise mix with its own defaults
    level = remarks.get_verbosity()
    remarks.set_verbosity_error()  # type: ignore[no-untyped-call]  # else it tells its user about settings that it makes itself
    try:
        written = network.generate(
            found["input_features"].to(device, dtype), attention_mask=found["attention_mask"].to(device)
        )
    finally:
        remarks.set_verbosity(level)
    numbers: list[int] = written[0].tolist()
    end = int(rules.eos_token_id)
    return [number for number in numbers if number < end]  # the marks stand behind all that is text


def _number(tokenizer: Tokenizer, token: str) -> int:
    number = tokenizer.token_to_id(token)
    assert number is not None, token
    return number


_TINY: Mapping[str, Any] = {
    "vocab_size": 267,
    "d_model": 16,
    "encoder_layers": 1,
    "encoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_layers": 1,
    "decoder_attention_heads": 2,
    "decoder_ffn_dim": 32,
    "max_target_positions": 28,
}


def _config(**sizes: Any) -> WhisperConfig:
    end = 256 if sizes["vocab_size"] < 50257 else 50257
    config = WhisperConfig(
        num_mel_bins=MELS,
        max_source_positions=1500,
        **{"max_target_positions": 448, **sizes},
        activation_function="gelu",
        scale_embedding=False,
        pad_token_id=end,
        bos_token_id=end,
        eos_token_id=end,
        decoder_start_token_id=end + 1,
        begin_suppress_tokens=None,
        tie_word_embeddings=True,
    )
    config._attn_implementation = "sdpa"
    return config


def _without_numbers(**sizes: Any) -> WhisperForConditionalGeneration:
    with torch.device("meta"):
        return WhisperForConditionalGeneration(_config(**sizes))


def _shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """What a safetensors file holds, without its numbers."""
    try:
        with safe_open(path, framework="pt") as stored:
            slices = {name: stored.get_slice(name) for name in stored.offset_keys()}
            kinds = {name: part.get_dtype() for name, part in slices.items()}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path}: not a safetensors file ({error}).") from error
    for name, kind in kinds.items():
        if kind not in ("F16", "F32"):
            raise WeightsError(f"{path}: {name} is {kind}; expected F16, or F32.")
    return shapes


def _numbers(path: Path, names: Iterable[str]) -> dict[str, torch.Tensor]:
    """Some of a file's tensors; the file is opened anew each time, for what was read of it stays in memory until then."""
    with safe_open(path, framework="pt") as stored:
        return {name: stored.get_tensor(name) for name in names}


def _put(network: torch.nn.Module, name: str, value: torch.Tensor) -> None:
    """Sets one parameter, which then shares the memory of `value`."""
    place, _, last = name.rpartition(".")
    setattr(network.get_submodule(place), last, torch.nn.Parameter(value, requires_grad=False))


@functools.cache
def _front_end() -> WhisperFeatureExtractor:
    return WhisperFeatureExtractor(  # type: ignore[no-untyped-call]
        feature_size=MELS, sampling_rate=RATE, hop_length=160, chunk_length=30, n_fft=400
    )
