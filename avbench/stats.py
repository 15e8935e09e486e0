"""How sure is a mean? Arrays in, numbers out.

Convention: the unit of independence is the speaker. Clips of one voice resemble each other, so what comes in is
one mean for each speaker, and n counts speakers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .errors import UsageError

__all__ = ["mean_interval"]


def mean_interval(means: NDArray[np.float64], confidence: float = 0.95) -> tuple[float, float]:
    """Student's t interval of the mean of independent speaker means (G,), G ≥ 2: mean ∓ t(G-1) · s / √G.

    Equal means give an interval of no width. UsageError: fewer than two means, one that is not finite, or a
    confidence outside 0 to 1, both excluded. Source: Student, "The probable error of a mean", Biometrika 6 (1908).
    """
    if means.ndim != 1 or len(means) < 2:
        raise UsageError(
            f"an interval of {means.shape} speaker means; expected two or more: one speaker says nothing of the next."
        )
    if not np.isfinite(means).all():
        raise UsageError("an interval of speaker means that are not all finite; expected measured clips alone.")
    if not 0.0 < confidence < 1.0:
        raise UsageError(f"a confidence of {confidence}; expected a share between 0 and 1, such as 0.95.")
    count = len(means)
    centre = math.fsum(means) / count
    if (means == means[0]).all():
        return float(means[0]), float(means[0])  # exactly: the sum may be rounded
    from scipy.special import stdtrit

    # The spread is taken in units of the largest deviation, so that no square runs out of range.
    deviations = means - centre
    largest = float(np.abs(deviations).max())
    spread = largest * math.sqrt(math.fsum((deviations / largest) ** 2) / (count - 1))
    half = float(stdtrit(count - 1, 0.5 + confidence / 2)) * spread / math.sqrt(count)
    return centre - half, centre + half
