"""Outside the pools the two models must be the same: interface, nodes, weights; and the hashes of their files."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import zip_longest
from pathlib import Path
from typing import Any

import onnx

from depool.onnx.files import Source, external_locations
from depool.onnx.graph import Scope
from depool.proof.problem import ProofError

CHUNK = 1 << 20


def hashes(source: Source) -> dict[str, Any]:
    """SHA-256 of a model's file and of its external data."""
    return {
        "sha256": hashlib.sha256(_bytes(source)).hexdigest(),
        "external data": {name: _file_hash(source.folder / name) for name in sorted(external_locations(source.model))},
    }


def _bytes(source: Source) -> bytes:
    """The file's bytes; of a model that is not (or no longer) what its file holds, its serialisation."""
    path = Path(source.name)
    if path.is_file():
        data = path.read_bytes()
        parsed = onnx.ModelProto()
        parsed.ParseFromString(data)
        if parsed == source.model:
            return data
    serialised: bytes = source.model.SerializeToString(deterministic=True)
    return serialised


def _file_hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def check_interface(original: onnx.ModelProto, converted: onnx.ModelProto) -> list[str]:
    """Compare what surrounds the nodes; dimensions that the conversion fixed are returned in words.

    Raises:
        ProofError: names the first difference.
    """
    if original.ir_version != converted.ir_version or _opsets(original) != _opsets(converted):
        raise ProofError("the models have different opsets or IR versions")
    theirs = {e.key: e.value for e in converted.metadata_props if not e.key.startswith("depool.")}
    if theirs != {e.key: e.value for e in original.metadata_props if not e.key.startswith("depool.")}:
        raise ProofError("the models' metadata differ")
    fixed = []
    for what in ("input", "output"):
        ours, other = getattr(original.graph, what), getattr(converted.graph, what)
        if [(v.name, v.type.tensor_type.elem_type) for v in ours] != [
            (v.name, v.type.tensor_type.elem_type) for v in other
        ]:
            raise ProofError(f"the models' {what}s differ")
        if what == "input":
            fixed = [_fixed(a, b) for a, b in zip(ours, other, strict=True) if a.type != b.type]
    bodies = [
        [(f.domain, f.name, f.overload, [*f.input], [*f.output]) for f in m.functions] for m in (original, converted)
    ]
    if bodies[0] != bodies[1]:
        raise ProofError("the models' functions differ")
    return fixed


def _opsets(model: onnx.ModelProto) -> list[tuple[str, int]]:
    return [(entry.domain, entry.version) for entry in model.opset_import]


def _fixed(ours: onnx.ValueInfoProto, other: onnx.ValueInfoProto) -> str:
    before, after = ours.type.tensor_type.shape.dim, other.type.tensor_type.shape.dim
    declared = ours.type.tensor_type.HasField("shape")
    if declared and (
        len(before) != len(after)
        or any(a.dim_value > 0 and a.dim_value != b.dim_value for a, b in zip(before, after, strict=True))
    ):
        raise ProofError(f"the models' input {ours.name!r} differs in shape")
    return f"input {ours.name!r} has shape {[d.dim_value or d.dim_param or '?' for d in after]}"


def check_scope(
    original: Scope, converted: Scope, pools: set[str], inner: set[str], region: set[int], weights: set[str]
) -> None:
    """Compare one graph's nodes and weights, pools and their replacements aside.

    Args:
        original: the graph as it was.
        converted: the same graph now.
        pools: outputs of the pools that were replaced.
        inner: tensors that became part of a pool; they may be gone.
        region: positions of the nodes that replace pools.
        weights: initialisers that they read.

    Raises:
        ProofError: names the first node or weight that differs.
    """
    dead = unread(original, converted)
    region = region | dead
    weights = weights | {name for i in dead for name in converted.nodes[i].input}
    there = {name for node in converted.nodes for name in node.output}
    gone = pools | {name for name in inner if name not in there}
    ours = [node for node in original.nodes if not (node.output and node.output[0] in gone)]
    other = [node for i, node in enumerate(converted.nodes) if i not in region]
    place = original.path or "the graph"
    for one, two in zip(ours, other, strict=False):
        if _bare(one) != _bare(two):
            raise ProofError(f"outside the pools, node {two.name or two.op_type!r} of {place} is not the original's")
    if len(ours) != len(other):
        odd = max(ours, other, key=len)[min(len(ours), len(other))]
        raise ProofError(f"outside the pools, node {odd.name or odd.op_type!r} of {place} stands in one model only")
    if isinstance(original.container, onnx.GraphProto):
        _check_weights(original, converted, weights)
        for what in ("input", "output") if original.path else ():
            if [v.name for v in getattr(original.container, what)] != [
                v.name for v in getattr(converted.container, what)
            ]:
                raise ProofError(f"the {what}s of {place} differ")


def unread(original: Scope, converted: Scope) -> set[int]:
    """Positions of the nodes that were added and whose results nothing reads: they change nothing."""
    known = {name for node in original.nodes for name in node.output}
    dead: set[int] = set()
    readers = {name: len(nodes) for name, nodes in converted.consumers.items()}
    for i, node in reversed(list(enumerate(converted.nodes))):
        if all(not readers.get(n) and n not in converted.outputs and n not in known for n in node.output):
            dead.add(i)
            for name in node.input:
                readers[name] = readers.get(name, 1) - 1
    return dead


def _bare(node: onnx.NodeProto) -> onnx.NodeProto:
    """A node without its subgraphs, which are scopes of their own."""
    if not any(a.HasField("g") or a.graphs for a in node.attribute):
        return node
    bare = onnx.NodeProto()
    bare.CopyFrom(node)
    for attribute in bare.attribute:
        attribute.ClearField("g")
        attribute.ClearField("graphs")
    return bare


def _check_weights(original: Scope, converted: Scope, weights: set[str]) -> None:
    ours = {tensor.name: tensor for tensor in original.container.initializer}
    theirs = {tensor.name: tensor for tensor in converted.container.initializer}
    for name, tensor in ours.items():
        twin = theirs.get(name)
        if twin is None:
            raise ProofError(f"weight {name!r} is missing in the converted model")
        if (tensor.data_type, [*tensor.dims]) != (twin.data_type, [*twin.dims]) or any(
            a != b for a, b in zip_longest(_parts(tensor, original.folder), _parts(twin, converted.folder))
        ):
            raise ProofError(f"weight {name!r} is not the original's")
    extra = theirs.keys() - ours.keys() - weights
    if extra:
        raise ProofError(f"weight {min(extra)!r} belongs to no pool's replacement")
    sparse = [
        [t.SerializeToString(deterministic=True) for t in s.container.sparse_initializer] for s in (original, converted)
    ]
    if sparse[0] != sparse[1]:
        raise ProofError("the sparse weights differ")


def _parts(tensor: onnx.TensorProto, folder: Path) -> Iterator[bytes]:
    """A weight's bytes in pieces of one size, whether they lie in the model or beside it."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        data = onnx.numpy_helper.to_array(tensor).tobytes()
        yield from (data[i : i + CHUNK] for i in range(0, len(data), CHUNK))
        return
    entries = {entry.key: entry.value for entry in tensor.external_data}
    left = int(entries["length"]) if "length" in entries else None
    with (folder / entries["location"]).open("rb") as file:
        file.seek(int(entries.get("offset", 0)))
        while left is None or left > 0:
            chunk = file.read(CHUNK if left is None else min(CHUNK, left))
            if not chunk:
                return
            left = None if left is None else left - len(chunk)
            yield chunk
