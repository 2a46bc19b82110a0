"""The host side that launches: `_plan` chooses among the plans of an op by its extents, as lines of Python."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from fusec.codegen.boxes import BoxWriter
from fusec.codegen.checks import (
    dtype_text,
    extent_names,
    layout_arguments,
    repeat_lines,
    shape_text,
    squeeze_lines,
)
from fusec.codegen.choices import BOXED, FITS, Choice, ChoiceWriter
from fusec.codegen.contraction import work
from fusec.codegen.extents import Extents, count, times
from fusec.codegen.launches import LaunchWriter
from fusec.codegen.matrices import MatrixText
from fusec.codegen.names import OpNames
from fusec.codegen.prepare import like_line
from fusec.codegen.products import PRODUCTS, ProductWriter
from fusec.codegen.signature import chooses_real, is_wide, literal, sequence
from fusec.codegen.sizes import SizeWriter
from fusec.codegen.ways import LIBRARY, chain_plans, choosing, multiplied, plan_names
from fusec.ir.graph import DTypeParam, Graph, Output, ScalarParam, TensorParam
from fusec.ir.plan import Held, LibraryProduct, Shape
from fusec.ir.program import BuiltChain, BuiltGroup, Program
from fusec.ir.types import DTypeVar, Lead
from fusec.passes.kernel.blocks import OVERLAP


def plan_lines(program: Program, names: OpNames) -> list[str]:
    """The body of `_plan` for one op: extents and outputs, sizes, and a chain of choices for each group of outputs."""
    graph = program.spelled
    sizes = SizeWriter(program)
    launches = LaunchWriter(graph, sizes)
    named: tuple[TensorParam | Output | Held, ...] = (*graph.tensors, *graph.outputs, *program.kept)
    matrices = MatrixText({tensor.name: tensor.dims for tensor in named}, sizes.strides())
    itemsizes = _itemsizes(program)
    boxes = BoxWriter(matrices, itemsizes)
    choices = ChoiceWriter(itemsizes, Extents(dict(program.known)), launches, boxes, _device(graph))
    lines = [*_extents(program, names), *sizes.lines()]
    waiting = [f'scratch["{held.name}"] = {_buffer(held)}' for held in program.waiting]
    lines += ["scratch = {}", *waiting] if waiting else []
    if any(kernel.blocks for kernel in program.kernels):
        lines.append(
            f"index = tiles.index_type({', '.join([*graph.stored, *(['*scratch.values()'] if waiting else [])])})"
        )
    if chooses_real(graph):
        lines.append(f"real = tl.float64 if torch.float64 in {_wide_dtypes(graph)} else tl.float32")
    if _has_scratch(program) and not waiting:
        lines.append("scratch = {}")
    if program.once:
        lines.append("prepared = None")
    if any(OVERLAP in kernel.blocks for kernel in program.kernels):
        lines.append(f"overlap = overlaps({_device(graph)})")
    lines.append("launches = []")
    before, chains = _chains(program, names, ProductWriter(matrices, _places(sizes)), choices)
    lines += [*before, *_way(program, names), *_groups(program, chains, choices)]
    lines += [line for group in program.last for line in _group(group, choices)]
    return [*lines, *_result(program)]


def scalar_names(graph: Graph) -> list[str]:
    """The run-time scalars of an op, in order."""
    return [param.name for param in graph.params if isinstance(param, ScalarParam)]


def _extents(program: Program, names: OpNames) -> list[str]:
    graph = program.spelled
    given = f"{names.extents}({', '.join(layout_arguments(graph))})"
    dtypes = {tensor.element.name for tensor in program.kept if isinstance(tensor.element, DTypeVar)}
    dtypes.update(program.once.untold if program.once else ())
    variables = [variable.name for variable in graph.variables]
    found = [name for name in extent_names(graph) if name not in variables]
    left = [*found, *(["*_"] if variables else [])]
    about = choosing(graph)
    dtypes |= set(about.dtypes) if about else set()
    if dtypes:
        left = [*found, *(name if name in dtypes else "_" for name in variables)]
    lines = [f"{_targets(left)} = extents = {given}" if found else f"extents = {given}"]
    if graph.outputs:
        lines.append(f"{_targets(output.name for output in graph.outputs)} = {names.outputs}(*extents)")
    return [*lines, *squeeze_lines(graph), *repeat_lines(graph)]


def _targets(names: Iterable[str]) -> str:
    """The left side of an assignment from a tuple."""
    listed = list(names)
    return ", ".join(listed) if len(listed) > 1 else sequence(listed)


def _wide_dtypes(graph: Graph) -> str:
    """The dtypes of a call that may be f64; false stands for that of an omitted tensor."""
    chosen = {param.variable: param.name for param in graph.params if isinstance(param, DTypeParam)}
    given = {f"{tensor.name}.dtype": tensor.element for tensor in graph.tensors if not tensor.optional}
    told = {*chosen, *given.values()}
    found = [name for name, element in given.items() if is_wide(element)]
    found += [name for variable, name in chosen.items() if is_wide(variable)]
    optional = [tensor for tensor in graph.tensors if tensor.optional and is_wide(tensor.element)]
    found += [f"{each.name} is not None and {each.name}.dtype" for each in optional if each.element not in told]
    return sequence(found)


def _itemsizes(program: Program) -> dict[str, str]:
    """The bytes of an element of each tensor that a kernel reads, as text."""
    sizes = {t.name: "4" if t.optional else f"{t.name}.element_size()" for t in program.spelled.tensors}
    for kept in program.kept:
        sizes[kept.name] = (
            f"{kept.element}.itemsize" if isinstance(kept.element, DTypeVar) else str(kept.element.bits // 8)
        )
    return sizes | {output.name: f"{output.name}.dtype.itemsize" for output in program.spelled.outputs}


def _has_scratch(program: Program) -> bool:
    plans = [plan.plan for plan in program.plans]
    return bool(program.held) or any(stage.partials for plan in plans for stage in plan.stages)


def _places(sizes: SizeWriter) -> dict[str, int]:
    """Where in a walk over leading axes the offset of each tensor stands."""
    return {name: place for place, name in enumerate(sizes.led)}


def _device(graph: Graph) -> str:
    return f"{next(tensor.name for tensor in graph.tensors if not tensor.optional)}.device"


def _way(program: Program, names: OpNames) -> list[str]:
    """The way that was measured to be best for these extents, for an op that has the choice."""
    graph = program.spelled
    about = choosing(graph)
    if about is None:
        return []
    plans = plan_names(program)
    rows = times(*("rows.count" if axis == Lead() else count((axis,)) for axis in about.rows))
    case = [*about.extents, *about.dtypes, *(f"{name} is not None" for name in about.optional)]
    given = [_device(graph), rows, sequence(case)]
    given += [f"{LIBRARY}=None not in {PRODUCTS}"] if LIBRARY in plans else []
    given += [f"{Shape.PERSISTENT.value}={FITS}"] if Shape.PERSISTENT.value in plans else []
    return [f"way = {names.ways}.best({', '.join(given)})"]


def _groups(program: Program, chains: list[Choice], writer: ChoiceWriter) -> list[str]:
    """The launches of an op: as one of its chains, or as plans of its groups where these are better."""
    tuned = multiplied(program.multiplying)
    if len(program.groups) == 1 and program.groups[0].alone is None:
        return _chain([*chains, *_choices(program.groups[0], writer, tuned)])
    others = [line for group in program.groups for line in _group(group, writer, tuned)]
    return _cases([*((each.condition, _commented(each)) for each in chains), (None, others)])


def _chains(
    program: Program, names: OpNames, writer: ProductWriter, choices: ChoiceWriter
) -> tuple[list[str], list[Choice]]:
    """The chains of an op as cases, and the lines that these need before them."""
    products: list[tuple[str | None, list[str]]] = []
    bodies: list[Choice] = []
    for chain in program.chains:
        if chain.products:
            omitted = " and ".join(f"{name} is None" for name in chain.omitted)
            products.append((omitted or None, writer.lines(chain.products)))
        bodies.append(_chain_choice(program, names, chain, writer, choices))
    before = [*_cases(products), *(line for choice in bodies for line in choice.before)]
    return before, [replace(choice, before=()) for choice in bodies]


def _chain_choice(
    program: Program, names: OpNames, chain: BuiltChain, writer: ProductWriter, choices: ChoiceWriter
) -> Choice:
    """A chain as a case: with products in the library, or with contractions of what is stored."""
    lines = [f'scratch["{held.name}"] = {_buffer(held)}' for held in chain.held]
    lines += [like_line(program.once, names)] if program.once else []
    kept = [*(["*scratch.values()"] if chain.held or program.waiting else []), *map(_buffer, program.prepared)]
    if kept and any(kernel.blocks for kernel in chain.kernels):
        lines.append(f"index = tiles.index_type({', '.join([*program.spelled.stored, *kept])})")
    contractions: list[list[Choice]] = []
    for step in chain.steps:
        if isinstance(step, LibraryProduct):
            lines += writer.launch(step, chain.products.index(step))
        elif step in chain.contracting:
            plans = [choices.choice(plan, len(contractions)) for plan in step.plans]
            lines += _cases(_until_last(_tuned(plans, step)))
            contractions.append(plans)
        else:
            lines += _group(step, choices)
    if chain.products:
        conditions = [f"{name} is None" for name in chain.omitted]
        conditions.append(_taken(_prefers_library(program, chain, choices), LIBRARY))
        return Choice(" and ".join(conditions), _multiplied(chain), lines)
    words = "what dots multiply is stored first" if chain.held else "what dots multiply is stored"
    before = tuple(_boxed(program, chain, contractions, choices))
    return Choice(_taken(_prefers_own(program, chain, choices), *chain_plans(chain)), words, lines, before)


def _buffer(held: Held) -> str:
    return f"Buffer({shape_text(held.dims)}, {dtype_text(held.element)})"


def _prefers_library(program: Program, chain: BuiltChain, choices: ChoiceWriter) -> str:
    """The rule for products in the library."""
    plans = program.plans
    few = dict.fromkeys(f"not {choices.few(plan)}" for plan in plans if plan.plan.shape is Shape.SWAPPED)
    given = [PRODUCTS]
    given += ["tiled=True"] if any(plan.plan.shape is Shape.PRODUCT for plan in plans) else []
    given += ["several=True"] if len(program.groups[0].apart) > 1 or len(program.groups) > 1 else []
    return " and ".join([*(few if chain.ends_in_library else []), f"dots.prefers_library({', '.join(given)})"])


def _boxed(program: Program, chain: BuiltChain, contractions: list[list[Choice]], choices: ChoiceWriter) -> list[str]:
    """The lines that find out whether the contractions of a chain are possible, and pay, in boxes."""
    fits = [choice.fits for plans in contractions for choice in plans if choice.fits]
    conditions = ["len(rows.offsets) == 1"] if choices.walks else []
    lines = [line for plans in contractions for choice in plans for line in choice.before]
    lines.append(f"{FITS} = {' and '.join([*conditions, *(possible for possible, _ in fits)])}")
    amount = " + ".join(work(plan.plan.stages[0]) for plan in chain.boxed)
    lines.append(f"{BOXED} = {FITS} and dots.pays_for_steps({amount})" if chain.held else f"{BOXED} = {FITS}")
    # Where the library makes an output itself, it was asked before.
    if libraries := [one for one in program.chains if one.products and not one.ends_in_library]:
        lines.append(f"library = {_prefers_library(program, libraries[-1], choices)}")
        faster = (f"outruns({_device(program.spelled)}, {made})" for _, made in fits)
        lines.append(f"{BOXED} = {BOXED} and (not library or {' and '.join(faster)})")
    return lines


def _prefers_own(program: Program, chain: BuiltChain, writer: ChoiceWriter) -> str:
    """The condition for contractions of what is stored: in boxes, or for rows so few that each of them has a plan."""
    steps = [dict.fromkeys(writer.few(plan) for plan in group.plans if plan.plan.few) for group in chain.contracting]
    others = [plan for group in program.groups for plan in group.all_plans() if plan.plan.few]
    vectors = dict.fromkeys(f"not {writer.few(plan)}" for plan in others)
    few = dict.fromkeys(" or ".join(step) for step in steps)
    each = [f"({step})" if " or " in step and len(few) > 1 else step for step in few]
    ways = f"{' and '.join(each)} or {BOXED}" if all(steps) else BOXED
    return " and ".join([*vectors, f"({ways})" if vectors and " or " in ways else ways])


def _multiplied(chain: BuiltChain) -> str:
    pairs = " and ".join(f"{product.a.tensor} by {product.b.tensor}" for product in chain.products)
    return f"{pairs} in the library"


def _group(group: BuiltGroup, writer: ChoiceWriter, tuned: frozenset[str] = frozenset()) -> list[str]:
    """The launches for a group of outputs, and for what is left to compute when they are of no program."""
    lines = _chain(_choices(group, writer, tuned))
    if group.alone is None:
        return lines
    empty = " or ".join(f"{count((axis,))} == 0" for axis in group.absent)
    return [*lines, f"if {empty}:", *(f"    {line}" for line in _group(group.alone, writer, tuned))]


def _choices(group: BuiltGroup, writer: ChoiceWriter, tuned: frozenset[str]) -> list[Choice]:
    """The plans of a group, in order of preference; those for outputs that are `tuned` may be taken by name."""
    choices = [writer.choice(plan) for plan in group.plans]
    if tuned.intersection(group.outputs):
        choices = _tuned(choices, group)
    if group.apart:
        apart = [line for inner in group.apart for line in _group(inner, writer, tuned)]
        choices.append(Choice(None, "each output apart", apart))
    return choices


def _tuned(choices: list[Choice], group: BuiltGroup) -> list[Choice]:
    """The plans of a group as cases that may be taken by name."""
    named = zip(choices, group.plans, strict=True)
    return [
        replace(each, condition=each.condition and _taken(each.condition, plan.plan.shape.value))
        for each, plan in named
    ]


def _taken(rule: str, *plans: str) -> str:
    """The condition of what is taken where one of these plans is, or else by a rule."""
    return f"takes(way, {', '.join([rule, *map(literal, plans)])})"


def _chain(choices: list[Choice]) -> list[str]:
    """Plans as an if-chain, the last of which takes all extents."""
    before = [line for choice in choices for line in choice.before]
    if len(choices) == 1:
        return [*before, *_commented(choices[0])]
    return [*before, *_cases(_until_last(choices))]


def _until_last(choices: list[Choice]) -> list[tuple[str | None, list[str]]]:
    """Plans as cases, the last of which takes all extents."""
    return [(choice.condition if choice is not choices[-1] else None, _commented(choice)) for choice in choices]


def _commented(choice: Choice) -> list[str]:
    return [f"# {choice.words}", *choice.body]


def _cases(cases: list[tuple[str | None, list[str]]]) -> list[str]:
    """An if-chain that ends with the first case without a condition."""
    lines: list[str] = []
    for place, (condition, body) in enumerate(cases):
        if condition is None and not place:
            return body
        lines.append(f"{'elif' if place else 'if'} {condition}:" if condition else "else:")
        lines += [f"    {line}" for line in body]
        if condition is None:
            break
    return lines


def _result(program: Program) -> list[str]:
    graph = program.spelled
    quoted = {name: f'"{name}"' for name in (param.name for param in graph.params)}
    tensors = sequence(quoted[tensor.name] for tensor in graph.tensors)
    scalars = [quoted[name] for name in scalar_names(graph)]
    mutated = [quoted[tensor.name] for tensor in graph.tensors if tensor.mutable]
    outputs = ", ".join(f'"{output.name}": {output.name}' for output in graph.outputs)
    return [
        "return Plan(",
        f'    "{graph.name}",',
        f"    {_device(graph)},",
        f"    tensors={tensors},",
        *([f"    scalars={sequence(scalars)},"] if scalars else []),
        *([f"    mutated={sequence(mutated)},"] if mutated else []),
        f"    outputs={{{outputs}}},",
        *(["    scratch=scratch,"] if _has_scratch(program) else []),
        *(["    prepared=prepared,"] if program.once else []),
        "    launches=launches,",
        ")",
    ]
