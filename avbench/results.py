"""Which numbers may stand in one table? Score files of many runs, joined over pairs × methods × scales, or refused.

Conventions
- A score counts where its split digest is the split's, its profile the one asked for and its revision the one
  that the run's own scales.json names. The last such row of a pair wins. Other rows are stale and passed over;
  where a run has nothing else to offer on a scale, the table is refused: `Incomparable` names the field.
- Methods of one table agree in split digest, profile, revision, unit, direction and aggregate of every scale,
  and in the digests of the media that a pair's clips are held against.
- A pair is measured, failed (a clip defeated a metric: it has a reason) or missing (no row). No failure is a number.
- Nothing but the run folders and the split's two files is read: no clips, no media, no networks.
"""

from __future__ import annotations

import dataclasses
import math
import re
import shlex
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import Incomparable, Incomplete, SplitError, UsageError, unknown
from .home import package_version
from .metric import PROFILES, UNTRAINED, Scale
from .run import Kind, Run, RunInfo, find_runs, read_run, read_scales, scan_scores
from .split import Split, load_split

__all__ = ["Entry", "Results", "Scores", "SpeakerMeans", "aggregate", "clean", "load", "signature", "speaker_means"]

STEERING = ("Cc", "Cf", "Cs")  # control, format (direction overrides) and half characters
JOINERS = "\u200c\u200d"  # invisible, and part of how some scripts and emoji are written
AGREE = ("unit", "direction", "aggregate")  # of a scale, over the methods of a table, beside its revision


class Entry(NamedTuple):
    """One method of a table."""

    method: str  # the folder's name
    label: str
    kind: Kind
    untrained: bool  # the generator, not the metrics
    limited: int  # pairs that were asked for, where fewer than all; 0 = all

    @property
    def competes(self) -> bool:
        """Whether it can be the best of a column."""
        return self.kind != "control" and not self.untrained and not self.limited


@dataclasses.dataclass(frozen=True)
class Scores:
    """One method on one scale. Pairs are places in `Results.pairs`, ascending; those in neither array are missing."""

    measured: NDArray[np.int32]  # (K,) pairs
    values: NDArray[np.float64]  # (K,) in the scale's unit
    weights: NDArray[np.float64]  # (K,) what each counts: 1, or its words where the scale is of a corpus
    failed: NDArray[np.int32]  # (F,) pairs
    reasons: tuple[str, ...]  # (F,)

    @property
    def rows(self) -> int:
        """How many pairs have a row: measured and failed."""
        return len(self.measured) + len(self.failed)


@dataclasses.dataclass(frozen=True)
class Results:
    """What the runs of one split say on one profile: methods in table order, scales in column order."""

    split: str  # name@digest
    title: str
    note: str  # printed under every table
    ranks: bool  # whether anything may be called best
    profile: str
    pairs: tuple[str, ...]  # (P,) in the split's order
    speakers: tuple[str, ...]  # (S,) in order of appearance
    speaker_of: NDArray[np.int32]  # (P,) places in `speakers`
    methods: tuple[Entry, ...]
    scales: tuple[Scale, ...]
    scores: Mapping[tuple[str, str], Scores]  # by method and scale; every combination is there
    notices: tuple[str, ...]  # what a reader should know and no cell says


class SpeakerMeans(NamedTuple):
    """The unit of independence: one mean a speaker with at least one measured clip, places ascending."""

    speakers: NDArray[np.int32]  # (G,) places in `Results.speakers`
    means: NDArray[np.float64]  # (G,)
    clips: NDArray[np.int32]  # (G,) measured clips of each


def load(
    runs: Path,
    split: str,
    *,
    profile: str | None = None,
    methods: Sequence[str] | None = None,
    metrics: Sequence[str] | None = None,
) -> Results:
    """Joins the scores of every RUNS/METHOD/`split`, on the split's profile unless another is given.

    `methods` are folder names, `metrics` names of scales. UsageError: an unknown name. Incomparable: scores that
    do not belong in one table. Incomplete: nothing to show.
    """
    known, place = _known(runs, split)
    sources, notices = _sources(place, methods)
    if known is None:
        label = _only_digest(sources, place)
        notices.append(f"split {place.split!r} is not known here: pairs without any score are not counted as missing.")
    else:
        label = known.label
    profile = _profile(sources, known, profile, place)
    scales = _scales(sources, label, profile, metrics, place)
    if known is None:
        pairs, speakers = _pairs_of_rows(sources, label, profile)
    else:
        pairs, speakers = [pair.id for pair in known.pairs], [pair.speaker for pair in known.pairs]
    scores = {
        (source.entry.method, scale.name): _scores(source, label, scale, pairs)
        for source in sources
        for scale in scales
    }
    notices += _stale(sources, label, profile, scales, place)
    notices += _missing(sources, scales, scores, len(pairs), place)
    names = list(dict.fromkeys(speakers))
    places = {name: number for number, name in enumerate(names)}
    return Results(
        split=label,
        title=known.head.title if known is not None else place.split,
        note=known.head.note if known is not None else "",
        ranks=known is not None and known.head.ranks,
        profile=profile,
        pairs=tuple(pairs),
        speakers=tuple(names),
        speaker_of=np.array([places[name] for name in speakers], dtype=np.int32),
        methods=tuple(source.entry for source in sources),
        scales=tuple(scales),
        scores=scores,
        notices=tuple(notices),
    )


def aggregate(scale: Scale, scores: Scores) -> float:
    """The scale's number for one method: the mean over measured clips, or over their words (of exact sums).

    ValueError where there is none.
    """
    if not len(scores.values):
        raise ValueError(f"{scale.name}: no measured clip to take the {scale.aggregate} of")
    return math.fsum(scores.values * scores.weights) / math.fsum(scores.weights)


def speaker_means(results: Results, scores: Scores) -> SpeakerMeans:
    """Means over the measured clips of each speaker, clips weighing as in the scale's own number."""
    of, count = results.speaker_of[scores.measured], len(results.speakers)
    clips = np.bincount(of, minlength=count)
    sums = np.bincount(of, weights=scores.values * scores.weights, minlength=count)
    weights = np.bincount(of, weights=scores.weights, minlength=count)
    heard = np.flatnonzero(clips)
    return SpeakerMeans(heard.astype(np.int32), sums[heard] / weights[heard], clips[heard].astype(np.int32))


def signature(results: Results, scale: Scale) -> str:
    """How the numbers of a scale were made; numbers with different signatures do not compare."""
    fields = {
        "v": package_version(),
        "split": results.split,
        "profile": results.profile,
        "scale": scale.name,
        "agg": scale.aggregate,
        "n": len(results.pairs),
        "rev": scale.revision,
    }
    return clean("|".join(["avbench", *(f"{name}:{value}" for name, value in fields.items())]))


def clean(text: str) -> str:
    """One line without characters that could steer a terminal or a typesetter; those become U+FFFD."""
    visible = (
        "\ufffd" if unicodedata.category(char) in STEERING and char not in JOINERS and not char.isspace() else char
        for char in text
    )
    return " ".join("".join(visible).split())


# What the folders hold -------------------------------------------------------------------------------------------


class _Place(NamedTuple):
    """Where the scores were looked for, to say what would help."""

    runs: Path
    split: str
    unknown: UsageError | None  # why the split could not be loaded

    def command(self, verb: str, *options: str) -> str:
        """A command line in backquotes."""
        words = ["avbench", verb]
        words += [str(self.runs)] if verb == "score" else ["--runs", str(self.runs)]
        return f"`{shlex.join([*words, '--split', self.split, *options])}`"


class _Detail(msgspec.Struct, gc=False):
    """What a table needs of a row's detail; somebody else's metric may mean something else by the word."""

    words: Any = None


class _Row(msgspec.Struct, gc=False):
    """What a table needs of a score row."""

    split: str
    pair: str
    speaker: str
    target_sha256: str
    reference_sha256: str
    profile: str
    scale: str
    revision: str
    value: float | None = None
    failure: str | None = None
    detail: _Detail | None = None

    def __post_init__(self) -> None:
        if (self.value is None) == (self.failure is None):
            raise ValueError("a row has a value or a failure, one of them")


class _Group(NamedTuple):
    """Scores that belong together."""

    split: str
    profile: str
    scale: str
    revision: str


class _Outcome(msgspec.Struct, gc=False):
    """The last word on one pair."""

    speaker: str
    media: tuple[str, str]  # sha256 of the target, and of the references
    value: float | None
    failure: str | None
    words: Any


class _Source(NamedTuple):
    """One run folder."""

    run: Run
    entry: Entry
    scales: dict[str, Scale]  # scales.json
    groups: dict[_Group, dict[str, _Outcome]]  # all of scores*.jsonl, by pair


def _known(runs: Path, split: str) -> tuple[Split | None, _Place]:
    """The split, where this machine has it; where not, score files say what they can."""
    try:
        known = load_split(split)
    except SplitError:
        raise
    except UsageError as error:
        return None, _Place(runs, Path(split).name, error)
    return known, _Place(runs, known.name, None)


def _sources(place: _Place, methods: Sequence[str] | None) -> tuple[list[_Source], list[str]]:
    """The runs of the table in its order, and a line on each one that is left out. Incomplete where none is left."""
    if not place.runs.exists():
        raise place.unknown or Incomplete(
            f"{place.runs}: no such folder, so no scores. {place.command('generate')} makes clips, "
            f"{place.command('score')} scores them."
        )
    found = [(run, read_run(run.folder)) for run in find_runs(place.runs) if run.split == place.split]
    if not found:
        raise place.unknown or Incomplete(
            f"{place.runs}: no run of split {place.split!r}. {place.command('generate')} makes one, "
            f"{place.command('score')} scores it."
        )
    for name in methods or ():
        if name not in {run.method for run, _ in found}:
            raise unknown(f"method below {place.runs}", name, [run.method for run, _ in found])
    sources, notices = [], []
    strings: dict[str, str] = {}
    for run, info in sorted(found, key=lambda one: (one[1].kind == "control", one[1].order, _natural(one[0].method))):
        if methods and run.method not in methods:
            continue
        source = _Source(run, _entry(run, info), read_scales(run.folder), _groups(run.folder, strings))
        reason = "" if methods else _left_out(source, place)
        if reason:
            notices.append(f"{run.method} is left out: {reason}")
        else:
            sources.append(source)
    if not any(source.groups for source in sources):
        raise place.unknown or Incomplete(
            f"{place.runs}: no scores of split {place.split!r} to show. {place.command('score')} makes them."
            + "".join(f"\n  {notice}" for notice in notices)
        )
    return sources, notices


def _entry(run: Run, info: RunInfo) -> Entry:
    limits = [limit for limit in (info.limited, info.limited_scores) if limit]
    return Entry(run.method, info.label, info.kind, info.untrained, min(limits, default=0))


def _left_out(source: _Source, place: _Place) -> str:
    """Why a run is not shown unasked; empty where it is shown."""
    if source.entry.untrained:
        return "the model is untrained. Name the method to see it."
    if source.entry.limited:
        return f"it was limited to {source.entry.limited} pairs. Name the method to see it, or run it without --limit."
    if not source.groups:
        return f"it has no scores. {place.command('score', '--method', source.run.method)} makes them."
    return ""


def _natural(name: str) -> tuple[list[tuple[str, int]], str]:
    """shifted@frames=8 before shifted@frames=12."""
    return [(text, int(digits or 0)) for text, digits in re.findall(r"([^0-9]*)([0-9]*)", name)], name


def _groups(folder: Path, strings: dict[str, str]) -> dict[_Group, dict[str, _Outcome]]:
    """All rows of a run; `strings` keeps one copy of what rows of all runs repeat."""
    groups: dict[_Group, dict[str, _Outcome]] = {}
    media: dict[tuple[str, str], tuple[str, str]] = {}
    keep = strings.setdefault
    for _, _, row in scan_scores(folder, _Row):
        of = _Group(row.split, row.profile, row.scale, row.revision)
        digests = (row.target_sha256, row.reference_sha256)
        groups.setdefault(of, {})[keep(row.pair, row.pair)] = _Outcome(
            keep(row.speaker, row.speaker),
            media.setdefault(digests, digests),
            row.value,
            None if row.failure is None else keep(row.failure, row.failure),
            None if row.detail is None else row.detail.words,
        )
    return groups


# What may stand together -----------------------------------------------------------------------------------------


def _only_digest(sources: Sequence[_Source], place: _Place) -> str:
    """name@digest of a split that is not known here: all rows must agree on it."""
    values = {source.run.method: sorted({group.split for group in source.groups}) for source in sources}
    labels = {label for labels in values.values() for label in labels}
    if len(labels) > 1:
        raise _incomparable("split digest", values, place.command("score"))
    return labels.pop()


def _profile(sources: Sequence[_Source], known: Split | None, profile: str | None, place: _Place) -> str:
    """The profile of the table, which every run with scores has scores on."""
    values = {source.run.method: sorted({group.profile for group in source.groups}) for source in sources}
    there = sorted({name for names in values.values() for name in names})
    if profile is None:
        if known is None:
            raise UsageError(
                f"split {place.split!r} is not known here, nor is its profile; give --profile. "
                f"There are scores on {', '.join(there)}."
            )
        profile = known.head.profile
    if profile not in there:
        if profile not in PROFILES:
            raise unknown("profile", profile, sorted({*PROFILES, *there}))
        raise Incomplete(
            f"{place.runs}: no scores of split {place.split!r} on profile {profile!r}; there are scores on "
            f"{', '.join(there)}. {place.command('score', '--profile', profile)} makes them."
        )
    if any(names and profile not in names for names in values.values()):
        ours = {method: [profile] if profile in names else names for method, names in values.items()}
        raise _incomparable("profile", ours, place.command("score", "--profile", profile))
    return profile


def _scales(
    sources: Sequence[_Source], label: str, profile: str, metrics: Sequence[str] | None, place: _Place
) -> list[Scale]:
    """The columns: every scale that some method has scores on, once its methods are found to agree."""
    scored = {group.scale for source in sources for group in source.groups if group.profile == profile}
    described = {scale.name for source in sources for scale in source.scales.values() if scale.profile == profile}
    for name in metrics or ():
        if name not in scored | described:
            raise unknown(f"metric in the {profile} scores below {place.runs}", name, sorted(scored | described))
    wanted = scored if not metrics else set(metrics)
    if not wanted & scored:
        asked = [word for name in metrics or () for word in ("--metric", name)]
        raise Incomplete(
            f"{place.runs}: no scores of {', '.join(metrics or ())}. {place.command('score', *asked)} makes them."
        )
    found = [_agreed(sources, _Group(label, profile, name, ""), place) for name in sorted(wanted)]
    return sorted(found, key=lambda scale: (scale.order, scale.name))


def _agreed(sources: Sequence[_Source], of: _Group, place: _Place) -> Scale:
    """The scale as all methods with rows on it have it. `of` has no revision yet."""
    again = place.command("score", "--profile", of.profile, "--metric", of.scale)
    groups = {source.run.method: [group for group in source.groups if group[1:3] == of[1:3]] for source in sources}
    scored = [source for source in sources if groups[source.run.method]]
    scales = {source.run.method: _described(source, of, place) for source in scored}
    digests = {method: sorted({group.split for group in groups[method]}) for method in scales}
    if any(of.split not in labels for labels in digests.values()):
        here = {"the split as it is here": [of.split]} if place.unknown is None else {}
        found = {method: [of.split] if of.split in labels else labels for method, labels in digests.items()}
        raise _incomparable("split digest", {**here, **found}, again)
    revisions = {method: scale.revision for method, scale in scales.items()}
    scored_as = {
        method: sorted({group.revision for group in groups[method] if group.split == of.split}) for method in scales
    }
    stale = [method for method, revision in revisions.items() if revision not in scored_as[method]]
    if stale or len(set(revisions.values())) > 1:
        found = {method: scored_as[method] if method in stale else [revisions[method]] for method in scales}
        here = {f"scales.json of {method}": [revisions[method]] for method in stale}
        raise _incomparable(f"revision of {of.scale}", {**found, **here}, again)
    for field in AGREE:
        values = {method: [str(getattr(scale, field))] for method, scale in scales.items()}
        if len({value for names in values.values() for value in names}) > 1:
            raise _incomparable(f"{field} of {of.scale}", values, again)
    if not scored:  # asked for by name: a column of gaps
        return next(scale for source in sources for scale in source.scales.values() if scale.key == _key(of))
    scale = scales[scored[0].run.method]
    if UNTRAINED in scale.revision:
        raise Incomparable(
            f"{of.scale} of {', '.join(scales)}: revision {scale.revision!r} comes from a network without trained weights; "
            "its numbers say nothing and no table takes them. `avbench weights ls` says where the weights are had; "
            f"then {again}."
        )
    _check_media(sources, of._replace(revision=scale.revision), again)
    return scale


def _key(of: _Group) -> str:
    return f"{of.profile}/{of.scale}"


def _described(source: _Source, of: _Group, place: _Place) -> Scale:
    """How a run's own scales.json describes a scale that it has rows of."""
    if _key(of) not in source.scales:
        raise UsageError(
            f"{source.run.folder / 'scales.json'}: nothing on {_key(of)}, of which the score files beside it have rows. "
            f"Bring the scales.json that belongs to them, or {place.command('score', '--method', source.run.method)}."
        )
    return source.scales[_key(of)]


def _check_media(sources: Sequence[_Source], of: _Group, again: str) -> None:
    """Clips of one pair must have been held against the same target and references."""
    first: dict[str, tuple[str, tuple[str, str]]] = {}
    for source in sources:
        for pair, outcome in source.groups.get(of, {}).items():
            if outcome.value is None:
                continue  # a failure may be that a medium was not there
            method, media = first.setdefault(pair, (source.run.method, outcome.media))
            if media != outcome.media:
                at = 0 if media[0] != outcome.media[0] else 1
                field = ("target_sha256", "reference_sha256")[at]
                values = {method: [media[at]], source.run.method: [outcome.media[at]]}
                raise _incomparable(f"{field} of pair {pair} on {of.scale}", values, again)


def _incomparable(field: str, values: Mapping[str, Iterable[str]], again: str) -> Incomparable:
    """Names the field, every value and who has it. `again` is the command that brings them together."""
    who: dict[str, list[str]] = {}
    for name, found in values.items():
        for value in found:
            who.setdefault(value, []).append(name)
    said = "; ".join(f"{value!r} ({', '.join(names)})" for value, names in who.items())
    return Incomparable(
        f"{field} differs: {said}. Such scores do not belong in one table. {again} brings them together, "
        "or give --method for those that agree."
    )


# Arrays ----------------------------------------------------------------------------------------------------------


def _pairs_of_rows(sources: Sequence[_Source], label: str, profile: str) -> tuple[list[str], list[str]]:
    """Pairs and their speakers as far as score rows tell."""
    found = {
        pair: outcome.speaker
        for source in sources
        for group, outcomes in source.groups.items()
        if (group.split, group.profile) == (label, profile)
        for pair, outcome in outcomes.items()
    }
    pairs = sorted(found)
    return pairs, [found[pair] for pair in pairs]


def _scores(source: _Source, label: str, scale: Scale, pairs: Sequence[str]) -> Scores:
    of = _Group(label, scale.profile, scale.name, scale.revision)
    outcomes = source.groups.get(of, {})
    stranger = outcomes.keys() - set(pairs)
    if stranger:
        raise UsageError(
            f"{source.run.folder}: a row of {of.scale} is on pair {min(stranger)!r}, which {of.split} does not have. "
            "Remove that row and score again."
        )
    found = [(number, outcomes[pair]) for number, pair in enumerate(pairs) if pair in outcomes]
    measured = [(number, outcome.value) for number, outcome in found if outcome.value is not None]
    weights = [
        1.0 if scale.aggregate == "mean" else _words(source, of, pairs[number], outcome)
        for number, outcome in found
        if outcome.value is not None
    ]
    failed = [(number, outcome.failure) for number, outcome in found if outcome.failure is not None]
    return Scores(
        measured=np.array([number for number, _ in measured], dtype=np.int32),
        values=np.array([value for _, value in measured], dtype=np.float64),
        weights=np.array(weights, dtype=np.float64),
        failed=np.array([number for number, _ in failed], dtype=np.int32),
        reasons=tuple(reason for _, reason in failed),
    )


def _words(source: _Source, of: _Group, pair: str, outcome: _Outcome) -> float:
    """How many words a clip counts for in a corpus."""
    if isinstance(outcome.words, int | float) and 0 < outcome.words < math.inf:
        return float(outcome.words)
    raise UsageError(
        f"{source.run.folder}: the row of {of.scale} on pair {pair!r} has words = {outcome.words!r} in its detail; expected "
        "a number above 0, as its numbers are added up over words. Score again."
    )


# What no cell says -----------------------------------------------------------------------------------------------


def _stale(
    sources: Sequence[_Source], label: str, profile: str, scales: Sequence[Scale], place: _Place
) -> Iterable[str]:
    current = {_Group(label, profile, scale.name, scale.revision) for scale in scales}
    shown = {scale.name for scale in scales}
    for source in sources:
        rows = sum(
            len(outcomes)
            for group, outcomes in source.groups.items()
            if group.profile == profile and group.scale in shown and group not in current
        )
        if rows:
            command = place.command("score", "--profile", profile, "--method", source.run.method)
            yield f"{source.run.method}: {rows} rows of another split digest or revision are passed over. {command} clears them."


def _missing(
    sources: Sequence[_Source],
    scales: Sequence[Scale],
    scores: Mapping[tuple[str, str], Scores],
    pairs: int,
    place: _Place,
) -> Iterable[str]:
    for source in sources:
        method = source.run.method
        asked = len(scales) * pairs
        missing = asked - sum(scores[method, scale.name].rows for scale in scales)
        if missing:
            score = place.command("score", "--method", method)
            yield f"{method}: {missing} of {asked} scores are missing. {score} makes those of the clips that are there."
