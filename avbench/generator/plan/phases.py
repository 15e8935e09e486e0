"""The phases of making a clip, as they are run: on zeros of the sizes that a request has.

    text → inputs → stage one → (upsampling → stage two) → picture, sound

Each is the code that makes clips (`latents`, `sampler`), with what the pipeline would hand to it. It has a beginning, once
for a clip, and a run, which is repeated: a step of denoising with all its passes; else the whole phase.

Conventions. Networks are on a device, or on "meta", where tensors have no numbers; what is asked for its values there
(masks, positions) is on the CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from ...clip import FRAME_RATE
from ...split import Prompt
from .. import adapters, audio, latents, pipeline, positions
from ..context import Context, Stream, state
from ..driver import Driver, Text
from ..guidance import IDENTITY, Pass, resolve
from ..latents import Grid, audio_tokens, video_grid
from ..networks import MAX_WORDS, Precision
from ..recipe import Recipe, terms
from ..sampler import Latents, predictor
from ..shots import Shot, check
from .metering import Begin, Network, Run
from .parts import Parts

__all__ = ["Request", "Work", "request", "voice_seconds", "works"]

VOICE_SECONDS = 5.0  # of a reference whose length the recipe leaves open


class Request(NamedTuple):
    """A clip to be made, of which only the size is known, and the networks that make it."""

    recipe: Recipe
    shot: Shot
    parts: Parts


class Work(NamedTuple):
    """A phase: with which networks, how often for a clip, and how."""

    networks: tuple[str, ...]
    runs: int
    passes: int  # calls of the transformer in a run
    begin: Begin


def request(recipe: Recipe, folder: Path | None, size: tuple[int, int, int], precision: Precision) -> Request:
    """A clip of so many frames, width and height, by the model in `folder`, or by the published one where that is None.

    UsageError for sizes that the recipe cannot make; WeightsError as `Parts`.
    """
    shot = Shot("the request", Prompt("", "", "", ""), Path(), Path(), 0, *size, Path())
    check(recipe, [shot])
    return Request(recipe, shot, Parts(recipe, folder, precision))


def works(request: Request) -> dict[str, Work]:
    """The phases, in their order."""
    recipe = request.recipe
    steps, passes = len(recipe.sigmas) - 1, resolve(terms(recipe))
    found = {
        "text": Work(("text_encoder", "connectors"), 1, 0, _text(request)),
        "inputs": Work(("vae", "audio_vae"), 1, 0, _inputs(request)),
        "stage one": Work(("transformer",), steps, len(passes), _stage(request, passes, first=True)),
    }
    if recipe.refine:
        found["upsampling"] = Work(("vae", "latent_upsampler"), 1, 0, _upsampling(request))
        refined = _stage(request, resolve([]), first=False)
        found["stage two"] = Work(("transformer",), len(recipe.refine) - 1, 1, refined)
    return found | {
        "picture": Work(("vae",), 1, 0, _picture(request)),
        "sound": Work(("audio_vae", "vocoder"), 1, 0, _sound(request)),
    }


def voice_seconds(request: Request) -> float | None:
    """Of the reference that is encoded; None where there is none."""
    recipe = request.recipe
    if recipe.reference == "none":
        return None
    if recipe.reference == "dub":
        return request.shot.frames / FRAME_RATE
    return VOICE_SECONDS if recipe.reference_seconds is None else recipe.reference_seconds


# Phases ----------------------------------------------------------------------------------------------------------


def _text(request: Request) -> Begin:
    """One prompt."""

    def begin(networks: Mapping[str, Network], place: torch.device) -> Run:
        encoder, connectors = networks["text_encoder"], networks["connectors"]
        words = torch.ones(1, MAX_WORDS, dtype=torch.long, device=_home(place))
        seen = torch.ones(1, 1, MAX_WORDS, MAX_WORDS, dtype=torch.bool, device=place)  # as it makes of a padded prompt
        masks = {"full_attention": seen, "sliding_attention": seen.clone()}

        def run() -> object:
            layers = encoder.model(input_ids=words, attention_mask=masks, output_hidden_states=True).hidden_states
            return connectors(torch.stack(layers, dim=-1).flatten(2).to(request.parts.dtype), words)

        return run

    return begin


def _inputs(request: Request) -> Begin:
    """The first frame at the size of each stage, a clip to be dubbed, the voice."""
    recipe, shot = request.recipe, request.shot
    shown = [(1, stage) for stage in range(recipe.stages, 0, -1) if _has_first_frame(recipe)]
    if recipe.reference == "dub":
        shown.append((shot.frames, recipe.stages))
    seconds = voice_seconds(request)

    def begin(networks: Mapping[str, Network], place: torch.device) -> Run:
        vae, audio_vae = networks["vae"], networks["audio_vae"]

        def run() -> None:
            for frames, stage in shown:
                latents.encoded(vae, torch.zeros(1, 3, frames, *video_grid(shot, stage).pixels))
            if seconds is not None:
                mel = torch.zeros(1, audio_vae.config.in_channels, _columns(seconds), audio.MELS, device=place)
                audio_vae.encode(mel).latent_dist.mode()

        return run

    return begin


def _stage(request: Request, passes: Sequence[Pass], first: bool) -> Begin:
    """A step of denoising; what is constant before it is the beginning."""
    recipe = request.recipe

    def begin(networks: Mapping[str, Network], place: torch.device) -> Run:
        transformer = networks["transformer"]
        adapters.use(transformer, list(recipe.stage_one if first else recipe.stage_two))
        video, sound = _streams(request, transformer.config, _home(place), first)
        texts: dict[str, Text] = {each.text: _words(transformer, place) for each in passes}
        predict = predictor(Driver(transformer, recipe.frozen_audio_sigma), video, sound, texts, passes)
        x = Latents(video.x.to(place), sound.x.to(place))
        return lambda: predict(x, recipe.sigmas[0])

    return begin


def _upsampling(request: Request) -> Begin:
    """The picture of stage one at twice its size."""

    def begin(networks: Mapping[str, Network], place: torch.device) -> Run:
        vae, upsampler = networks["vae"], networks["latent_upsampler"]
        grid = video_grid(request.shot, request.recipe.stages)
        tokens = torch.zeros(1, grid.tokens, vae.config.latent_channels, device=place)
        return lambda: latents.upsampled(vae, upsampler, tokens, grid)

    return begin


def _picture(request: Request) -> Begin:
    """All pieces of the picture, in whole numbers."""

    def begin(networks: Mapping[str, Network], place: torch.device) -> Run:
        vae, grid = networks["vae"], video_grid(request.shot, 1)
        tokens = torch.zeros(1, grid.tokens, vae.config.latent_channels, device=place)
        return lambda: latents.decoded_frames(vae, tokens, grid)

    return begin


def _sound(request: Request) -> Begin:
    def begin(networks: Mapping[str, Network], place: torch.device) -> Run:
        vae, vocoder = networks["audio_vae"], networks["vocoder"]
        tokens = torch.zeros(1, audio_tokens(request.shot), vae.latents_mean.numel(), device=place)
        return lambda: latents.decoded_sound(vae, vocoder, tokens)

    return begin


# What is handed to them ------------------------------------------------------------------------------------------


def _streams(request: Request, config: Any, home: torch.device, first: bool) -> tuple[Stream, Stream]:
    """The tokens of a stage: with the references and the sound to be made in the first, else with the sound as it is."""
    recipe, count = request.recipe, audio_tokens(request.shot)
    grid = video_grid(request.shot, recipe.stages if first else 1)
    contexts = _contexts(request, grid, config, home) if first else []
    mask = torch.ones(1, grid.tokens)
    if _has_first_frame(recipe):
        mask[:, : grid.height * grid.width] = 0
    clean = torch.zeros(1, grid.tokens, config.in_channels, device=home)
    sound = torch.zeros(1, count, config.audio_in_channels, device=home)
    made = torch.full((1, count), float(first))
    return (
        state("video", clean, mask, pipeline.video_positions(recipe, grid), contexts),
        state("audio", sound, made, positions.audio_positions(count), contexts),
    )


def _contexts(request: Request, grid: Grid, config: Any, home: torch.device) -> list[Context]:
    """A voice; or both streams of a clip to be dubbed."""
    recipe, seconds = request.recipe, voice_seconds(request)
    if seconds is None:
        return []
    rule, dub = pipeline.RULES[recipe.masks], recipe.reference == "dub"
    heard = audio_tokens(request.shot) if dub else -(-_columns(seconds) // positions.COLUMNS)
    where = positions.audio_positions(heard)
    if recipe.positions == "negative":
        where = positions.before(where)
    group = pipeline.SOURCE if dub else IDENTITY
    voice = Context(group, "audio", torch.zeros(1, heard, config.audio_in_channels, device=home), where, rule=rule)
    if not dub:
        return [voice]
    seen = torch.zeros(1, grid.tokens, config.in_channels, device=home)
    return [voice, Context(group, "video", seen, pipeline.video_positions(recipe, grid), rule=rule)]


def _has_first_frame(recipe: Recipe) -> bool:
    return recipe.first_frame or recipe.reference == "dub"


def _words(transformer: Network, place: torch.device) -> Text:
    """A prompt as the connectors give it."""
    config = transformer.config
    widths = (
        (config.caption_channels,) * 2
        if config.use_prompt_embeddings
        else (config.cross_attention_dim, config.audio_cross_attention_dim)
    )
    video, sound = (torch.zeros(1, MAX_WORDS, width, device=place, dtype=transformer.dtype) for width in widths)
    return Text(video, sound)


def _columns(seconds: float) -> int:
    """Of the spectrogram of a voice."""
    return round(seconds * audio.RATE) // audio.HOP + 1


def _home(place: torch.device) -> torch.device:
    """Where small tensors are that are asked for their values: not on "meta", which has none."""
    return torch.device("cpu") if place.type == "meta" else place
