"""The statements of a reference: one for each value that the spec names or that is read twice, the rest inside them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fusec.ir.expressions import (
    OMITTED,
    Cast,
    Choose,
    Elementwise,
    Gather,
    Input,
    NodeId,
    Part,
    Reduce,
    Rename,
    operands,
)
from fusec.ir.graph import Node, Output, Scatter, TensorParam
from fusec.ir.ops import ELEMENTWISE
from fusec.ir.types import Kind, union, without
from fusec.reference.emit.context import Context
from fusec.reference.emit.expressions import cast, expression
from fusec.reference.emit.layout import Layout, join_axes, root
from fusec.reference.emit.moves import parts
from fusec.reference.emit.names import noun
from fusec.reference.emit.readings import Case, Readings
from fusec.reference.emit.spelling import SUM, TERNARY, Text, call, infix
from fusec.reference.emit.values import Value, aligned

WIDTH = 120

LONG = 100
"""Where a statement is cut in two."""

SHORT = 10
"""The longest expression that is written twice rather than named."""


@dataclass(slots=True)
class Body:
    """Writes the statements of one op.

    `lines` grows; `values` says how each node met so far is referred to, `inlined` which of them by an expression, and
    `stored` has the variable of a rounded value that is read in its storage type too. `targets` has a variable for each
    tensor that is written in place, where its own name stands for what was there before.
    """

    context: Context
    readings: Readings
    indent: str = "    "
    lines: list[str] = field(default_factory=list)
    values: dict[NodeId, Value] = field(default_factory=dict)
    stored: dict[NodeId, Value] = field(default_factory=dict)
    inlined: set[NodeId] = field(default_factory=set)
    targets: dict[str, str] = field(default_factory=dict)

    def write(self) -> list[str]:
        """All statements, down to the return; indented as the body of a function."""
        graph = self.context.graph
        self._keep_old_values()
        self._block(None)
        for scatter in graph.scatters:
            self._scatter(scatter)
        results = [self._result(output) for output in graph.outputs]
        line = f"return {', '.join(results)}"
        if len(self.indent + line) > WIDTH:
            inner = "".join(f"{self.indent}    {result},\n" for result in results)
            line = f"return (\n{inner}{self.indent})"
        if results:
            self.lines.append(self.indent + line)
        return self.lines

    def _say(self, line: str, comment: str = "") -> None:
        """Add a statement; the comment is left out where it does not fit."""
        full = f"{self.indent}{line}  # {comment}"
        self.lines.append(full if comment and len(full) <= WIDTH else f"{self.indent}{line}")

    def _call(self, function: str, *arguments: str) -> None:
        """Add a call, with a line for each argument where it does not fit one."""
        line = f"{function}({', '.join(arguments)})"
        if len(self.indent + line) > WIDTH:
            inner = "".join(f"{self.indent}    {argument},\n" for argument in arguments)
            line = f"{function}(\n{inner}{self.indent})"
        self._say(line)

    def _block(self, scope: Case | None) -> None:
        """Write every node that is needed in `scope` and not only in a case within."""
        for number, owner in self.readings.owners.items():
            if owner != scope or number in self.values:
                continue
            expr = self._node(number).expr
            siblings = self.readings.siblings(number)
            if isinstance(expr, Choose):
                self._choice(number, expr)
            elif isinstance(expr, Part) and siblings:
                self._unpack(siblings, expr)
            else:
                self.values[number] = self._expression(number)
                self.inlined.add(number)
                if self._stands_alone(number):
                    self._assign(number)

    def _node(self, number: NodeId) -> Node:
        return self.context.graph.nodes[number]

    def _expression(self, number: NodeId) -> Value:
        """The value of a node, with inlined operands written out anew."""
        node = self._node(number)
        for operand in operands(node.expr):
            if operand in self.inlined:
                self.values[operand] = self._expression(operand)
        args = [self.values[operand] for operand in operands(node.expr)]
        value = expression(self.context, node, args, self.readings.keeps(number))
        if isinstance(node.expr, Input | Gather):
            # Tables and gains take the shape in which they are used from the start.
            own = {root(axis): axis for axis in node.type.axes}
            company = self.context.ordered(self.readings.company(number))
            if [axis for axis in company if axis in own] == [root(axis) for axis in value.axes]:
                value = value.against(tuple(own.get(axis, axis) for axis in company))
        if isinstance(node.expr, Cast) and self.readings.widened(number) and number not in self.context.graph.roots:
            value = value.of_kind(node.type.kind, self.context)
        return value

    def _stands_alone(self, number: NodeId) -> bool:
        node, value = self._node(number), self.values[number]
        if isinstance(node.expr, Input):
            param = self.context.graph.tensor(node.expr.param)
            rebinds = self.readings.count[number] > 1 or not self.readings.needs_stored(param.name)
            return rebinds and not param.optional and value.text.code != param.name
        if not operands(node.expr) or isinstance(node.expr, Rename) or self._is_plain(number):
            return False
        if value.number and not node.name and len(value.text.code) <= LONG:
            return False
        return bool(node.name) or (self.readings.count[number] > 1 and len(value.text.code) > SHORT)

    def _is_plain(self, number: NodeId) -> bool:
        return self.values[number].text.code.isidentifier()

    def _assign(self, number: NodeId) -> None:
        """Give a node a statement of its own; a part of it comes first where it would be too long."""
        name = self._name(number)
        while len(f"{self.indent}{name} = {self.values[number].text.code}") > LONG:
            parts = [part for part in self._inside(number) if len(self.values[part].text.code) > SHORT]
            if not parts:
                break
            self._assign(min(parts, key=lambda part: self._cut(number, part)))
            self.values[number] = self._expression(number)
        value = self.values[number]
        self._say(f"{name} = {value.text.code}", _axes_text(value.layout))
        self.values[number] = value.called(name)
        self.inlined.discard(number)
        if value.stored and self.readings.widened(number):
            self.stored[number] = self.values[number]
            wide = self.context.names.new(f"wide_{name}")
            self.values[number] = self.values[number].of_kind(value.kind, self.context)
            self._say(f"{wide} = {self.values[number].text.code}", _axes_text(value.layout))
            self.values[number] = self.values[number].called(wide)

    def _cut(self, number: NodeId, part: NodeId) -> tuple[bool, float]:
        """How bad it is to cut the expression of a node at `part`: reductions first, then what is half of it."""
        middle = len(self.values[number].text.code) / 2
        return not isinstance(self._node(part).expr, Reduce), abs(len(self.values[part].text.code) - middle)

    def _inside(self, number: NodeId) -> list[NodeId]:
        """The nodes written out inside the expression of a node."""
        own = [operand for operand in operands(self._node(number).expr) if operand in self.inlined]
        own = [operand for operand in own if operands(self._node(operand).expr) and not self.values[operand].number]
        return [inner for operand in own for inner in (operand, *self._inside(operand))]

    def _name(self, number: NodeId) -> str:
        """The variable for a node: what the spec calls it, the output it becomes, or what it is."""
        node = self._node(number)
        if isinstance(node.expr, Input) and not self.readings.needs_stored(node.expr.param):
            return node.expr.param
        output = next((output.name for output in self.context.graph.outputs if output.value == number), None)
        return self.context.names.new(node.name or output or noun(node.expr))

    def _unpack(self, siblings: list[NodeId], expr: Part) -> None:
        """All parts of an axis in one statement."""
        if not self._is_plain(expr.arg):
            self._assign(expr.arg)
        whole = self.values[expr.arg]
        each, suffixes, together = parts(self.context, expr, self._node(siblings[0]).type, whole)
        names = [
            self.context.names.new(self._node(number).name or f"{whole.text.code}_{place + 1}")
            for place, number in enumerate(siblings)
        ]
        layouts = list(dict.fromkeys(_axes_text(value.layout) for value in each))
        comment = "" if any(suffixes) else f"{'each ' * (len(layouts) == 1)}{', '.join(layouts)}"
        self._say(f"{', '.join(names)} = {together.code}", comment)
        for number, name, value, suffix in zip(siblings, names, each, suffixes, strict=True):
            if suffix:
                self._say(f"{name} = {name}{suffix}", _axes_text(value.layout))
            self.values[number] = value.called(name)

    def _choice(self, number: NodeId, expr: Choose) -> None:
        """A choice as `if` and `elif`, or in one line where it has two short cases."""
        node, name = self._node(number), self._choice_name(number, expr)
        axes = self.context.ordered(node.type.axes)
        plain = self._may_be_number(number)
        start = len(self.lines)
        values: dict[str, Value] = {}
        statements: dict[str, list[str]] = {}
        self.indent += "    "
        for case, operand in expr.cases:
            self._block((number, case))
            value = self.values[operand].of_kind(node.type.kind, self.context)
            values[case] = value if value.number and (plain or not axes) else value.spread(axes, self.context)
            statements[case] = self.lines[start:]
            del self.lines[start:]
        self.indent = self.indent[:-4]
        self.values[number] = Value(
            values[expr.cases[0][0]].called(name).text,
            axes,
            node.type.kind,
            number=all(value.number for value in values.values()),
        )
        self._branches(name, expr, values, statements)

    def _branches(self, name: str, expr: Choose, values: dict[str, Value], statements: dict[str, list[str]]) -> None:
        optional = isinstance(self.context.graph.param(expr.selector), TensorParam)
        cases = sorted(values, key=lambda case: case != OMITTED) if optional else list(values)
        tests = [f"{expr.selector} is None" if case == OMITTED else f'{expr.selector} == "{case}"' for case in cases]
        if optional and not any(statements.values()):
            first, second = (values[case].text.within(TERNARY + 1) for case in cases)
            line = f"{name} = {first} if {tests[0]} else {second}"
            if len(self.indent + line) <= WIDTH:
                self._say(line, _axes_text(next(iter(values.values())).layout))
                return
        for place, case in enumerate(cases):
            self._say(f"{'elif' if place else 'if'} {tests[place]}:" if not (optional and place) else "else:")
            self.lines += statements[case]
            self._say(f"    {name} = {values[case].text.code}", _axes_text(values[case].layout))
        if not optional:
            error = self.context.function("ValueError")
            self._say("else:")
            self._say(f'    raise {error}(f"unknown {expr.selector}: {{{expr.selector}!r}}")')

    def _choice_name(self, number: NodeId, expr: Choose) -> str:
        given = [self._node(value).expr for _, value in expr.cases]
        given = [self._node(value.arg).expr if isinstance(value, Cast) else value for value in given]
        if any(isinstance(value, Input) and value.param == expr.selector for value in given):
            return expr.selector
        output = next((output.name for output in self.context.graph.outputs if output.value == number), None)
        return self.context.names.new(self._node(number).name or output or "chosen")

    def _may_be_number(self, number: NodeId) -> bool:
        """Whether all readers can do with a Python number: arithmetic with a tensor that has all their axes."""
        for reader in self.readings.readers[number]:
            node = self._node(reader)
            if not isinstance(node.expr, Elementwise) or not ELEMENTWISE[node.expr.op].is_rational:
                return False
            others = [self._node(arg).type.axes for arg in node.expr.args if arg != number]
            if not others or not others[0] or without(node.type.axes, others[0]):
                return False
        return number not in self.context.graph.roots

    def _result(self, output: Output) -> str:
        axes = tuple(axis for dim in output.dims for axis in dim)
        value = (
            self.stored.get(output.value, self.values[output.value])
            .spread(axes, self.context)
            .then("".join(join_axes(output.dims)))
        )
        return cast(self.context, value, output.element).text.code

    def _keep_old_values(self) -> None:
        """Give each tensor that is read and written a second name: the first one is for the values from before."""
        for name in dict.fromkeys(scatter.param for scatter in self.context.graph.scatters):
            if self.readings.reads(name):
                self.targets[name] = self.context.names.new(f"{name}_in_place")
                self._say(f"{self.targets[name]}, {name} = {name}, {name}.clone()")

    def _scatter(self, scatter: Scatter) -> None:
        param = self.context.graph.tensor(scatter.param)
        kept = param.dims[len(scatter.indices) :]
        kept_axes = tuple(axis for dim in kept for axis in dim)
        indices = [self.values[index].tensor(self.context).of_kind(Kind.INT, self.context) for index in scatter.indices]
        value = self.values[scatter.value]
        written = self.context.ordered(without(union(*(each.axes for each in (*indices, value))), kept_axes))
        indices, _ = aligned(indices, written)
        rows = value.spread((*written, *kept_axes), self.context).then("".join(join_axes(kept)))
        index = ", ".join(each.text.code for each in indices) + "," * (len(indices) == 1)
        target = self.targets.get(param.name, param.name)
        if scatter.adds:
            rows = self._sum(param, target, f"({index})" if indices else "", rows)
        rounded = cast(self.context, rows, param.element).text.code
        if scatter.adds or not indices:
            self._say(f"{target}.copy_({rounded})")
        else:
            self._call(self.context.function("_write"), target, f"({index})", rounded)

    def _sum(self, param: TensorParam, target: str, index: str, rows: Value) -> Value:
        """What a tensor holds when `rows` are added to it at `index`, or to all of it."""
        rows = rows.of_kind(param.element.kind, self.context)
        if index:
            return replace(rows, text=call(self.context.function("_added"), target, index, rows.text.code))
        held = Value(Text(target), rows.layout, param.element.kind, stored=param.element)
        return replace(rows, text=infix("+", SUM, held.of_kind(rows.kind, self.context).text, rows.text))


def _axes_text(layout: Layout) -> str:
    return f"[{', '.join('1' if axis is None else str(axis) for axis in layout)}]" if layout else ""
