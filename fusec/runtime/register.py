"""Generated ops as PyTorch operators `torch.ops.fusec.*`, for tracing, transforms and whatever counts operators."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from threading import Lock
from typing import Any

import torch

from fusec.runtime.errors import NoBackwardError
from fusec.runtime.plan import Buffer, Results

NAMESPACE = "fusec"

_library: Any = torch.library.Library(NAMESPACE, "FRAGMENT")  # type: ignore[no-untyped-call]
_lock = Lock()
_known: dict[str, dict[str, Any]] = {}


def register(schema: str, run: Callable[..., Results], fake: Callable[..., Results]) -> Any:
    """The operator of a generated file, to be called in its place where a call is traced or differentiated.

    `schema` is `name(Tensor x, float eps) -> Tensor` in PyTorch's notation; `run` takes its arguments on a GPU (or on
    the CPU under the interpreter), `fake` tells the shapes and dtypes of its results. Once per text of the file that
    defines `run`: the same file again gives the same operator, another file that defines the same name gets an
    operator with a suffix of its own.
    """
    name, arguments = schema.split("(", 1)
    text = sha256(Path(run.__code__.co_filename).read_bytes() + schema.encode()).hexdigest()
    with _lock:
        versions = _known.setdefault(name, {})
        if text not in versions:
            unique = f"{name}_{text[:8]}" if versions else name
            versions[text] = _define(unique, arguments, run, fake)
        return versions[text]


def empties(outputs: Iterable[Buffer], device: torch.device) -> Results:
    """What a fake function returns: tensors without data, one per output."""
    results = tuple(torch.empty(buffer.shape, dtype=buffer.dtype, device=device) for buffer in outputs)
    return results[0] if len(results) == 1 else results or None


def _define(name: str, arguments: str, run: Callable[..., Results], fake: Callable[..., Results]) -> Any:
    qualified = f"{NAMESPACE}::{name}"
    _library.define(f"{name}({arguments}")
    for backend in ("CUDA", "CPU"):
        _library.impl(name, run, backend)
    torch.library.register_fake(qualified, fake, lib=_library)
    op = getattr(getattr(torch.ops, NAMESPACE), name).default
    if op._schema.is_mutable:
        _library.impl(name, _ungraded(name, op), "Autograd", with_keyset=True)
    else:
        torch.library.register_autograd(qualified, _backward(name), setup_context=_remember_shapes, lib=_library)
    return op


def _remember_shapes(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    ctx.shapes = [value.shape if isinstance(value, torch.Tensor) else None for value in inputs]


def _backward(name: str) -> Callable[..., tuple[torch.Tensor | None, ...]]:
    # An operator and not a plain raise: a model may be traced with its backward and then only run forward.
    def backward(ctx: Any, *grads: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        grad = next(grad for grad in grads if grad is not None)
        return tuple(
            torch.ops.fusec.no_backward(grad, shape, name) if needed else None
            for shape, needed in zip(ctx.shapes, ctx.needs_input_grad, strict=True)
        )

    return backward


def _ungraded(name: str, op: Any) -> Callable[..., Results]:
    def call(keyset: Any, *args: Any) -> Results:
        if torch.is_grad_enabled() and torch._C._any_requires_grad(*args):
            raise NoBackwardError(f"{name}: {_ADVICE}")
        with torch._C._AutoDispatchBelowAutograd():
            results: Results = op.redispatch(keyset & torch._C._after_autograd_keyset, *args)
            return results

    return call


def _no_backward(grad: torch.Tensor, shape: list[int], op: str) -> torch.Tensor:
    raise NoBackwardError(f"{op}: {_ADVICE}")


def _no_backward_fake(grad: torch.Tensor, shape: list[int], op: str) -> torch.Tensor:
    return grad.new_empty(shape)


_ADVICE = "no backward is built yet; call it under torch.no_grad() or on detached tensors, or train with `reference`"

_library.define("no_backward(Tensor grad, SymInt[] shape, str op) -> Tensor")
_library.impl("no_backward", _no_backward, "CompositeExplicitAutograd")
torch.library.register_fake(f"{NAMESPACE}::no_backward", _no_backward_fake, lib=_library)
