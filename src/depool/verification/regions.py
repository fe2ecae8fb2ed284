"""Cut the part between two tensors out of a model, as a model of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from depool.errors import DepoolError
from depool.geometry import Size
from depool.onnx.graph import Scope

ELEMENTS = {
    "float32": onnx.TensorProto.FLOAT,
    "float64": onnx.TensorProto.DOUBLE,
    "float16": onnx.TensorProto.FLOAT16,
    "bfloat16": onnx.TensorProto.BFLOAT16,
    "int8": onnx.TensorProto.INT8,
    "uint8": onnx.TensorProto.UINT8,
}


class RegionError(DepoolError):
    """The two tensors are not joined in the way a pool or its replacement joins them."""


def region(
    scope: Scope, source: str, output: str, channels: int, sizes: tuple[Size, ...], dtype: str, *, relu: bool
) -> onnx.ModelProto:
    """The nodes between `source` and `output`.

    Args:
        scope: where both live.
        source: the tensor that becomes the input.
        output: the tensor that becomes the output.
        channels: of `source`.
        sizes: its spatial sizes, None where dynamic.
        dtype: NumPy's name of the type to run in; weights of other floating-point types are cast to it.
        relu: whether the result is what a following ReLU gives.

    Raises:
        RegionError: where the output depends on anything but the source and constants.
    """
    nodes: list[onnx.NodeProto] = []
    weights: dict[str, onnx.TensorProto] = {}
    seen = {source, ""}
    stack = [(output, False)]
    while stack:  # a node follows all that it reads, so this takes no longer than the region is large
        name, ready = stack.pop()
        node = scope.producers.get(name)
        if ready and node is not None:
            nodes.append(node)
        elif name in seen:
            continue
        elif node is not None and node.op_type != "Constant":
            seen.update(node.output)
            stack += [(name, True), *((read, False) for read in node.input)]
        else:
            seen.add(name)
            array = scope.constant(name)
            if array is None:
                raise RegionError(f"{output!r} depends on {name!r}, which is neither {source!r} nor a constant")
            weights[name] = numpy_helper.from_array(_cast(array, dtype), name)
    if not nodes:
        raise RegionError(f"nothing stands between {source!r} and {output!r}")
    result = output
    if relu:
        result = f"{output}/relu"
        nodes.append(helper.make_node("Relu", [output], [result]))
    rank = len(sizes)
    dims: list[Any] = ["N", channels, *(f"d{i}" if n is None else n for i, n in enumerate(sizes))]
    elements = ELEMENTS[dtype]
    graph = helper.make_graph(
        nodes,
        "region",
        [helper.make_tensor_value_info(source, elements, dims)],
        [helper.make_tensor_value_info(result, elements, ["M", "K", *(f"o{i}" for i in range(rank))])],
        list(weights.values()),
    )
    opsets = [helper.make_opsetid("", scope.opset)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8 if dtype != "bfloat16" else 10)


def _cast(array: Any, dtype: str) -> Any:
    floating = array.dtype.kind == "f" or array.dtype.name == "bfloat16"
    return array.astype(np.float32) if floating and dtype == "float32" else array
