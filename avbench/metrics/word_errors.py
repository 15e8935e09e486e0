"""Are the right words said? Errors between the words that Whisper hears and those that should be said.

    wer          (substitutions + deletions + insertions) / words that should be said; mean of clips
    cer          the same of characters
    wer_corpus   the same number for a clip, but a table divides all errors by all words
    wer_capped   wer, at most 1                  wer_above_1   share of the clips whose wer is above 1

Conventions. Both sides are normalised before they are counted. authors: lower case, every character that is neither of
a word nor a space deleted, spaces collapsed; no words on the side of the reference is 1. community: Whisper's
normaliser of English ("I'm gonna" is "i am going to", "twenty-five" is "25", British spelling is American), of other
languages Whisper's basic one; no words is unmeasurable. Counts are those of the alignment with the fewest errors.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from ..extract.whisper import LOOPED, WORDING_WHISPER, WORDS_WHISPER, WORDS_WHISPER_AUTHORS
from ..extract.words_sphinx import is_english
from ..features import Feature, Transcript
from ..metric import Card, Measured, Metric, Sample, Source, Unmeasurable

if TYPE_CHECKING:
    import jiwer

__all__ = [
    "CER",
    "CER_AUTHORS",
    "WER",
    "WER_ABOVE_1",
    "WER_ABOVE_1_AUTHORS",
    "WER_AUTHORS",
    "WER_CAPPED",
    "WER_CAPPED_AUTHORS",
    "WER_CORPUS",
    "WER_CORPUS_AUTHORS",
    "Said",
    "above_one",
    "as_authors",
    "capped",
    "character_errors",
    "corpus",
    "of_authors",
    "of_community",
    "word_errors",
]


class Said(NamedTuple):
    """Two normalised texts, and the record that one of them comes from."""

    heard: Transcript
    hypothesis: str
    reference: str


def as_authors(text: str) -> str:
    """Lower case; only characters of words, with single spaces between the words."""
    return re.sub(r"\s+", " ", re.sub(r"[^\w\s]", "", text.lower())).strip()


def of_authors(sample: Sample) -> Said:
    """What the authors' profile compares."""
    heard = sample.clip[WORDS_WHISPER_AUTHORS]
    return Said(heard, as_authors(heard.text), as_authors(sample.transcript))


def of_community(sample: Sample) -> Said:
    """What the community profile compares; Unmeasurable where nothing should be said."""
    heard, wording = sample.clip[WORDS_WHISPER], sample.wording[WORDING_WHISPER]
    reference = wording.english if is_english(sample.language) else wording.other
    if not reference:
        found = "has no words" if sample.transcript.strip() else "is empty"
        raise Unmeasurable(f"the transcript {found}; there is nothing to hold the words against", "prompt")
    return Said(heard, heard.normal, reference)


def word_errors(said: Said) -> Measured:
    """Errors per word that should be said, 0 and more; 1 where none should be."""
    import jiwer

    found = jiwer.process_words(said.reference, said.hypothesis) if said.reference else None
    return _rate(said, found, "words")


def character_errors(said: Said) -> Measured:
    """Errors per character that should be said (the spaces between words count), 0 and more; 1 where none should be."""
    import jiwer

    found = jiwer.process_characters(said.reference, said.hypothesis) if said.reference else None
    return _rate(said, found, "characters")


def corpus(said: Said) -> Measured:
    """As `word_errors`; Unmeasurable where nothing should be said, for then there is nothing to divide by."""
    if not said.reference:
        raise Unmeasurable("the transcript has no words; there is nothing to hold the words against", "prompt")
    return word_errors(said)


def capped(said: Said) -> Measured:
    """Errors per word, at most 1."""
    found = word_errors(said)
    return Measured(min(1.0, found.value), found.detail)


def above_one(said: Said) -> Measured:
    """100 where there are more errors than words, else 0."""
    found = word_errors(said)
    return Measured(100.0 if found.value > 1 else 0.0, {**found.detail, "wer": found.value})


def _rate(said: Said, found: jiwer.WordOutput | jiwer.CharacterOutput | None, counted: str) -> Measured:
    """`found` is None for an empty reference, which jiwer would count in its own way."""
    deletions, insertions, substitutions, right = (
        (found.deletions, found.insertions, found.substitutions, found.hits) if found else (0, 0, 0, 0)
    )
    errors, total = deletions + insertions + substitutions, right + substitutions + deletions
    detail = {
        "transcript": said.heard.text,
        counted: total,
        "errors": errors,
        "substitutions": substitutions,
        "deletions": deletions,
        "insertions": insertions,
        "looped": said.heard.compression > LOOPED,
    }
    return Measured(errors / total if total else 1.0, detail)


# Cards -----------------------------------------------------------------------------------------------------------

_SOURCE = "Radford et al. 2022 (Whisper-large-v3) through transformers; counted by jiwer"
_CONFOUNDS = (
    "Whisper writes what is likely: it mends slurred words, and hears words in noise. On babble or silence it repeats itself "
    "up to 448 tokens (`looped`): one such clip of four words can weigh 50, and carry the mean of a whole method",
    "names, numbers and words that sound alike are errors of the recogniser; hold a method against `truth` on the same "
    "split",
    "a word at the end of the clip that is cut off counts as wrong; another length of clip is another task",
    "the text is as likely as the voice is clear: noise and music that the prompt asks for raise the rate too",
)
_RECIPE = {
    "authors": "16 kHz, the first 30 s; Whisper-large-v3, language English, 5 beams, no timestamps, no second try, at most "
    "448 tokens, float16 on an accelerator and float32 on a CPU; both sides lower case without punctuation (don't is "
    "dont, twenty-five is twentyfive)",
    "community": "16 kHz, pieces of at most 30 s; Whisper-large-v3 in the transcript's language, 5 beams at temperature 0, "
    "float32, no timestamps, no second try, nothing carried over; a silent clip has no words; Whisper's normaliser of "
    "English, for other languages its basic one, on both sides",
}
_ASSUMED = {
    "authors": "that a table is the mean of clips, and that sound beyond 30 s is not heard: neither is in the released code",
    "community": "",
}
_OPEN = "0 and more; above 1 where more is added than should be said"
_OWN = {
    "authors": (
        "numbers in figures and contractions count as wrong: I'm gonna pay against I am going to pay is 1.33",
        "every clip is taken for English, whatever the split says",
        "float16 and float32 may write different words of an unclear clip",
    ),
    "community": (
        "the normaliser has quirks: O'Neil's becomes 0 neil is, on both sides alike",
        "in languages without spaces between words the rate of words means little: read cer there",
    ),
}


def _metric(profile: str, name: str, label: str, measure: Callable[[Said], Measured], card: Card) -> Metric:
    said = of_authors if profile == "authors" else of_community
    authors: Mapping[Source, tuple[Feature[Any], ...]] = {"clip": (WORDS_WHISPER_AUTHORS,)}
    community: Mapping[Source, tuple[Feature[Any], ...]] = {"clip": (WORDS_WHISPER,), "prompt": (WORDING_WHISPER,)}
    return Metric(
        profile=profile,
        name=name,
        label=label,
        unit="errors per word",
        direction="lower",
        digits=3,
        tolerance=5e-2,
        protocol=1,
        needs=authors if profile == "authors" else community,
        measure=lambda sample: measure(said(sample)),
        card=card,
    )


def _card(profile: str, question: str, recipe: str, scope: str) -> Card:
    return Card(
        question=question,
        recipe=f"{_RECIPE[profile]}; {recipe}.",
        source=_SOURCE,
        range=scope,
        confounds=(*_CONFOUNDS, *_OWN[profile]),
        assumed=_ASSUMED[profile],
    )


def _wer(profile: str) -> Metric:
    card = _card(
        profile,
        "How many of the words that should be said are said wrongly, left out or added?",
        "errors over words of each clip, mean of clips",
        _OPEN,
    )
    return _metric(profile, "wer", "WER", word_errors, card)


def _cer(profile: str) -> Metric:
    card = _card(
        profile,
        "How many of the letters that should be said are wrong, left out or added?",
        "errors over characters of each clip, spaces between words included, mean of clips",
        _OPEN,
    )
    return dataclasses.replace(_metric(profile, "cer", "CER", character_errors, card), unit="errors per character")


def _wer_corpus(profile: str) -> Metric:
    card = _card(
        profile,
        "Of all words that should be said in all clips, how many are wrong, left out or added?",
        "all errors over all words, so that long clips weigh more; a clip's own value is its wer",
        _OPEN,
    )
    return dataclasses.replace(_metric(profile, "wer_corpus", "WER (corpus)", corpus, card), aggregate="corpus")


def _wer_capped(profile: str) -> Metric:
    card = _card(
        profile,
        "How many of the words are wrong, left out or added, where no clip counts for more than all of its words?",
        "errors over words of each clip, at most 1, mean of clips",
        "0 to 1",
    )
    return _metric(profile, "wer_capped", "WER (at most 1)", capped, card)


def _wer_above_1(profile: str) -> Metric:
    card = _card(
        profile,
        "In how many clips are there more errors than words?",
        "100 for a clip whose wer is above 1, else 0, mean of clips",
        "0 to 100; a clip is 0 or 100",
    )
    metric = _metric(profile, "wer_above_1", "WER above 1", above_one, card)
    return dataclasses.replace(metric, unit="% of clips", digits=1, tolerance=5.0)


WER_AUTHORS = _wer("authors")
CER_AUTHORS = _cer("authors")
WER_CORPUS_AUTHORS = _wer_corpus("authors")
WER_CAPPED_AUTHORS = _wer_capped("authors")
WER_ABOVE_1_AUTHORS = _wer_above_1("authors")

WER = _wer("community")
CER = _cer("community")
WER_CORPUS = _wer_corpus("community")
WER_CAPPED = _wer_capped("community")
WER_ABOVE_1 = _wer_above_1("community")
