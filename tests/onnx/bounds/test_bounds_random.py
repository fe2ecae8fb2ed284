"""Random graphs, random gates and sums that cancel stay inside their bounds."""

import numpy as np
import onnx
import pytest
from bounds_oracle import assert_sound, model
from onnx import helper, numpy_helper

UNARY = [
    *("Relu", "Sigmoid", "Tanh", "Erf", "Abs", "Neg", "Softplus", "Elu", "Selu", "HardSwish", "HardSigmoid", "Mish"),
    *("Gelu", "LeakyRelu", "Exp", "Softsign", "Round", "ThresholdedRelu", "Identity", "Softmax"),
    *("GlobalAveragePool", "GlobalMaxPool"),
]


def random_model(rng, dtype):
    """A chain with branches of random operators on [1, 3, 5, 5] or [1, 3, 1, 1]."""
    np_dtype = np.float32 if dtype == onnx.TensorProto.FLOAT else np.float16
    values, nodes, constants = ["x"], [], []

    def constant(array):
        constants.append(numpy_helper.from_array(np.asarray(array, np_dtype), f"c{len(constants)}"))
        return constants[-1].name

    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    for i in range(8):
        out, a, b = f"v{i}", rng.choice(values), rng.choice(values)
        scalar = constant(rng.choice([-2.0, 0.5, 1.0, 3.0, 0.1]))
        kind = rng.integers(12)
        if kind < 4:
            nodes.append(helper.make_node(str(rng.choice(UNARY)), [a], [out]))
        elif kind < 7:
            nodes.append(helper.make_node(str(rng.choice(["Add", "Mul", "Sub", "Max", "Min", "Sum"])), [a, b], [out]))
        elif kind == 7:
            order = [a, scalar] if rng.integers(2) else [scalar, a]
            nodes.append(helper.make_node(str(rng.choice(["Add", "Mul", "Sub", "Div", "Max"])), order, [out]))
        elif kind == 8:
            weights = rng.standard_normal((3, 3, 3, 3)) * rng.choice([0.1, 1])
            weights = abs(weights) if rng.integers(2) else weights
            inputs = [a, constant(weights), *([constant(rng.standard_normal(3))] if rng.integers(2) else [])]
            nodes.append(helper.make_node("Conv", inputs, [out], **window))
        elif kind == 9:
            op, include = (
                ("MaxPool", {}) if rng.integers(2) else ("AveragePool", {"count_include_pad": int(rng.integers(2))})
            )
            nodes.append(helper.make_node(op, [a], [out], **window, **include))
        elif kind == 10:
            parts = [rng.standard_normal(3), rng.standard_normal(3), rng.standard_normal(3), rng.random(3) + 0.1]
            nodes.append(helper.make_node("BatchNormalization", [a, *map(constant, parts)], [out]))
        else:
            ends = [constant(-1.0) if rng.integers(2) else "", constant(2.0)]
            nodes.append(helper.make_node("Clip", [a, *ends], [out]))
        values.append(out)
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", dtype, [1, 3, 5, 5])],
        [onnx.ValueInfoProto(name="v7")],
        constants,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize("dtype", [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16])
@pytest.mark.parametrize("seed", range(60))
def test_random_graphs_stay_inside(seed, dtype):
    rng = np.random.default_rng(seed)
    low, high = sorted(rng.choice([-100.0, -3, -1, 0, 0.5, 1, 7, 200], 2, replace=False).tolist())
    built = random_model(rng, dtype)
    assert_sound(built, (low, high), seed)
    assert_sound(built, None, seed)


@pytest.mark.parametrize("dtype", ["float", "float16"])
def test_the_rounding_of_a_sum_that_cancels_is_in_its_bound(dtype):
    weights = np.random.default_rng(0).standard_normal((8, 32, 1, 1))
    weights -= weights.mean(1, keepdims=True)
    np_dtype = np.float32 if dtype == "float" else np.float16
    built = model("y = Conv(x, w)", dtype=dtype, shape="1,32,4,4")
    built.graph.initializer.append(numpy_helper.from_array(weights.astype(np_dtype), "w"))
    assert assert_sound(built, (0.1, 0.1)) > 0


def random_gates(rng, dtype):
    """Gates, scalars and products in any order: most are no known pattern, some are."""
    np_dtype = np.float32 if dtype == onnx.TensorProto.FLOAT else np.float16
    scalars = [0.5, 1.0, -1.0, 3.0, 6.0, 1 / 6, 1.702, 0.70710678, 0.044715, 0.7978846]
    constants = [numpy_helper.from_array(np.asarray(value, np_dtype), f"c{i}") for i, value in enumerate(scalars)]
    values, nodes = ["x"], []
    for i in range(9):
        recent = [values[-1], values[-1], "x", rng.choice(values)]
        a, b, c = rng.choice(recent), rng.choice(recent), f"c{rng.integers(len(scalars))}"
        kind = rng.integers(8)
        if kind < 2:
            op, inputs = str(rng.choice(["Sigmoid", "Erf", "Tanh", "Softplus", "HardSigmoid", "Relu", "Neg"])), [a]
        elif kind == 2:
            op, inputs = "Clip", [a, *map(str, rng.choice(["c0", "c1", "c2", "c3", "c4", ""], 2))]
        elif kind < 5:
            op, inputs = str(rng.choice(["Mul", "Mul", "Add", "Sub", "Div"])), [a, c] if rng.integers(3) else [c, a]
        else:
            op, inputs = str(rng.choice(["Mul", "Mul", "Mul", "Add", "Sub"])), [a, b]
        nodes.append(helper.make_node(op, inputs, [f"v{i}"]))
        values.append(f"v{i}")
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", dtype, [800])], [onnx.ValueInfoProto(name="v8")], constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@pytest.mark.parametrize("dtype", [onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16])
@pytest.mark.parametrize("seed", range(80))
def test_random_gates_stay_inside(seed, dtype):
    assert_sound(random_gates(np.random.default_rng(seed), dtype), None, seed)
