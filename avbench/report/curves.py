"""One scale under every kind of damage: small panels that share an axis, from undamaged to severe.

    thin lines   one speaker each              band     95 % interval of the mean change from undamaged
    thick line   mean over speakers            dotted   the undamaged level
    filled dot   the band has left that level  cross    no band to judge by

The damage that the scale is there for stands first, in blue within a bold frame; all other damage is grey. Nothing is
told by colour alone. Letters are drawn as shapes, so that a figure looks the same everywhere, and the same numbers give
the same bytes.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .drawing import drawing, form_of, save

__all__ = ["Chart", "Panel", "draw"]

COLUMNS = 5
WIDTH, NARROWEST = 7.2, 3.5  # inches: the text of a page, and one column of it
LETTERS = 23  # of the note, an inch
SPACING = "Steps are evenly spaced, not to scale."
ROW = 1.55  # inches
OWN, OTHER = "#0072B2", "#4D4D4D"  # blue of Okabe and Ito; dark grey
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 6.5,
    "axes.linewidth": 0.5,
    "axes.titlesize": 7,
    "xtick.labelsize": 6,
    "ytick.labelsize": 6,
    "xtick.major.size": 2,
    "ytick.major.size": 2,
    "xtick.major.width": 0.5,
    "ytick.major.width": 0.5,
    "xtick.major.pad": 1.5,
    "ytick.major.pad": 1.5,
}

Levels = tuple[float | None, ...]


class Panel(NamedTuple):
    """One kind of damage. All but the first two have one entry for undamaged and one for each step."""

    title: str
    unit: str
    own: bool  # whether the scale is there for this damage
    ticks: tuple[str, ...]
    mean: Levels  # None where no clip could be measured
    low: Levels  # of the interval around `mean`; None where there is none
    high: Levels
    sure: tuple[bool | None, ...]  # whether the change from undamaged is beyond noise; None without an interval
    lost: tuple[int, ...]  # clips that became unmeasurable
    speakers: tuple[Levels, ...]  # one a speaker


class Chart(NamedTuple):
    """A figure."""

    title: str
    axis: str  # the scale with its unit
    panels: tuple[Panel, ...]
    note: str  # below everything


def draw(chart: Chart, path: Path) -> None:
    """Writes the figure in the form that the path's ending names. UsageError where there is no such form."""
    form_of(path)
    rows = math.ceil(len(chart.panels) / COLUMNS)
    columns = min(COLUMNS, len(chart.panels))
    with drawing(STYLE):
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        wide = max(NARROWEST, WIDTH * columns / COLUMNS)
        said = f"{chart.note} {SPACING}"
        note = textwrap.wrap(said, round(LETTERS * wide))
        figure = Figure(figsize=(wide, 0.6 + 0.1 * len(note) + ROW * rows), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for number, axes in enumerate(grid.flat):
            if number < len(chart.panels):
                _panel(axes, chart.panels[number])
            else:
                axes.set_visible(False)
        figure.suptitle(chart.title, fontsize=8.5, fontweight="bold")
        figure.supylabel(chart.axis, fontsize=7)
        figure.supxlabel("\n".join(note), fontsize=5.5, color=OTHER)
        save(figure, path, f"avbench audit: {chart.title}", said)


def _panel(axes: Any, panel: Panel) -> None:
    colour, wide = (OWN, 1.6) if panel.own else (OTHER, 1.0)
    places = range(len(panel.ticks))
    for levels in panel.speakers:
        axes.plot(places, _gapped(levels), color=colour, linewidth=0.4, alpha=0.3)
    if panel.mean and panel.mean[0] is not None:
        axes.axhline(panel.mean[0], color="black", linewidth=0.6, linestyle=(0, (1, 2)))
    axes.fill_between(places, _gapped(panel.low), _gapped(panel.high), color=colour, alpha=0.25, linewidth=0)
    axes.plot(places, _gapped(panel.mean), color=colour, linewidth=wide)
    for place, level, sure in zip(places, panel.mean, panel.sure, strict=True):
        if level is not None:
            sign, face = "x" if sure is None else "o", colour if sure else "white"
            axes.plot(
                place, level, marker=sign, markersize=3.2, color=colour, markerfacecolor=face, markeredgewidth=0.7
            )
    for place, lost in zip(places, panel.lost, strict=True):
        if lost:
            axes.text(place, 0.02, f"{lost}×", transform=axes.get_xaxis_transform(), fontsize=5, ha="center")
    axes.set_xticks(places, panel.ticks)
    axes.set_xlim(-0.35, len(panel.ticks) - 0.65)
    axes.set_xlabel(panel.unit, fontsize=6, labelpad=1)
    axes.set_title(panel.title, fontweight="bold" if panel.own else "normal", color=colour, pad=3)
    for side in axes.spines.values():
        side.set(linewidth=1.4 if panel.own else 0.5, edgecolor=colour)
    axes.tick_params(labelleft=axes.get_subplotspec().is_first_col())


def _gapped(levels: Sequence[float | None]) -> list[float]:
    """For matplotlib, which leaves a gap where a number is none."""
    return [math.nan if level is None else level for level in levels]
