"""Figures: what is drawn is what the table and the speakers say, and every word of it can be read."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from avbench.errors import FolderError, UsageError
from avbench.metric import Scale
from avbench.report import FIGURES, FORMATS, WIDTHS, write_figure
from avbench.report.figure import draw
from avbench.results import Results, speaker_means
from avbench.run import RunInfo
from avbench.stats import mean_interval
from avbench.table import DASH, Table, build

from .scored import make_run, make_scale, make_split, results_of

Outcome = float | str | None  # None: not scored
SPEAKERS = {"p1": "ann", "p2": "ann", "p3": "bob", "p4": "cid"}
SCALES = (
    make_scale("sim", order=0),
    make_scale("error", label="Words rejected", unit="% of words", direction="lower", digits=1, order=1),
    make_scale("lips", label="Lip motion", unit="% of face height", direction="none", digits=2, order=2),
)


def results(
    place: Path,
    methods: Mapping[str, RunInfo],
    scales: Sequence[Scale],
    outcome: Callable[[int, int, int], Outcome],
    speakers: Mapping[str, str] = SPEAKERS,
    **head: Any,
) -> Results:
    """Of handwritten scores: `outcome` of the places of method, scale and pair."""
    split = make_split(place, speakers, **head)
    for one, (method, info) in enumerate(methods.items()):
        found = {
            scale.name: {
                pair: value for at, pair in enumerate(speakers) if (value := outcome(one, number, at)) is not None
            }
            for number, scale in enumerate(scales)
        }
        make_run(place, split, method, found, scales, info)
    return results_of(place)


def infos(labels: Sequence[str], controls: int) -> dict[str, RunInfo]:
    """Methods, the last ones of which are controls; a control of that name is `truth`."""
    first = len(labels) - controls
    return {
        label if label == "truth" else f"m{at}": RunInfo(label, "model" if at < first else "control", at)
        for at, label in enumerate(labels)
    }


def of_three(place: Path) -> Results:
    """Two methods with gaps and one control, on three scales."""

    def outcome(method: int, scale: int, pair: int) -> Outcome:
        if (method, scale) == (1, 1) or (method, scale, pair) == (0, 0, 3):
            return "no face"
        return round(0.1 * (method + 1) + 0.013 * pair * pair + scale, 6)

    return results(place, infos(["ours", "theirs", "truth"], 1), SCALES, outcome, note="It ranks nothing.")


def panels(figure: Figure) -> dict[str, Axes]:
    return {str(axes.get_label()): axes for axes in figure.axes}


def drawn(axes: Axes, *kinds: str) -> list[Line2D]:
    """Artists of these kinds from the top of the panel down."""
    lines = [line for line in axes.lines if line.get_gid() in kinds]
    return sorted(lines, key=lambda line: float(np.asarray(line.get_ydata())[0]))


def numbers(line: Line2D) -> list[float]:
    return [float(number) for number in np.asarray(line.get_xdata())]


def rows(table: Table) -> list[tuple[str, str, tuple[Any, ...]]]:
    return [(row.label, row.kind, row.cells) for block in table.blocks for row in block.rows]


def texts(figure: Figure) -> list[Text]:
    found: list[Any] = figure.findobj(Text)
    return [text for text in found if text.get_visible() and text.get_text()]


def said(figure: Figure) -> list[str]:
    return [text.get_text() for text in texts(figure)]


# Numbers ---------------------------------------------------------------------------------------------------------


def test_a_dot_stands_at_the_tables_number_in_the_tables_order_and_a_gap_has_none(tmp_path: Path) -> None:
    found = of_three(tmp_path)
    table = build(found)
    for number, (scale, axes) in enumerate(panels(draw(found, table)).items()):
        assert scale == table.columns[number].scale
        cells = [cells[number] for _, _, cells in rows(table)]
        expected = [[cell.value] for cell in cells if cell.value is not None]
        assert [numbers(line) for line in drawn(axes, "method", "control")] == expected


def test_small_points_are_the_speakers_means_and_bars_their_t_interval(tmp_path: Path) -> None:
    found = of_three(tmp_path)
    for scale, axes in panels(draw(found, build(found))).items():
        means = [speaker_means(found, found.scores[entry.method, scale]).means for entry in found.methods]
        means = [of_method for of_method in means if len(of_method)]
        assert [numbers(line) for line in drawn(axes, "speakers")] == [of_method.tolist() for of_method in means]
        assert [tuple(numbers(line)) for line in drawn(axes, "interval")] == [
            mean_interval(of_method) for of_method in means
        ]


def test_rows_stand_at_the_same_height_in_every_panel_beside_their_labels(tmp_path: Path) -> None:
    found = of_three(tmp_path)
    figure = draw(found, build(found), "column")
    figure.canvas.draw()
    heights = []
    for axes in figure.axes:
        dots = drawn(axes, "method", "control")
        heights.append([float(np.asarray(dot.get_ydata())[0]) for dot in dots])
    assert heights[0] == heights[2]
    assert heights[1] == [heights[0][0], heights[0][2]]
    labels = [text for text in texts(figure) if text.get_text() in ("ours", "theirs", "truth")]
    assert len(labels) == 3 * 2, "once for each row of panels"
    for axes, beside in ((figure.axes[0], labels[:3]), (figure.axes[2], labels[3:])):
        for dot, label in zip(drawn(axes, "method", "control"), beside, strict=True):
            _, y = axes.transData.transform((0.0, float(np.asarray(dot.get_ydata())[0])))
            box = label.get_window_extent()
            assert box.y0 < y < box.y1
            assert box.x1 < axes.bbox.x0


def test_the_reference_line_stands_at_the_number_of_truth_and_only_there(tmp_path: Path) -> None:
    found = of_three(tmp_path / "with")
    table = build(found)
    truth = rows(table)[-1][2]
    for cell, axes in zip(truth, draw(found, table).axes, strict=True):
        assert [numbers(line) for line in drawn(axes, "truth")] == [[cell.value, cell.value]]
    without = results(tmp_path / "without", infos(["truth", "still"], 0), SCALES, lambda *_: 0.5)
    figure = draw(without, build(without))
    assert not [line for axes in figure.axes for line in drawn(axes, "truth")], "a model may be called truth"
    assert "value of truth" not in said(figure)


def test_one_speaker_has_no_interval_and_the_caption_says_so(tmp_path: Path) -> None:
    found = results(tmp_path, infos(["a"], 0), SCALES[:1], lambda *_: 0.5, {"p": "ann"})
    figure = draw(found, build(found))
    assert not drawn(figure.axes[0], "interval")
    assert [numbers(line) for line in drawn(figure.axes[0], "method", "speakers")] == [[0.5], [0.5]]
    assert "Without an interval: one speaker." in " ".join(said(figure))


def test_every_dot_and_speaker_is_within_its_panel_and_a_cut_interval_ends_in_an_arrow(tmp_path: Path) -> None:
    speakers = {"p1": "ann", "p2": "bob"}
    values = {0: [0.2, 0.8], 1: [0.5, 0.5001]}
    found = results(tmp_path, infos(["a", "b"], 0), SCALES[:1], lambda one, _, pair: values[one][pair], speakers)
    figure = draw(found, build(found))
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    for line in drawn(axes, "method", "speakers", "arrow"):
        assert all(low < number < high for number in numbers(line))
    assert numbers(drawn(axes, "interval")[0])[0] < low
    assert numbers(drawn(axes, "interval")[0])[1] > high
    assert [line.get_marker() for line in drawn(axes, "arrow")] == ["<", ">"]
    assert "the interval goes on" in said(figure)


def test_no_axis_magnifies_what_the_table_does_not_print(tmp_path: Path) -> None:
    found = results(tmp_path, infos(["a", "b"], 0), SCALES[:1], lambda one, _, __: 0.5 + 1e-7 * one)
    low, high = draw(found, build(found)).axes[0].get_xlim()
    assert 0.01 <= high - low <= 0.02


@pytest.mark.parametrize(
    ("low", "high", "digits"),
    [
        (0.0, 0.0, 3), (0.5, 0.5, 3), (-7.0, -7.0, 0), (0.0, 1.0, 3), (-0.03, 0.02, 3), (2.1, 2.9, 1),
        (1e6, 1e6 + 2, 0), (1e30, 3e30, 3), (-4e-9, 3e-9, 9), (123456.001, 123456.002, 3), (99_990.0, 100_010.0, 0),
        (-1e5, 3.0, 2), (0.12345, 0.12365, 5),
    ],
)  # fmt: skip
def test_numbers_on_the_axis_are_round_and_say_where_they_stand(
    tmp_path: Path, low: float, high: float, digits: int
) -> None:
    scale = make_scale("x", digits=digits, unit="bits")
    found = results(tmp_path, infos(["a", "b"], 0), [scale], lambda one, _, __: (low, high)[one], {"p": "ann"})
    figure = draw(found, build(found), "column")
    axes = figure.axes[0]
    power = re.search("×10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+) bits", " ".join(said(figure)))
    factor = 10.0 ** int(power[1].translate(str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789"))) if power else 1.0
    ticks, words = axes.get_xticks(), [label.get_text() for label in axes.get_xticklabels()]
    assert len(ticks) >= 2
    start, end = axes.get_xlim()
    for tick, word in zip(ticks, words, strict=True):
        assert float(word.replace("−", "-")) * factor == pytest.approx(tick, abs=(end - start) / 500)
        assert start <= tick <= end
        assert len(word) <= 12
    figure.canvas.draw()
    for label in axes.get_xticklabels():
        box = label.get_window_extent()
        assert axes.bbox.x0 - 8 < box.x0 < box.x1 < axes.bbox.x1 + 8, "in 1/100 inch"


# Words -----------------------------------------------------------------------------------------------------------


def test_direction_unit_coverage_dash_and_blocks_are_said(tmp_path: Path) -> None:
    found = of_three(tmp_path)
    words = said(draw(found, build(found)))
    for expected, count in {
        "Sim": 1, "Words rejected": 1, "Lip motion": 1, "better →": 1, "← better": 1, "cosine": 1, "% of words": 1,
        "% of face height": 1, "3/4": 1, "0/4": 1, DASH: 1, "Methods": 1, "Controls": 1, "the same of a control": 1,
    }.items():  # fmt: skip
        assert words.count(expected) == count, expected


def test_the_caption_says_split_digest_profile_counts_what_is_drawn_and_the_note(tmp_path: Path) -> None:
    found = of_three(tmp_path)
    words = " ".join(said(draw(found, build(found), "column")))
    for expected in (
        f"Split {found.split}: 4 pairs, 3 speakers. Profile embedded.",
        "the table's number, mean over measured clips",
        "mean of one speaker",
        "95 % t interval over speakers",
        "value of truth",
        "n/4: measured pairs, where fewer than 4.",
        f"{DASH}: nothing measured.",
        "Intervals weigh speakers alike, dots weigh clips alike.",
        "It ranks nothing.",
    ):
        assert expected in words, expected
    assert "goes on" in words, "three speakers, so t = 4.3"


def test_nothing_is_explained_that_is_not_there(tmp_path: Path) -> None:
    found = results(tmp_path, infos(["a"], 0), SCALES[:1], lambda *_: 0.5, {"p": "ann", "q": "bob"})
    words = " ".join(said(draw(found, build(found))))
    for absent in ("control", "truth", "n/2", DASH, "Intervals weigh", "Without", "goes on"):
        assert absent not in words


def test_names_are_shown_as_they_are_and_what_the_font_lacks_as_its_code(tmp_path: Path) -> None:
    shown = {
        "$x_1^2$": "$x_1^2$",
        r"\frac{1}{2}$": r"\frac{1}{2}$",
        "שלום": "שלום",
        "é 😀": "é 😀",
        "漢\u200d字": "U+6F22U+5B57",
    }
    found = results(tmp_path, infos(list(shown), 0), SCALES[:1], lambda *_: 0.5, note="$ a $ \u202e \u0007 b")
    figure = draw(found, build(found))
    words = [one.replace("\u200d", "") for one in said(figure)]
    for word in shown.values():
        assert words.count(word) == 1, word
    assert any(one.endswith("$ a $ U+202E U+0007 b") for one in words)
    assert not any(text.get_parse_math() for text in texts(figure))


# Places ----------------------------------------------------------------------------------------------------------


LONG = [
    "classical",
    "classical, plain voice",
    "idlora@identity_scale=6,seed=7,checkpoint=talkvid,another_option=1",
    "A name that somebody thought was a good idea (untrained, first 2 pairs)",
    "שלום עולם",
    "Wav2Lip_GAN^2 $x$",
    "漢字 😀",
]
NASTY = (
    make_scale("long", label="Speaker similarity to the given reference voice", order=0),
    make_scale("word", label="Donaudampfschifffahrtsgesellschaftskapitän", unit="", order=1),
    make_scale("huge", unit="bits per frame of face", digits=0, order=2, direction="lower"),
    make_scale("tiny", unit="nats", digits=9, order=3),
    make_scale("minus", digits=2, order=4),
    make_scale("same", order=5),
    make_scale("none", label="Nothing", order=6),
)
FACTORS = {"huge": 3e7, "tiny": 1e-8, "minus": -40.0}


def nasty(place: Path) -> Results:
    def outcome(method: int, scale: int, pair: int) -> Outcome:
        name = NASTY[scale].name
        if name == "none" or (method + scale + pair) % 7 == 0:
            return "no face"
        if name == "same":
            return 0.5
        return FACTORS.get(name, 1.0) * (0.05 * method + 0.013 * pair * pair)

    speakers = {f"pair{number}": f"speaker{number // 2}" for number in range(12)}
    methods = infos([*LONG, "truth", "shifted +2 frames"], 2)
    return results(place, methods, NASTY, outcome, speakers, note="A long note. " * 20)


def crowded(place: Path) -> Results:
    """Twenty methods on twelve scales, with long numbers at the ends of their axes."""
    scales = [make_scale(f"s{number}", label=f"Scale {number}", order=number) for number in range(12)]
    methods = infos([f"method {number}" for number in range(16)] + ["truth", "still", "replay", "stranger"], 4)
    speakers = {"p": "a", "q": "b"}
    return results(
        place,
        methods,
        scales,
        lambda one, scale, pair: 2000 * scale + 10.0 ** (1 - scale % 4) * one + 1e-4 * pair,
        speakers,
    )


def alone(place: Path) -> Results:
    return results(place, infos(["x"], 0), SCALES[:1], lambda *_: 0.5, {"p": "ann"}, title="One")


def overlaps(first: Bbox, second: Bbox) -> bool:
    return bool(
        min(first.x1, second.x1) > max(first.x0, second.x0) and min(first.y1, second.y1) > max(first.y0, second.y0)
    )


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("shape", [of_three, nasty, crowded, alone])
def test_no_word_touches_another_or_a_panel_or_leaves_the_sheet(
    tmp_path: Path, shape: Callable[[Path], Results], width: str
) -> None:
    found = shape(tmp_path)
    figure = draw(found, build(found), width)
    assert figure.get_figwidth() == pytest.approx(WIDTHS[width])
    figure.set_dpi(200)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    boxes = [(text.get_text(), text.get_window_extent()) for text in texts(figure)]
    for words, box in boxes:
        assert box.x0 >= 0, words
        assert box.y0 >= 0, words
        assert box.x1 <= figure.bbox.width, words
        assert box.y1 <= figure.bbox.height, words
        assert words == DASH or not any(overlaps(box, axes.bbox) for axes in figure.axes), words
    for (words, box), (others, other) in combinations(boxes, 2):
        assert not overlaps(box, other), f"{words!r} and {others!r}"
    point = figure.dpi / 72
    for axes in figure.axes:
        ticks = [label.get_window_extent() for label in axes.get_xticklabels()]
        assert all(after.x0 - before.x1 >= 5 * point for before, after in pairwise(ticks))
        assert all(axes.bbox.x0 - 6 * point <= box.x0 < box.x1 <= axes.bbox.x1 + 6 * point for box in ticks)
    for first, second in combinations([axes.bbox for axes in figure.axes], 2):
        assert not overlaps(first, second)


def test_no_type_is_smaller_than_five_and_a_half_points_nor_any_panel_narrower_than_46(tmp_path: Path) -> None:
    found = nasty(tmp_path)
    for width in WIDTHS:
        figure = draw(found, build(found), width)
        assert min(float(text.get_fontsize()) for text in texts(figure)) >= 5.5
        assert min(axes.get_position().width for axes in figure.axes) * WIDTHS[width] * 72 >= 46


def test_a_word_without_room_is_broken_into_as_few_lines_as_have_room(tmp_path: Path) -> None:
    found = nasty(tmp_path)
    words = said(draw(found, build(found)))
    first = next(number for number, word in enumerate(words) if NASTY[1].label.endswith(word) and len(word) > 2)
    pieces = [words[first]]
    while "".join(reversed(pieces)) != NASTY[1].label:
        first += 1
        pieces.append(words[first])
    assert 1 < len(pieces) <= 3
    assert "idlora@identity_scale=6,seed=7," in words, "broken after a sign"


def test_panels_of_a_row_begin_at_one_height_and_those_of_a_column_at_one_place(tmp_path: Path) -> None:
    found = nasty(tmp_path)
    places = [axes.get_position() for axes in draw(found, build(found)).axes]
    assert len({round(place.width, 9) for place in places}) == len({round(place.height, 9) for place in places}) == 1
    across = len({round(place.x0, 9) for place in places})
    assert len({round(place.y0, 9) for place in places}) == -(-len(places) // across)
    assert all(before.x0 < after.x0 or before.y0 > after.y0 for before, after in pairwise(places))


# Without colours -------------------------------------------------------------------------------------------------


def test_controls_differ_from_methods_by_shape_and_filling_and_grey_keeps_both_dark(tmp_path: Path) -> None:
    found = of_three(tmp_path)
    axes = draw(found, build(found)).axes[0]
    (method, _), (control,) = drawn(axes, "method"), drawn(axes, "control")
    assert method.get_marker() != control.get_marker()

    def grey(colour: Any) -> float:
        return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))

    assert grey(method.get_markerfacecolor()) < 0.5
    assert grey(control.get_markeredgecolor()) < 0.5
    assert grey(control.get_markerfacecolor()) > 0.9


# Files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FIGURES)
def test_the_same_table_gives_the_same_bytes_at_any_time(
    tmp_path: Path, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = alone(tmp_path)
    for second in ("1000000000", "1700000000"):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", second)
        write_figure(tmp_path / f"{second}.{form}", found, build(found))
    first, last = (tmp_path / f"{second}.{form}" for second in ("1000000000", "1700000000"))
    assert first.read_bytes() == last.read_bytes()
    assert not list(tmp_path.glob(".*.part"))


def test_every_form_carries_the_signatures_of_the_columns(tmp_path: Path) -> None:
    from PIL import Image

    found = of_three(tmp_path)
    table = build(found)
    for form in FIGURES:
        write_figure(tmp_path / f"a.{form}", found, table, "column")
    with Image.open(tmp_path / "a.png") as image:
        png = dict(image.info)
        assert image.width == round(WIDTHS["column"] * 300)
    assert png["Description"].splitlines() == list(table.signatures)
    assert png["Title"] == "avbench: mini, embedded"
    svg = ElementTree.parse(tmp_path / "a.svg").find(".//{http://purl.org/dc/elements/1.1/}description")
    assert svg is not None
    assert str(svg.text).splitlines() == list(table.signatures)
    pdf = re.search(rb"/Subject \((.*?)\)\n", (tmp_path / "a.pdf").read_bytes())
    assert pdf is not None
    assert pdf[1].decode().split("\\n") == list(table.signatures)


def test_an_svg_needs_no_font_and_nothing_from_elsewhere(tmp_path: Path) -> None:
    found = alone(tmp_path)
    write_figure(tmp_path / "a.svg", found, build(found))
    tree = ElementTree.parse(tmp_path / "a.svg")
    assert not list(tree.iter("{http://www.w3.org/2000/svg}text"))
    links = [node.get("{http://www.w3.org/1999/xlink}href", "#") for node in tree.iter()]
    assert all(link.startswith("#") for link in links)


@pytest.mark.parametrize("name", ["a.jpg", "a", "a.svg.gz"])
def test_another_ending_is_refused_with_those_that_there_are(tmp_path: Path, name: str) -> None:
    found = alone(tmp_path)
    with pytest.raises(UsageError, match=r"expected one of \.png, \.svg, \.pdf"):
        write_figure(tmp_path / name, found, build(found))
    assert not (tmp_path / name).exists()


def test_an_unknown_width_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    found = alone(tmp_path)
    with pytest.raises(UsageError, match=r"unknown figure width 'colum'. Did you mean column\? Known: column, full"):
        write_figure(tmp_path / "a.png", found, build(found), "colum")


def test_without_matplotlib_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = alone(tmp_path)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UsageError, match=r"matplotlib.*pip install 'avbench\[figure\]'"):
        write_figure(tmp_path / "a.png", found, build(found))


def test_a_folder_that_cannot_be_made_is_one_clear_error(tmp_path: Path) -> None:
    found = alone(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises((UsageError, FolderError), match="a file stands where a folder is needed"):
        write_figure(tmp_path / "file" / "a.png", found, build(found))


def test_the_command_prints_the_table_as_ever_and_draws_whatever_the_users_settings_are_and_leaves_them(
    tmp_path: Path,
) -> None:
    found = of_three(tmp_path)
    table = build(found)
    settings = tmp_path / "matplotlibrc"
    settings.write_text("font.size: 40\nno such line\ntext.usetex: True\nsvg.fonttype: none\nsavefig.bbox: tight\n")
    command = [
        "avbench", "table", "--runs", str(tmp_path / "runs"), "--split", str(tmp_path / "mini"), "--format", "csv",
        "--figure", str(tmp_path / "new" / "a.svg"), "--figure-width", "column",
    ]  # fmt: skip
    code = (
        "import logging, sys; from avbench.cli import main\n"
        f"sys.argv = {command!r}\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "import matplotlib; assert matplotlib.rcParams['font.size'] == 40.0\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "assert logging.getLogger('matplotlib').level == logging.NOTSET\n"
    )
    environment = {"MATPLOTLIBRC": str(settings), "MPLCONFIGDIR": str(tmp_path / "empty"), "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert done.stdout == FORMATS["csv"](table)
    assert done.stderr.splitlines()[-1] == f"wrote {tmp_path / 'new' / 'a.svg'}"
    assert all(line.startswith("note: ") for line in done.stderr.splitlines()[:-1])
    write_figure(tmp_path / "b.svg", found, table, "column")
    assert (tmp_path / "new" / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
