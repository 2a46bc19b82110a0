"""Leading axes that no two of a kernel can walk: it is launched several times, with workspaces of its own each time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import CHIPS, SMALL, on_chip
from fusec.runtime import Op
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

FORMS = {
    "sums of what all rows share": "x * sum(w, over=K)",
    "sums of rows": "x * sum(x, over=N)",
    "sums of both": "x * sum(x, over=N) + sum(w, over=K)",
    "two sums of rows": "softmax(x, over=N) * amax(w, over=K)",
}


@pytest.mark.parametrize("plan", ["rows", "resident", "row_loop", "split_rows"])
@pytest.mark.parametrize("form", FORMS)
def test_every_launch_has_partial_results_of_its_own(
    form: str, plan: str, tmp_path: Path, device: torch.device
) -> None:
    (each,) = compiled(f"op f(x: f32[..., N], w: f32[K]) -> y: f32[..., N]:\n    y = {FORMS[form]}\n", tmp_path)
    op = next(value for value in vars(each.module).values() if isinstance(value, Op))
    x = torch.randn(3, 4, 4, 4, 80, generator=torch.Generator().manual_seed(1)).to(device)[:, ::2, ::2, ::2, :40]
    w = torch.randn(40, generator=torch.Generator().manual_seed(2)).to(device)
    assert len(op.decide(x, w, plan=plan, chip=SMALL).call.walks.offsets) > 1  # type: ignore[union-attr]
    with op.forced(plan, SMALL):
        found = each.call(x, w)
    torch.testing.assert_close(found, each.call(x.contiguous(), w))


def test_a_part_of_a_matrix_is_multiplied_in_every_walk(tmp_path: Path, device: torch.device) -> None:
    """The library is given where the part begins, and how far each walk is from the first."""
    (op,) = compiled(
        "op f(x: T[..., L + K], w: T[N, K], size: dim(L)) -> y: T[..., N]\nwhere T in {f32}:\n"
        "    a, b = split(x, L, K)\n    y = dot(b, w, over=K)\n",
        tmp_path,
    )
    extents = {"L": 3, "K": 8, "N": 5}
    for layout in ("contiguous", "reversed", "sliced_all_over"):
        case = Case(op="f", seed=2, extents=extents, lead=(3, 2, 4), dtypes={"T": "f32"}, layouts={"x": layout})
        with on_chip(op.module, CHIPS["library"]):
            run_and_compare(op.call, op.program.forms, case, device=device)
