# /// script
# requires-python = ">=3.9,<3.13"
# dependencies = ["syncnet-python==0.2.3", "scenedetect>=0.6,<0.7", "torch", "torchvision", "numpy"]
# ///
"""What the package syncnet-python makes of the same clips and the same two checkpoints: D, C and offset.

    python syncnet_python.py < REQUEST.json        run by: avbench selftest --against syncnet_python --python PYTHON CLIP…

Needs an environment of its own (scenedetect 0.6 excludes the click that others want) and the program ffmpeg. The package
reports the largest C and the smallest D of all tracks, perhaps of two; here both are those of the track of the largest C.
"""

from __future__ import annotations

import json
import os
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]


def main() -> None:
    """Reads the request, writes the answer; whatever the package and ffmpeg print goes to stderr."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    pipeline = import_module("syncnet_python").SyncNetPipeline(
        {"s3fd_weights": request["weights"]["s3fd"], "syncnet_weights": request["weights"]["syncnet-v2"]},
        device="cpu",
    )
    values = {}
    for number, clip in enumerate(request["clips"]):
        offsets, confidences, distances, *_ = pipeline.inference(clip)
        if not confidences:
            continue  # no face that could be followed
        best = max(range(len(confidences)), key=confidences.__getitem__)
        values[f"lse_d {number + 1}"] = float(distances[best])
        values[f"lse_c {number + 1}"] = float(confidences[best])
        values[f"offset {number + 1}"] = int(offsets[best])
    json.dump({"values": values, "versions": {name: version(name) for name in ("syncnet-python", "torch")}}, answer)


if __name__ == "__main__":
    main()
