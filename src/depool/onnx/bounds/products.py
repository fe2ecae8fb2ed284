"""Finds the gated products of `gates.py` in a graph, where exporters write scalar factors anywhere.

So every value is read as `scale * product of factors`; only products and two-term sums are followed, and the scales
must be moderate, so that no cancellation, underflow or overflow spoils what holds over the reals.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from math import inf
from typing import NamedTuple

from depool.onnx.bounds.call import Call
from depool.onnx.bounds.gates import Factors, Gate, Terms, minimum
from depool.onnx.bounds.interval import Range


class Product(NamedTuple):
    """Scale * factors[0] * factors[1] * ..."""

    scale: float
    factors: Factors


class Match(NamedTuple):
    """A gated product that was recognised: the range of its value over the reals, and what it is."""

    bounds: Range
    formula: str


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

    def observe(self, call: Call) -> Match | None:
        """Takes note of what a node computes; the match, where that is a gated product."""
        op, out, inputs = call.node.op_type, call.node.output[0], list(call.node.input)
        if not out or "axis" in call.attributes:
            return None  # opset 6 aligns the axes of two inputs as it likes
        if op in {"Mul", "Div", "Neg", "Pow", "Identity"}:
            product = self._product(op, inputs)
            found = self._match(product) if product is not None else None
            if found is None and product is not None and self._worth_keeping(product):
                self.products[out] = product
            return Match(found[0], found[1].format(f"'{call.node.name or out}'")) if found else None
        if op in {"Add", "Sub"}:
            a, b = self._read(inputs[0]), self._read(inputs[1])
            if a.factors != b.factors:
                self.sums[out] = {a.factors: a.scale, b.factors: b.scale if op == "Add" else -b.scale}
        elif op in {"Sigmoid", "Erf", "Tanh", "Softplus"}:
            self.gates[out] = self._curve(op.lower(), inputs[0])
        elif op == "HardSigmoid":
            alpha, beta = call.get("alpha", 0.2), call.get("beta", 0.5)
            scaled = ({t: alpha * c for t, c in terms.items()} for terms in self._readings(inputs[0]))
            self.gates[out] = Gate("ramp", tuple({**terms, (): terms.get((), 0.0) + beta} for terms in scaled), 0, 1)
        elif (cut := self._cut(call, inputs)) is not None:
            self.gates[out] = self._ramp(*cut)
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
        related = any(names <= {name, *sum(self.sums[name], ())} for name in names & self.sums.keys())
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

    def _cut(self, call: Call, inputs: list[str]) -> tuple[str, float, float] | None:
        """(value, low, high) where the node cuts a value off at constants."""
        op = call.node.op_type
        if op == "Relu":
            return inputs[0], 0.0, inf
        if op == "Clip" and call.opset < 11:
            return inputs[0], call.get("min", -inf), call.get("max", inf)
        if op == "Clip":
            ends = zip([*inputs[1:], "", ""], (-inf, inf), strict=False)
            low, high = (self.point(name) if name else end for name, end in ends)
            return None if low is None or high is None else (inputs[0], low, high)
        if op in {"Min", "Max"} and len(inputs) == 2:
            for name, other in (inputs, inputs[::-1]):
                if (value := self.point(other)) is not None:
                    return (name, -inf, value) if op == "Min" else (name, value, inf)
        return None

    def _ramp(self, name: str, low: float, high: float) -> Gate:
        """Clip(value, low, high), a cut of a cut included."""
        inner = self.gates.get(name) if self._read(name) == Product(1.0, (name,)) else None
        if inner is not None and inner.kind == "ramp":
            return replace(inner, low=min(max(inner.low, low), high), high=min(max(inner.high, low), high))
        return Gate("ramp", tuple(self._readings(name)), low, high)

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

    def _match(self, product: Product) -> tuple[Range, str] | None:
        """The range and the formula of x * g(x), whichever of two factors is the gate."""
        for x, name in (product.factors, product.factors[::-1]) if len(product.factors) == 2 else ():
            found = self._gate(name)
            if found is None:
                continue
            scale, sign, gate = found
            for terms in gate.arguments:
                if (x,) not in terms or set(terms) - {(x,), (x, x, x), ()}:
                    continue
                slope, cubic = sign * terms[(x,)], sign * terms.get((x, x, x), 0.0)
                flip = math.copysign(1.0, slope)
                least = minimum(gate, abs(slope), flip * cubic, terms.get((), 0.0))
                if least is not None:
                    factor = product.scale * scale * flip
                    return ((factor * least, inf) if factor > 0 else (-inf, factor * least)), gate.formula
        return None
