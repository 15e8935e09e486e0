r"""LaTeX: a table environment for any article, with booktabs, in plain ASCII for every engine.

The preamble needs \usepackage{booktabs}, nothing else. What ASCII cannot say is written with commands: accented
letters with their accents, common signs with theirs, any other character as its code, \texttt{U+1F600}: it
compiles everywhere and nothing is lost.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

from ..table import Cell, Column, Table
from .columns import balanced

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
NUMBER_COVERAGE = r"r@{\,}l"  # the columns of a scale that has gaps
LIGATURES = "-',"  # two of a kind would be drawn as one: --, '', ,,


def latex(table: Table) -> str:
    """A float with caption, tabular, gaps and signatures."""
    rows = [row for block in table.blocks for row in block.rows]
    covered = [any(row.cells[number].coverage for row in rows) for number in range(len(table.columns))]
    lines = [
        "% Needs \\usepackage{booktabs}. How its numbers were made:",
        *(f"% {ascii(signature)[1:-1]}" for signature in table.signatures),
        "\\begin{table}",
        "\\centering",
        "\\setlength{\\tabcolsep}{4pt}",
        "\\setlength{\\belowcaptionskip}{6pt}",
        f"\\caption{{{escape(table.caption)}}}",
        f"\\label{{tab:avbench-{re.sub('[^A-Za-z0-9.-]', '-', table.name)}}}",
        "\\footnotesize",
        f"\\begin{{tabular}}{{@{{}}l{''.join(NUMBER_COVERAGE if more else 'r' for more in covered)}@{{}}}}",
        "\\toprule",
        _line(
            "",
            [
                _heading(column, more, column is table.columns[-1])
                for column, more in zip(table.columns, covered, strict=True)
            ],
        ),
    ]
    span = 1 + len(covered) + sum(covered)
    for block in table.blocks:
        lines += ["\\midrule", f"\\multicolumn{{{span}}}{{@{{}}l}}{{\\textit{{{escape(block.heading)}}}}} \\\\"]
        lines += [_line(escape(row.label), map(_cell, row.cells, covered)) for row in block.rows]
    lines += ["\\bottomrule", "\\end{tabular}"]
    if table.gaps:
        lines += ["\\par\\smallskip", "{\\footnotesize\\raggedright"]
        lines += [f"{escape(line)}.\\par" for line in table.gaps]
        lines += ["}"]
    lines += ["\\par\\smallskip", "{\\tiny\\ttfamily\\raggedright"]
    lines += [f"{_breakable(escape(signature))}\\par" for signature in table.signatures]
    lines += ["}", "\\end{table}"]
    return "\n".join(lines) + "\n"


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


def _heading(column: Column, covered: bool, last: bool) -> str:
    """The label in at most two lines, its unit small below, over both columns of a scale with coverage."""
    stack = [escape(line) for line in balanced(column.heading, 2)]
    stack += [f"{{\\tiny {escape(line)}}}" for line in balanced(column.unit, 2)]
    inner = f"\\begin{{tabular}}[b]{{@{{}}r@{{}}}}{BREAK.join(stack)}\\end{{tabular}}"
    return f"\\multicolumn{{{1 + covered}}}{{{'r@{}' if last else 'r'}}}{{{inner}}}"


def _cell(cell: Cell, covered: bool) -> str:
    number = escape(cell.text.replace("-", "\N{MINUS SIGN}"))
    marked = {"best": f"\\textbf{{{number}}}", "second": f"\\underline{{{number}}}", "": number}[cell.mark]
    coverage = f"{{\\tiny {cell.coverage}}}" if cell.coverage else ""
    return f"{marked} & {coverage}".rstrip() if covered else marked


def _line(label: str, cells: Iterable[str]) -> str:
    return f"{' & '.join([label, *cells])} \\\\"


def _breakable(signature: str) -> str:
    """Lines may end after the bars and pluses of a signature. A typewriter font has a bar of its own."""
    return signature.replace(SPECIAL["|"], "\\symbol{124}\\allowbreak{}").replace("+", "+\\allowbreak{}")
