"""A chain of pair gates at a signed border: what a tap reads on the padding is switched off.

    m_0 = x_0,  m_k = m_(k-1) + r(x_k - m_(k-1) - B o_k),  o_k = 1 - conv(1; tap k), result m_n

o_k is 1 where tap k lies on the padding, and 0 elsewhere, where nothing is subtracted. x_0 never lies there, so that
every m is a maximum of elements; with |m| <= B = MAX / 2, -m - B <= 0, and its ReLU is 0. Rounding: that of so many
pair gates, one after the other (docs/numerics.md).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from depool.geometry import Window
from depool.lowering.forms import Form, Term, combine, unit
from depool.lowering.styles import Branched
from depool.numerics import Step
from depool.plan.horner import in_order
from depool.plan.model import Index, Stage
from depool.program import Conv


def guardable(stage: Stage) -> bool:
    """Whether the chain's first tap lies on the padding of no window, whatever the input's size."""
    return stage.merged and not isinstance(stage.window.pads, str) and inside(stage.window, in_order(stage)[0])


def inside(window: Window, tap: Index) -> bool:
    """Whether a tap lies on the padding of no window, whatever the input's size.

    With o = tap * dilation - begin it reads element i * stride + o in window i, and the last window starts at
    i * stride <= size + begin + end - extent: so 0 <= o <= extent - 1 - begin - end.
    """
    extents = zip(tap, window.dilations, window.extent, window.explicit_pads(()), strict=True)
    return all(begin <= t * d <= extent - 1 - end for t, d, extent, (begin, end) in extents)


def guarded(stage: Stage, style: Branched, tap: Callable[[Index], Form], big: float, steps: list[Step]) -> Form:
    """Emit one stage.

    Args:
        stage: whose gates are a chain.
        style: has the builder.
        tap: the value at a tap.
        big: B.
        steps: receives the roundings.

    Raises:
        AssertionError: where the stage is not `guardable`, which would be a planner's mistake.
    """
    if not guardable(stage):
        raise AssertionError("a guarded chain starts from a tap that is never on the padding")
    build, window = style.builder, stage.window
    first, *others = in_order(stage)
    best = tap(first)
    point = build.point()
    for index in others:
        x = tap(index)
        off: list[tuple[float, Form]] = []
        if not inside(window, index):
            (source,) = {term.tensor for term, _ in x.terms}
            ones = build.emit(Conv(source, np.zeros((1, build.maps(source), *point.kernel_shape)), point, (1.0,)), 1)
            on_padding = Form(((Term(ones, 0, index), -1.0),), constant=1.0)
            off = [(-big, unit(build.conv([on_padding], ones, window)))]
        gained = build.relu(build.materialise([combine([(1, x), (-1, best), *off])], window))
        (best,) = style.settle([combine([(1, best), (1, unit(gained))], weight=1.0)], window)
        steps.append(Step(ulps=1))
    return best if others else style.settle([best], window)[0]
