"""What a layer holds beside its configuration and variables: a copy has it too, or there is none."""

from __future__ import annotations

import numpy as np
import pytest
from keras_backend import array, keras, pools_in, run

import depool.keras
from depool import NotConverted

layers = keras.layers


def signed(*shape):
    """Data with all-negative windows."""
    return (np.random.default_rng(0).normal(size=shape) - 1.0).astype(np.float32)


def model_of(shape, *made):
    return keras.Sequential([keras.Input(shape), *made])


class Counted(layers.Layer):
    """A layer that writes something of its own into files, beside its variables."""

    def __init__(self, **words):
        super().__init__(**words)
        self.factor = 1.0

    def save_own_variables(self, store):
        super().save_own_variables(store)
        store["factor"] = self.factor

    def load_own_variables(self, store):
        self.factor = float(store.pop("factor"))
        super().load_own_variables(store)

    def call(self, x):
        return x * self.factor


def adapted(layer, data):
    layer.adapt(data)
    return layer


def test_adapted_means_are_kept():
    data = (3 * np.random.default_rng(0).normal(size=(20, 8, 8, 3)) + 5).astype(np.float32)
    model = model_of((8, 8, 3), adapted(layers.Normalization(), data), layers.MaxPooling2D(2))
    new = depool.keras.convert(model, exact=True)
    x = signed(2, 8, 8, 3)
    assert np.array_equal(run(model, x), run(new, x))


def test_what_a_class_writes_into_files_is_kept():
    scaled = Counted()
    scaled.factor = 3.0
    model = model_of((8, 8, 3), scaled, layers.MaxPooling2D(2))
    new = depool.keras.convert(model, exact=True)
    x = signed(2, 8, 8, 3)
    assert np.array_equal(run(model, x), run(new, x))


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, of PyTorch's tensors
@pytest.mark.filterwarnings("ignore:Explicitly requested dtype int64:UserWarning")  # JAX, of every integer input
def test_tables_are_kept():
    pytest.importorskip("tensorflow", reason="Keras keeps tables in TensorFlow, whatever its backend")
    start = keras.Input((8,), dtype="int64")
    codes = adapted(layers.IntegerLookup(), np.array([3, 5, 7, 9]))(start)
    model = keras.Model(start, layers.MaxPooling1D(2)(layers.Embedding(6, 3)(codes)))
    new = depool.keras.convert(model, exact=True)
    x = np.arange(16).reshape(2, 8)
    assert np.array_equal(run(model, x), run(new, x))


def patched(call):
    """Another function in the place of a layer's call."""
    return lambda x: -call(x)


class Holder(layers.Layer):
    """A layer that is given its pool."""

    def __init__(self, pool, **words):
        super().__init__(**words)
        self.pool = pool

    def get_config(self):
        return {**super().get_config(), "pool": keras.saving.serialize_keras_object(self.pool)}

    @classmethod
    def from_config(cls, config):
        return cls(**{**config, "pool": keras.saving.deserialize_keras_object(config["pool"])})

    def call(self, x):
        return self.pool(x)


class Twice(layers.Layer):
    """One pool, held by two layers."""

    def __init__(self, **words):
        super().__init__(**words)
        pool = layers.MaxPooling2D(2)
        self.first, self.second = Holder(pool), Holder(pool)

    def call(self, x):
        return self.second(self.first(x))


def test_a_pool_that_two_layers_share_is_exchanged_in_both():
    model = model_of((8, 8, 2), Twice(name="twice"))
    new = depool.keras.convert(model)
    assert len(new.depool.records) == 1
    assert not pools_in(new)
    x = signed(2, 8, 8, 2)
    np.testing.assert_allclose(run(model, x), run(new, x), rtol=1e-5, atol=1e-6)


def test_a_pool_with_a_call_of_its_own_is_refused_and_keeps_it():
    held = layers.MaxPooling2D(2)
    model = model_of((4, 4, 1), Holder(held))
    mine = held.call = patched(held.call)
    with pytest.raises(NotConverted, match=r"CUSTOM_POOL.*its call was replaced"):
        depool.keras.convert(model)
    assert vars(held)["call"] is mine


class Scaled(layers.Layer):
    """A layer whose factor is not in its configuration."""

    factor = 1.0

    def call(self, x):
        return x * self.factor


class Asking(layers.Layer):
    """A layer that asks what class its pool has."""

    def __init__(self, **words):
        super().__init__(**words)
        self.pool = layers.MaxPooling2D(2)

    def call(self, x):
        return self.pool(-x if isinstance(self.pool, layers.MaxPooling2D) else x)


def set_afterwards(shape):
    scaled = Scaled()
    scaled.factor = 3.0
    return model_of(shape, scaled, layers.MaxPooling2D(2))


def set_in_an_integer_model(shape):
    scaled = Scaled()
    scaled.factor = 3.0
    start = keras.Input(shape[:1], dtype="int32")
    return keras.Model(start, layers.MaxPooling1D(2)(scaled(layers.Embedding(2, 3)(start))))


def patched_call(shape):
    conv = layers.Conv2D(2, 3)
    model = model_of(shape, conv, layers.MaxPooling2D(2))
    conv.call = patched(conv.call)
    return model


LOST = {
    "an attribute set afterwards": set_afterwards,
    "in a model of integers": set_in_an_integer_model,
    "a call replaced": patched_call,
    "a question for the class": lambda shape: model_of(shape, Asking()),
}


@pytest.mark.parametrize("shape", [(8, 8, 2), (None, None, 2)], ids=["static", "dynamic"])
@pytest.mark.parametrize("lost", LOST)
def test_a_copy_that_computes_something_else_is_refused(lost, shape):
    with pytest.raises(NotConverted, match=r"NOT_REBUILT.*computes something else") as caught:
        depool.keras.convert(LOST[lost](shape))
    assert len(caught.value.refusals) == 1


class Failing(layers.Layer):
    """A layer that does not run on what is drawn."""

    def compute_output_shape(self, input_shape):
        return input_shape

    def call(self, x):
        raise ValueError(f"no {type(x).__name__} is taken")


class Noisy(layers.Layer):
    """A layer that draws in evaluation too, and so never gives the same twice."""

    def __init__(self, **words):
        super().__init__(**words)
        self.seed = keras.random.SeedGenerator(7)

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seed)


def test_looking_at_a_copy_changes_nothing_and_asks_for_nothing_impossible():
    """Seeds stay where they were, and a model that fails on the data drawn is converted all the same."""
    noisy = Noisy()
    model = model_of((8, 8, 2), noisy, layers.MaxPooling2D(2))
    before = array(noisy.seed.state.value).tolist()
    new = depool.keras.convert(model, exact=True)
    assert array(noisy.seed.state.value).tolist() == before
    assert np.array_equal(run(model, signed(2, 8, 8, 2)), run(new, signed(2, 8, 8, 2)))
    fails = model_of((8, 8, 2), Failing(), layers.MaxPooling2D(2))
    assert len(depool.keras.convert(fails).depool.records) == 1
