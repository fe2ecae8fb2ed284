"""What is known of the values of a scope so far: bounds that were derived, and constants, read when first asked for."""

from __future__ import annotations

import math
from collections import ChainMap
from collections.abc import Callable, Iterator, Mapping, Set
from typing import NamedTuple, TypeVar

import numpy as np
import onnx

from depool.onnx.bounds.interval import Interval
from depool.onnx.bounds.rounding import FLOATS, INTEGERS
from depool.onnx.graph import Array, Scope

# what odd models make rules and readers of constants raise; then nothing is known
ODD = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError, onnx.checker.ValidationError)
SMALL = 2**14  # arrays up to this size are kept, of larger ones only what was asked for
T = TypeVar("T")
A = TypeVar("A")


def attempt(function: Callable[[A], T | None], argument: A) -> T | None:
    """The function's value; None where the model is too odd for it."""
    try:
        return function(argument)
    except ODD:
        return None


class Sums(NamedTuple):
    """A weight's sums of positive and of negative entries, for each output channel, and the number of entries."""

    positive: Array
    negative: Array
    terms: int


class Around(Mapping[str, Interval]):
    """What is known around a scope, but for the names to which the scope gives a meaning of its own.

    A view, since a copy for each of many small scopes would take time and memory that grow as their product.
    """

    def __init__(self, outer: Mapping[str, Interval], own: Set[str]) -> None:
        self._outer, self._own = outer, own

    def __getitem__(self, name: str) -> Interval:
        if name in self._own:
            raise KeyError(name)
        return self._outer[name]

    def __iter__(self) -> Iterator[str]:
        return (name for name in self._outer if name not in self._own)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class Values:
    """The values of a scope.

    Attributes:
        derived: what was derived of each value of the scope that is no constant.
        known: that, and what is known of the values around.
        constants: the range of each constant that was read.
    """

    def __init__(self, scope: Scope, around: Around) -> None:
        self.derived: dict[str, Interval] = {}
        self.known: Mapping[str, Interval] = ChainMap(self.derived, around)  # type: ignore[arg-type] # only read
        self.constants: dict[str, Interval] = {}
        self._scope = scope
        self._arrays: dict[str, Array | None] = {}
        self._sums: dict[tuple[str, int | None], Sums | None] = {}

    def interval(self, name: str) -> Interval:
        """What is known of a value; a constant is read now."""
        if name in self.known:
            return self.known[name]
        if name not in self.constants:
            array = self.array(name)
            self.constants[name] = Interval() if array is None else _range(array)
        return self.constants[name]

    def point(self, name: str) -> float | None:
        """The number that every element of a value equals, if so."""
        low, high = self.interval(name).bounds
        return low if low == high and math.isfinite(low) else None

    def array(self, name: str) -> Array | None:
        """A constant's array; None for other values, and where its file is missing."""
        if name in self._arrays:
            return self._arrays[name]
        array = None if name in self.known else attempt(self._scope.constant, name)
        if array is None or array.size <= SMALL:
            self._arrays[name] = array
        return array

    def sums(self, name: str, axis: int | None) -> Sums | None:
        """The sums of a constant's entries over the last or last but one axis, or over all but the first (None)."""
        if (name, axis) not in self._sums:
            array = self.array(name)
            self._sums[name, axis] = None if array is None or array.size * array.ndim == 0 else _sums(array, axis)
        return self._sums[name, axis]


def _range(array: Array) -> Interval:
    """The smallest and largest element."""
    dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    if array.size == 0 or (dtype not in FLOATS and dtype not in INTEGERS):
        return Interval(dtype=dtype)
    numbers = array if array.dtype.kind in "biuf" else array.astype(np.float32)
    low, high = float(numbers.min()), float(numbers.max())
    return Interval(dtype=dtype) if math.isnan(low) else Interval(low, high, "constant", dtype)


def _sums(array: Array, axis: int | None) -> Sums:
    weights = array.astype(np.float64)
    if axis is None:
        rows = weights.reshape(len(weights), -1)
    else:
        moved = np.moveaxis(weights, max(axis, -weights.ndim), -1)  # a vector has but one axis
        rows = moved.reshape(-1, moved.shape[-1])
    return Sums(np.maximum(rows, 0).sum(1), np.minimum(rows, 0).sum(1), rows.shape[1])
