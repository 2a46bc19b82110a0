"""The kernel variants that an op launches for calls: the types and compile-time arguments that Triton would see.

The table of plans in a generated file is asked, with meta tensors, on chips whose rules take one way to multiply after
another. A kernel that no call of a telling size would launch by itself is one of a plan that is forced.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import product
from types import ModuleType
from typing import Any, TypeAlias

import torch

from fusec.codegen.variant import FLAGS, OP, Variant
from fusec.ir.host.schedules import GemmScaled, kernels
from fusec.runtime import H200, Chip, Launch, Op, PlanError, ShapeMismatchError
from fusec.runtime.select.chip import TARGETS

_NEVER = 1 << 60
"""More than any call has, of multiplications or rows."""

_POINTERS = {
    torch.float64: "*fp64",
    torch.float32: "*fp32",
    torch.float16: "*fp16",
    torch.bfloat16: "*bf16",
    torch.float8_e4m3fn: "*fp8e4nv",
    torch.float8_e5m2: "*fp8e5",
    torch.int64: "*i64",
    torch.int32: "*i32",
    torch.int8: "*i8",
    torch.uint8: "*u8",
    torch.bool: "*i1",
}

_PRODUCTS = ("tl.dot", "device.dot", "roles.load")
"""What kernels with products of tiles say."""

_WIDE = {"*fp32", "*i32", "*i64", "*i1"}
_NARROW = re.compile("tf32|float16|bfloat16|float8|int8|_map")
"""What kernels say whose tensor cores multiply, though no pointer is of another type than `_WIDE`."""

_FLOAT8 = re.compile(r"tl\.float8(e\w+)")

_Launched: TypeAlias = tuple[Launch, dict[str, torch.dtype]]
"""A launch, and the dtype behind every pointer."""


def variants(module: ModuleType, name: str, telling: Mapping[str, Any]) -> tuple[Variant, ...]:
    """The variants of every kernel that an op of a generated module launches: of each dtype and choice the largest.

    `telling` has calls and small calls as plain values, and the Triton types of scalars.
    """
    op = next(value for value in vars(module).values() if isinstance(value, Op) and value.name == name)
    found = [each for call, chip in product(telling["calls"], _chips(op)) for each in _launches(op, call, chip)]
    left = _kernels(op) - {launch.kernel.__name__ for launch, _ in found}
    # Small calls contract too few elements for several programs to share them: larger ones tell what is left.
    for calls in (telling["small"], telling["calls"]):
        forced = _forced(op, calls, left) if left else []
        left -= {launch.kernel.__name__ for launch, _ in forced}
        found += forced
    unlike: dict[tuple[object, ...], Variant] = {}
    scaled = _scaled(op)
    for launch, buffers in found:
        variant = variant_of(launch, buffers, telling["scalars"], scaled.get(launch.kernel.__name__, ()))
        unlike.setdefault((variant.kernel, variant.signature, variant.constexprs, variant.options), variant)
    return tuple(_telling(list(unlike.values())))


def _kernels(op: Op) -> set[str]:
    """The kernels of an op by name."""
    assert op.table is not None
    return {kernel.__name__ for step in op.table.every() for plan in step.plans for kernel in kernels(plan)}


def _scaled(op: Op) -> dict[str, tuple[str, ...]]:
    """By kernel the formats of products that tensor cores have scales for."""
    assert op.table is not None
    plans = (plan for step in op.table.every() for plan in step.plans)
    return {plan.kernel.__name__: plan.formats for plan in plans if isinstance(plan, GemmScaled)}


def _chips(op: Op) -> Iterator[Chip]:
    """For each way to multiply that an op has, an H200 whose rules go that way with all calls."""
    assert op.table is not None
    if op.table.partitions:
        yield replace(H200, library_work=0, int8_work=0, skinny=0)
    yield replace(H200, library_work=_NEVER, skinny=0)
    few = replace(H200, library_work=_NEVER, skinny=_NEVER, most_again=_NEVER)
    for formats in _scaled(op).values():
        target = next(target for target in TARGETS.values() if set(formats) <= set(target.scaled))
        yield replace(H200, library_work=_NEVER, skinny=0, capability=target.capability)
    if "swap_ab" in op.plan_names:
        yield replace(few, few_tiles=0)
    if "split_k" in op.plan_names:
        yield replace(few, few_tiles=_NEVER)


def _forced(op: Op, calls: Sequence[Any], wanted: set[str]) -> list[_Launched]:
    """Launches of the kernels `wanted`, by forcing each plan at sizes that it does not find too large."""
    shared = replace(H200, few_tiles=1 << 20)
    found: list[_Launched] = []
    for name in (None, *op.reaching_names):
        if wanted <= {launch.kernel.__name__ for launch, _ in found}:
            break
        made = [each for call in calls for each in _launches(op, call, shared, name)]
        found += [each for each in made if each[0].kernel.__name__ in wanted]
    return found


def _telling(variants: list[Variant]) -> Iterator[Variant]:
    """Of each kernel, per choice and dtype, the variant with the largest tile."""
    groups: dict[tuple[object, ...], list[Variant]] = {}
    for variant in variants:
        pointers = tuple(kind for _, kind in variant.signature if kind.startswith("*"))
        words = tuple(value for name, value in variant.constexprs if isinstance(value, str) or name in FLAGS)
        groups.setdefault((variant.kernel, pointers, words), []).append(variant)
    return (max(group, key=_elements) for group in groups.values())


def _elements(variant: Variant) -> int:
    size = 1
    for name, value in variant.constexprs:
        if isinstance(value, int) and not isinstance(value, bool) and name.startswith(("BLOCK", "ROWS")):
            size *= max(value, 1)
    return size


def _launches(op: Op, call: Sequence[Any], chip: Chip, plan: str | None = None) -> list[_Launched]:
    """The launches of one call, with the dtype behind every pointer; none where something does not fit."""
    try:
        made = op.decide(*map(_argument, call), plan=plan, chip=chip)
    except (ShapeMismatchError, PlanError):
        return []
    dtypes = made.dtypes
    return [(launch, dtypes) for launch in made.launches if isinstance(launch, Launch)]


def _argument(value: Any) -> Any:
    """An argument from its plain value: a tensor has no data."""
    if not isinstance(value, dict):
        return value
    dtype = getattr(torch, value["dtype"])
    return torch.empty(value["shape"], dtype=dtype, device="meta") if "shape" in value else dtype


def variant_of(
    launch: Launch, buffers: Mapping[str, torch.dtype], scalars: Mapping[str, str], scaled: tuple[str, ...] = ()
) -> Variant:
    """The variant of a kernel that a launch asks for: `buffers` have dtypes, `scalars` Triton types."""
    kernel = launch.kernel
    signature: list[tuple[str, str]] = []
    constexprs: list[tuple[str, Any]] = []
    divisible: list[str] = []
    # A kernel of other tensors has their names beside its own.
    for name, param in zip(kernel.arg_names, kernel.params, strict=True):
        kind, value = _type(name, param, launch, buffers, scalars)
        signature.append((param.name, kind))
        if kind == "constexpr":
            constexprs.append((param.name, value))
        elif kind.startswith("*") or (name in launch.arguments and not param.do_not_specialize and not value % 16):
            divisible.append(param.name)
    text = _text(kernel, launch.arguments.get(OP))
    tiles = ", ".join(f"{n}={v}" for n, v in constexprs if isinstance(v, int) and not isinstance(v, bool) and v > 1)
    types = "/".join(dict.fromkeys(kind[1:] for _, kind in signature if kind.startswith("*")))
    return Variant(
        label=f"{kernel.__name__.lstrip('_')} [{types}] {tiles}",
        kernel=kernel.__name__,
        signature=tuple(signature),
        constexprs=tuple(constexprs),
        divisible=tuple(divisible),
        options=tuple(
            tuple((name, int(value)) for name, value in {**options, "enable_fp_fusion": launch.contract}.items())
            for options in launch.options
        ),
        casts=tuple(dict.fromkeys(f"fp8{kind}" for kind in _FLOAT8.findall(text))),
        multiplies=any(word in text for word in _PRODUCTS),
        in_f32={kind for _, kind in signature if kind.startswith("*")} <= _WIDE and not _NARROW.search(text),
        scaled=scaled,
    )


@lru_cache(maxsize=1024)
def _text(kernel: Any, op: Any) -> str:
    """The text of a kernel as it is for an op, with all that it calls of its file."""
    return "".join(_texts(kernel, op, {}))


def _texts(function: Any, op: Any, seen: dict[str, Any]) -> Iterator[str]:
    """The text of a kernel as it is for an op, and of the functions of its file that it calls."""
    seen[function.__name__] = function
    text = ast.unparse(_OfOp(op).visit(ast.parse(function.src))) if op else function.src
    yield text
    for name in dict.fromkeys(re.findall(r"\b(\w+)\(", text)):
        called = function.__globals__.get(name)
        if hasattr(called, "src") and name not in seen:
            yield from _texts(called, op, seen)


class _OfOp(ast.NodeTransformer):
    """Leaves of a kernel of several ops what it does for one of them."""

    def __init__(self, op: str) -> None:
        self._op = op

    def visit_If(self, node: ast.If) -> Any:
        """The branch that is compiled."""
        self.generic_visit(node)
        taken = self._is_taken(node.test)
        return node if taken is None else node.body if taken else node.orelse

    def visit_IfExp(self, node: ast.IfExp) -> Any:
        """The value that is computed."""
        self.generic_visit(node)
        taken = self._is_taken(node.test)
        return node if taken is None else node.body if taken else node.orelse

    def _is_taken(self, test: ast.expr) -> bool | None:
        match test:
            case ast.Compare(ast.Name(name), [ast.Eq()], [ast.Constant(op)]) if name == OP:
                return bool(op == self._op)
        return None


def _type(
    name: str, param: Any, launch: Launch, buffers: Mapping[str, torch.dtype], scalars: Mapping[str, str]
) -> tuple[str, Any]:
    """The Triton type of a parameter that a launch calls `name`, and its value where it has one."""
    if name in launch.arguments:
        value = launch.arguments[name]
        if value is None:
            return "constexpr", None
        if param.is_constexpr or (value == 1 and not param.do_not_specialize):
            return "constexpr", value if isinstance(value, bool | int | float | str) else f"tl.{_spelled(value)}"
        return ("i64" if abs(value) >= 2**31 else "i32"), value
    if name in launch.maps:
        view = launch.maps[name]
        tile = view.tile if len(view.names) == 1 else (len(view.names), *view.tile)
        layout = f",{view.layout!r}" if view.told else ""
        return f"tensordesc<{_POINTERS[buffers[view.names[0]]][1:]}{list(tile)}{layout}>", 0
    if name.endswith("_ptr"):
        dtype = buffers.get(name.removesuffix("_ptr"))
        return ("constexpr", None) if dtype is None else (_POINTERS[dtype], 0)
    return scalars[name], 0


def _spelled(dtype: Any) -> str:
    """The name of a Triton dtype in `triton.language`."""
    return {"fp64": "float64", "fp32": "float32"}.get(str(dtype.name), str(dtype.name))
