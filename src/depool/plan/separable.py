"""One axis after the other, by doubling where windows overlap.

    W_2w(i) = max(W_w(i), W_w(i + w))          W_k(i) = max(W_w(i), W_w(i + k - w)),  k / 2 <= w <= k

A window of k needs ceil(log2 k) two-tap steps whose sub-maxima all windows share: about 2 * log2 k gates
per output for a square window at stride 1, where the tree needs k * k - 1. With a stride, the k taps taken
directly at the strided resolution can be cheaper; the fewer gates per input element win.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from depool.geometry import Size, Window
from depool.plan.model import Expr, Leaf, Max, Plan, Stage
from depool.plan.tree import pairwise


def separable(window: Window) -> Plan:
    """The axes in the order of how much they shrink the data, all padding of an axis in its first step."""
    steps = {}
    for axis in busy(window):
        steps[axis] = _steps(
            window.kernel_shape[axis], window.strides[axis], window.dilations[axis], window.pads_along(axis)
        )
    order = sorted(steps, key=lambda axis: (-window.strides[axis], -axis))
    return axis_by_axis(window, "separable", order, steps)


def busy(window: Window) -> list[int]:
    """The axes that windows extend along."""
    return [axis for axis, kernel in enumerate(window.kernel_shape) if kernel > 1]


def axis_by_axis(
    window: Window,
    scheme: str,
    order: Sequence[int],
    steps: Mapping[int, Sequence[Stage]],
    sizes: tuple[Size, ...] = (),
) -> Plan:
    """The plan of each axis' steps, one axis after the other.

    Args:
        window: of the pool.
        scheme: the planner's name.
        order: all axes that windows extend along.
        steps: by axis, stages of one axis each, written for a pool of that axis alone.
        sizes: that these are right for.
    """
    rank = len(window.kernel_shape)
    idle = [axis for axis in range(rank) if axis not in order]
    stages = [widened(step, axis, rank) for axis in order for step in steps[axis]]
    one = (1,) * rank
    stages = stages or [Stage(Window(one, one, one, ((0, 0),) * rank), Leaf((0,) * rank))]
    first = stages[0].window  # axes that windows do not extend along are subsampled and padded at once
    strides = tuple(window.strides[a] if a in idle else s for a, s in enumerate(first.strides))
    pads = tuple((window if a in idle else first).pads_along(a) for a in range(rank))
    stages[0] = replace(stages[0], window=replace(first, strides=strides, pads=pads))
    return Plan(window, scheme, tuple(stages), sizes)


def _steps(k: int, stride: int, dilation: int, pads: tuple[int, int]) -> list[Stage]:
    doubling = (k - 1).bit_length() - 1 + 1 / stride  # gates per element of this axis
    if (k - 1) / stride <= doubling:
        taps: list[Expr] = [Leaf((i,)) for i in range(k)]
        return [Stage(Window((k,), (stride,), (dilation,), (pads,)), pairwise(taps))]
    steps = []
    width = 1
    while width < k:
        gap = min(width, k - width)
        last = width + gap == k
        window = Window((2,), (stride if last else 1,), (gap * dilation,), (pads if width == 1 else (0, 0),))
        steps.append(Stage(window, Max((Leaf((0,)), Leaf((1,))))))
        width += gap
    return steps


def widened(step: Stage, axis: int, rank: int) -> Stage:
    """A stage of one axis as a stage of all."""
    small = step.window

    def spread(value: int) -> tuple[int, ...]:
        return tuple(value if a == axis else 1 for a in range(rank))

    pads = tuple(small.pads_along(0) if a == axis else (0, 0) for a in range(rank))
    window = Window(spread(small.kernel_shape[0]), spread(small.strides[0]), spread(small.dilations[0]), pads)
    return replace(step, window=window, expr=_moved(step.expr, axis, rank))


def _moved(expr: Expr, axis: int, rank: int) -> Expr:
    if isinstance(expr, Leaf):
        return Leaf(tuple(expr.index[0] if a == axis else 0 for a in range(rank)))
    return Max(tuple(_moved(arg, axis, rank) for arg in expr.args)) if isinstance(expr, Max) else expr
