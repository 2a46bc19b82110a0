"""What must hold of every host table: kernels are there, and are given what they take."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.diagnostics import InternalError
from fusec.ir.graph import ChoiceParam
from fusec.ir.host.names import SPLITS, Name, block_name, even_name, stride_names
from fusec.ir.host.plans import Plans
from fusec.ir.host.schedules import (
    ColumnSums,
    Elementwise,
    Gemm,
    GemmRoles,
    GemmScaled,
    GemmTma,
    Gemv,
    Partial,
    Schedule,
    SplitRows,
    kernels,
)
from fusec.ir.kernel import Kernel
from fusec.ir.program import HostTable, Program

COMMON = frozenset({"INDEX", "VEC", "REAL", "OVERLAP", "PREFETCH"})
"""Compile-time arguments that every launch can have."""


def verify_host(program: Program, table: HostTable, step: str = "host_table") -> None:
    """Raises `InternalError`, in the name of `step`, with everything that does not hold."""
    faults = [*_kernels(program, table.plans), *_arguments(program, table)]
    if not table.plans.steps and program.groups and table.plans.whole is None:
        faults.append("no partition takes every call")
    if faults:
        raise InternalError(step, "; ".join(dict.fromkeys(faults)), repr(table.plans))


def _kernels(program: Program, plans: Plans) -> Iterator[str]:
    """That exactly the kernels of the program are launched."""
    launched = {_name(kernel) for plan in _schedules(plans) for kernel in kernels(plan)}
    there = {kernel.name for kernel in program.kernels}
    yield from (f"there is no kernel {name}" for name in sorted(launched - there))
    yield from (f"no plan launches {name}" for name in sorted(there - launched))


def _arguments(program: Program, table: HostTable) -> Iterator[str]:
    """That every kernel is given what it takes, and takes the buffers and tensor maps that are made for it."""
    plans = table.plans
    known = {kernel.name: kernel for kernel in program.kernels}
    strides = {name for tensor, dims in plans.strides.items() for name in stride_names(tensor, tuple(dims.split()))}
    flags = {p.name.upper() for p in program.spelled.params if isinstance(p, ChoiceParam)}
    sizes = {*plans.extents.split(), "lead0", "lead1", *(key for key, _ in table.computed), *strides, *flags, *COMMON}
    for plan in _schedules(plans):
        sums = _sums(plan)
        for kernel in (known[_name(name)] for name in kernels(plan) if _name(name) in known):
            taken = {*kernel.integers, *kernel.varying, *kernel.structure, *kernel.blocks, *kernel.flags}
            taken -= _sum_strides(plan) | {name for name in taken if name.endswith(f"_stride_{SPLITS}")}
            missing = {*(taken - sizes - _blocks(plan)), *({*kernel.pointers, *kernel.sums} - {*plans.strides, *sums})}
            missing |= set(kernel.scalars) - set(plans.scalars.split())
            yield from (f"{kernel.name} is not given {name}" for name in sorted(missing))
            maps = tuple(plan.maps) if isinstance(plan, GemmTma | GemmRoles) else ()
            if maps != kernel.maps:
                yield f"{kernel.name} takes the tensor maps {kernel.maps}, and is given {maps}"
        used = {name for each in kernels(plan) if _name(each) in known for name in _pointers(known[_name(each)])}
        yield from (f"no kernel of {plan.name} takes {name}" for name in sorted(sums - used))
    yield from _unused(plans, program.kernels)


def _unused(plans: Plans, there: tuple[Kernel, ...]) -> Iterator[str]:
    """That what is allocated is used."""
    pointers = {name for kernel in there for name in _pointers(kernel)} | {name for one in there for name in one.maps}
    matrices = {str(each) for one in plans.partitions for p in one.products for each in (p.a, p.b, p.out)}
    for name in plans.workspace:
        if not any(name in text for text in (*pointers, *matrices)):
            yield f"nothing uses the workspace {name}"


def _schedules(plans: Plans) -> Iterator[Schedule]:
    return (plan for step in plans.every() for plan in step.plans)


def _sums(plan: Schedule) -> set[str]:
    """The workspaces for partial results."""
    match plan:
        case SplitRows(partials):
            return {name for partial in partials for name in partial.sums}
        case ColumnSums(sums=sums):
            return set(sums)
        case Gemv(of=of):
            return _sums(of)
        case Gemm(sums=sums):
            return set(sums)
        case _:
            return set()


def _sum_strides(plan: Schedule) -> set[str]:
    """The strides of the sums that the programs of a tile leave."""
    sums = plan.sums if isinstance(plan, Gemm) else {}
    return {stride for name, axes in sums.items() for stride in stride_names(name, (*axes.split(), SPLITS))}


def _pointers(kernel: Kernel) -> tuple[str, ...]:
    return (*kernel.pointers, *kernel.sums)


def _blocks(plan: Schedule) -> set[str]:
    """The compile-time arguments that a schedule sets for its kernels."""
    match plan:
        case Gemv(of=of, narrow=narrow):
            return _blocks(of) | {"EVICT", *(["STAGES"] if narrow else [])}
        case SplitRows(partials, combine):
            parts = [_blocks_of(partial, ("SPLITS",)) for partial in partials]
            return {"SPLITS"}.union(_blocks(combine), *parts)
        case ColumnSums(combine=combine):
            return _blocks_of(plan, ("SPLITS", "STAGES")) | _blocks(combine)
        case Gemm(m=m, n=n, k=k, combine=combine):
            own = {*map(block_name, (m, n, k.split()[-1])), "FULL_STEPS", "TAIL_STEPS", "SWAP_AB", "SPLIT_K"}
            return own | ({"SPLITS", *_blocks(combine)} if combine else set())
        case Elementwise():
            return _blocks_of(plan, ("ROWS", "SPLITS"))
        case GemmRoles(m=m, n=n, k=k):
            return {*map(block_name, (m, n, k)), "begin", "end", "GROUP", "STAGES"}
        case GemmScaled(m=m, n=n, k=k):
            return {*map(block_name, (m, n, k))}
        case GemmTma(m=m, n=n, k=k, flips=flips):
            return {*map(block_name, (m, n, k)), "begin", "end", "GROUP", "DOWN", "ACROSS", *flips}
        case _:
            return _blocks_of(plan, ("ROWS", "FULL_STEPS", "TAIL_STEPS", "HELD", "VECTOR"))


def _blocks_of(plan: Schedule | Partial, more: tuple[str, ...]) -> set[str]:
    tile = str(getattr(plan, "tile", "")).split()
    cut = [*str(getattr(plan, "block", "")).split(), *str(getattr(plan, "loop", "")).split()[-1:]]
    return {*map(block_name, (*tile, *cut)), *map(even_name, tile), *more}


def _name(kernel: object) -> str:
    return kernel.text if isinstance(kernel, Name) else ""
