"""From a face, a voice and a prompt to a clip: what is encoded, in which order networks are loaded, what is written.

    all prompts → text encoder → connectors → words; the text encoder is freed
    first frame → video encoder ┐
    voice → log-mel → encoder   ┴→ stage one, guided → latents
    video latent → twice the size → stage two, the sound as it is → video decoder, tiled → 25 frames a second
    audio latent → decoder → vocoder → sound → one mp4

Conventions. Every shot has random numbers of its own, drawn on the CPU in float32 whatever the device: picture, sound
(target, then reference), picture of stage two. So a clip depends on its seed, and neither on what was made before it nor
on how many are made. Networks of sound run in float32; they are small. Prompts hold three tags, padded to 1024 tokens.

Decoded sound is 30 ms shorter than the picture, and ends in silence. Both its channels are mixed: a `Sound` has one.
What is wrong with the request as a whole is raised before a network is loaded; what is wrong with one pair is its
failure, told before long work, and the others are made.

LTX-2: HaCohen et al. 2026. ID-LoRA, sections 3 and 4.4.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from .. import weights
from ..clip import FRAME_RATE, MAX_SECONDS, Sound, read_audio, read_image, read_video, write_clip
from ..errors import AvbenchError, MediaError, UsageError, WeightsError
from ..extract.engine import engine_of, exactly
from ..home import package_version
from ..split import Prompt
from . import adapters, audio, positions
from .adapters import AdapterSpec, Loaded
from .context import Context, Rule, Stream, noised, state
from .driver import Driver, Text
from .guidance import IDENTITY, resolve
from .recipe import Adapter, Recipe, settings, terms
from .sampler import Latents, denoise

__all__ = ["FIRST_SECONDS_APART", "MAX_WORDS", "Made", "Precision", "Report", "Shot", "check", "produce", "prompt_text"]

Network: TypeAlias = Any  # of diffusers or transformers: to type checkers their classes are empty
Pixels: TypeAlias = NDArray[np.uint8]
Precision = Literal["bf16", "fp32", "fp8"]
Report = Callable[[str, int, int], None]  # pair, steps done, of how many

FIRST_SECONDS_APART = 0.5  # of a clip: the voice is often unstable there, so that metrics may leave it out
MAX_WORDS = 1024  # tokens of a prompt
LATENT_FRAMES, LATENT_PIXELS = 8, 32  # of video to a latent
AUDIO_LATENTS_PER_SECOND = 25
MIN_FACE_PIXELS = 32  # each way: less is no face
PARTS = ("tokenizer", "text_encoder", "connectors", "transformer", "vae", "audio_vae", "vocoder")
UPSAMPLER = "latent_upsampler"
MIN_PIXELS = 64  # each way: the decoder mirrors latents at their edges, and of a single one there is no mirror image
TILE_PIXELS, TILE_STRIDES = 512, (448, 416)  # of the decoder, in the picture
TILE_FRAMES, TILE_FRAMES_STRIDE = 64, 40  # and in time
SOURCE = "source"  # the group of context of a clip to be dubbed
RULES = {
    "inference": Rule(),
    "training": Rule(cross="targets", text="mean"),
    "target_pairs": Rule(cross="target_pairs"),
}


class Shot(NamedTuple):
    """One clip to be made: what it is made from, and where it goes. `frames` are at 25 fps."""

    pair: str
    prompt: Prompt
    voice: Path
    face: Path
    seed: int
    frames: int
    width: int  # pixels
    height: int
    path: Path
    source: Path | None = None  # the clip to be dubbed, where a recipe asks for one


class Made(NamedTuple):
    """What became of a shot; `failure` is empty where its clip is there."""

    pair: str
    provenance: dict[str, Any]
    failure: str


def check(recipe: Recipe, shots: Sequence[Shot]) -> None:
    """UsageError for a request that cannot be met whatever the pairs hold: lengths, sizes, two clips at one place."""
    step = LATENT_PIXELS * recipe.stages
    for shot in shots:
        if shot.frames < 1 + LATENT_FRAMES or shot.frames % LATENT_FRAMES != 1:
            raise UsageError(
                f"{shot.pair}: {shot.frames} frames; expected 8 k + 1 of them, such as {_nearest_frames(shot.frames)}: "
                "a latent holds eight, the first one."
            )
        if shot.frames > MAX_SECONDS * FRAME_RATE:
            raise UsageError(f"{shot.pair}: {shot.frames} frames; expected at most {MAX_SECONDS:g} s of them.")
        if min(shot.width, shot.height) < MIN_PIXELS or shot.width % step or shot.height % step:
            near = " x ".join(str(max(MIN_PIXELS, round(side / step) * step)) for side in (shot.width, shot.height))
            raise UsageError(
                f"{shot.pair}: {shot.width} x {shot.height} pixels; expected multiples of {step}, at least {MIN_PIXELS} "
                f"({recipe.name} has {recipe.stages} stage{'s' * (recipe.stages > 1)}), such as {near}."
            )
        if recipe.reference == "dub" and shot.source is None:
            raise UsageError(f"{shot.pair}: no clip to be dubbed; {recipe.name} needs one for every pair.")
    for name, seen in (("pair", [shot.pair for shot in shots]), ("path", [str(shot.path) for shot in shots])):
        if twice := [one for one, times in Counter(seen).items() if times > 1]:
            raise UsageError(f"{name} {twice[0]} stands for more than one of {len(seen)} clips; expected one each.")


def produce(
    recipe: Recipe,
    folder: Path,
    shots: Sequence[Shot],
    *,
    device: str = "auto",
    precision: Precision = "bf16",
    report: Report | None = None,
) -> Iterator[Made]:
    """Makes the clips one by one, each told of when its file is there; those that cannot be made are told of first.

    `folder` holds a model as diffusers lays it out. UsageError and WeightsError are raised before long work;
    AvbenchError where memory ends: clips made before stay.
    """
    check(recipe, shots)
    _check_model(recipe, folder)
    place = torch.device(engine_of(device).device)
    found = {name: _spec(one) for name, one in {**recipe.stage_one, **recipe.stage_two}.items()}
    return _produced(recipe, folder, list(shots), _Run(place, precision, found), report or _unheard)


def prompt_text(prompt: Prompt) -> str:
    """A prompt in the three tags that the model was adapted with."""
    sounds = " ".join(part.strip() for part in (prompt.manner, prompt.environment) if part.strip())
    return f"[VISUAL]: {prompt.visual.strip()}\n[SPEECH]: {prompt.speech.strip()}\n[SOUNDS]: {sounds}"


# The order of work -----------------------------------------------------------------------------------------------


class _Run(NamedTuple):
    """How networks are run, and with which adapters."""

    device: torch.device
    precision: Precision
    adapters: dict[str, AdapterSpec]

    @property
    def dtype(self) -> torch.dtype:
        return torch.float32 if self.precision == "fp32" else torch.bfloat16


class _Networks(NamedTuple):
    """All that a shot needs when its prompt is encoded."""

    transformer: Network
    vae: Network
    audio_vae: Network
    vocoder: Network
    upsampler: Network  # None where there is one stage
    loaded: dict[str, Loaded]


class _Work(NamedTuple):
    """One shot, ready to be made."""

    recipe: Recipe
    shot: Shot
    given: _Given
    texts: dict[str, Text]
    networks: _Networks
    run: _Run
    noise: torch.Generator


def _produced(recipe: Recipe, folder: Path, shots: list[Shot], run: _Run, report: Report) -> Iterator[Made]:
    exactly()
    tokenizer, negative = _tokenizer(folder), _negative(recipe)
    failures = {shot.pair: _failure(recipe, shot, tokenizer) for shot in shots}
    yield from (Made(pair, {}, failure) for pair, failure in failures.items() if failure)
    shots = [shot for shot in shots if not failures[shot.pair]]
    if not shots:
        return
    with _memory(run):
        texts = _texts(folder, tokenizer, [negative, *(prompt_text(shot.prompt) for shot in shots)], run)
        networks = _load(recipe, folder, run)
        for shot in shots:
            try:
                given = _read(recipe, shot)
            except MediaError as error:  # gone since it was looked at
                yield Made(shot.pair, {}, str(error))
                continue
            chosen = {"positive": texts[prompt_text(shot.prompt)], "negative": texts[negative]}
            noise = torch.Generator().manual_seed(shot.seed)
            work = _Work(recipe, shot, given, chosen, networks, run, noise)
            heard = _make(work, report)
            yield Made(shot.pair, {**_provenance(work, heard), "negative_prompt": negative}, "")


def _failure(recipe: Recipe, shot: Shot, tokenizer: Network) -> str:
    """Why no clip can be made of a pair, or nothing."""
    if not shot.prompt.speech.strip():
        return f"{shot.pair}: its prompt says no words; expected some to be spoken."
    words = _count(tokenizer, prompt_text(shot.prompt))
    if words > MAX_WORDS:
        return f"{shot.pair}: a prompt of {words} tokens; expected at most {MAX_WORDS}: shorten it."
    try:
        _read(recipe, shot)
    except MediaError as error:
        return str(error)
    return ""


def _make(work: _Work, report: Report) -> Sound:
    """Writes the clip of one shot; the sound as it was decoded."""
    recipe, shot, networks = work.recipe, work.shot, work.networks
    first, second = len(recipe.sigmas) - 1, max(len(recipe.refine) - 1, 0)
    with torch.no_grad():
        x = _stage_one(work, lambda done, _: report(shot.pair, done, first + second))
        if recipe.refine:
            x = _stage_two(work, x, lambda done, _: report(shot.pair, first + done, first + second))
        frames = _frames(networks.vae, x.video, _grid(shot, 1))
        sound = _sound(networks, x.audio)
    write_clip(shot.path, frames, sound, _comment(recipe, shot))
    return sound


def _stage_one(work: _Work, told: Callable[[int, int], None]) -> Latents:
    """Noise → latents of picture and sound, guided; those of the references are left behind."""
    recipe, networks = work.recipe, work.networks
    grid, tokens = _grid(work.shot, recipe.stages), _audio_tokens(work.shot)
    contexts = _contexts(work, grid)
    empty = [
        torch.zeros(1, count, vae.latents_mean.numel(), device=work.run.device)
        for count, vae in ((grid.tokens, networks.vae), (tokens, networks.audio_vae))
    ]
    video = _video(recipe, grid, empty[0], _first(work, grid), contexts)
    sound = state("audio", empty[1], torch.ones(1, tokens), positions.audio_positions(tokens), contexts)
    video, sound = (noised(stream, _drawn(work.noise, stream)) for stream in (video, sound))
    adapters.use(networks.transformer, list(recipe.stage_one))
    x = denoise(_driver(work), video, sound, work.texts, recipe.sigmas, resolve(terms(recipe)), told)
    return Latents(x.video[:, : video.targets], x.audio[:, : sound.targets])


def _stage_two(work: _Work, x: Latents, told: Callable[[int, int], None]) -> Latents:
    """The picture at twice the size, made anew from some noise on; the sound as it is."""
    recipe, networks = work.recipe, work.networks
    grid, tokens = _grid(work.shot, 1), _audio_tokens(work.shot)
    larger = _upsampled(networks, x.video, _grid(work.shot, recipe.stages))
    video = _video(recipe, grid, larger, _first(work, grid))
    video = noised(video, _drawn(work.noise, video), recipe.refine[0])
    sound = state("audio", x.audio, torch.zeros(1, tokens), positions.audio_positions(tokens))
    adapters.use(networks.transformer, list(recipe.stage_two))
    refined = denoise(_driver(work), video, sound, work.texts, recipe.refine, resolve([]), told)
    return Latents(refined.video, x.audio)


def _driver(work: _Work) -> Driver:
    return Driver(work.networks.transformer, work.recipe.frozen_audio_sigma)


def _provenance(work: _Work, sound: Sound) -> dict[str, Any]:
    """What a clip depends on and what became of its sound, as JSON has it."""
    recipe, shot, voice, run = work.recipe, work.shot, work.given.voice, work.run
    return {
        "settings": settings(recipe),
        "untrained": recipe.untrained,
        "seed": shot.seed,
        "frames": shot.frames,
        "width": shot.width,
        "height": shot.height,
        "prompt": prompt_text(shot.prompt),
        "reference": {} if voice is None else {"seconds": len(voice.samples) / voice.rate},
        "adapters": {name: _plain(one) for name, one in work.networks.loaded.items()},
        "device": torch.cuda.get_device_name(run.device) if run.device.type == "cuda" else run.device.type,
        "precision": run.precision,
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
def _memory(run: _Run) -> Iterator[None]:
    """An error that says what to do where memory ends."""
    try:
        yield
    except (torch.OutOfMemoryError, MemoryError) as error:
        raise AvbenchError(
            f"out of memory on {run.device} at {run.precision}: {str(error).partition('.')[0]}. Clips made before are "
            "kept. Expected room for the whole model: try fp8, smaller clips, or a larger device."
        ) from error


def _unheard(pair: str, done: int, of: int) -> None:
    """The report that nobody hears."""


# What is given ---------------------------------------------------------------------------------------------------


class _Given(NamedTuple):
    """Media of a shot, checked: RGB (H, W, 3), the voice and its mel, frames (T, H, W, 3) of a clip to be dubbed."""

    face: Pixels | None
    voice: Sound | None
    mel: Tensor | None
    source: Pixels | None


def _read(recipe: Recipe, shot: Shot) -> _Given:
    """MediaError where a pair holds what no clip can be made of."""
    source = None
    face = None
    if recipe.reference == "dub" and shot.source is not None:
        source = read_video(shot.source)
        if len(source) < shot.frames:
            raise MediaError(f"{shot.source}: {len(source)} frames at 25 fps; expected {shot.frames} to be dubbed.")
        source = source[: shot.frames]
        face = source[0]
    elif recipe.first_frame:
        face = read_image(shot.face)
    if face is not None and min(face.shape[:2]) < MIN_FACE_PIXELS:
        height, width, _ = face.shape
        raise MediaError(
            f"{shot.face if source is None else shot.source}: a first frame of {width} x {height} pixels; expected at "
            f"least {MIN_FACE_PIXELS} each way."
        )
    if recipe.reference == "none":
        return _Given(face, None, None, source)
    file = shot.voice if shot.source is None or source is None else shot.source
    voice = _voice(recipe, shot, read_audio(file))
    try:
        return _Given(face, voice, audio.reference_mel(voice), source)
    except MediaError as error:
        raise MediaError(f"{file}: {error}") from error


def _voice(recipe: Recipe, shot: Shot, sound: Sound) -> Sound:
    """As much of it as the recipe takes; of a clip to be dubbed, as long as the picture, with silence at its end."""
    samples = sound.samples
    if recipe.reference == "dub":
        whole = np.zeros(round(shot.frames / FRAME_RATE * sound.rate), np.float32)
        kept = samples[: len(whole)]
        whole[: len(kept)] = kept
        samples = whole
    elif recipe.reference_seconds is not None:
        samples = samples[: round(recipe.reference_seconds * sound.rate)]
    return Sound(samples, sound.rate)


def _nearest_frames(frames: int) -> int:
    return LATENT_FRAMES * max(1, round((frames - 1) / LATENT_FRAMES)) + 1


# Words -----------------------------------------------------------------------------------------------------------


def _negative(recipe: Recipe) -> str:
    if recipe.negative is not None:
        return recipe.negative
    said: str = _library("diffusers.pipelines.ltx2.utils").DEFAULT_NEGATIVE_PROMPT
    return said


def _tokenizer(folder: Path) -> Network:
    tokenizer = _library("transformers").AutoTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _count(tokenizer: Network, prompt: str) -> int:
    return len(tokenizer(prompt.strip()).input_ids)


def _texts(folder: Path, tokenizer: Network, prompts: Sequence[str], run: _Run) -> dict[str, Text]:
    """Each prompt as the transformer reads it, on the CPU; the text encoder is gone afterwards."""
    encoder = _network("transformers", "Gemma3ForConditionalGeneration", folder / "text_encoder", run.dtype, run.device)
    connectors = _network(
        "diffusers.pipelines.ltx2", "LTX2TextConnectors", folder / "connectors", run.dtype, run.device
    )
    texts = {}
    for prompt in dict.fromkeys(prompts):
        words = tokenizer(prompt.strip(), padding="max_length", max_length=MAX_WORDS, return_tensors="pt").to(
            run.device
        )
        with torch.no_grad():
            layers = encoder.model(
                input_ids=words.input_ids, attention_mask=words.attention_mask, output_hidden_states=True
            ).hidden_states
            video, sound, _ = connectors(torch.stack(layers, dim=-1).flatten(2).to(run.dtype), words.attention_mask)
        texts[prompt] = Text(video.cpu(), sound.cpu())
    del encoder, connectors, layers
    if run.device.type == "cuda":  # what a later network cannot have is counted there
        gc.collect()
        torch.cuda.empty_cache()
    return texts


# Networks --------------------------------------------------------------------------------------------------------


def _library(name: str) -> Any:
    """A module of diffusers or transformers, imported when used; without their types, which are incomplete."""
    return importlib.import_module(name)


def _network(module: str, kind: str, folder: Path, dtype: torch.dtype, device: torch.device) -> Network:
    """One part of the model, ready to run."""
    typed = {"dtype" if module == "transformers" else "torch_dtype": dtype}
    with _without_progress():
        try:
            network = getattr(_library(module), kind).from_pretrained(folder, local_files_only=True, **typed)
        except (OSError, ValueError, RuntimeError) as error:
            raise WeightsError(f"{folder}: cannot be loaded as {kind} ({_line(error)}); fetch it again.") from error
    return network.to(device).eval().requires_grad_(False)


def _load(recipe: Recipe, folder: Path, run: _Run) -> _Networks:
    """All networks but those of the text, adapters beside each other, none in use."""
    diffusers, ltx2 = "diffusers", "diffusers.pipelines.ltx2"
    fp8 = run.precision == "fp8"
    cpu, single = torch.device("cpu"), torch.float32
    here = cpu if fp8 else run.device  # at fp8 the whole of it may have room in no other form
    transformer = _network(diffusers, "LTX2VideoTransformer3DModel", folder / "transformer", run.dtype, here)
    loaded = adapters.load(transformer, run.adapters)
    if fp8:
        transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=run.dtype)
        transformer.to(run.device)
    vae = _network(diffusers, "AutoencoderKLLTX2Video", folder / "vae", run.dtype, run.device)
    if vae.config.timestep_conditioning:
        raise WeightsError(
            f"{folder / 'vae'}: a decoder that wants a noise level; expected that of LTX-2, without one."
        )
    audio_vae = _network(diffusers, "AutoencoderKLLTX2Audio", folder / "audio_vae", single, run.device)
    kind = "LTX2VocoderWithBWE" if recipe.layout == "2.3" else "LTX2Vocoder"
    vocoder = _network(ltx2, kind, folder / "vocoder", single, run.device)
    upsampler = None
    if recipe.refine:
        upsampler = _network(ltx2, "LTX2LatentUpsamplerModel", folder / UPSAMPLER, run.dtype, run.device)
    return _Networks(transformer, vae, audio_vae, vocoder, upsampler, loaded)


def _spec(adapter: Adapter) -> AdapterSpec:
    """Where an adapter lies; WeightsError where it is not here."""
    if bool(adapter.weights) == bool(adapter.path):
        raise UsageError(f"an adapter of weights {adapter.weights!r} and path {adapter.path!r}; expected one of them.")
    file = Path(adapter.path) if adapter.path else weights.path(adapter.weights)
    if not file.is_file():
        raise WeightsError(f"{file}: no such adapter file; expected a LoRA as safetensors.")
    return AdapterSpec(file, adapter.base, adapter.strengths, transformer_only=adapter.transformer_only)


def _check_model(recipe: Recipe, folder: Path) -> None:
    """WeightsError where the folder is not of the recipe's model: told from its configuration alone."""
    wanted = [*PARTS, *([UPSAMPLER] if recipe.refine else [])]
    absent = [part for part in wanted if not (folder / part).is_dir()]
    if absent:
        raise WeightsError(
            f"{folder}: no {', '.join(absent)}; expected a model as diffusers lays it out, with {', '.join(wanted)}."
        )
    file = folder / "transformer" / "config.json"
    try:
        config = json.loads(file.read_text())
        layout = "2.3" if config.get("cross_attn_mod") else "2.0"
        blocks = int(config["num_layers"])
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise WeightsError(f"{file}: {_line(error)}; expected the configuration of an LTX-2 transformer.") from error
    if layout != recipe.layout:
        raise WeightsError(f"{folder}: a transformer of layout {layout}; {recipe.name} is for {recipe.layout}.")
    if recipe.stg_scale and max(recipe.stg_blocks) >= blocks:
        raise UsageError(
            f"{recipe.name} skips self-attention in blocks {list(recipe.stg_blocks)}; {folder} has {blocks} of them."
        )


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    """diffusers and transformers draw a bar for what they load."""
    drawn = [
        logging
        for logging in map(_library, ("transformers.utils.logging", "diffusers.utils.logging"))
        if logging.is_progress_bar_enabled()
    ]
    for logging in drawn:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging in drawn:
            logging.enable_progress_bar()


def _line(said: object) -> str:
    return " ".join(str(said).split())[:300]


# Picture ---------------------------------------------------------------------------------------------------------


class _Grid(NamedTuple):
    """Latents of a video, each way."""

    frames: int
    height: int
    width: int

    @property
    def tokens(self) -> int:
        return self.frames * self.height * self.width

    @property
    def pixels(self) -> tuple[int, int]:
        return self.height * LATENT_PIXELS, self.width * LATENT_PIXELS


def _grid(shot: Shot, shrink: int) -> _Grid:
    pixels = LATENT_PIXELS * shrink
    return _Grid((shot.frames - 1) // LATENT_FRAMES + 1, shot.height // pixels, shot.width // pixels)


def _video(
    recipe: Recipe, grid: _Grid, clean: Tensor, first: Tensor | None, contexts: Sequence[Context] = ()
) -> Stream:
    """The picture's stream over tokens (1, N, C), of which the first frame's (1, h · w, C) are given where there is one."""
    mask = torch.ones(1, grid.tokens)
    if first is not None:
        clean = torch.cat([first, clean[:, first.shape[1] :]], dim=1)
        mask[:, : first.shape[1]] = 0
    return state("video", clean, mask, _video_positions(recipe, grid), contexts)


def _video_positions(recipe: Recipe, grid: _Grid) -> Tensor:
    where = positions.video_positions(*grid, FRAME_RATE)
    return positions.rounded(where) if recipe.position_dtype == "bfloat16" else where


def _first(work: _Work, grid: _Grid) -> Tensor | None:
    """The first frame as tokens (1, h · w, C), at the size of the stage; None where it is not given."""
    if work.given.face is None:
        return None
    return _encoded(work.networks.vae, _fitted(work.given.face[None], *grid.pixels, work.recipe.image_fit))


def _fitted(picture: Pixels, height: int, width: int, fit: Literal["crop", "stretch"]) -> Tensor:
    """(T, H, W, 3) → (1, 3, T, height, width) from -1 to 1: bilinear, stretched, or covering and cut about its middle."""
    pixels = torch.from_numpy(np.ascontiguousarray(picture)).permute(0, 3, 1, 2).float()
    _, _, rows, columns = pixels.shape
    size = (height, width)
    if fit == "crop":  # in whole numbers, so that a picture of the right shape is never a pixel short
        if rows * width > columns * height:
            size = (-(-rows * width // columns), width)
        else:
            size = (height, -(-columns * height // rows))
    if size != (rows, columns):
        pixels = functional.interpolate(pixels, size, mode="bilinear", align_corners=False)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    pixels = pixels[:, :, top : top + height, left : left + width]
    return (pixels / 127.5 - 1).permute(1, 0, 2, 3)[None]


def _encoded(vae: Network, pixels: Tensor) -> Tensor:
    """(1, 3, T, H, W) from -1 to 1 → normalised tokens (1, N, C), the mean of what the encoder gives."""
    latent = vae.encode(pixels.to(vae.device, vae.dtype)).latent_dist.mode()
    return audio.normalise(_flat(latent), *_statistics(vae))


def _upsampled(networks: _Networks, tokens: Tensor, grid: _Grid) -> Tensor:
    """Tokens of a grid → those of one of twice the height and width, as the network makes them of latents."""
    latent = _folded(audio.denormalise(tokens, *_statistics(networks.vae)), grid)
    upsampler: Network = networks.upsampler
    return audio.normalise(_flat(upsampler(latent.to(upsampler.dtype))), *_statistics(networks.vae))


def _frames(vae: Network, tokens: Tensor, grid: _Grid) -> Pixels:
    """Tokens → (T, H, W, 3) RGB. Decoded in overlapping tiles where it is large; encoding never is."""
    latent = _folded(audio.denormalise(tokens, *_statistics(vae)), grid)
    strides = _stride(grid.height), _stride(grid.width)
    vae.enable_tiling(TILE_PIXELS, TILE_PIXELS, TILE_FRAMES, *strides, TILE_FRAMES_STRIDE)
    vae.use_framewise_decoding = True
    try:
        pixels = vae.decode(latent.to(vae.dtype), None, return_dict=False)[0][0]
    finally:
        vae.use_tiling = vae.use_framewise_decoding = False
    if not pixels.isfinite().all():
        raise AvbenchError(f"decoded pixels are not finite (in {vae.dtype}): use bf16 or fp32, and check the weights.")
    levels = ((pixels.permute(1, 2, 3, 0) + 1) * 127.5).round_().clamp_(0, 255).to(torch.uint8)
    frames: Pixels = levels.cpu().numpy()
    return frames


def _stride(latents: int) -> int:
    """From tile to tile, in pixels, such that the last one is never a single latent wide, which cannot be decoded."""
    return next(stride for stride in TILE_STRIDES if latents % (stride // LATENT_PIXELS) != 1)


def _statistics(vae: Network) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation (C,) of the latents of a video."""
    return vae.latents_mean.float(), vae.latents_std.float() / vae.config.scaling_factor


def _flat(latent: Tensor) -> Tensor:
    """(1, C, F, h, w) → (1, F · h · w, C), frame by frame, row by row, in float32."""
    return latent.float().flatten(2).transpose(1, 2)


def _folded(tokens: Tensor, grid: _Grid) -> Tensor:
    return tokens.transpose(1, 2).reshape(1, -1, *grid)


# Sound -----------------------------------------------------------------------------------------------------------


def _sound(networks: _Networks, tokens: Tensor) -> Sound:
    """Normalised tokens (1, T, C) → what is heard, both channels mixed."""
    vae, vocoder = networks.audio_vae, networks.vocoder
    packed = audio.denormalise(tokens.float(), vae.latents_mean, vae.latents_std)
    mel = vae.decode(audio.unpack(packed, vae.config.latent_channels), return_dict=False)[0]
    samples = vocoder(mel)[0].mean(dim=0)
    if not samples.isfinite().all():
        raise AvbenchError("decoded samples are not finite: check the weights of audio_vae and vocoder.")
    return Sound(samples.clamp(-1, 1).cpu().numpy(), vocoder.config.output_sampling_rate)


# Streams ---------------------------------------------------------------------------------------------------------


def _audio_tokens(shot: Shot) -> int:
    return round(shot.frames / FRAME_RATE * AUDIO_LATENTS_PER_SECOND)


def _contexts(work: _Work, grid: _Grid) -> tuple[Context, ...]:
    """What the target of either stream reads beside itself."""
    recipe, given, networks = work.recipe, work.given, work.networks
    if given.mel is None:
        return ()
    rule = RULES[recipe.masks]
    heard = audio.reference_tokens(networks.audio_vae, given.mel)
    if recipe.reference == "dub":  # one latent longer than the picture, as windows are centred on both ends
        heard = heard[:, : _audio_tokens(work.shot)]
    where = positions.audio_positions(heard.shape[1])
    if recipe.position_dtype == "bfloat16":
        where = positions.rounded(where)
    if recipe.positions == "negative":
        where = positions.before(where)
    if recipe.reference == "audio" or given.source is None:
        return (Context(IDENTITY, "audio", heard, where, rule=rule),)
    seen = _encoded(networks.vae, _fitted(given.source, *grid.pixels, recipe.image_fit))
    return (
        Context(SOURCE, "audio", heard, where, rule=rule),
        Context(SOURCE, "video", seen, _video_positions(recipe, grid), rule=rule),
    )


def _drawn(generator: torch.Generator, stream: Stream) -> Tensor:
    """Noise for every token of a stream, those that are given too."""
    return torch.randn(stream.x.shape, generator=generator).to(stream.x.device)
