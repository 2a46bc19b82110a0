"""The typed graph of an op: what it computes, on named axes, with no word about how.

Nodes stand in topological order and name their operands by position. A graph is immutable; `GraphBuilder` makes one,
shares equal expressions and types every node. Choices and optional tensors stay in the graph as `Choose`, so one
graph covers every variant of the op.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Generic, TypeAlias, TypeVar, assert_never

import sympy

from fusec.diagnostics import Span
from fusec.ir.types import Axis, Dim, DType, DTypeVar, Named, Storage, ValueType

NodeId: TypeAlias = int


class Layout(Enum):
    """How the parts of an axis are stored."""

    HALVES = "halves"  # part k, position i  <->  i + k * D/2
    PAIRS = "pairs"  # part k, position i  <->  2 i + k
    PARTS = "parts"  # the parts of `L + R`, one after another


@dataclass(frozen=True, slots=True)
class Input:
    """The tensor parameter `param`, whole."""

    param: str


@dataclass(frozen=True, slots=True)
class Scalar:
    """The run-time scalar parameter `param`, rounded to its declared dtype."""

    param: str


@dataclass(frozen=True, slots=True)
class Const:
    """A literal number."""

    value: float | int | bool


@dataclass(frozen=True, slots=True)
class MaxOf:
    """`max_of(dtype)`: the largest finite number of a storage type, which may be a type variable."""

    dtype: Storage


@dataclass(frozen=True, slots=True)
class Index:
    """`index(N)`: the position along an axis, from 0."""

    axis: Axis


@dataclass(frozen=True, slots=True)
class Extent:
    """The extent of an axis, or of a product of axes, used as a number."""

    dim: Dim


@dataclass(frozen=True, slots=True)
class Elementwise:
    """An operation of `ops.ELEMENTWISE`, on operands broadcast by axis name."""

    op: str
    args: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Cast:
    """Round to a storage type: to nearest even, saturating for f8 and integers, NaN kept. Never removed."""

    arg: NodeId
    dtype: Storage


@dataclass(frozen=True, slots=True)
class Reduce:
    """A reduction of `ops.REDUCTIONS` over `axes`."""

    op: str
    arg: NodeId
    axes: tuple[Axis, ...]


@dataclass(frozen=True, slots=True)
class Dot:
    """Sum over `axes` of the product of two operands; other shared axes are batch axes."""

    a: NodeId
    b: NodeId
    axes: tuple[Axis, ...]
    accum: str = "exact"


@dataclass(frozen=True, slots=True)
class Part:
    """Part `index` of `axis`: its halves, its pairs, or the parts of a sum."""

    arg: NodeId
    axis: Axis
    layout: Layout
    index: int


@dataclass(frozen=True, slots=True)
class Merge:
    """The inverse of `Part`: `args` become the parts of `axis`."""

    args: tuple[NodeId, ...]
    axis: Axis
    layout: Layout


@dataclass(frozen=True, slots=True)
class Rename:
    """The same values with axis `old` under the name `new`, which has the same extent."""

    arg: NodeId
    old: Axis
    new: Axis


@dataclass(frozen=True, slots=True)
class Gather:
    """`param[i, j]`: the first `len(indices)` dims of a tensor parameter are looked up; the rest are kept."""

    param: str
    indices: tuple[NodeId, ...]


@dataclass(frozen=True, slots=True)
class Segment:
    """`segment(offsets, N)`: for each position of `axis`, the k with offsets[k] <= position < offsets[k + 1]."""

    offsets: NodeId
    axis: Axis


@dataclass(frozen=True, slots=True)
class Choose:
    """The case that the caller picked by the parameter `selector`.

    For a choice parameter the case names are its options. For an optional tensor they are `GIVEN` and `OMITTED`.
    """

    selector: str
    cases: tuple[tuple[str, NodeId], ...]


GIVEN = "given"
OMITTED = "omitted"

Expr: TypeAlias = (
    Input
    | Scalar
    | Const
    | MaxOf
    | Index
    | Extent
    | Elementwise
    | Cast
    | Reduce
    | Dot
    | Part
    | Merge
    | Rename
    | Gather
    | Segment
    | Choose
)


E = TypeVar("E")


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

    An `optional` one may be omitted; the graph then takes the `OMITTED` case of the `Choose` it selects.
    """

    name: str
    element: Storage
    dims: tuple[Dim, ...]
    static: bool = False
    mutable: bool = False
    optional: bool = False
    default_text: str | None = None
    span: Span | None = field(default=None, compare=False)


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


Param: TypeAlias = TensorParam | ScalarParam | DimParam | ChoiceParam


@dataclass(frozen=True, slots=True)
class Output:
    """A result tensor: node `value` rounded to `element` and stored in the layout `dims`, contiguous."""

    name: str
    element: Storage
    dims: tuple[Dim, ...]
    value: NodeId
    span: Span | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Scatter:
    """`param[i, j] = value`: an in-place write to a mutable tensor. Where indices collide, the order is not defined."""

    param: str
    indices: tuple[NodeId, ...]
    value: NodeId
    span: Span | None = field(default=None, compare=False)


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


SIZE = sympy.Symbol("size", integer=True, nonnegative=True)


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
    """One op."""

    name: str
    doc: str
    params: tuple[Param, ...]
    outputs: tuple[Output, ...]
    nodes: tuple[Node, ...]
    scatters: tuple[Scatter, ...] = ()
    variables: tuple[DTypeVar, ...] = ()
    solves: tuple[Solve, ...] = ()
    constraints: tuple[Constraint, ...] = ()

    def param(self, name: str) -> Param:
        """The parameter called `name`."""
        return next(param for param in self.params if param.name == name)

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
    def roots(self) -> tuple[NodeId, ...]:
        """Every node something outside the graph depends on."""
        effects = (n for scatter in self.scatters for n in (*scatter.indices, scatter.value))
        return (*(output.value for output in self.outputs), *effects)


def operands(expr: Expr) -> tuple[NodeId, ...]:
    """The nodes an expression reads."""
    match expr:
        case Input() | Scalar() | Const() | MaxOf() | Index() | Extent():
            return ()
        case Elementwise(args=args) | Merge(args=args):
            return args
        case Cast(arg=arg) | Reduce(arg=arg) | Part(arg=arg) | Rename(arg=arg) | Segment(offsets=arg):
            return (arg,)
        case Dot(a=a, b=b):
            return (a, b)
        case Gather(indices=indices):
            return indices
        case Choose(cases=cases):
            return tuple(value for _, value in cases)
        case _:
            assert_never(expr)


def with_operands(expr: Expr, new: tuple[NodeId, ...]) -> Expr:
    """The same expression over other nodes, given in the order of `operands`."""
    match expr:
        case Input() | Scalar() | Const() | MaxOf() | Index() | Extent():
            return expr
        case Elementwise() | Merge():
            return replace(expr, args=new)
        case Cast() | Reduce() | Part() | Rename():
            return replace(expr, arg=new[0])
        case Segment():
            return replace(expr, offsets=new[0])
        case Dot():
            return replace(expr, a=new[0], b=new[1])
        case Gather():
            return replace(expr, indices=new)
        case Choose(cases=cases):
            return replace(expr, cases=tuple((case, n) for (case, _), n in zip(cases, new, strict=True)))
        case _:
            assert_never(expr)


def reachable(nodes: tuple[Node, ...], roots: tuple[NodeId, ...]) -> frozenset[NodeId]:
    """All nodes that `roots` depend on, themselves included."""
    seen: set[NodeId] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node not in seen:
            seen.add(node)
            stack.extend(operands(nodes[node].expr))
    return frozenset(seen)


def users(graph: Graph) -> tuple[tuple[NodeId, ...], ...]:
    """For each node, the nodes that read it."""
    found: list[list[NodeId]] = [[] for _ in graph.nodes]
    for number, node in enumerate(graph.nodes):
        for operand in dict.fromkeys(operands(node.expr)):
            found[operand].append(number)
    return tuple(map(tuple, found))


class Builder(Generic[E]):
    """Collects typed nodes; an expression that is already there is returned, not added again."""

    def __init__(self) -> None:
        self._nodes: list[NodeOf[E]] = []
        self._known: dict[tuple[object, ValueType], NodeId] = {}

    def add(self, expr: E, type: ValueType, name: str | None = None, span: Span | None = None) -> NodeId:
        """The node of `expr`, new or shared. A shared node without a name takes the one given."""
        key = (_exact(expr), type)
        if key in self._known:
            number = self._known[key]
            if name and self._nodes[number].name is None:
                self._nodes[number] = replace(self._nodes[number], name=name)
            return number
        self._nodes.append(NodeOf(expr, type, name, span))
        self._known[key] = len(self._nodes) - 1
        return len(self._nodes) - 1

    def __getitem__(self, number: NodeId) -> NodeOf[E]:
        return self._nodes[number]

    @property
    def nodes(self) -> tuple[NodeOf[E], ...]:
        return tuple(self._nodes)


GraphBuilder: TypeAlias = Builder[Expr]


def rebuild(graph: Graph, change: Callable[[GraphBuilder, Node, tuple[NodeId, ...]], NodeId]) -> Graph:
    """A graph with every reachable node passed through `change(builder, old node, new operands)`; the rest dropped."""
    builder = Builder[Expr]()
    live = reachable(graph.nodes, graph.roots)
    new: dict[NodeId, NodeId] = {}
    for number in sorted(live):
        node = graph.nodes[number]
        new[number] = change(builder, node, tuple(new[n] for n in operands(node.expr)))
    return replace(
        graph,
        nodes=builder.nodes,
        outputs=tuple(replace(output, value=new[output.value]) for output in graph.outputs),
        scatters=tuple(
            replace(s, indices=tuple(new[n] for n in s.indices), value=new[s.value]) for s in graph.scatters
        ),
    )


def keep(builder: GraphBuilder, node: Node, new: tuple[NodeId, ...]) -> NodeId:
    """The change that changes nothing: the same expression over the new operands."""
    return builder.add(with_operands(node.expr, new), node.type, node.name, node.span)


def walk(graph: Graph) -> Iterator[tuple[NodeId, Node]]:
    """The reachable nodes in topological order."""
    live = reachable(graph.nodes, graph.roots)
    return ((number, node) for number, node in enumerate(graph.nodes) if number in live)


def _exact(expr: object) -> object:
    # 1, 1.0 and True are equal and hash alike in Python, 0.0 equals -0.0, and NaN equals nothing: keep them apart.
    return (type(expr.value), repr(expr.value)) if isinstance(expr, Const) else expr
