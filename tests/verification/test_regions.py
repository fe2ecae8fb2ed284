"""Tampered convolutions are found, with a reason and a counterexample."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from verify_models import SIGNED, change, edited, found_out, graph, one, pair, run

import depool
from depool.onnx.records import KEY

# --- tampered regions ------------------------------------------------------------------------------------------------


KINDS = {
    "edge": (SIGNED, {}),
    "mask": ("[pool] y = MaxPool <kernel_shape = [2, 2], dilations = [2, 2], pads = [1, 1, 1, 1]>(x)", {}),
    "zero": ("r = Relu(x) [pool] y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(r)", {}),
    "none": ("[pool] y = MaxPool <kernel_shape = [3, 2], strides = [1, 2]>(x)", {"exact": True}),
    "concat": ("[pool] y = MaxPool <kernel_shape = [2, 2]>(x)", {"form": "concat"}),
    "chain": ("r = Relu(x) [pool] y = MaxPool <kernel_shape = [2, 2]>(r)", {"form": "sequential", "channels": "dense"}),
}


WRONG = [
    ("edge", 0.0),
    ("edge", 1.001),
    ("mask", -1.0),
    ("zero", 1.001),
    ("none", 0.0),
    ("concat", -1.0),
    ("concat", 1.001),
    ("chain", 1.001),
]


@pytest.mark.parametrize(("kind", "factor"), WRONG)
def test_each_weight_matters(kind, factor, tmp_path):
    """One entry of each weight and bias in turn: its sign changed, dropped, or 0.1 % too large."""
    text, options = KINDS[kind]
    before, after = pair(tmp_path, graph(text), **options)
    made = onnx.load(after)
    assert kind in {"concat", "chain"} or json.loads(metadata(made)[KEY])[0]["border"] == kind
    names = [tensor.name for tensor in made.graph.initializer if "depool" in tensor.name]
    assert len(names) >= 3
    for name in names:
        if not numpy_helper.to_array(next(t for t in made.graph.initializer if t.name == name)).any():
            continue  # the mask's weight of 0: only its bias counts

        def edit(model, name=name):
            change(next(t for t in model.graph.initializer if t.name == name), one(factor))

        verdict = found_out(depool.verify(before, edited(after, edit), end_to_end=False))
        assert "1 of 1 pools break their promise; pool: differs by" in verdict.summary, name


def metadata(model):
    return {entry.key: entry.value for entry in model.metadata_props}


def replaced(op_type, **attributes):
    """One node in place of a region, the records kept."""

    def edit(model):
        del model.graph.node[:]
        model.graph.node.append(helper.make_node(op_type, ["x"], ["y"], **attributes))

    return edit


@pytest.mark.parametrize("op_type", ["AveragePool", "MaxPool", "LpPool"])
def test_a_region_replaced_by_another_pool(op_type, tmp_path):
    """Even by the very pool: its replacement may hold no pools."""
    before, after = pair(tmp_path, graph(SIGNED))
    edit = replaced(op_type, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    verdict = found_out(depool.verify(before, edited(after, edit)))
    assert f"its replacement contains {op_type}" in verdict.summary


def test_a_region_replaced_by_an_average_in_disguise(tmp_path):
    """A convolution is allowed there, but this one computes the mean."""
    before, after = pair(tmp_path, graph("[pool] y = MaxPool <kernel_shape = [2, 2]>(x)"))

    def edit(model):
        replaced("Conv", kernel_shape=[2, 2], group=2)(model)
        model.graph.node[0].input.append("mean")
        model.graph.initializer.append(numpy_helper.from_array(np.full((2, 1, 2, 2), 0.25, np.float32), "mean"))

    assert "differs by" in found_out(depool.verify(before, edited(after, edit))).summary


def test_a_result_of_another_shape(tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))

    def edit(model):
        for attribute in model.graph.node[-1].attribute:
            assert attribute
        last = next(node for node in model.graph.node if node.output[0] == "y")
        last.output[0] = "whole"
        model.graph.node.append(helper.make_node("Conv", ["whole", "two"], ["y"], group=2))
        model.graph.initializer.append(numpy_helper.from_array(np.ones((2, 1, 2, 1), np.float32), "two"))

    verdict = found_out(depool.verify(before, edited(after, edit), end_to_end=False))
    assert "its shape is [2, 2, 5, 6], not [2, 2, 6, 6]" in verdict.summary


def test_a_region_that_reads_something_else(tmp_path):
    before, after = pair(tmp_path, graph(f"a = Neg(x) {SIGNED}", y="float[n,c,h,w] y, float[n,c,h,w] a"))

    def edit(model):
        node = next(n for n in model.graph.node if n.op_type == "Add")
        node.input[0] = "a"

    verdict = found_out(depool.verify(before, edited(after, edit)))
    assert "differs by" in verdict.summary or "depends on" in verdict.summary or "contains Neg" in verdict.summary


def test_a_wrong_weight_in_the_second_of_two_pools_is_blamed_on_that_pool(tmp_path):
    text = "[one] p = MaxPool <kernel_shape = [2, 2]>(x) [two] y = MaxPool <kernel_shape = [2, 2]>(p)"
    before, after = pair(tmp_path, graph(text))

    def edit(model):
        change(next(t for t in model.graph.initializer if t.name.startswith("two/")), one(-1))

    verdict = found_out(depool.verify(before, edited(after, edit)))
    assert [(check.where, check.equal) for check in verdict.pools] == [("one", True), ("two", False)]
    assert "1 of 2 pools break their promise; two: " in verdict.summary


def test_not_a_number_is_not_equal(tmp_path):
    before, after = pair(tmp_path, graph("[pool] y = MaxPool <kernel_shape = [2, 2]>(x)"))
    tampered = edited(after, lambda model: change(model.graph.initializer[0], one(np.nan)))
    assert "differs by nan" in found_out(depool.verify(before, tampered)).summary


def test_double_precision_that_is_wrong_raises_no_warning(tmp_path):
    text = "[pool] y = MaxPool <kernel_shape = [2, 2]>(x)"
    before, after = pair(tmp_path, graph(text, x="double[1,2,6,6]", y="double[1,2,h,w] y"), exact=True)

    def edit(model):
        change(model.graph.initializer[0], one(3.0))

    found_out(depool.verify(before, edited(after, edit)))


# --- counterexamples -------------------------------------------------------------------------------------------------


def test_a_counterexample_of_a_pool_shows_the_difference_again(tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))

    def edit(model):
        change(model.graph.initializer[-1], one(1.001))

    tampered = edited(after, edit)
    verdict = found_out(depool.verify(before, tampered, counterexample=tmp_path / "why.npz"))
    assert verdict.counterexample == tmp_path / "why.npz"
    with np.load(verdict.counterexample) as saved:
        x, expected, got, index = (saved[name] for name in ("x", "expected", "got", "index"))
        assert saved["pool"] == "pool"
    dynamic = [any_batch(path) for path in (before, tampered)]
    np.testing.assert_array_equal(run(dynamic[0], x), expected)
    np.testing.assert_allclose(run(dynamic[1], x), got, rtol=1e-6)
    (check,) = verdict.pools
    place = tuple(index)
    assert check.difference.index == place
    assert (expected[place], got[place]) == (check.difference.expected, check.difference.got)
    assert abs(float(expected[place]) - float(got[place])) > check.bound


def any_batch(path):
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]
    return model.SerializeToString()


def test_by_default_it_stands_beside_the_converted_model(tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))
    tampered = edited(after, lambda model: change(model.graph.initializer[0], one(-1)))
    assert depool.verify(before, tampered).counterexample == tmp_path / "tampered.counterexample.npz"
    assert (tmp_path / "tampered.counterexample.npz").exists()


def test_a_counterexample_of_whole_models_shows_the_difference_again(tmp_path):
    before, after = (tmp_path / name for name in ("a.onnx", "b.onnx"))
    before.write_bytes(graph("y = Relu(x)").SerializeToString())
    after.write_bytes(graph("y = LeakyRelu(x)").SerializeToString())
    verdict = found_out(depool.verify(before, after))
    with np.load(verdict.counterexample) as saved:
        x = saved["x"]
    apart = np.abs(run(before, x) - run(after, x)).max()
    assert apart == verdict.outputs[0].difference.max_abs > 0


def test_a_counterexample_in_bfloat16_can_be_read_again(tmp_path):
    """NumPy's files know no bfloat16."""
    head = '<ir_version: 10, opset_import: ["" : 22]>'
    text = "[pool] y = MaxPool <kernel_shape = [2, 2]>(x)"
    before, after = pair(tmp_path, graph(text, x="bfloat16[1,2,6,6]", y="bfloat16[1,2,h,w] y", head=head))
    tampered = edited(after, lambda model: change(model.graph.initializer[0], one(-1)))
    verdict = found_out(depool.verify(before, tampered))
    with np.load(verdict.counterexample) as saved:
        assert saved["x"].dtype == np.float32
        place = tuple(saved["index"])
        assert float(saved["expected"][place]) == verdict.pools[0].difference.expected
