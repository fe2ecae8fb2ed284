"""Models of any framework, seen alike: named inputs, arrays in, arrays out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from onnx import helper

from depool.errors import UsageError
from depool.objects import Converted
from depool.onnx import files
from depool.program import Array
from depool.verification.oracle import Runner

Framework = Literal["onnx", "torch", "keras"]
Apply = Callable[[Array], Array]
Seen = Callable[[str, Array], None]
"""Told of a pool's path and of what it gets."""


@dataclass(frozen=True)
class Port:
    """An input.

    Attributes:
        name: as the model calls it.
        shape: None for a dynamic size; None as a whole where nothing is known of it.
        dtype: NumPy's name of the element type; empty where it is not known.
    """

    name: str
    shape: tuple[int | None, ...] | None
    dtype: str


class Subject(Protocol):
    """A model that can be run.

    Attributes:
        framework: which.
        name: as printed.
        inputs: in order.
        dtype: of its weights; what inputs have of which nothing is known.
        repeats: whether the same computation gives the same bits again, as on CPUs.
        converted: what depool did to make it, if it did.
    """

    framework: Framework
    name: str
    inputs: tuple[Port, ...]
    dtype: str
    repeats: bool
    converted: Converted | None

    def __call__(
        self, arrays: Sequence[Array], seen: Seen | None = None, instead: Mapping[str, Any] | None = None
    ) -> dict[str, Array]:
        """Outputs by name, in evaluation.

        Args:
            arrays: one for each input.
            seen: is told what each pool gets.
            instead: by path, layers that compute what the pools there give.
        """
        ...

    def sides(self, where: str, converted: Any) -> tuple[Apply, Apply]:
        """The pool at a path, and what replaces it in a model converted from this one, as functions of one array."""
        ...

    def layers(self, paths: Sequence[str]) -> Mapping[str, Any]:
        """The layers at these paths."""
        ...

    def averages(self, paths: Sequence[str]) -> Mapping[str, Any]:
        """Average pools of the same windows as the max pools at these paths."""
        ...

    def with_pools(self, converted: Any, paths: Sequence[str]) -> Any:
        """This model if it has pools at all these paths, else one made from `converted` that should be the same."""
        ...

    def state(self) -> Mapping[str, Array]:
        """Everything that the model has learned, by name, the weights of convolutions in place of pools left out."""
        ...


def subject(model: Any) -> Subject:
    """A file or object of any framework.

    Raises:
        FileError: where a file cannot be read.
        UsageError: where it is no model.
    """
    found = framework_of(model)
    path = os.fspath(model) if isinstance(model, str | os.PathLike) else None
    if found in {"torch", "keras"} and path is not None:
        files.check_there(path)
    if found == "torch":
        with needed("torch"):
            from depool.torch.subject import TorchSubject, saved

        return TorchSubject(model) if path is None else saved(path)
    if found == "keras":
        with needed("keras"):
            from depool.keras import files as keras_files
            from depool.keras.subject import KerasSubject

        made = KerasSubject(model if path is None else keras_files.load(path), path or "")
        if path is not None:
            made.converted = keras_files.converted(path)
        return made
    if path is None:
        kind = type(model).__name__
        raise UsageError(f"a model is a path, an nn.Module, an exported program or a keras.Model, not {kind}")
    return OnnxSubject(path)


def framework_of(model: Any) -> Framework | None:
    """Of a path by its ending, of an object by its class; None where it is neither.

    A framework that nobody has imported has made no object.
    """
    if isinstance(model, str | os.PathLike):
        endings: dict[str, Framework] = {".keras": "keras", ".pt2": "torch", ".pt": "torch", ".pth": "torch"}
        return endings.get(Path(model).suffix.lower(), "onnx")
    torch, keras = sys.modules.get("torch"), sys.modules.get("keras")
    if keras is not None and isinstance(model, keras.Model):  # on the torch backend it is an nn.Module too
        return "keras"
    found = torch is not None and isinstance(model, torch.nn.Module | torch.export.ExportedProgram)
    return "torch" if found else None


@contextmanager
def needed(framework: Framework) -> Iterator[None]:
    """Where a framework is imported: its absence becomes a line that says what to install.

    Raises:
        UsageError: where it cannot be imported.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow greets on standard error
    try:
        yield
    except (ImportError, ValueError) as error:  # a ValueError is what Keras raises for an unknown backend
        backend = f" with KERAS_BACKEND={os.environ['KERAS_BACKEND']}" if "KERAS_BACKEND" in os.environ else ""
        what = {"torch": "PyTorch", "keras": f"Keras{backend}"}.get(framework, framework)
        text = f"{what} cannot be imported ({error}); python3 -m pip install 'depool[{framework}]'"
        raise UsageError(str(error) if "pip install" in str(error) else text) from error


class OnnxSubject:
    """An ONNX file in ONNX Runtime, optimisations off."""

    framework: Framework = "onnx"
    converted: Converted | None = None
    dtype = "float32"
    repeats = True

    def __init__(self, path: str) -> None:
        source = files.read(path)
        self.name = path
        self._run = Runner(source)
        graph = source.model.graph
        weights = {tensor.name for tensor in graph.initializer}
        self.inputs = tuple(
            Port(
                value.name,
                tuple(d.dim_value or None for d in value.type.tensor_type.shape.dim)
                if value.type.tensor_type.HasField("shape")
                else None,
                np.dtype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name,
            )
            for value in graph.input
            if value.name not in weights
        )
        self._outputs = [value.name for value in graph.output]

    def __call__(
        self, arrays: Sequence[Array], seen: Seen | None = None, instead: Mapping[str, Any] | None = None
    ) -> dict[str, Array]:
        """Run."""
        del seen, instead  # of pools in an ONNX file, pools.py
        feeds = {port.name: array for port, array in zip(self.inputs, arrays, strict=True)}
        return dict(zip(self._outputs, self._run(feeds), strict=True))

    def sides(self, where: str, converted: Any) -> tuple[Apply, Apply]:
        """Not here: ONNX files are verified pool by pool in pools.py."""
        raise UsageError(f"{self.name} and {converted.name}: have no layer {where!r}")

    def layers(self, paths: Sequence[str]) -> Mapping[str, Any]:
        """None here."""
        del paths
        return {}

    averages = layers

    def with_pools(self, converted: Any, paths: Sequence[str]) -> OnnxSubject:
        """Itself."""
        del converted, paths
        return self

    def state(self) -> Mapping[str, Array]:
        """Not looked at here."""
        return {}
