"""What the names of one op, or of one inlined function, stand for, and how mistakes in it are reported."""

from __future__ import annotations

from fusec.diagnostics import Note, Span
from fusec.ir.expressions import Const
from fusec.ir.type_rules import TypeFault
from fusec.ir.types import DTYPES, Axis, Dim, Fixed, Named
from fusec.lang import habits, syntax
from fusec.passes.graph.elaborate.bindings import Axes, Binding, Bound, Choice, Function, Tuple, Type, Value
from fusec.passes.graph.elaborate.constants import CONSTANTS
from fusec.passes.graph.elaborate.context import Context
from fusec.passes.graph.elaborate.dims import DimFault, to_dim
from fusec.passes.graph.elaborate.frame import Frame
from fusec.passes.graph.elaborate.primitives import PRIMITIVES
from fusec.passes.graph.elaborate.report import did_you_mean, listing, near_dtype, near_function

_BY_NAME = "axes are given by name, as in `over=N`"


class Scope:
    """The names of one body of code.

    Every method that evaluates returns None for a mistake, which it has reported; what depends on it is skipped.
    """

    def __init__(self, context: Context, frame: Frame, names: dict[str, Binding]) -> None:
        self.context = context
        self.frame = frame
        self.names = names

    def fault(self, message: str, span: Span, *notes: Note, help: str | None = None) -> None:
        """Reports a mistake; one inside the standard library is reported at the call that led there."""
        place = self.frame.place(span)
        if place != span and self.frame.function is not None:
            message = f"in `{self.frame.function.name.text}`: {message}"
        self.context.report.add(message, place, *notes, *self.frame.notes(span), help=help)

    def type_fault(self, fault: TypeFault, span: Span, operands: tuple[syntax.Expr, ...]) -> None:
        """Reports a fault of the type rules at the operand it names, with the place that defines it."""
        notes: tuple[Note, ...] = ()
        if fault.operand is not None and fault.operand < len(operands):
            operand = operands[fault.operand]
            span, notes = operand.span, self.origin(operand)
        self.fault(fault.message, span, *notes, help=fault.help)

    def origin(self, expr: syntax.Expr) -> tuple[Note, ...]:
        """Where the name that `expr` is was defined, if it is a name of the user's."""
        known = self.names.get(expr.text) if isinstance(expr, syntax.Name) else None
        if known is None or known.span.source == self.frame.standard:
            return ()
        return (Note(f"`{known.span.text}` is defined here", known.span),)

    # --- Names ---------------------------------------------------------------------------------------------------

    def name(self, name: syntax.Name) -> Bound | None:
        """What a name stands for where a value, an axis or a dtype may stand."""
        text = name.text
        if self.frame.function is None and text in self.context.written:
            note = Note("it is written here", self.context.written[text])
            self.fault(f"`{text}` is read after it was written", name.span, note, help="read it before")
            return None
        if text in self.names:
            return self.names[text].bound
        if text in self._axis_names():
            return Axes((Named(text),))
        if text in CONSTANTS:
            return Value(self.context.add(Const(CONSTANTS[text]), self.frame.place(name.span)))
        known = self._dtype(text) or self._function(name)
        if known is None and not self._excused(text):
            names = [*self.names, *CONSTANTS, *self._axis_names()]
            self.fault(
                f"there is no `{text}` here",
                name.span,
                help=habits.NAMES.get(text) or did_you_mean(text, names) or near_dtype(text),
            )
        return known

    def callee(self, name: syntax.Name) -> Function | Choice | None:
        """What a name stands for where it is called."""
        text = name.text
        known = self.names.get(text)
        if known and isinstance(known.bound, Function | Choice):
            return known.bound
        function = self._function(name)
        if function:
            return function
        if known and known.bound:
            self.fault(f"`{text}` is a value, it cannot be called", name.span, *self.origin(name))
        elif not known and not self._excused(text):
            callable_names = [n for n, b in self.names.items() if isinstance(b.bound, Function | Choice)]
            help = near_function(text, [*PRIMITIVES, *self.context.functions(name.span), *callable_names])
            if text in [op.name.text for op in self.context.program.file.ops]:
                help = "an op cannot be called; move what they share to a function, `fn`"
            if text in DTYPES:
                help = "a choice is between functions; the caller chooses a dtype by `out_dtype: dtype(T)`"
            self.fault(f"there is no function `{text}`", name.span, help=help)
        return None

    def _function(self, name: syntax.Name) -> Function | None:
        target = PRIMITIVES.get(name.text) or self.context.functions(name.span).get(name.text)
        return Function(target) if target else None

    def _dtype(self, text: str) -> Type | None:
        storage = DTYPES.get(text) or (None if self.frame.function else self.context.variables.get(text))
        return Type(storage) if storage else None

    def _axis_names(self) -> dict[str, Span]:
        return {} if self.frame.function else self.context.axes

    def _excused(self, name: str) -> bool:
        excused = self.context.program.incomplete or name in self.context.program.broken
        self.context.excused |= excused
        return excused

    # --- Axes ----------------------------------------------------------------------------------------------------

    def axes(self, expr: syntax.Expr) -> Dim | None:
        """The axes that `expr` writes, of which there must be one at least."""
        found = self.dim(expr)
        if found == ():
            self.fault("`1` is one position, which no value has an axis for", expr.span, help=_BY_NAME)
            return None
        return found

    def dim(self, expr: syntax.Expr) -> Dim | None:
        """The axes that `expr` writes: one axis expression, or several in brackets."""
        items = expr.items if isinstance(expr, syntax.Several) else (expr,)
        try:
            found = tuple(axis for item in items for axis in to_dim(item, self._resolve))
        except DimFault as fault:
            counted = isinstance(expr, syntax.Number | syntax.Unary)
            self.fault(fault.message, fault.span, help=_BY_NAME if counted else fault.help)
            return None
        except _Silent:
            return None
        doubled = [axis for axis in found if found.count(axis) > 1]
        if doubled:
            self.fault(f"axis `{doubled[0]}` is named twice", expr.span)
            return None
        return found

    def axis(self, expr: syntax.Expr, of_product: int | None = None) -> Axis | None:
        """The one axis that `expr` writes; of a product `A*B` the one in the place `of_product`, if that is allowed."""
        found = self.axes(expr)
        if found and of_product is not None and isinstance(expr, syntax.Binary):
            return found[of_product]
        if found is None or len(found) == 1:
            return found[0] if found else None
        self.fault(f"one axis is needed, these are {len(found)}", expr.span, help=f"they are {listing(found)}")
        return None

    def is_axes(self, expr: syntax.Expr) -> bool:
        """Whether `expr` is made of axes and numbers alone, and has an axis."""
        leaves = list(_leaves(expr))
        return any(self._names_axes(leaf) for leaf in leaves) and all(
            isinstance(leaf, syntax.Number) or self._names_axes(leaf) for leaf in leaves
        )

    def is_type(self, expr: syntax.Expr) -> bool:
        """Whether `expr` is a name of a dtype, as far as that is known of it."""
        if not isinstance(expr, syntax.Name):
            return False
        known = self.names.get(expr.text)
        return isinstance(known.bound, Type | None) if known else self._dtype(expr.text) is not None

    def _names_axes(self, expr: syntax.Expr | None) -> bool:
        match expr:
            case syntax.Dots():
                return True
            case syntax.Name(text) if text in self.names:
                return isinstance(self.names[text].bound, Axes)
            case syntax.Name(text):
                return text in self._axis_names()
            case _:
                return False

    def _resolve(self, name: syntax.Name) -> Dim:
        known = self.names.get(name.text)
        if known:
            match known.bound:
                case Axes(dim):
                    return dim
                case Value() | Tuple() as literal if fixed := self._fixed(literal):
                    return fixed
                case None:
                    raise _Silent
                case _:
                    names = self._axis_names()
                    help = f"the axes here: {listing(names)}" if names else _BY_NAME
                    raise DimFault(f"an axis is needed here, and `{name.text}` is none", name.span, help)
        if name.text not in self._axis_names():
            near = did_you_mean(name.text, [*self._axis_names()])
            raise DimFault(f"there is no axis `{name.text}`", name.span, near)
        return (Named(name.text),)

    def _fixed(self, bound: Bound) -> Dim:
        """The axes that whole numbers write which a function was given: which they are to be, it alone knows."""
        match bound:
            case Value(node):
                expr = self.context.builder[node].expr
                whole = isinstance(expr, Const) and type(expr.value) is int and expr.value > 0
                return (Fixed(int(expr.value)),) if isinstance(expr, Const) and whole else ()
            case Tuple(items):
                found = [self._fixed(item) for item in items]
                return tuple(axis for dim in found for axis in dim) if all(found) else ()
            case _:
                return ()


class _Silent(Exception):
    """A name whose definition was wrong, which has been said already."""


def _leaves(expr: syntax.Expr) -> list[syntax.Expr | None]:
    """The operands of an axis expression; None stands for what cannot be part of one."""
    match expr:
        case syntax.Several(items=items):
            return [leaf for item in items for leaf in _leaves(item)]
        case syntax.Binary(op="mul" | "add" | "div", left=left, right=right):
            return [*_leaves(left), *_leaves(right)]
        case syntax.Name() | syntax.Number() | syntax.Dots():
            return [expr]
        case _:
            return [None]
