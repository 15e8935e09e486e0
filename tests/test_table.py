"""What a table decides: printed numbers, marks, coverage, words. By hand, and as properties."""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from avbench.errors import Incomplete, UsageError
from avbench.home import package_version
from avbench.metric import Scale
from avbench.run import RunInfo
from avbench.split import Split
from avbench.stats import smallest_difference, smallest_effect
from avbench.table import DASH, Cell, Table, build, marks, without_controls

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


def build_with(place: Path, split: Split, found: Found, **options: Any) -> Table:
    fill(place, split, found)
    if not (place / "mini").exists():
        shutil.copytree(place.parent / "mini", place / "mini")
    return build(results_of(place), **options)


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


# Against a baseline ----------------------------------------------------------------------------------------------

EIGHT = {f"p{number}": f"speaker{number // 2}" for number in range(16)}


def spread(level: float, size: float) -> list[float | str | None]:
    """Sixteen values around a level, the same for every method but for `size`."""
    return [level + size * ((7 * number) % 5 - 2) for number in range(16)]


def of_speakers(values: list[float | str | None], base: list[float | str | None]) -> Any:
    """(8,) means of the differences."""
    return (np.array(values, dtype=float) - np.array(base, dtype=float)).reshape(8, 2).mean(axis=1)


def starred(table: Table) -> dict[str, str]:
    return {method: cell.stars for method, cell in cells(table).items() if cell.stars}


def test_stars_are_holm_adjusted_t_tests_of_speaker_means(tmp_path: Path) -> None:
    from scipy.stats import ttest_1samp

    split = make_split(tmp_path, EIGHT)
    found: Found = {
        "base": spread(0.5, 0.0), "far": spread(0.56, 0.01), "near": spread(0.51, 0.01), "same": spread(0.501, 0.02)
    }  # fmt: skip
    table = build_with(tmp_path, split, found, baseline="base", stars=True)
    differences = {method: of_speakers(found[method], found["base"]) for method in ("far", "near", "same")}
    ps = {method: float(ttest_1samp(values, 0.0).pvalue) for method, values in differences.items()}
    first, second, third = sorted(ps, key=lambda method: ps[method])
    adjusted = {first: 3 * ps[first], second: max(3 * ps[first], 2 * ps[second])}
    adjusted[third] = max(adjusted[second], ps[third])
    expected = {method: "***" if p < 0.001 else "**" if p < 0.01 else "*" for method, p in adjusted.items() if p < 0.05}
    assert starred(table) == expected
    assert expected, "the example shows something"
    assert set(adjusted) - set(expected), "and leaves something out"
    assert "*, **, ***: differs from base with p < 0.05, 0.01, 0.001" in table.caption


def test_a_baseline_without_stars_says_what_would_be_found_and_stars_nothing(tmp_path: Path) -> None:
    split = make_split(tmp_path, EIGHT)
    found: Found = {"base": spread(0.5, 0.0), "far": spread(0.56, 0.01), "wide": spread(0.5, 0.03)}
    table = build_with(tmp_path, split, found, baseline="base")
    assert starred(table) == {}
    means = of_speakers(found["wide"], found["base"])
    least = smallest_difference(means, 0.05 / 2)
    said = re.search(r"found four times in five .* from: Sim ([0-9.]+)\.", table.caption)
    assert said is not None
    assert least <= float(said[1]) < least + 0.001, "of the widest, rounded up at the scale's digits"


@pytest.mark.parametrize("worse", [False, True])
def test_a_gap_of_its_own_takes_the_star_from_a_method_better_or_worse(tmp_path: Path, worse: bool) -> None:
    split = make_split(tmp_path, EIGHT)
    found: Found = {"base": spread(0.5, 0.0), "far": spread(0.44 if worse else 0.56, 0.01)}
    assert starred(build_with(tmp_path / "whole", split, found, baseline="base", stars=True)) == {"far": "***"}
    gap: Found = {**found, "far": ["no face", *found["far"][1:]]}
    assert starred(build_with(tmp_path / "gap", split, gap, baseline="base", stars=True)) == {}


@pytest.mark.parametrize("worse", [False, True])
def test_a_gap_of_the_baseline_takes_the_stars_that_speak_for_it_and_the_caption_says_so(
    tmp_path: Path, worse: bool
) -> None:
    """Were it to take the others, a method could win its star back by failing there, too."""
    split = make_split(tmp_path, EIGHT)
    found: Found = {
        "base": ["no face", *spread(0.5, 0.0)[1:]], "far": spread(0.44 if worse else 0.56, 0.01)
    }  # fmt: skip
    table = build_with(tmp_path, split, found, baseline="base", stars=True)
    assert starred(table) == ({} if worse else {"far": "***"})
    assert "none for a method with gaps of its own)" in table.caption
    assert "Where base has gaps, up to 1 of 16 pairs are left out of a comparison." in table.caption


def test_a_clip_that_defeats_both_takes_no_star(tmp_path: Path) -> None:
    split = make_split(tmp_path, EIGHT)
    found: Found = {
        "base": ["no face", *spread(0.5, 0.0)[1:]], "far": ["no face", *spread(0.56, 0.01)[1:]]
    }  # fmt: skip
    assert starred(build_with(tmp_path, split, found, baseline="base", stars=True)) == {"far": "***"}


def test_a_method_with_missing_scores_is_not_compared_and_the_caption_says_so(tmp_path: Path) -> None:
    split = make_split(tmp_path, EIGHT)
    found: Found = {
        "base": spread(0.5, 0.0), "far": spread(0.56, 0.01), "part": [None, *spread(0.6, 0.01)[1:]]
    }  # fmt: skip
    table = build_with(tmp_path, split, found, baseline="base", stars=True)
    assert starred(table) == {"far": "***"}
    assert "Not compared where scores are missing: part." in table.caption
    other = build_with(tmp_path, split, {}, baseline="part", stars=True)
    assert starred(other) == {}
    assert "Nothing is compared with part" in other.caption


def test_controls_take_no_star_and_hiding_them_changes_none(tmp_path: Path) -> None:
    split = make_split(tmp_path, EIGHT)
    infos = {"truth": RunInfo("truth", "control"), "still": RunInfo("still", "control")}
    found: Found = {
        "base": spread(0.5, 0.0), "far": spread(0.505, 0.01), "truth": spread(0.9, 0.01), "still": spread(0.1, 0.01)
    }  # fmt: skip
    fill(tmp_path, split, found, infos=infos)
    results = results_of(tmp_path)
    shown = build(results, baseline="base", stars=True)
    hidden = build(without_controls(results), baseline="base", stars=True)
    assert set(starred(shown)) <= {"far"}
    assert starred(shown) == starred(hidden)
    assert hidden.blocks == shown.blocks[:1]
    against = build(results, baseline="truth", stars=True)
    assert set(starred(against)) == {"base", "far"}, "a control may be the baseline"


def test_without_controls_nothing_is_left_of_controls_alone(tmp_path: Path, split: Split) -> None:
    fill(tmp_path, split, {"truth": same(1.0)}, infos={"truth": RunInfo("truth", "control")})
    with pytest.raises(Incomplete, match="only controls have scores"):
        without_controls(results_of(tmp_path))


def test_a_scale_without_direction_takes_no_star(tmp_path: Path) -> None:
    split = make_split(tmp_path, EIGHT)
    found: Found = {"base": spread(0.5, 0.0), "far": spread(0.56, 0.01)}
    fill(tmp_path, split, found, make_scale(direction="none"))
    table = build(results_of(tmp_path), baseline="base", stars=True)
    assert starred(table) == {}
    assert "***" not in table.caption, "nothing is said of stars where none can be"
    assert "Nothing is tested against base: that takes two speakers or more and a scale" in table.caption


def test_stars_beside_a_scale_without_direction_are_said_to_be_none_there(tmp_path: Path) -> None:
    split = make_split(tmp_path, EIGHT)
    scales = [make_scale("sim"), make_scale("lips", direction="none")]
    for method, values in {"base": spread(0.5, 0.0), "far": spread(0.56, 0.01)}.items():
        rows = {pair: one for pair, one in zip(EIGHT, values, strict=True) if one is not None}
        make_run(tmp_path, split, method, {"sim": rows, "lips": rows}, scales)
    both = build(results_of(tmp_path), baseline="base", stars=True)
    assert "; none on a scale without a better side, none for" in both.caption
    alone = build(results_of(tmp_path, metrics=["sim"]), baseline="base", stars=True)
    assert "without a better side" not in alone.caption
    assert "***: differs from base" in alone.caption


def test_of_one_speaker_nothing_is_said_of_stars(tmp_path: Path) -> None:
    split = make_split(tmp_path, {"p1": "ann", "p2": "ann", "p3": "ann"})
    table = build_with(tmp_path, split, {"base": same(0.5), "far": same(0.9)}, baseline="base", stars=True)
    assert "***" not in table.caption
    assert "Nothing is tested against base" in table.caption


def test_stars_want_a_baseline_that_is_there(tmp_path: Path, split: Split) -> None:
    fill(tmp_path, split, {"one": same(0.5), "two": same(0.4)})
    results = results_of(tmp_path)
    with pytest.raises(UsageError, match="Give --baseline METHOD, one of one, two"):
        build(results, stars=True)
    with pytest.raises(UsageError, match=r"unknown baseline 'too'\. Did you mean two"):
        build(results, baseline="too")


def test_an_untrained_method_is_no_baseline_and_takes_no_star(tmp_path: Path) -> None:
    split = make_split(tmp_path, EIGHT)
    found: Found = {"base": spread(0.5, 0.0), "raw": spread(0.9, 0.01), "far": spread(0.56, 0.01)}
    fill(tmp_path, split, found, infos={"raw": RunInfo("Raw", untrained=True)})
    results = results_of(tmp_path, methods=list(found))
    assert set(starred(build(results, baseline="base", stars=True))) == {"far"}
    with pytest.raises(UsageError, match="raw: its generator has no trained weights"):
        build(results, baseline="raw", stars=True)


def test_without_a_baseline_the_caption_says_what_the_split_can_tell_apart(tmp_path: Path) -> None:
    split = make_split(tmp_path, EIGHT)
    table = table_of(tmp_path, split, {"a": spread(0.5, 0.01), "b": spread(0.5, 0.01)})
    alone, together = (smallest_effect([2] * 8, correlation) for correlation in (0.0, 0.3))
    assert f"differ by {alone:.2f} standard deviations of a clip's difference, or {together:.2f} if" in table.caption


def test_a_split_that_ranks_nothing_or_a_method_alone_says_nothing_of_power(tmp_path: Path) -> None:
    split = make_split(tmp_path / "demo", EIGHT, ranks=False)
    assert "power" not in table_of(tmp_path / "demo", split, {"a": spread(0.5, 0.01), "b": spread(0.5, 0.01)}).caption
    split = make_split(tmp_path / "alone", EIGHT)
    assert "power" not in table_of(tmp_path / "alone", split, {"a": spread(0.5, 0.01)}).caption


RANK = {"***": 3, "**": 2, "*": 1, "": 0}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 15), st.sampled_from(["far", "base", "near"]), st.sets(st.integers(0, 15), max_size=2))
def test_turning_a_measured_clip_into_a_failure_never_wins_a_star_for_being_better(
    at: int, method: str, failed: set[int]
) -> None:
    found: dict[str, list[float | str | None]] = {
        "base": spread(0.5, 0.004), "far": spread(0.56, 0.01), "near": spread(0.508, 0.01)
    }  # fmt: skip
    for place in failed:
        found["base"][place] = "no face"
    worse = {name: list(values) for name, values in found.items()}
    worse[method][at] = "no face"
    better: list[dict[str, int]] = []
    for outcomes in (found, worse):
        with TemporaryDirectory() as name:
            place_of = Path(name)
            table = build_with(place_of, make_split(place_of, EIGHT), outcomes, baseline="base", stars=True)
            level = cells(table)["base"].value
            values = {row: cell.value for row, cell in cells(table).items()}
            better.append(
                {
                    row: RANK[cells(table)[row].stars]
                    if level is not None and (value := values[row]) is not None and value > level
                    else 0
                    for row in ("far", "near")
                }
            )
    if method != "base":
        assert bool(better[1][method]) <= bool(better[0][method])


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
