"""What a request will cost, told before a file of the model is read: computation, memory, time.

    recipe, sizes → phases of the work (`phases`) with networks without numbers (`parts`)
    → operations and peak of live bytes of each (`metering`) → memory of the device in each way of holding weights (`memory`)
    a GPU: one block with random numbers, as often as the transformer has blocks → seconds of each phase

Conventions. Seconds are measured on the GPU at hand, at the true sizes, or not told: a CPU is measured only where a run of
each phase has less than 50 GFLOP. The text, whose encoder is not built for it on a GPU, is told by the rate that stage one
was measured at. Loading, bringing networks to the device and back, reading and writing media are no part of any figure.
Figures are of one clip where nothing else is said. The way of holding weights is chosen by what is counted, before
anything is measured, as it is when clips are made.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch

from ...errors import UsageError, unknown
from ...extract.engine import engine_of, exactly
from .. import layouts
from ..guidance import Pass, resolve
from ..networks import Precision
from ..recipe import Memory, Recipe, terms
from .memory import MODES, Mode, amount, chosen, host_bytes, weights_held
from .metering import Measured, Metered, measured, metered
from .parts import Parts
from .phases import Request, Work, request, voice_seconds, works

__all__ = ["Phase", "Plan", "Size", "choose", "plan", "text"]

ONE_MEMORY = "the columns are of a GPU; on a CPU all networks lie in one memory, whatever the way"
TRAVELS = "unknown: weights travel to the device"
MEASURED_ON_CPU = 50e9  # operations of a run, at most
RATES = (100e12, 400e12)  # operations a second, to reckon with where nothing is measured
COLUMNS, LABEL = 100, 9  # of a line, and of what stands before it
JOINED = "\N{NO-BREAK SPACE}"  # within a line of text that is to be wrapped


class Size(NamedTuple):
    """Of a clip: frames at 25 a second, and pixels."""

    frames: int
    width: int
    height: int


class Phase(NamedTuple):
    """A part of the work that has its own networks."""

    name: str
    runs: int  # of what is repeated: steps, or 1
    calls: int  # of the transformer
    begun: int  # operations of the beginning
    repeated: int  # operations of one run
    activations: int  # bytes beside the weights: measured on a GPU, else metered
    memory: dict[Mode, int]  # of the device, bytes, for each way of holding weights
    seconds: float | None  # None where they are not known
    source: str  # of the seconds

    @property
    def flops(self) -> int:
        """Operations."""
        return self.begun + self.runs * self.repeated


class Plan(NamedTuple):
    """The cost of a request."""

    recipe: str
    layout: str
    size: Size
    clips: int
    device: str  # its name
    precision: str
    passes: tuple[Pass, ...]  # of a step of stage one
    phases: tuple[Phase, ...]
    weights: dict[str, int]  # bytes of each network and adapter on the device
    mode: Mode
    why: str
    disk_bytes: int  # to be read
    host_bytes: int  # of CPU memory
    notes: tuple[str, ...]

    @property
    def calls(self) -> int:
        """Of the transformer."""
        return sum(phase.calls for phase in self.phases)

    @property
    def flops(self) -> int:
        """Operations."""
        return sum(phase.flops for phase in self.phases)

    @property
    def memory(self) -> dict[Mode, int]:
        """Of the device, bytes, for each way of holding weights: what the largest phase needs."""
        return {mode: max(phase.memory[mode] for phase in self.phases) for mode in MODES}

    @property
    def clip_seconds(self) -> float | None:
        """None where a phase is not known."""
        known = [phase.seconds for phase in self.phases if phase.seconds is not None]
        return sum(known) if len(known) == len(self.phases) else None

    @property
    def seconds(self) -> float | None:
        """For all clips, and for the negative prompt, which is read once."""
        clip, prompt = self.clip_seconds, self.phases[0].seconds
        if clip is None or prompt is None:
            return None
        return clip * self.clips + prompt * any(one.text == "negative" for one in self.passes)


def plan(
    recipe: Recipe,
    folder: Path | None,
    clips: int,
    size: Size,
    *,
    device: str = "auto",
    precision: Precision = "bf16",
    memory: Memory = "auto",
) -> Plan:
    """The cost of `clips` clips by the model in `folder`, or by the published one where that is None.

    UsageError for sizes that the recipe cannot make, WeightsError for a folder without configurations.
    """
    if memory not in get_args(Memory):
        raise unknown("way of holding weights", memory, get_args(Memory))
    if clips < 1:
        raise UsageError(f"a plan for {clips} clips; expected at least one.")
    place = torch.device(engine_of(device).device)
    exactly()  # as clips are made
    asked = request(recipe, folder, size, precision)
    work, taken = works(asked), _taken(asked)
    mode, why = chosen(memory, _rows(asked, taken), place)
    seconds, notes = _seconds_of(work, taken, asked.parts, place, mode)
    phases = tuple(_phase(name, asked, work[name], taken[name], seconds[name]) for name in work)
    voice = voice_seconds(asked)
    if recipe.reference == "audio" and recipe.reference_seconds is None:
        notes = (*notes, f"a voice reference of {voice:g} s is reckoned with")
    return Plan(
        recipe.name,
        recipe.layout,
        size,
        clips,
        torch.cuda.get_device_name(place) if place.type == "cuda" else place.type,
        precision,
        resolve(terms(recipe)),
        phases,
        asked.parts.stored,
        mode,
        why,
        asked.parts.disk,
        host_bytes(asked, mode, place, max(phase.memory["resident"] for phase in phases)),
        notes,
    )


def choose(
    recipe: Recipe, folder: Path | None, size: Size, *, device: str = "auto", precision: Precision = "bf16"
) -> tuple[Mode, str]:
    """What "auto" stands for here, and why; nothing is run on the device."""
    asked = request(recipe, folder, size, precision)
    return chosen("auto", _rows(asked, _taken(asked)), torch.device(engine_of(device).device))


def text(plan: Plan) -> str:
    """What a person reads, in lines of at most 100 columns."""
    size, clips = plan.size, f"{plan.clips} clip{'s' * (plan.clips != 1)}"
    passes = f"{len(plan.passes)} pass{'es' * (len(plan.passes) != 1)}"
    heaviest = sorted(plan.weights.items(), key=lambda each: -each[1])
    lines = [
        f"{plan.recipe} (LTX-{plan.layout}): {clips} of {size.frames} frames at {size.width} x {size.height}, "
        f"{plan.precision} on {plan.device}",
        *_labelled("step", f"{passes} ({', '.join(each.name for each in plan.passes)})"),
        "",
        *_table(plan),
        "",
        *_labelled("memory", f"{plan.mode}, {plan.why}"),
        *_labelled("weights", ", ".join(_weight(*each) for each in heaviest)),
        *_labelled("needs", f"{amount(plan.disk_bytes)} read from disk, {amount(plan.host_bytes)} of CPU memory"),
        *_labelled("time", *_times(plan), f"not counted: {_not_counted(plan)}"),
        *_labelled("note", *plan.notes, *([ONE_MEMORY] if plan.device == "cpu" else [])),
    ]
    return "\n".join(lines)


# Phases ----------------------------------------------------------------------------------------------------------


def _taken(asked: Request) -> dict[str, Metered]:
    """What each phase takes."""
    return {
        name: metered(work.begin, {part: asked.parts.meta(part) for part in work.networks})
        for name, work in works(asked).items()
    }


def _seconds_of(
    work: Mapping[str, Work], taken: Mapping[str, Metered], parts: Parts, place: torch.device, mode: Mode
) -> tuple[dict[str, Measured], tuple[str, ...]]:
    """Every phase on the device itself, with random numbers; the text by the rate of stage one on a GPU. And notes."""
    if mode == "offload" and place.type != "cpu":
        return dict.fromkeys(work, Measured(None, None, None, TRAVELS)), ()
    largest = max(each.run for each in taken.values())
    if place.type == "cpu" and largest > MEASURED_ON_CPU:
        why = f"unknown without a GPU: a run of {_operations(largest)} is too long to try on this CPU"
        return dict.fromkeys(work, Measured(None, None, None, why)), ()
    found = {
        name: measured(one.begin, partial(_built, parts, one.networks, place), place)
        for name, one in work.items()
        if place.type == "cpu" or name != "text"
    }
    if "text" in found:
        return found, ()
    step = found["stage one"].run
    if step is None:
        return found | {"text": Measured(None, None, None, "unknown, as stage one is")}, ()
    seconds = taken["text"].run / taken["stage one"].run * step
    read = Measured(0.0, seconds, None, "by the rate of stage one")
    return found | {"text": read}, ("the time of the text is by the rate of stage one",)


def _built(parts: Parts, names: Sequence[str], place: torch.device) -> dict[str, Any]:
    return {name: parts.build(name, place) for name in names}


def _phase(name: str, asked: Request, work: Work, taken: Metered, seconds: Measured) -> Phase:
    """A row of the plan, from what was found of it."""
    activations = taken.activations if seconds.activations is None else seconds.activations
    known = seconds.begun is not None and seconds.run is not None
    return Phase(
        name,
        work.runs,
        work.runs * work.passes,
        taken.begun,
        taken.run,
        activations,
        _needed(name, asked, activations),
        (seconds.begun or 0.0) + work.runs * (seconds.run or 0.0) if known else None,
        seconds.source,
    )


def _rows(asked: Request, taken: Mapping[str, Metered]) -> list[dict[Mode, int]]:
    """Bytes of the device that each phase needs, as they are counted."""
    return [_needed(name, asked, each.activations) for name, each in taken.items()]


def _needed(name: str, asked: Request, activations: int) -> dict[Mode, int]:
    return {mode: held + activations for mode, held in weights_held(name, asked).items()}


# Words -----------------------------------------------------------------------------------------------------------


def _labelled(label: str, *said: str) -> list[str]:
    """Lines that begin with a word, in its column, or as far in; what JOINED joins is not parted."""
    labels = [label, *[""] * len(said)][: len(said)]
    return [
        line.replace(JOINED, " ")
        for word, each in zip(labels, said, strict=True)
        for line in textwrap.wrap(
            each, COLUMNS, initial_indent=word.ljust(LABEL), subsequent_indent=" " * LABEL, break_on_hyphens=False
        )
    ]


def _weight(name: str, held: int) -> str:
    return f"{name if name in layouts.PARTS else f'adapter {name}'} {amount(held)}".replace(" ", JOINED)


def _table(plan: Plan) -> list[str]:
    rows = [("phase", "runs", "calls", "operations", "activations", *MODES, "seconds")]
    rows += [
        (
            phase.name,
            str(phase.runs),
            str(phase.calls or ""),
            _operations(phase.flops),
            amount(phase.activations),
            *(amount(phase.memory[mode]) for mode in MODES),
            _seconds(phase.seconds),
        )
        for phase in plan.phases
    ]
    peaks = (amount(plan.memory[mode]) for mode in MODES)
    rows.append(("a clip", "", str(plan.calls), _operations(plan.flops), "", *peaks, _seconds(plan.clip_seconds)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip() for row in rows]


def _times(plan: Plan) -> list[str]:
    """What is known of the time, or by what to reckon it."""
    if plan.seconds is not None:
        return [f"{_seconds(plan.clip_seconds)} s a clip, {_duration(plan.seconds)} for all"]
    rates = ", ".join(f"{_seconds(plan.flops / rate)} s at {rate / 1e12:g} TFLOP/s" for rate in RATES)
    reasons = dict.fromkeys(phase.source for phase in plan.phases if phase.seconds is None)
    return [*reasons, f"arithmetic alone: {_operations(plan.flops)} a clip, {rates}"]


def _not_counted(plan: Plan) -> str:
    """Of the time."""
    moved = "bringing networks to the device and back in each batch of clips, "
    return f"loading, {moved * (plan.mode == 'staged' and plan.device != 'cpu')}reading and writing media"


def _operations(count: int) -> str:
    """In the largest unit that leaves a digit before the point."""
    for unit, of in (("PFLOP", 1e15), ("TFLOP", 1e12), ("GFLOP", 1e9)):
        if count >= of:
            return f"{count / of:.3g} {unit}" if count < 100 * of else f"{count / of:.0f} {unit}"
    return f"{count / 1e6:.3g} MFLOP"


def _seconds(seconds: float | None) -> str:
    if seconds is None:
        return "unknown"
    return f"{seconds:.0f}" if seconds >= 100 else f"{seconds:.3g}"


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{_seconds(seconds)} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
