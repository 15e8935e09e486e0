"""How fast is one denoising step of ID-LoRA? Ours, five whole forwards, and diffusers' own pipeline, on the same weights.

    python bench/generator.py [--layout 2.3] [--pixels 512 1024] [--attention _native_cudnn] [--compile] [--plan] [--json]

On a GPU the transformer has the published size and random weights in bfloat16, made on the device; elsewhere a reduced
one runs every line of this in well under a minute. A table for each size of picture: seconds of a step, its FLOPs, the
rate, that rate as a share of the ceiling, peak memory. Ends with 1 where a velocity or the guided x0 differs by a bit, or,
on a GPU at the published size, a bar is missed: ours at least 1.10 times as fast as five forwards, and 60 % of the ceiling.

    ours       `sampler.predictor`: five passes, that of STG from its block on, the isolated one without cross-attention
    forwards   five calls of the model's `forward`, each pass whole: what is skipped is computed, and zeros put in its place
    ours, 4    ours with the passes of diffusers' pipeline and its tokens: no identity term, no reference
    diffusers  the second of two steps of `LTX2ImageToVideoPipeline`: prompts as a batch of two, then STG, then isolated

Conventions. Contenders take turns, round by round, so that a clock that drifts is everybody's; seconds are medians of the
rounds, after two warm-ups, in one of which FLOPs are counted: those of products of matrices and of attention, 2 for a
multiplication with its addition. The ceiling is the best rate of a few large products in the same dtype, timed in the
same rounds. A step of ours is without Euler's arithmetic, a few small tensors. diffusers' transformer of layout 2.0 has
no switch for STG: its pass is timed all the same, and skips nothing. Peak memory is what torch allocates, with all
weights. `--compile` has the blocks compiled for everybody; bits are compared before, and what compiling moves is told,
as well as a pass that it makes the plain one: compiled blocks do not see hooks that come later. `--plan` compares with
what `avbench.generator.plan` says of a step and its memory: within 15 % is the bar.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import importlib
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode, sdpa_flop_count

from avbench.generator import guidance, layouts, schedule
from avbench.generator import plan as planning
from avbench.generator.context import Context, Stream, kept, noised, state, without
from avbench.generator.driver import Driver, Hidden, Moment, Text
from avbench.generator.guidance import Pass
from avbench.generator.positions import audio_positions, before, video_positions
from avbench.generator.recipe import Recipe, recipe, terms
from avbench.generator.sampler import Latents, predictor
from avbench.generator.tiny import save_tiny

__all__ = ["Contender", "Figures", "Given", "main"]

FASTER, SHARE = 1.10, 0.60  # bars: times faster than five forwards; of the ceiling
PLANNED = 0.15  # largest error of a plan
LEVELS = 1000  # what the model counts noise in
LATENT_FRAMES, LATENT_PIXELS, FPS = 8, 32, 25.0
SOUND_CHANNELS, BANDS = 8, 16  # of a latent of sound: 128 numbers a token
VOICE, WORDS = 126, 1024  # tokens of 5 s of a voice; that a prompt is padded to
STEPS, STEP = 30, 10  # of the schedule, and the one that is timed
REDUCED_BLOCKS, REDUCED_HEADS, REDUCED_PIXELS, REDUCED_WORDS = 2, 4, 128, 128  # where there is no GPU
RECOMPILED = 64  # a block, for so many shapes and ways of calling: beyond that it would run as it is, in silence
DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
RECIPES = {"2.0": "idlora-onestage", "2.3": "idlora-2.3"}
SIDE, SMALL_SIDE = 8192, 1024  # of the square product, on a GPU and elsewhere

Velocity = tuple[Tensor, Tensor]


class Given(NamedTuple):
    """What a step is given: noisy streams, prompts as connectors give them, the level of noise."""

    video: Stream
    audio: Stream
    texts: dict[str, Text]
    sigma: float


class Contender(NamedTuple):
    """`run` makes some steps and says how many seconds the last took."""

    name: str
    run: Callable[[], float]
    steps: int = 1


class Figures(NamedTuple):
    """Of one step: median, shortest and longest time; peak memory in bytes, None where it is not known."""

    name: str
    seconds: float
    shortest: float
    longest: float
    flop: float
    peak: int | None

    @property
    def rate(self) -> float:
        """FLOP/s."""
        return self.flop / self.seconds


# What is given ---------------------------------------------------------------------------------------------------


def transformer(asked: argparse.Namespace) -> Any:
    """The network with random numbers, made where it runs: matrices keep the size of what goes through."""
    model = layouts.build(asked.layout, "transformer", "meta", asked.dtype, reduced(asked)).to_empty(
        device=asked.device
    )
    generator = torch.Generator(asked.device).manual_seed(1)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if value.ndim > 1:
                value.normal_(0, value[0].numel() ** -0.5, generator=generator)
            else:
                centre = 1.0 if name.endswith(("norm_q.weight", "norm_k.weight")) else 0.0
                value.normal_(centre, 0.1, generator=generator)
    if asked.attention:
        model.set_attention_backend(asked.attention)
    if asked.compile:
        model.compile_repeated_blocks()
    return model


def reduced(asked: argparse.Namespace) -> dict[str, Any]:
    """What differs from the published configuration."""
    changes: dict[str, Any] = {}
    if asked.blocks is not None:
        changes["num_layers"] = asked.blocks
    if asked.heads is not None:
        whole = layouts.build(asked.layout, "transformer").config
        changes["num_attention_heads"] = changes["audio_num_attention_heads"] = asked.heads
        changes["cross_attention_dim"] = asked.heads * whole.attention_head_dim
        changes["audio_cross_attention_dim"] = asked.heads * whole.audio_attention_head_dim
    return changes


def given(config: Any, asked: argparse.Namespace, pixels: int, reference: int) -> Given:
    """A first frame, a voice of so many tokens at negative times, two prompts, and noise."""
    generator = torch.Generator(asked.device).manual_seed(2)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, device=asked.device)

    frames, side = latents(asked.frames), pixels // LATENT_PIXELS
    tokens, seconds = frames * side * side, asked.frames / FPS
    mask = torch.ones(1, tokens, device=asked.device)
    mask[:, : side * side] = 0
    video = state(
        "video",
        drawn(1, tokens, config.in_channels) * (1 - mask)[..., None],
        mask,
        video_positions(frames, side, side, FPS),
    )
    heard = round(seconds * FPS)
    voice = []
    if reference:
        spoken = drawn(1, reference, config.audio_in_channels)
        voice = [Context(guidance.IDENTITY, "audio", spoken, before(audio_positions(reference)))]
    audio = state(
        "audio",
        torch.zeros(1, heard, config.audio_in_channels, device=asked.device),
        torch.ones(1, heard, device=asked.device),
        audio_positions(heard),
        voice,
    )
    widths = (
        (config.caption_channels,) * 2
        if config.use_prompt_embeddings
        else (config.cross_attention_dim, config.audio_cross_attention_dim)
    )
    texts = {
        name: Text(*(drawn(1, asked.words, width).to(asked.dtype) for width in widths))
        for name in ("positive", "negative")
    }
    sigma = schedule.shifted(STEPS)[STEP]
    return Given(noised(video, drawn(*video.x.shape), sigma), noised(audio, drawn(*audio.x.shape), sigma), texts, sigma)


def latents(frames: int) -> int:
    return (frames - 1) // LATENT_FRAMES + 1


def idlora(layout: Literal["2.0", "2.3"], blocks: int) -> Recipe:
    """ID-LoRA's settings; where the network has no block 29, its last is skipped."""
    made = recipe(RECIPES[layout])
    return msgspec.structs.replace(made, stg_blocks=(min(*made.stg_blocks, blocks - 1),))


# Ours ------------------------------------------------------------------------------------------------------------


class Noting(Driver):
    """Keeps the velocities of each pass, in the order in which they are run."""

    def __init__(self, transformer: Any) -> None:
        super().__init__(transformer)
        self.name = ""
        self.noted: dict[str, Velocity] = {}

    def through(self, hidden: Hidden, moment: Moment, prompt: Text, how: Pass, *more: Any) -> Any:
        self.name = how.name
        return super().through(hidden, moment, prompt, how, *more)

    def leave(self, hidden: Hidden, moment: Moment) -> Velocity:
        self.noted[self.name] = super().leave(hidden, moment)
        return self.noted[self.name]


def ours(driver: Driver, case: Given, passes: Sequence[Pass]) -> Callable[[], Latents]:
    """One step of the sampler."""
    predict = predictor(driver, case.video, case.audio, case.texts, passes)
    return lambda: predict(Latents(case.video.x, case.audio.x), case.sigma)


# Five forwards ---------------------------------------------------------------------------------------------------


def forward(driver: Driver, case: Given, each: Pass, compiled: bool = False) -> Velocity:
    """A whole pass by the model's own method; what the pass does without is computed, and zeros are put in its place.

    Not so where blocks are compiled, as these do not see it: their answers are of no use, the time that they take is.
    """
    model, dtype = driver.transformer, driver.transformer.dtype
    video, audio = without(case.video, each.without), without(case.audio, each.without)
    whole = torch.tensor([case.sigma], device=model.device) * LEVELS
    silent: list[nn.Module] = []
    more: dict[str, Any] = {}
    blocks: list[Any] = list(driver.blocks)
    for block in blocks if each.isolate else ():
        silent += [block.audio_to_video_attn, block.video_to_audio_attn]
    if each.skip and each.skip.how == "residual":
        silent += [module for index in each.skip.blocks for module in (blocks[index].attn1, blocks[index].audio_attn1)]
    elif each.skip:
        more["spatio_temporal_guidance_blocks"] = list(each.skip.blocks)
    with silenced([] if compiled else silent):
        velocities = model(
            hidden_states=video.x.to(dtype),
            audio_hidden_states=audio.x.to(dtype),
            encoder_hidden_states=case.texts[each.text].video,
            audio_encoder_hidden_states=case.texts[each.text].audio,
            timestep=video.mask * case.sigma * LEVELS,
            audio_timestep=audio.mask * case.sigma * LEVELS,
            sigma=whole,
            audio_sigma=whole,
            video_coords=video.positions,
            audio_coords=audio.positions,
            use_cross_timestep=driver.layout == "2.3",
            return_dict=False,
            **more,
        )
    return velocities[0].float(), velocities[1].float()


@contextlib.contextmanager
def silenced(modules: Sequence[nn.Module]) -> Iterator[None]:
    """What these compute is replaced by zeros, after they have computed it."""
    with contextlib.ExitStack() as hooks:
        for module in modules:
            hooks.callback(
                module.register_forward_hook(lambda _module, _inputs, answer: torch.zeros_like(answer)).remove
            )
        yield


def forwards(
    driver: Driver, case: Given, passes: Sequence[Pass], compiled: bool = False
) -> tuple[Latents, dict[str, Velocity]]:
    """One step: the guided x0 of all passes, and what each gave. The plain pass comes first."""
    found = {each.name: forward(driver, case, each, compiled) for each in passes}
    streams = (case.video, case.audio)
    plain: list[Tensor] = []
    total = [torch.zeros_like(stream.x) for stream in streams]
    for each in passes:
        for which, (stream, weight) in enumerate(zip(streams, (each.video_weight, each.audio_weight), strict=True)):
            seen = kept(stream, each.without)
            x, level = stream.x, (case.sigma * stream.mask)[..., None]
            if seen is None:
                x0 = x - found[each.name][which] * level
            else:
                x0 = plain[which].clone()
                x0[:, seen] = x[:, seen] - found[each.name][which] * level[:, seen]
            plain += [x0] if each is passes[0] else []
            if weight:
                total[which] = total[which] + weight * x0
    video, audio = (
        x0 * stream.mask[..., None] + stream.clean * (1 - stream.mask[..., None])
        for x0, stream in zip(total, streams, strict=True)
    )
    return Latents(video, audio), found


def different(driver: Noting, case: Given, passes: Sequence[Pass]) -> list[str]:
    """What is not the same to the last bit in a step of ours and in five forwards: names of passes, or "x0"."""
    found = ours(driver, case, passes)()
    named = {each.name: each for each in passes}
    expected, velocities = forwards(driver, case, [named[name] for name in driver.noted])
    pairs = [(name, driver.noted[name], velocities[name]) for name in named] + [("x0", found, expected)]
    if not all(part.isfinite().all() for _, one, other in pairs for part in (*one, *other)):
        sys.exit(
            f"numbers that are not finite in {driver.transformer.dtype}; expected random weights to stay in range."
        )
    return [name for name, one, other in pairs if not all(torch.equal(a, b) for a, b in zip(one, other, strict=True))]


def compiling(driver: Noting, case: Given, passes: Sequence[Pass]) -> tuple[float, list[str]]:
    """How far velocities move when blocks are compiled, of the largest; passes that are the plain one no less than that."""
    with torch.compiler.set_stance("force_eager"):
        ours(driver, case, passes)()
    eager = dict(driver.noted)
    ours(driver, case, passes)()
    moved = max(
        float((new - old).abs().max() / old.abs().max())
        for name in eager
        for new, old in zip(driver.noted[name], eager[name], strict=True)
    )
    plain, *others = driver.noted
    lost = [
        name
        for name in others
        if all(
            one.shape == other.shape and torch.equal(one, other)
            for one, other in zip(driver.noted[name], driver.noted[plain], strict=True)
        )
    ]
    return moved, lost


# diffusers' pipeline ---------------------------------------------------------------------------------------------


class Read(nn.Module):
    """In the place of the connectors: prompts that have been read, those of both streams beside each other."""

    def __init__(self, width: int, device: torch.device) -> None:
        super().__init__()
        self.width = width
        self.device = device  # of which the pipeline asks

    def forward(self, prompts: Tensor, mask: Tensor, **_: Any) -> tuple[Tensor, Tensor, Tensor]:
        return prompts[..., : self.width], prompts[..., self.width :], mask


def pipeline(asked: argparse.Namespace, driver: Driver, case: Given, scales: Recipe) -> Callable[[], float]:
    """Two steps of image to video at ID-LoRA's scales, but for identity; seconds of the second."""
    import diffusers

    library: Any = diffusers
    model, device = driver.transformer, asked.device
    side = round((case.video.x.shape[1] / latents(asked.frames)) ** 0.5)
    channels = model.config.in_channels
    parts = {  # of which nothing but statistics and rates is asked
        "vae": library.AutoencoderKLLTX2Video(
            latent_channels=channels,
            block_out_channels=(8, 16, 32, 64),
            decoder_block_out_channels=(8, 16, 32),
            layers_per_block=(1,) * 5,
            decoder_layers_per_block=(1,) * 4,
            spatial_compression_ratio=LATENT_PIXELS,
            temporal_compression_ratio=LATENT_FRAMES,
        ).to(device),
        "audio_vae": library.AutoencoderKLLTX2Audio(
            base_channels=model.config.audio_in_channels, ch_mult=(1, 1, 1), num_res_blocks=1
        ).to(device),
    }
    scheduler = library.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True, shift_terminal=0.1)
    image_to_video = library.LTX2ImageToVideoPipeline(
        **parts,
        scheduler=scheduler,
        text_encoder=None,
        tokenizer=None,
        connectors=Read(case.texts["positive"].video.shape[-1], device),
        transformer=model,
        vocoder=None,
    )
    image_to_video.set_progress_bar_config(disable=True)
    words = {name: torch.cat(text, dim=-1) for name, text in case.texts.items()}
    mask = torch.ones(1, asked.words, dtype=torch.long, device=device)
    heard = case.audio.targets
    ends: list[float] = []

    def ended(_pipeline: Any, _step: int, _level: Any, tensors: dict[str, Any]) -> dict[str, Any]:
        ends.append(clock(device))
        return tensors

    def run() -> float:
        ends.clear()
        image_to_video(
            latents=case.video.x.transpose(1, 2).reshape(1, channels, -1, side, side),
            audio_latents=case.audio.x[:, :heard].reshape(1, heard, SOUND_CHANNELS, -1).transpose(1, 2),
            prompt_embeds=words["positive"],
            prompt_attention_mask=mask,
            negative_prompt_embeds=words["negative"],
            negative_prompt_attention_mask=mask,
            num_inference_steps=2,
            num_frames=asked.frames,
            frame_rate=FPS,
            guidance_scale=scales.video_scale,
            audio_guidance_scale=scales.audio_scale,
            stg_scale=scales.stg_scale,
            spatio_temporal_guidance_blocks=list(scales.stg_blocks),
            modality_scale=scales.bimodal_scale,
            use_cross_timestep=driver.layout == "2.3",
            output_type="latent",
            callback_on_step_end=ended,
        )
        return ends[1] - ends[0]

    return run


# Measuring -------------------------------------------------------------------------------------------------------


def clock(device: torch.device) -> float:
    """Seconds, once the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def timed(device: torch.device, step: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        begun = clock(device)
        step()
        return clock(device) - begun

    return run


def products(device: torch.device, dtype: torch.dtype, tokens: int, width: int) -> dict[str, Callable[[], float]]:
    """Large products of matrices by name: each says its FLOP/s when it is run."""
    side, repeats = (SIDE, 20) if device.type == "cuda" else (SMALL_SIDE, 3)
    shapes = {(side, side, side), (tokens, width, 4 * width), (tokens, 4 * width, width)}

    def product(rows: int, inner: int, columns: int) -> float:
        one, other = (torch.randn(shape, device=device, dtype=dtype) for shape in ((rows, inner), (columns, inner)))
        answer = torch.empty(rows, columns, device=device, dtype=dtype)
        torch.mm(one, other.T, out=answer)
        begun = clock(device)
        for _ in range(repeats):
            torch.mm(one, other.T, out=answer)
        return 2.0 * rows * inner * columns * repeats / (clock(device) - begun)

    return {" x ".join(map(str, shape)): functools.partial(product, *shape) for shape in sorted(shapes)}


def counted(contender: Contender) -> float:
    """FLOPs of a step, run without compilation."""

    def attention(query: Any, key: Any, value: Any, *_: Any, **__: Any) -> Any:
        return sdpa_flop_count(query, key, value)  # type: ignore[no-untyped-call]

    # On a CPU attention is an operation of another name, which the counter does not know.
    unknown = {torch.ops.aten._scaled_dot_product_flash_attention_for_cpu: attention}
    # What is compiled it does not see either.
    counter = FlopCounterMode(display=False, custom_mapping=unknown)
    with torch.compiler.set_stance("force_eager"), counter:
        contender.run()
    return float(counter.get_total_flops()) / contender.steps


def measured(
    contenders: Sequence[Contender], ceilings: dict[str, Callable[[], float]], device: torch.device, rounds: int
) -> tuple[list[Figures], dict[str, float]]:
    """All of them in turn, so many rounds; and the median rate of each product, FLOP/s."""
    flop = {contender.name: counted(contender) for contender in contenders}
    for warm in (*(contender.run for contender in contenders), *ceilings.values()):
        warm()
    seconds: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    peaks: dict[str, list[int]] = {contender.name: [] for contender in contenders}
    rates: dict[str, list[float]] = {name: [] for name in ceilings}
    for _ in range(rounds):
        for contender in contenders:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            seconds[contender.name].append(contender.run())
            if device.type == "cuda":
                peaks[contender.name].append(torch.cuda.max_memory_allocated(device))
        for name, product in ceilings.items():
            rates[name].append(product())
    found = [
        Figures(
            name,
            statistics.median(taken),
            min(taken),
            max(taken),
            flop[name],
            max(peaks[name]) if peaks[name] else None,
        )
        for name, taken in seconds.items()
    ]
    return found, {name: statistics.median(values) for name, values in rates.items()}


# The plan --------------------------------------------------------------------------------------------------------


def planned(asked: argparse.Namespace, pixels: int, blocks: int) -> dict[str, float | None]:
    """Seconds of a step and bytes of memory that `avbench.generator.plan` says, of a transformer without adapters."""
    bare = msgspec.structs.replace(idlora(asked.layout, blocks), stage_one={}, stage_two={}, refine=())
    size = planning.Size(asked.frames, pixels, pixels)
    precision: Literal["bf16", "fp32"] = "bf16" if asked.dtype == torch.bfloat16 else "fp32"
    with contextlib.ExitStack() as stack:
        folder = None
        if not published(asked):  # a model on disk is planned from its configurations
            folder = save_tiny(Path(stack.enter_context(tempfile.TemporaryDirectory())), asked.layout)
            layouts.build(asked.layout, "transformer", changes=reduced(asked)).save_config(folder / "transformer")
        found = planning.plan(bare, folder, 1, size, device=str(asked.device), precision=precision)
    (phase,) = (phase for phase in found.phases if phase.name == "stage one")
    return {
        "seconds": None if phase.seconds is None else phase.seconds / phase.runs,
        "flop": phase.repeated,
        "peak": phase.memory["staged"],
    }


# The program -----------------------------------------------------------------------------------------------------


def compared(asked: argparse.Namespace, model: Any, pixels: int) -> dict[str, Any]:
    """All figures at one size of picture."""
    driver = Driver(model)
    settings = idlora(driver.layout, len(driver.blocks))
    passes = guidance.resolve(terms(settings))
    fewer = guidance.resolve(term for term in terms(settings) if guidance.IDENTITY not in term.without)
    case, alone = (given(model.config, asked, pixels, reference) for reference in (asked.reference, 0))
    contenders = [
        Contender("ours", timed(asked.device, ours(driver, case, passes))),
        Contender("forwards", timed(asked.device, lambda: forwards(driver, case, passes, asked.compile))),
        Contender("ours, 4", timed(asked.device, ours(driver, alone, fewer))),
        Contender("diffusers", pipeline(asked, driver, alone, settings), steps=2),
    ]
    width = model.config.num_attention_heads * model.config.attention_head_dim
    tokens = case.video.x.shape[1]
    moved, lost = 0.0, list[str]()
    with torch.compiler.set_stance("force_eager"):
        wrong = different(Noting(model), case, passes)
    if asked.compile:
        moved, lost = compiling(Noting(model), case, passes)
    found, rates = measured(contenders, products(asked.device, asked.dtype, tokens, width), asked.device, asked.rounds)
    one, five, four, theirs = found
    ceiling = max(rates.values())
    return {
        "pixels": pixels,
        "frames": asked.frames,
        "tokens": {"video": tokens, "audio": case.audio.targets, "reference": asked.reference, "words": asked.words},
        "passes": [each.name for each in passes],
        "steps": [each._asdict() | {"flop_per_second": each.rate, "of_ceiling": each.rate / ceiling} for each in found],
        "products": rates,
        "faster_than_forwards": five.seconds / one.seconds,
        "faster_than_diffusers": theirs.seconds / four.seconds,
        "of_ceiling": one.rate / ceiling,
        "different": wrong,
        "moved_by_compiling": moved,
        "lost_by_compiling": lost,
    }


def missed(case: dict[str, Any], judged: bool) -> list[str]:
    """What this size falls short of; bars of speed only where they are judged."""
    size = "{0} x {0}".format(case["pixels"])
    found = [f"{size}: not the same to the last bit as five forwards: {', '.join(case['different'])}"]
    found = found if case["different"] else []
    if case["lost_by_compiling"]:
        found.append(f"{size}: compiled, passes are as the plain one: {', '.join(case['lost_by_compiling'])}")
    if judged and case["faster_than_forwards"] < FASTER:
        found.append(
            f"{size}: {case['faster_than_forwards']:.3f} times as fast as five forwards, expected {FASTER:.2f}"
        )
    if judged and case["of_ceiling"] < SHARE:
        found.append(f"{size}: {case['of_ceiling']:.1%} of the ceiling, expected {SHARE:.0%}")
    for name, error in errors(case).items():
        if judged and (error is None or abs(error) > PLANNED):
            off = "nothing" if error is None else f"{error:+.1%} of what is measured"
            found.append(f"{size}: the plan says {off} for {name}, expected within {PLANNED:.0%}")
    return found


def errors(case: dict[str, Any]) -> dict[str, float | None]:
    """The plan against what was measured, relative to that; None where the plan says nothing."""
    step, plan = case["steps"][0], case["plan"] or {}
    return {
        name: None if plan[name] is None else plan[name] / step[name] - 1 for name in plan if step[name] is not None
    }


def machine(asked: argparse.Namespace, model: Any) -> dict[str, Any]:
    """Where and with what this was measured."""
    import diffusers

    name = torch.cuda.get_device_name(asked.device) if asked.device.type == "cuda" else platform.processor()
    return {
        "device": name or platform.machine(),
        "threads": torch.get_num_threads(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "diffusers": diffusers.__version__,
        "layout": asked.layout,
        "blocks": len(model.transformer_blocks),
        "heads": model.config.num_attention_heads,
        "parameters": sum(value.numel() for value in model.parameters()),
        "dtype": str(asked.dtype).removeprefix("torch."),
        "attention": asked.attention or "as torch chooses",
        "compiled": asked.compile,
        "published_size": published(asked),
        "rounds": asked.rounds,
    }


def published(asked: argparse.Namespace) -> bool:
    return asked.blocks is None and asked.heads is None


def table(case: dict[str, Any]) -> str:
    """What a person reads of one size."""
    tokens = case["tokens"]
    lines = [
        f"\n{case['pixels']} x {case['pixels']}, {case['frames']} frames: {tokens['video']} tokens of video, {tokens['audio']} "
        f"of sound, {tokens['reference']} of the voice, {tokens['words']} words; passes {', '.join(case['passes'])}",
        f"{'one step':24} {'s':>9} {'shortest':>9} {'longest':>9} {'TFLOP':>9} {'TFLOP/s':>9} {'of ceiling':>10} {'peak GB':>9}",
    ]
    for step in case["steps"]:
        peak = f"{step['peak'] / 1e9:9.2f}" if step["peak"] is not None else f"{'-':>9}"
        lines.append(
            f"{step['name']:24} {step['seconds']:9.4f} {step['shortest']:9.4f} {step['longest']:9.4f} "
            f"{step['flop'] / 1e12:9.4g} {step['flop_per_second'] / 1e12:9.4g} {step['of_ceiling']:10.1%} {peak}"
        )
    for name, rate in case["products"].items():
        lines.append(f"{'product ' + name:54} {'':9} {rate / 1e12:9.4g}")
    same = "no: " + ", ".join(case["different"]) if case["different"] else "yes"
    lines += [
        f"{'ours against five forwards':54} {case['faster_than_forwards']:9.3f} times as fast",
        f"{'ours, 4 against diffusers':54} {case['faster_than_diffusers']:9.3f} times as fast",
        f"{'same to the last bit as five forwards':54} {same:>9}",
    ]
    if case["moved_by_compiling"]:
        lines.append(f"{'velocities moved by compiling, of the largest':54} {case['moved_by_compiling']:9.2g}")
    for name, error in errors(case).items():
        said = "not told" if error is None else f"{error:+.1%}"
        lines.append(f"{'plan against measured, ' + name:54} {said:>9}")
    return "\n".join(lines)


def main() -> None:
    asked = arguments()
    torch._dynamo.config.recompile_limit = RECOMPILED
    with torch.no_grad():
        blocks = layouts.build(asked.layout, "transformer", changes=reduced(asked)).config.num_layers
        plans = [
            planned(asked, pixels, blocks) if asked.plan else None for pixels in asked.pixels
        ]  # memory is free yet
        model = transformer(asked)
        said = machine(asked, model)
        if not asked.json:
            print(
                "# {device}, {threads} threads, torch {torch}, diffusers {diffusers}; layout {layout}, {blocks} blocks of "
                "{heads} heads, {parameters:.3g} parameters in {dtype}, attention: {attention}; "
                "{rounds} rounds".format(**said)
            )
            if not published(asked):
                print("# not the published size: bars of speed are not judged")
        cases = []
        for pixels, plan in zip(asked.pixels, plans, strict=True):
            cases.append({**compared(asked, model, pixels), "plan": plan})
            if not asked.json:
                print(table(cases[-1]), flush=True)
    judged = published(asked) and asked.device.type == "cuda"
    short = [line for case in cases for line in missed(case, judged)]
    if asked.json:
        print(json.dumps({"machine": said, "sizes": cases, "judged": judged, "missed": short}, indent=1))
    for line in short:
        print(line, file=sys.stderr)
    sys.exit(1 if short else 0)


def arguments() -> argparse.Namespace:
    """What is asked, with a device, a type of numbers and a size that it can bear."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--layout", choices=layouts.LAYOUTS, default="2.0")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--dtype", choices=DTYPES, help="bf16 on a GPU, else fp32")
    parser.add_argument("--pixels", type=int, nargs="+", help="sides of the picture: 512 1024 on a GPU, else 128")
    parser.add_argument("--frames", type=int, default=121)
    parser.add_argument("--reference", type=int, default=VOICE, help="tokens of the voice")
    parser.add_argument("--words", type=int, help="of each prompt: 1024 on a GPU, else 128")
    parser.add_argument("--blocks", type=int, help="of the transformer, if not all 48; 2 where there is no GPU")
    parser.add_argument("--heads", type=int, help="of attention, if not all 32; 4 where there is no GPU")
    parser.add_argument("--attention", metavar="BACKEND", help="of diffusers, such as _native_cudnn")
    parser.add_argument("--compile", action="store_true", help="blocks by torch.compile, for all contenders")
    parser.add_argument("--plan", action="store_true", help="compare with what avbench.generator.plan says")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true", help="machine-readable")
    asked = parser.parse_args()
    asked.device = torch.device(asked.device)
    small = asked.device.type != "cuda"
    if asked.device.type == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device {asked.device}: torch finds no GPU; give --device cpu.")
    asked.dtype = DTYPES[asked.dtype or ("fp32" if small else "bf16")]
    asked.pixels = asked.pixels or ([REDUCED_PIXELS] if small else [512, 1024])
    asked.words = asked.words or (REDUCED_WORDS if small and not asked.plan else WORDS)
    if small:
        asked.blocks, asked.heads = asked.blocks or REDUCED_BLOCKS, asked.heads or REDUCED_HEADS
    backends = [
        one.value for one in importlib.import_module("diffusers.models.attention_dispatch").AttentionBackendName
    ]
    if asked.attention and asked.attention not in backends:
        parser.error(f"--attention {asked.attention}: expected one of {', '.join(backends)}.")
    if any(side % LATENT_PIXELS or side < LATENT_PIXELS for side in asked.pixels):
        parser.error(f"--pixels {asked.pixels}: expected multiples of {LATENT_PIXELS}.")
    if asked.frames % LATENT_FRAMES != 1 or min(asked.reference, asked.words, asked.rounds) < 1:
        parser.error("expected 8k + 1 frames, and at least one token of the voice, one word and one round.")
    if asked.plan and (asked.words, asked.reference) != (WORDS, VOICE):
        parser.error(f"--plan is for {WORDS} words and {VOICE} tokens of the voice.")
    return asked


if __name__ == "__main__":
    main()
