"""The bound of whole ops: it holds for every right way to compute them, and for no wrong one."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from bounded_specs import graph_of, rounded_at, spec, stored
from torch import Tensor

from fusec.ir.graph import Graph, walk
from fusec.ir.types import DTYPES, Computed, Kind
from fusec.numerics.check import check
from fusec.numerics.envelope import envelope
from fusec.reference.rounding import TORCH_DTYPES
from fusec.testing.cases import Argument, Case, build
from fusec.testing.compare import judge

EXTENTS = {"N": 128, "B": 2, "S": 16, "H": 4, "D": 32, "Hq": 4, "Hk": 2, "P": 16, "L": 128, "G": 2}
CHAINS = [
    "rmsnorm",
    "layernorm",
    "softmax",
    "fused_rmsnorm_rope",
    "qk_norm_rope",
    "gated_activation",
    "rmsnorm_quantize",
]


def call(graph: Graph, dtype: str = "bf16", seed: int = 1) -> dict[str, Argument]:
    """Ordinary arguments."""
    extents = {solve.name: EXTENTS[solve.name] for solve in graph.solves}
    names = {variable.name: [option.name for option in variable.options] for variable in graph.variables}
    dtypes = {name: dtype if dtype in options else options[0] for name, options in names.items()}
    return build(graph, Case(op=graph.name, seed=seed, extents=extents, lead=(16,), dtypes=dtypes)).arguments


def worst(graph: Graph, arguments: dict[str, Argument], results: dict[str, Tensor]) -> float:
    bounds = envelope(graph, arguments)
    return max(check(bounds[name], result).ratio for name, result in results.items())


@pytest.mark.parametrize("dtype", ["bf16", "f32"])
@pytest.mark.parametrize("name", CHAINS)
def test_a_detour_through_bf16_is_caught_wherever_it_is(name: str, dtype: str) -> None:
    """Every computed value of an op in turn, where it is no bf16 number already and more than one rounding is left."""
    graph = spec(name)
    arguments = call(graph, dtype)
    exact = stored(graph, arguments)
    assert worst(graph, arguments, exact) == 0.0
    caught = 0
    for number, node in walk(graph):
        if node.type.kind is not Kind.REAL or not isinstance(node.type.element, Computed) or not node.type.axes:
            continue
        mutant = stored(rounded_at(graph, number, DTYPES["bf16"]), arguments)
        if all(torch.equal(mutant[key], exact[key]) for key in exact):
            continue  # bf16 already, in another case of a choice, or rounded to bf16 next anyway
        assert worst(graph, arguments, mutant) > 1, f"%{number} {node.expr}"
        caught += 1
    assert caught >= 2


def rmsnorm(x: Tensor, weight: Tensor, eps: float, total: Callable[[Tensor], Tensor]) -> Tensor:
    x, weight = x.float(), weight.float()
    return x * torch.rsqrt(total(x * x)[:, None] / x.shape[1] + eps) * weight


def in_order(terms: Tensor) -> Tensor:
    total = torch.zeros_like(terms[:, 0])
    for column in terms.unbind(1):
        total = total + column
    return total


def in_tree(terms: Tensor) -> Tensor:
    while terms.shape[1] > 1:
        half = terms.shape[1] // 2
        terms = terms[:, :half] + terms[:, half:]
    return terms[:, 0]


def in_bf16(terms: Tensor) -> Tensor:
    return in_order(terms.bfloat16()).float()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_sums_in_any_order_pass_and_worse_ones_do_not(dtype: torch.dtype) -> None:
    graph, eps = spec("rmsnorm"), 2.0**-20
    x, weight = (torch.randn(s, generator=torch.Generator().manual_seed(4)).to(dtype) for s in ((16, 512), (512,)))
    arguments: dict[str, Argument] = {"x": x, "weight": weight, "eps": eps}
    bounds = [envelope(graph, arguments, random)["y"] for random in (False, True)]

    def passes(total: Callable[[Tensor], Tensor], gain: float = 1.0) -> list[bool]:
        result = (rmsnorm(x, weight, eps, total) * gain).to(dtype)
        return [check(bound, result).passes for bound in bounds]

    assert passes(in_order) == [True, True]
    assert passes(in_tree) == [True, True]
    assert passes(in_bf16) == [False, False]
    assert passes(lambda terms: in_tree(terms) - terms[:, 7]) == [False, False]
    assert passes(in_tree, gain=1 + 2.0**-7) == [False, False]
    assert passes(lambda terms: in_tree(terms) + 512 * 3e-3) == [False, False]  # another epsilon
    anyhow, drawn = (bound.high - bound.low for bound in bounds)
    assert (drawn <= anyhow).all()
    assert dtype == torch.bfloat16 or (drawn < anyhow / 3).all()


def test_contraction_and_recomputation_are_inside() -> None:
    """With and without fused multiply-add: products kept to the last digit, or rounded."""
    graph = graph_of("op f(a: f32[N], b: f32[N], c: f32[N]) -> y: f32[N]:\n    y = a * b + c * c - a")
    generator = torch.Generator().manual_seed(2)
    a, b, c = (torch.randn(5000, generator=generator) for _ in range(3))
    bound = envelope(graph, {"a": a, "b": b, "c": c})["y"]
    fused = (a.double() * b.double() + (c * c).double()).float() - a
    assert check(bound, fused).passes
    assert check(bound, a * b + c * c - a).passes
    assert not check(bound, a * b.bfloat16() + c * c - a).passes


@pytest.mark.parametrize(("dtype", "passes"), [(torch.float64, True), (torch.float32, False)])
def test_f64_inputs_need_f64_arithmetic(dtype: torch.dtype, passes: bool) -> None:
    graph = graph_of("op f(x: T[M, N]) -> y: T[M, N]\nwhere T in {f32, f64}:\n    y = softmax(x, over=N)")
    x = torch.randn(8, 100, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    result = torch.softmax(x.to(dtype), 1).double()
    assert check(envelope(graph, {"x": x})["y"], result).passes is passes


def test_a_declared_cast_at_a_tie_goes_one_way() -> None:
    """Sums of bf16 numbers often lie in the middle of two: exact arithmetic decides, and the bound knows."""
    graph = spec("add_rmsnorm")
    x, residual = torch.tensor([[1.0, 256.0]]), torch.tensor([[2.0**-8, 1.0]])
    arguments: dict[str, Argument] = {
        "x": x.bfloat16(),
        "residual": residual.bfloat16(),
        "weight": torch.ones(2).bfloat16(),
    }
    total = envelope(graph, arguments)["total"]
    assert total.value.tolist() == [[1.0, 256.0]]
    assert torch.equal(total.low, total.high)


def test_quantised_values_at_a_step_may_go_either_way() -> None:
    graph = spec("quantize_fp8_rows")
    # 448 sets the scale to 1, so 17 is a tie of f8e4m3, decided by the rounding of the quotient.
    bound = envelope(graph, {"x": torch.tensor([[448.0, 17.0, 16.0]])})
    assert (bound["q"].low[0, 1].item(), bound["q"].high[0, 1].item()) == (16.0, 18.0)
    assert (bound["q"].low[0, 2].item(), bound["q"].high[0, 2].item()) == (16.0, 16.0)
    assert check(bound["q"], torch.tensor([[448.0, 18.0, 16.0]]).to(torch.float8_e4m3fn)).passes
    assert not check(bound["q"], torch.tensor([[448.0, 20.0, 16.0]]).to(torch.float8_e4m3fn)).passes


def test_nan_and_infinity_must_be_where_they_are() -> None:
    graph = spec("softmax")
    x = torch.tensor([[1.0, math.nan], [math.inf, 1.0], [-math.inf, 1.0], [0.0, 0.0]])
    bound = envelope(graph, {"x": x})["y"]
    right = torch.softmax(x, 1)
    assert check(bound, right).passes
    assert right.isnan().tolist() == [[True, True], [True, True], [False, False], [False, False]]
    for row, value in ((0, 0.5), (1, 0.0), (3, math.nan), (2, math.inf)):
        wrong = right.clone()
        wrong[row, 0] = value
        assert check(bound, wrong).ratio == math.inf


def test_where_f32_overflows_the_result_is_open() -> None:
    graph = spec("rmsnorm")
    x = torch.tensor([[1e30, 1.0], [1e15, 1.0]])
    bound = envelope(graph, {"x": x, "weight": torch.ones(2), "eps": 0.0})["y"]
    assert bound.value[0, 0].item() == pytest.approx(math.sqrt(2))
    # The mean overflows, so its root is 0, and so may the result be; never anything negative.
    assert (bound.low[0, 0].item(), bound.low[1, 0].item() > 1.41) == (0.0, True)
    assert bound.high[0, 0].item() < 1.42


def test_sums_that_cancel_after_an_overflow_say_nothing() -> None:
    graph = graph_of("op f(x: f32[M, N]) -> y: f32[M]:\n    y = sum(x, over=N)")
    x = torch.tensor([[3e38, 3e38, -3e38, -3e38], [3e38, 3e38, 1.0, -1.0], [1.0, 2.0, 3.0, 4.0]])
    bound = envelope(graph, {"x": x})["y"]
    assert bound.unknown.tolist() == [True, False, False]
    assert check(bound, torch.tensor([math.nan, math.inf, 10.0])).passes
    assert not check(bound, torch.tensor([0.0, -math.inf, 10.0])).passes


def test_an_infinite_operand_settles_a_dot_only_if_the_rest_does_not_overflow() -> None:
    graph = graph_of("op f(x: f32[M, K], w: f32[K]) -> y: f32[M]:\n    y = dot(x, w, over=K)")
    x = torch.tensor([[math.inf, 1.0], [math.inf, -3e38], [math.nan, 3e38], [1.0, 2.0]])
    bound = envelope(graph, {"x": x, "w": torch.tensor([1.0, 2.0])})["y"]
    assert bound.unknown.tolist() == [False, True, False, False]
    assert check(bound, torch.tensor([math.inf, math.nan, math.nan, 5.0])).passes
    assert not check(bound, torch.tensor([math.nan, math.nan, math.nan, 5.0])).passes


def test_integers_beyond_f32_are_rounded_once_they_meet_reals() -> None:
    graph = graph_of("op f(n: i32[N], x: f32[N]) -> y: f32[N]:\n    y = n * x")
    n = torch.tensor([2**24 + 1, 3], dtype=torch.int32)
    bound = envelope(graph, {"n": n, "x": torch.ones(2)})["y"]
    # Neighbours in f32, for a number in the middle; nothing else, and no doubt about 3.
    assert bound.low.tolist() == [2.0**24, 3.0]
    assert bound.high.tolist() == [2.0**24 + 2, 3.0]


def test_a_dot_rounds_its_operands_only_where_it_says_so() -> None:
    graph = graph_of(
        "op f(x: T[M, K], w: T[N, K]) -> (y: f32[M, N], z: f32[M, N])\nwhere T in {bf16}:\n"
        "    y = dot(x * 1.7, w, over=K, precision=T)\n    z = dot(x * 1.7, w, over=K)"
    )
    generator = torch.Generator().manual_seed(5)
    x, w = (torch.randn(n, 64, generator=generator).bfloat16() for n in (8, 4))
    bounds = envelope(graph, {"x": x, "w": w})
    wide, narrow = x.float() * 1.7, (x.float() * 1.7).bfloat16().float()
    assert check(bounds["y"], wide @ w.float().T).passes
    assert check(bounds["y"], narrow @ w.float().T).passes
    assert not check(bounds["y"], narrow @ w.float().T * (1 + 2.0**-5)).passes
    assert check(bounds["z"], wide @ w.float().T).passes
    assert not check(bounds["z"], narrow @ w.float().T).passes


@pytest.mark.parametrize("word", ["precision=T", "precision=(T, tf32)"])
def test_a_dot_rounds_operands_to_a_type_that_they_have_not(word: str) -> None:
    """Of f32 only where that type is of 16 bits; where it is f32, they may be cut off if the dot says so as well."""
    graph = graph_of(
        f"op f(x: T[K], a: f32[M, K], b: f32[N, K]) -> (y: f32[M, N], z: f32[M])\nwhere T in {{bf16, f32}}:\n"
        f"    y = dot(a, b, over=K, {word})\n    z = dot(a, x, over=K, {word})"
    )
    generator = torch.Generator().manual_seed(11)
    a, b, x = (torch.rand(*shape, 256, generator=generator) for shape in ((8,), (4,), ()))
    for dtype in (torch.bfloat16, torch.float32):
        bounds = envelope(graph, {"x": x.to(dtype), "a": a, "b": b})
        narrow, cut = dtype == torch.bfloat16, dtype == torch.float32 and "tf32" in word
        assert check(bounds["y"], a @ b.T).passes
        assert check(bounds["y"], a.bfloat16().float() @ b.bfloat16().float().T).passes is (narrow or cut)
        assert check(bounds["z"], a.bfloat16().float() @ x.to(dtype).float()).passes is (narrow or cut)
        assert check(bounds["y"], in_tf32(a) @ in_tf32(b).T).passes is cut


def test_what_f16_has_no_room_for_may_be_infinite_only_where_it_is_rounded() -> None:
    text = "op f(x: f16[M, K], w: f16[N, K]) -> y: f32[M, N]:\n    y = dot(x * x, w, over=K{})"
    x, w = torch.tensor([[300.0, 1.0], [10.0, 1.0]]).half(), torch.tensor([[1.0, 2.0]]).half()
    exact, rounded = (envelope(graph_of(text.format(w_)), {"x": x, "w": w})["y"] for w_ in ("", ", precision=f16"))
    assert exact.high.isfinite().tolist() == [[True], [True]]
    for value, may in ((90002.0, True), (math.inf, True), (-math.inf, False), (80000.0, False)):
        result = torch.tensor([[value], [102.0]])
        assert (check(exact, result).passes, check(rounded, result).passes) == (value == 90002.0, may)


def in_tf32(value: Tensor) -> Tensor:
    """The numbers of f32 that are left when the last 13 bits of the fraction are cut off."""
    return (value.view(torch.int32) & -(2**13)).view(torch.float32)


@pytest.mark.parametrize(("precision", "lossy"), [("ieee", False), ("tf32", True)])
def test_operands_of_f32_are_cut_only_where_tf32_is_asked_for(precision: str, lossy: bool) -> None:
    graph = graph_of(
        "op f(x: f32[M, K], w: f32[N, K], s: f32[K]) -> (y: f32[M, N], z: f32[M, N]):\n"
        f"    y = dot(x, w, over=K, precision={precision})\n    z = dot(x * s, w, over=K, precision={precision})"
    )
    generator = torch.Generator().manual_seed(8)
    x, w, s = (torch.rand(*shape, 256, generator=generator) for shape in ((8,), (4,), ()))
    bounds = envelope(graph, {"x": x, "w": w, "s": s})
    for name, a in (("y", x), ("z", x * s)):
        assert check(bounds[name], a @ w.T).passes
        assert check(bounds[name], in_tf32(a) @ w.T).passes is lossy
        assert check(bounds[name], in_tf32(a) @ in_tf32(w).T).passes is lossy
        assert not check(bounds[name], a.bfloat16().float() @ w.bfloat16().float().T * (1 - 2.0**-8)).passes


@pytest.mark.parametrize(("end", "lost"), [(2.0**-140, 0.0), (torch.finfo(torch.float32).max, math.inf)])
def test_a_number_at_the_end_of_f32_may_become_0_or_infinite_in_tf32(end: float, lost: float) -> None:
    text = "op f(x: f32[M, K], w: f32[N, K]) -> y: f32[M, N]:\n    y = dot(x, w, over=K, precision={})"
    arguments = {"x": torch.tensor([[end]]), "w": torch.tensor([[0.5]])}
    exact, cut = (envelope(graph_of(text.format(word)), arguments)["y"] for word in ("ieee", "tf32"))
    assert check(cut, torch.tensor([[lost]])).passes
    assert not check(exact, torch.tensor([[lost]])).passes


@pytest.mark.parametrize(
    ("types", "a"),
    [
        (("bf16", "f16"), "x"),
        (("f8e4m3", "f8e4m3"), "x"),
        (("f64", "f32"), "x"),
        (("f16", "f16"), "cast(x * 1.7, f16)"),
    ],
)
def test_tf32_changes_nothing_where_no_operand_is_of_f32(types: tuple[str, str], a: str) -> None:
    text = f"op f(x: {types[0]}[M, K], w: {types[1]}[N, K]) -> y: f32[M, N]:\n    y = dot({a}, w, over=K, precision=%s)"
    dtypes = [TORCH_DTYPES[name] for name in types]
    generator = torch.Generator().manual_seed(9)
    x, w = (torch.randn(4, 64, generator=generator).to(dtype) for dtype in dtypes)
    one, other = (envelope(graph_of(text % word), {"x": x, "w": w})["y"] for word in ("ieee", "tf32"))
    assert torch.equal(one.low, other.low)
    assert torch.equal(one.high, other.high)


def test_integer_dots_are_exact_and_carry_steps_of_their_operands() -> None:
    graph = graph_of(
        "op f(a: i8[M, K], b: i8[N, K], x: f32[M, K]) -> (y: i32[M, N], z: i32[M, N]):\n"
        "    y = dot(a, b, over=K)\n    z = dot(cast(x / 3, i8), b, over=K)"
    )
    a, b = torch.tensor([[127, 127]], dtype=torch.int8), torch.tensor([[127, -128]], dtype=torch.int8)
    bounds = envelope(graph, {"a": a, "b": b, "x": torch.tensor([[4.5, 30.0]])})
    assert bounds["y"].low.tolist() == bounds["y"].high.tolist() == [[-127]]
    # 4.5 / 3 is a tie, 1 or 2: the product may be off by one factor of 127.
    assert bounds["z"].value.item() == 2 * 127 - 10 * 128
    assert (bounds["z"].value - bounds["z"].low, bounds["z"].high - bounds["z"].value) == (127, 127)


def test_a_mutable_tensor_is_bounded_where_it_is_written() -> None:
    graph = graph_of(
        "op f(x: f32[N, D], at: i64[N], mut cache: T[P, D]) -> y: f32[N]\nwhere T in {bf16}:\n"
        "    y = sum(x, over=D)\n    cache[at] = x / 3"
    )
    x = torch.randn(2, 4, generator=torch.Generator().manual_seed(7))
    cache = torch.zeros(3, 4, dtype=torch.bfloat16)
    bound = envelope(graph, {"x": x, "at": torch.tensor([2, 0]), "cache": cache})["cache"]
    right = torch.zeros(3, 4, dtype=torch.bfloat16)
    right[torch.tensor([2, 0])] = (x / 3).bfloat16()
    assert check(bound, right).passes
    right[1, 0] = 1e-30
    assert not check(bound, right).passes


def test_of_several_values_for_one_place_any_may_stay_and_nothing_else() -> None:
    graph = graph_of(
        "op f(x: f32[N], at: i64[N], last: i64[], mut cache: f32[P, D]):\n    cache[at] = x\n    cache[last] = 1 + x[0]"
    )
    arguments: dict[str, Argument] = {
        "x": torch.tensor([1.0, 3.0, 7.0]),
        "at": torch.tensor([4, 1, 4]),
        "last": torch.tensor(1),
        "cache": torch.zeros(6, 2),
    }
    bound = envelope(graph, arguments)["cache"]
    for first, fourth in ((3.0, 1.0), (3.0, 7.0), (2.0, 1.0), (2.0, 7.0)):
        right = torch.zeros(6, 2)
        right[1], right[4] = first, fourth
        assert check(bound, right).ratio == 0
        assert judge("cache", right, bound).ratio == 0
    # Elements of one row may come from different writes.
    right[4, 0] = 1.0
    assert check(bound, right).passes
    for row, wrong in ((1, 1.0), (1, 0.0), (4, 3.0), (4, 4.0), (0, 1.0)):
        other = right.clone()
        other[row, 1] = wrong
        assert check(bound, other).violations == 1
        with pytest.raises(AssertionError, match=rf"cache\[{row}, 1\]"):
            judge("cache", other, bound)


def test_any_of_several_truth_values_and_integers_may_stay() -> None:
    graph = graph_of(
        "op f(x: f32[N], at: i64[N], mut seen: bool[P], mut count: i8[P]):\n"
        "    seen[at] = x > 0\n    count[at] = cast(x, i8)"
    )
    x, at = torch.tensor([1.0, -3.0, 300.0]), torch.tensor([2, 2, 2])
    start = {"seen": torch.zeros(3, dtype=torch.bool), "count": torch.zeros(3, dtype=torch.int8)}
    bounds = envelope(graph, {"x": x, "at": at, **start})
    for seen, count in ((True, 1), (False, -3), (True, 127)):
        assert judge("seen", torch.tensor([False, False, seen]), bounds["seen"]).ratio == 0
        assert judge("count", torch.tensor([0, 0, count], dtype=torch.int8), bounds["count"]).ratio == 0
    with pytest.raises(AssertionError):
        judge("count", torch.tensor([0, 0, 44], dtype=torch.int8), bounds["count"])
    with pytest.raises(AssertionError):
        judge("seen", torch.tensor([True, False, True]), bounds["seen"])


def test_an_index_in_doubt_says_nothing() -> None:
    graph = graph_of(
        "op f(x: f32[N], table: f32[P]) -> (y: f32[N], m: i32[N]):\n"
        "    i = cast(x / 3, i32)\n    y = table[i]\n    m = i"
    )
    bounds = envelope(graph, {"x": torch.tensor([4.5, 3.0]), "table": torch.tensor([10.0, 11.0, 12.0])})
    assert bounds["y"].unknown.tolist() == [True, False]
    assert (bounds["m"].low.tolist(), bounds["m"].high.tolist()) == ([1, 1], [2, 1])


def test_empty_tensors_have_an_empty_bound() -> None:
    bound = envelope(spec("softmax"), {"x": torch.zeros(0, 5)})["y"]
    assert check(bound, torch.zeros(0, 5)).place is None
    assert check(bound, torch.zeros(0, 5)).passes
