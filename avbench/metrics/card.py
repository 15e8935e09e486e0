"""The card of a metric, as text: what a reader must know before quoting a number."""

from __future__ import annotations

import textwrap

from ..extract import EXTRACTORS
from ..metric import Metric, Scale
from ..weights import WEIGHTS

__all__ = ["card"]

WIDTH = 100
INDENT = 12
DIRECTIONS = {"higher": "higher is better", "lower": "lower is better", "none": "neither way is better"}


def card(metric: Metric, scale: Scale) -> str:
    """Question, recipe, source, range, direction, networks with their licences, confounds, what is assumed, and what it costs."""
    names = dict.fromkeys(feature.name for features in metric.needs.values() for feature in features)
    networks = dict.fromkeys(weight for name in names for weight in EXTRACTORS[name].weights)
    fields = [
        ("question", metric.card.question),
        ("recipe", metric.card.recipe),
        ("source", metric.card.source),
        ("unit", metric.unit),
        ("range", metric.card.range),
        ("direction", DIRECTIONS[metric.direction]),
        ("tolerance", f"{metric.tolerance:g} between machines; none on one machine"),
        ("weights", "none" if not networks else ""),
        *[("", f"{name} ({WEIGHTS[name].licence}): {WEIGHTS[name].note} {WEIGHTS[name].address}") for name in networks],
        *[("confounds" if number == 0 else "", text) for number, text in enumerate(metric.card.confounds)],
        ("assumed", metric.card.assumed or "nothing"),
        ("cost", _cost(metric)),
        ("revision", scale.revision),
    ]
    title = f"{scale.key}: {metric.label}"
    return "\n".join([title, *(_field(name, text) for name, text in fields)])


def _cost(metric: Metric) -> str:
    """What the features of one clip took where they were measured; scales that share a feature share its cost."""
    parts = [(feature.name, EXTRACTORS[feature.name].seconds) for feature in metric.needs.get("clip", ())]
    said = " and ".join(f"{seconds:g} s for {name}" for name, seconds in parts) or "nothing is extracted"
    return f"{said}, a clip of 121 frames, on one core of an AMD EPYC (no GPU was measured); shared by all scales that use it"


def _field(name: str, text: str) -> str:
    lead = f"  {name:{INDENT - 2}}"
    if not text:
        return lead.rstrip()
    return textwrap.fill(
        text, WIDTH, initial_indent=lead, subsequent_indent=" " * INDENT, break_long_words=False, break_on_hyphens=False
    )
