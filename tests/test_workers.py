"""Worker processes: every job has its result, one that dies is told from the others, and a stop does not wait."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from avbench.errors import UsageError, WorkerDied
from avbench.workers import check_workers, cpu_workers, run_jobs

LONG = 30.0  # seconds: no test may wait so long


def doubled(number: int) -> int:
    """Two times a number; 13 takes the worker down."""
    if number == 13:
        os._exit(9)
    return 2 * number


def slept(seconds: float) -> int:
    """The process that has slept."""
    time.sleep(seconds)
    return os.getpid()


def fails(number: int) -> int:
    raise ValueError(f"{number} is no good")


def interrupted(number: int) -> str:
    """What a Ctrl-C does inside a job."""
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
    except KeyboardInterrupt:
        return "raised"
    return "went on"


def gone(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return True
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_the_job_that_kills_its_worker_is_found_and_the_others_are_done(workers: int) -> None:
    jobs = [11, 12, 13, 14, 13, 15]
    found = sorted(run_jobs(doubled, jobs, workers, died=lambda job: -job))
    assert found == sorted((job, -13 if job == 13 else 2 * job) for job in jobs)


def test_without_a_word_on_deaths_the_run_stops() -> None:
    with pytest.raises(WorkerDied, match="fewer --workers"):
        list(run_jobs(doubled, [1, 13, 2], 1))


def test_what_a_job_raises_is_raised() -> None:
    with pytest.raises(ValueError, match="7 is no good"):
        list(run_jobs(fails, [7], 1, died=lambda job: 0))


def test_who_stops_early_waits_for_no_job() -> None:
    begun = time.monotonic()
    with closing(run_jobs(slept, [0.0, LONG, LONG], 1)) as results:
        _, worker = next(results)
    assert time.monotonic() - begun < LONG / 2
    assert gone(worker)


def as_in_a_terminal() -> None:
    """What is started in the background of a script ignores Ctrl-C, and so would all that it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def test_an_interrupt_ends_the_run_at_once_and_quietly(tmp_path: Path) -> None:
    """Ctrl-C reaches every process of the group, as it does in a terminal."""
    program = tmp_path / "program.py"
    program.write_text(
        "import sys\n"
        "from contextlib import closing\n"
        "from avbench.workers import run_jobs\n"
        "from tests.test_workers import slept\n"
        "if __name__ == '__main__':\n"
        "    try:\n"
        f"        with closing(run_jobs(slept, [0.0, {LONG}], 3)) as results:\n"
        "            for _ in results:\n"
        "                print('begun', flush=True)\n"
        "    except KeyboardInterrupt:\n"
        "        sys.exit(7)\n"
    )
    root = Path(__file__).resolve().parent.parent
    process = subprocess.Popen(
        [sys.executable, str(program)],
        env={**os.environ, "PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        preexec_fn=as_in_a_terminal,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(0.5)  # one worker has begun the second job, the others wait for one
    begun = time.monotonic()
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=LONG)
    assert time.monotonic() - begun < LONG / 2
    assert (process.returncode, said) == (7, "")


def test_an_interrupt_is_left_to_the_parent() -> None:
    assert list(run_jobs(interrupted, [1], 1)) == [(1, "went on")]


def test_interrupts_are_as_before_when_a_run_has_ended() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        check_interrupts()
    finally:
        signal.signal(signal.SIGINT, before)


def check_interrupts() -> None:
    for jobs in ([0.0], [0.0, LONG]):
        with closing(run_jobs(slept, jobs, 1)) as results:
            next(results)
            assert signal.getsignal(signal.SIGINT) is not signal.default_int_handler
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("workers", [0, -1])
def test_no_workers_are_refused(workers: int) -> None:
    with pytest.raises(UsageError, match=rf"workers = {workers}; expected 1 or more"):
        check_workers(workers)


def test_nothing_said_is_a_worker_for_each_cpu() -> None:
    assert check_workers(None) == cpu_workers() >= 1
    assert check_workers(3) == 3
