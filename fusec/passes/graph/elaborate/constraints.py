"""`where` conditions on extents, and those that follow from how a spec uses its axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import sympy

from fusec.ir.expressions import Rename
from fusec.ir.graph import Constraint, Node
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Axis, Quotient, extent, symbol
from fusec.lang import syntax
from fusec.passes.graph.elaborate.report import Fault, Report

_COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")

_ARITHMETIC: dict[str, Callable[[sympy.Expr, sympy.Expr], sympy.Expr]] = {
    "add": lambda a, b: a + b,
    "sub": lambda a, b: a - b,
    "mul": lambda a, b: a * b,
    "floordiv": lambda a, b: sympy.floor(a / b),
    "mod": sympy.Mod,
}


class ConstraintFault(Fault):
    """A condition that is none on extents."""


def declared_constraints(
    conditions: Iterable[syntax.Condition], resolve: Callable[[syntax.Name], sympy.Expr | None], report: Report
) -> tuple[Constraint, ...]:
    """The conditions of `where` that speak of extents. `resolve` gives the extent of a name, or reports it."""
    found = []
    for condition in conditions:
        if isinstance(condition, syntax.Membership):
            continue
        try:
            constraint = _constraint(condition, resolve)
        except ConstraintFault as fault:
            report.add(fault.message, fault.span, help=fault.help)
            continue
        if constraint is not None:
            found.append(constraint)
    return tuple(found)


def implied_constraints(
    axes: Iterable[Axis], nodes: Iterable[Node], declared: tuple[Constraint, ...]
) -> tuple[Constraint, ...]:
    """What must hold although nobody wrote it: `D/2` needs an even D, a renamed axis keeps its extent."""
    known = {(c.left, c.relation, c.right) for c in declared}
    found: dict[tuple[sympy.Expr, str, sympy.Expr], Constraint] = {}
    for axis in axes:
        if isinstance(axis, Quotient):
            left, text = sympy.Mod(symbol(axis.of.name), axis.by), f"{axis.of} % {axis.by} == 0"
            found[left, "==", sympy.Integer(0)] = Constraint(left, "==", sympy.Integer(0), text)
    for node in nodes:
        if isinstance(node.expr, Rename):
            left, right = extent(node.expr.new), extent(node.expr.old)
            text = f"{node.expr.new} == {node.expr.old}"
            found[left, "==", right] = Constraint(left, "==", right, text, node.span)
    return tuple(constraint for key, constraint in found.items() if key not in known)


def _constraint(condition: syntax.Expr, resolve: Callable[[syntax.Name], sympy.Expr | None]) -> Constraint | None:
    match condition:
        case syntax.Binary(op=op, left=left, right=right, span=span) if op in _COMPARISONS:
            sides = (_number(left, resolve), _number(right, resolve))
            if sides[0] is None or sides[1] is None:
                return None
            if not (sides[0].free_symbols | sides[1].free_symbols):
                raise ConstraintFault("this condition is about no axis", span)
            relation = ELEMENTWISE[op].symbol
            assert relation is not None
            return Constraint(sides[0], relation, sides[1], span.text, span)
        case syntax.Binary(op="and", span=span):
            raise ConstraintFault("this is no single condition", span, "separate conditions by commas; all must hold")
        case _:
            help = "a condition compares extents, as in `D % 2 == 0`, or binds a type variable, as in `T in {f16, f32}`"
            raise ConstraintFault("this is no condition", condition.span, help)


def _number(expr: syntax.Expr, resolve: Callable[[syntax.Name], sympy.Expr | None]) -> sympy.Expr | None:
    match expr:
        case syntax.Name():
            return resolve(expr)
        case syntax.Number(value=int(value)):
            return sympy.Integer(value)
        case syntax.Binary(op=op, left=left, right=right) if op in _ARITHMETIC:
            a, b = _number(left, resolve), _number(right, resolve)
            if a is None or b is None:
                return None
            if b == 0 and op in ("mod", "floordiv"):
                raise ConstraintFault("this divides by zero", right.span)
            found = _ARITHMETIC[op](a, b)
            if any(abs(number) >= 2**63 for number in found.atoms(sympy.Integer)):
                raise ConstraintFault("this makes a number that does not fit into 64 bits", expr.span)
            return found
        case syntax.Binary(op="div", span=span):
            raise ConstraintFault("extents are divided with `//`", span)
        case _:
            raise ConstraintFault("this is no whole number", expr.span, "use axes, whole numbers, `+ - * // %`")
