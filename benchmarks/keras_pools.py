"""Keras' pools against converted ones, compiled, one processor; rows as JSON on standard output.

One backend in a process: --backend tensorflow (a tf.function) or jax (a jitted stateless_call, the weights as
arguments). Each is what the backend's users run; predict_on_batch adds the same constant to both sides.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from geometries import KERAS
from rows import Effort, Row, dump, rows_of


def pools(backend: str, effort: Effort) -> Iterator[Row]:
    """Each geometry, channels last as Keras has them."""
    import keras

    import depool

    for geometry in KERAS:
        _, channels, *spatial = geometry.shape
        padding = "same" if geometry.padded else "valid"
        given = keras.Input(batch_shape=(1, *spatial, channels))
        native = keras.Model(given, keras.layers.MaxPooling2D(geometry.kernel, geometry.strides, padding)(given))
        converted = depool.keras.convert(native, assume_nonnegative=True)
        x = np.abs(np.random.default_rng(0).normal(size=(1, *spatial, channels))).astype(np.float32)
        integers = np.floor(100 * x)
        if not np.array_equal(*(np.asarray(model.predict_on_batch(integers)) for model in (native, converted))):
            raise ValueError(f"{geometry.name}: the conversion is no max pool")
        compiled = _tensorflow if backend == "tensorflow" else _jax
        calls = {"native": compiled(native, x), "depool": compiled(converted, x)}
        yield from rows_of(f"keras {backend}", geometry.name, effort.time(calls), "native")


def _tensorflow(model: Any, x: Any) -> Callable[[], Any]:
    import tensorflow as tf

    fixed = tf.constant(x)
    function = tf.function(lambda value: model(value, training=False)).get_concrete_function(fixed)
    return lambda: function(fixed)


def _jax(model: Any, x: Any) -> Callable[[], Any]:
    import jax

    fixed = jax.numpy.asarray(x)
    state = ([v.value for v in model.trainable_variables], [v.value for v in model.non_trainable_variables])
    function = jax.jit(lambda *arguments: model.stateless_call(*arguments, training=False)[0])
    return lambda: jax.block_until_ready(function(*state, fixed))


def _one_processor() -> None:
    """Before a backend is imported: neither takes its number of threads from anywhere else for certain."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backend", choices=["tensorflow", "jax"], required=True)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--clock", default="wall")
    chosen = parser.parse_args()
    os.environ |= {"KERAS_BACKEND": chosen.backend, "TF_CPP_MIN_LOG_LEVEL": "3", "JAX_PLATFORMS": "cpu"}
    _one_processor()
    found = list(pools(chosen.backend, Effort(chosen.seconds, chosen.clock)))
    sys.stdout.flush()
    dump(found)
