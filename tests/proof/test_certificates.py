"""Correct conversions are proved: every form, gate, border rule, channel layout and kind of size."""

import json
import random

import numpy as np
import onnxruntime
import pytest
from conversions import converted, pool_model
from onnx import TensorProto, helper, numpy_helper

import depool
from depool.onnx import files
from depool.proof import ProofError, certify, check
from depool.proof.certificate import _outcomes

K3 = {"kernel_shape": [3, 3]}
SAME3 = K3 | {"pads": [1, 1, 1, 1]}
FORMS = ("branched", "concat", "sequential")
LAYOUTS = ("grouped", "depthwise", "dense", "folded")


def proved(original, after):
    """The one pool's entry of a certificate that holds."""
    certificate = certify(original, after)
    report = check(json.loads(json.dumps(certificate)), original, after)
    assert report.ok, report.reason
    assert [pool.ok for pool in report.pools] == [True]
    (pool,) = certificate["pools"]
    return pool


# name, pool, size, what stands around it, options, border rule, whether the result is exact
CASES = [
    ("none", {"kernel_shape": [2, 2], "strides": [2, 2]}, (6, 7), {}, {}, "none", False),
    ("zero", SAME3 | {"strides": [2, 2]}, (7, 6), {"before": "Relu"}, {}, "zero", False),
    ("relu-follows", SAME3, (5, 4), {"after": "Relu"}, {}, "zero", False),
    ("edge", SAME3 | {"strides": [2, 2]}, (7, 6), {}, {}, "edge", False),
    ("mask", SAME3 | {"dilations": [2, 1]}, (7, "w"), {}, {}, "mask", True),
    ("guard", SAME3 | {"strides": [2, 2]}, (7, "w"), {}, {}, "guard", False),
    ("guard-stages", {"kernel_shape": [7, 3], "pads": [3, 1, 3, 1]}, ("h", 5), {}, {}, "guard", False),
    ("mask-same", K3 | {"strides": [2, 2], "auto_pad": "SAME_UPPER"}, ("h", "w"), {}, {"scheme": "tree"}, "mask", True),
    ("shift", SAME3, (5, "w"), {"before": "Tanh"}, {"form": "sequential"}, "shift", False),
    ("Y", SAME3, (5, 6), {}, {"exact": True}, "edge", True),
    ("K", SAME3, (5, "w"), {"before": "Relu"}, {"exact": True, "form": "sequential"}, "zero", True),
    (
        "K-long",
        {"kernel_shape": [5, 7], "pads": [2, 3, 2, 3]},
        (9, "w"),
        {"before": "Relu"},
        {"exact": True},
        "zero",
        True,
    ),
    ("shallow", K3, (5, 6), {}, {"scheme": "shallow", "form": "concat"}, "none", False),
    ("deep", {"kernel_shape": [4, 4]}, (5, 6), {"before": "Relu"}, {"scheme": "shallow"}, "none", False),
    ("ceil", K3 | {"strides": [2, 3], "ceil_mode": 1}, (6, 6), {}, {}, "edge", False),
    ("portable", SAME3 | {"dilations": [2, 2]}, (9, 9), {"before": "Relu"}, {"target": "portable"}, "zero", False),
]


@pytest.mark.parametrize(
    ("attributes", "size", "model", "options", "border", "exactly"),
    [pytest.param(*case[1:], id=case[0]) for case in CASES],
)
def test_each_rule_is_proved(tmp_path, attributes, size, model, options, border, exactly):
    pool = proved(*converted(tmp_path, pool_model(attributes, size, **model), **options))
    assert pool["border"]["rule"].startswith(border)
    assert pool["floating point"]["derived"].startswith("bit-exact") == exactly
    assert any("gate K" in text for text in pool["hypotheses"]) == (pool["told"]["gate"] == "K")
    assert not exactly or pool["told"]["gate"] in pool["lemmas"]
    assert pool["nodes"][-1]["maps"][0]["means"] == pool["coverage"]["middle window"]


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scheme", ["tree", "separable", "horner", "shallow"])
def test_forms_schemes_and_layouts(tmp_path, form, scheme, layout):
    model = pool_model(SAME3 | {"strides": [1, 2]}, (5, 6), before="Relu", channels=3)
    pool = proved(*converted(tmp_path, model, form=form, scheme=scheme, channels=layout))
    assert pool["told"]["form"] == form
    assert pool["channels"] == 3


def random_pool(rng):
    rank = rng.choice([1, 2, 2, 3])
    kernel = [rng.randint(1, 4 if rank < 3 else 2) for _ in range(rank)]
    dilations = [rng.choice([1, 1, 2]) for _ in range(rank)]
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes = {"kernel_shape": kernel, "strides": [rng.randint(1, 3) for _ in range(rank)]}
    auto = rng.choice(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if auto.startswith("SAME"):
        extent = kernel
    else:
        attributes["dilations"] = dilations
    if auto == "NOTSET":
        attributes |= {"pads": [rng.randint(0, (e - 1) // 2) for e in extent * 2], "ceil_mode": rng.randint(0, 1)}
    else:
        attributes["auto_pad"] = auto
    size = [rng.randint(e, e + 5) if rng.random() < 0.7 else f"d{i}" for i, e in enumerate(extent)]
    return pool_model(
        attributes, size, before=rng.choice(["", "Relu", "Tanh"]), after=rng.choice(["", "", "Relu"]), channels=2
    )


@pytest.mark.parametrize("seed", range(40))
def test_random_pools(tmp_path, seed):
    rng = random.Random(seed)  # noqa: S311 - tests
    model = random_pool(rng)
    options = {"form": rng.choice(["auto", *FORMS]), "channels": rng.choice(LAYOUTS), "exact": rng.random() < 0.4}
    options |= {"scheme": rng.choice(["auto", "tree", "separable", "horner"])}
    try:
        before, after = converted(tmp_path, model, **options)
    except depool.NotConverted:
        pytest.skip("refused")
    pool = proved(before, after)
    exact = pool["told"]["gate"] in {"Y", "K"}
    assert pool["floating point"]["derived"].startswith("bit-exact") or not exact


@pytest.mark.parametrize("dtype", [TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16])
@pytest.mark.parametrize("exact", [False, True])
def test_other_types(tmp_path, dtype, exact):
    model = pool_model(SAME3, (5, "w"), dtype=dtype, opset=22)
    pool = proved(*converted(tmp_path, model, exact=exact))
    assert pool["border"]["rule"].startswith("mask" if exact else "guard")
    derived = pool["floating point"]["derived"]
    if exact:
        assert derived.startswith("bit-exact")
    else:  # four gates of 2 u M each, one after the other
        factor, unit = derived.removeprefix("no exactness was derived; |computed - meaning| <= ").split(" ", 1)
        assert (float(factor), unit) == (pytest.approx(8, rel=0.05), "u M where nothing over- or underflows")


@pytest.mark.parametrize("kind", ["GlobalMaxPool", "GlobalAveragePool"])
def test_global_pools(tmp_path, kind):
    pool = proved(*converted(tmp_path, pool_model({}, (4, 5), kind=kind), pools="all"))
    assert pool["geometry"] == {"kernel": "the whole input"}


def test_average_pool_with_counted_padding(tmp_path):
    attributes = SAME3 | {"count_include_pad": 1, "strides": [2, 2]}
    pool = proved(*converted(tmp_path, pool_model(attributes, (6, "w"), kind="AveragePool"), pools="all"))
    assert "weights are 1 / n rounded once" in pool["floating point"]["derived"]


def test_opset_6_joins_by_concat(tmp_path):
    model = pool_model({"kernel_shape": [2, 2]}, (4, 4), opset=6)
    assert {node["operator"] for node in proved(*converted(tmp_path, model))["nodes"]} == {"Conv", "Relu", "Concat"}


def test_absorbed_pad(tmp_path):
    pads = numpy_helper.from_array(np.array([0, 0, 1, 2, 0, 0, 0, 1]), "pads")
    lowest = numpy_helper.from_array(np.array(-np.inf, np.float32), "lowest")
    nodes = [
        helper.make_node("Pad", ["x", "pads", "lowest"], ["padded"], name="pad"),
        helper.make_node("MaxPool", ["padded"], ["y"], name="pool", kernel_shape=[3, 3], strides=[2, 2]),
    ]
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 2, 8, 7])]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)]
    graph = helper.make_graph(nodes, "g", inputs, outputs, [pads, lowest])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    pool = proved(*converted(tmp_path, model))
    assert pool["geometry"]["padded before by minus infinity"] == [[1, 0], [2, 1]]


@pytest.mark.parametrize("layout", ["grouped", "folded"])
@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_quantised_pools(tmp_path, direct, dtype, layout):
    kind = TensorProto.INT8 if dtype == "int8" else TensorProto.UINT8
    weights = [
        numpy_helper.from_array(np.array(0.05, np.float32), "s"),
        numpy_helper.from_array(np.array(3, dtype), "z"),
    ]
    middle = helper.make_node("MaxPool", ["q" if direct else "x"], ["y" if direct else "m"], name="pool", **SAME3)
    nodes = [
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["x"], name="dq"),
        middle,
        helper.make_node("QuantizeLinear", ["m", "s", "z"], ["y"], name="q"),
    ]
    inputs = [helper.make_tensor_value_info("q", kind, ["N", 2, 5, "w"])]
    outputs = [helper.make_tensor_value_info("y", kind, None)]
    graph = helper.make_graph([middle] if direct else nodes, "g", inputs, outputs, [] if direct else weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    pool = proved(*converted(tmp_path, model, channels=layout))
    assert pool["type"] == dtype
    assert "integers" in pool["floating point"]["derived"]


def test_pools_in_subgraphs_and_external_weights(tmp_path):
    then = helper.make_graph(
        [helper.make_node("MaxPool", ["x"], ["t"], kernel_shape=[2, 2])],
        "then",
        [],
        [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph(
        [helper.make_node("MaxPool", ["x"], ["e"], kernel_shape=[2, 1])],
        "else",
        [],
        [helper.make_tensor_value_info("e", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("MaxPool", ["x"], ["p"], name="first", kernel_shape=[2, 2]),
        helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
    ]
    inputs = [
        helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 2, 5, 5]),
        helper.make_tensor_value_info("c", TensorProto.BOOL, []),
    ]
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in ("y", "p")]
    graph = helper.make_graph(nodes, "g", inputs, outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 15)], ir_version=8)
    before, after = converted(tmp_path, model)
    certificate = certify(before, after)
    assert len(certificate["pools"]) == 3
    assert check(certificate, before, after).ok


def test_declared_ranges_are_hypotheses(tmp_path):
    model = pool_model(SAME3, (5, "w"))
    before, after = converted(tmp_path, model, input_range=(0.0, 9.0))
    (text,) = certify(before, after)["pools"][0]["hypotheses"]
    assert text.startswith("every element >= 0: declared")
    assert text.endswith("assumed")
    assert check(certify(before, after), before, after).hypotheses[-1].endswith(text)


def test_fixed_shapes_are_hypotheses(tmp_path):
    before, after = converted(tmp_path, pool_model(SAME3, ("h", "w")), shapes={"x": (1, 2, 5, 6)})
    certificate = certify(before, after)
    assert certificate["hypotheses"][1] == "input 'x' has shape [1, 2, 5, 6]"
    assert certificate["pools"][0]["sizes"]["input"] == [5, 6]


def test_what_is_derived_again_is_said(tmp_path):
    pool = proved(*converted(tmp_path, pool_model(SAME3, (5, "w"), before="Relu")))
    assert pool["border"] == {
        "rule": "zero: the padding is 0",
        "input": "every element >= 0: Relu 'before', derived again",
    }
    assert pool["hypotheses"] == []


def test_dynamic_sizes_cover_every_residue(tmp_path):
    pool = proved(*converted(tmp_path, pool_model(SAME3 | {"strides": [2, 2]}, ("h", 7), before="Relu")))
    sizes = pool["sizes"]["input"]
    assert sizes[0][0] == 1
    assert sizes[0] == list(range(1, sizes[0][-1] + 1))
    assert sizes[0][-1] >= 2 * 3 + 2 * 2
    assert sizes[1] == 7


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("before", ["", "Relu"])
@pytest.mark.parametrize("form", FORMS)
def test_derived_bounds_hold_in_onnxruntime(tmp_path, form, before, exact):
    attributes = {"kernel_shape": [3, 2], "strides": [1, 2]}
    original, after = converted(tmp_path, pool_model(attributes, (8, 9), before=before), form=form, exact=exact)
    ((_, derivation),) = _outcomes(original, after)
    error = max(derivation.values[int(n)].error for m in derivation.result.meanings for n in np.unique(m))
    assert (error == 0) == exact
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    sessions = [
        onnxruntime.InferenceSession(s.model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        for s in (original, after)
    ]
    rng = np.random.default_rng(0)
    for _ in range(20):
        x = (rng.normal(size=(4, 2, 8, 9)) * 10.0 ** rng.integers(-9, 9, (4, 2, 8, 9))).astype(np.float32)
        one, other = (s.run(None, {"x": x})[0].astype(np.float64) for s in sessions)
        assert np.abs(one - other).max() <= error * np.abs(x).max()


def test_unconverted_models_have_no_certificate(tmp_path):
    before, _ = converted(tmp_path, pool_model({"kernel_shape": [2, 2]}, (4, 4)))
    with pytest.raises(ProofError, match=r"no depool\.pools metadata"):
        certify(before, before)


def test_digits(tmp_path, request):
    path = request.config.rootpath / "examples" / "digits.onnx"
    depool.convert(path, tmp_path / "d.onnx", verify=False)
    before, after = files.read(path), files.read(tmp_path / "d.onnx")
    certificate = certify(before, after)
    assert certificate["hypotheses"] == ["all values are finite"]
    assert check(json.loads(json.dumps(certificate)), before, after).ok
