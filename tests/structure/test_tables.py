"""Each layer has a table of its own over the same keys; what is missing in one is named here."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import is_dataclass

import pytest
import torch

from fusec import runtime
from fusec.codegen.names import IMPORTS, TABLE
from fusec.codegen.triton import SPELLED, TRITON_DTYPES
from fusec.ir.host.dtypes import TORCH_NAMES
from fusec.ir.ops import ELEMENTWISE, PREFIX, REDUCTIONS
from fusec.ir.reserved import MODULE, is_word
from fusec.ir.types import DTYPES
from fusec.lang.build_tree import BINARY, UNARY
from fusec.numerics.operations import OPERATIONS
from fusec.numerics.precision import ERRORS
from fusec.passes.kernel import blocks
from fusec.reference.emit.spelling import SPELLINGS
from fusec.reference.meaning import ELEMENTWISE_MEANING, REDUCTION_MEANING
from fusec.runtime import overlap

STORED = {name for name, dtype in DTYPES.items() if not dtype.packed}
"""Packed types have no tensor type of their own."""


@pytest.mark.parametrize(
    ("layer", "table", "keys"),
    [
        ("reference/meaning.py", ELEMENTWISE_MEANING, ELEMENTWISE),
        ("reference/meaning.py, reductions", REDUCTION_MEANING, REDUCTIONS),
        ("reference/emit/spelling.py", SPELLINGS, ELEMENTWISE),
        ("numerics/operations.py", OPERATIONS, ELEMENTWISE),
        ("numerics/precision.py", ERRORS, ELEMENTWISE),
        ("codegen/triton.py", SPELLED, ELEMENTWISE),
        ("lang/build_tree.py, between operands", BINARY, {op.symbol for op in ELEMENTWISE.values() if op.symbol}),
        ("lang/build_tree.py, in front", UNARY, set(PREFIX.values())),
        ("ir: torch names", TORCH_NAMES, STORED),
        ("codegen/triton.py, dtypes", TRITON_DTYPES, STORED),
    ],
)
def test_tables_have_the_same_keys(layer: str, table: Collection[str], keys: Collection[str]) -> None:
    assert set(table) == set(keys), layer


def test_signs_stand_for_the_operations_they_are_shown_as() -> None:
    assert {op.symbol: op.name for op in ELEMENTWISE.values() if op.symbol} == BINARY
    assert {sign: op for op, sign in PREFIX.items()} == UNARY


def test_a_spec_steps_aside_for_every_import() -> None:
    assert [name for name in IMPORTS if not is_word(name)] == []


def test_a_table_is_made_of_classes_of_the_runtime() -> None:
    assert [name for name in TABLE if not is_dataclass(getattr(runtime, name))] == []


def test_no_attribute_of_a_module_is_missing_among_the_words() -> None:
    assert {name for name in dir(torch.nn.Module()) if not name.startswith("_")} <= MODULE


def test_a_kernel_and_its_launch_call_their_overlap_the_same() -> None:
    assert blocks.OVERLAP == overlap.OVERLAP
