"""Independent jobs over worker processes; results come back as they are ready.

Every job runs in a spawned worker, also when there is one worker only, so that a number cannot depend on how
many there were: each has one thread for each numeric library. Workers end by themselves when the process that
started them is gone, so that a kill leaves nobody behind, and are killed where a run is left early: what they were
doing is done again.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeVar

from .errors import UsageError, WorkerDied

__all__ = [
    "Progress",
    "Report",
    "check_workers",
    "cpu_workers",
    "free_bytes",
    "notes",
    "run_jobs",
    "silent",
    "stop_run",
]

LOOK_UP_SECONDS = 0.1  # how long an interrupt may go unnoticed

Job = TypeVar("Job")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Progress(NamedTuple):
    """How far a stage has come; the command line draws it."""

    stage: str  # "prepare", "generate", "extract", …
    done: int
    total: int
    failed: int
    note: str = ""  # said beside the numbers, once
    begun: float = 0.0  # what is done of jobs that are not finished, as a number of jobs: two halves are 1.0


Report = Callable[[Progress], None]


def notes(report: Report, stage: str) -> Callable[[str], None]:
    """A function that reports a line of text and no progress."""
    return lambda line: report(Progress(stage, 0, 0, 0, line))


def silent(progress: Progress) -> None:
    """The report that says nothing."""


def cpu_workers() -> int:
    """How many workers this process may use: the CPUs that it is allowed on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def free_bytes() -> int | None:
    """Memory that new processes may take without others being moved out; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    sizes = {name: rest.split() for name, _, rest in (line.partition(":") for line in lines)}
    return int(sizes["MemAvailable"][0]) * 1024 if "MemAvailable" in sizes else None


def check_workers(workers: int | None) -> int:
    """How many workers to take: as many as asked for, or one for each CPU where nothing was said."""
    if workers is None:
        return cpu_workers()
    if workers < 1:
        raise UsageError(f"workers = {workers}; expected 1 or more. Leave it out for one worker a CPU.")
    return workers


def run_jobs(
    task: Callable[[Job], Result],
    jobs: Iterable[Job],
    workers: int,
    died: Callable[[Job], Result] | None = None,
) -> Generator[tuple[Job, Result], None, None]:
    """Yields (job, result) as results become ready. `task` must be importable by name; what it raises is raised here.

    A worker gets its next job when the result of its last one has been taken, so that a kill loses one job a worker and
    memory stays flat. Where a worker dies, `died` is asked for the result of the job that killed it; without `died` the
    run stops with WorkerDied. Close the generator (`contextlib.closing`) where its loop may be left early: that ends the
    workers at once.
    """
    workers = check_workers(workers)
    queue = iter(jobs)
    with _one_thread_each(), _interrupts_between_jobs() as check_interrupt:
        while True:
            lost: list[Job] = []
            with _pool(workers) as pool:
                yield from _until_broken(pool, task, queue, _Crew(workers, check_interrupt), lost)
            if not lost:
                return
            if died is None:
                stop_run(lost[0])
            yield from _one_by_one(task, lost, died, check_interrupt)


def stop_run(job: object) -> NoReturn:
    """The `died` of jobs that are ours: a worker that dies on one of them stops the run."""
    raise WorkerDied(
        "a worker process ended without an answer (killed, out of memory, or a crash in native code). "
        "What was finished is kept; run the same command again, with fewer --workers if memory is short."
    )


class _Crew(NamedTuple):
    """How many jobs are in flight at once, and what raises KeyboardInterrupt where one is due."""

    at_once: int
    check_interrupt: Callable[[], None]


def _until_broken(
    pool: ProcessPoolExecutor, task: Callable[[Job], Result], queue: Iterator[Job], crew: _Crew, lost: list[Job]
) -> Iterator[tuple[Job, Result]]:
    """Works the queue off; where a worker dies, the jobs that were in flight are added to `lost`."""
    pending: dict[Future[Result], Job] = {}
    exhausted = False
    while True:
        while not exhausted and not lost and len(pending) < crew.at_once:
            try:
                job = next(queue)
            except StopIteration:
                exhausted = True
                break
            try:
                pending[pool.submit(task, job)] = job
            except BrokenProcessPool:
                lost.append(job)
        if not pending:
            return
        crew.check_interrupt()
        for future in wait(pending, timeout=LOOK_UP_SECONDS, return_when=FIRST_COMPLETED).done:
            job = pending.pop(future)
            try:
                result = future.result()
            except BrokenProcessPool:
                lost.append(job)
            else:
                yield job, result


def _one_by_one(
    task: Callable[[Job], Result],
    jobs: Sequence[Job],
    died: Callable[[Job], Result],
    check_interrupt: Callable[[], None],
) -> Iterator[tuple[Job, Result]]:
    """Nobody can say which of several jobs killed a worker; one at a time, the one that does it again is known."""
    left = list(jobs)
    while left:
        with _pool(1) as pool:
            alive = True
            while left and alive:
                job = left.pop(0)
                try:
                    future = pool.submit(task, job)
                    while not wait([future], timeout=LOOK_UP_SECONDS).done:
                        check_interrupt()
                    result = future.result()
                except BrokenProcessPool:
                    result, alive = died(job), False
                yield job, result


# Processes -------------------------------------------------------------------------------------------------------


@contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    """Worker processes; where the block is left by an exception they are killed, not waited for."""
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_initialise, initargs=(os.getpid(),)
    )
    try:
        yield pool
    except BaseException:
        # Python 3.11 has no public way to end a pool before its jobs; without processes it shuts down by itself.
        for process in list((pool._processes or {}).values()):
            process.kill()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def _interrupts_between_jobs() -> Iterator[Callable[[], None]]:
    """Yields a function that raises KeyboardInterrupt where Ctrl-C was pressed meanwhile.

    Raised wherever it strikes, it may leave one of the pool's locks held, and the pool would wait for it for ever. A
    handler of somebody else's, and a thread that gets no signals, are left alone.
    """
    pressed: list[int] = []  # an Event has a lock, for which a second Ctrl-C could wait inside the handler of the first

    def check() -> None:
        if pressed:
            raise KeyboardInterrupt

    ours = threading.current_thread() is threading.main_thread()
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield check
        return
    signal.signal(signal.SIGINT, lambda number, frame: pressed.append(number))
    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    check()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Tells numeric libraries in processes that are started meanwhile to take one thread."""
    saved = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def _initialise(parent: int) -> None:
    if os.getppid() != parent:  # gone before we began
        os._exit(1)
    # Ctrl-C reaches the whole group; the parent ends us. A handler, since what we start ourselves would inherit SIG_IGN.
    signal.signal(signal.SIGINT, _leave_it_to_the_parent)
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def _leave_it_to_the_parent(number: int, frame: object) -> None:
    """A signal handler that does nothing."""


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
