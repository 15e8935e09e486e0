"""Joint generation: the family of ID-LoRA over LTX-2, which makes picture and sound in one go.

    name, options → recipe → networks that it needs, their licences → all clips of a split, one after the other

What a member of the family is stands in `generator.recipe`, and its options are those of the recipe; here it becomes a
method. All of them make people say what they have not said, so that every pair has to state consent. `model=tiny` runs
every line on random networks of a few megabytes, at 128 x 128 pixels: it makes noise, needs no network files and is
untrained; what the recipe cannot make at the split's own size it refuses too. `precision` is that of the transformer;
the tiny model has float32 unless it is told otherwise.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import math
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from .. import weights
from ..errors import UsageError
from ..extract.engine import engine_of
from ..generator.recipe import FAMILY, Recipe, recipe, settings
from ..home import DISK_FULL, writing
from ..run import format_method

if TYPE_CHECKING:
    from ..generator.shots import Shot
    from . import Item, Machine, Made, Step, Wanted

__all__ = [
    "FAMILY",
    "NAMES",
    "Number",
    "Precision",
    "check",
    "defaults",
    "fingerprint",
    "label",
    "licences",
    "made",
    "options",
    "order",
    "plan",
    "ready",
    "recipe_of",
]

Number = int | float
Precision = Literal["bf16", "fp32", "fp8"]

NAMES = ("idlora", "idlora-onestage", "idlora-2.3", "ltx-zeroshot", "audio-ic-lora", "just-dub-it")
TITLES = {
    "idlora": "ID-LoRA",
    "idlora-onestage": "ID-LoRA, one stage",
    "idlora-2.3": "ID-LoRA 2.3",
    "ltx-zeroshot": "LTX-2 zero-shot",
    "audio-ic-lora": "audio-only IC-LoRA",
    "just-dub-it": "Just-Dub-It",
}
OPTIONS = {
    "checkpoint": {"talkvid": "TalkVid", "audio-only": "audio only"},
    "positions": {"standard": "standard positions"},
    "masks": {"training": "training masks"},
    "reference": {"none": "no voice"},
    "position_dtype": {"bfloat16": "bfloat16 positions"},
}
# What a method takes of an option that a recipe would take more of, so that tables have a place for each value.
LIMITS: dict[str, tuple[float, float]] = {"identity_scale": (0, 50), "steps": (1, 1000)}
FIRST, APART = 50, 150  # places of methods in tables, and how far two are apart
TINY_PIXELS = 128  # each way: two stages need multiples of 64
LIBRARIES = ("torch", "diffusers", "transformers", "peft", "tokenizers", "safetensors")


def options(name: str) -> inspect.Signature:
    """The parameters of a method: those of its recipe, where 4 is a number as 4.0 is, and the precision it is run at."""
    parameters = [
        parameter.replace(annotation=Number if parameter.annotation is float else parameter.annotation)
        for parameter in _parameters(name).values()
    ]
    precision = inspect.Parameter("precision", inspect.Parameter.KEYWORD_ONLY, default="bf16", annotation=Precision)
    return inspect.Signature([*parameters, precision])


def defaults(given: Mapping[str, Any]) -> dict[str, Any]:
    """The defaults that depend on other options."""
    return {"precision": "fp32" if given.get("model") == "tiny" else "bf16"}


def recipe_of(name: str, given: Mapping[str, Any]) -> Recipe:
    """The recipe of a method with these options; UsageError for values that it refuses."""
    known = _parameters(name)
    for key, value in given.items():
        low, high = LIMITS.get(key, (-math.inf, math.inf))
        if isinstance(value, int | float) and not (math.isfinite(value) and low <= value <= high):
            expected = f"from {low:g} to {high:g}" if key in LIMITS else "that is finite"
            raise UsageError(f"method {format_method(name, {key: value})}; expected a number {expected}.")
    return recipe(
        name,
        **{
            key: float(value) if known[key].annotation is float else value
            for key, value in given.items()
            if key in known
        },
    )


def label(name: str, given: Mapping[str, Any]) -> str:
    """What a table calls it: "ID-LoRA, identity scale 6"."""
    words = [TITLES[name]]
    for key, value in given.items():
        if key == "model":
            words += ["tiny"] if value == "tiny" else []
        elif key in OPTIONS:
            words += [OPTIONS[key][value]] if value in OPTIONS[key] else []
        else:
            steps = f"{value} step{'s' * (value != 1)}" if key == "steps" else ""
            words.append(steps or f"{key.replace('_', ' ')} {value}")
    return ", ".join(words)


def order(name: str, given: Mapping[str, Any]) -> int:
    """Its place in tables, among those of the same name: a sweep of a number stands in the order of its values.

    Where places are the same, tables go by name, with numbers in it as numbers.
    """
    numbers = {
        key: float(given.get(key, parameter.default))
        for key, parameter in _parameters(name).items()
        if parameter.annotation in (int, float)
    }
    return FIRST + APART * NAMES.index(name) + sum(_place(key, value) for key, value in numbers.items())


def licences(made_by: Recipe) -> dict[str, str]:
    """The licence of every network that a recipe needs."""
    return {name: weights.WEIGHTS[name].licence for name in _needs(made_by)}


def check(made_by: Recipe, items: Sequence[Item], machine: Machine) -> None:
    """UsageError for items of a length or size that it does not make, and for libraries or a device that are not here.

    The tiny model is there to try the line: it refuses what the released one would.
    """
    _require_libraries(made_by)
    if machine.device != "auto":
        engine_of(machine.device)
    from ..generator import shots
    from . import Wanted

    wanted = [Wanted(item, Path(f"{item.pair}.mp4")) for item in items]
    shots.check(made_by, [_shot(want, (want.item.width, want.item.height)) for want in wanted])
    shots.check(made_by, [_shot(want, _pixels(made_by, want.item)) for want in wanted])


def ready(made_by: Recipe, machine: Machine) -> None:
    """WeightsError where network files are absent, damaged or of another model, with what to run."""
    del machine
    if made_by.untrained:
        return
    weights.ensure(_needs(made_by))
    from ..generator import networks

    networks.check_model(made_by, weights.where(made_by.weights))
    networks.adapter_specs(made_by)


def fingerprint(made_by: Recipe, precision: Precision) -> dict[str, str]:
    """Digests of every setting together, and of each network whose files are known here."""
    kept = {key: value for key, value in settings(made_by).items() if key != "notes"} | {"precision": precision}
    said = msgspec.json.encode(_rounded(kept), order="sorted")
    found = {name: weights.digest8([name]) for name in _needs(made_by)}
    known = {name: digest for name, digest in found.items() if digest != weights.UNLOCKED}
    return {"settings": hashlib.sha256(said).hexdigest()[:8], **known}


def plan(made_by: Recipe, precision: Precision, asked: tuple[int, Item], machine: Machine) -> str:
    """What so many clips of the item's size cost, for a person. Needs no network files: those that are here are read."""
    _require_libraries(made_by)
    engine_of(machine.device)
    from ..generator import plan as planning
    from ..generator.tiny import save_tiny

    clips, item = asked
    size = planning.Size(item.frames, *_pixels(made_by, item))
    with tempfile.TemporaryDirectory(prefix="tiny-") as scratch:
        with writing(Path(scratch)), _full_disk_told():
            folder = save_tiny(Path(scratch), made_by.layout) if made_by.untrained else _model(made_by)
        return planning.text(
            planning.plan(
                made_by, folder, clips, size, device=machine.device, precision=precision, memory=machine.memory
            )
        )


def made(made_by: Recipe, precision: Precision, wanted: Sequence[Wanted], machine: Machine) -> Iterator[Made | Step]:
    """Makes the clips, each told of when it is finished, and each of its steps before."""
    from ..generator import pipeline
    from ..generator.tiny import save_tiny
    from . import Made, Step

    # Beside the clips, where what a kill leaves is cleared away.
    with tempfile.TemporaryDirectory(dir=wanted[0].path.parent, prefix="tiny-") as scratch, _full_disk_told():
        folder = save_tiny(Path(scratch), made_by.layout) if made_by.untrained else weights.where(made_by.weights)
        digests = {name: weights.digest8([name]) for name in _needs(made_by)}
        shots = [_shot(want, _pixels(made_by, want.item)) for want in wanted]
        for one in pipeline.produce(
            made_by, folder, shots, device=machine.device, precision=precision, memory=machine.memory
        ):
            match one:
                case pipeline.Step():
                    yield Step(*one)
                case _:
                    yield Made(one.pair, {} if one.failure else {**one.provenance, "weights": digests}, one.failure)


# Options ---------------------------------------------------------------------------------------------------------


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(FAMILY[name], eval_str=True).parameters


def _place(key: str, value: float) -> int:
    """0 to 100 of an identity scale, 45 of steps, 40 of another scale or a strength: less than APART of any method's."""
    match key:
        case "identity_scale":
            return round(2 * value)
        case "steps":
            return round(min(value, 30) + 15 * (1 - 30 / max(value, 30)))
        case "audio_strength" | "bridge_strength":
            return round(40 * min(max(value, 0), 2) / 2)
        case _:
            return round(4 * min(max(value, 0), 10))


# What a recipe needs ---------------------------------------------------------------------------------------------


def _needs(made_by: Recipe) -> list[str]:
    """Names among the weights: of the model, then of its adapters."""
    if made_by.untrained:
        return []
    used = [*made_by.stage_one.values(), *made_by.stage_two.values()]
    return list(dict.fromkeys([made_by.weights, *(adapter.weights for adapter in used if adapter.weights)]))


def _rounded(said: Any) -> Any:
    """Settings with numbers to nine digits: machines differ in the last one of an exponential."""
    match said:
        case float():
            return float(f"{said:.9g}")
        case dict():
            return {key: _rounded(value) for key, value in said.items()}
        case list():
            return [_rounded(value) for value in said]
    return said


def _require_libraries(made_by: Recipe) -> None:
    absent = [name for name in LIBRARIES if find_spec(name) is None]
    if absent:
        raise UsageError(
            f"{made_by.name} needs {', '.join(absent)}; expected the extra generate. "
            f"Run: {sys.executable} -m pip install 'avbench[generate]'"
        )


def _model(made_by: Recipe) -> Path | None:
    """The folder of the model, where it is here."""
    return weights.where(made_by.weights) if weights.present(made_by.weights) else None


def _pixels(made_by: Recipe, item: Item) -> tuple[int, int]:
    return (TINY_PIXELS, TINY_PIXELS) if made_by.untrained else (item.width, item.height)


def _shot(want: Wanted, pixels: tuple[int, int]) -> Shot:
    from ..generator.shots import Shot

    item, path = want
    return Shot(item.pair, item.prompt, item.voice, item.face, item.seed, item.frames, *pixels, path)


# The machine -----------------------------------------------------------------------------------------------------


@contextmanager
def _full_disk_told() -> Iterator[None]:
    """What safetensors says of a full disk as the OSError that it is: it has the operating system's number as text."""
    try:
        yield
    except Exception as error:
        told = re.search(r"\(os error (\d+)\)", str(error))
        if told is None or isinstance(error, OSError) or int(told[1]) not in DISK_FULL:
            raise
        raise OSError(errno.ENOSPC, "No space left on device") from error
