"""A chain of pair gates by Horner's rule.

    m_n = x_n,  m_j = x_j + r_(j+1),  r_j = r(m_j - x_(j-1)) = r((x_j - x_(j-1)) + r_(j+1)),  result x_0 + r_1

No m_j but the result is written. Rounding: m_j is a maximum and lies in [-M, M]; so do, for inputs >= 0, all partial
sums of the three terms of r_j, in any order; else they are at most 3 M, and the whole at most 2 M. An error of r_(j+1)
enters each sum once, and passes on unamplified (docs/numerics.md).
"""

from __future__ import annotations

from collections.abc import Callable

from depool.lowering.forms import Form, combine, unit
from depool.lowering.styles import Branched
from depool.numerics import Step
from depool.plan.horner import in_order
from depool.plan.model import Index, Stage


def horner(stage: Stage, style: Branched, tap: Callable[[Index], Form], steps: list[Step]) -> Form:
    """Emit one stage.

    Args:
        stage: whose gates are a chain.
        style: has the builder, and knows whether values below zero occur.
        tap: the value at a tap.
        steps: receives the roundings.
    """
    build, window = style.builder, stage.window
    x = [tap(index) for index in in_order(stage)]
    inner: list[tuple[float, Form]] = []
    for j in range(len(x) - 1, 0, -1):
        difference = combine([(1, x[j]), (-1, x[j - 1]), *inner])
        inner = [(1, unit(build.relu(build.materialise([difference], window))))]
    steps += roundings(len(x) - 1, signed=style.signed)
    return style.settle([combine([(1, x[0]), *inner], weight=1.0)], window)[0]


def roundings(gates: int, *, signed: bool) -> list[Step]:
    """What a chain of so many gates rounds: two-term sums one after the other, each at most so many times M."""
    if gates < 2:
        return [Step(ulps=gates)]  # the pair lemma
    first, partial, whole = (2.0, 3.0, 2.0) if signed else (1.0, 1.0, 1.0)
    weights = [first, *([partial, whole] * (gates - 1)), 1.0]
    return [Step(sums=((2, weight),)) for weight in weights]
