"""The Keras frontend: pools of a `keras.Model` become convolutions; on any backend, without custom objects."""

try:
    import keras as _keras  # noqa: F401 - for the error alone
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        f"depool.keras needs Keras 3 and a backend, and there is no {error.name}: pip install 'depool[keras]'",
        name=error.name,
    ) from error

from depool.keras.convert import convert
from depool.keras.files import load
from depool.keras.graph import operations

__all__ = ["convert", "load", "operations"]
