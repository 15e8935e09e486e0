"""Joint generation: the family of ID-LoRA over LTX-2, which makes picture and sound in one go.

    name, options → recipe → networks that it needs, their licences → all clips of a split, one after the other

What a member of the family is stands in `generator.recipe`, and its options are those of the recipe; here it becomes a
method. All of them make people say what they have not said, so that every pair has to state consent. `model=tiny` runs
every line on random networks of a few megabytes, at 128 x 128 pixels: it makes noise, needs no network files and is
untrained. `precision` is that of the transformer; the tiny model has float32 unless it is told otherwise.

A recipe that needs a clip to be dubbed is none of these methods: a pair has a face, a voice and a prompt.
"""

from __future__ import annotations

import inspect
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .. import weights
from ..errors import UsageError
from ..generator.recipe import FAMILY, Recipe, recipe

if TYPE_CHECKING:
    from ..generator.pipeline import Shot
    from . import Wanted

__all__ = [
    "FAMILY",
    "NAMES",
    "Number",
    "Precision",
    "label",
    "licences",
    "made",
    "options",
    "order",
    "ready",
    "recipe_of",
]

Number = int | float
Precision = Literal["bf16", "fp32", "fp8"]

NAMES = ("idlora", "idlora-onestage", "idlora-2.3", "ltx-zeroshot", "audio-ic-lora")
TITLES = {
    "idlora": "ID-LoRA",
    "idlora-onestage": "ID-LoRA, one stage",
    "idlora-2.3": "ID-LoRA 2.3",
    "ltx-zeroshot": "LTX-2 zero-shot",
    "audio-ic-lora": "audio-only IC-LoRA",
}
OPTIONS = {
    "checkpoint": {"talkvid": "TalkVid", "audio-only": "audio only"},
    "positions": {"standard": "standard positions"},
    "masks": {"training": "training masks"},
    "reference": {"none": "no voice"},
    "position_dtype": {"bfloat16": "bfloat16 positions"},
}
FIRST, APART = 100, 100  # places of methods in tables, and how far two are apart
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


def recipe_of(name: str, given: Mapping[str, Any]) -> Recipe:
    """The recipe of a method with these options; UsageError for values that it refuses."""
    known = _parameters(name)
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
            words.append(f"{value} steps" if key == "steps" else f"{key.replace('_', ' ')} {value}")
    return ", ".join(words)


def order(name: str, given: Mapping[str, Any]) -> int:
    """Its place in tables: a sweep of the identity scale stands in the order of its values."""
    return FIRST + APART * NAMES.index(name) + round(2 * float(given.get("identity_scale", 0)))


def licences(made_by: Recipe) -> dict[str, str]:
    """The licence of every network that a recipe needs."""
    return {name: weights.WEIGHTS[name].licence for name in _needs(made_by)}


def ready(made_by: Recipe) -> None:
    """UsageError or WeightsError where libraries or network files are absent; one line each with what to run."""
    absent = [name for name in LIBRARIES if find_spec(name) is None]
    if absent:
        raise UsageError(
            f"{made_by.name} needs {', '.join(absent)}; expected the extra generate. "
            f"Run: {sys.executable} -m pip install 'avbench[generate]'"
        )
    weights.ensure(_needs(made_by))


def made(made_by: Recipe, precision: Precision, wanted: Sequence[Wanted]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Makes the clips one by one: (pair, provenance, failure) of each as it is finished."""
    from ..generator.pipeline import produce
    from ..generator.tiny import save_tiny

    # Beside the clips, where what a kill leaves is cleared away.
    with tempfile.TemporaryDirectory(dir=wanted[0].path.parent, prefix="tiny-") as scratch:
        folder = save_tiny(Path(scratch), made_by.layout) if made_by.untrained else weights.where(made_by.weights)
        digests = {name: weights.digest8([name]) for name in _needs(made_by)}
        for one in produce(made_by, folder, [_shot(made_by, want) for want in wanted], precision=precision):
            known = {**one.provenance, "weights": digests} if not one.failure else {}
            yield one.pair, known, one.failure


# Options ---------------------------------------------------------------------------------------------------------


def _parameters(name: str) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(FAMILY[name], eval_str=True).parameters


# What a recipe needs ---------------------------------------------------------------------------------------------


def _needs(made_by: Recipe) -> list[str]:
    """Names among the weights: of the model, then of its adapters."""
    if made_by.untrained:
        return []
    used = [*made_by.stage_one.values(), *made_by.stage_two.values()]
    return list(dict.fromkeys([made_by.weights, *(adapter.weights for adapter in used if adapter.weights)]))


def _shot(made_by: Recipe, want: Wanted) -> Shot:
    from ..generator.pipeline import Shot

    item, path = want
    width, height = (TINY_PIXELS, TINY_PIXELS) if made_by.untrained else (item.width, item.height)
    return Shot(item.pair, item.prompt, item.voice, item.face, item.seed, item.frames, width, height, path)
