"""Syntax trees to text, and random ones: the way back of the parser."""

from __future__ import annotations

from typing import assert_never

from hypothesis import strategies as st

from fusec.diagnostics import Source, Span
from fusec.lang import syntax
from fusec.lang.build_tree import BINARY

NOWHERE = Span(Source("random", ""), 0, 0)
SIGNS = {name: sign for sign, name in BINARY.items()}


def text_of(node: syntax.Definition | syntax.Expr) -> str:
    """Text that reads as `node`, with every bracket written out."""
    match node:
        case syntax.Use(name):
            return f"use {name.text}\n"
        case syntax.Fn(name, params, doc, body):
            return f"fn {name.text}({', '.join(p.text for p in params)}):\n{_block(doc, body)}"
        case syntax.Op():
            return _op(node)
        case syntax.Module(name, settings, op):
            return f"module {name.text}({', '.join(map(_setting, settings))}) of {op.text}\n"
        case syntax.Overload(name, op):
            return f"overload {name.text} of {op.text}\n"
        case _:
            return _expr(node)


def _op(op: syntax.Op) -> str:
    params = ", ".join(map(_param, op.params))
    results = ", ".join(f"{result.name.text}: {_type(result.type)}" for result in op.results)
    arrow = f" -> ({results})" if len(op.results) > 1 else f" -> {results}" if results else ""
    where = ", ".join(map(_condition, op.conditions))
    return f"op {op.name.text}({params}){arrow}{f' where {where}' if where else ''}:\n{_block(op.doc, op.body)}"


def _param(param: syntax.Param) -> str:
    kind = f"{param.kind.text} " if param.kind else ""
    default = f" = {_expr(param.default)}" if param.default else ""
    return f"{kind}{param.name.text}: {_type(param.type)}{default}"


def _setting(setting: syntax.Setting) -> str:
    dim = f": {_expr(setting.dim)}" if setting.dim else ""
    default = f" = {_expr(setting.default)}" if setting.default else ""
    return f"{setting.name.text}{dim}{default}"


def _type(type: syntax.ParamType) -> str:
    match type:
        case syntax.TensorType(element, dims):
            return f"{element.text}[{', '.join(map(_expr, dims))}]"
        case syntax.ScalarType(element):
            return element.text
        case syntax.DimType(word, axis):
            return f"{word.text}({axis.text})"
        case syntax.ChoiceType(options):
            return f"{{{', '.join(option.text for option in options)}}}"
        case _:
            assert_never(type)


def _condition(condition: syntax.Condition) -> str:
    if isinstance(condition, syntax.Membership):
        return f"{condition.variable.text} in {{{', '.join(option.text for option in condition.options)}}}"
    return _expr(condition)


def _block(doc: str, body: tuple[syntax.Statement, ...]) -> str:
    lines = [f'"""{doc}"""'] if doc else []
    for statement in body:
        match statement:
            case syntax.Assign(targets, value):
                lines.append(f"{', '.join(map(_expr, targets))} = {_expr(value)}")
            case syntax.Return(value):
                lines.append(f"return {_expr(value)}")
            case syntax.Bare(value):
                lines.append(_expr(value))
            case _:
                assert_never(statement)
    return "".join(f"    {line}\n" for line in lines)


def _expr(expr: syntax.Expr) -> str:
    match expr:
        case syntax.Name(text):
            return text
        case syntax.Number(value):
            return repr(value)
        case syntax.Dots():
            return "..."
        case syntax.Unary(op, operand):
            return f"({'-' if op == 'neg' else 'not '}{_expr(operand)})"
        case syntax.Binary(op, left, right):
            return f"({_expr(left)} {SIGNS[op]} {_expr(right)})"
        case syntax.Call(callee, args):
            return f"{callee.text}({', '.join(map(_argument, args))})"
        case syntax.Lookup(target, indices):
            return f"{_expr(target)}[{', '.join(map(_expr, indices))}]"
        case syntax.Several(items):
            return f"({', '.join(map(_expr, items))},)"
        case syntax.Arrow(old, new):
            return f"{_expr(old)} -> {_expr(new)}"
        case _:
            assert_never(expr)


def _argument(argument: syntax.Argument) -> str:
    return f"{argument.keyword.text}={_expr(argument.value)}" if argument.keyword else _expr(argument.value)


ANY_NAME = st.from_regex(r"[a-zA-Z_][a-zA-Z0-9_]{0,5}", fullmatch=True)


def definitions(words: st.SearchStrategy[str] = ANY_NAME) -> st.SearchStrategy[syntax.Definition]:
    """Definitions that the grammar admits, sensible or not, with names made of `words`."""
    names = st.builds(syntax.Name, words.filter(_free), _nowhere())
    numbers = st.integers(0, 2**63 - 1) | st.floats(0, 1e300)
    leaves = names | st.builds(syntax.Number, numbers, _nowhere()) | st.builds(syntax.Dots, _nowhere())
    exprs = st.recursive(leaves, lambda inner: _compound(names, inner), max_leaves=12)
    targets = _some(exprs.filter(lambda expr: not isinstance(expr, syntax.Several)), 1)
    statements = st.builds(syntax.Assign, targets, exprs, _nowhere()) | st.builds(syntax.Bare, exprs, _nowhere())
    body = st.lists(statements | st.builds(syntax.Return, exprs, _nowhere()), min_size=1, max_size=4).map(tuple)
    doc = st.sampled_from(["", "What it does.", "{{ x }}", "op f(x):", "# no comment"])
    types = st.one_of(
        st.builds(syntax.TensorType, names, _some(exprs), _nowhere()),
        st.builds(syntax.ScalarType, names, _nowhere()),
        st.builds(syntax.DimType, names, names, _nowhere()),
        st.builds(syntax.ChoiceType, _some(names), _nowhere()),
    )
    params = st.builds(syntax.Param, st.none() | names, names, types, st.none() | exprs, _nowhere())
    settings = st.builds(syntax.Setting, names, st.none() | exprs, st.none() | exprs, _nowhere())
    results = st.builds(syntax.Result, names, types, _nowhere())
    conditions = exprs | st.builds(syntax.Membership, names, _some(names), _nowhere())
    return st.one_of(
        st.builds(syntax.Use, names, _nowhere()),
        st.builds(syntax.Fn, names, _some(names), doc, body, _nowhere()),
        st.builds(syntax.Module, names, _some(settings), names, _nowhere()),
        st.builds(syntax.Overload, names, names, _nowhere()),
        st.builds(syntax.Op, names, _some(params), _some(results), _some(conditions), doc, body, _nowhere()),
    )


def _compound(
    names: st.SearchStrategy[syntax.Name], inner: st.SearchStrategy[syntax.Expr]
) -> st.SearchStrategy[syntax.Expr]:
    renamings = st.builds(syntax.Arrow, inner, inner, _nowhere())
    arguments = st.builds(syntax.Argument, inner, st.none() | names, _nowhere())
    arguments |= st.builds(syntax.Argument, renamings, st.none(), _nowhere())
    return st.one_of(
        st.builds(syntax.Unary, st.sampled_from(["neg", "not"]), inner, _nowhere()),
        st.builds(syntax.Binary, st.sampled_from(sorted(SIGNS)), inner, inner, _nowhere()),
        st.builds(syntax.Call, names, _some(arguments), _nowhere()),
        st.builds(syntax.Lookup, names, _some(inner, 1), _nowhere()),
        st.builds(syntax.Several, _some(inner, 1), _nowhere()),
    )


def _some(items: st.SearchStrategy[object], least: int = 0) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(items, min_size=least, max_size=3).map(tuple)


def _nowhere() -> st.SearchStrategy[Span]:
    return st.just(NOWHERE)


def _free(text: str) -> bool:
    return text not in ("and", "or", "not", "in", "return", "where")
