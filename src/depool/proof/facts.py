"""A lower bound of a pool's input, derived anew from the original model by walking back from it.

Few rules, each plain: an operator whose results have a known minimum, or one that keeps its inputs' bound.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from typing import Any

import numpy as np
import onnx

from depool.onnx.graph import Scope, attributes

Bound = tuple[Fraction, str]
"""A lower bound, and the node that gives it."""

LEAST = {
    "Relu": "0", "Sigmoid": "0", "HardSigmoid": "0", "Softmax": "0", "Softplus": "0", "Exp": "0", "Abs": "0",
    "Sqrt": "0", "ThresholdedRelu": "0", "ReduceL1": "0", "ReduceL2": "0", "ReduceSumSquare": "0",
    "Tanh": "-1", "Softsign": "-1", "HardSwish": "-3/8",
}  # fmt: skip
"""Operators whose results are never less, whatever they read."""

KEPT = {
    "Identity", "Dropout", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "MaxPool", "GlobalMaxPool",
    "GlobalAveragePool", "Slice", "Gather", "Expand", "Tile", "Split", "DepthToSpace", "SpaceToDepth", "ReduceMax",
    "ReduceMin", "ReduceMean",
}  # fmt: skip
"""Operators whose results lie between values of their first input."""

DEEPEST = 300


def lower_bound(scope: Scope, name: str, depth: int = 0) -> Bound | None:
    """What every element of a tensor is at least, or None where this analysis cannot tell."""
    node = scope.producers.get(name)
    if node is None or node.op_type == "Constant":
        array = scope.constant(name)
        if array is not None and array.size and array.dtype.kind != "O":
            return Fraction(float(np.min(array.astype(np.float64)))), f"constant {name!r}"
        known = node is not None or scope.parent is None or _own(scope, name)
        return None if known or scope.parent is None else lower_bound(scope.parent, name, depth)
    if node.domain not in {"", "ai.onnx"} or depth > DEEPEST or (node.output[0] != name and node.op_type != "Split"):
        return None
    if node.op_type in LEAST:
        return Fraction(LEAST[node.op_type]), f"{node.op_type} {node.name!r}"

    def of(i: int) -> Bound | None:
        return lower_bound(scope, node.input[i], depth + 1) if i < len(node.input) else None

    if node.op_type in KEPT:
        return of(0)
    rule = RULES.get(node.op_type)
    return rule(node, scope, [of(i) for i in range(len(node.input))]) if rule is not None else None


def _own(scope: Scope, name: str) -> bool:
    return any(getattr(value, "name", value) == name for value in scope.container.input)


Found = list[Bound | None]


def _sum(node: onnx.NodeProto, scope: Scope, found: Found) -> Bound | None:
    del node, scope
    known = [bound for bound in found if bound is not None]
    if len(known) < len(found):
        return None
    return sum((low for low, _ in known), Fraction(0)), " + ".join(why for _, why in known)


def _least(node: onnx.NodeProto, scope: Scope, found: Found) -> Bound | None:
    del node, scope
    known = [bound for bound in found if bound is not None]
    return min(known) if len(known) == len(found) and known else None


def _most(node: onnx.NodeProto, scope: Scope, found: Found) -> Bound | None:
    del node, scope
    return max((bound for bound in found if bound is not None), default=None)


def _product(node: onnx.NodeProto, scope: Scope, found: Found) -> Bound | None:
    bound = _least(node, scope, found)
    return (Fraction(0), bound[1]) if bound is not None and bound[0] >= 0 else None


def _clip(node: onnx.NodeProto, scope: Scope, found: Found) -> Bound | None:
    given = attributes(node)
    low: Any = given.get("min")
    if len(node.input) > 1 and node.input[1]:
        array = scope.constant(node.input[1])
        low = None if array is None else float(array)
    high: Any = given.get("max")
    if len(node.input) > 2 and node.input[2]:
        array = scope.constant(node.input[2])
        high = float("-inf") if array is None else float(array)
    if low is None:
        return found[0] if high is None else None
    return (Fraction(float(low)), f"Clip {node.name!r}") if high is None or high >= low else None


def _leaky(node: onnx.NodeProto, scope: Scope, found: Found) -> Bound | None:
    del node, scope
    return found[0] if found[0] is not None and found[0][0] >= 0 else None


def _elu(node: onnx.NodeProto, scope: Scope, found: Found) -> Bound | None:
    del scope, found
    alpha = Fraction(float(attributes(node).get("alpha", 1.0)))
    return (-alpha, f"{node.op_type} {node.name!r}") if alpha >= 0 else None


def _average(node: onnx.NodeProto, scope: Scope, found: Found) -> Bound | None:
    del node, scope
    return None if found[0] is None else (min(found[0][0], Fraction(0)), found[0][1])


def _pad(node: onnx.NodeProto, scope: Scope, found: Found) -> Bound | None:
    given = attributes(node)
    if found[0] is None or given.get("mode", "constant") != "constant":
        return found[0]
    value: Any = given.get("value", 0.0)
    if len(node.input) > 2 and node.input[2]:
        array = scope.constant(node.input[2])
        value = float("-inf") if array is None else float(array.reshape(-1)[0])
    if not np.isfinite(value):
        return None
    return min(found[0][0], Fraction(float(value))), found[0][1]


RULES: dict[str, Callable[[onnx.NodeProto, Scope, Found], Bound | None]] = {
    "Add": _sum,
    "Sum": _sum,
    "Concat": _least,
    "Min": _least,
    "Max": _most,
    "Mul": _product,
    "Clip": _clip,
    "LeakyRelu": _leaky,
    "PRelu": _leaky,
    "Elu": _elu,
    "Celu": _elu,
    "AveragePool": _average,
    "Pad": _pad,
}


def only_relus_read(scope: Scope, output: str) -> bool:
    """Whether nothing but ReLUs sees a pool's result."""
    readers = scope.consumers.get(output, [])
    if not readers or output in scope.outputs:
        return False
    return all(node.op_type == "Relu" and node.domain in {"", "ai.onnx"} for node in readers)
