"""A whole generator of a few megabytes with random weights, laid out on disk as the published ones are.

It makes noise, and every line that a trained one runs: the same classes in the same folders, loaded by the same
`from_pretrained`. Sizes that other code relies on are the real ones: 8 x 32 x 32 pixels to a latent of video, 4 columns
of a 64-band mel spectrogram to one of sound, 24 (2.0) or 48 kHz (2.3), prompts of up to 1024 tokens. All else is small.

Layouts: 2.0 is that of LTX-2 19B, 2.3 of LTX-2.3 22B (gates, modulated prompts, a prompt projection for each stream, a
vocoder that extends the bandwidth).

Conventions. A number depends on its name and place alone, so that every machine writes the same bytes. Statistics of
latents are not 0 and 1, as code that forgets them would pass. The tokenizer is byte-level and knows the pieces of LTX-2's
negative prompt.
"""

from __future__ import annotations

import contextlib
import importlib
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import torch

from ..errors import unknown

__all__ = ["save_tiny"]

LAYOUTS = ("2.0", "2.3")
HEADS, VIDEO_DIM, AUDIO_DIM = 4, 32, 16
CHANNELS = 8  # of a latent of video
SOUND_CHANNELS, BANDS = 2, 64  # of a latent of sound, times BANDS / 4; of a mel spectrogram
TEXT_LAYERS, PIECES = 2, 512
REGISTERS = 8  # learned tokens of the connectors; prompts are a multiple of them long


def save_tiny(folder: Path, layout: Literal["2.0", "2.3"], blocks: int = 4) -> Path:
    """Writes `folder` as diffusers' LTX2Pipeline, and `folder/latent_upsampler`; returns it.

    `blocks` are the transformer's. UsageError for a layout that there is none of.
    """
    if layout not in LAYOUTS:
        raise unknown("layout", layout, LAYOUTS)
    newer = layout == "2.3"
    tokenizer = _tokenizer()
    diffusers = _library("diffusers")
    pipeline = diffusers.LTX2Pipeline(
        scheduler=diffusers.FlowMatchEulerDiscreteScheduler(
            use_dynamic_shifting=True,
            base_shift=0.95,
            max_shift=2.05,
            base_image_seq_len=1024,
            max_image_seq_len=4096,
            shift_terminal=0.1,
        ),
        vae=_numbered(_video_vae(newer)),
        audio_vae=_numbered(_audio_vae()),
        text_encoder=_numbered(_text_encoder(len(tokenizer))),
        tokenizer=tokenizer,
        connectors=_numbered(_connectors(newer)),
        transformer=_numbered(_transformer(newer, blocks)),
        vocoder=_numbered(_vocoder(newer), gain=0.4),  # at 1 it clips
    )
    with _without_progress():
        pipeline.save_pretrained(folder)
    _numbered(_upsampler(newer)).save_pretrained(folder / "latent_upsampler")
    return folder


# Networks --------------------------------------------------------------------------------------------------------


def _library(name: str) -> Any:
    """A module of diffusers or transformers, imported when used; without their types, which are incomplete."""
    return importlib.import_module(name)


def _transformer(newer: bool, blocks: int) -> Any:
    return _library("diffusers").LTX2VideoTransformer3DModel(
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        num_attention_heads=HEADS,
        attention_head_dim=VIDEO_DIM // HEADS,
        cross_attention_dim=VIDEO_DIM,
        audio_in_channels=SOUND_CHANNELS * BANDS // 4,
        audio_out_channels=SOUND_CHANNELS * BANDS // 4,
        audio_num_attention_heads=HEADS,
        audio_attention_head_dim=AUDIO_DIM // HEADS,
        audio_cross_attention_dim=AUDIO_DIM,
        num_layers=blocks,
        caption_channels=VIDEO_DIM,
        rope_type="split",
        gated_attn=newer,
        cross_attn_mod=newer,
        audio_gated_attn=newer,
        audio_cross_attn_mod=newer,
        use_prompt_embeddings=not newer,
        perturbed_attn=newer,
    )


def _connectors(newer: bool) -> Any:
    sound = AUDIO_DIM if newer else VIDEO_DIM
    return _library("diffusers.pipelines.ltx2").LTX2TextConnectors(
        caption_channels=VIDEO_DIM,
        text_proj_in_factor=TEXT_LAYERS + 1,
        video_connector_num_attention_heads=HEADS,
        video_connector_attention_head_dim=VIDEO_DIM // HEADS,
        video_connector_num_layers=1,
        video_connector_num_learnable_registers=REGISTERS,
        video_gated_attn=newer,
        audio_connector_num_attention_heads=HEADS,
        audio_connector_attention_head_dim=sound // HEADS,
        audio_connector_num_layers=1,
        audio_connector_num_learnable_registers=REGISTERS,
        audio_gated_attn=newer,
        rope_type="split",
        per_modality_projections=newer,
        video_hidden_dim=VIDEO_DIM,
        audio_hidden_dim=AUDIO_DIM,
        proj_bias=newer,
    )


def _video_vae(newer: bool) -> Any:
    changed: dict[str, Any] = {}
    if newer:
        changed = {
            "upsample_type": ("spatiotemporal", "spatiotemporal", "temporal", "spatial"),
            "upsample_factor": (2, 2, 1, 2),
            "upsample_residual": (False,) * 4,
            "decoder_spatio_temporal_scaling": (True,) * 4,
            "decoder_inject_noise": (False,) * 5,
        }
    return _library("diffusers").AutoencoderKLLTX2Video(
        latent_channels=CHANNELS,
        block_out_channels=(8, 16, 16, 16) if newer else (8, 16, 32, 64),
        decoder_block_out_channels=(8, 16, 16, 32) if newer else (8, 16, 32),
        layers_per_block=(1,) * 5,
        decoder_layers_per_block=(1,) * (5 if newer else 4),
        spatial_compression_ratio=32,
        temporal_compression_ratio=8,
        **changed,
    )


def _audio_vae() -> Any:
    return _library("diffusers").AutoencoderKLLTX2Audio(
        base_channels=SOUND_CHANNELS * BANDS // 4,  # as it keeps statistics of packed latents
        ch_mult=(1, 1, 1),
        latent_channels=SOUND_CHANNELS,
        num_res_blocks=1,
        mel_bins=BANDS,
    )


def _vocoder(newer: bool) -> Any:
    ltx2 = _library("diffusers.pipelines.ltx2")
    kernels: dict[str, Any] = {"resnet_kernel_sizes": [3], "resnet_dilations": [[1, 3, 5]]}
    if not newer:
        return ltx2.LTX2Vocoder(in_channels=2 * BANDS, hidden_channels=32, **kernels)
    extension = {f"bwe_{name}": value for name, value in kernels.items()}
    return ltx2.LTX2VocoderWithBWE(
        in_channels=2 * BANDS,
        hidden_channels=64,
        bwe_in_channels=2 * BANDS,
        bwe_hidden_channels=32,
        num_mel_channels=BANDS,
        **kernels,
        **extension,
    )


def _upsampler(newer: bool) -> Any:
    return _library("diffusers.pipelines.ltx2").LTX2LatentUpsamplerModel(
        in_channels=CHANNELS, mid_channels=32, num_blocks_per_stage=1, use_rational_resampler=not newer
    )


def _text_encoder(words: int) -> Any:
    transformers = _library("transformers")
    reading = {
        "vocab_size": words,
        "hidden_size": VIDEO_DIM,
        "intermediate_size": 2 * VIDEO_DIM,
        "num_hidden_layers": TEXT_LAYERS,
        "num_attention_heads": 2,
        "num_key_value_heads": 1,
        "head_dim": 16,
        "pad_token_id": 0,
        "eos_token_id": 1,
        "bos_token_id": 2,
    }
    seeing = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "image_size": 28,
        "patch_size": 14,
    }
    return transformers.Gemma3ForConditionalGeneration(
        transformers.Gemma3Config(
            text_config=reading,
            vision_config=seeing,
            mm_tokens_per_image=4,
            boi_token_index=words - 1,
            eoi_token_index=words - 2,
            image_token_index=words - 3,
        )
    )


def _tokenizer() -> Any:
    from diffusers.pipelines.ltx2.utils import DEFAULT_NEGATIVE_PROMPT
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

    special = ["<pad>", "<eos>", "<bos>", "<unk>", "<boi>", "<eoi>", "<image>"]
    pieces = Tokenizer(models.BPE(unk_token="<unk>"))
    pieces.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    pieces.decoder = decoders.ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(
        vocab_size=PIECES, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    pieces.train_from_iterator([DEFAULT_NEGATIVE_PROMPT], trainer)
    pieces.post_processor = processors.TemplateProcessing(single="<bos> $A", special_tokens=[("<bos>", 2)])
    return _library("transformers").PreTrainedTokenizerFast(
        tokenizer_object=pieces,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        padding_side="left",
    )


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    """transformers draws a bar for every file that it writes."""
    logging = _library("transformers.utils.logging")
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


# Numbers ---------------------------------------------------------------------------------------------------------


def _numbered(network: Any, gain: float = 1.0) -> Any:
    """Random numbers by name: weights change the size of what goes through by `gain`, scales are near 1, the rest near 0."""
    stored = dict(network.named_parameters())
    stored |= {name: value for name, value in network.named_buffers() if name.endswith(("_mean", "_std", "_basis"))}
    with torch.no_grad():
        for name, value in stored.items():
            drawn = torch.randn(value.shape, generator=torch.Generator().manual_seed(zlib.crc32(name.encode())))
            if value.ndim > 1:
                value.copy_(gain * drawn / math.sqrt(math.prod(value.shape[1:])))
            else:
                centre = 1.0 if name.endswith(("norm.weight", "norm1.weight", "norm2.weight", "_std")) else 0.0
                value.copy_(centre + 0.1 * drawn)
    return network.eval().requires_grad_(False)
