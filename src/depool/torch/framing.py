"""Kernels with zeros in and around them, for which PyTorch has its fast convolutions.

    w at distance d     =  (w0, 0, ..., 0, w1, ...),   d - 1 zeros between two taps
    w with pads p       =  (0, ..., w, ..., 0) with pads p + r d,   r zeros at each end

On CPUs oneDNN's depthwise convolutions want pads below the kernel's extent, and PyTorch 2.13 does not call them for
kernels of one element on one thread. Those at a distance want pads of 4 at most along the last axis, and begin with
what is added to them, y + w0 x0 + w1 x1, which rounds otherwise than what was asked for; those without do neither
(`python benchmarks/torch_convolutions.py`).
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from depool.lowering.adapt import extended
from depool.passes import Pass
from depool.program import Conv, Program

LAST_PAD = 4
"""Along the last axis, at a distance."""


def framed(program: Program, order: Sequence[Pass]) -> Program:
    """The same sums, each with zeros more.

    Args:
        program: whose pads are alike at both ends.
        order: its passes; what else one adds decides how its convolution may be written.
    """
    sums = {one.nodes[0] for one in order if len(one.reads) > 1}
    nodes = [_framed(node, i in sums) if isinstance(node, Conv) else node for i, node in enumerate(program.nodes)]
    return replace(program, nodes=tuple(nodes))


def _framed(node: Conv, summed: bool) -> Conv:
    bare = extended(node, dilation=False)
    if summed and np.count_nonzero(node.kernel[0]) > 1:
        return _ringed(bare)
    made = _ringed(node)
    return made if max(made.window.explicit_pads(())[-1]) <= LAST_PAD else _ringed(bare)


def _ringed(node: Conv) -> Conv:
    window = node.window
    pads = window.explicit_pads(())
    rings = [
        max(0, -((extent - 1 - max(pad)) // dilation))
        for pad, extent, dilation in zip(pads, window.extent, window.dilations, strict=True)
    ]
    if not any(rings) and max(*window.kernel_shape, *window.strides) == 1:
        rings[-1] = 1
    if not any(rings):
        return node
    kernel = np.pad(node.kernel, ((0, 0), (0, 0), *((ring, ring) for ring in rings)))
    wider = tuple(
        (begin + ring * d, end + ring * d) for ring, d, (begin, end) in zip(rings, window.dilations, pads, strict=True)
    )
    return replace(node, kernel=kernel, window=replace(window, kernel_shape=kernel.shape[2:], pads=wider))
