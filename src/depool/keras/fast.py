"""Which channel layout is fast on which backend, measured on CPUs with one thread.

Time of a converted max pool over that of Keras' own layer, batch 1, float32, input known to be >= 0, the faster of tree
and separable; Keras 3.15 on TensorFlow 2.21 (tf.function), JAX 0.10 (jax.jit), PyTorch 2.13 (eager), channels last:

                               grouped  depthwise  dense  folded
    64x112x112 2x2/2  TF            73        2.8     10     123
                      JAX          150        140     29     2.4
                      PyTorch      2.2        2.1    2.7     1.3
    256x20x20 5x5/1   TF           1.7        1.9     43      92
                      JAX           23         21     11     0.1
                      PyTorch      2.9        2.6    6.2     2.3

XLA has no fast convolution in groups on CPUs, but one of two taps on one channel is as fast as a sum (see folded.py).
What TensorFlow does with a grouped convolution depends on its strides; depthwise ones of equal strides are always fast.
"""

from __future__ import annotations

import keras

from depool.choice import Channels
from depool.geometry import Kind
from depool.keras.folded import MOST_AXES


def fast_layout(kind: Kind, rank: int, form: str) -> Channels:
    """The layout of a pool where the user names none.

    Args:
        kind: max or average; an average has many taps in one convolution, which XLA runs faster in groups.
        rank: spatial axes.
        form: as the user names it; a chain has convolutions of several maps.
    """
    chain = form == "sequential"
    if keras.backend.backend() == "jax" and kind == "max" and rank <= MOST_AXES and not chain and _on_cpu():
        return "folded"
    return "depthwise" if form in {"auto", "branched"} else "grouped"


def _on_cpu() -> bool:
    import jax

    return bool(jax.default_backend() == "cpu")
