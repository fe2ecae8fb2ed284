"""Program -> program: what a target does not accept is said in another way, with the same values."""

from __future__ import annotations

from dataclasses import replace
from math import gcd

import numpy as np

from depool.geometry import Size, Window
from depool.lowering.forms import Builder
from depool.program import Add, Concat, Conv, Node, Program, Ref, Relu


def zero_extended(program: Program, dilation: bool, asymmetric_pads: bool, mixed_axes: bool = True) -> Program:
    """Kernels extended by zeros, so that no dilation, and no asymmetric padding, is left.

    Given   taps w at distance d, pads (b, e)
    Result  taps w with d - 1 zeros between them; p - b zeros before, p - e after them, p = max(b, e) of the axis,
            or of all axes where they may not differ
    """
    nodes = [
        extended(node, dilation, asymmetric_pads, mixed_axes) if isinstance(node, Conv) else node
        for node in program.nodes
    ]
    return replace(program, nodes=tuple(nodes))


def extended(node: Conv, dilation: bool, asymmetric_pads: bool = True, mixed_axes: bool = True) -> Conv:
    """One convolution of `zero_extended`."""
    kernel, window = node.kernel, node.window
    if not dilation and max(window.dilations) > 1:
        wide = np.zeros((*kernel.shape[:2], *window.extent))
        wide[(slice(None), slice(None), *(slice(None, None, d) for d in window.dilations))] = kernel
        kernel = wide
        window = replace(window, kernel_shape=window.extent, dilations=(1,) * len(window.extent))
    if not (asymmetric_pads and mixed_axes) and not isinstance(window.pads, str):
        largest = [max(p) for p in window.pads]
        largest = largest if mixed_axes else [max(largest)] * len(largest)
        extra = [(most - begin, most - end) for most, (begin, end) in zip(largest, window.pads, strict=True)]
        dilated = [d > 1 for d in window.dilations]
        if any(map(any, extra)):
            if any(wide and any(e) for wide, e in zip(dilated, extra, strict=True)):
                return extended(extended(node, False), True, asymmetric_pads, mixed_axes)
            kernel = np.pad(kernel, ((0, 0), (0, 0), *extra))
            pads = tuple((most, most) for most in largest)
            window = Window(kernel.shape[2:], window.strides, window.dilations, pads)
    return replace(node, kernel=kernel, window=window)


def compacted(program: Program, sizes: tuple[Size, ...]) -> Program:
    """Kernels without the zeros that are not needed: at their ends, and between taps.

    Given   taps w[0..k) at distance d, pads (b, e), zero but for taps first ... last, all multiples of g apart
    Result  taps w[first..last] at distance g d, pads (b - first d, e - (k - 1 - last) d)

    Pads are not negative; a last tap beyond them goes where strides leave the number of windows as it is.
    """
    static = tuple(size for size in sizes if size is not None)
    known = program.sizes(static) if len(static) == len(sizes) else None
    nodes = [
        _compact(node, known[node.source] if known else None) if isinstance(node, Conv) else node
        for node in program.nodes
    ]
    return replace(program, nodes=tuple(nodes))


def _compact(node: Conv, sizes: tuple[int, ...] | None) -> Conv:
    kernel, window = node.kernel, node.window
    if isinstance(window.pads, str):
        return node
    cuts: list[slice] = []
    shape, dilations, pads = [], [], []
    for axis, (k, d, (begin, end)) in enumerate(zip(window.kernel_shape, window.dilations, window.pads, strict=True)):
        used = np.flatnonzero(kernel.any(axis=tuple(a for a in range(kernel.ndim) if a != axis + 2)))
        ends = (int(used[0]), int(used[-1])) if used.size else (0, 0)
        slack = end
        if sizes is not None:  # elements behind the last window
            slack += window.strides[axis] - 1 - (sizes[axis] + begin + end - (k - 1) * d - 1) % window.strides[axis]
        low, cut = min(ends[0], begin // d), min(k - 1 - ends[1], slack // d)
        high = k - 1 - cut
        step = gcd(*(int(tap) - low for tap in (*used, high))) or 1
        cuts.append(slice(low, high + 1, step))
        shape.append((high - low) // step + 1)
        dilations.append(d * step if shape[-1] > 1 else 1)
        pads.append((begin - low * d, max(end - cut * d, 0)))
    small = Window(tuple(shape), window.strides, tuple(dilations), tuple(pads))
    return replace(node, kernel=kernel[(slice(None), slice(None), *cuts)], window=small)


def one_map_each(program: Program) -> Program:
    """Every tensor split into tensors of one map, so that every convolution is depthwise.

    Given   a convolution from m maps to n maps
    Result  n sums of at most m one-map convolutions; a unit tap at a point is the tensor itself
    """
    build = Builder(program.rank)
    parts: list[list[Ref]] = [[0]]
    for node in program.nodes:
        if isinstance(node, Conv):
            made = [_depthwise(build, node, row, parts[node.source]) for row in range(node.kernel.shape[0])]
        elif isinstance(node, Relu):
            made = [build.relu(ref) for ref in parts[node.source]]
        elif isinstance(node, Add):
            pairs = zip(parts[node.left], parts[node.right], strict=True)
            made = [build.add(left, right) for left, right in pairs]
        elif node.axis == 0:
            made = [ref for source in node.sources for ref in parts[source]]
        else:
            joined = zip(*(parts[source] for source in node.sources), strict=True)
            made = [build.concat(refs, node.axis) for refs in joined]
        parts.append(made)
    return replace(program, nodes=tuple(build.nodes))


def _depthwise(build: Builder, node: Conv, row: int, sources: list[Ref]) -> Ref:
    read = [i for i in range(len(sources)) if node.kernel[row, i].any()] or [0]
    bias = (node.bias[row],) if node.bias and node.bias[row] else None
    total: Ref | None = None
    for i in read:
        kernel = node.kernel[row : row + 1, i : i + 1]
        same = kernel.size == 1 and kernel.item() == 1 and node.window == build.point()
        first_bias = bias if total is None else None
        plain = same and first_bias is None and (total is not None or len(read) > 1)
        part = sources[i] if plain else build.emit(Conv(sources[i], kernel, node.window, first_bias), 1)
        total = part if total is None else build.add(total, part)
    if total is None:
        raise AssertionError("a convolution reads at least one map")
    return total


def without_copies(program: Program) -> Program:
    """Without the convolutions that copy their input, conv(x; 1) = x, but for the last."""
    nodes: list[Node] = []
    refs: list[Ref] = [0]
    for i, node in enumerate(program.nodes):
        if isinstance(node, Conv) and i < len(program.nodes) - 1 and _copies(node):
            refs.append(refs[node.source])
            continue
        nodes.append(_reading(node, refs))
        refs.append(len(nodes))
    return replace(program, nodes=tuple(nodes))


def _copies(node: Conv) -> bool:
    same = np.eye(node.kernel.shape[1]).reshape(node.kernel.shape[1], -1, *(1,) * (node.kernel.ndim - 2))
    plain = set(node.window.strides) == {1} and not node.window.padded and not any(node.bias or ())
    return plain and node.kernel.shape == same.shape and bool((node.kernel == same).all())


def _reading(node: Node, refs: list[Ref]) -> Node:
    """The node with other tensors in the place of those that it reads."""
    if isinstance(node, Add):
        return Add(refs[node.left], refs[node.right])
    if isinstance(node, Concat):
        return replace(node, sources=tuple(refs[ref] for ref in node.sources))
    return replace(node, source=refs[node.source])


def without_add(program: Program) -> Program:
    """Add said as Concat and a 1x1 convolution, for ONNX opset 6, whose runtimes lack a broadcasting Add."""
    nodes: list[Node] = []
    refs: list[Ref] = [0]
    for i, node in enumerate(program.nodes):
        if isinstance(node, Add):
            maps = program.maps[i + 1]
            nodes.append(Concat((refs[node.left], refs[node.right])))
            one = (1,) * program.rank
            both = np.concatenate([np.eye(maps), np.eye(maps)], axis=1).reshape(maps, 2 * maps, *one)
            nodes.append(Conv(len(nodes), both, Window(one, one, one, ((0, 0),) * program.rank)))
        else:
            nodes.append(_reading(node, refs))
        refs.append(len(nodes))
    return replace(program, nodes=tuple(nodes))
