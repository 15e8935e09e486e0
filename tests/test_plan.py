"""What a plan says against what runs: counts, operations, bytes; and the full-size figures that are known."""

from __future__ import annotations

import gc
import math
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

import msgspec
import pytest
import torch
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

from avbench.errors import UsageError, WeightsError
from avbench.generator import layouts, plan
from avbench.generator.context import Context, Stream, state
from avbench.generator.driver import Driver, Text
from avbench.generator.guidance import IDENTITY, IDLORA, Pass, Skip, resolve
from avbench.generator.plan import Phase, Plan, Size, memory, metering, phases, text
from avbench.generator.plan.metering import Meter, Metered, metered
from avbench.generator.plan.parts import Blocks, Parts
from avbench.generator.positions import audio_positions, before, video_positions
from avbench.generator.recipe import Adapter, Recipe, recipe, terms
from avbench.generator.sampler import Latents, denoise, predictor
from avbench.generator.tiny import save_tiny

pytestmark = pytest.mark.usefixtures("one_thread")

LAYOUTS: tuple[Literal["2.0", "2.3"], ...] = ("2.0", "2.3")
SIZE = Size(17, 128, 64)
VOICE = 126  # tokens of five seconds
FULL = Pass("full", "positive", (), None, False, 1.0, 1.0)

layouts_ = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {layout: save_tiny(tmp_path_factory.mktemp("tiny"), layout) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def plans(tiny: dict[str, Path]) -> dict[str, Plan]:
    """Of both layouts; nothing is measured."""
    return {layout: planned(member(layout), tiny[layout]) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def published() -> Plan:
    """Of the released model, without a file of it."""
    return plan.plan(recipe("idlora"), None, 120, Size(121, 1024, 1024), device="cpu")


def member(layout: str, **options: Any) -> Recipe:
    return recipe("idlora" if layout == "2.0" else "idlora-2.3", model="tiny", steps=2, **options)


def planned(what: Recipe, folder: Path, clips: int = 3, size: Size = SIZE, **options: Any) -> Plan:
    """Without a clock: as on a CPU that has no room to try it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "MEASURED_ON_CPU", 0)
        return plan.plan(what, folder, clips, size, **{"device": "cpu", "precision": "fp32", **options})


def transformer(folder: Path) -> Any:
    from diffusers import LTX2VideoTransformer3DModel

    model: Any = LTX2VideoTransformer3DModel
    return model.from_pretrained(folder / "transformer").eval().requires_grad_(False)


def streams(
    grid: tuple[int, int, int], sound: int, widths: tuple[int, int], refined: bool = False
) -> tuple[Stream, Stream]:
    """What the pipeline hands to the loop, written anew: a given first frame; the voice, or the sound as it is."""
    frames, height, width = grid
    mask = torch.ones(1, frames * height * width)
    mask[:, : height * width] = 0
    voice = Context(IDENTITY, "audio", torch.zeros(1, VOICE, widths[1]), before(audio_positions(VOICE)))
    return (
        state("video", torch.zeros(1, mask.shape[1], widths[0]), mask, video_positions(*grid, 25.0)),
        state(
            "audio",
            torch.zeros(1, sound, widths[1]),
            torch.full((1, sound), 0.0 if refined else 1.0),
            audio_positions(sound),
            [] if refined else [voice],
        ),
    )


def words(network: Any) -> dict[str, Text]:
    config = network.config
    wide = (32, 32) if config.use_prompt_embeddings else (config.cross_attention_dim, config.audio_cross_attention_dim)
    return {
        name: Text(*(torch.randn(1, 1024, width, generator=torch.Generator().manual_seed(width)) for width in wide))
        for name in ("positive", "negative")
    }


def phase(of: Plan, name: str) -> Phase:
    return next(each for each in of.phases if each.name == name)


def taken(request: phases.Request, name: str) -> Metered:
    work = phases.works(request)[name]
    return metered(work.begin, {part: request.parts.meta(part) for part in work.networks})


# Against a run -------------------------------------------------------------------------------------------------


@layouts_
@pytest.mark.parametrize("name", ["stage one", "stage two"])
def test_operations_and_calls_of_a_stage_are_those_of_the_loop(
    tiny: dict[str, Path], plans: dict[str, Plan], layout: str, name: str
) -> None:
    what, network, calls = member(layout), transformer(tiny[layout]), 0
    one = name == "stage one"
    video, sound = streams((3, 1, 2) if one else (3, 2, 4), 17, (8, 32), refined=not one)
    sigmas, passes = (what.sigmas, resolve(terms(what))) if one else (what.refine, resolve([]))

    class Counting(Driver):
        def leave(self, *given: Any) -> Any:
            nonlocal calls
            calls += 1
            return super().leave(*given)

    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        denoise(Counting(network), video, sound, words(network), sigmas, passes)
    found = phase(plans[layout], name)
    assert found.calls == calls
    assert found.flops == counter.get_total_flops()


@pytest.mark.parametrize(
    ("layout", "size"),
    [
        ("2.0", Size(73, 64, 64)),
        pytest.param("2.3", Size(73, 64, 64), marks=pytest.mark.slow),
        pytest.param("2.0", Size(9, 576, 64), marks=pytest.mark.slow),
    ],
    ids=["pieces", "pieces-2.3", "tiles"],
)
def test_operations_of_the_decoders_are_those_of_the_decoders(
    tiny: dict[str, Path], layout: Literal["2.0", "2.3"], size: Size
) -> None:
    """Over several pieces in time, or tiles, each of which the plan runs once for its size."""
    from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video
    from diffusers.pipelines import ltx2

    from avbench.generator.latents import decoded_frames, decoded_sound, video_grid

    video: Any = AutoencoderKLLTX2Video
    audio: Any = AutoencoderKLLTX2Audio
    library: Any = ltx2
    vocoders = library.LTX2Vocoder if layout == "2.0" else library.LTX2VocoderWithBWE
    request = phases.request(member(layout), tiny[layout], size, "fp32")
    grid, count = video_grid(request.shot, 1), size.frames
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        decoded_frames(video.from_pretrained(tiny[layout] / "vae").eval(), torch.zeros(1, grid.tokens, 8), grid)
    assert taken(request, "picture").run == counter.get_total_flops() > 0
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        sound = audio.from_pretrained(tiny[layout] / "audio_vae").eval()
        decoded_sound(sound, vocoders.from_pretrained(tiny[layout] / "vocoder").eval(), torch.zeros(1, count, 32))
    assert taken(request, "sound").run == counter.get_total_flops() > 0


def test_a_picture_takes_the_memory_of_one_piece_however_long_it_is(tiny: dict[str, Path]) -> None:
    one, two, three = (
        taken(phases.request(member("2.0"), tiny["2.0"], Size(frames, 64, 64), "fp32"), "picture").activations
        for frames in (9, 65, 241)
    )
    assert two > 4 * one
    assert three < 1.5 * two


@layouts_
def test_weights_are_the_bytes_of_the_loaded_networks(
    tiny: dict[str, Path], plans: dict[str, Plan], layout: str
) -> None:
    import diffusers
    import transformers
    from diffusers.pipelines import ltx2

    for part, held in plans[layout].weights.items():
        module, name = layouts.kind(layout, part)  # type: ignore[arg-type]
        library: Any = {"diffusers": diffusers, "transformers": transformers}.get(module, ltx2)
        network = getattr(library, name).from_pretrained(tiny[layout] / part)
        assert held == sum(each.nbytes for each in [*network.parameters(), *network.buffers()]), part


class Fused(TorchFunctionMode):
    """Attention gives nothing but its answer, as on a GPU: no matrix of queries and keys."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is functional.scaled_dot_product_attention:
            query = args[0] if args else kwargs["query"]
            batch, heads, count, width = query.shape
            return query.new_zeros(batch, count, heads, width).transpose(1, 2)
        return func(*args, **kwargs)


@pytest.mark.parametrize("layout", ["2.0", pytest.param("2.3", marks=pytest.mark.slow)])
def test_the_peak_of_a_step_is_that_of_a_step_that_is_metered_as_it_runs(
    tiny: dict[str, Path], plans: dict[str, Plan], layout: str
) -> None:
    network = transformer(tiny[layout])
    what = member(layout)
    with torch.no_grad(), Meter("cpu") as meter, Fused():
        video, sound = streams((3, 1, 2), 17, (8, 32))
        predict = predictor(Driver(network), video, sound, words(network), resolve(terms(what)))
        predict(Latents(video.x, sound.x), 1.0)
    assert phase(plans[layout], "stage one").activations == pytest.approx(meter.peak, rel=0.02)


def test_what_lives_is_followed_until_it_is_gone() -> None:
    given = torch.zeros(10)
    with Meter("cpu") as meter:
        one = given + 1
        two = one.reshape(2, 5) * 2  # a view has no bytes of its own
        assert meter.live == 80
        del one
        gc.collect()
        assert meter.live == 40
        given.mul_(2)
        assert (meter.live, meter.peak) == (40, 80)
        del two
        assert meter.live == 0


def test_operations_are_counted_by_hand() -> None:
    with Meter() as meter:
        torch.empty(3, 4, device="meta") @ torch.empty(4, 5, device="meta")
        assert meter.flops == 2 * 3 * 4 * 5
        query, key = torch.empty(1, 2, 7, 8, device="meta"), torch.empty(1, 2, 9, 8, device="meta")
        torch.nn.functional.scaled_dot_product_attention(query, key, key)
        assert meter.flops == 120 + 2 * 2 * 2 * 7 * 9 * 8
    assert meter.peak < 4 * (3 * 4 + 4 * 5 + 3 * 5 + 2 * 7 * 8 + 2 * 9 * 8 + 2 * 7 * 8) + 1


# What follows --------------------------------------------------------------------------------------------------


def test_the_tiny_model_is_measured_on_a_cpu(tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metering, "ROUNDS", 1)
    one = plan.plan(member("2.0"), tiny["2.0"], 3, Size(9, 64, 64), device="cpu", precision="fp32")
    assert all(each.seconds is not None and each.seconds > 0 for each in one.phases)
    assert one.clip_seconds is not None
    assert one.seconds == pytest.approx(3 * one.clip_seconds + (one.phases[0].seconds or 0))
    assert "s a clip" in text(one)


def test_the_clock_runs_in_the_mode_that_clips_are_made_in(tiny: dict[str, Path]) -> None:
    matmul, seen = torch.backends.cuda.matmul, []
    matmul.allow_tf32 = True

    def seeing(*_: object) -> metering.Measured:
        seen.append(matmul.allow_tf32)
        return metering.Measured(1.0, 1.0, None, "measured")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "measured", seeing)
        plan.plan(member("2.0"), tiny["2.0"], 1, Size(9, 64, 64), device="cpu", precision="fp32")
    assert set(seen) == {False}


def test_nothing_is_measured_where_weights_travel(tiny: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """With a GPU in name alone: trying anything on it would fail."""
    free(monkeypatch, 10**12)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "a GPU")
    found = planned(member("2.0"), tiny["2.0"], memory="offload")
    assert {each.source for each in found.phases} == {plan.TRAVELS}
    assert {each.seconds for each in found.phases} == {None}
    assert found.mode == "offload"


def test_what_is_not_counted_is_said(plans: dict[str, Plan]) -> None:
    """Networks that take turns move where there is another place than the CPU."""
    one = plans["2.0"]
    moving = {
        (mode, device): "bringing networks to the device" in text(one._replace(mode=mode, device=device))
        for mode in ("resident", "staged")
        for device in ("cpu", "a GPU")
    }
    assert [where for where, moves in moving.items() if moves] == [("staged", "a GPU")]


def test_where_memory_ends_nothing_is_measured() -> None:
    place = torch.device("cpu")

    def asking(count: int) -> metering.Begin:
        return lambda _networks, _place: lambda: torch.empty(count, dtype=torch.uint8)

    def broken(_networks: object, _place: object) -> metering.Run:
        raise RuntimeError("sizes do not match")

    found = metering.measured(asking(2**60), dict, place)  # more than there is to address
    assert found == (None, None, None, "unknown: cpu has no room to try it now")
    assert metering.measured(asking(1), dict, place).run is not None
    with pytest.raises(RuntimeError, match="do not match"):
        metering.measured(broken, dict, place)


def test_a_run_that_is_too_long_to_try_has_no_seconds(plans: dict[str, Plan]) -> None:
    assert {each.seconds for each in plans["2.0"].phases} == {None}
    assert plans["2.0"].seconds is None
    assert "unknown without a GPU" in text(plans["2.0"])


def test_lines_for_a_person_are_at_most_a_hundred_columns(plans: dict[str, Plan]) -> None:
    crowded = plans["2.0"]._replace(weights={f"adapter {number}": 10**9 for number in range(20)})
    lines = text(crowded).splitlines()
    assert max(map(len, lines)) <= 100
    assert not any(line.endswith(("adapter", "1.0")) for line in lines)  # an amount keeps its name and its unit


def test_a_plan_without_notes_is_told_too(plans: dict[str, Plan]) -> None:
    said = text(plans["2.0"]._replace(notes=(), device="a GPU"))
    assert "note" not in said
    assert "one memory" in text(plans["2.0"])


def test_passes_that_weigh_nothing_are_in_no_plan(tiny: dict[str, Path]) -> None:
    request = phases.request(member("2.0", identity_scale=1.0), tiny["2.0"], SIZE, "fp32")
    assert phases.works(request)["stage one"].passes == 4


def test_ways_of_holding_weights_hold_less_and_less(plans: dict[str, Plan]) -> None:
    one = plans["2.0"]
    held, of = phase(one, "stage one"), one.weights
    apart = of["text_encoder"] + of["connectors"]
    assert held.memory["resident"] - held.activations == sum(of.values()) - apart
    assert held.memory["staged"] - held.activations == of["transformer"]
    assert phase(one, "text").memory["resident"] - phase(one, "text").activations == apart
    assert held.memory["offload"] < held.memory["staged"] < held.memory["resident"]


@pytest.mark.slow
def test_adapters_of_the_other_stage_wait_elsewhere(published: Plan) -> None:
    of = published.weights
    for name, used in (("stage one", "id"), ("stage two", "distilled")):
        found = phase(published, name)
        assert found.memory["staged"] - found.activations == of["transformer"] + of[used]
        assert found.memory["resident"] - found.activations == sum(of.values()) - of["text_encoder"] - of["connectors"]
    apart = phase(published, "inputs")
    assert apart.memory["staged"] - apart.activations == of["vae"] + of["audio_vae"]


def test_one_block_is_on_the_device_when_they_are_offloaded(tiny: dict[str, Path], plans: dict[str, Plan]) -> None:
    network, found = transformer(tiny["2.0"]), phase(plans["2.0"], "stage one")
    each = [sum(value.nbytes for value in block.parameters()) for block in network.transformer_blocks]
    rest = sum(value.nbytes for value in network.parameters()) - sum(each)
    assert Parts(member("2.0"), tiny["2.0"], "fp32").in_blocks("transformer") == (rest, sum(each), max(each))
    assert found.memory["offload"] - found.activations == rest + each[0]


STORED = {"text_encoder": 24, "connectors": 3, "transformer": 38, "vae": 2, "audio_vae": 1, "vocoder": 1, "id": 4}
BLOCKS = {"text_encoder": (2, 22, 1), "transformer": (6, 36, 1)}
PICTURE = 3 * 17 * 128 * 64
LATENT = 4 * 128 * 3 * 4 * 2  # numbers of 3 frames, a 32nd of the size


@pytest.mark.parametrize(
    ("mode", "device", "unpacked", "networks", "clips"),
    [
        ("resident", "cuda", 42, 42, 1),  # the transformer on its way to the device, with its adapter
        ("resident", "cuda", 20, 24, 1),  # at the size of a smaller one, the text encoder
        ("resident", "cuda", 80, 80, 1),  # at fp8: before it is cast
        ("staged", "cuda", 42, 38 + 2 + 1 + 1 + 4, 16),
        ("offload", "cuda", 42, 38 + 4 + 36, 16),  # the transformer, and its blocks once more
        ("offload", "cuda", 90, 90, 16),
        ("resident", "cpu", 42, 60, 1),
        ("staged", "cpu", 70, 70, 16),
    ],
)
def test_memory_of_the_cpu_is_what_waits_or_is_made_there(
    mode: memory.Mode, device: str, unpacked: int, networks: int, clips: int
) -> None:
    """Networks in units of 10^9 bytes; 60 of them is what runs on a CPU."""
    unit = 10**9
    config = SimpleNamespace(config=SimpleNamespace(in_channels=128))
    parts: Any = SimpleNamespace(
        stored={name: unit * count for name, count in STORED.items()},
        adapters={"id": None},
        unpacked=unit * unpacked,
        in_blocks=lambda part: Blocks(*(unit * count for count in BLOCKS[part])),
        meta=lambda _: config,
    )
    request = phases.request(member("2.0"), None, SIZE, "bf16")._replace(parts=parts)
    found = memory.host_bytes(request, mode, torch.device(device), 60 * unit)
    assert found == networks * unit + clips * LATENT + PICTURE


def free(monkeypatch: pytest.MonkeyPatch, count: int | None) -> None:
    """As if a GPU were there, with so many bytes."""
    monkeypatch.setattr(memory, "_free", lambda _: count)
    monkeypatch.setattr(plan, "engine_of", lambda _: SimpleNamespace(device="cuda:0"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("count", "mode", "why"),
    [
        (80e9, "resident", "the first that fits into 90% of 80.0 GB free"),
        (60e9, "staged", "the first that fits into 90% of 60.0 GB free; resident needs 56.5 GB"),
        (24e9, "offload", "90% of 24.0 GB free; resident needs 56.5 GB; staged needs 51.5 GB"),
        (8e9, "offload", "nothing fits: it needs 8.2 GB of 8.0 GB free"),
    ],
)
def test_auto_is_the_first_way_that_fits(
    published: Plan, monkeypatch: pytest.MonkeyPatch, count: float, mode: str, why: str
) -> None:
    free(monkeypatch, int(count))
    taken, said = memory.chosen("auto", [each.memory for each in published.phases], torch.device("cuda"))
    assert taken == mode
    assert why in said
    asked, said = memory.chosen("resident", [each.memory for each in published.phases], torch.device("cuda"))
    assert asked == "resident"
    assert ("though it needs 56.5 GB" in said) == (mode != "resident")


def test_what_is_chosen_is_what_is_planned(
    tiny: dict[str, Path], plans: dict[str, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the byte: one less, and another way is taken."""
    needed = [each.memory for each in plans["2.0"].phases]
    enough = math.ceil(plans["2.0"].memory["resident"] / Fraction(9, 10))
    free(monkeypatch, enough)
    assert memory.chosen("auto", needed, torch.device("cuda"))[0] == "resident"
    free(monkeypatch, enough - 2)
    found = plan.choose(member("2.0"), tiny["2.0"], SIZE, precision="fp32")
    assert found == memory.chosen("auto", needed, torch.device("cuda"))
    assert found[0] == "staged"


def test_on_a_cpu_networks_that_wait_take_room_too(monkeypatch: pytest.MonkeyPatch) -> None:
    needed: list[dict[memory.Mode, int]] = [{"resident": 90, "staged": 50, "offload": 10}]
    monkeypatch.setattr(memory, "_free", lambda _: 99)
    assert memory.chosen("auto", needed, torch.device("cpu"))[1].startswith("though nothing fits: it needs 0.1 kB")
    assert memory.chosen("auto", needed, torch.device("cuda"))[0] == "staged"
    assert memory.chosen("resident", needed, torch.device("cuda")) == (
        "resident",
        "as asked for, though it needs 0.1 kB of 0.1 kB free",
    )


def test_an_adapter_is_weighed_and_counted(tiny: dict[str, Path], plans: dict[str, Plan], tmp_path: Path) -> None:
    """Rank r on a layer of a x b costs 2 r (a + b) more operations a token, and r (a + b) numbers."""
    from safetensors.torch import save_file

    name = "transformer_blocks.{}.audio_ff.net.0.proj"
    tensors = {}
    for block in range(4):
        tensors[f"diffusion_model.{name.format(block)}.lora_A.weight"] = torch.ones(3, 16)
        tensors[f"diffusion_model.{name.format(block)}.lora_B.weight"] = torch.ones(64, 3)
    save_file(tensors, tmp_path / "lora.safetensors")
    bare = member("2.0")
    adapted = msgspec.structs.replace(bare, stage_one={"id": Adapter("2.0", path=str(tmp_path / "lora.safetensors"))})
    found, plain = planned(adapted, tiny["2.0"]), plans["2.0"]
    assert found.weights["id"] == 4 * 4 * 3 * (16 + 64)
    assert found.weights["transformer"] == plain.weights["transformer"]
    tokens = 17 + VOICE
    extra = phase(found, "stage one").flops - phase(plain, "stage one").flops
    read = (3 * 4 + 2) * tokens + 4 * 17  # four blocks a pass, two after the third, four without the voice
    assert extra == 2 * read * 2 * 3 * (16 + 64)
    assert phase(found, "stage two").flops == phase(plain, "stage two").flops


def test_one_that_is_neither_here_nor_known_is_refused(tiny: dict[str, Path]) -> None:
    lost = msgspec.structs.replace(member("2.0"), stage_one={"id": Adapter("2.0", path="nowhere.safetensors")})
    with pytest.raises(WeightsError, match="no such adapter file"):
        planned(lost, tiny["2.0"])


def test_a_file_that_is_no_adapter_is_refused(tiny: dict[str, Path], tmp_path: Path) -> None:
    from safetensors.torch import save_file

    file = tmp_path / "lora.safetensors"
    adapted = msgspec.structs.replace(member("2.0"), stage_one={"id": Adapter("2.0", path=str(file))})
    file.write_bytes(b"not tensors")
    with pytest.raises(WeightsError, match="expected a LoRA as safetensors"):
        planned(adapted, tiny["2.0"])
    save_file({"proj_in.lora_A.weight": torch.ones(2, 2)}, file)
    with pytest.raises(WeightsError, match="of any transformer block"):
        planned(adapted, tiny["2.0"])


def test_requests_that_cannot_be_met_are_refused(tiny: dict[str, Path], tmp_path: Path) -> None:
    what = member("2.0")
    with pytest.raises(UsageError, match="expected 8 k \\+ 1"):
        planned(what, tiny["2.0"], size=Size(16, 128, 128))
    with pytest.raises(UsageError, match="at least one"):
        planned(what, tiny["2.0"], clips=0)
    with pytest.raises(UsageError, match="offload"):
        planned(what, tiny["2.0"], memory="ofload")
    with pytest.raises(WeightsError, match=r"config\.json"):
        planned(what, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["ltx-zeroshot", "just-dub-it", "idlora-onestage"])
def test_relatives_are_planned(tiny: dict[str, Path], name: str) -> None:
    options = {} if name == "just-dub-it" else {"steps": 2}
    found = planned(recipe(name, model="tiny", **options), tiny["2.0"], size=Size(9, 64, 64))
    assert found.calls == phase(found, "stage one").calls + 2 * (name == "just-dub-it") + 3 * (name == "ltx-zeroshot")
    assert all(each.flops > 0 and each.activations > 0 for each in found.phases)
    assert text(found).startswith(f"{name} (LTX-2.0): 3 clips of 9 frames at 64 x 64")


# The published size --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "part", "millions"),
    [
        pytest.param("2.0", "transformer", 18_876, marks=pytest.mark.slow),
        pytest.param("2.3", "transformer", 18_989, marks=pytest.mark.slow),
        pytest.param("2.0", "connectors", 1_431, marks=pytest.mark.slow),
        ("2.3", "connectors", 3_172),
        pytest.param("2.0", "vae", 1_222, marks=pytest.mark.slow),
        pytest.param("2.3", "vae", 726, marks=pytest.mark.slow),
        ("2.0", "audio_vae", 53),
        pytest.param("2.0", "vocoder", 56, marks=pytest.mark.slow),
        pytest.param("2.3", "vocoder", 129, marks=pytest.mark.slow),
        pytest.param("2.3", "latent_upsampler", 498, marks=pytest.mark.slow),
        pytest.param("2.0", "text_encoder", 12_187, marks=pytest.mark.slow),
    ],
)
def test_published_networks_have_their_number_of_parameters(layout: Any, part: Any, millions: int) -> None:
    network = layouts.build(layout, part)
    assert round(sum(each.numel() for each in network.parameters()) / 1e6) == millions
    assert {each.device.type for each in network.parameters()} == {"meta"}


TABLE = {  # TFLOP of a call over 512 and 1024 pixels: with the voice, without, isolated, from block 29 on
    "2.0": ((131.0, 129.6, 116.6, 51.9), (663.7, 661.1, 607.3, 262.7)),
    "2.3": ((130.5, 129.0, 116.0, 51.9), (661.9, 659.3, 605.4, 262.7)),
}
KINDS = (
    FULL,
    FULL._replace(without=(IDENTITY,)),
    FULL._replace(isolate=True),
)


def full_size(layout: str, pixels: int, passes: tuple[Pass, ...]) -> Metered:
    what = recipe("idlora-onestage" if layout == "2.0" else "idlora-2.3")
    what = msgspec.structs.replace(what, stage_one={}, stage_two={}, refine=())
    request = phases.request(what, None, Size(121, pixels, pixels), "bf16")
    begin = phases._stage(request, passes, first=True)
    return metered(begin, {"transformer": request.parts.meta("transformer")})


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [512, 1024])
@layouts_
def test_a_call_at_full_size_takes_the_operations_that_are_known(layout: str, pixels: int) -> None:
    known = TABLE[layout][pixels == 1024]
    for each, expected in zip(KINDS, known[:3], strict=True):
        found = full_size(layout, pixels, (each,))
        assert (found.begun + found.run) / 1e12 == pytest.approx(expected, rel=0.01), each


def shared(layout: str, tokens: int) -> float:
    """TFLOP of the modulation of the picture's tokens: two layers and six, four and one times the width; 2.3 has nine,
    and one token for the others."""
    wide = 4096
    own = 256 * wide + wide**2 * (1 + (6 if layout == "2.0" else 9))
    cross = (256 * wide + wide**2 * (1 + 4)) + (256 * wide + wide**2 * (1 + 1)) if layout == "2.0" else 0
    return 2 * tokens * (own + cross) / 1e12


@pytest.mark.slow
@pytest.mark.parametrize("pixels", [512, 1024])
@layouts_
def test_from_a_later_block_on_only_what_follows_is_run(layout: str, pixels: int) -> None:
    """19 of 48 blocks of a whole call (51.9 and 262.7 TFLOP with their part of the modulation, which is there already);
    without values' weights in one of them in 2.3: two projections, and attention."""
    how: Literal["residual", "value"] = "residual" if layout == "2.0" else "value"
    skipping = FULL._replace(name="stg", skip=Skip((29,), how))
    tail = full_size(layout, pixels, (FULL, skipping)).run - full_size(layout, pixels, (FULL,)).run
    tokens = 16 * (pixels // 32) ** 2
    blocks = (TABLE[layout][pixels == 1024][0] - shared(layout, tokens)) * 19 / 48
    spared = 0.0 if layout == "2.0" else (4 * tokens * 4096**2 + 4 * tokens**2 * 4096) / 1e12
    assert tail / 1e12 == pytest.approx(blocks - spared, rel=0.005)
    assert tail / 1e12 == pytest.approx(TABLE[layout][pixels == 1024][3], rel=0.04)


@pytest.mark.slow
def test_a_step_at_full_size_takes_the_operations_of_its_calls_less_what_they_share() -> None:
    """560 TFLOP as five separate calls; what the noise level makes of the picture's tokens is the same in all."""
    step = full_size("2.0", 512, resolve(IDLORA)).run / 1e12
    assert step + 3 * shared("2.0", 4096) == pytest.approx(560.1, rel=0.005)
    assert step < 560.1


@pytest.mark.slow
def test_a_step_at_full_size_lives_in_the_memory_that_is_known() -> None:
    assert full_size("2.0", 512, resolve(IDLORA)).activations == pytest.approx(1.5e9, rel=0.15)
    assert full_size("2.0", 1024, (FULL,)).activations == pytest.approx(6e9, rel=0.15)


@pytest.mark.slow
def test_the_published_model_is_planned_without_a_file_of_it(published: Plan) -> None:
    assert published.calls == 30 * 5 + 3
    assert published.weights["id"] == pytest.approx(1.158e9, rel=0.001)
    assert published.weights["distilled"] == pytest.approx(7.6e9, rel=0.01)
    assert published.weights["transformer"] == pytest.approx(37.75e9, rel=0.001)
    assert published.disk_bytes == pytest.approx(
        2 * (18.876 + 1.431 + 1.222 + 0.109 + 0.498 + 12.187) * 1e9 + 8.7e9, rel=0.002
    )
    assert published.seconds is None
    said = text(published)
    assert "unknown without a GPU" in said
    assert "PFLOP a clip" in said


@pytest.mark.slow
def test_layers_at_fp8_take_half(published: Plan) -> None:
    half = Parts(recipe("idlora"), None, "fp8")
    assert half.stored["transformer"] == pytest.approx(published.weights["transformer"] / 2, rel=0.05)
    assert half.unpacked == sum(published.weights[name] for name in ("transformer", "id", "distilled"))
