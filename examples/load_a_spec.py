"""Write an op as a formula and call it.

python examples/load_a_spec.py                      # on a GPU
TRITON_INTERPRET=1 python examples/load_a_spec.py   # without one, in Triton's interpreter
"""

from __future__ import annotations

import torch

import fusec

SPEC = """
op tempered_softmax(x: T[..., N], bias: T[N] = 0, temperature: f32 = 1.0) -> y: T[..., N]
where T in {f16, bf16, f32}:
    \"\"\"Softmax of x + bias at a temperature.\"\"\"
    y = softmax((x + bias) / temperature, over=N)
"""


def main() -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tempered_softmax = fusec.load(SPEC)
    x = torch.randn(4, 1000, device=device)
    bias = torch.randn(1000, device=device)
    torch.testing.assert_close(tempered_softmax(x), torch.softmax(x, -1))
    torch.testing.assert_close(tempered_softmax(x, bias, 0.5), torch.softmax((x + bias) / 0.5, -1))
    print(tempered_softmax.__doc__)


if __name__ == "__main__":
    main()
