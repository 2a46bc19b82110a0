"""Steps that compute element by element, on reals, integers and truth values."""

from __future__ import annotations

from fusec.testing.random_specs import forms
from fusec.testing.random_specs.draft import BOOL, INT, REAL, Draft, Value, without

_INTEGERS = ("i32", "i32", "i64", "i8", "u8", "i4", "u4")


def unary(draft: Draft) -> None:
    value = draft.real()
    if draft.random.random() < 0.45:
        bounded = value.name if value.bounded else f"tanh({value.name})"
        draft.define(draft.random.choice(forms.OF_BOUNDED).format(bounded), value.axes, bounded=True)
    else:
        form = draft.random.choice(list(forms.UNARY))
        draft.define(form.format(value.name), value.axes, forms.UNARY[form])


def binary(draft: Draft) -> None:
    a = draft.real()
    b = draft.partner(a)
    if b is not None:
        form = draft.random.choice(list(forms.BINARY))
        draft.define(form.format(a.name, b.name), draft.joined(a, b), forms.BINARY[form])


def position(draft: Draft) -> None:
    """Something that depends on the place along an axis."""
    value = draft.real()
    axis = draft.axis(value)
    if axis is not None:
        number = axis if axis.isalnum() else "7"
        form = draft.random.choice(forms.WITH_PLACE)
        draft.define(form.format(value.name, axis, number), value.axes)


def integer(draft: Draft) -> None:
    """Arithmetic of integers: of a tensor, of a scalar of the call, of positions."""
    value = draft.pick(INT)
    if value is None or draft.random.random() < 0.3:
        value = _new_integer(draft, draft.real())
    other = draft.partner(value, INT)
    if other is not None and draft.random.random() < 0.5:
        draft.define(
            draft.random.choice(forms.INTEGERS).format(value.name, other.name), draft.joined(value, other), kind=INT
        )
    else:
        inner, outer = draft.random.sample(forms.INTEGER, 2)
        expression = outer.format(f"({inner.format(value.name)})") if draft.random.random() < 0.7 else inner
        draft.define(expression.format(value.name), value.axes, kind=INT)


def with_integer(draft: Draft) -> None:
    """A real value and an integer one."""
    value = draft.real()
    other = draft.partner(value, INT) or _new_integer(draft, value)
    form = draft.random.choice(forms.WITH_INTEGER)
    draft.define(form.format(value.name, other.name), draft.joined(value, other))


def _new_integer(draft: Draft, like: Value) -> Value:
    """An integer with some axes of `like`."""
    axis = draft.axis(like)
    if axis is not None and draft.random.random() < 0.2:
        name = draft.fresh("n")
        draft.params.append(f"{name}: i32 = {draft.random.choice((2, 3, -1))}")
        value = Value(f"(index({axis}) * {name})", (axis,), INT)
    elif axis is not None and draft.random.random() < 0.4:
        value = draft.tensor("k", draft.random.choice(_INTEGERS), (axis,), kind=INT)
    else:
        value = draft.tensor("k", draft.random.choice(_INTEGERS), like.axes, kind=INT)
    draft.values.append(value)
    return value


def truth(draft: Draft) -> None:
    """A comparison, or a mask of the call; what it decides is chosen here or later."""
    kind = draft.random.choice((REAL, REAL, INT))
    a = draft.pick(kind) or draft.real()
    b = draft.partner(a, a.kind)
    if draft.random.random() < 0.25:
        mask = draft.tensor("mask", "bool", a.axes, kind=BOOL)
        draft.values.append(mask)
    elif draft.random.random() < 0.15:
        name = draft.fresh("flag")
        draft.params.append(f"{name}: bool = {draft.random.choice(('true', 'false'))}")
        draft.define(f"{a.name} > 0 and {name}", a.axes, kind=BOOL)
    elif b is not None:
        draft.define(draft.random.choice(forms.TRUTH).format(a.name, b.name), draft.joined(a, b), kind=BOOL)
    if draft.random.random() < 0.6:
        decided(draft)


def decided(draft: Draft) -> None:
    """A value chosen by a truth value."""
    value = draft.real()
    choice = draft.partner(value, BOOL)
    if choice is not None:
        form = draft.random.choice(forms.WITH_TRUTH)
        draft.define(form.format(value.name, choice.name), draft.joined(value, choice))


def function(draft: Draft) -> None:
    """A function of the file, with two results."""
    value = draft.real()
    axis = draft.axis(value)
    if axis is not None and not draft.functions:
        draft.functions.append(
            "fn apart(x, over, kind):\n    middle = mean(x, over)\n    return cast(x - middle, kind), middle\n"
        )
        first, second = draft.fresh("off"), draft.fresh("mid")
        kind = draft.random.choice(("f32", "T", "bf16"))
        draft.lines.append(f"{first}, {second} = apart({value.name}, {axis}, {kind})")
        draft.values += [Value(second, without(value.axes, axis)), Value(first, value.axes)]
