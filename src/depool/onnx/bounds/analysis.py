"""The pass: node by node in topological order, what is known of the inputs gives what is known of the outputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf

import numpy as np
import onnx

from depool.onnx.bounds.call import Call
from depool.onnx.bounds.curves import CURVES
from depool.onnx.bounds.element_types import WEIGHTED, described, output_type
from depool.onnx.bounds.gates import SELF_GATED
from depool.onnx.bounds.interval import UNKNOWN, Interval, Range, outward
from depool.onnx.bounds.products import Products
from depool.onnx.bounds.rounding import FLOATS, settled, unbounded
from depool.onnx.bounds.rules import PASSED, SELECTED, image
from depool.onnx.bounds.values import Around, Values, attempt
from depool.onnx.graph import Scope, attributes

# what bounds the output of these operators is the operator itself; that of others, the bounds of the inputs
BOUNDING = (
    (SELECTED.keys() - {"Concat", "Where", "Pad", "Max", "Min"}) | CURVES.keys() | SELF_GATED.keys() | {"Softmax"}
)


def intervals(
    scope: Scope, declared: Mapping[str, Range], outer: Mapping[str, Interval] | None = None
) -> dict[str, Interval]:
    """Bounds on the values of a scope.

    Args:
        scope: the graph or function body.
        declared: ranges that the user vouches for, by the name of a value that is no constant.
        outer: the bounds of the values of all enclosing scopes.

    Returns:
        an entry for each value of which something is known; of constants, only of those that a rule has read.
    """
    inputs = _inputs(scope)
    visible = Around(outer or {}, scope.producers.keys() | inputs.keys())
    analysis = _Analysis(scope, declared, Values(scope, visible))
    for name, dtype in inputs.items():
        analysis.keep(name, unbounded(dtype))
    with np.errstate(all="ignore"):
        for node in scope.nodes:
            analysis.visit(node)
    found = analysis.values.constants | analysis.values.derived
    return {name: interval for name, interval in found.items() if interval.known}


def _inputs(scope: Scope) -> dict[str, int]:
    """What is fed to a scope, with its element types."""
    if scope.is_function:
        return dict.fromkeys(scope.container.input, UNKNOWN)
    # an initialiser of the main graph may be listed as an input, and be constant all the same
    initial = {tensor.name for tensor in scope.container.initializer} if scope.parent is None else set()
    return {name: dtype for name, dtype in described(scope.container.input).items() if name not in initial}


class _Analysis:
    """The state of one pass."""

    def __init__(self, scope: Scope, declared: Mapping[str, Range], values: Values) -> None:
        self.opset = scope.opset
        self.declared = declared
        self.values = values
        self.products = Products(values.point)
        self.types = described(scope.container.value_info)
        if not scope.is_function:
            self.types |= described(scope.container.output)

    def keep(self, name: str, interval: Interval) -> None:
        """Notes what was derived of a value, narrowed to what the user declared."""
        low, high = self.declared.get(name, (-inf, inf))
        if (low > interval.lower or high < interval.upper) and low <= high:
            both = max(low, interval.lower), min(high, interval.upper)
            interval = Interval(*(both if both[0] <= both[1] else (low, high)), "declared range", interval.dtype)
        if name:
            self.values.derived[name] = interval

    def visit(self, node: onnx.NodeProto) -> None:
        """Derives what a node makes; a Constant only when someone asks for it."""
        standard = node.domain in {"", "ai.onnx"}
        if (standard and node.op_type == "Constant") or not node.output:
            return
        call = attempt(self.call, node) if standard else None
        interval = attempt(self.derive, call) if call is not None else None
        if interval is None:
            interval = unbounded(call.dtype if call is not None else self.types.get(node.output[0], UNKNOWN))
        self.keep(node.output[0], interval)
        for name in node.output[1:]:
            split = standard and node.op_type == "Split"
            self.keep(name, interval if split else Interval(dtype=self.types.get(name, UNKNOWN)))

    def call(self, node: onnx.NodeProto) -> Call:
        """What rules see of a node."""
        found = attributes(node)
        dtype = output_type(node, found, self.types.get(node.output[0], UNKNOWN), self.values)
        return Call(node, self.opset, found, dtype, self.values)

    def derive(self, call: Call) -> Interval:
        """What the rules and the gated products say of a node's first output."""
        op, dtype = call.node.op_type, call.dtype
        match = attempt(self.products.observe, call)
        if op in PASSED and PASSED[op](call):
            return replace(call.x(), dtype=dtype)
        (low, high), reason = image(call), self.reason(call)
        if match is not None and dtype in FLOATS:
            least, most = settled(outward(match.bounds, call.number.slack, 0.0), dtype, computed=False)
            if least > low or most < high:
                low, high, reason = max(least, low), min(most, high), match.formula
        return Interval(low, high, reason, dtype)

    def reason(self, call: Call) -> str:
        """What licenses the bounds that a rule has found."""
        op = call.node.op_type
        label = f"{op} '{call.node.name or call.node.output[0]}'"
        if op == "Cast":
            return call.x().reason
        if op in {"Mul", "Div"}:  # a scaled value is bounded for the reason that it was bounded for before
            points = [self.values.point(name) is not None for name in call.node.input]
            if any(points):
                return call.x(points.index(False) if False in points else 0).reason
        if op in WEIGHTED:
            return f"{label} weights on a bounded input"
        return label if op in BOUNDING else f"{label} of bounded values"
