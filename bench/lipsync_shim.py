"""Starts a program of syncnet_python, its code unchanged, with today's libraries and on a CPU; `lipsync.py` calls it.

    OTHER_PYTHON bench/lipsync_shim.py SYNCNET PROGRAM [ARGUMENT …]

Runs in the other environment, and in a folder that holds the networks where the programs look for them; avbench is not
imported. Before the program starts: what it asks of a GPU happens on the CPU; names that numpy has removed are there
again; torchvision, which is imported and never used, may be absent. The detector runs as it is, and then answers with the
boxes of `boxes.json`, one a frame. What the scorer answers, and how many candidates the detector weighed in a frame,
is appended to `answers.jsonl`. Both files lie in the current folder.
"""

from __future__ import annotations

import atexit
import importlib
import importlib.machinery
import importlib.util
import json
import runpy
import sys
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

__all__: list[str] = []

BOXES, ANSWERS = Path("boxes.json"), Path("answers.jsonl")


def on_the_cpu() -> None:
    """Tensors and modules that are sent to a GPU stay where they are."""

    def stay(self: Any, *_: object, **__: object) -> Any:
        return self

    for kind in (torch.nn.Module, torch.Tensor):
        setattr(kind, "cuda", stay)  # noqa: B010


def removed_names() -> None:
    """Names of Python's own types that numpy once had."""
    for name, kind in {"int": int, "float": float, "bool": bool}.items():
        if name not in np.__dict__:
            setattr(np, name, kind)


def unused_torchvision() -> None:
    """An empty package where none is installed."""
    if importlib.util.find_spec("torchvision") is None:
        for name in ("torchvision", "torchvision.transforms"):
            module = types.ModuleType(name)
            module.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
            module.__path__ = []
            sys.modules[name] = module
        sys.modules["torchvision"].transforms = sys.modules["torchvision.transforms"]  # type: ignore[attr-defined]


def injected_boxes() -> None:
    """The detector on the CPU; its answers are weighed, counted and replaced."""
    package: Any = importlib.import_module("detectors")
    rules: Any = importlib.import_module("detectors.s3fd.box_utils")
    boxes = json.loads(BOXES.read_text())
    weigh = rules.nms
    weighed = []

    def counted(candidates: Any, scores: Any, *rest: object) -> Any:
        weighed.append(scores.numel())
        return weigh(candidates, scores, *rest)

    rules.nms = counted
    published: Any = package.S3FD

    class Injected(published):  # type: ignore[misc]
        def __init__(self, device: str = "cpu") -> None:
            super().__init__(device="cpu")
            self.frame = 0

        def detect_faces(self, *arguments: Any, **options: Any) -> Any:
            super().detect_faces(*arguments, **options)
            self.frame += 1
            return np.array(boxes[self.frame - 1 : self.frame])

    package.S3FD = Injected
    atexit.register(lambda: answer(candidates=max(weighed), frames=len(weighed)))


def kept_answers() -> None:
    """What the scorer answers for each track: offset, D and C."""
    module: Any = importlib.import_module("SyncNetInstance")
    evaluate = module.SyncNetInstance.evaluate

    def kept(self: Any, *arguments: Any, **options: Any) -> Any:
        offset, confidence, distances = evaluate(self, *arguments, **options)
        means = distances.mean(axis=0, dtype=np.float64)
        answer(offset=int(offset), c=float(confidence), d=float(means.min()), windows=len(distances))
        return offset, confidence, distances

    module.SyncNetInstance.evaluate = kept


def answer(**values: float) -> None:
    with ANSWERS.open("a") as file:
        file.write(json.dumps(values) + "\n")


def main() -> None:
    folder, program, *arguments = sys.argv[1:]
    sys.path[0] = folder
    warnings.simplefilter("ignore")
    on_the_cpu()
    removed_names()
    unused_torchvision()
    if program == "run_pipeline.py":
        injected_boxes()
    else:
        kept_answers()
    path = str(Path(folder) / program)
    sys.argv = [path, *arguments]
    runpy.run_path(path, run_name="__main__")


if __name__ == "__main__":
    main()
