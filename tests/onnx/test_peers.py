"""What the nearest peer gets wrong or refuses is right: DNNV's rewrite of max pools, tiny model by tiny model.

It ignores auto_pad=SAME_UPPER, gives up on ceil_mode and dilations, pads signed inputs with zeros, and knows two
spatial axes. Each model here runs in ONNX Runtime with optimisations off, before and after, on data that tell; the
converted one also as users run it, with optimisations on.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

import depool
from depool.onnx.graph import attributes

CHANNELS = 3
ALLOWED = {"Conv", "Relu", "Add", "Concat"}


def run(model, x, *, optimised=False):
    level = ort.GraphOptimizationLevel
    options = ort.SessionOptions()
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimised else level.ORT_DISABLE_ALL
    options.log_severity_level = 4
    session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return dict(zip([output.name for output in session.get_outputs()], session.run(None, {"x": x}), strict=True))


def draw(kind, shape):
    rng = np.random.default_rng(7)
    values = {
        "signed": lambda: rng.normal(size=shape),
        "all negative": lambda: -np.abs(rng.normal(size=shape)) - 0.5,
        "mixed magnitudes": lambda: rng.choice([-1.0, 1.0], shape) * 10.0 ** rng.uniform(-30, 30, shape),
        "integers": lambda: rng.integers(-1000, 1001, shape).astype(np.float64),
    }[kind]()
    return values.astype(np.float32)


KINDS = ("signed", "all negative", "mixed magnitudes", "integers")


@dataclass(frozen=True, eq=False)
class Case:
    """One pool.

    Attributes:
        attributes: of the MaxPool node.
        sizes: spatial sizes to run on.
        dynamic: the spatial sizes are declared as symbols, and the one file must do for all `sizes`.
        border: its rule, where only the runtime knows where the border is; a mask's gate is bit exact.
    """

    attributes: dict[str, Any]
    sizes: list[tuple[int, ...]]
    dynamic: bool = False
    border: str = ""
    opset: int = 13

    def models(self):
        """(model, sizes that it runs on): one for all where dynamic, else one for each."""
        if not self.dynamic:
            return [(self.model(sizes), [sizes]) for sizes in self.sizes]
        return [(self.model(tuple(f"size{i}" for i in range(len(self.sizes[0])))), self.sizes)]

    def model(self, sizes):
        return wired([helper.make_node("MaxPool", ["x"], ["y"], "pool", **self.attributes)], sizes, ["y"], self.opset)


def wired(nodes, sizes, outputs, opset=13):
    dims = ["N", CHANNELS, *sizes]
    results = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, dims)
    graph = helper.make_graph(nodes, "peer", [x], results)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def pool(**kwargs: Any) -> dict[str, Any]:
    return kwargs


STATIC = [(5, 5), (6, 6), (7, 8), (8, 7), (9, 4), (3, 3)]
DYNAMIC = [(5, 5), (6, 6), (7, 8), (8, 7), (13, 4)]
LINE = [(7,), (8,), (9,), (12,)]

CASES = {
    "SAME_UPPER 3/2": Case(pool(auto_pad="SAME_UPPER", kernel_shape=[3, 3], strides=[2, 2]), STATIC),
    "SAME_LOWER 3/2": Case(pool(auto_pad="SAME_LOWER", kernel_shape=[3, 3], strides=[2, 2]), STATIC),
    "SAME_UPPER 2/1": Case(pool(auto_pad="SAME_UPPER", kernel_shape=[2, 2]), STATIC),
    "SAME_LOWER 2/1": Case(pool(auto_pad="SAME_LOWER", kernel_shape=[2, 2]), STATIC),
    "SAME_UPPER 4,3/3,2": Case(pool(auto_pad="SAME_UPPER", kernel_shape=[4, 3], strides=[3, 2]), STATIC[:4]),
    "SAME_LOWER 4,3/3,2": Case(pool(auto_pad="SAME_LOWER", kernel_shape=[4, 3], strides=[3, 2]), STATIC[:4]),
    "SAME_UPPER 3/2, dynamic": Case(
        pool(auto_pad="SAME_UPPER", kernel_shape=[3, 3], strides=[2, 2]), DYNAMIC, dynamic=True, border="mask"
    ),
    "SAME_LOWER 3/2, dynamic": Case(
        pool(auto_pad="SAME_LOWER", kernel_shape=[3, 3], strides=[2, 2]), DYNAMIC, dynamic=True, border="guard"
    ),
    "SAME_UPPER 2/2, dynamic": Case(
        pool(auto_pad="SAME_UPPER", kernel_shape=[2, 2], strides=[2, 2]), DYNAMIC, dynamic=True, border="guard"
    ),
    "SAME_LOWER 2/2, dynamic": Case(
        pool(auto_pad="SAME_LOWER", kernel_shape=[2, 2], strides=[2, 2]), DYNAMIC, dynamic=True, border="mask"
    ),
    "SAME_UPPER 5/1, dynamic": Case(
        pool(auto_pad="SAME_UPPER", kernel_shape=[5, 5]), DYNAMIC, dynamic=True, border="guard"
    ),
    "ceil_mode 3/2": Case(pool(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), STATIC),
    "ceil_mode 2/2": Case(pool(kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), STATIC),
    "ceil_mode 3/2 p1": Case(pool(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1], ceil_mode=1), STATIC),
    "ceil_mode 2/3, a window is dropped": Case(pool(kernel_shape=[2, 2], strides=[3, 3], ceil_mode=1), STATIC[:4]),
    "ceil_mode 3/2, dynamic": Case(
        pool(kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1), DYNAMIC, dynamic=True, border="guard"
    ),
    "ceil_mode 2/2, dynamic": Case(
        pool(kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1), DYNAMIC, dynamic=True, border="guard"
    ),
    "ceil_mode 3/2 begin 1, dynamic": Case(
        pool(kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 0, 0], ceil_mode=1), DYNAMIC, dynamic=True, border="guard"
    ),
    "stride 2, dilation 2": Case(pool(kernel_shape=[3, 3], strides=[2, 2], dilations=[2, 2]), [(7, 7), (8, 9)]),
    "stride 2, dilation 2, dynamic": Case(
        pool(kernel_shape=[3, 2], strides=[2, 2], dilations=[2, 2]), [(7, 7), (8, 9), (11, 6)], dynamic=True
    ),
    "stride 2, dilation 2, p1": Case(
        pool(kernel_shape=[3, 3], strides=[2, 2], dilations=[2, 2], pads=[1, 1, 1, 1]), [(7, 7), (8, 9)], border="mask"
    ),
    "ceil_mode, stride 2, dilation 2": Case(
        pool(kernel_shape=[2, 2], strides=[2, 2], dilations=[2, 2], ceil_mode=1), [(6, 6), (8, 10)], border="guard"
    ),
    "stride 2,3, dilation 3,2": Case(pool(kernel_shape=[2, 3], strides=[2, 3], dilations=[3, 2]), [(7, 8), (9, 11)]),
    "1-D 3/2": Case(pool(kernel_shape=[3], strides=[2]), LINE),
    "1-D 3/2 p1": Case(pool(kernel_shape=[3], strides=[2], pads=[1, 1]), LINE),
    "1-D 3/2 p1, dynamic": Case(pool(kernel_shape=[3], strides=[2], pads=[1, 1]), LINE, dynamic=True, border="guard"),
    "1-D SAME_UPPER 4/3": Case(pool(auto_pad="SAME_UPPER", kernel_shape=[4], strides=[3]), LINE),
    "1-D stride 2, dilation 3": Case(pool(kernel_shape=[3], strides=[2], dilations=[3]), LINE),
    "3-D 2/2": Case(pool(kernel_shape=[2, 2, 2], strides=[2, 2, 2]), [(4, 5, 6)]),
    "3-D 3/2 p1": Case(pool(kernel_shape=[3, 3, 3], strides=[2, 2, 2], pads=[1] * 6), [(4, 5, 6), (5, 7, 3)]),
    "3-D SAME_UPPER 3,2,2/2,1,2": Case(
        pool(auto_pad="SAME_UPPER", kernel_shape=[3, 2, 2], strides=[2, 1, 2]), [(4, 5, 6), (5, 4, 7)]
    ),
    "3-D ceil_mode, dynamic": Case(
        pool(kernel_shape=[2, 3, 2], strides=[2, 2, 2], ceil_mode=1),
        [(4, 5, 6), (5, 4, 7)],
        dynamic=True,
        border="guard",
    ),
    "3-D dilation 2,1,3": Case(pool(kernel_shape=[2, 2, 2], dilations=[2, 1, 3]), [(4, 5, 6)]),
    "kernel as large as the input": Case(pool(kernel_shape=[5, 6]), [(5, 6)]),
    "kernel as large as the input, padded": Case(pool(kernel_shape=[4, 4], pads=[1, 2, 2, 3]), [(4, 4)]),
    "kernel 1, stride 2": Case(pool(kernel_shape=[1, 1], strides=[2, 2]), STATIC),
    "kernel 1, stride 2, dynamic": Case(pool(kernel_shape=[1, 1], strides=[2, 2]), DYNAMIC, dynamic=True),
    "asymmetric pads": Case(pool(kernel_shape=[3, 3], strides=[2, 2], pads=[0, 2, 1, 0]), STATIC),
    "asymmetric pads, begin only": Case(pool(kernel_shape=[2, 3], pads=[1, 2, 0, 0]), STATIC),
    "asymmetric pads, dynamic": Case(
        pool(kernel_shape=[3, 3], strides=[2, 2], pads=[0, 2, 1, 0]), DYNAMIC, dynamic=True, border="guard"
    ),
}  # fmt: skip


def convert(model, folder, **kwargs):
    onnx.save(model, folder / "model.onnx")
    return depool.convert(folder / "model.onnx", folder / "out.onnx", force=True, **kwargs)


def averaged(model, x, expected):
    """What average pools in place of the max pools give; of a kernel of 1, where average and maximum agree, what
    the pool gives one element further on."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    pools = [node for node in copy.graph.node if node.op_type == "MaxPool"]
    if all(set(attributes(node)["kernel_shape"]) == {1} for node in pools):
        return run(model, np.roll(x, 1, axis=-1))
    for node in pools:
        node.op_type = "AveragePool"
    copy.opset_import[0].version = 19  # the first whose average pools know dilations
    wrong = run(copy, x)
    assert {name: y.shape for name, y in wrong.items()} == {name: y.shape for name, y in expected.items()}
    return wrong


def bound_of(record, model, x):
    """The promise, window by window: M is the maximum of |x| over the window."""
    window_max = run(model, np.abs(x))["y"].astype(np.float64)
    return record.rounding_bound(window_max, np.float32)


def outside(expected, got, bound):
    with np.errstate(over="ignore"):
        return int((~(np.abs(expected.astype(np.float64) - got.astype(np.float64)) <= bound)).sum())


def check(model, result, shape, kind):
    """The converted model keeps its promise on this data; an average pool would not."""
    (record,) = result.records
    x = draw(kind, shape)
    expected, got = run(model, x), run(result.model, x)
    bound = bound_of(record, model, x)
    assert got["y"].shape == expected["y"].shape
    assert outside(expected["y"], got["y"], bound) == 0
    assert outside(expected["y"], averaged(model, x, expected)["y"], bound) > 0
    as_users_run_it = run(result.model, x, optimised=True)["y"]
    assert outside(expected["y"], as_users_run_it, bound) == 0
    if kind == "integers" or record.rounding.bit_exact:
        np.testing.assert_array_equal(got["y"], expected["y"])
        np.testing.assert_array_equal(as_users_run_it, expected["y"])
    return expected, got, bound


@pytest.mark.parametrize("name", CASES)
def test_equal_within_the_promise(name, tmp_path):
    case = CASES[name]
    for model, runs_on in case.models():
        result = convert(model, tmp_path)
        assert result.verdict.equal is True
        assert {node.op_type for node in result.model.graph.node} <= ALLOWED
        for sizes in runs_on:
            for kind in KINDS:
                check(model, result, (2, CHANNELS, *sizes), kind)


@pytest.mark.parametrize("name", CASES)
def test_bit_exact_where_asked_for(name, tmp_path):
    case = CASES[name]
    for model, runs_on in case.models():
        result = convert(model, tmp_path, exact=True, verify=False)
        assert result.records[0].rounding.bit_exact
        for sizes in runs_on:
            for kind in KINDS:
                check(model, result, (2, CHANNELS, *sizes), kind)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.border])
def test_a_guard_or_mask_is_used_where_only_the_runtime_knows_the_border(name, tmp_path):
    ((model, _), *_) = CASES[name].models()
    (record,) = convert(model, tmp_path, verify=False).records
    assert (record.border, record.rounding.bit_exact) == (CASES[name].border, CASES[name].border == "mask")


@pytest.mark.parametrize("form", ["branched", "concat", "sequential"])
@pytest.mark.parametrize("name", ["SAME_UPPER 3/2", "ceil_mode 3/2", "asymmetric pads", "1-D 3/2 p1", "3-D 3/2 p1"])
def test_equal_in_every_form(name, form, tmp_path):
    model, (sizes, *_) = CASES[name].models()[0]
    bounds = {"x": (-1000.0, 1000.0)} if form == "sequential" else None
    result = convert(model, tmp_path, form=form, input_range=bounds)
    assert [record.form for record in result.records] == [form]
    for kind in ("signed", "all negative", "integers"):
        x = draw(kind, (2, CHANNELS, *sizes))
        expected, got = run(model, x)["y"], run(result.model, x)["y"]
        bound = bound_of(result.records[0], model, x)
        assert outside(expected, got, bound) == 0
        assert outside(expected, averaged(model, x, {"y": expected})["y"], bound) > 0


@dataclass(frozen=True, eq=False)
class Wiring:
    """A pool among other nodes; `y` is the pool's own output."""

    nodes: list[onnx.NodeProto]
    outputs: list[str]
    kept: list[str] = field(default_factory=list)


PADDED = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1], "name": "pool"}
WIRINGS = {
    "two consumers of the input": Wiring(
        [
            helper.make_node("Neg", ["x"], ["before"], "before"),
            helper.make_node("MaxPool", ["x"], ["y"], **PADDED),
            helper.make_node("Abs", ["x"], ["after"], "after"),
        ],
        ["y", "before", "after"],
        ["Neg", "Abs"],
    ),
    "two consumers of the output": Wiring(
        [
            helper.make_node("MaxPool", ["x"], ["y"], **PADDED),
            helper.make_node("Neg", ["y"], ["one"], "one"),
            helper.make_node("Abs", ["y"], ["other"], "other"),
        ],
        ["y", "one", "other"],
        ["Neg", "Abs"],
    ),
    "two consumers of both": Wiring(
        [
            helper.make_node("Neg", ["x"], ["before"], "before"),
            helper.make_node("MaxPool", ["x"], ["y"], **PADDED),
            helper.make_node("Relu", ["y"], ["one"], "one"),
            helper.make_node("Neg", ["y"], ["other"], "other"),
        ],
        ["one", "other", "before", "y"],
        ["Neg", "Relu", "Neg"],
    ),
    "a pool that is also an output, and is read by a Relu": Wiring(
        [
            helper.make_node("MaxPool", ["x"], ["y"], **PADDED),
            helper.make_node("Relu", ["y"], ["z"], "relu"),
        ],
        ["y", "z"],
        ["Relu"],
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WIRINGS)
def test_the_graph_around_it_is_kept(name, kind, tmp_path):
    wiring = WIRINGS[name]
    model = wired(wiring.nodes, (7, 8), wiring.outputs)
    result = convert(model, tmp_path)
    assert result.verdict.equal is True
    assert [output.name for output in result.model.graph.output] == wiring.outputs
    names = {node.name: node.op_type for node in result.model.graph.node if "depool" not in node.name}
    assert list(names.values()) == wiring.kept
    expected, got, bound = check(model, result, (2, CHANNELS, 7, 8), kind)
    for output in wiring.outputs:
        pooled = got[output].shape == bound.shape
        assert outside(expected[output], got[output], bound if pooled else 0.0) == 0


def test_no_relu_beside_it_is_no_licence_to_pad_with_zeros(tmp_path):
    """Zeros in the place of the padding would be the maxima of an all-negative input's last row and column."""
    case = CASES["SAME_UPPER 3/2"]
    model, larger = case.model((6, 6)), case.model((7, 7))
    result = convert(model, tmp_path)
    assert result.records[0].border == "edge"
    x = draw("all negative", (1, CHANNELS, 6, 6))
    got = run(result.model, x)["y"]
    zeros = run(larger, np.pad(x, [(0, 0), (0, 0), (1, 0), (1, 0)]))["y"]
    assert got.max() < -0.4
    assert zeros.max() == 0


@pytest.mark.parametrize(("before", "after"), [(True, False), (False, True)])
def test_a_relu_on_either_side_licenses_zeros(before, after, tmp_path):
    nodes = [
        *([helper.make_node("Relu", ["x"], ["h"])] if before else []),
        helper.make_node("MaxPool", ["h" if before else "x"], ["p" if after else "y"], **PADDED),
        *([helper.make_node("Relu", ["p"], ["y"])] if after else []),
    ]
    model = wired(nodes, (7, 8), ["y"])
    result = convert(model, tmp_path)
    assert result.verdict.equal is True
    (record,) = result.records
    assert record.border == "zero"
    for kind in KINDS:
        x = draw(kind, (2, CHANNELS, 7, 8))
        expected, got = run(model, x), run(result.model, x)
        bound = bound_of(record, model, x)
        assert outside(expected["y"], got["y"], bound) == 0
        if kind != "all negative":  # there a ReLU gives 0, whatever was pooled
            assert outside(expected["y"], averaged(model, x, expected)["y"], bound) > 0
