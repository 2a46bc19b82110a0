"""A contraction in the launcher: its extents, the call that knows the best tile for it, and the programs they make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fusec.codegen.extents import count, factor, times
from fusec.ir.expressions import Dot
from fusec.ir.flow import Load, store_axes
from fusec.ir.multiply import F32, multiplied_as
from fusec.ir.plan import Plan, Shape, Stage
from fusec.ir.types import Axis, DType
from fusec.passes.kernel.blocks import block_name

_TILES = {Shape.DEALT: "few_tile", Shape.SWAPPED: "few_tile", Shape.PRODUCT: "product_tile"}
"""The functions of `runtime.dots` that choose the sizes of a tile."""

WIDEST = 128
"""Columns of the accumulators of a tile where registers have to hold more tiles behind the products than those are."""


@dataclass(frozen=True, slots=True)
class Call:
    """A call of a rule for tiles, as text."""

    rule: str
    facts: str

    @property
    def alone(self) -> str:
        """The tile that the rule makes."""
        return f"{self.rule}({self.facts})"

    @property
    def shaped(self) -> str:
        """The tile of the variable `way`, or what the rule makes where that says nothing."""
        return f"shaped(way, {self.rule}, {self.facts})"


def tile_call(shape: Shape, stage: Stage, itemsizes: Mapping[str, str]) -> Call:
    """The call that makes the tile. `itemsizes` has the bytes of an element of each tensor, as text."""
    sizes = [count(axes) for axes in (stage.rows, *_cut(stage))]
    dots = [expr for n in stage.live if isinstance(expr := stage.flow.nodes[n].expr, Dot)]
    facts = [*sizes, _operand_size(stage, dots, itemsizes), str(len(dots))]
    if all(dot.precision == "tf32" for dot in dots):
        facts.append("tf32=True")
    return Call(f"dots.{_TILES[shape]}", ", ".join(facts))


def tile_programs(stage: Stage) -> str:
    """How many programs there are, where `tile` is the tile."""
    side, block, _ = map(count, _cut(stage))
    shares = ["tile.splits"] if stage.split else []
    return times(count(stage.rows), f"tiles.cdiv({side}, tile.side)", f"tiles.cdiv({block}, tile.block)", *shares)


def tile_blocks(stage: Stage) -> dict[str, str]:
    """The compile-time arguments that follow from the tile."""
    names = [block_name(axis) for (axis,) in _cut(stage)]
    sizes = dict(zip(names, ("tile.side", "tile.block", "tile.step"), strict=True))
    inner = factor(count(stage.stream[-1:]))
    loop = {"FULL_STEPS": f"{inner} // tile.step", "HAS_TAIL": f"{inner} % tile.step != 0"}
    return sizes | ({"SPLITS": "tile.splits"} if stage.split else loop)


def contracted(stage: Stage) -> tuple[str, str, str, str]:
    """How many products a contraction makes, the extents of their two sides, and the length of its sums."""
    side, block, _ = map(count, _cut(stage))
    return count(stage.rows), side, block, count(stage.stream)


def contraction_text(stage: Stage) -> str:
    """What a stage with boxes makes, as the run-time library is told."""
    boxes = stage.boxes
    assert boxes is not None
    dots = sum(len(product.dots) for product in boxes.products)
    given = [*contracted(stage), *(["halves=2"] if boxes.is_halved else [f"dots={dots}"] if dots > 1 else [])]
    firsts = {axis for product in boxes.products for axis in product.side.axes}
    again = tuple(axis for axis in stage.rows if axis not in firsts)
    given += [f"again={count(again)}"] if again else []
    given += [f"widest={WIDEST}"] if _reads_beside(stage) > dots * (2 if boxes.is_halved else 1) else []
    return f"Contraction({', '.join(given)})"


def _reads_beside(stage: Stage) -> int:
    """How many tiles as large as the output are read behind the products of a stage."""
    cut = {stage.side, stage.block}
    loads = (node for n in stage.live if isinstance((node := stage.flow.nodes[n]).expr, Load))
    return sum(cut <= set(node.type.axes) for node in loads)


def matrix_beside(plan: Plan) -> tuple[Axis, ...]:
    """The axes of the matrix that a plan for vectors reads, if its programs read as much or more beside it."""
    flows = [stage.flow for stage in plan.stages]
    kept = {axis for flow in flows for store in flow.stores for axis in store_axes(flow, store)}
    nodes = [stage.flow.nodes[number] for stage in plan.stages for number in stage.live]
    read = {node.expr.param: node.type.axes for node in nodes if isinstance(node.expr, Load)}
    long = [axes for axes in read.values() if set(axes) - kept]
    matrices = [axes for axes in long if set(axes) & kept - set(plan.few)]
    return matrices[0] if matrices and len(matrices) * 2 <= len(long) else ()


def work(stage: Stage) -> str:
    """The multiplications of a contraction."""
    return times(*contracted(stage))


def _cut(stage: Stage) -> tuple[tuple[Axis], tuple[Axis], tuple[Axis]]:
    """The axes that a tile has a part of: two of the output, and the one that is walked in steps."""
    assert stage.side is not None
    assert stage.block is not None
    return (stage.side,), (stage.block,), (stage.stream[-1],)


def _operand_size(stage: Stage, dots: list[Dot], itemsizes: Mapping[str, str]) -> str:
    """Bytes of an element that the matrix unit takes, of the widest of the types that the dots multiply in."""
    sizes = dict.fromkeys(size for dot in dots for size in _sizes(stage, dot, itemsizes))
    return f"max({', '.join(sizes)})" if len(sizes) > 1 else next(iter(sizes))


def _sizes(stage: Stage, dot: Dot, itemsizes: Mapping[str, str]) -> list[str]:
    """Bytes of an element of the type that a dot multiplies in: that of its operands which are stored in it."""
    nodes = stage.flow.nodes
    storage = multiplied_as(nodes, dot)
    if storage is None:
        return [str(F32.bits // 8)]
    loads = (nodes[number] for number in (dot.a, dot.b))
    stored = [itemsizes[n.expr.param] for n in loads if isinstance(n.expr, Load) and n.type.element == storage]
    return stored or [str(storage.bits // 8) if isinstance(storage, DType) else f"{storage}.itemsize"]
