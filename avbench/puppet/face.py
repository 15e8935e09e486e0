"""A still picture of a face made to speak: lips, jaw, lids and head move, and everything else stays.

A picture with 68 landmarks (iBUG order) becomes a `Rig`: smooth contours of lips, lids and chin. Each frame is one
backward map from output pixels to the picture, made of two small motions:

    head    the whole head sways, turns and nods about the neck; the map fades to nothing away from the head
    mouth   lips move between their contours, the chin follows the lower lip, the corners move in and out

Lids are painted over the eyes in the colour of the skin below them. Where the lips part, the inside of the mouth is
painted: the picture's own teeth where it shows some, else drawn ones, with a dark cavity and a tongue below. Lengths
are pixels; amounts are shares of the face height (nose bridge, point 27, to chin, point 8), so that a picture of any
size moves alike.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from ..clip import FRAME_RATE
from .visemes import Mouth

__all__ = ["Motion", "Rig", "animate", "motion", "rig"]

Array = NDArray[np.float32]
Frames = NDArray[np.uint8]
Channels = tuple[Frames, Frames, Frames]  # red, green, blue

# Shares of the face height.
OPEN_GAP = 0.115  # between the lips at opening 1
TEETH = 0.012  # how far drawn teeth reach below the resting seam
SWAY, NOD, TURN = 0.012, 0.010, 0.02  # of the head: sideways, up and down, and of the nose against the head
ROLL_RAD = 0.011

UPPER_SHARE = 0.22  # of the gap that the upper lip makes; the rest is the lower lip's
CHIN_SHARE = 0.55  # of the lower lip's way that the chin follows
SPREAD, PURSE = 0.05, 0.20  # change of the half width of the mouth at width 1 and at -1
JAW_PURSE = 0.07  # the same at opening 1: a dropped jaw draws the corners in
SEAM = 0.45  # where parted lips of the picture meet: 0 at the upper, 1 at the lower one
INSET = 0.007  # by which a smiling picture's lips are taken smaller than their contours
SMILE_SHARE = 0.035  # a picture whose lips are further apart than this shows its teeth
ENLARGED = 2  # the picture is sampled from a copy this much larger, so that bilinear sampling keeps it sharp
LID_SKIN = 0.4  # of half an eye's width: how far below an eye its lid's colour is taken
BOW = 0.94  # share of the mouth's width in which the lips part
APART = 0.08  # of half a mouth's or an eye's width: as near as two points of a contour may be along it
COLUMNS = 256  # of the contour tables across the mouth


@dataclasses.dataclass(frozen=True)
class Motion:
    """What head and lids do in T frames; all zero is the picture itself."""

    sway: Array  # (T,) sideways, pixels to the right
    nod: Array  # (T,) pixels down
    turn: Array  # (T,) how far the nose moves against the head, pixels to the right
    roll: Array  # (T,) radians, clockwise
    lids: Array  # (T,) 0 as in the picture … 1 shut


@dataclasses.dataclass(frozen=True)
class _Axes:
    """Coordinates along and across a line through the face, in pixels from its middle."""

    centre: tuple[float, float]
    along: tuple[float, float]  # unit vector; across is its clockwise normal, towards the chin

    def of(self, x: Array, y: Array) -> tuple[Array, Array]:
        dx, dy = x - np.float32(self.centre[0]), y - np.float32(self.centre[1])
        (a, b) = (np.float32(self.along[0]), np.float32(self.along[1]))
        return dx * a + dy * b, dy * a - dx * b

    def back(self, u: Array, v: Array) -> tuple[Array, Array]:
        (a, b) = (np.float32(self.along[0]), np.float32(self.along[1]))
        return u * a - v * b + np.float32(self.centre[0]), u * b + v * a + np.float32(self.centre[1])


@dataclasses.dataclass(frozen=True)
class _Lips:
    """Contours of the mouth as tables over u = -1 (left corner) … 1 (right corner), in pixels across the mouth line."""

    axes: _Axes
    half: float  # half the width of the mouth
    upper_outer: Array
    upper_inner: Array
    lower_inner: Array
    lower_outer: Array
    seam: Array  # where the lips meet
    arc: Array  # the same without the detail that meeting lips press into each other
    nose: float  # below the nose; nothing above moves
    chin: float
    block: tuple[slice, slice]  # rows, columns of the picture that lips and chin may move
    smiles: bool  # whether the picture shows teeth


@dataclasses.dataclass(frozen=True)
class _Eye:
    """Contours of one eye, as those of the mouth."""

    axes: _Axes
    half: float
    upper: Array
    lower: Array
    skin: Array  # (COLUMNS, 3) RGB below the eye, which its lid is painted with
    block: tuple[slice, slice]


@dataclasses.dataclass(frozen=True)
class _Parted:
    """The mouth of one frame: where its block's pixels lie in the picture's mouth, and the contours there."""

    u: Array  # along the mouth line, the change of width undone
    v: Array  # across it
    column: NDArray[np.intp]  # of the tables
    upper: Array  # (COLUMNS,) lower edge of the upper lip
    lower: Array  # (COLUMNS,) upper edge of the lower lip


@dataclasses.dataclass(frozen=True)
class Rig:
    """A picture ready to move."""

    picture: Frames  # (H, W, 3)
    enlarged: Channels  # the channels of the picture, ENLARGED times as large
    height: float  # of the face, pixels
    pivot: tuple[float, float]  # of the head's roll, below the chin
    near: Array  # (H, W) 1 at the head … 0 away from it
    nose: Array  # (H, W) 1 at the tip of the nose … 0 away from the face
    lips: _Lips
    eyes: tuple[_Eye, _Eye]
    inside: Array  # (3, 3) RGB of cavity, tongue and teeth


def rig(picture: Frames, landmarks: Array) -> Rig:
    """Prepares a picture (H, W, 3) with landmarks (68, 2), in pixels with pixel centres at whole numbers."""
    points = np.asarray(landmarks, np.float64)
    height = float(np.linalg.norm(points[8] - points[27]))
    rows, columns = (axis.astype(np.float32) for axis in np.mgrid[: picture.shape[0], : picture.shape[1]])
    middle = points[27:].mean(axis=0)
    down = (points[8] - points[27]) / height
    side = np.array([down[1], -down[0]])
    x, y = columns - np.float32(middle[0]), rows - np.float32(middle[1])
    across, along = x * side[0] + y * side[1], x * down[0] + y * down[1]
    near = np.exp(-((np.hypot(across / (1.35 * height), along / (1.55 * height))) ** 4)).astype(np.float32)
    tip = points[30]
    nose = np.exp(-(((columns - tip[0]) ** 2 + (rows - tip[1]) ** 2) / (0.55 * height) ** 2)).astype(np.float32)
    lips = _lips(picture, points, height)
    enlarged = _enlarged(picture)
    pivot = points[8] + 0.5 * height * down
    return Rig(
        picture=picture,
        enlarged=enlarged,
        height=height,
        pivot=(float(pivot[0]), float(pivot[1])),
        near=near,
        nose=nose,
        lips=lips,
        eyes=(_eye(picture, enlarged, points[36:42]), _eye(picture, enlarged, points[42:48])),
        inside=_inside(picture, lips, points),
    )


def motion(rig: Rig, frames: int, seed: int) -> Motion:
    """A small unhurried sway of the head and a blink every 2 to 4 s, at rest in the first frame."""
    generator = np.random.default_rng(seed)
    seconds = np.arange(frames) / FRAME_RATE

    def drift(amount: float) -> Array:
        # Five slow sines; a still head would look pinned, a fast one nervous.
        frequencies = generator.uniform(0.08, 0.45, 5)
        phases = generator.uniform(0.0, 2 * np.pi, 5)
        waves = np.sin(2 * np.pi * np.outer(frequencies, seconds) + phases[:, None]).sum(axis=0) / np.sqrt(5 / 2)
        return np.asarray((waves - waves[0]) * amount, np.float32)

    lids = np.zeros(frames)
    moment = generator.uniform(0.8, 2.2)
    while moment < seconds[-1] - 0.3:
        # Shuts in 80 ms, opens in 160 ms.
        since = seconds - moment
        lids = np.maximum(lids, np.clip(np.where(since < 0, 1 + since / 0.08, 1 - since / 0.16), 0.0, 1.0))
        moment += generator.uniform(2.0, 4.0)
    return Motion(
        sway=drift(SWAY * rig.height),
        nod=drift(NOD * rig.height),
        turn=drift(TURN * rig.height),
        roll=drift(ROLL_RAD),
        lids=(lids * lids * (3 - 2 * lids)).astype(np.float32),
    )


def animate(rig: Rig, mouth: Mouth, motion: Motion) -> Frames:
    """(T, H, W, 3): the picture with this mouth and this motion."""
    frames = np.empty((len(mouth.opening), *rig.picture.shape), np.uint8)
    rows, columns = (axis.astype(np.float32) for axis in np.mgrid[: rig.picture.shape[0], : rig.picture.shape[1]])
    for number, frame in enumerate(frames):
        x, y = _head(rig, motion, number, columns, rows)
        parted = _part_lips(rig, mouth, number, x, y)  # leaves the map of the eyes alone
        _sample(rig.enlarged, x, y, frame)
        if motion.lids[number] > 0:
            for eye in rig.eyes:
                _paint_lid(eye, float(motion.lids[number]), x, y, frame)
        _paint_inside(rig, parted, float(mouth.tongue[number]), frame)
    return frames


# The picture ---------------------------------------------------------------------------------------------------


def _lips(picture: Frames, points: NDArray[np.float64], height: float) -> _Lips:
    axes, half = _axes(points[48], points[54])
    outline = {name: _contour(axes, half, points[list(which)]) for name, which in OUTLINES.items()}
    inner = (outline["upper_inner"] + outline["lower_inner"]) / 2
    upper_inner = np.minimum(outline["upper_inner"], inner)  # landmarks of closed lips may cross
    lower_inner = np.maximum(outline["lower_inner"], inner)
    smiles = float((lower_inner - upper_inner).max()) > SMILE_SHARE * height
    if smiles:  # teeth must not cling to the lips
        inset = np.float32(INSET * height)
        upper_inner = np.maximum(upper_inner - inset, (outline["upper_outer"] + upper_inner) / 2)
        lower_inner = np.minimum(lower_inner + inset, (outline["lower_outer"] + lower_inner) / 2)
    seam = upper_inner + np.float32(SEAM) * (lower_inner - upper_inner)
    bend = 1 - np.linspace(-1, 1, COLUMNS, dtype=np.float32) ** 2
    across = axes.of(points[:, 0].astype(np.float32), points[:, 1].astype(np.float32))[1]
    chin = float(across[8])
    reach = 2.6 * half
    return _Lips(
        axes=axes,
        half=half,
        upper_outer=np.minimum(outline["upper_outer"], upper_inner),
        upper_inner=upper_inner,
        lower_inner=lower_inner,
        lower_outer=np.maximum(outline["lower_outer"], lower_inner),
        seam=seam,
        arc=bend * np.float32(bend @ seam / (bend @ bend)),
        nose=float(across[33]) + 0.01 * height,
        chin=chin,
        block=_block(picture, axes, reach, float(across[33]), 1.9 * chin),
        smiles=smiles,
    )


OUTLINES = {
    "upper_outer": (48, 49, 50, 51, 52, 53, 54),
    "upper_inner": (48, 60, 61, 62, 63, 64, 54),
    "lower_inner": (48, 60, 67, 66, 65, 64, 54),
    "lower_outer": (48, 59, 58, 57, 56, 55, 54),
}


def _eye(picture: Frames, enlarged: Channels, points: NDArray[np.float64]) -> _Eye:
    from scipy.ndimage import gaussian_filter1d

    axes, half = _axes(points[0], points[3])
    upper = _contour(axes, half, points[[0, 1, 2, 3]])
    lower = np.maximum(_contour(axes, half, points[[0, 5, 4, 3]]), upper)
    along = np.linspace(-half, half, COLUMNS, dtype=np.float32)
    below = np.empty((COLUMNS, 3), np.uint8)
    _sample(enlarged, *axes.back(along, lower + np.float32(LID_SKIN * half)), below)
    skin = gaussian_filter1d(below.astype(np.float32), COLUMNS / 8, axis=0, mode="nearest")
    return _Eye(axes, half, upper, lower, skin, _block(picture, axes, 1.1 * half, -half, half))


def _axes(left: NDArray[np.float64], right: NDArray[np.float64]) -> tuple[_Axes, float]:
    middle, way = (left + right) / 2, right - left
    length = float(np.hypot(*way))
    return _Axes((float(middle[0]), float(middle[1])), (float(way[0] / length), float(way[1] / length))), length / 2


def _contour(axes: _Axes, half: float, points: NDArray[np.float64]) -> Array:
    """(COLUMNS,): the curve through the points, which are in order from left to right, over u = -1 … 1."""
    from scipy.interpolate import PchipInterpolator

    u, v = (
        axis.astype(np.float64) for axis in axes.of(points[:, 0].astype(np.float32), points[:, 1].astype(np.float32))
    )
    room = APART * half
    for place in range(1, len(u) - 1):  # seen from the side, or by a landmark network, points may pass one another
        u[place] = min(max(u[place], u[place - 1] + room), u[-1] - room * (len(u) - 1 - place))
    curve = PchipInterpolator(u / half, v, extrapolate=False)(np.linspace(-1, 1, COLUMNS))
    return np.asarray(np.nan_to_num(curve), np.float32)


def _block(picture: Frames, axes: _Axes, reach: float, top: float, bottom: float) -> tuple[slice, slice]:
    """Rows and columns around a part of the face, with room for the head's motion."""
    u = np.array([-reach, reach, -reach, reach], np.float32)
    v = np.array([top, top, bottom, bottom], np.float32)
    x, y = axes.back(u, v)
    room = 0.1 * reach
    height, width = picture.shape[:2]
    return (
        slice(max(0, int(y.min() - room)), min(height, int(y.max() + room) + 1)),
        slice(max(0, int(x.min() - room)), min(width, int(x.max() + room) + 1)),
    )


def _enlarged(picture: Frames) -> Channels:
    from PIL import Image

    height, width = picture.shape[:2]
    large = Image.fromarray(picture).resize((width * ENLARGED, height * ENLARGED), Image.Resampling.LANCZOS)
    red, green, blue = (np.ascontiguousarray(channel) for channel in np.moveaxis(np.asarray(large), 2, 0))
    return red, green, blue


def _inside(picture: Frames, lips: _Lips, points: NDArray[np.float64]) -> Array:
    """Colours of cavity, tongue and teeth in the light and the tint of the picture."""
    lip = _mean_colour(picture, (points[57] + points[66]) / 2, 0.12 * lips.half)
    cheeks = [_mean_colour(picture, points[index] * 0.5 + points[30] * 0.5, 0.3 * lips.half) for index in (3, 13)]
    skin = np.maximum(*cheeks)
    grey = np.full(3, skin.max())
    return np.stack([lip * (0.3, 0.18, 0.16), lip * (0.75, 0.52, 0.52), 0.65 * skin + 0.5 * grey]).astype(np.float32)


def _mean_colour(picture: Frames, place: NDArray[np.float64], radius: float) -> NDArray[np.float64]:
    x, y, r = round(float(place[0])), round(float(place[1])), max(1, round(radius))
    patch = picture[max(0, y - r) : y + r + 1, max(0, x - r) : x + r + 1].reshape(-1, 3)
    mean: NDArray[np.float64] = patch.mean(axis=0) if len(patch) else picture.reshape(-1, 3).mean(axis=0)
    return mean


# One frame -----------------------------------------------------------------------------------------------------


def _head(rig: Rig, motion: Motion, number: int, columns: Array, rows: Array) -> tuple[Array, Array]:
    """Where in the picture each pixel of the frame comes from, by the motion of the head alone."""
    roll = motion.roll[number]
    x, y = columns - np.float32(rig.pivot[0]), rows - np.float32(rig.pivot[1])
    back_x = roll * y - motion.sway[number]
    back_y = -roll * x - motion.nod[number]
    return (
        columns + rig.near * back_x - rig.nose * motion.turn[number],
        rows + rig.near * back_y,
    )


def _paint_lid(eye: _Eye, shut: float, x: Array, y: Array, frame: Frames) -> None:
    """Paints the upper lid over an eye, in place; x, y is the map of the head alone."""
    u, v = eye.axes.of(x[eye.block], y[eye.block])
    window = frame[eye.block]
    near = (np.abs(u) < eye.half) & (v > eye.upper.min() - 2) & (v < eye.lower.max() + 4)
    u, v = u[near], v[near]
    place = u / np.float32(eye.half)
    column = _columns(place)
    upper, lower = eye.upper[column], eye.lower[column]
    lid = upper + np.float32(shut) * (lower - upper)
    covered = _share(v - upper + 1) * _share(lid - v + np.float32(0.5)) * _share(4 * (1 - np.abs(place)))
    # Skin is a little darker in the crease above and where the lashes are.
    shade = 0.86 + 0.1 * _ease((v - upper) / np.maximum(lid - upper, 1))
    lash = np.exp(-(((v - lid) / np.float32(0.08 * eye.half)) ** 2)) * _share(4 * (1 - np.abs(place)))
    colour = _mixed(window[near].astype(np.float32), eye.skin[column] * shade[:, None], covered)
    window[near] = np.rint(colour * (1 - np.float32(0.55 * shut) * lash)[:, None]).astype(np.uint8)


def _part_lips(rig: Rig, mouth: Mouth, number: int, x: Array, y: Array) -> _Parted:
    """Moves lips and chin in the map, in place."""
    lips = rig.lips
    u, v = lips.axes.of(x[lips.block], y[lips.block])
    width = float(mouth.width[number])
    change = (SPREAD if width > 0 else PURSE) * width - JAW_PURSE * float(mouth.opening[number])
    u = _undo_width(lips, change, u, v)
    gap = np.float32(OPEN_GAP * rig.height * mouth.opening[number])
    bite = np.float32(mouth.bite[number])
    place = np.linspace(-1, 1, COLUMNS, dtype=np.float32)
    bow = np.maximum(1 - (place / np.float32(BOW)) ** 2, 0) ** np.float32(0.95)
    upper_share = UPPER_SHARE + (0.75 - UPPER_SHARE) * bite
    seam = lips.seam
    upper = seam - upper_share * gap * bow
    relaxed = seam + (lips.arc - seam) * np.float32(min(1.0, 2 * mouth.opening[number]))
    lower = relaxed + (1 - upper_share) * gap * bow
    down = upper - lips.upper_inner  # of the upper lip's edge; negative is up
    away = lower - lips.lower_inner
    chin = np.float32(CHIN_SHARE) * (1 - upper_share) * gap

    column = _columns(u / np.float32(lips.half))
    middle = ((upper + lower) / 2)[column]
    above = v < middle
    shift = np.where(
        above,
        _upper_shift(lips, v, column, down),
        _lower_shift(lips, u, v, column, away, chin),
    )
    x[lips.block], y[lips.block] = lips.axes.back(u, v - shift)
    return _Parted(u, v, column, upper, lower)


def _paint_inside(rig: Rig, parted: _Parted, tongue: float, frame: Frames) -> None:
    """Paints what shows between the lips into the frame, in place."""
    lips, (cavity, red, white) = rig.lips, rig.inside
    u, v, column = parted.u, parted.v, parted.column
    window = frame[lips.block]
    near = (v > parted.upper[column] - 2) & (v < parted.lower[column] + 2) & (np.abs(u) < lips.half)
    u, v, column = u[near], v[near], column[near]
    upper, lower = parted.upper[column], parted.lower[column]
    place = u / np.float32(lips.half)
    side = 1 - place**2
    gap = lower - upper
    airy = _share(gap / np.float32(0.06 * rig.height))  # 1 where light falls in
    # How much of the pixel lies between the lips.
    between = _share(v - upper + np.float32(0.5)) * _share(lower - v + np.float32(0.5)) * _share(gap)

    deep = _ease((v - upper) / np.maximum(gap, 1e-3))
    colour = cavity * (0.6 + 0.4 * deep)[:, None]
    rise = np.maximum(gap * np.float32(0.45 + 0.35 * tongue), 1e-3)
    colour = _mixed(colour, red, 0.8 * side * airy * _ease((v - lower + rise) / rise))
    hem = np.float32(0.011 * rig.height)
    if lips.smiles:
        x, y = lips.axes.back(u, v)
        teeth = np.empty((len(u), 3), np.uint8)
        _sample(rig.enlarged, x, y, teeth)
        edge, shown = lips.lower_inner[column] - 2 * hem, np.ones_like(side)
    else:
        ridge = np.abs(np.mod(place * 4 + 0.5, 1) - 0.5)  # 0 between two teeth
        teeth = white * (0.88 + 0.12 * _share(ridge * 6))[:, None]
        edge, shown = lips.arc[column] + np.float32(TEETH * rig.height) * side, 0.9 * side**1.5 * airy
    shade = 0.65 + 0.35 * _ease((v - upper) / np.float32(0.02 * rig.height))
    colour = _mixed(colour, teeth * shade[:, None], shown * _share((edge - v) / hem + 0.5))
    lit = window[near].astype(np.float32)
    if lips.smiles:  # lips that the picture shows apart have no line between them
        line = np.exp(-((v - (upper + lower) / 2) ** 2)) * (1 - _share(gap))
        lit *= (1 - 0.3 * line)[:, None]
    window[near] = np.rint(_mixed(lit, colour, between)).astype(np.uint8)


def _mixed(under: Array, over: Array, share: Array) -> Array:
    result: Array = under + (over - under) * share[:, None]
    return result


def _upper_shift(lips: _Lips, v: Array, column: NDArray[np.intp], down: Array) -> Array:
    outer = np.float32(0.7) * down
    edge, line = (lips.upper_inner + down)[column], (lips.upper_outer + outer)[column]
    on_lip = _share((v - line) / np.maximum(edge - line, 1e-3))
    room: Array = np.maximum(line - np.float32(lips.nose), 1e-3)
    on_skin = _ease((v - np.float32(lips.nose)) / room)
    return np.where(v > line, outer[column] + on_lip * (down - outer)[column], on_skin * outer[column])


def _lower_shift(lips: _Lips, u: Array, v: Array, column: NDArray[np.intp], away: Array, chin: np.float32) -> Array:
    outer = np.float32(0.8) * away
    edge, line = (lips.lower_inner + away)[column], (lips.lower_outer + outer)[column]
    wide = np.exp(-np.square(np.square(u / np.float32(1.8 * lips.half))))
    bone = chin * wide
    jaw = np.float32(lips.chin) + bone
    end = np.float32(1.8 * lips.chin)
    on_lip = outer[column] + _share((line - v) / np.maximum(line - edge, 1e-3)) * (away - outer)[column]
    on_skin = outer[column] + _ease((v - line) / np.maximum(jaw - line, 1e-3)) * (bone - outer[column])
    on_neck = bone * (1 - _ease((v - jaw) / (end - jaw)))
    return np.where(v < line, on_lip, np.where(v < jaw, on_skin, on_neck))


def _undo_width(lips: _Lips, change: float, u: Array, v: Array) -> Array:
    half = np.float32(lips.half)
    # At the corners exp(-1/1.44) of the change is left; 2 gives it back. Nothing moves at the nose.
    below = _ease((v - np.float32(lips.nose)) / np.float32(max(-0.8 * lips.nose, 1.0)))
    reach = np.exp(-np.square(u / (1.2 * half)) - np.square((v - 0.1 * half) / (0.75 * half))) * below
    return np.asarray(u - np.float32(2 * change) * u * reach)


def _columns(place: Array) -> NDArray[np.intp]:
    """Indices into tables over -1 … 1; beyond the ends, the ends."""
    index: NDArray[np.intp] = np.clip(np.rint((place + 1) * ((COLUMNS - 1) / 2)), 0, COLUMNS - 1).astype(np.intp)
    return index


def _share(value: Array) -> Array:
    return np.clip(value, 0.0, 1.0)


def _ease(value: Array) -> Array:
    """0 … 1, level at both ends."""
    clipped = np.clip(value, 0.0, 1.0)
    return clipped * clipped * (3 - 2 * clipped)


def _sample(channels: Channels, x: Array, y: Array, frame: Frames) -> None:
    """Fills a frame with the colours at these places of the picture."""
    from scipy.ndimage import map_coordinates

    # Centres of pixels lie at whole numbers, in the picture as in its enlargement.
    places = np.stack([(y + 0.5) * ENLARGED - 0.5, (x + 0.5) * ENLARGED - 0.5])
    for index, channel in enumerate(channels):
        frame[..., index] = map_coordinates(channel, places, order=1, mode="nearest")
