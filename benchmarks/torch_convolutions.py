"""What one convolution by channels takes in PyTorch eager: why kernels are framed, and what a call takes at least.

    python benchmarks/torch_convolutions.py

One thread, float32, medians in microseconds, channels last and NCHW: 256x20x20 by the pads of its first axis, and
8x4x4, where there is next to nothing to compute.
"""

from __future__ import annotations

import statistics
import time

import torch

FORMATS = {"channels last": torch.channels_last, "NCHW": torch.contiguous_format}
KERNELS = [(1, 1), (2, 1), (2, 2), (3, 1), (3, 2), (5, 1)]
"""Taps, dilation."""
PADS = range(7)
CALLS = 15


def microseconds(channels: int, side: int, taps: int, dilation: int, pad: int, layout: torch.memory_format) -> float:
    """The median of some calls."""
    x = torch.randn(1, channels, side, side).to(memory_format=layout)
    weight = torch.randn(channels, 1, taps, 1).to(memory_format=layout)
    times = []
    for _ in range(CALLS + 2):
        start = time.perf_counter()
        torch.conv2d(x, weight, None, 1, (pad, 0), (dilation, 1), channels)
        times.append(time.perf_counter() - start)
    return 1e6 * statistics.median(times[2:])


def main() -> None:
    """Print both tables."""
    torch.set_num_threads(1)
    with torch.no_grad():
        for name, layout in FORMATS.items():
            print(f"{name}\n  taps, dilation  extent" + "".join(f"{f'pad {pad}':>8}" for pad in PADS))
            for taps, dilation in KERNELS:
                found = [microseconds(256, 20, taps, dilation, pad, layout) for pad in PADS]
                print(f"  {taps}, {dilation:<12}{(taps - 1) * dilation + 1:>8}" + "".join(f"{t:8.0f}" for t in found))
            print(f"  2, 1 on 8x4x4: {microseconds(8, 4, 2, 1, 1, layout):.0f}")


if __name__ == "__main__":
    main()
