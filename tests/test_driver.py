"""The driver against the transformer's own `forward`, and its masks against attention written out in full."""

from __future__ import annotations

import copy
import hashlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from avbench.errors import NotFinite, UsageError
from avbench.generator.context import Context, Rule, Stream, across, kept, noised, prompted, state, within, without
from avbench.generator.driver import Driver, Text
from avbench.generator.guidance import Pass, Skip
from avbench.generator.positions import audio_positions, before, video_positions
from avbench.generator.tiny import save_tiny

LAYOUTS: tuple[Literal["2.0", "2.3"], ...] = ("2.0", "2.3")
GRID, SOUND, REFERENCE, WORDS = (3, 2, 2), 9, 5, 16
FPS, SIGMA = 25.0, 0.7
PLAIN = Pass("full", "positive", (), None, False, 1.0, 1.0)

layouts = pytest.mark.parametrize("layout", LAYOUTS)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    torch.manual_seed(1)
    return {layout: save_tiny(tmp_path_factory.mktemp("tiny"), layout) for layout in LAYOUTS}


@pytest.fixture(scope="module")
def drivers(tiny: dict[str, Path]) -> dict[str, Driver]:
    from diffusers import LTX2VideoTransformer3DModel

    model: Any = LTX2VideoTransformer3DModel
    return {layout: Driver(model.from_pretrained(tiny[layout] / "transformer")) for layout in LAYOUTS}


@pytest.fixture(autouse=True)
def _sampling() -> Iterator[None]:
    with torch.no_grad():
        yield


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def streams(rule: Rule = Rule(), strength: float = 1.0) -> tuple[Stream, Stream]:  # noqa: B008 # immutable
    """A video with a given first frame, and a sound with a reference before it."""
    tokens = math.prod(GRID)
    mask = torch.ones(1, tokens)
    mask[:, : GRID[1] * GRID[2]] = 0
    clean = drawn(1, tokens, 8, seed=1) * (1 - mask)[..., None]
    voice = Context(
        "identity", "audio", drawn(1, REFERENCE, 32, seed=2), before(audio_positions(REFERENCE)), strength, rule
    )
    video = state("video", clean, mask, video_positions(*GRID, FPS), [voice])
    audio = state("audio", torch.zeros(1, SOUND, 32), torch.ones(1, SOUND), audio_positions(SOUND), [voice])
    return noised(video, drawn(*video.x.shape, seed=3), SIGMA), noised(audio, drawn(*audio.x.shape, seed=4), SIGMA)


def prompt(driver: Driver, seed: int = 5) -> Text:
    return Text(drawn(1, WORDS, 32, seed=seed), drawn(1, WORDS, 32 if driver.layout == "2.0" else 16, seed=seed + 1))


def run(driver: Driver, video: Stream, audio: Stream, how: Pass = PLAIN) -> tuple[Tensor, Tensor]:
    scene = driver.scene(video, audio, WORDS)
    moment = driver.moment(scene, SIGMA)
    hidden, _ = driver.through(driver.enter(video.x, audio.x), moment, driver.read(prompt(driver)), how)
    return driver.leave(hidden, moment)


def forward(
    driver: Driver, video: Stream, audio: Stream, dtype: torch.dtype = torch.float32, **more: Any
) -> tuple[Tensor, Tensor]:
    """The same by the model's own method."""
    words = prompt(driver)
    sigma = torch.tensor([SIGMA]) * 1000
    found: tuple[Tensor, Tensor] = driver.transformer(
        hidden_states=video.x.to(dtype),
        audio_hidden_states=audio.x.to(dtype),
        encoder_hidden_states=words.video.to(dtype),
        audio_encoder_hidden_states=words.audio.to(dtype),
        timestep=video.mask * SIGMA * 1000,
        audio_timestep=audio.mask * SIGMA * 1000,
        sigma=sigma,
        audio_sigma=sigma,
        video_coords=video.positions,
        audio_coords=audio.positions,
        use_cross_timestep=driver.layout == "2.3",
        return_dict=False,
        **more,
    )
    return found


def same(found: tuple[Tensor, Tensor], expected: tuple[Tensor, Tensor]) -> bool:
    return all(torch.equal(one, other) for one, other in zip(found, expected, strict=True))


def far(found: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    return max(float((one - other).abs().max()) for one, other in zip(found, expected, strict=True))


# As the model itself -------------------------------------------------------------------------------------------


@layouts
def test_a_conditioned_pass_is_bit_for_bit_the_models_forward(drivers: dict[str, Driver], layout: str) -> None:
    video, audio = streams()
    assert same(run(drivers[layout], video, audio), forward(drivers[layout], video, audio))


@layouts
def test_an_isolated_pass_is_bit_for_bit_the_models_forward(drivers: dict[str, Driver], layout: str) -> None:
    video, audio = streams()
    found = run(drivers[layout], video, audio, PLAIN._replace(isolate=True))
    assert same(found, forward(drivers[layout], video, audio, isolate_modalities=True))
    assert far(found, run(drivers[layout], video, audio)) > 1e-2


@layouts
def test_a_pass_without_reference_is_bit_for_bit_the_models_forward(drivers: dict[str, Driver], layout: str) -> None:
    video, audio = streams()
    alone = state("audio", torch.zeros(1, SOUND, 32), torch.ones(1, SOUND), audio_positions(SOUND))
    found = run(drivers[layout], without(video, ["identity"]), without(audio, ["identity"]))
    assert same(found, forward(drivers[layout], video, alone._replace(x=audio.x[:, :SOUND])))
    assert far((found[0],), (run(drivers[layout], video, audio)[0],)) > 1e-3


def test_skipping_by_value_is_bit_for_bit_the_models_forward(drivers: dict[str, Driver]) -> None:
    video, audio = streams()
    found = run(drivers["2.3"], video, audio, PLAIN._replace(skip=Skip((1, 2), "value")))
    assert same(found, forward(drivers["2.3"], video, audio, spatio_temporal_guidance_blocks=[1, 2]))
    assert far(found, run(drivers["2.3"], video, audio)) > 1e-2


@layouts
def test_skipping_the_residual_is_a_model_whose_self_attention_gives_zeros(
    drivers: dict[str, Driver], layout: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = drivers[layout]
    video, audio = streams()
    found = run(driver, video, audio, PLAIN._replace(skip=Skip((2,), "residual")))
    assert far(found, run(driver, video, audio)) > 1e-2
    for attention in (driver.blocks[2].attn1, driver.blocks[2].audio_attn1):
        monkeypatch.setattr(attention, "forward", lambda hidden_states, **_: torch.zeros_like(hidden_states))
    assert same(found, forward(driver, video, audio))


@pytest.mark.parametrize(("layout", "how"), [("2.0", "residual"), ("2.3", "residual"), ("2.3", "value")])
@pytest.mark.parametrize("blocks", [(0,), (2,), (1, 3)])
def test_beginning_at_the_skipped_block_is_bit_for_bit_the_whole_pass(
    drivers: dict[str, Driver], layout: str, how: Literal["residual", "value"], blocks: tuple[int, ...]
) -> None:
    driver, skipping = drivers[layout], PLAIN._replace(skip=Skip(blocks, how))
    video, audio = streams()
    moment = driver.moment(driver.scene(video, audio, WORDS), SIGMA)
    read, entry = driver.read(prompt(driver)), driver.enter(video.x, audio.x)
    _, inputs = driver.through(entry, moment, read, PLAIN, keep={min(blocks)})
    assert list(inputs) == [min(blocks)]
    later, _ = driver.through(inputs[min(blocks)], moment, read, skipping, start=min(blocks))
    whole, _ = driver.through(entry, moment, read, skipping)
    assert same(later, whole)


def test_no_hook_stays_behind(drivers: dict[str, Driver]) -> None:
    driver = drivers["2.0"]
    video, audio = streams(Rule(cross="target_pairs", text="none"))
    run(driver, video, audio, PLAIN._replace(skip=Skip((1,), "residual")))
    assert not [name for name, module in driver.transformer.named_modules() if module._forward_hooks]


@pytest.mark.slow
def test_compiled_blocks_lose_nothing_that_they_are_asked_to_lose(tiny: dict[str, Path]) -> None:
    import diffusers

    library: Any = diffusers
    model = library.LTX2VideoTransformer3DModel.from_pretrained(tiny["2.0"] / "transformer").eval()
    driver = Driver(model.requires_grad_(False))
    video, audio = streams(Rule(text="none"))
    skipping = PLAIN._replace(skip=Skip((1,), "residual"))
    expected = [run(driver, video, audio, how) for how in (PLAIN, skipping)]
    model.compile_repeated_blocks(backend="eager")
    found = [run(driver, video, audio, how) for how in (PLAIN, skipping)]
    assert [far(one, other) for one, other in zip(found, expected, strict=True)] == pytest.approx([0, 0], abs=1e-5)
    assert far(*found) > 1e-3


@layouts
def test_a_given_stream_tells_the_level_or_zero(drivers: dict[str, Driver], layout: str) -> None:
    """In 2.0 every token tells its own, so that there the choice means nothing."""
    video, audio = streams()
    held = without(audio, ["identity"])._replace(mask=torch.zeros(1, SOUND))
    current = run(drivers[layout], video, held)
    zero = run(Driver(drivers[layout].transformer, frozen_sigma="zero"), video, held)
    assert same(current, forward(drivers[layout], video, held))
    assert same(current, zero) is (layout == "2.0")


@layouts
def test_a_moment_may_be_taken_from_another_with_the_same_stream(drivers: dict[str, Driver], layout: str) -> None:
    driver = drivers[layout]
    video, audio = streams()
    first = driver.moment(driver.scene(video, audio, WORDS), SIGMA)
    scene = driver.scene(without(video, ["identity"]), without(audio, ["identity"]), WORDS)
    taken, own = driver.moment(scene, SIGMA, like=first), driver.moment(scene, SIGMA)
    assert taken.last["video"] is first.last["video"]
    assert taken.told.keys() == own.told.keys()
    for name, value in own.told.items():
        assert (taken.told[name] is None) if value is None else torch.equal(taken.told[name], value)


@layouts
def test_the_order_of_tokens_means_nothing(drivers: dict[str, Driver], layout: str) -> None:
    video, audio = streams()
    turned = [torch.randperm(len(stream.x[0]), generator=torch.Generator().manual_seed(8)) for stream in (video, audio)]
    mixed = [
        stream._replace(
            x=stream.x[:, order], mask=stream.mask[:, order], positions=stream.positions[:, :, order], groups=()
        )
        for stream, order in zip((video, audio), turned, strict=True)
    ]
    expected = run(drivers[layout], video, audio)
    found = run(drivers[layout], mixed[0], mixed[1])
    scale = max(float(one.abs().max()) for one in expected)
    assert far(found, tuple(one[:, order] for one, order in zip(expected, turned, strict=True))) < 1e-6 * scale


@layouts
def test_weights_may_be_stored_in_eight_bits(tiny: dict[str, Path], layout: str) -> None:
    """The driver calls layers itself, and they are widened as they are in the model's forward."""
    from diffusers import LTX2VideoTransformer3DModel

    model: Any = LTX2VideoTransformer3DModel
    transformer = model.from_pretrained(tiny[layout] / "transformer", torch_dtype=torch.bfloat16)
    transformer.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    assert transformer.transformer_blocks[0].attn1.to_q.weight.dtype == torch.float8_e4m3fn
    video, audio = streams()
    expected = forward(Driver(transformer), video, audio, dtype=torch.bfloat16)
    found = run(Driver(transformer), video, audio)
    assert {part.dtype for part in found} == {torch.float32}
    assert same(found, (expected[0].float(), expected[1].float()))


def test_what_a_transformer_cannot_skip_is_refused(drivers: dict[str, Driver]) -> None:
    with pytest.raises(UsageError, match=r"ignore in silence: use \"residual\""):
        run(drivers["2.0"], *streams(), PLAIN._replace(skip=Skip((1,), "value")))
    with pytest.raises(UsageError, match=r"blocks \[29\]; the transformer has 4: name one or more of 0 to 3"):
        run(drivers["2.3"], *streams(), PLAIN._replace(skip=Skip((29,), "residual")))


# Masks ---------------------------------------------------------------------------------------------------------


class Dense:
    """Attention in float64 with a weight for every query and key; a row of zeros gives zero, `flat` ones the mean."""

    def __init__(self, weights: Tensor, flat: Tensor | None = None) -> None:
        self.weights, self.flat = weights.double(), flat

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        query_rotary_emb: Any = None,
        key_rotary_emb: Any = None,
        perturbation_mask: Any = None,
        all_perturbed: Any = None,
    ) -> Tensor:
        from diffusers.models.transformers.transformer_ltx2 import apply_split_rotary_emb as turn

        assert attention_mask is None
        source = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        query, key = attn.norm_q(attn.to_q(hidden_states)), attn.norm_k(attn.to_k(source))
        if query_rotary_emb is not None:
            rotary: Any = turn
            query = rotary(query, query_rotary_emb)
            key = rotary(key, query_rotary_emb if key_rotary_emb is None else key_rotary_emb)
        query, key, value = (
            part.double().unflatten(-1, (attn.heads, -1)).transpose(1, 2) for part in (query, key, attn.to_v(source))
        )
        logits = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        if self.flat is not None:
            logits[:, :, self.flat] = 0
        shares = self.weights * logits.exp()
        shares = shares / shares.sum(-1, keepdim=True).clamp(min=1e-300)
        answer = (shares @ value).transpose(1, 2)
        if attn.to_gate_logits is not None:
            answer = answer * (2 * torch.sigmoid(attn.to_gate_logits(hidden_states)))[..., None]
        found: Tensor = attn.to_out[0](answer.flatten(2).float()) * (self.weights.sum(-1) > 0)[:, None]
        return found


class Token(NamedTuple):
    owner: int  # 0 the target
    mask: float
    rule: Rule


def tokens(stream: Stream) -> list[Token]:
    found = [Token(0, float(mask), Rule()) for mask in stream.mask[0]]
    for number, group in enumerate(stream.groups, start=1):
        for index in range(group.span.start, group.span.stop):
            found[index] = found[index]._replace(owner=number, rule=group.rule)
    return found


def weight_within(query: Token, key: Token, all_one: bool) -> float:
    if query.owner == key.owner or all_one:
        return 1.0
    if query.owner and key.owner:
        return 0.0
    return (query if query.owner else key).rule.self_weight


def weight_across(query: Token, key: Token, pairs: bool) -> float:
    if pairs:
        return float(query.mask == key.mask == 1)
    return float(key.rule.cross == "all")


def densely(driver: Driver, video: Stream, audio: Stream) -> tuple[Tensor, Tensor]:
    """The model's forward with every attention replaced by one that is told each weight."""
    model = copy.deepcopy(driver.transformer)
    seen, heard = tokens(video), tokens(audio)
    pairs = any(token.rule.cross == "target_pairs" for token in seen + heard)
    for block in model.transformer_blocks:
        for row, own, text in ((seen, block.attn1, block.attn2), (heard, block.audio_attn1, block.audio_attn2)):
            one = all(token.rule.self_weight == 1 for token in row)
            own.processor = Dense(torch.tensor([[weight_within(query, key, one) for key in row] for query in row]))
            flat = torch.tensor([token.rule.text == "mean" for token in row])
            read = torch.tensor([[float(token.rule.text != "none")] * WORDS for token in row])
            text.processor = Dense(read, flat)
        for queries, keys, between in (
            (seen, heard, block.audio_to_video_attn),
            (heard, seen, block.video_to_audio_attn),
        ):
            between.processor = Dense(
                torch.tensor([[weight_across(query, key, pairs) for key in keys] for query in queries])
            )
    return forward(Driver(model), video, audio)


def with_references(*rules: tuple[Literal["audio", "video"], Rule], given: bool = True) -> tuple[Stream, Stream]:
    """Target and references of a video of 12 tokens and a sound of 9, noised; `given`: with a first frame."""
    contexts = []
    for number, (kind, rule) in enumerate(rules):
        if kind == "video":
            context = Context(
                f"r{number}", kind, drawn(1, 12, 8, seed=20 + number), video_positions(*GRID, FPS), 1.0, rule
            )
        else:
            context = Context(f"r{number}", kind, drawn(1, 9, 32, seed=20 + number), audio_positions(9), 1.0, rule)
        contexts.append(context)
    mask = torch.ones(1, 12)
    mask[:, :4] = 0 if given else 1
    clean = drawn(1, 12, 8, seed=1) * (1 - mask)[..., None]
    video = state("video", clean, mask, video_positions(*GRID, FPS), contexts)
    audio = state("audio", torch.zeros(1, 9, 32), torch.ones(1, 9), audio_positions(9), contexts)
    return noised(video, drawn(*video.x.shape, seed=3), SIGMA), noised(audio, drawn(*audio.x.shape, seed=4), SIGMA)


PAIRS, HALF = Rule(cross="target_pairs"), Rule(self_weight=0.5)
CASES: dict[str, tuple[tuple[Literal["audio", "video"], Rule], ...]] = {
    "id-lora": (("audio", Rule()),),
    "id-lora in training": (("audio", Rule(cross="targets", text="mean")),),
    "cut from the prompt": (("audio", Rule(cross="targets", text="none")), ("video", Rule(text="none"))),
    "just-dub-it": (("video", PAIRS), ("audio", PAIRS)),
    "avcontrol": (("video", HALF),),
    "two controls": (
        ("video", HALF),
        ("video", Rule(cross="targets")),
        ("audio", Rule(self_weight=0.0, cross="targets")),
    ),
}


@layouts
@pytest.mark.parametrize("case", CASES)
def test_rules_are_what_attention_with_every_weight_written_out_gives(
    drivers: dict[str, Driver], layout: str, case: str
) -> None:
    video, audio = with_references(*CASES[case])
    found = run(drivers[layout], video, audio)
    assert far(found, densely(drivers[layout], video, audio)) < 1e-5
    if case != "id-lora":
        plain = with_references(*((kind, Rule()) for kind, _ in CASES[case]))
        assert far(found, run(drivers[layout], *plain)) > 1e-3


def test_nothing_masked_means_no_mask() -> None:
    """Else fused attention would not be used."""
    for streams_of in (with_references(("audio", Rule())), with_references(("video", Rule()), given=False)):
        for one, other in (streams_of, streams_of[::-1]):
            assert within(one, torch.float32) == prompted(one, WORDS, torch.float32) == (None, None)
            assert across(one, other, torch.float32) == (None, None)


@layouts
def test_streams_without_generated_tokens_get_nothing_in_pairs(drivers: dict[str, Driver], layout: str) -> None:
    """All keys blocked, which softmax alone would turn into a mean."""
    video, audio = with_references(("video", PAIRS))
    audio = audio._replace(mask=torch.zeros_like(audio.mask))
    found, isolated = (run(drivers[layout], video, audio, PLAIN._replace(isolate=off)) for off in (False, True))
    assert same(found, isolated)


@pytest.mark.parametrize(("weight", "share"), [(1.0, 1 / 2), (0.5, 1 / 3), (0.25, 1 / 5), (0.0, 0.0)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_weight_is_the_share_of_a_reference_that_fits_as_well(
    weight: float, share: float, dtype: torch.dtype
) -> None:
    """w / (1 + w) for one token of each; another reference makes the mask, were it not there at w = 1."""
    place = audio_positions(1)
    contexts = [
        Context(name, "audio", torch.zeros(1, 1, 32), place, rule=Rule(self_weight=its))
        for name, its in (("a", weight), ("b", 0.0))
    ]
    stream = state("audio", torch.zeros(1, 1, 32), torch.ones(1, 1), place, contexts)
    bias = within(stream, dtype).bias
    assert bias is not None
    shares = bias.double().softmax(-1)[0]
    assert shares[0].tolist() == pytest.approx([1 - share, share, 0], abs=2e-3 if dtype == torch.bfloat16 else 1e-7)
    assert shares[2].tolist() == [0, 0, 1]


@layouts
def test_less_weight_is_nearer_to_no_reference_and_none_is_there(drivers: dict[str, Driver], layout: str) -> None:
    alone = with_references()
    expected = run(drivers[layout], *alone)
    apart = []
    for weight in (1.0, 0.5, 0.0):
        found = run(drivers[layout], *with_references(("audio", Rule(weight, cross="targets"))))
        apart.append(far((found[0], found[1][:, :9]), expected))
    assert apart[0] > apart[1] > 1e-3 > 2e-6 > apart[2]


# Streams -------------------------------------------------------------------------------------------------------


@given(counts=st.lists(st.integers(1, 4), max_size=4), left=st.sets(st.integers(0, 4)))
def test_leaving_out_is_never_having_been_given(counts: list[int], left: set[int]) -> None:
    contexts = [
        Context(str(number), "audio", drawn(1, count, 32, seed=number), audio_positions(count), 0.75, Rule(0.5))
        for number, count in enumerate(counts)
    ]
    target = drawn(1, 3, 32), torch.ones(1, 3), audio_positions(3)
    whole = state("audio", *target, contexts)
    rest = state("audio", *target, [context for context in contexts if int(context.group) not in left])
    found = without(whole, {str(number) for number in left})
    assert found.names == rest.names
    assert found.targets == whole.targets == 3
    assert [group.span for group in found.groups] == [group.span for group in rest.groups]
    assert all(torch.equal(one, other) for one, other in zip(found[:4], rest[:4], strict=True))
    places = kept(whole, {str(number) for number in left})
    assert (found is whole) is (places is None) is (not left & set(range(len(counts))))


def test_noise_is_where_tokens_are_generated_and_as_much_as_they_are() -> None:
    video, audio = with_references(("audio", Rule()))
    assert torch.equal(video.x[:, :4], video.clean[:, :4])
    assert torch.equal(audio.x[:, 9:], audio.clean[:, 9:])
    weaker = Context("r", "audio", drawn(1, 2, 32), audio_positions(2), strength=0.75)
    stream = state("audio", torch.zeros(1, 3, 32), torch.ones(1, 3), audio_positions(3), [weaker])
    assert stream.mask.tolist() == [[1, 1, 1, 0.25, 0.25]]
    noise = drawn(1, 5, 32, seed=9)
    expected = 0.5 * 0.25 * noise[:, 3:] + (1 - 0.5 * 0.25) * weaker.tokens
    assert torch.allclose(noised(stream, noise, 0.5).x[:, 3:], expected)


def test_positions_keep_their_precision() -> None:
    """Rotary tables of rounded positions are formed in bfloat16."""
    place = video_positions(*GRID, FPS).bfloat16()
    assert state("video", torch.zeros(1, 12, 8), torch.ones(1, 12), place).positions.dtype == torch.bfloat16


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "width": ({"tokens": torch.zeros(1, 2, 16)}, r"\(1, 2, 16\), expected \(1, tokens, 32\)"),
    "empty": ({"tokens": torch.zeros(1, 0, 32), "positions": torch.zeros(1, 1, 0, 2)}, r"expected \(1, tokens, 32\)"),
    "batch": ({"tokens": torch.zeros(2, 2, 32)}, r"\(2, 2, 32\), expected"),
    "places": ({"positions": torch.zeros(1, 3, 2, 2)}, r"\(1, 3, 2, 2\), expected \(1, 1, 2, 2\)"),
    "nan": ({"tokens": torch.full((1, 2, 32), math.nan)}, "not finite; expected none"),
    "strength": ({"strength": 1.5}, "strength 1.5, expected 0 to 1"),
    "weight": ({"rule": Rule(self_weight=-0.1)}, "self_weight -0.1, expected at least 0"),
    "nan weight": ({"rule": Rule(self_weight=math.nan)}, "self_weight nan"),
    "twice": ({"group": "voice"}, "two contexts of the audio stream are of group 'voice'"),
}


@pytest.mark.parametrize("case", BAD)
def test_contexts_that_do_not_fit_are_refused(case: str) -> None:
    changed, message = BAD[case]
    good = Context("voice", "audio", torch.zeros(1, 2, 32), audio_positions(2))
    bad = good._replace(**{"group": "other", **changed})
    with pytest.raises(NotFinite if case == "nan" else UsageError, match=message):
        state("audio", torch.zeros(1, 3, 32), torch.ones(1, 3), audio_positions(3), [good, bad])


def test_masks_and_noise_of_another_shape_are_refused() -> None:
    with pytest.raises(UsageError, match=r"mask of the audio target is \(1, 4\), expected \(1, 3\)"):
        state("audio", torch.zeros(1, 3, 32), torch.ones(1, 4), audio_positions(3))
    with pytest.raises(UsageError, match=r"outside 0 \(given\) to 1 \(generate\)"):
        state("audio", torch.zeros(1, 3, 32), torch.full((1, 3), 2.0), audio_positions(3))
    stream = state("audio", torch.zeros(1, 3, 32), torch.ones(1, 3), audio_positions(3))
    with pytest.raises(UsageError, match=r"noise is \(1, 2, 32\), expected one number for each of \(1, 3, 32\)"):
        noised(stream, torch.zeros(1, 2, 32))


# Tiny ----------------------------------------------------------------------------------------------------------


@layouts
def test_tiny_generators_are_the_same_bytes_every_time(
    layout: Literal["2.0", "2.3"], tiny: dict[str, Path], tmp_path: Path
) -> None:
    def digests(folder: Path) -> dict[str, str]:
        files = (path for path in sorted(folder.rglob("*")) if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    torch.manual_seed(2)
    first = digests(tiny[layout])
    assert digests(save_tiny(tmp_path / "again", layout)) == first
    weights = {name.split("/")[0] for name in first if name.endswith(".safetensors")}
    assert weights == {"audio_vae", "connectors", "latent_upsampler", "text_encoder", "transformer", "vae", "vocoder"}
    assert sum(path.stat().st_size for path in tiny[layout].rglob("*")) < 10e6


@layouts
def test_tiny_generators_have_the_real_sizes_that_other_code_relies_on(tiny: dict[str, Path], layout: str) -> None:
    """8 x 32 x 32 pixels, 4 columns of 64 bands, 24 or 48 kHz, and a second stage of twice the size."""
    from diffusers import AutoencoderKLLTX2Audio, AutoencoderKLLTX2Video
    from diffusers.pipelines import ltx2

    def load(kind: Any, name: str) -> Any:
        return kind.from_pretrained(tiny[layout] / name)

    video, audio = load(AutoencoderKLLTX2Video, "vae"), load(AutoencoderKLLTX2Audio, "audio_vae")
    latent = video.encode(drawn(1, 3, 1, 64, 96)).latent_dist.mode()
    assert latent.shape == (1, 8, 1, 2, 3)
    larger = load(vars(ltx2)["LTX2LatentUpsamplerModel"], "latent_upsampler")(drawn(1, 8, 3, 1, 2))
    assert larger.shape == (1, 8, 3, 2, 4)
    assert video.decode(larger[:, :, :, :, :2], return_dict=False)[0].shape == (1, 3, 17, 64, 64)
    sound = audio.encode(drawn(1, 2, 351, 64)).latent_dist.mode()
    assert sound.shape == (1, 2, 88, 16)
    columns = audio.decode(sound[:, :, :21], return_dict=False)[0]
    assert columns.shape == (1, 2, 81, 64)
    vocoder = load(vars(ltx2)["LTX2Vocoder" if layout == "2.0" else "LTX2VocoderWithBWE"], "vocoder")
    rate = {"2.0": 24_000, "2.3": 48_000}[layout]
    assert vocoder.config.output_sampling_rate == rate
    heard = vocoder(columns)
    assert heard.shape == (1, 2, 81 * rate // 100)
    assert 0.01 < float(heard.std()) < 0.5


def test_unknown_layouts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown layout '2.5'.*Known: 2.0, 2.3"):
        save_tiny(tmp_path, "2.5")  # type: ignore[arg-type]
