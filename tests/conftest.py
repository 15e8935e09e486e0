"""What all tests share: a home of their own, and what was skipped said aloud at the end."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

import pytest

from avbench.doctor import requirements
from avbench.methods import DEMO

from .line import COMMAND, Demo, environment

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def common(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the processes of this test run share."""
    place = tmp_path_factory.getbasetemp()
    return place.parent if hasattr(request.config, "workerinput") else place


@pytest.fixture(scope="session", autouse=True)
def avbench_home(common: Path) -> Iterator[Path]:
    """AVBENCH_HOME for this test run, so that none touches the user's cache."""
    folder = common / "home"
    folder.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AVBENCH_HOME", str(folder))
        yield folder


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Networks of a few megabytes are slowest on many threads."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What needs the demo comes last: it is made meanwhile. One process has all other tests of a file, and what they load."""
    items.sort(key=needs_demo)
    for item in items:
        if not needs_demo(item):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def needs_demo(item: pytest.Item) -> bool:
    return "demo" in getattr(item, "fixturenames", ())


@pytest.fixture(scope="session", autouse=True)
def demo_begun(request: pytest.FixtureRequest, common: Path, avbench_home: Path) -> Iterator[None]:
    """The demo on its way, where a test of this run needs it: by the command that a newcomer types, once for all processes."""
    if not any(map(needs_demo, request.session.items)) or not _is_first(request.config):
        yield
        return
    place = common / "demo"
    place.mkdir()
    with (place / "stdout").open("w") as told, (place / "stderr").open("w") as said:
        command = [*COMMAND, "demo", "--runs", str(place / "runs")]
        process = subprocess.Popen(
            command, env=environment(avbench_home), stdin=subprocess.DEVNULL, stdout=told, stderr=said
        )
    ended = threading.Thread(target=lambda: (place / "code").write_text(str(process.wait())), daemon=True)
    ended.start()
    yield
    if not hasattr(request.config, "workerinput"):
        process.kill()
    ended.join()  # another process may wait for it


def _is_first(config: pytest.Config) -> bool:
    given: dict[str, str] = getattr(config, "workerinput", {})
    return given.get("workerid", "gw0") == "gw0"


@pytest.fixture(scope="session")
def demo(demo_begun: None, common: Path, avbench_home: Path) -> Demo:
    """The demo, made once for each test run."""
    place = common / "demo"
    while not (code := place / "code").is_file() or not code.read_text():
        time.sleep(0.1)
    said = (place / "stderr").read_text()
    assert code.read_text() == "0", said
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
