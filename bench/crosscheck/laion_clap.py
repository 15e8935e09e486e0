# /// script
# requires-python = ">=3.9,<3.13"
# dependencies = ["laion-clap==1.1.7", "torch<2.6", "torchvision", "torchaudio", "librosa", "numpy<2"]
# ///
"""What laion_clap makes of the same sounds and sentences: cosine of its embeddings.

    python laion_clap.py < REQUEST.json        run by: avbench selftest --against laion_clap --python PYTHON SOUND…

Needs an environment of its own: the package wants numpy 1, and its checkpoint holds more than tensors, which torch 2.6
and later refuse. The checkpoint is LAION's own `630k-audioset-best.pt` (1.9 GB, CC0): `checkpoint` in the request, or else
the package downloads it. It is believed, not known, to hold the numbers of laion/clap-htsat-unfused; this is the test.
"""

from __future__ import annotations

import json
import os
import sys
import wave
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

sys.path = [folder for folder in sys.path if Path(folder or ".").resolve() != Path(__file__).resolve().parent]

RATE = 48_000  # Hz
SECONDS = 10  # more than that the package cuts at random


def main() -> None:
    """Reads the request, writes the answer; whatever the package prints goes to stderr."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    sys.argv = sys.argv[:1]  # the package reads the command line
    package, torch = import_module("laion_clap"), import_module("torch")
    torch.set_num_threads(1)
    model = package.CLAP_Module(enable_fusion=False, amodel="HTSAT-tiny", device="cpu")
    model.load_ckpt(**({"ckpt": request["checkpoint"]} if request.get("checkpoint") else {"model_id": 1}))
    model.eval()
    with torch.no_grad():
        sounds = [
            model.get_audio_embedding_from_data(x=read(torch, path)[None], use_tensor=True)[0]
            for path in request["sounds"]
        ]
        # one sentence alone would lose a dimension
        texts = model.get_text_embedding([*request["texts"], "silence"], use_tensor=True)[:-1]
    values = {
        f"clap {i + 1} {j + 1}": float(torch.nn.functional.cosine_similarity(sound, text, dim=0))
        for i, sound in enumerate(sounds)
        for j, text in enumerate(texts)
    }
    json.dump({"values": values, "versions": {name: version(name) for name in ("laion-clap", "torch")}}, answer)


def read(torch: Any, path: str) -> Any:
    """At most 10 s of samples at 48 kHz of a mono wav file of 16 bits, full scale 1."""
    with wave.open(path, "rb") as file:
        rate, content = file.getframerate(), file.readframes(file.getnframes())
    samples = torch.frombuffer(bytearray(content), dtype=torch.int16).float() / 32768
    if rate != RATE:
        resampled = import_module("librosa").resample(samples.numpy(), orig_sr=rate, target_sr=RATE, res_type="soxr_hq")
        samples = torch.from_numpy(resampled)
    return samples[: SECONDS * RATE]


if __name__ == "__main__":
    main()
