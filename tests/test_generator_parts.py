"""The parts of the generator that are arithmetic: noise levels, positions, the sound of a reference, weights, recipes."""

from __future__ import annotations

import itertools
import json
import math
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from avbench.clip import Sound
from avbench.errors import MediaError, UsageError
from avbench.generator import audio, guidance, positions, schedule
from avbench.generator.guidance import IDLORA, Pass, Skip, Term, resolve
from avbench.generator.recipe import FAMILY, Recipe, recipe, settings
from avbench.weights import WEIGHTS

pytestmark = pytest.mark.usefixtures("one_thread")


# Noise levels ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("steps", [2, 3, 8, 15, 30, 40])
@pytest.mark.parametrize(("tokens", "tolerance"), [(121, 2e-7), (1024, 2e-7), (4096, 2e-7), (16384, 5e-6)])
def test_the_schedule_is_that_of_diffusers(steps: int, tokens: int, tolerance: float) -> None:
    """To the precision of theirs, which is float32: at 16384 tokens it rounds 1 - sigma before it is stretched."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    make: Any = FlowMatchEulerDiscreteScheduler
    scheduler = make(
        use_dynamic_shifting=True,
        base_shift=0.95,
        max_shift=2.05,
        base_image_seq_len=1024,
        max_image_seq_len=4096,
        time_shift_type="exponential",
        shift_terminal=0.1,
    )
    mu = tokens * 1.1 / 3072 + 0.95 - 1.1 / 3
    scheduler.set_timesteps(sigmas=np.linspace(1, 1 / steps, steps), mu=mu)
    assert np.abs(np.array(schedule.shifted(steps, tokens)) - scheduler.sigmas.numpy()).max() < tolerance


def test_the_paper_s_thirty_steps() -> None:
    sigmas = schedule.shifted(30)
    assert len(sigmas) == 31
    assert [round(sigma, 4) for sigma in sigmas[:3]] == [1.0, 0.995, 0.9896]
    assert [round(sigma, 4) for sigma in sigmas[-4:]] == [0.3875, 0.2661, 0.1, 0.0]


@given(st.integers(1, 100), st.integers(1, 50_000))
def test_noise_falls_at_every_step_from_all_to_none(steps: int, tokens: int) -> None:
    sigmas = schedule.shifted(steps, tokens)
    assert len(sigmas) == steps + 1
    assert (sigmas[0], sigmas[-1]) == (1.0, 0.0)
    assert all(before > after for before, after in itertools.pairwise(sigmas))
    assert steps == 1 or math.isclose(sigmas[-2], 0.1, rel_tol=1e-12)


def test_the_distilled_schedules_are_those_of_diffusers() -> None:
    from diffusers.pipelines.ltx2 import utils

    assert (*utils.DISTILLED_SIGMA_VALUES, 0.0) == schedule.DISTILLED
    assert (*utils.STAGE_2_DISTILLED_SIGMA_VALUES, 0.0) == schedule.STAGE_TWO


@pytest.mark.parametrize(("steps", "tokens"), [(0, 4096), (-1, 4096), (30, 0)])
def test_no_steps_are_no_schedule(steps: int, tokens: int) -> None:
    with pytest.raises(UsageError, match="at least one"):
        schedule.shifted(steps, tokens)


# Positions -------------------------------------------------------------------------------------------------------


def audio_seconds(count: int) -> list[tuple[Fraction, Fraction]]:
    """Start and end of each latent of sound, by hand."""
    edges = [Fraction(0), *(Fraction(4 * i - 3, 100) for i in range(1, count + 1))]
    return list(itertools.pairwise(edges))


# seconds of the reference, tokens, start and end of the first, start and end of the last
REFERENCES = [
    (3.5, 88, "-3.53", "-3.52", "-0.08", "-0.04"),
    (4.84, 122, "-4.89", "-4.88", "-0.08", "-0.04"),
    (5.0, 126, "-5.05", "-5.04", "-0.08", "-0.04"),
]


@pytest.mark.parametrize("case", REFERENCES)
def test_a_reference_ends_one_latent_before_the_target(case: tuple[float, int, str, str, str, str]) -> None:
    seconds, count, *ends = case
    mel = audio.reference_mel(noise(seconds))
    assert math.ceil(mel.shape[2] / 4) == count
    moved = positions.before(positions.audio_positions(count))
    first, last = moved[0, 0, 0].tolist(), moved[0, 0, -1].tolist()
    assert [*first, *last] == pytest.approx([float(Fraction(end)) for end in ends], abs=1e-6)
    end = audio_seconds(count)[-1][1]
    expected = [[float(start - end) - 0.04, float(stop - end) - 0.04] for start, stop in audio_seconds(count)]
    assert np.abs(moved[0, 0].double().numpy() - np.array(expected)).max() < 1e-6
    assert moved.max() == pytest.approx(-0.04, abs=0)  # the gap is exact, whatever the length


def test_moving_the_reference_leaves_the_target_where_it_was() -> None:
    target = positions.audio_positions(121)
    kept = target.clone()
    both = torch.cat([target, positions.before(target)], dim=2)
    assert torch.equal(target, kept)
    assert torch.equal(both[:, :, :121], kept)
    assert both[:, :, :121].min() == 0
    assert both[:, :, 121:].max() < 0


def test_positions_are_those_of_diffusers() -> None:
    transformer = tiny("2.0")
    for count in (1, 2, 88, 121, 126, 751):
        theirs = transformer.audio_rope.prepare_audio_coords(1, count, torch.device("cpu"))
        assert torch.equal(positions.audio_positions(count), theirs)
    for grid, fps in (((16, 16, 16), 25.0), ((1, 3, 2), 24.0), ((4, 1, 5), 29.97)):
        theirs = transformer.rope.prepare_video_coords(1, *grid, torch.device("cpu"), fps=fps)
        assert torch.equal(positions.video_positions(*grid, fps), theirs)


def test_a_video_of_two_latent_frames_by_hand() -> None:
    found = positions.video_positions(2, 1, 2, 25.0)
    assert found.shape == (1, 3, 4, 2)
    seconds, rows, columns = found[0].double().numpy().round(6).tolist()
    assert seconds == [[0, 0.04], [0, 0.04], [0.04, 0.36], [0.04, 0.36]]
    assert rows == [[0, 32]] * 4
    assert columns == [[0, 32], [32, 64], [0, 32], [32, 64]]


def test_a_video_is_moved_in_time_alone() -> None:
    video = positions.video_positions(3, 2, 2, 25.0)
    moved = positions.before(video, gap=0.5)
    assert torch.equal(moved[:, 1:], video[:, 1:])
    assert moved[:, 0].max() == -0.5
    assert torch.allclose(moved[:, 0, :, 1] - moved[:, 0, :, 0], video[:, 0, :, 1] - video[:, 0, :, 0], atol=1e-6)


def test_rounded_positions_are_off_by_as_much_as_the_published_ones() -> None:
    """Up to 29 ms, 10 ms in the mean, for 126 reference tokens; up to 26 ms for the video."""
    reference, video = positions.audio_positions(126), positions.video_positions(16, 1, 1, 25.0)
    target = positions.audio_positions(121)
    published = torch.cat([target, positions.before(positions.rounded(reference))], dim=2)
    assert published.dtype == torch.float32
    assert torch.equal(published[:, :, :121], target)
    off = (published[:, :, 121:] - positions.before(reference)).mean(dim=-1).abs()
    assert 0.029 <= float(off.max()) < 0.030
    assert 0.009 < float(off.mean()) < 0.010
    coarse = positions.rounded(video)[0, 0]
    fractions = (coarse[:, 0] + coarse[:, 1]) / 2 / 20 * 2 - 1  # as the rotary embedding forms them
    seen = (fractions.double() + 1) / 2 * 20
    assert 0.025 < float((seen - video[0, 0].double().mean(dim=-1)).abs().max()) < 0.027


@pytest.mark.parametrize("base", ["2.0", "2.3"])
def test_the_order_of_tokens_means_nothing(base: str) -> None:
    transformer = tiny(base)
    drawn = torch.Generator().manual_seed(3)
    target, reference = torch.randn(1, 6, 8, generator=drawn), torch.randn(1, 5, 8, generator=drawn)
    video = torch.randn(1, 8, 8, generator=drawn)
    text = torch.randn(1, 8, 32, generator=drawn)
    times = torch.full((1, 6), 700.0), torch.zeros(1, 5)
    places = positions.audio_positions(6), positions.before(positions.audio_positions(5))

    def run(first: int) -> torch.Tensor:
        order = [first, 1 - first]
        with torch.no_grad():
            _, heard = transformer(
                hidden_states=video,
                audio_hidden_states=torch.cat([(target, reference)[i] for i in order], dim=1),
                encoder_hidden_states=text,
                audio_encoder_hidden_states=text[..., : 32 if base == "2.0" else 16],
                timestep=torch.full((1, 8), 700.0),
                audio_timestep=torch.cat([times[i] for i in order], dim=1),
                sigma=torch.tensor([700.0]),
                audio_sigma=torch.tensor([700.0]),
                video_coords=positions.video_positions(2, 2, 2, 25.0),
                audio_coords=torch.cat([places[i] for i in order], dim=2),
                return_dict=False,
            )
        return torch.as_tensor(heard)

    appended, prepended = run(0), run(1)
    assert appended.abs().max() > 0.1
    assert torch.allclose(appended[:, :6], prepended[:, 5:], atol=1e-6)
    assert torch.allclose(appended[:, 6:], prepended[:, :5], atol=1e-6)


def test_no_latents_have_no_positions() -> None:
    with pytest.raises(UsageError, match="at least one"):
        positions.audio_positions(0)
    for grid, fps in (((0, 1, 1), 25.0), ((1, 1, -1), 25.0), ((1, 1, 1), 0.0), ((1, 1, 1), math.nan)):
        with pytest.raises(UsageError, match="expected at least one latent"):
            positions.video_positions(*grid, fps)
    with pytest.raises(UsageError, match="more than 0"):
        positions.before(positions.audio_positions(2), gap=0.0)


# Sound -----------------------------------------------------------------------------------------------------------


def noise(seconds: float, rate: int = 16_000, seed: int = 0) -> Sound:
    """Noise and two tones, one of them rising."""
    times = np.arange(round(seconds * rate)) / rate
    tones = 0.2 * np.sin(2 * np.pi * 220 * times) + 0.2 * np.sin(2 * np.pi * (300 * times + 150 * times**2))
    hiss = np.random.default_rng(seed).normal(0, 0.02, len(times))
    return Sound((tones + hiss).astype(np.float32), rate)


def independent_log_mel(samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """(N,) → (T, 64): a window at a time, in float64, with the bands of another library."""
    from transformers.audio_utils import mel_filter_bank

    bands = mel_filter_bank(
        num_frequency_bins=513,
        num_mel_filters=64,
        min_frequency=0.0,
        max_frequency=8000.0,
        sampling_rate=16_000,
        norm="slaney",
        mel_scale="slaney",
    )
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    mirrored = np.pad(samples.astype(np.float64), 512, mode="reflect")
    columns = []
    for start in range(0, len(samples) + 1, 160):
        magnitudes = np.abs(np.fft.rfft(mirrored[start : start + 1024] * window))
        columns.append(np.log(np.maximum(magnitudes @ bands, 1e-5)))
    return np.array(columns)


@pytest.mark.parametrize(("seconds", "columns"), [(3.5, 351), (4.84, 485), (5.0, 501), (0.3, 31)])
def test_levels_are_those_of_an_independent_implementation(seconds: float, columns: int) -> None:
    sound = noise(seconds)
    levels = audio.reference_mel(sound)
    assert levels.shape == (1, 2, columns, 64)
    assert levels.dtype == torch.float32
    expected = independent_log_mel(sound.samples)
    for channel in levels[0]:
        assert np.abs(channel.numpy() - expected).max() < 1e-5


def test_levels_have_a_floor() -> None:
    levels = audio.log_mel(torch.zeros(2, 1600))
    assert torch.equal(levels, torch.full((2, 11, 64), math.log(1e-5)))


def test_bands_have_equal_area_and_touch() -> None:
    bands = audio.mel_bands()
    assert bands.shape == (64, 513)
    assert (bands >= 0).all()
    assert (bands.sum(axis=0)[2:-1] > 0).all()  # from 31 Hz on, no bin is lost
    wide = bands[40:].astype(np.float64).sum(axis=1) * 16_000 / 1024
    assert np.abs(wide - 1).max() < 0.01


@pytest.mark.parametrize("rate", [8000, 22_050, 24_000, 44_100, 48_000])
def test_a_voice_of_any_rate_is_heard_alike(rate: int) -> None:
    levels = audio.reference_mel(Sound(noise(4.0, 48_000).samples, 48_000))
    times = np.arange(4 * rate) / rate
    tone = Sound((0.3 * np.sin(2 * np.pi * 440 * times)).astype(np.float32), rate)
    heard = audio.reference_mel(tone)
    assert heard.shape == levels.shape == (1, 2, 401, 64)
    at_16k = audio.reference_mel(
        Sound((0.3 * np.sin(2 * np.pi * 440 * np.arange(64_000) / 16_000)).astype(np.float32), 16_000)
    )
    loud = at_16k > -1  # the tone itself; elsewhere are side lobes of the ends
    assert loud.any()
    assert (heard - at_16k).abs()[loud].max() < 0.02


@pytest.mark.parametrize(
    ("sound", "said"),
    [
        (noise(0.29), "0.29 s; expected 0.3 to 30 s; give more"),
        (noise(30.01), "30.01 s; expected 0.3 to 30 s; cut it"),
        (Sound(np.zeros(0, np.float32), 16_000), "0.00 s"),
        (Sound(np.zeros(32_000, np.float32), 16_000), "silent"),
        (Sound(np.full(32_000, 9e-4, np.float32), 16_000), "silent .* 9.0e-04"),
        (Sound(np.full(32_000, np.nan, np.float32), 16_000), "not finite"),
    ],
    ids=["short", "long", "empty", "silent", "faint", "nan"],
)
def test_a_bad_reference_is_refused(sound: Sound, said: str) -> None:
    with pytest.raises(MediaError, match=said):
        audio.reference_mel(sound)


def test_the_shortest_and_the_longest_reference_are_taken() -> None:
    assert audio.reference_mel(noise(0.3)).shape[2] == 31
    assert audio.reference_mel(noise(30.0)).shape[2] == 3001


def test_a_token_lists_the_bands_of_its_first_channel_first() -> None:
    latent = torch.arange(2 * 8 * 3 * 16, dtype=torch.float32).reshape(2, 8, 3, 16)
    tokens = audio.pack(latent)
    assert tokens.shape == (2, 3, 128)
    for channel in range(8):
        for band in range(16):
            assert torch.equal(tokens[:, :, 16 * channel + band], latent[:, channel, :, band])
    assert torch.equal(audio.unpack(tokens), latent)


def test_packing_is_that_of_diffusers() -> None:
    from diffusers import LTX2Pipeline

    latent = torch.randn(1, 8, 5, 16, generator=torch.Generator().manual_seed(1))
    assert torch.equal(audio.pack(latent), LTX2Pipeline._pack_audio_latents(latent))
    mean, std = torch.randn(128), torch.rand(128) + 0.5
    tokens = audio.pack(latent)
    normal = audio.normalise(tokens, mean, std)
    assert torch.equal(normal, LTX2Pipeline._normalize_audio_latents(tokens, mean, std))
    assert torch.allclose(audio.denormalise(normal, mean, std), tokens, atol=1e-5)


def audio_vae() -> Any:
    """A tiny encoder of real levels; 2 channels of 16 bands."""
    from diffusers import AutoencoderKLLTX2Audio

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        make: Any = AutoencoderKLLTX2Audio
        vae = make(base_channels=32, latent_channels=2, ch_mult=(1, 2, 4), num_res_blocks=1, mel_bins=64, resolution=64)
        vae.latents_mean.normal_()
        vae.latents_std.uniform_(0.5, 2.0)
    return vae.eval()


@pytest.mark.parametrize(("seconds", "count"), [(3.5, 88), (4.84, 122), (5.0, 126)])
def test_a_reference_has_a_token_for_four_columns(seconds: float, count: int) -> None:
    vae, mel = audio_vae(), audio.reference_mel(noise(seconds))
    tokens = audio.reference_tokens(vae, mel)
    assert tokens.shape == (1, count, 32)
    with torch.no_grad():
        mean, _ = vae.encoder(mel).chunk(2, dim=1)  # the mode of a normal distribution is its mean
    for time in (0, count - 1):
        for channel in range(2):
            numbers = slice(16 * channel, 16 * channel + 16)
            expected = (mean[0, channel, time] - vae.latents_mean[numbers]) / vae.latents_std[numbers]
            assert torch.allclose(tokens[0, time, numbers], expected, atol=1e-6)


def test_a_reference_is_encoded_in_float32_whatever_the_encoder_is_kept_in() -> None:
    mel = audio.reference_mel(noise(0.3))
    coarse = audio_vae().to(torch.bfloat16)
    exact = audio_vae().to(torch.bfloat16).to(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        tokens = audio.reference_tokens(coarse, mel)
    assert coarse.dtype == torch.bfloat16
    assert tokens.dtype == torch.float32
    assert torch.equal(tokens, audio.reference_tokens(exact, mel))


# Guidance --------------------------------------------------------------------------------------------------------


def weights(terms: tuple[Term, ...]) -> dict[str, tuple[float, float]]:
    return {one.name: (one.video_weight, one.audio_weight) for one in resolve(terms)}


def test_the_paper_s_five_passes_and_their_weights() -> None:
    assert weights(IDLORA) == {
        "full": (1 + 2 + 1 + 2, 1 + 6 + 3 + 1 + 2),
        "text": (-2, -6),
        "identity": (0, -3),
        "stg": (-1, -1),
        "bimodal": (-2, -2),
    }
    full, text, reference, stg, bimodal = resolve(IDLORA)
    assert full[1:5] == ("positive", (), None, False)
    assert text[1:5] == ("negative", (), None, False)
    assert reference[1:5] == ("positive", ("identity",), None, False)
    assert stg[1:5] == ("positive", (), Skip((29,), "residual"), False)
    assert bimodal[1:5] == ("positive", (), None, True)


@given(st.floats(1, 16), st.integers(0, 2**32 - 1))
def test_the_paper_s_identity_scale_is_one_more_than_the_coefficient(scale: float, seed: int) -> None:
    """Paper, equation 5: without + s (with - without); released code: with + c (with - without), c = s - 1."""
    both, none = np.random.default_rng(seed).normal(size=(2, 4))
    paper = none + scale * (both - none)
    values = {"full": both, "identity": none}
    passes = resolve([guidance.identity(scale)])
    assert np.allclose(sum(one.audio_weight * values[one.name] for one in passes), paper)
    assert guidance.identity(4.0).audio == 3.0
    assert guidance.identity(4.0).video == 0.0


def test_identity_one_runs_no_pass_without_reference() -> None:
    terms = (guidance.text_cfg(3, 7), guidance.identity(1.0), guidance.stg(1.0), guidance.bimodal(3.0))
    assert list(weights(terms)) == ["full", "text", "stg", "bimodal"]


def test_passes_vanish_with_their_coefficients() -> None:
    off = (guidance.text_cfg(1, 1), guidance.identity(1), guidance.stg(0), guidance.bimodal(1))
    assert weights(off) == {"full": (1, 1)}
    assert weights(()) == {"full": (1, 1)}
    counts = [len(resolve([*off[:index], *IDLORA[index:]])) for index in range(5)]
    assert counts == [5, 4, 3, 2, 1]


def test_one_stream_alone_keeps_a_pass() -> None:
    assert weights((guidance.text_cfg(1, 7),)) == {"full": (1, 7), "text": (0, -6)}


def test_the_same_pass_is_run_once() -> None:
    two = (guidance.stg(1.0, blocks=(29, 28)), guidance.stg(0.5, blocks=(28, 29, 29)))
    assert weights(two) == {"full": (2.5, 2.5), "stg": (-1.5, -1.5)}
    other = (guidance.stg(1.0), guidance.stg(1.0, how="value"))
    assert len(resolve(other)) == 3
    groups = (Term("a", 1, 1, without=("x", "y")), Term("b", 1, 0, without=("y", "x")))
    assert weights(groups) == {"full": (3, 2), "a+b": (-2, -1)}


def test_a_term_that_lacks_nothing_and_terms_that_cancel_change_nothing() -> None:
    assert resolve([Term("none", 2.0, 3.0)]) == (Pass("full+none", "positive", (), None, False, 1.0, 1.0),)
    assert weights((guidance.stg(0.1), guidance.stg(0.2), guidance.stg(-0.1), guidance.stg(-0.2))) == {"full": (1, 1)}


def test_a_full_pass_that_weighs_nothing_is_not_run() -> None:
    assert weights((guidance.text_cfg(0, 0),)) == {"text": (1, 1)}


coefficients = st.floats(-8, 8)
terms = st.lists(
    st.builds(
        Term,
        name=st.sampled_from("abcd"),
        video=coefficients,
        audio=coefficients,
        text=st.sampled_from(["positive", "negative"]),
        without=st.sampled_from([(), ("identity",), ("control", "identity")]),
        skip=st.sampled_from([None, Skip((2,), "residual"), Skip((2,), "value")]),
        isolate=st.booleans(),
    ),
    max_size=6,
)


@given(terms, st.integers(0, 2**32 - 1))
def test_weights_sum_to_one_and_equal_the_terms(several: list[Term], seed: int) -> None:
    generator = np.random.default_rng(seed)
    values: dict[Any, tuple[float, float]] = {}

    def value(of: Term | Pass) -> tuple[float, float]:
        key = (of.text, of.without, of.skip, of.isolate)
        return values.setdefault(key, tuple(generator.normal(size=2).tolist()))

    full = value(Term("full", 0, 0))
    passes = resolve(several)
    for stream, (weight, coefficient) in enumerate((("video_weight", "video"), ("audio_weight", "audio"))):
        assert sum(getattr(one, weight) for one in passes) == pytest.approx(1, abs=1e-9)
        guided = full[stream] + sum(
            getattr(term, coefficient) * (full[stream] - value(term)[stream]) for term in several
        )
        summed = sum(getattr(one, weight) * value(one)[stream] for one in passes)
        assert summed == pytest.approx(guided, abs=1e-8)
    assert len({one[1:5] for one in passes}) == len(passes)
    assert all(one.video_weight or one.audio_weight for one in passes)


@pytest.mark.parametrize(
    ("term", "said"),
    [
        (guidance.identity(math.nan), "finite"),
        (guidance.text_cfg(math.inf, 7), "finite"),
        (guidance.stg(1.0, blocks=()), r"skips blocks \[\]"),
        (guidance.stg(1.0, blocks=(29, -1)), "from 0 on"),
    ],
)
def test_terms_that_mean_nothing_are_refused(term: Term, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        resolve([term])


# Recipes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FAMILY)
def test_settings_hold_every_field_and_survive_json(name: str) -> None:
    said = settings(recipe(name))
    assert set(Recipe.__struct_fields__) < set(said)
    again = json.loads(json.dumps(said))
    assert again == said
    kept = {key: value for key, value in again.items() if key in Recipe.__struct_fields__}
    assert msgspec.convert(kept, Recipe) == recipe(name)


def test_the_paper_s_settings() -> None:
    said = settings(recipe("idlora"))
    assert said["passes"] == {
        "full": {"video": 1 + 2 + 1 + 2, "audio": 1 + 6 + 3 + 1 + 2},
        "text": {"video": -2, "audio": -6},
        "identity": {"video": 0, "audio": -3},
        "stg": {"video": -1, "audio": -1},
        "bimodal": {"video": -2, "audio": -2},
    }
    assert (said["steps"], said["stages"], said["transformer_calls"]) == (30, 2, 153)
    assert (said["stg_blocks"], said["stg_how"]) == ([29], "residual")
    assert said["stage_one"]["id"]["weights"] == "id-lora-celebvhq"
    assert said["stage_two"]["distilled"]["strengths"] == {".": 0.8}  # as its two-stage code has it
    assert recipe("idlora", checkpoint="talkvid").stage_one["id"].weights == "id-lora-talkvid"


def test_the_newer_model_loses_attention_by_value_and_one_stage_has_no_second() -> None:
    paper = settings(recipe("idlora"))
    for name, differs in {
        "idlora-2.3": {"name", "layout", "weights", "stage_one", "stage_two", "stg_how"},
        "idlora-onestage": {"name", "stage_two", "refine", "image_fit", "stages", "transformer_calls"},
        "ltx-zeroshot": {"name", "stage_one"},
    }.items():
        other = settings(recipe(name))
        assert {key for key in paper if paper[key] != other[key]} == differs
    assert (recipe("idlora-2.3").stg_how, recipe("idlora-onestage").image_fit) == ("value", "stretch")


@pytest.mark.parametrize(
    ("options", "differs"),
    [
        ({"identity_scale": 1.0}, {"identity_scale", "passes", "transformer_calls"}),
        ({"positions": "standard"}, {"positions"}),
        ({"masks": "training"}, {"masks"}),
        ({"model": "tiny"}, {"model", "stage_one", "stage_two", "stg_blocks", "untrained"}),
    ],
)
def test_an_ablation_differs_in_what_it_is_named_after(options: dict[str, Any], differs: set[str]) -> None:
    one, other = settings(recipe("idlora")), settings(recipe("idlora", **options))
    assert {key for key in one if one[key] != other[key]} == differs


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("id-lora", {}, "Did you mean idlora"),
        ("idlora", {"identity": 2.0}, "unknown option of idlora 'identity'. Did you mean identity_scale"),
        ("idlora", {"positions": "before"}, "idlora@positions=before"),
        ("idlora", {"identity_scale": float("inf")}, "expected finite numbers"),
        ("idlora", {"steps": 0}, "0 denoising steps"),
    ],
)
def test_a_recipe_that_there_is_none_of_is_refused(name: str, options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        recipe(name, **options)


def test_strengths_outside_of_the_band_are_told_of() -> None:
    strong = recipe("audio-ic-lora", audio_strength=0.9)
    assert list(strong.stage_one["audio"].strengths.values()) == [0.9, 0.5]
    assert [note[:18] for note in strong.notes] == ["audio_strength 0.9"]
    assert recipe("audio-ic-lora").notes == ()
    assert len(recipe("audio-ic-lora", checkpoint="audio-only").stage_one["audio"].strengths) == 1


def test_just_dub_it_has_the_numbers_of_its_released_code() -> None:
    """One scale of 3 for picture and sound, 30 steps, the last noise levels of stage two, what it adds in full."""
    said = settings(recipe("just-dub-it"))
    assert said["passes"] == {"full": {"video": 3, "audio": 3}, "text": {"video": -2, "audio": -2}}
    assert (said["steps"], said["transformer_calls"]) == (30, 2 * 30 + 2)
    assert said["refine"] == [0.725, 0.421875, 0.0]
    assert said["stage_two"]["distilled"]["strengths"] == {}  # 1 for all
    assert (said["positions"], said["masks"], said["first_frame"]) == ("standard", "target_pairs", True)
    assert "no clip to be dubbed" in said["notes"][0]
    assert WEIGHTS["just-dub-it"].used_by == ("just-dub-it",)


# A tiny transformer ----------------------------------------------------------------------------------------------


def tiny(base: str) -> Any:
    """The smallest transformer of either layout, with random numbers."""
    from diffusers import LTX2VideoTransformer3DModel

    newer: dict[str, Any] = {
        "gated_attn": True,
        "cross_attn_mod": True,
        "audio_gated_attn": True,
        "audio_cross_attn_mod": True,
        "use_prompt_embeddings": False,
        "perturbed_attn": True,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        make: Any = LTX2VideoTransformer3DModel
        transformer = make(
            in_channels=8,
            out_channels=8,
            num_attention_heads=4,
            attention_head_dim=8,
            cross_attention_dim=32,
            audio_in_channels=8,
            audio_out_channels=8,
            audio_num_attention_heads=4,
            audio_attention_head_dim=4,
            audio_cross_attention_dim=16,
            num_layers=1,
            caption_channels=32,
            rope_type="split",
            **(newer if base == "2.3" else {}),
        )
    return transformer.eval().requires_grad_(False)
