"""What is known about a pool's input; each fact with the reason that licenses its use."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class InputFacts:
    """Bounds on every element of a pool's input, and what follows the pool.

    Attributes:
        lower, upper: the smallest and largest value that can occur; infinite where unknown.
        reason: where the bounds come from, as printed.
        declared: whether the user gave the bounds (then `verify` checks them on data).
        relu_follows: every consumer of the pool is a ReLU, and the pool is no output of the graph.
    """

    lower: float = -inf
    upper: float = inf
    reason: str = ""
    declared: bool = False
    relu_follows: bool = False

    @property
    def max_abs(self) -> float:
        """The largest |x| that can occur."""
        return max(abs(self.lower), abs(self.upper))

    @property
    def signed(self) -> bool:
        """Whether values below zero can occur."""
        return self.lower < 0
