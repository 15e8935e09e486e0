"""Formats: what a table says is in every one of them, and whatever a label holds comes out as it went in."""

from __future__ import annotations

import csv
import io
import re
import shutil
import string
import subprocess
import sys
import unicodedata
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from avbench.report import FORMATS
from avbench.report.columns import balanced, pad, width, wrapped
from avbench.report.html import html, page
from avbench.report.latex import escape as latex_escape
from avbench.report.markdown import escape as markdown_escape
from avbench.table import BLANK, Block, Cell, Column, Row, Table

from .paper import compiled, needs_latex

EVERY = {**FORMATS, "html": html}
WORD = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cs", "Zs", "Zl", "Zp"]), min_size=1, max_size=8
)
LINE = st.lists(WORD, max_size=4).map(" ".join)  # as a table has them: one line, single blanks
ASCII = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
NASTY = [
    *string.punctuation,
    r"\\input{/etc/passwd}",
    "[1ex]",
    "*",
    "-- --- -",
    "''' ,, `` ?` !`",
    "a & b \\\\ c",
    "100% _sure_ ~ $x^2$ #1",
    "é è ê ñ ü å ç ő ř ž ł ß æ ø œ ı í ǰ ạ",
    "漢字 😀 👩\u200d👧 Ω α ∑ – — … “q” ‘q’ ° µ μ × ± − ≤ ≥ → ↑ ↓ ·",
    "^^M ^^41 \\undefined \\end{tabular}",
    "<b>bold</b> &amp; &#124; [link](x) ![i](y)",
    "- list",
    "1. list",
    "\ufffd \u0301 e\u0301",
]


def table(*labels: str, cells: tuple[Cell, ...] = (), columns: tuple[Column, ...] = ()) -> Table:
    """A table of these row labels; without cells given, one column with all kinds of cells."""
    kinds = [
        Cell("0.812", 0.8123456789012345, 3, 0, 0, "best"),
        Cell("-0.090", -0.09, 2, 1, 0, "second"),
        Cell("–", None, 0, 2, 1, ""),
    ]
    rows = [
        Row(f"m{number}", label, "model", cells or (kinds[number % len(kinds)],)) for number, label in enumerate(labels)
    ]
    return Table(
        name="mini",
        caption="Mini. Split mini@01234567: 3 pairs, 2 speakers.",
        columns=columns or (Column("av_corr", "AV corr.", "% of_x", "↑", 3),),
        blocks=(Block("Methods", tuple(rows[:-1])), Block("Controls", tuple(rows[-1:]))),
        gaps=("m: 1 failed",),
        signatures=tuple(f"avbench|v:1|scale:{number}|rev:a/1+b@0" for number in range(max(1, len(columns)))),
    )


# Every format ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EVERY)
def test_every_format_prints_every_row_and_number_once_and_ends_with_a_line_end(name: str) -> None:
    out = EVERY[name](table("first", "second one", "third"))
    assert out.endswith("\n")
    assert not out.endswith("\n\n")
    for word in ("first", "second one", "third", "0.812"):
        assert out.count(word) == 1, word


@pytest.mark.parametrize("name", ["text", "markdown", "latex", "html"])
def test_every_format_for_reading_shows_coverage_signature_caption_gaps_and_blocks(name: str) -> None:
    out = EVERY[name](table("first", "second", "third"))
    for word in ("2/3", "0/3", "avbench|v:1|scale:0|rev:a/1+b@0", "2 speakers", "m: 1 failed", "Methods", "Controls"):
        assert word in out, word
    assert out.index("Methods") < out.index("second") < out.index("Controls") < out.index("third")


@pytest.mark.parametrize("name", EVERY)
def test_the_same_table_gives_the_same_bytes(name: str) -> None:
    assert EVERY[name](table(*NASTY)) == EVERY[name](table(*NASTY))


@pytest.mark.parametrize("name", EVERY)
def test_no_format_ever_prints_a_gap_as_a_number(name: str) -> None:
    gap = Cell("–", None, 0, 3, 0, "")
    out = EVERY[name](table("only", "gaps", cells=(gap,)))
    assert not re.search(r"nan|none|inf\b|\b0\.0|-1", out, re.IGNORECASE)
    assert re.search(r"\b0/3|,0$", out, re.MULTILINE)


PUBLISHED = Block(
    "as published (arXiv 2603.10256), other items, not comparable",
    (
        Row("paper/a", "A & B", "published", (Cell("0.510", 0.51), BLANK)),
        Row("paper/c", "C", "published", (Cell("<0.001", 0.001), Cell("2.50", 2.5))),
    ),
    note="Table 2; the pairs of <its> authors, 100 % other clips.",
)


def beside() -> Table:
    """Ours with stars, marks and coverage, and a published block below."""
    columns = (Column("sim", "Sim", "cosine", "↑", 3), Column("lse", "LSE", "", "↓", 2))
    ours = (
        Row("m", "Ours", "model", (Cell("0.812", 0.8123, 3, 0, 0, "best", "***"), Cell("-2.50", -2.5, 2, 1, 0, "second"))),
        Row("n", "Base", "baseline", (Cell("0.700", 0.7, 3), Cell("3.10", 3.1, 3, 0, 0, "", "*"))),
    )  # fmt: skip
    return Table("mini", "Mini.", columns, (Block("Methods", ours), PUBLISHED), (), ("s1", "s2"))


def alone() -> Table:
    """Published numbers without ours: no coverage, no signatures, a heading over the labels."""
    columns = (Column("sim", "Sim", "", "↑", 3), Column("lse", "LSE", "", "↓", 2))
    rows = tuple(row._replace(label=f"{number}") for number, row in enumerate(PUBLISHED.rows))
    return Table("hard", "Sweep.", columns, (Block("", rows),), corner="scale_x")


@pytest.mark.parametrize("name", EVERY)
def test_stars_follow_their_number_in_every_format_for_reading(name: str) -> None:
    out = EVERY[name](beside())
    expected = {
        "text": ("0.812¹***", "3.10 *"),
        "markdown": (r"**0.812**\*\*\* |", r"3.10\* |"),
        "latex": (r"\textbf{0.812}$^{***}$ &", r"0.700\phantom{$^{***}$} & 3.10$^{*}$\,{\tiny \phantom{000}}"),
        "csv": ("0.8123", "3.1"),
        "html": ('<b>0.812</b><span class="beside" style="min-width: 2.7ch">***', ">3.10<"),
    }
    for part in expected[name]:
        assert part in out, part


@pytest.mark.parametrize("name", EVERY)
def test_a_published_block_has_its_heading_note_and_numbers_and_no_coverage(name: str) -> None:
    out = EVERY[name](beside())
    assert "arXiv 2603.10256" in out
    assert out.count("0.510") == 1, "as printed, with its last zero"
    assert "0/" not in out
    if name != "csv":
        assert "other clips" in out
        assert "2/3" in out, "ours keep their coverage"


@pytest.mark.parametrize("name", EVERY)
def test_a_table_without_signatures_units_or_a_heading_has_no_empty_remains_of_them(name: str) -> None:
    out = EVERY[name](alone())
    assert not re.search("ignature|numbers were made|ttfamily|multicolumn{3}|<code>|tiny", out)
    assert out.endswith("\n")
    assert not out.endswith("\n\n")
    if name != "csv":
        assert re.search(r"scale\\?_x", out)


def test_csv_of_published_rows_says_whose_they_are_and_counts_nothing() -> None:
    lines = list(csv.reader(io.StringIO(EVERY["csv"](beside()), newline="")))
    heading = PUBLISHED.heading
    assert lines == [
        ["method", "label", "kind", "block", "sim", "lse", "sim_n", "lse_n"],
        ["m", "Ours", "model", "Methods", "0.8123", "-2.5", "3", "2"],
        ["n", "Base", "baseline", "Methods", "0.7", "3.1", "3", "3"],
        ["paper/a", "A & B", "published", heading, "0.510", "", "", ""],
        ["paper/c", "C", "published", heading, "0.001", "2.50", "", ""],
    ]


def test_csv_has_what_was_computed_of_published_numbers_to_the_last_bit() -> None:
    cells = (Cell("<0.001", 3.5e-9), Cell("0.012", 0.0123456789), Cell("55.50", 55.5), Cell("–", None), BLANK)
    columns = tuple(Column(f"p{number}", "p", "", "", 3) for number in range(len(cells)))
    rows = (Row("paper/a", "A", "published", cells),)
    out = EVERY["csv"](Table("mini", "", columns, (Block("B", rows),)))
    assert next(csv.reader([out.splitlines()[1]]))[4:9] == ["3.5e-09", "0.0123456789", "55.50", "", ""]


def test_text_lays_out_blocks_with_notes_stars_and_blanks() -> None:
    assert EVERY["text"](beside()).splitlines()[2:] == [
        "              Sim ↑        LSE ↓",
        "             cosine",
        "────────────────────────────────",
        "Methods",
        "  Ours    0.812¹***  -2.50²  2/3",
        "  Base    0.700       3.10 *",
        "────────────────────────────────",
        "as published (arXiv 2603.10256), other items, not comparable",
        "  Table 2; the pairs of <its> authors, 100 % other clips.",
        "  A & B   0.510",
        "  C      <0.001       2.50",
        "────────────────────────────────",
        "",
        "s1",
        "s2",
    ]
    assert EVERY["text"](alone()).splitlines() == [
        "Sweep.",
        "",
        "scale_x   Sim ↑  LSE ↓",
        "──────────────────────",
        "0         0.510",
        "1        <0.001   2.50",
        "──────────────────────",
    ]


# CSV -------------------------------------------------------------------------------------------------------------


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(LINE, st.floats(allow_nan=False, allow_infinity=False), st.integers(1, 99)), min_size=2, max_size=5
    )
)
def test_csv_gives_back_labels_and_values_to_the_last_bit(rows: list[tuple[str, float, int]]) -> None:
    block = Block(
        "Methods",
        tuple(Row(f"m@a=1,b={n}", label, "model", (Cell("x", value, n, 0, 0, ""),)) for label, value, n in rows),
    )
    columns = (Column("sim", "Sim", "", "", 3),)
    out = EVERY["csv"](Table("mini", "", columns, (block,), (), ("s",)))
    head, *lines = list(csv.reader(io.StringIO(out, newline="")))
    assert head == ["method", "label", "kind", "sim", "sim_n"]
    found = [(label, float(value), int(measured)) for _, label, _, value, measured in lines]
    assert [repr(one) for one in found] == [repr(one) for one in rows]
    assert [line[0] for line in lines] == [f"m@a=1,b={n}" for _, _, n in rows]


def test_csv_is_wide_values_first_then_coverage_and_a_gap_is_empty() -> None:
    columns = (Column("sim", "S", "", "↑", 2), Column("lips", "L", "", "", 1))
    cells = (Cell("0.33", 1 / 3, 3, 0, 0, "best"), Cell("–", None, 0, 1, 2, ""))
    out = EVERY["csv"](table("A, b", "c", cells=cells, columns=columns))
    assert out.splitlines() == [
        "method,label,kind,sim,lips,sim_n,lips_n",
        'm0,"A, b",model,0.3333333333333333,,3,0',
        "m1,c,model,0.3333333333333333,,3,0",
    ]


# Text ------------------------------------------------------------------------------------------------------------


def test_text_aligns_numbers_under_each_other_with_coverage_beside() -> None:
    assert EVERY["text"](table("first", "漢字", "third")).splitlines()[2:] == [
        "          AV corr. ↑",
        "              % of_x",
        "────────────────────",
        "Methods",
        "  first   0.812¹",
        "  漢字   -0.090² 2/3",
        "────────────────────",
        "Controls",
        "  third       –  0/3",
        "────────────────────",
        "",
        "m: 1 failed",
        "",
        "avbench|v:1|scale:0|rev:a/1+b@0",
    ]


def test_the_six_columns_of_the_demo_fit_a_terminal_of_100() -> None:
    heads = [
        ("Spk. sim.", "cosine", "↑"),
        ("Spk. sim. (ref.)", "cosine", "↑"),
        ("Face sim.", "cosine", "↑"),
        ("Face sim. (ref.)", "cosine", "↑"),
        ("AV corr.", "correlation", "↑"),
        ("Lip motion", "% of face height", ""),
    ]
    columns = tuple(Column(f"s{n}", label, unit, arrow, 3) for n, (label, unit, arrow) in enumerate(heads))
    texts = ["0.812", "0.812", "0.812", "0.812", "-0.812", "10.81"]
    cells = tuple(Cell(text, float(text), 14, 2, 0, "") for text in texts)
    out = EVERY["text"](table("truth", "shifted +12 frames", "stranger", cells=cells, columns=columns))
    assert max(width(line) for line in out.splitlines()) <= 100


@given(LINE, st.integers(1, 30))
def test_wrapping_loses_nothing_and_only_single_words_stick_out(text: str, columns: int) -> None:
    lines = wrapped(text, columns)
    assert " ".join(lines) == text
    assert all(width(line) <= columns or " " not in line for line in lines)


@given(LINE, st.integers(1, 4))
def test_balanced_headings_keep_to_their_lines_and_could_not_be_narrower(text: str, lines: int) -> None:
    found = balanced(text, lines)
    assert len(found) <= lines
    assert " ".join(found) == text
    narrower = max(map(width, found), default=0) - 1
    assert len(wrapped(text, narrower)) > lines or any(width(word) > narrower for word in text.split(" "))


def test_wide_and_combining_characters_take_the_columns_that_a_terminal_gives_them() -> None:
    assert [width(text) for text in ("abc", "漢字", "e\u0301", "😀", "–", "")] == [3, 4, 1, 2, 1, 0]
    assert pad("漢", 4) == "漢  "
    assert pad("漢", 4, right=True) == "  漢"


# Markdown --------------------------------------------------------------------------------------------------------


def markdown_cells(line: str) -> list[str]:
    """A row of a GitHub table, split and unescaped by its rules, written independently of ours."""
    cells, cell, chars = [], "", iter(line)
    for char in chars:
        if char == "|":
            cells.append(cell)
            cell = ""
        else:
            cell += next(chars) if char == "\\" else char
    assert cells[0] == "" == cell, "a row begins and ends with a bar"
    return [one.strip(" ") for one in cells[1:]]


@settings(max_examples=200)
@given(st.one_of(LINE, ASCII))
def test_any_label_comes_back_from_a_markdown_cell(label: str) -> None:
    lines = EVERY["markdown"](table(label, "x")).splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith("| **Methods**"))
    assert markdown_cells(lines[at + 1]) == [label, "**0.812**"]


@given(st.one_of(LINE, ASCII))
def test_no_label_can_begin_markup(label: str) -> None:
    bare = re.sub(r"\\.", "", markdown_escape(label))
    assert not re.search(r"[`*_<>#|~$&\[\]]", bare)
    assert not re.match(r"(\d+[.)]|[-+=])", markdown_escape(label))


def test_markdown_rows_have_as_many_cells_as_the_head() -> None:
    lines = [line for line in EVERY["markdown"](table(*NASTY)).splitlines() if line.startswith("|")]
    assert {len(markdown_cells(line)) for line in lines} == {2}
    assert markdown_cells(lines[5]) == ['"', "<ins>-0.090</ins> (2/3)"]


# LaTeX -----------------------------------------------------------------------------------------------------------

COMMANDS = {
    "textbackslash": "\\", "textasciitilde": "~", "textasciicircum": "^", "textasciigrave": "`", "textless": "<",
    "textgreater": ">", "textbar": "|", "textquoteleft": "‘", "textquoteright": "’", "textquotedblleft": "“",
    "textquotedblright": "”", "ldots": "…", "textperiodcentered": "·", "textdegree": "°", "textmu": "µ", "ss": "ß",
    "ae": "æ", "AE": "Æ", "o": "ø", "O": "Ø", "aa": "å", "AA": "Å", "oe": "œ", "OE": "Œ", "l": "ł", "L": "Ł", "i": "ı",
}  # fmt: skip
MATHS = {
    "\\times": "×", "\\pm": "±", "-": "−", "\\leq": "≤", "\\geq": "≥", "\\rightarrow": "→", "\\uparrow": "↑",
    "\\downarrow": "↓", "\\alpha": "α", "\\beta": "β", "\\lambda": "λ", "\\sigma": "σ",
}  # fmt: skip
MARKS = {"`": "\u0300", "'": "\u0301", "^": "\u0302", "~": "\u0303", "=": "\u0304", "u": "\u0306", ".": "\u0307",
         '"': "\u0308", "r": "\u030a", "H": "\u030b", "v": "\u030c", "c": "\u0327"}  # fmt: skip
TOKEN = re.compile(
    r"\\texttt\{U\+(?P<code>[0-9A-F]+)\}|\\symbol\{(?P<symbol>\d+)\}|\\(?P<accent>[`'^~=.\"urHvc])\{(?P<base>\\[ij]|[A-Za-hk-z])\}"
    r"|\\(?P<command>[A-Za-z]+)\{\}|\$(?P<maths>[^$]+)\$|\\(?P<escaped>[{}#$%&_])|\{(?P<grouped>[][*])\}|(?P<empty>\{\})"
    r"|(?P<dash>---?)|(?P<tie>~)|(?P<plain>[ -~])"
)
UNSAFE = set('\\{}#$%&_~^`<>|"[]*')


def unescape(latex: str) -> str:
    """What LaTeX would show, read token by token; anything that it would take for markup fails."""
    shown, at = "", 0
    while at < len(latex):
        token = TOKEN.match(latex, at)
        assert token is not None, latex[at:]
        at = token.end()
        found = {name: text for name, text in token.groupdict().items() if text is not None}
        match found:
            case {"code": code}:
                shown += chr(int(code, 16))
            case {"symbol": code}:
                shown += chr(int(code))
            case {"accent": accent, "base": base}:
                shown += unicodedata.normalize("NFC", base.removeprefix("\\") + MARKS[accent])
            case {"command": command}:
                shown += COMMANDS[command]
            case {"maths": maths}:
                shown += MATHS[maths]
            case {"escaped": char} | {"grouped": char}:
                shown += char
            case {"dash": dash}:
                shown += "–" if len(dash) == 2 else "—"
            case {"tie": _}:
                shown += "\N{NO-BREAK SPACE}"
            case {"plain": char}:
                assert char not in UNSAFE
                assert latex[at : at + 1] != char or char not in "',", "drawn as one sign"
                shown += char
    return shown


@settings(max_examples=300)
@given(st.one_of(LINE, ASCII))
@example("--")
@example("–-")
@example("''")
@example("í ï ǰ e\u0301")
def test_any_label_comes_back_from_latex_and_is_plain_ascii(label: str) -> None:
    escaped = latex_escape(label)
    assert escaped.isascii()
    assert escaped.isprintable()
    assert unescape(escaped) == unicodedata.normalize("NFC", label)


@pytest.mark.parametrize("label", NASTY)
def test_nasty_labels_come_back_from_latex(label: str) -> None:
    assert unescape(latex_escape(label)) == unicodedata.normalize("NFC", label)


def test_what_ascii_cannot_say_is_written_as_a_command_or_as_its_code() -> None:
    assert latex_escape("é 😀 – α Ω") == r"\'{e} \texttt{U+1F600} -- $\alpha$ \texttt{U+03A9}"


@needs_latex
def test_a_table_of_nasty_labels_compiles_with_booktabs_alone_and_without_complaints(tmp_path: Path) -> None:
    everything = "".join(map(chr, range(33, 127)))
    codes = [f"U+{code:04X} {chr(code)}" for code in range(0xA1, 0x180) if chr(code).isprintable()]
    labels = [*NASTY, everything, *(" ".join(codes[at : at + 6]) for at in range(0, len(codes), 6))]
    floats = [EVERY["latex"](table(*labels[at : at + 25])) for at in range(0, len(labels), 25)]
    log = compiled(tmp_path, "\\clearpage\n".join(floats))
    complaints = [line for line in log.splitlines() if re.search(r"^!|undefined|Missing character|invalid", line)]
    assert complaints == []


@needs_latex
@pytest.mark.skipif(shutil.which("pdftotext") is None, reason="no pdftotext: the page was not read back")
def test_the_compiled_page_reads_as_the_table(tmp_path: Path) -> None:
    compiled(tmp_path, EVERY["latex"](table("[1ex] 100% a_b", "# & ~ ^", "third")))
    page = subprocess.run(["pdftotext", "-layout", "paper.pdf", "-"], cwd=tmp_path, capture_output=True, check=True)
    text = page.stdout.decode()
    assert re.search(r"\[1ex\] 100% a.b +0\.812", text)
    assert re.search(r"third +– +0/3", text)
    assert "Split mini@01234567" in text
    assert "avbench|v:1|scale:0" in text


def test_the_fragment_is_one_float_with_its_signature_in_a_comment_and_in_print() -> None:
    lines = EVERY["latex"](table("a", "b")).splitlines()
    assert [line for line in lines if "{table}" in line] == ["\\begin{table}", "\\end{table}"]
    assert "% avbench|v:1|scale:0|rev:a/1+b@0" in lines
    assert unescape(
        next(line for line in lines if line.startswith("avbench")).replace("\\allowbreak{}", "").removesuffix("\\par")
    )
    assert "\\textbf{0.812}" in "".join(lines)


@needs_latex
def test_stars_notes_and_published_blocks_compile_and_widen_nothing(tmp_path: Path) -> None:
    hostile = Block(
        "; ".join(NASTY[:20]), (Row("x", "x", "published", (Cell("<0.001", 0.001), BLANK)),), " ".join(NASTY)
    )
    tables = [beside(), alone(), beside()._replace(blocks=(*beside().blocks, hostile), corner=NASTY[0])]
    log = compiled(tmp_path, "".join(map(EVERY["latex"], tables)))
    assert not re.search("Overfull|Missing character|undefined", log)


def wide(labels: tuple[str, ...], starred: bool) -> Table:
    """Eight columns, as the demo has them."""
    heads = [
        ("Spk. sim.", "cosine", "↑", "0.736"),
        ("Spk. sim. (ref.)", "cosine", "↑", "0.723"),
        ("Face sim.", "cosine", "↑", "0.998"),
        ("Face sim. (ref.)", "cosine", "↑", "0.999"),
        ("AV corr.", "correlation", "↑", "0.592"),
        ("Lip motion", "% of face height", "", "1.72"),
        ("Goodness of pron.", "nats per frame", "↑", "-2.31"),
        ("Words rejected", "% of words", "↓", "40.3"),
    ]
    columns = tuple(Column(f"s{n}", label, unit, arrow, 3) for n, (label, unit, arrow, _) in enumerate(heads))
    cells = tuple(
        Cell(text, float(text), 16, stars="***" if starred and number in (0, 1, 3, 4) else "")
        for number, (*_, text) in enumerate(heads)
    )
    rows = tuple(Row(f"m{number}", label, "model", cells) for number, label in enumerate(labels))
    return Table("mini", "Mini.", columns, (Block("Methods", rows),))


@needs_latex
def test_eight_columns_with_stars_fit_the_column_of_an_article(tmp_path: Path) -> None:
    labels = ("classical cascade", "classical, frozen mouth", "shifted +2 frames")
    log = compiled(tmp_path, "".join(EVERY["latex"](wide(labels, starred)) for starred in (False, True)))
    assert "Overfull" not in log


# HTML ------------------------------------------------------------------------------------------------------------

VOID = {"meta", "br", "hr", "img", "link", "input"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in order; keeps cells by row, and what the page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.seen: list[str] = []
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "action", "onload", "onclick")]
        if tag not in VOID:
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data
        if {"td", "th"} & set(self.open):
            self.rows[-1][-1] += data

    def error(self, message: str) -> None:
        raise AssertionError(message)


def test_a_page_is_well_formed_and_fetches_nothing() -> None:
    for text in (html(table(*NASTY)), html(beside()), html(alone()), page([beside(), alone()])):
        found = Page(text)
        assert found.links == []
        assert set(found.seen) <= {
            "html", "head", "meta", "title", "style", "body", "section", "p", "div", "table", "thead", "tbody", "tr", "th",
            "td", "span", "b", "u", "ul", "li", "details", "summary", "code",
        }  # fmt: skip
        assert "url(" not in text
        assert "@import" not in text
        assert "prefers-color-scheme: dark" in text
    assert Page(page([beside(), alone()])).seen.count("table") == 2


@settings(max_examples=100)
@given(st.one_of(LINE, ASCII))
def test_any_label_comes_back_from_a_page(label: str) -> None:
    rows = Page(html(table(label, "x"))).rows
    assert rows[2] == [label, "0.812"]


def test_a_page_marks_stars_and_covers_as_the_table_does() -> None:
    found = html(beside())
    assert "<b>0.812</b>" in found
    assert "<u>-2.50</u>" in found
    assert Page(found).rows[2] == ["Ours", "0.812***", "-2.502/3"]
    assert Page(found).rows[5] == ["A & B", "0.510", ""]
    assert found.index("<details>") < found.index("s1")


# Light -----------------------------------------------------------------------------------------------------------

ALLOWED = {"avbench", "numpy", "msgspec", "typing_extensions"}  # the last by msgspec; and the standard library
LOADED = """
import sys
before = set(sys.modules)
import avbench.table, avbench.report
print(" ".join(sorted({name.partition(".")[0] for name in set(sys.modules) - before} - set(sys.stdlib_module_names))))
print(" ".join(sorted(name for name in sys.modules if name.startswith("avbench."))))
"""


def test_tables_and_reports_import_nothing_that_measures() -> None:
    done = subprocess.run([sys.executable, "-c", LOADED], capture_output=True, text=True, check=True)
    packages, modules = (set(line.split()) for line in done.stdout.splitlines())
    assert packages <= ALLOWED
    measuring = {
        "score",
        "generate",
        "prepare",
        "metrics",
        "methods",
        "generator",
        "puppet",
        "extract",
        "clip",
        "weights",
    }
    assert not {module.split(".")[1] for module in modules} & measuring
