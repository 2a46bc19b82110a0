"""What `fusec explain` says of an op is so: plans and kernels, what they move, what is prepared and written last."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.diagnostics import Source
from fusec.driver.plan import plan_source
from fusec.forcing import SMALL
from fusec.passes.explain.op import Explanation, explain
from fusec.passes.explain.words import lines
from fusec.runtime import Launch, Op, PlanError
from fusec.runtime.traffic.count import traffic

ROWS = """
op f(x: f32[M, N], weight w: f32[N], z: f32[M, N]) -> y: f32[M, N]:
    y = softmax(x * w, over=N) + z

module F(size: N) of f
module G(long: N) of f
"""
PREPARED = """
op f(x: f16[M, K], weight w: f32[N, K], weight bias: f32[N] = 0) -> y: f16[M, N]:
    y = dot(x, cast(w, f16), over=K) + bias
"""
LAST = """
op f(mut cache: f32[P, N], dst: i32[M], src: i32[M], x: f32[M, N]) -> y: f32[M, N]:
    y = x * 2
    cache[dst] = cache[src] + sum(x, over=N)
"""
SUMS = """
op f(mut cache: f32[P, N], dst: i32[M], x: f32[M, N])
where N > 0:
    cache[dst] += x
"""


TWINS = """
op f(x: f32[M, N], weight w: f32[N]) -> y: f32[M, N]:
    y = rmsnorm(x, w, 1e-6, over=N)

op g(a: f32[L, H], weight b: f32[H]) -> c: f32[L, H]:
    c = rmsnorm(a, b, 1e-6, over=H)
"""
"""The kernels of the second op are those of the first, for tensors and axes that are called otherwise."""

MERGED = """
op f(x: f16[M, K], weight w: f16[N, K], weight bias: f16[N] = 0) -> y: f16[M, N]:
    y = dot(x, w, over=K) + bias

op g(x: f16[M, K], weight w: f16[N, K], r: f16[M, N], weight bias: f16[N] = 0) -> y: f16[M, N]:
    y = dot(x, w, over=K) + bias + r
"""
"""The kernels of both ops differ in a few statements, so they are one, with branches."""


def explained(spec: str) -> Explanation:
    (found,) = all_explained(spec)
    return found


def all_explained(spec: str) -> list[Explanation]:
    planned = plan_source(Source("f.fuse", spec), None)
    return [explain(graph, planned.program(graph.name)) for graph in planned.graphs]


FILES = {"rows": ROWS, "last": LAST, "prepared": PREPARED, "twins": TWINS, "merged": MERGED}


@pytest.mark.parametrize("file", FILES)
def test_plans_have_the_kernels_of_the_file(file: str, tmp_path: Path) -> None:
    text = Path(compiled(FILES[file], tmp_path)[0].module.__file__ or "").read_text()
    defined = {*re.findall(r"^@triton\.jit.*\ndef (\w+)\(", text, re.MULTILINE)}
    names = {kernel for found in all_explained(FILES[file]) for plan in found.plans for kernel in plan.plan.kernels}
    assert names <= defined
    # What is no kernel is a function that kernels share.
    assert all(re.search(rf"^ +.*{each}\(", text, re.MULTILINE) for each in defined - names)
    assert {name[:3] for name in names} == {"_f_"}, "the second op of a file has no kernels of its own"


@pytest.mark.parametrize("spec", [ROWS, LAST, PREPARED], ids=["rows", "last", "prepared"])
def test_every_plan_is_told_in_words(spec: str) -> None:
    found = explained(spec)
    names = [kernel for plan in found.plans for kernel in plan.plan.kernels]
    assert names
    written = [*lines(found)]
    assert [line.split()[1] for line in written if line.startswith("    kernel ")] == names
    heads = [line for line in written if line.startswith("plan ")]
    assert [line.partition(":")[0] for line in heads] == [
        f"plan {number}, {plan.plan.name}" for number, plan in enumerate(found.plans, 1)
    ]
    for plan in found.plans:
        several = len(plan.registers) > 1
        for stage, held in plan.registers.items():
            ending = f"{held.formula} ({stage})" if several else held.formula
            assert any(line.startswith("    registers ") and line.endswith(ending) for line in written)


def test_what_plans_move_is_what_is_counted(tmp_path: Path) -> None:
    (op,) = compiled(ROWS, tmp_path)
    (own,) = (each for each in vars(op.module).values() if isinstance(each, Op))
    x, w = torch.empty(300, 4000, device="meta"), torch.empty(4000, device="meta")
    held = 0
    for plan in explained(ROWS).plans:
        try:
            decision = own.decide(x, w, x, plan=plan.plan.name, chip=SMALL)
        except PlanError:
            continue
        counted: Counter[str] = Counter()
        for launch in decision.launches:
            assert isinstance(launch, Launch)
            moved = traffic(launch, decision.dtypes)
            counted += Counter(moved.read) + Counter(moved.written)
        times = {name: count // (4 * x.numel()) for name, count in counted.items() if not name.startswith("partial")}
        assert terms(plan.plan.moved) == times
        assert terms(plan.plan.least) == dict.fromkeys(times, 1)
        assert terms(plan.plan.excess) == {name: count - 1 for name, count in times.items() if count > 1}
        again = [line for line in lines(explained(ROWS)) if line.startswith(f"    moves      {plan.plan.moved}:")]
        assert all(("reads" in line) == bool(plan.plan.excess) for line in again)
        assert again
        held += 1
    assert held >= 3


def terms(formula: str) -> dict[str, int]:
    """`2 x + y` as how often each is moved."""
    parts = [part.split(" ") for part in formula.split(" + ") if part]
    return {part[-1]: int(part[0]) if len(part) > 1 else 1 for part in parts}


def test_what_is_prepared_is_told_with_its_weights() -> None:
    found = explained(PREPARED)
    assert found.prepared is not None
    assert found.prepared.weights == ("w",)
    assert [tensor.partition(": ")[2] for tensor in found.prepared.tensors] == ["f16[N, K]"]
    written = "\n".join(lines(found))
    assert "computed once from w, for the products below:\n    prepared   " in written
    for spec in (ROWS, LAST):
        assert explained(spec).prepared is None
        assert "computed once" not in "\n".join(lines(explained(spec)))


def test_what_is_written_last_is_told_with_what_is_kept_for_it() -> None:
    (write,) = explained(LAST).last
    assert (write.tensor, write.reason) == ("cache", "it is read elsewhere than it is written")
    assert write.kept
    text = "\n".join(lines(explained(LAST)))
    assert "\ncache is written last: it is read elsewhere" in text
    assert all(f"\n    kept       {tensor}" in text for tensor in write.kept)
    (added,) = explained(SUMS).last
    assert "several values may be added" in added.reason
    assert explained(ROWS).last == ()


def test_modules_are_told_each_under_its_name() -> None:
    written = [*lines(explained(ROWS))]
    for name, size in (("F", "size"), ("G", "long")):
        at = next(at for at, line in enumerate(written) if line.startswith(f"module {name}("))
        assert (written[at - 1], written[at + 1].strip()[:7]) == ("", "owns w[")
        assert written[at + 1].startswith("    ")
        assert size in written[at]


def test_the_products_of_each_way_are_told() -> None:
    chains = explained(PREPARED).chains
    assert {chain.library for chain in chains} == {True, False}
    text = "\n".join(lines(explained(PREPARED)))
    for chain in chains:
        place = "in the vendor's library" if chain.library else "of tiles that TMA may load"
        without = f", without {' and '.join(chain.omitted)}:" if chain.omitted else ":"
        assert f"products {place}, where that is faster{without}" in text
        assert chain.library == any(step.endswith("in the library") for step in chain.steps)
        assert all(f"    step       {step}" in text for step in chain.steps)


QUANTISED = """
op linear8(x: f16[M, K], weight w: f16[N, K]) -> y: f16[M, N]:
    q, s = quantize(x, f8e4m3, over=K)
    c, t = quantize(w, f8e4m3, over=K)
    y = dot(q, c, over=K) * s * t

op normed(x: f16[M, N], weight w: f16[N]) -> (q: f8e4m3[M, N], s: f32[M]):
    q, s = quantize(rmsnorm(x, w, 1e-6, over=N), f8e4m3, over=N)

op gated(a: f16[M, N], b: f16[M, N]) -> (q: i8[M, N], s: f32[M]):
    q, s = quantize(silu(a) * b, i8, over=N)

op alone(x: f32[M, N]) -> (q: f8e5m2[M, N], s: f32[M]):
    q, s = quantize(x, f8e5m2, over=N)

op known(x: f8e4m3[M, K], w: f8e4m3[N, K], s: f32[]) -> y: f8e4m3[M, N]:
    y = quantize_by(dot(x, w, over=K), s, f8e4m3)

op hidden(x: f8e4m3[M, K], w: f8e4m3[N, K]) -> (q: f8e4m3[M, N], s: f32[M]):
    q, s = quantize(dot(x, w, over=K), f8e4m3, over=N)

op rounded(x: f16[M, N]) -> y: f16[M, N]:
    y = cast(x * 2, f16)
"""

PLACED = {
    "linear8": ["in a kernel of rows before the product", "once, and kept"],
    "normed": ["in the kernel that makes what is quantised"],
    "gated": ["in the kernel that makes what is quantised"],
    "alone": ["in a kernel of its own"],
    "known": ["in the epilogue of the product", "in a kernel behind the product: the library rounds to no such type"],
    "hidden": ["in a kernel behind the product: its scale is of whole rows"],
    "rounded": [],
}


def test_it_says_where_something_is_quantised_and_why() -> None:
    for explained in all_explained(QUANTISED):
        told = [place for each in explained.quantised for place in each.places]
        assert len(told) == len(PLACED[explained.op]), (explained.op, told)
        for place, wanted in zip(told, PLACED[explained.op], strict=True):
            assert place.startswith(wanted), explained.op
            assert any(place in line for line in lines(explained))
