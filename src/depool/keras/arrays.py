"""Tensors of whatever backend as NumPy arrays."""

from __future__ import annotations

import warnings
from typing import Any

import keras
import numpy as np

from depool.program import Array


def array(value: Any) -> Array:
    """A copy of a tensor's or a variable's value, or of anything that NumPy takes."""
    if isinstance(value, keras.Variable) or keras.ops.is_tensor(value):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)  # Keras, on PyTorch
            return np.array(keras.ops.convert_to_numpy(keras.ops.copy(value)))
    return np.array(value)
