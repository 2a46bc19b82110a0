"""A module class as text: constructor, initial values, forward."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from textwrap import dedent

import sympy

from fusec.codegen.names import OpNames
from fusec.codegen.signature import (
    MISFITS,
    PLAIN_TYPES,
    dtype_options,
    item,
    literal,
    meaning,
    number,
    parameter,
    plain_parameter,
    quoted,
    returns,
    sequence,
    tensor_text,
)
from fusec.codegen.wrap import LIMIT, wrapped
from fusec.ir.graph import ChoiceParam, Param, ScalarParam, TensorParam
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.module import Module, Owned, Setting, Spread
from fusec.ir.program import Program
from fusec.ir.sizes import size_text
from fusec.ir.types import DTypeVar, Kind, product_text

CONVERSIONS = {Kind.REAL: "real", Kind.INT: "integer", Kind.BOOL: "flag"}
"""What turns a scalar argument of each kind into a number, or refuses it."""


@dataclass(frozen=True, slots=True)
class ModuleView:
    """A class as text, function by function."""

    name: str
    bases: tuple[str, ...]
    doc: tuple[str, ...]
    about: tuple[str, ...]
    constructor: tuple[str, ...]
    init: tuple[str, ...]
    reset: tuple[str, ...]
    forward: tuple[str, ...]
    call: tuple[str, ...]
    repr: tuple[str, ...]


def module_view(module: Module, program: Program, names: OpNames, imports: Mapping[str, str]) -> ModuleView:
    """The class `module` of an op, in a file that calls its imports as `imports` says."""
    graph = program.graph
    writer = _Writer(module, program, names, imports)
    return ModuleView(
        module.name,
        tuple(writer.bases()),
        tuple(quoted("\n".join(writer.documentation())).split("\n")),
        tuple(part for line in writer.about() for part in wrapped(line, 1)),
        tuple(wrapped(f"def __init__({', '.join(writer.parameters())}) -> None:", 1)),
        tuple(part for line in writer.init() for part in wrapped(line, 2)),
        tuple(writer.reset()),
        tuple(wrapped(f"def forward({', '.join(writer.arguments())}) -> {returns(graph)}:", 1)),
        (
            f'"""`{graph.name}` of these and what the module holds."""',
            *(part for line in writer.calls() for part in wrapped(line, 2)),
        ),
        tuple(writer.repr()),
    )


def conversion(owner: str, param: ScalarParam, imports: Mapping[str, str]) -> str:
    """The scalar argument `param` of `owner` as a number: `real("rmsnorm", "eps", eps)`."""
    bits = f", {param.dtype.bits}" if param.dtype.kind is Kind.INT else ""
    return f'{imports[CONVERSIONS[param.dtype.kind]]}("{owner}", "{param.name}", {param.name}{bits})'


class _Writer:
    def __init__(self, module: Module, program: Program, names: OpNames, imports: Mapping[str, str]) -> None:
        self._module = module
        self._graph = program.graph
        self._stored = program.from_values
        self._names = names
        self._imports = imports
        self._settings = {setting.name: setting for setting in module.settings}
        self._owned = {weight.name: weight for weight in module.weights}
        self._extents = dict(module.extents)
        self._attributes = {setting.name: f"self.{setting.name}" for setting in module.settings}

    # --- What it is ----------------------------------------------------------------------------------------------

    def bases(self) -> Iterator[str]:
        """The classes that it is made of, as the file calls them."""
        if self._linear:
            yield self._imports["LinearModule"]
        if self._stored:
            yield self._imports["StoringModule"]
        if not self._linear and not self._stored:
            yield "torch.nn.Module"

    def about(self) -> Iterator[str]:
        """What these classes have to know."""
        if self._linear:
            yield f"_linear = {sequence(map(literal, self._linear))}"
        if self._stored:
            weights, values = (sequence(map(literal, each)) for each in (self._stored.weights, self._stored.values))
            yield f"_storing = ({self._names.prepared}, {weights}, {values})"

    @property
    def _linear(self) -> tuple[str, ...]:
        """The sizes of the inputs and the outputs by name, where a `torch.nn.Linear` has such weights and sums so."""
        weight = self._owned.get("weight")
        match weight:
            case Owned(shape=(sympy.Symbol() as outputs, sympy.Symbol() as inputs), start=Spread(terms)):
                bias = self._owned.get("bias")
                alone = self._owned.keys() <= {"weight", "bias"} and (bias is None or bias.shape == (outputs,))
                return (inputs.name, outputs.name) if alone and terms == inputs else ()
        return ()

    # --- Signatures ----------------------------------------------------------------------------------------------

    def parameters(self) -> Iterator[str]:
        """The parameters of the constructor."""
        yield "self"
        yield from map(self._parameter, self._module.settings)
        yield "*"
        yield "device: torch.device | str | None = None"
        if self._variables():
            yield "dtype: torch.dtype | None = None"

    def _parameter(self, setting: Setting) -> str:
        match self._param(setting):
            case ScalarParam(dtype=dtype):
                type = PLAIN_TYPES[dtype.kind]
            case ChoiceParam():
                type = "str"
            case TensorParam():
                type = "bool"
            case _:
                type = "int"
        return plain_parameter(setting.name, type, setting.default)

    def arguments(self) -> Iterator[str]:
        """The parameters of `forward`: what the op takes and the module does not have."""
        yield "self"
        yield from (parameter(param) for param in self._graph.params if self._is_left(param))

    def _is_left(self, param: Param) -> bool:
        if isinstance(param, TensorParam):
            return not param.static
        return param.name not in self._settings and param.name not in self._extents

    def _param(self, setting: Setting) -> Param | None:
        """The parameter of the op that a setting gives, which a size is not."""
        return self._graph.param(setting.name) if setting.dim is None else None

    def _variables(self) -> tuple[DTypeVar, ...]:
        """The type variables of the weights, which are what the caller makes them."""
        elements = (self._graph.tensor(name).element for name in self._owned)
        return tuple(dict.fromkeys(element for element in elements if isinstance(element, DTypeVar)))

    # --- Bodies --------------------------------------------------------------------------------------------------

    def init(self) -> Iterator[str]:
        """The body of the constructor."""
        yield "super().__init__()"
        yield f'check = {self._imports["Checker"]}("{self._module.name}")'
        options = dict.fromkeys(map(dtype_options, self._variables()))
        yield from (f"check.dtype_of_weights(dtype, {each})" for each in options)
        for setting in self._module.settings:
            if not isinstance(self._param(setting), TensorParam):
                yield f"self.{setting.name} = {self._checked(setting)}"
        for rule in self._module.rules:
            condition = f"{size_text(rule.left)} {rule.relation} {size_text(rule.right)}"
            symbols = {symbol.name for symbol in rule.left.free_symbols | rule.right.free_symbols}
            values = [f"{name}={name}" for name in self._settings if name in symbols]
            yield f"check.require({', '.join([condition, literal(condition), *values])})"
        yield from (f"self.{name} = {size_text(size, self._attributes)}" for name, size in self._told())
        yield from map(self._made, self._module.weights)
        yield "self.reset_parameters()"

    def _checked(self, setting: Setting) -> str:
        """An argument of the constructor, if it is a right one."""
        match self._param(setting):
            case ScalarParam() as param:
                return conversion(self._module.name, param, self._imports)
            case ChoiceParam(name, options):
                return f'check.choice("{name}", {name}, {sequence(map(literal, options))})'
            case _:
                return f'check.size("{setting.name}", {setting.name})'

    def _made(self, weight: Owned) -> str:
        element = self._graph.tensor(weight.name).element
        dtype = "dtype" if isinstance(element, DTypeVar) else TORCH_NAMES[element.name]
        sizes = [size_text(size) for size in weight.shape]
        made = f"{self._imports['parameter']}({', '.join([*sizes, 'device=device', f'dtype={dtype}'])})"
        if weight.name in self._settings:
            asked = f'{self._imports["flag"]}("{self._module.name}", "{weight.name}", {weight.name})'
            made += f" if {asked} else None"
        return f"self.{weight.name} = {made}"

    def reset(self) -> Iterator[str]:
        """The body of `reset_parameters`."""
        if self._stored:
            yield 'self.require_master("reset_parameters")'
        for weight in self._module.weights:
            line = self._filled(weight)
            if weight.name in self._settings:
                yield f"if self.{weight.name} is not None:"
                line = f"    {line}"
            yield line

    def _filled(self, weight: Owned) -> str:
        attribute = f"self.{weight.name}"
        match weight.start:
            case Spread(inputs):
                return f"{self._imports['spread']}({attribute}, {size_text(inputs, self._attributes)})"
            case 0.0 | 1.0:
                return f"torch.nn.init.{'ones' if weight.start else 'zeros'}_({attribute})"
            case value:
                return f"torch.nn.init.constant_({attribute}, {number(value)})"

    def calls(self) -> Iterator[str]:
        """The body of `forward`: the op, or that of values where the weights were dropped."""
        if self._stored:
            given = [self._of_values(param) for param in self._stored.face.params]
            assert self._names.values
            yield f"if self.{self._stored.weights[0]} is None:"
            yield f"    return {self._names.values.function}({', '.join(given)})"
        yield f"return {self._graph.name}({', '.join(map(self.passed, self._graph.params))})"

    def _of_values(self, param: Param) -> str:
        assert self._stored
        return f"self.{param.name}" if param.name in self._stored.values else self.passed(param)

    def passed(self, param: Param) -> str:
        """What `forward` passes to the op for one of its parameters."""
        if self._is_left(param):
            return param.name
        return f"self.{param.name}" if param.name in {**self._owned, **self._settings, **self._extents} else "None"

    def _told(self) -> Iterator[tuple[str, sympy.Expr]]:
        """The `dim` parameters of the op that the sizes tell and that are no arguments of the constructor."""
        return ((name, size) for name, size in self._extents.items() if name not in self._settings)

    def repr(self) -> Iterator[str]:
        """The body of `extra_repr`."""
        parts = [f"{setting.name}={{{self._shown(setting)}}}" for setting in self._module.settings]
        line = f'return f"{", ".join(parts)}"'
        if len(line) + 8 <= LIMIT:
            yield line
            return
        yield "return ("
        yield from (f'    f"{part}, "' for part in parts[:-1])
        yield f'    f"{parts[-1]}"'
        yield ")"

    def _shown(self, setting: Setting) -> str:
        match self._param(setting):
            case TensorParam(name):
                return f"self.{name} is not None"
            case ChoiceParam(name):
                return f"self.{name}!r"
            case _:
                return f"self.{setting.name}"

    # --- Documentation -------------------------------------------------------------------------------------------

    def documentation(self) -> Iterator[str]:
        """The docstring of the class, without its quotes."""
        yield f"`{self._graph.name}` with its weights as parameters."
        doc = dedent(self._graph.doc).strip()
        yield from ("", *doc.split("\n")) if doc else ()
        yield from ("", "Args:")
        for setting in self._module.settings:
            yield item(setting.name, self._meaning(setting))
        yield item("device", "where the parameters are made; PyTorch's default when None")
        if self._variables():
            yield item("dtype", "of the parameters; PyTorch's default when None")
        told = list(self._told())
        yield from ("", "Attributes:") if told else ()
        for name, size in told:
            yield item(name, size_text(size))
        yield from ("", "Parameters:")
        for weight in self._module.weights:
            yield item(weight.name, self._described(weight))
        yield from self._buffers()
        yield from ("", "Raises:")
        yield f"    {MISFITS}"

    def _buffers(self) -> Iterator[str]:
        """What takes the place of weights."""
        if self._stored:
            yield from ("", f"Buffers, in place of {' and '.join(self._stored.weights)} after `drop_master()`:")
            for name in self._stored.values:
                yield item(name, tensor_text(self._stored.face.tensor(name)))

    def _meaning(self, setting: Setting) -> str:
        match self._param(setting):
            case TensorParam(name):
                return f"whether there is the parameter `{name}`"
            case None:
                assert setting.dim
                return f"extent {product_text(setting.dim)}"
            case param:
                return meaning(param)

    def _described(self, weight: Owned) -> str:
        shape = ", ".join(map(size_text, weight.shape))
        text = f"{self._graph.tensor(weight.name).element}[{shape}], at first "
        match weight.start:
            case Spread(inputs):
                return f"{text}uniform within 1 / sqrt({size_text(inputs)}) of 0"
            case value:
                return f"{text}{value:g}"
