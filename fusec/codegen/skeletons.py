"""Skeletons: the body of a kernel, from the template of its family and the statements that fill its slots.

The template has the order of programs, the loops and their tails, and where results are stored; the fields of the
skeleton are the names it knows, beside those of the kernel in `CONTEXT`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from functools import cache
from typing import Any

import sympy
from jinja2 import Environment, PackageLoader, StrictUndefined

from fusec.codegen.statements import StatementPrinter, blocks_text, tiles_text
from fusec.codegen.triton import bracketed, count_text, long_text
from fusec.ir.kernel import Kernel, Multiply, RowIndex
from fusec.ir.multiply import Sums
from fusec.ir.sizes import size_text
from fusec.ir.statements import Function, Let, Statement
from fusec.ir.tile_values import Name, Product, Turned, Value
from fusec.ir.types import Kind
from fusec.passes.kernel.blocks import OP

CONTEXT = ("chained",)
"""What every template is given of the kernel."""

OF_ROLES = ("is_group", "group", "given")
"""What that of a gemm in roles is given beside: whether it is to be a group of warps, what that function is called, and
what with."""


def kernel_lines(kernel: Kernel, real: str, given: Sequence[str] = ()) -> list[str]:
    """The body of a kernel, one string a line. `real` is the type reals are computed in.

    One in roles calls the function of a group of warps, which is `given` these.
    """
    return _rendered(kernel, real, {"is_group": False, "group": group_name(kernel.name), "given": given})


def group_lines(kernel: Kernel, real: str) -> list[str]:
    """The body of the function that a group of warps of a kernel in roles runs."""
    return _rendered(kernel, real, {"is_group": True})


def group_name(kernel: str) -> str:
    """What that function is called."""
    return f"{kernel}_group"


def _rendered(kernel: Kernel, real: str, own: Mapping[str, object]) -> list[str]:
    skeleton = kernel.skeleton
    slots = {field.name: getattr(skeleton, field.name) for field in fields(skeleton)}
    context = {name: getattr(kernel, name) for name in CONTEXT}
    text = environment(real).get_template(template_name(skeleton.template)).render(**slots, **context, **own)
    return [line for line in text.split("\n") if line.strip()]


def function_lines(function: Function, real: str) -> list[str]:
    """The body of a function that kernels call."""
    return StatementPrinter(real).function(function)


def template_name(family: str) -> str:
    """The file of a family's template."""
    return f"triton/{family}.py.j2"


@cache
def environment(real: str) -> Environment:
    """Where templates are found, and how they spell what fills their slots."""
    environment = Environment(
        loader=PackageLoader("fusec.codegen"),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_spelled,
    )
    printer = StatementPrinter(real)

    def lines(slot: tuple[Statement, ...] | Let | None) -> str:
        statements = slot if isinstance(slot, tuple) else (slot,) if slot else ()
        return "\n".join(printer.block(statements))

    def multiplied(a: Value, b: Value, dot: Multiply) -> str:
        def added(sums: Sums) -> str:
            return printer.value(Product(a, b, dot.total, (), dot.precision, sums))

        ways = (f'{added(sums)} if {OP} == "{op}" else ' for op, sums in dot.ways)
        return f"{''.join(ways)}{added(dot.sums)}"

    def product(dot: Multiply) -> str:
        return multiplied(dot.a, dot.b, dot)

    def swapped(dot: Multiply) -> str:
        return multiplied(Turned(dot.b, ()), Turned(dot.a, ()), dot)

    environment.filters |= {
        "product": product,
        "swapped": swapped,
        "lines": lines,
        "zero": lambda total: "0, tl.int32" if total.kind is Kind.INT else "0.0, tl.float32",
        "within": _within,
        "bracketed": bracketed,
        "times": lambda size: f"({count_text(size)})" if size.is_Add else count_text(size),
        "long": long_text,
        "plain": lambda size: bracketed(size_text(size)),
        "cdiv": tiles_text,
        "count": blocks_text,
    }
    return environment


def _spelled(value: Any) -> Any:
    """What a template may place as it is."""
    if isinstance(value, Name):
        return value.text
    return size_text(value) if isinstance(value, sympy.Expr) else value


def _within(axis: RowIndex) -> str:
    """What is done to a linear number to make it the index of one of its axes."""
    over = "" if axis.inner == 1 else f" // {bracketed(count_text(axis.inner))}"
    return over if axis.extent is None else f"{over} % {bracketed(count_text(axis.extent))}"
