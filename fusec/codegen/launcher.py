"""The host side that launches: `_plan` chooses among the plans of an op by its extents, as lines of Python."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from fusec.codegen.checks import LEAD, extent_names, has_lead, layout_arguments, squeeze_line, squeezed
from fusec.codegen.names import OpNames
from fusec.codegen.signature import is_wide, sequence
from fusec.ir.flow import LEAD_AXES, Affine, Load, Position, Size
from fusec.ir.graph import ChoiceParam, Graph, Index, ScalarParam, TensorParam
from fusec.ir.kernel import Kernel
from fusec.ir.layout import stored_dims, strides
from fusec.ir.plan import Shape, Stage, known_extent
from fusec.ir.program import BuiltGroup, BuiltPlan, Program
from fusec.ir.sizes import size_text
from fusec.ir.types import Axis, Dim, DType, Kind, product_extent
from fusec.passes.kernel.grid import block_name, even_name
from fusec.passes.plan.account import row_facts, sweeps

_WARPS = '({"num_warps": warps, "num_stages": 1},)'
_ONE_WARP = '({"num_warps": 1, "num_stages": 1},)'
_LEADS = ("lead1", "lead0")
LEFT = 100
"""Characters that the left side of an assignment may have before it gets lines of its own."""


@dataclass(frozen=True, slots=True)
class _Choice:
    """A plan as code: when it is taken, why, the lines that size its tiles, and its launches."""

    condition: str | None
    words: str
    sizing: list[str]
    launches: list[str]


class PlanWriter:
    """Writes the body of `_plan` for one op."""

    def __init__(self, program: Program, names: OpNames) -> None:
        self._program = program
        self._names = names
        self._graph: Graph = program.spelled
        self._known = dict(program.known)
        self._lead_tensors = [t.name for t in self._graph.tensors if has_lead(t.dims)]
        self._lead_outputs = [o.name for o in self._graph.outputs if has_lead(o.dims)]

    @property
    def leads(self) -> bool:
        return bool(self._lead_tensors)

    def lines(self) -> list[str]:
        """The body of `_plan`."""
        graph = self._graph
        names = extent_names(graph)
        lines: list[str] = []
        if names:
            left = ", ".join(names) if len(names) > 1 else sequence(names)
            lines.append(f"{left} = extents = {self._extents()}")
        else:
            lines.append(f"extents = {self._extents()}")
        outputs = [output.name for output in graph.outputs]
        if outputs:
            lines.append(
                f"{', '.join(outputs) if len(outputs) > 1 else sequence(outputs)} = {self._names.outputs}(*extents)"
            )
        if squeezed(graph):
            lines.append(squeeze_line(graph))
        if self.leads:
            lines += self._collapse()
        lines += self._flatten()
        lines += self._sizes()
        if any(kernel.blocks for kernel in self._program.kernels):
            tensors = ", ".join([*(t.name for t in graph.tensors), *outputs])
            lines.append(f"index = tiles.index_type({tensors})")
        if self.wide:
            lines.append(f"real = tl.float64 if torch.float64 in {self._dtypes()} else tl.float32")
        if self._has_scratch():
            lines.append("scratch = {}")
        lines.append("launches = []")
        for group in self._program.groups:
            lines += self._group(group)
        return [*lines, *self._result(outputs)]

    @property
    def wide(self) -> bool:
        """Whether some argument may be f64, so that the type reals are computed in is chosen at run time."""
        return any(is_wide(tensor.element) for tensor in self._graph.tensors)

    def _extents(self) -> str:
        return f"{self._names.extents}({', '.join(layout_arguments(self._graph))})"

    def _dtypes(self) -> str:
        names = dict.fromkeys(f"{t.name}.dtype" for t in self._graph.tensors if not t.optional and is_wide(t.element))
        return sequence(names)

    # Sizes

    def _collapse(self) -> list[str]:
        """Leading axes of all tensors as the two axes a kernel walks."""
        given = [self._lead_strides(self._graph.tensor(name)) for name in self._lead_tensors]
        given += [f"contiguous({name}.shape)[: len({LEAD})]" for name in self._lead_outputs]
        names = [*self._lead_tensors, *self._lead_outputs]
        pairs = [f"({name}_lead1, {name}_lead0)" for name in names]
        left = ", ".join(pairs) if len(pairs) > 1 else sequence(pairs)
        one = [f'tiles.require_one_walk("{self._graph.name}", rows)'] if self._reduces_lead() else []
        return [
            f"rows = collapse({', '.join([LEAD, *given])})",
            *one,
            f"{f'({left})' if len(left) > LEFT else left} = rows.strides",
            "lead1, lead0 = rows.count // rows.inner, rows.inner",
        ]

    def _reduces_lead(self) -> bool:
        """Whether some kernel walks `...` in a loop or a tile, which several launches cannot share."""
        plans = [plan for group in self._program.groups for plan in group.all_plans()]
        inner = (axis for plan in plans for stage in plan.plan.stages for axis in (*stage.tile, *stage.stream))
        return any(axis in LEAD_AXES for axis in inner)

    def _lead_strides(self, tensor: TensorParam) -> str:
        text = f"{tensor.name}.stride()[: len({LEAD})]"
        return f"({text} if {tensor.name} is not None else [0] * len({LEAD}))" if tensor.optional else text

    def _flatten(self) -> list[str]:
        """Where every tensor is one run of memory and the op treats all elements alike, walk it as one long axis."""
        axes = self._flat_axes()
        if not axes:
            return []
        tensors = ", ".join(t.name for t in self._graph.tensors)
        names = [str(axis) for axis in axes]
        total = size_text(product_extent(axes))
        return [f"if tiles.is_flat({tensors}):", f"    {', '.join(names)} = {'1, ' * (len(names) - 1)}{total}"]

    def _flat_axes(self) -> tuple[Axis, ...]:
        plans = [plan for group in self._program.groups for plan in group.all_plans()]
        stages = [stage for plan in plans for stage in plan.plan.stages]
        orders = {stage.order for stage in stages}
        if len(orders) != 1 or any(stage.tile for stage in stages):
            return ()
        axes = orders.pop()
        named = all(str(axis).isidentifier() for axis in axes)
        return axes if len(axes) > 1 and named and all(_is_uniform(stage, axes) for stage in stages) else ()

    def _sizes(self) -> list[str]:
        used = dict.fromkeys(name for kernel in self._program.kernels for name in (*kernel.integers, *kernel.structure))
        entries = [f'"{name}": {name},' for name in used if "_stride_" not in name]
        for tensor in self._graph.tensors:
            entries += [f'"{n}": {text},' for n, text in self._tensor_strides(tensor) if n in used]
        for output in self._graph.outputs:
            entries += [f'"{n}": {t},' for n, t in self._output_strides(output.name, output.dims) if n in used]
        return ["sizes = {", *(f"    {entry}" for entry in entries), "}"]

    def _tensor_strides(self, tensor: TensorParam) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        flat = stored_dims(tensor.dims)
        for place, (dim, stride) in enumerate(zip(flat, strides(tensor.name, tensor.dims), strict=True)):
            if len(dim) == 1 and str(dim[0]) in _LEADS and has_lead(tensor.dims):
                text = f"{tensor.name}_{dim[0]}"
            else:
                where = place - len(flat) if has_lead(tensor.dims) else place
                text = f"{tensor.name}.stride({where})"
                text = f"0 if {tensor.name} is None else {text}" if tensor.optional else text
            found.append((stride.name, text))
        return found

    def _output_strides(self, name: str, dims: tuple[Dim, ...]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        symbols = strides(name, dims)
        for place, (dim, stride) in enumerate(zip(stored_dims(dims), symbols, strict=True)):
            if len(dim) == 1 and str(dim[0]) in _LEADS and has_lead(dims):
                found.append((stride.name, f"{name}_{dim[0]}"))
            else:
                inner = sympy.Mul(*(product_extent(d) for d in stored_dims(dims)[place + 1 :]))
                found.append((stride.name, size_text(inner)))
        return found

    # Plans

    def _group(self, group: BuiltGroup, always: bool = True) -> list[str]:
        """An if-chain over the plans of a group, the last of which takes all extents."""
        choices = [self._choice(plan) for plan in group.plans]
        if group.apart:
            lines = [line for inner in group.apart for line in self._group(inner)]
            choices.append(_Choice(None, "each output apart", [], lines))
        return [*_chain(choices), *self._alone(group)]

    def _alone(self, group: BuiltGroup) -> list[str]:
        """What is left to compute when the launches of a group are of no program."""
        if group.alone is None:
            return []
        empty = " or ".join(f"{_text((axis,))} == 0" for axis in group.absent)
        return [f"if {empty}:", *(f"    {line}" for line in self._group(group.alone))]

    def _choice(self, plan: BuiltPlan) -> _Choice:
        match plan.plan.shape:
            case Shape.ROWS:
                return self._rows(plan)
            case Shape.RESIDENT:
                return self._resident(plan)
            case Shape.STREAMED:
                return self._streamed(plan)
            case Shape.SPLIT:
                return self._split(plan)
            case Shape.TILED | Shape.JOINT:
                return self._tiled(plan)
            case Shape.BLOCKED:
                return self._blocked(plan)

    def _rows(self, plan: BuiltPlan) -> _Choice:
        stage, kernel = plan.plan.stages[0], plan.kernels[0]
        row = self._padded(stage.tile)
        fixed = self._is_fixed(stage.tile)
        count = _text(stage.rows) or "1"
        blocks = self._tile_blocks(stage.tile)
        if stage.block is not None:
            wide = f"min(tiles.padded({_text((stage.block,))}), 64)"
            sizing = [f"row, wide = {row}, {wide}", f"lanes = tiles.lanes({count}, row * wide)"]
            blocks[block_name(stage.block)] = "wide"
            grid = f"{_row_programs(stage, count, 'lanes')} * {_block_programs(stage, 'wide')}"
            sizing.append("warps = tiles.warps(lanes * row * wide)")
            limit = "tiles.RESIDENT_ROW // 4"
        else:
            sizing = [f"row = {row}", f"lanes = tiles.lanes({count}, row)", "warps = tiles.warps(lanes * row)"]
            grid = _row_programs(stage, count, "lanes")
            limit = "tiles.SHORT_ROW"
        blocks["ROWS"] = "lanes"
        launch = self._launch(kernel, grid, blocks, _WARPS)
        condition = None if fixed and stage.block is None else f"{row} <= {limit}"
        return _Choice(condition, plan.plan.words, sizing, launch)

    def _resident(self, plan: BuiltPlan) -> _Choice:
        stage, kernel = plan.plan.stages[0], plan.kernels[0]
        facts = row_facts(stage)
        parts = f"{facts.parts} * " if facts.parts > 1 else ""
        size = f"{parts}{self._padded(stage.tile)}, {self._itemsize(facts.widest)}, {facts.inputs}"
        count = _text(stage.rows) or "1"
        options = f"tiles.row_options({count}, {size}{', narrow=True' if _stores_bytes(stage) else ''})"
        launch = self._launch(kernel, count, self._tile_blocks(stage.tile), options)
        about = f"{self._itemsize(facts.widest)}, {facts.inputs}, {facts.compact}"
        fits = f"tiles.holds_row({count}, {parts}{self._row_length(stage.tile)}, {about})"
        return _Choice(fits, plan.plan.words, [], launch)

    def _row_length(self, axes: tuple[Axis, ...]) -> str:
        """Elements of a row: the first axis as it is, the others padded as their tiles are."""
        first, *rest = axes
        return f"{self._padded(tuple(rest))} * {_text((first,))}" if rest else _text((first,))

    def _streamed(self, plan: BuiltPlan) -> _Choice:
        stage, kernel = plan.plan.stages[0], plan.kernels[0]
        inner = self._padded(stage.tile)
        sizing: list[str] = []
        blocks = self._tile_blocks(stage.tile)
        grid = _text(stage.rows) or "1"
        limit = inner
        if stage.block is not None:
            sizing.append(f"wide = min(tiles.padded({_text((stage.block,))}), 64)")
            blocks[block_name(stage.block)] = "wide"
            grid = f"{grid} * {_block_programs(stage, 'wide')}"
            inner = "wide" if inner == "1" else f"wide * {inner}"
        sizing.append(f"chunk = {_chunk(_text(stage.stream), inner, f'{sweeps(stage)}, {row_facts(stage).inputs}')}")
        sizing.append(f"warps = tiles.warps({'chunk' if inner == '1' else f'chunk * {inner}'}, thread=8)")
        blocks[block_name(stage.stream[-1])] = "chunk"
        blocks["CHUNKS"] = f"{_factor(_text(stage.stream))} // chunk"
        blocks["REST"] = f"{_factor(_text(stage.stream))} % chunk != 0"
        launch = self._launch(kernel, grid, blocks, _WARPS)
        rows = _text((*stage.rows, *((stage.block,) if stage.block else ())))
        length = self._row_length((*stage.stream, *stage.tile))
        loop = f"tiles.prefers_loop({rows or 1}, {length})"
        condition = loop if limit == "1" else f"{loop} and {limit} <= tiles.CHUNK"
        return _Choice(condition, plan.plan.words, sizing, launch)

    def _split(self, plan: BuiltPlan) -> _Choice:
        sizing: list[str] = []
        launches: list[str] = []
        splits_known = False
        for stage, kernel in zip(plan.plan.stages, plan.kernels, strict=True):
            if not stage.split:
                more_sizing, launch = self._finish(stage, kernel)
                launches += [*more_sizing, *launch]
                continue
            blocks = self._tile_blocks(stage.tile)
            inner = self._padded(stage.tile)
            grid = _text(stage.rows)
            lines: list[str] = []
            if stage.block is not None:
                lines.append(f"wide = min(tiles.padded({_text((stage.block,))}), 64)")
                blocks[block_name(stage.block)] = "wide"
                grid = " * ".join(filter(None, [_factor(grid), f"tiles.cdiv({_text((stage.block,))}, wide)"]))
                inner = "wide" if inner == "1" else f"wide * {inner}"
            last = stage.stream[-1:]
            lines.append(f"chunk = {_split_chunk(_text(last), inner)}")
            step = "chunk" if inner == "1" else f"chunk * {inner}"
            blocks[block_name(last[0])] = "chunk"
            if not splits_known:
                outer = _text(stage.stream[:-1])
                steps = " * ".join(filter(None, [_factor(outer), f"tiles.cdiv({_text(last)}, chunk)"]))
                lines.append(f"splits = tiles.split_count({grid or '1'}, {steps}, {step})")
                splits_known = True
            blocks["SPLITS"] = "splits"
            lines.append(f"warps = tiles.warps({step}, thread=8)")
            lines += self._scratch(stage)
            launches += [
                *lines,
                *self._launch(kernel, " * ".join(filter(None, [_factor(grid), "splits"])), blocks, _WARPS),
            ]
        return _Choice(None, plan.plan.words, sizing, launches)

    def _scratch(self, stage: Stage) -> list[str]:
        lines: list[str] = []
        walks = " * len(rows.offsets)" if self.leads else ""
        for partial in stage.partials:
            count = " * ".join(filter(None, [_factor(_text(partial.axes)), "splits"]))
            kind = stage.flow.nodes[partial.value].type.kind
            dtype = "torch.int64" if kind is Kind.INT else self._real_dtype()
            name = partial.scratch
            lines.append(f"{name} = {count}")
            lines.append(f'scratch["{name}"] = Buffer(({name}{walks},), {dtype})')
        return lines

    def _real_dtype(self) -> str:
        return "torch.float64 if real == tl.float64 else torch.float32" if self.wide else "torch.float32"

    def _finish(self, stage: Stage, kernel: Kernel) -> tuple[list[str], list[str]]:
        blocks = self._tile_blocks(stage.tile)
        count = _text(stage.rows)
        if stage.block is None:
            sizing = [f"lanes = tiles.lanes({count or 1}, {self._padded(stage.tile)})", "warps = 4"]
            blocks["ROWS"] = "lanes"
            grid = _row_programs(stage, count or "1", "lanes")
            if not stage.lanes:
                blocks.pop("ROWS")
                grid, sizing = count or "1", ["warps = 4"]
        else:
            size = _text((stage.block,))
            thread = ", thread=16" if _stores_bytes(stage) else ""
            sizing = [f"block = tiles.blocks({count or 1}, {size}{thread})"]
            grid = _block_programs(stage, "block.size")
            if stage.lanes:
                grid = f"{_row_programs(stage, count, 'block.lanes')} * {grid}"
                blocks["ROWS"] = "block.lanes"
            blocks[block_name(stage.block)] = "block.size"
            sizing.append("warps = block.warps")
        if "SPLITS" in kernel.blocks:
            blocks["SPLITS"] = "splits"
        return sizing, self._launch(kernel, grid, blocks, _WARPS)

    def _tiled(self, plan: BuiltPlan) -> _Choice:
        stage, kernel = plan.plan.stages[0], plan.kernels[0]
        total = self._joint_size(stage)
        sizing = [f"warps = tiles.warps({total}, thread=32)"]
        launch = self._launch(kernel, _text(stage.rows) or "1", self._tile_blocks(stage.tile), _WARPS)
        return _Choice(f"{total} <= tiles.RESIDENT_ROW // 2", plan.plan.words, sizing, launch)

    def _joint_size(self, stage: Stage) -> str:
        """Elements in registers: the largest tile of any store, summed where stores have axes of their own."""
        tiles = dict.fromkeys(
            tuple(axis for axis in stage.tile if axis in _store_axes(stage, place))
            for place in range(len(stage.flow.stores))
        )
        wide = [tile for tile in tiles if not any(set(tile) < set(other) for other in tiles)]
        return " + ".join(self._padded(tile) for tile in wide)

    def _blocked(self, plan: BuiltPlan) -> _Choice:
        stage, kernel = plan.plan.stages[0], plan.kernels[0]
        sizing, launch = self._finish(stage, kernel) if stage.block else ([], self._launch(kernel, "1", {}, _ONE_WARP))
        return _Choice(None, plan.plan.words, sizing, launch)

    def _tile_blocks(self, axes: tuple[Axis, ...]) -> dict[str, str]:
        blocks = {block_name(a): f"tiles.padded({_text((a,))})" for a in axes if not self._power_of_two(a)}
        sizes = {even_name(a): _text((a,)) for a in axes if known_extent(a, self._known) is None}
        return blocks | {name: f"tiles.padded({size}) == {_factor(size)}" for name, size in sizes.items()}

    def _power_of_two(self, axis: Axis) -> bool:
        known = known_extent(axis, self._known)
        return known is not None and known > 0 and known & (known - 1) == 0

    def _is_fixed(self, axes: tuple[Axis, ...]) -> bool:
        return all(known_extent(axis, self._known) is not None for axis in axes)

    def _padded(self, axes: tuple[Axis, ...]) -> str:
        """The padded extents of a tile, as a product; what the spec fixes as a number."""
        parts: list[str] = []
        for axis in axes:
            known = known_extent(axis, self._known)
            if known is None:
                parts.append(f"tiles.padded({_text((axis,))})")
            else:
                parts.append(str(1 << max(known - 1, 0).bit_length()))
        return " * ".join(parts) or "1"

    def _itemsize(self, tensor: str) -> str:
        return "4" if self._graph.tensor(tensor).optional else f"{tensor}.element_size()"

    def _launch(self, kernel: Kernel, grid: str, blocks: dict[str, str], options: str) -> list[str]:
        named = {name: text for name, text in blocks.items() if name in kernel.blocks}
        if "EARLY" in kernel.blocks:
            named["EARLY"] = f"tiles.is_few({grid})"
        named["INDEX"] = "index"
        if self.wide:
            named["REAL"] = "real"
        choices = {p.name.upper(): p.name for p in self._graph.params if isinstance(p, ChoiceParam)}
        named |= {flag: choices[flag] for flag in kernel.flags}
        given = ", ".join(f"{name}={text}" for name, text in named.items())
        lines = [
            "Launch(",
            f"    {kernel.name},",
            f"    grid=({grid},),",
            f"    arguments=tiles.arguments({kernel.name}, sizes, {given}),",
            f"    options={options},",
        ]
        offsets = [n for n in (*self._lead_tensors, *self._lead_outputs) if n in kernel.pointers]
        scratch = [name for name in kernel.pointers if name.startswith("partial") and name not in self._tensor_names()]
        if offsets:
            places = {name: place for place, name in enumerate((*self._lead_tensors, *self._lead_outputs))}
            pairs = [f'"{name}": at[{places[name]}]' for name in offsets]
            pairs += [f'"{name}": walk * {name}' for name in scratch]
            lines.append(f"    offsets={{{', '.join(pairs)}}},")
        lines.append(")")
        if self.leads:
            inner = [f"    {line}" for line in lines]
            walk = "walk, at in enumerate(rows.offsets)" if scratch else "at in rows.offsets"
            return ["launches += [", *inner, f"    for {walk}", "]"]
        return ["launches.append(", *(f"    {line}" for line in lines), ")"]

    def _tensor_names(self) -> list[str]:
        return [*(t.name for t in self._graph.tensors), *(o.name for o in self._graph.outputs)]

    def _has_scratch(self) -> bool:
        return any(stage.partials for g in self._program.groups for p in g.all_plans() for stage in p.plan.stages)

    def _result(self, outputs: list[str]) -> list[str]:
        graph = self._graph
        tensors = [t.name for t in graph.tensors]
        scalars = scalar_names(graph)
        lines = [
            "return Plan(",
            f'    "{graph.name}",',
            f"    {next(t.name for t in graph.tensors if not t.optional)}.device,",
            f"    tensors={sequence(map(_quoted, tensors))},",
        ]
        if scalars:
            lines.append(f"    scalars={sequence(map(_quoted, scalars))},")
        mutated = [t.name for t in graph.tensors if t.mutable]
        if mutated:
            lines.append(f"    mutated={sequence(map(_quoted, mutated))},")
        pairs = ", ".join(f'"{name}": {name}' for name in outputs)
        lines.append(f"    outputs={{{pairs}}},")
        if self._has_scratch():
            lines.append("    scratch=scratch,")
        return [*lines, "    launches=launches,", ")"]


def scalar_names(graph: Graph) -> list[str]:
    """The run-time scalars of an op, in order."""
    return [param.name for param in graph.params if isinstance(param, ScalarParam)]


def _chain(choices: list[_Choice]) -> list[str]:
    lines: list[str] = []
    for place, choice in enumerate(choices):
        body = [f"# {choice.words}", *choice.sizing, *choice.launches]
        if len(choices) == 1:
            return body
        last = place == len(choices) - 1
        word = "else:" if last or choice.condition is None else f"{'elif' if place else 'if'} {choice.condition}:"
        lines += [word, *(f"    {line}" for line in body)]
        if word == "else:":
            break
    return lines


def _row_programs(stage: Stage, count: str, lanes: str) -> str:
    """The programs for `count` rows, `lanes` to each."""
    text = f"tiles.cdiv({count}, {lanes})"
    return f"max({text}, 1)" if stage.lacks_rows else text


def _block_programs(stage: Stage, size: str) -> str:
    """The programs for the blocks of a row, of `size` elements each."""
    assert stage.block is not None
    text = f"tiles.cdiv({_text((stage.block,))}, {size})"
    return f"max({text}, 1)" if stage.lacks_block else text


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


def _stores_bytes(stage: Stage) -> bool:
    """Whether the outputs that have most axes are of 8 bits."""
    axes = {store.target: _store_axes(stage, place) for place, store in enumerate(stage.flow.stores)}
    full = max(map(len, axes.values()), default=0)
    return all(
        isinstance(store.element, DType) and store.element.bits == 8
        for store in stage.flow.stores
        if len(axes[store.target]) == full
    )


def _is_whole(positions: tuple[Position, ...], axes: tuple[Axis, ...]) -> bool:
    affine = [position for position in positions if isinstance(position, Affine)]
    walked = tuple(axis for position in affine for axis in position.axes)
    return len(affine) == len(positions) and walked == axes and all(position.offset == 0 for position in affine)


def _store_axes(stage: Stage, place: int) -> tuple[Axis, ...]:
    store = stage.flow.stores[place]
    return tuple(axis for position in store.positions for axis in getattr(position, "axes", ()))


def _split_chunk(size: str, inner: str) -> str:
    """The step of a loop that several programs share."""
    if inner == "1":
        return f"tiles.split_chunk({size})"
    return f"min(tiles.padded({size}), max(tiles.CHUNK // {_factor(inner)}, 1))"


def _chunk(size: str, inner: str, facts: str) -> str:
    """The step of a loop over `size` positions of `inner` elements each; `facts` are its sweeps and inputs."""
    if inner == "1":
        return f"tiles.chunk_size({size}, {facts})"
    return f"min(tiles.padded({size}), max(tiles.CHUNK // {_factor(inner)}, 1))"


def _quoted(name: str) -> str:
    return f'"{name}"'


def _text(axes: tuple[Axis, ...]) -> str:
    """The number of positions of several axes; nothing for none."""
    return size_text(product_extent(axes)) if axes else ""


def _factor(text: str) -> str:
    return f"({text})" if " // " in text or " + " in text else text
