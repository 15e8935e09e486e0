"""How far is each method from the baseline? One panel for each scale, one row for each method, better to the right.

    ─●─ difference with its t interval over speakers, claimed       ─○─ the same, nothing claimed
    ─■─ ─□─ the same where some pairs could not be measured         dashed line: no difference

Conventions
- Every panel is turned so that right of the dashed line is better than the baseline; a scale that has no better side is
  drawn as measured, and says so.
- An axis is made for the differences and for intervals of usual width; an arrowhead says that one goes on. One speaker
  has no interval, and a dash stands where no pair was measured for both.
- Shapes and filling carry the meaning, grey loses nothing. Words are never read as formulas; a character that the font
  lacks is written as its code, U+6F22. The same comparisons give the same bytes on one machine. Lengths are in points,
  from the top left.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..compare import Comparison, Comparisons
from ..errors import unknown
from ..metric import Scale
from .drawing import drawing, form_of, save
from .figure import WIDTHS
from .lettering import INK, SMALL, Sheet, letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_forest", "write_forest"]

INCH = 72.0
MARGIN = 4.0
LABELS_SHARE = {"column": 0.34, "full": 0.26}  # of the width, for names of methods at most
NARROW = 64.0  # a panel, at least
GUTTER = 14.0  # between panels
PITCH = 13.0  # of rows
BAND = 11.0  # between rows of panels
EDGE = 5.0  # from an axis' end to the first mark
REACH = 3.0  # how far an axis follows intervals beyond the differences, in half widths of the middle one
MOST_TICKS = 5

LABEL = 6.5  # size of type
LEADING = 1.25  # line to line, in sizes of type
MIDDLE = 0.36  # from the baseline to the middle of letters, in sizes of type
FAINT, GREY, BLUE = "#E4E4E4", "#6A6A6A", "#0072B2"
DASH = "–"
SIGN = 15.0  # room for a sign of the key
DOT: dict[str, Any] = {"linestyle": "", "markersize": 3.6, "markeredgewidth": 0.8}
BAR: dict[str, Any] = {"linewidth": 1.0, "solid_capstyle": "butt"}
ZERO: dict[str, Any] = {"color": INK, "linewidth": 0.6, "linestyle": (0, (3, 2))}


class _Panel(NamedTuple):
    """A scale."""

    scale: Scale
    rows: tuple[Comparison, ...]
    title: tuple[str, ...]
    unit: tuple[str, ...]
    side: tuple[str, ...]  # which one is better
    beside: bool  # whether both have room on one line
    low: float  # ends of the axis
    high: float
    ticks: tuple[float, ...]
    tick_words: tuple[str, ...]

    @property
    def foot(self) -> int:
        """Lines below the numbers of the axis."""
        return 1 if self.beside else len(self.unit) + len(self.side)


def write_forest(path: Path, comparisons: Comparisons, width: str = "full") -> None:
    """Draws the comparisons to `path`, whole or not at all; the suffix says in which form.

    UsageError: another suffix than those of FIGURES, a width that is not one of WIDTHS, or no matplotlib.
    """
    form_of(path)
    figure = draw_forest(comparisons, width)
    name = comparisons.split.rpartition("@")[0]
    with drawing():
        save(figure, path, f"avbench: {name} against {comparisons.baseline}", "\n".join(comparisons.signatures))


def draw_forest(comparisons: Comparisons, width: str = "full") -> Figure:
    """The figure of the comparisons; a panel's axes are named by their scale (`get_label`)."""
    if width not in WIDTHS:
        raise unknown("figure width", width, WIDTHS)
    with drawing():
        return _drawn(comparisons, width)


# Numbers ---------------------------------------------------------------------------------------------------------


def _limits(rows: Sequence[Comparison], digits: int, wide: float) -> tuple[float, float]:
    """Ends of an axis that is so wide: no difference, all differences, and of intervals what is in reach."""
    numbers = [0.0, *(row.difference for row in rows if row.difference is not None)]
    halves = [(row.upper - row.lower) / 2 for row in rows if row.upper is not None and row.lower is not None]
    reach = REACH * statistics.median(halves) if halves else 0.0
    low, high = min(numbers), max(numbers)
    left = max(low - reach, min([low, *(row.lower for row in rows if row.lower is not None)]))
    right = min(high + reach, max([high, *(row.upper for row in rows if row.upper is not None)]))
    # Ten printed steps at least: no axis magnifies what is not printed.
    short = max(0.0, 10.0 * 10.0**-digits - (right - left))
    left, right = left - short / 2, right + short / 2
    edge = (right - left) * EDGE / (wide - 2 * EDGE)
    return left - edge, right + edge


def _ticks(low: float, high: float, wide: float) -> tuple[tuple[float, ...], tuple[str, ...]]:
    """Round numbers of that axis with their words, as many as stand apart; 0 is always among them."""
    from matplotlib.ticker import MaxNLocator

    for most in range(MOST_TICKS, 0, -1):
        ticks = [tick + 0.0 for tick in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
        words = _tick_words(ticks)
        ends = [
            ((tick - low) / (high - low) * wide, letters().width(word, SMALL) / 2, tick, word)
            for tick, word in zip(ticks, words, strict=True)
            if low <= tick <= high
        ]
        kept = [one for one in ends if one[0] - one[1] >= -GUTTER / 3 and one[0] + one[1] <= wide + GUTTER / 3]
        apart = all(after[0] - after[1] - before[0] - before[1] >= 6.0 for before, after in pairwise(kept))
        if len(kept) > 1 and apart:
            return tuple(one[2] for one in kept), tuple(one[3] for one in kept)
    return (0.0,), ("0",)


def _tick_words(ticks: Sequence[float]) -> list[str]:
    """All with as many decimals as the finest needs; huge and tiny ones as powers of ten."""
    step = min((after - before for before, after in pairwise(ticks)), default=1.0)
    if max(map(abs, ticks)) >= 1e5 or step < 1e-5:
        return [f"{tick:.3g}".replace("-", "\N{MINUS SIGN}") for tick in ticks]
    decimals = next((places for places in range(9) if all(abs(round(t, places) - t) <= 1e-3 * step for t in ticks)), 9)
    return [f"{round(tick, decimals) + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}") for tick in ticks]


# Words -----------------------------------------------------------------------------------------------------------


def _caption(comparisons: Comparisons) -> str:
    pairs, speakers = comparisons.pairs, comparisons.speakers
    return (
        f"Difference from {comparisons.labels[comparisons.baseline]}, mean over speakers. Split {comparisons.split}: "
        f"{pairs} pair{'s' * (pairs != 1)}, {speakers} speaker{'s' * (speakers != 1)}. Profile {comparisons.profile}."
    )


# Drawing ---------------------------------------------------------------------------------------------------------


def _drawn(comparisons: Comparisons, width: str) -> Figure:
    """Measured first, then drawn: the height follows from the words."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = WIDTHS[width] * INCH
    labels = [
        letters().lines(comparisons.labels[other], LABELS_SHARE[width] * wide, LABEL) for other in comparisons.others
    ]
    left = MARGIN + max(letters().width(line, LABEL) for lines in labels for line in lines) + 5.0
    room = wide - left - GUTTER / 2
    fit = max(1, int((room + GUTTER) // (NARROW + GUTTER)))
    bands = math.ceil(len(comparisons.scales) / fit)
    across = math.ceil(len(comparisons.scales) / bands)
    panel = (room + GUTTER) / across - GUTTER
    panels = [_panel(comparisons, scale, panel) for scale in comparisons.scales]
    heights = [max(PITCH, len(lines) * LABEL * LEADING + 3.0) for lines in labels]
    middles = [sum(heights[:place]) + height / 2 for place, height in enumerate(heights)]
    tall = sum(heights)
    keys = _key_lines(comparisons, panels, wide)
    caption = letters().lines(_caption(comparisons), wide - 2 * MARGIN, SMALL)

    groups = [panels[start : start + across] for start in range(0, len(panels), across)]
    heads = [max(len(one.title) for one in group) * LABEL * LEADING + 2.0 for group in groups]
    feet = [11.0 + max(one.foot for one in group) * SMALL * LEADING for group in groups]
    below = (len(keys) + len(caption)) * SMALL * LEADING + len(keys) + 3.0
    high = 2 * MARGIN + sum(heads) + sum(feet) + len(groups) * (tall + BAND) + below
    figure = Figure(figsize=(wide / INCH, high / INCH), facecolor="white")
    FigureCanvasAgg(figure)
    sheet = Sheet(figure, wide, high)
    y = MARGIN
    for group, head, foot in zip(groups, heads, feet, strict=True):
        for middle, lines in zip(middles, labels, strict=True):
            first = y + head + middle - (len(lines) - 1) * LABEL * LEADING / 2 + MIDDLE * LABEL
            for number, words in enumerate(lines):
                sheet.text(left - 5.0, first + number * LABEL * LEADING, words, size=LABEL, side="right")
        for number, one in enumerate(group):
            _draw_panel(sheet, one, (left + number * (panel + GUTTER), y + head), panel, middles, tall)
        y += head + tall + foot + BAND
    for line in keys:
        for x, sign, words in line:
            _draw_sign(sheet, sign, x, y + SMALL * (1 - MIDDLE))
            sheet.text(x + SIGN, y + SMALL, words)
        y += SMALL * LEADING + 1.0
    for number, words in enumerate(caption):
        sheet.text(MARGIN, y + 3.0 + SMALL + number * SMALL * LEADING, words)
    return figure


def _panel(comparisons: Comparisons, scale: Scale, wide: float) -> _Panel:
    rows = comparisons.of(scale.name)
    low, high = _limits(rows, comparisons.digits[scale.name], wide)
    ticks, words = _ticks(low, high, wide)
    side = "better →" if scale.direction != "none" else "no better side"
    unit, sides = letters().lines(scale.unit, wide, SMALL), letters().lines(side, wide, SMALL)
    beside = len(unit) <= 1 and sum(letters().width(words, SMALL) for words in (*unit, side)) + 6.0 <= wide
    title = letters().lines(scale.label, wide, LABEL, "bold")
    return _Panel(scale, rows, title, unit, sides, beside, low, high, ticks, words)


def _draw_panel(
    sheet: Sheet, panel: _Panel, place: tuple[float, float], wide: float, middles: Sequence[float], tall: float
) -> None:
    left, top = place
    for up, words in enumerate(reversed(panel.title)):
        sheet.text(left, top - 4.0 - up * LABEL * LEADING, words, size=LABEL, face="bold")
    axes = sheet.axes(left, top, wide, tall)
    axes.set(label=panel.scale.name, xlim=(panel.low, panel.high), ylim=(tall, 0.0), yticks=[])
    axes.set_xticks(panel.ticks, panel.tick_words, fontproperties=letters().properties("regular", SMALL))
    axes.tick_params(axis="x", length=2.0, width=0.5, pad=1.5)
    for side in ("top", "left", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_linewidth(0.5)
    axes.hlines(middles, panel.low, panel.high, color=FAINT, linewidth=0.5, zorder=0)
    axes.axvline(0.0, **ZERO, zorder=1, gid="zero")
    for row, y in zip(panel.rows, middles, strict=True):
        if row.difference is None:
            behind = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none"}
            sheet.text(left + wide / 2, top + y + MIDDLE * LABEL, DASH, size=LABEL, side="center", bbox=behind)
        else:
            _draw_row(axes, panel, row, y, row.difference)
    first = top + tall + 11.0 + SMALL
    for number, words in enumerate(panel.unit):
        sheet.text(left, first + number * SMALL * LEADING, words)
    down = 0 if panel.beside else len(panel.unit)
    right = panel.beside or panel.scale.direction != "none"
    x, align = (left + wide, "right") if right else (left, "left")
    for number, words in enumerate(panel.side):
        sheet.text(x, first + (down + number) * SMALL * LEADING, words, side=align)


def _draw_row(axes: Any, panel: _Panel, row: Comparison, y: float, difference: float) -> None:
    """Interval and dot."""
    from matplotlib.lines import Line2D

    colour = BLUE if row.claim != "none" else GREY
    if row.lower is not None and row.upper is not None:
        axes.add_artist(Line2D([row.lower, row.upper], [y, y], **BAR, color=colour, zorder=2, gid="interval"))
        point = (panel.high - panel.low) * 0.02
        for out, x, shape in (
            (row.lower < panel.low, panel.low + point, "<"),
            (row.upper > panel.high, panel.high - point, ">"),
        ):
            if out:
                axes.add_artist(
                    Line2D([x], [y], linestyle="", marker=shape, markersize=3, color=colour, zorder=2, gid="arrow")
                )
    axes.add_artist(Line2D([difference], [y], **_dot(row), zorder=3, gid="difference"))


def _dot(row: Comparison) -> dict[str, Any]:
    """Filled: claimed. Square: some pair was not measured."""
    gapped = row.other_gaps or row.baseline_gaps or row.both_failed
    return _sign(("square" if gapped else "round", row.claim != "none"))


# The key: which sign is what. --------------------------------------------------------------------------------------


def _sign(kind: tuple[str, bool]) -> dict[str, Any]:
    shape, claimed = kind
    colour = BLUE if claimed else GREY
    face = colour if claimed else "white"
    marker = "s" if shape == "square" else "o"
    return {**DOT, "marker": marker, "markerfacecolor": face, "markeredgecolor": colour}


def _key_lines(comparisons: Comparisons, panels: Sequence[_Panel], wide: float) -> list[list[tuple[float, str, str]]]:
    """Signs that occur with their words, and where each begins, line by line."""
    drawn = [row for row in comparisons.rows if row.difference is not None]
    gapped = [bool(row.other_gaps or row.baseline_gaps or row.both_failed) for row in drawn]
    claimed = [row.claim != "none" for row in drawn]
    intervals = [row for row in drawn if row.lower is not None]
    out = any(
        row.lower is not None and row.upper is not None and (row.lower < panel.low or row.upper > panel.high)
        for panel in panels
        for row in panel.rows
    )
    words = {
        "claimed": "claimed" if any(claimed) else "",
        "open": "nothing claimed" if not all(claimed) else "",
        "square": "some pairs not measured" if any(gapped) else "",
        "interval": f"{100 * comparisons.confidence:g} % t interval over speakers" if intervals else "",
        "arrow": "the interval goes on" if out else "",
        "zero": "no difference",
    }
    lines: list[list[tuple[float, str, str]]] = []
    x = wide
    for sign, said in words.items():
        if not said:
            continue
        long = SIGN + letters().width(said, SMALL)
        if x + long > wide - MARGIN:
            lines.append([])
            x = MARGIN
        lines[-1].append((x, sign, said))
        x += long + 9.0
    return lines


def _draw_sign(sheet: Sheet, sign: str, x: float, y: float) -> None:
    """One sign of the key, as it is in the panels."""
    ends, middle = [x, x + SIGN - 4.0], [x + SIGN / 2 - 2.0]
    if sign == "zero":
        sheet.line(ends, y, **ZERO)
    elif sign in ("interval", "arrow"):
        sheet.line(ends, y, **BAR, color=GREY)
        if sign == "arrow":
            sheet.line(ends[1:], y, linestyle="", marker=">", markersize=3, color=GREY)
    else:
        kinds = {"claimed": ("round", True), "open": ("round", False), "square": ("square", False)}
        sheet.line(middle, y, **_sign(kinds[sign]))
