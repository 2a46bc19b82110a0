"""An op with its products left to the library, as text."""

from __future__ import annotations

from collections.abc import Iterator

from fusec.ir.graph import Graph
from fusec.ir.partition import Chain, LibraryProduct, Matrix
from fusec.ir.show import show_graph
from fusec.ir.show_flow import show_access
from fusec.ir.types import Axis, product_text


def show_chain(unfused: Chain | None) -> str:
    """What is held between the steps, a line each, then the steps: graphs as `show_graph` has them, and products."""
    return "\n".join(_lines(unfused)) if unfused else "there is no such plan"


def _lines(unfused: Chain) -> Iterator[str]:
    for held in unfused.held:
        yield f"hold {held.name}: {held.element}[{', '.join(map(product_text, held.dims))}]"
    for step in unfused.steps:
        yield show_graph(step) if isinstance(step, Graph) else "\n".join(_product(step))


def _product(product: LibraryProduct) -> Iterator[str]:
    made = f"product {_matrix(product.out)} = {_matrix(product.a)} by {_matrix(product.b)}"
    yield f"{made} in {product.precision}" if product.precision != "ieee" else made
    yield f"  rows {_axes(product.rows)}; columns {_axes(product.columns)}; over {_axes(product.inner)}"
    if product.batch:
        yield f"  for each {_axes(product.batch)}"


def _matrix(matrix: Matrix) -> str:
    return f"{matrix.tensor}{show_access(matrix.positions)}"


def _axes(axes: tuple[Axis, ...]) -> str:
    return ", ".join(map(str, axes)) or "none"
