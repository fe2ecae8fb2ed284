"""What range of values each tensor of a scope can take: a forward interval analysis in one pass.

Zero padding of a max pool is exact where the input is known to be >= 0; a pure chain of convolutions needs some known
lower bound. Both rest on what is derived here, so "unknown" is the answer wherever a rule does not apply.
Assumed: gates (Sigmoid, 1 + Erf, 1 + Tanh) reach 0 far to the left, as those of every runtime checked do, and
convolutions are summed directly (a Winograd transform of non-negative data may give -1e-7).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from math import inf
from types import MappingProxyType
from typing import Any

import numpy as np
import onnx

from depool.onnx.activations import CURVES, SELF_GATED, Match, Products, Range
from depool.onnx.graph import Array, Scope, attributes
from depool.onnx.interval_rules import (
    COMPUTED,
    FLOATS,
    INTEGERS,
    PASSED,
    SELECTED,
    SOME_FLOAT,
    UNKNOWN,
    Call,
    Interval,
    Rule,
    Sums,
    natural,
    outward,
    settled,
)

__all__ = ["Interval", "intervals"]

# what odd models make rules and readers of constants raise; then nothing is known
ODD = (ArithmeticError, AttributeError, LookupError, OSError, TypeError, ValueError, onnx.checker.ValidationError)
SMALL = 2**14  # arrays up to this size are kept, of larger ones only what was asked for
WEIGHTED = {"Conv", "Gemm", "MatMul", "BatchNormalization"}
NO_OUTER: Mapping[str, Interval] = MappingProxyType({})


def intervals(
    scope: Scope, declared: Mapping[str, tuple[float, float]], outer: Mapping[str, Interval] = NO_OUTER
) -> dict[str, Interval]:
    """Bounds on the values of a scope.

    Args:
        scope: the graph or function body.
        declared: ranges that the user vouches for, by the name of a value that is no constant.
        outer: the bounds of the values of all enclosing scopes.

    Returns:
        an entry for each value of which something is known; of constants, only of those that a rule has read.
    """
    analysis = _Analysis(scope, declared, outer)
    with np.errstate(all="ignore"):
        for node in scope.nodes:
            analysis.visit(node)
    own = {name: interval for name, interval in analysis.known.items() if name not in analysis.outer}
    return {name: interval for name, interval in (analysis.constants | own).items() if interval.known}


class _Analysis:
    """The state of one pass: what is known of each value, and what was read of each constant."""

    def __init__(self, scope: Scope, declared: Mapping[str, Range], outer: Mapping[str, Interval]) -> None:
        self.scope = scope
        self.declared = declared
        self.constants: dict[str, Interval] = {}
        self.arrays: dict[str, Array | None] = {}
        self.sums: dict[tuple[str, int | None], Sums | None] = {}
        self.products = Products(self.point)
        self.types = _described(scope.container.value_info)
        inputs: dict[str, int] = dict.fromkeys(scope.container.input, UNKNOWN) if scope.is_function else {}
        if not scope.is_function:
            self.types |= _described(scope.container.output)
            inputs = _described(scope.container.input)
            if scope.parent is None:  # an initialiser may be listed as an input, and be constant all the same
                initial = {tensor.name for tensor in scope.container.initializer}
                inputs = {name: dtype for name, dtype in inputs.items() if name not in initial}
        self.outer = {n: interval for n, interval in outer.items() if n not in scope.producers and n not in inputs}
        self.known: dict[str, Interval] = dict(self.outer)
        for name, dtype in inputs.items():
            self.keep(name, Interval(*natural(dtype), reason="unsigned type", dtype=dtype))

    def keep(self, name: str, interval: Interval) -> None:
        """Notes what was derived of a value, narrowed to what the user declared."""
        low, high = self.declared.get(name, (-inf, inf))
        if (low > interval.lower or high < interval.upper) and low <= high:
            bounds = max(low, interval.lower), min(high, interval.upper)
            bounds = bounds if bounds[0] <= bounds[1] else (low, high)
            interval = Interval(*bounds, "declared range", interval.dtype)
        if name:
            self.known[name] = interval

    def visit(self, node: onnx.NodeProto) -> None:
        """Derives what a node makes; a Constant only when someone asks for it."""
        standard = node.domain in {"", "ai.onnx"}
        if (standard and node.op_type == "Constant") or not node.output:
            return
        dtype, interval = self.types.get(node.output[0], UNKNOWN), None
        if standard:
            try:
                found = attributes(node)
                dtype = self.dtype(node, found)
                call = Call(
                    node, self.scope.opset, found, dtype, self.lookup, self.array, self.sums_of, self.known.__contains__
                )
                interval = self.derive(call)
            except ODD:
                interval = None
        interval = interval or Interval(*natural(dtype), reason="unsigned type", dtype=dtype)
        self.keep(node.output[0], interval)
        for name in node.output[1:]:
            other = Interval(dtype=self.types.get(name, UNKNOWN))
            self.keep(name, interval if standard and node.op_type == "Split" else other)

    def derive(self, call: Call) -> Interval:
        """What the rules and the gated products say of a node's first output."""
        op = call.node.op_type
        match = self.match(call)
        if op in PASSED and PASSED[op](call):
            return replace(call.x(), dtype=call.dtype)
        bounds = natural(call.dtype)
        for table, computed in ((SELECTED, False), (COMPUTED, True)):
            real = _applied(table[op], call) if op in table else None
            if real is not None:
                bounds = settled(real, call.dtype, computed=computed)
                break
        reason = self.reason(call)
        if match is not None and call.dtype in FLOATS:
            low, high = settled(outward(match.bounds, call.number.slack, 0.0), call.dtype, computed=False)
            if low > bounds[0] or high < bounds[1]:
                bounds, reason = (max(low, bounds[0]), min(high, bounds[1])), match.formula
        return Interval(*bounds, reason, call.dtype)

    def match(self, call: Call) -> Match | None:
        """The gated product that ends in this node, if any."""
        try:
            return self.products.observe(call.node, call.opset, call.get) if call.node.output[0] else None
        except ODD:
            return None

    def reason(self, call: Call) -> str:
        """What licenses the bounds that a rule has found."""
        op = call.node.op_type
        label = f"{op} '{call.node.name or call.node.output[0]}'"
        if op == "Cast":
            return call.x().reason
        if op in {"Mul", "Div"}:  # a scaled value is bounded for the reason that it was bounded for before
            points = [self.point(name) is not None for name in call.node.input]
            if any(points):
                return call.x(points.index(False) if False in points else 0).reason
        if op in WEIGHTED:
            return f"{label} weights on a bounded input"
        exact = op in SELECTED and op not in {"Concat", "Where", "Pad", "Max", "Min"}
        return label if exact or op in CURVES or op in SELF_GATED or op == "Softmax" else f"{label} of bounded values"

    def dtype(self, node: onnx.NodeProto, found: Mapping[str, Any]) -> int:
        """The element type of a node's first output, 0 where unknown."""
        op, inputs = node.op_type, list(node.input)
        if op in {"Shape", "Size"}:
            return int(onnx.TensorProto.INT64)
        if op == "Cast":
            return int(found["to"])
        if op == "ConstantOfShape":
            return int(found["value"].data_type) if "value" in found else onnx.TensorProto.FLOAT
        if op in {"QuantizeLinear", "DequantizeLinear"}:
            typed = inputs[2:3] if op == "QuantizeLinear" else inputs[1:2]
            stated = int(found.get("output_dtype", UNKNOWN))
            quantized = onnx.TensorProto.UINT8 if op == "QuantizeLinear" else SOME_FLOAT
            return stated or (self.lookup(typed[0]).dtype if typed else quantized)
        if op not in SAME_TYPE:
            return self.types.get(node.output[0], SOME_FLOAT if op in FLOAT_ONLY else UNKNOWN)
        sources = inputs[1:3] if op == "Where" else inputs if op in ALIKE else inputs[:1]
        derived = [self.known[name].dtype for name in sources if name in self.known]
        derived.append(self.types.get(node.output[0], UNKNOWN))
        specific = next((t for t in derived if t not in {UNKNOWN, SOME_FLOAT}), UNKNOWN)
        if specific == UNKNOWN and op not in WEIGHTED:
            specific = next((t for name in sources if (t := self.lookup(name).dtype) not in {UNKNOWN, SOME_FLOAT}), 0)
        return specific or (SOME_FLOAT if op in FLOAT_ONLY or SOME_FLOAT in derived else UNKNOWN)

    def lookup(self, name: str) -> Interval:
        """What is known of a value; a constant is read now."""
        if name in self.known:
            return self.known[name]
        if name not in self.constants:
            array = self.array(name) if name else None
            self.constants[name] = Interval() if array is None else _range(array)
        return self.constants[name]

    def point(self, name: str) -> float | None:
        """The number that every element of a value equals, if so."""
        interval = self.lookup(name)
        return interval.lower if interval.lower == interval.upper and math.isfinite(interval.lower) else None

    def array(self, name: str) -> Array | None:
        """A constant's array; None for other values, and where its file is missing."""
        if name in self.arrays:
            return self.arrays[name]
        try:
            array = None if name in self.known else self.scope.constant(name)
        except ODD:
            array = None
        if array is None or array.size <= SMALL:
            self.arrays[name] = array
        return array

    def sums_of(self, name: str, axis: int | None) -> Sums | None:
        """The sums of a constant's entries over an axis, or over all but the first."""
        if (name, axis) not in self.sums:
            array = self.array(name)
            self.sums[name, axis] = None if array is None or array.size * array.ndim == 0 else _sums(array, axis)
        return self.sums[name, axis]


# types: of the operators in the tables, the output has the type of the first input, or of all inputs alike
ALIKE = {"Add", "Sub", "Mul", "Div", "Max", "Min", "Sum", "Mean", "Concat", "Clip", "PRelu", "Gemm", "MatMul"}
FLOAT_ONLY = ((CURVES.keys() | SELF_GATED.keys()) - {"Erf"}) | {
    *("LeakyRelu", "ThresholdedRelu", "Softmax", "LogSoftmax", "Conv", "ConvTranspose", "BatchNormalization"),
    *("AveragePool", "GlobalAveragePool", "LpPool", "GlobalLpPool", "Reciprocal"),
    *("InstanceNormalization", "LayerNormalization", "GroupNormalization", "LRN", "Cos", "Sin", "Log"),
}
SAME_TYPE = (PASSED.keys() | SELECTED.keys() | COMPUTED.keys() | FLOAT_ONLY) - {"Shape", "Size"}


def _described(values: Any) -> dict[str, int]:
    return {value.name: value.type.tensor_type.elem_type for value in values}


def _applied(rule: Rule, call: Call) -> Range | None:
    try:
        return rule(call)
    except ODD:
        return None


def _range(array: Array) -> Interval:
    """The smallest and largest element."""
    dtype = onnx.helper.np_dtype_to_tensor_dtype(array.dtype)
    if array.size == 0 or (dtype not in FLOATS and dtype not in INTEGERS):
        return Interval(dtype=dtype)
    numbers = array if array.dtype.kind in "biuf" else array.astype(np.float32)
    low, high = float(numbers.min()), float(numbers.max())
    return Interval(dtype=dtype) if math.isnan(low) else Interval(low, high, "constant", dtype)


def _sums(array: Array, axis: int | None) -> Sums:
    weights = array.astype(np.float64)
    if axis is not None and weights.ndim > 1:
        weights = np.moveaxis(weights, axis, -1)
        weights = weights.reshape(-1, weights.shape[-1])
    else:
        weights = weights.reshape(1 if axis is not None else len(weights), -1)
    return Sums(np.maximum(weights, 0).sum(1), np.minimum(weights, 0).sum(1), weights.shape[1])
