"""What all tests share: a home of their own, and what was skipped said aloud at the end."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path
from typing import NamedTuple

import pytest

from avbench.doctor import requirements
from avbench.methods import DEMO

from .line import COMMAND, Demo, environment

ROOT = Path(__file__).resolve().parent.parent


class Begun(NamedTuple):
    """A process that makes the demo below a folder."""

    place: Path
    process: subprocess.Popen[bytes]


@pytest.fixture(scope="session", autouse=True)
def avbench_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """AVBENCH_HOME for this test run, so that none touches the user's cache."""
    folder = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_HOME", str(folder))
        yield folder


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the demo comes last: it is made meanwhile."""
    items.sort(key=needs_demo)


def needs_demo(item: pytest.Item) -> bool:
    return "demo" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def demo_begun(
    request: pytest.FixtureRequest, avbench_home: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Begun | None]:
    """The demo on its way, where a test of this run needs it: by the command that a newcomer types."""
    if not any(map(needs_demo, request.session.items)):
        yield None
        return
    place = tmp_path_factory.mktemp("demo")
    with (place / "stdout").open("w") as told, (place / "stderr").open("w") as said:
        command = [*COMMAND, "demo", "--runs", str(place / "runs")]
        process = subprocess.Popen(
            command, env=environment(avbench_home), stdin=subprocess.DEVNULL, stdout=told, stderr=said
        )
    try:
        yield Begun(place, process)
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="session")
def demo(demo_begun: Begun | None, avbench_home: Path) -> Demo:
    """The demo, made once for each test run."""
    assert demo_begun is not None
    place, process = demo_begun
    code, said = process.wait(), (place / "stderr").read_text()
    assert code == 0, said
    assert "Traceback" not in said
    return Demo(avbench_home, place / "runs", DEMO, (place / "stdout").read_text())


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has avbench and its core dependencies, and none of the extras: no torch."""
    folder = tmp_path_factory.mktemp("laptop")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "checkout.pth").write_text(f"{ROOT}\n")
    for name in ("avbench", *(requirement.name for requirement in requirements(""))):
        found = distribution(name)
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] not in ("..", "__pycache__")}:
            if not (site / top).exists():
                (site / top).symlink_to(Path(str(found.locate_file(top))))
    return folder / "bin" / "python"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Counts skipped tests by reason: a suite that quietly shrinks must be seen."""
    reports = terminalreporter.stats.get("skipped", [])
    reasons = Counter(str(report.longrepr[2]).removeprefix("Skipped: ") for report in reports)
    terminalreporter.section("skipped tests")
    terminalreporter.write_line(f"{len(reports)} skipped" + (":" if reasons else ""))
    for reason, count in sorted(reasons.items()):
        terminalreporter.write_line(f"  {count} x {reason}")
