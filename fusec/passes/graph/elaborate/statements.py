"""Statements: assignments, writes into a tensor, and the body of an inlined function."""

from __future__ import annotations

from typing import assert_never

from fusec.diagnostics import Note, Span
from fusec.ir.expressions import Gather, operands
from fusec.ir.graph import Scatter, TensorParam
from fusec.ir.type_rules import TypeFault
from fusec.ir.types import Kind, without
from fusec.lang import syntax
from fusec.passes.graph.elaborate.bindings import Binding, Bound, Tuple, Value
from fusec.passes.graph.elaborate.calls import Calls
from fusec.passes.graph.elaborate.frame import Frame
from fusec.passes.graph.elaborate.identifiers import check_name
from fusec.passes.graph.elaborate.report import Report, listing


class Body(Calls):
    """Runs the statements of an op or of a function."""

    def run(self, function: syntax.Fn, frame: Frame, names: dict[str, Binding]) -> Bound | None:
        """What `function` returns when its parameters are `names`."""
        inner = Body(self.context, frame, names, self.depth)
        for statement in function.body:
            match statement:
                case syntax.Assign():
                    inner.assign(statement)
                case syntax.Add():
                    inner.add(statement)
                case syntax.Return(value):
                    return inner.bound(value)
                case syntax.Bare():
                    pass  # `check_function` has reported it
                case _:
                    assert_never(statement)
        return None

    def execute(self, statement: syntax.Statement) -> None:
        """Runs one statement of an op."""
        match statement:
            case syntax.Assign():
                self.assign(statement)
            case syntax.Add():
                self.add(statement)
            case syntax.Return(span=span):
                self.fault("an op has no `return`", span, help="assign its outputs by name")
            case syntax.Bare(syntax.Call(syntax.Name("bounded")) as call):
                self._expect_bounds(call)
            case syntax.Bare(span=span):
                self.fault("nothing is done with this", span, help="give it a name, as in `y = ...`")
            case _:
                assert_never(statement)

    def assign(self, statement: syntax.Assign) -> None:
        """Evaluates the right side and binds the names on the left, even when it is wrong, so that they are known."""
        targets = statement.targets
        if len(targets) == 1 and isinstance(targets[0], syntax.Lookup):
            self._write(targets[0], statement.value)
            return
        bound = self.bound(statement.value)
        items = self._distribute(bound, statement)
        for target, item in zip(targets, items, strict=True):
            if isinstance(target, syntax.Name):
                self._bind(target, item)
            else:
                help = "assign to a name, or to an element of a `mut` tensor"
                self.fault("this cannot be assigned to", target.span, help=help)

    def add(self, statement: syntax.Add) -> None:
        """`t[i] += value`."""
        if isinstance(statement.target, syntax.Lookup):
            self._write(statement.target, statement.value, adds=True)
            return
        self.bound(statement.value)
        help = "it is for elements of a `mut` tensor, `t[i] += v`; give any other sum a name of its own"
        self.fault("this cannot be added to", statement.target.span, help=help)

    def _distribute(self, bound: Bound | None, statement: syntax.Assign) -> tuple[Bound | None, ...]:
        count = len(statement.targets)
        given = len(bound.items) if isinstance(bound, Tuple) else 1
        if bound is None or (given == count and not isinstance(bound, Tuple)):
            return (bound,) * count
        if given == count and isinstance(bound, Tuple):
            return bound.items
        self.fault(
            f"{_counted(given, 'value')} for {_counted(count, 'name')}",
            statement.targets[0].span.to(statement.targets[-1].span),
            Note(f"this gives {_counted(given, 'value')}", statement.value.span),
        )
        return (None,) * count

    def _bind(self, target: syntax.Name, bound: Bound | None) -> None:
        text = target.text
        known = self.names.get(text)
        if known:
            what = f"`{text}` is a parameter, it keeps its value" if known.parameter else f"`{text}` is assigned twice"
            help = (
                "write elements of a `mut` tensor as `t[i] = v`"
                if known.parameter
                else "give the second value a new name"
            )
            self.fault(what, target.span, Note("it is defined here", known.span), help=help)
            return
        where = {} if self.frame.function else self.context.axes
        if text in where:
            self.fault(
                f"`{text}` is an axis",
                target.span,
                Note("it is introduced here", where[text]),
                help="choose another name",
            )
            bound = None
        elif not check_name(target, self.context.report):
            bound = None
        if isinstance(bound, Value) and operands(self.context.builder[bound.node].expr):
            self.context.call_name(bound.node, text, in_op=not self.frame.function)
        self.names[text] = Binding(bound, target.span)

    def _expect_bounds(self, call: syntax.Call) -> None:
        """`bounded(0.2)`: with ordinary arguments, at least this share of the elements of results has a bound."""
        match call.args:
            case (syntax.Argument(syntax.Number(value=value), keyword=None),) if 0 <= value <= 1:
                if self.context.bounded is not None:
                    self.fault("`bounded` is said twice", call.span, help="say it once, for all results")
                self.context.bounded = float(value)
            case _:
                help = "write a number from 0 to 1, as in `bounded(0.2)`"
                self.fault("`bounded` takes the share of elements that have an error bound", call.span, help=help)

    # --- Writes --------------------------------------------------------------------------------------------------

    def _write(self, target: syntax.Lookup, value: syntax.Expr, adds: bool = False) -> None:
        """`t[i] = v`, or `t[i] += v`; the whole tensor where `i` is `...`."""
        tensor = self._mutable(target)
        whole = len(target.indices) == 1 and isinstance(target.indices[0], syntax.Dots)
        indices, node = () if whole else self.values(target.indices), self.value(value)
        if tensor is None or indices is None or node is None or not self._may_write(tensor, target, adds):
            return
        try:
            place = self.context.infer(Gather(tensor.name, indices))
        except TypeFault as fault:
            self.type_fault(fault, target.span, target.indices)
            return
        written = self.context.type_of(node)
        extra = without(written.axes, place.axes)
        if extra:
            help = f"the elements written have the axes {listing(place.axes)}"
            self.fault(f"the value has axis `{extra[0]}`, which `{target.span.text}` lacks", value.span, help=help)
        elif not storable(written.kind, tensor.element.kind):
            self.fault(
                f"`{tensor.name}` holds {tensor.element.kind.value} numbers, this is {written.kind.value}", value.span
            )
        else:
            self.context.scatters.append(Scatter(tensor.name, indices, node, target.span.to(value.span), adds))
            self.context.written[tensor.name] = target.span

    def _may_write(self, tensor: TensorParam, target: syntax.Lookup, adds: bool) -> bool:
        """Whether a tensor may be written here: what is added to is written by that statement alone."""
        written = self.context.written.get(tensor.name)
        added = any(write.adds for write in self.context.scatters if write.param == tensor.name)
        if adds and tensor.element.kind is Kind.BOOL:
            help = f"write `{target.span.text} = ... or ...`"
            self.fault(f"`{tensor.name}` holds truth values, which cannot be added", target.span, help=help)
        elif written and (adds or added):
            help = "write all of it in one statement, or into two tensors"
            note = Note("it is written here", written)
            self.fault(f"`{tensor.name}` is written twice, and once added to", target.span, note, help=help)
        else:
            return True
        return False

    def _mutable(self, target: syntax.Lookup) -> TensorParam | None:
        if self.frame.function:
            self.fault("a function cannot write into a tensor", target.span, help="do it in the op")
            return None
        tensor = target.target
        name = tensor.span.text
        param = self.context.params.get(name)
        if isinstance(param, TensorParam) and param.mutable:
            return param
        if isinstance(param, TensorParam):
            message, help = f"`{name}` is not `mut`, it cannot be written", f"declare it as `mut {name}: ...`"
            self.fault(message, tensor.span, *self.origin(tensor), help=help)
        elif self.bound(tensor) is not None:
            self.fault("only a `mut` tensor parameter can be written", tensor.span, *self.origin(tensor))
        return None


def check_function(function: syntax.Fn, report: Report) -> None:
    """Reports a function whose statements do not end in its one `return`, or whose parameters clash."""
    seen: dict[str, Span] = {}
    for param in function.params:
        if check_name(param, report) and param.text in seen:
            report.add(f"parameter `{param.text}` stands twice", param.span, Note("it is first here", seen[param.text]))
        seen.setdefault(param.text, param.span)
    returns = [statement for statement in function.body if isinstance(statement, syntax.Return)]
    for statement in function.body:
        if isinstance(statement, syntax.Bare):
            report.add("nothing is done with this", statement.span, help="give it a name, or `return` it")
    if not returns:
        report.add(f"`{function.name.text}` returns nothing", function.name.span, help="end it with `return ...`")
    elif returns[0] is not function.body[-1]:
        after = function.body[function.body.index(returns[0]) + 1]
        report.add("this comes after the `return`", after.span, Note("the function ends here", returns[0].span))


def storable(value: Kind, element: Kind) -> bool:
    """Whether numbers of kind `value` may be stored as `element` without a cast."""
    return value is element or (value is Kind.INT and element is Kind.REAL)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"
