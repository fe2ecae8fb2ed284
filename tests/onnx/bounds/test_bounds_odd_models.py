"""Odd models are unknown, and never raise."""

from math import inf

import numpy as np
import pytest
from bounds_oracle import derive, model
from onnx import helper, numpy_helper

from depool.onnx.bounds.rules import PASSED, RULES

HOSTILE = [
    "y = Mul(x)",
    "y = Add()",
    "y = Sum()",
    "y = Conv(r)",
    "y = Conv(r, x)",
    "y = Conv(r, nan)",
    "y = Conv(r, empty)",
    "y = Conv(r, scalar)",
    "y = MatMul(r, empty)",
    "y = MatMul(r, scalar)",
    "y = Gemm(r)",
    'y = Gemm<alpha = "a">(r, scalar)',
    'y = LeakyRelu<alpha = "a">(x)',
    "y = LeakyRelu<alpha = [1.0, 2.0]>(x)",
    "y = Elu<alpha = nan>(x)",
    'y = HardSigmoid<alpha = "a">(x)',
    "y = AveragePool(r)",
    "y = AveragePool<kernel_shape = 3>(r)",
    "y = AveragePool<kernel_shape = [0]>(r)",
    "y = AveragePool<kernel_shape = [3], auto_pad = 7>(r)",
    "y = Resize<mode = 3>(r)",
    'y = Cast<to = "float">(r)',
    "y = Cast<to = 999>(r)",
    "y = Cast(r)",
    "y = Concat()",
    "y = Max()",
    "y = Add(x, nan)",
    "y = Mul(r, empty)",
    "y = Mul(x, infinite)",
    "y = BatchNormalization(r, nan, nan, nan, nan)",
    "y = BatchNormalization(r)",
    "y = BatchNormalization<training_mode = 1>(r, scalar, scalar, scalar, scalar)",
    "y = Dropout(r, scalar, scalar)",
    "y = DequantizeLinear(x)",
    "y = DequantizeLinear(x, scalar, scalar)",
    "y = DequantizeLinear(x, nan)",
    "y = Pow(x, nan)",
    "y = Pow(x, infinite)",
    "y = Div(r, nan)",
    "y = Unknown(r)",
    "y = other.Relu(x)",
    "y = ConstantOfShape<value = 3.0>(r)",
    "y = Add(later, later) later = Relu(x)",
    "y = Identity(nowhere)",
    "y = Where(r)",
    "y = PRelu(x)",
    "y = Pad(x)",
]


@pytest.mark.parametrize("body", HOSTILE)
def test_odd_models_are_unknown_and_never_raise(body):
    built = model("r = Relu(x) " + body)
    for name, array in {
        "nan": np.full((2, 2, 1, 1), np.nan, np.float32),
        "empty": np.zeros((0, 2), np.float32),
        "scalar": np.float32(-0.5),
        "infinite": np.float32(inf),
    }.items():
        built.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    found = derive(built)
    assert "y" not in found
    assert found["r"].lower == 0


def test_attributes_of_any_kind_never_raise():
    rng = np.random.default_rng(3)
    odd = [
        1,
        -1.5,
        "x",
        [1, 2],
        [1.5],
        ["a"],
        inf,
        numpy_helper.from_array(np.ones(2)),
        helper.make_graph([], "g", [], []),
    ]
    names = ["alpha", "beta", "gamma", "min", "max", "axis", "mode", "pads", "kernel_shape", "auto_pad", "to", "value"]
    names += ["is_test", "training_mode", "transA", "epsilon", "coordinate_transformation_mode", "output_dtype"]
    for op in sorted(PASSED.keys() | RULES.keys() | {"Constant", "Less"}):
        for _ in range(20):
            inputs = [str(rng.choice(["x", "r", "k", "", "nowhere"])) for _ in range(rng.integers(5))]
            given = {str(name): odd[rng.integers(len(odd))] for name in rng.choice(names, 4, replace=False)}
            built = model("r = Relu(x) y = Relu(r)")
            built.graph.node[1].CopyFrom(helper.make_node(op, inputs, ["y"] * int(rng.integers(3)), **given))
            built.graph.initializer.append(numpy_helper.from_array(np.float32([[1, 2]]), "k"))
            for opset in (6, 11, 20):
                built.opset_import[0].version = opset
                assert all(interval.lower <= interval.upper for interval in derive(built).values())
