"""The numbers of the derivation, all of them values of a program that `synthesize` made.

    p = r(a - b)    q = r(c - d)    u = r(p - q + b - d)    v = q + d    max(a, b, c, d) = u + v

Names and formulas are read off the kernels, so they tell what the program does for every pairing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from depool.choose import synthesize
from depool.errors import UsageError
from depool.geometry import PoolSpec
from depool.plan.tree import PAIRINGS
from depool.program import Array, Concat, Conv, Program, Ref, Relu

WINDOW = "abcd"
"""The elements of a 2x2 window: a b above c d."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution of the program, with the ReLU behind it if there is one.

    Attributes:
        name: of the map it gives: one of WINDOW where it only picks that element, else p, q, u, v.
        reads: what each entry of the kernel multiplies: elements of the window, or maps by name.
        kernel: [2, 2] over the window, or [maps] of a 1x1 convolution.
        strides: of the convolution.
        relu: whether a ReLU follows.
        before: [rows, columns], what the convolution gives.
        map: [rows, columns], the same after the ReLU.
    """

    name: str
    reads: tuple[str, ...]
    kernel: Array
    strides: tuple[int, ...]
    relu: bool
    before: Array
    map: Array

    @property
    def linear(self) -> str:
        """What the convolution computes, such as ``a - b``."""
        return signed_sum(self.kernel, self.reads)

    @property
    def formula(self) -> str:
        """What the layer computes, such as ``r(a - b)``."""
        return f"r({self.linear})" if self.relu else self.linear

    @property
    def equation(self) -> str:
        """Name and formula, such as ``p = r(a - b)``; just the name where it is the formula."""
        return self.name if self.name == self.formula else f"{self.name} = {self.formula}"


@dataclass(frozen=True, eq=False)
class Demo:
    """One image, pooled by convolutions and by NumPy.

    Attributes:
        size, seed, pairing: what was asked for.
        x: [size, size], integers from -9 to 9.
        layers: the six convolutions, in order.
        result: [size / 2, size / 2], what the program gives.
        native: the same from NumPy alone.
        average_kernel: [2, 2], the one convolution of the average pool.
        average: what it gives.
        native_average: the same from NumPy alone.
    """

    size: int
    seed: int
    pairing: str
    x: Array
    layers: tuple[Layer, ...]
    result: Array
    native: Array
    average_kernel: Array
    average: Array
    native_average: Array

    @property
    def equal(self) -> bool:
        """Whether every element of the result is NumPy's maximum."""
        return np.array_equal(self.result, self.native)

    @property
    def average_equal(self) -> bool:
        """Whether every element of the average is NumPy's mean."""
        return np.array_equal(self.average, self.native_average)

    @property
    def first(self) -> tuple[Layer, ...]:
        """The four strided convolutions over the image."""
        return tuple(layer for layer in self.layers if layer.kernel.ndim == 2)

    @property
    def second(self) -> tuple[Layer, ...]:
        """The two 1x1 convolutions over the concatenated maps; their sum is the result."""
        return tuple(layer for layer in self.layers if layer.kernel.ndim == 1)

    @property
    def kernels(self) -> dict[str, Array]:
        """The six kernels by the names of their maps."""
        return {layer.name: layer.kernel for layer in self.layers}

    @property
    def maps(self) -> dict[str, Array]:
        """The intermediate maps by name, after their ReLUs."""
        return {layer.name: layer.map for layer in self.layers}


def demo(size: int = 16, seed: int = 0, pairing: str = PAIRINGS[0]) -> Demo:
    """Pool a random image of signed integers, whose sums are exact.

    Args:
        size: rows and columns of the image, even, from 2 to 32.
        seed: of the image; the same seed gives the same image.
        pairing: one of PAIRINGS.

    Raises:
        UsageError: for any other size, seed or pairing.
    """
    if size % 2 or not 2 <= size <= 32:
        raise UsageError(f"size must be an even number from 2 to 32, not {size}; --size 4 can be checked by hand")
    if seed < 0:
        raise UsageError(f"seed must be 0 or more, not {seed}; leave --seed out for 0")
    x = np.random.default_rng(seed).integers(-9, 10, (size, size)).astype(np.float32)
    program = synthesize(PoolSpec((2, 2), (2, 2)), scheme="tree", form="concat", pairing=pairing)
    values = [value[0] for value in program.trace(x[None, None])]
    pool = synthesize(PoolSpec((2, 2), (2, 2), kind="average"))
    (mean,) = (node for node in pool.nodes if isinstance(node, Conv))
    windows = x.reshape(size // 2, 2, size // 2, 2)
    return Demo(
        size=size,
        seed=seed,
        pairing=pairing,
        x=x,
        layers=_layers(program, values),
        result=values[-1][0],
        native=windows.max(axis=(1, 3)),
        average_kernel=mean.kernel[0, 0],
        average=pool(x[None, None])[0, 0],
        native_average=windows.mean(axis=(1, 3)),
    )


def _layers(program: Program, values: list[Array]) -> tuple[Layer, ...]:
    """The program's convolutions, named in order: p and q, then u and v; what picks one element is that element."""
    relu_of: dict[Ref, Ref] = {node.source: i for i, node in enumerate(program.nodes, 1) if isinstance(node, Relu)}
    named: dict[Ref, tuple[str, ...]] = {0: tuple(WINDOW)}
    free = iter("pquv")
    layers = []
    for i, node in enumerate(program.nodes, 1):
        if isinstance(node, Concat):
            named[i] = tuple(named[ref][0] for ref in node.sources)
        if isinstance(node, Conv):
            result = relu_of.get(i, i)
            kernel = node.kernel[0, 0] if node.source == 0 else node.kernel[0, :, 0, 0]
            formula = signed_sum(kernel, named[node.source])
            name = formula if formula in WINDOW else next(free)
            named[result] = (name,)
            strides, maps = node.window.strides, (values[i][0], values[result][0])
            layers.append(Layer(name, named[node.source], kernel, strides, result != i, *maps))
    return tuple(layers)


def signed_sum(coefficients: Array, words: Iterable[str]) -> str:
    """The sum of coefficient * word as one writes it: zeros left out, ones unwritten, later negatives in brackets."""
    text = ""
    for coefficient, word in zip(coefficients.ravel(), words, strict=True):
        if coefficient:
            factor = "" if abs(coefficient) == 1 else f"{number(abs(coefficient))} "
            sign = ("-" if coefficient < 0 else "") if not text else (" - " if coefficient < 0 else " + ")
            text += sign + factor + (f"({word})" if word.startswith("-") and sign + factor else word)
    return text


def number(value: float) -> str:
    """As short as exact: 3, -1.25."""
    return str(_plain(value))


def fraction(value: float) -> str:
    """As a fraction: 3, -1, 1/4."""
    return str(Fraction(value))


def as_json(demo: Demo) -> dict[str, Any]:
    """The whole demo as plain lists and numbers."""
    return {
        "size": demo.size,
        "seed": demo.seed,
        "pairing": demo.pairing,
        "image": _listed(demo.x),
        "layers": [
            {
                "name": layer.name,
                "formula": layer.formula,
                "reads": list(layer.reads),
                "kernel": _listed(layer.kernel),
                "strides": list(layer.strides),
                "relu": layer.relu,
                "before_relu": _listed(layer.before),
                "map": _listed(layer.map),
            }
            for layer in demo.layers
        ],
        "result": _listed(demo.result),
        "native": _listed(demo.native),
        "equal": demo.equal,
        "average": {
            "kernel": _listed(demo.average_kernel),
            "result": _listed(demo.average),
            "native": _listed(demo.native_average),
            "equal": demo.average_equal,
        },
    }


def _listed(array: Array) -> list[Any]:
    return [_listed(row) if row.ndim else _plain(row) for row in array]


def _plain(value: float) -> int | float:
    return int(value) if value == int(value) else float(value)
