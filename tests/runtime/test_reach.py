"""Tables are as long as they are read, and of the axis that is declared: told at the call, where the host knows."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from fusec.driver.compile import compile_file
from fusec.driver.load import load_from
from fusec.runtime import ShapeMismatchError
from generated import qk_norm_rope, qkv_rope, rope_qk, rope_qk_half, rope_qk_interleaved, rope_qk_interleaved_full

FORMS = {
    "position": ("x: f32[N], t: f32[P]", "x * t[index(N)]", "P >= N"),
    "integers": ("x: f32[N], t: i32[P]", "x * t[index(N)]", "P >= N"),
    "two axes": ("x: f32[N, M], t: f32[P, Q]", "x * t[index(N), index(M)]", "P >= N and Q >= M"),
    "flat": ("x: f32[N, M], t: f32[P]", "x * t[index(N) * M + index(M)]", "N * M == 0 or P >= N * M"),
    "ahead": ("x: f32[N], t: f32[P]", "x * t[index(N) + 2]", "N == 0 or P >= N + 2"),
    "every other": ("x: f32[N], t: f32[P]", "x * t[2 * index(N)]", "N == 0 or P >= 2 * N - 1"),
    "both together": ("x: f32[N, M], t: f32[P]", "x * t[index(N) + index(M)]", "N * M == 0 or P >= N + M - 1"),
    "reduced": ("x: f32[N, M], t: f32[P]", "x * sum(t[index(M)], over=M)", "P >= M"),
    "default": ("x: f32[N], t: f32[P], at: i64[N] = index(N)", "x * t[at]", "given or P >= N"),
    "guarded": ("x: f32[N], t: f32[P]", "where(index(N) < P, x * t[index(N)], 0)", "True"),
    "behind itself": ("x: f32[N]", "where(index(N) > 0, x[index(N) - 1], x)", "True"),
    "before itself": ("x: f32[N]", "x[index(N) - 1]", "True"),
    "its own": ("x: f32[N], t: f32[N]", "x * t[index(N)]", "True"),
}
"""Parameters, value and, in Python, what the extents have to be."""


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> Any:
    dims = {name: "[N, M]" if "N, M]" in params else "[N]" for name, (params, _, _) in FORMS.items()}
    text = "\n\n".join(
        f"op {name.replace(' ', '_')}({params}) -> y: f32{dims[name]}:\n    y = {value}"
        for name, (params, value, _) in FORMS.items()
    )
    return load_from(text + "\n", compile_file, tmp_path_factory.mktemp("cache"))


SIZES = [(n, m, p) for n in (0, 1, 3) for m in (0, 1, 2) for p in (0, 1, 2, 3, 4, 5, 6)]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("device", ["meta"])
def test_a_table_that_is_too_short_is_told(ops: Any, form: str, device: str) -> None:
    params, _, condition = FORMS[form]
    op = getattr(ops, form.replace(" ", "_"))
    told = 0
    for n, m, p in SIZES:
        q = m + 1
        extents = {"N": n, "M": m, "P": p, "Q": q, "given": False}
        shapes = {"x": (n, m) if "N, M" in params else (n,), "t": (p, q) if "P, Q" in params else (p,)}
        if "t: f32[N]" in params:
            shapes["t"] = (n,)
        given = [
            torch.empty(shapes[name], device=device, dtype=torch.int32 if f"{name}: i32" in params else torch.float32)
            for name in ("x", "t")
            if f"{name}: " in params
        ]
        if eval(condition, {}, extents):
            assert op(*given).shape == shapes["x"]
        else:
            told += 1
            with pytest.raises(ShapeMismatchError, match=f"{form.replace(' ', '_')}: dimension . of `t` should be"):
                op(*given)
        if "at: " in params:
            assert op(*given, torch.zeros(n, dtype=torch.int64, device=device)).shape == (n,)
    assert (told > 0) == (condition != "True")


def tables(rows: int, width: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(rows, width, device=device), torch.randn(rows, width, device=device)


D = 8
ROTATIONS: dict[str, tuple[Any, int]] = {
    "rope_qk": (rope_qk, D),
    "rope_qk_half": (rope_qk_half, D // 2),
    "rope_qk_interleaved": (rope_qk_interleaved, D // 2),
    "rope_qk_interleaved_full": (rope_qk_interleaved_full, D),
    "qk_norm_rope": (lambda q, k, *t, **ids: qk_norm_rope(q, k, q.new_ones(D), q.new_ones(D), *t, **ids), D),
}


@pytest.mark.parametrize("name", ROTATIONS)
def test_rotations_need_a_row_for_every_token(name: str, device: torch.device) -> None:
    rotate, width = ROTATIONS[name]
    q, k = (torch.randn(2, 5, heads, D, device=device) for heads in (4, 2))
    with pytest.raises(ShapeMismatchError, match="without `position_ids` its positions up to 4 are read") as caught:
        rotate(q, k, *tables(3, width, device))
    assert (caught.value.argument, caught.value.expected, caught.value.actual) == ("cos", 5, 3)
    ids = torch.randint(0, 3, (2, 5), device=device)
    assert not any(y.isnan().any() for y in rotate(q, k, *tables(3, width, device), position_ids=ids))
    for rows in (5, 7):
        assert not any(y.isnan().any() for y in rotate(q, k, *tables(rows, width, device)))


@pytest.mark.parametrize("name", ROTATIONS)
@pytest.mark.parametrize(("heads", "tokens"), [(4, 6), (6, 4), (1, 2), (7, 1)])
def test_heads_that_stand_before_tokens_are_told(name: str, heads: int, tokens: int, device: torch.device) -> None:
    rotate, width = ROTATIONS[name]
    q, k = (torch.randn(2, heads, tokens, D, device=device) for _ in range(2))
    with pytest.raises(ShapeMismatchError):
        rotate(q, k, *tables(tokens, width, device))
    sequence_first = torch.randn(tokens, 3, heads, D, device=device)
    if tokens != 3:
        with pytest.raises(ShapeMismatchError):
            rotate(sequence_first, sequence_first, *tables(tokens, width, device))
    rotate(q.transpose(1, 2), k.transpose(1, 2), *tables(tokens, width, device))


def test_a_width_that_is_a_number_of_rows_is_no_mistake(device: torch.device) -> None:
    x, gain, weight = (torch.randn(shape, device=device) for shape in ((1, 5, 16), (16,), (3 * D, 16)))
    q, _, _ = qkv_rope(x, gain, weight, *tables(16, D, device), 1)
    assert not q.isnan().any()


def test_it_is_told_while_a_call_is_traced() -> None:
    meta = torch.device("meta")
    q = torch.randn(2, 5, 4, D, device=meta)
    with pytest.raises(ShapeMismatchError, match="dimension 0 of `cos` should be 5 or more"):
        torch.ops.fusec.rope_qk(q, q, *tables(3, D, meta), None)
