"""Generated ops as PyTorch operators `torch.ops.fusec.*`, for tracing, transforms and whatever counts operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from torch._C._functorch import peek_interpreter_stack
from torch.autograd import forward_ad

from fusec.runtime.errors import NoBackwardError
from fusec.runtime.plan import Buffer, Results

NAMESPACE = "fusec"

_library: Any = torch.library.Library(NAMESPACE, "FRAGMENT")  # type: ignore[no-untyped-call]
_lock = Lock()
_known: dict[str, dict[str, Any]] = {}


def register(schema: str, run: Callable[..., Results], fake: Callable[..., Results], source: str) -> Any:
    """The operator of a generated file, to be called in its place where a call is traced or differentiated.

    `schema` is `name(Tensor x, float eps) -> Tensor` in PyTorch's notation; `run` takes its arguments on a GPU (or on
    the CPU under the interpreter), `fake` tells the shapes and dtypes of its results. Once per text of the file
    `source`: the same text again gives the same operator, another one that defines the same name gets
    an operator with a suffix of its own.
    """
    name, arguments = schema.split("(", 1)
    text = sha256(Path(source).read_bytes() + schema.encode()).hexdigest()
    with _lock:
        versions = _known.setdefault(name, {})
        if text not in versions:
            unique = f"{name}_{text[:8]}" if versions else name
            versions[text] = _define(name, unique, arguments, run, fake)
        return versions[text]


def empties(outputs: Iterable[Buffer], device: torch.device) -> Results:
    """What a fake function returns: tensors without data, one per output."""
    results = tuple(torch.empty(buffer.shape, dtype=buffer.dtype, device=device) for buffer in outputs)
    return results[0] if len(results) == 1 else results or None


def _define(name: str, unique: str, arguments: str, run: Callable[..., Results], fake: Callable[..., Results]) -> Any:
    _library.define(f"{unique}({arguments}")
    for backend in ("CUDA", "CPU"):
        _library.impl(unique, run, backend)
    torch.library.register_fake(f"{NAMESPACE}::{unique}", fake, lib=_library)
    op = getattr(getattr(torch.ops, NAMESPACE), unique).default
    _library.impl(unique, _autograd(name, op), "Autograd", with_keyset=True)
    return op


def _autograd(name: str, op: Any) -> Callable[..., Results]:
    """What runs before the kernels of an op that has no backward: a gradient through it must not get lost silently."""

    def call(keyset: Any, *args: Any) -> Results:
        def run() -> Results:
            with torch._C._AutoDispatchBelowAutograd():
                results: Results = op.redispatch(keyset & torch._C._after_autograd_keyset, *args)
                return results

        if not _differentiated(args):
            return run()
        if op._schema.is_mutable or forward_ad._current_level >= 0 or peek_interpreter_stack() is not None:
            raise NoBackwardError(f"{name}: {_ADVICE}")
        results: Results = _NoBackward.apply(name, run, *args)  # type: ignore[no-untyped-call]
        return results

    return call


def _differentiated(args: tuple[Any, ...]) -> bool:
    if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
        return True
    return forward_ad._current_level >= 0 and any(isinstance(arg, torch.Tensor) and _has_tangent(arg) for arg in args)


def _has_tangent(tensor: torch.Tensor) -> bool:
    return forward_ad.unpack_dual(tensor).tangent is not None  # type: ignore[no-untyped-call]


class _NoBackward(torch.autograd.Function):
    """The forward alone. Its backward is an operator that raises, not a plain raise: a model may be traced together
    with its backward and then only run forward."""

    @staticmethod
    def forward(ctx: Any, name: str, run: Callable[[], Results], *args: Any) -> Results:
        ctx.name = name
        ctx.shapes = [arg.shape if isinstance(arg, torch.Tensor) else None for arg in args]
        return run()

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        grad = next(grad for grad in grads if grad is not None)
        needed = zip(ctx.shapes, ctx.needs_input_grad[2:], strict=True)
        missing = [torch.ops.fusec.no_backward(grad, shape, ctx.name) if need else None for shape, need in needed]
        return (None, None, *missing)


def _no_backward(grad: torch.Tensor, shape: list[int], op: str) -> torch.Tensor:
    raise NoBackwardError(f"{op}: {_ADVICE}")


def _no_backward_fake(grad: torch.Tensor, shape: list[int], op: str) -> torch.Tensor:
    return grad.new_empty(shape)


_ADVICE = "no backward is built yet; call it under torch.no_grad() or on detached tensors, or train with its reference"

_library.define("no_backward(Tensor grad, SymInt[] shape, str op) -> Tensor")
_library.impl("no_backward", _no_backward, "CompositeExplicitAutograd")
torch.library.register_fake(f"{NAMESPACE}::no_backward", _no_backward_fake, lib=_library)
