"""Lip sync: the networks, cepstra, tracks and distances against what the published code answers, and what must hold anyway."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from avbench.clip import Sound
from avbench.errors import WeightsError
from avbench.extract import lips_syncnet
from avbench.extract.engine import Engine
from avbench.extract.lips_syncnet import (
    LIPS_SYNCNET,
    SOUND_SYNCNET,
    bridge,
    detect,
    detect_every,
    lip_embeddings,
    lip_tracks,
    lips_every8_of,
    lips_of,
    scale_of,
    sound_embeddings,
    sound_of,
)
from avbench.extract.mfcc import mfcc
from avbench.extract.nets.loading import numbered, read_pickled, read_safetensors
from avbench.extract.nets.s3fd import (
    S3FD,
    CentredFace,
    Found,
    faces_in,
    gathered,
    load_s3fd,
    map_sizes,
    priors,
    suppress,
    to_pixels,
)
from avbench.extract.nets.syncnet import SyncNet, halves, load_syncnet, untrained_syncnet
from avbench.extract.tracks import crops, follow, overlap, region, squares
from avbench.features import Feature, Features, LipTracks, SoundWindows, SyncTracks
from avbench.metric import Measured, Metric, Sample, Unmeasurable
from avbench.metrics.lip_sync import (
    LSE_C,
    LSE_C_EVERY8,
    LSE_D,
    LSE_SUM,
    Sync,
    as_published,
    best_track,
    distances,
    recoded_syncs,
    sync_of,
    track_syncs,
)
from avbench.split import Prompt

from .golden import audio, fill, frames, golden

UNTRAINED = Engine(untrained=True)
FULL = Engine()
KNOWN = golden("syncnet")
KNOWN_FACES = golden("s3fd")


def filled(module: torch.nn.Module) -> torch.nn.Module:
    """The module with the parameters that the golden values were made with."""
    state = fill({name: value.shape for name, value in module.state_dict().items()})
    module.load_state_dict({name: torch.from_numpy(np.asarray(value)) for name, value in state.items()})
    return module.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def syncnet() -> SyncNet:
    return cast(SyncNet, filled(SyncNet()))


@pytest.fixture(scope="module")
def s3fd() -> S3FD:
    return cast(S3FD, filled(S3FD()))


@pytest.fixture
def as_golden(syncnet: SyncNet, monkeypatch: pytest.MonkeyPatch) -> None:
    """Embeddings come from the network of the golden values, folded as it always is."""
    folded = halves(syncnet)
    monkeypatch.setattr(lips_syncnet, "_network", lambda engine: folded)


# Cepstra ---------------------------------------------------------------------------------------------------------


def test_cepstra_are_those_of_python_speech_features() -> None:
    known, found = KNOWN["mfcc_probe"], mfcc(audio(25600))
    assert list(found.shape) == known["shape"]
    for row, name in ((0, "row0"), (50, "row50"), (-1, "last_row")):
        np.testing.assert_allclose(found[row], known[name], rtol=0, atol=1e-9)
    assert found.sum() == pytest.approx(known["sum"], abs=1e-6)
    assert np.square(found).sum() == pytest.approx(known["sumsq"], abs=1e-5)


def test_silence_and_the_shortest_sounds_have_cepstra() -> None:
    assert mfcc(np.zeros(0, np.int16)).shape == (0, 13)
    assert [len(mfcc(np.zeros(count, np.int16))) for count in (1, 400, 401, 560, 561)] == [1, 1, 2, 2, 3]
    silent = mfcc(np.zeros(1600, np.int16))
    np.testing.assert_allclose(silent[:, 0], np.log(2.0**-52))
    np.testing.assert_allclose(silent[:, 1:], 0, atol=1e-10)  # all bands alike


# SyncNet ---------------------------------------------------------------------------------------------------------


def test_syncnet_has_the_names_and_shapes_of_the_published_file() -> None:
    state = SyncNet().state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == KNOWN["state_dict_keys"]
    assert sum(value.numel() for value in SyncNet().parameters()) == KNOWN["n_params"]


def test_each_layer_of_syncnet_answers_as_published(syncnet: SyncNet) -> None:
    lips = torch.from_numpy(frames(5, 224, 224)).permute(3, 0, 1, 2)[None].float()
    sounds = torch.from_numpy(mfcc(audio(25600))[:20].T.copy())[None, None].float()
    seen = {}
    with torch.inference_mode():
        for stack, x in (("netcnnlip", lips), ("netcnnaud", sounds)):
            for index, layer in enumerate(getattr(syncnet, stack)):
                x = layer(x.clone())  # rectifiers work in place
                seen[f"{stack}.{index} {type(layer).__name__}"] = x.clone()
    assert set(seen) == set(KNOWN["levelA_stages"])
    for name, known in KNOWN["levelA_stages"].items():
        assert list(seen[name].shape) == known["shape"]
        assert float(seen[name].mean()) == pytest.approx(known["mean"], rel=1e-4, abs=1e-5), name
        assert float(seen[name].double().std()) == pytest.approx(known["std"], rel=1e-2), name


def test_one_window_of_lips_and_sound_is_embedded_as_published(syncnet: SyncNet) -> None:
    known = KNOWN["levelA"]
    with torch.inference_mode():
        lips = syncnet.lips(torch.from_numpy(frames(5, 224, 224)).permute(3, 0, 1, 2)[None].float())[0].numpy()
        sounds = syncnet.sounds(torch.from_numpy(mfcc(audio(25600))[:20].T.copy())[None, None].float())[0].numpy()
    for found, name in ((lips, "lip_window0"), (sounds, "aud_window0")):
        np.testing.assert_allclose(found[:8], known[name]["first8"], rtol=0, atol=1e-4)
        assert float(np.linalg.norm(found)) == pytest.approx(known[name]["norm"], abs=1e-4)
    found = distances(lips[None], sounds[None], shift=0)[0, 0]
    assert found == pytest.approx(known["pairwise_distance_eps1e-6"], abs=1e-4)


@pytest.mark.usefixtures("as_golden")
@pytest.mark.parametrize("case", ["levelB_T40_exact", "levelB_T61_short_audio", "levelB_T30_vshift10"])
def test_a_clip_is_scored_as_published(case: str) -> None:
    known = KNOWN[case]
    lips = lip_embeddings(frames(known["n_frames"], 224, 224), FULL)
    sounds = sound_embeddings(audio(known["n_samples"]), FULL)
    windows = min(known["n_frames"] - 5, len(sounds))
    assert windows == known["n_windows"]
    lips, sounds = lips[:windows], sounds[:windows]
    for rows, name in ((lips, "im_feat"), (sounds, "cc_feat")):
        for row, place in ((rows[0], "0"), (rows[-1], "_last")):
            np.testing.assert_allclose(row[:8], known[name + place]["first8"], rtol=0, atol=1e-4)
    table = distances(lips, sounds, known["vshift"])
    np.testing.assert_allclose(table.mean(axis=0), known["mean_dist_per_shift"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(table[0, :4], known["dists_row0_first4"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(table[-1, -4:], known["dists_lastrow_last4"], rtol=0, atol=1e-4)
    distance, confidence, offset = sync_of(lips, sounds, known["vshift"])
    assert distance == pytest.approx(known["LSE_D"], abs=1e-4)
    assert confidence == pytest.approx(known["LSE_C"], abs=1e-4)
    assert offset == known["offset"]


@pytest.mark.usefixtures("as_golden")
def test_folding_and_chunks_change_an_embedding_by_rounding_alone(syncnet: SyncNet) -> None:
    shown = frames(13, 224, 224)  # nine windows: one chunk and a remainder
    windows = torch.from_numpy(shown).float().unfold(0, 5, 1).permute(0, 3, 4, 1, 2)
    with torch.inference_mode():
        plain = syncnet.lips(windows).numpy()
    np.testing.assert_allclose(lip_embeddings(shown, FULL), plain, rtol=0, atol=2e-5)


def test_an_embedding_does_not_depend_on_what_else_is_in_the_clip() -> None:
    shown, sound = frames(30, 224, 224), audio(40 * 640)
    assert np.array_equal(lip_embeddings(shown[7:23], UNTRAINED), lip_embeddings(shown, UNTRAINED)[7:19])
    early = sound_embeddings(sound[: 20 * 640], UNTRAINED)
    assert np.array_equal(early, sound_embeddings(sound, UNTRAINED)[:15])


@pytest.mark.parametrize(("count", "windows"), [(0, 0), (4, 0), (5, 1), (12, 8), (13, 9)])
def test_n_frames_have_n_less_4_windows_of_lips(count: int, windows: int) -> None:
    assert lip_embeddings(frames(count, 224, 224), UNTRAINED).shape == (windows, 64)


@pytest.mark.parametrize(("samples", "windows"), [(0, 0), (399, 0), (3839, 0), (3840, 1), (25600, 35)])
def test_a_sound_has_five_windows_less_than_video_frames(samples: int, windows: int) -> None:
    assert sound_embeddings(audio(samples), UNTRAINED).shape == (windows, 64)


def test_a_sound_is_read_as_16_bit_values() -> None:
    values = audio(16_000)
    found = sound_of(Sound((values / 2**15).astype(np.float32), 16_000), UNTRAINED)
    assert np.array_equal(found.embeddings, sound_embeddings(values, UNTRAINED))
    assert found.samples == 16_000
    assert found.peak == pytest.approx(np.abs(values).max() / 2**15)
    loud = sound_of(Sound(np.array([1.5, -1.5] * 8_000, np.float32), 16_000), UNTRAINED)
    clipped = np.array([32767, -32768] * 8_000, np.int16)
    assert np.array_equal(loud.embeddings, sound_embeddings(clipped, UNTRAINED))


# Distances -------------------------------------------------------------------------------------------------------


def waves(shift: int, count: int = 60) -> NDArray[np.float32]:
    """(count, 32) embeddings made by rule, from row `shift` on."""
    rows, k = np.arange(shift, shift + count)[:, None], np.arange(16)
    made = np.concatenate([4 * np.sin(0.37 * rows * (k + 1) + 0.1 * k**2), np.full((count, 16), 2.0)], axis=1)
    return made.astype(np.float32)


@pytest.mark.parametrize("shift", [-4, 0, 3])
def test_the_sign_of_the_offset_is_the_published_one(shift: int) -> None:
    known = KNOWN["levelC_offset_logic"][f"content_shift_{shift:+d}"]
    distance, confidence, offset = sync_of(waves(0), waves(shift))
    assert offset == known["reported_offset"] == shift
    assert distance == pytest.approx(known["LSE_D"], abs=1e-4)
    assert confidence == pytest.approx(known["LSE_C"], abs=1e-4)


@given(st.integers(-10, 10))
@settings(max_examples=21)
def test_moving_the_sound_moves_the_offset_as_far(shift: int) -> None:
    moved = np.roll(waves(0), -shift, axis=0)
    assert sync_of(waves(0), moved)[2] == shift


def vectors(rows: int) -> Any:
    return arrays(np.float64, (rows, 6), elements=st.floats(-10, 10, width=32))


@given(vectors(9), vectors(9), st.permutations(range(6)))
def test_the_order_of_an_embedding_s_entries_does_not_matter(
    lips: NDArray[np.float64], sounds: NDArray[np.float64], order: list[int]
) -> None:
    np.testing.assert_allclose(distances(lips[:, order], sounds[:, order]), distances(lips, sounds), atol=1e-12)


@given(vectors(9), vectors(9))
def test_distances_are_those_of_every_pair_and_of_silence_beyond_the_ends(
    lips: NDArray[np.float64], sounds: NDArray[np.float64]
) -> None:
    table = distances(lips, sounds, shift=3)
    for window in range(9):
        for column in range(7):
            place = window + column - 3
            other = sounds[place] if 0 <= place < 9 else np.zeros(6)
            assert table[window, column] == pytest.approx(np.sqrt(np.square(lips[window] - other + 1e-6).sum()))


def test_lips_and_sounds_of_different_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="same windows"):
        distances(np.zeros((5, 3)), np.zeros((6, 3)))


# S3FD ------------------------------------------------------------------------------------------------------------


def heads_of(s3fd: S3FD, picture: NDArray[np.uint8]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    image = torch.from_numpy(picture).float() - torch.tensor([123.0, 117.0, 104.0])
    with torch.inference_mode():
        return s3fd.heads(image.permute(2, 0, 1)[None])


def test_s3fd_has_the_names_and_shapes_of_the_published_file(s3fd: S3FD) -> None:
    state = s3fd.state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == KNOWN_FACES["keys"]
    assert sum(value.numel() for value in state.values()) == KNOWN_FACES["n_params"]


def test_s3fd_and_what_follows_it_answer_as_published(s3fd: S3FD) -> None:
    height, width, _ = KNOWN_FACES["input"]["shape"]
    picture = frames(1, height, width)[0]
    heads = heads_of(s3fd, picture)
    for index, maps in enumerate(heads):
        for name, found in zip(("conf", "loc"), maps, strict=True):
            known = KNOWN_FACES["heads"][f"{name}{index}"]
            assert list(found.shape) == known["shape"]
            assert float(found.mean()) == pytest.approx(known["mean"], abs=1e-3)
            assert float(found.std()) == pytest.approx(known["std"], abs=1e-3)
            np.testing.assert_allclose(found.flatten()[:4], known["first4"], rtol=0, atol=1e-3)
    answer = gathered(heads)
    scores, offsets = answer.scores[0].numpy(), answer.offsets[0].numpy()
    boxes = faces_in(scores, offsets, (height, width), threshold=0.05)
    assert len(boxes) == KNOWN_FACES["n_conf_gt_0.05_after_nms"]
    known = np.array(KNOWN_FACES["detect_first5"])
    np.testing.assert_allclose(boxes[:5], known[:, [1, 2, 3, 4, 0]], rtol=0, atol=1e-3)


@pytest.mark.parametrize(("name", "scale"), [("scale1", 1.0), ("scale0.25", 0.25)])
def test_faces_are_found_as_published(s3fd: S3FD, monkeypatch: pytest.MonkeyPatch, name: str, scale: float) -> None:
    known = KNOWN_FACES[f"detect_faces_conf0.5_{name}"]
    monkeypatch.setattr(lips_syncnet, "_detector", lambda engine: s3fd)
    monkeypatch.setattr(lips_syncnet, "MIN_SCORE", 0.5)
    (boxes,) = detect(frames(1, 256, 320), FULL, scale)
    assert len(boxes) == known["n"]
    np.testing.assert_allclose(boxes[:3], known["first3"], rtol=0, atol=1e-3)


@pytest.mark.parametrize(
    ("height", "width", "enough"), [(27, 60, False), (40, 20, False), (1, 1, False), (28, 30, True)]
)
def test_a_picture_that_is_too_small_for_the_detector_shows_no_face(
    s3fd: S3FD, monkeypatch: pytest.MonkeyPatch, height: int, width: int, enough: bool
) -> None:
    monkeypatch.setattr(lips_syncnet, "_detector", lambda engine: s3fd)
    monkeypatch.setattr(lips_syncnet, "MIN_SCORE", 0.0)
    found = detect(frames(2, height, width), FULL, 1.0)
    assert [(len(boxes) > 0, boxes.shape[1]) for boxes in found] == [(enough, 5)] * 2
    assert [len(boxes) for boxes in detect(frames(2, height, width), FULL, 0.25)] == [0, 0]


def test_priors_are_as_published_and_of_the_maps_that_the_network_makes(s3fd: S3FD) -> None:
    known = priors(256, 320)
    assert len(known) == KNOWN_FACES["n_priors"]
    np.testing.assert_allclose(known[:2], KNOWN_FACES["priors_first2"], atol=1e-7)
    np.testing.assert_allclose(known[-1], KNOWN_FACES["priors_last"], atol=1e-7)
    for height, width in ((64, 80), (65, 71), (33, 100)):
        sizes = [tuple(conf.shape[2:]) for conf, _ in heads_of(s3fd, frames(1, height, width)[0])]
        assert sizes == map_sizes(height, width)


@given(st.integers(0, 40), st.integers(0, 2**32 - 1), st.floats(0.0, 0.9))
def test_suppression_keeps_what_one_box_after_the_other_would(count: int, seed: int, limit: float) -> None:
    draw = np.random.default_rng(seed)
    first = draw.uniform(0, 10, (count, 2))
    boxes = np.concatenate([first, first + draw.uniform(0.5, 8, (count, 2))], axis=1)
    kept: list[int] = []
    for place in range(count):
        if all(overlap(boxes[place], boxes[other]) <= limit for other in kept):
            kept.append(place)
    assert suppress(boxes.astype(np.float64), limit).tolist() == kept


def test_leaving_out_low_scores_first_changes_nothing_above_the_threshold(s3fd: S3FD) -> None:
    found = gathered(heads_of(s3fd, frames(1, 256, 320)[0]))
    scores, offsets = found.scores[0].numpy(), found.offsets[0].numpy()
    every = faces_in(scores, offsets, (256, 320), threshold=0.05)
    assert np.array_equal(every[every[:, 4] > 0.7], faces_in(scores, offsets, (256, 320), threshold=0.7))


@pytest.mark.parametrize(("height", "width"), [(256, 256), (256, 455), (300, 256), (512, 512), (1024, 768)])
def test_the_rule_built_detector_finds_one_centred_face(height: int, width: int) -> None:
    (boxes,) = detect(np.zeros((1, height, width, 3), np.uint8), UNTRAINED, scale_of(height, width))
    side = 0.4 * min(height, width)
    wanted = [width / 2 - side / 2, height / 2 - side / 2, width / 2 + side / 2, height / 2 + side / 2, 0.99]
    np.testing.assert_allclose(boxes, [wanted], rtol=0, atol=0.01 * side)


@pytest.mark.parametrize(
    ("height", "width", "scale"), [(1024, 1024, 0.25), (512, 768, 0.5), (200, 300, 1.0), (1080, 1920, 256 / 1080)]
)
def test_the_detector_sees_a_short_side_of_256_and_enlarges_nothing(height: int, width: int, scale: float) -> None:
    assert scale_of(height, width) == scale


# Tracks ----------------------------------------------------------------------------------------------------------


def published_boxes(frame: int) -> NDArray[np.float64]:
    """The detections of one frame for which the published code's tracks and crops are known."""
    x, y = 200 + 0.8 * frame + 3 * (7 * frame % 5), 120 + 0.3 * frame + 2 * (3 * frame % 4)
    boxes = []
    if not 40 <= frame <= 44 and frame != 77:
        boxes.append([x, y, x + 150, 120 + 0.3 * frame + 190 + 2 * (11 * frame % 3), 0.99])
    if frame >= 10:
        boxes.append([480 + 0.1 * frame, 60, 560 + 0.1 * frame, 150, 0.98])
    if frame in (50, 51):
        boxes.append([20, 300, 140, 440, 0.97])
    return np.array(boxes).reshape(-1, 5)


def picture(t: int, height: int = 480, width: int = 640) -> NDArray[np.uint8]:
    """Frame t of `golden.frames`, alone."""
    y, x, c = np.meshgrid(*map(np.arange, (height, width, 3)), indexing="ij", sparse=True)
    p = (3 * x + 5 * y + 67 * c + 11 * t + 7 * (x // 16) * (y // 16) * (1 + t % 5)) % 512
    return np.where(p < 256, p, 511 - p).astype(np.uint8)


def test_tracks_and_crops_are_as_published() -> None:
    (known,) = golden("face_track_crop")["tracks"]
    (track,) = follow([published_boxes(frame) for frame in range(130)], min_track=100)
    assert (track.start, track.end - 1, len(track.boxes)) == (known["first"], known["last"], known["n"])
    assert track.detected == 124
    assert track.confidence == pytest.approx(0.99)
    np.testing.assert_allclose(track.boxes[42], known["bbox_at_42"], atol=1e-9)
    np.testing.assert_allclose(track.boxes.mean(axis=0), known["bbox_mean"], atol=1e-9)
    square = squares(track.boxes)
    for column, name in enumerate("xys"):
        np.testing.assert_allclose(square[:5, column], known[f"{name}_first5"], atol=1e-9)
        assert square[:, column].mean() == pytest.approx(known[f"{name}_mean"], abs=1e-9)
    np.testing.assert_allclose(square[-3:, 2], known["s_last3"], atol=1e-9)
    shapes = [list(region(picture(0), square[t]).shape[:2]) for t in (*range(6), 60)]
    assert shapes == [*known["crop_shapes_first6"], known["crop_shape_t60"]]
    assert np.array_equal(picture(2), frames(3, 480, 640)[2])
    shown_at = (0, 1, 42, 60, 129)
    clip = [np.zeros((480, 640, 3), np.uint8)] * 130
    for t in shown_at:
        clip[t] = picture(t)[..., ::-1]  # the known pictures are blue first
    shown = crops(clip, track)
    assert len(shown) == known["n_crops"]
    sums = [int(shown[t].sum()) for t in shown_at]
    assert sums == pytest.approx(known["crop_u8_sum"], rel=2e-3)
    pixels = [shown[t, 100, 100] for t in (0, 42, 60)]
    np.testing.assert_allclose(pixels, known["crop_px_100_100_BGR"], atol=2)
    np.testing.assert_allclose(shown[0, 0, 0], known["crop_corner_BGR_t0"], atol=2)


@given(st.floats(-30, 110), st.floats(-30, 90), st.floats(1, 60), st.integers(40, 80), st.integers(40, 100))
def test_a_cut_is_what_padding_the_whole_frame_would_show(
    x: float, y: float, half: float, height: int, width: int
) -> None:
    frame = picture(3, height, width)
    pad = int(half * 1.8)
    padded = np.pad(frame, ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
    top, bottom = int(y + pad - half), int(y + pad + half * 1.8)
    left, right = int(x + pad - half * 1.4), int(x + pad + half * 1.4)
    wanted = padded[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    found = region(frame, np.array([x, y, half]))
    if wanted.size:
        assert np.array_equal(found, wanted)
    else:  # the published code fails here
        assert found.shape[0] >= 1
        assert found.shape[1] >= 1


def still(*faces: tuple[float, float, float, float]) -> NDArray[np.float32]:
    return np.array([[*face, 0.95] for face in faces], np.float32).reshape(-1, 5)


ONE, OTHER = (100.0, 100.0, 300.0, 300.0), (500.0, 100.0, 700.0, 300.0)


def test_two_faces_are_two_tracks_whatever_their_order() -> None:
    swapped = [still(ONE, OTHER) if frame % 2 else still(OTHER, ONE) for frame in range(60)]
    tracks = follow(swapped, min_track=50)
    assert [track.boxes[0].tolist() for track in tracks] == [list(OTHER), list(ONE)]
    assert [(track.start, track.end) for track in tracks] == [(0, 60), (0, 60)]


def test_the_box_after_a_taken_one_waits_for_the_next_sweep() -> None:
    near = (100.0, 100.0, 300.0, 305.0)
    tracks = follow([still(ONE)] * 3 + [still(ONE, near)] * 3, min_track=1)
    assert [track.detected for track in tracks] == [6, 3]  # both would fit the first track
    tracks = follow([still(ONE)] * 3 + [still(ONE, OTHER, near)] * 3, min_track=1)
    assert sorted(track.detected for track in tracks) == [3, 9]


def test_a_track_bridges_25_frames_and_no_more() -> None:
    nothing = still()
    (track,) = follow([still(ONE)] * 30 + [nothing] * 24 + [still(ONE)] * 30, min_track=50)
    assert (track.start, track.end, track.detected) == (0, 84, 60)
    assert follow([still(ONE)] * 30 + [nothing] * 25 + [still(ONE)] * 30, min_track=50) == []


def test_a_track_must_be_longer_and_larger_than_the_limits() -> None:
    assert follow([still(ONE)] * 50, min_track=50) == []
    assert len(follow([still(ONE)] * 51, min_track=50)) == 1
    assert follow([still((0.0, 0.0, 100.0, 100.0))] * 51, min_track=50) == []
    assert len(follow([still((0.0, 0.0, 50.0, 101.0))] * 51, min_track=50)) == 1


def test_a_face_that_jumps_begins_another_track() -> None:
    tracks = follow([still(ONE)] * 60 + [still(OTHER)] * 60, min_track=50)
    assert [(track.start, track.end) for track in tracks] == [(0, 60), (60, 120)]


# Strides ---------------------------------------------------------------------------------------------------------


def detections(monkeypatch: pytest.MonkeyPatch, boxes: Callable[[int], NDArray[np.float32]]) -> list[int]:
    """Has `detect` answer by rule; the frames that it is asked for, as numbers in their first pixel, are noted."""
    asked: list[int] = []

    def by_rule(shown: list[NDArray[np.uint8]], engine: Engine, scale: float) -> list[NDArray[np.float32]]:
        numbers = [int(frame[0, 0, 0]) for frame in shown]
        asked.extend(numbers)
        return [boxes(number) for number in numbers]

    monkeypatch.setattr(lips_syncnet, "detect", by_rule)
    return asked


def numbered_frames(count: int) -> NDArray[np.uint8]:
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 8, 8, 3), np.uint8)


def drifting(frame: int) -> NDArray[np.float32]:
    return still((100.0 + frame, 100.0, 300.0 + frame, 300.0), (500.0 - frame, 300.0, 700.0 - frame, 500.0))


def test_every_fourth_frame_and_the_last_are_enough_for_a_steady_face(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = detections(monkeypatch, drifting)
    boxes, ran = detect_every(numbered_frames(63), UNTRAINED, 4)
    assert asked == [*range(0, 63, 4), 62]
    assert np.flatnonzero(ran).tolist() == asked
    np.testing.assert_allclose(boxes, [drifting(frame) for frame in range(63)], rtol=1e-6)


def test_between_samples_that_differ_the_detector_runs_on_every_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    def jumping(frame: int) -> NDArray[np.float32]:
        return still(ONE) if frame < 18 else still(OTHER)

    asked = detections(monkeypatch, jumping)
    boxes, ran = detect_every(numbered_frames(41), UNTRAINED, 4)
    assert sorted(asked) == sorted([*range(0, 41, 4), 17, 18, 19])
    assert all(np.array_equal(box, jumping(frame)) for frame, box in enumerate(boxes))
    assert int(ran.sum()) == len(asked)


@pytest.mark.parametrize("count", [0, 1, 2, 4, 5, 6])
def test_a_stride_of_one_and_the_shortest_clips_are_seen_in_full(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    asked = detections(monkeypatch, drifting)
    boxes, ran = detect_every(numbered_frames(count), UNTRAINED, 1)
    assert asked == list(range(count))
    assert ran.all()
    assert len(boxes) == len(detect_every(numbered_frames(count), UNTRAINED, 4)[0]) == count


def test_faces_are_bridged_one_to_one_whatever_their_order() -> None:
    line = bridge(still(ONE, OTHER), still(OTHER, ONE), 3)
    assert line is not None
    assert all(np.array_equal(boxes, still(ONE, OTHER)) for boxes in line)
    assert bridge(still(ONE), still(ONE, OTHER), 3) is None
    assert bridge(still(ONE, ONE), still(ONE, OTHER), 3) is None
    assert bridge(still(ONE), still((160.0, 100.0, 360.0, 300.0)), 3) is None  # overlap 0.54
    assert bridge(still(ONE), still((130.0, 100.0, 330.0, 300.0)), 3) is not None  # overlap 0.74
    assert [len(boxes) for boxes in bridge(still(), still(), 2) or []] == [0, 0]


# Records ---------------------------------------------------------------------------------------------------------


def test_a_clip_becomes_one_track_of_its_centred_face() -> None:
    clip = frames(60, 260, 300)
    tracks, strided_tracks = lips_of(clip, UNTRAINED), lips_every8_of(clip, UNTRAINED)
    assert (tracks.frames, tracks.starts.tolist(), tracks.ends.tolist()) == (60, [0], [60])
    assert tracks.lips.shape == (56, 64)
    assert tracks.boxes.shape == (60, 3)
    np.testing.assert_allclose(tracks.boxes[30], [150, 130, 52], atol=0.1)
    assert tracks.confidence.tolist() == pytest.approx([0.99])
    assert (tracks.detected.tolist(), tracks.faces_seen) == ([60], 60)
    assert (strided_tracks.detected.tolist(), strided_tracks.faces_seen) == ([9], 9)
    np.testing.assert_allclose(strided_tracks.lips, tracks.lips, atol=1e-4)
    assert np.array_equal(lips_of(clip, UNTRAINED).lips, tracks.lips)


def test_a_clip_that_is_too_short_or_shows_no_face_has_no_track() -> None:
    short = lips_of(frames(50, 260, 260), UNTRAINED)
    assert (len(short.starts), short.faces_seen, short.lips.shape) == (0, 50, (0, 64))
    empty = lip_tracks(frames(4, 64, 64), [still()] * 4, np.ones(4, bool), UNTRAINED)
    assert (empty.faces_seen, empty.boxes.shape, empty.lips.shape) == (0, (0, 3), (0, 64))


# The scales ------------------------------------------------------------------------------------------------------


def tracks_of(*stretches: tuple[int, int], lips: NDArray[np.float32] | None = None, frames: int = 121) -> LipTracks:
    """Tracks over these frames, whose lips are those of `waves` unless they are given."""
    rows = [waves(first, last - first - 4) for first, last in stretches]
    return LipTracks(
        frames=frames,
        starts=np.array([first for first, _ in stretches], np.int32),
        ends=np.array([last for _, last in stretches], np.int32),
        detected=np.array([last - first for first, last in stretches], np.int32),
        confidence=np.ones(len(stretches), np.float32),
        boxes=np.zeros((sum(last - first for first, last in stretches), 3), np.float32),
        lips=np.concatenate([np.zeros((0, 32), np.float32), *rows]) if lips is None else lips,
        faces_seen=121,
    )


def sound_windows(count: int = 116, shift: int = 0, peak: float = 0.5) -> SoundWindows:
    return SoundWindows(waves(shift, count), samples=640 * (count + 5), peak=peak)


def sample_of(tracks: LipTracks, sound: SoundWindows, feature: Feature[LipTracks] = LIPS_SYNCNET) -> Sample:
    return sample_with(Features({feature.name: tracks, SOUND_SYNCNET.name: sound}))


def sample_with(clip: Features) -> Sample:
    nothing = Features({})
    return Sample(clip, nothing, nothing, nothing, prompt=Prompt("", "", "", ""), transcript="", language="")


def measured(metric: Metric, sample: Sample) -> Measured:
    found = metric.measure(sample)
    assert isinstance(found, Measured)
    return found


def test_distance_confidence_and_sum_are_of_one_track() -> None:
    noise = np.random.default_rng(1).normal(0, 3, (56, 32)).astype(np.float32)
    lips = np.concatenate([noise, waves(60, 57)])
    sample = sample_of(tracks_of((0, 60), (60, 121), lips=lips), sound_windows())
    values = [measured(metric, sample) for metric in (LSE_D, LSE_C, LSE_SUM)]
    assert [value.detail["frames"] for value in values] == [[60, 121]] * 3
    assert values[0].value + values[1].value == pytest.approx(values[2].value)
    assert values[0].value < 1e-4
    assert values[1].value > 10
    details = values[0].detail
    assert details["offset"] == 0
    assert [track["frames"] for track in details["tracks"]] == [[0, 60], [60, 121]]
    assert details["tracks"][0]["lse_c"] < details["tracks"][1]["lse_c"]
    assert (details["faces_seen"], details["followed"]) == (121, [60, 61])


def test_a_later_track_is_held_against_its_own_stretch_of_the_sound() -> None:
    for shift in (-3, 0, 5):
        (sync,) = track_syncs(tracks_of((40, 121)), sound_windows(shift=shift))
        assert (sync.offset, sync.windows, sync.first, sync.last) == (shift, 76, 40, 121)
        assert sync[:3] == sync_of(waves(40, 76), waves(40 + shift, 76))


def test_of_tracks_with_one_confidence_the_longest_counts_and_the_order_does_not() -> None:
    short, long, better = (Sync(9.0, 2.0, 0, 46, 0, 51), Sync(8.0, 2.0, 1, 90, 0, 95), Sync(9.5, 2.5, 0, 46, 0, 51))
    assert best_track([short, long]) == best_track([long, short]) == long
    assert best_track([short, better, long]) == better


def test_a_still_face_has_a_low_sum_and_no_confidence() -> None:
    still_lips = np.repeat(waves(0, 1), 116, axis=0)
    moving = measured(LSE_SUM, sample_of(tracks_of((0, 121)), sound_windows()))
    steady = sample_of(tracks_of((0, 121), lips=np.concatenate([still_lips, still_lips[:1]])), sound_windows())
    assert measured(LSE_C, steady).value < 2 < measured(LSE_C, sample_of(tracks_of((0, 121)), sound_windows())).value
    assert measured(LSE_SUM, steady).value < moving.value + 1


@pytest.mark.parametrize(
    ("tracks", "sound", "reason"),
    [
        (dataclasses.replace(tracks_of(), faces_seen=0), sound_windows(), "no face found in 121 frames"),
        (tracks_of(), sound_windows(), "long enough or is large enough: 121 detections in 121 frames"),
        (tracks_of((0, 121)), sound_windows(peak=0.0), "digital silence"),
        (tracks_of((0, 121)), sound_windows(peak=1e-4), "peak is -80 dBFS"),
        (tracks_of((0, 121)), sound_windows(24), "1 faces followed, 1.16 s of sound"),
        (tracks_of((70, 121)), sound_windows(90), "1 faces followed, 3.80 s of sound"),
    ],
    ids=["no face", "no track", "silent", "quiet", "sound too short", "sound ends early"],
)
def test_what_defeats_lip_sync_is_said_with_counts(tracks: LipTracks, sound: SoundWindows, reason: str) -> None:
    for metric in (LSE_D, LSE_C, LSE_SUM):
        with pytest.raises(Unmeasurable, match=reason):
            metric.measure(sample_of(tracks, sound))


def test_the_strided_scale_has_its_own_feature_and_the_same_name() -> None:
    assert (LSE_C_EVERY8.name, LSE_C_EVERY8.profile) == ("lse_c", "community")
    (needed, _) = LSE_C_EVERY8.needs["clip"]
    assert needed.name == "lips_syncnet_every8"
    sample = sample_of(tracks_of((0, 121)), sound_windows(), needed)
    assert (
        measured(LSE_C_EVERY8, sample).value == measured(LSE_C, sample_of(tracks_of((0, 121)), sound_windows())).value
    )
    assert "on every eighth frame" in LSE_C_EVERY8.card.recipe


def recoded(windows: list[int], peak: float = 0.5) -> SyncTracks:
    count = sum(windows)
    return SyncTracks(
        tracks=np.array([(0, length + 5) for length in windows], np.int32).reshape(-1, 2),
        detected=np.array(windows, np.int32),
        confidence=np.ones(len(windows), np.float32),
        windows=np.array(windows, np.int32),
        lips=waves(0, count),
        sounds=waves(2, count),
        frames=122,
        faces_seen=122,
        peak=peak,
    )


def test_recoded_tracks_are_scored_each_for_itself() -> None:
    syncs = recoded_syncs(recoded([60, 0, 40]))
    assert [(sync.windows, sync.offset) for sync in syncs] == [(60, 2), (40, 2)]
    assert syncs[1][:3] == sync_of(waves(60, 40), waves(62, 40))
    feature: Feature[SyncTracks] = Feature("sync_compat", "both", SyncTracks)
    metric = as_published(LSE_C, feature)
    for record, reason in (
        (recoded([]), "long enough"),
        (recoded([0]), "none of them has 6 frames with sound"),
        (recoded([60], peak=0.0), "digital silence"),
    ):
        clip = Features({"sync_compat": record})
        with pytest.raises(Unmeasurable, match=reason):
            metric.measure(sample_with(clip))
    clip = Features({"sync_compat": recoded([60, 40])})
    found = metric.measure(sample_with(clip))
    assert isinstance(found, Measured)
    assert found.value == max(sync.confidence for sync in recoded_syncs(recoded([60, 40])))
    assert (metric.profile, metric.card.assumed != "") == ("authors", True)


# Loading ---------------------------------------------------------------------------------------------------------


def test_an_untrained_syncnet_is_the_same_every_time_and_answers_finite_numbers() -> None:
    one, other = untrained_syncnet(), untrained_syncnet()
    assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())
    rows = lip_embeddings(frames(9, 224, 224), UNTRAINED)
    assert np.isfinite(rows).all()
    assert rows.std(axis=0).max() > 1e-3


def test_a_plain_table_of_tensors_is_read_and_anything_else_is_not(tmp_path: Path) -> None:
    path = tmp_path / "net.pth"
    torch.save({"a": torch.ones(2)}, path)
    assert read_pickled(path)["a"].tolist() == [1, 1]
    for stored, reason in (({"a": torch.ones(2), "epoch": 3}, "'epoch' is a int"), ([1, 2], "but a list")):
        torch.save(stored, path)
        with pytest.raises(WeightsError, match=reason) as caught:
            read_pickled(path)
        assert str(path) in str(caught.value)


def test_half_precision_is_read_where_it_is_expected_and_only_there(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    path = tmp_path / "net.safetensors"
    save_file({"a": torch.full((2,), 0.5, dtype=torch.float16)}, path)
    found = read_safetensors(path, kinds=("F16",))["a"]
    assert (found.dtype, found.tolist()) == (torch.float16, [0.5, 0.5])
    with pytest.raises(WeightsError, match=r"not a safetensors file of F32 numbers \(a is F16\)"):
        read_safetensors(path)


Change = Callable[[dict[str, torch.Tensor], str], dict[str, torch.Tensor]]


def without(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key: value for key, value in state.items() if key != name}


def renamed(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {key + "_" if key == name else key: value for key, value in state.items()}


def surplus(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {**state, name + "_": torch.ones(1)}


def reshaped(state: dict[str, torch.Tensor], name: str) -> dict[str, torch.Tensor]:
    return {**state, name: state[name][..., None]}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "load", "name"),
    [(SyncNet, load_syncnet, "netfcaud.3.bias"), (S3FD, load_s3fd, "L2Norm4_3.weight")],
    ids=["syncnet_v2.model", "sfd_face.pth"],
)
def test_a_full_size_network_in_the_published_layout_is_loaded_strictly(
    tmp_path: Path, network: Callable[[], torch.nn.Module], load: Callable[[Path], torch.nn.Module], name: str
) -> None:
    path = tmp_path / "published.pth"
    state = dict(numbered(network()).state_dict())
    torch.save(state, path, _use_new_zipfile_serialization=False)  # as the published files, which are of 2017 and 2018
    loaded = load(path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in state.items())
    torch.save({key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}, path)
    assert set(load(path).state_dict()) == set(state)  # counters of a later torch, never read
    for change in (without, renamed, surplus, reshaped):
        torch.save(change(state, name), path)
        with pytest.raises(WeightsError, match=name.replace(".", r"\.")) as caught:
            load(path)
        assert str(path) in str(caught.value)


def test_the_rule_built_detector_answers_for_every_prior() -> None:
    found = CentredFace()(torch.zeros(2, 3, 64, 96))
    assert isinstance(found, Found)
    assert found.scores.shape == (2, len(priors(64, 96)))
    assert (found.scores > 0).sum(dim=1).tolist() == [1, 1]
    boxes = faces_in(found.scores[0].numpy(), found.offsets[0].numpy(), (64, 96))
    assert len(to_pixels(boxes, 96, 64)) == 1
