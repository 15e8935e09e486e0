"""Independent jobs over worker processes; results come back as they are ready.

Every job runs in a spawned worker, also when there is one worker only, so that a number cannot depend on how
many there were: each has one thread for each numeric library. Workers end by themselves when the process that
started them is gone, so that a kill leaves nobody behind.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import NamedTuple, TypeVar

from .errors import UsageError, WorkerDied

__all__ = ["Progress", "Report", "cpu_workers", "run_jobs", "silent"]

Job = TypeVar("Job")
Result = TypeVar("Result")

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Progress(NamedTuple):
    """How far a stage has come; the command line draws it."""

    stage: str  # "prepare", "generate", "extract", …
    done: int
    total: int
    failed: int


Report = Callable[[Progress], None]


def silent(progress: Progress) -> None:
    """The report that says nothing."""


def cpu_workers() -> int:
    """How many workers this process may use: the CPUs that it is allowed on."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return max(1, os.cpu_count() or 1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)


def _initialise(parent: int) -> None:
    if os.getppid() != parent:  # gone before we began
        os._exit(1)
    threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def run_jobs(task: Callable[[Job], Result], jobs: Iterable[Job], workers: int) -> Iterator[tuple[Job, Result]]:
    """Yields (job, result) as results become ready. `task` must be importable by name; what it raises is raised here.

    At most two jobs per worker are in flight, so that a stop loses little and memory stays flat.
    """
    if workers < 1:
        raise UsageError(f"workers = {workers}; expected 1 or more.")
    queue = iter(jobs)
    pending: dict[Future[Result], Job] = {}
    saved = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    pool = ProcessPoolExecutor(
        workers, mp_context=get_context("spawn"), initializer=_initialise, initargs=(os.getpid(),)
    )
    try:
        exhausted = False
        while True:
            while not exhausted and len(pending) < 2 * workers:
                try:
                    job = next(queue)
                except StopIteration:
                    exhausted = True
                else:
                    pending[pool.submit(task, job)] = job
            if not pending:
                break
            for future in wait(pending, return_when=FIRST_COMPLETED).done:
                job = pending.pop(future)
                yield job, future.result()
    except BrokenProcessPool as error:
        raise WorkerDied(
            "a worker process ended without an answer (killed, out of memory, or a crash in native code). "
            "What was finished is kept; run the same command again, with --workers 1 if memory is short."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
