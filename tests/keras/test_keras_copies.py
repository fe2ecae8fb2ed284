"""What a layer holds beside its configuration and variables: a copy has it too, or there is none."""

from __future__ import annotations

import numpy as np
import pytest
from keras_backend import keras, pools_in, run

import depool.keras
from depool import NotConverted

layers = keras.layers


def signed(*shape):
    """Data with all-negative windows."""
    return (np.random.default_rng(0).normal(size=shape) - 1.0).astype(np.float32)


def model_of(shape, *made):
    return keras.Sequential([keras.Input(shape), *made])


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
