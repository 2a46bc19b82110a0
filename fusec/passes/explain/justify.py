"""Justify: for every reduction of an op where each plan puts it, the rules that put it there, and those refused.

Decides nothing. The graph with its reductions and dots `marked` goes through all passes, and what they made of each
mark is said in words.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from fusec.ir.builder import GraphBuilder
from fusec.ir.expressions import Dot, NodeId, Reduce
from fusec.ir.flow import Flow, FlowNode, axes_text
from fusec.ir.graph import Graph, Node
from fusec.ir.multiply import F32, Sums, is_number_of, multiplied_as, sums_of
from fusec.ir.ops import REDUCTIONS
from fusec.ir.schedule import Schedule
from fusec.ir.stage import Stage
from fusec.ir.types import Axis, Computed
from fusec.passes.graph.commute import Leaving, commuted, reducing
from fusec.passes.graph.defer import deferred
from fusec.passes.graph.deferral import Moves
from fusec.passes.graph.factor import Factor
from fusec.passes.graph.marks import mark_of, marked_reductions, numbers
from fusec.passes.graph.obstacles import words
from fusec.passes.schedule.survey import depths


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule of algebra and a reduction: to what it applied, or the first condition that failed."""

    name: str
    applied: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Reduction:
    """A reduction of an op, counted from 1, in the words of its spec."""

    number: int
    words: str
    rules: tuple[Rule, ...]


@dataclass(frozen=True, slots=True)
class Contraction:
    """A dot of an op, counted from 1, in the words of its spec, and the type that it multiplies in, in words."""

    number: int
    words: str
    rules: tuple[Rule, ...]
    multiplied: str = ""


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a plan puts a reduction: in the kernel of which stage, and how."""

    reduction: int
    stage: str
    place: str


def justify(graph: Graph, before: Graph, flow: Flow) -> tuple[Reduction, ...]:
    """The reductions of `graph` with the rules of each.

    The others are what the passes made of `marked(graph)`: `before` is simplified, `flow` has its views resolved.
    """
    rules: dict[int | None, tuple[Rule, ...]] = {}

    def told(builder: GraphBuilder, node: Node, found: Leaving) -> None:
        rules[mark_of(node, Reduce)] = tuple(_commute(builder, node, found))

    after = commuted(before, told)
    return tuple(
        Reduction(number, _title(graph.nodes[node]), _rules(number, rules.get(number), after, flow))
        for node, number in numbers(graph, Reduce).items()
    )


def contractions(graph: Graph, before: Graph) -> tuple[Contraction, ...]:
    """The dots of `graph` with the rules of each. `before` is what `commute` made of `marked(graph)`."""
    rules: dict[int | None, tuple[Rule, ...]] = {}

    def told(builder: GraphBuilder, node: Node, found: Moves) -> None:
        rules[mark_of(node, Dot)] = (*_defer(builder, node, found), _fold(builder, found))

    after = deferred(before, told)
    multiplied = {
        mark_of(node, Dot): _multiplied(after, node.expr) for node in after.nodes if isinstance(node.expr, Dot)
    }
    shared = (Rule("share", True, "equal to another dot, computed once"),)
    return tuple(
        Contraction(number, words(graph.nodes[node]), rules.get(number, shared), multiplied.get(number, ""))
        for node, number in numbers(graph, Dot).items()
    )


def placements(plan: Schedule) -> tuple[Placement, ...]:
    """Where a plan of a marked graph puts its reductions, in the order of its stages."""
    return tuple(
        Placement(number, stage.kernel, text)
        for stage in plan.stages
        for number, places in marked_reductions(stage.flow.nodes, stage.live).items()
        for text in dict.fromkeys(_place(stage, place) for place in places)
    )


# Rules

_DEFER = Rule("defer", False, "it is no sum of products of two tensors (`dot`)")


def _rules(number: int, commute: tuple[Rule, ...] | None, after: Graph, flow: Flow) -> tuple[Rule, ...]:
    new, met = (_reduce(number, form.nodes) for form in (after, flow))
    if commute is None or new is None or met is None:
        return (Rule("share", True, "equal to another reduction, computed once"),)
    return (_merge(number, new, flow), *commute, _DEFER, _online(after, new))


def _merge(number: int, new: Reduce, flow: Flow) -> Rule:
    places = {mark: found[0] for mark, found in marked_reductions(flow.nodes, flow.live).items()}
    mine = places.pop(number)
    depth = depths(flow, _axes(flow, mine))
    sweeps = {mark: depth[n] for mark, n in places.items() if _slices(flow, n) == _slices(flow, mine)}
    together = [mark for mark, sweep in sweeps.items() if sweep == depth[mine]]
    if together:
        return Rule("merge", True, f"one sweep with reduction {' and '.join(map(str, together))}")
    if sweeps:
        order = {mark: "an earlier" if sweep < depth[mine] else "a later" for mark, sweep in sweeps.items()}
        return Rule("merge", False, ", ".join(f"reduction {mark} needs {word} sweep" for mark, word in order.items()))
    return Rule("merge", False, f"no other reduction of the same rows over {axes_text(new.axes)}")


def _axes(flow: Flow, number: NodeId) -> tuple[Axis, ...]:
    expr = flow.nodes[number].expr
    return expr.axes if isinstance(expr, Reduce) else ()


def _slices(flow: Flow, number: NodeId) -> tuple[frozenset[Axis], frozenset[Axis]]:
    """The axes a reduction removes, and those it keeps."""
    return frozenset(_axes(flow, number)), frozenset(flow.nodes[number].type.axes)


def _reduce(number: int, nodes: Sequence[Node | FlowNode]) -> Reduce | None:
    """What a pass made of a reduction, if it is still there: any of its parts."""
    places = marked_reductions(nodes).get(number)
    expr = nodes[places[0]].expr if places else None
    return expr if isinstance(expr, Reduce) else None


def _commute(builder: GraphBuilder, node: Node, found: Leaving) -> Iterator[Rule]:
    assert isinstance(node.expr, Reduce)
    axes = axes_text(node.expr.axes)
    if found.factors:
        sign = "" if REDUCTIONS[node.expr.op].passes_any_sign else "is positive, "
        left = " and ".join(sorted({words(builder[factor]) for factor in found.factors}))
        yield Rule("commute", True, f"{left} {sign}has no axis {axes}, and left it")
    if found.kept:
        yield Rule("commute", False, found.kept.sentence.format(words(builder[found.kept.value])))
    if not found.waits:
        yield Rule("commute", False, f"it waits for no other reduction over {axes}")


def _defer(builder: GraphBuilder, node: Node, found: Moves) -> Iterator[Rule]:
    assert isinstance(node.expr, Dot)
    if found.left.factors:
        verb = "has" if len(found.left.factors) == 1 else "have"
        yield Rule(
            "defer", True, f"{_all(builder, found.left.factors)} {verb} no axis {axes_text(node.expr.axes)}, and left"
        )
    if found.left.negative:
        yield Rule("defer", True, "the sign left")
    if found.kept:
        yield Rule("defer", False, found.kept)


def _fold(builder: GraphBuilder, found: Moves) -> Rule:
    if found.onto is None:
        return Rule("fold", False, found.unfolded or "")
    weight = words(builder[found.operands[found.onto].factors[0].value])
    verb = "follows" if len(found.folded) == 1 else "follow"
    return Rule("fold", True, f"{_all(builder, found.folded)} {verb} from weights alone, and joined {weight}")


_SUMS = {
    Sums.PARTS: "with sums in f32, where the tensor core has fewer digits of at most 128 products",
    Sums.FAST: "with sums in as few digits as the tensor core has, by accum",
    Sums.WHOLE: "with sums in i32, in i64 by threads where these may be too large for it",
}


def _multiplied(graph: Graph, dot: Dot) -> str:
    """The type that a dot multiplies in once factors have left it, and the word by which operands are rounded to it."""
    types = multiplied_as(graph.nodes, dot)
    if types is None:
        return ""
    both, storage, sums = (dot.a, dot.b), types[0], sums_of(graph.nodes, dot)
    if sums is not Sums.SINGLE:
        return f"in {' by '.join(dict.fromkeys(map(str, types)))}, {_SUMS[sums]}"
    if not all(is_number_of(graph.nodes, number, storage) for number in both):
        return f"in {storage}, to which operands may be rounded by precision={storage}"
    if storage == F32 and dot.precision != "ieee":
        return f"in f32, of which operands may lose digits by precision={dot.precision}"
    elements = {graph.nodes[number].type.element for number in both}
    computed = storage == F32 and any(isinstance(element, Computed) for element in elements)
    return f"in {storage}{', since an operand is computed' if computed else ''}"


def _all(builder: GraphBuilder, factors: tuple[Factor, ...]) -> str:
    return " and ".join(dict.fromkeys(words(builder[factor.value]) for factor in factors))


def _online(after: Graph, new: Reduce) -> Rule:
    if reducing(after.nodes, new.axes)(new.arg):
        return Rule("online", False, "not built: what it waits for is finished first")
    return Rule("online", False, f"it waits for no other reduction over {axes_text(new.axes)}")


# Places


def _place(stage: Stage, number: NodeId) -> str:
    reduce = stage.flow.nodes[number].expr
    assert isinstance(reduce, Reduce)
    looped = tuple(axis for axis in reduce.axes if axis in stage.loop)
    if stage.is_split and looped:
        return f"split over programs along {axes_text(looped)}, combined in fixed order by the stages after it"
    if looped:
        depth = depths(stage.flow, stage.loop)
        return f"streamed along {axes_text(looped)}, sweep {depth[number]} of {_sweeps(stage, depth)}"
    return "in registers, several rows to a program" if stage.lanes else "in registers"


def _sweeps(stage: Stage, depth: Mapping[NodeId, int]) -> int:
    """How many sweeps end in a reduction."""
    return max(depth[n] for n in stage.live)


# Words


def _title(node: Node) -> str:
    assert isinstance(node.expr, Reduce)
    op, text = node.expr.op, words(node)
    return text if text.startswith(f"{op}(") else text.replace(op, f"{op} over {axes_text(node.expr.axes)}", 1)
