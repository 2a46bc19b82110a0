"""A kernel that reads what nothing computes is a fault of the compiler, told before any text is made of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest

from fusec.diagnostics import InternalError, Source
from fusec.ir.kernel import FAMILIES, Kernel, Total
from fusec.ir.statements import Assign, LoadTile, every
from fusec.ir.tile_values import MaskName, Name
from fusec.ir.verify_kernel import verify_kernel
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.passes.pipeline import compile_graph

SPECS = (
    """op f(x: T[M, D], w: T[D]) -> (y: T[M, D], z: f32[M])
where T in {f16, f32}:
    y = rmsnorm(x, w, 0.1, over=D)
    z = mean(x, over=D)
""",
    """op f(x: T[M, D]) -> (y: T[M, D], z: f32[D])
where T in {f16, f32}:
    y = softmax(x, over=D)
    z = sum(y, over=M)
""",
    """op f(x: T[..., K], w: T[N, K], bias: T[N] = 0) -> y: T[..., N]
where T in {f16}:
    y = silu(dot(rmsnorm(x, 1.0, 0.1, over=K), w, over=K, precision=T) + bias)
""",
    """op f(x: f32[M, N], act: {silu, relu}, slot: i32[M], mut cache: f32[P, N]) -> y: f32[M, N]:
    y = act(x) + cache[slot]
    cache[slot] = x * 2
""",
    """op f(a: f8e4m3[M, K], b: f8e4m3[N, K], s: f32[M], bias: f32[N]) -> y: bf16[M, N]:
    y = dot(a, b, over=K) * s + bias
""",
    """op f(a: f8e4m3[M, G*L], s: f8e8m0[M, G], b: f8e4m3[N, G*L], t: f8e8m0[N, G]) -> y: bf16[M, N]
where L == 32:
    y = sum(dot(a, b, over=L) * s * t, over=G)
""",
)


def kernels() -> list[Kernel]:
    graphs = (graph for text in SPECS for graph in elaborate(load(Source("f.fuse", text), None)))
    return [kernel for graph in graphs for kernel in compile_graph(graph).kernels]


KERNELS = kernels()


def without_one(tree: Any, gone: object) -> Any:
    """The tree without a statement."""
    if isinstance(tree, tuple):
        return tuple(without_one(part, gone) for part in tree if part is not gone)
    if not is_dataclass(tree) or isinstance(tree, type):
        return tree
    parts = {field.name: getattr(tree, field.name) for field in fields(tree)}
    changed = {name: without_one(part, gone) for name, part in parts.items()}
    return replace(tree, **{name: part for name, part in changed.items() if part is not parts[name]})


def computing(kernel: Kernel) -> Iterator[tuple[object, str]]:
    """The statements that compute something, once, that another one reads."""
    parts = list(every(kernel.skeleton))
    made = [part for part in parts if isinstance(part, Assign | LoadTile)]
    names = [[part.name] if isinstance(part, Assign) else part.names for part in made]
    texts = [name.text for own in names for name in own] + [part.name.text for part in parts if isinstance(part, Total)]
    read = [part.text for part in parts if isinstance(part, Name | MaskName)]
    for statement, own in zip(made, names, strict=True):
        text = own[0].text
        if texts.count(text) == 1 and read.count(text) > 1:
            yield statement, text


def test_there_is_a_kernel_of_every_family() -> None:
    assert {type(kernel.skeleton) for kernel in KERNELS} == set(FAMILIES)


def test_kernels_are_well_formed() -> None:
    assert [verify_kernel(kernel) for kernel in KERNELS] == KERNELS


def test_what_is_read_was_computed() -> None:
    tried = 0
    for kernel in KERNELS:
        for statement, text in computing(kernel):
            broken = replace(kernel, skeleton=without_one(kernel.skeleton, statement))
            with pytest.raises(InternalError, match=f"{text} is read before it is computed"):
                verify_kernel(broken)
            tried += 1
    assert tried > len(KERNELS)


def test_arguments_are_declared() -> None:
    for kernel in KERNELS:
        with pytest.raises(InternalError, match="_ptr is read before it is computed"):
            verify_kernel(replace(kernel, pointers=()))
