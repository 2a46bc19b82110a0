"""What the kernels of an op are built for."""

from __future__ import annotations

from dataclasses import dataclass

import sympy

from fusec.ir.graph import Graph, TensorParam
from fusec.ir.layout import strides
from fusec.ir.tile_values import DTypeRef, ElementOf
from fusec.ir.types import Axis, DType, Kind, Storage


@dataclass(frozen=True, slots=True)
class Target:
    """What the kernels of an op are built for: its arguments and the storage type behind each type variable.

    A kernel is `chained` where others run before or behind it in one call. Where it `contracts`, or what it reads of
    `products` is what the library contracted, its epilogue is a function. It has pointers to the tensors `accessed`.
    """

    graph: Graph
    known: dict[str, int]
    chained: bool = False
    contracts: bool = False
    products: frozenset[str] = frozenset()
    accessed: frozenset[str] = frozenset()

    @property
    def argument_names(self) -> set[str]:
        """The names a kernel's arguments take, which no variable may have."""
        graph = self.graph
        scalars = [param.name for param in graph.params if not isinstance(param, TensorParam)]
        return {*(f"{name}_ptr" for name in graph.stored), *scalars, *(solve.name for solve in graph.solves)}

    def strides(self, tensor: str) -> tuple[sympy.Symbol, ...]:
        """The strides of a stored tensor, one for each stored dimension."""
        return strides(tensor, self._dims(tensor))

    def dtype(self, storage: Storage) -> DTypeRef:
        """A storage type as a kernel can name it: a type variable is the element of an argument that has it."""
        if isinstance(storage, DType):
            return storage
        saturates = any(option.bits == 8 or option.kind is Kind.INT for option in storage.options)
        outputs = [output.name for output in self.graph.outputs if output.element == storage]
        given = [param.name for param in self.graph.tensors if param.element == storage and not param.optional]
        # One that the kernel accesses costs it no argument, and kernels that share an epilogue store the same.
        accessed = (name for name in (*outputs, *given) if name in self.accessed)
        return ElementOf(next(accessed, (*given, *outputs)[0]), saturates)

    def has_infinity(self, tensor: str) -> bool:
        """Whether a tensor is of reals that may be infinite, whatever type the caller chooses."""
        element = self.graph.tensor(tensor).element
        return all(option.kind is Kind.REAL and option.name != "f8e4m3" for option in element.options)

    def is_optional(self, tensor: str) -> bool:
        """Whether a tensor may be left out of a call."""
        return any(param.name == tensor and param.optional for param in self.graph.tensors)

    def _dims(self, tensor: str) -> tuple[tuple[Axis, ...], ...]:
        output = next((output for output in self.graph.outputs if output.name == tensor), None)
        return output.dims if output else self.graph.tensor(tensor).dims
