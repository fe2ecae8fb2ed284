"""What a pass reads, what it takes from outside, what it says, and what it finds in trained models."""

import math
from math import inf
from pathlib import Path

import numpy as np
import onnx
import pytest
from bounds_oracle import HSWISH, SILU, assert_about, derive, model
from onnx import numpy_helper, parser

from depool.onnx.bounds import Interval, intervals
from depool.onnx.graph import scopes

MODELS = Path(__file__).parents[4] / "shared" / "models"


def counted(scope, monkeypatch):
    reads = []
    original = type(scope).constant

    def constant(self, name):
        reads.append(name)
        return original(self, name)

    monkeypatch.setattr(type(scope), "constant", constant)
    return reads


def test_weights_are_read_once_and_only_for_a_bounded_input(monkeypatch):
    weights = numpy_helper.from_array(np.ones((40, 2, 16, 16), np.float32), "w")
    for first, expected in (("", 0), ("r = Sigmoid(x)", 1)):
        source = "r" if first else "x"
        built = model(f"{first} a = Conv({source}, w) b = Conv({source}, w) y = Add(a, b)", shape="1,2,16,16")
        built.graph.initializer.append(weights)
        reads = counted(next(scopes(built, Path())), monkeypatch)
        derive(built)
        assert reads.count("w") == expected
        assert len(set(reads)) == len(reads)


def test_a_small_constant_is_read_once_whatever_asks(monkeypatch):
    built = model("s = Sigmoid(x) a = Conv(s, w, b) m = Mul(a, b) c = Conv(m, w, b) k = Mul(w, x) y = Max(k, b)")
    for name, shape in {"w": (2, 2, 1, 1), "b": (2,)}.items():
        built.graph.initializer.append(numpy_helper.from_array(np.ones(shape, np.float32), name))
    reads = counted(next(scopes(built, Path())), monkeypatch)
    derive(built)
    assert sorted(set(reads)) == sorted(reads)
    assert {"w", "b"} <= set(reads)


def test_missing_external_data_is_unknown(tmp_path):
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2, 2, 1, 1], data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="nowhere.bin")
    built = model("r = Relu(x) s = Sigmoid(x) c = Conv(s, w) m = Mul(s, w) y = Relu(m)")
    built.graph.initializer.append(tensor)
    found = intervals(next(scopes(built, tmp_path)), {})
    assert found.keys() == {"r", "s", "y"}


def test_declared_ranges_narrow_and_say_so():
    built = model("r = Relu(x) s = Tanh(r) y = Neg(s)")
    found = derive(built, {"x": (-2.0, 3.0), "r": (-1.0, 2.0), "y": (5.0, 6.0)})
    assert found["x"] == Interval(-2, 3, "declared range")
    assert found["r"] == Interval(0, 2, "declared range")
    assert found["s"].upper < 0.98
    assert found["y"] == Interval(5, 6, "declared range")  # a contradiction: the user's word stands
    found = derive(built, {"r": (-1.0, inf), "s": (math.nan, 1.0), "y": (2.0, 1.0)})
    assert found["r"] == Interval(0, inf, "Relu 'r'")  # the declaration adds nothing
    assert found["y"].reason == "Neg 'y' of bounded values"


def test_reasons_are_passed_on():
    built = model(
        "r = Relu(x) t = Transpose(r) p = MaxPool<kernel_shape = [2,2]>(t) c = Cast<to = 10>(p) s = Sigmoid(x)"
        " z = Mul(s, x) h = Constant<value = float {0.5}>() y = Mul(h, z)"
    )
    found = derive(built)
    assert {found[name].reason for name in "rtpc"} == {"Relu 'r'"}
    assert {found[name].reason for name in "zy"} == {"SiLU 'z' = x * Sigmoid(x)"}


def test_a_subgraph_sees_the_bounds_outside_and_its_own_names_first():
    text = """<ir_version: 8, opset_import: ["": 20]> g (bool c, float[4] x) => (y) {
        r = Relu(x) k = Constant<value = float {-1}>()
        y = If (c) <then_branch = t () => (a) { n = Add(r, r) a = Add(n, k) }, else_branch = e () => (b) { b = Neg(r) }>
    }"""
    main, then, other = scopes(parser.parse_model(text), Path())
    outer = intervals(main, {})
    assert outer["r"] == Interval(0, inf, "Relu 'r'")
    inside = intervals(then, {}, outer)
    assert inside["n"].lower == 0
    assert_about(inside["a"], (-1, inf))
    assert "r" not in inside
    assert intervals(then, {}).keys() <= {"k"}
    assert intervals(other, {}, outer)["b"].upper == 0
    assert intervals(then, {}, outer | {"n": Interval(5, 6)})["n"] == inside["n"]  # a name that is made here


def test_a_function_has_no_types_but_float_operators_do():
    text = """<ir_version: 10, opset_import: ["": 20, "f": 1]> g (float[4] x) => (y) { y = f.block(x) }
        <domain: "f", opset_import: ["": 20]> block (x) => (y) {
            s = Sigmoid(x) z = Mul(x, s) q = Mul(x, x) r = Relu(x) a = Add(r, r) y = Add(z, s) }"""
    _, function = scopes(parser.parse_model(text), Path())
    found = intervals(function, {})
    assert found.keys() == {"s", "z", "r", "y"}  # q and a could be integers, which wrap
    assert -0.29 < found["z"].lower < -0.2785


@pytest.mark.parametrize(
    ("name", "declared", "expected"),
    [
        ("blazeface-front", {}, (0, inf)),
        ("mnist-marabou", {}, (0, inf)),
        ("mnist-wonnx", {}, (0, inf)),
        ("yolox-det", {}, (SILU, inf)),
        ("ocr-cls", {}, (HSWISH, inf)),
        ("mtcnn-pnet", {}, (-inf, inf)),
        ("mtcnn-rnet", {}, (-inf, inf)),
        ("mtcnn-onet", {}, (-inf, inf)),
        ("mtcnn-onet", {"input_3": (-1.0, 1.0)}, None),
    ],
)
def test_pools_of_trained_models(name, declared, expected):
    path = MODELS / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"{path} is not here")
    scope = next(scopes(onnx.load(path), MODELS))
    found = intervals(scope, declared)
    pools = [found.get(node.input[0], Interval()) for node in scope.nodes if node.op_type == "MaxPool"]
    assert pools
    for interval in pools:
        if expected is None:
            assert -2000 < interval.lower < 0 < interval.upper < 2000
        else:
            assert_about(interval, expected)
