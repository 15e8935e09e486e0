"""Extractors: each step against a formula of its own, the whole on a portrait and on synthetic sounds."""

from __future__ import annotations

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soxr
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avbench import clip, extract, weights
from avbench.clip import Sound
from avbench.errors import UsageError, WeightsError
from avbench.extract import EXTRACTORS, FACES_DLIB, speech_energy, voice_ge2e
from avbench.extract.faces_dlib import evenly, faces_of, largest_track, smooth_boxes
from avbench.extract.nets.ge2e import SpeakerEncoder
from avbench.extract.nets.silero import VoiceActivity
from avbench.extract.voice_ge2e import (
    MIN_SPEECH_SECONDS,
    embed_speech,
    keep_speech,
    mel_power,
    raise_level,
    speech_spans,
    voice_of,
    widened,
    window_starts,
)
from avbench.features import Features, load, save
from avbench.puppet import Voice, speak

RATE = 16_000


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """As in a worker."""
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def portrait() -> NDArray[np.uint8]:
    """(512, 512, 3) a public-domain portrait with one face around (222, 115)."""
    import skimage.data

    return np.ascontiguousarray(skimage.data.astronaut())  # type: ignore[no-untyped-call]


@pytest.fixture(scope="module")
def encoder() -> None:
    """The speaker encoder's file, from the package index."""
    try:
        weights.ensure(["ge2e-resemblyzer", "silero-vad"])
    except WeightsError as error:
        pytest.skip(f"no speaker encoder: {str(error).splitlines()[0][:120]}")


def voice_like(seconds: float = 2.37, pitch: float = 110.0) -> NDArray[np.float32]:
    """A buzz with a rising pitch and four swells a second: harmonics of a glottis, no more."""
    t = np.arange(round(seconds * RATE)) / RATE
    phase = 2 * np.pi * (pitch * t + 15 * t * t)
    buzz = sum(np.sin(h * phase + h * h) / h for h in range(1, 25))
    return np.asarray(buzz * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * t)) * 0.05, np.float32)


@pytest.fixture(scope="module")
def line() -> Callable[[str], Sound]:
    """A line of three seconds or so, spoken by the espeak-ng voice of that name."""

    @functools.cache
    def spoken(voice: str) -> Sound:
        speech = speak("The quick brown fox jumps over the lazy dog by the river.", Voice(voice), (2.5, 4.5))
        return Sound(speech.samples, speech.rate)

    return spoken


def same(one: Any, other: Any) -> bool:
    """Whether two records agree byte for byte."""
    return all(
        np.asarray(getattr(one, field.name)).tobytes() == np.asarray(getattr(other, field.name)).tobytes()
        for field in dataclasses.fields(one)
    )


# The registry ----------------------------------------------------------------------------------------------------


def test_a_revision_names_extractor_protocol_and_networks() -> None:
    assert extract.revision("voice_ge2e") == f"voice_ge2e/2@{weights.digest8(('ge2e-resemblyzer', 'silero-vad'))}"
    assert extract.revision("speech_energy") == "speech_energy/1"
    with pytest.raises(UsageError, match="Did you mean faces_dlib"):
        extract.revision("faces")


def test_a_library_that_is_absent_is_told_before_work_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    broken = dataclasses.replace(EXTRACTORS["speech_energy"], modules=("scipy", "no_such_library"))
    monkeypatch.setitem(EXTRACTORS, "speech_energy", broken)
    with pytest.raises(UsageError, match=r"no_such_library\. Run: pip install 'avbench\[embedded\]'"):
        extract.ready(["speech_energy"])


def test_one_file_is_decoded_once_for_all_extractors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "voice.wav"
    calls: list[Path] = []
    clip.write_audio(path, Sound(np.zeros(RATE, np.float32), RATE))
    read = clip.read_audio

    def counted(path: Path) -> Sound:
        calls.append(path)
        return read(path)

    monkeypatch.setattr(clip, "read_audio", counted)
    records = extract.extract(path, "audio", ["speech_energy", "voice_ge2e"])
    assert list(records) == ["speech_energy", "voice_ge2e"]
    assert len(calls) == 1


def test_an_extractor_is_not_given_what_it_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="voice_ge2e reads audio"):
        extract.extract(tmp_path / "x.mp4", "video", ["voice_ge2e"])
    with pytest.raises(UsageError, match="voice_ge2e reads audio"):
        extract.extract(tmp_path / "x.png", "image", ["voice_ge2e"])


# Faces -----------------------------------------------------------------------------------------------------------


def test_the_track_with_the_largest_total_area_is_followed() -> None:
    left = (0.0, 0.0, 10.0, 10.0)
    right = (100.0, 0.0, 112.0, 12.0)
    detections = [(0, [right, left]), (3, [left]), (6, [left, right]), (9, [left])]
    assert largest_track(detections) == {0: left, 3: left, 6: left, 9: left}  # 400 against 288
    assert largest_track(detections[:1]) == {0: right}
    assert largest_track([(0, []), (3, [])]) == {}


def test_a_track_follows_a_face_that_moves_and_does_not_leap_to_another() -> None:
    moving = [(3 * step, [(4.0 * step, 0.0, 4.0 * step + 20, 20.0)]) for step in range(20)]
    assert len(largest_track(moving)) == 20
    leaping = [*moving[:10], *((index, [(300.0, 0.0, 321.0, 20.0)]) for index, _ in moving[10:])]
    assert sorted(largest_track(leaping)) == [3 * step for step in range(10, 20)]


def test_of_two_boxes_on_one_track_the_nearer_one_continues_it() -> None:
    track = largest_track([(0, [(0.0, 0.0, 10.0, 10.0)]), (3, [(2.0, 0.0, 12.0, 10.0), (1.0, 0.0, 11.0, 10.0)])])
    assert track[3] == (1.0, 0.0, 11.0, 10.0)


def test_boxes_between_detections_lie_on_a_line_and_stand_still_outside() -> None:
    boxes = smooth_boxes({30: (0.0, 0.0, 10.0, 10.0), 90: (60.0, 0.0, 70.0, 10.0)}, 121)
    assert boxes[60] == pytest.approx([30, 0, 40, 10])
    assert boxes[0] == pytest.approx([0, 0, 10, 10])
    assert boxes[120] == pytest.approx([60, 0, 70, 10])


@given(st.integers(1, 60), st.integers(1, 9))
def test_evenly_keeps_both_ends_and_the_order(length: int, count: int) -> None:
    chosen = evenly(range(100, 100 + length), count)
    assert len(chosen) == min(length, count)
    assert chosen == sorted(set(chosen))
    assert chosen[0] == 100
    assert count == 1 or chosen[-1] == 99 + length


def test_a_portrait_is_a_clip_of_one_frame_with_a_face(portrait: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tmp_path / "portrait.png"
    clip.write_image(path, portrait)
    faces = Features(extract.extract(path, "image", ["faces_dlib"]))[FACES_DLIB]
    assert same(faces, faces_of(portrait[None]))
    assert faces.size.tolist() == [512, 512]
    assert (faces.sampled.tolist(), faces.detected.tolist(), faces.embedded.tolist()) == ([True], [True], [0])
    assert faces.landmarks.shape == (1, 68, 2)
    left, top, right, bottom = faces.boxes[0]
    assert left < 222 < right
    assert top < 115 < bottom
    eyes = faces.landmarks[0, 36:48].reshape(2, 6, 2).mean(axis=1)
    assert eyes[0, 0] < eyes[1, 0] < right  # the first is the one on the left of the picture
    assert eyes[:, 1].max() < faces.landmarks[0, 30, 1] < faces.landmarks[0, 62, 1] < faces.landmarks[0, 8, 1]
    assert faces.embeddings.shape == (1, 128)


def test_a_face_is_followed_through_a_clip_and_embedded_five_times(portrait: NDArray[np.uint8], tmp_path: Path) -> None:
    frames = np.stack([np.roll(portrait[:300, 50:400], step, axis=1) for step in range(20)])
    faces = faces_of(frames)
    assert np.flatnonzero(faces.sampled).tolist() == [0, 3, 6, 9, 12, 15, 18]
    assert faces.detected.tolist() == faces.sampled.tolist()
    assert faces.embedded.tolist() == [0, 3, 9, 12, 18]
    assert faces.embeddings.shape == (5, 128)
    nose = faces.landmarks[:, 30, 0]
    assert nose[18] - nose[0] == pytest.approx(18, abs=3)
    assert same(faces, faces_of(frames))
    save(tmp_path / "faces.npz", faces)
    assert same(faces, load(tmp_path / "faces.npz", type(faces)))


def test_of_two_faces_the_larger_one_is_taken(portrait: NDArray[np.uint8]) -> None:
    small = portrait[:300:2, 50:400:2]
    scene = np.full((300, 620, 3), 90, np.uint8)
    scene[75 : 75 + small.shape[0], 20 : 20 + small.shape[1]] = small
    scene[:, 220:570] = portrait[:300, 50:400]
    left, _, right, _ = faces_of(scene[None]).boxes[0]
    assert 300 < (left + right) / 2 < 450


def test_a_face_that_leaves_is_not_detected_where_it_is_not(portrait: NDArray[np.uint8]) -> None:
    face = portrait[:300, 50:400]
    faces = faces_of(np.stack([face] * 10 + [np.full_like(face, 90)] * 20))
    assert (int(faces.detected.sum()), int(faces.sampled.sum())) == (4, 10)
    assert faces.embedded.max() < 10


def test_where_there_is_no_face_there_is_no_embedding() -> None:
    faces = faces_of(np.full((7, 100, 120, 3), 90, np.uint8))
    assert not faces.detected.any()
    assert faces.embeddings.shape == (0, 128)
    assert not faces.boxes.any()
    assert not faces.landmarks.any()


# Voices ----------------------------------------------------------------------------------------------------------


def slaney_mel_power(samples: NDArray[np.float32], frame: int, band: int) -> float:
    """One entry of the spectrogram from the definitions: a Fourier sum, and a triangle over its bins.

    Slaney's auditory toolbox: 200/3 Hz per mel below 1 kHz; above, 27 mels for each factor of 6.4.
    """

    def hertz(mel: float) -> float:
        return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    top = 15 + 27 * math.log(8000 / 1000) / math.log(6.4)
    low, centre, high = (hertz(top * (band + step) / 41) for step in range(3))
    total = 0.0
    for bin_number in range(201):
        frequency = bin_number * 40
        rise, fall = (frequency - low) / (centre - low), (high - frequency) / (high - centre)
        height = max(0.0, min(rise, fall)) * 2 / (high - low)
        if height > 0:
            real = imaginary = 0.0
            for n in range(400):
                place = frame * 160 - 200 + n
                if 0 <= place < len(samples):
                    weighted = float(samples[place]) * math.sin(math.pi * n / 400) ** 2
                    real += weighted * math.cos(2 * math.pi * bin_number * n / 400)
                    imaginary -= weighted * math.sin(2 * math.pi * bin_number * n / 400)
            total += height * (real**2 + imaginary**2)
    return total


@pytest.mark.parametrize(("frame", "band"), [(0, 0), (5, 7), (10, 16), (12, 30), (20, 39)])
def test_mel_power_is_what_its_definition_says(frame: int, band: int) -> None:
    samples = np.random.default_rng(3).normal(0, 0.1, 3200).astype(np.float32)
    mels = mel_power(samples)
    assert mels.shape == (21, 40)
    assert mels[frame, band] == pytest.approx(slaney_mel_power(samples, frame, band), rel=1e-5)


def test_mel_power_equals_that_of_the_encoders_own_project() -> None:
    # Entries by librosa 0.11 as Resemblyzer 0.1.4 calls it, on this very signal; largest difference anywhere 9e-8.
    mels = mel_power(voice_like(160 * (160 + 77) / RATE))
    assert mels.shape == (238, 40)
    assert [mels[0, 0], mels[50, 3], mels[100, 17], mels[237, 39]] == pytest.approx(
        [0.038227468729019165, 0.021118763834238052, 0.0011047498555853963, 7.616438779223245e-06], rel=1e-4
    )
    assert float(mels.sum(dtype=np.float64)) == pytest.approx(86.19939344784757, rel=1e-6)


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        (0.01, [0]),
        (1.6, [0]),
        (1.96, [0]),  # the second window would be speech from 0.77 to 1.96 s only: 74 %
        (1.98, [0, 77]),  # 76 %
        (2.37, [0, 77]),
        (4.84, [0, 77, 154, 231, 308]),
    ],
)
def test_windows_begin_every_77_frames_and_the_last_is_three_quarters_speech(seconds: float, starts: list[int]) -> None:
    assert window_starts(round(seconds * RATE)) == starts


@given(st.floats(1e-4, 0.9))
def test_only_quieter_sounds_are_raised(amplitude: float) -> None:
    samples = np.tile(np.array([amplitude, -amplitude], np.float32), 100)
    assert np.abs(raise_level(samples)) == pytest.approx(max(amplitude, 10**-1.5), rel=1e-5)
    assert raise_level(np.zeros(5, np.float32)).tolist() == [0] * 5


def test_speech_begins_at_a_half_and_ends_after_a_tenth_of_a_second_below_035() -> None:
    quiet, speech, between = [0.1], [0.9], [0.4]

    def spans(*parts: list[float]) -> list[tuple[int, int]]:
        probabilities = np.array([value for part in parts for value in part], np.float32)
        return speech_spans(probabilities, 512 * len(probabilities))

    assert spans(quiet * 10, speech * 10, quiet * 10) == [(512 * 10, 512 * 20)]
    assert spans(quiet * 10, speech * 7, quiet * 10) == []  # 7 chunks are 0.22 s
    assert spans(speech * 10, quiet * 3, speech * 10) == [(0, 512 * 23)]  # a pause of 3 chunks is 0.096 s
    assert spans(speech * 10, quiet * 5, speech * 10) == [(0, 512 * 10), (512 * 15, 512 * 25)]
    assert spans(speech * 10, between * 9, speech * 10) == [(0, 512 * 29)]
    assert spans(between * 10) == []


def test_speech_keeps_what_is_around_it_and_nothing_twice() -> None:
    margin = 4800  # 0.3 s
    assert widened([(10_000, 20_000)], 40_000) == [(10_000 - margin, 20_000 + margin)]
    assert widened([(1000, 9000), (10_000, 38_000)], 40_000) == [(0, 13_800), (13_800, 40_000)]
    assert widened([], 10) == []


def test_half_a_second_of_speech_is_counted_without_what_is_around_it(line: Callable[[str], Sound]) -> None:
    spoken = line("en-us")
    short = Sound(spoken.samples[: round(0.45 * spoken.rate)], spoken.rate)
    silence = np.zeros(2 * spoken.rate, np.float32)
    voice = voice_of(Sound(np.concatenate([silence, short.samples, silence]), spoken.rate))
    assert voice.speech_seconds < MIN_SPEECH_SECONDS
    assert not voice.embedding.any()


@given(st.lists(st.floats(0, 1), max_size=80), st.integers(0, 511))
def test_stretches_of_speech_are_in_order_inside_the_sound_and_apart(probabilities: list[float], cut: int) -> None:
    length = max(0, 512 * len(probabilities) - cut)
    spans = widened(speech_spans(np.array(probabilities, np.float32), length), length)
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert all(0 <= edge <= length for edge in edges)


def test_the_voice_activity_network_computes_what_its_own_project_does() -> None:
    # The project's compiled network has the same layers with other numbers: ours is given those, and must agree.
    compiled_path = weights.path("silero-vad").with_name("silero_vad.jit")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of the compiled format
        compiled: Any = torch.jit.load(str(compiled_path))  # type: ignore[no-untyped-call]
    names = {
        "stft_conv.weight": "stft.forward_basis_buffer",
        "lstm_cell": "decoder.rnn",
        "final_conv": "decoder.decoder.2",
    }
    names |= {f"conv{layer + 1}": f"encoder.{layer}.reparam_conv" for layer in range(4)}
    network, state = VoiceActivity(), {}
    for name in network.state_dict():
        (ours,) = [prefix for prefix in names if name.startswith(prefix)]
        state[name] = compiled.state_dict()["_model." + name.replace(ours, names[ours])]
    network.load_state_dict(state)
    samples = torch.from_numpy(np.concatenate([voice_like(1.0), np.zeros(3000, np.float32), voice_like(0.5)]))
    with torch.inference_mode():
        probabilities = network(samples)
        compiled.reset_states()
        padded = torch.nn.functional.pad(samples, (0, -len(samples) % 512))
        expected = torch.stack([compiled(chunk, RATE).squeeze() for chunk in padded.reshape(-1, 512)])
    assert probabilities.shape == expected.shape
    assert float((probabilities - expected).abs().max()) < 1e-4
    assert float(expected.max() - expected.min()) > 0.01


def test_silence_and_hiss_hold_no_speech() -> None:
    hiss = np.random.default_rng(1).normal(0, 0.05, 2 * RATE).astype(np.float32)
    for samples in (np.zeros(2 * RATE, np.float32), np.zeros(0, np.float32), hiss, hiss[:100]):
        assert len(keep_speech(samples)[0]) == 0
        voice = voice_of(Sound(samples, RATE))
        assert voice.speech_seconds == 0
        assert not voice.embedding.any()
    assert voice_of(Sound(hiss, RATE)).peak == pytest.approx(float(np.abs(hiss).max()))


def test_the_speaker_encoder_is_three_lstm_layers_and_a_rectified_one() -> None:
    torch.manual_seed(5)
    encoder = SpeakerEncoder().eval()
    state = {name: value.numpy().astype(np.float64) for name, value in encoder.state_dict().items()}
    mels = np.random.default_rng(5).random((7, 40))

    def sigmoid(x: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1 / (1 + np.exp(-x))

    sequence = list(mels)
    for layer in range(3):
        hidden, cell, outputs = np.zeros(256), np.zeros(256), []
        for vector in sequence:
            gates = state[f"lstm.weight_ih_l{layer}"] @ vector + state[f"lstm.bias_ih_l{layer}"]
            gates = gates + state[f"lstm.weight_hh_l{layer}"] @ hidden + state[f"lstm.bias_hh_l{layer}"]
            enter, forget, new, out = np.split(gates, 4)
            cell = sigmoid(forget) * cell + sigmoid(enter) * np.tanh(new)
            hidden = sigmoid(out) * np.tanh(cell)
            outputs.append(hidden)
        sequence = outputs
    raw = np.maximum(state["linear.weight"] @ sequence[-1] + state["linear.bias"], 0)
    with torch.inference_mode():
        answer = encoder(torch.from_numpy(mels[None].astype(np.float32)))[0].numpy()
    assert answer == pytest.approx(raw / np.linalg.norm(raw), abs=1e-5)


def test_an_embedding_equals_that_of_the_encoders_own_project(encoder: None) -> None:
    # By Resemblyzer 0.1.4 on this signal, which fills two windows: largest difference anywhere 1.2e-7.
    embedding = embed_speech(voice_like(160 * (160 + 77) / RATE))
    assert embedding.shape == (256,)
    assert float(np.linalg.norm(embedding)) == pytest.approx(1, abs=1e-6)
    assert embedding[[246, 92, 189, 100, 146, 136]] == pytest.approx(
        [0.256685, 0.210186, 0.183733, 0.180986, 0.178292, 0.175102], abs=1e-5
    )
    assert float(embedding.sum()) == pytest.approx(9.483855386148207, abs=1e-4)
    assert int((embedding > 0).sum()) == 137


def test_short_speech_is_repeated_and_not_padded(encoder: None) -> None:
    short = voice_like(0.8)
    assert embed_speech(short) == pytest.approx(embed_speech(np.tile(short, 2)), abs=1e-6)
    assert embed_speech(short) @ embed_speech(np.pad(short, (0, len(short)))) < 0.99


def test_a_voice_is_the_same_however_quiet(encoder: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(voice_ge2e, "keep_speech", lambda samples: (samples, len(samples) / RATE))
    loud = voice_like() * 0.2
    voice, quieter = (voice_of(Sound(loud * gain, RATE)) for gain in (np.float32(1), np.float32(0.1)))
    assert voice.speech_seconds == quieter.speech_seconds == pytest.approx(2.37)
    assert float(voice.embedding @ quieter.embedding) == pytest.approx(1, abs=1e-4)
    assert quieter.peak == pytest.approx(voice.peak / 10, rel=1e-4)


def test_speech_is_found_between_silences(line: Callable[[str], Sound]) -> None:
    spoken = line("en-us")
    silence = np.zeros(spoken.rate, np.float32)
    voice = voice_of(Sound(np.concatenate([silence, spoken.samples, silence]), spoken.rate))
    assert voice.speech_seconds == pytest.approx(len(spoken.samples) / spoken.rate, abs=0.4)


def test_the_same_sound_gives_the_same_bytes_at_any_rate(encoder: None, line: Callable[[str], Sound]) -> None:
    spoken = line("en-us")
    voice = voice_of(spoken)
    assert same(voice, voice_of(spoken))
    for rate in (8000, 44_100, 48_000):
        resampled = Sound(soxr.resample(spoken.samples, spoken.rate, rate), rate)
        assert same(voice_of(resampled), voice_of(resampled))
        if rate > 2 * 8000:  # nothing that the encoder hears was lost
            assert float(voice.embedding @ voice_of(resampled).embedding) > 0.98


def test_a_voice_is_nearer_to_itself_than_to_another(encoder: None, line: Callable[[str], Sound]) -> None:
    man, woman = line("en-us"), line("en-us+f4")
    half = len(man.samples) // 2
    first, second, other = (
        voice_of(sound).embedding
        for sound in (Sound(man.samples[:half], man.rate), Sound(man.samples[half:], man.rate), woman)
    )
    assert float(first @ second) > float(first @ other) + 0.1


def test_less_than_half_a_second_of_speech_gives_no_embedding(line: Callable[[str], Sound]) -> None:
    spoken = line("en-us")
    voice = voice_of(Sound(spoken.samples[: int(0.4 * spoken.rate)], spoken.rate))
    assert voice.speech_seconds < MIN_SPEECH_SECONDS == 0.5
    assert not voice.embedding.any()


# Loudness --------------------------------------------------------------------------------------------------------


def tone(hertz: float, rate: int = 16_000, seconds: float = 1.0, amplitude: float = 0.5) -> Sound:
    t = np.arange(round(seconds * rate)) / rate
    return Sound(np.asarray(amplitude * np.sin(2 * np.pi * hertz * t), np.float32), rate)


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100, 48_000])
@pytest.mark.parametrize(("hertz", "gain"), [(1000, 1.0), (100, 0.0), (50, 0.0)])
def test_a_tone_counts_inside_the_speech_band_only(rate: int, hertz: float, gain: float) -> None:
    rms = speech_energy.energy_of(tone(hertz, rate)).rms
    assert len(rms) == 25
    assert rms[3:-3] == pytest.approx(gain * 0.5 / math.sqrt(2), abs=0.005)


def test_a_high_tone_does_not_count() -> None:
    assert speech_energy.energy_of(tone(6500, 48_000)).rms[3:-3].max() < 0.005


def test_each_frame_has_the_sound_around_its_time() -> None:
    samples = np.zeros(6400)
    samples[[640 - 320, 640 + 319]] = 3.0  # the first and the last sample of frame 1
    assert speech_energy.frame_rms(samples).tolist() == pytest.approx([0, math.sqrt(18 / 640), *[0] * 8])


@pytest.mark.parametrize(("samples", "frames"), [(0, 1), (1, 1), (640, 1), (641, 2), (16_000, 25), (77_440, 121)])
def test_there_is_one_value_for_each_video_frame(samples: int, frames: int) -> None:
    assert speech_energy.energy_of(Sound(np.ones(samples, np.float32), RATE)).rms.shape == (frames,)
    assert speech_energy.frame_rms(np.ones(samples)).shape == (frames,)


@settings(max_examples=20)
@given(st.floats(0.01, 1))
def test_loudness_grows_with_the_sound(gain: float) -> None:
    whole, part = (speech_energy.energy_of(tone(700, amplitude=amplitude)).rms for amplitude in (1.0, gain))
    assert part == pytest.approx(gain * whole, rel=1e-3, abs=1e-6)
