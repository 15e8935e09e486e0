"""What a table costs: `avbench table` over 10,000 and over one million score rows, cold, with its memory.

    python bench/tables.py [--rows 10000 1000000] [--format latex]

Half of the rows are on one profile, so that a table has to pass over the other half; 1 in 50 is a failure. Prints
`name value unit` a line, the quickest of three, and ends with 1 where a bar is missed: 1.5 s for 10,000 rows; 10 s and
2 GB for a million. Seconds are those of a process from its start to its end.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from avbench.metric import Scale
from avbench.run import RunInfo, ScoreRow, append_rows, run_folder, write_run, write_scales
from avbench.split import load_split

__all__ = ["Cost", "main"]

SCALES, PAIRS, PROFILES = 10, 500, ("authors", "embedded")
BARS = {10_000: (1.5, 2.0), 1_000_000: (10.0, 2.0)}  # seconds, gigabytes


class Cost(NamedTuple):
    """One process."""

    seconds: float
    gigabytes: float  # largest resident set


def make(place: Path, rows: int) -> None:
    """A split, and as many runs of it as have so many rows."""
    pairs = min(PAIRS, rows // (2 * SCALES * len(PROFILES)))
    folder = place / "splits" / "large"
    folder.mkdir(parents=True)
    head = {"title": "Large", "description": "d", "profile": "authors", "consent": "c", "licence": "l"}
    sizes = {"frames": 121, "width": 8, "height": 8}
    (folder / "split.toml").write_text("".join(f"{k} = {json.dumps(v)}\n" for k, v in {**head, **sizes}.items()))
    lines = []
    for number in range(pairs):
        name = f"p{number:04}"
        media = {"voice": f"{name}.wav", "face": f"{name}.png", "target": f"{name}.mp4"}
        prompt = dict.fromkeys(("visual", "speech", "manner", "environment"), "words")
        pair = {"id": name, "speaker": f"s{number % 40}", **media, "prompt": prompt, "transcript": "words"}
        lines.append(json.dumps({**pair, "language": "en", "same_video": False, "consent": "c"}))
    (folder / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    split = load_split(str(folder))
    scales = [
        Scale(profile, f"scale{n}", f"Scale {n}", "cosine", "higher", 3, n, "mean", 1e-3, f"scale{n}/1+net/1@01234567")
        for profile in PROFILES
        for n in range(SCALES)
    ]
    chance = random.Random(5)
    for method in range(rows // (pairs * len(scales))):
        run = run_folder(place / "runs", f"m{method:03}", split.name)
        run.mkdir(parents=True)
        write_run(run, RunInfo(label=f"Method {method}"))
        write_scales(run, scales)
        append_rows(
            run / "scores.jsonl",
            (
                ScoreRow(
                    split=split.label,
                    pair=pair.id,
                    speaker=pair.speaker,
                    clip_sha256=digest(f"{method} {pair.id}"),
                    target_sha256=digest(pair.id),
                    reference_sha256=digest(pair.speaker),
                    profile=scale.profile,
                    scale=scale.name,
                    revision=scale.revision,
                    value=None if (failed := chance.random() < 0.02) else chance.gauss(0.5, 0.1),
                    failure="no face" if failed else None,
                )
                for pair in split.pairs
                for scale in scales
            ),
        )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def table(place: Path, form: str) -> Cost:
    """One `avbench table`."""
    command = [sys.executable, "-m", "avbench", "table", "--runs", "runs", "--split", "large", "--format", form]
    begun = time.perf_counter()
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)} ended with {process.returncode}")
    return Cost(time.perf_counter() - begun, usage.ru_maxrss / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=list(BARS))
    parser.add_argument("--format", default="latex")
    given = parser.parse_args()
    missed = False
    for rows in given.rows:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            make(place, rows)
            cost = min(table(place, given.format) for _ in range(3))
        print(f"{f'{rows} rows':24} {cost.seconds:8.2f} s", flush=True)
        print(f"{f'{rows} rows, memory':24} {cost.gigabytes:8.2f} GB", flush=True)
        missed |= any(found > bar for found, bar in zip(cost, BARS.get(rows, (float("inf"),) * 2), strict=True))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
