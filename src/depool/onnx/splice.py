"""Put a program in the place of a pool.

Given   x -> MaxPool -> y
Result  x -> Conv, Relu, Add, Concat ... -> y, the last node writing the very name y
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

from depool.choose import Conversion
from depool.geometry import Window
from depool.lowering.adapt import without_add
from depool.onnx.find import PoolSite
from depool.onnx.layout import WideConv, widen
from depool.program import Array, Concat, Conv, Node, sources

DTYPES: dict[str, Any] = {"bfloat16": ml_dtypes.bfloat16}


class Names:
    """Names that the model does not use yet."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self._taken = set(_names(model))

    def fresh(self, wanted: str) -> str:
        """`wanted`, or `wanted` with the first number that makes it new."""
        name, i = wanted, 2
        while name in self._taken:
            name, i = f"{wanted}_{i}", i + 1
        self._taken.add(name)
        return name


def _names(model: onnx.ModelProto) -> Iterator[str]:
    stack: list[Any] = [model.graph, *model.functions]
    while stack:
        body = stack.pop()
        if isinstance(body, onnx.GraphProto):
            yield from (v.name for v in (*body.input, *body.output, *body.initializer))
        else:
            yield from (*body.input, *body.output)
        for node in body.node:
            yield node.name
            yield from node.output
            stack += [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
            stack += [g for a in node.attribute for g in a.graphs]


def emit(
    site: PoolSite, conversion: Conversion, names: Names, ir_version: int
) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """The nodes that replace a pool, and their weights (empty where Constant nodes must hold them).

    Every node is named after the pool; from IR 10 each carries where it comes from in its metadata.
    """
    program = conversion.program if site.scope.opset > 6 else without_add(conversion.program)
    prefix = names.fresh(f"{site.node.name or site.output}/depool")
    constants = site.scope.is_function or ir_version < 4
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []
    values = [site.source]
    wide = widen(program, site.channels, dense=conversion.channels == "dense")
    for i, (node, conv) in enumerate(zip(program.nodes, wide, strict=True)):
        last = i == len(program.nodes) - 1
        inputs = [values[ref] for ref in sources(node)]
        name = f"{prefix}/{i}_{type(node).__name__}"
        if conv is not None:
            tensors = _tensors(conv, name, site.dtype)
            inputs += [tensor.name for tensor in tensors]
            if constants:
                nodes += [helper.make_node("Constant", [], [t.name], name=f"{t.name}_node", value=t) for t in tensors]
            else:
                weights += tensors
        values.append(site.output if last else name)
        attributes = _attributes(node, conv)
        nodes.append(helper.make_node(type(node).__name__, inputs, [values[-1]], name=name, **attributes))
    if ir_version >= 10:
        for made in nodes:
            _provenance(made, site, conversion)
    return nodes, weights


def _provenance(node: onnx.NodeProto, site: PoolSite, conversion: Conversion) -> None:
    described = {
        "depool.pool": site.where,
        "depool.op_type": site.node.op_type,
        "depool.scheme": conversion.scheme,
        "depool.form": conversion.form,
    }
    for key, value in described.items():
        node.metadata_props.add(key=key, value=value)


def _attributes(node: Node, conv: WideConv | None) -> dict[str, Any]:
    if isinstance(node, Concat):
        return {"axis": 1 + node.axis}
    if isinstance(node, Conv) and conv is not None:
        return _window(node.window) | {"group": conv.group}
    return {}


def _window(window: Window) -> dict[str, Any]:
    found: dict[str, Any] = {
        "dilations": list(window.dilations),
        "kernel_shape": list(window.kernel_shape),
        "strides": list(window.strides),
    }
    if isinstance(window.pads, str):
        return found | {"auto_pad": window.pads}
    return found | {"pads": [p[0] for p in window.pads] + [p[1] for p in window.pads]}


def _tensors(conv: WideConv, name: str, dtype: str) -> list[onnx.TensorProto]:
    made = [_tensor(conv.weight, f"{name}_weight", dtype)]
    if conv.bias is not None:
        made.append(_tensor(conv.bias, f"{name}_bias", dtype))
    return made


def _tensor(array: Array, name: str, dtype: str) -> onnx.TensorProto:
    return numpy_helper.from_array(array.astype(np.dtype(DTYPES.get(dtype, dtype))), name)
