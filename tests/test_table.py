"""What a table decides: printed numbers, marks, coverage, words. By hand, and as properties."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.home import package_version
from avbench.metric import Scale
from avbench.run import RunInfo
from avbench.split import Split
from avbench.table import DASH, Cell, Table, build, marks

from .scored import make_run, make_scale, make_split, results_of

PAIRS = {"p1": "ann", "p2": "ann", "p3": "bob"}
Found = Mapping[str, list[float | str | None]]  # method → one outcome a pair; None: not scored


@pytest.fixture
def split(tmp_path: Path) -> Split:
    return make_split(tmp_path, PAIRS)


def fill(
    place: Path, split: Split, found: Found, scale: Scale | None = None, infos: Mapping[str, RunInfo] | None = None
) -> None:
    scale = scale or make_scale()
    for method, outcomes in found.items():
        pairs = [pair.id for pair in split.pairs]
        rows = {pair: one for pair, one in zip(pairs, outcomes, strict=True) if one is not None}
        make_run(place, split, method, {scale.name: rows}, [scale], (infos or {}).get(method))


def table_of(place: Path, split: Split, found: Found, scale: Scale | None = None, **options: Any) -> Table:
    fill(place, split, found, scale, options.pop("infos", None))
    return build(results_of(place, **options))


def cells(table: Table) -> dict[str, Cell]:
    """The first column by method."""
    return {row.method: row.cells[0] for block in table.blocks for row in block.rows}


def marked(table: Table) -> dict[str, str]:
    return {method: cell.mark for method, cell in cells(table).items() if cell.mark}


def same(value: float) -> list[float | str | None]:
    return [value, value, value]


# Numbers ---------------------------------------------------------------------------------------------------------


def test_a_cell_is_the_mean_at_the_scales_digits_and_keeps_full_precision(tmp_path: Path, split: Split) -> None:
    table = table_of(tmp_path, split, {"m": [0.1, 0.2, 0.5]}, make_scale(digits=2))
    assert cells(table)["m"] == Cell("0.27", (0.1 + 0.2 + 0.5) / 3, 3, 0, 0, "")


def test_an_empty_cell_is_a_dash_with_counts_and_never_a_number(tmp_path: Path, split: Split) -> None:
    table = table_of(tmp_path, split, {"m": same(0.5), "n": ["no face", "no face", None]})
    assert cells(table)["n"] == Cell(DASH, None, 0, 2, 1, "")
    assert cells(table)["n"].coverage == "0/3"
    assert table.gaps == ("n: sim 2 failed and 1 not scored",)


def test_coverage_stands_beside_partial_cells_only(tmp_path: Path, split: Split) -> None:
    table = table_of(tmp_path, split, {"m": same(0.5), "n": [0.5, 0.5, "no face"]})
    assert [cell.coverage for cell in cells(table).values()] == ["", "2/3"]
    assert "(n/3 beside it where fewer than 3)" in table.caption


def test_without_gaps_nothing_is_said_of_coverage(tmp_path: Path, split: Split) -> None:
    table = table_of(tmp_path, split, {"m": same(0.5)})
    assert table.gaps == ()
    assert "n/3" not in table.caption


def test_a_small_negative_number_is_printed_as_zero_without_a_sign(tmp_path: Path, split: Split) -> None:
    assert cells(table_of(tmp_path, split, {"m": same(-0.0004), "n": same(-0.0006)}))["m"].text == "0.000"
    assert cells(build(results_of(tmp_path)))["n"].text == "-0.001"


# Marks -----------------------------------------------------------------------------------------------------------


def test_best_and_second_follow_the_direction(tmp_path: Path, split: Split) -> None:
    found: Found = {"a": same(0.3), "b": same(0.2), "c": same(0.1)}
    assert marked(table_of(tmp_path / "up", make_split(tmp_path / "up", PAIRS), found)) == {"a": "best", "b": "second"}
    down = make_split(tmp_path / "down", PAIRS)
    assert marked(table_of(tmp_path / "down", down, found, make_scale(direction="lower"))) == {
        "b": "second",
        "c": "best",
    }
    none = make_split(tmp_path / "none", PAIRS)
    assert marked(table_of(tmp_path / "none", none, found, make_scale(direction="none"))) == {}


def test_ties_at_printed_digits_share_and_ranks_are_dense(tmp_path: Path, split: Split) -> None:
    found: Found = {"a": same(0.50004), "b": same(0.49996), "c": same(0.4), "d": same(0.4001), "e": same(0.3)}
    expected = {"a": "best", "b": "best", "c": "second", "d": "second"}
    assert marked(table_of(tmp_path, split, found)) == expected


def test_a_difference_below_the_printed_digits_is_none(tmp_path: Path, split: Split) -> None:
    assert marked(table_of(tmp_path, split, {"a": same(0.1234), "b": same(0.1231)})) == {"a": "best", "b": "best"}


def test_zero_from_above_and_from_below_is_the_same_zero(tmp_path: Path, split: Split) -> None:
    found: Found = {"a": same(-0.0001), "b": same(0.0001), "c": same(-1.0)}
    assert marked(table_of(tmp_path, split, found)) == {"a": "best", "b": "best", "c": "second"}


def test_controls_untrained_and_limited_methods_are_never_marked_nor_in_the_way(tmp_path: Path, split: Split) -> None:
    infos = {
        "truth": RunInfo("truth", "control"),
        "raw": RunInfo("Raw", untrained=True),
        "part": RunInfo("Part", limited=2),
        "base": RunInfo("Base", "baseline"),
    }
    found: Found = {
        "truth": same(0.9), "raw": same(0.8), "part": same(0.7), "base": same(0.2), "m": same(0.1)
    }  # fmt: skip
    table = table_of(tmp_path, split, found, infos=infos, methods=list(found))
    assert marked(table) == {"base": "best", "m": "second"}
    labels = {row.method: row.label for block in table.blocks for row in block.rows}
    assert (labels["raw"], labels["part"]) == ("Raw (untrained)", "Part (first 2 pairs)")


@pytest.mark.parametrize("gap", ["no face", None])
def test_a_cell_with_a_gap_of_its_own_is_not_marked_however_good(tmp_path: Path, split: Split, gap: str | None) -> None:
    found: Found = {"a": [0.9, 0.9, gap], "b": same(0.5), "c": same(0.4)}
    assert marked(table_of(tmp_path, split, found)) == {"b": "best", "c": "second"}


def test_a_clip_that_defeats_the_metric_for_everybody_excuses_everybody(tmp_path: Path, split: Split) -> None:
    found: Found = {"a": [0.9, 0.9, "no face"], "b": [0.5, 0.5, "no face"]}
    assert marked(table_of(tmp_path, split, found)) == {"a": "best", "b": "second"}


def test_a_clip_that_is_not_scored_excuses_nobody(tmp_path: Path, split: Split) -> None:
    found: Found = {"a": [0.9, 0.9, "no face"], "b": [0.5, 0.5, None]}
    assert marked(table_of(tmp_path, split, found)) == {}


def test_one_method_alone_is_not_the_best(tmp_path: Path, split: Split) -> None:
    infos = {"truth": RunInfo("truth", "control")}
    found: Found = {"a": same(0.9), "truth": same(1.0)}
    assert marked(table_of(tmp_path, split, found, infos=infos)) == {}


def test_a_split_that_ranks_nothing_marks_nothing_and_its_note_says_why(tmp_path: Path) -> None:
    split = make_split(tmp_path, PAIRS, ranks=False, note="For trying the tool; ranks nothing.")
    table = table_of(tmp_path, split, {"a": same(0.9), "b": same(0.5)})
    assert marked(table) == {}
    assert table.caption.endswith("For trying the tool; ranks nothing.")
    assert "Best" not in table.caption


PLACES = {"best": 2, "second": 1, "": 0}
OUTCOME = st.one_of(st.just("no face"), st.none(), st.sampled_from([0.1, 0.2, 0.2004, 0.5]))


@settings(max_examples=60)
@given(
    st.lists(st.lists(OUTCOME, min_size=3, max_size=3), min_size=2, max_size=4),
    st.sampled_from(["higher", "lower"]),
    st.data(),
)
def test_turning_a_measured_clip_into_a_failure_never_raises_the_methods_mark(
    found: list[list[float | str | None]], direction: Any, data: st.DataObject
) -> None:
    values = [(number, at) for number, row in enumerate(found) for at, one in enumerate(row) if isinstance(one, float)]
    if not values:
        return
    number, at = data.draw(st.sampled_from(values))
    worse = [list(row) for row in found]
    worse[number][at] = "no face"
    mark = []
    for outcomes in (found, worse):
        with TemporaryDirectory() as name:
            place = Path(name)
            methods = {f"m{place}": row for place, row in enumerate(outcomes)}
            scale = make_scale(direction=direction)
            split = make_split(place, PAIRS)
            fill(place, split, methods, scale)
            if not any(isinstance(one, float | str) for row in outcomes for one in row):
                return
            mark.append(marks(results_of(place), scale).get(f"m{number}", ""))
    assert PLACES[mark[1]] <= PLACES[mark[0]]


# Words -----------------------------------------------------------------------------------------------------------


def test_blocks_are_methods_then_controls_and_an_empty_one_is_not_there(tmp_path: Path, split: Split) -> None:
    infos = {"truth": RunInfo("truth", "control"), "m": RunInfo("Model"), "b": RunInfo("Base", "baseline", 1)}
    found: Found = {"truth": same(1.0), "m": same(0.5), "b": same(0.4)}
    table = table_of(tmp_path, split, found, infos=infos)
    assert [(block.heading, [row.label for row in block.rows]) for block in table.blocks] == [
        ("Methods", ["Base", "Model"]),
        ("Controls", ["truth"]),
    ]
    assert [block.heading for block in build(results_of(tmp_path, methods=["truth"])).blocks] == ["Controls"]


def test_the_caption_says_split_pairs_speakers_profile_and_directions(tmp_path: Path, split: Split) -> None:
    caption = table_of(tmp_path, split, {"m": same(0.5)}).caption
    assert caption.startswith(f"A split for tests. Split {split.label}: 3 pairs, 2 speakers. Profile embedded;")
    assert "mean over measured clips" in caption
    assert "Higher (↑) is better." in caption


@pytest.mark.parametrize(
    ("directions", "said"),
    [
        (["higher"], "Higher (↑) is better."),
        (["lower", "none"], "Lower (↓) is better."),
        (["higher", "lower"], "Higher (↑) or lower (↓) is better."),
        (["none"], ""),
    ],
)
def test_only_directions_that_occur_are_explained(
    tmp_path: Path, split: Split, directions: list[Any], said: str
) -> None:
    scales = [make_scale(f"s{number}", direction=one) for number, one in enumerate(directions)]
    make_run(tmp_path, split, "m", {scale.name: {"p1": 0.5} for scale in scales}, scales)
    table = build(results_of(tmp_path))
    sentences = [part for part in ("Higher (↑) is", "Lower (↓) is", "Higher (↑) or") if part in table.caption]
    assert len(sentences) == bool(said)
    assert said in table.caption
    arrows = {"higher": "↑", "lower": "↓", "none": ""}
    assert [column.arrow for column in table.columns] == [arrows[one] for one in directions]


def test_there_is_a_signature_for_each_column_with_all_that_makes_numbers_comparable(
    tmp_path: Path, split: Split
) -> None:
    make_run(tmp_path, split, "m", {"sim": {"p1": 0.5}, "lips": {"p1": 0.5}})
    head = f"avbench|v:{package_version()}|split:{split.label}|profile:embedded"
    assert build(results_of(tmp_path)).signatures == (
        f"{head}|scale:lips|agg:mean|n:3|rev:lips/1+net/1@01234567",
        f"{head}|scale:sim|agg:mean|n:3|rev:sim/1+net/1@01234567",
    )


def test_methods_with_the_same_label_are_told_apart_by_name(tmp_path: Path, split: Split) -> None:
    infos = {"m@seed=1": RunInfo("Model"), "m@seed=2": RunInfo("Model"), "other": RunInfo("Other")}
    table = table_of(tmp_path, split, {name: same(0.5) for name in infos}, infos=infos)
    assert [row.label for row in table.blocks[0].rows] == ["Model (m@seed=1)", "Model (m@seed=2)", "Other"]


def test_labels_are_one_line_and_cannot_steer_a_terminal(tmp_path: Path, split: Split) -> None:
    infos = {
        "a": RunInfo("two\n lines\tand\x0b tabs"),
        "b": RunInfo("\x1b[31mred\u202eder\x00"),
        "c": RunInfo("  "),
        "d": RunInfo("family 👩\u200d👧 é ü 漢"),
    }
    table = table_of(tmp_path, split, {name: same(0.5) for name in infos}, infos=infos)
    labels = [row.label for row in table.blocks[0].rows]
    assert labels == ["two lines and tabs", "\ufffd[31mred\ufffdder\ufffd", "c", "family 👩\u200d👧 é ü 漢"]
