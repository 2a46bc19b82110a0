"""Boxes of a contraction as lines of the launcher: how the copy engine sees its tensors, and how a run cuts them."""

from __future__ import annotations

from collections.abc import Mapping

from fusec.codegen.extents import count
from fusec.codegen.matrices import MatrixText
from fusec.codegen.signature import literal, sequence
from fusec.ir.kernel import Kernel
from fusec.ir.plan import Box, Boxes, Stage
from fusec.ir.types import Axis


class BoxWriter:
    """Writes the boxes of an op. `itemsizes` has the bytes of an element of each tensor, as text."""

    def __init__(self, matrices: MatrixText, itemsizes: Mapping[str, str]) -> None:
        self._matrices = matrices
        self._itemsizes = itemsizes

    def lines(self, name: str, boxes: Boxes) -> list[str]:
        """All boxes under `name`, each None where the copy engine cannot move tiles of it."""
        return [f"{name} = (", *(f"    {self._box(box)}," for box in boxes.all), ")"]

    def _box(self, box: Box) -> str:
        first, *_ = box.matrices
        names = sequence(literal(matrix.tensor) for matrix in box.matrices)
        axes = (sequence([count((a,)), *(self._matrices.stride(m, a) for m in box.matrices)]) for a in box.axes)
        parts = [names, self._itemsizes[first.tensor], *axes]
        offsets = [self._matrices.offset(matrix) for matrix in box.matrices]
        if any(offset != "0" for offset in offsets):
            parts.append(f"offsets={sequence(offsets)}")
        return f"box({', '.join(parts)})"


def cuts(boxes: str, stage: Stage, kernel: Kernel) -> list[str]:
    """The `boxes` of a launch by parameter, each cut into the tiles of a `run`."""
    assert stage.boxes is not None
    halved = {product.block for product in stage.boxes.products if stage.boxes.is_halved}
    return [
        f"{literal(name)}: {boxes}[{place}].cut({', '.join(_cut(stage, axis, box in halved) for axis in box.axes)})"
        for place, (name, box) in enumerate(zip(kernel.boxes, stage.boxes.all, strict=True))
    ]


def flips(stage: Stage, kernel: Kernel, names: tuple[str, ...]) -> dict[str, str]:
    """The parameters, `names`, that say which buffer of a box lies first, each with the box."""
    assert stage.boxes is not None
    paired = (name for name, box in zip(kernel.boxes, stage.boxes.all, strict=True) if len(box.tensors) > 1)
    return dict(zip(names, paired, strict=True))


def _cut(stage: Stage, axis: Axis, halved: bool) -> str:
    if axis in stage.stream:
        return "run.step"
    return {stage.side: "run.side", stage.block: "2 * run.block" if halved else "run.block"}.get(axis, "1")
