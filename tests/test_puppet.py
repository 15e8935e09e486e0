"""The puppet: timed speech, mouths that follow it, and a picture that moves where it should and nowhere else."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avbench.clip import Sound
from avbench.errors import SplitError, UsageError
from avbench.extract.speech_energy import energy_of
from avbench.prepare.demo import picture, recipe_of, say
from avbench.puppet import (
    Motion,
    Mouth,
    Phoneme,
    Rig,
    Speech,
    Timbre,
    Voice,
    animate,
    filtered,
    match,
    motion,
    mouth_track,
    pitch_track,
    plain,
    rig,
    speak,
    timbre_of,
)
from avbench.puppet.voice import compare, voice_of
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


def test_a_language_has_a_voice_by_its_tag_or_by_the_tag_of_its_wider_language() -> None:
    tags = ("en", "en-US", "en_US", "EN-gb", "", "de-AT", "pt-BR", "zh")
    assert [voice_of(tag) for tag in tags] == ["en", "en-us", "en-us", "en", "en", "de", "pt-br", "cmn"]
    with pytest.raises(SplitError, match=r"no language 'xx'; expected one of the \d+ tags"):
        voice_of("xx")


def test_voices_are_compared_by_the_same_words_in_the_same_samples_each_time() -> None:
    names = ["en", "en+f3", "en+belinda"]
    sounds = compare("One, two.", names)
    assert list(sounds) == names
    assert len({sound.samples.tobytes() for sound in sounds.values()}) == 3
    again = compare("One, two.", names)
    assert all(again[name].samples.tobytes() == sounds[name].samples.tobytes() for name in names)
    with pytest.raises(UsageError, match="no variant 'nobody'"):
        compare("One.", ["en+nobody"])


# Pitch and timbre ------------------------------------------------------------------------------------------------


def buzz(hertz: float, rate: int, seconds: float = 1.5) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """A tone of thirty harmonics that glides a quarter octave up and down, and its fundamental at each sample."""
    moments = np.arange(int(rate * seconds)) / rate
    pitch = hertz * 2 ** (0.25 * np.sin(2 * np.pi * 1.5 * moments))
    phase = 2 * np.pi * np.cumsum(pitch) / rate
    tone = np.sum([np.sin(k * phase) / k * (k * pitch < rate / 2) for k in range(1, 31)], axis=0)
    return 0.1 * tone / tone.std(), pitch


def coloured(power: float, seed: int, rate: int = 16_000) -> NDArray[np.float32]:
    """Three seconds of noise whose power falls as frequency to that power, at an RMS of 0.1."""
    spectrum = np.fft.rfft(np.random.default_rng(seed).normal(size=3 * rate))
    noise = np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 60) ** (power / 2))
    return np.asarray(0.1 * noise / noise.std(), np.float32)


@settings(max_examples=30, deadline=None)
@given(st.floats(75, 400), st.sampled_from([8000, 16_000, 44_100]), st.integers(0, 2**32))
def test_pitch_is_found_at_14_db_without_leaps_of_an_octave(hertz: float, rate: int, seed: int) -> None:
    tone, pitch = buzz(hertz, rate)
    noise = np.random.default_rng(seed).normal(0, 0.1 * 10 ** (-14 / 20), len(tone))
    track = pitch_track(Sound((tone + noise).astype(np.float32), rate))[5:-5]
    true = pitch[np.rint(np.arange(5, 5 + len(track)) * 0.01 * rate).astype(int)]
    voiced = track > 0
    assert voiced.mean() > 0.95
    semitones = 12 * np.abs(np.log2(track[voiced] / true[voiced]))
    assert np.median(semitones) < 0.1
    assert (semitones > 1).mean() < 0.03


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_noise_of_any_colour_has_no_pitch(power: float) -> None:
    for seed in range(4):
        assert (pitch_track(Sound(coloured(power, seed), 16_000)) > 0).mean() < 0.03
    assert timbre_of(Sound(coloured(power, 9), 16_000)) is None


@pytest.mark.parametrize("samples", [0, 1, 399, 400, 16_000])
def test_silence_of_any_length_has_no_pitch(samples: int) -> None:
    track = pitch_track(Sound(np.zeros(samples, np.float32), 8000))
    assert track.shape == (samples // 80 + 1,)
    assert not track.any()


def test_a_synthesisers_pitch_is_as_it_was_set() -> None:
    line = "We are rowing in the morning rain along the river."
    levels = []
    for pitch in (0, 50, 99):
        said = speak(line, Voice("en-us+f3", pitch=pitch, inflection=0), (0.5, 6.0))
        timbre = timbre_of(Sound(said.samples, said.rate))
        assert timbre is not None
        assert timbre.semitones < 0.3  # it was told to be monotonous
        assert timbre.voiced_s > 0.9 * len(said.samples) / said.rate  # a line of voiced sounds
        levels.append(timbre.hertz)
    # espeak-ng's table of pitches is exponential, 0.5 nepers either way.
    assert 0.4 < np.log(levels[1] / levels[0]) < 0.6 > np.log(levels[2] / levels[1]) > 0.4


def in_voice(name: str, pitch: int = 50) -> tuple[Speech, Timbre]:
    said = speak(LINE, Voice(name, pitch=pitch), (3.0, 5.0))
    timbre = timbre_of(Sound(said.samples, said.rate))
    assert timbre is not None
    return said, timbre


def apart(one: Timbre, other: Timbre) -> float:
    return float(np.sqrt(np.mean(np.square(one.spectrum - other.spectrum))))


@pytest.mark.parametrize("power", [0.0, 1.0])
def test_noise_between_and_under_the_words_changes_a_timbre_little(power: float) -> None:
    said, clean = in_voice("en-us+f3")
    level = float(np.sqrt(np.mean(np.square(said.samples))))
    noise = np.resize(coloured(power, 3, said.rate), len(said.samples)) * level / 0.1 * 10 ** (-14 / 20)
    noisy = timbre_of(Sound((said.samples + noise).astype(np.float32), said.rate))
    assert noisy is not None
    assert noisy.hertz == pytest.approx(clean.hertz, rel=0.01)
    assert noisy.semitones == pytest.approx(clean.semitones, abs=0.3)
    other = in_voice("en-us+m3")[1]
    assert apart(noisy, clean) < 0.5 * apart(other, clean)


def test_playing_faster_raises_a_timbres_pitch_by_as_much() -> None:
    said, timbre = in_voice("en-us+f3")
    faster = timbre_of(Sound(said.samples, round(1.25 * said.rate)))
    assert faster is not None
    assert faster.hertz == pytest.approx(1.25 * timbre.hertz, rel=0.01)
    assert faster.semitones == pytest.approx(timbre.semitones, abs=0.2)


def test_a_filter_gives_one_voice_the_long_term_spectrum_of_another() -> None:
    (said, own), (_, other) = in_voice("en-us+f3"), in_voice("en-us+m3")
    sound = Sound(said.samples, said.rate)
    shaped = filtered(sound, own, other)
    after = timbre_of(Sound(shaped, said.rate))
    assert after is not None
    assert apart(after, other) < 0.4 * apart(own, other)
    assert after.hertz == pytest.approx(own.hertz, rel=0.01)
    assert np.square(shaped).mean() == pytest.approx(np.square(said.samples).mean(), rel=1e-3)
    unchanged = filtered(sound, own, own)  # neither coloured nor delayed
    assert np.abs(unchanged - said.samples).max() < 1e-3 * np.abs(said.samples).max()


@pytest.mark.parametrize("name", ["en-gb-x-rp+f4", "en-us+m2", "en-us-nyc+iven"])
def test_a_line_is_matched_to_a_reference_that_says_something_else(name: str) -> None:
    said = speak("The weather map was wrong again, but the garden is happy.", Voice(name, pitch=60), (1.0, 6.0))
    reference = timbre_of(Sound(said.samples, said.rate))
    assert reference is not None
    matched, other = match(LINE, "en", 4.6, reference), plain(LINE, "en", 4.6)
    assert matched.timbre is not None
    assert other.timbre is not None
    assert abs(12 * np.log2(matched.timbre.hertz / reference.hertz)) < 0.5
    assert abs(matched.timbre.semitones - reference.semitones) < 1.0
    assert apart(matched.timbre, reference) < min(2.0, 0.5 * apart(other.timbre, reference))
    assert matched.speech.phonemes[-1].end - matched.speech.phonemes[0].start <= 4.6
    again = match(LINE, "en", 4.6, reference)
    assert again.speech.samples.tobytes() == matched.speech.samples.tobytes()


def test_a_line_that_the_nearest_voice_says_too_slowly_is_given_to_one_that_is_fast_enough() -> None:
    reference = in_voice("en+linda")[1]
    (slow, fits) = (match(LINE, "en", seconds, reference) for seconds in (4.6, 2.5))
    assert slow.voice.name != fits.voice.name
    assert fits.speech.phonemes[-1].end <= 2.5 < slow.speech.phonemes[-1].end
    with pytest.raises(SplitError, match="shorten the line"):
        match(LINE, "en", 1.5, reference)


def test_phonemes_of_a_matched_line_are_where_its_sound_is() -> None:
    reference = in_voice("en-us+belinda", pitch=80)[1]
    matched = match(LINE, "en", 4.6, reference)
    assert matched.warp != 1  # the line was spoken at another speed and played back
    loud = np.abs(matched.speech.samples)
    rate = matched.speech.rate

    def level(wanted: str) -> float:
        spans = [slice(round(p.start * rate), round(p.end * rate)) for p in matched.speech.phonemes if p.name]
        names = [p.name[-1] for p in matched.speech.phonemes if p.name]
        return float(np.mean([loud[s].mean() for s, name in zip(spans, names, strict=True) if name in wanted]))

    assert level("ʌæɔɒ") > 3 * level("ptk")


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


def test_landmarks_that_pass_one_another_give_no_steps_in_the_lips() -> None:
    split = load_split("demo")
    recipe = recipe_of(split)
    image, points = picture(recipe.portraits[split.speaker("beth").face], recipe.looks["beth"], (384, 384))
    astray = points.copy()
    astray[49] = points[48] + (-3, -6)  # left of the corner of the mouth
    astray[60] = points[61] - (0.5, -4)  # one almost above the other
    lips = rig(image, astray).lips
    for contour in (lips.upper_outer, lips.upper_inner, lips.lower_inner, lips.lower_outer):
        assert abs(float(contour[0])) < 0.05 * lips.half
        assert np.abs(np.diff(contour)).max() < 0.1 * lips.half  # COLUMNS are half / 128 apart
    frames = animate(rig(image, astray), mouth(np.array([0.0, 1.0])), unmoved(2))
    assert frames.shape == (2, 384, 384, 3)


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
