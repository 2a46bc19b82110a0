"""How a function that somebody wrote takes the arguments of an op."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from fusec.ir.graph import ChoiceParam, DimParam, DTypeParam, Graph, ScalarParam, TensorParam
from fusec.testing.cases import Argument, Case


class CallerError(ValueError):
    """The function cannot stand for the op: their arguments do not fit."""


@dataclass(frozen=True, slots=True)
class Caller:
    """A function, the arguments of the op that it is given, and whether they go by their names."""

    function: Callable[..., Any]
    names: tuple[str, ...]
    by_name: bool

    @classmethod
    def of(cls, function: Callable[..., Any], graph: Graph) -> Caller:
        """By name where every parameter that must be given is one of the op's, else in the op's order.

        Raises `CallerError` where the op cannot be called without an argument that the function does not take.
        """
        own = [param.name for param in graph.params]
        taken, by_name, needed = _taken(function, own)
        fault = ""
        if missing := [name for name in own if name not in taken and not _may_be_left_out(graph, name)]:
            fault = f"does not take {', '.join(missing)}"
        elif needed > len(taken):
            fault = f"needs {needed} arguments"
        if fault:
            raise CallerError(
                f"{getattr(function, '__name__', function)} {fault}, and the op is {graph.name}({', '.join(own)}): "
                "write a function of these parameters that calls it"
            )
        return cls(function, taken, by_name)

    def __call__(self, arguments: Mapping[str, Argument]) -> Any:
        if self.by_name:
            return self.function(**{name: arguments[name] for name in self.names})
        return self.function(*(arguments[name] for name in self.names))

    def narrowed(self, graph: Graph, case: Case) -> Case:
        """The call with what the function does not take left out, or at its default."""
        others = [param for param in graph.params if param.name not in self.names]
        left_out = [param.name for param in others if isinstance(param, TensorParam | DimParam)]
        chosen = {
            each.variable.name: each.default.name for each in others if isinstance(each, DTypeParam) and each.default
        }
        return replace(
            case,
            dtypes={**case.dtypes, **chosen},
            omitted=tuple(dict.fromkeys((*case.omitted, *left_out))),
            scalars={name: value for name, value in case.scalars.items() if name in self.names},
            picks={
                **case.picks,
                **{param.name: param.default for param in others if isinstance(param, ChoiceParam) and param.default},
            },
        )


def _taken(function: Callable[..., Any], own: list[str]) -> tuple[tuple[str, ...], bool, int]:
    """What of the op's `own` arguments a function takes, whether by name, and how many it cannot do without."""
    try:
        params = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # builtins do not tell
        return tuple(own), False, 0
    kinds = {param.kind for param in params}
    if inspect.Parameter.VAR_KEYWORD in kinds:
        return tuple(own), True, 0
    named = [param for param in params if param.kind is not inspect.Parameter.VAR_POSITIONAL]
    needed = {param.name for param in named if param.default is inspect.Parameter.empty}
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        return tuple(own), False, len(needed)
    if needed <= set(own) and inspect.Parameter.POSITIONAL_ONLY not in kinds:
        return tuple(name for name in own if name in {param.name for param in named}), True, len(needed)
    return tuple(own[: len(named)]), False, len(needed)


def _may_be_left_out(graph: Graph, name: str) -> bool:
    param = next(param for param in graph.params if param.name == name)
    match param:
        case TensorParam(optional=optional):
            solved = {solve.param for solve in graph.solves if solve.dim is not None}
            return optional and name not in solved
        case DimParam(inferred=inferred):
            return inferred
        case ScalarParam(default=default) | ChoiceParam(default=default):
            return default is not None
        case DTypeParam(default=dtype):
            return dtype is not None
