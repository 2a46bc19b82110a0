"""A compiled kernel is launched on what the first launch was, whichever way it was compiled; Triton is played."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
import torch
from triton.runtime.errors import OutOfResources

from fusec.runtime import Buffer, Plan, allocate
from fusec.runtime import launch as launching
from fusec.runtime import plan as planning
from fusec.runtime.launch import Launch, Launcher, fits, is_watched

PLACES = {"x_ptr": 2, "y_ptr": 0, "eps": 3}

OPTIONS = ({"num_warps": 8, "most_registers": 40}, {"num_warps": 4, "maxnreg": 128}, {"num_warps": 2})


class Kernel:
    """A kernel that takes notes: of how it is compiled, and of how it is launched, at first and once it is compiled."""

    __name__ = "rows"
    arg_names = ("x_ptr", "y_ptr", "eps", "N", "BLOCK")

    def __init__(self, figures: dict[int, tuple[int, int] | None]) -> None:
        """`figures` are spilled bytes and registers by the number of warps; None where no multiprocessor has room."""
        self.figures = figures
        self.tried: list[int] = []
        self.first: list[tuple[Any, ...]] = []
        self.launched: list[tuple[Any, ...]] = []

    def warmup(self, *arguments: Any, grid: Any, num_warps: int, **options: Any) -> Any:
        assert grid == (3, 2, 1)
        assert "most_registers" not in options
        self.tried.append(num_warps)
        spills, registers = self.figures[num_warps] or (0, 0)
        return SimpleNamespace(n_spills=spills, n_regs=registers, _init_handles=lambda: self._room(num_warps))

    def _room(self, num_warps: int) -> None:
        if self.figures[num_warps] is None:
            raise OutOfResources(2, 1, "shared memory")

    def __getitem__(self, grid: Any) -> Any:
        def run(*arguments: Any, **options: Any) -> Any:
            self.first.append((grid, arguments, options))
            spills, _ = self.figures[options["num_warps"]] or (0, 0)
            about = SimpleNamespace(function="function", packed_metadata="packed", n_spills=spills)
            about.run = lambda *given: self.launched.append(given)
            about.launch_metadata = lambda grid, stream, *given: ("about", grid, stream, *given)
            return about

        return run


@pytest.fixture(autouse=True)
def hooks() -> Iterator[Any]:
    """Triton as on a GPU, with chains of hooks that are empty."""
    chains = [SimpleNamespace(calls=[]) for _ in range(2)]
    knobs = SimpleNamespace(interpret=False, launch_enter_hook=chains[0], launch_exit_hook=chains[1])
    with mock.patch.multiple(launching, _knobs=knobs, _ENTER=chains[0], _LEAVE=chains[1]):
        yield knobs


def launcher(kernel: Kernel, **changes: Any) -> Launcher:
    about = {"grid": (3, 2), "arguments": {"N": 100, "BLOCK": 128}, "options": OPTIONS, **changes}
    return Launcher(Launch(kernel, **about), PLACES)


def compiled(kernel: Kernel, values: Sequence[Any], **changes: Any) -> Launcher:
    made = launcher(kernel, **changes)
    assert made.first(values)
    return made


VALUES = (torch.zeros(4), None, torch.zeros(4, dtype=torch.float16), 0.5)


@pytest.mark.parametrize(
    ("figures", "tried", "taken"),
    [
        ({8: (0, 40), 4: (0, 64), 2: (0, 64)}, [8], 8),
        ({8: (0, 41), 4: (0, 64), 2: (0, 64)}, [8, 4], 4),
        ({8: (4, 40), 4: (0, 250), 2: (0, 64)}, [8, 4], 4),
        ({8: (0, 41), 4: (4, 64), 2: (0, 64)}, [8, 4], 2),
        ({8: None, 4: (4, 64), 2: (12, 64)}, [8, 4], 2),
        ({8: None, 4: (0, 64), 2: (12, 64)}, [8, 4], 4),
    ],
)
def test_the_first_way_that_fits_is_taken_and_else_the_last(
    figures: dict[int, tuple[int, int] | None], tried: list[int], taken: int
) -> None:
    kernel = Kernel(figures)
    made = compiled(kernel, VALUES)
    ((grid, arguments, options),) = kernel.first
    assert (kernel.tried, options["num_warps"]) == (tried, taken)
    assert (grid, options["enable_fp_fusion"]) == ((3, 2, 1), True)
    assert [*map(type, arguments)] == [torch.Tensor, torch.Tensor, float, int, int]
    assert arguments[0] is VALUES[2]
    assert arguments[1] is VALUES[0]
    assert made.spills == (figures[taken] or (0, 0))[0]
    assert made.programs == 6
    assert made.kernel == "rows"


def test_a_kernel_that_must_not_join_products_and_sums_says_so() -> None:
    kernel = Kernel({2: (0, 0)})
    compiled(kernel, VALUES, contract=False, options=({"num_warps": 2},))
    assert kernel.first[0][2] == {"num_warps": 2, "enable_fp_fusion": False}


def test_a_compiled_kernel_gets_addresses_and_what_it_got_first() -> None:
    kernel = Kernel({2: (0, 0)})
    made = compiled(kernel, VALUES, options=({"num_warps": 2},))
    made.launch(7, (256, 512, 1024, 0.25))
    made.launch(8, (256, 512, 2048, 0.75))
    end = ("function", "packed", None, None, None)
    assert kernel.launched == [
        (3, 2, 1, 7, *end, 1024, 256, 0.25, 100, 128),
        (3, 2, 1, 8, *end, 2048, 256, 0.75, 100, 128),
    ]
    assert len(kernel.first) == 1


def test_offsets_move_tensors_and_addresses_alike() -> None:
    kernel = Kernel({2: (0, 0)})
    made = compiled(kernel, VALUES, options=({"num_warps": 2},), offsets={"x": 3})
    x, y, *_ = kernel.first[0][1]
    assert x.data_ptr() - VALUES[2].data_ptr() == 6
    assert y is VALUES[0]
    made.launch(7, (256, 512, 1024, 0.25))
    assert kernel.launched[0][9:] == (1030, 256, 0.25, 100, 128)


@pytest.mark.parametrize("hook", ["launch_enter_hook", "launch_exit_hook"])
@pytest.mark.parametrize("added", [True, False])
def test_whoever_watches_launches_is_told_of_them(hooks: Any, hook: str, added: bool) -> None:
    kernel = Kernel({2: (0, 0)})
    made = compiled(kernel, VALUES, options=({"num_warps": 2},))
    assert not is_watched()
    if added:
        getattr(hooks, hook).calls.append(print)
    else:
        setattr(hooks, hook, SimpleNamespace(calls=[]))
    assert is_watched()
    made.launch(7, (256, 512, 1024, 0.25))
    given = (1024, 256, 0.25, 100, 128)
    about = ("about", (3, 2, 1), 7, *given)
    watching = (hooks.launch_enter_hook, hooks.launch_exit_hook)
    assert kernel.launched == [(3, 2, 1, 7, "function", "packed", about, *watching, *given)]


@pytest.mark.parametrize(
    "changes",
    [
        {"arguments": {"N": 100}},
        {"arguments": {"N": 100, "BLOCK": 128, "M": 1}},
        {"arguments": {"x_ptr": 0, "N": 100, "BLOCK": 128}},
        {"arguments": {"eps": 0, "BLOCK": 128}},
    ],
)
def test_what_a_kernel_does_not_take_is_told(changes: dict[str, Any]) -> None:
    with pytest.raises(TypeError, match="takes its pointers and scalars first and each argument once"):
        launcher(Kernel({}), **changes)


@pytest.mark.parametrize(("grid", "programs"), [((5,), 5), ((5, 2), 10), ((5, 2, 3), 30), ((5, 0), 0)])
def test_programs_of_a_launch(grid: tuple[int, ...], programs: int) -> None:
    assert launcher(Kernel({}), grid=grid).programs == programs
    assert Launch(Kernel({}), grid, {}, OPTIONS).idle == (programs == 0)


def test_a_kernel_fits_without_spills_and_within_its_registers() -> None:
    assert [fits(*figures) for figures in ((0, 40, None), (0, 40, 40), (0, 41, 40), (4, 40, 40), (4, 40, None))] == [
        True,
        True,
        False,
        False,
        False,
    ]


def test_a_plan_passes_addresses_once_its_kernels_are_compiled() -> None:
    """Those of tensors, of what it allocates, and numbers; each call allocates anew."""
    kernel = Kernel({2: (0, 0)})
    kernel.arg_names = ("x_ptr", "y_ptr", "sum_ptr", "eps", "N", "BLOCK")
    launch = Launch(kernel, (3, 2), {"N": 100, "BLOCK": 128}, ({"num_warps": 2},))
    buffers = [Buffer((4,), torch.float32), Buffer((2, 3), torch.float64)]
    plan = Plan(
        "op",
        torch.device("cuda", 0),
        tensors=("x",),
        scalars=("eps",),
        outputs={"y": buffers[0]},
        workspaces={"sum": buffers[1]},
        launches=[launch],
    )
    made: list[torch.Tensor] = []

    def empty(shape: Any, strides: Any, dtype: Any, device: Any) -> torch.Tensor:
        assert device == torch.device("cuda", 0)
        made.append(torch.empty_strided(shape, strides, dtype=dtype))
        return made[-1]

    x = torch.zeros(4)
    stream = mock.patch.object(planning, "_current_stream", return_value=7)
    with mock.patch.object(allocate, "empty", side_effect=empty), stream:
        first, second = plan((x,), (0.5,)), plan((x,), (0.75,))
    assert first is made[0]
    assert second is made[2]
    assert [(each.shape, each.dtype) for each in made] == [((4,), torch.float32), ((2, 3), torch.float64)] * 2
    assert [*map(type, kernel.first[0][1])] == [torch.Tensor] * 3 + [float, int, int]
    addresses = [each.data_ptr() for each in (x, *made[2:])]
    assert kernel.launched == [(3, 2, 1, 7, "function", "packed", None, None, None, *addresses, 0.75, 100, 128)]
