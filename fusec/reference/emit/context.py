"""What the whole text of one reference shares: variable names, axes in order, and what has to be defined up front."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from fusec.ir.fixed_extents import fixed_extents, known_extent
from fusec.ir.formats import FLOAT_FORMATS
from fusec.ir.graph import DimParam, Graph
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.types import Axis, Dim, DType, Kind, Lead, Storage
from fusec.reference.emit.extents import extent_text, named_axes
from fusec.reference.emit.layout import axis_ranks, root
from fusec.reference.emit.names import Names
from fusec.reference.emit.spelling import Text


@dataclass(slots=True)
class Context:
    """Names and needs of one reference.

    With `declared` the arguments are those that the spec admits; else they may be f64 as well, and what torch refuses
    of empty tensors is refused. `real`, `lead`, `axes`
    and `types` are the variables of the compute type, of the sizes that `...` stands for, of the extents and of the
    type variables. `needs` are those that the text has used, `prelude` the functions it calls, of Python or above it,
    which have the names in `functions`.
    """

    graph: Graph
    functions: Mapping[str, str]
    declared: bool = False
    names: Names = field(init=False)
    real: str = field(init=False)
    lead: str = field(init=False)
    axes: dict[str, str] = field(init=False)
    types: dict[str, str] = field(init=False)
    ranks: dict[Axis, int] = field(init=False)
    needs: set[str] = field(default_factory=set)
    prelude: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.names = Names({*(param.name for param in self.graph.params), *self.functions.values()})
        dims = [param for param in self.graph.params if isinstance(param, DimParam) and not param.inferred]
        passed = {param.name for param in dims if param.name == param.axis.name}
        names = [solve.name for solve in self.graph.solves]
        self.axes = {name: name if name in passed else self.names.new(name) for name in names}
        self.types = {variable.name: self.names.new(variable.name) for variable in self.graph.variables}
        self.real, self.lead = self.names.new("real"), self.names.new("lead")
        self.ranks = axis_ranks(self.graph)

    def ordered(self, axes: tuple[Axis, ...]) -> tuple[Axis, ...]:
        """`axes` in the one order of this op."""
        return tuple(sorted(axes, key=lambda axis: self.ranks[root(axis)]))

    def axis(self, name: str) -> str:
        """The variable that holds the extent of a named axis; what it is solved from is needed as well."""
        if self.axes[name] not in self.needs:
            self.needs.add(self.axes[name])
            solve = next(solve for solve in self.graph.solves if solve.name == name)
            for earlier in named_axes(solve.value):
                self.axis(earlier)
        return self.axes[name]

    def extent(self, dim: Dim) -> Text:
        """The extent of a product of axes."""
        if dim == (Lead(),):
            self.needs.add(self.lead)
            return Text(f"{self.lead}.numel()")
        return extent_text(dim, self.axis)

    def sizes(self, axes: tuple[Axis, ...]) -> str:
        """The extents of `axes`, with commas between them."""
        if Lead() in axes:
            self.needs.add(self.lead)
        return ", ".join(f"*{self.lead}" if axis == Lead() else self.extent((axis,)).code for axis in axes)

    def function(self, name: str) -> str:
        """What a builtin or a function of the prelude, which is needed from now on, is called."""
        self.prelude.add(name)
        return self.functions[name]

    def dtype(self, storage: Storage) -> str:
        """A storage type: the variable of a type variable, the torch dtype of any other."""
        if isinstance(storage, DType):
            return TORCH_NAMES[storage.name]
        self.needs.add(self.types[storage.name])
        return self.types[storage.name]

    def compute(self) -> str:
        """The compute type: a torch dtype, or the variable that holds it where it depends on the arguments."""
        if any(str(param.element) == "f64" for param in self.graph.tensors):
            return "torch.float64"
        storages = (*self.graph.variables, *(param.element for param in self.graph.tensors))
        if self.declared and not any(map(_may_be_f64, storages)):
            return "torch.float32"
        if all(variable.kind is not Kind.REAL for variable in self.graph.variables):
            return "torch.float32"
        self.needs.add(self.real)
        return self.real

    def computes_in(self, storage: Storage) -> bool:
        """Whether values of a storage type need no widening and no rounding; only said where types are `declared`."""
        return self.declared and isinstance(storage, DType) and self.dtype(storage) == self.compute()

    def may_be_empty(self, axes: tuple[Axis, ...]) -> bool:
        """Whether a call may have no positions along `axes`; only said where types are `declared`."""
        fixed = fixed_extents(self.graph)
        return self.declared and not all(known_extent(axis, fixed) for axis in axes)

    def widening(self) -> str:
        """The method call that takes a tensor to the compute type."""
        methods = {"torch.float64": ".double()", "torch.float32": ".float()"}
        return methods.get(self.compute(), f".to({self.real})")

    @property
    def device(self) -> str:
        """The keyword argument that puts a new tensor where the arguments are."""
        param = next((param.name for param in self.graph.tensors if not param.optional), None)
        return f", device={param}.device" if param else ""


def _may_be_f64(storage: Storage) -> bool:
    return any(option.name == "f64" for option in storage.options)


def saturates(storage: Storage) -> bool:
    """Whether a number beyond the range of `storage` may have to become its largest one."""
    return any(option.kind is Kind.INT or FLOAT_FORMATS[option.name].saturates for option in storage.options)
