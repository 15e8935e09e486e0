"""Methods: what makes a clip of each pair. METHODS lists ours; anybody else's is `module:NAME`.

A method is a factory whose keyword parameters are its options (`shifted(frames=5)` is `shifted@frames=5`) and
which returns a `Method`: a label, a kind, and `make(item, path)`, which writes one mp4. A plain function of two
positional parameters in somebody's module, `make(item, path)`, is a method without options, unless it is annotated
to return a `Method`.

A method that loads networks once for many clips gives `make_many` besides: the clips wanted go in together, with the
machine that they are made on, and each comes out as it is finished. In between it may tell how far it is (`Step`).

A method has one folder name: options in alphabetical order, those that are at their default left out.
"""

from __future__ import annotations

import dataclasses
import functools
import inspect
import itertools
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from pathlib import Path
from types import FunctionType
from typing import Any, Literal, NamedTuple, cast, get_args, get_origin

import msgspec

from ..damage import DAMAGES
from ..errors import AvbenchError, MediaError, UsageError, unknown
from ..generator.recipe import Memory
from ..home import imported
from ..run import Kind, format_method, parse_method
from ..split import Prompt
from . import classical, controls, joint

__all__ = [
    "DEMO",
    "METHODS",
    "Item",
    "Machine",
    "Made",
    "Method",
    "Resolved",
    "Step",
    "Wanted",
    "folder_name",
    "one_by_one",
    "options",
    "resolve",
    "summary",
    "swept",
    "with_option",
]


@dataclasses.dataclass(frozen=True)
class Item:
    """One pair as a method sees it. `truth` and `stranger` are given to controls only."""

    pair: str
    speaker: str
    prompt: Prompt
    transcript: str  # the words to be said
    language: str
    voice: Path  # reference audio
    face: Path  # first frame
    seed: int
    frames: int  # at 25 fps
    width: int  # pixels
    height: int
    truth: Path | None = None  # the real clip
    stranger: Path | None = None  # the real clip of another speaker


class Machine(NamedTuple):
    """Where networks run, and how they share its memory. No clip's name or request depends on it."""

    device: str = "auto"  # or as torch names it: "cpu", "cuda", "cuda:1"
    memory: Memory = "auto"


class Wanted(NamedTuple):
    """A clip that `make_many` is to write to `path`."""

    item: Item
    path: Path


class Made(NamedTuple):
    """What became of one of them: provenance for the sidecar, or the reason of a failure."""

    pair: str
    provenance: Mapping[str, Any] = {}
    failure: str = ""


class Step(NamedTuple):
    """How far one of them is: `done` of `of` steps."""

    pair: str
    done: int
    of: int


Make = Callable[[Item, Path], Mapping[str, Any] | None]
MakeMany = Callable[[Sequence[Wanted], Machine], Iterator[Made | Step]]
Check = Callable[[Sequence[Item], Machine], None]
Ready = Callable[[Machine], None]
Fingerprint = Callable[[], Mapping[str, str]]
Plan = Callable[[int, Item, Machine], str]


@dataclasses.dataclass(frozen=True)
class Method:
    """How to make one clip, or many. `make` writes the mp4 to the path given and may return provenance for the sidecar.

    Where there is a `make_many` it is used: in a process of its own, which ends with it, in any order, one `Made` for
    each, after as many `Step` as it likes.

    Before anything is prepared or made, `check` raises what can be told of the items wanted and the machine without
    files or work, such as a size that is not made (their media need not be there), and then `ready` what else would
    keep all clips from being made. `fingerprint` gives digests, by name, of what the method is made of, as far as they
    are known here: clips of two that differ are never mixed in one folder. `plan` says what so many clips like this
    item cost, before anything is loaded: text for a person.

    `consent`: whether it makes a person say new words, so that a pair has to state consent. That is so for the
    classical cascade too: it gives a face words and a voice like the person's own, if a poor likeness of either.
    Controls play what was recorded.
    """

    label: str
    make: Make
    kind: Kind = "model"
    order: int = 1000
    untrained: bool = False
    workers: int | None = None  # at most so many at once; None: as many as asked for
    make_many: MakeMany | None = None
    check: Check | None = None
    ready: Ready | None = None
    fingerprint: Fingerprint | None = None
    plan: Plan | None = None
    consent: bool = False
    licences: Mapping[str, str] = dataclasses.field(default_factory=dict)  # of its networks, by name; told and recorded
    notes: tuple[str, ...] = ()  # what whoever runs it should know; told


@dataclasses.dataclass(frozen=True)
class Resolved:
    """A method by name, with the folder name it writes to and its base seed."""

    name: str  # NAME[@key=value,…]
    method: Method
    seed: int


def _control(order: int, label: str, make: Make) -> Method:
    return Method(label=label, make=make, kind="control", order=order)


def _truth() -> Method:
    """the real clip, byte for byte: a reference line"""
    return _control(0, "truth", controls.truth)


def _still() -> Method:
    """the first frame frozen, the true sound: what identity scores cannot see"""
    return _control(1, "still", controls.still)


def _replay() -> Method:
    """the moving face, the reference audio: right voice, wrong words and lips"""
    return _control(2, "replay", controls.replay)


def _shifted(frames: int) -> Method:
    """the real clip, its sound later by that many frames: lip sync alone is wrong"""
    if not -75 <= frames <= 75 or frames == 0:
        raise UsageError(f"shifted@frames={frames}; expected a whole number from -75 to 75, not 0 (25 frames are 1 s).")
    label = f"shifted {frames:+d} frames"
    return _control(1000 + frames, label, controls.shifted(frames))


def _stranger() -> Method:
    """another speaker's real clip: the level of a wrong face and voice"""
    return _control(2000, "stranger", controls.stranger)


def _damaged(kind: str, amount: float) -> Method:
    """the real clip with one kind of damage, that much of it: what a scale for it should follow"""
    make = controls.damaged(kind, amount)
    damage = DAMAGES[kind]
    worse = -1 if damage.steps[-1:] < damage.steps[:1] else 1
    order = 3000 + 2000 * list(DAMAGES).index(kind) + round(10 * worse * amount)
    return _control(order, f"{kind} {amount:g} {damage.unit}" if damage.unit else kind, make)


def _classical(voice: classical.Voice = "matched", mouth: classical.Mouth = "moving") -> Method:
    """espeak-ng in a voice matched to the reference, the first frame warped: a cascade without networks"""
    parts = {"plain voice": voice == "plain", "frozen mouth": mouth == "frozen"}
    label = ", ".join(["classical", *(part for part, has in parts.items() if has)])
    return Method(
        label=label if any(parts.values()) else "classical cascade",
        make=classical.cascade(voice, mouth),
        kind="baseline",
        consent=True,
        order=10 + (voice == "plain") + 2 * (mouth == "frozen"),
    )


def _joint(name: str) -> Callable[..., Method]:
    """The factory of a member of ID-LoRA's family; its options are those of the recipe, and the precision."""

    def factory(**given: Any) -> Method:
        recipe = joint.recipe_of(name, given)
        precision = given.get("precision", joint.defaults(given)["precision"])

        def make_many(wanted: Sequence[Wanted], machine: Machine) -> Iterator[Made | Step]:
            return joint.made(recipe, precision, wanted, machine)

        def plan(clips: int, item: Item, machine: Machine) -> str:
            return joint.plan(recipe, precision, (clips, item), machine)

        return Method(
            label=joint.label(name, given),
            make=one_by_one(make_many),
            order=joint.order(name, given),
            untrained=recipe.untrained,
            make_many=make_many,
            check=functools.partial(joint.check, recipe),
            ready=functools.partial(joint.ready, recipe),
            fingerprint=functools.partial(joint.fingerprint, recipe, precision),
            plan=plan,
            consent=True,
            licences=joint.licences(recipe),
            notes=recipe.notes,
        )

    factory.__doc__ = joint.FAMILY[name].__doc__
    vars(factory)["__signature__"] = joint.options(name)
    vars(factory)["defaults"] = joint.defaults
    return factory


METHODS: dict[str, Callable[..., Method]] = {
    "truth": _truth,
    "still": _still,
    "replay": _replay,
    "shifted": _shifted,
    "stranger": _stranger,
    "damaged": _damaged,
    "classical": _classical,
    **{name: _joint(name) for name in joint.NAMES},
}

DEMO = (
    "truth",
    "still",
    "replay",
    "shifted@frames=2",
    "shifted@frames=8",
    "stranger",
    "classical",
    "classical@voice=plain",
    "classical@mouth=frozen",
)


LONGEST_NAME = 200  # characters: a folder's name, with room for what a file system allows (255 bytes)
LARGEST_SEED = 2**62  # with room for the pair's number in 64 bits


def resolve(text: str) -> Resolved:
    """`shifted@frames=5` or `module:NAME@key=value` → the method; UsageError names what is unknown."""
    _require_short(text, text)
    _, colon, rest = text.rpartition(":")
    name, options = parse_method(rest)
    factory = _factory(text)
    seed = _convert(name, "seed", options.pop("seed", "0"), int)
    if abs(seed) > LARGEST_SEED:
        raise UsageError(f"method {name}@seed={seed}; expected a whole number of at most {LARGEST_SEED}.")
    values = _without_defaults(factory, _options(name, factory, options))
    folder = format_method(name, {**values, "seed": seed} if seed else values)
    _require_short(text, folder)
    method = _built(text, factory, values) if colon else factory(**values)
    if seed:
        method = dataclasses.replace(method, label=f"{method.label}, seed {seed}")
    return Resolved(name=folder, method=method, seed=seed)


def folder_name(text: str, folders: Collection[str]) -> str:
    """Which of these folders a method has that is named in any spelling: options in any order, 4.0 for 4, defaults.

    The text itself where none is its folder. Nobody's module is imported.
    """
    try:
        name, given = parse_method(text)
        ordered = format_method(name, given)
        spellings = [text, ordered, *([resolve(ordered).name] if name in METHODS else [])]
    except UsageError:  # a folder may have any name, and who looks for it says what there is
        return text
    return next((one for one in spellings if one in folders), text)


def options(name: str) -> list[str]:
    """The options of a bundled method, each with its values where they are few, or with its default."""
    shown = []
    for key, parameter in _parameters(METHODS[name]).items():
        if values := _values(parameter.annotation):
            shown.append(f"{key}={'|'.join(values)}")
        elif parameter.default is parameter.empty:
            shown.append(key)
        else:
            shown.append(f"{key}={parameter.default:g}")
    return shown


def swept(methods: Sequence[str], sweeps: Sequence[str]) -> list[str]:
    """Every method once for each value of `KEY=V1,V2,…`; of several sweeps, for each combination. UsageError as `resolve`."""
    axes = [_axis(text) for text in sweeps]
    keys = [key for key, _ in axes]
    for key in keys:
        if keys.count(key) > 1:
            raise UsageError(f"--sweep {key} is given twice; expected each option once. List its values in one.")
    found = []
    for text in methods:
        module, colon, rest = text.rpartition(":")
        name, options = parse_method(rest)
        for key in keys:
            if key in options:
                raise UsageError(f"method {text}: {key} is set and swept; expected one of the two.")
        for values in itertools.product(*(values for _, values in axes)):
            found.append(f"{module}{colon}{format_method(name, {**options, **dict(zip(keys, values, strict=True))})}")
    return found


def with_option(methods: Sequence[str], key: str, value: str) -> list[str]:
    """Every method with that option. UsageError for one that has it set already, or takes no such option."""
    found = []
    for text in methods:
        module, colon, rest = text.rpartition(":")
        name, options = parse_method(rest)
        if key in options:
            raise UsageError(
                f"method {text}: {key} is set there, and as {key}={value} for all; expected one of the two."
            )
        found.append(f"{module}{colon}{format_method(name, {**options, key: value})}")
        if key not in _parameters(_factory(text)):
            raise UsageError(f"{key}={value} for every method: {text} has no option {key}. Ask for it apart.")
    return found


def one_by_one(make_many: MakeMany) -> Make:
    """The `make` of a method that has a `make_many`. What it says of a failure is raised as MediaError."""

    def make(item: Item, path: Path) -> Mapping[str, Any]:
        made = [one for one in make_many([Wanted(item, path)], Machine()) if not isinstance(one, Step)]
        if [one.pair for one in made] != [item.pair]:
            raise TypeError(f"make_many answered for {[one.pair for one in made]}; expected {item.pair!r} once")
        if made[0].failure:
            raise MediaError(made[0].failure)
        return made[0].provenance

    return make


def summary(name: str) -> str:
    """What a bundled method does, in a line."""
    return (METHODS[name].__doc__ or "").strip()


def _axis(text: str) -> tuple[str, list[str]]:
    """`identity_scale=1,2` → ("identity_scale", ["1", "2"])"""
    key, equals, rest = text.partition("=")
    values = rest.split(",")
    if not (key and equals and all(values)):
        raise UsageError(f"--sweep {text}; expected KEY=V1,V2,… as in identity_scale=2,4,6.")
    return key, list(dict.fromkeys(values))


def _require_short(text: str, name: str) -> None:
    if len(name) > LONGEST_NAME:
        raise UsageError(
            f"method {text[:40]}…: a name of {len(name)} characters; expected at most {LONGEST_NAME}, since a folder is "
            "named after it. Shorten its options."
        )


def _factory(text: str) -> Callable[..., Method]:
    """What makes the method of a text of its options."""
    module, colon, rest = text.rpartition(":")
    name, _ = parse_method(rest)
    if colon:
        return _imported(module, name)
    if name not in METHODS:
        raise unknown("method", name, [*METHODS, "module:NAME"])
    return METHODS[name]


def _parameters(factory: Callable[..., Method]) -> Mapping[str, inspect.Parameter]:
    return inspect.signature(factory, eval_str=True).parameters


def _imported(module: str, name: str) -> Callable[..., Method]:
    if name in METHODS:
        raise UsageError(f"method {module}:{name}: {name!r} is the name of a bundled method; give yours another name.")
    found = imported("method", f"{module}:{name}")
    if isinstance(found, Method):
        return lambda: found
    if not callable(found):
        raise UsageError(f"method {module}:{name}: found {type(found).__name__}; expected a function or a Method.")
    try:
        if _is_make(found):
            return lambda: Method(label=name, make=found)
        inspect.signature(found, eval_str=True)
    except Exception as error:
        raise UsageError(
            f"method {module}:{name}: its parameters cannot be read ({type(error).__name__}: {_line(error)}); "
            "expected a function in Python whose annotations name what its module has."
        ) from error
    return cast(Callable[..., Method], found)


def _is_make(function: Callable[..., Any]) -> bool:
    """Whether it takes (item, path), and so is a method itself, not a factory of one."""
    signature = inspect.signature(function)
    if signature.return_annotation is Method or str(signature.return_annotation).rpartition(".")[2] == "Method":
        return False
    required = [one for one in signature.parameters.values() if one.default is one.empty]
    positional = [one for one in required if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)]
    keyword_only = any(one.kind is one.KEYWORD_ONLY for one in required)
    return len(positional) == 2 and not keyword_only


def _built(text: str, factory: Callable[..., Method], values: Mapping[str, Any]) -> Method:
    """What somebody's factory makes of its options, looked over."""
    try:
        method: object = factory(**values)
    except AvbenchError:
        raise
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"method {text}: its factory raised {type(error).__name__}: {_line(error)}; expected a Method. "
            "Mend it or its options."
        ) from error
    if not isinstance(method, Method):
        raise UsageError(
            f"method {text}: its factory returned {type(method).__name__}; expected a Method "
            "(or a function make(item, path), which is a method itself)."
        )
    fields: dict[str, Any] = vars(method)
    workers, licences = fields["workers"], fields["licences"]
    faults = {
        "a label of text": isinstance(fields["label"], str),
        "a make(item, path)": callable(fields["make"]),
        f"a kind of {', '.join(get_args(Kind))}": fields["kind"] in get_args(Kind),
        "an order that is a whole number": isinstance(fields["order"], int),
        "untrained to be True or False": isinstance(fields["untrained"], bool),
        "workers of None, 1 or more": workers is None or (isinstance(workers, int) and workers > 0),
        **{
            f"a {call}, or None": fields[call.partition("(")[0]] is None or callable(fields[call.partition("(")[0]])
            for call in (
                "make_many(wanted, machine)",
                "check(items, machine)",
                "ready(machine)",
                "fingerprint()",
                "plan(clips, item, machine)",
            )
        },
        "consent to be True or False": isinstance(fields["consent"], bool),
        "notes of text": isinstance(fields["notes"], tuple) and all(isinstance(note, str) for note in fields["notes"]),
        "licences of text by text": isinstance(licences, Mapping)
        and all(isinstance(text, str) for pair in licences.items() for text in pair),
    }
    for expected, met in faults.items():
        if not met:
            raise UsageError(f"method {text}: found {_line(method)}; expected {expected}.")
    return method


def _line(said: object) -> str:
    return " ".join(str(said).split())


def _options(name: str, factory: Callable[..., Method], given: Mapping[str, str]) -> dict[str, Any]:
    parameters = _parameters(factory)
    for key in given:
        if key not in parameters:
            raise unknown(f"option of {name}", key, [*parameters, "seed"])
    for key, parameter in parameters.items():
        if parameter.default is parameter.empty and key not in given:
            raise UsageError(f"method {name}: option {key!r} is missing; write {name}@{key}=VALUE.")
    return {key: _convert(name, key, value, parameters[key].annotation) for key, value in given.items()}


def _without_defaults(factory: Callable[..., Method], values: Mapping[str, Any]) -> dict[str, Any]:
    """The options that say more than nothing."""
    defaults = {key: parameter.default for key, parameter in _parameters(factory).items()}
    defaults |= vars(factory).get("defaults", lambda given: {})(values) if isinstance(factory, FunctionType) else {}
    return {
        key: value
        for key, value in values.items()
        if not isinstance(defaults[key], str | int | float | None) or value != defaults[key]
    }


def _values(kind: Any) -> list[str]:
    """The values of an option that takes few; empty where it takes any of its type."""
    if kind is bool:
        return ["true", "false"]
    return [str(value) for value in get_args(kind)] if get_origin(kind) is Literal else []


def _convert(name: str, key: str, value: str, kind: Any) -> Any:
    if (values := _values(kind)) and kind is not bool and value not in values:
        raise UsageError(f"method {name}@{key}={value}; expected one of {', '.join(values)}.")
    try:
        converted = msgspec.convert(value, kind if kind is not inspect.Parameter.empty else str, strict=False)
    except msgspec.ValidationError as error:
        said = "expected a number" if kind in (int, float, joint.Number) else str(error)
        raise UsageError(f"method {name}@{key}={value}: {said}.") from error
    except TypeError as error:  # a type that no text can be turned into
        raise UsageError(
            f"method {name}@{key}={value}: the option is of type {kind}; expected one that text can be turned into."
        ) from error
    if kind == joint.Number and isinstance(converted, float) and converted.is_integer():
        return int(converted)  # 4 and 4.0 are one folder
    return converted
