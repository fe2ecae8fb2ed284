"""The pairwise tree: max(x1, ..., xn) = max(max(x1, x2), max(x3, x4), ...), ceil(log2 n) gates deep."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

from depool.errors import UsageError
from depool.geometry import Window
from depool.plan.model import Expr, Index, Leaf, Max, Plan, Stage

PAIRINGS = ("ab|cd", "ac|bd", "ad|bc")
"""The three ways to pair a 2x2 window's elements a b / c d."""


def pairwise(values: Sequence[Expr]) -> Expr:
    """Neighbours are paired level by level; an odd one out is the last, and waits for the next level."""
    while len(values) > 1:
        paired: list[Expr] = [Max((a, b)) for a, b in zip(values[::2], values[1::2], strict=False)]
        values = paired + list(values[len(paired) * 2 :])
    return values[0]


def tree(window: Window, pairing: str = PAIRINGS[0]) -> Plan:
    """One stage with the pool's own kernel, strides, dilations and pads.

    Args:
        window: the pool's geometry.
        pairing: for a window of four elements, which of PAIRINGS; the others give the same maximum.

    Raises:
        UsageError: for an unknown pairing, or one asked for where the window has not four elements.
    """
    taps: list[Index] = list(product(*map(range, window.kernel_shape)))
    if pairing not in PAIRINGS:
        raise UsageError(f"pairing must be one of {', '.join(PAIRINGS)}, not {pairing!r}")
    if pairing != PAIRINGS[0]:
        if len(taps) != 4:
            raise UsageError(f"pairing {pairing} is for windows of four elements, not {len(taps)}")
        taps = [taps["abcd".index(letter)] for letter in pairing if letter != "|"]
    return Plan(window, "tree", (Stage(window, pairwise([Leaf(tap) for tap in taps])),))
