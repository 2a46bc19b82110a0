"""Accumulation: how far a long sum lies from the exact one, by what adds it up and by what is known of the terms.

**In any order**, for any terms, an addition is off by `unit` times a partial sum, and no partial sum is larger than the
sum of the sizes. No order of a plan makes that much sharper: threads add the products of a tile one after another, so
a sum of K products is K additions deep in most plans.

**Terms drawn at random** have partial sums that are known better. With S the sum of K terms in random order and Q that
of their squares, the squares of the K partial sums of a chain add up to about

    drift + scatter,  drift = S^2 (K + 1)(2 K + 1) / (6 K),  scatter = (Q - S^2 / K) (K + 1) / 6,

the sums as they would grow evenly, and the bridge around that (sampling without replacement). A tree in which terms
come in another order than their own, or are shared by several programs, has no larger sum: n (K - n) added up over the
edges of a binary tree is largest for a chain. Terms that have an order, as the values of a wave, may have larger ones:
the partial sums of the chain in their own order are looked at, too.

*Threads* round to nearest. The errors are within u of a partial sum, independent and of mean 0 (Higham and Mary, A New
Approach to Probabilistic Rounding Error Analysis, SIAM J. Sci. Comput. 41, 2019, model 2.1), so their sum has a
standard deviation of at most u / sqrt(3) times the root of the squares above. The bound is `ROUNDED` u times that root,
17 deviations. Where partial sums are random too the tails are longer than normal ones, as exp(-2.2 t) for t such roots
in u: less than 1e-9 for a result, and less than 1e-12 with the distribution that digits have.

*Tensor cores* cut off towards 0, so errors have the signs of what is cut off. The sum of the sizes of partial sums is
at most the root of K times that of the squares; the bridge has `BRIDGE` times its mean there, which it exceeds with a
probability of exp(-(pi^2 / 12) BRIDGE^2) < 1e-17. What is cut off the partial sums may add up, and `SUMS` is its worst
case. What is cut off a product is half of the place it is cut off at in the mean, and independent of others: that adds
up as the signs of products do, which are as many of one as of the other where products cancel, and the rest of it,
with a standard deviation of at most 1 / sqrt(12) from the place and 1 / 2 from the sign, is within `ROUNDED` of these.
Units that add f8 keep so few digits that sums are
added in f32 after a part of the products: a part is a chain of its own, and n of them have a mean that is known better,
with 1 + (BRIDGE - 1) / sqrt(n) in the place of `BRIDGE`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, sqrt
from typing import TypeAlias

import torch
from torch import Tensor

from fusec.numerics.precision import F32

Adding: TypeAlias = Callable[[Tensor, Tensor], Tensor]
"""Adds up the products of two operands."""

LONG = 512
"""Terms from which on a sum is looked at in this way. Shorter ones are sharp enough in any order."""

MOST = 1 << 23
"""Terms of all sums together that are looked at."""


def is_long(count: int, terms: int) -> bool:
    """Whether sums of `count` terms each, and so many in all, are looked at in this way."""
    return count >= LONG and 0 < terms <= MOST


ALIKE = 64
"""Sums with fewer different terms than this have errors that repeat, as those of a constant added again and again."""

ROUNDED = 10.0
BRIDGE = 7.0


@dataclass(frozen=True, slots=True)
class Adder:
    """What adds up in f32. An addition is off by `unit` of the result: it rounds to nearest or, if so, cuts off.

    A tensor core adds 8 products at once (sm_80) or 16 (sm_90) and the sum so far: all of them are cut off 1 or 2 bits
    behind the last place that the largest has, then the sum in its last place (Fasi, Higham, Mikaitis, Pranesh,
    Numerical behavior of NVIDIA tensor cores, PeerJ Comput. Sci. 7:e330, 2021; Li et al., FTTN, arXiv 2403.00232). In
    units that is `EACH` times every product, and `ALL` times every partial sum, if there is one for each product. The
    largest is found by exponents, and a number below `least` has that of `least`: products of subnormal numbers are cut
    off as if these were not small. Of units that sum up in fewer bits nobody has told as much: `apart` says whether
    what is cut off products and sums is known apart.
    """

    unit: float
    cuts_off: bool = False
    least: float = 0.0
    apart: bool = False

    def relative(self, count: int) -> float:
        """The error of a sum of `count` products in any order, relative to the sum of their sizes."""
        return grown(count, max(self.unit, _CUT))

    def sizes(self, operand: Tensor) -> Tensor:
        """The sizes of operands, as errors count them."""
        return torch.where(operand == 0, 0.0, operand.abs().clamp(min=self.least)) if self.least else operand.abs()

    def within(self, terms: Tensor) -> Tensor:
        """The bound of the sums along the last dimension for random terms, without what a product takes from others.

        Infinite where it has none: where terms are few, infinite, or too much alike.
        """
        count = terms.shape[-1]
        none = torch.full(terms.shape[:-1], inf, dtype=terms.dtype)
        if not is_long(count, terms.numel()):
            return none
        total, squares = terms.sum(-1), terms.square().sum(-1)
        scatter = (squares - total**2 / count).clamp(min=0.0) * ((count + 1) / 6)
        drift = total**2 * ((count + 1) * (2 * count + 1) / (6 * count))
        chain = terms.cumsum(-1).square().sum(-1)
        if self.cuts_off:
            root = torch.maximum(drift, chain).sqrt() + BRIDGE * scatter.sqrt()
            bound = self.unit * (self._cut_off(terms, root) if self.apart else ALL * sqrt(count) * root)
        else:
            # A product that is not fused with its addition is rounded as well.
            bound = ROUNDED * self.unit * (squares + torch.maximum(drift + scatter, chain)).sqrt()
        ordered = terms.abs().sort(-1).values
        alike = (ordered[..., 1:] != ordered[..., :-1]).sum(-1) + 1 < ALIKE
        return torch.where(alike, none, bound.nan_to_num(nan=inf))

    def _cut_off(self, terms: Tensor, root: Tensor) -> Tensor:
        """What a tensor core cuts off in units, where `root` is that of the squares of all partial sums."""
        count = terms.shape[-1]
        signs = terms.sign()
        one_sided = signs.mean(-1).abs() * sqrt(count) * root
        in_order = (signs * terms.cumsum(-1).abs()).sum(-1).abs()
        scattered = ROUNDED * sqrt(1 / 12 + 1 / 4) * root
        return SUMS * sqrt(count) * root + PRODUCTS * (torch.maximum(one_sided, in_order) / 2 + scattered)

    def beside(self, add: Adding, left: Tensor, right: Tensor, count: int) -> Tensor | float:
        """What `count` terms are cut off by where products are the largest, of operands as large as these."""
        return EACH * self.unit * add(left, right) if self.cuts_off else 0.0


@dataclass(frozen=True, slots=True)
class AdderOf8Bits(Adder):
    """A tensor core that adds products of f8, `in_parts` of so many that are then added in f32, or all of them.

    It adds 16 or 32 products at once and the sum so far, all of which are cut off 13 bits behind the exponent of the
    largest, as the sum is then (DeepSeek-V3 technical report, arXiv 2412.19437, section 3.3.2; Xie et al., MMA-Sim,
    arXiv 2511.10909): 18 or 34 times `unit` of what is the largest at that time.
    """

    in_parts: int = 0

    def relative(self, count: int) -> float:
        """No number is larger than the sum of the sizes in its part."""
        part = min(count, self.in_parts or count)
        cuts = max(-(-part // width) * (width + 2) for width in AT_ONCE)
        return cuts * self.unit + grown(count, _CUT)

    def within(self, terms: Tensor) -> Tensor:
        """The bound of random terms, without what a product takes from others."""
        in_f32 = THREADS.within(terms)
        count = terms.shape[-1]
        if not is_long(count, terms.numel()):
            return in_f32
        part = min(count, self.in_parts or count)
        parts = -(-count // part)
        mean, squares = terms.mean(-1), terms.square().mean(-1)
        scatter = (squares - mean**2).clamp(min=0.0) * (parts * part * (part + 1) / 2)
        drift = mean**2 * (parts * part * (part + 1) * (2 * part + 1) / 6)
        padded = torch.nn.functional.pad(terms, (0, parts * part - count))
        chain = padded.reshape(*terms.shape[:-1], parts, part).cumsum(-1).square().sum((-2, -1))
        bridge = 1 + (BRIDGE - 1) / sqrt(parts)
        sums = sqrt(count) * (torch.maximum(drift, chain).sqrt() + bridge * scatter.sqrt())
        return in_f32 + max((width + 2) / width for width in AT_ONCE) * self.unit * sums

    def beside(self, add: Adding, left: Tensor, right: Tensor, count: int) -> Tensor | float:
        """The largest products of all steps together are at most the root of their number times that of all squares."""
        roots = max((width + 2) * sqrt(-(-count // width)) for width in AT_ONCE)
        return roots * self.unit * add(left**2, right**2).sqrt()


EACH, ALL = 4.5, 0.7
"""Those of sm_80: 9 numbers cut off by 2^-24, and 1 sum by 2^-23, for 8 products. Those of sm_90 are 4.25 and 0.33."""

PRODUCTS, SUMS = 0.5, 0.19
"""`ALL` taken apart: 1 product cut off by 2^-24; and the sum, which is cut off by 2^-24 and 2^-23 for 8 products."""

THREADS = Adder(F32.unit)

_UNITS = {"exact": 2.0**-23, "f16": 2.0**-10, "fast": 2.0**-13}
"""Relative error of one addition of a tensor core, by `accum`: twice that of rounding to nearest."""

AT_ONCE = (16, 32)
"""How many products of f8 a tensor core adds at once, of sm_89 and of sm_90."""

PART = 128
"""Products of f8 that a tensor core adds before their sum is added in f32, at most, unless it may be fast."""

_UNITS_OF_8_BITS = {"exact": 2.0**-13, "f16": 2.0**-10, "fast": 2.0**-13}


def tensor_core(accum: str, least: float) -> Adder:
    """A tensor core that sums are left to as `accum` says, for operands whose least normal number is `least`."""
    return Adder(_UNITS[accum], True, least, apart=accum == "exact")


def tensor_core_of_8_bits(accum: str, least: float) -> Adder:
    """The same for operands of f8."""
    return AdderOf8Bits(_UNITS_OF_8_BITS[accum], True, least, in_parts=PART if accum == "exact" else 0)


def grown(additions: int, unit: float) -> float:
    """(1 + unit)**additions - 1, from above."""
    return additions * unit / (1 - additions * unit) if additions * unit < 1 else inf


_CUT = 2.0**-23
"""Relative error of a product and an addition that are both rounded, or of one that is cut off."""
