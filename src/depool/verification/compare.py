"""Differences between arrays, in the units that people ask for."""

from __future__ import annotations

import numpy as np

from depool.program import Array
from depool.verification.verdict import Difference


def difference(expected: Array, got: Array) -> Difference:
    """The largest differences; a NaN or infinity on one side only counts as infinite.

    Args:
        expected: from the oracle.
        got: of the same shape.
    """
    a, b = expected.astype(np.float64), got.astype(np.float64)
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.asarray(np.abs(a - b))
    apart[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
    apart[np.isnan(apart)] = np.inf
    if not apart.size:
        return Difference(0.0, 0.0, 0.0, (), 0.0, 0.0)
    worst = np.unravel_index(int(np.argmax(apart)), apart.shape)
    size = np.where(np.isfinite(a), np.abs(a), 0)
    with np.errstate(over="ignore"):  # next to 0 in float64
        ulps = float(np.max(apart / _ulp(expected)))
    return Difference(
        max_abs=float(apart[worst]),
        max_ulp=ulps,
        tolerance=float(np.max(apart / (1 + size))),
        index=tuple(int(i) for i in worst),
        expected=float(a[worst]),
        got=float(b[worst]),
    )


def worse(one: Difference | None, other: Difference) -> bool:
    """Whether `other` is the larger difference."""
    return one is None or other.max_abs > one.max_abs


def _ulp(values: Array) -> Array:
    """The distance from |value| to the next number of its own type."""
    size = np.abs(values)
    with np.errstate(all="ignore"):
        if values.dtype.name == "bfloat16":  # NumPy's spacing does not know it: 2^-7 of the leading power of two
            exponent = np.floor(np.log2(np.maximum(size.astype(np.float64), 2.0**-126)))
            gaps, tiny = np.asarray(2.0 ** (exponent - 7)), 2.0**-133
        elif np.issubdtype(values.dtype, np.floating):
            gaps, tiny = np.spacing(size).astype(np.float64), float(np.finfo(values.dtype).smallest_subnormal)
        else:
            return np.ones(values.shape)
    return np.where(np.isfinite(gaps) & (gaps > 0), gaps, tiny)
