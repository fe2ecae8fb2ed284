"""Kernels with zeros around them, for which PyTorch has its fast convolutions.

    w with pads p  =  (0, ..., w, ..., 0) with pads p + r d,   r zeros at each end, d the dilation

On CPUs oneDNN's depthwise convolutions want pads below the kernel's extent, and PyTorch 2.13 does not call them for
kernels of one element on one thread: else slow general ones run (`python benchmarks/torch_convolutions.py`).
"""

from dataclasses import replace

import numpy as np

from depool.program import Conv, Program


def framed(program: Program) -> Program:
    """The same sums, each with zeros more."""
    return replace(program, nodes=tuple(_framed(node) if isinstance(node, Conv) else node for node in program.nodes))


def _framed(node: Conv) -> Conv:
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
