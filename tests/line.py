"""The command line as a user types it, in a process of its own, and what it leaves on disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from avbench.home import sha256

COMMAND = [sys.executable, "-m", "avbench"]
UNCOMPARED = {"costs.jsonl"}  # seconds


class Demo(NamedTuple):
    """The demo, made once for each test run. Read it; copy what you change."""

    home: Path
    runs: Path
    methods: tuple[str, ...]
    stdout: str


def environment(home: Path) -> dict[str, str]:
    return {**os.environ, "AVBENCH_HOME": str(home)}


def avbench(
    *arguments: object, home: Path, expect: int = 0, folder: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `avbench ARGUMENTS`; anything but the expected exit code, or a traceback, fails the test."""
    done = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        env=environment(home),
        cwd=folder,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == expect, f"exit {done.returncode}, expected {expect}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return done


def run_files(runs: Path) -> dict[str, str]:
    """All files below a runs folder with their sha256, without the seconds in costs.jsonl and the lock files."""
    return {
        str(path.relative_to(runs)): sha256(path)
        for path in sorted(runs.rglob("*"))
        if path.is_file() and path.name not in UNCOMPARED and path.suffix != ".lock"
    }
