"""One evaluation of the LTX-2 transformer, block by block: what its own `forward` computes, and what that cannot.

    scene     what a set of tokens fixes for the whole sample: rotary tables, masks
    read      the prompt, projected once (2.0; 2.3 has it projected already)
    moment    what a noise level fixes for one step: modulation of every token
    enter → through → leave     tokens → hidden → blocks → velocity

diffusers' model supplies every weight and every block; here is the order in which they are called. It differs from the
model's `forward` in what may be asked of it: each mask of `context`; passes in which the streams are isolated, whose
cross-attention is then not computed; spatio-temporal guidance (STG), where chosen blocks lose their self-attention; and
to begin at a later block with what a former pass had there, which costs nothing in accuracy as it is the same tensor.

Conventions. Noise levels are 0 to 1 here and 0 to 1000 in the model. In 2.0 cross-attention between the streams is
modulated by each token's own level, in 2.3 by the level of the other stream as a whole, and the prompt by that of its
stream. A stream that is given as a whole (stage two holds the sound) still tells the other the current level, as ID-LoRA
does, or zero, as later code of LTX-2 does. 2.0 loses the residual of self-attention, 2.3 attention weights alone
("value"): 2.0 has no such switch, and ignores in silence who throws it.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ..errors import UsageError
from .context import Stream, across, prompted, within

if TYPE_CHECKING:
    from .guidance import Pass

__all__ = ["Driver", "Hidden", "Moment", "Scene", "Text"]

LEVELS = 1000  # what the model counts noise in


class Text(NamedTuple):
    """A prompt as the connectors give it, or as the blocks read it: (1, words, C) for each stream. All words count."""

    video: Tensor
    audio: Tensor


class Hidden(NamedTuple):
    """Between two blocks: (1, N, D) for each stream."""

    video: Tensor
    audio: Tensor


class Scene(NamedTuple):
    """Constant for a sample: its streams, which of them are given as a whole, and what every block is told."""

    video: Stream
    audio: Stream
    frozen: dict[str, bool]
    told: dict[str, Any]
    silent: dict[str, Tensor]  # attention of a block → which queries (1, Q, 1) get nothing


class Moment(NamedTuple):
    """Constant for a step: what the noise level makes of every token, in blocks (`told`) and at the end (`last`)."""

    scene: Scene
    told: dict[str, Any]
    last: dict[str, Tensor]


class Driver:
    """Runs a `LTX2VideoTransformer3DModel` of the layout 2.0 (19B) or 2.3 on one sample.

    The model's own `forward` is never called, so that hooks on it (offloading of the whole model) do not run; those on
    its blocks and layers do.
    """

    def __init__(self, transformer: Any, frozen_sigma: Literal["current", "zero"] = "current") -> None:
        self.transformer = transformer
        self.config: Any = self.transformer.config
        self.frozen_sigma = frozen_sigma
        self.layout: Literal["2.0", "2.3"] = "2.3" if self.config.cross_attn_mod else "2.0"

    @property
    def blocks(self) -> nn.ModuleList:
        """The transformer's, in order."""
        blocks: nn.ModuleList = self.transformer.transformer_blocks
        return blocks

    def scene(self, video: Stream, audio: Stream, words: int) -> Scene:
        """Rotary tables and masks of these tokens, for prompts of so many words."""
        model, dtype = self.transformer, self.transformer.dtype
        asked = {
            "attn1": ("self_attention_mask", within(video, dtype)),
            "audio_attn1": ("audio_self_attention_mask", within(audio, dtype)),
            "attn2": ("encoder_attention_mask", prompted(video, words, dtype)),
            "audio_attn2": ("audio_encoder_attention_mask", prompted(audio, words, dtype)),
            "audio_to_video_attn": ("a2v_cross_attention_mask", across(video, audio, dtype)),
            "video_to_audio_attn": ("v2a_cross_attention_mask", across(audio, video, dtype)),
        }
        told: dict[str, Any] = {
            "video_rotary_emb": model.rope(video.positions),
            "audio_rotary_emb": model.audio_rope(audio.positions),
            "ca_video_rotary_emb": model.cross_attn_rope(video.positions[:, :1]),
            "ca_audio_rotary_emb": model.cross_attn_audio_rope(audio.positions[:, :1]),
        }
        silent: dict[str, Tensor] = {}
        for attention, (argument, (bias, rows)) in asked.items():
            if bias is not None:  # laid out for all heads without a copy: else each block would make one
                told[argument] = bias.expand(getattr(self.blocks[0], attention).heads, -1, -1)
            if rows is not None:
                silent[attention] = ~rows
        frozen = {
            kind: not stream.mask[:, : stream.targets].any() for kind, stream in (("video", video), ("audio", audio))
        }
        return Scene(video, audio, frozen, told, silent)

    def read(self, prompt: Text) -> Text:
        """What the blocks read of a prompt: the same at every step."""
        video, audio = (part.to(self.transformer.device, self.transformer.dtype) for part in prompt)
        if not self.config.use_prompt_embeddings:
            return Text(video, audio)
        return Text(self.transformer.caption_projection(video), self.transformer.audio_caption_projection(audio))

    def moment(self, scene: Scene, sigma: float, like: Moment | None = None) -> Moment:
        """Modulation at a noise level; from `like`, a moment of this level and sample, where a stream is the same."""
        told: dict[str, Any] = {}
        last: dict[str, Tensor] = {}
        for kind, names in _NAMES.items():
            if like is not None and getattr(like.scene, kind) is getattr(scene, kind):
                told |= {argument: like.told[argument] for argument in names.arguments}
                last[kind] = like.last[kind]
            else:
                values, last[kind] = self._modulation(scene, kind, sigma)
                told |= dict(zip(names.arguments, values, strict=True))
        return Moment(scene, told, last)

    def enter(self, video: Tensor, audio: Tensor) -> Hidden:
        """Tokens (1, N, C) of both streams → what the first block takes."""
        model, dtype = self.transformer, self.transformer.dtype
        return Hidden(model.proj_in(video.to(dtype)), model.audio_proj_in(audio.to(dtype)))

    def through(
        self, hidden: Hidden, moment: Moment, prompt: Text, how: Pass, start: int = 0, keep: Collection[int] = ()
    ) -> tuple[Hidden, dict[int, Hidden]]:
        """The blocks from `start` on, as the pass asks → what the last one gives; and the input of those in `keep`."""
        self.check(how)
        by_value = how.skip.blocks if how.skip and how.skip.how == "value" else ()
        by_residual = how.skip.blocks if how.skip and how.skip.how == "residual" else ()
        told = {
            **moment.scene.told,
            **moment.told,
            "encoder_hidden_states": prompt.video,
            "audio_encoder_hidden_states": prompt.audio,
            "use_a2v_cross_attention": not how.isolate,
            "use_v2a_cross_attention": not how.isolate,
        }
        inputs: dict[int, Hidden] = {}
        with ExitStack() as hooks:
            for index in range(start, len(self.blocks)):
                block: Any = self.blocks[index]
                for attention, rows in moment.scene.silent.items():
                    _silence(getattr(block, attention), hooks, rows)
                if index in by_residual:
                    _silence(block.attn1, hooks)
                    _silence(block.audio_attn1, hooks)
                if index in keep:
                    inputs[index] = hidden
                # Called as a function it is not compiled: compiled blocks do not see hooks that were added later.
                run = block.forward if moment.scene.silent or index in by_residual else block
                hidden = Hidden(*run(*hidden, **told, all_perturbed=index in by_value))
        return hidden, inputs

    def leave(self, hidden: Hidden, moment: Moment) -> tuple[Tensor, Tensor]:
        """What the last block gives → the velocity of each token (1, N, C), video and audio, in float32."""
        found = []
        for (kind, names), states in zip(_NAMES.items(), hidden, strict=True):
            shift, scale = (getattr(self.transformer, names.table) + moment.last[kind][:, :, None]).unbind(2)
            states = getattr(self.transformer, names.norm)(states) * (1 + scale) + shift
            found.append(getattr(self.transformer, names.leave)(states).float())
        video, audio = found
        return video, audio

    def check(self, how: Pass) -> None:
        """UsageError where this transformer cannot run such a pass."""
        if how.skip is None:
            return
        if not how.skip.blocks or not all(0 <= index < len(self.blocks) for index in how.skip.blocks):
            raise UsageError(
                f"pass {how.name!r} skips self-attention in blocks {list(how.skip.blocks)}; the transformer has "
                f"{len(self.blocks)}: name one or more of 0 to {len(self.blocks) - 1}."
            )
        if how.skip.how == "value" and not self.config.perturbed_attn:
            raise UsageError(
                f'pass {how.name!r} skips by "value", which a transformer of layout {self.layout} without '
                f'perturbed_attn would ignore in silence: use "residual".'
            )

    def _modulation(self, scene: Scene, kind: str, sigma: float) -> tuple[tuple[Tensor | None, ...], Tensor]:
        """Of one stream, (1, N or 1, ·): in blocks, of cross-attention, its gate and the prompt; and at the end."""
        model, names = self.transformer, _NAMES[kind]
        whole = {
            each: torch.zeros_like(scene.video.mask[0, :1])
            if frozen and self.frozen_sigma == "zero"
            else scene.video.mask.new_tensor([sigma]) * LEVELS
            for each, frozen in scene.frozen.items()
        }
        own = (getattr(scene, kind).mask * sigma * LEVELS).flatten()
        other = whole["audio" if kind == "video" else "video"] if self.layout == "2.3" else own

        def embedded(name: str, levels: Tensor) -> tuple[Tensor, Tensor]:
            values, simple = getattr(model, name)(levels, batch_size=1, hidden_dtype=model.dtype)
            return values[None], simple[None]

        told, last = embedded(names.time, own)
        cross, _ = embedded(names.cross, other)
        ratio = self.config.cross_attn_timestep_scale_multiplier / self.config.timestep_scale_multiplier
        gate, _ = embedded(names.gate, other * ratio)
        prompt = embedded(names.prompt, whole[kind])[0] if hasattr(model, names.prompt) else None
        return (told, cross, gate, prompt), last


# Names in the model ----------------------------------------------------------------------------------------------


class _Names(NamedTuple):
    """Modules of a stream, and the arguments under which a block takes its modulation."""

    time: str
    cross: str
    gate: str
    prompt: str
    table: str
    norm: str
    leave: str
    arguments: tuple[str, str, str, str]


_NAMES = {
    "video": _Names(
        "time_embed",
        "av_cross_attn_video_scale_shift",
        "av_cross_attn_video_a2v_gate",
        "prompt_adaln",
        "scale_shift_table",
        "norm_out",
        "proj_out",
        ("temb", "temb_ca_scale_shift", "temb_ca_gate", "temb_prompt"),
    ),
    "audio": _Names(
        "audio_time_embed",
        "av_cross_attn_audio_scale_shift",
        "av_cross_attn_audio_v2a_gate",
        "audio_prompt_adaln",
        "audio_scale_shift_table",
        "audio_norm_out",
        "audio_proj_out",
        ("temb_audio", "temb_ca_audio_scale_shift", "temb_ca_audio_gate", "temb_prompt_audio"),
    ),
}


def _silence(attention: nn.Module, hooks: ExitStack, rows: Tensor | None = None) -> None:
    """Makes what an attention adds zero, in the rows (1, Q, 1) that are True or in all, until the stack is left."""

    def zero(_module: nn.Module, _inputs: object, answer: Tensor) -> Tensor:
        return torch.zeros_like(answer) if rows is None else answer.masked_fill(rows, 0)

    hooks.callback(attention.register_forward_hook(zero).remove)
