"""The paper's numbers: printed as they stand, marked as they should be, and held against each other."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
from fractions import Fraction
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from avbench.cli.published import check_published, published
from avbench.errors import UsageError
from avbench.published import (
    KINDS,
    Check,
    beside,
    check,
    paper,
    preferences_table,
    ratings_table,
    table_of,
    tables,
    tables_of,
)
from avbench.published.numbers import _load
from avbench.report import FORMATS
from avbench.report.recount import as_json, text
from avbench.split import load_split
from avbench.table import Block, Cell, Column, Row, Table

from .paper import compiled, needs_latex
from .wheel import said, unpacked

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "reports" / "published" / "id-lora"
DOWNWARD = ("lse_d", "wer")
UNDERLINING = (1, 2, 3)
PRINTED = {"best": "bold", "second": "underlined", "": "plain"}
NUMBER = re.compile(r"[-+]?\d+(\.\d+)?")


def lines_of(number: int) -> list[dict[str, str]]:
    """The CSV as it lies there; `row` is the method, or the setting of Table 5."""
    with (DATA / f"table{number}.csv").open(newline="") as file:
        return [{**line, "row": line.get("method") or line.get("identity_scale", "")} for line in csv.DictReader(file)]


def invoke(*words: str) -> Result:
    command = {"published": published, "check-published": check_published}[words[0]]
    return CliRunner().invoke(command, words[1:])


def undecided() -> list[Check]:
    return [one for one in check().checks if one.status == "cannot be decided"]


def wrong(kind: str) -> list[Check]:
    return [one for one in check().disagreements if one.kind == kind]


def ours(*scales: str) -> Table:
    """A table of ours with one method."""
    cells = tuple(Cell("0.5", 0.5, measured=2, mark="best") for _ in scales)
    columns = tuple(Column(scale, scale, "", "↑", 1) for scale in scales)
    return Table("hard", "c", columns, (Block("Methods", (Row("mine", "Mine", "model", cells),)),), (), ("s",))


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """A copy of the numbers, to be changed. The one in the working folder is taken before that of the checkout."""
    folder = tmp_path / "reports" / "published" / "id-lora"
    shutil.copytree(DATA, folder)
    return folder


def edit(path: Path, old: str, new: str) -> None:
    content = path.read_text()
    assert content.count(old) == 1, old
    path.write_text(content.replace(old, new))


# Tables ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", range(1, 6))
def test_every_number_of_the_csv_stands_in_the_table_once_digit_for_digit(number: int) -> None:
    rows = list(csv.DictReader(io.StringIO(FORMATS["csv"](table_of(number)))))
    found = []
    for row in rows:
        where, _, name = row["method"].removeprefix(f"id-lora/table{number}/").rpartition("/")
        for key, value in row.items():
            if key.removeprefix(f"{where}/").rpartition("/")[2] in paper().head.metrics and value:
                split, _, metric = key.rpartition("/")
                found.append((split or where, name, metric, value))
    assert sorted(found) == sorted((one["split"], one["row"], one["metric"], one["value"]) for one in lines_of(number))


@pytest.mark.parametrize("number", range(1, 6))
def test_the_value_of_a_cell_is_what_is_printed(number: int) -> None:
    cells = [cell for block in table_of(number).blocks for row in block.rows for cell in row.cells]
    assert len(cells) == len(lines_of(number))
    assert all(Fraction(cell.text) == Fraction(repr(cell.value)) for cell in cells)
    assert not any(cell.coverage or cell.stars or cell.measured for cell in cells)


def test_the_tables_have_the_forms_of_the_paper() -> None:
    shapes = [[(block.heading, len(block.rows), len(table.columns)) for block in table.blocks] for table in tables()]
    assert shapes == [
        [("CelebV-HQ easy", 5, 6), ("CelebV-HQ hard", 5, 6), ("TalkVid", 6, 6)],
        [("CelebV-HQ easy", 5, 6), ("CelebV-HQ hard", 5, 6), ("TalkVid", 6, 6)],
        [("CelebV-HQ hard", 3, 5)],
        [("", 5, 6)],
        [("CelebV-HQ hard", 8, 5)],
    ]
    assert [column.scale for column in table_of(1).columns] == ["spk_sim", "face_sim", "lse_d", "lse_c", "clap", "wer"]
    assert [column.heading.replace("\N{NO-BREAK SPACE}", " ") for column in table_of(4).columns] == [
        "Hard Lip ↑", "Hard Face ↑", "Easy Lip ↑", "Easy Face ↑", "TalkVid Lip ↑", "TalkVid Face ↑",
    ]  # fmt: skip
    sweep = table_of(5)
    assert sweep.corner == "identity scale"
    assert [row.label for row in sweep.blocks[0].rows] == ["2", "4 (default)", "6", "8", "10", "12", "14", "16"]


def test_every_published_table_says_what_it_is_and_ranks_nothing_of_ours() -> None:
    for table in [*tables(), *tables_of("hard")]:
        assert "as published (arXiv 2603.10256): other items, not comparable" in table.caption
        assert {row.kind for block in table.blocks for row in block.rows} == {"published"}
        assert table.signatures == ()
    names = [table.name for split in ("easy", "hard", "talkvid") for table in tables_of(split)]
    assert len({*names, *(table.name for table in tables())}) == len(names) + 5, "a label of LaTeX each"


def test_a_split_has_the_tables_that_speak_of_it() -> None:
    assert [table.name for table in tables_of("easy")] == [f"id-lora-table{n}-easy" for n in (1, 2, 4)]
    assert [table.name for table in tables_of("hard")] == [f"id-lora-table{n}-hard" for n in (1, 2, 3, 4, 5)]
    assert tables_of("demo") == []
    (block,) = tables_of("easy")[2].blocks
    assert block.heading == "CelebV-HQ easy"
    assert [[cell.text for cell in row.cells] for row in block.rows][1] == ["0.97", "0.947"]
    assert [row.cells[1].mark for row in block.rows] == ["", "best", "", "", ""]
    assert [column.scale for column in tables_of("easy")[2].columns] == ["lip_motion", "face_sim"]


def test_a_table_without_that_number_is_refused() -> None:
    with pytest.raises(UsageError, match=r"unknown published table '7'. Known: 1, 2, 3, 4, 5"):
        table_of(7)


def test_the_studies_are_printed_as_they_were() -> None:
    rates = {
        (block.heading.partition("against ")[2], row.label): [cell.text for cell in row.cells]
        for block in preferences_table().blocks
        for row in block.rows
    }
    assert rates["ElevenLabs + WAN2.2", "speech manners"][:4] == ["55.5", "4.6", "39.9", "58.1"]
    with (DATA / "human_ab.csv").open(newline="") as file:
        for line in csv.DictReader(file):
            if line["win_rate_pct"]:
                cells = rates[line["baseline"], line["question"].replace("_", " ")]
                assert [cells[0], cells[2], cells[3]] == [
                    line["preferred_pct"], line["baseline_pct"], line["win_rate_pct"],
                ]  # fmt: skip
    assert len(rates) == 6
    (block,) = ratings_table().blocks
    assert [[cell.text for cell in row.cells] for row in block.rows] == [
        ["3.05", "15.3", "450"],
        ["2.90", "23.3", "450"],
    ]


@needs_latex
def test_all_published_tables_compile_within_the_page(tmp_path: Path) -> None:
    everything = [*tables(), preferences_table(), ratings_table(), *tables_of("hard")]
    log = compiled(tmp_path, "\\clearpage\n".join(FORMATS["latex"](table) for table in everything))
    assert "Overfull" not in log
    assert "multiply" not in log  # labels


# Beside ours -----------------------------------------------------------------------------------------------------


def test_published_rows_stand_under_our_columns_in_blocks_of_their_own_without_marks() -> None:
    table = ours("face_sim", "other", "spk_sim")
    both = beside(table, "hard")
    assert both.blocks[0] == table.blocks[0]
    assert both._replace(blocks=table.blocks) == table
    assert [block.heading for block in both.blocks[1:]] == ["ID-LoRA, Table 1", "ID-LoRA, Table 2"]
    assert {block.note for block in both.blocks[1:]} == {"as published (arXiv 2603.10256), other items, not comparable"}
    rows = [row for block in both.blocks[1:] for row in block.rows]
    assert [[cell.text for cell in row.cells] for row in rows if row.label == "Kling 2.6 Pro"] == [
        ["0.854", "", "0.385"]
    ]
    assert not any(cell.mark for row in rows for cell in row.cells)
    assert not any(row.cells[1].value for row in rows)
    for form in FORMATS.values():
        assert "0.385" in form(both)


def test_other_forms_have_their_own_tables() -> None:
    assert [block.heading for block in beside(ours("wer"), "hard", "sweep").blocks[1:]] == ["ID-LoRA, Table 5"]
    assert [block.heading for block in beside(ours("lip_motion"), "easy", "lip-bias").blocks[1:]] == [
        "ID-LoRA, Table 4"
    ]
    with pytest.raises(UsageError, match="no such table of split 'easy'"):
        beside(ours("wer"), "easy", "ablation")


def test_rows_of_a_published_sweep_say_what_they_are_under_somebody_elses_heading() -> None:
    under = beside(ours("wer")._replace(corner="steps"), "hard", "sweep").blocks[1]
    assert [row.label for row in under.rows][:3] == [
        "identity scale 2",
        "identity scale 4 (default)",
        "identity scale 6",
    ]
    same = beside(ours("wer")._replace(corner="identity scale"), "hard", "sweep").blocks[1]
    assert [row.label for row in same.rows][:2] == ["2", "4 (default)"]


def test_several_tables_are_one_page_and_csv_parts_them_by_a_blank_line() -> None:
    page = invoke("published", "--format", "html").output
    assert page.count("<!DOCTYPE html>") == page.count("</html>") == 1
    assert page.count("<table>") == 7
    parts = invoke("published", "--format", "csv").output.split("\n\n")
    assert [part.partition(",")[0] for part in parts] == ["method"] * 7
    for part in parts:
        assert len({len(line) for line in csv.reader(io.StringIO(part))}) == 1, "as many fields on every line"


def test_csv_of_the_studies_has_p_to_the_last_bit() -> None:
    rows = csv.DictReader(io.StringIO(FORMATS["csv"](preferences_table())))
    values = [float(row["p"]) for row in rows]
    cells = [row.cells for block in preferences_table().blocks for row in block.rows]
    assert values == [row[5].value for row in cells]
    assert min(values) < 0.001


def test_a_split_or_columns_without_published_numbers_are_refused() -> None:
    with pytest.raises(UsageError, match=r"no such table of split 'demo'; expected one of easy, hard, talkvid"):
        beside(ours("spk_sim"), "demo")
    with pytest.raises(UsageError, match=r"none of the scales spk_sim_ge2e; it has spk_sim.*--profile authors"):
        beside(ours("spk_sim_ge2e"), "hard")
    with pytest.raises(UsageError) as error:
        beside(ours("lip_motion"), "hard")
    assert "has none of the scales lip_motion; it has spk_sim, face_sim, lse_d, lse_c, clap, wer." in str(error.value)


# The recount -----------------------------------------------------------------------------------------------------


def recounted_marks() -> dict[tuple[int, str, str, str], str]:
    """Every mark by counting, for each number, the different better ones of its column. Not how the code does it."""
    found = {}
    for number in range(1, 6):
        lines = lines_of(number)
        for one in lines:
            values = {
                Fraction(other["value"])
                for other in lines
                if (other["split"], other["metric"]) == (one["split"], one["metric"])
            }
            mine = Fraction(one["value"])
            better = sum(value < mine if one["metric"] in DOWNWARD else value > mine for value in values)
            place = {0: "best", 1: "second" if number in UNDERLINING else ""}.get(better, "")
            found[number, one["split"], one["metric"], one["row"]] = place
    return found


def test_marks_are_those_of_an_independent_recount() -> None:
    recount = recounted_marks()
    for number in range(1, 6):
        table = table_of(number)
        for block in table.blocks:
            for row in block.rows:
                *_, name = row.method.split("/")
                for column, cell in zip(table.columns, row.cells, strict=True):
                    split, _, metric = column.scale.rpartition("/")
                    of = split or row.method.split("/")[2]
                    assert cell.mark == recount[number, of, metric, name], (number, of, metric, name)


def test_the_wrong_marks_are_exactly_these() -> None:
    recount = recounted_marks()
    labels = {"easy": "CelebV-HQ easy", "hard": "CelebV-HQ hard", "talkvid": "TalkVid"}
    metrics = {name: metric.label for name, metric in paper().head.metrics.items()}
    expected = []
    for number in range(1, 6):
        for line in lines_of(number):
            mark = recount[number, line["split"], line["metric"], line["row"]]
            if mark != line["printed_mark"]:
                row = f"identity scale {line['row']}" if number == 5 else line["row"]
                place = f"Table {number}, {labels[line['split']]}, {metrics[line['metric']]}, {row}"
                expected.append((place, f"{line['value']} {PRINTED[line['printed_mark']]}", PRINTED[mark]))
    found = [(one.where, one.printed, one.recomputed) for one in wrong("mark")]
    assert found == expected
    assert len(found) == 16
    assert {
        ("Table 4, CelebV-HQ easy, Face Sim, LTX-Zeroshot", "0.944 bold", "plain"),
        ("Table 4, CelebV-HQ easy, Face Sim, VoiceCraft-MFA-LTX", "0.947 plain", "bold"),
        ("Table 5, CelebV-HQ hard, LSE-D, identity scale 4", "8.50 bold", "plain"),
        ("Table 2, CelebV-HQ hard, WER, LTX-Zeroshot", "2.393 underlined", "plain"),
        ("Table 2, CelebV-HQ hard, WER, ElevenLabs + LTX", "0.152 plain", "underlined"),
        ("Table 2, CelebV-HQ hard, LSE-C, LTX-Zeroshot", "2.07 underlined", "plain"),
        ("Table 3, CelebV-HQ hard, WER, No Identity Guidance", "0.113 plain", "bold"),
        ("Table 1, CelebV-HQ easy, CLAP, ElevenLabs + WAN2.2", "0.266 underlined", "plain"),
        ("Table 1, TalkVid, Face Sim, ElevenLabs + WAN2.2", "0.772 plain", "underlined"),
    } <= set(found)


def test_all_else_that_is_wrong_is_exactly_this() -> None:
    """By hand, from the paper's tables and text."""
    assert [(one.where, one.printed, one.recomputed) for one in wrong("run")] == [
        ("Table 3, CelebV-HQ hard, LSE-D, ID-LoRA", "8.50", "8.49 in Table 1"),
        ("Table 5, CelebV-HQ hard, LSE-D, identity scale 4", "8.50", "8.49 in Table 1"),
    ]
    assert [(one.where.rpartition(", of ")[2], one.recomputed) for one in wrong("statement")] == [
        ("Table 1, TalkVid, CLAP", "ID-LoRA 0.385, but VoiceCraft + WAN2.2 0.407"),
        ("Table 1, CelebV-HQ easy, CLAP", "Kling 2.6 Pro 0.327, but VoiceCraft + WAN2.2 0.335"),
        (
            "Table 1, TalkVid, CLAP",
            "ID-LoRA 0.385, but VoiceCraft + WAN2.2 0.407; Kling 2.6 Pro 0.326, but VoiceCraft + WAN2.2 0.407",
        ),
        ("Table 2, CelebV-HQ easy, LSE-C", "LTX-Zeroshot 2.41, but VoiceCraft + LTX 2.32"),
        ("Table 2, CelebV-HQ hard, LSE-C", "LTX-Zeroshot 2.07, but VoiceCraft + LTX 1.52"),
        ("Table 2, TalkVid, LSE-C", "LTX-Zeroshot 2.45, but CosyVoice 3.0 + LTX 2.33, VoiceCraft + LTX 1.81"),
        ("Table 4, TalkVid, Face Sim", "ID-LoRA 0.832, but CosyVoice-LTX 0.828, ElevenLabs-LTX 0.829"),
        ("Table 4, CelebV-HQ easy, Lip motion", "LTX-Zeroshot 1.73, but VoiceCraft-MFA-LTX 0.97, ElevenLabs-LTX 1.29"),
        ("Table 4, CelebV-HQ easy, Face Sim", "LTX-Zeroshot 0.944, but VoiceCraft-MFA-LTX 0.947"),
        (
            "Table 4, CelebV-HQ easy, Lip motion",
            "ElevenLabs-LTX 1.29 and 0.942, but LTX-Zeroshot 1.73 and 0.944",
        ),
        (
            "Table 4, TalkVid, Lip motion",
            "CosyVoice-LTX 2.95 and 0.828, but ID-LoRA 3.07 and 0.832; "
            "ElevenLabs-LTX 2.82 and 0.829, but VoiceCraft-MFA-LTX 2.94 and 0.832; "
            "ElevenLabs-LTX 2.82 and 0.829, but ID-LoRA 3.07 and 0.832",
        ),
        ("Table 1, TalkVid, Face Sim", "Kling 2.6 Pro 0.754"),
        ("Table 1, TalkVid, Face Sim", "Kling 2.6 Pro 0.754"),
    ]
    assert wrong("total") == []
    assert [(one.where, one.printed, one.recomputed) for one in wrong("preference")] == [
        ("authors' repository README, speech manners against ElevenLabs + WAN2.2", "p < 0.001", "p = 0.0088"),
    ]
    assert [(one.where, one.printed, one.recomputed, one.remark) for one in wrong("again")] == [
        (
            "authors' repository README, environment sounds against ElevenLabs + WAN2.2",
            "26 %",
            "5.6 % in Figure 3",
            "26 % is the share of equal votes",
        ),
    ]
    assert wrong("rating") == []
    assert [(one.where, one.recomputed) for one in wrong("claim")] == [
        ("section 6", "p = 0.093 in appendix D.2"),
        ("section 6", "appendix D.2 has ratings of ID-LoRA and Kling 2.6 Pro only"),
    ]
    assert len(check().disagreements) == 16 + 2 + 13 + 1 + 1 + 2


def test_p_of_the_ratings_cannot_be_decided_and_is_no_disagreement() -> None:
    (one,) = undecided()
    assert (one.printed, one.recomputed) == ("p = 0.093 beside d = 0.115", "p = 0.085")
    assert "t of 423 to 432 valid ratings" in one.remark
    assert "424, 425 and 430 print as both shares of Bad" in one.remark
    assert "Mann-Whitney on 450 and 450" in one.remark
    assert check().undecided == (one,)
    assert one not in check().disagreements


def test_the_histograms_that_leave_p_open_are_those_of_an_independent_tool() -> None:
    import numpy as np
    from scipy.stats import mannwhitneyu

    ours, other = (np.repeat(np.arange(1, 6), one) for one in paper().head.ratings.possible)
    assert (len(ours), len(other), sum(ours == 1), sum(other == 1)) == (450, 450, 69, 105)
    assert (round(ours.mean(), 2), round(other.mean(), 2)) == (3.05, 2.9)
    pooled = np.sqrt((ours.var(ddof=1) + other.var(ddof=1)) / 2)
    assert round((ours.mean() - other.mean()) / pooled, 3) == 0.115
    assert round(mannwhitneyu(ours, other, method="asymptotic", use_continuity=False).pvalue, 3) == 0.093


def test_ratings_that_no_reading_fits_disagree(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    edit(copied / "human_mos.csv", "ID-LoRA vs Kling 2.6 Pro,0.093", "ID-LoRA vs Kling 2.6 Pro,0.013")
    monkeypatch.chdir(copied.parents[2])
    assert [one.printed for one in wrong("rating")] == ["p = 0.013 beside d = 0.115"]
    assert undecided() == []
    assert [one.where for one in wrong("claim")] == ["section 6"], (
        "that p would be significant; the cascades stay unrated"
    )


def test_without_the_histograms_and_with_the_p_of_all_ratings_each_status_has_its_reason(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(copied / "paper.toml", "[69, 90, 105, 120, 66]", "[69, 90, 105, 119, 67]")
    monkeypatch.chdir(copied.parents[2])
    (one,) = undecided()
    assert "valid ratings" in one.remark
    assert "Mann-Whitney" not in one.remark
    edit(copied / "human_mos.csv", "ID-LoRA vs Kling 2.6 Pro,0.093", "ID-LoRA vs Kling 2.6 Pro,0.085")
    _load.cache_clear()
    assert undecided() == wrong("rating") == []


def test_places_of_one_fact_are_linked() -> None:
    facts = [[one.where for one in fact] for fact in check().facts if len(fact) > 1]
    assert facts == [
        ["Table 2, CelebV-HQ hard, WER, ElevenLabs + LTX", "Table 2, CelebV-HQ hard, WER, LTX-Zeroshot"],
        [
            "Table 4, CelebV-HQ easy, Face Sim, LTX-Zeroshot",
            "Table 4, CelebV-HQ easy, Face Sim, VoiceCraft-MFA-LTX",
            "appendix B.1, of Table 4, CelebV-HQ easy, Face Sim",
        ],
        ["Table 3, CelebV-HQ hard, LSE-D, ID-LoRA", "Table 5, CelebV-HQ hard, LSE-D, identity scale 4"],
        ["section 1, of Table 1, TalkVid, CLAP", "section 5.1, of Table 1, TalkVid, CLAP"],
        [
            "appendix B.1, of Table 4, TalkVid, Face Sim",
            "appendix B.1, caption, of Table 4, TalkVid, Lip motion",
        ],
        [
            "appendix B.1, of Table 4, CelebV-HQ easy, Lip motion",
            "appendix B.1, caption, of Table 4, CelebV-HQ easy, Lip motion",
        ],
        ["section 5.3, of Table 1, TalkVid, Face Sim", "appendix B.1, of Table 1, TalkVid, Face Sim"],
    ]
    assert len(check().facts) == 35 - 8
    assert sorted(one for fact in check().facts for one in fact) == sorted(check().disagreements)


def test_what_is_assumed_or_limits_a_finding_is_said() -> None:
    remarks = {one.where: one.remark for one in check().disagreements}
    assert "is assumed; Table 5 says two-stage" in remarks["Table 5, CelebV-HQ hard, LSE-D, identity scale 4"]
    assert remarks["Table 3, CelebV-HQ hard, LSE-D, ID-LoRA"] == ""
    assert "0.412" in remarks["section 1, of Table 1, TalkVid, CLAP"]
    assert "headed CelebV-HQ" in remarks["section 5.1, of Table 1, TalkVid, CLAP"]
    assert "names none" in remarks["section 5.3, of Table 1, TalkVid, Face Sim"]


def test_nothing_is_left_unchecked() -> None:
    report = check()
    assert report.tally("mark")[0] == sum(len(lines_of(number)) for number in range(1, 6))
    assert report.tally("run")[0] == 6 + 6 + 5 + 5 + 6 + 6  # metrics that two tables of one run share
    assert [report.tally(kind)[0] for kind in KINDS][2:] == [49, 2, 18, 5, 6, 2]
    assert {one.kind for one in report.checks} == set(KINDS)


def test_what_the_text_says_in_numbers_is_recomputed_by_hand_fractions() -> None:
    said = {one.printed: one for one in check().checks if one.kind == "statement" and NUMBER.search(one.printed[-6:])}
    gaps = {
        name: NUMBER.match(one.recomputed)
        for name, one in said.items()
        if name.startswith(("gap", "gain", "the CelebV-HQ checkpoint is below"))
    }
    assert {name.rpartition(" ")[2]: match[0] for name, match in gaps.items() if match} == {
        "0.063": "0.063",  # 573 - 510
        "0.086": "0.086",  # 477 - 391
        "0.105": "0.105",  # 363 - 258
        "24": "23.9",  # 100 * (477 / 385 - 1)
        "0.004": "0.004",  # 599 - 595
    }
    assert f"{float(100 * (Fraction(477, 385) - 1)):.1f}" == "23.9"
    assert all(one.agrees for name, one in said.items() if name in gaps)


def test_p_of_the_six_preferences_is_that_of_an_independent_tool_from_the_fitting_counts() -> None:
    from scipy.stats import binomtest

    known = [  # every count of the printed numbers of votes that prints so
        (230, 50, 5), (195, 16, 73), (157, 113, 13), (212, 58, 20), (159, 60, 71), (187, 88, 12), (189, 89, 12),
    ]  # fmt: skip
    votes = check().votes
    assert [tuple(one.counts) for one in votes] == known
    for one in votes:
        expected = binomtest(one.counts.wins, one.counts.wins + one.counts.losses).pvalue
        assert one.sensitivity.rows[0].correlation == 0
        assert one.sensitivity.rows[0].p == pytest.approx(expected, rel=1e-12, abs=0)
    assert [one.said for one in votes] == [True, False, False, True, True, True, True]


def test_one_preference_does_not_survive_the_correlation_of_votes_and_five_do() -> None:
    votes = check().votes
    manners = votes[2]
    assert [round(one.p, 3) for one in manners.sensitivity.rows if one.correlation in (0, 0.1, 0.2)] == [
        0.009,
        0.045,
        0.092,
    ]
    assert manners.sensitivity.tipping == pytest.approx(0.111, abs=0.001)
    assert all(one.sensitivity.tipping is None or one.sensitivity.tipping > 0.3 for one in votes if one is not manners)


def test_the_ratings_p_is_that_of_an_independent_tool() -> None:
    from scipy.stats import ttest_ind_from_stats

    # Two samples of 450 whose means differ by 0.115 deviations.
    p = ttest_ind_from_stats(0.115, 1.0, 450, 0.0, 1.0, 450).pvalue
    (rating,) = undecided()
    assert rating.recomputed == f"p = {p:.3f}"


def test_the_protocols_and_the_paper_count_alike() -> None:
    head = paper().head
    protocols = {split: load_split(split, protocol=True).head.protocol for split in head.splits}
    counts = {split: (one.pairs, one.speakers, one.same_video) for split, one in protocols.items() if one}
    assert counts == {"easy": (36, 14, 36), "hard": (35, 8, 0), "talkvid": (49, 41, 18)}
    assert counts == {name: (one.pairs, one.speakers, counts[name][2]) for name, one in head.splits.items()}
    assert counts[head.preferences.split][0] == head.preferences.pairs
    assert head.preferences.votes_at_most == head.preferences.pairs * head.preferences.raters


# A recount that can find something, and can find nothing ---------------------------------------------------------------


def test_a_paper_with_the_right_marks_has_no_wrong_ones(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recount = recounted_marks()
    monkeypatch.chdir(copied.parents[2])
    for number in range(1, 6):
        path = copied / f"table{number}.csv"
        header, *lines = path.read_text().splitlines()
        fields = [line.split(",") for line in lines]
        mended = [",".join([*one[:4], recount[number, one[0], one[2], one[1]]]) for one in fields]
        path.write_text("\n".join([header, *mended]) + "\n")
    assert check().tally("mark") == (277, 0, 0)


@pytest.mark.parametrize(
    ("file", "old", "new", "kind", "where"),
    [
        ("table2.csv", "hard,ID-LoRA,clap,0.363,best", "hard,ID-LoRA,clap,0.364,best", "run", "Table 2, CelebV-HQ hard, CLAP, ID-LoRA"),
        ("table1.csv", "hard,ID-LoRA,spk_sim,0.477,best", "hard,ID-LoRA,spk_sim,0.470,best", "statement", "abstract, of Table 1, CelebV-HQ hard, Spk Sim"),
        ("table1.csv", "easy,ID-LoRA,lse_d,8.20,best", "easy,ID-LoRA,lse_d,10.24,best", "statement", "section 5.1, of Table 1, CelebV-HQ easy, LSE-D"),
        ("paper.toml", "speakers = 63", "speakers = 64", "total", "section 4.1"),
        ("human_ab.csv", "73.1,20.0,78.5", "73.1,20.0,79.5", "preference", "Figure 3, voice similarity against Kling 2.6 Pro"),
        ("human_ab.csv", "55.5,39.9,58.1,<0.01", "55.5,39.9,58.1,<0.001", "preference", "Figure 3, speech manners against ElevenLabs + WAN2.2"),
        ("paper.toml", 'preferred_pct = "65"', 'preferred_pct = "66"', "again", "abstract, speech manners against Kling 2.6 Pro"),
        ("human_mos.csv", "bad_rating_pct,ID-LoRA,15.3", "bad_rating_pct,ID-LoRA,15.4", "rating", "appendix D.2"),
        ("human_mos.csv", "overall_mos,ID-LoRA,3.05", "overall_mos,ID-LoRA,3.35", "rating", "appendix D.2"),
        ("human_mos.csv", "scenarios_won_of_10,ID-LoRA,8", "scenarios_won_of_10,ID-LoRA,9", "rating", "appendix D.2"),
    ],
)  # fmt: skip
def test_a_planted_contradiction_is_found(
    copied: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, kind: str, where: str
) -> None:
    def times() -> int:
        return sum((one.kind, one.where) == (kind, where) for one in check().disagreements)

    before = times()
    edit(copied / file, old, new)
    monkeypatch.chdir(copied.parents[2])
    assert times() == before + 1


def test_a_first_place_may_be_shared_and_a_remark_needs_its_reason(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(copied / "table5.csv", "hard,12,spk_sim,0.482,", "hard,12,spk_sim,0.485,")
    edit(copied / "paper.toml", 'preferred_pct = "65"', 'preferred_pct = "66"')
    monkeypatch.chdir(copied.parents[2])
    assert not [one for one in wrong("statement") if "Table 5" in one.where]
    assert [one.remark for one in wrong("again")] == ["", "26 % is the share of equal votes"]


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("table3.csv", "hard,ID-LoRA,wer,0.113,best", "hard,ID-LoRA,wer,0.11,best", r"table3\.csv, line 16: 0\.11; expected 3 digits \(wer\)"),
        ("table3.csv", "hard,ID-LoRA,wer,0.113,best", "hrad,ID-LoRA,wer,0.113,best", r"table3\.csv, line 16: hrad, wer, best; expected a split"),
        ("table3.csv", "hard,ID-LoRA,wer,0.113,best", "hard,ID-LoRA,wer,0.113", r"table3\.csv, line 16: expected 5 columns"),
        ("table3.csv", "hard,ID-LoRA,wer,0.113,best", "hard,ID-LoRA,wer,none,best", r"table3\.csv, line 16: none; expected a number"),
        ("table3.csv", "hard,ID-LoRA,wer,0.113,best\n", "", r"table3\.csv, line 12: hard, ID-LoRA without wer"),
        ("table3.csv", "hard,ID-LoRA,wer,", "hard,ID-LoRA,clap,", r"table3\.csv, line 16: hard, ID-LoRA, clap for the second time, after line 15"),
        ("human_ab.csv", "speech_manners,55.5", "speech_manners,x5.5", r"human_ab\.csv, line 4: .*preferred_pct"),
        ("human_ab.csv", "55.5,39.9,58.1,<0.01,285", "55.5,,58.1,<0.01,285", r"human_ab\.csv, line 4: no baseline_pct; expected a number"),
        ("human_ab.csv", "55.5,39.9,58.1,<0.01,285", "55.5,39.9,,<0.01,285", r"human_ab\.csv, line 4: .* without a line with a win rate"),
        ("human_ab.csv", "Kling 2.6 Pro,speech_manners", "Kling 2.6 Pro,voice_similarity", r"human_ab\.csv, line 7: .*second time, after line 5"),
        ("human_mos.csv", "overall_mos,ID-LoRA,3.05\n", "", r"human_mos\.csv, line 14: no overall_mos of ID-LoRA"),
        ("human_mos.csv", "overall_mos,ID-LoRA,3.05", "overall_mos,ID-LoRA,3.O5", r"human_mos\.csv, line 2: 3\.O5; expected a number"),
        ("human_mos.csv", "ratings_per_method,ID-LoRA,450", "ratings_per_method,ID-LoRA,450.5", r"human_mos\.csv, line 6: 450\.5; expected"),
        ("human_mos.csv", "overall_mos,Kling 2.6 Pro,2.90", "overall_mos,ID-LoRA,2.90", r"human_mos\.csv, line 3: .*second time, after line 2"),
        ("human_mos.csv", "mos_difference:clapping,ID-LoRA minus Kling 2.6 Pro,0.42\n", "", r"human_mos\.csv, line 14: 4 differences"),
        ("paper.toml", 'printed = "0.063"', 'printed = "O.063"', r"paper\.toml: .*printed"),
        ("paper.toml", 'opposite = "face_sim"', "", r"paper\.toml: 'methods whose lips .*expected an opposite metric"),
        ("paper.toml", 'rows = ["10"]', 'rows = ["11"]', r"paper\.toml: 'speaker similarity is .* speaks of 11, hard, spk_sim; table5\.csv"),
        ("human_ab.csv", "win_rate_pct", "win_rate", r"human_ab\.csv, line 1: expected the columns baseline, question, .*win_rate_pct"),
        ("paper.toml", "votes_at_least", "votes_least", r"paper\.toml: .*votes_least"),
    ],
)  # fmt: skip
def test_data_that_cannot_be_read_are_named_with_their_line(
    copied: Path, monkeypatch: pytest.MonkeyPatch, file: str, old: str, new: str, message: str
) -> None:
    edit(copied / file, old, new)
    monkeypatch.chdir(copied.parents[2])
    with pytest.raises(UsageError, match=message):
        paper()


def test_a_row_that_no_sentence_names_is_missed_by_the_count(copied: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = copied / "table2.csv"
    kept = [line for line in path.read_text().splitlines(keepends=True) if "talkvid,ElevenLabs" not in line]
    path.write_text("".join(kept))
    monkeypatch.chdir(copied.parents[2])
    with pytest.raises(UsageError, match=r"table2\.csv, line 91: 90 numbers up to this line, the last; expected 96"):
        paper()


@pytest.mark.parametrize("file", ["table1.csv", "table5.csv", "human_ab.csv", "human_mos.csv"])
def test_no_file_however_bad_ends_a_recount_without_its_name(
    copied: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    """Empty, not UTF-8, absent, and without each of its lines in turn."""
    monkeypatch.chdir(copied.parents[2])
    whole = (copied / file).read_bytes()
    lines = whole.splitlines(keepends=True)
    for content, message in (
        (b"", "line 1: empty"),
        (lines[0] + b"\xff\n", "line 2: not UTF-8"),
        (None, "cannot be read"),
    ):
        (copied / file).unlink()
        if content is not None:
            (copied / file).write_bytes(content)
        result = invoke("check-published")
        assert isinstance(result.exception, UsageError)
        assert f"{file}" in str(result.exception)
        assert message in str(result.exception)
        (copied / file).write_bytes(whole)
    for at in range(1, len(lines)):
        if b"repository README" in lines[at]:
            continue  # what others say again may be nothing
        (copied / file).write_bytes(b"".join(lines[:at] + lines[at + 1 :]))
        with pytest.raises(UsageError, match=rf"{re.escape(file)}, line \d+: "):
            paper()


# On the command line -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMATS)
def test_the_verb_prints_one_table_or_all_in_every_format(form: str) -> None:
    one, everything, human = (invoke("published", *which, "--format", form) for which in (["2"], [], ["human"]))
    assert one.exit_code == everything.exit_code == human.exit_code == 0
    assert one.output.rstrip("\n") == FORMATS[form](table_of(2)).rstrip("\n")
    if form == "html":  # one page of all
        assert everything.output.count("<!DOCTYPE html>") == human.output.count("<!DOCTYPE html>") == 1
        assert everything.output.count("<table") > human.output.count("<table") > 0
    else:
        assert one.output.rstrip("\n") in everything.output
        assert human.output.rstrip("\n") in everything.output
    assert "ElevenLabs" in human.output


def test_an_unknown_table_or_format_is_answered_with_what_there_is() -> None:
    for words, message in ((["6"], "1, 2, 3, 4, 5, human"), (["1", "--format", "tex"], "text, markdown, latex, csv")):
        error = invoke("published", *words).exception
        assert isinstance(error, UsageError)
        assert message in str(error)


def test_the_report_is_text_or_json_and_ends_with_0() -> None:
    said, data = invoke("check-published"), invoke("check-published", "--format", "json")
    assert (said.exit_code, data.exit_code) == (0, 0)
    found = json.loads(data.output)
    assert [found[name] for name in ("checked", "disagreements", "facts", "undecided")] == [393, 35, 27, 1]
    assert found["kinds"]["mark"] == {"checked": 277, "disagreements": 16, "undecided": 0}
    assert sum(one["status"] == "disagrees" for one in found["checks"]) == 35
    assert len({one["fact"] for one in found["checks"]} - {None}) == 27
    assert all(("says" in one) == (one["kind"] in ("statement", "claim")) for one in found["checks"])
    assert found["votes"][2]["p"]["0"] == pytest.approx(0.00875, abs=5e-6)
    assert said.output.startswith(
        "ID-LoRA (arXiv 2603.10256) against itself: 393 checked, 35 disagree (27 facts), 1 cannot be decided.\n"
    )
    assert "dense ranks" in said.output.partition("\n\n")[0]
    assert said.output.replace("\n      ", " ").count("the same fact as") == 35 - 27
    assert "Pairs and speakers of all splits: 2 checked, 0 disagree\n" in said.output
    for one in check().disagreements:
        label = "says" if one.kind in ("statement", "claim") else "printed"
        assert f"  {one.where}\n      {label}: {one.printed.split()[0]}" in said.output
    assert "  appendix D.2\n      cannot be decided; printed: p = 0.093" in said.output
    assert text(check()).endswith("\n")
    assert as_json(check()).endswith("}\n")


def test_a_built_package_has_the_numbers_and_the_protocols(tmp_path: Path) -> None:
    site = unpacked(tmp_path)
    code = (
        "import avbench.published as p, avbench.split as s; print(p.__file__); "
        "print(len(p.check().disagreements), *s.known_splits(), '|', *s.known_splits(protocols=True))"
    )
    where, labels = said(site, code)
    assert Path(where).is_relative_to(site)
    assert labels == "35 demo | demo easy hard talkvid"
    grafted = (ROOT / "MANIFEST.in").read_text().split()[1::2]
    assert grafted == ["reports/published", "splits"], "a source archive has what setup.py copies"
    assert f"DATA = {tuple(grafted)!r}".replace("'", '"') in (ROOT / "setup.py").read_text()
