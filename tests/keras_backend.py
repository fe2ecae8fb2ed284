"""Keras for the tests, on the backend that KERAS_BACKEND names, or tensorflow; they are skipped where it is absent."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
BACKEND = os.environ["KERAS_BACKEND"]

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the frameworks deprecate in each other while they are imported
    pytest.importorskip(BACKEND, reason=f"Keras' backend {BACKEND} is not installed")
    keras = pytest.importorskip("keras.layers", reason="keras is not installed") and pytest.importorskip("keras")


def array(value):
    """A tensor as a NumPy array."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # Keras, of PyTorch's tensors
        return np.asarray(keras.ops.convert_to_numpy(value))


def run(model, x, **words):
    """The model's result as a NumPy array."""
    return array(model(keras.ops.convert_to_tensor(x), **words))


def channels_last(x):
    """[N, C, ...] as [N, ..., C]."""
    return np.ascontiguousarray(np.moveaxis(x, 1, -1))


def channels_second(x):
    """[N, ..., C] as [N, C, ...]."""
    return np.ascontiguousarray(np.moveaxis(x, -1, 1))


def pools_in(model):
    """The paths of all pools that a model holds, at any depth."""
    from depool.keras import operations

    return [path for path, op in operations(model).items() if "Pool" in type(op).__name__]
