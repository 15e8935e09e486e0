"""What a method of the family is: every setting of it as plain data, and each member in a few lines.

    name, options → Recipe → terms of guidance, rule of attention, settings for the record

A recipe says which networks are loaded, what they are given, how a step is guided and at which noise levels; the loop is
the same for all (`pipeline`). Relatives differ from ID-LoRA in numbers and names alone, so that each is a short function
here and an ablation is an option.

Conventions. Scales are those of the papers, 1 is off for text, identity and bimodal, 0 for STG (`guidance`). Stage two
doubles the sides of the picture and keeps the sound: a recipe with `refine` runs stage one at half the size. A model of
`model="tiny"` has random weights: it takes no published adapter, has four blocks, and makes noise.

ID-LoRA, section 4.4 and its released code; LTX-Zeroshot is in Table 2 alone, and how it was run is not said: here it is
ID-LoRA without its adapter, as a speaker similarity of 0.37 on other videos speaks for a network that hears the voice.
Just-Dub-It, section 3.3 (positions, masks); its paper names no setting of inference: scale, steps and noise levels are
those that its released code has by default.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, Literal

import msgspec

from ..errors import UsageError, unknown
from . import schedule
from .guidance import Term, bimodal, identity, resolve, stg, text_cfg

__all__ = ["FAMILY", "Adapter", "Memory", "Recipe", "recipe", "settings", "terms"]

Layout = Literal["2.0", "2.3"]
Checkpoint = Literal["celebvhq", "talkvid"]
Model = Literal["released", "tiny"]
Positions = Literal["negative", "standard"]
PositionDtype = Literal["float32", "bfloat16"]
Masks = Literal["inference", "training"]
Memory = Literal["auto", "resident", "staged", "offload"]  # where networks are (`networks`); auto: the first that fits
Sigmas = Annotated[tuple[float, ...], msgspec.Meta(min_length=2)]

STG_BLOCK, TINY_STG_BLOCK = 29, 2
AUDIO_MODULES, BRIDGES = r"\.audio_(attn[12]|ff)\.", r"_to_(video|audio)_attn\."
DISTILLED = {".": 0.8}  # strength of what stage two adds, of every module, in ID-LoRA's released code
BAND = (0.3, 0.75)  # strengths at which the audio-only IC-LoRA is known to work
DUB_REFINE = schedule.STAGE_TWO[1:]


class Adapter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A LoRA by its name among the weights, or a file of one's own; the rest is as in `adapters.AdapterSpec`."""

    base: Layout
    weights: str = ""
    path: str = ""
    strengths: dict[str, float] = {}
    transformer_only: bool = False


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Everything that is decided before a face, a voice and a prompt are given."""

    name: str
    layout: Layout
    weights: str  # the model's name among the weights
    model: Model = "released"
    stage_one: dict[str, Adapter] = {}
    stage_two: dict[str, Adapter] = {}
    # What is given.
    reference: Literal["audio", "dub", "none"] = "audio"  # "dub": a whole clip, picture and sound
    reference_seconds: Annotated[float, msgspec.Meta(gt=0)] | None = None  # so much of the voice; None: all of it
    positions: Positions = "negative"  # of the reference: before the target, or at its own times, from zero
    position_dtype: PositionDtype = "float32"  # "bfloat16": as ID-LoRA was trained and run
    masks: Literal["inference", "training", "target_pairs"] = "inference"
    first_frame: bool = True
    image_fit: Literal["crop", "stretch"] = "crop"
    negative: str | None = None  # prompt; None: that of LTX-2
    # How a step is guided.
    video_scale: float = 3.0
    audio_scale: float = 7.0
    identity_scale: float = 4.0  # the paper's; the released code counts from 0, and says 3
    stg_scale: float = 1.0
    stg_blocks: tuple[int, ...] = (STG_BLOCK,)
    stg_how: Literal["residual", "value"] = "residual"
    bimodal_scale: float = 3.0
    # At which noise levels.
    sigmas: Sigmas = schedule.shifted(30)
    refine: tuple[float, ...] = schedule.STAGE_TWO  # stage two; none: there is one stage
    frozen_audio_sigma: Literal["current", "zero"] = "current"
    notes: tuple[str, ...] = ()  # what whoever runs it should know

    @property
    def stages(self) -> int:
        """1, or 2 with refinement at twice the size."""
        return 2 if self.refine else 1

    @property
    def untrained(self) -> bool:
        """Whether its weights are random."""
        return self.model == "tiny"


def recipe(name: str, **options: Any) -> Recipe:
    """The recipe of a member of the family; UsageError names what is unknown or does not fit."""
    if name not in FAMILY:
        raise unknown("recipe", name, FAMILY)
    known = inspect.signature(FAMILY[name], eval_str=True).parameters
    for option, value in options.items():
        if option not in known:
            raise unknown(f"option of {name}", option, known)
        try:
            msgspec.convert(value, known[option].annotation)
        except msgspec.ValidationError as error:
            raise UsageError(f"recipe {name}@{option}={value}: {error}.") from error
    made = FAMILY[name](**options)
    resolve(terms(made))  # refuses scales that are not finite
    return made


def terms(recipe: Recipe) -> tuple[Term, ...]:
    """Its guidance; the identity term only where a voice is given that it could leave out."""
    return (
        text_cfg(recipe.video_scale, recipe.audio_scale),
        *([identity(recipe.identity_scale)] if recipe.reference == "audio" else []),
        stg(recipe.stg_scale, recipe.stg_blocks, recipe.stg_how),
        bimodal(recipe.bimodal_scale),
    )


def settings(recipe: Recipe) -> dict[str, Any]:
    """Every setting, and what follows from them, as JSON has it: for the sidecar of a clip."""
    said: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(recipe))
    passes = resolve(terms(recipe))
    said |= {
        "stages": recipe.stages,
        "steps": len(recipe.sigmas) - 1,
        "passes": {one.name: {"video": one.video_weight, "audio": one.audio_weight} for one in passes},
        "transformer_calls": len(passes) * (len(recipe.sigmas) - 1) + max(len(recipe.refine) - 1, 0),
        "untrained": recipe.untrained,
    }
    return said


# The family ------------------------------------------------------------------------------------------------------


def _idlora(
    checkpoint: Checkpoint = "celebvhq",
    identity_scale: float = 4.0,
    positions: Positions = "negative",
    masks: Masks = "inference",
    steps: int = 30,
    position_dtype: PositionDtype = "float32",
    model: Model = "released",
) -> Recipe:
    """ID-LoRA on LTX-2 19B in two stages, at the paper's settings"""
    made = Recipe(
        "idlora",
        "2.0",
        "ltx-2",
        stage_one={"id": Adapter("2.0", f"id-lora-{checkpoint}")},
        stage_two={"distilled": Adapter("2.0", "ltx-2-distilled-lora", strengths=DISTILLED, transformer_only=True)},
        identity_scale=identity_scale,
        positions=positions,
        position_dtype=position_dtype,
        masks=masks,
        sigmas=schedule.shifted(steps),
    )
    return _of_model(made, model)


def _idlora_onestage(
    checkpoint: Checkpoint = "celebvhq",
    identity_scale: float = 4.0,
    positions: Positions = "negative",
    masks: Masks = "inference",
    steps: int = 30,
    position_dtype: PositionDtype = "float32",
    model: Model = "released",
) -> Recipe:
    """the same at full size from the start, the first frame stretched"""
    made = _idlora(checkpoint, identity_scale, positions, masks, steps, position_dtype, model)
    return _with(made, name="idlora-onestage", stage_two={}, refine=(), image_fit="stretch")


def _idlora_23(
    checkpoint: Checkpoint = "celebvhq",
    identity_scale: float = 4.0,
    positions: Positions = "negative",
    masks: Masks = "inference",
    steps: int = 30,
    position_dtype: PositionDtype = "float32",
    model: Model = "released",
) -> Recipe:
    """ID-LoRA on LTX-2.3 in two stages"""
    made = _with(
        _idlora(checkpoint, identity_scale, positions, masks, steps, position_dtype),
        name="idlora-2.3",
        layout="2.3",
        weights="ltx-2.3",
        stage_one={"id": Adapter("2.3", f"id-lora-2.3-{checkpoint}")},
        stage_two={"distilled": Adapter("2.3", "ltx-2.3-distilled-lora", strengths=DISTILLED, transformer_only=True)},
        stg_how="value",
    )
    return _of_model(made, model)


def _ltx_zeroshot(reference: Literal["audio", "none"] = "audio", steps: int = 30, model: Model = "released") -> Recipe:
    """LTX-2 19B as it was published, with the voice in its context and no adapter that knows of it"""
    made = _idlora(steps=steps, model=model)
    return _with(made, name="ltx-zeroshot", stage_one={}, reference=reference)


def _audio_ic_lora(
    checkpoint: Literal["cross-modal", "audio-only"] = "cross-modal",
    audio_strength: float = 0.5,
    bridge_strength: float = 0.5,
    model: Model = "released",
) -> Recipe:
    """the voice alone in the context of a distilled LTX-2.3: no first frame, no guidance"""
    strengths = {AUDIO_MODULES: audio_strength}
    if checkpoint == "cross-modal":
        strengths[BRIDGES] = bridge_strength
    named = {AUDIO_MODULES: "audio_strength", BRIDGES: "bridge_strength"}
    notes = tuple(
        f"{named[modules]} {strength:g}: speech is known to break up outside of {BAND[0]} to {BAND[1]}."
        for modules, strength in strengths.items()
        if not BAND[0] <= strength <= BAND[1]
    )
    made = Recipe(
        "audio-ic-lora",
        "2.3",
        "ltx-2.3-distilled",
        stage_one={"audio": Adapter("2.3", f"audio-ic-lora-{checkpoint}", strengths=strengths)},
        reference_seconds=3.5,
        first_frame=False,
        video_scale=1.0,
        audio_scale=1.0,
        identity_scale=1.0,
        stg_scale=0.0,
        stg_how="value",
        bimodal_scale=1.0,
        sigmas=schedule.DISTILLED,
        refine=(),
        notes=notes,
    )
    return _of_model(made, model)


def _just_dub_it(
    video_scale: float = 3.0, audio_scale: float = 3.0, steps: int = 30, model: Model = "released"
) -> Recipe:
    """Just-Dub-It on LTX-2 19B: a clip said anew, here a still; picture and sound each read their own source"""
    made = Recipe(
        "just-dub-it",
        "2.0",
        "ltx-2",
        stage_one={"dub": Adapter("2.0", "just-dub-it")},
        stage_two={"distilled": Adapter("2.0", "ltx-2-distilled-lora", transformer_only=True)},
        reference="dub",
        positions="standard",
        masks="target_pairs",
        video_scale=video_scale,
        audio_scale=audio_scale,
        identity_scale=1.0,
        stg_scale=0.0,
        bimodal_scale=1.0,
        sigmas=schedule.shifted(steps),
        refine=DUB_REFINE,
        notes=(
            "a pair has no clip to be dubbed: its first frame is held still, with its voice.",
            "stage two refines without the clip and without the adapter of dubbing; the released code gives it both.",
            "its prompt has the three tags of ID-LoRA; Just-Dub-It was trained on: SPEAKER is speaking LANGUAGE, saying: …",
        ),
    )
    return _of_model(made, model)


FAMILY: dict[str, Callable[..., Recipe]] = {
    "idlora": _idlora,
    "idlora-onestage": _idlora_onestage,
    "idlora-2.3": _idlora_23,
    "ltx-zeroshot": _ltx_zeroshot,
    "audio-ic-lora": _audio_ic_lora,
    "just-dub-it": _just_dub_it,
}


def _of_model(made: Recipe, model: Model) -> Recipe:
    """The recipe for that model: the tiny one takes none of the published adapters and has few blocks."""
    if model != "tiny":
        return _with(made, model=model)
    return _with(made, model=model, stage_one={}, stage_two={}, stg_blocks=(TINY_STG_BLOCK,))


def _with(made: Recipe, **changes: Any) -> Recipe:
    return msgspec.structs.replace(made, **changes)
