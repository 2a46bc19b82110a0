"""A plan as a case of the launcher: the extents it is for, the sizes of its tiles, and its launches."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from fusec.codegen.boxes import BoxWriter, cuts, flips
from fusec.codegen.contraction import contraction_text, matrix_beside, tile_blocks, tile_call, tile_programs
from fusec.codegen.extents import Extents, count, divisor, factor, times
from fusec.codegen.launches import LaunchWriter
from fusec.codegen.names import words
from fusec.ir.flow import Partial, store_axes
from fusec.ir.kernel import Kernel
from fusec.ir.plan import Shape, Stage
from fusec.ir.program import BuiltPlan
from fusec.ir.types import DType, Kind
from fusec.passes.kernel.blocks import ACROSS, DOWN, GROUP, block_name
from fusec.passes.plan.account import row_facts, sweeps
from fusec.passes.plan.registers import at_most, residency, widest

FITS, BOXED = "fits", "boxed"
"""What the launcher calls whether contractions of a chain can take their operands in boxes, and whether that pays."""


@dataclass(frozen=True, slots=True)
class Choice:
    """A plan as code: when it is taken (always, without a condition), what it is in words, and what it does.

    The lines `before` are for its condition; `fits` says whether boxes are possible, and what they are to make.
    """

    condition: str | None
    words: str
    body: list[str]
    before: tuple[str, ...] = ()
    fits: tuple[str, ...] = ()


class ChoiceWriter:
    """Writes each shape of plan for one op. `itemsizes` has the bytes of an element of each tensor, as text."""

    def __init__(
        self, itemsizes: Mapping[str, str], extents: Extents, launches: LaunchWriter, boxes: BoxWriter, device: str
    ) -> None:
        """`device` is the text for the device of a call."""
        self._itemsizes = itemsizes
        self._extents = extents
        self._launches = launches
        self._boxes = boxes
        self._device = device

    @property
    def walks(self) -> bool:
        """Whether a launch may be one for each walk over leading axes."""
        return self._launches.walks

    def choice(self, plan: BuiltPlan, place: int = 0) -> Choice:
        """The case of one plan, of contraction number `place` if it stands in a chain."""
        found = self._shaped(plan, place)
        if not plan.plan.few:
            return found
        few = self.few(plan)
        return replace(found, condition=f"{few} and {found.condition}" if found.condition else few)

    def few(self, plan: BuiltPlan) -> str:
        """Whether there are so few of some axes as a plan is for."""
        columns, *again = plan.plan.few
        if plan.plan.shape in (Shape.SWAPPED, Shape.DEALT):
            return f"dots.takes_few({', '.join([count((columns,)), *([count(tuple(again))] if again else [])])})"
        matrix = matrix_beside(plan.plan)
        return f"dots.is_vector({', '.join([count(plan.plan.few), *([count(matrix)] if matrix else [])])})"

    def _shaped(self, plan: BuiltPlan, place: int) -> Choice:
        stage, kernel, words = plan.plan.stages[0], plan.kernels[0], plan.plan.words
        match plan.plan.shape:
            case Shape.ROWS:
                return self._rows(stage, kernel, words)
            case Shape.RESIDENT:
                return self._resident(stage, kernel, words, bool(plan.plan.few))
            case Shape.STREAMED:
                return self._streamed(stage, kernel, words)
            case Shape.SPLIT:
                return Choice(None, words, self._split(plan))
            case Shape.TILED | Shape.JOINT:
                return self._tiled(stage, kernel, words)
            case Shape.DEALT:
                return self._dealt(plan)
            case Shape.SWAPPED | Shape.PRODUCT:
                return self._product(plan)
            case Shape.PERSISTENT:
                return self._boxed(plan, place)
            case Shape.BLOCKED if stage.block:
                return Choice(None, words, self._finish(stage, kernel))
            case Shape.BLOCKED:
                return Choice(None, words, self._launches.lines(kernel, "1", {}, "tiles.ways(1)"))

    def _rows(self, stage: Stage, kernel: Kernel, words: str) -> Choice:
        row, programs = self._extents.padded(stage.tile), count(stage.rows)
        blocks = self._extents.tile_blocks(stage.tile) | {"ROWS": "lanes"}
        sizing = [f"row = {row}", f"lanes = tiles.lanes({programs}, row)", "warps = tiles.warps(lanes * row)"]
        grid, fits = _row_programs(stage, "lanes"), f"{row} <= tiles.SHORT_ROW"
        if stage.block is not None:
            size = count((stage.block,))
            sizing = [f"row = {row}", f"wide = tiles.columns({size}, row, {_held(stage)})"]
            sizing += [f"lanes = tiles.lanes({programs}, row * wide)", "warps = tiles.warps(lanes * row * wide)"]
            blocks[block_name(stage.block)] = "wide"
            grid, fits = f"{grid} * {_block_programs(stage, 'wide')}", f"tiles.holds_columns({row}, {_held(stage)})"
        launch = self._launches.lines(kernel, grid, blocks, "tiles.ways(warps)")
        return Choice(fits, words, [*sizing, *launch])

    def _resident(self, stage: Stage, kernel: Kernel, words: str, few: bool) -> Choice:
        facts, programs = row_facts(stage), count(stage.rows)
        parts = f"{facts.parts} * " if facts.parts > 1 else ""
        itemsize = self._itemsizes.get(facts.widest, "4")
        about = f"{itemsize}, {facts.inputs}"
        narrow = ", narrow=True" if _stores_bytes(stage) else ""
        options = f"tiles.row_options({programs}, {parts}{self._extents.padded(stage.tile)}, {about}{narrow})"
        about = f"{about}, {facts.compact and not few}, {_held_in_row(stage, facts.parts, itemsize)}"
        fits = f"tiles.holds_row({programs}, {parts}{self._extents.row_length(stage.tile)}, {about})"
        return Choice(
            fits, words, self._launches.lines(kernel, programs, self._extents.tile_blocks(stage.tile), options)
        )

    def _streamed(self, stage: Stage, kernel: Kernel, words: str) -> Choice:
        size, tile = count(stage.stream), self._extents.padded(stage.tile)
        sizing, blocks, programs, inner = self._cut(stage)
        chunk = f"tiles.chunk_size({size}, {sweeps(stage)}, {row_facts(stage).inputs}, {_held(stage)})"
        sizing += [f"chunk = {_chunk(chunk, size, inner)}", f"warps = tiles.warps({_step(inner)}, thread=8)"]
        blocks |= {
            block_name(stage.stream[-1]): "chunk",
            "FULL_STEPS": f"{factor(size)} // chunk",
            "HAS_TAIL": f"{factor(size)} % chunk != 0",
        }
        rows = count((*stage.rows, *((stage.block,) if stage.block else ())))
        loop = f"tiles.prefers_loop({rows}, {self._extents.row_length((*stage.stream, *stage.tile))})"
        condition = loop if tile == "1" else f"{loop} and {tile} <= tiles.CHUNK"
        return Choice(condition, words, [*sizing, *self._launches.lines(kernel, programs, blocks, "tiles.ways(warps)")])

    def _product(self, plan: BuiltPlan) -> Choice:
        """Tiles in the matrix unit."""
        (stage,), (kernel,), words = plan.plan.stages, plan.kernels, plan.plan.words
        return Choice(None, words, self._tiles(plan.plan.shape, stage, kernel))

    def _dealt(self, plan: BuiltPlan) -> Choice:
        """Tiles that several programs share, where there are few."""
        (dealt, combined), (kernel, last), words = plan.plan.stages, plan.kernels, plan.plan.words
        tile, *launch = self._tiles(plan.plan.shape, dealt, kernel)
        sizing = [tile, "splits = tile.splits", *self._scratch(dealt)]
        shared = f"{tile_call(plan.plan.shape, dealt, self._itemsizes).alone}.splits > 1"
        return Choice(shared, words, [*sizing, *launch, *self._finish(combined, last)])

    def _tiles(self, shape: Shape, stage: Stage, kernel: Kernel) -> list[str]:
        """The tile of a contraction and, after that line, its launch."""
        launch = self._launches.lines(kernel, tile_programs(stage), tile_blocks(stage), "tile.options")
        return [f"tile = {tile_call(shape, stage, self._itemsizes).shaped}", *launch]

    def _boxed(self, plan: BuiltPlan, place: int) -> Choice:
        """The case of a contraction whose operands come in boxes, the contraction number `place` of its chain."""
        (stage,), (kernel,) = plan.plan.stages, plan.kernels
        assert stage.boxes is not None
        assert stage.side is not None
        assert stage.block is not None
        boxes = f"boxes{place + 1}" if place else "boxes"
        contraction = f"contraction{place + 1}" if place else "contraction"
        blocks = {
            block_name(stage.side): "run.side",
            block_name(stage.block): "run.block",
            block_name(stage.stream[-1]): "run.step",
            GROUP: "run.group",
            DOWN: "run.down",
            ACROSS: "run.across",
        }
        read = [tensor for box in stage.boxes.all for tensor in box.tensors]
        given = [name for name in dict.fromkeys(read) if self._launches.is_argument(name)]
        given = given or [f"device={self._device}"]
        body = self._launches.runs(
            kernel,
            f"runs(way, {self._device}, {contraction})",
            blocks,
            cuts(boxes, stage, kernel),
            flips(stage, kernel, kernel.varying[2:]),
        )
        before = (*self._boxes.lines(boxes, stage.boxes), f"{contraction} = {contraction_text(stage)}")
        return Choice(BOXED, plan.plan.words, body, before, (f"moves_boxes({', '.join([boxes, *given])})", contraction))

    def _cut(self, stage: Stage) -> tuple[list[str], dict[str, str], str, str]:
        """For a stage with a loop: lines, compile-time arguments, programs before splits, elements of a position."""
        blocks, tile = self._extents.tile_blocks(stage.tile), self._extents.padded(stage.tile)
        if stage.block is None:
            return [], blocks, count(stage.rows), tile
        size = count((stage.block,))
        programs = times(count(stage.rows), _block_programs(stage, "wide"))
        inner = "wide" if tile == "1" else f"wide * {tile}"
        return [f"wide = min(tiles.padded({size}), 64)"], blocks | {block_name(stage.block): "wide"}, programs, inner

    def _split(self, plan: BuiltPlan) -> list[str]:
        lines: list[str] = []
        for place, (stage, kernel) in enumerate(zip(plan.plan.stages, plan.kernels, strict=True)):
            lines += self._partial(stage, kernel, place == 0) if stage.split else self._finish(stage, kernel)
        return _assigned_once(lines)

    def _partial(self, stage: Stage, kernel: Kernel, first: bool) -> list[str]:
        """The launch of a kernel that leaves partial results; the `first` of a plan says over how many programs."""
        *outer, last = stage.stream
        size = count((last,))
        sizing, blocks, programs, inner = self._cut(stage)
        sizing.append(f"chunk = {_chunk(f'tiles.split_chunk({size}, {_held(stage)})', size, inner)}")
        if first:
            steps = times(count(tuple(outer)), f"tiles.cdiv({size}, chunk)")
            sizing.append(f"splits = tiles.split_count({programs}, {steps}, {_step(inner)})")
        sizing += [f"warps = tiles.warps({_step(inner)}, thread=8)", *self._scratch(stage)]
        blocks |= {block_name(last): "chunk", "SPLITS": "splits"}
        return [*sizing, *self._launches.lines(kernel, times(programs, "splits"), blocks, "tiles.ways(warps)")]

    def _scratch(self, stage: Stage) -> list[str]:
        """A buffer for each partial result, as many times as there are walks."""
        lines: list[str] = []
        walks = " * len(rows.offsets)" if self._launches.walks else ""
        real = "torch.float64 if real == tl.float64 else torch.float32" if self._launches.wide else "torch.float32"
        for partial in stage.partials:
            name = partial.scratch
            dtype = "torch.int64" if stage.flow.nodes[partial.value].type.kind is Kind.INT else real
            lines.append(f"{name} = {times(count(partial.axes), 'splits')}")
            lines.append(f'scratch["{name}"] = Buffer(({name}{walks},), {dtype})')
        return lines

    def _finish(self, stage: Stage, kernel: Kernel) -> list[str]:
        """The launch of a kernel without loops, whose tile is some rows by a block of the innermost axis."""
        programs = count(stage.rows)
        blocks = self._extents.tile_blocks(stage.tile)
        sizing, warps, grid = [], "4", programs
        splits = ", splits=splits" if _combines_rows(stage) else ""
        if stage.block is not None:
            size = count((stage.block,))
            thread = ", thread=16" if _stores_bytes(stage) else ""
            parts = ", parts=splits" if _combines_block(stage) else ""
            sizing.append(f"block = tiles.blocks({programs}, {size}{thread}{parts}{splits})")
            warps, grid = "block.warps", _block_programs(stage, "block.size")
            grid = f"{_row_programs(stage, 'block.lanes')} * {grid}" if stage.lanes else grid
            blocks |= {"ROWS": "block.lanes", block_name(stage.block): "block.size"}
        elif stage.lanes:
            row = self._extents.padded(stage.tile)
            sizing.append(f"lanes = tiles.lanes({programs}, {row}{splits})")
            warps, grid = f"tiles.warps(lanes * max({row}, splits), thread=8)", _row_programs(stage, "lanes")
            blocks["ROWS"] = "lanes"
        blocks["SPLITS"] = "splits"
        return [*sizing, *self._launches.lines(kernel, grid, blocks, f"tiles.ways({warps})")]

    def _tiled(self, stage: Stage, kernel: Kernel, words: str) -> Choice:
        total = self._joint_size(stage)
        launch = self._launches.lines(
            kernel, count(stage.rows), self._extents.tile_blocks(stage.tile), "tiles.ways(warps)"
        )
        body = [f"warps = tiles.warps({total}, thread=32)", *launch]
        return Choice(f"{total} <= tiles.RESIDENT_ROW // 2", words, body)

    def _joint_size(self, stage: Stage) -> str:
        """Elements in registers: the largest tile of any store, summed where stores have axes of their own."""
        stored = [store_axes(stage.flow, store) for store in stage.flow.stores]
        tiles = dict.fromkeys(tuple(axis for axis in stage.tile if axis in axes) for axes in stored)
        wide = [tile for tile in tiles if not any(set(tile) < set(other) for other in tiles)]
        return " + ".join(map(self._extents.padded, wide))


def _assigned_once(lines: list[str]) -> list[str]:
    """`lines` without assignments that give a variable what it holds already."""
    held: dict[str, str] = {}
    kept: list[str] = []
    for line in lines:
        name, equals, value = line.partition(" = ")
        if equals and name.isidentifier():
            if held.get(name) == value:
                continue
            held = {other: text for other, text in held.items() if name not in words([text])} | {name: value}
        kept.append(line)
    return kept


def _row_programs(stage: Stage, lanes: str) -> str:
    """The programs for the rows of a stage, `lanes` to each."""
    text = f"tiles.cdiv({count(stage.rows)}, {lanes})"
    return f"max({text}, 1)" if stage.lacks_rows else text


def _block_programs(stage: Stage, size: str) -> str:
    """The programs for the blocks of a row, of `size` elements each."""
    assert stage.block is not None
    text = f"tiles.cdiv({count((stage.block,))}, {size})"
    return f"max({text}, 1)" if stage.lacks_block else text


def _chunk(chunk: str, size: str, inner: str) -> str:
    """The step of a loop over `size` positions: `chunk`, or where each is of `inner` elements so much fewer."""
    return chunk if inner == "1" else f"min(tiles.padded({size}), max(tiles.CHUNK // {divisor(inner)}, 1))"


def _step(inner: str) -> str:
    """Elements of one step of a loop."""
    return "chunk" if inner == "1" else f"chunk * {inner}"


def _combines_block(stage: Stage) -> bool:
    """Whether every element of a block is combined of partial results of its own."""
    return any(isinstance(node.expr, Partial) and stage.block in node.expr.axes for node in stage.flow.nodes)


def _combines_rows(stage: Stage) -> bool:
    """Whether each row is combined of partial results of its own."""
    partials = (node.expr for node in stage.flow.nodes if isinstance(node.expr, Partial))
    return any(axis in stage.rows for partial in partials for axis in partial.axes)


def _held(stage: Stage) -> str:
    """The most words that a stage holds for each element of its tiles."""
    return f"{residency(stage, widest).words:g}"


def _held_in_row(stage: Stage, parts: int, itemsize: str) -> str:
    """The same for each element of a row that comes in `parts`, its inputs of `itemsize` bytes an element at most."""
    half, full = (residency(stage, at_most(bits)).words / parts for bits in (16, 32))
    if half == full:
        return f"{half:g}"
    # They grow with the bytes of an element.
    each, rest = (full - half) / 2, 2 * half - full
    return f"{f'{rest:g} + ' if rest else ''}{each:g} * {itemsize}"


def _stores_bytes(stage: Stage) -> bool:
    """Whether the outputs that have most axes are of 8 bits."""
    stores = [(len(store_axes(stage.flow, store)), store.element) for store in stage.flow.stores]
    full = max((axes for axes, _ in stores), default=0)
    return all(isinstance(e, DType) and e.bits == 8 for axes, e in stores if axes == full)
