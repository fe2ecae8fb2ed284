"""The whole models, end to end: measured, since a bound at a pool does not carry through the layers after it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf, prod
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import onnx
from onnx import helper

from depool.errors import FileError, UsageError
from depool.onnx import files
from depool.onnx.graph import attributes
from depool.onnx.quantized import INTEGERS
from depool.onnx.spec import MAX_POOLS
from depool.program import Array
from depool.record import Record
from depool.verification.compare import difference, worse
from depool.verification.inputs import BUDGET, MODEL_KINDS, dims_of, model_values
from depool.verification.oracle import CannotRunError, Runner
from depool.verification.verdict import OutputCheck

Feeds = dict[str, Array]
Ranges = Mapping[str, tuple[float, float]]
GIVEN = "given data"
SPATIAL = ((64, 48), (97, 61), (224, 160))
"""Tried for dynamic sizes; those that the original does not take are passed over."""


@dataclass(frozen=True, eq=False)
class EndToEnd:
    """What running both models showed.

    Attributes:
        outputs: each output's largest difference.
        ranges: the least and largest value seen at each converted pool's input, on drawn inputs.
        given: the same, on the user's own data.
        undeclared: an input of the given data that lies outside its declared range, or nothing.
        notes: what could not be run, and why.
        worst: the input on which the models differ most.
        failed: an input on which the original runs and the converted model does not, or not to the same shape.
    """

    outputs: tuple[OutputCheck, ...] = ()
    ranges: Ranges = field(default_factory=dict)
    given: Ranges = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    worst: Feeds | None = None
    undeclared: str = ""
    failed: Feeds | None = None


def compare_models(
    original: files.Source,
    converted: files.Source,
    records: tuple[Record, ...],
    inputs: Iterator[tuple[str, Feeds]],
    progress: Callable[[str, int, int], None],
) -> EndToEnd:
    """Run both models, and the original with average pools in place of the converted max pools.

    Raises:
        FileError: where the original cannot be run at all.
    """
    names = [value.name for value in original.model.graph.output]
    sources = sorted({r.source for r in records if not r.scope})
    watched = sorted({*sources} - set(names) - fed(original.model))
    try:
        runs = Runner(replace(original, model=_watching(original.model, watched, records)))
        against = Runner(converted)
    except CannotRunError as error:
        return EndToEnd(notes=(f"not run end to end: {error}",))
    swapped, notes = _swapped(original, records)
    found: dict[str, OutputCheck] = {}
    ranges: dict[bool, dict[str, tuple[float, float]]] = {False: {}, True: {}}
    worst: Feeds | None = None
    biggest: dict[str, float] = {}
    count = 0
    for kind, feeds in inputs:
        progress("end to end", count, 0)
        try:
            expected = runs(feeds, names + watched)
        except CannotRunError as error:
            if not count:
                notes = (*notes, f"the original does not run on {_shapes(feeds)}: {error}"[:300])
            continue
        count += 1
        values = feeds | dict(zip(names + watched, expected, strict=True))
        _widen(ranges[kind == GIVEN], sources, [values[name] for name in sources])
        try:
            got = against(feeds, names)
        except CannotRunError as error:
            return EndToEnd(notes=(*notes, f"the converted model fails: {error}"), failed=feeds)
        averaged = _attempt(swapped, feeds, names)
        for i, name in enumerate(names):
            if not isinstance(expected[i], np.ndarray) or expected[i].dtype.kind in "OUS":
                continue
            if expected[i].shape != got[i].shape:
                text = f"output {name!r} has shape {list(got[i].shape)}, not {list(expected[i].shape)}"
                return EndToEnd(notes=(*notes, text), failed=feeds)
            here = difference(expected[i], got[i])
            if averaged is not None and averaged[i].shape == expected[i].shape:
                biggest[name] = max(biggest.get(name, 0.0), difference(expected[i], averaged[i]).max_abs)
            if name not in found or worse(found[name].difference, here):
                found[name] = OutputCheck(name, here, kind)
                worst = feeds
    checks = [_noticed(check, biggest) for check in found.values()]
    if not count:
        notes = (*notes, "no input was found that the original runs on; give --shape or --data")
    return EndToEnd(tuple(checks), ranges[False], ranges[True], notes, worst)


def drawn_inputs(
    model: onnx.ModelProto,
    shapes: Mapping[str, tuple[int, ...]],
    ranges: Ranges,
    rng: np.random.Generator,
) -> Iterator[tuple[str, Feeds]]:
    """Random inputs of every kind, dynamic dimensions at several sizes."""
    inputs = [value for value in model.graph.input if value.name in fed(model)]
    dynamic = any(not isinstance(d, int) for v in inputs for d in declared_dims(v)[1:] if v.name not in shapes)
    for spatial in SPATIAL if dynamic else SPATIAL[:1]:
        shaped = {v.name: shapes.get(v.name) or dims_of(declared_dims(v), spatial, batch=2) for v in inputs}
        if spatial != SPATIAL[0] and max(map(prod, shaped.values()), default=0) > BUDGET:
            continue
        for kind in MODEL_KINDS:
            yield kind, {v.name: drawn_input(v, kind, shaped[v.name], ranges, rng) for v in inputs}


def drawn_input(
    value: onnx.ValueInfoProto, kind: str, shape: tuple[int, ...], ranges: Ranges, rng: np.random.Generator
) -> Array:
    """One input of a model: of this kind where it is floating-point, else zeros and ones."""
    dtype = helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)
    low, high = ranges.get(value.name, ranges.get("", (-inf, inf)))
    floating = dtype.kind == "f" or dtype.name == "bfloat16"
    values = model_values(kind, rng, shape, low, high) if floating else rng.integers(0, 2, shape)
    drawn: Array = values.astype(dtype)
    return drawn


def given_arrays(path: Path) -> dict[str, Array]:
    """The arrays of an .npz file by name.

    Raises:
        FileError: where it is none.
    """
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
            return {name: data[name] for name in data.files}
    except OSError as error:
        raise FileError(f"{path}: cannot be read as .npz ({error.strerror or error})") from error
    except (EOFError, ValueError, AttributeError, TypeError, BadZipFile) as error:
        raise FileError(f"{path}: cannot be read as .npz: it is no archive of plain arrays") from error


def refuse_unusable(path: Path, name: str, array: Array) -> None:
    """Raise UsageError for an array that nothing can be compared on."""
    if not array.size:
        raise UsageError(f"{path}: {name!r} is empty")
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise UsageError(f"{path}: {name!r} is not finite; depool verify --nonfinite shows what that does")


def given_inputs(model: onnx.ModelProto, path: Path) -> Iterator[tuple[str, Feeds]]:
    """The user's own inputs, arrays named like the model's inputs; other arrays are passed over.

    Raises:
        FileError, UsageError: where the file is no .npz, or lacks an input, or a shape does not fit.
    """
    arrays = given_arrays(path)
    feeds = {}
    for value in model.graph.input:
        if value.name not in fed(model):
            continue
        if value.name not in arrays:
            raise UsageError(f"{path}: has no array {value.name!r}; it has {', '.join(arrays) or 'none'}")
        array = arrays[value.name]
        dims = declared_dims(value)
        if len(dims) != array.ndim or any(
            isinstance(d, int) and d != n for d, n in zip(dims, array.shape, strict=True)
        ):
            raise UsageError(f"{path}: {value.name!r} has shape {list(array.shape)}; the model takes {list(dims)}")
        refuse_unusable(path, value.name, array)
        try:
            feeds[value.name] = array.astype(helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type))
        except (TypeError, ValueError) as error:
            raise UsageError(f"{path}: {value.name!r} has elements that the model does not take ({error})") from error
    yield GIVEN, feeds


def fed(model: onnx.ModelProto) -> set[str]:
    """The tensors that a caller must give: inputs without a default."""
    weights = {tensor.name for tensor in model.graph.initializer}
    return {v.name for v in model.graph.input if v.type.HasField("tensor_type")} - weights


def declared_dims(value: onnx.ValueInfoProto) -> tuple[Any, ...]:
    """A declared shape; a dynamic size is its name, or ? where it has none."""
    return tuple(d.dim_value if d.dim_value > 0 else d.dim_param or "?" for d in value.type.tensor_type.shape.dim)


def _shapes(feeds: Feeds) -> str:
    return ", ".join(f"{name} {list(array.shape)}" for name, array in feeds.items())


def _watching(model: onnx.ModelProto, watched: list[str], records: tuple[Record, ...]) -> onnx.ModelProto:
    """The model with its pools' inputs as outputs too."""
    from depool.verification.regions import ELEMENTS

    types = {record.source: ELEMENTS[record.dtype] for record in records}
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for name in watched:
        value = copy.graph.output.add(name=name)
        value.type.tensor_type.elem_type = types[name]
    return copy


def _widen(ranges: dict[str, tuple[float, float]], names: list[str], values: list[Array]) -> None:
    for name, value in zip(names, values, strict=True):
        if value.size:
            low, high = ranges.get(name, (inf, -inf))
            ranges[name] = (min(low, float(value.min())), max(high, float(value.max())))


def _swapped(original: files.Source, records: tuple[Record, ...]) -> tuple[Runner | None, tuple[str, ...]]:
    """The original with average pools: if nobody notices, the outputs say nothing about the pools."""
    names = {
        name
        for record in records
        if not record.scope and not record.average and (record.inner or record.dtype not in INTEGERS.values())
        for name in (record.output, *record.inner)  # between integers the pool's own output is an inner tensor
    }
    copy = onnx.ModelProto()
    copy.CopyFrom(original.model)
    pools = [node for node in copy.graph.node if node.op_type in MAX_POOLS and node.output[0] in names]
    if not pools:  # or pools on integers, which no runtime averages
        return None, ()
    for node in pools:
        _to_average(node)
    try:
        return Runner(replace(original, model=copy)), ()
    except CannotRunError:
        return None, ("average pools could not be put in place of the max pools for comparison",)


def _to_average(node: onnx.NodeProto) -> None:
    found = attributes(node)
    for name in ("storage_order", "dilations"):
        found.pop(name, None)
    node.op_type = node.op_type.replace("MaxPool", "AveragePool")
    del node.attribute[:]
    node.attribute.extend(helper.make_attribute(name, value) for name, value in found.items())
    del node.output[1:]


def _attempt(runner: Runner | None, feeds: Feeds, names: list[str]) -> list[Array] | None:
    if runner is None:
        return None
    try:
        return runner(feeds, names)
    except CannotRunError:
        return None


def _noticed(check: OutputCheck, biggest: Mapping[str, float]) -> OutputCheck:
    if check.name not in biggest:
        return check
    swapped = biggest[check.name]
    return replace(check, noticed=swapped > check.difference.max_abs, swapped=swapped)
