"""Steps that contract: by weights, by values, behind each other, in the middle of anything."""

from __future__ import annotations

from fusec.passes.graph.elaborate.primitives import PRIMITIVES
from fusec.testing.random_specs.axes import LEAD
from fusec.testing.random_specs.draft import REAL, Draft, Value, listed, without
from fusec.testing.random_specs.parameters import element
from fusec.testing.random_specs.reductions import axes_over

_OPERANDS = (
    *("{0}", "{0}", "{0}", "{0}"),
    *(
        "cast({0}, T)",
        "cast(tanh({0}), bf16)",
        "1 + abs({0})",
        "{0} * 2",
        "silu({0})",
        "exp(tanh({0}))",
        "cast({0}, f32)",
    ),
)
"""What is made of a value before it is multiplied."""

_SCALES = ("{0}", "{0}", "{0} / 8", "{0} * rsqrt(1 + {1})")

_WORDS = {place.name: place.words for place in PRIMITIVES["dot"].places if place.words}


def by_weight(draft: Draft) -> None:
    """A product with a new tensor: known before the call or not, with columns of its own or those of another one."""
    a = draft.real()
    over = axes_over(draft, a)
    if over:
        b = _operand(draft, a, over)
        if draft.axes.meet({*a.axes, *b.axes}):
            _dot(draft, a, b, over)


def of_values(draft: Draft) -> None:
    """A product of two values, axes of one of them renamed where the result is to have both."""
    a = draft.real()
    over = axes_over(draft, a)
    fitting = [v for v in draft.values if v.kind == REAL and over and set(over) <= set(v.axes)]
    if fitting:
        b = draft.random.choice(fitting)
        shared = [axis for axis in b.axes if axis in a.axes and axis not in over and draft.axes.free(axis)]
        if shared and draft.random.random() < 0.6:
            axis = draft.random.choice(shared)
            new = draft.axes.add("R")
            draft.axes.equal(new, axis, draft.random)
            b = Value(f"rename({b.name}, {axis} -> {new})", draft.axes.ordered({new, *without(b.axes, axis)}))
        if draft.axes.meet({*a.axes, *b.axes}):
            _dot(draft, a, b, over)


def narrow(draft: Draft) -> None:
    """A product of operands of 8 bits, with scales."""
    a = draft.real()
    over = axes_over(draft, a)
    if over:
        stored, cast, scale = draft.random.choice(
            (
                ("i8", "cast(20 * tanh({0}), i8)", " / 256"),
                ("f8e4m3", "cast({0}, f8e4m3)", " / 4"),
                ("i8", "{0}", " / 16"),
            )
        )
        b = _operand(draft, a, over, stored)
        if draft.axes.meet({*a.axes, *b.axes}):
            axes = without(draft.joined(a, b), *over)
            draft.define(f"dot({cast.format(a.name)}, {b.name}, over={listed(over)}){scale}", axes)


def twice(draft: Draft) -> None:
    """Two products that share an operand, at times one the gate of the other; or two behind each other."""
    a = draft.real()
    over = axes_over(draft, a)
    if not over:
        return
    products = []
    for _ in range(2):
        b = _operand(draft, a, over)
        if draft.axes.meet({*a.axes, *b.axes}):
            axes = without(draft.joined(a, b), *over)
            products.append(draft.define(f"dot({a.name}, {b.name}, over={listed(over)})", axes))
            if draft.random.random() < 0.3:
                of_values(draft)
                return
    if len(products) == 2 and draft.axes.meet({*products[0].axes, *products[1].axes}):
        form = draft.random.choice(("silu({0}) * tanh({1})", "{0} + {1}", "maximum({0}, {1})"))
        draft.define(form.format(*(each.name for each in products)), draft.joined(*products))


def taken_apart(draft: Draft) -> None:
    """A product along whose columns neighbours, or halves, meet: a gate of its own, turned, or rotated by tables."""
    random, a = draft.random, draft.real()
    over = axes_over(draft, a)
    if not over:
        return
    b = _operand(draft, a, over)
    column = next((axis for axis in b.axes if axis not in a.axes), None)
    how, together = random.choice((("halves", "join"), ("pairs", "interleave")))
    part = draft.axes.half(column, how) if column is not None and draft.axes.meet({*a.axes, *b.axes}) else None
    if column is None or part is None:
        return
    product = _dot(draft, a, b, over)
    if random.random() < 0.3:
        along = [axis for axis in product.axes if axis not in (column, LEAD)]
        axes = (*random.sample(along, min(len(along), random.randint(0, 1))), column)
        cos, sin = (draft.tensor("t", element(draft), axes) for _ in range(2))
        form = "rope" if how == "halves" else "rope_interleaved_full"
        draft.define(f"{form}({product.name}, {cos.name}, {sin.name}, over={column})", product.axes)
        return
    first, second = draft.fresh("a"), draft.fresh("b")
    draft.lines.append(f"{first}, {second} = {how}({product.name}, over={column})")
    if random.random() < 0.6:
        form = random.choice(("silu({0}) * tanh({1})", "maximum({0}, {1})", "{0} - {1}"))
        axes = draft.axes.ordered({part, *without(product.axes, column)})
        draft.define(form.format(first, second), axes)
    else:
        draft.define(f"{together}({second}, -{first}, over={column})", product.axes)


def _operand(draft: Draft, a: Value, over: tuple[str, ...], stored: str | None = None) -> Value:
    """A new tensor that has the axes `over`, mostly columns, and at times axes of `a` that both operands keep."""
    columns = [axis for axis in draft.axes.order if axis.startswith("F") and axis not in a.axes]
    column: tuple[str, ...] = ()
    if columns and draft.random.random() < 0.5:
        column = (draft.random.choice(columns),)
    elif draft.random.random() < 0.85:
        column = (draft.axes.add("F"),)
    batch = tuple(axis for axis in a.axes if axis not in (*over, LEAD) and draft.random.random() < 0.15)
    mark = draft.random.choice(("weight ", "weight ", ""))
    return draft.tensor("w", stored or element(draft), draft.axes.ordered({*batch, *column, *over}), mark=mark)


def _dot(draft: Draft, a: Value, b: Value, over: tuple[str, ...]) -> Value:
    random = draft.random
    operands = [random.choice(_OPERANDS).format(each.name) for each in (a, b)]
    random.shuffle(operands)
    words = "".join(f", {name}={random.choice(words)}" for name, words in _WORDS.items() if random.random() < 0.15)
    count = " * ".join(f"({axis})" if " " in axis else axis for axis in over if axis != LEAD and "/" not in axis) or "3"
    product = f"dot({', '.join(operands)}, over={listed(over)}{words})"
    return draft.define(random.choice(_SCALES).format(product, count), without(draft.joined(a, b), *over))
