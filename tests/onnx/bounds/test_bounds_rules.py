"""Each rule: the bounds it gives, and that ONNX Runtime stays inside."""

from math import inf

import numpy as np
import pytest
from bounds_oracle import assert_about, assert_sound, bound, model

ANY = None
K = "k = Constant<value = float {{{}}}>() "  # a scalar
V2 = "v = Constant<value = float[1,2,1,1] {{{}}}>() "  # one number per channel
W = "w = Constant<value = float[2,2,1,1] {{{}}}>() "
TABLE = {
    "activations": [
        ("y = Relu(x)", ANY, (0, inf)),
        ("y = Relu(x)", (-1, 2), (0, 2)),
        ("y = Relu(x)", (-3, -2), (0, 0)),
        ("y = LeakyRelu<alpha = 0.1>(x)", (-2, 3), (-0.2, 3)),
        ("y = LeakyRelu<alpha = -0.5>(x)", ANY, (0, inf)),
        (V2.format("0.25,0.5") + "y = PRelu(x, v)", (-2, 1), (-1, 1)),
        (V2.format("-0.25,0.5") + "y = PRelu(x, v)", (-2, 0.5), (-1, 0.5)),
        ("y = Elu<alpha = 2.0>(x)", ANY, (-2, inf)),
        ("y = Elu(x)", (-1, 1), (np.expm1(-1), 1)),
        ("y = Elu<alpha = -2.0>(x)", (-1, 1), (-inf, inf)),
        ("y = Elu<alpha = -2.0>(x)", (-1, 3), (-inf, inf)),
        ("y = Celu<alpha = 0.5>(x)", ANY, (-0.5, inf)),
        ("y = Selu(x)", ANY, (-1.7581, inf)),
        ("y = ThresholdedRelu<alpha = 0.5>(x)", (-2, 3), (0, 3)),
        ("y = ThresholdedRelu<alpha = -0.5>(x)", ANY, (-0.5, inf)),
        ("y = Sigmoid(x)", ANY, (0, 1)),
        ("y = Sigmoid(x)", (0, 2), (0.5, 0.8808)),
        ("y = HardSigmoid(x)", ANY, (0, 1)),
        ("y = HardSigmoid(x)", (-1, 1), (0.3, 0.7)),
        ("y = HardSigmoid<alpha = -0.2>(x)", (-1, 1), (0, 1)),
        ("y = HardSwish(x)", ANY, (-0.375, inf)),
        ("y = HardSwish(x)", (0, 2), (0, 2)),
        ("y = Softplus(x)", ANY, (0, inf)),
        ("y = Softplus(x)", (0, 1), (0.6931, 1.3133)),
        ("y = Softsign(x)", ANY, (-1, 1)),
        ("y = Tanh(x)", ANY, (-1, 1)),
        ("y = Tanh(x)", (0, 1), (0, 0.7616)),
        ("y = Erf(x)", (-inf, 0), (-1, 0)),
        ("y = Softmax(x)", ANY, (0, 1)),
        ("y = Mish(x)", ANY, (-0.30884, inf)),
        ("y = Gelu(x)", ANY, (-0.16997, inf)),
        ('y = Gelu<approximate = "tanh">(x)', (-8, 3), (-0.17004, 3)),
        ("y = Exp(x)", ANY, (0, inf)),
        ("y = Exp(x)", (-1, 1), (0.36788, 2.71828)),
        ("y = Exp(x)", (-200, 0), (0, 1)),
        ("y = Sqrt(x)", (1, 4), (1, 2)),
        ("y = Reciprocal(x)", (2, 4), (0.25, 0.5)),
        ("y = Reciprocal(x)", (0, 4), (-inf, inf)),
        ("y = Abs(x)", (-3, 2), (0, 3)),
        ("y = Abs(x)", (-3, -2), (2, 3)),
        ("y = Neg(x)", (-3, 2), (-2, 3)),
        ("y = Sign(x)", (0.5, 3), (1, 1)),
        ("y = Floor(x)", (-0.5, 2.5), (-1, 2)),
        ("y = Ceil(x)", (-0.5, 2.5), (0, 3)),
        ("y = Round(x)", (-0.5, 2.5), (0, 2)),
    ],
    "clip": [
        ("lo = Constant<value = float {-1}>() hi = Constant<value = float {6}>() y = Clip(x, lo, hi)", ANY, (-1, 6)),
        ("lo = Constant<value = float {-1}>() y = Clip(x, lo)", ANY, (-1, inf)),
        ("hi = Constant<value = float {6}>() y = Clip(x, , hi)", (0, 9), (0, 6)),
        ("y = Clip(x)", (-2, 3), (-2, 3)),
        ("lo = Constant<value = float {3}>() hi = Constant<value = float {1}>() y = Clip(x, lo, hi)", ANY, (1, 3)),
    ],
    "arithmetic": [
        ("r = Relu(x) s = Sigmoid(x) y = Add(r, s)", ANY, (0, inf)),
        (K.format("-1") + "r = Relu(x) y = Add(r, k)", ANY, (-1, inf)),
        ("y = Add(x, x)", (-1, 2), (-2, 4)),
        ("r = Relu(x) y = Sub(r, x)", (-1, 2), (-2, 3)),
        ("r = Relu(x) y = Sub(r, x)", ANY, (-inf, inf)),
        ("y = Mul(x, x)", ANY, (0, inf)),
        ("y = Mul(x, x)", (-3, 2), (0, 9)),
        ("a = Abs(x) y = Mul(a, x)", (-3, 2), (-9, 6)),
        (K.format("-2") + "y = Mul(k, x)", (-3, 2), (-4, 6)),
        (K.format("0") + "y = Mul(k, x)", ANY, (0, 0)),
        (K.format("-2") + "y = Div(x, k)", (-3, 2), (-1, 1.5)),
        (K.format("0") + "y = Div(x, k)", (-3, 2), (-inf, inf)),
        (K.format("2") + "y = Div(k, x)", (1, 4), (0.5, 2)),
        (K.format("2") + "y = Pow(x, k)", (-3, 2), (0, 9)),
        (K.format("3") + "y = Pow(x, k)", (-3, 2), (-27, 8)),
        (K.format("0.5") + "y = Pow(x, k)", (1, 4), (1, 2)),
        (K.format("0.5") + "y = Pow(x, k)", (-1, 4), (-inf, inf)),
        (K.format("-1") + "y = Pow(x, k)", (0, 4), (-inf, inf)),
        ("r = Relu(x) y = Pow(r, r)", ANY, (0, inf)),
        ("y = Sum(x, x, x)", (-1, 2), (-3, 6)),
        ("s = Sigmoid(x) y = Mean(x, s)", (-1, 2), (-0.3655, 1.4404)),
        (K.format("0.5") + "y = Max(x, k)", ANY, (0.5, inf)),
        (K.format("0.5") + "y = Min(x, k)", (-1, 2), (-1, 0.5)),
        ("c = Less(x, x) s = Sigmoid(x) r = Relu(x) y = Where(c, s, r)", ANY, (0, inf)),
    ],
    "layout": [
        ("y = Identity(x)", (-1, 2), (-1, 2)),
        ("y = Dropout(x)", (-1, 2), (-1, 2)),
        ("s = Constant<value_ints = [2,16]>() y = Reshape(x, s)", (-1, 2), (-1, 2)),
        ("y = Flatten(x)", (-1, 2), (-1, 2)),
        ("a = Constant<value_ints = [0]>() y = Squeeze(x, a)", (-1, 2), (-1, 2)),
        ("a = Constant<value_ints = [0]>() y = Unsqueeze(x, a)", (-1, 2), (-1, 2)),
        ("y = Transpose(x)", (-1, 2), (-1, 2)),
        ("a = Constant<value_ints = [1]>() b = Constant<value_ints = [3]>() y = Slice(x, a, b)", (-1, 2), (-1, 2)),
        ("i = Constant<value_int = 0>() y = Gather(x, i)", (-1, 2), (-1, 2)),
        ("y, z = Split<axis = 1, num_outputs = 2>(x)", (-1, 2), (-1, 2)),
        ("z, y = Split<axis = 1, num_outputs = 2>(x)", (-1, 2), (-1, 2)),
        ("s = Constant<value_ints = [3,2,4,4]>() y = Expand(x, s)", (-1, 2), (-1, 2)),
        ("s = Constant<value_ints = [1,2,1,1]>() y = Tile(x, s)", (-1, 2), (-1, 2)),
        ("y = SpaceToDepth<blocksize = 2>(x)", (-1, 2), (-1, 2)),
        ("z = SpaceToDepth<blocksize = 2>(x) y = DepthToSpace<blocksize = 2>(z)", (-1, 2), (-1, 2)),
        ("s = Sigmoid(x) y = Concat<axis = 1>(x, s)", (-1, 0), (-1, 0.5)),
        ("p = Constant<value_ints = [0,0,1,1,0,0,1,1]>() y = Pad(x, p)", (1, 2), (0, 2)),
        (
            "p = Constant<value_ints = [0,0,1,1,0,0,1,1]>() v = Constant<value = float {-5}>() y = Pad(x, p, v)",
            (1, 2),
            (-5, 2),
        ),
        ('p = Constant<value_ints = [0,0,1,1,0,0,1,1]>() y = Pad<mode = "edge">(x, p)', (1, 2), (1, 2)),
        ('p = Constant<value_ints = [0,0,1,1,0,0,1,1]>() y = Pad<mode = "reflect">(x, p)', (1, 2), (1, 2)),
        ("y = Cast<to = 10>(x)", (1, 2), (1, 2)),
        ("y = Cast<to = 10>(x)", (1, 1e6), (1, inf)),
        ("y = Cast<to = 9>(x)", ANY, (0, 1)),
        ("y = Cast<to = 6>(x)", (1, 2), (-inf, inf)),
        ("b = Cast<to = 9>(x) y = Cast<to = 1>(b)", ANY, (0, 1)),
        ("y = Shape(x)", ANY, (0, inf)),
        ("s = Shape(x) y = ConstantOfShape<value = float[1] {-2}>(s)", ANY, (-2, -2)),
        ("s = Shape(x) y = ConstantOfShape(s)", ANY, (0, 0)),
        ("s = Constant<value_floats = [1.0,1.0,2.0,2.0]>() y = Resize(x, , s)", (-1, 2), (-1, 2)),
        ('s = Constant<value_floats = [1.0,1.0,2.0,2.0]>() y = Resize<mode = "linear">(x, , s)', (-1, 2), (-1, 2)),
        (
            's = Constant<value_floats = [1.0,1.0,2.0,2.0]>() y = Resize<mode = "cubic">(x, , s)',
            (-1, 2),
            (-inf, inf),
        ),
    ],
    "pools": [
        ("y = MaxPool<kernel_shape = [2,2], pads = [1,1,0,0]>(x)", (-3, -2), (-3, -2)),
        ("y = GlobalMaxPool(x)", (-3, 2), (-3, 2)),
        ("y = AveragePool<kernel_shape = [2,2]>(x)", (1, 2), (1, 2)),
        ("y = AveragePool<kernel_shape = [2,2], pads = [1,1,0,0], count_include_pad = 1>(x)", (1, 2), (0, 2)),
        ('y = AveragePool<kernel_shape = [3,3], auto_pad = "SAME_UPPER">(x)', (-2, -1), (-2, 0)),
        ("y = AveragePool<kernel_shape = [3,3]>(x)", (0, inf), (0, inf)),
        ("y = GlobalAveragePool(x)", (0, inf), (0, inf)),
        ("y = GlobalAveragePool(x)", (-1, inf), (-3, inf)),
        ("y = LpPool<kernel_shape = [2,2]>(x)", ANY, (0, inf)),
        ("y = ReduceMax(x)", (-3, 2), (-3, 2)),
        ("y = ReduceMin(x)", (-3, 2), (-3, 2)),
        ("y = ReduceMean(x)", (0, 1), (0, 3)),
        ("y = ReduceSum(x)", (0, 2), (0, inf)),
        ("y = ReduceSum(x)", (-1, 2), (-inf, inf)),
        ("y = ReduceL1(x)", ANY, (0, inf)),
        ("y = ReduceL2(x)", ANY, (0, inf)),
        ("y = ReduceSumSquare(x)", ANY, (0, inf)),
    ],
    "layers": [
        (W.format("1,2,-3,1") + "y = Conv(x, w)", (-1, 2), (-7, 6)),
        (W.format("1,2,-3,1") + "y = Conv(x, w)", ANY, (-inf, inf)),
        (W.format("1,2,-3,1") + "y = Conv(x, w)", (0, inf), (-inf, inf)),
        (W.format("1,2,3,0") + "y = Conv(x, w)", (0, inf), (0, inf)),
        (W.format("-1,-2,-3,0") + "y = Conv(x, w)", (0, inf), (-inf, 0)),
        (W.format("1,2,3,0") + "b = Constant<value = float[2] {-4,5}>() y = Conv(x, w, b)", (0, inf), (-4, inf)),
        (W.format("1,2,-3,1") + "b = Constant<value = float[2] {-1,3}>() y = Conv(x, w, b)", (-1, 2), (-4, 8)),
        (W.format("1,2,1,1") + "y = Conv<pads = [1,1,1,1]>(x, w)", (1, 2), (0, 6)),
        (
            "w = Constant<value = float[2,1,2,1] {1,1,-1,-1}>() y = Conv<group = 2>(x, w)",
            (1, 2),
            (-4, 4),
        ),
        ("w = Constant<value = float[4,2] {1,-1,1,0,1,0,1,0}>() y = MatMul(x, w)", (-1, 2), (-4, 8)),
        ("w = Constant<value = float[2,4] {1,1,1,1,-1,0,0,0}>() y = MatMul(w, x)", (-1, 2), (-4, 8)),
        ("w = Constant<value = float[4] {1,1,1,-1}>() y = MatMul(x, w)", (0, 2), (-2, 6)),
        ("r = Relu(x) y = MatMul(r, r)", ANY, (0, inf)),
        (
            "f = Flatten(x) w = Constant<value = float[1,32] {"
            + ",".join(["1", "-1"] * 16)
            + "}>() c = Constant<value = float[1] {3}>()"
            " y = Gemm<transB = 1, alpha = 0.5, beta = 2.0>(f, w, c)",
            (0, 2),
            (-10, 22),
        ),
        (
            "f = Flatten<axis = 2>(x) w = Constant<value = float[2,3] {1,2,3,0,0,-1}>() y = Gemm<transA = 1>(f, w)",
            (0, 1),
            (-1, 3),
        ),
        (
            (
                "s = Constant<value = float[2] {2,-1}>() b = Constant<value = float[2] {0,1}>()"
                " m = Constant<value = float[2] {1,0}>() v = Constant<value = float[2] {4,1}>()"
                " y = BatchNormalization<epsilon = 0.0>(x, s, b, m, v)"
            ),
            (0, 3),
            (-2, 2),
        ),
    ],
    "quantisation": [
        (
            (
                "s = Constant<value = float {0.5}>() z = Constant<value = uint8 {0}>() q = QuantizeLinear(x, s, z)"
                " y = DequantizeLinear(q, s, z)"
            ),
            ANY,
            (0, 127.5),
        ),
        (
            (
                "s = Constant<value = float {0.5}>() z = Constant<value = int8 {0}>() r = Relu(x)"
                " q = QuantizeLinear(r, s, z) y = DequantizeLinear(q, s, z)"
            ),
            ANY,
            (0, 63.5),
        ),
        (
            (
                "s = Constant<value = float {0.5}>() z = Constant<value = int8 {-10}>()"
                " q = QuantizeLinear(x, s, z) y = DequantizeLinear(q, s, z)"
            ),
            (-2, 3),
            (-2.5, 3.5),
        ),
    ],
}
ROWS = [pytest.param(*row, id=f"{family}-{row[0][-60:]}-{row[1]}") for family, rows in TABLE.items() for row in rows]


@pytest.mark.parametrize(("body", "declared", "expected"), ROWS)
def test_each_rule_is_sound_and_tight(body, declared, expected):
    assert_about(bound(body, declared), expected)
    assert_sound(model(body), declared)
