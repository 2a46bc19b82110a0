"""A generated op as one object: it recognises a call, finds or makes its plan, and runs it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any, TypeVar

import torch

from fusec.runtime.cache import BoundedCache
from fusec.runtime.dispatch import plain, watched
from fusec.runtime.errors import ArgumentError, ScatteredRowsError, ShapeMismatchError, UnsupportedDtypeError
from fusec.runtime.invariant import is_invariant
from fusec.runtime.launch import Value
from fusec.runtime.layout import layout
from fusec.runtime.plan import Buffer, CopyingPlan, Plan, Results, row_major
from fusec.runtime.recent import Recent, Settings, Tensors
from fusec.runtime.register import empties, register

T = TypeVar("T")


class Op:
    """The way from the arguments of a call to its kernels.

    `schema` is PyTorch's, with the arguments in the order tensors, run-time scalars, settings (choices and dims);
    `tensors` and `scalars` count them. `extents(*tensors, *settings)` checks the arguments and solves the extents,
    `outputs(*extents)` says what comes out; both must do for fake tensors and symbolic sizes. `plan(*tensors,
    *settings)` decides how, once for every layout of the tensors and every setting. Tensors that do not fit go to the
    first of `overloads` that they fit: ops with arguments of the same names, asked for when they are needed.
    """

    def __init__(
        self,
        schema: str,
        *,
        tensors: int,
        scalars: int = 0,
        extents: Callable[..., tuple[Any, ...]],
        outputs: Callable[..., tuple[Buffer, ...]],
        plan: Callable[..., Plan],
        overloads: Callable[[], tuple[Op, ...]] = tuple,
    ) -> None:
        self.name = schema.partition("(")[0]
        self._declared = [argument.split() for argument in _arguments(schema)[:tensors]]
        self._tensors = slice(tensors)
        self._scalars = slice(tensors, tensors + scalars)
        self._settings = slice(tensors + scalars, None)
        self._extents = extents
        self._outputs = outputs
        self.plan = plan
        self._overloads = overloads
        self._known: BoundedCache[Recent] = BoundedCache()
        self._recent: Recent | None = None
        self.operator = register(schema, self._run, self._fake, source=plan.__code__.co_filename)

    def __call__(self, tensors: Tensors, scalars: tuple[Value, ...] = (), settings: Settings = ()) -> Results:
        """Run on these arguments: at once where only the kernels need to know, else through PyTorch's dispatcher."""
        if not watched():
            recent = self._recent
            if recent is not None and not is_invariant():
                addresses = recent.addresses(tensors, settings)
                if addresses is not None:
                    return recent.plan.run(tensors, scalars, addresses)
            self._require_tensors(tensors)
            if plain(tensors):
                return self._find(tensors, settings)(tensors, scalars)
        results: Results = self.operator(*tensors, *scalars, *settings)
        return results

    def _require_tensors(self, given: tuple[Any, ...]) -> None:
        """That every argument that is declared `Tensor NAME` is one, or None where it is `Tensor? NAME`."""
        for (kind, name), value in zip(self._declared, given, strict=True):
            if not isinstance(value, torch.Tensor) and not (value is None and kind.endswith("?")):
                what = "None" if value is None else f"of type {type(value).__name__}"
                message = f"{self.name}: `{name}` should be a tensor, but is {what}"
                raise ArgumentError(message, name, torch.Tensor, value)

    def forget(self) -> None:
        """Drop every plan, so that the next call makes its own anew."""
        self._known = BoundedCache()
        self._recent = None

    @property
    def plans(self) -> tuple[Plan, ...]:
        """The plans made so far, one for every layout of arguments."""
        return tuple(known.plan for known in self._known.values())

    def _find(self, tensors: Tensors, settings: Settings) -> Plan:
        invariant = is_invariant()
        key = (invariant, settings, *map(layout, tensors))
        known = self._known.get(key)
        if known is None:
            known = self._known.put(key, Recent(tensors, settings, self._decided(tensors, settings)))
        elif known is self._recent and not invariant:
            # It was not recognised although its key is: the check was made in another mode, say inference mode.
            known = self._known.put(key, Recent(tensors, settings, known.plan))
        if not invariant and not any(tensor is not None and tensor.data_ptr() & 15 for tensor in tensors):
            self._recent = known
        return known.plan

    def _decided(self, tensors: Tensors, settings: Settings) -> Plan:
        try:
            return self._first(lambda op: op.plan(*tensors, *settings))
        except ScatteredRowsError:
            if any("!" in kind for kind, _ in self._declared):
                raise
            copies = row_major(tensors)
            return CopyingPlan(self._first(lambda op: op.plan(*copies, *settings)))

    def _run(self, *args: Any) -> Results:
        tensors, settings = args[self._tensors], args[self._settings]
        return self._find(tensors, settings)(tensors, args[self._scalars])

    def _fake(self, *args: Any) -> Results:
        tensors = args[self._tensors]
        device = next(tensor.device for tensor in tensors if tensor is not None)
        settings = args[self._settings]
        return empties(self._first(lambda op: op._outputs(*op._extents(*tensors, *settings))), device)

    def _first(self, result: Callable[[Op], T]) -> T:
        """The result of this op, or of the first of its overloads that the arguments fit."""
        try:
            return result(self)
        except (ShapeMismatchError, UnsupportedDtypeError):
            for other in self._overloads():
                with suppress(ShapeMismatchError, UnsupportedDtypeError):
                    return result(other)
            raise


def _arguments(schema: str) -> list[str]:
    """`Tensor x` and so on, as PyTorch's schema of an operator declares them."""
    return schema[schema.index("(") + 1 : schema.rindex(") ->")].split(", ")
