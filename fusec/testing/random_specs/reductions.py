"""Steps that reduce: over a row, over several axes at once, over leading axes, and back."""

from __future__ import annotations

from fusec.testing.random_specs import forms
from fusec.testing.random_specs.draft import INT, Draft, Value, listed, without


def reduce(draft: Draft) -> None:
    value = draft.real()
    over = axes_over(draft, value)
    if over:
        form = draft.random.choice(list(forms.REDUCED))
        draft.define(form.format(value.name, listed(over)), without(value.axes, *over), forms.REDUCED[form])


def within(draft: Draft) -> None:
    value = draft.real()
    over = axes_over(draft, value)
    if over:
        form = draft.random.choice(list(forms.WITHIN))
        draft.define(form.format(value.name, listed(over)), value.axes, forms.WITHIN[form])


def integers(draft: Draft) -> None:
    """A reduction of integers."""
    value = draft.pick(INT)
    over = axes_over(draft, value) if value is not None else ()
    if value is not None and over:
        form = draft.random.choice(("sum({0}, over={1})", "amax({0}, over={1})", "amin({0} % 9, over={1})"))
        draft.define(form.format(value.name, listed(over)), without(value.axes, *over), kind=INT)


def axes_over(draft: Draft, value: Value) -> tuple[str, ...]:
    """Axes to reduce: one, all along which rows lie, or any of them."""
    axis = draft.axis(value, lead=draft.random.random() < 0.5)
    if axis is None:
        return ()
    chance = draft.random.random()
    if chance < 0.2:
        inner = tuple(each for each in value.axes if each not in draft.axes.kept)
        return inner or (axis,)
    if chance < 0.35:
        return tuple(each for each in value.axes if each == axis or draft.random.random() < 0.5)
    return (axis,)
