"""How an operator turns bounds on its inputs into bounds on its output: the tables of all operators.

passed      the output's elements are elements of the input                         Reshape, MaxPool, ...
selected    ... or are picked exactly: nothing rounds                               Relu, Max, Concat, ...
computed    a formula over the reals, then rounded: needs to know the number type   Add, Conv, Sigmoid, ...
"""

from __future__ import annotations

from depool.onnx.bounds import conversions, curves, elementwise, gates, layers, layout
from depool.onnx.bounds.call import Call, Rule
from depool.onnx.bounds.interval import Range
from depool.onnx.bounds.rounding import natural, settled
from depool.onnx.bounds.values import attempt

PASSED = layout.PASSED
SELECTED: dict[str, Rule] = elementwise.SELECTED | layers.SELECTED | layout.SELECTED | conversions.SELECTED
COMPUTED: dict[str, Rule] = {
    **(elementwise.COMPUTED | layers.COMPUTED | layout.COMPUTED | conversions.COMPUTED),
    **(curves.COMPUTED | gates.COMPUTED),
}
RULES = SELECTED | COMPUTED


def image(call: Call) -> Range:
    """What the operator's rule says of a node's first output; without one, what the type says."""
    op = call.node.op_type
    real = attempt(RULES[op], call) if op in RULES else None
    return natural(call.dtype) if real is None else settled(real, call.dtype, computed=op in COMPUTED)
