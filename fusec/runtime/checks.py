"""The checks of an op's arguments. Every message says which op and argument, what was expected, what came, what to do.

Sizes may be symbolic (`torch.SymInt`), so that the same checks run while a call is traced: a size is compared, never
converted, and a condition that tracing cannot decide yet becomes a run-time assertion of the traced graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral, Real
from typing import TypeAlias

import torch

from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.runtime.errors import (
    ArgumentError,
    ChoiceError,
    DeviceError,
    FusecError,
    NumericalOverflowError,
    ShapeMismatchError,
    UnsupportedDtypeError,
)
from fusec.runtime.layout import squeeze

Size: TypeAlias = int
"""Or a `torch.SymInt`, which PyTorch's own annotations call an int too."""


class Checker:
    """Checks the arguments of one call of `op`, or of the constructor of a module that is called so.

    `declared` has all tensor arguments by name, `T[..., K]`: element, and dimensions in order.
    """

    def __init__(self, op: str, /, **declared: str) -> None:
        self._op = op
        parts = {name: text.partition("[") for name, text in declared.items()}
        self._elements = {name: element for name, (element, _, _) in parts.items()}
        self._declared = {name: f"[{dims}" for name, (_, _, dims) in parts.items()}
        self._tensors: dict[str, torch.Tensor] = {}

    def tensors(self, *given: torch.Tensor | None) -> tuple[torch.Tensor | None, ...]:
        """The tensors of a call as they are declared, None where omitted, without dimensions of size 1 too many.

        That they are on one device, with as many dimensions as are declared, more where one is `...`, and that those
        of one dtype alone have it. Raises `DeviceError`, `ShapeMismatchError` or `UnsupportedDtypeError`.
        """
        named = dict(zip(self._declared, given, strict=True))
        ranks = {name: _rank(text) for name, text in self._declared.items()}
        named = {name: each if ranks[name][1] else squeeze(each, ranks[name][0]) for name, each in named.items()}
        self._tensors = {name: tensor for name, tensor in named.items() if tensor is not None}
        self._on_one_device()
        for name in self._tensors:
            self._ranked(name, *ranks[name])
        for element in dict.fromkeys(self._elements.values()):
            if element in TORCH_NAMES:
                self.dtype(element, element)
        return tuple(named.values())

    def _on_one_device(self) -> None:
        first = next(iter(self._tensors.items()), None)
        for name, tensor in self._tensors.items():
            if first and tensor.device != first[1].device:
                raise DeviceError(
                    f"{self._op}: `{first[0]}` is on {first[1].device} but `{name}` is on {tensor.device}; "
                    "move all tensors to one device",
                    *(name, first[1].device, tensor.device),
                )

    def _ranked(self, name: str, rank: int, has_lead: bool) -> None:
        tensor = self._tensors[name]
        if tensor.dim() == rank or (has_lead and tensor.dim() > rank):
            return
        count = f"at least {rank}" if has_lead else str(rank)
        raise ShapeMismatchError(
            f"{self._op}: `{name}` should have {count} dimension{'s' * (rank != 1)}, {self._declared[name]}, but has "
            f"shape {_list(tensor.shape)}",
            *(name, rank, tensor.dim()),
        )

    def dtype(self, declared: str, options: str | torch.dtype) -> torch.dtype:
        """The dtype of the tensors that are `declared` to have the same one, of `options`: `f16 bf16`.

        Where all of them were omitted it is the first option. Raises `UnsupportedDtypeError`.
        """
        known = _dtypes(options) if isinstance(options, str) else (options,)
        given = {name: each.dtype for name, each in self._tensors.items() if self._elements[name] == declared}
        for name, dtype in given.items():
            if dtype not in known:
                expected = " or ".join(map(_name, known))
                raise UnsupportedDtypeError(
                    f"{self._op}: `{name}` should be {expected}, but is {_name(dtype)}; convert it with "
                    f"{name}.to({known[0]})",
                    *(name, known, dtype),
                )
        first = next(iter(given), None)
        if first is None:
            return known[0]
        for name, dtype in given.items():
            if dtype != given[first]:
                raise UnsupportedDtypeError(
                    f"{self._op}: `{first}` and `{name}` are both declared {declared} and should have one dtype, but "
                    f"are {_name(given[first])} and {_name(dtype)}; convert one of them",
                    *(name, given[first], dtype),
                )
        return given[first]

    def dtypes(self, /, **options: str) -> tuple[torch.dtype, ...]:
        """The dtypes of several declared types, each as `dtype` says."""
        return tuple(self.dtype(declared, each) for declared, each in options.items())

    def shapes(self, /, **expected: Sequence[Size]) -> None:
        """That each tensor, if given, has the shape expected. Raises `ShapeMismatchError`."""
        for name, shape in expected.items():
            self.shape(name, shape)

    def shape(self, name: str, expected: Sequence[Size], repeated: Sequence[int] = ()) -> None:
        """That tensor `name`, if given, has the shape `expected`, or 1 in dimensions that are `repeated`.

        Raises `ShapeMismatchError`.
        """
        tensor = self._tensors.get(name)
        if tensor is None:
            return
        error = ShapeMismatchError(
            f"{self._op}: `{name}` should have shape {self._declared[name]} = {_list(expected)}, but has "
            f"{_list(tensor.shape)}",
            *(name, tuple(expected), tuple(tensor.shape)),
        )
        if tensor.dim() != len(expected):
            raise error
        for dim, (size, wanted) in enumerate(zip(tensor.shape, expected, strict=True)):
            if dim not in repeated or size != 1:
                _require(size == wanted, error)

    def quotient(self, axis: str, name: str, dim: int, size: Size, divisor: Size) -> Size:
        """The extent of `axis`, which takes part in dimension `dim` of `name`: `size` divided by what is known of it.

        An undetermined one (0 by 0) is 0. Raises `ShapeMismatchError` when it is no whole number.
        """
        where = f"{self._op}: cannot solve `{axis}` from dimension {dim} of `{name}`"

        def error(what: str, expected: object) -> ShapeMismatchError:
            return ShapeMismatchError(f"{where}: {what}", name, expected, size)

        _require(size >= 0, error(f"what remains for it is {size}", "at least 0"))
        if divisor == 0:
            _require(size == 0, error(f"{size} is not a multiple of 0", 0))
            return 0
        _require(size % divisor == 0, error(f"{size} is not a multiple of {divisor}", f"a multiple of {divisor}"))
        return size // divisor

    def extent(self, axis: str, name: str, given: Size | None, solved: Size) -> None:
        """That `dim` parameter `name`, if given, equals the extent of its axis. Raises `ShapeMismatchError`."""
        if given is None:
            return
        _require(
            given == solved,
            ShapeMismatchError(
                f"{self._op}: `{name}` is {given}, but the tensors have {axis} = {solved}", name, solved, given
            ),
        )

    def require(self, condition: bool | torch.SymBool, text: str, /, **extents: Size) -> None:
        """That a `where` condition of the spec holds. Raises `ShapeMismatchError`."""
        found = ", ".join(f"{axis} = {extent}" for axis, extent in extents.items())
        told = f"but {found}" if found else "which no extents make true"
        _require(condition, ShapeMismatchError(f"{self._op}: needs {text}, {told}", None, text, extents))

    def reach(self, names: str, dim: int, size: Size, needed: Size, *omitted: str) -> None:
        """That tensors have the positions below `needed`, which are read because `omitted` tensors are omitted.

        `names` are those of tensors that all have this `size`, with blanks between. Raises `ShapeMismatchError`.
        """
        which = f"without {' and '.join(f'`{each}`' for each in omitted)} its " if omitted else "its "
        for name in names.split():
            message = (
                f"{self._op}: dimension {dim} of `{name}` should be {needed} or more, for {which}positions up to "
                f"{needed - 1} are read, but it is {size}"
            )
            _require(size >= needed, ShapeMismatchError(message, name, needed, size))

    def order(self, names: str, axis: str, size: Size, needed: Size, /, **tensors: Sequence[Size]) -> None:
        """That the dimensions of `tensors` are in the order that is declared, as far as the tables `names` tell.

        These are of `size` positions, of which the first `needed` are read. If they have others as well, and as many as
        each of the tensors has along another axis, then that is the axis whose positions they have: of each tensor
        there are the sizes of axes that may be taken for it, of all tensors as many. Raises `ShapeMismatchError`.
        """
        if isinstance(size, torch.SymInt) or isinstance(needed, torch.SymInt):
            return  # the call itself tells
        mistaken = any(all(other == size for other in axes) for axes in zip(*tensors.values(), strict=True))
        if size != needed and mistaken:
            layouts = " and ".join(f"`{tensor}` {self._declared[tensor]}" for tensor in tensors)
            name = names.split()[0]
            message = (
                f"{self._op}: `{name}` has {axis} = {size} positions, which is not the {needed} that it is read at but "
                f"another axis of {layouts}: are their dimensions in that order? If so, pass the first {needed} "
                "positions of the table"
            )
            raise ShapeMismatchError(message, name, needed, size)

    def choice(self, name: str, value: str, options: Sequence[str]) -> str:
        """The choice `name`, which is one of `options`. Raises `ChoiceError`."""
        if value not in options:
            expected = ", ".join(map(repr, options))
            message = f"{self._op}: `{name}` should be one of {expected}, but is {value!r}"
            raise ChoiceError(message, name, tuple(options), value)
        return value

    def size(self, name: str, value: object) -> int:
        """The argument `name` as an integer of at least 1. Raises `ArgumentError`, or `ChoiceError` below that."""
        size = integer(self._op, name, value, 64)
        if size < 1:
            message = f"{self._op}: `{name}` should be at least 1, but is {size}"
            raise ChoiceError(message, name, "at least 1", size)
        return size

    def chosen_dtype(self, name: str, dtype: object, options: str) -> torch.dtype:
        """The argument `name`, which is to be one of the dtypes `options`. Raises `UnsupportedDtypeError`."""
        known = _dtypes(options)
        if isinstance(dtype, torch.dtype) and dtype in known:
            return dtype
        expected = " or ".join(map(_name, known))
        given = _name(dtype) if isinstance(dtype, torch.dtype) else repr(dtype)
        message = f"{self._op}: `{name}` should be {expected}, but is {given}"
        raise UnsupportedDtypeError(message, name, known, dtype)

    def dtype_of_weights(self, dtype: torch.dtype | None, options: str) -> None:
        """That the argument `dtype` of a module, if given, is one of `options`. Raises `UnsupportedDtypeError`."""
        if dtype is not None:
            self.chosen_dtype("dtype", dtype, options)


def real(op: str, name: str, value: object) -> float:
    """The scalar argument `name` as a float. Integers and NumPy numbers are taken, truth values and text are not.

    Raises `ArgumentError`, also for a tensor: reading its value would make the host wait for the device.
    """
    if type(value) is float:
        return value
    if isinstance(value, torch.SymFloat | torch.SymInt):
        return value  # type: ignore[return-value]  # stands for a float while a call is traced
    if isinstance(value, Real) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            message = f"{op}: `{name}` should fit a float of 64 bits, but is beyond all of them"
            raise NumericalOverflowError(message, name, float, value) from None
    raise ArgumentError(f"{op}: `{name}` should be a number, but is {_describe(value)}", name, float, value)


def integer(op: str, name: str, value: object, bits: int) -> int:
    """The scalar argument `name` as an int of at most `bits` bits.

    Raises `ArgumentError`, or `NumericalOverflowError` when it does not fit.
    """
    if isinstance(value, torch.SymInt):
        return value  # type: ignore[return-value]  # stands for an int while a call is traced
    if not isinstance(value, Integral) or isinstance(value, bool):
        raise ArgumentError(f"{op}: `{name}` should be an integer, but is {_describe(value)}", name, int, value)
    number = int(value)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        message = f"{op}: `{name}` should fit {bits} bits, but is {number}"
        raise NumericalOverflowError(message, name, (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1), number)
    return number


def extent(op: str, name: str, value: object, optional: bool) -> None:
    """That the argument `name` may be the size of an axis, or None where it is `optional`.

    Raises `ArgumentError`, `ChoiceError` for a negative one, or `NumericalOverflowError`.
    """
    if isinstance(value, torch.SymInt) or (optional and value is None):
        return
    if optional and (isinstance(value, bool) or not isinstance(value, Integral)):
        raise ArgumentError(f"{op}: `{name}` should be an int or None, but is {_describe(value)}", name, int, value)
    if integer(op, name, value, 64) < 0:
        raise ChoiceError(f"{op}: `{name}` should be at least 0, but is {value}", name, "at least 0", value)


def flag(op: str, name: str, value: object) -> bool:
    """The scalar argument `name` as a truth value. Raises `ArgumentError`."""
    if isinstance(value, bool):
        return value
    raise ArgumentError(f"{op}: `{name}` should be True or False, but is {_describe(value)}", name, bool, value)


def _rank(declared: str) -> tuple[int, bool]:
    """How many dimensions are declared, `[B, S]`, and whether `...` stands before them."""
    dims = declared[1:-1].split(", ") if declared != "[]" else []
    return sum(dim != "..." for dim in dims), "..." in dims


def _dtypes(options: str) -> tuple[torch.dtype, ...]:
    return tuple(getattr(torch, TORCH_NAMES[option].removeprefix("torch.")) for option in options.split())


def _require(condition: bool | torch.SymBool, error: FusecError) -> None:
    if isinstance(condition, torch.SymBool):
        torch._check_with(type(error), condition, lambda: str(error))
    elif not condition:
        raise error


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _list(sizes: Sequence[Size]) -> str:
    return f"[{', '.join(map(str, sizes))}]"


def _describe(value: object) -> str:
    if isinstance(value, torch.Tensor):
        return "a tensor; pass a Python number, for instance value.item()"
    return f"{value!r} ({type(value).__name__})"
