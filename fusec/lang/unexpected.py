"""What the grammar did not expect, in words for the author of the spec."""

from __future__ import annotations

import re

from lark import Token, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from fusec.diagnostics import Diagnostic, Note, Source, Span
from fusec.lang import habits

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

_VALUE = {"NAME", "NUMBER", "LPAR", "_DOTS"}


def explain(error: UnexpectedInput, source: Source, start: int, end: int) -> Diagnostic:
    """The diagnostic of a syntax error in the definition that is `source.text[start:end]`."""
    match error:
        case UnexpectedToken(token=token):
            return _token(error, token, source, start, end)
        case UnexpectedCharacters(char=char):
            at = start + (error.pos_in_stream or 0)
            help = _character(source, at)
            shown = char if char.isprintable() else f"\\x{ord(char):02x}"
            return Diagnostic(f"`{shown}` has no place in a spec", Span(source, at, at + 1), help=help)
        case _:
            raise error


def _character(source: Source, at: int) -> str | None:
    """What to write in the place of a character that a spec has no use for."""
    char = source.text[at]
    if char.isalpha():
        return "names are made of the letters a-z, digits and `_`"
    after = re.match(r"\.\s*(\w+(?:\.\w+)*)", source.text[at:])
    if after:
        before = re.search(r"\w*$", source.text[:at])
        return habits.dotted(before[0] if before else "", after[1])
    given = re.search(r"(\w+)\s*\(\s*$|(\w+)\s*=\s*$", source.text[:at]) if char in "\"'" else None
    known = given and (habits.FUNCTIONS.get(given[1] or "") or habits.KEYWORDS.get(given[2] or ""))
    return known or habits.CHARACTERS.get(char)


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
            help = _habit(error, token, source, at, bracket)
            return Diagnostic(f"`{token}` cannot stand here{expected}", Span(source, at, at + len(token)), notes, help)


def _habit(error: UnexpectedToken, token: Token, source: Source, at: int, bracket: Span | None) -> str | None:
    """What to write in the place of something that another language would have here."""
    before = source.text[:at].rstrip()[-1:]
    if token in ("[", "=") and set(error.accepts) <= {"COLON", "NAME"}:
        return "a parameter and an output are written as `name: type`"
    if token == ":" and bracket and bracket.text == "[":
        return habits.SLICE
    if token == ":" and set(error.accepts) & {"EQUAL"}:
        return habits.ANNOTATION
    if token == "//" and not source.line(source.position(at)[0])[: source.position(at)[1] - 1].strip():
        return habits.COMMENT
    if token.type in habits.JOINED and before == token:
        return habits.JOINED[token.type]
    if token.type == "COMPARES":
        return "comparisons do not chain: write `a < b and b < c`"
    if token == "=" and before and before in "+-*/%&|^":
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
    last = re.search(r"(\w+)\s*$", source.text[:at])
    return next(
        (habits.WORDS[word] for word in (token, *(m[1] for m in (first, last) if m)) if word in habits.WORDS), None
    )
