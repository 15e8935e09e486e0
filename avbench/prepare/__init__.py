"""From recipes to media: what a split's `prepare` names is made here, once, below the split's media folder.

    PREPARERS[name]    the recipes that are known          prepare(split, …)    makes what is missing

`prepared.json` in the media folder says which recipe its files follow from and holds their digests. It is written
again after each pair, so that a kill costs the pairs in work; a file that is missing, damaged or of another recipe
is made again, and where there is none the call only reads. One process makes, a second one waits for it.
"""

from __future__ import annotations

from contextlib import closing
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import msgspec

from ..errors import SplitError
from ..home import atomic, sha256, sweep
from ..run import lock
from ..split import MEDIA, Pair, Split, media_root
from ..workers import Progress, Report, notes, run_jobs, silent

__all__ = ["PREPARERS", "Prepared", "prepare", "read_prepared"]

# Modules with `RECIPE: int`, `check(split)` and `make(split, pair, data, media)`.
PREPARERS = {
    "demo": "avbench.prepare.demo",
}
MADE_WITH = ("avbench", "av", "espeakng-loader", "matplotlib", "numpy", "pillow", "scikit-image", "scipy", "soxr")


class Prepared(msgspec.Struct, frozen=True):
    """prepared.json."""

    recipe: str  # what the media follow from: the split's digest and the code's number
    files: dict[str, str]  # sha256 by path in the media folder
    versions: dict[str, str]  # of what made them; recorded, not compared


class _Job(NamedTuple):
    split: Split
    pair: Pair
    data: Path | None
    media: tuple[str, ...]


def prepare(split: Split, data: Path | None, workers: int, report: Report = silent) -> int:
    """Makes the media of a split that names a recipe; returns how many files it made, 0 when all were there."""
    if not split.head.prepare:
        return 0
    preparer = _preparer(split)
    preparer.check(split)
    recipe = f"{split.digest}:{preparer.RECIPE}"
    root = media_root(split, data)
    if not _lacking(split, data, recipe):
        return 0
    with lock(root, "prepare", notes(report, "prepare")):
        jobs = _lacking(split, data, recipe)  # another process may have made them meanwhile
        if not jobs:
            return 0
        known = read_prepared(root)
        files = dict(known.files) if known is not None and known.recipe == recipe else {}
        versions = _versions()
        _sweep(root, jobs)
        made = 0
        report(Progress("prepare", 0, len(jobs), 0))
        with closing(run_jobs(_make, jobs, min(workers, len(jobs)))) as results:
            for done, (_, digests) in enumerate(results, start=1):
                files.update(digests)
                made += len(digests)
                _write(root, Prepared(recipe, dict(sorted(files.items())), versions))
                report(Progress("prepare", done, len(jobs), 0))
    return made


def read_prepared(root: Path) -> Prepared | None:
    """prepared.json of a media folder; None where there is none that can be read."""
    try:
        return msgspec.json.decode((root / "prepared.json").read_bytes(), type=Prepared)
    except (FileNotFoundError, msgspec.DecodeError, UnicodeDecodeError):
        return None


def _preparer(split: Split) -> ModuleType:
    if split.head.prepare not in PREPARERS:
        raise SplitError(
            f"{split.folder}/split.toml: prepare = {split.head.prepare!r}; known are {', '.join(PREPARERS)}. "
            "A split whose media you provide has none."
        )
    return import_module(PREPARERS[split.head.prepare])


def _lacking(split: Split, data: Path | None, recipe: str) -> list[_Job]:
    """One job for each pair of which a medium is missing, damaged or of another recipe."""
    root = media_root(split, data)
    known = read_prepared(root)
    files = known.files if known is not None and known.recipe == recipe else {}
    jobs = []
    for pair in split.pairs:
        media = tuple(medium for medium in MEDIA if not _is_sound(root, files, _path(pair, medium)))
        if media:
            jobs.append(_Job(split, pair, data, media))
    return jobs


def _is_sound(root: Path, files: dict[str, str], path: str) -> bool:
    return path in files and (root / path).is_file() and sha256(root / path) == files[path]


def _sweep(root: Path, jobs: list[_Job]) -> None:
    """Removes what a killed process left half written."""
    for folder in {root, *((root / _path(job.pair, medium)).parent for job in jobs for medium in MEDIA)}:
        sweep(folder)


def _make(job: _Job) -> dict[str, str]:
    """Makes one pair's media in a worker; their digests by path."""
    _preparer(job.split).make(job.split, job.pair, job.data, job.media)
    root = media_root(job.split, job.data)
    return {path: sha256(root / path) for path in (_path(job.pair, medium) for medium in job.media)}


def _path(pair: Pair, medium: str) -> str:
    """Of one medium, relative to the media folder."""
    return str(getattr(pair, medium))


def _versions() -> dict[str, str]:
    from importlib.metadata import PackageNotFoundError, version

    found = {}
    for name in MADE_WITH:
        try:
            found[name] = version(name)
        except PackageNotFoundError:  # `make` says what it lacks
            continue
    return found


def _write(root: Path, prepared: Prepared) -> None:
    with atomic(root / "prepared.json") as part:
        part.write_bytes(msgspec.json.format(msgspec.json.encode(prepared), indent=1) + b"\n")
