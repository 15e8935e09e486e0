"""What people see while they wait: bars on stderr."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from .shared import say

if TYPE_CHECKING:
    from ..workers import Progress

__all__ = ["Bars", "ByteBar"]


class Bars:
    """One progress bar for each stage, on stderr: done, time left, rate, failures.

    A terminal shows what is begun, too; a log has a line only where jobs are finished.
    """

    def __init__(self) -> None:
        self._bar: Any = None
        self._stage = ""

    def __enter__(self) -> Bars:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def __call__(self, progress: Progress) -> None:
        if progress.note:
            self._say(f"{progress.note} …")
            return
        if progress.stage != self._stage or self._bar is None:
            self._close()
            self._open(progress)
        self._bar.set_postfix_str(f"{progress.failed} failed" if progress.failed else "", refresh=False)
        # Set, not added up: tenths would add up to 0.30000000000000004.
        self._bar.n = progress.done + (round(progress.begun, 1) if sys.stderr.isatty() else 0)
        self._bar.update(0)
        if progress.done >= progress.total:
            self._close()

    def _open(self, progress: Progress) -> None:
        from tqdm import tqdm

        watched = sys.stderr.isatty()
        self._stage = progress.stage
        self._bar = tqdm(
            total=progress.total,
            desc=f"{progress.stage:8}",
            unit="clip",
            file=sys.stderr,
            mininterval=0.2 if watched else 15.0,  # a log keeps every line
            dynamic_ncols=watched,
            disable=progress.total == 0,
        )

    def _say(self, line: str) -> None:
        """A line above the bar, where there is one."""
        if self._bar is None or self._bar.disable:
            say(line)
        else:
            self._bar.write(line, file=sys.stderr)

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


class ByteBar:
    """The progress of one download, on stderr: bytes, time left, rate. Nothing is shown where nothing is downloaded."""

    def __init__(self) -> None:
        self._bar: Any = None

    def __enter__(self) -> ByteBar:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def __call__(self, name: str, done: int, total: int) -> None:
        if self._bar is None:
            from tqdm import tqdm

            watched = sys.stderr.isatty()
            self._bar = tqdm(
                total=total,
                initial=done,
                desc=name,
                unit="B",
                unit_scale=True,
                file=sys.stderr,
                mininterval=0.2 if watched else 15.0,  # a log keeps every line
                dynamic_ncols=watched,
            )
        self._bar.total = total
        if done < self._bar.n:  # it began anew
            self._bar.reset(total)
        self._bar.update(done - self._bar.n)
