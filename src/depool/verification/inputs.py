"""Inputs that can tell a right pool from a wrong one.

Uniform numbers in [0, 1) are blind: to signs, to borders (0 is the least of them), and in float32 even to
rounding, being multiples of 2^-24. These are not.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import isfinite, prod
from typing import Any

import numpy as np

from depool.geometry import Size
from depool.numerics import TYPES, safe, unit_roundoff
from depool.program import Array
from depool.record import Record

BUDGET = 4_000_000
"""Elements of one input; larger pools get fewer samples."""
SPIKES = 40_000_000
"""Elements of all inputs with spikes together."""


def pool_inputs(record: Record, rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    """(kind, x) for one pool: x of [N, C, *spatial], inside the facts, at several sizes where dynamic."""
    for sizes in spatial_sizes(record):
        shape = (2, record.channels, *sizes)
        if prod(shape) > BUDGET:
            shape = (1, *shape[1:])
        drawn = _integers if record.dtype in {"int8", "uint8"} else _drawn
        for kind, values in drawn(record, shape, rng):
            inside = _inside(values, record, rng)
            yield kind if inside is values else f"{kind}, folded into its range", _typed(inside, record)
        for values in _spikes(record, sizes, rng):
            yield "one hot spike", _typed(_inside(values, record, rng), record)


def pool_input(record: Record, batch: int, sizes: tuple[int, ...], rng: np.random.Generator) -> Array:
    """One input for a pool, [batch, C, *sizes]: signed normal numbers folded into the facts, or any integers."""
    drawn = _integers if record.dtype in {"int8", "uint8"} else _drawn
    _, values = next(drawn(record, (batch, record.channels, *sizes), rng))
    return _typed(_inside(values, record, rng), record)


def spatial_sizes(record: Record) -> list[tuple[int, ...]]:
    """The static sizes, or for dynamic ones a small, an odd, an even and an uneven choice."""
    spec = record.spec
    extents = [(k - 1) * d + 1 for k, d in zip(spec.kernel_shape, spec.dilations, strict=True)]
    choices: list[list[int]] = []
    for size, e, s in zip(record.sizes, extents, spec.strides, strict=True):
        choices.append([size] if size is not None else [e, 2 * e + s, 2 * e + 2 * s + 1, 3 * e + s + 2])
    longest = max(map(len, choices))
    picked = [tuple(c[(i + axis) % len(c)] for axis, c in enumerate(choices)) for i in range(longest)]
    return list(dict.fromkeys([tuple(c[0] for c in choices), *picked]))


def _integers(record: Record, shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    info = np.iinfo(record.dtype)
    yield "all integers", rng.integers(info.min, info.max + 1, shape).astype(np.float64)
    yield "lowest and highest", rng.choice([info.min, info.max], shape).astype(np.float64)
    yield "low integers", info.min + rng.integers(0, 3, shape).astype(np.float64)
    yield "high integers", info.max - rng.integers(0, 3, shape).astype(np.float64)


def _drawn(record: Record, shape: tuple[int, ...], rng: np.random.Generator) -> Iterator[tuple[str, Array]]:
    signs = rng.choice([-1.0, 1.0], shape)
    top = _safe(record)
    digits = np.log10(top)
    yield "signed normal", rng.normal(size=shape)
    if record.facts.signed:
        yield "all negative", -np.abs(rng.normal(size=shape)) - 0.01
    yield "mixed magnitudes", signs * 10.0 ** rng.uniform(-min(digits, 30), min(digits, 30) - 0.5, shape)
    yield "integers", rng.integers(-128, 128, shape).astype(np.float64)
    yield "ties", rng.integers(-1, 2, shape).astype(np.float64)
    yield "near overflow", signs * top * rng.uniform(0.5, 1.0, shape)
    yield "neighbours", 1.0 + rng.integers(-4, 5, shape) * _eps(record)


def _safe(record: Record) -> float:
    """The largest |x| for which the promise is made."""
    return safe(record.rounding, TYPES.get(record.dtype, record.dtype))


def _eps(record: Record) -> float:
    return 2 * unit_roundoff(TYPES.get(record.dtype, record.dtype))


def _inside(values: Array, record: Record, rng: np.random.Generator) -> Array:
    """Values outside the facts' range are folded into it."""
    low, high = record.facts.lower, record.facts.upper
    outside = (values < low) | (values > high)
    if not outside.any():
        return values
    if isfinite(low) and isfinite(high):
        folded = low + rng.random(values.shape) * (high - low)
    elif isfinite(low):
        folded = low + np.abs(values - low)
    else:
        folded = high - np.abs(values - high)
    return np.where(outside, np.clip(folded, low, high), values)


def _typed(values: Array, record: Record) -> Array:
    """Rounded to the type, and still inside the range."""
    dtype = np.dtype(TYPES.get(record.dtype, record.dtype))
    top = _safe(record)
    if dtype.kind in "iu":
        whole: Array = np.clip(values, np.iinfo(dtype).min, top).astype(dtype)
        return whole
    typed: Array = np.clip(np.clip(values, -top, top), record.facts.lower, record.facts.upper).astype(dtype)
    return typed


def _spikes(record: Record, sizes: tuple[int, ...], rng: np.random.Generator) -> Iterator[Array]:
    """A hot element at every position of every window, the borders included, each window holding one.

    Spikes stand on a lattice wider than a window; the lattice is moved through all its offsets.
    """
    spec = record.spec
    periods = [
        min((k - 1) * d + 1 + s, n)
        for k, d, s, n in zip(spec.kernel_shape, spec.dilations, spec.strides, sizes, strict=True)
    ]
    offsets = list(product(*map(range, periods)))
    most = max(record.channels, SPIKES // prod(sizes))
    if len(offsets) > most:  # a very large window: a sample of its positions
        offsets = [offsets[i] for i in sorted(rng.choice(len(offsets), most, replace=False))]
    per = max(1, BUDGET // (record.channels * prod(sizes)))
    low = max(record.facts.lower, -3.0)
    high = min(record.facts.upper, max(5.0, low + 8.0))
    for start in range(0, len(offsets), record.channels * per):
        part = offsets[start : start + record.channels * per]
        samples = -(-len(part) // record.channels)
        values = low + (high - low) * 0.25 * rng.random((samples * record.channels, *sizes))
        for row, offset in enumerate(part):
            lattice: Any = tuple(slice(o, None, p) for o, p in zip(offset, periods, strict=True))
            values[(row, *lattice)] = high
        yield values.reshape(samples, record.channels, *sizes)


def dims_of(shape: tuple[Size | str, ...], spatial: tuple[int, ...], batch: int) -> tuple[int, ...]:
    """A model input's dimensions with the dynamic ones filled in: the first is the batch."""
    rest = iter(spatial * len(shape))
    filled = []
    for axis, size in enumerate(shape):
        if isinstance(size, int):
            filled.append(size)
        else:
            filled.append(batch if axis == 0 else next(rest))
    return tuple(filled)


MODEL_KINDS = ("signed normal", "images in [0, 1)", "all negative", "integers")


def model_values(kind: str, rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> Array:
    """Values of one of MODEL_KINDS for a model's floating-point input, inside its declared range."""
    if kind == "signed normal":
        values = rng.normal(size=shape)
    elif kind == "images in [0, 1)":
        values = rng.random(shape)
    elif kind == "all negative":
        values = -np.abs(rng.normal(size=shape)) - 0.01
    else:
        values = rng.integers(-8, 9, shape).astype(np.float64)
    if isfinite(low) and isfinite(high) and not low <= values.min() <= values.max() <= high:
        values = low + (high - low) * rng.random(shape)
    return np.clip(values, low, high)
