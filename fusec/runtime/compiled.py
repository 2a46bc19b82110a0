"""The shortest way to launch a kernel that Triton has compiled."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeAlias

Launched: TypeAlias = Callable[[int, tuple[Any, ...]], None]
"""Launches on a stream with these first arguments: addresses and run-time scalars."""

Spread: TypeAlias = Callable[[int, Any], tuple[Any, ...]]
"""What the driver's function takes for descriptor number so-and-so of a kernel: a tensor map, extents and strides."""


def straight(compiled: Any, grid: tuple[int, int, int], rest: tuple[Any, ...]) -> Launched:
    """A launch of `compiled` without launch hooks, `rest` being its last arguments.

    Triton's launcher looks for scratch memory before it calls the driver's function; where a kernel needs none, that
    function can be called at once. Its signature is Triton's own affair, so whatever is unknown goes through `run`.
    """
    run, function, packed = compiled.run, compiled.function, compiled.packed_metadata
    x, y, z = grid
    if not _is_known(run):
        return lambda stream, given: run(x, y, z, stream, function, packed, None, None, None, *given, *rest)
    return _launch(run, run.launch, grid, function, packed, rest)


def straight_spread(compiled: Any, grid: tuple[int, int, int]) -> tuple[Launched, Spread] | None:
    """The same for a kernel with descriptors, and what it takes for each of them; None where Triton's way is unknown.

    Triton makes the tensor map of a descriptor anew for every launch. It follows from the descriptor alone, and may be
    kept.
    """
    run = compiled.run
    if not _is_known(run) or not inspect.isfunction(run.launch):
        return None
    names = inspect.getclosurevars(run.launch)
    mapped = names.globals.get("make_tensordesc_arg")
    launch, metas = names.nonlocals.get("launcher"), names.nonlocals.get("tensordesc_meta")
    if not (mapped and launch and metas):
        return None

    def spread(number: int, descriptor: Any) -> tuple[Any, ...]:
        return tuple(mapped(descriptor, metas[number]))

    return _launch(run, launch, grid, compiled.function, compiled.packed_metadata, ()), spread


def _is_known(run: Any) -> bool:
    """Whether the driver's function can be called past Triton's launcher."""
    scratch = [getattr(run, f"{kind}_scratch_size", None) for kind in ("global", "profile")]
    return hasattr(run, "launch") and scratch == [0, 0] and not getattr(run, "gsan_enabled", False)


def _launch(
    run: Any, launch: Any, grid: tuple[int, int, int], function: Any, packed: Any, rest: tuple[Any, ...]
) -> Launched:
    """A call of the driver's function `launch` with what `run`, Triton's launcher, would give it."""
    x, y, z = grid
    cooperative, dependent = run.launch_cooperative_grid, run.launch_pdl
    if hasattr(run, "arg_annotations"):  # triton 3.7 to 3.9
        about, signature = run.arg_annotations, run.kernel_signature
        no_hooks_no_scratch = (None, None, None, None, None)
        known = (function, cooperative, dependent, packed, *no_hooks_no_scratch, about, signature)
        return lambda stream, given: launch(x, y, z, stream, *known, (*given, *rest))
    no_scratch, no_hooks = (None, None), (None, None, None)
    fixed = (function, cooperative, dependent, *no_scratch, packed, *no_hooks)
    return lambda stream, given: launch(x, y, z, stream, *fixed, *given, *rest)
