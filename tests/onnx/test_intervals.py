"""The oracle everywhere: ONNX Runtime, optimisations off, on ordinary and extreme inputs of the declared range."""

import math
from math import inf, pi, sqrt
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, parser

from depool.onnx.graph import scopes
from depool.onnx.intervals import Interval, intervals

MODELS = Path(__file__).parents[3] / "shared" / "models"


def model(body, *, dtype="float", opset=20, shape="1,2,4,4"):
    """A model of a few lines, x -> y; its constants are of the type of x, too."""
    head = f'<ir_version: 8, opset_import: ["": {opset}]> g ({dtype}[{shape}] x) => (y)'
    built = parser.parse_model(f"{head} {{ {body} }}")
    for tensor in (a.t for node in built.graph.node for a in node.attribute if a.name == "value"):
        if dtype == "float16":  # the parser knows no such constants
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    return built


def derive(built, declared=None, outer=None):
    return intervals(next(scopes(built, Path())), declared or {}, outer or {})


def bound(body, declared=None, **kwargs):
    return derive(model(body, **kwargs), {"x": declared} if declared else {}).get("y", Interval())


def samples(shape, low, high, dtype, seed=0):
    """Ordinary, tiny and extreme values inside a range."""
    rng = np.random.default_rng(seed)
    most = 60000.0 if dtype == np.float16 else 1e30
    low, high = max(low, -most), min(high, most)
    size = int(np.prod(shape))
    centre = min(max(0.0, low), high)
    yield np.full(shape, low)
    yield np.full(shape, high)
    yield np.full(shape, centre)
    for scale in (1e-3, 0.3, 2.0, 30.0, 1e4):
        yield np.clip(centre + scale * rng.standard_normal(size), low, high).reshape(shape)
    yield rng.choice([low, high, centre], size).reshape(shape)
    yield np.linspace(max(low, -9), max(low, min(high, 9)), size).reshape(shape)


def observe(built, seed=0, declared=(-inf, inf)):
    """Yields the values of all float tensors of a model that ONNX Runtime can run."""
    names = {o for node in built.graph.node for o in node.output if o}
    open_all = onnx.ModelProto()
    open_all.CopyFrom(built)
    del open_all.graph.output[:]
    open_all.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(open_all.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = built.graph.input[0].type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(fed.elem_type)
    shape = [d.dim_value for d in fed.shape.dim]
    for x in samples(shape, *declared, dtype, seed):
        yield dict(zip(sorted(names), session.run(None, {"x": x.astype(dtype)}), strict=True))


def assert_sound(built, declared=None, seed=0):
    """Every observed value lies inside its interval."""
    found = derive(built, {"x": declared} if declared else {})
    seen = 0
    for values in observe(built, seed, declared or (-inf, inf)):
        for name, interval in found.items():
            if name in values:
                value = np.asarray(values[name]).astype(np.float64)
                value = value[~np.isnan(value)]
                seen += value.size
                assert (value >= interval.lower).all(), (name, value.min(), interval, onnx.printer.to_text(built))
                assert (value <= interval.upper).all(), (name, value.max(), interval, onnx.printer.to_text(built))
    return seen


def assert_about(interval, expected):
    """The interval contains the expected one, and is not much wider."""
    for got, want, sign in ((interval.lower, expected[0], 1), (interval.upper, expected[1], -1)):
        if want in {0.0, inf, -inf}:
            assert got == want, interval
        else:
            assert sign * got <= sign * want + 1e-6 * abs(want), interval
            assert abs(got - want) <= 0.017 * (abs(want) + 1), interval


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


X2 = "xx = Mul(x, x) xxx = Mul(xx, x) "
GELU, GELU_TANH, SILU, HSWISH, MISH = -0.16997120747, -0.1700407507, -0.27846454276107, -0.375, -0.30884
ERF = (
    "d = Constant<value = float {1.4142135}>() one = Constant<value = float {1}>() h = Constant<value = float {0.5}>() "
)
TANH = (
    "a = Constant<value = float {0.7978846}>() c = Constant<value = float {0.044715}>()"
    " three = Constant<value = float {3}>() one = Constant<value = float {1}>() h = Constant<value = float {0.5}>() "
)
CLIP = (
    "three = Constant<value = float {3}>() zero = Constant<value = float {0}>() six = Constant<value = float {6}>()"
    " sixth = Constant<value = float {0.16666667}>() "
)
PATTERNS = [
    ("s = Sigmoid(x) y = Mul(x, s)", SILU),
    ("s = Sigmoid(x) y = Mul(s, x)", SILU),
    ("b = Constant<value = float {1.702}>() z = Mul(b, x) s = Sigmoid(z) y = Mul(x, s)", SILU / 1.702),
    ("b = Constant<value = float {0.5}>() z = Div(x, b) s = Sigmoid(z) y = Mul(s, x)", SILU / 2),
    ("b = Constant<value = float {0.5}>() z = Mul(x, b) s = Sigmoid(z) y = Mul(s, z)", SILU),
    ("r = Relu(x) z = Sub(x, r) w = Add(z, r) s = Sigmoid(w) y = Mul(s, w)", SILU),
    ("h = Constant<value = float {2}>() z = Add(x, h) s = Sigmoid(z) y = Mul(s, z)", SILU),
    ("i = Identity(x) s = Sigmoid(i) y = Mul(s, x)", SILU),
    ("s = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(x, s)", HSWISH),
    ("s = HardSigmoid(x) y = Mul(s, x)", -0.3125),
    (CLIP + "z = Add(x, three) c = Clip(z, zero, six) m = Mul(x, c) y = Div(m, six)", HSWISH),
    (CLIP + "z = Add(three, x) c = Clip(z, zero, six) m = Div(c, six) y = Mul(x, m)", HSWISH),
    (CLIP + "z = Add(x, three) c = Clip(z, zero, six) m = Mul(c, x) y = Mul(sixth, m)", HSWISH),
    (CLIP + "z = Add(x, three) c = Clip(z, zero, six) m = Mul(x, sixth) y = Mul(m, c)", HSWISH),
    (CLIP + "z = Add(x, three) r = Relu(z) c = Min(r, six) m = Mul(x, sixth) y = Mul(m, c)", HSWISH),
    (CLIP + "z = Add(x, three) r = Min(z, six) c = Max(zero, r) m = Mul(x, sixth) y = Mul(m, c)", HSWISH),
    (ERF + "z = Div(x, d) e = Erf(z) p = Add(e, one) m = Mul(x, p) y = Mul(m, h)", GELU),
    (ERF + "z = Mul(x, h) e = Erf(z) p = Add(e, one) m = Mul(x, p) y = Mul(m, h)", GELU * sqrt(2)),
    (ERF + "z = Div(x, d) e = Erf(z) p = Add(one, e) g = Mul(h, p) y = Mul(x, g)", GELU),
    (ERF + "z = Div(x, d) e = Erf(z) p = Add(e, one) g = Mul(x, h) y = Mul(g, p)", GELU),
    (ERF + "z = Div(x, d) e = Erf(z) g = Mul(e, h) p = Add(g, h) y = Mul(x, p)", GELU),
    (ERF + "z = Div(x, d) n = Neg(z) e = Erf(n) p = Sub(one, e) g = Mul(x, p) y = Mul(g, h)", GELU),
    (
        TANH + "q = Pow(x, three) w = Mul(c, q) u = Add(x, w) v = Mul(a, u) t = Tanh(v) p = Add(one, t)"
        " m = Mul(x, p) y = Mul(h, m)",
        GELU_TANH,
    ),
    (
        TANH
        + X2
        + "w = Mul(xxx, c) u = Add(w, x) v = Mul(u, a) t = Tanh(v) p = Add(t, one) m = Mul(h, x) y = Mul(m, p)",
        GELU_TANH,
    ),
    (
        TANH + X2 + "w = Mul(xx, c) u = Add(w, one) k = Mul(x, a) v = Mul(u, k) t = Tanh(v) p = Add(t, one)"
        " m = Mul(h, p) y = Mul(m, x)",
        GELU_TANH,
    ),
    ("s = Softplus(x) t = Tanh(s) y = Mul(x, t)", MISH),
    ("b = Constant<value = float {2}>() z = Mul(x, b) s = Softplus(z) t = Tanh(s) y = Mul(t, z)", MISH),
]


@pytest.mark.parametrize("dtype", ["float", "float16"])
@pytest.mark.parametrize(("body", "minimum"), PATTERNS)
def test_gated_products_have_their_minimum(body, minimum, dtype):
    built = model(body, dtype=dtype, shape="1,1,40,100")
    found = derive(built)["y"]
    assert found.upper == inf
    assert minimum * 1.013 - 1e-4 <= found.lower <= minimum * (1 + 1 / 128) + 1e-4
    assert assert_sound(built) > 0


@pytest.mark.parametrize("dtype", ["float", "float16"])
@pytest.mark.parametrize(("body", "minimum"), PATTERNS)
def test_a_known_input_bounds_a_gated_product_further(body, minimum, dtype):
    built = model(body, dtype=dtype, shape="1,1,40,100")
    found = derive(built, {"x": (0.0, 3.0)})["y"]
    assert found.lower >= minimum * 1.013
    assert found.upper <= 20  # 2 * 6 * 0.5 where the gate's own bound is not known to be reached
    assert_sound(built, (0.0, 3.0))


LOOK_ALIKES = [
    # of another value, of a shifted value
    ("o = Neg(x) r = Relu(x) z = Sub(o, r) s = Sigmoid(z) y = Mul(x, s)", (-inf, inf)),
    ("k = Constant<value = float {1}>() z = Add(x, k) s = Sigmoid(z) y = Mul(x, s)", (-inf, inf)),
    ("s = Sigmoid(x) y = Div(x, s)", (-inf, inf)),
    ("s = Sigmoid(x) y = Add(x, s)", (-inf, inf)),
    # a negative factor turns the bound round, outside the gate and inside
    ("k = Constant<value = float {-2}>() s = Sigmoid(x) m = Mul(s, k) y = Mul(m, x)", (-inf, -2 * SILU)),
    ("n = Neg(x) s = Sigmoid(n) y = Mul(x, s)", (-inf, -SILU)),
    ("n = Neg(x) s = Sigmoid(n) y = Mul(n, s)", (SILU, inf)),
    (CLIP + "z = Sub(three, x) c = Clip(z, zero, six) m = Mul(x, c) y = Div(m, six)", (-inf, 0.375)),
    # ramps with other constants: the general formula, or nothing
    (CLIP + "z = Add(x, six) c = Clip(z, zero, three) y = Mul(x, c)", (-9, inf)),
    (CLIP + "z = Add(x, six) c = Clip(z, zero, sixth) y = Mul(x, c)", ((1 / 6 - 6) / 6, inf)),
    (CLIP + "z = Add(x, six) r = Clip(z, zero, sixth) c = Min(r, three) y = Mul(x, c)", ((1 / 6 - 6) / 6, inf)),
    (CLIP + "z = Sub(x, three) c = Clip(z, zero, six) y = Mul(x, c)", (0, inf)),
    (CLIP + "c = Clip(x, zero, six) y = Mul(x, c)", (0, inf)),
    (CLIP + "z = Add(x, three) c = Clip(z, sixth, six) y = Mul(x, c)", (-inf, inf)),
    (CLIP + "n = Neg(three) z = Add(x, three) c = Clip(z, n, six) y = Mul(x, c)", (-inf, inf)),
    (CLIP + "z = Add(x, three) y = Mul(x, z)", (-inf, inf)),
    # no 1 is added, or another number; x^2 for x^3; the cubic term has the wrong sign
    (ERF + "z = Div(x, d) e = Erf(z) p = Add(e, h) y = Mul(x, p)", (-inf, inf)),
    (ERF + "z = Div(x, d) e = Erf(z) n = Neg(e) p = Add(n, one) y = Mul(x, p)", (-inf, -2 * GELU)),
    (ERF + "z = Div(x, d) e = Erf(z) p = Sub(e, one) y = Mul(x, p)", (2 * GELU, inf)),
    (TANH + X2 + "u = Add(x, xx) t = Tanh(u) p = Add(t, one) y = Mul(x, p)", (-inf, inf)),
    (TANH + X2 + "w = Mul(xxx, c) u = Sub(x, w) t = Tanh(u) p = Add(t, one) y = Mul(x, p)", (-inf, inf)),
    (TANH + X2 + "u = Add(xxx, three) t = Tanh(u) p = Add(t, one) y = Mul(x, p)", (-inf, inf)),
    (TANH + X2 + "w = Mul(xxx, c) u = Add(x, w) s = Sigmoid(u) y = Mul(x, s)", (-inf, inf)),
    (TANH + X2 + "w = Mul(xxx, c) u = Add(x, w) s = Relu(u) y = Mul(x, s)", (-inf, inf)),
    (
        TANH + X2 + "w = Mul(xxx, c) u = Add(x, w) n = Neg(u) t = Tanh(n) p = Add(t, one) y = Mul(x, p)",
        (-inf, -SILU),
    ),
    ("s = Softplus(x) t = Sigmoid(s) y = Mul(x, t)", (-inf, inf)),
    ("k = Constant<value = float {2}>() s = Softplus(x) q = Mul(s, k) t = Tanh(q) y = Mul(x, t)", (-inf, inf)),
    # cancellation: x over the reals, not in floating point
    (
        "k = Constant<value = float {4096}>() u = Add(x, k) z = Sub(u, k) s = Sigmoid(z) y = Mul(x, s)",
        (-inf, inf),
    ),
    # scales so odd that float16 would overflow on the way
    ("k = Constant<value = float {10000}>() s = Sigmoid(x) z = Mul(x, k) y = Mul(z, s)", (-inf, inf)),
    ("k = Constant<value = float {0.03}>() z = Mul(x, k) s = Sigmoid(z) y = Mul(x, s)", (-inf, inf)),
    ("k = Constant<value = float {0.001}>() z = Mul(x, k) s = Sigmoid(z) y = Mul(x, s)", (-inf, inf)),
]


@pytest.mark.parametrize("dtype", ["float", "float16"])
@pytest.mark.parametrize(("body", "expected"), LOOK_ALIKES)
def test_look_alikes_get_their_own_bound_or_none(body, expected, dtype):
    assert_about(bound(body, dtype=dtype, shape="1,1,40,100"), expected)
    assert_sound(model(body, dtype=dtype, shape="1,1,40,100"))


def test_the_cubic_bound_needs_the_cubic_term():
    body = TANH + "t = Tanh(x) p = Add(t, one) y = Mul(x, p)"
    assert_about(bound(body), (SILU, inf))
    assert bound(body).lower < GELU_TANH * 2 * sqrt(2 / pi) * 1.02


def test_aligned_axes_of_opset_6_are_no_gated_product():
    built = model("s = Sigmoid(x) y = Mul<axis = 0, broadcast = 1>(x, s)", opset=6)
    assert "y" not in derive(built)
    assert derive(model("s = Sigmoid(x) y = Mul(x, s)", opset=6))["y"].lower > -0.3


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


BF16 = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16)
BF16 = BF16[np.abs(BF16.view(np.int16) & 0x7F80) < 0x7F80]  # the finite ones


def rounded(f, *arrays):
    """An elementary function computed in float64, then rounded to bfloat16."""
    with np.errstate(all="ignore"):
        return f(*(a.astype(np.float64) for a in arrays)).astype(ml_dtypes.bfloat16)


@pytest.mark.parametrize(
    ("body", "gate"),
    [
        ("s = Sigmoid(x) y = Mul(x, s)", lambda x: rounded(lambda v: 1 / (1 + np.exp(-v)), x)),
        (
            "s = Softplus(x) t = Tanh(s) y = Mul(x, t)",
            lambda x: rounded(np.tanh, rounded(lambda v: np.logaddexp(0, v), x)),
        ),
        (
            "s = HardSigmoid<alpha = 0.16666667, beta = 0.5>(x) y = Mul(x, s)",
            lambda x: rounded(lambda v: np.clip(v / 6 + 0.5, 0, 1), x),
        ),
        (
            "one = Cast<to = 16>(k) e = Erf(x) p = Add(e, one) y = Mul(x, p)",
            lambda x: rounded(lambda e: 1 + e, rounded(np.vectorize(math.erf), x)),
        ),
        (
            "one = Cast<to = 16>(k) e = Tanh(x) p = Add(e, one) y = Mul(x, p)",
            lambda x: rounded(lambda e: 1 + e, rounded(np.tanh, x)),
        ),
    ],
)
def test_every_bfloat16_stays_above_the_minimum(body, gate):
    built = model(body, dtype="bfloat16")
    if "(k)" in body:
        del built.graph.node[0]
        one = np.ones((), ml_dtypes.bfloat16)
        built.graph.initializer.append(numpy_helper.from_array(one, "one"))
    found = derive(built)["y"]
    value = rounded(np.multiply, BF16, gate(BF16)).astype(np.float64)
    assert -0.4 < found.lower <= np.nanmin(value) < -0.2


# ---- what a pass reads, and what it takes from outside


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
    operators = sorted(
        {node.op_type for family in TABLE.values() for row in family for node in model(row[0]).graph.node}
    )
    for op in operators:
        for _ in range(20):
            inputs = [str(rng.choice(["x", "r", "k", "", "nowhere"])) for _ in range(rng.integers(5))]
            given = {str(name): odd[rng.integers(len(odd))] for name in rng.choice(names, 4, replace=False)}
            built = model("r = Relu(x) y = Relu(r)")
            built.graph.node[1].CopyFrom(helper.make_node(op, inputs, ["y"] * int(rng.integers(3)), **given))
            built.graph.initializer.append(numpy_helper.from_array(np.float32([[1, 2]]), "k"))
            for opset in (6, 11, 20):
                built.opset_import[0].version = opset
                assert all(interval.lower <= interval.upper for interval in derive(built).values())


# ---- trained models


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
