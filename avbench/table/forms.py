"""The other forms of a paper's tables.

    ablation   a method and its variants METHOD@key=value, the full method last
    sweep      METHOD@key=1, METHOD@key=2, … by the number, which stands in the first column
    lip bias   of each method the clips that are most like the face: how much do their lips move?

Conventions
- Cells, marks, stars and signatures of an ablation and a sweep are those of `build`, among their own rows alone.
- The lip-bias form takes the same number of clips of every method, so that none gains by clips without a face:
  measured clips come first, by face similarity, then those that failed, then those that were not scored. Which clips
  are most like the face is known of a whole split alone: coverage and gaps are those of the split, and a mark is taken
  by the rule of `build.marks`. Lip motion never takes one: more is not better.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import Incomplete, UsageError, unknown
from ..metric import Scale
from ..results import Entry, Results, Scores, clean
from ..run import read_sidecar
from .build import build, cell_of, columns_of, eligible, gaps_of, labels_of, ranked, signatures_of
from .model import Block, Cell, Row, Table

__all__ = [
    "LIP_SCALES",
    "SHARE",
    "Sweep",
    "ablation",
    "check_share",
    "default_of",
    "find_sweep",
    "lip_bias",
    "lip_scales",
    "most_similar",
    "sweep",
]

LIP_SCALES = (("lip_motion", "face_sim"), ("lip_motion_dlib", "face_sim_dlib"))  # of the profiles that have them
SHARE = 0.3  # of clips, as in the paper's Table 4


class Sweep(NamedTuple):
    """Methods that differ in one number."""

    name: str  # of the method that has it at its default, which may not be there
    key: str
    values: Mapping[str, Decimal]  # by method, ascending


# An ablation -----------------------------------------------------------------------------------------------------


def ablation(results: Results, method: str | None = None, *, baseline: str | None = None, stars: bool = False) -> Table:
    """A method below its variants; which one has to be said where several have variants.

    UsageError: no variants, several methods that have some, or an unknown one. Incomplete: variants alone.
    """
    families = _families(results.methods)
    name = _one_of("ablation", "a method with variants METHOD@key=value", list(families), method)
    full = [entry for entry in results.methods if entry.method == name]
    if not full:
        raise Incomplete(
            f"an ablation of {name}: {', '.join(families[name])} have scores, {name} itself has none. "
            f"`avbench generate --method {name}` makes its clips, `avbench score` scores them."
        )
    methods = tuple(entry for entry in results.methods if entry.method in (name, *families[name]))
    table = build(dataclasses.replace(results, methods=methods), baseline=baseline, stars=stars)
    rows = [row for block in table.blocks for row in block.rows]
    label = labels_of(full)[name]
    rows.sort(key=lambda row: row.method == clean(name))  # stable: the full method last
    return table._replace(
        name=f"{table.name}-ablation-{clean(name)}",
        caption=f"Ablation of {label}, which is the last row. {table.caption}",
        blocks=(Block("", tuple(rows)),),
    )


def _families(entries: Sequence[Entry]) -> dict[str, list[str]]:
    """Names of methods that have variants, with these; controls are no part of a model."""
    found: dict[str, list[str]] = {}
    for entry in entries:
        name, options = _options(entry.method)
        if options and entry.kind != "control":
            found.setdefault(name, []).append(entry.method)
    return found


# A sweep ---------------------------------------------------------------------------------------------------------


def find_sweep(results: Results, key: str | None = None, method: str | None = None) -> Sweep:
    """The methods that differ in one number alone, at least two.

    UsageError: there are none, or several such numbers and it is not said which; an unknown key or method.
    """
    found: dict[tuple[str, str], dict[str, Decimal]] = {}
    for entry in results.methods:
        name, options = _options(entry.method)
        for one in options:
            number = _number(options[one])
            if number is not None:
                rest = ",".join(f"{other}={options[other]}" for other in options if other != one)
                found.setdefault((f"{name}@{rest}" if rest else name, one), {})[entry.method] = number
    sweeps = [
        Sweep(name, one, dict(sorted(values.items(), key=lambda item: item[1])))
        for (name, one), values in found.items()
        if len(values) > 1
    ]
    expected = "methods METHOD@key=1 and METHOD@key=2 that differ in one number"
    chosen = _one_of("sweep", expected, list(dict.fromkeys(one.key for one in sweeps)), key, "--key")
    of_key = {one.name: one for one in sweeps if one.key == chosen}
    return of_key[_one_of("sweep", expected, list(of_key), method)]


def sweep(
    results: Results, of: Sweep, default: str | None = None, *, baseline: str | None = None, stars: bool = False
) -> Table:
    """Rows by the number, which is their label as it was written; the method itself stands at its `default`, if known."""
    values = dict(of.values)
    number = _number(default) if default is not None else None
    plain = of.name if number is not None and of.name in {entry.method for entry in results.methods} else None
    if plain is not None and number is not None:
        values[plain] = number
    methods = tuple(entry for entry in results.methods if entry.method in values)
    table = build(dataclasses.replace(results, methods=methods), baseline=baseline, stars=stars)
    rows = {row.method: row for block in table.blocks for row in block.rows}
    ordered = sorted(values, key=lambda name: (values[name], name == plain))
    texts = {name: _options(name)[1].get(of.key, "") for name in of.values}
    if plain is not None:
        texts[plain] = f"{default} (default)"
    rows_by_value = [rows[clean(name)]._replace(label=clean(texts[name])) for name in ordered]
    return table._replace(
        name=f"{table.name}-sweep-{clean(of.name)}-{clean(of.key)}",
        caption=f"Sweep of {of.key} of {clean(of.name)}. {table.caption}",
        blocks=(Block("", tuple(rows_by_value)),),
        corner=clean(of.key),
    )


def default_of(folder: Path, key: str) -> str | None:
    """What the sidecars of a run say that key was: its default, of a method that was run without it. None: nothing."""
    for path in sorted(folder.glob("*.json")):
        sidecar = read_sidecar(path)
        if sidecar is not None:
            value = sidecar.provenance.get(key)
            return None if value is None or isinstance(value, bool) else str(value)
    return None


def _number(text: str) -> Decimal | None:
    """A finite number; None for any other word."""
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


# Lip motion of the clips most like the face ----------------------------------------------------------------------


def lip_bias(results: Results, share: float = SHARE) -> Table:
    """Mean lip motion and face similarity of that share of each method's clips which has the highest face similarity.

    UsageError: a share outside 0 to 1. Incomplete: no scores of lip motion or of face similarity.
    """
    scales = lip_scales(results)
    face = scales[1]
    results = dataclasses.replace(results, scales=scales)
    labels, columns = labels_of(results.methods), columns_of(results)
    rows: dict[str, Row] = {}
    for entry in results.methods:
        taken = most_similar(results.scores[entry.method, face.name], len(results.pairs), share)
        cells = [
            _lip_cell(scale, results.scores[entry.method, scale.name], taken, len(results.pairs)) for scale in scales
        ]
        rows[entry.method] = Row(clean(entry.method), labels[entry.method], entry.kind, tuple(cells))
    marked = ranked({name: rows[name].cells[1].text for name in eligible(results, face)}, face.direction)
    for name, mark in marked.items():
        of_motion, of_face = rows[name].cells
        rows[name] = rows[name]._replace(cells=(of_motion, of_face._replace(mark=mark)))
    blocks = (
        Block("Methods", tuple(row for row in rows.values() if row.kind != "control")),
        Block("Controls", tuple(row for row in rows.values() if row.kind == "control")),
    )
    gaps = gaps_of([row for block in blocks for row in block.rows], columns)
    return Table(
        name=f"{clean(results.split.rpartition('@')[0])}-lip-bias",
        caption=clean(_lip_caption(results, len(taken), bool(gaps), bool(marked))),
        columns=columns,
        blocks=tuple(block for block in blocks if block.rows),
        gaps=gaps,
        signatures=tuple(f"{signature}|most_similar:{len(taken)}" for signature in signatures_of(results)),
    )


def lip_scales(results: Results, versus: str | None = None) -> tuple[Scale, Scale]:
    """Lip motion and face similarity of the profile; `versus` names a scale to take in place of the latter.

    UsageError: an unknown name. Incomplete: no scores of them.
    """
    scales = {scale.name: scale for scale in results.scales}
    if versus is not None and versus not in scales:
        raise unknown("scale", versus, scales)
    for motion, face in LIP_SCALES:
        if motion in scales and (versus or face) in scales:
            return scales[motion], scales[versus or face]
    wanted = " or ".join(f"both {motion} and {versus or face}" for motion, face in LIP_SCALES)
    raise Incomplete(
        f"to hold against lip motion: expected scores of {wanted}; on profile {results.profile} there are those of "
        f"{', '.join(scales)}. `avbench score` makes them, and another --profile may have them."
    )


def most_similar(face_sims: Scores, pairs: int, share: float = SHARE) -> list[int]:
    """That share of so many pairs, those with the highest face similarity first; of equal ones the earlier.

    Pairs that failed come after all measured ones, and pairs without a score last. Their number is share · pairs to the
    nearest whole number, halves up (11 of 35), and at least one. Table 4 of the paper shows lip motion of 30 %; how it
    rounds is not known. UsageError for a share outside 0 to 1.
    """
    check_share(share)
    measured = face_sims.measured[np.argsort(-face_sims.values, kind="stable")].tolist()
    failed = face_sims.failed.tolist()
    missing = sorted(set(range(pairs)) - {*measured, *failed})
    # The nearest double of a share may lie under the number that was meant: 0.3 of 35 is 10.5 and not less.
    count = max(1, math.floor(round(share * pairs, 9) + 0.5))
    return [*measured, *failed, *missing][:count]


def check_share(share: float) -> None:
    """UsageError for a share outside 0 to 1."""
    if not 0 < share <= 1:
        raise UsageError(f"a share of {share:g}; expected more than 0 and at most 1, such as {SHARE}.")


def _lip_cell(scale: Scale, scores: Scores, taken: Sequence[int], pairs: int) -> Cell:
    """The number of the clips that were taken, with the coverage of the whole split."""
    whole = cell_of(scale, scores, pairs)
    return cell_of(scale, _only(scores, taken), len(taken))._replace(
        measured=whole.measured, failed=whole.failed, missing=whole.missing
    )


def _only(scores: Scores, pairs: Sequence[int]) -> Scores:
    """Those of these pairs."""
    measured, failed = np.isin(scores.measured, pairs), np.isin(scores.failed, pairs)
    return Scores(
        measured=scores.measured[measured],
        values=scores.values[measured],
        weights=scores.weights[measured],
        failed=scores.failed[failed],
        reasons=tuple(reason for reason, kept in zip(scores.reasons, failed.tolist(), strict=True) if kept),
    )


def _lip_caption(results: Results, count: int, gaps: bool, marked: bool) -> str:
    pairs = len(results.pairs)
    words = [
        f"{results.title.rstrip('.')}: lip motion against face similarity.",
        f"Split {results.split}, profile {results.profile}: means over the {count} of {pairs} clips of each method with the "
        "highest face similarity."
        + (
            f" n/{pairs}: only so many clips of the split were measured, so others may be most like the face."
            if gaps
            else ""
        ),
        "A face that hardly moves stays like itself, so read both columns together; more lip motion is not better in "
        "itself, that of real clips is the goal.",
        "Best and second face similarity are marked, at printed digits, among methods without gaps of their own."
        if marked
        else "",
        results.note,
    ]
    return " ".join(word for word in words if word)


# Names -----------------------------------------------------------------------------------------------------------


def _options(method: str) -> tuple[str, dict[str, str]]:
    """`shifted@frames=5` → ("shifted", {"frames": "5"}). A folder of somebody's own may have any name: no options."""
    name, _, options = method.partition("@")
    items = [item.partition("=") for item in options.split(",")]
    if not all(key and equals for key, equals, _ in items):
        return method, {}
    return name, {key: value for key, _, value in items}


def _one_of(what: str, expected: str, known: Sequence[str], asked: str | None, option: str = "--method") -> str:
    """The one that was asked for, or the only one that there is."""
    if not known:
        raise UsageError(f"no {what} to show: expected {expected} with scores, and found none below the runs.")
    if asked is not None:
        if asked not in known:
            raise unknown(f"{option} of this {what}", asked, known)
        return asked
    if len(known) > 1:
        raise UsageError(f"which {what}? There are {', '.join(known)}. Give {option} with one of them.")
    return known[0]
