"""What the line costs: each step on one clip of the demo, and what keying features by stream saves over all controls.

    python bench/line.py [--repeats 5]

One thread, one process, so that steps compare. Prints `name value unit` a line; the ratio is of two times measured in
the same run. Needs the demo: `avbench demo` first.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy and torch are imported
    os.environ[variable] = "1"

from avbench.clip import read_audio, read_video, stream_sha256, write_clip
from avbench.extract import EXTRACTORS, extract
from avbench.features import Sense
from avbench.methods import DEMO
from avbench.run import run_folder
from avbench.split import load_split, media_path

EMBEDDED = {name: extractor for name, extractor in EXTRACTORS.items() if extractor.extra == "embedded"}


def seconds(step: Callable[[], object], repeats: int) -> float:
    """The median time of a step, after one call that loads what it needs."""
    step()
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        step()
        times.append(time.perf_counter() - begun)
    return statistics.median(times)


def show(name: str, value: float, unit: str) -> None:
    print(f"{name:36} {value:9.3f} {unit}", flush=True)


def steps(clip: Path, transcript: str, repeats: int) -> None:
    """Every step of the line on one clip."""
    frames, sound = read_video(clip), read_audio(clip)
    height, width = frames.shape[1:3]
    print(f"# {len(frames)} frames, {width} x {height}; {platform.processor() or platform.machine()}, one core")
    show("decode video", seconds(lambda: read_video(clip), repeats), "s/clip")
    show("decode audio", seconds(lambda: read_audio(clip), repeats), "s/clip")
    show("digest of the video stream", seconds(lambda: stream_sha256(clip, "video"), repeats), "s/clip")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made.mp4"
        show("encode", seconds(lambda: write_clip(made, frames, sound), repeats), "s/clip")
        show("copy the video, encode the sound", seconds(lambda: write_clip(made, clip, sound), repeats), "s/clip")
    for name, extractor in EMBEDDED.items():
        sense = extractor.feature.sense
        show(f"extract {name}", seconds(partial(extract, clip, sense, [name], transcript), repeats), "s/clip")


def sharing(clips: list[Path], transcript: str) -> None:
    """All features of these clips: every clip on its own, against every stream once."""

    def one(clip: Path, sense: Sense) -> float:
        names = [name for name, extractor in EMBEDDED.items() if extractor.feature.sense == sense]
        begun = time.perf_counter()
        extract(clip, sense, names, transcript)
        return time.perf_counter() - begun

    alone = shared = 0.0
    streams = set()
    for clip in clips:
        for sense in ("video", "audio"):
            spent = one(clip, sense)
            alone += spent
            begun = time.perf_counter()
            digest = stream_sha256(clip, sense)
            shared += time.perf_counter() - begun
            if (digest, sense) not in streams:
                streams.add((digest, sense))
                shared += spent
    show(f"{len(clips)} clips, each on its own", alone, "s")
    show(f"{len(streams)} streams, each once", shared, "s")
    show("ratio", alone / shared, "x")


def cold(runs: Path) -> None:
    """What a user waits for before a word is printed, in a process of its own; the quickest of five."""
    for arguments in (["--help"], ["table", "--runs", str(runs)]):
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-m", "avbench", *arguments], stdout=subprocess.DEVNULL, check=True)
            times.append(time.perf_counter() - begun)
        show(f"avbench {arguments[0]}", min(times), "s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=Path("runs"))
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    split = load_split("demo")
    pair = split.pairs[0]
    target = media_path(split, pair, "target")
    clips = [target, *(run_folder(given.runs, method, "demo") / f"{pair.id}.mp4" for method in DEMO)]
    absent = [str(clip) for clip in clips if not clip.is_file()]
    if absent:
        parser.exit(2, f"absent: {', '.join(absent)}; run `avbench demo --runs {given.runs}` first.\n")
    steps(target, pair.transcript, given.repeats)
    sharing(clips, pair.transcript)
    cold(given.runs)


if __name__ == "__main__":
    main()
