"""The loop against diffusers' own pipeline, what it leaves alone, and what it does not run."""

from __future__ import annotations

import copy
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from avbench.errors import AvbenchError, UsageError
from avbench.generator.context import Context, Stream, noised, state
from avbench.generator.driver import Driver, Hidden, Moment, Text
from avbench.generator.guidance import Pass, Skip, Term, bimodal, identity, resolve, stg, text_cfg
from avbench.generator.positions import audio_positions, before, video_positions
from avbench.generator.sampler import Latents, denoise, predictor, steps
from avbench.generator.tiny import save_tiny

pytestmark = pytest.mark.slow  # whole clips and loops of tiny models, a second each

LAYOUTS: tuple[Literal["2.0", "2.3"], ...] = ("2.0", "2.3")
FRAMES, SIDE, FPS = 17, 64, 25.0  # pixels
GRID, SOUND, REFERENCE = (3, 2, 2), 17, 6
SIGMAS = (1.0, 0.8, 0.45, 0.0)
FULL = (text_cfg(3.0, 7.0), identity(4.0), stg(1.0, blocks=(2,)), bimodal(3.0))

layouts = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {layout: save_tiny(tmp_path_factory.mktemp("tiny"), layout) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def drivers(tiny: dict[str, Path]) -> dict[str, Driver]:
    from diffusers import LTX2VideoTransformer3DModel

    model: Any = LTX2VideoTransformer3DModel
    return {layout: Driver(model.from_pretrained(tiny[layout] / "transformer")) for layout in LAYOUTS}


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def texts(driver: Driver) -> dict[str, Text]:
    width = 32 if driver.layout == "2.0" else 16
    return {
        name: Text(drawn(1, 16, 32, seed=seed), drawn(1, 16, width, seed=seed + 1))
        for name, seed in (("positive", 5), ("negative", 7))
    }


def streams(*contexts: Context) -> tuple[Stream, Stream]:
    """A first frame and a reference voice, or the contexts that are given."""
    mask = torch.ones(1, math.prod(GRID))
    mask[:, : GRID[1] * GRID[2]] = 0
    clean = drawn(1, math.prod(GRID), 8, seed=1) * (1 - mask)[..., None]
    if not contexts:
        voice = drawn(1, REFERENCE, 32, seed=2)
        contexts = (Context("identity", "audio", voice, before(audio_positions(REFERENCE))),)
    video = state("video", clean, mask, video_positions(*GRID, FPS), contexts)
    audio = state("audio", torch.zeros(1, SOUND, 32), torch.ones(1, SOUND), audio_positions(SOUND), contexts)
    return noised(video, drawn(*video.x.shape, seed=3)), noised(audio, drawn(*audio.x.shape, seed=4))


def far(found: Latents, expected: Latents) -> float:
    return max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True))


# As diffusers --------------------------------------------------------------------------------------------------


@layouts
def test_without_reference_the_loop_is_that_of_diffusers(tiny: dict[str, Path], layout: str) -> None:
    """Its latents, prompts and noise levels; in 2.0 it has no STG that does anything.

    The networks are in float64, as theirs run two prompts at once: what is left is rounding of the latents alone.
    """
    import diffusers

    image_to_video: Any = diffusers.LTX2ImageToVideoPipeline
    pipeline, newer = image_to_video.from_pretrained(tiny[layout]), layout == "2.3"
    pipeline.set_progress_bar_config(disable=True)
    for network in (pipeline.text_encoder, pipeline.connectors, pipeline.transformer):
        network.double()
    first = drawn(1, 8, *GRID, seed=11)
    sound = drawn(1, 2, SOUND, 16, seed=12)
    prompts = {"positive": "[VISUAL]: a man says hello", "negative": "blurry, silent"}
    embedded = pipeline.encode_prompt(prompts["positive"], prompts["negative"], max_sequence_length=64)
    positive, positive_mask, negative, negative_mask = embedded
    expected = pipeline(
        image=None,
        latents=first,
        audio_latents=sound,
        prompt_embeds=positive,
        prompt_attention_mask=positive_mask,
        negative_prompt_embeds=negative,
        negative_prompt_attention_mask=negative_mask,
        num_inference_steps=2,
        num_frames=FRAMES,
        frame_rate=FPS,
        guidance_scale=3.0,
        audio_guidance_scale=7.0,
        modality_scale=3.0,
        stg_scale=float(newer),
        audio_stg_scale=float(newer),
        spatio_temporal_guidance_blocks=[2] if newer else None,
        guidance_rescale=0.0,
        audio_guidance_rescale=0.0,
        use_cross_timestep=newer,
        output_type="latent",
    )

    with torch.no_grad():
        read = {}
        for name, embeds, mask in (("positive", positive, positive_mask), ("negative", negative, negative_mask)):
            video_words, audio_words, _ = pipeline.connectors(embeds, mask)
            read[name] = Text(video_words, audio_words)
    vae, audio_vae = pipeline.vae, pipeline.audio_vae
    mean, std = (part.view(1, -1, 1, 1, 1) for part in (vae.latents_mean, vae.latents_std))
    x = ((first - mean) / std).flatten(2).transpose(1, 2)
    y = (sound.permute(0, 2, 1, 3).flatten(2) - audio_vae.latents_mean) / audio_vae.latents_std
    given = torch.ones(1, math.prod(GRID))
    given[:, :4] = 0
    video = state("video", x, given, video_positions(*GRID, FPS))
    audio = state("audio", y, torch.ones(1, SOUND), audio_positions(SOUND))
    terms = [text_cfg(3.0, 7.0), bimodal(3.0), *([stg(1.0, blocks=(2,), how="value")] if newer else [])]
    found = denoise(
        Driver(pipeline.transformer), video, audio, read, pipeline.scheduler.sigmas.tolist(), resolve(terms)
    )
    latents = found.video.transpose(1, 2).reshape(1, 8, *GRID) * std + mean
    packed = found.audio * audio_vae.latents_std + audio_vae.latents_mean
    heard = packed.reshape(1, SOUND, 2, 16).permute(0, 2, 1, 3)
    assert far(Latents(latents, heard), Latents(expected.frames, expected.audio)) < 1e-5
    assert float((heard - sound).abs().max()) > 0.1


# Guidance ------------------------------------------------------------------------------------------------------


class Whole(Driver):
    """Keeps no input of a block: each pass runs from the first."""

    def through(self, hidden: Hidden, moment: Moment, prompt: Text, how: Pass, *rest: Any, **more: Any) -> Any:
        return super().through(hidden, moment, prompt, how)[0], {}


def velocities(driver: Driver, video: Stream, audio: Stream, prompt: Text, how: Pass, sigma: float) -> Latents:
    moment = driver.moment(driver.scene(video, audio, 16), sigma)
    hidden, _ = driver.through(driver.enter(video.x, audio.x), moment, driver.read(prompt), how)
    return Latents(*driver.leave(hidden, moment))


@layouts
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_step_is_the_formula_of_id_lora_written_out(drivers: dict[str, Driver], layout: str, strength: float) -> None:
    """P + 2 (P - N) + (P - S) + 2 (P - B); sound: 6, 1, 2, and 3 (P - R) on the target alone."""
    driver, sigma = drivers[layout], 0.6
    voice = drawn(1, REFERENCE, 32, seed=2)
    context = Context("identity", "audio", voice, before(audio_positions(REFERENCE)), strength)
    video, audio = streams(context)
    read = texts(driver)
    plain = Pass("", "positive", (), None, False, 1, 1)

    def x0(text: str, how: Pass, sound: Stream = audio) -> tuple[Tensor, Tensor]:
        found = velocities(driver, video, sound, read[text], how, sigma)
        return (
            video.x - found.video * (sigma * video.mask)[..., None],
            sound.x - found.audio * (sigma * sound.mask)[..., None],
        )

    with torch.no_grad():
        found = predictor(driver, video, audio, read, resolve(FULL))(Latents(video.x, audio.x), sigma)
        p, n = x0("positive", plain), x0("negative", plain)
        s, b = x0("positive", plain._replace(skip=Skip((2,), "residual"))), x0("positive", plain._replace(isolate=True))
        alone = state("audio", torch.zeros(1, SOUND, 32), torch.ones(1, SOUND), audio_positions(SOUND))
        r = x0("positive", plain, alone._replace(x=audio.x[:, :SOUND]))
    seen = p[0] + 2 * (p[0] - n[0]) + (p[0] - s[0]) + 2 * (p[0] - b[0])
    heard = p[1] + 6 * (p[1] - n[1]) + (p[1] - s[1]) + 2 * (p[1] - b[1])
    heard[:, :SOUND] += 3 * (p[1][:, :SOUND] - r[1])
    seen = seen * video.mask[..., None] + video.clean * (1 - video.mask[..., None])
    heard = heard * audio.mask[..., None] + audio.clean * (1 - audio.mask[..., None])
    assert far(found, Latents(seen, heard)) < 2e-5
    assert float((p[1][:, :SOUND] - r[1]).abs().max()) > 1e-2


@layouts
@pytest.mark.parametrize("how", ["residual", "value"])
def test_guidance_from_the_kept_block_is_bit_for_bit_that_from_the_first(
    drivers: dict[str, Driver], layout: str, how: Literal["residual", "value"]
) -> None:
    if layout == "2.0" and how == "value":
        return  # refused: see the driver
    video, audio = streams()
    driver = drivers[layout]
    skip = Skip((1, 3), how)
    others = (
        Term("other", 0.5, 0.5, skip=skip),
        Term("negative", 0.5, 0.5, text="negative", skip=skip),
        Term("apart", 0.5, 0.5, isolate=True, skip=skip),
        Term("alone", 0.5, 0.5, without=("identity",), skip=skip),
    )
    passes = resolve([text_cfg(3.0, 7.0), identity(4.0), stg(1.0, (2,), how), *others])
    found, whole = (
        denoise(one, video, audio, texts(driver), SIGMAS, passes) for one in (driver, Whole(driver.transformer))
    )
    assert all(torch.equal(one, other) for one, other in zip(found, whole, strict=True))


def test_identity_guidance_changes_the_targets_sound_and_nothing_else(drivers: dict[str, Driver]) -> None:
    reference = Context("identity", "audio", drawn(1, REFERENCE, 32), before(audio_positions(REFERENCE)), strength=0.5)
    video, audio = streams(reference)
    at = Latents(video.x, audio.x)
    with torch.no_grad():
        on, off = (
            predictor(drivers["2.0"], video, audio, texts(drivers["2.0"]), resolve([identity(scale)]))(at, 0.7)
            for scale in (4.0, 1.0)
        )
    assert torch.equal(on.video, off.video)
    assert torch.allclose(on.audio[:, SOUND:], off.audio[:, SOUND:], atol=1e-6)
    assert float((on.audio[:, :SOUND] - off.audio[:, :SOUND]).abs().max()) > 1e-2


def test_of_tokens_that_no_pass_saw_what_was_given_stays(drivers: dict[str, Driver]) -> None:
    video, audio = streams()
    passes = [Pass("alone", "positive", ("identity",), None, False, 1.0, 1.0)]
    found = denoise(drivers["2.0"], video, audio, texts(drivers["2.0"]), SIGMAS, passes)
    assert torch.equal(found.audio[:, SOUND:], audio.clean[:, SOUND:])


# What is run ---------------------------------------------------------------------------------------------------


COUNTED = (
    "transformer_blocks.0",
    "transformer_blocks.3",
    "transformer_blocks.0.audio_to_video_attn",
    "transformer_blocks.3.video_to_audio_attn",
    "rope",
    "caption_projection",
    "time_embed",
    "audio_time_embed",
)


def counted(driver: Driver, terms: Sequence[Term]) -> dict[str, int]:
    """How often modules run in three steps."""
    calls: Counter[str] = Counter(dict.fromkeys(COUNTED, 0))
    hooks = [
        driver.transformer.get_submodule(name).register_forward_hook(lambda *_, name=name: calls.update([name]))
        for name in COUNTED
    ]
    denoise(driver, *streams(), texts(driver), SIGMAS, resolve(terms))
    for hook in hooks:
        hook.remove()
    return dict(calls)


@pytest.mark.parametrize(
    ("terms", "first", "last", "across"),
    [
        (FULL, 4, 5, (3, 4)),  # STG begins at block 2, and the isolated pass attends to nothing across
        ((text_cfg(3.0, 7.0), identity(1.0), stg(1.0, (2,)), bimodal(3.0)), 3, 4, (2, 3)),
        ((text_cfg(3.0, 7.0), identity(4.0), stg(0.0, (2,)), bimodal(1.0)), 3, 3, (3, 3)),
        ((text_cfg(1.0, 1.0), identity(1.0), stg(0.0, (2,)), bimodal(1.0)), 1, 1, (1, 1)),
    ],
    ids=["five", "four", "three", "one"],
)
def test_passes_that_weigh_nothing_are_not_run(
    drivers: dict[str, Driver], terms: Sequence[Term], first: int, last: int, across: tuple[int, int]
) -> None:
    calls, steps = counted(drivers["2.0"], terms), len(SIGMAS) - 1
    assert [calls[name] for name in COUNTED[:4]] == [steps * one for one in (first, last, *across)]


def test_what_is_constant_is_computed_once(drivers: dict[str, Driver]) -> None:
    """Rotary tables with and without the reference, two prompts; per step a video's levels, and two of the sound's."""
    calls, steps = counted(drivers["2.0"], FULL), len(SIGMAS) - 1
    assert [calls[name] for name in COUNTED[4:]] == [2, 2, steps, 2 * steps]


# The loop ------------------------------------------------------------------------------------------------------


@layouts
def test_what_is_given_leaves_the_loop_unchanged(drivers: dict[str, Driver], layout: str) -> None:
    driver = drivers[layout]
    video, audio = streams()
    found = denoise(driver, video, audio, texts(driver), SIGMAS, resolve(FULL))
    frame = GRID[1] * GRID[2]
    assert torch.equal(found.video[:, :frame], video.clean[:, :frame])
    assert torch.equal(found.audio[:, SOUND:], audio.clean[:, SOUND:])
    assert float((found.audio[:, :SOUND] - audio.x[:, :SOUND]).abs().min()) > 0
    held = audio._replace(clean=audio.x, mask=torch.zeros_like(audio.mask))  # as in stage two
    again = denoise(driver, video, held, texts(driver), (0.9, 0.4, 0.0), resolve([]))
    assert torch.equal(again.audio, held.x)


@layouts
def test_the_same_noise_gives_the_same_bits(drivers: dict[str, Driver], layout: str) -> None:
    given = (drivers[layout], *streams(), texts(drivers[layout]), SIGMAS, resolve(FULL))
    both = [denoise(*given) for _ in range(2)]
    assert all(torch.equal(one, other) for one, other in zip(*both, strict=True))
    told = list(steps(*given))
    assert len(told) == len(SIGMAS) - 1
    assert torch.equal(told[-1].video, both[0].video)
    assert not torch.equal(told[0].video, told[1].video)
    assert torch.is_grad_enabled()


@layouts
def test_half_precision_stays_inside_the_network(drivers: dict[str, Driver], layout: str) -> None:
    expected = denoise(drivers[layout], *streams(), texts(drivers[layout]), SIGMAS, resolve([identity(4.0)]))
    half = Driver(copy.deepcopy(drivers[layout].transformer).bfloat16())
    video, audio = streams()
    found = denoise(half, video, audio, texts(half), SIGMAS, resolve([identity(4.0)]))
    assert {part.dtype for part in found} == {torch.float32}
    assert torch.equal(found.audio[:, SOUND:], audio.clean[:, SOUND:])
    assert 0 < far(found, expected) < 0.3


def test_numbers_that_are_not_finite_stop_the_loop(drivers: dict[str, Driver]) -> None:
    broken = Driver(copy.deepcopy(drivers["2.0"].transformer))
    broken.transformer.proj_out.bias.data[0] = math.nan
    with pytest.raises(AvbenchError, match=r"after step 1 of 3 .* not finite .*float32\)"):
        denoise(broken, *streams(), texts(drivers["2.0"]), SIGMAS, resolve([]))


@pytest.mark.parametrize(
    "sigmas", [(), (1.0,), (1.0, 0.5), (0.5, 1.0, 0.0), (1.0, 1.0, 0.0), (1.5, 0.0), (math.nan, 0.0)]
)
def test_noise_levels_that_lead_nowhere_are_refused(drivers: dict[str, Driver], sigmas: tuple[float, ...]) -> None:
    with pytest.raises(UsageError, match="from at most 1 down to 0"):
        denoise(drivers["2.0"], *streams(), texts(drivers["2.0"]), sigmas, resolve([]))


def test_passes_that_ask_for_what_is_not_there_are_refused(drivers: dict[str, Driver]) -> None:
    driver = drivers["2.0"]
    video, audio = streams()
    read = texts(driver)
    alone = {"positive": read["positive"]}
    short = {**read, "negative": Text(*(part[:, :8] for part in read["negative"]))}
    for words, passes, message in (
        (read, [], "no pass is to be run"),
        (alone, resolve(FULL), "reads the negative prompt; only positive is given"),
        (short, resolve(FULL), "differ in their number of words"),
        (read, resolve([Term("depth", 1.0, 1.0, without=("depth",))]), r"leaves out depth, .* \(given: identity\)"),
        (read, resolve([stg(1.0)]), r"blocks \[29\]; the transformer has 4"),
    ):
        with pytest.raises(UsageError, match=message):
            denoise(driver, video, audio, words, SIGMAS, passes)
