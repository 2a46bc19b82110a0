"""Narrowing: which values of bf16 are widened so that LLVM cannot do their arithmetic in f16.

Before: `tl.store(y, tl.load(x).to(tl.float32) * tl.load(w).to(tl.float32))` with x and y of f16 and w of bf16. LLVM
makes `mul.f16` of it, of w rounded to f16: it looks at how many bits the fractions have, and not at the exponents, and
1e38 becomes an infinity. After: w is widened by its bits, which LLVM does not know for a conversion.

Relies on this: what is narrowed is an addition, a subtraction, a product or a quotient that is rounded to f16, of
operands that are conversions from 16 bits or literals, as they stand or after operations that never round: those pass
conversions on.
"""

from __future__ import annotations

from collections.abc import Iterator

from fusec.ir.expressions import Cast, Choose, Const, Dot, Elementwise, Index, Load, MaxOf, NodeId, Reduce, Scalar, Size
from fusec.ir.flow import Flow
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Computed, DTypeVar, Element, Kind, Storage


def kept_apart(flow: Flow, live: list[NodeId]) -> frozenset[NodeId]:
    """The loads and casts of a flow whose bf16 would be rounded to f16 before it is computed with."""
    found: set[NodeId] = set()
    for value, target in _roundings(flow, live):
        if _may_be(target, "f16"):
            leaves = _Narrowing(flow).narrowed(value)
            found |= {leaf for leaf in leaves if _may_be_bf16(flow.nodes[leaf].type.element, target)}
    return frozenset(found)


def _roundings(flow: Flow, live: list[NodeId]) -> Iterator[tuple[NodeId, Storage]]:
    """What is rounded to a storage type, and to which."""
    for store in flow.stores:
        yield store.value, store.element
    for number in live:
        match flow.nodes[number].expr:
            case Cast(arg=arg, dtype=dtype):
                yield arg, dtype
            case Dot(a=a, b=b):
                # A computed operand may be rounded to the type of the other one.
                for own, other in ((a, b), (b, a)):
                    element = flow.nodes[other].type.element
                    if not isinstance(element, Computed):
                        yield own, element


class _Narrowing:
    """Follows what is rounded down to the conversions that its arithmetic is made of."""

    def __init__(self, flow: Flow) -> None:
        self._nodes = flow.nodes
        self._narrowed: dict[NodeId, frozenset[NodeId]] = {}
        self._leaves: dict[NodeId, frozenset[NodeId] | None] = {}

    def narrowed(self, number: NodeId) -> frozenset[NodeId]:
        """The converted values in arithmetic whose result is all that is rounded."""
        if number not in self._narrowed:
            self._narrowed[number] = self._found(number)
        return self._narrowed[number]

    def _found(self, number: NodeId) -> frozenset[NodeId]:
        match self._nodes[number].expr:
            case Elementwise(op, args) if ELEMENTWISE[op].is_rational:
                leaves = self._of_all(args)
                if leaves is not None:
                    return leaves
                # A product with 1 is no operation.
                literal = any(isinstance(self._nodes[arg].expr, Const) for arg in args)
                return self._below(args) if literal else frozenset()
            case Elementwise(op, args) if ELEMENTWISE[op].exact:
                return self._below(args)
            case Choose(cases=cases):
                return self._below(tuple(case for _, case in cases))
            case Reduce(arg=arg) | Cast(arg=arg):
                return self.narrowed(arg)
            case _:
                return frozenset()

    def _below(self, args: tuple[NodeId, ...]) -> frozenset[NodeId]:
        return frozenset().union(*map(self.narrowed, args))

    def _leaves_of(self, number: NodeId) -> frozenset[NodeId] | None:
        """The conversions that a value is, maybe after operations that pass them on; None for any other value."""
        if number not in self._leaves:
            self._leaves[number] = self._converted(number)
        return self._leaves[number]

    def _converted(self, number: NodeId) -> frozenset[NodeId] | None:
        node = self._nodes[number]
        match node.expr:
            case Const() | MaxOf() | Size() | Index() | Scalar():
                # A number of the call may be of 16 bits; one of bf16 is widened by its bits anyway.
                return frozenset()
            case Load() | Cast() if _may_be_narrow(node.type.element):
                return frozenset((number,))
            case Cast(arg=arg) | Reduce(arg=arg):
                return self._leaves_of(arg)
            case Elementwise(op, args) if ELEMENTWISE[op].exact or self._is_with_literal(op, args):
                return self._of_all(args)
            case Choose(cases=cases):
                return self._of_all(tuple(case for _, case in cases))
            case _:
                return None

    def _is_with_literal(self, op: str, args: tuple[NodeId, ...]) -> bool:
        return ELEMENTWISE[op].is_rational and any(isinstance(self._nodes[arg].expr, Const) for arg in args)

    def _of_all(self, args: tuple[NodeId, ...]) -> frozenset[NodeId] | None:
        numbers = [arg for arg in args if self._nodes[arg].type.kind is not Kind.BOOL]
        each = [self._leaves_of(arg) for arg in numbers]
        known = [leaves for leaves in each if leaves is not None]
        return frozenset().union(*known) if len(known) == len(each) else None


def _may_be_narrow(element: Element) -> bool:
    return not isinstance(element, Computed) and any(option.bits <= 16 for option in element.options)


def _may_be(element: Element, name: str) -> bool:
    return not isinstance(element, Computed) and any(option.name == name for option in element.options)


def _may_be_bf16(element: Element, target: Storage) -> bool:
    """Whether a value may be of bf16 where `target` is f16, which one type variable cannot be both at once."""
    return _may_be(element, "bf16") and not (isinstance(target, DTypeVar) and element == target)
