"""Device functions that kernels call are ones that every supported Triton compiles."""

from __future__ import annotations

import inspect

import pytest
import triton.language as tl

from fusec.runtime import device, special, unpacking

FUNCTIONS = {
    name: function
    for module in (device, special, unpacking)
    for name, function in vars(module).items()
    if inspect.isfunction(getattr(function, "fn", None))
}


def test_there_are_device_functions() -> None:
    assert {"look_up", "lanes", "enter", "erfc"} <= set(FUNCTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_defaults_are_what_triton_makes_compile_time_values_of(name: str) -> None:
    """Triton 3.6 takes a default as it is, but for numbers, types and what is a `constexpr` already."""
    defaults = [each.default for each in inspect.signature(FUNCTIONS[name].fn).parameters.values()]
    given = [default for default in defaults if default is not inspect.Parameter.empty]
    assert [each for each in given if not isinstance(each, (tl.constexpr, tl.dtype, int, float, type(None)))] == []
