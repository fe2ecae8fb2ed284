"""What a program costs, counted before anything runs."""

from __future__ import annotations

from math import prod

import numpy as np

from depool.passes import apart, passes
from depool.program import Conv, Program, Relu, sources
from depool.target import Target


def nominal(sizes: tuple[int | None, ...], extent: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes to count with: the real ones, or 56 (or four windows) where they are dynamic."""
    return tuple(n if n is not None else max(56, 4 * e) for n, e in zip(sizes, extent, strict=True))


WRITTEN, FRESH, READ, TAP, COPIED, SPREAD = 1.0, 0.25, 0.5, 0.2, 1.5, 10.0
"""What an element costs that a pass writes; what it costs more where nothing is added to it, so that it is written to
memory of its own; one that a pass reads; a tap of an element; a tap where channels fill no block, so that the runtime
copies what each tap reads; and a tap where maps are mixed.

Fitted to ONNX Runtime 1.32 on one thread, the ten cheapest plans of 60 geometries. A convolution of several maps per
channel is no depthwise one, and runtimes have no fast way for it.
"""


def work(
    program: Program, spatial: tuple[int, ...], *, fuses: bool = True, call: float = 0.0, tap: float = TAP
) -> float:
    """What a run costs, per channel, in elements written.

    On CPU runtimes each convolution is one pass, into which an Add and a ReLU behind it are fused, in place of what is
    added; of its rows those that its strides skip are not read. All else is a pass of its own.

    Args:
        program: to be run.
        spatial: the input's sizes.
        fuses: whether the runtime fuses at all; where not, each node is a pass.
        call: what calling a convolution costs before it computes anything, in elements written.
        tap: what a tap of an element costs.
    """
    sizes = program.sizes(spatial)
    elements = [maps * prod(size) for maps, size in zip(program.maps, sizes, strict=True)]
    total = 0.0
    for found in passes(program) if fuses else apart(program):
        node = program.nodes[found.nodes[0]]
        written = elements[found.nodes[0] + 1]
        total += WRITTEN * written
        if isinstance(node, Conv):
            total += 0.0 if len(found.reads) > 1 else FRESH * written
            mixed = max(node.kernel.shape[:2]) > 1
            taps = node.kernel.size if mixed else prod(node.window.kernel_shape)
            total += call + READ * elements[node.source] * _rows(node)
            total += (SPREAD * taps * prod(sizes[found.nodes[0] + 1])) if mixed else (tap * taps * written)
        else:
            total += FRESH * written + READ * sum(elements[ref] for ref in found.reads)
    return total


def _rows(node: Conv) -> float:
    """The share of rows that a convolution reads; along the last axis neighbours share a line of cache."""
    share = 1.0
    for axis, (stride, dilation) in enumerate(zip(node.window.strides[:-1], node.window.dilations, strict=False)):
        taps = np.flatnonzero(node.kernel.any(axis=tuple(a for a in range(node.kernel.ndim) if a != axis + 2)))
        share *= len({int(tap) * dilation % stride for tap in taps}) / stride
    return share


def relu_elements(program: Program, spatial: tuple[int, ...]) -> int:
    """ReLUs per channel: what verifiers split on, and binary variables of a mixed-integer program."""
    sizes = program.sizes(spatial)
    return sum(
        program.maps[i + 1] * prod(sizes[i + 1]) for i, node in enumerate(program.nodes) if isinstance(node, Relu)
    )


def effort(program: Program, spatial: tuple[int, ...], target: Target, *, aligned: bool = True) -> tuple[float, float]:
    """What programs are compared by: their work, or ReLUs first where a target's own work grows with them.

    Args:
        program: to be run.
        spatial: the input's sizes.
        target: who runs it.
        aligned: whether the channels fill the target's blocks.
    """
    amount = work(program, spatial, fuses=target.fuses, call=target.call, tap=TAP if aligned else COPIED)
    return (relu_elements(program, spatial), amount) if target.minimise == "relus" else (amount, 0)


def activation_elements(program: Program, spatial: tuple[int, ...]) -> int:
    """The largest number of elements alive at once, per channel, when run in order."""
    sizes = program.sizes(spatial)
    size = [maps * prod(shape) for maps, shape in zip(program.maps, sizes, strict=True)]
    last = list(range(len(size)))
    for i, node in enumerate(program.nodes):
        for ref in sources(node):
            last[ref] = i + 1
    return max(sum(size[ref] for ref in range(step + 1) if last[ref] >= step) for step in range(1, len(size)))
