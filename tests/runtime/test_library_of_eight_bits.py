"""Which products of 8 bits go to PyTorch's functions for them, and with which arguments: without a GPU."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
import torch

from fusec.runtime.eight_bits import OfEightBits, scale, takes
from fusec.runtime.product import Matrix, Product

F8, E5, I8, BF16, F32 = torch.float8_e4m3fn, torch.float8_e5m2, torch.int8, torch.bfloat16, torch.float32
META = torch.device("meta")


def product(rows: int = 32, inner: int = 48, columns: int = 64, kind: str = "f8") -> Product:
    """One that the library takes: its operands lie along what is summed up."""
    return Product(
        Matrix("a", (1, rows, inner), (0, inner, 1)),
        Matrix("b", (1, inner, columns), (0, 1, inner)),
        Matrix("o", (1, rows, columns), (0, columns, 1)),
        in_8_bits=kind,
    )


def changed(given: Product, name: str, **changes: Any) -> Product:
    return replace(given, **{name: replace(getattr(given, name), **changes)})


def scales(given: Product, rows: int | None, columns: int | None) -> Product:
    """With a scale for so many rows and columns; None is no scale."""
    own = (
        None if size is None else scale("s", 0, place, [(size, (1,))] if size > 1 else [])
        for place, size in enumerate((rows, columns))
    )
    return replace(given, scales=tuple(own))


FITS: dict[str, Product] = {
    "plain": product(),
    "fast": product(kind="fast"),
    "one row": changed(product(1), "a", strides=(0, 5, 1)),
    "one row of a result with gaps": changed(product(1), "out", strides=(0, 70, 1)),
    "rows with gaps": changed(product(), "a", strides=(0, 64, 1)),
    "columns with gaps": changed(product(), "b", strides=(0, 1, 96)),
    "offsets of whole vectors": changed(changed(product(), "a", offset=16), "b", offset=32),
    "17 rows of integers": product(17, kind="i8"),
}

REFUSED: dict[str, Product] = {
    "a across": changed(product(), "a", strides=(0, 1, 32)),
    "b across": changed(product(), "b", strides=(0, 64, 1)),
    "a result by columns": changed(product(), "out", strides=(0, 1, 32)),
    "a result with gaps": changed(product(), "out", strides=(0, 80, 1)),
    "a sum of 56": product(inner=56),
    "no sum": product(inner=0),
    "72 columns": product(columns=72),
    "rows at odd places": changed(product(), "a", strides=(0, 56, 1)),
    "columns at odd places": changed(product(), "b", strides=(0, 1, 56)),
    "a begins at 8": changed(product(), "a", offset=8),
    "b begins at 8": changed(product(), "b", offset=8),
    "a batch": Product(
        Matrix("a", (2, 32, 48), (32 * 48, 48, 1)),
        Matrix("b", (2, 48, 64), (0, 1, 48)),
        Matrix("o", (2, 32, 64), (32 * 64, 64, 1)),
        in_8_bits="f8",
    ),
    "16 rows of integers": product(16, kind="i8"),
}


def operands(given: Product) -> tuple[torch.dtype, torch.dtype, torch.dtype]:
    return (I8, I8, torch.int32) if given.in_8_bits == "i8" else (F8, F8, BF16)


@pytest.mark.parametrize("name", FITS)
def test_what_the_library_takes(name: str) -> None:
    assert takes(FITS[name], operands(FITS[name]), False)


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_does_not_take(name: str) -> None:
    assert not takes(REFUSED[name], operands(REFUSED[name]), True)


@pytest.mark.parametrize(("rows", "columns", "dtypes", "everywhere", "else_"), [
    (None, None, (F8, F8, BF16), True, True),
    (None, None, (E5, F8, F32), True, True),
    (None, None, (F8, E5, F32), True, True),
    (None, None, (E5, E5, BF16), False, False),
    (1, 1, (F8, F8, F32), True, True),
    (1, 1, (F8, E5, F32), True, True),
    (32, 64, (F8, F8, BF16), True, True),
    (32, None, (F8, F8, BF16), True, True),
    (None, 64, (F8, F8, BF16), True, True),
    (32, 64, (F8, F8, F32), True, False),
    (32, 64, (F8, E5, BF16), False, False),
    (32, 64, (E5, F8, BF16), False, False),
    (32, 1, (F8, F8, BF16), False, False),
    (1, 64, (F8, F8, BF16), False, False),
    (2, 64, (F8, F8, BF16), False, False),
    (32, 2, (F8, F8, BF16), False, False),
])  # fmt: skip
def test_scales_and_types(
    rows: int | None, columns: int | None, dtypes: tuple[torch.dtype, ...], everywhere: bool, else_: bool
) -> None:
    """In every type where the library can write those, or in bf16 alone."""
    given = scales(product(), rows, columns)
    assert takes(given, dtypes, True) == everywhere
    assert takes(given, dtypes, False) == else_


def called(given: Product, out: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> tuple[str, tuple[Any, ...], Any]:
    """The function of PyTorch that multiplies on another device than the CPU, and its arguments."""
    seen: list[tuple[str, tuple[Any, ...], Any]] = []

    def watched(name: str) -> Callable[..., None]:
        return lambda *tensors, **named: seen.append((name, tensors, named))

    for name in ("_int_mm", "_scaled_mm"):
        monkeypatch.setattr(torch, name, watched(name))
    multiply = OfEightBits.of(given).multiplication(META)
    a, b = (torch.empty(matrix.shape[1:], device=META) for matrix in (given.a, given.b))
    own = [torch.empty(each.shape[1:], device=META) for each in given.scales if each is not None]
    multiply(a, b, *own, out=torch.empty(given.out.shape[1:], dtype=out, device=META))
    ((name, tensors, named),) = seen
    assert tensors[0] is a
    assert tensors[1] is b
    return name, tensors[2:], named


@pytest.mark.parametrize("kind", ["f8", "fast"])
@pytest.mark.parametrize(("rows", "columns", "expected"), [
    (None, None, ((1, 1), (1, 1))),
    (1, None, ((1, 1), (1, 1))),
    (None, 1, ((1, 1), (1, 1))),
    (32, 64, ((32, 1), (1, 64))),
    (32, None, ((32, 1), (1, 64))),
    (None, 64, ((32, 1), (1, 64))),
])  # fmt: skip
def test_the_arguments_of_a_scaled_product(
    kind: str, rows: int | None, columns: int | None, expected: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a scale is not given, there are ones in its place, of the kind of the other."""
    name, given, named = called(scales(product(kind=kind), rows, columns), BF16, monkeypatch)
    assert name == "_scaled_mm"
    assert tuple(tuple(each.shape) for each in given) == expected
    assert {each.dtype for each in given} == {F32}
    assert named["use_fast_accum"] == (kind == "fast")
    assert named["out_dtype"] == named["out"].dtype == BF16


@pytest.mark.parametrize("kind", ["f8", "fast"])
@pytest.mark.parametrize("columns", [64, 256])
def test_sums_of_groups_are_exact(kind: str, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The library has no fast ones, whatever is allowed."""
    rows, groups = 32, 4
    posts = columns if columns % 128 else columns // 128
    given = replace(
        product(rows, groups * 128, columns, kind),
        scales=(
            Matrix("s", (1, rows, groups), (0, 1, rows)),
            Matrix("t", (1, groups, posts), (0, posts, 1)),
        ),
        groups=groups,
    )
    name, _, named = called(given, BF16, monkeypatch)
    assert name == "_scaled_mm"
    assert named["use_fast_accum"] is False


def stood_in(a: torch.Tensor, b: torch.Tensor, kind: str = "f8") -> torch.Tensor:
    """What stands for the library on the CPU makes of a and of the columns b."""
    given = product(a.shape[0], a.shape[1], b.shape[0], kind)
    out = torch.empty(a.shape[0], b.shape[0])
    OfEightBits.of(given).multiplication(torch.device("cpu"))(a, b.T, out=out)
    return out


def ones(rows: int, inner: int, dtype: torch.dtype, first: int = 0) -> torch.Tensor:
    return torch.ones(rows * inner + first).to(dtype)[first:].view(rows, inner)


@pytest.mark.parametrize(("types", "fault"), [((F8, F8), None), ((E5, F8), None), ((E5, E5), "e5m2")])
def test_its_stand_in_takes_no_other_formats(types: tuple[torch.dtype, torch.dtype], fault: str | None) -> None:
    a, b = (ones(16, 32, dtype) for dtype in types)
    with pytest.raises(RuntimeError, match=fault) if fault else nullcontext():
        assert stood_in(a, b).unique().tolist() == [32]


@pytest.mark.parametrize("kind", ["f8", "i8"])
@pytest.mark.parametrize("firsts", [(0, 0), (1, 0), (0, 8), (16, 16)])
def test_its_stand_in_takes_no_other_addresses(kind: str, firsts: tuple[int, int]) -> None:
    a, b = (ones(32, 48, I8 if kind == "i8" else F8, first) for first in firsts)
    with pytest.raises(RuntimeError, match="16 bytes") if any(first % 16 for first in firsts) else nullcontext():
        assert stood_in(a, b, kind).unique().tolist() == [48]


def test_the_arguments_of_a_product_of_integers(monkeypatch: pytest.MonkeyPatch) -> None:
    name, given, named = called(product(kind="i8"), torch.int32, monkeypatch)
    assert (name, given, [*named]) == ("_int_mm", (), ["out"])


@pytest.mark.parametrize("place", [0, 1])
def test_scales_lie_side_by_side(place: int) -> None:
    shape = (1, 32, 1) if place == 0 else (1, 1, 32)
    found = scale("s", 3, place, [(32, (1,))])
    assert found is not None
    assert (found.name, found.shape, found.strides[1 + place], found.offset) == ("s", shape, 1, 3)
    one = scale("s", 0, place, [])
    assert one is not None
    assert one.shape == (1, 1, 1)
    assert scale("s", 0, place, [(1, (7,))]) == one
    assert scale("s", 0, place, [(32, (2,))]) is None
    assert scale("s", 0, place, [(4, (8,)), (8, (1,))]) is None
