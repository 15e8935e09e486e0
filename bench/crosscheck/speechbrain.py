# /// script
# requires-python = ">=3.9"
# dependencies = ["speechbrain==1.1.2", "torch", "torchaudio", "numpy"]
# ///
"""What SpeechBrain makes of the same sounds and the same checkpoint: cosine of its ECAPA-TDNN embeddings.

    python speechbrain.py < REQUEST.json        run by: avbench selftest --against speechbrain --python PYTHON SOUND SOUND…

Needs an environment of its own: speechbrain imports torchaudio, which must fit its torch. Network, filter banks and
normalisation are the package's, put together as its `spkrec-ecapa-voxceleb` is; sounds are resampled by torchaudio.
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

RATE = 16_000  # Hz


def main() -> None:
    """Reads the request, writes the answer; whatever the package prints goes to stderr."""
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    request = json.load(sys.stdin)
    torch = import_module("torch")
    torch.set_num_threads(1)
    with torch.inference_mode():
        embeddings = embed(torch, request["sounds"], request["weights"]["ecapa-voxceleb"])
    values = {
        f"spk_sim_ecapa {i + 1} {j + 1}": float(torch.nn.functional.cosine_similarity(first, second, dim=0))
        for i, first in enumerate(embeddings)
        for j, second in enumerate(embeddings[:i])
    }
    versions = {name: version(name) for name in ("speechbrain", "torch", "torchaudio")}
    json.dump({"values": values, "versions": versions}, answer)


def embed(torch: Any, sounds: list[str], checkpoint: str) -> list[Any]:
    """One embedding (192,) of each sound."""
    features = import_module("speechbrain.lobes.features")
    normalization = import_module("speechbrain.processing.features")
    ecapa = import_module("speechbrain.lobes.models.ECAPA_TDNN")
    banks = features.Fbank(n_mels=80)
    normalise = normalization.InputNormalization(norm_type="sentence", std_norm=False)
    network = ecapa.ECAPA_TDNN(
        input_size=80,
        channels=[1024, 1024, 1024, 1024, 3072],
        kernel_sizes=[5, 3, 3, 3, 1],
        dilations=[1, 2, 3, 4, 1],
        attention_channels=128,
        lin_neurons=192,
    )
    network.load_state_dict(torch.load(checkpoint, map_location="cpu", weights_only=True), strict=True)
    network.eval()
    embeddings = []
    for path in sounds:
        samples = read(torch, path)[None]
        lengths = torch.ones(1)
        embeddings.append(network(normalise(banks(samples), lengths), lengths)[0, 0])
    return embeddings


def read(torch: Any, path: str) -> Any:
    """Samples at 16 kHz of a mono wav file of 16 bits, full scale 1."""
    with wave.open(path, "rb") as file:
        rate, content = file.getframerate(), file.readframes(file.getnframes())
    samples = torch.frombuffer(bytearray(content), dtype=torch.int16).float() / 32768
    if rate != RATE:
        samples = import_module("torchaudio.functional").resample(samples, rate, RATE)
    return samples


if __name__ == "__main__":
    main()
