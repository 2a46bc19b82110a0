"""Device functions that generated kernels call where Triton has no operation with the meaning the language fixes."""

from __future__ import annotations

import triton
import triton.language as tl

from fusec.runtime.row_vectors import ahead, inside, load_row, load_shared, load_written_row, store_row
from fusec.runtime.special import erfc, expm1, log1p, tanh
from fusec.runtime.unpacking import INTERPRETED, exact_difference, exactly, high_digit_difference, low_digit_difference

__all__ = ["ahead", "inside", "load_row", "load_shared", "load_written_row", "store_row"]
__all__ += ["erfc", "expm1", "log1p", "tanh"]
__all__ += ["exact_difference", "exactly", "high_digit_difference", "low_digit_difference"]


@triton.jit
def enter(overlap: tl.constexpr):
    """Begin a kernel that may overlap its neighbours: wait for those before it, and let the next one start and wait."""
    if overlap:
        tl.extra.cuda.gdc_wait()
        tl.extra.cuda.gdc_launch_dependents()


@triton.jit
def touch(pointers, mask):
    """Have L2 fetch what is loaded later. The interpreter has no cache."""
    if not INTERPRETED:
        asked = tl.broadcast_to(mask, pointers.shape).to(tl.int32)
        text: tl.constexpr = "{ .reg .pred p; setp.ne.b32 p, $2, 0; @p prefetch.global.L2 [$1]; mov.b32 $0, 0; }"
        tl.inline_asm_elementwise(text, "=r,l,r", [pointers, asked], tl.int32, False, 1)


NO_POLICY = tl.constexpr("")
"""The default of a parameter: Triton 3.6 makes no compile-time value of a default that is a string."""


@triton.jit
def look_up(pointer, inside, mask=None, real: tl.constexpr = tl.float32, eviction_policy: tl.constexpr = NO_POLICY):
    """What a table of reals holds at `pointer`; NaN where an index is not `inside` of it. The `mask` is of a tile."""
    there = inside if mask is None else mask & inside
    value = tl.load(pointer, mask=there, other=0.0, eviction_policy=eviction_policy)
    return tl.where(inside, value.to(real), float("nan"))


@triton.jit
def tile_order(tile, tiles_m, tiles_n, group):
    """Row and column of a tile: a `group` of tiles one below the other come in turn, then those beside them.

    What they share is then read from the cache.
    """
    first = tile // (group * tiles_n) * group
    within = tile % (group * tiles_n)
    rows = tl.minimum(tiles_m - first, group)
    return first + within % rows, within // rows


@triton.jit
def sum_of_splits(pointers, mask, stride, SPLITS: tl.constexpr, real: tl.constexpr = tl.float32):
    """A product, of which SPLITS programs have each left a part, a `stride` apart: they are added in order."""
    total = tl.load(pointers, mask=mask, other=0.0, eviction_policy="evict_last").to(real)
    for split in tl.static_range(1, SPLITS):
        part = pointers + split * tl.cast(stride, tl.int64)
        total += tl.load(part, mask=mask, other=0.0, eviction_policy="evict_last").to(real)
    return total


@triton.jit
def lanes(size: tl.constexpr, together: tl.constexpr):
    """Lanes of a tile, so many `together` in an access. Where each has its own, it has so for all tensors.

    Else threads would hold a gain, which is aligned, and a row, which is not, in different orders, and exchange them.
    """
    if together == 1:
        return tl.max_contiguous(tl.arange(0, size), 1)
    else:
        return tl.arange(0, size)


@triton.jit
def maximum(a, b):
    """The larger of two values; NaN if either is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def minimum(a, b):
    """The smaller of two values; NaN if either is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def nan_max(a, b):
    """Combine of a maximum over a tile; NaN if any element is."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def nan_min(a, b):
    """Combine of a minimum over a tile; NaN if any element is."""
    return tl.minimum(a, b, propagate_nan=tl.PropagateNan.ALL)


@triton.jit
def max_of(dtype: tl.constexpr):
    """The largest finite number of a storage type, as a compile-time constant."""
    if dtype == tl.float8e4nv:
        return 448.0
    elif dtype == tl.float8e5:
        return 57344.0
    elif dtype == tl.float16:
        return 65504.0
    elif dtype == tl.bfloat16:
        return 3.3895313892515355e38
    elif dtype == tl.float32:
        return 3.4028234663852886e38
    elif dtype == tl.float64:
        return 1.7976931348623157e308
    elif dtype == tl.int8:
        return 127
    elif dtype == tl.uint8:
        return 255
    elif dtype == tl.int32:
        return 2147483647
    else:
        return 9223372036854775807


@triton.jit
def dot_in_parts(a, b, total):
    """`total` + a @ b for operands of f8. Tensor cores that keep 14 bits of a sum add up 128 products at most."""
    most: tl.constexpr = 128 if a.shape[1] > 128 else a.shape[1]
    return total + tl.dot(a, b, max_num_imprecise_acc=most)


@triton.jit
def by_turns(even, odd, dim: tl.constexpr):
    """Two tiles of two dimensions as one that is twice as long along `dim`: an element of the one, one of the other.

    The dimension is the last one while they are joined: threads then have what the tensor core takes, and move nothing.
    """
    if dim == 0:
        return tl.join(even.T, odd.T).reshape(even.shape[1], 2 * even.shape[0]).T
    else:
        return tl.join(even, odd).reshape(even.shape[0], 2 * even.shape[1])


@triton.jit
def round_even(x):
    """The nearest integer, ties to even, as a real number."""
    below = tl.floor(x)
    rest = x - below
    odd = below - 2.0 * tl.floor(below * 0.5)
    up = (rest > 0.5) | ((rest == 0.5) & (odd == 1.0))
    return tl.where(up, below + 1.0, below)


@triton.jit
def widen(x, real: tl.constexpr):
    """`x`, in any storage type, in the type of arithmetic."""
    if x.dtype.is_fp8():
        return x.to(tl.float32).to(real)  # there is no way from f8 to f64
    else:
        return x.to(real)


@triton.jit
def widen_bits(x, real: tl.constexpr):
    """The same; of bf16 by its bits, so that LLVM sees no conversion that it could join with one to f16."""
    if x.dtype == tl.bfloat16:
        bits = x.to(tl.uint16, bitcast=True).to(tl.uint32) << 16
        return bits.to(tl.float32, bitcast=True).to(real)
    else:
        return widen(x, real)


@triton.jit
def to_single(x):
    """`x` in f32. What f64 has more is cut off and the last bit set for it, so that rounding again rounds rightly."""
    if x.dtype == tl.float64:
        near = x.to(tl.float32)
        bits = near.to(tl.int32, bitcast=True)
        bits = tl.where(tl.abs(near.to(tl.float64)) > tl.abs(x), bits - 1, bits)
        bits = tl.where(near.to(tl.float64) != x, bits | 1, bits)
        return bits.to(tl.float32, bitcast=True)
    else:
        return x.to(tl.float32)


@triton.jit
def round_to(x, dtype: tl.constexpr):
    """`x` in a storage type: to nearest even, saturating in 8-bit floats and integers; NaN kept, 0 in integers.

    As a truth value, all but 0 is true.
    """
    if dtype == tl.int1:
        return x != 0
    elif dtype == tl.float8e4nv:
        return to_single(x).to(dtype)  # the conversion instruction saturates
    elif dtype == tl.float8e5:
        return minimum(maximum(to_single(x), -57344.0), 57344.0).to(dtype)
    elif dtype.is_int() and x.dtype.is_floating():
        rounded = tl.where(x == x, round_even(x), 0.0)
        if dtype == tl.int8:
            return minimum(maximum(rounded, -128.0), 127.0).to(dtype)
        elif dtype == tl.uint8:
            return minimum(maximum(rounded, 0.0), 255.0).to(tl.int32).to(dtype)
        elif dtype == tl.int32:
            inside = tl.where(rounded < 2147483648.0, rounded, 0.0)
            inside = tl.where(rounded >= -2147483648.0, inside, 0.0).to(tl.int64)
            high = tl.where(rounded >= 2147483648.0, 2147483647, inside)
            return tl.where(rounded < -2147483648.0, -2147483648, high).to(dtype)
        else:
            inside = tl.where(tl.abs(rounded) < 9223372036854775808.0, rounded, 0.0).to(tl.int64)
            high = tl.where(rounded >= 9223372036854775808.0, 9223372036854775807, inside)
            return tl.where(rounded <= -9223372036854775808.0, -9223372036854775808, high)
    elif dtype == tl.int8:
        return tl.minimum(tl.maximum(x, -128), 127).to(dtype)
    elif dtype == tl.uint8:
        return tl.minimum(tl.maximum(x, 0), 255).to(dtype)
    elif dtype == tl.int32 and x.dtype == tl.int64:
        return tl.minimum(tl.maximum(x, -2147483648), 2147483647).to(dtype)
    else:
        return x.to(dtype)


@triton.jit
def exp2(x):
    """2**x by its whole part, from bits, and the rest: at a whole number it is the power of two itself."""
    whole = tl.floor(x)
    power = tl.exp2(tl.where(x == whole, 0.0, x - whole))
    if x.dtype == tl.float64:
        digits = (tl.minimum(tl.maximum(whole, -1023.0), 1024.0).to(tl.int64) + 1023) << 52
    else:
        digits = (tl.minimum(tl.maximum(whole, -127.0), 128.0).to(tl.int32) + 127) << 23
    return power * digits.to(x.dtype, bitcast=True)


@triton.jit
def exponent(x):
    """floor(log2|x|), exactly: from the digits of x, and of those of a subnormal x as a whole number."""
    size = tl.abs(x)
    if x.dtype == tl.float64:
        bits = size.to(tl.int64, bitcast=True)
        digits = bits.to(tl.float64).to(tl.int64, bitcast=True)
        whole = tl.where(bits >> 52 > 0, (bits >> 52) - 1023, (digits >> 52) - 2097)
    else:
        bits = size.to(tl.int32, bitcast=True)
        digits = bits.to(tl.float32).to(tl.int32, bitcast=True)
        whole = tl.where(bits >> 23 > 0, (bits >> 23) - 127, (digits >> 23) - 276)
    whole = tl.where(bits == 0, float("-inf"), whole.to(x.dtype))
    return tl.where(size < float("inf"), whole, size)


@triton.jit
def sign(x):
    """-1, 0 or 1; NaN for NaN."""
    return tl.where(x > 0, 1, tl.where(x < 0, -1, x))


@triton.jit
def power(x, y):
    """`x ** y`: by exp2 and log2 of |x|; for a negative base negative if y is odd, NaN if y is a fraction."""
    size = tl.exp2(y * tl.log2(tl.abs(x)))
    size = tl.where(x == 0, tl.where(y > 0, 0.0, tl.where(y < 0, float("inf"), y)), size)
    size = tl.where((y == 0) | (tl.abs(x) == 1), 1.0, size)
    whole = tl.floor(y) == y
    odd = whole & (tl.floor(y * 0.5) * 2.0 != y)
    signed = tl.where(odd, -size, tl.where(whole | (x == float("-inf")), size, float("nan")))
    return tl.where(x < 0, signed, size)


@triton.jit
def scale_sizes(scales):
    """Scales of E4M3 without their signs: a tensor core has none."""
    return (scales.to(tl.uint8, bitcast=True) & 127).to(tl.float8e4nv, bitcast=True)


@triton.jit
def with_signs(digits, scales):
    """Two numbers of E2M1 in each byte, with the other sign where its scale, of E4M3, is negative."""
    return digits ^ tl.where(scales.to(tl.uint8, bitcast=True) > 127, 0x88, 0).to(tl.uint8)


@triton.jit
def floor_divide(a, b):
    """The floor of a quotient of reals."""
    return tl.floor(a / b)


@triton.jit
def floor_mod(a, b):
    """What floor division of reals leaves; it has the sign of the divisor."""
    return a - tl.floor(a / b) * b


@triton.jit
def floor_divide_int(a, b):
    """The floor of a quotient of integers (Triton's `//` rounds towards zero)."""
    quotient = a // b
    return tl.where((a % b != 0) & ((a < 0) != (b < 0)), quotient - 1, quotient)


@triton.jit
def floor_mod_int(a, b):
    """What floor division of integers leaves; it has the sign of the divisor (Triton's `%` has the dividend's)."""
    rest = a % b
    return tl.where((rest != 0) & ((rest < 0) != (b < 0)), rest + b, rest)
