"""A spec may call its things by any name, also one that the generated file has for a thing of its own."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
import torch
from compiled import compiled

from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source
from fusec.lang.load import load
from fusec.passes.graph.elaborate import elaborate
from fusec.testing.cases import Case
from fusec.testing.compare import run_and_compare
from fusec.testing.limits import LIMITS, limited

SPEC = """op {op}(
    {x}: {T}[{M}, {N}], {table}: f32[{P}], {ids}: i64[{M}], {gain}: {T}[{N}] = 1.0, {scale}: f32 = 0.5,
    {count}: i32 = 2, {act}: {{silu, relu}} = silu
) -> ({y}: {T}[{M}, {N}], {z}: f32[{M}])
where {T} in {{f32, f64}}:
    {inner} = {x} * {gain} + {scale}
    {size} = mean({inner} * {inner}, over={N})
    {y} = {act}({inner}) * rsqrt(1.0 + {size})
    {z} = sum({x}, over={N}) * {count} + {table}[{ids}]

op second_{op}({x}: f16[..., {N}], {gain}: f32[{N}]) -> {y}: f16[..., {N}]:
    {inner} = {x} * {gain}
    {y} = {inner} / sum(exp({inner}), over={N})
"""
"""Two ops whose file has every part: all plans, look-ups, choices, scalars, leading axes and f64."""

SLOTS = ("op", "x", "table", "ids", "gain", "scale", "count", "act", "y", "z", "T", "M", "N", "P", "inner", "size")
PLAIN = {slot: f"{slot}x" for slot in SLOTS}

TURNS = int(os.environ.get("FUSEC_EXAMPLES", "1"))
"""How many slots each name is tried in."""


def words() -> list[str]:
    """The names in the generated file of the plain spec that are not its own, as far as a spec may have them."""
    (compiled, _) = compile_source(Source("plain.fuse", SPEC.format(**PLAIN)), None)
    nodes = list(ast.walk(ast.parse(compiled.text)))
    found = {getattr(node, field, None) for node in nodes for field in ("id", "arg", "name", "asname")}
    return sorted(name for name in found if isinstance(name, str) and is_allowed(name))


def is_allowed(name: str) -> bool:
    try:
        elaborate(load(Source("name.fuse", f"op f(x: f32[{name}]) -> y: f32[{name}]:\n    y = x\n"), None))
    except SpecError:
        return False
    return name not in PLAIN.values()


def specs() -> list[dict[str, str]]:
    """Names for the slots of the spec, so that each word comes in `TURNS` of them. An op is called nothing private."""
    names = words()
    batches = [names[first : first + len(SLOTS)] for first in range(0, len(names), len(SLOTS))]
    turned = ((SLOTS[turn:] + SLOTS[:turn], batch) for turn in range(TURNS) for batch in batches)
    found = [{**PLAIN, **dict(zip(slots, batch, strict=False))} for slots, batch in turned]
    return [{**names, "op": names["op"].lstrip("_") or PLAIN["op"]} for names in found]


@pytest.mark.parametrize("names", specs(), ids=lambda names: names["op"])
def test_names_of_the_generated_file_are_free(names: dict[str, str], tmp_path: Path, device: torch.device) -> None:
    first, second = compiled(SPEC.format(**names), tmp_path)
    for number, limits in enumerate(LIMITS.values()):
        odd = number % 2
        whole = Case(
            op=first.name,
            seed=number,
            extents={names["M"]: 3, names["N"]: 21, names["P"]: 4},
            dtypes={names["T"]: "f64" if odd else "f32"},
            picks={names["act"]: "relu" if odd else "silu"},
            scalars={names["scale"]: 0.25, names["count"]: 3},
            omitted=(names["gain"],) if odd else (),
        )
        led = Case(op=second.name, seed=number, extents={names["N"]: 21}, lead=(2, 3))
        with limited(first.module, limits):
            run_and_compare(first.call, first.program.lowered, whole, device=device)
            run_and_compare(second.call, second.program.lowered, led, device=device)
