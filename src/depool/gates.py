"""The gates: how one maximum is taken, as rows of a table.

A gate is a sequence of layers. A layer names its ReLU neurons and the values it keeps without one, each as
a linear combination of names known so far; the output is one more combination. Lowering turns the same row
into branches, concatenations or one chain.

    pair     max(a, b) = r(a - b) + b
    Y        p = r(a - b), s = r(b - a);  m0 = b + p;  e = r(a - m0), t = r(m0 - a - 2 s);  m = m0 + e - t
    K        p = r(a - b), s = r(b - a);  A = r(a - K s), B = r(b - K p);  m = B + r(A - B), inputs >= 0
    closing  max(e, x0, x1, x2, x3) = e + 1/2 [ r(p - m1) + r(p - m3) + r(q - m0) + r(q - m2) + r(p + q - 2 e)
                                                - r(p + q - m1 - m3) - r(p + q - m0 - m2) ]
             with mi = max(e, xi), p = max(x0, x2), q = max(x1, x3)

Y is exact in floating point for any sign: m0 is max(a, b) with one rounding error, e restores what is missing
if a is the maximum, and t removes what is too much (2 s switches it off if b is). K is exact for inputs >= 0:
K s >= a as soon as b > a, so of A and B only the larger input is left.

The closing layer after one layer of pairs is the five-way gate: five elements in two layers, where pairs
alone need three. Source: Bakaev, Brunck, Hertrich, Stade, Yehudayoff, arXiv 2505.14338 (that two layers
suffice); the neurons and the proof are in docs/numerics.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy.typing as npt

from depool.numerics import unit_roundoff

Combination = Mapping[str, float]
"""A linear combination of named values."""


@dataclass(frozen=True)
class Layer:
    """One layer of a gate: neurons behind a ReLU, and values kept linear."""

    relu: Mapping[str, Combination]
    keep: Mapping[str, Combination]


@dataclass(frozen=True)
class Gate:
    """A way to compute a maximum.

    Attributes:
        name: as printed.
        lemma: the identity over the reals (for K: over floating-point numbers).
        args: the names of its inputs.
        layers: in order.
        output: the maximum, as a combination of the last layer's names.
        exact: bit-exact in floating point; see `reach`.
        reach: the largest |x| for which it is exact, as a fraction of the type's MAX.
        growth: the factor by which errors of the inputs reach the output; 1 for a maximum of the inputs.
    """

    name: str
    lemma: str
    args: tuple[str, ...]
    layers: tuple[Layer, ...]
    output: Combination
    exact: bool = False
    reach: float = 0.0
    growth: float = 1.0


PAIR = Gate(
    name="pair",
    lemma="max(a, b) = r(a - b) + b",
    args=("a", "b"),
    layers=(Layer(relu={"p": {"a": 1, "b": -1}}, keep={"b": {"b": 1}}),),
    output={"p": 1, "b": 1},
)

EXACT_Y = Gate(
    name="Y",
    lemma="max(a, b) = m0 + r(a - m0) - r(m0 - a - 2 s), m0 = b + r(a - b), s = r(b - a)",
    args=("a", "b"),
    layers=(
        Layer(relu={"p": {"a": 1, "b": -1}, "s": {"b": 1, "a": -1}}, keep={"a": {"a": 1}, "b": {"b": 1}}),
        Layer(relu={}, keep={"m0": {"b": 1, "p": 1}, "a": {"a": 1}, "s": {"s": 1}}),
        Layer(relu={"e": {"a": 1, "m0": -1}, "t": {"m0": 1, "a": -1, "s": -2}}, keep={"m0": {"m0": 1}}),
        Layer(relu={}, keep={"m": {"m0": 1, "e": 1, "t": -1}}),
    ),
    output={"m": 1},
    exact=True,
    reach=0.5,
)

CLOSING = Gate(
    name="closing",
    lemma="max(e, x0..x3) = e + 1/2 [r(p-m1) + r(p-m3) + r(q-m0) + r(q-m2) + r(p+q-2e) - r(p+q-m1-m3) - r(p+q-m0-m2)], "
    "mi = max(e, xi), p = max(x0, x2), q = max(x1, x3)",
    args=("e", "m0", "m1", "m2", "m3", "p", "q"),
    layers=(
        Layer(
            relu={
                "p1": {"p": 1, "m1": -1},
                "p3": {"p": 1, "m3": -1},
                "q0": {"q": 1, "m0": -1},
                "q2": {"q": 1, "m2": -1},
                "pq": {"p": 1, "q": 1, "e": -2},
                "odd": {"p": 1, "q": 1, "m1": -1, "m3": -1},
                "even": {"p": 1, "q": 1, "m0": -1, "m2": -1},
            },
            keep={"e": {"e": 1}},
        ),
    ),
    output={"e": 1, "p1": 0.5, "p3": 0.5, "q0": 0.5, "q2": 0.5, "pq": 0.5, "odd": -0.5, "even": -0.5},
    growth=11.0,  # 1 + (4 * 2 + 3 * 4) / 2: what an error in every input can add up to
)


def exact_k(dtype: npt.DTypeLike) -> Gate:
    """Gate K with the type's constant, 1 / u: 2^24 in float32, 2^11 in float16, 2^8 in bfloat16."""
    k = 1 / unit_roundoff(dtype)
    big = f"K = 2^{int(k).bit_length() - 1}"
    return Gate(
        name="K",
        lemma=f"max(a, b) = B + r(A - B), A = r(a - K r(b - a)), B = r(b - K r(a - b)), a, b >= 0, {big}",
        args=("a", "b"),
        layers=(
            Layer(relu={"p": {"a": 1, "b": -1}, "s": {"b": 1, "a": -1}}, keep={"a": {"a": 1}, "b": {"b": 1}}),
            Layer(relu={"A": {"a": 1, "s": -k}, "B": {"b": 1, "p": -k}}, keep={}),
            Layer(relu={"q": {"A": 1, "B": -1}}, keep={"B": {"B": 1}}),
        ),
        output={"q": 1, "B": 1},
        exact=True,
        reach=1.0,
    )
