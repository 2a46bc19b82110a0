"""Extents of axes as text of the launcher: counts, padded tiles, and the compile-time arguments that follow."""

from __future__ import annotations

from fusec.codegen.wrap import split
from fusec.ir.plan import known_extent
from fusec.ir.sizes import size_text
from fusec.ir.types import Axis, product_extent
from fusec.passes.kernel.blocks import block_name, even_name


def count(axes: tuple[Axis, ...]) -> str:
    """The number of positions of several axes together."""
    return size_text(product_extent(axes))


def factor(text: str) -> str:
    """`text` as a factor of a product."""
    weak = any(len(split(text, sign)) > 1 for sign in (" + ", " - ", " // "))
    return f"({text})" if weak else text


def divisor(text: str) -> str:
    """`text` as what something is divided by."""
    return f"({text})" if len(split(text, " * ")) > 1 else factor(text)


def times(*factors: str) -> str:
    """The product of what is not 1."""
    return " * ".join(factor(text) for text in factors if text != "1") or "1"


class Extents:
    """What is known of the extents of an op when it is compiled decides how they are written."""

    def __init__(self, known: dict[str, int]) -> None:
        self._known = known

    def is_fixed(self, axes: tuple[Axis, ...]) -> bool:
        """Whether the spec fixes the extents of all these axes."""
        return all(known_extent(axis, self._known) is not None for axis in axes)

    def padded(self, axes: tuple[Axis, ...]) -> str:
        """The padded extents of a tile, as a product; what the spec fixes as a number."""
        parts: list[str] = []
        for axis in axes:
            known = known_extent(axis, self._known)
            parts.append(
                f"tiles.padded({count((axis,))})" if known is None else str(1 << max(known - 1, 0).bit_length())
            )
        return " * ".join(parts) or "1"

    def row_length(self, axes: tuple[Axis, ...]) -> str:
        """Elements of a row: the first axis as it is, the others padded as their tiles are."""
        first, *rest = axes
        return f"{self.padded(tuple(rest))} * {count((first,))}" if rest else count((first,))

    def tile_blocks(self, axes: tuple[Axis, ...]) -> dict[str, str]:
        """The compile-time arguments of axes that are whole in a tile: padded sizes, and whether no lane is outside."""
        blocks = {block_name(a): f"tiles.padded({count((a,))})" for a in axes if not self._is_power_of_two(a)}
        sizes = {even_name(a): count((a,)) for a in axes if known_extent(a, self._known) is None}
        return blocks | {name: f"tiles.padded({size}) == {factor(size)}" for name, size in sizes.items()}

    def _is_power_of_two(self, axis: Axis) -> bool:
        known = known_extent(axis, self._known)
        return known is not None and known > 0 and known & (known - 1) == 0
