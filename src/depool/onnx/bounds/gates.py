"""Lemmas on the gated products x * g(x), which plain intervals lose.

With x unbounded, interval arithmetic says nothing about x * Sigmoid(x); its minimum is known all the same.
Each gate g below rises from 0, and has a lemma for a > 0 (the minima are those of t * g(t), with t = a x):

    x * Sigmoid(a x)                >= -0.278465 / a            SiLU, Swish, QuickGELU
    x * (1 + Erf(a x))              >= -0.240376 / a            GELU: half of it, with a = 1 / sqrt 2
    x * (1 + Tanh(a x + b x^3))     >= -0.278465 / a            b >= 0: for t < 0 the cubic only lowers the gate;
                                    >= -0.271368 / a            where b >= 0.07 a^3: the tanh form of GELU
    x * Tanh(Softplus(a x))         >= -0.308844 / a            Mish
    x * Clip(a x + b, 0, h)         >= -b^2 / (4 a)             HardSwish: the vertex of x (a x + b), if b <= 2 h,
                                    >= h (h - b) / a            else the kink; 0 if b <= 0

For a < 0, put -x for x: the lower bound becomes an upper one. The scales must be moderate, so that no underflow or
overflow spoils what holds over the reals.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import inf

from depool.onnx.bounds.call import Call, Rule
from depool.onnx.bounds.interval import Range, outward

Factors = tuple[str, ...]
Terms = dict[Factors, float]

LEMMAS = {  # the minimum of t * g(t), and what the product is called
    "sigmoid": (-0.278465, "SiLU {} = x * Sigmoid(x)"),
    "1+erf": (-0.240376, "GELU {} = x * (1 + Erf(x))"),
    "1+tanh": (-0.278465, "GELU {} = x * (1 + Tanh(x + x^3))"),
    "mish": (-0.308844, "Mish {} = x * Tanh(Softplus(x))"),
}
CUBIC_MIN = -0.271368


@dataclass(frozen=True)
class Gate:
    """A value that is g(argument).

    Attributes:
        kind: a row of the table of lemmas, or a part of one: "erf" and "tanh" before the 1 is added, "softplus".
        arguments: the argument as a polynomial, in each of the ways in which it can be read.
        low, high: where a ramp is cut off.
    """

    kind: str
    arguments: tuple[Terms, ...]
    low: float = -inf
    high: float = inf

    @property
    def formula(self) -> str:
        """What a product with this gate is called."""
        ramp = "Mul {} = x * Relu(x)" if self.high == inf else "HardSwish {} = x * Clip(x)"
        return ramp if self.kind == "ramp" else LEMMAS[self.kind][1]


def minimum(gate: Gate, slope: float, cubic: float, shift: float) -> float | None:
    """The lower bound of x * g(slope x + cubic x^3 + shift), for slope > 0."""
    if not 2**-4 <= slope <= 2**6 or abs(shift) > 2**5:
        return None  # float16 could overflow on the way
    if gate.kind == "ramp":
        return _ramp_minimum(slope, shift, gate.high) if cubic == 0 and gate.low == 0 < gate.high else None
    if gate.kind not in LEMMAS or shift != 0 or cubic < 0 or (cubic > 0 and gate.kind != "1+tanh"):
        return None
    return (CUBIC_MIN if cubic >= 0.07 * slope**3 else LEMMAS[gate.kind][0]) / slope


def _ramp_minimum(slope: float, shift: float, high: float) -> float:
    if shift <= 0:
        return 0.0
    return -(shift**2) / (4 * slope) if shift <= 2 * high else high * (high - shift) / slope


def _swish(alpha: float) -> float:
    return LEMMAS["sigmoid"][0] / alpha if alpha > 0 else -inf


# operators that are x * g(x) with 0 <= g <= 1: their minima
SELF_GATED: dict[str, Callable[[Call], float]] = {
    "HardSwish": lambda _: -0.375,
    "Mish": lambda _: LEMMAS["mish"][0],
    "Gelu": lambda _: -0.170041,  # in both of its forms
    "Swish": lambda call: _swish(call.get("alpha", 1.0)),
}


def _self_gated(call: Call) -> Range:
    low, high = call.x().bounds
    least = SELF_GATED[call.node.op_type](call) * (1 + call.number.slack)
    return outward((max(least, min(low, 0.0)), max(high, 0.0)), 8 * call.number.u, call.number.tiny)


COMPUTED: dict[str, Rule] = dict.fromkeys(SELF_GATED, _self_gated)
