"""A value is broadcast into an output with more axes, also along one that was reduced or contracted to make it."""

from __future__ import annotations

import pytest
import torch
from catalogue import Op
from compiled import compiled

from fusec.forcing import CHIPS, on_chip
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare

SIGNATURE = "(x: T[M, K], w: T[N, K], s: T[L], m: f32[L, M], at: i32[M], t: T[P, K], k: i32[K], g: T[P, M])"

FORMS = {
    "a dot along what it contracts": ("y: T[M, N, K]", "y = dot(x, w, over=K)"),
    "a dot along what it contracts, outermost": ("y: T[K, M, N]", "y = dot(x, w, over=K)"),
    "a dot along what no operand has": ("y: T[M, N, L]", "y = dot(x, w, over=K) + 0 * s"),
    "a dot along what nothing has": ("y: T[M, L, N]", "y = dot(x, w, over=K)"),
    "a dot with and without": ("y: T[M, N], z: T[M, N, K]", "z = dot(x, w, over=K)\n    y = z * 2"),
    "a dot of vectors": ("y: T[M, K]", "y = dot(x, t[at], over=K)"),
    "a dot behind a norm": ("y: T[M, N, K]", "y = dot(x / (1 + sum(x * x, over=K)), w, over=K)"),
    "a dot before a reduction": ("y: T[M, N]", "y = sum(dot(x, w, over=K), over=N)"),
    "a dot of what is looked up": ("y: T[M, N]", "y = dot(x * g[k], w, over=K)"),
    "a dot of what is looked up, broadcast": ("y: T[M, N, K]", "y = dot(x * g[k], w, over=K)"),
    "a sum along what it reduces": ("y: T[M, K]", "y = sum(x, over=K)"),
    "a sum along what it reduces, outermost": ("y: T[K, M]", "y = sum(x, over=K)"),
    "a sum along what nothing has": ("y: T[M, L]", "y = sum(x, over=K)"),
    "a sum of all": ("y: T[M, L, K]", "y = sum(x, over=(M, K))"),
    "a sum with and without": ("y: T[M], z: T[M, K]", "y = amax(x, over=K)\n    z = y * 2"),
    "a value along what nothing has": ("y: T[L, M, K]", "y = x * 2"),
    "a literal": ("y: T[L, M]", "y = 1.5"),
}


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Op]:
    texts = []
    for place, (outputs, body) in enumerate(FORMS.values()):
        results = f"({outputs})" if outputs.count(":") > 1 else outputs
        texts.append(f"op form{place}{SIGNATURE} -> {results}\nwhere T in {{f16, f32}}:\n    {body}\n")
    return dict(zip(FORMS, compiled("\n".join(texts), tmp_path_factory.mktemp("broadcast")), strict=True))


@pytest.mark.parametrize("form", FORMS)
def test_a_value_is_broadcast_into_its_output(ops: dict[str, Op], form: str, device: torch.device) -> None:
    op = ops[form]
    extents = {"M": 3, "N": 5, "K": 19, "L": 2, "P": 4}
    case = Case(op=op.name, seed=2, extents=extents, dtypes={"T": "f16"})
    for shape in CHIPS:
        with on_chip(op.module, CHIPS[shape]):
            run_and_compare(op.call, op.program.forms, case, device=device)
