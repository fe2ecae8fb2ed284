"""Operators that sum over windows, axes or channels."""

from __future__ import annotations

import math
from math import inf
from typing import Any

import numpy as np

from depool.onnx.bounds.call import Call, Rule, floating
from depool.onnx.bounds.interval import Range, hull, multiplied, outward, times
from depool.onnx.bounds.rounding import gamma, sum_range
from depool.onnx.bounds.values import Sums

TF32 = 2.0**-9  # what a product loses on hardware that shortens float32 inputs to 11 bits
MOST_TERMS = 2.0**24  # of a sum whose length is not known here, by assumption


def _mean(call: Call, terms: float) -> Range:
    """A mean of so many numbers (inf where unknown), each within the input's bounds."""
    number = call.number
    # where gamma says nothing: each addition is off by at most the smaller of its two operands
    relative = min(gamma(terms + 2, number), 2.0)
    most = number.largest / (2 * min(terms, MOST_TERMS))  # beyond, the sum may overflow
    low, high = (end if abs(end) < most else math.copysign(inf, end) for end in call.x().bounds)
    low, high = (0.0 if low == inf else low), (0.0 if high == -inf else high)
    return outward((low, high), relative, number.tiny)


def _average_pool(call: Call) -> Range:
    mean = _mean(call, math.prod(call.attributes["kernel_shape"]))
    return hull(mean, (0.0, 0.0)) if _pads(call) or call.get("ceil_mode", 0) else mean


def _pads(call: Call) -> bool:
    return any(call.attributes.get("pads", ())) or call.text("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}


def _reduced_sum(call: Call) -> Range:
    low, high = call.x().bounds
    return (0.0 if low >= 0 else -inf), (0.0 if high <= 0 else inf)


def _weighted(call: Call, x: Range, sums: Sums | None, bias: tuple[Any, Any]) -> Range | None:
    """Sum of w * x, plus a bias within two arrays: for each output channel, then over all."""
    if sums is None:
        return None
    (low, high), plus, minus = x, sums.positive, sums.negative
    parts = [(times(plus, low), times(plus, high)), (times(minus, high), times(minus, low)), bias]
    return sum_range(parts, sums.terms + 1, call.dtype, product_error=TF32)


def _conv(call: Call) -> Range | None:
    x = call.x()
    bias = call.array(2, np.zeros(1)) if x.known else None  # for an unknown input no weights are read
    if bias is None:
        return None
    value = bias.astype(np.float64)
    bounds = hull(x.bounds, (0.0, 0.0)) if _pads(call) else x.bounds
    return _weighted(call, bounds, call.sums(1, None), (value, value))


def _gemm(call: Call) -> Range | None:
    beta = call.get("beta", 1.0)
    bias = multiplied(call.x(2).bounds, (beta, beta)) if call.has(2) else (0.0, 0.0)
    axes = (-2 if call.get("transA", 0) else -1, -1 if call.get("transB", 0) else -2)
    return _matmul(call, axes, call.get("alpha", 1.0), bias)


def _matmul(call: Call, axes: tuple[int, int] = (-1, -2), alpha: float = 1.0, bias: Range = (0.0, 0.0)) -> Range | None:
    """The product of a bounded and a constant factor, or of two that are >= 0; the axes are those summed over."""
    for variable, constant in ((0, 1), (1, 0)):
        if call.varies(variable) and not call.varies(constant):
            x = call.x(variable)
            sums = call.sums(constant, axes[constant]) if x.known else None
            return _weighted(call, multiplied(x.bounds, (alpha, alpha)), sums, bias)
    if not call.varies(0):
        return None
    return (0.0, inf) if min(call.x(0).lower, call.x(1).lower, bias[0], alpha) >= 0 else None


def _batch_norm(call: Call) -> Range | None:
    x = call.x()
    training = call.get("training_mode", 0) != 0 or len(list(filter(None, call.node.output))) > 1
    if not x.known or training or call.opset < 7:
        return None
    scale, shift, mean, variance = (np.asarray(call.array(i), np.float64) for i in (1, 2, 3, 4))
    k = scale / np.sqrt(variance + call.get("epsilon", 1e-5))
    low, high = np.sort(np.stack([times(k, x.lower), times(k, x.upper)]), axis=0)  # never NaN where k is finite
    return sum_range([(low, high), (-k * mean, -k * mean), (shift, shift)], 8, call.dtype)


_NORMS = ("ReduceL1", "ReduceL2", "ReduceSumSquare", "LpPool", "GlobalLpPool")
SELECTED: dict[str, Rule] = dict.fromkeys(_NORMS, floating(lambda _: (0.0, inf)))
COMPUTED: dict[str, Rule] = {
    "Conv": _conv,  # sum of w * x, + b
    "MatMul": _matmul,  # a @ b
    "Gemm": _gemm,  # alpha * a @ b + beta * c
    "BatchNormalization": _batch_norm,  # (x - mean) * scale / sqrt(variance + epsilon) + shift
    "AveragePool": _average_pool,
    "GlobalAveragePool": lambda call: _mean(call, inf),
    "ReduceMean": lambda call: _mean(call, inf),
    "ReduceSum": _reduced_sum,
    "Softmax": lambda _: (0.0, 1.0),
}
