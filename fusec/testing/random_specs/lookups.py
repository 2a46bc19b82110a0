"""Steps that look up tensors by position, and that write them by position."""

from __future__ import annotations

from fusec.testing.random_specs.axes import LEAD
from fusec.testing.random_specs.draft import INT, Draft, Value, without
from fusec.testing.random_specs.parameters import element

_INDEX = (
    "{0}",
    "{0}",
    "{0}",
    "{0} // 2",
    "minimum({0}, {1} - 1)",
    "where({0} > 1, {0}, 0)",
    "{0} % {1}",
    "abs({0} - 1)",
)
"""Of an integer tensor and the number of rows it looks up: each stays in range where the tensor does."""


def gather(draft: Draft) -> None:
    """A table looked up along an axis of a value, or along one of its own, which may be reduced at once."""
    value = draft.real()
    named = [axis for axis in value.axes if axis != LEAD]
    along = draft.random.choice(named) if named and draft.random.random() < 0.7 else draft.axes.add("J")
    kept = [axis for axis in named if axis != along and draft.axes.meet({axis, along})]
    inner = tuple(draft.random.sample(kept, min(len(kept), draft.random.randint(0, 2))))
    looked_up = _looked_up(draft, (along,), inner)
    if not draft.axes.meet({*value.axes, *looked_up.axes}):
        return
    together = draft.joined(value, looked_up)
    if along not in value.axes or draft.random.random() < 0.4:
        left = without(together, along)
        forms = {
            "sum({1}, over={2})": without(looked_up.axes, along),
            "{0} + amax({1}, over={2})": (*value.axes, *without(looked_up.axes, along)),
            "sum({0} * {1}, over={2}) / 8": left,
            "mean({1} - tanh({0}), over={2})": left,
            "dot({0}, {1}, over={2}) / 8": left,
        }
        form = draft.random.choice(list(forms)[: None if along in value.axes else -1])
        draft.define(form.format(value.name, looked_up.name, along), draft.axes.ordered(forms[form]))
    else:
        form = draft.random.choice(("{0} + {1}", "{0} * {1}", "where({1} > {0}, {0}, 1)"))
        draft.define(form.format(value.name, looked_up.name), together)


def gather_again(draft: Draft) -> None:
    """A tensor that is there already, looked up: its rows in another order, or some of them."""
    value = draft.real()
    tensors = [each for each in draft.stored if each.dims and LEAD not in each.dims and each.dims[0].isalnum()]
    if tensors:
        tensor = draft.random.choice(tensors)
        kept = {axis for dim in tensor.dims[1:] for axis in dim.split("*")} - {"1"}
        free = [axis for axis in value.axes if axis != LEAD and draft.axes.meet({axis, *kept}) and axis not in kept]
        along = draft.random.choice(free) if free and draft.random.random() < 0.7 else draft.axes.add("J")
        index = draft.tensor("at", draft.random.choice(("i32", "i64")), (along,), kind=INT)
        looked_up = Value(f"{tensor.name}[{index.name}]", draft.axes.ordered({along, *kept}))
        real = draft.define(f"1 * {looked_up.name}", looked_up.axes)
        if draft.axes.meet({*value.axes, *real.axes}) and draft.random.random() < 0.7:
            draft.define(f"{value.name} - {real.name}", draft.joined(value, real))


def _looked_up(draft: Draft, along: tuple[str, ...], inner: tuple[str, ...]) -> Value:
    """An element of a new table at positions along `along`: by one index or two, or by an index that is looked up."""
    random, rows = draft.random, draft.axes.add("U")
    table_dims, indices, axes = [rows], [_index(draft, along, rows)], {*along, *inner}
    if random.random() < 0.2:
        other = draft.axes.add("U")
        table_dims.append(other)
        indices.append(_index(draft, random.choice((along, *((axis,) for axis in along))), other))
    name = draft.fresh("table")
    stored, rest = draft.axes.stored(element(draft), inner, random)
    dims = ", ".join((*table_dims, *filter(None, [rest])))
    draft.params.append(f"{name}: {stored}[{dims}]")
    return Value(f"{name}[{', '.join(indices)}]", draft.axes.ordered(axes))


def _index(draft: Draft, along: tuple[str, ...], rows: str) -> str:
    if draft.random.random() < 0.15 and along[0] in (*draft.axes.kept, *draft.axes.inner):
        return f"minimum(index({along[0]}), {rows} - 1)"
    index = draft.tensor("at", draft.random.choice(("i32", "i64")), along, kind=INT).name
    if draft.random.random() < 0.15:
        pages = draft.axes.add("U")
        name = draft.fresh("pages")
        draft.params.append(f"{name}: i32[{pages}]")
        index = f"{name}[{index}]"
    return draft.random.choice(_INDEX).format(index, rows)


def write_in_place(draft: Draft) -> None:
    """A `mut` tensor with the axes of a value, read and written where it lies."""
    value = draft.real()
    axes, name = value.axes, draft.fresh("m")
    stored = draft.random.choice(("T", "f32", "bf16"))
    if all(axis.isalnum() for axis in axes) and axes and not draft.axes.composed and draft.random.random() < 0.5:
        dims = ", ".join(axes)
        index = ", ".join(f"index({axis})" for axis in axes[: draft.random.randint(1, len(axes))])
    else:
        dims, index = draft.axes.dims(axes, draft.random), "..."
    draft.params.append(f"mut {name}: {stored}[{dims}]")
    form = draft.random.choice(("{0}", "{1} + {0}", "{1} * 2 - {0}", "maximum({0}, {1})"))
    draft.writes.append(f"{name}[{index}] = {form.format(value.name, name)}")


def write_at(draft: Draft) -> None:
    """Elements of a `mut` tensor, written or added to at places that the call names by one index or two."""
    value = draft.real()
    named = tuple(axis for axis in value.axes if axis.isalnum())
    if named == value.axes and named and not draft.axes.composed:
        along = named[: draft.random.randint(1, len(named))]
        rows, name = draft.axes.add("U"), draft.fresh("m")
        mark = draft.random.choice(("distinct ", "distinct ", ""))
        slot = draft.tensor("at", draft.random.choice(("i32", "i64")), along, mark=mark, kind=INT).name
        paged = draft.random.random() < 0.3
        dims = ", ".join((rows, *(("4",) if paged and "4" not in named else ()), *without(named, *along)))
        index = f"{slot} // 4, {slot} % 4" if paged and "4" not in named else slot
        draft.params.append(f"mut {name}: {draft.random.choice(('T', 'f32'))}[{dims}]")
        draft.writes.append(f"{name}[{index}] {draft.random.choice(('=', '=', '+='))} {value.name}")
