"""Drawn calls satisfy the signature they are drawn from, cover what is hard, and come back from their line."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from specimens import GRAPHS

from fusec.diagnostics import Source
from fusec.extents.signature import Signature
from fusec.ir.types import DTYPES, product_extent
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.reference.bind import bind
from fusec.testing import values
from fusec.testing.cases import Case, build
from fusec.testing.layouts import LAYOUTS, OVERLAPPING
from fusec.testing.positions import Positions, positions
from fusec.testing.random_run import several
from fusec.testing.strategies import Budget, cases, tma_cases

thorough = settings(max_examples=200, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def drawn(name: str, count: int = 300) -> list[Case]:
    found: list[Case] = []

    @settings(thorough, max_examples=count, database=None)
    @given(cases(GRAPHS[name]))
    def collect(case: Case) -> None:
        found.append(case)

    collect()
    return found


@thorough
@given(data=st.data(), name=st.sampled_from(sorted(GRAPHS)))
def test_drawn_calls_satisfy_their_signature(data: st.DataObject, name: str) -> None:
    case = data.draw(cases(GRAPHS[name]))
    call = build(GRAPHS[name], case)
    binding = bind(GRAPHS[name], call.arguments)
    assert {axis: binding.extents[axis] for axis in case.extents} == case.extents
    assert binding.lead == case.lead
    assert call.disturbed() == []


def test_integers_are_not_divided_by_drawn_extents_of_zero() -> None:
    """`M` may be 0, for nothing is divided by it then."""
    found = [case.extents for case in drawn("wrapped")]
    assert all(extents["U"] and extents["V"] for extents in found)
    assert not all(extents["M"] for extents in found)
    assert not all(extents["N"] for extents in found)


def test_integers_are_not_divided_by_drawn_sizes_of_zero() -> None:
    found = [case.extents for case in drawn("sized", 100)]
    assert all(extents["N"] == 0 or (extents["M"] != 2 and extents["U"] >= 2) for extents in found)
    assert not all(extents["N"] for extents in found)
    assert {0, 1} <= {extents["M"] for extents in found}


@pytest.mark.parametrize(
    ("divided", "fits"),
    [
        ("x // (minimum(N, 3) - 3)", lambda size: size < 3),
        ("x % abs(N - 3)", lambda size: size != 3),
        (
            "x % where(N > 3 and N != 6, N & 5, N - 3)",
            lambda size: (size & 5 if size > 3 and size != 6 else size - 3) != 0,
        ),
        ("x >> (N - 4)", lambda size: 4 <= size <= 67),
    ],
)
def test_what_integers_are_divided_and_shifted_by_is_drawn_so_that_they_can_be(
    divided: str, fits: Callable[[int], bool]
) -> None:
    (graph,) = elaborate(load(Source("spec.fuse", f"op f(x: i64[M, N]) -> y: i64[M, N]:\n    y = {divided}\n"), None))
    found = {case.extents["N"] for case in several(cases(graph), 60, 1) if case.extents["M"] * case.extents["N"]}
    assert all(map(fits, found))
    assert len(found) > 1


@pytest.mark.parametrize(("element", "added", "multiple"), [("f16", 1, 8), ("f8e4m3", 3, 16)])
def test_sums_of_an_extent_and_a_number_are_what_tma_moves_too(element: str, added: int, multiple: int) -> None:
    text = f"op f(x: {element}[M, {added} + N], w: {element}[F, {added} + N]) -> y: f32[M, F]:\n"
    text += f"    y = dot(x, w, over={added} + N)\n"
    (graph,) = elaborate(load(Source("spec.fuse", text), None))
    found = [case.extents["N"] for case in several(tma_cases(graph), 40, 1)]
    assert any(size % multiple for size in found)
    assert sum((added + size) % multiple == 0 for size in found) > 10


@thorough
@given(data=st.data(), name=st.sampled_from(sorted(GRAPHS)))
def test_a_case_comes_back_from_its_line(data: st.DataObject, name: str) -> None:
    case = data.draw(cases(GRAPHS[name]))
    again = eval(repr(case))
    assert again == case
    assert "\n" not in repr(case)
    first, second = build(GRAPHS[name], case), build(GRAPHS[name], again)
    for param, held in first.buffers.items():
        assert torch.equal(held.before, second.buffers[param].before)
        assert held.tensor.stride() == second.buffers[param].tensor.stride()


@thorough
@given(data=st.data(), name=st.sampled_from(sorted(GRAPHS)))
def test_drawn_calls_stay_within_their_budget(data: st.DataObject, name: str) -> None:
    budget = Budget(rows=6, elements=500)
    case = data.draw(cases(GRAPHS[name], budget))
    inner = Signature.of(GRAPHS[name]).inner
    assert prod(max(extent, 1) for axis, extent in case.extents.items() if axis not in inner) * prod(case.lead) <= 6
    assert all(held.tensor.numel() <= 500 for held in build(GRAPHS[name], case).buffers.values())


def test_draws_cover_what_is_hard() -> None:
    found = drawn("normed")
    extents = {case.extents["N"] for case in found}
    assert {0, 1, 7, 64, 65, 1000} <= extents
    assert {len(case.lead) for case in found} == {0, 1, 2, 3}
    assert {case.dtypes["T"] for case in found} == {"f16", "bf16", "f32"}
    assert {case.layouts.get("x", "contiguous") for case in found} == set(LAYOUTS)
    assert {case.values.get("x", "normal") for case in found} == set(values.VALUES)


def test_conditions_between_extents_hold_and_leave_a_choice() -> None:
    pairs = {(case.extents["Hq"], case.extents["Hk"]) for case in drawn("divided")}
    assert all(q % k == 0 for q, k in pairs)
    assert len({q // k for q, k in pairs}) > 2


def test_what_may_be_left_out_is_left_out_at_times() -> None:
    assert {case.omitted for case in drawn("rotated", 100)} == {(), ("num_heads",)}
    assert {case.omitted for case in drawn("divided", 100)} == {(), ("bias",)}


def test_positions_are_those_of_the_axis_they_index() -> None:
    assert positions(GRAPHS["looked_up"]) == {
        "at": Positions(product_extent(GRAPHS["looked_up"].tensor("table").dims[0]))
    }
    assert positions(GRAPHS["segmented"])["offsets"].ordered


def test_positions_lie_inside_and_reach_both_ends() -> None:
    found = values.draw_positions("normal", (64,), 5, False, torch.Generator().manual_seed(0))
    assert found.unique().tolist() == [0, 1, 2, 3, 4]


def test_some_of_stray_positions_lie_outside_next_to_both_ends_and_far_away() -> None:
    found = values.draw_positions("stray", (2000,), 5, False, torch.Generator().manual_seed(0))
    outside = found[(found < 0) | (found >= 5)]
    assert 0.09 < outside.numel() / found.numel() < 0.16
    assert outside.unique().tolist() == [-(2**31), -1, 5, 6, 2**31 - 1]
    assert found[(found >= 0) & (found < 5)].unique().tolist() == [0, 1, 2, 3, 4]


def test_segment_bounds_rise_from_the_first_to_the_last_position() -> None:
    found = values.draw_positions("normal", (6,), 40, True, torch.Generator().manual_seed(0)).tolist()
    assert found == sorted(found)
    assert (found[0], found[-1]) == (0, 40)


@pytest.mark.parametrize("name", sorted(values.VALUES))
@pytest.mark.parametrize("dtype", ["f64", "f32", "f16", "bf16", "f8e4m3", "f8e5m2"])
@pytest.mark.parametrize("shape", [(4, 33), (0, 3), ()], ids=str)
def test_values_exist_in_every_format_and_shape(name: str, dtype: str, shape: tuple[int, ...]) -> None:
    drawn_values = values.draw(name, shape, DTYPES[dtype], torch.Generator().manual_seed(5))
    assert drawn_values.shape == shape
    finite = drawn_values.double().isfinite().all()
    assert bool(finite) or name in ("inf", "nan")


def test_values_are_what_their_name_says() -> None:
    def of(kind: str, dtype: str = "f16") -> torch.Tensor:
        return values.draw(kind, (16, 64), DTYPES[dtype], torch.Generator().manual_seed(2)).double()

    assert of("huge").abs().max() > 60000
    tiny = of("tiny").abs()
    assert 0 < tiny[tiny > 0].min() < 2.0**-14
    assert not of("zeros").any()
    assert torch.signbit(of("zeros")).any()
    assert of("inf").isinf().any()
    assert of("nan").isnan().any()
    assert (of("outlier").abs().amax(1) > 20 * of("outlier").abs().median(1).values).all()
    assert torch.equal(of("whole"), of("whole").round())
    assert (of("sparse") == 0).double().mean() > 0.8
    assert (of("constant_rows") == of("constant_rows")[:, :1]).all()


@pytest.mark.parametrize("name", sorted(LAYOUTS))
@pytest.mark.parametrize("shape", [(3, 4, 5), (7,), (), (2, 0, 3), (1, 1)], ids=str)
def test_elements_have_a_place_of_their_own_unless_broadcast(name: str, shape: tuple[int, ...]) -> None:
    layout = LAYOUTS[name](shape)
    places = torch.arange(10_000).as_strided(shape, layout.strides, layout.offset).flatten()
    assert len(layout.strides) == len(layout.distinct) == len(shape)
    assert places.unique().numel() == prod(layout.distinct)
    assert prod(layout.distinct) == prod(shape) or name in OVERLAPPING
