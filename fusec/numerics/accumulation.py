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

*Matrix units* cut off, so their errors have one sign, and nothing is made of chance but the partial sums. The bound is
the sum of their sizes, at most the root of K times that of the squares; the bridge with `BRIDGE` times its mean, which
it exceeds with a probability of exp(-(pi^2 / 12) BRIDGE^2) < 1e-17.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, sqrt

import torch
from torch import Tensor

from fusec.numerics.precision import F32

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

    A matrix unit adds 8 products at once (sm_80) or 16 (sm_90) and the sum so far: all of them are cut off 1 or 2 bits
    behind the last place that the largest has, then the sum in its last place (Fasi, Higham, Mikaitis, Pranesh,
    Numerical behavior of NVIDIA tensor cores, PeerJ Comput. Sci. 7:e330, 2021; Li et al., FTTN, arXiv 2403.00232). In
    units that is `EACH` times every product, and `SUMS` times every partial sum, if there is one for each product. The
    largest is found by exponents, and a number below `least` has that of `least`: products of subnormal numbers are cut
    off as if these were not small.
    """

    unit: float
    cuts_off: bool = False
    least: float = 0.0

    def sizes(self, operand: Tensor) -> Tensor:
        """The sizes of operands, as errors count them."""
        return torch.where(operand == 0, 0.0, operand.abs().clamp(min=self.least)) if self.least else operand.abs()

    def within(self, terms: Tensor) -> Tensor:
        """The bound of the sums along the last dimension for random terms, without what each is cut off by itself.

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
            sums = sqrt(count) * (torch.maximum(drift, chain).sqrt() + BRIDGE * scatter.sqrt())
            bound = SUMS * self.unit * sums
        else:
            # A product that is not fused with its addition is rounded as well.
            bound = ROUNDED * self.unit * (squares + torch.maximum(drift + scatter, chain)).sqrt()
        ordered = terms.abs().sort(-1).values
        alike = (ordered[..., 1:] != ordered[..., :-1]).sum(-1) + 1 < ALIKE
        return torch.where(alike, none, bound.nan_to_num(nan=inf))


EACH, SUMS = 4.5, 0.7
"""Those of sm_80: 9 numbers cut off by 2^-24, and 1 sum by 2^-23, for 8 products. Those of sm_90 are 4.25 and 0.33."""

THREADS = Adder(F32.unit)

_UNITS = {"exact": 2.0**-23, "f16": 2.0**-10, "fast": 2.0**-13}
"""Relative error of one addition of a matrix unit, by `accum`: twice that of rounding to nearest.

FP8 units add with about 14 bits (DeepSeek-V3 technical report, arXiv 2412.19437, section 3.3.2)."""


def matrix_unit(accum: str, least: float) -> Adder:
    """A matrix unit that sums are left to as `accum` says, for operands whose least normal number is `least`."""
    return Adder(_UNITS[accum], True, least)
