"""Verify: what is tampered with is found, with a reason and a counterexample; what cannot be known is not claimed."""

import json
import math
import re

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import depool
from depool.errors import Exit, FileError, UsageError
from depool.onnx.records import GIVEN_KEY, KEY

HEAD = '<ir_version: 8, opset_import: ["" : 13]>'
X6 = "float[1,2,6,6]"
SIGNED = "[pool] y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)"


def graph(nodes, x=X6, y="float[n,c,h,w] y", head=HEAD, weights=""):
    return parser.parse_model(f"{head} g ({x} x) => ({y}) {f'<{weights}>' if weights else ''} {{ {nodes} }}")


def pair(folder, model, **options):
    """The paths of a model and of what it was converted to."""
    before, after = folder / "m.onnx", folder / "o.onnx"
    before.write_bytes(model.SerializeToString())
    depool.convert(before, after, force=True, verify=False, **options)
    return before, after


def edited(path, edit):
    """The model at `path` after `edit`, at another path."""
    model = onnx.load(path)
    edit(model)
    other = path.with_name("tampered.onnx")
    other.write_bytes(model.SerializeToString())
    return other


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]


def change(tensor, edit):
    """Set a weight's array to what `edit` makes of it."""
    array = numpy_helper.to_array(tensor).copy()
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(edit(array), array.dtype), tensor.name))


def one(factor, place=0):
    """Multiplies one entry that is not 0."""

    def edit(array):
        array.flat[np.flatnonzero(array)[place]] *= factor
        return array

    return edit


def found_out(verdict):
    """Not equal, with the exit code and one line of reason."""
    assert verdict.equal is False
    assert verdict.exit_code == Exit.NOT_EQUAL == 1
    assert verdict.summary
    assert "\n" not in verdict.summary
    return verdict


# --- what holds -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
def test_an_honest_conversion(exact, tmp_path):
    verdict = depool.verify(*pair(tmp_path, graph(SIGNED), exact=exact))
    assert verdict.equal is True
    assert verdict.exit_code == Exit.DONE == 0
    assert verdict.summary == "equal: 1 pool keeps its promise, and nothing else was changed"
    assert verdict.counterexample is None
    (check,) = verdict.pools
    assert check.equal
    assert check.windows > 10 * 72
    assert check.difference.max_abs == 0 if exact else check.difference.max_abs > 0
    (output,) = verdict.outputs
    assert output.name == "y"
    assert output.noticed is True
    assert output.within is None
    assert not list(tmp_path.glob("*.npz"))


def test_pools_are_checked_without_the_whole_model_too(tmp_path):
    verdict = depool.verify(*pair(tmp_path, graph(SIGNED)), end_to_end=False)
    assert verdict.equal is True
    assert verdict.outputs == ()


def test_every_seed_agrees(tmp_path):
    paths = pair(tmp_path, graph(SIGNED))
    assert {depool.verify(*paths, seed=seed).equal for seed in range(5)} == {True}
    assert depool.verify(*paths, seed=3) == depool.verify(*paths, seed=3)


# --- tampered regions -----------------------------------------------------------------------------------------------

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


# --- counterexamples ------------------------------------------------------------------------------------------------


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


# --- elsewhere in the model -----------------------------------------------------------------------------------------

AROUND = f"a = Mul(x, k) {SIGNED.replace('(x)', '(a)').replace('y =', 'p =')} y = Sub(p, k)"


def test_a_weight_changed_elsewhere(tmp_path):
    before, after = pair(tmp_path, graph(AROUND, weights="float[1] k = {1.5}"))
    assert depool.verify(before, after).equal is True

    def edit(model):
        change(next(t for t in model.graph.initializer if t.name == "k"), lambda array: array * 1.01)

    verdict = found_out(depool.verify(before, edited(after, edit)))
    assert "the smallest tolerance that would pass is" in verdict.summary
    assert any("weight k changed" in note for note in verdict.notes)
    assert all(check.equal for check in verdict.pools)


def test_a_node_changed_elsewhere(tmp_path):
    before, after = pair(tmp_path, graph(AROUND, weights="float[1] k = {1.5}"))

    def edit(model):
        model.graph.node[-1].op_type = "Add"

    verdict = found_out(depool.verify(before, edited(after, edit)))
    assert any("changed" in note for note in verdict.notes)


def test_a_harmless_change_elsewhere_is_measured_and_nothing_is_promised(tmp_path):
    before, after = pair(tmp_path, graph(AROUND, weights="float[1] k = {1.5}"))

    def edit(model):
        model.graph.node.append(helper.make_node("Neg", ["y"], ["unused"]))

    tampered = edited(after, edit)
    verdict = depool.verify(before, tampered)
    assert verdict.equal is True
    assert "nothing is promised" in verdict.summary
    assert any("1 Neg added" in note for note in verdict.notes)
    undecided = depool.verify(before, tampered, end_to_end=False)
    assert undecided.equal is None
    assert undecided.exit_code == Exit.INCONCLUSIVE == 4


def test_an_interface_that_changed(tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))

    def edit(model):
        model.graph.output[0].name = model.graph.node[-1].output[0] = "z"

    verdict = depool.verify(before, edited(after, edit))
    assert verdict.equal is not True


# --- tampered records -----------------------------------------------------------------------------------------------


def rewritten(path, edit, key=KEY):
    """The model with its records after `edit`, which changes them or returns other text."""

    def inside(model):
        entry = next(entry for entry in model.metadata_props if entry.key == key)
        records = json.loads(entry.value)
        text = edit(records)
        entry.value = text if isinstance(text, str) else json.dumps(records)

    return edited(path, inside)


LIES = {
    "a lower bound": (lambda record: record["facts"].update(lower=0.0), "which nothing licenses"),
    "an upper bound": (lambda record: record["facts"].update(upper=1.0), "which nothing licenses"),
    "a ReLU after it": (lambda record: record["facts"].update(relu_follows=True), "only ReLUs read it"),
    "another kernel": (lambda record: record["spec"].update(kernel_shape=[3, 1]), "geometry is not the original's"),
    "other sizes": (lambda record: record.update(sizes=[None, None]), "geometry is not the original's"),
    "other channels": (lambda record: record.update(channels=1), "geometry is not the original's"),
    "another source": (lambda record: record.update(source="q"), "geometry is not the original's"),
    "another output": (lambda record: record.update(output="q"), "the original has no such pool"),
    "another scope": (lambda record: record.update(scope="if/then_branch/"), "if/then_branch/ is missing"),
    "another operator": (lambda record: record.update(op_type="AveragePool"), "operator AveragePool"),
    "another gate": (lambda record: record.update(gate="K"), ""),
    "another border": (lambda record: record.update(border="zero"), "recorded promise"),
    "more rounding": (
        lambda record: record["rounding"]["steps"].append({"ulps": 9, "sums": [], "growth": 1.0}),
        "recorded promise",
    ),
    "a larger constant": (lambda record: record["rounding"].update(magnitude=1e6), "recorded promise"),
    "a smaller range": (lambda record: record["rounding"].update(heaviest=1e30), "recorded promise"),
    "products": (lambda record: record["rounding"].update(products=1000), "recorded promise"),
    "an unknown scheme": (lambda record: record.update(scheme="magic"), "unknown scheme 'magic'"),
}


@pytest.mark.parametrize("name", LIES)
def test_a_record_that_lies(name, tmp_path):
    """The convolutions are right, but not for the reason that is recorded."""
    edit, reason = LIES[name]
    before, after = pair(tmp_path, graph(SIGNED))
    verdict = depool.verify(before, rewritten(after, lambda records: edit(records[0])))
    if name == "another gate":
        assert verdict.exit_code in {Exit.DONE, Exit.NOT_EQUAL}
        return
    assert reason in found_out(verdict).summary


def test_a_false_bound_together_with_the_cheaper_border_it_would_license(tmp_path):
    """Zeros at the border are wrong for negative input, and metadata cannot make them right."""
    before, after = pair(tmp_path, graph(SIGNED), assume_nonnegative=True)

    def edit(records):
        records[0]["facts"].update(declared=False)

    honest = depool.verify(before, after)
    assert honest.equal is None
    assert "outside what was declared" in honest.summary
    verdict = found_out(depool.verify(before, rewritten(after, edit)))
    assert "which the analysis had excluded" in verdict.summary
    verdict = found_out(depool.verify(before, rewritten(rewritten(after, edit), nothing_given, GIVEN_KEY)))
    assert "which nothing licenses" in verdict.summary


def nothing_given(given):
    given.update(ranges=[], nonnegative=False)


def test_a_declaration_taken_away(tmp_path):
    before, after = pair(tmp_path, graph(SIGNED), input_range=(0.0, 1.0))
    assert depool.verify(before, after).equal is True
    verdict = depool.verify(before, rewritten(after, nothing_given, GIVEN_KEY))
    assert verdict.equal is not True or any("broken assumption" in note for note in verdict.notes)


@pytest.mark.parametrize("tolerance", [1e-5, 0.0])
def test_a_record_taken_away(tolerance, tmp_path):
    """What is not recorded counts as a change, and is only measured."""
    text = "[one] p = MaxPool <kernel_shape = [2, 2]>(x) [two] y = MaxPool <kernel_shape = [2, 2]>(p)"
    before, after = pair(tmp_path, graph(text))
    tampered = rewritten(after, lambda records: records.pop() and None)
    verdict = depool.verify(before, tampered, tolerance=tolerance)
    assert [check.where for check in verdict.pools] == ["one"]
    assert any("node two changed" in note for note in verdict.notes)
    assert verdict.equal is (tolerance > 0)
    assert "promise, and nothing else was changed" not in verdict.summary


def test_all_records_taken_away(tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))
    verdict = depool.verify(before, rewritten(after, lambda records: records.clear()))
    assert verdict.pools == ()
    assert verdict.equal is True
    assert verdict.summary == "equal within 1e-05 as measured end to end; nothing is promised"


DAMAGE = {
    "no JSON": lambda records: "{",  # noqa: ARG005
    "no list": lambda records: "5",  # noqa: ARG005
    "no records": lambda records: "[1]",  # noqa: ARG005
    "too deep": lambda records: "[" * 100_000,  # noqa: ARG005
    "a field missing": lambda records: records[0].pop("facts") and None,
    "a field too many": lambda records: records[0].update(more=1),
    "no kernel": lambda records: records[0]["spec"].update(kernel_shape=[]),
    "an unknown type": lambda records: records[0].update(dtype="float8"),
    "a type that is none": lambda records: records[0].update(dtype="int32"),
    "a bound in words": lambda records: records[0]["facts"].update(lower="low"),
    "a name that is none": lambda records: records[0].update(scope=[1]),
    "rounding in words": lambda records: records[0]["rounding"].update(steps=[{"ulps": "a", "sums": [], "growth": 1}]),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damaged_records(name, tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))
    with pytest.raises(FileError, match="metadata are damaged") as caught:
        depool.verify(before, rewritten(after, DAMAGE[name]))
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == Exit.FILE


@pytest.mark.parametrize("text", ["{", "5", "[]", "{}", '{"ranges": 5}'])
def test_damaged_declarations(text, tmp_path):
    before, after = pair(tmp_path, graph(SIGNED))
    with pytest.raises(FileError, match="metadata are damaged"):
        depool.verify(before, rewritten(after, lambda given: text, GIVEN_KEY))  # noqa: ARG005


# --- the user's own data --------------------------------------------------------------------------------------------


@pytest.fixture
def converted(tmp_path):
    return pair(tmp_path, graph(SIGNED))


def saved(folder, **arrays):
    np.savez(folder / "data.npz", **arrays)
    return folder / "data.npz"


X = np.random.default_rng(5).normal(size=(1, 2, 6, 6)).astype(np.float32) * 100


def test_given_data_are_run_besides_the_drawn(converted, tmp_path):
    verdict = depool.verify(*converted, data=saved(tmp_path, x=X, more=np.zeros(3)))
    assert verdict.equal
    assert verdict.outputs[0].kind == "given data"
    assert depool.verify(*converted, data=saved(tmp_path, x=X.astype(np.float64))).equal


@pytest.mark.parametrize(
    ("arrays", "error", "words"),
    [
        ({"z": X}, UsageError, "has no array 'x'; it has z"),
        ({}, UsageError, "has no array 'x'; it has none"),
        ({"x": X[:, :1]}, UsageError, "'x' has shape [1, 1, 6, 6]; the model takes [1, 2, 6, 6]"),
        ({"x": X[0]}, UsageError, "'x' has shape [2, 6, 6]"),
        ({"x": np.full(X.shape, "a")}, UsageError, "'x' has elements"),
        ({"x": np.full(X.shape, {}, object)}, FileError, "cannot be read as .npz"),
    ],
)
def test_given_data_that_do_not_fit(arrays, error, words, converted, tmp_path):
    with pytest.raises(error, match=re.escape(words)) as caught:
        depool.verify(*converted, data=saved(tmp_path, **arrays))
    assert "\n" not in str(caught.value)


def npz(folder):
    return saved(folder, x=X).read_bytes()


BROKEN_FILES = {
    "empty": lambda folder: b"",  # noqa: ARG005
    "text": lambda folder: b"x = 1\n",  # noqa: ARG005
    "half": lambda folder: npz(folder)[:300],
    "flipped": lambda folder: npz(folder)[:200] + b"\xff" + npz(folder)[201:],
    "npy": lambda folder: np.save(folder / "x.npy", X) or (folder / "x.npy").read_bytes(),
    "zip": lambda folder: b"PK\5\6" + bytes(18),  # noqa: ARG005
}


@pytest.mark.parametrize("name", BROKEN_FILES)
def test_given_data_that_are_no_npz(name, converted, tmp_path):
    data = BROKEN_FILES[name](tmp_path)
    (tmp_path / "data.npz").write_bytes(data)
    with pytest.raises((FileError, UsageError), match=r"data\.npz") as caught:
        depool.verify(*converted, data=tmp_path / "data.npz")
    assert "\n" not in str(caught.value)


def test_given_data_that_are_missing(converted, tmp_path):
    with pytest.raises(FileError, match=r"data\.npz: cannot be read"):
        depool.verify(*converted, data=tmp_path / "data.npz")
    (tmp_path / "o.onnx").unlink()
    with pytest.raises(FileError, match=r"data\.npz: cannot be read"):
        depool.convert(*converted, data=tmp_path / "data.npz")
    assert not (tmp_path / "o.onnx").exists()


@pytest.mark.parametrize(
    "text", [SIGNED, SIGNED.replace("y =", "a = Identity(x) [p] y =").replace("[pool] ", "").replace("(x)", "(a)", 1)]
)
def test_data_outside_the_declared_range_break_an_assumption_not_the_conversion(text, tmp_path):
    before, after = pair(
        tmp_path,
        graph(
            SIGNED if text is SIGNED else "a = Mul(x, k) " + SIGNED.replace("(x)", "(a)"),
            weights="" if text is SIGNED else "float[1] k = {1.0}",
        ),
        input_range=(0.0, 1.0),
    )
    assert depool.verify(before, after).equal is True
    assert depool.verify(before, after, data=saved(tmp_path, x=np.abs(X) / 1000)).equal is True
    verdict = depool.verify(before, after, data=saved(tmp_path, x=X))
    assert verdict.equal is None
    assert "promises nothing there" in verdict.summary
    assert any("a broken assumption, not a wrong conversion" in note for note in verdict.notes)
    assert all(check.equal for check in verdict.pools)


# --- models without records -----------------------------------------------------------------------------------------


def plain(folder, *texts, x=X6):
    """Two models without metadata."""
    paths = [folder / f"{i}.onnx" for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(graph(text, x=x, weights="float[1] two = {2.0}, float[1] more = {2.0002}").SerializeToString())
    return paths


def test_models_without_records_are_compared_at_a_tolerance(tmp_path):
    paths = plain(tmp_path, "y = Mul(x, two)", "y = Mul(x, more)")
    verdict = found_out(depool.verify(*paths))
    smallest = float(re.search(r"smallest tolerance that would pass is (\S+)$", verdict.summary).group(1))
    assert 1e-5 < smallest < 2e-4
    assert verdict.outputs[0].difference.tolerance == pytest.approx(smallest, rel=0.01)
    above, below = (verdict.outputs[0].difference.tolerance * factor for factor in (1.0, 0.999))
    passing = depool.verify(*paths, tolerance=above)
    assert passing.equal is True
    assert "nothing is promised" in passing.summary
    assert passing.outputs[0].within is True
    assert depool.verify(*paths, tolerance=below).equal is False


def test_the_same_model_twice(tmp_path):
    first, second = plain(tmp_path, "y = Mul(x, two)", "y = Mul(x, two)")
    verdict = depool.verify(first, second, tolerance=0.0)
    assert verdict.equal is True
    assert verdict.outputs[0].difference.max_abs == 0
    assert verdict.pools == ()


def test_models_that_give_nan_in_different_places(tmp_path):
    verdict = found_out(
        depool.verify(*plain(tmp_path, "y = Relu(x)", "a = Log(x) b = Sub(a, a) r = Relu(x) y = Add(r, b)"))
    )
    assert math.isinf(verdict.outputs[0].difference.max_abs)


def test_a_second_model_that_fails_to_run(tmp_path):
    before, after = plain(tmp_path, "y = Relu(x)", "y = Relu(x)")
    model = onnx.load(after)
    model.graph.input[0].type.tensor_type.shape.dim[2].dim_value = 9
    model.graph.node[0].input[0] = "z"
    after.write_bytes(model.SerializeToString())
    verdict = depool.verify(before, after)
    assert verdict.equal is not True
    assert verdict.summary


def test_a_converted_model_whose_output_is_lost_in_infinities(tmp_path):
    """-inf from elsewhere meets the pool: the convolutions make NaN of it, whatever each pool promises by itself."""
    text = "n = Log(z) a = Add(x, n) [pool] y = MaxPool <kernel_shape = [2, 2]>(a)"
    before, after = pair(tmp_path, graph(text, weights="float[1,1,1,6] z = {1, 1, 0, 1, 1, 1}"))
    verdict = found_out(depool.verify(before, after))
    assert "'y' is no longer finite" in verdict.summary
    assert verdict.counterexample.exists()


# --- what the whole model can show ----------------------------------------------------------------------------------


def test_it_is_said_where_the_whole_model_does_not_show_its_pools(tmp_path):
    text = SIGNED.replace("y =", "p =") + " y = Mul(p, zero)"
    verdict = depool.verify(*pair(tmp_path, graph(text, weights="float[1] zero = {0.0}")))
    assert verdict.equal is True
    assert verdict.outputs[0].noticed is False
    assert any("average pools instead of the max pools would not be noticed at y" in note for note in verdict.notes)


def test_and_not_said_where_it_does(converted):
    verdict = depool.verify(*converted)
    assert verdict.outputs[0].noticed is True
    assert verdict.outputs[0].swapped > 0.1
    assert not verdict.notes


def test_an_output_that_does_not_pass_the_pool_is_blind(tmp_path):
    text = SIGNED + " z = Neg(x)"
    verdict = depool.verify(*pair(tmp_path, graph(text, y="float[n,c,h,w] y, float[n,c,h,w] z")))
    assert {check.name: check.noticed for check in verdict.outputs} == {"y": True, "z": False}
    assert any("would not be noticed at z:" in note for note in verdict.notes)


def test_a_scalar_output(tmp_path):
    text = SIGNED.replace("y =", "p =") + " y = ReduceSum <keepdims = 0>(p)"
    verdict = depool.verify(*pair(tmp_path, graph(text, y="float y")))
    assert verdict.equal is True
    assert verdict.outputs[0].difference.index == ()


def test_an_integer_input_before_the_image(tmp_path):
    model = parser.parse_model(f"{HEAD} g (int64[1] k, {X6} x) => (float[n,c,h,w] y) {{ {SIGNED.replace('y =', 'p =')}"
                               " f = Cast <to = 1>(k) y = Add(p, f) }")  # fmt: skip
    verdict = depool.verify(*pair(tmp_path, model))
    assert verdict.equal is True
    assert [check.name for check in verdict.outputs] == ["y"]


def test_dynamic_sizes_are_run_at_several(tmp_path):
    model = graph("[pool] y = MaxPool <kernel_shape = [3, 2], strides = [2, 1]>(x)", x="float[N,2,h,w]")
    before, after = pair(tmp_path, model)
    seen = []
    verdict = depool.verify(before, after, progress=lambda what, done, total: seen.append((what, done, total)))
    assert verdict.equal is True
    assert max(done for what, done, _ in seen if what == "end to end") >= 8
    assert not verdict.notes


def test_a_shape_that_only_works_at_one_size_can_be_given(tmp_path):
    text = "[pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]>(x) y = Add(p, w)"
    weights = f"float[1,2,3,3] w = {{{', '.join(['1.0'] * 18)}}}"
    before, after = pair(tmp_path, graph(text, x="float[N,2,h,w0]", weights=weights))
    lost = depool.verify(before, after)
    assert lost.outputs == ()
    assert any("give --shape or --data" in note for note in lost.notes)
    assert depool.verify(before, after, shapes={"x": (1, 2, 6, 6)}).outputs[0].name == "y"


def test_a_pool_that_no_runtime_here_can_run_is_not_called_equal(converted, monkeypatch):
    from depool.verification import pools
    from depool.verification.oracle import CannotRunError

    def unable(record, scope):  # noqa: ARG001
        raise CannotRunError("no runtime")

    monkeypatch.setattr(pools, "original_side", unable)
    verdict = depool.verify(*converted)
    assert verdict.equal is None
    assert verdict.exit_code == 4
    assert "pool could not be run: no runtime" in verdict.summary


def test_the_oracle_runs_without_optimisations_and_the_convolutions_with_both(converted, monkeypatch):
    """A runtime that breaks convolutions only when it optimises is found out; one that breaks pools is not asked."""
    honest, off = onnxruntime.InferenceSession, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    seen = []

    def session(model, options, **more):
        held = {node.op_type for node in onnx.load_from_string(model).graph.node}
        seen.append(("MaxPool" in held, options.graph_optimization_level == off))
        return honest(model, options, **more)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    (check,) = depool.verify(*converted, end_to_end=False).pools
    assert sorted(seen) == [(False, False), (False, True), (True, True)]
    assert check.oracle.startswith("ONNX Runtime, optimisations off against ")


def test_a_pad_of_zeros_on_negative_windows(tmp_path):
    """Some of ONNX Runtime's optimisers fold such a Pad into the pool, and are wrong there."""
    weights = "int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, float zero = {0.0}"
    text = "p = Pad(x, pads, zero) [pool] y = MaxPool <kernel_shape = [3, 3], strides = [2, 2]>(p)"
    before, after = pair(tmp_path, graph(text, weights=weights), exact=True)
    negative = saved(tmp_path, x=-np.abs(X) - 1)
    verdict = depool.verify(before, after, data=negative)
    assert verdict.equal is True
    assert verdict.outputs[0].difference.max_abs == 0


def test_nothing_is_left_in_the_temporary_folder(converted, tmp_path, monkeypatch):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setenv("TMPDIR", str(scratch))
    depool.verify(*converted)
    assert not list(scratch.iterdir())


def test_external_tensors_of_both_models(tmp_path):
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1, 2, 6, 6])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="w.bin")
    tensor.external_data.add(key="length", value="288")
    (tmp_path / "w.bin").write_bytes(X.tobytes())
    model = graph("a = Mul(x, w) " + SIGNED.replace("(x)", "(a)"))
    model.graph.initializer.append(tensor)
    verdict = depool.verify(*pair(tmp_path, model))
    assert verdict.equal is True
    assert verdict.outputs
