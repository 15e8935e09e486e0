"""Does the clip sound as the prompt says? Cosine between CLAP's embeddings of its sound and of the prompt's audible parts.

    clap         sound against environment and manner in one text
    clap_env     sound against the environment alone        clap_manner   against the manner of speaking alone

Conventions. Cosine as it is, not scaled by the network's temperature. ID-LoRA's released code scores the two parts
separately, its paper says that they were combined, neither says how: `clap` of the authors' profile is an assumption.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from ..extract.clap import CLAP_SOUND, CLAP_SOUND_16K, CLAP_TEXT, CLAP_TEXT_AUTHORS, JOIN, SILENT_PEAK
from ..features import Feature, SoundMeaning, TextMeaning
from ..metric import Card, Measured, Metric, Sample, Unmeasurable

__all__ = ["CLAP", "CLAP_AUTHORS", "CLAP_ENV_AUTHORS", "CLAP_MANNER_AUTHORS", "adherence"]

Part = Literal["environment", "manner", "combined"]


def adherence(sound: SoundMeaning, text: TextMeaning, part: Part) -> Measured:
    """Cosine, -1 to 1. Unmeasurable for silence, and where the prompt says nothing of that part."""
    meaning = {"environment": text.environment, "manner": text.manner, "combined": text.combined}[part]
    if not meaning.any():
        said = "neither environment nor manner" if part == "combined" else f"no {part}"
        raise Unmeasurable(f"prompt says {said}; there is nothing to hold the sound against", "prompt")
    if not sound.windows:
        raise Unmeasurable(f"silence: the largest sample is {sound.peak:.1e}; at least {SILENT_PEAK:.0e} is needed")
    tokens = dict(zip(("environment", "manner", "combined"), text.tokens.tolist(), strict=True))[part]
    return Measured(
        float(sound.embedding.astype(float) @ meaning.astype(float)), {"windows": sound.windows, "tokens": tokens}
    )


_SOURCE = (
    "Wu et al. 2023 (LAION CLAP), laion/clap-htsat-unfused through transformers; the paper cites Elizalde et al. 2023, "
    "another CLAP, but ID-LoRA's code holds this one only"
)
_SOUND_AUTHORS = "16 kHz mono in 16 bits, the first 30 s, resampled to 48 kHz (soxr HQ); windows of 10 s every 5 s, unit embeddings, mean"
_CONFOUNDS = (
    "speech fills most clips, and CLAP hears mostly that: different clips of talking heads lie close together; hold a "
    "method against `truth` on the same split, never a number against a fixed limit",
    "length and wording of the prompt move the score as much as the sound does: never compare splits",
    "other CLAP networks have scales of their own: never compare across",
    "a sound shorter than 10 s is repeated; a longer one is heard in overlapping windows, where the published code draws "
    "one at random (cosine between its own runs 0.30 to 0.99)",
    "the network knows sounds better than manners of speaking; accent, age and mood hardly move it",
)
_LOW = (
    "everything above 8 kHz is cut away: not comparable with the community profile, least of all for bright sounds",
    "a silent clip, or one without sound, is unmeasurable; the released code counts it as 0.0",
    "texts beyond 77 tokens are longer than any that the network was trained with; `tokens` says how long",
)


def _authors(name: str, label: str, part: Part, question: str, assumed: str) -> Metric:
    return Metric(
        profile="authors",
        name=name,
        label=label,
        unit="cosine",
        direction="higher",
        digits=3,
        tolerance=2e-3,
        protocol=1,
        needs={"clip": (CLAP_SOUND_16K,), "prompt": (CLAP_TEXT_AUTHORS,)},
        measure=_measured(CLAP_SOUND_16K, CLAP_TEXT_AUTHORS, part),
        card=Card(
            question=question,
            recipe=f"{_SOUND_AUTHORS}; the text is cut at 512 tokens only; an environment of None becomes a fixed sentence "
            "that means clean speech; cosine.",
            source=_SOURCE,
            range="cosine, -1 to 1; the paper's tables run from 0.235 to 0.412",
            confounds=(*_CONFOUNDS, *_LOW),
            assumed=assumed,
        ),
    )


def _measured(sound: Feature[SoundMeaning], text: Feature[TextMeaning], part: Part) -> Callable[[Sample], Measured]:
    return lambda sample: adherence(sample.clip[sound], sample.wording[text], part)


_WINDOWS = "windows instead of a random cut beyond 10 s; the wording of the sentence for None"

CLAP_AUTHORS = _authors(
    "clap",
    "CLAP",
    "combined",
    "Does the clip sound like the environment and the manner that the prompt asks for?",
    f"that both parts are one text, and that it reads {JOIN!r}: the paper says combined, the released code scores them "
    f"separately (clap_env, clap_manner); {_WINDOWS}",
)
CLAP_ENV_AUTHORS = _authors(
    "clap_env",
    "CLAP env.",
    "environment",
    "Does the clip sound like the environment that the prompt asks for?",
    _WINDOWS,
)
CLAP_MANNER_AUTHORS = _authors(
    "clap_manner",
    "CLAP manner",
    "manner",
    "Does the clip sound like the manner of speaking that the prompt asks for?",
    _WINDOWS,
)

CLAP = Metric(
    profile="community",
    name="clap",
    label="CLAP",
    unit="cosine",
    direction="higher",
    digits=3,
    tolerance=2e-3,
    protocol=1,
    needs={"clip": (CLAP_SOUND,), "prompt": (CLAP_TEXT,)},
    measure=_measured(CLAP_SOUND, CLAP_TEXT, "combined"),
    card=Card(
        question="Does the clip sound like the environment and the manner that the prompt asks for?",
        recipe="48 kHz mono (soxr HQ) at the clip's own bandwidth, no rounding to 16 bits; windows of 10 s every 5 s, unit "
        f"embeddings, mean; environment and manner in one text, {JOIN!r}, cut at 77 tokens as in training (an environment of "
        "None says nothing); cosine.",
        source=_SOURCE,
        range="cosine, -1 to 1; in practice 0 (unrelated) to 0.6",
        confounds=(
            *_CONFOUNDS,
            "what a codec or a generator leaves empty above 8 kHz counts: resample no clip before scoring",
            "the end of a prompt beyond 77 tokens is not read; `tokens` says how long it was",
        ),
        assumed="how environment and manner become one text",
    ),
)
