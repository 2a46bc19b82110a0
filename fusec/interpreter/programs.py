"""Running the programs of a kernel in the Triton interpreter: in which order, which of them, who watches.

The interpreter keeps the program that it runs, and what `triton.language` means to it, in globals. So from the import
of this module on, one thread at a time runs kernels.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from threading import RLock
from types import SimpleNamespace
from typing import Any, Protocol, TypeAlias
from unittest import mock

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter as stock
from triton.runtime.jit import _normalize_ty
from triton.tools.tensor_descriptor import TensorDescriptor

from fusec.interpreter import abreast
from fusec.interpreter.abreast import Position
from fusec.runtime.tensor_map import Address

Order: TypeAlias = Callable[[int], Sequence[int]]
"""From the number of programs of a launch, the programs to run, in that order."""


def in_order(count: int) -> Sequence[int]:
    """All programs, first to last."""
    return range(count)


def shuffled(seed: int) -> Order:
    """All programs in an order drawn by `seed`: a kernel must not depend on it."""
    return lambda count: random.Random(seed).sample(range(count), count)


def sampled(amount: int, seed: int) -> Order:
    """The first program, the last and `amount` more: for launches too large to run."""

    def order(count: int) -> Sequence[int]:
        inner = random.Random(seed).choices(range(count), k=amount) if count else []
        return sorted({0, count - 1, *inner} if count else ())

    return order


class Observer(Protocol):
    """What is told about a launch."""

    def begin(self, kernel: str, vector: int) -> None:
        """A launch of `kernel` begins, which may read whole vectors of so many elements, if more than 0."""

    def address(self, argument: str, tensor: torch.Tensor) -> int:
        """The number the kernel is to take for the address of `tensor`."""

    def tensor_map(self, argument: str, descriptor: TensorDescriptor) -> int:
        """The number the kernel is to take for the address that `descriptor` begins at."""

    def programs(self, positions: Sequence[Position]) -> None:
        """The next programs begin, side by side."""

    def again(self) -> None:
        """What the programs did that began last is undone: they begin again, in groups or one by one."""

    def end(self) -> None:
        """The launch is over."""


ONE_BY_ONE = 16
"""Programs that run one by one where an order is asked for; those behind them run side by side, in that order."""

VECTOR = "VECTOR"
"""The compile-time argument by which a kernel is told to move whole vectors (`runtime/row_vectors.py`)."""

running = RLock()
"""Held by the thread that runs a kernel."""

_ways: list[Callable[..., None]] = [stock.GridExecutor.__call__]
"""How a kernel is launched: the last one counts."""


def _in_turn(executor: Any, *args: Any, **kwargs: Any) -> None:
    with running:
        _ways[-1](executor, *args, **kwargs)


stock.GridExecutor.__call__ = _in_turn


@contextmanager
def launched(way: Callable[..., None]) -> Iterator[None]:
    """While entered, kernels are launched this way."""
    _ways.append(way)
    try:
        yield
    finally:
        _ways.remove(way)


def launcher(order: Order = in_order, observer: Observer | None = None) -> Callable[..., None]:
    """A way to launch a kernel, in place of `GridExecutor.__call__`.

    Unlike it, it passes a Python float as the GPU does, as an f32, and a bool at all, and heeds the type a parameter is
    annotated with.
    """

    def launch(executor: Any, *device_args: Any, **device_kwargs: Any) -> None:
        names = inspect.getfullargspec(executor.fn).args
        device_kwargs = {name: value for name, value in device_kwargs.items() if name in names}
        args, kwargs = executor._init_args_hst(device_args, device_kwargs)
        if observer:
            given = inspect.getcallargs(executor.fn, *args, **kwargs)
            observer.begin(executor.fn.__name__, abs(given.get(VECTOR, 0)))
        scope = _interpreted()
        try:
            bound = inspect.getcallargs(executor.fn, *args, **kwargs)
            bound = {name: _argument(executor, observer, name, value) for name, value in bound.items()}
            grid = executor.grid(bound) if callable(executor.grid) else executor.grid
            _run(executor.fn, bound, (*grid, 1, 1)[:3], order, observer)
        finally:
            scope.restore()
        if observer:
            observer.end()
        executor._restore_args_dev(device_args, args, device_kwargs, kwargs)

    return launch


def _run(
    kernel: Callable[..., object],
    arguments: dict[str, Any],
    grid: tuple[int, int, int],
    order: Order,
    observer: Observer | None,
) -> None:
    stock.interpreter_builder.set_grid_dim(*grid)
    programs = order(grid[0] * grid[1] * grid[2])
    positions = [(at % grid[0], at // grid[0] % grid[1], at // (grid[0] * grid[1])) for at in programs]
    if any(map(_is_descriptor, arguments.values())):
        alone = len(positions)  # tensor maps are for one program at a time
    else:
        alone = 0 if sorted(programs) == list(programs) else ONE_BY_ONE
    with (
        np.errstate(all="ignore"),
        mock.patch.object(stock.InterpretedFunction, "__call__", _call),
        _naming(kernel, "range", abreast.rounds),
    ):
        left = [*([position] for position in positions[:alone]), *abreast.groups(positions[alone:])]
        left.reverse()
        while left:
            group = left.pop()
            if observer:
                observer.programs(group)
            try:
                _run_group(kernel, arguments, group)
            except (abreast.PartedError, abreast.AloneError) as error:
                if observer:
                    observer.again()
                apart = abreast.parted(group, error)
                left += apart[::-1]


@contextmanager
def _naming(kernel: Callable[..., object], name: str, value: object) -> Iterator[None]:
    """While entered, a name that the module of the kernel does not have is this to it, instead of a builtin."""
    names: dict[str, object] = inspect.unwrap(kernel).__globals__
    if name in names:
        yield
        return
    names[name] = value
    try:
        yield
    finally:
        del names[name]


def _run_group(kernel: Callable[..., object], arguments: dict[str, Any], positions: Sequence[Position]) -> None:
    if len(positions) == 1:
        stock.interpreter_builder.set_grid_idx(*positions[0])
        kernel(**arguments)
    else:
        with abreast.side_by_side(positions):
            kernel(**arguments)


def _is_descriptor(argument: Any) -> bool:
    return isinstance(argument, tl.core.tensor_descriptor_base)


def _call(function: Any, *args: Any, **kwargs: Any) -> Any:
    """A call of a device function. Triton's own looks through all of the language again for what it has to replace."""
    return function.rewrite()(*args, **kwargs)


def _interpreted() -> Any:
    """Enters what all of the language is in the interpreter; what it was is there again once this is restored."""
    scope = stock._LangPatchScope()
    for owner, name, value in _meanings(stock._patch_lang_tensor):
        scope.set_attr(owner, name, value)
    return scope


@cache
def _meanings(_of_tensors: object) -> tuple[tuple[Any, str, Any], ...]:
    """What Triton puts in the place of its language, found once for each way of its tensors: it looks through all."""
    scope = stock._patch_lang(_EVERYTHING)
    # Triton's turns all dimensions round, also that of programs side by side.
    scope.set_attr(tl.core.tensor, "T", property(tl.trans))
    scope.set_attr(tl, "range", abreast.staged_rounds)
    changed = dict.fromkeys((owner, name) for owner, name, _ in scope._changes)
    found = tuple((owner, name, inspect.getattr_static(owner, name)) for owner, name in changed)
    scope.restore()
    return found


_EVERYTHING = SimpleNamespace(__globals__={"tl": tl, "core": tl.core})
"""Stands for a function that sees all of the language under both of its names, those of kernels and of the library."""


def _argument(executor: Any, observer: Observer | None, name: str, value: Any) -> Any:
    if name in executor.constexprs:
        return value
    declared = str(_normalize_ty(executor.fn.__annotations__.get(name, "")))
    if isinstance(value, bool | int | float) and declared in _ANNOTATIONS:
        return _scalar(value, _ANNOTATIONS[declared])
    if isinstance(value, bool | float):
        return _scalar(value, tl.int1 if isinstance(value, bool) else tl.float32)
    if observer and isinstance(value, torch.Tensor):
        pointer = stock._implicit_cvt(value)
        pointer.handle.data = np.array([observer.address(name, value)], np.uint64)
        return pointer
    if observer and isinstance(value, TensorDescriptor):
        value = replace(value, base=Address(observer.tensor_map(name, value), value.base.dtype))
    return stock._implicit_cvt(value)


def _scalar(value: bool | int | float, dtype: tl.dtype) -> Any:
    with np.errstate(over="ignore"):
        held = np.array([value]).astype(stock._get_np_dtype(dtype))
    return tl.tensor(stock.TensorHandle(held, dtype), dtype)


_ANNOTATIONS = {"fp32": tl.float32, "fp64": tl.float64, "i32": tl.int32, "i64": tl.int64}
