"""A talking puppet from a picture of a face and a line: timed speech by espeak-ng, and lips that follow it.

    voice.speak → phonemes with times → visemes.mouth_track → face.animate
    a reference sound → matching.timbre_of → matching.match: the line in a voice like the reference's

Synthetic throughout and made to look it: the demo split and the classical baseline share it.
"""

from __future__ import annotations

from .face import Motion, Rig, animate, motion, rig
from .matching import Matched, Timbre, filtered, match, plain, timbre_of
from .pitch import pitch_track
from .visemes import Mouth, mouth_track
from .voice import Phoneme, Speech, Voice, speak

__all__ = [
    "Matched",
    "Motion",
    "Mouth",
    "Phoneme",
    "Rig",
    "Speech",
    "Timbre",
    "Voice",
    "animate",
    "filtered",
    "match",
    "motion",
    "mouth_track",
    "pitch_track",
    "plain",
    "rig",
    "speak",
    "timbre_of",
]
