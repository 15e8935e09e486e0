"""Speaks one line with espeak-ng, as a program of its own: JSON on stdin; one line of JSON, then samples, on stdout.

espeak-ng is under the GPL and keeps its state in global variables, so that the second line that a process
speaks differs from the same line spoken first. Both are reasons to give each line a process. The standard
library is all that this file needs; `voice.speak` is its only caller.

    in   {"library", "data", "text", "voice", "pitch", "inflection", "words_per_minute": [first, least, most],
          "seconds": [least, most]}
    out  {"rate", "words_per_minute", "phonemes": [[IPA, first sample, end sample], …]} and 16-bit little-endian samples
    in   {"library", "data", "text", "voices"}: the text by each voice as it is, to compare them by; here one process
         speaks them all, since the order is always the same
    out  {"rate", "samples": [how many of each voice]} and 16-bit little-endian samples, voice after voice
         or, of both, {"problem": …}: what is wrong with the request
"""

from __future__ import annotations

import array
import ctypes
import json
import sys
from collections.abc import Callable
from typing import Any

__all__ = ["main"]

# From espeak-ng's speak_lib.h.
RETRIEVAL = 1  # espeak_AUDIO_OUTPUT: hand the samples to the callback
PHONEME_EVENTS, IPA_NAMES, DONT_EXIT = 1, 2, 0x8000  # espeakINITIALIZE_*
RATE, PITCH, RANGE = 1, 3, 4  # espeak_PARAMETER
CHARS_UTF8 = 1
EVENT_END_OF_LIST, EVENT_PHONEME = 0, 7

SEED = ctypes.c_long(1)
TRIES = 6  # syntheses to find a speed; each takes some 50 ms


class _Identity(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Identity),
    ]


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))

_Spoken = tuple[bytes, list[tuple[str, int, int]]]  # samples; phonemes with first and end sample


class _Problem(Exception):
    """What is wrong with the request, for the caller to say."""


def main() -> None:
    """Answers the request on stdin."""
    request = json.load(sys.stdin)
    try:
        header, samples = _answer(request)
    except _Problem as problem:
        header, samples = {"problem": str(problem)}, b""
    sys.stdout.buffer.write(json.dumps(header).encode() + b"\n" + samples)


def _answer(request: dict[str, Any]) -> tuple[dict[str, Any], bytes]:
    library = ctypes.CDLL(request["library"])
    rate = library.espeak_Initialize(RETRIEVAL, 0, request["data"].encode(), PHONEME_EVENTS | IPA_NAMES | DONT_EXIT)
    if rate <= 0:
        raise _Problem(f"espeak-ng does not start with the data in {request['data']} (code {rate})")
    if "voices" in request:
        spoken = [_as_it_is(library, voice, request["text"]) for voice in request["voices"]]
        return {"rate": rate, "samples": [len(samples) // 2 for samples in spoken]}, b"".join(spoken)
    _take_voice(library, request["voice"])
    library.espeak_SetParameter(PITCH, request["pitch"], 0)
    library.espeak_SetParameter(RANGE, request["inflection"], 0)

    def say(words_per_minute: int) -> _Spoken:
        library.espeak_ng_SetRandSeed(SEED)  # else breath and creak are seeded by the time of day
        library.espeak_SetParameter(RATE, words_per_minute, 0)
        return _synthesise(library, request["text"].encode())

    speed, (samples, phonemes) = _fitting(say, rate, request)
    return {"rate": rate, "words_per_minute": speed, "phonemes": phonemes}, samples


def _take_voice(library: ctypes.CDLL, voice: str) -> None:
    if library.espeak_SetVoiceByName(voice.encode()) != 0:
        raise _Problem(f"espeak-ng has no voice {voice!r}")


def _as_it_is(library: ctypes.CDLL, voice: str, text: str) -> bytes:
    _take_voice(library, voice)
    library.espeak_ng_SetRandSeed(SEED)
    return _synthesise(library, text.encode())[0]


def _fitting(say: Callable[[int], _Spoken], rate: int, request: dict[str, Any]) -> tuple[int, _Spoken]:
    """The voice's own speed if the line then lasts as long as it may; else the nearest speed that was found to fit."""
    speed, slowest, fastest = request["words_per_minute"]
    least, most = request["seconds"]
    seconds = 0.0
    for _ in range(TRIES):
        spoken = say(speed)
        heard = [(first, end) for name, first, end in spoken[1] if name]
        if not heard:
            raise _Problem(f"nothing in {request['text']!r} can be spoken")
        seconds = (heard[-1][1] - heard[0][0]) / rate
        if least <= seconds <= most:
            return speed, spoken
        # Speech takes about as long as one over its speed; aim a tenth inside the bound that was missed.
        goal = most - 0.1 * (most - least) if seconds > most else least + 0.1 * (most - least)
        wanted = round(speed * seconds / goal)
        if wanted == speed:
            wanted += 1 if seconds > most else -1
        if not slowest <= wanted <= fastest and speed in (slowest, fastest):
            break
        speed = min(max(wanted, slowest), fastest)
    raise _Problem(
        f"{request['text']!r} takes {seconds:.2f} s at {speed} words a minute; expected {least:g} to {most:g} s at "
        f"{slowest} to {fastest} words a minute: {'shorten' if seconds > most else 'lengthen'} the line"
    )


def _synthesise(library: ctypes.CDLL, text: bytes) -> _Spoken:
    pieces: list[bytes] = []
    starts: list[tuple[str, int]] = []

    def receive(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, 2 * count))
        number = 0
        while events[number].type != EVENT_END_OF_LIST:
            event = events[number]
            if event.type == EVENT_PHONEME:
                raw = ctypes.string_at(ctypes.addressof(event.id), 8).split(b"\0")[0]
                starts.append((raw.decode("utf-8", "ignore"), event.sample))  # 8 bytes may end inside a letter
            number += 1
        return 0

    callback = _CALLBACK(receive)
    library.espeak_SetSynthCallback(callback)
    code = library.espeak_Synth(text, len(text) + 1, 0, 1, 0, CHARS_UTF8, None, None)
    if code != 0:
        raise _Problem(f"espeak-ng refuses the line (code {code})")
    library.espeak_Synchronize()
    samples = b"".join(pieces)
    if sys.byteorder == "big":
        swapped = array.array("h", samples)
        swapped.byteswap()
        samples = swapped.tobytes()
    ends = [start for _, start in starts[1:]] + [len(samples) // 2]
    return samples, [(name, start, max(start, end)) for (name, start), end in zip(starts, ends, strict=True)]


if __name__ == "__main__":
    main()
