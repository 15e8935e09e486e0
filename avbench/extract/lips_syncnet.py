"""What SyncNet makes of every face of a clip, and of its sound: in memory, without a lossy step between.

    frames → S3FD on each, shorter side at 256 pixels → tracks of more than 50 frames (`tracks.py`) → squares of
    224 x 224, BGR, 0 to 255 → windows of five frames → lip half
    sound → mono, 16 kHz, 16-bit values → cepstra (`mfcc.py`) → windows of 20 columns, four to a frame → sound half

Conventions. As in syncnet_python, with four stated departures. Nothing is coded anew: its transcodes move the sound by
0.4 of a frame against the picture, and add a frame. A track needs more than 50 frames, not 100, so that a clip of 121
is not lost to one turn of the head; a face must still be over 100 pixels. And the detector sees every clip with its
shorter side reduced to 256 pixels, never enlarged: for 1024 that is the published quarter, for 512 a quarter would leave
too little of a face. And the sound is not cut at the ends of a track before its cepstra are formed: the first sample of
a track that begins later is pre-emphasised against the one before it, where there nothing is before it; of such a
track one window differs, by less than two neighbouring windows do. There is no detector of cuts: a face that jumps ends
its track because boxes no longer overlap.

The strided variant runs the detector on every eighth frame and the last. Between two of these, boxes lie on straight
lines where both show the same faces (overlap at least 0.7, one to one); else the detector runs on all frames between.
The crops follow a median of 13 frames in either case, which a line of seven frames hardly moves.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import weights
from ..features import Feature, LipTracks, SoundWindows
from .engine import Engine, exactly
from .mfcc import RATE, mfcc
from .resample import resample
from .tracks import Track, crops, follow, overlap, squares

if TYPE_CHECKING:
    import torch

    from ..clip import Sound
    from .nets.s3fd import Detector
    from .nets.syncnet import Halves

__all__ = [
    "EVERY",
    "LIPS_SYNCNET",
    "LIPS_SYNCNET_EVERY8",
    "MIN_TRACK",
    "SOUND_SYNCNET",
    "SPARED",
    "bridge",
    "detect",
    "detect_every",
    "lip_embeddings",
    "lip_tracks",
    "lips_every8_of",
    "lips_of",
    "scale_of",
    "sound_embeddings",
    "sound_of",
]

LIPS_SYNCNET = Feature("lips_syncnet", "video", LipTracks)
LIPS_SYNCNET_EVERY8 = Feature("lips_syncnet_every8", "video", LipTracks)
SOUND_SYNCNET = Feature("sound_syncnet", "audio", SoundWindows)

SHORT_SIDE = 256  # pixels: what the detector sees
MIN_SCORE = 0.9
MIN_TRACK = 50  # detections; a track needs more
EVERY, STEADY = 8, 0.7  # frames; overlap of two samples between which a straight line is believed

SAMPLES_PER_FRAME = RATE // 25
COLUMNS_PER_FRAME = 4
WINDOW_FRAMES, WINDOW_COLUMNS = 5, 20
SPARED = 5  # windows are fewer than frames by as much: the published code leaves the last possible one out

# The networks always get as many at once, so that their sums are formed in one order whatever the length of a clip: on
# a CPU, few enough for its cache; on an accelerator, enough to fill it.
IMAGES_AT_ONCE, LIPS_AT_ONCE, SOUNDS_AT_ONCE = (1, 16), (4, 32), (32, 128)

Boxes = NDArray[np.float32]
Frames = NDArray[np.uint8]


def lips_of(frames: Frames, engine: Engine) -> LipTracks:
    """Every track of (T, H, W, 3) RGB frames at 25 fps, the detector on each frame."""
    return lip_tracks(frames, *detect_every(frames, engine, 1), engine)


def lips_every8_of(frames: Frames, engine: Engine) -> LipTracks:
    """The same, the detector on every eighth frame where that is enough."""
    return lip_tracks(frames, *detect_every(frames, engine, EVERY), engine)


def sound_of(sound: Sound, engine: Engine) -> SoundWindows:
    """The windows of a sound of any rate."""
    samples = np.rint(resample(sound.samples, sound.rate, RATE) * np.float32(2**15))
    values = samples.clip(-(2**15), 2**15 - 1).astype(np.int16)
    return SoundWindows(
        embeddings=sound_embeddings(values, engine),
        samples=len(values),
        peak=float(np.abs(sound.samples).max(initial=0.0)),
    )


def lip_tracks(frames: Frames, detections: Sequence[Boxes], ran: NDArray[np.bool_], engine: Engine) -> LipTracks:
    """Follows the boxes of each frame, and runs the lip half on every track; `ran` (T,) as in `follow`."""
    tracks = follow(detections, MIN_TRACK, ran)
    lips = [lip_embeddings(crops(frames, track), engine) for track in tracks]
    return LipTracks(
        frames=len(frames),
        starts=np.array([track.start for track in tracks], np.int32),
        ends=np.array([track.end for track in tracks], np.int32),
        detected=np.array([track.detected for track in tracks], np.int32),
        confidence=np.array([track.confidence for track in tracks], np.float32),
        boxes=_squares_of(tracks),
        lips=np.concatenate([np.zeros((0, _network(engine).width), np.float32), *lips]),
        faces_seen=sum(len(boxes) for boxes, seen in zip(detections, ran.tolist(), strict=True) if seen),
    )


# Faces -----------------------------------------------------------------------------------------------------------


def detect(frames: Sequence[Frames] | Frames, engine: Engine, scale: float) -> list[Boxes]:
    """(H, W, 3) RGB frames of one size → for each, (n, 5) left, top, right, bottom, score: pixels, best score first.

    The detector sees a frame reduced by `scale`, and nothing in one that is then too small for it. Boxes may reach
    beyond the frame.
    """
    import cv2
    import torch

    from .nets.s3fd import MEANS, faces_in, map_sizes, to_pixels

    if len(frames) and not np.all(map_sizes(*(round(scale * side) for side in frames[0].shape[:2]))):
        return [np.zeros((0, 5), np.float32) for _ in frames]
    network, many = _detector(engine), IMAGES_AT_ONCE[engine.accelerated]
    found = []
    for first in range(0, len(frames), many):
        part = list(frames[first : first + many])
        small = np.stack(
            [cv2.resize(frame, (0, 0), fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR) for frame in part]
        )
        height, width = small.shape[1:3]
        batch = np.zeros((many, height, width, 3), np.float32)
        np.subtract(small, np.array(MEANS, np.float32), out=batch[: len(part)])
        with torch.inference_mode():
            answer = network(torch.from_numpy(batch).to(engine.device).permute(0, 3, 1, 2))
        scores, offsets = answer.scores.cpu().numpy(), answer.offsets.cpu().numpy()
        for frame, score, offset in zip(part, scores, offsets, strict=False):
            boxes = faces_in(score, offset, (height, width), MIN_SCORE)
            found.append(to_pixels(boxes, frame.shape[1], frame.shape[0]))
    return found


def detect_every(frames: Frames, engine: Engine, every: int) -> tuple[list[Boxes], NDArray[np.bool_]]:
    """The boxes of all frames, the detector on one in `every` where that is enough; and where it ran, (T,)."""
    scale = scale_of(frames.shape[1], frames.shape[2])
    count = len(frames)
    samples = sorted({*range(0, count, every), count - 1} - {-1})
    found = dict(zip(samples, detect([frames[index] for index in samples], engine, scale), strict=True))
    unclear: list[int] = []
    for first, last in itertools.pairwise(samples):
        line = bridge(found[first], found[last], last - first - 1)
        if line is None:
            unclear.extend(range(first + 1, last))
        else:
            found |= dict(zip(range(first + 1, last), line, strict=True))
    found |= dict(zip(unclear, detect([frames[index] for index in unclear], engine, scale), strict=True))
    ran = np.zeros(count, dtype=bool)
    ran[samples + unclear] = True
    return [found[index] for index in range(count)], ran


def bridge(first: Boxes, last: Boxes, between: int) -> list[Boxes] | None:
    """The boxes of the frames between two samples, in straight lines; None where these do not show the same faces."""
    if not between:
        return []
    if len(first) != len(last):
        return None
    overlaps = np.array([[overlap(one, other) for other in last] for one in first]).reshape(len(first), len(last))
    partners = overlaps.argmax(axis=1) if len(first) else np.zeros(0, np.intp)
    if len(set(partners.tolist())) < len(first) or (overlaps.max(axis=1, initial=0) < STEADY).any():
        return None
    shares = np.arange(1, between + 1, dtype=np.float32) / np.float32(between + 1)
    return [first + share * (last[partners] - first) for share in shares]


def scale_of(height: int, width: int) -> float:
    """By how much the detector reduces a frame: its shorter side becomes 256 pixels; 1 where it is no more."""
    return min(1.0, SHORT_SIDE / min(height, width))


def _squares_of(tracks: Sequence[Track]) -> NDArray[np.float32]:
    return np.concatenate([np.zeros((0, 3)), *(squares(track.boxes) for track in tracks)]).astype(np.float32)


# Lips and sound --------------------------------------------------------------------------------------------------


def lip_embeddings(shown: Frames, engine: Engine) -> NDArray[np.float32]:
    """(T, 224, 224, 3) BGR → (max(0, T - 4), D): window v is of the frames v to v + 4."""
    import torch

    pictures, many = torch.from_numpy(shown).to(engine.device), LIPS_AT_ONCE[engine.accelerated]
    count = max(0, len(shown) - WINDOW_FRAMES + 1)
    batch = torch.zeros((many, *shown.shape[1:3], 3 * WINDOW_FRAMES), dtype=torch.float32, device=pictures.device)
    made = []
    with torch.inference_mode():
        for first in range(0, count, many):
            size = min(many, count - first)
            for later in range(WINDOW_FRAMES):
                start = first + later
                batch[:size, :, :, 3 * later : 3 * later + 3] = pictures[start : start + size]
            made.append(_network(engine).lips(batch.permute(0, 3, 1, 2))[:size].cpu())
    return _rows(made, engine)


def sound_embeddings(samples: NDArray[np.int16], engine: Engine) -> NDArray[np.float32]:
    """(N,) 16-bit values at 16 kHz → (max(0, N // 640 - 5), D): window v is heard with the video frames v to v + 4."""
    import torch

    count, many = max(0, len(samples) // SAMPLES_PER_FRAME - SPARED), SOUNDS_AT_ONCE[engine.accelerated]
    made = []
    if count:
        columns = np.lib.stride_tricks.sliding_window_view(mfcc(samples), WINDOW_COLUMNS, axis=0)
        windows = columns[::COLUMNS_PER_FRAME][:count].astype(np.float32)[:, None]
        with torch.inference_mode():
            for first in range(0, count, many):
                part = windows[first : first + many]
                batch = np.zeros((many, *part.shape[1:]), np.float32)
                batch[: len(part)] = part
                made.append(_network(engine).sounds(torch.from_numpy(batch).to(engine.device))[: len(part)].cpu())
    return _rows(made, engine)


def _rows(made: list[torch.Tensor], engine: Engine) -> NDArray[np.float32]:
    return np.concatenate([np.zeros((0, _network(engine).width), np.float32), *(part.numpy() for part in made)])


@functools.cache
def _detector(engine: Engine) -> Detector:
    import cv2

    from .nets.s3fd import load_s3fd, untrained_s3fd

    cv2.setNumThreads(1)
    exactly()
    network: Detector = untrained_s3fd() if engine.untrained else load_s3fd(weights.path("s3fd"))
    return network.to(engine.device)


@functools.cache
def _network(engine: Engine) -> Halves:
    from .nets.syncnet import halves, load_syncnet, untrained_syncnet

    exactly()
    network = untrained_syncnet() if engine.untrained else load_syncnet(weights.path("syncnet-v2"))
    return halves(network).to(engine.device)
