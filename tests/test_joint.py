"""ID-LoRA and its relatives as methods: names, options, what they need, and the tiny model from pair to clip."""

from __future__ import annotations

import hashlib
import inspect
import itertools
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal, get_args

import av
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench import weights
from avbench.clip import read_video
from avbench.errors import FolderError, UsageError, WeightsError
from avbench.generate import generate
from avbench.generator.recipe import FAMILY, recipe
from avbench.home import sha256
from avbench.methods import METHODS, Item, Machine, Made, Step, Wanted, folder_name, joint, resolve, swept
from avbench.methods import options as options_of
from avbench.run import read_run, read_sidecar
from avbench.signing import read_manifest
from avbench.split import Prompt, load_split
from avbench.weights import WEIGHTS, Download, Repository, Weight, books

from .line import Demo, avbench
from .scored import pair_json, split_files
from .test_signing import KEYS, credentials


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def needs(name: str, **options: Any) -> set[str]:
    made = recipe(name, **options)
    adapters = [*made.stage_one.values(), *made.stage_two.values()]
    return {made.weights, *(adapter.weights for adapter in adapters)}


def item(pair: str = "a", frames: int = 121, width: int = 384, height: int = 384) -> Item:
    prompt = Prompt(visual="v", speech="s", manner="m", environment="e")
    return Item(pair, "ann", prompt, "s", "en", Path("v.wav"), Path("f.png"), 0, frames, width, height)


# Names and options -----------------------------------------------------------------------------------------------


def test_every_recipe_is_a_method() -> None:
    assert tuple(FAMILY) == joint.NAMES
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
    assert tiny.method.check is not None
    tiny.method.check([item()], Machine())
    tiny.method.ready(Machine())
    assert not resolve(name).method.untrained
    assert resolve(name).method.consent
    assert tiny.method.consent
    assert resolve(name).method.kind == "model"


@given(st.integers(0, 49))
def test_a_number_has_one_spelling_as_a_folder(scale: int) -> None:
    default = scale == 4  # which is left out
    assert resolve(f"idlora@identity_scale={scale}.0").name == (
        "idlora" if default else f"idlora@identity_scale={scale}"
    )
    assert resolve(f"idlora@identity_scale={scale}.5").name == f"idlora@identity_scale={scale}.5"


@pytest.mark.parametrize("name", joint.NAMES)
def test_an_option_at_its_default_changes_neither_name_nor_label_nor_place(name: str) -> None:
    plain = resolve(name)
    for key, parameter in inspect.signature(METHODS[name]).parameters.items():
        spelt = resolve(f"{name}@{key}={parameter.default}")
        assert (spelt.name, spelt.method.label, spelt.method.order) == (name, plain.method.label, plain.method.order)
        assert spelt.method.fingerprint is not None
        assert plain.method.fingerprint is not None
        assert spelt.method.fingerprint() == plain.method.fingerprint()


def test_the_precision_that_is_left_out_is_that_of_the_model() -> None:
    assert resolve("idlora@model=tiny,precision=fp32").name == "idlora@model=tiny"
    assert resolve("idlora@model=tiny,precision=bf16").name == "idlora@model=tiny,precision=bf16"
    assert resolve("idlora@precision=bf16").name == "idlora"
    assert resolve("idlora@precision=fp32").name == "idlora@precision=fp32"


def test_a_sweep_over_the_default_names_no_method_twice() -> None:
    names = [resolve(text).name for text in swept(["idlora", "idlora@steps=8"], ["identity_scale=2,4,6"])]
    assert names == [
        "idlora@identity_scale=2", "idlora", "idlora@identity_scale=6",
        "idlora@identity_scale=2,steps=8", "idlora@steps=8", "idlora@identity_scale=6,steps=8",
    ]  # fmt: skip


FOLDERS = ("idlora", "idlora@identity_scale=2,model=tiny,steps=2", "idlora@identity_scale=6", "theirs@b=1", "a b")


@pytest.mark.parametrize(
    ("text", "folder"),
    [
        ("idlora@model=tiny,steps=2,identity_scale=2", FOLDERS[1]),
        ("idlora@steps=2,identity_scale=2.0,model=tiny,precision=fp32", FOLDERS[1]),
        ("idlora@identity_scale=4.0", "idlora"),
        ("idlora@identity_scale=6.0", FOLDERS[2]),
        ("idlora@identity_scale=7", "idlora@identity_scale=7"),  # is said to be absent, as it was asked for
        ("idlora@identity_scale=nan", "idlora@identity_scale=nan"),
        ("theirs@b=1", "theirs@b=1"),
        ("a b", "a b"),
        ("no such", "no such"),
    ],
)
def test_a_folder_is_found_by_any_spelling_of_its_method(text: str, folder: str) -> None:
    assert folder_name(text, FOLDERS) == folder


def test_a_folder_that_has_the_very_name_is_taken_before_the_one_that_avbench_would_make() -> None:
    assert folder_name("idlora@identity_scale=4", ["idlora", "idlora@identity_scale=4"]) == "idlora@identity_scale=4"
    assert folder_name("theirs@b=1,a=2", ["theirs@a=2,b=1"]) == "theirs@a=2,b=1"


def test_a_sweep_stands_in_tables_in_the_order_of_its_values_and_between_its_neighbours() -> None:
    methods = [
        *(f"idlora{end}" for end in ("@identity_scale=1", "@identity_scale=2", "", "@identity_scale=16")),
        "idlora-onestage",
        "idlora-2.3",
        "ltx-zeroshot",
        "audio-ic-lora",
    ]
    orders = [resolve(method).method.order for method in methods]
    assert orders == sorted(set(orders))


@pytest.mark.parametrize(
    ("name", "key", "values"),
    [
        ("idlora", "identity_scale", (0, 0.5, 2, 4, 16, 50)),
        ("idlora-2.3", "steps", (1, 4, 8, 29, 30, 40, 100, 1000)),
        ("just-dub-it", "video_scale", (1, 1.5, 2, 3, 5, 7, 10)),
        ("ltx-zeroshot", "steps", (4, 30, 50)),
        ("audio-ic-lora", "audio_strength", (0.05, 0.1, 0.5, 0.75, 1, 2)),
        ("audio-ic-lora", "bridge_strength", (0.05, 0.1, 0.5, 0.75, 1, 2)),
    ],
)
def test_a_sweep_of_any_number_stands_in_the_order_of_its_values(
    name: str, key: str, values: tuple[float, ...]
) -> None:
    orders = [resolve(f"{name}@{key}={value}").method.order for value in values]
    assert orders == sorted(set(orders))


@given(st.data(), st.sampled_from(joint.NAMES))
def test_no_options_move_a_method_among_those_of_another_name(data: st.DataObject, name: str) -> None:
    taken: dict[str, float] = {}
    for key, parameter in inspect.signature(METHODS[name]).parameters.items():
        if parameter.annotation is int or parameter.annotation == joint.Number:
            low, high = joint.LIMITS.get(key, (-1e9, 1e9))
            taken[key] = data.draw(st.one_of(st.sampled_from([low, high]), st.floats(low, high)))
    assert taken
    first = joint.FIRST + joint.APART * joint.NAMES.index(name)
    assert first <= joint.order(name, taken) < first + joint.APART


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
        ("idlora@steps=1", "ID-LoRA, 1 step"),
        ("idlora@seed=7,steps=2", "ID-LoRA, 2 steps, seed 7"),
    ],
)
def test_a_label_says_what_differs_from_the_paper(text: str, label: str) -> None:
    assert resolve(text).method.label == label


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("idlora@identity_scale=nan", "method idlora@identity_scale=nan; expected a number from 0 to 50"),
        ("idlora@identity_scale=-50", "method idlora@identity_scale=-50; expected a number from 0 to 50"),
        ("idlora@identity_scale=60", "method idlora@identity_scale=60; expected a number from 0 to 50"),
        ("idlora@identity_scale=big", "identity_scale=big"),
        ("idlora@steps=0", "method idlora@steps=0; expected a number from 1 to 1000"),
        (
            "audio-ic-lora@audio_strength=inf",
            "method audio-ic-lora@audio_strength=inf; expected a number that is finite",
        ),
        ("idlora@steps=1.5", "steps=1.5"),
        ("idlora@masks=none", "masks=none"),
        ("idlora@checkpoint=other", "method idlora@checkpoint=other; expected one of celebvhq, talkvid"),
        ("idlora@precision=int8", "precision=int8"),
        ("idlora@modle=tiny", "Did you mean model"),
        ("ltx-zeroshot@checkpoint=talkvid", "unknown option"),
    ],
)
def test_what_is_wrong_with_an_option_is_said_at_once(text: str, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        resolve(text)


def test_options_are_listed_with_their_values_where_they_are_few_else_with_the_default() -> None:
    assert options_of("idlora")[:4] == [
        "checkpoint=celebvhq|talkvid", "identity_scale=4", "positions=negative|standard", "masks=inference|training",
    ]  # fmt: skip
    assert options_of("classical") == ["voice=matched|plain", "mouth=moving|frozen"]
    assert options_of("shifted") == ["frames"]
    assert options_of("truth") == []
    assert all(options_of(name) or name in ("truth", "still", "replay", "stranger") for name in METHODS)


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


def test_absent_networks_are_listed_with_their_sizes_and_one_command_before_anything_is_made(
    home: Path, tmp_path: Path
) -> None:
    split = load_split(str(split_files(tmp_path / "mini", [pair_json("a")], width=128, height=128)))
    with pytest.raises(WeightsError) as caught:
        generate(split, ["idlora@checkpoint=talkvid"], tmp_path / "runs", workers=1)
    head, *files, last = str(caught.value).splitlines()
    assert head == "network files to fetch, about 78.8 GB:"
    names = ("ltx-2", "id-lora-talkvid", "ltx-2-distilled-lora")
    for line, name, size in zip(files, names, ("70 GB", "1.2 GB", "7.6 GB"), strict=True):
        assert line == f"    {name}: about {size}; {WEIGHTS[name].address}; {WEIGHTS[name].licence}"
    accepting = "--accept-licence ltx-2 --accept-licence gemma --accept-licence id-lora"
    assert last == f"Run: avbench weights fetch {' '.join(names)} {accepting}"
    assert not (tmp_path / "runs").exists()


def test_absent_libraries_are_told_with_the_extra_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joint, "find_spec", lambda name: None if name == "peft" else name)
    check = resolve("idlora@model=tiny").method.check
    assert check is not None
    with pytest.raises(UsageError, match=r"needs peft; .*avbench\[generate\]"):
        check([item()], Machine())


@pytest.mark.parametrize("method", ["idlora", "idlora@model=tiny", "audio-ic-lora@model=tiny"])
@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"frames": 24}, "24 frames; expected 8 k"),
        ({"width": 400}, "400 x 384 pixels"),
        ({"height": 16}, "384 x 16 pixels"),
    ],
)
def test_a_size_that_is_not_made_is_told_at_once_also_by_the_tiny_model(
    method: str, given: dict[str, int], says: str
) -> None:
    check = resolve(method).method.check
    assert check is not None
    check([item()], Machine())
    with pytest.raises(UsageError, match=f"b: {says}"):
        check([item(), item("b", **given)], Machine())


@pytest.mark.parametrize("method", ["idlora", "idlora@model=tiny"])
def test_what_is_wrong_with_a_size_is_said_before_weights_are_asked_for_or_the_truth_is_made(
    home: Path, tmp_path: Path, method: str
) -> None:
    folder = split_files(tmp_path / "mini", [pair_json("a")])
    head = (folder / "split.toml").read_text()
    assert "frames = 121" in head
    (folder / "split.toml").write_text(head.replace("frames = 121", "frames = 24"))
    with pytest.raises(UsageError, match="a: 24 frames"):
        generate(load_split(str(folder)), ["truth", method], tmp_path / "runs", workers=1)
    assert not (tmp_path / "runs").exists()
    assert not home.exists()


@pytest.mark.parametrize("layout", ["2.0", "2.3"])
def test_a_model_of_another_layout_is_refused_before_anything_is_made(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Literal["2.0", "2.3"]
) -> None:
    from avbench.generator.tiny import save_tiny

    monkeypatch.setattr(weights, "ensure", lambda names: None)
    monkeypatch.setattr(weights, "where", lambda name: tmp_path / "model")
    save_tiny(tmp_path / "model", layout)
    ready = resolve("idlora" if layout == "2.3" else "idlora-2.3").method.ready
    assert ready is not None
    with pytest.raises(WeightsError, match=f"a transformer of layout {layout}"):
        ready(Machine())


def test_a_method_is_made_of_its_settings_and_of_the_networks_that_are_known_here(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def parts(text: str) -> dict[str, str]:
        fingerprint = resolve(text).method.fingerprint
        assert fingerprint is not None
        return dict(fingerprint())

    assert set(parts("idlora")) == {"settings"}  # nothing came yet
    alike = [0.30000000000000004, {"passes": [1e-17 + 2]}, "0.1", 3, None]
    assert joint._rounded(alike) == [0.3, {"passes": [2.0]}, "0.1", 3, None]
    digests = {parts(text)["settings"] for text in ("idlora", "idlora@steps=8", "idlora@precision=fp8", "idlora-2.3")}
    assert len(digests) == 4
    books.lock("id-lora-celebvhq", 5, "ab" * 32, "https://example.org")
    first = parts("idlora")
    assert set(first) == {"settings", "id-lora-celebvhq"}
    monkeypatch.setattr(weights, "digest8", lambda names: "other")
    assert parts("idlora")["settings"] == first["settings"]
    assert parts("idlora")["id-lora-celebvhq"] != first["id-lora-celebvhq"]


def test_a_disk_that_is_full_while_networks_are_written_is_no_bug(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors import SafetensorError

    from avbench import generate as generating
    from avbench.generator import tiny

    def full(folder: Path, layout: str) -> Path:
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(generating, "run_jobs", lambda task, jobs, *_: ((job, task(job)) for job in jobs))
    monkeypatch.setattr(tiny, "save_tiny", full)
    split = load_split(str(split_files(tmp_path / "mini", [pair_json("a")], width=128, height=128)))
    media = tmp_path / "data" / "mini"
    media.mkdir(parents=True)
    for medium in (split.pairs[0].voice, split.pairs[0].face):
        (media / medium).write_bytes(b"bytes")
    with pytest.raises(FolderError, match="the disk is full"):
        generate(split, ["idlora@model=tiny"], tmp_path / "runs", data=tmp_path / "data", workers=1)
    assert not list((tmp_path / "runs").rglob("a.json"))
    monkeypatch.setattr(tiny, "save_tiny", lambda *_: (_ for _ in ()).throw(SafetensorError("header too small")))
    with pytest.raises(SafetensorError, match="header"):
        generate(split, ["idlora@model=tiny"], tmp_path / "runs", data=tmp_path / "data", workers=1)


@pytest.mark.parametrize("device", ["cuda:99", "gpu"])
def test_a_device_that_is_not_there_is_told_before_anything_is_looked_for(
    home: Path, tmp_path: Path, device: str
) -> None:
    split = load_split(str(split_files(tmp_path / "mini", [pair_json("a")], width=128, height=128)))
    for method in ("idlora", "idlora@model=tiny"):
        with pytest.raises(UsageError, match=f"device '{device}'; found here: cpu"):
            generate(split, [method], tmp_path / "runs", workers=1, machine=Machine(device))
    assert not (tmp_path / "runs").exists()
    assert not home.exists()


# A model of many files -------------------------------------------------------------------------------------------

NO_NUMBERS = "\x02" + 7 * "\0" + "{}"  # a safetensors file of no tensors
FILES = {
    "model_index.json": "{}",
    "transformer/config.json": "{}",
    "transformer/a.safetensors": NO_NUMBERS,
    "vae/scheduler_config.json": "{}",
    "vae/b.bin": "b",
}
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

    def info(self, _: object, repository: str, **asked: Any) -> SimpleNamespace:
        files = [SimpleNamespace(rfilename=name, size=len(content)) for name, content in self.files.items()]
        return SimpleNamespace(sha="c" * 40, siblings=files)

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
        monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *asked, **more: hub.info(*asked, **more))
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
            (folder / "c.safetensors").write_text(NO_NUMBERS)
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


# Large files ------------------------------------------------------------------------------------------------------

LARGE = Weight(
    "large", Download(("https://example.org/large.bin",)), 5, hashlib.sha256(b"bytes").hexdigest(), "MIT", True,
    "A file that counts as large.", "https://example.org/large", ("idlora",),
)  # fmt: skip


@pytest.fixture
def large(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(weights, "LARGE_BYTES", 1)
    monkeypatch.setattr(weights, "WEIGHTS", {"large": LARGE})
    file = weights.where("large")
    file.parent.mkdir(parents=True)
    file.write_bytes(b"bytes")
    return file


def reads(monkeypatch: pytest.MonkeyPatch, checked: Callable[[str], Path]) -> int:
    """How often the file is read where a process that remembers nothing checks it."""
    found: list[Path] = []

    def digest(file: Path) -> str:
        found.append(file)
        return sha256(file)

    monkeypatch.setattr(weights, "sha256", digest)
    weights._digest.cache_clear()
    checked("large")
    return len(found)


def test_a_large_file_is_not_read_at_every_start(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [reads(monkeypatch, weights.path) for _ in range(3)] == [1, 0, 0]
    assert [reads(monkeypatch, weights.verify) for _ in range(2)] == [1, 1]
    assert [reads(monkeypatch, weights.fetch) for _ in range(2)] == [1, 1]
    assert reads(monkeypatch, weights.path) == 0
    large.write_bytes(b"bytes")  # the same, at another time
    assert [reads(monkeypatch, weights.path) for _ in range(2)] == [1, 0]


def test_a_file_that_pretends_to_be_as_it_was_is_read(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    weights.path("large")
    before = large.stat()
    large.write_bytes(b"bytez")
    os.utime(large, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(WeightsError, match="is damaged or another file"):
        reads(monkeypatch, weights.path)


def test_nothing_is_written_of_small_files(large: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "LARGE_BYTES", 6)
    assert [reads(monkeypatch, weights.path) for _ in range(2)] == [1, 1]
    assert not (home / "weights" / "digests.json").exists()


def test_a_home_that_others_keep_is_read_every_time(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise FolderError("not writable")

    monkeypatch.setattr(books, "_write", refuse)
    assert [reads(monkeypatch, weights.path) for _ in range(2)] == [1, 1]


def test_a_damaged_record_of_readings_is_told(large: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (home / "weights" / "digests.json").write_text("{")
    with pytest.raises(WeightsError, match=r"digests.json: cannot be read .* begun anew"):
        reads(monkeypatch, weights.path)


# A download of many files -------------------------------------------------------------------------------------------


def test_hidden_files_that_a_download_leaves_are_no_part_of_a_model(toy: Callable[..., Hub]) -> None:
    toy()
    folder = weights.fetch("toy")
    (folder / ".cache").mkdir()
    (folder / ".cache" / "lock").write_text("x")
    (folder / "vae" / ".b.bin.lock").write_text("x")
    assert weights.verify("toy") == folder


def test_a_download_that_breaks_off_is_said_and_leaves_no_model(toy: Callable[..., Hub], home: Path) -> None:
    toy(error=OSError("connection\nlost"))
    with pytest.raises(
        WeightsError, match=r"some/toy cannot be reached, or the line broke \(OSError: connection lost\)"
    ):
        weights.fetch("toy")
    assert not weights.present("toy")
    assert (home / "weights" / ".toy.part").is_dir()
    toy()
    assert weights.fetch("toy").is_dir()
    assert not (home / "weights" / ".toy.part").exists()


def test_a_repository_that_lacks_a_part_is_not_taken(toy: Callable[..., Hub]) -> None:
    hub = toy(files={name: content for name, content in FILES.items() if "vae" not in name})
    with pytest.raises(WeightsError, match="has no vae"):
        weights.fetch("toy")
    assert not hub.asked
    assert not weights.present("toy")


def test_nothing_of_a_model_is_downloaded_offline(toy: Callable[..., Hub], monkeypatch: pytest.MonkeyPatch) -> None:
    hub = toy()
    monkeypatch.setenv("AVBENCH_OFFLINE", "1")
    with pytest.raises(WeightsError, match="nothing is downloaded"):
        weights.fetch("toy")
    assert not hub.asked


# From pair to clip -----------------------------------------------------------------------------------------------


def test_shots_carry_the_items_size_and_seed_and_the_tiny_model_its_own_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from avbench.generator import pipeline

    seen: list[tuple[Any, ...]] = []

    def produce(made: Any, folder: Path, shots: Sequence[Any], **options: Any) -> Any:
        seen.extend((folder, shot, options) for shot in shots)
        yield pipeline.Step(shots[1].pair, 3, 33)
        yield from (pipeline.Made(shots[0].pair, {"k": 1}, ""), pipeline.Made(shots[1].pair, {}, "too quiet"))

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
        step, *answers = make_many(wanted, Machine("cuda:1", "offload"))
        assert step == Step("b", 3, 33)
        assert isinstance(step, Step)
        made = [one for one in answers if isinstance(one, Made)]
        assert [(one.pair, one.failure) for one in made] == [("a", ""), ("b", "too quiet")]
        assert made[0].provenance["k"] == 1
        assert set(made[0].provenance["weights"]) == (
            {"ltx-2", "id-lora-celebvhq", "ltx-2-distilled-lora"} if size[0] > 128 else set()
        )
        for want, (folder, shot, options) in zip(wanted, seen, strict=True):
            item = want.item
            assert (shot.pair, shot.prompt, shot.voice, shot.face) == (item.pair, prompt, item.voice, item.face)
            assert (shot.seed, shot.frames, shot.width, shot.height, shot.path) == (item.seed, 121, *size, want.path)
            assert options == {"precision": precision, "device": "cuda:1", "memory": "offload"}
            assert (folder == tmp_path / "weights" / "ltx-2") == (size[0] > 128)


@pytest.mark.slow
def test_the_line_from_split_to_table_on_the_tiny_model(demo: Demo, tmp_path: Path) -> None:
    arguments = ["generate", "--split", "demo", "--limit", "2", "--model", "tiny", "--method", "idlora@steps=2"]
    arguments += ["--method", "idlora-2.3@steps=2", "--method", "audio-ic-lora", "--memory", "staged"]
    files = credentials(tmp_path / "signer", KEYS["es256"]())
    arguments += ["--c2pa-certificate", str(files.certificate), "--c2pa-key", str(files.key)]
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
        assert sidecar.provenance["consent"].startswith("not asked for an untrained method")
        manifest = read_manifest(folder / f"{name}.mp4", files.root)
        assert manifest is not None
        assert manifest.trusted
        assert manifest.label == sidecar.provenance["c2pa"]["manifest"]
        assert manifest.generation["method"] == "idlora@model=tiny,steps=2"
        assert manifest.generation["untrained"] is True
        assert sidecar.clip_sha256 == sha256(folder / f"{name}.mp4")
    scored = avbench("score", tmp_path, "--limit", 2, home=demo.home)
    assert "unmeasurable: no face found" in scored.stderr
    table = avbench("table", "--runs", tmp_path, "--method", "idlora@model=tiny,steps=2", home=demo.home)
    assert "untrained" in table.stdout


def test_places_of_networks_differ() -> None:
    places = [weights.where(name) for name, weight in WEIGHTS.items() if isinstance(weight.source, Download)]
    assert not [pair for pair in itertools.combinations(places, 2) if pair[0] == pair[1]]
