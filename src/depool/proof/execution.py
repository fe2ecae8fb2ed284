"""Run the converted nodes on meanings instead of numbers, each distinct situation once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import product

import numpy as np

from depool.proof.axes import Array, slide
from depool.proof.joining import add, concat
from depool.proof.offsets import packed
from depool.proof.problem import ProofError
from depool.proof.region import AddOp, ConvOp, Op, ReluOp, ReshapeOp
from depool.proof.tensors import ANY, Tensor, sums, worked_out
from depool.proof.values import Values


def execute(values: Values, ops: Sequence[Op], source: str, start: Tensor) -> dict[str, Tensor]:
    """The meaning of every tensor of a region, by name.

    Raises:
        ProofError: names the node that cannot be a part of a pool.
    """
    tensors = {source: start}
    for op in ops:
        try:
            read = [_known(tensors, name) for name in op.inputs]
            if isinstance(op, ConvOp):
                made = _conv(values, _grouped(op, read[0].items), read[0])
            elif isinstance(op, ReluOp):
                made = _relu(values, op, read[0])
            elif isinstance(op, AddOp):
                made = add(values, op, read[0], read[1])
            elif isinstance(op, ReshapeOp):
                made = _reshape(op, read[0])
            else:
                made = concat(values, op, read)
        except ProofError as error:
            raise ProofError(f"node {op.name!r}: {error}") from error
        tensors[op.output] = made
    return tensors


def _known(tensors: dict[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ProofError(f"it reads {name!r} before that is computed")
    return tensors[name]


def _reshape(op: ReshapeOp, x: Tensor) -> Tensor:
    """So many channels to an item of the batch: one where they are folded, all of them where they are unfolded."""
    count = len(x.channels)
    if count % op.channels:
        raise ProofError(f"it makes {op.channels} channels of {count}")
    return replace(x, items=count // op.channels)


def _grouped(op: ConvOp, items: int) -> ConvOp:
    """A convolution of each of so many items, as one of all their channels: in groups, with the same weights."""
    weight = np.tile(op.weight, (items, *(1,) * (op.weight.ndim - 1)))
    bias = None if op.bias is None else np.tile(op.bias, items)
    return replace(op, weight=weight, bias=bias, group=op.group * items)


Reads = tuple[tuple[int, int, float], ...]
"""(class, tap, weight): what one output channel reads; the tap counts through the kernel."""


def _conv(values: Values, op: ConvOp, x: Tensor) -> Tensor:
    rank = len(x.sizes)
    if len(op.axes) != rank or op.weight.shape[1] * op.group != len(x.channels) or op.weight.shape[0] % op.group:
        raise ProofError(f"its weight {list(op.weight.shape)} does not fit {len(x.channels)} channels")
    taps = [slide(axis, sizes) for axis, sizes in zip(op.axes, x.sizes, strict=True)]
    padded = [np.pad(m, [(0, 1)] * rank, constant_values=values.zero) for m in x.meanings]
    channels, signatures = _reads(op, x)
    wanted: dict[tuple[Reads, float], int] = {}
    classes = np.array([wanted.setdefault(signature, len(wanted)) for signature in signatures], np.int64)
    indices = list(np.ndindex(*(axis.kernel for axis in op.axes)))
    blocks = list(product(*([np.flatnonzero(t.begin == b) for b in np.unique(t.begin)] for t in taps)))
    meanings = []
    for (reads, bias), number in wanted.items():
        out = np.empty(tuple(len(t.begin) for t in taps), np.int64)
        for block in blocks:
            begins = [int(t.begin[rows[0]]) for t, rows in zip(taps, block, strict=True)]
            columns, parts = [], []
            for source, tap, weight in reads:
                index = indices[tap]
                where = [t.index[i][rows] for t, i, rows in zip(taps, index, block, strict=True)]
                columns.append(padded[source][np.ix_(*where)])
                offset = zip(index, op.axes, begins, x.strides, strict=True)
                parts.append((Fraction(weight), packed((i * axis.dilation - b) * s for i, axis, b, s in offset)))
            site = (op.output, number)
            out[np.ix_(*block)] = sums(values, columns, parts, Fraction(bias), tuple(map(len, block)), site)
        meanings.append(out)
    strides = tuple(s * axis.stride for s, axis in zip(x.strides, op.axes, strict=True))
    return Tensor(tuple(t.sizes for t in taps), strides, channels, classes, tuple(meanings), x.items)


def _reads(op: ConvOp, x: Tensor) -> tuple[Array, list[tuple[Reads, float]]]:
    """Of each output channel, the one channel that it is about, and what it reads of it."""
    count = op.weight.shape[0]
    flat = op.weight.reshape(count, op.weight.shape[1], -1)
    rows, inputs, taps = np.nonzero(flat)
    physical = inputs + rows // (count // op.group) * op.weight.shape[1]
    weights = flat[rows, inputs, taps]
    about, classes = x.channels[physical], x.classes[physical]
    ends = np.searchsorted(rows, np.arange(count + 1))
    channels = np.full(count, ANY)
    signatures = []
    for row in range(count):
        part = slice(ends[row], ends[row + 1])
        mine = {int(c) for c in about[part]} - {ANY}
        if len(mine) > 1:
            raise ProofError(f"its output channel {row} mixes channels {sorted(mine)[:3]} of the pool's input")
        channels[row] = mine.pop() if mine else ANY
        reads = zip(classes[part].tolist(), taps[part].tolist(), weights[part].tolist(), strict=True)
        signatures.append((tuple(sorted(reads)), float(op.bias[row]) if op.bias is not None else 0.0))
    return channels, signatures


def _relu(values: Values, op: ReluOp, x: Tensor) -> Tensor:
    if op.top is not None:
        forms = (values[int(number)].form for meanings in x.meanings for number in np.unique(meanings))
        if not all(values.algebra.within_range(form) for form in forms):
            raise ProofError("a sum may exceed the largest integer")
    meanings = []
    for i, m in enumerate(x.meanings):

        def work(entries: tuple[int, ...], site: tuple[str, int] = (op.output, i)) -> int:
            return values.relu(entries[0], site)

        meanings.append(worked_out([m], work))
    return replace(x, meanings=tuple(meanings))
