"""Which passes of the network a step needs, and with which weight each counts.

    x0 = P + sum over terms of c (P - X)   →   x0 = (1 + sum of c) P - sum of c X

P is the pass with everything: the positive text, all references, nothing left out. Each term compares it with a pass X
that lacks one thing, and goes on in that direction:

    text       X has the negative text                          classifier-free guidance       c = scale - 1
    identity   X has no reference of the voice; sound alone     ID-LoRA, section 3.4           c = scale - 1
    stg        X lacks the self-attention of a block            Hyung et al., arXiv 2411.18664 c = scale
    bimodal    X has no attention between picture and sound     LTX-2                          c = scale - 1

Conventions. Scales are those of the papers: 1 is off for text, identity and bimodal, 0 for STG. The identity scale of the
paper, 4.0, is 3.0 in the released code, which gives the coefficient. Weights of one stream sum to 1. A pass that weighs
nothing in either stream is not there, and is never run; the same pass wanted by two terms is run once.

A pass without references has no value for their tokens. There P's stands in, so that the weights still sum to 1: the
term changes target tokens only.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, TypeAlias

from ..errors import UsageError

__all__ = ["IDENTITY", "IDLORA", "Pass", "Skip", "Term", "bimodal", "identity", "resolve", "stg", "text_cfg"]

IDENTITY = "identity"  # the group of context that the identity term leaves out

Text: TypeAlias = Literal["positive", "negative"]
How: TypeAlias = Literal["residual", "value"]


class Skip(NamedTuple):
    """Self-attention of these blocks, counted from 0, left out in both streams.

    "residual" adds nothing in its place (19B as ID-LoRA runs it); "value" adds each token's own value (2.3).
    """

    blocks: tuple[int, ...]
    how: How


class Term(NamedTuple):
    """Adds `video` and `audio` times (P - the pass described) to the streams."""

    name: str
    video: float
    audio: float
    text: Text = "positive"
    without: tuple[str, ...] = ()  # groups of context left out
    skip: Skip | None = None
    isolate: bool = False  # no attention between picture and sound


class Pass(NamedTuple):
    """One run of the network, and what its x0 is multiplied with in each stream before all are summed."""

    name: str
    text: Text
    without: tuple[str, ...]
    skip: Skip | None
    isolate: bool
    video_weight: float
    audio_weight: float


def resolve(terms: Iterable[Term]) -> tuple[Pass, ...]:
    """The passes that weigh something, P first where it does, then in the order of the terms.

    UsageError for a coefficient that is no finite number, a block below 0, or a skip of no block.
    """
    full = _Run("positive", (), None, False)
    names: dict[_Run, list[str]] = {full: ["full"]}
    video: dict[_Run, list[float]] = {full: [1.0]}
    audio: dict[_Run, list[float]] = {full: [1.0]}
    for term in terms:
        run = _run(term)
        names.setdefault(run, []).append(term.name)
        for weights, coefficient in ((video, term.video), (audio, term.audio)):
            weights[full].append(coefficient)
            weights.setdefault(run, []).append(-coefficient)
    passes = (
        Pass(_joined(names[run]), *run, video_weight=math.fsum(video[run]), audio_weight=math.fsum(audio[run]))
        for run in names
    )
    return tuple(one for one in passes if one.video_weight or one.audio_weight)


# Terms -----------------------------------------------------------------------------------------------------------


def text_cfg(video: float, audio: float) -> Term:
    """Guidance by text; 1 is off."""
    return Term("text", video - 1, audio - 1, text="negative")


def identity(scale: float) -> Term:
    """Identity guidance of the sound, at the paper's scale; 1 is off."""
    return Term("identity", 0.0, scale - 1, without=(IDENTITY,))


def stg(scale: float, blocks: Sequence[int] = (29,), how: How = "residual") -> Term:
    """Spatio-temporal guidance of both streams; 0 is off."""
    return Term("stg", scale, scale, skip=Skip(tuple(blocks), how))


def bimodal(scale: float) -> Term:
    """Guidance by the other stream, of both; 1 is off."""
    return Term("bimodal", scale - 1, scale - 1, isolate=True)


IDLORA = (text_cfg(3.0, 7.0), identity(4.0), stg(1.0), bimodal(3.0))  # of the 19B model: ID-LoRA, section 4.4


# Passes ----------------------------------------------------------------------------------------------------------


class _Run(NamedTuple):
    """What makes two passes the same."""

    text: Text
    without: tuple[str, ...]
    skip: Skip | None
    isolate: bool


def _run(term: Term) -> _Run:
    if not (math.isfinite(term.video) and math.isfinite(term.audio)):
        raise UsageError(
            f"guidance term {term.name!r} with coefficients {term.video} and {term.audio}; expected finite numbers."
        )
    skip = term.skip
    if skip is not None:
        if not skip.blocks or min(skip.blocks) < 0:
            raise UsageError(f"guidance term {term.name!r} skips blocks {list(skip.blocks)}; expected some, from 0 on.")
        skip = Skip(tuple(sorted(set(skip.blocks))), skip.how)
    return _Run(term.text, tuple(sorted(set(term.without))), skip, term.isolate)


def _joined(names: Sequence[str]) -> str:
    return "+".join(dict.fromkeys(names))
