"""Each channel layout against Keras' own max pool: the table of docs/keras.md.

    KERAS_BACKEND=jax python benchmarks/keras_layouts.py [channels_first]

All run in one process, in turn, on one thread, batch 1, float32, input known to be >= 0: the medians of the ratios, and
of these the faster of the schemes tree and separable. JAX: jax.jit of model.stateless_call; TensorFlow: tf.function.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
if hasattr(os, "sched_setaffinity"):  # one core, which XLA's thread pools heed as well
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})

import keras
import numpy as np

import depool.keras

POOLS = [(112, 64, 2, 2, "valid"), (112, 64, 3, 2, "same"), (28, 192, 3, 1, "same"), (20, 256, 5, 1, "same")]
POOLS += [(20, 256, 13, 1, "same")]
LAYOUTS = ("auto", "grouped", "depthwise", "dense", "folded")
SECONDS = 1.0
"""At most this long for each layout and scheme; those that are very slow run a few times only."""


def runner(model: keras.Model, x: Any) -> Callable[[], Any]:
    """A model as its users run it."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        fixed = [v.value for v in model.non_trainable_variables]
        jitted = jax.jit(lambda weights, x: model.stateless_call([], weights, x, training=False)[0])
        return lambda: jitted(fixed, x).block_until_ready()
    if backend == "tensorflow":
        import tensorflow as tf

        traced = tf.function(lambda x: model(x, training=False))
        return lambda: traced(x)
    import torch

    torch.set_num_threads(1)
    return torch.no_grad()(lambda: model(x, training=False))


def timed(run: Callable[[], Any]) -> float:
    """Seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def ratios(native: Callable[[], Any], runs: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """The median of each one's time over the native pool's, measured in turn."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    spent = dict.fromkeys(runs, 0.0)
    for run in (native, *runs.values()):
        run()
    for _ in range(50):
        base = timed(native)
        for name, run in runs.items():
            if spent[name] < SECONDS:
                took = timed(run)
                spent[name] += took
                found[name].append(took / base)
    return {name: float(np.median(values)) for name, values in found.items()}


def main() -> None:
    """Print a line for each pool."""
    data_format = "channels_first" if "channels_first" in sys.argv else "channels_last"
    for size, channels, kernel, strides, padding in POOLS:
        shape = (size, size, channels) if data_format == "channels_last" else (channels, size, size)
        layer = keras.layers.MaxPooling2D(kernel, strides, padding, data_format)
        model = keras.Sequential([keras.Input(shape), layer])
        x = keras.ops.convert_to_tensor(np.random.default_rng(0).random((1, *shape), np.float32))
        runs = {}
        for layout in LAYOUTS:
            for scheme in ("auto",) if layout == "auto" else ("tree", "separable") if kernel <= 3 else ("separable",):
                new = depool.keras.convert(model, channels=layout, scheme=scheme, assume_nonnegative=True)
                runs[f"{layout} {scheme}"] = runner(new, x)
        got = ratios(runner(model, x), runs)
        best = {layout: min(v for name, v in got.items() if name.startswith(f"{layout} ")) for layout in LAYOUTS}
        text = ", ".join(f"{layout} {value:.2f}" for layout, value in best.items())
        sys.stdout.write(
            f"{keras.backend.backend()} {kernel}x{kernel}/{strides} on {'x'.join(map(str, shape))}: {text}\n"
        )
        sys.stdout.flush()


if __name__ == "__main__":
    main()
