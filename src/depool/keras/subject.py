"""A Keras model, for verification: arrays in, arrays out, in evaluation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from depool.errors import UsageError
from depool.keras.graph import graph, operations
from depool.keras.rebuild import rebuilt
from depool.keras.spec import pool
from depool.objects import Converted
from depool.program import Array
from depool.verification.layouts import moved
from depool.verification.subjects import Apply, Framework, Port, Seen


class KerasSubject:
    """A model on whatever backend Keras runs."""

    framework: Framework = "keras"

    def __init__(self, model: keras.Model, name: str = "") -> None:
        self.model = model
        self.name = name or model.name
        self.converted: Converted | None = getattr(model, "depool", None)
        given = getattr(model, "inputs", None)
        self.inputs = tuple(Port(x.name, tuple(x.shape), keras.backend.standardize_dtype(x.dtype)) for x in given or ())
        if not given:
            raise UsageError(f"{self.name}: its inputs are not known; call it once, or give it an Input layer")

    def __call__(self, arrays: Sequence[Array], seen: Seen | None = None) -> dict[str, Array]:
        """Run in evaluation.

        Raises:
            UsageError: where it does not run.
        """
        whole = graph(self.model)
        structure = self.model.inputs if whole is None else whole._inputs_struct
        try:
            with _watched(self.model, seen):
                result = self.model(keras.tree.pack_sequence_as(structure, list(arrays)), training=False)
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise UsageError(f"{self.name} does not run: {type(error).__name__}: {text}") from error
        leaves = keras.tree.flatten_with_path(result)
        return {
            "output" + "".join(f"[{step!r}]" for step in path): np.asarray(keras.ops.convert_to_numpy(value))
            for path, value in leaves
        }

    def sides(self, where: str, converted: KerasSubject) -> tuple[Apply, Apply]:
        """The original's layer at a path, and the one that stands there now."""
        found = [operations(side.model).get(where) for side in (self, converted)]
        if found[0] is None or not isinstance(found[1], keras.Model):
            raise UsageError(f"{converted.name}: has no pool as convolutions at {where!r}")
        layout = "NCHW" if getattr(found[0], "data_format", "") == "channels_first" else "NHWC"
        return _apply(found[0], layout), _apply(found[1], layout)

    def restored(self, original: KerasSubject) -> KerasSubject | None:
        """With the original's pools where convolutions stand."""
        records = self.converted.records if self.converted is not None else ()
        now, before = operations(self.model), operations(original.model)
        copies = {record.where: _copy(before[record.where]) for record in records}
        made = {id(now[where]): _alone(copy, now[where].inputs[0]) for where, copy in copies.items()}
        return KerasSubject(rebuilt(self.model, made), self.name) if made else None

    def averaged(self, paths: Sequence[str]) -> KerasSubject | None:
        """With average pools."""
        now = operations(self.model)
        made = {}
        for where in paths:
            found = _pool(now.get(where))
            kind = getattr(keras.layers, type(found).__name__.replace("Max", "Average"), None)
            if isinstance(found, keras.Layer) and kind is not None and kind is not type(found):
                made[id(now[where])] = _alone(kind.from_config(found.get_config()), found.input)
        return KerasSubject(rebuilt(self.model, made), self.name) if made else None

    def state(self) -> Mapping[str, Array]:
        """All weights by path, but those of the convolutions in place of pools."""
        records = self.converted.records if self.converted is not None else ()
        now = operations(self.model)
        ours = {id(weight) for record in records for weight in getattr(now.get(record.where), "weights", ())}
        return {w.path: np.asarray(keras.ops.convert_to_numpy(w)) for w in self.model.weights if id(w) not in ours}


@contextmanager
def _watched(model: keras.Model, seen: Seen | None) -> Iterator[None]:
    """Tell what each pool of a model gets when it is called."""
    pools = {where: op for where, op in operations(model).items() if seen is not None and pool(op) is not None}

    def noting(where: str, call: Any) -> Any:
        def noted(x: Any, *more: Any, **words: Any) -> Any:
            if seen is not None:
                seen(where, np.asarray(keras.ops.convert_to_numpy(x)).astype(np.float64))
            return call(x, *more, **words)

        return noted

    for where, op in pools.items():
        op.call = noting(where, op.call)
    try:
        yield
    finally:
        for op in pools.values():
            del op.call


def _apply(layer: Any, layout: str) -> Apply:
    """A layer as a function of [N, C, ...], whatever its own layout."""

    def apply(x: Array) -> Array:
        y = layer(keras.ops.convert_to_tensor(moved(x, "NCHW", layout)))
        return moved(np.asarray(keras.ops.convert_to_numpy(y)), layout, "NCHW")

    return apply


def _pool(op: Any) -> Any:
    """A pool, also where it stands in a model of its own."""
    return op.layers[-1] if isinstance(op, keras.Model) else op


def _copy(op: Any) -> Any:
    return type(op).from_config(op.get_config())


def _alone(op: Any, like: Any) -> keras.Model:
    """A pool as a model of its own, which takes the place of a layer."""
    entry = keras.Input(batch_shape=like.shape, dtype=like.dtype)
    return keras.Model(entry, op(entry), name=op.name)
