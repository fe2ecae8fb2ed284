"""Does a copy compute what its original does? Both run once, on the same random input.

What a layer computes may hang on things that a copy does not get: attributes set after it was made, a function put in
the place of its call, code that asks what class its pool has. So the original is compared, bit for bit, with the copy
in whose new parts the original's own pools compute: every other operation is the same, in the same order.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from depool.errors import Refused
from depool.keras.arrays import array
from depool.keras.calls import Call, calls_replaced
from depool.keras.graph import graph
from depool.program import Array

SIZES = (32, 64, 128)
"""What is tried for sizes that are dynamic."""


def check_copy(model: keras.Model, new: keras.Model, pools: Mapping[str, tuple[Any, keras.Model]]) -> None:
    """Compare a model with its copy; nothing is learnt of a model that does not run on random input.

    Args:
        model: the original.
        new: the copy.
        pools: by path, a pool of the original and what stands in its place.

    Raises:
        Refused: NOT_REBUILT.
    """

    def original(where: str, _: Call) -> Call:
        return lambda x, *_, **__: pools[where][0](x)

    given, wanted = _first(model)
    if not wanted:
        return
    with calls_replaced({where: made for where, (_, made) in pools.items()}, original):
        got = _run(new, given)
    if not _same(wanted, got) and _same(wanted, _run(model, given)):
        raise Refused(
            "NOT_REBUILT",
            f"a copy of {model.name}, with the same pools, computes something else.",
            "Set in __init__, from what get_config gives, whatever a layer's call reads; do not replace its call, nor "
            "ask in it for the class of a pool.",
        )


def _first(model: keras.Model) -> tuple[Any, list[Array] | None]:
    """The first random input on which a model gives something, and what; nothing where there is none."""
    for size in SIZES:
        given = _drawn(model, size)
        made = None if given is None else _run(model, given)
        if made and any(y.size for y in made):
            return given, made
    return None, None


def _drawn(model: keras.Model, size: int) -> Any:
    """Random input of one element, or None where it cannot be drawn."""
    whole, rng = graph(model), np.random.default_rng(0)

    def draw(tensor: Any) -> Any:
        dtype = keras.backend.standardize_dtype(tensor.dtype)
        batch, *rest = tuple(tensor.shape)
        shape = [1 if batch is None else batch, *(size if axis is None else axis for axis in rest)]
        values = rng.normal(size=shape) if "float" in dtype else rng.integers(0, 2, shape)
        return keras.ops.convert_to_tensor(values, dtype=dtype)

    try:
        if whole is not None:
            return keras.tree.map_structure(draw, whole._inputs_struct)
        shapes = model.get_build_config()["input_shape"]
        return keras.tree.map_structure(draw, keras.tree.map_shape_structure(keras.KerasTensor, shapes))
    except Exception:  # noqa: BLE001 - such as for strings, or where a model of the user's own does not tell
        return None


def _run(model: keras.Model, given: Any) -> list[Array] | None:
    """The results in evaluation, or None where it does not run; its variables, such as of random seeds, stay."""
    try:
        with keras.StatelessScope():
            result = model(given, training=False)
        return [array(y) for y in keras.tree.flatten(result)]
    except Exception:  # noqa: BLE001 - it is the user's code
        return None


def _same(wanted: list[Array], got: list[Array] | None) -> bool:
    return got is not None and list(map(_bits, wanted)) == list(map(_bits, got))


def _bits(y: Array) -> tuple[Any, ...]:
    return y.dtype, y.shape, y.tobytes()
