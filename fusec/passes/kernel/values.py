"""Values: every node as a name or an expression, each computed where it belongs and only once there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

from fusec.diagnostics import InternalError
from fusec.ir.expressions import (
    GIVEN,
    OMITTED,
    Cast,
    Choose,
    Const,
    Dot,
    Elementwise,
    Index,
    Load,
    MaxOf,
    Neighbours,
    NodeId,
    Partial,
    Reduce,
    Scalar,
    Size,
    lookups,
    operands,
)
from fusec.ir.graph import ScalarParam
from fusec.ir.multiply import F32, F64, multiplied_as, sums_of
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.ranges import Range
from fusec.ir.schedule import GemmStage
from fusec.ir.statements import Assign, Branch, Chosen, Early, Given, Statement, Test
from fusec.ir.tile_values import (
    Apply,
    AsWhole,
    ByTurns,
    Dims,
    DTypeRef,
    Exactly,
    Filled,
    Largest,
    Name,
    Number,
    Product,
    Rounded,
    SizeExpr,
    Value,
    Whole,
    Widened,
)
from fusec.ir.types import DType, Kind, Storage
from fusec.passes.kernel.facts import Facts
from fusec.passes.kernel.grid import Grid
from fusec.passes.kernel.loads import Loads
from fusec.passes.kernel.naming import Naming
from fusec.passes.kernel.reductions import Reductions
from fusec.passes.kernel.scope import Scope
from fusec.passes.kernel.target import Target

_SHORT = 2**22
"""Integers up to this size have a short way to f32."""

_INLINE = 4
"""Operations that may stand in one expression before it gets a line of its own."""

_MOST = 6
"""Operations in a line at most: operands that are short alone may be long together."""


@dataclass(slots=True)
class Values:
    """Computes the nodes of a stage, adding to scopes the lines that takes."""

    _facts: Facts
    _target: Target
    _grid: Grid
    _naming: Naming
    _loads: Loads
    _reductions: Reductions
    _deferred: dict[NodeId, tuple[tuple[Statement, ...], Value]] = field(default_factory=dict)

    @property
    def has_deferred(self) -> bool:
        """Whether the kernel has a flag that says when some of its loads are made."""
        return bool(self._deferred)

    def value(self, number: NodeId, scope: Scope) -> Value:
        """A node in `scope`, maybe in a storage type. What it is computed from comes first, without recursion."""
        stack = [(number, scope)]
        while stack:
            current, around = stack[-1]
            home = around.home(current, self._facts.is_looped(current))
            if around.known(current) is not None:
                stack.pop()
            elif current in self._deferred:
                body, home.values[current] = self._deferred[current]
                home.statements.append(Branch(((Early(late=True), body),)))
            elif missing := [n for n in self._operands(current) if home.known(n) is None]:
                stack += [(n, home) for n in reversed(missing)]
            else:
                home.values[current] = self._computed(current, home)
        known = scope.known(number)
        assert known is not None
        return known

    def _operands(self, number: NodeId) -> tuple[NodeId, ...]:
        """What is computed before a node: of a choice what no case computes in its branch. A dot is made in a loop."""
        expr = self._facts.nodes[number].expr
        match expr:
            case Choose():
                return self._facts.outside(number)
            case Dot():
                return ()
            case _:
                return operands(expr)

    def wide(self, number: NodeId, scope: Scope) -> Value:
        """A node in `scope`, ready for arithmetic."""
        return widened(self.value(number, scope))

    def indices(self, numbers: tuple[NodeId, ...], scope: Scope) -> dict[NodeId, Value]:
        """Looked-up positions, each under a name, for an index is used in an address and in a mask."""
        return {number: self._index(number, scope) for number in numbers}

    def reduced(self, number: NodeId, scope: Scope) -> Value:
        """What a reduction reduces in `scope`."""
        value = self._reductions.operand(number, self.wide(self._reductions.expr(number).arg, scope), scope)
        return self._reductions.gathered(number, value)

    def factors(self, dot: Dot, scope: Scope) -> tuple[Value, Value]:
        """The tiles that a dot multiplies in `scope`: rows by steps and steps by columns."""
        a, b = dot.a, dot.b
        stage = self._facts.stage
        assert isinstance(stage, GemmStage)
        if stage.n in self._facts.nodes[a].type.axes:
            a, b = b, a
        types = multiplied_as(self._facts.nodes, dot)
        first, second = (types[number != dot.a] if types else None for number in (a, b))
        return self._factor(a, dot, first, scope), self._factor(b, dot, second, scope)

    def _product(self, number: NodeId, dot: Dot, scope: Scope) -> Value:
        """A dot over what is in a tile: a step of the loop has all of it."""
        a, b = self.factors(dot, scope)
        dims = self._grid.order({dim for factor in (a, b) for dim in factor.dims} - set(map(str, dot.axes)))
        nodes = self._facts.nodes
        return Product(a, b, None, dims, dot.precision, sums_of(nodes, dot), nodes[number].type.kind, whole=True)

    def _factor(self, number: NodeId, dot: Dot, storage: Storage | None, scope: Scope) -> Value:
        expr = self._facts.nodes[number].expr
        if isinstance(expr, Neighbours):
            # Triton (3.6 and 3.7.1) has no layout in shared memory for columns of 16 bits whose last step is a reshape:
            # reals are rounded behind it. Integers are of 16 bits as they are made, and the rows of a tile.
            later = storage if self._facts.nodes[number].type.kind is Kind.REAL else None
            first, second = (self._half(arg, dot, None if later else storage, scope) for arg in expr.args)
            dims = self._grid.order({*first.dims, *second.dims})
            text = self._naming.names.fresh(f"{self._naming.hint(number)}_by_turns")
            both = Name(text, dims, first.kind, storage)
            turns: Value = ByTurns(first, second, str(expr.axis), dims, first.kind)
            if later:
                turns = Rounded(turns, self._target.dtype(later), dims, first.kind)
            scope.statements.append(Assign(both, turns))
            return both
        value = self.value(number, scope)
        is_zero = self._is_zero(number, dot)
        if is_zero and isinstance(value, Name) and value.storage is not None and value.storage == storage:
            return value
        if value.kind is Kind.INT and storage is not None:
            rounded: Value = self._exactly(number, value, self._target.dtype(storage))
            if not is_zero:
                rounded = self._reductions.masked(rounded, dot.axes, 0.0, scope)
        else:
            wide = widened(value)
            if not is_zero:
                wide = self._reductions.masked(wide, dot.axes, 0.0, scope)
            if storage is None or storage == F32:
                return wide
            rounded = Rounded(wide, self._target.dtype(storage), wide.dims, wide.kind)
        noun = self._naming.hint(number)
        text = f"{noun}_rounded" if isinstance(value, Name) else noun
        name = Name(self._naming.names.fresh(text), rounded.dims, rounded.kind, storage)
        scope.statements.append(Assign(name, rounded))
        return name

    def _half(self, number: NodeId, dot: Dot, storage: Storage | None, scope: Scope) -> Value:
        """Every second number of a factor, under a name."""
        value = self._factor(number, dot, storage, scope)
        if isinstance(value, Name):
            return value
        name = Name(self._naming.names.fresh(self._naming.hint(number)), value.dims, value.kind)
        scope.statements.append(Assign(name, value))
        return name

    def _is_zero(self, number: NodeId, dot: Dot) -> bool:
        """Whether a factor stays as it is outside of what is contracted: it is 0 there, or finite and the other is."""
        padding, nodes = self._facts.padding, self._facts.nodes
        if padding.is_zero(number, dot.axes):
            return True
        others = {dot.a, dot.b} if number not in (dot.a, dot.b) else {dot.a, dot.b} - {number}
        return nodes[number].type.kind is Kind.INT and any(padding.is_zero(other, dot.axes) for other in others)

    def _as_real(self, number: NodeId, value: Value) -> Value:
        """An operand of real arithmetic; a tile of integers that is unpacked there has a short way."""
        found = self._facts.padding.inside(number)
        small = found.within(-_SHORT, _SHORT) and not isinstance(value, Number | SizeExpr)
        return self._exactly(number, value, None) if value.kind is Kind.INT and value.dims and small else value

    def _exactly(self, number: NodeId, value: Value, dtype: DTypeRef | None) -> Value:
        """An integer in a type of reals that holds all that it may be."""
        inside, expr = self._facts.padding.inside, self._facts.nodes[number].expr
        kind = dtype.kind if isinstance(dtype, DType) else Kind.REAL
        if isinstance(value, Apply) and isinstance(expr, Elementwise) and ELEMENTWISE[expr.op].linear == (1, -1):
            ranges = [inside(arg) for arg in expr.args]
            if all(found.within(0, _SHORT) for found in ranges):
                high = max(int(found.high) for found in ranges)
                arg, digit = _digit(value.args[0], ranges[0])
                return Exactly(arg, 0, high, dtype, value.dims, kind, value.args[1], digit)
        found = inside(number)
        arg, digit = _digit(value, found)
        if digit is not None:
            return Exactly(arg, 0, int(found.high), dtype, value.dims, kind, Number(0, (), Kind.INT), digit)
        whole = value if isinstance(value, Name) else widened(value)
        return Exactly(whole, int(found.low), int(found.high), dtype, value.dims, kind)

    def load_if_few(self, numbers: list[NodeId], scope: Scope) -> None:
        """Load in a branch now; `value` adds the opposite branch where one of them is needed."""
        bodies: list[Statement] = []
        for number in numbers:
            branch = Scope(scope, only=frozenset({number, *operands(self._facts.nodes[number].expr)}))
            value = self.value(number, branch)
            self._deferred[number] = (tuple(branch.statements), value)
            bodies += branch.statements
        scope.statements.append(Branch(((Early(), tuple(bodies)),)))

    def _computed(self, number: NodeId, scope: Scope) -> Value:
        node = self._facts.nodes[number]
        match node.expr:
            case Load(positions=positions):
                return self._loads.load(number, node.expr, self.indices(lookups(positions), scope), scope)
            case Partial():
                return self._loads.partial(number, node.expr, scope)
            case Scalar(param):
                return self._scalar(number, param, scope)
            case Const(value):
                return Number(value, (), node.type.kind)
            case Size(value):
                return SizeExpr(value)
            case MaxOf(dtype):
                return Largest(self._target.dtype(dtype), (), node.type.kind)
            case Index(axis):
                return scope.index(axis)
            case Elementwise(op, args):
                return self._applied(number, op, [self.wide(arg, scope) for arg in args], scope)
            case Cast(arg, dtype):
                value = self.wide(arg, scope)
                rounded = Rounded(value, self._target.dtype(dtype), value.dims, node.type.kind)
                name = self._naming.assign(number, rounded, scope)
                return Name(name.text, name.dims, name.kind, dtype, number in self._facts.apart)
            case Dot():
                if not self._facts.is_looped(number):
                    raise InternalError("build_kernels", "a dot outside of the loop over what it contracts")
                return self._naming.assign(number, self._product(number, node.expr, scope), scope)
            case Reduce():
                folded = self._reductions.folded(number, self.reduced(number, scope))
                return self._naming.assign(number, folded, scope)
            case Choose():
                return self._chosen(number, node.expr, scope)
            case Neighbours():
                raise InternalError("build_kernels", "two elements at each position, which no dot reads")
            case _:
                assert_never(node.expr)

    def _scalar(self, number: NodeId, param: str, scope: Scope) -> Value:
        """A number of the call, which comes in f32 or f64, rounded to its declared type.

        One of f64 is stored so, for reals may be computed in f32.
        """
        value = Name(param, (), self._facts.nodes[number].type.kind)
        scalar = self._target.graph.param(param)
        assert isinstance(scalar, ScalarParam)
        if scalar.dtype == F64:
            return Name(param, (), Kind.REAL, F64)
        if scalar.dtype.kind is not Kind.REAL or scalar.dtype.bits >= 32:
            return value
        text = self._naming.names.fresh(f"{param}_rounded")
        name = Name(text, (), Kind.REAL, scalar.dtype, bits=scalar.dtype.name == "bf16")
        scope.statements.append(Assign(name, Rounded(value, scalar.dtype, (), Kind.REAL)))
        return name

    def _applied(self, number: NodeId, op: str, args: list[Value], scope: Scope) -> Value:
        dims = self._grid.order({dim for arg in args for dim in arg.dims})
        if self._target.contracts and self._facts.nodes[number].type.kind is Kind.REAL:
            numbers = operands(self._facts.nodes[number].expr)
            args = [self._as_real(*each) for each in zip(numbers, args, strict=True)]
        if number in self._facts.long:
            first = next((place for place, arg in enumerate(args) if not isinstance(arg, Number)), 0)
            args[first] = AsWhole(args[first], Whole.LONG, args[first].dims)
        args = self._short(operands(self._facts.nodes[number].expr), args, scope)
        value = Apply(op, tuple(args), dims, self._facts.nodes[number].type.kind)
        if self._facts.is_inlined(number) and _operations(value) <= _INLINE:
            return value
        return self._naming.assign(number, value, scope)

    def _short(self, numbers: Sequence[NodeId], args: list[Value], scope: Scope) -> list[Value]:
        """The operands of an operation, the longest in lines of their own while its line would be too long."""
        if 1 + sum(map(_length, args)) <= _MOST:
            return args
        longest = max(range(len(args)), key=lambda place: _length(args[place]))
        name = self._naming.assign(numbers[longest], args[longest], scope)
        return self._short(numbers, [*args[:longest], name, *args[longest + 1 :]], scope)

    def _chosen(self, number: NodeId, expr: Choose, scope: Scope) -> Value:
        """One name, assigned in the branch of each case; what only one case needs is computed in its branch."""
        branches: list[tuple[Scope, Value]] = []
        for _, case in expr.cases:
            branch = Scope(scope, only=self._facts.only_for(case, number), last_read=scope.last_read)
            branches.append((branch, self.wide(case, branch)))
        dims = self._grid.order({dim for _, value in branches for dim in value.dims})
        name = self._of_cases(number, dims, branches, scope)
        cases: list[tuple[Test | None, tuple[Statement, ...]]] = []
        for (case_name, _), (branch, value) in zip(expr.cases, branches, strict=True):
            if value != name:
                branch.statements.append(Assign(name, self._spread(value, name)))
            cases.append((_test(expr.selector, case_name), tuple(branch.statements)))
        cases[-1] = (None, cases[-1][1])
        scope.statements.append(Branch(tuple(cases)))
        return name

    def _of_cases(self, number: NodeId, dims: Dims, branches: list[tuple[Scope, Value]], scope: Scope) -> Name:
        """What a choice is called: without a name of its own, as the first case that is computed in its branch."""
        kind = self._facts.nodes[number].type.kind
        if self._facts.nodes[number].name is None:
            for branch, value in branches:
                inside = any(value == known for known in branch.values.values())
                if inside and isinstance(value, Name) and value == Name(value.text, dims, kind):
                    return value
        return Name(self._naming.of(number, scope), dims, kind)

    def _spread(self, value: Value, name: Name) -> Value:
        """A scalar over all lanes of the tile that other branches give the same name."""
        if value.dims or not name.dims or not self._grid.has_sizes:
            return value
        shape = self._grid.shape(name.dims)
        if isinstance(value, Number):
            return Filled(name.dims, shape, value.value, name.kind)
        return Apply("add", (Filled(name.dims, shape, 0.0, name.kind), value), name.dims, name.kind)

    def _index(self, number: NodeId, scope: Scope) -> Value:
        value = self.wide(number, scope)
        if isinstance(value, Name):
            return value
        home = scope.home(number, self._facts.is_looped(number))
        home.values[number] = self._naming.assign(number, value, home)
        return home.values[number]


def widened(value: Value) -> Value:
    """A value that may be in a storage type, ready for arithmetic."""
    if isinstance(value, Name) and value.storage is not None:
        return Widened(Name(value.text, value.dims, value.kind), value.storage, value.dims, value.kind, value.bits)
    return value


def _digit(value: Value, inside: Range) -> tuple[Value, int | None]:
    """The byte that `value` is a digit of, of four bits, and which; else the value itself.

    Told by what the operation makes of every byte.
    """
    match value:
        case Apply(op, (byte, Number(place))) if inside.within(0, 15) and byte.dims and (at := ELEMENTWISE[op].at):
            for digit in (0, 1):
                if all(at(code, place) == code >> 4 * digit & 15 for code in range(256)):
                    return byte, digit
    return value, None


def _test(selector: str, case: str) -> Test:
    return Given(selector, case == OMITTED) if case in (GIVEN, OMITTED) else Chosen(selector.upper(), case)


def _operations(value: Value) -> int:
    match value:
        case Apply(args=args):
            return 1 + sum(map(_operations, args))
        case Widened(arg) | AsWhole(arg):
            return 1 + _operations(arg)
        case _:
            return 0


def _length(value: Value) -> int:
    """How much of a line there is to follow: its operations, but for conversions and those with a size."""
    match value:
        case Apply(args=args):
            return (not any(isinstance(arg, SizeExpr) for arg in args)) + sum(map(_length, args))
        case Widened(arg) | AsWhole(arg):
            return _length(arg)
        case _:
            return 0
