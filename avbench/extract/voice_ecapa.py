"""Who speaks: SpeechBrain's ECAPA-TDNN, trained on VoxCeleb, on a whole sound.

Conventions. Mono at 16 kHz by torchaudio's windowed sinc; no voice activity, no trimming, no change of level; one sound
at a time in its own length. A second network beside WavLM: it was trained on other data in another way, so that what
both say of a pair of methods does not hang on one of them.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from .. import weights
from ..features import Feature, SpeakerEmbedding
from .engine import Engine, exactly
from .voice_wavlm import embedded

if TYPE_CHECKING:
    from ..clip import Sound
    from .nets.ecapa_tdnn import EcapaTdnn

__all__ = ["VOICE_ECAPA", "ecapa_voice_of"]

VOICE_ECAPA = Feature("voice_ecapa", "audio", SpeakerEmbedding)


def ecapa_voice_of(sound: Sound, engine: Engine) -> SpeakerEmbedding:
    """The embedding (192,) of a sound."""
    from .nets.ecapa_tdnn import MIN_SAMPLES

    return embedded(sound, _network(engine), MIN_SAMPLES, engine)


@functools.cache
def _network(engine: Engine) -> EcapaTdnn:
    from .nets.ecapa_tdnn import load_ecapa_tdnn, untrained_ecapa_tdnn

    exactly()
    network = untrained_ecapa_tdnn() if engine.untrained else load_ecapa_tdnn(weights.path("ecapa-voxceleb"))
    return network.to(engine.device)
