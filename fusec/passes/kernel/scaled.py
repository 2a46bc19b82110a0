"""Scaled products: a step of digits and of scales, loaded as they are stored and given to the tensor core."""

from __future__ import annotations

from fusec.ir.axis_words import index_name
from fusec.ir.digits import BYTE
from fusec.ir.expressions import Position
from fusec.ir.kernel import Total
from fusec.ir.scaled import ONE, PACKED, Digits, ScaledOperand, ScaledProduct, Scales
from fusec.ir.schedule import GemmScaled
from fusec.ir.statements import Assign, Lanes, Let, LoadTile
from fusec.ir.tile_values import (
    Apply,
    Filled,
    InRange,
    MaskName,
    Name,
    Number,
    Rounded,
    ScaledDot,
    ScaledTile,
    ScaleSizes,
    Turned,
    Value,
    WithSigns,
)
from fusec.ir.types import Axis, Kind, extent
from fusec.passes.kernel.addresses import Addresses
from fusec.passes.kernel.grid import START, Grid
from fusec.passes.kernel.naming import Naming
from fusec.passes.kernel.scope import Scope
from fusec.passes.kernel.target import Target


class ScaledTiles:
    """Writes a step of a stage: its loop counts the numbers that share a scale of the tensor core."""

    def __init__(self, stage: GemmScaled, target: Target, grid: Grid, naming: Naming, addresses: Addresses) -> None:
        self._stage = stage
        self._target = target
        self._grid = grid
        self._naming = naming
        self._addresses = addresses
        (self._groups,) = stage.loop
        self._lanes: dict[tuple[Axis, int], tuple[Name, MaskName]] = {}
        self._shared: dict[tuple[Name, int], Name] = {}

    def multiply(self, body: Scope) -> tuple[Total, ...]:
        """A step of all products; their totals are what is summed over groups, outside of `body`."""
        return tuple(Total(self._product(product, body), ()) for product in self._stage.products)

    def _product(self, product: ScaledProduct, body: Scope) -> Name:
        root, dims = body.outermost, (str(self._stage.m), str(self._stage.n))
        total = Name(self._naming.of(product.value, root), dims)
        root.values[product.value] = total
        a, b = self._tile(product.a, body, self._stage.m), self._tile(product.b, body, self._stage.n)
        body.statements.append(Assign(total, ScaledDot(a, b, total, dims)))
        return total

    def _tile(self, operand: ScaledOperand, body: Scope, axis: Axis) -> ScaledTile:
        """Rows by steps, or steps by columns, and in either case the scales of each row or column, along an axis."""
        about, format = operand.scales, operand.digits.format
        digits: Value = self._digits(operand.digits, body)
        if about is None:
            dims, sizes = (
                tuple(map(str, (axis, self._groups))),
                (self._grid.size_of(axis), self._grid.size_of(self._groups)),
            )
            ones = Filled(dims, sizes, ONE, Kind.INT)
            return ScaledTile(digits, Rounded(ones, BYTE, dims, Kind.INT), format)
        # A scale for so many numbers as the tensor core has one for.
        scales: Value = self._scale_at(about, self._along(self._groups, 1, body), about.times, body)
        if about.signed:
            # The scale of every byte of digits.
            each = self._bytes_of(operand.digits)
            signs = self._scale_at(about, self._along(operand.digits.axis, each, body), each * about.times, body)
            digits = WithSigns(digits, signs, digits.dims)
        if about.format == "e4m3":
            scales = ScaleSizes(scales, scales.dims)
        if axis == self._stage.n:
            scales = Turned(self._named(about.tensor, scales, body), tuple(reversed(scales.dims)), scales.kind)
        return ScaledTile(digits, scales, format)

    def _digits(self, digits: Digits, body: Scope) -> Name:
        name, mask = self._along(digits.axis, self._bytes_of(digits), body)
        return self._loaded(digits.tensor, digits.positions, {digits.axis: (name, mask)}, body)

    def _scale_at(self, scales: Scales, index: tuple[Name, MaskName], share: int, body: Scope) -> Name:
        """Scales at positions so many of which share one."""
        at, mask = index
        if share > 1 and (at, share) not in self._shared:
            name = Name(self._naming.names.fresh(index_name(self._groups)), at.dims, Kind.INT)
            places = Number(share.bit_length() - 1, (), Kind.INT)
            body.statements.append(Assign(name, Apply("rshift", (at, places), at.dims, Kind.INT)))
            self._shared[at, share] = name
        at = self._shared.get((at, share), at)
        return self._loaded(scales.tensor, scales.positions, {self._groups: (at, mask)}, body)

    def _loaded(
        self, tensor: str, positions: tuple[Position, ...], indices: dict[Axis, tuple[Name, MaskName]], body: Scope
    ) -> Name:
        inner = Scope(body, indices={axis: name for axis, (name, _) in indices.items()}, combined=body.combined)
        inner.masks |= {axis: mask for axis, (_, mask) in indices.items()}
        access = self._addresses.access(tensor, positions, {}, inner)
        body.statements += inner.taken()
        element = self._target.graph.tensor(tensor).element
        name = Name(self._naming.names.fresh(tensor), access.address.dims, element.kind, element)
        body.statements.append(LoadTile((name,), access.address, access.conditions, 0))
        return name

    def _named(self, hint: str, value: Value, body: Scope) -> Name:
        if isinstance(value, Name):
            return value
        name = Name(self._naming.names.fresh(hint), value.dims, value.kind)
        body.statements.append(Assign(name, value))
        return name

    def _along(self, axis: Axis, each: int, body: Scope) -> tuple[Name, MaskName]:
        """The index of a step along an axis that counts `each` for all numbers that share a scale, and its mask."""
        if (axis, each) not in self._lanes:
            fresh = self._naming.names.fresh
            groups = "" if axis == self._groups else index_name(self._groups)
            name = Name(fresh(f"{groups}{index_name(axis)}"), (str(axis),), Kind.INT)
            mask = MaskName(fresh(f"{name.text}_mask"), name.dims)
            times = "" if each == 1 else f" * {each}"
            body.statements.append(Lanes(name, f"{self._grid.size_of(self._groups)}{times}", f"{START.text}{times}"))
            inside = InRange(name, self._stage.times * extent(self._groups) * each)
            body.statements.append(Let(mask, (inside,)))
            self._lanes[axis, each] = name, mask
        return self._lanes[axis, each]

    def _bytes_of(self, digits: Digits) -> int:
        """Bytes of the numbers that share a scale."""
        return self._stage.numbers // PACKED[digits.format]
