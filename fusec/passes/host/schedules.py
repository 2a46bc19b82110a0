"""A plan and its kernels as a schedule of the host table: what the rules for its launches depend on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from fusec.ir import schedule as ir
from fusec.ir.expressions import GIVEN, OMITTED, Choose, Dot, Load, NodeId, Partial, operands
from fusec.ir.expressions import Elementwise as Arithmetic
from fusec.ir.fixed_extents import known_extent
from fusec.ir.flow import Flow, FlowNode, store_axes, store_inputs, two_apart
from fusec.ir.graph import reachable
from fusec.ir.host.names import Name
from fusec.ir.host.schedules import (
    ColumnSums,
    Elementwise,
    Gemm,
    GemmRoles,
    GemmTma,
    Gemv,
    Resident,
    RowLoop,
    Rows,
    RowTiles,
    RowVectors,
    Schedule,
    SplitRows,
    TensorMap,
    Tile,
)
from fusec.ir.host.schedules import Partial as PartialKernel
from fusec.ir.kernel import Kernel
from fusec.ir.kernel import RowLoop as RowLoopKernel
from fusec.ir.multiply import F32, MOST_I8, Sums, multiplied_as, sums_of
from fusec.ir.program import Program
from fusec.ir.stage import Stage
from fusec.ir.statements import Keep, LoadTile, StoreTile, every
from fusec.ir.tensor_map import TensorMap as TileMap
from fusec.ir.types import Axis, DType, Kind
from fusec.passes.host.keys import Keys
from fusec.passes.schedule.registers import at_most, residency, widest
from fusec.passes.schedule.traffic import row_facts, sweeps


class Scheduler:
    """Makes the schedules of one op.

    `bytes` has for each tensor what tells the bytes of an element: its own name, that of a dtype, or a number.
    """

    def __init__(self, keys: Keys, bytes: Mapping[str, str], program: Program) -> None:
        self._keys = keys
        self._bytes = bytes
        self._known = dict(program.known)
        self._kernels_of, self._holds_tiles = program.kernels_of, program.holds_tiles

    def schedules(self, plans: tuple[ir.InKernels, ...]) -> tuple[Schedule, ...]:
        """The schedules of a step in order of preference: one of each plan, and the tiles that a loop can hold."""
        vectors = tuple(one for one in map(self._row_vectors, plans) if one is not None)
        tiles = tuple(one for one in map(self._row_tiles, plans) if one is not None)
        found = tuple(map(self.schedule, plans))
        whole = next((place for place, one in enumerate(found) if isinstance(one, Resident | RowLoop)), len(found))
        return (*found[:whole], *vectors, *tiles, *found[whole:])

    def schedule(self, plan: ir.InKernels) -> Schedule:
        """The schedule of one plan."""
        (stage, *_), (kernel, *_) = plan.stages, self._kernels_of(plan)
        match plan:
            case ir.Rows():
                return self._rows(stage, kernel)
            case ir.Resident():
                return self._resident(stage, kernel)
            case ir.RowLoop():
                return self._row_loop(stage, kernel)
            case ir.SplitRows():
                return self._split_rows(plan)
            case ir.ColumnSums():
                return self._column_sums(plan)
            case ir.Tile():
                return self._tile(stage, kernel)
            case ir.Gemv():
                return self._gemv(plan, stage, kernel)
            case ir.Gemm():
                return self._gemm(plan)
            case ir.GemmTma():
                return self._gemm_tma(plan, kernel)
            case ir.GemmRoles():
                return self._gemm_roles(plan, kernel)
            case ir.Elementwise():
                return self._elementwise(stage, kernel)

    def _gemv(self, plan: ir.Gemv, stage: Stage, kernel: Kernel) -> Gemv:
        of: Resident | RowLoop
        if isinstance(plan.of, ir.Resident):
            # Its matrix shares the registers.
            loop = self._keys.axes(stage.whole.loop)
            of = replace(self._resident(stage, kernel), compact=False, loop=loop)
        else:
            of = self._row_loop(stage, kernel)
        beside = () if plan.narrow else _matrix_beside(plan)
        return Gemv(few=self._keys.axes(plan.few), matrix=self._keys.axes(beside), narrow=plan.narrow, of=of)

    # Rows

    def _elementwise(self, stage: Stage, kernel: Kernel) -> Elementwise:
        return Elementwise(
            Name(kernel.name),
            rows=self._keys.axes(stage.rows),
            block=self._block(stage),
            tile=self._keys.axes(stage.tile),
            narrow=_stores_bytes(stage),
            parts=_combines_block(stage),
            splits=_combines_rows(stage),
            at_least_one=_at_least_one(stage),
        )

    def _tile(self, stage: Stage, kernel: Kernel) -> Tile:
        stored = [store_axes(stage.flow, store) for store in stage.flow.stores]
        tiles = dict.fromkeys(tuple(axis for axis in stage.tile if axis in axes) for axes in stored)
        live = tuple(tile for tile in tiles if not any(set(tile) < set(other) for other in tiles))
        texts = () if live == (stage.tile,) else tuple(map(self._keys.axes, live))
        return Tile(Name(kernel.name), self._keys.axes(stage.rows), self._keys.axes(stage.tile), texts)

    def _rows(self, stage: Stage, kernel: Kernel) -> Rows:
        return Rows(
            Name(kernel.name),
            rows=self._keys.axes(stage.rows),
            tile=self._keys.axes(stage.tile),
            block=self._block(stage),
            words=_words(stage) if stage.block is not None else 1.0,
            at_least_one=_at_least_one(stage),
        )

    def _resident(self, stage: Stage, kernel: Kernel) -> Resident:
        facts = row_facts(stage)
        words, each = _words_in_row(stage, facts.parts)
        return Resident(
            Name(kernel.name),
            rows=self._keys.axes(stage.rows),
            tile=self._keys.axes(stage.tile),
            bytes=self._bytes.get(facts.widest, "4"),
            inputs=facts.inputs,
            parts=facts.parts,
            compact=facts.compact,
            words=words,
            words_per_byte=each,
            narrow=_stores_bytes(stage),
        )

    def _row_tiles(self, plan: ir.InKernels) -> RowTiles | None:
        """The kernel of a loop with its tiles in registers, where it may hold them."""
        if not self._holds_tiles(plan):
            return None
        (stage, *_), (kernel, *_) = plan.stages, self._kernels_of(plan)
        facts = row_facts(stage)
        return RowTiles(
            Name(kernel.name),
            rows=self._keys.axes(stage.rows),
            loop=self._keys.axes(stage.loop),
            bytes=self._bytes.get(facts.widest, "4"),
            inputs=facts.inputs,
            sweeps=sweeps(stage),
        )

    def _row_vectors(self, plan: ir.InKernels) -> RowVectors | None:
        """The same with tiles that begin at vectors, where rows may begin anywhere."""
        (stage, *_), (kernel, *_) = plan.stages, self._kernels_of(plan)
        if plan.few or not isinstance(kernel.skeleton, RowLoopKernel) or kernel.skeleton.stored is None:
            return None
        first = kernel.skeleton.stored.address.pointer.text.removesuffix("_ptr")
        accesses = [one for one in every(kernel.skeleton) if isinstance(one, LoadTile | StoreTile) and one.vectors]
        told = [(isinstance(one, StoreTile), one.vectors) for one in accesses if one.vectors]
        stored = [first, *(vectors.tensor for is_store, vectors in told if is_store)]
        loaded = [vectors for is_store, vectors in told if not is_store]
        return RowVectors(
            Name(kernel.name),
            rows=self._keys.axes(stage.rows),
            loop=self._keys.axes(stage.loop),
            stored=_each(stored),
            read=_each([vectors.tensor for vectors in loaded if vectors.of != "shared"]),
            shared=_each([vectors.tensor for vectors in loaded if vectors.of == "shared"]),
            held=_each([one.vectors.tensor for one in accesses if one.vectors and _is_held(one, kernel)]),
            sweeps=sweeps(stage),
        )

    def _row_loop(self, stage: Stage, kernel: Kernel) -> RowLoop:
        return RowLoop(
            Name(kernel.name),
            rows=self._keys.axes(stage.rows),
            loop=self._keys.axes(stage.loop),
            tile=self._beside_loop(stage),
            block=self._block(stage),
            sweeps=sweeps(stage),
            inputs=row_facts(stage).inputs,
            words=_words(stage),
            at_least_one="block" if stage.lacks_block else "",
        )

    def _split_rows(self, plan: ir.SplitRows) -> SplitRows:
        *partials, (last, kernel) = zip(plan.stages, self._kernels_of(plan), strict=True)
        unless = [_unless(stage, plan.stages[place + 1 :]) for place, (stage, _) in enumerate(partials)]
        parts = (self._partial(*each, given) for each, given in zip(partials, unless, strict=True))
        return SplitRows(tuple(parts), self._elementwise(last, kernel))

    def _column_sums(self, plan: ir.ColumnSums) -> ColumnSums:
        (stage, kernel), (last, combine) = zip(plan.stages, self._kernels_of(plan), strict=True)
        facts = row_facts(stage)
        words, each = _words_in_row(stage, 1)
        return ColumnSums(
            Name(kernel.name),
            loop=self._keys.axes(stage.loop),
            sums=self._sums(stage),
            combine=self._elementwise(last, combine),
            rows=self._keys.axes(stage.rows),
            tile=self._beside_loop(stage),
            block=self._block(stage),
            inputs=facts.inputs * facts.parts,
            bytes=self._bytes.get(facts.widest, "4"),
            words=words,
            words_per_byte=each,
            integers=_integers(stage),
            at_least_one="block" if stage.lacks_block else "",
        )

    def _partial(self, stage: Stage, kernel: Kernel, unless: str) -> PartialKernel:
        return PartialKernel(
            Name(kernel.name),
            rows=self._keys.axes(stage.rows),
            loop=self._keys.axes(stage.loop),
            sums=self._sums(stage),
            tile=self._beside_loop(stage),
            block=self._block(stage),
            words=_words(stage),
            integers=_integers(stage),
            unless=unless,
        )

    def _sums(self, stage: Stage) -> dict[str, str]:
        return {partial.workspace: self._keys.axes(partial.axes) for partial in stage.partials}

    def _block(self, stage: Stage) -> str:
        return self._keys.axis(stage.block) if stage.block is not None else ""

    def _beside_loop(self, stage: Stage) -> str:
        """The axes in registers beside a loop; one that is known to have a single position makes no tile."""
        if [known_extent(axis, self._known) for axis in stage.tile] == [1]:
            return ""
        return self._keys.axes(stage.tile)

    # Contractions

    def _gemm(self, plan: ir.Gemm) -> Gemm:
        (stage, *combine), kernels, tile = plan.stages, self._kernels_of(plan), plan.tile
        dots = list(stage.dots.values())
        m, n = (tile.n, tile.m) if plan.few else (tile.m, tile.n)
        return Gemm(
            Name(kernels[0].name),
            m=self._keys.axis(m),
            n=self._keys.axis(n),
            k=self._keys.axes(tile.k),
            bytes=self._operand_bytes(stage, dots),
            batches=self._keys.axes(stage.rows),
            dots=len(dots),
            most=_most(stage),
            in_parts=any(sums_of(stage.flow.nodes, dot) is Sums.PARTS for dot in dots),
            grouped=tile.takes_groups,
            beside=_reads_beside(stage, tile),
            tf32=all(dot.precision == "tf32" for dot in dots),
            unpacked=self._keys.axis(unpacked) if (unpacked := _unpacked(stage, tile)) else "",
            each=2 if any(two_apart(stage.flow.nodes, dot.a) for dot in dots) else 1,
            few=self._keys.axes(plan.few[:1]),
            again=self._keys.axes(plan.few[1:]),
            sums={partial.workspace: self._keys.axes(partial.axes) for partial in tile.sums},
            combine=self._elementwise(combine[0], kernels[1]) if combine else None,
        )

    def _operand_bytes(self, stage: Stage, dots: list[Dot]) -> str:
        """Bytes of an element that the tensor core takes, of all types that the dots multiply in."""
        return " ".join(dict.fromkeys(size for dot in dots for size in self._multiplied_bytes(stage, dot)))

    def _multiplied_bytes(self, stage: Stage, dot: Dot) -> list[str]:
        """Bytes of an element of the type that a dot multiplies in: that of its operands which are stored in it."""
        nodes = stage.flow.nodes
        types = multiplied_as(nodes, dot)
        if types is None:
            return [str(F32.bits // 8)]
        storage, loads = types[0], (nodes[number] for number in (dot.a, dot.b))
        stored = [self._bytes[n.expr.param] for n in loads if isinstance(n.expr, Load) and n.type.element in types]
        return stored or [str(storage.bits // 8) if isinstance(storage, DType) else storage.name]

    def _gemm_tma(self, stage: ir.GemmTma, kernel: Kernel) -> GemmTma:
        products = stage.maps.products
        firsts = {axis for product in products for axis in product.a.axes}
        paired = (name for name, tiles in zip(kernel.maps, stage.maps.all, strict=True) if len(tiles.tensors) > 1)
        return GemmTma(
            Name(kernel.name),
            m=self._keys.axis(stage.m),
            n=self._keys.axis(stage.n),
            k=self._keys.axes(stage.loop),
            maps=self._maps(stage, kernel),
            batches=self._keys.axes(stage.rows),
            itemsize=1 if all(product.sums is not Sums.SINGLE for product in products) else 2,
            dots=sum(len(product.dots) for product in products),
            most=_most(stage),
            in_parts=any(product.sums is Sums.PARTS for product in products),
            halves=2 if stage.maps.is_halved else 1,
            again=self._keys.axes(tuple(axis for axis in stage.rows if axis not in firsts)),
            beside=_reads_beside(stage, stage),
            flips=dict(zip(kernel.varying[2:], paired, strict=True)),
        )

    def _gemm_roles(self, stage: ir.GemmRoles, kernel: Kernel) -> GemmRoles:
        tiles = (*stage.operands, *dict.fromkeys(tiles for _, tiles in stage.stores))
        return GemmRoles(
            Name(kernel.name),
            Name(self._kernels_of(stage.twin)[0].name),
            m=self._keys.axis(stage.m),
            n=self._keys.axis(stage.n),
            k=self._keys.axes(stage.loop),
            maps={name: self._map(each) for name, each in zip(kernel.maps, tiles, strict=True)},
        )

    def _maps(self, stage: ir.GemmTma, kernel: Kernel) -> dict[str, TensorMap]:
        halved = {product.b for product in stage.maps.products if stage.maps.is_halved}
        named = zip(kernel.maps, stage.maps.all, strict=True)
        return {name: self._map(tiles, tiles in halved) for name, tiles in named}

    def _map(self, tiles: TileMap, halves: bool = False) -> TensorMap:
        return TensorMap(
            tuple(self._keys.matrix(matrix, tiles.axes) for matrix in tiles.matrices),
            self._keys.axes(tiles.axes),
            self._bytes[tiles.matrices[0].tensor],
            halves,
        )


def _most(stage: Stage) -> int:
    """How many products the sums of a contraction have room for; 0 if for any number."""
    return MOST_I8 if any(stage.flow.nodes[n].type.kind is Kind.INT for n in stage.dots) else 0


def _unpacked(stage: Stage, tile: ir.GemmTile) -> Axis | None:
    """The axis of a tile whose operands are read in fewer bits than they are multiplied in, and made in registers.

    A stage that makes a share of the tile has a flow of its own, with other numbers of nodes.
    """
    flow = stage.flow
    for axis in (tile.n, tile.m):
        found = [(dot, n) for dot in stage.dots.values() for n in (dot.a, dot.b) if axis in flow.nodes[n].type.axes]
        if found and all(_is_unpacked(flow, dot, n) for dot, n in found):
            return axis
    return None


def _is_unpacked(flow: Flow, dot: Dot, operand: NodeId) -> bool:
    """Whether an operand is read in fewer bits than it is multiplied in."""
    types, node = multiplied_as(flow.nodes, dot), flow.nodes[operand]
    if types is None or node.type.element in types:
        return False
    below = (flow.nodes[number] for number in reachable(flow.nodes, (operand,)))
    read = [one.type.element for one in below if isinstance(one.expr, Load) and set(dot.axes) <= set(one.type.axes)]
    bits = [widest(element) for element in read]
    return bool(bits) and (node.type.kind is Kind.INT or max(bits) < widest(types[operand != dot.a]))


def _each(names: list[str]) -> str:
    """Names, each once."""
    return " ".join(dict.fromkeys(names))


def _is_held(access: LoadTile | StoreTile, kernel: Kernel) -> bool:
    """Whether a loop keeps what an access loads, if it keeps any."""
    kept = [keep.tile for keep in every(kernel.skeleton) if isinstance(keep, Keep)]
    return isinstance(access, LoadTile) and access.names[0] in kept


def _integers(stage: Stage) -> str:
    """The workspaces for partial results that are integers."""
    return " ".join(p.workspace for p in stage.partials if stage.flow.nodes[p.value].type.kind is Kind.INT)


def _at_least_one(stage: Stage) -> str:
    """What of the grid there is at least one of, though a call may have none."""
    return " ".join([*(["rows"] if stage.lacks_rows else []), *(["block"] if stage.lacks_block else [])])


def _unless(stage: Stage, later: Iterable[Stage]) -> str:
    """The optional tensor which, where it is given, leaves none of the partial results of a stage to be read."""
    left = {partial.workspace for partial in stage.partials}
    stages = tuple(later)
    chosen = (node.expr for each in stages for node in each.flow.nodes if isinstance(node.expr, Choose))
    given = {choose.selector for choose in chosen if OMITTED in dict(choose.cases)}
    return next((name for name in sorted(given) if not any(left & _read_where_given(s, name) for s in stages)), "")


def _read_where_given(stage: Stage, selector: str) -> set[str]:
    """The workspaces that a stage reads, for its own partial results and what it stores, where `selector` is given."""
    flow = stage.flow
    stack = [number for store in flow.stores for number in store_inputs(store)]
    stack += [partial.value for partial in stage.partials]
    seen: set[NodeId] = set()
    while stack:
        number = stack.pop()
        expr = flow.nodes[number].expr
        if number not in seen:
            seen.add(number)
            chosen = isinstance(expr, Choose) and expr.selector == selector
            stack += [dict(expr.cases)[GIVEN]] if isinstance(expr, Choose) and chosen else operands(expr)
    return {expr.workspace for number in seen if isinstance(expr := flow.nodes[number].expr, Partial)}


def _combines_block(stage: Stage) -> bool:
    """Whether every element of a block is combined of partial results of its own."""
    return any(isinstance(node.expr, Partial) and stage.block in node.expr.axes for node in stage.flow.nodes)


def _combines_rows(stage: Stage) -> bool:
    """Whether each row is combined of partial results of its own."""
    partials = (node.expr for node in stage.flow.nodes if isinstance(node.expr, Partial))
    return any(axis in stage.rows for partial in partials for axis in partial.axes)


def _words(stage: Stage) -> float:
    """The most words that a stage holds for each element of its tiles."""
    return _short(residency(stage, widest).words)


def _words_in_row(stage: Stage, parts: int) -> tuple[float, float]:
    """The same for each element of a row that comes in `parts`: some in any case, others for each byte of an input."""
    half, full = (residency(stage, at_most(bits)).words / parts for bits in (16, 32))
    if half == full:
        return _short(half), 0.0
    return _short(2 * half - full), _short((full - half) / 2)


def _short(value: float) -> float:
    """A figure in as many digits as it is written with."""
    return float(f"{value:g}")


def _stores_bytes(stage: Stage) -> bool:
    """Whether the outputs that have most axes are of 8 bits."""
    stores = [(len(store_axes(stage.flow, store)), store.element) for store in stage.flow.stores]
    full = max((axes for axes, _ in stores), default=0)
    return all(isinstance(e, DType) and e.bits == 8 for axes, e in stores if axes == full)


def _reads_beside(stage: Stage, tile: ir.GemmStage) -> int:
    """How many tiles as large as the output are read behind the products of a stage, or made there of integers.

    These may be of 64 bits.
    """
    cut = {tile.m, tile.n}
    nodes = (stage.flow.nodes[n] for n in stage.live)
    found = (node for node in nodes if isinstance(node.expr, Load) or _is_of_integers(node))
    return sum(cut <= set(node.type.axes) for node in found)


def _is_of_integers(node: FlowNode) -> bool:
    return isinstance(node.expr, Arithmetic) and node.type.kind is Kind.INT


def _matrix_beside(plan: ir.Gemv) -> tuple[Axis, ...]:
    """The axes of the matrix that a gemv reads, if its programs read as much or more beside it."""
    flows = [stage.flow for stage in plan.stages]
    kept = {axis for flow in flows for store in flow.stores for axis in store_axes(flow, store)}
    nodes = [stage.flow.nodes[number] for stage in plan.stages for number in stage.live]
    read = {node.expr.param: node.type.axes for node in nodes if isinstance(node.expr, Load)}
    long = [axes for axes in read.values() if set(axes) - kept]
    matrices = [axes for axes in long if set(axes) & kept - set(plan.few)]
    return matrices[0] if matrices and len(matrices) * 2 <= len(long) else ()
