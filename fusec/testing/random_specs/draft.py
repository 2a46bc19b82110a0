"""A random spec on its way: what it takes, what it has computed so far, what it gives back."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random

from fusec.testing.random_specs.axes import LEAD, Axes

REAL, INT, BOOL = "real", "int", "bool"


@dataclass(frozen=True, slots=True)
class Value:
    """A name or a small expression, with its axes in the order of the signature.

    A `bounded` value is at most a few units whatever the call is.
    """

    name: str
    axes: tuple[str, ...]
    kind: str = REAL
    bounded: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """A tensor parameter with its dimensions as the signature has them, so that it can be looked up in."""

    name: str
    dims: tuple[str, ...]


@dataclass(slots=True)
class Draft:
    """Parameters, statements and the values that later statements may use."""

    random: Random
    axes: Axes
    params: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    values: list[Value] = field(default_factory=list)
    stored: list[Stored] = field(default_factory=list)
    outputs: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)
    """Statements that write a tensor: they come last."""
    functions: list[str] = field(default_factory=list)

    def pick(self, kind: str = REAL, *, bounded: bool = False, needs: str | None = None) -> Value | None:
        """A value drawn from those there are, late ones more often."""
        fitting = [
            v
            for v in self.values
            if v.kind == kind and (v.bounded or not bounded) and (needs is None or needs in v.axes)
        ]
        return fitting[-1 - min(int(self.random.expovariate(0.7)), len(fitting) - 1)] if fitting else None

    def real(self) -> Value:
        """A real value; there always is one."""
        value = self.pick()
        assert value is not None
        return value

    def partner(self, value: Value, kind: str = REAL) -> Value | None:
        """A value, perhaps the same, whose axes may meet those of `value`."""
        fitting = [v for v in self.values if v.kind == kind and self.axes.meet({*v.axes, *value.axes})]
        return self.random.choice(fitting) if fitting else None

    def axis(self, value: Value, *, lead: bool = False) -> str | None:
        """An axis of `value`: mostly one of those along which rows lie, at times any other."""
        inner = [axis for axis in value.axes if axis not in self.axes.kept]
        others = [axis for axis in value.axes if lead or axis != LEAD]
        chosen = inner if inner and self.random.random() < 0.75 else others
        return self.random.choice(chosen) if chosen else None

    def define(self, expression: str, axes: tuple[str, ...], bounded: bool = False, kind: str = REAL) -> Value:
        """A new name for `expression`."""
        value = Value(self.fresh("v"), axes, kind, bounded)
        self.lines.append(f"{value.name} = {expression}")
        self.values.append(value)
        return value

    def fresh(self, stem: str) -> str:
        """A name that nothing has."""
        return f"{stem}{len(self.lines) + len(self.params) + len(self.writes)}"

    def tensor(
        self, stem: str, element: str, axes: tuple[str, ...], rest: str = "", mark: str = "", kind: str = REAL
    ) -> Value:
        """A new tensor parameter."""
        name = self.fresh(stem)
        element, dims = self.axes.stored(element, axes, self.random)
        self.params.append(f"{mark}{name}: {element}[{dims}]{rest}")
        if not rest and kind == REAL:
            self.stored.append(Stored(name, tuple(dims.split(", ")) if dims else ()))
        return Value(name, self.axes.ordered(axes), kind)

    def joined(self, *values: Value) -> tuple[str, ...]:
        """The axes that values have together."""
        return self.axes.ordered({axis for value in values for axis in value.axes})


def listed(axes: tuple[str, ...]) -> str:
    """Axes as an argument."""
    return axes[0] if len(axes) == 1 else f"({', '.join(axes)})"


def without(axes: tuple[str, ...], *removed: str) -> tuple[str, ...]:
    """`axes` less `removed`."""
    return tuple(axis for axis in axes if axis not in removed)
