"""How an operator turns bounds on its inputs into bounds on its output: a table of small functions.

    passed      the output's elements are elements of the input                       Reshape, MaxPool, ...
    selected    ... or are picked exactly: nothing rounds                             Relu, Max, Concat, ...
    computed    a formula over the reals, then rounded: needs to know the number type Add, Conv, Sigmoid, ...

Rounded sums and products with a constant are monotone in each of their terms, so a computed sum is at least what
is computed from the terms' lower ends, and that is within gamma_n * sum |lower end| of the real sum in any order of
summation, gamma_n = n u / (1 - n u). Terms >= 0 give a sum >= 0 exactly. Integers wrap: a formula that may leave the
type's range says nothing.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from math import inf, isnan
from typing import Any, NamedTuple

import numpy as np
import onnx

from depool.onnx.activations import CURVES, SELF_GATED, Range
from depool.onnx.graph import Array

UNKNOWN, SOME_FLOAT = 0, -1  # beside the element types of ONNX


@dataclass(frozen=True)
class Interval:
    """Bounds on every element of a value; NaN excepted.

    Attributes:
        lower, upper: infinite where unknown.
        reason: what licenses the bounds, for people.
        dtype: the element type, as ONNX numbers them: what arithmetic rounds or wraps to.
    """

    lower: float = -inf
    upper: float = inf
    reason: str = ""
    dtype: int = field(default=UNKNOWN, compare=False, repr=False)

    @property
    def bounds(self) -> Range:
        """(lower, upper)."""
        return self.lower, self.upper

    @property
    def known(self) -> bool:
        """Whether it says anything."""
        return self.lower > -inf or self.upper < inf


class Number(NamedTuple):
    """A floating-point type: unit roundoff, smallest normal number, largest number."""

    u: float
    tiny: float
    largest: float

    @property
    def slack(self) -> float:
        """How far an implementation of an elementary function may be off, relatively; generous."""
        return max(2**-7, 8 * self.u)


_T = onnx.TensorProto
FLOATS = {
    _T.FLOAT16: Number(2**-11, 2**-14, 65504.0),
    _T.BFLOAT16: Number(2**-8, 2**-126, 3.38e38),
    _T.FLOAT: Number(2**-24, 2**-126, 3.4e38),
    _T.DOUBLE: Number(2**-40, 2**-1022, 1.7e308),  # bounds are computed in float64 themselves
    SOME_FLOAT: Number(2**-8, 2**-14, 65504.0),
}
SIGNED = {_T.INT8: 8, _T.INT16: 16, _T.INT32: 32, _T.INT64: 64, _T.INT4: 4}
UNSIGNED = {_T.BOOL: 1, _T.UINT8: 8, _T.UINT16: 16, _T.UINT32: 32, _T.UINT64: 64, _T.UINT4: 4}
INTEGERS: dict[int, Range] = {
    **{t: (-(2.0 ** (bits - 1)), 2.0 ** (bits - 1) - 1) for t, bits in SIGNED.items()},
    **{t: (0.0, 2.0**bits - 1) for t, bits in UNSIGNED.items()},
}
UNROUNDED = 2.0**53  # integers up to here are exact in float64
TF32 = 2.0**-9  # what a product loses on hardware that shortens float32 inputs to 11 bits
MOST_TERMS = 2.0**24  # of a sum whose length is not known here, by assumption


@dataclass(frozen=True)
class Sums:
    """A weight's sums of positive and of negative entries, for each output channel, and the number of entries."""

    positive: Array
    negative: Array
    terms: int


@dataclass(frozen=True)
class Call:
    """One node as a rule sees it; nothing is read from the model until a rule asks.

    Attributes:
        dtype: the element type of the first output.
        lookup: a value's interval; reads a constant.
        array: a constant's array, or None.
        sums: a constant's Sums over one axis, or over all but the first where the axis is None.
        computed_here: whether a value is made by a node or fed in, so that it is no constant.
    """

    node: onnx.NodeProto
    opset: int
    attributes: dict[str, Any]
    dtype: int
    lookup: Callable[[str], Interval]
    array: Callable[[str], Array | None]
    sums: Callable[[str, int | None], Sums | None]
    computed_here: Callable[[str], bool]

    def has(self, i: int) -> bool:
        """Whether the optional input is there."""
        return i < len(self.node.input) and self.node.input[i] != ""

    def x(self, i: int = 0) -> Interval:
        """The interval of an input."""
        return self.lookup(self.node.input[i]) if self.has(i) else Interval()

    def every(self) -> list[Interval]:
        """The intervals of all inputs."""
        return [self.x(i) for i in range(len(self.node.input))]

    def get(self, name: str, default: float) -> float:
        """A numeric attribute."""
        value = float(self.attributes.get(name, default))
        if isnan(value):
            raise ValueError(name)
        return value

    def text(self, name: str, default: str) -> str:
        """A text attribute."""
        value = self.attributes.get(name, default)
        if not isinstance(value, str):
            raise TypeError(name)
        return value

    @property
    def number(self) -> Number:
        """The output's floating-point type; a KeyError for others."""
        return FLOATS[self.dtype]


# ---- arithmetic of ranges over the reals; NaN stands for unknown, and `settled` removes it


def times(p: Any, q: Any) -> Any:
    """A product of bounds: 0 * inf is 0, since the infinity only says that there is no bound."""
    return np.where((np.asarray(p) == 0) | (np.asarray(q) == 0), 0.0, np.multiply(p, q))


def multiplied(a: Range, b: Range) -> Range:
    """The range of products."""
    corners = [float(times(p, q)) for p in a for q in b]
    return min(corners), max(corners)


def hull(*ranges: Range) -> Range:
    """The smallest range that contains all."""
    return min(r[0] for r in ranges), max(r[1] for r in ranges)


def outward(bounds: Range, relative: float, tiny: float) -> Range:
    """Widened, but never across zero."""
    low, high = bounds
    wider = (low - abs(low) * relative - tiny, high + abs(high) * relative + tiny)
    return (max(0.0, wider[0]) if low >= 0 else wider[0]), (min(0.0, wider[1]) if high <= 0 else wider[1])


def natural(dtype: int) -> Range:
    """What every value of a type satisfies, as far as it is worth saying: unsigned integers."""
    return INTEGERS[dtype] if dtype in UNSIGNED else (-inf, inf)


def settled(bounds: Range, dtype: int, *, computed: bool) -> Range:
    """What holds for the machine's numbers, given what holds for the real ones."""
    low, high = (end if isnan(b) else b for b, end in zip(bounds, (-inf, inf), strict=True))
    if low > high:
        return natural(dtype)
    if dtype in FLOATS:
        number = FLOATS[dtype]
        if computed:
            low, high = outward((low, high), 8 * number.u, number.tiny)
        return (low if low >= -number.largest else -inf), (high if high <= number.largest else inf)
    if dtype in INTEGERS and computed:
        least, most = INTEGERS[dtype]
        fits = max(least, -UNROUNDED) <= low and high <= min(most, UNROUNDED)
        return (low, high) if fits else natural(dtype)
    return (-inf, inf) if computed else (max(low, natural(dtype)[0]), min(high, natural(dtype)[1]))


def gamma(terms: float, number: Number) -> float:
    """The relative error of a sum."""
    return terms * number.u / (1 - terms * number.u) if terms * number.u < 0.5 else inf


def least_sum(parts: Sequence[Any], terms: float, number: Number | None, product_error: float = 0.0) -> Any:
    """A lower bound on a computed sum whose parts are at least so large; each part is a sum of terms of one sign.

    No less than the last part where all others are >= 0. Without a number type (integers) nothing rounds.
    """
    total = sum(np.asarray(part, np.float64) for part in parts)
    if number is None:
        return total
    magnitude = sum(np.abs(part) for part in parts)
    error = times(gamma(terms + 2, number) + product_error, magnitude) + terms * number.tiny
    lower = np.where(magnitude + error > number.largest, -inf, total - error)
    others_grow = np.all(np.broadcast_arrays(*(np.asarray(part) >= 0 for part in parts[:-1]), True), axis=0)
    return np.where(others_grow, np.fmax(lower, parts[-1]), lower)


def sum_range(low: Sequence[Any], high: Sequence[Any], terms: float, call: Call, product_error: float = 0.0) -> Range:
    """The range of computed sums, over all channels, given the parts' lower and upper ends."""
    number = FLOATS.get(call.dtype)
    least = least_sum(low, terms, number, product_error)
    most = -least_sum([-np.asarray(part) for part in high], terms, number, product_error)
    return float(np.min(least)), float(np.max(most))


# ---- elementwise


def _sum(call: Call) -> Range:
    parts = call.every()
    return sum_range([p.lower for p in parts], [p.upper for p in parts], len(parts), call)


def _difference(call: Call) -> Range:
    a, b = call.x(0), call.x(1)
    return sum_range([a.lower, -b.upper], [a.upper, -b.lower], 2, call)


def _product(call: Call) -> Range:
    a = call.x(0)
    low, high = multiplied(a.bounds, call.x(1).bounds)
    return (max(low, 0.0), high) if call.node.input[0] == call.node.input[1] else (low, high)


def _quotient(call: Call) -> Range | None:
    number, b = call.number, call.x(1) if call.has(1) else call.x(0)
    if b.lower <= number.tiny and b.upper >= -number.tiny:  # it may be 0, and -0.0 would turn the sign
        return None
    numerator = call.x(0).bounds if call.node.op_type == "Div" else (1.0, 1.0)
    return outward(multiplied(numerator, (1 / b.upper, 1 / b.lower)), 0.0, number.tiny)


def _absolute(call: Call) -> Range:
    low, high = call.x().bounds
    return max(low, -high, 0.0), max(-low, high)


def _power(call: Call) -> Range | None:
    call.number  # noqa: B018  floating point only
    (low, high), (exponent, same) = call.x(0).bounds, call.x(1).bounds
    if exponent != same or not 0 < exponent < UNROUNDED:
        return (0.0, inf) if low >= 0 and exponent >= 0 else None
    if exponent % 2 == 0:
        low, high = _absolute(call)
    elif low < 0 and exponent % 1 != 0:
        return None
    relative = 2 * exponent * call.number.u + (0.0 if exponent in {1.0, 2.0, 3.0} else call.number.slack)
    ends = [float(np.copysign(np.power(abs(v), exponent), v)) for v in (low, high)]
    return outward((ends[0], ends[1]), relative, 0.0)


def _sloped(call: Call) -> Range:
    """LeakyRelu and PRelu: x where x >= 0, else slope * x."""
    x = call.x()
    slope = call.x(1).bounds if call.node.op_type == "PRelu" else (call.get("alpha", 0.01),) * 2
    parts = [(max(x.lower, 0.0), x.upper)] if x.upper >= 0 else []
    if x.lower < 0:
        parts.append(multiplied((x.lower, min(x.upper, 0.0)), slope))
    return hull(*parts)


def _curved(call: Call) -> Range | None:
    curve = CURVES[call.node.op_type](call.get)
    low, high = call.x().bounds
    if curve is None:
        return (0.0, 1.0) if call.node.op_type == "HardSigmoid" else None
    return curve.image(low, high, call.number.slack)


def _self_gated(call: Call) -> Range:
    low, high = call.x().bounds
    least = SELF_GATED[call.node.op_type](call.get) * (1 + call.number.slack)
    return outward((max(least, min(low, 0.0)), max(high, 0.0)), 8 * call.number.u, call.number.tiny)


def _relu(call: Call) -> Range:
    low, high = call.x().bounds
    return max(low, 0.0), max(high, 0.0)


def _thresholded(call: Call) -> Range:
    low, high = call.x().bounds
    alpha = call.get("alpha", 1.0)
    alpha -= abs(alpha) * call.number.slack
    return hull((0.0, 0.0), (max(low, alpha), high)) if high > alpha else (0.0, 0.0)


def _clip(call: Call) -> Range:
    low, high = call.x().bounds
    if call.opset < 11:
        ends = outward(
            (call.get("min", -inf), call.get("max", inf)), 8 * FLOATS.get(call.dtype, FLOATS[SOME_FLOAT]).u, 0.0
        )
        (least, least2), (most, most2) = (ends[0],) * 2, (ends[1],) * 2
    else:
        least, least2 = call.x(1).bounds if call.has(1) else (-inf, -inf)
        most, most2 = call.x(2).bounds if call.has(2) else (inf, inf)
    # where min > max, the versions of the operator differ: take in both orders
    return hull(
        (min(max(low, least), most), min(max(high, least2), most2)),
        (max(min(low, most), least), max(min(high, most2), least2)),
    )


def _stepped(call: Call) -> Range:
    step: Callable[[float], Any] = {"Floor": np.floor, "Ceil": np.ceil, "Round": np.rint, "Sign": np.sign}[
        call.node.op_type
    ]
    low, high = call.x().bounds
    return float(step(low)), float(step(high))


def _joined(call: Call) -> Range:
    return hull(*(x.bounds for x in call.every()))


def _padded(call: Call) -> Range:
    if call.opset >= 11:
        value = call.x(2).bounds if call.has(2) else (0.0, 0.0)
    else:
        value = outward((call.get("value", 0.0),) * 2, 2**-7, 0.0)
    return hull(call.x().bounds, value)


def _cast(call: Call) -> Range | None:
    if call.dtype in FLOATS or call.x().dtype in INTEGERS:
        return call.x().bounds if call.dtype != _T.BOOL else natural(_T.BOOL)
    return natural(call.dtype)


# ---- sums over windows, axes, channels


def _mean(call: Call, terms: float) -> Range:
    """A mean of so many numbers (inf where unknown), each within the input's bounds."""
    number = call.number
    # where gamma says nothing: each addition is off by at most the smaller of its two operands
    relative = gamma(terms + 2, number) if (terms + 2) * number.u < 0.5 else 2.0
    most = number.largest / (2 * min(terms, MOST_TERMS))  # beyond, the sum may overflow
    low, high = (end if abs(end) < most else math.copysign(inf, end) for end in call.x().bounds)
    low, high = (0.0 if low == inf else low), (0.0 if high == -inf else high)
    return outward((low, high), relative, number.tiny)


def _average_pool(call: Call) -> Range:
    low, high = _mean(call, math.prod(call.attributes["kernel_shape"]))
    return hull((low, high), (0.0, 0.0)) if _pads(call) or call.get("ceil_mode", 0) else (low, high)


def _pads(call: Call) -> bool:
    return any(call.attributes.get("pads", ())) or call.text("auto_pad", "NOTSET") not in {"NOTSET", "VALID"}


def _mean_of_inputs(call: Call) -> Range:
    call.number  # noqa: B018  floating point only
    low, high = _sum(call)
    return low / len(call.node.input), high / len(call.node.input)


def _reduced_sum(call: Call) -> Range:
    x = call.x()
    return (0.0 if x.lower >= 0 else -inf), (0.0 if x.upper <= 0 else inf)


def _interpolated(call: Call) -> Range | None:
    if call.text("mode", "nearest") not in {"linear", "bilinear"} or not _inside(call):
        return None
    return outward(call.x().bounds, call.number.slack, call.number.tiny)


def _inside(call: Call) -> bool:
    return call.text("coordinate_transformation_mode", "half_pixel") != "tf_crop_and_resize"


def _weighted(call: Call, x: Range, sums: Sums | None, bias: tuple[Any, Any]) -> Range | None:
    """Sum of w * x, plus a bias within two arrays: for each output channel, then over all."""
    if sums is None:
        return None
    (low, high), plus, minus = x, sums.positive, sums.negative
    return sum_range(
        [times(plus, low), times(minus, high), bias[0]],
        [times(plus, high), times(minus, low), bias[1]],
        sums.terms + 1,
        call,
        TF32,
    )


def _conv(call: Call) -> Range | None:
    x = call.x()
    if not x.known:
        return None
    bias = call.array(call.node.input[2]) if call.has(2) else np.zeros(1)
    if bias is None:
        return None
    value = bias.astype(np.float64)
    bounds = hull(x.bounds, (0.0, 0.0)) if _pads(call) else x.bounds
    return _weighted(call, bounds, call.sums(call.node.input[1], None), (value, value))


def _matmul(call: Call) -> Range | None:
    """MatMul and Gemm: of an unknown and a constant factor, or of two that are >= 0."""
    gemm = call.node.op_type == "Gemm"
    bias = multiplied(call.x(2).bounds, (call.get("beta", 1.0),) * 2) if gemm and call.has(2) else (0.0, 0.0)
    alpha = call.get("alpha", 1.0) if gemm else 1.0
    axes = (-2 if call.get("transA", 0) else -1, -1 if call.get("transB", 0) else -2)
    left, right = call.node.input[:2]
    for variable, constant, axis in ((left, right, axes[1]), (right, left, axes[0])):
        if call.computed_here(variable) and not call.computed_here(constant):
            x = call.lookup(variable)
            sums = call.sums(constant, axis) if x.known else None
            return _weighted(call, multiplied(x.bounds, (alpha, alpha)), sums, bias)
    if not call.computed_here(left):
        return None
    return (0.0, inf) if min(call.x(0).lower, call.x(1).lower, bias[0], alpha) >= 0 else None


def _batch_norm(call: Call) -> Range | None:
    training = call.get("training_mode", 0) != 0 or len([name for name in call.node.output if name]) > 1
    x = call.x()
    if not x.known or training or call.opset < 7:
        return None
    found = [call.array(name) for name in call.node.input[1:5]]
    scale, shift, mean, variance = (np.asarray(a, np.float64) for a in found)
    k = scale / np.sqrt(variance + call.get("epsilon", 1e-5))
    ends = np.sort(np.stack([times(k, x.lower), times(k, x.upper)]), axis=0)  # never NaN where k is finite
    return sum_range([ends[0], -k * mean, shift], [ends[1], -k * mean, shift], 8, call)


def _filled(call: Call) -> Range:
    """ConstantOfShape."""
    value = call.attributes.get("value")
    array = np.zeros(1) if value is None else onnx.numpy_helper.to_array(value).astype(np.float64)
    return float(array.min()), float(array.max())


def _nonnegative(call: Call) -> Range:
    call.number  # noqa: B018  integers may wrap
    return 0.0, inf


def _dequantized(call: Call) -> Range | None:
    scale = call.array(call.node.input[1])
    zero = call.array(call.node.input[2]) if call.has(2) else np.zeros(1, np.uint8)
    if scale is None or zero is None:
        return None
    q = call.x() if call.computed_here(call.node.input[0]) else Interval()
    dtype = onnx.helper.np_dtype_to_tensor_dtype(zero.dtype) if call.has(2) else q.dtype
    least, most = INTEGERS[dtype]
    s, z = scale.astype(np.float64), zero.astype(np.float64)
    if not (s > 0).all():
        return None
    return float(((max(q.lower, least) - z) * s).min()), float(((min(q.upper, most) - z) * s).max())


def _quantized(call: Call) -> Range | None:
    scale = call.array(call.node.input[1])
    zero = call.array(call.node.input[2]) if call.has(2) else np.zeros(1)
    least, most = INTEGERS[call.dtype]
    if scale is None or zero is None or not (scale > 0).all():
        return least, most
    s, z = scale.astype(np.float64), zero.astype(np.float64)
    low, high = outward(call.x().bounds, 2**-7, 0.0)
    return max(least, float((np.floor(low / s) + z).min())), min(most, float((np.ceil(high / s) + z).max()))


# ---- the tables


def _always(_: Call) -> bool:
    return True


def _inference(call: Call) -> bool:
    if call.opset < 7:
        return call.get("is_test", 0) != 0
    flag = call.array(call.node.input[2]) if call.has(2) else np.zeros(1)
    return flag is not None and not flag.any()


def _first_of(*names: str) -> dict[str, Callable[[Call], bool]]:
    return dict.fromkeys(names, _always)


PASSED: dict[str, Callable[[Call], bool]] = {
    **_first_of("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Slice", "Gather", "Split"),
    **_first_of("GatherElements", "GatherND", "Expand", "Tile", "DepthToSpace", "SpaceToDepth"),
    **_first_of("MaxPool", "GlobalMaxPool", "ReduceMax", "ReduceMin"),
    "Dropout": _inference,
    "Pad": lambda call: call.text("mode", "constant") in {"edge", "reflect", "wrap"},
    "Resize": lambda call: call.text("mode", "nearest") == "nearest" and _inside(call),
    "Upsample": lambda call: call.text("mode", "nearest") == "nearest",
}
Rule = Callable[[Call], Range | None]
SELECTED: dict[str, Rule] = {
    "Relu": _relu,
    "ThresholdedRelu": _thresholded,
    "Clip": _clip,
    **dict.fromkeys(("Floor", "Ceil", "Round", "Sign"), _stepped),
    "Max": lambda call: (max(x.lower for x in call.every()), max(x.upper for x in call.every())),
    "Min": lambda call: (min(x.lower for x in call.every()), min(x.upper for x in call.every())),
    "Concat": _joined,
    "Where": lambda call: hull(call.x(1).bounds, call.x(2).bounds),
    "Pad": lambda call: _padded(call) if call.text("mode", "constant") == "constant" else None,
    **dict.fromkeys(("Shape", "Size"), lambda _: (0.0, inf)),
    **dict.fromkeys(("ReduceL1", "ReduceL2", "ReduceSumSquare", "LpPool", "GlobalLpPool"), _nonnegative),
    "QuantizeLinear": _quantized,
    "ConstantOfShape": _filled,
}
COMPUTED: dict[str, Rule] = {
    **dict.fromkeys(CURVES, _curved),
    **dict.fromkeys(SELF_GATED, _self_gated),
    **dict.fromkeys(("LeakyRelu", "PRelu"), _sloped),
    **dict.fromkeys(("Add", "Sum"), _sum),
    "Sub": _difference,
    "Mul": _product,
    **dict.fromkeys(("Div", "Reciprocal"), _quotient),
    "Neg": lambda call: (-call.x().upper, -call.x().lower),
    "Abs": _absolute,
    "Pow": _power,
    "Softmax": lambda _: (0.0, 1.0),
    "Mean": _mean_of_inputs,
    "AveragePool": _average_pool,
    **dict.fromkeys(("GlobalAveragePool", "ReduceMean"), lambda call: _mean(call, inf)),
    "ReduceSum": _reduced_sum,
    **dict.fromkeys(("Resize", "Upsample"), _interpolated),
    "Conv": _conv,
    **dict.fromkeys(("MatMul", "Gemm"), _matmul),
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "DequantizeLinear": _dequantized,
}
