"""Random specs are well typed, mean something, stay within a narrow bound, and reach all of the language."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from functools import cache
from hashlib import sha256
from itertools import combinations, product
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from specimens import graph

import fusec
from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source
from fusec.ir.expressions import Cast, Choose, Dot, Gather, Index, Merge, Part, Reduce, Rename, Scalar, operands
from fusec.ir.graph import Graph, walk
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import DTYPES
from fusec.lang import syntax
from fusec.lang.parse import parse
from fusec.numerics.envelope import envelope
from fusec.passes.graph.elaborate.constants import CONSTANTS
from fusec.passes.graph.elaborate.primitives import PRIMITIVES
from fusec.passes.graph.elaborate.signature import KINDS
from fusec.reference.evaluate import evaluate
from fusec.testing.cases import Case, build
from fusec.testing.random_specs import text
from fusec.testing.strategies import Budget, cases

SEEDS = 500
"""Specs in which all of the language has to turn up."""

brief = settings(
    max_examples=3,
    derandomize=True,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_random_spec_has_a_meaning_and_a_narrow_bound(spec_seed: int) -> None:
    op = graph(text(spec_seed))

    @brief
    @given(cases(op, Budget(rows=4, elements=200)))
    def meaningful(case: Case) -> None:
        arguments = build(op, case).arguments
        named = {output.name for output in op.outputs} | {scatter.param for scatter in op.scatters}
        assert evaluate(op, arguments).keys() == named
        bounds = envelope(op, arguments)
        if not case.values and not op.scatters:
            numbers = [bound for bound in bounds.values() if bound.value.is_floating_point()]
            assert not any(bound.unknown.any() for bound in numbers)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        meaningful()


PRINT = "import hashlib; from fusec.testing.random_specs import text; print(*(text(n) for n in range(100)))"


@pytest.mark.parametrize("hashes", ["1", "2"])
def test_a_seed_gives_the_same_spec_in_every_process(hashes: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": hashes}
    printed = subprocess.run([sys.executable, "-c", PRINT], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == " ".join(text(number) for number in range(100)).strip()


def test_another_seed_gives_another_spec() -> None:
    bodies = {sha256(text(number).partition("(")[2].encode()).hexdigest() for number in range(100)}
    assert len(bodies) == 100


# --- What turns up ---------------------------------------------------------------------------------------------------

NOT_DRAWN = {
    "segment": "op f(o: i32[B + 1], n: dim(N)) -> y: i32[N]:\n    y = segment(o, N)\n",
    "Bare": "op f(x: f32[N]) -> y: f32[N]:\n    x\n    y = x\n",
}
"""What of the language random specs leave out, each with a spec that is refused for it."""


@cache
def drawn() -> frozenset[str]:
    """Every word and every kind of syntax that stands in some spec."""
    return frozenset(word for number in range(SEEDS) for word in _written(Source("random.fuse", text(number))))


def _written(source: Source) -> Iterator[str]:
    file = parse(source)
    for definition in (*file.ops, *file.fns):
        for statement in definition.body:
            yield type(statement).__name__
            targets = statement.targets if isinstance(statement, syntax.Assign) else ()
            for value in (*targets, statement.value):
                yield from _words(value)
    for op in file.ops:
        yield from (type(condition).__name__ for condition in op.conditions)
        for declared in (*op.params, *op.results):
            yield type(declared.type).__name__
            if isinstance(declared.type, syntax.TensorType | syntax.ScalarType):
                yield declared.type.element.text
            if isinstance(declared, syntax.Param):
                yield "given" if declared.default is None else "omitted"
                yield declared.kind.text if declared.kind else "plain"


def _words(value: syntax.Expr) -> Iterator[str]:
    for each in syntax.walk(value):
        yield type(each).__name__
        match each:
            case syntax.Name(text=word) | syntax.Binary(op=word) | syntax.Unary(op=word):
                yield word
            case syntax.Call(callee=callee, args=args):
                yield callee.text
                yield from (f"{a.keyword.text}={a.value.span.text}" for a in args if a.keyword)


def language() -> set[str]:
    """Every word that the language gives a meaning to, and every kind of syntax that the body of an op is made of."""
    library = (Path(fusec.__file__).parent / "lang" / "std.fuse").read_text()
    kinds = (*get_args(syntax.Expr), *get_args(syntax.Statement), *get_args(syntax.ParamType), syntax.Membership)
    return {
        *ELEMENTWISE,
        *PRIMITIVES,
        *CONSTANTS,
        *DTYPES,
        *(fn.name.text for fn in parse(Source("std.fuse", library)).fns),
        *(f"{place.name}={word}" for each in PRIMITIVES.values() for place in each.places for word in place.words),
        *(kind.__name__ for kind in kinds),
        *KINDS,
        *("plain", "given", "omitted"),
    }


def test_all_of_the_language_turns_up() -> None:
    assert language() - drawn() - NOT_DRAWN.keys() == set()


@pytest.mark.parametrize("word", NOT_DRAWN)
def test_what_is_left_out_is_refused(word: str) -> None:
    """What is built one day has to be drawn from then on."""
    source = Source("refused.fuse", NOT_DRAWN[word])
    assert word in language() - drawn()
    assert word in _written(source)
    with pytest.raises(SpecError):
        compile_source(source, None)


OUTER = (Dot, Reduce, Part, Merge, Rename, Cast, Choose)
INNER = (*OUTER, Gather, Index, Scalar)


@cache
def graphs() -> tuple[Graph, ...]:
    return tuple(graph(text(number)) for number in range(SEEDS))


def test_every_construct_stands_behind_every_other() -> None:
    found = {pair for op in graphs() for pair in _behind(op)}
    wanted = {(outer.__name__, inner.__name__) for outer, inner in product(OUTER, INNER)}
    assert wanted - found == set()


def _behind(op: Graph) -> Iterator[tuple[str, str]]:
    """The kinds of expressions that are computed from others, however far behind them."""
    below: dict[int, set[str]] = {}
    for number, node in walk(op):
        below[number] = {name for n in operands(node.expr) for name in (*below[n], type(op.nodes[n].expr).__name__)}
        yield from ((type(node.expr).__name__, name) for name in below[number])


@pytest.mark.parametrize(
    "form",
    [
        *("...", "H*D", "G*L", "P + Q", "dim(", "L == 16", "% 2 == 0", "% 4 == 0", "R0 ==", "N == 24", "x0: T[8"),
        *("weight ", " = 0", "over=...", "over=(H, D)", "over=D/2)", "over=M)", "-> (", "-> y0"),
    ],
)
def test_every_form_of_a_signature_turns_up(form: str) -> None:
    assert any(form in text(number) for number in range(SEEDS))


FEATURES = {
    "two dots of one operand": lambda op: any(
        {*operands(op.nodes[a].expr)} & {*operands(op.nodes[b].expr)} for a, b in combinations(_dots(op), 2)
    ),
    "a dot of several axes": lambda op: any(len(op.nodes[n].expr.axes) > 1 for n in _dots(op)),
    "outputs of different axes": lambda op: len({op.nodes[output.value].type.axes for output in op.outputs}) > 1,
    "an output broadcast along an axis": lambda op: any(
        {axis for dim in output.dims for axis in dim} > {*op.nodes[output.value].type.axes} for output in op.outputs
    ),
    "a write through a tensor of indices": lambda op: any(
        not isinstance(op.nodes[index].expr, Index) for scatter in op.scatters for index in scatter.indices
    ),
    "a write in place": lambda op: any(
        all(isinstance(op.nodes[index].expr, Index) for index in scatter.indices) for scatter in op.scatters
    ),
    "a gather reduced over its index's axis": lambda op: any(
        {*node.expr.axes} & {axis for n in op.nodes[below].expr.indices for axis in op.nodes[n].type.axes}
        for _, node in walk(op)
        if isinstance(node.expr, Reduce)
        for below in _all_below(op, node.expr.arg)
        if isinstance(op.nodes[below].expr, Gather)
    ),
    "an index that is looked up": lambda op: any(
        isinstance(op.nodes[below].expr, Gather)
        for _, node in walk(op)
        if isinstance(node.expr, Gather)
        for index in node.expr.indices
        for below in _all_below(op, index)
    ),
    "a literal axis that is reduced": lambda op: any(
        str(axis).isdigit() for _, node in walk(op) if isinstance(node.expr, Reduce) for axis in node.expr.axes
    ),
}


def _dots(op: Graph) -> list[int]:
    return [number for number, node in walk(op) if isinstance(node.expr, Dot)]


def _all_below(op: Graph, number: int) -> Iterator[int]:
    yield number
    for each in operands(op.nodes[number].expr):
        yield from _all_below(op, each)


@pytest.mark.parametrize("feature", FEATURES)
def test_features_meet_often_enough(feature: str) -> None:
    assert sum(FEATURES[feature](op) for op in graphs()) >= SEEDS // 100
