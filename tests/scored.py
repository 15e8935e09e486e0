"""Splits and score files written by hand: what tables are made from, without a clip, a network or a decoder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from avbench.metric import Scale
from avbench.results import Results, load
from avbench.run import RunInfo, ScoreRow, append_rows, run_folder, write_run, write_scales
from avbench.split import Split, load_split

Outcomes = Mapping[str, Mapping[str, float | str]]  # scale → pair → value, or the reason of a failure

HEAD = {
    "description": "d",
    "profile": "embedded",
    "consent": "agreed",
    "licence": "l",
    "frames": 121,
    "width": 8,
    "height": 8,
}
PROMPT = {"visual": "a room", "speech": "hello", "manner": "calm", "environment": "rain"}


def pair_json(name: str, speaker: str = "ann", **changes: Any) -> dict[str, Any]:
    return {
        "id": name,
        "speaker": speaker,
        "voice": f"{name}.wav",
        "face": f"{name}.png",
        "prompt": PROMPT,
        "transcript": "hello",
        "language": "en",
        "target": f"{name}.mp4",
        "same_video": True,
        "consent": "agreed",
        **changes,
    }


def split_files(folder: Path, pairs: Sequence[Mapping[str, Any]], **head: Any) -> Path:
    """Writes split.toml and pairs.jsonl into `folder` and answers it. JSON of plain values is TOML, too."""
    folder.mkdir(parents=True, exist_ok=True)
    fields = {"title": "A split for tests", **HEAD, **head}
    (folder / "split.toml").write_text("".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items()))
    (folder / "pairs.jsonl").write_text("".join(f"{json.dumps(pair)}\n" for pair in pairs))
    return folder


def make_split(place: Path, speakers: Mapping[str, str], **head: Any) -> Split:
    """The split `mini` below `place`; `speakers` by pair."""
    folder = split_files(place / "mini", [pair_json(name, speaker) for name, speaker in speakers.items()], **head)
    return load_split(str(folder))


def make_scale(name: str = "sim", **changes: Any) -> Scale:
    scale = Scale("embedded", name, name.title(), "cosine", "higher", 3, 0, "mean", 1e-3, f"{name}/1+net/1@01234567")
    return msgspec.structs.replace(scale, **changes)


def make_row(split: Split, pair: str, scale: Scale, outcome: float | str, /, **changes: Any) -> ScoreRow:
    value, failure = (None, outcome) if isinstance(outcome, str) else (outcome, None)
    speakers = {one.id: one.speaker for one in split.pairs}
    row = ScoreRow(
        split=split.label,
        pair=pair,
        speaker=speakers.get(pair, "nobody"),
        clip_sha256="c",
        target_sha256=f"t-{pair}",
        reference_sha256=f"r-{pair}",
        profile=scale.profile,
        scale=scale.name,
        revision=scale.revision,
        value=value,
        failure=failure,
    )
    return msgspec.structs.replace(row, **changes)


def make_run(
    place: Path,
    split: Split,
    method: str,
    outcomes: Outcomes,
    /,
    scales: Sequence[Scale] = (),
    info: RunInfo | None = None,
    **changes: Any,
) -> Path:
    """RUNS/METHOD/SPLIT with scales.json and scores.jsonl; `changes` are fields of every row."""
    folder = run_folder(place / "runs", method, split.name)
    folder.mkdir(parents=True)
    known = {scale.name: scale for scale in scales}
    used = [known.get(name, make_scale(name)) for name in outcomes]
    write_scales(folder, [*used, *scales])
    if info is not None:
        write_run(folder, info)
    rows = [
        make_row(split, pair, scale, outcome, **changes)
        for scale in used
        for pair, outcome in outcomes[scale.name].items()
    ]
    append_rows(folder / "scores.jsonl", rows)
    return folder


def results_of(place: Path, **options: Any) -> Results:
    return load(place / "runs", str(place / "mini"), **options)
