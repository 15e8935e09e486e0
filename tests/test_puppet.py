"""The puppet: timed speech, mouths that follow it, and a picture that moves where it should and nowhere else."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avbench.clip import Sound
from avbench.errors import UsageError
from avbench.extract.speech_energy import energy_of
from avbench.prepare.demo import picture, recipe_of, say
from avbench.puppet import Motion, Mouth, Phoneme, Rig, Speech, Voice, animate, motion, mouth_track, rig, speak
from avbench.split import load_split

LINE = "Mother brought a big bag of apples home, before the bus came by."
VOICE = Voice("en-us+f3")
FRAMES = 121


@pytest.fixture(scope="module")
def speech() -> Speech:
    return speak(LINE, VOICE, (3.0, 5.0))


@pytest.fixture(scope="module", params=["edna", "beth"])  # closed lips, and a smile with teeth
def puppet(request: pytest.FixtureRequest) -> Rig:
    split = load_split("demo")
    recipe = recipe_of(split)
    return rig(*picture(recipe.portraits[split.speaker(request.param).face], recipe.looks[request.param], (384, 384)))


def mouth(opening: NDArray[np.float64]) -> Mouth:
    rest = np.zeros(len(opening))
    return Mouth(opening=opening, width=rest, bite=rest, tongue=rest)


def unmoved(frames: int) -> Motion:
    rest = np.zeros(frames, np.float32)
    return Motion(sway=rest, nod=rest, turn=rest, roll=rest, lids=rest)


# Speech ----------------------------------------------------------------------------------------------------------


def test_phonemes_follow_one_another_within_the_sound(speech: Speech) -> None:
    assert speech.phonemes[0].start == 0
    for one, other in zip(speech.phonemes, speech.phonemes[1:], strict=False):
        assert one.start < one.end == other.start
    assert speech.phonemes[-1].end <= len(speech.samples) / speech.rate <= speech.phonemes[-1].end + 0.1
    assert [phoneme.name for phoneme in speech.phonemes[:3]] == ["m", "ˈʌ", "ð"]


def test_phonemes_are_where_the_sound_is(speech: Speech) -> None:
    def level(wanted: str) -> float:
        spans = [slice(*(round(t * speech.rate) for t in p[1:])) for p in speech.phonemes if p.name[-1:] in wanted]
        return float(
            np.mean([np.abs(speech.samples[span]).mean() for span in spans if wanted and span.stop > span.start])
        )

    assert level("ʌæ") > 4 * level("ptk")


@pytest.mark.parametrize("voice", [VOICE, Voice("en-029+f5")])  # the second has a creak from a random generator
def test_the_same_request_gives_the_same_samples_in_another_second(voice: Voice) -> None:
    first = speak(LINE, voice, (3.0, 5.0))
    time.sleep(1.1)  # the generator's seed was the time in seconds
    again = speak(LINE, voice, (3.0, 5.0))
    assert again.samples.tobytes() == first.samples.tobytes()
    assert again.phonemes == first.phonemes


def test_two_voices_differ(speech: Speech) -> None:
    other = speak(LINE, Voice("en-us+m3", pitch=20), (3.0, 5.0))
    size = min(len(other.samples), len(speech.samples))
    assert abs(float(np.corrcoef(other.samples[:size], speech.samples[:size])[0, 1])) < 0.5


def test_a_line_is_fitted_by_the_speed_of_speaking(speech: Speech) -> None:
    assert speech.words_per_minute == VOICE.words_per_minute
    slower = speak(LINE, VOICE, (4.3, 4.6))
    assert 4.3 <= slower.phonemes[-1].end <= 4.6
    assert slower.words_per_minute < VOICE.words_per_minute


@pytest.mark.parametrize(
    ("line", "voice", "says"),
    [
        (LINE, Voice("en-us+nobody"), "no variant 'nobody'"),
        (LINE, Voice("xx"), "no voice 'xx'"),
        (" ".join([LINE] * 3), VOICE, "shorten the line"),
        ("Hi.", VOICE, "lengthen the line"),
        ("...", VOICE, "can be spoken"),
    ],
)
def test_what_cannot_be_spoken_is_refused_with_its_reason(line: str, voice: Voice, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        speak(line, voice, (3.8, 4.6))


# Mouths ----------------------------------------------------------------------------------------------------------


def test_lips_meet_on_p_b_m_and_rest_in_silence() -> None:
    sound, _, phonemes = say(LINE, VOICE, 4.84)
    opening = mouth_track(phonemes, sound, FRAMES).opening
    vowels = [phoneme for phoneme in phonemes if phoneme.name[-1:] in "ʌæɔː"]
    assert len(vowels) > 5
    assert max(opening[round(25 * (vowel.start + vowel.end) / 2)] for vowel in vowels) > 0.5
    lips = [phoneme for phoneme in phonemes if phoneme.name and phoneme.name in "pbm"]
    assert len(lips) > 7
    for phoneme in lips:
        frames = opening[int(25 * phoneme.start - 1) : int(25 * phoneme.end + 2)]
        assert frames.min() < 0.06, phoneme
    assert opening[0] == pytest.approx(0, abs=0.01)
    assert opening[-1] == pytest.approx(0, abs=0.01)


def test_mouths_are_in_time_with_the_sound() -> None:
    sound, _, phonemes = say(LINE, VOICE, 4.84)
    opening = mouth_track(phonemes, sound, FRAMES).opening
    rms = energy_of(sound).rms[:FRAMES].astype(float)
    loudness = np.diff(np.log(np.maximum(rms, 0.1 * np.percentile(rms, 95))))
    changes = np.diff(opening)
    by_lag = {lag: float(np.corrcoef(changes[6:-6], np.roll(loudness, lag)[6:-6])[0, 1]) for lag in range(-5, 6)}
    assert max(by_lag, key=by_lag.__getitem__) == 0
    assert by_lag[0] > 0.5
    assert abs(by_lag[1] - by_lag[-1]) < 0.3  # the peak is near the middle of the frame


LETTERS = st.text("pbmfvθðtdnlszʃʒrɹkɡhjwiɪeɛæaɑʌəɒɔouʊˈːq?", max_size=4)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(LETTERS, st.floats(0.01, 0.3)), max_size=12), st.integers(0, 2**32))
def test_any_phonemes_give_shapes_within_their_range(sounds: list[tuple[str, float]], seed: int) -> None:
    phonemes, moment = [], 0.1
    for name, lasts in sounds:
        phonemes.append(Phoneme(name, moment, moment + lasts))
        moment += lasts
    noise = np.random.default_rng(seed).normal(0, 0.1, 8000 * 4).astype(np.float32)
    track = mouth_track(tuple(phonemes), Sound(noise, 8000), 50)
    for amount, least in ((track.opening, 0), (track.width, -1), (track.bite, 0), (track.tongue, 0)):
        assert amount.shape == (50,)
        assert least - 1e-9 <= amount.min()
        assert amount.max() <= 1 + 1e-9


# Pictures --------------------------------------------------------------------------------------------------------


def test_a_picture_of_closed_lips_at_rest_is_the_picture(puppet: Rig) -> None:
    (frame,) = animate(puppet, mouth(np.zeros(1)), unmoved(1))
    change = np.abs(frame.astype(int) - puppet.picture)
    rows, columns = puppet.lips.block
    if puppet.lips.smiles:
        change[rows, columns] = 0  # shut for the occasion
    assert change.mean() < 1.5


def test_an_opening_mouth_moves_nothing_above_the_nose_or_away_from_the_face(puppet: Rig) -> None:
    shut, wide = animate(puppet, mouth(np.array([0.0, 1.0])), unmoved(2)).astype(int)
    change = np.abs(wide - shut).max(axis=2)
    rows, columns = puppet.lips.block
    assert change[rows, columns].max() > 80
    change[rows, columns] = 0
    assert change.max() == 0
    assert np.abs(wide - shut)[: int(puppet.lips.axes.centre[1] + puppet.lips.nose) - 2].max() == 0


def test_a_landmark_network_sees_the_mouth_open_as_far_as_it_was_told(puppet: Rig) -> None:
    pytest.importorskip("dlib", reason="needs dlib")
    from avbench.extract.faces_dlib import faces_of
    from avbench.metrics.landmarks import face_height, inner_opening

    told = 0.5 - 0.5 * np.cos(np.arange(24) / 3)
    faces = faces_of(animate(puppet, mouth(told), unmoved(24)))
    assert faces.detected[faces.sampled].all()
    seen = inner_opening(faces.landmarks) / face_height(faces.landmarks)
    assert np.corrcoef(told, seen)[0, 1] > 0.95
    assert seen[told < 0.02].max() < 0.02
    assert 0.06 < seen.max() < 0.13


def test_heads_move_a_little_and_eyes_blink(puppet: Rig) -> None:
    for seed in range(20):
        moves = motion(puppet, FRAMES, seed)
        assert moves.lids[0] == moves.sway[0] == moves.roll[0] == 0
        assert 0.002 * puppet.height < np.ptp(moves.sway) < 0.12 * puppet.height
        assert np.abs(moves.roll).max() < 0.1
        blinks = int(((moves.lids[1:] > 0.5) & (moves.lids[:-1] <= 0.5)).sum())
        assert 1 <= blinks <= 3
    lids = np.array([0, 1], np.float32)
    rest = np.zeros(2, np.float32)
    opened, shut = animate(puppet, mouth(np.zeros(2)), Motion(rest, rest, rest, rest, lids)).astype(int)
    for eye in puppet.eyes:
        assert np.abs(opened - shut)[eye.block].mean() > 2


def test_the_same_motion_gives_the_same_frames(puppet: Rig) -> None:
    moves = motion(puppet, 3, 5)
    frames = animate(puppet, mouth(np.array([0.0, 0.4, 0.8])), moves)
    assert animate(puppet, mouth(np.array([0.0, 0.4, 0.8])), motion(puppet, 3, 5)).tobytes() == frames.tobytes()
    assert frames[0].tobytes() != frames[1].tobytes()
