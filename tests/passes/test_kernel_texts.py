"""What is written in kernels: nothing is computed twice, no line takes long to read, and what is read again stays near.

Seen in the text of the shipped files and of random specs, whatever they are.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from fusec.diagnostics import Source
from fusec.driver.compile import compile_source
from fusec.testing.random_specs import text

ROOT = Path(__file__).parents[2]
SHIPPED = ("layernorm", "linear_add_rmsnorm", "norm_gradients", "rmsnorm_quantize", "rope", "softmax")
RANDOM = range(0, 48, 8)

LOADING = (".load", ".load_row", ".load_shared", ".widen_bits")
"""Functions that a kernel loads by."""

MOST = 6
"""Operations and calls in a statement that computes a value: more than a reader follows at once."""


@cache
def kernels(name: str | int) -> tuple[ast.FunctionDef, ...]:
    """The kernels of a spec of ours, or of a random one."""
    path = ROOT / "specs" / f"{name}.fuse"
    source = Source("written.fuse", text(name) if isinstance(name, int) else path.read_text())
    (file,) = {op.text for op in compile_source(source, None)}
    found = (each for each in ast.parse(file).body if isinstance(each, ast.FunctionDef))
    return tuple(each for each in found if any("triton.jit" in ast.unparse(by) for by in each.decorator_list))


def blocks(body: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    """A block, and those in it."""
    yield body
    for each in body:
        for inner in (getattr(each, "body", []), getattr(each, "orelse", [])):
            if inner:
                yield from blocks(inner)


def is_load(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith(LOADING)


def names(node: ast.AST) -> set[str]:
    return {each.id for each in ast.walk(node) if isinstance(each, ast.Name)}


def values(kernel: ast.FunctionDef) -> set[str]:
    """The variables that hold what was loaded, or what is computed of it."""
    found: set[str] = set()
    assigned = [each for each in ast.walk(kernel) if isinstance(each, ast.Assign | ast.AugAssign)]
    for _ in assigned:
        before = len(found)
        for each in assigned:
            if names(each.value) & found or any(map(is_load, ast.walk(each.value))):
                targets = each.targets if isinstance(each, ast.Assign) else [each.target]
                found |= {name for target in targets for name in names(target)}
        if len(found) == before:
            break
    return found


def computed(node: ast.AST, of: set[str]) -> Iterator[str]:
    """The operations below a node on nothing but values and numbers, but for conversions."""
    if is_load(node):
        return
    converts = isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".to", ".cast"))
    if isinstance(node, ast.BinOp | ast.Call | ast.Compare) and not converts:
        taken = names(node) - {"tl", "device", "special", "float"}
        if taken and taken <= of:
            yield ast.unparse(node)
    for child in ast.iter_child_nodes(node):
        yield from computed(child, of)


@pytest.mark.parametrize("name", [*SHIPPED, *RANDOM])
def test_nothing_is_computed_twice(name: str | int) -> None:
    for kernel in kernels(name):
        of = values(kernel)
        for block in blocks(kernel.body):
            plain = [each for each in block if isinstance(each, ast.Assign)]
            counts = Counter(each for one in plain for each in computed(one.value, of))
            assert [each for each, count in counts.items() if count > 1] == [], kernel.name


@pytest.mark.parametrize("name", [*SHIPPED, *RANDOM])
def test_a_statement_computes_what_can_be_read_at_once(name: str | int) -> None:
    for kernel in kernels(name):
        of = values(kernel)
        for each in ast.walk(kernel):
            if isinstance(each, ast.Assign):
                assert len([*computed(each.value, of)]) <= MOST, ast.unparse(each)


@pytest.mark.parametrize(
    ("body", "lines"),
    [("x * 2 + 1", 1), ("exp(x) * x", 1), ("exp(x) * exp(x)", 2), ("sigmoid(x + 1) * x", 1), ("a * a", 2)],
)
def test_what_has_no_name_and_one_reader_has_no_line(body: str, lines: int) -> None:
    """A value gets a line if the spec names it, if it is read twice, or if its reader would be long."""
    named = "a = x + 1\n    " if "a" in body.split() else ""
    spec = f"op f(x: f32[M, N]) -> y: f32[M, N]:\n    {named}y = {body}\n"
    (op,) = compile_source(Source("written.fuse", spec), None)
    (kernel,) = (
        each for each in ast.parse(op.text).body if isinstance(each, ast.FunctionDef) and each.name == "_f_elementwise"
    )
    of = values(kernel)
    written = [each for each in kernel.body if isinstance(each, ast.Assign) and names(each.targets[0]) <= of]
    assert len([each for each in written if not any(map(is_load, ast.walk(each.value)))]) == lines


LAST, FIRST = "evict_last", "evict_first"

HINTS: dict[str, dict[str, dict[str, list[str | None]]]] = {
    "x * w": {"elementwise": {"x": [LAST], "w": [LAST]}},
    "rmsnorm(x, w, 1e-6, over=N)": {
        "rows": {"x": [LAST], "w": [None, None]},
        "row_loop": {"x": [LAST, FIRST], "w": [None]},
        "partial_sum_of_squares": {"x": [FIRST]},
        "combine": {"x": [LAST], "w": [LAST]},
    },
    "softmax(x * w, over=N)": {
        "resident": {"x": [LAST], "w": [None, None]},
        "row_loop": {"x": [LAST, LAST, FIRST], "w": [None, None, None]},
        "partial_total": {"x": [FIRST], "w": [None]},
    },
}
"""What kernels tell the cache of each load, in order: in a loop what is read again stays, and what all rows share."""


@pytest.mark.parametrize("body", HINTS)
def test_what_is_read_again_stays_in_the_cache(body: str) -> None:
    spec = f"op f(x: f32[M, N], w: f32[N] = 1) -> y: f32[M, N]:\n    y = {body}\n"
    (op,) = compile_source(Source("written.fuse", spec), None)
    found: dict[str, dict[str, list[str | None]]] = {}
    for kernel in ast.parse(op.text).body:
        if isinstance(kernel, ast.FunctionDef) and kernel.name.startswith("_f_"):
            told = found.setdefault(kernel.name.removeprefix("_f_"), {})
            loads = [each for each in ast.walk(kernel) if isinstance(each, ast.Call) and is_load(each)]
            for load in sorted(loads, key=lambda load: load.lineno):
                tensor = ast.unparse(load.args[0]).partition("_")[0]
                given = [*load.args, *(each.value for each in load.keywords)]
                hints = [each.value for each in given if isinstance(each, ast.Constant) and each.value in (LAST, FIRST)]
                told.setdefault(tensor, []).append(str(hints[0]) if hints else None)
    for plan, wanted in HINTS[body].items():
        assert {name: found[plan].get(name, []) for name in wanted} == wanted, plan
