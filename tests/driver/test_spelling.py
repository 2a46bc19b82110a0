"""Nested operations as the text of a kernel: Python reads them as they are nested."""

from __future__ import annotations

import ast

import pytest

from fusec.codegen.triton import INFIX
from fusec.codegen.values import ValuePrinter
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.tile_values import Apply, Name
from fusec.ir.types import Kind

DIMS = ("n",)
COMPARED = {"eq", "ne", "lt", "le", "gt", "ge"}


def kind_of(op: str, operands: Kind) -> Kind:
    return Kind.BOOL if op in COMPARED else operands


def bracketed(value: Apply | Name) -> str:
    """The same with brackets around everything."""
    if isinstance(value, Name):
        return value.text
    args = [bracketed(arg) for arg in value.args if isinstance(arg, Apply | Name)]
    if value.op == "neg":
        return f"(-({args[0]}))"
    return f"(({args[0]}) {INFIX[value.op][0]} ({args[1]}))"


def nested(kind: Kind) -> list[Apply]:
    """Each operation in each place of each other that takes what it makes, on operands of a kind."""
    names = [Name(text, DIMS, kind) for text in "abc"]
    inner_ops = [op for op in (*INFIX, "neg") if kind in ELEMENTWISE[op].operands]
    found = []
    for inner in inner_ops:
        made = Apply(inner, tuple(names[: ELEMENTWISE[inner].arity]), DIMS, kind_of(inner, kind))
        for outer in (*INFIX, "neg"):
            if made.kind not in ELEMENTWISE[outer].operands:
                continue
            other = Name("d", DIMS, made.kind)
            places = [(made,)] if ELEMENTWISE[outer].arity == 1 else [(made, other), (other, made), (made, made)]
            found += [Apply(outer, args, DIMS, kind_of(outer, made.kind)) for args in places]
    return found


@pytest.mark.parametrize("kind", [Kind.REAL, Kind.INT, Kind.BOOL])
def test_python_reads_what_is_meant(kind: Kind) -> None:
    printer = ValuePrinter("tl.float32")
    values = [value for value in nested(kind) if not (value.kind is Kind.BOOL and "neg" in value.op)]
    assert len(values) >= 12
    for value in values:
        text = printer.text(value)
        meant = ast.dump(ast.parse(bracketed(value), mode="eval"))
        assert ast.dump(ast.parse(text, mode="eval")) == meant, text
