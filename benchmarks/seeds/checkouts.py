"""The code of the texts themselves, unmodified, where the path of a checkout is given: what it calls the same work.

A checkout is known by the files in it. What cannot be imported is told, and takes no part.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import Any, TypeAlias

from torch import Tensor

from benchmarks.compared import Compared

Work: TypeAlias = Mapping[str, Callable[..., Any]]
"""By the beginning of an op's name: what does its work, with our arguments."""


class CheckoutError(ValueError):
    """A folder holds none of the repositories whose code is known here."""


def added(cases: Iterator[Compared], checkouts: Mapping[str, Work]) -> Iterator[Compared]:
    """The cases, with what checkouts have for them."""
    for case in cases:
        others = {
            name: function
            for name, work in checkouts.items()
            for op, function in work.items()
            if case.op == op or case.op.startswith(f"{op} to ")
        }
        yield replace(case, others={**case.others, **others})


def opened(path: Path) -> dict[str, Work]:
    """What a checkout can do, by the names it is shown under. Raises `CheckoutError` for a folder of anything else."""
    for mark, opener in OPENERS.items():
        if (path / mark).exists():
            return opener(path)
    raise CheckoutError(f"{path} has none of {', '.join(OPENERS)}: it is no checkout that is known here")


def _triton_kernels(path: Path) -> dict[str, Work]:
    """MemoryWorld/cuda-kernels: its kernels in Triton, and those in CUDA C++ if they were built there."""
    sys.path[:0] = [str(path / "kernels"), str(path / "kernels" / "cuda")]
    work = {
        "rmsnorm": _late("rmsnorm", "rms_norm_triton"),
        "rope": _late("rope", "rope_triton", _half_tables),
        "swiglu": _late("swiglu", "swiglu_triton"),
        "rmsnorm_linear": _late("fused_rmsnorm_linear", "fused_rmsnorm_linear"),
    }
    built = {
        "rmsnorm": _late("rmsnorm_cuda_ext", "rms_norm_cuda", lambda x, w: (x, w, 1e-6)),
        "rope": _late("rope_cuda_ext", "rope_cuda", _half_tables),
        "swiglu": _late("swiglu_cuda_ext", "swiglu_cuda"),
    }
    return {"seed, Triton": work, "seed, CUDA C++": built}


def _triton_ops(path: Path) -> dict[str, Work]:
    """LessUp/triton-fused-ops."""
    sys.path.insert(0, str(path))
    names = {"rmsnorm_rope": "fused_rmsnorm_rope", "gated_mlp": "fused_gated_mlp", "fp8_gemm": "fp8_gemm"}
    return {"seed": {op: _late("triton_ops", name) for op, name in names.items()}}


def _gn_kernels(path: Path) -> dict[str, Work]:
    """gau-nernst/gn-kernels: products of its own in Triton, columns of `b` one behind another."""
    sys.path.insert(0, str(path))

    def scaled(a: Tensor, b: Tensor, s: Tensor, t: Tensor) -> tuple[Tensor, ...]:
        return a, b.t(), s[:, None], t[None]

    return {
        "seed": {
            "matmul bf16": _late("gn_kernels", "triton_mm", lambda a, b: (a, b.t())),
            "matmul f8, rows": _late("gn_kernels", "triton_mm", scaled),
            "matmul i8, rows": _late("gn_kernels", "triton_mm", scaled),
            "matmul f8, groups": _late(
                "gn_kernels", "triton_block2d_scaled_mm", lambda a, b, s, t: (a, b.t(), s, t.t())
            ),
        }
    }


OPENERS: dict[str, Callable[[Path], dict[str, Work]]] = {
    "kernels/swiglu.py": _triton_kernels,
    "triton_ops/__init__.py": _triton_ops,
    "gn_kernels/__init__.py": _gn_kernels,
}
"""What is known, by a file that it has."""


def _late(
    module: str, name: str, arranged: Callable[..., tuple[Any, ...]] = lambda *given: given
) -> Callable[..., Any]:
    """A function of a module that is imported when it is called first: its error is then told as that of a peer."""

    def call(*given: Any) -> Any:
        return getattr(import_module(module), name)(*arranged(*given))

    return call


def _half_tables(x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, ...]:
    half = x.shape[-1] // 2
    return x, cos[:, :half].contiguous(), sin[:, :half].contiguous()
