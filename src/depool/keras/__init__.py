"""The Keras frontend: pools of a `keras.Model` become convolutions; on any backend, without custom objects."""

from depool.keras.convert import convert
from depool.keras.files import load
from depool.keras.graph import operations

__all__ = ["convert", "load", "operations"]
