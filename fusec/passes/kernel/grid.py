"""The grid of a stage: which rows, block and steps a program takes, and the index of every axis."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from fusec.ir.flow import Load, Lookup, Store, position_axes, store_axes
from fusec.ir.kernel import Condition, Define, Dims, InRange, IsZero, Let, Loop, MaskName, Name, Statement, Whole
from fusec.ir.plan import Stage, known_extent
from fusec.ir.sizes import count_text, size_text, symbols_in
from fusec.ir.types import Axis, Kind, extent, product_extent, without
from fusec.passes.kernel.blocks import (
    ACROSS,
    BEGIN,
    DOWN,
    END,
    GROUP,
    block_sizes,
    block_text,
    even_name,
    fitting_extent,
    index_name,
    structure,
)
from fusec.passes.kernel.scope import Names, Scope
from fusec.passes.kernel.target import Target

_GROUP = 8
"""Sides of tiles that programs take together, so that what they share is read from the cache."""


@dataclass(frozen=True, slots=True)
class LoopHeader:
    """`for var in range(start, stop, step)`, with the sizes it uses; `whole` when every chunk is inside of the row.

    With a `condition` it is no loop: one step at `var`, if that compile-time argument says so.
    """

    var: str
    start: str
    stop: str
    step: str
    sizes: tuple[sympy.Expr, ...]
    whole: bool
    condition: str = ""


class Grid:
    """Index arithmetic of one kernel. `dims` orders the dimensions of its tiles, `blocks` its compile-time sizes."""

    def __init__(self, stage: Stage, target: Target, names: Names) -> None:
        self._stage = stage
        self._target = target
        self._known = target.known
        self._names = names
        self.dims: Dims = ("row", *(str(axis) for axis in without(stage.order, stage.rows)), "split")
        self.blocks = block_sizes(stage, target.known)
        self.structure = structure(stage)
        self.row_mask: MaskName | None = None
        self.split_index = Name("split", (), Kind.INT)
        self._block_index = Name("block", (), Kind.INT)
        self._side_index = Name("side", (), Kind.INT)
        self._column = self._block_index
        self._split_lanes: Name | None = None
        self.pid = "pid"
        self._blocks_in_row = ""
        self._loop_names: dict[tuple[str, str], str] = {}
        if stage.boxes:
            self._sides, self._blocks = (Name(names.fresh(wanted), (), Kind.INT) for wanted in ("sides", "blocks"))
            self._part = names.fresh("part")

    def prologue(self, scope: Scope) -> list[Statement]:
        """The statements that give a program its rows, block and split, and every resident axis its index."""
        stage = self._stage
        lines: list[Statement] = []
        pid = "tl.program_id(0)"
        if not stage.boxes and (stage.block is not None or stage.split or self._needs_pid()):
            self.pid = self._names.fresh("pid")
            lines.append(Define(Name(self.pid), pid))
            pid = self.pid
        if stage.split:
            self.split_index = Name(self._names.fresh("split"), (), Kind.INT)
            lines.append(Define(self.split_index, f"{pid} % SPLITS"))
            pid = f"{pid} // SPLITS"
        if stage.block is not None and stage.side is None:
            size = extent(stage.block)
            count = f"tl.cdiv({_long(size)}, {self._block_of(stage.block)})"
            if stage.lacks_block:
                blocks = Name(self._names.fresh("blocks"), (), Kind.INT)
                lines.append(Define(blocks, f"tl.maximum({count}, 1)", (size,)))
                count = blocks.text
            self._blocks_in_row = count
            self._block_index = Name(self._names.fresh("block"), (), Kind.INT)
            lines.append(Define(self._block_index, f"{_bracketed(pid)} % {count}", (size,)))
            pid = f"{pid} // {count}"
        if stage.side is not None:
            pid = self._part_of(lines) if stage.boxes else self._tile_of(pid, lines)
        lines += self._rows(pid, scope)
        if stage.side is not None:
            start = f"{self._side_index.text}.to(INDEX) * {self._block_of(stage.side)}"
            lines += self._axis(stage.side, scope, f"{start} + tl.arange(0, {self._block_of(stage.side)})")
        if stage.block is not None and not (stage.boxes and stage.boxes.is_halved):
            lines += self._block_axis(self._block_index, scope)
        for axis in stage.tile:
            lines += self._axis(axis, scope, f"tl.arange(0, {self._block_of(axis)}).to(INDEX)")
        return lines

    def _block_axis(self, index: Name, scope: Scope) -> list[Statement]:
        block = self._stage.block
        assert block is not None
        start = f"{index.text}.to(INDEX) * {self._block_of(block)}"
        return self._axis(block, scope, f"{start} + tl.arange(0, {self._block_of(block)})")

    def loop_headers(self) -> list[LoopHeader]:
        """The loops that make one sweep over the streamed axes: of whole chunks, and of the rest of the row.

        A sweep dealt out to several programs, or over several axes, is one loop with masks.
        """
        *outer, inner = self._stage.stream
        block, size = self._block_of(inner), extent(inner)
        if self._stage.boxes:
            return [LoopHeader(self.loop_name("start"), "0", size_text(size), block, (size,), whole=True)]
        text = _long(size)
        if outer:
            total = product_extent(tuple(outer))
            start, step = (self.split_index.text, "SPLITS") if self._stage.split else ("0", "1")
            stop = f"{count_text(total)} * tl.cdiv({text}, {block})"
            return [LoopHeader(self.loop_name("step"), start, stop, step, (total, size), whole=False)]
        var = self.loop_name("start")
        if self._stage.split:
            first = f"{self.split_index.text} * {block}"
            return [LoopHeader(var, first, text, f"SPLITS * {block}", (size,), whole=False)]
        whole = f"CHUNKS * {block}"
        return [
            LoopHeader(var, "0", whole, block, (), whole=True),
            LoopHeader(whole, "", "", "", (size,), whole=False, condition="REST"),
        ]

    def loop_indices(self, header: LoopHeader, body: Scope) -> None:
        """Define the indices of the streamed axes in the body of a loop."""
        *outer, inner = self._stage.stream
        block, size = self._block_of(inner), extent(inner)
        if not outer:
            lines = self._axis(inner, body, f"({header.var} + tl.arange(0, {block})).to(INDEX)", header.whole)
            body.statements += lines
            return
        chunks = f"tl.cdiv({_long(size)}, {block})"
        first = f"tl.cast({header.var} // {chunks}, INDEX)"
        body.statements += self._decomposed(first, tuple(outer), body, (), (size,))
        text = f"({header.var} % {chunks} * {block} + tl.arange(0, {block})).to(INDEX)"
        body.statements += self._axis(inner, body, text)

    def split_lanes(self, scope: Scope) -> Name:
        """The index over the partial results of one row."""
        if self._split_lanes is None:
            self._split_lanes = Name(self._names.fresh("splits"), ("split",), Kind.INT)
            scope.statements.append(Define(self._split_lanes, "tl.arange(0, SPLITS)"))
        return self._split_lanes

    def absent(self, axes: tuple[Axis, ...], scope: Scope) -> tuple[Condition, ...]:
        """Guards so that a store without some axes of the grid is made by one program only."""
        guards: list[Condition] = [
            IsZero(scope.index(axis))
            for axis in self._stage.rows
            if axis not in axes and known_extent(axis, self._known) != 1
        ]
        if self._stage.side is not None and self._stage.side not in axes:
            guards.append(IsZero(self._side_index))
        if self._stage.block is not None and self._stage.block not in axes:
            guards.append(IsZero(self._block_index))
        return tuple(guards)

    def first_programs(self, store: Store) -> str | None:
        """The condition under which a program makes a store that has none of the rows, when these are lanes."""
        if not self._stage.is_without_rows(store):
            return None
        has_block = self._stage.block in store_axes(self._stage.flow, store)
        return f"{self.pid} < {self._blocks_in_row}" if has_block else f"{self.pid} == 0"

    def order(self, dims: set[str]) -> Dims:
        """Dimensions in the order that every tile has them."""
        return tuple(dim for dim in self.dims if dim in dims)

    def shape(self, dims: Dims) -> tuple[str, ...]:
        """The compile-time size of each dimension of a tile."""
        sizes = {str(axis): self._block_of(axis) for axis in self._stage.order} | {"row": "ROWS", "split": "SPLITS"}
        return tuple(sizes[dim] for dim in dims)

    def integers(self, body: list[Statement]) -> tuple[str, ...]:
        """The extents, then the strides, that the statements use."""
        fixed = {*self.blocks, *self.structure}
        used = [name for name in symbols_in(body) if name not in fixed]
        return (*(n for n in used if "_stride_" not in n), *(n for n in used if "_stride_" in n))

    def aligned(self, integers: tuple[str, ...]) -> tuple[str, ...]:
        """Of the integers of a kernel the extent that rows end at and the strides that rows begin at."""
        flow, rows = self._stage.flow, self._stage.rows
        inner = self._innermost()
        if inner is None:
            return ()
        accesses = [(node.expr.param, node.expr.positions) for node in flow.nodes if isinstance(node.expr, Load)]
        accesses += [(store.target, store.positions) for store in flow.stores]
        found = {str(extent(inner))}
        for tensor, positions in accesses:
            if inner not in position_axes(positions):
                continue
            for place, position in enumerate(positions):
                if isinstance(position, Lookup) or (position.terms and set(position.axes) <= set(rows)):
                    found.add(self._target.strides(tensor)[place].name)
        return tuple(name for name in integers if name in found)

    def _innermost(self) -> Axis | None:
        """The axis that neighbours in memory differ in, of those that are no rows."""
        stage = self._stage
        inside = without(stage.order, stage.rows)
        if stage.side is not None:
            # The dimensions of a tile are in the order that the matrix unit wants, not in that of memory.
            stored = [axis for store in stage.flow.stores for axis in position_axes(store.positions)]
            inside = tuple(axis for axis in stored if axis in (stage.side, stage.block))
        return inside[-1] if inside else None

    def loop_name(self, wanted: str, owner: str = "") -> str:
        """A name like `wanted` that every sweep of a loop uses again, for what `owner` stands for."""
        if (wanted, owner) not in self._loop_names:
            self._loop_names[wanted, owner] = self._names.fresh(wanted)
        return self._loop_names[wanted, owner]

    def _tile_of(self, pid: str, lines: list[Statement]) -> str:
        """The tile of a program, and its row. Programs next to each other take tiles of the same few sides."""
        side, block = self._stage.side, self._stage.block
        assert side is not None
        assert block is not None

        def define(wanted: str, text: str, *sizes: sympy.Expr) -> Name:
            name = Name(self._names.fresh(wanted), (), Kind.INT)
            lines.append(Define(name, text, sizes))
            return name

        sides = define("sides", f"tl.cdiv({size_text(extent(side))}, {self._block_of(side)})", extent(side))
        blocks = define("blocks", f"tl.cdiv({size_text(extent(block))}, {self._block_of(block)})", extent(block))
        tile = define("tile", f"{_bracketed(pid)} % ({sides.text} * {blocks.text})")
        first = define("first", f"{tile.text} // ({_GROUP} * {blocks.text}) * {_GROUP}")
        group = define("group", f"tl.minimum({sides.text} - {first.text}, {_GROUP})")
        within = f"{tile.text} % ({_GROUP} * {blocks.text})"
        self._side_index = define("side", f"{first.text} + {within} % {group.text}")
        self._block_index = define("block", f"{within} // {group.text}")
        return f"{pid} // ({sides.text} * {blocks.text})"

    def walk(self, body: tuple[Statement, ...]) -> list[Statement]:
        """The loop of a program with boxes over its tiles, each made by `body`.

        Tiles are counted in an order that keeps what neighbours share in the cache: that of larger ones, `DOWN` by
        `ACROSS`, in which the last tiles of a call may be smaller so that no program waits for another.
        """
        side, block = self._stage.side, self._stage.block
        assert side is not None
        assert block is not None
        lines: list[Statement] = []
        for name, axis, many in ((self._sides, side, DOWN), (self._blocks, block, ACROSS)):
            text = f"tl.cdiv({size_text(extent(axis))}, {self.width_of(axis)} * {many})"
            lines.append(Define(name, text, (extent(axis),)))
        start = f"{BEGIN} + tl.program_id(0)"
        return [*lines, Loop(self._part, start, END, "tl.num_programs(0)", (), body, flat=True)]

    def _part_of(self, lines: list[Statement]) -> str:
        """The tile that is made in a turn of the loop over tiles, and its row."""

        def define(wanted: str, text: str) -> str:
            name = Name(self._names.fresh(wanted), (), Kind.INT)
            lines.append(Define(name, text))
            return name.text

        sides, blocks = self._sides.text, self._blocks.text
        whole = define("whole", f"{self._part} // ({DOWN} * {ACROSS})")
        tile = define("tile", f"{whole} % ({sides} * {blocks})") if self._stage.rows else whole
        first = define("first", f"{tile} // ({GROUP} * {blocks}) * {GROUP}")
        group = define("group", f"tl.minimum({sides} - {first}, {GROUP})")
        within = define("within", f"{tile} % ({GROUP} * {blocks})")
        down = f"{self._part} % ({DOWN} * {ACROSS}) // {ACROSS}"
        self._side_index = Name(define("side", f"({first} + {within} % {group}) * {DOWN} + {down}"), (), Kind.INT)
        self._block_index = Name(
            define("block", f"{within} // {group} * {ACROSS} + {self._part} % {ACROSS}"), (), Kind.INT
        )
        return f"{whole} // ({sides} * {blocks})"

    def half(self, scope: Scope) -> str:
        """The index of the block in one half of a tile, whose number is returned: the scope of what is made of it."""
        assert self._stage.block is not None
        half, column = self._names.fresh("half"), Name(self._names.fresh("column"), (), Kind.INT)
        scope.statements.append(Define(column, f"2 * {self._block_index.text} + {half}"))
        self._column = column
        scope.statements += self._block_axis(column, scope)
        return half

    def read_from(self, axes: tuple[Axis, ...], scope: Scope, start: str) -> tuple[str, ...]:
        """Where along each axis of a box a step begins, which is at `start` of what is contracted."""
        block = f"{self._block_index.text} * {self.width_of(self._stage.block)}" if self._stage.block else ""
        return self._corner(axes, scope, {self._stage.block: block, self._stage.stream[-1]: start})

    def write_to(self, axes: tuple[Axis, ...], scope: Scope) -> tuple[str, ...]:
        """Where along each axis of a box a tile that is made begins."""
        assert self._stage.block is not None
        return self._corner(
            axes, scope, {self._stage.block: f"{self._column.text} * {self._block_of(self._stage.block)}"}
        )

    def _corner(self, axes: tuple[Axis, ...], scope: Scope, known: dict[Axis | None, str]) -> tuple[str, ...]:
        side = self._stage.side
        assert side is not None
        known = known | {side: f"{self._side_index.text} * {self._block_of(side)}"}
        return tuple(known[axis] if axis in known else f"{scope.index(axis).text}.to(tl.int32)" for axis in axes)

    def width_of(self, axis: Axis) -> str:
        """The extent along an axis of what is multiplied at once, as text."""
        halved = self._stage.boxes is not None and self._stage.boxes.is_halved and axis == self._stage.block
        return f"{'2 * ' if halved else ''}{self._block_of(axis)}"

    def is_cut(self, axis: Axis) -> bool:
        """Whether a tile of a contraction has several positions along an axis."""
        return axis in (self._stage.side, self._stage.block, *self._stage.stream)

    def block_of(self, axis: Axis) -> str:
        """The size of an axis in a tile, as text."""
        return self._block_of(axis)

    def _needs_pid(self) -> bool:
        return self._stage.lanes

    def _rows(self, pid: str, scope: Scope) -> list[Statement]:
        stage = self._stage
        if not stage.rows:
            return []
        first = f"{_bracketed(pid)}.to(tl.int64)"
        if not stage.lanes:
            return self._decomposed(first, stage.rows, scope, (), ())
        total = product_extent(stage.rows)
        row = Name(self._names.fresh("row"), ("row",), Kind.INT)
        self.row_mask = MaskName(self._names.fresh("row_mask"), ("row",))
        lines: list[Statement] = [
            Define(row, f"{first} * ROWS + tl.arange(0, ROWS)"),
            Let(self.row_mask, (InRange(row, total),)),
        ]
        return lines + self._decomposed(row.text, stage.rows, scope, ("row",), (), named=True)

    def _decomposed(
        self,
        value: str,
        axes: tuple[Axis, ...],
        scope: Scope,
        dims: Dims,
        sizes: tuple[sympy.Expr, ...],
        named: bool = False,
    ) -> list[Statement]:
        """The index of each axis of a linear number, outermost first."""
        lines: list[Statement] = []
        if len(axes) > 1 and not named:
            row = Name(self._names.fresh("row"), dims, Kind.INT)
            lines.append(Define(row, value, sizes))
            value, sizes = row.text, ()
        for place, axis in enumerate(axes):
            name = Name(self.loop_name(index_name(axis), str(axis)), dims, Kind.INT)
            inner = product_extent(axes[place + 1 :])
            text = value if inner == 1 else f"{value} // {_bracketed(count_text(inner))}"
            if place:
                text = f"{text} % {_bracketed(count_text(extent(axis)))}"
            lines.append(Define(name, text, (*sizes, inner, extent(axis) if place else sympy.S.One)))
            scope.indices[axis] = name
            scope.masks[axis] = None
        return lines

    def _axis(self, axis: Axis, scope: Scope, text: str, whole: bool = False) -> list[Statement]:
        name = Name(self.loop_name(index_name(axis), str(axis)), (str(axis),), Kind.INT)
        scope.indices[axis] = name
        lines: list[Statement] = [Define(name, text)]
        if whole or fitting_extent(axis, self._stage, self._known) is not None:
            scope.masks[axis] = None
        else:
            mask = MaskName(self.loop_name(f"{name.text}_mask"), (str(axis),))
            scope.masks[axis] = mask
            unknown = axis in self._stage.tile and known_extent(axis, self._known) is None
            even = even_name(axis) if unknown else ""
            lines.append(Let(mask, (InRange(name, extent(axis), even=even),)))
        return lines

    def _block_of(self, axis: Axis) -> str:
        return block_text(axis, self._stage, self._known)


def _long(size: sympy.Expr) -> str:
    """An extent that is counted beyond: the end of its last block, or the next step of a loop, may need more bits."""
    text = count_text(size, Whole.INDEX.value)
    return f"tl.cast({text}, {Whole.INDEX.value})" if size.free_symbols and text == size_text(size) else text


def _bracketed(text: str) -> str:
    return f"({text})" if " " in text else text
