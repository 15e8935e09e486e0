"""How much noise is left at each step: sigmas from 1, all noise, to 0, none.

    even steps s_i = 1 - i / n → shifted towards noise: e^mu / (e^mu + 1 / s - 1), the more so the more tokens there are
    → stretched so that the last step begins at 0.1 → 0

Conventions. A schedule of n steps has n + 1 sigmas, strictly falling, the last 0: step i goes from sigma i to sigma
i + 1. mu is a straight line in the number of video tokens, 0.95 at 1024 and 2.05 at 4096. ID-LoRA takes 4096 whatever
the size of the picture; later pipelines take the real number. Distilled models are run at the sigmas that they were
distilled at, which are numbers and no formula.

Esser et al.: Scaling rectified flow transformers, ICML 2024, section 5.3.2, for the shift.
"""

from __future__ import annotations

import math

from ..errors import UsageError

__all__ = ["DISTILLED", "STAGE_TWO", "TOKENS", "shifted"]

TOKENS = 4096  # what the published ID-LoRA schedules are shifted for
DISTILLED = (1.0, 0.99375, 0.9875, 0.98125, 0.975, 0.909375, 0.725, 0.421875, 0.0)
STAGE_TWO = (0.909375, 0.725, 0.421875, 0.0)  # refinement of an upsampled latent

FEW, MANY = (1024, 0.95), (4096, 2.05)  # tokens, mu
LAST = 0.1  # where the last step begins


def shifted(steps: int, tokens: int = TOKENS) -> tuple[float, ...]:
    """The steps + 1 sigmas of LTX-2 for so many video tokens; a single step goes from 1 to 0.

    UsageError for less than one step or token.
    """
    if steps < 1 or tokens < 1:
        raise UsageError(f"{steps} denoising steps over {tokens} video tokens; expected at least one of each.")
    shift = math.exp(FEW[1] + (tokens - FEW[0]) * (MANY[1] - FEW[1]) / (MANY[0] - FEW[0]))
    noise = [shift / (shift + i / (steps - i)) for i in range(steps)]  # 1 / s - 1 = i / (n - i)
    stretch = (1 - LAST) / (1 - noise[-1]) if steps > 1 else 1.0
    return (*(1 - stretch * (1 - sigma) for sigma in noise), 0.0)
