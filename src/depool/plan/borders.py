"""Coverage along one axis whose later stages are padded: position by position, for one size or for all.

A stage's tap beyond the previous result reads a padded 0, which stands for nothing. With c(p) the elements of the
pool's input that position p of a stage's result covers,

    c(i) = union of c'(i * stride - begin + tap * dilation) over the taps that fall inside the previous result,

and the last stage's c(i) must be the pool's window i, less its padding. With B and E the stages' pads added up and
S the pool's dilated kernel, only outputs whose windows start before B - begin feel the near border, and they read at
most S elements more. So from a size of B + S + E on, no output feels both borders, what happens at one depends on the
distance to it alone, and sizes that differ by the pool's stride look alike. The sizes below are all sizes,
but for those at which a window would hold padding alone: there the pool has no value.
"""

from __future__ import annotations

from typing import NamedTuple

from depool.geometry import Size, Window


class Line(NamedTuple):
    """What a stage does along one axis."""

    taps: tuple[int, ...]
    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int]


def prove_borders(window: Window, lines: list[Line], axis: int, size: Size) -> None:
    """Prove that stages cover the pool's windows along an axis, near its borders too, for a size or, if None, for all.

    Raises:
        AssertionError: names the first size for which they do not.
    """
    (begin, end), extent, stride = window.pads_along(axis), window.extent[axis], window.strides[axis]
    comb = sum(1 << (k * window.dilations[axis]) for k in range(window.kernel_shape[axis]))
    last = extent + sum(sum(line.pads) for line in lines) + 2 * stride
    first = max(1, extent - begin - end)
    if size is not None:
        first = last = size if size <= last else last - (last - size) % stride  # a size that looks alike
    for length in range(first, last + 1):
        inside = (1 << length) - 1
        starts = range(-begin, length + end - extent + 1, stride)
        wanted = [(comb << start if start >= 0 else comb >> -start) & inside for start in starts]
        if all(wanted) and _covered(lines, length) != wanted:
            raise AssertionError(f"axis {axis} of size {length} is covered wrongly near its borders")


def _covered(lines: list[Line], size: int) -> list[int]:
    """For each output position, the elements that reach it, as bits."""
    reached = [1 << p for p in range(size)]
    for line in lines:
        room = len(reached) + sum(line.pads) - (line.kernel - 1) * line.dilation - 1
        firsts = range(-line.pads[0], room - line.pads[0] + 1, line.stride)
        places = [[first + tap * line.dilation for tap in line.taps] for first in firsts]
        before = reached
        reached = []
        for taps in places:
            found = 0
            for at in taps:
                found |= before[at] if 0 <= at < len(before) else 0
            reached.append(found)
    return reached
