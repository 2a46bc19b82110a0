"""A declared cast between a product and a sum has to survive the compiler of the GPU, which would contract them."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source

CAST_BETWEEN = "    y = cast(cast(x * s, T) + r, T)"
CAST_BEFORE_A_SUM = "    y = r + sum(cast(x * s, T), over=N)"
CAST_AT_THE_END = "    y = cast(x * s + r, T)"
NO_CAST = "    y = x * s + r"


@pytest.mark.parametrize(
    ("body", "rounded"), [(CAST_BETWEEN, True), (CAST_BEFORE_A_SUM, True), (CAST_AT_THE_END, False), (NO_CAST, False)]
)
def test_products_are_contracted_where_nothing_is_rounded_between(body: str, rounded: bool) -> None:
    text = f"op f(x: T[M, N], s: T[M, N], r: T[M, N]) -> y: T[M, N]\nwhere T in {{f16, bf16}}:\n{body}\n"
    (compiled,) = compile_source(Source("f.fuse", text), None)
    kernels = {kernel.name for kernel in compiled.program.kernels if kernel.rounded}
    assert bool(kernels) == rounded
    table = compiled.text.partition("rounded=(")[2].partition(")")[0]
    assert set(table.replace(",", " ").split()) == kernels
