"""Kernels that differ in names alone are one kernel of the file, which every op launches on its own tensors."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from compiled import compiled

import fusec.runtime as runtime
from fusec.codegen.names import renaming
from fusec.ir.host.names import argument_name

SPEC = """
op both(q: T[M, H, D], k: T[M, G, D], w: T[D]) -> (a: T[M, H, D], b: T[M, G, D])
where T in {f32}:
    a = q * rsqrt(mean(q * q, over=D) + 1) * w
    b = k * rsqrt(mean(k * k, over=D) + 1) * w

op other(x: T[M, H, D], v: T[D]) -> y: T[M, H, D]
where T in {f32}:
    y = x * rsqrt(mean(x * x, over=D) + 1) * v
"""


def expected(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """What each output is of its tensor."""
    return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + 1) * weight


def test_every_plan_launches_them_on_its_own_tensors(tmp_path: Path, device: torch.device) -> None:
    both, other = compiled(SPEC, tmp_path)
    q, k, w = (torch.randn(shape, device=device) for shape in ((3, 2, 8), (3, 5, 8), (8,)))
    for op, tensors in ((both, (q, k, w)), (other, (k, w))):
        own = next(v for v in vars(op.module).values() if isinstance(v, runtime.Op) and v.name == op.name)
        for plan in own.plan_names:
            with own.forced(plan):
                results = op.call(*tensors)
            made = results if isinstance(results, tuple) else (results,)
            for result, x in zip(made, tensors, strict=False):
                torch.testing.assert_close(result, expected(x, w))


def test_they_are_written_once(tmp_path: Path) -> None:
    both, _ = compiled(SPEC, tmp_path)
    text = Path(str(both.module.__file__)).read_text(encoding="utf-8")
    assert "renamed(" in text
    assert text.count("_both_rows") > 1
    assert "def _other_rows" not in text


SCALED = """
op scaled(x: T[M, K], w: T[N, K], scale: f32[M], bias: T[N] = 0) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(x, w, over=K) * scale + bias

op turned(a: T[M, K], b: T[N, K], bias: f32[M], scale: T[N] = 0) -> y: T[M, N]
where T in {f16, bf16}:
    y = dot(a, b, over=K) * bias + scale
"""


def test_epilogues_that_read_tensors_of_other_names_are_one_function(tmp_path: Path, device: torch.device) -> None:
    scaled, turned = compiled(SCALED, tmp_path)
    text = Path(str(scaled.module.__file__)).read_text(encoding="utf-8")
    assert text.count("_epilogue(") > 2
    assert "def _turned" not in text
    x, w, scale, bias = (torch.randn(shape, device=device) for shape in ((3, 16), (5, 16), (3,), (5,)))
    given = (x.half(), w.half(), scale, bias.half())
    expected = (x.half().double() @ w.half().double().T) * scale[:, None] + bias.half()
    for op in (scaled, turned):
        torch.testing.assert_close(op.call(*given).double(), expected.double(), atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (("q_ptr", "q_stride_H", "H"), ("k_ptr", "k_stride_G", "G"), {"q": "k", "H": "G"}),
        (("x_ptr", "BLOCK_H"), ("x_ptr", "BLOCK_G"), {"BLOCK_H": "BLOCK_G"}),
        (("x_ptr", "n"), ("x_ptr", "n"), {}),
        (("q_ptr", "q_stride_H"), ("k_ptr", "x_stride_H"), {"q": "k", "q_stride_H": "x_stride_H"}),
        (("H", "q_stride_H"), ("G", "q_stride_H"), {"H": "G", "q_stride_H": "q_stride_H"}),
        (("H", "q_stride_H"), ("H", "q_stride_G"), None),
    ],
)
def test_words_make_all_names_or_none(old: tuple[str, ...], new: tuple[str, ...], words: dict[str, str] | None) -> None:
    found = renaming(old, new)
    assert found == words
    if found is not None:
        assert tuple(argument_name(name, found) for name in old) == new


PARTED = """
op whole(q: T[M, D], c: T[D], s: T[D]) -> y: T[M, D]
where T in {f32}, D % 2 == 0:
    y = rope(q, c, s, over=D)

op front(x: T[M, R + U], c: T[R], s: T[R]) -> y: T[M, R + U]
where T in {f32}, R % 2 == 0:
    first, last = split(x, R, U)
    y = concat(rope(first, c, s, over=R), last)
"""


def test_an_axis_that_is_a_part_of_another_is_no_other_kernel(tmp_path: Path, device: torch.device) -> None:
    """`D` is `R` to one tensor and `R + U` to another: no word does for both, so a stride is told by its whole name."""
    whole, front = compiled(PARTED, tmp_path)
    text = Path(str(whole.module.__file__)).read_text(encoding="utf-8")
    assert '"x_stride_R_U"' in text
    assert "def _front_elementwise_y_0" not in text
    x, c, s = (torch.randn(shape, device=device) for shape in ((3, 7), (4,), (4,)))
    own = next(v for v in vars(front.module).values() if isinstance(v, runtime.Op) and v.name == front.name)
    for plan in own.plan_names:
        with own.forced(plan):
            y = front.call(x, c, s)
        assert torch.equal(y[:, 4:], x[:, 4:])
        torch.testing.assert_close(y[:, :4], whole.call(x[:, :4], c, s))


PACKED = """
op halved(x: T[M, K], w: T[2*N, K]) -> y: T[M, N]
where T in {f16, bf16}:
    gate, up = halves(dot(x, w, over=K), over=2*N)
    y = gate * up

op parted(x: T[M, K], w: T[N + N, K]) -> y: T[M, N]
where T in {f16, bf16}:
    gate, up = split(dot(x, w, over=K), N, N)
    y = gate * up
"""


def test_axes_may_be_spelled_with_a_digit_first(tmp_path: Path, device: torch.device) -> None:
    x, w = (torch.randn(shape, device=device, dtype=torch.float16) for shape in ((3, 16), (8, 16)))
    halved, parted = compiled(PACKED, tmp_path)
    assert "renamed(" in Path(str(parted.module.__file__)).read_text(encoding="utf-8")
    assert torch.equal(halved.call(x, w), parted.call(x, w))


LACKING = """
op given(x: f16[M, K], w: f16[N, K], scale: f32[M]) -> y: f16[M, N]:
    y = dot(x, w, over=K) * scale

op lacking(x: f16[M, K], w: f16[N, K], scale: f32[M] = {first}) -> y: f16[M, N]:
    y = dot(x, w, over=K) * scale

op lacking_too(x: f16[M, K], w: f16[N, K], scale: f32[M] = {second}) -> y: f16[M, N]:
    y = dot(x, w, over=K) * scale
"""


@pytest.mark.parametrize(("defaults", "epilogues"), [((1, 1), 1), ((1, 2), 2)])
def test_one_that_may_lack_a_tensor_serves_where_it_is_there(
    defaults: tuple[int, int], epilogues: int, tmp_path: Path, device: torch.device
) -> None:
    """Each op has the number that stands for what is lacking there."""
    ops = compiled(LACKING.format(first=defaults[0], second=defaults[1]), tmp_path)
    text = Path(str(ops[0].module.__file__)).read_text(encoding="utf-8")
    assert len(set(re.findall(r"def (\w*_epilogue)\(", text))) == epilogues
    x, w, scale = (torch.ones(shape, device=device) for shape in ((3, 16), (5, 16), (3,)))
    for op, lacking in zip(ops, (None, *defaults), strict=True):
        own = next(v for v in vars(op.module).values() if isinstance(v, runtime.Op) and v.name == op.name)
        with own.forced("gemm"):
            torch.testing.assert_close(op.call(x.half(), w.half(), scale * 3), x.new_full((3, 5), 48).half())
            if lacking:
                torch.testing.assert_close(op.call(x.half(), w.half()), x.new_full((3, 5), 16 * lacking).half())
