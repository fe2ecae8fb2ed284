"""depool.bench.compare: only what is right is timed, on inputs that fit; no time is asserted."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import depool
from depool.bench import compare
from depool.bench import compare as _package_function
from depool.bench.candidates import Converted, model_feeds, pool_cases
from depool.errors import FileError, NotConverted, NotEqual, UsageError
from depool.onnx import files
from depool.onnx.convert import Options, convert_model
from depool.onnx.find import Selection

ROOT = Path(__file__).resolve().parents[2]
QUICK = {"seconds": 0.01, "threads": (1,)}


@pytest.fixture(autouse=True)
def place(tmp_path, monkeypatch):
    shutil.copy(ROOT / "examples" / "digits.onnx", tmp_path)
    monkeypatch.chdir(tmp_path)


def save(nodes, inputs, outputs, path="m.onnx", weights=(), dtype=TensorProto.FLOAT):
    values = [[helper.make_tensor_value_info(n, dtype, d) for n, d in pairs.items()] for pairs in (inputs, outputs)]
    graph = helper.make_graph(nodes, "g", *values, list(weights))
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10), path)
    return path


def pool(source, output, **attributes):
    given = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "strides": [2, 2]} | attributes
    return helper.make_node("MaxPool", [source], [output], name=output, **given)


def tampered(model, word="depool", factor=0.5):
    tensor = next(t for t in model.graph.initializer if word in t.name)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[np.flatnonzero(array)[0]] *= factor
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    return model


def test_every_pool_and_the_model_are_timed():
    found = compare("digits.onnx", **QUICK | {"threads": (1, 2)})
    assert [p.where for p in found.pools] == [("node_max_pool2d",), ("node_max_pool2d_1",)]
    for timed in (*found.pools, found.whole):
        assert [(row.candidate, row.threads) for row in timed.rows] == [
            ("native", 1), ("converted", 1), ("native", 2), ("converted", 2),
        ]  # fmt: skip
        assert [row.ratio is None for row in timed.rows] == [True, False, True, False]
        assert all(0 < row.seconds.low <= row.seconds.median <= row.seconds.high for row in timed.rows)
        assert not timed.untimed
    assert found.whole.inputs == {"image": (1, 1, 8, 8)}
    assert 0 < found.whole.differences["converted"] < 1e-5
    assert found.pools[0].sizes == (8, 8)
    assert not found.pools[0].nominal
    assert found.machine.onnxruntime


def test_every_scheme_is_compared_on_request():
    found = compare("digits.onnx", schemes=True, **QUICK)
    names = ["native", "converted", "tree", "separable", "horner", "shallow"]
    assert [row.candidate for row in found.pools[1].rows] == names
    assert [row.candidate for row in found.whole.rows] == names
    assert found.pools[1].how["shallow"].scheme == "shallow"


def test_what_a_scheme_refuses_is_noted_and_the_others_are_timed():
    found = compare("digits.onnx", schemes=True, exact=True, **QUICK)
    assert [row.candidate for row in found.pools[0].rows] == ["native", "converted", "tree", "separable", "horner"]
    assert [note.split(":")[:2] for note in found.notes] == [["shallow", " SHALLOW_NOT_EXACT"]] * 2


def test_a_wrong_conversion_is_not_timed(monkeypatch):
    def wrong(source, options):
        made = convert_model(source, options)
        return replace(made, model=tampered(made.model))

    monkeypatch.setattr("depool.bench.comparison.convert_model", wrong)
    with pytest.raises(NotEqual, match=r"node_max_pool2d\w*: not timed: converted is .* off the native pool"):
        compare("digits.onnx", **QUICK)


def test_a_border_that_is_wrong_for_signed_inputs_is_not_timed(monkeypatch):
    def wrong(source, options):
        return convert_model(source, replace(options, selection=Selection(nonnegative=True)))

    save([pool("x", "y")], {"x": [1, 8, 9, 9]}, {"y": None})
    monkeypatch.setattr("depool.bench.comparison.convert_model", wrong)
    assert compare("m.onnx", **QUICK).pools[0].facts.lower == 0  # declared, so its input is drawn >= 0

    def lying(source, options):
        made = wrong(source, options)
        signed = convert_model(source, options).records
        return replace(made, records=signed)

    monkeypatch.setattr("depool.bench.comparison.convert_model", lying)
    with pytest.raises(NotEqual, match="not timed"):
        compare("m.onnx", **QUICK)


def test_a_given_file_is_verified_first():
    depool.convert("digits.onnx", "good.onnx")
    assert len(compare("digits.onnx", "good.onnx", **QUICK).pools) == 2
    onnx.save(tampered(onnx.load("good.onnx")), "pool.onnx")
    with pytest.raises(NotEqual, match=r"pool.onnx: not timed"):
        compare("digits.onnx", "pool.onnx", **QUICK)
    onnx.save(tampered(onnx.load("good.onnx"), word=""), "elsewhere.onnx")
    with pytest.raises(NotEqual, match=r"elsewhere.onnx: not timed"):
        compare("digits.onnx", "elsewhere.onnx", **QUICK)


def test_files_without_records_are_compared_as_whole_models():
    model = onnx.load("digits.onnx")
    model.producer_name = "another"
    onnx.save(model, "same.onnx")
    found = compare("digits.onnx", "same.onnx", **QUICK)
    assert found.pools == ()
    assert len(found.whole.rows) == 2
    onnx.save(tampered(model, word="", factor=3), "other.onnx")
    with pytest.raises(NotEqual, match=r"other.onnx: not timed: output .* differs"):
        compare("digits.onnx", "other.onnx", **QUICK)


def test_an_undecided_comparison_is_noted():
    depool.convert("digits.onnx", "declared.onnx", input_range=(0.0, 1.0))
    assert compare("digits.onnx", "declared.onnx", input_range=(0.0, 1.0), **QUICK).notes == ()
    found = compare("digits.onnx", "declared.onnx", input_range=(5.0, 6.0), **QUICK)
    assert found.notes[0].startswith("whether the two models are equal is undecided: ")
    assert found.pools[0].rows


def test_pools_that_are_alike_are_timed_once():
    relus = [helper.make_node("Relu", ["x"], [name], name=name) for name in ("r", "s")]
    nodes = [pool("x", "a"), *relus, pool("r", "b"), pool("x", "c"), pool("s", "d"), pool("x", "e", strides=[1, 1])]
    save(nodes, {"x": [1, 4, 9, 9]}, dict.fromkeys("abcde"))
    found = compare("m.onnx", **QUICK)
    assert [p.where for p in found.pools] == [("a", "c"), ("b", "d"), ("e",)]


def test_pools_in_branches_are_timed():
    inner = [
        helper.make_graph([pool("x", name)], name, [], [helper.make_tensor_value_info(name, TensorProto.FLOAT, None)])
        for name in ("a", "b")
    ]
    save([helper.make_node("If", ["c"], ["y"], name="if", then_branch=inner[0], else_branch=inner[1])],
         {"x": [2, 4, 9, 9]}, {"y": None})  # fmt: skip
    model = onnx.load("m.onnx")
    model.graph.input.append(helper.make_tensor_value_info("c", TensorProto.BOOL, []))
    onnx.save(model, "m.onnx")
    found = compare("m.onnx", **QUICK)
    assert [p.where for p in found.pools] == [("if/else_branch/b", "if/then_branch/a")]
    assert (found.pools[0].batch, len(found.pools[0].rows), len(found.whole.rows)) == (2, 2, 2)


def test_inputs_are_drawn_inside_the_facts():
    nodes = [helper.make_node("Relu", ["x"], ["r"]), pool("r", "a"), pool("x", "b")]
    save(nodes, {"x": ["N", 4, 9, 9]}, {"a": None, "b": None})
    source = files.read("m.onnx")
    made = convert_model(source, Options())
    feeds = model_feeds(source.model, {"x": (3, 4, 9, 9)}, {}, seed=0)
    cases = list(
        pool_cases(source, [Converted.of("converted", replace(source, model=made.model), made.records)], feeds, 0)
    )
    least = {case.where: min(x.min() for x in case.feeds.values()) for case in cases}
    assert least["a",] >= 0
    assert least["b",] < -1
    assert [x.shape for case in cases for x in case.feeds.values()] == [(3, 4, 9, 9)] * 2
    assert feeds["x"].min() < -1


def test_open_sizes_are_chosen_and_said_so():
    nodes = [helper.make_node("Relu", ["x"], ["r"]), pool("r", "y")]
    save(nodes, {"x": ["N", 3, "H", "W"]}, {"y": None})
    found = compare("m.onnx", **QUICK)
    assert found.whole.inputs == {"x": (1, 3, 224, 224)}
    assert found.whole.nominal == ("x",)
    assert (found.pools[0].sizes, found.pools[0].nominal) == ((224, 224), True)
    fixed = compare("m.onnx", shapes={"x": (2, 3, 40, 30)}, **QUICK)
    assert fixed.whole.inputs == {"x": (2, 3, 40, 30)}
    assert (fixed.whole.nominal, fixed.pools[0].nominal) == ((), False)
    assert (fixed.pools[0].batch, fixed.pools[0].sizes) == (2, (40, 30))


def test_a_model_that_does_not_run_at_the_chosen_sizes_says_so():
    shape = numpy_helper.from_array(np.array([1, 27]), "shape")
    nodes = [helper.make_node("Reshape", ["x", "shape"], ["f"]), pool("x", "y")]
    save(nodes, {"x": ["N", 3, "H", "W"]}, {"y": None, "f": None}, weights=[shape])
    found = compare("m.onnx", **QUICK)
    assert found.whole.untimed.startswith("ONNX Runtime: ")
    assert found.whole.untimed.endswith("; give --shape")
    assert found.pools[0].rows
    assert compare("m.onnx", shapes={"x": (1, 3, 3, 3)}, **QUICK).whole.rows


def test_a_type_that_the_runtime_does_not_compute_is_not_timed():
    save([pool("x", "y")], {"x": [1, 2, 6, 6]}, {"y": None}, dtype=TensorProto.DOUBLE)
    found = compare("m.onnx", **QUICK)
    assert found.pools[0].rows == found.whole.rows == ()
    assert "ONNX Runtime" in found.pools[0].untimed


@pytest.mark.parametrize("dtype", [TensorProto.INT8, TensorProto.FLOAT16])
def test_other_types_are_timed(dtype):
    save([pool("x", "y")], {"x": [1, 2, 6, 6]}, {"y": None}, dtype=dtype)
    assert compare("m.onnx", **QUICK).pools[0].rows


def test_external_data_is_found():
    model = onnx.load("digits.onnx")
    onnx.save(model, "big.onnx", save_as_external_data=True, size_threshold=100, location="big.bin")
    assert compare("big.onnx", **QUICK).whole.rows


def test_refused_pools_are_reported_and_the_others_timed():
    nodes = [helper.make_node("GlobalMaxPool", ["x"], ["g"], name="global"), pool("x", "y")]
    save(nodes, {"x": [1, 3, "H", "W"]}, {"y": None, "g": None})
    found = compare("m.onnx", **QUICK)
    assert [refusal.code for refusal in found.refused] == ["DYNAMIC_GLOBAL"]
    assert [p.where for p in found.pools] == [("y",)]
    with pytest.raises(NotConverted):
        compare("m.onnx", only=["global"], **QUICK)


@pytest.mark.parametrize(
    ("given", "error", "text"),
    [
        ({"seconds": 0}, UsageError, "seconds must be a positive number"),
        ({"seconds": float("nan")}, UsageError, "seconds must be a positive number"),
        ({"threads": [0]}, UsageError, "threads must be positive"),
        ({"seed": -1}, UsageError, "seed must not be negative"),
        ({"shapes": {"image": (1, 1, 0, 8)}}, UsageError, "must be positive numbers"),
        ({"converted": "digits.onnx", "exact": True}, UsageError, "beside CONVERTED"),
        ({"converted": "digits.onnx", "schemes": True}, UsageError, "beside CONVERTED"),
        ({"converted": "digits.onnx", "only": ["a"]}, UsageError, "beside CONVERTED"),
        ({"converted": "m.keras"}, UsageError, r"m\.keras: bench times ONNX files"),
        ({"converted": "nowhere.onnx"}, FileError, "no such file"),
    ],
)
def test_bad_arguments(given, error, text):
    with pytest.raises(error, match=text):
        compare("digits.onnx", **QUICK | given)


def test_a_model_without_pools_is_an_error():
    save([helper.make_node("Relu", ["x"], ["y"])], {"x": [1, 3, 4, 4]}, {"y": None})
    with pytest.raises(UsageError, match="has no pool to convert"):
        compare("m.onnx", **QUICK)


def test_it_is_reached_as_depool_bench():
    assert depool.bench.compare is _package_function
