"""What a metric is: a question, a scale, and a pure function from features to a number.

    measure(sample) → float | Measured(value, detail)      or raises Unmeasurable(reason)

A clip that defeats a metric (no face, no speech) is an outcome, not an error: the metric raises `Unmeasurable`
and `score.py` records the reason. No metric ever answers NaN, None, 0 or -1 in its place.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal

import msgspec

from .features import Feature, Features
from .split import Prompt

__all__ = [
    "PROFILES",
    "UNTRAINED",
    "Aggregate",
    "Card",
    "Measured",
    "Metric",
    "Sample",
    "Scale",
    "Source",
    "Unmeasurable",
]

UNTRAINED = "@untrained"  # in the revision of a scale whose networks have random numbers

PROFILES = {
    "authors": "what the released code of ID-LoRA's authors does; where they released none, a stated assumption",
    "community": "the field's usual recipe, written down and pinned",
    "embedded": "networks from the package index alone: no GPU, no account, no model hub",
}

Source = Literal["clip", "target", "voice", "face", "prompt"]


# mean: of clips. corpus: of words, each clip weighing as much as `words` in its rows' detail says.
Aggregate = Literal["mean", "corpus"]


class Unmeasurable(Exception):
    """This clip defeats this metric; the score row records the reason, and the file of `source` that it is about."""

    def __init__(self, reason: str, source: Source = "clip") -> None:
        super().__init__(reason)
        self.source = source


class Scale(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How the numbers of a metric are to be read; written to scales.json beside the scores."""

    profile: str
    name: str
    label: str  # heading of a column
    unit: str  # "cosine", "% of face height", …
    direction: Literal["higher", "lower", "none"]  # which way is better
    digits: Annotated[int, msgspec.Meta(ge=0, le=9)]  # decimals in a table
    order: int  # place among the columns
    aggregate: Aggregate
    tolerance: float  # largest difference that another machine may show
    revision: str  # changes whenever a score would change

    @property
    def key(self) -> str:
        """`profile/name`, the key of scales.json."""
        return f"{self.profile}/{self.name}"


@dataclasses.dataclass(frozen=True)
class Measured:
    """A value with what explains it; detail goes into the score row as it is (numbers, strings, lists)."""

    value: float
    detail: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Sample:
    """What a metric sees of one generated clip. `voice` and `face` are the given references, `wording` is the prompt's features.

    `transcript` is what should be said, in `language` (empty where the split does not say which).
    """

    clip: Features
    target: Features
    voice: Features
    face: Features
    prompt: Prompt
    transcript: str
    language: str
    wording: Features = dataclasses.field(default_factory=lambda: Features({}))


@dataclasses.dataclass(frozen=True)
class Card:
    """What `avbench describe` prints of a metric."""

    question: str
    recipe: str
    source: str
    range: str
    confounds: tuple[str, ...]
    assumed: str = ""


@dataclasses.dataclass(frozen=True)
class Metric:
    """One question asked of a clip. Its name is its scale's; `protocol` counts changes of its own arithmetic."""

    profile: str
    name: str
    label: str
    unit: str
    direction: Literal["higher", "lower", "none"]
    digits: int
    tolerance: float
    protocol: int
    needs: Mapping[Source, tuple[Feature[Any], ...]]
    measure: Callable[[Sample], float | Measured]
    card: Card
    aggregate: Aggregate = "mean"
