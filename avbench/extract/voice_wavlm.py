"""Who speaks: WavLM-Large and UniSpeech's speaker head, on a whole sound.

    voice_wavlm              the WavLM that was fine-tuned together with the head; each sound of mean 0 and variance 1
    voice_wavlm_pretrained   the WavLM of the model hub, before fine-tuning, under the same head; samples as they are

Conventions. Mono at 16 kHz by torchaudio's windowed sinc; no voice activity, no trimming, no change of level. One sound
at a time in its own length: nothing is padded, so that an embedding depends on its sound alone.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import weights
from ..features import Feature, SpeakerEmbedding
from .engine import Engine, exactly
from .resample import resample

if TYPE_CHECKING:
    import torch

    from ..clip import Sound
    from .nets.wavlm import WavlmSpeaker

__all__ = ["RATE", "VOICE_WAVLM", "VOICE_WAVLM_PRETRAINED", "embedded", "pretrained_voice_of", "wavlm_voice_of"]

VOICE_WAVLM = Feature("voice_wavlm", "audio", SpeakerEmbedding)
VOICE_WAVLM_PRETRAINED = Feature("voice_wavlm_pretrained", "audio", SpeakerEmbedding)

RATE = 16_000  # Hz


def wavlm_voice_of(sound: Sound, engine: Engine) -> SpeakerEmbedding:
    """The embedding (256,) of a sound by the networks that were trained together."""
    from .nets.wavlm import MIN_SAMPLES

    return embedded(sound, _finetuned(engine), MIN_SAMPLES, engine)


def pretrained_voice_of(sound: Sound, engine: Engine) -> SpeakerEmbedding:
    """The embedding (256,) of a sound as the released code of ID-LoRA's authors computes it."""
    from .nets.wavlm import MIN_SAMPLES

    return embedded(sound, _pretrained(engine), MIN_SAMPLES, engine)


def embedded(
    sound: Sound, network: Callable[[torch.Tensor], torch.Tensor], min_samples: int, engine: Engine
) -> SpeakerEmbedding:
    """What a network of (1, N) samples at 16 kHz makes of a sound; all zero where it is shorter than `min_samples`."""
    import torch

    samples = resample(sound.samples, sound.rate, RATE)
    with torch.inference_mode():
        # A sound that is too short still gets an embedding of the right width: zeros, from silence that is long enough.
        read = samples if len(samples) >= min_samples else np.zeros(min_samples, np.float32)
        answer = network(torch.from_numpy(np.ascontiguousarray(read))[None].to(engine.device))[0]
    embedding: NDArray[np.float32] = answer.cpu().numpy()
    return SpeakerEmbedding(
        embedding=embedding if len(samples) >= min_samples else np.zeros_like(embedding),
        seconds=len(sound.samples) / sound.rate,
        peak=float(np.abs(sound.samples).max(initial=0.0)),
    )


@functools.cache
def _finetuned(engine: Engine) -> WavlmSpeaker:
    from .nets.wavlm import load_wavlm_finetuned, untrained_wavlm

    exactly()
    network = untrained_wavlm() if engine.untrained else load_wavlm_finetuned(weights.path("wavlm-large-finetune"))
    return network.to(engine.device)


@functools.cache
def _pretrained(engine: Engine) -> WavlmSpeaker:
    from .nets.wavlm import load_wavlm_pretrained, untrained_wavlm

    exactly()
    if engine.untrained:
        return untrained_wavlm(normalised=False).to(engine.device)
    backbone, head = weights.path("wavlm-large"), weights.path("wavlm-large-finetune")
    return load_wavlm_pretrained(backbone, head).to(engine.device)
