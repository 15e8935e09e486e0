"""What does the paper print? Its numbers as they stand there, digit for digit, and what is said of them.

`reports/published/NAME/` has `paper.toml` (how tables are laid out, what the text says) and the CSV files with the
numbers. A number is kept as text: 0.510 has three digits, and whether two are equal is decided on what is printed.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, TypeVar

import msgspec

from ..errors import UsageError, unknown
from ..home import data_folders
from ..table import Mark

__all__ = [
    "PAPER",
    "Again",
    "Beyond",
    "Form",
    "Layout",
    "Number",
    "Paper",
    "Preference",
    "Preferences",
    "PrintedRun",
    "PublishedMetric",
    "PublishedSplit",
    "Rating",
    "Ratings",
    "RunRow",
    "Statement",
    "Totals",
    "paper",
]

PAPER = "id-lora"  # the folder
NUMBER = re.compile(r"[0-9]+\.[0-9]+")

Form = Literal["main", "ablation", "lip-bias", "sweep"]
Digits = Annotated[int, msgspec.Meta(ge=0, le=9)]
Strict = TypeVar("Strict")


class Number(NamedTuple):
    """One number of a table."""

    split: str
    row: str
    metric: str
    text: str
    mark: Mark  # as printed

    @property
    def value(self) -> Decimal:
        return Decimal(self.text)


class PublishedMetric(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A heading of the paper; `direction` and `digits` are those that it prints."""

    label: str
    direction: Literal["higher", "lower"]
    digits: Digits
    unit: str = ""
    short: str = ""


class PublishedSplit(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A split under the paper's name."""

    label: str
    short: str  # before the metric, where columns are of several splits
    pairs: int
    speakers: int


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How one table is laid out."""

    number: int
    title: str
    form: Form
    layout: Literal["blocks", "columns"]  # splits one below the other, or side by side
    seconds: bool  # whether second places are underlined
    note: str = ""
    row: str = ""  # what the rows are, where they are no methods
    default: str = ""  # the row that is the default


class RunRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a run stands."""

    table: int
    row: str


class PrintedRun(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One run that stands in several tables."""

    split: str
    rows: tuple[RunRow, ...]


class Statement(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the text says of a column of a table."""

    where: str
    says: str
    table: int
    splits: tuple[str, ...]
    metric: str
    rows: tuple[str, ...]
    place: Literal["highest", "lowest", "above", "below", "gap", "gain", "opposed"]
    others: tuple[str, ...] = ()
    opposite: str = ""  # the other metric, where one is said to fall as the first rises
    printed: str = ""  # the number, for a gap or a gain


class Totals(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all splits are said to have together."""

    where: str
    pairs: int
    speakers: int


class Again(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Numbers of a preference that are said a second time; empty where one is not."""

    where: str
    baseline: str = ""
    question: str = ""
    preferred_pct: str = ""
    baseline_pct: str = ""
    p_claim: str = ""


class Preferences(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The study of preferences."""

    split: str
    pairs: int
    raters: int  # of each pair
    votes_at_least: int
    votes_at_most: int
    again: tuple[Again, ...]
    everywhere: Again  # said of every question


class Ratings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The study of ratings."""

    split: str
    ours: str
    other: str
    scenarios: int
    scale: tuple[int, int]  # the worst and the best rating


class Beyond(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What cannot be recomputed, and what that would need."""

    what: str
    needs: str


class Preference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of human_ab.csv: votes for the paper's method, for the baseline, and the rest for neither, in percent."""

    baseline: str
    question: str
    preferred_pct: str
    baseline_pct: str
    win_rate_pct: str
    p_claim: str  # such as <0.001
    annotations_low: str
    annotations_high: str
    source: str


class Rating(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of human_mos.csv."""

    quantity: str
    method: str
    value: str


class _Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """paper.toml."""

    name: str
    arxiv: str
    citation: str
    metrics: dict[str, PublishedMetric]
    splits: dict[str, PublishedSplit]
    tables: tuple[Layout, ...]
    runs: tuple[PrintedRun, ...]
    statements: tuple[Statement, ...]
    totals: Totals
    preferences: Preferences
    ratings: Ratings
    beyond: tuple[Beyond, ...]


class Paper(NamedTuple):
    """All that is known of a paper's numbers."""

    folder: str
    head: _Head
    numbers: dict[int, tuple[Number, ...]]  # by table, in printed order
    preferences: tuple[Preference, ...]
    ratings: tuple[Rating, ...]

    def layout(self, number: int) -> Layout:
        """How a table is laid out; UsageError lists the tables where there is none of that number."""
        for one in self.head.tables:
            if one.number == number:
                return one
        raise unknown("published table", str(number), [str(one.number) for one in self.head.tables])

    @property
    def figure3(self) -> tuple[Preference, ...]:
        """The rows of the paper itself: those with a win rate."""
        return tuple(row for row in self.preferences if row.win_rate_pct)

    @property
    def elsewhere(self) -> tuple[Again, ...]:
        """Numbers of these rows that are said in other places."""
        rows = (row for row in self.preferences if not row.win_rate_pct)
        return (
            *self.head.preferences.again,
            *(Again(row.source, row.baseline, row.question, row.preferred_pct, row.baseline_pct) for row in rows),
        )

    def rating(self, quantity: str, method: str) -> str:
        """A number of the study of ratings, as printed."""
        return next(one.value for one in self.ratings if (one.quantity, one.method) == (quantity, method))

    def column(self, number: int, split: str, metric: str) -> tuple[Number, ...]:
        """The numbers of one metric on one split, from top to bottom."""
        return tuple(one for one in self.numbers[number] if (one.split, one.metric) == (split, metric))


def paper() -> Paper:
    """The ID-LoRA paper's numbers, from the working folder, the checkout or the package. UsageError says what is wrong."""
    folders = [folder / PAPER for folder in data_folders("reports/published")]
    folder = next((one for one in folders if (one / "paper.toml").is_file()), None)
    if folder is None:
        raise UsageError(f"reports/published/{PAPER}: not found; it is shipped with avbench. Install it again.")
    return _load(folder)


@cache
def _load(folder: Path) -> Paper:
    try:
        head = msgspec.toml.decode((folder / "paper.toml").read_bytes(), type=_Head)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{folder / 'paper.toml'}: {error}.") from error
    return Paper(
        folder=folder.name,
        head=head,
        numbers={one.number: _numbers(folder / f"table{one.number}.csv", head) for one in head.tables},
        preferences=_records(folder / "human_ab.csv", Preference),
        ratings=_records(folder / "human_mos.csv", Rating),
    )


# CSV files -------------------------------------------------------------------------------------------------------


def _numbers(path: Path, head: _Head) -> tuple[Number, ...]:
    """split, the row (method or setting), metric, value, printed_mark."""
    marks: dict[str, Mark] = {"": "", "best": "best", "second": "second"}
    found = []
    for line, (split, row, metric, text, mark) in enumerate(_lines(path, 5), start=2):
        if split not in head.splits or metric not in head.metrics or mark not in marks:
            raise UsageError(
                f"{path}, line {line}: {split}, {metric}, {mark or 'no mark'}; expected a split and a metric of "
                "paper.toml, and best, second or nothing."
            )
        if not NUMBER.fullmatch(text):
            raise UsageError(f"{path}, line {line}: {text}; expected a number.")
        if len(text.partition(".")[2]) != head.metrics[metric].digits:
            raise UsageError(f"{path}, line {line}: {text}; expected {head.metrics[metric].digits} digits ({metric}).")
        found.append(Number(split, row, metric, text, marks[mark]))
    return tuple(found)


def _records(path: Path, kind: type[Strict]) -> tuple[Strict, ...]:
    names = [field.name for field in msgspec.structs.fields(kind)]  # type: ignore[arg-type]
    rows = _lines(path, len(names), names)
    return tuple(msgspec.convert(dict(zip(names, row, strict=True)), kind) for row in rows)


def _lines(path: Path, columns: int, names: Sequence[str] = ()) -> list[list[str]]:
    with path.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if names and header != names:
        raise UsageError(f"{path}, line 1: expected the columns {', '.join(names)}.")
    for line, row in enumerate([header, *rows], start=1):
        if len(row) != columns:
            raise UsageError(f"{path}, line {line}: expected {columns} columns in every line.")
    return rows
