"""LoRA files on the transformer: what they add, and the gate that no useless or wrong one passes."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from avbench.errors import UsageError, WeightsError
from avbench.generator import adapters
from avbench.generator.adapters import AdapterSpec, changes, load, smallest_forward, use

from .test_generator_parts import tiny

pytestmark = pytest.mark.usefixtures("one_thread")

BASES = pytest.mark.parametrize("base", ["2.0", "2.3"])
AUDIO = ("audio_attn1", "audio_attn2", "audio_ff")
BRIDGES = ("audio_to_video_attn", "video_to_audio_attn")
Tensors = dict[str, torch.Tensor]


def modules(transformer: Any) -> dict[str, torch.nn.Linear]:
    """What ID-LoRA adapts: 18 modules to a block, all of the sound and the bridges."""
    ends = [f"{one}.{end}" for one in (*AUDIO[:2], *BRIDGES) for end in ("to_q", "to_k", "to_v", "to_out.0")]
    ends += ["audio_ff.net.0.proj", "audio_ff.net.2"]
    return {
        f"transformer_blocks.{block}.{end}": transformer.get_submodule(f"transformer_blocks.{block}.{end}")
        for block in range(len(transformer.transformer_blocks))
        for end in ends
    }


def drawn(
    transformer: Any, seed: int = 1, rank: int = 3, prefix: str = "diffusion_model.", size: float = 0.3
) -> Tensors:
    """An adapter in the form of the trainer."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for name, layer in modules(transformer).items():
        tensors[f"{prefix}{name}.lora_A.weight"] = torch.randn(rank, layer.in_features, generator=generator) * size
        tensors[f"{prefix}{name}.lora_B.weight"] = torch.randn(layer.out_features, rank, generator=generator) * size
    return tensors


def written(folder: Path, tensors: Tensors, name: str = "lora", metadata: Mapping[str, str] | None = None) -> Path:
    path = folder / f"{name}.safetensors"
    save_file(tensors, path, dict(metadata) if metadata else None)
    return path


def added(base: str, *files: tuple[Tensors, Callable[[str], float]]) -> Any:
    """A transformer whose weights are W + strength B A, formed here."""
    transformer = tiny(base)
    for tensors, strength in files:
        for name, layer in modules(transformer).items():
            down = tensors[f"diffusion_model.{name}.lora_A.weight"].double()
            up = tensors[f"diffusion_model.{name}.lora_B.weight"].double()
            layer.weight.data = (layer.weight.double() + strength(name) * up @ down).float()
    return transformer


def one(_: str) -> float:
    return 1.0


def apart(left: tuple[torch.Tensor, ...], right: tuple[torch.Tensor, ...]) -> float:
    return max(float((a - b).abs().max()) for a, b in zip(left, right, strict=True))


def refusal(transformer: Any, spec: AdapterSpec) -> str:
    """What the gate says, after which the transformer is as it was."""
    before = smallest_forward(transformer)
    names = [name for name, _ in transformer.named_modules()]
    with pytest.raises(WeightsError) as caught:
        load(transformer, {"id": spec})
    assert [name for name, _ in transformer.named_modules()] == names
    assert apart(before, smallest_forward(transformer)) == 0
    assert "'id'" in str(caught.value)
    return str(caught.value)


# What is loaded --------------------------------------------------------------------------------------------------


@BASES
@pytest.mark.parametrize("prefix", ["diffusion_model.", "transformer."])
def test_an_adapter_adds_b_times_a(tmp_path: Path, base: Any, prefix: str) -> None:
    transformer = tiny(base)
    path = written(tmp_path, drawn(transformer, prefix=prefix))
    loaded = load(transformer, {"id": AdapterSpec(path, base)})
    assert loaded["id"] == (base, hashlib.sha256(path.read_bytes()).hexdigest(), 18, (3,), (1.0,), 0)
    use(transformer, ["id"])
    assert not any(parameter.requires_grad for parameter in transformer.parameters())
    assert apart(smallest_forward(transformer), smallest_forward(added(base, (drawn(transformer), one)))) < 1e-5
    assert apart(smallest_forward(transformer), smallest_forward(tiny(base))) > 1e-2


@BASES
def test_strengths_by_module(tmp_path: Path, base: Any) -> None:
    transformer = tiny(base)
    tensors = drawn(transformer)
    strengths = {r"\.audio_(attn[12]|ff)\.": 0.5, r"_to_(video|audio)_attn\.": -0.25}
    loaded = load(transformer, {"ic": AdapterSpec(written(tmp_path, tensors), base, strengths)})
    assert loaded["ic"].strengths == (-0.25, 0.5)
    use(transformer, ["ic"])
    expected = added(base, (tensors, lambda name: -0.25 if any(part in name for part in BRIDGES) else 0.5))
    assert apart(smallest_forward(transformer), smallest_forward(expected)) < 1e-5
    assert apart(smallest_forward(transformer), smallest_forward(added(base, (tensors, one)))) > 1e-3


def test_a_part_can_be_off(tmp_path: Path) -> None:
    transformer = tiny("2.3")
    tensors = drawn(transformer)
    load(transformer, {"ic": AdapterSpec(written(tmp_path, tensors), "2.3", {r"\.audio_(attn|ff)": 1.0, "_to_": 0.0})})


@BASES
def test_two_adapters_side_by_side(tmp_path: Path, base: Any) -> None:
    """Of different ranks and modules; switching leaves no trace."""
    transformer = tiny(base)
    bare = smallest_forward(transformer)
    weights = {name: layer.weight.clone() for name, layer in modules(transformer).items()}
    first, second = drawn(transformer, seed=1), drawn(transformer, seed=2, rank=5)
    cut = {key: value for key, value in second.items() if any(part in key for part in BRIDGES)}
    files = {
        "id": AdapterSpec(written(tmp_path, first, "id"), base),
        "distilled": AdapterSpec(written(tmp_path, cut, "distilled"), base, {"": 0.8}),
    }
    loaded = load(transformer, files)
    assert (loaded["distilled"].modules, loaded["distilled"].ranks, loaded["distilled"].strengths) == (8, (5,), (0.8,))

    def bridges(name: str) -> float:
        return 0.8 if any(part in name for part in BRIDGES) else 0.0

    assert apart(smallest_forward(transformer), bare) == 0  # none is in use after loading
    assert changes(transformer, "id", smallest_forward)
    assert not changes(transformer, "distilled", lambda model: (model.proj_in(torch.ones(1, 8)),))
    expected = {
        ("id",): smallest_forward(added(base, (first, one))),
        ("distilled",): smallest_forward(added(base, (second, bridges))),
        ("id", "distilled"): smallest_forward(added(base, (first, one), (second, bridges))),
        (): bare,
    }
    results: dict[tuple[str, ...], tuple[torch.Tensor, ...]] = {}
    for names in [*expected, *reversed(expected)]:
        use(transformer, names)
        result = smallest_forward(transformer)
        assert apart(result, expected[names]) < (1e-5 if names else 1e-30)
        assert apart(result, results.setdefault(names, result)) == 0
    assert all(
        apart(expected[left], expected[right]) > 1e-3 for left in expected for right in expected if left != right
    )
    for name, layer in modules(transformer).items():
        assert torch.equal(layer.get_base_layer().weight, weights[name])  # type: ignore[operator]


@BASES
@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16, torch.float32])
@pytest.mark.parametrize("run_in", [torch.bfloat16, torch.float32])
def test_files_of_every_type_on_transformers_of_every_type(
    tmp_path: Path, base: Any, kind: torch.dtype, run_in: torch.dtype
) -> None:
    transformer = tiny(base).to(run_in)
    tensors = {key: value.to(kind) for key, value in drawn(transformer).items()}
    load(transformer, {"id": AdapterSpec(written(tmp_path, tensors), base, {"": 0.7})})
    for name, layer in modules(transformer).items():
        matrix: Any = layer
        found = matrix.lora_B["id"].weight
        exact = tensors[f"diffusion_model.{name}.lora_B.weight"].float() * 0.7  # rounded once, to what runs
        assert found.dtype == run_in
        assert torch.equal(found, exact.to(run_in))
    use(transformer, ["id"])
    assert apart(smallest_forward(transformer), smallest_forward(tiny(base).to(run_in))) > 1e-2


def test_ranks_may_differ_between_modules(tmp_path: Path) -> None:
    transformer = tiny("2.0")
    tensors = drawn(transformer)
    for name in list(modules(transformer))[::2]:
        for key, axis in ((f"diffusion_model.{name}.lora_A.weight", 0), (f"diffusion_model.{name}.lora_B.weight", 1)):
            tensors[key] = torch.cat([tensors[key], tensors[key]], dim=axis)
    loaded = load(transformer, {"id": AdapterSpec(written(tmp_path, tensors), "2.0")})
    assert loaded["id"].ranks == (3, 6)
    use(transformer, ["id"])
    assert apart(smallest_forward(transformer), smallest_forward(added("2.0", (tensors, one)))) < 1e-5


ORIGINAL = {  # names of the trainers for what diffusers calls otherwise, outside the blocks
    "proj_in": "patchify_proj",
    "audio_proj_in": "audio_patchify_proj",
    "time_embed": "adaln_single",
    "audio_time_embed": "audio_adaln_single",
    "prompt_adaln": "prompt_adaln_single",
    "audio_prompt_adaln": "audio_prompt_adaln_single",
    "av_cross_attn_video_scale_shift": "av_ca_video_scale_shift_adaln_single",
    "av_cross_attn_video_a2v_gate": "av_ca_a2v_gate_adaln_single",
    "av_cross_attn_audio_scale_shift": "av_ca_audio_scale_shift_adaln_single",
    "av_cross_attn_audio_v2a_gate": "av_ca_v2a_gate_adaln_single",
}


@BASES
def test_an_adapter_of_every_linear_layer(tmp_path: Path, base: Any) -> None:
    """As the distilled one, in the trainers' names, with a part for the connectors, which must be given up aloud."""
    transformer, expected = tiny(base), tiny(base)
    generator = torch.Generator().manual_seed(4)
    tensors: Tensors = {}
    layers = {name: layer for name, layer in expected.named_modules() if isinstance(layer, torch.nn.Linear)}
    for name, layer in layers.items():
        first, _, rest = name.partition(".")
        original = ".".join(part for part in ("diffusion_model", ORIGINAL.get(first, first), rest) if part)
        down = torch.randn(2, layer.in_features, generator=generator) * 0.1
        up = torch.randn(layer.out_features, 2, generator=generator) * 0.1
        tensors |= {f"{original}.lora_A.weight": down, f"{original}.lora_B.weight": up}
        layer.weight.data = (layer.weight.double() + 0.8 * up.double() @ down.double()).float()
    for text in ("text_embedding_projection.aggregate_embed", "diffusion_model.video_embeddings_connector.0.to_q"):
        tensors |= {f"{text}.lora_A.weight": torch.ones(2, 3), f"{text}.lora_B.weight": torch.ones(3, 2)}
    path = written(tmp_path, tensors)
    said = refusal(transformer, AdapterSpec(path, base))
    assert f"4 of its {2 * len(layers) + 4} tensors are of the connectors" in said
    loaded = load(transformer, {"distilled": AdapterSpec(path, base, {"": 0.8}, transformer_only=True)})
    assert (loaded["distilled"].modules, loaded["distilled"].left_out) == (len(layers), 4)
    use(transformer, ["distilled"])
    assert apart(smallest_forward(transformer), smallest_forward(expected)) < 2e-5
    assert apart(smallest_forward(transformer), smallest_forward(tiny(base))) > 1e-2


def test_a_file_of_connectors_alone_is_refused(tmp_path: Path) -> None:
    tensors = {f"text_embedding_projection.aggregate_embed.lora_{side}.weight": torch.ones(2, 2) for side in "AB"}
    spec = AdapterSpec(written(tmp_path, tensors), "2.0", transformer_only=True)
    assert "it has no tensor for the transformer" in refusal(tiny("2.0"), spec)


def test_the_smallest_forward_is_a_real_one() -> None:
    for base in ("2.0", "2.3"):
        video, audio = smallest_forward(tiny(base))
        assert video.shape == audio.shape == (1, 2, 8)
        assert video.isfinite().all()
        assert min(float(video.abs().max()), float(audio.abs().max())) > 0.01
        assert apart((video, audio), smallest_forward(tiny(base))) == 0


def test_every_kind_of_module_changes_the_smallest_forward(tmp_path: Path) -> None:
    """Also a query alone, which one token attending to itself would hide."""
    transformer = tiny("2.3")
    for number, name in enumerate(modules(transformer)):
        only = {key: value for key, value in drawn(transformer).items() if f".{name}.lora" in key}
        assert len(only) == 2
        path = written(tmp_path, only, str(number))
        assert load(transformer, {f"only{number}": AdapterSpec(path, "2.3")})[f"only{number}"].modules == 1


# What is refused -------------------------------------------------------------------------------------------------


@BASES
@pytest.mark.parametrize("prefix", ["", "model.diffusion_model.", "base_model.model.", "lora_unet_"])
def test_a_wrong_prefix_is_refused(tmp_path: Path, base: Any, prefix: str) -> None:
    transformer = tiny(base)
    said = refusal(transformer, AdapterSpec(written(tmp_path, drawn(transformer, prefix=prefix)), base))
    assert f"36 of its 36 tensors have another prefix ({prefix or 'none'})" in said
    assert "expected diffusion_model.… or transformer.…" in said


def test_diffusers_alone_would_have_taken_a_wrong_prefix(tmp_path: Path) -> None:
    """The reason for the gate: no exception, and nothing bound."""
    transformer = tiny("2.0")
    bare = smallest_forward(transformer)
    transformer.load_lora_adapter(drawn(transformer, prefix="model.diffusion_model."), adapter_name="id")
    assert apart(bare, smallest_forward(transformer)) == 0


@BASES
def test_mixed_prefixes_are_refused(tmp_path: Path, base: Any) -> None:
    transformer = tiny(base)
    tensors = drawn(transformer)
    key = next(iter(tensors))
    tensors[key.removeprefix("diffusion_model.")] = tensors.pop(key)
    assert "1 of its 36 tensors have another prefix (none)" in refusal(
        transformer, AdapterSpec(written(tmp_path, tensors), base)
    )
    tensors["transformer." + key.removeprefix("diffusion_model.")] = tensors.pop(key.removeprefix("diffusion_model."))
    assert "mixes the prefixes" in refusal(transformer, AdapterSpec(written(tmp_path, tensors), base))


@BASES
def test_an_adapter_of_more_blocks_is_refused(tmp_path: Path, base: Any) -> None:
    transformer = tiny(base)
    tensors = drawn(transformer)
    tensors |= {
        key.replace("blocks.0.", f"blocks.{block}."): value.clone()
        for block in (2, 1)
        for key, value in tensors.items()
    }
    said = refusal(transformer, AdapterSpec(written(tmp_path, tensors), base))
    assert "72 of its 108 tensors have no module in the transformer" in said
    assert "no such module in block 1" in said


def test_modules_of_2_3_betray_it(tmp_path: Path) -> None:
    newer, older = tiny("2.3"), tiny("2.0")
    gate = "transformer_blocks.0.audio_attn1.to_gate_logits"
    tensors = drawn(newer) | {
        f"diffusion_model.{gate}.lora_A.weight": torch.ones(3, 16),
        f"diffusion_model.{gate}.lora_B.weight": torch.ones(4, 3),
    }
    path = written(tmp_path, tensors)
    assert load(newer, {"id": AdapterSpec(path, "2.3")})["id"].modules == 19
    said = refusal(older, AdapterSpec(path, "2.0"))
    assert "2 of its 38 tensors" in said
    assert "only LTX-2.3 has" in said


@pytest.mark.parametrize(("declared", "base"), [("2.0", "2.3"), ("2.3", "2.0")])
def test_an_adapter_for_the_other_base_is_refused(tmp_path: Path, declared: Any, base: str) -> None:
    transformer = tiny(base)
    path = written(tmp_path, drawn(transformer))
    said = refusal(transformer, AdapterSpec(path, declared))
    assert f"declared to be for {adapters.MODELS[declared]}, and the transformer is {adapters.MODELS[base]}" in said
    assert "same names and shapes" in said


def test_a_file_for_the_other_base_cannot_be_told_without_the_declaration(tmp_path: Path) -> None:
    """What the gate does not see, and says so: only a digest ties the declaration to the file."""
    path = written(tmp_path, drawn(tiny("2.0")))
    assert load(tiny("2.3"), {"id": AdapterSpec(path, "2.3")})["id"].modules == 18
    other = AdapterSpec(path, "2.3", sha256="0" * 64)
    assert "its sha256 is " in refusal(tiny("2.3"), other)
    right = AdapterSpec(path, "2.3", sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    load(tiny("2.3"), {"id": right})


def change(key_part: str, edit: Callable[[torch.Tensor], torch.Tensor]) -> Callable[[Tensors], Tensors]:
    def changed(tensors: Tensors) -> Tensors:
        key = next(key for key in tensors if key_part in key)
        return tensors | {key: edit(tensors[key])}

    return changed


def without_one(tensors: Tensors) -> Tensors:
    return dict(list(tensors.items())[1:])


def zero_b(tensors: Tensors) -> Tensors:
    return {key: value * (0 if "lora_B" in key else 1) for key, value in tensors.items()}


def down_and_up(tensors: Tensors) -> Tensors:
    return {key.replace("lora_A", "lora_down").replace("lora_B", "lora_up"): value for key, value in tensors.items()}


def with_key(ending: str) -> Callable[[Tensors], Tensors]:
    def longer(tensors: Tensors) -> Tensors:
        return tensors | {f"diffusion_model.transformer_blocks.0.audio_attn1.to_q{ending}": torch.ones(3)}

    return longer


def elsewhere(tensors: Tensors) -> Tensors:
    return {key.replace("transformer_blocks", "layers"): value for key, value in tensors.items()}


@BASES
@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (zero_b, "all its B matrices are zero"),
        (without_one, "has no lora_A.weight: the file is cut"),
        (lambda _: {}, "it has no tensor for the transformer"),
        (change("lora_B", lambda value: value[:, :2].contiguous()), "do not multiply; expected one rank"),
        (change("lora_A", lambda value: value[:2].contiguous()), "do not multiply; expected one rank"),
        (change("lora_A", lambda value: value[:, :-1].contiguous()), "for a layer of 16 inputs and 16 outputs"),
        (change("lora_B", lambda value: value[:-1].contiguous()), "for a layer of 16 inputs and 16 outputs"),
        (change("lora_A", lambda value: value[0].clone()), "do not multiply"),
        (change("lora_B", lambda value: value * math.nan), "not finite"),
        (change("lora_A", lambda value: value * math.inf), "not finite"),
        (down_and_up, "named down and up"),
        (with_key(".alpha"), "alpha / rank"),
        (with_key(".dora_scale"), "DoRA"),
        (with_key(".diff"), "whole differences"),
        (with_key(".bias"), "1 of its 37 tensors have no module"),
        (elsewhere, "36 of its 36 tensors have no module in the transformer"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, base: Any, edit: Callable[[Tensors], Tensors], said: str) -> None:
    transformer = tiny(base)
    assert said in refusal(transformer, AdapterSpec(written(tmp_path, edit(drawn(transformer))), base))


def test_an_adapter_too_weak_to_matter_is_refused(tmp_path: Path) -> None:
    transformer = tiny("2.0").to(torch.bfloat16)
    path = written(tmp_path, drawn(transformer, size=1e-6))
    assert "one forward pass is the same with it and without" in refusal(transformer, AdapterSpec(path, "2.0"))
    assert "numbers of bfloat16" in refusal(transformer, AdapterSpec(path, "2.0"))


def test_the_forward_pass_is_the_caller_s_where_he_has_one(tmp_path: Path) -> None:
    transformer = tiny("2.3")
    bridges = {key: value for key, value in drawn(transformer).items() if any(part in key for part in BRIDGES)}
    spec = AdapterSpec(written(tmp_path, bridges), "2.3")

    def isolated(model: Any) -> tuple[torch.Tensor, ...]:
        return (model.transformer_blocks[0].audio_attn1.to_q(torch.ones(1, 16)),)

    with pytest.raises(WeightsError, match="one forward pass is the same"):
        load(transformer, {"id": spec}, probe=isolated)
    load(transformer, {"id": spec})


def test_numbers_that_explode_are_refused(tmp_path: Path) -> None:
    transformer = tiny("2.0").to(torch.float16)
    path = written(tmp_path, drawn(transformer))
    assert "makes numbers that are not finite" in refusal(transformer, AdapterSpec(path, "2.0", {"": 6e4}))


def test_a_declared_alpha_is_not_passed_over(tmp_path: Path) -> None:
    transformer = tiny("2.0")
    said = {"transformer.r": 3, "transformer.lora_alpha": 3}
    fine = written(tmp_path, drawn(transformer), "fine", {"lora_adapter_metadata": json.dumps(said)})
    load(transformer, {"fine": AdapterSpec(fine, "2.0")})
    said["transformer.lora_alpha"] = 6
    double = written(tmp_path, drawn(transformer), "double", {"lora_adapter_metadata": json.dumps(said)})
    assert "declares alpha 6 for rank 3" in refusal(transformer, AdapterSpec(double, "2.0"))
    broken = written(tmp_path, drawn(transformer), "broken", {"lora_adapter_metadata": "[1"})
    assert "not a table in JSON" in refusal(transformer, AdapterSpec(broken, "2.0"))


def test_a_second_adapter_that_is_refused_takes_none_of_its_company_in(tmp_path: Path) -> None:
    transformer = tiny("2.0")
    names = [name for name, _ in transformer.named_modules()]
    good = AdapterSpec(written(tmp_path, drawn(transformer), "good"), "2.0")
    weak = AdapterSpec(written(tmp_path, drawn(transformer, size=1e-30), "weak"), "2.0")
    with pytest.raises(WeightsError, match="'weak'"):
        load(transformer, {"good": good, "weak": weak})
    assert [name for name, _ in transformer.named_modules()] == names
    load(transformer, {"good": good})
    with pytest.raises(WeightsError, match="'weak'"):
        load(transformer, {"weak": weak})
    use(transformer, ["good"])  # it stays when a later one is refused
    assert apart(smallest_forward(transformer), smallest_forward(tiny("2.0"))) > 1e-2


def test_other_files_are_refused(tmp_path: Path) -> None:
    transformer = tiny("2.0")
    for content in (b"", b"not a safetensors file", b"\x80\x02}q\x00."):
        path = tmp_path / "lora.pt"
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="not a safetensors file"):
            load(transformer, {"id": AdapterSpec(path, "2.0")})
    with pytest.raises(WeightsError, match="absent"):
        load(transformer, {"id": AdapterSpec(tmp_path / "absent.safetensors", "2.0")})


def test_a_transformer_of_neither_model_is_refused() -> None:
    transformer = tiny("2.3")
    transformer.register_to_config(audio_cross_attn_mod=False)
    with pytest.raises(WeightsError, match="cross_attn_mod = True and audio_cross_attn_mod = False"):
        adapters.base_of(transformer)
    assert [adapters.base_of(tiny(base)) for base in ("2.0", "2.3")] == ["2.0", "2.3"]


# What is asked wrongly -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strengths", "said"),
    [
        ({"audio_atn": 1.0, "": 1.0}, "'audio_atn' finds none of its 18 modules"),
        ({r"\.audio_attn": 1.0}, "no strength for 10 of its modules, e.g. transformer_blocks.0.audio_"),
        ({"audio": 1.0, "_to_": 0.5}, "'audio' and '_to_' both find transformer_blocks.0.audio_to_video_attn.to_"),
        ({"": math.nan}, "expected a finite number"),
        ({"(": 1.0}, "not a regular expression"),
        ({"": 0.0}, "leave it out"),
    ],
)
def test_strengths_that_do_not_fit_are_refused(tmp_path: Path, strengths: dict[str, float], said: str) -> None:
    transformer = tiny("2.0")
    with pytest.raises(UsageError, match=re.escape(said)):
        load(transformer, {"id": AdapterSpec(written(tmp_path, drawn(transformer)), "2.0", strengths)})


def test_names(tmp_path: Path) -> None:
    transformer = tiny("2.0")
    spec = AdapterSpec(written(tmp_path, drawn(transformer)), "2.0")
    use(transformer, ())
    with pytest.raises(UsageError, match=r"unknown adapter 'id'\. Known: none"):
        use(transformer, ["id"])
    with pytest.raises(UsageError, match="expected letters"):
        load(transformer, {"a.b": spec})
    load(transformer, {"id": spec})
    with pytest.raises(UsageError, match="loaded already"):
        load(transformer, {"id": spec})
    with pytest.raises(UsageError, match="Did you mean id"):
        use(transformer, ["ids"])
    with pytest.raises(UsageError, match="unknown base model '2'"):
        load(transformer, {"other": AdapterSpec(spec.path, "2")})  # type: ignore[arg-type]
