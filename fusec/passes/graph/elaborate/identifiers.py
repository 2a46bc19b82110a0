"""Which names a spec may give: they become names of the generated Python."""

from __future__ import annotations

import keyword

from fusec.diagnostics import Note
from fusec.ir.reserved import BUILTINS
from fusec.ir.types import DTYPES
from fusec.lang.syntax import File, Name
from fusec.passes.graph.elaborate.constants import CONSTANTS
from fusec.passes.graph.elaborate.report import Report

MAX_NAME = 60
"""Characters a name may have."""

_GENERATED = frozenset({"tl", "torch", "triton", "fusec", "libdevice", "math", "self", "Ellipsis"})
"""`Ellipsis` is the one name beside keywords that PyTorch's schemas have no place for."""

_LEADING = frozenset({"lead", "lead0", "lead1"})
"""What `...` is called among axes."""


def check_public_names(file: File, report: Report) -> None:
    """The names of the ops and modules of a file: each once, and none private to the generated file."""
    named = [("op", op.name) for op in file.ops] + [("module", module.name) for module in file.modules]
    seen: dict[str, Name] = {}
    for word, name in named:
        if not check_name(name, report):
            pass
        elif name.text.startswith("_"):
            report.add("a public name may not begin with an underscore", name.span, help="it would be private")
        elif name.text in BUILTINS:
            message = f"`{name.text}` is a builtin of Python that the generated file may need"
            report.add(message, name.span, help=f"call it `{name.text}_`")
        first = seen.setdefault(name.text, name)
        if first is not name:
            note = Note("it is first here", first.span)
            report.add(f"{word} `{name.text}` is defined twice", name.span, note, help="give one of them another name")


def check_axis_name(name: Name, report: Report) -> bool:
    """Whether `name` may be given to an axis; reports it when not."""
    if name.text in _LEADING:
        report.add(f"`{name.text}` is what `...` is called among axes", name.span, help=f"call it `{name.text}_`")
        return False
    return check_name(name, report)


def check_name(name: Name, report: Report) -> bool:
    """Whether `name` may be given to an op, a parameter, a type variable or a value; reports it when not."""
    text = name.text
    help = f"call it `{text}_`"
    if keyword.iskeyword(text):
        report.add(f"`{text}` is a word of Python", name.span, help=help)
    elif text in _GENERATED:
        report.add(f"`{text}` has a meaning of its own in the generated code", name.span, help=help)
    elif text in DTYPES:
        report.add(f"`{text}` is a dtype", name.span, help=help)
    elif text in CONSTANTS:
        report.add(f"`{text}` is a constant of the language", name.span, help=help)
    elif text.startswith("__"):
        report.add("a name may not begin with two underscores", name.span)
    elif len(text) > MAX_NAME:
        report.add(f"a name has at most {MAX_NAME} characters", name.span)
    else:
        return True
    return False
