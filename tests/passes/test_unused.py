"""Indices and masks of a tile that nothing reads are left out of a kernel whose operands come through tensor maps."""

from __future__ import annotations

from sympy import Integer, Symbol

from fusec.ir.kernel import GemmTma, Results, Rows, Walk
from fusec.ir.statements import Assign, AxisIndex, Corner, Cut, Fetch, Let, Put, Statement, StoreTile
from fusec.ir.tile_values import Address, Along, InRange, MaskName, Name, Number
from fusec.ir.types import DTYPES, Kind
from fusec.passes.kernel.unused import without_unused

ROW = Name("m", ("M",), Kind.INT)
INSIDE = MaskName("m_mask", ("M",))
INDEX = AxisIndex(ROW, "16", Let(INSIDE, (InRange(ROW, Symbol("M")),)))
UNMASKED = AxisIndex(ROW, "16", None)
SIDE, START = Name("side", (), Kind.INT), Name("start", (), Kind.INT)
X = Name("x", ("M", "N"))
PUT = Put(X, "y_map", (Corner(SIDE, "16"), Corner()), (), DTYPES["f16"])
FETCH = Fetch(X, "x_map", (Corner(SIDE, "16"), Corner(START)))


def store(mask: tuple[MaskName, ...], row: Name = ROW) -> StoreTile:
    address = Address(Name("y_row"), (Along(((row, Integer(1)),), Integer(0), Symbol("y_stride_M")),), ("M",))
    return StoreTile((X,), address, mask, DTYPES["f16"])


def kept(*stores: Statement, step: tuple[Statement, ...] = (FETCH,)) -> AxisIndex | None:
    """What is left of the index along the rows of the tile."""
    m, n = (Cut(Symbol(size), "16", INDEX) for size in ("M", "N"))
    gemm = GemmTma(m, n, Rows(None, ()), Walk(None, Symbol("K"), "16"), (), step, False, Results((), False, stores))
    return without_unused(gemm).m.index


def test_the_index_and_mask_of_what_goes_through_tensor_maps_are_left_out() -> None:
    assert kept(PUT) is None


def test_what_a_store_needs_stays_with_all_that_it_is_made_of() -> None:
    assert kept(store((INSIDE,))) == INDEX
    assert kept(store((INSIDE,), Name("other"))) == INDEX
    assert kept(store(())) == UNMASKED


def test_what_the_loop_reads_stays() -> None:
    assert kept(PUT, step=(FETCH, Assign(X, ROW))) == UNMASKED


def test_a_name_within_a_longer_one_is_no_use_of_it() -> None:
    assert kept(Assign(X, Name("m_2"))) is None
    assert kept(Assign(Name("m_mask_2"), Number(1))) is None
