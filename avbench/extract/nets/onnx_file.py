"""Networks that come as ONNX files: how one is opened, checked and run.

A file has one float32 input and float32 outputs. It runs on one thread, in an order that does not vary. Sizes that a
file leaves open are judged when numbers come out of it. The first operators are read from the file itself (Protocol
Buffers, by the field numbers of onnx.proto), because the runtime does not tell them.
"""

from __future__ import annotations

import itertools
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import UsageError, WeightsError
from ..engine import Engine, providers

__all__ = ["OnnxNetwork", "Shape", "first_operators", "fits", "open_onnx"]

Shape = Sequence[int | str | None]  # a name or None: any length

ON_ACCELERATOR = 32  # items that run at once there; on a CPU one, so that results never depend on their neighbours
GRAPH, NODE, NAME, OPERATOR = 7, 1, 3, 4  # fields of ModelProto, GraphProto and, twice, NodeProto
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # wire types


def open_onnx(path: Path, engine: Engine, expected: Shape) -> OnnxNetwork:
    """The network of a file whose one input has the expected shape; WeightsError for another file."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as said

    if engine.accelerated and hasattr(onnxruntime, "preload_dlls"):
        onnxruntime.preload_dlls()  # finds CUDA where torch has brought it
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = 3  # errors: files declare sizes for one input size, and warn of any other
    wanted = providers(engine)
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=wanted)
    except (
        said.Fail,
        said.InvalidArgument,
        said.InvalidGraph,
        said.InvalidProtobuf,
        said.NoModel,
        said.NoSuchFile,
        said.NotImplemented,
    ) as error:
        raise WeightsError(f"{path}: not an ONNX network that can be run ({str(error).splitlines()[0]}).") from error
    first = wanted[0] if isinstance(wanted[0], str) else wanted[0][0]
    if session.get_providers()[0] != first:
        raise UsageError(
            f"device {engine.device}: onnxruntime could not start {first}; it has {', '.join(session.get_providers())}. "
            "Install the CUDA and cuDNN that its version asks for, or give --device cpu."
        )
    return OnnxNetwork(path, session, engine, expected)


class OnnxNetwork:
    """Arrays in, arrays out."""

    def __init__(self, path: Path, session: Any, engine: Engine, expected: Shape) -> None:
        self.path = path
        self._session = session
        inputs = session.get_inputs()
        if len(inputs) != 1 or inputs[0].type != "tensor(float)" or not fits(inputs[0].shape, expected):
            self.refuse(_listed((each.type, each.shape) for each in inputs), f"one float32 input {_shown(expected)}")
        self._input: str = inputs[0].name
        self.outputs: list[Shape] = [tuple(each.shape) for each in session.get_outputs()]
        open_batch = not any(isinstance(shape[0], int) for shape in (inputs[0].shape, *self.outputs) if len(shape))
        self.at_once = ON_ACCELERATOR if engine.accelerated and open_batch else 1

    def __call__(self, batch: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        """All outputs for one input. WeightsError where one of them is no finite float32."""
        outputs = [np.asarray(output) for output in self._session.run(None, {self._input: batch})]
        for output in outputs:
            if output.dtype != np.float32 or not np.isfinite(output).all():
                self.refuse(f"an output of {output.dtype} with infinite or missing numbers", "finite float32")
        return outputs

    def each(self, items: NDArray[np.float32], width: int) -> NDArray[np.float32]:
        """(N, …) items → (N, width) of the one output, in chunks of one size; the last one is filled with zeros."""
        answers = np.zeros((len(items), width), np.float32)
        for first in range(0, len(items), self.at_once):
            part = items[first : first + self.at_once]
            chunk = np.zeros((self.at_once, *items.shape[1:]), np.float32)
            chunk[: len(part)] = part
            (answer,) = self(chunk)
            if answer.shape != (self.at_once, width):
                self.refuse(f"an output {_shown(answer.shape)}", _shown((self.at_once, width)))
            answers[first : first + len(part)] = answer[: len(part)]
        return answers

    def require_outputs(self, *expected: Shape) -> None:
        """WeightsError unless the declared outputs have these shapes, as far as they are declared."""
        if len(self.outputs) != len(expected) or not all(map(fits, self.outputs, expected)):
            self.refuse(f"outputs {', '.join(map(_shown, self.outputs))}", ", ".join(map(_shown, expected)))

    def refuse(self, found: str, expected: str) -> None:
        """Raises WeightsError: this is another network."""
        raise WeightsError(f"{self.path}: the file is of another network: found {found}; expected {expected}.")


def fits(found: Shape, expected: Shape) -> bool:
    """Whether a declared shape may be the expected one: lengths that both name agree."""
    return len(found) == len(expected) and all(
        one == other or not (isinstance(one, int) and isinstance(other, int))
        for one, other in zip(found, expected, strict=True)
    )


def first_operators(path: Path, count: int) -> list[tuple[str, str]]:
    """(operator, name) of the first nodes of a file's graph; WeightsError for a file that is not ONNX."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            nodes = (
                node for graph in _fields(content, 0, len(content), GRAPH) for node in _fields(content, *graph, NODE)
            )
            return [
                (_text(content, node, OPERATOR), _text(content, node, NAME)) for node in itertools.islice(nodes, count)
            ]
    except (OSError, ValueError) as error:
        raise WeightsError(f"{path}: not an ONNX file ({error}).") from error


# Protocol Buffers ------------------------------------------------------------------------------------------------


def _fields(content: mmap.mmap, place: int, end: int, wanted: int) -> Iterator[tuple[int, int]]:
    """Where the values of one field of the message between `place` and `end` begin and end; only those with a length."""
    while place < end:
        key, place = _varint(content, place, end)
        length = 0
        match key & 7:
            case kind if kind == VARINT:
                _, place = _varint(content, place, end)
            case kind if kind == BYTES:
                length, place = _varint(content, place, end)
            case kind if kind == EIGHT_BYTES:
                length = 8
            case kind if kind == FOUR_BYTES:
                length = 4
            case kind:
                raise ValueError(f"wire type {kind} before byte {place}")
        if place + length > end:
            raise ValueError(f"a field would end at byte {place + length} of {end}")
        if key == wanted << 3 | BYTES:
            yield place, place + length
        place += length


def _varint(content: mmap.mmap, place: int, end: int) -> tuple[int, int]:
    """A number of 7 bits a byte, lowest first, and the place after it."""
    value = 0
    for shift in range(0, 70, 7):
        if place >= end:
            break
        byte = content[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
    raise ValueError(f"a number does not end before byte {place}")


def _text(content: mmap.mmap, message: tuple[int, int], field: int) -> str:
    return "".join(content[start:end].decode() for start, end in _fields(content, *message, field))


# What was found and expected -------------------------------------------------------------------------------------


def _listed(inputs: Iterator[tuple[str, Shape]]) -> str:
    return "inputs " + (", ".join(f"{kind} {_shown(shape)}" for kind, shape in inputs) or "none")


def _shown(shape: Shape) -> str:
    return "(" + ", ".join(str(length) if isinstance(length, int) else "any" for length in shape) + ")"
