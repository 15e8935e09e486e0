"""What is this machine able to do, and what would have to be done before it can do the rest?

Looks and changes nothing: no file is left behind, nothing is fetched. Requirements are read from the package's own
metadata, so that they stand in pyproject.toml alone. What could take the process down with it (a native library that
does not load) is imported in a process of its own. Without torch everything here still runs, and says what is missing.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import Literal, NamedTuple

from .errors import WeightsError
from .home import home
from .workers import cpu_workers

__all__ = ["Check", "Requirement", "State", "examine", "requirements", "satisfies"]

State = Literal["ok", "warn", "fail"]

REQUIREMENT = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)\s*(?P<range>[^;\s]*)\s*(?:;\s*extra\s*==\s*[\"'](?P<extra>[^\"']+)[\"'])?"
)
OPERATOR = re.compile(r"(==|>=|<)([^,]+)")
TORCH_PROBE = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else '')"
ENCODERS = ("libx264", "aac")
FREE_BYTES = 1 << 30  # demo media, features and weights together stay below
IMPORT_SECONDS = 120  # a cold import of torch from a slow disk


class Check(NamedTuple):
    """One finding. `warn`: something is amiss that not everybody needs; `do` is empty where there is nothing to do."""

    name: str
    state: State
    found: str
    do: str = ""


class Requirement(NamedTuple):
    """One line of the package's requirements: `extra` is empty for what every install needs."""

    name: str
    range: str  # "==2.13.0", "<3,>=2.0"
    extra: str

    def __str__(self) -> str:
        return f"{self.name}{self.range}"


def examine() -> list[Check]:
    """All findings, in the order in which one would mend them."""
    return [
        Check("python", "ok", f"{platform.python_version()} at {sys.executable}"),
        _packages("packages", requirements(""), missing="fail"),
        _torch(),
        _embedded(),
        _packages("metrics", [r for r in requirements("metrics") if r.name != "torch"], missing="warn"),
        *_companions(),
        _encoders(),
        *_weights(),
        _home(),
        Check("cpus", "ok", f"{cpu_workers()} for this process"),
        _latex(),
    ]


def requirements(extra: str) -> list[Requirement]:
    """What avbench asks for: the core ("") or an extra, in alphabetical order."""
    parsed = [REQUIREMENT.match(line) for line in requires("avbench") or []]
    found = [Requirement(match["name"], match["range"], match["extra"] or "") for match in parsed if match]
    return sorted(requirement for requirement in found if requirement.extra == extra)


def satisfies(installed: str, wanted: str) -> bool:
    """Whether a release lies in a range of the operators that pyproject.toml uses: ==, >=, <. `2.13.0+cpu` is 2.13.0."""
    have = _numbers(installed)
    for operator, limit in OPERATOR.findall(wanted):
        want = _numbers(limit)
        width = max(len(have), len(want))
        left, right = (numbers + (0,) * (width - len(numbers)) for numbers in (have, want))
        if not {"==": left == right, ">=": left >= right, "<": left < right}[operator]:
            return False
    return True


# Packages ----------------------------------------------------------------------------------------------------------


def _numbers(release: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", release.partition("+")[0]))


def _version(name: str) -> str | None:
    """Of an installed distribution; onnxruntime has one of another name for GPUs."""
    try:
        return version(name)
    except PackageNotFoundError:
        return _version("onnxruntime-gpu") if name == "onnxruntime" else None


def _install(wanted: Iterable[Requirement]) -> str:
    return "python -m pip install " + " ".join(f"'{requirement}'" for requirement in wanted)


def _packages(name: str, wanted: list[Requirement], missing: State) -> Check:
    """One line for all: those that are wrong, else the versions."""
    installed = {requirement: _version(requirement.name) for requirement in wanted}
    wrong = [r for r, release in installed.items() if release is None or not satisfies(release, r.range)]
    if wrong:
        found = ", ".join(f"{r.name} {installed[r] or 'not installed'} (expected {r.range})" for r in wrong)
        return Check(name, missing, found, _install(wrong))
    return Check(name, "ok", ", ".join(f"{r.name} {release}" for r, release in installed.items()))


def _torch() -> Check:
    wanted = next(r for r in requirements("embedded") if r.name == "torch")
    installed = _version("torch")
    do = _install([wanted])
    if installed is None:
        return Check("torch", "warn", "not installed: tables can be printed, clips cannot be scored", do)
    answer, error = _python(TORCH_PROBE)
    if error:
        return Check("torch", "fail", f"{installed} is installed and does not import: {error}", do)
    found = f"{installed}, GPU: {answer or 'none; the embedded profile needs none'}"
    if not satisfies(installed, wanted.range):
        return Check("torch", "warn", f"{found}. Scores were checked with {wanted.range}", do)
    return Check("torch", "ok", found)


def _embedded() -> Check:
    check = _packages("embedded", [r for r in requirements("embedded") if r.name != "torch"], missing="warn")
    if check.state == "ok":
        _, error = _python("import dlib")
        if error:  # built for processors with AVX
            return Check("embedded", "fail", f"dlib-bin is installed and does not import: {error}", "")
    return check


def _companions() -> list[Check]:
    """torchaudio and torchvision: never needed, and harmful where they do not import."""
    checks = []
    for name in ("torchaudio", "torchvision"):
        if importlib.util.find_spec(name) is None:
            continue
        _, error = _python(f"import {name}")
        release = _version(name) or "of unknown version"
        if error:
            found = f"{release} does not import: {error}. Packages that look for it, transformers first, fail with it"
            checks.append(Check(name, "warn", found, f"python -m pip uninstall {name}"))
        else:
            checks.append(Check(name, "ok", f"{release}; avbench does not use it"))
    return checks


def _python(code: str) -> tuple[str, str]:
    """Runs code in a fresh interpreter: what it printed, and the last line of what went wrong."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=IMPORT_SECONDS, check=False
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer after {IMPORT_SECONDS} s"
    if done.returncode == 0:
        return done.stdout.strip(), ""
    return "", (done.stderr.strip().splitlines() or [f"the process ended with {done.returncode}"])[-1]


# Files and programs ------------------------------------------------------------------------------------------------


def _encoders() -> Check:
    try:
        from av.codec import Codec
        from av.codec.codec import UnknownCodecError
    except ImportError as error:
        return Check("encoders", "fail", str(error), _install(r for r in requirements("") if r.name == "av"))
    absent = []
    for name in ENCODERS:
        try:
            Codec(name, "w")
        except UnknownCodecError:
            absent.append(name)
    if absent:
        do = "install av from a wheel (not built against a system FFmpeg that lacks them)"
        return Check("encoders", "fail", f"PyAV has no encoder named {', '.join(absent)}", do)
    return Check("encoders", "ok", ", ".join(ENCODERS))


def _weights() -> list[Check]:
    """One line a file; one that only has to be downloaded is not amiss."""
    from .weights import WEIGHTS, Download, Wheel, present, state, verify, where

    checks = []
    for name, weight in WEIGHTS.items():
        terms = "" if weight.commercial else f"; {weight.licence}"
        try:
            # One of the right size is not read: there are gigabytes of them.
            if isinstance(weight.source, Download) and (present(name) or not where(name).exists()):
                found = f"{state(name)}; not needed for the embedded profile"
            elif isinstance(weight.source, Wheel) and not where(name).exists():
                found = f"comes on first use, {weight.size / 1e6:.0f} MB, or now: avbench weights fetch {name}"
            else:
                found = str(verify(name))
            checks.append(Check(name, "ok", f"{found}{terms}"))
        except WeightsError as error:
            checks.append(Check(name, "warn", str(error)))  # which says what to do
    return checks


def _home() -> Check:
    folder = home()
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    do = "set AVBENCH_HOME to a folder that you may write to, with 1 GB free"
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        return Check("home", "fail", f"{folder}: {existing} is not a folder that can be written to", do)
    free = shutil.disk_usage(existing).free
    state: State = "ok" if free >= FREE_BYTES else "warn"
    return Check("home", state, f"{folder}, {free / 1e9:.1f} GB free", "" if state == "ok" else do)


def _latex() -> Check:
    path = shutil.which("pdflatex")
    if path is None:
        found = "no pdflatex: --format latex prints a table, which cannot be compiled here"
        return Check("latex", "warn", found, "apt-get install texlive-latex-base texlive-latex-recommended")
    return Check("latex", "ok", str(Path(path)))
