"""Who computes what is compared: ONNX Runtime with optimisations off, or onnx's reference evaluator.

ONNX Runtime's default optimiser folds Pad(0) into a MaxPool and is then wrong on all-negative windows, so
the oracle runs with optimisations off. Where the runtime has no kernel (Conv in float64 and bfloat16) the
reference evaluator runs the convolutions. Max pools in bfloat16 run in float32, which changes no maximum.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from depool.errors import DepoolError
from depool.onnx import files
from depool.program import Array


class CannotRunError(DepoolError):
    """No runtime here can run this model, or not on this input."""


class Runner:
    """A model ready to run.

    Args:
        model: with its weights inside, or a `files.Source` whose external data are linked.
        optimised: with the runtime's default optimisations, as users run it; else with none.

    Raises:
        CannotRunError: where neither runtime takes it.
    """

    def __init__(self, model: onnx.ModelProto | files.Source, *, optimised: bool = False) -> None:
        try:
            self._session = session(model, _options(optimised=optimised))
            self.name = "ONNX Runtime" + ("" if optimised else ", optimisations off")
        except Exception as error:  # noqa: BLE001 - ONNX Runtime's errors share no base class but Exception
            self._session = None
            self.name = "onnx reference evaluator"
            self._reference = _reference(model, error)

    def __call__(self, feeds: Mapping[str, Array], outputs: Sequence[str] | None = None) -> list[Array]:
        """The model's outputs, or the named ones.

        Raises:
            CannotRunError: where it fails on this input.
        """
        wanted = list(outputs) if outputs is not None else None
        try:
            if self._session is not None:
                return list(self._session.run(wanted, dict(feeds)))
            with np.errstate(all="ignore"):
                return [*self._reference.run(wanted, dict(feeds))]
        except Exception as error:
            raise CannotRunError(f"{self.name}: {' '.join(str(error).split())[:300]}") from error


def _options(*, optimised: bool) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    level = ort.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    return options


def session(model: onnx.ModelProto | files.Source, options: Any) -> Any:
    """An ONNX Runtime session; a `files.Source` finds its external data through links in a temporary folder.

    Raises:
        Exception: whatever ONNX Runtime raises where it does not take the model.
    """
    import onnxruntime as ort

    providers = ["CPUExecutionProvider"]
    if isinstance(model, onnx.ModelProto):
        return ort.InferenceSession(model.SerializeToString(), options, providers=providers)
    locations = files.external_locations(model.model)
    if not locations:
        return ort.InferenceSession(model.model.SerializeToString(), options, providers=providers)
    with tempfile.TemporaryDirectory(prefix="depool-") as scratch:
        for location in locations:
            place = Path(scratch) / location
            place.parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(model.folder / location, place)
            except OSError:
                shutil.copyfile(model.folder / location, place)
        path = Path(scratch) / "model.onnx"
        path.write_bytes(files.serialized(model.model))
        return ort.InferenceSession(str(path), options, providers=providers)


def _reference(model: onnx.ModelProto | files.Source, error: Exception) -> Any:
    from onnx.reference import ReferenceEvaluator

    if isinstance(model, files.Source) and files.external_locations(model.model):
        raise CannotRunError(f"ONNX Runtime: {' '.join(str(error).split())[:300]}") from error
    try:
        return ReferenceEvaluator(model.model if isinstance(model, files.Source) else model)
    except Exception as second:
        text = f"ONNX Runtime: {error}; reference evaluator: {second}"
        raise CannotRunError(" ".join(text.split())[:300]) from second
