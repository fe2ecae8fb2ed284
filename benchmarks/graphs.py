"""ONNX graphs in few words: convolutions with He-initialised weights, pools, and what stands around them."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET, IR = 17, 8


class Graph:
    """A float32 graph with one input; each method adds a node and gives the name of its output.

    Args:
        shape: of the input, [N, C, *spatial].
        seed: of the weights.
    """

    def __init__(self, shape: Sequence[int], seed: int = 0) -> None:
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._rng = np.random.default_rng(seed)
        self._shape = tuple(shape)
        self._channels = {"x": shape[1]}
        self.input = "x"

    def conv(self, x: str, channels: int, kernel: int, stride: int = 1, pad: int = 0, *, bias: bool = True) -> str:
        """A convolution."""
        weight = self._weight((channels, self._channels[x], kernel, kernel))
        inputs = [x, weight, *([self._array(self._rng.normal(0, 0.01, channels), "bias")] if bias else [])]
        window = {"kernel_shape": [kernel] * 2, "strides": [stride] * 2, "pads": [pad] * 4}
        return self._add("Conv", inputs, channels, **window)

    def norm(self, x: str) -> str:
        """A batch normalisation with random statistics."""
        count = self._channels[x]
        scale, shift = self._rng.uniform(0.5, 1.0, count), self._rng.normal(0, 0.1, count)
        mean, variance = self._rng.normal(0, 0.1, count), self._rng.uniform(0.5, 1.5, count)
        words = ("scale", "shift", "mean", "variance")
        arrays = [self._array(a, n) for a, n in zip((scale, shift, mean, variance), words, strict=True)]
        return self._add("BatchNormalization", [x, *arrays])

    def relu(self, x: str) -> str:
        """A ReLU."""
        return self._add("Relu", [x])

    def pool(
        self,
        x: str,
        kernel: Sequence[int],
        strides: Sequence[int],
        pads: Sequence[int] | str = (),
        *,
        ceil: bool = False,
    ) -> str:
        """A max pool; pads are ONNX's, all begins and then all ends, or an auto_pad."""
        window: dict[str, Any] = {"kernel_shape": list(kernel), "strides": list(strides), "ceil_mode": int(ceil)}
        window |= {"auto_pad": pads} if isinstance(pads, str) else {"pads": list(pads or [0] * 2 * len(kernel))}
        return self._add("MaxPool", [x], **window)

    def square(self, x: str, kernel: int, stride: int, pad: int = 0, *, ceil: bool = False) -> str:
        """A max pool alike on both axes."""
        return self.pool(x, [kernel] * 2, [stride] * 2, [pad] * 4, ceil=ceil)

    def concat(self, *xs: str) -> str:
        """Along the channels."""
        return self._add("Concat", list(xs), sum(self._channels[x] for x in xs), axis=1)

    def add(self, x: str, y: str) -> str:
        """A sum."""
        return self._add("Add", [x, y])

    def local_norm(self, x: str) -> str:
        """The local response normalisation of 2012."""
        return self._add("LRN", [x], size=5, alpha=1e-4, beta=0.75, bias=1.0)

    def mean(self, x: str) -> str:
        """The global average, flattened."""
        return self._add("Flatten", [self._add("GlobalAveragePool", [x])], self._channels[x])

    def flat(self, x: str, elements: int) -> str:
        """All of it as one axis; `elements` is how many there are."""
        return self._add("Flatten", [x], elements)

    def dense(self, x: str, count: int) -> str:
        """A fully connected layer."""
        weight = self._weight((count, self._channels[x]))
        return self._add("Gemm", [x, weight, self._array(np.zeros(count), "bias")], count, transB=1)

    def model(self, *outputs: str) -> onnx.ModelProto:
        """The graph as a model."""
        given = [helper.make_tensor_value_info(self.input, TensorProto.FLOAT, self._shape)]
        made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        graph = helper.make_graph(self._nodes, "graph", given, made, self._weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR)
        inferred: onnx.ModelProto = onnx.shape_inference.infer_shapes(model)
        return inferred

    def _add(self, op_type: str, inputs: list[str], channels: int | None = None, **attributes: Any) -> str:
        name = f"{op_type.lower()}_{len(self._nodes)}"
        self._nodes.append(helper.make_node(op_type, inputs, [name], name=name, **attributes))
        self._channels[name] = self._channels[inputs[0]] if channels is None else channels
        return name

    def _weight(self, shape: tuple[int, ...]) -> str:
        """He: variance 2 / inputs, so that ReLUs keep the magnitude."""
        values = self._rng.standard_normal(shape, np.float32) * np.float32((2 / prod(shape[1:])) ** 0.5)
        return self._array(values, "weight")

    def _array(self, values: Any, what: str) -> str:
        name = f"{what}_{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.asarray(values, np.float32), name))
        return name


def pool_alone(shape: Sequence[int], *window: Any, **more: Any) -> onnx.ModelProto:
    """A max pool and nothing else."""
    graph = Graph(shape)
    return graph.model(graph.pool("x", *window, **more))


def spatial_pyramid(graph: Graph, x: str) -> str:
    """SPP: x and its maxima over 5x5, 9x9 and 13x13, side by side."""
    return graph.concat(x, *(graph.square(x, k, 1, k // 2) for k in (5, 9, 13)))
