"""What the original pool computes, read from its own node by the ONNX definition.

max       y(o) = max of x(o * stride - begin + k * dilation) over the taps k that fall inside x
average   the sum of the same elements, each divided by the number of taps that count
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import onnx

from depool.onnx.graph import Scope, attributes
from depool.proof.algebra import Algebra, plain_sum
from depool.proof.axes import Array, Sizes, Sliding, places
from depool.proof.offsets import packed
from depool.proof.problem import ProofError
from depool.proof.region import sliding
from depool.proof.tensors import worked_out

LOWEST = (-np.inf, float(np.finfo(np.float32).min), float(np.finfo(np.float64).min), -65504.0)
"""What a Pad before a max pool writes to mean minus infinity."""


@dataclass(frozen=True)
class Pool:
    """A pool of the original model.

    Attributes:
        op_type: of its node.
        axes: its attributes by axis; None for a global pool, whose kernel is the whole input.
        extra: (begin, end) of a Pad of minus infinity before it, by axis.
        inner: tensors between source and output, which the converted model may lack.
        include_pad: an average counts the padding.
    """

    op_type: str
    axes: tuple[Sliding, ...] | None
    extra: tuple[tuple[int, int], ...]
    inner: tuple[str, ...]
    include_pad: bool

    @property
    def average(self) -> bool:
        """Whether it divides."""
        return "Average" in self.op_type

    def along(self, axis: int, size: int) -> Sliding:
        """Its attributes along one axis, for an input of this size."""
        return self.axes[axis] if self.axes is not None else Sliding(size, 1, 1, (0, 0))

    def inside(self, axis: int, size: int) -> list[list[int]]:
        """Of each output position, the elements that its window holds."""
        begin, end = self.extra[axis]
        window = self.along(axis, size + begin + end)
        first = window.begin(size + begin + end) + begin
        taps = [k * window.dilation for k in range(window.kernel)]
        starts = [o * window.stride - first for o in range(window.out(size + begin + end))]
        return [[start + tap for tap in taps if 0 <= start + tap < size] for start in starts]

    def counted(self, axis: int, size: int) -> list[int]:
        """Of each output position, how many taps an average divides by; for a maximum it does not matter."""
        if not self.average:
            return [0] * len(self.inside(axis, size))
        window = self.along(axis, size)
        begin = window.begin(size)
        end = window.pads[1] if isinstance(window.pads, tuple) else size + window.extent
        low, high = (-begin, size + end) if self.include_pad else (0, size)
        return [
            sum(low <= o * window.stride - begin + k * window.dilation < high for k in range(window.kernel))
            for o in range(window.out(size))
        ]

    def valid(self, axis: int, size: int) -> bool:
        """Whether the pool is defined for this size: there are windows, and none holds padding alone."""
        windows = self.inside(axis, size)
        return bool(windows) and all(windows)


def read_pool(scope: Scope, source: str, output: str, rank: int) -> Pool:
    """The pool that makes `output` from `source` in the original.

    Raises:
        ProofError: where there is none.
    """
    node = scope.producers.get(output)
    if node is not None and node.op_type == "QuantizeLinear" and node.domain in {"", "ai.onnx"}:
        return _quantized(node, scope, source, rank)
    kinds = {"MaxPool", "GlobalMaxPool", "AveragePool", "GlobalAveragePool"}
    if node is None or node.op_type not in kinds or node.domain not in {"", "ai.onnx"}:
        raise ProofError(f"in the original, {output!r} is made by no pool")
    if node.output[0] != output or (len(node.output) > 1 and node.output[1] and _read(scope, node.output[1])):
        raise ProofError(f"the original reads the positions of the maxima of {node.name!r}")
    found = attributes(node)
    if any(a.ref_attr_name for a in node.attribute):
        raise ProofError(f"node {node.name!r}: an attribute is a parameter of its function")
    axes = None
    if not node.op_type.startswith("Global"):
        axes = sliding(found, tuple(found.get("kernel_shape", ())), node.name)
        if len(axes) != rank:
            raise ProofError(f"node {node.name!r} has {len(axes)} spatial axes, not {rank}")
    none = ((0, 0),) * rank
    pool = Pool(node.op_type, axes, none, (), bool(found.get("count_include_pad", 0)))
    if node.input[0] == source:
        return pool
    pad = scope.producers.get(node.input[0])
    if pad is None or pad.op_type != "Pad" or pad.input[0] != source or pool.average:
        raise ProofError(f"in the original, {node.name!r} does not read {source!r}")
    return replace(pool, extra=_extra(pad, scope, rank), inner=(node.input[0],))


def _quantized(after: onnx.NodeProto, scope: Scope, source: str, rank: int) -> Pool:
    """A pool between DequantizeLinear and QuantizeLinear of one scale s > 0 and zero point z is one on the integers.

    x = (q - z) s rises with q, so that the largest x is that of the largest q; and (q - z) s / s rounds to q - z.
    """
    pool = scope.producers.get(after.input[0])
    before = scope.producers.get(pool.input[0]) if pool is not None else None
    if pool is None or before is None or before.op_type != "DequantizeLinear" or before.input[0] != source:
        raise ProofError(f"in the original, {after.output[0]!r} is not a pool of {source!r} between integers")
    for one, other in zip(before.input[1:], after.input[1:], strict=False):
        a, b = scope.constant(one), scope.constant(other)
        if a is None or b is None or a.size != 1 or b.size != 1 or a.dtype != b.dtype or a.item() != b.item():
            raise ProofError(f"{before.name!r} and {after.name!r} differ in scale or zero point")
    if len(before.input) != 3 or len(after.input) != 3 or not scope.constant(before.input[1]) > 0:  # type: ignore[operator]
        raise ProofError(f"{before.name!r} and {after.name!r}: a positive scale and a zero point are expected")
    inside = (before.output[0], pool.output[0])
    if any(name in scope.outputs for name in inside[1:]) or len(scope.consumers.get(inside[1], [])) != 1:
        raise ProofError(f"the result of {pool.name!r} is read elsewhere, too")
    return replace(read_pool(scope, inside[0], inside[1], rank), inner=inside)


def _read(scope: Scope, name: str) -> bool:
    return name in scope.consumers or name in scope.outputs


def _extra(node: onnx.NodeProto, scope: Scope, rank: int) -> tuple[tuple[int, int], ...]:
    """The spatial pads of a Pad of minus infinity."""
    found = attributes(node)
    value: Any = found.get("value", 0.0)
    if len(node.input) > 2 and node.input[2]:
        array = scope.constant(node.input[2])
        value = float(array.reshape(-1)[0]) if array is not None and array.size == 1 else 0.0
    if found.get("mode", "constant") != "constant" or float(value) not in LOWEST:
        raise ProofError(f"node {node.name!r} is no Pad of minus infinity")
    raw = scope.constant(node.input[1]) if len(node.input) > 1 else np.asarray(found.get("pads", ()))
    axes = list(range(rank + 2))
    if len(node.input) > 3 and node.input[3]:
        chosen = scope.constant(node.input[3])
        axes = [] if chosen is None else [int(a) % (rank + 2) for a in chosen.reshape(-1)]
    if raw is None or raw.size != 2 * len(axes):
        raise ProofError(f"node {node.name!r}: its pads are not constant")
    pads = [(0, 0)] * (rank + 2)
    for axis, begin, end in zip(axes, *raw.reshape(2, -1), strict=True):
        pads[axis] = (int(begin), int(end))
    if pads[:2] != [(0, 0), (0, 0)] or min(map(min, pads)) < 0:
        raise ProofError(f"node {node.name!r} pads more than spatial axes")
    return tuple(pads[2:])


def wanted(
    algebra: Algebra, pool: Pool, sizes: tuple[Sizes, ...], strides: tuple[int, ...], dtype: Any
) -> tuple[tuple[Sizes, ...], Array]:
    """The output's sizes, and what every position of it must mean, relative to position * strides."""
    outs: list[Sizes] = []
    columns = []
    tables: list[list[tuple[tuple[int, ...], int]]] = []
    for axis, together in enumerate(sizes):
        windows = [pool.inside(axis, size) for size in together]
        outs.append(tuple(map(len, windows)))
        counts = [n for size in together for n in pool.counted(axis, size)]
        flat = [window for per_size in windows for window in per_size]
        moved = [tuple(p - int(o) * strides[axis] for p in w) for w, o in zip(flat, places(outs[-1]), strict=True)]
        distinct: dict[tuple[tuple[int, ...], int], int] = {}
        column = [distinct.setdefault(key, len(distinct)) for key in zip(moved, counts, strict=True)]
        tables.append(list(distinct))
        columns.append(np.array(column, np.int64))

    def work(entries: tuple[int, ...]) -> int:
        chosen = [table[entry] for table, entry in zip(tables, entries, strict=True)]
        points = [packed(offset) for offset in _product([offsets for offsets, _ in chosen])]
        if not pool.average:
            return algebra.number(algebra.maximum(points))
        share = Fraction(float(np.asarray(1 / float(np.prod([n for _, n in chosen]))).astype(dtype)))
        return algebra.number(plain_sum((share, algebra.maximum([point])) for point in points))

    grid = np.meshgrid(*columns, indexing="ij")
    return tuple(outs), worked_out(grid, work)


def _product(axes: list[tuple[int, ...]]) -> list[tuple[int, ...]]:
    offsets: list[tuple[int, ...]] = [()]
    for axis in axes:
        offsets = [(*offset, o) for offset in offsets for o in axis]
    return offsets
