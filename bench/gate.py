"""How often is the gate right? Simulated reruns of a method, with and without a loss, at the sizes of the paper's splits.

    python bench/gate.py [--trials 2000] [--scales 3]

A line for each size and loss: the share of checks that end in a pass, undecided and in a regression.

Conventions. A clip's score is that of its pair, the same in every run, plus what the seed does: normal with standard
deviation SEED in each run, so √2 SEED in a difference, of which clips of one speaker share CORRELATION of the variance.
Every check has so many scales, each a rule with margin MARGIN, and the loss is on the first. Speakers have clips as evenly
as the numbers allow.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from avbench.compare import even_clips
from avbench.gate import Answer, Question, judge

SEED, CORRELATION, MARGIN = 0.02, 0.3, 0.02
SIZES = ((16, 8), (35, 8), (36, 14), (49, 41))  # pairs, speakers: demo, and the paper's hard, easy and TalkVid


def differences(clips: Sequence[int], trials: int, seed: int) -> NDArray[np.float64]:
    """Speaker means (trials, G) of candidate minus baseline without a change; `clips` of each speaker."""
    draws = np.random.default_rng(seed)
    between = np.sqrt(2 * CORRELATION) * SEED * draws.normal(size=(trials, len(clips)))
    within = np.sqrt(2 * (1 - CORRELATION) / np.array(clips)) * SEED * draws.normal(size=(trials, len(clips)))
    return np.asarray(between + within, dtype=np.float64)


def simulated(pairs: int, speakers: int, losses: Sequence[float], trials: int, seed: int = 0) -> list[list[Answer]]:
    """The answers of `trials` checks, a rule for each loss."""
    clips = even_clips(pairs, speakers)
    drawn = [differences(clips, trials, seed + scale) - loss for scale, loss in enumerate(losses)]
    return [judge([Question(means[trial], 0, MARGIN) for means in drawn]) for trial in range(trials)]


def main() -> None:
    parser = argparse.ArgumentParser(description="How often is the gate right?")
    parser.add_argument("--trials", type=int, default=2000)
    parser.add_argument("--scales", type=int, default=3)
    asked = parser.parse_args()
    print(
        f"# {asked.trials} trials, {asked.scales} rules, seed sd {SEED}, correlation {CORRELATION}, margin {MARGIN}, alpha 0.05"
    )
    print("# first rule: pass, undecided, regression; any rule: wrong regression, wrong pass")
    for pairs, speakers in SIZES:
        for loss in (0.0, MARGIN, 2 * MARGIN, 4 * MARGIN):
            checks = simulated(pairs, speakers, [loss, *[0.0] * (asked.scales - 1)], asked.trials)
            shares = [
                np.mean([answers[0].verdict == verdict for answers in checks])
                for verdict in ("pass", "undecided", "regression")
            ]
            harmless = [answers if loss <= MARGIN else answers[1:] for answers in checks]
            harmful = [answers[:1] if loss >= MARGIN else [] for answers in checks]
            regressions = np.mean([any(one.verdict == "regression" for one in answers) for answers in harmless])
            passes = np.mean([any(one.verdict == "pass" for one in answers) for answers in harmful])
            words = " ".join(f"{share:.3f}" for share in [*shares, regressions, passes])
            print(f"{pairs} pairs / {speakers} speakers, loss {loss:.2f}: {words}")


if __name__ == "__main__":
    main()
