"""The table of a split: methods in one block, controls in another.

Conventions
- A cell is the scale's aggregate over measured clips at the scale's digits. Where a clip of the split was not
  measured, the coverage stands beside the number; where none was, the cell is a dash and its coverage 0.
- Best and second are decided on the numbers as printed: dense ranks, ties share. Controls, untrained and limited
  methods are not ranked. Neither is a cell with a gap that not every ranked method has: leaving out the clips that
  defeat a metric must never pay.
- Stars are claims of `compare`: Student's t on speaker means against one baseline, Holm within a scale over the
  methods that compete. A method with missing scores is not compared. No star where either has a clip that the other
  lacks, nor on a scale without a better side.
- A signature for each column says how its numbers were made; numbers with different signatures do not compare.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import TYPE_CHECKING

import numpy as np

from ..errors import Incomplete, UsageError, unknown
from ..metric import Scale
from ..results import Entry, Results, Scores, aggregate, clean, signature
from .model import ARROWS, DASH, Block, Cell, Column, Mark, Row, Table

if TYPE_CHECKING:
    from ..compare import Comparison

__all__ = [
    "STARS",
    "build",
    "cell_of",
    "columns_of",
    "eligible",
    "gaps_of",
    "labels_of",
    "marks",
    "ranked",
    "signatures_of",
    "without_controls",
]

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))  # of the adjusted p
ALPHA, WANTED = 0.05, 0.8  # what a smallest detectable effect is for
CORRELATED = 0.3  # within a speaker, where nothing is known of it


def build(results: Results, *, baseline: str | None = None, stars: bool = False) -> Table:
    """The table of results: methods, then controls.

    With a baseline the caption says which differences from it would have been found; with `stars` those that were
    found are starred. UsageError: stars without a baseline, an unknown baseline, or one that cannot be compared.
    """
    if stars and baseline is None:
        raise UsageError(
            "stars without a baseline: a star says that a method differs from one that is named. "
            f"Give --baseline METHOD, one of {', '.join(_rivals(results))}."
        )
    found = {} if baseline is None else _comparisons(results, baseline)
    marked = {scale.name: marks(results, scale) for scale in results.scales}
    labels = labels_of(results.methods)
    rows = []
    for entry in results.methods:
        cells = [
            cell_of(scale, results.scores[entry.method, scale.name], len(results.pairs))._replace(
                mark=marked[scale.name].get(entry.method, ""),
                stars=_stars(found.get((entry.method, scale.name))) if stars else "",
            )
            for scale in results.scales
        ]
        rows.append(Row(clean(entry.method), labels[entry.method], entry.kind, tuple(cells)))
    columns = columns_of(results)
    blocks = [
        Block("Methods", tuple(row for row in rows if row.kind != "control")),
        Block("Controls", tuple(row for row in rows if row.kind == "control")),
    ]
    gaps = gaps_of(rows, columns)
    words = [
        *_caption(results, bool(gaps), any(marked.values())),
        *_of_baseline(results, baseline, found, stars=stars),
        _detectable(results) if baseline is None else "",
        results.note,
    ]
    return Table(
        name=clean(results.split.rpartition("@")[0]),
        caption=clean(" ".join(word for word in words if word)),
        columns=columns,
        blocks=tuple(block for block in blocks if block.rows),
        gaps=gaps,
        signatures=signatures_of(results),
    )


def without_controls(results: Results) -> Results:
    """The same without its controls. Incomplete where nothing is left."""
    methods = tuple(entry for entry in results.methods if entry.kind != "control")
    if not methods:
        raise Incomplete(
            f"only controls have scores on {results.split}, and they are not to be shown. `avbench generate` makes clips "
            "of a method, `avbench score` scores them."
        )
    return dataclasses.replace(results, methods=methods)


def marks(results: Results, scale: Scale) -> dict[str, Mark]:
    """Method → best or second on that scale; empty where fewer than two methods compete or the split ranks nothing."""
    printed = {method: _text(scale, results.scores[method, scale.name]) for method in eligible(results, scale)}
    return ranked(printed, scale.direction)


def eligible(results: Results, scale: Scale) -> list[str]:
    """Methods that may take a mark on that scale: those with no gap that not every ranked method has."""
    rivals = {
        entry.method: results.scores[entry.method, scale.name]
        for entry in results.methods
        if entry.competes and results.scores[entry.method, scale.name].rows
    }
    if not results.ranks or len(rivals) < 2:
        return []
    # A clip that defeats the metric for everybody (say, a target without a face) is nobody's fault.
    excused = set.intersection(*({int(pair) for pair in scores.failed} for scores in rivals.values()))
    return [
        method
        for method, scores in rivals.items()
        if len(scores.measured) and len(scores.measured) + len(excused) == len(results.pairs)
    ]


def ranked(printed: Mapping[str, str], direction: str) -> dict[str, Mark]:
    """Method → best or second of numbers as printed: dense ranks, ties share; nothing where no direction is better."""
    if direction == "none":
        return {}
    numbers = {method: Decimal(text) for method, text in printed.items()}
    ranking = sorted(set(numbers.values()), reverse=direction == "higher")
    names: dict[Decimal, Mark] = dict(zip(ranking, ("best", "second"), strict=False))
    return {method: names[number] for method, number in numbers.items() if number in names}


# Cells and columns -----------------------------------------------------------------------------------------------


def cell_of(scale: Scale, scores: Scores, pairs: int) -> Cell:
    """The number of these scores, which are of so many pairs, without mark and stars."""
    measured, failed = len(scores.measured), len(scores.failed)
    return Cell(
        text=_text(scale, scores) if measured else DASH,
        value=aggregate(scale, scores) if measured else None,
        measured=measured,
        failed=failed,
        missing=pairs - measured - failed,
    )


def columns_of(results: Results) -> tuple[Column, ...]:
    """One for each scale."""
    return tuple(
        Column(clean(scale.name), clean(scale.label), clean(scale.unit), ARROWS[scale.direction], scale.digits)
        for scale in results.scales
    )


def _text(scale: Scale, scores: Scores) -> str:
    text = f"{aggregate(scale, scores):.{scale.digits}f}"
    return text.removeprefix("-") if Decimal(text) == 0 else text  # never -0.000


# Against a baseline ----------------------------------------------------------------------------------------------


def _rivals(results: Results) -> list[str]:
    return [entry.method for entry in results.methods if entry.competes]


def _comparisons(results: Results, baseline: str) -> dict[tuple[str, str], Comparison]:
    """By method and scale: every ranked method that has all of its scores, where the baseline has all of its own."""
    from ..compare import compare

    if baseline not in {entry.method for entry in results.methods}:
        raise unknown("baseline", baseline, [entry.method for entry in results.methods])
    found = {}
    for scale in results.scales:
        whole = {
            entry.method
            for entry in results.methods
            if results.scores[entry.method, scale.name].rows == len(results.pairs)
        }
        others = [method for method in _rivals(results) if method in whole and method != baseline]
        if baseline in whole and others:
            of_scale = dataclasses.replace(results, scales=(scale,))
            for one in compare(of_scale, baseline, others, sign_flips=False).rows:
                found[one.other, scale.name] = one
    return found


def _stars(one: Comparison | None) -> str:
    """Of what `compare` claims where neither has a gap, and of nothing else."""
    if one is None or one.claim == "none" or one.adjusted is None or one.other_gaps:
        return ""
    return next((stars for most, stars in STARS if one.adjusted < most), "")


# Words -----------------------------------------------------------------------------------------------------------


def labels_of(entries: Sequence[Entry]) -> dict[str, str]:
    """What each row is called: with the method's name where two have the same label, and with what weakens its numbers."""
    labels = [clean(entry.label) or clean(entry.method) for entry in entries]
    shown = {}
    for entry, label in zip(entries, labels, strict=True):
        remarks = [clean(entry.method)] if labels.count(label) > 1 else []
        remarks += ["untrained"] if entry.untrained else []
        remarks += [f"first {entry.limited} pair{'s' * (entry.limited != 1)}"] if entry.limited else []
        shown[entry.method] = f"{label} ({', '.join(remarks)})" if remarks else label
    return shown


def signatures_of(results: Results) -> tuple[str, ...]:
    """How the numbers of each column were made."""
    return tuple(signature(results, scale) for scale in results.scales)


def gaps_of(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[str, ...]:
    """A line for each row with gaps: how many clips failed, and how many scores are missing."""
    return tuple(line for row in rows if (line := _gaps(row, columns)))


def _gaps(row: Row, columns: Sequence[Column]) -> str:
    parts = []
    for cell, column in zip(row.cells, columns, strict=True):
        counts = [f"{cell.failed} failed"] if cell.failed else []
        counts += [f"{cell.missing} not scored"] if cell.missing else []
        if counts:
            parts.append(f"{column.scale} {' and '.join(counts)}")
    return f"{row.label}: {', '.join(parts)}" if parts else ""


def _caption(results: Results, gaps: bool, marked: bool) -> list[str]:
    pairs, speakers = len(results.pairs), len(results.speakers)
    directions = {scale.direction for scale in results.scales}
    return [
        f"{results.title.rstrip('.')}.",
        f"Split {results.split}: {pairs} pair{'s' * (pairs != 1)}, {speakers} speaker{'s' * (speakers != 1)}.",
        f"Profile {results.profile}; each number is the mean over measured clips{_corpora(results)}"
        + (f" (n/{pairs} beside it where fewer than {pairs})." if gaps else "."),
        "Higher (↑) is better." if directions >= {"higher"} and "lower" not in directions else "",
        "Lower (↓) is better." if directions >= {"lower"} and "higher" not in directions else "",
        "Higher (↑) or lower (↓) is better." if directions >= {"higher", "lower"} else "",
        "Best and second are marked, at printed digits, among methods without gaps of their own." if marked else "",
    ]


def _of_baseline(
    results: Results, baseline: str | None, found: Mapping[tuple[str, str], Comparison], *, stars: bool
) -> list[str]:
    """What stars mean, and which differences from the baseline would have been found."""
    if baseline is None:
        return []
    name = labels_of(results.methods)[baseline]
    if not found:
        return [f"Nothing is compared with {name}: on no scale have it and another method all of their scores."]
    words = []
    directed = {scale.name for scale in results.scales if scale.direction != "none"}
    if stars and not any(scale in directed and one.adjusted is not None for (_, scale), one in found.items()):
        words.append(
            f"Nothing is tested against {name}: that takes two speakers or more and a scale with a better side."
        )
    elif stars:
        undirected = "none on a scale without a better side, " if len(directed) < len(results.scales) else ""
        words.append(
            f"*, **, ***: differs from {name} with p < 0.05, 0.01, 0.001 (paired t on speaker means, Holm within a column "
            f"over the methods; {undirected}none for a method with gaps of its own)."
        )
        lost = max(one.baseline_gaps for one in found.values())
        if lost:
            words.append(
                f"Where {name} has gaps, up to {lost} of {len(results.pairs)} pairs are left out of a comparison."
            )
    rivals = [entry.method for entry in results.methods if entry.competes and entry.method != baseline]
    left = [method for method in rivals if any((method, scale.name) not in found for scale in results.scales)]
    if left:
        labels = labels_of(results.methods)
        words.append(f"Not compared where scores are missing: {', '.join(labels[method] for method in left)}.")
    least = []
    for scale in results.scales:
        sizes = [one.smallest for (_, of), one in found.items() if of == scale.name and one.smallest is not None]
        if sizes and scale.direction != "none":
            least.append(f"{scale.label} {_at_least(max(sizes), scale.digits)}")
    if least:
        words.append(
            f"A difference from {name} would be found four times in five (80 % power, at Holm's strictest step) from: "
            f"{', '.join(least)}."
        )
    return words


def _at_least(number: float, digits: int) -> str:
    """At so many decimals, rounded up: what is printed is found."""
    unit = Decimal(1).scaleb(-digits)
    return str(Decimal(repr(number)).quantize(unit, rounding="ROUND_CEILING"))


def _detectable(results: Results) -> str:
    """Which paired difference this split would show, in standard deviations of a clip's difference."""
    if not results.ranks or len(results.speakers) < 2 or len(_rivals(results)) < 2:
        return ""  # nothing is to be found
    from ..stats import smallest_effect

    clips = np.bincount(results.speaker_of, minlength=len(results.speakers)).tolist()
    alone, together = (smallest_effect(clips, correlation, ALPHA, WANTED) for correlation in (0.0, CORRELATED))
    return (
        f"Two methods are told apart four times in five (80 % power, p < {ALPHA}) where they differ by {alone:.2f} standard "
        f"deviations of a clip's difference, or {together:.2f} if clips of one speaker correlate by {CORRELATED}."
    )


def _corpora(results: Results) -> str:
    """Which scales are not means of clips."""
    names = [scale.label for scale in results.scales if scale.aggregate == "corpus"]
    return f", of {' and '.join(names)} over their words" if names else ""
