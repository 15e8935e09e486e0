"""Random combinations of damage on real clips: does every scale answer with a number or with a reason?

    python bench/robustness.py FOLDER [--count 200] [--seed 0] [--only NUMBER]

FOLDER has a MANIFEST.csv; its rows of kind clip, clip_generated and clip_nospeech are used. Combination n, drawn from
the seed and n alone, takes one clip, one to four kinds of damage and amounts from their whole ranges, beyond the steps
of any ladder. The damaged clip goes through every extractor and every scale, against the clip as it was.

Prints `name value` a line. Ends with 1 where anything raised what it should not, a value is not finite or a failure
gives no reason, and says which combination it was: `--only NUMBER` runs it alone, and shows the traceback.
"""

from __future__ import annotations

import argparse
import math
import os
import re
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy and torch are imported
    os.environ[variable] = "1"

import numpy as np

from avbench.clip import stream_sha256
from avbench.damage import DAMAGES, Given, damaged
from avbench.errors import MediaError
from avbench.extract import EXTRACTORS, extract, ready
from avbench.features import Features, Record
from avbench.metric import Measured, Metric, Sample, Source, Unmeasurable
from avbench.metrics import select
from avbench.prepare.manifest import Entry, read_manifest
from avbench.split import Prompt

KINDS = ("clip", "clip_generated", "clip_nospeech")
MOST_AT_ONCE = 4
Sense = Literal["video", "audio"]
SENSES: tuple[Sense, ...] = ("video", "audio")


class Combination(NamedTuple):
    """One clip and what is done to it."""

    number: int
    clip: Entry
    amounts: list[tuple[str, float]]
    given: Given

    def __str__(self) -> str:
        done = ", ".join(f"{kind} {amount:.4g}" for kind, amount in self.amounts)
        return f"combination {self.number}: {self.clip.path.name}, {done}"


class Tally(NamedTuple):
    """What came of all combinations."""

    values: Counter[str]  # by scale
    failures: Counter[str]  # by what failed
    reasons: Counter[str]  # with numbers left out
    faults: list[str]


def combination(clips: Sequence[Entry], seed: int, number: int) -> Combination:
    """Number n of a seed, whatever comes before it."""
    rng = np.random.default_rng([seed, number])
    clip = clips[int(rng.integers(len(clips)))]
    others = [one for one in clips if one.person != clip.person] or [clip]
    other = others[int(rng.integers(len(others)))]
    kinds = [name for name in DAMAGES if name != "none"]
    chosen = rng.choice(len(kinds), size=int(rng.integers(1, MOST_AT_ONCE + 1)), replace=False)
    amounts = [(kinds[index], rng.uniform(DAMAGES[kinds[index]].least, DAMAGES[kinds[index]].most)) for index in chosen]
    return Combination(number, clip, amounts, Given(other.path, clip.transcript, number))


class Extracted:
    """The features of streams, each extracted once: damage to the sound leaves the picture as it was, and vice versa."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, Sense, str], dict[str, Record] | str] = {}

    def of(self, path: Path, text: str) -> tuple[dict[str, Record], dict[Sense, str]]:
        """The records of a clip, and why there are none of a sense."""
        records: dict[str, Record] = {}
        failures: dict[Sense, str] = {}
        for sense in SENSES:
            found = self._stream(path, sense, text)
            if isinstance(found, str):
                failures[sense] = found
            else:
                records |= found
        return records, failures

    def _stream(self, path: Path, sense: Sense, text: str) -> dict[str, Record] | str:
        names = [
            name
            for name, extractor in EXTRACTORS.items()
            if (extractor.extra, extractor.feature.sense) == ("embedded", sense)
        ]
        try:
            key = (stream_sha256(path, sense), sense, text)
            if key not in self._known:
                self._known[key] = extract(path, sense, names, text)
            return self._known[key]
        except MediaError as error:
            return str(error).removeprefix(f"{path}: ")


def run(one: Combination, extracted: Extracted, tally: Tally) -> None:
    """Damages, extracts and measures; faults go into the tally with the combination."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "damaged.mp4"
        try:
            damaged(one.clip.path, path, one.amounts, one.given)
        except MediaError as error:
            _failed(one, tally, "damage", str(error))
            return
        sides = {"clip": extracted.of(path, one.clip.transcript)}
    target = extracted.of(one.clip.path, one.clip.transcript)
    sides |= {"target": target, "voice": target, "face": target}
    for metric in select("embedded"):
        why = _lacking(metric, sides)
        if why is not None:
            _failed(one, tally, metric.name, why)
            continue
        try:
            answer = metric.measure(_sample(one, sides))
        except Unmeasurable as error:
            _failed(one, tally, metric.name, str(error))
            continue
        measured = answer if isinstance(answer, Measured) else Measured(answer)
        numbers = [measured.value, *(number for number in measured.detail.values() if isinstance(number, float))]
        if all(map(math.isfinite, numbers)):
            tally.values[metric.name] += 1
        else:
            tally.faults.append(f"{one}: {metric.name} = {numbers}")


def _lacking(metric: Metric, sides: dict[str, tuple[dict[str, Record], dict[Sense, str]]]) -> str | None:
    """Why a feature that the metric needs is not there."""
    for source, features in metric.needs.items():
        for feature in features:
            if feature.sense in sides[source][1]:
                return f"{source}: {sides[source][1][feature.sense]}"
    return None


def _sample(one: Combination, sides: dict[str, tuple[dict[str, Record], dict[Sense, str]]]) -> Sample:
    sources: tuple[Source, ...] = ("clip", "target", "voice", "face")
    features = {source: Features(sides[source][0]) for source in sources}
    prompt = Prompt(visual="", speech=one.clip.transcript, manner="", environment="")
    return Sample(**features, prompt=prompt, transcript=one.clip.transcript, language=one.clip.language)


def _failed(one: Combination, tally: Tally, what: str, reason: str) -> None:
    shown = reason.replace(f"{one.clip.path}: ", "").strip()
    if not shown:
        tally.faults.append(f"{one}: {what} failed without a reason")
    tally.failures[what] += 1
    tally.reasons[re.sub(r"\S*/\S+|-?\d+(\.\d+)?", "…", shown)] += 1


def report(tally: Tally, count: int) -> None:
    print(f"combinations {count}")
    print(f"damage_refused {tally.failures['damage']}")
    for metric in select("embedded"):
        print(f"{metric.name}_values {tally.values[metric.name]}")
        print(f"{metric.name}_failures {tally.failures[metric.name]}")
    for reason, times in sorted(tally.reasons.items(), key=lambda item: (-item[1], item[0])):
        print(f"reason {times} {reason}")
    print(f"faults {len(tally.faults)}")
    for fault in tally.faults:
        print(f"fault {fault}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", type=int)
    given = parser.parse_args()
    clips = [entry for entry in read_manifest(given.folder) if entry.kind in KINDS]
    if not clips:
        parser.exit(2, f"{given.folder}: no row of kind {', '.join(KINDS)}; expected clips to damage.\n")
    ready([name for name, extractor in EXTRACTORS.items() if extractor.extra == "embedded"])
    extracted, tally = Extracted(), Tally(Counter(), Counter(), Counter(), [])
    numbers = range(given.count) if given.only is None else [given.only]
    for done, number in enumerate(numbers):
        one = combination(clips, given.seed, number)
        print(f"{done + 1}/{len(numbers)} {one}", file=sys.stderr, flush=True)
        try:
            run(one, extracted, tally)
        except Exception as error:  # noqa: BLE001 - what must not happen is what is looked for
            traceback.print_exc()
            tally.faults.append(f"{one}, seed {given.seed}: {type(error).__name__}: {error}")
    report(tally, len(numbers))
    sys.exit(1 if tally.faults else 0)


if __name__ == "__main__":
    main()
