"""The doctor: what it says of this machine, of one without torch, and of what is known to go wrong."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest

from avbench import doctor, weights
from avbench.doctor import Check, examine, requirements, satisfies


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture(scope="module")
def here() -> dict[str, Check]:
    """What it says of this machine."""
    return {check.name: check for check in examine()}


@pytest.mark.parametrize(
    ("installed", "wanted", "expected"),
    [
        ("2.13.0+cpu", "==2.13.0", True),
        ("2.13", "==2.13.0", True),
        ("2.13.1", "==2.13.0", False),
        ("20.0.1.post1", "==20.0.1.post1", True),
        ("20.0.1", "==20.0.1.post1", False),
        ("18.1.0", "<19,>=18", True),
        ("19", "<19,>=18", False),
        ("17.9.9", "<19,>=18", False),
        ("2.10.0", "<3,>=2.9", True),  # numbers, not text
        ("1.0", "", True),
    ],
)
def test_a_release_lies_in_a_range(installed: str, wanted: str, expected: bool) -> None:
    assert satisfies(installed, wanted) is expected


def test_requirements_are_those_of_the_package_and_each_extra_has_its_own() -> None:
    core, embedded = requirements(""), requirements("embedded")
    assert "numpy" in {requirement.name for requirement in core}
    assert "torch==2.13.0" in {str(requirement) for requirement in embedded}
    assert not set(core) & set(embedded)
    assert requirements("no such extra") == []


def test_this_machine_can_run_everything(here: dict[str, Check]) -> None:
    assert [check for check in here.values() if check.state == "fail"] == []
    expected = [
        "python",
        "packages",
        "torch",
        "embedded",
        "metrics",
        "encoders",
        *weights.WEIGHTS,
        "home",
        "cpus",
        "latex",
    ]
    assert [name for name in here if name not in ("torchaudio", "torchvision")] == expected
    assert importlib.metadata.version("torch") in here["torch"].found


def test_looking_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "not" / "there"))
    monkeypatch.chdir(tmp_path)
    assert doctor._home().state == "ok"
    doctor._weights()
    assert list(tmp_path.iterdir()) == []


def test_without_torch_it_runs_and_says_what_to_type(laptop: Path) -> None:
    code = "from avbench.doctor import examine\nfor check in examine(): print(*check, sep='|')"
    done = subprocess.run([str(laptop), "-c", code], capture_output=True, text=True, check=True)
    checks = {line.split("|")[0]: Check(*line.split("|")) for line in done.stdout.splitlines()}  # type: ignore[arg-type]
    assert checks["packages"].state == checks["encoders"].state == "ok"
    assert checks["torch"].state == checks["embedded"].state == "warn"
    assert "not installed" in checks["torch"].found
    assert checks["torch"].do == "python -m pip install 'torch==2.13.0'"
    for name in ("dlib-bin", "silero-vad", "espeakng-loader", "face_recognition_models"):
        assert f"{name} not installed" in checks["embedded"].found
        assert f"'{name}==" in checks["embedded"].do
    assert "pip install" in checks["dlib-68-landmarks"].found
    assert not [check for check in checks.values() if check.state == "fail"]


def test_another_torch_is_named_with_the_one_that_was_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", lambda name: "2.15.0")
    check = doctor._torch()
    assert check.state == "warn"
    assert "2.15.0" in check.found
    assert "==2.13.0" in check.found


def test_a_core_package_that_is_too_old_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "_version", {"av": "17.0.0", "click": None}.get)
    check = doctor._packages("packages", [r for r in requirements("") if r.name in ("av", "click")], missing="fail")
    assert check.state == "fail"
    assert check.found == "av 17.0.0 (expected <19,>=18), click not installed (expected <9,>=8.1)"
    assert check.do == "python -m pip install 'av<19,>=18' 'click<9,>=8.1'"


def test_a_torchaudio_that_does_not_import_is_told_with_what_it_breaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchaudio.py").write_text("raise OSError('libc10_cuda.so: cannot open shared object file')\n")
    (tmp_path / "torchvision.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    audio, vision = doctor._companions()
    assert (audio.name, audio.state) == ("torchaudio", "warn")
    assert "OSError: libc10_cuda.so" in audio.found
    assert "transformers" in audio.found
    assert audio.do == "python -m pip uninstall torchaudio"
    assert (vision.name, vision.state, vision.do) == ("torchvision", "ok", "")


def test_a_native_library_that_kills_the_process_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "TORCH_PROBE", "import os, signal; os.kill(os.getpid(), signal.SIGILL)")
    check = doctor._torch()
    assert check.state == "fail"
    assert "-4" in check.found


def test_a_home_that_is_a_file_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path / "file" / "home"))
    check = doctor._home()
    assert check.state == "fail"
    assert "AVBENCH_HOME" in check.do


def test_a_home_that_is_read_only_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not mode & os.W_OK)  # root may write to every real one
    assert doctor._home().state == "fail"


def test_a_disk_that_is_nearly_full_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(100, 95, 5))
    check = doctor._home()
    assert (check.state, bool(check.do)) == ("warn", True)


def test_missing_programs_and_encoders_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(doctor, "ENCODERS", ("aac", "no-such-encoder"))
    assert doctor._latex().state == "warn"
    assert "texlive" in doctor._latex().do
    assert doctor._encoders().state == "fail"
    assert "no-such-encoder" in doctor._encoders().found


def weight_check(name: str) -> Check:
    (check,) = [check for check in doctor._weights() if check.name == name]
    return check


def test_a_damaged_download_is_a_warning_and_an_absent_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVBENCH_HOME", str(tmp_path))
    absent = weight_check("ge2e-resemblyzer")
    assert absent.state == "ok"
    assert "avbench weights fetch ge2e-resemblyzer" in absent.found
    place = weights.where("ge2e-resemblyzer")
    place.parent.mkdir()
    place.write_bytes(b"torn")
    damaged = weight_check("ge2e-resemblyzer")
    assert damaged.state == "warn"
    assert "4 bytes" in damaged.found


def test_the_licence_that_forbids_commerce_is_shown(here: dict[str, Check]) -> None:
    assert "non-commercial" in here["dlib-68-landmarks"].found
    assert "non-commercial" not in here["dlib-resnet-face"].found
