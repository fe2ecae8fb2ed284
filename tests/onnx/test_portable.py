"""The portable form of every geometry in the wild, checked node by node in the file, and against the native pool.

The list is that of pools in 161 published models, most frequent first; dilation comes from test suites.
"""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

import depool


def pool(kernel, stride, pads=0, **more):
    rank = len(kernel) if isinstance(kernel, tuple) else 2
    wide = {"kernel_shape": kernel, "strides": stride}
    told = {name: list(n) if isinstance(n, tuple) else [n] * rank for name, n in wide.items()}
    if pads:
        told["pads"] = list(pads) if isinstance(pads, tuple) else [pads] * (2 * rank)
    return told | more


WILD = {
    "3/2 p1": (pool(3, 2, 1), (9, 8)),
    "2/2": (pool(2, 2), (8, 9)),
    "3/2 p0": (pool(3, 2), (9, 8)),
    "2/2 SAME": (pool(2, 2, auto_pad="SAME_UPPER"), (9, 7)),
    "5/1 p2": (pool(5, 1, 2), (8, 7)),
    "1/2": (pool(1, 2), (8, 7)),
    "2/2 ceil": (pool(2, 2, ceil_mode=1), (9, 7)),
    "9/1 p4": (pool(9, 1, 4), (10, 9)),
    "13/1 p6": (pool(13, 1, 6), (14, 8)),
    "3/1 p1": (pool(3, 1, 1), (7, 6)),
    "3/2 ceil": (pool(3, 2, ceil_mode=1), (8, 7)),
    "3-D 1x3x3/1x2x2": (pool((1, 3, 3), (1, 2, 2), (0, 1, 1, 0, 1, 1)), (3, 7, 6)),
    "2/1 ceil": (pool(2, 1, ceil_mode=1), (6, 5)),
    "asymmetric 3/2": (pool(3, 2, (0, 0, 1, 1)), (8, 7)),
    "3/2 SAME_UPPER": (pool(3, 2, auto_pad="SAME_UPPER"), (8, 7)),
    "(2,1)/(2,1)": (pool((2, 1), (2, 1)), (8, 7)),
    "4/4": (pool(4, 4), (9, 8)),
    "3/3": (pool(3, 3), (9, 8)),
    "3-D 2/2": (pool((2, 2, 2), (2, 2, 2)), (4, 5, 6)),
    "3-D 3/2 p1": (pool((3, 3, 3), (2, 2, 2), 1), (5, 4, 6)),
    "1-D 3/2 p1": (pool((3,), (2,), 1), (9,)),
    "dilated 3/1 p2": (pool(3, 1, 2, dilations=[2, 2]), (8, 7)),
    "dilated 2/2": (pool(2, 2, dilations=[3, 2]), (9, 8)),
}
KINDS = ("behind a ReLU", "signed", "before a ReLU")
LOW, HIGH = -8.0, 8.0


def model_of(attributes, sizes, kind):
    nodes = [helper.make_node("MaxPool", ["r"], ["p"], name="pool", **attributes)]
    if kind == "behind a ReLU":
        nodes = [helper.make_node("Relu", ["x"], ["r"], name="relu"), *nodes]
    if kind == "before a ReLU":
        nodes.append(helper.make_node("Relu", ["p"], ["q"], name="relu"))
    nodes[0].input[0] = "x"
    nodes[-1].output[0] = "y"
    shapes = ["n", 3, *sizes], ["n", 3, *(f"s{i}" for i in range(len(sizes)))]
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in zip("xy", shapes, strict=True))
    return helper.make_model(
        helper.make_graph(nodes, "wild", [x], [y]), opset_imports=[helper.make_opsetid("", 17)], ir_version=8
    )


def run(model, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def chain(graph, source, output):
    """The nodes between two tensors, each with one reader and one computed input."""
    makers = {name: node for node in graph.node for name in node.output}
    found = []
    while output != source:
        node = makers[output]
        found.insert(0, node)
        output = node.input[0]
        assert output == source or sum(output in n.input for n in graph.node) == 1
    return found


def check_chain(graph, record, biased):
    """Sequential, group 1, dilation 1, symmetric pads, explicit attributes, named nodes, a bias only where allowed."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    nodes = chain(graph, record.source, record.output)
    assert [n.op_type for n in nodes] == ["Conv", "Relu"] * (len(nodes) // 2) + ["Conv"]
    assert len({n.name for n in nodes} - {""}) == len(nodes)
    rank = len(record.sizes)
    for node in nodes[::2]:
        told = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        assert set(told) == {"group", "strides", "kernel_shape", "dilations", "pads"}
        assert told["group"] == 1
        assert told["dilations"] == [1] * rank
        assert told["pads"][:rank] == told["pads"][rank:]
        assert list(weights[node.input[1]].shape[2:]) == told["kernel_shape"]
        assert biased or len(node.input) == 2 or not weights[node.input[2]].any()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WILD)
def test_every_geometry_is_one_plain_chain(name, kind, tmp_path):
    """And proved, and within its bound of the native pool."""
    attributes, sizes = WILD[name]
    model = model_of(attributes, sizes, kind)
    onnx.save(model, tmp_path / "wild.onnx")
    result = depool.convert(tmp_path / "wild.onnx", target="portable", input_range=(LOW, HIGH))
    assert result.verdict.equal is True
    assert result.certificate is not None
    written = onnx.load(result.path)
    (record,) = result.records
    padded = "p1" in name or any(word in name for word in ("p2", "p4", "p6", "SAME", "ceil", "asym", "1x3x3"))
    check_chain(written.graph, record, biased=kind == "signed" and padded)
    rng = np.random.default_rng(len(name))
    for x in (rng.uniform(LOW, HIGH, (2, 3, *sizes)), -(rng.uniform(0.5, 8, (2, 3, *sizes)) ** 2) / 8):
        fed = x.astype(np.float32)
        bound = result.conversions[0].program.error_bound(HIGH, "float32")
        assert np.abs(run(written, fed).astype(np.float64) - run(model, fed)).max() <= bound


@pytest.mark.parametrize(("target", "largest"), [("portable", 19), ("nnenum", 19), ("omlt", 19), ("auto_lirpa", 8)])
def test_relu_counts_of_the_targets(target, largest):
    """2x2: 6 in a chain, 3 with branches; 3x3: at most 19, or n - 1."""
    for strides in (1, 2, 3):
        pads = ((0, 0), (0, 0))
        count = depool.synthesize(
            depool.PoolSpec((3, 3), (strides, strides), pads), target=target, lower_bound=0.0, sizes=(12, 12)
        ).relus_per_output
        assert count <= largest
    two = depool.synthesize(depool.PoolSpec((2, 2), (2, 2)), target=target, lower_bound=0.0, sizes=(12, 12))
    assert two.relus_per_output == (6 if largest == 19 else 3)


@pytest.mark.parametrize("form", ["auto", "concat", "sequential"])
def test_a_signed_border_is_shifted_for_a_bounder(form, tmp_path):
    """In every form; verified later too, from the file alone."""
    model = model_of(pool(3, 2, 1), (9, 8), "signed")
    onnx.save(model, tmp_path / "wild.onnx")
    result = depool.convert(tmp_path / "wild.onnx", target="auto_lirpa", form=form, input_range=(LOW, HIGH))
    assert [record.border for record in result.records] == ["shift"]
    assert result.verdict.equal is True
    assert result.certificate is not None
    assert depool.verify(tmp_path / "wild.onnx", result.path).equal is True
    x = np.random.default_rng(0).uniform(LOW, HIGH, (2, 3, 9, 8)).astype(np.float32)
    apart = np.abs(run(onnx.load(result.path), x).astype(np.float64) - run(model, x)).max()
    assert apart <= result.conversions[0].program.error_bound(HIGH, "float32")
