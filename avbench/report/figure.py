"""What does a table look like? One small panel for each scale, one row for each method, in the table's order.

    ● number of the table      ─●─ 95 % t interval of the mean over speakers      · mean of one speaker, below the dot

Conventions
- A dot stands at the table's number, not at the middle of its interval: clips weigh alike in the one, speakers in the
  other. One speaker has no interval. An arrowhead says that an interval runs out of its panel: axes are made for the
  numbers, and with two speakers an interval is wider than all of them.
- Controls are hollow grey diamonds in a block below the methods; a dashed line goes up from `truth`. Shapes carry the
  meaning, colours (of Okabe and Ito) only help, and grey loses nothing.
- No axis magnifies what the table does not print: it spans ten steps of the last printed digit at least.
- Words stay words: nothing is read as a formula. A character that the font lacks is written as its code, U+6F22.
- The same table gives the same bytes on one machine; the user's matplotlib settings have no say. Letters of an SVG are
  paths, those of a PDF are text in embedded TrueType. All lengths here are in points, from the top left.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import unknown
from ..results import Entry, Results, speaker_means
from ..stats import mean_interval
from ..table import DASH, Column, Row, Table
from .drawing import drawing, form_of, save
from .lettering import INK, SMALL, Sheet, letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["WIDTHS", "draw", "write_figure"]

WIDTHS = {"column": 3.4, "full": 7.0}  # inches: of one column of a paper, and of its page

INCH = 72.0
MARGIN = 4.0
LABELS_SHARE = {"column": 0.34, "full": 0.28}  # of the width, for names of methods at most
NARROW, NARROWEST = 62.0, 46.0  # a panel: with room, and where else the figure would be taller than a page
PAGE = 9.0 * INCH
GUTTER = 13.0  # between panels
PITCH, LEAST_PITCH = 12.5, 10.0  # of rows; many stand closer
GAP = 3.0  # below a block
BAND = 9.0  # between rows of panels
EDGE = 5.0  # from an axis' end to the first mark
REACH = 0.6  # how far beyond the numbers an axis follows intervals, in spans of the numbers
MOST_TICKS, TICK_ROOM = 6, 22.0  # and what each wants
BESIDE, AWAY = 2.5, 7.0  # from a panel to the coverage on its right, and from there to the next panel
LOWERED = 3.3  # speakers, below the middle of a row

LABEL, TITLE = 6.5, 6.5  # sizes of type
LEADING = 1.25  # line to line, in sizes of type
MIDDLE = 0.36  # from the baseline to the middle of letters, in sizes of type

FAINT, GREY, BLUE = "#E4E4E4", "#6A6A6A", "#0072B2"
SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
TRUTH = ("truth", "control")
SIGN = 14.0  # room for a sign of the key
SIGNS: dict[str, dict[str, Any]] = {
    "method": {
        "linestyle": "", "marker": "o", "markersize": 3.8, "markerfacecolor": BLUE, "markeredgewidth": 0.0,
    },
    "control": {
        "linestyle": "", "marker": "D", "markersize": 3.3, "markerfacecolor": "white", "markeredgecolor": GREY,
        "markeredgewidth": 0.8,
    },
    "speaker": {"linestyle": "", "marker": "o", "markersize": 1.7, "markeredgewidth": 0.0, "alpha": 0.6},
    "interval": {"linewidth": 1.0, "solid_capstyle": "butt"},
    "arrow": {"linestyle": "", "marker": ">", "markersize": 2.6, "markeredgewidth": 0.0},
    "truth": {"color": INK, "linewidth": 0.6, "linestyle": (0, (3, 2))},
}  # fmt: skip


class _Interval(NamedTuple):
    low: float
    high: float


class _Mark(NamedTuple):
    """What one method has on one scale."""

    value: float | None  # the table's number
    means: NDArray[np.float64]  # (G,) of speakers
    interval: _Interval | None  # None with fewer than two speakers
    even: bool  # whether every speaker has as many clips
    coverage: str
    control: bool


class _Tick(NamedTuple):
    """A number on an axis, and where its word is, from the axis' left end."""

    tick: float
    word: str
    place: float  # the middle
    half: float  # of the width

    @property
    def start(self) -> float:
        return self.place - self.half

    @property
    def end(self) -> float:
        return self.place + self.half


class _Line(NamedTuple):
    """A row of every panel; y from the panel's top to the row's middle."""

    y: float
    words: tuple[str, ...]


class _Panel(NamedTuple):
    """A scale."""

    column: Column
    marks: tuple[_Mark, ...]  # one for each row
    low: float  # ends of the axis
    high: float
    ticks: tuple[float, ...]
    tick_words: tuple[str, ...]
    title: tuple[str, ...]
    unit: tuple[str, ...]
    better: str  # `better →`, `← better` or nothing
    truth: float | None


def write_figure(path: Path, results: Results, table: Table, width: str = "full") -> None:
    """Draws the table that was built of these results to `path`, whole or not at all; the suffix says in which form.

    UsageError: another suffix than those of FIGURES, a width that is not one of WIDTHS, or no matplotlib.
    """
    form_of(path)
    figure = draw(results, table, width)
    with drawing():
        save(figure, path, f"avbench: {table.name}, {results.profile}", "\n".join(table.signatures))


def draw(results: Results, table: Table, width: str = "full") -> Figure:
    """The figure of the table that was built of these results; a panel's axes are named by their scale (`get_label`)."""
    if width not in WIDTHS:
        raise unknown("figure width", width, WIDTHS)
    with drawing():
        return _Layout(results, table, width).drawn()


# Numbers ---------------------------------------------------------------------------------------------------------


def _entries(results: Results, table: Table) -> list[tuple[Entry, Row]]:
    """Methods with their rows, in the table's order."""
    methods = [entry for entry in results.methods if entry.kind != "control"]
    controls = [entry for entry in results.methods if entry.kind == "control"]
    return list(zip([*methods, *controls], [row for block in table.blocks for row in block.rows], strict=True))


def _mark(results: Results, entry: Entry, row: Row, number: int) -> _Mark:
    """Of the scale with that number."""
    cell = row.cells[number]
    means = speaker_means(results, results.scores[entry.method, results.scales[number].name])
    return _Mark(
        value=cell.value,
        means=means.means,
        interval=_Interval(*mean_interval(means.means)) if len(means.means) > 1 else None,
        even=len(set(means.clips.tolist())) <= 1,
        coverage=cell.coverage,
        control=row.kind == "control",
    )


def _limits(marks: Sequence[_Mark], digits: int, wide: float) -> tuple[float, float]:
    """Ends of an axis that is so wide: all numbers and speakers within, and of intervals what is in reach."""
    numbers = [number for mark in marks if mark.value is not None for number in (mark.value, *mark.means.tolist())]
    if not numbers:
        return 0.0, 1.0
    low, high = min(numbers), max(numbers)
    # Ten printed steps; and enough for a float to tell the ends from each other.
    span = max(high - low, 10.0 * 10.0**-digits, 1e-9 * max(abs(low), abs(high)))
    middle = low / 2 + high / 2
    low, high = min(low, middle - span / 2), max(high, middle + span / 2)
    intervals = [mark.interval for mark in marks if mark.interval is not None]
    left = max(low - REACH * span, min([low, *(interval.low for interval in intervals)]))
    right = min(high + REACH * span, max([high, *(interval.high for interval in intervals)]))
    edge = (right - left) * EDGE / (wide - 2 * EDGE)
    return left - edge, right + edge


def _exponent(low: float, high: float) -> int:
    """The power of ten that is taken out of an axis' numbers: 0 unless they are huge or tiny."""
    most = max(abs(low), abs(high))
    return 0 if 1e-3 <= most < 1e5 else math.floor(math.log10(most))


def _ticks(low: float, high: float, wide: float, width: Callable[[str], float]) -> tuple[list[float], list[str]]:
    """Round numbers of that axis with their words: as many as stand apart and hardly stick out, one at least."""
    from matplotlib.ticker import MaxNLocator

    exponent = _exponent(low, high)
    every: list[_Tick] = []
    for most in range(max(3, min(MOST_TICKS, int(wide / TICK_ROOM))), 1, -1):
        candidates = [float(tick) for tick in MaxNLocator(most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)]
        found = [
            _Tick(tick, word, (tick - low) / (high - low) * wide, width(word) / 2)
            for tick, word in zip(candidates, _tick_words(candidates, exponent), strict=True)
            if low <= tick <= high
        ]
        kept = [one for one in found if one.start >= 2.0 - GUTTER / 2 and one.end <= wide + GUTTER / 2 - 2.0]
        if len(kept) > 1 and all(after.start - before.end >= 6.0 for before, after in pairwise(kept)):
            break
        every += found
    else:
        kept = [min(every, key=lambda one: abs(one.place - wide / 2))]
    return [one.tick for one in kept], [one.word for one in kept]


def _tick_words(ticks: Sequence[float], exponent: int) -> list[str]:
    """All with as many decimals as the finest needs."""
    scaled = [tick / 10.0**exponent for tick in ticks]
    step = min((after - before for before, after in pairwise(scaled)), default=1.0)
    decimals = next(
        (places for places in range(16) if all(abs(round(one, places) - one) <= 1e-3 * step for one in scaled)), 16
    )
    return [
        f"{one + 0.0:.{decimals}f}".replace("-", "\N{MINUS SIGN}") for one in (round(one, decimals) for one in scaled)
    ]


# Words -----------------------------------------------------------------------------------------------------------


def _caption(results: Results, marks: Sequence[_Mark]) -> str:
    pairs, speakers = len(results.pairs), len(results.speakers)
    drawn = [mark for mark in marks if mark.value is not None]
    intervals = [mark for mark in drawn if mark.interval is not None]
    words = [
        f"{results.title.rstrip('.')}.",
        f"Split {results.split}: {pairs} pair{'s' * (pairs != 1)}, {speakers} speaker{'s' * (speakers != 1)}.",
        f"Profile {results.profile}.",
        f"n/{pairs}: measured pairs, where fewer than {pairs}." if any(mark.coverage for mark in marks) else "",
        f"{DASH}: nothing measured." if len(drawn) < len(marks) else "",
        "Intervals weigh speakers alike, dots weigh clips alike." if not all(mark.even for mark in intervals) else "",
        "Without an interval: one speaker." if len(intervals) < len(drawn) else "",
        results.note,
    ]
    return " ".join(word for word in words if word)


# Places ----------------------------------------------------------------------------------------------------------


class _Layout:
    """Where everything goes. Measured first, then drawn: the height follows from the words."""

    def __init__(self, results: Results, table: Table, width: str) -> None:
        self._type = letters()
        self._wide = WIDTHS[width] * INCH
        entries = _entries(results, table)
        marks = [
            tuple(_mark(results, entry, row, number) for entry, row in entries) for number in range(len(table.columns))
        ]
        every = [mark for of_scale in marks for mark in of_scale]
        self._truth = next((at for at, (entry, _) in enumerate(entries) if (entry.method, entry.kind) == TRUTH), None)
        self._lines, self._headings, self._tall = self._rows(table, LABELS_SHARE[width] * self._wide)
        widest = [self._type.width(word, LABEL) for line in self._lines for word in line.words]
        widest += [self._type.width(heading, LABEL, "italic") for _, heading in self._headings]
        self._left = MARGIN + max(widest) + 5.0
        beside = max((self._type.width(mark.coverage, SMALL) for mark in every), default=0.0)
        self._gutter = max(GUTTER, BESIDE + beside + AWAY) if beside else GUTTER
        right = max(MARGIN, beside + BESIDE + 1.0) if beside else GUTTER / 2
        room = self._wide - self._left - right
        for least in (NARROW, NARROWEST):
            fit = max(1, int((room + self._gutter) // (least + self._gutter)))
            bands = math.ceil(len(marks) / fit)
            if bands * (self._tall + 4 * BAND) <= PAGE:
                break
        self._across = math.ceil(len(marks) / bands)
        self._panel = (room + self._gutter) / self._across - self._gutter
        self._panels = [self._measured(column, of) for column, of in zip(table.columns, marks, strict=True)]
        self._keys = self._key_lines(self._key(every))
        self._caption = self._type.lines(_caption(results, every), self._wide - 2 * MARGIN, SMALL)

    def _rows(self, table: Table, room: float) -> tuple[list[_Line], list[tuple[float, str]], float]:
        """Rows, headings of blocks with their baselines, and how tall they are together."""
        count = sum(len(block.rows) for block in table.blocks)
        pitch = max(LEAST_PITCH, PITCH - 0.2 * max(0, count - 8))
        lines, headings, y = [], [], 0.0
        for block in table.blocks:
            headings.append((y + LABEL, block.heading))
            y += LABEL * LEADING + 1.0
            for row in block.rows:
                words = self._type.lines(row.label, room, LABEL)
                high = max(pitch, len(words) * LABEL * LEADING + 3.0)
                lines.append(_Line(y + high / 2, words))
                y += high
            y += GAP
        return lines, headings, y

    def _measured(self, column: Column, marks: tuple[_Mark, ...]) -> _Panel:
        low, high = _limits(marks, column.digits, self._panel)
        empty = all(mark.value is None for mark in marks)
        ticks, words = ([], []) if empty else _ticks(low, high, self._panel, lambda word: self._type.width(word, SMALL))
        exponent = 0 if empty else _exponent(low, high)
        unit = f"×10{str(exponent).translate(SUPERSCRIPT)} {column.unit}" if exponent else column.unit
        return _Panel(
            column=column,
            marks=marks,
            low=low,
            high=high,
            ticks=tuple(ticks),
            tick_words=tuple(words),
            title=self._type.lines(column.label, self._panel, TITLE, "bold"),
            unit=self._type.lines(unit, self._panel, SMALL),
            better={"↑": "better →", "↓": "← better"}.get(column.arrow, ""),
            truth=None if self._truth is None else marks[self._truth].value,
        )

    def _stacked(self, panel: _Panel) -> bool:
        """Whether unit and direction have no room on one line: the unit goes below."""
        both = sum(self._type.width(words, SMALL) for words in (*panel.unit, panel.better))
        return bool(panel.better) and (len(panel.unit) > 1 or both + 6.0 > self._panel)

    def _foot(self, panel: _Panel) -> int:
        """Lines below the ticks."""
        return len(panel.unit) + 1 if self._stacked(panel) else max(len(panel.unit), bool(panel.better))

    # The key: which sign is what.

    def _key(self, marks: Sequence[_Mark]) -> list[tuple[str, str]]:
        drawn = [mark for mark in marks if mark.value is not None]
        number = "the table's number, mean over measured clips"
        items = []
        if any(not mark.control for mark in drawn):
            items.append(("method", number))
        if any(mark.control for mark in drawn):
            items.append(("control", "the same of a control" if items else f"{number} (controls)"))
        if drawn:
            items.append(("speaker", "mean of one speaker"))
        if any(mark.interval is not None for mark in drawn):
            items.append(("interval", "95 % t interval over speakers"))
        if any(_runs_out(mark, panel) for panel in self._panels for mark in panel.marks):
            items.append(("arrow", "the interval goes on"))
        if any(panel.truth is not None for panel in self._panels):
            items.append(("truth", "value of truth"))
        return items

    def _key_lines(self, items: Sequence[tuple[str, str]]) -> list[list[tuple[float, str, str]]]:
        """Items with where they begin, line by line."""
        lines: list[list[tuple[float, str, str]]] = []
        x = self._wide
        for sign, words in items:
            wide = SIGN + self._type.width(words, SMALL)
            if x + wide > self._wide - MARGIN:
                lines.append([])
                x = MARGIN
            lines[-1].append((x, sign, words))
            x += wide + 9.0
        return lines

    # Drawing.

    def drawn(self) -> Figure:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        bands = [self._panels[start : start + self._across] for start in range(0, len(self._panels), self._across)]
        heads = [max(len(panel.title) for panel in band) * TITLE * LEADING + 2.0 for band in bands]
        feet = [11.0 + max(map(self._foot, band)) * SMALL * LEADING for band in bands]
        small = SMALL * LEADING
        body = sum(heads) + sum(feet) + len(bands) * (self._tall + BAND)
        high = MARGIN + body + len(self._keys) * (small + 1.0) + 3.0 + len(self._caption) * small + MARGIN
        figure = Figure(figsize=(self._wide / INCH, high / INCH), facecolor="white")
        FigureCanvasAgg(figure)
        sheet = Sheet(figure, self._wide, high)
        y = MARGIN
        for band, head, foot in zip(bands, heads, feet, strict=True):
            self._draw_labels(sheet, y + head)
            for number, panel in enumerate(band):
                left = self._left + number * (self._panel + self._gutter)
                for up, words in enumerate(reversed(panel.title)):
                    baseline = y + head - 4.0 - up * TITLE * LEADING
                    sheet.text(left, baseline, words, size=TITLE, face="bold")
                self._draw_panel(sheet, panel, left, y + head)
                self._draw_foot(sheet, panel, left, y + head + self._tall + 11.0 + SMALL)
            y += head + self._tall + foot + BAND
        for line in self._keys:
            for x, sign, words in line:
                _draw_sign(sheet, sign, x, y + SMALL * (1 - MIDDLE))
                sheet.text(x + SIGN, y + SMALL, words)
            y += small + 1.0
        for number, words in enumerate(self._caption):
            sheet.text(MARGIN, y + 3.0 + SMALL + number * small, words)
        return figure

    def _draw_labels(self, sheet: Sheet, top: float) -> None:
        right = self._left - 5.0
        for y, heading in self._headings:
            sheet.text(right, top + y, heading, size=LABEL, face="italic", side="right", color=GREY)
        for line in self._lines:
            first = top + line.y - (len(line.words) - 1) * LABEL * LEADING / 2 + MIDDLE * LABEL
            for number, words in enumerate(line.words):
                sheet.text(right, first + number * LABEL * LEADING, words, size=LABEL, side="right")

    def _draw_panel(self, sheet: Sheet, panel: _Panel, left: float, top: float) -> None:
        axes = sheet.axes(left, top, self._panel, self._tall)
        axes.set(label=panel.column.scale, xlim=(panel.low, panel.high), ylim=(self._tall, 0.0), yticks=[])
        axes.set_xticks(panel.ticks, panel.tick_words, fontproperties=self._type.properties("regular", SMALL))
        axes.tick_params(axis="x", length=2.0, width=0.5, pad=1.5)
        for side in ("top", "left", "right"):
            axes.spines[side].set_visible(False)
        axes.spines["bottom"].set_linewidth(0.5)
        axes.hlines([line.y for line in self._lines], panel.low, panel.high, color=FAINT, linewidth=0.5, zorder=0)
        if panel.truth is not None:
            axes.axvline(panel.truth, **SIGNS["truth"], zorder=1, gid="truth")
        for line, mark in zip(self._lines, panel.marks, strict=True):
            if mark.coverage:
                sheet.text(left + self._panel + BESIDE, top + line.y + MIDDLE * SMALL, mark.coverage, color=GREY)
            if mark.value is None:
                behind = {"boxstyle": "square,pad=0.15", "facecolor": "white", "edgecolor": "none"}
                middle = left + self._panel / 2
                sheet.text(middle, top + line.y + MIDDLE * LABEL, DASH, size=LABEL, side="center", bbox=behind)
            else:
                self._draw_mark(axes, panel, mark, line.y)

    def _draw_mark(self, axes: Any, panel: _Panel, mark: _Mark, y: float) -> None:
        """Interval, speakers, dot."""
        colour = GREY if mark.control else BLUE
        if mark.interval is not None:
            _add(axes, mark.interval, y, **SIGNS["interval"], color=colour, zorder=2, gid="interval")
            point = (panel.high - panel.low) * 2.0 / self._panel
            for out, place, shape in (
                (mark.interval.low < panel.low, panel.low + point, "<"),
                (mark.interval.high > panel.high, panel.high - point, ">"),
            ):
                if out:
                    style = {**SIGNS["arrow"], "marker": shape}
                    _add(axes, [place], y, **style, color=colour, zorder=2, gid="arrow")
        style = {**SIGNS["speaker"], "markerfacecolor": colour}
        _add(axes, mark.means, y + LOWERED, **style, zorder=3, gid="speakers")
        dot = SIGNS["control" if mark.control else "method"]
        _add(axes, [mark.value], y, **dot, zorder=4, gid="control" if mark.control else "method")

    def _draw_foot(self, sheet: Sheet, panel: _Panel, left: float, baseline: float) -> None:
        """Unit and direction: the one begins where the other ends."""
        right = left + self._panel
        lower = panel.better.startswith("←")
        if panel.better:
            x, side = (left, "left") if lower else (right, "right")
            sheet.text(x, baseline, panel.better, side=side)
        down = SMALL * LEADING if self._stacked(panel) else 0.0
        for number, words in enumerate(panel.unit):
            x, side = (right, "right") if lower else (left, "left")
            sheet.text(x, baseline + down + number * SMALL * LEADING, words, side=side)


def _runs_out(mark: _Mark, panel: _Panel) -> bool:
    return mark.interval is not None and (mark.interval.low < panel.low or mark.interval.high > panel.high)


def _add(axes: Any, xs: Any, y: float, **style: Any) -> None:
    """Like `axes.plot` at one height, without its search for limits that are known already."""
    from matplotlib.lines import Line2D

    axes.add_artist(Line2D(xs, [y] * len(xs), **style))


def _draw_sign(sheet: Sheet, sign: str, x: float, y: float) -> None:
    """One sign of the key, as it is in the panels."""
    style = SIGNS[sign]
    middle = [x + SIGN / 2 - 1.5]
    ends = [x, x + SIGN - 3.0]
    if sign in ("interval", "truth"):
        sheet.line(ends, y, **{"color": GREY, **style})
    elif sign == "arrow":
        sheet.line(ends, y, **SIGNS["interval"], color=GREY)
        sheet.line(ends[1:], y, **style, color=GREY)
    else:
        sheet.line(middle, y, **{"markerfacecolor": GREY, **style})
