"""A weight that is read in the type of another argument may be passed in any: it is rounded once, and read like one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings

from fusec.diagnostics import Source
from fusec.forcing import CHIPS, on_chip
from fusec.ir.verify import verify_graph
from fusec.lang.load import load
from fusec.numerics.envelope import envelope
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.graph.round_weights import round_weights, rounded_within
from fusec.passes.pipeline import GRAPH_STEPS
from fusec.runtime import Op, PlanError, cast, weights_changed
from fusec.testing.cases import Case, build
from fusec.testing.compare import run_and_compare
from fusec.testing.strategies import Budget, cases

REALS = "T in {f16, bf16, f32}, W in {f16, bf16, f32}"
ROUNDED = {
    "a product": ("op f(x: T[..., K], weight w: W[N, K]) -> y: T[..., N]", "y = dot(x, cast(w, T), over=K)"),
    "with a bias": (
        "op f(x: T[M, K], weight w: W[N, K], weight bias: W[N] = 0) -> y: T[M, N]",
        "y = silu(dot(x, cast(w, T), over=K) + cast(bias, T))",
    ),
    "another number for what is omitted": (
        "op f(x: T[M, K], weight w: W[N, K], weight bias: W[N] = 0.3) -> y: T[M, N]",
        "y = dot(x, cast(w, T), over=K) * cast(bias, T)",
    ),
    "read twice": (
        "op f(x: T[M, K], weight w: W[N, K]) -> (y: T[M, N], z: f32[N])",
        "y = dot(x, cast(w, T), over=K)\n    z = sum(cast(w, T) * cast(w, T), over=K)",
    ),
    "no product": ("op f(x: T[..., N], weight w: W[N]) -> y: T[..., N]", "y = x * cast(w, T)"),
    "chosen": (
        "op f(x: T[M, N], weight w: W[N], weight v: W[N], act: {silu, relu} = silu) -> y: T[M, N]",
        "y = act(x * cast(w, T)) + where(x > 0, cast(w, T), cast(v, T))",
    ),
    "parts": (
        "op f(x: T[M, K], weight w: W[2*N, K], weight b: W[2*N]) -> y: T[M, N]",
        "h = dot(x, cast(w, T), over=K) + cast(b, T)\n    g, u = halves(h, over=2*N)\n    y = silu(g) * u",
    ),
    "norms": (
        "op f(x: T[M, K], weight gain: W[K], weight w: W[N, K]) -> y: T[M, N]",
        "y = dot(rmsnorm(x, cast(gain, T), 1e-5, over=K), cast(w, T), over=K, precision=T)",
    ),
    "made of weights": (
        "op f(x: T[M, K], weight w: W[N, K], weight s: W[N]) -> y: T[M, N]",
        "y = dot(x, cast(w, T) * cast(s, T), over=K, precision=T)",
    ),
}
"""Ops of which every weight is rounded before a call."""

READ = {
    "read as it is, too": ("weight w: W[N, K]", "dot(x, cast(w, T), over=K) + sum(w, over=K)", "T", REALS),
    "cast to a type of its own": ("weight w: W[N, K]", "dot(x, cast(w, f16), over=K)", "T", REALS),
    "cast to two types": ("weight w: W[N, K]", "dot(x, cast(w, T), over=K) + dot(v, cast(w, V), over=K)", "V", REALS),
    "looked up": ("weight w: W[R, K], i: i32[N]", "dot(x, cast(w[i], T), over=K)", "T", REALS),
    "of fewer digits": ("weight w: W[N, K]", "dot(x, cast(w, T), over=K)", "T", "T in {bf16}, W in {f8e4m3, bf16}"),
    "never of that type": ("weight w: W[N, K]", "dot(x, cast(w, T), over=K)", "T", "T in {f16, bf16}, W in {f32}"),
    "no weight": ("w: W[N, K]", "dot(x, cast(w, T), over=K)", "T", REALS),
}
"""Weights that are read as they are passed."""

drawn = settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


def text(form: str, where: str = REALS) -> str:
    head, body = ROUNDED[form]
    return f"{head}\nwhere {where}:\n    {body}\n"


def in_one_type(form: str) -> str:
    """The op for weights of the type of x alone."""
    return re.sub(r"cast\((\w+), T\)", r"\1", text(form, "T in {f16, bf16, f32}").replace(": W[", ": T["))


@pytest.fixture(scope="module", params=ROUNDED)
def form(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def op(form: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    (only,) = compiled(text(form), tmp_path_factory.mktemp("rounded"))
    return only


def test_it_means_the_same_and_back(form: str) -> None:
    (graph,) = elaborate(load(Source("f.fuse", text(form)), None))
    inner = round_weights(graph)
    assert all(tensor.passed for tensor in inner.tensors if tensor.static)
    forms = [rounded_within(inner)]
    for step in GRAPH_STEPS:
        inner = step(inner)
        forms.append(rounded_within(inner))

    @drawn
    @given(cases(graph, Budget(rows=3, elements=60)))
    def holds(case: Case) -> None:
        arguments = build(graph, case).arguments
        bounds = [envelope(each, arguments) for each in (graph, *forms)]
        for name, interval in bounds[0].items():
            for other in bounds[1:]:
                meet = (interval.low <= other[name].high) & (other[name].low <= interval.high)
                assert (meet | interval.unknown | other[name].unknown | interval.low.isnan()).all()

    for each in forms:
        verify_graph(each)
        assert [tensor.element for tensor in each.tensors] == [tensor.element for tensor in graph.tensors]
    holds()


def test_kernels_are_those_of_one_type(form: str, op: Any, tmp_path: Path) -> None:
    (plain,) = compiled(in_one_type(form), tmp_path)

    def kernels(each: Any) -> list[str]:
        source = Path(each.module.__file__).read_text()
        return re.findall(r"^@triton.*?(?=^(?:@|def reference|class ))", source, re.S | re.M)

    if "0.3" not in text(form):  # which is rounded, too
        assert kernels(op) == kernels(plain)
    assert len(kernels(op)) == len(kernels(plain)) > 0


def test_every_plan_is_within_its_bound(op: Any, device: torch.device) -> None:
    graph, table = op.program.graph, op.module._OP_F
    for t, w in (("bf16", "f32"), ("f32", "f16")):
        for rows in (1, 5):
            extents = {solve.name: {"M": rows}.get(solve.name, 16) for solve in graph.solves}
            case = Case(op="f", seed=rows, extents=extents, lead=(rows,), dtypes={"T": t, "W": w})
            run_and_compare(op.call, op.program.forms, case, device=device)
            for name in table.reaching_names:
                with table.forced(name):
                    try:
                        run_and_compare(op.call, op.program.forms, case, device=device)
                    except PlanError:
                        continue


def test_what_was_drawn_is_within_its_bound(op: Any, device: torch.device) -> None:
    @drawn
    @given(cases(op.program.graph, Budget(rows=8, elements=500)))
    def holds(case: Case) -> None:
        run_and_compare(op.call, op.program.forms, case, device=device)

    for chip in ("library", "tma"):
        with on_chip(op.module, CHIPS[chip]):
            holds()


@pytest.mark.parametrize("form", READ)
def test_others_are_read_as_they_are(form: str) -> None:
    weight, value, variable, where = READ[form]
    more = ", v: V[M, K]" if variable == "V" else ""
    where += ", V in {f16, bf16, f32}" if more else ""
    head = f"op f(x: T[M, K], {weight}{more}) -> y: T[M, N]"
    (graph,) = elaborate(load(Source("f.fuse", f"{head}\nwhere {where}:\n    y = {value}\n"), None))
    assert round_weights(graph) is graph


@contextmanager
def computing(ops: Any) -> Iterator[list[torch.dtype]]:
    """Within, everything is rounded anew; yields the types of what is."""
    found: list[torch.dtype] = []
    plain = cast.ROUNDED.compute

    def compute(weight: torch.Tensor, dtype: torch.dtype) -> Any:
        found.append(weight.dtype)
        return plain(weight, dtype=dtype)

    for op in (value for each in ops for value in vars(each.module).values() if isinstance(value, Op)):
        op.forget()
    with mock.patch.multiple(cast.ROUNDED, compute=compute, _known={}):
        yield found


PAIR = """
op f(x: T[M, K], weight w: W[N, K], weight bias: W[N] = 0) -> y: T[M, N]
where T in {f16, bf16, f32}, W in {f16, bf16, f32}:
    y = dot(x, cast(w, T), over=K) + cast(bias, T)

op g(x: T[M, K], weight w: W[N, K]) -> y: T[M, N]
where T in {f16, bf16, f32}, W in {f16, bf16, f32}:
    y = relu(dot(x, cast(w, T), over=K))
"""

CHANGES: dict[str, Callable[[torch.Tensor], Any]] = {
    "in place": lambda w: w.mul_(2),
    "through data, and told": lambda w: (w.data.mul_(2), weights_changed()),
    "other data": lambda w: w.set_(torch.randn_like(w)),
}


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return compiled(PAIR, tmp_path_factory.mktemp("pair"))


@pytest.mark.parametrize("change", CHANGES)
@torch.no_grad()
def test_rounded_once_and_again_after_a_change(pair: Any, change: str, device: torch.device) -> None:
    f, g = pair
    w, bias = torch.randn(24, 16, device=device), torch.randn(24, device=device)
    with computing(pair) as times:
        for name in ("", change):
            if name:
                CHANGES[name](w)
            for rows in (1, 5, 1, 40, 5):
                x = torch.randn(rows, 16, device=device).bfloat16()
                assert torch.equal(f.call(x, w, bias), f.call(x, w.bfloat16(), bias.bfloat16()))
                assert torch.equal(g.call(x, w), g.call(x, w.bfloat16()))
    again = 2 if "told" in change else 1
    assert times == [torch.float32] * (2 + again)


@torch.no_grad()
def test_a_weight_of_the_type_of_x_is_read_itself(pair: Any, device: torch.device) -> None:
    f, _ = pair
    with computing(pair) as times:
        for dtype in (torch.float16, torch.float32):
            f.call(*(torch.randn(16, 16, device=device).to(dtype) for _ in range(2)))
    assert not times


@torch.no_grad()
def test_views_of_weights_are_rounded(pair: Any, device: torch.device) -> None:
    f, _ = pair
    whole, x = torch.randn(32, 48, device=device), torch.randn(5, 16, device=device).half()
    for w in (whole[:16, :16].t(), whole[::2, ::3], whole[1:25, 7:23], whole[:1, :16].expand(8, 16), whole[:0, :16]):
        for form in (w, w[None], w.unsqueeze(1)):
            assert torch.equal(f.call(x, form), f.call(x, w.half()))


def test_the_plan_says_so(pair: Any) -> None:
    f, _ = pair
    x = torch.empty(5, 16, device="meta", dtype=torch.bfloat16)
    w, bias = torch.empty(8, 16, device="meta"), torch.empty(8, device="meta")
    told = "w bfloat16[8, 16] rounded once from float32, bias bfloat16[8] rounded once from float32"
    assert repr(f.call.plan(x, w, bias)).split("\n")[0].endswith(f"x bfloat16[5, 16], {told}")
    assert "rounded" not in repr(f.call.plan(x, w.bfloat16(), bias.bfloat16()))
