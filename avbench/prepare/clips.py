"""A folder of real clips with a MANIFEST.csv as a split: what `audit` damages besides the demo.

    FOLDER/MANIFEST.csv → OUT/FOLDER/splits/FOLDER/{split.toml,pairs.jsonl}
                          OUT/FOLDER/media/FOLDER/PAIR/{target.*,voice.wav,face.png}
                          OUT/FOLDER/folder.sha256     of the folder's path: another one of the name is refused

Conventions. Each row of kind `clip` that shows somebody is a pair; one whose `sync` is neither "ok" nor empty is left
out, since moving its sound says nothing. A pair's target is the clip, byte for byte; its voice another recording of the
person (of another source where there is one, else another piece of the same source, else the clip itself), its face a
photo of the person (else the first frame of another clip of theirs, chosen in the same order). Of several the next one
in the table is taken, and after the last row the first. Nothing in the folder is changed; the same folder gives the
same bytes anywhere.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..clip import FRAME_RATE, probe, read_audio, read_image, read_video, write_audio, write_image
from ..errors import MediaError, SplitError, UsageError
from ..home import atomic, package_version, sha256, sweep
from ..run import lock
from ..split import MEDIA, Pair, Prompt, Split, load_split, media_root
from ..workers import Progress, Report, notes, silent
from . import Prepared, read_prepared
from .manifest import MANIFEST, Entry, read_manifest

__all__ = ["ORIGIN", "PROFILE", "Clips", "clips_split"]

ORIGIN = "folder.sha256"
PROFILE = "embedded"  # that of every such split: its digest must not depend on what it is scored with
RECIPE = 1  # raise it when the same folder would give other bytes
IN_SYNC = ("ok", "")
RESERVED = ("run", "scales")  # ids that no pair may have


class Clips(NamedTuple):
    """A folder as a split."""

    split: Split
    place: Path  # OUT/FOLDER
    data: Path  # where its media lie, as `--data` says it of other splits
    notes: tuple[str, ...]  # which rows were left out


class _Plan(NamedTuple):
    """One pair, and the rows that its media are made from."""

    id: str
    clip: Entry
    voice: Entry
    face: Entry


def clips_split(folder: Path, out: Path, report: Report = silent) -> Clips:
    """Writes the split and its media below `out`, unless they are there.

    SplitError: no clip, or a bad file. UsageError: what is there was made from another folder.
    """
    entries = read_manifest(folder)
    plans, notices = _plans(folder, entries)
    name = _name(folder.absolute().name) or "clips"
    place = out / name
    head, root = place / "splits" / name, place / "media" / name
    recipe = _recipe(plans)
    with lock(root, "prepare", notes(report, "prepare")):
        _claim(place, folder)
        if not _is_there(root, recipe):
            try:
                files = _media(root, plans, report)
            except MediaError as error:
                raise SplitError(f"{folder / MANIFEST} names a file that cannot be used. {error}") from error
            _write_json(root / "prepared.json", Prepared(recipe, files, {"avbench": package_version()}))
        known = read_prepared(root)
        assert known is not None
        _write_text(head / "pairs.jsonl", "".join(_line(plan, known.files) for plan in plans))
        _write_text(head / "split.toml", _head(plans))
    split = load_split(str(head))
    assert media_root(split, place / "media") == root
    return Clips(split, place, place / "media", tuple(notices))


# What is asked ---------------------------------------------------------------------------------------------------


def _plans(folder: Path, entries: Sequence[Entry]) -> tuple[list[_Plan], list[str]]:
    clips = [entry for entry in entries if entry.kind == "clip"]
    if not clips:
        kinds = ", ".join(sorted({entry.kind for entry in entries})) or "no rows"
        raise SplitError(f"{folder / MANIFEST}: no row of kind clip; found {kinds}. Each clip becomes a pair.")
    apart = [entry for entry in clips if entry.sync not in IN_SYNC]
    nobody = [entry for entry in clips if entry.sync in IN_SYNC and not entry.person]
    taken = [entry for entry in clips if entry.sync in IN_SYNC and entry.person]
    notices = []
    if apart:
        said = ", ".join(dict.fromkeys(entry.sync for entry in apart))
        notices.append(f"{len(apart)} of {len(clips)} clips are left out: sound and picture may not match ({said})")
    if nobody:
        notices.append(f"{len(nobody)} of {len(clips)} clips are left out: no person_id")
    if not taken:
        raise SplitError(
            f"{folder / MANIFEST}: {'; '.join(notices)}. Expected a row of kind clip with a person_id, "
            "and sync empty or ok."
        )
    return [_plan(id_, clip, entries) for id_, clip in zip(_ids(taken), taken, strict=True)], notices


def _plan(id_: str, clip: Entry, entries: Sequence[Entry]) -> _Plan:
    start = entries.index(clip) + 1
    around = (*entries[start:], *entries[: start - 1])
    theirs = [entry for entry in around if entry.person == clip.person and entry.path != clip.path]
    clips = [entry for entry in theirs if entry.kind == "clip"]
    photos = [entry for entry in theirs if entry.kind == "face"]
    sounds = [entry for entry in theirs if entry.kind in ("clip", "speech")]
    return _Plan(id_, clip, _other(clip, sounds), photos[0] if photos else _other(clip, clips))


def _other(clip: Entry, candidates: Sequence[Entry]) -> Entry:
    """Another source, else another piece of the same one, else the clip itself."""
    elsewhere = [entry for entry in candidates if entry.source != clip.source]
    return (*elsewhere, *candidates, clip)[0]


def _ids(clips: Sequence[Entry]) -> list[str]:
    """File names without their endings, as pair ids: letters, digits, `._-`; a second one of a name gets a number."""
    found: list[str] = []
    for clip in clips:
        stem = _name(clip.path.stem) or "clip"
        number, id_ = 1, stem
        while id_.lower() in {*(one.lower() for one in found), *RESERVED}:
            number += 1
            id_ = f"{stem}-{number}"
        found.append(id_)
    return found


def _name(text: str) -> str:
    """`text` as the name of a file or pair; empty where nothing is left of it."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-._")


# What is written -------------------------------------------------------------------------------------------------


def _recipe(plans: Sequence[_Plan]) -> str:
    """What the media follow from: the sources by content, and this code's number."""
    digests: dict[Path, str] = {}
    parts = []
    for plan in plans:
        rows = (plan.clip, plan.voice, plan.face)
        found = [digests.setdefault(row.path, digests.get(row.path) or sha256(row.path)) for row in rows]
        parts.append([plan.id, *found, *(row.kind for row in rows), plan.clip.path.suffix])
    return f"{hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:8]}:{RECIPE}"


def _claim(place: Path, folder: Path) -> None:
    """Writes down whose place this is; UsageError where it is another folder's."""
    mine, record = (
        hashlib.sha256(str(folder.resolve()).encode(errors="surrogateescape")).hexdigest() + "\n",
        place / ORIGIN,
    )
    if record.is_file() and record.read_text(errors="replace") != mine:
        raise UsageError(
            f"{place}: made from another folder than {folder}; expected one folder of this name. "
            "Give each its own --out, or remove what is there."
        )
    _write_text(record, mine)


def _is_there(root: Path, recipe: str) -> bool:
    known = read_prepared(root)
    return (
        known is not None
        and known.recipe == recipe
        and all((root / path).is_file() and sha256(root / path) == digest for path, digest in known.files.items())
    )


def _media(root: Path, plans: Sequence[_Plan], report: Report) -> dict[str, str]:
    """Makes every pair's media; their sha256 by path."""
    files: dict[str, str] = {}
    report(Progress("prepare", 0, len(plans), 0))
    for done, plan in enumerate(plans, start=1):
        folder = root / plan.id
        folder.mkdir(parents=True, exist_ok=True)
        sweep(folder)
        with atomic(root / _path(plan, "target")) as part:
            shutil.copyfile(plan.clip.path, part)
        write_audio(root / _path(plan, "voice"), read_audio(plan.voice.path))
        photo = plan.face.kind == "face"
        write_image(root / _path(plan, "face"), read_image(plan.face.path) if photo else read_video(plan.face.path)[0])
        files.update({path: sha256(root / path) for path in (_path(plan, medium) for medium in MEDIA)})
        report(Progress("prepare", done, len(plans), 0))
    return dict(sorted(files.items()))


def _path(plan: _Plan, medium: str) -> str:
    """Of one medium, relative to the media folder."""
    names = {"target": f"target{plan.clip.path.suffix}", "voice": "voice.wav", "face": "face.png"}
    return f"{plan.id}/{names[medium]}"


def _line(plan: _Plan, files: dict[str, str]) -> str:
    pair = Pair(
        id=plan.id,
        speaker=plan.clip.person,
        voice=_path(plan, "voice"),
        face=_path(plan, "face"),
        prompt=Prompt(visual="", speech=plan.clip.transcript, manner="", environment=""),
        transcript=plan.clip.transcript,
        language=plan.clip.language,
        target=_path(plan, "target"),
        same_video=plan.voice.source == plan.clip.source,
        consent=f"not known to avbench; see {MANIFEST}",
        sha256={medium: files[_path(plan, medium)] for medium in MEDIA},
    )
    return msgspec.json.encode(pair).decode() + "\n"


def _head(plans: Sequence[_Plan]) -> str:
    """split.toml; a JSON string is one of TOML, too. Length and size are the first clip's: no method is asked for them."""
    info = probe(plans[0].clip.path)
    fields = {
        "title": "Clips of a folder",
        "description": f"Every clip of a folder with a {MANIFEST} whose sound and picture belong together.",
        "profile": PROFILE,
        "consent": f"not known to avbench; see {MANIFEST}",
        "licence": f"not known to avbench; see {MANIFEST}",
        "frames": round(info.seconds * FRAME_RATE),
        "width": info.width,
        "height": info.height,
        "ranks": False,
    }
    return "".join(f"{name} = {json.dumps(value)}\n" for name, value in fields.items())


def _write_text(path: Path, text: str) -> None:
    with atomic(path) as part:
        part.write_bytes(text.encode())


def _write_json(path: Path, content: msgspec.Struct) -> None:
    with atomic(path) as part:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
