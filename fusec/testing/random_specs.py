"""Random specs: well-typed ops in the language, one per seed, to be compiled and compared with their reference.

They are tame: what is divided by is at least 1, what an exponential is taken of is bounded, so that the error bound
stays narrow and a comparison with it means something. `text(seed)` gives the same spec every time; with
`pytest --spec-seed N` the tests of random specs run on that one.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from fusec.testing.random_axes import LEAD, Axes, random_axes

UNARY = {
    "relu({0})": False,
    "silu({0})": False,
    "gelu({0})": False,
    "gelu_tanh({0})": False,
    "abs({0})": False,
    "-{0}": False,
    "2 * {0} + 1": False,
    "log(1 + abs({0}))": False,
    "sqrt(1 + abs({0}))": False,
    "where({0} > 0, {0}, {0} / 8)": False,
    "tanh({0})": True,
    "sigmoid({0})": True,
    "{0} / (1 + abs({0}))": True,
    "{0} * rsqrt({0} * {0} + 1)": True,
    "clamp({0}, -2, 2)": True,
    "cast({0}, bf16)": False,
}
"""Expressions of any value, and whether their result is bounded whatever the value is."""

OF_BOUNDED = (
    "exp({0})",
    "exp2(-{0})",
    "sin(3 * {0})",
    "cos({0})",
    "erf({0})",
    "{0} * {0}",
    "{0} ** 3",
    "cast({0}, f16)",
    "cast(8 * {0}, f8e4m3)",
    "cast({0}, f8e5m2)",
    "cast(40 * {0}, i8) / 16",
)
"""Expressions of a bounded value; theirs is bounded too."""

BINARY = {
    "{0} + {1}": False,
    "{0} - {1}": False,
    "maximum({0}, {1})": False,
    "minimum({0}, {1})": False,
    "{0} / (1 + abs({1}))": False,
    "{0} / (1 + {1} * {1})": False,
    "where({0} < {1}, {0}, {1} / 2)": False,
    "{0} * tanh({1})": False,
    "sigmoid({0}) * sigmoid({1})": True,
}

REDUCED = {
    "mean({0}, over={1})": False,
    "sum({0} / 16, over={1})": False,
    "mean({0} * {0}, over={1})": False,
    "amax({0}, over={1})": False,
    "amax(abs({0}), over={1})": False,
    "amin({0}, over={1})": False,
    "rsqrt(mean({0} * {0}, over={1}) + 1)": True,
}
"""Reductions of a value over some of its axes."""

WITHIN = {
    "softmax({0}, over={1})": True,
    "{0} - logsumexp({0}, over={1})": False,
    "{0} - mean({0}, over={1})": False,
    "{0} * rsqrt(mean({0} * {0}, over={1}) + eps)": False,
    "{0} / (1 + amax(abs({0}), over={1}))": True,
}
"""Expressions that reduce and come back to the axes of the value."""

ACTIVATIONS = ("relu", "silu", "gelu", "gelu_tanh", "tanh", "sigmoid")


@dataclass(frozen=True, slots=True)
class Value:
    """A name in the body of a spec, with its axes in the order of the signature."""

    name: str
    axes: tuple[str, ...]
    bounded: bool = False


@dataclass(slots=True)
class Draft:
    """A spec on its way: parameters, statements and the values that later statements may use."""

    random: Random
    axes: Axes
    params: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    returned: set[str] = field(default_factory=set)

    def pick(self, *, bounded: bool = False, needs: str | None = None) -> Value | None:
        """A value drawn from those there are, late ones more often."""
        fitting = [v for v in self.values if (v.bounded or not bounded) and (needs is None or needs in v.axes)]
        return fitting[-1 - min(int(self.random.expovariate(0.7)), len(fitting) - 1)] if fitting else None

    def define(self, expression: str, axes: tuple[str, ...], bounded: bool = False) -> Value:
        """A new name for `expression`."""
        value = Value(f"v{len(self.values)}", axes, bounded)
        self.lines.append(f"{value.name} = {expression}")
        self.values.append(value)
        return value

    def tensor(self, name: str, element: str, axes: tuple[str, ...], rest: str = "", kind: str = "") -> Value:
        """A new tensor parameter."""
        self.params.append(f"{kind}{name}: {element}[{self.axes.dims(axes, self.random)}]{rest}")
        return Value(name, self.axes.ordered(axes))

    def joined(self, *values: Value) -> tuple[str, ...]:
        return self.axes.ordered({axis for value in values for axis in value.axes})


def text(seed: int) -> str:
    """The spec of `seed`: one op called `random_SEED`."""
    random = Random(seed)
    draft = Draft(random, random_axes(random))
    draft.values.append(draft.tensor("x", "T", draft.axes.all))
    draft.params.extend(draft.axes.solving)
    draft.params.append("eps: f32 = 1e-5")
    for _ in range(random.randint(2, 7)):
        random.choice(STEPS)(draft)
    _return_some(draft)
    options = ", ".join(sorted(random.sample(("f16", "bf16", "f32"), random.randint(1, 3))))
    conditions = ", ".join([f"T in {{{options}}}", *draft.axes.conditions])
    # Parameters with a default come last, as in Python.
    params = sorted(draft.params, key=lambda param: "=" in param)
    results = ", ".join(draft.outputs)
    return (
        f"op random_{seed}({', '.join(params)})\n  -> {f'({results})' if len(draft.outputs) > 1 else results}\n"
        f"where {conditions}:\n" + "".join(f"    {line}\n" for line in draft.lines)
    )


def _unary(draft: Draft) -> None:
    value = draft.pick()
    assert value is not None
    if value.bounded and draft.random.random() < 0.5:
        draft.define(draft.random.choice(OF_BOUNDED).format(value.name), value.axes, bounded=True)
    else:
        form = draft.random.choice(list(UNARY))
        draft.define(form.format(value.name), value.axes, UNARY[form])


def _binary(draft: Draft) -> None:
    a, b = draft.pick(), draft.random.choice(draft.values)
    assert a is not None
    form = draft.random.choice(list(BINARY))
    draft.define(form.format(a.name, b.name), draft.joined(a, b), BINARY[form])


def _reduce(draft: Draft) -> None:
    axis = draft.random.choice(draft.axes.inner)
    value = draft.pick(needs=axis)
    if value is not None:
        over = _over(draft, value, axis)
        form = draft.random.choice(list(REDUCED))
        left = tuple(each for each in value.axes if each not in over)
        draft.define(form.format(value.name, _listed(over)), left, REDUCED[form])


def _within(draft: Draft) -> None:
    axis = draft.random.choice(draft.axes.inner)
    value = draft.pick(needs=axis)
    if value is not None:
        form = draft.random.choice(list(WITHIN))
        draft.define(form.format(value.name, _listed(_over(draft, value, axis))), value.axes, WITHIN[form])


def _over(draft: Draft, value: Value, axis: str) -> tuple[str, ...]:
    """`axis`, or all inner axes of the value together."""
    together = tuple(each for each in value.axes if each in draft.axes.inner)
    return together if draft.random.random() < 0.4 else (axis,)


def _listed(axes: tuple[str, ...]) -> str:
    return axes[0] if len(axes) == 1 else f"({', '.join(axes)})"


def _parameter(draft: Draft) -> None:
    """A gain or bias, at times optional, at times a `weight`."""
    value = draft.pick()
    assert value is not None
    inner = tuple(axis for axis in value.axes if axis in draft.axes.inner)
    if inner:
        axes = inner if draft.random.random() < 0.6 else (draft.random.choice(inner),)
        name = f"p{len(draft.params)}"
        optional, form = draft.random.choice(((" = 0", "{} + {}"), (" = 1", "{} * {}"), ("", "{} * {}")))
        kind = draft.random.choice(("", "weight "))
        parameter = draft.tensor(name, draft.random.choice(("T", "f32", "bf16")), axes, optional, kind)
        draft.define(form.format(value.name, parameter.name), draft.joined(value, parameter))


def _scalar(draft: Draft) -> None:
    value = draft.pick()
    assert value is not None
    name = f"s{len(draft.params)}"
    draft.params.append(f"{name}: f32 = {draft.random.choice((0.5, 2, 1.25))}")
    draft.define(f"{value.name} * {name}", value.axes)


def _choice(draft: Draft) -> None:
    value = draft.pick()
    assert value is not None
    options = draft.random.sample(ACTIVATIONS, draft.random.randint(2, 3))
    name = f"c{len(draft.params)}"
    draft.params.append(f"{name}: {{{', '.join(options)}}} = {options[0]}")
    draft.define(f"{name}({value.name})", value.axes)


def _gather(draft: Draft) -> None:
    """A table looked up by position along a kept axis."""
    kept = [axis for axis in draft.axes.kept if axis != LEAD]
    value = draft.pick()
    assert value is not None
    if kept and len(value.axes) > 1:
        index, inner = draft.random.choice(kept), draft.random.choice(draft.axes.inner)
        number = len(draft.params)
        draft.params.append(f"table{number}: f32[Rows{number}, {inner}]")
        draft.params.append(f"at{number}: {draft.random.choice(('i32', 'i64'))}[{index}]")
        looked_up = Value(f"table{number}[at{number}]", draft.axes.ordered({index, inner}))
        draft.define(f"{value.name} + {looked_up.name}", draft.joined(value, looked_up))


def _position(draft: Draft) -> None:
    """Something that depends on the place along an axis."""
    value = draft.pick()
    assert value is not None
    named = [axis for axis in value.axes if axis != LEAD]
    if named:
        axis = draft.random.choice(named)
        form = draft.random.choice(("{0} * (1 + index({1}) % 3)", "where(index({1}) % 2 == 0, {0}, -{0})"))
        draft.define(form.format(value.name, axis), value.axes)


def _halves(draft: Draft) -> None:
    """Halves or pairs of an axis, turned into each other and put together again."""
    axis = draft.random.choice(draft.axes.inner)
    value = draft.pick(needs=axis)
    apart, together = draft.random.choice((("halves", "join"), ("pairs", "interleave")))
    if value is not None and draft.axes.take_apart(axis, apart):
        number = len(draft.lines)
        draft.lines.append(f"a{number}, b{number} = {apart}({value.name}, over={axis})")
        first, second = draft.random.choice((("{0} - {1}", "{1} + {0}"), ("-{1}", "{0}"), ("{0} * tanh({1})", "{1}")))
        parts = (form.format(f"a{number}", f"b{number}") for form in (first, second))
        draft.define(f"{together}({', '.join(parts)}, over={axis})", value.axes)


def _parts(draft: Draft) -> None:
    """The parts of `P + Q`, one of them changed, put together again."""
    summed = next((axis for axis in draft.axes.inner if "+" in axis), None)
    value = draft.pick(needs=summed) if summed else None
    if summed is not None and value is not None:
        number = len(draft.lines)
        parts = [part.strip() for part in summed.split("+")]
        draft.lines.append(f"a{number}, b{number} = split({value.name}, {', '.join(parts)})")
        change = draft.random.choice(("{0} * 2", "relu({0})", "{0} - amax({0}, over={1})"))
        draft.define(f"concat({change.format(f'a{number}', parts[0])}, b{number})", value.axes)


STEPS = (
    *(_unary, _unary, _unary, _binary, _binary, _reduce, _reduce, _within, _within),
    *(_parameter, _parameter, _scalar, _choice, _gather, _position, _halves, _halves, _parts),
)


def _return_some(draft: Draft) -> None:
    """The last value and at times earlier ones become outputs, in one format or another."""
    chosen = [draft.values[-1]]
    for value in draft.values[1:-1]:
        if draft.random.random() < 0.3 and len(chosen) < 3:
            chosen.append(value)
    for value in chosen:
        _return(draft, value)


def _return(draft: Draft, value: Value) -> None:
    number = len(draft.outputs)
    inner = tuple(axis for axis in value.axes if axis in draft.axes.inner)
    if inner and draft.random.random() < 0.3:
        over = inner if draft.random.random() < 0.5 else (draft.random.choice(inner),)
        element = draft.random.choice(("f8e4m3", "i8"))
        draft.lines.append(f"q{number}, scale{number} = quantize({value.name}, {element}, over={_listed(over)})")
        left = tuple(axis for axis in value.axes if axis not in over)
        draft.outputs.append(f"q{number}: {element}[{draft.axes.dims(value.axes, draft.random)}]")
        draft.outputs.append(f"scale{number}: f32[{draft.axes.dims(left, draft.random)}]")
    else:
        element = draft.random.choice(("T", "T", "f32", "bf16"))
        draft.lines.append(f"y{number} = {value.name}")
        draft.outputs.append(f"y{number}: {element}[{draft.axes.dims(value.axes, draft.random)}]")
