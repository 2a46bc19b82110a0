"""A value of the reference as text: the expression, the layout of its axes, and what it is held in."""

from __future__ import annotations

from dataclasses import dataclass, replace

from fusec.ir.types import Axis, Kind, Storage
from fusec.reference.emit.context import Context
from fusec.reference.emit.layout import Layout, merged, moved
from fusec.reference.emit.spelling import Text, call


@dataclass(frozen=True, slots=True)
class Value:
    """An expression. `number` says that it is a Python number; `stored` is the storage type it is still in, if any."""

    text: Text
    layout: Layout
    kind: Kind
    number: bool = False
    stored: Storage | None = None

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The axes of the value, in the order in which they stand."""
        return tuple(axis for axis in self.layout if axis is not None)

    def then(self, suffix: str, layout: Layout | None = None) -> Value:
        """The value with a method call or an index behind it, in a new layout if that changes."""
        return replace(self, text=self.text.then(suffix), layout=self.layout if layout is None else layout)

    def called(self, name: str) -> Value:
        """The value under a variable name."""
        return replace(self, text=Text(name))

    def of_kind(self, kind: Kind, context: Context) -> Value:
        """The value ready for arithmetic of a kind: widened from storage, an integer as a real where that is wanted."""
        if self.number or kind is Kind.BOOL or (self.kind is kind and not self.stored):
            return self
        suffix = context.widening() if kind is Kind.REAL else ".long()"
        return replace(self.then(suffix), kind=kind, stored=None)

    def tensor(self, context: Context) -> Value:
        """The value as a tensor, if it is a Python number."""
        if not self.number:
            return self
        return replace(self, text=call("torch.tensor", self.text.code, self._options(context)), number=False)

    def spread(self, axes: tuple[Axis, ...], context: Context) -> Value:
        """The value repeated to all of `axes`."""
        if self.number:
            shape = f"({context.sizes(axes)}{',' * (len(axes) == 1)})"
            text = call("torch.full", shape, self.text.code, self._options(context))
            return replace(self, text=text, layout=axes, number=False)
        placed = self.against(axes)
        if placed.layout == axes:
            return placed
        return placed.then(f".expand({context.sizes(axes)})", axes)

    def _options(self, context: Context) -> str:
        dtype = {Kind.REAL: context.compute(), Kind.INT: "torch.long", Kind.BOOL: "torch.bool"}[self.kind]
        return f"dtype={dtype}{context.device}"

    def place(self, axis: Axis) -> int:
        """The dimension of an axis, counted from the end."""
        return self.layout.index(axis) - len(self.layout)

    def against(self, axes: tuple[Axis, ...]) -> Value:
        """The value so that it broadcasts against a tensor with the dimensions `axes`."""
        suffix, layout = moved(self.layout, axes)
        return self.then(suffix, layout)


def aligned(values: list[Value], axes: tuple[Axis, ...]) -> tuple[list[Value], Layout]:
    """`values` so that they broadcast together over `axes`, untouched where they do already; the layout they make."""
    layout = merged([value.layout for value in values])
    if layout is None:
        values = [value.against(axes) for value in values]
        layout = merged([value.layout for value in values])
    assert layout is not None
    return values, layout
