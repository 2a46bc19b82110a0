"""Steps that take axes apart, put them together and give them other names."""

from __future__ import annotations

from fusec.testing.random_specs.axes import LEAD
from fusec.testing.random_specs.draft import INT, REAL, Draft, Value, without
from fusec.testing.random_specs.parameters import element

_TURNS = (("{0} - {1}", "{1} + {0}"), ("-{1}", "{0}"), ("{0} * tanh({1})", "{1}"), ("{1}", "{0} * 2"))

_BESIDE = ("{0} + {1}", "{0} * tanh({1})", "maximum({0}, {1})", "{1} - {0}")

_ROTATIONS = {
    "rope({0}, {1}, {2}, over={3})": ("halves", False),
    "rope_half({0}, {1}, {2}, over={3})": ("halves", True),
    "rope_interleaved({0}, {1}, {2}, over={3})": ("pairs", True),
    "rope_interleaved_full({0}, {1}, {2}, over={3})": ("pairs", False),
}
"""Rotations of the library: how they take an axis apart, and whether their tables have half of it."""


def halves(draft: Draft) -> None:
    """Halves or pairs of an axis, left for later statements or turned into each other and put together again."""
    value = draft.real()
    axis = draft.axis(value)
    how, together = draft.random.choice((("halves", "join"), ("pairs", "interleave")))
    part = draft.axes.half(axis, how) if axis is not None else None
    if axis is not None and part is not None:
        first, second = draft.fresh("a"), draft.fresh("b")
        draft.lines.append(f"{first}, {second} = {how}({value.name}, over={axis})")
        if draft.random.random() < 0.4:
            axes = draft.axes.ordered({part, *without(value.axes, axis)})
            draft.values += [Value(first, axes, REAL, value.bounded), Value(second, axes, REAL, value.bounded)]
        else:
            turned = (form.format(first, second) for form in draft.random.choice(_TURNS))
            draft.define(f"{together}({', '.join(turned)}, over={axis})", value.axes)


def gated(draft: Draft) -> None:
    """The two halves of one stored dimension, `2*N` or `N*2`, one of them the gate of the other."""
    value = draft.pick(needs="2")
    if value is not None and "N" in value.axes and draft.axes.inner in (("2", "N"), ("N", "2")):
        how, together = ("halves", "join") if draft.axes.inner[0] == "2" else ("pairs", "interleave")
        over = draft.random.choice(("2", "*".join(draft.axes.inner)))
        first, second = draft.fresh("a"), draft.fresh("b")
        draft.lines.append(f"{first}, {second} = {how}({value.name}, over={over})")
        if draft.random.random() < 0.6:
            draft.define(f"silu({first}) * tanh({second})", without(value.axes, "2"))
        else:
            draft.define(f"{together}({second}, {first} * 2, over={over})", value.axes)


def joined(draft: Draft) -> None:
    """Two values along halves of an axis become the whole of it."""
    parts = [v for v in draft.values if v.kind == REAL and any("/" in axis for axis in v.axes)]
    if parts:
        first = draft.random.choice(parts)
        half = next(axis for axis in first.axes if "/" in axis)
        whole = draft.axes.wholes[half]
        fitting = [v for v in parts if half in v.axes and draft.axes.meet({*first.axes, *v.axes})]
        second = draft.random.choice(fitting)
        how, together = draft.random.choice((("halves", "join"), ("pairs", "interleave")))
        rest = set(draft.joined(first, second)) - {half}
        if draft.axes.meet({*rest, whole}) and draft.axes.half(whole, how):
            signs = draft.random.choice(("{0}, {1}", "-{1}, {0}", "{0}, {0} * 2"))
            expression = f"{together}({signs.format(first.name, second.name)}, over={whole})"
            draft.define(expression, draft.axes.ordered({*rest, whole}))


def rotated(draft: Draft) -> None:
    """A rotation of the library, by tables of the call or by what a gather finds in them."""
    value = draft.real()
    axis = draft.axis(value)
    form = draft.random.choice(list(_ROTATIONS))
    how, of_half = _ROTATIONS[form]
    part = draft.axes.half(axis, how) if axis is not None else None
    if axis is not None and part is not None:
        along = [other for other in value.axes if other not in (axis, LEAD) and draft.axes.meet({part, other})]
        axes = (*draft.random.sample(along, min(len(along), draft.random.randint(0, 1))), part if of_half else axis)
        cos, sin = (draft.tensor("t", draft.random.choice(("f32", "T")), axes) for _ in range(2))
        draft.define(form.format(value.name, cos.name, sin.name, axis), value.axes)


def parts(draft: Draft) -> None:
    """The parts of an axis, `P + Q` or `1 + N`, changed and put together again or left for later."""
    whole = next((axis for axis in draft.axes.inner if "+" in axis), None)
    value = draft.pick(needs=whole) if whole is not None else None
    if value is not None and whole is not None:
        names = whole.split(" + ")
        first, second = draft.fresh("a"), draft.fresh("b")
        draft.lines.append(f"{first}, {second} = split({value.name}, {', '.join(names)})")
        rest = without(value.axes, whole)
        left, right = (draft.axes.ordered({*rest, *({name} - {"1"})}) for name in names)
        if draft.random.random() < 0.35:
            both = [Value(first, left, REAL, value.bounded), Value(second, right, REAL, value.bounded)]
            draft.values += draft.random.sample(both, 2)
        else:
            changes = ("{0} * 2", "relu({0})", *(("{0} - amax({0}, over=P)",) if names[0] == "P" else ()))
            change = draft.random.choice(changes).format(first)
            over = f", over={whole}" if names[0] == "1" else ""
            draft.define(f"concat({change}, {second}{over})", value.axes)


def concatenated(draft: Draft) -> None:
    """Two values along different axes, one after the other."""
    first = draft.real()
    one = draft.axis(first)
    others = [v for v in draft.values if v.kind == REAL and one is not None and one not in v.axes]
    if one is not None and one.isalnum() and others:
        second = draft.random.choice(others)
        other = draft.axis(second)
        rest = {*without(first.axes, one), *without(second.axes, other or "")}
        if other is not None and other.isalnum() and not {one, other} & rest and draft.axes.meet({one, other, *rest}):
            whole = f"{one} + {other}"
            draft.axes.place(whole, one)
            for part in (one, other):
                draft.axes.wholes.setdefault(part, whole)
            if draft.axes.meet({whole, *rest}):
                axes = draft.axes.ordered({whole, *rest})
                draft.define(f"concat({first.name}, {second.name}, over={whole})", axes)


def renamed(draft: Draft) -> None:
    """A value with an axis under a name of its own, beside another with the first one or alone."""
    value = draft.pick(INT) if draft.random.random() < 0.15 else draft.real()
    axis = draft.axis(value) if value is not None else None
    if value is None or axis is None or not draft.axes.free(axis):
        return
    beside = draft.partner(value)
    new = draft.axes.add("R")
    draft.axes.equal(new, axis, draft.random)
    moved = Value(
        f"rename({value.name}, {axis} -> {new})",
        draft.axes.ordered({new, *without(value.axes, axis)}),
        value.kind,
        value.bounded,
    )
    if beside is not None and draft.axes.meet({*beside.axes, *moved.axes}) and draft.random.random() < 0.6:
        form = draft.random.choice(_BESIDE)
        draft.define(form.format(beside.name, moved.name), draft.joined(beside, moved))
    elif draft.random.random() < 0.3 and draft.axes.meet({*value.axes, new}):
        mask = f"index({axis}) {draft.random.choice(('>=', '<', '=='))} rename(index({axis}), {axis} -> {new})"
        draft.define(f"where({mask}, {value.name}, 0)", draft.axes.ordered({*value.axes, new}), kind=value.kind)
    else:
        draft.define(moved.name, moved.axes, value.bounded, value.kind)


def table_renamed(draft: Draft) -> None:
    """A tensor whose axis has another name than the one it is used along: whole, or a part of one of two."""
    value = draft.real()
    axis = draft.axis(value)
    if axis is None or not draft.axes.free(axis):
        return
    new = draft.axes.add("R")
    draft.axes.equal(new, axis, draft.random)
    others = [other for other in value.axes if other != axis and draft.axes.meet({other, axis})]
    beside = tuple(draft.random.sample(others, min(len(others), draft.random.randint(0, 1))))
    if draft.random.random() < 0.5:
        table = draft.tensor("t", element(draft), (*beside, new)).name
    else:
        whole = f"{new} + {new}"
        draft.axes.place(whole, new)
        stored = draft.tensor("t", element(draft), (*beside, whole)).name
        table, second = draft.fresh("a"), draft.fresh("b")
        draft.lines.append(f"{table}, {second} = split({stored}, {new}, {new})")
    draft.define(f"{value.name} * rename({table}, {new} -> {axis})", draft.axes.ordered({*value.axes, *beside}))
