"""CROWN: bounds of a program's result by linear relaxation, written from the paper, for the tests.

With l <= x <= u for the value before a ReLU, l < 0 < u:

    a x  <=  r(x)  <=  u / (u - l) (x - l),     a = 1 if u > -l else 0

Bounds are propagated backwards from each tensor to the input, so that l and u are themselves bounds of this kind.
Source: Zhang, Weng, Chen, Hsieh, Daniel, NeurIPS 2018, with its adaptive lower slope.
"""

from __future__ import annotations

from math import prod

import numpy as np

from depool.program import Add, Concat, Conv, Program, Relu, sources


def bounds(program, low, high, plain=False):
    """Lower and upper bounds of the result over low <= x <= high [1, 1, *spatial]; `plain`: by intervals alone."""
    maps = _Maps(program, low.shape[2:])
    known = [(low.ravel(), high.ravel())]
    for i in range(len(program.nodes)):
        known.append(maps.interval(i, known) if plain else maps.backward(i + 1, known))
    return known[-1]


class _Maps:
    """A program's nodes as matrices between flat tensors."""

    def __init__(self, program: Program, spatial):
        self.nodes = program.nodes
        sizes = program.sizes(spatial)
        self.shapes = [(maps, *size) for maps, size in zip(program.maps, sizes, strict=True)]
        self.matrices = [self._matrices(node) for node in self.nodes]

    def _matrices(self, node):
        """(matrix of each source, offset) of a linear node; None of a ReLU."""
        if isinstance(node, Relu):
            return None
        read = [self.shapes[ref] for ref in sources(node)]
        base = self._run(node, [np.zeros((1, *shape)) for shape in read])[0]
        found = []
        for k, shape in enumerate(read):
            n = prod(shape)
            fed = [np.zeros((n, *other)) for other in read]
            fed[k] = np.eye(n).reshape(n, *shape)
            found.append((self._run(node, fed) - base).T)
        return found, base

    @staticmethod
    def _run(node, values):
        if isinstance(node, Conv):
            y = _convolved(node, values[0])
        elif isinstance(node, Add):
            y = values[0] + values[1]
        elif isinstance(node, Concat):
            y = np.concatenate(values, axis=1 + node.axis)
        return y.reshape(len(y), -1)

    def interval(self, i, known):
        node = self.nodes[i]
        if isinstance(node, Relu):
            low, high = known[node.source]
            return np.maximum(low, 0), np.maximum(high, 0)
        matrices, base = self.matrices[i]
        low = high = base
        for ref, matrix in zip(sources(node), matrices, strict=True):
            plus, minus = np.maximum(matrix, 0), np.minimum(matrix, 0)
            least, most = known[ref]
            low, high = low + plus @ least + minus @ most, high + plus @ most + minus @ least
        return low, high

    def backward(self, tensor, known):
        """Bounds of one tensor, whatever is before it bounded already."""
        n = prod(self.shapes[tensor])
        return self._side(tensor, known, np.eye(n), -1), self._side(tensor, known, np.eye(n), 1)

    def _side(self, tensor, known, start, sign):
        """The lower (sign -1) or upper (sign 1) bound."""
        weights = {tensor: start}
        offset = np.zeros(len(start))
        for ref in range(tensor, 0, -1):
            if ref not in weights:
                continue
            a, node = weights.pop(ref), self.nodes[ref - 1]
            if isinstance(node, Relu):
                low, high = known[node.source]
                open_ = (low < 0) & (high > 0)
                slope = np.where(high <= 0, 0.0, 1.0)
                rise = np.where(open_, high / np.where(open_, high - low, 1), slope)
                least = np.where(open_, np.where(high > -low, 1.0, 0.0), slope)
                above = np.where(open_, -rise * low, 0.0)
                upper = a * sign > 0
                offset = offset + np.where(upper, a * above, 0.0).sum(axis=1)
                self._join(weights, node.source, a * np.where(upper, rise, least))
                continue
            matrices, base = self.matrices[ref - 1]
            offset = offset + a @ base
            for source, matrix in zip(sources(node), matrices, strict=True):
                self._join(weights, source, a @ matrix)
        a = weights.get(0, np.zeros((len(start), len(known[0][0]))))
        low, high = known[0]
        ends = (high, low) if sign > 0 else (low, high)
        return offset + np.maximum(a, 0) @ ends[0] + np.minimum(a, 0) @ ends[1]

    @staticmethod
    def _join(weights, ref, a):
        weights[ref] = weights[ref] + a if ref in weights else a


def _convolved(node, x):
    window = node.window
    pads = window.explicit_pads(x.shape[2:])
    padded = np.pad(x, ((0, 0), (0, 0), *pads))
    out = window.out_sizes(x.shape[2:])
    y = np.zeros((len(x), len(node.kernel), *out))
    for o, i, *tap in np.argwhere(node.kernel):
        at = [slice(t * d, t * d + (n - 1) * s + 1, s)
              for t, d, n, s in zip(tap, window.dilations, out, window.strides, strict=True)]  # fmt: skip
        y[:, o] += node.kernel[(o, i, *tap)] * padded[(slice(None), i, *at)]
    if node.bias is not None:
        y += np.reshape(node.bias, (1, -1, *(1,) * len(out)))
    return y
