"""The words that generated code has for things of its own, and the names of a spec that have to step aside for them.

What the caller sees keeps its name: the op, its parameters, whatever a message quotes. Kernels and the private
functions around them call a tensor, an axis or a choice as the spec does, unless the name is one of their own words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from fusec.ir.axis_words import block_name
from fusec.ir.graph import ChoiceParam, Graph, ScalarParam
from fusec.ir.kernel import VARIABLES
from fusec.ir.types import Named

KERNEL = frozenset(
    {
        "FULL_STEPS",
        "HALF",
        "HELD",
        "INDEX",
        "OP",
        "OVERLAP",
        "PREFETCH",
        "REAL",
        "ROWS",
        "SPLITS",
        "SPLIT_K",
        "SWAP_AB",
        "TAIL",
        "TAIL_STEPS",
        "VEC",
        "VECTOR",
    }
    | {"device", "roles", "tl", "torch"}
    | {"debug", "enable_fp_fusion", "grid", "instrumentation_mode", "launch_pdl", "maxnreg", "num_ctas", "num_stages"}
    | {"num_warps", "triton", "warmup", "backend", "options", "params", "specialization", "specialize_impl"}
)
"""Compile-time arguments of kernels besides tile sizes and choices, modules, options of Triton's launcher and the words
of the function that it makes of a kernel's arguments."""

HOST = frozenset(
    {"Buffer", "Checker", "Op", "Prepare", "check", "extents", "flag", "integer", "lead", "lead0", "lead1", "lengthen"}
    | {"LinearModule", "StoringModule", "parameter", "prepared", "real", "renamed", "repeat", "spread"}
    | {"block", "index", "row", "rows", "split", "splits", "tile", "sizes"}
)
"""Imports and variables of the functions that check and size, and the dimensions of tiles that are no axes."""

BUILTINS = frozenset(
    {"ArithmeticError", "AttributeError", "IndexError", "KeyError", "RuntimeError", "TypeError", "ValueError", "object"}
    | {"bool", "classmethod", "dict", "float", "frozenset", "int", "list", "property", "set", "staticmethod", "str"}
    | {"super", "tuple", "abs", "all", "any", "divmod", "enumerate", "isinstance", "len", "map", "max", "min", "range"}
    | {"repr", "reversed", "round", "sorted", "sum", "zip"}
)
"""Builtins of Python that generated code may name. None of them reaches the file system, the interpreter or another
module."""

MODULE = frozenset(
    {"T_destination", "add_module", "apply", "bfloat16", "buffers", "call_super_init", "children", "compile", "cpu"}
    | {"cuda", "double", "dump_patches", "eval", "extra_repr", "float", "forward", "get_buffer", "get_extra_state"}
    | {"get_parameter", "get_submodule", "half", "ipu", "load_state_dict", "modules", "mtia", "named_buffers"}
    | {"named_children", "named_modules", "named_parameters", "parameters", "register_backward_hook"}
    | {"register_buffer", "register_forward_hook", "register_forward_pre_hook", "register_full_backward_hook"}
    | {"register_full_backward_pre_hook", "register_load_state_dict_post_hook", "register_load_state_dict_pre_hook"}
    | {"register_module", "register_parameter", "register_state_dict_post_hook", "register_state_dict_pre_hook"}
    | {"requires_grad_", "set_extra_state", "set_submodule", "share_memory", "state_dict", "to", "to_empty", "train"}
    | {"training", "type", "xpu", "zero_grad", "reset_parameters", "check", "device", "dtype"}
    | {"bytes_stored", "drop_master", "from_linear", "has_master", "of_weights", "require_master", "stored"}
)
"""Attributes of every module, or of some of ours, and what constructors call arguments and variables of their own."""

_MADE = re.compile(r"(BLOCK_.*|EVEN_.*|partial_.*|.*_stride_.*|.*_ptr|.*_lead[01])(?<!_)")
"""Words that are made: tile sizes, workspaces of partial results, strides, pointers. With `_` behind it none is."""


def is_made_word(name: str) -> bool:
    """Whether `name` looks like a word that is made of another name."""
    return bool(_MADE.fullmatch(name))


def another(name: str) -> str:
    """A name much like `name`, which after a few more of them is no word of generated code."""
    return name.replace("_stride_", "_step_") if "_stride_" in name else f"{name}_"


def is_word(name: str) -> bool:
    """Whether generated code has a meaning of its own for `name`."""
    return name in KERNEL or name in HOST or name in BUILTINS or is_made_word(name)


def avoid_reserved(graph: Graph) -> Mapping[str, str]:
    """What private code calls the names of an op that it cannot keep; all others it calls as the spec does."""
    choices = {param.name for param in graph.params if isinstance(param, ChoiceParam)}
    axes = {solve.name: None for solve in graph.solves}
    # These are arguments of kernels, all others are part of one or the name of a value, which is given when it is free.
    bare = {*axes, *(param.name for param in graph.params if isinstance(param, ScalarParam))}
    values = (*graph.params, *graph.outputs, *graph.variables)
    names = dict.fromkeys([*(value.name for value in values), *axes])
    taken = {*names, *_composed_blocks(graph)}
    found: dict[str, str] = {}
    for name in names:
        # A choice is a compile-time argument in capitals, and an axis has one that is called after it.
        capitals = str.upper if name in choices else _block if name in axes else str
        taken.discard(name)
        new = name
        own = VARIABLES if name in bare else frozenset()
        while is_word(new) or {new, capitals(new)} & (taken | KERNEL | own):
            new = another(new)
        taken |= {new, capitals(new)}
        if new != name:
            found[name] = new
    return found


def _block(name: str) -> str:
    return block_name(Named(name))


def _composed_blocks(graph: Graph) -> set[str]:
    """What the tile sizes of axes are called that are parts, or made, of others."""
    axes = {axis for node in graph.nodes for axis in node.type.axes}
    return {block_name(axis) for axis in axes if not isinstance(axis, Named)}
