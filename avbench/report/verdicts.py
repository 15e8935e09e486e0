"""The verdicts of a gate: for a terminal, for a program, for a page."""

from __future__ import annotations

import msgspec

from ..gate import Check, Ruling
from .columns import pad, width, wrapped
from .markdown import escape

__all__ = ["verdict_json", "verdict_markdown", "verdict_text"]

NOTHING = "–"
PAGE = 100  # columns that words are broken to
HEADS = ("scale", "verdict", "difference", "at least", "at most", "margin", "pairs", "speakers", "finds a loss of")


def verdict_text(check: Check) -> str:
    """What was asked, a line a rule, a sentence a rule, and the conclusion."""
    rows = [HEADS, *map(_cells, check.rulings)]
    widths = [max(width(row[number]) for row in rows) for number in range(len(HEADS))]
    lines = [
        "  ".join(
            pad(cell, columns, right=number > 1) for number, (cell, columns) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "─" * max(map(width, lines))
    sentences = [line for said in _said(check) for line in _hanging(said)]
    return (
        "\n".join(
            line.rstrip()
            for line in [
                *wrapped(check.title, PAGE),
                "",
                lines[0],
                rule,
                *lines[1:],
                rule,
                "",
                *sentences,
                "",
                check.conclusion,
            ]
        )
        + "\n"
    )


def verdict_markdown(check: Check) -> str:
    """A step summary or a comment: the conclusion as the heading, the table, a sentence a rule."""
    lines = [f"### avbench gate: {escape(check.conclusion)}", "", escape(check.title), ""]
    lines += [_line(HEADS), _line(("---", "---", *("---:" for _ in HEADS[2:])))]
    for ruling in check.rulings:
        scale, verdict, *numbers = _cells(ruling)
        lines.append(_line((escape(scale), verdict if verdict == "pass" else f"**{verdict}**", *numbers)))
    lines += ["", *(f"- {escape(said)}" for said in _said(check))]
    return "\n".join(lines) + "\n"


def verdict_json(check: Check) -> str:
    """Everything, at full precision."""
    rulings = [
        {**ruling._asdict(), "answer": ruling.answer._asdict(), "severity": check.severity(ruling)}
        for ruling in check.rulings
    ]
    content = {
        "verdict": check.verdict,
        "failed": check.failed,
        "conclusion": check.conclusion,
        **check._asdict(),
        "rulings": rulings,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=1).decode() + "\n"


def _cells(ruling: Ruling) -> tuple[str, ...]:
    digits, answer = ruling.digits, ruling.answer
    loss = None if ruling.resolution is None else ruling.margin + ruling.resolution
    return (
        ruling.scale,
        ruling.verdict,
        *(_number(value, digits, sign=True) for value in (ruling.difference, answer.lower, answer.upper)),
        _number(ruling.margin, digits),
        str(ruling.pairs),
        str(ruling.speakers),
        _number(loss, digits),
    )


def _number(value: float | None, digits: int, *, sign: bool = False) -> str:
    if value is None:
        return NOTHING
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text if text.strip("+-0.") else text.lstrip("+-")  # never -0.000


def _said(check: Check) -> list[str]:
    return [*(ruling.sentence for ruling in check.rulings), *([check.outdated] if check.outdated else [])]


def _hanging(said: str) -> list[str]:
    start, *rest = wrapped(said, PAGE - 2)
    return [start, *(f"  {line}" for line in rest)]


def _line(cells: tuple[str, ...]) -> str:
    return f"| {' | '.join(cells)} |"
