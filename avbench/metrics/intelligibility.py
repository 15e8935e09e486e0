"""Are the words of the transcript what is said? Forced alignment, held against phones in any order.

    gop_sphinx             goodness of pronunciation of the whole clip: mean over its frames, without pauses
    words_rejected_sphinx  share of the words whose own goodness is below -2.3 nats per frame

Conventions. Goodness is `Alignment`'s: about 0 where the words explain the sound as well as free phones do, further
below the worse. The limit was set on clean recordings of nine speakers: 3 % of right words and 92 % of substituted ones
are below it. Where the words have no path through the sound, because it is silent or too short for them, none of them is
there: all are rejected, and there is no goodness. This is no word error rate: nothing is recognised, words that are
said in excess are not counted (but lower the clip's goodness), and a word is judged by its sound alone.
"""

from __future__ import annotations

import numpy as np

from ..extract import WORDS_SPHINX
from ..extract.words_sphinx import is_english
from ..features import Alignment
from ..metric import Card, Measured, Metric, Sample, Unmeasurable

__all__ = ["GOP_SPHINX", "REJECTED_BELOW", "WORDS_REJECTED_SPHINX", "clip_goodness", "words_rejected"]

REJECTED_BELOW = -2.3  # nats per frame


def clip_goodness(alignment: Alignment) -> Measured:
    """Nats per frame, about 0 and less; Unmeasurable where the words are not found."""
    if not alignment.aligned:
        raise Unmeasurable(
            f"not aligned: the sound is silent, or too short for the {len(alignment.words)} words of the transcript"
        )
    return Measured(alignment.clip_goodness, _detail(alignment))


def words_rejected(alignment: Alignment) -> Measured:
    """Per cent of the words, 0 to 100; 100 where they are not found."""
    return Measured(100.0 * float(_rejected(alignment).mean()), _detail(alignment))


def _rejected(alignment: Alignment) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return (alignment.goodness < REJECTED_BELOW) | (not alignment.aligned)


def _detail(alignment: Alignment) -> dict[str, object]:
    return {
        "aligned": alignment.aligned,
        "words": len(alignment.words),
        "out_of_dictionary": int((~alignment.known).sum()),
        "rejected": alignment.words[_rejected(alignment)].tolist(),
    }


def _of_clip(sample: Sample) -> Alignment:
    if not is_english(sample.language):
        raise Unmeasurable(f"the transcript is in {sample.language!r}; the model and the dictionary are English")
    alignment = sample.clip[WORDS_SPHINX]
    if not len(alignment.words):
        said = "has no words in English letters" if sample.transcript.strip() else "is empty"
        raise Unmeasurable(f"the transcript {said}; there is nothing to look for")
    return alignment


def _goodness_of_clip(sample: Sample) -> Measured:
    return clip_goodness(_of_clip(sample))


def _rejected_in_clip(sample: Sample) -> Measured:
    return words_rejected(_of_clip(sample))


_SOURCE = "forced alignment with PocketSphinx 5; goodness of pronunciation after Witt and Young 2000"
_CONFOUNDS = (
    "not a word error rate, and no estimate of one: nothing is recognised. It tells right words from wrong ones and ranks "
    "methods; noise, a room or a codec lowers it while every listener still understands. At 10 dB of white noise it still "
    "tells right from wrong (AUC 0.99), at 0 dB hardly",
    "the model learned American read speech: other accents, children, singing, whispering and synthetic voices lose "
    "goodness for how they sound. Hold a method against `truth` on the same split, never against other speakers",
    "words that sound alike cannot be told apart, short ones (a, of, the) hardly at all",
    "names and new words that the dictionary lacks are pronounced by rule, wrongly at times; `out_of_dictionary` counts "
    "them. Figures are read in one way (1999: nineteen ninety nine)",
    "English only: transcripts in another language are unmeasurable, one without a language is taken for English",
)

GOP_SPHINX = Metric(
    profile="embedded",
    name="gop_sphinx",
    label="Goodness of pron.",
    unit="nats per frame",
    direction="higher",
    digits=2,
    tolerance=2e-2,
    protocol=1,
    needs={"clip": (WORDS_SPHINX,)},
    measure=_goodness_of_clip,
    card=Card(
        question="How well do the words of the transcript explain the sound of the clip?",
        recipe="16 kHz mono at -26 dBFS; the best path through the transcript's words (pauses anywhere, any pronunciation "
        "of the dictionary) and the best path through phones in any order, over the same acoustic scores; mean difference "
        "of log likelihoods over all frames of 10 ms that are no pause in both.",
        source=_SOURCE,
        range="clean recordings: -1.0 to 1.1 with their own text (90 % of them), -1.8 with a quarter of the words replaced, "
        "-6.0 with another text (medians); with white noise at 10 dB -1.0, -2.1 and -3.1: noise draws all to the middle",
        confounds=(
            *_CONFOUNDS,
            "unmeasurable where the words do not fit into the sound at all (silence, a clip cut short): "
            "words_rejected_sphinx is 100 there",
        ),
    ),
)

WORDS_REJECTED_SPHINX = Metric(
    profile="embedded",
    name="words_rejected_sphinx",
    label="Words rejected",
    unit="% of words",
    direction="lower",
    digits=1,
    tolerance=1.0,
    protocol=1,
    needs={"clip": (WORDS_SPHINX,)},
    measure=_rejected_in_clip,
    card=Card(
        question="How many words of the transcript does the clip not seem to say?",
        recipe="As gop_sphinx, but for each word over the frames that it got; the share of words below "
        f"{REJECTED_BELOW:g} nats per frame, 100 where the words do not fit into the sound at all (`aligned` is false).",
        source=_SOURCE,
        range="0 to 100; below the limit are 3 % of the right words of clean recordings, 92 % of words put in their place "
        "and 86 % of the words of another text; with white noise at 10 dB 15 % of the right ones and 76 % of another text's",
        confounds=(
            *_CONFOUNDS,
            "words said in excess are not seen here, only by gop_sphinx",
        ),
    ),
)
