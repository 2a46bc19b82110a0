"""Every figure of a chip stands in `runtime/select/chip.py`: no other file of fusec decides by a number of its own.

Files that size launches, predict their time or compile for a chip hold no number above 16 (what access and instruction
need) and no odd fraction, unless the table below says what it is a figure of. In all other files the figures that tell
one chip from another are looked for.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

import fusec
from fusec.runtime.select.chip import Chip

ROOT = Path(fusec.__file__).parent
CHIP = ROOT / "runtime" / "select" / "chip.py"

DECIDING = (
    *(
        "ir/host/*.py",
        "ir/schedule.py",
        "passes/partition/*.py",
        "passes/schedule/*.py",
        "passes/host/*.py",
        "passes/kernel/*.py",
        "codegen/gate*.py",
    ),
    *("runtime/*.py", "runtime/select/*.py", "driver/tuning/*.py", "commands/tune*.py", "commands/explain.py"),
)
"""Where plans are made, launches sized, predicted, tried and compiled."""

SMALL = {*range(17), *(-number for number in range(17)), 0.5}

OTHER_FIGURES: dict[str, dict[float, str]] = {
    "ir/schedule.py": {1024: "rows known to be so short when compiling that no chip wants another plan for them"},
    "passes/schedule/split_rows.py": {1024: "the same for axes"},
    "passes/schedule/registers.py": {32: "bits of a register, and what a sine takes of them"},
    "passes/host/stages.py": {32: "bits of a word"},
    "passes/kernel/blocks.py": {32: "products that a tensor core takes at once, at least as many as of any type"},
    "passes/kernel/integers.py": {32: "bits of an index"},
    "passes/kernel/outside.py": {2.0**-126: "the least normal f32"},
    "passes/kernel/values.py": {32: "bits of an index", 2**22: "half of the integers that f32 holds", 256: "bytes"},
    "codegen/gate.py": {48: "jobs worth a worker", 120: "seconds for a compiler"},
    "commands/explain.py": {1e3: "milliseconds of a second"},
    "commands/tune.py": {300: "seconds for a step of a search"},
    "commands/tune_shapes.py": {4096: "usual extents", 128: "usual extents", 32: "usual extents"},
    "commands/tune_worker.py": {2e4: "microseconds of a turn"},
    "driver/tuning/candidates.py": {128: "rows", 1.5: "slower by the model", 1.1: "slower by the model"},
    "runtime/apart.py": {20_000: "combinations tried to see whether layouts overlap"},
    "runtime/tensor_map.py": {2**31: "extents of a tensor map have 32 bits", 2**40: "and its strides 40"},
    "runtime/tma_launch.py": {512: "descriptors kept"},
    "runtime/cache.py": {4096: "plans kept"},
    "runtime/checks.py": {64: "bits of an integer"},
    "runtime/cublas_lt.py": {
        **dict.fromkeys((68, 70, 77), "compute types of cuBLAS"),
        2**31: "sizes have 32 bits",
        2**25: "bytes of workspace, as PyTorch allows",
        512: "arguments kept",
    },
    "passes/kernel/touching.py": {32: "groups asked for at a time"},
    "runtime/eight_bits.py": {128: "numbers that share a scale in the library"},
    "runtime/invariant.py": {1024: "rows that calls are planned for, whatever rows they have"},
    "runtime/modules.py": {-0.5: "the exponent of a root"},
    "runtime/multiplier.py": {512: "views kept", 2**36: "multiplications that take longer than a call"},
    "runtime/roles.py": {
        32: "numbers of 8 bits of a row that an instruction multiplies",
        256: "columns that an instruction has at most",
        128: "those of integers, in Triton",
    },
    "runtime/overlap.py": {12030: "the version of a driver"},
    "runtime/prepare.py": {1000: "weights compared"},
    "runtime/select/rows.py": {2**20: "elements that a tile of Triton may have"},
    "runtime/select/sizes.py": {2**26: "counted beyond the last element", 2**31: "offsets of 32 bits"},
    "runtime/select/tables.py": {8192: "rows from which on a table knows no difference"},
    "runtime/select/tma.py": {199: "how much less a second launch has to take"},
}
"""By file the numbers that are no figures of a chip, and what they are."""

ARITHMETIC = ("runtime/device.py", "runtime/row_vectors.py", "runtime/special.py", "runtime/unpacking.py")
"""What kernels call: limits of formats and coefficients of polynomials."""


def numbers(tree: ast.AST) -> Iterator[tuple[int, float]]:
    """Every number that stands in a file, products and powers of numbers as what they come to, with its line."""
    for child in ast.iter_child_nodes(tree):
        value = constant(child)
        if value is not None:
            yield child.lineno, value  # type: ignore[attr-defined]
        else:
            yield from numbers(child)


def constant(node: ast.AST) -> float | None:
    """What an expression of numbers alone comes to."""
    match node:
        case ast.Constant(value=bool()):
            return None
        case ast.Constant(value=int() | float() as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = constant(operand)
            return None if value is None else -value
        case ast.BinOp(left=left, op=ast.Mult() | ast.Pow() | ast.LShift() as how, right=right):
            a, b = constant(left), constant(right)
            if a is None or b is None:
                return None
            return a * b if isinstance(how, ast.Mult) else a**b if isinstance(how, ast.Pow) else int(a) << int(b)
        case _:
            return None


def large(path: Path) -> dict[float, list[int]]:
    """The numbers of a file that are worth a name, and their lines."""
    found: dict[float, list[int]] = {}
    for line, value in numbers(ast.parse(path.read_text(encoding="utf-8"))):
        if value not in SMALL:
            found.setdefault(value, []).append(line)
    return found


def deciding() -> list[Path]:
    found = {path for pattern in DECIDING for path in ROOT.glob(pattern)}
    return sorted(found - {CHIP, *(ROOT / name for name in ARITHMETIC)})


@pytest.mark.parametrize("path", deciding(), ids=lambda path: path.relative_to(ROOT).as_posix())
def test_no_launch_is_decided_by_a_number_that_is_not_of_the_chip(path: Path) -> None:
    known = OTHER_FIGURES.get(path.relative_to(ROOT).as_posix(), {})
    assert {value: lines for value, lines in large(path).items() if value not in known} == {}


def test_every_other_figure_is_there() -> None:
    for name, known in OTHER_FIGURES.items():
        assert known.keys() <= large(ROOT / name).keys(), name


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("SMEM = 227 * 1024", {232448}),
        ("def f(sms=132): return sms // 2", {132}),
        ("x = 1 << 16", {65536}),
        ("rate = 1.3 * 95e3", {123500}),
        ("y = x[:, 1] + 2 * 8 - True", set()),
    ],
)
def test_figures_are_seen_as_they_are_written(text: str, found: set[float]) -> None:
    assert {value for _, value in numbers(ast.parse(text)) if value not in SMALL} == found


def test_rules_read_every_figure() -> None:
    """A figure that nothing asks for tells nothing of a chip."""
    asked = {
        node.attr
        for path in {*deciding(), *(ROOT / "runtime").rglob("*.py")} - {CHIP}
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
    }
    assert {each.name for each in fields(Chip)} - asked == set()
