"""What a program costs, counted before anything runs."""

from __future__ import annotations

from math import prod

import numpy as np

from depool.program import Add, Conv, Program, Ref, Relu, sources


def nominal(sizes: tuple[int | None, ...], extent: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes to count with: the real ones, or 56 (or four windows) where they are dynamic."""
    return tuple(n if n is not None else max(56, 4 * e) for n, e in zip(sizes, extent, strict=True))


WRITTEN, READ, TAP, SPREAD, APART = 1.0, 0.4, 0.25, 8.0, 4.0
"""What an element costs that a pass writes, or reads; a tap of an element; and a tap where maps are mixed.

Where nothing is fused, a convolution writes as slowly as so many other passes (`APART`, PyTorch 2.13).

Fitted to ONNX Runtime 1.32 on one thread, some hundred programs of 58 geometries. A convolution of several maps per
channel is no depthwise one, and runtimes have no fast way for it.
"""


def work(program: Program, spatial: tuple[int, ...], *, fuses: bool = True) -> float:
    """What a run costs, per channel, in elements written.

    On CPU runtimes time is bytes moved: each convolution is one pass, into which an Add and a ReLU behind it are
    fused; of its rows those that its strides skip are not read. All else is a pass of its own.

    Args:
        program: to be run.
        spatial: the input's sizes.
        fuses: whether the runtime fuses at all; where not, a pass costs what it writes.
    """
    sizes = program.sizes(spatial)
    elements = [maps * prod(size) for maps, size in zip(program.maps, sizes, strict=True)]
    if not fuses:
        return sum(
            elements[i + 1] * (APART * max(node.kernel.shape[:2]) if isinstance(node, Conv) else WRITTEN)
            for i, node in enumerate(program.nodes)
        )
    total = 0.0
    for i, others in passes(program):
        node = program.nodes[i]
        total += WRITTEN * elements[i + 1] + READ * sum(elements[ref] for ref in others)
        if isinstance(node, Conv):
            mixed = max(node.kernel.shape[:2]) > 1
            taps = node.kernel.size if mixed else prod(node.window.kernel_shape)
            total += READ * elements[node.source] * _rows(node)
            total += (SPREAD * taps * prod(sizes[i + 1])) if mixed else (TAP * taps * elements[i + 1])
        else:
            total += READ * sum(elements[ref] for ref in sources(node))
    return total


def passes(program: Program) -> list[tuple[int, tuple[Ref, ...]]]:
    """The nodes that are passes of their own, and what an Add fused into one reads besides."""
    readers: dict[Ref, list[int]] = {}
    for i, node in enumerate(program.nodes):
        for ref in sources(node):
            readers.setdefault(ref, []).append(i)
    fused: set[int] = set()
    found: list[tuple[int, tuple[Ref, ...]]] = []
    for i, node in enumerate(program.nodes):
        if i in fused:
            continue
        others: tuple[Ref, ...] = ()
        last = i
        while isinstance(node, Conv) and len(readers.get(last + 1, ())) == 1:
            (reader,) = readers[last + 1]
            behind = program.nodes[reader]
            if reader in fused or not isinstance(behind, Add | Relu) or (isinstance(behind, Add) and others):
                break
            if isinstance(behind, Add):
                others = tuple(ref for ref in sources(behind) if ref != last + 1)
            fused.add(reader)
            last = reader
            if isinstance(behind, Relu):
                break
        found.append((i, others))
    return found


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


def effort(program: Program, spatial: tuple[int, ...], minimise: str, *, fuses: bool = True) -> tuple[float, float]:
    """What programs are compared by: their work, or ReLUs first where a target's own work grows with them."""
    amount = work(program, spatial, fuses=fuses)
    return (relu_elements(program, spatial), amount) if minimise == "relus" else (amount, 0)


def activation_elements(program: Program, spatial: tuple[int, ...]) -> int:
    """The largest number of elements alive at once, per channel, when run in order."""
    sizes = program.sizes(spatial)
    size = [maps * prod(shape) for maps, shape in zip(program.maps, sizes, strict=True)]
    last = list(range(len(size)))
    for i, node in enumerate(program.nodes):
        for ref in sources(node):
            last[ref] = i + 1
    return max(sum(size[ref] for ref in range(step + 1) if last[ref] >= step) for step in range(1, len(size)))
