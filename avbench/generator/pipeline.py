"""From a face, a voice and a prompt to a clip: what is encoded, in which order networks are loaded, what is written.

    all prompts → text encoder → words
    first frame, voice → encoders → what is given ┐
    noise                                         ┴→ stage one, guided → latents
    video latent → twice the size → stage two, the sound as it is
    latents → decoders → 25 frames a second, and sound → one mp4

Conventions. Every shot has random numbers of its own, drawn on the CPU in float32 whatever the device: picture, sound
(target, then reference), picture of stage two. So a clip depends on its seed, and neither on what was made before it nor
on how many are made, nor on where networks are meanwhile. Where they have no room side by side, a batch of shots goes
through each phase before the next one begins; else one shot does.

What is wrong with the request as a whole is raised before a network is loaded; what is wrong with one pair is its
failure, told before long work, and the others are made.

LTX-2: HaCohen et al. 2026. ID-LoRA, sections 3 and 4.4.
"""

from __future__ import annotations

import contextlib
import math
import tempfile
from collections.abc import Generator, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from ..clip import FRAME_RATE, Sound, write_clip
from ..errors import MediaError, NotFinite, WorkerDied
from ..extract.engine import engine_of, exactly
from ..home import package_version
from . import audio, positions
from .adapters import Loaded
from .context import Context, Rule, Stream, noised, state
from .driver import Driver
from .guidance import IDENTITY, Pass, resolve
from .latents import Grid, audio_tokens, decoded_frames, decoded_sound, encoded, fitted, upsampled, video_grid
from .networks import (
    MAX_WORDS,
    Networks,
    Precision,
    Setup,
    adapter_specs,
    bring,
    check_model,
    count_words,
    encode_prompts,
    is_out_of_memory,
    load,
    load_tokenizer,
    negative_prompt,
    read_text,
)
from .recipe import Memory, Recipe, settings, terms
from .sampler import Latents, steps
from .shots import Given, Shot, check, prompt_text, read

__all__ = ["FIRST_SECONDS_APART", "Made", "Step", "produce", "video_positions"]

FIRST_SECONDS_APART = 0.5  # of a clip: the voice is often unstable there, so that metrics may leave it out
BATCH = 16  # shots, where networks take turns: as many as a kill may lose
SOURCE = "source"  # the group of context of a clip to be dubbed
RULES = {
    "inference": Rule(),
    "training": Rule(cross="targets", text="mean"),
    "target_pairs": Rule(cross="target_pairs"),
}


class Step(NamedTuple):
    """How far a clip has come, in steps of both stages."""

    pair: str
    done: int
    of: int


class Made(NamedTuple):
    """What became of a shot; `failure` is empty where its clip is there."""

    pair: str
    provenance: dict[str, Any]
    failure: str


def produce(
    recipe: Recipe,
    folder: Path,
    shots: Sequence[Shot],
    *,
    device: str = "auto",
    precision: Precision = "bf16",
    memory: Memory = "auto",
) -> Iterator[Made | Step]:
    """Makes the clips, each told of when its file is there, and every step; those that cannot be made are told of first.

    `folder` holds a model as diffusers lays it out. UsageError and WeightsError are raised before long work;
    WorkerDied where memory ends: clips made before stay.
    """
    check(recipe, shots)
    check_model(recipe, folder)
    place = torch.device(engine_of(device).device)
    found = adapter_specs(recipe)
    if memory == "auto":
        memory = _that_fits(recipe, folder, shots, place, precision)
    return _produced(recipe, folder, list(shots), Setup(place, precision, memory, found))


def _that_fits(
    recipe: Recipe, folder: Path, shots: Sequence[Shot], place: torch.device, precision: Precision
) -> Literal["resident", "staged", "offload"]:
    """Where networks are to wait: on a CPU there is one place for all; else what the largest clip leaves room for."""
    if place.type == "cpu" or not shots:
        return "resident"
    from .plan import Size, choose  # which runs this loop without numbers

    largest = max((Size(shot.frames, shot.width, shot.height) for shot in shots), key=math.prod)
    mode, _ = choose(recipe, folder, largest, device=str(place), precision=precision)
    return mode


def video_positions(recipe: Recipe, grid: Grid) -> Tensor:
    """Where the latents of a picture are, (1, 3, N, 2), in the dtype that the recipe has them in."""
    where = positions.video_positions(*grid, FRAME_RATE)
    return positions.rounded(where) if recipe.position_dtype == "bfloat16" else where


# The order of work -----------------------------------------------------------------------------------------------


class _Kit(NamedTuple):
    """What all shots are made with."""

    recipe: Recipe
    setup: Setup
    networks: Networks
    words: dict[str, Path]  # of each prompt
    negative: str


class _Work(NamedTuple):
    """One shot, and what is given of it, encoded: on the CPU, as tokens."""

    shot: Shot
    reference: dict[str, Any]  # what is said of it in the record
    first: list[Tensor]  # the first frame (1, h · w, C) at the size of each stage; none where it is not given
    contexts: tuple[Context, ...]
    noise: torch.Generator


def _produced(recipe: Recipe, folder: Path, shots: list[Shot], setup: Setup) -> Iterator[Made | Step]:
    exactly()
    tokenizer, negative = load_tokenizer(folder), negative_prompt(recipe)
    failures = {shot.pair: _failure(recipe, shot, tokenizer) for shot in shots}
    yield from (Made(pair, {}, failure) for pair, failure in failures.items() if failure)
    shots = [shot for shot in shots if not failures[shot.pair]]
    if not shots:
        return
    # Beside the clips, where what a kill leaves is cleared away.
    with _memory(setup), tempfile.TemporaryDirectory(dir=shots[0].path.parent, prefix="words-") as scratch:
        prompts = [prompt_text(shot.prompt) for shot in shots]
        if any(one.text == "negative" for one in resolve(terms(recipe))):
            prompts.append(negative)
        words = encode_prompts(folder, tokenizer, prompts, setup, Path(scratch))
        kit = _Kit(recipe, setup, load(recipe, folder, setup), words, negative)
        count = 1 if setup.memory == "resident" else BATCH
        for start in range(0, len(shots), count):
            yield from _together(kit, shots[start : start + count])


def _failure(recipe: Recipe, shot: Shot, tokenizer: Any) -> str:
    """Why no clip can be made of a pair, or nothing."""
    if not shot.prompt.speech.strip():
        return f"{shot.pair}: its prompt says no words; expected some to be spoken."
    words = count_words(tokenizer, prompt_text(shot.prompt))
    if words > MAX_WORDS:
        return f"{shot.pair}: a prompt of {words} tokens; expected at most {MAX_WORDS}: shorten it."
    try:
        read(recipe, shot)
    except MediaError as error:
        return str(error)
    return ""


def _together(kit: _Kit, shots: Sequence[Shot]) -> Iterator[Made | Step]:
    """A batch of shots through every phase; in each, the networks that it uses are on the device."""
    recipe, setup, networks = kit.recipe, kit.setup, kit.networks
    works: dict[str, _Work] = {}
    found: dict[str, Latents] = {}
    failures: dict[str, str] = {}
    bring(networks, setup, "vae", "audio_vae")
    for shot in shots:
        with _spared(shot.pair, failures):
            works[shot.pair] = _encoded(kit, shot)
    bring(networks, setup, "transformer", used=list(recipe.stage_one))
    for pair, work in works.items():
        with _spared(pair, failures):
            found[pair] = yield from _stage_one(kit, work)
    if recipe.refine:
        bring(networks, setup, "vae", "upsampler")
        found = {pair: _enlarged(kit, works[pair], x) for pair, x in found.items()}
        bring(networks, setup, "transformer", used=list(recipe.stage_two))
        for pair in list(found):
            x = found.pop(pair)
            with _spared(pair, failures):
                found[pair] = yield from _stage_two(kit, works[pair], x)
    bring(networks, setup, "vae", "audio_vae", "vocoder")
    for pair, x in found.items():
        with _spared(pair, failures):
            yield Made(pair, _written(kit, works[pair], x), "")
    yield from (Made(pair, {}, failure) for pair, failure in failures.items())


@contextlib.contextmanager
def _spared(pair: str, failures: dict[str, str]) -> Iterator[None]:
    """Notes what keeps this shot from being made; the others go on."""
    try:
        yield
    except (MediaError, NotFinite) as error:  # media may be gone since they were looked at
        failures[pair] = f"{pair}: {error}" if isinstance(error, NotFinite) else str(error)


@torch.no_grad()
def _encoded(kit: _Kit, shot: Shot) -> _Work:
    """A shot with what is given of it; MediaError where that cannot be read."""
    recipe, networks = kit.recipe, kit.networks
    given = read(recipe, shot)
    first = []
    if given.face is not None:
        for stage in range(recipe.stages, 0, -1):
            pixels = fitted(given.face[None], *video_grid(shot, stage).pixels, recipe.image_fit)
            first.append(encoded(networks.vae, pixels).cpu())
    noise = torch.Generator().manual_seed(shot.seed)
    return _Work(shot, given.reference, first, _contexts(kit, shot, given), noise)


def _contexts(kit: _Kit, shot: Shot, given: Given) -> tuple[Context, ...]:
    """What the target of either stream reads beside itself."""
    recipe, networks = kit.recipe, kit.networks
    if given.mel is None:
        return ()
    rule = RULES[recipe.masks]
    heard = audio.reference_tokens(networks.audio_vae, given.mel).cpu()
    if recipe.reference == "dub":  # one latent longer than the picture, as windows are centred on both ends
        heard = heard[:, : audio_tokens(shot)]
    where = positions.audio_positions(heard.shape[1])
    if recipe.position_dtype == "bfloat16":
        where = positions.rounded(where)
    if recipe.positions == "negative":
        where = positions.before(where)
    if recipe.reference == "audio":
        return (Context(IDENTITY, "audio", heard, where, rule=rule),)
    assert given.face is not None  # of a clip, or the still that stands for one
    grid = video_grid(shot, recipe.stages)
    shown = given.face[None] if given.source is None else given.source
    frames = [fitted(frame[None], *grid.pixels, recipe.image_fit) for frame in shown]  # one by one: small beside all
    pixels = torch.cat(frames, dim=2).expand(-1, -1, shot.frames, -1, -1)  # a still is held
    seen = encoded(networks.vae, pixels).cpu()
    return (
        Context(SOURCE, "audio", heard, where, rule=rule),
        Context(SOURCE, "video", seen, video_positions(recipe, grid), rule=rule),
    )


def _stage_one(kit: _Kit, work: _Work) -> Generator[Step, None, Latents]:
    """Noise → latents of picture and sound, guided; those of the references are left behind."""
    recipe, networks = kit.recipe, kit.networks
    grid, tokens = video_grid(work.shot, recipe.stages), audio_tokens(work.shot)
    empty = [
        torch.zeros(1, count, vae.latents_mean.numel(), device=kit.setup.device)
        for count, vae in ((grid.tokens, networks.vae), (tokens, networks.audio_vae))
    ]
    video = _video(recipe, grid, empty[0], work.first[:1], work.contexts)
    sound = state("audio", empty[1], torch.ones(1, tokens), positions.audio_positions(tokens), work.contexts)
    video, sound = (noised(stream, _drawn(work.noise, stream)) for stream in (video, sound))
    x = yield from _denoised(kit, work, (video, sound), recipe.sigmas, resolve(terms(recipe)))
    return Latents(x.video[:, : video.targets].cpu(), x.audio[:, : sound.targets].cpu())


@torch.no_grad()
def _enlarged(kit: _Kit, work: _Work, x: Latents) -> Latents:
    """The picture at twice the size; the sound as it is."""
    networks = kit.networks
    tokens = x.video.to(kit.setup.device)
    larger = upsampled(networks.vae, networks.upsampler, tokens, video_grid(work.shot, kit.recipe.stages))
    return Latents(larger.cpu(), x.audio)


def _stage_two(kit: _Kit, work: _Work, x: Latents) -> Generator[Step, None, Latents]:
    """The picture at its full size, made anew from some noise on; the sound as it is."""
    recipe, device = kit.recipe, kit.setup.device
    grid, tokens = video_grid(work.shot, 1), audio_tokens(work.shot)
    video = _video(recipe, grid, x.video.to(device), work.first[1:])
    video = noised(video, _drawn(work.noise, video), recipe.refine[0])
    sound = state("audio", x.audio.to(device), torch.zeros(1, tokens), positions.audio_positions(tokens))
    refined = yield from _denoised(kit, work, (video, sound), recipe.refine, resolve([]))
    return Latents(refined.video.cpu(), x.audio)


def _denoised(
    kit: _Kit, work: _Work, streams: tuple[Stream, Stream], sigmas: Sequence[float], passes: Sequence[Pass]
) -> Generator[Step, None, Latents]:
    """The streams without noise; every step is told of."""
    first, second = len(kit.recipe.sigmas) - 1, max(len(kit.recipe.refine) - 1, 0)
    before = first if sigmas is kit.recipe.refine else 0
    prompts = {"positive": prompt_text(work.shot.prompt), "negative": kit.negative}
    texts = {name: read_text(kit.words[prompt]) for name, prompt in prompts.items() if prompt in kit.words}
    driver = Driver(kit.networks.transformer, kit.recipe.frozen_audio_sigma)
    x = Latents(*(stream.x for stream in streams))
    for done, latest in enumerate(steps(driver, *streams, texts, sigmas, passes), start=1):
        x = latest
        yield Step(work.shot.pair, before + done, first + second)
    return x


@torch.no_grad()
def _written(kit: _Kit, work: _Work, x: Latents) -> dict[str, Any]:
    """Writes the clip; what it depends on, and what became of its sound."""
    shot, networks, device = work.shot, kit.networks, kit.setup.device
    frames = decoded_frames(networks.vae, x.video.to(device), video_grid(shot, 1))
    sound = decoded_sound(networks.audio_vae, networks.vocoder, x.audio.to(device))
    write_clip(shot.path, frames, sound, _comment(kit.recipe, shot))
    return _provenance(kit, work, sound)


def _provenance(kit: _Kit, work: _Work, sound: Sound) -> dict[str, Any]:
    """What a clip depends on and what became of its sound, as JSON has it."""
    recipe, shot, setup = kit.recipe, work.shot, kit.setup
    return {
        "settings": settings(recipe),
        "untrained": recipe.untrained,
        "seed": shot.seed,
        "frames": shot.frames,
        "width": shot.width,
        "height": shot.height,
        "prompt": prompt_text(shot.prompt),
        **({"negative_prompt": kit.negative} if kit.negative in kit.words else {}),
        "reference": work.reference,
        "adapters": {name: _plain(one) for name, one in kit.networks.loaded.items()},
        "device": torch.cuda.get_device_name(setup.device) if setup.device.type == "cuda" else setup.device.type,
        "precision": setup.precision,
        "sound": {"rate": sound.rate, "seconds": len(sound.samples) / sound.rate, "channels": "two, mixed to one"},
        "first_seconds_apart": FIRST_SECONDS_APART,
        "versions": {name: version(name) for name in ("diffusers", "peft", "torch", "transformers")},
    }


def _plain(loaded: Loaded) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in loaded._asdict().items()}


def _comment(recipe: Recipe, shot: Shot) -> str:
    """What the file says of itself."""
    untrained = ", random weights" if recipe.untrained else ""
    return f"synthetic clip: avbench {package_version()}, {recipe.name}{untrained}, seed {shot.seed}"


@contextlib.contextmanager
def _memory(setup: Setup) -> Iterator[None]:
    """An error that says what to do where memory ends."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not is_out_of_memory(error):
            raise
        smaller = {"resident": "--memory staged or offload", "staged": "--memory offload"}.get(setup.memory)
        ways = [*([smaller] if smaller else []), "precision=fp8", "smaller clips", "a larger device"]
        raise WorkerDied(
            f"out of memory on {setup.device} at {setup.precision}: {' '.join(str(error).split())[:200]}. Clips made "
            f"before are kept. Try one of: {', '.join(ways)}."
        ) from error


# Streams ---------------------------------------------------------------------------------------------------------


def _video(
    recipe: Recipe, grid: Grid, clean: Tensor, first: Sequence[Tensor], contexts: Sequence[Context] = ()
) -> Stream:
    """The picture's stream over tokens (1, N, C), of which the first frame's (1, h · w, C) are given where there is one."""
    mask = torch.ones(1, grid.tokens)
    for frame in first[:1]:
        clean = torch.cat([frame.to(clean), clean[:, frame.shape[1] :]], dim=1)
        mask[:, : frame.shape[1]] = 0
    return state("video", clean, mask, video_positions(recipe, grid), contexts)


def _drawn(generator: torch.Generator, stream: Stream) -> Tensor:
    """Noise for every token of a stream, those that are given too."""
    return torch.randn(stream.x.shape, generator=generator).to(stream.x.device)
