"""What does the paper print? Its numbers as they stand there, digit for digit, and what is said of them.

`reports/published/NAME/` has `paper.toml` (how tables are laid out, what the text says) and the CSV files with the
numbers. A number is kept as text: 0.510 has three digits, and whether two are equal is decided on what is printed.
"""

from __future__ import annotations

import csv
import io
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
    "Claim",
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
PREFERENCES, RATINGS = "human_ab.csv", "human_mos.csv"
NUMBER = re.compile(r"[0-9]+\.[0-9]+")
DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?")
COUNT, SHARE = re.compile(r"[1-9][0-9]{0,5}"), re.compile(r"[0-9]{1,2}(\.[0-9])?")
QUANTITIES = {"ratings_per_method": COUNT, "scenarios_won_of_10": COUNT, "bad_rating_pct": SHARE}

Form = Literal["main", "ablation", "lip-bias", "sweep"]
Digits = Annotated[int, msgspec.Meta(ge=0, le=9)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Percent = Annotated[str, msgspec.Meta(pattern=r"^([0-9]{1,2}(\.[0-9])?|100)?$")]
Count = Annotated[str, msgspec.Meta(pattern=r"^([1-9][0-9]{0,5})?$")]
Below = Annotated[str, msgspec.Meta(pattern=r"^(<0\.[0-9]+)?$")]
Printed = Annotated[str, msgspec.Meta(pattern=r"^([0-9]+(\.[0-9]+)?(–[0-9]+(\.[0-9]+)?)?)?$")]
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
    numbers: int  # how many it has
    note: str = ""
    row: str = ""  # what the rows are, where they are no methods
    default: str = ""  # the row that is the default


class RunRow(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Where a run stands."""

    table: int
    row: str
    assumption: str = ""  # why it may be another run


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
    place: Literal["highest", "lowest", "above", "below", "gap", "gain", "opposed", "range"]
    others: tuple[str, ...] = ()
    opposite: str = ""  # the other metric, where one is said to fall as the first rises
    printed: Printed = ""  # the number, for a gap or a gain; both ends of a range
    remark: str = ""  # what to consider where it does not hold


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
    preferred_pct: Percent = ""
    baseline_pct: Percent = ""
    p_claim: Below = ""


class Preferences(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The study of preferences."""

    split: str
    pairs: Positive
    comparisons: Positive  # questions about baselines
    raters: Positive  # of each pair
    votes_at_least: int
    votes_at_most: int
    again: tuple[Again, ...]
    everywhere: Again  # said of every question


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whom the paper's method is said to surpass significantly in the ratings."""

    where: str
    says: str
    over: str
    level: Annotated[str, msgspec.Meta(pattern=r"^0\.[0-9]+$")]  # p below which a difference is called significant
    source: str  # where the ratings stand
    remark: str = ""


class Ratings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The study of ratings."""

    split: str
    ours: str
    other: str
    scenarios: int
    scale: tuple[int, int]  # the worst and the best rating
    gains: int  # of how many scenarios the difference is printed
    possible: tuple[tuple[int, ...], tuple[int, ...]]  # histograms that print as all that is said but p, ours first
    claims: tuple[Claim, ...]


class Beyond(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What cannot be recomputed, and what that would need."""

    what: str
    needs: str


class Preference(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One row of human_ab.csv: votes for the paper's method, for the baseline, and the rest for neither, in percent."""

    baseline: str
    question: str
    preferred_pct: Percent
    baseline_pct: Percent
    win_rate_pct: Percent
    p_claim: Below  # such as <0.001
    annotations_low: Count
    annotations_high: Count
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
        for one in self.ratings:
            if (one.quantity, one.method) == (quantity, method):
                return one.value
        raise UsageError(f"{RATINGS}: no {quantity} of {method}; expected one line.")

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
        head = msgspec.toml.decode(_text(folder / "paper.toml"), type=_Head)
    except msgspec.MsgspecError as error:
        raise UsageError(f"{folder / 'paper.toml'}: {error}.") from error
    known = Paper(
        folder=folder.name,
        head=head,
        numbers={one.number: _numbers(folder / f"table{one.number}.csv", head, one) for one in head.tables},
        preferences=_preferences(folder / PREFERENCES, head.preferences),
        ratings=_ratings(folder / RATINGS, head.ratings),
    )
    _refers(folder / "paper.toml", known)
    return known


def _refers(path: Path, known: Paper) -> None:
    """UsageError where paper.toml speaks of a split, metric, table or row that the numbers do not have."""
    head = known.head
    cells = {(table, one.split, one.metric, one.row) for table, of in known.numbers.items() for one in of}
    named: list[tuple[str, tuple[int, str, str, str]]] = []
    for one in head.statements:
        if not one.rows or not one.splits:
            raise UsageError(f"{path}: {one.says!r} of no row or split; expected one at least.")
        if bool(one.printed) != (one.place in ("gap", "gain", "range")) or ("–" in one.printed) != (
            one.place == "range"
        ):
            raise UsageError(
                f"{path}: {one.says!r}, {one.place}, {one.printed or 'nothing'} printed; expected a number for a gap or "
                "a gain, two with – between for a range, none for the rest."
            )
        if bool(one.opposite) != (one.place == "opposed"):
            raise UsageError(f"{path}: {one.says!r}, {one.place}; expected an opposite metric for opposed alone.")
        if one.place in ("gap", "gain") and not one.others:
            raise UsageError(f"{path}: {one.says!r}, a {one.place} to no others; expected one at least.")
        for metric in filter(None, (one.metric, one.opposite)):
            named += [
                (one.says, (one.table, split, metric, row)) for split in one.splits for row in (*one.rows, *one.others)
            ]
    for what, cell in named:
        if cell not in cells:
            table, split, metric, row = cell
            raise UsageError(f"{path}: {what!r} speaks of {row}, {split}, {metric}; table{table}.csv has no such line.")
    for run in head.runs:
        for of in run.rows:
            if not any((table, split, row) == (of.table, run.split, of.row) for table, split, _, row in cells):
                raise UsageError(f"{path}: a run in {of.row}, {run.split}; table{of.table}.csv has no such line.")
    figure3 = {(one.baseline, one.question) for one in known.figure3}
    for again in head.preferences.again:
        if (again.baseline, again.question) not in figure3:
            raise UsageError(
                f"{path}: {again.where} speaks of {again.question}, {again.baseline}; {PREFERENCES} has no such line."
            )


# CSV files -------------------------------------------------------------------------------------------------------


def _numbers(path: Path, head: _Head, layout: Layout) -> tuple[Number, ...]:
    """split, the row (method or setting), metric, value, printed_mark."""
    marks: dict[str, Mark] = {"": "", "best": "best", "second": "second"}
    found = []
    seen: dict[tuple[str, ...], int] = {}
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
        _once(seen, (split, row, metric), path, line)
        found.append(Number(split, row, metric, text, marks[mark]))
    metrics = dict.fromkeys(one.metric for one in found)
    for split, row in dict.fromkeys((one.split, one.row) for one in found):
        if absent := [metric for metric in metrics if (split, row, metric) not in seen]:
            line = min(at for (one, other, _), at in seen.items() if (one, other) == (split, row))
            raise UsageError(f"{path}, line {line}: {split}, {row} without {', '.join(absent)}; expected every metric.")
    if len(found) != layout.numbers:
        raise UsageError(
            f"{path}, line {len(found) + 1}: {len(found)} numbers up to this line, the last; expected "
            f"{layout.numbers}, as paper.toml says."
        )
    return tuple(found)


def _preferences(path: Path, head: Preferences) -> tuple[Preference, ...]:
    """UsageError: a line said twice, without a number that it needs, or of a comparison that the study does not have."""
    rows = _records(path, Preference)
    seen: dict[tuple[str, ...], int] = {}
    studied = {(one.baseline, one.question) for one in rows if one.win_rate_pct}
    for line, one in enumerate(rows, start=2):
        _once(seen, (one.baseline, one.question, "study" if one.win_rate_pct else one.source), path, line)
        needed = {"preferred_pct": one.preferred_pct, "baseline_pct": one.baseline_pct, "p_claim": one.p_claim}
        if one.win_rate_pct:
            needed |= {"annotations_low": one.annotations_low, "annotations_high": one.annotations_high}
        if absent := [name for name, value in needed.items() if not value]:
            raise UsageError(f"{path}, line {line}: no {', '.join(absent)}; expected a number.")
        if (one.baseline, one.question) not in studied:
            raise UsageError(
                f"{path}, line {line}: {one.question}, {one.baseline} without a line with a win rate; expected one."
            )
    if len(studied) != head.comparisons:
        raise UsageError(
            f"{path}, line {len(rows) + 1}: {len(studied)} lines with a win rate up to this line, the last; expected "
            f"{head.comparisons}, as paper.toml says."
        )
    return rows


def _ratings(path: Path, head: Ratings) -> tuple[Rating, ...]:
    """UsageError: a quantity said twice or not at all, or a value that is no number."""
    rows = _records(path, Rating)
    seen: dict[tuple[str, ...], int] = {}
    for line, one in enumerate(rows, start=2):
        _once(seen, (one.quantity, one.method), path, line)
        if not QUANTITIES.get(one.quantity, DECIMAL).fullmatch(one.value):
            raise UsageError(f"{path}, line {line}: {one.value or 'nothing'}; expected a number ({one.quantity}).")
    both = f"{head.ours} vs {head.other}"
    wanted = [
        *((quantity, of) for quantity in ("overall_mos", "bad_rating_pct", "ratings_per_method")
          for of in (head.ours, head.other)),
        ("scenarios_won_of_10", head.ours), ("p_value", both), ("cohens_d", both),
    ]  # fmt: skip
    for quantity, method in wanted:
        if (quantity, method) not in seen:
            raise UsageError(f"{path}, line {len(rows) + 1}: no {quantity} of {method} up to this line, the last.")
    gains = sum(quantity.startswith("mos_difference:") for quantity, _ in seen)
    if gains != head.gains:
        raise UsageError(
            f"{path}, line {len(rows) + 1}: {gains} differences of scenarios up to this line, the last; expected "
            f"{head.gains}, as paper.toml says."
        )
    return rows


def _records(path: Path, kind: type[Strict]) -> tuple[Strict, ...]:
    names = [field.name for field in msgspec.structs.fields(kind)]  # type: ignore[arg-type]
    rows = _lines(path, len(names), names)
    found = []
    for line, row in enumerate(rows, start=2):
        try:
            found.append(msgspec.convert(dict(zip(names, row, strict=True)), kind))
        except msgspec.ValidationError as error:
            raise UsageError(f"{path}, line {line}: {error}.") from error
    return tuple(found)


def _lines(path: Path, columns: int, names: Sequence[str] = ()) -> list[list[str]]:
    reader = csv.reader(io.StringIO(_text(path), newline=""), strict=True)
    try:
        lines = list(reader)
    except csv.Error as error:
        raise UsageError(f"{path}, line {reader.line_num}: not CSV: {error}.") from error
    if not lines:
        raise UsageError(f"{path}, line 1: empty; expected a heading and the numbers below it.")
    header, *rows = lines
    if names and header != names:
        raise UsageError(f"{path}, line 1: expected the columns {', '.join(names)}.")
    for line, row in enumerate([header, *rows], start=1):
        if len(row) != columns:
            raise UsageError(f"{path}, line {line}: expected {columns} columns in every line.")
    return rows


def _text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: cannot be read: {error.strerror}.") from error
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UsageError(f"{path}, line {line}: not UTF-8; expected text in UTF-8.") from error


def _once(seen: dict[tuple[str, ...], int], key: tuple[str, ...], path: Path, line: int) -> None:
    if key in seen:
        raise UsageError(
            f"{path}, line {line}: {', '.join(key)} for the second time, after line {seen[key]}; expected once."
        )
    seen[key] = line
