"""The built package, unpacked, and what it says when the checkout is not there."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def unpacked(place: Path) -> Path:
    """Builds a wheel from a copy of the checkout below `place`; answers the folder that it was unpacked into."""
    source, wheels, site = place / "source", place / "wheels", place / "site"
    for name in ("avbench", "reports/published", "splits"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    wheels.mkdir()
    build = f"from setuptools.build_meta import build_wheel; build_wheel({str(wheels)!r})"
    subprocess.run([sys.executable, "-W", "ignore", "-c", build], cwd=source, capture_output=True, check=True)
    (wheel,) = wheels.glob("avbench-*.whl")
    zipfile.ZipFile(wheel).extractall(site)
    return site


def said(site: Path, code: str) -> list[str]:
    """Lines that this code prints with the unpacked package, in a folder beside it."""
    environment = {**os.environ, "PYTHONPATH": str(site)}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=site.parent, env=environment, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()
