"""How well does every embedded scale do its job on real people?

    python bench/validity.py FOLDER [--only PREFIX] [--workers N]

FOLDER is any folder of media with a MANIFEST.csv (`avbench.prepare.manifest`). Prints `name value bar pass|short n`, one
figure a line, n being the pairs, clips or words that it is from, both sides of an AUC as same/different. Lines that begin
with # say what was taken. Ends with 1 where a figure falls short of its bar, else with 0; a figure that the folder has
nothing for is named in a comment and judges nothing.

Conventions. A `clip` shows a person who speaks, `speech` is the sound of one, a `face` a photo of one; a `face_negative`
shows nobody, nor does a `clip_nospeech` that names no person. Every other kind is left out: several people, references
of unknown origin, generated clips. Two files of one person are a pair if they come from different sources; pieces of
one recording are taken too where there are fewer than FEW such pairs. What is asked of av_corr is asked of clips whose
`sync` is ok. What cannot be measured is the worst answer: minus infinity for a pair of one person, an offset missed, a
ratio of 0.

Damage. Noise is white, 10 dB below the root mean square of the whole sound; recompression H.264 at CRF 35, of photos JPEG
at quality 20; half resolution has half the pixels a side. Of a pair one side is damaged (each in turn), unless the
name says both. What is drawn by lot is seeded by the place of a file in the table: the same lines twice, whatever the
number of workers. The sentences of GRID are heard by a decoder that knows their grammar, which no scale does.
"""

from __future__ import annotations

import argparse
import dataclasses
import io
import os
import re
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import combinations
from pathlib import Path
from typing import Any, NamedTuple

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):  # before numpy and torch are imported
    os.environ[variable] = "1"

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from avbench.clip import FRAME_RATE, Sound, read_audio, read_image, read_video, write_clip
from avbench.errors import AvbenchError, MediaError, UsageError
from avbench.extract import EXTRACTORS, ready
from avbench.extract.spelling import words_of
from avbench.extract.voice_ge2e import RATE, embed_speech, raise_level
from avbench.extract.words_sphinx import align
from avbench.features import Alignment, Faces, Sense, SpeechEnergy, Voice
from avbench.metric import Measured, Unmeasurable
from avbench.metrics.av_correlation import av_correlation
from avbench.metrics.face_similarity import face_similarity
from avbench.metrics.intelligibility import REJECTED_BELOW
from avbench.metrics.lip_motion import lip_motion
from avbench.metrics.speaker_similarity import speaker_similarity
from avbench.prepare.manifest import Entry, read_manifest
from avbench.workers import check_workers, run_jobs

__all__ = [
    "BARS",
    "Bar",
    "Figure",
    "Job",
    "auc",
    "different_pairs",
    "equal_error_rate",
    "fits_grid",
    "line",
    "main",
    "near_miss",
    "same_pairs",
    "swayed",
    "word_errors",
]


class Bar(NamedTuple):
    """What a figure must reach: no less than a floor, or no more than a ceiling."""

    side: str  # ">=" or "<="
    limit: float

    def holds(self, value: float) -> bool:
        return value >= self.limit if self.side == ">=" else value <= self.limit


def _floor(limit: float) -> Bar:
    return Bar(">=", limit)


def _ceiling(limit: float) -> Bar:
    return Bar("<=", limit)


BARS = {
    "face.auc": _floor(0.995),
    "face.auc_half": _floor(0.99),
    "face.auc_crf35": _floor(0.99),
    "face.missing": _ceiling(0.0),
    "face.coverage": _floor(0.95),
    "face.false": _ceiling(0.0),
    "voice.auc": _floor(0.985),
    "voice.eer": _ceiling(0.06),
    "voice.auc_ungated": _floor(0.995),
    "voice.eer_ungated": _ceiling(0.03),
    "voice.auc_10db_both": _floor(0.98),
    "voice.auc_10db": _floor(0.88),
    "av_corr.above_shifted": _floor(0.95),
    "av_corr.offset": _floor(0.90),
    "av_corr.imposed": _floor(0.93),
    "av_corr.above_others": _floor(0.95),
    "av_corr.above_shifted_crf35": _floor(0.90),
    "av_corr.above_shifted_10db": _floor(0.95),
    "lip_motion.above_frozen": _floor(1.0),
    "lip_motion.auc_still": _floor(0.98),
    "lip_motion.ratio_crf35": _floor(0.85),
    "lip_motion.ratio_half": _floor(0.95),
    "speech.auc_wrong": _floor(0.99),
    "speech.auc_near_miss": _floor(0.93),
    "speech.auc_words": _floor(0.97),
    "speech.rejected_right": _ceiling(0.05),
    "speech.rejected_replaced": _floor(0.85),
    "speech.auc_wrong_10db": _floor(0.93),
    "speech.auc_words_10db": _floor(0.88),
    "speech.wer_grid": _ceiling(0.15),
}

FEW = 20  # pairs of one person
NOISE_DB, CRF, STORED_CRF, JPEG_QUALITY = 10.0, 35, 18, 20
SHIFTED = (-10, 10)  # frames, positive = audio late
IMPOSED = (-6, -3, 3, 6)  # frames
NEAR = 2  # frames
SWAY, TILT = 0.015, 2.0  # of the frame's height; degrees
WRONG_TEXTS = 3  # for each right one
MIN_WORDS, REPLACED = 4, 0.25
UNLIKE = 0.6  # letters to change from a word to its replacement, as a share of the longer one's
DRAWS = 3  # of noise over voices, and of words to replace, for each file: one is a matter of luck
UNDEPENDABLE = re.compile(r"prompted|generated|keyword|not (a )?verified|unverified|automatic", re.IGNORECASE)
GRID = (
    "bin lay place set",
    "blue green red white",
    "at by in with",
    "a b c d e f g h i j k l m n o p q r s t u v x y z",
    "zero one two three four five six seven eight nine",
    "again now please soon",
)
WORST = -np.inf

Frames = NDArray[np.uint8]


class Figure(NamedTuple):
    """A value and what it is from; value is None where the folder has nothing for it."""

    value: float | None
    n: str


class Job(NamedTuple):
    """One file, damaged, through one extractor. Runs in a worker."""

    path: Path
    sense: Sense
    feature: str
    damage: str = ""
    seed: int = 0
    text: str = ""


class Media(NamedTuple):
    """What the figures are from, with the place of every entry in the table as its seed."""

    entries: list[Entry]

    def of(self, *kinds: str) -> list[int]:
        return [place for place, entry in enumerate(self.entries) if entry.kind in kinds]

    def job(self, place: int, feature: str, damage: str = "", text: str = "", draw: int = 0) -> Job:
        entry = self.entries[place]
        sense: Sense = "audio"
        if feature == "faces_dlib":
            sense = "image" if entry.kind.startswith("face") else "video"
        return Job(entry.path, sense, feature, damage, place + draw * len(self.entries), text)


Made = Callable[[Job], Any]
Figures = Iterator[tuple[str, Figure]]


@dataclasses.dataclass(frozen=True)
class Part:
    """The figures of one scale: what must be extracted for them, and what they are."""

    needs: tuple[str, ...]  # extractors
    jobs: Callable[[Media], Iterable[Job]]
    figures: Callable[[Media, Made], Figures]
    about: Callable[[Media], str]


# Arithmetic ------------------------------------------------------------------------------------------------------


def auc(high: Sequence[float], low: Sequence[float]) -> float | None:
    """The chance that one of `high` exceeds one of `low`, ties half; None where a side is empty."""
    if not len(high) or not len(low):
        return None
    one, other = np.asarray(high)[:, None], np.asarray(low)[None]
    return float(np.mean(one > other) + np.mean(one == other) / 2)


def equal_error_rate(same: Sequence[float], different: Sequence[float]) -> float | None:
    """Where as large a share of `same` lies below a threshold as of `different` on or above it; None without both.

    Of the thresholds between values the one at which the two are nearest, and there their mean.
    """
    if not len(same) or not len(different):
        return None
    one, other = np.sort(same), np.sort(different)
    thresholds = np.append(np.unique(np.concatenate([one, other])), np.inf)
    missed = np.searchsorted(one, thresholds) / len(one)
    accepted = 1 - np.searchsorted(other, thresholds) / len(other)
    best = np.lexsort([missed + accepted, np.abs(missed - accepted)])[0]
    return float(missed[best] + accepted[best]) / 2


def word_errors(spoken: Sequence[str], heard: Sequence[str]) -> int:
    """The least number of words (of a string: letters) to replace, add and leave out."""
    row = list(range(len(heard) + 1))
    for number, word in enumerate(spoken, 1):
        above, row = row, [number]
        for place, other in enumerate(heard, 1):
            row.append(min(above[place - 1] + (word != other), above[place] + 1, row[-1] + 1))
    return row[-1]


def _share(answers: Iterable[bool]) -> float | None:
    counted = list(answers)
    return sum(counted) / len(counted) if counted else None


def _value(metric: Callable[..., Measured], *features: Any) -> float:
    """A metric's number; minus infinity where it has none."""
    try:
        return metric(*features).value
    except Unmeasurable:
        return WORST


# Who is compared with whom ---------------------------------------------------------------------------------------


def same_pairs(entries: Sequence[Entry], places: Iterable[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Pairs of one person: across sources, and within one."""
    across: list[tuple[int, int]] = []
    within: list[tuple[int, int]] = []
    for one, other in combinations(places, 2):
        if entries[one].person and entries[one].person == entries[other].person:
            (within if entries[one].source == entries[other].source else across).append((one, other))
    return across, within


def different_pairs(entries: Sequence[Entry], places: Iterable[int]) -> list[tuple[int, int]]:
    """Pairs of two people, both named."""
    people = [(place, entries[place].person) for place in places if entries[place].person]
    return [(one, other) for (one, who), (other, whom) in combinations(people, 2) if who != whom]


def _pairs(media: Media, places: Sequence[int]) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    across, within = same_pairs(media.entries, places)
    return across if len(across) >= FEW else across + within, different_pairs(media.entries, places)


def _about_pairs(media: Media, places: Sequence[int]) -> str:
    across, within = same_pairs(media.entries, places)
    people = {media.entries[place].person for place in places} - {""}
    use = "left out" if len(across) >= FEW else "taken too"
    return (
        f"{len(places)} files of {len(people)} people; pairs of one person: {len(across)} from different sources, "
        f"{len(within)} pieces of one recording ({use})"
    )


def _compared(
    pairs: tuple[list[tuple[int, int]], list[tuple[int, int]]], score: Callable[[int, int], float], ordered: bool
) -> tuple[list[float], list[float]]:
    """Scores of same and different pairs, each way round if `ordered`. Who cannot be measured is not told apart."""
    both: list[list[float]] = []
    for kind in pairs:
        ways = [way for one, other in kind for way in ((one, other), (other, one))[: 1 + ordered]]
        both.append([score(one, other) for one, other in ways])
    return both[0], [value for value in both[1] if value > WORST]


# Faces -----------------------------------------------------------------------------------------------------------


def _face_jobs(media: Media) -> Iterator[Job]:
    for place in media.of("clip", "face"):
        for damage in ("", "half", "crf35" if media.entries[place].kind == "clip" else "jpeg20"):
            yield media.job(place, "faces_dlib", damage)
    for place in _nobody(media):
        yield media.job(place, "faces_dlib")


def _face_figures(media: Media, made: Made) -> Figures:
    places = media.of("clip", "face")
    pairs = _pairs(media, places)
    n = f"{len(pairs[0])}/{len(pairs[1])}"

    def faces(place: int, damage: str = "") -> Faces:
        if damage == "crf35" and media.entries[place].kind == "face":
            damage = "jpeg20"
        result: Faces = made(media.job(place, "faces_dlib", damage))
        return result

    for damage in ("", "half", "crf35"):

        def score(one: int, other: int, damage: str = damage) -> float:
            return _value(face_similarity, faces(one, damage), faces(other), "target")

        name = f"face.auc_{damage}" if damage else "face.auc"
        yield name, Figure(auc(*_compared(pairs, score, ordered=bool(damage))), n)
    found = [faces(place).detected.sum() / faces(place).sampled.sum() for place in places]
    yield "face.missing", Figure(_share(share == 0 for share in found), str(len(found)))
    clips = [share for place, share in zip(places, found, strict=True) if media.entries[place].kind == "clip"]
    yield "face.coverage", Figure(float(np.mean(clips)) if clips else None, str(len(clips)))
    nobody = [_value(face_similarity, one, one, "target") > WORST for one in map(faces, _nobody(media))]
    yield "face.false", Figure(_share(nobody), str(len(nobody)))


def _nobody(media: Media) -> list[int]:
    return media.of("face_negative") + [place for place in media.of("clip_nospeech") if not media.entries[place].person]


# Voices ----------------------------------------------------------------------------------------------------------


def _voice_jobs(media: Media) -> Iterator[Job]:
    for place in media.of("clip", "speech"):
        yield media.job(place, "voice_ge2e")
        for draw in range(DRAWS):
            yield media.job(place, "voice_ge2e", "noise", draw=draw)
        yield media.job(place, "voice_ungated")


def _voice_figures(media: Media, made: Made) -> Figures:
    pairs = _pairs(media, media.of("clip", "speech"))
    n = f"{len(pairs[0])}/{len(pairs[1])}"

    def compared(one: tuple[str, str], other: tuple[str, str], draws: int = 1) -> tuple[list[float], list[float]]:
        same: list[float] = []
        different: list[float] = []
        for draw in range(draws):

            def score(here: int, there: int, draw: int = draw) -> float:
                sides: tuple[Voice, Voice] = made(voice(here, one, draw)), made(voice(there, other, draw))
                return _value(speaker_similarity, *sides, "target")

            for scores, more in zip((same, different), _compared(pairs, score, ordered=one != other), strict=True):
                scores += more
        return same, different

    def voice(place: int, kind: tuple[str, str], draw: int) -> Job:
        return media.job(place, *kind, draw=draw if kind == noisy else 0)

    plain, noisy, ungated = ("voice_ge2e", ""), ("voice_ge2e", "noise"), ("voice_ungated", "")
    scores = compared(plain, plain)
    yield "voice.auc", Figure(auc(*scores), n)
    yield "voice.eer", Figure(equal_error_rate(*scores), n)
    scores = compared(ungated, ungated)
    yield "voice.auc_ungated", Figure(auc(*scores), n)
    yield "voice.eer_ungated", Figure(equal_error_rate(*scores), n)
    yield "voice.auc_10db_both", Figure(auc(*compared(noisy, noisy, DRAWS)), n)
    yield "voice.auc_10db", Figure(auc(*compared(noisy, plain, DRAWS)), n)


# Sound and picture -----------------------------------------------------------------------------------------------


def _in_sync(media: Media) -> list[int]:
    return [place for place in media.of("clip") if media.entries[place].sync == "ok"]


def _av_corr_jobs(media: Media) -> Iterator[Job]:
    for place in _in_sync(media):
        yield media.job(place, "faces_dlib")
        yield media.job(place, "faces_dlib", "crf35")
        for frames in (0, *SHIFTED, *IMPOSED):
            yield media.job(place, "speech_energy", _late(frames))
        for frames in (0, *SHIFTED):
            yield media.job(place, "speech_energy", _late(frames, "noise"))


def _late(frames: int, first: str = "") -> str:
    return f"{first}{frames:+}" if frames else first


def _av_corr_figures(media: Media, made: Made) -> Figures:
    places = _in_sync(media)
    n = str(len(places))

    def sides(place: int, seen: str = "", heard: str = "", voice: int | None = None) -> tuple[Faces, SpeechEnergy]:
        sound = media.job(place if voice is None else voice, "speech_energy", heard)
        return made(media.job(place, "faces_dlib", seen)), made(sound)

    def above_shifted(seen: str, heard: str) -> Figure:
        def value(place: int, frames: int) -> float:
            return _value(av_correlation, *sides(place, seen, _late(frames, heard)))

        return Figure(_share(value(place, 0) > max(value(place, late) for late in SHIFTED) for place in places), n)

    def offset(place: int, frames: int) -> float:
        """Frames by which the sound is found to be late; infinite where it is not found."""
        try:
            detail = av_correlation(*sides(place, heard=_late(frames))).detail
        except Unmeasurable:
            return np.inf
        return -detail["av_offset"] if "av_offset" in detail else np.inf

    yield "av_corr.above_shifted", above_shifted("", "")
    yield "av_corr.offset", Figure(_share(abs(offset(place, 0)) <= NEAR for place in places), n)
    imposed = [abs(offset(place, frames) - frames) <= NEAR for place in places for frames in IMPOSED]
    yield "av_corr.imposed", Figure(_share(imposed), str(len(imposed)))
    others = [
        own > _value(av_correlation, *sides(place, voice=other))
        for place in places
        for own in [_value(av_correlation, *sides(place))]
        for other in places
        if place != other
    ]
    yield "av_corr.above_others", Figure(_share(others), str(len(others)))
    yield "av_corr.above_shifted_crf35", above_shifted("crf35", "")
    yield "av_corr.above_shifted_10db", above_shifted("", "noise")


# Lips ------------------------------------------------------------------------------------------------------------


def _lip_jobs(media: Media) -> Iterator[Job]:
    for place in media.of("clip"):
        for damage in ("", "crf35", "half", "frozen", "swayed"):
            yield media.job(place, "faces_dlib", damage)


def _lip_figures(media: Media, made: Made) -> Figures:
    places = media.of("clip")

    def values(damage: str) -> NDArray[np.float64]:
        return np.array([_value(lip_motion, made(media.job(place, "faces_dlib", damage))) for place in places])

    speaking, frozen, swaying = values(""), values("frozen"), values("swayed")
    n = str(len(places))
    yield "lip_motion.above_frozen", Figure(_share((speaking > frozen).tolist()), n)
    still = np.concatenate([frozen, swaying])
    still = still[still > WORST]
    yield "lip_motion.auc_still", Figure(auc(speaking.tolist(), still.tolist()), f"{n}/{len(still)}")
    for damage in ("crf35", "half"):
        ratios = np.maximum(values(damage), 0) / np.maximum(speaking, 1e-9)
        yield f"lip_motion.ratio_{damage}", Figure(statistics.median(ratios.tolist()) if places else None, n)


# Words -----------------------------------------------------------------------------------------------------------


def fits_grid(words: Sequence[str]) -> bool:
    """Whether these are a sentence of the GRID corpus: command, colour, preposition, letter, digit, adverb."""
    return len(words) == len(GRID) and all(word in slot.split() for word, slot in zip(words, GRID, strict=True))


def near_miss(words: Sequence[str], pool: Sequence[str], seed: int) -> tuple[list[str], list[bool]]:
    """The words with about a quarter, at least one, replaced by others of the pool; and which ones are replaced.

    A replacement is spelt unlike the word that it replaces: `his` for `is` is what no listener would notice. Where the
    pool has none for a word, that word stays.
    """
    lot = np.random.default_rng([seed, len(words)])
    result = list(words)
    for place in lot.permutation(len(words))[: max(1, round(REPLACED * len(words)))].tolist():
        others = [word for word in pool if word not in words and _is_unlike(word, words[place])]
        if others:
            result[place] = str(lot.choice(others))
    return result, [word != spoken for word, spoken in zip(result, words, strict=True)]


def _is_unlike(word: str, other: str) -> bool:
    return word_errors(word, other) >= UNLIKE * max(len(word), len(other))


def _texts(media: Media) -> dict[int, list[str]]:
    """The words of every file in English that is known to say them."""
    found = {}
    for place in media.of("clip", "speech"):
        entry = media.entries[place]
        words = words_of(entry.transcript)
        english = entry.language.lower().split("-")[0] in ("en", "")
        if english and len(words) >= MIN_WORDS and not UNDEPENDABLE.search(entry.transcript_source):
            found[place] = words
    return found


class _Reading(NamedTuple):
    """A text held against a sound; `replaced` says which of its words are not what is spoken."""

    place: int
    words: list[str]
    replaced: list[bool]


class _Readings(NamedTuple):
    """Every text that is held against a sound."""

    right: list[_Reading]
    wrong: list[_Reading]
    near: list[_Reading]


def _readings(media: Media) -> _Readings:
    texts = _texts(media)
    pool = sorted({word for words in texts.values() for word in words})
    right, wrong, near = [], [], []
    for place, words in texts.items():
        right.append(_Reading(place, words, [False] * len(words)))
        others = sorted({tuple(other) for other in texts.values()} - {tuple(words)})
        chosen = np.random.default_rng([place, len(others)]).permutation(len(others))[:WRONG_TEXTS]
        wrong += [_Reading(place, list(others[number]), [True] * len(others[number])) for number in chosen]
        for draw in range(DRAWS):
            changed, replaced = near_miss(words, pool, place + draw * len(media.entries))
            if any(replaced):
                near.append(_Reading(place, changed, replaced))
    return _Readings(right, wrong, near)


def _word_jobs(media: Media) -> Iterator[Job]:
    for readings in _readings(media):
        for reading in readings:
            for damage in ("", "noise"):
                yield media.job(reading.place, "words_sphinx", damage, " ".join(reading.words))
    for place in _in_grid(media):
        yield media.job(place, "grid_words")


def _word_figures(media: Media, made: Made) -> Figures:
    readings = _readings(media)

    def aligned(reading: _Reading, damage: str) -> Alignment:
        result: Alignment = made(media.job(reading.place, "words_sphinx", damage, " ".join(reading.words)))
        if len(result.words) != len(reading.words):
            raise AvbenchError(f"{len(result.words)} words aligned of the {len(reading.words)} in {reading.words}.")
        return result

    def clips(readings: Sequence[_Reading], damage: str) -> list[float]:
        found = [aligned(reading, damage) for reading in readings]
        return [float(one.clip_goodness) if one.aligned else WORST for one in found]

    def told_apart(low: Sequence[_Reading], damage: str) -> Figure:
        return Figure(auc(clips(readings.right, damage), clips(low, damage)), f"{len(readings.right)}/{len(low)}")

    def words(damage: str) -> tuple[list[float], list[float]]:
        """The goodness of kept words, and of replaced ones."""
        kept: list[float] = []
        replaced: list[float] = []
        for reading in readings.near:
            found = aligned(reading, damage)
            values = found.goodness.tolist() if found.aligned else [WORST] * len(reading.words)
            for value, is_replaced in zip(values, reading.replaced, strict=True):
                (replaced if is_replaced else kept).append(value)
        return kept, replaced

    def words_apart(damage: str) -> Figure:
        kept, replaced = words(damage)
        return Figure(auc(kept, replaced), f"{len(kept)}/{len(replaced)}")

    def rejected(values: Sequence[float]) -> Figure:
        below = sum(value < REJECTED_BELOW for value in values)
        return Figure(below / len(values) if values else None, str(len(values)))

    yield "speech.auc_wrong", told_apart(readings.wrong, "")
    yield "speech.auc_near_miss", told_apart(readings.near, "")
    yield "speech.auc_words", words_apart("")
    right = [aligned(reading, "") for reading in readings.right]
    yield (
        "speech.rejected_right",
        rejected([float(value) if one.aligned else WORST for one in right for value in one.goodness]),
    )
    yield "speech.rejected_replaced", rejected(words("")[1])
    yield "speech.auc_wrong_10db", told_apart(readings.wrong, "noise")
    yield "speech.auc_words_10db", words_apart("noise")
    yield from _grid_figures(media, made)


def _in_grid(media: Media) -> list[int]:
    return [place for place, words in _texts(media).items() if fits_grid(words)]


def _grid_figures(media: Media, made: Made) -> Figures:
    texts = _texts(media)
    places = _in_grid(media)
    errors = [word_errors(texts[place], made(media.job(place, "grid_words"))) for place in places]
    spoken = len(places) * len(GRID)
    yield "speech.wer_grid", Figure(sum(errors) / spoken if spoken else None, str(spoken))


# Damage ----------------------------------------------------------------------------------------------------------


def swayed(frame: Frames, count: int, seed: int) -> Frames:
    """(count, H, W, 3) of one (H, W, 3) frame that is moved and tilted as a whole, slowly and smoothly."""
    from PIL import Image

    height, width = frame.shape[:2]
    lot = np.random.default_rng([seed, count])
    seconds = np.arange(count)[:, None] / FRAME_RATE
    rates, phases = lot.uniform(0.3, 1.2, 3), lot.uniform(0, 2 * np.pi, 3)  # Hz, radians; as heads nod and shake
    right, down, tilt = (np.sin(2 * np.pi * rates * seconds + phases) * [SWAY * height, SWAY * height, TILT]).T
    picture = Image.fromarray(frame)
    moved = []
    for x, y, degrees in zip(right, down, np.radians(tilt), strict=True):
        cos, sin = np.cos(degrees), np.sin(degrees)
        left = width / 2 - cos * (width / 2 + x) - sin * (height / 2 + y)
        top = height / 2 + sin * (width / 2 + x) - cos * (height / 2 + y)
        matrix = (cos, sin, left, -sin, cos, top)
        moved.append(
            np.asarray(picture.transform(picture.size, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC))
        )
    return np.stack(moved)


def _damaged_video(job: Job, frames: Frames) -> Frames:
    middle = frames[len(frames) // 2]
    match job.damage:
        case "":
            return frames
        case "crf35":
            return _encoded(frames, CRF)
        case "half":
            return _halved(frames)
        case "frozen":
            return _encoded(np.repeat(middle[None], len(frames), axis=0), STORED_CRF)
        case "swayed":
            return _encoded(swayed(middle, len(frames), job.seed), STORED_CRF)
        case "jpeg20":
            return _as_jpeg(frames[0])[None]
    raise ValueError(job.damage)


def _encoded(frames: Frames, crf: int) -> Frames:
    """As H.264 and back; an odd last row or column is left out."""
    height, width = frames.shape[1] // 2 * 2, frames.shape[2] // 2 * 2
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "encoded.mp4"
        write_clip(path, frames[:, :height, :width], None, crf=crf)
        return read_video(path)


def _halved(frames: Frames) -> Frames:
    """Half as high and wide; each pixel is the mean of four."""
    from PIL import Image

    size = max(1, frames.shape[2] // 2), max(1, frames.shape[1] // 2)
    return np.stack([np.asarray(Image.fromarray(frame).resize(size, Image.Resampling.BOX)) for frame in frames])


def _as_jpeg(frame: Frames) -> Frames:
    from PIL import Image

    stored = io.BytesIO()
    Image.fromarray(frame).save(stored, "JPEG", quality=JPEG_QUALITY)
    return np.array(Image.open(stored).convert("RGB"))


def _damaged_sound(job: Job, sound: Sound) -> Sound:
    """`noise`, a number of frames by which it is late, or both, as in noise+10."""
    found = re.fullmatch(r"(noise)?([+-][0-9]+)?", job.damage)
    if not found:
        raise ValueError(job.damage)
    samples = sound.samples
    if found[1]:
        white = np.random.default_rng([job.seed, len(samples)]).standard_normal(len(samples))
        rms = float(np.sqrt(np.mean(np.square(samples, dtype=np.float64))))
        samples = (samples + white * rms * 10 ** (-NOISE_DB / 20)).astype(np.float32)
    late = round(int(found[2] or 0) * sound.rate / FRAME_RATE)
    moved = np.zeros_like(samples)
    if late >= 0:
        moved[late:] = samples[: max(0, len(samples) - late)]
    else:
        moved[:late] = samples[-late:]
    return Sound(moved, sound.rate)


# Extraction ------------------------------------------------------------------------------------------------------


def _make(job: Job) -> Any:
    """A record, or the words that were heard. Runs in a worker."""
    if job.sense == "audio":
        sound = _damaged_sound(job, read_audio(job.path))
        match job.feature:
            case "voice_ungated":
                return _ungated(sound)
            case "grid_words":
                return _heard_in_grid(sound)
            case "words_sphinx":
                return align(sound, job.text)
        return EXTRACTORS[job.feature].run(sound)
    side = EXTRACTORS[job.feature].max_side
    frames = read_video(job.path, side) if job.sense == "video" else read_image(job.path, side)[None]
    return EXTRACTORS[job.feature].run(_damaged_video(job, frames))


def _ungated(sound: Sound) -> Voice:
    """The embedding of the whole sound, pauses and all."""
    import soxr

    samples = raise_level(np.asarray(soxr.resample(sound.samples, sound.rate, RATE), dtype=np.float32))
    peak = float(np.abs(sound.samples).max(initial=0.0))
    return Voice(embed_speech(samples), speech_seconds=len(samples) / RATE, peak=peak)


def _heard_in_grid(sound: Sound) -> list[str]:
    """The sentence of GRID's grammar that the decoder hears."""
    import soxr

    decoder = _grid_decoder()
    samples = np.asarray(soxr.resample(sound.samples, sound.rate, RATE), dtype=np.float64)
    decoder.start_utt()
    decoder.process_raw(np.clip(np.rint(samples * 32768), -32768, 32767).astype("<i2").tobytes(), full_utt=True)
    decoder.end_utt()
    found = decoder.hyp()
    return [re.sub(r"\(.*", "", word) for word in found.hypstr.split()] if found else []


def _grid_decoder() -> Any:
    """A new one for every sound: a decoder adapts to what it has heard, and files are heard in any order."""
    from pocketsphinx import Decoder

    decoder = Decoder(loglevel="ERROR", lm=None)
    decoder.add_word("z(2)", "Z EH D", False)  # as GRID's speakers, who are British, say it
    slots = " ".join(f"({slot.replace(' ', ' | ')})" for slot in GRID)
    decoder.add_jsgf_string("grid", f"#JSGF V1.0; grammar grid; public <sentence> = {slots};")
    decoder.activate_search("grid")
    return decoder


# Program ---------------------------------------------------------------------------------------------------------


def _about_files(what: str, places: Callable[[Media], Sequence[int]]) -> Callable[[Media], str]:
    return lambda media: f"{len(places(media))} {what}"


PARTS = {
    "face": Part(
        ("faces_dlib",), _face_jobs, _face_figures, lambda media: _about_pairs(media, media.of("clip", "face"))
    ),
    "voice": Part(
        ("voice_ge2e",), _voice_jobs, _voice_figures, lambda media: _about_pairs(media, media.of("clip", "speech"))
    ),
    "av_corr": Part(
        ("faces_dlib", "speech_energy"),
        _av_corr_jobs,
        _av_corr_figures,
        _about_files("clips whose sync is ok", _in_sync),
    ),
    "lip_motion": Part(("faces_dlib",), _lip_jobs, _lip_figures, _about_files("clips", lambda media: media.of("clip"))),
    "speech": Part(
        ("words_sphinx",),
        _word_jobs,
        _word_figures,
        _about_files("files with a dependable transcript", lambda media: list(_texts(media))),
    ),
}


def line(name: str, figure: Figure) -> str:
    """`name value bar pass|short n`; a comment where there is nothing to judge."""
    bar = BARS[name]
    if figure.value is None:
        return f"# {name}: not measured, n = {figure.n}"
    verdict = "pass" if bar.holds(figure.value) else "short"
    return f"{name} {figure.value:.4f} {bar.side}{bar.limit:g} {verdict} {figure.n}"


def run(folder: Path, only: str, workers: int) -> bool:
    """Prints the figures whose names begin so; whether all reach their bars. UsageError where none can be had."""
    names = [name for name in BARS if name.startswith(only)]
    if not names:
        raise UsageError(f"--only {only}: no figure begins so; expected the beginning of one of {', '.join(BARS)}.")
    media = Media(read_manifest(folder))
    parts = {scale: PARTS[scale] for scale in dict.fromkeys(name.partition(".")[0] for name in names)}
    made = _extracted([job for part in parts.values() for job in part.jobs(media)], parts.values(), workers)
    verdicts = []
    for scale, part in parts.items():
        print(f"# {scale}: {part.about(media)}")
        for name, figure in part.figures(media, made.__getitem__):
            if name in names:
                print(line(name, figure), flush=True)
                verdicts += [] if figure.value is None else [BARS[name].holds(figure.value)]
    if not verdicts:
        raise UsageError(
            f"{folder}: nothing to measure; expected rows of kind clip (with sync ok for av_corr), speech or face of several people."
        )
    return all(verdicts)


def _extracted(jobs: Sequence[Job], parts: Iterable[Part], workers: int) -> dict[Job, Any]:
    """What the workers make of the jobs, each done once."""
    todo = list(dict.fromkeys(jobs))
    if todo:
        ready(list(dict.fromkeys(need for part in parts for need in part.needs)))
    made = {}
    with closing(run_jobs(_make, todo, workers)) as results, tqdm(total=len(todo), unit="job", mininterval=2) as bar:
        for job, result in results:
            made[job] = result
            bar.update()
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where every figure reaches its bar, 1 where one falls short, 2 where the folder cannot be used."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("--only", default="", metavar="PREFIX", help="figures whose names begin so")
    parser.add_argument("--workers", type=int, help="processes (default: one a CPU)")
    given = parser.parse_args(arguments)
    try:
        return 0 if run(given.folder, given.only, check_workers(given.workers)) else 1
    except MediaError as error:
        print(f"validity: {error} Mend the file, or take its row out of the table.", file=sys.stderr)
        return UsageError.exit_code
    except AvbenchError as error:
        print(f"validity: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
