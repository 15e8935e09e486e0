"""Forest plots: what is drawn is what the comparisons say, better to the right, and every word is within the figure."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import same_color
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text

from avbench.compare import Comparisons, compare
from avbench.errors import UsageError
from avbench.report import FIGURES, WIDTHS
from avbench.report.forest import draw_forest, write_forest
from avbench.run import RunInfo

from .scored import make_run, make_scale, make_split, results_of

SPEAKERS = {f"p{place}": f"s{place // 2}" for place in range(12)}
SCALES = (
    make_scale("sim", label="Similarity", order=0),
    make_scale("error", label="Words rejected", unit="% of words", direction="lower", digits=1, order=1),
    make_scale("lips", label="Lip motion", unit="% of face height", direction="none", digits=2, order=2),
)
NAMES = {"base": "The base", "clear": "Clearly more", "near": "Near, 漢 and a long name of a method", "torn": "Torn"}


def compared(place: Path, speakers: dict[str, str] | None = None) -> Comparisons:
    """One method far off, one near the baseline, one with failures; all of which fail on none, one or all pairs."""
    pairs = speakers or SPEAKERS
    split = make_split(place, pairs)
    steps = {"base": 0.0, "clear": 5.0, "near": 0.001, "torn": 5.0}
    for order, (method, step) in enumerate(steps.items()):
        outcomes: dict[str, dict[str, float | str]] = {
            scale.name: {pair: step + ((7 * n + 3 * order) % 5) * 0.1 for n, pair in enumerate(pairs)}
            for scale in SCALES
        }
        if method == "torn":
            outcomes["sim"]["p0"] = "no face"
            outcomes["lips"] = dict.fromkeys(pairs, "no face")
        make_run(place, split, method, outcomes, SCALES, RunInfo(NAMES[method], order=order))
    return compare(results_of(place), "base", ["clear", "near", "torn"])


def panels(figure: Figure) -> dict[str, Axes]:
    return {str(axes.get_label()): axes for axes in figure.axes}


def drawn(axes: Axes, kind: str) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_gid() == kind]


def numbers(line: Line2D) -> list[float]:
    return [float(number) for number in np.asarray(line.get_xdata())]


def words(figure: Figure) -> list[Text]:
    found: list[Any] = figure.findobj(Text)
    return [text for text in found if text.get_visible() and text.get_text()]


@pytest.mark.parametrize("width", sorted(WIDTHS))
def test_dots_and_bars_are_the_differences_and_their_intervals_within_the_axis(tmp_path: Path, width: str) -> None:
    found = compared(tmp_path)
    assert list(panels(draw_forest(found, width))) == [scale.name for scale in SCALES]
    for scale, axes in panels(draw_forest(found, width)).items():
        shown = [row for row in found.of(scale) if row.difference is not None]
        assert [numbers(line) for line in drawn(axes, "difference")] == [[row.difference] for row in shown]
        assert [numbers(line) for line in drawn(axes, "interval")] == [[row.lower, row.upper] for row in shown]
        low, high = axes.get_xlim()
        assert all(low < (row.difference or 0.0) < high for row in shown)
        assert low < 0.0 < high
        assert len(drawn(axes, "zero")) == 1


def test_better_is_to_the_right_and_a_scale_without_a_better_side_says_so(tmp_path: Path) -> None:
    found = compared(tmp_path)
    figure = draw_forest(found)
    first = {scale: numbers(drawn(axes, "difference")[0])[0] for scale, axes in panels(figure).items()}
    assert first["sim"] > 0 > first["error"], "5 more is better on the one and worse on the other"
    said = [text.get_text() for text in words(figure)]
    assert said.count("better →") == 2
    assert said.count("no better side") == 1


def test_filling_says_what_is_claimed_and_squares_what_has_gaps(tmp_path: Path) -> None:
    found = compared(tmp_path)
    for scale, axes in panels(draw_forest(found)).items():
        shown = [row for row in found.of(scale) if row.difference is not None]
        for row, dot in zip(shown, drawn(axes, "difference"), strict=True):
            assert same_color(dot.get_markerfacecolor(), "white") == (row.claim == "none"), row
            assert dot.get_marker() == ("s" if row.other_gaps else "o")
    assert [row.claim for row in found.of("sim")] == ["better", "none", "none"]
    assert [row.claim for row in found.of("error")] == ["worse", "none", "worse"]
    said = {text.get_text() for text in words(draw_forest(found))}
    assert said >= {"claimed", "nothing claimed", "some pairs not measured", "no difference", "–"}


def test_an_interval_that_goes_on_has_an_arrowhead_at_the_axis_end(tmp_path: Path) -> None:
    found = compared(tmp_path)
    wide = [row._replace(lower=-900.0, upper=900.0) if row.other == "near" else row for row in found.rows]
    figure = draw_forest(found._replace(rows=tuple(wide)))
    axes = panels(figure)["sim"]
    assert [str(line.get_marker()) for line in drawn(axes, "arrow")] == ["<", ">"]
    assert axes.get_xlim()[1] < 50
    assert "the interval goes on" in {text.get_text() for text in words(figure)}
    assert not drawn(panels(draw_forest(found))["error"], "arrow")


def test_one_speaker_has_a_dot_and_no_interval(tmp_path: Path) -> None:
    figure = draw_forest(compared(tmp_path, {"p0": "ann", "p1": "ann"}))
    for axes in figure.axes:
        assert drawn(axes, "difference")
        assert not drawn(axes, "interval")


@pytest.mark.parametrize("width", sorted(WIDTHS))
def test_every_word_is_within_the_figure_and_none_upon_another(tmp_path: Path, width: str) -> None:
    figure = draw_forest(compared(tmp_path), width)
    figure.set_dpi(300)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent(canvas.get_renderer())) for text in words(figure)]
    wide, high = figure.bbox.width, figure.bbox.height
    for word, box in boxes:
        assert box.x0 >= 0 <= box.y0, word
        assert box.x1 <= wide, word
        assert box.y1 <= high, word
    for (one, first), (other, second) in combinations(boxes, 2):
        assert not first.shrunk(0.9, 0.9).overlaps(second.shrunk(0.9, 0.9)), (one, other)


def test_a_character_that_the_font_lacks_is_written_as_its_code(tmp_path: Path) -> None:
    said = " ".join(text.get_text() for text in words(draw_forest(compared(tmp_path))))
    assert "U+6F22" in said


def test_the_same_comparisons_give_the_same_bytes_in_every_form(tmp_path: Path) -> None:
    found = compared(tmp_path)
    for form in FIGURES:
        for name in ("a", "b"):
            write_forest(tmp_path / f"{name}.{form}", found, "column")
        assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()
    assert found.signatures[0] in (tmp_path / "a.svg").read_text()


def test_another_ending_or_width_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    found = compared(tmp_path)
    with pytest.raises(UsageError, match=r"expected one of \.png, \.svg, \.pdf"):
        write_forest(tmp_path / "a.jpg", found)
    with pytest.raises(UsageError, match=r"unknown figure width 'colum'\. Did you mean column"):
        write_forest(tmp_path / "a.png", found, "colum")
    assert not list(tmp_path.glob("a.*"))
