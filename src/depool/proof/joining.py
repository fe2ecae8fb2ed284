"""What Add and Concat make of meanings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction

import numpy as np

from depool.proof.axes import Array
from depool.proof.offsets import packed
from depool.proof.problem import ProofError
from depool.proof.region import AddOp, ConcatOp
from depool.proof.tensors import ANY, Tensor, sums, worked_out
from depool.proof.values import Values


def add(values: Values, op: AddOp, one: Tensor, other: Tensor) -> Tensor:
    """The sum, channel by channel."""
    if one.sizes != other.sizes or one.strides != other.strides or len(one.channels) != len(other.channels):
        raise ProofError("it adds tensors that do not lie on the same positions")
    _alike(one, other)
    channels, classes, pairs = _matched([one, other])
    parts = [(Fraction(1), 0)] * 2
    meanings = []
    for i, (a, b) in enumerate(pairs):
        columns = [one.meanings[a], other.meanings[b]]
        meanings.append(sums(values, columns, parts, Fraction(0), columns[0].shape, (op.output, i)))
    return replace(one, channels=channels, classes=classes, meanings=tuple(meanings))


def _alike(*tensors: Tensor) -> None:
    if len({t.items for t in tensors}) > 1:
        raise ProofError("it joins tensors whose channels are in the batch with others")


def _matched(tensors: Sequence[Tensor]) -> tuple[Array, Array, list[tuple[int, ...]]]:
    """Channel by channel: what the tensors together are about, and which classes meet."""
    channels = np.max([t.channels for t in tensors], axis=0)
    for t in tensors:
        wrong = np.flatnonzero((t.channels != channels) & (t.channels != ANY))
        if wrong.size:
            raise ProofError(f"its channel {wrong[0]} joins different channels of the pool's input")
    together: dict[tuple[int, ...], int] = {}
    rows = zip(*(t.classes.tolist() for t in tensors), strict=True)
    classes = np.array([together.setdefault(row, len(together)) for row in rows], np.int64)
    return channels, classes, list(together)


def concat(values: Values, op: ConcatOp, read: Sequence[Tensor]) -> Tensor:
    """Tensors joined along their channels or a spatial axis."""
    first = read[0]
    if any(t.strides != first.strides for t in read):
        raise ProofError("it joins tensors of different strides")
    _alike(*read)
    if op.axis == 1:
        if any(t.sizes != first.sizes for t in read):
            raise ProofError("it joins tensors of different sizes")
        before = np.cumsum([0, *(len(t.meanings) for t in read)])
        channels = _each_item([t.channels for t in read], first.items)
        classes = _each_item([t.classes + n for t, n in zip(read, before, strict=False)], first.items)
        return replace(first, channels=channels, classes=classes, meanings=tuple(m for t in read for m in t.meanings))
    return _joined(values, op.axis - 2, read)


def _each_item(parts: Sequence[Array], items: int) -> Array:
    """What is said of channels, joined in each item of the batch."""
    return np.concatenate([part.reshape(items, -1) for part in parts], axis=1).reshape(-1)


def _joined(values: Values, axis: int, read: Sequence[Tensor]) -> Tensor:
    """A spatial Concat, of one size at a time: each part's positions move on by what lies before it."""
    first = read[0]
    others = [[s for a, s in enumerate(t.sizes) if a != axis] for t in read]
    if not 0 <= axis < len(first.sizes) or any(o != others[0] for o in others):
        raise ProofError("it joins tensors that do not fit")
    if any(len(t.sizes[axis]) > 1 for t in read):
        raise ProofError("it joins positions along an axis of dynamic size")
    channels, classes, groups = _matched(read)
    lengths = [t.sizes[axis][0] for t in read]
    meanings = []
    for group in groups:
        parts, before = [], 0
        for t, cls, length in zip(read, group, lengths, strict=True):
            by = packed(-before * s if a == axis else 0 for a, s in enumerate(t.strides))

            def work(entries: tuple[int, ...], by: int = by) -> int:
                return values.number(values.shifted(entries[0], by))

            parts.append(worked_out([t.meanings[cls]], work))
            before += length
        meanings.append(np.concatenate(parts, axis=axis))
    sizes = tuple((sum(lengths),) if a == axis else s for a, s in enumerate(first.sizes))
    return Tensor(sizes, first.strides, channels, classes, tuple(meanings), first.items)
