"""What an op stores once more, in an order of its own, is read where it lies if an argument lies so."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
import torch

from fusec.diagnostics import Source
from fusec.driver.compile import compile_file, compile_source
from fusec.driver.load import load_from
from fusec.ir.graph import Graph
from fusec.runtime import Op
from fusec.runtime.select.run import Decision
from fusec.testing import compare

SPEC = """
op product(a: f8e4m3[M, K], b: f8e4m3[K, N]) -> y: f32[M, N]:
    y = dot(a, b, over=K)

op sums(a: i8[K, M], b: i8[N, K], s: f32[M]) -> y: f32[M, N]:
    y = dot(a, b, over=K) * s

op heads(a: f8e4m3[M, K], b: f8e4m3[H, K, D]) -> y: f32[H, M, D]:
    y = dot(a, b, over=K)
"""

E4M3 = torch.float8_e4m3fn


@pytest.fixture(scope="module")
def ops(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    return load_from(SPEC, compile_file, tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def forms() -> dict[str, tuple[Graph, ...]]:
    return {op.program.graph.name: op.program.forms for op in compile_source(Source("spec.fuse", SPEC), None)}


def decided(ops: SimpleNamespace, op: str, *arguments: torch.Tensor, plan: str | None = None) -> Decision:
    own = vars(sys.modules[getattr(ops, op).__module__]).values()
    return next(each for each in own if isinstance(each, Op) and each.name == op).decide(*arguments, plan=plan)


def drawn(shape: tuple[int, ...], device: torch.device | str, dtype: torch.dtype = E4M3) -> torch.Tensor:
    if dtype == torch.int8:
        return torch.randint(-9, 9, shape, dtype=dtype, device=device)
    return torch.randn(shape, device=device).to(dtype)


def hold(ops: SimpleNamespace, forms: dict[str, tuple[Graph, ...]], op: str, **given: torch.Tensor) -> None:
    """That what `op` returns lies within its bound: of products of f8, sums are not those of f32 on every machine."""
    compare.hold({"y": getattr(ops, op)(**given)}, forms[op], dict(given))


@pytest.mark.parametrize(("m", "k", "n"), [(40, 64, 48), (3, 32, 16), (1, 48, 16), (33, 17, 5), (20, 1, 7), (6, 40, 1)])
def test_results_are_right_however_an_operand_lies(
    m: int, k: int, n: int, ops: SimpleNamespace, forms: dict[str, tuple[Graph, ...]], device: torch.device
) -> None:
    a, b = drawn((m, k), device), drawn((k, n), device)
    across, odd = b.t().contiguous().t(), drawn((n * k + 1,), device)[1:].view(n, k).t()
    odd.copy_(b)
    for given in (b, across, odd, torch.cat([b, b], 1)[:, :n]):
        hold(ops, forms, "product", a=a, b=given)
    codes, weight = drawn((k, m), device, torch.int8), drawn((n, k), device, torch.int8)
    s = torch.rand(m, device=device)
    for given in (codes, codes.t().contiguous().t()):
        hold(ops, forms, "sums", a=given, b=weight, s=s)


def test_of_several_matrices(ops: SimpleNamespace, forms: dict[str, tuple[Graph, ...]], device: torch.device) -> None:
    a, b = drawn((20, 32), device), drawn((3, 32, 16), device)
    for given in (b, b.transpose(1, 2).contiguous().transpose(1, 2)):
        hold(ops, forms, "heads", a=a, b=given)


def test_what_lies_right_is_not_copied(ops: SimpleNamespace) -> None:
    a, b = (torch.empty(size, dtype=E4M3, device="meta") for size in ((256, 512), (512, 384)))
    across = torch.empty(384, 512, dtype=E4M3, device="meta").t()
    (copied,) = (step.writes for step in decided(ops, "product", a, b).steps[:-1])
    assert copied in decided(ops, "product", a, b).call.workspaces
    taken = decided(ops, "product", a, across)
    assert taken.call.aliases == {copied: "b"}
    assert copied not in taken.call.workspaces
    assert copied not in [step.writes for step in taken.steps]


@pytest.mark.parametrize("how", ["rows apart", "off by a byte"])
def test_what_nearly_lies_right_is_copied(how: str, ops: SimpleNamespace) -> None:
    a = torch.zeros(40, 64, dtype=torch.uint8).view(E4M3)
    raw = torch.zeros(48 * 80 + 16, dtype=torch.uint8)
    b = raw[: 48 * 80].view(48, 80)[:, :64].t() if how == "rows apart" else raw[1 : 1 + 48 * 64].view(48, 64).t()
    assert not decided(ops, "product", a, b.view(E4M3)).call.aliases


def test_a_plan_that_is_asked_for_is_made_in_all_its_steps(ops: SimpleNamespace) -> None:
    a, across = torch.empty(256, 512, dtype=E4M3, device="meta"), torch.empty(384, 512, dtype=E4M3, device="meta").t()
    assert not decided(ops, "product", a, across, plan="gemm").call.aliases
