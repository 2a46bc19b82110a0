"""What an op reads, computes and writes, as a picture: its tensors left and right, its statements between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape

from fusec.diagnostics import Span
from fusec.lang import syntax

LETTER = 6.3
"""The width of a letter, in units of the picture."""
ROW = 48
BOX = 38
SIDE = 150
"""How wide a column of tensors is."""
GAP = 50
MIDDLE = 420
HEAD = 24


@dataclass(frozen=True, slots=True)
class Box:
    """A tensor or a statement: what it is called, what stands below, and the names that it is made of."""

    title: str
    text: str
    makes: tuple[str, ...]
    reads: frozenset[str]


def diagram(op: syntax.Op) -> str:
    """The op as SVG, in the colours of the page."""
    tensors = [param for param in op.params if isinstance(param.type, syntax.TensorType)]
    steps = [_statement(each) for each in op.body if isinstance(each, syntax.Assign | syntax.Add)]
    used = frozenset[str]().union(*(each.reads for each in steps))
    read = [
        Box(each.name.text, _text(each.type.span), (each.name.text,), frozenset())
        for each in tensors
        if each.name.text in used
    ]
    results = [(each.name.text, each.type) for each in op.results]
    results += [(each.name.text, each.type) for each in tensors if each.kind and each.kind.text == "mut"]
    written = [Box(name, _text(type.span), (), frozenset([name])) for name, type in results]
    height = HEAD + ROW * max(map(len, (read, steps, written)))
    columns = [(0, SIDE, "read", read, "tensor"), (SIDE + GAP, MIDDLE, "computed", steps, "step")]
    columns.append((SIDE + MIDDLE + 2 * GAP, SIDE, "written", written, "tensor"))
    width = 2 * SIDE + MIDDLE + 2 * GAP
    pieces = [
        f'<svg class="dataflow" viewBox="0 0 {width} {height}" role="img" aria-label="Dataflow of {op.name.text}">'
    ]
    places: dict[str, tuple[float, float]] = {}
    boxes: list[str] = []
    for left, wide, heading, column, kind in columns:
        boxes.append(f'<text class="heading" x="{left + wide / 2}" y="14">{heading}</text>')
        top = HEAD + (height - HEAD - ROW * len(column)) / 2
        for number, box in enumerate(column):
            y = top + ROW * number
            pieces += _lines(box, left, y, places)
            boxes += _drawn(box, left, y, wide, kind)
            places |= dict.fromkeys(box.makes, (left + wide, y + BOX / 2))
    return "".join([*pieces, *boxes, "</svg>"])


def _lines(box: Box, left: float, y: float, places: dict[str, tuple[float, float]]) -> Iterator[str]:
    for name in sorted(box.reads & places.keys()):
        x, start = places[name]
        end = y + BOX / 2
        if x > left:  # from one statement to a later one, around the right side of both
            yield f'<path d="M{x} {start}C{x + 30} {start} {x + 30} {end} {x} {end}"/>'
        else:
            middle = (x + left) / 2
            yield f'<path d="M{x} {start}C{middle} {start} {middle} {end} {left} {end}"/>'


def _drawn(box: Box, left: float, y: float, wide: float, kind: str) -> Iterator[str]:
    yield f'<rect class="{kind}" x="{left + 0.5}" y="{y + 0.5}" width="{wide - 1}" height="{BOX - 1}" rx="5"/>'
    if kind == "tensor":
        yield f'<text class="name" x="{left + wide / 2}" y="{y + 16}">{escape(box.title)}</text>'
        yield f'<text class="type" x="{left + wide / 2}" y="{y + 30}">{escape(_short(box.text, wide))}</text>'
    else:
        lines = _broken(box.text, wide)
        for number, text in enumerate(lines):
            below = y + (23 if len(lines) == 1 else 16 + 14 * number)
            yield f'<text class="text" x="{left + 10}" y="{below}">{escape(text)}</text>'


def _broken(text: str, wide: float) -> list[str]:
    """A statement in one line or two, broken behind a comma or before an operator where it can be."""
    room = int((wide - 16) / LETTER)
    if len(text) <= room:
        return [text]
    place = max(text.rfind(" ", 0, room), room // 2)
    return [text[:place], _short("  " + text[place:].strip(), wide)]


def _short(text: str, wide: float) -> str:
    room = int((wide - 16) / LETTER)
    return text if len(text) <= room else text[: room - 2].rstrip() + " …"


def _statement(statement: syntax.Assign | syntax.Add) -> Box:
    targets = statement.targets if isinstance(statement, syntax.Assign) else (statement.target,)
    made = tuple(_root(target) for target in targets)
    value = statement.value
    inside = {name for target in targets if isinstance(target, syntax.Lookup) for name in _names(target)}
    before = set() if isinstance(statement, syntax.Assign) else set(made)
    reads = frozenset(_names(value)) | (inside - set(made)) | before
    return Box(", ".join(made), _text(statement.span), made, reads)


def _root(target: syntax.Expr) -> str:
    while isinstance(target, syntax.Lookup):
        target = target.target
    return target.text if isinstance(target, syntax.Name) else ""


def _names(expr: syntax.Expr) -> Iterator[str]:
    return (each.text for each in syntax.walk(expr) if isinstance(each, syntax.Name))


def _text(span: Span) -> str:
    """What the spec says there, in one line."""
    return " ".join(span.text.split())
