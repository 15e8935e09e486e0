"""CLAP: its front end against the reference's numbers, its file, long sounds, texts, and what the scales make of it."""

from __future__ import annotations

import functools
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from safetensors.torch import save_file

from avbench import weights
from avbench.clip import Sound
from avbench.errors import WeightsError
from avbench.extract import clap
from avbench.extract.clap import (
    CLAP_SOUND,
    CLAP_SOUND_16K,
    CLAP_TEXT,
    CLAP_TEXT_AUTHORS,
    CLEAN_SPEECH,
    as_16_bit,
    joined,
    meaning_of_sound,
    meaning_of_sound_16k,
    meaning_of_text,
    meaning_of_text_authors,
    window_starts,
)
from avbench.extract.engine import Engine
from avbench.extract.nets import clap as nets
from avbench.features import Features, SoundMeaning, TextMeaning
from avbench.metric import Measured, Metric, Sample, Unmeasurable
from avbench.metrics.adherence import CLAP, CLAP_AUTHORS, CLAP_ENV_AUTHORS, CLAP_MANNER_AUTHORS, adherence
from avbench.split import Prompt

from .golden import golden, unit

ENGINE = Engine(untrained=True)
RATE = 48_000


def noise(seconds: float, rate: int = RATE, name: str = "noise") -> Sound:
    return Sound((0.1 * unit(name, round(seconds * rate))).astype(np.float32), rate)


def prompt(environment: str = "Rain falls.", manner: str = "A calm voice.") -> Prompt:
    return Prompt(visual="", speech="", manner=manner, environment=environment)


def same(one: Any, other: Any) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in vars(one))


# The front end ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", ["no_quantisation", "with_int16_round_trip"])
def test_the_spectrum_is_the_reference_s(recipe: str) -> None:
    expected = golden("misc")["clap_logmel_laion_unfused_48k"][recipe]
    t = np.arange(232_320) / RATE
    tone = 0.3 * np.sin(2 * np.pi * (200 * t + 150 * t**2)) + 0.05 * unit("clap-noise", len(t))
    samples = tone.astype(np.float32)
    if recipe == "with_int16_round_trip":
        samples = (samples.clip(-1, 1) * 32767).astype(np.int16).astype(np.float32) / np.float32(32767)
    found = nets.log_mel(samples)
    assert list(found.shape) == expected["shape"]
    for frame in (0, 500, 967, 1000):
        assert found[frame, :4] == pytest.approx(expected[f"frame{frame}_first4"], abs=1e-5)
    assert found[500, -4:] == pytest.approx(expected["frame500_last4"], abs=1e-5)
    assert [found.mean(dtype=float), found.std(dtype=float)] == pytest.approx(
        [expected["mean"], expected["std"]], abs=1e-5
    )


@pytest.mark.parametrize("samples", [1, 479, 232_320, 480_000])
def test_a_spectrum_of_at_most_ten_seconds_draws_nothing(samples: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("a random number was drawn")

    monkeypatch.setattr(np.random, "randint", refuse)
    monkeypatch.setattr(np.random, "choice", refuse)
    sound = noise(samples / RATE).samples
    assert np.array_equal(nets.log_mel(sound), nets.log_mel(sound))


@pytest.mark.parametrize("samples", [0, 480_001])
def test_more_than_ten_seconds_or_none_are_no_spectrum(samples: int) -> None:
    with pytest.raises(ValueError, match=f"{samples} samples"):
        nets.log_mel(np.zeros(samples, np.float32))


def test_a_short_sound_is_repeated_as_often_as_it_fits_whole() -> None:
    short = noise(3.0).samples
    whole = np.zeros(nets.WINDOW, np.float32)
    whole[: 3 * len(short)] = np.tile(short, 3)
    assert np.array_equal(nets.log_mel(short), nets.log_mel(whole))


# Sounds ----------------------------------------------------------------------------------------------------------


@given(st.integers(0, 61 * RATE))
def test_windows_hear_every_sample_and_end_with_the_sound(samples: int) -> None:
    starts = window_starts(samples)
    assert starts[0] == 0
    assert starts[-1] == max(0, samples - nets.WINDOW)
    steps = np.diff(starts)
    assert (steps > 0).all()
    assert (steps <= 5 * RATE).all()
    assert (steps[:-1] == 5 * RATE).all()


def test_a_long_sound_is_the_mean_of_its_windows() -> None:
    sound = noise(13.0)
    found = meaning_of_sound(sound, ENGINE)
    parts = [
        meaning_of_sound(Sound(sound.samples[start : start + nets.WINDOW], RATE), ENGINE).embedding
        for start in window_starts(len(sound.samples))
    ]
    mean = np.mean(parts, axis=0, dtype=np.float64)
    assert found.windows == len(parts) == 2
    assert found.embedding == pytest.approx(mean / np.linalg.norm(mean), abs=1e-6)


def test_a_long_sound_has_one_meaning() -> None:
    np.random.seed(1)
    first = meaning_of_sound(noise(12.0), ENGINE)
    np.random.seed(2)
    assert same(first, meaning_of_sound(noise(12.0), ENGINE))


def test_a_meaning_has_unit_length_and_says_how_loud_the_sound_was() -> None:
    sound = noise(2.0, 44_100)
    found = meaning_of_sound(sound, ENGINE)
    assert np.linalg.norm(found.embedding) == pytest.approx(1, abs=1e-6)
    assert found.peak == np.abs(sound.samples).max()
    assert found.windows == 1


@pytest.mark.parametrize("meaning", [meaning_of_sound, meaning_of_sound_16k])
@pytest.mark.parametrize("sound", [Sound(np.zeros(48_000, np.float32), RATE), Sound(np.zeros(0, np.float32), 44_100)])
def test_silence_has_no_meaning(meaning: Any, sound: Sound) -> None:
    found = meaning(sound, ENGINE)
    assert not found.embedding.any()
    assert found.windows == 0


def test_the_authors_front_end_hears_nothing_above_8_khz_and_30_s() -> None:
    heard: list[NDArray[np.float32]] = []

    def listen(samples: NDArray[np.float32]) -> NDArray[np.float32]:
        heard.append(samples)
        return np.zeros((1001, 64), np.float32)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(nets, "log_mel", listen)
        found = meaning_of_sound_16k(noise(40.0), ENGINE)
    assert found.windows == len(heard) == 5  # from 0, 5, 10, 15 and 20 s
    power = np.abs(np.fft.rfft(heard[1].astype(np.float64) * np.hanning(len(heard[1])))) ** 2
    bins = np.fft.rfftfreq(len(heard[1]), 1 / RATE)
    assert power[bins > 8_500].mean() < 1e-6 * power[bins < 7_000].mean()


def test_sixteen_bits_at_16_khz_are_rounded_and_clipped_and_nothing_else() -> None:
    samples = np.array([0, 0.5, -0.5, 1.5, -1.5, 1 / 32768, 0.6 / 32768], np.float32)
    assert as_16_bit(samples, 16_000).tolist() == [0, 16384, -16384, 32767, -32768, 1, 1]


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_another_rate_keeps_length_and_tone(rate: int) -> None:
    t = np.arange(2 * rate) / rate
    found = as_16_bit((0.5 * np.sin(2 * np.pi * 1000 * t)).astype(np.float32), rate)
    assert abs(len(found) - 32_000) <= 32
    middle = found[8_000:24_000] / 32768
    wave = np.exp(-2j * np.pi * 1000 * np.arange(len(middle)) / 16_000)
    assert 2 * abs((middle * wave).mean()) == pytest.approx(0.5, abs=2e-3)


# Texts -----------------------------------------------------------------------------------------------------------


def test_both_parts_become_one_text_with_the_environment_first() -> None:
    assert joined("Rain falls.", "A calm voice.") == "Rain falls. A calm voice."
    assert joined(" Rain falls ", "A calm voice.") == "Rain falls. A calm voice."
    assert joined("", " A calm voice.") == "A calm voice."
    assert joined("Rain falls.", "") == "Rain falls."
    assert joined(" ", "") == ""


def test_each_part_of_a_prompt_has_a_meaning_and_a_length() -> None:
    found = meaning_of_text(prompt(), ENGINE)
    assert found.tokens.tolist() == [13, 15, 27]  # bytes, and two marks
    for vector in (found.environment, found.manner, found.combined):
        assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)
    alone = meaning_of_text(prompt(environment=joined("Rain falls.", "A calm voice."), manner=""), ENGINE)
    assert np.array_equal(alone.environment, found.combined)
    assert np.array_equal(alone.combined, found.combined)
    assert not alone.manner.any()


@pytest.mark.parametrize("none", ["None", "none.", " NONE "])
def test_an_environment_of_none_is_clean_speech_to_the_authors_and_nothing_to_others(none: str) -> None:
    theirs = meaning_of_text_authors(prompt(none), ENGINE)
    assert same(theirs, meaning_of_text_authors(prompt(CLEAN_SPEECH), ENGINE))
    ours = meaning_of_text(prompt(none), ENGINE)
    assert same(ours, meaning_of_text(prompt(""), ENGINE))
    assert not ours.environment.any()


def test_only_the_authors_profile_reads_beyond_77_tokens() -> None:
    start, end = "a" * 75, "b" * 400
    short, long = prompt(start, ""), prompt(start + end, "")
    assert np.array_equal(meaning_of_text(short, ENGINE).combined, meaning_of_text(long, ENGINE).combined)
    assert meaning_of_text(long, ENGINE).tokens.tolist() == [477, 0, 477]
    theirs = meaning_of_text_authors(long, ENGINE).combined
    assert not np.array_equal(meaning_of_text_authors(short, ENGINE).combined, theirs)


def test_the_authors_profile_reads_as_far_as_the_network_has_places() -> None:
    kept, more = (
        meaning_of_text_authors(prompt("a" * 510, ""), ENGINE),
        meaning_of_text_authors(prompt("a" * 900, ""), ENGINE),
    )
    assert np.array_equal(kept.combined, more.combined)
    assert more.tokens[2] == 902


# Files -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> dict[str, torch.Tensor]:
    """The numbers of a tiny network; for this test it is the published one."""
    monkeypatch.setattr(nets, "published_clap", nets.untrained_clap)
    return {name: value.clone() for name, value in nets.untrained_clap().state_dict().items()}


def _stored(state: dict[str, torch.Tensor], path: Path) -> Path:
    torch.save(state, path) if path.suffix == ".bin" else save_file(state, path)
    return path


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_both_published_layouts_are_read(tiny: dict[str, torch.Tensor], tmp_path: Path, name: str) -> None:
    shifted = {key: value + 1 if value.is_floating_point() else value for key, value in tiny.items()}
    found = nets.load_clap(_stored(shifted, tmp_path / name)).state_dict()
    assert found.keys() == shifted.keys()
    assert all(torch.equal(found[key], shifted[key]) for key in shifted)


def test_what_the_network_counts_itself_may_be_absent(tiny: dict[str, torch.Tensor], tmp_path: Path) -> None:
    counted = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")
    learned = {key: value for key, value in tiny.items() if not key.endswith(counted)}
    assert len(tiny) - len(learned) == 7  # four blocks of attention, three others
    nets.load_clap(_stored(learned, tmp_path / "model.safetensors"))


def test_a_file_of_another_network_is_named_with_what_differs(tiny: dict[str, torch.Tensor], tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    key = "text_model.embeddings.word_embeddings.weight"
    index = next(name for name in tiny if name.endswith("relative_position_index"))
    for state, named in (
        ({name: value for name, value in tiny.items() if name != key}, key),
        ({**tiny, "surplus.weight": torch.zeros(1)}, "surplus.weight"),
        ({**tiny, key: torch.zeros(3, 16)}, key),
        ({**tiny, index: tiny[index] + 1}, index),
        ({**tiny, key: tiny[key].half()}, key),
    ):
        with pytest.raises(WeightsError, match=named) as error:
            nets.load_clap(_stored(state, path))
        assert str(path) in str(error.value)


def test_a_pickle_of_code_is_refused(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("ran",))

    torch.save({"weight": Bomb()}, tmp_path / "pytorch_model.bin")
    with pytest.raises(WeightsError, match="not a torch file of numbers"):
        nets.load_clap(tmp_path / "pytorch_model.bin")


def test_a_tokenizer_is_read_and_its_own_cuts_are_not(tmp_path: Path) -> None:
    tokenizer = nets.untrained_tokenizer()
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=40)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    found = nets.load_tokenizer(tmp_path / "tokenizer.json")
    assert nets.text_tokens(found, "rain falls") == nets.text_tokens(nets.untrained_tokenizer(), "rain falls")


def test_another_tokenizer_is_refused(tmp_path: Path) -> None:
    from avbench.extract.nets.whisper import untrained_tokenizer

    untrained_tokenizer().save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(WeightsError, match="another tokenizer than RoBERTa's"):
        nets.load_tokenizer(tmp_path / "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(WeightsError, match=r"not a tokenizer\.json"):
        nets.load_tokenizer(tmp_path / "tokenizer.json")


def test_an_untrained_network_is_the_same_every_time() -> None:
    one, other = nets.untrained_clap().state_dict(), nets.untrained_clap().state_dict()
    assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
def test_the_full_network_is_loaded_from_its_published_layout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the network was reached for"))
    network = nets.published_clap()
    assert sum(value.numel() for value in network.parameters()) == 153_492_890
    state = {name: value.contiguous() for name, value in network.state_dict().items()}
    path = _stored(state, tmp_path / "model.safetensors")
    nets.untrained_tokenizer().save(str(tmp_path / "tokenizer.json"))
    files = {"clap-htsat-unfused": path, "clap-tokenizer": tmp_path / "tokenizer.json"}
    monkeypatch.setattr(weights, "path", files.__getitem__)
    monkeypatch.setattr(clap, "_network", functools.cache(clap._network.__wrapped__))
    monkeypatch.setattr(clap, "_tokenizer", functools.cache(clap._tokenizer.__wrapped__))
    sound, text = meaning_of_sound(noise(5.0), Engine()), meaning_of_text(prompt(), Engine())
    assert isinstance(adherence(sound, text, "combined").value, float)
    assert capfd.readouterr() == ("", "")
    del state["logit_scale_a"]
    with pytest.raises(WeightsError, match="logit_scale_a"):
        nets.load_clap(_stored(state, path))


# Scales ----------------------------------------------------------------------------------------------------------


def vector(*numbers: float) -> NDArray[np.float32]:
    found = np.array(numbers, np.float32)
    return found / max(float(np.linalg.norm(found)), 1e-12)


def sample(sound: SoundMeaning, text: TextMeaning) -> Sample:
    sides: dict[str, Any] = {side: Features({}) for side in ("target", "voice", "face")}
    return Sample(
        clip=Features({CLAP_SOUND.name: sound, CLAP_SOUND_16K.name: sound}),
        wording=Features({CLAP_TEXT.name: text, CLAP_TEXT_AUTHORS.name: text}),
        prompt=prompt(),
        transcript="",
        language="en",
        **sides,
    )


SOUND = SoundMeaning(vector(1, 0, 0), windows=2, peak=0.5)
TEXT = TextMeaning(vector(3, 4, 0), vector(0, 1, 0), vector(1, 1, 0), np.array([4, 5, 7], np.int32))


@pytest.mark.parametrize(
    ("metric", "cosine", "tokens"),
    [(CLAP, 0.5**0.5, 7), (CLAP_AUTHORS, 0.5**0.5, 7), (CLAP_ENV_AUTHORS, 0.6, 4), (CLAP_MANNER_AUTHORS, 0.0, 5)],
)
def test_a_scale_is_the_cosine_with_its_part_of_the_prompt(metric: Metric, cosine: float, tokens: int) -> None:
    found = metric.measure(sample(SOUND, TEXT))
    assert isinstance(found, Measured)
    assert found.value == pytest.approx(cosine, abs=1e-6)
    assert found.detail == {"windows": 2, "tokens": tokens}


@pytest.mark.parametrize(
    ("metric", "said"),
    [
        (CLAP, "neither environment nor manner"),
        (CLAP_AUTHORS, "neither environment nor manner"),
        (CLAP_ENV_AUTHORS, "no environment"),
        (CLAP_MANNER_AUTHORS, "no manner"),
    ],
)
def test_a_prompt_that_says_nothing_is_unmeasurable(metric: Metric, said: str) -> None:
    with pytest.raises(Unmeasurable, match=said) as reason:
        metric.measure(sample(SOUND, meaning_of_text(prompt("", ""), ENGINE)))
    assert reason.value.source == "prompt"


@pytest.mark.parametrize("metric", [CLAP, CLAP_AUTHORS, CLAP_ENV_AUTHORS, CLAP_MANNER_AUTHORS])
def test_a_silent_clip_is_unmeasurable(metric: Metric) -> None:
    silent = meaning_of_sound(Sound(np.zeros(16_000, np.float32), 16_000), ENGINE)
    with pytest.raises(Unmeasurable, match="silence") as reason:
        metric.measure(sample(silent, TEXT))
    assert reason.value.source == "clip"
