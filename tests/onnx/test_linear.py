"""Work grows with the model and not faster: calls are counted, no time is taken."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, parser

import depool
from depool.bench import candidates, compare
from depool.onnx.bounds.values import Around
from depool.onnx.find import Selection, find
from depool.onnx.shapes import infer
from depool.onnx.site import PoolSite

CEIL = "MaxPool <kernel_shape = [1, 1], strides = [2, 2], ceil_mode = 1>"


def counted(monkeypatch, owner, name):
    """Calls of a function from now on."""
    calls = []
    function = getattr(owner, name)

    def count(*args, **kwargs):
        calls.append(args)
        return function(*args, **kwargs)

    monkeypatch.setattr(owner, name, count)
    return calls


def graph(nodes, x):
    return parser.parse_model(f'<ir_version: 8, opset_import: ["" : 13]> g ({x} x) => (float[n,c,h,w] y) {{ {nodes} }}')


def test_ceil_mode_pools_side_by_side_are_corrected_together(monkeypatch):
    names = [f"p{i}" for i in range(30)]
    nodes = " ".join(f"{name} = {CEIL}(x)" for name in names)
    model = graph(f"{nodes} y = Concat <axis = 1>({', '.join(names)})", "float[1,2,8,8]")
    calls = counted(monkeypatch, onnx.shape_inference, "infer_shapes")
    assert infer(model)[""]["y"].dims == (1, 60, 4, 4)
    assert len(calls) == 2


WINDOWS = [(1, 2, 0), (2, 3, 0), (2, 3, 1), (3, 3, 1)]


@pytest.mark.parametrize("first", WINDOWS, ids=str)
@pytest.mark.parametrize("second", WINDOWS, ids=str)
def test_a_pool_behind_a_corrected_one_waits_for_its_size(first, second):
    def pool(kernel, stride, pad):
        return f"kernel_shape = {[kernel] * 2}, strides = {[stride] * 2}, pads = {[pad] * 4}, ceil_mode = 1"

    for size in (8, 9, 10, 11):
        nodes = f"p = MaxPool <{pool(*first)}>(x) q = Relu(p) y = MaxPool <{pool(*second)}>(q)"
        model = graph(nodes, f"float[1,2,{size},{size}]")
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        (computed,) = session.run(None, {"x": np.zeros((1, 2, size, size), np.float32)})
        assert infer(model)[""]["y"].dims == computed.shape


def branches(count):
    """Pools in the branches of so many Ifs, which read what is outside."""
    nodes, value = [helper.make_node("Relu", ["x"], ["r"], name="relu")], "r"
    for i in range(count):
        made = [helper.make_tensor_value_info(f"b{i}{tag}", TensorProto.FLOAT, [1, 2, 8, 8]) for tag in "te"]
        inner = [
            helper.make_graph(
                [helper.make_node("MaxPool", [value], [v.name], name=v.name, kernel_shape=[3, 3], pads=[1] * 4)],
                v.name, [], [v],
            )
            for v in made
        ]  # fmt: skip
        nodes.append(
            helper.make_node("If", ["c"], [f"i{i}"], name=f"if{i}", then_branch=inner[0], else_branch=inner[1])
        )
        value = f"i{i}"
    given = [("x", TensorProto.FLOAT, [1, 2, 8, 8]), ("c", TensorProto.BOOL, [])]
    inputs = [helper.make_tensor_value_info(*one) for one in given]
    whole = helper.make_graph(
        nodes, "g", inputs, [helper.make_tensor_value_info(value, TensorProto.FLOAT, [1, 2, 8, 8])]
    )
    return helper.make_model(whole, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def test_what_is_known_around_a_subgraph_is_not_copied_into_it(monkeypatch):
    def walked(_self):
        raise AssertionError("the bounds of all that is around were walked through")

    monkeypatch.setattr(Around, "__iter__", walked)
    sites = list(find(branches(3), Path(), Selection()))
    assert len(sites) == 6
    assert all(isinstance(site, PoolSite) and site.sizes == (8, 8) for site in sites)
    assert [site.facts.lower >= 0 for site in sites[:2]] == [True, True]  # the ReLU outside is seen


def test_pools_that_are_alike_are_planned_once_and_keep_their_reasons(tmp_path):
    nodes = "r = Relu(x) s = Abs(r) t = Neg(x) " + " ".join(
        f"p{i} = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>({source})" for i, source in enumerate("rsrtxt")
    )
    path = tmp_path / "m.onnx"
    onnx.save(graph(f"{nodes} y = Concat <axis = 1>(p0, p1, p2, p3, p4, p5)", "float[1,2,8,8]"), path)
    depool.ranking.ranked.cache_clear()
    made = depool.convert(path, verify=False)
    assert depool.ranking.ranked.cache_info()[:2] == (4, 2)  # >= 0 and signed, and all others known
    assert [r.reason.partition(": ")[2][:7] for r in made.records[:3]] == ["Relu 'r", "Abs 's'", "Relu 'r"]
    assert all("licence" not in r.reason for r in made.records)
    assert [r.reason for r in made.records] == [c.border.reason for c in made.conversions]


def test_a_conversion_reads_the_graph_as_often_with_more_pools(monkeypatch, tmp_path):
    read = []
    for count in (2, 9):
        path = tmp_path / f"{count}.onnx"
        nodes = " ".join(f"p{i} = MaxPool <kernel_shape = [{i + 2}, 2]>(x)" for i in range(count))
        onnx.save(
            graph(f"{nodes} y = Concat <axis = 2>({', '.join(f'p{i}' for i in range(count))})", "float[1,2,20,20]"),
            path,
        )
        with monkeypatch.context() as patch:
            calls = [
                counted(patch, __import__(f"depool.onnx.{name}", fromlist="x"), "scopes")
                for name in ("find", "ensures")
            ]
            calls.append(counted(patch, candidates, "scopes"))
            depool.convert(path, verify=False)
            compare(path, seconds=0.001, threads=(1,))
        read.append([len(one) for one in calls])
    assert read[0] == read[1]
