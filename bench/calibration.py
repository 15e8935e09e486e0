"""Do the procedures that claim anything keep their word where nothing is there to be found?

    python bench/calibration.py [--trials 4000] [--seed 0]

A trial draws one difference for each clip of a split of the paper: easy has 36 clips of 14 speakers, hard 35 of 8,
talkvid 49 of 41, spread as evenly as may be. All have the same true mean; two clips of one speaker correlate by r. Every
procedure of `avbench.stats` is then asked whether the mean is something else, at 5 %, and every interval of 95 % whether
it holds the mean. Size is the share of trials with a false claim, coverage the share of intervals that hold the truth.

Judged are the procedures that claim something, on a normal and on a heavy-tailed distribution (Student's t of three
degrees of freedom): size at most 5 %, coverage at least 95 %, the sign flips' size what so many speakers can attain, no
more and no less. Each may be off by chance: the bound is as many standard errors of the share (of 5 %, in so many
trials) as make the chance that any of all judged figures falls short, where all are right, 1 % at most (Bonferroni). At
4,000 trials that is 1.3 percentage points. A test and its interval are each other's mirror, so their two figures agree
unless one of them has a fault. Above 20 speakers the flips are Monte Carlo, here of 1,999: an exact test too.

Beside them, and not judged, stands what takes clips as independent: t, Wilcoxon and the binomial of wins on all clips.
And a skewed distribution (exponential): no test of a mean of so few speakers is safe from skew. The difference of two
methods that are alike is not skewed: it has the same distribution when they change places.

Prints a table of percentages. Ends with 1 where a judged figure falls short, and marks it with !.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy is imported
    os.environ[variable] = "1"

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from avbench.stats import EXACT_SPEAKERS, binomial, sign_flip, sign_flip_interval, t_mean, wilcoxon

ALPHA = 0.05
TRUTH = 0.3  # the true mean, so that an interval about 0 holds nothing by habit
FLIPS = 1_999  # where not all are tried
SPLITS = {"hard": (35, 8), "easy": (36, 14), "talkvid": (49, 41)}  # clips, speakers
CORRELATIONS = (0.0, 0.3, 0.5)
JUDGED_SHAPES = ("normal", "heavy")
MISTAKE = 0.01  # chance that a right set of procedures is called wrong

Reals = NDArray[np.float64]


class Cell(NamedTuple):
    """What is drawn."""

    split: str
    correlation: float
    shape: str

    @property
    def clips(self) -> list[int]:
        """Of each speaker."""
        clips, speakers = SPLITS[self.split]
        return [clips // speakers + (place < clips % speakers) for place in range(speakers)]

    @property
    def attainable(self) -> float:
        """The greatest size that sign flips of so many speakers have at ALPHA or below."""
        speakers = len(self.clips)
        assignments = 2 ** (speakers - 1) if speakers <= EXACT_SPEAKERS else FLIPS + 1
        return math.floor(ALPHA * assignments) / assignments


class Trial(NamedTuple):
    """One draw: the mean of all is TRUTH."""

    clips: Reals  # (N,)
    means: Reals  # (G,) of speakers
    number: int  # the seed of what it draws itself: one set of flips for all trials would not be a random one


def t_errs(trial: Trial) -> bool:
    return t_mean(trial.means, null=TRUTH).p <= ALPHA


def t_covers(trial: Trial) -> bool:
    found = t_mean(trial.means, confidence=1 - ALPHA)
    return found.lower <= TRUTH <= found.upper


def flips_err(trial: Trial) -> bool:
    return sign_flip(trial.means - TRUTH, seed=trial.number, flips=FLIPS).p <= ALPHA


def flips_cover(trial: Trial) -> bool:
    lower, upper = sign_flip_interval(trial.means, confidence=1 - ALPHA, seed=trial.number, flips=FLIPS)
    return lower <= TRUTH <= upper


def clip_t_errs(trial: Trial) -> bool:
    return t_mean(trial.clips, null=TRUTH).p <= ALPHA


def clip_wilcoxon_errs(trial: Trial) -> bool:
    return wilcoxon(trial.clips - TRUTH) <= ALPHA


def clip_binomial_errs(trial: Trial) -> bool:
    wins = int(np.count_nonzero(trial.clips > TRUTH))
    return binomial(wins, len(trial.clips) - wins) <= ALPHA


Procedures = Mapping[str, Callable[[Trial], bool]]
CLAIMING: Procedures = {"t": t_errs, "flips": flips_err, "t covers": t_covers, "flips cover": flips_cover}
OF_CLIPS: Procedures = {"clip t": clip_t_errs, "clip Wilcoxon": clip_wilcoxon_errs, "clip binomial": clip_binomial_errs}


# Draws and shares --------------------------------------------------------------------------------------------------


def cells() -> list[Cell]:
    """All judged ones, then the skewed."""
    judged = [Cell(split, r, shape) for shape, split, r in product(JUDGED_SHAPES, SPLITS, CORRELATIONS)]
    return [*judged, *(Cell(split, 0.3, "skewed") for split in SPLITS)]


def noise(rng: np.random.Generator, shape: str, size: int) -> Reals:
    """Independent draws of mean 0 and variance 1."""
    match shape:
        case "normal":
            return rng.normal(size=size)
        case "heavy":
            return rng.standard_t(3, size=size) / math.sqrt(3)
        case "skewed":
            return rng.exponential(size=size) - 1
    raise ValueError(shape)


def draw(cell: Cell, trials: int, seed: int) -> Iterator[Trial]:
    """So many trials; the first ones are the same however many follow."""
    rng = np.random.default_rng([seed, *cell.clips, round(100 * cell.correlation), len(cell.shape)])
    counts = np.array(cell.clips)
    first = np.r_[0, np.cumsum(counts)[:-1]]
    for number in range(trials):
        of_speakers = np.repeat(noise(rng, cell.shape, len(counts)), counts)
        of_clips = noise(rng, cell.shape, int(counts.sum()))
        clips = TRUTH + math.sqrt(cell.correlation) * of_speakers + math.sqrt(1 - cell.correlation) * of_clips
        yield Trial(clips, np.add.reduceat(clips, first) / counts, number)


def shares(cell: Cell, trials: int, seed: int, procedures: Procedures) -> dict[str, float]:
    """In what share of the trials each procedure answers yes."""
    hits = dict.fromkeys(procedures, 0)
    for trial in draw(cell, trials, seed):
        for name, says in procedures.items():
            hits[name] += says(trial)
    return {name: count / trials for name, count in hits.items()}


def standard_error(share: float, trials: int) -> float:
    """Standard error of a share."""
    return math.sqrt(share * (1 - share) / trials)


def slack(trials: int, figures: int) -> float:
    """How far a share may be off by chance, so that of so many figures none is with probability 1 - MISTAKE."""
    return float(ndtri(1 - MISTAKE / figures)) * standard_error(ALPHA, trials)


def falls_short(cell: Cell, name: str, share: float, allowed: float) -> bool:
    """Whether a share of a judged procedure, or of any that is held to the same, is off by more than chance."""
    if name == "flips":
        return abs(share - cell.attainable) > allowed
    return share < 1 - ALPHA - allowed if "cover" in name else share > ALPHA + allowed


# The program -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description="Size and coverage of the statistics where there is no difference.")
    parser.add_argument("--trials", type=int, default=4_000, help="of each cell")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args(arguments)
    judged = len(SPLITS) * len(CORRELATIONS) * len(JUDGED_SHAPES) * len(CLAIMING)
    allowed = slack(asked.trials, judged)
    print(f"# {asked.trials} trials a cell, seed {asked.seed}; all figures in %; ! falls short")
    errors = ", ".join(
        f"{100 * standard_error(share, asked.trials):.2f} of {share:.0%}" for share in (ALPHA, 0.15, 0.25)
    )
    print(f"# standard errors: {errors}")
    print(
        f"# judged: {judged} figures, bound {100 * allowed:.2f}: size ≤ {100 * (ALPHA + allowed):.2f}, "
        f"coverage ≥ {100 * (1 - ALPHA - allowed):.2f}, sign flips within {100 * allowed:.2f} of the attainable size"
    )
    print("# not judged: the three tests that take clips as independent, and the skewed distribution")
    widths = "{:<8} {:>8} {:>5} {:<7} {:>4} | {:>6} {:>6} {:>10} | {:>8} {:>11} | {:>6} {:>13} {:>13}"
    print(
        widths.format(
            "split", "speakers", "clips", "shape", "r", "t", "flips", "attainable", *list(CLAIMING)[2:], *OF_CLIPS
        )
    )
    failed = 0
    for cell in cells():
        found = shares(cell, asked.trials, asked.seed, {**CLAIMING, **OF_CLIPS})
        short = {
            name for name in CLAIMING if cell.shape in JUDGED_SHAPES and falls_short(cell, name, found[name], allowed)
        }
        failed += len(short)
        t, flips, *others = (f"{100 * share:.2f}{'!' if name in short else ' '}" for name, share in found.items())
        head = cell.split, len(cell.clips), sum(cell.clips), cell.shape, cell.correlation
        print(widths.format(*head, t, flips, f"{100 * cell.attainable:.2f}", *others), flush=True)
    print(f"# {failed} of {judged} judged figures fall short")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
