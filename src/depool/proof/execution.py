"""Run the converted nodes on meanings instead of numbers.

A tensor's channels fall into classes: channels of one class have the same meaning, each about its own channel of the
pool's input. Meanings are small integers in arrays over the positions, so each distinct situation is worked out once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product

import numpy as np

from depool.proof.axes import Array, Sizes, slide
from depool.proof.offsets import packed
from depool.proof.problem import ProofError
from depool.proof.region import AddOp, ConcatOp, ConvOp, Op, ReluOp
from depool.proof.values import Values

ANY = -1
"""The channel of a tensor's channel that holds a constant."""


@dataclass(frozen=True, eq=False)
class Tensor:
    """What a tensor means.

    Attributes:
        sizes: per spatial axis, the sizes that are looked at together.
        strides: elements of the pool's input per position.
        channels: of each channel, the channel of the pool's input that it is about, or ANY.
        classes: of each channel, its class.
        meanings: of each class, the meaning at every position, relative to position * stride.
    """

    sizes: tuple[Sizes, ...]
    strides: tuple[int, ...]
    channels: Array
    classes: Array
    meanings: tuple[Array, ...]


def pool_input(values: Values, channels: int, sizes: tuple[Sizes, ...]) -> Tensor:
    """The tensor that is read: every element means itself."""
    shape = tuple(map(sum, sizes))
    itself = np.full(shape, values.exact(values.algebra.maximum([0])))
    numbers = np.arange(channels)
    return Tensor(sizes, (1,) * len(sizes), numbers, np.zeros(channels, np.int64), (itself,))


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
                made = _conv(values, op, read[0])
            elif isinstance(op, ReluOp):
                made = _relu(values, op, read[0])
            elif isinstance(op, AddOp):
                made = _add(values, op, read[0], read[1])
            else:
                made = _concat(values, op, read)
        except ProofError as error:
            raise ProofError(f"node {op.name!r}: {error}") from error
        tensors[op.output] = made
    return tensors


def _known(tensors: dict[str, Tensor], name: str) -> Tensor:
    if name not in tensors:
        raise ProofError(f"it reads {name!r} before that is computed")
    return tensors[name]


def worked_out(columns: Sequence[Array], work: Callable[[tuple[int, ...]], int]) -> Array:
    """`work` applied to each distinct combination of entries at the same place."""
    flat = [np.ascontiguousarray(column).reshape(-1) for column in columns]
    key = flat[0]
    for column in flat[1:]:
        _, key = np.unique(key, return_inverse=True)
        key = key.astype(np.int64) * (int(column.max(initial=0)) + 1) + column
    _, first, inverse = np.unique(key, return_index=True, return_inverse=True)
    results = np.array([work(tuple(int(column[i]) for column in flat)) for i in first], np.int64)
    return results[inverse].reshape(columns[0].shape)


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
            out[np.ix_(*block)] = _sums(values, columns, parts, Fraction(bias), tuple(map(len, block)), site)
        meanings.append(out)
    strides = tuple(s * axis.stride for s, axis in zip(x.strides, op.axes, strict=True))
    return Tensor(tuple(t.sizes for t in taps), strides, channels, classes, tuple(meanings))


def _sums(
    values: Values,
    columns: list[Array],
    parts: list[tuple[Fraction, int]],
    bias: Fraction,
    shape: tuple[int, ...],
    site: tuple[str, int],
) -> Array:
    def work(entries: tuple[int, ...]) -> int:
        terms = [(c, values.shifted(entry, by)) for entry, (c, by) in zip(entries, parts, strict=True)]
        return values.total(terms, bias, site)

    return worked_out(columns, work) if columns else np.full(shape, values.total([], bias, site))


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
    return Tensor(x.sizes, x.strides, x.channels, x.classes, tuple(meanings))


def _add(values: Values, op: AddOp, one: Tensor, other: Tensor) -> Tensor:
    if one.sizes != other.sizes or one.strides != other.strides or len(one.channels) != len(other.channels):
        raise ProofError("it adds tensors that do not lie on the same positions")
    channels, classes, pairs = _matched([one, other])
    parts = [(Fraction(1), 0)] * 2
    meanings = []
    for i, (a, b) in enumerate(pairs):
        columns = [one.meanings[a], other.meanings[b]]
        meanings.append(_sums(values, columns, parts, Fraction(0), columns[0].shape, (op.output, i)))
    return Tensor(one.sizes, one.strides, channels, classes, tuple(meanings))


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


def _concat(values: Values, op: ConcatOp, read: Sequence[Tensor]) -> Tensor:
    first = read[0]
    if any(t.strides != first.strides for t in read):
        raise ProofError("it joins tensors of different strides")
    if op.axis == 1:
        if any(t.sizes != first.sizes for t in read):
            raise ProofError("it joins tensors of different sizes")
        before = np.cumsum([0, *(len(t.meanings) for t in read)])
        channels = np.concatenate([t.channels for t in read])
        classes = np.concatenate([t.classes + n for t, n in zip(read, before, strict=False)])
        return Tensor(first.sizes, first.strides, channels, classes, tuple(m for t in read for m in t.meanings))
    return _joined(values, op.axis - 2, read)


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
    return Tensor(sizes, first.strides, channels, classes, tuple(meanings))
