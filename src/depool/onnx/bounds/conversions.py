"""Operators that turn one element type into another."""

from __future__ import annotations

import numpy as np
import onnx

from depool.onnx.bounds.call import Call, Rule
from depool.onnx.bounds.interval import Interval, Range, outward
from depool.onnx.bounds.rounding import FLOATS, INTEGERS, natural


def _cast(call: Call) -> Range:
    kept = call.dtype in FLOATS or call.x().dtype in INTEGERS
    return call.x().bounds if kept and call.dtype != onnx.TensorProto.BOOL else natural(call.dtype)


def _quantized(call: Call) -> Range:
    scale, zero = call.array(1), call.array(2, np.zeros(1))
    least, most = INTEGERS[call.dtype]
    if scale is None or zero is None or not (scale > 0).all():
        return least, most
    s, z = scale.astype(np.float64), zero.astype(np.float64)
    low, high = outward(call.x().bounds, 2**-7, 0.0)
    return max(least, float((np.floor(low / s) + z).min())), min(most, float((np.ceil(high / s) + z).max()))


def _dequantized(call: Call) -> Range | None:
    scale, zero = call.array(1), call.array(2, np.zeros(1, np.uint8))
    if scale is None or zero is None or not (scale > 0).all():
        return None
    q = call.x() if call.varies(0) else Interval()  # quantised weights are not read
    least, most = INTEGERS[onnx.helper.np_dtype_to_tensor_dtype(zero.dtype) if call.has(2) else q.dtype]
    s, z = scale.astype(np.float64), zero.astype(np.float64)
    return float(((max(q.lower, least) - z) * s).min()), float(((min(q.upper, most) - z) * s).max())


SELECTED: dict[str, Rule] = {
    "QuantizeLinear": _quantized,  # round(x / scale) + zero, cut off at the type's ends
}
COMPUTED: dict[str, Rule] = {
    "Cast": _cast,
    "DequantizeLinear": _dequantized,  # (q - zero) * scale
}
