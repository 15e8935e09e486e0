# /// script
# requires-python = ">=3.9"
# dependencies = ["openai-whisper==20250625", "torch", "numpy"]
# ///
"""What OpenAI's whisper reads out of the same sounds, and what its normaliser makes of the same sentences.

    python openai_whisper.py < REQUEST.json        run by: avbench selftest --against openai_whisper --python PYTHON SOUND…

Needs an environment of its own: the package brings triton and numba, a gigabyte, also where there is no GPU. The
checkpoint is OpenAI's own `large-v3.pt` (3 GB, MIT): `checkpoint` in the request, or else the package downloads it.
Decoding is one pass of five beams at temperature 0, without the package's retries, in float32.
"""

from __future__ import annotations

import json
import os
import sys
import wave
from importlib import import_module
from importlib.metadata import version
from typing import Any

RATE = 16_000  # Hz
DECODING = {
    "language": "en",
    "task": "transcribe",
    "beam_size": 5,
    "temperature": 0.0,
    "compression_ratio_threshold": None,
    "logprob_threshold": None,
    "no_speech_threshold": None,
    "condition_on_previous_text": False,
    "without_timestamps": True,
    "fp16": False,
}


def main() -> None:
    """Reads the request, writes the answer; whatever the package prints goes to stderr."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    clean = import_module("whisper.normalizers").EnglishTextNormalizer()
    values = {f"normalised {number + 1}": clean(text).strip() for number, text in enumerate(request["texts"])}
    if request["sounds"]:
        model = import_module("whisper").load_model(request.get("checkpoint") or "large-v3", device="cpu")
        for number, path in enumerate(request["sounds"]):
            values[f"words {number + 1}"] = clean(model.transcribe(read(path), **DECODING)["text"]).strip()
    json.dump({"values": values, "versions": {name: version(name) for name in ("openai-whisper", "torch")}}, answer)


def read(path: str) -> Any:
    """Samples of a mono wav file of 16 bits at 16 kHz, full scale 1."""
    numpy = import_module("numpy")
    with wave.open(path, "rb") as file:
        if file.getframerate() != RATE:
            raise SystemExit(f"{path}: {file.getframerate()} Hz; expected {RATE}")
        content = file.readframes(file.getnframes())
    return numpy.frombuffer(content, dtype="<i2").astype("float32") / 32768


if __name__ == "__main__":
    main()
