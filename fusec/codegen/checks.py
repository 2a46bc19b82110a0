"""The host side that checks, `_extents`, and what it allocates, as Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby

import sympy

from fusec.codegen.signature import dims_text, dtype_options, literal, sequence
from fusec.ir.arguments import LEAD, extent_names, has_lead
from fusec.ir.divisions import demands
from fusec.ir.graph import SIZE, ChoiceParam, DimParam, DTypeParam, Graph, Solve, TensorParam
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.reach import Reach, reaches
from fusec.ir.repeat import repeated
from fusec.ir.sizes import size_text
from fusec.ir.types import Axis, Dim, DTypeVar, Lead, Storage, product_extent


def extents_lines(graph: Graph, face: Graph) -> list[str]:
    """The body of `_extents`. `face` is the graph under the names that messages use."""
    tensors = list(zip(graph.tensors, face.tensors, strict=True))
    same = repeated(graph)
    lines = [
        f"{name} = lengthen({name}, {len(graph.tensor(name).dims)}, {len(places)})" for name, places in _first(same)
    ]
    declared = (f"{shown.name}={literal(f'{shown.element}{dims_text(shown.dims)}')}" for _, shown in tensors)
    lines.append(f"check = Checker({', '.join([literal(face.name), *declared])})")
    if tensors:
        listed = ", ".join(tensor.name for tensor in graph.tensors)
        lines.append(f"{listed if len(tensors) > 1 else sequence([listed])} = check.tensors({listed})")
    lines += _dtype_lines(graph, face)
    holder = next((tensor for tensor in graph.tensors if has_lead(tensor.dims)), None)
    lines += _solved_lines(graph, face, holder)
    left = [(tensor, shown) for tensor, shown in tensors if not _says_its_shape(graph, tensor, holder)]
    for repeats, several in groupby(left, lambda each: each[0].name in same):
        if repeats:
            lines += [
                f'check.shape("{shown.name}", {shape_text(tensor.dims)}, {sequence(map(str, same[tensor.name]))})'
                for tensor, shown in several
            ]
        else:
            shapes = ", ".join(f"{shown.name}={shape_text(tensor.dims)}" for tensor, shown in several)
            lines.append(f"check.shapes({shapes})")
    lines += _parameter_lines(graph, face)
    lines += _division_lines(graph, face)
    lines += _reach_lines(graph, face)
    names = extent_names(graph)
    return [*lines, f"return {', '.join(names)}" if len(names) > 1 else f"return {sequence(names)}"]


def outputs_text(graph: Graph) -> str:
    """A function of the extents: the outputs, in order."""
    buffers = (f"Buffer({shape_text(output.dims)}, {dtype_text(output.element)})" for output in graph.outputs)
    return f"lambda {', '.join(extent_names(graph))}: {sequence(buffers)}"


def _first(same: dict[str, tuple[int, ...]]) -> list[tuple[str, tuple[int, ...]]]:
    """The tensors whose first dimensions may be missing, with these."""
    found = {name: tuple(p for number, p in enumerate(places) if p == number) for name, places in same.items()}
    return [(name, places) for name, places in found.items() if places]


def shape_text(dims: tuple[Dim, ...]) -> str:
    """A shape as a tuple of Python expressions."""
    return sequence(f"*{LEAD}" if dim == (Lead(),) else size_text(product_extent(dim)) for dim in dims)


def dtype_text(element: Storage) -> str:
    """The dtype of a tensor that a call allocates: a type variable is one of the extents."""
    return element.name if isinstance(element, DTypeVar) else TORCH_NAMES[element.name]


def _dtype_lines(graph: Graph, face: Graph) -> Iterator[str]:
    """What each type variable is, which is an argument or told by tensors."""
    given = {param.variable: param.name for param in graph.params if isinstance(param, DTypeParam)}
    called = {param.variable: param.name for param in face.params if isinstance(param, DTypeParam)}
    both = zip(graph.variables, face.variables, strict=True)
    for is_given, group in groupby(both, lambda each: each[0] in given):
        several = list(group)
        if not is_given and len(several) > 1:
            options = ", ".join(f"{shown.name}={dtype_options(variable)}" for variable, shown in several)
            yield f"{', '.join(variable.name for variable, _ in several)} = check.dtypes({options})"
            continue
        for variable, shown in several:
            options = dtype_options(variable)
            if not is_given:
                yield f'{variable.name} = check.dtype("{shown.name}", {options})'
                continue
            yield f'{variable.name} = check.chosen_dtype("{called[shown]}", {given[variable]}, {options})'
            if any(tensor.element == shown for tensor in face.tensors):
                yield f'check.dtype("{shown.name}", {variable.name})'


def _solved_lines(graph: Graph, face: Graph, holder: TensorParam | None) -> Iterator[str]:
    """Every extent in order, those that stand in shapes together, and `...`, which `holder` has."""
    shown = {solve.name: named for solve, named in zip(graph.solves, face.solves, strict=True)}
    found: list[tuple[str, str]] = []
    done: set[str] = set()
    for solve in graph.solves:
        whole = _whole_shape(graph, solve)
        if solve.name not in done:
            several = (", ".join(whole), f"{solve.param}.shape")
            found.append((solve.name, _solved(graph, solve, shown[solve.name])) if len(whole) < 2 else several)
        done.update(whole)
    if holder is not None:
        after = len(holder.dims) - 1
        found.append((LEAD, f"{holder.name}.shape[:-{after}]" if after else f"{holder.name}.shape"))
    for stands, group in groupby(found, lambda each: ".shape[" in each[1] and "(" not in each[1]):
        names, values = zip(*group, strict=True)
        yield from (
            [f"{', '.join(names)} = {', '.join(values)}"]
            if stands
            else (f"{name} = {value}" for name, value in zip(names, values, strict=True))
        )


def _whole_shape(graph: Graph, solve: Solve) -> tuple[str, ...]:
    """The extents that are the dimensions of the tensor an extent is solved from, if all of them are solved from it."""
    same = [other for other in graph.solves if other.param == solve.param and other.dim is not None]
    whole = [other.name for other in same if other.value == SIZE]
    if solve.dim is None or [other.dim for other in same] != list(range(len(graph.tensor(solve.param).dims))):
        return ()
    return tuple(whole) if len(whole) == len(same) else ()


def _says_its_shape(graph: Graph, tensor: TensorParam, holder: TensorParam | None) -> bool:
    """Whether every dimension of a tensor is what an extent, or `...`, was solved from: nothing is left to check."""
    own = {
        solve.name
        for solve in graph.solves
        if solve.param == tensor.name and solve.dim is not None and solve.value == SIZE
    }
    return all(tensor == holder if dim == (Lead(),) else len(dim) == 1 and str(dim[0]) in own for dim in tensor.dims)


def _solved(graph: Graph, solve: Solve, shown: Solve) -> str:
    """What an extent is."""
    if solve.dim is None:
        param = next((p for p in graph.params if p.name == solve.param), None)
        return size_text(solve.value.subs(SIZE, sympy.Symbol(param.name)) if param else solve.value)
    where = f"{solve.param}.shape[{solve.dim}]"
    if solve.value == SIZE:
        return where
    names = {SIZE.name: where}
    divisor: sympy.Expr = sympy.S.One
    dividend = solve.value
    if isinstance(solve.value, sympy.floor):
        dividend, divisor = sympy.fraction(sympy.together(solve.value.args[0]))
    place = solve.dim if solve.dim >= 0 else len(graph.tensor(solve.param).dims) + solve.dim
    arguments = f'"{shown.name}", "{shown.param}", {place}, {size_text(dividend, names)}, {size_text(divisor, names)}'
    return f"check.quotient({arguments})"


def _parameter_lines(graph: Graph, face: Graph) -> list[str]:
    lines: list[str] = []
    for param, shown in zip(graph.params, face.params, strict=True):
        if isinstance(param, DimParam) and isinstance(shown, DimParam):
            lines.append(f'check.extent("{shown.axis}", "{shown.name}", {param.name}, {param.axis})')
        if isinstance(param, ChoiceParam):
            options = sequence(map(literal, param.options))
            lines.append(f'check.choice("{shown.name}", {param.name}, {options})')
    spelled = {shown.name: solve.name for solve, shown in zip(graph.solves, face.solves, strict=True)}
    for rule in face.constraints:
        divisors = dict.fromkeys(d for side in (rule.left, rule.right) for d in _divisors(side))
        lines += [_nonzero(divisor, spelled) for divisor in divisors]
        names = sorted(str(s) for s in rule.left.free_symbols | rule.right.free_symbols)
        values = "".join(f", {name}={spelled[name]}" for name in names)
        condition = f"{size_text(rule.left, spelled)} {rule.relation} {size_text(rule.right, spelled)}"
        lines.append(f"check.require({condition}, {literal(rule.text)}{values})")
    return lines


def _divisors(size: sympy.Expr) -> list[sympy.Expr]:
    """The extents that a size is divided by, which may be 0."""
    found = [mod.args[1] for mod in size.atoms(sympy.Mod)]
    found += [sympy.fraction(sympy.together(floor.args[0]))[1] for floor in size.atoms(sympy.floor)]
    return sorted((divisor for divisor in found if divisor.free_symbols), key=str)


def _nonzero(divisor: sympy.Expr, spelled: dict[str, str]) -> str:
    """That a divisor is not 0."""
    return _required(divisor, "!= 0", spelled)


def _required(size: sympy.Expr, holds: str, spelled: dict[str, str], of: tuple[Axis, ...] = ()) -> str:
    """That something `holds` of a size, where what it is about has elements."""
    values = "".join(f", {name}={spelled[name]}" for name in sorted(str(s) for s in size.free_symbols))
    none = f"{size_text(product_extent(of), spelled)} == 0 or " if of else ""
    return f"check.require({none}{size_text(size, spelled)} {holds}, {literal(f'{size_text(size)} {holds}')}{values})"


def _division_lines(graph: Graph, face: Graph) -> list[str]:
    """That no integer is divided by a size of 0, or shifted by one of no number of places."""
    spelled = {shown.name: solve.name for solve, shown in zip(graph.solves, face.solves, strict=True)}
    lines = (_required(each.size, f"{each.relation} {each.limit}", spelled, each.axes) for each in demands(face))
    return list(dict.fromkeys(lines))


def _reach_lines(graph: Graph, face: Graph) -> list[str]:
    """That tables are as long as they are read, under the conditions under which they are."""
    named = {shown.name: tensor.name for tensor, shown in zip(graph.tensors, face.tensors, strict=True)}
    spelled = {shown.name: solve.name for solve, shown in zip(graph.solves, face.solves, strict=True)}
    by_case: dict[str, list[Reach]] = {}
    for reach in reaches(face):
        cases = [f"{named[name]} is None" for name in reach.omitted]
        cases += [f"{named[name]} is not None" for name in reach.given]
        cases += [f"{size_text(size, spelled)} > 0" for size in reach.where]
        by_case.setdefault(" and ".join(cases), []).append(reach)
    every = {case: _checks(several, face, spelled) for case, several in by_case.items()}
    return [
        line
        for case, checks in every.items()
        for line in ((f"if {case}:", *(f"    {check}" for check in checks)) if case else checks)
    ]


def _checks(several: list[Reach], face: Graph, spelled: dict[str, str]) -> list[str]:
    """The checks of tables that are read under the same condition, those of the same size in one."""
    alike: dict[tuple[object, ...], list[Reach]] = {}
    for reach in several:
        dim = face.tensor(reach.param).dims[reach.dim]
        alike.setdefault((reach.dim, dim, reach.size, reach.omitted, reach.mistaken), []).append(reach)
    return [line for same in alike.values() for line in _check_lines(same, face, spelled)]


def _check_lines(same: list[Reach], face: Graph, spelled: dict[str, str]) -> Iterator[str]:
    reach, names = same[0], literal(" ".join(dict.fromkeys(each.param for each in same)))
    dim = face.tensor(reach.param).dims[reach.dim]
    room, size = (size_text(value, spelled) for value in (product_extent(dim), reach.size))
    without = "".join(f", {literal(name)}" for name in reach.omitted)
    yield f"check.reach({names}, {reach.dim}, {room}, {size}{without})"
    for mistaken in _by_tensors(reach.mistaken):
        sizes: dict[str, list[str]] = {}
        for name, place in (each for group in mistaken for each in group):
            sizes.setdefault(name, []).append(size_text(product_extent(face.tensor(name).dims[place]), spelled))
        given = ", ".join(f"{name}={sequence(axes)}" for name, axes in sizes.items())
        yield f'check.order({names}, "{dims_text((dim,))[1:-1]}", {room}, {size}, {given})'


def _by_tensors(groups: Iterable[tuple[tuple[str, int], ...]]) -> Iterator[list[tuple[tuple[str, int], ...]]]:
    """Axes of tensors that may be taken for each other, those of the same tensors together."""
    found: dict[tuple[str, ...], list[tuple[tuple[str, int], ...]]] = {}
    for group in groups:
        found.setdefault(tuple(name for name, _ in group), []).append(group)
    return iter(found.values())
