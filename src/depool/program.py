"""The smallest convolutional language that can say a pool: Conv, Relu, Add, Concat.

Tensors are channel-free: every channel of the model is treated alike, so a tensor has "maps per input
channel" and a kernel is [maps_out, maps_in, *kernel]. A frontend widens it to C channels (see layout.py).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from depool.errors import UsageError
from depool.geometry import Window
from depool.numerics import Rounding, bound

Array = npt.NDArray[Any]
Ref = int
"""A tensor: 0 is the program's input, i + 1 the result of node i."""


@dataclass(frozen=True, eq=False)
class Conv:
    """Convolution of every channel alike.

    Attributes:
        source: the tensor read, with maps_in maps.
        kernel: [maps_out, maps_in, *window.kernel_shape], float64; a frontend rounds it to the model's type.
        window: strides, dilations, pads (zeros).
        bias: one per output map, or none.
    """

    source: Ref
    kernel: Array
    window: Window
    bias: tuple[float, ...] | None = None


@dataclass(frozen=True)
class Relu:
    """r(x) = max(x, 0)."""

    source: Ref


@dataclass(frozen=True)
class Add:
    """The sum of two tensors of one shape."""

    left: Ref
    right: Ref


@dataclass(frozen=True)
class Concat:
    """Axis 0 joins maps; axis 1 + i joins along spatial axis i."""

    sources: tuple[Ref, ...]
    axis: int = 0


Node = Conv | Relu | Add | Concat


def sources(node: Node) -> tuple[Ref, ...]:
    """The tensors that a node reads."""
    if isinstance(node, Concat):
        return node.sources
    return (node.left, node.right) if isinstance(node, Add) else (node.source,)


def shifted(node: Node, by: int) -> Node:
    """The node in a program that has `by` more nodes in front."""
    if isinstance(node, Concat):
        return replace(node, sources=tuple(ref + by for ref in node.sources))
    if isinstance(node, Add):
        return replace(node, left=node.left + by, right=node.right + by)
    return replace(node, source=node.source + by)


@dataclass(frozen=True, eq=False)
class Program:
    """A pool as convolutions; call it on an array to run it in NumPy.

    Attributes:
        rank: spatial axes.
        nodes: in order of computation; the last one is the result.
        rounding: what each step may round, from which `error_bound` follows.

    Raises:
        UsageError: on construction, where the nodes do not fit together.
    """

    rank: int
    nodes: tuple[Node, ...]
    rounding: Rounding

    def __post_init__(self) -> None:
        validate(self)

    def __call__(self, x: Array) -> Array:
        """Evaluate, one rounding per operation, in x's own dtype.

        Args:
            x: ``[N, C, *spatial]``, finite.

        Returns:
            ``[N, C, *pooled]``.
        """
        result: Array = self.trace(x)[-1]
        return result.reshape(*x.shape[:2], *result.shape[2:])

    def trace(self, x: Array) -> list[Array]:
        """Every tensor of the program, the input first, each as ``[N * C, maps, *spatial]``."""
        if x.ndim != self.rank + 2:
            raise UsageError(f"the input must be [N, C, ...] with {self.rank} spatial axes, not {list(x.shape)}")
        values = [x.reshape(-1, 1, *x.shape[2:])]
        with np.errstate(over="ignore"):  # gates Y and K switch terms off by what may become -inf before a ReLU
            for node in self.nodes:
                values.append(_evaluate(node, [values[ref] for ref in sources(node)]))
        return values

    def __repr__(self) -> str:
        ops = " ".join(type(node).__name__ for node in self.nodes)
        return f"Program({ops}; {self.relu_layers} ReLU layers)"

    @cached_property
    def maps(self) -> tuple[int, ...]:
        """Maps per channel of every tensor, the input first."""
        counts = [1]
        for node in self.nodes:
            read = [counts[ref] for ref in sources(node)]
            if isinstance(node, Conv):
                counts.append(node.kernel.shape[0])
            else:
                counts.append(sum(read) if isinstance(node, Concat) and node.axis == 0 else read[0])
        return tuple(counts)

    @property
    def relu_layers(self) -> int:
        """ReLUs on the longest path."""
        layers = [0]
        for node in self.nodes:
            layers.append(max(layers[ref] for ref in sources(node)) + isinstance(node, Relu))
        return layers[-1]

    @property
    def relus_per_output(self) -> Fraction:
        """ReLUs for each output element, away from the borders."""
        strides = [(1,) * self.rank]
        for node in self.nodes:
            step = node.window.strides if isinstance(node, Conv) else (1,) * self.rank
            strides.append(tuple(s * t for s, t in zip(strides[sources(node)[0]], step, strict=True)))
        total = prod(strides[-1])
        return sum(
            (
                Fraction(self.maps[i + 1] * total, prod(strides[i + 1]))
                for i, node in enumerate(self.nodes)
                if isinstance(node, Relu)
            ),
            Fraction(0),
        )

    def sizes(self, spatial: tuple[int, ...]) -> list[tuple[int, ...]]:
        """Spatial sizes of every tensor for an input of these sizes."""
        result = [spatial]
        for node in self.nodes:
            read = [result[ref] for ref in sources(node)]
            if isinstance(node, Conv):
                result.append(node.window.out_sizes(read[0]))
            elif isinstance(node, Concat) and node.axis > 0:
                axis = node.axis - 1
                joined = sum(size[axis] for size in read)
                result.append((*read[0][:axis], joined, *read[0][axis + 1 :]))
            else:
                result.append(read[0])
        return result

    def macs(self, spatial: tuple[int, ...]) -> int:
        """Multiply-accumulates per channel and sample, as grouped convolutions count them."""
        sizes = self.sizes(spatial)
        return sum(node.kernel.size * prod(sizes[i + 1]) for i, node in enumerate(self.nodes) if isinstance(node, Conv))

    def error_bound(self, max_abs: float | Array, dtype: npt.DTypeLike = "float32") -> Any:
        """Largest ``|result - max|`` for a window whose elements are at most `max_abs`; 0 is bit-exact.

        Source: math in numerics.py. `max_abs` may be an array, one per window.
        """
        return bound(self.rounding, max_abs, dtype)


def validate(program: Program) -> None:
    """Check that every node reads earlier tensors of matching maps, and that the result has one map."""
    for i, node in enumerate(program.nodes):
        if any(not 0 <= ref <= i for ref in sources(node)):
            raise UsageError(f"node {i} reads a tensor that does not exist yet")
        read = [program.maps[ref] for ref in sources(node)]
        if isinstance(node, Conv):
            if node.kernel.shape[1] != read[0] or node.kernel.shape[2:] != node.window.kernel_shape:
                raise UsageError(f"node {i}: kernel {node.kernel.shape} does not fit {read[0]} maps and {node.window}")
            if node.bias is not None and len(node.bias) != node.kernel.shape[0]:
                raise UsageError(f"node {i}: {len(node.bias)} biases for {node.kernel.shape[0]} maps")
        elif not (isinstance(node, Concat) and node.axis == 0) and len(set(read)) != 1:
            raise UsageError(f"node {i}: joins tensors of {read} maps")
    if program.maps[-1] != 1 or not program.nodes:
        raise UsageError("a program must end in one map")


def _evaluate(node: Node, values: Sequence[Array]) -> Array:
    if isinstance(node, Relu):
        return np.asarray(np.maximum(values[0], values[0].dtype.type(0)))
    if isinstance(node, Add):
        return np.asarray(values[0] + values[1])
    if isinstance(node, Concat):
        return np.concatenate(values, axis=node.axis + 1)
    return _convolve(node, values[0])


def _convolve(node: Conv, x: Array) -> Array:
    """Sum over the kernel's non-zero taps, in their order; a zero tap adds exactly nothing to a finite sum."""
    window = node.window
    spatial = x.shape[2:]
    pads = window.explicit_pads(spatial)
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    out = window.out_sizes(spatial)
    maps_out = node.kernel.shape[0]
    y = np.zeros((x.shape[0], maps_out, *out), x.dtype)
    for o, i, *index in np.argwhere(node.kernel):
        starts = [k * d for k, d in zip(index, window.dilations, strict=True)]
        cut = tuple(slice(b, b + (n - 1) * s + 1, s) for b, n, s in zip(starts, out, window.strides, strict=True))
        weight = x.dtype.type(node.kernel[(o, i, *index)])
        y[:, o] += weight * padded[(slice(None), i, *cut)]
    if node.bias is not None:
        y += np.asarray(node.bias).astype(x.dtype).reshape(1, -1, *(1,) * len(out))
    return y
