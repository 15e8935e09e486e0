r"""LaTeX: a table environment for any article, with booktabs, in plain ASCII for every engine.

The preamble needs \usepackage{booktabs}, nothing else. What ASCII cannot say is written with commands: accented
letters with their accents, common signs with theirs, any other character as its code, \texttt{U+1F600}: it
compiles everywhere and nothing is lost.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..table import Cell, Column, Table
from .columns import balanced, wrapped

__all__ = ["escape", "latex"]

SPECIAL = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "#": r"\#",
    "$": r"\$",
    "%": r"\%",
    "&": r"\&",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "`": r"\textasciigrave{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\symbol{34}",  # a shorthand in some languages of babel
    "[": "{[}",  # after \\ or \midrule a bracket or star would be read as an argument
    "]": "{]}",
    "*": "{*}",
}
SIGNS = {
    "\N{NO-BREAK SPACE}": "~",
    "–": "--",
    "—": "---",
    "‘": r"\textquoteleft{}",
    "’": r"\textquoteright{}",
    "“": r"\textquotedblleft{}",
    "”": r"\textquotedblright{}",
    "…": r"\ldots{}",
    "·": r"\textperiodcentered{}",
    "°": r"\textdegree{}",
    "µ": r"\textmu{}",
    "×": r"$\times$",
    "±": r"$\pm$",
    "−": "$-$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
    "→": r"$\rightarrow$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "α": r"$\alpha$",
    "β": r"$\beta$",
    "λ": r"$\lambda$",
    "σ": r"$\sigma$",
    "ß": r"\ss{}",
    "æ": r"\ae{}",
    "Æ": r"\AE{}",
    "ø": r"\o{}",
    "Ø": r"\O{}",
    "å": r"\aa{}",
    "Å": r"\AA{}",
    "œ": r"\oe{}",
    "Œ": r"\OE{}",
    "ł": r"\l{}",
    "Ł": r"\L{}",
    "ı": r"\i{}",
}
ACCENTS = {
    "\u0300": "`",
    "\u0301": "'",
    "\u0302": "^",
    "\u0303": "~",
    "\u0304": "=",
    "\u0306": "u",
    "\u0307": ".",
    "\u0308": '"',
    "\u030a": "r",
    "\u030b": "H",
    "\u030c": "v",
    "\u0327": "c",
}
DOTLESS = {"i": "\\i", "j": "\\j"}
BREAK = r" \\ "
MANY = 6  # columns; with more, letters, gaps and headings are narrower
NOTE = 100  # letters of a line below the heading of a block
LIGATURES = "-',"  # two of a kind would be drawn as one: --, '', ,,


def latex(table: Table) -> str:
    """A float with caption, tabular, gaps and signatures."""
    rows = [row for block in table.blocks for row in block.rows]
    besides = [_Beside.of([row.cells[number] for row in rows]) for number in range(len(table.columns))]
    many = len(table.columns) > MANY
    made = ["How its numbers were made:", *map(_commented, table.signatures)] if table.signatures else []
    lines = [
        " ".join(["% Needs \\usepackage{booktabs}.", *made[:1]]),
        *(f"% {line}" for line in made[1:]),
        "\\begin{table}",
        "\\centering",
        f"\\setlength{{\\tabcolsep}}{{{_gap(many, any(beside.stars for beside in besides))}}}",
        "\\setlength{\\belowcaptionskip}{6pt}",
        f"\\caption{{{escape(table.caption)}}}",
        f"\\label{{tab:avbench-{re.sub('[^A-Za-z0-9.-]', '-', table.name)}}}",
        "\\scriptsize" if many else "\\footnotesize",
        f"\\begin{{tabular}}{{@{{}}l{'r' * len(table.columns)}@{{}}}}",
        "\\toprule",
        _line(escape(table.corner), (_heading(column, 3 if many else 2) for column in table.columns)),
    ]
    span = 1 + len(table.columns)
    for block in table.blocks:
        lines.append("\\midrule")
        lines += [_across(span, f"\\textit{{{escape(block.heading)}}}")] if block.heading else []
        lines += [_across(span, f"{{\\tiny {escape(line)}}}") for line in wrapped(block.note, NOTE) if block.note]
        lines += [_line(escape(row.label), map(_cell, row.cells, besides)) for row in block.rows]
    lines += ["\\bottomrule", "\\end{tabular}"]
    if table.gaps:
        lines += ["\\par\\smallskip", "{\\footnotesize\\raggedright"]
        lines += [f"{escape(line)}.\\par" for line in table.gaps]
        lines += ["}"]
    if table.signatures:
        lines += ["\\par\\smallskip", "{\\tiny\\ttfamily\\raggedright"]
        lines += [f"{_breakable(escape(signature))}\\par" for signature in table.signatures]
        lines += ["}"]
    return "\n".join([*lines, "\\end{table}"]) + "\n"


def escape(text: str) -> str:
    """`text` (one line) as ASCII that LaTeX shows as it is. Accented letters are taken composed (NFC)."""
    pieces = [""]
    for char in unicodedata.normalize("NFC", text):
        piece = _piece(char)
        if pieces[-1][-1:] == piece[0] and piece[0] in LIGATURES:
            pieces.append("{}")
        pieces.append(piece)
    return "".join(pieces)


def _piece(char: str) -> str:
    known = SPECIAL.get(char) or SIGNS.get(char)
    if known:
        return known
    if char.isascii() and char.isprintable():
        return char
    base, *marks = list(unicodedata.normalize("NFD", char))
    if len(marks) == 1 and marks[0] in ACCENTS and base.isascii() and base.isalpha():
        return f"\\{ACCENTS[marks[0]]}{{{DOTLESS.get(base, base)}}}"
    return f"\\texttt{{U+{ord(char):04X}}}"


class _Beside(NamedTuple):
    """What stands to the right of the numbers of a scale. Every cell is as wide there, so that numbers stay aligned."""

    stars: str  # the most
    coverage: str  # the longest

    @classmethod
    def of(cls, cells: Sequence[Cell]) -> _Beside:
        stars = max((cell.stars for cell in cells), key=len, default="")
        return cls(stars, max((cell.coverage for cell in cells), key=len, default=""))


def _gap(many: bool, stars: bool) -> str:
    """On either side of a column. Stars bring some of their own."""
    return ("1.5pt" if stars else "2pt") if many else "4pt"


def _heading(column: Column, lines: int) -> str:
    """The label in at most so many lines, its unit small below in as many."""
    stack = [escape(line) for line in balanced(column.heading, lines)]
    stack += [f"{{\\tiny {escape(line)}}}" for line in balanced(column.unit, lines) if column.unit]
    return f"\\begin{{tabular}}[b]{{@{{}}r@{{}}}}{BREAK.join(stack)}\\end{{tabular}}"


def _cell(cell: Cell, beside: _Beside) -> str:
    number = escape(cell.text.replace("-", "\N{MINUS SIGN}"))
    marked = {"best": f"\\textbf{{{number}}}", "second": f"\\underline{{{number}}}", "": number}[cell.mark]
    blank = beside.stars[len(cell.stars) :]
    stars = (f"$^{{{cell.stars}}}$" if cell.stars else "") + (f"\\phantom{{$^{{{blank}}}$}}" if blank else "")
    blank = "0" * (len(beside.coverage) - len(cell.coverage))  # as wide as any digit
    coverage = cell.coverage + (f"\\phantom{{{blank}}}" if blank else "")
    return f"{marked}{stars}" + (f"\\,{{\\tiny {coverage}}}" if coverage else "")


def _across(span: int, words: str) -> str:
    """Words over all columns that widen none."""
    return f"\\multicolumn{{{span}}}{{@{{}}l}}{{\\rlap{{{words}}}}} \\\\"


def _line(label: str, cells: Iterable[str]) -> str:
    return f"{' & '.join([label, *cells])} \\\\"


def _commented(signature: str) -> str:
    return ascii(signature)[1:-1]


def _breakable(signature: str) -> str:
    """Lines may end after the bars and pluses of a signature. A typewriter font has a bar of its own."""
    return signature.replace(SPECIAL["|"], "\\symbol{124}\\allowbreak{}").replace("+", "+\\allowbreak{}")
