"""How far outputs are from what is expected, counted in halvings of the promised bound.

    identical    difference 0
    within[k]    2^-(k+1) < difference / bound <= 2^-k        the last entry has no lower end
    beyond       difference > bound, or no number

A dozen integers, however many outputs are compared.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depool.program import Array

HALVINGS = 10
"""Entries of `within`: differences of less than 2^-9 of the bound are counted together."""


@dataclass(frozen=True)
class Histogram:
    """Counts of outputs by their difference.

    Attributes:
        identical: no difference at all.
        within: by difference / bound, from (1/2, 1] down by halves; the last entry holds all smaller ones.
        beyond: the promise is broken there.
    """

    identical: int = 0
    within: tuple[int, ...] = (0,) * HALVINGS
    beyond: int = 0

    @property
    def total(self) -> int:
        """All outputs that were compared."""
        return self.identical + sum(self.within) + self.beyond

    def __add__(self, other: Histogram) -> Histogram:
        return Histogram(
            self.identical + other.identical,
            tuple(a + b for a, b in zip(self.within, other.within, strict=True)),
            self.beyond + other.beyond,
        )


NONE = Histogram()
"""Before anything was compared."""


def histogram(apart: Array, bound: Array) -> Histogram:
    """Count the differences of one comparison.

    Args:
        apart: |expected - got| of each output; a NaN is beyond every bound.
        bound: what is promised of each, of the same shape; inf where nothing is.
    """
    kept = apart <= bound
    same = kept & (apart == 0)
    differs = kept & ~same
    # 0.5 < m <= 1 of share = m 2^-k is frexp's m 2^e with e = -k, but for the powers of two: those have m = 1/2
    fraction, exponent = np.frexp(np.maximum(apart[differs] / bound[differs], np.finfo(np.float64).tiny))
    halvings = np.clip(np.where(fraction == 0.5, 1, 0) - exponent, 0, HALVINGS - 1)
    counts = np.bincount(halvings, minlength=HALVINGS)
    return Histogram(int(same.sum()), tuple(map(int, counts)), int((~kept).sum()))
