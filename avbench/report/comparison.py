"""Comparisons as text, JSON and LaTeX, and a plan as text: layout and escaping only. COMPARISON_FORMATS lists them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

from ..compare import WANTED, Comparison, Comparisons, Plan, finding
from ..home import package_version
from ..metric import Scale
from .columns import balanced, pad, width, wrapped
from .latex import escape

__all__ = ["COMPARISON_FORMATS", "comparison_json", "comparison_latex", "comparison_text", "plan_text"]

PAGE = 100  # columns that words are broken to
GUTTER = "  "
DASH = "–"
MINUS = "\N{MINUS SIGN}"
ARROWS = {"higher": " ↑", "lower": " ↓", "none": ""}
LEAST = 1e-4  # p below are printed as below


class _Column(NamedTuple):
    """One column of a block: its heading, and what it says of a row of so many decimals."""

    heading: str
    cell: Callable[[Comparison, int], str]
    right: bool = True


def comparison_text(comparisons: Comparisons) -> str:
    """For a terminal: a block for each scale, then in words why nothing is claimed of some."""
    columns = _columns(comparisons)
    blocks = [_cells(comparisons, columns, scale) for scale in comparisons.scales]
    heads = [balanced(column.heading, 2) for column in columns]
    widths = [
        max(width(line) for line in [*head, *(row[number] for block in blocks for row in block)])
        for number, head in enumerate(heads)
    ]
    rule = "─" * (sum(widths) + len(GUTTER) * (len(widths) - 1))
    lines = wrapped(comparisons.caption, max(PAGE, len(rule)))
    for scale, block in zip(comparisons.scales, blocks, strict=True):
        lines += ["", _heading(scale), rule]
        lines += [_text_line(columns, widths, [_bottom(head, up) for head in heads]) for up in (1, 0)]
        lines += [_text_line(columns, widths, row) for row in block]
        lines.append(rule)
        for row in comparisons.of(scale.name):
            if row.claim == "none" and row.why != "no direction":
                first, *rest = wrapped(finding(row, comparisons), len(rule) - 2)
                lines += [first, *(f"  {more}" for more in rest)]
    lines += ["", *comparisons.signatures]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def comparison_json(comparisons: Comparisons) -> str:
    """Everything, at full precision; null where the data do not give a number."""
    rows = []
    for row in comparisons.rows:
        fields = row._asdict()
        for name in ("sign_flip", "alternative"):
            fields[name] = fields[name]._asdict() if fields[name] else None
        rows.append({**fields, "words": finding(row, comparisons)})
    scales = {
        scale.name: {
            "label": scale.label,
            "unit": scale.unit,
            "direction": scale.direction,
            "aggregate": scale.aggregate,
            "digits": comparisons.digits[scale.name],
            "revision": scale.revision,
        }
        for scale in comparisons.scales
    }
    content: dict[str, Any] = {
        "avbench": package_version(),
        **comparisons._asdict(),
        "labels": dict(comparisons.labels),
        "power": WANTED,
        "scales": scales,
        "rows": rows,
    }
    del content["digits"]  # with the scales
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def comparison_latex(comparisons: Comparisons) -> str:
    r"""A float with a block for each scale; the preamble needs \usepackage{booktabs}."""
    columns = _columns(comparisons)
    align = "".join("r" if column.right else "l" for column in columns)
    lines = [
        "% Needs \\usepackage{booktabs}, and table* where the page has two columns. How its numbers were made:",
        *(f"% {ascii(signature)[1:-1]}" for signature in comparisons.signatures),
        "\\begin{table}",
        "\\centering",
        "\\setlength{\\tabcolsep}{3pt}",
        "\\setlength{\\belowcaptionskip}{6pt}",
        f"\\caption{{{escape(comparisons.caption)}}}",
        f"\\label{{tab:avbench-compare-{re.sub('[^A-Za-z0-9.-]', '-', comparisons.split.rpartition('@')[0])}}}",
        "\\scriptsize",
        f"\\begin{{tabular}}{{@{{}}{align}@{{}}}}",
        "\\toprule",
        _latex_line(map(_latex_heading, columns)),
    ]
    for scale in comparisons.scales:
        lines += [
            "\\midrule",
            f"\\multicolumn{{{len(columns)}}}{{@{{}}l}}{{\\textit{{{escape(_heading(scale))}}}}} \\\\",
        ]
        lines += [_latex_line(map(escape, row)) for row in _cells(comparisons, columns, scale)]
    lines += ["\\bottomrule", "\\end{tabular}", "\\end{table}"]
    return "\n".join(lines) + "\n"


def plan_text(plan: Plan) -> str:
    """What can be found, in a few lines."""
    least, most = min(plan.clips), max(plan.clips)
    each = f"{least}" if least == most else f"{least} to {most}"
    rows = [("", "one comparison", f"{plan.methods} methods, Holm")]
    rows.append(("smallest effect found four times in five", f"{plan.smallest:.2f}", f"{plan.smallest_adjusted:.2f}"))
    if plan.power is not None and plan.power_adjusted is not None:
        found = f"chance to find an effect of {plan.effect:g}"
        rows.append((found, f"{plan.power:.2f}", f"{plan.power_adjusted:.2f}"))
    kind = "exact" if plan.exact else "Monte Carlo"
    rows.append(
        (f"least p of the sign-flip test ({kind})", f"{plan.attainable:.2g}", f"{plan.attainable_adjusted:.2g}")
    )
    shown = [row if plan.methods > 1 else row[:2] for row in rows]
    widths = [max(map(width, cells)) for cells in zip(*shown, strict=True)]
    said = "An effect is in standard deviations of a pair's difference; it is found by the t test of speaker means."
    if plan.methods > 1:
        said += " Holm's strictest step: alpha, and the least p, over that many methods."
    lines = [
        f"{sum(plan.clips)} pairs of {len(plan.clips)} speakers ({each} each), correlation {plan.correlation:g} "
        f"within a speaker, alpha {plan.alpha:g}",
        "",
        *(
            GUTTER.join(
                pad(cell, wide, right=number > 0) for number, (cell, wide) in enumerate(zip(row, widths, strict=True))
            )
            for row in shown
        ),
        "",
        *wrapped(said, PAGE),
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


COMPARISON_FORMATS: dict[str, Callable[[Comparisons], str]] = {
    "text": comparison_text,
    "json": comparison_json,
    "latex": comparison_latex,
}


# Cells -----------------------------------------------------------------------------------------------------------


def _columns(comparisons: Comparisons) -> list[_Column]:
    columns = [
        _Column("method", lambda row, digits: comparisons.labels[row.other], right=False),
        _Column("difference", lambda row, digits: _signed(row.difference, digits)),
        _Column(
            f"{100 * comparisons.confidence:g} % interval",
            lambda row, digits: _interval(row.lower, row.upper, digits),
        ),
        _Column("p", lambda row, digits: _p(row.p)),
    ]
    if comparisons.adjust != "none":
        columns.append(_Column("adjusted p", lambda row, digits: _p(row.adjusted)))
    columns.append(_Column("sign-flip p", lambda row, digits: _p(row.sign_flip.p if row.sign_flip else None)))
    if not comparisons.even:
        columns += [
            _Column("least possible", lambda row, digits: _p(row.sign_flip.attainable if row.sign_flip else None)),
            _Column("pairs", lambda row, digits: str(row.pairs)),
            _Column("speakers", lambda row, digits: str(row.speakers)),
        ]
    columns += [
        _Column("W/T/L", _wins),
        _Column("detectable", lambda row, digits: DASH if row.smallest is None else f"{row.smallest:.{digits}f}"),
    ]
    if comparisons.test != "t":
        columns.append(_Column(comparisons.test, _alternative))
    return [*columns, _Column("claim", _claim, right=False)]


def _cells(comparisons: Comparisons, columns: Sequence[_Column], scale: Scale) -> list[list[str]]:
    digits = comparisons.digits[scale.name]
    return [[column.cell(row, digits) for column in columns] for row in comparisons.of(scale.name)]


def _heading(scale: Scale) -> str:
    unit = f", {scale.unit}" if scale.unit else ""
    return f"{scale.label}{ARROWS[scale.direction]}{unit}"


def _signed(value: float | None, digits: int) -> str:
    """With its sign, and 0 without one."""
    if value is None:
        return DASH
    text = f"{value:+.{digits}f}"
    return text.replace("-", MINUS) if float(text) else text[1:]


def _interval(lower: float | None, upper: float | None, digits: int) -> str:
    if lower is None or upper is None:
        return DASH
    return f"[{_signed(lower, digits)}, {_signed(upper, digits)}]"


def _p(p: float | None) -> str:
    if p is None:
        return DASH
    return f"<{LEAST:.4f}" if p < LEAST else f"{p:.4f}"


def _wins(row: Comparison, digits: int) -> str:
    return DASH if row.wins is None else f"{row.wins}/{row.ties}/{row.losses}"


def _claim(row: Comparison, digits: int) -> str:
    if row.why == "no direction":
        return DASH
    return f"none: {row.why}" if row.why in ("gap", "one speaker") else row.claim


def _alternative(row: Comparison, digits: int) -> str:
    found = row.alternative
    if found is None:
        return DASH
    return _interval(found.lower, found.upper, digits) if found.test == "bootstrap" else _p(found.p)


# Lines -----------------------------------------------------------------------------------------------------------


def _bottom(head: Sequence[str], up: int) -> str:
    """The line of a heading that is so many above its last; empty above its first."""
    return head[-1 - up] if up < len(head) else ""


def _text_line(columns: Sequence[_Column], widths: Sequence[int], cells: Sequence[str]) -> str:
    return GUTTER.join(
        pad(cell, wide, right=column.right) for column, wide, cell in zip(columns, widths, cells, strict=True)
    )


def _latex_line(cells: Iterable[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _latex_heading(column: _Column) -> str:
    side = "r" if column.right else "l"
    stack = " \\\\ ".join(escape(line) for line in balanced(column.heading, 2))
    return f"\\begin{{tabular}}[b]{{@{{}}{side}@{{}}}}{stack}\\end{{tabular}}"
