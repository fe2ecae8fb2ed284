"""Positions along one spatial axis, for one size or for many sizes at once.

A dynamic size is proved for a range of sizes together: the axis is their disjoint union, and a convolution's tap
is a table from output positions to input positions, -1 where it falls on the zero padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from depool.proof.problem import ProofError

Array = npt.NDArray[Any]
Sizes = tuple[int, ...]
"""The sizes of one axis that are proved together."""


@dataclass(frozen=True)
class Sliding:
    """A convolution's or pool's attributes along one axis."""

    kernel: int
    stride: int
    dilation: int
    pads: tuple[int, int] | str
    ceil: bool = False

    @property
    def extent(self) -> int:
        """The dilated kernel's length."""
        return (self.kernel - 1) * self.dilation + 1

    def begin(self, size: int) -> int:
        """Padding before the first element."""
        if isinstance(self.pads, tuple):
            return self.pads[0]
        if self.pads == "VALID":
            return 0
        total = max((-(-size // self.stride) - 1) * self.stride + self.extent - size, 0)
        return total // 2 if self.pads == "SAME_UPPER" else total - total // 2

    def out(self, size: int) -> int:
        """How many windows ONNX defines; not positive where there is none."""
        if isinstance(self.pads, str) and self.pads != "VALID":
            return -(-size // self.stride)
        begin, end = self.pads if isinstance(self.pads, tuple) else (0, 0)
        room = size + begin + end - self.extent
        if room < 0 and not self.ceil:
            return 0
        if not self.ceil:
            return room // self.stride + 1
        count = -(-room // self.stride) + 1
        return count - 1 if (count - 1) * self.stride >= size + begin else count


@dataclass(frozen=True, eq=False)
class Taps:
    """A convolution along one axis.

    Attributes:
        sizes: of the output.
        index: [kernel, positions]: where each tap reads, -1 on padding.
        begin: [positions]: the padding before the first element, which depends on the size for SAME_*.
    """

    sizes: Sizes
    index: Array
    begin: Array


def slide(sliding: Sliding, sizes: Sizes) -> Taps:
    """Where each tap of a convolution reads.

    Raises:
        ProofError: where no window fits.
    """
    out, tables, begins = [], [], []
    start = 0
    for size in sizes:
        count, begin = sliding.out(size), sliding.begin(size)
        if count < 1:
            raise ProofError(f"a convolution's kernel of {sliding.extent} does not fit an axis of {size}")
        at = np.arange(count) * sliding.stride - begin + np.arange(sliding.kernel)[:, None] * sliding.dilation
        tables.append(np.where((at >= 0) & (at < size), at + start, -1))
        begins.append(np.full(count, begin))
        out.append(count)
        start += size
    return Taps(tuple(out), np.concatenate(tables, axis=1), np.concatenate(begins))


def places(sizes: Sizes) -> Array:
    """The position of every index within its own size."""
    return np.concatenate([np.arange(size) for size in sizes])
