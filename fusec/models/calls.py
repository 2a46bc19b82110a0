"""How an attention module of Hugging Face calls its cache and its attention function, read from its source.

The names of arguments change between versions and families: a window, a soft cap, what the cache is called. What is
read here is called the same way; what cannot be read is left alone.
"""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

CACHES = ("cache", "past_key_values", "past_key_value")


@dataclass(frozen=True, slots=True)
class Calls:
    """The name of the cache among arguments, how it is told the call's other arguments, and what attention is given.

    What is `named` among the arguments of the module it keeps for itself; the attention function gets the rest.
    """

    cache: str
    update: str
    extra: Mapping[str, Any]
    named: frozenset[str]


def calls_of(module: nn.Module) -> Calls | None:
    """How the forward of an attention module calls others; None where it does anything that is not known."""
    forward = inspect.unwrap(type(module).forward)
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(forward)))
    except (OSError, TypeError, SyntaxError):
        return None
    names = inspect.signature(forward).parameters
    cache = next((name for name in CACHES if name in names), None)
    found = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    attends = [node for node in found if isinstance(node.func, ast.Name) and node.func.id == "attention_interface"]
    updates = [node for node in found if isinstance(node.func, ast.Attribute) and node.func.attr == "update"]
    if cache is None or len(attends) != 1 or len(updates) != 1:
        return None
    extra = _extra(module, attends[0])
    update = "kwargs" if any(each.arg == "kwargs" for each in updates[0].keywords) else "positional"
    return None if extra is None else Calls(cache, update, extra, frozenset(names))


def _extra(module: nn.Module, call: ast.Call) -> dict[str, Any] | None:
    """The keywords of the call by their values, which follow from the module and its config alone."""
    values: dict[str, Any] = {}
    for keyword in call.keywords:
        if keyword.arg in (None, "dropout"):
            continue
        try:
            value = eval(compile(ast.Expression(keyword.value), "<forward>", "eval"), {"self": module})
        except Exception:
            return None
        if isinstance(value, torch.Tensor):
            return None
        values[str(keyword.arg)] = value
    return values if "scaling" in values else None


def attention_function(module: nn.Module) -> Callable[..., Any]:
    """What computes attention as the config of the module asks for it, as Hugging Face looks it up."""
    eager = sys.modules[type(module).__module__].eager_attention_forward
    known = sys.modules["transformers.modeling_utils"].ALL_ATTENTION_FUNCTIONS
    kind = module.config._attn_implementation  # type: ignore[union-attr]
    if hasattr(known, "get_interface"):
        function: Callable[..., Any] = known.get_interface(kind, eager)
        return function
    found: Callable[..., Any] = eager if kind == "eager" else known[kind]
    return found
