"""ID-LoRA and its relatives as methods: names, options, what they need, and the tiny model from pair to clip."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench import weights
from avbench.clip import read_video
from avbench.errors import UsageError, WeightsError
from avbench.generate import generate
from avbench.generator.recipe import FAMILY, recipe
from avbench.methods import METHODS, Item, Wanted, joint, resolve
from avbench.run import read_run, read_sidecar
from avbench.split import Prompt, load_split
from avbench.weights import WEIGHTS, Download, Repository, Weight, books

from .line import Demo, avbench
from .scored import pair_json, split_files


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def needs(name: str, **options: Any) -> set[str]:
    made = recipe(name, **options)
    adapters = [*made.stage_one.values(), *made.stage_two.values()]
    return {made.weights, *(adapter.weights for adapter in adapters)}


# Names and options -----------------------------------------------------------------------------------------------


def test_every_recipe_is_a_method_unless_it_needs_a_clip_to_be_dubbed() -> None:
    assert set(joint.NAMES) == {name for name in FAMILY if recipe(name).reference != "dub"}
    assert list(METHODS)[-len(joint.NAMES) :] == list(joint.NAMES)


@pytest.mark.parametrize("name", joint.NAMES)
def test_options_are_those_of_the_recipe_and_the_precision(name: str) -> None:
    assert [*inspect.signature(FAMILY[name]).parameters, "precision"] == list(
        inspect.signature(METHODS[name]).parameters
    )
    assert METHODS[name].__doc__ == FAMILY[name].__doc__


@pytest.mark.parametrize("name", joint.NAMES)
def test_the_tiny_model_is_untrained_needs_nothing_and_is_told_apart_by_its_folder(name: str) -> None:
    tiny = resolve(f"{name}@model=tiny")
    assert tiny.name == f"{name}@model=tiny"
    assert tiny.method.untrained
    assert not tiny.method.licences
    assert tiny.method.ready is not None
    tiny.method.ready()
    assert not resolve(name).method.untrained
    assert resolve(name).method.consent
    assert tiny.method.consent
    assert resolve(name).method.kind == "model"


@given(st.integers(1, 20))
def test_a_number_has_one_spelling_as_a_folder(scale: int) -> None:
    assert resolve(f"idlora@identity_scale={scale}.0").name == f"idlora@identity_scale={scale}"
    assert resolve(f"idlora@identity_scale={scale}.5").name == f"idlora@identity_scale={scale}.5"


def test_a_sweep_stands_in_tables_in_the_order_of_its_values_and_between_its_neighbours() -> None:
    methods = [
        *(f"idlora{end}" for end in ("", "@identity_scale=1", "@identity_scale=2", "@identity_scale=16")),
        "idlora-onestage",
        "idlora-2.3",
        "ltx-zeroshot",
        "audio-ic-lora",
    ]
    orders = [resolve(method).method.order for method in methods]
    assert orders == sorted(set(orders))


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("idlora", "ID-LoRA"),
        ("idlora@identity_scale=6", "ID-LoRA, identity scale 6"),
        ("idlora@checkpoint=talkvid", "ID-LoRA, TalkVid"),
        ("idlora@checkpoint=celebvhq", "ID-LoRA"),
        ("idlora@positions=standard", "ID-LoRA, standard positions"),
        ("idlora@masks=training,steps=8", "ID-LoRA, training masks, 8 steps"),
        ("idlora-2.3@model=tiny", "ID-LoRA 2.3, tiny"),
        ("ltx-zeroshot@reference=none", "LTX-2 zero-shot, no voice"),
        ("audio-ic-lora@audio_strength=0.4", "audio-only IC-LoRA, audio strength 0.4"),
        ("idlora@precision=fp8", "ID-LoRA, precision fp8"),
    ],
)
def test_a_label_says_what_differs_from_the_paper(text: str, label: str) -> None:
    assert resolve(text).method.label == label


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("idlora@identity_scale=nan", "finite"),
        ("idlora@identity_scale=big", "identity_scale=big"),
        ("idlora@steps=0", "at least one"),
        ("idlora@steps=1.5", "steps=1.5"),
        ("idlora@masks=none", "masks=none"),
        ("idlora@checkpoint=other", "checkpoint=other"),
        ("idlora@precision=int8", "precision=int8"),
        ("idlora@modle=tiny", "Did you mean model"),
        ("ltx-zeroshot@checkpoint=talkvid", "unknown option"),
    ],
)
def test_what_is_wrong_with_an_option_is_said_at_once(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve(text)


def test_a_strength_out_of_its_band_is_told() -> None:
    assert resolve("audio-ic-lora").method.notes == ()
    assert "0.9" in resolve("audio-ic-lora@audio_strength=0.9").method.notes[0]


# Weights ---------------------------------------------------------------------------------------------------------


def test_every_network_of_a_recipe_is_registered_with_exactly_the_recipes_that_use_it() -> None:
    users: dict[str, set[str]] = {}
    for name in joint.NAMES:
        parameter = inspect.signature(FAMILY[name], eval_str=True).parameters.get("checkpoint")
        for checkpoint in get_args(parameter.annotation) if parameter else (None,):
            for weight in needs(name, **({"checkpoint": checkpoint} if checkpoint else {})):
                users.setdefault(weight, set()).add(name)
    used = {name: set(weight.used_by) & set(joint.NAMES) for name, weight in WEIGHTS.items()}
    assert users == {name: methods for name, methods in used.items() if methods}


def test_what_is_limited_in_commerce_has_terms_to_accept() -> None:
    for name in {weight for method in joint.NAMES for weight in needs(method)}:
        assert (WEIGHTS[name].commercial, bool(WEIGHTS[name].terms)) == (False, True)
        assert resolve("idlora").method.licences["ltx-2"] == WEIGHTS["ltx-2"].licence


def test_absent_networks_are_one_line_with_one_command_before_anything_is_made(home: Path, tmp_path: Path) -> None:
    split = load_split(str(split_files(tmp_path / "mini", [pair_json("a")])))
    with pytest.raises(WeightsError) as caught:
        generate(split, ["idlora@checkpoint=talkvid"], tmp_path / "runs", workers=1)
    said = str(caught.value)
    assert "\n" not in said
    assert "not here: ltx-2, id-lora-talkvid, ltx-2-distilled-lora; " in said
    assert said.endswith(
        "avbench weights fetch ltx-2 id-lora-talkvid ltx-2-distilled-lora --accept-licence ltx-2 --accept-licence id-lora"
    )
    assert not (tmp_path / "runs").exists()


def test_absent_libraries_are_told_with_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "find_spec", lambda name: None if name == "peft" else name)
    ready = resolve("idlora@model=tiny").method.ready
    assert ready is not None
    with pytest.raises(UsageError, match=r"needs peft; .*avbench\[generate\]"):
        ready()


# A model of many files -------------------------------------------------------------------------------------------

FILES = {"model_index.json": "{}", "transformer/config.json": "{}", "transformer/a.safetensors": "aa", "vae/b.bin": "b"}
TOY = Weight(
    "toy",
    Repository(("https://example.org/toy",), repository="some/toy", folders=("transformer", "vae")),
    0, "", "MIT", True, "A toy.", "https://example.org/toy", ("idlora",),
)  # fmt: skip


class Hub:
    """In place of the download from the hub: writes files, and notes what it was asked for."""

    def __init__(self, files: dict[str, str], error: Exception | None = None) -> None:
        self.files, self.error = files, error
        self.asked: list[dict[str, Any]] = []

    def __call__(self, repository: str, **asked: Any) -> str:
        self.asked.append({"repository": repository, **asked})
        for name, content in self.files.items():
            path = Path(asked["local_dir"]) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content)
        if self.error:
            raise self.error
        return str(asked["local_dir"])


@pytest.fixture
def toy(home: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Hub]:
    def offered(weight: Weight = TOY, **given: Any) -> Hub:
        hub = Hub(given.get("files", FILES), given.get("error"))
        monkeypatch.setattr("huggingface_hub.snapshot_download", hub)
        monkeypatch.setattr(weights, "WEIGHTS", {"toy": weight})
        return hub

    return offered


def test_a_model_is_fetched_whole_then_named_then_locked(toy: Callable[..., Hub], home: Path) -> None:
    hub = toy()
    with pytest.raises(WeightsError, match="Run: avbench weights fetch toy"):
        weights.path("toy")
    assert weights.fetch("toy") == weights.where("toy") == home / "weights" / "toy"
    assert hub.asked[0]["repository"] == "some/toy"
    assert hub.asked[0]["allow_patterns"] == ["model_index.json", "transformer/*", "vae/*"]
    locked = books.locked("toy")
    assert locked is not None
    assert locked.size == sum(map(len, FILES.values()))
    assert weights.present("toy")
    assert weights.path("toy") == weights.verify("toy") == home / "weights" / "toy"
    assert len(hub.asked) == 1


@pytest.mark.parametrize("change", ["other", "more", "fewer", "moved", "longer"])
def test_a_model_that_is_not_the_locked_one_is_refused(toy: Callable[..., Hub], home: Path, change: str) -> None:
    toy()
    folder = weights.fetch("toy") / "transformer"
    match change:
        case "other":
            (folder / "a.safetensors").write_text("ab")
        case "more":
            (folder / "c.safetensors").write_text("")
        case "fewer":
            (folder / "a.safetensors").unlink()
        case "moved":
            (folder / "a.safetensors").rename(folder / "z.safetensors")
        case "longer":
            (folder / "a.safetensors").write_text("aaa")
    weights._digest.cache_clear()
    with pytest.raises(WeightsError, match="expected"):
        weights.path("toy")
    with pytest.raises(WeightsError, match="Remove that folder"):
        weights.fetch("toy")  # what is there is its owner's
    assert folder.is_dir()


def test_hidden_files_that_a_download_leaves_are_no_part_of_a_model(toy: Callable[..., Hub]) -> None:
    toy()
    folder = weights.fetch("toy")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("x")
    (folder / "vae" / ".b.bin.lock").write_text("x")
    assert weights.verify("toy") == folder


def test_a_download_that_breaks_off_is_said_and_leaves_no_model(toy: Callable[..., Hub], home: Path) -> None:
    toy(error=OSError("connection\nlost"))
    with pytest.raises(WeightsError, match=r"some/toy could not be downloaded \(OSError: connection lost\)"):
        weights.fetch("toy")
    assert not weights.present("toy")
    assert (home / "weights" / ".toy.part").is_dir()
    toy()
    assert weights.fetch("toy").is_dir()
    assert not (home / "weights" / ".toy.part").exists()


def test_a_repository_that_lacks_a_part_is_not_taken(toy: Callable[..., Hub]) -> None:
    toy(files={name: content for name, content in FILES.items() if "vae" not in name})
    with pytest.raises(WeightsError, match="has no vae"):
        weights.fetch("toy")
    assert not weights.present("toy")


def test_nothing_of_a_model_is_downloaded_offline(toy: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = toy()
    monkeypatch.setenv("AVBENCH_OFFLINE", "1")
    with pytest.raises(WeightsError, match="nothing is downloaded"):
        weights.fetch("toy")
    assert not hub.asked


def test_a_model_that_nobody_offers_says_what_to_put_where(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_ACCEPT_LICENCES", "ltx-2")
    place = home / "weights" / "ltx-2.3-distilled"
    with pytest.raises(WeightsError, match=r"converted to diffusers' layout.*transformer.*in " + str(place)):
        weights.fetch("ltx-2.3-distilled")


# From pair to clip -----------------------------------------------------------------------------------------------


def test_shots_carry_the_items_size_and_seed_and_the_tiny_model_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avbench.generator import pipeline

    seen: list[tuple[Any, ...]] = []

    def produce(made: Any, folder: Path, shots: Sequence[Any], **options: Any) -> Any:
        seen.extend((folder, shot, options) for shot in shots)
        return iter([pipeline.Made(shots[0].pair, {"k": 1}, ""), pipeline.Made(shots[1].pair, {}, "too quiet")])

    monkeypatch.setattr(pipeline, "produce", produce)
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path))
    prompt = Prompt(visual="v", speech="s", manner="m", environment="e")
    items = [
        Item(name, "ann", prompt, "s", "en", Path(f"{name}.wav"), Path(f"{name}.png"), 7 + number, 121, 640, 384)
        for number, name in enumerate("ab")
    ]
    wanted = [Wanted(item, tmp_path / f"{item.pair}.mp4") for item in items]
    for text, size, precision in (
        ("idlora", (640, 384), "bf16"),
        ("idlora@precision=fp8", (640, 384), "fp8"),
        ("idlora@model=tiny", (128, 128), "fp32"),
    ):
        seen.clear()
        make_many = resolve(text).method.make_many
        assert make_many is not None
        made = list(make_many(wanted))
        assert [(one.pair, one.failure) for one in made] == [("a", ""), ("b", "too quiet")]
        assert made[0].provenance["k"] == 1
        assert set(made[0].provenance["weights"]) == (
            {"ltx-2", "id-lora-celebvhq", "ltx-2-distilled-lora"} if size[0] > 128 else set()
        )
        for want, (folder, shot, options) in zip(wanted, seen, strict=True):
            item = want.item
            assert (shot.pair, shot.prompt, shot.voice, shot.face) == (item.pair, prompt, item.voice, item.face)
            assert (shot.seed, shot.frames, shot.width, shot.height, shot.path) == (item.seed, 121, *size, want.path)
            assert options == {"precision": precision}
            assert (folder == tmp_path / "weights" / "ltx-2") == (size[0] > 128)


@pytest.mark.slow
def test_the_line_from_split_to_table_on_the_tiny_model(demo: Demo, tmp_path: Path) -> None:
    arguments = ["generate", "--split", "demo", "--limit", "2", "--method", "idlora@model=tiny,steps=2"]
    arguments += ["--method", "idlora-2.3@model=tiny,steps=2", "--method", "audio-ic-lora@model=tiny"]
    done = avbench(*arguments, "--runs", tmp_path, home=demo.home)
    assert "generate: 6 made" in done.stderr
    assert "6 there already" in avbench(*arguments, "--runs", tmp_path, home=demo.home).stderr
    folder = tmp_path / "idlora@model=tiny,steps=2" / "demo"
    assert read_run(folder).untrained
    for name in ("alma-same", "alma-cross"):
        assert read_video(folder / f"{name}.mp4").shape == (121, 128, 128, 3)
        with av.open(str(folder / f"{name}.mp4")) as clip:
            assert [stream.type for stream in clip.streams] == ["video", "audio"]
        sidecar = read_sidecar(folder / f"{name}.json")
        assert sidecar is not None
        assert sidecar.provenance["settings"]["model"] == "tiny"
        assert sidecar.provenance["consent"].startswith("stated with the pair")
    scored = avbench("score", tmp_path, "--limit", 2, home=demo.home)
    assert "unmeasurable: no face found" in scored.stderr
    table = avbench("table", "--runs", tmp_path, "--method", "idlora@model=tiny,steps=2", home=demo.home)
    assert "untrained" in table.stdout


def test_places_of_networks_differ() -> None:
    places = [weights.where(name) for name, weight in WEIGHTS.items() if isinstance(weight.source, Download)]
    assert not [pair for pair in itertools.combinations(places, 2) if pair[0] == pair[1]]
