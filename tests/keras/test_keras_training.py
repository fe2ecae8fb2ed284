"""Training goes on through a converted model: its gradients are the pool's, and its own weights stay."""

from __future__ import annotations

import numpy as np
import pytest
from keras_backend import BACKEND, array, keras, run

import depool.keras
from depool.keras import operations

layers = keras.layers


def gradient(model, x, seed):
    """Of the sum of seed * model(x), with respect to x."""
    if BACKEND == "tensorflow":
        import tensorflow as tf

        x = tf.constant(x)
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(model(x) * seed)
        return array(tape.gradient(total, x))
    if BACKEND == "jax":
        import jax

        return array(jax.grad(lambda x: (model(x) * seed).sum())(x))
    import torch

    x = torch.tensor(x, requires_grad=True)
    (model(x) * torch.tensor(seed)).sum().backward()
    return x.grad.numpy()


@pytest.mark.parametrize("form", ["branched", "concat", "sequential"])
@pytest.mark.parametrize(
    "layer",
    [
        lambda: layers.MaxPooling2D(2),
        lambda: layers.MaxPooling2D(3, 2),
        lambda: layers.AveragePooling2D(3, 1),
        lambda: layers.GlobalMaxPooling2D(keepdims=True),
    ],
)
def test_gradients_are_the_pools_where_the_maximum_is_unique(layer, form):
    """Integers, each of them once, so that no sum rounds and every comparison is decided."""
    rng = np.random.default_rng(2)
    x = (rng.permutation(2 * 8 * 8 * 3).reshape(2, 8, 8, 3) - 190).astype(np.float32)
    model = keras.Sequential([keras.Input((8, 8, 3)), layer()])
    new = depool.keras.convert(model, form=form)
    seed = rng.integers(1, 9, run(model, x).shape).astype(np.float32)
    np.testing.assert_allclose(gradient(new, x, seed), gradient(model, x, seed), rtol=1e-6)


def test_at_ties_the_gradient_goes_to_one_element():
    """r'(0) = 0: of equal elements, the second of each pair gets all, as max(a, b) = r(a - b) + b says."""
    x = np.zeros((1, 2, 2, 1), np.float32)
    new = depool.keras.convert(keras.Sequential([keras.Input((2, 2, 1)), layers.MaxPooling2D(2)]), scheme="tree")
    assert gradient(new, x, np.ones((1, 1, 1, 1), np.float32)).ravel().tolist() == [0, 0, 0, 1]


def network():
    start = keras.Input((12, 12, 2))
    x = layers.Conv2D(6, 3, activation="relu", name="a")(start)
    x = layers.MaxPooling2D(2, name="p")(x)
    x = layers.BatchNormalization(name="n")(layers.Conv2D(8, 3, padding="same", name="b")(x))
    x = layers.MaxPooling2D(3, 2, "same", name="q")(x)
    return keras.Model(start, layers.Dense(2, name="d")(layers.GlobalAveragePooling2D(name="g")(x)))


def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(64, 12, 12, 2)).astype(np.float32)
    return x, np.stack([x.max((1, 2, 3)), x.mean((1, 2, 3))], 1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # Keras' own while it trains
def test_training_reduces_the_loss_and_leaves_the_pools_alone():
    keras.utils.set_random_seed(1)
    model, (x, y) = network(), problem()
    model.compile(keras.optimizers.SGD(0.05), loss="mse", metrics=["mae"])
    model.fit(x, y, epochs=1, verbose=0)
    new = depool.keras.convert(model)
    assert new.evaluate(x, y, verbose=0) == pytest.approx(model.evaluate(x, y, verbose=0), rel=1e-5)
    pools = [operations(new)[record.where] for record in new.depool.records]
    before = [array(v.value).copy() for pool in pools for v in pool.weights]
    rest = [array(v.value).copy() for v in new.trainable_variables]
    losses = new.fit(x, y, epochs=5, verbose=0).history["loss"]
    assert losses[-1] < 0.9 * losses[0]
    assert len(pools) == 3
    after = [array(v.value) for pool in pools for v in pool.weights]
    assert all(np.array_equal(*pair) for pair in zip(before, after, strict=True))
    assert not any(np.array_equal(a, array(v.value)) for a, v in zip(rest, new.trainable_variables, strict=True))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # Keras' own while it trains
def test_the_optimizer_goes_on_from_its_state(frozen):
    """One more step of Adam is the same on the original and on its conversion, to rounding."""
    keras.utils.set_random_seed(1)
    model, (x, y) = network(), problem()
    model.compile(keras.optimizers.Adam(0.01), loss=keras.losses.Huber())
    model.fit(x, y, epochs=2, verbose=0, shuffle=False)
    if frozen:
        model.get_layer("b").trainable = False
    new = depool.keras.convert(model)
    assert int(array(new.optimizer.iterations.value)) == int(array(model.optimizer.iterations.value)) > 0
    for made in () if frozen else (model, new):
        made.fit(x, y, epochs=1, verbose=0, shuffle=False)
    for a, b in zip(model.trainable_variables, new.trainable_variables, strict=True):
        np.testing.assert_allclose(array(a.value), array(b.value), rtol=1e-2, atol=1e-3)
    assert [v.path for v in new.trainable_variables] == [v.path for v in model.trainable_variables]
