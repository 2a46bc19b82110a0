"""Partitions: into which steps an op is taken apart for a call. The library, what is stored first, or all at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

from fusec.ir.host.plans import LIBRARY, Library, Partition, Step
from fusec.ir.host.schedules import Gemm, GemmRoles, GemmTma, Gemv, Matrix, Schedule
from fusec.runtime import eight_bits
from fusec.runtime.layout import join_axes
from fusec.runtime.product import Matrix as View
from fusec.runtime.product import Product, matmul
from fusec.runtime.select import gemm, roles, tma
from fusec.runtime.select.call import Call
from fusec.runtime.select.chip import FP8_SINCE, TMA_SINCE
from fusec.runtime.select.names import every_plan


class Partitions:
    """The rules for the partitions of one call. What they find out is found out once, when it is asked for."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._plans = call.plans

    def is_possible(self, name: str) -> bool:
        """Whether the strides of the call allow a plan, of those that a table chooses among."""
        if name == LIBRARY:
            return self._products is not None
        return name != "tma" or self._fits_tma

    def is_legal(self, partition: Partition) -> bool:
        """Whether a partition can take the call."""
        return self._is_for(partition) and None not in self.products(partition)

    def is_preferred(self, partition: Partition) -> bool:
        """The rule for a partition."""
        if partition.is_for_vectors:
            return self._multiplies_vectors(partition)
        if not partition.products:
            return self._prefers_own(partition)
        skinny = not isinstance(partition.steps[-1], Step) and self._is_skinny
        adds = any(product.addend for product in self.products(partition) if product is not None)
        others = skinny or (adds and self._tma_beats_library)
        return self._is_for(partition) and not others and self._prefers_library

    def products(self, partition: Partition) -> tuple[Product | None, ...]:
        """What the library multiplies, None where the strides of a call make no matrices of its operands."""
        return tuple(map(self._product, partition.products))

    def _is_for(self, partition: Partition) -> bool:
        """Whether the call leaves out what a partition does without."""
        return all(self._call.tensors[name] is None for name in partition.omits.split())

    @cached_property
    def _products(self) -> tuple[Product, ...] | None:
        """The products of the first partition for the library that is for such calls, if strides make matrices."""
        found = (each for each in self._plans.partitions if each.products and self._is_for(each))
        products = next(map(self.products, found), (None,))
        known = tuple(product for product in products if product is not None)
        return known if len(known) == len(products) else None

    @cached_property
    def _prefers_library(self) -> bool:
        """Whether the vendor's library multiplies faster than kernels of the op's own."""
        if self._products is None:
            return False
        tiled = any(isinstance(plan, Gemm) and plan.name == "gemm" for plan in self._every())
        chip = self._call.chip
        if self._in_groups and self._fits_tma:
            chip = replace(chip, copying_work=chip.copying_in_roles)
        return gemm.prefers_library(chip, self._products, tiled, self._is_several)

    @cached_property
    def _is_several(self) -> bool:
        """Whether kernels of the op's own are as many as those around the library: they store the same products."""
        own = self._plans.whole
        if own is None:
            first, *others = self._plans.steps
            return len(first.apart) > 1 or bool(others)
        libraries = (product.out for each in self._plans.partitions for product in each.products)
        return bool({step.writes for step in own.contracting} & self._plans.workspace.keys() & {*map(str, libraries)})

    @cached_property
    def _is_skinny(self) -> bool:
        """Whether a few rows are best the columns of a tile, of any gemm."""
        plans = (plan for plan in self._every() if isinstance(plan, Gemm) and plan.name == "swap_ab")
        return any(gemm.is_for_few(plan, self._call) for plan in plans)

    @cached_property
    def _persistent(self) -> tuple[GemmTma, ...]:
        return tuple(plan for plan in self._every() if isinstance(plan, GemmTma))

    @cached_property
    def _in_groups(self) -> tuple[GemmRoles, ...]:
        """Gemms in roles of groups with scales, which have no twin by TMA."""
        every = (plan for plan in self._every() if isinstance(plan, GemmRoles))
        return tuple(plan for plan in every if not any(plan.twin is each.kernel for each in self._persistent))

    @cached_property
    def _fits_tma(self) -> bool:
        """Whether there are persistent gemms, and TMA can move what every one of them takes and makes."""
        call = self._call
        fit = all(tma.fits_tma(plan, call) for plan in self._persistent)
        in_groups = all(roles.prefers_roles(plan, call) for plan in self._in_groups)
        return bool(self._persistent or self._in_groups) and fit and in_groups

    def _multiplies_vectors(self, partition: Partition) -> bool:
        """Whether threads multiply in every step, in one launch with all that stands around it."""
        steps = (step for step in partition.steps if isinstance(step, Step))
        plans = ([plan for plan in step.plans if isinstance(plan, Gemv)] for step in steps)
        return all(any(gemm.gemv_fits(plan, self._call) for plan in each) for each in plans)

    @cached_property
    def _tma_beats_library(self) -> bool:
        """Whether persistent gemms take no longer than the library that reads more than it multiplies."""
        if not self._fits_tma:
            return False
        return all(map(self._beats_library, self._persistent)) and all(map(self._groups_beat_library, self._in_groups))

    def _groups_beat_library(self, plan: GemmRoles) -> bool:
        call = self._call
        return tma.beats_library(roles.contraction_of(plan, call), roles.best_us(plan, call), call.chip)

    def _beats_library(self, plan: GemmTma) -> bool:
        """The same of one, in roles where that is faster."""
        call = self._call
        contraction = tma.contraction_of(plan, call)
        others = (each for each in self._every() if isinstance(each, GemmRoles) and each.twin is plan.kernel)
        times = [roles.best_us(each, call) for each in others if roles.fits_roles(each, call)]
        return tma.beats_library(contraction, min([*times, tma.best_us(contraction, call.chip)]), call.chip)

    def _prefers_own(self, partition: Partition) -> bool:
        """The rule for contractions of what is stored, where these would go before the library.

        By TMA, or for rows so few that each of them has a plan. They take what the library does not, too. Where kernels
        are as many either way, only rows that are few pay for them.
        """
        if all(any(map(self._is_for_few, step.plans)) for step in partition.contracting):
            return True
        if self._is_several:
            return False
        if not self._fits_tma:
            return False
        # Where the library makes an output itself, it was asked before.
        libraries = (each for each in self._plans.partitions if each.products)
        asked = any(isinstance(each.steps[-1], Step) for each in libraries) and self._prefers_library
        return not asked or self._tma_beats_library

    def _is_for_few(self, plan: Schedule) -> bool:
        return isinstance(plan, Gemm | Gemv) and gemm.is_for_few(plan, self._call)

    def _every(self) -> Iterator[Schedule]:
        return (plan for _, plan in every_plan(self._plans))

    def _product(self, library: Library) -> Product | None:
        call = self._call
        a, b = library.a, library.b
        adds = library.addend and call.tensors[_tensor(library.addend)] is not None
        made = (library.out, *((library.addend,) if adds else ()))
        found = matmul(
            *map(_tensor, (a, b, *made)),
            batch=self._seen(library.batch, a, b, *made),
            rows=self._seen(library.rows, a, *made),
            columns=self._seen(library.columns, b, *made),
            inner=self._seen(library.inner, a, b),
            offsets=[*map(call.offset, (a, b, *made))],
            tf32=library.tf32,
        )
        if found is not None and not found.is_sum:
            return None
        return self._of_8_bits(found, library) if found is not None and library.in_8_bits else found

    def _of_8_bits(self, product: Product, library: Library) -> Product | None:
        """The same of operands of 8 bits with their scales, or None where the library does not take it."""
        call = self._call
        scales: list[View | None] = []
        for place, (given, keys) in enumerate(
            ((library.row_scale, library.rows), (library.column_scale, library.columns))
        ):
            if not given:
                scales.append(None)
                continue
            axes = join_axes(tuple(axis) for axis in self._seen(keys, given) if axis[1])
            name, offset = _tensor(given), call.offset(given)
            if library.groups:
                groups = join_axes(tuple(axis) for axis in self._seen(library.groups, given))
                scales.append(eight_bits.group_scale(name, offset, place, axes, groups))
            else:
                scales.append(eight_bits.scale(name, offset, place, axes))
            if scales[-1] is None:
                return None
        count = call.count(library.groups) if library.groups else 0
        found = replace(product, in_8_bits=library.in_8_bits, scales=(scales[0], scales[1]), groups=count)
        dtypes = tuple(call.dtype(_tensor(matrix)) for matrix in (library.a, library.b, library.out))
        on_hopper = call.chip.capability == TMA_SINCE
        multiplies = call.chip.capability >= FP8_SINCE or library.in_8_bits == "i8"
        if not multiplies or not self._begins_evenly(found):
            return None
        return found if eight_bits.takes(found, dtypes, on_hopper) else None

    def _begins_evenly(self, product: Product) -> bool:
        """Whether all of a product but single numbers begins at multiples of 16 bytes, in every walk."""
        call = self._call
        for matrix in (*product.read, product.out):
            name = matrix.name
            walks = [at[call.led[name]] for at in call.walks.offsets] if call.walks and name in call.led else [0]
            starts = (call.start(name) + matrix.offset + at for at in walks)
            if max(matrix.shape) > 1 and any(each * call.dtype(name).itemsize % eight_bits.ALIGNED for each in starts):
                return False
        return True

    def _seen(self, keys: str, *matrices: str | Matrix) -> list[tuple[int, ...]]:
        """Axes, each with its size and its strides in matrices."""
        call = self._call
        return [(call.size(key), *(call.stride(matrix, key) for matrix in matrices)) for key in keys.split()]


def _tensor(matrix: str | Matrix) -> str:
    return matrix.tensor if isinstance(matrix, Matrix) else matrix
