"""The Python face of an op: its signature, schema, annotations and documentation, as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from textwrap import dedent, fill, indent

from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, Output, Param, ScalarParam, TensorParam
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.types import Dim, DTypeVar, Kind, Storage, product_text

PLAIN_TYPES = {Kind.REAL: "float", Kind.INT: "int", Kind.BOOL: "bool"}
"""What Python calls the numbers of each kind."""
WIDTH = 116
MISFITS = "FusecError: an argument does not fit, or kernels cannot run on its device, as the message says."
"""What a docstring says of the checks of arguments."""


def quoted(text: str) -> str:
    """A docstring: text as data, whatever it contains."""
    if "\\" in text or '"""' in text or text.endswith('"') or (not text.isprintable() and not _plain(text)):
        return repr(text)
    return f'"""{text}\n"""' if "\n" in text else f'"""{text}"""'


def _plain(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text)


def dims_text(dims: tuple[Dim, ...]) -> str:
    """`[B, S, H*D]`."""
    return f"[{', '.join(map(product_text, dims))}]"


def dtype_options(storage: Storage) -> str:
    """The dtypes of a storage type as text: `"f16 bf16"`."""
    return literal(" ".join(option.name for option in storage.options))


def literal(text: str) -> str:
    """A string as Python text."""
    return json.dumps(text)


def sequence(items: Iterable[str]) -> str:
    """A tuple as Python text."""
    listed = list(items)
    return f"({', '.join(listed)}{',' if len(listed) == 1 else ''})"


def parameters(params: Iterable[Param]) -> Iterator[str]:
    """All parameters. Python wants a default behind one: a tensor that must be given has None, which calls refuse."""
    behind = False
    for param in params:
        behind = behind or (isinstance(param, TensorParam) and param.optional)
        yield parameter(replace(param, optional=True) if behind and isinstance(param, TensorParam) else param)


def parameter(param: Param) -> str:
    """A parameter with annotation and default."""
    match param:
        case TensorParam(name=name, optional=optional):
            return f"{name}: torch.Tensor | None = None" if optional else f"{name}: torch.Tensor"
        case ScalarParam(name, dtype, default):
            return plain_parameter(name, PLAIN_TYPES[dtype.kind], default)
        case DimParam(name, _, inferred):
            return f"{name}: int | None = None" if inferred else f"{name}: int"
        case DTypeParam(name, _, dtype):
            return f"{name}: torch.dtype" + (f" = {TORCH_NAMES[dtype.name]}" if dtype else "")
        case ChoiceParam(name, _, default):
            return plain_parameter(name, "str", default)


def plain_parameter(name: str, type: str, default: float | int | bool | str | None) -> str:
    """A parameter that is a number, a truth value or a string; without a default when that is None."""
    if default is None:
        return f"{name}: {type}"
    return f"{name}: {type} = {literal(default) if isinstance(default, str) else number(default)}"


def number(value: float | int | bool) -> str:
    """A number as it is written by hand: `1e-6`."""
    return repr(value).replace("e-0", "e-").replace("e+", "e").replace("inf", "torch.inf")


def returns(graph: Graph) -> str:
    """The annotation of what an op returns."""
    count = len(graph.outputs)
    if count == 0:
        return "None"
    return "torch.Tensor" if count == 1 else f"tuple[{', '.join(['torch.Tensor'] * count)}]"


def schema(graph: Graph) -> str:
    """The schema that registers the op with PyTorch: tensors, then run-time scalars, then choices and extents."""
    aliases = iter("abcdefghijklmnopqrstuvwxyz")
    kinds = (TensorParam, ScalarParam, ChoiceParam | DimParam | DTypeParam)
    ordered = [param for kind in kinds for param in graph.params if isinstance(param, kind)]
    given = [_schema_param(param, aliases) for param in ordered]
    count = len(graph.outputs)
    result = "()" if count == 0 else "Tensor" if count == 1 else f"({', '.join(['Tensor'] * count)})"
    return f"{graph.name}({', '.join(given)}) -> {result}"


def _schema_param(param: Param, aliases: Iterator[str]) -> str:
    match param:
        case TensorParam(name=name, optional=optional, mutable=mutable):
            alias = f"({next(aliases)}!)" if mutable else ""
            return f"Tensor{alias}{'?' if optional else ''} {name}"
        case ScalarParam(name, dtype):
            kind = {Kind.REAL: "float", Kind.INT: "SymInt", Kind.BOOL: "bool"}[dtype.kind]
            return f"{kind} {name}"
        case DimParam(name, _, inferred):
            return f"SymInt{'?' if inferred else ''} {name}"
        case DTypeParam(name):
            return f"ScalarType {name}"
        case ChoiceParam(name):
            return f"str {name}"


def documentation(graph: Graph) -> str:
    """The docstring of the op: what the spec says, arguments with shapes and dtypes, result, errors."""
    parts = [dedent(graph.doc).strip() or f"{graph.name}, as its spec says."]
    parts.append("Args:\n" + "\n".join(item(param.name, meaning(param)) for param in graph.params))
    results = [f"{output.name}: {tensor_text(output)}" for output in graph.outputs]
    if results:
        parts.append("Returns:\n" + indent("\n".join(results), "    "))
    rules = [constraint.text for constraint in graph.constraints]
    rules += _variables(graph.variables)
    if rules:
        parts.append(fill("where " + "; ".join(rules) + ".", WIDTH - 4))
    if graph.overloads:
        others = " or ".join(f"`{name}`" for name in graph.overloads)
        parts.append(fill(f"Arguments of other shapes or dtypes that fit {others} are passed on to it.", WIDTH - 4))
    parts.append(f"Raises:\n    {MISFITS}")
    return "\n\n".join(parts)


def item(name: str, text: str) -> str:
    """An entry of a docstring's list."""
    return fill(f"{name}: {text}.", WIDTH - 4, initial_indent="    ", subsequent_indent="        ")


def meaning(param: Param) -> str:
    """What a caller may give for a parameter."""
    match param:
        case TensorParam(optional=optional, default_text=default, mutable=mutable, distinct=distinct):
            text = tensor_text(param)
            text += f", {default or 'a constant'} when None" if optional else ""
            text += ", positions that differ from each other, as far as they are inside" if distinct else ""
            return f"{text}, written in place" if mutable else text
        case ScalarParam(dtype=dtype):
            return str(dtype)
        case DimParam(axis=axis, inferred=inferred):
            return f"extent {axis}" + (", solved from the tensors when None" if inferred else "")
        case DTypeParam(variable=variable):
            return f"the dtype {variable}, {_options(variable)}"
        case ChoiceParam(options=options):
            return "one of " + ", ".join(map(literal, options))


def tensor_text(tensor: TensorParam | Output) -> str:
    """`T[B, S, H*D]`; of bytes that hold two numbers each, also what they hold."""
    stored = f"{tensor.element}{dims_text(tensor.dims)}"
    return f"{tensor.holds} as {stored}, the first of two numbers in the low digits" if tensor.holds else stored


def _variables(variables: tuple[DTypeVar, ...]) -> Iterator[str]:
    """What each type variable may be, those that may be the same together: they are chosen one by one."""
    alike: dict[str, list[str]] = {}
    for variable in variables:
        alike.setdefault(_options(variable), []).append(variable.name)
    for options, names in alike.items():
        several = f"each of {', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]
        yield f"{several} is {options}"


def _options(variable: DTypeVar) -> str:
    names = [TORCH_NAMES[option.name].removeprefix("torch.") for option in variable.options]
    return " or ".join([", ".join(names[:-1]), names[-1]]) if len(names) > 1 else names[0]
