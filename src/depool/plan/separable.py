"""One axis after the other, by doubling where windows overlap.

    W_2w(i) = max(W_w(i), W_w(i + w))          W_k(i) = max(W_w(i), W_w(i + k - w)),  k / 2 <= w <= k

A window of k needs ceil(log2 k) two-tap steps whose sub-maxima all windows share: about 2 * log2 k gates
per output for a square window at stride 1, where the tree needs k * k - 1. With a stride, the k taps taken
directly at the strided resolution can be cheaper; the fewer gates per input element win.
"""

from __future__ import annotations

from depool.geometry import Window
from depool.plan.model import Leaf, Max, Plan, Stage
from depool.plan.tree import pairwise


def separable(window: Window) -> Plan:
    """The axes in the order of how much they shrink the data, all padding of an axis in its first step."""
    rank = len(window.kernel_shape)
    busy = [axis for axis in range(rank) if window.kernel_shape[axis] > 1]
    order = sorted(busy, key=lambda axis: (-window.strides[axis], -axis))
    pads = [(0, 0)] * rank if isinstance(window.pads, str) else list(window.pads)
    strides = [s if axis not in busy else 1 for axis, s in enumerate(window.strides)]
    stages: list[Stage] = []
    for axis in order:
        for kernel, gap, stride in _steps(window.kernel_shape[axis], window.strides[axis]):
            stage_strides = list(strides)
            stage_strides[axis] = stride
            taken = [pads[a] if a == axis or a not in busy else (0, 0) for a in range(rank)]
            stages.append(_line(rank, axis, kernel, gap * window.dilations[axis], tuple(stage_strides), tuple(taken)))
            strides = [1] * rank  # axes of kernel 1 are subsampled with the first stage
            pads = [(0, 0) if p == t else p for p, t in zip(pads, taken, strict=True)]
    if not stages:
        stages = [Stage(window, Leaf((0,) * rank))]
    return Plan(window, "separable", tuple(stages))


def _steps(k: int, stride: int) -> list[tuple[int, int, int]]:
    """(taps, gap, stride) of each step along one axis."""
    doubling = (k - 1).bit_length() - 1 + 1 / stride  # gates per element of this axis
    if (k - 1) / stride <= doubling:
        return [(k, 1, stride)]
    steps = []
    width = 1
    while 2 * width < k:
        steps.append((2, width, 1))
        width *= 2
    return [*steps, (2, k - width, stride)]


def _line(
    rank: int, axis: int, kernel: int, gap: int, strides: tuple[int, ...], pads: tuple[tuple[int, int], ...]
) -> Stage:
    shape, dilations = [1] * rank, [1] * rank
    shape[axis], dilations[axis] = kernel, gap
    taps = [Leaf(tuple(i if a == axis else 0 for a in range(rank))) for i in range(kernel)]
    window = Window(tuple(shape), strides, tuple(dilations), pads)
    return Stage(window, Max((taps[0], taps[1])) if kernel == 2 else pairwise(taps))
