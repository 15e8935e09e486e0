"""Known damage: one thing of a clip made worse, in graded steps. What a scale is worth is how it follows its own.

    clip → decoded picture and sound → one kind of damage after another → both encoded again

Conventions. A kind works on the picture or on the sound and leaves the other alone, but both are always encoded
again: against `none`, which does that and no more, what is left is the damage. Amounts go from mild to severe in each
kind's `steps`, which may be a falling series (dB). Harder damage of a kind contains the milder: the same noise louder,
the same words and others. What is drawn by lot is drawn from the seed; the same arguments give the same bytes.
Levels of speech are those of its active parts, as in ITU-T P.56, so that pauses do not count.

A clip that cannot be damaged so (no sound, no face, no words) is a `MediaError`, as a clip that cannot be read.
"""

from __future__ import annotations

import dataclasses
import math
import tempfile
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from .clip import FRAME_RATE, Sound, probe, read_audio, read_video, stream_sha256, write_clip
from .errors import MediaError, UsageError, unknown
from .extract import FACES_DLIB, WORDS_SPHINX, ready, stored_at
from .extract.faces_dlib import MAX_SIDE, faces_of
from .extract.words_sphinx import align
from .features import Alignment, Faces, load, save

__all__ = [
    "DAMAGES",
    "Damage",
    "Given",
    "active_level",
    "add_noise",
    "blur",
    "check_amount",
    "damaged",
    "drop_words",
    "freeze",
    "lay_face",
    "mix_voice",
    "pitch",
    "recompress",
    "rescale",
    "shift_sound",
]

Frames: TypeAlias = NDArray[np.uint8]
Samples: TypeAlias = NDArray[np.float32]

BLOCK_SECONDS = 0.02  # over which levels are taken
ACTIVE_DB = 16.0  # below the loudest blocks; P.56 has 15.9 below the level that it finds
LOUDEST, QUIETEST = 95, 5  # percentiles of blocks
SILENT = 1e-6  # full scale = 1; -120 dBFS
HEARD_HZ = 16_000  # sample rate at which every extractor of sound listens
RAMP_SECONDS = 0.01
FOLLOWED_FRAMES = 3  # from the nearest frame in which the face was detected
ABOVE_BRIDGE = 0.5  # of a face's height from bridge to chin: up to where the mask reaches above the bridge
SOFT = 0.2  # width of the mask's edge, as a share of its radius


class Given(NamedTuple):
    """What some kinds of damage need besides the clip."""

    other: Path | None  # a clip of somebody who differs in face and voice
    text: str  # the words of the clip in English; empty where they are not known
    seed: int


@dataclasses.dataclass(frozen=True)
class Damage:
    """One kind of damage. `run` gets a Sound, or (T, H, W, 3) uint8 RGB frames, and answers the same shape."""

    name: str
    sense: Literal["audio", "video", "both"]
    unit: str
    steps: tuple[float, ...]  # from mild to severe
    least: float  # amounts beyond least and most are refused
    most: float
    summary: str
    run: Callable[[Any, float, Given], Any]


def damaged(clip: Path, path: Path, amounts: Sequence[tuple[str, float]], given: Given) -> None:
    """Writes the clip as an mp4 with these kinds of damage, in order. UsageError for an unknown kind or amount."""
    for kind, amount in amounts:
        check_amount(kind, amount)
    frames, sound = _even(clip, read_video(clip)), _sound(clip)
    for kind, amount in amounts:
        damage = DAMAGES[kind]
        try:
            if damage.sense == "video":
                frames = damage.run(frames, amount, given)
            elif damage.sense == "audio":
                if sound is None:
                    raise MediaError("there is no sound.")
                sound = damage.run(sound, amount, given)
        except MediaError as error:
            raise MediaError(f"{clip}: damage {kind}: {error}") from error
    write_clip(path, frames, sound)


def check_amount(kind: str, amount: float) -> None:
    """UsageError where there is no such damage, or not that much of it."""
    if kind not in DAMAGES:
        raise unknown("damage", kind, DAMAGES)
    damage = DAMAGES[kind]
    if not damage.least <= amount <= damage.most:  # nor NaN
        expected = f"{damage.least:g} to {damage.most:g} ({damage.unit})" if damage.unit else "0"
        raise UsageError(f"damage {kind}, amount {amount:g}; expected {expected}.")


# Sound -----------------------------------------------------------------------------------------------------------


def shift_sound(sound: Sound, frames: float) -> Sound:
    """Later by that many video frames (earlier where negative); silence fills the gap."""
    late = round(frames * sound.rate / FRAME_RATE)
    moved = np.zeros_like(sound.samples)
    if late >= 0:
        moved[late:] = sound.samples[: max(0, len(moved) - late)]
    else:
        moved[:late] = sound.samples[-late:]
    return Sound(moved, sound.rate)


def add_noise(sound: Sound, snr_db: float, seed: int) -> Sound:
    """White noise, `snr_db` below the active level of the speech.

    White up to 8 kHz, which is as far as any extractor hears: one number means the same at every rate of 16 kHz or more.
    """
    noise = _white(len(sound.samples), sound.rate, _rng("noise", seed))
    return _mixed(sound, noise, _speech_level(sound) * 10 ** (-snr_db / 20))


def mix_voice(sound: Sound, ratio_db: float, other: Sound) -> Sound:
    """Another sound under the speech, both by their active levels; it is repeated or cut to the same length."""
    import soxr

    voice = other.samples
    if other.rate != sound.rate:
        voice = np.asarray(soxr.resample(voice, other.rate, sound.rate), np.float32)
    level = active_level(Sound(voice, sound.rate))
    if level < SILENT:
        raise MediaError("the other voice is silent.")
    voice = np.resize(voice / np.float32(level), len(sound.samples))
    return _mixed(sound, voice, _speech_level(sound) * 10 ** (-ratio_db / 20))


def pitch(sound: Sound, semitones: float) -> Sound:
    """Higher by that much, lower where negative; formants move along, and the length stays.

    FFmpeg plays it faster, and stretches it back (`atempo`, overlap and add of similar waves).
    """
    from av.audio.frame import AudioFrame
    from av.filter import Graph

    if not semitones:
        return sound
    faster = 2 ** (semitones / 12)
    graph = Graph()
    graph.threads = 1
    source = graph.add_abuffer(sample_rate=sound.rate, format="fltp", layout="mono", time_base=Fraction(1, sound.rate))
    played = graph.add("asetrate", str(round(sound.rate * faster)))
    resampled = graph.add("aresample", str(sound.rate))
    stretched = graph.add("atempo", f"{1 / faster:.9f}")
    sink = graph.add("abuffersink")
    graph.link_nodes(source, played, resampled, stretched, sink).configure()
    frame = AudioFrame.from_ndarray(sound.samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = sound.rate, 0, Fraction(1, sound.rate)
    graph.push(frame)
    graph.push(None)
    samples = np.concatenate([np.zeros(0, np.float32), *_pulled(graph)])[: len(sound.samples)]
    return _within(np.pad(samples, (0, len(sound.samples) - len(samples))), sound.rate)


def drop_words(sound: Sound, per_cent: float, words: Alignment, seed: int) -> Sound:
    """So many of the words that were found in the sound replaced by its own background, chosen by lot.

    The background is white noise at the level of the quietest moments: digital silence is in no recording, and turned
    down speech would still be recognised by whatever normalises levels.
    """
    found = np.flatnonzero(words.ends > words.starts)
    if not words.aligned or not len(found):
        raise MediaError("its words were not found in the sound.")
    order = _rng("drop", seed).permutation(found)
    heard = np.ones(len(sound.samples))
    for word in order[: math.floor(len(order) * per_cent / 100 + 0.5)].tolist():
        heard[round(float(words.starts[word]) * sound.rate) : round(float(words.ends[word]) * sound.rate)] = 0
    gain = _ramped(heard, round(RAMP_SECONDS * sound.rate))
    quiet = float(np.percentile(_levels(sound), QUIETEST))
    background = quiet * _white(len(sound.samples), sound.rate, _rng("drop", seed + 1))
    return _within(gain * sound.samples + (1 - gain) * background, sound.rate)


def active_level(sound: Sound) -> float:
    """Root mean square of the active parts (full scale = 1): blocks of 20 ms within 16 dB of the loudest; 0 of silence."""
    levels = _levels(sound)
    levels = levels[levels >= SILENT]
    if not len(levels):
        return 0.0
    active = levels[levels >= np.percentile(levels, LOUDEST) * 10 ** (-ACTIVE_DB / 20)]
    return float(np.sqrt(np.mean(active**2)))


def _speech_level(sound: Sound) -> float:
    level = active_level(sound)
    if level < SILENT:
        raise MediaError("the sound is silent: there is no level of speech to go by.")
    return level


def _levels(sound: Sound) -> NDArray[np.float64]:
    """(B,) root mean square of each whole block of 20 ms; of all where the sound is shorter."""
    size = max(1, min(round(BLOCK_SECONDS * sound.rate), len(sound.samples)))
    blocks = sound.samples[: len(sound.samples) // size * size].astype(np.float64).reshape(-1, size)
    return np.asarray(np.sqrt(np.mean(blocks**2, axis=1)))


def _white(count: int, rate: int, rng: np.random.Generator) -> Samples:
    """(count,) noise, flat up to 8 kHz or as far as the rate goes, at a root mean square of 1."""
    import soxr

    noise = rng.standard_normal(math.ceil(count * HEARD_HZ / rate) + 1, dtype=np.float32)
    if rate != HEARD_HZ:
        noise = np.asarray(soxr.resample(noise, HEARD_HZ, rate), np.float32)
    noise = np.resize(noise, count)
    return np.asarray(noise / max(float(np.sqrt(np.mean(np.square(noise, dtype=np.float64)))), SILENT), np.float32)


def _rng(kind: str, seed: int) -> np.random.Generator:
    """Lots of its own for each kind; a seed may be negative."""
    return np.random.default_rng([seed % 2**64, *kind.encode()])


def _mixed(sound: Sound, added: Samples, gain: float) -> Sound:
    return _within(sound.samples + added.astype(np.float64) * gain, sound.rate)


def _within(samples: NDArray[Any], rate: int) -> Sound:
    """Turned down as a whole where it exceeds full scale: clipping would be another kind of damage."""
    peak = float(np.abs(samples).max(initial=0.0))
    return Sound(np.asarray(samples / max(peak, 1.0), np.float32), rate)


def _ramped(gain: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Steps of a gain of 0 and 1 made into ramps of that many samples around them."""
    width = max(1, width)
    sums = np.cumsum(np.pad(gain, (width // 2 + 1, width - 1 - width // 2), mode="edge"))
    return np.asarray((sums[width:] - sums[:-width]) / width)


def _pulled(graph: Any) -> list[Samples]:
    """(N,) pieces, all that a graph of filters has to give."""
    pieces = []
    while True:
        try:
            pieces.append(graph.pull().to_ndarray()[0])
        except (BlockingIOError, EOFError):
            return pieces


# Picture ---------------------------------------------------------------------------------------------------------


def freeze(frames: Frames, per_cent: float) -> Frames:
    """So much of (T, H, W, 3), in its middle, stands still: it shows the frame before it; the first frame never changes.

    The middle, because people begin late and end early: a still end would take little of their speech.
    """
    count = len(frames)
    still = min(math.floor(count * per_cent / 100 + 0.5), count - 1)
    first = max(1, (count - still) // 2)
    shown = np.arange(count)
    shown[first : first + still] = first - 1
    return frames[shown]


def blur(frames: Frames, per_cent: float) -> Frames:
    """A Gaussian over each frame; its standard deviation is that share of the frame's height.

    Of the frame, not of the face: a detector that the damage itself misleads must not set its amount.
    """
    from PIL import Image, ImageFilter

    soft = ImageFilter.GaussianBlur(frames.shape[1] * per_cent / 100)
    return np.stack([np.asarray(Image.fromarray(frame).filter(soft)) for frame in frames])


def lay_face(frames: Frames, per_cent: float, faces: Faces, other: Frames, others: Faces) -> Frames:
    """Another person's face over the face of (T, H, W, 3) frames, with that weight: 100 leaves nothing of the first.

    It is turned, scaled and moved so that brows, eyes, nose and jaw meet, inside an ellipse with soft edges. It plays
    as it was filmed, to and fro where it is shorter. Frames in which a face is not followed stay as they are.
    """
    here, there = _followed(faces), _followed(others)
    for found, whose in ((here, "the"), (there, "the other")):
        if not found.any():
            raise MediaError(f"no face found in {whose} clip.")
    played = np.flatnonzero(there)
    points, theirs = _on_pixels(faces, frames), _on_pixels(others, other)
    result = frames.copy()
    for index in np.flatnonzero(here).tolist():
        place = index % max(1, 2 * len(played) - 2)
        shown = int(played[min(place, 2 * len(played) - 2 - place) if len(played) > 1 else 0])
        face, inside = _aligned(other[shown], theirs[shown], points[index], frames.shape[1:3])
        weight = (per_cent / 100 * inside * _ellipse(points[index], frames.shape[1:3]))[..., None]
        result[index] = np.rint(frames[index] * (1 - weight) + face * weight)
    return result


def recompress(frames: Frames, crf: float) -> Frames:
    """Encoded as H.264 at that constant rate factor, and decoded."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "clip.mp4"
        write_clip(path, frames, None, crf=crf)
        return read_video(path)


def rescale(frames: Frames, per_cent: float) -> Frames:
    """Reduced to that share of both sides (averaging), and enlarged again (bicubic)."""
    from PIL import Image

    height, width = frames.shape[1:3]
    small = (max(1, round(width * per_cent / 100)), max(1, round(height * per_cent / 100)))
    scaled = np.empty_like(frames)
    for index, frame in enumerate(frames):
        picture = Image.fromarray(frame).resize(small, Image.Resampling.BOX)
        scaled[index] = np.asarray(picture.resize((width, height), Image.Resampling.BICUBIC))
    return scaled


def _followed(faces: Faces) -> NDArray[np.bool_]:
    """(T,) whether the face was detected in this frame or close to it."""
    found = np.flatnonzero(faces.detected)
    away = np.abs(np.arange(len(faces.detected))[:, None] - found[None]).min(axis=1, initial=len(faces.detected))
    return np.asarray((away <= FOLLOWED_FRAMES) & (len(found) > 0))


def _on_pixels(faces: Faces, frames: Frames) -> NDArray[np.complex128]:
    """(T, 68) landmarks as right + i · down, in pixels of these frames from their upper left corner."""
    points = (faces.landmarks.astype(np.float64) + 0.5) * (frames.shape[2] / float(faces.size[0]))
    return np.asarray(points[..., 0] + 1j * points[..., 1])


def _aligned(
    other: Frames, theirs: NDArray[np.complex128], points: NDArray[np.complex128], size: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(H, W, 3) a frame moved so that its landmarks meet those of another, and (H, W) 1 where there is some of it.

    Least squares of turn, scale and place over all points but the mouth's, which speaks.
    """
    from PIL import Image

    mean, their_mean = points[:48].mean(), theirs[:48].mean()
    spread = points[:48] - mean
    turn = np.vdot(spread, theirs[:48] - their_mean) / np.vdot(spread, spread).real
    picture = Image.fromarray(other)
    reduced = max(1, int(abs(turn)))  # without which fine detail would flicker
    picture = picture.reduce(reduced)
    turn, start = turn / reduced, (their_mean - turn * mean) / reduced
    affine = (turn.real, -turn.imag, start.real, turn.imag, turn.real, start.imag)
    moved = picture.convert("RGBA").transform(
        (size[1], size[0]), Image.Transform.AFFINE, affine, Image.Resampling.BILINEAR
    )
    layers = np.asarray(moved, np.float64)
    return layers[..., :3], layers[..., 3] / 255


def _ellipse(points: NDArray[np.complex128], size: tuple[int, ...]) -> NDArray[np.float64]:
    """(H, W) 1 inside the face from chin to forehead and from ear to ear, 0 outside."""
    jaw_right, chin, jaw_left, bridge = points[[0, 8, 16, 27]]
    up = bridge - chin
    height = max(abs(up), 1.0)
    centre = chin + up * (1 + ABOVE_BRIDGE) / 2
    rows, columns = np.mgrid[: size[0], : size[1]] + 0.5
    place = (columns + 1j * rows - centre) * np.conj(up) / height
    radius = np.hypot(
        place.real / (height * (1 + ABOVE_BRIDGE) / 2), place.imag / max(abs(jaw_left - jaw_right) / 2, 1.0)
    )
    return np.asarray(((1 + SOFT / 2 - radius) / SOFT).clip(0, 1))


# Files -----------------------------------------------------------------------------------------------------------


def _even(clip: Path, frames: Frames) -> Frames:
    """Without the last row or column where their number is odd: H.264 needs even sides."""
    height, width = (side - side % 2 for side in frames.shape[1:3])
    if not height or not width:
        raise MediaError(f"{clip}: frames of {frames.shape[2]} x {frames.shape[1]} pixels; expected 2 x 2 at least.")
    return frames[:, :height, :width]


def _sound(clip: Path) -> Sound | None:
    if not probe(clip).sample_rate:
        return None
    sound = read_audio(clip)
    return sound if len(sound.samples) else None


def _other(given: Given) -> Path:
    if given.other is None:
        raise MediaError("needs a clip of somebody else, and none was given.")
    return given.other


def _faces_of_clip(clip: Path) -> Faces:
    """From the store of features, where `score` keeps them, else extracted and left there."""
    stored = stored_at(stream_sha256(clip, "video"), "video", FACES_DLIB.name)
    faces = load(stored, Faces)
    if faces is None:
        faces = faces_of(read_video(clip, max_side=MAX_SIDE))
        save(stored, faces)
    return faces


def _faces_of_frames(frames: Frames) -> Faces:
    """As the extractor sees them: no larger than it takes them."""
    from PIL import Image

    shrink = MAX_SIDE / max(frames.shape[1:3])
    if shrink < 1:
        size = (max(1, round(frames.shape[2] * shrink)), max(1, round(frames.shape[1] * shrink)))
        frames = np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX)) for frame in frames])
    return faces_of(frames)


# Kinds -----------------------------------------------------------------------------------------------------------


def _noise(sound: Sound, amount: float, given: Given) -> Sound:
    return add_noise(sound, amount, given.seed)


def _voice(sound: Sound, amount: float, given: Given) -> Sound:
    return mix_voice(sound, amount, read_audio(_other(given)))


def _drop(sound: Sound, amount: float, given: Given) -> Sound:
    if not given.text.strip():
        raise MediaError("its words are not known, or not English.")
    ready([WORDS_SPHINX.name])
    return drop_words(sound, amount, align(sound, given.text), given.seed)


def _face(frames: Frames, amount: float, given: Given) -> Frames:
    other = _other(given)
    ready([FACES_DLIB.name])
    others = _faces_of_clip(other)
    return lay_face(frames, amount, _faces_of_frames(frames), read_video(other, max_side=MAX_SIDE), others)


def _alone(run: Callable[[Any, float], Any]) -> Callable[[Any, float, Given], Any]:
    """A kind that needs nothing besides."""
    return lambda stream, amount, _: run(stream, amount)


_ALL = (
    Damage(
        name="none",
        sense="both",
        unit="",
        steps=(),
        least=0,
        most=0,
        summary="picture and sound decoded and encoded again, nothing else",
        run=_alone(lambda stream, _: stream),
    ),
    Damage(
        name="shift",
        sense="audio",
        unit="frames late",
        # A scale may pardon one frame; from three on, the rhythm of speech brings some correlation back.
        steps=(1.25, 1.5, 1.75, 2, 2.5),
        least=-75,
        most=75,
        summary="the sound later than the picture",
        run=_alone(shift_sound),
    ),
    Damage(
        name="noise",
        sense="audio",
        unit="dB SNR",
        # Quieter noise than that can make speech easier to recognise, since it evens out what lies under it.
        steps=(10, 5, 0, -5, -10),
        least=-30,
        most=60,
        summary="white noise over the speech",
        run=_noise,
    ),
    Damage(
        name="voice",
        sense="audio",
        unit="dB over the other voice",
        steps=(20, 10, 5, 0, -5),
        least=-30,
        most=60,
        summary="another person's voice mixed in",
        run=_voice,
    ),
    Damage(
        name="pitch",
        sense="audio",
        unit="semitones",
        steps=(1, 2, 4, 6, 8),
        least=-12,
        most=12,
        summary="the voice higher at the same length",
        run=_alone(pitch),
    ),
    Damage(
        name="drop",
        sense="audio",
        unit="% of the words",
        # One to four of six words. Where most are gone, the background fits any phones, and goodness rises again.
        steps=(15, 30, 45, 60),
        least=0,
        most=100,
        summary="words replaced by the background",
        run=_drop,
    ),
    Damage(
        name="freeze",
        sense="video",
        unit="% of the clip",
        steps=(30, 60, 75, 100),  # beyond three quarters little correlation is left to lose
        least=0,
        most=100,
        summary="the picture stands still in the middle of the clip",
        run=_alone(freeze),
    ),
    Damage(
        name="blur",
        sense="video",
        unit="% of the frame's height",
        # From about 1.5 on, detectors begin to lose faces.
        steps=(0.25, 0.5, 0.75, 1, 1.25),
        least=0,
        most=10,
        summary="the picture out of focus",
        run=_alone(blur),
    ),
    Damage(
        name="face",
        sense="video",
        unit="% of the other face",
        steps=(20, 40, 60, 80, 100),
        least=0,
        most=100,
        summary="another person's face laid over",
        run=_face,
    ),
    Damage(
        name="recompress",
        sense="video",
        unit="CRF",
        steps=(28, 33, 38, 43, 48),
        least=0,
        most=51,
        summary="encoded harder on the way",
        run=_alone(recompress),
    ),
    Damage(
        name="rescale",
        sense="video",
        unit="% of the side",
        steps=(75, 50, 35, 25, 18),
        least=1,
        most=100,
        summary="reduced and enlarged again",
        run=_alone(rescale),
    ),
)

DAMAGES: dict[str, Damage] = {damage.name: damage for damage in _ALL}
