"""No pass, no printer, no rule of the runtime knows an operation by name: what it asks of one is a trait.

To write an operation (`Elementwise("mul", ...)`) is no question, and a spelling is no decision.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import fusec
from fusec.ir.ops import ELEMENTWISE, REDUCTIONS

ROOT = Path(fusec.__file__).parent
FOLDERS = ("ir", "passes", "codegen", "runtime", "reference", "numerics")
OPS = {*ELEMENTWISE, *REDUCTIONS}

GIVEN_BY_NAME = {
    "passes/graph/elaborate/constraints.py": "relations and arithmetic of extents, as the grammar of `where` has them",
    "passes/graph/elaborate/defaults.py": "the sign before a default",
    "passes/graph/elaborate/dims.py": "a product, a sum and a quotient of axes",
    "passes/graph/elaborate/expressions.py": "the sign before a literal",
    "passes/graph/elaborate/scope.py": "a product, a sum and a quotient of axes",
    "ir/ops.py": "the sign in front of an operation",
    "ir/advice.py": "what to write instead of each operation",
    "ir/computed_sizes.py": "operators of Python",
    "ir/reserved.py": "words of Python",
    "codegen/triton.py": "what each operation is called in Triton",
    "reference/meaning.py": "what each operation is in PyTorch",
    "reference/emit/spelling.py": "what each operation is called in PyTorch",
    "reference/emit/prelude.py": "words of Python",
    "reference/emit/names.py": "words of Python",
    "numerics/operations.py": "what each operation makes of intervals",
    "numerics/precision.py": "how far each operation may be off",
    "runtime/device.py": "functions of a kernel, which are called like operations",
}
"""What the language itself, Triton or PyTorch gives by name, and tables with an entry for every operation."""


def questions(tree: ast.AST) -> Iterator[int]:
    """The lines that ask whether something has the name of an operation, or look something up under it."""
    for node in ast.walk(tree):
        for asked in _asked(node):
            if isinstance(asked, ast.Constant) and asked.value in OPS:
                yield asked.lineno


def _asked(node: ast.AST) -> list[ast.expr | None]:
    match node:
        case ast.Compare(left=left, comparators=comparators):
            return [left, *comparators]
        case ast.MatchValue(value=value):
            return [value]
        case ast.Tuple(elts=elements) | ast.List(elts=elements) | ast.Set(elts=elements):
            return [*elements]
        case ast.Dict(keys=keys):
            return [*keys]
        case ast.Subscript(slice=key):
            return [key]
        case _:
            return []


def asking() -> dict[str, list[int]]:
    files = (path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py")))
    found = {path: sorted(set(questions(ast.parse(path.read_text(encoding="utf-8"))))) for path in files}
    return {path.relative_to(ROOT).as_posix(): lines for path, lines in found.items() if lines}


def test_no_decision_is_taken_by_the_name_of_an_operation() -> None:
    assert {file: lines for file, lines in asking().items() if file not in GIVEN_BY_NAME} == {}


def test_every_exception_is_needed() -> None:
    assert GIVEN_BY_NAME.keys() <= asking().keys()


@pytest.mark.parametrize(
    "text",
    [
        'op == "div"',
        'op in ("exp", "exp2")',
        'ELEMENTWISE["add"]',
        'TABLE = {"sin": 1}',
        'match expr:\n    case Elementwise(op="mul"):\n        pass',
        'match op:\n    case "abs" | "neg":\n        pass',
    ],
)
def test_a_question_is_seen(text: str) -> None:
    assert list(questions(ast.parse(text)))


@pytest.mark.parametrize("text", ['Elementwise("mul", (a, b))', 'op = "div" if divides else "mul"', 'sorted("add")'])
def test_writing_an_operation_is_no_question(text: str) -> None:
    assert not list(questions(ast.parse(text)))
