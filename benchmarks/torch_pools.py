"""PyTorch's pools against converted ones, eager, one thread, both memory formats; rows as JSON on standard output."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator

import torch
from geometries import MAIN, Geometry
from rows import Effort, Row, dump, rows_of
from torch import Tensor, nn

import depool

FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}


def eager(effort: Effort) -> Iterator[Row]:
    """Each geometry in each memory format."""
    torch.set_num_threads(1)
    for name, layout in FORMATS.items():
        for geometry in MAIN:
            calls = _calls(geometry, layout)
            with torch.no_grad():
                yield from rows_of(f"torch {name}", geometry.name, effort.time(calls), "native")


def _calls(geometry: Geometry, layout: torch.memory_format) -> dict[str, Callable[[], Tensor]]:
    """The pool and its conversion on one non-negative input; on integers they must agree to the last bit."""
    pads = geometry.pads[: len(geometry.kernel)]
    native = nn.Sequential(nn.MaxPool2d(geometry.kernel, geometry.strides, pads, ceil_mode=geometry.ceil)).eval()
    x = torch.randn(geometry.shape, generator=torch.Generator().manual_seed(0)).abs().to(memory_format=layout)
    converted = depool.torch.convert(native, example_inputs=x, assume_nonnegative=True).to(memory_format=layout)
    integers = torch.floor(100 * x)
    if not torch.equal(native(integers), converted(integers)):
        raise ValueError(f"{geometry.name}: the conversion is no max pool")
    return {"native": lambda: native(x), "depool": lambda: converted(x)}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--clock", default="wall")
    given = parser.parse_args()
    dump(eager(Effort(given.seconds, given.clock)))
