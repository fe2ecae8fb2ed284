"""From what holds over the reals to what holds for the machine's numbers, per element type.

Rounded sums and products with a constant are monotone in each of their terms, so a computed sum is at least what
is computed from the terms' lower ends, and that is within gamma_n * sum |lower end| of the real sum in any order of
summation, gamma_n = n u / (1 - n u). Terms >= 0 give a sum >= 0 exactly. Integers wrap: a formula that may leave the
type's range says nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, isnan
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto as Type

from depool.onnx.bounds.interval import SOME_FLOAT, Interval, Range, outward, times


class Number(NamedTuple):
    """A floating-point type: unit roundoff, smallest normal number, largest number."""

    u: float
    tiny: float
    largest: float

    @property
    def slack(self) -> float:
        """How far an implementation of an elementary function may be off, relatively; generous."""
        return max(2**-7, 8 * self.u)


FLOATS = {
    Type.FLOAT16: Number(2**-11, 2**-14, 65504.0),
    Type.BFLOAT16: Number(2**-8, 2**-126, 3.38e38),
    Type.FLOAT: Number(2**-24, 2**-126, 3.4e38),
    Type.DOUBLE: Number(2**-40, 2**-1022, 1.7e308),  # bounds are computed in float64 themselves
    SOME_FLOAT: Number(2**-8, 2**-14, 65504.0),
}
SIGNED = {Type.INT4: 4, Type.INT8: 8, Type.INT16: 16, Type.INT32: 32, Type.INT64: 64}
UNSIGNED = {Type.BOOL: 1, Type.UINT4: 4, Type.UINT8: 8, Type.UINT16: 16, Type.UINT32: 32, Type.UINT64: 64}
INTEGERS: dict[int, Range] = {
    **{t: (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) for t, bits in SIGNED.items()},
    **{t: (0.0, 2.0**bits - 1) for t, bits in UNSIGNED.items()},
}
UNROUNDED = 2.0**53  # integers up to here are exact in float64


def natural(dtype: int) -> Range:
    """What every value of a type satisfies, as far as it is worth saying: unsigned integers."""
    return INTEGERS[dtype] if dtype in UNSIGNED else (-inf, inf)


def unbounded(dtype: int) -> Interval:
    """All that is known of a value of which only the type is known."""
    return Interval(*natural(dtype), "unsigned type", dtype)


def settled(bounds: Range, dtype: int, *, computed: bool) -> Range:
    """What holds for the machine's numbers, given what holds for the real ones."""
    low, high = (end if isnan(bound) else bound for bound, end in zip(bounds, (-inf, inf), strict=True))
    least, most = natural(dtype)
    if low > high:
        return least, most
    if dtype in FLOATS:
        number = FLOATS[dtype]
        if computed:
            low, high = outward((low, high), 8 * number.u, number.tiny)
        return (low if low >= -number.largest else -inf), (high if high <= number.largest else inf)
    if not computed:
        return max(low, least), min(high, most)
    first, last = INTEGERS.get(dtype, (inf, -inf))
    return (low, high) if max(first, -UNROUNDED) <= low and high <= min(last, UNROUNDED) else (least, most)


def gamma(terms: float, number: Number) -> float:
    """The relative error of a sum."""
    return terms * number.u / (1 - terms * number.u) if terms * number.u < 0.5 else inf


def least_sum(parts: Sequence[Any], terms: float, number: Number | None, product_error: float) -> Any:
    """A lower bound on a computed sum whose parts are at least so large; each part is a sum of terms of one sign.

    No less than the last part where all others are >= 0. Without a number type (integers) nothing rounds.
    """
    total = sum(np.asarray(part, np.float64) for part in parts)
    if number is None:
        return total
    magnitude = sum(np.abs(part) for part in parts)
    error = times(gamma(terms + 2, number) + product_error, magnitude) + terms * number.tiny
    lower = np.where(magnitude + error > number.largest, -inf, total - error)
    others_grow = np.all(np.broadcast_arrays(*(np.asarray(part) >= 0 for part in parts[:-1]), True), axis=0)
    return np.where(others_grow, np.fmax(lower, parts[-1]), lower)


def sum_range(parts: Sequence[tuple[Any, Any]], terms: float, dtype: int, *, product_error: float = 0.0) -> Range:
    """The range of computed sums, over all channels, given the lower and upper ends of the parts."""
    number = FLOATS.get(dtype)
    least = least_sum([low for low, _ in parts], terms, number, product_error)
    most = -least_sum([-high for _, high in parts], terms, number, product_error)
    return float(np.min(least)), float(np.max(most))
