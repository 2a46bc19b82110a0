"""The shortest way to launch a kernel that Triton has compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

Launched: TypeAlias = Callable[[int, tuple[Any, ...]], None]
"""Launches on a stream with these first arguments: addresses and run-time scalars."""


def straight(compiled: Any, grid: tuple[int, int, int], rest: tuple[Any, ...]) -> Launched:
    """A launch of `compiled` without launch hooks, `rest` being its last arguments.

    Triton's launcher looks for scratch memory before it calls the driver's function; where a kernel needs none, that
    function can be called at once. Its signature is Triton's own affair, so whatever is unknown goes through `run`.
    """
    run, function, packed = compiled.run, compiled.function, compiled.packed_metadata
    x, y, z = grid
    scratch = [getattr(run, f"{kind}_scratch_size", None) for kind in ("global", "profile")]
    if not hasattr(run, "launch") or scratch != [0, 0] or getattr(run, "gsan_enabled", False):
        return lambda stream, given: run(x, y, z, stream, function, packed, None, None, None, *given, *rest)
    launch, cooperative, dependent = run.launch, run.launch_cooperative_grid, run.launch_pdl
    if hasattr(run, "arg_annotations"):  # triton 3.7 to 3.9
        about, signature = run.arg_annotations, run.kernel_signature
        no_hooks_no_scratch = (None, None, None, None, None)
        known = (function, cooperative, dependent, packed, *no_hooks_no_scratch, about, signature)
        return lambda stream, given: launch(x, y, z, stream, *known, (*given, *rest))
    no_scratch, no_hooks = (None, None), (None, None, None)
    fixed = (function, cooperative, dependent, *no_scratch, packed, *no_hooks)
    return lambda stream, given: launch(x, y, z, stream, *fixed, *given, *rest)
