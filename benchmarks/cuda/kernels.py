"""The kernels in CUDA C++ as functions of tensors: built by nvcc through PyTorch's loader, called through ctypes.

Every kernel has some tiles, which are numbered: which is best depends on the size, and is found by trying them.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils import cpp_extension

HERE = Path(__file__).resolve().parent
SOURCES = ("rmsnorm.cu", "rope.cu", "swiglu.cu")
FLAGS = ("-O3", "-std=c++17")
TILES = {"rmsnorm": 16, "rope": 8, "swiglu": 9}
"""How many tiles each kernel has."""

LANES = 8
EPS = 1e-6


class UnfitError(ValueError):
    """A tile cannot take a call."""


def build() -> ctypes.CDLL:
    """The library, built for this GPU; PyTorch keeps it for the next time."""
    sources = [str(HERE / name) for name in SOURCES]
    path = cpp_extension.load(
        name="fusec_bench_cuda", sources=sources, extra_cuda_cflags=list(FLAGS), is_python_module=False, verbose=False
    )
    return ctypes.CDLL(str(path))


def functions(library: Any) -> dict[str, Callable[[int], Callable[..., Tensor]]]:
    """By the op that it does: what makes the function of one tile."""
    return {
        "rmsnorm": lambda tile: lambda x, weight: _rmsnorm(library.bench_rmsnorm, tile, x, weight),
        "rope": lambda tile: lambda x, cos, sin: _rope(library.bench_rope, tile, x, cos, sin),
        "swiglu": lambda tile: lambda gate, up: _swiglu(library.bench_swiglu, tile, gate, up),
    }


def _rmsnorm(call: Any, tile: int, x: Tensor, weight: Tensor) -> Tensor:
    y = torch.empty_like(x)
    rows, columns = ctypes.c_longlong(x.numel() // x.shape[-1]), x.shape[-1]
    _check(call(tile, _wide(x, weight), *_at(x, weight, y), rows, columns, ctypes.c_float(EPS), _stream(x)))
    return y


def _rope(call: Any, tile: int, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    y = torch.empty_like(x)
    batch, heads, tokens, width = x.shape
    if cos.dtype != torch.float32 or cos.shape != (tokens, width) or not (cos.is_contiguous() and sin.is_contiguous()):
        raise UnfitError("tables are of f32, contiguous, with a row for each token")
    _check(call(tile, _wide(x), *_at(x, cos, sin, y), batch * heads, tokens, width, _stream(x)))
    return y


def _swiglu(call: Any, tile: int, gate: Tensor, up: Tensor) -> Tensor:
    y = torch.empty_like(gate)
    _check(call(tile, _wide(gate, up), *_at(gate, up, y), ctypes.c_longlong(gate.numel()), _stream(gate)))
    return y


def _wide(*tensors: Tensor) -> int:
    """1 for bf16, 0 for f16, after a look at what the kernels rely on."""
    first = tensors[0].dtype
    if first not in (torch.float16, torch.bfloat16) or any(each.dtype != first for each in tensors):
        raise UnfitError("tensors are of f16 or bf16, all of one")
    if any(each.shape[-1] % LANES or not each.is_contiguous() or each.data_ptr() % 16 for each in tensors):
        raise UnfitError("rows are whole vectors of 16 bytes, one behind another")
    return int(first == torch.bfloat16)


def _at(*tensors: Tensor) -> tuple[ctypes.c_void_p, ...]:
    return tuple(ctypes.c_void_p(each.data_ptr()) for each in tensors)


def _stream(x: Tensor) -> ctypes.c_void_p:
    return ctypes.c_void_p(torch.cuda.current_stream(x.device).cuda_stream if x.is_cuda else 0)


def _check(answer: int) -> None:
    if answer == -1:
        raise UnfitError("the tile cannot take the call")
    if answer:
        raise RuntimeError(f"error {answer} of CUDA, or of the number of the tile")
