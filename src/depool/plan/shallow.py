"""Fewest ReLU layers: the five-way closing layer over maxima that overlap.

    max(E u X0 u X1 u X2 u X3) = closing(max E, max(E u Xi) for i = 0..3, max(X0 u X2), max(X1 u X3))

in one layer more than its deepest argument. With F(k) elements in reach of k layers, F(0) = 1, F(1) = 2,
F(2) = 5, the arguments allow |E| + |Xi|, |X0| + |X2|, |X1| + |X3| <= F(k - 1), hence

    F(k) = 2 F(k - 1) + floor(F(k - 1) / 2):    5, 12, 30, 75, ...      where pairs reach 4, 8, 16, 32

Source: the gate of arXiv 2505.14338; the overlapping groups are derived in docs/numerics.md.
"""

from __future__ import annotations

from itertools import accumulate, product

from depool.geometry import Window
from depool.plan.model import Expr, Leaf, Max, Plan, Stage, Zero
from depool.plan.tree import pairwise


def reach(layers: int) -> int:
    """F(k): how many elements fit in so many ReLU layers."""
    if layers < 2:
        return (1, 2)[layers]
    below = reach(layers - 1)
    return 5 if layers == 2 else 2 * below + below // 2


def layers_for(elements: int) -> int:
    """The fewest layers whose reach is enough."""
    layers = 0
    while reach(layers) < elements:
        layers += 1
    return layers


def shallow(window: Window) -> Plan:
    """One stage over the whole window."""
    taps: list[Expr] = [Leaf(tap) for tap in product(*map(range, window.kernel_shape))]
    return Plan(window, "shallow", (Stage(window, _shallow(taps)),))


def with_relu(window: Window) -> Plan:
    """The ReLU of a window of four elements, max(0, a, b, c, d), by one five-way gate: e is 0.

    A ReLU before the pool or behind it is the same: two ReLU layers in all, where one after the other has three.
    """
    x0, x1, x2, x3 = (Leaf(tap) for tap in product(*map(range, window.kernel_shape)))
    floor = Zero()
    expr = Max((floor, *(Max((x, floor)) for x in (x0, x1, x2, x3)), Max((x0, x2)), Max((x1, x3))))
    return Plan(window, "shallow", (Stage(window, expr),))


def _shallow(values: list[Expr]) -> Expr:
    layers = layers_for(len(values))
    if len(values) <= 2**layers:  # pairs reach as far, with fewer neurons
        return pairwise(values)
    simple = reach(layers - 2)
    if len(values) <= 5 * simple:  # five groups, each a maximum of its own, joined by the five-way gate
        hub, *arms = (_shallow(group) for group in _split(values, _even(len(values), 5)))
        return Max((hub, *(Max((arm, hub)) for arm in arms), Max((arms[0], arms[2])), Max((arms[1], arms[3]))))
    below = reach(layers - 1)
    half, rest = below // 2, below - below // 2
    groups = _split(values, [len(values) - 2 * below, half, half, rest, rest])
    e, x0, x1, x2, x3 = groups
    wide = [_shallow(group + e) for group in (x0, x1, x2, x3)]
    return Max((_shallow(e), *wide, _shallow(x0 + x2), _shallow(x1 + x3)))


def _even(total: int, parts: int) -> list[int]:
    return [total // parts + (i < total % parts) for i in range(parts)]


def _split(values: list[Expr], sizes: list[int]) -> list[list[Expr]]:
    ends = list(accumulate(sizes))
    return [values[end - size : end] for end, size in zip(ends, sizes, strict=True)]
