"""Known damage is what it says: its amount is reached, harder contains milder, and nothing else changes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avbench.clip import Sound, probe, read_audio, read_video, write_clip
from avbench.damage import (
    DAMAGES,
    Given,
    active_level,
    add_noise,
    blur,
    check_amount,
    damaged,
    drop_words,
    freeze,
    lay_face,
    mix_voice,
    pitch,
    recompress,
    rescale,
    shift_sound,
)
from avbench.errors import MediaError, UsageError
from avbench.features import Alignment, Faces
from avbench.methods import METHODS, Item, resolve
from avbench.metrics import select
from avbench.prepare.manifest import MANIFEST, read_manifest
from avbench.split import load_split

from .line import Demo
from .test_clip import natural

Frames = NDArray[np.uint8]

ROOT = Path(__file__).resolve().parent.parent
MEDIA = Path(os.environ.get("AVBENCH_REAL_MEDIA", "no-such-folder"))
KINDS = [name for name in DAMAGES if name != "none"]
PURE_SOUND = [name for name in KINDS if DAMAGES[name].sense == "audio" and name not in ("voice", "drop")]
PURE_PICTURE = [name for name in KINDS if DAMAGES[name].sense == "video" and name != "face"]
NOTHING = Given(other=None, text="", seed=0)

a_few = settings(max_examples=20, deadline=None)


def syllables(seconds: float = 2.0, rate: int = 16_000, hertz: float = 150.0) -> Sound:
    """A buzz of 0.2 s, a pause of 0.2 s, and so on."""
    times = np.arange(round(seconds * rate)) / rate
    wave = sum(np.sin(2 * np.pi * hertz * k * times) / k for k in range(1, 12))
    return Sound((0.1 * wave * (times % 0.4 < 0.2)).astype(np.float32), rate)


def rms(samples: NDArray[Any]) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))


def speaking(sound: Sound) -> float:
    """Root mean square of `syllables` without their pauses."""
    return rms(sound.samples[np.arange(len(sound.samples)) % (sound.rate * 2 // 5) < sound.rate // 5])


def words(count: int = 10, each: float = 0.2, aligned: bool = True) -> Alignment:
    """Word n lasts from n · each to (n + 1) · each seconds."""
    starts = np.arange(count, dtype=np.float32) * np.float32(each)
    return Alignment(
        words=np.array(["word"] * count),
        known=np.ones(count, np.bool_),
        starts=starts,
        ends=starts + np.float32(each),
        goodness=np.zeros(count, np.float32),
        aligned=aligned,
        clip_goodness=0.0,
    )


def face_at(count: int, left: float, top: float, scale: float, detected: bool = True) -> Faces:
    """The same 68 points on every frame of 160 x 120: a round jaw, and the rest within."""
    turn = np.linspace(np.pi, 0, 17)
    jaw = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    rng = np.random.default_rng(4)
    inner = np.concatenate([[[0.0, -0.4]], rng.uniform(-0.6, 0.6, (40, 2))])
    brows = np.stack([np.linspace(-0.8, 0.8, 10), np.full(10, -0.6)], axis=1)
    points = np.concatenate([jaw, brows, inner])
    landmarks = np.repeat((points * scale + (left, top))[None], count, axis=0).astype(np.float32)
    sampled = np.arange(count) % 3 == 0
    return Faces(
        size=np.array([160, 120], np.float32),
        sampled=sampled,
        detected=sampled & detected,
        boxes=np.zeros((count, 4), np.float32),
        landmarks=landmarks,
        embeddings=np.zeros((0, 128), np.float32),
        embedded=np.zeros(0, np.int32),
    )


# What is asked -----------------------------------------------------------------------------------------------------


def test_every_kind_has_steps_from_mild_to_severe_within_its_range() -> None:
    for name, damage in DAMAGES.items():
        assert name == damage.name
        steps = list(damage.steps)
        assert steps in (sorted(set(steps)), sorted(set(steps), reverse=True))
        assert len(steps) >= 4 or name == "none"
        for amount in (*steps, damage.least, damage.most):
            check_amount(name, amount)


@pytest.mark.parametrize(
    ("kind", "amount", "says"),
    [
        ("nois", 10, "Did you mean noise"),
        ("freeze", 140, "amount 140; expected 0 to 100"),
        ("noise", float("nan"), "expected -30 to 60"),
        ("none", 1, "expected 0"),
    ],
)
def test_an_unknown_kind_or_amount_is_said(tmp_path: Path, kind: str, amount: float, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        damaged(tmp_path / "clip.mp4", tmp_path / "out.mp4", [(kind, amount)], NOTHING)
    with pytest.raises(UsageError, match=says):
        resolve(f"damaged@kind={kind},amount={amount}")


def test_a_damaged_control_names_kind_amount_and_unit() -> None:
    control = resolve("damaged@kind=noise,amount=10")
    assert control.name == "damaged@amount=10.0,kind=noise"
    assert (control.method.label, control.method.kind) == ("noise 10 dB SNR", "control")
    assert resolve("damaged@kind=none,amount=0").method.label == "none"
    orders = [resolve(f"damaged@kind={n},amount={a}").method.order for n in KINDS for a in DAMAGES[n].steps]
    assert orders == sorted(set(orders))
    assert resolve("stranger").method.order < orders[0]
    assert list(METHODS).index("damaged") > list(METHODS).index("stranger")


# Sound -----------------------------------------------------------------------------------------------------------


@a_few
@given(
    kind=st.sampled_from(PURE_SOUND),
    place=st.floats(0, 1),
    count=st.sampled_from([1, 2, 7, 400, 5000, 16_000]),
    rate=st.sampled_from([8000, 16_000, 44_100, 48_000]),
    loudness=st.sampled_from([1e-4, 0.3, 1.0]),
)
def test_a_damaged_sound_keeps_length_rate_and_full_scale(
    kind: str, place: float, count: int, rate: int, loudness: float
) -> None:
    damage = DAMAGES[kind]
    samples = (loudness * np.sin(np.arange(count) * 0.05 + 1)).astype(np.float32)
    made = damage.run(Sound(samples, rate), damage.least + place * (damage.most - damage.least), NOTHING)
    assert (made.samples.shape, made.samples.dtype, made.rate) == (samples.shape, np.float32, rate)
    assert np.isfinite(made.samples).all()
    assert np.abs(made.samples).max() <= 1


def test_a_shift_moves_every_sample_and_fills_with_silence() -> None:
    sound = Sound(np.arange(1, 9).astype(np.float32) / np.float32(8), 50)  # two samples a frame
    assert shift_sound(sound, 1).samples.tolist() == [0, 0, *(np.arange(1, 7) / 8)]
    assert shift_sound(sound, -1.5).samples.tolist() == [*(np.arange(4, 9) / 8), 0, 0, 0]
    for frames in (9, -9):
        assert not shift_sound(sound, frames).samples.any()


@pytest.mark.parametrize("rate", [8000, 16_000, 44_100])
@pytest.mark.parametrize("snr", [30.0, 10.0, -5.0])
def test_noise_reaches_its_ratio_to_the_speech_without_its_pauses(rate: int, snr: float) -> None:
    sound = syllables(rate=rate)
    sound.samples[:] += np.float32(1e-3) * np.sin(np.arange(len(sound.samples))).astype(np.float32)  # so are pauses
    added = add_noise(sound, snr, seed=3).samples - sound.samples
    assert 20 * np.log10(speaking(sound) / rms(added)) == pytest.approx(snr, abs=0.1)
    assert active_level(sound) == pytest.approx(speaking(sound), rel=0.01)


def test_noise_is_white_up_to_8_khz_at_every_rate() -> None:
    sound = syllables(rate=48_000)
    power = np.abs(np.fft.rfft(add_noise(sound, 10, 3).samples - sound.samples)) ** 2
    bands = power[: len(power) // 12 * 12].reshape(12, -1).sum(axis=1)  # of 2 kHz
    assert bands[:3] == pytest.approx(np.full(3, bands[:3].mean()), rel=0.1)
    assert bands[5:].max() < 1e-3 * bands[0]


def test_louder_noise_is_the_same_noise_and_another_seed_is_another() -> None:
    sound = syllables()
    mild, hard, other = (add_noise(sound, snr, seed).samples - sound.samples for snr, seed in ((20, 1), (0, 1), (0, 2)))
    assert 10 * mild == pytest.approx(hard, abs=1e-5)
    assert abs(np.corrcoef(hard, other)[0, 1]) < 0.05


def test_a_mixture_beyond_full_scale_is_turned_down_as_a_whole() -> None:
    sound = Sound(syllables().samples * np.float32(5), 16_000)
    loud = add_noise(sound, -20, seed=1).samples.astype(np.float64)
    quiet = add_noise(Sound(sound.samples / np.float32(1000), 16_000), -20, seed=1).samples.astype(np.float64)
    assert np.abs(loud).max() == pytest.approx(1)
    assert loud / np.abs(loud).max() == pytest.approx(quiet / np.abs(quiet).max(), abs=1e-6)


@pytest.mark.parametrize("ratio", [10.0, -5.0])
def test_another_voice_reaches_its_ratio_and_is_repeated_to_the_length(ratio: float) -> None:
    sound, other = syllables(2.0), syllables(0.8, rate=8000, hertz=90.0)
    added = mix_voice(sound, ratio, other).samples - sound.samples
    assert 20 * np.log10(speaking(sound) / active_level(Sound(added, 16_000))) == pytest.approx(ratio, abs=0.1)
    assert added[:6000] == pytest.approx(added[12_800:18_800], abs=1e-5)


@pytest.mark.parametrize("semitones", [-7, -1, 2, 5, 12])
def test_pitch_moves_by_semitones_and_the_syllables_stay_in_place(semitones: int) -> None:
    sound = syllables(hertz=200.0)
    moved = pitch(sound, semitones)
    spectrum = np.abs(np.fft.rfft(moved.samples * np.hanning(len(moved.samples))))
    near = 200 * 2 ** (semitones / 12) * np.array([0.9, 1.1])
    first, last = (near * len(moved.samples) / 16_000).round().astype(int)
    lowest = (first + int(np.argmax(spectrum[first:last]))) * 16_000 / len(moved.samples)
    assert 12 * np.log2(lowest / 200) == pytest.approx(semitones, abs=0.3)
    blocks, after = (one.samples[:32_000].reshape(-1, 320).std(axis=1) for one in (sound, moved))
    assert np.corrcoef(blocks, after)[0, 1] > 0.8


def test_no_semitones_is_the_same_voice() -> None:
    assert np.array_equal(pitch(syllables(), 0).samples, syllables().samples)


def silenced(sound: Sound, per_cent: float, seed: int) -> set[int]:
    """The words of `words()` that are gone, to a twentieth of their energy."""
    after = drop_words(sound, per_cent, words(), seed).samples
    return {
        word
        for word in range(10)
        for part in [slice(word * 3200 + 400, word * 3200 + 2800)]
        if rms(after[part]) < 0.05 * rms(sound.samples[part])
    }


@a_few
@given(seed=st.integers(-(2**31), 2**31), mild=st.integers(0, 100), harder=st.integers(0, 100))
def test_as_many_words_are_dropped_as_asked_and_the_milder_ones_again(seed: int, mild: int, harder: int) -> None:
    mild, harder = sorted((mild, harder))
    tone = Sound((0.2 * np.sin(np.arange(32_000) * 0.2)).astype(np.float32), 16_000)
    tone.samples[:3200:2] *= 0.5  # so that words differ
    quiet = Sound(np.concatenate([tone.samples, np.zeros(16_000, np.float32)]), 16_000)
    few, many = silenced(quiet, mild, seed), silenced(quiet, harder, seed)
    assert len(few) == int(mild / 10 + 0.5)
    assert len(many) == int(harder / 10 + 0.5)
    assert few <= many


def test_dropped_words_leave_the_background_and_the_others_as_they_were() -> None:
    sound = syllables(4.0)
    noise = np.random.default_rng(0).normal(0, 1e-3, len(sound.samples)).astype(np.float32)
    noisy = Sound(sound.samples + noise, 16_000)
    each = words(10, 0.4)
    assert np.array_equal(drop_words(noisy, 0, each, 5).samples, noisy.samples)
    after = drop_words(noisy, 50, each, 5).samples
    kept = [n for n in range(10) if np.array_equal(after[n * 6400 + 200 : n * 6400 + 6200], noisy.samples[n * 6400 + 200 : n * 6400 + 6200])]  # fmt: skip
    assert len(kept) == 5
    for word in set(range(10)) - set(kept):
        assert 0.5e-3 < rms(after[word * 6400 + 200 : word * 6400 + 6200]) < 1.5e-3


def test_words_that_were_not_found_cannot_be_dropped() -> None:
    for each in (words(aligned=False), words(3, 0.0)):
        with pytest.raises(MediaError, match="words were not found"):
            drop_words(syllables(), 50, each, 0)
    with pytest.raises(MediaError, match="not known"):
        DAMAGES["drop"].run(syllables(), 50, NOTHING)


def test_silence_has_no_level_to_damage_by() -> None:
    silence = Sound(np.zeros(16_000, np.float32), 16_000)
    assert active_level(silence) == 0
    with pytest.raises(MediaError, match="the sound is silent"):
        add_noise(silence, 10, 0)
    with pytest.raises(MediaError, match="other voice is silent"):
        mix_voice(syllables(), 10, silence)
    assert not pitch(silence, 3).samples.any()


# Picture ---------------------------------------------------------------------------------------------------------


@a_few
@given(
    kind=st.sampled_from(PURE_PICTURE),
    place=st.floats(0, 1),
    shape=st.sampled_from([(1, 2, 2), (1, 16, 34), (4, 18, 16), (26, 8, 8)]),
)
def test_a_damaged_picture_keeps_its_shape(kind: str, place: float, shape: tuple[int, int, int]) -> None:
    damage = DAMAGES[kind]
    frames = np.random.default_rng(1).integers(0, 256, (*shape, 3), np.uint8)
    before = frames.copy()
    made = damage.run(frames, damage.least + place * (damage.most - damage.least), NOTHING)
    assert (made.shape, made.dtype) == (frames.shape, np.uint8)
    assert np.array_equal(frames, before), "what is given is not written to"


@pytest.mark.parametrize(
    ("per_cent", "shown"),
    [
        (0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (6, [0, 1, 2, 3, 4, 5, 6, 7]),
        (25, [0, 1, 2, 2, 2, 5, 6, 7]),
        (50, [0, 1, 1, 1, 1, 1, 6, 7]),
        (75, [0, 0, 0, 0, 0, 0, 0, 7]),
        (100, [0] * 8),
    ],
)
def test_freezing_repeats_the_frame_before_the_middle(per_cent: float, shown: list[int]) -> None:
    frames = np.arange(8, dtype=np.uint8)[:, None, None, None] + np.zeros((8, 2, 2, 3), np.uint8)
    assert freeze(frames, per_cent)[:, 0, 0, 0].tolist() == shown


@a_few
@given(level=st.integers(0, 255), per_cent=st.floats(0, 10))
def test_a_blurred_constant_picture_is_the_picture(level: int, per_cent: float) -> None:
    frames = np.full((2, 20, 30, 3), level, np.uint8)
    assert np.array_equal(blur(frames, per_cent), frames)


def test_a_blurred_edge_is_as_wide_as_was_asked_whatever_the_size() -> None:
    for height in (100, 200):
        frames = np.zeros((1, height, 80, 3), np.uint8)
        frames[:, :, 40:] = 255
        slope = np.diff(blur(frames, 2)[0, 50, :, 0].astype(float))
        assert slope.sum() == 255
        columns = np.arange(79) - 39.0
        assert np.sqrt((slope * columns**2).sum() / 255) == pytest.approx(0.02 * height, rel=0.05)


def test_no_blur_and_full_size_are_the_picture() -> None:
    frames = natural(3)
    assert np.array_equal(blur(frames, 0), frames)
    assert np.array_equal(rescale(frames, 100), frames)


@pytest.mark.parametrize(("run", "steps"), [(recompress, DAMAGES["recompress"].steps), (rescale, DAMAGES["rescale"].steps)])  # fmt: skip
def test_harder_compression_and_smaller_pictures_lose_more(run: Any, steps: tuple[float, ...]) -> None:
    frames = natural(10)
    errors = [float(np.square(run(frames, amount).astype(float) - frames).mean()) for amount in steps]
    assert errors == sorted(set(errors))


def test_another_face_covers_the_face_and_nothing_else() -> None:
    frames, other = np.full((6, 120, 160, 3), 50, np.uint8), np.full((4, 120, 160, 3), 200, np.uint8)
    here, there = face_at(6, 80, 60, 30), face_at(4, 60, 50, 20)
    full = lay_face(frames, 100, here, other, there)
    assert (full[:, 60, 80] == 200).all(), "the middle of the face is all the other's"
    assert (full[:, :10] == 50).all()
    assert (full[:, :, :40] == 50).all()
    half = lay_face(frames, 50, here, other, there)
    assert half[:, 60, 80].tolist() == [[125] * 3] * 6
    assert np.array_equal(lay_face(frames, 0, here, other, there), frames)


def test_another_face_lands_with_its_landmarks_on_the_landmarks() -> None:
    here, there = face_at(1, 80, 60, 30), face_at(1, 50, 70, 15)
    other = np.full((1, 120, 160, 3), 200, np.uint8)
    for x, y in there.landmarks[0, [17, 26, 30]]:  # ends of the brows, and the nose
        other[0, round(float(y)), round(float(x))] = 0
    laid = lay_face(np.full((1, 120, 160, 3), 200, np.uint8), 100, here, other, there)[0, ..., 0].astype(float)
    dark = 200 - laid
    for x, y in here.landmarks[0, [17, 26, 30]]:
        row, column = round(float(y)), round(float(x))
        near = dark[row - 4 : row + 5, column - 4 : column + 5]
        assert near.sum() > 100
        rows, columns = np.mgrid[-4:5, -4:5]
        assert abs((near * rows).sum() / near.sum() + row - y) < 1.5
        assert abs((near * columns).sum() / near.sum() + column - x) < 1.5


def test_a_larger_face_is_averaged_not_sampled() -> None:
    checks = np.zeros((1, 120, 160, 3), np.uint8)
    checks[:, ::2, ::2] = checks[:, 1::2, 1::2] = 255
    here, there = face_at(1, 80, 60, 20), face_at(1, 80, 60, 50)
    laid = lay_face(np.full((1, 120, 160, 3), 128, np.uint8), 100, here, checks, there)
    assert np.abs(laid.astype(int) - 128).max() < 5


def test_frames_in_which_no_face_is_followed_stay_as_they_are() -> None:
    frames, other = np.full((12, 120, 160, 3), 50, np.uint8), np.full((2, 120, 160, 3), 200, np.uint8)
    here, there = face_at(12, 80, 60, 30), face_at(2, 60, 50, 20)
    here.detected[3:] = False
    changed = (lay_face(frames, 100, here, other, there) != 50).any(axis=(1, 2, 3))
    assert changed.tolist() == [True] * 4 + [False] * 8
    for one, two, whose in (
        (here, face_at(2, 60, 50, 20, detected=False), "other clip"),
        (face_at(12, 80, 60, 30, detected=False), there, "the clip"),
    ):
        with pytest.raises(MediaError, match=f"no face found in .*{whose}"):
            lay_face(frames, 100, one, other, two)


# Clips -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second of drifting shapes and syllables; nobody's face and no words."""
    path = tmp_path_factory.mktemp("damage") / "clip.mp4"
    write_clip(path, natural(25), syllables(1.0))
    return path


def test_none_is_both_streams_encoded_again_and_nothing_else(clip: Path, tmp_path: Path) -> None:
    path, wanted = tmp_path / "none.mp4", tmp_path / "wanted.mp4"
    damaged(clip, path, [("none", 0)], NOTHING)
    write_clip(wanted, read_video(clip), read_audio(clip))
    assert path.read_bytes() == wanted.read_bytes()


@pytest.mark.parametrize("kind", [*PURE_SOUND, *PURE_PICTURE, "voice"])
def test_each_kind_leaves_the_other_stream_alone_and_gives_the_same_bytes_again(
    clip: Path, tmp_path: Path, kind: str
) -> None:
    none, one, again = (tmp_path / f"{name}.mp4" for name in ("none", "one", "again"))
    damaged(clip, none, [("none", 0)], NOTHING)
    for path in (one, again):
        damaged(clip, path, [(kind, DAMAGES[kind].steps[-1])], Given(other=clip, text="", seed=7))
    assert one.read_bytes() == again.read_bytes()
    assert np.array_equal(read_video(one), read_video(none)) == (DAMAGES[kind].sense == "audio")
    assert np.array_equal(read_audio(one).samples, read_audio(none).samples) == (DAMAGES[kind].sense == "video")


def test_several_kinds_are_applied_in_order(clip: Path, tmp_path: Path) -> None:
    one, wanted = tmp_path / "one.mp4", tmp_path / "wanted.mp4"
    damaged(clip, one, [("blur", 2), ("shift", 3), ("freeze", 50), ("noise", 10)], NOTHING)
    sound = add_noise(shift_sound(read_audio(clip), 3), 10, 0)
    write_clip(wanted, freeze(blur(read_video(clip), 2), 50), sound)
    assert one.read_bytes() == wanted.read_bytes()


def test_a_shift_is_that_of_the_control(clip: Path, tmp_path: Path) -> None:
    prompt = load_split("demo").pairs[0].prompt
    item = Item("one", "somebody", prompt, "", "en", clip, clip, 0, 25, 128, 96, truth=clip)
    one, other = tmp_path / "one.mp4", tmp_path / "other.mp4"
    resolve("shifted@frames=4").method.make(item, one)
    resolve("damaged@kind=shift,amount=4").method.make(item, other)
    assert np.array_equal(read_audio(one).samples, read_audio(other).samples)
    with pytest.raises(MediaError, match="needs a clip of somebody else"):
        resolve("damaged@kind=voice,amount=4").method.make(item, other)


@pytest.mark.parametrize("size", [(15, 21), (2, 2)])
def test_a_clip_without_sound_loses_nothing_but_what_needs_sound(tmp_path: Path, size: tuple[int, int]) -> None:
    import av

    silent, out = tmp_path / "silent.mkv", tmp_path / "out.mp4"
    with av.open(str(silent), "w") as file:
        stream = file.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = size[1], size[0], "bgr0"
        frame = av.VideoFrame.from_ndarray(natural(1, *size)[0], format="rgb24").reformat(format="bgr0")
        frame.pts = 0
        file.mux([*stream.encode(frame), *stream.encode(None)])
    for kind in PURE_PICTURE:
        damaged(silent, out, [(kind, DAMAGES[kind].steps[-1])], NOTHING)
        info = probe(out)
        assert (info.sample_rate, info.height, info.width) == (0, size[0] // 2 * 2, size[1] // 2 * 2)
    for kind in KINDS:
        if DAMAGES[kind].sense == "audio":
            with pytest.raises(MediaError, match=f"silent.mkv: damage {kind}: there is no sound"):
                damaged(silent, out, [(kind, DAMAGES[kind].steps[0])], NOTHING)


@pytest.fixture(scope="module")
def talkers(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two seconds of two people of the demo, and a MANIFEST.csv."""
    folder = tmp_path_factory.mktemp("talkers")
    rows = ["path,kind,person_id,transcript,language"]
    split = load_split("demo")
    for pair in (split.pairs[0], next(one for one in split.pairs if one.speaker == "edna")):
        target = demo.home / "media" / "demo" / pair.target
        write_clip(folder / f"{pair.id}.mp4", read_video(target, max_side=192)[:50], read_audio(target))
        rows.append(f'{pair.id}.mp4,clip,{pair.speaker},"{pair.transcript}",en')
    (folder / MANIFEST).write_text("\n".join(rows) + "\n")
    return folder


def test_all_kinds_at_once_leave_a_clip_of_the_same_length(talkers: Path, tmp_path: Path) -> None:
    one, other = (entry.path for entry in read_manifest(talkers))
    target = load_split("demo").pairs[0]
    path = tmp_path / "all.mp4"
    # The words first: after the other kinds they would not be found.
    amounts = [(kind, DAMAGES[kind].steps[0]) for kind in ("drop", *KINDS)]
    damaged(one, path, [*dict(amounts).items()], Given(other, " ".join(target.transcript.split()[:4]), 0))
    assert read_video(path).shape == read_video(one).shape
    assert len(read_audio(path).samples) == len(read_audio(one).samples)


def robustness(folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "bench" / "robustness.py"), str(folder), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_random_combinations_are_measured_or_refused_with_a_reason(talkers: Path) -> None:
    done = robustness(talkers, "--count", 4, "--seed", 1)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert (lines["combinations"], lines["faults"]) == ("4", "0")
    for scale in select("embedded"):
        answered = [int(lines[f"{scale.name}_{what}"]) for what in ("values", "failures")]
        assert sum(answered) + int(lines["damage_refused"]) == 4


@pytest.mark.real
@pytest.mark.slow
def test_random_combinations_on_real_people_are_measured_or_refused_with_a_reason() -> None:
    if not (MEDIA / MANIFEST).is_file():
        pytest.skip(f"no clips of real people: AVBENCH_REAL_MEDIA names no folder that has a {MANIFEST}")
    done = robustness(MEDIA, "--count", 10)
    assert done.returncode == 0, done.stdout + done.stderr
