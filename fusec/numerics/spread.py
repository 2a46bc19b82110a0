"""Spread: how far the results of a dot of random operands lie from the exact ones, all of them together.

The bound of `envelope` holds for every operand: K roundings may all go one way, as they do where a constant is added
again and again. Random operands are not like that. A result is off by the sum of r_i * s_i over its roundings, r_i
relative to a partial sum s_i; each |r_i| <= u, and with operands drawn independently the r_i are close to independent,
have mean 0 and a variance of at most u**2 / 3 (Higham and Mary, A New Approach to Probabilistic Rounding Error
Analysis, SIAM J. Sci. Comput. 41, 2019, theorem 2.4 and model 2.1). In any order, split over any number of programs,
2 * K roundings at most (a product and an addition each) are of partial sums of at most the sum of |a * b|: so the root
of the mean of (error / sum of |a * b|)**2 is at most u * sqrt(2 * K / 3). That is far from what right kernels show,
whose partial sums begin small: a plain loop over 4096 positive products is at 0.28 of it, over normal ones at 0.01.
Over 100 results the root of a mean is within 7 per cent of its expectation, and to be three times it is no question of
luck (less than 1e-100).

It is for dots in f32 (`precision=ieee`, an operand of f32), which are added up in fused multiply-adds. Matrix units cut
off instead of rounding, so their errors have one sign: for operands of 16 bits the bound of `envelope` is what there
is. For K = 4096 operands rounded to tf32 are at 1.7 times the limit where they are positive and at 2.3 times where they
are normal, sums in f16 or bf16 at 70 times and more.
"""

from __future__ import annotations

from math import sqrt

from torch import Tensor

from fusec.numerics.precision import F32


def spread(actual: Tensor, exact: Tensor, size: Tensor, count: int) -> float:
    """The root of the mean square of errors, over its limit: at most 1 for dots in f32 of random operands.

    `size` are the sums of the sizes of the `count` products that each of the results, at least 100, is the sum of.
    """
    if actual.numel() < 100:
        raise ValueError(f"a mean of {actual.numel()} errors says too little, 100 are needed")
    error = (actual.double() - exact) / size
    return float(error.square().mean().sqrt()) / (F32.unit * sqrt(2 * count / 3))
