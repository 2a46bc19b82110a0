"""Planted faults: the same Triton file with one thing wrong, to see whether the tests would notice.

A mutation changes one place of one kernel. `mutants` yields a source for every place at which one applies.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import TypeAlias

Change: TypeAlias = Callable[[ast.AST], ast.AST | None]
"""From a node of a kernel the faulty node, which may be the same one altered; None where the fault does not apply."""


@dataclass(frozen=True, slots=True)
class Mutation:
    """A kind of mistake that a kernel, or the compiler that wrote it, may contain."""

    name: str
    change: Change


@dataclass(frozen=True, slots=True)
class Mutant:
    """A source with the fault `mutation` on line `line` of the original."""

    mutation: str
    line: int
    source: str


def mutants(source: str, names: tuple[str, ...] = ()) -> Iterator[Mutant]:
    """Every faulty version of `source` by the mutations in `names`, all of `MUTATIONS` when empty."""
    planted: dict[str, list[Mutant]] = {mutation.name: [] for mutation in MUTATIONS}
    for node in _places(source):
        copy = deepcopy(node)
        for mutation in MUTATIONS:
            if names and mutation.name not in names:
                continue
            if (faulty := mutation.change(copy)) is not None:
                planted[mutation.name].append(Mutant(mutation.name, node.lineno, _replaced(source, node, faulty)))
                copy = deepcopy(node)
    for found in planted.values():
        yield from found


def _places(source: str) -> list[ast.expr | ast.stmt]:
    """The expressions and statements within kernels, in the order of the text."""
    kernels = [
        node
        for node in ast.parse(source).body
        if isinstance(node, ast.FunctionDef) and any("jit" in ast.unparse(each) for each in node.decorator_list)
    ]
    nodes = [node for kernel in kernels for line in kernel.body for node in ast.walk(line)]
    places = [node for node in nodes if isinstance(node, ast.expr | ast.stmt)]
    return sorted(places, key=lambda node: (node.lineno, node.col_offset))


def _replaced(source: str, node: ast.expr | ast.stmt, faulty: ast.AST) -> str:
    """`source` with another node where `node` stood, and every other line as it was."""
    text = ast.unparse(ast.fix_missing_locations(faulty))
    text = f"({text})" if isinstance(node, ast.expr) else text.replace("\n", "\n" + " " * node.col_offset)
    lines = source.encode().splitlines(keepends=True)
    assert node.end_lineno is not None
    before = b"".join(lines[: node.lineno - 1]) + lines[node.lineno - 1][: node.col_offset]
    after = lines[node.end_lineno - 1][node.end_col_offset :] + b"".join(lines[node.end_lineno :])
    return (before + text.encode() + after).decode()


def _calls(node: ast.AST, *names: str) -> ast.Call | None:
    """The call that `node` is, if it is one of `tl.NAME` or `x.NAME`."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in names:
        return node
    return None


def _operation(node: ast.AST, kind: type[ast.operator]) -> ast.BinOp | None:
    return node if isinstance(node, ast.BinOp) and isinstance(node.op, kind) else None


def _expression(text: str, **parts: ast.expr) -> ast.expr:
    """The expression `text`, its names replaced by `parts`."""

    class Fill(ast.NodeTransformer):
        def visit_Name(self, node: ast.Name) -> ast.expr:
            return parts.get(node.id, node)

    filled: ast.expr = Fill().visit(ast.parse(text, mode="eval").body)
    return filled


def _wrong_epsilon(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.Name) and "eps" in node.id and isinstance(node.ctx, ast.Load):
        return _expression("x * 4", x=node)
    return None


def _without(node: ast.AST, function: str, *keywords: str) -> ast.AST | None:
    call = _calls(node, function)
    if call is None or not any(keyword.arg == keywords[0] for keyword in call.keywords):
        return None
    call.keywords = [keyword for keyword in call.keywords if keyword.arg not in keywords]
    return call


def _wrong_filler(node: ast.AST) -> ast.AST | None:
    call = _calls(node, "load")
    filler = next((keyword for keyword in call.keywords if keyword.arg == "other"), None) if call else None
    if filler is None:
        return None
    filler.value = ast.Constant(1.0)
    return call


def _swapped_halves(node: ast.AST) -> ast.AST | None:
    difference = _difference_of_products(node)
    if difference is not None:
        difference.left, difference.right = difference.right, difference.left
    return difference


def _flipped_sign(node: ast.AST) -> ast.AST | None:
    difference = _difference_of_products(node)
    if difference is not None:
        difference.op = ast.Add()
    return difference


def _difference_of_products(node: ast.AST) -> ast.BinOp | None:
    difference = _operation(node, ast.Sub)
    if difference and _operation(difference.left, ast.Mult) and _operation(difference.right, ast.Mult):
        return difference
    return None


def _rounded_too_early(node: ast.AST) -> ast.AST | None:
    call = _calls(node, "rsqrt", "exp", "exp2", "sum", "sqrt", "div_rn", "fdiv")
    return _expression("x.to(tl.bfloat16).to(tl.float32)", x=call) if call else None


def _added_in_half(node: ast.AST) -> ast.AST | None:
    call = _calls(node, "sum")
    if call is None:
        return None
    call.args[0] = _expression("x.to(tl.float16)", x=call.args[0])
    return _expression("x.to(tl.float32)", x=call)


def _compared(node: ast.AST, text: str) -> ast.AST | None:
    if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Lt) and len(node.ops) == 1:
        return _expression(text, a=node.left, b=node.comparators[0])
    return None


def _wrong_stride(node: ast.AST) -> ast.AST | None:
    total = _operation(node, ast.Add)
    if total is None or "_ptr" not in ast.unparse(total.left):
        return None
    step = next((found for each in ast.walk(total.right) if (found := _operation(each, ast.Mult))), None)
    if step is None:
        return None
    step.right = _expression("x + 1", x=step.right)
    return total


def _missing_factor(node: ast.AST) -> ast.AST | None:
    product = _operation(node, ast.Mult)
    if product is None or not isinstance(product.right, ast.Name) or _names_a_place(product.right.id):
        return None
    return product.left


def _names_a_place(name: str) -> bool:
    return name.isupper() or any(part in name for part in ("stride", "row", "column", "count", "extent"))


def _maximum_for_sum(node: ast.AST) -> ast.AST | None:
    call = _calls(node, "sum")
    if call is None:
        return None
    call.func = _expression("tl.max")
    return call


def _nan_lost_in_comparison(node: ast.AST) -> ast.AST | None:
    return _without(node, "maximum", "propagate_nan") or _without(node, "minimum", "propagate_nan")


def _nan_lost_in_reduction(node: ast.AST) -> ast.AST | None:
    call = _calls(node, "reduce")
    if call is None or len(call.args) < 3:
        return None
    call.func = _expression("tl.min" if "min" in ast.unparse(call.args.pop(2)).lower() else "tl.max")
    return call


def _wrong_divisor(node: ast.AST) -> ast.AST | None:
    quotient = _operation(node, ast.Div)
    if quotient is None:
        return None
    quotient.right = _expression("x + 1", x=quotient.right)
    return quotient


def _shared_programs(node: ast.AST) -> ast.AST | None:
    call = _calls(node, "program_id")
    return _expression("x // 2", x=call) if call else None


def _narrow_offset(node: ast.AST) -> ast.AST | None:
    call = _calls(node, "to")
    if call is None or not isinstance(call.func, ast.Attribute) or ast.unparse(call.args[0]) != "tl.int64":
        return None
    return call.func.value


def _other_base(node: ast.AST) -> ast.AST | None:
    call = _calls(node, "exp", "exp2")
    if call is None or not isinstance(call.func, ast.Attribute):
        return None
    call.func.attr = "exp" if call.func.attr == "exp2" else "exp2"
    return call


def _swapped_cases(node: ast.AST) -> ast.AST | None:
    call = _calls(node, "where")
    if call is None:
        return None
    call.args[1], call.args[2] = call.args[2], call.args[1]
    return call


def _lost_accumulator(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        return ast.Assign([node.target], node.value, lineno=node.lineno)
    return None


def _last_chunk_skipped(node: ast.AST) -> ast.AST | None:
    if isinstance(node, ast.For) and isinstance(node.iter, ast.Call) and len(node.iter.args) == 3:
        node.iter.args[1] = _expression("a - b", a=node.iter.args[1], b=node.iter.args[2])
        return node
    return None


MUTATIONS = (
    Mutation("wrong epsilon", _wrong_epsilon),
    Mutation("mask dropped from a load", lambda node: _without(node, "load", "mask", "other")),
    Mutation("mask dropped from a store", lambda node: _without(node, "store", "mask")),
    Mutation("wrong filler behind the end", _wrong_filler),
    Mutation("halves swapped", _swapped_halves),
    Mutation("sign of a rotation flipped", _flipped_sign),
    Mutation("rounded to bf16 too early", _rounded_too_early),
    Mutation("added up in f16", _added_in_half),
    Mutation("one element too few", lambda node: _compared(node, "a < b - 1")),
    Mutation("one element too many", lambda node: _compared(node, "a <= b")),
    Mutation("wrong stride", _wrong_stride),
    Mutation("factor missing", _missing_factor),
    Mutation("maximum instead of sum", _maximum_for_sum),
    Mutation("NaN lost in a comparison", _nan_lost_in_comparison),
    Mutation("NaN lost in a reduction", _nan_lost_in_reduction),
    Mutation("wrong divisor", _wrong_divisor),
    Mutation("two programs on one row", _shared_programs),
    Mutation("offset in 32 bits", _narrow_offset),
    Mutation("exponential of the wrong base", _other_base),
    Mutation("cases of a choice swapped", _swapped_cases),
    Mutation("accumulator overwritten", _lost_accumulator),
    Mutation("last chunk skipped", _last_chunk_skipped),
)
"""All kinds of faults, each to be caught by the tests wherever it applies and changes what the kernel means."""
