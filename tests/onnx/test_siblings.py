"""Pools of one input share what they have in common, and are right in any order."""

from itertools import permutations

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper

import depool
import depool.onnx.convert
from depool.onnx.ensures import BrokenPromiseError


def pyramid(order, *, relu=True, side=20, outputs=None):
    """x, and its maxima over windows of 5, 9 and 13 in this order, joined as in an SPP block."""
    nodes = [helper.make_node("Relu" if relu else "Identity", ["image"], ["x"])]
    for k in order:
        pads = [k // 2] * 4
        nodes.append(helper.make_node("MaxPool", ["x"], [f"m{k}"], f"pool{k}", kernel_shape=[k, k], pads=pads))
        nodes.append(helper.make_node("Neg", [f"m{k}"], [f"n{k}"]))  # which reads it before the next pool comes
    nodes.append(helper.make_node("Concat", ["x", *(f"{t}{k}" for k in order for t in "mn")], ["y"], axis=1))
    inputs = [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 4, side, side])]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs or ["y"]]
    graph = helper.make_graph(nodes, "pyramid", inputs, made)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def convolutions(path):
    return sum(node.op_type == "Conv" for node in onnx.load(path).graph.node)


def run(path, x):
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"]).run(None, {"image": x})[0]


@pytest.mark.parametrize("order", list(permutations((5, 9, 13))))
def test_a_pyramid_computes_each_maximum_once(order, tmp_path):
    """5 taps per axis, then 3 for windows of 9, then 2 for windows of 13: 20 convolutions, where alone they have 38."""
    path, out = str(tmp_path / "p.onnx"), str(tmp_path / "o.onnx")
    onnx.save(pyramid(order), path)
    result = depool.convert(path, out)
    assert result.verdict.equal is True
    assert result.certificate is not None
    assert convolutions(out) == 20
    made = {"image"}
    for node in onnx.load(out).graph.node:  # each after what it reads, which not every runtime demands
        assert {name for name in node.input if "weight" not in name} <= made
        made |= set(node.output)
    x = np.random.default_rng(0).standard_normal((2, 4, 20, 20)).astype(np.float32)
    x[1] = np.round(4 * x[1])  # integers, which nothing may round
    before, after = run(path, x), run(out, x)
    np.testing.assert_allclose(before, after, atol=1e-5)
    np.testing.assert_array_equal(before[1], after[1])
    assert depool.verify(path, out).equal is True


def test_a_small_input_needs_other_plans(tmp_path):
    path, out = str(tmp_path / "p.onnx"), str(tmp_path / "o.onnx")
    for side in (1, 2, 3, 5, 8):
        onnx.save(pyramid((13, 5, 9), side=side), path)
        assert depool.convert(path, out, force=True).verdict.equal is True
        x = np.random.default_rng(side).integers(-9, 9, (3, 4, side, side)).astype(np.float32)
        np.testing.assert_array_equal(run(path, x), run(out, x))


def test_a_signed_pyramid_shares_nothing(tmp_path):
    path, out = str(tmp_path / "p.onnx"), str(tmp_path / "o.onnx")
    onnx.save(pyramid((5, 9, 13), relu=False), path)
    result = depool.convert(path, out)
    assert result.verdict.equal is True
    assert {record.border for record in result.records} == {"edge"}
    x = -np.random.default_rng(0).random((1, 4, 20, 20)).astype(np.float32) - 1
    np.testing.assert_allclose(run(path, x), run(out, x), atol=1e-5)


@pytest.mark.parametrize(
    "arguments", [{"exact": True}, {"channels": "folded"}, {"channels": "dense"}, {"form": "sequential"}]
)
def test_other_ways(arguments, tmp_path):
    path, out = str(tmp_path / "p.onnx"), str(tmp_path / "o.onnx")
    onnx.save(pyramid((9, 13, 5)), path)
    result = depool.convert(path, out, **arguments)
    assert result.verdict.equal is True
    x = np.random.default_rng(0).standard_normal((1, 4, 20, 20)).astype(np.float32)
    same = np.testing.assert_array_equal if "exact" in arguments else np.testing.assert_allclose
    same(run(path, x), run(out, x), **({} if "exact" in arguments else {"atol": 1e-5}))


def test_two_equal_pools_are_two_tensors(tmp_path):
    path, out = str(tmp_path / "p.onnx"), str(tmp_path / "o.onnx")
    model = pyramid((5,), outputs=["y", "again"])
    model.graph.node.insert(2, helper.make_node("MaxPool", ["x"], ["again"], "twin", kernel_shape=[5, 5], pads=[2] * 4))
    onnx.save(model, path)
    assert depool.convert(path, out).verdict.equal is True


def test_a_pool_that_is_skipped_is_not_gone_on_from(tmp_path):
    path, out = str(tmp_path / "p.onnx"), str(tmp_path / "o.onnx")
    onnx.save(pyramid((5, 9, 13)), path)
    result = depool.convert(path, out, skip=["pool5"])
    assert result.verdict.equal is True
    assert [node.op_type for node in onnx.load(out).graph.node].count("MaxPool") == 1


def test_nodes_out_of_order_are_no_conversion(tmp_path, monkeypatch):
    """Neither onnx.checker nor ONNX Runtime minds them; another reader of the file may."""
    put = depool.onnx.convert.put

    def last_first(made):
        put(made)
        nodes = next(iter(made.values()))[0].scope.container.node
        turned = list(nodes)[::-1]
        del nodes[:]
        nodes.extend(turned)

    monkeypatch.setattr(depool.onnx.convert, "put", last_first)
    path, out = tmp_path / "p.onnx", tmp_path / "o.onnx"
    onnx.save(pyramid((5,)), path)
    with pytest.raises(BrokenPromiseError, match="stands before what makes"):
        depool.convert(path, out)
    assert not out.exists()
