"""Activations that never fall: f(x) lies between f of the ends of x, widened by what an implementation may be off."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from typing import Any

import numpy as np

from depool.onnx.bounds.call import Call, Rule
from depool.onnx.bounds.interval import Range, outward


@dataclass(frozen=True)
class Curve:
    """A function of one number.

    Attributes:
        at: its values; None where it may fall, so that its ends say nothing.
        low, high: its infimum and supremum.
    """

    at: Callable[[float], Any] | None
    low: float = -inf
    high: float = inf

    def image(self, lower: float, upper: float, slack: float) -> Range:
        """Its range over [lower, upper]; a sign is never lost."""
        low = self.low if self.at is None or lower == -inf else float(self.at(lower))
        high = self.high if self.at is None or upper == inf else float(self.at(upper))
        low, high = outward((low, high), slack, slack)
        return max(self.low, low), min(self.high, high)


def _exponential(alpha: float, gamma: float = 1.0, width: float = 1.0) -> Curve:
    """Gamma * x for x > 0, gamma * alpha * (e^(x / width) - 1) below."""
    if min(alpha, gamma, width) <= 0:
        return Curve(None)
    return Curve(lambda x: gamma * (x if x > 0 else alpha * math.expm1(x / width)), -gamma * alpha)


def _ramp(alpha: float, beta: float) -> Curve:
    return Curve((lambda x: min(1.0, max(0.0, alpha * x + beta))) if alpha > 0 else None, 0, 1)


CURVES: dict[str, Callable[[Call], Curve]] = {
    "Sigmoid": lambda _: Curve(lambda x: 0.5 + 0.5 * math.tanh(x / 2), 0, 1),  # 1 / (1 + e^-x)
    "HardSigmoid": lambda call: _ramp(call.get("alpha", 0.2), call.get("beta", 0.5)),
    "Tanh": lambda _: Curve(math.tanh, -1, 1),
    "Erf": lambda _: Curve(math.erf, -1, 1),
    "Softsign": lambda _: Curve(lambda x: x / (1 + abs(x)), -1, 1),
    "Softplus": lambda _: Curve(lambda x: np.logaddexp(0.0, x), 0),  # log(1 + e^x)
    "Exp": lambda _: Curve(np.exp, 0),
    "Sqrt": lambda _: Curve(lambda x: math.sqrt(max(x, 0.0)), 0),
    "Elu": lambda call: _exponential(call.get("alpha", 1.0)),
    "Selu": lambda call: _exponential(call.get("alpha", 1.67326319), call.get("gamma", 1.05070102)),
    "Celu": lambda call: _exponential(call.get("alpha", 1.0), width=call.get("alpha", 1.0)),
}


def _curved(call: Call) -> Range:
    return CURVES[call.node.op_type](call).image(*call.x().bounds, call.number.slack)


COMPUTED: dict[str, Rule] = dict.fromkeys(CURVES, _curved)
