"""The part of `_plan` that finds how the arguments lie in memory: leading axes as two, flat walks, strides by name."""

from __future__ import annotations

import sympy

from fusec.codegen.checks import LEAD, has_lead
from fusec.codegen.signature import literal, sequence
from fusec.ir.expressions import Index
from fusec.ir.flow import LEAD_AXES, Affine, Load, Position, Size
from fusec.ir.graph import TensorParam
from fusec.ir.layout import stored_dims, strides
from fusec.ir.plan import Stage
from fusec.ir.program import Program
from fusec.ir.sizes import size_text
from fusec.ir.types import Axis, Dim, product_extent

_LEADS = tuple(str(axis) for axis in LEAD_AXES)
_LEFT = 100
"""Characters that the left side of an assignment may have before it gets lines of its own."""


class SizeWriter:
    """Writes the variables that the launches of an op take their sizes from.

    `lead_tensors` and `lead_outputs` are the arguments that begin with `...`, in the order of their offsets.
    """

    def __init__(self, program: Program) -> None:
        self._graph = program.spelled
        self._kernels = program.kernels
        plans = [plan.plan for group in program.groups for plan in group.all_plans()]
        self._stages = [stage for plan in plans for stage in plan.stages]
        self.lead_tensors = [tensor.name for tensor in self._graph.tensors if has_lead(tensor.dims)]
        self.lead_outputs = [output.name for output in self._graph.outputs if has_lead(output.dims)]

    def lines(self) -> list[str]:
        """Every size that some kernel takes, by the name it has there."""
        return [*(self._collapse() if self.lead_tensors else []), *self._flatten(), *self._sizes()]

    def _collapse(self) -> list[str]:
        """Leading axes of all tensors as the two axes a kernel walks."""
        given = [self._lead_strides(self._graph.tensor(name)) for name in self.lead_tensors]
        given += [f"contiguous({name}.shape)[: len({LEAD})]" for name in self.lead_outputs]
        pairs = [f"({name}_lead1, {name}_lead0)" for name in (*self.lead_tensors, *self.lead_outputs)]
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
        orders = {stage.order for stage in self._stages}
        if len(orders) != 1 or any(stage.tile for stage in self._stages):
            return ()
        axes = orders.pop()
        named = all(str(axis).isidentifier() for axis in axes)
        return axes if len(axes) > 1 and named and all(_is_uniform(stage, axes) for stage in self._stages) else ()

    def _sizes(self) -> list[str]:
        used = dict.fromkeys(name for kernel in self._kernels for name in (*kernel.integers, *kernel.structure))
        entries = [(name, name) for name in used if "_stride_" not in name]
        entries += [entry for tensor in self._graph.tensors for entry in _tensor_strides(tensor)]
        entries += [entry for output in self._graph.outputs for entry in _output_strides(output.name, output.dims)]
        lines = ["sizes = {", *(f'    "{name}": {text},' for name, text in entries if name in used), "}"]
        aligned = dict.fromkeys(name for kernel in self._kernels for name in kernel.aligned)
        return [*lines, f"width = tiles.width(sizes, {', '.join(map(literal, aligned))})"] if aligned else lines


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


def _output_strides(name: str, dims: tuple[Dim, ...]) -> list[tuple[str, str]]:
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
