"""The kernels of an op as text: decorator, parameters, documentation and body."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from textwrap import fill

from fusec.codegen.signature import quoted
from fusec.codegen.skeletons import group_lines, group_name, kernel_lines
from fusec.codegen.wrap import LIMIT, filled
from fusec.ir.flow import axes_text
from fusec.ir.graph import Graph, ScalarParam
from fusec.ir.kernel import Elementwise, GemmRoles, Kernel
from fusec.ir.program import Program
from fusec.ir.schedule import GemmTile
from fusec.ir.sizes import symbols_in
from fusec.ir.stage import Stage
from fusec.ir.types import Kind, extent, without

NAME = re.compile(r"""(?<![\w."])[A-Za-z_]\w*(?!["\w]|=[^=])""")
"""A name that is no attribute, no keyword of a call, and no string."""

_ASSIGNMENT = re.compile(r"(?: *for)? *(\w+(?:, \w+)*) (?:\+?= |in )")


@dataclass(frozen=True, slots=True)
class GroupView:
    """The function of a group of warps as text: lines of parameters, documentation and body."""

    name: str
    parameters: tuple[str, ...]
    doc: str
    body: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KernelView:
    """A kernel as text: decorator with its options, lines of parameters, documentation and body.

    Its `arguments` are all parameters by name, in order; the last ones are compile-time. One in roles has
    the function of its groups of warps, `group`.
    """

    name: str
    jit: str
    options: str
    parameters: tuple[str, ...]
    doc: tuple[str, ...]
    body: tuple[str, ...]
    arguments: tuple[str, ...]
    compile_time: int
    group: GroupView | None = None

    @property
    def form(self) -> tuple[object, ...]:
        """All of it but what it, its parameters and its variables are called, and the order of its parameters."""
        own = f"{self.name}_"
        lines = (self.options.replace('"', ""), *(line.replace(own, "") for line in self._lines))
        options, *body = numbered(lines, self.by_use)
        fixed = self.arguments[len(self.arguments) - self.compile_time :]
        kinds = tuple((name in fixed, name.endswith("_ptr"), "_stride_" in name) for name in self.by_use)
        return kinds, frozenset(options.split(", ")), tuple(body)

    @property
    def _lines(self) -> tuple[str, ...]:
        return (*(self.group.body if self.group else ()), *self.body)

    @property
    def by_use(self) -> tuple[str, ...]:
        """Its parameters, in the order that its body names them."""
        named = dict.fromkeys(found[0] for line in self._lines for found in NAME.finditer(line))
        known = frozenset(self.arguments)
        return (*(name for name in named if name in known), *(name for name in self.arguments if name not in named))


def numbered(lines: Sequence[str], parameters: Sequence[str]) -> tuple[str, ...]:
    """Lines of a function without what its parameters and variables are called, which have numbers instead."""
    numbers = {name: str(number) for number, name in enumerate(parameters)}
    variables = dict.fromkeys(name for line in lines for name in _assigned(line))
    numbers |= {name: f"v{number}" for number, name in enumerate(variables) if name not in numbers}

    def number(found: re.Match[str]) -> str:
        return f"%{numbers[found[0]]}" if found[0] in numbers else found[0]

    return tuple(NAME.sub(number, line) for line in lines)


def kernel_views(program: Program) -> tuple[KernelView, ...]:
    """Every kernel of an op once, in the order they are written."""
    wide = program.spelled.may_be_wide
    stages: dict[str, Stage] = {}
    for plan in program.plans:
        for stage, kernel in zip(plan.stages, program.kernels_of(plan), strict=True):
            stages.setdefault(kernel.name, stage)
    return tuple(_kernel_view(kernel, stages[kernel.name], program.spelled, wide) for kernel in program.kernels)


def _kernel_view(kernel: Kernel, stage: Stage, graph: Graph, wide: bool) -> KernelView:
    varying = _row_extents(stage) & set(kernel.integers)
    scalars = [param for param in graph.params if isinstance(param, ScalarParam) and param.name in kernel.scalars]
    fixed = sorted({*varying, *kernel.varying} | {param.name for param in scalars if param.dtype.kind is Kind.INT})
    listed = ", ".join(f'"{name}"' for name in fixed)
    constexprs = [*kernel.structure, *kernel.blocks, *kernel.flags, *(["REAL"] if wide else [])]
    strides = [name for name in kernel.integers if "_stride_" in name]
    numbers = [*(name for name in kernel.integers if name not in strides), *strides, *kernel.varying]
    # In the order of `Kernel`: Triton counts what it does not specialize by position.
    parameters = (
        *filled(
            [
                *kernel.maps,
                *(f"{name}_ptr" for name in kernel.pointers),
                *map(_scalar_parameter, scalars),
                *(f"{name}_ptr" for name in kernel.sums),
                *numbers,
            ]
        ),
        *filled([f"{name}: tl.constexpr" for name in constexprs]),
    )
    arguments = (
        *kernel.maps,
        *(f"{name}_ptr" for name in kernel.pointers),
        *(p.name for p in scalars),
        *(f"{name}_ptr" for name in kernel.sums),
        *numbers,
        *constexprs,
    )
    real = "REAL" if wide else "tl.float32"
    group, given = _group_view(kernel, arguments, constexprs, real)
    body = kernel_lines(kernel, real, given)
    doc = _kernel_doc(kernel, stage)
    return KernelView(
        kernel.name,
        "roles.jit" if group else "triton.jit",
        f"(do_not_specialize=[{listed}])" if fixed else "",
        parameters,
        tuple(quoted(fill(f"{doc[0].upper()}{doc[1:]}.", LIMIT - 10)).split("\n")),
        tuple(body),
        arguments,
        len(constexprs),
        group,
    )


def _group_view(
    kernel: Kernel, arguments: Sequence[str], constexprs: Sequence[str], real: str
) -> tuple[GroupView | None, tuple[str, ...]]:
    """The function of a group of warps of a kernel in roles, and what it is given but for which group it is."""
    skeleton = kernel.skeleton
    if not isinstance(skeleton, GemmRoles):
        return None, ()
    lines = tuple(group_lines(kernel, real))
    # What it uses, in that order, which does not depend on what tensors are called.
    used = dict.fromkeys(found[0] for line in lines for found in NAME.finditer(line))
    buffers = ("a_tiles", "b_tiles", *(each.tiles for each in skeleton.stored), "full", "empty")
    given = (*(name for name in used if name in arguments and name not in constexprs), *buffers)
    fixed = tuple(name for name in used if name in constexprs)
    parameters = filled([*given, *(f"{name}: tl.constexpr" for name in (*fixed, "HALF"))])
    doc = quoted("One half of the rows of every tile: sums of parts, and what is made of them.")
    return GroupView(group_name(kernel.name), tuple(parameters), doc, lines), (*given, *fixed)


def _assigned(line: str) -> list[str]:
    """The variables that a statement gives a value."""
    target = _ASSIGNMENT.match(line)
    return target[1].split(", ") if target else []


def _kernel_doc(kernel: Kernel, stage: Stage) -> str:
    """What a kernel does; of several that make up a plan, which part of it."""
    if isinstance(stage.whole, GemmTile):
        return _gemm_doc(stage.whole)
    if stage.whole is not stage:
        rows, k = axes_text(stage.rows), axes_text(stage.whole.loop)
        return f"one program per {rows}, {k} in a loop, of one step where registers hold it"
    if stage.is_split:
        return f"partial results: {kernel.doc}"
    if isinstance(kernel.skeleton, Elementwise) and "SPLITS" in kernel.blocks:
        return "what stands behind a product, of the library or of SPLITS programs that share a tile"
    return "the result, from the partial results" if "SPLITS" in kernel.blocks else kernel.doc


def _gemm_doc(stage: GemmTile) -> str:
    """What a gemm does, whichever plan it is of."""
    m, n, k = map(axes_text, ((stage.m,), (stage.n,), stage.k))
    shared = "; SPLIT_K programs leave sums" if stage.sums else ""
    return f"a tile of {m} by {n} per program, {k} in a loop; with SWAP_AB {n} by a few {m}{shared}"


def _row_extents(stage: Stage) -> set[str]:
    """Extents that vary from call to call and matter to no vector access: a kernel is not compiled anew for them."""
    rows = set(symbols_in([extent(axis) for axis in stage.rows]))
    inner = set(symbols_in([extent(axis) for axis in without(stage.order, stage.rows)]))
    return rows - inner - {"lead0"}


def _scalar_parameter(param: ScalarParam) -> str:
    types = {"i32": "tl.int32", "i64": "tl.int64", "f64": "tl.float64", "i8": "tl.int32", "u8": "tl.int32"}
    return f"{param.name}: {types[param.dtype.name]}" if param.dtype.name in types else param.name
