"""Channels as one more spatial axis, along which every kernel is 1 long: the layout `folded` in Keras.

    [N, H, W, C] -> [N, H, W, C, 1] -> Conv3D, kernels [kh, kw, 1, maps in, maps out] -> ... -> [N, H', W', C]
    [N, C, H, W] -> [N, C, H, W, 1] -> Conv3D, kernels [1, kh, kw, maps in, maps out] -> ... -> [N, C, H', W']

No element moves, the batch stays what it is, and the convolutions have channels last in either case, which TensorFlow
for CPUs needs. There is no convolution over four axes, so pools over three cannot be said in this way.

XLA runs a convolution of one map and two taps, at any distance, about as fast as a sum; with three taps, or with zeros
between or beside the two, it takes some 500 times as long (measured with JAX 0.10 on a CPU). So zeros become pads,
dilations or crops:

    [a, -b, 0], pads (1, 1)      [a, -b], pads (1, 0)
    [a, 0, -b], stride 1         [a, -b], dilation 2
    [a, -b, 0], no pads          [1, 0], which crops the last element, then [a, -b]
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from depool.geometry import Window
from depool.lowering.adapt import one_map_each
from depool.lowering.forms import Builder
from depool.program import Add, Array, Concat, Conv, Node, Program, Ref, Relu

MOST_AXES = 2
"""Spatial axes of a pool, so that one more can be convolved over."""


def folded(program: Program, axis: int, sizes: tuple[int, ...]) -> Program:
    """The program on tensors with the channels at spatial axis `axis`; `sizes` of its input are empty where dynamic."""
    if any(isinstance(node, Add | Concat) for node in program.nodes):  # a chain stays one
        program = one_map_each(program)
    return with_axis(two_taps(program, sizes), axis)


def two_taps(program: Program, sizes: tuple[int, ...]) -> Program:
    """The same values, every kernel of at most two taps as short as it can be."""
    build = Builder(program.rank)
    known = program.sizes(sizes) if sizes else [()] * (len(program.nodes) + 1)
    refs: list[Ref] = [0]
    for i, node in enumerate(program.nodes):
        if isinstance(node, Conv):
            made = _shortened(build, replace(node, source=refs[node.source]), known[node.source], known[i + 1])
        elif isinstance(node, Relu):
            made = build.relu(refs[node.source])
        elif isinstance(node, Add):
            made = build.add(refs[node.left], refs[node.right])
        else:
            made = build.concat([refs[ref] for ref in node.sources], node.axis)
        refs.append(made)
    return replace(program, nodes=tuple(build.nodes))


def _shortened(build: Builder, node: Conv, size: tuple[int, ...], out: tuple[int, ...]) -> Ref:
    """A convolution as short ones: both taps in one where they lie on one line, else the sum of one for each."""
    window = node.window
    taps = np.argwhere(node.kernel[0, 0])
    if node.kernel.shape[:2] != (1, 1) or isinstance(window.pads, str) or len(taps) not in {1, 2}:
        return build.emit(node, len(node.kernel))
    apart = [axis for axis in range(build.rank) if len(set(taps[:, axis])) > 1]
    gap = max((abs(int(taps[1][axis] - taps[0][axis])) * window.dilations[axis] for axis in apart), default=1)
    if len(apart) < 2 and (gap == 1 or max(window.strides) == 1):
        return _short(build, node, taps, size, out)
    one = _short(build, node, taps[:1], size, out)
    return build.add(one, _short(build, replace(node, bias=None), taps[1:], size, out))


def _short(build: Builder, node: Conv, taps: Array, size: tuple[int, ...], out: tuple[int, ...]) -> Ref:
    """The part of a convolution that reads these taps, which lie on one line."""
    window, source, rank = node.window, node.source, build.rank
    first, last = taps.min(axis=0), taps.max(axis=0)
    kernel = [1] * rank
    dilations, pads = list(window.dilations), list(window.explicit_pads(()))
    values = [float(node.kernel[(0, 0, *tap)]) for tap in taps]
    for axis in range(rank):
        extent = int(last[axis] - first[axis]) * window.dilations[axis] + 1
        begin = pads[axis][0] - int(first[axis]) * window.dilations[axis]
        end = pads[axis][1] - (window.extent[axis] - 1 - int(last[axis]) * window.dilations[axis])
        if size and (size[axis] + begin + max(end, 0) - extent) // window.strides[axis] + 1 == out[axis]:
            end = max(end, 0)  # no stride reaches what would be cropped
        pads[axis] = max(begin, 0), max(end, 0)
        if extent > 1:
            kernel[axis], dilations[axis] = 2, extent - 1
        source = _cropped(build, source, axis, max(-begin, 0), max(-end, 0))
    short = Window(tuple(kernel), window.strides, tuple(dilations), tuple(pads))
    return build.emit(Conv(source, np.array(values).reshape(1, 1, *kernel), short, node.bias), 1)


def _cropped(build: Builder, source: Ref, axis: int, begin: int, end: int) -> Ref:
    """A tensor without its first and last elements along an axis, by convolutions that read one neighbour."""
    for far, values in ((begin, [0.0, 1.0]), (end, [1.0, 0.0])):
        if far:
            numbers = [1] * build.rank
            numbers[axis] = 2
            point = build.point()
            dilations = tuple(far if a == axis else 1 for a in range(build.rank))
            window = replace(point, kernel_shape=tuple(numbers), dilations=dilations)
            source = build.emit(Conv(source, np.array(values).reshape(1, 1, *numbers), window), 1)
    return source


def with_axis(program: Program, axis: int) -> Program:
    """The same program on tensors that have one more spatial axis, at this place, along which nothing happens."""

    def wider(node: Node) -> Node:
        if isinstance(node, Conv):
            return replace(node, kernel=np.expand_dims(node.kernel, 2 + axis), window=_with_axis(node.window, axis))
        if isinstance(node, Concat) and node.axis > axis:
            return replace(node, axis=node.axis + 1)
        return node

    return replace(program, rank=program.rank + 1, nodes=tuple(map(wider, program.nodes)))


def _with_axis(window: Window, axis: int) -> Window:
    kernel_shape, strides, dilations = (
        (*numbers[:axis], 1, *numbers[axis:]) for numbers in (window.kernel_shape, window.strides, window.dilations)
    )
    pads = window.pads if isinstance(window.pads, str) else (*window.pads[:axis], (0, 0), *window.pads[axis:])
    return Window(kernel_shape, strides, dilations, pads)
