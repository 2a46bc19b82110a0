"""One launch of a kernel: through Triton's JIT the first time, straight to the compiled kernel from then on."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from math import prod
from operator import itemgetter
from typing import Any, TypeAlias

import torch
import triton

from fusec.runtime.compiled import Launched, straight
from fusec.runtime.tensor_map import TmaView

Value: TypeAlias = torch.Tensor | int | float | bool | None

_knobs = triton.knobs.runtime
_ENTER, _LEAVE = _knobs.launch_enter_hook, _knobs.launch_exit_hook

_STEPS = ("FULL_STEPS", "TAIL_STEPS")
"""Arguments that say how many steps a loop has, and how many more behind them."""

_alone: Callable[[], AbstractContextManager[None]] = (
    import_module("..interpreter", __package__).alone if _knobs.interpret else nullcontext
)
"""What a kernel is run in. The interpreter needs numpy, which compiled kernels do not."""


@dataclass(frozen=True, slots=True)
class Launch:
    """A launch with everything decided but its buffers and its run-time scalars.

    A kernel takes pointers and run-time scalars first, then the rest. The pointer to buffer `x` is called `x_ptr`, a
    scalar as the op calls it; `arguments` names all others. `options` are Triton's (`num_warps`, `num_stages`,
    `maxnreg`), several sets in order of preference: the first is taken for which the compiler spills no registers and
    uses `most_registers` at most, where a set names that; the last in any case. `contract` lets the compiler add a
    product without rounding it first, f16 and bf16 ones included. `offsets` moves the pointer to a buffer, by elements.
    A parameter in `maps` is a descriptor; for one of two buffers the parameter in `flips` says which lies first. Where
    a kernel goes by addresses, `starts` has the bytes by which a buffer begins behind a multiple of 16. One that is in
    Gluon has a `twin`, which does the same in plain Triton, where that is interpreted or its traffic counted.
    """

    kernel: Any
    grid: tuple[int, ...]
    arguments: Mapping[str, int | float | bool | None]
    options: Sequence[Mapping[str, int | bool]]
    contract: bool = True
    offsets: Mapping[str, int] = field(default_factory=dict)
    maps: Mapping[str, TmaView] = field(default_factory=dict)
    flips: Mapping[str, str] = field(default_factory=dict)
    starts: Mapping[str, int] = field(default_factory=dict)
    twin: Launch | None = None

    @property
    def plain(self) -> Launch:
        """The launch in plain Triton."""
        return self.twin or self

    @property
    def idle(self) -> bool:
        """Whether there are no programs to run."""
        return 0 in self.grid


@dataclass(frozen=True, slots=True)
class Resources:
    """What a compiled kernel takes: registers of a thread, bytes of shared memory of a program, bytes spilled."""

    registers: int
    shared: int
    spills: int = 0


class Launcher:
    """A launch that knows where in a call's list of values its own stand, and keeps its compiled kernel."""

    __slots__ = (
        "_compiled",
        "_grid",
        "_kernel",
        "_most",
        "_name",
        "_offsets",
        "_options",
        "_pick",
        "_rest",
        "_shifts",
        "_straight",
    )

    def __init__(self, launch: Launch, places: Mapping[str, int]) -> None:
        """`places` gives the position of every pointer and scalar by its name in the kernel."""
        self._name = str(launch.kernel.__name__)
        launch = as_run(launch)
        names: list[str] = [name for name in launch.kernel.arg_names if name not in launch.maps]
        given = [name for name in names if name not in launch.arguments]
        if names[: len(given)] != given or set(given) - set(places) or set(launch.arguments) - set(names):
            raise TypeError(
                f"kernel({', '.join(names)}) takes its pointers and scalars first and each argument once, but is "
                f"launched with buffers and scalars {', '.join(places)} and arguments {', '.join(launch.arguments)}"
            )
        self._kernel = launch.kernel
        x, y, z, *_ = (*launch.grid, 1, 1)
        self._grid = (x, y, z)
        # Triton 3.10 changes the default of this one, and with it the rounding of a kernel.
        self._options = [{"enable_fp_fusion": launch.contract, **options} for options in launch.options]
        self._most = [options.pop("most_registers", None) for options in self._options]
        self._rest = tuple(launch.arguments[name] for name in names[len(given) :])
        self._pick = picker([places[name] for name in given])
        self._offsets = tuple(launch.offsets.get(name.removesuffix("_ptr"), 0) for name in given)
        self._shifts: tuple[int, ...] | None = None
        self._compiled: Any = None
        self._straight: Launched | None = None

    @property
    def kernel(self) -> str:
        """The name of its kernel, whether that runs or its twin."""
        return self._name

    @property
    def programs(self) -> int:
        """How many programs it launches."""
        return prod(self._grid)

    @property
    def steps(self) -> int:
        """How many steps the loop of a program has, with its rest; 0 where there is none."""
        given = zip(reversed(self._kernel.arg_names), reversed(self._rest), strict=False)
        return sum(value for name, value in given if name in _STEPS and isinstance(value, int))

    @property
    def resources(self) -> Resources | None:
        """What the compiled kernel takes; None where there is none."""
        made = self._compiled
        return None if made is None else Resources(int(made.n_regs), int(made.metadata.shared), int(made.n_spills))

    @property
    def spills(self) -> int:
        """Bytes that a thread of the compiled kernel spills; 0 where there is none."""
        return 0 if self._compiled is None else int(self._compiled.n_spills)

    def first(self, values: Sequence[Value]) -> bool:
        """Launch on tensors and numbers through the JIT. Whether there is a compiled kernel to `launch` from now on.

        There is none under the interpreter.
        """
        given = self._pick(values)
        if any(self._offsets):
            self._shifts = tuple(map(_bytes, given, self._offsets))
            given = tuple(map(_moved, given, self._offsets))
        compiled = self._compile((*given, *self._rest))
        if compiled is not None:
            self._straight = straight(compiled, self._grid, self._rest)
        return compiled is not None

    def _compile(self, arguments: tuple[Any, ...]) -> Any:
        """Launch on these arguments, with the first options that fit; the compiled kernel, if there is one."""
        options = self._fitting(arguments)
        with _alone():
            self._compiled = self._kernel[self._grid](*arguments, **options)
        return self._compiled

    def _fitting(self, arguments: tuple[Any, ...]) -> Mapping[str, Any]:
        """The first options that fit, the last in any case. Another thread may be looking for it as well."""
        *others, last = self._options
        if _knobs.interpret:
            return last
        return next(
            (each for each, most in zip(others, self._most[:-1], strict=True) if self._fits(arguments, each, most)),
            last,
        )

    def _fits(self, arguments: tuple[Any, ...], options: Mapping[str, Any], most: int | None) -> bool:
        """Whether the kernel, compiled with these options, has the registers and the memory it needs."""
        compiled = self._kernel.warmup(*arguments, grid=self._grid, **options)
        try:
            compiled._init_handles()
        except triton.runtime.errors.OutOfResources:
            return False
        return fits(compiled.n_spills, compiled.n_regs, most)

    def launch(self, stream: int, values: Sequence[Any]) -> None:
        """Launch the compiled kernel on addresses and numbers. Valid for the argument layout of `first` alone."""
        given = self._pick(values)
        if self._shifts:
            given = tuple(value + shift if shift else value for value, shift in zip(given, self._shifts, strict=True))
        if self._straight is None or is_watched():
            self._observed(stream, (*given, *self._rest))
        else:
            self._straight(stream, given)

    def _observed(self, stream: int, arguments: tuple[Any, ...]) -> None:
        compiled, enter, leave = self._compiled, _knobs.launch_enter_hook, _knobs.launch_exit_hook
        about = compiled.launch_metadata(self._grid, stream, *arguments)
        compiled.run(*self._grid, stream, compiled.function, compiled.packed_metadata, about, enter, leave, *arguments)


def as_run(launch: Launch) -> Launch:
    """What runs of a launch: in the interpreter, which knows plain Triton alone, that of the twin."""
    return launch.plain if _knobs.interpret else launch


def is_watched() -> bool:
    """Whether somebody is to be told of launches."""
    enter, leave = _knobs.launch_enter_hook, _knobs.launch_exit_hook
    # Triton keeps two chains of hooks, empty at first; somebody may have put something else in their place.
    return not (enter is _ENTER and leave is _LEAVE and not enter.calls and not leave.calls)


def fits(spills: int, registers: int, most: int | None) -> bool:
    """Whether a compiled kernel keeps all its values in registers, `most` of them at most."""
    return not spills and (most is None or registers <= most)


def picker(places: list[int]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """The function that picks the values at these places."""
    match places:
        case []:
            return lambda values: ()
        case [place]:
            return lambda values: (values[place],)
        case _:
            return itemgetter(*places)


def _bytes(value: Value, offset: int) -> int:
    return offset * value.element_size() if isinstance(value, torch.Tensor) else 0


def _moved(value: Value, offset: int) -> Value:
    if not isinstance(value, torch.Tensor) or offset == 0:
        return value
    # Triton asks a pointer argument for its dtype and its address only.
    return value.as_strided((1,), (1,), value.storage_offset() + offset)
