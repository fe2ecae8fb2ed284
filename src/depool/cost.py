"""What a program costs, counted before anything runs."""

from __future__ import annotations

from math import prod

from depool.program import Concat, Conv, Program, Relu, sources


def nominal(sizes: tuple[int | None, ...], extent: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes to count with: the real ones, or 56 (or four windows) where they are dynamic."""
    return tuple(n if n is not None else max(56, 4 * e) for n, e in zip(sizes, extent, strict=True))


def written(program: Program, spatial: tuple[int, ...]) -> int:
    """Elements that convolutions and concatenations write, per channel.

    On CPU runtimes time is passes times bytes written: taps are nearly free, and Relu and Add are fused
    into the convolution before them.
    """
    sizes = program.sizes(spatial)
    return sum(
        program.maps[i + 1] * prod(sizes[i + 1])
        for i, node in enumerate(program.nodes)
        if isinstance(node, Conv | Concat)
    )


def relu_elements(program: Program, spatial: tuple[int, ...]) -> int:
    """ReLUs per channel: what verifiers split on, and binary variables of a mixed-integer program."""
    sizes = program.sizes(spatial)
    return sum(
        program.maps[i + 1] * prod(sizes[i + 1]) for i, node in enumerate(program.nodes) if isinstance(node, Relu)
    )


def effort(program: Program, spatial: tuple[int, ...], minimise: str) -> tuple[int, int]:
    """What programs are compared by: elements written, or ReLUs first where a target's work grows with them."""
    elements = written(program, spatial)
    return (relu_elements(program, spatial), elements) if minimise == "relus" else (elements, 0)


def activation_elements(program: Program, spatial: tuple[int, ...]) -> int:
    """The largest number of elements alive at once, per channel, when run in order."""
    sizes = program.sizes(spatial)
    size = [maps * prod(shape) for maps, shape in zip(program.maps, sizes, strict=True)]
    last = list(range(len(size)))
    for i, node in enumerate(program.nodes):
        for ref in sources(node):
            last[ref] = i + 1
    return max(sum(size[ref] for ref in range(step + 1) if last[ref] >= step) for step in range(1, len(size)))
