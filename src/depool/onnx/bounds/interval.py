"""Intervals, and arithmetic of ranges over the reals; a NaN end stands for unknown, until `settled` removes it."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import Any

import numpy as np

Range = tuple[float, float]
UNKNOWN, SOME_FLOAT = 0, -1  # beside the element types of ONNX


@dataclass(frozen=True)
class Interval:
    """Bounds on every element of a value; NaN excepted.

    Attributes:
        lower, upper: infinite where unknown.
        reason: what licenses the bounds, for people.
        dtype: the element type, as ONNX numbers them: what arithmetic rounds or wraps to.
    """

    lower: float = -inf
    upper: float = inf
    reason: str = ""
    dtype: int = field(default=UNKNOWN, compare=False, repr=False)

    @property
    def bounds(self) -> Range:
        """(lower, upper)."""
        return self.lower, self.upper

    @property
    def known(self) -> bool:
        """Whether it says anything."""
        return self.lower > -inf or self.upper < inf


def times(p: Any, q: Any) -> Any:
    """A product of bounds: 0 * inf is 0, since the infinity only says that there is no bound."""
    return np.where((np.asarray(p) == 0) | (np.asarray(q) == 0), 0.0, np.multiply(p, q))


def multiplied(a: Range, b: Range) -> Range:
    """The range of products."""
    corners = [float(times(p, q)) for p in a for q in b]
    return min(corners), max(corners)


def hull(*ranges: Range) -> Range:
    """The smallest range that contains all."""
    return min(low for low, _ in ranges), max(high for _, high in ranges)


def outward(bounds: Range, relative: float, tiny: float) -> Range:
    """Widened, but never across zero."""
    low, high = bounds
    wider = (low - abs(low) * relative - tiny, high + abs(high) * relative + tiny)
    return (max(0.0, wider[0]) if low >= 0 else wider[0]), (min(0.0, wider[1]) if high <= 0 else wider[1])
