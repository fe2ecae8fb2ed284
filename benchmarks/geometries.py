"""The pools that are timed: one of each kind that matters, and those of the wild."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod


@dataclass(frozen=True)
class Geometry:
    """A max pool on one input.

    Attributes:
        name: kernel/strides and pads, then the input.
        shape: of the input, [N, C, *spatial].
        kernel, strides: of the pool.
        pads: as ONNX has them, all begins and then all ends, or an auto_pad.
        ceil: ceil mode.
    """

    name: str
    shape: tuple[int, ...]
    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    pads: tuple[int, ...] | str = ()
    ceil: bool = False

    @property
    def elements(self) -> int:
        """In a window."""
        return prod(self.kernel)

    @property
    def window(self) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...] | str]:
        """Kernel, strides, pads."""
        return self.kernel, self.strides, self.pads

    @property
    def padded(self) -> bool:
        """Whether windows reach over the border."""
        return isinstance(self.pads, str) or any(self.pads)


def square(channels: int, size: int, kernel: int, stride: int, pad: int = 0, *, ceil: bool = False) -> Geometry:
    """Alike on both axes."""
    name = f"{kernel}x{kernel}/{stride}{f' p{pad}' * (pad > 0)}{' ceil' * ceil} {channels}x{size}x{size}"
    return Geometry(name, (1, channels, size, size), (kernel,) * 2, (stride,) * 2, (pad,) * 4, ceil)


MAIN = (
    square(64, 112, 2, 2),
    square(256, 56, 2, 2),
    square(64, 112, 3, 2, 1),
    square(192, 28, 3, 1, 1),
    square(256, 20, 5, 1, 2),
    square(256, 20, 9, 1, 4),
    square(256, 20, 13, 1, 6),
)
"""The stems, reductions, Inception and SPP pools of classifiers and detectors."""
PYRAMID = ("SPP 5, 9, 13 256x20x20", (1, 256, 20, 20))
"""Three pools of one input side by side."""
PEER = (square(64, 56, 2, 2), square(64, 56, 3, 2, 1))
"""What the dense sequential rewriting is compared at; it takes memory."""
WILD = (
    square(64, 56, 3, 2, 1),
    square(64, 56, 2, 2),
    square(64, 56, 3, 2),
    Geometry("2x2/2 SAME_UPPER 64x55x55", (1, 64, 55, 55), (2, 2), (2, 2), "SAME_UPPER"),
    square(192, 13, 5, 1, 2),
    square(256, 28, 1, 2),
    square(64, 55, 2, 2, ceil=True),
    square(192, 13, 9, 1, 4),
    square(192, 13, 13, 1, 6),
    square(128, 28, 3, 1, 1),
    square(96, 54, 3, 2, ceil=True),
    Geometry("1x3x3/1x2x2 32x8x28x28", (1, 32, 8, 28, 28), (1, 3, 3), (1, 2, 2)),
    square(64, 28, 2, 1, ceil=True),
    Geometry("3x3/2 pads 0,0,1,1 64x56x56", (1, 64, 56, 56), (3, 3), (2, 2), (0, 0, 1, 1)),
    Geometry("3x3/2 SAME_UPPER 32x46x46", (1, 32, 46, 46), (3, 3), (2, 2), "SAME_UPPER"),
    Geometry("2x1/2x1 64x32x64", (1, 64, 32, 64), (2, 1), (2, 1)),
    square(64, 56, 4, 4),
    square(64, 57, 3, 3),
)
"""By how often they were met in 161 published models with pooling, the most frequent first."""
GRID = tuple(
    square(channels, size, kernel, stride, pad)
    for kernel, stride, pad in (
        (2, 2, 0), (2, 1, 0), (3, 2, 0), (3, 2, 1), (3, 1, 1), (3, 3, 0), (5, 1, 2), (7, 1, 3), (9, 1, 4), (13, 1, 6),
    )
    for channels, size in ((64, 56), (24, 40), (96, 54), (128, 28), (256, 14), (512, 7))
)  # fmt: skip
"""Sixty, to see how often the fastest candidate is chosen."""
KERAS = (square(64, 112, 2, 2), square(256, 20, 5, 1, 2))
