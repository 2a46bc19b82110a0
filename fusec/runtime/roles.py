"""Roles of warps in a gemm of 8 bits for sm_90, in Gluon: one has TMA load tiles, two groups of four multiply.

Each group has one half of the rows of a tile. Exact sums of f8 are of parts: the unit of Hopper keeps 14 bits of a sum,
so its tensor core makes the part of one step while its threads add up the one before. Sums of i8 stay in the
tensor core. What is loaded goes round in buffers in shared memory; of each a barrier says that it is `full`, and
one that both groups have done with it.
"""

from __future__ import annotations

import triton.language as tl
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)

from fusec.runtime import device

__all__ = ["barriers", "done", "finish", "halves", "layout", "lines", "load", "posts", "put", "shared", "start"]
__all__ += ["jit", "no_lines", "no_sums", "sum_of_parts", "sum_of_products", "warp_specialize"]

jit, warp_specialize = gluon.jit, gl.warp_specialize
"""What makes a kernel of Gluon, and what gives its warps their roles: the first is that of those it has already."""


@gluon.constexpr_function
def layout(columns, most=256):
    """Where a group of warps has the elements of 64 rows of so many columns; an instruction makes `most` at once."""
    return gl.NVMMADistributedLayout(version=[3, 0], warps_per_cta=[4, 1], instr_shape=[16, min(columns, most), 32])


@gluon.constexpr_function
def at_once(dtype):
    """The columns of sums of numbers of this type that one instruction makes: of integers Triton has none for 256."""
    return 128 if dtype == tl.int8 else 256


@gluon.constexpr_function
def sums_in(dtype):
    """The type in which a tensor core adds products of numbers of this one."""
    return tl.int32 if dtype == tl.int8 else tl.float32


@gluon.jit
def lines(tile, half, rows: tl.constexpr, columns: tl.constexpr, index: tl.constexpr):
    """The indices of the rows of a group, which has one half of a tile of `rows`."""
    first = tile.to(index) * rows + half * (rows // 2)
    return first + gl.arange(0, rows // 2, gl.SliceLayout(1, layout(columns)))


@gluon.jit
def posts(tile, columns: tl.constexpr, index: tl.constexpr):
    """The indices of the columns of a tile."""
    return tile.to(index) * columns + gl.arange(0, columns, gl.SliceLayout(0, layout(columns)))


@gluon.jit
def shared(of, count: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr):
    """So many buffers in shared memory for tiles of a tensor map."""
    return gl.allocate_shared_memory(of.dtype, [count, rows, columns], of.layout)


@gluon.jit
def barriers(stages: tl.constexpr, count: tl.constexpr):
    """A barrier for each buffer, which so many have to arrive at."""
    made = gl.allocate_shared_memory(gl.int64, [stages, 1], mbarrier.MBarrierLayout())
    for slot in gl.static_range(stages):
        mbarrier.init(made.index(slot), count=count)
    return made


@gluon.jit
def load(
    a_map, b_map, other_map, a_tiles, b_tiles, full, empty, m, n, k, begin, end,
    group: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr, step: tl.constexpr, stages: tl.constexpr,
    turn: tl.constexpr = 2,
):  # fmt: skip
    """Load the operands of tile after tile: of each the steps of a sum, of which there are so many for each `turn`.

    Where there is an `other_map`, its tile stands below that of `b_map`.
    """
    both: tl.constexpr = columns if other_map is None else 2 * columns
    tiles_m, tiles_n = tl.cdiv(m, rows), tl.cdiv(n, columns)
    at = 0
    for tile in range(begin + tl.program_id(0), end, tl.num_programs(0)):
        tile_m, tile_n = device.tile_order(tile, tiles_m, tiles_n, group)
        for first in range(0, tl.cdiv(k, turn * step) * turn * step, step):
            slot = at % stages
            mbarrier.wait(empty.index(slot), (at // stages & 1) ^ 1)
            mbarrier.expect(full.index(slot), (rows + both) * step)
            tma.async_copy_global_to_shared(a_map, [tile_m * rows, first], full.index(slot), a_tiles.index(slot))
            if other_map is None:
                tma.async_copy_global_to_shared(b_map, [tile_n * columns, first], full.index(slot), b_tiles.index(slot))
            else:
                above, below = b_tiles.index(slot).slice(0, columns), b_tiles.index(slot).slice(columns, columns)
                tma.async_copy_global_to_shared(b_map, [tile_n * columns, first], full.index(slot), above)
                tma.async_copy_global_to_shared(other_map, [tile_n * columns, first], full.index(slot), below)
            at += 1


@gluon.jit
def start(
    a_tiles, b_tiles, full, at,
    half: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    """Begin to multiply what was loaded as number `at`; until it is `done`, the part is not there."""
    slot = at % stages
    mbarrier.wait(full.index(slot), at // stages & 1)
    zero = gl.full([rows // 2, columns], 0, sums_in(a_tiles.dtype), layout(columns))
    a = a_tiles.index(slot).slice(half * (rows // 2), rows // 2)
    return warpgroup_mma(a, b_tiles.index(slot).permute((1, 0)), zero, use_acc=False, is_async=True)


@gluon.jit
def done(part, total, empty, at, stages: tl.constexpr):
    """The part, once it is made, and a total that is added up beside; what it was made of may be overwritten.

    Additions to the total are done before anything waits for the part.
    """
    part, total = warpgroup_mma_wait(0, deps=(part, total))
    mbarrier.arrive(empty.index(at % stages), count=1)
    return part, total


@gluon.jit
def no_sums(rows: tl.constexpr, columns: tl.constexpr, of: tl.constexpr = tl.float32):
    """Sums of a group before anything is added: of reals, or of products of what is `of` a type."""
    return gl.full([rows // 2, columns], 0, sums_in(of), layout(columns))


@gluon.jit
def no_lines(rows: tl.constexpr, columns: tl.constexpr):
    """A zero for each row of a group."""
    return gl.full([rows // 2], 0.0, tl.float32, gl.SliceLayout(1, layout(columns)))


@gluon.jit
def sum_of_parts(
    a_tiles, b_tiles, full, empty, at, k,
    half: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr, step: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    """The sums of a tile, and which load is next."""
    total = gl.full([rows // 2, columns], 0.0, tl.float32, layout(columns))
    odd = total
    for _ in range(0, k, 2 * step):
        even = start(a_tiles, b_tiles, full, at, half, rows, columns, stages)
        total += odd
        even, total = done(even, total, empty, at, stages)
        odd = start(a_tiles, b_tiles, full, at + 1, half, rows, columns, stages)
        total += even
        odd, total = done(odd, total, empty, at + 1, stages)
        at += 2
    return total + odd, at


@gluon.jit
def sum_of_products(
    a_tiles, b_tiles, full, empty, at, k,
    half: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr, step: tl.constexpr, stages: tl.constexpr,
):  # fmt: skip
    """The sums of a tile as the tensor core adds them, and which load is next."""
    total = gl.full([rows // 2, columns], 0, sums_in(a_tiles.dtype), layout(columns, at_once(a_tiles.dtype)))
    for first in range(0, k, step):
        slot = at % stages
        mbarrier.wait(full.index(slot), at // stages & 1)
        a = a_tiles.index(slot).slice(half * (rows // 2), rows // 2)
        total = warpgroup_mma(a, b_tiles.index(slot).permute((1, 0)), total, is_async=True)
        total = warpgroup_mma_wait(1, deps=(total,))
        mbarrier.arrive(empty.index((at + stages - 1) % stages), count=1, pred=first > 0)
        at += 1
    total = warpgroup_mma_wait(0, deps=(total,))
    mbarrier.arrive(empty.index((at + stages - 1) % stages), count=1)
    return total, at


@gluon.jit
def halves(both, columns: tl.constexpr):
    """The two products that stand side by side, each with so many columns."""
    left, right = both.reshape([both.shape[0], 2, columns]).permute((0, 2, 1)).split()
    return gl.convert_layout(left, layout(columns)), gl.convert_layout(right, layout(columns))


@gluon.jit
def put(to, tiles, value, tile_m, tile_n, half: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr):
    """Store the rows of a group through a tensor map, as soon as what it stored before has left its buffer."""
    kept = tiles.index(half)
    tma.store_wait(0)
    kept.store(value)
    fence_async_shared()
    tma.async_copy_shared_to_global(to, [tile_m * rows + half * (rows // 2), tile_n * columns], kept)


@gluon.jit
def finish():
    """Wait until everything is stored."""
    tma.store_wait(0)
