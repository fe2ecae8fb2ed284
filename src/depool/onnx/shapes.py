"""Types and shapes of every value, in the main graph, its subgraphs and model-local functions.

onnx's own shape inference does the work, on a copy of the model without its large weights. Two things are
added: ceil-mode pools below opset 22, where inference counts a window that the runtimes drop, are corrected;
and function bodies, which inference passes over, are inferred from the shapes at their call sites.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import onnx

from depool.errors import DepoolError, FileError
from depool.onnx.graph import attributes, function_path, inner_graphs, reads, standard_opset, subgraphs
from depool.onnx.spec import pool_spec

LARGE = 1024
"""Weights of more elements than this are not needed to infer shapes."""


@dataclass(frozen=True)
class ValueType:
    """A tensor's element type (onnx's number) and dimensions; None where unknown."""

    elem_type: int
    dims: tuple[int | None, ...] | None


Types = Mapping[str, ValueType]


def infer(model: onnx.ModelProto) -> dict[str, Types]:
    """Types by scope path (as in graph.scopes) and value name."""
    light = _without_weights(model)
    inferred = _infer_corrected(light)
    found: dict[str, Types] = {}
    _collect(inferred.graph, "", found, ChainMap())
    bodies = {(f.domain, f.name, f.overload): f for f in model.functions}
    if bodies:
        _infer_functions(light, inferred, bodies, found)
    return found


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(model.graph.output)
    graph.value_info.extend(model.graph.value_info)
    inputs = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        elements = 1
        for size in tensor.dims:
            elements *= size
        if elements <= LARGE and tensor.data_location != onnx.TensorProto.EXTERNAL:
            graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            # of a large vector not even the length, for inference would follow each element as if it were a shape
            dims = list(tensor.dims) if len(tensor.dims) > 1 else None
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, dims))
    return light


def _infer_corrected(light: onnx.ModelProto) -> onnx.ModelProto:
    """Infer; write out the pads of ceil-mode pools that came out wrong; again until none does."""
    opset = standard_opset(light.opset_import)
    while True:
        try:
            inferred = onnx.shape_inference.infer_shapes(light, data_prop=True)
        except Exception as error:  # onnx raises bare RuntimeErrors and its own InferenceError here
            raise FileError(f"onnx's shape inference fails on this model: {_one_line(error)}") from error
        if opset >= 22 or not _correct(light, inferred):
            return inferred


def _correct(light: onnx.ModelProto, inferred: onnx.ModelProto) -> bool:
    """Write out the pads of pools whose last window onnx counts and the runtimes drop.

    Behind such a pool all sizes are wrong, so those that depend on one wait for the next inference. There are few:
    each pool on the way has strides above 1, and makes its input smaller.
    """
    types: dict[str, Types] = {}
    _collect(inferred.graph, "", types, ChainMap())
    stale: set[str] = set()
    _correct_graph(light.graph, "", types, stale)
    if stale:
        forget_shapes(light.graph)
    return bool(stale)


def _correct_graph(graph: onnx.GraphProto, path: str, types: Mapping[str, Types], stale: set[str]) -> None:
    """In topological order, what is inside a node before it; `stale` are names of tensors whose sizes were wrong."""
    inside = inner_graphs(graph, path)
    for node in graph.node:
        for _ in subgraphs(node):
            inner_path, inner = next(inside)
            _correct_graph(inner, inner_path, types, stale)
        results = {value.name for _, inner in subgraphs(node) for value in inner.output}
        if not stale.isdisjoint((*reads(node), *results)) or _corrected(node, types[path]):
            stale.update(node.output)


def _corrected(node: onnx.NodeProto, types: Types) -> bool:
    """Whether a pool's windows were counted wrong; then its pads are written out now."""
    if node.op_type not in {"MaxPool", "AveragePool"} or node.domain or not attributes(node).get("ceil_mode"):
        return False
    dims = types[node.input[0]].dims if node.input[0] in types else None
    if dims is None or None in dims[2:]:
        return False
    static = tuple(size for size in dims[2:] if size is not None)
    try:
        spec = pool_spec(node, len(static))
        window = spec.resolve(static)
    except DepoolError:
        return False
    pads = window.explicit_pads(static)
    counted = (
        -(-(size + sum(declared) - extent) // stride) + 1
        for size, declared, extent, stride in zip(static, spec.pads, window.extent, spec.strides, strict=True)
    )
    if tuple(counted) == window.out_sizes(static) or spec.auto_pad not in {"NOTSET", "VALID"}:
        return False
    _set_attribute(node, "pads", [p[0] for p in pads] + [p[1] for p in pads])
    _set_attribute(node, "ceil_mode", 0)
    _set_attribute(node, "auto_pad", "NOTSET")
    return True


def forget_shapes(graph: onnx.GraphProto) -> None:
    """Drop every declared shape but the inputs': they were computed with a window too many."""
    del graph.value_info[:]
    for output in graph.output:
        output.type.tensor_type.ClearField("shape")
    for node in graph.node:
        for _, inner in subgraphs(node):
            forget_shapes(inner)


def _set_attribute(node: onnx.NodeProto, name: str, value: Any) -> None:
    kept = [a for a in node.attribute if a.name != name]
    del node.attribute[:]
    node.attribute.extend([*kept, onnx.helper.make_attribute(name, value)])


def _collect(graph: onnx.GraphProto, path: str, found: dict[str, Types], outer: ChainMap[str, ValueType]) -> None:
    """Types of a graph and its subgraphs; a subgraph sees the values around it."""
    types = outer.new_child()
    for tensor in graph.initializer:
        types[tensor.name] = ValueType(tensor.data_type, tuple(tensor.dims))
    for value in (*graph.input, *graph.output, *graph.value_info):
        if value.type.HasField("tensor_type"):
            types[value.name] = _value_type(value)
    found[path] = types
    for inner_path, inner in inner_graphs(graph, path):
        _collect(inner, inner_path, found, types)


def _value_type(value: onnx.ValueInfoProto) -> ValueType:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return ValueType(tensor.elem_type, None)
    sizes = (dim.dim_value if dim.HasField("dim_value") else 0 for dim in tensor.shape.dim)
    return ValueType(tensor.elem_type, tuple(size if size > 0 else None for size in sizes))


def _infer_functions(
    light: onnx.ModelProto,
    inferred: onnx.ModelProto,
    bodies: Mapping[tuple[str, str, str], onnx.FunctionProto],
    found: dict[str, Types],
) -> None:
    """Each call's argument types go into a copy of the body; several calls keep what they agree on."""
    waiting = [(node, found[path]) for path, node in _nodes(inferred.graph, "")]
    while waiting:
        call, types = waiting.pop()
        body = bodies.get((call.domain, call.op_type, call.overload))
        if body is None:
            continue
        path = function_path(body)
        inner = _infer_call(light, body, call, types)
        fresh: dict[str, Types] = {}
        _collect(inner.graph, path, fresh, ChainMap())
        for scope, values in fresh.items():
            known = found.get(scope)
            found[scope] = values if known is None else _agreed(known, values)
        waiting += [(node, fresh[scope]) for scope, node in _nodes(inner.graph, path)]


def _infer_call(
    light: onnx.ModelProto, body: onnx.FunctionProto, call: onnx.NodeProto, types: Types
) -> onnx.ModelProto:
    arguments = dict(zip(body.input, call.input, strict=False))
    given = {a.name: a for a in (*body.attribute_proto, *call.attribute)}
    inputs = []
    for name in body.input:
        known = types.get(arguments.get(name, ""), ValueType(0, None))
        dims = None if known.dims is None else [size if size is not None else "" for size in known.dims]
        inputs.append(onnx.helper.make_tensor_value_info(name, known.elem_type, dims))
    nodes = []
    for node in body.node:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        for attribute in copy.attribute:
            if attribute.ref_attr_name in given:
                name = attribute.name
                attribute.CopyFrom(given[attribute.ref_attr_name])
                attribute.name = name
        nodes.append(copy)
    outputs = [onnx.ValueInfoProto(name=name) for name in body.output]
    model = onnx.ModelProto(ir_version=light.ir_version, opset_import=body.opset_import or light.opset_import)
    model.graph.CopyFrom(onnx.helper.make_graph(nodes, body.name, inputs, outputs))
    model.functions.extend(light.functions)
    return _infer_corrected(model)


def _agreed(one: Types, other: Types) -> Types:
    agreed = {}
    for name in one.keys() & other.keys():
        a, b = one[name], other[name]
        dims: tuple[int | None, ...] | None = None
        if a.dims is not None and b.dims is not None and len(a.dims) == len(b.dims):
            dims = tuple(x if x == y else None for x, y in zip(a.dims, b.dims, strict=True))
        agreed[name] = ValueType(a.elem_type if a.elem_type == b.elem_type else 0, dims)
    return agreed


def _nodes(graph: onnx.GraphProto, path: str) -> Iterator[tuple[str, onnx.NodeProto]]:
    yield from ((path, node) for node in graph.node)
    for inner_path, inner in inner_graphs(graph, path):
        yield from _nodes(inner, inner_path)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
