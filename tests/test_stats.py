"""Intervals, against tables in print, an integral of one's own, and what must hold for all numbers."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from avbench.errors import UsageError
from avbench.stats import mean_interval

MEANS = st.lists(st.floats(-1e6, 1e6).map(lambda one: round(one, 3)), min_size=2, max_size=12)
# Upper 2.5 % points of Student's t, as any statistics book prints them.
PRINTED = {1: 12.7062, 2: 4.3027, 3: 3.1824, 5: 2.5706, 7: 2.3646, 9: 2.2622, 30: 2.0423}


def chance(t: float, freedom: int, steps: int = 2000) -> float:
    """P(-t < T < t) of Student's t by Simpson's rule on its density."""
    constant = math.gamma((freedom + 1) / 2) / (math.sqrt(freedom * math.pi) * math.gamma(freedom / 2))
    x = np.linspace(-t, t, steps + 1)
    weights = np.where(np.arange(steps + 1) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    density = constant * (1 + x * x / freedom) ** (-(freedom + 1) / 2)
    return float((weights * density).sum() * (2 * t / steps) / 3)


def standard_units(means: list[float], confidence: float = 0.95) -> float:
    """Half the interval's width in standard errors."""
    low, high = mean_interval(np.array(means), confidence)
    return (high - low) / 2 / (statistics.stdev(means) / math.sqrt(len(means)))


@pytest.mark.parametrize("freedom", PRINTED)
def test_the_half_width_is_the_printed_quantile_in_standard_errors(freedom: int) -> None:
    assert standard_units([float(number * number) for number in range(freedom + 1)]) == pytest.approx(
        PRINTED[freedom], abs=5e-5
    )


@pytest.mark.parametrize("confidence", [0.5, 0.8, 0.99])
@pytest.mark.parametrize("count", [2, 4, 9])
def test_the_half_width_holds_the_share_that_was_asked_for(count: int, confidence: float) -> None:
    t = standard_units([0.1 * number**3 for number in range(count)], confidence)
    assert chance(t, count - 1) == pytest.approx(confidence, abs=1e-6)


def test_two_speakers_by_hand() -> None:
    # The mean is 0.5, s = 0.2 / √2, s / √2 = 0.1, and t of one degree of freedom is 12.70620.
    assert mean_interval(np.array([0.4, 0.6])) == pytest.approx((0.5 - 1.270620, 0.5 + 1.270620), abs=1e-6)


@given(st.floats(-1e300, 1e300), st.integers(2, 9))
def test_equal_means_give_an_interval_of_no_width_at_their_value(value: float, count: int) -> None:
    assert mean_interval(np.full(count, value)) == (value, value)


@given(MEANS)
def test_the_interval_is_centred_on_the_mean_and_grows_with_confidence(means: list[float]) -> None:
    low, high = mean_interval(np.array(means))
    wide_low, wide_high = mean_interval(np.array(means), 0.99)
    assert (low + high) / 2 == pytest.approx(statistics.fmean(means), rel=1e-9, abs=1e-6)
    assert wide_low <= low <= high <= wide_high


@given(MEANS)
def test_mirrored_means_give_the_mirrored_interval(means: list[float]) -> None:
    low, high = mean_interval(np.array(means))
    assert mean_interval(-np.array(means)) == pytest.approx((-high, -low), rel=1e-12, abs=1e-12)


def test_the_square_of_a_huge_or_tiny_deviation_does_not_run_out_of_range() -> None:
    for scale in (1e-200, 1e200):
        low, high = mean_interval(np.array([1.0, 2.0, 4.0]) * scale)
        expected = mean_interval(np.array([1.0, 2.0, 4.0]))
        assert (low / scale, high / scale) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(
    ("means", "confidence", "words"),
    [
        ([], 0.95, "two or more"),
        ([0.5], 0.95, "two or more"),
        ([0.5, math.nan], 0.95, "finite"),
        ([0.5, math.inf], 0.95, "finite"),
        ([0.5, 0.6], 1.0, "between 0 and 1"),
        ([0.5, 0.6], 0.0, "between 0 and 1"),
    ],
)
def test_what_has_no_interval_is_refused(means: list[float], confidence: float, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        mean_interval(np.array(means), confidence)
