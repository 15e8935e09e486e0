"""The published lip-sync pipeline in memory: its shift, its codings, its tracks."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avbench.clip import Sound
from avbench.extract.engine import Engine
from avbench.extract.lips_compat import (
    SYNC_COMPAT,
    Pictures,
    avi_of,
    code_crops,
    crop_packets,
    cut_sound,
    shots,
    sync_tracks,
    transcode,
)
from avbench.features import SyncTracks, load, save
from avbench.metrics.lip_sync import recoded_syncs

from .golden import audio, frames

SIDE = 64
TRIED = Engine("cpu", untrained=True)


def numbered(count: int) -> NDArray[np.uint8]:
    """Frame k shows a bar of 2 k + 2 columns."""
    video = np.zeros((count, SIDE, SIDE, 3), np.uint8)
    for number, frame in enumerate(video):
        frame[:, : 2 * number + 2] = 200
    return video


def numbers(pictures: Pictures) -> list[int]:
    return [int((picture[SIDE // 2, :, 0] > 100).sum()) // 2 - 1 for picture in pictures]


def soft(count: int, side: int = 224) -> NDArray[np.uint8]:
    """Moving shapes without hard edges."""
    y, x, t = np.meshgrid(np.arange(side), np.arange(side), np.arange(count), indexing="ij", sparse=True)
    planes = [128 + 90 * np.sin(x / 17 + t / 3 + n) * np.cos(y / 23 - t / 5 * n) for n in range(3)]
    video: NDArray[np.uint8] = np.rint(np.stack(planes, axis=-1)).astype(np.uint8)
    return video.transpose(2, 0, 1, 3)


def buzz(seconds: float, rate: int = 16_000) -> Sound:
    return Sound((audio(round(seconds * rate)) / 32768).astype(np.float32), rate)


@pytest.mark.parametrize(("rate", "shift"), [(48_000, -16.98), (44_100, -14.94), (22_050, -29.89)])
def test_a_flash_and_a_beep_of_one_time_come_apart_as_in_the_published_pipeline(rate: int, shift: float) -> None:
    """Sound 1105 samples late, picture as much and up to the next whole frame: at 22,050 Hz that is the second one."""
    video = np.full((30, SIDE, SIDE, 3), 16, np.uint8)
    video[10] = 235
    samples = np.zeros(30 * rate // 25, np.float32)
    beep = slice(10 * rate // 25, 11 * rate // 25)
    samples[beep] = 0.5 * np.sin(2 * np.pi * 1000 * np.arange(beep.stop - beep.start) / rate)
    coded = transcode(video, Sound(samples, rate))
    power = coded.samples.astype(np.float64) ** 2
    heard = (power @ np.arange(len(power))) / power.sum() / 16_000 - 0.02  # the middle of a beep of 40 ms
    seen = float(np.argmax([picture.mean() for picture in coded.pictures])) / 25
    assert 1000 * (heard - seen) == pytest.approx(shift, abs=0.3)


def test_with_sound_the_second_frame_is_shown_twice() -> None:
    coded = transcode(numbered(20), buzz(0.8, 48_000))
    assert numbers(coded.pictures) == [0, 1, *range(1, 20)]
    assert numbers(coded.coded) == list(range(20))


@pytest.mark.parametrize("sound", [None, Sound(np.zeros(0, np.float32), 48_000)])
def test_without_sound_no_frame_is_repeated(sound: Sound | None) -> None:
    coded = transcode(numbered(20), sound)
    assert numbers(coded.pictures) == list(range(20))
    assert len(coded.samples) == 0


@settings(deadline=None, max_examples=8)
@given(count=st.integers(2, 30), rate=st.sampled_from([16_000, 32_000, 44_100, 48_000, 96_000]))
def test_frames_become_one_more_where_priming_is_shorter_than_one(count: int, rate: int) -> None:
    coded = transcode(numbered(count), Sound(np.full(count * rate // 25, 0.1, np.float32), rate))
    assert len(coded.pictures) == count + (1 if rate > 1105 * 25 else 2)
    assert len(coded.samples) >= count * 640  # the coder fills its last packet


def test_the_same_clip_gives_the_same_bytes() -> None:
    video, sound = frames(12, 96, 130), buzz(0.48, 44_100)
    assert avi_of(video, sound) == avi_of(video, sound)
    one, other = transcode(video, sound), transcode(video, sound)
    assert one.pictures.jpegs == other.pictures.jpegs
    assert one.samples.tobytes() == other.samples.tobytes()
    assert code_crops(soft(9)).tobytes() == code_crops(soft(9)).tobytes()


def test_frames_of_odd_size_are_coded_too() -> None:
    assert [picture.shape for picture in transcode(frames(3, 65, 97), None).pictures] == [(65, 97, 3)] * 3


def test_the_first_coding_is_nearly_transparent_and_keeps_colours() -> None:
    video = soft(4, 128)
    seen = np.stack(list(transcode(video, None).pictures))
    assert np.abs(seen.astype(int) - video).mean() < 2


def test_crops_are_coded_as_opencvs_writer_does(tmp_path: Path) -> None:
    import av
    import cv2

    crops = np.clip(soft(30).astype(int) + frames(30, 224, 224) // 16, 0, 255).astype(np.uint8)
    path = tmp_path / "crops.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"XVID"), 25, (224, 224))
    for crop in crops:
        writer.write(crop)
    writer.release()
    with av.open(io.BytesIO(path.read_bytes()), "r") as clip:
        published = [bytes(packet) for packet in clip.demux(clip.streams.video[0]) if packet.size]

    def unsigned(packet: bytes) -> bytes:
        return re.sub(rb"\x00\x00\x01\xb2Lavc[0-9.]+", b"", packet)  # each library signs with its version

    assert [unsigned(bytes(packet)) for packet in crop_packets(crops)] == list(map(unsigned, published))


def test_coded_crops_stay_in_place_and_order() -> None:
    crops = soft(30)
    coded = code_crops(crops)
    assert coded.shape == crops.shape
    assert coded.dtype == np.uint8
    errors = np.abs(coded[10].astype(int) - crops).mean(axis=(1, 2, 3))
    assert int(errors.argmin()) == 10
    assert 0 < errors[10] < 8
    assert len(code_crops(crops[:0])) == 0


def test_sound_is_cut_at_the_edges_of_frames() -> None:
    samples = np.arange(6400, dtype=np.int16)
    assert cut_sound(samples, 3, 5).tolist() == list(range(1920, 3200))
    assert len(cut_sound(samples, 8, 20)) == 1280


def test_a_cut_ends_a_shot_but_not_within_15_frames_of_another() -> None:
    dark, light = np.full((64, 64, 3), 20, np.uint8), np.full((64, 64, 3), (250, 200, 30), np.uint8)
    assert shots([dark] * 30) == [(0, 30)]
    assert shots([dark] * 4 + [light] * 26) == [(0, 4), (4, 30)]
    assert shots([dark] * 20 + [light] * 10 + [dark] * 10) == [(0, 20), (20, 40)]
    assert shots([dark] * 20 + [light] * 15 + [dark] * 10) == [(0, 20), (20, 35), (35, 45)]
    assert shots([]) == []


@pytest.fixture(scope="module")
def clip() -> NDArray[np.uint8]:
    """A still of 101 frames, one more than a track must exceed."""
    return np.repeat(soft(1, 288), 101, axis=0)


@pytest.mark.slow
def test_one_centred_face_goes_through_the_whole_line(clip: NDArray[np.uint8], tmp_path: Path) -> None:
    record = sync_tracks((clip, buzz(4.04)), TRIED)
    assert record.frames == len(clip) + 2  # 1105 samples at 16 kHz are 69 ms
    assert record.faces_seen == record.frames
    assert record.tracks.tolist() == [[0, len(clip)]]  # the shot is as long as the coded frames
    assert record.detected.tolist() == [len(clip)]
    assert record.windows.tolist() == [len(clip) - 5]
    assert record.lips.shape == record.sounds.shape == (len(clip) - 5, record.lips.shape[1])
    assert np.isfinite(record.lips).all()
    assert np.isfinite(record.sounds).all()
    assert record.peak == pytest.approx(np.abs(buzz(4.04).samples).max())
    (sync,) = recoded_syncs(record)
    assert sync.windows == len(clip) - 5
    save(tmp_path / "record.npz", record)
    again = load(tmp_path / "record.npz", SyncTracks)
    assert again is not None
    assert again.lips.tobytes() == record.lips.tobytes()


def test_a_clip_without_sound_has_tracks_and_no_windows(clip: NDArray[np.uint8]) -> None:
    record = sync_tracks((clip, None), TRIED)
    assert record.frames == len(clip)
    assert record.tracks.tolist() == [[0, len(clip)]]
    assert record.windows.tolist() == [0]
    assert len(record.lips) == len(record.sounds) == 0
    assert record.peak == 0
    assert recoded_syncs(record) == []


def test_a_face_on_100_frames_is_not_a_track(clip: NDArray[np.uint8]) -> None:
    record = sync_tracks((clip[:100], None), TRIED)
    assert record.faces_seen == 100
    assert record.tracks.shape == (0, 2)
    assert len(record.lips) == 0


def test_the_feature_reads_picture_and_sound() -> None:
    assert (SYNC_COMPAT.name, SYNC_COMPAT.sense, SYNC_COMPAT.record) == ("sync_compat", "both", SyncTracks)
