"""Shapes of the tensors that pools read, by onnx's own shape inference on the converted model.

The converted model has no pools left whose windows inference may miscount, and weights are left out: none is needed.
"""

from __future__ import annotations

from collections.abc import Iterator

import onnx

from depool.onnx.graph import subgraphs

LARGE = 4096
Dims = tuple[int | None, ...]


def shapes(model: onnx.ModelProto) -> list[dict[str, Dims]]:
    """Dimensions by value name, one table for each graph in the order of `depool.onnx.graph.scopes`.

    Function bodies, and graphs that inference fails on, have no table or an empty one.
    """
    light = _without_weights(model)
    try:
        light = onnx.shape_inference.infer_shapes(light, data_prop=True)
    except Exception:  # noqa: BLE001 - onnx raises bare RuntimeErrors; then nothing is known, and the proof says so
        return []
    return list(_tables(light.graph))


def _without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    light = onnx.ModelProto(ir_version=model.ir_version)
    light.opset_import.extend(model.opset_import)
    light.functions.extend(model.functions)
    graph = light.graph
    graph.name = model.graph.name or "graph"
    graph.node.extend(model.graph.node)
    graph.input.extend(model.graph.input)
    graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.output)
    inputs = {value.name for value in graph.input}
    for tensor in model.graph.initializer:
        count = 1
        for size in tensor.dims:
            count *= size
        if count <= LARGE and tensor.data_location != onnx.TensorProto.EXTERNAL:
            graph.initializer.append(tensor)
        elif tensor.name not in inputs:
            graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    return light


def _tables(graph: onnx.GraphProto) -> Iterator[dict[str, Dims]]:
    table: dict[str, Dims] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        tensor = value.type.tensor_type
        if tensor.HasField("shape"):
            table[value.name] = tuple(d.dim_value if d.dim_value > 0 else None for d in tensor.shape.dim)
    yield table
    for node in graph.node:
        for _, inner in subgraphs(node):
            yield from _tables(inner)
