"""Specs written for one difficulty each, compiled and compared with what they mean under every shape of plan."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
import torch
from catalogue import Op
from compiled import compiled
from hypothesis import HealthCheck, Phase, given, settings

from fusec.forcing import CHIPS, on_chip, reaches
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.strategies import Budget, reaching

drawn = settings(
    max_examples=8,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)

INTEGERS = {
    "extremes of integers, masked, in a loop and from partial results": """
op extremes(q: i8[M, N], z: u8[M, N], k: i32[M, N]) -> (a: i64[M], b: i32[M], c: i8[M], d: u8[M], e: i64[M], f: f32[M]):
    a = amax(q, over=N)
    b = amin(z, over=N)
    c = amin(q, over=N)
    d = amax(z, over=N)
    e = amax(k, over=N) - amin(k, over=N)
    f = mean(z, over=N)
""",
    "the place of the first positive element": """
op first(x: T[M, N]) -> (y: f32[M, N], first: i64[M])
where T in {f16, f32}:
    y = x
    first = amin(where(x > 0, index(N), N), over=N)
""",
    "whether any element is NaN": """
op counts(x: T[..., N]) -> any_nan: bool[...]
where T in {f16, f32}:
    any_nan = amax(where(x != x, 1, 0), over=N) > 0
""",
    "a difference of bytes has a sign": """
op dequantize(q: u8[..., G*L], s: f16[..., G], zero: u8[..., G]) -> y: bf16[..., G*L]
where L == 16:
    y = (q - zero) * s
""",
    "squares of bytes and their sum": """
op squares(y: i8[M, N]) -> t: i32[N]:
    t = sum(y * y, over=M)
""",
    "products and sums of 32 bits need more": """
op large(a: i32[M, N], b: i32[M, N], c: i8[M, N], u: u8[M, N])
  -> (x: i64[M, N], y: i64[M, N], z: i64[M, N], w: i64[M, N])
where N > 0:
    x = a * b
    y = a + b - c * u
    z = abs(a) + (-b) * 2
    w = a // 3 + c % 5 + u // 2
""",
    "digits of integers of every width, shifted beyond 32": """
op digits(q: u8[M, N], w: i32[M, N], n: u8[N], l: i64[M, N], c: i8[M, N])
  -> (a: i32[M, N], b: i32[M, N], s: i64[M, N], r: i64[M, N], m: i64[M, N], x: i64[M, N], f: i64[M, N], t: i64[M, N]):
    k = n & 63
    a = q & 0xF
    b = (q >> 4 & 15) - (c >> 1)
    s = w << k
    r = w >> k
    m = (w & 0xFFFFFFFF) - 1
    x = ~l ^ w | 0x80000000
    f = (1 << k) + (-1 >> k)
    t = c << 3 | ~q & c << 24
""",
    "the sign and the ceiling of an integer": """
op signs(k: I[M, N], n: i32 = 1) -> (a: i32[M, N], b: i32[M, N])
where I in {i8, u8, i32, i64}:
    a = sign(k) + sign(n) * 2 + ~n
    b = ceil(sign(k - 5)) + sign(-3) + (-7) // 2 + (-7) % 4
""",
    "integers that are cast stay integers": """
op casts(x: T[M, N], k: i32[M, N]) -> (a: f32[M, N], b: f32[M], c: i64[M], d: i64[M, N])
where T in {f16, f32}:
    i = cast(x * 40, i8)
    j = cast(x * 40, u8)
    a = i * j + cast(k, i8)
    b = sum(i * j, over=N)
    c = amax(cast(k, i8), over=N)
    d = cast(x * 1000000, i32) * cast(k, i64)
""",
    "the integer type is the caller's": """
op choices(x: T[M, N], q: I[M, N], mode: {maximum, minimum} = maximum) -> (y: T[M, N], z: i64[M, N])
where T in {f16, f32}, I in {i8, u8, i32, i64}:
    y = mode(x, q)
    z = mode(q, 3) * q
""",
    "a row looked up by bytes": """
op table(t: T[K, N], i: i8[M], j: i32[M]) -> y: T[M, N]
where T in {f16, f32}:
    y = t[i + j]
""",
}

ROUNDING = {
    "integers saturate, truth values are what is not 0": """
op saturates(x: T[M, N], k: i64[M, N])
  -> (a: i8[M, N], b: u8[M, N], c: i32[M, N], d: i64[M, N], e: i8[M, N], f: u8[M, N], g: i32[M, N], h: bool[M, N])
where T in {f16, f32, f64}:
    a = cast(x * 100, i8)
    b = cast(x * 100, u8)
    c = cast(x, i32)
    d = cast(x, i64)
    e = k
    f = k
    g = k
    h = cast(x, bool)
""",
    "f64 is rounded once, and meets 8 bits by way of f32": """
op wide(x: T[M, N], z: f8e4m3[M, N], w: f8e5m2[N])
  -> (y: T[M, N], q: f8e4m3[M, N], r: f8e5m2[M, N], h: f16[M, N], b: bf16[M, N])
where T in {f32, f64}:
    y = x * z + w
    q = x * 0.1
    r = x * 0.1
    h = x * 0.1
    b = x * 0.1
""",
    "functions of literals alone are numbers of f64": """
op numbers(x: T[N], e: f32 = 0.5) -> (y: f64[N], z: f64[N])
where T in {f32, f64}:
    y = x + exp(0.5) + tanh(0.3) + sqrt(2) + log1p(0.1) + sigmoid(0.7) + minimum(0.3, 0.1) + exponent(0.3)
    z = x + sign(e) + ceil(e) + exponent(e) + expm1(e) + erfc(e) + log2(e)
""",
    "every number as a power of two and the rest": """
op powers(x: T[M, N]) -> (e: i32[M, N], rest: f32[M, N], scale: f32[M])
where T in {f16, bf16, f32}:
    e = cast(exponent(x), i32)
    rest = where(abs(exponent(x)) < 100, x / exp2(exponent(x)), 0)
    scale = exp2(exponent(amax(abs(x), over=N)))
""",
    "small results of small numbers": """
op small(x: T[M, N]) -> (a: f32[M, N], b: f32[M, N], c: f32[M, N], d: f32[M, N])
where T in {f16, bf16, f32, f64}:
    a = log1p(x) + expm1(x) * sign(x)
    b = erfc(x)
    c = log2(abs(x))
    d = tanh(x) + ceil(x)
""",
    "literals are numbers of f64": """
op literals(x: T[M, N], alpha: f64 = 0.1) -> y: T[M, N]
where T in {f64}:
    y = where(x > 0, 0.3, 0.7) * x + clamp(x, 0.1, 0.7) + x / sqrt(N) * alpha
""",
}

TYPES = {
    "a type that only a tensor of another kernel has": """
op typed(x: f32[M, N], t: T[M]) -> (y: f32[M], z: T[M])
where T in {f16, bf16}:
    y = sum(cast(x, T) * 2, over=N)
    z = t
""",
    "the largest number of such a type": """
op measured(x: f32[M, N], t: T[M]) -> (y: f32[M, N], z: T[M])
where T in {f8e4m3, bf16}:
    y = x / max_of(T)
    z = t
""",
}

PARTS = {
    "parts of a transposed output": """
op transposed_parts(x: T[M, P + Q], front: f32[P]) -> (y: T[P + Q, M], z: T[M, P + Q])
where T in {f32}:
    v = x / (1 + amax(abs(x), over=P + Q))
    a, b = split(x, P, Q)
    y = v
    z = concat(relu(a), b)
""",
    "two groups of outputs with partial results each": """
op spread(x: T[B, N], y: T[B, M]) -> (a: f32[B], b: T[B, M])
where T in {f32}:
    a = amax(x, over=N) - amin(x, over=N)
    b = log_softmax(y, over=M)
""",
    "halves of heads under leading axes": """
op heads_of_rows(x: T[..., H*D], heads: dim(H)) -> y: T[..., H*D]
where T in {f32}, H % 2 == 0:
    a, b = halves(x, over=H)
    y = join(-b, a, over=H) * amax(abs(x), over=D)
""",
    "a result keeps an axis that is reduced inside of it": """
op spreads(x: T[G*L, M]) -> (y: f32[L, M], z: T[G*L, M])
where T in {f32}, L == 16:
    v = x - mean(x, over=L)
    y = mean(v * v, over=G)
    z = v
""",
    "a product of axes as a part": """
op parts_of_products(x: T[M, A*B + C], front: f32[A, B]) -> (y: T[M, A*B + C], s: f32[M, B])
where T in {f16, f32}:
    grid, rest = split(x, A*B, C)
    s = sum(grid * front, over=A)
    y = concat(grid - s, rest + mean(grid, over=(A, B)))
""",
}

ONE_POSITION = {
    "masks and biases that broadcast": """
op masks(q: T[B, H, S, D], k: T[B, H, U, D], mask: f32[B, 1, S, U], bias: f32[1, H, 1, 1]) -> p: T[B, H, S, U]
where T in {f16, f32}:
    p = softmax(dot(q, k, over=D) + mask + bias, over=U)
""",
    "in arguments, outputs and behind leading axes": """
op ones(x: T[M, 1, N], w: T[M, K, N], l: T[..., 1, N], z: f32[1]) -> (y: T[M, 1, N], t: T[..., N, 1], u: f32[1, 1])
where T in {f16, f32}:
    y = x * 2 + amax(w, over=K) + z
    t = l
    u = sum(x, over=(M, N)) * z
""",
    "in a table and in what a dot multiplies": """
op rows(t: T[P, 1, N], i: i32[M], x: T[M, 1, K], w: T[N, 1, K], c: T[2, K])
  -> (y: T[M, 1, N], z: f32[M], d: f32[1, M, N])
where T in {f16, f32}:
    y = t[i]
    z = sum(dot(x, c, over=K), over=2)
    d = dot(x, w, over=K)
""",
    "the positions of an axis of two, and one before an axis": """
op two(x: T[M, 2*N], p: T[M, N*2], c: T[M, 1 + N])
  -> (y: T[M, N], z: T[M, 2*N], q: T[M, N*2], s: f32[N], d: T[M, 1 + N])
where T in {f16, f32}:
    a, b = halves(x, over=2*N)
    e, f = pairs(p, over=N*2)
    y = a * silu(b)
    z = join(b, a * 2, over=2)
    q = interleave(f - e, e, over=N*2)
    s = sum(x, over=(2, M))
    first, rest = split(c, 1, N)
    d = concat(first * 2, rest + first)
""",
    "halves of a product": """
op whole(x: T[M, H*D], heads: dim(H)) -> y: T[M, H, D]
where T in {f16, f32}, H % 2 == 0:
    a, b = halves(x, over=H*D)
    y = join(-b, a, over=H)
""",
}

CHOSEN = {
    "the type of a result, and of an optional tensor": """
op chosen(x: S[..., D], bias: T[D] = 0, out_dtype: dtype(T) = bf16) -> (y: T[..., D], z: f32[...])
where S in {f16, f32, f64}, T in {f16, bf16, f64}:
    y = cast(x, out_dtype) + bias
    z = sum(y * y, over=D)
""",
    "the type of a product, behind weights that are prepared": """
op product(x: S[M, K], weight w: f8e4m3[N, K], weight s: f32[N], out_dtype: dtype(T)) -> y: T[M, N]
where S in {f16, bf16}, T in {f16, bf16, f32}:
    y = dot(x, w * s, over=K)
""",
    "the type of what is quantised, and of one of two kernels": """
op quantised(x: S[M, D], z: f32[K], to: dtype(T), dtype: dtype(I) = i8) -> (y: T[M, D], scale: f32[M], k: I[K], t: T[])
where S in {f16, bf16}, T in {f8e4m3, f8e5m2}, I in {i8, i32}:
    y, scale = quantize(x, T, over=D)
    k = cast(z * 100, I)
    t = amax(cast(z, T), over=K)
""",
    "an f64 that may be omitted": """
op optional(x: f32[M, N], b: f64[N] = 0) -> y: f64[M, N]:
    y = x * 3.3 + b + exp(x)
""",
}

EMPTY = {
    "a scale of every row": """
op scales(x: T[M, N]) -> (y: f8e4m3[M, N], scale: f32[M])
where T in {f32}:
    y, scale = quantize(x, f8e4m3, over=N)
""",
    "an output without the columns": """
op columns(x: T[M, N], z: f32[M]) -> (y: T[M, N], s: f32[M])
where T in {f32}:
    y = x * z
    s = z + 1
""",
    "an output without the rows": """
op rows(x: T[M, N], z: f32[N]) -> (y: T[M, N], s: f32[N])
where T in {f32}:
    y = x * z
    s = z + 1
""",
    "an output with one axis of the rows": """
op middle(x: T[M, B, N], g: f32[B]) -> (y: T[M, B, N], s: f32[M, B], h: f32[B])
where T in {f32}:
    s = sum(x * g, over=N)
    y = x - s
    h = g * 2
""",
    "a sum over rows that lacks an axis of programs": """
op beside(a: T[M], b: T[B, N]) -> (y: T[M, B, N], s: f32[], t: f32[B])
where T in {f32}:
    y = a + b
    s = sum(a, over=M)
    t = sum(a, over=M) + sum(b, over=N)
""",
    "a sum over rows that lacks all axes of programs": """
op alone(a: T[M], b: T[B, N]) -> (y: T[M, B, N], s: f32[], t: f32[])
where T in {f32}:
    y = a + b
    s = sum(a, over=M)
    t = sum(b * b, over=(B, N))
""",
    "a sum that another sum reads, and a tensor that may be given": """
op scaled(x: T[M, G, L], s: f32[M, G], bias: f32[M] = 0) -> y: T[M]
where T in {f32}:
    y = sum(sum(x, over=L) * s, over=G) + bias
""",
    "an output with less than the finish of a split": """
op statistics(x: T[M, K, N]) -> (y: T[M, K, N], s: f32[M, N], t: f32[M])
where T in {f32}:
    s = amax(abs(x), over=K)
    y = x - s
    t = amax(x, over=(K, N))
""",
    "a reduction over more axes than an output lacks": """
op column_weights(x: T[M, K, N], w: f32[N]) -> (y: T[M, N], z: T[M, N])
where T in {f32}:
    y = amax(abs(x), over=(K, N)) * w
    z = sum(exp(x - amax(x, over=(K, N))), over=(K, N)) + w
""",
    "parts": PARTS["a product of axes as a part"].replace("{f16, f32}", "{f32}"),
    "a sum over rows without the columns": """
op outer(a: T[M], b: T[N]) -> (y: T[M, N], s: f32[])
where T in {f32}:
    y = a + b
    s = sum(a, over=M) * sum(b, over=N)
""",
}


def hold(op: Op, shape: str, case: Case, device: torch.device) -> None:
    with on_chip(op.module, CHIPS[shape]):
        run_and_compare(op.call, op.program.forms, case, device=device)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("shape", CHIPS)
@pytest.mark.parametrize(
    "text",
    [pytest.param(t, id=name) for name, t in (INTEGERS | ROUNDING | TYPES | PARTS | ONE_POSITION | CHOSEN).items()],
)
def test_a_spec_computes_what_it_means(text: str, shape: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(text, tmp_path)
    if not reaches(shape, op.program):
        pytest.skip("nothing to multiply")

    @drawn
    @given(reaching(shape, op.program.graph, Budget(elements=300)))
    def holds(case: Case) -> None:
        hold(op, shape, case, device)

    holds()


def test_f64_is_rounded_once(tmp_path: Path, device: torch.device) -> None:
    """Just above the middle of two numbers, by less than f32 sees."""
    (op,) = compiled(ROUNDING["f64 is rounded once, and meets 8 bits by way of f32"].replace("x * 0.1", "x"), tmp_path)
    for place, mantissa in enumerate((3, 2, 10, 7), start=1):
        half, little = 2.0 ** -(mantissa + 1), 2.0**-40
        x = torch.tensor([[1 + half + little, -1 - half + little]], dtype=torch.float64, device=device)
        found = op.call(x, x.to(torch.float8_e4m3fn), x[0].to(torch.float8_e5m2))[place]
        assert found.double().tolist() == [[1 + 2 * half, -1.0]]


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("text", [pytest.param(t, id=name) for name, t in EMPTY.items()])
def test_every_output_is_stored_where_some_axis_is_empty(text: str, tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(text, tmp_path)
    axes = sorted(solve.name for solve in op.program.graph.solves)
    for sizes in product((0, 3) if len(axes) > 3 else (0, 1, 3), repeat=len(axes)):
        extents = dict(zip(axes, sizes, strict=True))
        for shape in CHIPS if 0 in sizes else ("rows",):
            case = Case(op=op.name, seed=1, extents=extents, dtypes={"T": "f32"})
            hold(op, shape, case, device)


def test_an_output_without_rows_is_stored_in_all_blocks(tmp_path: Path, device: torch.device) -> None:
    (op,) = compiled(EMPTY["an output without the rows"], tmp_path)
    case = Case(op=op.name, seed=1, extents={"M": 2, "N": 5000}, dtypes={"T": "f32"})
    run_and_compare(op.call, op.program.forms, case, device=device)
