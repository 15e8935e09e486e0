"""Does a scale reward a face that does not move? Every method as a point: lip motion across, the scale upwards.

    ● numbers of the table     ◇ those of a control     · means of one speaker, with a hairline to its method
    dashed, upwards: lip motion of `truth`

A method whose frames stand still lies on the left; where it lies as high as real clips there, the scale cannot tell it
from them. Nothing is told by colour alone, words stay words, and the same numbers give the same bytes on one machine.
Letters of an SVG are paths.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import unknown
from ..metric import Scale
from ..results import Results, speaker_means
from ..table import Table, lip_scales
from .drawing import drawing, form_of, save
from .figure import WIDTHS
from .lettering import letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_scatter", "write_scatter"]

HEIGHTS = {"column": 3.1, "full": 4.4}  # inches
LETTERS = 23  # of the note, an inch
LABEL = 26  # letters of a line of a label
STEPS = 10  # an axis spans at least so many of the last printed digit
NEAR, FURTHER = 5.0, 4.5  # points from a dot to its label, and what each further ring adds
RINGS = 16
TOGETHER = 1.0  # points: dots that are closer look like one
AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
TRUTH = ("truth", "control")
INK, GREY, BLUE = "#000000", "#6A6A6A", "#0072B2"  # the last of Okabe and Ito
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 6.5,
    "axes.linewidth": 0.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "axes.formatter.useoffset": False,
}
DOTS: dict[bool, dict[str, Any]] = {
    False: {"marker": "o", "markersize": 4.5, "markerfacecolor": BLUE, "markeredgewidth": 0.0},
    True: {
        "marker": "D",
        "markersize": 3.8,
        "markerfacecolor": "white",
        "markeredgecolor": GREY,
        "markeredgewidth": 0.9,
    },
}


class _Point(NamedTuple):
    """One method."""

    label: str
    control: bool
    truth: bool
    motion: float  # the table's numbers
    value: float
    motions: NDArray[np.float64]  # (G,) means of speakers with both
    values: NDArray[np.float64]  # (G,)


class _Box(NamedTuple):
    """A rectangle of the figure, in pixels."""

    x0: float
    y0: float
    x1: float
    y1: float

    def shared(self, other: _Box) -> float:
        """Its common area with another."""
        wide = min(self.x1, other.x1) - max(self.x0, other.x0)
        high = min(self.y1, other.y1) - max(self.y0, other.y0)
        return max(wide, 0.0) * max(high, 0.0)

    @property
    def area(self) -> float:
        return (self.x1 - self.x0) * (self.y1 - self.y0)


def write_scatter(
    path: Path, results: Results, table: Table, *, versus: str | None = None, width: str = "full"
) -> None:
    """Draws the scale `versus`, or face similarity, against lip motion, of the table that was built of these results.

    UsageError: another suffix than those of FIGURES, a width that is not one of WIDTHS, an unknown scale, or no
    matplotlib. Incomplete: no scores of lip motion.
    """
    form_of(path)
    figure = draw_scatter(results, table, versus=versus, width=width)
    names = [column.scale for column in table.columns]
    made = [table.signatures[names.index(scale.name)] for scale in lip_scales(results, versus)]
    with drawing(STYLE):
        save(figure, path, f"avbench: {table.name}, {results.profile}, against lip motion", "\n".join(made))


def draw_scatter(results: Results, table: Table, *, versus: str | None = None, width: str = "full") -> Figure:
    """The figure, as `write_scatter` writes it; its axes hold one text for each method that is drawn."""
    if width not in WIDTHS:
        raise unknown("figure width", width, WIDTHS)
    motion, value = lip_scales(results, versus)
    points, lacking = _points(results, table, motion, value)
    with drawing(STYLE):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        note = textwrap.wrap(letters().shown(_note(results, points, lacking)), round(LETTERS * WIDTHS[width]))
        figure = Figure(figsize=(WIDTHS[width], HEIGHTS[width] + 0.1 * len(note)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _draw_points(axes, points)
        axes.set_xlabel(letters().shown(_axis(motion)))
        axes.set_ylabel(letters().shown(_axis(value)))
        _limit(axes, points, motion, value)
        figure.supxlabel("\n".join(note), fontsize=5.5, color=GREY)
        figure.draw_without_rendering()
        figure.set_layout_engine("none")
        _draw_labels(figure, axes, points)
        return figure


# Numbers ---------------------------------------------------------------------------------------------------------


def _points(results: Results, table: Table, motion: Scale, value: Scale) -> tuple[list[_Point], list[str]]:
    """The methods that have numbers on both scales, and the labels of the others."""
    names = [column.scale for column in table.columns]
    rows = {row.method: row for block in table.blocks for row in block.rows}
    points, lacking = [], []
    for entry in results.methods:
        row = rows[entry.method]
        across, up = (row.cells[names.index(scale.name)].value for scale in (motion, value))
        if across is None or up is None:
            lacking.append(row.label)
            continue
        xs, ys = (speaker_means(results, results.scores[entry.method, scale.name]) for scale in (motion, value))
        _, at_x, at_y = np.intersect1d(xs.speakers, ys.speakers, assume_unique=True, return_indices=True)
        truth = (entry.method, entry.kind) == TRUTH
        points.append(_Point(row.label, row.kind == "control", truth, across, up, xs.means[at_x], ys.means[at_y]))
    return points, lacking


def _note(results: Results, points: Sequence[_Point], lacking: Sequence[str]) -> str:
    words = [
        f"{results.title.rstrip('.')}. Split {results.split}: {len(results.pairs)} pairs, {len(results.speakers)} speakers. "
        f"Profile {results.profile}.",
        "Large: the table's numbers" + (", hollow of controls." if any(point.control for point in points) else "."),
        "Small: means of one speaker.",
        "Dashed: lip motion of truth." if any(point.truth for point in points) else "",
        f"Not drawn, as nothing was measured: {', '.join(lacking)}." if lacking else "",
        results.note,
    ]
    return " ".join(word for word in words if word)


# Drawing ---------------------------------------------------------------------------------------------------------


def _draw_points(axes: Any, points: Sequence[_Point]) -> None:
    for point in points:
        colour = GREY if point.control else BLUE
        if point.truth:
            axes.axvline(point.motion, color=INK, linewidth=0.6, linestyle=(0, (3, 2)), zorder=1, gid="truth")
        for x, y in zip(point.motions, point.values, strict=True):
            axes.plot([point.motion, x], [point.value, y], color=colour, linewidth=0.3, alpha=0.35, zorder=1)
        axes.plot(
            point.motions, point.values, linestyle="", marker="o", markersize=1.6, markeredgewidth=0.0,
            color=colour, alpha=0.6, zorder=2, gid="speakers",
        )  # fmt: skip
    for point in points:
        axes.plot(
            point.motion, point.value, linestyle="", zorder=4, gid="control" if point.control else "method",
            **DOTS[point.control],
        )  # fmt: skip


def _limit(axes: Any, points: Sequence[_Point], motion: Scale, value: Scale) -> None:
    """Room around all dots for their labels; no axis magnifies what the table does not print."""
    for scale, numbers, limit in (
        (motion, [one for point in points for one in (point.motion, *point.motions)], axes.set_xlim),
        (value, [one for point in points for one in (point.value, *point.values)], axes.set_ylim),
    ):
        if numbers:
            low, high = float(min(numbers)), float(max(numbers))
            half = max(high - low, STEPS * 10.0**-scale.digits, 1e-9 * max(abs(low), abs(high))) * 0.58
            limit((low + high) / 2 - half, (low + high) / 2 + half)


def _draw_labels(figure: Any, axes: Any, points: Sequence[_Point]) -> None:
    """Each label where it covers least: beside its dot, or further away with a line to it."""
    from matplotlib.patheffects import withStroke

    renderer = figure.canvas.get_renderer()
    pixels = figure.dpi / 72.0
    frame = _Box(*axes.bbox.extents)
    places = [axes.transData.transform((point.motion, point.value)) for point in points]
    dots = [_square(x, y, 3.0 * pixels) for x, y in places]
    speakers = [
        _square(x, y, 2.0 * pixels)
        for point in points
        for x, y in axes.transData.transform(np.column_stack([point.motions, point.values]))
    ]
    lines = [
        _Box(x - pixels, frame.y0, x + pixels, frame.y1)
        for point, (x, _) in zip(points, places, strict=True)
        if point.truth
    ]
    placed: list[_Box] = []
    for together in _together(places, TOGETHER * pixels):
        x, y = places[together[0]]
        names = [letters().shown(points[at].label) for at in together]
        whole = [name.replace(" ", "\N{NO-BREAK SPACE}") if len(name) < LABEL else name for name in names]
        words = textwrap.wrap(", ".join(whole), LABEL)
        label = axes.text(
            points[together[0]].motion, points[together[0]].value, "\n".join(words), fontsize=6, linespacing=1.1,
            color=GREY if all(points[at].control for at in together) else INK,
            horizontalalignment="center", verticalalignment="center", zorder=5,
            path_effects=[withStroke(linewidth=1.6, foreground="white")],
        )  # fmt: skip
        extent = label.get_window_extent(renderer)
        half = extent.width / 2 + pixels, extent.height / 2 + 0.5 * pixels
        found: tuple[float, _Box] | None = None
        for ring, way in product(range(RINGS), AROUND):
            box = _beside(x, y, half, way, (NEAR + FURTHER * ring) * pixels)
            covered = (
                8 * sum(box.shared(other) for other in placed)
                + 4 * sum(box.shared(dot) for dot in dots)
                + sum(box.shared(dot) for dot in (*speakers, *lines))
                + 16 * (box.area - box.shared(frame))
                + 6 * ring * pixels**2
            )
            if found is None or covered < found[0]:
                found = covered, box
        if found is not None:
            placed.append(found[1])
            _place(axes, label, (x, y), found[1], pixels)


def _together(places: Sequence[tuple[float, float]], near: float) -> list[list[int]]:
    """Dots that cover each other, to be named together; in the table's order."""
    groups: list[list[int]] = []
    for at, (x, y) in enumerate(places):
        for group in groups:
            if np.hypot(places[group[0]][0] - x, places[group[0]][1] - y) <= near:
                group.append(at)
                break
        else:
            groups.append([at])
    return groups


def _place(axes: Any, label: Any, dot: tuple[float, float], box: _Box, pixels: float) -> None:
    """Moves a label into its box, and draws a line to its dot where that is away."""
    back = axes.transData.inverted()
    label.set_position(back.transform(((box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2)))
    x, y = dot
    nearest = min(max(x, box.x0), box.x1), min(max(y, box.y0), box.y1)
    if np.hypot(nearest[0] - x, nearest[1] - y) > (NEAR + 1.5 * FURTHER) * pixels:
        ends = back.transform([(x, y), nearest])
        axes.plot(ends[:, 0], ends[:, 1], color=GREY, linewidth=0.4, zorder=3, gid="leader")


def _square(x: float, y: float, half: float) -> _Box:
    return _Box(x - half, y - half, x + half, y + half)


def _beside(x: float, y: float, half: tuple[float, float], way: tuple[int, int], away: float) -> _Box:
    """A label's box that way from a dot, its nearest edge so far away."""
    middle = x + way[0] * (half[0] + away), y + way[1] * (half[1] + away * (0.7 if way[0] else 1.0))
    return _Box(middle[0] - half[0], middle[1] - half[1], middle[0] + half[0], middle[1] + half[1])


# Words -----------------------------------------------------------------------------------------------------------


def _axis(scale: Scale) -> str:
    unit = f" ({scale.unit})" if scale.unit else ""
    better = {"higher": ", better →", "lower": ", ← better", "none": ""}[scale.direction]
    return f"{scale.label}{unit}{better}"
