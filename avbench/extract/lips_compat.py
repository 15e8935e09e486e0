"""Lip sync as the published pipeline sees a clip: coded three times over, its sound 17 ms early.

    frames, sound → AVI (MPEG-4 part 2, MP3) → JPEG of every frame, 16 kHz sound → faces, tracks, crops
    → each track's crops coded as MPEG-4 → JPEG of every crop; its stretch of the sound → SyncNet

Conventions. What syncnet_python does with the ffmpeg program, its files and OpenCV's video writer, the same libraries
do here in memory, one thread each, so that the same clip gives the same bytes. Codecs and settings are its own: frames
at quantiser 2, MP3 at the rate that LAME chooses by itself (64 kb/s for one channel at 48 kHz), JPEG at quantiser 2;
of the crops MPEG-4 as OpenCV's writer sets it and JPEG at the rate that ffmpeg falls back to. The detector sees a
quarter of each side. A cut is where hue, saturation and value change by 30 on average, 15 frames after the cut before at
least (PySceneDetect as its requirements pin it). A track needs more than 100 detections, and a shot 100 frames (50 in
our direct recipe): a clip of 121 frames is lost where its face is missing on 21 of them.

The shift. MP3 begins with 1105 samples of the coder's own, stamped before time zero. AVI has no time before zero: its
writer moves the sound up by these 23.0 ms (at 48 kHz) and the frames by as much, rounded up to one whole frame. The first
frame stays where it is, since the writer leaves no gap there, and the second one fills two places. From there on
frames are 40 ms late and sound is 23.0 ms late: sound minus picture, -17.0 ms. N frames become N + 1. A clip without
sound stays as it is. All this comes from the writer itself; nothing here adds it. Cuts are looked for in the N coded
frames and then taken for places among the N + 1, as there: each shot ends a frame early, and the last frame is in none.

Departures. The clip has been decoded by `clip.py`, to 25 frames a second, RGB and one channel: frames go through RGB
once more than there, a stereo sound is mixed before MP3 and not after, and colours are those that the file's tags say,
where the pipeline takes every file's for BT.601.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias, cast, overload

import numpy as np
from numpy.typing import NDArray

from ..clip import FRAME_RATE
from ..features import Feature, SyncTracks
from .lips_syncnet import detect, lip_embeddings, sound_embeddings
from .mfcc import RATE
from .tracks import CROP, Track, crops, follow

if TYPE_CHECKING:
    from av.packet import Packet
    from av.video.frame import VideoFrame

    from ..clip import Sound
    from .engine import Engine

__all__ = [
    "MIN_TRACK",
    "SYNC_COMPAT",
    "Pictures",
    "Transcoded",
    "avi_of",
    "code_crops",
    "crop_packets",
    "cut_sound",
    "open_picture",
    "shots",
    "sync_tracks",
    "transcode",
]

SYNC_COMPAT = Feature("sync_compat", "both", SyncTracks)

Frames: TypeAlias = NDArray[np.uint8]
Samples: TypeAlias = NDArray[np.int16]

MIN_TRACK = 100  # detections that a track must exceed, and frames that a shot must have
SCALE = 0.25  # of a side, for the detector
OPEN_AT_ONCE = 16  # pictures
SAMPLES_PER_FRAME = RATE // FRAME_RATE
SPARED = 5  # windows are fewer than frames by as much

CUT, MIN_SHOT = 30.0, 15  # of 0 to 255, mean of hue, saturation and value; frames from one cut to the next
# How many times smaller a side is when cuts are looked for, from that many columns on.
REDUCED = {3200: 12, 2100: 8, 1700: 6, 1200: 5, 900: 4, 600: 3, 400: 2}

MP3_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)  # Hz
LAMBDA = 118  # of ffmpeg's quantiser scale: how qscale is counted inside it
QUANTISER = {"flags": "+qscale", "global_quality": str(2 * LAMBDA)}  # as the option -qscale:v 2
FRAME_TIME = Fraction(1, FRAME_RATE)


class Pictures(Sequence[Frames]):
    """(H, W, 3) RGB frames, kept as JPEG and opened when they are asked for: a clip in memory once less."""

    def __init__(self, jpegs: Sequence[bytes]) -> None:
        self.jpegs = jpegs

    def __len__(self) -> int:
        return len(self.jpegs)

    @overload
    def __getitem__(self, place: int) -> Frames: ...

    @overload
    def __getitem__(self, place: slice) -> Pictures: ...

    def __getitem__(self, place: int | slice) -> Frames | Pictures:
        return Pictures(self.jpegs[place]) if isinstance(place, slice) else open_picture(self.jpegs[place])


class Transcoded(NamedTuple):
    """A clip after its first two codings. One frame more than it had, where it has sound."""

    pictures: Pictures
    coded: Pictures  # the same without repetitions
    samples: Samples  # (N,) at 16 kHz; none where there is no sound


def sync_tracks(medium: tuple[Frames, Sound | None], engine: Engine) -> SyncTracks:
    """Every track of the (T, H, W, 3) RGB frames at 25 fps, each with its own stretch of the sound.

    A clip without sound has its tracks, and no windows.
    """
    frames, sound = medium
    pictures, coded, samples = transcode(frames, sound)
    found = [boxes for part in _parts(pictures) for boxes in detect(part, engine, SCALE)]
    tracks = [
        track._replace(start=first + track.start)
        for first, end in shots(coded)
        if end - first >= MIN_TRACK
        for track in follow(found[first:end], MIN_TRACK)
    ]
    nothing = lip_embeddings(np.zeros((0, CROP, CROP, 3), np.uint8), engine)
    windows, lips, sounds = [], [nothing], [nothing]
    for track in tracks:
        seen, heard = _embedded(pictures, samples, track, engine)
        windows.append(len(seen))
        lips.append(seen)
        sounds.append(heard)
    return SyncTracks(
        tracks=np.array([(track.start, track.end) for track in tracks], np.int32).reshape(-1, 2),
        detected=np.array([track.detected for track in tracks], np.int32),
        confidence=np.array([track.confidence for track in tracks], np.float32),
        windows=np.array(windows, np.int32),
        lips=np.concatenate(lips),
        sounds=np.concatenate(sounds),
        frames=len(pictures),
        faces_seen=sum(map(len, found)),
        peak=float(np.abs(sound.samples).max(initial=0.0)) if sound is not None else 0.0,
    )


def _parts(pictures: Pictures) -> Iterator[list[Frames]]:
    """All pictures in order, opened a few at a time."""
    for first in range(0, len(pictures), OPEN_AT_ONCE):
        yield list(pictures[first : first + OPEN_AT_ONCE])


def _embedded(
    pictures: Pictures, samples: Samples, track: Track, engine: Engine
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The windows that lips and sound of a track both have."""
    heard = sound_embeddings(cut_sound(samples, track.start, track.end), engine)
    shown = code_crops(crops(cast(Frames, pictures), track))  # it takes frames one by one
    count = min(max(0, len(shown) - SPARED), len(heard))
    return lip_embeddings(shown, engine)[:count], heard[:count]


def transcode(frames: Frames, sound: Sound | None) -> Transcoded:
    """(T, H, W, 3) uint8 RGB at 25 fps and the sound on the same timeline → what the pipeline works on."""
    avi = avi_of(frames, sound)
    jpegs, times = _pictures(avi)
    shown = [jpeg for jpeg, count in zip(jpegs, times, strict=True) for _ in range(count)]
    samples = _samples(avi) if _heard(sound) else np.zeros(0, np.int16)
    return Transcoded(Pictures(shown), Pictures(jpegs), samples)


def open_picture(jpeg: bytes) -> Frames:
    """(H, W, 3) uint8 RGB of a JPEG."""
    import cv2

    picture = cast(Frames, cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR))
    return np.ascontiguousarray(picture[..., ::-1])


def code_crops(crops: Frames) -> Frames:
    """(T, 224, 224, 3) uint8 BGR crops of a track → the same after MPEG-4 and JPEG, as the lip network gets them."""
    from av.codec.context import CodecContext

    if len(crops) == 0:
        return crops
    reader: Any = CodecContext.create("mpeg4", "r")
    reader.thread_count = 1
    shown = [frame for packet in crop_packets(crops) for frame in reader.decode(packet)]
    shown += reader.decode(None)
    jpeg = _video_coder("mjpeg", *crops.shape[1:3])
    jpeg.options = {"b": "200000"}  # ffmpeg's own, for whoever names none
    coded = [open_picture(bytes(packet)) for packet in _coded(jpeg, _full_range(shown))]
    return np.ascontiguousarray(np.stack(coded)[..., ::-1])


def crop_packets(crops: Frames) -> Iterator[Packet[Any]]:
    """The MPEG-4 of (T, H, W, 3) uint8 BGR frames that OpenCV's writer makes for XVID, packet by packet."""
    _, height, width, _ = crops.shape
    writer = _video_coder("mpeg4", height, width)
    # A bit to each pixel, a key frame in twelve, and no finer quantiser than 3.
    writer.options = {"b": str(FRAME_RATE * width * height), "g": "12", "qmin": "3"}
    return _coded(writer, _planar(crops, "bgr24"))


def cut_sound(samples: Samples, first: int, end: int) -> Samples:
    """The stretch of a sound at 16 kHz that goes with the frames `first` to before `end`, as far as there is sound."""
    return samples[first * SAMPLES_PER_FRAME : end * SAMPLES_PER_FRAME]


def shots(pictures: Sequence[Frames]) -> list[tuple[int, int]]:
    """First frame, and frame after the last, of every stretch of (H, W, 3) RGB frames without a cut."""
    import cv2

    cuts, last = [0], None
    for place, picture in enumerate(pictures):
        step = next((times for columns, times in REDUCED.items() if picture.shape[1] >= columns), 1)
        colours = cv2.cvtColor(np.ascontiguousarray(picture[::step, ::step]), cv2.COLOR_RGB2HSV).astype(np.int32)
        if last is not None and np.abs(colours - last).mean() >= CUT and (cuts == [0] or place - cuts[-1] >= MIN_SHOT):
            cuts.append(place)
        last = colours
    return list(itertools.pairwise([*cuts, len(pictures)])) if len(pictures) else []


# The AVI ---------------------------------------------------------------------------------------------------------


def avi_of(frames: Frames, sound: Sound | None) -> bytes:
    """The AVI file that the pipeline begins with: its writer shifts sound and picture against each other."""
    import av

    file = io.BytesIO()
    with av.open(file, "w", format="avi") as clip:
        _, height, width, _ = frames.shape
        video: Any = clip.add_stream("mpeg4", rate=FRAME_RATE, options=dict(QUANTISER))
        video.width, video.height, video.pix_fmt, video.time_base = width, height, "yuv420p", FRAME_TIME
        video.thread_count = 1
        packets = list(_sound_packets(clip, sound)) if sound is not None and _heard(sound) else []
        packets += _coded(video, _planar(frames, "rgb24"))
        clip.mux(sorted(packets, key=lambda packet: cast(int, packet.dts) * packet.time_base))
    return file.getvalue()


def _heard(sound: Sound | None) -> bool:
    return sound is not None and len(sound.samples) > 0


def _sound_packets(clip: Any, sound: Sound) -> Iterator[Packet[Any]]:
    """MP3 at the sound's rate, or the nearest one that MP3 has."""
    from av.audio.frame import AudioFrame

    rate = min(MP3_RATES, key=lambda known: abs(known - sound.rate))
    samples = np.asarray(sound.samples, np.float32)
    if rate != sound.rate:
        import soxr

        samples = np.asarray(soxr.resample(samples, sound.rate, rate), np.float32)
    stream = clip.add_stream("libmp3lame", rate=rate, layout="mono")
    stream.codec_context.format = "fltp"
    stream.bit_rate = 0  # LAME chooses
    frame = AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    yield from stream.encode(frame)
    yield from stream.encode(None)


def _pictures(avi: bytes) -> tuple[list[bytes], list[int]]:
    """A JPEG for every frame of an AVI, and how many places of 1/25 s it fills: one that comes after a gap, the gap too."""
    import av

    places = [-1]
    with av.open(io.BytesIO(avi), "r") as clip:
        stream: Any = clip.streams.video[0]
        stream.thread_count = 1
        coder = _video_coder("mjpeg", stream.height, stream.width)
        coder.options = dict(QUANTISER)

        def shown() -> Iterator[VideoFrame]:
            for frame in clip.decode(stream):
                places.append(round(cast(int, frame.pts) * cast(Fraction, frame.time_base) * FRAME_RATE))
                yield frame

        jpegs = [bytes(packet) for packet in _coded(coder, _full_range(shown()))]
    return jpegs, [place - last for last, place in itertools.pairwise(places)]


def _samples(avi: bytes) -> Samples:
    """The sound of an AVI at 16 kHz, 16 bit, from its first coded sample on."""
    import av
    from av.audio.resampler import AudioResampler

    resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
    with av.open(io.BytesIO(avi), "r") as clip:
        pieces = [piece for frame in clip.decode(clip.streams.audio[0]) for piece in resampler.resample(frame)]
    pieces += resampler.resample(None)
    return np.concatenate([piece.to_ndarray().ravel() for piece in pieces])


# Coders ----------------------------------------------------------------------------------------------------------


def _video_coder(codec: str, height: int, width: int) -> Any:
    """A coder of frames at 25 fps, one thread, everything else as the library has it."""
    from av.codec.context import CodecContext

    coder: Any = CodecContext.create(codec, "w")
    coder.width, coder.height, coder.pix_fmt = width, height, "yuvj420p" if codec == "mjpeg" else "yuv420p"
    coder.time_base, coder.framerate, coder.thread_count = FRAME_TIME, 1 / FRAME_TIME, 1
    return coder


def _coded(coder: Any, frames: Iterable[VideoFrame]) -> Iterator[Packet[Any]]:
    """The packets of frames that are shown one after the other; the coder alone decides which are key frames."""
    from av.video.frame import PictureType

    for number, frame in enumerate(frames):
        frame.pts, frame.time_base, frame.pict_type = number, FRAME_TIME, PictureType.NONE
        yield from coder.encode(frame)
    yield from coder.encode(None)


def _planar(frames: Frames, order: str) -> Iterator[VideoFrame]:
    """BT.601 in limited range with chroma of half the size, as the library's scaler makes it of "rgb24" or "bgr24"."""
    from av.video.frame import VideoFrame
    from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

    reformatter = VideoReformatter()
    for picture in frames:
        yield reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=order),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU601,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=Interpolation.BICUBIC,
            threads=1,
        )


def _full_range(frames: Iterable[VideoFrame]) -> Iterator[VideoFrame]:
    """The same in full range, which JPEG is in."""
    from av.video.reformatter import ColorRange, Interpolation, VideoReformatter

    reformatter = VideoReformatter()
    for frame in frames:
        yield reformatter.reformat(
            frame,
            format="yuvj420p",
            src_color_range=ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BICUBIC,
            threads=1,
        )
