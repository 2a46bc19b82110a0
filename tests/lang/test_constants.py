"""Numbers that a spec makes of literals are numbers, or a mistake at their place; none makes a build wait."""

from __future__ import annotations

import pytest

from fusec.diagnostics import Source, SpecError
from fusec.driver.compile import compile_source


def build(expression: str, where: str = "", dims: str = "N", extra: str = "") -> None:
    text = f"op f(x: f32[{dims}], t: i32[{dims}]{extra}) -> y: f32[{dims}]{where}:\n    y = x * ({expression})\n"
    compile_source(Source("f.fuse", text), None)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("expression", "place", "message"),
    [
        ("9 ** 9 ** 9 ** 9", "9 ** 9 ** 9", "too large for a double"),
        ("2 ** 100000", "2 ** 100000", "too large for a double"),
        ("2.0 ** 1024", "2.0 ** 1024", "too large for a double"),
        ("x * 10.0 ** 400", "10.0 ** 400", "too large for a double"),
        ("9223372036854775807 + 1", "9223372036854775807 + 1", "does not fit into 64 bits"),
        ("-9223372036854775807 - 2", "-9223372036854775807 - 2", "does not fit into 64 bits"),
        ("4294967296 * 4294967296", "4294967296 * 4294967296", "does not fit into 64 bits"),
        ("1 << 64", "64", "shifts by 0 to 63"),
        ("t << 64", "64", "shifts by 0 to 63"),
        ("3 << 62", "3 << 62", "does not fit into 64 bits"),
        ("1 // 0", "0", "divides by zero"),
        ("1 % 0", "0", "divides by zero"),
        ("t // 0", "0", "divides by zero"),
        ("t % (3 - 3)", "3 - 3", "divides by zero"),
        ("x // 0.0", "0.0", "divides by zero"),
        ("N % (0 * 5)", "0 * 5", "divides by zero"),
    ],
)
def test_what_is_no_number_is_told_at_its_place(expression: str, place: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        build(expression)
    (fault,) = caught.value.diagnostics
    assert (fault.span.text, message in fault.message) == (place, True), fault.message


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "expression",
    [
        "2 ** 10",
        "2 ** -1",
        "2 ** 0.5",
        "(-8) ** 0.5",
        "0 ** -1",
        "1 / 0",
        "-1 // 3",
        "7 % 4",
        "1e300 * 1e10",
        "1 << 62",
    ],
)
def test_what_is_a_number_is_built(expression: str) -> None:
    build(expression)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("condition", "place", "message"),
    [
        ("N % 0 == 0", "0", "divides by zero"),
        ("N % (2 - 2) == 0", "2 - 2", "divides by zero"),
        ("N // (N - N) == 0", "N - N", "divides by zero"),
        ("N < 9223372036854775807 * 2", "9223372036854775807 * 2", "does not fit into 64 bits"),
    ],
)
def test_a_condition_is_held_to_the_same(condition: str, place: str, message: str) -> None:
    with pytest.raises(SpecError) as caught:
        build("1", where=f"\nwhere {condition}")
    (fault,) = caught.value.diagnostics
    assert (fault.span.text, message in fault.message) == (place, True), fault.message


@pytest.mark.timeout(20)
def test_a_chain_of_literals_ends_at_the_first_that_is_too_large() -> None:
    lines = [f"a{i + 1} = a{i} * a{i} + a{i}" for i in range(40)]
    body = "".join(f"    {line}\n" for line in ["a0 = 3", *lines, "y = x * a40"])
    with pytest.raises(SpecError) as caught:
        compile_source(Source("f.fuse", f"op f(x: f32[N]) -> y: f32[N]:\n{body}"), None)
    assert len(caught.value.diagnostics) == 1
