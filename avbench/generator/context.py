"""What the transformer is given besides noise: reference tokens, where they stand, and who may attend to them.

A stream (video or audio) is one row of tokens: first the target, which is generated, then the references of each group,
appended. In-context conditioning is no more than that: a reference is clean tokens in the same row, and the target reads
it through attention.

    mask      1: generate, 0: given; a token's noise level is sigma · mask
    x         noise · sigma · mask + clean · (1 - sigma · mask)
    strength  of a reference: its mask is 1 - strength
    rule      of a reference: which attention its tokens take part in

ID-LoRA's reference voice is such a context of the audio stream at negative times, under the default rule; it was trained
under `Rule(cross="targets", text="mean")`. Just-Dub-It's references have `cross="target_pairs"`, and AVControl's a
`self_weight`. "Without reference" is the same streams with a group left out (`without`).

Conventions. One sample, (1, N, C) tokens, packed and normalised, in float32. Masks of attention are added to its logits:
log(weight), and half the lowest number of the dtype where blocked: kernels multiply it by log2(e), and a row of infinities
would be no row. Rows that must get nothing at all are set to zero after attention. Where nothing is masked there is no
mask, and fused attention stays possible. Masks over keys alone have one row, and are broadcast.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ..errors import NotFinite, UsageError

__all__ = [
    "Attention",
    "Context",
    "Group",
    "Rule",
    "Stream",
    "across",
    "kept",
    "noised",
    "prompted",
    "state",
    "within",
    "without",
]


class Rule(NamedTuple):
    """In which attention the tokens of a reference take part; by default in all, without any mask.

    self_weight   of its tokens for the target's and of the target's for its own, in self-attention, at least 0. Where it
                  is not 1 for all references of a stream, references of different groups do not see each other.
    cross         "targets": the other stream does not see the reference, which sees the other stream;
                  "target_pairs": between the streams, tokens with mask 1 see tokens with mask 1, and that is all. It
                  holds for both streams as soon as one reference asks for it, and for a given first frame too.
    text          "none": the reference gets nothing from the prompt; "mean": the same of every word, which is what a
                  row of one low number becomes in softmax. ID-LoRA was trained with the lowest there is; what the
                  kernel of its GPU made of that is not known.
    """

    self_weight: float = 1.0
    cross: Literal["all", "targets", "target_pairs"] = "all"
    text: Literal["all", "mean", "none"] = "all"


class Context(NamedTuple):
    """Reference tokens for one stream; positions (1, k, R, 2), k = 3 for video (seconds, pixels), 1 for audio."""

    group: str
    stream: Literal["audio", "video"]
    tokens: Tensor
    positions: Tensor
    strength: float = 1.0
    rule: Rule = Rule()


class Group(NamedTuple):
    """Where the tokens of a reference are in its stream."""

    name: str
    span: slice
    rule: Rule


class Stream(NamedTuple):
    """The tokens of one modality: x, clean (1, N, C), mask (1, N), positions (1, k, N, 2)."""

    x: Tensor
    clean: Tensor
    mask: Tensor
    positions: Tensor
    groups: tuple[Group, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of its groups."""
        return tuple(group.name for group in self.groups)

    @property
    def targets(self) -> int:
        """How many tokens are the target's: the first ones."""
        return self.groups[0].span.start if self.groups else self.x.shape[1]


class Attention(NamedTuple):
    """A bias (1, 1 or Q, K) for the logits, and which queries (1, Q, 1) get anything; None: no mask, and all."""

    bias: Tensor | None = None
    rows: Tensor | None = None


def state(
    stream: Literal["audio", "video"], clean: Tensor, mask: Tensor, positions: Tensor, contexts: Sequence[Context] = ()
) -> Stream:
    """A target and the contexts of this stream, without noise yet.

    clean (1, N, C) holds what is given or to be refined (zeros elsewhere), mask (1, N), positions (1, k, N, 2), whose
    dtype stays: rotary tables of bfloat16 positions are others (`positions.rounded`).
    UsageError where shapes or values do not fit.
    """
    _check("the target", stream, clean, positions, clean, positions)
    if mask.shape != clean.shape[:2]:
        raise UsageError(f"the mask of the {stream} target is {tuple(mask.shape)}, expected {tuple(clean.shape[:2])}.")
    if not ((mask >= 0) & (mask <= 1)).all():
        raise UsageError(f"the mask of the {stream} target holds numbers outside 0 (given) to 1 (generate).")
    parts = [clean.float()]
    masks = [mask.to(clean.device, torch.float32)]
    places = [positions.to(clean.device)]
    groups: list[Group] = []
    start = clean.shape[1]
    for context in contexts:
        if context.stream != stream:
            continue
        name = f"context {context.group!r}"
        _check(name, stream, context.tokens, context.positions, clean, positions)
        if not 0 <= context.strength <= 1:
            raise UsageError(f"{name} has strength {context.strength}, expected 0 to 1.")
        if not 0 <= context.rule.self_weight < math.inf:
            raise UsageError(f"{name} has self_weight {context.rule.self_weight}, expected at least 0.")
        if context.group in [group.name for group in groups]:
            raise UsageError(f"two contexts of the {stream} stream are of group {context.group!r}: name them apart.")
        count = context.tokens.shape[1]
        parts.append(context.tokens.to(parts[0]))
        masks.append(masks[0].new_full((1, count), 1 - context.strength))
        places.append(context.positions.to(clean.device))
        groups.append(Group(context.group, slice(start, start + count), context.rule))
        start += count
    tokens = torch.cat(parts, dim=1)
    return Stream(tokens, tokens, torch.cat(masks, dim=1), torch.cat(places, dim=2), tuple(groups))


def noised(stream: Stream, noise: Tensor, sigma: float = 1.0) -> Stream:
    """The stream at the noise level where denoising begins; noise is as its x. Given tokens stay as they are."""
    if noise.shape != stream.x.shape:
        raise UsageError(f"the noise is {tuple(noise.shape)}, expected one number for each of {tuple(stream.x.shape)}.")
    level = (sigma * stream.mask)[..., None]
    return stream._replace(x=noise.to(stream.x) * level + stream.clean * (1 - level))


def kept(stream: Stream, groups: Collection[str]) -> Tensor | None:
    """The places (n,) of the tokens that remain without these groups; None where all do."""
    dropped = [group.span for group in stream.groups if group.name in groups]
    if not dropped:
        return None
    stays = torch.ones(stream.x.shape[1], dtype=torch.bool, device=stream.x.device)
    for span in dropped:
        stays[span] = False
    return stays.nonzero()[:, 0]


def without(stream: Stream, groups: Collection[str]) -> Stream:
    """The stream as if these references had not been given; the same object where it has none of them."""
    places = kept(stream, groups)
    if places is None:
        return stream
    remaining: list[Group] = []
    start = stream.targets
    for group in stream.groups:
        if group.name not in groups:
            count = group.span.stop - group.span.start
            remaining.append(group._replace(span=slice(start, start + count)))
            start += count
    return Stream(
        stream.x[:, places],
        stream.clean[:, places],
        stream.mask[:, places],
        stream.positions[:, :, places],
        tuple(remaining),
    )


# Attention -------------------------------------------------------------------------------------------------------


def within(stream: Stream, dtype: torch.dtype) -> Attention:
    """Self-attention of a stream."""
    if all(group.rule.self_weight == 1 for group in stream.groups):
        return Attention()
    owner = torch.zeros(stream.x.shape[1], dtype=torch.long, device=stream.x.device)
    lowest = torch.finfo(dtype).min / 2
    between = torch.full((len(stream.groups) + 1,) * 2, lowest, dtype=dtype, device=stream.x.device)
    for number, (_, span, rule) in enumerate(stream.groups, start=1):
        owner[span] = number
        between[0, number] = between[number, 0] = math.log(rule.self_weight) if rule.self_weight else lowest
    return Attention(between.fill_diagonal_(0)[owner][:, owner][None])


def across(queries: Stream, keys: Stream, dtype: torch.dtype) -> Attention:
    """Attention from one stream to the other."""
    pairs = any(group.rule.cross == "target_pairs" for group in queries.groups + keys.groups)
    blocked = keys.mask < 1 if pairs else torch.zeros_like(keys.mask, dtype=torch.bool)
    for group in keys.groups:
        if group.rule.cross == "targets":
            blocked[:, group.span] = True
    if not blocked.any() and not (pairs and (queries.mask < 1).any()):
        return Attention()
    rows = ((queries.mask == 1) & ~blocked.all())[..., None] if pairs else None
    return Attention(_lowest(blocked[:, None], dtype), rows)


def prompted(stream: Stream, words: int, dtype: torch.dtype) -> Attention:
    """Attention from a stream to the prompt."""
    marks = {rule: torch.zeros_like(stream.mask, dtype=torch.bool) for rule in ("mean", "none")}
    for group in stream.groups:
        if group.rule.text != "all":
            marks[group.rule.text][:, group.span] = True
    mean, none = marks["mean"], marks["none"]
    return Attention(
        _lowest(mean[..., None].expand(-1, -1, words), dtype) if mean.any() else None,
        ~none[..., None] if none.any() else None,
    )


def _lowest(blocked: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros_like(blocked, dtype=dtype).masked_fill_(blocked, torch.finfo(dtype).min / 2)


def _check(name: str, stream: str, tokens: Tensor, positions: Tensor, like: Tensor, place: Tensor) -> None:
    """Tokens and positions of one reference or target, against those of the target."""
    count = tokens.shape[1] if tokens.ndim == 3 else 0
    if not count or tokens.shape != (1, count, like.shape[-1]):
        raise UsageError(
            f"{name} of the {stream} stream is {tuple(tokens.shape)}, expected (1, tokens, {like.shape[-1]})."
        )
    if positions.shape != (1, place.shape[1], count, 2):
        raise UsageError(
            f"the positions of {name} of the {stream} stream are {tuple(positions.shape)}, "
            f"expected (1, {place.shape[1]}, {count}, 2): start and end of each token on each axis."
        )
    if not (tokens.isfinite().all() and positions.isfinite().all()):
        raise NotFinite(f"{name} of the {stream} stream holds numbers that are not finite; expected none.")
