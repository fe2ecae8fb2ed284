"""Pools on integers are bit-exact: quantised by ONNX Runtime's own tools, directly on int8 and uint8, and in between.

The oracle of an integer pool is the nested loop of oracle.py; that of a whole model is ONNX Runtime with
optimisations off. Converted models run at every optimisation level.
"""

from __future__ import annotations

import logging
from collections import Counter
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from oracle import pool

import depool
from depool.errors import NotConverted
from depool.geometry import PoolSpec
from depool.onnx.find import Selection, find
from depool.onnx.site import PoolSite

ROOT = Path(__file__).resolve().parents[2]
LEVELS = ("ORT_DISABLE_ALL", "ORT_ENABLE_BASIC", "ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL")
TYPES = ("int8", "uint8")
ELEMENTS = {"int8": TensorProto.INT8, "uint8": TensorProto.UINT8}


def run(model, feeds, level="ORT_DISABLE_ALL"):
    options = ort.SessionOptions()
    options.graph_optimization_level = getattr(ort.GraphOptimizationLevel, level)
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def convert(model, folder, **arguments):
    """Converted and verified: an inequality raises."""
    onnx.save(model, folder / "model.onnx")
    result = depool.convert(folder / "model.onnx", folder / "converted.onnx", force=True, **arguments)
    if arguments.get("verify", True):
        assert result.verdict.equal is True
        assert {check.promise for check in result.verdict.pools} == {"bit-exact"} or "float" in result.records[0].dtype
    return result


def operators(model):
    return Counter(node.op_type for node in model.graph.node)


def integers(dtype, shape, seed=0):
    """All numbers of the type, and one block each of the lowest and the highest."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    x = rng.integers(info.min, info.max + 1, shape)
    x[0] = info.min + rng.integers(0, 2, shape[1:])
    x[-1] = rng.choice([info.min, info.max], shape[1:])
    return x.astype(dtype)


@cache
def images():
    with np.load(ROOT / "examples" / "digits_test.npz") as data:
        return data["image"]


@pytest.fixture(scope="module")
def quantised_digits(tmp_path_factory):
    """digits.onnx by format and activation type, as `quantize_static` makes it."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.batches = iter([{"image": images()[k : k + 10]} for k in range(0, 60, 10)])

        def get_next(self):
            return next(self.batches, None)

    folder = tmp_path_factory.mktemp("quantised")
    kinds = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8}
    made = {}
    logging.disable(logging.WARNING)  # it recommends a preparation that makes no difference here
    for style, dtype in product(("QDQ", "QOperator"), TYPES):
        path = folder / f"{style}-{dtype}.onnx"
        quantize_static(
            ROOT / "examples" / "digits.onnx", path, Reader(),
            quant_format=QuantFormat[style], activation_type=kinds[dtype], weight_type=QuantType.QInt8,
        )  # fmt: skip
        made[style, dtype] = onnx.load(path)
    logging.disable(logging.NOTSET)
    return made


OPTIONS = (
    {},
    {"channels": "dense"},
    {"target": "portable"},
    {"scheme": "tree"},
    {"scheme": "shallow"},
    {"exact": True},
)


@pytest.mark.parametrize(("style", "dtype"), [*product(("QDQ", "QOperator"), TYPES)])
@pytest.mark.parametrize("arguments", OPTIONS, ids=str)
def test_models_from_the_tools_of_onnx_runtime(style, dtype, arguments, quantised_digits, tmp_path):
    original = quantised_digits[style, dtype]
    result = convert(original, tmp_path, **arguments)
    before, after = operators(original), operators(result.model)
    assert before["MaxPool"] == len(result.records) == 2
    assert "MaxPool" not in after
    assert {record.dtype for record in result.records} == {dtype}
    assert {conversion.gate for conversion in result.conversions} == {"saturating"}
    assert set(after - before) == {"QLinearConv"}
    folded = 2 if style == "QDQ" else 0  # the pairs around the pools are gone
    for name in ("DequantizeLinear", "QuantizeLinear"):
        assert after[name] == before[name] - folded
    compared = []
    for level in LEVELS:
        (expected,), (got,) = (run(model, {"image": images()[:200]}, level) for model in (original, result.model))
        assert np.ptp(expected) > 1
        # On a CPU without VNNI the runtime's fused int8 convolutions saturate: the original differs from itself
        # at another level, and nothing can be said of the pools in it.
        if not compared or np.array_equal(expected, compared[0]):
            assert np.array_equal(expected, got)
            compared.append(expected)
    assert len(compared) >= 2
    assert [check.difference.max_abs for check in result.verdict.outputs] == [0.0]


def attributes_of(spec):
    found = {"kernel_shape": list(spec.kernel_shape), "strides": list(spec.strides), "dilations": list(spec.dilations)}
    if spec.auto_pad != "NOTSET":
        return found | {"auto_pad": spec.auto_pad}
    pads = [p[0] for p in spec.pads] + [p[1] for p in spec.pads]
    return found | {"pads": pads, "ceil_mode": int(spec.ceil_mode)}


def integer_pool(spec, dtype, channels=3, sizes=None, opset=12):
    spatial = sizes or [f"d{axis}" for axis in range(spec.rank)]
    node = helper.make_node("MaxPool", ["x"], ["y"], name="pool", **attributes_of(spec))
    element = ELEMENTS[dtype]
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", element, ["N", channels, *spatial])],
        [helper.make_tensor_value_info("y", element, ["N", channels, *(f"o{axis}" for axis in range(spec.rank))])],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=7)


SPECS = {
    "1-D": (PoolSpec((3,), (2,), ((1, 1),)), (9,)),
    "1-D dilated": (PoolSpec((3,), (1,), ((2, 1),), (2,)), (8,)),
    "1-D ceil": (PoolSpec((2,), (2,), ceil_mode=True), (7,)),
    "2x2/2": (PoolSpec((2, 2), (2, 2)), (6, 8)),
    "3x3/2 p1": (PoolSpec((3, 3), (2, 2), ((1, 1), (1, 1))), (7, 6)),
    "5x5/1 p2": (PoolSpec((5, 5), (), ((2, 2), (2, 2))), (6, 5)),
    "one-sided": (PoolSpec((3, 2), (2, 1), ((0, 2), (1, 0))), (6, 5)),
    "2-D ceil": (PoolSpec((3, 3), (2, 2), ceil_mode=True), (6, 8)),
    "2-D dilated": (PoolSpec((2, 3), (2, 1), ((1, 0), (2, 2)), (2, 2)), (7, 6)),
    "SAME_UPPER": (PoolSpec((2, 3), (2, 2), auto_pad="SAME_UPPER"), (5, 6)),
    "SAME_LOWER": (PoolSpec((3, 2), (1, 2), auto_pad="SAME_LOWER"), (5, 5)),
    "subsampling": (PoolSpec((1, 1), (2, 2)), (5, 6)),
    "3-D": (PoolSpec((2, 3, 2), (1, 2, 2), ((1, 0), (1, 1), (0, 1))), (3, 5, 4)),
}


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("name", SPECS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_pools_on_integers(name, dtype, dynamic, tmp_path):
    spec, sizes = SPECS[name]
    if name == "2-D ceil" and dynamic:
        spec = PoolSpec(spec.kernel_shape, spec.strides, ceil_mode=True)
    model = integer_pool(spec, dtype, sizes=None if dynamic else sizes)
    result = convert(model, tmp_path)
    assert set(operators(result.model)) == {"QLinearConv"}
    assert [(record.dtype, record.rounding.bit_exact) for record in result.records] == [(dtype, True)]
    for real in (sizes, tuple(n + 3 for n in sizes)) if dynamic else (sizes,):
        x = integers(dtype, (6, 3, *real))
        expected = pool(x, spec)
        assert np.array_equal(run(model, {"x": x})[0], expected)
        for level in LEVELS:
            (got,) = run(result.model, {"x": x}, level)
            assert got.dtype == x.dtype
            assert np.array_equal(got, expected)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize(
    "arguments",
    [
        {"scheme": "tree"}, {"scheme": "separable"}, {"scheme": "horner"}, {"scheme": "shallow"}, {"channels": "dense"},
        {"channels": "depthwise"}, {"form": "branched"}, {"target": "portable"}, {"pairing": "ad|bc"}, {"exact": True},
    ],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("channels", [1, 5])
def test_any_choice_gives_the_same_integers(arguments, dtype, channels, tmp_path):
    for spec in (PoolSpec((2, 2), (2, 2), ((1, 1), (1, 0))), PoolSpec((3, 3), (1, 2), ((1, 2), (0, 1)))):
        if "pairing" in arguments and spec.kernel_shape != (2, 2):
            continue
        result = convert(integer_pool(spec, dtype, channels, (5, 6)), tmp_path, **arguments)
        groups = {
            attribute.i for node in result.model.graph.node for attribute in node.attribute if attribute.name == "group"
        }
        dense = arguments.get("channels") == "dense" or arguments.get("target") == "portable"
        assert groups == {1 if dense else channels}
        x = integers(dtype, (8, channels, 5, 6))
        for level in LEVELS:
            assert np.array_equal(run(result.model, {"x": x}, level)[0], pool(x, spec))


def test_padding_is_the_lowest_integer_not_zero(tmp_path):
    """All-negative int8 windows at the border, where a zero would win."""
    spec = SPECS["3x3/2 p1"][0]
    model = integer_pool(spec, "int8", 1, (5, 5))
    x = np.full((1, 1, 5, 5), -128, np.int8)
    x[0, 0, 2, 2] = -127
    (got,) = run(convert(model, tmp_path).model, {"x": x})
    assert got[0, 0].tolist() == [[-128, -128, -128], [-128, -127, -128], [-128, -128, -128]]


def test_the_test_of_onnx_itself(tmp_path):
    from onnx.backend.test.case import node
    from onnx.backend.test.case.node import maxpool  # noqa: F401 - each case registers itself

    (case,) = (case for case in node._NodeTestCases if case.name == "test_maxpool_2d_uint8")
    ((x,), (expected,)) = case.data_sets[0]
    assert x.dtype == expected.dtype == np.uint8
    result = convert(case.model, tmp_path)
    assert set(operators(result.model)) == {"QLinearConv"}
    for level in LEVELS:
        assert np.array_equal(run(result.model, {"x": x}, level)[0], expected)


@pytest.mark.parametrize("dtype", ["int32", "int64", "uint16"])
def test_other_integers_are_refused(dtype, tmp_path):
    model = parser.parse_model(
        f'<ir_version: 8, opset_import: ["" : 13]> g ({dtype}[1,2,8,8] x) => ({dtype}[1,2,4,4] y) '
        "{ [pool] y = MaxPool <kernel_shape = [2, 2], strides = [2, 2]>(x) }"
    )
    with pytest.raises(NotConverted, match=f"DTYPE: pool: .*{dtype.upper()}"):
        convert(model, tmp_path)


POOL = "[pool] m = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(f)"
SPEC = PoolSpec((3, 3), (2, 2), ((1, 1), (1, 1)))


def between(weights, body, x="int8", y="int8", opset=13, inputs="", outputs=""):
    """From x of type `x` through f, the pool's input, to y of type `y`."""
    return parser.parse_model(
        f'<ir_version: {5 if opset < 12 else 8}, opset_import: ["" : {opset}]> '
        f"g ({x}[N,3,7,8] x{inputs}) => ({y}[N,3,4,4] y{outputs}) <{weights}> {{ {body} }}"
    )


def same(dtype, scale, zero, opset=13):
    return between(
        f"float s = {{{scale}}}, {dtype} z = {{{zero}}}",
        f"f = DequantizeLinear(x, s, z) {POOL} y = QuantizeLinear(m, s, z)",
        dtype, dtype, opset,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("dtype", "zero"), [*product(("int8",), (-128, -5, 0, 127)), *product(("uint8",), (0, 7, 255))]
)
@pytest.mark.parametrize("scale", [0.05, 1.0, 3e-6, 700.0])
def test_the_same_scale_on_both_sides_needs_no_floating_point(dtype, zero, scale, tmp_path):
    model = same(dtype, scale, zero)
    result = convert(model, tmp_path)
    assert set(operators(result.model)) == {"QLinearConv"}
    x = integers(dtype, (8, 3, 7, 8))
    expected = pool(x, SPEC)
    assert np.array_equal(run(model, {"x": x})[0], expected)
    for level in LEVELS:
        assert np.array_equal(run(result.model, {"x": x}, level)[0], expected)


@pytest.mark.parametrize("dtype", TYPES)
def test_opset_10(dtype, tmp_path):
    """The first with quantised operators: its QuantizeLinear has no axis, its MaxPool no integers."""
    model = same(dtype, 0.1, 3, opset=10)
    result = convert(model, tmp_path)
    assert set(operators(result.model)) == {"QLinearConv"}
    assert result.model.opset_import[0].version == 10
    x = integers(dtype, (8, 3, 7, 8))
    for level in LEVELS:
        assert np.array_equal(run(result.model, {"x": x}, level)[0], run(model, {"x": x})[0])


S = "float s = {0.1}, int8 z = {3}"
Q = "y = QuantizeLinear(m, s, z)"
DQ = "f = DequantizeLinear(x, s, z)"
FLOAT = {  # what keeps the pool in floating point: (weights, nodes, further arguments)
    "another scale": (f"{S}, float t = {{0.2}}", f"{DQ} {POOL} y = QuantizeLinear(m, t, z)", {}),
    "a finer scale": (f"{S}, float t = {{0.04}}", f"{DQ} {POOL} y = QuantizeLinear(m, t, z)", {}),
    "another zero point": (f"{S}, int8 w = {{-20}}", f"{DQ} {POOL} y = QuantizeLinear(m, s, w)", {}),
    "another type": (
        f"{S}, float t = {{0.2}}, uint8 w = {{0}}",
        f"{DQ} {POOL} y = QuantizeLinear(m, t, w)",
        {"y": "uint8"},
    ),
    "scales per channel": (
        "float[3] s = {0.1, 0.07, 0.3}, int8[3] z = {3, -2, 0}, float t = {0.05}, int8 w = {1}",
        f"f = DequantizeLinear <axis = 1> (x, s, z) {POOL} y = QuantizeLinear(m, t, w)",
        {},
    ),
    "the same scales per channel": (
        "float[3] s = {0.1, 0.07, 0.3}, int8[3] z = {3, -2, 0}",
        f"f = DequantizeLinear <axis = 1> (x, s, z) {POOL} y = QuantizeLinear <axis = 1> (m, s, z)",
        {},
    ),
    "a scale known at run time": (
        "int8 z = {3}",
        f"{DQ} {POOL} y = QuantizeLinear(m, s, z)",
        {"inputs": ", float s"},
    ),
    "a scale of its own at run time": (f"{S}", f"{DQ} {POOL} y = QuantizeLinear(m, t, z)", {"inputs": ", float t"}),
    "no zero point": (
        "float s = {0.1}, float t = {0.2}, uint8 z = {0}",
        f"f = DequantizeLinear(x, s) {POOL} y = QuantizeLinear(m, t)",
        {"x": "uint8", "y": "uint8"},
    ),
    "a pool that is read twice": (S, f"{DQ} {POOL} {Q} o = Relu(m)", {"outputs": ", float[N,3,4,4] o"}),
    "a pool that is an output": (S, f"{DQ} {POOL} {Q}", {"outputs": ", float[N,3,4,4] m"}),
    "something in between": (S, f"{DQ} {POOL} n = Neg(m) y = QuantizeLinear(n, s, z)", {}),
}


@pytest.mark.parametrize("name", FLOAT)
@pytest.mark.parametrize("form", ["branched", "concat"])
def test_what_stays_in_floating_point_is_exact(name, form, tmp_path):
    """Halfway between two integers the last bit decides, so nothing less than == will do."""
    weights, body, arguments = FLOAT[name]
    model = between(weights, body, **arguments)
    (site,) = (s for s in find(model, Path(), Selection()) if isinstance(s, PoolSite))
    assert (site.exact, site.dtype, site.source, site.output) == (True, "float32", "f", "m")
    result = convert(model, tmp_path, form=form, verify=False)  # whose proof of gate K on padded 3x3 takes minutes
    assert verdict(model, result.model, tmp_path).equal is True
    ((gate, exact),) = ((record.gate, record.rounding.bit_exact) for record in result.records)
    assert exact
    assert gate == ("K" if name == "no zero point" else "Y")  # uint8 and zero point 0: nothing is negative
    before, after = operators(model), operators(result.model)
    assert set(after - before) <= {"Conv", "Relu", "Add", "Concat"}
    assert before - after == Counter(MaxPool=1)
    feeds = {"x": integers(arguments.get("x", "int8"), (40, 3, 7, 8))}
    feeds |= {i.name: np.array(0.21, np.float32) for i in model.graph.input if i.name != "x"}
    expected = run(model, feeds)
    assert np.unique(expected[0]).size > 20
    for level in LEVELS:
        for one, other in zip(expected, run(result.model, feeds, level), strict=True):
            assert np.array_equal(one, other)


def test_a_plain_gate_would_not_do(tmp_path, monkeypatch):
    """What the rule is for: without it integers change."""
    monkeypatch.setattr("depool.onnx.find.dequantized", lambda *_: False)
    weights, body, arguments = FLOAT["another scale"]
    model = between(weights, body, **arguments)
    result = convert(model, tmp_path, verify=False)
    assert result.records[0].gate == "pair"
    x = integers("int8", (400, 3, 7, 8))
    assert (run(result.model, {"x": x})[0] != run(model, {"x": x})[0]).any()


def test_a_dequantised_tensor_with_other_readers_stays(tmp_path):
    """And the pool beside them still runs on the integers."""
    model = between(S, f"{DQ} {POOL} {Q} o = Tanh(f)", outputs=", float[N,3,7,8] o")
    result = convert(model, tmp_path)
    assert operators(result.model) == Counter(
        {"DequantizeLinear": 1, "Tanh": 1, "QLinearConv": operators(result.model)["QLinearConv"]}
    )
    x = integers("int8", (8, 3, 7, 8))
    for level in LEVELS:
        for one, other in zip(run(model, {"x": x}), run(result.model, {"x": x}, level), strict=True):
            assert np.array_equal(one, other)


def test_pools_after_pools(tmp_path):
    """As in SPPF: the integers between two pools are an output too."""
    spp = "MaxPool <kernel_shape = [5, 5], pads = [2, 2, 2, 2]>"
    body = (
        f"{DQ} [one] m = {spp}(f) q = QuantizeLinear(m, s, z) g = DequantizeLinear(q, s, z) "
        f"[two] n = {spp}(g) y = QuantizeLinear(n, s, z)"
    )
    model = between(S, body, outputs=", int8[N,3,7,8] q").__deepcopy__({})
    model.graph.output[0].type.CopyFrom(model.graph.output[1].type)
    result = convert(model, tmp_path)
    assert set(operators(result.model)) == {"QLinearConv"}
    assert len(result.records) == 2
    x = integers("int8", (8, 3, 7, 8))
    once = pool(x, PoolSpec((5, 5), (), ((2, 2), (2, 2))))
    twice = pool(once, PoolSpec((5, 5), (), ((2, 2), (2, 2))))
    for level in LEVELS:
        y, q = run(result.model, {"x": x}, level)
        assert np.array_equal(q, once)
        assert np.array_equal(y, twice)


def test_a_global_pool(tmp_path):
    model = between(S, f"{DQ} [pool] m = GlobalMaxPool(f) {Q}")
    for dim in model.graph.output[0].type.tensor_type.shape.dim[2:]:
        dim.dim_value = 1
    result = convert(model, tmp_path)
    assert set(operators(result.model)) == {"QLinearConv"}
    x = integers("int8", (8, 3, 7, 8))
    for level in LEVELS:
        assert np.array_equal(run(result.model, {"x": x}, level)[0], x.max((2, 3), keepdims=True))


def test_average_pools_between_integers_would_be_noticed(quantised_digits, tmp_path):
    """And no runtime averages integers: where the pool itself is on them, nothing is said."""
    for model in (same("int8", 0.1, 3), quantised_digits["QDQ", "uint8"]):
        (output,) = convert(model, tmp_path).verdict.outputs
        assert output.noticed is True
        assert output.swapped > 0
    (output,) = convert(integer_pool(SPEC, "uint8"), tmp_path).verdict.outputs
    assert output.noticed is None


def tampered(model, name, change):
    """A copy with one initialiser changed."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    (tensor,) = [tensor for tensor in copy.graph.initializer if tensor.name == name]
    array = numpy_helper.to_array(tensor).copy()
    change(array)
    tensor.CopyFrom(numpy_helper.from_array(array, name))
    return copy


def negated(array):
    at = tuple(np.argwhere(array)[-1])
    array[at] = -array[at]


def raised(array):
    array += 1


def verdict(original, converted, folder):
    onnx.save(original, folder / "one.onnx")
    onnx.save(converted, folder / "other.onnx")
    return depool.verify(folder / "one.onnx", folder / "other.onnx", counterexample=folder / "shown.npz")


def test_each_weight_of_a_quantised_model_is_checked(quantised_digits, tmp_path):
    original = quantised_digits["QDQ", "int8"]
    converted = convert(original, tmp_path).model
    assert verdict(original, converted, tmp_path).equal is True
    weights = [node.input[3] for node in converted.graph.node if node.op_type == "QLinearConv"]
    assert len(weights) == 8
    for name in weights:
        found = verdict(original, tampered(converted, name, negated), tmp_path)
        assert found.equal is False
        assert "pools break their promise" in found.summary
        assert found.counterexample.is_file()


@pytest.mark.parametrize("dtype", TYPES)
def test_each_number_of_an_integer_pool_is_checked(dtype, tmp_path):
    original = integer_pool(SPEC, dtype, 2, (5, 6))
    converted = convert(original, tmp_path).model
    assert verdict(original, converted, tmp_path).equal is True
    convolutions = [node for node in converted.graph.node if node.op_type == "QLinearConv"]
    weights = [node.input[3] for node in convolutions]
    zeros = {node.input[at] for node in convolutions for at in (2, 5, 7)}
    assert len(set(weights)) == len(convolutions) >= 2
    assert len(zeros) == 2
    broken = [tampered(converted, name, negated) for name in weights]
    broken += [tampered(converted, name, raised) for name in zeros]
    for model in broken:
        assert verdict(original, model, tmp_path).equal is False
