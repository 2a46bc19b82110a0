"""What a dot multiplies: a computed operand is a number of f32 in every plan, and for any number of rows.

Every form of operand is multiplied in all plans, by calls of the first M rows of the same argument. All results have to
lie within one bound, computed once. Values go beyond f16, and below it.
"""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from catalogue import Op
from compiled import compiled
from torch import Tensor

from fusec.forcing import CHIPS, on_chip, reaches
from fusec.numerics.check import check
from fusec.numerics.envelope import envelope
from fusec.numerics.interval import Interval
from fusec.reference.rounding import TORCH_DTYPES

ROWS = (1, 3, 4, 16, 17, 33, 129)
INNER, COLUMNS = 37, 19

SPEC = """
op f(x: {x}[M, K], w: {w}[N, K], g: {w}[K], s: f32[M]) -> y: f32[M, N]{end}
    y = dot({a}, {b}, over=K{precision})
"""

FORMS = {
    "square": ("x * x", "w"),
    "tiny": ("x * x * 1e-9", "w"),
    "exp": ("exp(x / 64)", "1 + abs(w)"),
    "softmax": ("softmax(x, over=K)", "w"),
    "norm": ("rmsnorm(x, g, 1e-6, over=K)", "w"),
    "scaled": ("x * s * 1e3", "w"),
    "chosen": ("where(x > 0, x * 300, 0)", "w"),
    "sums": ("x - sum(x, over=K)", "w"),
    "both": ("x * 200", "w * g"),
    "weight": ("x", "w * 1e-9 + w * g"),
    # Numbers of the other type all the same.
    "rectified": ("maximum(x, 0)", "-abs(w)"),
    "peak": ("minimum(x, 1) * 1", "where(w > 0, w, -w)"),
}

TYPES = {
    "f16": ("f16", "f16"),
    "bf16": ("bf16", "bf16"),
    "f32": ("f32", "f32"),
    "mixed": ("f16", "bf16"),
    "wide": ("f32", "bf16"),
    "quantised": ("bf16", "f8e4m3"),
}

PLANS: dict[str | None, tuple[int, ...]] = {
    None: ROWS,
    "library": (1, 17),
    "tma": (1, 33),
    "swap_ab": (3, 33),
    "row_loop": (1, 17),
    "split_rows": (1, 17),
}
"""The numbers of rows that each plan is forced for; the launcher's own choice is for all of them."""

CHOSEN = [(form, "f16") for form in FORMS]
CHOSEN += [(form, [types for types in TYPES if types != "f16"][place % 5]) for place, form in enumerate(FORMS)]


def op_of(folder: Path, form: str, types: str, precision: str = "") -> Op:
    a, b = FORMS[form]
    x, w = TYPES[types]
    words = {"a": a, "b": b, "precision": f", precision={precision}" if precision else ""}
    if x == w:
        text = SPEC.format(x="T", w="T", end=f"\nwhere T in {{{x}}}:", **words)
    else:
        text = SPEC.format(x=x, w=w, end=":", **words)
    (op,) = compiled(text, folder)
    return op


def arguments(types: str, device: torch.device) -> dict[str, Tensor]:
    """Rows of 300, whose squares f16 has no room for, rows of about 1e-4, and others of about 100."""
    generator = torch.Generator().manual_seed(7)
    x, w = (TORCH_DTYPES[name] for name in TYPES[types])
    wide = torch.randn(max(ROWS), INNER, generator=generator) * 100
    wide[0] = 300
    wide[2] *= 1e-6
    given = {
        "x": wide.to(x),
        "w": torch.randn(COLUMNS, INNER, generator=generator).to(w),
        "g": torch.rand(INNER, generator=generator).to(w),
        "s": torch.rand(max(ROWS), generator=generator),
    }
    return {name: tensor.to(device) for name, tensor in given.items()}


def one_bound(op: Op, given: dict[str, Tensor]) -> Interval:
    """The interval that holds those of all graphs which the plans compute."""
    found = [envelope(form, given)["y"] for form in op.program.forms]
    low, high = found[0].low, found[0].high
    for other in found[1:]:
        low, high = torch.minimum(low, other.low), torch.maximum(high, other.high)
    return Interval(found[0].value, low, high)


def hold(op: Op, given: dict[str, Tensor], bound: Interval) -> None:
    """Hold the results of every plan against the rows of one bound."""
    for plan, numbers in PLANS.items():
        if plan is not None and not reaches(plan, op.program):
            continue
        for rows in (rows for rows in numbers if rows <= len(given["x"])):
            call = given | {"x": given["x"][:rows], "s": given["s"][:rows]}
            with on_chip(op.module, CHIPS[plan]) if plan else nullcontext():
                result = op.call(**call)
            verdict = check(bound.map(lambda ends, rows=rows: ends[:rows]), result)
            assert verdict.passes, f"{plan or 'as chosen'}, {rows} rows: {verdict}"


@pytest.mark.parametrize(("form", "types"), CHOSEN)
def test_a_computed_operand_is_not_rounded(form: str, types: str, tmp_path: Path, device: torch.device) -> None:
    op, given = op_of(tmp_path, form, types), arguments(types, device)
    bound = one_bound(op, given)
    assert bool((bound.low.isfinite() & bound.high.isfinite()).all())
    hold(op, given, bound)


@pytest.mark.parametrize(("form", "types"), [("square", "f16"), ("norm", "bf16"), ("both", "f16"), ("softmax", "bf16")])
def test_what_may_be_rounded_lies_within_one_bound_too(
    form: str, types: str, tmp_path: Path, device: torch.device
) -> None:
    """The squares of 300 may be infinite then, or anything where signs differ, and nothing else may."""
    op, given = op_of(tmp_path, form, types, "T"), arguments(types, device)
    bound = one_bound(op, given)
    if form == "square":
        infinite = bound.low.isinf() | bound.high.isinf()
        assert torch.equal(infinite.any(1), (given["x"].float() ** 2 > 65504).any(1))
    hold(op, given, bound)


@pytest.mark.parametrize("precision", ["T", "(T, tf32)"])
def test_a_type_that_is_f32_rounds_nothing(precision: str, tmp_path: Path, device: torch.device) -> None:
    words = {"x": "T", "w": "T", "end": "\nwhere T in {f16, f32}:", "a": "x * x", "b": "w"}
    alone = ", precision=tf32" if "tf32" in precision else ""
    (op,) = compiled(SPEC.format(**words, precision=f", precision={precision}"), tmp_path)
    (exact,) = compiled(SPEC.format(**words, precision=alone), tmp_path)
    given = arguments("f32", device)
    hold(op, given, one_bound(exact, given))


@pytest.mark.parametrize("types", ["mixed", "wide", "quantised"])
def test_a_stored_operand_may_be_rounded_to_the_type_of_the_other(
    types: str, tmp_path: Path, device: torch.device
) -> None:
    text = SPEC.format(x=TYPES[types][0], w=TYPES[types][1], end=":", a="x", b="w", precision=", precision=bf16")
    (op,) = compiled(text, tmp_path)
    given = arguments(types, device)
    hold(op, given, one_bound(op, given))
    assert any(group.library for one in op.program.partitions for group in one.groups) is (types != "quantised")


@pytest.mark.parametrize("wide", ["x", "w", "s"])
def test_where_something_is_f64_nothing_is_multiplied_in_less(wide: str, tmp_path: Path, device: torch.device) -> None:
    """Not even in a kernel that computes in f64 for the sake of another tensor."""
    types = {name: "f64" if name == wide else "f32" for name in "xws"}
    text = f"""
op f(x: {types["x"]}[M, K], w: {types["w"]}[N, K], s: {types["s"]}[M]) -> y: f64[M, N]:
    y = dot(x * 1.7, w, over=K, precision=bf16) * s
"""
    (op,) = compiled(text, tmp_path)
    given = {
        name: tensor.to(TORCH_DTYPES[types[name]]) for name, tensor in arguments("f32", device).items() if name != "g"
    }
    hold(op, given, one_bound(op, given))


@pytest.mark.parametrize("form", ["dot(x, w, over=K) + amax(x, over=K)", "dot(x[i], w, over=K)"])
def test_nothing_outside_of_the_extents_is_multiplied(form: str, tmp_path: Path, device: torch.device) -> None:
    """A tile is padded with what suits a maximum, or with NaN behind a look-up; a product needs 0 there."""
    text = f"""
op f(x: f32[R, K], w: f32[N, K], i: i64[M]) -> y: f32[M, N]:
    y = {form.replace("(x, ", "(x[i], ")}
"""
    (op,) = compiled(text, tmp_path)
    x, w = (arguments("f32", device)[name] for name in "xw")
    for rows in (3, 33):
        given = {"x": x, "w": w, "i": torch.arange(rows, device=device)}
        assert check(one_bound(op, given), op.call(**given)).passes
