"""How far a program's result can be from the true maximum in floating point.

With u the unit roundoff and M >= |x| over the window (docs/numerics.md has the proofs):

    pair gate       m = fl(b + r(fl(a - b)))     |m - max(a, b)| <= ulp(M) <= 2 u M
    a sum of k      fl(x1 + ... + xk)            error <= gamma_{k-1} * sum |xi|, gamma_n = n u / (1 - n u),
                                                 in any order of summation
    gate Y          bit-exact for |x| <= MAX / 2

A maximum is 1-Lipschitz, so errors of successive levels add; they do not multiply.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt

TYPES: dict[str, Any] = {"bfloat16": np.dtype(ml_dtypes.bfloat16)}
"""NumPy types that NumPy itself does not know by name."""


@dataclass(frozen=True)
class Step:
    """What one level of gates does to the error, in units of M.

    Attributes:
        ulps: added, as proved by the pair lemma, in units of 2 u.
        sums: added: (terms, weight) of rounded sums of so many terms whose magnitudes come to weight * M.
        growth: the factor on the errors of the level before; 1 for maxima, which are 1-Lipschitz.
    """

    ulps: int = 0
    sums: tuple[tuple[int, float], ...] = ()
    growth: float = 1.0


@dataclass(frozen=True)
class Rounding:
    """Everything in a program that may round.

    Attributes:
        steps: one per level.
        magnitude: a constant that enters the sums beside the data: the shift |L|.
        heaviest: no intermediate value exceeds heaviest * M, so nothing overflows for |x| <= MAX / heaviest; but for
            those with the MAX / 2 of a mask or guard in them, which stay within MAX for |x| <= MAX / 2.
        products: weights that are no powers of two (an average): each may round and underflow once.
        scale: the sum of an average's |weights|; above 1 only with a divisor smaller than the window.
        halves: whether some weights are 1/2, so that integers become multiples of 1/2.
    """

    steps: tuple[Step, ...] = ()
    magnitude: float = 0.0
    heaviest: float = 1.0
    products: int = 0
    scale: float = 1.0
    halves: bool = False

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
    """The largest finite number of a type."""
    if np.dtype(dtype).kind in "iu":
        return float(np.iinfo(np.dtype(dtype)).max)
    return _finfo(dtype, "max")


def smallest(dtype: npt.DTypeLike) -> float:
    """The smallest positive number of a floating-point type, subnormal where it has such."""
    return _finfo(dtype, "smallest_subnormal")


def _finfo(dtype: npt.DTypeLike, name: str) -> float:
    info: Any = ml_dtypes.finfo
    return float(getattr(info(np.dtype(dtype)), name))


def bound(rounding: Rounding, max_abs: Any, dtype: npt.DTypeLike) -> Any:
    """The proved bound on |result - true value|, element by element of `max_abs`, in float64."""
    size = np.asarray(max_abs, np.float64) + rounding.magnitude
    if rounding.bit_exact:
        return np.zeros_like(size) if size.ndim else 0.0
    u = unit_roundoff(dtype)
    error = np.zeros_like(size)
    with np.errstate(over="ignore"):  # beyond float64's own range nothing is promised either
        for step in rounding.steps:
            reach = size + error
            error = error * step.growth
            for factor in (2 * u * step.ulps, *(gamma(terms - 1, u) * weight for terms, weight in step.sums)):
                if factor:
                    error = error + factor * reach
            if rounding.halves:  # a half of an odd subnormal is rounded
                error = error + sum(terms * max(1.0, weight) for terms, weight in step.sums) * smallest(dtype)
    if rounding.products:
        tiny = smallest(dtype)
        error = error + gamma(rounding.products + 1, u) * rounding.scale * size + rounding.products * tiny
    return error if error.ndim else float(error)


def gamma(n: int, u: float) -> float:
    """Higham's gamma_n; where n u reaches 1 nothing is promised."""
    return n * u / (1 - n * u) if n * u < 1 else float("inf")


def safe(rounding: Rounding, dtype: npt.DTypeLike) -> float:
    """The largest |x| for which the promise is made: beyond it an intermediate value may overflow.

    No value exceeds heaviest * (|x| + |L|) by more than its own error.
    """
    error = bound(replace(rounding, magnitude=0.0), 1.0, dtype)
    return float(max(largest(dtype) / rounding.heaviest / (1 + error) - rounding.magnitude, 0.0))


def exact_integers(rounding: Rounding, dtype: npt.DTypeLike) -> float:
    """Integers up to this magnitude are handled without any rounding; 0 where none are.

    Every intermediate is an integer (or a multiple of 1/2) of at most heaviest * |x|, and those up to 1 / u
    (1 / 2u) are exact.
    """
    if rounding.products or rounding.magnitude:
        return 0.0
    return min(1 / unit_roundoff(dtype) / rounding.heaviest / (2 if rounding.halves else 1), safe(rounding, dtype))


def statement(rounding: Rounding, dtype: npt.DTypeLike, max_abs: float = np.inf) -> str:
    """The floating-point promise in words.

    u is the unit roundoff and M the largest |x| of the window; `max_abs` a known limit of M, for which the
    bound is also given as a number.
    """
    limit = (
        f" for |x| <= {safe(rounding, dtype):.3g}" if rounding.heaviest > 1 and max_abs > safe(rounding, dtype) else ""
    )
    if rounding.bit_exact:
        return f"bit-exact{limit}"
    u = unit_roundoff(dtype)
    unscaled = replace(rounding, magnitude=0.0, halves=False)
    size = f"(M + {rounding.magnitude:.4g})" if rounding.magnitude else "M"
    words = f"within {bound(unscaled, 1.0, dtype) / u:.3g} u {size}, u = 2^{round(np.log2(u))}{limit}"
    if np.isfinite(max_abs):
        words += f"; {bound(rounding, max_abs, dtype):.2g} where |x| <= {max_abs:.4g}"
    integers = exact_integers(rounding, dtype)
    return words + (f"; exact for integers up to 2^{int(np.log2(integers))}" if integers >= 1 else "")
