"""What one convolution by channels takes in PyTorch eager: why kernels are framed, and why calls are fused.

    python benchmarks/torch_convolutions.py

One thread, float32, medians in microseconds, channels last and NCHW: 256x20x20 by the pads of one axis; 8x4x4, where
there is next to nothing to compute; and r(conv(x) + y) as three operators and as one call.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from depool.torch import onednn

FORMATS = {"channels last": torch.channels_last, "NCHW": torch.contiguous_format}
KERNELS = [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (5, 1)]
"""Taps, dilation."""
PADS = range(7)
CALLS = 15


def microseconds(call: Callable[[], Tensor]) -> float:
    """The median of some calls."""
    times = []
    for _ in range(CALLS + 2):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times[2:])


def convolution(
    x: Tensor, axis: int, taps: int, dilation: int, pad: int
) -> tuple[Tensor, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...], int]]:
    """A kernel along an axis, and its pads, strides, dilations and groups."""
    along = [(1, 0, 1), (1, 0, 1)]
    along[axis] = (taps, pad, dilation)
    sizes, pads, dilations = zip(*along, strict=True)
    return torch.randn(x.shape[1], 1, *sizes), (pads, (1, 1), dilations, x.shape[1])


def convolved(x: Tensor, axis: int, taps: int, dilation: int, pad: int) -> float:
    """Microseconds for one."""
    weight, (pads, strides, dilations, groups) = convolution(x, axis, taps, dilation, pad)
    return microseconds(lambda: torch.conv2d(x, weight, None, strides, pads, dilations, groups))


def three_and_one(x: Tensor) -> tuple[float, float]:
    """Microseconds for r(conv(x) + y), operator by operator and as one call."""
    weight, where = convolution(x, 0, 3, 1, 1)
    pads, strides, dilations, groups = where
    y = torch.rand_like(x)
    call = onednn.prepared(onednn.arranged(weight, where, x), None, where, 0, 1, rectified=True, in_place=True)
    apart = microseconds(lambda: torch.conv2d(x, weight, None, strides, pads, dilations, groups).add_(y).relu_())
    return apart, microseconds(lambda: call([x, y]))


def main() -> None:
    """Print all of it."""
    torch.set_num_threads(1)
    with torch.no_grad():
        for name, layout in FORMATS.items():
            large, small = (torch.randn(shape).to(memory_format=layout) for shape in ((1, 256, 20, 20), (1, 8, 4, 4)))
            for axis, which in enumerate(("first", "last")):
                print(f"{name}, along the {which} axis")
                print("  taps, dilation  extent" + "".join(f"{f'pad {pad}':>8}" for pad in PADS))
                for taps, dilation in KERNELS:
                    found = [convolved(large, axis, taps, dilation, pad) for pad in PADS]
                    extent = (taps - 1) * dilation + 1
                    print(f"  {taps}, {dilation:<12}{extent:>8}" + "".join(f"{t:8.0f}" for t in found))
            print(f"  2, 1 on 8x4x4: {convolved(small, 0, 2, 1, 1):.0f}")
            if onednn.AVAILABLE:
                apart, one = three_and_one(large)
                print(f"  convolution, sum, ReLU: {apart:.0f} apart, {one:.0f} as one call")


if __name__ == "__main__":
    main()
