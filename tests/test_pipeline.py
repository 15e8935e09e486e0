"""From a face, a voice and a prompt to a clip, over the tiny models: what is made, what is given to the loop, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
import pytest
import torch
from diffusers.hooks.group_offloading import ModuleGroup

from avbench.clip import Sound, probe, read_audio, read_video, write_audio, write_clip, write_image
from avbench.errors import AvbenchError, NotFinite, UsageError, WeightsError, WorkerDied
from avbench.generator import networks, pipeline
from avbench.generator.audio import reference_tokens
from avbench.generator.context import Rule, Stream
from avbench.generator.driver import Driver, Text
from avbench.generator.latents import encoded, fitted
from avbench.generator.pipeline import Made, Step, produce
from avbench.generator.positions import audio_positions, video_positions
from avbench.generator.recipe import Adapter, Recipe, recipe, settings
from avbench.generator.sampler import Latents
from avbench.generator.shots import Shot, prompt_text, read
from avbench.generator.tiny import save_tiny
from avbench.split import Prompt

# Whole clips and loops of tiny models, a second each.
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_thread")]

PROMPT = Prompt("a man speaks to the camera", "good morning", "calmly", "rain on a window")
RATE = 16_000
LAYOUTS: tuple[Literal["2.0", "2.3"], ...] = ("2.0", "2.3")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both models, a voice and a face."""
    folder = tmp_path_factory.mktemp("pipeline")
    for layout in LAYOUTS:
        save_tiny(folder / layout, layout)
    write_audio(folder / "voice.wav", Sound(noise(2 * RATE), RATE))
    write_image(folder / "face.png", picture(96, 64))
    return folder


def noise(count: int) -> Any:
    return (0.1 * np.random.default_rng(1).standard_normal(count)).astype(np.float32)


def picture(width: int, height: int) -> Any:
    return np.random.default_rng(2).integers(0, 256, (height, width, 3), dtype=np.uint8)


def tiny(name: str, **options: Any) -> Recipe:
    return recipe(name, model="tiny", **options)


def a_shot(place: Path, path: Path, **changes: Any) -> Shot:
    shot = Shot("pair", PROMPT, place / "voice.wav", place / "face.png", 3, 9, 64, 64, path)
    return shot._replace(**changes)


def made(what: Recipe, place: Path, *shots: Shot, **options: Any) -> list[Made]:
    options = {"device": "cpu", "precision": "fp32", **options}
    return [one for one in produce(what, place / what.layout, shots, **options) if isinstance(one, Made)]


class Loop:
    """Stands in for the loop: keeps what it is given, and answers with latents drawn anew."""

    def __init__(self) -> None:
        self.calls: list[tuple[Driver, Stream, Stream, Mapping[str, Text], Sequence[float], Any]] = []
        self.in_use: list[list[str]] = []
        self.answers: list[Latents] = []
        torch.manual_seed(0)

    def __call__(self, driver: Driver, video: Stream, audio: Stream, *rest: Any) -> list[Latents]:
        self.calls.append((driver, video, audio, *rest[:3]))
        transformer = driver.transformer
        known = getattr(transformer, "peft_config", {})
        self.in_use.append(list(transformer.active_adapters()) if known else [])
        self.answers.append(Latents(*(torch.randn(stream.x.shape) for stream in (video, audio))))
        return self.answers[-1:]


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    found = Loop()
    monkeypatch.setattr(pipeline, "steps", found)
    return found


# Clips -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "rate"), [("idlora", 24_000), ("idlora-2.3", 48_000)])
def test_a_clip_has_the_length_and_size_asked_for_and_sound_to_its_end(
    place: Path, tmp_path: Path, name: str, rate: int
) -> None:
    shot = a_shot(place, tmp_path / "clip.mp4", frames=33, width=192, height=128)
    what = tiny(name, steps=2)
    *told, one = produce(what, place / what.layout, [shot], device="cpu", precision="fp32")
    assert told == [Step("pair", step, 5) for step in range(1, 6)]
    assert isinstance(one, Made)
    assert (one.pair, one.failure) == ("pair", "")
    info = probe(shot.path)
    assert (info.width, info.height, info.sample_rate) == (192, 128, rate)
    frames, sound = read_video(shot.path), read_audio(shot.path)
    assert frames.shape == (33, 128, 192, 3)
    assert len(sound.samples) == pytest.approx(33 / 25 * rate, abs=1024)
    assert frames.std() > 1
    assert np.abs(sound.samples[: rate // 2]).max() > 1e-3

    said = one.provenance
    assert json.loads(json.dumps(said)) == said
    assert said["settings"] == settings(tiny(name, steps=2))
    assert said["sound"]["seconds"] == pytest.approx((4 * 33 - 3) / 100)  # 30 ms short of the picture
    assert (said["untrained"], said["seed"], said["first_seconds_apart"]) == (True, 3, 0.5)
    assert said["reference"] == {"seconds": 2.0, "rate": RATE}
    assert said["adapters"] == {}
    assert said["prompt"] == prompt_text(PROMPT)
    assert len(said["negative_prompt"]) == 1078
    assert set(said["versions"]) == {"diffusers", "peft", "torch", "transformers"}
    assert b"random weights, seed 3" in shot.path.read_bytes()


def test_a_clip_depends_on_its_seed_and_not_on_its_company_and_failures_spare_the_others(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_audio(tmp_path / "silent.wav", Sound(np.zeros(RATE, np.float32), RATE))
    write_audio(tmp_path / "short.wav", Sound(noise(RATE // 5), RATE))
    write_audio(tmp_path / "long.wav", Sound(noise(31 * RATE), RATE))
    write_image(tmp_path / "small.png", picture(31, 40))
    (tmp_path / "text.png").write_text("no picture")
    bad: dict[str, tuple[dict[str, Any], str]] = {
        "silent": ({"voice": tmp_path / "silent.wav"}, "silent.wav: a silent voice reference"),
        "short": ({"voice": tmp_path / "short.wav"}, "a voice reference of 0.20 s"),
        "long": ({"voice": tmp_path / "long.wav"}, "a voice reference of 31.00 s"),
        "absent": ({"voice": tmp_path / "no.wav"}, "no such file"),
        "small": ({"face": tmp_path / "small.png"}, "a first frame of 31 x 40 pixels"),
        "text": ({"face": tmp_path / "text.png"}, "not a readable image"),
        "mute": ({"prompt": msgspec.structs.replace(PROMPT, speech=" ")}, "says no words"),
        "wordy": ({"prompt": msgspec.structs.replace(PROMPT, visual="word " * 2000)}, "tokens; expected at most 1024"),
    }
    order: list[str] = []
    load = networks.load

    def loading(*given: Any) -> Any:
        order.append("load")
        return load(*given)

    monkeypatch.setattr(pipeline, "load", loading)
    good = {
        name: a_shot(place, tmp_path / f"{name}.mp4", pair=name, seed=seed)
        for name, seed in {"one": 1, "two": 2, "again": 1}.items()
    }
    shots = [a_shot(place, tmp_path / f"{name}.mp4", pair=name, **changes) for name, (changes, _) in bad.items()]
    shots.insert(0, good["one"])
    shots += [good["two"], good["again"]]
    what = tiny("idlora-onestage", steps=1)
    found = []
    for one in produce(what, place / "2.0", shots, device="cpu", precision="fp32"):
        assert torch.is_grad_enabled()
        if isinstance(one, Made):
            order.append(one.pair)
            found.append(one)
    assert order == [*bad, "load", "one", "two", "again"]
    for one in found[: len(bad)]:
        assert bad[one.pair][1] in one.failure
        assert not (tmp_path / f"{one.pair}.mp4").exists()
    bytes_of = {name: shot.path.read_bytes().replace(b"seed 2", b"seed 1") for name, shot in good.items()}
    assert bytes_of["one"] == bytes_of["again"] != bytes_of["two"]
    made(what, place, good["two"]._replace(path=tmp_path / "alone.mp4"))
    assert (tmp_path / "alone.mp4").read_bytes() == good["two"].path.read_bytes()


@pytest.mark.parametrize(
    "full_of",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 8 bytes."
        ),
        MemoryError(),
    ],
)
def test_where_memory_ends_clips_made_before_stay(
    place: Path, tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch, full_of: Exception
) -> None:
    def full(driver: Driver, video: Stream, audio: Stream, *rest: Any) -> list[Latents]:
        if loop.calls:
            raise full_of
        return loop(driver, video, audio, *rest)

    monkeypatch.setattr(pipeline, "steps", full)
    shots = [a_shot(place, tmp_path / f"{name}.mp4", pair=name) for name in ("one", "two")]
    clips = produce(tiny("idlora-onestage"), place / "2.0", shots, device="cpu", precision="fp32")
    assert isinstance(next(clips), Step)
    assert isinstance(next(clips), Made)
    with pytest.raises(WorkerDied, match=r"out of memory on cpu at fp32: .*Clips made before are kept"):
        next(clips)
    assert [shot.path.exists() for shot in shots] == [True, False]


def test_numbers_that_are_not_finite_are_the_failure_of_their_pair(
    place: Path, tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(driver: Driver, video: Stream, audio: Stream, *rest: Any) -> list[Latents]:
        if not loop.calls:
            loop(driver, video, audio, *rest)
            raise NotFinite("after step 1 of 2 the latents hold numbers that are not finite")
        return loop(driver, video, audio, *rest)

    monkeypatch.setattr(pipeline, "steps", broken)
    shots = [a_shot(place, tmp_path / f"{name}.mp4", pair=name, width=128, height=128) for name in ("one", "two")]
    one, two = made(tiny("idlora"), place, *shots, memory="staged")
    assert (one.pair, one.failure, two.pair) == ("two", "", "one")
    assert "one: after step 1 of 2" in two.failure
    assert [shot.path.exists() for shot in shots] == [False, True]


@pytest.mark.parametrize("name", ["idlora", "just-dub-it"])
def test_what_runs_in_a_phase_has_been_brought_for_it(
    place: Path, tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    there: tuple[str, ...] = ()
    ran: set[str] = set()
    bring, load = networks.bring, networks.load

    def brought(loaded: Any, setup: Any, *names: str, **used: Any) -> None:
        nonlocal there
        there = names
        bring(loaded, setup, *names, **used)

    def watched(network: Any, name: str, call: str) -> None:
        run = getattr(network, call)

        def running(*given: Any, **options: Any) -> Any:
            ran.add(name)
            assert name in there
            return run(*given, **options)

        monkeypatch.setattr(network, call, running)

    def loading(*given: Any) -> Any:
        found = load(*given)
        for part in ("vae", "audio_vae"):
            watched(getattr(found, part), part, "encode")
            watched(getattr(found, part), part, "decode")
        watched(found.vocoder, "vocoder", "forward")
        watched(found.upsampler, "upsampler", "forward")
        for part in ("time_embed", "proj_in", "proj_out"):
            watched(getattr(found.transformer, part), "transformer", "forward")
        return found

    monkeypatch.setattr(pipeline, "bring", brought)
    monkeypatch.setattr(pipeline, "load", loading)
    (one,) = made(tiny(name, steps=1), place, a_shot(place, tmp_path / "a.mp4", width=128, height=128), memory="staged")
    assert not one.failure
    assert ran == {"vae", "audio_vae", "vocoder", "upsampler", "transformer"}


@pytest.mark.parametrize("precision", ["fp32", "fp8"])
def test_where_networks_wait_changes_no_byte(
    place: Path, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = msgspec.structs.replace(
        tiny("idlora", steps=2),
        stage_one={"id": lora(tmp_path / "id.safetensors", 1.0)},
        stage_two={"distilled": lora(tmp_path / "distilled.safetensors", -1.0)},
    )
    monkeypatch.setattr(pipeline, "BATCH", 2)
    onloaded: set[str] = set()
    onload = ModuleGroup.onload_

    def told(group: ModuleGroup) -> None:
        onloaded.add(type(group.modules[0]).__name__)
        onload(group)

    monkeypatch.setattr(ModuleGroup, "onload_", told)
    clips: dict[str, list[bytes]] = {}
    order: dict[str, list[str]] = {}
    for memory in ("resident", "staged", "offload"):
        names = [f"{memory}-{number}" for number in range(3)]
        shots = [
            a_shot(place, tmp_path / f"{name}.mp4", pair=name, seed=int(name[-1]), width=128, height=128)
            for name in names
        ]
        assert not onloaded
        clips_told = list(produce(what, place / "2.0", shots, device="cpu", precision=precision, memory=memory))  # type: ignore[arg-type]
        order[memory] = [one.pair[-1] + ("." if isinstance(one, Step) else "!") for one in clips_told]
        clips[memory] = [shot.path.read_bytes() for shot in shots]
    assert {"Gemma3DecoderLayer", "LTX2VideoTransformerBlock"} <= onloaded
    assert clips["resident"] == clips["staged"] == clips["offload"]
    one_by_one = ["0."] * 5 + ["0!"] + ["1."] * 5 + ["1!"] + ["2."] * 5 + ["2!"]
    in_batches = ["0."] * 2 + ["1."] * 2 + ["0."] * 3 + ["1."] * 3 + ["0!", "1!"] + ["2."] * 5 + ["2!"]
    assert order == {"resident": one_by_one, "staged": in_batches, "offload": in_batches}


# Recipes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "options", "calls"),
    [
        ("idlora", {"steps": 2}, 2 * 5 + 3),
        ("idlora", {"steps": 2, "identity_scale": 1.0}, 2 * 4 + 3),
        ("idlora-onestage", {"steps": 2}, 2 * 5),
        ("idlora-2.3", {"steps": 2, "masks": "training"}, 2 * 5 + 3),
        ("ltx-zeroshot", {"steps": 2, "reference": "none"}, 2 * 4 + 3),
        ("audio-ic-lora", {}, 8),
        ("just-dub-it", {"steps": 2}, 2 * 2 + 2),
    ],
)
def test_no_more_passes_are_run_than_a_recipe_says(
    place: Path, tmp_path: Path, name: str, options: dict[str, Any], calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run: list[object] = []
    leave = Driver.leave

    def counted(*given: Any) -> Any:
        run.append(given[0])
        return leave(*given)

    monkeypatch.setattr(Driver, "leave", counted)
    source = tmp_path / "source.mp4"
    write_clip(source, np.stack([picture(64, 64)] * 9), Sound(noise(RATE), RATE))
    what = tiny(name, **options)
    shot = a_shot(place, tmp_path / "clip.mp4", width=64 * what.stages, height=64 * what.stages, source=source)
    (one,) = made(what, place, shot)
    assert one.failure == ""
    assert len(run) == calls == settings(what)["transformer_calls"]


# What the loop is given --------------------------------------------------------------------------------------------


def test_stage_two_keeps_the_sound_and_gets_the_first_frame_anew(place: Path, tmp_path: Path, loop: Loop) -> None:
    what = tiny("idlora")
    made(what, place, a_shot(place, tmp_path / "a.mp4", frames=17, width=128, height=64))
    (_, video, sound, _, sigmas, passes), (_, large, held, _, refine, plain) = loop.calls
    assert (len(sigmas), len(passes), refine, len(plain)) == (31, 5, (0.909375, 0.725, 0.421875, 0.0), 1)
    assert (video.x.shape, large.x.shape) == ((1, 3 * 2, 8), (1, 3 * 8, 8))
    for stream, first in ((video, 2), (large, 8)):
        assert stream.mask.tolist() == [[0.0] * first + [1.0] * 2 * first]
        assert torch.equal(stream.x[:, :first], stream.clean[:, :first])
        assert stream.clean[:, :first].std() > 0.1
    assert (sound.targets, sound.x.shape[1] - 17) == (17, 51)  # a voice of 2 s: 201 columns
    assert sound.groups[0].rule == Rule()
    assert not held.groups
    assert not held.mask.any()
    assert torch.equal(held.x, loop.answers[0].audio[:, :17])
    numbers = torch.Generator().manual_seed(3)  # the shot's, for picture, sound, and picture again
    assert torch.equal(video.x[:, 2:], torch.randn(video.x.shape, generator=numbers)[:, 2:])
    assert torch.equal(sound.x[:, :17], torch.randn(sound.x.shape, generator=numbers)[:, :17])
    again = torch.randn(large.x.shape, generator=numbers)
    assert torch.allclose(large.x[:, 8:], (0.909375 * again + (1 - 0.909375) * large.clean)[:, 8:], atol=1e-6)
    assert float(large.clean[:, 8:].std()) > 0.1


def test_the_reference_lies_before_the_target_or_on_it(place: Path, tmp_path: Path, loop: Loop) -> None:
    shot = a_shot(place, tmp_path / "a.mp4")
    for options in ({}, {"positions": "standard"}, {"position_dtype": "bfloat16"}, {"masks": "training"}):
        made(tiny("idlora-onestage", **options), place, shot)
    before, on, rounded, masked = (audio for _, _, audio, *_ in loop.calls)
    target = audio_positions(9)
    for stream in (before, on, rounded, masked):
        assert torch.equal(stream.positions[:, :, :9], target)
    assert float(before.positions[0, 0, 9:, 1].max()) == pytest.approx(-0.04, abs=1e-6)
    assert torch.equal(on.positions[:, :, 9:], audio_positions(51))
    gap = (rounded.positions - before.positions).abs().max()
    assert 1e-4 < gap < 0.03
    videos = [video for _, video, *_ in loop.calls]
    assert [video.positions.dtype for video in videos] == [torch.float32] * 2 + [torch.bfloat16, torch.float32]
    assert masked.groups[0].rule == Rule(cross="targets", text="mean")


def test_what_is_to_be_dubbed_lies_on_the_target_in_both_streams(place: Path, tmp_path: Path, loop: Loop) -> None:
    source = tmp_path / "source.mp4"
    write_clip(source, np.stack([picture(128, 128)] * 12), Sound(noise(RATE), RATE))
    shot = a_shot(place, tmp_path / "a.mp4", width=128, height=128, source=source, face=tmp_path / "unread.png")
    made(tiny("just-dub-it"), place, shot)
    _, video, sound, *_ = loop.calls[0]
    for stream in (video, sound):
        count = stream.targets
        assert stream.x.shape[1] == 2 * count
        assert torch.equal(stream.positions[:, :, :count], stream.positions[:, :, count:])
        assert not stream.mask[:, count:].any()
        assert [(group.name, group.rule) for group in stream.groups] == [("source", Rule(cross="target_pairs"))]
    (short,) = made(tiny("just-dub-it"), place, shot._replace(frames=17))
    assert "12 frames at 25 fps; expected 17" in short.failure


def encoders(folder: Path) -> tuple[Any, Any]:
    """Of pictures and of sound."""
    import diffusers

    library: Any = diffusers
    return (
        library.AutoencoderKLLTX2Video.from_pretrained(folder / "vae").requires_grad_(False),
        library.AutoencoderKLLTX2Audio.from_pretrained(folder / "audio_vae").requires_grad_(False),
    )


def test_without_a_clip_the_first_frame_held_still_is_dubbed_with_its_voice(
    place: Path, tmp_path: Path, loop: Loop
) -> None:
    """As a clip that shows it all the time, and says the same, is."""
    shot = a_shot(place, tmp_path / "still.mp4", frames=17, width=128, height=128)
    what = tiny("just-dub-it", steps=2)
    (one,) = made(what, place, shot)
    assert one.failure == ""
    assert one.provenance["reference"]["dubbed"] == "a still: the first frame held, with the voice"
    _, video, sound, *_ = loop.calls[0]
    assert (video.targets, sound.targets) == (3 * 2 * 2, 17)
    vae, audio_vae = encoders(place / "2.0")
    given = read(what, shot)
    assert given.face is not None
    assert given.mel is not None
    held = np.stack([given.face] * 17)
    context = encoded(vae, fitted(held, 64, 64, "crop"))
    assert torch.allclose(video.x[:, 12:], context, atol=1e-5)
    assert torch.equal(video.x[:, 12:], video.clean[:, 12:])
    assert torch.equal(video.positions, torch.cat([video_positions(3, 2, 2, 25)] * 2, dim=2))
    assert torch.equal(sound.positions, torch.cat([audio_positions(17)] * 2, dim=2))
    heard = reference_tokens(audio_vae, given.mel)
    assert torch.allclose(sound.x[:, 17:], heard[:, :17], atol=1e-5)
    for stream, count in ((video, 12), (sound, 17)):
        assert not stream.mask[:, count:].any()
        assert [(group.name, group.rule) for group in stream.groups] == [("source", Rule(cross="target_pairs"))]


def test_a_relative_takes_so_much_of_the_voice(place: Path, tmp_path: Path, loop: Loop) -> None:
    write_audio(tmp_path / "long.wav", Sound(noise(5 * RATE), RATE))
    shots = [
        a_shot(place, tmp_path / f"{voice.stem}.mp4", pair=voice.stem, voice=voice, face=tmp_path / "unread.png")
        for voice in (tmp_path / "long.wav", place / "voice.wav")
    ]
    assert [one.failure for one in made(tiny("audio-ic-lora"), place, *shots)] == ["", ""]
    counts = [audio.x.shape[1] - audio.targets for _, _, audio, *_ in loop.calls]
    assert counts == [88, 51]
    assert all(bool((video.mask == 1).all()) for _, video, *_ in loop.calls)


def test_the_first_frame_is_that_of_its_file_cut_or_stretched(place: Path, tmp_path: Path, loop: Loop) -> None:
    """96 x 64 to 64 x 64: of two that agree in their middle, cutting makes the same, and stretching does not."""
    write_image(tmp_path / "cut.png", picture(96, 64)[:, 16:80])
    faces = {"wide": place / "face.png", "cut": tmp_path / "cut.png"}
    shots = [a_shot(place, tmp_path / f"{name}.mp4", pair=name, face=face) for name, face in faces.items()]
    cutting = msgspec.structs.replace(tiny("idlora-onestage"), image_fit="crop")
    for what in (cutting, tiny("idlora-onestage")):
        assert not any(one.failure for one in made(what, place, *shots))
    cut_wide, cut, stretched, whole = (video.clean[:, :4] for _, video, *_ in loop.calls)
    assert torch.equal(cut_wide, cut)
    assert torch.equal(cut, whole)
    assert not torch.allclose(stretched, cut)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_words_are_read_as_diffusers_reads_them(place: Path, tmp_path: Path, loop: Loop, layout: str) -> None:
    import diffusers

    made(tiny("idlora" if layout == "2.0" else "idlora-2.3"), place, a_shot(place, tmp_path / "a.mp4"))
    texts = loop.calls[0][3]
    library: Any = diffusers
    whole = library.LTX2Pipeline.from_pretrained(place / layout)
    from diffusers.pipelines.ltx2.utils import DEFAULT_NEGATIVE_PROMPT

    wanted = whole.encode_prompt(
        "[VISUAL]: a man speaks to the camera\n[SPEECH]: good morning\n[SOUNDS]: calmly rain on a window",
        DEFAULT_NEGATIVE_PROMPT,
        max_sequence_length=1024,
    )
    for name, embeds, mask in (("positive", *wanted[:2]), ("negative", *wanted[2:])):
        with torch.no_grad():
            video, audio, _ = whole.connectors(embeds, mask)
        assert torch.allclose(texts[name].video, video, atol=1e-5)
        assert torch.allclose(texts[name].audio, audio, atol=1e-5)
    assert float((texts["positive"].video - texts["negative"].video).abs().max()) > 0.1


@pytest.mark.parametrize(("layout", "name"), [("2.0", "idlora"), ("2.3", "idlora-2.3")])
def test_latents_are_enlarged_and_decoded_as_diffusers_does(
    place: Path, tmp_path: Path, loop: Loop, monkeypatch: pytest.MonkeyPatch, layout: str, name: str
) -> None:
    import diffusers
    from diffusers.pipelines import ltx2

    written: list[tuple[Any, Sound]] = []
    monkeypatch.setattr(pipeline, "write_clip", lambda path, frames, sound, said: written.append((frames, sound)))
    made(tiny(name), place, a_shot(place, tmp_path / "a.mp4", frames=17, width=128, height=64))
    library: Any = diffusers
    whole = library.LTX2Pipeline.from_pretrained(place / layout)
    statistics = whole.vae.latents_mean, whole.vae.latents_std, whole.vae.config.scaling_factor
    small, large = loop.answers

    parts: Any = ltx2
    upsampler = parts.LTX2LatentUpsamplerModel.from_pretrained(place / layout / "latent_upsampler")
    enlarging = library.LTX2LatentUpsamplePipeline(whole.vae, upsampler)
    enlarging.set_progress_bar_config(disable=True)
    latent = whole._denormalize_latents(whole._unpack_latents(small.video, 3, 1, 2), *statistics)
    larger = enlarging(
        latents=latent, height=32, width=64, num_frames=17, latents_normalized=False, output_type="latent"
    ).frames
    wanted = whole._pack_latents(whole._normalize_latents(larger, *statistics))
    assert torch.allclose(loop.calls[1][1].clean[:, 8:], wanted[:, 8:], atol=1e-5)

    with torch.no_grad():
        pixels = whole.vae.decode(
            whole._denormalize_latents(whole._unpack_latents(large.video, 3, 2, 4), *statistics), None
        ).sample
        packed = whole._denormalize_audio_latents(
            small.audio[:, :17], whole.audio_vae.latents_mean, whole.audio_vae.latents_std
        )
        latents = whole._unpack_audio_latents(packed, 17, num_mel_bins=16)
        heard = whole.vocoder(whole.audio_vae.decode(latents).sample)
    shown = whole.video_processor.postprocess_video(pixels, output_type="np")[0]
    ((frames, sound),) = written
    assert np.abs(frames / 255 - shown).max() < 0.51 / 255
    assert np.abs(sound.samples - heard[0].mean(0).clamp(-1, 1).numpy()).max() < 1e-5
    assert sound.rate == (48_000 if layout == "2.3" else 24_000)


def test_tiles_cover_a_large_picture_and_a_long_clip(place: Path, tmp_path: Path, loop: Loop) -> None:
    for frames, width, height in ((9, 64, 928), (73, 64, 64)):
        shot = a_shot(place, tmp_path / f"{frames}.mp4", frames=frames, width=width, height=height)
        made(tiny("idlora-onestage"), place, shot)
        assert read_video(shot.path).shape == (frames, height, width, 3)


# Adapters --------------------------------------------------------------------------------------------------------


def lora(path: Path, size: float) -> Adapter:
    """One on the first block's attention to its own sound."""
    from safetensors.torch import save_file

    generator = torch.Generator().manual_seed(5)
    module = "diffusion_model.transformer_blocks.0.audio_attn1.to_q"
    down, up = torch.randn(2, 16, generator=generator), torch.randn(16, 2, generator=generator)
    save_file({f"{module}.lora_A.weight": down, f"{module}.lora_B.weight": size * up}, path)
    return Adapter("2.0", path=str(path))


def test_each_stage_runs_with_its_own_adapter(place: Path, tmp_path: Path, loop: Loop) -> None:
    with_both = msgspec.structs.replace(
        tiny("idlora"),
        stage_one={"id": lora(tmp_path / "id.safetensors", 1.0)},
        stage_two={"distilled": lora(tmp_path / "distilled.safetensors", 2.0)},
    )
    (one,) = made(with_both, place, a_shot(place, tmp_path / "a.mp4"))
    assert loop.in_use == [["id"], ["distilled"]]
    recorded = one.provenance["adapters"]
    assert {name: (each["modules"], each["ranks"]) for name, each in recorded.items()} == {
        "id": (1, [2]),
        "distilled": (1, [2]),
    }
    assert len(recorded["id"]["sha256"]) == 64
    json.dumps(one.provenance)


@pytest.mark.parametrize("precision", ["bf16", "fp8"])
def test_other_precisions_run_with_adapters(
    place: Path, tmp_path: Path, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    what = msgspec.structs.replace(
        tiny("idlora-onestage", steps=1), stage_one={"id": lora(tmp_path / "id.safetensors", 1.0)}
    )
    kinds: dict[str, torch.dtype] = {}
    leave = Driver.leave

    def looked_at(driver: Driver, *given: Any) -> Any:
        kinds.update((name, value.dtype) for name, value in driver.transformer.named_parameters())
        return leave(driver, *given)

    monkeypatch.setattr(Driver, "leave", looked_at)
    (one,) = made(what, place, a_shot(place, tmp_path / "a.mp4"), precision=precision)
    assert one.provenance["precision"] == precision
    stored = torch.float8_e4m3fn if precision == "fp8" else torch.bfloat16
    assert kinds["transformer_blocks.1.audio_attn1.to_q.weight"] == stored
    assert kinds["transformer_blocks.0.audio_attn1.to_q.base_layer.weight"] == stored
    assert kinds["transformer_blocks.0.audio_attn1.to_q.lora_B.id.weight"] == torch.bfloat16
    assert read_video(tmp_path / "a.mp4").shape == (9, 64, 64, 3)


# Refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda what: msgspec.structs.replace(what, layout="2.3"), WeightsError, "of layout 2.0; idlora is for 2.3"),
        (lambda what: msgspec.structs.replace(what, stg_blocks=(29,)), UsageError, "has 4 of them"),
        (
            lambda what: msgspec.structs.replace(what, stage_one={"id": Adapter("2.0", path="no.safetensors")}),
            WeightsError,
            "no such adapter file",
        ),
        (lambda what: msgspec.structs.replace(what, stage_one={"id": Adapter("2.0")}), UsageError, "one of them"),
    ],
)
def test_what_a_model_cannot_do_is_refused_when_it_is_asked_for(
    place: Path, tmp_path: Path, change: Callable[[Recipe], Recipe], error: type[AvbenchError], said: str
) -> None:
    shot = a_shot(place, tmp_path / "a.mp4", width=128, height=128)
    with pytest.raises(error, match=said):
        produce(change(tiny("idlora")), place / "2.0", [shot], device="cpu")


def test_a_folder_that_is_no_model_is_refused(tmp_path: Path) -> None:
    shot = a_shot(tmp_path, tmp_path / "a.mp4", width=128, height=128)
    with pytest.raises(WeightsError, match=r"no tokenizer, .*latent_upsampler; expected a model as diffusers"):
        produce(tiny("idlora"), tmp_path, [shot], device="cpu")
    folder = save_parts(tmp_path)
    with pytest.raises(UsageError, match="device 'tpu'"):
        produce(tiny("idlora"), folder, [shot], device="tpu")


def save_parts(folder: Path) -> Path:
    for part in (*networks.PARTS, networks.UPSAMPLER):
        (folder / part).mkdir()
    configurations: dict[str, dict[str, Any]] = {
        "transformer": {"cross_attn_mod": False, "num_layers": 4},
        "vae": {"timestep_conditioning": False},
    }
    for part, config in configurations.items():
        (folder / part / "config.json").write_text(json.dumps(config))
    return folder
