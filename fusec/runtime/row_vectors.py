"""Device functions for rows that begin anywhere: whole vectors of 16 bytes, from the boundary in front of a row.

Lanes of such a row begin `ahead` of it, where a vector of what is stored begins, so that each thread moves whole
vectors. A vector at an end of the row has elements of its neighbours, or of nobody: they are read, for 16 bytes at a
multiple of 16 are in one page, and replaced; they are never written. What begins at another place of a vector, as a
gain does that all rows share, is read as halves of vectors around those of lanes, and put together.

A kernel in which VECTOR is 0 has none of this. Else so many lanes are a vector: one of 16 bytes of the widest elements.
Where rows that are read begin at another place of a vector than those that are stored, it is negative. Steps are
unrolled then: the first has the beginning of the row, and those with a TAIL its end.
"""

from __future__ import annotations

import triton
import triton.language as tl

PLAIN = tl.constexpr("")
"""Of an access that says nothing about the cache; a plain default is no constant to a function that is called on."""


@triton.jit
def ahead(row, VECTOR: tl.constexpr):
    """Elements between the last boundary of vectors in front of a row, and the row."""
    if VECTOR:
        item: tl.constexpr = row.dtype.element_ty.primitive_bitwidth // 8
        vector: tl.constexpr = VECTOR if VECTOR > 0 else -VECTOR
        return (row.to(tl.int64) % (vector * item) // item).to(tl.int32)
    else:
        return 0


@triton.jit
def inside(n, size, start, ahead, TAIL: tl.constexpr, VECTOR: tl.constexpr):
    """Which lanes of a step are positions of a row of `size`."""
    if VECTOR:
        # Compared as lanes, which all steps have in common.
        lane = tl.arange(0, n.shape[0])
        return ((lane >= ahead) | (start > 0)) & ((lane < size + (ahead - start)) | (TAIL == 0))
    else:
        return (n < size) | (TAIL == 0)


@triton.jit
def load_row(
    row, offset, mask, other, start, ahead, size, TAIL: tl.constexpr, VECTOR: tl.constexpr, POLICY: tl.constexpr = PLAIN
):
    """A step of a row that belongs to the stored one; `other` where it is outside."""
    if VECTOR > 0:
        at = _vectors(row, start, ahead, mask.shape[0], VECTOR)
        if TAIL:
            reached = tl.cdiv(size + (ahead - start), VECTOR) * VECTOR
            x = tl.load(at, mask=tl.arange(0, mask.shape[0]) < reached, eviction_policy=POLICY)
        else:
            x = tl.load(at, eviction_policy=POLICY)
        return _replaced(x, mask, other, start, TAIL)
    elif VECTOR < 0:
        return _replaced(_shifted(row, start, ahead, size, TAIL, mask.shape[0], POLICY), mask, other, start, TAIL)
    else:
        return tl.load(row + offset, mask=mask, other=other, eviction_policy=POLICY)


@triton.jit
def load_written_row(
    row, offset, mask, other, start, ahead, size, TAIL: tl.constexpr, VECTOR: tl.constexpr, POLICY: tl.constexpr = PLAIN
):
    """The same of a tensor that is written in place: of a vector at an end nothing is read but what is of the row."""
    if VECTOR > 0:
        lane, first, end = _whole(mask.shape[0], start, ahead, size, VECTOR)
        whole = ((lane >= first) | (start > 0)) & ((lane < end) | (TAIL == 0))
        at = _vectors(row, start, ahead, mask.shape[0], VECTOR)
        x = tl.load(at, mask=whole, other=other, eviction_policy=POLICY)
        if start == 0:
            edge = mask & (lane < first)
            x = tl.where(edge, tl.load(at, mask=edge, eviction_policy=POLICY), x)
        if TAIL:
            edge = mask & (lane >= end)
            x = tl.where(edge, tl.load(at, mask=edge, eviction_policy=POLICY), x)
        return x
    else:
        return tl.load(row + offset, mask=mask, other=other, eviction_policy=POLICY)


@triton.jit
def load_shared(
    row, offset, mask, other, start, ahead, size, TAIL: tl.constexpr, VECTOR: tl.constexpr, POLICY: tl.constexpr = PLAIN
):
    """A step of what begins anywhere, such as a gain that all rows share."""
    if VECTOR:
        return _replaced(_shifted(row, start, ahead, size, TAIL, mask.shape[0], POLICY), mask, other, start, TAIL)
    else:
        return tl.load(row + offset, mask=mask, other=other, eviction_policy=POLICY)


@triton.jit
def store_row(row, offset, value, mask, start, ahead, size, TAIL: tl.constexpr, VECTOR: tl.constexpr):
    """Store a step of a row: whole vectors, and what is left at the ends of the row element by element."""
    if VECTOR:
        vector: tl.constexpr = VECTOR if VECTOR > 0 else -VECTOR
        lane, first, end = _whole(mask.shape[0], start, ahead, size, vector)
        whole = ((lane >= first) | (start > 0)) & ((lane < end) | (TAIL == 0))
        value = value.to(row.dtype.element_ty)
        at = _vectors(row, start, ahead, mask.shape[0], vector)
        tl.store(at, value, mask=whole)
        if start == 0:
            tl.store(at, value, mask=mask & (lane < first))
        if TAIL:
            tl.store(at, value, mask=mask & (lane >= end))
    else:
        tl.store(row + offset, value, mask=mask)


@triton.jit
def _vectors(row, start, ahead, lanes: tl.constexpr, vector: tl.constexpr):
    """Where the elements of a step are, the first of them at a boundary of vectors."""
    item: tl.constexpr = row.dtype.element_ty.primitive_bitwidth // 8
    return tl.multiple_of(row - ahead + tl.arange(0, lanes), vector * item) + start


@triton.jit
def _whole(lanes: tl.constexpr, start, ahead, size, vector: tl.constexpr):
    """Lanes, the first of them that is of a vector within the row, and the one behind the last of these."""
    first = tl.cdiv(ahead, vector) * vector
    if start == 0:
        return tl.arange(0, lanes), first, tl.maximum((size + ahead) // vector * vector, first)
    else:
        return tl.arange(0, lanes), first, (size + (ahead - start)) // vector * vector


@triton.jit
def _replaced(x, mask, other, start, TAIL: tl.constexpr):
    """Lanes outside of the row hold `other`."""
    if other is None:
        return x
    elif TAIL or start == 0:
        return tl.where(mask, x, tl.full(x.shape, other, tl.float32).to(x.dtype))
    else:
        return x


@triton.jit
def _shifted(row, start, ahead, size, TAIL: tl.constexpr, lanes: tl.constexpr, POLICY: tl.constexpr):
    """A step of a row that begins anywhere: of 16 bytes of lanes the three halves of vectors that have some of them.

    They are taken for words of 32 bits, of which a lane may have an end of one and the beginning of the next.
    """
    dtype: tl.constexpr = row.dtype.element_ty
    item: tl.constexpr = dtype.primitive_bitwidth // 8
    half: tl.constexpr = 8 // item
    gap = ((row - ahead).to(tl.int64) % 8).to(tl.int32)
    words = tl.multiple_of((row - ahead - gap // item).to(tl.pointer_type(tl.int32), bitcast=True), 8)
    number = tl.arange(0, lanes // (2 * half))
    at = words + (4 * number[:, None] + tl.arange(0, 2)[None, :]) + start * item // 4
    first = number * (2 * half) - gap // item
    a, b = _half(at, first, start, ahead, size, half, TAIL, POLICY)
    c, d = _half(at + 2, first + half, start, ahead, size, half, TAIL, POLICY)
    e, f = _half(at + 4, first + 2 * half, start, ahead, size, half, TAIL, POLICY)
    is_second = gap >= 4
    a, b, c = tl.where(is_second, b, a), tl.where(is_second, c, b), tl.where(is_second, d, c)
    d, e = tl.where(is_second, e, d), tl.where(is_second, f, e)
    if item < 4:
        bits = (gap % 4 * 8).to(tl.uint32)
        a, b = (a >> bits) | (b << (32 - bits)), (b >> bits) | (c << (32 - bits))
        c, d = (c >> bits) | (d << (32 - bits)), (d >> bits) | (e << (32 - bits))
    both = tl.join(tl.join(a, c), tl.join(b, d))
    if item == 8:
        both = both.to(tl.uint64)
        low, high = tl.split(both)
        both = low | (high << 32)
    if item <= 2:
        both = tl.join(both.to(tl.uint16), (both >> 16).to(tl.uint16))
    if item == 1:
        both = tl.join(both.to(tl.uint8), (both >> 8).to(tl.uint8))
    return both.reshape(lanes).to(dtype, bitcast=True)


@triton.jit
def _half(at, first, start, ahead, size, half: tl.constexpr, TAIL: tl.constexpr, POLICY: tl.constexpr):
    """The two words of half a vector each, read where any of it is of the row; its element is the `first` of a lane."""
    if TAIL or start == 0:
        is_begun = (first > ahead - half) | (start > 0)
        is_left = (first < size + (ahead - start)) | (TAIL == 0)
        x = tl.load(at, mask=(is_begun & is_left)[:, None], eviction_policy=POLICY)
    else:
        x = tl.load(at, eviction_policy=POLICY)
    return tl.split(x.to(tl.uint32, bitcast=True))
