"""A folder of media with a MANIFEST.csv: one row a file, who is in it, what is said, where it comes from.

    path,kind,person_id[,transcript][,language][,sync][,source_path]…       paths are relative to the folder

Conventions. Rows with one person_id show the same person; rows with one source_path are pieces of one recording.
Further columns are passed over. Nothing is read but the table: that the files are there is checked, not what they are.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..errors import SplitError

__all__ = ["MANIFEST", "Entry", "read_manifest"]

MANIFEST = "MANIFEST.csv"
REQUIRED = ("path", "kind", "person_id")


class Entry(NamedTuple):
    """One row. Columns that the table lacks are empty."""

    path: Path  # absolute
    kind: str  # clip, speech, face, sound, …
    person: str  # empty where nobody is in it
    transcript: str  # the words that are said; empty where they are not known
    transcript_source: str
    language: str
    sync: str  # "ok" where sound and picture are known to belong together
    source: str  # the recording that it is a piece of; never empty


def read_manifest(folder: Path) -> list[Entry]:
    """The rows in order. SplitError names what is missing or wrong, with its line."""
    table = folder / MANIFEST
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            columns = rows.fieldnames or []
            absent = [name for name in REQUIRED if name not in columns]
            if absent:
                raise SplitError(f"{table}: no column {', '.join(absent)}; found {', '.join(columns) or 'none'}.")
            return [_entry(folder.absolute(), table, rows.line_num, row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SplitError(f"{table}: cannot be read ({error}); expected a table of {', '.join(REQUIRED)}, ….") from error


def _entry(folder: Path, table: Path, line: int, row: dict[Any, Any]) -> Entry:
    given = {name: (value or "").strip() for name, value in row.items() if name is not None}  # None: beyond the columns
    place = PurePosixPath(given["path"])
    if not place.parts or place.is_absolute() or ".." in place.parts:
        raise SplitError(f"{table}, line {line}: path {given['path']!r}; expected a path inside the folder.")
    path = folder / place
    if not path.is_file():
        raise SplitError(f"{table}, line {line}: {given['path']} is not there.")
    return Entry(
        path=path,
        kind=given["kind"],
        person=given["person_id"],
        transcript=given.get("transcript", ""),
        transcript_source=given.get("transcript_source", ""),
        language=given.get("language", ""),
        sync=given.get("sync", ""),
        source=given.get("source_path", "") or given["path"],
    )
