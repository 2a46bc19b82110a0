"""Print a host table: constructor calls without defaults, wrapped as a person would."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from fusec.codegen.signature import literal
from fusec.codegen.wrap import LIMIT, aligned, wrapped
from fusec.ir.host.names import Name
from fusec.ir.host.plans import Library, Plans, Step, Tuned, Workspace
from fusec.ir.host.schedules import GemmRoles, Gemv, SplitRows, TensorMap

INDENT = "    "


def table_lines(prefix: str, value: Any, imports: Mapping[str, str]) -> list[str]:
    """`prefix` and the table, the classes of which a file has under the names of `imports`."""
    return _Printer(imports).lines(prefix, value, "", 0)


def classes(value: Any) -> set[str]:
    """The classes that a table is made of."""
    if isinstance(value, Mapping | tuple):
        items = value.values() if isinstance(value, Mapping) else value
        return set().union(*map(classes, items))
    if not is_dataclass(value) or isinstance(value, Name):
        return set()
    shown = [item for _, item in _arguments(value)]
    return {_class(value)}.union(*map(classes, shown))


class _Printer:
    def __init__(self, imports: Mapping[str, str]) -> None:
        self._imports = imports

    def lines(self, before: str, value: Any, after: str, depth: int) -> list[str]:
        """A value between what stands before and after it: in one line if it fits, else with its parts in several."""
        whole = f"{INDENT * depth}{before}{self._text(value)}{after}"
        if len(whole) <= LIMIT or (not isinstance(value, str | Mapping | tuple) and not is_dataclass(value)):
            return [whole]
        if isinstance(value, Name):
            return wrapped(whole)
        if isinstance(value, str):
            return _string(before, value, after, depth)
        opening, items, closing = self._parts(value)
        if not any(_is_long(item) for _, item in items):
            head = f"{INDENT * depth}{before}{opening}"
            comma = "," if isinstance(value, tuple) and len(items) == 1 else ""
            return aligned(head, _with_commas(items, self._text), f"{comma}{closing}{after}", LIMIT)
        *firsts, (label, last) = items
        head = (
            f"{INDENT * depth}{before}{opening}{''.join(f'{name}{self._text(item)}, ' for name, item in firsts)}{label}"
        )
        if _is_long(last) and len(head) < LIMIT - 30 and not any(_is_long(item) for _, item in firsts):
            # What is long stands last: its parts are those of the whole.
            comma = "," if isinstance(value, tuple) and not firsts else ""
            return self.lines(head.lstrip(), last, f"{comma}{closing}{after}", depth)
        return [
            f"{INDENT * depth}{before}{opening}",
            *self._filled(items, depth + 1),
            f"{INDENT * depth}{closing}{after}",
        ]

    def _filled(self, items: list[tuple[str, Any]], depth: int) -> list[str]:
        """Items in lines: short ones together, each long one in lines of its own."""
        found: list[str] = []
        open_line = False
        for label, item in items:
            text = f"{label}{self._text(item)},"
            if open_line and not _is_long(item) and len(found[-1]) + 1 + len(text) <= LIMIT:
                found[-1] += f" {text}"
                continue
            found += self.lines(label, item, ",", depth)
            open_line = not _is_long(item)
        return found

    def _text(self, value: Any) -> str:
        match value:
            case Name(text):
                return text
            case bool() | None:
                return str(value)
            case float():
                return f"{value:g}"
            case str():
                return literal(value)
            case int():
                return str(value)
        opening, items, closing = self._parts(value)
        comma = "," if isinstance(value, tuple) and len(items) == 1 else ""
        return f"{opening}{', '.join(f'{label}{self._text(item)}' for label, item in items)}{comma}{closing}"

    def _parts(self, value: Any) -> tuple[str, list[tuple[str, Any]], str]:
        """The brackets of a value, and the items between them with what stands before each."""
        if isinstance(value, Mapping):
            return "{", [(f"{literal(key)}: ", item) for key, item in value.items()], "}"
        if isinstance(value, tuple):
            return "(", [("", item) for item in value], ")"
        name = _class(value)
        return f"{self._imports.get(name, name)}(", _arguments(value), ")"


def _with_commas(items: list[tuple[str, Any]], text: Callable[[Any], str]) -> list[str]:
    texts = [f"{label}{text(item)}" for label, item in items]
    return [*(f"{each}," for each in texts[:-1]), texts[-1]]


def _class(value: Any) -> str:
    return {"Matrix": "View"}.get(type(value).__name__, type(value).__name__)


def _arguments(value: Any) -> list[tuple[str, Any]]:
    """The arguments of a constructor that are no defaults, the first ones without their names."""
    found: list[tuple[str, Any]] = []
    for place, each in enumerate(fields(value)):
        item = getattr(value, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if item != default:
            found.append(("" if place < _UNNAMED.get(type(value), 1) else f"{each.name}=", item))
    return found


_UNNAMED = {Plans: 0, Tuned: 0, GemmRoles: 5, Gemv: 0, Library: 3, Step: 2, TensorMap: 2, Workspace: 2, SplitRows: 2}
"""Arguments whose names a reader does not miss: of most classes it is the kernel."""


def _is_long(value: Any) -> bool:
    if isinstance(value, tuple | Mapping):
        items = list(value.values() if isinstance(value, Mapping) else value)
        return len(items) != 1 or _is_long(items[0])
    return is_dataclass(value) and not isinstance(value, Name)


def _string(before: str, value: str, after: str, depth: int) -> list[str]:
    """A long string of words as several that stand behind each other."""
    lines, first = [""], len(f"{INDENT * depth}{before}")
    for word in value.split(" "):
        if lines[-1] and first + len(lines[-1]) + len(word) + 4 > LIMIT:
            lines.append("")
        lines[-1] += f"{word} "
    lines[-1] = lines[-1][:-1]
    texts = [f"{' ' * first}{literal(line)}" for line in lines]
    return [f"{INDENT * depth}{before}{texts[0].lstrip()}", *texts[1:-1], f"{texts[-1]}{after}"]
