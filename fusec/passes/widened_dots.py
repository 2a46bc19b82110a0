"""Dots that are slower than they could be, since one operand of theirs is of 16 bits and the other one is computed."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.diagnostics import Diagnostic, Severity
from fusec.ir.expressions import Dot
from fusec.ir.graph import Graph
from fusec.ir.multiply import multiplied_as
from fusec.ir.types import Computed, Kind, Storage, without
from fusec.passes.graph.commute import commute
from fusec.passes.graph.defer import defer
from fusec.passes.graph.simplify import simplify
from fusec.passes.partition.operands import may_be_f64


def widened_dots(graph: Graph) -> Iterator[Diagnostic]:
    """A warning for each product of matrices that is multiplied in f32, and would be in 16 bits if it might round.

    Factors that leave a dot are not in its way: what stays is looked at. Who asks for tf32 has chosen already.
    """
    lowered = defer(commute(simplify(graph)))
    for number, dot in lowered.dots.items():
        node, short = lowered.nodes[number], _short(lowered, dot)
        if short is None or node.span is None:
            continue
        message = f"this is multiplied in f32, since one operand is computed: slower than in `{short}`, as the other is"
        help = (
            f"`precision={short}` permits to round operands to `{short}`, a `cast` to it rounds always; "
            "a `cast` to `f32` says that f32 is meant"
        )
        yield Diagnostic(message, node.span, help=help, severity=Severity.WARNING)


def _short(graph: Graph, dot: Dot) -> Storage | None:
    """The type of 16 bits, for some callers at least, of one operand of a product that is multiplied in f32."""
    both = (dot.a, dot.b)
    axes = [without(graph.nodes[number].type.axes, dot.axes) for number in both]
    is_matrix = all(without(axes[place], axes[1 - place]) for place in range(2))
    if dot.rounded or dot.precision != "ieee" or not is_matrix or any(may_be_f64(graph, number) for number in both):
        return None
    types = multiplied_as(graph.nodes, dot)
    elements = [graph.nodes[number].type.element for number in both]
    computed = Computed(Kind.REAL) in elements
    stored = [element for element in elements if not isinstance(element, Computed) and element.kind is Kind.REAL]
    short = next((element for element in stored if any(option.bits == 16 for option in element.options)), None)
    return short if computed and (types is None or short not in types) else None
