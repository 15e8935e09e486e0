"""The decoder shows the right frame at the right time, or says what is wrong; the encoder loses neither.

Inputs of decoder tests are written with PyAV directly, never with `write_clip`. Each frame carries its own number
in blocks of black and white, so that a test can say which coded frame is shown.
"""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import sys
import tracemalloc
import wave
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from av.stream import Disposition
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image

from avbench.clip import (
    DECODE,
    MAX_SECONDS,
    Sound,
    probe,
    read_audio,
    read_image,
    read_video,
    stream_sha256,
    write_audio,
    write_clip,
    write_image,
)
from avbench.errors import MediaError, UsageError

Frames = NDArray[np.uint8]
TICKS = 90_000  # a second, on the clock of the clips made here
BITS = 8
BLOCK = 16  # pixels

a_few = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# Making inputs -----------------------------------------------------------------------------------------------------


def numbered(number: int) -> Frames:
    """A frame that shows `number` in blocks, the lowest bit to the left."""
    bits = [255 * (number >> bit & 1) for bit in range(BITS)]
    row = np.repeat(np.array(bits, np.uint8), BLOCK)
    return np.broadcast_to(row[None, :, None], (2 * BLOCK, BITS * BLOCK, 3)).copy()


def numbers(video: Frames) -> list[int]:
    """What `numbered` frames show."""
    height, width = video.shape[1:3]
    half = width // BITS // 2
    centres = video[:, height // 2, half :: width // BITS, 1] > 127
    return [int(sum(1 << bit for bit in range(BITS) if row[bit])) for row in centres]


def make_clip(path: Path, times: list[Fraction], end: Fraction, **options: Any) -> Path:
    """An mp4 whose frame n, showing n, is at times[n] seconds; the last lasts until `end`."""
    ticks = [round(time * TICKS) for time in (*times, end)]
    lasts = {ticks[n]: ticks[n + 1] - ticks[n] for n in range(len(times))}
    frames = [numbered(n % 2**BITS) for n in range(len(times))]
    return make(path, frames, ticks[:-1], lasts, **options)


def make(path: Path, frames: list[Frames], ticks: list[int], lasts: dict[int, int], **options: Any) -> Path:
    sound: NDArray[np.float32] | None = options.get("sound")
    with av.open(str(path), "w", format=options.get("format"), options=options.get("muxer", {})) as clip:
        height, width = frames[0].shape[:2]
        codec = options.get("codec", "libx264")
        stream: Any = clip.add_stream(codec, rate=25, options=options.get("coder", {"preset": "superfast", "bf": "2"}))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, TICKS)
        if "turn" in options:
            stream.set_display_rotation(*options["turn"])
        voice: Any = None if sound is None else clip.add_stream(options.get("voice", "aac"), rate=48000, layout="mono")
        packets = []
        for picture, tick in zip(frames, ticks, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = tick, Fraction(1, TICKS)
            packets += stream.encode(frame)
        packets += stream.encode(None)
        for packet in packets:
            packet.duration = lasts[packet.pts]
        if sound is not None:
            heard = av.AudioFrame.from_ndarray(sound[None], format="fltp", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = 48000, options.get("late", 0), Fraction(1, 48000)
            packets += [*voice.encode(heard), *voice.encode(None)]
        clip.mux(sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base))
    return path


def at_rate(rate: Fraction, count: int, start: Fraction = Fraction(0)) -> tuple[list[Fraction], Fraction]:
    return [start + n / rate for n in range(count)], start + count / rate


def nearest(times: list[Fraction], end: Fraction) -> list[int]:
    """Which frame is shown at each k / 25 s, by looking at all of them."""
    count = max(1, int(end * 25 + Fraction(1, 2)))
    return [min(range(len(times)), key=lambda n: (abs(times[n] - Fraction(k, 25)), n)) for k in range(count)]


def tone(seconds: float, hertz: float = 440.0, rate: int = 48000) -> NDArray[np.float32]:
    return (0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def natural(count: int, height: int = 96, width: int = 128) -> Frames:
    """Smooth shapes that drift, in muted colours, with a little grain."""
    y, x = np.mgrid[0:height, 0:width]
    grain = np.random.default_rng(0).normal(0, 1.5, (height, width))
    frames = []
    for t in range(count):
        light = (
            120
            + 50 * np.sin((x + 2 * t) / 17) * np.cos((y - t) / 23)
            + 40 * np.exp(-((x - 60 - t) ** 2 + (y - 45) ** 2) / 300)
        )
        tint = 12 * np.sin((x - y + t) / 40)
        frames.append(np.stack([light + tint, light, light - tint], axis=-1) + grain[..., None])
    return np.clip(np.rint(np.stack(frames)), 0, 255).astype(np.uint8)


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """Twenty numbered frames at 25 fps and a tone."""
    return make_clip(tmp_path / "short.mp4", *at_rate(Fraction(25), 20), sound=tone(0.8))


# Time --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", ["12.5", "16", "24", "24000/1001", "25", "30", "30000/1001", "50", "60"])
def test_every_frame_rate_shows_the_frame_with_the_nearest_timestamp(tmp_path: Path, rate: str) -> None:
    fps = Fraction(rate)
    times, end = at_rate(fps, round(2 * fps) + 1)
    times = [Fraction(round(time * TICKS), TICKS) for time in times]
    assert numbers(read_video(make_clip(tmp_path / "a.mp4", times, end))) == nearest(times, end)


@a_few
@given(st.lists(st.integers(300, 30_000), min_size=1, max_size=24), st.integers(0, 400))
def test_a_variable_frame_rate_shows_the_frame_with_the_nearest_timestamp(
    tmp_path: Path, gaps: list[int], start: int
) -> None:
    ticks = np.cumsum([start * TICKS // 1000, *gaps]).tolist()  # an mp4 begins at a whole millisecond
    times = [Fraction(tick, TICKS) for tick in ticks]
    video = read_video(make_clip(tmp_path / "a.mp4", times[:-1], times[-1], coder={"bf": "0"}))
    assert numbers(video) == nearest(times[:-1], times[-1])


@pytest.mark.parametrize(
    ("count", "rate", "shown"), [(1, 25, 1), (1, 60, 1), (1, 24, 1), (1, 10, 3), (5, 25, 5), (12, 60, 5)]
)
def test_the_shortest_clips_keep_their_length(tmp_path: Path, count: int, rate: int, shown: int) -> None:
    assert len(read_video(make_clip(tmp_path / "a.mp4", *at_rate(Fraction(rate), count)))) == shown


def test_a_video_that_begins_late_holds_its_first_frame_and_stays_with_the_sound(tmp_path: Path) -> None:
    times, end = at_rate(Fraction(25), 10, start=Fraction(2, 5))
    path = make_clip(tmp_path / "a.mp4", times, end, sound=tone(0.8))
    assert numbers(read_video(path)) == [0] * 10 + list(range(10))
    assert read_audio(path).samples[:2000].std() > 0.3


def test_a_sound_that_begins_late_follows_silence(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", *at_rate(Fraction(25), 25), sound=tone(0.5), late=24000)
    samples = read_audio(path).samples
    assert abs(samples[:22000]).max() == 0
    assert abs(int(np.argmax(abs(samples) > 0.1)) - 24000) <= 48  # 1 ms
    assert abs(len(samples) - 48000) <= 1024


@pytest.mark.parametrize("kind", ["mp4", "mov", "mkv", "avi", "ts", "webm"])
def test_every_container_gives_the_same_frames_in_order(tmp_path: Path, kind: str) -> None:
    webm: dict[str, Any] = {
        "codec": "libvpx-vp9",
        "voice": "libopus",
        "coder": {"cpu-used": "8", "deadline": "realtime"},
    }
    options = webm if kind == "webm" else {}
    path = tmp_path / f"a.{kind}"
    if kind == "avi":  # counts frames: its clock must tick at the frame rate
        with av.open(str(path), "w") as clip:
            stream = clip.add_stream("libx264", rate=25, options={"bf": "2"})
            stream.width, stream.height = BITS * BLOCK, 2 * BLOCK
            for n in range(20):
                frame = av.VideoFrame.from_ndarray(numbered(n), format="rgb24")
                frame.pts, frame.time_base = n, Fraction(1, 25)
                clip.mux(stream.encode(frame))
            clip.mux(stream.encode(None))
    else:
        make_clip(path, *at_rate(Fraction(25), 20), sound=tone(0.8), **options)
    shown = numbers(read_video(path))
    late = len(shown) - 20  # MPEG-TS does not say that a coder's first block is no sound: the picture begins after it
    assert shown == [0] * late + list(range(20))
    assert late == (1 if kind == "ts" else 0)
    if kind != "avi":
        onset = int(np.argmax(abs(read_audio(path).samples) > 0.2))
        assert abs(onset - (1024 if kind == "ts" else 0)) <= 48


def test_a_gap_in_the_sound_is_silence(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as clip:
        stream: Any = clip.add_stream("pcm_s16le", rate=8000, layout="mono")
        for place in (0, 4000):
            frame = av.AudioFrame.from_ndarray(np.full((1, 2000), 8192, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 8000, place, Fraction(1, 8000)
            clip.mux(stream.encode(frame))
    expected = np.repeat(np.array([0.25, 0, 0.25], np.float32), 2000)
    assert np.array_equal(read_audio(path).samples, expected)


# Pictures ----------------------------------------------------------------------------------------------------------


def quadrants(width: int = 64, height: int = 32) -> Frames:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[: height // 2, width // 2 :] = 100
    picture[height // 2 :, : width // 2] = 170
    picture[height // 2 :, width // 2 :] = 240
    return picture


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_rotation_and_mirroring_are_applied(tmp_path: Path, degrees: int, mirrored: bool) -> None:
    coder = {"qp": "0"}
    path = make(tmp_path / "a.mp4", [quadrants()], [0], {0: 3600}, turn=(degrees, mirrored), coder=coder)
    expected = np.rot90(quadrants(), degrees // 90)
    expected = expected[:, ::-1] if mirrored else expected
    video = read_video(path)
    assert video.shape == (1, *expected.shape)
    assert abs(video[0].astype(int) - expected).max() < 12
    assert probe(path)[1:3] == expected.shape[1::-1]


def test_a_phone_held_upright_gives_an_upright_picture(tmp_path: Path) -> None:
    path = make(tmp_path / "a.mp4", [quadrants()], [0], {0: 3600}, coder={"qp": "0"})
    one, upright = (1 << 16).to_bytes(4, "big"), bytes(4)
    identity = one + upright * 3 + one + upright * 3 + (1 << 30).to_bytes(4, "big")
    clockwise = upright + one + upright + (-(1 << 16)).to_bytes(4, "big", signed=True) + upright * 2
    clockwise += (32 << 16).to_bytes(4, "big") + upright + (1 << 30).to_bytes(4, "big")  # moved right by its height
    content = path.read_bytes()
    track = content.index(b"tkhd")
    place = content.index(identity, track)
    path.write_bytes(content[:place] + clockwise + content[place + 36 :])
    expected = np.rot90(quadrants(), -1)
    assert abs(read_video(path)[0].astype(int) - expected).max() < 12


PATCHES = np.array([(255, 255, 255), (0, 0, 0), (200, 40, 40), (40, 180, 60), (40, 60, 200), (120, 120, 120)], float)


@pytest.mark.parametrize(("matrix", "tag"), [("709", 1), ("601", 6), ("601", 2)])
@pytest.mark.parametrize("full", [False, True])
def test_colours_follow_the_tags_of_the_stream(tmp_path: Path, matrix: str, tag: int, full: bool) -> None:
    """Y'CbCr from the equations of BT.601 and BT.709; tag 2 is 'unspecified'."""
    red, blue = {"601": (0.299, 0.114), "709": (0.2126, 0.0722)}[matrix]
    r, g, b = (PATCHES / 255).T
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = [(b - luma) / (2 - 2 * blue), (r - luma) / (2 - 2 * red)]
    scale = (255, 0, 255, 128) if full else (219, 16, 224, 128)
    planes = [np.tile(np.repeat(np.rint(luma * scale[0] + scale[1]), 32), (32, 1))]
    planes += [np.tile(np.repeat(np.rint(part * scale[2] + scale[3]), 16), (16, 1)) for part in chroma]
    yuv = np.concatenate([plane.clip(0, 255).astype(np.uint8).reshape(-1, 192) for plane in planes])
    path = tmp_path / "a.mp4"
    with av.open(str(path), "w") as clip:
        stream = clip.add_stream("libx264", rate=25, options={"qp": "0"})
        stream.width, stream.height, stream.pix_fmt = 192, 32, "yuvj420p" if full else "yuv420p"
        stream.codec_context.colorspace = tag
        stream.codec_context.color_range = 2 if full else 1
        frame = av.VideoFrame.from_ndarray(yuv, format="yuv420p")
        frame.color_range, frame.colorspace = (2 if full else 1), tag
        clip.mux(stream.encode(frame))
        clip.mux(stream.encode(None))
    shown = read_video(path)[0][16, 16::32]
    assert abs(shown - PATCHES).max() <= 3


def test_4k_is_reduced_as_it_is_decoded(tmp_path: Path) -> None:
    big = np.kron(quadrants(), np.ones((68, 60, 1), np.uint8))[:2160]
    path = make(
        tmp_path / "a.mp4",
        [big] * 5,
        [n * 3600 for n in range(5)],
        {n * 3600: 3600 for n in range(5)},
        coder={"preset": "ultrafast"},
    )
    tracemalloc.start()
    try:
        video = read_video(path, max_side=512)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert video.shape == (5, 288, 512, 3)
    assert [int(video[0, y, x, 0]) for y, x in ((60, 100), (60, 400), (220, 100), (220, 400))] == pytest.approx(
        [0, 100, 170, 240], abs=4
    )
    assert peak < 100e6  # five frames of 4K alone are 124 MB


def test_reducing_averages_and_never_enlarges(tmp_path: Path) -> None:
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 200
    path = make(tmp_path / "a.mp4", [stripes], [0], {0: 3600}, coder={"qp": "0"})
    assert abs(read_video(path, max_side=16)[0].astype(int) - 100).max() <= 6
    assert read_video(path, max_side=1000).shape == (1, 64, 64, 3)


# Sound -------------------------------------------------------------------------------------------------------------

PCM = [
    ("pcm_u8", "u8", 2**-7),
    ("pcm_s16le", "s16", 2**-15),
    ("pcm_s24le", "s32", 2**-15),
    ("pcm_s32le", "s32", 2**-15),
    ("pcm_f32le", "flt", 2**-15),
    ("pcm_f64le", "dbl", 2**-15),
    ("flac", "s16", 2**-15),
]


@pytest.mark.parametrize("layout", ["mono", "stereo", "5.1"])
@pytest.mark.parametrize(("codec", "form", "step"), PCM)
def test_any_sample_format_is_down_mixed_to_the_mean(
    tmp_path: Path, codec: str, form: str, step: float, layout: str
) -> None:
    count = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    wanted = np.random.default_rng(0).uniform(-0.9, 0.9, (4000, count))
    stored = {
        "u8": lambda x: np.rint(x * 128 + 128).astype(np.uint8),
        "s16": lambda x: np.rint(x * 2**15).astype(np.int16),
        "s32": lambda x: np.rint(x * 2**31).astype(np.int32),
        "flt": lambda x: x.astype(np.float32),
        "dbl": lambda x: x,
    }[form](wanted)
    path = tmp_path / ("a.flac" if codec == "flac" else "a.wav")
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=8000, layout=layout)
        stream.format = form
        frame = av.AudioFrame.from_ndarray(stored.reshape(1, -1), format=form, layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 8000, 0, Fraction(1, 8000)
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    sound = read_audio(path)
    assert sound.rate == 8000
    assert sound.samples.dtype == np.float32
    assert sound.samples.shape == (4000,)
    assert abs(sound.samples - wanted.mean(axis=1)).max() <= step
    assert probe(path)[4:] == (8000, count)


@pytest.mark.parametrize(("codec", "kind"), [("aac", "mp4"), ("libmp3lame", "mp3"), ("libopus", "mkv")])
@pytest.mark.parametrize("layout", ["mono", "stereo"])
def test_coded_sound_keeps_its_place_and_length(tmp_path: Path, codec: str, kind: str, layout: str) -> None:
    wanted = np.zeros(24000, np.float32)
    wanted[12000:12480] = tone(0.01, 2000)
    path = tmp_path / f"a.{kind}"
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream(codec, rate=48000, layout=layout)
        stream.bit_rate = 192_000
        channels = np.stack([wanted] * (1 if layout == "mono" else 2))
        frame = av.AudioFrame.from_ndarray(channels, format="fltp", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    samples = read_audio(path).samples
    padded = np.pad(samples, (0, 48000))[:48000]
    lag = int(np.argmax(np.correlate(padded[:24000], wanted, "full"))) - 23999
    assert abs(lag) <= 48  # 1 ms
    assert abs(len(samples) - 24000) <= (1 if kind == "mp4" else 1152)


def test_a_clock_too_coarse_for_samples_loses_none(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"  # counts milliseconds
    with av.open(str(path), "w") as clip:
        stream: Any = clip.add_stream("pcm_s16le", rate=44100, layout="mono")
        for block in range(5):
            frame = av.AudioFrame.from_ndarray(np.full((1, 2000), 8192, np.int16), format="s16", layout="mono")
            frame.sample_rate, frame.pts, frame.time_base = 44100, block * 2000, Fraction(1, 44100)
            clip.mux(stream.encode(frame))
    assert np.array_equal(read_audio(path).samples, np.full(10000, 0.25, np.float32))


# What is wrong with a file -----------------------------------------------------------------------------------------


def open_files() -> int:
    """How many this process has open; 0 where the system does not say."""
    folder = Path("/proc/self/fd")
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def broken_files(folder: Path) -> dict[str, Path]:
    files = {
        name: folder / name for name in ("absent.mp4", "empty.mp4", "text.mp4", "list.mp4", "page.mp4", "folder.mp4")
    }
    files["empty.mp4"].write_bytes(b"")
    files["text.mp4"].write_text("this is not a film\n" * 50)
    files["list.mp4"].write_text("ffconcat version 1.0\nfile good.mp4\n")
    files["page.mp4"].write_text(
        f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{folder / 'good.mp4'}\n#EXT-X-ENDLIST\n"
    )
    files["folder.mp4"].mkdir()
    good = make_clip(folder / "good.mp4", *at_rate(Fraction(25), 10), sound=tone(0.4))
    content = good.read_bytes()
    for name, part in (
        ("head.mp4", content[:40]),
        ("half.mp4", content[: len(content) // 2]),
        ("zeros.mp4", bytes(9999)),
    ):
        files[name] = folder / name
        files[name].write_bytes(part)
    return files


def test_what_is_wrong_with_a_file_is_one_error_that_names_it_and_nothing_is_printed_or_left_open(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = broken_files(tmp_path)
    open_before = open_files()
    for name, path in files.items():
        for read in (
            read_video,
            read_audio,
            probe,
            lambda path: stream_sha256(path, "video"),
            lambda path: stream_sha256(path, "audio"),
        ):
            with pytest.raises(MediaError, match=name):
                read(path)
        with pytest.raises(MediaError, match=name):
            write_clip(tmp_path / "out.mp4", path, None)
    assert open_files() == open_before
    assert capfd.readouterr() == ("", "")
    assert not (tmp_path / "out.mp4").exists()
    with pytest.raises(MediaError, match="no such file"):
        read_image(files["absent.mp4"])
    with pytest.raises(MediaError, match="folder"):
        stream_sha256(files["folder.mp4"], "image")


def test_a_stream_that_is_not_there_is_said_to_be_absent(tmp_path: Path) -> None:
    silent = make_clip(tmp_path / "silent.mp4", *at_rate(Fraction(25), 5))
    hears: tuple[Callable[[Path], object], ...] = (read_audio, lambda path: stream_sha256(path, "audio"))
    for read in hears:
        with pytest.raises(MediaError, match=r"silent\.mp4: holds no (sound|audio)"):
            read(silent)
    write_audio(tmp_path / "blind.wav", Sound(tone(0.1), 48000))
    sees: tuple[Callable[[Path], object], ...] = (read_video, lambda path: stream_sha256(path, "video"))
    for read in sees:
        with pytest.raises(MediaError, match=r"blind\.wav: holds no video"):
            read(tmp_path / "blind.wav")
    assert list(probe(tmp_path / "blind.wav")) == pytest.approx([0.1, 0, 0, 0.0, 48000, 1])
    assert list(probe(silent)) == pytest.approx([0.2, BITS * BLOCK, 2 * BLOCK, 25.0, 0, 0])


def test_a_cover_picture_is_no_video(tmp_path: Path) -> None:
    path = tmp_path / "song.mp4"
    with av.open(str(path), "w") as file:
        cover: Any = file.add_stream("png")
        cover.width, cover.height, cover.pix_fmt = 64, 32, "rgb24"
        cover.disposition = Disposition.attached_pic
        voice: Any = file.add_stream("aac", rate=48000, layout="mono")
        file.mux(cover.encode(av.VideoFrame.from_ndarray(quadrants(), format="rgb24")))
        frame = av.AudioFrame.from_ndarray(tone(0.2)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        file.mux([*voice.encode(frame), *voice.encode(None)])
    assert read_audio(path).rate == 48000
    with pytest.raises(MediaError, match="holds no video"):
        read_video(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One clip in several containers, a wav and a flac."""
    folder = tmp_path_factory.mktemp("whole")
    muxers = {"front": "+faststart", "end": "+disable_chpl", "parts": "+frag_keyframe+empty_moov+delay_moov"}
    clips = {
        name: make_clip(
            folder / f"{name}.mp4",
            *at_rate(Fraction(25), 20),
            sound=tone(0.8),
            muxer={"movflags": flags},
            coder={"g": "5"},
        )
        for name, flags in muxers.items()
    }
    clips["mkv"] = make_clip(folder / "a.mkv", *at_rate(Fraction(25), 20), sound=tone(0.8))
    return clips


@a_few
@given(kind=st.sampled_from(["front", "end", "mkv"]), place=st.floats(0, 1, exclude_max=True))
def test_a_file_cut_anywhere_is_an_error(tmp_path: Path, whole: dict[str, Path], kind: str, place: float) -> None:
    content = whole[kind].read_bytes()
    path = tmp_path / f"cut{whole[kind].suffix}"
    path.write_bytes(content[: int(place * len(content))])
    for read in (read_video, read_audio):
        with pytest.raises(MediaError, match="cut"):
            read(path)


@a_few
@given(place=st.floats(0, 1, exclude_max=True))
def test_a_fragmented_file_cut_anywhere_is_an_error_or_whole_fragments(
    tmp_path: Path, whole: dict[str, Path], place: float
) -> None:
    content = whole["parts"].read_bytes()
    assert numbers(read_video(whole["parts"])) == list(range(20))
    path = tmp_path / "cut.mp4"
    path.write_bytes(content[: int(place * len(content))])
    try:
        shown = numbers(read_video(path))
    except MediaError:
        return
    assert shown == list(range(len(shown)))
    assert len(shown) % 5 == 0


@a_few
@given(place=st.floats(0, 1, exclude_max=True))
def test_missing_packets_are_an_error_where_the_file_does_not_declare_its_length(
    tmp_path: Path, whole: dict[str, Path], place: float
) -> None:
    content = whole["front"].read_bytes()
    start = content.index(b"mdat") + 4
    open_ended = content[: start - 8] + bytes(4) + b"mdat"  # a length of 0: to the end of the file
    path = tmp_path / "cut.mp4"
    path.write_bytes(open_ended + content[start:])
    assert numbers(read_video(path)) == list(range(20))
    path.write_bytes(open_ended + content[start : start + int(place * (len(content) - start))])
    errors = 0
    for read, length in ((read_video, 20), (lambda path: read_audio(path).samples, 38400)):
        try:
            assert len(read(path)) == length  # the last packet of the one may come after all of the other's
        except MediaError:
            errors += 1
    assert errors


@pytest.mark.parametrize("missing", [2, 4000])
def test_a_wav_shorter_than_its_samples_is_an_error(tmp_path: Path, missing: int) -> None:
    path = tmp_path / "a.wav"
    write_audio(path, Sound(tone(0.5), 48000))
    content = path.read_bytes()[:-missing]
    path.write_bytes(content[:4] + (len(content) - 8).to_bytes(4, "little") + content[8:])
    with pytest.raises(MediaError, match=r"truncated|damaged or cut off"):
        read_audio(path)


def noise_flac(path: Path) -> Path:
    """Half a second of noise."""
    noise = np.random.default_rng(0).integers(-9999, 9999, (1, 24000), np.int16)
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("flac", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(noise, format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        file.mux([*stream.encode(frame), *stream.encode(None)])
    return path


@pytest.mark.parametrize("missing", [1, 2, 1000])
@pytest.mark.parametrize("kind", ["wav", "flac"])
def test_a_cut_sound_file_is_an_error(tmp_path: Path, kind: str, missing: int) -> None:
    path = tmp_path / f"a.{kind}"
    if kind == "wav":
        write_audio(path, Sound(tone(0.5), 48000))
    else:
        noise_flac(path)
    assert len(read_audio(path).samples) == 24000
    path.write_bytes(path.read_bytes()[:-missing])
    with pytest.raises(MediaError, match=rf"a\.{kind}"):
        read_audio(path)


def test_a_sound_file_cut_between_its_packets_is_an_error(tmp_path: Path) -> None:
    content = noise_flac(tmp_path / "a.flac").read_bytes()
    with av.open(str(tmp_path / "a.flac")) as file:
        ends = [packet.pos + packet.size for packet in file.demux() if packet.pos is not None and packet.size]
    for end in ends[:-1]:
        (tmp_path / "a.flac").write_bytes(content[:end])
        with pytest.raises(MediaError, match=r"truncated: 0\.\d+ of 0\.500 s"):
            read_audio(tmp_path / "a.flac")


@a_few
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12), st.data())
def test_a_damaged_file_never_ends_the_program(
    tmp_path: Path, whole: dict[str, Path], damage: list[tuple[float, int]], data: st.DataObject
) -> None:
    source = whole[data.draw(st.sampled_from(sorted(whole)))]
    content = bytearray(source.read_bytes())
    for place, value in damage:
        content[int(place * len(content))] = value
    path = tmp_path / f"damaged{source.suffix}"
    path.write_bytes(content)
    try:
        video = read_video(path)
        assert 1 <= len(video) <= (MAX_SECONDS + 1) * 25
        sound = read_audio(path)
        assert 1 <= len(sound.samples) <= (MAX_SECONDS + 1) * sound.rate
        assert np.isfinite(sound.samples).all()
    except MediaError:
        pass


@pytest.mark.parametrize("missing", [0, 8])  # key frames
def test_frames_that_cannot_be_decoded_are_an_error_and_no_standstill(tmp_path: Path, missing: int) -> None:
    source = make_clip(tmp_path / "a.mp4", *at_rate(Fraction(25), 20), coder={"g": "8", "bf": "2"})
    path = remux(source, tmp_path / "b.mp4", lambda number, packet: None if number == missing else packet)
    with pytest.raises(MediaError, match=r"damaged: 1\d of 19 frames"):
        read_video(path)


def test_a_stream_without_times_is_an_error(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.h264", *at_rate(Fraction(25), 5))
    for use in (read_video, lambda path: write_clip(tmp_path / "b.mp4", path, None)):
        with pytest.raises(MediaError, match=r"a\.h264"):
            use(path)
    assert not (tmp_path / "b.mp4").exists()


@pytest.mark.parametrize(
    "muxer", ["+faststart", "+frag_keyframe+empty_moov+delay_moov"]
)  # the second announces no length
def test_a_clip_of_more_than_a_minute_is_refused(tmp_path: Path, muxer: str) -> None:
    longest = make_clip(tmp_path / "a.mp4", *at_rate(Fraction(1), 60), muxer={"movflags": muxer})
    assert len(read_video(longest)) == 1500
    assert probe(longest).seconds == pytest.approx(60)
    with pytest.raises(MediaError, match="longer than 60 s"):
        read_video(make_clip(tmp_path / "b.mp4", *at_rate(Fraction(1), 61), muxer={"movflags": muxer}))


def test_a_clip_of_hours_is_refused_before_it_fills_the_memory(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "a.mp4", [Fraction(0), Fraction(1), Fraction(4000)], Fraction(4001))
    tracemalloc.start()
    try:
        with pytest.raises(MediaError, match="longer than 60 s"):
            read_video(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6


def test_a_sound_of_more_than_a_minute_is_refused(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", Sound(np.zeros(60 * 8000, np.float32), 8000))
    assert len(read_audio(tmp_path / "a.wav").samples) == 60 * 8000
    write_audio(tmp_path / "b.wav", Sound(np.zeros(61 * 8000, np.float32), 8000))
    with pytest.raises(MediaError, match="longer than 60 s"):
        read_audio(tmp_path / "b.wav")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, value: float) -> None:
    path = tmp_path / "a.wav"
    samples = tone(0.1)
    samples[7] = value
    with av.open(str(path), "w") as file:
        stream: Any = file.add_stream("pcm_f32le", rate=48000, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 48000, 0, Fraction(1, 48000)
        file.mux(stream.encode(frame))
    with pytest.raises(MediaError, match="not finite"):
        read_audio(path)


# Images ------------------------------------------------------------------------------------------------------------


def test_images_of_every_kind_become_rgb(tmp_path: Path) -> None:
    rgb = quadrants()
    grey = rgb[..., 0]
    clear = np.dstack([rgb, np.full(grey.shape, 255, np.uint8)])
    clear[:16, :32, 3] = 0
    on_white = rgb.copy()
    on_white[:16, :32] = 255
    index = Image.fromarray(rgb).quantize(4)
    index.info["transparency"] = index.getpixel((0, 0))
    cases = {
        "rgb.png": (Image.fromarray(rgb), rgb),
        "grey.png": (Image.fromarray(grey), rgb),
        "deep.png": (Image.fromarray(grey.astype(np.uint16) * 257), rgb),
        "bits.png": (Image.fromarray(grey).point(lambda v: 255 if v > 150 else 0, "1"), np.where(rgb > 150, 255, 0)),
        "clear.png": (Image.fromarray(clear), on_white),
        "clear.gif": (index, on_white),
        "ink.tif": (Image.fromarray(rgb).convert("CMYK"), rgb),
        "photo.jpg": (Image.fromarray(rgb), rgb),
    }
    for name, (image, expected) in cases.items():
        image.save(tmp_path / name)
        shown = read_image(tmp_path / name)
        assert shown.dtype == np.uint8
        assert shown.shape == rgb.shape, name
        assert np.percentile(abs(shown.astype(int) - expected), 98) <= 3, name
    assert read_image(tmp_path / "rgb.png", max_side=16).shape == (8, 16, 3)
    assert np.array_equal(read_image(tmp_path / "rgb.png", max_side=16)[:, :, 0], grey[::4, ::4])


@pytest.mark.parametrize(
    ("orientation", "turned"),
    [
        (1, lambda x: x),
        (2, lambda x: x[:, ::-1]),
        (3, lambda x: np.rot90(x, 2)),
        (6, lambda x: np.rot90(x, -1)),
        (8, lambda x: np.rot90(x, 1)),
    ],
)
def test_photographs_are_shown_upright(tmp_path: Path, orientation: int, turned: Any) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(quadrants()).save(tmp_path / "a.png", exif=exif)
    assert np.array_equal(read_image(tmp_path / "a.png"), turned(quadrants()))


@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "webp"])
def test_an_image_cut_anywhere_is_an_error_or_the_whole(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"a.{kind}"
    noise = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    Image.fromarray(noise).save(path)
    content, whole_image = path.read_bytes(), read_image(path)
    for place in np.linspace(1, len(content) - 1, 40).astype(int):
        path.write_bytes(content[:place])
        try:
            shown = read_image(path)
        except MediaError:
            continue
        assert np.array_equal(shown, whole_image)


# The digest of a stream --------------------------------------------------------------------------------------------


def remux(source: Path, target: Path, change: Any = None) -> Path:
    """Copies the video packets of a clip, each passed through `change(number, packet)`; None leaves it out."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        video = old.streams.video[0]
        copy = new.add_stream_from_template(video, opaque=True)
        for number, packet in enumerate(packet for packet in old.demux(video) if packet.size):
            kept = packet if change is None else change(number, packet)
            if kept is not None:
                kept.stream = copy
                new.mux(kept)
    return target


def flip_last_byte(number: int, packet: Any) -> Any:
    if number != 7:
        return packet
    changed = av.Packet(bytes(packet)[:-1] + bytes([bytes(packet)[-1] ^ 1]))
    changed.pts, changed.dts, changed.duration, changed.time_base = (
        packet.pts,
        packet.dts,
        packet.duration,
        packet.time_base,
    )
    changed.is_keyframe = packet.is_keyframe
    return changed


def move_one(number: int, packet: Any) -> Any:
    packet.pts += 1 if number == 7 else 0
    return packet


def move_all(number: int, packet: Any) -> Any:
    packet.pts += 9000
    packet.dts += 9000
    return packet


def test_the_digest_of_a_video_survives_a_change_of_container_and_nothing_else(short: Path, tmp_path: Path) -> None:
    digest = stream_sha256(short, "video")
    for kind in ("mp4", "mov"):
        assert stream_sha256(remux(short, tmp_path / f"same.{kind}"), "video") == digest
    others = [
        remux(short, tmp_path / "byte.mp4", flip_last_byte),
        remux(short, tmp_path / "one.mp4", move_one),
        remux(short, tmp_path / "all.mp4", move_all),
        make_clip(tmp_path / "turned.mp4", *at_rate(Fraction(25), 20), turn=(90,)),
        make_clip(tmp_path / "turned2.mp4", *at_rate(Fraction(25), 20), turn=(180,)),
        make_clip(tmp_path / "longer.mp4", *at_rate(Fraction(25), 21)),
        make_clip(tmp_path / "last.mp4", at_rate(Fraction(25), 20)[0], Fraction(2)),
    ]
    digests = [stream_sha256(path, "video") for path in others]
    assert len({digest, *digests}) == 1 + len(others)


def test_the_digest_of_a_sound_depends_on_its_packets_and_their_place(tmp_path: Path) -> None:
    times = at_rate(Fraction(25), 20)
    clips = [
        make_clip(tmp_path / "a.mp4", *times, sound=tone(0.8)),
        make_clip(tmp_path / "b.mp4", *times, sound=tone(0.8), turn=(90,)),
        make_clip(tmp_path / "c.mp4", *times, sound=tone(0.8, 441)),
        make_clip(tmp_path / "d.mp4", *times, sound=tone(0.8), late=480),
    ]
    digests = [stream_sha256(path, "audio") for path in clips]
    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_the_digest_of_an_image_is_that_of_its_bytes(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", quadrants())
    assert stream_sha256(tmp_path / "a.png", "image") == hashlib.sha256((tmp_path / "a.png").read_bytes()).hexdigest()


# The encoder -------------------------------------------------------------------------------------------------------


def test_flash_and_beep_stay_together_through_the_encoder_and_back(tmp_path: Path) -> None:
    video = np.zeros((50, 64, 64, 3), np.uint8)
    video[20:23] = 255
    for rate in (8000, 16000, 22050, 44100, 48000, 18900):
        samples = np.zeros(2 * rate, np.float32)
        samples[round(0.8 * rate) : round(0.92 * rate)] = tone(0.12, 1000, rate)
        path = tmp_path / f"{rate}.mp4"
        write_clip(path, video, Sound(samples, rate))
        shown = read_video(path)
        assert [n for n in range(50) if shown[n].mean() > 127] == [20, 21, 22]
        heard = read_audio(path)
        assert heard.rate == (48000 if rate == 18900 else rate)
        assert len(heard.samples) == 2 * heard.rate
        wanted = np.zeros(2 * heard.rate, np.float32)
        wanted[round(0.8 * heard.rate) : round(0.92 * heard.rate)] = tone(0.12, 1000, heard.rate)
        spectrum = np.fft.rfft(heard.samples, 4 * heard.rate) * np.conj(np.fft.rfft(wanted, 4 * heard.rate))
        lag = int(np.argmax(np.fft.irfft(spectrum)))
        assert min(lag, 4 * heard.rate - lag) <= heard.rate / 1000
        assert np.sqrt(np.mean((heard.samples - wanted) ** 2)) < 0.02


def test_the_encoder_keeps_the_picture(tmp_path: Path) -> None:
    video = natural(20)
    write_clip(tmp_path / "a.mp4", video, None)
    shown = read_video(tmp_path / "a.mp4")
    assert shown.shape == video.shape
    error = shown.astype(float) - video
    assert 10 * np.log10(255**2 / np.mean(error**2)) > 38
    assert abs(error.mean(axis=(0, 1, 2))).max() < 1  # no tint
    patches = np.repeat(np.repeat(PATCHES.astype(np.uint8)[None, None], 32, axis=2), 32, axis=1)
    write_clip(tmp_path / "b.mp4", patches, None)
    assert abs(read_video(tmp_path / "b.mp4")[0, 16, 16::32].astype(int) - PATCHES).max() <= 4


SAME = """
import sys
import numpy as np
from pathlib import Path
from avbench.clip import Sound, write_audio, write_clip, write_image
rng = np.random.default_rng(5)
video = rng.integers(0, 255, (8, 32, 48, 3), np.uint8)
sound = Sound(rng.normal(0, 0.1, 5000).astype(np.float32), 16000)
folder = Path(sys.argv[1])
write_clip(folder / "a.mp4", video, sound, "a comment")
write_clip(folder / "b.mp4", folder / "a.mp4", Sound(sound.samples, 18900))
write_audio(folder / "a.wav", sound)
write_image(folder / "a.png", video[0])
"""


def test_the_same_arguments_give_the_same_bytes_in_every_process(tmp_path: Path) -> None:
    contents = []
    for number in range(2):
        folder = tmp_path / str(number)
        folder.mkdir()
        threads = {"OMP_NUM_THREADS": str(number + 1)}
        subprocess.run([sys.executable, "-c", SAME, str(folder)], check=True, env={**os.environ, **threads})
        contents.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert set(contents[0]) == {"a.mp4", "a.png", "a.wav", "b.mp4"}
    assert contents[0] == contents[1]
    assert b"a comment" in contents[0]["a.mp4"]
    assert b"Lavf" not in contents[0]["a.mp4"]
    assert contents[0]["a.mp4"].index(b"moov") < contents[0]["a.mp4"].index(b"mdat")


def test_a_picture_can_be_compressed_harder(tmp_path: Path) -> None:
    frames = natural(8)
    usual, same, harder = (tmp_path / f"{name}.mp4" for name in ("usual", "same", "harder"))
    write_clip(usual, frames, None)
    write_clip(same, frames, None, crf=18)
    write_clip(harder, frames, None, crf=40)
    assert same.read_bytes() == usual.read_bytes()
    assert harder.stat().st_size < usual.stat().st_size
    errors = [np.square(read_video(path).astype(float) - frames).mean() for path in (usual, harder)]
    assert errors[0] < errors[1] / 2
    for crf in (-1, 52, float("nan")):
        with pytest.raises(UsageError, match="expected 0 to 51"):
            write_clip(tmp_path / "no.mp4", frames, None, crf=crf)


@pytest.mark.parametrize(("height", "width"), [(50, 66), (64, 64), (32, 48)])
def test_what_memory_held_before_does_not_show_in_a_clip(tmp_path: Path, height: int, width: int) -> None:
    """Encoders have read memory that they never wrote; a fresh process, whose memory is zero, does not show it."""
    rng = np.random.default_rng(0)
    video, contents = natural(8, height, width), set()
    for _ in range(8):
        dirt = [rng.integers(0, 255, size, np.uint8) for size in rng.integers(1000, 300_000, 20)]
        del dirt
        write_clip(tmp_path / "a.mp4", video, Sound(tone(0.3, 300, 16000), 16000))
        contents.add((tmp_path / "a.mp4").read_bytes())
    assert len(contents) == 1


@pytest.mark.parametrize(
    "options", [{}, {"turn": (90, True)}, {"muxer": {"movflags": "+frag_keyframe+empty_moov+delay_moov"}}]
)
@pytest.mark.parametrize("start", [Fraction(0), Fraction(3, 10), Fraction(12345, TICKS)])
def test_a_copied_video_is_the_same_video(tmp_path: Path, start: Fraction, options: dict[str, Any]) -> None:
    times = [start + Fraction(n * n, 500) for n in range(20)]  # a variable rate
    muxer = {"movie_timescale": str(TICKS), **options.get("muxer", {})}
    source = make_clip(tmp_path / "a.mp4", times, times[-1] + Fraction(1, 25), **{**options, "muxer": muxer})
    write_clip(tmp_path / "b.mp4", source, Sound(tone(0.5), 48000), comment="copied")
    assert stream_sha256(tmp_path / "b.mp4", "video") == stream_sha256(source, "video")
    assert np.array_equal(read_video(tmp_path / "b.mp4"), read_video(source))
    assert numbers(read_video(source)) == nearest(times, times[-1] + Fraction(1, 25)) or "turn" in options
    samples = read_audio(tmp_path / "b.mp4").samples
    assert len(samples) == round((times[-1] + Fraction(1, 25)) * 48000)
    assert np.sqrt(np.mean((samples[2000:21000] - tone(0.5)[2000:21000]) ** 2)) < 0.01
    write_clip(source, source, None)  # onto itself
    assert stream_sha256(source, "video") == stream_sha256(tmp_path / "b.mp4", "video")


@pytest.mark.parametrize("kind", ["mkv", "ts"])
def test_a_video_copied_from_another_container_shows_the_same_frames(tmp_path: Path, kind: str) -> None:
    source = make_clip(tmp_path / f"a.{kind}", *at_rate(Fraction(25), 20), sound=tone(0.8))
    write_clip(tmp_path / "b.mp4", source, None)
    assert np.array_equal(read_video(tmp_path / "b.mp4"), read_video(source))


@pytest.mark.parametrize("seconds", [0.01, 0.3, 0.4, 3.0])
def test_the_sound_of_a_clip_lasts_as_long_as_its_video(tmp_path: Path, seconds: float) -> None:
    write_clip(tmp_path / "a.mp4", natural(10, 32, 32), Sound(tone(seconds), 48000))
    samples = read_audio(tmp_path / "a.mp4").samples
    assert len(samples) == 19200
    kept = round(min(seconds, 0.4) * 48000)
    assert samples[: max(kept, 400)].std() > 0.1
    if kept + 3000 < 19200:
        assert abs(samples[kept + 3000 :]).max() < 0.01
    assert probe(tmp_path / "a.mp4").seconds == pytest.approx(0.4)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((3, 33, 32, 3), "even"),
        ((3, 32, 31, 3), "31 x 32"),
        ((0, 32, 32, 3), "at least 1"),
        ((32, 32, 3), "expected"),
        ((3, 32, 32, 4), "expected"),
    ],
)
def test_frames_that_cannot_be_encoded_are_refused(tmp_path: Path, shape: tuple[int, ...], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        write_clip(tmp_path / "a.mp4", np.zeros(shape, np.uint8), None)
    assert list(tmp_path.iterdir()) == []


def test_sounds_and_images_that_cannot_be_written_are_refused(tmp_path: Path) -> None:
    for samples in (np.zeros(0, np.float32), np.zeros((2, 5), np.float32), np.full(9, np.nan, np.float32)):
        for write in (write_audio, lambda path, sound: write_clip(path, natural(2, 32, 32), sound)):
            with pytest.raises(UsageError, match="sound"):
                write(tmp_path / "a", Sound(samples, 16000))
    for shape in ((32, 32), (32, 32, 4), (0, 32, 3)):
        with pytest.raises(UsageError, match="image"):
            write_image(tmp_path / "a.png", np.zeros(shape, np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_an_avi_or_a_file_without_video_cannot_lend_its_video(tmp_path: Path) -> None:
    write_audio(tmp_path / "a.wav", Sound(tone(0.1), 48000))
    with pytest.raises(MediaError, match=r"a\.wav: holds no video"):
        write_clip(tmp_path / "b.mp4", tmp_path / "a.wav", None)
    with av.open(str(tmp_path / "a.avi"), "w") as clip:
        stream = clip.add_stream("mpeg4", rate=25)
        stream.width, stream.height = 64, 32
        clip.mux([*stream.encode(av.VideoFrame.from_ndarray(quadrants(), format="rgb24")), *stream.encode(None)])
    with pytest.raises(MediaError, match=r"a\.avi: has no presentation times"):
        write_clip(tmp_path / "b.mp4", tmp_path / "a.avi", None)
    assert not (tmp_path / "b.mp4").exists()


FULL = """
import resource, signal, sys
import numpy as np
from pathlib import Path
from avbench.clip import write_clip
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
write_clip(Path(sys.argv[1]), np.random.default_rng(0).integers(0, 255, (9, 64, 64, 3), np.uint8), None)
"""


def test_a_clip_that_cannot_be_written_whole_is_not_written_at_all(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path / "a.mp4")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "OSError" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_sound_file_keeps_its_samples_to_16_bits_and_clips_the_rest(tmp_path: Path) -> None:
    samples = np.array([0, 0.25, -0.25, 1, -1, 1.7, -3, 1e-5], np.float32)
    write_audio(tmp_path / "a.wav", Sound(samples, 22050))
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22050)
        assert np.frombuffer(file.readframes(8), "<i2").tolist() == [0, 8192, -8192, 32767, -32768, 32767, -32768, 0]
    sound = read_audio(tmp_path / "a.wav")
    assert sound.rate == 22050
    assert abs(sound.samples - samples.clip(-1, 1)).max() <= 2**-15


def test_an_image_is_written_without_loss(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", natural(1)[0])
    assert np.array_equal(read_image(tmp_path / "a.png"), natural(1)[0])


def test_odd_names_are_names(short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a b.mp4", "50%.mp4", "concat:x|y.mp4", "-i.mp4", "ключ 🗝.mp4", "http:a.mp4", "fd:"):
        shutil.copy(short, name)
        assert len(read_video(Path(name))) == 20
        write_clip(Path(f"{name} again"), Path(name), None)
        assert len(read_video(Path(f"{name} again"))) == 20


# The number of the decode protocol ----------------------------------------------------------------------------------

# A clip of 3387 bytes (H.264 at a variable rate, turned by 90 degrees; AAC in stereo, begun late), zlib, base64.
KEPT = """
eNqVVwlcFOcVnwVRsORXCihqUAchVRSW3eVUO1xCAG9ESPDoOjsze8BezAyXomC1icRU4lEtENBgASuKVxOPKGKNRSNILUZDxACiovEkgEs4dvpm
WcpKNL/2+83M9973vfd/33vvP8OCIAgqZzP1KkanQRArhJ/hluBphFij9xMjiM0hjU6XhiCIWpOmJJFXhvVDBBF4IQKEv4aH4FWrkXoo8ovDGs5R
wNJ4Msir2GRTTOvXoP3wOmeOe8MZhuLyD5FJ9aBIloHZlVIzrIXXIwRx0Q/6WzlqSBUOAqohR+QukH6CIKur478yad5KUk0PbaWpSMrSNAF0XTSu
JdUUbyM4p1Fp5SA4p2lMoJZH9SAH91xJmpJbHMo+lVajg7JgPcPK1CAfZliGtLAp4pv2xvRDIe1omKPfXKARY4KpmL6AOk9AImO5VmS8AuZDjRFr
HfiWOCCzfkQ6piWuESCjlY9bHS8fHejp4R2dZSxtruimCUNgDGuq9lDo0Qjyq1O8LSRhuc7fQcSwrc3gGnTENAtb+LaYfYf0oX1XwCJGYFmZZy/Y
W2uRHMS3aoN5Ml9c8+1ungGH0A2z0aYJQezKEGRsDfjgv8BMK3NoL0ueCP7/N+INzDThtgz6ChrfyEwkOAdBnPa9jpmMLlVraRkHOmnBzM1mZjow
mldA/xdWRptZuWEEK7XwGcF/lrYVsMd8VBgBFEOaGm6dk5PzDmyOgtkldJxpU7mQv21gxcbZIeE+MhokgdWrNBu04cthQTPeZpTpMkW23gfzDAuK
WFnQRGBupbVZnjGCLjwNv4YtO5iPwV0L9+WfU8WWp0oVUOUl6JMYhZ7kwWidWj0Uz/ROuTIyBU/YoR3BMNERLJVk+Xr5ayh2qG5ulk2ExtO4Xq+2
bKStapAptnKagm/PGIWGxEG32jfahuM+bYp8dO5BY/TJ3V7foo3uz55nSAL8UG+U0NEUKg7wBzFaCEs+i5ZGRnn7oWEJ82CPpAjYmKfTZ6opOYtK
RCJfb4lIwlsrWVY/x8cnPT1dyH/rdGpcK9TRCh8eV6hkNWqw0elZlU7LzEEJXIYTmBgF5mC+KEnJ1DoiGRPPEc0RobgWV2cyFCbK8J0jyhCLfVEN
hSmpDJRJlYEUiOqZTHCFp5QmMbFQBE7wQDWqDIqU8ohi8JDSuFZBYeIAlFDSOg0uBVcxytKUWq1iQArKCCIJFgQiRYOJ4Ag4uVanpTCJ2EssRuU4
w0r1TLJKz1sMAqTopTq5nKFYzFuCskoaPHggtU6XjCtBkQ6vMWoVQQ0viFAtbYpBqDQ4y59DpWUpWo2DEazL1Kk0nikldBo9zoJOQIngg6LSAgQY
0jhvI6dxDcVgElQm1WeCrCJNMk7iej4LmVSmwvlIwAPKlFc6pVIoWRlIOj2llSp0etgdXNSDazKVCdiYxF9kFqXwmoOKMgSlpYhUFvMToabofElp
ilGCO01I/5suv08TGEHLUQ28cxSfFiiYLzQDTeGTwUTCABD1PLBpxjOwgNkgMCylx/xQlR6aBISAHgIWngL957uJ8K//XGrLZiQqXJKu3LTC7cas
DXndT5dWpCWlGd3eUiX3Hu9437GvsLXkgfJYRb52aUfyk05WkGIXKzzSsuDqRnCfGFbgro7hvlPuDP2oftlS+xLssxSCMPT0b/jeClkIf7wCJEJJ
kFAskiDhi3b25wiiRh0rtUnPiqgQxkyLCG3wljT4lf27MD4ufqfm2y8q7gQO1HV4BE85Und/eXNF1tst1eZx7dlHiYsKA+xzHT0XFQbO9FhWGKBN
pHa/7irFx37COiem3ulw/H36yhs77u0YHUR8EETkIGN8y0PXrFE7ls536v1aKb1679Kel8EB9jwoFeh1oPS1cHv4KtmGFYdlFHKZF3hZUCxLishe
V+02X/3CdYygui5WeKg8YUHFOw1cudGY0fZe1jrOmNdvPHOzMonjXIzc6qRn3R1cP9fZ+3jF6X3PyQ/8PePqg4rebyn4rD92vHvfX/+kSVqxu3Rh
7QnrBSK/ckGp3ei4T/8yYeJiJ5FIPO3KtMWK31a7OeXdHDU95+qxd2W59yN+LMmMZQ4KUyO7MsPdutqt0AVOyjyfu/eSZuyXNqye9LBgSs0X7mMv
CPcOhBjae7Pzqs60cr0hnc/7sm89Ppz6lOs5b+gYOP/Y0FkZks21c0XZ0o7um1Utshfzlvv7+9/6aWNE2bm7VZdeChud1smr97h6HrLzZC/vurzL
MPH7dbmLy4vbnDvrKgVr6yKdJ03jfwRMDSugYg6EKfMXOndI75ThWTFnj/4juaXy6G3D8pIbTucG67aZr9sFt/Q8rjpk5x9jZ9tVcUue9gxs6L3b
f/8KHeOY/F6tdXNzU7BkzN9to2r+iT9/vi8rS46EZ+dtmt7cFNLxQrF+4CI3VdCcnbKH/63jaLQJ9rU3vvh471sfGzv/cLxwvXHv7Y7ege5LP9U3
ZA+ENA/4rFrvcbOyC2x7aicbDIAe9pV7k1VPT+2Ys+7TLxJtbS0Kw78kWfKJA62/7ofnQE1NTbXBYJg6pdeaA1RjC+fq5pJnDEUct0T+Bl/O9TUf
MTZJV+4RRu+IzkV32c8Pv7h9459bW6ZvXVI0WSps/7yr3sH6YGX7gR8axxf2KtrKr207+GXx/u7frdA9KuaXK04/Xe97qcxYzC//LRbLXtihqrKw
WbosPj7EaHjMnXS5WR48l+tt5torvtwR4wFEXObzKCHQgIUnhn3jICr5PLJ0V2p8U/fUw9tV58syAAHiHnlU7B3Y1Q3Lk+Mjy4z5dxuyl8Svro/t
NR2nZTAX5yf0qSO3884WXKHvbfeIcZhVNbPgjHa32vNkMFY2b9uHkt25b99Kn5uv2L+3SrhmVNzMbemS+qjrD08XNBm8Tly/9iDxu6auVXXadsar
iznt4ruyeGv+wdlNVzHXJ1vzD9dH1mGuz6jiLRPHBR2zXTyuL8Wwc3VCX/tTwzd3rnjs4P+bya08vvJUnIunW9GzG1xUyYOkD0sK1gJAyLvtJQ+S
mWtUMUTs9D8NEfcX1Z64Xt9sCnJ/EHfK1pz/AN2FHc8=
"""


def test_the_decode_number_still_names_what_the_decoder_gives(tmp_path: Path) -> None:
    """Another library, or another rule, that changes a pixel or a sample: raise `DECODE`, then mend the values here."""
    path = tmp_path / "kept.mp4"
    path.write_bytes(zlib.decompress(base64.b64decode(KEPT)))
    whole, reduced = read_video(path), read_video(path, max_side=32)
    sound = read_audio(path)
    assert DECODE == 1
    assert (whole.shape, reduced.shape) == ((6, 64, 48, 3), (6, 32, 24, 3))
    assert [hashlib.sha256(video.tobytes()).hexdigest() for video in (whole, reduced)] == [
        "3d27a07b7494bba852951abb3c57cf0a5080cf3701b4a47e6a989503a038f11e",
        "e69a69ccc79d2b2e1578c7033b9adcc9b89f6a0c670502f5d54442a66e9f1a4d",
    ]
    assert (sound.rate, sound.samples.shape) == (16000, (4800,))
    assert sound.samples[1000:4800:400].tolist() == pytest.approx(
        [-0.50059, 0.5788, -0.48382, 0.62832, -0.66372, 0.63507, -0.45093, 0.47876, -0.39728, 0.42012], abs=2e-5
    )  # floating point, in any order


@pytest.mark.parametrize("late", [0, 12345])  # samples; a quarter of a second and a bit of a millisecond
def test_copied_sound_stays_as_it_is_under_another_picture(tmp_path: Path, late: int) -> None:
    exact = {"movie_timescale": "48000"}
    source = make_clip(tmp_path / "source.mp4", *at_rate(Fraction(25), 20), sound=tone(0.8), late=late, muxer=exact)
    write_clip(tmp_path / "still.mp4", np.zeros((20, 64, 64, 3), np.uint8), source)
    assert stream_sha256(tmp_path / "still.mp4", "audio") == stream_sha256(source, "audio")
    assert stream_sha256(tmp_path / "still.mp4", "video") != stream_sha256(source, "video")
    assert np.array_equal(read_audio(tmp_path / "still.mp4").samples, read_audio(source).samples)
    assert len(read_video(tmp_path / "still.mp4")) == 20
    silent = make_clip(tmp_path / "silent.mp4", *at_rate(Fraction(25), 5))
    with pytest.raises(MediaError, match=r"silent\.mp4: holds no audio"):
        write_clip(tmp_path / "out.mp4", source, silent)
