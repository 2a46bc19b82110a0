"""What a random spec gives back: its last value, some earlier ones, each in a format of its own."""

from __future__ import annotations

from fusec.testing.random_specs.draft import BOOL, INT, Draft, Value, listed
from fusec.testing.random_specs.forms import QUANTISED

_ELEMENTS = ("T", "T", "T", "f32", "f32", "bf16", "f16", "f64")

_REALS = (*_ELEMENTS, "f32")

_CHOSEN = ("bf16", "f16", "f32", "f64")


def return_some(draft: Draft) -> None:
    """The last value and at times earlier ones become outputs."""
    computed = [value for value in draft.values[1:] if value.name.isalnum()] or draft.values
    chosen = [computed[-1]]
    for value in computed[:-1]:
        if draft.random.random() < 0.3 and len(chosen) < 3:
            chosen.append(value)
    for value in chosen:
        _return(draft, value)


def _return(draft: Draft, value: Value) -> None:
    inner = tuple(axis for axis in value.axes if axis not in draft.axes.kept)
    if value.kind == BOOL:
        _store(draft, value, "bool")
    elif value.kind == INT:
        _store(draft, value, draft.random.choice(("i32", "i64", "i64", "f32", "i4", "u4")))
    elif inner and draft.random.random() < 0.2:
        over = inner if draft.random.random() < 0.5 else (draft.random.choice(inner),)
        _quantise(draft, value, over)
    else:
        _store(draft, value, draft.random.choice(_ELEMENTS))


def _quantise(draft: Draft, value: Value, over: tuple[str, ...]) -> None:
    number = len(draft.outputs)
    form, elements = draft.random.choice(QUANTISED)
    element, dims = draft.axes.stored(draft.random.choice(elements), value.axes, draft.random)
    results = [f"q{number}", f"scale{number}", *([f"zero{number}"] if "asymmetric" in form else [])]
    draft.lines.append(f"{', '.join(results)} = {form.format(value.name, element, listed(over))}")
    left = draft.axes.dims(tuple(axis for axis in value.axes if axis not in over), draft.random)
    scale = "f8e8m0" if "mx" in form else "f32"
    kinds = (f"{element}[{dims}]", f"{scale}[{left}]", f"i32[{left}]")
    draft.outputs += [f"{result}: {kind}" for result, kind in zip(results, kinds, strict=False)]


def _store(draft: Draft, value: Value, element: str) -> None:
    """As it is, or broadcast along one more axis of the op."""
    number, axes = len(draft.outputs), set(value.axes)
    more = [
        axis for axis in draft.axes.order if axis not in axes and draft.axes.meet({*axes, axis}) and "/" not in axis
    ]
    more = [axis for axis in more if "+" not in axis and axis in draft.axes.all_known(draft.params)]
    if more and draft.random.random() < 0.12:
        axes.add(draft.random.choice(more))
    elif draft.random.random() < 0.03:
        axis = draft.axes.add("E")
        draft.params.append(f"{draft.fresh('count')}: dim({axis})")
        axes.add(axis)
    if element in _REALS and draft.random.random() < 0.06:
        element = _chosen(draft)
    element, dims = draft.axes.stored(element, axes, draft.random)
    draft.lines.append(f"y{number} = {value.name}")
    draft.outputs.append(f"y{number}: {element}[{dims}]")


def _chosen(draft: Draft) -> str:
    """An element that the caller chooses."""
    name, options = f"C{len(draft.outputs)}", sorted(draft.random.sample(_CHOSEN, draft.random.randint(2, 3)))
    default = draft.random.choice(("", f" = {draft.random.choice(options)}"))
    draft.params.append(f"{draft.fresh('out')}: dtype({name}){default}")
    draft.axes.conditions.append(f"{name} in {{{', '.join(options)}}}")
    return name
