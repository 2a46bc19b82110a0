"""What help lines say to write for functions of other libraries computes what these do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from compiled import compiled
from torch import Tensor

ADVICE: dict[str, tuple[str, Callable[[Tensor], Tensor]]] = {
    "cumsum": (
        "z = rename(x, N -> M)\n    y = sum(where(index(M) <= index(N), z, 0), over=M)",
        lambda x: x.double().cumsum(1),
    ),
    "cummax": (
        "z = rename(x, N -> M)\n    y = amax(where(index(M) <= index(N), z, -inf), over=M)",
        lambda x: x.cummax(1).values,
    ),
    "rank": (
        "z = rename(x, N -> M)\n    y = sum(where(z > x, 1, 0), over=M)",
        lambda x: x.argsort(1, descending=True).argsort(1),
    ),
    "argmax": ("y = amin(where(x == amax(x, over=N), index(N), N), over=N)", lambda x: x.argmax(1, keepdim=True)),
    "flip": ("y = x[B - 1 - index(B)]", lambda x: x.flip(0)),
    "roll": ("y = x[(index(B) - 1) % B]", lambda x: x.roll(1, 0)),
    "column": ("y = x[index(B), 0]", lambda x: x[:, :1]),
    "any": ("y = where(amax(where(x > 1, 1, 0), over=N) > 0, 1, 0)", lambda x: (x > 1).any(1, keepdim=True)),
    "tril": ("y = where(index(B) >= index(N), x, 0)", torch.tril),
    "trunc": ("y = sign(x) * floor(abs(x))", torch.trunc),
    "sinh": ("y = (expm1(x) - expm1(-x)) / 2", torch.sinh),
    "logaddexp": ("y = maximum(x, 1) + log1p(exp(-abs(x - 1)))", lambda x: torch.logaddexp(x, torch.ones_like(x))),
    "default from sizes": ("y = x * N ** -0.5", lambda x: x / 7**0.5),
}


@pytest.mark.parametrize("name", ADVICE)
def test_advice_computes_what_was_asked_for(name: str, tmp_path: Path, device: torch.device) -> None:
    body, meaning = ADVICE[name]
    (op,) = compiled(f"op probe(x: f32[B, N]) -> y: f32[B, N]:\n    {body}\n", tmp_path)
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(3))
    expected = meaning(x).float().expand(5, 7)
    torch.testing.assert_close(op.call(x.to(device)).cpu(), expected, rtol=2**-20, atol=2**-20)
