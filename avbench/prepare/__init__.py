from __future__ import annotations
from pathlib import Path
from ..split import Split
from ..workers import Report
__all__ = ["prepare"]
def prepare(split: Split, data: Path | None, workers: int, report: Report) -> int:
    return 0
