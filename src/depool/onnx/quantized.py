"""Pools on quantised tensors: DequantizeLinear -> pool -> QuantizeLinear is a pool on the integers.

    q = x / s + z rises with x, so max over q is the quantised max over x, whatever s > 0 and z are

With the lowest integer as zero point every value is >= 0, saturation there is the ReLU, and padding with the
zero point is padding with the smallest value: a chain of QLinearConv, weights +1 and -1, is bit-exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from depool.layout import WideConv
from depool.onnx.graph import Scope

INTEGERS: dict[int, str] = {onnx.TensorProto.INT8: "int8", onnx.TensorProto.UINT8: "uint8"}


@dataclass(frozen=True)
class QuantizedPool:
    """The integers around a float pool.

    Attributes:
        source: the integer tensor that is dequantised for the pool.
        output: the integer tensor that its result is quantised to.
        inner: the float tensors between them.
        dtype: ``int8`` or ``uint8``.
        scale: of both.
    """

    source: str
    output: str
    inner: tuple[str, str]
    dtype: str
    scale: float


def dequantized(node: onnx.NodeProto, scope: Scope) -> bool:
    """Whether a pool reads a DequantizeLinear: then only a bit-exact conversion is safe.

    What is quantised again may lie exactly between two integers, where the last bit decides.
    """
    before = scope.producers.get(node.input[0])
    return before is not None and before.op_type == "DequantizeLinear"


def quantized(node: onnx.NodeProto, scope: Scope) -> QuantizedPool | None:
    """The integers around a pool, where both sides have the same constant scale and zero point."""
    before = scope.producers.get(node.input[0])
    readers = scope.consumers.get(node.output[0], [])
    if before is None or len(readers) != 1 or node.output[0] in scope.outputs:
        return None
    after = readers[0]
    standard = {before.domain, after.domain} <= {"", "ai.onnx"}
    if not standard or before.op_type != "DequantizeLinear" or after.op_type != "QuantizeLinear":
        return None
    one, other = _parameters(before, scope), _parameters(after, scope)
    if one is None or one != other or one[0] <= 0 or scope.opset < 10:
        return None
    return QuantizedPool(before.input[0], after.output[0], (before.output[0], node.output[0]), one[2], one[0])


def _parameters(node: onnx.NodeProto, scope: Scope) -> tuple[float, int, str] | None:
    """(scale, zero point, integer type) where they are constants for the whole tensor."""
    if len(node.input) < 3:  # without a zero point the type is uint8, and nothing in the graph says so
        return None
    scale, zero = scope.constant(node.input[1]), scope.constant(node.input[2])
    if scale is None or zero is None or scale.size != 1 or zero.size != 1 or zero.dtype.name not in {"int8", "uint8"}:
        return None
    return float(scale.reshape(-1)[0]), int(zero.reshape(-1)[0]), zero.dtype.name


def parameters(prefix: str, dtype: str, scale: float) -> list[onnx.TensorProto]:
    """[scale of all tensors, their zero point, scale of the weights, their zero point]."""
    arrays: dict[str, Any] = {
        "scale": np.array(scale, np.float32),
        "zero": np.array(np.iinfo(dtype).min, dtype),
        "weight_scale": np.array(1, np.float32),
        "weight_zero": np.array(0, np.int8),
    }
    return [numpy_helper.from_array(array, f"{prefix}/{name}") for name, array in arrays.items()]


def qlinear_conv(
    conv: WideConv, x: str, y: str, name: str, shared: list[onnx.TensorProto], attributes: dict[str, Any]
) -> tuple[onnx.NodeProto, onnx.TensorProto]:
    """One convolution on integers, its ReLU included; and its weights."""
    scale, zero, weight_scale, weight_zero = (tensor.name for tensor in shared)
    weight = numpy_helper.from_array(conv.weight.astype(np.int8), f"{name}_weight")
    inputs = [x, scale, zero, weight.name, weight_scale, weight_zero, scale, zero]
    return helper.make_node("QLinearConv", inputs, [y], name=name, **attributes), weight
