"""The standard library in f32 against what it means in many digits, over all magnitudes.

The error that is allowed follows from two numbers. What rounding the inputs does to the exact result, the condition
number `sum |x_i df/dx_i| / |f|`, is a property of the function. How many roundings its formula has is read off the
graph. A formula that loses no more digits than it must is off by no more than one times the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from pathlib import Path

import mpmath as mp
import pytest
import torch
from compiled import compiled
from std_meanings import MEANINGS, Meaning, Row
from torch import Tensor

from fusec.ir.expressions import Elementwise, Reduce
from fusec.ir.formats import largest_of
from fusec.ir.graph import Graph
from fusec.ir.types import DTYPES
from fusec.lang.load import standard_library
from fusec.numerics.precision import ERRORS, F32
from fusec.reference.rounding import round_to

WIDTH = 4
ROWS = 240
DIGITS = 100
"""Digits of what is exact: a difference of 1 and of numbers around 2**-149 has to keep half of them."""

_PARTS = {"sigmoid": ("exp", "add", "div")}
"""The operations that an operation without an error of its own is made of."""


def test_every_function_has_a_meaning() -> None:
    assert MEANINGS.keys() == {function.name.text for function in standard_library().fns}


@pytest.mark.parametrize("name", MEANINGS)
def test_no_digits_are_lost(name: str, tmp_path: Path, device: torch.device) -> None:
    meaning = MEANINGS[name]
    (op,) = compiled(spec(meaning), tmp_path)
    inputs = draw(meaning)
    found = op.call(**{key: value.to(device) for key, value in inputs.items()}).cpu()
    roundings = count(op.program.graph)
    with mp.workdps(DIGITS):
        for place in range(ROWS):
            rows = [[mp.mpf(value) for value in inputs[key][place].tolist()] for key in meaning.inputs]
            check(meaning, rows, found[place].reshape(-1), roundings)


def spec(meaning: Meaning) -> str:
    """An op that calls the function."""
    dims = {key: "M, N/2" if key in "cs" else "M, N" for key in meaning.inputs}
    params = ", ".join(f"{key}: f32[{dims[key]}]" for key in meaning.inputs)
    names = ", ".join(["y", "second", "third"][: meaning.results])
    return f"op probe({params}) -> y: {meaning.dtype}[{meaning.dims}]:\n    {names} = {meaning.body}\n"


def draw(meaning: Meaning) -> dict[str, Tensor]:
    """Rows of every magnitude: close to each other or far apart, ordinary, or one beside much smaller ones."""
    generator = torch.Generator().manual_seed(7)
    low, high = meaning.exponents

    def matrix(columns: int) -> Tensor:
        def exponents(*shape: int) -> Tensor:
            return torch.randint(low, high, shape, generator=generator).double()

        normal = torch.randn(ROWS, columns, generator=generator, dtype=torch.float64)
        uniform = torch.rand(ROWS, columns, generator=generator, dtype=torch.float64) * 2 - 1
        dominated = torch.where(
            torch.arange(columns) == torch.arange(ROWS)[:, None] % columns, 0.0, -60 * uniform.abs()
        )
        kinds = (
            normal * torch.exp2(exponents(ROWS, 1)),
            normal * torch.exp2(exponents(ROWS, columns)),
            normal * 4,
            uniform * 110,
            dominated + (torch.arange(ROWS)[:, None] % 3) * torch.exp2(-4 * normal.abs()),
            torch.round(uniform * 2),
        )
        picked = torch.stack(kinds)[torch.arange(ROWS) % len(kinds), torch.arange(ROWS)]
        return picked.clamp(-(2.0**high), 2.0**high).float()

    return {key: matrix(WIDTH // 2 if key in "cs" else WIDTH) for key in meaning.inputs}


def count(graph: Graph) -> float:
    """The roundings of a formula, in units of 2**-24: those of every operation, and one of every number of a sum.

    An error that grows with the exponent of a result, as that of an exponential does, is one of the operand.
    """
    total = 1.0
    for node in graph.nodes:
        match node.expr:
            case Elementwise(op=op):
                for part in _PARTS.get(op, (op,)):
                    total += 2 * (ERRORS[part].ulps + ERRORS[part].growth / log(2))
            case Reduce():
                total += WIDTH
            case _:
                pass
    return total


def check(meaning: Meaning, rows: list[Row], found: Tensor, roundings: float) -> None:
    """Every element of a row of results lies as near the exact one as the condition of the function allows.

    What underflows inside of a formula may be 0, and counts as often as the largest number it is multiplied with.
    """
    exact = meaning.exact(*rows)
    underflow = F32.normal * (1 + max(abs(value) for row in rows for value in row))
    reach = [roundings * F32.unit * abs(value) for value in exact]
    for moved in slightly_moved(rows):
        for place, value in enumerate(meaning.exact(*moved)):
            reach[place] += roundings * F32.unit * abs(value - exact[place]) / _STEP
    dtype = DTYPES[meaning.dtype]
    for value, off, result in zip(exact, reach, found.double().tolist(), strict=True):
        ends = [float(mp.mpf(value) + side * (off + underflow)) for side in (-1, 1)]
        low, high = (round_to(torch.tensor(end, dtype=torch.float64), dtype).item() for end in ends)
        assert low <= result <= high or float(value) > largest_of(dtype), (
            f"{[[float(v) for v in row] for row in rows]}: {result!r} is not within [{low!r}, {high!r}], "
            f"exactly {float(value)!r}"
        )


_STEP = mp.mpf(2) ** -120


def slightly_moved(rows: list[Row]) -> Iterator[list[Row]]:
    """The rows with one number at a time moved by a share `_STEP` of itself."""
    for number, row in enumerate(rows):
        for place, value in enumerate(row):
            if value:
                moved = [*row[:place], value * (1 + _STEP), *row[place + 1 :]]
                yield [*rows[:number], moved, *rows[number + 1 :]]
