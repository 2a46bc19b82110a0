"""One specialisation of a kernel, and which of them the resource gate has to measure.

How many registers a variant needs grows with the elements that a thread holds of its tile. What else differs among the
variants of a kernel (dtypes, choices, tensors that are omitted, loops of one step) changes it by less than twice: by
1.75 at most over the shipped specs, where what tensor cores multiply is the same. So a heavy variant that leaves half
of the registers free stands for the lighter ones; for those that hold half as much or less, one that leaves a quarter
free does. Variants of the same tile differ by 1.12 at most, and one that leaves an eighth free stands for them; f16 and
bf16 are one there, which the same instructions move and multiply. Kernels without tensor cores are the same on all
chips, but for scheduling: sm_80 took at most 1.38 times as many registers as sm_90, so a variant that leaves a third of
them free stands for itself on the other chip, too, and one that leaves half of them free for lighter ones there.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from dataclasses import dataclass, replace
from math import prod

MOST_REGISTERS = 128
"""With so many registers a variant stands for others: half of what a thread may have."""

MOST_OF_HALF = 192
"""With so many it stands for those that hold half as much or less, where nothing is multiplied by tensor cores."""

MOST_OF_ONE_TILE = 224
"""With so many it stands for others of the same tile."""

MOST_ON_OTHERS = 170
"""With so many it stands for itself on other chips."""

OP = "OP"
"""The compile-time name of the op that a kernel of several computes for."""

STEPS = "FULL_STEPS"
"""The compile-time number of whole steps of a loop."""

FLAGS = ("SWAP_AB", "HELD", "VECTOR", OP)
"""Compile-time flags that say what a kernel holds in registers, or for which op it computes."""

_WAYS = ("HELD", "VECTOR")
"""Those of which it counts for registers whether they are above, below or 0: more is held of smaller elements."""

_MEMORY = ("*", "tensordesc")
"""How types of tensors begin."""

_SAME_BITS = re.compile("bf16|fp16")

_BYTES = {"fp64": 8, "i64": 8, "fp32": 4, "i32": 4, "fp16": 2, "bf16": 2}


@dataclass(frozen=True, slots=True)
class Variant:
    """One specialisation of a kernel, as the launcher would ask for it.

    `signature` gives every parameter in order and its Triton type (`*bf16`, `i32`, `fp32`, `constexpr`);
    `constexprs` the values of those, a type as text (`tl.int64`); `divisible` what is known to be a multiple of 16.
    `options` are those of a `Launch`, several ways in order of preference; `casts` the types that the body names;
    `multiplies` says that it has products of tiles, `in_f32` that threads make these of numbers of f32; those of digits
    with `scaled` groups are of these formats.
    """

    label: str
    kernel: str
    signature: tuple[tuple[str, str], ...]
    constexprs: tuple[tuple[str, bool | int | float | str], ...]
    divisible: tuple[str, ...] = ()
    options: tuple[tuple[tuple[str, int], ...], ...] = ((("num_warps", 4), ("num_stages", 1)),)
    casts: tuple[str, ...] = ()
    multiplies: bool = False
    in_f32: bool = False
    scaled: tuple[str, ...] = ()

    @property
    def family(self) -> Hashable:
        """What variants that may stand for each other share: the kernel, its flags, and what it multiplies.

        What a kernel computes for one op stands for what it does for others where it has no products.
        """
        kinds = frozenset(_SAME_BITS.sub("f16", kind) for _, kind in self.signature if kind.startswith(_MEMORY))
        splits = dict(self._sizes).get("SPLIT_K", 1) > 1
        flags = tuple(
            _sign(value) if name in _WAYS else value
            for name, value in self.constexprs
            if name in FLAGS and (name != OP or self.multiplies)
        )
        return self.kernel, flags, splits, kinds if self.multiplies else None

    @property
    def weight(self) -> tuple[float, int, int]:
        """Larger where more registers may be needed: elements to a thread, their bytes, steps of loops."""
        steps = prod(max(size, 1) for name, size in self._sizes if not _is_tile(name))
        return self._to_a_thread, sum(_BYTES.get(kind[1:], 1) for _, kind in self.signature), steps

    @property
    def in_front(self) -> Variant:
        """A variant that passes the front end where this one does: all steps of a loop behind the first are alike."""
        fewer = tuple(
            (name, min(size, 2) if name == STEPS and type(size) is int else size) for name, size in self.constexprs
        )
        return replace(self, label="", constexprs=fewer, divisible=())

    @property
    def differs_by_chip(self) -> bool:
        """Whether it is made of other instructions on each chip."""
        return self.multiplies and not self.in_f32

    def registers_to_stand_for(self, light: Variant) -> int:
        """How many registers this variant may take if it is to stand for another of its family; 0 where it cannot."""
        own, least = dict(self._sizes), dict(light._sizes)
        tiles = [(own.get(name, 1), size) for name, size in least.items() if _is_tile(name)]
        if self.options == light.options and all(size == other for size, other in tiles):
            return MOST_OF_ONE_TILE
        larger = self._to_a_thread >= light._to_a_thread
        if not self.multiplies and self._to_a_thread >= 2 * light._to_a_thread:
            return MOST_OF_HALF
        if self.multiplies:
            larger = (
                all(size >= other for size, other in tiles)
                and self._option("num_warps") <= light._option("num_warps")
                and self._option("num_stages") >= light._option("num_stages")
            )
        return MOST_REGISTERS if larger else 0

    @property
    def _sizes(self) -> tuple[tuple[str, int], ...]:
        return tuple((name, size) for name, size in self.constexprs if type(size) is int)

    @property
    def _to_a_thread(self) -> float:
        elements = prod(max(size, 1) for name, size in self._sizes if _is_tile(name))
        return elements / self._option("num_warps")

    def _option(self, name: str) -> int:
        """An option of the way that is preferred."""
        return dict(self.options[0]).get(name, 1)


def _sign(value: bool | int | float | str) -> bool | int | float | str:
    """1, 0 or -1 of a number."""
    return value if isinstance(value, str) else (value > 0) - (value < 0)


def _is_tile(name: str) -> bool:
    return name.startswith(("BLOCK", "ROWS"))
