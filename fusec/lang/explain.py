"""What the grammar did not expect, in words for the author of the spec."""

from __future__ import annotations

import re

from lark import Token, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from fusec.diagnostics import Diagnostic, Note, Source, Span

_READABLE = {
    "NAME": "a name",
    "NUMBER": "a number",
    "DOC": "a docstring",
    "_NEWLINE": "the end of the line",
    "_INDENT": "an indented block",
    "_DEDENT": "the end of the block",
    "COLON": "`:`",
    "COMMA": "`,`",
    "EQUAL": "`=`",
    "LPAR": "`(`",
    "RPAR": "`)`",
    "LSQB": "`[`",
    "RSQB": "`]`",
    "LBRACE": "`{`",
    "RBRACE": "`}`",
    "WHERE": "`where`",
    "OF": "`of`",
    "IN": "`in`",
    "_ARROW": "`->`",
    "_DOTS": "`...`",
}

_CHARACTERS = {
    ".": "a function is called as `f(x)`, there are no methods",
    '"': 'a docstring stands between `"""`',
    "'": 'a docstring stands between `"""`',
    "^": "a power is written `a ** b`",
    "@": "a product of matrices is written `dot(a, b, over=K)`",
    "&": "conditions are joined with `and`",
    "|": "conditions are joined with `or`",
    "!": "a condition is turned around with `not`",
    "~": "a condition is turned around with `not`",
    ";": "every statement has a line of its own",
}

_VALUE = {"NAME", "NUMBER", "LPAR", "_DOTS"}

_PYTHON_WORDS = {
    "for": "a spec has no loops: name the axis and let values broadcast, or reduce over it",
    "while": "a spec has no loops: name the axis and let values broadcast, or reduce over it",
    "if": "a spec has no branches: use `where(condition, a, b)`",
    "else": "a spec has no branches: use `where(condition, a, b)`",
    "def": "a function begins with `fn`",
    "import": "functions of another file come with `use NAME`",
    "from": "functions of another file come with `use NAME`",
}


def explain(error: UnexpectedInput, source: Source, start: int, end: int) -> Diagnostic:
    """The diagnostic of a syntax error in the definition that is `source.text[start:end]`."""
    match error:
        case UnexpectedToken(token=token):
            return _token(error, token, source, start, end)
        case UnexpectedCharacters(char=char):
            at = start + (error.pos_in_stream or 0)
            help = "names are made of the letters a-z, digits and `_`" if char.isalpha() else _CHARACTERS.get(char)
            shown = char if char.isprintable() else f"\\x{ord(char):02x}"
            return Diagnostic(f"`{shown}` has no place in a spec", Span(source, at, at + 1), help=help)
        case _:
            raise error


def _token(error: UnexpectedToken, token: Token, source: Source, start: int, end: int) -> Diagnostic:
    expected = _expected(error)
    at = start + (token.start_pos or 0)
    bracket = _open_bracket(source, start, min(at, end))
    match token.type:
        case "_INDENT":
            line_start = start + (token.end_pos or 0)
            return Diagnostic("this line is indented but belongs to no block", Span(source, line_start, line_start + 1))
        case "$END" | "_DEDENT" if bracket:
            return Diagnostic(f"this `{bracket.text}` is never closed", bracket)
        case "$END" | "_DEDENT":
            last = start + len(source.text[start:end].rstrip())
            return Diagnostic(f"the definition ends too early{expected}", Span(source, last, last + 1))
        case "_NEWLINE":
            span = Span(source, at, at + 1)
            return Diagnostic(f"the line ends too early{expected}", span, help=_python_word(source, at, ""))
        case _:
            above = bracket is not None and "\n" in source.text[bracket.start : at]
            notes = (Note(f"this `{bracket.text}` is still open", bracket),) if bracket and above else ()
            help = _habit(error, token, source, at)
            return Diagnostic(f"`{token}` cannot stand here{expected}", Span(source, at, at + len(token)), notes, help)


def _habit(error: UnexpectedToken, token: Token, source: Source, at: int) -> str | None:
    """What to write in the place of something that another language would have here."""
    before = source.text[:at].rstrip()[-1:]
    if token in ("[", "=") and set(error.accepts) <= {"COLON", "NAME"}:
        return "a parameter and an output are written as `name: type`"
    if token.type == "COMPARES":
        return "comparisons do not chain: write `a < b and b < c`"
    if token == "=" and before and before in "+-*/%":
        return "a name is assigned once: give the new value a name of its own"
    return _python_word(source, at, token)


def _open_bracket(source: Source, start: int, end: int) -> Span | None:
    """The innermost bracket that opens between `start` and `end` and does not close there."""
    opened: list[int] = []
    for piece in re.finditer(r'#[^\n]*|"""[\s\S]*?"""|[()\[\]{}]', source.text[start:end]):
        if piece[0] in ("(", "[", "{"):
            opened.append(start + piece.start())
        elif piece[0] in (")", "]", "}") and opened:
            opened.pop()
    return Span(source, opened[-1], opened[-1] + 1) if opened else None


def _expected(error: UnexpectedToken) -> str:
    accepted = set(error.accepts)
    wanted = ["a value"] if accepted >= _VALUE else []
    wanted += sorted(_READABLE[name] for name in accepted - (_VALUE if wanted else set()) if name in _READABLE)
    if not wanted or len(wanted) > 4:
        return ""
    return f"; expected {' or '.join([', '.join(wanted[:-1]), wanted[-1]] if len(wanted) > 1 else wanted)}"


def _python_word(source: Source, at: int, token: str) -> str | None:
    line, _ = source.position(at)
    first = re.match(r"\s*([a-z]+)", source.line(line))
    return _PYTHON_WORDS.get(token) or (_PYTHON_WORDS.get(first[1]) if first else None)
