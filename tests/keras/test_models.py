"""Keras' own architectures, untrained, with batch statistics that keep their activations signed and alive."""

from __future__ import annotations

import numpy as np
import pytest
from keras_backend import BACKEND, keras, pools_in, run

import depool.keras
from depool.keras import operations

ARCHITECTURES = {
    "VGG16": (48, 6),
    "ResNet50": (48, 2),
    "ResNet50V2": (48, 5),
    "InceptionV3": (75, 14),
    "Xception": (71, 5),
    "DenseNet121": (48, 5),
}
"""Image size, and how many pools there are."""
SMALL = ("VGG16", "ResNet50V2")
"""Those that are run on backends other than TensorFlow."""
EXACT = {"vgg16", "resnet50v2"}


def refilled(model, x):
    """The model with batch statistics that are those of its own activations on x, layer after layer."""
    rng = np.random.default_rng(1)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.0
            layer.beta.assign(rng.normal(0.0, 0.3, layer.beta.shape))
            if layer.gamma is not None:
                layer.gamma.assign(rng.uniform(0.7, 1.3, layer.gamma.shape))
    run(model, x, training=True)
    return model


@pytest.fixture(scope="module", params=ARCHITECTURES if BACKEND == "tensorflow" else SMALL)
def pair(request):
    """An architecture, its conversion, and an input."""
    size, count = ARCHITECTURES[request.param]
    make = getattr(keras.applications, request.param)
    keras.utils.set_random_seed(3)
    words = {"include_top": False, "pooling": "avg", "input_shape": (size, size, 3)}
    x = np.random.default_rng(0).normal(size=(16, size, size, 3)).astype(np.float32)
    model = refilled(make(weights=None, **words), x)
    return model, x[:3], count


def distance(a, b):
    """The largest difference, relative to how much the outputs vary between the images."""
    return float(np.max(np.abs(a - b)) / np.std(a - a.mean(0)))


def test_with_exact_maxima_nothing_changes_at_all(pair):
    model, x, _ = pair
    if model.name not in EXACT:
        pytest.skip("two architectures are enough here")
    new = depool.keras.convert(model, pools="max", exact=True)
    assert not any("Max" in type(operations(new)[path]).__name__ for path in pools_in(new))
    assert np.array_equal(run(model, x), run(new, x))


def test_no_pool_is_left_and_only_rounding_differs(pair):
    """Measured, since a bound at a pool does not carry through the layers behind it."""
    model, x, count = pair
    new = depool.keras.convert(model)
    assert len(pools_in(model)) == len(new.depool.records) == count
    assert not pools_in(new)
    assert not new.depool.refusals
    wanted = run(model, x)
    assert np.std(wanted - wanted.mean(0)) > 0  # alive
    assert distance(wanted, run(new, x)) < 1e-3  # 7e-4 in InceptionV3, 2e-5 in Xception


def test_another_pool_in_its_place_is_noticed(pair):
    """The same comparison fails where the first pool is replaced by one of the other kind."""
    model, x, _ = pair
    wanted = run(model, x)
    first = next(iter(pools_in(model)))
    op = operations(model)[first]
    kind = "Max" if "Average" in type(op).__name__ else "Average"

    def other(layer):
        config = layer.get_config()
        if layer.name != op.name:
            return type(layer).from_config(config)
        return getattr(keras.layers, f"{kind}Pooling2D").from_config(config)

    wrong = keras.models.clone_model(model, clone_function=other)
    wrong.set_weights(model.get_weights())
    assert distance(wanted, run(wrong, x)) > 1  # 6 at least
