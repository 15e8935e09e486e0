"""Is the text what is said? Its words, found in a sound one after the other, and how well each fits.

    sound → mono, 16 kHz, fixed level → senones of PocketSphinx's English model, 100 frames a second
      best path through the words of the text  (pauses anywhere, any pronunciation in the dictionary)   A(t)
      best path through phones in any order                                                             F(t)
    goodness of the clip = mean of ln A(t) - ln F(t), nats, over all frames but those that both paths call a pause
    goodness of a word = its sum over the n frames that the word got / (n + 5)

Conventions. Both paths are scored against the same senones, all of them computed on every frame (`compallsen`). No
language model takes part: the free phones are the 42 of the model out of context. Words in context may explain a frame a
little better than they do, so that goodness can be above 0. What is said besides the words counts in the clip's
goodness; silence does not, or a clip could be made better by saying little and then nothing.
Nothing is pruned: where the text has no path it cannot be said in that time, and is not aligned. The five frames added
to a word's are as many in doubt: a word of three phones squeezed into 90 ms tells less than one of half a second.
PocketSphinx gives the score of a segment as a linear density of its integer scores shifted by ten bits: its
logarithm times 1024 is in nats. A segment's score is spread evenly over its frames.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import weights
from ..features import Alignment, Feature
from .spelling import phones_of, words_of

if TYPE_CHECKING:
    from pocketsphinx import Decoder

    from ..clip import Sound

__all__ = [
    "FRAME_RATE",
    "RATE",
    "WORDS_SPHINX",
    "Segment",
    "align",
    "frame_goodness",
    "is_english",
    "to_level",
    "word_goodness",
]

WORDS_SPHINX = Feature("words_sphinx", "audio", Alignment, reads="transcript")

RATE = 16_000  # Hz
FRAME_RATE = 100  # of the decoder's frames, per second
LEVEL_DBFS = -26.0  # of the root mean square; the decoder reads 16 bits
HIGHEST_PEAK = 0.99
SILENT_PEAK = 1e-3  # -60 dBFS: below it there is nothing but the noise of a codec to raise
SHORTEST_SECONDS = 0.1  # less holds no word

NATS = 1024.0  # by which ln of a density is multiplied: PocketSphinx shifts integer scores by ten bits
NO_PRUNING = 0.0  # the beam, a ratio of likelihoods
GAUSSIANS = 8  # of 128 that count in each frame; four are usual, eight tell words apart a little better in noise
PAUSE = 0.3  # probability of a pause between words, where 0.005 is usual: noise between words is not made part of them
DOUBT_FRAMES = 5
LOOP = "phones"
ADDED = "~"  # ends the name of a word that is not the dictionary's, so that looking up words never finds it


class Segment(NamedTuple):
    """A word, pause or phone on a decoder's best path."""

    name: str
    first: int  # frame
    end: int  # frame after the last
    score: float  # ln of the acoustic density, nats


def align(sound: Sound, text: str) -> Alignment:
    """Finds the words of a text in a sound; `aligned` is False where they cannot be, or where there are no words.

    The answer depends on the two arguments alone, never on what was aligned before.
    """
    words = words_of(text)
    pronounced = _pronounced(words)
    path, loop = _paths(sound, [name for name, _ in pronounced])
    spoken = [segment for segment in path if not _is_filler(segment)]
    aligned = len(spoken) == len(words) > 0
    starts, ends, goodness = np.zeros((3, len(words)), np.float32)
    clip_goodness = 0.0
    if aligned:
        differences = frame_goodness(path, loop)
        clip_goodness = float(np.float32(differences[~_both_pause(path, loop)].mean()))
        for number, segment in enumerate(spoken):
            starts[number] = segment.first / FRAME_RATE
            ends[number] = segment.end / FRAME_RATE
            goodness[number] = word_goodness(differences, segment)
    return Alignment(
        words=np.array(words, dtype=np.str_),
        known=np.array([known for _, known in pronounced], dtype=np.bool_),
        starts=starts,
        ends=ends,
        goodness=goodness,
        aligned=aligned,
        clip_goodness=clip_goodness,
    )


def is_english(language: str) -> bool:
    """Whether a language tag (en, en-GB, en_US, eng) is of English; one that is not given is taken for it."""
    return language.strip().lower().replace("_", "-").partition("-")[0] in ("", "en", "eng", "english")


def frame_goodness(path: Sequence[Segment], loop: Sequence[Segment]) -> NDArray[np.float64]:
    """(F,) nats per frame: by how much the path through the text explains each frame better than free phones do.

    Both lists cover the frames 0 to F without a gap.
    """
    if path[-1].end != loop[-1].end:
        raise ValueError(f"the text ends at frame {path[-1].end}, the free phones at {loop[-1].end}")
    return _spread(path) - _spread(loop)


def word_goodness(differences: NDArray[np.float64], word: Segment) -> float:
    """Nats per frame of a word, DOUBT_FRAMES of no difference taken in."""
    return float(differences[word.first : word.end].sum()) / (word.end - word.first + DOUBT_FRAMES)


def _both_pause(path: Sequence[Segment], loop: Sequence[Segment]) -> NDArray[np.bool_]:
    """(F,) whether neither path has anything to say at a frame."""
    pauses = np.ones((2, path[-1].end), np.bool_)
    for silent, segments, is_pause in zip(pauses, (path, loop), (_is_filler, _is_silence), strict=True):
        for segment in segments:
            silent[segment.first : segment.end] = is_pause(segment)
    return np.asarray(pauses.all(axis=0))


def to_level(samples: NDArray[np.float32]) -> NDArray[np.int16]:
    """(N,) samples at a root mean square of -26 dBFS, or as near as their peak allows, in 16 bits."""
    rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
    peak = float(np.abs(samples).max())
    gain = min(10.0 ** (LEVEL_DBFS / 20) / rms, HIGHEST_PEAK / peak)
    return np.asarray(np.rint(samples.astype(np.float64) * gain * 32767), dtype=np.int16)


# Decoding --------------------------------------------------------------------------------------------------------


def _paths(sound: Sound, names: Sequence[str]) -> tuple[list[Segment], list[Segment]]:
    """The best path through the words and that through free phones; empty where there is none, or nothing to hear."""
    import soxr

    peak = float(np.abs(sound.samples).max(initial=0.0))
    if not names or peak < SILENT_PEAK or len(sound.samples) < SHORTEST_SECONDS * sound.rate:
        return [], []
    samples = np.asarray(soxr.resample(sound.samples, sound.rate, RATE), dtype=np.float32)
    content = to_level(samples).tobytes()
    decoder = _decoder()
    decoder.set_align_text(" ".join(names))
    path = _decoded(decoder, content)
    if not path:
        return [], []
    decoder.activate_search(LOOP)
    return path, _decoded(decoder, content)


def _decoded(decoder: Decoder, content: bytes) -> list[Segment]:
    """The best path of the active search through a whole sound; empty where there is none.

    The estimate of the noise that was heard before is forgotten, and a sound given whole is normalised by its own mean.
    """
    decoder.reinit_feat()
    decoder.start_utt()
    decoder.process_raw(content, no_search=False, full_utt=True)
    decoder.end_utt()
    if decoder.hyp() is None:
        return []
    return [
        Segment(segment.word, segment.start_frame, segment.end_frame + 1, math.log(segment.ascore) * NATS)
        for segment in decoder.seg()
    ]


def _spread(segments: Sequence[Segment]) -> NDArray[np.float64]:
    frames = np.zeros(segments[-1].end)
    for segment in segments:
        frames[segment.first : segment.end] = segment.score / (segment.end - segment.first)
    return frames


def _is_filler(segment: Segment) -> bool:
    """A pause or noise: <sil>, [NOISE]."""
    return segment.name[0] in "<[("


def _is_silence(phone: Segment) -> bool:
    return phone.name == "SIL"


@functools.cache
def _decoder() -> Decoder:
    from pocketsphinx import Decoder

    folder = weights.path("sphinx-en-us")
    decoder = Decoder(
        hmm=str(folder / "en-us"),
        dict=str(folder / "cmudict-en-us.dict"),
        lm=None,
        allphone_ci=True,
        beam=NO_PRUNING,
        bestpath=False,
        compallsen=True,
        loglevel="FATAL",
        pbeam=NO_PRUNING,
        silprob=PAUSE,
        topn=GAUSSIANS,
        wbeam=NO_PRUNING,
    )
    decoder.add_allphone_file(LOOP, None)
    return decoder


# Words -----------------------------------------------------------------------------------------------------------


def _pronounced(words: Sequence[str]) -> list[tuple[str, bool]]:
    """For each word its name in the decoder's dictionary, and whether that had it; a word that it lacks is added."""
    if not words:
        return []
    decoder = _decoder()
    return [(word, True) if decoder.lookup_word(word) else (_added(word), False) for word in words]


@functools.cache
def _added(word: str) -> str:
    decoder = _decoder()
    name = word + ADDED
    decoder.add_word(name, phones_of(word, decoder.lookup_word), update=False)
    return name
