"""Names in a generated file: of what its table refers to, and of the parameters of its kernels."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache
from typing import Any

LEAD = ("lead1", "lead0")
"""The keys of the axes that `...` is walked by."""

SPLITS = "split"
"""The key of the axis that the parts of a sum stand along, which several programs leave."""


@dataclass(frozen=True, slots=True)
class Name:
    """What stands at the top of the generated file under this name, while that is written, or an expression there."""

    text: str


def with_names(value: Any, names: Mapping[str, str]) -> Any:
    """A table, or a part of it, with other names for what stands at the top of the generated file."""
    if isinstance(value, Name):
        return Name(names.get(value.text, value.text))
    if isinstance(value, tuple):
        return tuple(with_names(item, names) for item in value)
    if isinstance(value, Mapping):
        return {key: with_names(item, names) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return type(value)(**{each.name: with_names(getattr(value, each.name), names) for each in fields(value)})
    return value


@cache
def block_name(key: str) -> str:
    """`BLOCK_N`: the compile-time size of an axis in a tile."""
    return f"BLOCK_{_word(key)}".upper()


@cache
def even_name(key: str) -> str:
    """`EVEN_N`: the compile-time flag that no lane of a tile is outside of an axis."""
    return f"EVEN_{_word(key)}".upper()


@cache
def stride_names(tensor: str, dims: tuple[str, ...]) -> tuple[str, ...]:
    """A name for the stride of each stored dimension: `x_stride_HD` for `H*D` of `x`; counted where names collide."""
    texts = [_word(dim.replace("*", "")).strip("_") for dim in dims]
    unique = (text if texts.count(text) == 1 else f"{text}_{place}" for place, text in enumerate(texts))
    return tuple(f"{tensor}_stride_{text}" for text in unique)


def argument_name(name: str, words: Mapping[str, str]) -> str:
    """What a kernel's parameter stands for where tensors and axes are called otherwise: `k_ptr` for `q_ptr`, say."""
    if name in words:
        return words[name]
    tensor, stride, dim = name.partition("_stride_")
    if stride:
        return f"{words.get(tensor, tensor)}{stride}{words.get(dim, dim)}"
    tensor = name.removesuffix("_ptr")
    return f"{words.get(tensor, tensor)}_ptr" if tensor != name else name


def _word(key: str) -> str:
    # Dots behind a key only tell it from others.
    return re.sub(r"\W+", "_", key.rstrip("."))
