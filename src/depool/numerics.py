"""How far a program's result can be from the true maximum in floating point.

With u the unit roundoff and M >= |x| over the window (docs/numerics.md has the proofs):

    pair gate       m = fl(b + r(fl(a - b)))     |m - max(a, b)| <= ulp(M) <= 2 u M
    a sum of k      fl(x1 + ... + xk)            error <= gamma_{k-1} * sum |xi|, gamma_n = n u / (1 - n u),
                                                 in any order of summation
    gate Y          bit-exact for |x| <= MAX / 2

A maximum is 1-Lipschitz, so errors of successive levels add; they do not multiply.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Step:
    """What one level of gates may add to the error, in units of M.

    Attributes:
        ulps: proved by the pair lemma, in units of 2 u.
        sums: (terms, weight): rounded sums of so many terms whose magnitudes add up to weight * M.
    """

    ulps: int = 0
    sums: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Rounding:
    """Everything in a program that may round.

    Attributes:
        steps: one per level.
        magnitude: a constant that enters the sums beside the data: the shift |L|, or the mask B.
        exact_below: the largest |x| for which the statement holds, as a fraction of the type's MAX.
        products: weights that are no powers of two (an average): each may round and underflow once.
    """

    steps: tuple[Step, ...] = ()
    magnitude: float = 0.0
    exact_below: float = 0.5
    products: int = 0

    @property
    def bit_exact(self) -> bool:
        """Whether nothing rounds."""
        return self.products == 0 and not any(
            step.ulps or any(terms > 1 for terms, _ in step.sums) for step in self.steps
        )


def unit_roundoff(dtype: npt.DTypeLike) -> float:
    """Half the distance from 1 to the next number: 2^-24 in float32."""
    return _finfo(dtype, "eps") / 2


def largest(dtype: npt.DTypeLike) -> float:
    """The largest finite number of a floating-point type."""
    return _finfo(dtype, "max")


def _finfo(dtype: npt.DTypeLike, name: str) -> float:
    info: Any = ml_dtypes.finfo
    return float(getattr(info(np.dtype(dtype)), name))


def bound(rounding: Rounding, max_abs: Any, dtype: npt.DTypeLike) -> Any:
    """The proved bound on |result - true value|, element by element of `max_abs`, in float64."""
    u = unit_roundoff(dtype)
    size = np.asarray(max_abs, np.float64) + rounding.magnitude
    error = np.zeros_like(size)
    for step in rounding.steps:
        reach = size + error
        error = error + 2 * u * step.ulps * reach
        for terms, weight in step.sums:
            error = error + _gamma(terms - 1, u) * weight * reach
    if rounding.products:
        tiny = _finfo(dtype, "smallest_subnormal")
        error = error + _gamma(rounding.products + 1, u) * size + rounding.products * tiny
    return error if error.ndim else float(error)


def _gamma(n: int, u: float) -> float:
    """Higham's gamma_n; where n u reaches 1 nothing is promised."""
    return n * u / (1 - n * u) if n * u < 1 else float("inf")


def statement(rounding: Rounding, dtype: npt.DTypeLike) -> str:
    """The floating-point promise in words."""
    if rounding.bit_exact:
        return f"bit-exact for |x| <= {rounding.exact_below * largest(dtype):.3g}" if rounding.steps else "bit-exact"
    factor = bound(Rounding(rounding.steps, 0.0, rounding.exact_below, rounding.products), 1.0, dtype)
    extra = f" + {rounding.magnitude:.4g}" if rounding.magnitude else ""
    size = f"(M{extra})" if extra else "M"
    return f"<= {factor / unit_roundoff(dtype):.3g} u {size}, u = {unit_roundoff(dtype):.3g}, M = max |x| of the window"
