"""The scatter against lip motion: points stand where the table says, labels can be read, files carry what they show."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from avbench.cli import app
from avbench.errors import Incomplete, UsageError
from avbench.metric import Scale
from avbench.report import FIGURES, WIDTHS
from avbench.report.scatter import draw_scatter, write_scatter
from avbench.results import Results, speaker_means
from avbench.run import RunInfo
from avbench.table import build, lip_scales, without_controls

from .scored import make_run, make_scale, make_split, results_of

LIPS = make_scale("lip_motion", label="Lip motion", unit="% of face height", digits=2, direction="none", order=1)
FACE = make_scale("face_sim", label="Face sim.", order=0)
ERRORS = make_scale("wer", label="WER", unit="% of words", digits=1, direction="lower", order=2)
Outcome = float | str
PAIRS = {"p1": "ann", "p2": "ann", "p3": "bob", "p4": "eve"}
INFOS = {
    "talker": RunInfo("A talker", order=0),
    "frozen": RunInfo("Frozen", "baseline", 1),
    "truth": RunInfo("truth", "control", 2),
    "still": RunInfo("still", "control", 3),
}
WHERE = {"talker": (1.8, 0.93), "frozen": (0.2, 0.95), "truth": (2.0, 0.97), "still": (0.1, 0.96)}


def made(place: Path, infos: dict[str, RunInfo], outcome: Callable[[str, Scale, int], Outcome]) -> Results:
    split = make_split(place, PAIRS, note="It ranks nothing.")
    scales = [FACE, LIPS, ERRORS]
    for name, info in infos.items():
        rows = {scale.name: {pair: outcome(name, scale, at) for at, pair in enumerate(PAIRS)} for scale in scales}
        make_run(place, split, name, rows, scales, info)
    return results_of(place)


def usual(name: str, scale: Scale, at: int) -> Outcome:
    motion, face = WHERE[name]
    return {"lip_motion": motion, "face_sim": face, "wer": 100 * motion}[scale.name] * (1 + 0.01 * at)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return made(tmp_path, INFOS, usual)


def drawn(figure: Any, gid: str) -> list[tuple[float, float]]:
    lines = [line for line in figure.axes[0].lines if line.get_gid() == gid]
    return [(x, y) for line in lines for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def named(figure: Any) -> list[str]:
    return [re.sub(r"\s+", " ", text.get_text()) for text in figure.axes[0].texts]


# Numbers ---------------------------------------------------------------------------------------------------------


def test_a_point_stands_at_the_numbers_of_the_table_and_speakers_at_their_means(results: Results) -> None:
    table = build(results)
    figure = draw_scatter(results, table)
    at = [column.scale for column in table.columns]
    rows = {row.method: row.cells for block in table.blocks for row in block.rows}
    expected = {
        name: (cells[at.index("lip_motion")].value, cells[at.index("face_sim")].value) for name, cells in rows.items()
    }
    assert drawn(figure, "method") == [expected["talker"], expected["frozen"]]
    assert drawn(figure, "control") == [expected["truth"], expected["still"]]
    speakers = drawn(figure, "speakers")
    assert len(speakers) == 4 * 3
    means = [speaker_means(results, results.scores["talker", name]).means for name in ("lip_motion", "face_sim")]
    assert speakers[:3] == list(zip(*(one.tolist() for one in means), strict=True))
    truth = next(line for line in figure.axes[0].lines if line.get_gid() == "truth")
    assert np.asarray(truth.get_xdata())[0] == expected["truth"][0]


def test_a_speaker_is_drawn_where_both_scales_are_measured(tmp_path: Path) -> None:
    def gaps(name: str, scale: Scale, at: int) -> Outcome:
        return "no face" if (scale.name, at) in {("face_sim", 2), ("lip_motion", 3)} else usual(name, scale, at)

    found = made(tmp_path, {"talker": INFOS["talker"]}, gaps)
    figure = draw_scatter(found, build(found))
    assert len(drawn(figure, "speakers")) == 1, "ann; bob has no face, eve no lips"


def test_what_has_no_number_is_not_drawn_and_the_note_names_it(tmp_path: Path) -> None:
    def blind(name: str, scale: Scale, at: int) -> Outcome:
        return "no face" if name == "still" and scale is FACE else usual(name, scale, at)

    found = made(tmp_path, INFOS, blind)
    figure = draw_scatter(found, build(found))
    assert len(drawn(figure, "control")) == 1
    assert sorted(named(figure)) == ["A talker", "Frozen", "truth"]
    assert "Not drawn, as nothing was measured: still." in re.sub(r"\s+", " ", figure.get_supxlabel())


def test_any_scale_can_stand_against_lip_motion_and_says_which_way_is_better(results: Results) -> None:
    figure = draw_scatter(results, build(results), versus="wer")
    axes = figure.axes[0]
    assert axes.get_xlabel() == "Lip motion (% of face height)"
    assert axes.get_ylabel() == "WER (% of words), ← better"
    assert draw_scatter(results, build(results)).axes[0].get_ylabel() == "Face sim. (cosine), better →"
    with pytest.raises(UsageError, match="unknown scale 'clap'"):
        draw_scatter(results, build(results), versus="clap")


def test_without_lip_motion_it_says_what_is_wanted(results: Results) -> None:
    without = dataclasses.replace(results, scales=(FACE,))
    with pytest.raises(Incomplete, match="expected scores of both lip_motion and face_sim"):
        lip_scales(without)
    with pytest.raises(Incomplete, match="both lip_motion_dlib and face_sim_dlib"):
        draw_scatter(without, build(without))


def test_no_axis_magnifies_what_the_table_does_not_print(tmp_path: Path) -> None:
    found = made(tmp_path, INFOS, lambda name, scale, at: 0.5 + 1e-6 * at)
    low, high = draw_scatter(found, build(found)).axes[0].get_ylim()
    assert high - low >= 10 * 0.001


# Words and places ------------------------------------------------------------------------------------------------


def crowded(place: Path, spread: float) -> Results:
    names = [f"method {number} with a longer name" if number % 3 == 0 else f"m{number}" for number in range(16)]
    infos = {
        f"m{number:02}": RunInfo(name, "control" if number > 11 else "model", number)
        for number, name in enumerate(names)
    }

    def outcome(name: str, scale: Scale, at: int) -> Outcome:
        number = int(name[1:])
        turn = 2.4 * number
        level = spread * number * (np.cos(turn) if scale is LIPS else np.sin(turn))
        return float(2.0 + level + 0.002 * at)

    return made(place, infos, outcome)


def boxes(figure: Any) -> Sequence[tuple[str, Any]]:
    figure.set_dpi(200)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    return [(text.get_text(), text.get_window_extent()) for text in figure.axes[0].texts]


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("spread", [0.05, 0.0])
def test_no_label_touches_another_or_leaves_the_sheet(tmp_path: Path, width: str, spread: float) -> None:
    found = crowded(tmp_path, spread)
    figure: Any = draw_scatter(found, build(found), width=width)
    assert figure.get_figwidth() == WIDTHS[width]
    if spread:
        assert len(figure.axes[0].texts) == 16
    else:
        (together,) = named(figure)
        assert together.count("with a longer name") == 6, "points in one place are named together"
    for words, box in boxes(figure):
        assert 0 <= box.x0 < box.x1 <= figure.bbox.width, words
        assert 0 <= box.y0 < box.y1 <= figure.bbox.height, words
    for (words, box), (others, other) in combinations(boxes(figure), 2):
        shared = min(box.x1, other.x1) > max(box.x0, other.x0) and min(box.y1, other.y1) > max(box.y0, other.y0)
        assert not shared, f"{words!r} and {others!r}"
    note = figure._supxlabel.get_window_extent()
    assert 0 <= note.x0 < note.x1 <= figure.bbox.width


def test_names_are_words_and_what_the_font_lacks_is_its_code(tmp_path: Path) -> None:
    infos = {"a": RunInfo("$x_1^2$ \\frac"), "b": RunInfo("漢字")}
    found = made(tmp_path, infos, lambda name, scale, at: (1.0 if name == "a" else 2.0) + 0.01 * at)
    figure = draw_scatter(found, build(found))
    assert sorted(named(figure)) == ["$x_1^2$ \\frac", "U+6F22U+5B57"]
    assert not any(text.get_parse_math() for text in figure.axes[0].texts)


def test_controls_differ_by_shape_and_filling(results: Results) -> None:
    lines = {line.get_gid(): line for line in draw_scatter(results, build(results)).axes[0].lines}
    assert lines["method"].get_marker() != lines["control"].get_marker()
    assert lines["control"].get_markerfacecolor() == "white"


def test_hidden_controls_are_not_drawn(results: Results) -> None:
    shown = without_controls(results)
    figure = draw_scatter(shown, build(shown))
    assert drawn(figure, "control") == []
    assert drawn(figure, "truth") == []
    assert "truth" not in figure.get_supxlabel()


# Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FIGURES)
def test_the_same_results_give_the_same_bytes_at_any_time(
    tmp_path: Path, results: Results, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for second in ("1000000000", "1700000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", second)
        write_scatter(tmp_path / f"{second}.{form}", results, build(results), width="column")
    first, last = (tmp_path / f"{second}.{form}" for second in ("1000000000", "1700000000"))
    assert first.read_bytes() == last.read_bytes()


def test_a_file_carries_the_signatures_of_its_two_scales(tmp_path: Path, results: Results) -> None:
    write_scatter(tmp_path / "a.svg", results, build(results), versus="wer")
    tree = ElementTree.parse(tmp_path / "a.svg")
    said = tree.find(".//{http://purl.org/dc/elements/1.1/}description")
    assert said is not None
    assert [re.findall(r"scale:(\w+)", line) for line in str(said.text).splitlines()] == [["lip_motion"], ["wer"]]
    assert not list(tree.iter("{http://www.w3.org/2000/svg}text")), "letters are paths"


def test_another_ending_or_width_is_refused(tmp_path: Path, results: Results) -> None:
    with pytest.raises(UsageError, match=r"expected one of \.png, \.svg, \.pdf"):
        write_scatter(tmp_path / "a.jpg", results, build(results))
    with pytest.raises(UsageError, match="unknown figure width 'wide'"):
        write_scatter(tmp_path / "a.png", results, build(results), width="wide")
    assert not list(tmp_path.glob("a.*"))


def test_the_command_draws_it_beside_the_table(
    tmp_path: Path, results: Results, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["table", "--runs", str(tmp_path / "runs"), "--split", str(tmp_path / "mini"), "--format", "csv"]
    app.main([*words, "--scatter", str(tmp_path / "new" / "a.svg"), "--scatter-scale", "wer"], standalone_mode=False)
    out, err = capsys.readouterr()
    assert out.startswith("method,")
    assert err.splitlines()[-1] == f"wrote {tmp_path / 'new' / 'a.svg'}"
    write_scatter(tmp_path / "b.svg", results, build(results), versus="wer")
    assert (tmp_path / "new" / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
