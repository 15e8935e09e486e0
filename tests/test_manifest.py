"""Folders of media with a MANIFEST.csv: what a row becomes, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.errors import SplitError
from avbench.prepare.manifest import MANIFEST, Entry, read_manifest

HEAD = "path,kind,person_id,transcript,transcript_source,language,sync,source_path"


def folder(root: Path, text: str, *files: str) -> Path:
    """A folder with that table, and those files with a byte in them."""
    for name in files:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b".")
    (root / MANIFEST).write_text(text, encoding="utf-8")
    return root


def test_a_row_becomes_an_entry(tmp_path: Path) -> None:
    row = 'clips/a.mp4,clip,ann,"Well, yes.",read by hand,en,ok,long.mp4'
    (entry,) = read_manifest(folder(tmp_path, f"{HEAD}\n{row}\n", "clips/a.mp4"))
    path = tmp_path / "clips" / "a.mp4"
    assert entry == Entry(path, "clip", "ann", "Well, yes.", "read by hand", "en", "ok", "long.mp4")


def test_absent_columns_are_empty_and_a_file_is_its_own_source(tmp_path: Path) -> None:
    entries = read_manifest(folder(tmp_path, "person_id,kind,path\nann,clip,a\n,sound,b\n", "a", "b"))
    assert [(entry.person, entry.kind, entry.transcript, entry.sync) for entry in entries] == [
        ("ann", "clip", "", ""),
        ("", "sound", "", ""),
    ]
    assert [entry.source for entry in entries] == ["a", "b"]


def test_an_empty_source_is_the_file_itself(tmp_path: Path) -> None:
    (entry,) = read_manifest(folder(tmp_path, f"{HEAD}\na,clip,ann,,,,,\n", "a"))
    assert entry.source == "a"


def test_further_columns_and_further_cells_are_passed_over(tmp_path: Path) -> None:
    (entry,) = read_manifest(folder(tmp_path, "path,kind,person_id,fps\na,clip,ann,25,more,and more\n", "a"))
    assert (entry.person, entry.language) == ("ann", "")


def test_rows_that_end_early_are_rows_with_empty_cells(tmp_path: Path) -> None:
    (entry,) = read_manifest(folder(tmp_path, f"{HEAD}\na,clip\n", "a"))
    assert entry == Entry(tmp_path / "a", "clip", "", "", "", "", "", "a")


def test_spaces_around_cells_do_not_count(tmp_path: Path) -> None:
    (entry,) = read_manifest(folder(tmp_path, f"{HEAD}\n a , clip , ann ,, , en , ok ,\n", "a"))
    assert (entry.path, entry.kind, entry.person, entry.language, entry.sync) == (
        tmp_path / "a",
        "clip",
        "ann",
        "en",
        "ok",
    )


def test_a_cell_may_hold_line_ends_and_quotes(tmp_path: Path) -> None:
    (entry,) = read_manifest(folder(tmp_path, f'{HEAD}\na,speech,ann,"She said ""no"",\nand left.",,,,\n', "a"))
    assert entry.transcript == 'She said "no",\nand left.'


def test_a_relative_folder_gives_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "media").mkdir()
    folder(tmp_path / "media", f"{HEAD}\na,clip,,,,,,\n", "a")
    monkeypatch.chdir(tmp_path)
    (entry,) = read_manifest(Path("media"))
    assert entry.path == tmp_path / "media" / "a"


def test_a_table_without_rows_has_no_entries(tmp_path: Path) -> None:
    assert read_manifest(folder(tmp_path, f"{HEAD}\n")) == []


@settings(max_examples=30, deadline=None)
@given(order=st.permutations(["a", "b", "c", "d"]))
def test_rows_keep_their_order(order: list[str], tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("media")
    table = "\n".join([HEAD, *(f"{name},clip,{name}" for name in order)])
    assert [entry.person for entry in read_manifest(folder(root, table, *order))] == order


@pytest.mark.parametrize("path", ["../a", "b/../a", "/etc/hostname", "", "."])
def test_a_path_out_of_the_folder_is_refused_with_its_line(path: str, tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"MANIFEST\.csv, line 3: path .* expected a path inside the folder"):
        read_manifest(folder(tmp_path, f"{HEAD}\na,clip,ann\n{path},clip,ann\n", "a"))


def test_a_file_that_is_not_there_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match=r"line 3: clips/b\.mp4 is not there"):
        read_manifest(folder(tmp_path, f"{HEAD}\na,clip,ann\nclips/b.mp4,clip,ann\n", "a"))


def test_columns_that_are_needed_are_named(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="no column kind, person_id; found path, who"):
        read_manifest(folder(tmp_path, "path,who\na,ann\n", "a"))


def test_an_empty_table_lacks_all_columns(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="no column path, kind, person_id; found none"):
        read_manifest(folder(tmp_path, ""))


def test_a_folder_without_a_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SplitError, match="cannot be read"):
        read_manifest(tmp_path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_bytes(f"{HEAD}\na,clip,Zoë\n".encode("latin-1"))
    with pytest.raises(SplitError, match="cannot be read"):
        read_manifest(tmp_path)


def test_a_byte_order_mark_is_passed_over(tmp_path: Path) -> None:
    (entry,) = read_manifest(folder(tmp_path, f"\ufeff{HEAD}\na,clip,ann\n", "a"))
    assert entry.person == "ann"
