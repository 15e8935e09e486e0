"""Runs on disk: names, sidecars, score rows, what a kill leaves behind, and locks."""

from __future__ import annotations

import select
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.errors import FolderError, UsageError
from avbench.run import (
    Request,
    RunInfo,
    ScoreRow,
    Sidecar,
    append_costs,
    append_rows,
    find_runs,
    format_method,
    lock,
    parse_method,
    read_run,
    read_scales,
    read_scores,
    read_sidecar,
    rewrite_scores,
    run_folder,
    scan_scores,
    write_run,
    write_scales,
    write_sidecar,
)

from .scored import make_scale

NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,12}", fullmatch=True)
KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True)
VALUES = st.from_regex(r"[A-Za-z0-9.+_-]{1,8}", fullmatch=True)
TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
FINITE = st.floats(allow_nan=False, allow_infinity=False)
DETAIL = st.dictionaries(TEXT, st.one_of(st.integers(-1000, 1000), TEXT, st.lists(FINITE, max_size=3)), max_size=3)


@st.composite
def score_rows(draw: st.DrawFn) -> ScoreRow:
    key = {field: draw(TEXT) for field in ScoreRow.__struct_fields__[:9]}
    measured = draw(st.booleans())
    value = draw(FINITE) if measured else None
    failure = None if measured else draw(TEXT)
    return msgspec.structs.replace(row("a"), **key, value=value, failure=failure, detail=draw(DETAIL))


def row(pair: str, value: float = 0.5, clip: str = "c") -> ScoreRow:
    return ScoreRow("mini@0", pair, "ann", clip, "t", "r", "embedded", "sim", "sim/1", value=value)


# Names -----------------------------------------------------------------------------------------------------------


@given(NAMES, st.dictionaries(KEYS, VALUES, max_size=4))
def test_parsing_a_formatted_method_gives_it_back(name: str, options: dict[str, str]) -> None:
    assert parse_method(format_method(name, options)) == (name, options)


def test_a_method_has_one_folder_name_whatever_the_order_of_its_options() -> None:
    assert format_method("m", {"b": 2, "a": 1.5}) == format_method("m", {"a": 1.5, "b": 2}) == "m@a=1.5,b=2"


@pytest.mark.parametrize(
    "text",
    ["", "@a=1", "m@", "m@a", "m@a=", "m@=1", "m@a=1,", "m@a=1,a=2", "m@A=1", "../m", "m/n", ".m", "m@a=x/y", "m@a=1 "],
)
def test_a_malformed_method_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(UsageError, match=r"key=value|given twice") as caught:
        parse_method(text)
    assert repr(text) in str(caught.value)


def test_runs_are_the_folders_two_below_and_nothing_else(tmp_path: Path) -> None:
    for path in ("b/demo", "a@k=1/hard", "a@k=1/demo", ".hidden/demo", "a@k=1/.cache"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "notes.txt").write_text("")
    (tmp_path / "b" / "demo.zip").write_text("")
    found = [(run.method, run.split) for run in find_runs(tmp_path)]
    assert found == [("a@k=1", "demo"), ("a@k=1", "hard"), ("b", "demo")]
    assert find_runs(tmp_path)[2].folder == run_folder(tmp_path, "b", "demo")


def test_a_runs_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nowhere: no such folder"):
        find_runs(tmp_path / "nowhere")


# Small files -----------------------------------------------------------------------------------------------------


@given(st.builds(RunInfo, TEXT, st.sampled_from(["control", "baseline", "model"]), st.integers(-9, 9), st.booleans()))
def test_reading_a_written_run_gives_it_back(info: RunInfo) -> None:
    with TemporaryDirectory() as folder:
        write_run(Path(folder), info)
        assert read_run(Path(folder)) == info


def test_a_run_that_nobody_describes_is_a_model_named_by_its_folder(tmp_path: Path) -> None:
    assert read_run(tmp_path / "theirs" / "demo") == RunInfo(label="theirs", kind="model")


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b'{"label": 3}', b'{"label": "a", "kind": "other"}', b'{"label": "\xff"}']
)
def test_a_damaged_run_json_is_named_with_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(UsageError, match=r"run\.json.*Remove it or mend it"):
        read_run(tmp_path)


def test_scales_of_other_profiles_stay_when_some_are_written(tmp_path: Path) -> None:
    old, other, new = make_scale("sim"), make_scale("sim", profile="authors"), make_scale("sim", revision="sim/2")
    assert read_scales(tmp_path) == {}
    write_scales(tmp_path, [old, other])
    write_scales(tmp_path, [new])
    assert read_scales(tmp_path) == {"authors/sim": other, "embedded/sim": new}


def test_a_sidecar_comes_back_and_a_strangers_file_is_none(tmp_path: Path) -> None:
    ours = Sidecar(Request("m", "demo@0", "p", 7, "v", "f"), {"steps": 3, "note": "ü 😀"}, {"avbench": "0"}, "sha")
    write_sidecar(tmp_path / "p.json", ours)
    assert read_sidecar(tmp_path / "p.json") == ours
    assert read_sidecar(tmp_path / "absent.json") is None
    for number, content in enumerate([b"", b"{}", b"[1]", b'{"request": "\xff"}', b"\x00\xff"]):
        path = tmp_path / f"theirs{number}.json"
        path.write_bytes(content)
        assert read_sidecar(path) is None


def test_costs_are_appended(tmp_path: Path) -> None:
    append_costs(tmp_path, [{"seconds": 1.0}])
    append_costs(tmp_path, [{"seconds": 2.0}, {"seconds": 3.0}])
    assert (tmp_path / "costs.jsonl").read_text().count("\n") == 3


# Score rows ------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(score_rows(), max_size=6, unique_by=lambda one: one.key))
def test_reading_appended_rows_gives_them_back_in_order(rows: list[ScoreRow]) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        append_rows(folder / "scores.jsonl", rows[:3])
        append_rows(folder / "scores.jsonl", rows[3:])
        assert list(read_scores(folder).values()) == rows
        rewrite_scores(folder / "scores.jsonl", reversed(rows))
        assert list(read_scores(folder).values()) == rows[::-1]


def test_the_last_row_of_a_key_wins_and_stands_where_it_was_written(tmp_path: Path) -> None:
    append_rows(tmp_path / "scores.jsonl", [row("a", 0.1), row("a", 0.2, clip="new"), row("b"), row("a", 0.3)])
    assert [(one.pair, one.value) for one in read_scores(tmp_path).values()] == [("a", 0.2), ("b", 0.5), ("a", 0.3)]


def test_only_the_one_score_file_is_read(tmp_path: Path) -> None:
    append_rows(tmp_path / "scores.jsonl", [row("a")])
    append_rows(tmp_path / "scores_backup.jsonl", [row("d")])
    (tmp_path / "scores.txt").write_text("not ours")
    assert [one.pair for one in read_scores(tmp_path).values()] == ["a"]
    places = [(path.name, number) for path, number, _ in scan_scores(tmp_path, ScoreRow)]
    assert places == [("scores.jsonl", 1)]


def test_wherever_a_kill_tears_the_file_finished_rows_stay_and_appending_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    rows = [row("a"), row("ü😀", 0.25)]
    append_rows(path, rows)
    content = path.read_bytes()
    ends = [number + 1 for number, byte in enumerate(content) if byte == ord("\n")]
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        finished = rows[: sum(end - 1 <= cut for end in ends)]  # a row is whole before its line end is
        assert list(read_scores(tmp_path).values()) == finished
        append_rows(path, [row("new")])
        assert [one.pair for one in read_scores(tmp_path).values()] == [*(one.pair for one in finished), "new"]


@pytest.mark.parametrize("damage", [b"{}\n", b"not json\n", b'{"split": "\xff"}\n', b'{"split": 3}\n', b"\xff\xfe\n"])
def test_a_damaged_line_before_the_end_is_an_error_that_names_it(tmp_path: Path, damage: bytes) -> None:
    path = tmp_path / "scores.jsonl"
    append_rows(path, [row("a")])
    with path.open("ab") as file:
        file.write(damage)
    append_rows(path, [row("b")])
    with pytest.raises(UsageError, match=r"scores\.jsonl, line 2: .*Remove that line"):
        read_scores(tmp_path)


def test_empty_lines_and_empty_files_hold_no_rows(tmp_path: Path) -> None:
    (tmp_path / "scores.jsonl").write_bytes(b"\n \n\n")
    assert read_scores(tmp_path) == {}
    assert read_scores(tmp_path / "absent") == {}


def test_rewriting_the_same_rows_leaves_the_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "scores.jsonl"
    append_rows(path, [row("a")])
    before = path.stat()
    rewrite_scores(path, [row("a")])
    assert path.stat().st_ino == before.st_ino
    rewrite_scores(path, [])
    assert path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full, a disk that is always full")
def test_a_full_disk_is_said_in_one_line() -> None:
    with pytest.raises(FolderError, match="the disk is full"):
        append_rows(Path("/dev/full"), [row("a")])


# Locks -----------------------------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from avbench.run import lock
with lock(Path(sys.argv[1]), "score"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_waits_and_a_killed_one_holds_nobody_up(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as first,
        subprocess.Popen(command, stdout=subprocess.PIPE) as second,
    ):
        try:
            outputs = [process.stdout for process in (first, second) if process.stdout is not None]
            (winner,), _, _ = select.select(outputs, [], [], 30)
            loser = outputs[1 - outputs.index(winner)]
            assert winner.readline() == b"held\n"
            assert select.select([loser], [], [], 1.0)[0] == [], "both hold the lock"
            (first, second)[outputs.index(winner)].kill()
            assert loser.readline() == b"held\n"
        finally:
            first.kill()
            second.kill()


def test_locks_of_two_stages_do_not_meet_and_no_run_is_made_of_their_files(tmp_path: Path) -> None:
    folder = tmp_path / "m" / "demo"
    with lock(folder, "score"), lock(folder, "generate"):
        assert [run.method for run in find_runs(tmp_path)] == ["m"]
        assert read_scores(folder) == {}


def test_a_file_where_the_run_folder_should_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "m").write_text("")
    with (
        pytest.raises(UsageError, match="a file stands where a folder is needed"),
        lock(tmp_path / "m" / "demo", "score"),
    ):
        pass
