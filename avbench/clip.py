"""The only decoder and the only encoder: what a file shows at which time, and the same arrays whoever asks.

Time. A clip has one timeline for picture and sound. Zero is the start of the presentation as the container
declares it (mp4, mov, matroska: after edit lists, so that a stream which begins later begins later here too; AAC
priming lies before it). Containers whose clocks have no zero (MPEG-TS, MP3, …) begin with their earliest stream.

Video. Frame k shows time k / 25 s and is the coded frame with the nearest timestamp (of two equally near, the
earlier). The first frame is held back to time zero, and there are round(25 · end of the last frame) of them, at
least one. Rotation and mirroring of the container are applied; non-square pixels are not. Colours follow the
stream's tags; where it has none, BT.601 in limited range, as most programs take it.

Sound. The mean of the channels at the native rate, silence where the stream says nothing.

Damage. A file that is shorter than it declares, or whose packets are damaged, is an error and never a shorter clip
(MPEG-TS, MP3 and Ogg declare no length: a cut there may go unseen). A flipped bit inside a packet is concealed by
the decoder where it can be, as everywhere. Everything that is wrong with a file is a `MediaError`.
"""

from __future__ import annotations

import hashlib
import math
import struct
import warnings
import wave
from collections import deque
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from .errors import MediaError, UsageError
from .home import atomic, sha256

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream
    from PIL.Image import Image as Picture

__all__ = [
    "DECODE",
    "FRAME_RATE",
    "MAX_SECONDS",
    "Info",
    "Sound",
    "probe",
    "read_audio",
    "read_image",
    "read_video",
    "stream_sha256",
    "write_audio",
    "write_clip",
    "write_image",
]

FRAME_RATE = 25
DECODE = 1  # number of the decode protocol; raise it when decoded frames or samples would change
MAX_SECONDS = 60.0

Sense = Literal["video", "audio", "image"]
Frames: TypeAlias = NDArray[np.uint8]

# Files are opened as these formats only: playlists and concatenations would read further files, which no digest covers.
FORMATS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,flv,asf,mpeg,mpegts,ogg,wav,w64,aiff,caf,au,flac,mp3,aac,amr,h264,hevc,gif"
ZERO_AT_ORIGIN = {"mov", "matroska", "avi"}  # containers that declare where their presentation begins
ANNOUNCE_SAMPLES = {"wav", "w64", "aiff", "au", "flac"}  # containers whose header counts the samples
BOXES = frozenset(b"ftyp styp moov moof mdat mfra sidx free skip wide udta uuid meta".split())  # outermost, of mp4
DRIFT_SECONDS = 1 / FRAME_RATE  # sound is put back in its place when it is further off than this
LOST_FRAMES, LOST_SHARE = 3, 20  # so many, or one in so many: what a cut between key frames costs at the start
PADDING_SECONDS = 0.1  # a stream may exceed MAX_SECONDS by as much: sound ends in whole packets
TAGLESS = {"h264", "hevc", "vp8", "vp9", "av1", "libdav1d"}  # decoded alike whatever tag the container gives them
AAC_RATES = (7350, 8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
AAC_BITS_PER_SECOND = 192_000
OTHER_RATE = 48_000  # what a sound at no AAC rate is brought to
# Macroblock trees read memory that was never written where frames are small: their bytes would differ between calls.
X264 = {"preset": "medium", "x264-params": "mbtree=0"}
CRF, MAX_CRF = 18, 51  # of H.264 in 8 bits; at 18 few people see a difference
AAC = {"aac_coder": "fast", "aac_pns": "0", "aac_tns": "0"}  # keeps the waveform best at this bit rate
BT709 = 1  # the number of BT.709 in ITU-T H.273, for primaries, transfer and matrix alike
LIMITED = 1  # AVCOL_RANGE_MPEG
MAX_PIXELS = 10**8  # of an image
# What is heard of each channel of a surround mix in one: half of left and right together, as ITU-R BS.775-4 makes them.
SURROUND = {
    **dict.fromkeys(("FL", "FR"), 0.5),
    "FC": math.sqrt(0.5),
    "LFE": 0.0,
    **dict.fromkeys(("BL", "BR", "SL", "SR"), math.sqrt(0.5) / 2),
}
UNSAID = {6: "5.1", 8: "7.1"}  # what channels without places are taken for, as ffmpeg does


class Info(NamedTuple):
    """What the header of a clip says; 0 where a stream is absent."""

    seconds: float
    width: int  # pixels, after rotation
    height: int
    frame_rate: float  # mean, coded frames per second
    sample_rate: int  # Hz
    channels: int


class Sound(NamedTuple):
    """Samples (N,) float32 mono, full scale = 1, and their rate in Hz."""

    samples: NDArray[np.float32]
    rate: int


# Reading ---------------------------------------------------------------------------------------------------------


def probe(path: Path) -> Info:
    """Duration, size and rates of a clip or sound."""
    with _opened(path) as container:
        video, audio = _video_stream(container), _audio_stream(container)
        if video is None and audio is None:
            raise MediaError(f"{path}: neither video nor sound ({container.format.name}); expected a clip or a sound.")
        width, height = (0, 0) if video is None else (video.width, video.height)
        sideways = video is not None and _turn(_container_matrix(path))[0]
        return Info(
            seconds=float(max(_seconds(path, container, stream) for stream in (video, audio) if stream is not None)),
            width=height if sideways else width,
            height=width if sideways else height,
            frame_rate=0.0 if video is None else float(video.average_rate or 0),
            sample_rate=0 if audio is None else audio.rate,
            channels=0 if audio is None else audio.channels,
        )


def read_video(path: Path, max_side: int | None = None) -> Frames:
    """(T, H, W, 3) RGB at 25 fps; the longer side is reduced to `max_side` pixels where it is longer."""
    with _opened(path) as container:
        stream = _video_stream(container)
        if stream is None:
            raise MediaError(f"{path}: holds no video; expected a clip with a video stream.")
        return _at_frame_rate(path, _timed_frames(path, container, stream), max_side)


def read_audio(path: Path, *, surround: bool = False) -> Sound:
    """The sound of a clip or sound file, mono, on the timeline of its video.

    `surround` weighs the channels of 5.1 and the like by their place (samples may exceed 1), where their mean has a
    voice that is in the centre alone at a sixth.
    """
    with _opened(path) as container:
        stream = _audio_stream(container)
        if stream is None:
            raise MediaError(f"{path}: holds no sound; expected a file with an audio stream.")
        return _in_place(path, container, stream, surround)


def read_image(path: Path, max_side: int | None = None) -> Frames:
    """(H, W, 3) RGB of an image file, upright; transparency lies on white; the longer side at most `max_side`."""
    from PIL import Image, ImageOps

    _require_file(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of odd metadata and of large images; size is judged below
            with Image.open(path) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise MediaError(f"{path}: {image.width} x {image.height} pixels; expected at most {MAX_PIXELS:,}.")
                image.load()
                picture = _rgb(path, ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError) as error:
        raise MediaError(
            f"{path}: not a readable image ({error}); expected PNG, JPEG or another common format."
        ) from error
    width, height = _reduced(picture.width, picture.height, max_side)
    if (width, height) != picture.size:
        picture = picture.resize((width, height), Image.Resampling.BOX)
    return np.array(picture, np.uint8)


def stream_sha256(path: Path, sense: Sense) -> str:
    """The digest of all that reading that stream depends on, at a fraction of the cost; equal ones read equally.

    It covers codec parameters, rotation, and each packet's place on the timeline and bytes, so that a video copied
    beside another sound keeps its digest. For an image, the digest of the file.
    """
    if sense == "image":
        _require_file(path)
        return sha256(path)
    with _opened(path) as container:
        stream = _video_stream(container) if sense == "video" else _audio_stream(container)
        if stream is None:
            raise MediaError(f"{path}: holds no {sense}; expected a stream to take the digest of.")
        return _stream_digest(path, container, stream)


# Writing ---------------------------------------------------------------------------------------------------------


def write_clip(
    path: Path, video: Frames | Path, sound: Sound | Path | None, comment: str = "", *, crf: float = CRF
) -> None:
    """Writes an mp4: H.264 of (T, H, W, 3) RGB frames at 25 fps, AAC of a sound; or the packets of another clip's.

    `crf` says how hard frames are compressed (0, hardly, to 51); packets stay as they are. A `Sound` is cut, or padded
    with silence, to the end of the video. The same arguments give the same bytes.
    What is copied keeps its `stream_sha256` where the source is an mp4.
    """
    if isinstance(sound, Sound):
        _require_sound(path, sound)
    if not isinstance(video, Path):
        _require_frames(path, video)
    if not 0 <= crf <= MAX_CRF:
        raise UsageError(f"{path}: crf = {crf:g}; expected 0 to {MAX_CRF}.")
    with ExitStack() as sources:
        shown = sources.enter_context(_copied(video, "video")) if isinstance(video, Path) else None
        heard = sources.enter_context(_copied(sound, "audio")) if isinstance(sound, Path) else None
        ticks = math.lcm(
            1000, *(source.stream.time_base.denominator for source in (shown, heard) if source is not None)
        )
        with atomic(path) as part, _new_clip(part, comment, ticks) as clip:
            stream = _add_video(clip, cast(Frames, video), crf) if shown is None else _add_copy(clip, shown)
            audio: Any = _add_sound(clip, sound) if isinstance(sound, Sound) else heard and _add_copy(clip, heard)
            if shown is None:
                packets, end = _video_packets(stream, cast(Frames, video))
            else:
                packets, end = _moved(shown, stream)
            if isinstance(sound, Sound):
                packets += _sound_packets(audio, sound, end)
            elif heard is not None:
                packets += _moved(heard, audio)[0]
            with ExitStack() as fitting:
                for source in (shown, heard):
                    if source is not None:
                        fitting.enter_context(_fits_mp4(source))
                _mux(clip, packets)


def write_audio(path: Path, sound: Sound) -> None:
    """Writes a wav file, 16 bit; samples beyond full scale are clipped."""
    _require_sound(path, sound)
    whole = np.clip(np.rint(sound.samples.astype(np.float64) * 32768), -32768, 32767).astype("<i2")
    with atomic(path) as part, part.open("wb") as file, wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(sound.rate)
        writer.writeframes(whole.tobytes())


def write_image(path: Path, frame: Frames) -> None:
    """Writes (H, W, 3) RGB as png."""
    from PIL import Image

    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
        raise UsageError(f"{path}: image of shape {frame.shape}, {frame.dtype}; expected (H, W, 3) uint8.")
    with atomic(path) as part:
        Image.fromarray(np.ascontiguousarray(frame)).save(part, format="PNG")


# Files and streams -----------------------------------------------------------------------------------------------


def _require_file(path: Path) -> None:
    try:
        if not path.exists():
            raise MediaError(f"{path}: no such file.")
        if not path.is_file():
            raise MediaError(f"{path}: a folder or device; expected a file.")
        with path.open("rb") as file:
            if not file.read(1):
                raise MediaError(f"{path}: an empty file; expected media.")
    except OSError as error:
        raise MediaError(f"{path}: cannot be read ({error.strerror}); expected a readable file.") from error


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turns what the decoding library says into an error that names the file."""
    from av.error import FFmpegError

    try:
        yield
    except FFmpegError as error:
        raise MediaError(
            f"{path}: cannot be decoded ({error.strerror or error}); expected a whole media file. It may be truncated, "
            "damaged or of another kind than its name says."
        ) from error


def _open(path: Path) -> InputContainer:
    import av

    _require_file(path)
    _require_complete(path)
    options = {"format_whitelist": FORMATS, "protocol_whitelist": "file"}
    with _named(path):
        return av.open(f"file:{path}", "r", options=options, metadata_errors="replace")


@contextmanager
def _opened(path: Path) -> Iterator[InputContainer]:
    with _open(path) as container, _named(path):
        yield container


def _is_format(container: InputContainer, names: set[str]) -> bool:
    return not names.isdisjoint(container.format.name.split(","))


def _video_stream(container: InputContainer) -> VideoStream | None:
    """The first video stream that is not a cover picture."""
    from av.stream import Disposition

    pictures = Disposition.attached_pic | Disposition.timed_thumbnails
    decodable = (stream for stream in container.streams.video if cast(Any, stream).codec_context is not None)
    return next((stream for stream in decodable if not stream.disposition & pictures), None)


def _audio_stream(container: InputContainer) -> AudioStream | None:
    """The first audio stream."""
    return next((stream for stream in container.streams.audio if cast(Any, stream).codec_context is not None), None)


def _origin(container: InputContainer) -> Fraction:
    """Where time zero lies on the container's clock, in seconds."""
    if _is_format(container, ZERO_AT_ORIGIN):
        return Fraction(0)
    starts = [
        stream.start_time * stream.time_base
        for stream in (_video_stream(container), _audio_stream(container))
        if stream is not None and stream.start_time is not None and stream.time_base is not None
    ]
    return min(starts, default=Fraction(0))


def _announced(container: InputContainer, stream: VideoStream | AudioStream) -> Fraction | None:
    """The end of a stream on the container's clock as the header says it, in seconds; None where it does not."""
    if stream.duration and stream.time_base is not None:
        return ((stream.start_time or 0) + stream.duration) * stream.time_base
    tag = stream.metadata.get("DURATION", "").split(":")  # matroska: hours, minutes, seconds
    if len(tag) == 3:
        try:
            return int(tag[0]) * 3600 + int(tag[1]) * 60 + Fraction(tag[2])
        except ValueError:
            return None
    if container.duration and len(container.streams) == 1:
        return Fraction((container.start_time or 0) + container.duration, 1_000_000)
    return None


def _seconds(path: Path, container: InputContainer, stream: VideoStream | AudioStream) -> Fraction:
    """Where a stream ends on the timeline, in seconds: as announced, else where its packets end."""
    end = _announced(container, stream)
    if end is None:
        with _opened(path) as again:
            own = again.streams[stream.index]
            ends = [
                (packet.pts + (packet.duration or 0)) * packet.time_base
                for packet in _packets(path, again, own)
                if packet.pts is not None
            ]
        end = max(ends, default=Fraction(0))
    return end - _origin(container)


def _require_complete(path: Path) -> None:
    """An error where the outermost boxes of mp4, matroska, avi or wav are longer than the file: it was cut."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        file.seek(0)
        declared = 0
        if head[4:] in BOXES:
            declared = _boxes_end(file, size)
        elif head[:4] == b"\x1a\x45\xdf\xa3":
            declared = _segment_end(file)
        elif head[:4] == b"RIFF" and head[4:] != b"\xff\xff\xff\xff":
            declared = 8 + int.from_bytes(head[4:], "little")
    if declared > size:
        raise MediaError(f"{path}: truncated: {size:,} of {declared:,} bytes are there; expected a whole file.")


def _boxes_end(file: BinaryIO, size: int) -> int:
    """Where the boxes of an mp4 end (ISO/IEC 14496-12, 4.2); those of unknown kind are not judged."""
    position = 0
    while position < size:
        file.seek(position)
        head = file.read(16)
        length = int.from_bytes(head[:4], "big")
        if length == 1 and len(head) == 16:
            length = int.from_bytes(head[8:], "big")
        if head[4:8] not in BOXES or length < 8:  # a length of 0: up to the end of the file
            break
        position += length
    return position


def _segment_end(file: BinaryIO) -> int:
    """Where the segment of a matroska file ends (RFC 8794); 0 where its length is not declared."""

    def number(keep_marker: bool) -> int:
        first = file.read(1)
        length = 9 - first[0].bit_length() if first and first[0] else 9
        if length > 8:
            return 0
        value = int.from_bytes(first + file.read(length - 1), "big")
        if keep_marker:
            return value
        value -= 1 << 7 * length
        return value if value != (1 << 7 * length) - 1 else 0

    while (kind := number(keep_marker=True)) != 0:
        length = number(keep_marker=False)
        if kind == 0x18538067:  # Segment
            return file.tell() + length if length else 0
        file.seek(length, 1)
    return 0


def _packets(path: Path, container: InputContainer, stream: Any) -> Iterator[Packet[Any]]:
    """The packets of one stream and the empty one that ends it; an error where the file gives less than it announces."""
    from av.stream import Discard

    for other in container.streams:
        if other.index != stream.index:
            other.discard = Discard.all
    count, end = 0, Fraction(0)
    for packet in container.demux(stream):
        stamp = packet.dts if packet.pts is None else packet.pts
        if packet.size == 0 and stamp is None:
            _require_whole(path, container, stream, count, end)
            yield packet
            return
        count += 1  # noqa: SIM113 (the last one is not a packet of the file)
        if packet.is_corrupt:
            raise MediaError(f"{path}: {stream.type} packet {count} is damaged or cut off; expected a whole file.")
        if stamp is not None:
            end = max(end, (stamp + (packet.duration or 0)) * packet.time_base)
        if packet.size:  # an empty one within a stream would end the decoder
            yield packet


def _require_whole(path: Path, container: InputContainer, stream: Any, count: int, end: Fraction) -> None:
    """An error where a stream gave fewer packets, or ended before, what the file's index or header says."""
    if count == 0:
        raise MediaError(f"{path}: its {stream.type} stream is empty; expected at least one packet.")
    if _is_format(container, {"mov"}) and count < len(stream.index_entries):
        raise MediaError(f"{path}: truncated: {count} of {len(stream.index_entries)} {stream.type} packets are there.")
    announced = _announced(container, stream) if _is_format(container, ANNOUNCE_SAMPLES) else None
    if announced is not None and end < announced:
        raise MediaError(f"{path}: truncated: {float(end):.3f} of {float(announced):.3f} s of {stream.type} are there.")


# Video -----------------------------------------------------------------------------------------------------------


class _Timed(NamedTuple):
    """A coded frame, when it is shown, and for how long (0: not said), in seconds."""

    frame: VideoFrame
    seconds: Fraction
    lasts: Fraction


def _timed_frames(path: Path, container: InputContainer, stream: VideoStream) -> Iterator[_Timed]:
    """Frames in the order shown, each later than the one before; an error where too few come out of the packets.

    AVI knows decoding times only: there the n-th frame shown has the n-th of these.
    """
    from av.codec.context import ThreadType

    stream.thread_count = 1
    stream.thread_type = ThreadType.NONE
    origin = _origin(container)
    by_order = _is_format(container, {"avi"})
    decoding_times: deque[int] = deque()
    expected, came = 0, 0
    last: Fraction | None = None
    for packet in _packets(path, container, stream):
        expected += packet.size > 0 and not packet.is_discard
        if by_order and packet.size and packet.dts is not None:
            decoding_times.append(packet.dts)
        for frame in stream.decode(packet):
            stamp = (decoding_times.popleft() if decoding_times else None) if by_order else frame.pts
            if stamp is None:
                kind = container.format.name
                raise MediaError(
                    f"{path}: frames without timestamps ({kind}); expected a container with them, e.g. mp4."
                )
            seconds = stamp * packet.time_base - origin
            if last is None or seconds > last:
                came, last = came + 1, seconds
                yield _Timed(frame, seconds, (frame.duration or 0) * packet.time_base)
    # Frames that are packed (in AVI) or never shown (in VP8) have packets of their own.
    one_to_one = not by_order and stream.codec_context.name != "vp8"
    if one_to_one and came < expected - max(LOST_FRAMES, expected // LOST_SHARE):
        raise MediaError(f"{path}: damaged: {came} of {expected} frames can be decoded; expected all.")


def _first_frame(path: Path, container: InputContainer, stream: VideoStream) -> VideoFrame:
    for timed in _timed_frames(path, container, stream):
        return timed.frame
    raise MediaError(f"{path}: not one frame can be decoded; expected at least one.")


def _at_frame_rate(path: Path, coded: Iterator[_Timed], max_side: int | None) -> Frames:
    """(T, H, W, 3): for each k / 25 s the nearest coded frame. Only frames that are shown are converted and kept."""
    shown = _Shown(max_side)
    last: _Timed | None = None
    gap = Fraction(1, FRAME_RATE)
    for timed in coded:
        if timed.seconds > MAX_SECONDS:
            raise _too_long(path)
        if last is not None:
            gap = timed.seconds - last.seconds
            middle = (last.seconds + timed.seconds) / 2
            shown.hold(last.frame, math.floor(middle * FRAME_RATE) + 1)
        last = timed
    if last is None:
        raise MediaError(f"{path}: not one frame can be decoded; expected at least one.")
    end = last.seconds + (last.lasts or gap)
    if end > MAX_SECONDS + PADDING_SECONDS:
        raise _too_long(path)
    count = max(1, math.floor(end * FRAME_RATE + Fraction(1, 2)))
    shown.hold(last.frame, count)
    return shown.frames[:count]


def _too_long(path: Path) -> MediaError:
    return MediaError(f"{path}: longer than {MAX_SECONDS:g} s; expected a clip of seconds.")


class _Shown:
    """The frames shown so far, in one array that grows; all have the size of the first."""

    def __init__(self, max_side: int | None) -> None:
        from av.video.reformatter import VideoReformatter

        self.max_side = max_side
        self.count = 0
        self.frames: Frames = np.empty((0, 0, 0, 3), np.uint8)
        self.size = (0, 0)  # width, height as coded, reduced
        self.turn: _Turn = (False, False, False)
        self.reformatter = VideoReformatter()

    def hold(self, frame: VideoFrame, until: int) -> None:
        """Shows `frame` in all places from the first free one to before `until`."""
        if until <= self.count:
            return
        if self.count == 0:
            self.size = _reduced(frame.width, frame.height, self.max_side)
            self.turn = _turn(_matrix(frame))
        picture = _turned(self._picture(frame), self.turn)
        if until > len(self.frames):
            grown = np.empty((max(until, 2 * len(self.frames), 128), *picture.shape), np.uint8)
            if self.count:
                grown[: self.count] = self.frames[: self.count]
            self.frames = grown
        self.frames[self.count : until] = picture
        self.count = until

    def _picture(self, frame: VideoFrame) -> Frames:
        from av.video.reformatter import ColorRange, Interpolation

        kind = Interpolation.AREA if self.size != (frame.width, frame.height) else Interpolation.BILINEAR
        flags = kind | Interpolation.ACCURATE_RND | Interpolation.BITEXACT | Interpolation.FULL_CHR_H_INT
        rgb = self.reformatter.reformat(
            frame,
            width=self.size[0],
            height=self.size[1],
            format="rgb24",
            interpolation=flags,
            dst_color_range=ColorRange.JPEG,
            threads=1,
        )
        return cast(Frames, rgb.to_ndarray())


def _reduced(width: int, height: int, max_side: int | None) -> tuple[int, int]:
    """Width and height with the longer at most `max_side`, in proportion, each at least 1."""
    longer = max(width, height)
    if max_side is None or longer <= max_side:
        return width, height
    if max_side < 1:
        raise UsageError(f"max_side = {max_side}; expected 1 or more.")
    scale = Fraction(max_side, longer)
    return max(1, round(width * scale)), max(1, round(height * scale))


_Turn: TypeAlias = "tuple[bool, bool, bool]"  # swap the axes, then mirror left-right, then top-bottom


def _matrix(frame: VideoFrame) -> tuple[int, ...]:
    """The display matrix of a frame, 9 numbers (16.16 fixed point); empty where there is none."""
    data = cast(Any, frame).side_data.get("DISPLAYMATRIX")
    return () if data is None else struct.unpack("=9i", bytes(data)[:36])


def _turn(matrix: tuple[int, ...]) -> _Turn:
    """How frames are turned for showing: x' = a x + c y, y' = b x + d y, to the nearest quarter turn."""
    if not matrix:
        return False, False, False
    a, b, c, d = matrix[0], matrix[1], matrix[3], matrix[4]
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def _turned(picture: Frames, turn: _Turn) -> Frames:
    swap, mirror, flip = turn
    if swap:
        picture = picture.transpose(1, 0, 2)
    return picture[:: -1 if flip else 1, :: -1 if mirror else 1]


# Sound -----------------------------------------------------------------------------------------------------------


def _in_place(path: Path, container: InputContainer, stream: AudioStream, surround: bool) -> Sound:
    """All samples of a stream, each at its time."""
    origin = _origin(container)
    pieces: list[NDArray[np.float32]] = []
    rate, filled, excess = 0, 0, 0
    for packet in _packets(path, container, stream):
        for frame in stream.decode(packet):
            if frame.sample_rate != rate and rate:
                raise MediaError(
                    f"{path}: the sample rate changes from {rate} to {frame.sample_rate} Hz; expected one rate."
                )
            rate = frame.sample_rate
            piece = _mono(frame, surround)
            if frame.pts is not None:
                place = round((frame.pts * packet.time_base - origin) * rate)
                if place > (MAX_SECONDS + PADDING_SECONDS) * rate:
                    raise _too_long(path)
                if filled == 0 or abs(place - filled) > DRIFT_SECONDS * rate:
                    if place > filled:
                        pieces.append(np.zeros(place - filled, np.float32))
                        filled = place
                    else:
                        piece = piece[filled - place :]
            pieces.append(piece)
            filled += len(piece)
            if filled > (MAX_SECONDS + PADDING_SECONDS) * rate:
                raise _too_long(path)
            excess = _excess(frame, packet.time_base, rate)
    samples = np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
    samples = samples[: max(0, len(samples) - excess)]
    if len(samples) == 0:
        raise MediaError(f"{path}: not one sample can be decoded; expected sound.")
    if not np.isfinite(samples).all():
        raise MediaError(f"{path}: holds samples that are not finite numbers; expected sound between -1 and 1.")
    return Sound(samples, rate)


def _excess(frame: AudioFrame, time_base: Fraction, rate: int) -> int:
    """Samples of a stream's last frame beyond its stated end: coders work in whole blocks."""
    if not frame.duration or time_base > Fraction(1, rate):  # not said, or too coarsely
        return 0
    return max(0, frame.samples - round(frame.duration * time_base * rate))


def _mono(frame: AudioFrame, surround: bool) -> NDArray[np.float32]:
    """(N,): the mean of the channels, or by their place where they are more than two and it is known; full scale = 1."""
    stored = frame.to_ndarray()
    channels = stored if frame.format.is_planar else stored.reshape(-1, frame.layout.nb_channels).T
    mean: NDArray[np.float64] = channels.mean(axis=0, dtype=np.float64)
    weights = _weights(frame) if surround else []
    if len(weights) > 2 and None not in weights:
        centre = 128 if stored.dtype.kind == "u" else 0  # of unsigned samples, which stand for -1 to 1
        mean = np.array(weights, np.float64) @ (channels.astype(np.float64) - centre) + centre
    if stored.dtype.kind == "u":
        mean = mean / 128 - 1
    elif stored.dtype.kind == "i":
        mean = mean / 2.0 ** (8 * stored.dtype.itemsize - 1)
    return mean.astype(np.float32)


def _weights(frame: AudioFrame) -> list[float | None]:
    """Of each channel by its place, None where that is none of `SURROUND`."""
    from av.audio.layout import AudioLayout

    layout = frame.layout
    if layout.nb_channels in UNSAID and not any(channel.name in SURROUND for channel in layout.channels):
        layout = AudioLayout(UNSAID[layout.nb_channels])
    return [SURROUND.get(channel.name) for channel in layout.channels]


# Images ----------------------------------------------------------------------------------------------------------


def _rgb(path: Path, image: Picture) -> Picture:
    """8-bit RGB of any kind of image."""
    from PIL import Image

    if image.mode.startswith("I"):  # 16 bit grey, which Pillow would clip
        grey = np.asarray(image, np.int64)
        return Image.fromarray(np.clip((grey + 128) // 257, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode == "F":
        raise MediaError(f"{path}: an image of floating-point numbers, whose white is unknown; expected 8 or 16 bit.")
    if image.has_transparency_data:
        layer = image.convert("RGBA")
        white = Image.new("RGBA", layer.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, layer).convert("RGB")
    return image.convert("RGB")


# Digest ----------------------------------------------------------------------------------------------------------


def _stream_digest(path: Path, container: InputContainer, stream: VideoStream | AudioStream) -> str:
    context: Any = stream.codec_context
    if stream.type == "video":
        tag = "" if context.name in TAGLESS else context.codec_tag
        kind = [tag, context.width, context.height, context.pix_fmt, context.colorspace, context.color_range]
    else:
        form = context.format.name if context.format else ""
        kind = [context.codec_tag, context.sample_rate, context.layout.name, form, str(stream.time_base)]
    digest = hashlib.sha256()

    def add(*values: object) -> None:
        digest.update(repr(values).encode() + b"\n")

    by_order = _is_format(container, {"avi"})
    add(stream.type, context.name, kind, context.extradata or b"", by_order)
    origin = _origin(container)
    for packet in _packets(path, container, stream):
        stamp = packet.dts if by_order or packet.pts is None else packet.pts  # the one that decoding goes by
        time = None if stamp is None else str(stamp * packet.time_base - origin)
        side = [(data.data_type, bytes(data)) for data in packet.iter_sidedata()]
        add(time, str((packet.duration or 0) * packet.time_base), packet.is_discard, side, packet.size)
        digest.update(bytes(packet))
    if stream.type == "video":
        add(_container_matrix(path))
    return digest.hexdigest()


def _container_matrix(path: Path) -> tuple[int, ...]:
    """The display matrix of a video; the library shows it on decoded frames only, so the first is decoded."""
    with _opened(path) as container:
        stream = _video_stream(container)
        return () if stream is None else _matrix(_first_frame(path, container, stream))


# Encoding --------------------------------------------------------------------------------------------------------


def _require_frames(path: Path, video: Frames) -> None:
    if video.ndim != 4 or video.shape[3] != 3 or video.dtype != np.uint8 or video.size == 0:
        raise UsageError(
            f"{path}: video of shape {video.shape}, {video.dtype}; expected (T, H, W, 3) uint8, T at least 1."
        )
    _, height, width, _ = video.shape
    if height % 2 or width % 2:
        raise UsageError(f"{path}: frames of {width} x {height} pixels; H.264 needs an even width and height.")


def _require_sound(path: Path, sound: Sound) -> None:
    if sound.samples.ndim != 1 or sound.samples.size == 0 or sound.rate < 1:
        raise UsageError(
            f"{path}: sound of shape {sound.samples.shape} at {sound.rate} Hz; expected (N,), N at least 1."
        )
    if not np.isfinite(sound.samples).all():
        raise UsageError(f"{path}: sound with samples that are not finite numbers.")


@contextmanager
def _new_clip(part: Path, comment: str, ticks: int = 1000) -> Iterator[OutputContainer]:
    """An mp4 without dates or versions, its index in front; its streams can begin at whole `ticks` of a second."""
    import av
    from av.container.core import Flags

    options = {"movflags": "+faststart", "movie_timescale": str(ticks)}
    with av.open(f"file:{part}", "w", format="mp4", options=options) as clip:
        clip.flags |= cast(Any, Flags.bitexact).value
        if comment:
            clip.metadata["comment"] = comment
        yield clip


class _Copied(NamedTuple):
    """One stream of another clip, whose packets are taken as they are."""

    path: Path
    stream: Any
    packets: list[Packet[Any]]
    origin: Fraction  # seconds


@contextmanager
def _copied(path: Path, sense: Sense) -> Iterator[_Copied]:
    with _open(path) as source:
        with _named(path):
            stream = _video_stream(source) if sense == "video" else _audio_stream(source)
            if stream is None:
                raise MediaError(f"{path}: holds no {sense}; expected a clip to copy the {sense} from.")
            packets = [packet for packet in _packets(path, source, stream) if packet.size]
            if _is_format(source, {"avi"}) or any(packet.pts is None for packet in packets):
                kind = source.format.name
                raise MediaError(f"{path}: has no presentation times to copy ({kind}); expected e.g. an mp4.")
        yield _Copied(path, stream, packets, _origin(source))


def _add_copy(clip: OutputContainer, source: _Copied) -> Any:
    with _fits_mp4(source):
        return clip.add_stream_from_template(source.stream, opaque=True)


def _moved(source: _Copied, stream: Any) -> tuple[list[Packet[Any]], Fraction]:
    """The packets with time zero at the new clip's, and where the last one ends, in seconds."""
    last = sorted(cast(int, packet.pts) for packet in source.packets)[-2:]
    end = Fraction(0)
    for packet in source.packets:
        shift = round(source.origin / packet.time_base)
        if not packet.duration:  # not said: as long as the last frame is shown, see `_at_frame_rate`
            packet.duration = last[-1] - last[0] or round(Fraction(1, FRAME_RATE) / packet.time_base)
        end = max(end, (cast(int, packet.pts) + packet.duration) * packet.time_base - source.origin)
        packet.pts = cast(int, packet.pts) - shift
        if packet.dts is not None:
            packet.dts -= shift
        packet.stream = stream
    return source.packets, end


@contextmanager
def _fits_mp4(source: _Copied) -> Iterator[None]:
    """The library raises ValueError for a codec, or for times, that an mp4 cannot hold."""
    try:
        yield
    except ValueError as error:
        raise MediaError(f"{source.path}: its {source.stream.type} cannot be copied into an mp4 ({error}).") from error


def _add_video(clip: OutputContainer, video: Frames, crf: float) -> VideoStream:
    from av.codec.context import Flags, ThreadType

    _, height, width, _ = video.shape
    stream = clip.add_stream("libx264", rate=FRAME_RATE, options={**X264, "crf": f"{crf:g}"})
    stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
    stream.time_base = Fraction(1, FRAME_RATE)
    stream.thread_count, stream.thread_type = 1, ThreadType.NONE
    context = stream.codec_context
    context.flags |= Flags.bitexact
    context.color_primaries, context.color_trc, context.colorspace, context.color_range = BT709, BT709, BT709, LIMITED
    return stream


def _video_packets(stream: VideoStream, video: Frames) -> tuple[list[Packet[Any]], Fraction]:
    """H.264 of the frames, and where the last one ends, in seconds."""
    from av.video.frame import VideoFrame
    from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

    flags = Interpolation.BICUBIC | Interpolation.FULL_CHR_H_INP | Interpolation.ACCURATE_RND | Interpolation.BITEXACT
    reformatter = VideoReformatter()
    packets: list[Packet[Any]] = []
    for number, picture in enumerate(video):
        frame = reformatter.reformat(
            VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24"),
            format="yuv420p",
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG,
            interpolation=flags,
            threads=1,
        )
        frame.pts, frame.time_base = number, Fraction(1, FRAME_RATE)
        packets += stream.encode(frame)
    return [*packets, *stream.encode(None)], Fraction(len(video), FRAME_RATE)


def _add_sound(clip: OutputContainer, sound: Sound) -> AudioStream:
    from av.codec.context import Flags

    rate = int(sound.rate) if sound.rate in AAC_RATES else OTHER_RATE
    stream = clip.add_stream("aac", rate=rate, layout="mono", options=dict(AAC))
    stream.bit_rate = AAC_BITS_PER_SECOND
    stream.codec_context.flags |= Flags.bitexact
    return stream


def _sound_packets(stream: AudioStream, sound: Sound, end: Fraction) -> list[Packet[Any]]:
    """AAC of the sound at the stream's rate, cut or padded with silence to `end`, in seconds."""
    from av.audio.frame import AudioFrame

    samples = sound.samples.astype(np.float32)
    if stream.rate != sound.rate:
        import soxr

        samples = soxr.resample(samples, sound.rate, stream.rate)
    whole = np.zeros(max(1, round(end * stream.rate)), np.float32)
    kept = samples[: len(whole)]
    whole[: len(kept)] = kept
    frame = AudioFrame.from_ndarray(whole[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = stream.rate, 0, Fraction(1, stream.rate)
    return [*stream.encode(frame), *stream.encode(None)]


def _mux(clip: OutputContainer, packets: list[Packet[Any]]) -> None:
    """Writes packets in the order of their decoding times."""
    clip.mux(sorted(packets, key=lambda packet: (packet.dts or 0) * packet.time_base))
