"""Indices and masks that nothing reads are left out of a body; everything else stays, in order."""

from __future__ import annotations

from sympy import Integer, Symbol

from fusec.ir.kernel import (
    Address,
    Along,
    Assign,
    Define,
    Fetch,
    InRange,
    Let,
    Loop,
    MaskName,
    Name,
    Product,
    Put,
    Statement,
    StoreTile,
)
from fusec.ir.types import DTYPES, Kind
from fusec.passes.kernel.unused import without_unused

ROWS = Name("m", ("M",), Kind.INT)
SIDE, START = Define(Name("side", (), Kind.INT), "part % 4"), Define(Name("start_0", (), Kind.INT), "0")
M, SIDEWAYS = Define(ROWS, "side * 16 + tl.arange(0, 16)"), Define(Name("sideways", (), Kind.INT), "7")
INSIDE = MaskName("m_mask", ("M",))
MASK = Let(INSIDE, (InRange(ROWS, Symbol("M")),))
X = Name("x", ("M", "N"))
PUT = Put(X, "y_box", ("side * 16", "0"), (), DTYPES["f16"])


def store(mask: tuple[MaskName, ...]) -> StoreTile:
    address = Address(Name("y_row"), (Along(((ROWS, Integer(1)),), Integer(0), Symbol("y_stride_M")),), ("M",))
    return StoreTile((X,), address, mask, DTYPES["f16"])


def test_the_index_and_mask_of_what_goes_through_a_box_are_left_out() -> None:
    assert without_unused([SIDE, M, MASK, PUT]) == [SIDE, PUT]


def test_what_a_store_needs_stays_with_all_that_it_is_made_of() -> None:
    everything: list[Statement] = [SIDE, M, MASK, store((INSIDE,))]
    assert without_unused(everything) == everything
    assert without_unused([SIDE, M, MASK, store(())]) == [SIDE, M, store(())]


def test_what_an_inner_body_reads_stays() -> None:
    fetch = Fetch(X, "x_box", ("side * 16", "start"))
    loop = Loop("start", "start_0", "K", "16", (), (fetch, Assign(X, Product(X, X, X, X.dims, "ieee"))))
    assert without_unused([SIDE, START, M, loop]) == [SIDE, START, loop]


def test_a_name_within_a_longer_one_is_no_use_of_it() -> None:
    assert without_unused([SIDE, Define(Name("i", (), Kind.INT), "sideways"), SIDEWAYS]) == []


def test_an_index_behind_its_last_use_is_left_out() -> None:
    assert without_unused([PUT, SIDE]) == [PUT]


def test_values_stay_even_if_nothing_reads_them() -> None:
    assert without_unused([Assign(X, X)]) == [Assign(X, X)]
