"""What is known of a pool's input: what is called >= 0 is so on wild data, and the rest is shown not to be."""

from __future__ import annotations

import numpy as np
import pytest
from keras_backend import keras, run

import depool.keras

layers, ops = keras.layers, keras.ops
SHAPE = (6, 6, 2)


def signed(x):
    return layers.Conv2D(2, 1)(x)


def positive(x):
    return layers.Conv2D(2, 1, activation="relu")(x)


def after(*made, start=positive):
    """A function that puts layers behind one another."""

    def call(x):
        x = start(x)
        for layer in made:
            x = layer()(x)
        return x

    return call


def inside(x, negate):
    """A nested model, called twice: what holds of its pool must hold for both calls."""
    inner = keras.Sequential([keras.Input(SHAPE), layers.MaxPooling2D(3, 1, "same", name="pool")])
    first = inner(positive(x))
    return layers.Concatenate()([first, inner(-first if negate else first)])


NONNEGATIVE = {
    "relu": lambda x: layers.ReLU()(signed(x)),
    "relu6": lambda x: layers.ReLU(max_value=6.0)(signed(x)),
    "threshold": lambda x: layers.ReLU(threshold=1.0)(signed(x)),
    "operation": lambda x: ops.relu(signed(x)),
    "function": lambda x: keras.activations.relu(signed(x)),
    "activation": lambda x: layers.Activation("sigmoid")(signed(x)),
    "softplus": lambda x: layers.Dense(2, activation="softplus")(signed(x)),
    "softmax": lambda x: layers.Softmax()(signed(x)),
    "joined": lambda x: layers.Concatenate()([positive(x), layers.ReLU()(x)]),
    "sum": lambda x: layers.Add()([positive(x), positive(x)]),
    "product": lambda x: positive(x) * positive(x),
    "padded": after(lambda: layers.ZeroPadding2D(1), lambda: layers.Dropout(0.3)),
    "pooled": after(lambda: layers.AveragePooling2D(2, 1), lambda: layers.MaxPooling2D(2, 1)),
    "reshaped": after(lambda: layers.Permute((2, 1, 3)), lambda: layers.Reshape((4, 9, 2))),
    "enlarged": after(lambda: layers.UpSampling2D(2, interpolation="bilinear")),
    "nested": lambda x: inside(x, negate=False),
}
SIGNED = {
    "nothing": lambda x: x,
    "convolution": signed,
    "leaky": lambda x: layers.ReLU(negative_slope=0.1)(signed(x)),
    "leaky function": lambda x: keras.activations.relu(signed(x), negative_slope=0.5),
    "cut off below zero": lambda x: keras.activations.relu(signed(x), threshold=-0.5),
    "tanh": lambda x: layers.Dense(2, activation="tanh")(signed(x)),
    "elu": lambda x: layers.Activation("elu")(signed(x)),
    "half joined": lambda x: layers.Concatenate()([positive(x), signed(x)]),
    "half a sum": lambda x: layers.Add()([positive(x), signed(x)]),
    "difference": lambda x: layers.Subtract()([positive(x), positive(x)]),
    "negated": lambda x: -positive(x),
    "times a constant": lambda x: positive(x) * -2.0,
    "plus a constant": lambda x: positive(x) - 1.0,
    "normalised": after(layers.LayerNormalization),
    "own code": lambda x: layers.Lambda(lambda t: -t)(positive(x)),
    "cubic": after(lambda: layers.UpSampling2D(2, interpolation="bicubic")),
    "nested": lambda x: inside(x, negate=True),
}


def border(make):
    """What was said of the last pool's input, and the least value that it really has."""
    keras.utils.set_random_seed(5)
    start = keras.Input(SHAPE)
    seen = make(start)
    model = keras.Model(start, layers.MaxPooling2D(3, 1, "same", name="last")(seen))
    new = depool.keras.convert(model)
    by_name = {record.where.rpartition("/")[2]: record for record in new.depool.records}
    data = 30 * np.random.default_rng(0).normal(size=(8, *SHAPE)).astype(np.float32)
    np.testing.assert_allclose(run(model, data), run(new, data), rtol=1e-4, atol=1e-3)
    return by_name, float(run(keras.Model(start, seen), data).min())


@pytest.mark.parametrize("name", NONNEGATIVE)
def test_what_is_known_to_be_nonnegative_is(name):
    records, least = border(NONNEGATIVE[name])
    assert records["last"].border == "zero"
    assert records["last"].facts.reason.startswith("behind")
    assert least >= 0
    if name == "nested":
        assert records["pool"].border == "zero"


@pytest.mark.parametrize("name", SIGNED)
def test_what_is_not_known_is_signed(name):
    records, least = border(SIGNED[name])
    assert records["last"].border == "edge"
    assert least < 0
    if name == "nested":
        assert records["pool"].border == "edge"


def test_a_random_factor_may_be_negative():
    """While training; otherwise the layer does nothing, so no data shows it."""
    records, _ = border(after(lambda: layers.GaussianDropout(0.9)))
    assert records["last"].border == "edge"


def test_the_user_may_know_more():
    model = keras.Sequential([keras.Input(SHAPE), layers.MaxPooling2D(3, 1, "same")])
    (record,) = depool.keras.convert(model, assume_nonnegative=True).depool.records
    assert record.facts.declared
    assert record.border == "zero"
