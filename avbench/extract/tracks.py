"""Faces followed through a clip and cut out of it, with the rules of the published lip-sync pipeline.

    boxes of every frame → linked by overlap → bridged in straight lines → long and large enough → smoothed → 224 x 224

Conventions. Frames are swept in order: the first unused box begins a track, which takes every later unused box that
lies at most 25 frames after its last one and overlaps it by more than half; then the next sweep begins. In a sweep the
box that follows a taken one in the list of the same frame is passed over, as in the published code. A square reaches from s
above the centre to 1.8 s below it and 1.4 s to both sides, s being half of the box's longer side; beyond the picture it
is grey. Centre and s go through a median of 13 frames that takes zeros beyond the ends of a track.

The pipeline is that of Chung and Zisserman (Out of time, 2016), as released in syncnet_python.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["CROP", "MAX_GAP", "MIN_FACE", "MIN_OVERLAP", "Track", "crops", "follow", "overlap", "region", "squares"]

MAX_GAP = 25  # frames from one detection of a track to the next
MIN_OVERLAP = 0.5  # intersection over union of these two; a track needs more
MIN_FACE = 100.0  # pixels: mean width or mean height of a track; one of them must be more
SMOOTHING = 13  # frames
WIDER = 0.4  # of s: what a square shows beyond the box on every side but the upper one; below, twice that
GREY = 110  # beyond the picture
CROP = 224  # pixels: side of what the network sees

Boxes = NDArray[np.float64]


class Track(NamedTuple):
    """One face in L frames without a gap, `start` being the first."""

    start: int
    boxes: Boxes  # (L, 4) left, top, right, bottom, pixels
    detected: int  # frames on which the detector ran and found it
    confidence: float  # mean of the detector's scores

    @property
    def end(self) -> int:
        """The frame after the last."""
        return self.start + len(self.boxes)


def follow(
    detections: Sequence[NDArray[np.floating]],
    min_track: int,
    ran: NDArray[np.bool_] | None = None,
    min_face: float = MIN_FACE,
) -> list[Track]:
    """The tracks of more than `min_track` boxes in one shot, in the order in which sweeps find them.

    `detections` has the (n, 5) boxes of each frame: left, top, right, bottom, score. `ran` (T,) says on which frames the
    detector ran; None: on all.
    """
    unused = [list(boxes.astype(np.float64)) for boxes in detections]
    tracks = []
    while linked := _sweep(unused):
        if len(linked) <= min_track:
            continue
        frames = np.array([frame for frame, _ in linked])
        found = np.array([box for _, box in linked])
        every = np.arange(frames[0], frames[-1] + 1)
        boxes = np.stack([np.interp(every, frames, found[:, side]) for side in range(4)], axis=1)
        if max((boxes[:, 2:] - boxes[:, :2]).mean(axis=0)) > min_face:
            detected = len(frames) if ran is None else int(ran[frames].sum())
            tracks.append(Track(int(frames[0]), boxes, detected, float(found[:, 4].mean())))
    return tracks


def squares(boxes: Boxes) -> Boxes:
    """(L, 4) boxes of a track → (L, 3) centre x, centre y and half side s, pixels, smoothed."""
    left, top, right, bottom = boxes.T
    half = np.maximum(bottom - top, right - left) / 2
    return np.stack([_median(line) for line in ((left + right) / 2, (top + bottom) / 2, half)], axis=1)


def crops(frames: Sequence[NDArray[np.uint8]] | NDArray[np.uint8], track: Track) -> NDArray[np.uint8]:
    """The (H, W, 3) RGB frames of the clip that the track is of → (L, 224, 224, 3) BGR."""
    import cv2

    shown = np.empty((len(track.boxes), CROP, CROP, 3), np.uint8)
    for place, (frame, square) in enumerate(zip(frames[track.start : track.end], squares(track.boxes), strict=True)):
        cut = np.ascontiguousarray(region(frame, square)[..., ::-1])
        cv2.resize(cut, (CROP, CROP), dst=shown[place], interpolation=cv2.INTER_LINEAR)
    return shown


def region(frame: NDArray[np.uint8], square: Boxes) -> NDArray[np.uint8]:
    """What one square (centre x, centre y, s) of a frame shows, grey beyond the frame; at least one pixel.

    The published code pads the whole frame by int(1.8 s) and cuts; here the same pixels are taken without padding.
    """
    height, width = frame.shape[:2]
    x, y, half = (float(value) for value in square)
    pad = int(half * (1 + 2 * WIDER))
    # Whole numbers are formed in coordinates of the padded frame: int() cuts towards zero, which is upwards left of it.
    top, bottom = _between(y + pad - half, y + pad + half * (1 + 2 * WIDER), height + 2 * pad)
    left, right = _between(x + pad - half * (1 + WIDER), x + pad + half * (1 + WIDER), width + 2 * pad)
    cut = np.full((bottom - top, right - left, frame.shape[2]), GREY, np.uint8)
    rows = slice(max(top - pad, 0), max(min(bottom - pad, height), 0))
    columns = slice(max(left - pad, 0), max(min(right - pad, width), 0))
    inside = frame[rows, columns]
    down, across = rows.start - (top - pad), columns.start - (left - pad)
    if inside.size:
        cut[down : down + inside.shape[0], across : across + inside.shape[1]] = inside
    return cut


def overlap(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """Intersection over union, 0 to 1, of two boxes (left, top, right, bottom)."""
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0.0, float(width)) * max(0.0, float(height))
    union = float((one[2] - one[0]) * (one[3] - one[1]) + (other[2] - other[0]) * (other[3] - other[1])) - shared
    return shared / union if union > 0 else 0.0


def _sweep(unused: list[list[Boxes]]) -> list[tuple[int, Boxes]]:
    """Takes one track out of the boxes that are left: its frames and boxes; [] when none is left."""
    track: list[tuple[int, Boxes]] = []
    for frame, boxes in enumerate(unused):
        if track and frame - track[-1][0] > MAX_GAP:
            break
        place = 0
        while place < len(boxes):
            if not track or overlap(boxes[place], track[-1][1]) > MIN_OVERLAP:
                track.append((frame, boxes.pop(place)))
            place += 1  # after a hit the next box has moved to this place, and is passed over
    return track


def _median(line: NDArray[np.floating]) -> NDArray[np.floating]:
    """(L,) the median of SMOOTHING values around each, zeros beyond the ends, as the published code has it."""
    padded = np.pad(line, SMOOTHING // 2)
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, SMOOTHING), axis=1))


def _between(first: float, last: float, size: int) -> tuple[int, int]:
    """Whole numbers of a stretch, held inside 0 to `size`, at least 1 apart."""
    start = min(max(int(first), 0), size - 1)
    return start, max(min(int(last), size), start + 1)
