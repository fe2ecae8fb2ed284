"""One node as a rule sees it; nothing is read from the model until a rule asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import isnan
from typing import Any

import onnx

from depool.onnx.bounds.interval import Interval, Range
from depool.onnx.bounds.rounding import FLOATS, Number
from depool.onnx.bounds.values import Sums, Values
from depool.onnx.graph import Array


@dataclass(frozen=True)
class Call:
    """A node, its operator's version, its attributes, the element type of its first output, and the scope's values."""

    node: onnx.NodeProto
    opset: int
    attributes: dict[str, Any]
    dtype: int
    values: Values

    @property
    def number(self) -> Number:
        """The output's floating-point type; a KeyError for others."""
        return FLOATS[self.dtype]

    def has(self, i: int) -> bool:
        """Whether the optional input is there."""
        return i < len(self.node.input) and self.node.input[i] != ""

    def varies(self, i: int) -> bool:
        """Whether an input is made by a node or fed in, so that it is no constant."""
        return self.node.input[i] in self.values.known

    def x(self, i: int = 0) -> Interval:
        """The interval of an input."""
        return self.values.interval(self.node.input[i]) if self.has(i) else Interval()

    def every(self) -> list[Range]:
        """The bounds of all inputs."""
        return [self.x(i).bounds for i in range(len(self.node.input))]

    def array(self, i: int, absent: Array | None = None) -> Array | None:
        """The array of an input, None where that is no constant; what stands for it where it is left out."""
        return self.values.array(self.node.input[i]) if self.has(i) else absent

    def sums(self, i: int, axis: int | None) -> Sums | None:
        """The sums of an input's entries, None where that is no constant."""
        return self.values.sums(self.node.input[i], axis)

    def get(self, name: str, default: float) -> float:
        """A numeric attribute."""
        value = float(self.attributes.get(name, default))
        if isnan(value):
            raise ValueError(name)
        return value

    def text(self, name: str, default: str) -> str:
        """A text attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise TypeError(name)
        return value


Rule = Callable[[Call], Range | None]


def floating(rule: Rule) -> Rule:
    """The rule for floating-point numbers alone: integers may wrap on the way."""
    return lambda call: rule(call) if call.dtype in FLOATS else None
