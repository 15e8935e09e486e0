"""Cross-checks against other packages: a real program in another process, with made-up answers."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from avbench import selftest
from avbench.clip import Sound, read_audio, write_audio
from avbench.errors import UsageError, WeightsError
from avbench.extract import EXTRACTORS, Engine
from avbench.features import LipTracks, SoundWindows
from avbench.selftest import PACKAGES, Package, Request, cross_check, runner_of

from .line import avbench

ROOT = Path(__file__).resolve().parent.parent
PYTHON = Path(sys.executable)
HEAD = "# /// script\n# requires-python = '>=3.9'\n# dependencies = ['toynet==1.0', 'torch']\n# ///\n"

Runner = Callable[[str], Path]


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runner:
    """Writes the program of the package `toy` into the working folder."""
    monkeypatch.chdir(tmp_path)

    def write(body: str) -> Path:
        path = tmp_path / "bench" / "crosscheck" / "toy.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(HEAD + body)
        return path

    return write


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.wav"
    samples = np.sin(np.arange(3 * 24_000) * 0.05).astype(np.float32) * np.float32(0.3)
    write_audio(path, Sound(samples, 24_000))
    return path


def toy(monkeypatch: pytest.MonkeyPatch, ours: dict[str, Any], **settings: Any) -> None:
    package = Package(
        name="toy",
        extractors=(),
        weights=(),
        ours=lambda request, engine: ours,
        tolerances={"number": 0.01, "text": 0.25},
        note="A toy.",
        **settings,
    )
    monkeypatch.setitem(PACKAGES, "toy", package)


def answering(values: dict[str, Any]) -> str:
    return f"import json\nprint(json.dumps({{'values': {values!r}, 'versions': {{'toynet': '1.0'}}}}))\n"


def test_values_of_both_sides_stand_beside_each_other(
    runner: Runner, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    toy(monkeypatch, {"number 1": 0.5, "number 2": 1.0, "text 1": "one two three four", "only ours": 1.0})
    runner(answering({"number 1": 0.509, "number 2": 1.02, "text 1": "one two tree four", "only theirs": 1}))
    found = cross_check("toy", PYTHON, [clip])
    rows = {value.name: value for value in found.values}
    assert found.versions == {"toynet": "1.0"}
    assert rows["number 1"].difference == pytest.approx(0.009)
    assert rows["number 1"].agrees
    assert not rows["number 2"].agrees
    assert rows["text 1"].difference == 0.25
    assert rows["text 1"].agrees
    assert rows["only ours"].theirs is None
    assert rows["only theirs"].ours is None
    assert not rows["only ours"].agrees
    assert not found.agrees


@pytest.mark.parametrize(
    ("ours", "theirs", "difference"),
    [
        ("a b c", "a b c", 0.0),
        ("a b c", "a c", 0.5),
        ("", "a b", 1.0),
        ("a", "", 1.0),
        ("a  b", "a b", 0.5),  # the same words, and yet not the same text
        (1.0, "1.0", float("inf")),
        (float("nan"), 1.0, float("inf")),
        (1.0, None, float("inf")),
    ],
)
def test_differences(ours: Any, theirs: Any, difference: float) -> None:
    assert selftest._difference(ours, theirs) == difference


def test_no_values_at_all_are_no_agreement(runner: Runner, clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy(monkeypatch, {})
    runner(answering({}))
    assert not cross_check("toy", PYTHON, [clip]).agrees


def test_the_program_gets_clips_sounds_and_texts(
    runner: Runner, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    toy(monkeypatch, {"text 1": "24000 16000 16000 rain own.pt"}, texts=("rain",), rate=16_000, seconds=1.0)
    runner(
        "import json, sys, wave\n"
        "request = json.load(sys.stdin)\n"
        "rates = [wave.open(request[kind][0]).getframerate() for kind in ('clips', 'sounds')]\n"
        "length = wave.open(request['sounds'][0]).getnframes()\n"
        "said = [*rates, length, *request['texts'], request['checkpoint'].rpartition('/')[2]]\n"
        "print(json.dumps({'values': {'text 1': ' '.join(map(str, said))}, 'versions': {}}))\n"
    )
    monkeypatch.chdir(tmp_path)
    found = cross_check("toy", PYTHON, [Path("clip.wav")], checkpoint=Path("own.pt"))
    assert found.agrees, found.values


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("import no_such_package\n", "No module named 'no_such_package'"),
        ("raise SystemExit(3)\n", "ended with 3: it said nothing"),
    ],
)
def test_a_program_that_fails_says_what_it_needs(
    runner: Runner, clip: Path, monkeypatch: pytest.MonkeyPatch, body: str, said: str
) -> None:
    toy(monkeypatch, {})
    runner(body)
    with pytest.raises(UsageError, match=said) as caught:
        cross_check("toy", PYTHON, [clip])
    assert f"{PYTHON} -m pip install 'toynet==1.0' 'torch'" in str(caught.value)


@pytest.mark.parametrize("printed", ["", "hello", '{"values": {}}', '{"values": {"a": [1]}, "versions": {}}'])
def test_an_answer_that_is_none_is_told(
    runner: Runner, clip: Path, monkeypatch: pytest.MonkeyPatch, printed: str
) -> None:
    toy(monkeypatch, {})
    runner(f"print({printed!r})\n")
    with pytest.raises(UsageError, match="its answer cannot be read"):
        cross_check("toy", PYTHON, [clip])


def test_what_is_missing_is_told_before_anything_runs(
    runner: Runner, clip: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    toy(monkeypatch, {}, least=2)
    with pytest.raises(UsageError, match=r"bench/crosscheck/toy\.py is neither in the working folder"):
        cross_check("toy", PYTHON, [clip])
    runner("open('ran', 'w')\n")
    with pytest.raises(UsageError, match="1 clips; expected 2 or more"):
        cross_check("toy", PYTHON, [clip])
    with pytest.raises(UsageError, match="Did you mean toy"):
        cross_check("toi", PYTHON, [clip])
    with pytest.raises(UsageError, match=r"cannot be run .*toynet==1\.0 torch"):
        cross_check("toy", tmp_path / "no-python", [clip, clip])
    assert not (tmp_path / "ran").exists()


def test_our_networks_are_looked_for_first(clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "home"))
    with pytest.raises(WeightsError, match="avbench weights fetch ecapa-voxceleb"):
        cross_check("speechbrain", tmp_path / "no-python", [clip, clip])


# The real ones ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_every_package_has_a_program_that_says_what_it_needs(name: str, tmp_path: Path) -> None:
    path = runner_of(name)
    assert path == ROOT / "bench" / "crosscheck" / f"{name}.py"
    assert name.replace("_", "-") in " ".join(selftest._requirements(path)).replace("_", "-")
    compile(path.read_text(), str(path), "exec")


@pytest.mark.parametrize("name", sorted(PACKAGES))
def test_every_package_has_numbers_of_ours(name: str, clip: Path, tmp_path: Path) -> None:
    """With tiny networks and random numbers: the wiring, not the values."""
    package = PACKAGES[name]
    assert set(package.extractors) <= set(EXTRACTORS)
    assert {weight for one in package.extractors for weight in EXTRACTORS[one].weights} >= set(package.weights)
    if name == "syncnet_python":
        return  # random networks find no face: the next test
    clips = [clip, clip]
    request = Request(
        clips=[str(path) for path in clips],
        sounds=selftest._sounds(package, clips, tmp_path),
        texts=list(package.texts),
        weights={},
    )
    values = package.ours(request, Engine("cpu", untrained=True))
    assert {value.partition(" ")[0] for value in values} == set(package.tolerances)
    assert all(isinstance(value, str) or np.isfinite(value) for value in values.values())
    if name == "speechbrain":
        assert values == {"spk_sim_ecapa 2 1": pytest.approx(1, abs=1e-6)}
    if name == "laion_clap":
        assert len(values) == 2 * len(package.texts)
        assert values["clap 1 1"] == values["clap 2 1"] != values["clap 1 2"]
    if name == "openai_whisper":
        assert read_audio(Path(request.sounds[0])).rate == 16_000


def test_lips_and_sound_become_the_numbers_that_the_package_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    """A track of 60 frames whose lips are the sound of three frames later, and a clip without a face."""
    numbers = np.random.default_rng(0)
    heard = numbers.normal(size=(80, 8)).astype(np.float32)
    whole, none = np.array([60], np.int32), np.zeros(0, np.int32)
    box, still = np.zeros((60, 3), np.float32), np.zeros(1, np.float32)
    lips = heard[3:59] + np.float32(0.1)
    tracks = LipTracks(60, np.array([0], np.int32), whole, whole, still, box, lips, 60)
    empty = LipTracks(60, none, none, none, still[:0], box[:0], lips[:0], 0)
    given: dict[tuple[str, str], Any] = {
        ("a", "lips_syncnet"): tracks,
        ("b", "lips_syncnet"): empty,
        ("a", "sound_syncnet"): SoundWindows(heard, 51_200, 0.5),
        ("b", "sound_syncnet"): SoundWindows(heard, 51_200, 0.5),
    }
    monkeypatch.setattr(selftest, "_one", lambda source, sense, name, engine: given[source, name])
    values = PACKAGES["syncnet_python"].ours(Request(["b", "a"], [], [], {}), Engine())
    assert set(values) == {"lse_d 2", "lse_c 2", "offset 2"}
    assert values["offset 2"] == -3
    assert 0.28 < float(values["lse_d 2"]) < 0.7
    assert float(values["lse_c 2"]) > 1


def test_the_command_line_ends_with_1_where_they_differ(
    runner: Runner, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from avbench.cli import main

    toy(monkeypatch, {"number 1": 0.5, "text 1": "one"})
    arguments = ["avbench", "selftest", "--against", "toy", "--python", str(PYTHON), str(clip)]
    for theirs, code in ((0.505, 0), (0.6, 1)):
        runner(answering({"number 1": theirs, "text 1": "one"}))
        monkeypatch.setattr(sys, "argv", arguments)
        with pytest.raises(SystemExit) as caught:
            main()
        assert (caught.value.code or 0) == code
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "toy (toynet 1.0)"
        row = next(line for line in lines if line.startswith("number 1"))
        assert row.split()[2:5] == ["0.5", str(theirs), f"{abs(theirs - 0.5):.2g}"]
        assert row.endswith("differs") == bool(code)


def test_the_command_line_names_what_it_knows(tmp_path: Path, clip: Path) -> None:
    done = avbench(
        "selftest", "--against", "nobody", "--python", PYTHON, clip, home=tmp_path / "home", expect=2, folder=tmp_path
    )
    assert all(name in done.stderr for name in PACKAGES)


def test_the_programs_read_and_write_what_selftest_does(tmp_path: Path) -> None:
    """Each is run without its package: it must get as far as asking for it, and print nothing."""
    import subprocess

    request = {"clips": [], "sounds": [], "texts": [], "weights": {"ecapa-voxceleb": "", "s3fd": "", "syncnet-v2": ""}}
    for name, wanted in {
        "openai_whisper": "whisper",
        "syncnet_python": "syncnet_python",
        "laion_clap": "laion_clap",
    }.items():
        done = subprocess.run(
            [sys.executable, str(runner_of(name))],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.splitlines()[-1] == f"ModuleNotFoundError: No module named '{wanted}'"
