"""What a layer holds beside its configuration and variables: a copy has it too, or there is none."""

from __future__ import annotations

import numpy as np
import pytest
from keras_backend import keras, pools_in, run

import depool.keras
from depool import NotConverted

layers = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras, of PyTorch's


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
