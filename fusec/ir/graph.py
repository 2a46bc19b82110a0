"""The typed graph of an op: what it computes, on named axes, with no word about how.

Nodes stand in topological order and name their operands by position. A graph is immutable. Choices and optional
tensors stay in the graph as `Choose`, so one graph covers every variant of the op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

import sympy

from fusec.diagnostics import Span
from fusec.ir.expressions import GIVEN, OMITTED, Choose, Const, Dot, Expr, NodeId, operands
from fusec.ir.module import Module
from fusec.ir.types import Dim, DType, DTypeVar, Named, Storage, ValueType

E = TypeVar("E")

BOUNDED = 0.5
"""The share of the elements of results that has to have an error bound, where a spec does not say another."""


@dataclass(frozen=True, slots=True)
class NodeOf(Generic[E]):
    """An expression with its type. `name` is what the spec calls it, `span` where it stands."""

    expr: E
    type: ValueType
    name: str | None = field(default=None, compare=False)
    span: Span | None = field(default=None, compare=False)


Node: TypeAlias = NodeOf[Expr]


@dataclass(frozen=True, slots=True)
class TensorParam:
    """A tensor argument. `static` (`weight`) is known before the call, `mutable` (`mut`) is written in place.

    A `distinct` one holds positions of another tensor, of which those inside of it differ from each other.
    An `optional` one may be omitted; the graph then takes the `OMITTED` case of the `Choose` it selects.
    One of bytes may be the two numbers in each of what it `holds`, as the spec declares it: `i4[M, N]`.
    One that may be `passed` in another type is rounded to `element` before the call.
    """

    name: str
    element: Storage
    dims: tuple[Dim, ...]
    static: bool = False
    mutable: bool = False
    optional: bool = False
    default_text: str | None = None
    span: Span | None = field(default=None, compare=False)
    distinct: bool = False
    holds: str = ""
    passed: Storage | None = None


@dataclass(frozen=True, slots=True)
class ScalarParam:
    """A number the caller passes; `default` is None when it must be given."""

    name: str
    dtype: DType
    default: float | int | bool | None = None
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DimParam:
    """An extent the caller may pass (`inferred`: checked when given, else solved) or must pass."""

    name: str
    axis: Named
    inferred: bool = False
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class ChoiceParam:
    """A string argument among `options`, one specialised kernel each."""

    name: str
    options: tuple[str, ...]
    default: str | None = None
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class DTypeParam:
    """The dtype that a type variable stands for, where no tensor tells it; `default` is None when it must be given."""

    name: str
    variable: DTypeVar
    default: DType | None = None
    span: Span | None = field(default=None, compare=False)


Param: TypeAlias = TensorParam | ScalarParam | DimParam | ChoiceParam | DTypeParam


@dataclass(frozen=True, slots=True)
class Output:
    """A result tensor: node `value` rounded to `element` and stored in the layout `dims`, contiguous.

    It `holds` two numbers in each byte where that is said, as with a parameter.
    """

    name: str
    element: Storage
    dims: tuple[Dim, ...]
    value: NodeId
    span: Span | None = field(default=None, compare=False)
    holds: str = ""


@dataclass(frozen=True, slots=True)
class Scatter:
    """`param[i, j] = value`: an in-place write to a mutable tensor, whole where there are no indices.

    Where indices collide, any of the values may stay; if it `adds` they are all added to what was there. All that an op
    reads it reads before any write.
    """

    param: str
    indices: tuple[NodeId, ...]
    value: NodeId
    span: Span | None = field(default=None, compare=False)
    adds: bool = False


@dataclass(frozen=True, slots=True)
class Solve:
    """How the extent `name` follows from the arguments.

    `value` is an expression over extents solved earlier and the symbol `SIZE`, the size of dimension `dim` of
    tensor `param`; `dim` is negative, counted from the end, when `...` precedes it. A `DimParam` solves its axis
    with `dim` None and `value` the symbol `SIZE` itself.
    """

    name: str
    param: str
    dim: int | None
    value: sympy.Expr


SIZE = sympy.Symbol("<size>", integer=True, nonnegative=True)
"""Called as no axis can be."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """A `where` condition on extents: `left relation right`, checked at run time; `text` as the spec wrote it."""

    left: sympy.Expr
    relation: str
    right: sympy.Expr
    text: str
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Graph:
    """One op, and the classes that own its weights.

    At least the share `bounded` of the elements of its results has an error bound, with ordinary arguments.
    """

    name: str
    doc: str
    params: tuple[Param, ...]
    outputs: tuple[Output, ...]
    nodes: tuple[Node, ...]
    scatters: tuple[Scatter, ...] = ()
    variables: tuple[DTypeVar, ...] = ()
    solves: tuple[Solve, ...] = ()
    constraints: tuple[Constraint, ...] = ()
    modules: tuple[Module, ...] = ()
    overloads: tuple[str, ...] = ()
    """The ops of the same file that take arguments which do not fit this one, in the order in which they are tried."""
    bounded: float = field(default=BOUNDED, compare=False)

    def param(self, name: str) -> Param:
        """The parameter called `name`."""
        return next(param for param in self.params if param.name == name)

    def argument(self, name: str) -> TensorParam | ScalarParam:
        """The tensor or the number of a call that is called `name`."""
        param = self.param(name)
        assert isinstance(param, TensorParam | ScalarParam)
        return param

    def tensor(self, name: str) -> TensorParam:
        """The tensor parameter called `name`."""
        param = self.param(name)
        if not isinstance(param, TensorParam):
            raise TypeError(f"parameter {name!r} of {self.name} is not a tensor")
        return param

    @property
    def tensors(self) -> tuple[TensorParam, ...]:
        return tuple(param for param in self.params if isinstance(param, TensorParam))

    @property
    def may_be_wide(self) -> bool:
        """Whether reals may be computed in f64: some tensor may be of it, or some dtype that callers choose."""
        elements = (*self.variables, *(tensor.element for tensor in self.tensors))
        return any(option.name == "f64" for element in elements for option in element.options)

    @property
    def public(self) -> tuple[str, ...]:
        """What a caller may import: the op and its modules."""
        return (self.name, *(module.name for module in self.modules))

    @property
    def stored(self) -> tuple[str, ...]:
        """The names of all tensors of a call: its arguments, then what comes out."""
        return (*(tensor.name for tensor in self.tensors), *(output.name for output in self.outputs))

    @property
    def untold(self) -> tuple[str, ...]:
        """The extents and type variables that no tensor of a call tells: the caller has to."""
        told = {tensor.element for tensor in self.tensors if not tensor.optional}
        dims = (param.axis.name for param in self.params if isinstance(param, DimParam) and not param.inferred)
        return (*dims, *(variable.name for variable in self.variables if variable not in told))

    @property
    def roots(self) -> tuple[NodeId, ...]:
        """Every node something outside the graph depends on."""
        effects = (n for scatter in self.scatters for n in (*scatter.indices, scatter.value))
        return (*(output.value for output in self.outputs), *effects)

    @property
    def live(self) -> list[NodeId]:
        """The nodes that something outside depends on, in topological order."""
        return sorted(reachable(self.nodes, self.roots))

    @property
    def dots(self) -> dict[NodeId, Dot]:
        """The dots among these."""
        return dots_among(self.nodes, self.live)


class Nodes(Protocol):
    """The nodes of a graph or of a flow, by number."""

    def __getitem__(self, number: NodeId, /) -> NodeOf[Any]: ...


def reachable(
    nodes: Nodes, roots: Iterable[NodeId], into: Callable[[NodeId], bool] = lambda number: True
) -> frozenset[NodeId]:
    """All nodes that `roots` depend on, themselves included. It looks `into` those alone that this is true of."""
    seen: set[NodeId] = set()
    stack = list(roots)
    while stack:
        number = stack.pop()
        if number not in seen:
            seen.add(number)
            if into(number):
                stack.extend(operands(nodes[number].expr))
    return frozenset(seen)


def dots_among(nodes: Nodes, numbers: Iterable[NodeId]) -> dict[NodeId, Dot]:
    """The dots among some nodes, in the order of these."""
    return {number: expr for number in numbers if isinstance(expr := nodes[number].expr, Dot)}


def where_given(nodes: Nodes, number: NodeId) -> NodeId:
    """What a value is in calls that give an optional tensor, if it is 0 in others; the value itself if it is not."""
    match nodes[number].expr:
        case Choose(cases=((case, given), (other, omitted))) if (case, other) == (GIVEN, OMITTED):
            expr = nodes[omitted].expr
            return given if isinstance(expr, Const) and expr.value == 0 else number
    return number


def walk(graph: Graph) -> Iterator[tuple[NodeId, Node]]:
    """The reachable nodes in topological order."""
    return ((number, graph.nodes[number]) for number in graph.live)
