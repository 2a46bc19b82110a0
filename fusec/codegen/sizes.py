"""The part of `_plan` that finds how the arguments lie in memory: leading axes as two, flat walks, strides by name."""

from __future__ import annotations

import sympy

from fusec.codegen.checks import LEAD, has_lead, shape_text
from fusec.codegen.signature import literal, sequence
from fusec.ir.expressions import Index
from fusec.ir.flow import LEAD_AXES, Affine, Load, Position, Size
from fusec.ir.graph import Output, TensorParam
from fusec.ir.layout import stored_dims, strides
from fusec.ir.plan import Held, Stage
from fusec.ir.program import Program
from fusec.ir.sizes import size_text
from fusec.ir.types import Axis, Dim, product_extent

_LEADS = tuple(str(axis) for axis in LEAD_AXES)
_LEFT = 100
"""Characters that the left side of an assignment may have before it gets lines of its own."""


class SizeWriter:
    """Writes the variables that the launches of an op take their sizes from.

    `led` has the tensors that begin with `...`, in the order of their offsets: arguments, outputs, and what plans of
    several steps keep. `kept` are all tensors of that last kind. Kernels that are `steady` are of plans that use none
    that begins with `...`: they would do the same in every walk, and what they write in place is written once.
    """

    def __init__(self, program: Program) -> None:
        self._graph = program.spelled
        self._made: tuple[Output | Held, ...] = (*self._graph.outputs, *program.kept)
        self.kept = tuple(kept.name for kept in program.kept)
        self._kernels = program.kernels
        plans = [plan.plan for plan in program.plans]
        self._stages = [stage for plan in plans for stage in plan.stages]
        self._lead_tensors = [tensor.name for tensor in self._graph.tensors if has_lead(tensor.dims)]
        self.led = (*self._lead_tensors, *(tensor.name for tensor in self._made if has_lead(tensor.dims)))
        self.walks = bool(self._lead_tensors)
        self.steady = frozenset(
            kernel.name
            for plan in program.plans
            if not any(name in self.led for kernel in plan.kernels for name in kernel.pointers)
            for kernel in plan.kernels
        )

    def lines(self) -> list[str]:
        """Every size that some kernel takes, by the name it has there."""
        return [*(self._collapse() if self.walks else []), *self._flatten(), *self._sizes()]

    def _collapse(self) -> list[str]:
        """Leading axes of all tensors as the two axes a kernel walks."""
        given = [self._lead_strides(self._graph.tensor(name)) for name in self._lead_tensors]
        led = [made for made in self._made if has_lead(made.dims)]
        shapes = [f"{made.name}.shape" if isinstance(made, Output) else shape_text(made.dims) for made in led]
        given += [f"contiguous({shape})[: len({LEAD})]" for shape in shapes]
        pairs = [f"({name}_lead1, {name}_lead0)" for name in self.led]
        left = ", ".join(pairs) if len(pairs) > 1 else sequence(pairs)
        one = [f'tiles.require_one_walk("{self._graph.name}", rows)'] if self._reduces_lead() else []
        return [
            f"rows = collapse({', '.join([LEAD, *given])})",
            *one,
            f"{f'({left})' if len(left) > _LEFT else left} = rows.strides",
            "lead1, lead0 = rows.count // rows.inner, rows.inner",
        ]

    def _reduces_lead(self) -> bool:
        """Whether some kernel walks `...` in a loop or a tile, which several launches cannot share."""
        return any(axis in LEAD_AXES for stage in self._stages for axis in (*stage.tile, *stage.stream))

    def _lead_strides(self, tensor: TensorParam) -> str:
        text = f"{tensor.name}.stride()[: len({LEAD})]"
        return f"({text} if {tensor.name} is not None else [0] * len({LEAD}))" if tensor.optional else text

    def _flatten(self) -> list[str]:
        """Where every tensor is one run of memory and the op treats all elements alike, walk it as one long axis."""
        axes = self._flat_axes()
        if not axes:
            return []
        tensors = ", ".join(tensor.name for tensor in self._graph.tensors)
        total = size_text(product_extent(axes))
        names = ", ".join(map(str, axes))
        return [f"if tiles.is_flat({tensors}):", f"    {names} = {'1, ' * (len(axes) - 1)}{total}"]

    def _flat_axes(self) -> tuple[Axis, ...]:
        if self.kept:
            return ()
        orders = {stage.order for stage in self._stages}
        if len(orders) != 1 or any(stage.tile for stage in self._stages):
            return ()
        axes = orders.pop()
        named = all(str(axis).isidentifier() for axis in axes)
        return axes if len(axes) > 1 and named and all(_is_uniform(stage, axes) for stage in self._stages) else ()

    def _sizes(self) -> list[str]:
        used = dict.fromkeys(name for kernel in self._kernels for name in (*kernel.integers, *kernel.structure))
        entries = {name: name for name in used if "_stride_" not in name} | self.strides()
        lines = ["sizes = {", *(f'    "{name}": {text},' for name, text in entries.items() if name in used), "}"]
        aligned = dict.fromkeys(name for kernel in self._kernels for name in kernel.aligned)
        return [*lines, f"width = tiles.width(sizes, {', '.join(map(literal, aligned))})"] if aligned else lines

    def strides(self) -> dict[str, str]:
        """Every stride by its name, as text."""
        found = [entry for tensor in self._graph.tensors for entry in _tensor_strides(tensor)]
        found += [entry for made in self._made for entry in _made_strides(made.name, made.dims)]
        return dict(found)


def _tensor_strides(tensor: TensorParam) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    flat = stored_dims(tensor.dims)
    for place, (dim, stride) in enumerate(zip(flat, strides(tensor.name, tensor.dims), strict=True)):
        if _is_lead(dim, tensor.dims):
            text = f"{tensor.name}_{dim[0]}"
        else:
            where = place - len(flat) if has_lead(tensor.dims) else place
            text = f"{tensor.name}.stride({where})"
            text = f"0 if {tensor.name} is None else {text}" if tensor.optional else text
        found.append((stride.name, text))
    return found


def _made_strides(name: str, dims: tuple[Dim, ...]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    flat = stored_dims(dims)
    for place, (dim, stride) in enumerate(zip(flat, strides(name, dims), strict=True)):
        inner = sympy.Mul(*(product_extent(below) for below in flat[place + 1 :]))
        found.append((stride.name, f"{name}_{dim[0]}" if _is_lead(dim, dims) else size_text(inner)))
    return found


def _is_lead(dim: Dim, dims: tuple[Dim, ...]) -> bool:
    return len(dim) == 1 and str(dim[0]) in _LEADS and has_lead(dims)


def _is_uniform(stage: Stage, axes: tuple[Axis, ...]) -> bool:
    """Whether a stage treats all elements alike: every access is of all axes in memory order, or of none."""
    total = product_extent(axes)
    for node in stage.flow.nodes:
        match node.expr:
            case Index():
                return False
            case Size(value) if not (value.is_Integer or value == total):
                return False
            case Load(positions=positions, pair=pair):
                if pair is not None or not _is_whole(positions, axes):
                    return False
    stores = [store for store in stage.flow.stores if store.positions]
    return all(store.pair is None and _is_whole(store.positions, axes) for store in stores)


def _is_whole(positions: tuple[Position, ...], axes: tuple[Axis, ...]) -> bool:
    affine = [position for position in positions if isinstance(position, Affine)]
    walked = tuple(axis for position in affine for axis in position.axes)
    return len(affine) == len(positions) and walked == axes and all(position.offset == 0 for position in affine)
