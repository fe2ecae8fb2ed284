"""Pools whose windows are not all alike, axis by axis, as convolutions and Concats.

    adaptive pool, n to m elements      output i reads floor(i n / m) ... ceil((i + 1) n / m) - 1
    average that excludes its padding   output i reads what its window holds of the input, and divides by that

Along one axis such windows fall into a few runs of windows of one length at one distance. A window is a
product of intervals, so its maximum, or its average, may be taken along one axis after the other:

    axis with runs R1 ... Rk            Concat(pool of R1, ..., pool of Rk)

An average over a run is one convolution, whose kernel is extended by zeros so that it reads just the run. A
maximum over a run is the plain pool on a crop, and a crop is a convolution with one tap.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from math import prod

import numpy as np

from depool.geometry import PoolSpec, Window
from depool.lowering.forms import Builder
from depool.numerics import Rounding, bound
from depool.program import Add, Array, Concat, Conv, Node, Program, Ref

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Run:
    """Consecutive windows of one axis that are alike.

    Attributes:
        start: the first element of the first window.
        taps: elements of each window.
        divisor: what an average divides by.
        stride: from window to window.
        count: how many windows.
    """

    start: int
    taps: int
    divisor: int
    stride: int = 1
    count: int = 1

    def follows(self, last: Run) -> bool:
        """Whether this window continues a run."""
        step = self.start - last.start - (last.count - 1) * last.stride
        alike = (self.taps, self.divisor) == (last.taps, last.divisor)
        return alike and step > 0 and (last.count == 1 or step == last.stride)


def adaptive_runs(size: int, outputs: int) -> tuple[Run, ...]:
    """One axis of an adaptive pool from `size` to `outputs` elements."""
    starts = [i * size // outputs for i in range(outputs)]
    ends = [-(-(i + 1) * size // outputs) for i in range(outputs)]
    return _runs(Run(start, end - start, end - start) for start, end in zip(starts, ends, strict=True))


def average_runs(spec: PoolSpec, window: Window, sizes: Sizes) -> tuple[tuple[Run, ...], ...]:
    """Every axis of an average pool; `window` is the resolved one.

    Padding that counts is the declared one: what ceil_mode adds behind it is never divided by.
    """
    found = []
    pads = window.explicit_pads(sizes)
    for axis, size in enumerate(sizes):
        k, s, d = window.kernel_shape[axis], window.strides[axis], window.dilations[axis]
        begin, end = pads[axis]
        counted_end = (end if spec.auto_pad.startswith("SAME") else spec.pads[axis][1]) if spec.count_include_pad else 0
        low, high = (-begin if spec.count_include_pad else 0), size + counted_end
        windows = []
        for i in range(window.out_sizes(sizes)[axis]):
            taps = [i * s - begin + j * d for j in range(k)]
            inside = [tap for tap in taps if 0 <= tap < size]
            windows.append(Run(inside[0], len(inside), sum(low <= tap < high for tap in taps)))
        found.append(_runs(iter(windows)))
    return tuple(found)


def _runs(windows: Iterable[Run]) -> tuple[Run, ...]:
    runs: list[Run] = []
    for window in windows:
        if runs and window.follows(runs[-1]):
            last = runs[-1]
            stride = window.start - last.start if last.count == 1 else last.stride
            runs[-1] = replace(last, stride=stride, count=last.count + 1)
        else:
            runs.append(window)
    return tuple(runs)


def average_pieces(runs: tuple[tuple[Run, ...], ...], sizes: Sizes, dilations: Sizes) -> Program:
    """The average pool of these runs: for each axis a convolution per run.

    Exactness: each convolution rounds a sum of its taps, and its weights are 1 / divisor, rounded. Of the
    axes' relative errors gamma_(t1 + 1), gamma_(t2 + 1), ... the total is at most gamma_(t1 + t2 + ... ), and a
    native pool, which sums all at once, is within gamma_(t1 t2 ... + 1).
    """
    build = Builder(len(sizes))
    ref: Ref = 0
    for axis, size in enumerate(sizes):
        if runs[axis] == (Run(0, 1, 1, 1, size),):
            continue
        ref = build.concat(
            [build.emit(_average(ref, axis, run, sizes, dilations[axis]), 1) for run in runs[axis]], 1 + axis
        )
    if ref == 0:  # every window holds one element
        build.emit(Conv(0, np.ones((1, 1, *build.point().kernel_shape)), build.point()), 1)
    longest = [max(run.taps for run in axis) for axis in runs]
    products = max(prod(longest), sum(taps + 1 for taps in longest) - 1)
    return Program(len(sizes), tuple(build.nodes), Rounding(products=products, heaviest=float(prod(longest))))


def _average(source: Ref, axis: int, run: Run, sizes: Sizes, dilation: int) -> Conv:
    weights = np.zeros(sizes[axis] - (run.count - 1) * run.stride)  # so long that just the run's windows fit
    weights[run.start : run.start + (run.taps - 1) * dilation + 1 : dilation] = 1 / run.divisor
    return _along(source, axis, weights, run.stride, len(sizes))


def max_pieces(runs: tuple[tuple[Run, ...], ...], sizes: Sizes, pool: Callable[[PoolSpec, Sizes], Program]) -> Program:
    """The max pool of these runs: for each axis a crop and a plain pool per run.

    Args:
        runs: per axis.
        sizes: of the input.
        pool: makes the program of an unpadded pool on an input of these sizes.

    Exactness: an output passes one pool per axis; the errors of these add, as those of the levels of a plan do.
    """
    nodes: list[Node] = []
    rounding = Rounding()
    ref: Ref = 0
    for axis, row in enumerate(runs):
        sizes_now = tuple(sum(run.count for run in runs[a]) if a < axis else n for a, n in enumerate(sizes))
        ends: list[Ref] = []
        worst = Rounding()
        for run in row:
            span = (run.count - 1) * run.stride + run.taps
            source = ref
            if span < sizes_now[axis]:
                weights = np.zeros(sizes_now[axis] - span + 1)
                weights[run.start] = 1.0
                nodes.append(_along(ref, axis, weights, 1, len(sizes)))
                source = len(nodes)
            if run.taps > 1 or run.stride > 1:
                kernel, strides = ([n if a == axis else 1 for a in range(len(sizes))] for n in (run.taps, run.stride))
                made = pool(PoolSpec(tuple(kernel), tuple(strides)), _with(sizes_now, axis, span))
                source = _append(nodes, made, source)
                worst = max(worst, made.rounding, key=lambda r: float(bound(r, 1.0, "float32")))
            ends.append(source)
        if len(ends) > 1:
            nodes.append(Concat(tuple(ends), 1 + axis))
        ref = len(nodes)
        rounding = replace(
            rounding, steps=rounding.steps + worst.steps, heaviest=max(rounding.heaviest, worst.heaviest),
            halves=rounding.halves or worst.halves,
        )  # fmt: skip
    return Program(len(sizes), tuple(nodes), rounding)


def _along(source: Ref, axis: int, weights: Array, stride: int, rank: int) -> Conv:
    """A convolution along one axis."""
    one = (1,) * rank
    shape, strides = _with(one, axis, len(weights)), _with(one, axis, stride)
    return Conv(source, weights.reshape(1, 1, *shape), Window(shape, strides, one, ((0, 0),) * rank))


def _with(sizes: Sizes, axis: int, size: int) -> Sizes:
    return (*sizes[:axis], size, *sizes[axis + 1 :])


def _append(nodes: list[Node], program: Program, source: Ref) -> Ref:
    """Append a program that reads `source` as its input; returns its result's tensor."""
    before = len(nodes)
    nodes += list(_shifted(program, source, before))
    return len(nodes)


def _shifted(program: Program, source: Ref, before: int) -> Iterator[Node]:
    def moved(ref: Ref) -> Ref:
        return ref + before if ref else source

    for node in program.nodes:
        if isinstance(node, Concat):
            yield replace(node, sources=tuple(map(moved, node.sources)))
        elif isinstance(node, Add):
            yield replace(node, left=moved(node.left), right=moved(node.right))
        else:
            yield replace(node, source=moved(node.source))
