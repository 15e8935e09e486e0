"""Does a scale move where it must, and stay where it should? Every scale of a profile against graded damage.

    split × (none, every kind of damage at every step) → generate → score → one curve a scale and kind

Conventions
- The zero step is `none`: decoded and encoded again like all others. A curve is over the clips measured there.
- Every mean is over speakers, each the mean of his or her clips; a change is paired, clip by clip, and its 95 %
  interval is over speakers. The level at a step is that of all clips at `none` plus the mean change of those that are
  measured at the step, so that clips which drop out do not move it.
- A clip that becomes unmeasurable is worse than any measured one and never a number: it is counted beside the mean.
  A clip that could not be made is left out of the step; that nothing is left to judge is said, and is no success.
- A step moves right where the mean change from the step before is towards worse (`lip_motion_dlib`, which has no
  better: towards less). Where clips become unmeasurable, or measurable again, the majority of clips decides. Where
  nothing was measurable at the step before there is nothing to judge.
- A scale notices a step where the interval of the change from `none` lies on the worse side of zero, or more than half
  of its clips became unmeasurable. It is said from which step on it notices all.
- Cross-talk is a change as per cent of the scale's largest change at a severest step of its own damage (of all damage,
  for scales that have none of their own); positive is towards worse.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .damage import DAMAGES
from .errors import SplitError, UsageError, unknown
from .generate import Generated, generate
from .home import atomic, imported, package_version, sweep
from .methods import resolve
from .metric import Metric, Scale
from .metrics import METRICS, select
from .prepare.clips import PROFILE, clips_split
from .prepare.manifest import MANIFEST
from .report.columns import pad, width, wrapped
from .report.curves import Chart, Panel, draw
from .report.drawing import FIGURES, drawing
from .report.markdown import escape
from .results import Results, load
from .run import Overwrite
from .score import check_media, score
from .split import Split, known_splits, load_split
from .stats import mean_interval
from .workers import Report, check_workers, silent

__all__ = [
    "OWN",
    "Audit",
    "Curve",
    "Kind",
    "Ladder",
    "Step",
    "audit",
    "curve_of",
    "failures",
    "markdown",
    "text",
    "unjudged",
    "write",
]

DROP, NONE = "drop", "none"
COMMONEST = 3  # reasons that are told
PAGE = 100  # columns that words are broken to

# Which damage each scale is there to notice; a scale that is not here has none of its own.
OWN: dict[str, tuple[str, ...]] = {
    "spk_sim_ge2e": ("pitch", "voice"),
    "spk_sim_ge2e_ref": ("pitch", "voice"),
    "face_sim_dlib": ("face", "blur"),
    "face_sim_dlib_ref": ("face", "blur"),
    "av_corr": ("shift", "freeze"),
    "lip_motion_dlib": ("freeze",),
    "gop_sphinx": ("drop",),  # mild noise evens out what lies under speech, and may raise it
    "words_rejected_sphinx": ("drop", "noise"),
    # Of authors and community: what they should notice. Nobody has seen it yet with the published networks.
    "spk_sim": ("pitch", "voice"),
    "spk_sim_ref": ("pitch", "voice"),
    "spk_sim_ecapa": ("pitch", "voice"),
    "spk_sim_ecapa_ref": ("pitch", "voice"),
    "face_sim": ("face", "blur"),
    "face_sim_no_first": ("face", "blur"),
    "face_sim_ref": ("face", "blur"),
    "lse_d": ("shift",),
    "lse_c": ("shift", "freeze"),
    "wer": ("drop", "noise"),
    "cer": ("drop", "noise"),
    "wer_corpus": ("drop", "noise"),
    "wer_capped": ("drop", "noise"),
    "lip_motion": ("freeze",),
}

Levels = tuple[float | None, ...]


@dataclasses.dataclass(frozen=True)
class Ladder:
    """One scale under one kind of damage: P clips, all measured undamaged (column 0), at K steps, mild to severe.

    Where a clip is neither measured nor lost it could not be made, or was not scored.
    """

    values: NDArray[np.float64]  # (P, K + 1) 0 where not measured
    measured: NDArray[np.bool_]  # (P, K + 1)
    lost: NDArray[np.bool_]  # (P, K + 1) unmeasurable
    speakers: NDArray[np.int32]  # (P,)


class Step(NamedTuple):
    """What one step does. The first one of a curve is undamaged: its change is 0."""

    level: float | None  # in the scale's unit; None where no clip is measured
    change: float | None  # from undamaged
    low: float | None  # of the change's interval; None with fewer than two speakers
    high: float | None
    clips: int  # measured
    speakers: int  # of these
    lost: int  # clips that became unmeasurable
    holds: bool | None  # whether it moves right from the step before; None where there is nothing to judge
    noticed: bool

    @property
    def sure(self) -> bool | None:
        """Whether the scale moves either way beyond noise; None without an interval."""
        return None if self.low is None or self.high is None else self.low > 0 or self.high < 0


class Curve(NamedTuple):
    """One scale under one kind of damage."""

    steps: tuple[Step, ...]  # (K + 1,) the first is undamaged
    speakers: tuple[Levels, ...]  # one line a speaker, (K + 1,) levels each
    share: float | None  # of all moves of a clip from a step to the next, how many are right; no move at all is half
    noticed: int | None  # the step from which on every step is noticed, 1 to K

    @property
    def judged(self) -> int:
        """At how many steps there is something to judge."""
        return sum(step.holds is not None for step in self.steps)

    @property
    def right(self) -> int:
        """How many of these move right."""
        return sum(step.holds is True for step in self.steps)


class Kind(NamedTuple):
    """One kind of damage."""

    name: str
    unit: str  # of the amounts
    amounts: tuple[float, ...]  # (K,) mild to severe


class Audit(NamedTuple):
    """Every scale under every kind of damage."""

    split: str  # name@digest
    note: str
    profile: str
    pairs: int
    speakers: int
    scales: tuple[Scale, ...]
    kinds: tuple[Kind, ...]
    curves: Mapping[tuple[str, str], Curve]  # by scale and kind; every combination is there
    place: Path  # where clips and scores are, and tables and figures belong
    notices: tuple[str, ...]
    limit: int = 0  # pairs that were asked for, where fewer than all
    unmade: Mapping[str, int] = {}  # clips that could not be made and should have been, by reason
    reasons: Mapping[str, Mapping[str, int]] = {}  # why clips have no value at `none`: by scale, how many by reason


def audit(
    split: str,
    out: Path,
    *,
    profile: str | None = None,
    damages: Sequence[str] = (),
    metrics: Sequence[str] = (),
    data: Path | None = None,
    overwrite: Overwrite = "never",
    limit: int | None = None,
    workers: int | None = None,
    report: Report = silent,
) -> Audit:
    """Damages every clip of `split` (a name, a split's folder, or a folder with a MANIFEST.csv) and judges each scale.

    Clips and scores are kept in `out`/NAME/runs: the same call continues. No `damages` are all, no `metrics` all of the
    profile. UsageError: an unknown name, or no matplotlib; SplitError: no clip to damage.
    """
    if limit is not None and limit < 1:
        raise UsageError(f"limit = {limit}; expected 1 or more.")
    check_workers(workers)
    with drawing():
        pass  # what figures need is missed now, not after the work
    kinds = _kinds(damages)
    loaded = _loaded(split, data)
    profile = profile or (PROFILE if loaded is None else loaded.head.profile)
    scales = _scales(profile, metrics)
    target = _copied(Path(split), out, report) if loaded is None else _Target(loaded, data, out / loaded.name, ())
    if not target.split.head.prepare:  # else they are still to be made
        check_media(target.split, target.data)
    names = {(kind.name, amount): _method(kind.name, amount) for kind in kinds for amount in kind.amounts}
    methods, runs = [_method(NONE, 0.0), *names.values()], target.place / "runs"
    made = generate(
        target.split,
        methods,
        runs,
        data=target.data,
        overwrite=overwrite,
        limit=limit,
        workers=workers,
        report=report,
    )
    score(
        runs,
        splits=[target.split.folder],
        methods=methods,
        profile=profile,
        metrics=metrics,
        data=target.data,
        overwrite=overwrite,
        limit=limit,
        workers=workers,
        report=report,
    )
    results = load(runs, target.split.folder, profile=profile, methods=methods, metrics=scales)
    unmade = {(method, pair) for method, pair, _ in made.failures}
    pairs = range(len(results.pairs))[:limit]
    steps = {kind.name: [methods[0], *(names[kind.name, amount] for amount in kind.amounts)] for kind in kinds}
    ladders = {
        (scale.name, kind.name): _ladder(results, pairs, scale.name, steps[kind.name], unmade)
        for scale in results.scales
        for kind in kinds
    }
    ways = {scale.name: 1 if scale.direction == "lower" else -1 for scale in results.scales}
    return Audit(
        split=results.split,
        note=results.note,
        profile=profile,
        pairs=len(pairs),
        speakers=len({int(results.speaker_of[pair]) for pair in pairs}),
        scales=results.scales,
        kinds=tuple(kinds),
        curves={(scale, kind): curve_of(ladder, ways[scale]) for (scale, kind), ladder in ladders.items()},
        place=target.place,
        notices=(*target.notices, *_notices(made, results, limit)),
        limit=len(pairs) if len(pairs) < len(results.pairs) else 0,
        unmade=_unmade(target.split, made),
        reasons={scale.name: _reasons(results, pairs, scale.name, methods[0]) for scale in results.scales},
    )


def curve_of(ladder: Ladder, way: int) -> Curve:
    """What damage does to a scale; `way` is 1 where worse is more, -1 where it is less. All changes are paired."""
    steps = [_step(ladder, way, number) for number in range(ladder.values.shape[1])]
    first = [step for step in range(1, len(steps)) if all(later.noticed for later in steps[step:])]
    return Curve(
        steps=tuple(steps),
        speakers=tuple(_line_of(ladder, speaker) for speaker in np.unique(ladder.speakers)),
        share=_share(ladder, way),
        noticed=min(first, default=None),
    )


def failures(audit: Audit) -> list[str]:
    """A line on each step of a scale's own damage that moves it the wrong way, or not at all."""
    found = []
    for scale, kind, curve in _own(audit):
        for number, step in enumerate(curve.steps):
            if step.holds is False:
                before = _amount(kind, number - 1)
                found.append(
                    f"{scale.name} does not get worse from {kind.name} {before} to {_amount(kind, number)} {kind.unit}: "
                    f"{_level(scale, curve.steps[number - 1])} → {_level(scale, step)}"
                )
    return found


def unjudged(audit: Audit) -> list[str]:
    """A line on each scale and kind of its own damage under which there is nothing to judge, with the reasons."""
    found = []
    for scale, kind, curve in _own(audit):
        if not curve.judged:
            why = Counter(audit.reasons.get(scale.name, {}))
            said = ", ".join(f"{count} × {reason}" for reason, count in why.most_common(COMMONEST))
            if curve.steps[0].clips:
                reason = f"no step can be held against {NONE}, where {curve.steps[0].clips} clips have a value"
            elif said:
                reason = f"{why.total()} of {audit.pairs} clips have no value at {NONE} ({said})"
            else:
                reason = f"no clip has a score at {NONE}"
            found.append(f"{scale.name} under {kind.name}: {reason}")
    return found


def write(audit: Audit, form: str = "svg") -> list[Path]:
    """audit.csv, audit.md and a figure a scale, SCALE.svg (or png, pdf), in the audit's folder.

    Figures of other scales, which an earlier audit left there, are removed.
    """
    sweep(audit.place)
    for name in {metric.name for metric in METRICS.values()} - {scale.name for scale in audit.scales}:
        for left in FIGURES:
            (audit.place / f"{name}.{left}").unlink(missing_ok=True)
    files = {"audit.csv": _csv(audit), "audit.md": markdown(audit)}
    for name, content in files.items():
        with atomic(audit.place / name) as part:
            part.write_bytes(content.encode())
    charts = {audit.place / f"{scale.name}.{form}": _chart(audit, scale) for scale in audit.scales}
    for path, chart in charts.items():
        draw(chart, path)
    return [*(audit.place / name for name in files), *charts]


# What is audited -------------------------------------------------------------------------------------------------


class _Target(NamedTuple):
    """A split, and where things lie."""

    split: Split
    data: Path | None
    place: Path
    notices: tuple[str, ...]


def _kinds(damages: Sequence[str]) -> list[Kind]:
    """All kinds of damage, or the named ones, in the order of DAMAGES."""
    known = {name: damage for name, damage in DAMAGES.items() if name != NONE}
    for name in damages:
        if name not in known:
            raise unknown("damage", name, known)
    return [
        Kind(name, damage.unit, tuple(damage.steps)) for name, damage in known.items() if not damages or name in damages
    ]


def _method(kind: str, amount: float) -> str:
    """The folder name of the control that does this damage."""
    return resolve(f"damaged@kind={kind},amount={amount:g}").name


def _loaded(split: str, data: Path | None) -> Split | None:
    """The split; None for a folder of clips, which is to become one."""
    folder = Path(split)
    if (folder / MANIFEST).is_file() and not (folder / "split.toml").is_file():
        if data is not None:
            raise UsageError(f"--data {data}: the media of {split} are those that its {MANIFEST} names. Leave it out.")
        return None
    if folder.is_dir() and not (folder / "split.toml").is_file() and split not in known_splits():
        raise SplitError(
            f"{split}: neither split.toml nor {MANIFEST} is in this folder; expected a split, or a table of its clips "
            "with the columns path, kind and person_id."
        )
    return load_split(split)


def _copied(folder: Path, out: Path, report: Report) -> _Target:
    clips = clips_split(folder, out, report)
    return _Target(clips.split, clips.data, clips.place, clips.notes)


def _scales(profile: str, metrics: Sequence[str]) -> list[str]:
    """The names of the scales that these metrics write. UsageError: an unknown one, or no metric of this profile."""
    ours = [name for name in metrics if ":" not in name]
    known = select(profile, ours) if ours or not metrics else []
    return [*(metric.name for metric in known), *_theirs(profile, metrics)]


def _theirs(profile: str, metrics: Sequence[str]) -> Iterator[str]:
    """The names of somebody's own metrics."""
    for text in dict.fromkeys(name for name in metrics if ":" in name):
        metric = imported("metric", text)
        if not isinstance(metric, Metric):
            raise UsageError(f"metric {text}: found {type(metric).__name__}; expected an avbench.Metric.")
        if metric.profile != profile:
            raise UsageError(f"metric {text}: of profile {metric.profile}; expected {profile}. Give its --profile.")
        if f"{profile}/{metric.name}" in METRICS:
            raise UsageError(
                f"metric {text}: there is another {profile}/{metric.name} already; give yours a name of its own."
            )
        yield metric.name


def _ladder(
    results: Results, pairs: range, scale: str, methods: Sequence[str], unmade: Collection[tuple[str, str]]
) -> Ladder:
    """The scores of these methods, the first of them undamaged, on those of the pairs that are measured there."""
    shape = (len(results.pairs), len(methods))
    values, measured, lost = np.zeros(shape), np.zeros(shape, np.bool_), np.zeros(shape, np.bool_)
    for column, method in enumerate(methods):
        scores = results.scores[method, scale]
        values[scores.measured, column] = scores.values
        measured[scores.measured, column] = True
        lost[[pair for pair in scores.failed if (method, results.pairs[pair]) not in unmade], column] = True
    at = np.flatnonzero(measured[: len(pairs), 0])
    return Ladder(values[at], measured[at], lost[at], results.speaker_of[at])


def _reasons(results: Results, pairs: range, scale: str, method: str) -> Counter[str]:
    """Why clips have no value with this method: how many by reason, without the file."""
    scores = results.scores[method, scale]
    return Counter(
        _without_file(reason) for pair, reason in zip(scores.failed, scores.reasons, strict=True) if pair in pairs
    )


def _unmade(split: Split, made: Generated) -> Counter[str]:
    """Clips that could not be made, by reason. That no words can be dropped where a pair has none is no fault."""
    wordless = {pair.id for pair in split.pairs if not pair.transcript.strip()}
    drops = {_method(DROP, amount) for amount in DAMAGES[DROP].steps}
    return Counter(
        _without_file(reason) for method, pair, reason in made.failures if not (method in drops and pair in wordless)
    )


def _without_file(reason: str) -> str:
    return reason.partition(": ")[2] or reason


def _notices(made: Generated, results: Results, limit: int | None) -> Iterator[str]:
    reasons = Counter(_without_file(reason) for _, _, reason in made.failures)
    for reason, count in sorted(reasons.items()):
        clips = "clip was" if count == 1 else "clips were"
        yield f"{count} damaged {clips} not made and left out: {reason}"
    if limit is None:  # else most pairs have no scores, as was asked for
        yield from results.notices


# Arithmetic ------------------------------------------------------------------------------------------------------


def _step(ladder: Ladder, way: int, number: int) -> Step:
    """What the step does, against undamaged and against the step before."""
    base = _speaker_means(ladder.values[:, 0], ladder.speakers)
    together = ladder.measured[:, number]
    changes = _speaker_means((ladder.values[:, number] - ladder.values[:, 0])[together], ladder.speakers[together])
    lost = int(ladder.lost[:, number].sum())
    interval = mean_interval(changes) if number and len(changes) > 1 else None
    worse = interval is not None and (interval[0] > 0 if way > 0 else interval[1] < 0)
    change = _mean(changes) if len(changes) else None
    return Step(
        level=None if change is None else _mean(base) + change,
        change=change,
        low=None if interval is None else interval[0],
        high=None if interval is None else interval[1],
        clips=int(together.sum()),
        speakers=len(changes),
        lost=lost,
        holds=_holds(ladder, way, number) if number else None,
        noticed=bool(number) and (worse or lost > int(together.sum())),
    )


def _holds(ladder: Ladder, way: int, number: int) -> bool | None:
    """Whether the step is worse than the one before."""
    before, now = ladder.measured[:, number - 1], ladder.measured[:, number]
    both = before & now
    fallen = int((before & ladder.lost[:, number]).sum())
    risen = int((ladder.lost[:, number - 1] & now).sum())
    changes = way * (ladder.values[:, number] - ladder.values[:, number - 1])[both]
    if fallen or risen:
        return int((changes > 0).sum()) + fallen > int((changes < 0).sum()) + risen
    if not len(changes):
        return None
    return _mean(_speaker_means(changes, ladder.speakers[both])) > 0


def _share(ladder: Ladder, way: int) -> float | None:
    """Of all moves of a clip from one step to the next, the share towards worse."""
    before, now = ladder.measured[:, :-1], ladder.measured[:, 1:]
    changes = way * np.diff(ladder.values, axis=1)[before & now]
    fallen = int((before & ladder.lost[:, 1:]).sum())
    risen = int((ladder.lost[:, :-1] & now).sum())
    moves = len(changes) + fallen + risen
    right = int((changes > 0).sum()) + fallen + int((changes == 0).sum()) / 2
    return right / moves if moves else None


def _line_of(ladder: Ladder, speaker: int) -> Levels:
    """The levels of one speaker, as those of all."""
    rows = ladder.speakers == speaker
    values, measured = ladder.values[rows], ladder.measured[rows]
    base = float(values[:, 0].mean())
    changes = values - values[:, :1]
    return tuple(
        base + float(changes[measured[:, number], number].mean()) if measured[:, number].any() else None
        for number in range(values.shape[1])
    )


def _speaker_means(values: NDArray[np.float64], speakers: NDArray[np.int32]) -> NDArray[np.float64]:
    """(G,) one mean for each speaker who is there."""
    there, of = np.unique(speakers, return_inverse=True)
    means: NDArray[np.float64] = np.bincount(of, weights=values, minlength=len(there)) / np.maximum(
        np.bincount(of, minlength=len(there)), 1
    )
    return means


def _mean(values: NDArray[np.float64]) -> float:
    return math.fsum(values) / len(values)


def _own(audit: Audit) -> Iterator[tuple[Scale, Kind, Curve]]:
    """Every scale with each kind of its own damage that was done."""
    for scale in audit.scales:
        for kind in _kinds_of(audit, scale):
            if kind.name in OWN.get(scale.name, ()):
                yield scale, kind, audit.curves[scale.name, kind.name]


def _kinds_of(audit: Audit, scale: Scale) -> list[Kind]:
    """The kinds of damage, a scale's own first and in their order."""
    own = OWN.get(scale.name, ())
    return sorted(audit.kinds, key=lambda kind: own.index(kind.name) if kind.name in own else len(own))


def _unit_of_effect(audit: Audit, scale: Scale) -> float:
    """The largest change at a severest step of own damage that was done; for a scale without any, of all damage."""
    own = OWN.get(scale.name, ())
    sizes = [0.0]
    for kind in audit.kinds:
        if not own or kind.name in own:
            changes = [step.change for step in audit.curves[scale.name, kind.name].steps[1:] if step.change is not None]
            sizes += [abs(change) for change in changes[-1:]]
    return max(sizes)


# Tables ----------------------------------------------------------------------------------------------------------


class _Sheet(NamedTuple):
    """One table, ready for any layout."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    names: int  # so many columns from the left are words, the others numbers
    legend: str


def text(audit: Audit) -> str:
    """For a terminal: both ladders and what fails, in aligned columns."""
    lines = wrapped(_caption(audit), PAGE)
    for sheet in _sheets(audit):
        widths = [max(map(width, cells)) for cells in zip(sheet.columns, *sheet.rows, strict=True)]
        rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
        rows = [
            "  ".join(
                pad(cell, columns, right=number >= sheet.names)
                for number, (cell, columns) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in (sheet.columns, *sheet.rows)
        ]
        lines += ["", sheet.heading, rule, rows[0], rule, *rows[1:], rule, *wrapped(sheet.legend, PAGE)]
    return "\n".join([*lines, "", *_verdict(audit)]) + "\n"


def markdown(audit: Audit) -> str:
    """The same for a file that is read in a browser."""
    lines = ["# Scales against graded damage", "", escape(_caption(audit))]
    for sheet in _sheets(audit):
        rule = tuple("---" if number < sheet.names else "---:" for number in range(len(sheet.columns)))
        rows = [tuple(map(escape, sheet.columns)), rule, *(tuple(map(escape, row)) for row in sheet.rows)]
        lines += ["", f"## {escape(sheet.heading)}", "", *(f"| {' | '.join(row)} |" for row in rows)]
        lines += ["", escape(sheet.legend)]
    lines += ["", "## Verdict", "", *(f"- {escape(line)}" for line in _verdict(audit))]
    lines += ["", "## Signatures", "", "```text", *_signatures(audit), "```"]
    return "\n".join(lines) + "\n"


def _caption(audit: Audit) -> str:
    words = [
        f"Every scale of profile {audit.profile} against graded damage.",
        f"Split {audit.split}: {_size(audit)}.",
        f"Tested: {_ranges(audit)}; nothing is claimed of other amounts.",
        audit.note,
    ]
    return " ".join(filter(None, words))


def _size(audit: Audit) -> str:
    pairs, speakers = audit.pairs, audit.speakers
    limited = ", limited to the first ones" if audit.limit else ""
    return f"{pairs} pair{'s' * (pairs != 1)}, {speakers} speaker{'s' * (speakers != 1)}{limited}"


def _ranges(audit: Audit) -> str:
    """From which amount of each kind to which."""
    return ", ".join(f"{kind.name} {_amount(kind, 1)} to {_amount(kind, -1)} {kind.unit}" for kind in audit.kinds)


def _verdict(audit: Audit) -> list[str]:
    wrong, curves = failures(audit), [curve for _, _, curve in _own(audit)]
    judged = sum(curve.judged for curve in curves)
    lines = []
    if not curves:
        lines.append("No scale was under damage of its own.")
    elif wrong:
        lines.append(f"{len(wrong)} of {judged} steps of own damage do not make a scale worse:")
        lines += [f"  {line}" for line in wrong]
    elif judged:
        lines.append(f"At each of {judged} steps of own damage its scale gets worse.")
    lines += [f"not judged: {line}" for line in unjudged(audit)]
    return [*lines, *(f"{count} × could not be made: {reason}" for reason, count in audit.unmade.items())]


def _signatures(audit: Audit) -> list[str]:
    """One line a scale: what its numbers stand on, and on how many clips."""
    limit = f"|limit:{audit.limit}" if audit.limit else ""
    head = f"avbench|v:{package_version()}|split:{audit.split}{limit}|profile:{audit.profile}"
    clips = {name: curve.steps[0].clips for (name, _), curve in audit.curves.items()}
    return [f"{head}|scale:{scale.name}|rev:{scale.revision}|n:{clips[scale.name]}" for scale in audit.scales]


def _sheets(audit: Audit) -> list[_Sheet]:
    own = _ladder_sheet(audit)
    cross = [
        _cross_talk(audit, "Cross-talk at the severest step", -1),
        _cross_talk(audit, "Cross-talk at the mildest step", 1),
    ]
    return [*([own] if own.rows else []), *cross]


def _ladder_sheet(audit: Audit) -> _Sheet:
    """One row for each scale and kind of its own damage."""
    longest = max((len(kind.amounts) for _, kind, _ in _own(audit)), default=0)
    rows = []
    for scale, kind, curve in _own(audit):
        cells = [
            f"{_amount(kind, number)}: {_level(scale, step)}" for number, step in enumerate(curve.steps[1:], start=1)
        ]
        rows.append(
            (
                scale.name,
                f"{kind.name}, {kind.unit}",
                str(curve.steps[0].clips),
                _level(scale, curve.steps[0]),
                *cells,
                *[""] * (longest - len(cells)),
                f"{curve.right}/{curve.judged}",
                "–" if curve.share is None else f"{100 * curve.share:.0f}%",
                "–" if curve.noticed is None else _amount(kind, curve.noticed),
            )
        )
    return _Sheet(
        heading="Own damage, mild to severe",
        columns=(
            "scale",
            "damage",
            "clips",
            NONE,
            *(f"step {number}" for number in range(1, longest + 1)),
            "steps",
            "moves",
            "notices",
        ),
        rows=tuple(rows),
        names=2,
        legend="Each step is amount: level, the mean over speakers. !n: n clips became unmeasurable, which is worse than any level. "
        "steps: how many move towards worse; moves: how many moves of single clips do; notices: the amount from which on "
        "every step differs from none beyond its 95 % interval over speakers.",
    )


def _cross_talk(audit: Audit, heading: str, at: int) -> _Sheet:
    """One row a scale, one column a kind; `at` is the step."""
    amounts = ["at", *(_amount(kind, at) for kind in audit.kinds)]
    units = ", ".join(f"{kind.name} {kind.unit}" for kind in audit.kinds)
    rows = [
        (
            scale.name,
            *(_effect(audit, scale, kind, audit.curves[scale.name, kind.name].steps[at]) for kind in audit.kinds),
        )
        for scale in audit.scales
    ]
    return _Sheet(
        heading=heading,
        columns=("scale", *(kind.name for kind in audit.kinds)),
        rows=(tuple(amounts), *rows),
        names=1,
        legend="Change from none towards worse, as per cent of the scale's largest change at a severest step of its own damage "
        "(*). ~: not told from none, its 95 % interval over speakers holds 0. ?: no interval, fewer than two speakers. "
        f"!n: n clips became unmeasurable. Units: {units}.",
    )


def _effect(audit: Audit, scale: Scale, kind: Kind, step: Step) -> str:
    unit = _unit_of_effect(audit, scale)
    lost = f" !{step.lost}" if step.lost else ""
    if step.change is None or not unit:
        return f"–{lost}"
    number = f"{100 * (1 if scale.direction == 'lower' else -1) * step.change / unit:.0f}"
    own = "*" if kind.name in OWN.get(scale.name, ()) else ""
    sign = "?" if step.sure is None else "" if step.sure else "~"
    return f"{sign}{'0' if number == '-0' else number}{own}{lost}"


def _amount(kind: Kind, step: int) -> str:
    """`none` where step is 0; -1 is the severest."""
    return f"{kind.amounts[step - 1 if step > 0 else step]:g}" if step else NONE


def _level(scale: Scale, step: Step) -> str:
    lost = f" !{step.lost}" if step.lost else ""
    return f"{'–' if step.level is None else f'{step.level:.{scale.digits}f}'}{lost}"


def _csv(audit: Audit) -> str:
    """Everything, one row for each scale, kind and step; an empty field where there is no number."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    head = ("split", "limit", "profile", "scale", "revision", "damage", "unit", "own", "step", "amount")
    writer.writerow((*head, *Step._fields, "share", "noticed_from"))
    for scale in audit.scales:
        for kind in _kinds_of(audit, scale):
            curve = audit.curves[scale.name, kind.name]
            for number, step in enumerate(curve.steps):
                asked = [audit.split, audit.limit or None, audit.profile, scale.name, scale.revision]
                damage = [kind.name, kind.unit, kind.name in OWN.get(scale.name, ()), number]
                amount = kind.amounts[number - 1] if number else None
                cells = [*asked, *damage, amount, *step, curve.share, curve.noticed]
                writer.writerow(
                    ["" if cell is None else str(cell).lower() if isinstance(cell, bool) else cell for cell in cells]
                )
    return out.getvalue()


# Figures ---------------------------------------------------------------------------------------------------------


def _chart(audit: Audit, scale: Scale) -> Chart:
    arrow = {"higher": ", higher is better", "lower": ", lower is better", "none": ""}[scale.direction]
    return Chart(
        title=f"{scale.name} under damage",
        axis=f"{scale.label}, {scale.unit}{arrow}",
        panels=tuple(_panel(audit, scale, kind) for kind in _kinds_of(audit, scale)),
        note=f"{audit.split}: {_size(audit)}. Thick: mean over speakers, with the 95 % interval of its "
        "change from none; filled dots: beyond noise; crosses: no interval; dotted: none; thin: one speaker "
        "each; n×: n clips unmeasurable.",
    )


def _panel(audit: Audit, scale: Scale, kind: Kind) -> Panel:
    curve = audit.curves[scale.name, kind.name]
    base = curve.steps[0].level
    return Panel(
        title=kind.name,
        unit=kind.unit,
        own=kind.name in OWN.get(scale.name, ()),
        ticks=(NONE, *(_amount(kind, step) for step in range(1, len(curve.steps)))),
        mean=tuple(step.level for step in curve.steps),
        low=tuple(None if base is None or step.low is None else base + step.low for step in curve.steps),
        high=tuple(None if base is None or step.high is None else base + step.high for step in curve.steps),
        sure=(False, *(step.sure for step in curve.steps[1:])),
        lost=tuple(step.lost for step in curve.steps),
        speakers=curve.speakers,
    )
