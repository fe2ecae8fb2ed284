"""The nearest other rewriting, for comparison: sequential, dense, in a pairwise tree with three maps per pair.

    max(a, b) = r(a - b) + r(b) - r(-b)

A layer makes r(a - b), r(b), r(-b) of every pair with one dense convolution, C x C blocks of which only the diagonal
is used, and the next layer's weights sum the three up again. A map without a partner is paired with itself. The
first layer has the pool's kernel and strides; all others are 1x1. Zero padding, so the input must be >= 0 there.

Written from a description of such a rewriting, not from its code. It ends without the ReLU that some add.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np
import numpy.typing as npt
import onnx
from graphs import IR, OPSET
from onnx import TensorProto, helper, numpy_helper

Weights = npt.NDArray[np.float32]


def peer(
    shape: Sequence[int], kernel: Sequence[int], strides: Sequence[int], pads: Sequence[int] = ()
) -> onnx.ModelProto:
    """Conv, Relu, Conv, Relu ..., Conv: equal to the max pool over the reals.

    Args:
        shape: [N, C, *spatial] of the input.
        kernel: of the pool.
        strides: of the pool.
        pads: ONNX's; 0 if not given.
    """
    channels, rank = shape[1], len(kernel)
    nodes: list[onnx.NodeProto] = []
    weights: list[onnx.TensorProto] = []

    def conv(source: str, maps: Weights, window: dict[str, list[int]], *, relu: bool) -> str:
        name = f"conv_{len(weights)}"
        weights.append(numpy_helper.from_array(_dense(maps, channels), f"{name}_weight"))
        nodes.append(helper.make_node("Conv", [source, f"{name}_weight"], [name], name=name, **window))
        if relu:
            nodes.append(helper.make_node("Relu", [name], [f"{name}_relu"], name=f"{name}_relu"))
        return nodes[-1].output[0]

    elements = np.eye(prod(kernel), dtype=np.float32).reshape(prod(kernel), 1, *kernel)  # [value, map, *kernel]
    window = {"kernel_shape": list(kernel), "strides": list(strides), "pads": list(pads or [0] * 2 * rank)}
    value, ones = "x", [1] * rank
    while len(elements) > 1:
        value = conv(value, _three_maps(elements), window, relu=True)
        pairs = (len(elements) + 1) // 2
        elements = np.kron(np.eye(pairs, dtype=np.float32), np.array([[1, 1, -1]], np.float32))
        elements = elements.reshape(pairs, 3 * pairs, *ones)
        window = {"kernel_shape": ones, "strides": ones, "pads": [0] * 2 * rank}
    result = conv(value, elements, window, relu=False)
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info(result, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "peer", [given], [made], weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)


def _three_maps(elements: Weights) -> Weights:
    """Linear forms a - b, b, -b of each pair of the forms given."""
    pairs = [(elements[i], elements[min(i + 1, len(elements) - 1)]) for i in range(0, len(elements), 2)]
    return np.stack([form for a, b in pairs for form in (a - b, b, -b)])


def _dense(maps: Weights, channels: int) -> Weights:
    """Kernels [maps out, maps in, *kernel] for all channels alike, W[(o, c), (i, c)] = k[o, i], group 1."""
    out, into, *window = maps.shape
    wide = np.zeros((out, channels, into, channels, *window), np.float32)
    for channel in range(channels):
        wide[:, channel, :, channel] = maps
    return wide.reshape(out * channels, into * channels, *window)
