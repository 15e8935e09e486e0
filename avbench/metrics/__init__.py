"""Metrics: features in, one number out. One file per question; in the order of a table.

Importing this package loads no network and no library that runs one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..clip import DECODE
from ..errors import unknown
from ..extract import CPU, Engine, revision
from ..metric import PROFILES, Metric, Scale
from .av_correlation import AV_CORR
from .face_similarity import FACE_SIM_DLIB, FACE_SIM_DLIB_REF
from .intelligibility import GOP_SPHINX, WORDS_REJECTED_SPHINX
from .lip_motion import LIP_MOTION_DLIB
from .speaker_similarity import SPK_SIM_GE2E, SPK_SIM_GE2E_REF

__all__ = ["METRICS", "scale_of", "select"]

METRICS: dict[str, Metric] = {
    f"{metric.profile}/{metric.name}": metric
    for metric in (
        SPK_SIM_GE2E,
        SPK_SIM_GE2E_REF,
        FACE_SIM_DLIB,
        FACE_SIM_DLIB_REF,
        AV_CORR,
        LIP_MOTION_DLIB,
        GOP_SPHINX,
        WORDS_REJECTED_SPHINX,
    )
}


def scale_of(metric: Metric, engine: Engine = CPU) -> Scale:
    """How a metric's numbers are to be read. Its revision names everything that a score depends on besides the media."""
    key = f"{metric.profile}/{metric.name}"
    keys = list(METRICS)
    names = dict.fromkeys(feature.name for features in metric.needs.values() for feature in features)
    recipe = "+".join([f"{metric.name}:{metric.protocol}", *(revision(name, engine) for name in sorted(names)), f"decode:{DECODE}"])
    return Scale(
        profile=metric.profile,
        name=metric.name,
        label=metric.label,
        unit=metric.unit,
        direction=metric.direction,
        digits=metric.digits,
        order=keys.index(key) if key in METRICS else len(keys),  # somebody else's come last
        aggregate=metric.aggregate,
        tolerance=metric.tolerance,
        revision=recipe,
    )


def select(profile: str, names: Sequence[str] | None = None) -> list[Metric]:
    """The metrics of a profile in table order; of these the named ones, if names are given. UsageError lists the rest."""
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    ours = {metric.name: metric for metric in METRICS.values() if metric.profile == profile}
    for name in names or ():
        if name not in ours:
            raise unknown(f"metric of profile {profile}", name, ours)
    return [metric for name, metric in ours.items() if not names or name in names]
