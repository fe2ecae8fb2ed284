"""Average pools: one convolution with entries 1 / n, or one for each n where border windows count fewer."""

from __future__ import annotations

from math import prod

import numpy as np

from depool.conversion import Conversion
from depool.errors import Refused
from depool.geometry import PoolSpec, Size, Window
from depool.lowering.padding import Border
from depool.lowering.pieces import average_pieces, average_runs
from depool.numerics import Rounding
from depool.program import Conv, Program
from depool.target import Target


def average(spec: PoolSpec, window: Window, sizes: tuple[Size, ...], target: Target) -> Conversion:
    """Average pooling is one convolution: entries 1 / n, strides and zero pads of the pool.

    Where border windows divide by another n than the others, it is one for each n, joined by Concat.
    """
    if not spec.counts_alike(window):
        known = tuple(size for size in sizes if size is not None)
        if len(known) < len(sizes) or not (target.branches and target.spatial_concat):
            raise Refused(
                "AVERAGE_EXCLUDES_PAD",
                "its border windows divide by fewer elements than the others, which no one convolution can say.",
                "Fix the size with --shape NAME:1,3,224,224 and use a target that takes branches, export it with "
                "count_include_pad=1 and ceil_mode=0, or leave average pools alone (--pools max).",
            )
        runs = average_runs(spec, window, known)
        return in_pieces(spec, window, average_pieces(runs, known, window.dilations), "average")
    n = prod(window.kernel_shape)
    kernel = np.full((1, 1, *window.kernel_shape), 1 / (spec.divisor or n))
    scale = max(1.0, n / (spec.divisor or n))
    rounding = Rounding(products=n, heaviest=float(n), scale=scale)
    program = Program(spec.rank, (Conv(0, kernel, window),), rounding)
    edge = Border("zero", "the average counts the padding as zeros", window)
    return Conversion(spec, window, edge, "average", "sequential", "grouped", "none", program)


def in_pieces(spec: PoolSpec, window: Window, program: Program, scheme: str) -> Conversion:
    """The conversion of a pool whose windows are not all alike."""
    edge = Border("none", "each run of like windows has a convolution of its own", window)
    return Conversion(spec, window, edge, scheme, "branched", "grouped", "none", program)
