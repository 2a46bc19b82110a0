"""Steps that add parameters: gains and biases, weights, optional ones, numbers and choices."""

from __future__ import annotations

from fusec.testing.random_specs.draft import Draft, Value
from fusec.testing.random_specs.forms import ACTIVATIONS

ELEMENTS = ("T", "T", "T", "f32", "f32", "bf16", "f16")
"""What a second tensor of reals is stored as."""

_OTHER = ("f64", "f8e4m3", "f8e5m2", "f4e2m1", "f8e8m0")

_NORMS = (
    "rmsnorm({0}, {1}, eps, over={2})",
    "rmsnorm_unit_offset({0}, {1}, eps, over={2})",
    "rmsnorm_rounded({0}, {1}, eps, over={2}, dtype=bf16)",
    "layernorm({0}, {1}, {1}, eps, over={2})",
)


def element(draft: Draft) -> str:
    """A storage type of reals."""
    return draft.random.choice(_OTHER if draft.random.random() < 0.06 else ELEMENTS)


def gain(draft: Draft) -> None:
    """A gain or bias, at times optional, at times a `weight`."""
    value = draft.real()
    inner = tuple(axis for axis in value.axes if axis not in draft.axes.kept)
    named = inner if draft.random.random() < 0.8 else value.axes
    if named:
        axes = named if draft.random.random() < 0.4 else (draft.random.choice(named),)
        rest, form = draft.random.choice(((" = 0", "{} + {}"), (" = 1", "{} * {}"), ("", "{} * {}"), ("", "{} - {}")))
        parameter = draft.tensor("p", element(draft), axes, rest, draft.random.choice(("", "weight ")))
        draft.define(form.format(value.name, parameter.name), draft.joined(value, parameter))


def selecting(draft: Draft) -> None:
    """An optional tensor that stands for another value when it is omitted."""
    value = draft.real()
    axis = draft.axis(value)
    other = next((v for v in draft.values if axis is not None and v.axes == (axis,) and v.kind == "real"), None)
    if axis is not None:
        defaults = [Value(f"index({axis})", (axis,)), Value("eps", ()), Value("1", ())]
        default = draft.random.choice(defaults)
        parameter = draft.tensor("o", "f32", (axis,), f" = {default.name}")
        form = draft.random.choice(("{0} * {1} / 8", "where({1} > 0, {0}, {0} / 2)", "{0} + tanh({1})"))
        draft.define(form.format(value.name, (other or parameter).name), draft.joined(value, other or parameter))
        if other is not None:
            last = draft.values[-1]
            draft.define(f"maximum({last.name}, {parameter.name})", last.axes)


def normalised(draft: Draft) -> None:
    """A norm of the library with its gain."""
    value = draft.real()
    axis = draft.axis(value)
    if axis is not None:
        weight = draft.tensor("w", element(draft), (axis,), mark=draft.random.choice(("", "weight ")))
        draft.define(draft.random.choice(_NORMS).format(value.name, weight.name, axis), value.axes)


def scalar(draft: Draft) -> None:
    value = draft.real()
    name = draft.fresh("s")
    kind = draft.random.choice(("f32", "f32", "f32", "bf16", "f64"))
    draft.params.append(f"{name}: {kind}{draft.random.choice((' = 0.5', ' = 2', ' = 1.25', ''))}")
    form = draft.random.choice(("{0} * {1}", "{0} + {1}", "{0} / (1 + abs({1}))"))
    draft.define(form.format(value.name, name), value.axes)


def choice(draft: Draft) -> None:
    value = draft.real()
    options = draft.random.sample(ACTIVATIONS, draft.random.randint(2, 3))
    name = draft.fresh("c")
    default = draft.random.choice(("", f" = {options[0]}", f" = {options[-1]}"))
    draft.params.append(f"{name}: {{{', '.join(options)}}}{default}")
    draft.define(f"{name}({value.name})", value.axes)
