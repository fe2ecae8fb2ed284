"""Channel-free kernels widened to C channels.

A tensor of m maps on C channels has m * C channels in the model. Their order is carried along as a tuple
of (map, channel): a grouped convolution needs and makes channel-major order, a Concat puts one tensor after
the other. A kernel k[o, i] becomes

    grouped   W[(c, o), i] = k[o, i], group = C        where the input is channel-major
    dense     W[(o, c), (i, c)] = k[o, i], group = 1   0 between different channels; takes any order
    folded    W[o, i] = k[o, i],           group = 1   the tensor has no channels: they are in the batch, or in an axis
                                                       of their own, and a Reshape stands before and behind

What is alike in all channels, since it comes from kernels of zeros (the border of a mask or guard), may have one
channel, until a convolution k[o, i] makes C of it. That is faster where convolutions by channels are slow.

    narrow    W[(c, o), i] = k[o, i],      group = 1
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from depool.program import Add, Array, Concat, Conv, Program, Ref, sources

Order = tuple[tuple[int, int], ...]
"""(map, channel) of each channel of a tensor in the model."""


@dataclass(frozen=True, eq=False)
class WideConv:
    """A convolution as a framework takes it: weight [M, C / group, *kernel], bias [M] or None."""

    weight: Array
    bias: Array | None
    group: int


def channel_major(maps: int, channels: int) -> Order:
    """All maps of the first channel, then all of the second, ..."""
    return tuple((m, c) for c in range(channels) for m in range(maps))


def widen(program: Program, channels: int, layout: str, *, narrow: bool = False) -> list[WideConv | None]:
    """The weights of each node of a program, None for nodes without weights.

    Args:
        program: channel-free.
        channels: C of the pool's input.
        layout: ``dense`` is group 1 throughout, ``folded`` the kernels as they are; else grouped wherever the order
            allows it.
        narrow: give one channel to what is alike in all.

    Raises:
        AssertionError: where an Add would join tensors of different orders, a mistake of the lowering.
    """
    channels = 1 if layout == "folded" else channels
    orders: list[Order] = [channel_major(1, channels)]
    wide: list[WideConv | None] = []
    slim = narrowed(program) if narrow and channels > 1 else frozenset[Ref]()
    for i, node in enumerate(program.nodes):
        made: WideConv | None = None
        if isinstance(node, Conv):
            maps_out, maps_in = node.kernel.shape[:2]
            order = channel_major(maps_out, 1 if i + 1 in slim else channels)
            if node.source in slim or i + 1 in slim:
                weight, group = _slim(node.kernel, orders[node.source], order), 1
            elif layout == "dense" or orders[node.source] != channel_major(maps_in, channels):
                weight, group = _dense(node.kernel, orders[node.source], order), 1
            else:
                weight, group = np.tile(node.kernel, (channels, *(1,) * (node.kernel.ndim - 1))), channels
            bias = None if node.bias is None else np.array([node.bias[m] for m, _ in order])
            made = WideConv(weight, bias, group)
        elif isinstance(node, Concat):
            order = _joined(program, node, orders) if node.axis == 0 else orders[node.sources[0]]
        elif isinstance(node, Add):
            order = orders[node.left]
            if orders[node.right] != order:
                raise AssertionError(f"node {i} adds tensors whose channels are in different order")
        else:
            order = orders[node.source]
        orders.append(order)
        wide.append(made)
    return wide


def narrowed(program: Program) -> frozenset[Ref]:
    """The tensors that may have one channel: alike in all of them, and read with others by convolutions only."""
    alike: set[Ref] = set()
    for i, node in enumerate(program.nodes, 1):
        zeros = isinstance(node, Conv) and not node.kernel.any()
        if zeros or all(ref in alike for ref in sources(node)):
            alike.add(i)
    alike.discard(len(program.nodes))
    before = 0
    while len(alike) != before:
        before = len(alike)
        for i, node in enumerate(program.nodes, 1):
            if isinstance(node, Conv):
                if node.kernel.any() and node.source not in alike:
                    alike.discard(i)
            elif not alike.issuperset((i, *sources(node))):
                alike.difference_update((i, *sources(node)))
    return frozenset(alike)


def _slim(kernel: Array, order_in: Order, order_out: Order) -> Array:
    if not kernel.any():
        return np.zeros((len(order_out), len(order_in), *kernel.shape[2:]))
    return np.stack([kernel[m] for m, _ in order_out])


def _dense(kernel: Array, order_in: Order, order_out: Order) -> Array:
    weight = np.zeros((len(order_out), len(order_in), *kernel.shape[2:]))
    columns: dict[int, list[tuple[int, int]]] = {}
    for column, (i, c) in enumerate(order_in):
        columns.setdefault(c, []).append((column, i))
    for row, (o, c) in enumerate(order_out):
        for column, i in columns[c]:
            weight[row, column] = kernel[o, i]
    return weight


def _joined(program: Program, node: Concat, orders: list[Order]) -> Order:
    joined: list[tuple[int, int]] = []
    before = 0
    for ref in node.sources:
        joined += [(before + m, c) for m, c in orders[ref]]
        before += program.maps[ref]
    return tuple(joined)
