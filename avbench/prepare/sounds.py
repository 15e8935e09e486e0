"""Places to speak in, made from seeded noise: what a prompt's `environment` names and a clip has under its speech.

Each place is a function of length, rate and a random generator that adds noises and small events in the rough way
they happen there. They are recognisable, not lifelike. Every one is returned at a root mean square of 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..errors import unknown

__all__ = ["PLACES", "place", "under"]

Samples = NDArray[np.float32]
Series = NDArray[np.float64]
Rng = np.random.Generator


def place(name: str, seconds: float, rate: int, seed: int) -> Samples:
    """(N,) of a place at a root mean square of 1; the same arguments give the same samples."""
    if name not in PLACES:
        raise unknown("place", name, PLACES)
    count = round(seconds * rate)
    samples = PLACES[name](count, rate, np.random.default_rng(seed))
    samples = samples - samples.mean()
    return np.asarray(samples / _rms(samples), np.float32)


def under(speech: Samples, span: tuple[int, int], place: Samples, snr_db: float) -> Samples:
    """Speech with a place under it, `snr_db` below the speech's own level within `span` (first sample, end)."""
    level = float(np.sqrt(np.mean(np.square(speech[slice(*span)], dtype=np.float64))))
    mixed: Samples = (speech + place * np.float32(level * 10 ** (-snr_db / 20))).astype(np.float32)
    return mixed


# Places --------------------------------------------------------------------------------------------------------


def _rain(count: int, rate: int, rng: Rng) -> Series:
    """A steady hiss, a low patter, and single drops nearby."""
    hiss = _noise(count, rate, rng, 900, 9000, tilt_db=-2) * _wander(count, rate, rng, 0.25)
    patter = _noise(count, rate, rng, 150, 900)
    drops = np.zeros(count)
    for _ in range(rng.poisson(45 * count / rate)):
        tone = _ping(rate, 0.03, rng.uniform(900, 4500), 0.006)
        _add(drops, tone * rng.exponential(0.5), int(rng.integers(count)))
    return hiss + 0.5 * patter + 4.0 * drops


def _street(count: int, rate: int, rng: Rng) -> Series:
    """The rumble of a town, and cars that pass."""
    sound = 0.8 * _noise(count, rate, rng, 40, 400, tilt_db=-4) + 0.12 * _noise(count, rate, rng, 400, 3000)
    seconds = np.arange(count) / rate
    moment = rng.uniform(0.5, 1.5)
    while moment < count / rate:
        # Engine first and last, tyres when it is nearest.
        away = (seconds - moment) / rng.uniform(0.6, 0.9)
        engine = _noise(count, rate, rng, 60, 500, tilt_db=-3) / (1 + away**2)
        tyres = _noise(count, rate, rng, 500, 5000, tilt_db=-3) / (1 + (1.6 * away) ** 2) ** 1.5
        sound += rng.uniform(0.9, 1.4) * (engine + 0.7 * tyres)
        moment += rng.uniform(1.6, 2.8)
    return sound


def _cafe(count: int, rate: int, rng: Rng) -> Series:
    """People talking all at once, too far to be understood, and cups."""
    sound = 0.25 * _noise(count, rate, rng, 120, 2500, tilt_db=-3)
    for _ in range(7):
        sound += rng.uniform(0.5, 1.0) * _murmur(count, rate, rng)
    for _ in range(rng.poisson(1.1 * count / rate)):
        clink = np.sum([_ping(rate, 0.25, rng.uniform(2200, 6500), rng.uniform(0.02, 0.06)) for _ in range(4)], axis=0)
        _add(sound, clink * rng.uniform(0.1, 0.35), int(rng.integers(count)))
    return sound


def _shore(count: int, rate: int, rng: Rng) -> Series:
    """Waves that swell, break and run out, and wind."""
    seconds = np.arange(count) / rate
    phase = seconds / rng.uniform(3.2, 4.2) + rng.uniform(0, 1)
    swell = 0.25 + np.sin(np.pi * (phase % 1)) ** 3
    breaking = 0.1 + np.clip(np.sin(np.pi * ((phase - 0.18) % 1)), 0, None) ** 6
    wind = _noise(count, rate, rng, 80, 600, tilt_db=-5) * _wander(count, rate, rng, 0.5)
    return (
        _noise(count, rate, rng, 60, 900, tilt_db=-3) * swell
        + _noise(count, rate, rng, 900, 8000, tilt_db=-2) * (breaking)
        + 0.4 * wind
    )


def _kitchen(count: int, rate: int, rng: Rng) -> Series:
    """The hum and air of an extractor fan, and a tap that drips."""
    seconds = np.arange(count) / rate
    mains = 50.0
    hum = np.sum([np.sin(2 * np.pi * (mains * k * seconds + rng.uniform())) / k for k in (1, 2, 3, 4, 6, 8)], axis=0)
    blades = _noise(count, rate, rng, 180, 3500, tilt_db=-3) * (1 + 0.25 * np.sin(2 * np.pi * 17 * seconds))
    drips = np.zeros(count)
    moment = rng.uniform(0.2, 0.8)
    while moment < count / rate:
        drip = _chirp(rate, 0.05, 900, 1900) * np.exp(-np.arange(int(0.05 * rate)) / (0.012 * rate))
        _add(drips, drip, int(moment * rate))
        moment += rng.uniform(0.75, 0.95)
    return np.asarray(0.5 * hum + blades + 5.0 * drips)


def _park(count: int, rate: int, rng: Rng) -> Series:
    """Leaves in a light wind, and birds."""
    sound = 0.5 * _noise(count, rate, rng, 300, 6000, tilt_db=-4) * _wander(count, rate, rng, 0.6)
    sound += 0.3 * _noise(count, rate, rng, 60, 300, tilt_db=-3)
    for _ in range(3):
        base, loud = rng.uniform(2400, 4800), rng.uniform(0.5, 1.5)
        moment = rng.uniform(0.0, 1.2)
        while moment < count / rate:
            span = rng.uniform(0.05, 0.14)
            for note in range(rng.integers(2, 6)):
                start = base * rng.uniform(0.9, 1.15)
                song = _chirp(rate, span, start, start * rng.uniform(0.75, 1.35)) * np.hanning(int(span * rate))
                _add(sound, loud * song, int((moment + note * span * 1.4) * rate))
            moment += rng.uniform(0.9, 2.2)
    return sound


PLACES: dict[str, Callable[[int, int, Rng], Series]] = {
    "cafe": _cafe,
    "kitchen": _kitchen,
    "park": _park,
    "rain": _rain,
    "shore": _shore,
    "street": _street,
}


# What they are made of -------------------------------------------------------------------------------------------


def _noise(count: int, rate: int, rng: Rng, low: float, high: float, tilt_db: float = 0.0) -> Series:
    """Noise between two frequencies (soft edges), `tilt_db` an octave, at a root mean square of 1."""
    from scipy.fft import irfft, next_fast_len, rfft, rfftfreq

    size = next_fast_len(count, real=True)
    frequency = np.maximum(rfftfreq(size, 1 / rate), 1.0)
    shape = 1 / np.sqrt((1 + (low / frequency) ** 6) * (1 + (frequency / high) ** 6))
    shape *= 10 ** (tilt_db / 20 * np.log2(frequency / low))
    noise: Series = irfft(rfft(rng.standard_normal(size)) * shape, size)[:count]
    return noise / _rms(noise)


def _wander(count: int, rate: int, rng: Rng, depth: float) -> Series:
    """A slow gain around 1 that changes by about `depth`."""
    knots = max(3, round(2.5 * count / rate) + 2)
    gains = np.exp(depth * rng.standard_normal(knots) * 0.6)
    gain: Series = np.interp(np.linspace(0, knots - 1, count), np.arange(knots), gains)
    return gain


def _ping(rate: int, seconds: float, hertz: float, decay: float) -> Series:
    moments = np.arange(int(seconds * rate)) / rate
    tone: Series = np.sin(2 * np.pi * hertz * moments) * np.exp(-moments / decay)
    return tone


def _chirp(rate: int, seconds: float, first: float, last: float) -> Series:
    moments = np.arange(int(seconds * rate)) / rate
    tone: Series = np.sin(2 * np.pi * (first + 0.5 * (last - first) * moments / seconds) * moments)
    return tone


def _murmur(count: int, rate: int, rng: Rng) -> Series:
    """One talker without words: syllables of harmonics under two wandering formants."""
    sound = np.zeros(count)
    pitch, moment = rng.uniform(95, 230), rng.uniform(0, 0.4)
    while moment < count / rate:
        span = rng.uniform(0.11, 0.26)
        size = int(span * rate)
        tone = pitch * rng.uniform(0.88, 1.12)
        harmonics = tone * np.arange(1, int(2800 / tone) + 1)
        formants, widths = (rng.uniform(300, 800), rng.uniform(900, 2300)), (120.0, 220.0)
        strength = np.sum([1 / (1 + ((harmonics - f) / w) ** 2) for f, w in zip(formants, widths, strict=True)], axis=0)
        # Powers of one rotating number are its harmonics: a sine each would cost ten times as much.
        turn = np.exp(2j * np.pi * tone * np.arange(size) / rate)
        wave = np.imag(np.polynomial.polynomial.polyval(turn, np.concatenate([[0.0], strength])))
        _add(sound, wave * np.hanning(size), int(moment * rate))
        moment += span * rng.uniform(0.8, 1.1) + (rng.uniform(0.2, 0.6) if rng.uniform() < 0.15 else 0.0)
    return sound / (_rms(sound) + 1e-9)


def _rms(samples: Series) -> float:
    return float(np.sqrt(np.mean(samples**2)))


def _add(sound: Series, event: Series, first: int) -> None:
    """Adds an event in place; what lies beyond the end is lost."""
    room = event[: max(0, len(sound) - first)]
    sound[first : first + len(room)] += room
