"""Where one of Keras' backends computes another pool than the others do, measured with Keras 3.15.

    PyTorch   average, padding="same" with unequal pads    the border is repeated, and counted; right for 2 elements
    JAX       adaptive, from n to m elements               i n / m is computed as i n * (1 / m): off by one where that
                                                           rounds across an integer, as from 7 elements to 7
    JAX       float64 without jax_enable_x64               computed in float32, to which MAX/2 does not fit

The conversion is what the other backends, and the definition, say; on these it would not equal the model as it runs.
"""

from __future__ import annotations

import keras
import numpy as np

from depool.errors import Refused
from depool.geometry import Size
from depool.keras.spec import Pool


def refuse_difference(pool: Pool, sizes: tuple[Size, ...], dtype: str) -> None:
    """Refuse a pool that the running backend does not compute as the others do.

    Raises:
        Refused: BACKEND_DIFFERS.
    """
    backend = keras.backend.backend()
    if (backend == "torch" and _repeats(pool, sizes)) or (backend == "jax" and _misses(pool, sizes, dtype)):
        raise Refused(
            "BACKEND_DIFFERS",
            f"Keras on {backend} computes it, in {dtype}, differently from its other backends, and wrongly.",
            "Convert with KERAS_BACKEND=tensorflow, which computes it rightly, or leave this pool out (skip).",
        )


def _repeats(pool: Pool, sizes: tuple[Size, ...]) -> bool:
    if pool.reach or pool.kind != "average" or pool.op.padding != "same":
        return False
    spec = pool.spec(len(sizes))
    pads = spec.resolve(sizes).pads
    if isinstance(pads, str) or None in sizes:
        return max(spec.kernel_shape) > 2
    counted = any(any(pair) and kernel > 2 for pair, kernel in zip(pads, spec.kernel_shape, strict=True))
    return counted and any(begin != end for begin, end in pads)  # the mean of a and a is a


def _misses(pool: Pool, sizes: tuple[Size, ...], dtype: str) -> bool:
    if dtype == "float64":
        import jax

        return not jax.config.jax_enable_x64
    if pool.reach != "Adaptive":
        return False
    return any(n is not None and _crosses(n, m) for n, m in zip(sizes, pool.outputs(len(sizes)), strict=True))


def _crosses(n: int, m: int) -> bool:
    """Whether a window's start or end is rounded across an integer."""
    i = np.arange(m + 1)
    rounded = (i * n).astype(np.float32) * np.float32(1 / m)
    return bool(np.any(np.floor(rounded)[:-1] != i[:-1] * n // m) or np.any(np.ceil(rounded)[1:] != -(-i[1:] * n // m)))
