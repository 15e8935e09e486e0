"""What people said, laid out: details in words, everything as JSON, and two figures.

    rates    shares of votes as one bar a question, and the win rate with an interval that knows of speakers and raters
    means    mean opinion of each method, in all scenarios and in each, with intervals over pairs and over ratings

Nothing is told by colour alone: shares are printed on their bars, methods have shapes. Letters are drawn as shapes, and
the same numbers give the same bytes.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..results import clean
from ..votes import RATINGS, Contrast, Counts, Interval, Opinion, Opinions, Preference, Sensitivity, Tested
from .columns import balanced, pad, width, wrapped
from .drawing import drawing, form_of, save
from .lettering import letters

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "draw_means",
    "draw_rates",
    "opinions_json",
    "opinions_text",
    "preferences_json",
    "preferences_text",
    "totals_json",
    "totals_text",
    "write_means",
    "write_rates",
]

NONE = "–"  # not to be computed
ALIKE = "*"  # marks what has no error
PAGE = 100  # columns that words are broken to
WIDE = 6.6  # inches: the text of a page
ROW, HEAD = 0.24, 0.26  # inches: a row, and the heading of a block
LABEL, HEADING = 26, 56  # letters of a line
BLUE, LIGHT, OTHER, GREY = "#0072B2", "#DDDDDD", "#E69F00", "#4D4D4D"  # of Okabe and Ito, and greys
COLOURS = (BLUE, "#D55E00", "#009E73", "#CC79A7", "#4D4D4D", "#56B4E9", OTHER)
SHAPES = ("o", "D", "s", "^", "v", "P", "X", "p")  # one more than colours: no pair of them comes again soon
NOTE = 145  # letters of a note's line
ROOM = 9.0  # percent of a bar that a number on it needs
STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 6.5,
    "axes.linewidth": 0.5,
    "axes.titlesize": 7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "xtick.labelsize": 6,
    "xtick.major.size": 2,
    "xtick.major.width": 0.5,
    "xtick.major.pad": 1.5,
    "ytick.left": False,
    "legend.fontsize": 6,
    "legend.frameon": False,
}


# Votes -----------------------------------------------------------------------------------------------------------


def preferences_text(preferences: Sequence[Preference]) -> str:
    """For each question what the table has no room for: intervals and tests, labelled with what they take as independent."""
    lines = ["Intervals of the win rate and tests, by what is taken as independent; p in brackets: Holm's."]
    for row in preferences:
        counts = row.counts
        lines += [
            "",
            clean(f"{row.ours} against {row.other}, {row.question}"),
            f"  wins {counts.wins}, losses {counts.losses}, ties {counts.ties}; pairs {row.pairs}, raters {row.raters}"
            + (f", speakers {row.speakers}" if row.speakers else ""),
        ]
        cells = [["", "clusters", "win rate", "mean score", "p", "sign-flip p", "attainable"]]
        binomial = f"{_p(row.p)} ({_p(row.adjusted)})"
        cells.append(["votes: binomial, Wilson", "", _percents(row.wilson), "", binomial, "", ""])
        cells.append(["votes: Clopper-Pearson", "", _percents(row.clopper_pearson), "", "", "", ""])
        for one in row.clustered:
            cells.append(
                [
                    f"{one.unit}s: t, bootstrap",
                    str(one.clusters),
                    _percents(one.win_rate),
                    _mean_of(one.score),
                    _tested(one.score, one.adjusted),
                    f"{_p(one.flip.p)} ({_p(one.flip_adjusted)})" + ("" if one.flip.exact else " Monte Carlo"),
                    _p(one.flip.attainable),
                ]
            )
        if row.crossed is not None:
            score = row.crossed.score
            cells.append(
                [
                    f"{' and '.join(f'{unit}s' for unit in row.crossed.units)}: two-way t",
                    "",
                    _percents(row.crossed.win_rate),
                    _mean_of(score),
                    _tested(score, row.crossed.adjusted),
                    "",
                    "",
                ]
            )
        lines += [f"  {line}" for line in _columns(cells)]
    scores = [one.score for row in preferences for one in (*row.clustered, *([row.crossed] if row.crossed else ()))]
    lines += _alike_said(scores)
    return "\n".join(lines) + "\n"


def preferences_json(preferences: Sequence[Preference]) -> str:
    """Everything, in the order of the table."""
    rows = []
    for row in preferences:
        plain = _plain(row)
        plain["counts"] |= {"votes": row.counts.votes, "win_rate": row.counts.win_rate}
        rows.append({**plain, "interval": _plain(row.interval), "clustered_p": row.clustered_p})
    return _json({"preferences": rows})


# Ratings ---------------------------------------------------------------------------------------------------------


def opinions_text(opinions: Opinions) -> str:
    """Means, then contrasts; every interval and p says what it takes as independent."""
    bad = "Bad (1)" if opinions.limit == 1 else f"Bad (1 to {opinions.limit})"
    lines = [
        *textwrap.wrap(
            "Mean opinion, 1 (Bad) to 5 (Excellent), with 95 % intervals (Student's t) that take ratings, "
            "pair means or speaker means as independent.",
            PAGE,
        ),
        "",
    ]
    cells = [["", "ratings", "pairs", "speakers", "mean", "over ratings", "over pairs", "over speakers", bad]]
    scenario = None
    for one in opinions.opinions:
        if one.scenario != scenario:
            scenario = one.scenario
            cells.append([clean(scenario) or "all", *[""] * 8])
        cells.append(
            [
                f"  {clean(one.method)}",
                str(one.ratings),
                str(one.pairs),
                str(one.speakers or NONE),
                f"{one.mean:.2f}",
                *(_ends(interval) for interval in (one.by_rating, one.by_pair, one.by_speaker)),
                f"{one.bad}/{one.ratings} {100 * one.bad / one.ratings:.1f} %",
            ]
        )
    lines += _columns(cells)
    if opinions.contrasts:
        lines += ["", *textwrap.wrap(_contrasts_said(opinions), PAGE), ""]
        cells = [
            [
                *("", "difference", "d", "Welch", "Mann-Whitney"),
                *("pairs", "t", "Wilcoxon", "speakers", "t", "sign-flip"),
                *("both", "difference", "two-way t"),
            ]
        ]
        for other in opinions.methods[1:]:
            of = [_contrast(one) for one in opinions.contrasts if one.other == other]
            cells += [[clean(f"{opinions.ours} against {other}"), *[""] * 13], *of] if of else []
        lines += _columns(cells)
        lines += _alike_said([one for row in opinions.contrasts for one in (row.by_pair, row.by_speaker, row.crossed)])
    return "\n".join(lines) + "\n"


def opinions_json(opinions: Opinions) -> str:
    """Everything, in the order of the text."""
    return _json(_plain(opinions))


def _contrasts_said(opinions: Opinions) -> str:
    return clean(
        f"{opinions.ours} minus the other. Cohen's d, Welch and Mann-Whitney take ratings as independent; t and Wilcoxon "
        "after `pairs` take the pairs rated for both, t and sign-flip after `speakers` their speaker means, "
        "whoever rates them. The last columns take the differences within raters who rated both on one pair, with the "
        f"{_crossed_of(opinions)} and the rater in clusters (two-way t); claims go by these. Other columns are p; in "
        "brackets Holm's, over the other methods or over the scenarios."
    )


def _contrast(one: Contrast) -> list[str]:
    return [
        f"  {clean(one.scenario) or 'all'}",
        f"{one.difference:+.2f}",
        NONE if one.d is None else f"{one.d:+.3f}",
        _p(one.welch),
        _p(one.mann_whitney),
        str(one.pairs),
        _tested(one.by_pair, one.by_pair_adjusted),
        _p(one.wilcoxon),
        str(one.speakers or NONE),
        _tested(one.by_speaker, one.by_speaker_adjusted),
        NONE if one.flip is None else f"{_p(one.flip.p)} (≥ {_p(one.flip.attainable)})",
        str(one.paired or NONE),
        NONE if one.crossed is None else _mean_of(one.crossed),
        _tested(one.crossed, one.crossed_adjusted),
    ]


def _crossed_of(opinions: Opinions) -> str:
    return " or ".join(sorted({one.units[0] for one in opinions.contrasts}, reverse=True))


# Totals ------------------------------------------------------------------------------------------------------------


def totals_text(fits: Sequence[tuple[Counts, Sensitivity]]) -> str:
    """Every count that fits, its p, and what is left of it under each correlation."""
    if not fits:
        return "No count of votes prints as these percentages.\n"
    rates = ["–" if counts.win_rate is None else f"{100 * counts.win_rate:.2f} %" for counts, _ in fits]
    cells = [["votes", "wins", "losses", "ties", "win rate", "votes a pair", "p passes 0.05 at"]]
    for (counts, found), rate in zip(fits, rates, strict=True):
        tipping = _tipping(found.tipping)
        head = [str(number) for number in (counts.votes, *counts)]
        cells.append([*head, rate, f"{found.votes_per_pair:.2f}", tipping])
    lines = _columns(cells)
    lines += [
        "",
        "p (exact two-sided binomial, ties left out; 0: votes are independent) by correlation of the votes on one pair:",
    ]
    grid = [["votes", *(f"{one.correlation:g}" for one in fits[0][1].rows)]]
    grid += [[str(counts.votes), *(_p(one.p) for one in found.rows)] for counts, found in fits]
    lines += ["", *_columns(grid)]
    lines += ["", "Independent votes that would say as much (votes by their design effect):"]
    grid = [["votes", *(f"{one.correlation:g}" for one in fits[0][1].rows)]]
    grid += [[str(counts.votes), *(f"{one.effective:.0f}" for one in found.rows)] for counts, found in fits]
    return "\n".join([*lines, "", *_columns(grid)]) + "\n"


def totals_json(fits: Sequence[tuple[Counts, Sensitivity]]) -> str:
    """The same, in full."""
    rows = [
        {**_plain(counts), "votes": counts.votes, "win_rate": counts.win_rate, "sensitivity": _plain(found)}
        for counts, found in fits
    ]
    return _json({"fits": rows})


def _tipping(correlation: float | None) -> str:
    if correlation is None:
        return "no correlation"
    return f"correlation {correlation:.2f}" if correlation else "none is needed"


# Figures -----------------------------------------------------------------------------------------------------------


def draw_rates(preferences: Sequence[Preference]) -> Figure:
    """A bar for each question, blocks for each other method, win rates beside them."""
    places, headings, high = _places([row.other for row in preferences])
    ours = preferences[0].ours
    with drawing(STYLE):
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch

        figure = _figure(high + 1.0, _rates_said(preferences))
        bars, rates = figure.subplots(1, 2, sharey=True, width_ratios=[1.9, 1.0])
        for y, row in zip(places, preferences, strict=True):
            _bar(bars, y, row.counts)
            _rate(rates, y, row)
            bars.text(101, y, f"n = {row.counts.votes}", color=GREY, fontsize=5.5, va="center")
        for y, other in headings:
            words = _lines(f"{ours} against {other}", HEADING, 1)
            bars.text(0, y, words, fontweight="bold", va="center").set_in_layout(False)  # it may stand over both panels
        bars.set_yticks(places, [_lines(row.question, LABEL) for row in preferences])
        bars.set(label="votes", xlim=(0, 100), ylim=(high / ROW, 0), xlabel="% of votes")
        rates.axvline(50, color="black", linewidth=0.6, linestyle=(0, (3, 2)), zorder=0)
        rates.set(label="win rate", xlim=(0, 100), xlabel="win rate, % without ties")
        rates.set_xticks([0, 25, 50, 75, 100])
        handles = [
            Patch(facecolor=BLUE, label=f"{_lines(ours, LABEL)} preferred"),
            Patch(facecolor=LIGHT, label="equal"),
            Patch(facecolor=OTHER, label="other preferred"),
            Line2D([], [], color=BLUE, marker="o", markersize=3.5, linewidth=1.0, label="win rate, 95 %"),
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=4)
    return figure


def draw_means(opinions: Opinions) -> Figure:
    """A row for all and one for each scenario, a sign for each method."""
    rows = ["", *opinions.scenarios]
    count = len(opinions.methods)
    pitch = max(ROW, 0.11 * count)
    with drawing(STYLE):
        from matplotlib.lines import Line2D

        figure = _figure(pitch * (len(rows) + 0.3) + 0.9, _means_said(opinions))
        axes = figure.subplots()
        for one in opinions.opinions:
            number = opinions.methods.index(one.method)
            _mean(axes, rows.index(one.scenario) + (number - (count - 1) / 2) * 0.8 / max(2, count), one, number)
        axes.set_yticks(range(len(rows)), ["All", *(_lines(row, LABEL) for row in opinions.scenarios)])
        axes.get_yticklabels()[0].set_fontweight("bold")
        if opinions.scenarios:
            axes.axhline(0.5, color="black", linewidth=0.5)
        axes.set(xlim=(RATINGS[0], RATINGS[-1]), ylim=(len(rows) - 0.5, -0.6), xlabel="mean opinion")
        axes.set_xticks(RATINGS, ["1\nBad", "2", "3", "4", "5\nExcellent"])
        axes.grid(axis="x", color="#E4E4E4", linewidth=0.5)
        axes.set_axisbelow(True)
        handles = [
            Line2D([], [], **_sign(number), linewidth=1.0, label=_lines(method, 40))
            for number, method in enumerate(opinions.methods)
        ]
        figure.legend(handles=handles, loc="outside upper center", ncols=min(3, count))
    return figure


def write_rates(path: Path, preferences: Sequence[Preference]) -> None:
    """Draws the rates to `path`, whole or not at all; UsageError: a form that is not one of FIGURES, or no matplotlib."""
    form_of(path)
    figure = draw_rates(preferences)
    with drawing():
        save(figure, path, "avbench study: votes", _rates_said(preferences))


def write_means(path: Path, opinions: Opinions) -> None:
    """Draws the means to `path`, likewise."""
    form_of(path)
    figure = draw_means(opinions)
    with drawing():
        save(figure, path, "avbench study: opinions", _means_said(opinions))


def _figure(high: float, said: str) -> Figure:
    """A page-wide figure of that height, in inches, with a note below it, for which it grows."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    words = letters().shown(said)
    lines = balanced(words, len(wrapped(words, NOTE)))
    figure = Figure(figsize=(WIDE, high + 0.1 * len(lines)), layout="constrained")
    FigureCanvasAgg(figure)
    figure.supxlabel("\n".join(lines), fontsize=5.5, color=GREY)
    return figure


def _lines(text: str, long: int, most: int = 2) -> str:
    """Words in few lines; what has no room is left out, and an ellipsis says so."""
    return "\n".join(textwrap.wrap(letters().shown(text), long, max_lines=most, placeholder=" …"))


def _places(others: Sequence[str]) -> tuple[list[float], list[tuple[float, str]], float]:
    """Heights of rows and of headings of blocks in rows from the top, and of all in inches."""
    places, headings, y = [], [], 0.0
    for number, other in enumerate(others):
        if number == 0 or other != others[number - 1]:
            headings.append((y + HEAD / ROW / 2, other))
            y += HEAD / ROW
        places.append(y + 0.5)
        y += 1.0
    return places, headings, (y + 0.2) * ROW


def _bar(axes: Any, y: float, counts: Counts) -> None:
    left = 0.0
    for count, colour, ink in (
        (counts.wins, BLUE, "white"),
        (counts.ties, LIGHT, "black"),
        (counts.losses, OTHER, "black"),
    ):
        share = 100 * count / counts.votes
        axes.barh(y, share, left=left, height=0.72, color=colour, edgecolor="white", linewidth=0.5)
        if share >= ROOM:
            axes.text(left + share / 2, y, f"{share:.1f}", color=ink, ha="center", va="center", fontsize=6)
        left += share


def _rate(axes: Any, y: float, row: Preference) -> None:
    if row.counts.win_rate is None:
        axes.text(50, y, NONE, ha="center", va="center", bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.0})
        return
    if row.interval is not None:
        axes.plot(
            [100 * row.interval.lower, 100 * row.interval.upper], [y, y], color=BLUE, linewidth=1.0, gid="interval"
        )
    axes.plot([100 * row.counts.win_rate], [y], color=BLUE, marker="o", markersize=3.5, gid="win rate", clip_on=False)


def _mean(axes: Any, y: float, one: Opinion, number: int) -> None:
    """Thin over pairs, thick over ratings, and the mean."""
    colour = _sign(number)["color"]
    for interval, wide in ((one.by_pair, 0.9), (one.by_rating, 2.4)):
        if interval is not None:
            axes.plot(
                interval, [y, y], color=colour, linewidth=wide, solid_capstyle="butt", alpha=0.9 if wide < 1 else 0.45
            )
    style = {**_sign(number), "markeredgecolor": "white", "markeredgewidth": 0.4}
    axes.plot([one.mean], [y], **style, clip_on=False, zorder=4, gid=f"mean {number}")
    for place, out, shape in zip((RATINGS[0], RATINGS[-1]), _runs_out(one), "<>", strict=True):
        if out:
            axes.plot([place], [y], color=colour, marker=shape, markersize=2.6, clip_on=False, gid="arrow")


def _runs_out(one: Opinion) -> tuple[bool, bool]:
    """Whether the interval over pairs goes beyond the lowest and the highest rating."""
    if one.by_pair is None:
        return False, False
    return one.by_pair.lower < RATINGS[0], one.by_pair.upper > RATINGS[-1]


def _sign(number: int) -> dict[str, Any]:
    """How the method of that place is drawn."""
    return {"color": COLOURS[number % len(COLOURS)], "marker": SHAPES[number % len(SHAPES)], "markersize": 4.0}


def _rates_said(preferences: Sequence[Preference]) -> str:
    units = next((row.crossed.units for row in preferences if row.crossed is not None), None)
    if units is not None:
        said = f"their 95 % intervals know that votes of a {units[0]} and votes of a {units[1]} resemble each other"
    elif any(row.interval for row in preferences):
        said = "their 95 % intervals are cluster bootstraps"
    else:
        said = "no interval: one pair and one rater, or no decided votes"
    alike = any(row.interval is None and row.counts.decided and row.clustered for row in preferences)
    without = " Without an interval: decided votes of one cluster, or clusters that are all alike." if alike else ""
    return f"Votes of raters. Win rates leave ties out; {said}.{without} Dashed: as many wins as losses."


def _means_said(opinions: Opinions) -> str:
    return (
        "95 % intervals (Student's t): thin lines over means of pairs, which weigh alike; thick ones take ratings as "
        "independent."
        + (" An arrowhead: the interval goes on." if any(any(_runs_out(one)) for one in opinions.opinions) else "")
    )


# Numbers ---------------------------------------------------------------------------------------------------------


def _p(p: float | None) -> str:
    """Three decimals, or two digits where that is less."""
    if p is None:
        return NONE
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _tested(found: Tested | None, adjusted: float | None) -> str:
    """p, Holm's in brackets, and a mark where it is not t's."""
    return NONE if found is None else f"{_p(found.p)} ({_p(adjusted)}){'' if found.test == 't' else ALIKE}"


def _mean_of(found: Tested) -> str:
    ends = "" if found.lower is None or found.upper is None else f" [{found.lower:+.2f}, {found.upper:+.2f}]"
    return f"{found.value:+.2f}{ends}"


def _alike_said(found: Sequence[Tested | None]) -> list[str]:
    if all(one is None or one.test == "t" for one in found):
        return []
    said = (
        f"{ALIKE}: all clusters are alike, so t has no error to judge by. No interval; p is of the sign-flip test of their "
        "means, two-way the largest of pairs, raters and speakers."
    )
    return ["", *textwrap.wrap(said, PAGE)]


def _percents(interval: Interval | None) -> str:
    return NONE if interval is None else f"{100 * interval.lower:.1f} to {100 * interval.upper:.1f} %"


def _ends(interval: Interval | None) -> str:
    return NONE if interval is None else f"{interval.lower:.2f} to {interval.upper:.2f}"


def _columns(cells: Sequence[Sequence[str]]) -> list[str]:
    """Lines, the first column on the left and all others on the right."""
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    lines = []
    for row in cells:
        padded = [
            pad(cell, wide, right=number > 0) for number, (cell, wide) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(padded).rstrip())
    return lines


def _plain(value: Any) -> Any:
    """Records as dictionaries, all the way down."""
    if hasattr(value, "_asdict"):
        return {name: _plain(one) for name, one in value._asdict().items()}
    return [_plain(one) for one in value] if isinstance(value, tuple) else value


def _json(content: Any) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
