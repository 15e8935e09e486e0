"""The other forms of a table: an ablation, a sweep, and lip motion of the clips most like the face. By hand."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Mapping
from html import escape
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.cli import app
from avbench.errors import AvbenchError, Incomplete, UsageError
from avbench.home import sha256
from avbench.published import table_of
from avbench.report import FORMATS
from avbench.report.latex import escape as latex_escape
from avbench.report.markdown import escape as markdown_escape
from avbench.results import Results, Scores
from avbench.run import Request, RunInfo, Sidecar, write_sidecar
from avbench.split import Split
from avbench.table import Cell, Table, ablation, build, default_of, find_sweep, lip_bias, most_similar, sweep
from avbench.table.human import human
from avbench.votes import load_votes, tally

from .paper import compiled, needs_latex
from .scored import make_run, make_scale, make_split, results_of

ROOT = Path(__file__).resolve().parent.parent
PAIRS = {f"p{number}": f"speaker{number // 2}" for number in range(10)}
Values = list[float | str | None]


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return make_split(tmp_path, PAIRS)


def fill(place: Path, split: Split, found: Mapping[str, Values], infos: Mapping[str, RunInfo] | None = None) -> Results:
    for method, outcomes in found.items():
        rows = {pair: one for pair, one in zip(PAIRS, outcomes, strict=True) if one is not None}
        make_run(place, split, method, {"sim": rows}, (), (infos or {}).get(method))
    return results_of(place)


def level(value: float) -> Values:
    return [value + 0.001 * (number % 3) for number in range(10)]


def labels(table: Table) -> list[str]:
    return [row.label for block in table.blocks for row in block.rows]


def marked(table: Table) -> dict[str, str]:
    return {row.method: row.cells[-1].mark for block in table.blocks for row in block.rows if row.cells[-1].mark}


# An ablation -----------------------------------------------------------------------------------------------------


def test_an_ablation_has_the_full_method_last_and_nothing_of_other_methods(tmp_path: Path, split: Split) -> None:
    infos = {"full": RunInfo("Full", order=1), "full@a=0": RunInfo("Without a", order=3)}
    found = {
        "full": level(0.5),
        "full@b=0": level(0.4),
        "full@a=0": level(0.3),
        "other": level(0.9),
        "truth": level(1.0),
    }
    table = ablation(fill(tmp_path, split, found, {**infos, "truth": RunInfo("truth", "control")}))
    assert labels(table) == ["Without a", "full@b=0", "Full"]
    assert marked(table) == {"full": "best", "full@b=0": "second"}, "among the rows that are shown"
    assert [block.heading for block in table.blocks] == [""]
    assert table.caption.startswith("Ablation of Full, which is the last row.")


def test_which_ablation_has_to_be_said_where_there_are_several(tmp_path: Path, split: Split) -> None:
    results = fill(tmp_path, split, {name: level(0.5) for name in ("one", "one@a=0", "two", "two@b=1")})
    with pytest.raises(UsageError, match=r"which ablation\? There are one, two\. Give --method with one of them"):
        ablation(results)
    assert labels(ablation(results, "two")) == ["two@b=1", "two"]
    with pytest.raises(UsageError, match=r"unknown --method of this ablation 'twi'\. Did you mean two"):
        ablation(results, "twi")


def test_an_ablation_without_variants_or_without_its_full_method_says_so(tmp_path: Path, split: Split) -> None:
    with pytest.raises(UsageError, match="no ablation to show: expected a method with variants"):
        ablation(fill(tmp_path, split, {"one": level(0.5)}))
    results = fill(tmp_path, split, {"two@a=1": level(0.5)})
    with pytest.raises(Incomplete, match=r"two@a=1 have scores, two itself has none. `avbench generate --method two`"):
        ablation(results)


def test_stars_of_an_ablation_are_against_its_baseline(tmp_path: Path, split: Split) -> None:
    results = fill(tmp_path, split, {"full": level(0.5), "full@a=0": [*level(0.3)[:5], *level(0.31)[5:]]})
    table = ablation(results, baseline="full", stars=True)
    assert [row.cells[0].stars for row in table.blocks[0].rows] == ["***", ""]


# A sweep ---------------------------------------------------------------------------------------------------------


def test_a_sweep_is_in_the_order_of_its_numbers_which_are_its_labels(tmp_path: Path, split: Split) -> None:
    values = ("12", "2", "0.5", "-1", "10")
    results = fill(tmp_path, split, {f"m@s={value}": level(0.5) for value in values} | {"m": level(0.6)})
    found = find_sweep(results)
    assert (found.name, found.key) == ("m", "s")
    table = sweep(results, found)
    assert labels(table) == ["-1", "0.5", "2", "10", "12"], "its default is not known, so the method itself is left out"
    assert table.corner == "s"
    assert table.caption.startswith("Sweep of s of m.")


def test_the_method_itself_stands_at_its_default_where_that_is_known(tmp_path: Path, split: Split) -> None:
    results = fill(tmp_path, split, {"m@s=2": level(0.5), "m@s=6": level(0.4), "m": level(0.6)})
    table = sweep(results, find_sweep(results), "4")
    assert labels(table) == ["2", "4 (default)", "6"]
    assert marked(table) == {"m": "best", "m@s=2": "second"}
    assert labels(sweep(results, find_sweep(results), "plenty")) == ["2", "6"]


def test_the_default_is_what_a_sidecar_says(tmp_path: Path) -> None:
    request = Request("m", "mini@1", "p1", 1, "v", "f")
    (tmp_path / "run.json").write_text(json.dumps({"label": "M"}))
    write_sidecar(tmp_path / "p1.json", Sidecar(request, {"s": 4, "on": True}, {}, clip_sha256="c"))
    assert default_of(tmp_path, "s") == "4"
    assert default_of(tmp_path, "other") is None
    assert default_of(tmp_path, "on") is None, "no number"
    assert default_of(tmp_path / "absent", "s") is None


def test_methods_of_a_sweep_differ_in_one_number_alone(tmp_path: Path, split: Split) -> None:
    names = ("m@a=x,s=1", "m@a=x,s=2", "m@s=1", "m@s=2", "m@s=3", "m@seed=1", "m@seed=2", "m@mouth=frozen", "n@s=1")
    results = fill(tmp_path, split, {name: level(0.5) for name in names})
    with pytest.raises(UsageError, match=r"which sweep\? There are s, seed\. Give --key"):
        find_sweep(results)
    with pytest.raises(UsageError, match=r"which sweep\? There are m@a=x, m\. Give --method"):
        find_sweep(results, "s")
    assert list(find_sweep(results, "s", "m").values) == ["m@s=1", "m@s=2", "m@s=3"]
    assert list(find_sweep(results, "s", "m@a=x").values) == ["m@a=x,s=1", "m@a=x,s=2"]
    assert list(find_sweep(results, "seed").values) == ["m@seed=1", "m@seed=2"]
    with pytest.raises(UsageError, match="unknown --key of this sweep 'scale'"):
        find_sweep(results, "scale")


def test_labels_of_a_sweep_are_written_as_in_the_names(tmp_path: Path, split: Split) -> None:
    results = fill(tmp_path, split, {name: level(0.5) for name in ("m@s=04", "m@s=1e1", "m@s=2.50", "m")})
    assert labels(sweep(results, find_sweep(results), "3.0")) == ["2.50", "3.0 (default)", "04", "1e1"]


def test_every_form_of_a_split_has_a_name_of_its_own(tmp_path: Path, split: Split) -> None:
    for method in ("m", "m@s=1", "m@s=2", "n", "n@s=1", "n@s=2"):
        lip_run(tmp_path, split, method, FACES, LIPS)
    results = results_of(tmp_path)
    tables = [build(results), lip_bias(results)]
    tables += [ablation(results, name) for name in "mn"]
    tables += [sweep(results, find_sweep(results, "s", name)) for name in "mn"]
    assert [table.name for table in tables] == [
        "mini", "mini-lip-bias", "mini-ablation-m", "mini-ablation-n", "mini-sweep-m-s", "mini-sweep-n-s",
    ]  # fmt: skip
    found = re.findall(r"\\label\{.*\}", "".join(FORMATS["latex"](table) for table in tables))
    assert len(set(found)) == len(tables)


def test_folders_of_any_name_are_no_sweep(tmp_path: Path, split: Split) -> None:
    names = ("My model @ home", "a@", "a@b", "a@=1", "a@b=nan", "a@b=1e999", "x@y=1,z")
    results = fill(tmp_path, split, {name: level(0.5) for name in names})
    with pytest.raises(UsageError, match="no sweep to show"):
        find_sweep(results)


# Lip motion of the clips most like the face ----------------------------------------------------------------------


def lip_run(place: Path, split: Split, method: str, faces: Values, lips: Values, info: RunInfo | None = None) -> None:
    scales = [make_scale("face_sim", order=0), make_scale("lip_motion", order=1, digits=2, direction="none")]
    outcomes = {
        scale.name: {pair: one for pair, one in zip(PAIRS, values, strict=True) if one is not None}
        for scale, values in zip(scales, (faces, lips), strict=True)
    }
    make_run(place, split, method, outcomes, scales, info)


FACES: Values = [0.10, 0.90, 0.30, 0.80, 0.50, 0.80, 0.20, 0.40, 0.60, 0.70]
LIPS: Values = [9.0, 1.0, 9.0, 2.0, 9.0, 6.0, 9.0, 9.0, 9.0, 9.0]


def lip_cells(table: Table) -> dict[str, tuple[Cell, ...]]:
    return {row.method: row.cells for block in table.blocks for row in block.rows}


def test_the_means_are_over_the_share_of_clips_most_like_the_face(tmp_path: Path, split: Split) -> None:
    lip_run(tmp_path, split, "m", FACES, LIPS)
    table = lip_bias(results_of(tmp_path))
    assert [column.scale for column in table.columns] == ["lip_motion", "face_sim"]
    assert lip_cells(table)["m"] == (Cell("3.00", 3.0, 10), Cell("0.833", math.fsum([0.9, 0.8, 0.8]) / 3, 10))
    assert "means over the 3 of 10 clips of each method with the highest face similarity." in table.caption
    assert all(signature.endswith("|most_similar:3") for signature in table.signatures)
    assert lip_cells(lip_bias(results_of(tmp_path), 1.0))["m"][0].text == "7.20"


def test_a_clip_without_a_face_is_among_the_last_and_a_gap_where_it_is_taken(tmp_path: Path, split: Split) -> None:
    faces: Values = ["no face"] * 7 + [0.4, None, 0.7]
    lip_run(tmp_path, split, "few", faces, ["no face"] * 7 + [1.0, 2.0, 3.0])
    lip_run(tmp_path, split, "mute", FACES, [9.0, "no face", 9.0, 2.0, 9.0, None, 9.0, 9.0, 9.0, 9.0])
    lip_run(tmp_path, split, "m", FACES, LIPS)
    lip_run(tmp_path, split, "n", level(0.1), LIPS)
    table = lip_bias(results_of(tmp_path))
    cells = lip_cells(table)
    assert cells["few"] == (Cell("2.00", 2.0, 3, 7, 0), Cell("0.550", math.fsum([0.4, 0.7]) / 2, 2, 7, 1))
    assert cells["mute"][0] == Cell("2.00", 2.0, 8, 1, 1), "of three clips that were taken, one was measured"
    assert cells["mute"][1].mark == "best"
    assert cells["m"][1].mark == "best", "they tie"
    assert cells["n"][1].mark == "second"
    assert "n/10: only so many clips of the split were measured" in table.caption
    assert table.gaps == (
        "few: lip_motion 7 failed, face_sim 7 failed and 1 not scored", "mute: lip_motion 1 failed and 1 not scored",
    )  # fmt: skip


@pytest.mark.parametrize("gap", ["no face", None])
def test_a_method_with_a_gap_among_clips_that_are_not_taken_is_never_the_best(
    tmp_path: Path, split: Split, gap: str | None
) -> None:
    for method, faces in {"part": [*level(0.9)[:9], gap], "m": level(0.5), "n": level(0.4)}.items():
        lip_run(tmp_path, split, method, faces, LIPS)
    table = lip_bias(results_of(tmp_path))
    assert {method: (cells[1].mark, cells[1].coverage) for method, cells in lip_cells(table).items()} == {
        "part": ("", "9/10"), "m": ("best", ""), "n": ("second", ""),
    }  # fmt: skip
    assert table.gaps == (f"part: face_sim 1 {'not scored' if gap is None else 'failed'}",)


def test_controls_stand_below_and_lip_motion_takes_no_mark(tmp_path: Path, split: Split) -> None:
    lip_run(tmp_path, split, "still", level(0.99), level(0.1), RunInfo("still", "control"))
    lip_run(tmp_path, split, "m", FACES, LIPS)
    lip_run(tmp_path, split, "n", level(0.5), level(3.0))
    table = lip_bias(results_of(tmp_path))
    assert [(block.heading, [row.method for row in block.rows]) for block in table.blocks] == [
        ("Methods", ["m", "n"]), ("Controls", ["still"]),
    ]  # fmt: skip
    assert {method: [cell.mark for cell in cells] for method, cells in lip_cells(table).items()} == {
        "m": ["", "best"], "n": ["", "second"], "still": ["", ""],
    }  # fmt: skip


def scores(values: list[float], failed: int = 0) -> Scores:
    count = len(values)
    return Scores(
        np.arange(count, dtype=np.int32), np.array(values), np.ones(count),
        np.arange(count, count + failed, dtype=np.int32), ("no face",) * failed,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("values", "share", "expected"),
    [
        ([0.1, 0.9, 0.5], 0.3, [1]),
        ([0.5, 0.9, 0.9, 0.9], 0.5, [1, 2]),
        ([0.5], 0.01, [0]),
        ([0.1, 0.2, 0.3], 1.0, [2, 1, 0]),
    ],
)
def test_the_most_similar_come_first_and_ties_in_order(values: list[float], share: float, expected: list[int]) -> None:
    assert most_similar(scores(values), len(values), share) == expected


def test_the_number_of_clips_is_the_nearest_whole_one_and_halves_go_up() -> None:
    found = {count: len(most_similar(scores([0.0] * count), count)) for count in (35, 5, 15, 34, 36, 1)}
    assert found == {35: 11, 5: 2, 15: 5, 34: 10, 36: 11, 1: 1}
    assert most_similar(scores([0.5, 0.9] * 40), 80, 0.5) == list(range(1, 80, 2)), "the earlier of equal ones"
    assert most_similar(scores([0.1, 0.2], failed=2), 6, 1.0) == [1, 0, 2, 3, 4, 5], "failed, then missing ones"


@pytest.mark.parametrize("share", [0.0, -0.3, 1.1, float("nan")])
def test_a_share_that_is_none_is_refused(share: float) -> None:
    with pytest.raises(UsageError, match="expected more than 0 and at most 1"):
        most_similar(scores([0.5]), 1, share)


def test_without_both_scales_it_says_which_are_wanted(tmp_path: Path, split: Split) -> None:
    results = fill(tmp_path, split, {"m": level(0.5)})
    with pytest.raises(Incomplete, match="expected scores of both lip_motion and face_sim or both lip_motion_dlib"):
        lip_bias(results)


RANK = {"best": 2, "second": 1, "": 0}
OUTCOME = st.one_of(st.just("no face"), st.none(), st.sampled_from([0.1, 0.2, 0.2004, 0.5]))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.lists(OUTCOME, min_size=10, max_size=10), min_size=2, max_size=3), st.data())
def test_turning_a_measured_face_into_a_failure_never_raises_the_methods_mark(
    found: list[Values], data: st.DataObject
) -> None:
    places = [(number, at) for number, row in enumerate(found) for at, one in enumerate(row) if isinstance(one, float)]
    if not places:
        return
    number, at = data.draw(st.sampled_from(places))
    worse = [list(row) for row in found]
    worse[number][at] = "no face"
    ranks = []
    for outcomes in (found, worse):
        with TemporaryDirectory() as name:
            place = Path(name)
            split = make_split(place, PAIRS)
            for method, row in enumerate(outcomes):
                lip_run(place, split, f"m{method}", row, level(1.0))
            cells = lip_cells(lip_bias(results_of(place)))[f"m{number}"]
            ranks.append(RANK[cells[1].mark])
            assert cells[0].mark == ""
    assert ranks[1] <= ranks[0]


# The command -----------------------------------------------------------------------------------------------------


def said(capsys: pytest.CaptureFixture[str], place: Path, *options: str) -> str:
    """What `avbench table` prints."""
    words = ["table", "--runs", str(place / "runs"), "--split", str(place / "mini"), *options]
    app.main(words, standalone_mode=False)
    return capsys.readouterr().out


def test_the_command_prints_every_form_in_every_format(
    tmp_path: Path, split: Split, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("m", "m@s=2", "m@s=10"):
        lip_run(tmp_path, split, name, FACES, LIPS)
    results = results_of(tmp_path)
    expected = {
        "ablation": ablation(results),
        "sweep": sweep(results, find_sweep(results)),
        "lip-bias": lip_bias(results),
    }
    for kind, table in expected.items():
        for form, layout in FORMATS.items():
            assert said(capsys, tmp_path, "--kind", kind, "--format", form) == layout(table)
    write_sidecar(
        tmp_path / "runs" / "m" / "mini" / "p1.json",
        Sidecar(Request("m", "mini@1", "p1", 1, "v", "f"), {"s": 4}, {}, clip_sha256="c"),
    )
    assert "4 (default)" in said(capsys, tmp_path, "--kind", "sweep")
    assert "of 10 clips" in said(capsys, tmp_path, "--kind", "lip-bias", "--share", "0.5", "--method", "m")
    starred = said(capsys, tmp_path, "--kind", "ablation", "--method", "m", "--baseline", "m", "--stars")
    assert "differs from m" in starred


def test_the_command_hides_controls_and_brings_the_baseline_along(
    tmp_path: Path, split: Split, capsys: pytest.CaptureFixture[str]
) -> None:
    infos = {"truth": RunInfo("truth", "control")}
    fill(tmp_path, split, {"a": level(0.5), "b": level(0.4), "truth": level(1.0)}, infos)
    assert "truth" in said(capsys, tmp_path)
    assert "truth" not in said(capsys, tmp_path, "--hide-controls", "--format", "csv")
    csv = said(capsys, tmp_path, "--methods", "a", "--baseline", "b", "--stars", "--format", "csv")
    assert [line.partition(",")[0] for line in csv.splitlines()] == ["method", "a", "b"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--stars"], "stars without a baseline"),
        (["--kind", "sweep", "--figure", "a.svg"], "--figure goes with --kind main, not with --kind sweep"),
        (["--kind", "ablation", "--scatter", "a.svg"], "--scatter goes with --kind main"),
        (["--key", "s"], "--key goes with --kind sweep, not with --kind main"),
        (["--share", "0.0"], "--share goes with --kind lip-bias"),
        (["--kind", "lip-bias", "--baseline", "a"], "do not go with --kind lip-bias"),
        (["--kind", "lip-bias", "--share", "1.5"], "a share of 1.5; expected more than 0"),
        (
            ["--kind", "lip-bias", "--metric", "sim"],
            "--metric sim with --kind lip-bias, whose columns are lip_motion and",
        ),
        (["--votes", "v.csv"], "--votes goes with --kind human, not with --kind main"),
        (["--kind", "human", "--metric", "sim"], "--metric does not go with --kind human"),
        (["--kind", "human", "--stars"], "--stars does not go with --kind human"),
        (["--scatter-scale", "sim"], "--scatter-scale without --scatter FILE"),
        (["--hide-controls", "--baseline", "truth"], "--baseline truth is a control, and --hide-controls hides it"),
        (["--format", "htlm"], "unknown format 'htlm'"),
        (["--published"], "--published: the paper has no such table of split 'mini'"),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    tmp_path: Path, split: Split, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    infos = {"truth": RunInfo("truth", "control")}
    fill(tmp_path, split, {"a": level(0.5), "b": level(0.4), "truth": level(1.0)}, infos)
    with pytest.raises(UsageError) as error:
        said(capsys, tmp_path, *options)
    assert words in str(error.value)
    assert not capsys.readouterr().out


def test_an_unknown_kind_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    with pytest.raises(click.BadParameter, match="main"):
        app.main(["table", "--kind", "mian"], standalone_mode=False)


def published_alone(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, AvbenchError]:
    with pytest.raises(Incomplete) as error:
        app.main(["table", *words], standalone_mode=False)
    return capsys.readouterr().out, error.value


@pytest.mark.parametrize("name", ["easy", "hard", "talkvid"])
def test_without_runs_a_published_split_prints_what_was_published_and_is_incomplete(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    out, error = published_alone(capsys, "--split", name, "--runs", str(tmp_path))
    assert "as published" in out
    assert "not comparable" in out
    assert "ID-LoRA" in out
    assert "avbench|v:" not in out, "it is nothing of ours"
    assert error.exit_code == 4
    assert "Nor are its pairs here" in str(error)
    page, _ = published_alone(capsys, "--split", name, "--runs", str(tmp_path / "none"), "--format", "csv")
    assert page.count("published") >= 5


def test_without_runs_the_form_and_the_scales_are_those_that_were_asked_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    hard = ("--split", "hard", "--runs", str(tmp_path / "none"), "--format", "csv")
    out, error = published_alone(capsys, *hard, "--kind", "sweep")
    assert error.exit_code == 4
    assert set(re.findall("id-lora/table[0-9]", out)) == {"id-lora/table5"}
    assert out == FORMATS["csv"](table_of(5))
    out, _ = published_alone(capsys, *hard, "--kind", "main", "--metric", "wer", "--metric", "clap")
    assert set(re.findall("id-lora/table[0-9]", out)) == {"id-lora/table1", "id-lora/table2"}
    assert [line for line in out.splitlines() if line.startswith("method,")] == [
        "method,label,kind,block,clap,wer,clap_n,wer_n"
    ] * 2
    out, _ = published_alone(capsys, *hard, "--metric", "lip_motion")
    assert set(re.findall("id-lora/table[0-9]", out)) == {"id-lora/table4"}


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (["--metric", "spk"], "unknown metric in what was published of split 'hard' 'spk'. Did you mean spk_sim", 2),
        (["--kind", "sweep", "--metric", "lip_motion"], "unknown metric in what was published", 2),
        (["--profile", "author"], "unknown profile 'author'. Did you mean authors", 2),
        (["--stars"], "--stars without --baseline", 2),
        (["--kind", "lip-bias", "--share", "2"], "a share of 2; expected", 2),
        (["--kind", "lip-bias", "--share", "0.5"], "--share 0.5 can be had of scores alone", 4),
        (["--profile", "embedded"], "--profile embedded can be had of scores alone", 4),
        (["--method", "m", "--baseline", "n"], "--method, --baseline can be had of scores alone", 4),
        (["--figure", "a.svg"], "--figure can be had of scores alone", 4),
    ],
)
def test_without_runs_options_that_cannot_be_followed_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], words: str, code: int
) -> None:
    with pytest.raises(AvbenchError) as error:
        app.main(["table", "--split", "hard", "--runs", str(tmp_path), *options], standalone_mode=False)
    assert words in str(error.value)
    assert error.value.exit_code == code
    assert not capsys.readouterr().out
    assert not Path("a.svg").exists()


def test_a_split_without_a_table_of_that_form_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nothing published of split 'easy' has the form ablation"):
        app.main(["table", "--split", "easy", "--runs", str(tmp_path), "--kind", "ablation"], standalone_mode=False)


def test_clips_without_scores_hide_nothing_that_was_published(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = tmp_path / "runs" / "mine" / "hard" / "p1.mp4"
    clip.parent.mkdir(parents=True)
    clip.write_bytes(b"clip")
    runs = str(tmp_path / "runs")
    out, error = published_alone(capsys, "--split", "hard", "--runs", runs)
    assert "as published" in out
    assert "no scores of split 'hard'" in str(error)
    monkeypatch.chdir(ROOT / "splits" / "hard")
    assert published_alone(capsys, "--split", ".", "--runs", runs)[0] == out


# People ----------------------------------------------------------------------------------------------------------

VOTES = "rater,pair,speaker,question,ours,other,vote\n" + "".join(
    f"r{rater},p{pair},s{pair // 2},overall,mine,theirs,{'ours' if (rater + pair) % 3 else 'other'}\n"
    for rater in range(4)
    for pair in range(6)
)


def human_of(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    app.main(["table", "--kind", "human", *words], standalone_mode=False)
    return capsys.readouterr().out


@pytest.mark.parametrize("form", FORMATS)
def test_votes_of_people_are_a_form_like_the_others(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    file = tmp_path / "votes.csv"
    file.write_text(VOTES)
    expected = human(tally(load_votes(file)), f"votes.csv@{sha256(file)[:12]}")
    assert human_of(capsys, "--votes", str(file), "--format", form) == FORMATS[form](expected)


def test_a_split_that_is_named_says_who_speaks(
    tmp_path: Path, split: Split, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "votes.csv"
    file.write_text(re.sub("(,p[0-9]+),s[0-9]+", r"\1", VOTES.replace(",speaker", "")))
    speakers = {pair.id: pair.speaker for pair in split.pairs}
    expected = human(tally(load_votes(file, speakers)), f"votes.csv@{sha256(file)[:12]}")
    out = human_of(capsys, "--votes", str(file), "--split", str(tmp_path / "mini"))
    assert out == FORMATS["text"](expected)
    with pytest.raises(UsageError, match="The option --split tells the speakers"):
        human_of(capsys, "--votes", str(file))


@pytest.mark.parametrize("form", FORMATS)
def test_without_votes_the_studies_are_printed_as_published(capsys: pytest.CaptureFixture[str], form: str) -> None:
    app.main(["published", "human", "--format", form], standalone_mode=False)
    expected = capsys.readouterr().out
    assert human_of(capsys, "--format", form) == expected
    assert "2603.10256" in expected or form == "csv"


def test_a_method_that_is_named_and_has_no_row_in_the_form_is_said(
    tmp_path: Path, split: Split, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, split, {name: level(0.5) for name in ("a", "a@s=1", "a@s=2", "kling")})
    words = ["table", "--runs", str(tmp_path / "runs"), "--split", str(tmp_path / "mini"), "--kind", "ablation"]
    named = [word for name in ("a@s=1", "a") for word in ("--method", name)]
    app.main([*words, *named, "--method", "kling"], standalone_mode=False)
    assert "note: kling: no row of this ablation, and left out." in capsys.readouterr().err
    app.main([*words, *named], standalone_mode=False)
    assert "no row" not in capsys.readouterr().err


def test_without_runs_another_split_prints_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, _ = published_alone(capsys, "--split", "demo", "--runs", str(tmp_path))
    assert out == ""


# Layout ----------------------------------------------------------------------------------------------------------

NASTY = [r"\\input{x}", "100% _a_ & #1 $x^2$", "<b>1</b>", "漢字 😀 é", "[1ex] *", "''' -- ,, `"]


@needs_latex
def test_every_form_compiles_with_hostile_labels_and_stars(tmp_path: Path, split: Split) -> None:
    for number, label in enumerate(NASTY):
        info = RunInfo(label, order=number)
        lip_run(tmp_path, split, f"m@s={number}", level(0.1 * number), level(1.0 + number), info)
    spread: Values = [0.9 + 0.003 * number for number in range(10)]
    lip_run(tmp_path, split, "m", spread, level(3.0), RunInfo(" & ".join(NASTY)))
    results = results_of(tmp_path)
    tables = [
        ablation(results, baseline="m", stars=True),
        sweep(results, find_sweep(results), "2.5"),
        lip_bias(results),
    ]
    assert any(cell.stars for block in tables[0].blocks for row in block.rows for cell in row.cells)
    log = compiled(tmp_path, "\\clearpage\n".join(FORMATS["latex"](table) for table in tables))
    assert not [line for line in log.splitlines() if re.search(r"^!|undefined|Missing character|invalid", line)]
    assert "multiply" not in log  # labels
    written: dict[str, Callable[[str], str]] = {
        "text": str,
        "markdown": markdown_escape,
        "latex": latex_escape,
        "html": escape,
    }
    for table in tables:
        rows = [row.label for block in table.blocks for row in block.rows]
        for name, how in written.items():
            assert [row for row in rows if how(row) not in FORMATS[name](table)] == []
        assert [line["label"] for line in csv.DictReader(io.StringIO(FORMATS["csv"](table)))] == rows
