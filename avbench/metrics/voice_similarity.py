"""Is it the same voice? Cosine between what a speaker network makes of two whole sounds.

    spk_sim       = cos( clip, target )            _ref: cos( clip, given voice )
    ceiling       = cos( target, given voice )     what the real clip reaches against the same reference

Conventions. One embedding for each sound as it is: no voice activity, no trimming, no change of level. The cosine lies
in -1 to 1; lengths below 1e-8 count as 1e-8, as torch has it. A sound without a single sample other than zero, or of
less than half a second, has no voice.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..extract.voice_ecapa import VOICE_ECAPA
from ..extract.voice_wavlm import VOICE_WAVLM, VOICE_WAVLM_PRETRAINED
from ..features import Feature, SpeakerEmbedding
from ..metric import Card, Measured, Metric, Sample, Source, Unmeasurable
from .usable import require_peak

__all__ = [
    "MIN_SECONDS",
    "SPK_SIM",
    "SPK_SIM_AUTHORS",
    "SPK_SIM_ECAPA",
    "SPK_SIM_ECAPA_REF",
    "SPK_SIM_REF",
    "SPK_SIM_REF_AUTHORS",
    "cosine",
    "voice_similarity",
]

MIN_SECONDS = 0.5
SILENT_PEAK = 1e-4  # -80 dBFS: what a codec makes of silence lies below
EPSILON = 1e-8  # least length of an embedding

_LABELS = {
    "spk_sim": "Spk. sim.",
    "spk_sim_ref": "Spk. sim. (ref.)",
    "spk_sim_ecapa": "Spk. sim. (ECAPA)",
    "spk_sim_ecapa_ref": "Spk. sim. (ECAPA, ref.)",
}
_CONFOUNDS = (
    "room, noise, music and codec are heard as part of the voice: whatever is in the sound is in the embedding",
    "short sounds score lower than long ones; `seconds` says how long both sides are",
    "no speech at all is no failure here: see the metrics of intelligibility",
    "compare with `ceiling` of the same pair's _ref row: real recordings of one person do not reach 1 either",
)
_HYBRID = (
    "the head was trained with another WavLM than it is run with here, so that 0.3 or 0.5 does not mean what it means "
    "in the community's recipe; never put both into one column",
    "samples enter as they are: a quiet sound, or one with an offset, gives another embedding than the same sound louder",
)
_REFERENCE = "what the given voice sounds like besides the voice (room, noise) is not part of the task"
_WAVLM_SOURCE = "Chen et al. 2022 (WavLM) and the speaker verification networks of the UniSpeech project"
_WAVLM_RANGE = (
    "cosine, -1 to 1; UniSpeech's README shows 0.03 for two speakers and 0.54 for one (VoxCeleb, a sister network)"
)
_PAPER_RANGE = "cosine, -1 to 1; the paper's systems have means of 0.344 to 0.599 against the target"
_ECAPA_RANGE = "cosine, -1 to 1; SpeechBrain takes two sounds for one speaker above 0.25"
_WAVLM_RECIPE = (
    "Mono, 16 kHz (windowed sinc), mean 0 and variance 1 over the sound; WavLM-Large as fine-tuned by UniSpeech, all 25 "
    "states weighted, its ECAPA-TDNN head, 256 numbers; cosine between clip and {other}."
)
_AUTHORS_RECIPE = (
    "Mean of the channels, 16 kHz (windowed sinc), samples as they are; pre-trained WavLM-Large (microsoft/wavlm-large) "
    "under state weights and head of UniSpeech's fine-tuned file; 256 numbers; cosine between clip and {other}."
)
_ECAPA_RECIPE = (
    "Mono, 16 kHz (windowed sinc); 80 mel bands in dB, the mean of each taken off; SpeechBrain's ECAPA-TDNN "
    "(spkrec-ecapa-voxceleb), 192 numbers; cosine between clip and {other}."
)
_ASSUMED = (
    "that the metric code released for training is what made the paper's tables; no code of the tables is public. That "
    "code scores silence, too, and the shortest sound; here both are unmeasurable"
)
_TARGET_QUESTION = "Is the voice in the clip the voice in the real clip?"
_VOICE_QUESTION = "Is the voice in the clip the voice that was given?"


def voice_similarity(clip: SpeakerEmbedding, other: SpeakerEmbedding, source: Source) -> Measured:
    """Cosine, -1 to 1, of two embeddings; `source` names the other side in reasons."""
    here, there = _voice(clip, "clip"), _voice(other, source)
    return Measured(
        cosine(here, there), {"seconds": round(clip.seconds, 2), f"{source}_seconds": round(other.seconds, 2)}
    )


def cosine(one: NDArray[np.floating], other: NDArray[np.floating]) -> float:
    """The cosine of the angle between two vectors, -1 to 1; 0 where one of them is zero."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = max(float(np.linalg.norm(a)), EPSILON) * max(float(np.linalg.norm(b)), EPSILON)
    return max(-1.0, min(1.0, float(a @ b) / lengths))


def _voice(embedding: SpeakerEmbedding, source: Source) -> NDArray[np.float32]:
    """The embedding of a sound in which something can be heard for long enough."""
    if embedding.seconds < MIN_SECONDS:
        raise Unmeasurable(f"{embedding.seconds:.2f} s of sound; at least {MIN_SECONDS} s are needed", source)
    require_peak(embedding.peak, SILENT_PEAK, source)
    return embedding.embedding


def _against_target(feature: Feature[SpeakerEmbedding]) -> Callable[[Sample], Measured]:
    def measure(sample: Sample) -> Measured:
        return voice_similarity(sample.clip[feature], sample.target[feature], "target")

    return measure


def _against_voice(feature: Feature[SpeakerEmbedding]) -> Callable[[Sample], Measured]:
    def measure(sample: Sample) -> Measured:
        found = voice_similarity(sample.clip[feature], sample.voice[feature], "voice")
        try:
            ceiling = voice_similarity(sample.target[feature], sample.voice[feature], "voice").value
        except Unmeasurable:  # the target has no voice: the clip can be measured all the same
            return found
        return Measured(found.value, {**found.detail, "ceiling": round(ceiling, 4)})

    return measure


def _metric(profile: str, stem: str, feature: Feature[SpeakerEmbedding], against: Source, card: Card) -> Metric:
    """The metric of one network against the target (its name is the stem) or the given voice (stem_ref)."""
    referred = against == "voice"
    name = f"{stem}_ref" if referred else stem
    return Metric(
        profile=profile,
        name=name,
        label=_LABELS[name],
        unit="cosine",
        direction="higher",
        digits=3,
        tolerance=1e-3,
        protocol=1,
        needs={"clip": (feature,), "target": (feature,), **({"voice": (feature,)} if referred else {})},
        measure=_against_voice(feature) if referred else _against_target(feature),
        card=card,
    )


SPK_SIM_AUTHORS = _metric(
    "authors",
    "spk_sim",
    VOICE_WAVLM_PRETRAINED,
    "target",
    Card(
        question=_TARGET_QUESTION,
        recipe=_AUTHORS_RECIPE.format(other="target"),
        source=f"{_WAVLM_SOURCE}, put together as in the released code of ID-LoRA",
        range=_PAPER_RANGE,
        confounds=(*_HYBRID, *_CONFOUNDS),
        assumed=_ASSUMED,
    ),
)

SPK_SIM_REF_AUTHORS = _metric(
    "authors",
    "spk_sim",
    VOICE_WAVLM_PRETRAINED,
    "voice",
    Card(
        question=_VOICE_QUESTION,
        recipe=_AUTHORS_RECIPE.format(other="given voice"),
        source=f"{_WAVLM_SOURCE}, put together as in the released code of ID-LoRA",
        range="cosine, -1 to 1; the paper has no such numbers",
        confounds=(*_HYBRID, *_CONFOUNDS, _REFERENCE),
        assumed="the network of spk_sim against the given voice; the paper measures against the target only",
    ),
)

SPK_SIM = _metric(
    "community",
    "spk_sim",
    VOICE_WAVLM,
    "target",
    Card(
        question=_TARGET_QUESTION,
        recipe=_WAVLM_RECIPE.format(other="target"),
        source=_WAVLM_SOURCE,
        range=_WAVLM_RANGE,
        confounds=_CONFOUNDS,
    ),
)

SPK_SIM_REF = _metric(
    "community",
    "spk_sim",
    VOICE_WAVLM,
    "voice",
    Card(
        question=_VOICE_QUESTION,
        recipe=_WAVLM_RECIPE.format(other="given voice"),
        source=_WAVLM_SOURCE,
        range=_WAVLM_RANGE,
        confounds=(*_CONFOUNDS, _REFERENCE),
    ),
)

SPK_SIM_ECAPA = _metric(
    "community",
    "spk_sim_ecapa",
    VOICE_ECAPA,
    "target",
    Card(
        question="To a second network, is the voice in the clip the voice in the real clip?",
        recipe=_ECAPA_RECIPE.format(other="target"),
        source="Desplanques et al. 2020 (ECAPA-TDNN), the network of the SpeechBrain project",
        range=_ECAPA_RANGE,
        confounds=_CONFOUNDS,
    ),
)

SPK_SIM_ECAPA_REF = _metric(
    "community",
    "spk_sim_ecapa",
    VOICE_ECAPA,
    "voice",
    Card(
        question="To a second network, is the voice in the clip the voice that was given?",
        recipe=_ECAPA_RECIPE.format(other="given voice"),
        source="Desplanques et al. 2020 (ECAPA-TDNN), the network of the SpeechBrain project",
        range=_ECAPA_RANGE,
        confounds=(*_CONFOUNDS, _REFERENCE),
    ),
)
