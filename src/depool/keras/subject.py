"""A Keras model, for verification: arrays in, arrays out, in evaluation."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from depool.errors import UsageError
from depool.keras.calls import calls_replaced
from depool.keras.graph import graph, operations
from depool.keras.spec import pool
from depool.objects import Converted
from depool.program import Array
from depool.verification.layouts import moved
from depool.verification.subjects import Apply, Framework, Port, Seen


class KerasSubject:
    """A model on whatever backend Keras runs."""

    framework: Framework = "keras"
    repeats = True

    def __init__(self, model: keras.Model, name: str = "") -> None:
        self.model = model
        self.name = name or model.name
        self.dtype = model.compute_dtype or "float32"
        self.converted: Converted | None = getattr(model, "depool", None)
        given = getattr(model, "inputs", None)
        self.inputs = tuple(Port(x.name, tuple(x.shape), keras.backend.standardize_dtype(x.dtype)) for x in given or ())
        if not given:  # a subclassed model: what its call takes first
            first = next(iter(inspect.signature(model.call).parameters), "inputs")
            self.inputs = (Port(first, None, ""),)

    def __call__(
        self, arrays: Sequence[Array], seen: Seen | None = None, instead: Mapping[str, Any] | None = None
    ) -> dict[str, Array]:
        """Run in evaluation.

        Raises:
            UsageError: where it does not run.
        """
        whole = graph(self.model)
        fed = arrays[0] if whole is None else keras.tree.pack_sequence_as(whole._inputs_struct, list(arrays))
        others = instead or {}
        watched = {path: op for path, op in operations(self.model).items() if pool(op) is not None or path in others}

        def other(path: str, call: Any) -> Any:
            def called(x: Any, *more: Any, **words: Any) -> Any:
                if seen is not None:
                    seen(path, np.asarray(keras.ops.convert_to_numpy(x)).astype(np.float64))
                return others[path](x) if path in others else call(x, *more, **words)

            return called

        try:
            with calls_replaced(watched if seen or others else {}, other):
                result = self.model(fed, training=False)
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

    def layers(self, paths: Sequence[str]) -> Mapping[str, Any]:
        """The layers at these paths."""
        now = operations(self.model)
        return {path: now[path] for path in paths if path in now}

    def averages(self, paths: Sequence[str]) -> Mapping[str, Any]:
        """Average pools of the same windows."""
        found = {}
        for path, op in self.layers(paths).items():
            kind = getattr(keras.layers, type(op).__name__.replace("Max", "Average"), None)
            if isinstance(op, keras.Layer) and kind is not None and kind is not type(op):
                found[path] = kind.from_config(op.get_config())
        return found

    def with_pools(self, converted: KerasSubject, paths: Sequence[str]) -> KerasSubject:
        """Itself: every pool of a Keras model has a path."""
        del converted, paths
        return self

    def state(self) -> Mapping[str, Array]:
        """All weights by path, but those of the convolutions in place of pools."""
        records = self.converted.records if self.converted is not None else ()
        now = operations(self.model)
        ours = {id(weight) for record in records for weight in getattr(now.get(record.where), "weights", ())}
        return {w.path: np.asarray(keras.ops.convert_to_numpy(w)) for w in self.model.weights if id(w) not in ours}


def _apply(layer: Any, layout: str) -> Apply:
    """A layer as a function of [N, C, ...], whatever its own layout."""

    def apply(x: Array) -> Array:
        y = layer(keras.ops.convert_to_tensor(moved(x, "NCHW", layout)))
        return moved(np.asarray(keras.ops.convert_to_numpy(y)), layout, "NCHW")

    return apply
