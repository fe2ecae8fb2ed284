"""The element type of each value, as far as rounding and wrapping need it."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

import onnx
from onnx import TensorProto as Type

from depool.onnx.bounds.curves import CURVES
from depool.onnx.bounds.gates import SELF_GATED
from depool.onnx.bounds.interval import SOME_FLOAT, UNKNOWN
from depool.onnx.bounds.rules import PASSED, RULES
from depool.onnx.bounds.values import Values

WEIGHTED = {"Conv", "Gemm", "MatMul", "BatchNormalization"}
# of the operators in the tables, the output has the type of the first input, or of all inputs alike
ALIKE = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Concat", "Clip", "PRelu", "Gemm", "MatMul"}
FLOAT_ONLY = ((CURVES.keys() | SELF_GATED.keys()) - {"Erf"}) | {
    *("LeakyRelu", "ThresholdedRelu", "Softmax", "LogSoftmax", "Conv", "ConvTranspose", "BatchNormalization"),
    *("AveragePool", "GlobalAveragePool", "LpPool", "GlobalLpPool", "Reciprocal"),
    *("InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN", "Cos", "Sin", "Log"),
}


def described(infos: Any) -> dict[str, int]:
    """The element types that a graph states."""
    return {info.name: info.type.tensor_type.elem_type for info in infos}


def output_type(node: onnx.NodeProto, attributes: Mapping[str, Any], stated: int, values: Values) -> int:
    """The element type of a node's first output, given what the graph states; UNKNOWN where nothing tells."""
    op, inputs = node.op_type, list(node.input)
    if op in {"Shape", "Size"}:
        return int(Type.INT64)
    if op == "Cast":
        return int(attributes["to"])
    if op == "ConstantOfShape":
        return int(attributes["value"].data_type) if "value" in attributes else Type.FLOAT
    if op in {"QuantizeLinear", "DequantizeLinear"}:
        typed, default = (inputs[2:3], Type.UINT8) if op == "QuantizeLinear" else (inputs[1:2], SOME_FLOAT)
        return int(attributes.get("output_dtype", 0)) or (values.interval(typed[0]).dtype if typed else default)
    if op not in PASSED and op not in RULES and op not in FLOAT_ONLY:
        return stated
    sources = inputs[1:3] if op == "Where" else inputs if op in ALIKE else inputs[:1]
    derived = [values.known[name].dtype for name in sources if name in values.known]
    constants = (values.interval(name).dtype for name in sources if op not in WEIGHTED)  # weights are not read for it
    vague = SOME_FLOAT if op in FLOAT_ONLY or SOME_FLOAT in derived else UNKNOWN
    return next((t for t in chain(derived, [stated], constants) if t not in {UNKNOWN, SOME_FLOAT}), vague)
