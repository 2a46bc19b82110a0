"""A plan and its kernels as a schedule of the host table: what the rules for its launches depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from fusec.ir import schedule as ir
from fusec.ir.expressions import Dot, Load
from fusec.ir.fixed_extents import known_extent
from fusec.ir.flow import store_axes, two_apart
from fusec.ir.host import schedules as host
from fusec.ir.host.names import Name
from fusec.ir.kernel import Kernel, RowLoop
from fusec.ir.multiply import F32, Sums, multiplied_as, sums_of
from fusec.ir.program import Program
from fusec.ir.stage import Stage
from fusec.ir.statements import Keep, LoadTile, StoreTile, every
from fusec.ir.tensor_map import TensorMap
from fusec.ir.types import DType
from fusec.passes.host import stages
from fusec.passes.host.keys import Keys
from fusec.passes.schedule.traffic import row_facts, sweeps


class Scheduler:
    """Makes the schedules of one op.

    `bytes` has for each tensor what tells the bytes of an element: its own name, that of a dtype, or a number.
    """

    def __init__(self, keys: Keys, bytes: Mapping[str, str], program: Program) -> None:
        self._keys, self._axes, self._axis = keys, keys.axes, keys.axis
        self._bytes = bytes
        self._known = dict(program.known)
        self._kernels_of, self._holds_tiles = program.kernels_of, program.holds_tiles

    def schedules(self, plans: tuple[ir.InKernels, ...]) -> tuple[host.Schedule, ...]:
        """The schedules of a step in order of preference: one of each plan, and the tiles that a loop can hold."""
        vectors = tuple(one for one in map(self._row_vectors, plans) if one is not None)
        tiles = tuple(one for one in map(self._row_tiles, plans) if one is not None)
        found = tuple(map(self.schedule, plans))
        wholes = (place for place, one in enumerate(found) if isinstance(one, host.Resident | host.RowLoop))
        whole = next(wholes, len(found))
        return (*found[:whole], *vectors, *tiles, *found[whole:])

    def schedule(self, plan: ir.InKernels) -> host.Schedule:
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
            case ir.GemmScaled():
                return self._gemm_scaled(plan, kernel)
            case ir.Elementwise():
                return self._elementwise(stage, kernel)

    def _gemv(self, plan: ir.Gemv, stage: Stage, kernel: Kernel) -> host.Gemv:
        of: host.Resident | host.RowLoop
        if isinstance(plan.of, ir.Resident):
            # Its matrix shares the registers.
            loop = self._axes(stage.whole.loop)
            of = replace(self._resident(stage, kernel), compact=False, loop=loop)
        else:
            of = self._row_loop(stage, kernel)
        matrix = () if plan.narrow else stages.matrix_of(plan)
        return host.Gemv(few=self._axes(plan.few), matrix=self._axes(matrix), narrow=plan.narrow, of=of)

    # Rows

    def _elementwise(self, stage: Stage, kernel: Kernel) -> host.Elementwise:
        return host.Elementwise(
            Name(kernel.name),
            rows=self._axes(stage.rows),
            block=self._block(stage),
            tile=self._axes(stage.tile),
            narrow=stages.stores_bytes(stage),
            parts=stages.combines_block(stage),
            splits=stages.combines_rows(stage),
            at_least_one=stages.at_least_one(stage),
        )

    def _tile(self, stage: Stage, kernel: Kernel) -> host.Tile:
        stored = [store_axes(stage.flow, store) for store in stage.flow.stores]
        tiles = dict.fromkeys(tuple(axis for axis in stage.tile if axis in axes) for axes in stored)
        live = tuple(tile for tile in tiles if not any(set(tile) < set(other) for other in tiles))
        texts = () if live == (stage.tile,) else tuple(map(self._keys.axes, live))
        runs = tuple(dict.fromkeys(axes[-1] for axes in live)) if self._has_rows_within(stage) else ()
        return host.Tile(Name(kernel.name), self._axes(stage.rows), self._axes(stage.tile), texts, self._axes(runs))

    @staticmethod
    def _has_rows_within(stage: Stage) -> bool:
        """Whether some axis of the rows lies between those of a tile in memory."""
        first = min(map(stage.order.index, stage.tile))
        return any(axis in stage.rows for axis in stage.order[first:])

    def _rows(self, stage: Stage, kernel: Kernel) -> host.Rows:
        return host.Rows(
            Name(kernel.name),
            rows=self._axes(stage.rows),
            tile=self._axes(stage.tile),
            block=self._block(stage),
            words=stages.words(stage) if stage.block is not None else 1.0,
            at_least_one=stages.at_least_one(stage),
        )

    def _resident(self, stage: Stage, kernel: Kernel) -> host.Resident:
        facts = row_facts(stage)
        words, each = stages.words_in_row(stage, facts.parts)
        return host.Resident(
            Name(kernel.name),
            rows=self._axes(stage.rows),
            tile=self._axes(stage.tile),
            bytes=self._bytes.get(facts.widest, "4"),
            inputs=facts.inputs,
            parts=facts.parts,
            compact=facts.compact,
            words=words,
            words_per_byte=each,
            narrow=stages.stores_bytes(stage),
        )

    def _row_tiles(self, plan: ir.InKernels) -> host.RowTiles | None:
        """The kernel of a loop with its tiles in registers, where it may hold them."""
        if not self._holds_tiles(plan):
            return None
        (stage, *_), (kernel, *_) = plan.stages, self._kernels_of(plan)
        facts = row_facts(stage)
        return host.RowTiles(
            Name(kernel.name),
            rows=self._axes(stage.rows),
            loop=self._axes(stage.loop),
            bytes=self._bytes.get(facts.widest, "4"),
            inputs=facts.inputs,
            sweeps=sweeps(stage),
        )

    def _row_vectors(self, plan: ir.InKernels) -> host.RowVectors | None:
        """The same with tiles that begin at vectors, where rows may begin anywhere."""
        (stage, *_), (kernel, *_) = plan.stages, self._kernels_of(plan)
        if plan.few or not isinstance(kernel.skeleton, RowLoop) or kernel.skeleton.stored is None:
            return None
        first = kernel.skeleton.stored.address.pointer.text.removesuffix("_ptr")
        accesses = [one for one in every(kernel.skeleton) if isinstance(one, LoadTile | StoreTile) and one.vectors]
        told = [(isinstance(one, StoreTile), one.vectors) for one in accesses if one.vectors]
        stored = [first, *(vectors.tensor for is_store, vectors in told if is_store)]
        loaded = [vectors for is_store, vectors in told if not is_store]
        return host.RowVectors(
            Name(kernel.name),
            rows=self._axes(stage.rows),
            loop=self._axes(stage.loop),
            stored=_each(stored),
            read=_each([vectors.tensor for vectors in loaded if vectors.of != "shared"]),
            shared=_each([vectors.tensor for vectors in loaded if vectors.of == "shared"]),
            held=_each([one.vectors.tensor for one in accesses if one.vectors and _is_held(one, kernel)]),
            sweeps=sweeps(stage),
        )

    def _row_loop(self, stage: Stage, kernel: Kernel) -> host.RowLoop:
        return host.RowLoop(
            Name(kernel.name),
            rows=self._axes(stage.rows),
            loop=self._axes(stage.loop),
            tile=self._beside_loop(stage),
            block=self._block(stage),
            sweeps=sweeps(stage),
            inputs=row_facts(stage).inputs,
            words=stages.words(stage),
            at_least_one="block" if stage.lacks_block else "",
        )

    def _split_rows(self, plan: ir.SplitRows) -> host.SplitRows:
        *partials, (last, kernel) = zip(plan.stages, self._kernels_of(plan), strict=True)
        unless = [stages.unless(stage, plan.stages[place + 1 :]) for place, (stage, _) in enumerate(partials)]
        parts = (self._partial(*each, given) for each, given in zip(partials, unless, strict=True))
        return host.SplitRows(tuple(parts), self._elementwise(last, kernel))

    def _column_sums(self, plan: ir.ColumnSums) -> host.ColumnSums:
        (stage, kernel), (last, combine) = zip(plan.stages, self._kernels_of(plan), strict=True)
        facts = row_facts(stage)
        words, each = stages.words_in_row(stage, 1)
        return host.ColumnSums(
            Name(kernel.name),
            loop=self._axes(stage.loop),
            sums=self._sums(stage),
            combine=self._elementwise(last, combine),
            rows=self._axes(stage.rows),
            tile=self._beside_loop(stage),
            block=self._block(stage),
            inputs=facts.inputs * facts.parts,
            bytes=self._bytes.get(facts.widest, "4"),
            words=words,
            words_per_byte=each,
            integers=stages.integers(stage),
            at_least_one="block" if stage.lacks_block else "",
        )

    def _partial(self, stage: Stage, kernel: Kernel, unless: str) -> host.Partial:
        return host.Partial(
            Name(kernel.name),
            rows=self._axes(stage.rows),
            loop=self._axes(stage.loop),
            sums=self._sums(stage),
            tile=self._beside_loop(stage),
            block=self._block(stage),
            words=stages.words(stage),
            integers=stages.integers(stage),
            unless=unless,
        )

    def _sums(self, stage: Stage) -> dict[str, str]:
        return {partial.workspace: self._axes(partial.axes) for partial in stage.partials}

    def _block(self, stage: Stage) -> str:
        return self._axis(stage.block) if stage.block is not None else ""

    def _beside_loop(self, stage: Stage) -> str:
        """The axes in registers beside a loop; one that is known to have a single position makes no tile."""
        if [known_extent(axis, self._known) for axis in stage.tile] == [1]:
            return ""
        return self._axes(stage.tile)

    # Contractions

    def _gemm(self, plan: ir.Gemm) -> host.Gemm:
        (stage, *combine), kernels, tile = plan.stages, self._kernels_of(plan), plan.tile
        dots = list(stage.dots.values())
        m, n = (tile.n, tile.m) if plan.few else (tile.m, tile.n)
        return host.Gemm(
            Name(kernels[0].name),
            m=self._axis(m),
            n=self._axis(n),
            k=self._axes(tile.k),
            bytes=self._operand_bytes(stage, dots),
            batches=self._axes(stage.rows),
            dots=len(dots),
            most=stages.most(stage),
            in_parts=any(sums_of(stage.flow.nodes, dot) is Sums.PARTS for dot in dots),
            grouped=tile.takes_groups,
            beside=stages.reads_beside(stage, tile),
            tf32=all(dot.precision == "tf32" for dot in dots),
            unpacked=self._axis(unpacked) if (unpacked := stages.unpacked(stage, tile)) else "",
            each=2 if any(two_apart(stage.flow.nodes, dot.a) for dot in dots) else 1,
            few=self._axes(plan.few[:1]),
            again=self._axes(plan.few[1:]),
            joined=self._axes(stages.joined(plan)),
            sums={partial.workspace: self._axes(partial.axes) for partial in tile.sums},
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

    def _gemm_tma(self, stage: ir.GemmTma, kernel: Kernel) -> host.GemmTma:
        products = stage.maps.products
        firsts = {axis for product in products for axis in product.a.axes}
        paired = (name for name, tiles in zip(kernel.maps, stage.maps.all, strict=True) if len(tiles.tensors) > 1)
        return host.GemmTma(
            Name(kernel.name),
            m=self._axis(stage.m),
            n=self._axis(stage.n),
            k=self._axes(stage.loop),
            maps=self._maps(stage, kernel),
            batches=self._axes(stage.rows),
            itemsize=1 if all(product.sums is not Sums.SINGLE for product in products) else 2,
            dots=sum(len(product.dots) for product in products),
            most=stages.most(stage),
            in_parts=any(product.sums is Sums.PARTS for product in products),
            halves=2 if stage.maps.is_halved else 1,
            again=self._axes(tuple(axis for axis in stage.rows if axis not in firsts)),
            beside=stages.reads_beside(stage, stage),
            flips=dict(zip(kernel.varying[2:], paired, strict=True)),
        )

    def _gemm_roles(self, stage: ir.GemmRoles, kernel: Kernel) -> host.GemmRoles:
        tiles = (*stage.operands, *dict.fromkeys(tiles for _, tiles in stage.stores))
        halved = stage.operands[1:] if stage.is_halved else ()
        return host.GemmRoles(
            Name(kernel.name),
            Name(self._kernels_of(stage.twin)[0].name),
            m=self._axis(stage.m),
            n=self._axis(stage.n),
            k=self._axes(stage.loop),
            maps={name: self._map(each, each in halved) for name, each in zip(kernel.maps, tiles, strict=True)},
            across=self._axes(tuple(axis for axis in stage.rows if axis in stage.operands[1].axes)),
        )

    def _gemm_scaled(self, stage: ir.GemmScaled, kernel: Kernel) -> host.GemmScaled:
        return host.GemmScaled(
            Name(kernel.name),
            m=self._axis(stage.m),
            n=self._axis(stage.n),
            k=self._axes(stage.loop),
            formats=tuple(dict.fromkeys(product.formats for product in stage.products)),
            numbers=stage.numbers,
            times=stage.times,
            batches=self._axes(stage.rows),
            dots=len(stage.products),
        )

    def _maps(self, stage: ir.GemmTma, kernel: Kernel) -> dict[str, host.TensorMap]:
        halved = {product.b for product in stage.maps.products if stage.maps.is_halved}
        named = zip(kernel.maps, stage.maps.all, strict=True)
        return {name: self._map(tiles, tiles in halved) for name, tiles in named}

    def _map(self, tiles: TensorMap, halves: bool = False) -> host.TensorMap:
        return host.TensorMap(
            tuple(self._keys.matrix(matrix, tiles.axes) for matrix in tiles.matrices),
            self._axes(tiles.axes),
            self._bytes[tiles.matrices[0].tensor],
            halves,
        )


def _each(names: list[str]) -> str:
    """Names, each once."""
    return " ".join(dict.fromkeys(names))


def _is_held(access: LoadTile | StoreTile, kernel: Kernel) -> bool:
    """Whether a loop keeps what an access loads, if it keeps any."""
    kept = [keep.tile for keep in every(kernel.skeleton) if isinstance(keep, Keep)]
    return isinstance(access, LoadTile) and access.names[0] in kept
