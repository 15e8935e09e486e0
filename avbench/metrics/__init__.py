"""Metrics: features in, one number out. One file per question; in the order of a table within each profile.

Importing this package loads no network and no library that runs one.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..clip import DECODE
from ..errors import UsageError, unknown
from ..extract import CPU, Engine, revision
from ..metric import PROFILES, Metric, Scale
from .adherence import CLAP, CLAP_AUTHORS, CLAP_ENV_AUTHORS, CLAP_MANNER_AUTHORS
from .av_correlation import AV_CORR
from .face_identity import (
    FACE_SIM,
    FACE_SIM_AUTHORS,
    FACE_SIM_NO_FIRST,
    FACE_SIM_NO_FIRST_AUTHORS,
    FACE_SIM_REF,
    FACE_SIM_REF_AUTHORS,
)
from .face_similarity import FACE_SIM_DLIB, FACE_SIM_DLIB_REF
from .intelligibility import GOP_SPHINX, WORDS_REJECTED_SPHINX
from .lip_motion import LIP_MOTION, LIP_MOTION_AUTHORS, LIP_MOTION_DLIB
from .lip_sync import (
    LSE_C,
    LSE_C_AUTHORS,
    LSE_C_EVERY8,
    LSE_D,
    LSE_D_AUTHORS,
    LSE_D_EVERY8,
    LSE_SUM,
    LSE_SUM_AUTHORS,
    LSE_SUM_EVERY8,
)
from .speaker_similarity import SPK_SIM_GE2E, SPK_SIM_GE2E_REF
from .voice_similarity import (
    SPK_SIM,
    SPK_SIM_AUTHORS,
    SPK_SIM_ECAPA,
    SPK_SIM_ECAPA_REF,
    SPK_SIM_REF,
    SPK_SIM_REF_AUTHORS,
)
from .word_errors import (
    CER,
    CER_AUTHORS,
    WER,
    WER_ABOVE_1,
    WER_ABOVE_1_AUTHORS,
    WER_AUTHORS,
    WER_CAPPED,
    WER_CAPPED_AUTHORS,
    WER_CORPUS,
    WER_CORPUS_AUTHORS,
)

__all__ = ["METRICS", "STRIDED", "scale_of", "select"]

_ALL = (
    SPK_SIM_AUTHORS,
    SPK_SIM_REF_AUTHORS,
    FACE_SIM_AUTHORS,
    FACE_SIM_NO_FIRST_AUTHORS,
    FACE_SIM_REF_AUTHORS,
    LSE_D_AUTHORS,
    LSE_C_AUTHORS,
    LSE_SUM_AUTHORS,
    CLAP_AUTHORS,
    CLAP_ENV_AUTHORS,
    CLAP_MANNER_AUTHORS,
    WER_AUTHORS,
    CER_AUTHORS,
    WER_CORPUS_AUTHORS,
    WER_CAPPED_AUTHORS,
    WER_ABOVE_1_AUTHORS,
    LIP_MOTION_AUTHORS,
    SPK_SIM,
    SPK_SIM_REF,
    SPK_SIM_ECAPA,
    SPK_SIM_ECAPA_REF,
    FACE_SIM,
    FACE_SIM_NO_FIRST,
    FACE_SIM_REF,
    LSE_D,
    LSE_C,
    LSE_SUM,
    CLAP,
    WER,
    CER,
    WER_CORPUS,
    WER_CAPPED,
    WER_ABOVE_1,
    LIP_MOTION,
    SPK_SIM_GE2E,
    SPK_SIM_GE2E_REF,
    FACE_SIM_DLIB,
    FACE_SIM_DLIB_REF,
    AV_CORR,
    LIP_MOTION_DLIB,
    GOP_SPHINX,
    WORDS_REJECTED_SPHINX,
)

METRICS: dict[str, Metric] = {f"{metric.profile}/{metric.name}": metric for metric in _ALL}

# Faces detected on every eighth frame: the same scales at another revision, several times as fast.
STRIDED: dict[str, Metric] = {
    f"{metric.profile}/{metric.name}": metric for metric in (LSE_D_EVERY8, LSE_C_EVERY8, LSE_SUM_EVERY8)
}


def scale_of(metric: Metric, engine: Engine = CPU) -> Scale:
    """How a metric's numbers are to be read. Its revision names everything that a score depends on besides the media."""
    same = [one.name for one in METRICS.values() if one.profile == metric.profile]
    names = dict.fromkeys(feature.name for features in metric.needs.values() for feature in features)
    recipe = "+".join(
        [f"{metric.name}:{metric.protocol}", *(revision(name, engine) for name in sorted(names)), f"decode:{DECODE}"]
    )
    return Scale(
        profile=metric.profile,
        name=metric.name,
        label=metric.label,
        unit=metric.unit,
        direction=metric.direction,
        digits=metric.digits,
        order=same.index(metric.name) if metric.name in same else len(same),  # somebody else's come last
        aggregate=metric.aggregate,
        tolerance=metric.tolerance,
        revision=recipe,
    )


def select(profile: str, names: Sequence[str] | None = None, strided: bool = False) -> list[Metric]:
    """The metrics of a profile in table order; of these the named ones, if names are given. UsageError lists the rest.

    `strided` takes the faster revision of those that have one; UsageError where none of them has.
    """
    if profile not in PROFILES:
        raise unknown("profile", profile, PROFILES)
    ours = {metric.name: metric for metric in METRICS.values() if metric.profile == profile}
    for name in names or ():
        if name not in ours:
            raise unknown(f"metric of profile {profile}", name, ours)
    chosen = [metric for name, metric in ours.items() if not names or name in names]
    if not strided:
        return chosen
    if not any(f"{profile}/{metric.name}" in STRIDED for metric in chosen):
        raise UsageError(f"strided: {', '.join(STRIDED)} have such a revision; none of them was asked for.")
    return [STRIDED.get(f"{profile}/{metric.name}", metric) for metric in chosen]
