"""Gated products x * g(x): in all spellings of exporters they have their minimum; what only looks alike has not."""

import math
from math import inf, pi, sqrt

import ml_dtypes
import numpy as np
import pytest
from bounds_oracle import GELU, GELU_TANH, HSWISH, MISH, SILU, assert_about, assert_sound, bound, derive, model
from onnx import numpy_helper

X2 = "xx = Mul(x, x) xxx = Mul(xx, x) "
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
