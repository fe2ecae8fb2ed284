"""What the tensors of a converted model mean: small integers in arrays over positions.

A tensor's channels fall into classes: channels of one class have the same meaning, each about its own channel of the
pool's input. Channels folded into the batch are still counted as channels: [N, i m, ...] and [N i, m, ...] hold the
same numbers in the same order.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from depool.proof.axes import Array, Sizes
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
        items: of the batch that one sample has become; each holds an equal part of the channels, in order.
    """

    sizes: tuple[Sizes, ...]
    strides: tuple[int, ...]
    channels: Array
    classes: Array
    meanings: tuple[Array, ...]
    items: int = 1


def pool_input(values: Values, channels: int, sizes: tuple[Sizes, ...]) -> Tensor:
    """The tensor that is read: every element means itself."""
    shape = tuple(map(sum, sizes))
    itself = np.full(shape, values.exact(values.algebra.maximum([0])))
    numbers = np.arange(channels)
    return Tensor(sizes, (1,) * len(sizes), numbers, np.zeros(channels, np.int64), (itself,))


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


def sums(
    values: Values,
    columns: list[Array],
    parts: list[tuple[Fraction, int]],
    bias: Fraction,
    shape: tuple[int, ...],
    site: tuple[str, int],
) -> Array:
    """At every position, the sum of weight * value, the value so many elements further on, and a bias."""

    def work(entries: tuple[int, ...]) -> int:
        terms = [(c, values.shifted(entry, by)) for entry, (c, by) in zip(entries, parts, strict=True)]
        return values.total(terms, bias, site)

    return worked_out(columns, work) if columns else np.full(shape, values.total([], bias, site))
