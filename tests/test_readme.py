"""The README's examples are run, in its order, in one folder; what it shows is what they print.

    ```python    a first line `# file: NAME` saves the block under that name; any other block is run
    ```console   `$ COMMAND` is run by a shell, and its stdout compared with the lines that follow: decimals do not
                 count, and a line `…` stands for the rest

`.venv/bin/python -m tests.test_readme` pastes what is printed now.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from avbench.split import load_split

from .line import Demo, avbench, environment

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
PICTURE = "reports/tables/demo.svg"
REST = "…"
FENCE = re.compile(r"^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


def told(text: str, demo: Demo, folder: Path) -> str:
    """The text with what its examples print now. `folder` gets copies of the demo's runs, and what the examples make."""
    shutil.copytree(demo.runs, folder / "runs")

    def run(command: list[str]) -> str:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        variables = {**environment(demo.home), "PATH": path, "COLUMNS": "100"}
        done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{command[-1]}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def printed(command: str, shown: list[str]) -> list[str]:
        if command == "make test":
            return shown  # this is it
        stdout = demo.stdout if command == "make demo" else run(["bash", "-ec", command])
        lines = [line.rstrip() for line in stdout.rstrip("\n").split("\n")] if stdout else []
        return [*lines[: shown.index(REST)], REST] if REST in shown else lines

    def console(body: str) -> str:
        commands = re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", body, re.MULTILINE)
        parts = [[f"$ {command}", *printed(command, shown.splitlines())] for command, shown in commands]
        return "".join(f"{line}\n" for part in parts for line in part)

    def replay(match: re.Match[str]) -> str:
        body = match["body"]
        if match["language"] == "console":
            body = console(body)
        elif name := re.match(r"# file: (\S+)\n", body):
            (folder / name[1]).write_text(body)
        elif match["language"] == "python":
            run([sys.executable, "-c", body])
        return f"```{match['language']}\n{body}```"

    return FENCE.sub(replay, text)


def without_decimals(text: str) -> list[str]:
    """Lines whose fractions, rules and spaces do not count: another machine may differ in the last digit."""
    return [
        " ".join(re.sub(r"[─━=-]{3,}", "---", re.sub(r"-?\d+\.\d+", "#", line)).split()) for line in text.split("\n")
    ]


def test_the_first_line_says_what_this_is_and_is_not() -> None:
    first = README.read_text().splitlines()[0]
    assert "avbench" in first
    assert "Not AVBench (arXiv 2605.24652)" in first
    assert "`av_bench`" in first


def test_it_opens_with_the_two_commands_and_says_that_the_demo_ranks_nothing() -> None:
    commands = re.findall(r"^\$ (.+)$", README.read_text(), re.MULTILINE)
    assert commands[:2] == ["make demo", "make test"]
    assert "The demo ranks nothing." in README.read_text()
    assert not load_split("demo").head.ranks
    assert re.search(
        r"^\$ make test\n…\n(.+\n)*\d+ skipped:?\n(.*\n)*.*[1-9]\d* passed.* in .+$", README.read_text(), re.M
    )
    targets = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert targets is not None
    assert {"demo", "test", "test-slow", "check", "fix"} <= set(targets[1].split())


def test_every_example_runs_and_prints_what_it_says(demo: Demo, tmp_path: Path) -> None:
    text = README.read_text()
    assert without_decimals(told(text, demo, tmp_path)) == without_decimals(text)


def test_its_picture_is_drawn_by_the_command_beside_it_and_shows_the_table(demo: Demo, tmp_path: Path) -> None:
    assert f"$ avbench table --figure {PICTURE}\n" in README.read_text()
    assert f"({PICTURE})" in README.read_text()
    avbench("table", "--runs", demo.runs, "--figure", tmp_path / PICTURE, home=demo.home)
    signatures = [line for line in README.read_text().split("```")[1].splitlines() if line.startswith("avbench|")]
    for picture in (ROOT / PICTURE, tmp_path / PICTURE):
        assert said(picture)[0].splitlines() == signatures
    assert said(tmp_path / PICTURE)[1] == said(ROOT / PICTURE)[1]


def said(picture: Path) -> tuple[str, list[str]]:
    """What an SVG says of itself, and its words: numbers of an axis may differ on another machine."""
    text = picture.read_text()
    description = re.search(r"<dc:description>(.*?)</dc:description>", text, re.DOTALL)
    assert description is not None
    return description[1], [word for word in re.findall(r"<!-- (.*?) -->", text) if not re.fullmatch("[−0-9.]+", word)]


def test_a_number_may_differ_in_its_digits_and_nothing_else_may() -> None:
    assert without_decimals("truth  0.971 -1.25 ───") == without_decimals("truth 0.98  3.5 ─────")
    assert without_decimals("truth 0.971") != without_decimals("still 0.971")
    assert without_decimals("n 16") != without_decimals("n 15")


def test_an_example_that_fails_is_seen(demo: Demo, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="no-such-split"):
        told("```console\n$ avbench table --split no-such-split\n```", demo, tmp_path)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        at = Path(scratch)
        made = avbench("demo", "--runs", at / "runs", home=at / "home")
        (at / "story").mkdir()
        README.write_text(told(README.read_text(), Demo(at / "home", at / "runs", (), made.stdout), at / "story"))
        shutil.copy(at / "story" / PICTURE, ROOT / PICTURE)
