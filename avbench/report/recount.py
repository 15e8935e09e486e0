"""What a recount of published numbers found: for a person, and as JSON for a program."""

from __future__ import annotations

import json
from typing import Any

from ..published import KINDS, Check, Report, Votes
from ..published.recount import RANKS
from .columns import pad, width, wrapped

__all__ = ["as_json", "text"]

PAGE = 100


def text(report: Report) -> str:
    """What disagrees or cannot be decided under its kind, then what the preferences come to, then what is beyond it."""
    checked, found, facts = len(report.checks), len(report.disagreements), report.facts
    lines = [
        f"{report.name} (arXiv {report.arxiv}) against itself: {checked} checked, {found} disagree ({len(facts)} facts), "
        f"{len(report.undecided)} cannot be decided.",
        *wrapped(f"Marks: {RANKS}. `printed` is quoted, `says` is in our words.", PAGE),
    ]
    first = {one: fact[0] for fact in facts for one in fact[1:]}
    for kind, heading in KINDS.items():
        checks, wrong, open_ = report.tally(kind)
        lines += ["", f"{heading}: {checks} checked, {_found(wrong, open_)}"]
        for one in report.checks:
            if one.kind == kind and not one.agrees:
                lines += _said(one, first.get(one))
    lines += ["", *_votes(report.votes), "", "Not to be recomputed from what is printed:"]
    lines += [f"  {one.what}; that needs {one.needs}" for one in report.beyond]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def as_json(report: Report) -> str:
    """All checks, whether they agree or not, and all counts of votes at full precision."""
    counted = ("checked", "disagreements", "undecided")
    fact_of = {one: number for number, fact in enumerate(report.facts, start=1) for one in fact}
    content = {
        "name": report.name,
        "arxiv": report.arxiv,
        "checked": len(report.checks),
        "disagreements": len(report.disagreements),
        "facts": len(report.facts),
        "undecided": len(report.undecided),
        "ranks": RANKS,
        "kinds": {kind: dict(zip(counted, report.tally(kind), strict=True)) for kind in KINDS},
        "checks": [_check(one, fact_of.get(one)) for one in report.checks],
        "votes": [_fields(one) for one in report.votes],
        "beyond": [{"what": one.what, "needs": one.needs} for one in report.beyond],
    }
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


def _found(wrong: int, undecided: int) -> str:
    open_ = f", {undecided} cannot be decided" if undecided else ""
    return f"{wrong} disagree{'s' * (wrong == 1)}{open_}"


def _said(one: Check, first: Check | None) -> list[str]:
    """`first`: where the same fact was met before."""
    parts = [
        "cannot be decided" if one.status == "cannot be decided" else "",
        f"{'printed' if one.quoted else 'says'}: {one.printed}",
        f"recomputed: {one.recomputed}",
        one.remark,
        f"the same fact as {first.where}" if first else "",
    ]
    said = wrapped("; ".join(part for part in parts if part), PAGE - 6)
    return [f"  {one.where}", *(f"      {line}" for line in said)]


def _check(one: Check, fact: int | None) -> dict[str, Any]:
    """`fact`: disagreements of the same number are one fact."""
    return {
        "kind": one.kind,
        "where": one.where,
        "printed" if one.quoted else "says": one.printed,
        "recomputed": one.recomputed,
        "status": one.status,
        "remark": one.remark,
        "fact": fact,
    }


def _votes(rows: tuple[Votes, ...]) -> list[str]:
    correlations = [one.correlation for one in rows[0].sensitivity.rows] if rows else []
    table = [["", "won", "lost", "equal", "votes", "tips at", *(f"{one:g}" for one in correlations)]]
    for row in rows:
        tipping = row.sensitivity.tipping
        table.append(
            [
                f"{row.question.replace('_', ' ')} against {row.baseline}",
                *map(str, row.counts),
                f"{row.counts.votes}{'' if row.said else '*'}",
                "never" if tipping is None else f"{tipping:.2f}",
                *(_p(one.p) for one in row.sensitivity.rows),
            ]
        )
    widths = [max(width(line[number]) for line in table) for number in range(len(table[0]))]
    shown = [
        "  ".join(
            pad(cell, columns, right=bool(at)) for at, (cell, columns) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    ]
    notes = [
        "The preferences, in the integer counts that print so; p if votes on one pair correlate so much (0: the paper's",
        "binomial, which treats votes as independent), and the correlation at which p is 0.05.",
    ]
    star = ["  * outside the number of votes that the paper says"] if not all(row.said for row in rows) else []
    return [*notes, *(f"  {line}" for line in shown), *star]


def _p(p: float) -> str:
    return f"{p:.0e}" if p < 1e-4 else f"{p:.4f}"


def _fields(row: Votes) -> dict[str, Any]:
    return {
        "baseline": row.baseline,
        "question": row.question,
        "wins": row.counts.wins,
        "losses": row.counts.losses,
        "ties": row.counts.ties,
        "as_many_votes_as_said": row.said,
        "votes_per_pair": row.sensitivity.votes_per_pair,
        "tipping": row.sensitivity.tipping,
        "p": {f"{one.correlation:g}": one.p for one in row.sensitivity.rows},
    }
