"""What convert and inspect say of nodes that a target will not take: each named, nothing in vain."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import depool
from depool.cli import app
from depool.onnx.caveats import caveats
from depool.target import PRESETS, Target

PLAIN = {"kernel_shape": [3, 3], "strides": [1, 1], "pads": [0] * 4, "dilations": [1, 1], "group": 1}
STRICT = Target(
    "strict", "takes nothing", operators=("Conv", "Relu", "Add", "Concat", "If"), groups=False, dilation=False,
    asymmetric_pads=False, auto_pad=False, mixed_axes=False, branches=False, spatial_concat=False, bias=False,
    largest_kernel=3, names=True, attributes={"Conv": ("kernel_shape",)}, messages={"groups": "E1: groups"},
    silent={"bias": "it is dropped"},
)  # fmt: skip


def conv(name="conv", bias=None, channels=2, weight=None, **changes):
    """A model of one convolution; `bias` is an array, or "computed"."""
    told = {k: v for k, v in (PLAIN | changes).items() if v is not None}
    kernel = np.ones((2, channels // told.get("group", 1), *PLAIN["kernel_shape"]), np.float32)
    weights = {"w": kernel if weight is None else weight}
    nodes = []
    if bias is not None:
        weights["b"] = np.zeros(2, np.float32) if isinstance(bias, str) else bias
    inputs = ["x", *weights]
    if isinstance(bias, str):
        nodes, inputs[-1] = [helper.make_node("Relu", ["b"], ["bb"], name="of bias")], "bb"
    return model([*nodes, helper.make_node("Conv", inputs, ["y"], name=name, **told)], weights)


def model(nodes, weights=None, batch=1):
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 2, 8, 8])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(value, name) for name, value in (weights or {}).items()]
    graph = helper.make_graph(nodes, "g", [x], [y], tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def found(made, target=STRICT):
    return caveats(made, Path(), target)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (conv(group=2), "it has 2 groups; E1: groups"),
        (conv(dilations=[1, 2]), "it has dilations [1, 2]"),
        (conv(pads=[1, 1, 2, 2]), "its pads are [1, 1, 2, 2]"),
        (conv(pads=None, auto_pad="SAME_LOWER"), "it has auto_pad SAME_LOWER"),
        (conv(strides=[1, 2]), "its strides [1, 2] or pads [0, 0, 0, 0] differ between the axes"),
        (conv(pads=[0, 1, 0, 1]), "its strides [1, 1] or pads [0, 1, 0, 1] differ between the axes"),
        (conv(bias=np.array([0, 0.5], np.float32)), "it has a bias; without a word: it is dropped"),
        (conv(bias="computed"), "it has a bias; without a word: it is dropped"),
        (conv(kernel_shape=None), "the target wants kernel_shape written out"),
        (conv(kernel_shape=[1, 5], weight=np.ones((2, 2, 1, 5), np.float32)), "its kernel is [1, 5]"),
        (conv(name=""), "the node has no name"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_convolution_that_is_not_taken(made, text):
    (caveat,) = [caveat for caveat in found(made) if caveat.op_type == "Conv"]
    assert caveat.where == ("conv" if "no name" not in text else "Conv#0")
    assert caveat.text == text
    assert caveat.silent == ("without a word" in text)
    assert str(caveat) == f"Conv {caveat.where}: {text}"


def test_what_is_taken_is_not_mentioned():
    assert found(conv()) == ()
    assert found(conv(bias=np.zeros(2, np.float32))) == ()
    assert found(conv(pads=[1] * 4)) == ()
    assert found(conv(pads=None, auto_pad="VALID")) == ()
    everything = conv(group=2, dilations=[1, 2], strides=[1, 2], pads=[0, 1, 2, 3], bias=np.ones(2, np.float32))
    assert found(everything, PRESETS["generic"]) == ()


def test_padding_at_all():
    target = Target("t", "t", padding=False)
    assert [c.text for c in found(conv(pads=[1] * 4), target)] == ["it is padded"]
    assert [c.text for c in found(conv(pads=None, auto_pad="SAME_UPPER"), target)] == ["it is padded"]
    assert found(conv(), target) == ()


def test_operators_branches_and_joins():
    relu = helper.make_node("Relu", ["x"], ["r"], name="relu")
    made = model(
        [
            relu,
            helper.make_node("Add", ["x", "r"], ["a"], name="skip"),
            helper.make_node("Add", ["a", "w"], ["b"], name="offset"),
            helper.make_node("Concat", ["b", "b"], ["c"], name="wide", axis=3),
            helper.make_node("Gelu", ["c"], ["d"], name="gelu"),
            helper.make_node("Relu", ["d"], ["y"], name="other", domain="com.example"),
        ],
        {"w": np.ones((1, 2, 1, 1), np.float32)},
    )
    assert [(c.op_type, c.where, c.text) for c in found(made)] == [
        ("Add", "skip", "it joins computed tensors, and the target takes one chain"),
        ("Concat", "wide", "it joins computed tensors, and the target takes one chain"),
        ("Concat", "wide", "it joins along a spatial axis"),
        ("Gelu", "gelu", "the target does not know this operator"),
        ("Relu", "other", "the target does not know this operator"),
    ]


def test_inner_graphs_are_looked_into():
    inner = helper.make_graph(
        [helper.make_node("Gelu", ["x"], ["i"], name="gelu")], "then", [], [helper.make_empty_tensor_value_info("i")]
    )
    made = model(
        [helper.make_node("If", ["w"], ["y"], name="if", then_branch=inner, else_branch=inner)], {"w": np.array(True)}
    )
    assert [c.where for c in found(made)] == ["if/else_branch/gelu", "if/then_branch/gelu"]


@pytest.mark.parametrize(("batch", "given", "wanted"), [("symbolic", 1, True), ("symbolic", "N", False),
                                                        ("fixed", 1, False), ("fixed", "N", True)])  # fmt: skip
def test_the_batch_dimension(batch, given, wanted):
    made = model([helper.make_node("Relu", ["x"], ["y"], name="relu")], batch=given)
    seen = found(made, Target("t", "t", batch=batch))
    assert [c.where for c in seen] == (["x"] if wanted else [])


def chain_of_pools():
    """A biased convolution, a pool, a Flatten."""
    weights = {"w": np.ones((2, 2, 3, 3), np.float32), "b": np.ones(2, np.float32)}
    return model(
        [
            helper.make_node("Conv", ["x", "w", "b"], ["c"], name="conv", **PLAIN),
            helper.make_node("Relu", ["c"], ["r"], name="relu"),
            helper.make_node("MaxPool", ["r"], ["p"], name="pool", kernel_shape=[2, 2], strides=[2, 2]),
            helper.make_node("Flatten", ["p"], ["y"], name="flatten"),
        ],
        weights,
        batch="N",
    )


@pytest.mark.parametrize("name", PRESETS)
def test_convert_and_inspect_say_the_same_and_nothing_of_our_own_nodes(name, tmp_path):
    made = chain_of_pools()
    onnx.save(made, tmp_path / "net.onnx")
    result = depool.convert(tmp_path / "net.onnx", target=name)
    assert depool.inspect(tmp_path / "net.onnx", target=name).caveats == result.caveats
    wheres = [caveat.where for caveat in result.caveats]
    assert wheres == {"omlt": ["conv", "flatten", ""]}.get(name, [])
    kept = [node for node in result.model.graph.node if "depool" not in node.name]
    assert kept == [node for node in made.graph.node if node.op_type != "MaxPool"]


def test_a_pool_that_stays_is_named(tmp_path):
    onnx.save(chain_of_pools(), tmp_path / "net.onnx")
    result = depool.convert(tmp_path / "net.onnx", target="marabou", skip=["pool"])
    (caveat,) = result.caveats
    assert (caveat.op_type, caveat.where, caveat.silent) == ("MaxPool", "pool", True)
    assert "pads, dilations, ceil_mode and auto_pad are ignored" in caveat.text


def test_convert_prints_them(tmp_path, capsys):
    onnx.save(chain_of_pools(), tmp_path / "net.onnx")
    words = ["convert", str(tmp_path / "net.onnx"), "--target", "omlt", "--no-verify"]
    assert app(words, result_action="return_value") == 0
    block = capsys.readouterr().out.partition("the target and the rest of the model\n")[2]
    silent, refused, plain = block.split("for finite input only")[0].replace("\n           ", " ").splitlines()
    assert silent.startswith("  silent   Conv conv: it has a bias; without a word: the bias of a Conv is dropped")
    assert refused.startswith(
        "  refused  Flatten flatten: the target does not know this operator; ValueError: Unhandled"
    )
    assert plain.startswith("  silent   omlt bounds values by plain intervals, and these get wider")


def test_json_has_them(tmp_path, capsys):
    onnx.save(chain_of_pools(), tmp_path / "net.onnx")
    words = ["inspect", str(tmp_path / "net.onnx"), "--target", "omlt", "--json"]
    assert app(words, result_action="return_value") == 0
    told = json.loads(capsys.readouterr().out)["caveats"]
    assert [(entry["op_type"], entry["where"], entry["silent"]) for entry in told] == [
        ("Conv", "conv", True), ("Flatten", "flatten", False), ("", "", True),
    ]  # fmt: skip
