"""The same operator in other element types, versions and modes."""

from math import inf

import pytest
from bounds_oracle import assert_about, bound, derive, model

from depool.onnx.bounds import Interval


@pytest.mark.parametrize(
    ("dtype", "body", "expected"),
    [
        ("uint8", "y = Identity(x)", (0, 255)),
        ("bool", "y = Identity(x)", (0, 1)),
        ("uint8", "y = Add(x, x)", (0, 255)),
        ("uint8", "y = Sub(x, x)", (0, 255)),
        ("uint8", "k = Constant<value = uint8 {2}>() c = Min(x, k) y = Add(c, c)", (0, 4)),
        ("int32", "y = Abs(x)", (-inf, inf)),
        ("int32", "y = Mul(x, x)", (-inf, inf)),
        ("int32", "y = Relu(x)", (0, inf)),
        ("int32", "r = Relu(x) y = Add(r, r)", (-inf, inf)),
        ("int32", "r = Relu(x) y = ReduceSum(r)", (-inf, inf)),
        ("int32", "r = Relu(x) y = ReduceL1(r)", (-inf, inf)),
        ("int64", "k = Constant<value = int64 {2}>() y = Div(x, k)", (-inf, inf)),
        ("uint8", "f = Cast<to = 1>(x) y = Add(f, f)", (0, 510)),
        ("float16", "y = Add(x, x)", (-inf, inf)),
    ],
)
def test_arithmetic_knows_its_type(dtype, body, expected):
    found = derive(model(body, dtype=dtype), {"x": (-40000.0, 40000.0)} if dtype == "float16" else {})
    assert_about(found.get("y", Interval()), expected)


OLD = [
    (6, "y = Clip<min = -1.0, max = 6.0>(x)", (-1, 6)),
    (6, "y = Clip<max = 6.0>(x)", (-inf, 6)),
    (6, "r = Relu(x) y = Dropout(r)", (-inf, inf)),
    (6, "r = Relu(x) y = Dropout<is_test = 1>(r)", (0, inf)),
    (10, "r = Relu(x) y = Dropout(r)", (0, inf)),
    (10, "s = Sigmoid(x) y = Pad<pads = [0,0,1,1,0,0,1,1], value = -3.0>(s)", (-3, 1)),
    (9, "r = Relu(x) s = Constant<value_floats = [1.0,1.0,2.0,2.0]>() y = Upsample(r, s)", (0, inf)),
    (20, "one = Constant<value = float {1}>() s = Sigmoid(x) y = BatchNormalization(s, one, one, one, one)", (5e-6, 1)),
    (
        20,
        (
            "one = Constant<value = float {1}>() s = Sigmoid(x)"
            " y = BatchNormalization<training_mode = 1>(s, one, one, one, one)"
        ),
        (-inf, inf),
    ),
    (20, "r = Relu(x) t = Cast<to = 9>(x) y = Dropout(r, , t)", (-inf, inf)),
    (
        20,
        'r = Relu(x) y = Resize<mode = "linear", coordinate_transformation_mode = "tf_crop_and_resize">(r)',
        (-inf, inf),
    ),
    (20, "r = Relu(x) p = Constant<value_ints = [1]>() y = Pad(r, p, x)", (-inf, inf)),
    (20, 'r = Relu(x) p = Constant<value_ints = [1]>() y = Pad<mode = "other">(r, p)', (-inf, inf)),
]


@pytest.mark.parametrize(("opset", "body", "expected"), OLD)
def test_versions_and_modes(opset, body, expected):
    assert_about(bound(body, opset=opset), expected)
