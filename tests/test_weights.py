"""Network files: pinned, fetched once, never used when they are not what they should be."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pickle
import re
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from avbench import weights
from avbench.errors import FolderError, UsageError, WeightsError
from avbench.extract import EXTRACTORS
from avbench.extract.nets.ge2e import SpeakerEncoder, load_speaker_encoder
from avbench.extract.nets.loading import fit, read_pickled, read_safetensors
from avbench.generator.networks import PARTS, UPSAMPLER
from avbench.generator.recipe import FAMILY, Layout, recipe
from avbench.methods import joint
from avbench.weights import WEIGHTS, Download, Folder, Installed, Repository, Weight, Wheel
from avbench.weights.forms import misfit_of_model

CONTENT = bytes(range(256)) * 40
MEMBER = "toy/net.bin"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def build_wheel(folder: Path, content: bytes = CONTENT, member: str = MEMBER) -> Path:
    """A wheel that pip takes: one file, and the metadata that makes it a distribution."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "toynet-1.0-py3-none-any.whl"
    info = "toynet-1.0.dist-info"
    files = {
        member: content,
        f"{info}/METADATA": b"Metadata-Version: 2.1\nName: toynet\nVersion: 1.0\n",
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"]).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@dataclasses.dataclass
class Index:
    """A stand-in for pip: hands out one wheel, and counts how often."""

    wheel: Path
    calls: int = 0
    seconds: float = 0.0

    def __call__(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        self.calls += 1
        time.sleep(self.seconds)
        folder = Path(arguments[arguments.index("--dest") + 1])
        folder.mkdir(parents=True)
        (folder / self.wheel.name).write_bytes(self.wheel.read_bytes())
        return subprocess.CompletedProcess(arguments, 0, "", "")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def toy(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Weight:
    """One network file that lies in a wheel, in place of all others."""
    wheel = build_wheel(tmp_path / "index")
    weight = make_weight(Wheel("toynet==1.0", MEMBER, digest(wheel.read_bytes())))
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": weight})
    return weight


@pytest.fixture
def index(tmp_path: Path, toy: Weight, monkeypatch: pytest.MonkeyPatch) -> Index:
    index = Index(tmp_path / "index" / "toynet-1.0-py3-none-any.whl")
    monkeypatch.setattr(weights, "_pip", index)
    return index


def make_weight(source: Installed | Wheel, content: bytes = CONTENT) -> Weight:
    return Weight("toy", source, len(content), digest(content), "MIT", True, "", "https://example.org", ("none",))


def leftovers(home: Path) -> list[str]:
    return sorted(path.name for path in (home / "weights").iterdir() if not path.name.endswith(".lock"))


# Those of the generator, for which nobody publishes a digest or a commit, are looked at in test_joint.py.
MEASURING = {name: weight for name, weight in WEIGHTS.items() if not set(weight.used_by) & set(FAMILY)}


# The registry ----------------------------------------------------------------------------------------------------


def test_every_entry_is_pinned_and_says_what_it_is() -> None:
    for name, weight in WEIGHTS.items():
        assert name == weight.name
        assert (weight.size > 0, len(bytes.fromhex(weight.sha256))) in ((True, 32), (False, 0))
        assert weight.licence
        assert weight.note
        assert weight.address.startswith("https://")
        if isinstance(weight.source, Wheel):
            assert len(bytes.fromhex(weight.source.sha256)) == 32
            assert weight.source.requirement.count("==") == 1
        elif isinstance(weight.source, Download):
            assert weight.source.addresses
            assert all(address.startswith("https://") for address in weight.source.addresses)
            assert not weight.source.member or len(bytes.fromhex(weight.source.archive_sha256)) == 32
        else:
            assert weight.sha256


def test_files_of_model_repositories_are_asked_for_at_one_commit() -> None:
    addresses = [
        address
        for weight in MEASURING.values()
        if isinstance(weight.source, Download)
        for address in weight.source.addresses
    ]
    hub = [address for address in addresses if "huggingface.co" in address]
    assert len(hub) >= 8
    assert all(re.search(r"/resolve/[0-9a-f]{40}/", address) for address in hub)


def test_no_two_files_share_a_place(home: Path) -> None:
    places = [weights.where(name) for name in WEIGHTS]
    assert len(set(places)) == len(places)
    folders = {name for name, weight in WEIGHTS.items() if isinstance(weight.source, Folder | Repository)}
    assert all(place.suffix for name, place in zip(WEIGHTS, places, strict=True) if name not in folders)


def test_every_entry_names_exactly_the_extractors_that_use_it() -> None:
    users = {name: set() for name in MEASURING}  # type: dict[str, set[str]]
    for name, extractor in EXTRACTORS.items():
        for weight in extractor.weights:
            users[weight].add(name)
    assert users == {name: set(weight.used_by) for name, weight in MEASURING.items()}


def test_what_excludes_commerce_has_terms_to_accept_but_for_the_landmarks_of_an_installed_package() -> None:
    asked = {name: [terms.name for terms in weight.terms] for name, weight in WEIGHTS.items()}
    assert {name: asked[name] for name, weight in MEASURING.items() if not weight.commercial} == {
        "dlib-68-landmarks": [],
        **{name: ["insightface"] for name in ("scrfd-10g", "arcface-r50", "landmarks-1k3d68")},
        **{name: ["syncnet"] for name in ("syncnet-v2", "s3fd")},
    }
    assert not [name for name, weight in WEIGHTS.items() if weight.commercial and weight.terms]
    known = weights.terms()
    assert set(known) == {"insightface", "syncnet", "ltx-2", "gemma", "id-lora"}
    assert all(known[terms] == [name for name in WEIGHTS if terms in asked[name]] for terms in known)
    assert set(known["ltx-2"]) == {
        name for name in WEIGHTS if name not in MEASURING
    }  # bases, and what is made for them


def test_only_what_carries_the_text_encoder_asks_for_its_terms() -> None:
    carrying = {name for name, weight in WEIGHTS.items() if "text_encoder" in getattr(weight.source, "folders", ())}
    assert set(weights.terms()["gemma"]) == carrying == {"ltx-2", "ltx-2.3", "ltx-2.3-distilled"}
    assert all("Gemma" in WEIGHTS[name].licence for name in carrying)


def test_every_part_that_a_recipe_loads_belongs_to_its_model() -> None:
    for name in joint.NAMES:
        made = recipe(name)
        source = WEIGHTS[made.weights].source
        assert isinstance(source, Repository)
        needed = {*PARTS, *([UPSAMPLER] if made.refine else [])}
        assert needed <= set(source.folders)
        assert source.repository
        assert {folder for folder, _ in source.borrowed} <= set(source.folders)


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["2.0", "2.3"])
def test_a_model_as_diffusers_saves_it_is_whole_and_without_any_of_its_files_is_not(
    tmp_path: Path, layout: Layout
) -> None:
    from avbench.generator.tiny import save_tiny

    folder = save_tiny(tmp_path / "tiny", layout)
    parts = (*PARTS, UPSAMPLER, "scheduler")
    assert misfit_of_model(folder, parts) == ""
    for file in [*folder.glob("*/*.safetensors"), *folder.glob("*/config.json"), folder / "model_index.json"]:
        away = file.rename(tmp_path / "away")
        assert misfit_of_model(folder, parts)
        away.rename(file)


def test_every_file_says_how_much_there_is_to_download(home: Path) -> None:
    assert not [name for name in WEIGHTS if weights.size(name) == "size unknown"]
    assert weights.size("ltx-2") == "about 70 GB"
    assert weights.size("audio-ic-lora-audio-only") == "about 164 MB"
    assert weights.size("wavlm-large") == "1.3 GB"
    assert weights.size("whisper-normalizer") == "about 53 kB"


def test_the_extra_installs_the_versions_whose_files_are_pinned() -> None:
    import tomllib

    project = tomllib.loads((Path(weights.__file__).parents[2] / "pyproject.toml").read_text())["project"]
    for weight in WEIGHTS.values():
        if isinstance(weight.source, Installed | Folder):
            pin = f"{weight.source.distribution}=={weight.source.version}"
            assert pin in project["optional-dependencies"][weight.source.extra]


def test_installed_files_are_there_and_right() -> None:
    for name, weight in WEIGHTS.items():
        if isinstance(weight.source, Installed | Folder):
            assert weights.verify(name) == weights.path(name)


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    with pytest.raises(UsageError, match="Did you mean silero-vad"):
        weights.path("silero")


def test_digest8_depends_on_every_file_and_on_their_order_and_reads_none(home: Path) -> None:
    names = ["ge2e-resemblyzer", "silero-vad"]
    joined = "\n".join(WEIGHTS[name].sha256 for name in names)
    assert weights.digest8(names) == hashlib.sha256(joined.encode()).hexdigest()[:8]
    assert len({weights.digest8(part) for part in (names, names[::-1], names[:1], names[1:])}) == 4
    assert not home.exists()


# Files inside wheels ---------------------------------------------------------------------------------------------


def test_pip_fetches_the_wheel_and_only_the_member_is_kept(
    toy: Weight, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    assert not weights.present("toy")
    assert weights.path("toy").read_bytes() == CONTENT
    assert weights.present("toy")
    assert leftovers(home) == [weights.where("toy").name]
    assert capfd.readouterr() == ("", "")


def test_a_failure_of_pip_is_told_in_its_last_line(
    toy: Weight, tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "empty"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(WeightsError) as caught:
        weights.path("toy")
    message = str(caught.value)
    assert "No matching distribution found for toynet==1.0" in message
    assert str(weights.where("toy")) in message
    assert "avbench weights fetch toy" in message
    assert "\n" not in message
    assert leftovers(home) == []


def test_a_python_without_pip_is_told(toy: Weight, laptop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(laptop))
    with pytest.raises(WeightsError, match="No module named pip"):
        weights.path("toy")


def test_a_file_that_is_there_and_right_is_not_fetched_again(index: Index) -> None:
    weights.path("toy")
    weights.path("toy")
    weights.fetch("toy")
    weights.ensure(["toy"])
    assert index.calls == 1


@pytest.mark.parametrize("damage", [CONTENT[:-1], CONTENT + b"x", b"x" + CONTENT[1:], b""], ids=str)
def test_a_damaged_file_is_seen_and_fetched_again(index: Index, damage: bytes) -> None:
    place = weights.path("toy")
    time.sleep(0.01)  # so that the time of change differs
    place.write_bytes(damage)
    with pytest.raises(WeightsError, match="avbench weights fetch toy"):
        weights.verify("toy")
    assert weights.path("toy").read_bytes() == CONTENT
    assert index.calls == 2


def test_damage_that_keeps_size_and_time_is_seen_by_verify_and_fetch(index: Index) -> None:
    import os

    place = weights.path("toy")
    status = place.stat()
    place.write_bytes(b"x" + CONTENT[1:])
    os.utime(place, ns=(status.st_atime_ns, status.st_mtime_ns))
    with pytest.raises(WeightsError, match="damaged or another file"):
        weights.verify("toy")
    assert weights.fetch("toy").read_bytes() == CONTENT


def test_verify_of_an_absent_file_fetches_nothing(index: Index) -> None:
    with pytest.raises(WeightsError, match="is not there"):
        weights.verify("toy")
    assert index.calls == 0


def test_another_wheel_than_the_pinned_one_is_not_opened(index: Index, home: Path) -> None:
    build_wheel(index.wheel.parent, CONTENT, "other/name.bin")
    with pytest.raises(WeightsError, match="It was not opened") as caught:
        weights.path("toy")
    assert digest(index.wheel.read_bytes()) in str(caught.value)
    assert leftovers(home) == []


@pytest.mark.parametrize("content", [CONTENT[:-1], CONTENT + b"x", b"x" + CONTENT[1:]], ids=["short", "long", "other"])
def test_another_member_than_the_pinned_one_is_not_kept(
    index: Index, home: Path, monkeypatch: pytest.MonkeyPatch, content: bytes
) -> None:
    wheel = build_wheel(index.wheel.parent, content)
    weight = make_weight(Wheel("toynet==1.0", MEMBER, digest(wheel.read_bytes())))
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": weight})
    with pytest.raises(WeightsError, match="is not the pinned file"):
        weights.path("toy")
    assert leftovers(home) == []


def test_a_member_that_is_absent_is_told(index: Index, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wheel = build_wheel(index.wheel.parent, CONTENT, "toy/other.bin")
    weight = make_weight(Wheel("toynet==1.0", MEMBER, digest(wheel.read_bytes())))
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": weight})
    with pytest.raises(WeightsError, match=r"has no member toy/net\.bin"):
        weights.path("toy")


def test_a_wheel_that_is_no_zip_file_is_told(index: Index, monkeypatch: pytest.MonkeyPatch) -> None:
    index.wheel.write_bytes(b"not a zip file")
    weight = make_weight(Wheel("toynet==1.0", MEMBER, digest(b"not a zip file")))
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": weight})
    with pytest.raises(WeightsError, match="cannot be unpacked"):
        weights.path("toy")


def test_what_a_killed_download_left_behind_is_removed(index: Index, home: Path) -> None:
    left = home / "weights" / ".toy.abc123.part"
    left.mkdir(parents=True)
    (left / "wheel").write_bytes(b"half")
    weights.path("toy")
    assert leftovers(home) == [weights.where("toy").name]


def test_two_that_need_a_file_at_once_download_it_once(index: Index) -> None:
    index.seconds = 0.3
    found: list[bytes] = []
    threads = [threading.Thread(target=lambda: found.append(weights.path("toy").read_bytes())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [CONTENT] * 3
    assert index.calls == 1


def test_a_folder_that_cannot_be_written_is_told(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **options: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(FolderError, match="not writable"):
        weights.path("toy")


def test_ensure_lists_every_file_that_cannot_be_had(toy: Weight, monkeypatch: pytest.MonkeyPatch) -> None:
    absent = dataclasses.replace(toy, name="other", source=Installed("no-such-distribution", "1", "x/y", "embedded"))
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": toy, "other": absent})
    monkeypatch.setattr(weights, "_pip", lambda _: subprocess.CompletedProcess([], 1, "", "ERROR: no network\n"))
    with pytest.raises(WeightsError) as caught:
        weights.ensure(["toy", "other"])
    assert "ERROR: no network" in str(caught.value)
    assert "no-such-distribution is not installed" in str(caught.value)


# Files of installed distributions --------------------------------------------------------------------------------


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bytes], Path]]:
    """Installs a distribution `toynet` whose import would fail, and makes `toy` a file of it."""
    site = tmp_path / "site"
    info = site / "toynet-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toynet\nVersion: 1.0\n")
    (info / "RECORD").write_text(f"{MEMBER},,\n")
    (site / "toy").mkdir()
    (site / "toy" / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": make_weight(Installed("toynet", "1.0", MEMBER, "embedded"))})

    def write(content: bytes) -> Path:
        (site / MEMBER).write_bytes(content)
        return site / MEMBER

    yield write
    assert "toy" not in sys.modules


def test_a_file_of_a_distribution_is_found_without_importing_it(install: Callable[[bytes], Path]) -> None:
    place = install(CONTENT)
    assert weights.path("toy") == weights.fetch("toy") == weights.where("toy") == place


def test_another_version_of_a_distribution_is_told_with_what_to_run(install: Callable[[bytes], Path]) -> None:
    install(b"x" + CONTENT[1:])
    with pytest.raises(WeightsError, match=r"pip install --force-reinstall --no-deps toynet==1\.0"):
        weights.path("toy")


def test_a_distribution_without_the_file_is_told(install: Callable[[bytes], Path]) -> None:
    with pytest.raises(WeightsError, match="is not there"):
        weights.path("toy")
    with pytest.raises(WeightsError, match="is not there"):
        weights.verify("toy")


def test_a_distribution_that_is_absent_is_told_with_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    source = Installed("no-such-distribution", "1.0", MEMBER, "embedded")
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": make_weight(source)})
    assert not weights.present("toy")
    with pytest.raises(WeightsError, match=r"pip install 'avbench\[embedded\]'"):
        weights.path("toy")


@pytest.fixture
def model(install: Callable[[bytes], Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of a model of two files, one of them in a folder of its own, with one beside them that is not its."""
    place = install(CONTENT).parent
    (place / "sub").mkdir()
    (place / "sub" / "more.bin").write_bytes(b"more")
    (place / "readme").write_bytes(b"anything")
    info = next(place.parent.glob("toynet-1.0.dist-info"))
    (info / "RECORD").write_text("toy/net.bin,,\ntoy/sub/more.bin,,\ntoy/readme,,\n")
    listed = f"{digest(CONTENT)}  net.bin\n{digest(b'more')}  sub/more.bin\n"  # what sha256sum prints
    source = Folder("toynet", "1.0", "toy", ("net.bin", "sub/more.bin"), "embedded")
    weight = Weight("toy", source, len(CONTENT) + 4, digest(listed.encode()), "MIT", True, "", "https://e.org", ())
    monkeypatch.setattr(weights, "WEIGHTS", {"toy": weight})
    return place


def test_the_files_of_a_model_are_one_folder_and_those_beside_them_do_not_count(model: Path) -> None:
    assert weights.path("toy") == weights.verify("toy") == weights.where("toy") == model
    assert weights.present("toy")
    (model / "readme").unlink()
    assert weights.verify("toy") == model


def test_any_file_of_a_model_that_is_missing_or_another_is_told(model: Path) -> None:
    part = model / "sub" / "more.bin"
    part.write_bytes(b"mole")
    with pytest.raises(WeightsError, match=r"another model.*pip install --force-reinstall --no-deps toynet==1\.0"):
        weights.verify("toy")
    part.write_bytes(b"longer")
    assert not weights.present("toy")
    with pytest.raises(WeightsError, match=r"10246 bytes in the 2 files of the model; expected 10244"):
        weights.path("toy")
    part.unlink()
    with pytest.raises(WeightsError, match=r"more\.bin is not there"):
        weights.ensure(["toy"])


# Reading them ----------------------------------------------------------------------------------------------------


class Harmful:
    """Pickled, a call that makes a file when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.mark,))


def test_a_pickle_that_holds_code_is_refused_and_not_run(tmp_path: Path) -> None:
    path, mark = tmp_path / "harmful.pt", tmp_path / "mark"
    torch.save({"model_state": Harmful(mark)}, path)
    for wrapper in ("model_state", None):
        with pytest.raises(WeightsError, match="not a torch file of numbers"):
            read_pickled(path, wrapper)
    assert not mark.exists()
    path.write_bytes(pickle.dumps(Harmful(mark), protocol=2))
    with pytest.raises(WeightsError, match="not a torch file of numbers"):
        read_pickled(path, "model_state")
    assert not mark.exists()


def test_what_a_torch_file_holds_beside_the_network_must_be_expected(tmp_path: Path) -> None:
    path, state = tmp_path / "net.pt", {"a": torch.ones(2)}
    torch.save({"model_state": state, "step": 3, "optimizer_state": {}}, path)
    assert read_pickled(path, "model_state", ("step", "optimizer_state"))["a"].tolist() == [1, 1]
    with pytest.raises(WeightsError, match="unexpected 'optimizer_state', 'step'"):
        read_pickled(path, "model_state")
    with pytest.raises(WeightsError, match="no 'ema' in it"):
        read_pickled(path, "ema")
    torch.save({"model_state": {"a": 1}}, path)
    with pytest.raises(WeightsError, match="not a table of tensors"):
        read_pickled(path, "model_state")


def test_a_network_takes_its_own_numbers_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "net.pt"
    state = SpeakerEncoder().state_dict()
    loss = {"similarity_weight": torch.ones(1), "similarity_bias": torch.ones(1)}
    torch.save({"model_state": {**state, **loss}, "step": 1, "optimizer_state": {}}, path)
    loaded = load_speaker_encoder(path)
    assert all(torch.equal(loaded.state_dict()[name], state[name]) for name in state)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    for wrong in (
        {name: value for name, value in state.items() if name != "linear.bias"},
        {**state, "surplus": torch.ones(1)},
        {**state, "linear.bias": torch.ones(3)},
    ):
        with pytest.raises(WeightsError, match="of another network than SpeakerEncoder"):
            fit(SpeakerEncoder(), wrong, path, unused=tuple(loss))


def safetensors(table: dict[str, Any], numbers: bytes) -> bytes:
    head = json.dumps(table).encode()
    return len(head).to_bytes(8, "little") + head + numbers


def test_a_safetensors_file_is_read(tmp_path: Path) -> None:
    import numpy as np

    path = tmp_path / "net.safetensors"
    first, second = np.arange(6, dtype="<f4"), np.array([-1.5], "<f4")
    table = {
        "__metadata__": {"format": "pt"},
        "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
        "b": {"dtype": "F32", "shape": [], "data_offsets": [24, 28]},
    }
    path.write_bytes(safetensors(table, first.tobytes() + second.tobytes()))
    state = read_safetensors(path)
    assert state["a"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert state["b"].item() == -1.5
    assert list(state) == ["a", "b"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 16,
        safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}, bytes(4)),
        safetensors({"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}, bytes(8)),
        safetensors({"a": {"dtype": "F16", "shape": [4], "data_offsets": [0, 8]}}, bytes(8)),
        safetensors({"a": {"dtype": "F32", "shape": [2], "data_offsets": [-8, 0]}}, bytes(8)),
        safetensors({"a": {"dtype": "F32", "shape": [2]}}, bytes(8)),
        safetensors({"a": 3}, bytes(8)),
        (2).to_bytes(8, "little") + b"[]",
    ],
    ids=["empty", "garbage", "truncated", "shape", "type", "negative", "no offsets", "no table", "list"],
)
def test_a_safetensors_file_that_contradicts_itself_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="not a safetensors file"):
        read_safetensors(path)
