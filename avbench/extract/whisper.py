"""Which words are heard: what Whisper-large-v3 writes of a sound; and a text as Whisper's normalisers leave it.

    words_whisper          sound → 16 kHz → pieces of at most 30 s → beam search, 5 beams, float32 → text
    words_whisper_authors  sound → 16 kHz → the first 30 s → the same in English; float16 on an accelerator
    wording_whisper        the words that should be said → normalised, as words of English and of another language

Conventions. Beam search at temperature 0 and nothing else: no second try when the text repeats itself or is unlikely, no
timestamps, no detection of speech or language, no words carried over from one piece to the next. So one sound has one
text; and on noise the text can run in a loop up to the 448 tokens that the network has place for. A sound of more than
30 s is cut into equal pieces, and their texts are joined; a word at a cut may be lost. A silent sound has no words:
Whisper, which would invent some, is not asked (`words_whisper_authors` asks it). ID-LoRA's code takes transformers'
pipeline, which sets 5 beams where a model names fewer; what it does beyond 30 s is assumed.
"""

from __future__ import annotations

import functools
import json
import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .. import weights
from ..errors import MediaError, WeightsError
from ..features import Feature, Transcript, Wording
from .clap import SILENT_PEAK
from .engine import Engine, exactly
from .resample import resample
from .words_sphinx import is_english

if TYPE_CHECKING:
    from collections.abc import Collection

    from tokenizers import Tokenizer
    from transformers import WhisperForConditionalGeneration

    from ..clip import Sound
    from ..split import Prompt

__all__ = [
    "BEAMS",
    "LOOPED",
    "WORDING_WHISPER",
    "WORDS_WHISPER",
    "WORDS_WHISPER_AUTHORS",
    "code_of",
    "compression_of",
    "normaliser",
    "pieces",
    "read_spellings",
    "wording_of",
    "words_heard",
    "words_heard_authors",
]

WORDS_WHISPER = Feature("words_whisper", "audio", Transcript, "language")
WORDS_WHISPER_AUTHORS = Feature("words_whisper_authors", "audio", Transcript)
WORDING_WHISPER = Feature("wording_whisper", "text", Wording, "transcript")

RATE = 16_000  # Hz
WINDOW = 30 * RATE  # samples
BEAMS = 5
LOOPED = 2.4  # compression beyond which a text repeats itself, as Whisper's own decoder judges


def words_heard(sound: Sound, language: str, engine: Engine) -> Transcript:
    """What is said in a language (its code; none is English). MediaError for a language that Whisper does not write."""
    code = code_of(language, _languages(engine))
    peak = _peak(sound)
    samples = resample(sound.samples, sound.rate, RATE) if peak >= SILENT_PEAK else np.zeros(0, np.float32)
    return _transcript(sound, pieces(samples), code, engine)


def words_heard_authors(sound: Sound, engine: Engine) -> Transcript:
    """What is said in the first 30 s, taken for English; not normalised."""
    samples = resample(sound.samples, sound.rate, RATE)[:WINDOW]
    return _transcript(sound, pieces(samples), "en", engine, normalised=False)


def wording_of(prompt: Prompt, transcript: str, engine: Engine) -> Wording:
    """The words that should be said, ready to be held against those that are heard; the prompt is not read."""
    del prompt
    return Wording(english=_english(engine)(transcript), other=_other()(transcript))


def code_of(language: str, known: Collection[str]) -> str:
    """The code by which Whisper knows a language tag (de, de-AT, de_AT); a tag that is empty is English.

    MediaError for another: it is the pair's affair, and no reason to stop a run.
    """
    code = "en" if is_english(language) else language.strip().lower().replace("_", "-").partition("-")[0]
    if code not in known:
        raise MediaError(f"language {language!r}: Whisper does not write it; expected one of its {len(known)}.")
    return code


def pieces(samples: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """(N,) samples at 16 kHz in as few equal pieces as have at most 30 s each; none of no samples."""
    count = math.ceil(len(samples) / WINDOW)
    return np.array_split(samples, count) if count else []


def compression_of(text: str) -> float:
    """Bytes of a text over bytes of the same, zlib; 0 where there is no text."""
    stored = text.encode()
    return len(stored) / len(zlib.compress(stored))


def _transcript(
    sound: Sound, parts: list[NDArray[np.float32]], language: str, engine: Engine, normalised: bool = True
) -> Transcript:
    import torch

    from .nets.whisper import transcribe, writing

    half = engine.accelerated and not normalised
    texts, count = [], 0
    if parts:
        network, tokenizer = _network(engine, half), _tokenizer(engine)
        rules = writing(tokenizer, language, network.config.max_target_positions, BEAMS)
        with torch.inference_mode():
            for part in parts:
                tokens = transcribe(network, part, rules)
                texts.append(tokenizer.decode(tokens).strip())
                count += len(tokens)
    text = " ".join(filter(None, texts))
    clean = _english(engine) if language == "en" else _other()
    return Transcript(
        text=text,
        normal=clean(text) if normalised else "",
        tokens=count,
        compression=compression_of(text),
        seconds=len(sound.samples) / sound.rate,
        peak=_peak(sound),
    )


def _peak(sound: Sound) -> float:
    return float(np.abs(sound.samples).max(initial=0.0))


# Normalisers -----------------------------------------------------------------------------------------------------


def normaliser(spellings: dict[str, str]) -> Callable[[str], str]:
    """Whisper's normaliser of English, with a table of British and American spellings."""
    from transformers.models.whisper.english_normalizer import EnglishTextNormalizer

    clean = EnglishTextNormalizer(spellings)  # type: ignore[no-untyped-call]
    return lambda text: str(clean(text)).strip()


def read_spellings(path: Path) -> dict[str, str]:
    """Whisper's `normalizer.json`: British spelling → American. WeightsError where it is no such table."""
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not Whisper's table of spellings ({error}).") from error
    if not isinstance(table, dict) or not table or not all(isinstance(word, str) for word in table.values()):
        raise WeightsError(f"{path}: not Whisper's table of spellings; expected a JSON object of words.")
    return table


@functools.cache
def _english(engine: Engine) -> Callable[[str], str]:
    return normaliser({} if engine.untrained else read_spellings(weights.path("whisper-normalizer")))


@functools.cache
def _other() -> Callable[[str], str]:
    from transformers.models.whisper.english_normalizer import BasicTextNormalizer

    clean = BasicTextNormalizer()
    return lambda text: str(clean(text)).strip()


# Networks --------------------------------------------------------------------------------------------------------


@functools.cache
def _network(engine: Engine, half: bool) -> WhisperForConditionalGeneration:
    import torch

    from .nets.whisper import load_whisper, untrained_whisper

    exactly()
    dtype = torch.float16 if half else torch.float32
    network = untrained_whisper() if engine.untrained else load_whisper(weights.path("whisper-large-v3"), dtype)
    torch.nn.Module.to(network, engine.device, dtype)
    return network


@functools.cache
def _tokenizer(engine: Engine) -> Tokenizer:
    from .nets.whisper import load_tokenizer, untrained_tokenizer

    return untrained_tokenizer() if engine.untrained else load_tokenizer(weights.path("whisper-tokenizer"))


def _languages(engine: Engine) -> list[str]:
    from .nets.whisper import languages

    return list(languages(_tokenizer(engine)))
