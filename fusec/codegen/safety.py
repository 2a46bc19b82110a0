"""What a generated file may contain, whatever the spec says.

A spec is data: its words reach the generated file as checked identifiers and as string literals. `check` is the last
gate before a file is written. It parses the rendered text and refuses everything that generated code never needs, so
that text which slipped out of a string literal cannot run.
"""

from __future__ import annotations

import ast
import io
import keyword
import re
import symtable
import tokenize
from collections.abc import Iterator

from fusec.diagnostics import InternalError
from fusec.ir.reserved import BUILTINS

STEP = "codegen/safety"

IMPORTS = frozenset(
    {"__future__", "collections.abc", "functools", "math", "typing", "torch", "triton", "triton.language"}
)
"""Modules that a generated file may import, beside `fusec.runtime` and what is in it."""

DUNDERS = frozenset({"__all__", "__file__", "__future__", "__init__", "__name__"})

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z", re.ASCII)
_DUNDER = re.compile(r"(?<![A-Za-z0-9_])__\w*")
"""What may be a name that begins so, in strings and comments too."""
_TOP_LEVEL = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef, ast.Assign, ast.AnnAssign)


def check(name: str, text: str) -> tuple[str, ...]:
    """The names that the generated file `name` exports (`__all__`), once its text is known to be harmless.

    Raises `InternalError` with everything found: a user's spec never leads here, a fault of a template does.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise InternalError(STEP, f"the text of {name}.py is not Python: {error}", text) from error
    faults = [*_top_level(tree), *_imports(tree), *_words(text), *_unbound(text)]
    if faults:
        raise InternalError(STEP, f"{name}.py must not be written: " + "; ".join(faults), text)
    return exports(tree)


def exports(tree: ast.Module) -> tuple[str, ...]:
    """The strings of the module's `__all__`, in its order."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and _is_all(statement.targets):
            return tuple(ast.literal_eval(statement.value))
    return ()


def is_identifier(name: str) -> bool:
    """Whether `name` is an ASCII identifier and no Python keyword."""
    return bool(_IDENTIFIER.match(name)) and not keyword.iskeyword(name)


def _top_level(tree: ast.Module) -> Iterator[str]:
    for number, statement in enumerate(tree.body):
        if isinstance(statement, _TOP_LEVEL) or (number == 0 and _is_text(statement)) or _is_registration(statement):
            continue
        yield f"line {statement.lineno}: {type(statement).__name__} at the top level"


def _imports(tree: ast.Module) -> Iterator[str]:
    top = set(map(id, tree.body))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Import | ast.ImportFrom):
            continue
        if id(node) not in top:
            yield f"line {node.lineno}: import inside another statement"
        for module in _modules(node):
            if module not in IMPORTS and module != "fusec.runtime" and not module.startswith("fusec.runtime."):
                yield f"line {node.lineno}: import of {module!r}"


def _modules(node: ast.Import | ast.ImportFrom) -> tuple[str, ...]:
    if isinstance(node, ast.Import):
        return tuple(alias.name for alias in node.names)
    return ("." * node.level + (node.module or ""),)


def _words(text: str) -> Iterator[str]:
    if text.isascii() and DUNDERS.issuperset(_DUNDER.findall(text)):
        return
    # Tokens, not tree nodes: the parser folds letters of other alphabets into ASCII ones.
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.NAME and not _IDENTIFIER.match(token.string):
            yield f"line {token.start[0]}: the name {token.string!r} is not ASCII"
        elif token.type == tokenize.NAME and token.string.startswith("__") and token.string not in DUNDERS:
            yield f"line {token.start[0]}: the name {token.string!r}"


def _unbound(text: str) -> Iterator[str]:
    module = symtable.symtable(text, "generated", "exec")
    # Python adds `__class__` where something is called `super`; in the text of a file it is one of `_words`.
    known = BUILTINS | {"__class__"} | {symbol.get_name() for symbol in module.get_symbols() if _is_bound(symbol)}
    tables = [module]
    while tables:
        table = tables.pop()
        tables.extend(table.get_children())
        for symbol in table.get_symbols():
            name = symbol.get_name()
            outside = table is module or symbol.is_global()
            if outside and symbol.is_referenced() and name not in known and name not in DUNDERS:
                yield f"the name {name!r} in {table.get_name()!r} is neither defined here nor an allowed builtin"


def _is_bound(symbol: symtable.Symbol) -> bool:
    return symbol.is_assigned() or symbol.is_imported() or symbol.is_namespace()


def _is_registration(statement: ast.stmt) -> bool:
    """A call of something that the file imported or defined: `register(...)`, `library.define(...)`."""
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _is_all(targets: list[ast.expr]) -> bool:
    return any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets)
