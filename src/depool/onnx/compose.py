"""Two convolutions, one behind the other, as one.

    y[j, u] = a0[j] + sum_i,s A[j, i, s] x[i, u S + s D - P]           the first: strides S, dilations D, pads P
    z[o, v] = b0[o] + sum_j,t B[o, j, t] y[j, v S' + t D' - P']        the second

    z[o, v] = c0[o] + sum_i,q W[o, i, q] x[i, v (S S') + q - P - S P']
    W[o, i, q] = sum over j and s D + t D' S = q of B[o, j, t] A[j, i, s]
    c0[o] = b0[o] + sum_j,t B[o, j, t] a0[j]

for all sizes, as floor(floor(a / S) / S') = floor(a / (S S')). Where the second pads, it reads zeros and not what the
first would make there; both are the same only where the first is a 1x1 convolution without pads and bias.

One of the two must be depthwise, so that W has the groups of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from math import gcd
from typing import Any

import numpy as np

from depool.geometry import Window
from depool.program import Array


@dataclass(frozen=True, eq=False)
class Linear:
    """A convolution as ONNX has it.

    Attributes:
        weight: [M, C / group, *window.kernel_shape].
        bias: [M] or None.
        group: that the channels are split into.
        window: strides, dilations, explicit pads.
    """

    weight: Array
    bias: Array | None
    group: int
    window: Window

    @property
    def terms(self) -> int:
        """Products in each sum."""
        return int(self.weight[0].size)


def composed(first: Linear, second: Linear) -> Linear | None:
    """The convolution that is both, computed in float64; None where the law does not hold."""
    channels = first.weight.shape[0]
    inner = second.weight.shape[1]
    if inner * second.group != channels:
        return None
    if first.group != channels and not (inner == 1 and second.weight.shape[0] == channels):
        return None
    window = _window(first, second)
    if window is None:
        return None
    a, b = first.weight.astype(np.float64), second.weight.astype(np.float64)
    maps, per = b.shape[0], a.shape[1]
    weight = np.zeros((maps, inner, per, *window.kernel_shape))
    read = np.arange(maps)[:, None] // (maps // second.group) * inner + np.arange(inner)  # j of B[o, j] among channels
    for s in product(*map(range, a.shape[2:])):
        for t in product(*map(range, b.shape[2:])):
            place: Any = (..., *_place(first.window, second.window, window, s, t))
            of_b: Any = (..., *t)
            of_a: Any = (..., *s)
            weight[place] += b[of_b][:, :, None] * a[of_a][read]
    bias = None if second.bias is None else second.bias.astype(np.float64)
    if first.bias is not None:
        more = np.einsum("oj,oj->o", b.reshape(maps, inner, -1).sum(-1), first.bias.astype(np.float64)[read])
        bias = more if bias is None else bias + more
    group = second.group if first.group == channels else first.group
    return Linear(weight.reshape(maps, inner * per, *window.kernel_shape), bias, group, window)


def _window(first: Linear, second: Linear) -> Window | None:
    one, two = first.window, second.window
    if isinstance(one.pads, str) or isinstance(two.pads, str):
        return None
    if two.padded and (first.bias is not None or one.padded or max(one.kernel_shape) > 1):
        return None
    pads = tuple((b + s * b2, e + s * e2) for (b, e), (b2, e2), s in zip(one.pads, two.pads, one.strides, strict=True))
    shape, dilations = [], []
    for k, k2, d, d2, s in zip(
        one.kernel_shape, two.kernel_shape, one.dilations, two.dilations, one.strides, strict=True
    ):
        reach = (k - 1) * d + (k2 - 1) * d2 * s
        step = gcd(d if k > 1 else 0, d2 * s if k2 > 1 else 0) or 1
        shape.append(reach // step + 1)
        dilations.append(step)
    strides = tuple(s * s2 for s, s2 in zip(one.strides, two.strides, strict=True))
    return Window(tuple(shape), strides, tuple(dilations), pads)


def _place(one: Window, two: Window, both: Window, s: tuple[int, ...], t: tuple[int, ...]) -> tuple[int, ...]:
    """Where the product of taps s and t stands in the composed kernel."""
    return tuple(
        (i * d + j * d2 * stride) // step
        for i, j, d, d2, stride, step in zip(
            s, t, one.dilations, two.dilations, one.strides, both.dilations, strict=True
        )
    )
