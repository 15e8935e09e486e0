"""A talking puppet from a picture of a face and a line: timed speech by espeak-ng, and lips that follow it.

    voice.speak → phonemes with times → visemes.mouth_track → face.animate

Synthetic throughout and made to look it: the demo split and the puppet baseline share it.
"""

from __future__ import annotations

from .face import Motion, Rig, animate, motion, rig
from .visemes import Mouth, mouth_track
from .voice import Phoneme, Speech, Voice, speak

__all__ = [
    "Motion",
    "Mouth",
    "Phoneme",
    "Rig",
    "Speech",
    "Voice",
    "animate",
    "motion",
    "mouth_track",
    "rig",
    "speak",
]
