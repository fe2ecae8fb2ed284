"""Pools and programs computed the slow and obvious way, from ONNX's definitions alone.

Nothing here calls `PoolSpec.resolve` or `Program.__call__`; `test_geometry.py` holds the pools against ONNX Runtime.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import ml_dtypes
import numpy as np

from depool.program import Add, Concat, Conv, Relu

DTYPES = ("float32", "float64", "float16", "bfloat16")
KINDS = ("normal", "negative", "mixed", "integers", "ties", "spike", "huge", "subnormal")


def axis_windows(spec, axis, size):
    """Per output position along an axis: the taps' coordinates; those outside 0 .. size - 1 are padding.

    Windows are laid out one by one. In floor mode a window must end within the end padding. In ceil mode there
    is one more as long as the end padding is not covered yet, unless it would start beyond the input.
    """
    kernel, stride, dilation = spec.kernel_shape[axis], spec.strides[axis], spec.dilations[axis]
    extent = (kernel - 1) * dilation + 1
    if spec.auto_pad in {"SAME_UPPER", "SAME_LOWER"}:
        out = -(-size // stride)
        total = max((out - 1) * stride + extent - size, 0)
        begin = total // 2 if spec.auto_pad == "SAME_UPPER" else total - total // 2
        starts = [i * stride - begin for i in range(out)]
    else:
        begin, end = (0, 0) if spec.auto_pad == "VALID" else spec.pads[axis]
        slack = stride - 1 if spec.ceil_mode else 0
        starts = list(range(-begin, size + end - extent + slack + 1, stride))
        if spec.ceil_mode and starts and starts[-1] >= size:
            starts.pop()
    return [[start + tap * dilation for tap in range(kernel)] for start in starts]


def inside(spec, axis, size):
    """Per output position along an axis: the elements of the input it reads."""
    return [[i for i in window if 0 <= i < size] for window in axis_windows(spec, axis, size)]


def empty(spec, sizes):
    """Whether there is no window at all, or one that holds padding alone."""
    return any(not rows or not all(rows) for rows in (inside(spec, axis, n) for axis, n in enumerate(sizes)))


def pool(x, spec):
    """The pool of x [N, C, *spatial], by its definition.

    Max: in x's own type. Average: the exact rational mean, as float64; the divisor is the number of real elements,
    or with count_include_pad the whole kernel.
    """
    sizes = x.shape[2:]
    windows = [axis_windows(spec, axis, size) for axis, size in enumerate(sizes)]
    out = tuple(len(rows) for rows in windows)
    y = np.empty((*x.shape[:2], *out), x.dtype if spec.kind == "max" else np.float64)
    for position in np.ndindex(*out):
        rows = [rows[p] for rows, p in zip(windows, position, strict=True)]
        for n, c in np.ndindex(*x.shape[:2]):
            elements = [
                x[(n, c, *index)]
                for index in product(*rows)
                if all(0 <= i < size for i, size in zip(index, sizes, strict=True))
            ]
            if spec.kind == "max":
                y[(n, c, *position)] = max(elements)
            else:
                count = int(np.prod(spec.kernel_shape)) if spec.count_include_pad else len(elements)
                y[(n, c, *position)] = float(sum(Fraction(float(e)) for e in elements) / count)
    return y


def run(program, x, order="forward", seed=0):
    """Evaluate a program with a convolution of its own, its sums taken in another order.

    Args:
        program: the program.
        x: [N, C, *spatial].
        order: of the terms of each sum: ``forward``, with those of zero weight too, ``reversed``, ``shuffled``, or
            ``wide``: summed in a wider type and rounded once.
        seed: of the shuffles.
    """
    rng = np.random.default_rng(seed)
    values = [x.reshape(-1, 1, *x.shape[2:])]
    with np.errstate(over="ignore"):
        for node in program.nodes:
            if isinstance(node, Relu):
                source = values[node.source]
                values.append(np.where(source > 0, source, source.dtype.type(0)))
            elif isinstance(node, Add):
                values.append(values[node.left] + values[node.right])
            elif isinstance(node, Concat):
                values.append(np.concatenate([values[ref] for ref in node.sources], node.axis + 1))
            else:
                values.append(_convolve(node, values[node.source], order, rng))
    return values[-1].reshape(*x.shape[:2], *values[-1].shape[2:])


def _convolve(node: Conv, x, order, rng):
    window, spatial = node.window, x.shape[2:]
    rows = []
    for axis, (size, stride, dilation, kernel) in enumerate(
        zip(spatial, window.strides, window.dilations, window.kernel_shape, strict=True)
    ):
        extent = (kernel - 1) * dilation + 1
        if isinstance(window.pads, str):
            out = -(-size // stride)
            total = max((out - 1) * stride + extent - size, 0)
            begin = total // 2 if window.pads == "SAME_UPPER" else (total + 1) // 2
        else:
            begin, end = window.pads[axis]
            out = len(range(-begin, size + end - extent + 1, stride))
        rows.append(np.arange(out)[:, None] * stride - begin + np.arange(kernel) * dilation)
    maps = []
    for o, row in enumerate(node.kernel):
        taps = [at for at in np.ndindex(*row.shape) if row[at] or order == "forward"] or [(0,) * row.ndim]
        terms = [_read(x[:, i], rows, tap) * x.dtype.type(row[(i, *tap)]) for i, *tap in taps]
        if node.bias is not None:
            terms.append(np.full_like(terms[0], node.bias[o]))
        maps.append(_sum(terms, order, rng))
    return np.stack(maps, axis=1)


def _read(x, rows, tap):
    """x [N, *spatial] at one tap of every window; 0 on the padding."""
    for axis, (row, t) in enumerate(zip(rows, tap, strict=True)):
        index, size = row[:, t], x.shape[1 + axis]
        shape = [1] * x.ndim
        shape[1 + axis] = len(index)
        real = ((index >= 0) & (index < size)).reshape(shape)
        x = np.where(real, np.take(x, np.clip(index, 0, size - 1), axis=1 + axis), x.dtype.type(0))
    return x


def _sum(terms, order, rng):
    if order == "wide":
        wide = np.longdouble if terms[0].dtype == np.float64 else np.float64
        return sum(term.astype(wide) for term in terms).astype(terms[0].dtype)
    if order == "reversed":
        terms = terms[::-1]
    elif order == "shuffled":
        terms = [terms[i] for i in rng.permutation(len(terms))]
    total = np.zeros_like(terms[0])
    for term in terms:
        total = total + term
    return total


def draw(rng, shape, kind, dtype, limit=0.5):
    """Data meant to break a pool, one of KINDS, with |x| at most `limit` times the type's MAX."""
    info = ml_dtypes.finfo(np.dtype(dtype))
    most = float(info.max) * limit
    sign = rng.choice([-1.0, 1.0], shape)
    normal = rng.normal(size=shape)
    x = {
        "normal": lambda: normal,
        "negative": lambda: -np.abs(normal) - 0.5,
        "mixed": lambda: sign * 10.0 ** rng.uniform(-30, 30, shape),
        "integers": lambda: rng.integers(-100, 101, shape).astype(np.float64),
        "ties": lambda: rng.choice([-2.5, -1.0, 0.0, 0.375, 7.0], shape),
        "spike": lambda: np.where(rng.random(shape) < 1 / 8, 1e4, -1e-3) * (1 + np.abs(normal)),
        "huge": lambda: sign * most * rng.choice([1.0, 0.5, 1 - 2.0**-5, 0.3, 1e-3], shape),
        "subnormal": lambda: sign * rng.integers(0, 9, shape) * float(info.smallest_subnormal),
    }[kind]()
    return np.clip(x, -most, most).astype(np.dtype(dtype))
