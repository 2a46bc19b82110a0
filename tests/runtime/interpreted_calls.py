"""What `test_interpreted.py` runs in a process of its own: ops as a user calls them under `TRITON_INTERPRET=1`.

Nothing of `fusec.testing` is imported. A kernel that is not ours is watched beside them: it is for Triton to run.
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import torch
import triton
import triton.language as tl

from generated import linear, quantize_fp8_rows, rmsnorm


@triton.jit
def halves_of_bf16(x_ptr, y_ptr, BLOCK: tl.constexpr):
    """A user's own kernel: Triton's interpreter truncates what it stores."""
    place = tl.arange(0, BLOCK)
    tl.store(y_ptr + place, (tl.load(x_ptr + place) * 0.5).to(tl.bfloat16))


def users_kernel() -> list[float]:
    x = torch.linspace(1, 2, 64)
    y = torch.empty(64, dtype=torch.bfloat16)
    halves_of_bf16[(1,)](x, y, BLOCK=64)
    return y.tolist()


def product(seed: int) -> float:
    """How far a bf16 product is from the exact one, in roundings of what it is made of."""
    generator = torch.Generator().manual_seed(seed)
    x, weight = (torch.randn(n, 48, generator=generator).bfloat16() for n in (1 + seed % 3 * 8, 24))
    y, exact = linear(x, weight), x.double() @ weight.double().T
    terms = x.double().abs() @ weight.double().abs().T
    return float(((y.double() - exact).abs() / (2**-8 * exact.abs() + 2**-16 * terms)).max())


def quantised(seed: int) -> float:
    """How far q * scale is from x, in roundings to FP8."""
    x = torch.randn(3, 40, generator=torch.Generator().manual_seed(seed))
    q, scale = quantize_fp8_rows(x)
    wanted = (x.double() / scale.double()[:, None]).float().to(torch.float8_e4m3fn)
    return float((q.float() - wanted.float()).abs().max() / 32)


def normed(seed: int) -> float:
    x = torch.randn(4, 33, generator=torch.Generator().manual_seed(seed)).bfloat16()
    wide = x.double()
    exact = wide / (wide.square().mean(-1, keepdim=True) + 1e-6).sqrt()
    y = rmsnorm(x, torch.ones(33, dtype=torch.bfloat16))
    return float(((y.double() - exact).abs() / (2**-8 * exact.abs())).max())


def main() -> None:
    before = users_kernel()
    calls = [product, quantised, normed]
    with ThreadPoolExecutor(4) as threads:
        pending = [threads.submit(calls[seed % 3], seed) for seed in range(24)]
        beside = [threads.submit(users_kernel) for _ in range(8)]
        worst = max(future.result() for future in pending)
        assert all(future.result() == before for future in beside), "a kernel of the user's came out otherwise"
    assert worst <= 1.0, f"{worst} roundings from the exact value"
    assert users_kernel() == before, "a kernel of the user's comes out otherwise now"
    assert not any(name.startswith("fusec.testing") for name in sys.modules)


if __name__ == "__main__":
    main()
