"""Networks on disk and in memory: nothing that is absent is made up, and what waits on the CPU is back in time."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import torch
from diffusers.hooks.group_offloading import ModuleGroup
from safetensors.torch import load_file, save_file

from avbench.errors import UsageError, WeightsError
from avbench.generator import networks
from avbench.generator.adapters import smallest_forward
from avbench.generator.networks import Setup
from avbench.generator.recipe import Adapter, Recipe, recipe
from avbench.generator.tiny import save_tiny

CPU = torch.device("cpu")
RESIDENT = Setup(CPU, "fp32", "resident", {})


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny(tmp_path_factory.mktemp("networks"), "2.0")


def a_recipe(**changes: Any) -> Recipe:
    return msgspec.structs.replace(recipe("idlora", model="tiny"), **changes)


@pytest.mark.parametrize(
    ("part", "tensor"),
    [
        ("transformer", "transformer_blocks.1.attn1.to_q.weight"),
        ("vae", "latents_mean"),
        ("audio_vae", "latents_std"),
        ("vocoder", "conv_in.weight"),
        ("latent_upsampler", "initial_conv.weight"),
    ],
)
@pytest.mark.parametrize("harm", ["absent", "shape"])
def test_a_tensor_that_is_absent_or_does_not_fit_is_named(
    model: Path, tmp_path: Path, part: str, tensor: str, harm: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    (file,) = (folder / part).glob("*.safetensors")
    stored = load_file(file)
    if harm == "absent":
        del stored[tensor]
    else:
        stored[tensor] = torch.zeros(3)
    save_file(stored, file)
    with pytest.raises(WeightsError, match=rf"{part}: .*{tensor.partition('.')[0]}"):
        networks.load(a_recipe(), folder, RESIDENT)


def test_a_text_encoder_with_a_hole_is_refused(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    (file,) = (folder / "text_encoder").glob("*.safetensors")
    stored = load_file(file)
    hole = next(name for name in stored if "q_proj" in name and "vision" not in name)
    save_file({name: value for name, value in stored.items() if name != hole}, file, metadata={"format": "pt"})
    with pytest.raises(WeightsError, match=r"text_encoder: 1 tensors .* absent .*q_proj"):
        networks.encode_prompts(folder, networks.load_tokenizer(folder), ["a"], RESIDENT, tmp_path)


def test_what_lies_outside_of_blocks_is_never_taken_off_the_device(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    offload = ModuleGroup.offload_

    def counted(group: ModuleGroup) -> None:
        taken.extend(type(module).__name__ for module in group.modules)
        offload(group)

    setup = Setup(CPU, "fp32", "offload", {})
    loaded = networks.load(a_recipe(), model, setup)
    monkeypatch.setattr(ModuleGroup, "offload_", counted)
    files = networks.encode_prompts(model, networks.load_tokenizer(model), ["one", "two"], setup, tmp_path)
    smallest_forward(loaded.transformer)
    # Once, when it is set up; then blocks alone, after each forward pass.
    assert taken.count("Gemma3TextScaledWordEmbedding") == 1
    assert taken.count("Gemma3DecoderLayer") == 2 + 2 * 2
    assert taken.count("LTX2VideoTransformerBlock") == 4
    there = networks.encode_prompts(model, networks.load_tokenizer(model), ["one", "two"], RESIDENT, tmp_path)
    for prompt, file in files.items():
        assert torch.equal(networks.read_text(file).video, networks.read_text(there[prompt]).video)


def test_at_fp8_ends_modulation_and_projections_of_prompts_are_spared(model: Path) -> None:
    transformer = networks.load(a_recipe(), model, Setup(CPU, "fp8", "resident", {})).transformer
    kinds: dict[torch.dtype, set[str]] = {}
    for name, value in transformer.named_parameters():
        kinds.setdefault(value.dtype, set()).add(name)
    assert kinds.keys() == {torch.float8_e4m3fn, torch.bfloat16}
    assert all(name.startswith("transformer_blocks.") for name in kinds[torch.float8_e4m3fn])
    spared = {name.partition(".")[0] for name in kinds[torch.bfloat16]}
    assert {"proj_in", "audio_proj_in", "proj_out", "audio_proj_out", "time_embed", "caption_projection"} <= spared
    assert {"transformer_blocks.0.attn1.to_q.weight", "transformer_blocks.0.ff.net.2.weight"} <= kinds[
        torch.float8_e4m3fn
    ]


@pytest.mark.parametrize(
    ("part", "change", "said"),
    [
        ("vae", {"timestep_conditioning": True}, "a decoder that wants a noise level"),
        ("transformer", {"ff_bias": False}, r"of layout 2\.5; idlora is for 2\.0"),
        ("transformer", {"num_layers": None}, "no num_layers"),
        ("transformer", {"cross_attn_mod": True}, r"of layout 2\.3; idlora is for 2\.0"),
    ],
)
def test_another_model_is_told_from_its_configuration(
    model: Path, tmp_path: Path, part: str, change: dict[str, Any], said: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    file = folder / part / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | change))
    with pytest.raises(WeightsError, match=said):
        networks.check_model(a_recipe(), folder)


def test_a_configuration_or_tokenizer_that_is_none_is_told_of(model: Path, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    (folder / "vae" / "config.json").write_text("{")
    with pytest.raises(WeightsError, match=r"vae/config\.json: .*expected the configuration"):
        networks.check_model(a_recipe(), folder)
    for file in (folder / "tokenizer").iterdir():
        file.unlink()
    with pytest.raises(WeightsError, match="tokenizer: cannot be loaded as a tokenizer"):
        networks.load_tokenizer(folder)


def test_two_adapters_of_one_name_are_refused() -> None:
    one = cast(dict[str, Adapter], {"id": Adapter("2.0", path="a.safetensors")})
    with pytest.raises(UsageError, match="two adapters 'id'"):
        networks.adapter_specs(a_recipe(stage_one=one, stage_two=one))
