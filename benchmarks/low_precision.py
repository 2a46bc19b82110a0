"""Products of 8 bits beside the library's: rows and columns scaled, groups scaled, quantised in the call.

    python -m benchmarks.low_precision --out low_precision.json [--only NAME ...] [--rounds 9] [--jobs 8]
    TRITON_INTERPRET=1 python -m benchmarks.low_precision --dry

All candidates of a case are CUDA graphs, replayed by turns with a cold L2; the median of the rounds counts. Each result
is held to f64 on the tensors that are timed. A candidate with a plan behind its name is our op with that plan forced.
Scales of groups lie as the library reads them, group by group, unless they lie `by rows`.
Peers that quantise are compiled by `torch.compile`, with PyTorch's own product of scaled operands. `--dry` calls every
candidate once, of tiny sizes, without a GPU: it says which are right, and which have to be left to one.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

import torch

import generated
from benchmarks.cold import ColdTimer, about, called, captured, interleaved, relative_error
from fusec.runtime import Op

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
F8, BF16 = torch.float8_e4m3fn, torch.bfloat16
GROUP = 128
EPS = 1e-6

Call: TypeAlias = Callable[[], torch.Tensor]
Candidates: TypeAlias = tuple[dict[str, Call], torch.Tensor]
"""What is timed, and what it should give."""


def drawn(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, device=DEVICE)


def scales(*shape: int) -> torch.Tensor:
    return torch.rand(*shape, device=DEVICE) + 0.5


def planned(function: Callable[..., torch.Tensor], plan: str, *given: Any) -> Call:
    """A call of an op with one of its plans."""
    ops = vars(sys.modules[function.__module__]).values()
    op = next(each for each in ops if isinstance(each, Op) and each.name == function.__name__)

    def call() -> torch.Tensor:
        with op.forced(plan):
            return function(*given)

    return call


def compiled(function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """A peer as PyTorch compiles it; as it is without a GPU."""
    return torch.compile(function, dynamic=False) if DEVICE == "cuda" else function


def product(a: torch.Tensor, b: torch.Tensor, s: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """a @ b.T in f64, with scales of rows of both."""
    return (a.double() @ b.double().T) * s.double()[:, None] * t.double()


def row_scaled(n: int) -> Candidates:
    a, b, s, t = drawn(n, n).to(F8), drawn(n, n).to(F8), scales(n), scales(n)
    library = partial(torch._scaled_mm, a, b.T, s[:, None], t[None], out_dtype=BF16)
    calls: dict[str, Call] = {
        "_scaled_mm": library,
        "_scaled_mm fast": partial(library, use_fast_accum=True),
        "fusec": partial(generated.scaled_mm, a, b, s, t),
        "fusec fast": partial(generated.scaled_mm_fast, a, b, s, t),
        "fusec, roles": planned(generated.scaled_mm, "roles", a, b, s, t),
        "fusec, tma": planned(generated.scaled_mm, "tma", a, b, s, t),
        "fusec fast, tma": planned(generated.scaled_mm_fast, "tma", a, b, s, t),
    }
    return calls, product(a, b, s, t)


def integers(n: int) -> Candidates:
    a, b = (torch.randint(-127, 128, (n, n), device=DEVICE, dtype=torch.int8) for _ in range(2))
    s, t = scales(n), scales(n)
    scaled = compiled(lambda sums: (sums * s[:, None] * t).to(BF16))
    calls: dict[str, Call] = {
        "_int_mm + compiled": lambda: scaled(torch._int_mm(a, b.T)),
        "fusec": partial(generated.scaled_mm_int8, a, b, s, t),
        "fusec, tma": planned(generated.scaled_mm_int8, "tma", a, b, s, t),
    }
    return calls, product(a, b, s, t)


def group_scaled(m: int, n: int) -> Candidates:
    a, b = drawn(m, n).to(F8), drawn(n, n).to(F8)
    s, t = scales(n // GROUP, m), scales(n // GROUP, n // GROUP)
    rows = s.T.contiguous()
    calls: dict[str, Call] = {
        "_scaled_mm": partial(torch._scaled_mm, a, b.T, s.T, t.T, out_dtype=BF16),
        "fusec": partial(generated.block_scaled_mm, a, b, s.T, t),
        "fusec, scales by rows": partial(generated.block_scaled_mm, a, b, rows, t),
        "fusec, roles": planned(generated.block_scaled_mm, "roles", a, b, s.T, t),
        "fusec, roles, scales by rows": planned(generated.block_scaled_mm, "roles", a, b, rows, t),
        "fusec, gemm": planned(generated.block_scaled_mm, "gemm", a, b, rows, t),
    }
    wide = a.double() * s.T.double().repeat_interleave(GROUP, 1)
    across = t.double().repeat_interleave(GROUP, 0).repeat_interleave(GROUP, 1)
    return calls, wide @ (b.double() * across).T


def quantised(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    scale = x.float().abs().amax(-1, keepdim=True).clamp_min(1e-12) / 448
    return (x.float() / scale).clamp(-448, 448).to(F8), scale


def linear(m: int, n: int, k: int = 4096, normed: bool = False) -> Candidates:
    """Inputs quantised in the call, weights before it; M = 1 has no peer in the library."""
    x, weight, gain, t = drawn(m, k).to(BF16), drawn(n, k).to(F8), scales(k).to(BF16), scales(n)

    def peer(x: torch.Tensor) -> torch.Tensor:
        q, scale = quantised(torch.nn.functional.rms_norm(x, x.shape[-1:], gain, EPS) if normed else x)
        return torch._scaled_mm(q, weight.T, scale, t[None], out_dtype=BF16)

    calls: dict[str, Call] = {"fusec": partial(generated.fp8_linear_quantized, x, weight, t)}
    wide = x.double()
    if normed:
        calls["fusec"] = partial(generated.rmsnorm_fp8_linear, x, gain, weight, t, EPS)
        wide = wide * (wide.square().mean(-1, keepdim=True) + EPS).rsqrt() * gain.double()
    if m > 1:
        calls["torch.compile"] = partial(compiled(peer), x)
    q, scale = quantised(wide)
    return calls, product(q, weight, scale[:, 0], t)


def in_bf16(m: int, n: int, k: int = 4096) -> Candidates:
    """The same product without a quantiser."""
    x, weight = drawn(m, k).to(BF16), drawn(n, k).to(BF16)
    calls: dict[str, Call] = {
        "fusec": partial(generated.linear, x, weight),
        "torch.mm": partial(torch.mm, x, weight.T),
    }
    return calls, x.double() @ weight.double().T


def gated(m: int, n: int, k: int = 4096) -> Candidates:
    """Beside its parts: the input quantised once, two products of the library, and what is behind them."""
    x, gate, up = drawn(m, k).to(BF16), drawn(n, k).to(F8), drawn(n, k).to(F8)
    s, t = scales(n) / 64, scales(n)

    def parts(x: torch.Tensor) -> torch.Tensor:
        q, scale = quantised(x)
        left, right = (torch._scaled_mm(q, w.T, scale, v[None], out_dtype=BF16) for w, v in ((gate, s), (up, t)))
        return torch.nn.functional.silu(left) * right

    q, scale = quantised(x)
    exact = torch.nn.functional.silu(product(q, gate, scale[:, 0], s)) * product(q, up, scale[:, 0], t)
    calls: dict[str, Call] = {
        "fusec": partial(generated.fp8_gated_mlp, x, gate, s, up, t),
        "fusec, tma": planned(generated.fp8_gated_mlp, "tma", x, gate, s, up, t),
        "fusec, library": planned(generated.fp8_gated_mlp, "library", x, gate, s, up, t),
        "torch.compile": partial(compiled(parts), x),
    }
    return calls, exact


def tiny_cases() -> Iterator[tuple[str, Callable[[], Candidates]]]:
    """A case of each kind."""
    yield "row-scaled 256", partial(row_scaled, 256)
    yield "int8 256", partial(integers, 256)
    yield "groups 256x256", partial(group_scaled, 256, 256)
    yield "groups 16x256", partial(group_scaled, 16, 256)
    for m in (1, 16, 256):
        yield f"linear {m}x256", partial(linear, m, 256, 256)
        yield f"linear {m}x256 in bf16", partial(in_bf16, m, 256, 256)
    yield "linear 256x256 behind rmsnorm", partial(linear, 256, 256, 256, normed=True)
    yield "gated 256x256", partial(gated, 256, 256, 256)


def cases() -> Iterator[tuple[str, Callable[[], Candidates]]]:
    for n in (1024, 2048, 4096, 8192):
        yield f"row-scaled {n}", partial(row_scaled, n)
    for n in (2048, 4096, 8192):
        yield f"int8 {n}", partial(integers, n)
    for m, n in ((1024, 1024), (2048, 2048), (4096, 4096), (8192, 8192), (16, 4096), (64, 4096)):
        yield f"groups {m}x{n}", partial(group_scaled, m, n)
    for m in (1, 16, 2048, 8192):
        for n in (4096, 14336):
            yield f"linear {m}x{n}", partial(linear, m, n)
            if m <= 16:
                yield f"linear {m}x{n} in bf16", partial(in_bf16, m, n)
    yield "linear 2048x4096 behind rmsnorm", partial(linear, 2048, 4096, normed=True)
    yield "gated 2048x14336", partial(gated, 2048, 14336)


def compile_beforehand(names: list[str], jobs: int) -> None:
    """Fill the caches of Triton and of `torch.compile`, in several processes that each take some of the cases."""
    command = [sys.executable, "-m", "benchmarks.low_precision", "--out", os.devnull, "--rounds", "0", "--only"]
    running = [subprocess.Popen([*command, *names[first::jobs]]) for first in range(min(jobs, len(names)))]
    for process in running:
        process.wait()


def tried(calls: dict[str, Call], exact: torch.Tensor) -> tuple[dict[str, float], dict[str, str]]:
    """How wrong each candidate is, and what keeps others from running here."""
    errors: dict[str, float] = {}
    failed: dict[str, str] = {}
    for who, call in calls.items():
        try:
            errors[who] = relative_error(call(), exact)
        except (RuntimeError, NotImplementedError, ValueError) as error:
            failed[who] = str(error).strip().splitlines()[0]
    return errors, failed


def try_all(makers: dict[str, Callable[[], Candidates]]) -> None:
    """Call every candidate once, and say how wrong it is, or why it did not run."""
    for name, make in makers.items():
        errors, failed = tried(*make())
        said = {who: f"error {error:.1e}" for who, error in errors.items()} | failed
        for who, words in said.items():
            print(f"{name:36} {who:24} {words}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default=os.devnull)
    parser.add_argument("--dry", action="store_true")
    parser.add_argument("--only", nargs="*", default=[""])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--jobs", type=int, default=8, help="processes that compile everything beforehand")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    if arguments.dry:
        try_all(dict(tiny_cases()))
        return
    asked = {name: make for name, make in cases() if any(word in name for word in arguments.only)}
    if not arguments.rounds:
        try_all(asked)
        return
    compile_beforehand(list(asked), arguments.jobs)
    timer, found = ColdTimer(), {}
    for name, make in asked.items():
        calls, exact = make()
        errors, failed = tried(calls, exact)
        graphs = {who: captured(calls[who]) for who in errors}
        times = interleaved(graphs, timer, arguments.rounds)
        found[name] = {"microseconds": times, "errors": errors, "failed": failed}
        for who, us in sorted(times.items(), key=lambda each: each[1]):
            print(f"{name:36} {who:20} {us:9.1f} us  error {errors[who]:.1e}", flush=True)
        # What was measured is there, whatever becomes of the rest.
        with open(arguments.out, "w") as file:
            head = about(called("benchmarks.low_precision"), arguments.rounds)
            json.dump({"about": head, "cases": found}, file, indent=1)


if __name__ == "__main__":
    main()
