"""What a GPU reaches at best: products of large matrices by the vendor's library, for each type, and a copy of memory.

A figure of a data sheet is not reached by anything. These are what a kernel may be held to on this device.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import torch

from fusec.commands.timing import Call, Timing

SHAPES = ((4096, 4096, 4096), (8192, 4096, 14336), (8192, 8192, 8192), (16384, 8192, 8192), (16384, 16384, 16384))
"""Rows, columns and terms of the products that are tried."""

COPIED = 2**30
"""Bytes of the copy."""

Shapes: TypeAlias = tuple[tuple[int, int, int], ...]
Timer: TypeAlias = Callable[[Mapping[str, Call]], Mapping[str, Timing]]
Product: TypeAlias = Callable[[int, int, int, str], Call]
"""What makes a product of so many rows, columns and terms on a device."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The best rate of a kind, at a shape: 10^12 operations, or bytes, a second; `refused` says why there is none."""

    kind: str
    unit: str
    rate: float = 0.0
    shape: tuple[int, ...] = ()
    microseconds: float = 0.0
    refused: str = ""


def limits(
    timed: Timer,
    shapes: Shapes = SHAPES,
    device: str = "cuda",
    copied: int = COPIED,
    kinds: Collection[str] | None = None,
) -> Iterator[Limit]:
    """The best of every kind, or of some, and of a copy that reads and writes so many bytes together."""
    for kind, product in PRODUCTS.items():
        if kinds is None or kind in kinds:
            yield _best(kind, product, timed, shapes, device)
    source = torch.empty(copied // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    took = timed({"copy": lambda: target.copy_(source)})["copy"].device
    yield Limit("copy", "TB/s", copied / took / 1e6, (copied,), took)


def _best(kind: str, product: Product, timed: Timer, shapes: Shapes, device: str) -> Limit:
    found: list[Limit] = []
    for rows, columns, inner in shapes:
        try:
            took = timed({kind: product(rows, columns, inner, device)})[kind].device
        except (RuntimeError, NotImplementedError, ValueError) as error:
            return Limit(kind, "TFLOPS", refused=str(error).split("\n")[0])
        found.append(Limit(kind, "TFLOPS", 2 * rows * columns * inner / took / 1e6, (rows, columns, inner), took))
    return max(found, key=lambda limit: limit.rate)


def _drawn(rows: int, columns: int, dtype: torch.dtype, device: str) -> torch.Tensor:
    if dtype == torch.int8:
        return torch.randint(-127, 128, (rows, columns), dtype=dtype, device=device)
    return torch.randn(rows, columns, device=device, dtype=torch.bfloat16).to(dtype)


def _of(dtype: torch.dtype) -> Product:
    def product(rows: int, columns: int, inner: int, device: str) -> Call:
        a, b = _drawn(rows, inner, dtype, device), _drawn(columns, inner, dtype, device).t()
        if dtype == torch.int8:
            return lambda: torch._int_mm(a, b)
        return lambda: torch.mm(a, b)

    return product


def _scaled(by_rows: bool, fast: bool) -> Product:
    """A product of FP8 with a scale for each operand, or for each of its rows; `fast` sums keep the unit's digits."""

    def product(rows: int, columns: int, inner: int, device: str) -> Call:
        a, b = (_drawn(size, inner, torch.float8_e4m3fn, device) for size in (rows, columns))
        sizes = ((rows, 1), (1, columns)) if by_rows else ((), ())
        left, right = (torch.ones(size, device=device) for size in sizes)
        b = b.t()
        return lambda: torch._scaled_mm(a, b, left, right, out_dtype=torch.bfloat16, use_fast_accum=fast)

    return product


PRODUCTS: dict[str, Product] = {
    "bf16": _of(torch.bfloat16),
    "f16": _of(torch.float16),
    "f32 (tf32 as PyTorch is set)": _of(torch.float32),
    "f8e4m3": _scaled(by_rows=False, fast=False),
    "f8e4m3, fast sums": _scaled(by_rows=False, fast=True),
    "f8e4m3, scales of rows": _scaled(by_rows=True, fast=False),
    "i8": _of(torch.int8),
}
"""What the library multiplies, by the type of its operands."""
