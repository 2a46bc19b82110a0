"""What is computed in 32 bits fits 32 bits: the values of integer expressions, at the ends of their types."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest
import torch

from fusec.diagnostics import Source, SpecError
from fusec.ir.expressions import Elementwise, operands
from fusec.ir.ops import ELEMENTWISE, PREFIX
from fusec.ir.traits import Result
from fusec.ir.types import Kind
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.resolve_views import resolve_views
from fusec.passes.graph.simplify import simplify
from fusec.passes.kernel import integers
from fusec.passes.kernel.integers import long_values
from fusec.reference.bind import bind
from fusec.testing.flows import _Walk

LEAVES = ("a", "b", "c", "u", "s", "index(N)", "3", "-1", "100000", "2147483647", "4294967295")
COUNT, DEPTH = 400, 3
ENDS = {"a": torch.int32, "b": torch.int32, "c": torch.int8, "u": torch.uint8}


def forms() -> list[str]:
    """Expressions of integers, each operation among them many times."""
    random = Random(5)
    known = [*LEAVES] * 4
    for _ in range(COUNT):
        name, op = random.choice([(n, op) for n, op in ELEMENTWISE.items() if Kind.INT in op.operands])
        if op.result in (Result.REAL, Result.BOOL):
            continue
        args = [random.choice(known) for _ in range(op.arity)]
        if op.shifts:
            args[1] = random.choice(("3", "31", "33", "c % 8", "u % 64"))
        if op.divides_integers:
            args[1] = random.choice(("3", "-7", "c * 2 + 1", "a | 1"))
        if op.selects:
            args[0] = "a > b"
        args = [f"({arg})" for arg in args]
        text = f" {op.symbol} ".join(args) if op.symbol else f"{PREFIX.get(name, name)}({', '.join(args)})"
        known.append(text)
    return [form for form in known[4 * len(LEAVES) :] if form.count("(") < 12]


def arguments(seed: int) -> dict[str, Any]:
    random = Random(seed)

    def drawn(dtype: torch.dtype) -> torch.Tensor:
        limits = torch.iinfo(dtype)
        ends = [limits.min, limits.min + 1, limits.max, limits.max - 1, 0, 1, 2, 7, limits.max // 2]
        return torch.tensor([random.choice(ends) for _ in range(64)], dtype=dtype)

    return {**{name: drawn(dtype) for name, dtype in ENDS.items()}, "s": random.choice((-(2**31), 2**31 - 1, 5))}


def unfit(form: str) -> list[str]:
    """The values beyond 32 bits of operations in 32 bits, whose operands fit them."""
    text = f"op f(a: i32[N], b: i32[N], c: i8[N], u: u8[N], s: i32) -> y: i64[N]:\n    y = {form}\n"
    try:
        (graph,) = elaborate(load(Source("f.fuse", text), None))
    except SpecError:
        return []
    flow = resolve_views(simplify(graph))
    long, walk = long_values(flow, graph), _Walk(flow, graph, bind(graph, arguments(len(form))))
    found = []
    for number in flow.live:
        node = flow.nodes[number]
        if not isinstance(node.expr, Elementwise) or node.type.kind is not Kind.INT or number in long:
            continue
        values = walk._array(number).tensor
        own = [walk._array(n).tensor for n in operands(node.expr)]
        fits = all(is_short(one) for one in own if one.dtype != torch.bool)
        if fits and not is_short(values):
            found.append(f"{form}: {node.expr.op} makes {values.min()} to {values.max()}")
    return found


def is_short(values: torch.Tensor) -> bool:
    return not values.numel() or bool(values.min() >= -(2**31) and values.max() < 2**31)


FORMS = forms()


def test_all_operations_turn_up() -> None:
    words = " ".join(FORMS)
    ops = [op for op in ELEMENTWISE.values() if Kind.INT in op.operands and op.result not in (Result.REAL, Result.BOOL)]
    assert [op.name for op in ops if (op.symbol or PREFIX.get(op.name, op.name)) not in words] == []


def test_what_is_computed_in_32_bits_fits_them() -> None:
    assert [fault for form in FORMS for fault in unfit(form)] == []


SHORT = ("c * c + u", "maximum(a, 5) - 1", "abs(c) << 3", "u & 15", "index(N) % 8 * c", "a // 4", "floor(a)")
UNCHANGED = ("maximum(w, 5)", "minimum(w, u)", "a >> (u % 8)", "c >> 0", "a >> (u & 31)", "sign(w) * c")


@pytest.mark.parametrize("form", [*SHORT, *UNCHANGED])
def test_small_integers_stay_short(form: str) -> None:
    """So does what no operation makes larger: nothing is widened for it."""
    text = f"op f(a: i32[N], c: i8[N], u: u8[N], w: i64[N]) -> y: i64[N]:\n    y = {form}\n"
    (graph,) = elaborate(load(Source("f.fuse", text), None))
    assert not long_values(resolve_views(simplify(graph)), graph)


@pytest.mark.parametrize("fault", ["_leaves", "_is_long"])
def test_a_wrong_width_is_seen(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(integers, fault, lambda *given: False)
    assert any(unfit(form) for form in FORMS)
