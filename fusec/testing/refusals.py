"""Calls that do not fit the signature of an op are refused, whatever is wrong with them.

What fits is said by `reference.bind`, which knows nothing of the checks in a generated file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from random import Random
from typing import Any

import torch
from torch import Tensor

from fusec.ir.graph import ChoiceParam, DimParam, Graph, ScalarParam
from fusec.reference.bind import ArgumentError, bind
from fusec.runtime import FusecError
from fusec.testing.cases import Argument

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int32, torch.int64, torch.bool)


def hold_refusals(
    function: Callable[..., Any], graphs: Sequence[Graph], arguments: Mapping[str, Argument], count: int, random: Random
) -> int:
    """Raise AssertionError if one of `count` wrong calls, made of a right one, is not refused. How many were wrong.

    The first of the `graphs` is that of the function, the others are its overloads.
    """
    graph = graphs[0]
    calls = list(_changed(graph, arguments, random))
    wrong = 0
    for what, name, value in random.sample(calls, min(count, len(calls))):
        changed = {**arguments, name: value}
        if any(_fits(each, changed) for each in graphs):
            continue
        wrong += 1
        try:
            function(**changed)
        except FusecError:
            continue
        raise AssertionError(f"{graph.name}: `{name}` with {what} is not refused: {_shown(changed)}")
    return wrong


def _fits(graph: Graph, arguments: Mapping[str, Argument]) -> bool:
    try:
        bind(graph, arguments)
    except ArgumentError:
        return False
    tensors = [value for value in arguments.values() if isinstance(value, Tensor)]
    return len({tensor.device for tensor in tensors}) == 1


def _changed(graph: Graph, arguments: Mapping[str, Argument], random: Random) -> Iterator[tuple[str, str, Argument]]:
    """Right arguments with one of them changed: what is changed, of which parameter, and to what."""
    for param in graph.params:
        value = arguments.get(param.name)
        match param:
            case DimParam() if isinstance(value, int):
                yield "one more", param.name, value + 1
            case ChoiceParam():
                yield "no option", param.name, "".join(param.options)
            case ScalarParam():
                yield "a text", param.name, "text"
            case _ if isinstance(value, Tensor):
                yield from ((what, param.name, tensor) for what, tensor in _tensors(value, random))
            case _:
                continue


def _tensors(tensor: Tensor, random: Random) -> Iterator[tuple[str, Tensor]]:
    yield "another dtype", tensor.to(random.choice([dtype for dtype in DTYPES if dtype != tensor.dtype]))
    # Dimensions of size 1 may be more than are declared.
    if 1 not in tensor.shape:
        yield "a dimension more", torch.stack((tensor, tensor), -1)
    yield "another device", tensor.to("meta")
    for dim, size in enumerate(tensor.shape):
        longer = [*tensor.shape[:dim], size + 1, *tensor.shape[dim + 1 :]]
        yield f"one more along dimension {dim}", tensor.new_zeros(longer)


def _shown(arguments: Mapping[str, Argument]) -> str:
    shown = {
        name: f"{value.dtype}{[*value.shape]} on {value.device}" if isinstance(value, Tensor) else repr(value)
        for name, value in arguments.items()
    }
    return ", ".join(f"{name}={text}" for name, text in shown.items())
