"""cuBLASLt as its manual defines it, on the memory of the CPU, behind real C functions."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from ctypes import c_double, c_float, c_int, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p
from itertools import count
from typing import Any

import torch

from fusec.runtime import cublas_lt

DTYPES = {0: torch.float32, 1: torch.float64, 2: torch.float16, 14: torch.bfloat16}
ATTRIBUTES: dict[str, dict[int, Any]] = {
    "MatmulDesc": {3: c_int32, 4: c_int32},
    "MatrixLayout": {5: c_int32, 6: c_int64},
    "MatmulPreference": {1: c_uint64, 3: c_uint32, 5: c_uint32, 6: c_uint32, 7: c_uint32, 8: c_uint32},
}
HANDLE, STREAM, ALGORITHM = 2**40 + 1, 2**41 + 1, (2**63 + 5, *range(1, 8))
MATMUL = (*[c_void_p] * 13, c_void_p, c_size_t, c_void_p)


class EmulatedCublasLt:
    """The library: `found` algorithms that need a `workspace`, and `status` is how multiplying ends."""

    def __init__(self, workspace: int = 0, found: int = 1, status: int = 0) -> None:
        self.workspace, self.found, self.status = workspace, found, status
        self.objects: dict[int, dict[Any, Any]] = {}
        self.wanted: dict[int, int] = {}
        self.computed: list[int] = []
        self.faults: list[BaseException] = []
        self._numbers = count(2**42 + 1)
        functions: dict[str, Callable[..., int]] = {
            "cublasLtMatmulDescCreate": self._maker("MatmulDesc", "compute", "scale"),
            "cublasLtMatrixLayoutCreate": self._maker("MatrixLayout", "dtype", "rows", "columns", "leading"),
            "cublasLtMatmulPreferenceCreate": self._maker("MatmulPreference"),
            "cublasLtMatmulAlgoGetHeuristic": self._heuristic,
        }
        for kind in ATTRIBUTES:
            functions[f"cublasLt{kind}SetAttribute"] = self._set
            functions[f"cublasLt{kind}Destroy"] = self._destroy
        for name, function in functions.items():
            prototype = ctypes.CFUNCTYPE(c_int, *cublas_lt._FUNCTIONS[name])
            setattr(self, name, prototype(self._watched(function)))
        self._matmul = ctypes.CFUNCTYPE(c_int, *MATMUL)(self._watched(self._multiply))
        # Called as the real one is: with arguments of which ctypes knows nothing.
        self.cublasLtMatmul = ctypes.CFUNCTYPE(c_int)(ctypes.cast(self._matmul, c_void_p).value)

    def _watched(self, function: Callable[..., int]) -> Callable[..., int]:
        def run(*arguments: Any) -> int:
            try:
                return function(*arguments)
            except BaseException as fault:  # an exception does not pass through C
                self.faults.append(fault)
                return 14

        return run

    def _maker(self, kind: str, *names: str) -> Callable[..., int]:
        def make(place: int, *values: int) -> int:
            number = next(self._numbers)
            self.objects[number] = {"kind": kind, **dict(zip(names, values, strict=True))}
            c_void_p.from_address(place).value = number
            return 0

        return make

    def _set(self, number: int, attribute: int, place: int, size: int) -> int:
        kind = ATTRIBUTES[self.objects[number]["kind"]][attribute]
        assert size == ctypes.sizeof(kind)
        self.objects[number][attribute] = kind.from_address(place).value
        return 0

    def _destroy(self, number: int) -> int:
        del self.objects[number]
        return 0

    def _heuristic(
        self, handle: int, about: int, a: int, b: int, c: int, d: int, wanted: int, most: int, place: int, count: int
    ) -> int:
        assert (handle, most) == (HANDLE, 1)
        assert self.objects[about]["kind"] == "MatmulDesc"
        assert {self.objects[layout]["kind"] for layout in (a, b, c, d)} == {"MatrixLayout"}
        self.wanted = {key: value for key, value in self.objects[wanted].items() if key != "kind"}
        assert self.workspace <= self.wanted[1]
        found = cublas_lt._Found.from_address(place)
        found.algorithm[:] = ALGORITHM
        found.workspace = self.workspace
        c_int.from_address(count).value = self.found
        return 0

    def _multiply(
        self, handle: int, about: int, alpha: int, a: int, of_a: int, b: int, of_b: int, beta: int, c: int, of_c: int,
        d: int, of_d: int, algorithm: int, workspace: int | None, size: int, stream: int,
    ) -> int:  # fmt: skip
        assert (handle, stream) == (HANDLE, STREAM)
        assert tuple((c_uint64 * 8).from_address(algorithm)) == ALGORITHM
        assert (size, workspace is None) == (self.workspace, self.workspace == 0)
        if self.status:
            return self.status
        if workspace is not None:
            ctypes.memset(workspace, 255, size)
        described = self.objects[about]
        scalar = {0: c_float, 1: c_double}[described["scale"]]
        one, summed = scalar.from_address(alpha).value, scalar.from_address(beta).value
        assert (one, summed) == (1, c != d)
        assert (described["scale"] == 1) == (described["compute"] == 70)
        for address, alignment in zip((a, b, c, d), (5, 6, 7, 8), strict=True):
            assert address % self.wanted[alignment] == 0
        assert all(self._leads(layout) for layout in (of_a, of_b, of_d))
        assert self._leads(of_c) or self.objects[of_c]["leading"] == 0  # one column for all
        first, second, result = (self._matrices(*pair) for pair in ((a, of_a), (b, of_b), (d, of_d)))
        first, second = (matrices.mT if described[side] else matrices for side, matrices in ((3, first), (4, second)))
        total = first.double() @ second.double()
        if summed:
            total += self._matrices(c, of_c)
        result.copy_(total)
        self.computed.append(described["compute"])
        return 0

    def _leads(self, layout: int) -> bool:
        """Whether columns stand behind one another."""
        about = self.objects[layout]
        return bool(about["leading"] >= max(1, about["rows"]))

    def _matrices(self, address: int, layout: int) -> torch.Tensor:
        """What lies at an address: contiguous columns, and a batch of them."""
        about = self.objects[layout]
        dtype, rows, columns, leading = DTYPES[about["dtype"]], about["rows"], about["columns"], about["leading"]
        number, step = about.get(5, 1), about.get(6, 0)
        span = (number - 1) * step + (columns - 1) * leading + rows
        memory = torch.frombuffer((ctypes.c_char * (span * dtype.itemsize)).from_address(address), dtype=dtype)
        return memory.as_strided((number, rows, columns), (step, 1, leading))
