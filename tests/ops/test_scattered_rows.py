"""Leading axes that no two of a kernel can walk: it is launched several times, with workspaces of its own each time."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.forcing import SMALL
from fusec.runtime import Op

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
