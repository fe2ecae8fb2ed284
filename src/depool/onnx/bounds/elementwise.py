"""Operators that work element by element: arithmetic, comparisons, and activations with a kink."""

from __future__ import annotations

from collections.abc import Callable
from math import inf
from typing import Any

import numpy as np

from depool.onnx.bounds.call import Call, Rule, floating
from depool.onnx.bounds.interval import SOME_FLOAT, Interval, Range, hull, multiplied, outward
from depool.onnx.bounds.rounding import FLOATS, UNROUNDED, sum_range


def _rising(function: Callable[[float], Any]) -> Rule:
    """The rule of a function that never falls, and rounds to nothing new."""
    return lambda call: (float(function(call.x().lower)), float(function(call.x().upper)))


def _thresholded(call: Call) -> Range:
    low, high = call.x().bounds
    alpha = call.get("alpha", 1.0)
    alpha -= abs(alpha) * call.number.slack
    return hull((0.0, 0.0), (max(low, alpha), high)) if high > alpha else (0.0, 0.0)


def _clip(call: Call) -> Range:
    if call.opset < 11:
        rounding = 8 * FLOATS.get(call.dtype, FLOATS[SOME_FLOAT]).u
        low, high = outward((call.get("min", -inf), call.get("max", inf)), rounding, 0.0)
        least, most = (low, low), (high, high)
    else:
        least = call.x(1).bounds if call.has(1) else (-inf, -inf)
        most = call.x(2).bounds if call.has(2) else (inf, inf)
    # where min > max, the versions of the operator differ: take in both orders
    ends = [(min(max(x, a), b), max(min(x, b), a)) for x, a, b in zip(call.x().bounds, least, most, strict=True)]
    return min(ends[0]), max(ends[1])


def _sum(call: Call) -> Range:
    return sum_range(call.every(), len(call.node.input), call.dtype)


def _difference(call: Call) -> Range:
    low, high = call.x(1).bounds
    return sum_range([call.x(0).bounds, (-high, -low)], 2, call.dtype)


def _mean(call: Call) -> Range:
    low, high = _sum(call)
    return low / len(call.node.input), high / len(call.node.input)


def _product(call: Call) -> Range:
    low, high = multiplied(call.x(0).bounds, call.x(1).bounds)
    return (max(low, 0.0), high) if call.node.input[0] == call.node.input[1] else (low, high)


def _quotient(call: Call, a: Range, b: Interval) -> Range | None:
    tiny = call.number.tiny
    if b.lower <= tiny and b.upper >= -tiny:  # it may be 0, and -0.0 would turn the sign
        return None
    return outward(multiplied(a, (1 / b.upper, 1 / b.lower)), 0.0, tiny)


def _absolute(call: Call) -> Range:
    low, high = call.x().bounds
    return max(low, -high, 0.0), max(-low, high)


def _power(call: Call) -> Range | None:
    (low, high), (exponent, same) = call.x(0).bounds, call.x(1).bounds
    if exponent != same or not 0 < exponent < UNROUNDED:
        return (0.0, inf) if low >= 0 and exponent >= 0 else None
    if exponent % 2 == 0:
        low, high = _absolute(call)
    elif low < 0 and exponent % 1 != 0:
        return None
    relative = 2 * exponent * call.number.u + (0.0 if exponent in {1.0, 2.0, 3.0} else call.number.slack)
    ends = [float(np.copysign(np.power(abs(end), exponent), end)) for end in (low, high)]
    return outward((ends[0], ends[1]), relative, 0.0)


def _sloped(call: Call, slope: Range) -> Range:
    low, high = call.x().bounds
    parts = [(max(low, 0.0), high)] if high >= 0 else []
    if low < 0:
        parts.append(multiplied((low, min(high, 0.0)), slope))
    return hull(*parts)


SELECTED: dict[str, Rule] = {
    "Relu": _rising(lambda x: max(x, 0.0)),
    "ThresholdedRelu": _thresholded,  # x where x > alpha, else 0
    "Clip": _clip,  # min(max(x, low), high)
    "Floor": _rising(np.floor),
    "Ceil": _rising(np.ceil),
    "Round": _rising(np.rint),
    "Sign": _rising(np.sign),
    "Max": lambda call: (max(low for low, _ in call.every()), max(high for _, high in call.every())),
    "Min": lambda call: (min(low for low, _ in call.every()), min(high for _, high in call.every())),
    "Where": lambda call: hull(call.x(1).bounds, call.x(2).bounds),
}
COMPUTED: dict[str, Rule] = {
    "Add": _sum,
    "Sum": _sum,
    "Sub": _difference,
    "Mean": floating(_mean),
    "Mul": _product,  # x * x >= 0
    "Div": lambda call: _quotient(call, call.x(0).bounds, call.x(1)),
    "Reciprocal": lambda call: _quotient(call, (1.0, 1.0), call.x()),
    "Neg": lambda call: (-call.x().upper, -call.x().lower),
    "Abs": _absolute,
    "Pow": floating(_power),
    "LeakyRelu": lambda call: _sloped(call, (call.get("alpha", 0.01),) * 2),  # x where x >= 0, else alpha * x
    "PRelu": lambda call: _sloped(call, call.x(1).bounds),  # the same, with a slope for each channel
}
