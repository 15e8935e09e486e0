"""LoRA files on the transformer, side by side, each with strengths of its own; and whether they can be trusted.

    file → names as diffusers has them → checked against the transformer, all of it → B times strength → loaded
    → counted → one forward pass with it and without

A low-rank adapter adds B A x to W x in the modules it names. Its strength multiplies B before loading, so that every
module may have its own and nothing is fused: weights stay as they were, and `use` switches between adapters.

The gate. An adapter that does nothing makes pictures all the same, and loaders let it pass: keys under another prefix
bind no module, and nobody is told. Hence no adapter is loaded here unless
  1. every tensor of the file has a module of the transformer, A and B together, of its shape and one rank (a part for
     the connectors is given up only where that is declared);
  2. all numbers are finite, and some B is not zero;
  3. the base that it is declared for is the transformer's;
  4. after loading, as many modules have it as the file names, with the numbers of the file, at scale 1;
  5. a forward pass differs with it.
What cannot be told: files for 2.0 (19B) and 2.3 have the same names and shapes and name no base, so that one for the
other raises nothing. The declaration is all there is; `sha256` ties it to the file.
"""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import torch

from ..errors import UsageError, WeightsError, unknown
from ..extract.nets.loading import read_safetensors
from ..home import sha256

__all__ = ["AdapterSpec", "Loaded", "base_of", "changes", "load", "put", "smallest_forward", "use"]

Base: TypeAlias = Literal["2.0", "2.3"]
Transformer: TypeAlias = Any  # diffusers.LTX2VideoTransformer3DModel: to type checkers its classes are empty
Probe: TypeAlias = Callable[[Transformer], tuple[torch.Tensor, ...]]
Tensors: TypeAlias = dict[str, torch.Tensor]

MODELS: dict[str, str] = {"2.0": "LTX-2 (19B)", "2.3": "LTX-2.3"}
NUMBERS = ("BF16", "F16", "F32")
SIDES = (".lora_A.weight", ".lora_B.weight")
PREFIX, ORIGINAL = "transformer.", "diffusion_model."  # of modules in files of diffusers, and of the trainers
ONLY_23 = ("to_gate_logits", "prompt_adaln")  # modules that 2.0 does not have
OTHER_PREFIXES = ("model.diffusion_model.", "base_model.model.", "lora_unet_", "module.")
CONNECTORS = re.compile(
    r"((diffusion_model|transformer)\.)?((video|audio)_embeddings_connector|text_embedding_projection|connectors)\."
)
OTHER_KINDS = {
    ".alpha": "it scales its matrices by alpha / rank; multiply its B matrices by that, and save it without",
    ".dora_scale": "it is a DoRA, not a LoRA",
    ".lora_down.weight": "its matrices are named down and up; convert it to lora_A and lora_B",
    ".lora_up.weight": "its matrices are named down and up; convert it to lora_A and lora_B",
    ".lokr_w1": "it is a LoKr, not a LoRA",
    ".diff": "it holds whole differences of weights, not a LoRA",
}


class AdapterSpec(NamedTuple):
    """A LoRA file and what is to be done with it.

    `strengths` maps regular expressions, searched in names such as "transformer_blocks.3.audio_attn1.to_q", to the factor
    of the modules that they find; without any, it is 1 everywhere. `sha256` is the file's, where it is known. A file may
    adapt the connectors too, which the text goes through: `transformer_only` leaves that part out.
    """

    path: Path
    base: Base
    strengths: Mapping[str, float] = {}
    sha256: str = ""
    transformer_only: bool = False


class Loaded(NamedTuple):
    """What was loaded, for the record."""

    base: str
    sha256: str
    modules: int
    ranks: tuple[int, ...]  # each once, rising
    strengths: tuple[float, ...]  # likewise
    left_out: int  # tensors of the connectors


def load(transformer: Transformer, specs: Mapping[str, AdapterSpec], probe: Probe | None = None) -> dict[str, Loaded]:
    """Loads adapters under their names; afterwards none of them is in use.

    `probe` is the forward pass that must differ, by default the smallest there is. WeightsError names the adapter that
    the gate refuses, with the likely reason, UsageError strengths that do not fit; none of `specs` is loaded then, and
    those loaded before stay.
    """
    checked = {name: _checked(transformer, name, spec) for name, spec in specs.items()}
    made = []
    try:
        for name, (tensors, _) in checked.items():
            made.append(name)
            _attach(transformer, name, tensors)
            if not changes(transformer, name, probe or smallest_forward):
                raise _refusal(
                    name,
                    specs[name],
                    "one forward pass is the same with it and without: it is too weak for numbers of "
                    f"{_kind(transformer.dtype)}, or was never trained. Look at its strength and its file.",
                )
    except BaseException:
        _detach(transformer, made)
        raise
    return {name: loaded for name, (_, loaded) in checked.items()}


def use(transformer: Transformer, names: Sequence[str]) -> None:
    """Makes these adapters, and no others, take part from now on; none for the bare transformer."""
    known = _known(transformer)
    for name in names:
        if name not in known:
            raise unknown("adapter", name, known)
    if not known:
        return
    if not names:
        transformer.disable_adapters()
        return
    transformer.enable_adapters()
    transformer.set_adapters(list(dict.fromkeys(names)))
    transformer.requires_grad_(False)  # peft makes those in use trainable, and a graph would be kept


def put(transformer: Transformer, device: torch.device, used: Sequence[str]) -> None:
    """Moves the transformer with these adapters to a device, and the other adapters to the CPU."""
    idle = [name for name in _known(transformer) if name not in used]
    for name, value in (*transformer.named_parameters(), *transformer.named_buffers()):
        waits = any(f".{side}.{adapter}." in name for side in ("lora_A", "lora_B") for adapter in idle)
        value.data = value.data.to("cpu" if waits else device)


def changes(
    transformer: Transformer,
    name: str,
    probe: Probe,
) -> bool:
    """Whether that adapter alone changes what `probe` gives; afterwards no adapter is in use.

    WeightsError where it makes numbers that are not finite and the bare transformer does not.
    """
    use(transformer, ())
    without = probe(transformer)
    use(transformer, (name,))
    with_it = probe(transformer)
    use(transformer, ())
    for bare, adapted in zip(without, with_it, strict=True):
        if bare.isfinite().all() and not adapted.isfinite().all():
            raise WeightsError(
                f"adapter {name!r} makes numbers that are not finite; expected none. Lower its strength."
            )
    return any(not torch.equal(bare, adapted) for bare, adapted in zip(without, with_it, strict=True))


def base_of(transformer: Transformer) -> Base:
    """Which model a transformer is, by its configuration: 2.3 modulates what the text is attended with."""
    marks = transformer.config.get("cross_attn_mod"), transformer.config.get("audio_cross_attn_mod")
    if marks[0] is None or marks[0] != marks[1]:
        raise WeightsError(
            f"a transformer with cross_attn_mod = {marks[0]} and audio_cross_attn_mod = {marks[1]}; expected false for both "
            "(LTX-2) or true for both (LTX-2.3). Its config.json is of another model."
        )
    return "2.3" if marks[0] else "2.0"


def smallest_forward(transformer: Transformer) -> tuple[torch.Tensor, torch.Tensor]:
    """Video and audio velocities for two tokens each and a text of two, always the same ones, half denoised."""
    config = transformer.config
    place: dict[str, Any] = {"device": next(transformer.parameters()).device, "dtype": transformer.dtype}
    generator = torch.Generator().manual_seed(0)

    def drawn(width: int) -> torch.Tensor:
        return torch.randn((1, 2, width), generator=generator).to(**place)

    captions = (
        (config.caption_channels,) * 2
        if config.use_prompt_embeddings
        else (config.cross_attention_dim, config.audio_cross_attention_dim)
    )
    half = torch.full((1, 2), 500.0, device=place["device"])
    with torch.no_grad():
        video, audio = transformer(
            hidden_states=drawn(config.in_channels),
            audio_hidden_states=drawn(config.audio_in_channels),
            encoder_hidden_states=drawn(captions[0]),
            audio_encoder_hidden_states=drawn(captions[1]),
            timestep=half,
            sigma=half[:, 0],
            num_frames=1,
            height=1,
            width=2,
            fps=25.0,
            audio_num_frames=2,
            use_cross_timestep=base_of(transformer) == "2.3",
            return_dict=False,
        )
    return video, audio


# The gate --------------------------------------------------------------------------------------------------------


def _checked(transformer: Transformer, name: str, spec: AdapterSpec) -> tuple[Tensors, Loaded]:
    """The tensors to load, B times strength, by module of the transformer; nothing is changed."""
    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):  # peft puts names into paths of modules
        raise UsageError(f"adapter name {name!r}; expected letters, digits, _ and - alone.")
    if name in _known(transformer):
        raise UsageError(f"an adapter {name!r} is loaded already; give the second one another name.")
    base = base_of(transformer)
    if spec.base not in MODELS:
        raise unknown("base model", spec.base, MODELS)
    if spec.base != base:
        raise _refusal(
            name,
            spec,
            f"it is declared to be for {MODELS[spec.base]}, and the transformer is {MODELS[base]} (cross_attn_mod). "
            "Files for both have the same names and shapes: it would load, and do harm. Take the adapter's own base, or "
            f"the file that was trained on {MODELS[base]}.",
        )
    stored = read_safetensors(spec.path, kinds=NUMBERS)
    digest = sha256(spec.path)
    if spec.sha256 and digest != spec.sha256:
        raise _refusal(
            name, spec, f"its sha256 is {digest[:12]}…, expected {spec.sha256[:12]}…: another file, or a damaged one."
        )
    _require_scale_one(name, spec)
    text = {key for key in stored if CONNECTORS.match(key)}
    if text and not spec.transformer_only:
        raise _refusal(
            name,
            spec,
            f"{len(text)} of its {len(stored)} tensors are of the connectors, such as {min(text)}, which are not adapted "
            "here. Declare it transformer_only to leave them out, as the published two-stage code does.",
        )
    pairs = _pairs(transformer, name, spec, {key: value for key, value in stored.items() if key not in text})
    strengths = _strengths(name, spec, list(pairs))
    tensors: Tensors = {}
    dtype = transformer.dtype
    for module, (down, up) in pairs.items():
        tensors[module + SIDES[0]] = down.to(dtype)
        tensors[module + SIDES[1]] = (up.float() * strengths[module]).to(dtype)  # rounded once
    ranks = tuple(sorted({down.shape[0] for down, _ in pairs.values()}))
    return tensors, Loaded(base, digest, len(pairs), ranks, tuple(sorted(set(strengths.values()))), len(text))


def _pairs(
    transformer: Transformer, name: str, spec: AdapterSpec, stored: Tensors
) -> dict[str, tuple[torch.Tensor, torch.Tensor]]:
    """A and B of each module; every tensor of the file is one of them, and fits."""
    if not stored:
        raise _refusal(name, spec, "it has no tensor for the transformer.")
    for key in stored:
        for ending, reason in OTHER_KINDS.items():
            if key.endswith(ending):
                raise _refusal(name, spec, f"it holds {key}: {reason}.")
    renamed = _renamed(name, spec, stored)
    linear = _linear(transformer)
    halves: dict[str, dict[str, torch.Tensor]] = {}
    lost = []
    for key, value in renamed.items():
        module, side = next(((key.removesuffix(end), end) for end in SIDES if key.endswith(end)), (key, ""))
        if side and module in linear:
            halves.setdefault(module, {})[side] = value
        else:
            lost.append(key)
    if lost:
        raise _refusal(name, spec, _why_lost(lost, len(renamed), base_of(transformer)))
    pairs = {}
    for module, sides in halves.items():
        if absent := [side for side in SIDES if side not in sides]:
            raise _refusal(name, spec, f"{module} has no {absent[0].strip('.')}: the file is cut, or not a LoRA.")
        pairs[module] = sides[SIDES[0]], sides[SIDES[1]]
        _require_fit(name, spec, module, pairs[module], linear[module])
    if not any(up.any() for _, up in pairs.values()):
        raise _refusal(
            name, spec, "all its B matrices are zero, as before the first step of training: it adds nothing."
        )
    return pairs


def _renamed(name: str, spec: AdapterSpec, stored: Tensors) -> Tensors:
    """The tensors under the names of diffusers, without prefix."""
    from diffusers.loaders.lora_pipeline import LTX2LoraLoaderMixin

    prefixes = {next((one for one in (ORIGINAL, PREFIX) if key.startswith(one)), ""): key for key in stored}
    if "" in prefixes:
        key = prefixes[""]
        other = next((one for one in OTHER_PREFIXES if key.startswith(one)), "none")
        share = sum(key.startswith((ORIGINAL, PREFIX)) for key in stored)
        raise _refusal(
            name,
            spec,
            f"{len(stored) - share} of its {len(stored)} tensors have another prefix ({other}), such as {key}; expected "
            f"{ORIGINAL}… or {PREFIX}…. They would bind nothing. Rename them, or take the file for diffusers or ComfyUI.",
        )
    if len(prefixes) > 1:
        raise _refusal(name, spec, f"it mixes the prefixes {' and '.join(sorted(prefixes))}; expected one of them.")
    converted = LTX2LoraLoaderMixin.lora_state_dict(dict(stored))
    if len(converted) != len(stored):
        raise _refusal(
            name,
            spec,
            f"of its {len(stored)} tensors diffusers reads {len(converted)}: two have one name, or it drops some.",
        )
    return {key.removeprefix(PREFIX): value for key, value in converted.items()}


def _why_lost(lost: Sequence[str], count: int, base: Base) -> str:
    blocks = [int(found[1]) for key in lost if (found := re.match(r"transformer_blocks\.(\d+)\.", key))]
    if base == "2.0" and any(mark in key for key in lost for mark in ONLY_23):
        reason = "it has modules that only LTX-2.3 has: it was trained on that."
    elif len(blocks) == len(lost):
        reason = f"the transformer has no such module in block {min(blocks)}: it was trained on another one."
    else:
        reason = "it was trained on another model, or is not a LoRA of linear layers."
    return f"{len(lost)} of its {count} tensors have no module in the transformer, such as {lost[0]}; {reason}"


def _require_fit(
    name: str, spec: AdapterSpec, module: str, pair: tuple[torch.Tensor, torch.Tensor], layer: torch.nn.Linear
) -> None:
    down, up = pair
    if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
        raise _refusal(
            name,
            spec,
            f"{module} has A {_shape(down)} and B {_shape(up)}, which do not multiply; expected one rank between them. "
            "The file is damaged, or was merged from two of different ranks.",
        )
    if (down.shape[1], up.shape[0]) != (layer.in_features, layer.out_features):
        raise _refusal(
            name,
            spec,
            f"{module} has A {_shape(down)} and B {_shape(up)} for a layer of {layer.in_features} inputs and "
            f"{layer.out_features} outputs. It was trained on a model of another width.",
        )
    if not (down.isfinite().all() and up.isfinite().all()):
        raise _refusal(name, spec, f"{module} has numbers that are not finite: its training failed, or it is damaged.")


def _require_scale_one(name: str, spec: AdapterSpec) -> None:
    """Trainers of this model write no alpha, which means scale 1; a file that says otherwise is not misread."""
    from safetensors import safe_open

    with safe_open(spec.path, framework="pt") as file:
        said = (file.metadata() or {}).get("lora_adapter_metadata")
    if said is None:
        return
    try:
        declared = {key.rpartition(".")[2]: value for key, value in json.loads(said).items()}
    except (ValueError, AttributeError) as error:
        raise _refusal(name, spec, f"its lora_adapter_metadata is not a table in JSON ({error}).") from error
    if declared.get("lora_alpha") != declared.get("r") or declared.get("alpha_pattern") or declared.get("use_rslora"):
        raise _refusal(
            name,
            spec,
            f"it declares alpha {declared.get('lora_alpha')} for rank {declared.get('r')}; expected the same, so that B A "
            "is added as it is. Multiply its B matrices by the scale, and save it without.",
        )


def _strengths(name: str, spec: AdapterSpec, modules: Sequence[str]) -> dict[str, float]:
    """The factor of each module: exactly one expression finds it, and each expression finds one."""
    if not spec.strengths:
        return dict.fromkeys(modules, 1.0)
    found: dict[str, tuple[str, float]] = {}
    for expression, strength in spec.strengths.items():
        if not math.isfinite(strength):
            raise UsageError(f"adapter {name!r}: strength {strength} for {expression!r}; expected a finite number.")
        try:
            pattern = re.compile(expression)
        except re.error as error:
            raise UsageError(f"adapter {name!r}: {expression!r} is not a regular expression ({error}).") from error
        hits = [module for module in modules if pattern.search(module)]
        if not hits:
            raise UsageError(
                f"adapter {name!r}: {expression!r} finds none of its {len(modules)} modules, e.g. {modules[0]}."
            )
        for module in hits:
            if module in found:
                raise UsageError(f"adapter {name!r}: {found[module][0]!r} and {expression!r} both find {module}.")
            found[module] = expression, float(strength)
    if lost := [module for module in modules if module not in found]:
        raise UsageError(
            f"adapter {name!r}: no strength for {len(lost)} of its modules, e.g. {lost[0]}; give one for all."
        )
    if not any(strength for _, strength in found.values()):
        raise UsageError(f"adapter {name!r}: strength 0 everywhere; leave it out instead.")
    return {module: found[module][1] for module in modules}


def _refusal(name: str, spec: AdapterSpec, reason: str) -> WeightsError:
    return WeightsError(f"adapter {name!r} ({spec.path}) is refused: {reason}")


# The transformer -------------------------------------------------------------------------------------------------


def _attach(transformer: Transformer, name: str, tensors: Tensors) -> None:
    """Loads checked tensors, and looks for each of them where it should be."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Already found a `peft_config`")  # several side by side are meant
        transformer.load_lora_adapter(dict(tensors), adapter_name=name, prefix=None, low_cpu_mem_usage=True)
    found: Tensors = {}
    for module, layer in transformer.named_modules():
        if name not in getattr(layer, "lora_B", {}):
            continue
        if layer.scaling[name] != 1:
            raise WeightsError(
                f"adapter {name!r}: diffusers scales it by {layer.scaling[name]} in {module}; expected 1."
            )
        for side, matrices in zip(SIDES, (layer.lora_A, layer.lora_B), strict=True):
            found[module + side] = matrices[name].weight.detach()
    if found.keys() != tensors.keys():
        raise WeightsError(f"adapter {name!r}: diffusers bound {len(found)} of {len(tensors)} tensors it was given.")
    if wrong := [key for key, value in tensors.items() if not torch.equal(found[key].cpu(), value)]:
        raise WeightsError(f"adapter {name!r}: diffusers loaded other numbers than it was given, e.g. in {wrong[0]}.")


def _detach(transformer: Transformer, names: Sequence[str]) -> None:
    """Takes adapters off again, and the wrappers around layers where no other is left."""
    rest = [name for name in _known(transformer) if name not in names]
    if not rest:
        transformer.unload_lora()
        return
    use(transformer, rest)  # peft warns when it deletes one that is in use
    transformer.delete_adapters([name for name in names if name in _known(transformer)])
    use(transformer, ())


def _linear(transformer: Transformer) -> dict[str, torch.nn.Linear]:
    """Every linear layer by its name, whatever adapters are around it."""
    found = {}
    for module, layer in transformer.named_modules():
        if ".base_layer" in module or ".lora_" in module:  # parts of an adapted layer
            continue
        inner = layer.get_base_layer() if hasattr(layer, "get_base_layer") else layer
        if isinstance(inner, torch.nn.Linear):
            found[module] = inner
    return found


def _known(transformer: Transformer) -> list[str]:
    return list(getattr(transformer, "peft_config", {}))


def _shape(tensor: torch.Tensor) -> str:
    return " x ".join(map(str, tensor.shape))


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
