"""What a sound and a prompt mean: their places in the space that CLAP shares between sounds and sentences.

    clap_sound         sound → 48 kHz (soxr HQ) → windows of 10 s → unit vectors → mean → unit vector
    clap_sound_16k     sound → first 30 s as 16-bit samples at 16 kHz (FFmpeg's resampler) → 48 kHz (soxr HQ) → as above
    clap_text          environment, manner, both in one text; each cut at 77 tokens, the length of training
    clap_text_authors  likewise, cut only where the network ends (512 tokens), "None" for an environment replaced

Conventions. A sound of 10 s or less is repeated as often as it fits whole and then silent. A longer one is heard in
windows of 10 s that begin every 5 s, the last one at the end; nothing is drawn at random. The published code hears one
random window of a longer sound, which no one can reproduce. Both texts become one as JOIN says. `clap_sound_16k` and
`clap_text_authors` do what ID-LoRA's code does, windows apart: above 8 kHz their sounds are empty.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import weights
from ..features import Feature, SoundMeaning, TextMeaning
from .engine import Engine, exactly

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import ClapModel

    from ..clip import Sound
    from ..split import Prompt

__all__ = [
    "CLAP_SOUND",
    "CLAP_SOUND_16K",
    "CLAP_TEXT",
    "CLAP_TEXT_AUTHORS",
    "CLEAN_SPEECH",
    "JOIN",
    "SILENT_PEAK",
    "as_16_bit",
    "joined",
    "meaning_of_sound",
    "meaning_of_sound_16k",
    "meaning_of_text",
    "meaning_of_text_authors",
    "window_starts",
]

CLAP_SOUND = Feature("clap_sound", "audio", SoundMeaning)
CLAP_SOUND_16K = Feature("clap_sound_16k", "audio", SoundMeaning)
CLAP_TEXT = Feature("clap_text", "text", TextMeaning)
CLAP_TEXT_AUTHORS = Feature("clap_text_authors", "text", TextMeaning)

RATE = 48_000  # Hz
WINDOW, HOP = 10 * RATE, 5 * RATE  # samples
SILENT_PEAK = 1e-4  # -80 dBFS: below it there is nothing but the noise of a codec

LOW_RATE, LOW_SECONDS = 16_000, 30  # of the authors' front end

JOIN = "{environment}. {manner}"  # how both audible parts of a prompt become one text; assumed
TRAINED_TOKENS, ALL_TOKENS = 77, 512
CLEAN_SPEECH = "Clean speech with nothing else to be heard around it."  # for the environment "None"


# Sounds ----------------------------------------------------------------------------------------------------------


def meaning_of_sound(sound: Sound, engine: Engine) -> SoundMeaning:
    """All of a sound, at its own bandwidth; all zero where it is silent."""
    return _meaning(sound, _to_48k(sound.samples, sound.rate), engine)


def meaning_of_sound_16k(sound: Sound, engine: Engine) -> SoundMeaning:
    """The first 30 s of a sound up to 8 kHz, in steps of 1/32768; all zero where it is silent."""
    samples = as_16_bit(sound.samples, sound.rate)[: LOW_SECONDS * LOW_RATE]
    return _meaning(sound, _to_48k(samples.astype(np.float32) / np.float32(32768), LOW_RATE), engine)


def as_16_bit(samples: NDArray[np.float32], rate: int) -> NDArray[np.int16]:
    """(N,) samples at `rate` Hz, full scale 1 → 16-bit samples at 16 kHz, as FFmpeg resamples when it is not told how."""
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler

    if not len(samples):
        return np.zeros(0, np.int16)
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
    frame.sample_rate = rate
    resampler = AudioResampler(format="s16", layout="mono", rate=LOW_RATE)
    parts = [part.to_ndarray()[0] for given in (frame, None) for part in resampler.resample(given)]
    return np.concatenate(parts or [np.zeros(0, np.int16)]).astype(np.int16)


def window_starts(samples: int) -> list[int]:
    """First samples of the windows over that many samples at 48 kHz; every sample is in one, the last ends with the sound."""
    if samples <= WINDOW:
        return [0]
    return [*range(0, samples - WINDOW, HOP), samples - WINDOW]


def _meaning(sound: Sound, samples: NDArray[np.float32], engine: Engine) -> SoundMeaning:
    """`samples` is what the network hears of the sound, at 48 kHz."""
    import torch

    from .nets.clap import encode_sound, log_mel

    network = _network(engine)
    peak = float(np.abs(sound.samples).max(initial=0.0))
    starts = window_starts(len(samples)) if peak >= SILENT_PEAK and len(samples) else []
    mean = np.zeros(network.config.projection_dim)
    with torch.inference_mode():
        for start in starts:  # one by one: the sums never depend on how many there are
            mean += encode_sound(network, log_mel(samples[start : start + WINDOW]))
    length = max(float(np.linalg.norm(mean)), 1e-12)
    return SoundMeaning(embedding=(mean / length).astype(np.float32), windows=len(starts), peak=peak)


def _to_48k(samples: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
    import soxr

    return np.asarray(soxr.resample(samples, rate, RATE, quality="HQ"), dtype=np.float32)


# Texts -----------------------------------------------------------------------------------------------------------


def meaning_of_text(prompt: Prompt, engine: Engine) -> TextMeaning:
    """An environment of "None" says nothing, as an empty one does."""
    environment = "" if _is_none(prompt.environment) else prompt.environment
    return _meanings(environment, prompt.manner, TRAINED_TOKENS, engine)


def meaning_of_text_authors(prompt: Prompt, engine: Engine) -> TextMeaning:
    """An environment of "None" is clean speech; an empty one is missing."""
    environment = CLEAN_SPEECH if _is_none(prompt.environment) else prompt.environment
    return _meanings(environment, prompt.manner, ALL_TOKENS, engine)


def joined(environment: str, manner: str) -> str:
    """One text of both, as JOIN says; the one that there is, where the other is empty."""
    environment, manner = environment.strip(), manner.strip()
    if not environment or not manner:
        return environment or manner
    return JOIN.format(environment=environment.rstrip(" ."), manner=manner)


def _meanings(environment: str, manner: str, most: int, engine: Engine) -> TextMeaning:
    import torch

    from .nets.clap import encode_text, text_tokens

    network, tokenizer = _network(engine), _tokenizer(engine)
    vectors, lengths = [], []
    with torch.inference_mode():
        for text in (environment.strip(), manner.strip(), joined(environment, manner)):
            tokens = text_tokens(tokenizer, text) if text else []
            lengths.append(len(tokens))
            kept = [*tokens[: most - 1], tokens[-1]] if len(tokens) > most else tokens
            vectors.append(encode_text(network, kept) if kept else np.zeros(network.config.projection_dim, np.float32))
    return TextMeaning(
        environment=vectors[0], manner=vectors[1], combined=vectors[2], tokens=np.array(lengths, np.int32)
    )


def _is_none(text: str) -> bool:
    return text.strip().rstrip(".").lower() == "none"


# Networks --------------------------------------------------------------------------------------------------------


@functools.cache
def _network(engine: Engine) -> ClapModel:
    import torch

    from .nets.clap import load_clap, untrained_clap

    exactly()
    network = untrained_clap() if engine.untrained else load_clap(weights.path("clap-htsat-unfused"))
    torch.nn.Module.to(network, engine.device)
    return network


@functools.cache
def _tokenizer(engine: Engine) -> Tokenizer:
    from .nets.clap import load_tokenizer, untrained_tokenizer

    return untrained_tokenizer() if engine.untrained else load_tokenizer(weights.path("clap-tokenizer"))
