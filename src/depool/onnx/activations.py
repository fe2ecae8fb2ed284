"""Bounds of activation functions, and of the gated products x * g(x), which plain intervals lose.

With x unbounded, interval arithmetic says nothing about x * Sigmoid(x); its minimum is known all the same.
Each gate g below rises from 0, and has a lemma for a > 0 (the minima are those of t * g(t), with t = a x):

    x * Sigmoid(a x)                >= -0.278465 / a            SiLU, Swish, QuickGELU
    x * (1 + Erf(a x))              >= -0.240376 / a            GELU: half of it, with a = 1 / sqrt 2
    x * (1 + Tanh(a x + b x^3))     >= -0.278465 / a            b >= 0: for t < 0 the cubic only lowers the gate;
                                    >= -0.271368 / a            where b >= 0.07 a^3: the tanh form of GELU
    x * Tanh(Softplus(a x))         >= -0.308844 / a            Mish
    x * Clip(a x + b, 0, h)         >= -b^2 / (4 a)             HardSwish: the vertex of x (a x + b), if b <= 2 h,
                                    >= h (h - b) / a            else the kink; 0 if b <= 0

For a < 0, put -x for x: the lower bound becomes an upper one. Exporters write these with scalar factors anywhere, so
every value is read as `scale * product of factors`; only products and two-term sums are followed, and the scales
must be moderate, so that no cancellation, underflow or overflow spoils what holds over the reals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import numpy as np
import onnx

Range = tuple[float, float]
Attribute = Callable[[str, float], float]
Factors = tuple[str, ...]
Terms = dict[Factors, float]

SIGMOID_MIN, ERF_MIN, TANH_MIN, CUBIC_MIN, MISH_MIN = -0.278465, -0.240376, -0.278465, -0.271368, -0.308844


# ---- functions of one input


@dataclass(frozen=True)
class Curve:
    """A function that never falls, with its infimum and supremum."""

    at: Callable[[float], Any]
    low: float = -inf
    high: float = inf

    def image(self, lower: float, upper: float, slack: float) -> Range:
        """Its range over [lower, upper], widened by what an implementation may be off; a sign is never lost."""
        low = self.low if lower == -inf else float(self.at(lower))
        high = self.high if upper == inf else float(self.at(upper))
        wider = (low - slack * (abs(low) + 1), high + slack * (abs(high) + 1))
        return (
            max(self.low, min(low, 0.0), wider[0]) if low >= 0 else max(self.low, wider[0]),
            min(self.high, max(high, 0.0), wider[1]) if high <= 0 else min(self.high, wider[1]),
        )


def _exponential(alpha: float, gamma: float = 1.0, width: float = 1.0) -> Curve | None:
    """Gamma * x for x > 0, gamma * alpha * (e^(x / width) - 1) below: Elu, Selu and Celu."""
    if min(alpha, gamma, width) <= 0:
        return None  # such a function may fall
    return Curve(lambda x: gamma * (x if x > 0 else alpha * math.expm1(x / width)), -gamma * alpha)


def _hard_sigmoid(alpha: float, beta: float) -> Curve | None:
    return Curve(lambda x: min(1.0, max(0.0, alpha * x + beta)), 0, 1) if alpha > 0 else None


CURVES: dict[str, Callable[[Attribute], Curve | None]] = {
    "Sigmoid": lambda _: Curve(lambda x: 0.5 + 0.5 * math.tanh(x / 2), 0, 1),
    "Tanh": lambda _: Curve(math.tanh, -1, 1),
    "Erf": lambda _: Curve(math.erf, -1, 1),
    "Softplus": lambda _: Curve(lambda x: np.logaddexp(0.0, x), 0),
    "Softsign": lambda _: Curve(lambda x: x / (1 + abs(x)), -1, 1),
    "Exp": lambda _: Curve(np.exp, 0),
    "Sqrt": lambda _: Curve(lambda x: math.sqrt(max(x, 0.0)), 0),
    "Elu": lambda get: _exponential(get("alpha", 1.0)),
    "Selu": lambda get: _exponential(get("alpha", 1.67326319), get("gamma", 1.05070102)),
    "Celu": lambda get: _exponential(get("alpha", 1.0), width=get("alpha", 1.0)),
    "HardSigmoid": lambda get: _hard_sigmoid(get("alpha", 0.2), get("beta", 0.5)),
}
# operators that are x * g(x) with 0 <= g <= 1: their minima
SELF_GATED: dict[str, Callable[[Attribute], float]] = {
    "HardSwish": lambda _: -0.375,
    "Mish": lambda _: MISH_MIN,
    "Gelu": lambda _: -0.170041,
    "Swish": lambda get: SIGMOID_MIN / get("alpha", 1.0) if get("alpha", 1.0) > 0 else -inf,
}


# ---- products x * g(x) of several nodes


@dataclass(frozen=True)
class Product:
    """Scale * factors[0] * factors[1] * ..."""

    scale: float
    factors: Factors


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


@dataclass(frozen=True)
class Match:
    """A gated product that was recognised: the range of its value over the reals, and what it is."""

    bounds: Range
    formula: str


def _ramp_min(slope: float, shift: float, high: float) -> float:
    if shift <= 0:
        return 0.0
    return -(shift**2) / (4 * slope) if shift <= 2 * high else high * (high - shift) / slope


NAMES = {
    "sigmoid": "SiLU {} = x * Sigmoid(x)",
    "1+erf": "GELU {} = x * (1 + Erf(x))",
    "1+tanh": "GELU {} = x * (1 + Tanh(x + x^3))",
    "mish": "Mish {} = x * Tanh(Softplus(x))",
    "ramp": "HardSwish {} = x * Clip(x)",
    "relu": "Mul {} = x * Relu(x)",
}


def _lemma(gate: Gate, slope: float, cubic: float, shift: float) -> float | None:
    """The lower bound of x * g(slope x + cubic x^3 + shift), for slope > 0."""
    if not 2**-4 <= slope <= 2**6 or abs(shift) > 2**5:
        return None  # float16 could overflow on the way
    if gate.kind == "ramp":
        return _ramp_min(slope, shift, gate.high) if cubic == 0 and gate.low == 0 < gate.high else None
    if shift != 0 or cubic < 0 or (cubic > 0 and gate.kind != "1+tanh"):
        return None
    tanh = CUBIC_MIN if cubic >= 0.07 * slope**3 else TANH_MIN
    minima = {"sigmoid": SIGMOID_MIN, "1+erf": ERF_MIN, "1+tanh": tanh, "mish": MISH_MIN}
    return minima[gate.kind] / slope if gate.kind in minima else None


@dataclass
class Products:
    """What the values seen so far are made of.

    Attributes:
        point: the number that a value always equals, or None.
    """

    point: Callable[[str], float | None]
    products: dict[str, Product] = field(default_factory=dict)
    sums: dict[str, Terms] = field(default_factory=dict)
    gates: dict[str, Gate] = field(default_factory=dict)

    def observe(self, node: onnx.NodeProto, opset: int, get: Attribute) -> Match | None:
        """Takes note of what a node computes; the match, where that is a gated product."""
        op, out, inputs = node.op_type, node.output[0], list(node.input)
        if "axis" in {a.name for a in node.attribute}:
            return None  # opset 6 aligns the axes of two inputs as it likes
        if op in {"Mul", "Div", "Neg", "Pow", "Identity"}:
            product = self._product(op, inputs)
            match = self._match(node, product)
            if match is None and product is not None and self._worth_keeping(product):
                self.products[out] = product
            return match
        if op in {"Add", "Sub"}:
            first, second = self._read(inputs[0]), self._read(inputs[1])
            if first.factors != second.factors:
                self.sums[out] = {
                    first.factors: first.scale,
                    second.factors: second.scale if op == "Add" else -second.scale,
                }
        elif op in {"Sigmoid", "Erf", "Tanh", "Softplus"}:
            self.gates[out] = self._curve(op.lower(), inputs[0])
        elif (cut := self._cut(op, inputs, opset, get)) is not None:
            self.gates[out] = self._ramp(*cut, get if op == "HardSigmoid" else None)
        return None

    def _read(self, name: str) -> Product:
        if name in self.products:
            return self.products[name]
        value = self.point(name)
        return Product(1.0, (name,)) if value is None else Product(value, ())

    def _product(self, op: str, inputs: list[str]) -> Product | None:
        first = self._read(inputs[0])
        if op == "Identity":
            return first
        if op == "Neg":
            return Product(-first.scale, first.factors)
        second = self._read(inputs[1])
        if op == "Mul":
            return Product(first.scale * second.scale, tuple(sorted(first.factors + second.factors)))
        if second.factors or second.scale == 0:
            return None
        if op == "Div":
            return Product(first.scale / second.scale, first.factors)
        power = {2.0: 2, 3.0: 3}.get(second.scale)
        return Product(first.scale**power, tuple(sorted(first.factors * power))) if power else None

    def _worth_keeping(self, product: Product) -> bool:
        """Whether it is a power of one value, or x times a sum in x, with a scale that is harmless in float16."""
        names = set(product.factors)
        related = any(
            names <= {name, *(part for term in self.sums[name] for part in term)} for name in names & set(self.sums)
        )
        return 2**-6 <= abs(product.scale) <= 2**6 and len(product.factors) <= 3 and (len(names) == 1 or related)

    def _readings(self, name: str) -> Iterator[Terms]:
        """The value as a polynomial: as one product, and with each factor that is a sum multiplied out."""
        product = self._read(name)
        yield {product.factors: product.scale}
        for i, factor in enumerate(product.factors):
            others = product.factors[:i] + product.factors[i + 1 :]
            if factor in self.sums:
                yield {tuple(sorted(others + t)): product.scale * c for t, c in self.sums[factor].items()}

    def _curve(self, kind: str, name: str) -> Gate:
        product = self._read(name)
        if kind == "tanh" and product.scale == 1 and len(product.factors) == 1:
            inner = self.gates.get(product.factors[0])
            if inner is not None and inner.kind == "softplus":
                return replace(inner, kind="mish")
        return Gate(kind, tuple(self._readings(name)))

    def _cut(self, op: str, inputs: list[str], opset: int, get: Attribute) -> tuple[str, float, float] | None:
        """(value, low, high) where the node cuts a value off at constants."""
        if op in {"Relu", "HardSigmoid"}:
            return inputs[0], 0.0, inf if op == "Relu" else 1.0
        if op == "Clip" and opset < 11:
            return inputs[0], get("min", -inf), get("max", inf)
        if op == "Clip":
            low, high = (
                self.point(n) if n else end for n, end in zip([*inputs[1:], "", ""], (-inf, inf), strict=False)
            )
            return None if low is None or high is None else (inputs[0], low, high)
        if op in {"Min", "Max"} and len(inputs) == 2:
            for name, other in (inputs, inputs[::-1]):
                if (value := self.point(other)) is not None:
                    return (name, -inf, value) if op == "Min" else (name, value, inf)
        return None

    def _ramp(self, name: str, low: float, high: float, affine: Attribute | None) -> Gate:
        """Clip(value, low, high), a cut of a cut included; for a HardSigmoid of alpha * value + beta."""
        product = self._read(name)
        inner = self.gates.get(name) if product == Product(1.0, (name,)) else None
        if affine is None and inner is not None and inner.kind == "ramp":
            return replace(inner, low=min(max(inner.low, low), high), high=min(max(inner.high, low), high))
        arguments = tuple(self._readings(name))
        if affine is not None:
            alpha, beta = affine("alpha", 0.2), affine("beta", 0.5)
            arguments = tuple({t: alpha * c for t, c in terms.items()} for terms in arguments)
            arguments = tuple({**terms, (): terms.get((), 0.0) + beta} for terms in arguments)
        return Gate("ramp", arguments, low, high)

    def _gate(self, name: str) -> tuple[float, float, Gate] | None:
        """(c, sign, g) where the value is c * g(sign * argument): a gate, or c + c * Erf(...) = c (1 + Erf(...))."""
        if name in self.gates:
            return 1.0, 1.0, self.gates[name]
        terms = self.sums.get(name, {})
        for factors, scale in terms.items():
            raw = self.gates.get(factors[0]) if len(factors) == 1 else None
            if raw is not None and raw.kind in {"erf", "tanh"} and math.isclose(abs(scale), abs(terms.get((), 0.0))):
                return terms[()], scale / terms[()], replace(raw, kind=f"1+{raw.kind}")  # both are odd functions
        return None

    def _match(self, node: onnx.NodeProto, product: Product | None) -> Match | None:
        if product is None or len(product.factors) != 2:
            return None
        for x, name in (product.factors, product.factors[::-1]):
            found = self._gate(name)
            if found is None:
                continue
            scale, sign, gate = found
            for terms in gate.arguments:
                if (x,) not in terms or set(terms) - {(x,), (x, x, x), ()}:
                    continue
                slope, cubic = sign * terms[(x,)], sign * terms.get((x, x, x), 0.0)
                flip = math.copysign(1.0, slope)
                minimum = _lemma(gate, abs(slope), flip * cubic, terms.get((), 0.0))
                if minimum is not None:
                    factor = product.scale * scale * flip
                    bounds = (factor * minimum, inf) if factor > 0 else (-inf, factor * minimum)
                    label = f"'{node.name or node.output[0]}'"
                    kind = "relu" if gate.high == inf and gate.kind == "ramp" else gate.kind
                    return Match(bounds, NAMES[kind].format(label))
        return None
