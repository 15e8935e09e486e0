"""Metrics: numbers by hand, properties, and what each says of a clip that it cannot measure."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avbench.clip import DECODE
from avbench.errors import UsageError, WeightsError
from avbench.extract import FACES_DLIB, SPEECH_ENERGY, VOICE_GE2E, extract, ready, revision
from avbench.features import Alignment, Faces, Features, Record, SpeechEnergy, Voice
from avbench.metric import PROFILES, Measured, Metric, Sample, Unmeasurable
from avbench.metrics import METRICS, scale_of, select
from avbench.metrics.av_correlation import JITTER, MAX_LAG, av_correlation, lagged_correlation, mouth_change
from avbench.metrics.face_similarity import face_similarity
from avbench.metrics.landmarks import chin_drop, eye_distance, face_height, inner_opening, lip_drop, outer_opening
from avbench.metrics.lip_motion import lip_motion
from avbench.metrics.speaker_similarity import speaker_similarity
from avbench.metrics.usable import seen
from avbench.split import Prompt

MEDIA = Path(os.environ.get("AVBENCH_REAL_MEDIA", "no-such-folder"))  # has clips/NAME.mp4


def points_of(opening: NDArray[np.float64]) -> NDArray[np.float32]:
    """(T,) opening of the lips in pixels → (T, 68, 2): a face 100 pixels high, with eyes 50 pixels apart.

    Half of an opening goes into the chin, as a jaw does.
    """
    points = np.zeros((len(opening), 68, 2))
    points[:, 36:42], points[:, 42:48] = (35, 40), (85, 40)
    points[:, 27], points[:, 33] = (60, 30), (60, 70)
    points[:, 8, 0], points[:, 8, 1] = 60, 130 + opening / 2 - opening.mean() / 2
    points[:, 48:, 0] = 60
    for upper, lower in ((61, 67), (62, 66), (63, 65)):
        points[:, upper, 1], points[:, lower, 1] = 90, 90 + opening
    for upper, lower in ((50, 58), (51, 57), (52, 56)):
        points[:, upper, 1], points[:, lower, 1] = 84, 96 + opening
    return points.astype(np.float32)


def faces_with(
    landmarks: NDArray[np.float32], found: list[int] | None = None, embeddings: Any = ((1.0, 0.0),)
) -> Faces:
    """A face with these landmarks, detected in every third frame or in those given."""
    count = len(landmarks)
    sampled = np.arange(count) % 3 == 0
    detected = sampled if found is None else np.isin(np.arange(count), found)
    vectors = np.array(embeddings, np.float32).reshape(len(embeddings), len(embeddings[0]) if embeddings else 2)
    return Faces(
        size=np.array([120, 140], np.float32),
        sampled=sampled,
        detected=detected,
        boxes=np.tile(np.array([10, 10, 110, 130], np.float32), (count, 1)),
        landmarks=landmarks,
        embeddings=vectors,
        embedded=np.arange(len(vectors), dtype=np.int32) * 3,
    )


def face(*embeddings: tuple[float, ...], found: int = 5, sampled: int = 5) -> Faces:
    """A face with these embeddings, found in so many of the sampled frames."""
    landmarks = points_of(np.zeros(3 * sampled))
    return faces_with(landmarks, list(range(0, 3 * found, 3)), embeddings)


def syllables(count: int, seed: int) -> NDArray[np.float64]:
    """(count,) 0 to 1, opening and closing a few times a second at uneven times, as speech does."""
    generator = np.random.default_rng(seed)
    times = np.cumsum(generator.uniform(4, 9, size=count))
    sizes = generator.uniform(0.3, 1, size=count)
    frames = np.arange(count)[:, None]
    return np.asarray((sizes * np.exp(-(((frames - times) / 1.8) ** 2))).sum(axis=1).clip(0, 1))


def sounding(envelope: NDArray[np.float64], gain: float = 0.1) -> SpeechEnergy:
    return SpeechEnergy(rms=np.asarray(gain * (0.05 + envelope), np.float32))


def moved(series: NDArray[np.float64], frames: int) -> NDArray[np.float64]:
    """The series so many frames later, its first or last value held."""
    places = np.clip(np.arange(len(series)) - frames, 0, len(series) - 1)
    return series[places]


def sample(**sides: dict[str, Record]) -> Sample:
    clip, target, voice, face = (Features(sides.get(side, {})) for side in ("clip", "target", "voice", "face"))
    return Sample(clip, target, voice, face, prompt=Prompt("", "", "", ""), transcript="", language="en")


# The registry ----------------------------------------------------------------------------------------------------


def test_metrics_are_keyed_by_profile_and_name_in_table_order() -> None:
    assert [key for key in METRICS if key.startswith("embedded/")] == [
        "embedded/spk_sim_ge2e",
        "embedded/spk_sim_ge2e_ref",
        "embedded/face_sim_dlib",
        "embedded/face_sim_dlib_ref",
        "embedded/av_corr",
        "embedded/lip_motion_dlib",
        "embedded/gop_sphinx",
        "embedded/words_rejected_sphinx",
    ]
    for profile in PROFILES:
        scales = {key: scale_of(metric) for key, metric in METRICS.items() if metric.profile == profile}
        assert [scale.key for scale in scales.values()] == list(scales)
        assert [scale.order for scale in scales.values()] == list(range(len(scales)))
    assert {metric.profile for metric in METRICS.values()} == set(PROFILES)


def test_a_revision_names_everything_that_a_score_depends_on() -> None:
    scale = scale_of(METRICS["embedded/av_corr"])
    assert scale.revision == f"av_corr:1+{revision('faces_dlib')}+{revision('speech_energy')}+decode:{DECODE}"
    changed = dataclasses.replace(METRICS["embedded/av_corr"], protocol=2)
    assert scale_of(changed).revision == scale.revision.replace("av_corr:1", "av_corr:2")
    for profile in PROFILES:
        revisions = [scale_of(metric).revision for metric in METRICS.values() if metric.profile == profile]
        assert len(set(revisions)) == len(revisions)


def test_somebody_elses_metric_comes_last() -> None:
    theirs = dataclasses.replace(METRICS["embedded/av_corr"], name="theirs")
    assert scale_of(theirs).order == len(select("embedded"))


def test_select_keeps_table_order_and_refuses_unknown_names() -> None:
    assert [metric.name for metric in select("embedded", ["lip_motion_dlib", "spk_sim_ge2e"])] == [
        "spk_sim_ge2e",
        "lip_motion_dlib",
    ]
    assert len(select("embedded")) == len(select("embedded", [])) == 8
    with pytest.raises(UsageError, match="unknown profile 'embeded'"):
        select("embeded")
    with pytest.raises(UsageError, match="Did you mean av_corr"):
        select("embedded", ["av_cor"])


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS.keys())
def test_every_card_is_complete(metric: Metric) -> None:
    card = metric.card
    assert card.question.endswith("?")
    assert all((card.recipe, card.source, card.range, metric.label, metric.unit))
    assert len(card.confounds) >= 3
    assert metric.tolerance > 0


def test_every_metric_measures_the_sides_that_it_asks_for() -> None:
    opening = syllables(60, 1)
    faces, voice = faces_with(points_of(8 * opening)), Voice(np.array([0.6, 0.8], np.float32), 2.0, 0.5)
    one = np.ones(1, np.float32)
    words = Alignment(np.array(["said"]), np.array([True]), 0 * one, one, -one, aligned=True, clip_goodness=-1.0)
    records: dict[str, Record] = {
        "faces_dlib": faces,
        "speech_energy": sounding(opening),
        "voice_ge2e": voice,
        "words_sphinx": words,
    }
    for metric in select("embedded"):
        sides = {source: {one.name: records[one.name] for one in features} for source, features in metric.needs.items()}
        measured = metric.measure(sample(**sides))
        assert isinstance(measured, Measured)
        assert np.isfinite(measured.value)
        for value in measured.detail.values():
            assert isinstance(value, int | float | str | list)


# Faces -----------------------------------------------------------------------------------------------------------


def test_face_similarity_is_the_cosine_of_the_means() -> None:
    measured = face_similarity(face((1, 0), (1, 2)), face((2, 0), (4, 0)), "target")  # means (1, 1) and (3, 0)
    assert measured.value == pytest.approx(1 / 2**0.5)
    assert measured.detail == {
        "found": [5, 5],
        "target_found": [5, 5],
        "lowest": round(1 / 5**0.5, 4),
        "highest": 1.0,
        "without_first": round(1 / 5**0.5, 4),
    }


embeddings = st.lists(st.tuples(*[st.floats(0.1, 2)] * 3), min_size=1, max_size=5)


@given(embeddings, embeddings)
def test_a_face_is_most_similar_to_itself_and_similarity_is_symmetric(one: Any, other: Any) -> None:
    here, there = face(*one), face(*other)
    assert face_similarity(here, here, "target").value == pytest.approx(1)
    value = face_similarity(here, there, "target").value
    assert value == pytest.approx(face_similarity(there, here, "target").value)
    assert -1 <= value <= 1


def test_a_face_must_be_found_in_half_of_the_sampled_frames() -> None:
    there = face((1, 0))
    assert face_similarity(face((1, 0), found=5, sampled=10), there, "target").detail["found"] == [5, 10]
    with pytest.raises(Unmeasurable, match=r"^face found in 4 of 10 sampled frames; at least half are needed$"):
        face_similarity(face((1, 0), found=4, sampled=10), there, "target")
    with pytest.raises(Unmeasurable, match=r"^no face found in any of 10 sampled frames$"):
        face_similarity(face(found=0, sampled=10), there, "target")


def test_a_reason_says_when_it_is_the_other_sides() -> None:
    with pytest.raises(Unmeasurable, match=r"^no face found") as raised:
        face_similarity(face((1, 0)), face(found=0), "target")
    assert raised.value.source == "target"
    with pytest.raises(Unmeasurable, match=r"^no face found in any of 1 sampled frames$") as raised:
        face_similarity(face((1, 0)), face(found=0, sampled=1), "face")
    assert raised.value.source == "face"
    spoken, mute = Voice(np.array([1, 0], np.float32), 2.0, 0.5), Voice(np.zeros(2, np.float32), 0.25, 0.5)
    with pytest.raises(Unmeasurable, match=r"^0\.25 s of speech") as raised:
        speaker_similarity(spoken, mute, "voice")
    assert raised.value.source == "voice"
    with pytest.raises(Unmeasurable, match=r"^0\.25 s of speech") as raised:
        speaker_similarity(spoken, mute, "target")
    assert raised.value.source == "target"


# Voices ----------------------------------------------------------------------------------------------------------


def test_speaker_similarity_is_the_cosine() -> None:
    one, other = Voice(np.array([0.6, 0.8], np.float32), 2.0, 0.5), Voice(np.array([1, 0], np.float32), 1.234, 0.5)
    measured = speaker_similarity(one, other, "voice")
    assert measured.value == pytest.approx(0.6)
    assert measured.detail == {"speech_seconds": 2.0, "voice_speech_seconds": 1.23}
    assert speaker_similarity(other, one, "voice").value == measured.value
    assert speaker_similarity(one, one, "voice").value == pytest.approx(1)


def test_a_voice_must_speak_for_half_a_second() -> None:
    spoken = Voice(np.array([1, 0], np.float32), 0.5, 0.5)
    assert speaker_similarity(spoken, spoken, "target").value == 1
    hushed = dataclasses.replace(spoken, speech_seconds=0.499)
    with pytest.raises(Unmeasurable, match=r"^0\.50 s of speech \(peak of the sound -6 dBFS\); at least 0\.5 s"):
        speaker_similarity(hushed, spoken, "target")
    silent = Voice(np.zeros(2, np.float32), 0.0, 0.0)
    with pytest.raises(Unmeasurable, match=r"0\.00 s of speech \(peak of the sound 0, digital silence\)"):
        speaker_similarity(silent, spoken, "target")


# Lip motion ------------------------------------------------------------------------------------------------------


def test_landmark_distances_are_measured_between_the_named_points() -> None:
    points = points_of(np.array([0.0, 4.0]))
    assert inner_opening(points).tolist() == [0, 4]
    assert outer_opening(points).tolist() == [12, 16]
    assert lip_drop(points).tolist() == [26, 30]
    assert chin_drop(points).tolist() == [59, 61]
    assert face_height(points).tolist() == [99, 101]
    assert eye_distance(points).tolist() == [50, 50]


def test_lip_motion_is_the_spread_of_the_opening_in_hundredths_of_the_face() -> None:
    points = points_of(np.tile([2.0, 6.0], 30))
    points[:, 8, 1] = 130  # a chin that stays: 100 pixels below the bridge of the nose
    measured = lip_motion(faces_with(points))
    assert measured.value == pytest.approx(2)
    assert measured.detail == {"frames": [60, 60], "found": [20, 20], "opening_mean": 4.0, "opening_max": 6.0}


def test_a_mouth_that_stays_has_no_lip_motion() -> None:
    assert lip_motion(faces_with(points_of(np.full(60, 3.0)))).value == 0


@settings(max_examples=20)
@given(st.floats(0.5, 5), st.floats(-100, 100))
def test_lip_motion_does_not_depend_on_size_and_place(scale: float, shift: float) -> None:
    points = points_of(8 * syllables(60, 2))
    other = np.asarray(points * scale + shift, np.float32)
    assert lip_motion(faces_with(other)).value == pytest.approx(lip_motion(faces_with(points)).value, rel=1e-4)


def test_landmarks_are_believed_across_one_missed_detection_only() -> None:
    points = points_of(np.zeros(30))
    assert seen(faces_with(points, [0, 3, 9, 12])).nonzero()[0].tolist() == list(range(15))
    assert seen(faces_with(points, [0, 9, 12])).nonzero()[0].tolist() == [0, 9, 10, 11, 12, 13, 14]
    assert seen(faces_with(points, [3, 27])).nonzero()[0].tolist() == [1, 2, 3, 27, 28, 29]
    assert seen(faces_with(points)).all()
    assert not seen(faces_with(points, [])).any()


def test_frames_without_the_face_do_not_count_as_motion() -> None:
    points = points_of(np.full(90, 3.0))
    points[60:] = points_of(np.linspace(0, 80, 30))  # what landmarks do where no face is
    assert lip_motion(faces_with(points, list(range(0, 60, 3)))).value == 0


def test_less_than_a_second_of_a_face_has_no_movement_to_measure() -> None:
    points = points_of(8 * syllables(24, 1))
    with pytest.raises(Unmeasurable, match=r"^the face can be followed in 24 of 24 frames; at least 25 \(1 s\)"):
        lip_motion(faces_with(points))
    with pytest.raises(Unmeasurable, match="followed in 24 of 24"):
        av_correlation(faces_with(points), sounding(syllables(24, 1)))


# Mouth and sound -------------------------------------------------------------------------------------------------


def test_lagged_correlation_is_a_sum_over_the_overlap_divided_by_the_whole() -> None:
    mouth, sound = np.array([0.0, 3.0, 0.0, -3.0]), np.array([0.0, 0.0, 1.0, -1.0])
    # Both have mean 0; the size is √18 · √2 = 6. A sound one frame later (entry 0) pairs 3 · 1 + 0 · -1.
    assert lagged_correlation(mouth, sound, 1) == pytest.approx([3 / 6, 3 / 6, -3 / 6])
    assert lagged_correlation(mouth, np.ones(4), 1).tolist() == [0, 0, 0]


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(-10, 10))
def test_av_offset_finds_a_shift_of_the_sound_and_is_negative_where_it_is_late(seed: int, late: int) -> None:
    opening = syllables(121, seed)
    faces = faces_with(points_of(8 * opening))
    measured = av_correlation(faces, sounding(moved(opening, late)))
    assert abs(measured.detail["av_offset"] + late) <= 1
    assert measured.detail["at_offset"] > 0.5


def test_a_mouth_in_step_with_the_sound_scores_high_and_less_the_further_it_is_off() -> None:
    values = []
    for late in (0, 2, 5, 12):
        each = [
            av_correlation(faces_with(points_of(8 * opening)), sounding(moved(opening, late))).value
            for opening in (syllables(121, seed) for seed in range(12))
        ]
        values.append(float(np.mean(each)))
    assert values[0] > 0.7
    assert values[0] > values[1] + 0.1 > values[2] + 0.1
    assert abs(values[3]) < 0.3


@settings(max_examples=20)
@given(st.floats(0.02, 1), st.floats(0.5, 4))
def test_neither_loudness_nor_size_of_the_picture_matters(gain: float, scale: float) -> None:
    opening = syllables(100, 7)
    points = points_of(8 * opening)
    value = av_correlation(faces_with(points), sounding(opening, 0.1)).value
    other = faces_with(np.asarray(points * scale, np.float32))
    assert av_correlation(other, sounding(opening, gain)).value == pytest.approx(value, abs=1e-3)


def test_a_mouth_that_does_not_move_scores_zero_and_has_no_offset() -> None:
    measured = av_correlation(faces_with(points_of(np.full(121, 3.0))), sounding(syllables(121, 1)))
    assert measured.value == pytest.approx(0, abs=1e-12)
    assert measured.detail["mouth_movement"] == 0
    assert "av_offset" not in measured.detail


@settings(max_examples=20)
@given(st.integers(0, 1000))
def test_jitter_of_a_frozen_mouth_is_not_taken_for_movement_even_if_it_fits(seed: int) -> None:
    envelope = syllables(121, seed)
    moving = av_correlation(faces_with(points_of(8 * envelope)), sounding(envelope))
    frozen = av_correlation(faces_with(points_of(3 + 0.1 * envelope)), sounding(envelope))
    assert moving.detail["mouth_movement"] > 100 * JITTER > frozen.detail["mouth_movement"]
    assert frozen.value < 0.1 < 0.5 < moving.value
    assert "av_offset" not in frozen.detail


def test_a_steady_sound_goes_with_no_movement() -> None:
    faces = faces_with(points_of(8 * syllables(121, 1)))
    measured = av_correlation(faces, sounding(np.full(121, 0.5)))
    assert measured.value == pytest.approx(0, abs=1e-12)
    assert "av_offset" not in measured.detail
    rippling = av_correlation(faces, sounding(5 + 0.3 * syllables(121, 1)))
    assert rippling.value < 0.1


def test_silence_cannot_be_correlated() -> None:
    faces = faces_with(points_of(8 * syllables(60, 1)))
    with pytest.raises(Unmeasurable, match=r"^silence: at most 0, digital silence between 300 and 3400 Hz"):
        av_correlation(faces, SpeechEnergy(np.zeros(60, np.float32)))
    with pytest.raises(Unmeasurable, match=r"^silence: at most -80 dBFS"):
        av_correlation(faces, SpeechEnergy(np.full(60, 1e-4, np.float32)))


def test_a_face_that_comes_after_the_sound_is_over_cannot_be_compared_with_it() -> None:
    faces = faces_with(points_of(8 * syllables(121, 3)))
    late = dataclasses.replace(faces, detected=faces.sampled & (np.arange(121) >= 55))
    with pytest.raises(Unmeasurable, match=r"^the face can be followed in \d+ of the 50 frames that have sound"):
        av_correlation(late, sounding(syllables(121, 3)[:50]))


def test_picture_and_sound_are_compared_where_both_are() -> None:
    opening = syllables(121, 3)
    whole = av_correlation(faces_with(points_of(8 * opening[:100])), sounding(opening[:100]))
    assert av_correlation(faces_with(points_of(8 * opening[:100])), sounding(opening)) == whole
    assert whole.detail["frames"] == [100, 100]
    with pytest.raises(Unmeasurable, match=r"^20 frames of picture and sound together"):
        av_correlation(faces_with(points_of(8 * opening)), sounding(opening[:20]))


def test_frames_without_the_face_are_bridged_without_movement() -> None:
    opening = syllables(121, 4)
    points = points_of(8 * opening)
    noise = np.random.default_rng(4).normal(0, 30, points[60:80].shape)
    broken = points.copy()
    broken[60:80] += noise.astype(np.float32)
    found = [index for index in range(0, 121, 3) if not 60 <= index < 80]
    bridged = av_correlation(faces_with(broken, found), sounding(opening))
    assert bridged.value > 0.5
    assert av_correlation(faces_with(broken), sounding(opening)).value < bridged.value - 0.2
    believed = seen(faces_with(points, found))
    assert mouth_change(broken, believed)[0] == pytest.approx(mouth_change(points, believed)[0])


def test_the_range_of_lags_is_fifteen_frames_each_way() -> None:
    assert MAX_LAG == 15
    opening = syllables(121, 5)
    assert len(lagged_correlation(opening, opening, MAX_LAG)) == 31


# Real people -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def people() -> dict[str, Features]:
    """Two clips of one speaker of the GRID corpus and one of another."""
    names = ("grid_s1_swwp4p", "grid_s1_pgae1a", "grid_brbk7n")
    paths = {name: MEDIA / "clips" / f"{name}.mp4" for name in names}
    if not all(path.is_file() for path in paths.values()):
        pytest.skip("no clips of real people: AVBENCH_REAL_MEDIA names no folder that has them")
    try:
        ready(["faces_dlib", "voice_ge2e", "speech_energy"])
    except WeightsError as error:
        pytest.skip(f"no networks: {str(error).splitlines()[0][:120]}")
    return {
        name: Features(extract(path, "video", ["faces_dlib"]) | extract(path, "audio", ["voice_ge2e", "speech_energy"]))
        for name, path in paths.items()
    }


@pytest.mark.real
def test_real_faces_and_voices_are_nearer_to_themselves_than_to_others(people: dict[str, Features]) -> None:
    one, again, other = people.values()
    same, different = (face_similarity(one[FACES_DLIB], it[FACES_DLIB], "target").value for it in (again, other))
    assert same > 0.95 > different + 0.05
    same, different = (speaker_similarity(one[VOICE_GE2E], it[VOICE_GE2E], "target").value for it in (again, other))
    assert same > different + 0.1


@pytest.mark.real
def test_real_mouths_move_with_their_own_sound(people: dict[str, Features]) -> None:
    for one in people.values():
        faces, energy = one[FACES_DLIB], one[SPEECH_ENERGY]
        measured = av_correlation(faces, energy)
        assert measured.value > 0.4
        assert abs(measured.detail["av_offset"]) <= 2
        for late in (-10, 10):
            rms = moved(energy.rms.astype(np.float64), late).astype(np.float32)
            assert av_correlation(faces, SpeechEnergy(rms)).value < measured.value
        assert 1 < lip_motion(faces).value < 6
