"""Programs of a launch side by side: arrays have one axis more in front, along which the programs lie.

The interpreter spends its time on the types of operations and not on their numbers, so many programs take little longer
than one. What is the same for all of them has one position along that axis. Where a loop or a branch asks for a number
that is not, the programs part: what they have stored is taken back, and those of each number begin anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import numpy as np
import triton.language as tl
from triton.runtime import interpreter as stock

from fusec.interpreter.conversions import Array

Handle = stock.TensorHandle
Builder = stock.InterpreterBuilder

Position: TypeAlias = tuple[int, int, int]

AT_ONCE = 64
"""Programs that run side by side at most: of more, numbers would take most of the time, and much memory."""


class PartedError(Exception):
    """Programs that run side by side go different ways, each by its number of `ways`."""

    def __init__(self, ways: Array) -> None:
        super().__init__("programs side by side part")
        self.ways = ways


class AloneError(Exception):
    """A kernel does what the interpreter can only do for one program at a time."""


class _State:
    """What runs: the `positions` of programs side by side, None of one alone, and what their stores have `replaced`."""

    def __init__(self) -> None:
        self.positions: Array | None = None
        self.replaced: list[tuple[Any, Any, Any]] = []


_now = _State()


@contextmanager
def side_by_side(positions: Sequence[Position]) -> Iterator[None]:
    """While entered, an interpreted kernel is these programs. Left by an error, it leaves memory as it was."""
    _now.positions = np.array(positions, np.int32)
    try:
        yield
    except BaseException:
        for pointers, before, mask in reversed(_now.replaced):
            _stock_store(None, pointers, before, mask, None, None)
        raise
    finally:
        _now.positions = None
        _now.replaced = []


def groups(positions: Sequence[Position]) -> list[Sequence[Position]]:
    """The programs at `positions` in groups that run side by side."""
    return [positions[start : start + AT_ONCE] for start in range(0, len(positions), AT_ONCE)]


def parted(positions: Sequence[Position], error: PartedError | AloneError) -> list[Sequence[Position]]:
    """A group taken apart: by the ways that its programs go, or in single ones."""
    found: dict[Any, list[Position]] = {}
    ways = error.ways.tolist() if isinstance(error, PartedError) else range(len(positions))
    for position, way in zip(positions, ways, strict=True):
        found.setdefault(way, []).append(position)
    return list(found.values())


def lead() -> int:
    """How many axes an array has in front of those of its type."""
    return 0 if _now.positions is None else 1


def require_alone(what: str) -> None:
    """Raise AloneError where programs run side by side."""
    if lead():
        raise AloneError(what)


def agreed(data: Array) -> Any:
    """The number that a scalar is in all programs; raises PartedError where they differ."""
    numbers = data.reshape(-1)
    if numbers.size > 1 and (numbers != numbers[0]).any():
        raise PartedError(numbers)
    return numbers[0].item()


def rounds(*bounds: Any) -> Iterable[Any]:
    """`range`. Where the programs begin at different numbers and go round as often, it gives scalars of theirs."""
    plain = [bound.value if isinstance(bound, tl.constexpr) else bound for bound in bounds]
    scalars = [bound for bound in plain if isinstance(bound, tl.tensor)]
    numbers = [bound.handle.data.astype(np.int64) if isinstance(bound, tl.tensor) else bound for bound in plain]
    if not lead() or not any(np.size(each) > 1 and (each != each[0]).any() for each in numbers):
        return range(*plain)
    start, stop, step = (0, *numbers, 1) if len(numbers) == 1 else (*numbers, 1)[:3]
    count = agreed(np.maximum(-((start - stop) // step), 0))
    kind = max((scalar.dtype for scalar in scalars), key=lambda dtype: dtype.primitive_bitwidth)
    first = np.broadcast_to(start, np.broadcast_shapes(*map(np.shape, numbers)))
    return (tl.tensor(_integer(first + place * step, kind), kind) for place in range(count))


def staged_rounds(*bounds: Any, **_options: Any) -> Iterable[Any]:
    """`tl.range`: its options say how it is compiled."""
    return rounds(*bounds)


def _integer(numbers: Array, kind: tl.dtype) -> Any:
    return Handle(numbers.astype(stock._get_np_dtype(kind)), kind)


def _program_id(builder: Any, axis: int) -> Any:
    if _now.positions is None:
        return _stock_program_id(builder, axis)
    return Handle(_now.positions[:, axis], tl.int32)


def _range(builder: Any, *args: Any) -> Any:
    data = _stock_range(builder, *args).data
    return Handle(data[None] if lead() else data, tl.int32)


def _splat(builder: Any, kind: Any, arg: Any) -> Any:
    if not lead():
        return _stock_splat(builder, kind, arg)
    data = arg.data.reshape(-1, *[1] * len(kind.shape))
    data = np.broadcast_to(data, (len(data), *kind.shape))
    return Handle(data.astype(stock._get_np_dtype(arg.dtype), copy=False), arg.dtype.scalar)


def _expand_dims(builder: Any, arg: Any, axis: int) -> Any:
    return _stock_expand_dims(builder, arg, axis + lead())


def _broadcast(builder: Any, arg: Any, shape: Sequence[int]) -> Any:
    return _stock_broadcast(builder, arg, (*arg.data.shape[: lead()], *shape))


def _reshape(builder: Any, arg: Any, shape: Sequence[int], *rest: Any) -> Any:
    return _stock_reshape(builder, arg, (*arg.data.shape[: lead()], *shape), *rest)


def _transpose(builder: Any, arg: Any, order: Sequence[int]) -> Any:
    return _stock_transpose(builder, arg, [*range(lead()), *(axis + lead() for axis in order)])


def _join(builder: Any, left: Any, right: Any) -> Any:
    first, second = np.broadcast_arrays(left.data, right.data)
    return _stock_join(builder, Handle(first, left.dtype), Handle(second, right.dtype))


def _load(builder: Any, pointers: Any, mask: Any, other: Any, *rest: Any, **named: Any) -> Any:
    if lead():
        data = [pointers.data, mask.data, *([] if other is None else [other.data])]
        at, where, *filling = np.broadcast_arrays(*data)
        pointers, mask = Handle(at, pointers.dtype), Handle(where, mask.dtype)
        other = Handle(filling[0], other.dtype) if filling else None
    return _stock_load(builder, pointers, mask, other, *rest, **named)


def _store(builder: Any, pointers: Any, value: Any, mask: Any, *rest: Any, **named: Any) -> Any:
    if _now.positions is not None:
        # Every program stores, also where they all store the same.
        shape = np.broadcast_shapes(pointers.data.shape, (len(_now.positions), *[1] * (pointers.data.ndim - 1)))
        pointers, value, mask = (_filled(each, shape) for each in (pointers, value, mask))
        before = _stock_load(builder, pointers, mask, None, None, None, False)
        _now.replaced.append((pointers, _filled(before, shape), mask))
    return _stock_store(builder, pointers, value, mask, *rest, **named)


def _filled(handle: Any, shape: tuple[int, ...]) -> Any:
    return Handle(np.array(np.broadcast_to(handle.data, shape)), handle.dtype)


def _only_alone(name: str) -> Callable[..., Any]:
    method = getattr(Builder, name)

    def wrapped(builder: Any, *args: Any, **named: Any) -> Any:
        require_alone(name)
        return method(builder, *args, **named)

    return wrapped


_stock_load, _stock_store = Builder.create_masked_load, Builder.create_masked_store
_stock_program_id, _stock_range, _stock_splat = (
    Builder.create_get_program_id,
    Builder.create_make_range,
    Builder.create_splat,
)
_stock_expand_dims, _stock_broadcast = Builder.create_expand_dims, Builder.create_broadcast
_stock_reshape, _stock_transpose, _stock_join = Builder.create_reshape, Builder.create_trans, Builder.create_join

_ONE_BY_ONE = (
    "create_atomic_cas",
    "create_atomic_rmw",
    "create_cat",
    "create_descriptor_gather",
    "create_descriptor_load",
    "create_descriptor_scatter",
    "create_descriptor_store",
    "create_gather",
    "create_histogram",
    "create_make_block_ptr",
    "create_print",
    "create_tensor_pointer_load",
    "create_tensor_pointer_store",
    "create_unsplat",
)

METHODS: dict[str, Callable[..., Any]] = {
    "create_broadcast": _broadcast,
    "create_expand_dims": _expand_dims,
    "create_get_program_id": _program_id,
    "create_join": _join,
    "create_make_range": _range,
    "create_masked_load": _load,
    "create_masked_store": _store,
    "create_reshape": _reshape,
    "create_splat": _splat,
    "create_trans": _transpose,
    **{name: _only_alone(name) for name in _ONE_BY_ONE if hasattr(Builder, name)},
}
"""Methods of the interpreter that look at axes, for one program and for many side by side."""
