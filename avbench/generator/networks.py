"""The networks of a model on disk, as diffusers lays it out: looked at, loaded, and brought to where they run.

    all prompts → text encoder → connectors → words, on disk; the text encoder is freed
    transformer with its adapters, video and audio autoencoders, vocoder, upsampler

Where they are meanwhile is the run's `memory`: "resident" has all of them on the device; "staged" those that a phase of
the work uses, and the others on the CPU; "offload" does so too, and has of the blocks of the transformer and of
the text encoder no more on the device than the one that runs. None of this changes a number.

Conventions. Networks of sound run in float32; they are small. Prompts are padded at their left to 1024 tokens. At fp8
the transformer's layers are kept so and computed in bfloat16; adapters are in bfloat16.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import torch

from .. import weights
from ..errors import UsageError, WeightsError
from . import adapters
from .adapters import AdapterSpec, Loaded
from .driver import Text
from .recipe import Adapter, Recipe

__all__ = [
    "MAX_WORDS",
    "Networks",
    "Precision",
    "Setup",
    "adapter_specs",
    "bring",
    "check_model",
    "configuration",
    "count_words",
    "encode_prompts",
    "is_out_of_memory",
    "load",
    "load_tokenizer",
    "negative_prompt",
    "read_text",
]

Network: TypeAlias = Any  # of diffusers or transformers: to type checkers their classes are empty
Precision = Literal["bf16", "fp32", "fp8"]

CPU = torch.device("cpu")
MAX_WORDS = 1024  # tokens of a prompt
PARTS = ("tokenizer", "text_encoder", "connectors", "transformer", "vae", "audio_vae", "vocoder")
UPSAMPLER = "latent_upsampler"
# Of few bytes, and felt by every token: the ends, modulation, and what prompts and adapters go through.
KEPT_AT_FP8 = ("norm", "proj_in", "proj_out$", "time_embed", "av_cross_attn", "adaln", "caption_projection", "lora_")
NO_MEMORY = ("can't allocate memory", "CUDA error: out of memory", "ALLOC_FAILED")  # how torch says it besides
MOVING = ("transformer", "vae", "audio_vae", "vocoder", "upsampler")


class Setup(NamedTuple):
    """How networks are run, and with which adapters."""

    device: torch.device
    precision: Precision
    memory: Literal["resident", "staged", "offload"]
    adapters: dict[str, AdapterSpec]

    @property
    def dtype(self) -> torch.dtype:
        """What the transformer and the text encoder compute in."""
        return torch.float32 if self.precision == "fp32" else torch.bfloat16

    @property
    def home(self) -> torch.device:
        """Where networks are that do not run."""
        return self.device if self.memory == "resident" else CPU


class Networks(NamedTuple):
    """All that a shot needs when its prompt is encoded."""

    transformer: Network
    vae: Network
    audio_vae: Network
    vocoder: Network
    upsampler: Network  # None where there is one stage
    loaded: dict[str, Loaded]


def check_model(recipe: Recipe, folder: Path) -> None:
    """WeightsError where the folder is not of the recipe's model: told from its configuration alone."""
    wanted = [*PARTS, *([UPSAMPLER] if recipe.refine else [])]
    absent = [part for part in wanted if not (folder / part).is_dir()]
    if absent:
        raise WeightsError(
            f"{folder}: no {', '.join(absent)}; expected a model as diffusers lays it out, with {', '.join(wanted)}."
        )
    config, vae = configuration(folder / "transformer"), configuration(folder / "vae")
    layout = "2.3" if config.get("cross_attn_mod") else "2.0"
    if not (config.get("ff_bias", True) and config.get("use_prompt_adaln_single", True)):
        layout = "2.5"
    blocks = config.get("num_layers")
    if not isinstance(blocks, int):
        raise WeightsError(
            f"{folder / 'transformer'}: no num_layers in its config.json; expected an LTX-2 transformer."
        )
    if vae.get("timestep_conditioning"):
        raise WeightsError(
            f"{folder / 'vae'}: a decoder that wants a noise level; expected that of LTX-2, without one."
        )
    if layout != recipe.layout:
        raise WeightsError(f"{folder}: a transformer of layout {layout}; {recipe.name} is for {recipe.layout}.")
    if recipe.stg_scale and max(recipe.stg_blocks) >= blocks:
        raise UsageError(
            f"{recipe.name} skips self-attention in blocks {list(recipe.stg_blocks)}; {folder} has {blocks} of them."
        )


def configuration(part: Path) -> dict[str, Any]:
    """The settings of the network in a folder; WeightsError where it says none."""
    file = part / "config.json"
    try:
        return msgspec.json.decode(file.read_bytes(), type=dict[str, Any])
    except (OSError, msgspec.DecodeError) as error:
        raise WeightsError(f"{file}: {_line(error)}; expected the configuration of a network of diffusers.") from error


def adapter_specs(recipe: Recipe) -> dict[str, AdapterSpec]:
    """Its adapters by name, with their files; WeightsError where one is not here."""
    if shared := recipe.stage_one.keys() & recipe.stage_two.keys():
        raise UsageError(
            f"{recipe.name} has two adapters {min(shared)!r}, of either stage; expected names that differ."
        )
    return {name: _spec(one) for name, one in (recipe.stage_one | recipe.stage_two).items()}


def negative_prompt(recipe: Recipe) -> str:
    """What its pass with the negative prompt reads."""
    if recipe.negative is not None:
        return recipe.negative
    said: str = _library("diffusers.pipelines.ltx2.utils").DEFAULT_NEGATIVE_PROMPT
    return said


def load_tokenizer(folder: Path) -> Network:
    """The text encoder's, which pads at the left."""
    place = folder / "tokenizer"
    try:
        tokenizer = _library("transformers").AutoTokenizer.from_pretrained(place, local_files_only=True)
    except (OSError, ValueError) as error:
        raise WeightsError(f"{place}: cannot be loaded as a tokenizer ({_line(error)}); fetch it again.") from error
    tokenizer.padding_side = "left"
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def count_words(tokenizer: Network, prompt: str) -> int:
    """Tokens of a prompt."""
    return len(tokenizer(prompt.strip()).input_ids)


def encode_prompts(
    folder: Path, tokenizer: Network, prompts: Sequence[str], setup: Setup, scratch: Path
) -> dict[str, Path]:
    """Each prompt as the transformer reads it, in a file of `scratch` (`read_text`); the text encoder is gone afterwards."""
    from safetensors.torch import save_file

    encoder = _network("transformers", "Gemma3ForConditionalGeneration", folder / "text_encoder", setup.dtype, CPU)
    connectors = _network(
        "diffusers.pipelines.ltx2", "LTX2TextConnectors", folder / "connectors", setup.dtype, setup.device
    )
    if setup.memory == "offload":
        _offload(encoder.model.language_model, setup.device)
    else:
        encoder.model.language_model.to(setup.device)  # what sees has nothing to see
    files: dict[str, Path] = {}
    for prompt in dict.fromkeys(prompts):
        words = tokenizer(prompt.strip(), padding="max_length", max_length=MAX_WORDS, return_tensors="pt").to(
            setup.device
        )
        with torch.no_grad():
            layers = encoder.model(
                input_ids=words.input_ids, attention_mask=words.attention_mask, output_hidden_states=True
            ).hidden_states
            video, sound, _ = connectors(torch.stack(layers, dim=-1).flatten(2).to(setup.dtype), words.attention_mask)
        files[prompt] = scratch / f"{len(files)}.safetensors"
        save_file({"video": video.cpu().contiguous(), "audio": sound.cpu().contiguous()}, files[prompt])
    del encoder, connectors, layers
    _return_memory(setup)
    return files


def read_text(file: Path) -> Text:
    """A prompt that `encode_prompts` has encoded, on the CPU."""
    from safetensors.torch import load_file

    return Text(**load_file(file))


def load(recipe: Recipe, folder: Path, setup: Setup) -> Networks:
    """All networks but those of the text, adapters beside each other, none in use."""
    diffusers, ltx2 = "diffusers", "diffusers.pipelines.ltx2"
    fp8 = setup.precision == "fp8"
    # At fp8 the whole of it may have room on the device in no other form.
    transformer = _network(
        diffusers, "LTX2VideoTransformer3DModel", folder / "transformer", setup.dtype, CPU if fp8 else setup.home
    )
    loaded = adapters.load(transformer, setup.adapters)
    if fp8:
        transformer.enable_layerwise_casting(torch.float8_e4m3fn, setup.dtype, skip_modules_pattern=KEPT_AT_FP8)
        transformer.to(setup.home)
    if setup.memory == "offload":
        _offload(transformer, setup.device)
    vae = _network(diffusers, "AutoencoderKLLTX2Video", folder / "vae", setup.dtype, setup.home)
    audio_vae = _network(diffusers, "AutoencoderKLLTX2Audio", folder / "audio_vae", torch.float32, setup.home)
    kind = "LTX2VocoderWithBWE" if recipe.layout == "2.3" else "LTX2Vocoder"
    vocoder = _network(ltx2, kind, folder / "vocoder", torch.float32, setup.home)
    upsampler = None
    if recipe.refine:
        upsampler = _network(ltx2, "LTX2LatentUpsamplerModel", folder / UPSAMPLER, setup.dtype, setup.home)
    return Networks(transformer, vae, audio_vae, vocoder, upsampler, loaded)


def bring(networks: Networks, setup: Setup, *names: str, used: Sequence[str] = ()) -> None:
    """Puts these networks on the device, the transformer with these adapters in use, and the others where they wait."""
    if "transformer" in names:
        adapters.use(networks.transformer, used)
    if setup.memory == "resident":
        return
    moving = {name: getattr(networks, name) for name in MOVING if name != "transformer" or setup.memory == "staged"}
    for name, network in moving.items():
        if name not in names and network is not None:
            network.to(CPU)
    _return_memory(setup)
    for name in moving.keys() & names:
        if name == "transformer":
            adapters.put(networks.transformer, setup.device, used)
        else:
            moving[name].to(setup.device)
    _return_memory(setup)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory has ended, of a device or of the host, for which torch has no error of its own."""
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(said in str(error) for said in NO_MEMORY)


def _spec(adapter: Adapter) -> AdapterSpec:
    """Where an adapter lies; WeightsError where it is not here."""
    if bool(adapter.weights) == bool(adapter.path):
        raise UsageError(f"an adapter of weights {adapter.weights!r} and path {adapter.path!r}; expected one of them.")
    file = Path(adapter.path) if adapter.path else weights.path(adapter.weights)
    if not file.is_file():
        raise WeightsError(f"{file}: no such adapter file; expected a LoRA as safetensors.")
    return AdapterSpec(file, adapter.base, adapter.strengths, transformer_only=adapter.transformer_only)


def _library(name: str) -> Any:
    """A module of diffusers or transformers, imported when used; without their types, which are incomplete."""
    return importlib.import_module(name)


def _network(module: str, kind: str, folder: Path, dtype: torch.dtype, device: torch.device) -> Network:
    """One part of the model, ready to run."""
    typed = {"dtype" if module == "transformers" else "torch_dtype": dtype}
    with _without_progress():
        try:
            network, found = getattr(_library(module), kind).from_pretrained(
                folder, local_files_only=True, output_loading_info=True, **typed
            )
        except (OSError, ValueError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            raise WeightsError(f"{folder}: cannot be loaded as {kind} ({_line(error)}); fetch it again.") from error
    # Both libraries make up what is not there, and warn.
    if lost := sorted(map(str, (*found["missing_keys"], *found["mismatched_keys"]))):
        raise WeightsError(
            f"{folder}: {len(lost)} tensors of {kind} are absent or of another shape, such as {lost[0]}; fetch it again, "
            "or convert it anew."
        )
    return network.to(device).eval().requires_grad_(False)


def _offload(network: Network, device: torch.device) -> None:
    """Keeps blocks of a network on the CPU but for the one that runs; what is in no block is on the device.

    The hook on the network itself would bring that and take it off again: the driver never calls the transformer's
    `forward`, and the text encoder embeds words before it calls that of its layers.
    """
    _library("diffusers.hooks").apply_group_offloading(
        network,
        onload_device=device,
        offload_type="block_level",
        num_blocks_per_group=1,
        use_stream=device.type == "cuda",
    )
    for hook in ("lazy_prefetch_group_offloading", "group_offloading"):
        if network._diffusers_hook.get_hook(hook) is not None:
            network._diffusers_hook.remove_hook(hook, recurse=False)
    for part in network.modules():  # which would note every block that runs, for a prefetch that is not to be
        if hasattr(part, "_diffusers_hook"):
            part._diffusers_hook.remove_hook("layer_execution_tracker", recurse=False)
    for part in network.children():
        if not isinstance(part, torch.nn.ModuleList):
            part.to(device)
    for value in network.parameters(recurse=False):
        value.data = value.data.to(device)


def _return_memory(setup: Setup) -> None:
    """What a network had that is gone: else it is counted against the next one."""
    if setup.device.type == "cuda":
        gc.collect()
        torch.cuda.empty_cache()
        torch.accelerator.empty_host_cache()  # offloaded blocks are pinned


@contextlib.contextmanager
def _without_progress() -> Iterator[None]:
    """diffusers and transformers draw a bar for what they load."""
    drawn = [
        logging
        for logging in map(_library, ("transformers.utils.logging", "diffusers.utils.logging"))
        if logging.is_progress_bar_enabled()
    ]
    for logging in drawn:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        for logging in drawn:
            logging.enable_progress_bar()


def _line(said: object) -> str:
    return " ".join(str(said).split())[:300]
