"""What every conversion ensures, checked on the file that was written.

1. the model's interface, opset and metadata are as they were
2. outside the converted regions every node and weight is as it was, but for convolutions that records name as folded
3. inside them stand only Conv, Relu, Add, Concat (QLinearConv on integers, Reshape in layout folded, Constant where
   the format needs it)
4. each node comes after those that it reads, where that was so before (neither onnx.checker nor ONNX Runtime insists)
5. onnx.checker, with full shape checks, finds nothing that it did not find before
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path

import onnx
from onnx import numpy_helper

from depool.errors import DepoolError, FileError
from depool.onnx import files
from depool.onnx.graph import Scope, scopes
from depool.record import Record

ALLOWED = frozenset({"Conv", "Relu", "Add", "Concat", "Constant", "QLinearConv"})
BLOCK = 2**22


class BrokenPromiseError(DepoolError):
    """A conversion that changed what it must not change: a mistake of depool's."""


def check_written(original: files.Source, written: files.Source, path: Path, records: tuple[Record, ...]) -> None:
    """Check the five points.

    Args:
        original: as it was, opset and input shapes already as the user asked.
        written: the converted model, as read back from `path`.
        path: that file.
        records: the pools that were converted.

    Raises:
        BrokenPromiseError: where one fails.
    """
    sorted_before = not any(out_of_order(original.model, original.folder))
    problems = [
        *changed_interface(original.model, written.model),
        *changed_elsewhere(original.model, written.model, original.folder, written.folder, records),
        *foreign_operators(original.model, written.model, written.folder, records),
        *(out_of_order(written.model, written.folder) if sorted_before else ()),
    ]
    if problems:
        raise BrokenPromiseError(f"the conversion is not clean ({problems[0]}); please report this model")
    _check(original.model, path)


def changed_interface(original: onnx.ModelProto, converted: onnx.ModelProto) -> Iterator[str]:
    """Differences of inputs, outputs, opset or metadata, in words."""
    for what in ("input", "output"):
        for one, other in zip(getattr(original.graph, what), getattr(converted.graph, what), strict=False):
            if one.name != other.name or one.type.tensor_type.elem_type != other.type.tensor_type.elem_type:
                yield f"{what} {one.name!r} changed"
        if len(getattr(original.graph, what)) != len(getattr(converted.graph, what)):
            yield f"the number of {what}s changed"
    if [*original.opset_import] != [*converted.opset_import] or original.ir_version != converted.ir_version:
        yield "the opset or IR version changed"
    kept = {entry.key: entry.value for entry in converted.metadata_props}
    for entry in original.metadata_props:
        if not entry.key.startswith("depool.") and kept.get(entry.key) != entry.value:
            yield f"metadata {entry.key!r} changed"


def changed_elsewhere(
    original: onnx.ModelProto,
    converted: onnx.ModelProto,
    folder: Path,
    converted_folder: Path,
    records: tuple[Record, ...],
) -> Iterator[str]:
    """Nodes and weights of the original that are not in the converted model, converted pools apart."""
    theirs = {scope.path: scope for scope in scopes(converted, converted_folder)}
    folded = {(record.scope, name) for record in records for name in record.folded}
    gone = {(record.scope, name) for record in records for name in (record.output, *record.inner)} | folded
    for scope in scopes(original, folder):
        other = theirs.get(scope.path)
        if other is None:
            yield f"{scope.path or 'the graph'} is missing"
            continue
        for node in scope.nodes:
            replaced = any((scope.path, name) in gone for name in node.output)
            twin = other.producers.get(next(filter(None, node.output), ""))
            if any((scope.path, name) in folded for name in node.output) and node.op_type != "Conv":
                yield f"node {scope.path}{node.name or node.op_type} is called folded, and is no Conv"
            if not replaced and (twin is None or not _same_node(node, twin)):
                yield f"node {scope.path}{node.name or node.op_type} changed"
        if isinstance(scope.container, onnx.GraphProto):
            yield from _changed_weights(
                scope, other, _freed(scope, {name for path, name in folded if path == scope.path})
            )


def foreign_operators(
    original: onnx.ModelProto, converted: onnx.ModelProto, folder: Path, records: tuple[Record, ...]
) -> Iterator[str]:
    """Operators that were added and are not allowed."""
    before = Counter((n.domain, n.op_type) for scope in scopes(original, folder) for n in scope.nodes)
    after = Counter((n.domain, n.op_type) for scope in scopes(converted, folder) for n in scope.nodes)
    for (domain, op_type), count in (after - before).items():
        folds = op_type == "Reshape" and count <= 2 * sum(record.layout == "folded" for record in records)
        if domain or not (op_type in ALLOWED or folds):
            yield f"{count} {op_type} added"


def out_of_order(model: onnx.ModelProto, folder: Path) -> Iterator[str]:
    """Nodes that stand before one that they read."""
    for scope in scopes(model, folder):
        made: set[str] = set()
        for node in scope.nodes:
            for name in node.input:
                if name in scope.producers and name not in made:
                    yield f"node {scope.path}{node.name or node.op_type} stands before what makes {name!r}"
            made.update(node.output)


def _same_node(one: onnx.NodeProto, other: onnx.NodeProto) -> bool:
    """The same, its subgraphs aside (they are scopes of their own)."""
    return _without_graphs(one) == _without_graphs(other)


def _without_graphs(node: onnx.NodeProto) -> onnx.NodeProto:
    if not any(a.type in {onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS} for a in node.attribute):
        return node
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    for attribute in bare.attribute:
        attribute.ClearField("g")
        attribute.ClearField("graphs")
    return bare


def _freed(scope: Scope, folded: set[str]) -> set[str]:
    """Weights that folded convolutions alone read: the composed ones took their place."""
    return {
        name
        for node in scope.nodes
        if folded.intersection(node.output)
        for name in node.input[1:]
        if name not in scope.outputs and all(folded.intersection(reader.output) for reader in scope.consumers[name])
    }


def _changed_weights(scope: Scope, other: Scope, freed: set[str]) -> Iterator[str]:
    theirs = {tensor.name: tensor for tensor in other.container.initializer}
    for tensor in scope.container.initializer:
        twin = theirs.get(tensor.name)
        if twin is None and tensor.name in freed:
            continue
        if twin is None or not _same_tensor(tensor, twin, scope.folder, other.folder):
            yield f"weight {scope.path}{tensor.name} changed"


def _same_tensor(one: onnx.TensorProto, other: onnx.TensorProto, folder: Path, other_folder: Path) -> bool:
    if onnx.TensorProto.EXTERNAL not in {one.data_location, other.data_location}:
        return bool(one == other)
    if (one.dims, one.data_type) != (other.dims, other.data_type):
        return False
    return all(a == b for a, b in zip_longest(_blocks(one, folder), _blocks(other, other_folder)))


def _blocks(tensor: onnx.TensorProto, folder: Path) -> Iterator[bytes]:
    """The raw bytes, piece by piece, so that a large external tensor never is in memory."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        data = numpy_helper.to_array(tensor).tobytes()
        yield from (data[i : i + BLOCK] for i in range(0, len(data), BLOCK))
        return
    entries = {entry.key: entry.value for entry in tensor.external_data}
    with (folder / entries["location"]).open("rb") as file:
        file.seek(int(entries.get("offset", 0)))
        left = int(entries["length"]) if "length" in entries else sys.maxsize
        while left and (block := file.read(min(left, BLOCK))):
            left -= len(block)
            yield block


def _check(original: onnx.ModelProto, path: Path) -> None:
    try:
        onnx.checker.check_model(str(path), full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        try:
            onnx.checker.check_model(original, full_check=True)
        except Exception:  # noqa: BLE001 - the original does not pass either, so nothing got worse
            return
        text = " ".join(str(error).split())[:300]
        raise FileError(f"the converted model does not pass onnx.checker: {text}") from error
