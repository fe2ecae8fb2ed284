"""The gates: how one maximum is taken, as rows of a table.

A gate is a sequence of layers. A layer names its ReLU neurons and the values it keeps without one, each as
a linear combination of names known so far; the output is one more combination. Lowering turns the same row
into branches, concatenations or one chain.

    pair   max(a, b) = r(a - b) + b
    Y      p = r(a - b), s = r(b - a);  m0 = b + p;  e = r(a - m0), t = r(m0 - a - 2 s);  m = m0 + e - t

Y is exact in floating point: m0 is max(a, b) with one rounding error, e restores what is missing if a is
the maximum, and t removes what is too much (2 s switches it off if b is).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Combination = Mapping[str, int]
"""A linear combination of named values."""


@dataclass(frozen=True)
class Layer:
    """One layer of a gate: neurons behind a ReLU, and values kept linear."""

    relu: Mapping[str, Combination]
    keep: Mapping[str, Combination]


@dataclass(frozen=True)
class Gate:
    """A way to compute max(a, b).

    Attributes:
        name: as printed.
        lemma: the identity over the reals.
        layers: in order.
        output: the maximum, as a combination of the last layer's names.
        exact: bit-exact for all finite |x| <= MAX / 2.
    """

    name: str
    lemma: str
    layers: tuple[Layer, ...]
    output: Combination
    exact: bool


PAIR = Gate(
    name="pair",
    lemma="max(a, b) = r(a - b) + b",
    layers=(Layer(relu={"p": {"a": 1, "b": -1}}, keep={"b": {"b": 1}}),),
    output={"p": 1, "b": 1},
    exact=False,
)

EXACT_Y = Gate(
    name="Y",
    lemma="max(a, b) = m0 + r(a - m0) - r(m0 - a - 2 s), m0 = b + r(a - b), s = r(b - a)",
    layers=(
        Layer(relu={"p": {"a": 1, "b": -1}, "s": {"b": 1, "a": -1}}, keep={"a": {"a": 1}, "b": {"b": 1}}),
        Layer(relu={}, keep={"m0": {"b": 1, "p": 1}, "a": {"a": 1}, "s": {"s": 1}}),
        Layer(relu={"e": {"a": 1, "m0": -1}, "t": {"m0": 1, "a": -1, "s": -2}}, keep={"m0": {"m0": 1}}),
        Layer(relu={}, keep={"m": {"m0": 1, "e": 1, "t": -1}}),
    ),
    output={"m": 1},
    exact=True,
)
