"""Is it the same voice? Cosine between the GE2E embeddings of the speech of two sounds.

    spk_sim_ge2e = cos( voice of the clip, voice of the target )        _ref: voice of the given reference

Conventions. Each side is one embedding of its speech alone; at least half a second of speech on both sides.
"""

from __future__ import annotations

from ..extract import VOICE_GE2E
from ..features import Voice
from ..metric import Card, Measured, Metric, Sample, Source
from .usable import require_voice

__all__ = ["SPK_SIM_GE2E", "SPK_SIM_GE2E_REF", "speaker_similarity"]

_CONFOUNDS = (
    "never compare voices across noise conditions: white noise at 10 dB on one side alone pulls a clip's cosine with "
    "itself from 1.0 to a median of 0.74",
    "no entry of the embedding is negative: different voices have a median of 0.49 and reach 0.77, recordings of one "
    "person have a median of 0.87, and of short sentences 0.65 at times",
    "under about 1.6 s of speech the embedding depends on what is said; `speech_seconds` says how much there was",
    "room, microphone and codec are heard as part of the voice",
)
_SOURCE = "Wan et al. 2018 (GE2E), the network of the Resemblyzer project; Silero voice activity"


def speaker_similarity(clip: Voice, other: Voice, source: Source) -> Measured:
    """Cosine, 0 to 1, of two unit embeddings; `source` names the other side in reasons."""
    here, there = require_voice(clip, "clip"), require_voice(other, source)
    detail = {
        "speech_seconds": round(clip.speech_seconds, 2),
        f"{source}_speech_seconds": round(other.speech_seconds, 2),
    }
    return Measured(min(1.0, float(here @ there)), detail)


def _against_target(sample: Sample) -> Measured:
    return speaker_similarity(sample.clip[VOICE_GE2E], sample.target[VOICE_GE2E], "target")


def _against_voice(sample: Sample) -> Measured:
    return speaker_similarity(sample.clip[VOICE_GE2E], sample.voice[VOICE_GE2E], "voice")


SPK_SIM_GE2E = Metric(
    profile="embedded",
    name="spk_sim_ge2e",
    label="Spk. sim.",
    unit="cosine",
    direction="higher",
    digits=3,
    tolerance=2e-3,
    protocol=1,
    needs={"clip": (VOICE_GE2E,), "target": (VOICE_GE2E,)},
    measure=_against_target,
    card=Card(
        question="Is the voice in the clip the voice in the real clip?",
        recipe="16 kHz mono, raised to -30 dBFS if quieter, speech with 0.3 s around it (Silero), GE2E embedding of windows of 1.6 s, "
        "mean; cosine between the two sides.",
        source=_SOURCE,
        range="cosine, 0 to 1; in practice 0.3 (another voice) to 1.0 (the same sound)",
        confounds=_CONFOUNDS,
    ),
)

SPK_SIM_GE2E_REF = Metric(
    profile="embedded",
    name="spk_sim_ge2e_ref",
    label="Spk. sim. (ref.)",
    unit="cosine",
    direction="higher",
    digits=3,
    tolerance=2e-3,
    protocol=1,
    needs={"clip": (VOICE_GE2E,), "voice": (VOICE_GE2E,)},
    measure=_against_voice,
    card=Card(
        question="Is the voice in the clip the voice that was given?",
        recipe="As spk_sim_ge2e, but against the reference audio.",
        source=_SOURCE,
        range="cosine, 0 to 1; in practice 0.3 (another voice) to 1.0 (the same sound)",
        confounds=(*_CONFOUNDS, "what the reference sounds like besides the voice is not part of the task"),
    ),
)
