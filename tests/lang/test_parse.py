"""Text to syntax tree: precedence, spans, layout, and text that is no spec."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from writing import definitions, text_of

from fusec.diagnostics import Source, Span
from fusec.lang import syntax
from fusec.lang.load import standard_library
from fusec.lang.parse import MAX_DEPTH, MAX_LENGTH, parse

HEADER = "op f(x: f32[N]) -> y: f32[N]:\n"


def body_of(text: str) -> tuple[syntax.Statement, ...]:
    file = parse(Source("spec.fuse", f"{HEADER}    {text}\n"))
    assert file.faults == ()
    return file.ops[0].body


def value_of(text: str) -> syntax.Expr:
    (statement,) = body_of(f"y = {text}")
    assert isinstance(statement, syntax.Assign)
    return statement.value


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("a + b * c", "a + (b * c)"),
        ("a - b - c", "(a - b) - c"),
        ("a / b * c", "(a / b) * c"),
        ("-a ** 2", "-(a ** 2)"),
        ("a ** b ** c", "a ** (b ** c)"),
        ("a ** -b", "a ** (-b)"),
        ("-a * b", "(-a) * b"),
        ("a // b % c", "(a // b) % c"),
        ("a + b < c - d", "(a + b) < (c - d)"),
        ("not a == b and c or d", "((not (a == b)) and c) or d"),
        ("f(a)[i, j] * 2", "(f(a)[i, j]) * 2"),
    ],
)
def test_precedence(text: str, same: str) -> None:
    assert text_of(value_of(text)) == text_of(value_of(same))


def test_spans_are_what_was_written() -> None:
    call = value_of("rmsnorm(x, w + 1, eps, over=(H, D))  # a comment")
    assert isinstance(call, syntax.Call)
    assert call.span.text == "rmsnorm(x, w + 1, eps, over=(H, D))"
    assert call.callee.span.text == "rmsnorm"
    assert [argument.span.text for argument in call.args] == ["x", "w + 1", "eps", "over=(H, D)"]
    assert [argument.value.span.text for argument in call.args] == ["x", "w + 1", "eps", "H, D"]
    assert str(call.args[1].span) == "spec.fuse:2:20"


def test_spans_in_later_definitions() -> None:
    text = f"{HEADER}    y = x\n\nfn g(a):\n    return a\n"
    (fn,) = parse(Source("spec.fuse", text)).fns
    assert fn.name.span == Span(fn.name.span.source, text.index("g(a)"), text.index("g(a)") + 1)
    assert fn.body[0].span.text == "return a"


def test_line_ends_do_not_matter() -> None:
    text = "op f(\n    x: f32[N],  # one\n)\n  -> y: f32[N]\nwhere N > 1,\n      N < 9:\n    '''\n    y = exp(\n  x)\n"
    text = text.replace("'''", '"""A docstring."""')
    unix, windows = (parse(Source("spec.fuse", text.replace("\n", end))) for end in ("\n", "\r\n"))
    assert unix.faults == windows.faults == ()
    assert text_of(unix.ops[0]) == text_of(windows.ops[0])
    assert len(unix.ops[0].conditions) == 2


def test_a_byte_order_mark_does_not_matter() -> None:
    file = parse(Source("spec.fuse", f"\ufeff{HEADER}    y = x\n"))
    assert file.faults == ()
    assert file.ops[0].name.span.text == "f"


def test_comments_are_no_continuation() -> None:
    file = parse(Source("spec.fuse", f"{HEADER}    # this -> that\n    y = x  # where -> T\n\n# -> end\n"))
    assert file.faults == ()


def test_docstring_is_dedented_and_stays_text() -> None:
    text = f'{HEADER}    """First {{{{ x }}}} \\n.\n\n      Second.\n    """\n    y = x\n'
    file = parse(Source("spec.fuse", text))
    assert file.ops[0].doc == "First {{ x }} \\n.\n\nSecond."


def test_definitions_in_docstrings_and_comments_are_none() -> None:
    text = f'# op g(x\n{HEADER}    """\nop h(x: f32[N])\n"""\n    y = x\n'
    file = parse(Source("spec.fuse", text))
    assert file.faults == ()
    assert [op.name.text for op in file.ops] == ["f"]


def test_one_broken_definition_does_not_hide_the_others() -> None:
    file = parse(Source("spec.fuse", f"fn g(x:\n    return x\n\n{HEADER}    y = x\n\nfn h(x):\n    return )\n"))
    assert file.broken == {"g", "h"}
    assert [op.name.text for op in file.ops] == ["f"]
    assert [str(fault.span) for fault in file.faults] == ["spec.fuse:1:7", "spec.fuse:8:12"]


def test_limits() -> None:
    long = parse(Source("spec.fuse", "#" * (MAX_LENGTH + 1)))
    assert len(long.faults) == 1
    for deep in ("-" * 5000 + "x", "f(" * 5000 + "x" + ")" * 5000, "x" + "**x" * 5000, "x + " * 5000 + "x"):
        (fault,) = parse(Source("spec.fuse", f"{HEADER}    y = {deep}\n")).faults
        assert fault.message == "this is nested too deeply"
    assert parse(Source("spec.fuse", f"{HEADER}    y = {'-' * MAX_DEPTH}x\n")).faults
    assert not parse(Source("spec.fuse", f"{HEADER}    y = {'-' * (MAX_DEPTH - 5)}x\n")).faults


def test_standard_library_is_well_formed() -> None:
    standard = standard_library()
    assert standard.faults == ()
    assert all(fn.doc for fn in standard.fns)


@given(definitions())
@settings(max_examples=200, deadline=None)
def test_what_is_written_is_read(definition: syntax.Definition) -> None:
    text = text_of(definition)
    file = parse(Source("spec.fuse", text))
    assert file.faults == ()
    (read,) = (*file.ops, *file.fns, *file.modules, *file.overloads, *file.uses)
    assert text_of(read) == text


WORDS = (
    "op ",
    "fn ",
    "module ",
    "overload ",
    "of ",
    "use ",
    "where ",
    "in ",
    "return ",
    "not ",
    "dim",
    "weight ",
    "mut ",
    "f",
    "x",
    "T",
)
SIGNS = ("(", ")", "[", "]", "{", "}", ":", ",", "=", "->", "...", "+", "-", "**", "//", "==", '"""', "#", "'", "\\")
BLANKS = ("\n", "\n    ", "\n  ", "\t", "\r", "\0", "\x0c", "\ufeff", "é")
PIECES = st.sampled_from((*WORDS, *SIGNS, *BLANKS, "1", "1e-6", "9" * 50, HEADER))


@given(st.lists(PIECES, max_size=60).map("".join) | st.text(max_size=200))
@example("op f(x: f32[N])\n -> y\n where")
@example("op f()" + "\\")
@settings(max_examples=400, deadline=None)
def test_any_text_is_read_or_refused(text: str) -> None:
    file = parse(Source("spec.fuse", text))
    assert file.faults or file.ops or file.fns or file.modules or file.overloads or file.uses
    for fault in file.faults:
        assert 0 <= fault.span.start <= fault.span.end <= len(text) + 1
        assert fault.render().startswith("spec.fuse:")
