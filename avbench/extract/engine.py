"""Where networks run, and whether they are the trained ones."""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from ..errors import UsageError

__all__ = ["CPU", "Engine", "engine_of", "exactly", "providers"]


class Engine(NamedTuple):
    """What a network extractor is run with. Equal engines share one loaded network in a process."""

    device: str = "cpu"  # as torch names it: "cpu", "cuda", "cuda:1"
    untrained: bool = False  # tiny networks with random numbers: for trying the line, never for a result

    @property
    def accelerated(self) -> bool:
        """Whether it runs on something else than the CPU."""
        return self.device != "cpu"


CPU = Engine()


def engine_of(device: str = "auto", untrained: bool = False) -> Engine:
    """`auto` takes the GPU where torch sees one. UsageError for a device that is not there. Imports torch unless "cpu"."""
    if device == "cpu":
        return Engine("cpu", untrained)
    count = 0
    if find_spec("torch") is not None:  # `ready` says what is not installed
        import torch

        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    devices = ["cpu", *(["cuda"] if count else []), *(f"cuda:{number}" for number in range(count))]
    if device == "auto":
        return Engine("cuda" if count else "cpu", untrained)
    if device not in devices:
        raise UsageError(f"device {device!r}; found here: {', '.join(devices)}. Give one of these, or auto.")
    return Engine(device, untrained)


def exactly() -> None:
    """Tells torch to compute float32 in float32, the same way every time; call it before a network runs."""
    import torch

    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True


def providers(engine: Engine) -> list[str | tuple[str, dict[str, str]]]:
    """What onnxruntime runs on. UsageError where a GPU is asked for and its build of onnxruntime has none."""
    if not engine.accelerated:
        return ["CPUExecutionProvider"]
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        raise UsageError(
            f"device {engine.device}: the installed onnxruntime runs on CPUs only. "
            "Run: pip uninstall -y onnxruntime && pip install onnxruntime-gpu, or give --device cpu."
        )
    settings = {
        "device_id": engine.device.partition(":")[2] or "0",
        "use_tf32": "0",
        "cudnn_conv_algo_search": "DEFAULT",
    }
    return [("CUDAExecutionProvider", settings)]
