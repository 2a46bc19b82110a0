"""What a dot is divided by is no scale for the library, which multiplies: right in every plan."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.runtime import Op as RuntimeOp
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

ROWS = "op f(a: f8e4m3[M, K], b: f8e4m3[N, K], s: f32[M], t: f32[N]) -> y: bf16[M, N]:\n    y = "
GROUPS = (
    "op f(a: f8e4m3[M, G*L], b: f8e4m3[N, G*L], s: f32[M, G], t: f32[N, G]) -> y: bf16[M, N]\nwhere L == 128:\n    y = "
)
NUMBERS = "op f(a: f8e4m3[M, K], b: f8e4m3[N, K], s: f32[], t: f32[]) -> y: bf16[M, N]:\n    y = "
QUOTIENTS = ("{} / s * t", "{} * t / s", "{} / s / t", "s / {} * t")
FORMS = {
    **{form: ROWS + form.format("dot(a, b, over=K)") for form in QUOTIENTS},
    **{f"groups {form}": f"{GROUPS}sum({form.format('dot(a, b, over=L)')}, over=G)" for form in QUOTIENTS[:3]},
    "numbers": NUMBERS + QUOTIENTS[0].format("dot(a, b, over=K)"),
}


@pytest.mark.parametrize("form", FORMS)
def test_quotients_are_made_in_every_plan(form: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(FORMS[form], tmp_path)
    own = next(value for value in vars(op.module).values() if isinstance(value, RuntimeOp))
    names = {solve.name for solve in op.program.graph.solves}
    sizes = {"M": 17, "N": 32, "K": 48, "G": 2, "L": 128}
    case = Case(op=op.name, seed=0, extents={name: size for name, size in sizes.items() if name in names})
    for plan in own.reaching_names:
        with own.forced(plan):
            # Of all graphs that a bound is made of the one the spec says.
            run_and_compare(op.call, op.program.forms[:1], case, device=device)
