"""A line in the voice of a reference sound, as far as espeak-ng and a filter can go.

    reference → pitch level, pitch range, long-term spectrum   = its timbre
    of espeak-ng's clear voices → the one whose spectrum is nearest, its formants moved a little where that is nearer
    pitch and inflection set until the spoken line has the reference's level and range
    filter: reference's spectrum over the line's

What is measured is measured on voiced moments alone, and what sounds between the words is taken off their spectrum, so
that the place where a reference was recorded counts little. Formants are moved as a tape does it: the line is spoken
slower and lower, and played faster, or the other way round.
"""

from __future__ import annotations

import dataclasses
import functools

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..clip import Sound
from ..errors import SplitError
from .pitch import STEP_S, pitch_track
from .voice import Phoneme, Speech, Voice, compare, speak, voice_of

__all__ = ["BANDS_HZ", "Matched", "Timbre", "filtered", "match", "plain", "timbre_of"]

Array = NDArray[np.float64]

# espeak-ng's variants without robots, whispers and effects, without those that cannot change their pitch, and without one
# of which a recogniser (pocketsphinx, forced alignment) rejects two words in three.
VARIANTS = (
    "", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "f1", "f2", "f3", "f4", "f5",
    "Alicia", "Andrea", "Annie", "Denis", "Gene", "Gene2", "Marco", "Michael", "Mike",
    "adam", "anika", "aunty", "belinda", "grandma", "linda", "michel", "steph",
)  # fmt: skip
NUMBERS = "1, 2, 3, 4, 5, 6, 7, 8."  # what voices are compared by: every language can say it
WARPS = (0.88, 0.92, 0.96, 1.0, 1.04, 1.08, 1.12)  # of formants, factors
WORDS_PER_MINUTE = 170

RATE = 16_000  # Hz, of spectra
FFT = 1024
QUEFRENCY_S = 0.002  # detail of a spectrum that is finer than one over this, in Hz, is a voice's harmonics
BANDS_HZ = 700 * (np.geomspace(1 + 100 / 700, 1 + 7600 / 700, 48) - 1)  # even steps of pitch as it is heard
MIN_VOICED_S = 0.4
LEAST_LIMIT_HZ = 1500.0  # a telephone has twice that
LOUD_DB = 20.0  # below a loud voice; what is softer says little of it
QUIET_PERCENT = 25  # of the moments without voice: those in which nothing is said at all
LEAST_LEFT = 0.03  # share of a spectrum that is kept where it is hardly more than what sounds between the words

NEAREST = 3  # voices that are tried where the nearest speaks too slowly for the line
PITCH_WEIGHT = 20.0  # dB of spectrum that an octave of pitch is worth
WARP_WEIGHT = 10.0  # the same of a factor e of formants
PITCH_PER_STEP, LEAST_PITCH, MOST_PITCH = 0.0107, 0, 99  # nepers of frequency a step of espeak-ng's pitch: about
PITCH_TRIES = 5
LEVEL_ERROR, SPREAD_ERROR = 0.01, 0.15  # nepers, semitones: near enough

TAPS = 1025  # of the filter, at 22,050 Hz 46 ms
GAIN_DB = 15.0  # that it changes at most


@dataclasses.dataclass(frozen=True)
class Timbre:
    """What one voice differs from another in, as measured on a sound."""

    hertz: float  # median of the fundamental frequency
    semitones: float  # its spread: half of what lies between the 16th and the 84th of a hundred
    spectrum: Array  # (BANDS,) dB of voiced moments at BANDS_HZ, mean 0 below `limit`
    limit: float  # Hz above which the sound says nothing
    voiced_s: float


@dataclasses.dataclass(frozen=True)
class Matched:
    """A spoken line, and how it came about."""

    speech: Speech
    voice: Voice
    warp: float  # factor on formants
    timbre: Timbre | None  # of the line as it came out


def timbre_of(sound: Sound) -> Timbre | None:
    """The timbre of the voice in a sound; None where it is voiced for less than MIN_VOICED_S or sampled too rarely."""
    import soxr

    track = pitch_track(sound)
    voiced = track > 0
    limit = min(0.45 * sound.rate, float(BANDS_HZ[-1]))
    if voiced.sum() * STEP_S < MIN_VOICED_S or limit < LEAST_LIMIT_HZ:
        return None
    low, middle, high = np.percentile(np.log2(track[voiced]), [16, 50, 84])
    samples = np.asarray(soxr.resample(sound.samples, sound.rate, RATE), np.float64)
    power = _power(samples, len(track))
    level = 10 * np.log10(power.sum(axis=1) + 1e-12)
    loud = voiced & (level > np.percentile(level[voiced], 90) - LOUD_DB)
    mean = power[loud].mean(axis=0)
    if (~voiced).any():  # what is there between the words
        quiet = ~voiced & (level <= np.percentile(level[~voiced], QUIET_PERCENT))
        mean = np.maximum(mean - power[quiet].mean(axis=0), LEAST_LEFT * mean)
    spectrum = np.interp(BANDS_HZ, np.arange(FFT // 2 + 1) * RATE / FFT, _smooth(mean))
    return Timbre(
        hertz=float(2**middle),
        semitones=float(6 * (high - low)),
        spectrum=spectrum - spectrum[limit >= BANDS_HZ].mean(),
        limit=limit,
        voiced_s=float(voiced.sum() * STEP_S),
    )


def plain(text: str, language: str, seconds: float) -> Matched:
    """The line in espeak-ng's own voice of a language, within so many seconds."""
    voice = Voice(voice_of(language), words_per_minute=WORDS_PER_MINUTE)
    speech = speak(text, voice, (0.0, seconds))
    return Matched(speech, voice, 1.0, timbre_of(Sound(speech.samples, speech.rate)))


def match(text: str, language: str, seconds: float, reference: Timbre) -> Matched:
    """The line in the voice of the reference, within so many seconds: of the nearest voices the first that fits in.

    SplitError where none speaks fast enough.
    """
    accent = voice_of(language)
    nearest = _nearest(accent, reference)
    slow = SplitError(f"{accent}: no voice can say {text!r}.")
    for name, warp, own in nearest:
        voice = Voice(name, words_per_minute=round(WORDS_PER_MINUTE / warp))
        try:
            speech, voice, spoken = _in_tune(text, voice, warp, seconds, (own, reference))
            break
        except SplitError as error:
            slow = error
    else:
        raise slow
    speech = dataclasses.replace(speech, samples=filtered(Sound(speech.samples, speech.rate), spoken, reference))
    return Matched(speech, voice, warp, timbre_of(Sound(speech.samples, speech.rate)))


def filtered(sound: Sound, own: Timbre, other: Timbre) -> NDArray[np.float32]:
    """(N,): a sound of one timbre with the long-term spectrum of another, its level kept, without delay."""
    from scipy.signal import fftconvolve, firwin2

    limit = min(own.limit, other.limit, 0.49 * sound.rate)
    within = limit >= BANDS_HZ
    gain = np.where(within, other.spectrum - own.spectrum, 0.0)
    gain[~within] = gain[within][-1]
    gain = np.clip(gain - gain[within].mean(), -GAIN_DB, GAIN_DB)
    grid = np.linspace(0, sound.rate / 2, 513)
    taps = firwin2(TAPS, grid, 10 ** (np.interp(grid, BANDS_HZ, gain) / 20), fs=sound.rate)
    shaped = fftconvolve(sound.samples.astype(np.float64), taps, mode="full")[TAPS // 2 :][: len(sound.samples)]
    before, after = (float(np.sqrt(np.mean(np.square(one, dtype=np.float64)))) for one in (sound.samples, shaped))
    return np.asarray(shaped * (before / max(after, 1e-9)), np.float32)


# Choosing ---------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=8)
def _candidates(accent: str) -> dict[str, Timbre]:
    """The timbre of each voice of an accent, as espeak-ng calls it."""
    names = [f"{accent}+{variant}" if variant else accent for variant in VARIANTS]
    timbres = {name: timbre_of(sound) for name, sound in compare(NUMBERS, names).items()}
    return {name: timbre for name, timbre in timbres.items() if timbre is not None}


def _nearest(accent: str, reference: Timbre) -> list[tuple[str, float, Timbre]]:
    """A few voices, each with its best warp and its own timbre, whose spectra are nearest; the accent's own is the last."""
    candidates = _candidates(accent)
    found = []
    for place, (name, timbre) in enumerate(candidates.items()):
        apart, _, warp = min((_distance(timbre, warp, reference), abs(np.log(warp)), warp) for warp in WARPS)
        found.append((apart, place, name, warp, timbre))
    few = [(name, warp, timbre) for _, _, name, warp, timbre in sorted(found, key=lambda one: one[:2])[:NEAREST]]
    return [*few, (accent, 1.0, candidates[accent])] if accent in candidates else few


def _distance(timbre: Timbre, warp: float, reference: Timbre) -> float:
    """dB between a voice, its formants moved, and the reference."""
    moved = np.interp(BANDS_HZ / warp, BANDS_HZ, timbre.spectrum)
    apart = (moved - reference.spectrum)[min(timbre.limit, reference.limit) >= BANDS_HZ]
    octaves = abs(np.log2(timbre.hertz * warp / reference.hertz))
    return float(apart.std() + PITCH_WEIGHT * octaves + WARP_WEIGHT * abs(np.log(warp)))


# Pitch ------------------------------------------------------------------------------------------------------------


def _in_tune(
    text: str, voice: Voice, warp: float, seconds: float, timbres: tuple[Timbre, Timbre]
) -> tuple[Speech, Voice, Timbre]:
    """The line with pitch and inflection set to the reference's, those that came nearest of a few tries."""
    own, reference = timbres
    step = PITCH_PER_STEP
    voice = msgspec.structs.replace(voice, pitch=_pitch(50 + np.log(reference.hertz / (own.hertz * warp)) / step))
    tried: dict[Voice, tuple[float, Speech, Timbre]] = {}
    for _ in range(PITCH_TRIES):
        speech = _warped(speak(text, voice, (0.0, seconds * warp)), warp)
        spoken = timbre_of(Sound(speech.samples, speech.rate)) or own
        off, wide = np.log(reference.hertz / spoken.hertz), reference.semitones - spoken.semitones
        error = abs(off) / LEVEL_ERROR + abs(wide) / SPREAD_ERROR
        tried[voice] = (float(error), speech, spoken)
        inflection = voice.inflection
        if abs(wide) > SPREAD_ERROR:
            inflection = round(np.clip((inflection + 5) * reference.semitones / max(spoken.semitones, 0.1) - 5, 0, 99))
        voice = msgspec.structs.replace(voice, pitch=_pitch(voice.pitch + off / step), inflection=inflection)
        if voice in tried:
            break
    nearest = min(tried, key=lambda one: tried[one][0])
    return tried[nearest][1], nearest, tried[nearest][2]


def _warped(speech: Speech, warp: float) -> Speech:
    """Speech with its formants and its pitch moved by a factor, played by as much faster."""
    import soxr

    if warp == 1:
        return speech
    samples = np.asarray(soxr.resample(speech.samples, speech.rate * warp, speech.rate), np.float32)
    phonemes = tuple(Phoneme(name, start / warp, end / warp) for name, start, end in speech.phonemes)
    return Speech(samples, speech.rate, phonemes, round(speech.words_per_minute * warp))


def _pitch(wanted: float) -> int:
    return round(min(max(wanted, LEAST_PITCH), MOST_PITCH))


# Spectra ----------------------------------------------------------------------------------------------------------


def _power(samples: Array, count: int) -> Array:
    """(count, FFT // 2 + 1) power spectra of 25 ms around the moments of a pitch track."""
    size = round(0.025 * RATE)
    hop = round(STEP_S * RATE)
    padded = np.pad(samples, (size // 2, size + count * hop))
    blocks = np.lib.stride_tricks.sliding_window_view(padded, size)[::hop][:count]
    power: Array = np.abs(np.fft.rfft(blocks * np.hanning(size), FFT)) ** 2
    return power


def _smooth(power: Array) -> Array:
    """(BINS,) power → dB without the harmonics: its cepstrum faded out up to QUEFRENCY_S."""
    cepstrum = np.fft.irfft(10 * np.log10(power + 1e-12 * power.max() + 1e-20))
    last = round(QUEFRENCY_S * RATE)
    fade = np.zeros(len(cepstrum))
    fade[: last + 1] = 0.5 + 0.5 * np.cos(np.pi * np.arange(last + 1) / (last + 1))
    fade[-last:] = fade[last:0:-1]
    smooth: Array = np.fft.rfft(cepstrum * fade).real
    return smooth
