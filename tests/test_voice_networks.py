"""Speaker networks: against the numbers of the code that trained them, and against every wrong file."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avbench import weights
from avbench.clip import Sound
from avbench.errors import WeightsError
from avbench.extract.engine import CPU, Engine
from avbench.extract.nets import ecapa_tdnn, wavlm
from avbench.extract.nets.ecapa_tdnn import EcapaTdnn, load_ecapa_tdnn, mel_levels, untrained_ecapa_tdnn
from avbench.extract.nets.ecapa_wavlm import SpeakerHead
from avbench.extract.nets.wavlm import (
    LARGE,
    WavlmSpeaker,
    fairseq_name,
    hidden_states,
    hub_name,
    load_wavlm_finetuned,
    load_wavlm_pretrained,
    module_name,
    untrained_wavlm,
)
from avbench.extract.resample import resample
from avbench.extract.voice_ecapa import VOICE_ECAPA, ecapa_voice_of
from avbench.extract.voice_wavlm import VOICE_WAVLM, VOICE_WAVLM_PRETRAINED, pretrained_voice_of, wavlm_voice_of
from avbench.features import Feature, Features, SpeakerEmbedding
from avbench.metric import Measured, Metric, Sample, Unmeasurable
from avbench.metrics.voice_similarity import (
    SPK_SIM,
    SPK_SIM_AUTHORS,
    SPK_SIM_ECAPA,
    SPK_SIM_ECAPA_REF,
    SPK_SIM_REF,
    SPK_SIM_REF_AUTHORS,
    cosine,
    voice_similarity,
)
from avbench.split import Prompt

from .golden import audio, fill, golden, unit

RATE = 16_000
UNTRAINED = Engine(untrained=True)
REFERENCE = golden("wavlm_ecapa")
ECAPA = golden("ecapa_tdnn")
TINY: dict[str, Any] = {
    "hidden_size": 64,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "conv_dim": (32,) * 7,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """As in a worker."""
    torch.set_num_threads(1)


def sounds() -> dict[str, NDArray[np.float32]]:
    """The sounds that the references heard."""
    chirp = audio(32000).astype(np.float64) / 32768
    return {
        "chirp_2s": chirp.astype(np.float32),
        "chirp_1p37s": (audio(21920) / 32768).astype(np.float32),
        "chirp_2s_quiet_dc": (0.001 * chirp + 0.01).astype(np.float32),
        "shortest": (audio(640) / 32768).astype(np.float32),
        "chirp_then_silence": np.where(np.arange(32000) < 16000, chirp, 0).astype(np.float32),
    }


def tensors(state: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(np.asarray(value)) for name, value in state.items()}


def agrees(embedding: torch.Tensor, expected: dict[str, Any]) -> None:
    """To 1e-4, or to a millionth of the length where random parameters make it large."""
    norm = expected["norm"]
    assert embedding[:8].numpy() == pytest.approx(expected["first8"], abs=max(1e-4, 1e-6 * norm))
    assert embedding.double().norm().item() == pytest.approx(norm, abs=1e-4, rel=1e-6)
    assert embedding.double().sum().item() == pytest.approx(expected["sum"], abs=1e-5 * norm)  # of 192 or 256


# Another rate ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", golden("misc")["torchaudio_resample"]["cases"])
def test_the_resampler_is_torchaudios(case: str) -> None:
    rate, to = map(int, case.split("->"))
    expected = golden("misc")["torchaudio_resample"]["cases"][case]
    t = np.arange(expected["n_in"]) / rate
    tones = 0.5 * np.sin(2 * np.pi * 440 * t) + 0.2 * np.sin(2 * np.pi * 5000 * t)
    result = resample((tones + 0.05 * unit("resample-noise", len(t))).astype(np.float32), rate, to)
    values = expected["transforms.Resample"]
    assert len(result) == expected["n_out"]
    assert result.dtype == np.dtype(np.float32)
    assert result[:8] == pytest.approx(values["idx0_7"], abs=1e-6)
    assert result[1000:1004] == pytest.approx(values["idx1000_1003"], abs=1e-6)
    assert result[-4:] == pytest.approx(values["last4"], abs=1e-6)
    assert np.square(result, dtype=np.float64).sum() == pytest.approx(values["sumsq"], rel=1e-6)


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 700), st.sampled_from([8000, 11025, 16000, 22050, 24000, 32000, 44100, 48000, 44056]))
def test_a_resampled_sound_is_as_long_as_the_rates_say(length: int, rate: int) -> None:
    samples = unit("length", 700)[:length].astype(np.float32)
    assert len(resample(samples, rate, RATE)) == math.ceil(length * RATE / rate)
    assert len(resample(samples, RATE, rate)) == math.ceil(length * rate / RATE)


@settings(deadline=None, max_examples=20)
@given(st.sampled_from([44100, 48000, 24000, 8000]), st.floats(-2, 2))
def test_resampling_is_linear_and_in_phase(rate: int, scale: float) -> None:
    t = np.arange(rate // 4) / rate
    slow = np.sin(2 * np.pi * 300 * t).astype(np.float32)
    result = resample(slow, rate, RATE)
    inner = slice(200, -200)
    assert result[inner] == pytest.approx(np.sin(2 * np.pi * 300 * np.arange(len(result)) / RATE)[inner], abs=2e-3)
    scaled = resample(slow * np.float32(scale), rate, RATE)
    assert scaled == pytest.approx(result * np.float32(scale), abs=1e-5)


def test_an_equal_rate_changes_nothing() -> None:
    samples = sounds()["chirp_1p37s"]
    assert resample(samples, RATE, RATE) is samples


# The head of UniSpeech -------------------------------------------------------------------------------------------


def states_of(tag: str, batch: int, frames: int) -> torch.Tensor:
    """(25, batch, frames, 1024) states as the reference had them."""
    t, d = np.arange(frames)[:, None], np.arange(1024)
    waves = np.sin(0.05 * t * (1 + d % 7)) + 0.3 * np.cos(0.01 * d)
    layers = [
        0.5 * (1 + 0.1 * layer) * unit(f"{tag}-h{layer}", batch * frames * 1024).reshape(batch, frames, 1024) + waves
        for layer in range(25)
    ]
    return torch.from_numpy(np.stack(layers).astype(np.float32))


def head_state(states: int = 25, depth: int = 1024) -> dict[str, torch.Tensor]:
    """The reference's parameters of the head."""
    shapes = dict(REFERENCE["head_state_dict"])
    shapes["layer1.conv.weight"] = [512, depth, 5]
    state = fill(shapes)
    state["feature_weight"] = (0.5 * unit("feature_weight", states)).astype(np.float32)
    return tensors(state)


@pytest.fixture(scope="module")
def head() -> SpeakerHead:
    head = SpeakerHead()
    head.load_state_dict(head_state())
    return head.eval().requires_grad_(False)


def test_the_head_has_the_names_and_sizes_of_the_published_one(head: SpeakerHead) -> None:
    found = {name: list(value.shape) for name, value in head.state_dict().items()}
    assert found == REFERENCE["head_state_dict"]
    assert sum(value.numel() for value in head.parameters()) == REFERENCE["head_n_params"]


@pytest.mark.parametrize("tag", ["A", "B", "C"])
def test_the_head_answers_as_unispeechs(head: SpeakerHead, tag: str) -> None:
    expected = REFERENCE[f"head_{tag}"]
    with torch.inference_mode():
        mixed = head.mixed(states_of(tag, expected["B"], expected["T"]))
        embeddings = head.embed(mixed)
    normed = expected["feat_after_instance_norm"]
    assert list(mixed.shape) == normed["shape"]
    assert mixed[0, 0, :4].numpy() == pytest.approx(normed["ch0_first4"], abs=1e-4)
    assert mixed[0, 1023, -4:].numpy() == pytest.approx(normed["ch1023_last4"], abs=1e-4)
    assert mixed[0, 0].std(unbiased=False).item() == pytest.approx(normed["std_ch0_biased"], abs=1e-5)
    for item in range(expected["B"]):
        agrees(embeddings[item], expected[f"emb_b{item}"])


def test_each_stage_of_the_head_answers_as_unispeechs(head: SpeakerHead) -> None:
    expected = REFERENCE["head_A_stages"]
    with torch.inference_mode():
        hidden = head.mixed(states_of("A", 1, 120))
        stages = {}
        for name in ("layer1", "layer2", "layer3", "layer4"):
            hidden = stages[name] = getattr(head, name)(hidden)
        joined = torch.cat([stages[name] for name in ("layer2", "layer3", "layer4")], dim=1)
        stages["conv_relu"] = torch.relu(head.conv(joined))
        stages["pool"] = head.pooling(stages["conv_relu"])
        stages["bn"] = head.bn(stages["pool"])
    assert set(stages) == set(expected)
    for name, found in stages.items():
        assert list(found.shape) == expected[name]["shape"]
        assert found.flatten()[:4].numpy() == pytest.approx(expected[name]["first4"], abs=1e-4)
        assert found.double().mean().item() == pytest.approx(expected[name]["mean"], abs=1e-5)
        assert found.double().std().item() == pytest.approx(expected[name]["std"], rel=1e-3)


def test_the_cosine_of_two_sounds_is_unispeechs(head: SpeakerHead) -> None:
    with torch.inference_mode():
        one, other = head(states_of("A", 1, 120))[0], head(states_of("B", 1, 37))[0]
    assert cosine(one.numpy(), other.numpy()) == pytest.approx(REFERENCE["head_cos_A_B"], abs=1e-4)


# WavLM -----------------------------------------------------------------------------------------------------------


def fairseq_state(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The reference's parameters of WavLM, by fairseq's names."""

    def parameter(name: str, shape: list[int]) -> NDArray[np.float64]:
        z = unit(f"feature_extract.model.{name}", math.prod(shape)).reshape(shape)
        if name.endswith("weight_g"):
            return np.asarray(1 + 0.1 * z)
        if name.endswith("grep_a"):
            return np.asarray(1 + 0.5 * z)
        if "relative_attention_bias" in name:
            return np.asarray(0.5 * z)
        if ("layer_norm" in name or ".2.1." in name) and name.endswith("weight"):
            return np.asarray(1 + 0.1 * z)
        return np.asarray(z * math.sqrt(1 / math.prod(shape[1:])) if len(shape) >= 2 else 0.05 * z)

    return tensors({name: parameter(name, shape).astype(np.float32) for name, shape in shapes.items()})


@functools.cache
def published() -> dict[str, torch.Tensor]:
    """The state of a tiny network in the layout of UniSpeech's file."""
    backbone = {f"feature_extract.model.{name}": v for name, v in fairseq_state(REFERENCE["tiny_wavlm_keys"]).items()}
    training = {"loss_calculator.projection.weight": torch.ones(3, 256)}
    return {**head_state(states=5, depth=64), **backbone, **training}


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the networks that files are loaded into as small as the reference's."""
    real = SpeakerHead
    monkeypatch.setattr(wavlm, "LARGE", TINY)
    monkeypatch.setattr(wavlm, "SpeakerHead", lambda offset=1e-6: real(states=5, depth=64, offset=offset))


def finetuned(folder: Path, state: dict[str, torch.Tensor] | None = None, **beside: object) -> Path:
    path = folder / "wavlm_large_finetune.pth"
    torch.save({"model": published() if state is None else state, "best_valid_eer": 100.0, **beside}, path)
    return path


def hub_file(folder: Path) -> Path:
    """The tiny WavLM in the layout of the model hub's file."""
    state = fairseq_state(REFERENCE["tiny_wavlm_keys"])
    path = folder / "pytorch_model.bin"
    torch.save({hub_name(module_name(name)): value for name, value in state.items()}, path)
    return path


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("name", ["chirp_2s", "chirp_2s_quiet_dc", "chirp_1p37s"])
def test_wavlm_answers_as_s3prls_through_the_published_names(name: str, tmp_path: Path) -> None:
    speaker, samples = load_wavlm_finetuned(finetuned(tmp_path)), torch.from_numpy(sounds()[name])[None]
    expected = REFERENCE[f"tiny_{name}"]
    with torch.inference_mode():
        states = hidden_states(speaker.backbone, torch.nn.functional.layer_norm(samples, samples.shape[-1:], eps=1e-5))
        embedding = speaker(samples)[0]
    assert (len(states), list(states.shape[1:])) == (expected["n_hidden"], expected["hidden_shape"])
    for state, values in zip(states, expected["hidden"], strict=True):
        assert state.flatten()[:8].numpy() == pytest.approx(values["first8"], abs=1e-4)
        assert state.double().norm().item() == pytest.approx(values["norm"], rel=1e-6)
        assert state.double().sum().item() == pytest.approx(values["sum"], abs=1e-2)  # of 6,000 numbers
    agrees(embedding, expected["emb"])


@pytest.mark.usefixtures("tiny")
def test_the_cosines_of_sounds_are_unispeechs(tmp_path: Path) -> None:
    speaker, samples = load_wavlm_finetuned(finetuned(tmp_path)), sounds()
    with torch.inference_mode():
        found = {name: speaker(torch.from_numpy(samples[name])[None])[0].numpy() for name in samples if "2s" in name}
        found["chirp_1p37s"] = speaker(torch.from_numpy(samples["chirp_1p37s"])[None])[0].numpy()
    for other, expected in (("chirp_1p37s", "tiny_cos_2s_1p37s"), ("chirp_2s_quiet_dc", "tiny_cos_2s_quiet")):
        assert cosine(found["chirp_2s"], found[other]) == pytest.approx(REFERENCE[expected], abs=1e-6)


@pytest.mark.usefixtures("tiny")
def test_the_authors_recipe_neither_normalises_nor_offsets(tmp_path: Path) -> None:
    speaker = load_wavlm_pretrained(hub_file(tmp_path), finetuned(tmp_path))
    assert not speaker.normalised
    assert speaker.head.offset == 0.0
    expected = REFERENCE["hf_equivalence_transformers_5.23.0"]["chirp_2s_quiet_dc"]["rel_L2_unnormalised_input"]
    samples = torch.from_numpy(sounds()["chirp_2s_quiet_dc"])[None]
    with torch.inference_mode():
        raw = hidden_states(speaker.backbone, samples)
        level = hidden_states(speaker.backbone, torch.nn.functional.layer_norm(samples, samples.shape[-1:], eps=1e-5))
        embedding = speaker(samples)
        by_hand = speaker.head.embed(
            torch.nn.functional.instance_norm(
                torch.einsum("l,lbtd->bdt", torch.softmax(speaker.head.feature_weight, 0), raw)
            )
        )
    for state, other, difference in list(zip(raw, level, expected, strict=True))[
        :-1
    ]:  # the last one was the wrong state
        assert ((state - other).norm() / other.norm()).item() == pytest.approx(difference, rel=1e-3)
    assert embedding.numpy() == pytest.approx(by_hand.numpy(), abs=1e-5)


def test_names_are_translated_both_ways_without_loss() -> None:
    theirs = list(REFERENCE["tiny_wavlm_keys"])
    ours = [module_name(name) for name in theirs]
    assert sorted(ours) == sorted(wavlm.wavlm(TINY).state_dict())
    assert [fairseq_name(name) for name in ours] == theirs
    for nobody in ("encoder.nothing", "quantizer.vars"):
        with pytest.raises(KeyError):
            module_name(nobody)
        with pytest.raises(KeyError):
            fairseq_name(nobody)


def test_the_hubs_file_has_the_names_of_the_former_weight_normalisation() -> None:
    names = {hub_name(name) for name in wavlm.wavlm(TINY).state_dict()}
    assert {
        "encoder.pos_conv_embed.conv.weight_g",
        "encoder.pos_conv_embed.conv.weight_v",
        "masked_spec_embed",
    } <= names
    assert not [name for name in names if "parametrizations" in name]


# Wrong files -----------------------------------------------------------------------------------------------------

BACKBONE_KEY = "feature_extract.model.encoder.layers.2.self_attn.grep_linear.bias"


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("key", [BACKBONE_KEY, "layer3.SE_Connect.linear2.bias", "feature_weight"])
def test_a_missing_misshapen_or_renamed_tensor_is_named(key: str, tmp_path: Path) -> None:
    whole = published()
    without = {name: value for name, value in whole.items() if name != key}
    for state, complaint in (
        (without, f"missing {key}"),
        ({**whole, key: torch.zeros(7, 7)}, rf"{key} has the shape \(7, 7\)"),
        ({**without, f"{key}2": whole[key]}, f"missing {key}, unexpected {key}2"),
        ({**whole, "feature_extract.model.surplus": torch.ones(1)}, "unexpected feature_extract.model.surplus"),
        ({**whole, "surplus": torch.ones(1)}, "unexpected surplus"),
    ):
        path = finetuned(tmp_path, state)
        with pytest.raises(WeightsError, match=complaint) as raised:
            load_wavlm_finetuned(path)
        assert str(path) in str(raised.value)


@pytest.mark.usefixtures("tiny")
def test_nothing_but_the_known_may_stand_beside_the_tensors(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="optimizer"):
        load_wavlm_finetuned(finetuned(tmp_path, optimizer={}))


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("key", ["encoder.pos_conv_embed.conv.weight_g", "masked_spec_embed"])
def test_a_hub_file_that_lacks_a_tensor_is_refused_by_its_name(key: str, tmp_path: Path) -> None:
    path, head = hub_file(tmp_path), finetuned(tmp_path)
    whole = torch.load(path, weights_only=True)
    for state, complaint in (
        ({name: value for name, value in whole.items() if name != key}, f"missing {key}"),
        ({**whole, "lm_head.weight": torch.ones(1)}, "unexpected lm_head.weight"),
    ):
        torch.save(state, path)
        with pytest.raises(WeightsError, match=complaint) as raised:
            load_wavlm_pretrained(path, head)
        assert str(path) in str(raised.value)


@pytest.mark.parametrize("key", ["blocks.2.se_block.conv1.conv.weight", "asp.tdnn.norm.norm.running_var"])
def test_ecapa_refuses_a_file_by_the_tensor_that_is_wrong(
    key: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ecapa_tdnn, "EcapaTdnn", functools.partial(EcapaTdnn, **ECAPA["sizes"]["small"]))
    path, whole = tmp_path / "embedding_model.ckpt", small_ecapa().state_dict()
    for state in (
        {name: value for name, value in whole.items() if name != key},
        {**whole, key: torch.zeros(7, 7)},
        {**whole, f"{key}2": torch.zeros(1)},
    ):
        torch.save(state, path)
        with pytest.raises(WeightsError, match=key) as raised:
            load_ecapa_tdnn(path)
        assert str(path) in str(raised.value)
    torch.save(whole, path)
    assert torch.equal(load_ecapa_tdnn(path).state_dict()[key], whole[key])


# ECAPA-TDNN of SpeechBrain ---------------------------------------------------------------------------------------


def filled_ecapa(size: str) -> EcapaTdnn:
    network = EcapaTdnn(**ECAPA["sizes"][size])
    shapes = {name: tuple(value.shape) for name, value in network.state_dict().items()}
    network.load_state_dict(tensors(fill(shapes)))
    return network.eval().requires_grad_(False)


@functools.cache
def small_ecapa() -> EcapaTdnn:
    return filled_ecapa("small")


@pytest.mark.parametrize("name", ECAPA["sounds"])
def test_mel_levels_are_speechbrains(name: str) -> None:
    expected = ECAPA["mel_levels"][name]
    levels = mel_levels(torch.from_numpy(sounds()[name])[None])[0].T
    assert [1, *levels.shape] == expected["shape"]
    assert levels[0, :4].numpy() == pytest.approx(expected["frame0_first4"], abs=1e-4)
    assert levels[-1, -4:].numpy() == pytest.approx(expected["last_frame_last4"], abs=1e-4)
    assert levels.double().mean().item() == pytest.approx(expected["mean"], abs=1e-4)
    assert levels.double().std(unbiased=False).item() == pytest.approx(expected["std"], abs=1e-4)
    assert levels.min().item() == pytest.approx(expected["minimum"], abs=1e-3)


@pytest.mark.parametrize("name", ECAPA["sounds"])
def test_ecapa_answers_as_speechbrains(name: str) -> None:
    with torch.inference_mode():
        embedding = small_ecapa()(torch.from_numpy(sounds()[name])[None])[0]
    agrees(embedding, ECAPA["embeddings"]["small"][name])


def test_ecapa_has_the_names_and_sizes_of_the_published_one() -> None:
    with torch.device("meta"):
        network = EcapaTdnn()
    assert {name: list(value.shape) for name, value in network.state_dict().items()} == ECAPA["state_dict"]
    assert sum(value.numel() for value in network.parameters()) == ECAPA["parameters"] == 20_767_552
    assert len(network.state_dict()) == 231


# Extractors ------------------------------------------------------------------------------------------------------

RUNS = [wavlm_voice_of, pretrained_voice_of, ecapa_voice_of]


@pytest.mark.parametrize("run", RUNS)
def test_an_extractor_reads_any_rate_and_says_how_long_and_loud(run: Any) -> None:
    t = np.arange(48000) / 48000
    sound = Sound((0.25 * np.sin(2 * np.pi * (200 * t + 150 * t * t))).astype(np.float32), 48000)
    found = run(sound, UNTRAINED)
    assert (found.seconds, found.peak) == (1.0, pytest.approx(0.25, abs=1e-4))
    assert found.embedding.dtype == np.float32
    assert found.embedding.shape == ((192,) if run is ecapa_voice_of else (256,))
    assert np.isfinite(found.embedding).all()
    assert np.linalg.norm(found.embedding) > 0
    assert np.array_equal(run(sound, UNTRAINED).embedding, found.embedding)
    reduced = run(Sound(resample(sound.samples, 48000, RATE), RATE), UNTRAINED)
    assert np.array_equal(reduced.embedding, found.embedding)


@pytest.mark.parametrize("run", RUNS)
@pytest.mark.parametrize("length", [0, 1, 639])
def test_a_sound_shorter_than_the_network_reads_gets_zeros(run: Any, length: int) -> None:
    found = run(Sound(np.full(length, 0.5, np.float32), RATE), UNTRAINED)
    assert not found.embedding.any()
    assert found.embedding.shape == ((192,) if run is ecapa_voice_of else (256,))
    assert (found.seconds, found.peak) == (length / RATE, 0.5 if length else 0.0)


@pytest.mark.parametrize(("run", "least"), [(r, wavlm.MIN_SAMPLES) for r in RUNS[:2]] + [(RUNS[2], 640)])
def test_the_shortest_sound_that_a_network_reads_gets_an_embedding(run: Any, least: int) -> None:
    samples = (audio(least) / 32768).astype(np.float32)
    assert run(Sound(samples, RATE), UNTRAINED).embedding.any()
    assert not run(Sound(samples[:-1], RATE), UNTRAINED).embedding.any()


@pytest.mark.parametrize("run", RUNS)
def test_silence_gets_finite_numbers(run: Any) -> None:
    assert np.isfinite(run(Sound(np.zeros(RATE, np.float32), RATE), UNTRAINED).embedding).all()


def test_only_the_community_recipe_is_blind_to_level_and_offset() -> None:
    samples = sounds()["chirp_1p37s"]
    louder = Sound(samples * np.float32(2) + np.float32(0.1), RATE)
    for run, same in ((wavlm_voice_of, True), (pretrained_voice_of, False)):
        one, other = run(Sound(samples, RATE), UNTRAINED).embedding, run(louder, UNTRAINED).embedding
        assert bool(np.abs(one - other).max() < 1e-4) is same


def test_untrained_networks_are_the_same_every_time_and_leave_the_generator_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    builders = (untrained_wavlm, untrained_ecapa_tdnn)
    for build in builders:
        one, other = build().state_dict(), build().state_dict()
        assert all(torch.equal(one[name], other[name]) for name in one)
    assert torch.equal(torch.rand(1), expected)


def test_a_trained_extractor_asks_for_its_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def path(name: str) -> Path:
        asked.append(name)
        raise WeightsError(name)

    monkeypatch.setattr(weights, "path", path)
    for run, name in zip(RUNS, ("wavlm-large-finetune", "wavlm-large", "ecapa-voxceleb"), strict=True):
        with pytest.raises(WeightsError, match=name):
            run(Sound(np.zeros(RATE, np.float32), RATE), CPU)
    assert asked == ["wavlm-large-finetune", "wavlm-large", "ecapa-voxceleb"]


@pytest.mark.slow  # it imports transformers anew
def test_a_network_is_loaded_without_a_word_and_without_a_network_connection() -> None:
    program = """
import socket
def refuse(*_, **__): raise AssertionError("a connection")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
import numpy as np
from avbench.clip import Sound
from avbench.extract.engine import Engine
from avbench.extract.voice_ecapa import ecapa_voice_of
from avbench.extract.voice_wavlm import pretrained_voice_of, wavlm_voice_of
for run in (wavlm_voice_of, pretrained_voice_of, ecapa_voice_of):
    run(Sound(np.zeros(16000, np.float32), 16000), Engine(untrained=True))
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_the_extractors_imports_no_network_library() -> None:
    program = """
import sys
import avbench.extract.voice_ecapa, avbench.extract.voice_wavlm, avbench.metrics.voice_similarity
assert not {"torch", "transformers", "scipy"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", program], check=True)


# Metrics ---------------------------------------------------------------------------------------------------------

NETWORKS = (
    (SPK_SIM_AUTHORS, "authors", "spk_sim", VOICE_WAVLM_PRETRAINED),
    (SPK_SIM_REF_AUTHORS, "authors", "spk_sim_ref", VOICE_WAVLM_PRETRAINED),
    (SPK_SIM, "community", "spk_sim", VOICE_WAVLM),
    (SPK_SIM_REF, "community", "spk_sim_ref", VOICE_WAVLM),
    (SPK_SIM_ECAPA, "community", "spk_sim_ecapa", VOICE_ECAPA),
    (SPK_SIM_ECAPA_REF, "community", "spk_sim_ecapa_ref", VOICE_ECAPA),
)


def embedding(*numbers: float, seconds: float = 4.84, peak: float = 0.5) -> SpeakerEmbedding:
    return SpeakerEmbedding(np.array(numbers, np.float32), seconds, peak)


def sample_of(feature: Feature[Any], **sides: SpeakerEmbedding) -> Sample:
    """A clip at 0 degrees, a target at 90, a voice at 60 unless said otherwise."""
    chosen = {
        "clip": embedding(2, 0),
        "target": embedding(0, 3),
        "voice": embedding(0.5, math.sqrt(0.75), seconds=8.0),
        **sides,
    }
    features = {name: Features({feature.name: record}) for name, record in chosen.items()}
    nothing = Features({})
    return Sample(**features, face=nothing, wording=nothing, prompt=Prompt("", "", "", ""), transcript="", language="")


def measured(metric: Metric, sample: Sample) -> Measured:
    found = metric.measure(sample)
    assert isinstance(found, Measured)
    return found


@pytest.mark.parametrize(("metric", "profile", "name", "feature"), NETWORKS)
def test_each_metric_reads_its_own_network_and_side(
    metric: Metric, profile: str, name: str, feature: Feature[SpeakerEmbedding]
) -> None:
    assert (metric.profile, metric.name) == (profile, name)
    referred = name.endswith("_ref")
    assert set(metric.needs) == {"clip", "target"} | ({"voice"} if referred else set())
    assert set(metric.needs.values()) == {(feature,)}
    found = measured(metric, sample_of(feature))
    assert found.value == pytest.approx(0.5 if referred else 0.0, abs=1e-6)
    assert found.detail["seconds"] == 4.84
    assert found.detail["voice_seconds" if referred else "target_seconds"] == (8.0 if referred else 4.84)
    assert ("ceiling" in found.detail) is referred
    if referred:
        assert found.detail["ceiling"] == pytest.approx(math.sqrt(0.75), abs=1e-4)


def test_a_target_without_a_voice_costs_the_ceiling_and_not_the_score() -> None:
    found = measured(SPK_SIM_REF, sample_of(VOICE_WAVLM, target=embedding(0, 0, peak=0.0)))
    assert found.value == pytest.approx(0.5, abs=1e-6)
    assert "ceiling" not in found.detail


@pytest.mark.parametrize("metric", [row[0] for row in NETWORKS])
@pytest.mark.parametrize(
    ("record", "reason"), [(embedding(1, 1, peak=0.0), "silence"), (embedding(1, 1, seconds=0.49), "0.49 s of sound")]
)
def test_silence_and_scraps_are_unmeasurable_on_either_side(
    metric: Metric, record: SpeakerEmbedding, reason: str
) -> None:
    (feature,) = metric.needs["clip"]
    for side in ("clip", "voice" if metric.name.endswith("_ref") else "target"):
        with pytest.raises(Unmeasurable, match=reason) as raised:
            metric.measure(sample_of(feature, **{side: record}))
        assert raised.value.source == side


numbers = st.lists(st.floats(-10, 10, width=32), min_size=3, max_size=3).map(lambda v: np.array(v, np.float32))


@given(numbers, numbers)
def test_the_cosine_is_symmetric_bounded_and_torchs(a: NDArray[np.float32], b: NDArray[np.float32]) -> None:
    value = cosine(a, b)
    assert -1.0 <= value <= 1.0
    assert value == cosine(b, a)
    expected = torch.cosine_similarity(torch.from_numpy(a).double(), torch.from_numpy(b).double(), dim=0).item()
    assert value == pytest.approx(expected, abs=1e-9)


@given(numbers.filter(lambda v: float(np.abs(v).max()) > 1e-3), st.floats(0.1, 10))
def test_a_sound_is_most_like_itself_at_any_length(a: NDArray[np.float32], scale: float) -> None:
    found = voice_similarity(embedding(*a), embedding(*(a * np.float32(scale))), "target")
    assert found.value == pytest.approx(1.0, abs=1e-6)


# Full size -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_full_size_wavlm_comes_through_both_published_files(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)

    def number(name: str, value: torch.Tensor) -> torch.Tensor:
        if not value.is_floating_point():
            return torch.zeros(value.shape, dtype=value.dtype)
        if "norm" in name or ".bn" in name or "weight_g" in name or "running_var" in name:
            return torch.ones(value.shape)
        return torch.empty(value.shape).normal_(0, 0.02, generator=generator)

    with torch.device("meta"):
        modules, heads = wavlm.wavlm(LARGE).state_dict(), SpeakerHead().state_dict()
    state = {name: number(name, value) for name, value in heads.items()}
    hub = {}
    for name, value in modules.items():
        theirs = hub_name(name)
        hub[theirs] = state[f"feature_extract.model.{fairseq_name(name)}"] = number(theirs, value)
    state["loss_calculator.projection.weight"] = torch.zeros(5994, 256)
    assert (len(hub), len(state)) == (488, 711)  # as many as the published file holds
    path, bin_path = finetuned(tmp_path, state), tmp_path / "pytorch_model.bin"
    torch.save(hub, bin_path)
    assert path.stat().st_size == pytest.approx(1.3e9, rel=0.02)
    samples = torch.from_numpy(sounds()["chirp_1p37s"])[None]
    embeddings = []
    loads: list[Callable[[], WavlmSpeaker]] = [
        functools.partial(load_wavlm_finetuned, path),
        functools.partial(load_wavlm_pretrained, bin_path, path),
    ]
    for load in loads:
        speaker = load()
        backbone = speaker.backbone.state_dict()
        for name in ("encoder.layers.23.attention.q_proj.weight", "feature_projection.projection.weight"):
            assert torch.equal(backbone[name], hub[name])
        assert sum(value.numel() for value in backbone.values()) == 315_453_120
        with torch.inference_mode():
            embeddings.append(speaker(samples)[0].numpy())
        del speaker, backbone
    assert all(np.isfinite(one).all() and one.shape == (256,) for one in embeddings)
    assert 0.9 < cosine(*embeddings) < 1.0  # the same numbers; one is normalised, the other is not


@pytest.mark.slow
def test_full_size_ecapa_answers_as_speechbrains_through_its_file(tmp_path: Path) -> None:
    path = tmp_path / "embedding_model.ckpt"
    torch.save(tensors(fill(ECAPA["state_dict"])), path)
    network = load_ecapa_tdnn(path)
    expected = ECAPA["embeddings"]["full"]
    found = {}
    with torch.inference_mode():
        for name in ECAPA["sounds"]:
            found[name] = network(torch.from_numpy(sounds()[name])[None])[0]
            agrees(found[name], expected[name])
    both = cosine(found["chirp_2s"].numpy(), found["chirp_1p37s"].numpy())
    assert both == pytest.approx(expected["cosine_2s_1p37s"], abs=1e-6)
