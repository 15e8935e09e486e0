"""Lip sync side by side: our path, exact and strided, and the published pipeline, on one clip with the same networks.

    python bench/lipsync.py [--syncnet FOLDER --python OTHER_PYTHON [--ffmpeg PROGRAM]] [--threads 2]

FOLDER is a checkout of syncnet_python and OTHER_PYTHON an interpreter that has what it imports (torch, numpy, scipy, OpenCV,
python_speech_features, scenedetect before 0.7); its code runs unchanged, behind `lipsync_shim.py`. Without these ours is
timed alone. Prints `name value unit` a line. Ends with 1 where a score differs by more than 1e-4 on identical crops, or a
ratio is below its bar.

Conventions. The clip is made here: 121 frames of 1024 x 1024, a disc with an opening mouth, and a tone that swells with it.
Networks are of full size with random numbers, written as the published files are. Nobody's face is in them, so every
path runs the detector in full on its frames, and is then given the same boxes. The detector's confidence is
biased so that at most 20 candidates a frame pass, as with trained networks: with none of it a thousand pass, and the
other pipeline spends its time on sorting them. Each path is a process (of theirs, one for each program), timed from start
to end with loading, one after the other, with the same number of threads; memory is the largest resident set of one process.
The other pipeline starts its programs and loads its networks for every clip; ours loads them once for all clips of a run,
so that every clip after the first is faster than a process of its own: `further` is the time of such a clip, from the file to
the score, in a process that has scored one before. The bars are those of whole processes.
Identical crops are those that the other pipeline has written and read.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

__all__ = ["Run", "main"]

FRAMES, SIDE, RATE = 121, 1024, 48_000
CANDIDATES = 20  # at most, a frame
PASSING = 0.05  # a candidate's least score
EXACT, STRIDED, AGREEMENT = 1.5, 5.0, 1e-4  # bars: times faster, times faster, largest difference of a score
STEPS = ("make", "exact", "strided", "compat", "exact-further", "strided-further", "same")
LATER = 2  # frames that an AVI may have more than the clip

Samples = NDArray[np.float32]


class Run(NamedTuple):
    """One process, or several one after the other."""

    seconds: float
    work: float  # seconds of all cores together: the figure to trust where something else ran beside
    gigabytes: float  # largest resident set of one of them

    def __add__(self, other: Run) -> Run:  # type: ignore[override]
        return Run(self.seconds + other.seconds, self.work + other.work, max(self.gigabytes, other.gigabytes))


def run(command: Sequence[object], folder: Path, environment: Mapping[str, str]) -> Run:
    """Runs a program in a folder; its output is kept there, and shown if it fails."""
    log = folder / "log.txt"
    with log.open("w") as file:
        begun = time.perf_counter()
        process = subprocess.Popen(
            [str(word) for word in command],
            cwd=folder,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{command[1]} ended with {process.returncode}:\n" + log.read_text()[-3000:])
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1e6)


def show_run(name: str, done: Run) -> None:
    show(name, done.seconds, "s")
    show(f"{name}: work of all cores", done.work, "s")
    show(f"{name}: memory", done.gigabytes, "GB")


def show(name: str, value: float, unit: str) -> None:
    print(f"{name:44} {value:11.6g} {unit}", flush=True)


# What is made ----------------------------------------------------------------------------------------------------


def make(folder: Path) -> None:
    """Clip, boxes and networks."""
    from avbench.clip import Sound, write_clip

    opening = [0.5 - 0.5 * math.cos(2 * math.pi * 3.1 * frame / 25) for frame in range(FRAMES)]
    video = np.stack([picture(frame, wide) for frame, wide in enumerate(opening)])
    write_clip(folder / "clip.mp4", video, Sound(tone(opening), RATE))
    boxes = [box(frame) for frame in range(FRAMES + LATER)]
    (folder / "boxes.json").write_text(json.dumps(boxes))
    weights = folder / "detectors/s3fd/weights"
    weights.mkdir(parents=True)
    save_networks(folder / "syncnet_v2.model", weights / "sfd_face.pth", video[:: FRAMES // 8])


def picture(frame: int, opening: float) -> NDArray[np.uint8]:
    """(SIDE, SIDE, 3) a face that moves slowly before a soft background; `opening` of its mouth, 0 to 1."""
    y, x = np.mgrid[:SIDE, :SIDE].astype(np.float32)
    centre_x, centre_y = middle(frame)
    red = 120 + 50 * np.sin(x / 90) * np.cos(y / 130)
    image = np.stack([red, 0.8 * red + 20, 0.6 * red + 50], axis=2)

    def disc(dx: float, dy: float, wide: float, high: float, colour: tuple[int, int, int]) -> None:
        reach = ((x - centre_x - dx) / wide) ** 2 + ((y - centre_y - dy) / high) ** 2
        share = np.clip((1 - reach) * min(wide, high) / 3, 0, 1)[..., None]
        image[:] = image * (1 - share) + share * np.array(colour, np.float32)

    disc(0, 0, 170, 210, (224, 172, 140))
    for side in (-65, 65):
        disc(side, -50, 26, 14, (250, 250, 250))
        disc(side, -50, 10, 12, (40, 30, 30))
    disc(0, 105, 55, 8 + 34 * opening, (110, 30, 40))
    return np.asarray(np.rint(image), np.uint8)


def middle(frame: int) -> tuple[float, float]:
    return 512 + 30 * math.sin(frame / 20), 480 + 18 * math.cos(frame / 27)


def box(frame: int) -> list[float]:
    """Left, top, right, bottom, score of the face."""
    x, y = middle(frame)
    return [x - 150, y - 190, x + 150, y + 190, 0.99]


def tone(opening: Sequence[float]) -> Samples:
    """A buzz as loud as the mouth is open."""
    t = np.arange(FRAMES * RATE // 25) / RATE
    loud = np.interp(t * 25, np.arange(FRAMES), opening)
    buzz = sum(np.sin(2 * np.pi * 130 * n * t + n * n) / n for n in range(1, 20))
    return np.asarray(0.12 * loud * buzz, np.float32)


def save_networks(syncnet: Path, detector: Path, pictures: NDArray[np.uint8]) -> None:
    """Full-size networks with random numbers, in the layout of the published files."""
    import torch

    from avbench.extract.nets.s3fd import S3FD
    from avbench.extract.nets.syncnet import SyncNet

    torch.manual_seed(4)
    lips: Any = SyncNet().eval()
    faces: Any = S3FD().eval()
    with torch.no_grad():
        for network in (lips, faces):
            modules: list[Any] = list(network.modules())
            for module in modules:
                if isinstance(module, torch.nn.Conv2d | torch.nn.Conv3d | torch.nn.Linear):
                    torch.nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                    torch.nn.init.uniform_(cast(torch.Tensor, module.bias), -0.05, 0.05)
                elif hasattr(module, "running_mean"):
                    torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
                    torch.nn.init.uniform_(module.running_var, 0.8, 1.2)
        for layer, factor in ((lips.netcnnlip[0], 0.01), (lips.netcnnaud[0], 0.1), (faces.vgg[0], 0.02)):
            layer.weight.mul_(factor)
        common = torch.empty(1024).uniform_(-0.5, 0.5)
        for half in (lips.netfclip, lips.netfcaud):
            half[3].weight.mul_(0.05)
            half[3].bias.copy_(common)
        for norm, length in ((faces.L2Norm3_3, 10), (faces.L2Norm4_3, 8), (faces.L2Norm5_3, 5)):
            norm.weight.fill_(length)
        for heads in faces.loc:
            heads.weight.mul_(0.1)
        bias_confidence(faces, pictures)
    torch.save(lips.state_dict(), syncnet)
    torch.save(faces.state_dict(), detector)


def bias_confidence(faces: Any, pictures: NDArray[np.uint8]) -> None:
    """Lowers the face class of all heads together until at most a quarter of CANDIDATES pass on each of these pictures."""
    import cv2
    import torch

    from avbench.extract.nets.s3fd import MEANS

    small = np.stack([cv2.resize(one, (0, 0), fx=0.25, fy=0.25) for one in pictures]).astype(np.float32)
    found = faces(torch.from_numpy(small - np.array(MEANS, np.float32)).permute(0, 3, 1, 2))
    needed = torch.logit(found.scores.double()).topk(CANDIDATES // 4, dim=1).values[:, -1].max()
    for head in faces.conf:
        head.bias[-1] -= float(needed) - math.log(PASSING / (1 - PASSING))


# Ours ------------------------------------------------------------------------------------------------------------


def ours(folder: Path, step: str) -> None:
    """One of our paths from the file to D, C and offset of its track, with the boxes of `boxes.json`."""
    import torch

    from avbench import weights

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    files = {"s3fd": folder / "detectors/s3fd/weights/sfd_face.pth", "syncnet-v2": folder / "syncnet_v2.model"}
    weights.path = files.__getitem__  # type: ignore[assignment]
    if step == "same":
        same(folder)
        return
    path, _, further = step.partition("-")
    known = [np.array([row], np.float32) for row in json.loads((folder / "boxes.json").read_text())]
    inject(known, path)
    answer = scored(folder, path)
    if further:
        begun = time.perf_counter()
        answer = {**scored(folder, path), "seconds": time.perf_counter() - begun}
    (folder / f"{step}.json").write_text(json.dumps(answer))


def scored(folder: Path, path: str) -> dict[str, float]:
    """From the file to D, C and offset of its one track."""
    from avbench.clip import read_audio, read_video
    from avbench.extract import lips_syncnet
    from avbench.extract.engine import CPU
    from avbench.metrics.lip_sync import recoded_syncs, track_syncs

    RAN[0] = 0
    video, sound = read_video(folder / "clip.mp4"), read_audio(folder / "clip.mp4")
    if path == "compat":
        from avbench.extract.lips_compat import sync_tracks

        syncs = recoded_syncs(sync_tracks((video, sound), CPU))
    else:
        lips = lips_syncnet.lips_of if path == "exact" else lips_syncnet.lips_every8_of
        syncs = track_syncs(lips(video, CPU), lips_syncnet.sound_of(sound, CPU))
    (sync,) = syncs
    return {"d": sync.distance, "c": sync.confidence, "offset": sync.offset, "windows": sync.windows, "ran": RAN[0]}


RAN = [0]  # frames that the detector was run on


def inject(known: Sequence[NDArray[np.float32]], path: str) -> None:
    """Has every detection run in full and then answered by these boxes."""
    from avbench.extract import lips_compat, lips_syncnet

    found = lips_syncnet.detect

    def answered(frames: Any, engine: Any, scale: float) -> list[NDArray[np.float32]]:
        found(frames, engine, scale)
        every = lips_syncnet.EVERY if path == "strided" else 1
        first, RAN[0] = RAN[0], RAN[0] + len(frames)
        return [known[every * place] for place in range(first, RAN[0])]

    lips_syncnet.detect = answered
    lips_compat.detect = answered  # type: ignore[attr-defined]


def same(folder: Path) -> None:
    """D, C and offset of the crops and the sound that the other pipeline has decoded."""
    import wave

    import cv2

    from avbench.extract.engine import CPU
    from avbench.extract.lips_syncnet import lip_embeddings, sound_embeddings
    from avbench.metrics.lip_sync import sync_of

    decoded = folder / "out/pytmp/clip"
    crops = np.stack([np.asarray(cv2.imread(str(file)), np.uint8) for file in sorted(decoded.glob("*.jpg"))])
    with wave.open(str(decoded / "audio.wav")) as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2").astype(np.int16)
    lips, sounds = lip_embeddings(crops, CPU), sound_embeddings(samples, CPU)
    windows = min(len(crops), len(samples) // 640) - 5
    distance, confidence, offset = sync_of(lips[:windows], sounds[:windows])
    answer = {"d": distance, "c": confidence, "offset": offset, "windows": windows}
    (folder / "same.json").write_text(json.dumps(answer))


# Theirs ----------------------------------------------------------------------------------------------------------

# `-async N` was a short form of this filter, and is gone.
FFMPEG = """#!/bin/sh
for word do
  shift
  if [ "$last" = -async ]; then word="aresample=async=$word"; fi
  last=$word
  if [ "$word" = -async ]; then word=-af; fi
  set -- "$@" "$word"
done
exec '{program}' "$@"
"""


def theirs(folder: Path, given: argparse.Namespace, environment: Mapping[str, str]) -> Run:
    """The other pipeline's two programs, one after the other."""
    programs = folder / "programs"
    programs.mkdir()
    wrapper = programs / "ffmpeg"
    wrapper.write_text(FFMPEG.replace("{program}", given.ffmpeg))
    wrapper.chmod(0o755)
    shim = [given.python, Path(__file__).resolve().parent / "lipsync_shim.py", given.syncnet.resolve()]
    options = ["--videofile", folder / "clip.mp4", "--reference", "clip", "--data_dir", folder / "out"]
    environment = {**environment, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"}
    first = run([*shim, "run_pipeline.py", *options], folder, environment)
    return first + run(
        [*shim, "run_syncnet.py", *options, "--initial_model", folder / "syncnet_v2.model"], folder, environment
    )


# The program -----------------------------------------------------------------------------------------------------


def compare(folder: Path, given: argparse.Namespace) -> bool:
    """Runs everything and prints it; whether all bars are met."""
    environment = {name: str(given.threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}

    def step(name: str) -> Run:
        return run([sys.executable, Path(__file__).resolve(), "--step", name, "--folder", folder], folder, environment)

    def score(name: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((folder / f"{name}.json").read_text())
        return found

    step("make")
    print(
        f"# {FRAMES} frames, {SIDE} x {SIDE}; {given.threads} threads of {os.cpu_count()}; load {os.getloadavg()[0]:.2f}"
    )
    runs = {}
    for name in ("exact", "strided", "compat"):
        runs[name] = step(name)
        show_run(name, runs[name])
        show(f"{name}: frames given to the detector", score(name)["ran"], "frames")
    for name in ("exact", "strided"):
        step(f"{name}-further")
        show(f"{name}: a further clip", score(f"{name}-further")["seconds"], "s")
    if given.syncnet is None:
        print("# the other pipeline was not given (--syncnet, --python): ours alone, no ratios")
        return True
    published = theirs(folder, given, environment)
    show_run("syncnet_python", published)
    answers = [json.loads(line) for line in (folder / "answers.jsonl").read_text().splitlines()]
    weighed, scored = ({k: v for one in answers if key in one for k, v in one.items()} for key in ("candidates", "d"))
    show("candidates in a frame, at most", weighed["candidates"], "boxes")
    step("same")
    worst = max(abs(score("same")[key] - scored[key]) for key in ("d", "c", "offset"))
    ratios = {name: published.seconds / done.seconds for name, done in runs.items()}
    for name, ratio in ratios.items():
        show(f"{name}: times faster", ratio, "x")
        show(f"{name}: times less work", published.work / runs[name].work, "x")
    further = {name: published.seconds / score(f"{name}-further")["seconds"] for name in ("exact", "strided")}
    for name, ratio in further.items():
        show(f"{name}: a further clip, times faster", ratio, "x")
    show("largest difference on identical crops", worst, "distance")
    for name in runs:
        for key in ("d", "c", "offset"):
            show(
                f"{name}: {key} less theirs",
                score(name)[key] - scored[key],
                "frames" if key == "offset" else "distance",
            )
    print(f"# theirs: D {scored['d']:.6f}, C {scored['c']:.6f}, offset {scored['offset']}, {scored['windows']} windows")
    return (
        worst <= AGREEMENT
        and ratios["exact"] >= EXACT
        and ratios["strided"] >= STRIDED
        and weighed["candidates"] <= CANDIDATES
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--syncnet", type=Path, help="a checkout of syncnet_python")
    parser.add_argument("--python", default="python", help="an interpreter that can run it")
    parser.add_argument("--ffmpeg", default=shutil.which("ffmpeg"), help="the ffmpeg program that it calls")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--step", choices=STEPS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.step == "make":
        make(given.folder)
    elif given.step:
        ours(given.folder, given.step)
    else:
        if given.syncnet is not None and not (given.syncnet / "run_pipeline.py").is_file():
            parser.exit(2, f"{given.syncnet}: no run_pipeline.py in it; expected a checkout of syncnet_python.\n")
        if given.syncnet is not None and given.ffmpeg is None:
            parser.exit(2, "no ffmpeg on the path; the other pipeline calls it. Give --ffmpeg PROGRAM.\n")
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(0 if compare(Path(folder), given) else 1)


if __name__ == "__main__":
    main()
