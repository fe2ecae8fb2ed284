"""The cases of Keras' own pooling tests and more of their kind, against pools in nested loops.

Each layer is converted and run on signed data, all-negative windows and integers among them; the result must keep the
promise of its record, and be equal with ``exact=True``. Keras' own layer is held to the same.
"""

from __future__ import annotations

import contextlib
from itertools import product

import numpy as np
import pytest
from keras_backend import BACKEND, channels_last, channels_second, keras, pools_in, run
from oracle import draw, pool

import depool.keras
from depool import NotConverted, PoolSpec

KINDS = ("normal", "negative", "integers", "ties", "mixed")
WINDOWS = {
    1: [(2, 1), (2, 2), (3, 2)],
    2: [(2, 1), (2, 2), ((2, 3), (2, 2)), ((2, 3), (3, 3)), (3, 2), (3, 1)],
    3: [(2, 1), ((2, 3, 2), (2, 2, 1))],
}
CASES = [
    (kind, rank, size, strides, padding)
    for kind in ("Max", "Average")
    for rank, windows in WINDOWS.items()
    for (size, strides), padding in product(windows, ("valid", "same"))
]
SIZES = {1: (7,), 2: (5, 6), 3: (4, 5, 3)}
CHANNELS = 3
FORMATS = ("channels_last", "channels_first")


def data(rank, exact=False):
    rng = np.random.default_rng(7)
    kinds = ("huge", *KINDS) if exact else KINDS
    return np.concatenate([draw(rng, (1, CHANNELS, *SIZES[rank]), kind, "float32") for kind in kinds])


def tuples(value, rank):
    return (value,) * rank if isinstance(value, int) else value


def converted(layer, rank, **words):
    """A model of this layer alone, and its conversion."""
    shape = (*SIZES[rank], CHANNELS) if layer.data_format == "channels_last" else (CHANNELS, *SIZES[rank])
    model = keras.Sequential([keras.Input(shape), layer])
    new = depool.keras.convert(model, **words)
    assert not pools_in(new)
    assert new.output_shape == model.output_shape
    return new


def alone(model, x, data_format=None):
    """The result of a model or layer, for x and in [N, C, ...]."""
    last = (data_format or model.data_format) == "channels_last"
    y = run(model, channels_last(x) if last else x)
    return channels_second(y) if last and y.ndim > 2 else y


def check(layer, rank, expected, largest, **words):
    """The conversion keeps its promise: `expected` and the windows' largest |x| are made from data."""
    x = data(rank)
    new = None
    with contextlib.suppress(NotConverted):
        new = converted(layer, rank, **words)
    if new is None:
        assert BACKEND in {"jax", "torch"}
        assert not np.allclose(alone(layer, x), expected(x), atol=1e-3), "refused for nothing"
        pytest.skip(f"Keras on {BACKEND} computes this pool wrongly; it is refused")
    (record,) = new.depool.records
    y, wanted = alone(new, x, layer.data_format), expected(x)
    assert y.shape == wanted.shape
    bound = record.rounding_bound(largest(np.abs(x)), "float32")
    assert np.all(np.abs(y - wanted.astype(np.float64)) <= bound)
    assert np.all(np.abs(alone(layer, x) - wanted.astype(np.float64)) <= bound)
    return new


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(("kind", "rank", "size", "strides", "padding"), CASES)
def test_windows(kind, rank, size, strides, padding, data_format):
    layer = getattr(keras.layers, f"{kind}Pooling{rank}D")(size, strides, padding, data_format)
    spec = PoolSpec(
        tuples(size, rank),
        tuples(strides, rank),
        auto_pad="SAME_UPPER" if padding == "same" else "NOTSET",
        kind=kind.lower(),
    )
    largest = PoolSpec(spec.kernel_shape, spec.strides, auto_pad=spec.auto_pad)
    check(layer, rank, lambda x: pool(x, spec), lambda x: pool(x, largest))


@pytest.mark.parametrize(("rank", "size", "strides", "padding"), [case[1:] for case in CASES if case[0] == "Max"])
def test_exact(rank, size, strides, padding):
    layer = getattr(keras.layers, f"MaxPooling{rank}D")(size, strides, padding)
    new = converted(layer, rank, exact=True)
    x = data(rank, exact=True)
    assert new.depool.records[0].rounding.bit_exact
    assert np.array_equal(alone(new, x, "channels_last"), alone(layer, x))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize(("kind", "rank"), [*product(("Max", "Average"), (1, 2, 3))])
def test_global(kind, rank, data_format, keepdims):
    layer = getattr(keras.layers, f"Global{kind}Pooling{rank}D")(data_format=data_format, keepdims=keepdims)
    axes = tuple(range(2, 2 + rank))

    def expected(x):
        return (
            x.astype(np.float64).mean(axes, keepdims=keepdims) if kind == "Average" else x.max(axes, keepdims=keepdims)
        )

    check(layer, rank, expected, lambda x: x.max(axes, keepdims=keepdims))


def adaptive(x, outputs, reduce):
    """Output i of m reads the elements floor(i n / m) ... ceil((i + 1) n / m) - 1 of n."""
    y = np.empty((*x.shape[:2], *outputs))
    for at in np.ndindex(*outputs):
        cut = tuple(slice(i * n // m, -(-(i + 1) * n // m)) for i, n, m in zip(at, x.shape[2:], outputs, strict=True))
        y[(..., *at)] = reduce(x[(..., *cut)].astype(np.float64), axis=tuple(range(2, x.ndim)))
    return y


@pytest.mark.parametrize("data_format", FORMATS)
@pytest.mark.parametrize("outputs", [(2,), (7,), (3,), (5, 2), (3, 4), (1, 1), (2, 2, 3), (1, 5, 2)])
@pytest.mark.parametrize("kind", ["Max", "Average"])
def test_adaptive(kind, outputs, data_format):
    layer = getattr(keras.layers, f"Adaptive{kind}Pooling{len(outputs)}D")(outputs, data_format)
    reduce = np.max if kind == "Max" else np.mean
    check(layer, len(outputs), lambda x: adaptive(x, outputs, reduce), lambda x: adaptive(x, outputs, np.max))


@pytest.mark.parametrize("form", ["concat", "sequential"])
@pytest.mark.parametrize(("rank", "size", "strides"), [(1, 3, 2), (2, 2, 2), (2, 3, 1), (3, 2, 2)])
def test_forms(form, rank, size, strides):
    layer = getattr(keras.layers, f"MaxPooling{rank}D")(size, strides)
    spec = PoolSpec(tuples(size, rank), tuples(strides, rank))
    new = check(layer, rank, lambda x: pool(x, spec), lambda x: pool(x, spec), form=form)
    kinds = {type(op).__name__ for op in new.layers[-1].layers}
    assert ("Add" in kinds) == (form == "concat")


def test_another_pool_is_noticed():
    """The comparison is one that can fail: an average pool in the place of the maximum breaks the bound at once."""
    layer = keras.layers.MaxPooling2D(2)
    spec = PoolSpec((2, 2), (2, 2), kind="average")
    with pytest.raises(AssertionError):
        check(layer, 2, lambda x: pool(x, spec), lambda x: pool(x, PoolSpec((2, 2), (2, 2))))
    assert keras.backend.backend() == BACKEND
