"""What a computation takes: counted on tensors without numbers, or measured on the device itself.

    work, networks on "meta" → operations, peak of live bytes: of full-size networks within seconds, on any machine
    work, networks on a device → seconds, and the peak of a GPU

Nothing is estimated by formula that can be run instead: the work is the code that makes clips. On "meta" a block or a
piece of a picture is run once for each kind of input, and what it took is counted again for its equals.

Conventions. An operation (FLOP) is a multiplication or an addition of matrices, convolutions and attention; all else is
not counted, and hardly takes part. Bytes are those that live at once beside the networks' own. Work has a beginning, done
once for a clip, and a run, which is repeated.
"""

from __future__ import annotations

import gc
import statistics
import time
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from torch.utils import flop_counter
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

from ...errors import NotFinite
from .. import networks as loading

__all__ = ["Begin", "Measured", "Meter", "Metered", "Network", "Run", "measured", "metered"]

Network: TypeAlias = Any  # of diffusers or transformers: to type checkers their classes are empty
Run: TypeAlias = Callable[[], object]
Begin: TypeAlias = Callable[[Mapping[str, Network], torch.device], Run]

ROUNDS, LONG_SECONDS = 3, 10.0  # of a measurement, after a first that is not counted


class Metered(NamedTuple):
    """Operations of the beginning and of a run; bytes beside the networks'."""

    begun: int
    run: int
    activations: int


class Measured(NamedTuple):
    """Seconds of the beginning and of a run, the peak of a GPU in bytes beside the networks', and where they are from.

    None is what was not measured; `source` says why.
    """

    begun: float | None
    run: float | None
    activations: int | None
    source: str


def metered(begin: Begin, networks: Mapping[str, Network]) -> Metered:
    """What work with these networks on "meta" takes."""
    with ExitStack() as undo, torch.no_grad(), Meter() as meter:
        for part, network in networks.items():
            if part == "transformer":
                for child in network.children():  # positions have numbers; what is made of them has none
                    undo.callback(child.register_forward_pre_hook(_inputs_to_meta).remove)
                _once(network.transformer_blocks[0], meter, undo)
            elif part == "vae":
                _once(network.decoder, meter, undo)
                for blend in ("blend_v", "blend_h"):  # in place, row by row: it takes nothing
                    setattr(network, blend, lambda _before, after, _extent: after)
                    undo.callback(delattr, network, blend)
        run = begin(networks, torch.device("meta"))
        begun = meter.flops
        run()
        return Metered(begun, meter.flops - begun, meter.peak)


def measured(begin: Begin, build: Callable[[], Mapping[str, Network]], place: torch.device) -> Measured:
    """Work done a few times with networks of random numbers; not measured where the device has no room for it."""
    try:
        return _measured(begin, build, place)
    except NotFinite as error:  # of random numbers
        return Measured(None, None, None, f"unknown: {error}")
    except (MemoryError, RuntimeError) as error:
        if not loading.is_out_of_memory(error):
            raise
        return Measured(None, None, None, f"unknown: {place} has no room to try it now")
    finally:
        if place.type == "cuda":
            gc.collect()  # else what refers to itself keeps its memory
            torch.cuda.empty_cache()


# Counting --------------------------------------------------------------------------------------------------------


class Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts operations, and bytes of what is made under it and lives at once: `flops`, `live`, `peak`.

    Tensors on `device` count, by their storage; those that were there before do not. On "meta", attention is no matrix
    of queries and keys, as it is none on a GPU.
    """

    def __init__(self, device: str = "meta") -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.flops = self.live = self.peak = 0
        self._known: dict[int, Any] = {}
        self._functions = _Functions(self)

    def __enter__(self) -> Meter:
        super().__enter__()  # type: ignore[no-untyped-call]
        self._functions.__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: Any) -> None:
        self._functions.__exit__(*error)  # type: ignore[no-untyped-call]
        super().__exit__(*error)  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        for each in tree_leaves((args, kwargs)):
            self._note(each, there=True)
        answer = func(*args, **kwargs)
        for each in tree_leaves(answer):
            self._note(each)
        formula = flop_counter.flop_registry.get(func.overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **kwargs, out_val=answer)
        return answer

    def reached(self, live: int) -> None:
        """Notes that so many bytes lived."""
        self.peak = max(self.peak, live)

    def _note(self, value: object, there: bool = False) -> None:
        """Follows the storage of a tensor until it is gone; one that was there before adds nothing."""
        if not isinstance(value, Tensor) or value.device.type != self.device:
            return
        storage = value.untyped_storage()
        key, size = storage._cdata, 0 if there else storage.nbytes()
        if key in self._known:
            return

        def gone(_: object) -> None:
            self.live -= size
            del self._known[key]

        self._known[key] = weakref.ref(storage, gone)
        self.live += size
        self.reached(self.live)


class _Functions(TorchFunctionMode):
    """On "meta": attention as a GPU computes it, tensors from elsewhere beside those without numbers; all are finite."""

    def __init__(self, meter: Meter) -> None:
        super().__init__()
        self.meter = meter

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        if not any(each.is_meta for each in tensors):
            return func(*args, **kwargs)
        if not all(each.is_meta for each in tensors):
            args, kwargs = tree_map(_to_meta, (args, kwargs))
        if func is Tensor.cpu:
            return tensors[0]
        if func is Tensor.numpy:  # a picture or a sound of zeros, which take no room
            return np.broadcast_to(torch.zeros((), dtype=tensors[0].dtype).numpy(), tensors[0].shape)
        if func in (torch.isfinite, Tensor.isfinite):
            func(*args, **kwargs)
            return torch.tensor(True)
        if func is functional.scaled_dot_product_attention:
            query, key, value = [*args, *(kwargs[name] for name in ("query", "key", "value") if name in kwargs)][:3]
            self.meter.flops += 2 * query.shape[:-1].numel() * key.shape[-2] * (query.shape[-1] + value.shape[-1])
            batch, heads, count, _ = query.shape
            return query.new_empty(batch, count, heads, value.shape[-1]).transpose(1, 2)
        return func(*args, **kwargs)


# Once for its equals -------------------------------------------------------------------------------------------


class _Kept(NamedTuple):
    """What a run of a module took, and what it gave."""

    flops: int
    extra: int  # bytes that lived, beside those that did before
    answer: Any


def _once(module: nn.Module, meter: Meter, undo: ExitStack) -> None:
    """Makes a module run once for each kind of input; to its equals it says what it took, and gives empty tensors."""
    run = module.forward
    known: dict[Any, _Kept] = {}
    hooked = list(module.modules())

    def forward(*args: Any, **kwargs: Any) -> Any:
        kind = (
            *(_shape(each) for each in tree_leaves((args, kwargs))),
            *(len(each._forward_hooks) for each in hooked),
        )
        before, peak, flops = meter.live, meter.peak, meter.flops
        if kind not in known:
            meter.peak = before
            answer = run(*args, **kwargs)
            known[kind] = _Kept(meter.flops - flops, meter.peak - before, tree_map(_shape, answer))
            meter.reached(peak)
            return answer
        kept = known[kind]
        meter.flops += kept.flops
        meter.reached(before + kept.extra)
        return tree_map(_empty, kept.answer, is_leaf=lambda each: isinstance(each, _Shape))

    module.forward = forward
    undo.callback(delattr, module, "forward")


class _Shape(NamedTuple):
    """A tensor without its numbers."""

    shape: torch.Size
    stride: tuple[int, ...]
    dtype: torch.dtype


def _shape(value: object) -> object:
    return _Shape(value.shape, value.stride(), value.dtype) if isinstance(value, Tensor) else value


def _empty(value: Any) -> Any:
    if not isinstance(value, _Shape):
        return value
    return torch.empty_strided(value.shape, value.stride, dtype=value.dtype, device="meta")


def _to_meta(value: Any) -> Any:
    return value.to("meta") if isinstance(value, Tensor) and not value.is_meta else value


def _inputs_to_meta(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    return tuple(map(_to_meta, inputs))


# Measuring -------------------------------------------------------------------------------------------------------


def _measured(begin: Begin, build: Callable[[], Mapping[str, Network]], place: torch.device) -> Measured:
    gpu = place.type == "cuda"
    networks = build()
    before = torch.cuda.memory_allocated(place) if gpu else 0
    if gpu:
        torch.cuda.reset_peak_memory_stats(place)
    with torch.no_grad():
        begin(networks, place)()  # libraries choose and compile in the first
        begun, run = _clocked(lambda: begin(networks, place), place)
        spent = [_clocked(run, place)[0]]
        while len(spent) < ROUNDS and sum(spent) < LONG_SECONDS:
            spent.append(_clocked(run, place)[0])
    peak = torch.cuda.max_memory_allocated(place) - before if gpu else None
    return Measured(begun, statistics.median(spent), peak, f"measured on {place}")


def _clocked(run: Callable[[], Any], place: torch.device) -> tuple[float, Any]:
    """Seconds until the device has done it, and what it gave."""
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    start = time.perf_counter()
    answer = run()
    if place.type == "cuda":
        torch.cuda.synchronize(place)
    return time.perf_counter() - start, answer
