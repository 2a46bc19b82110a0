"""Names of the values of a kernel, and the lines that give them."""

from __future__ import annotations

from fusec.ir.expressions import NodeId
from fusec.ir.flow import Flow
from fusec.ir.nouns import nouns
from fusec.ir.statements import Assign
from fusec.ir.tile_values import Name, Value
from fusec.passes.kernel.scope import Names, Scope


class Naming:
    """Gives each node its name: the one of the spec where it has one. A sweep that computes it again uses it again."""

    def __init__(self, flow: Flow, names: Names) -> None:
        self._nodes = flow.nodes
        self._nouns = nouns(flow)
        self.names = names
        self._known: dict[tuple[NodeId, bool], str] = {}

    def assign(self, number: NodeId, value: Value, scope: Scope) -> Name:
        """A line of `scope` that gives `value` the name of a node."""
        name = Name(self.of(number, scope), value.dims, self._nodes[number].type.kind)
        scope.statements.append(Assign(name, value))
        return name

    def of(self, number: NodeId, scope: Scope, hint: str | None = None) -> str:
        """The name of a node, made of `hint` where nothing better is known."""
        key = (number, bool(scope.axes))
        if key not in self._known:
            self._known[key] = self.names.fresh(hint if hint and not self._nodes[number].name else self.hint(number))
        return self._known[key]

    def hint(self, number: NodeId) -> str:
        """What a node might be called."""
        return self._nouns[number]
