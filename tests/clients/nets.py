"""Small networks for other programs to read, and what they compute by the native pool.

`digits` is trained: random filters, a pool, and a last layer fitted by ridge regression to the example's images, all in
NumPy, so that no file has to be kept.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
PLAIN = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [0, 0, 0, 0], "dilations": [1, 1], "group": 1}
HALF = {"kernel_shape": [2, 2], "strides": [2, 2]}
PADDED = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
DILATED = {"kernel_shape": [2, 2], "strides": [2, 2], "dilations": [2, 2]}


def model_of(nodes, weights, shape, outputs):
    """A model of these nodes, x to y, checked by onnx."""
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)]
    results = [helper.make_tensor_value_info("y", TensorProto.FLOAT, outputs)]
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "net", inputs, results, tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return model


def pool_model(pool, sizes, channels=4, relu=False):
    """A pool alone, or behind a ReLU; all sizes declared, since some readers want that of outputs too."""
    nodes = [helper.make_node("Relu", ["x"], ["r"], name="relu")] if relu else []
    nodes.append(helper.make_node("MaxPool", ["r" if relu else "x"], ["y"], name="pool", **pool))
    names = [f"d{i}" for i in range(2 + len(sizes))]
    told = native(model_of(nodes, {}, [1, channels, *sizes], names), np.zeros((1, channels, *sizes), np.float32)).shape
    return model_of(nodes, {}, [1, channels, *sizes], told)


def native(model, x):
    """ONNX Runtime without optimisations."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {model.graph.input[0].name: x})[0]


@cache
def images():
    """The example's 450 held-out images [N, 1, 8, 8] in [0, 1], and their labels."""
    data = np.load(EXAMPLES / "digits_test.npz")
    return data["image"], data["label"]


def digits(pool, *, filters=3, relu=True, bias=True, batch="N", reshape=False, size=8, seed=0):
    """conv 3x3 - ReLU - pool - Gemm on digits of size x size; the last layer is trained.

    Args:
        pool: attributes of the MaxPool.
        filters: how many, drawn from a generator.
        relu: whether a ReLU stands before the pool, which else sees signed values.
        bias: whether the convolution has one.
        batch: the first dimension, a number or a name.
        reshape: flatten by a Reshape whose shape is a Constant node, not by Flatten.
        size: the images are repeated at the border up to this size.
        seed: of the filters.
    """
    rng = np.random.default_rng(seed)
    weights = {"w": rng.normal(size=(filters, 1, 3, 3)).astype(np.float32) / 3}
    if bias:
        weights["b"] = rng.normal(size=filters).astype(np.float32) / 3
    nodes = [helper.make_node("Conv", ["x", *weights], ["c"], name="conv", **PLAIN)]
    if relu:
        nodes.append(helper.make_node("Relu", ["c"], ["r"], name="relu"))
    nodes.append(helper.make_node("MaxPool", ["r" if relu else "c"], ["p"], name="pool", **pool))
    features = [*nodes[:-1], helper.make_node("MaxPool", [nodes[-1].input[0]], ["y"], **pool)]
    x, labels = enlarged(size)
    seen = native(model_of(features, weights, ["N", 1, size, size], ["N", "c", "h", "w"]), x).reshape(len(x), -1)
    matrix, offset = ridge(seen, labels)
    weights |= {"m": matrix, "o": offset}
    if reshape:
        shape = numpy_helper.from_array(np.array([-1, len(matrix)]))
        nodes.append(helper.make_node("Constant", [], ["shape"], name="shape", value=shape))
        nodes.append(helper.make_node("Reshape", ["p", "shape"], ["f"], name="reshape"))
    else:
        nodes.append(helper.make_node("Flatten", ["p"], ["f"], name="flatten", axis=1))
    nodes.append(helper.make_node("Gemm", ["f", "m", "o"], ["y"], name="gemm", alpha=1.0, beta=1.0, transA=0, transB=0))
    return model_of(nodes, weights, [batch, 1, size, size], [batch, 10])


def enlarged(size):
    """The images with their last rows and columns repeated, and their labels."""
    x, labels = images()
    return np.pad(x, ((0, 0), (0, 0), (0, size - 8), (0, size - 8)), mode="edge"), labels


def ridge(seen, labels):
    """The linear layer that maps features to labels with least squares."""
    wide = np.concatenate([seen, np.ones((len(seen), 1))], axis=1).astype(np.float64)
    wanted = np.eye(10)[labels]
    solved = np.linalg.solve(wide.T @ wide + 0.1 * np.eye(wide.shape[1]), wide.T @ wanted)
    return solved[:-1].astype(np.float32), solved[-1].astype(np.float32)
