"""What generated code imports: checks and errors, plans, launches, registration, modules."""

from fusec.ir.host.plans import Library, Partition, Plans, Step, Tuned, Workspace
from fusec.ir.host.schedules import (
    ColumnSums,
    Elementwise,
    Gemm,
    GemmRoles,
    GemmScaled,
    GemmTma,
    Gemv,
    Partial,
    Resident,
    RowLoop,
    Rows,
    RowTiles,
    RowVectors,
    SplitRows,
    TensorMap,
    Tile,
)
from fusec.ir.host.schedules import Matrix as View
from fusec.runtime import allocate, device, errors
from fusec.runtime.checks import Checker, flag, integer, real
from fusec.runtime.errors import (
    ArgumentError,
    ChoiceError,
    DeviceError,
    FusecError,
    NoBackwardError,
    NumericalOverflowError,
    PlanError,
    ShapeMismatchError,
    TuningFailedError,
    UnsupportedDtypeError,
)
from fusec.runtime.invariant import batch_invariant, set_batch_invariant
from fusec.runtime.launch import Launch
from fusec.runtime.layout import Lead, collapse, contiguous, lengthen, repeat, squeeze
from fusec.runtime.linear import LinearModule
from fusec.runtime.modules import parameter, spread
from fusec.runtime.op import Op
from fusec.runtime.plan import Buffer, Plan
from fusec.runtime.prepare import Prepare, frozen_weights, weights_changed
from fusec.runtime.product import Matrix, Product, matmul
from fusec.runtime.renaming import renamed
from fusec.runtime.select.chip import H200, Chip
from fusec.runtime.select.present import chip_of
from fusec.runtime.storing import StoringModule
from fusec.runtime.tensor_map import TmaView, moves_tiles

__all__ = [
    "H200",
    "ArgumentError",
    "Buffer",
    "Checker",
    "Chip",
    "ChoiceError",
    "ColumnSums",
    "DeviceError",
    "Elementwise",
    "FusecError",
    "Gemm",
    "GemmRoles",
    "GemmScaled",
    "GemmTma",
    "Gemv",
    "Launch",
    "Lead",
    "Library",
    "LinearModule",
    "Matrix",
    "NoBackwardError",
    "NumericalOverflowError",
    "Op",
    "Partial",
    "Partition",
    "Plan",
    "PlanError",
    "Plans",
    "Prepare",
    "Product",
    "Resident",
    "RowLoop",
    "RowTiles",
    "RowVectors",
    "Rows",
    "ShapeMismatchError",
    "SplitRows",
    "Step",
    "StoringModule",
    "TensorMap",
    "Tile",
    "TmaView",
    "Tuned",
    "TuningFailedError",
    "UnsupportedDtypeError",
    "View",
    "Workspace",
    "allocate",
    "batch_invariant",
    "chip_of",
    "collapse",
    "contiguous",
    "device",
    "errors",
    "flag",
    "frozen_weights",
    "integer",
    "lengthen",
    "matmul",
    "moves_tiles",
    "parameter",
    "real",
    "renamed",
    "repeat",
    "set_batch_invariant",
    "spread",
    "squeeze",
    "weights_changed",
]
