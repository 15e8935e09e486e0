"""Figures and words of human studies: what is drawn is what was counted, and every word of it can be read."""

from __future__ import annotations

import io
import itertools
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from avbench.cli.study import study
from avbench.errors import UsageError
from avbench.report import FIGURES
from avbench.report.opinions import (
    draw_means,
    draw_rates,
    opinions_text,
    preferences_text,
    totals_text,
    write_means,
    write_rates,
)
from avbench.votes import Opinions, Preference, Rating, Vote, fitting_counts, opinions, sensitivity, tally

HOSTILE = "50 % $x_1$ {漢\u202e字} \\alpha _ & <b> very long and longer and longer still and " + "w" * 90


def preferences(others: Sequence[str] = ("old", "older"), question: str = "voice") -> tuple[Preference, ...]:
    rng = np.random.default_rng(1)
    return tally(
        [
            Vote(f"r{r}", f"p{p}", f"s{p % 3}", f"{question} {q}", "new", other, rng.choice(["ours", "tie", "other"]))
            for other, q, p, r in itertools.product(others, range(2), range(9), range(4))
        ]
    )


def ratings(methods: Sequence[str] = ("new", "old"), scenarios: Sequence[str] = ("clap", "drum")) -> Opinions:
    rng = np.random.default_rng(2)
    return opinions(
        [
            Rating(f"r{r}", f"{scenario}{p}", method, int(rng.integers(1, 6)), f"s{p}", scenario)
            for scenario, p, method, r in itertools.product(scenarios, range(3), methods, range(4))
        ]
    )


def named(figure: Figure, gid: str) -> list[Line2D]:
    """Lines of that name, from the top."""
    lines = [line for axes in figure.axes for line in axes.get_lines() if line.get_gid() == gid]
    return sorted(lines, key=lambda line: float(np.asarray(line.get_ydata())[0]))


def spans(lines: Sequence[Line2D]) -> list[list[float]]:
    return [np.asarray(line.get_xdata(), dtype=float).tolist() for line in lines]


def rendered(figure: Figure) -> list[Text]:
    """Every text that is seen, after the figure is laid out; a letter that the font lacks would be a warning."""
    figure.savefig(io.BytesIO(), format="png")
    texts: list[Any] = figure.findobj(Text)
    return [text for text in texts if text.get_visible() and text.get_text()]


# Rates -------------------------------------------------------------------------------------------------------------


def test_bars_are_the_shares_and_fill_the_row() -> None:
    rows = preferences()
    axes = next(axes for axes in draw_rates(rows).axes if axes.get_label() == "votes")
    bars = [patch for patch in axes.patches if isinstance(patch, Rectangle)]
    assert len(bars) == 3 * len(rows)
    for at, row in enumerate(rows):
        three = bars[3 * at : 3 * at + 3]
        counts = (row.counts.wins, row.counts.ties, row.counts.losses)
        assert [bar.get_width() for bar in three] == pytest.approx([100 * one / row.counts.votes for one in counts])
        assert three[0].get_x() == 0
        assert three[2].get_x() + three[2].get_width() == pytest.approx(100)


def test_win_rates_stand_at_their_number_within_their_interval() -> None:
    rows = preferences()
    figure = draw_rates(rows)
    rates = [row.counts.win_rate for row in rows]
    assert [place for (place,) in spans(named(figure, "win rate"))] == [
        100 * rate for rate in rates if rate is not None
    ]
    assert spans(named(figure, "interval")) == [
        [100 * row.interval.lower, 100 * row.interval.upper] for row in rows if row.interval is not None
    ]


def test_every_other_method_has_a_heading_and_every_row_its_votes() -> None:
    words = [text.get_text() for text in rendered(draw_rates(preferences()))]
    assert [one for one in words if one.startswith("new against")] == ["new against old", "new against older"]
    assert words.count("n = 36") == 4


def test_no_rate_is_drawn_where_every_vote_is_a_tie() -> None:
    rows = tally([Vote("ann", "p1", "s1", "voice", "new", "old", "tie")])
    figure = draw_rates(rows)
    assert named(figure, "win rate") == named(figure, "interval") == []
    words = [text.get_text() for text in rendered(figure)]
    assert "–" in words
    assert any("no interval: one pair and one rater" in one.replace("\n", " ") for one in words)


# Means -------------------------------------------------------------------------------------------------------------


def test_means_stand_at_their_number_all_scenarios_first() -> None:
    found = ratings()
    figure = draw_means(found)
    for number, method in enumerate(found.methods):
        drawn = [place for (place,) in spans(named(figure, f"mean {number}"))]
        assert drawn == [one.mean for one in found.opinions if one.method == method]


def test_an_interval_that_leaves_the_scale_says_so() -> None:
    wide = [Rating("ann", "p1", "new", 1), Rating("ann", "p2", "new", 5)]
    figure = draw_means(opinions(wide))
    assert spans(named(figure, "arrow")) == [[1.0], [5.0]]
    assert any("An arrowhead: the interval goes on." in text.get_text().replace("\n", " ") for text in rendered(figure))
    narrow = draw_means(opinions([Rating("ann", f"p{at}", "new", 3 + at % 2) for at in range(9)]))
    assert named(narrow, "arrow") == []
    assert not any("arrowhead" in text.get_text() for text in rendered(narrow))


def test_methods_are_told_apart_without_colour() -> None:
    found = ratings(methods=[f"m{at}" for at in range(7)])
    figure = draw_means(found)
    shapes = [str(named(figure, f"mean {number}")[0].get_marker()) for number in range(7)]
    assert len(set(shapes)) == 7


# Words and files ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("figure", ["rates", "means"])
def test_hostile_words_are_shown_within_the_figure(figure: str) -> None:
    drawn = (
        draw_rates(preferences([HOSTILE, "old"], HOSTILE))
        if figure == "rates"
        else draw_means(ratings([HOSTILE, "old"], [HOSTILE, "clap"]))
    )
    texts = rendered(drawn)
    assert any("U+6F22" in text.get_text().replace("\n", "") for text in texts)
    page = drawn.bbox
    for text in texts:
        box = text.get_window_extent()
        assert page.x0 - 1 <= box.x0, text.get_text()
        assert box.x1 <= page.x1 + 1, text.get_text()
        assert page.y0 - 1 <= box.y0, text.get_text()
        assert box.y1 <= page.y1 + 1, text.get_text()


@pytest.mark.parametrize("figure", ["rates", "means"])
def test_no_two_labels_of_rows_overlap(figure: str) -> None:
    drawn = (
        draw_rates(preferences(question=HOSTILE))
        if figure == "rates"
        else draw_means(ratings(scenarios=[HOSTILE, HOSTILE + "2"]))
    )
    rendered(drawn)
    boxes = [text.get_window_extent() for text in drawn.axes[0].get_yticklabels()]
    for one, other in itertools.combinations(boxes, 2):
        assert not one.overlaps(other)


@pytest.mark.parametrize("form", FIGURES)
def test_the_same_numbers_give_the_same_bytes(tmp_path: Path, form: str) -> None:
    cases: list[tuple[str, Any, Any]] = [("rates", write_rates, preferences()), ("means", write_means, ratings())]
    for name, write, found in cases:
        paths = [tmp_path / f"{name}{number}.{form}" for number in range(2)]
        for path in paths:
            write(path, found)
        assert paths[0].read_bytes() == paths[1].read_bytes() != b""


def test_another_form_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    write: Any
    for write in (write_rates, write_means):
        with pytest.raises(UsageError, match=r"a figure ending in '\.bmp'"):
            write(tmp_path / "rates.bmp", None)


def test_the_commands_draw_where_they_are_asked_to(tmp_path: Path) -> None:
    votes = tmp_path / "votes.csv"
    votes.write_text("rater,pair,speaker,question,ours,other,vote\nann,p1,s1,voice,new,old,ours\n")
    rated = tmp_path / "mos.csv"
    rated.write_text("rater,pair,method,rating\nann,p1,new,4\n")
    for verb, file in (("votes", votes), ("mos", rated)):
        path = tmp_path / f"{verb}.svg"
        done = CliRunner().invoke(study, [verb, str(file), "--figure", str(path)])
        assert done.exit_code == 0, done.exception
        assert f"wrote {path}" in done.stderr
        assert path.read_text().startswith("<?xml")


def test_words_of_votes_say_what_is_taken_as_independent() -> None:
    rows = preferences()
    said = preferences_text(rows)
    first = said.split("\n\n")[1]
    for words in (
        "votes: binomial, Wilson",
        "votes: Clopper-Pearson",
        "pairs: t, bootstrap",
        "raters: t",
        "speakers: t",
    ):
        assert words in first
    counts = rows[0].counts
    assert f"wins {counts.wins}, losses {counts.losses}, ties {counts.ties}; pairs 9, raters 4, speakers 3" in first
    assert f"{rows[0].clustered[2].flip.attainable:.3f}" == "0.250"
    assert "0.250" in first.splitlines()[-2]


def test_words_and_the_figure_say_where_there_is_no_error_to_judge_by() -> None:
    places = list(itertools.product(("ann", "bob"), ("p1", "p2")))
    rows = tally([Vote(rater, pair, pair, "voice", "new", "old", "ours") for rater, pair in places])
    said = preferences_text(rows)
    assert "0.0e+00" not in said
    assert said.count("0.500 (0.500)*") == 4
    assert "*: all clusters are alike, so t has no error to judge by. No interval" in said
    assert "*" not in preferences_text(preferences())
    figure = draw_rates(rows)
    assert spans(named(figure, "win rate")) == [[100.0]]
    assert named(figure, "interval") == []
    assert any("clusters that are all alike" in one.get_text().replace("\n", " ") for one in rendered(figure))
    rated = [Rating(rater, pair, method, at, pair) for rater, pair in places for method, at in (("new", 5), ("old", 3))]
    said = opinions_text(opinions(rated))
    assert "0.0e+00" not in said
    assert said.count("0.500 (0.500)*") == 3


def test_words_of_ratings_name_the_contrast_that_claims_go_by() -> None:
    said = opinions_text(ratings())
    assert "with the speaker and the rater in clusters (two-way t); claims go by these." in said.replace("\n", " ")
    (whole, *_) = ratings().contrasts
    assert whole.crossed is not None
    line = next(line for line in said.splitlines() if line.startswith("  all "))
    assert line.endswith(f"{whole.crossed.p:.3f} ({whole.crossed_adjusted:.3f})")
    assert f"24  {whole.crossed.value:+.2f} [" in line


def test_words_of_ratings_have_a_row_for_each_method_and_scenario() -> None:
    said = opinions_text(ratings()).splitlines()
    assert [line.split()[0] for line in said if line and not line.startswith(" ")].count("clap") == 1
    assert sum(line.startswith("  new ") for line in said) == 3
    assert "new against old" in said
    alone = opinions_text(opinions([Rating("ann", "p1", "new", 4)]))
    assert "against" not in alone
    assert "0/1 0.0 %" in alone


def test_words_of_totals_say_where_a_p_is_lost() -> None:
    fits = [(fit, sensitivity(*fit, fit.votes / 35)) for fit in fitting_counts(55.5, 39.9, 58.1)]
    assert "correlation 0.11" in totals_text(fits)
    sure = fitting_counts(80.7, 17.5, 82.1)[0]
    assert "no correlation" in totals_text([(sure, sensitivity(*sure, 8.0))])
    assert "none is needed" in totals_text([(sure, sensitivity(5, 4, 0, 8.0))])


def test_human_studies_need_matplotlib_for_their_figures_only() -> None:
    code = "import sys, avbench.votes, avbench.table.human, avbench.report.opinions, avbench.cli.study; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"matplotlib", "scipy", "torch"} & {name.partition(".")[0] for name in done.stdout.split()}
