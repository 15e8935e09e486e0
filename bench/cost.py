"""What does each extractor of the paper's profiles cost? One clip of 121 frames at 1024 x 1024, networks in full size.

    python bench/cost.py [--device cuda] [NAME ...]        one line an extractor: name, seconds, peak memory in MB

Their numbers are random: time and memory do not depend on them, and nothing is measured of any clip. S3FD runs in full, and
one centred face is put in the place of what it would find. The ONNX networks of faces have the published depths and
widths (ResNet-50 of ArcFace) or nearly so (detector, landmarks). Whisper writes 30 tokens. Each extractor runs in a
process and on a thread of its own; the second of two runs counts, where the first takes less than ten seconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy and torch are imported
    os.environ[variable] = "1"

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from avbench.clip import Sound
from avbench.extract import (
    EXTRACTORS,
    Engine,
    clap,
    engine_of,
    faces_buffalo,
    lips_syncnet,
    voice_ecapa,
    voice_wavlm,
    whisper,
)
from avbench.extract.engine import exactly
from avbench.extract.nets import clap as clap_net
from avbench.extract.nets import ecapa_tdnn, s3fd, syncnet, wavlm
from avbench.extract.nets import whisper as whisper_net
from avbench.extract.nets.arcface import load_arcface
from avbench.extract.nets.ecapa_wavlm import SpeakerHead
from avbench.extract.nets.landmarks68 import load_landmarks
from avbench.extract.nets.loading import channels_last, numbered
from avbench.extract.nets.scrfd import load_scrfd, untrained_scrfd
from avbench.split import Prompt

FRAMES, SIDE, RATE = 121, 1024, 48_000
TOKENS = 30
ONCE_SECONDS = 10.0
NAMES = [name for name, extractor in EXTRACTORS.items() if extractor.extra == "metrics"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("names", nargs="*", default=NAMES, metavar="NAME", help=", ".join(NAMES))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(measured(asked.names[0], engine_of(asked.device))))
        return
    for name in asked.names:
        command = [sys.executable, __file__, "--one", "--device", asked.device, name]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        seconds, peak = json.loads(done.stdout.splitlines()[-1])
        print(f"{name:24} {seconds:8.2f} s {peak:8.0f} MB", flush=True)


def measured(name: str, engine: Engine) -> tuple[float, float]:
    """Seconds, and the peak of memory in MB: of the process, or of the accelerator."""
    torch.set_num_threads(1)
    exactly()
    extractor = EXTRACTORS[name]
    given: list[Any] = [medium(extractor.feature.sense)]
    if extractor.feature.reads:
        given.append("en" if extractor.feature.reads == "language" else "She sells sea shells by the sea shore.")
    with networks(name, engine):
        seconds = timed(lambda: extractor.run(*given, engine))
        if seconds < ONCE_SECONDS:
            seconds = timed(lambda: extractor.run(*given, engine))
    if engine.accelerated:
        return seconds, torch.cuda.max_memory_reserved() / 1e6
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def timed(step: Callable[[], object]) -> float:
    begun = time.perf_counter()
    step()
    return time.perf_counter() - begun


def medium(sense: str) -> Any:
    """What an extractor of that sense is given."""
    random = np.random.default_rng(1)
    sound = Sound(random.normal(0, 0.1, RATE * FRAMES // 25).astype(np.float32), RATE)
    if sense == "audio":
        return sound
    if sense == "text":
        return Prompt("a kitchen", "hello", "She speaks calmly and slowly.", "Rain falls on a tin roof.")
    still = random.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    frames = np.stack([np.roll(still, index, axis=1) for index in range(FRAMES)])
    return (frames, sound) if sense == "both" else frames


# Networks in full size -------------------------------------------------------------------------------------------


@contextmanager
def networks(name: str, engine: Engine) -> Iterator[None]:
    """Puts a random network of the published size where the extractor would load the published one."""
    if name.startswith("faces_"):
        with tempfile.TemporaryDirectory() as folder:
            found = faces(Path(folder), engine)
            faces_buffalo._networks = lambda _: found  # type: ignore[assignment]
            yield
        return
    match name.split("_"):
        case ["voice", "wavlm", *pretrained]:
            backbone, head = wavlm.wavlm(wavlm.LARGE), SpeakerHead(offset=0.0 if pretrained else 1e-6)
            speaker = on(wavlm.WavlmSpeaker(backbone, head, normalised=not pretrained), engine)
            voice_wavlm._finetuned = voice_wavlm._pretrained = lambda _: speaker  # type: ignore[assignment]
        case ["voice", "ecapa"]:
            ecapa = on(ecapa_tdnn.EcapaTdnn(), engine)
            voice_ecapa._network = lambda _: ecapa  # type: ignore[assignment]
        case ["clap", *_]:
            meaning, letters = on(clap_net.published_clap(), engine), clap_net.untrained_tokenizer()
            clap._network, clap._tokenizer = lambda _: meaning, lambda _: letters  # type: ignore[assignment]
        case ["words", "whisper", *authors]:
            words(engine, half=bool(authors) and engine.accelerated)
        case ["wording", _]:
            whisper._english = lambda _: whisper.normaliser({"colour": "color"})  # type: ignore[assignment]
        case _:
            detector = on(FoundAnyway(channels_last(numbered(s3fd.S3FD()))), engine)
            halves = on(syncnet.halves(numbered(syncnet.SyncNet())), engine)
            lips_syncnet._detector, lips_syncnet._network = lambda _: detector, lambda _: halves  # type: ignore[assignment]
    yield


def on(module: Any, engine: Engine) -> Any:
    return module.eval().requires_grad_(False).to(engine.device)


class FoundAnyway(nn.Module):
    """S3FD in full, and then one centred face."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.face = s3fd.untrained_s3fd()

    def forward(self, images: torch.Tensor) -> s3fd.Found:
        self.network(images)
        found: s3fd.Found = self.face(images)
        return found


def words(engine: Engine, half: bool) -> None:
    """Whisper that writes so many tokens and no fewer."""
    network = whisper_net.published_whisper().to_empty(device="cpu")
    with torch.no_grad():
        for value in network.state_dict().values():
            value.normal_(0, 0.02)
    network.tie_weights()
    torch.nn.Module.to(network, torch.float16 if half else torch.float32)
    network = on(network, engine)
    letters = whisper_net.untrained_tokenizer()
    rules_of = whisper_net.writing

    def writing(*arguments: Any) -> Any:
        rules = rules_of(*arguments)
        rules.max_length, rules.max_new_tokens, rules.min_new_tokens = None, TOKENS, TOKENS
        return rules

    whisper_net.writing = writing  # type: ignore[assignment]
    whisper._network, whisper._tokenizer = lambda *_: network, lambda _: letters  # type: ignore[assignment]
    whisper._english = lambda _: whisper.normaliser({"colour": "color"})  # type: ignore[assignment]


# Networks of faces -----------------------------------------------------------------------------------------------


def faces(folder: Path, engine: Engine) -> faces_buffalo.Networks:
    """Files of random numbers, through the real loading; a centred face stands in for what the detector finds."""
    outputs = [f"out{number}" for number in range(9)]
    wide = {"data": {2: "height", 3: "width"}, **{name: {0: "cells"} for name in outputs}}
    each = {"data": {0: "items"}, "out0": {0: "items"}}
    export(Detector(), (640, 640), folder / "detector.onnx", wide, outputs)
    export(recogniser(), (112, 112), folder / "recogniser.onnx", each, ["out0"])
    export(landmarker(), (192, 192), folder / "landmarks.onnx", each, ["out0"])
    detect, face = load_scrfd(folder / "detector.onnx", engine), untrained_scrfd()

    def found(frame: Any, canvas: Any, threshold: float) -> Any:
        detect(frame, canvas, threshold)
        return face(frame, canvas, threshold)

    return faces_buffalo.Networks(
        detect=found,
        embed=load_arcface(folder / "recogniser.onnx", engine),
        find_landmarks=load_landmarks(folder / "landmarks.onnx", engine),
    )


def export(module: nn.Module, size: tuple[int, int], path: Path, axes: dict[str, Any], outputs: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter speaks of its successor
        torch.onnx.export(
            module.eval(),
            (torch.zeros(1, 3, *size),),
            path,
            dynamo=False,
            input_names=["data"],
            output_names=outputs,
            dynamic_axes=axes,
        )


def normed(before: int, after: int, kernel: int, stride: int = 1) -> list[nn.Module]:
    convolution = nn.Conv2d(before, after, kernel, stride, kernel // 2, bias=False)
    return [convolution, nn.BatchNorm2d(after)]


class Residual(nn.Module):
    """The sum of a path and a shortcut."""

    def __init__(self, path: list[nn.Module], before: int, after: int, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(*path)
        changes = stride > 1 or before != after
        self.shortcut = nn.Sequential(*normed(before, after, 1, stride)) if changes else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        summed: torch.Tensor = self.path(x) + self.shortcut(x)
        return summed


def recogniser() -> nn.Module:
    """ArcFace's ResNet-50: blocks of two convolutions, normalised before and after."""
    layers: list[nn.Module] = [*normed(3, 64, 3), nn.PReLU(64)]
    before = 64
    for after, count in ((64, 3), (128, 4), (256, 14), (512, 3)):
        for number in range(count):
            stride = 2 if number == 0 else 1
            path = [
                nn.BatchNorm2d(before),
                *normed(before, after, 3),
                nn.PReLU(after),
                *normed(after, after, 3, stride),
            ]
            layers.append(Residual(path, before, after, stride))
            before = after
    return nn.Sequential(*layers, nn.BatchNorm2d(512), nn.Flatten(), nn.Linear(512 * 49, 512), nn.BatchNorm1d(512))


def landmarker() -> nn.Module:
    """A ResNet-50 with three numbers for each of 1103 points."""
    layers: list[nn.Module] = [*normed(3, 64, 7, 2), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    before = 64
    for middle, count, first in ((64, 3, 1), (128, 4, 2), (256, 6, 2), (512, 3, 2)):
        for number in range(count):
            stride = first if number == 0 else 1
            path = [*normed(before, middle, 1), nn.ReLU(), *normed(middle, middle, 3, stride), nn.ReLU()]
            layers += [Residual([*path, *normed(middle, 4 * middle, 1)], before, 4 * middle, stride), nn.ReLU()]
            before = 4 * middle
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 3309))


class Detector(nn.Module):
    """Of about 10 GFLOPs at 640 x 640: residual stages, a pyramid of 56 channels, heads of 80 on three levels."""

    def __init__(self) -> None:
        super().__init__()
        stem: list[nn.Module] = []
        for before, after, stride in ((3, 28, 2), (28, 28, 1), (28, 56, 1)):
            stem += [*normed(before, after, 3, stride), nn.ReLU()]
        self.stem = nn.Sequential(*stem, nn.MaxPool2d(2))
        stages, before = [], 56
        for after, count, first in ((56, 3, 1), (88, 4, 2), (88, 2, 2), (224, 3, 2)):
            layers: list[nn.Module] = []
            for number in range(count):
                stride = first if number == 0 else 1
                path = [*normed(before, after, 3, stride), nn.ReLU(), *normed(after, after, 3)]
                layers += [Residual(path, before, after, stride), nn.ReLU()]
                before = after
            stages.append(nn.Sequential(*layers))
        self.stages = nn.ModuleList(stages)
        self.lateral = nn.ModuleList(nn.Conv2d(width, 56, 1) for width in (88, 88, 224))
        self.smooth = nn.ModuleList(nn.Conv2d(56, 56, 3, 1, 1) for _ in range(3))
        self.towers = nn.ModuleList(
            nn.Sequential(*normed(56, 80, 3), nn.ReLU(), *normed(80, 80, 3), nn.ReLU(), *normed(80, 80, 3), nn.ReLU())
            for _ in range(3)
        )
        self.heads = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(80, 2 * width, 3, 1, 1) for _ in range(3)) for width in (1, 4, 10)
        )
        for level in range(3):
            nn.init.constant_(self.head(0, level).bias, -6)  # few candidates, as on a real frame

    def head(self, kind: int, level: int) -> Any:
        """Of scores, boxes or points, on one of three levels."""
        heads: Any = self.heads[kind]
        return heads[level]

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        levels = []
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
            levels.append(x)
        levels = [lateral(level) for lateral, level in zip(self.lateral, levels[1:], strict=True)]
        for upper in (1, 0):
            levels[upper] = levels[upper] + functional.interpolate(levels[upper + 1], scale_factor=2.0)
        seen = [tower(smooth(level)) for tower, smooth, level in zip(self.towers, self.smooth, levels, strict=True)]
        answers = []
        for kind, width in enumerate((1, 4, 10)):
            for number, level in enumerate(seen):
                answer = self.head(kind, number)(level).permute(0, 2, 3, 1).reshape(-1, width)
                answers.append(torch.sigmoid(answer) if width == 1 else answer)
        return tuple(answers)


if __name__ == "__main__":
    main()
