"""Denoising: from noise to latents, each step the sum of a few evaluations of the transformer under plain weights.

    x0(pass) = x - velocity · sigma · mask          what a pass takes the clean tokens for
    x0       = sum of weight · x0(pass)             guidance
    x0       ← x0 · mask + clean · (1 - mask)       what is given stays
    x        ← x + (x - x0) / sigma · (next - sigma)           Euler

ID-LoRA's five passes: the plain one, with the negative prompt, without the reference (identity, for sound alone), with
the self-attention of one block skipped (STG), with the streams isolated.

Conventions. Weights are resolved before (`guidance`): a pass that would weigh nothing is not among them, and none is run.
A pass that skips self-attention begins at its first skipped block, with what the plain pass had there. Of tokens that a
pass leaves out it says what the plain pass does, so that its term is of the others alone. Latents, x0 and steps are in
float32 whatever the transformer computes in.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import NotFinite, UsageError
from .context import Stream, kept, without
from .driver import Driver, Hidden, Moment, Text
from .guidance import Pass

__all__ = ["Latents", "denoise", "predictor", "steps"]


class Latents(NamedTuple):
    """Tokens (1, N, C) of both streams, float32."""

    video: Tensor
    audio: Tensor


def denoise(
    driver: Driver,
    video: Stream,
    audio: Stream,
    texts: Mapping[str, Text],
    sigmas: Sequence[float],
    passes: Sequence[Pass],
) -> Latents:
    """Euler's steps from the first noise level to the last, which is 0: tokens as in the streams, references included.

    `texts` has a prompt for each `text` of the passes. UsageError where these do not fit together; NotFinite where
    the transformer gives numbers that are not finite.
    """
    last = Latents(video.x, audio.x)
    for latest in steps(driver, video, audio, texts, sigmas, passes):
        last = latest
    return last


@torch.no_grad()
def steps(
    driver: Driver,
    video: Stream,
    audio: Stream,
    texts: Mapping[str, Text],
    sigmas: Sequence[float],
    passes: Sequence[Pass],
) -> Iterator[Latents]:
    """What `denoise` has after each of its steps: one fewer than there are noise levels."""
    if len(sigmas) < 2 or sigmas[-1] != 0 or not all(1 >= a > b >= 0 for a, b in itertools.pairwise(sigmas)):
        raise UsageError(f"the noise levels are {list(sigmas)}, expected two or more, from at most 1 down to 0.")
    predict = predictor(driver, video, audio, texts, passes)
    x = Latents(video.x, audio.x)
    for step, (sigma, following) in enumerate(itertools.pairwise(sigmas), start=1):
        x0 = predict(x, sigma)
        x = Latents(*(now + (now - clean) / sigma * (following - sigma) for now, clean in zip(x, x0, strict=True)))
        if not all(tokens.isfinite().all() for tokens in x):
            raise NotFinite(
                f"after step {step} of {len(sigmas) - 1} the latents hold numbers that are not finite "
                f"(the transformer computes in {driver.transformer.dtype}): smaller guidance scales may help; if every pair "
                "is so, check the weights."
            )
        yield x


def predictor(
    driver: Driver, video: Stream, audio: Stream, texts: Mapping[str, Text], passes: Sequence[Pass]
) -> Callable[[Latents, float], Latents]:
    """The guided x0 of tokens at a noise level, as a function of these two; what is constant is computed here, once."""
    _check(driver, video, audio, texts, passes)
    prompts = {name: driver.read(texts[name]) for name in {each.text for each in passes}}
    words = next(iter(prompts.values())).video.shape[1]
    left_out = {each.without for each in passes}
    scenes = {left: driver.scene(without(video, left), without(audio, left), words) for left in left_out}
    places = {left: (kept(video, left), kept(audio, left)) for left in left_out}
    order = sorted(passes, key=_place)
    starts: dict[_Trunk, set[int]] = {}  # at which blocks others begin with what a pass has there
    for each in order:
        starts.setdefault(_trunk(each), set()).update([min(each.skip.blocks)] if each.skip else [])

    def predict(x: Latents, sigma: float) -> Latents:
        moments: dict[tuple[str, ...], Moment] = {}
        inputs: dict[tuple[_Trunk, int], Hidden] = {}
        total = [torch.zeros_like(tokens) for tokens in x]
        plain = [video.clean, audio.clean]  # what is said of tokens that no pass has seen
        for each in order:
            left, trunk, start = each.without, _trunk(each), min(each.skip.blocks) if each.skip else 0
            scene = scenes[left]
            if left not in moments:
                moments[left] = driver.moment(scene, sigma, like=next(iter(moments.values()), None))
            held = [tokens if at is None else tokens[:, at] for tokens, at in zip(x, places[left], strict=True)]
            if (trunk, start) in inputs:
                hidden = inputs[trunk, start]
            else:
                start, hidden = 0, driver.enter(*held)
            keep = () if each.skip else starts[trunk]
            hidden, found = driver.through(hidden, moments[left], prompts[each.text], each, start, keep)
            inputs |= {(trunk, block): states for block, states in found.items()}
            velocities = driver.leave(hidden, moments[left])
            for which, weight in enumerate((each.video_weight, each.audio_weight)):
                level, at = (sigma * (scene.video, scene.audio)[which].mask)[..., None], places[left][which]
                x0 = held[which] - velocities[which] * level
                if at is not None:
                    x0 = plain[which].index_copy(1, at, x0)
                if weight:
                    total[which] += weight * x0
                if _place(each) == _PLAIN:
                    plain[which] = x0
        return Latents(*(_given(x0, stream) for x0, stream in zip(total, (video, audio), strict=True)))

    return predict


def _given(x0: Tensor, stream: Stream) -> Tensor:
    """The same, with the tokens that are given as they are."""
    mask = stream.mask[..., None]
    return x0 * mask + stream.clean * (1 - mask)


# Passes ----------------------------------------------------------------------------------------------------------


_Trunk = tuple[str, tuple[str, ...], bool]
_PLAIN = (False, False, False, False)


def _place(each: Pass) -> tuple[bool, bool, bool, bool]:
    """In the order of a step: the plain pass first, and those that skip after what they have in common with."""
    return bool(each.without), each.skip is not None, each.isolate, each.text != "positive"


def _trunk(each: Pass) -> _Trunk:
    """What passes agree in that are the same up to a block where one of them skips."""
    return each.text, each.without, each.isolate


def _check(driver: Driver, video: Stream, audio: Stream, texts: Mapping[str, Text], passes: Sequence[Pass]) -> None:
    if not passes:
        raise UsageError("no pass is to be run: all weights are zero.")
    for each in passes:
        driver.check(each)
        if each.text not in texts:
            raise UsageError(
                f"pass {each.name!r} reads the {each.text} prompt; only {', '.join(texts) or 'none'} is given."
            )
        if unknown := set(each.without) - {*video.names, *audio.names}:
            raise UsageError(
                f"pass {each.name!r} leaves out {', '.join(sorted(unknown))}, of which nothing is given (given: "
                f"{', '.join([*video.names, *audio.names]) or 'no reference'}): give it, or leave the term out."
            )
    if len({part.shape[1] for each in passes for part in texts[each.text]}) > 1:
        raise UsageError("the prompts differ in their number of words, expected one: pad them as the connectors do.")
