"""--fold: two convolutions as one by the law, only where that saves work, and never without a word or a check."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper, parser

import depool
from depool.errors import Exit, FileError, UsageError
from depool.geometry import Window
from depool.onnx import files
from depool.onnx.compose import Linear, composed
from depool.onnx.records import KEY
from depool.proof import ProofError, certify

ONE = "kernel_shape = [1,1], strides = [2,2]"
TWO = "kernel_shape = [2,2], strides = [2,2]"
X = "float[1,4,12,12]"


def graph(nodes, x=X, opset=13, ir=8, **weights):
    """A model; weights are given by shape and hold small integers, so that everything is exact."""
    rng = np.random.default_rng(0)
    head = f'<ir_version: {ir}, opset_import: ["" : {opset}]>'
    model = parser.parse_model(f"{head} g ({x} x) => (float[n,c,h,w] y) {{ {nodes} }}")
    for name, shape in weights.items():
        values = rng.integers(-3, 4, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(values, name))
    return model


def convert(folder, model, **options):
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    result = depool.convert(folder / "m.onnx", folder / "o.onnx", force=True, **({"fold": True} | options))
    return result, onnx.load(folder / "o.onnx")


def run(model, x):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def operators(model):
    return [node.op_type for node in model.graph.node]


# --- the law --------------------------------------------------------------------------------------------------------


def convolved(x, conv):
    """By definition, one product after the other."""
    n, window, out_maps = x.shape[0], conv.window, conv.weight.shape[0]
    padded = np.pad(x, ((0, 0), (0, 0), *window.pads))
    out = window.out_sizes(x.shape[2:])
    y = np.zeros((n, out_maps, *out))
    per = conv.weight.shape[1]
    for o in range(out_maps):
        first = o // (out_maps // conv.group) * per
        for index in np.ndindex(*conv.weight.shape[1:]):
            starts = [t * d for t, d in zip(index[1:], window.dilations, strict=True)]
            cut = [slice(b, b + (m - 1) * s + 1, s) for b, m, s in zip(starts, out, window.strides, strict=True)]
            y[:, o] += conv.weight[(o, *index)] * padded[(slice(None), first + index[0], *cut)]
        if conv.bias is not None:
            y[:, o] += conv.bias[o]
    return y


def drawn(rng, maps, per, group, rank, *, padded, point, bias):
    """A convolution with integer weights."""
    kernel = (1,) * rank if point else tuple(rng.integers(1, 4, rank))
    pads = tuple((int(b), int(e)) for b, e in rng.integers(0, 3, (rank, 2))) if padded else ((0, 0),) * rank
    window = Window(
        tuple(map(int, kernel)),
        tuple(map(int, rng.integers(1, 4, rank))),
        tuple(map(int, rng.integers(1, 4, rank))),
        pads,
    )
    weight = rng.integers(-4, 5, (maps, per, *kernel)).astype(np.float64)
    return Linear(weight, rng.integers(-4, 5, maps).astype(np.float64) if bias else None, group, window)


KINDS = {  # (first padded, a point, has a bias), (second padded)
    "valid behind anything": ((True, False, True), False),
    "padded behind a point": ((False, True, False), True),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("groups", [(6, 1), (6, 3), (6, 6), (1, 6), (3, 6)])  # of the first and the second
@pytest.mark.parametrize("seed", range(6))
def test_two_convolutions_are_one_for_every_geometry(kind, groups, seed):
    rng = np.random.default_rng([seed, *groups])
    (padded, point, bias), behind = KINDS[kind]
    rank = 1 + seed % 3
    maps, per = int(rng.integers(1, 4)), int(rng.integers(1, 3))
    out = 6 if groups[1] == 6 and groups[0] < 6 else maps * groups[1]
    first = drawn(rng, 6, per, groups[0], rank, padded=padded, point=point, bias=bias)
    second = drawn(rng, out, 6 // groups[1], groups[1], rank, padded=behind, point=False, bias=bool(seed % 2))
    both = composed(first, second)
    assert both is not None
    for size in (19, 20, 23) if rank == 1 else (19, 22):
        x = rng.integers(-9, 10, (1, per * groups[0], *(size,) * rank)).astype(np.float64)
        expected = convolved(convolved(x, first), second)
        assert np.array_equal(convolved(x, both), expected)
        assert np.abs(expected).max() > 0


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ({"bias": True, "point": True}, {"padded": True}),  # the bias would be missing in the border
        ({"point": False}, {"padded": True}),  # and so would what the first makes there
        ({"padded": True, "point": True}, {"padded": True}),
        ({"group": 2}, {}),  # neither is depthwise
    ],
)
def test_where_the_law_does_not_hold_nothing_is_composed(first, second):
    rng = np.random.default_rng(1)
    plain = {"maps": 4, "per": 1, "group": 4, "rank": 2, "padded": False, "point": False, "bias": False}
    more = {"per": 2} if "group" in first else {}
    one = drawn(rng, **(plain | more | first))
    two = drawn(rng, **(plain | {"maps": 8, "per": 4, "group": 1} | second))
    if second.get("padded"):
        assert two.window.padded
    if first.get("padded"):
        assert one.window.padded
    if "point" in first and not first["point"]:
        assert max(one.window.kernel_shape) > 1
    assert composed(one, two) is None


# --- models ---------------------------------------------------------------------------------------------------------

POOL1 = f"[pool] p = MaxPool <{ONE}>(x)"
POOL2 = f"[pool] p = MaxPool <{TWO}>(x)"
AVERAGE2 = f"[pool] y = AveragePool <{TWO}>(p)"
FOLDED = {
    "one element": (f"{POOL1} y = Conv(p, w, b)", {"w": (8, 4, 3, 3), "b": (8,)}, {}, 1),
    "padded": (f"{POOL1} y = Conv <pads = [1,0,2,1]>(p, w, b)", {"w": (8, 4, 3, 3), "b": (8,)}, {}, 1),
    "strided": (f"{POOL1} y = Conv <strides = [2,1], pads = [1,1,1,1]>(p, w)", {"w": (8, 4, 3, 3)}, {}, 1),
    "dilated": (f"{POOL1} y = Conv <dilations = [2,1]>(p, w)", {"w": (8, 4, 3, 3)}, {}, 1),
    "grouped": (f"{POOL1} y = Conv <group = 2>(p, w)", {"w": (6, 2, 2, 2)}, {}, 1),
    "before": (f"p = Conv <pads = [1,0,1,2]>(x, w, b) y = MaxPool <{ONE}>(p)", {"w": (8, 4, 3, 3), "b": (8,)}, {}, 1),
    "before, strided": (f"p = Conv <strides = [2,1]>(x, w) y = MaxPool <{ONE}>(p)", {"w": (8, 4, 3, 3)}, {}, 1),
    "chain": (f"{POOL2} y = Conv <group = 4>(p, w, b)", {"w": (4, 1, 1, 1), "b": (4,)}, {"form": "sequential"}, 5),
    "chain, few maps": (f"{POOL2} y = Conv(p, w)", {"w": (1, 4, 1, 1)}, {"form": "sequential"}, 5),
    "average": (f"p = Conv(x, w, b) {AVERAGE2}", {"w": (8, 4, 3, 3), "b": (8,)}, {"pools": "all"}, 1),
    "average, depthwise": (
        f"[pool] p = AveragePool <{TWO}>(x) y = Conv <group = 4, strides = [2,2]>(p, w)",
        {"w": (4, 1, 2, 2)},
        {"pools": "all"},
        1,
    ),
}


@pytest.mark.parametrize("case", FOLDED)
@pytest.mark.parametrize("x", [X, "float[n,4,h,w]"])
def test_a_folded_model_has_fewer_nodes_and_the_same_result(tmp_path, case, x):
    nodes, weights, options, count = FOLDED[case]
    model = graph(nodes, x, **weights)
    plain, unfolded = convert(tmp_path, model, fold=False, **options)
    result, folded = convert(tmp_path, model, **options)
    assert result.verdict.equal
    assert "1 together with the convolution next to it" in result.verdict.summary
    assert len(folded.graph.node) == count == len(unfolded.graph.node) - 1
    assert result.records[0].folded == (("p",) if nodes.startswith("p =") else ("y",))
    assert plain.records[0].folded == ()
    rng = np.random.default_rng(3)
    for size in (12,) if x == X else (12, 13, 17):
        array = rng.integers(-50, 50, (1, 4, size, size)).astype(np.float32)
        expected, got = run(model, array)[0], run(folded, array)[0]
        assert np.array_equal(expected, got)
        assert np.abs(expected).max() > 0
    used = {name for node in folded.graph.node for name in node.input}
    assert {tensor.name for tensor in folded.graph.initializer} <= used


@pytest.mark.parametrize("case", FOLDED)
def test_random_weights_stay_within_the_derived_bound(tmp_path, case):
    nodes, weights, options, _ = FOLDED[case]
    model = graph(nodes, **weights)
    rng = np.random.default_rng(5)
    for tensor in model.graph.initializer:
        values = rng.normal(size=tuple(tensor.dims)) * 10.0 ** rng.integers(-3, 4, tuple(tensor.dims))
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float32), tensor.name))
    result, _ = convert(tmp_path, model, **options)
    (check,) = result.verdict.pools
    assert result.verdict.equal
    assert check.windows > 500
    assert check.share <= 1


LEFT = {
    "depthwise no more": (
        f"{POOL2} y = Conv <group = 4, strides = [2,2]>(p, w)",
        {"w": (4, 1, 2, 2)},
        {"form": "sequential"},
    ),
    "pointwise no more": (f"p = Conv(x, w) {AVERAGE2}", {"w": (1, 4, 1, 1)}, {"pools": "all"}),
    "ends in an Add": (f"{POOL2} y = Conv <group = 4>(p, w)", {"w": (4, 1, 1, 1)}, {}),
    "more work": (f"{POOL2} y = Conv(p, w)", {"w": (8, 4, 3, 3)}, {"form": "sequential"}),
    "two readers": (f"{POOL1} q = Conv(p, w) r = Relu(p) y = Mul(q, r)", {"w": (4, 4, 1, 1)}, {}),
    "read twice": (f"{POOL1} q = Conv(p, w) r = Conv(p, w) y = Add(q, r)", {"w": (4, 4, 1, 1)}, {}),
    "a bias and padding": (
        "[pool] p = AveragePool <kernel_shape = [2,2]>(x) y = Conv <pads = [1,1,1,1], group = 4>(p, w)",
        {"w": (4, 1, 1, 1)},
        {"pools": "all"},
    ),
    "computed weights": (f"{POOL1} v = Neg(w) y = Conv(p, v)", {"w": (4, 4, 1, 1)}, {}),
    "auto_pad": (f'{POOL1} y = Conv <auto_pad = "SAME_UPPER">(p, w)', {"w": (4, 4, 3, 3)}, {}),
    "a ReLU between": (f"{POOL1} q = Relu(p) y = Conv(q, w)", {"w": (4, 4, 1, 1)}, {}),
    "not linear": (f"p = Conv(x, w) y = MaxPool <{TWO}>(p)", {"w": (4, 4, 1, 1)}, {"form": "sequential"}),
}


@pytest.mark.parametrize("case", LEFT)
def test_what_cannot_or_need_not_be_folded_stays(tmp_path, case):
    nodes, weights, options = LEFT[case]
    model = graph(nodes, **weights)
    _, unfolded = convert(tmp_path, model, fold=False, **options)
    result, folded = convert(tmp_path, model, **options)
    assert result.verdict.equal
    assert result.records[0].folded == ()
    assert [*folded.graph.node] == [*unfolded.graph.node]
    assert [*folded.graph.initializer] == [*unfolded.graph.initializer]


def test_a_pool_that_is_an_output_stays(tmp_path):
    model = graph(f"{POOL1} y = Conv(p, w)", w=(4, 4, 1, 1))
    model.graph.output.append(onnx.helper.make_tensor_value_info("p", onnx.TensorProto.FLOAT, [1, 4, 6, 6]))
    result, converted = convert(tmp_path, model)
    assert result.records[0].folded == ()
    assert operators(converted) == ["Conv", "Conv"]


def test_a_weight_that_others_read_stays(tmp_path):
    model = graph(f"{POOL1} q = Conv(p, w) y = Conv(q, w)", w=(4, 4, 1, 1))
    result, converted = convert(tmp_path, model)
    assert result.records[0].folded == ("q",)
    assert "w" in {tensor.name for tensor in converted.graph.initializer}
    assert result.verdict.equal


def test_external_weights(tmp_path):
    model = graph(f"{POOL1} y = Conv(p, w)", w=(4, 4, 3, 3))
    x = np.arange(4.0 * 144, dtype=np.float32).reshape(1, 4, 12, 12)
    expected = run(model, x)[0]
    onnx.save(model, tmp_path / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=0)
    (tmp_path / "to").mkdir()
    result = depool.convert(tmp_path / "m.onnx", tmp_path / "to" / "o.onnx", fold=True)
    assert result.records[0].folded == ("y",)
    assert result.verdict.equal
    assert np.array_equal(run(onnx.load(tmp_path / "to" / "o.onnx"), x)[0], expected)


def test_a_convolution_between_two_pools_is_folded_once(tmp_path):
    model = graph(f"p = MaxPool <{ONE}>(x) q = Conv(p, w) y = MaxPool <{ONE}>(q)", w=(4, 4, 1, 1))
    result, converted = convert(tmp_path, model)
    assert sorted(record.folded for record in result.records) == [(), ("q",)]
    assert operators(converted) == ["Conv", "Conv"]
    assert result.verdict.equal


def test_a_branch_of_an_if(tmp_path):
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 13]> g (bool c, {X} x) => (float[n,k,h,w] y) {{
        y = If (c) <
            then_branch = t () => (float[n,k,h,w] a) <float[4,4,1,1] w = {{{", ".join("1" * 16)}}}>
                {{ p = MaxPool <{ONE}>(x) a = Conv(p, w) }},
            else_branch = e () => (float[n,k,h,w] b) {{ b = MaxPool <{ONE}>(x) }} > }}""")
    result, converted = convert(tmp_path, model)
    assert [record.folded for record in result.records] == [("a",), ()]
    assert result.verdict.equal
    then = next(a.g for a in converted.graph.node[0].attribute if a.name == "then_branch")
    assert [node.op_type for node in then.node] == ["Conv"]


@pytest.mark.parametrize(
    ("opset", "ir", "folds"), [(6, 4, False), (7, 4, True), (7, 3, False), (11, 6, True), (22, 10, True)]
)
def test_opsets(tmp_path, opset, ir, folds):
    model = graph(f"{POOL1} y = Conv(p, w)", opset=opset, ir=ir, w=(4, 4, 1, 1))
    if ir < 4:
        model.graph.input.append(onnx.helper.make_tensor_value_info("w", onnx.TensorProto.FLOAT, [4, 4, 1, 1]))
    result, _ = convert(tmp_path, model)
    assert result.verdict.equal
    assert bool(result.records[0].folded) == folds


# --- what is refused, said and noticed ------------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{"exact": True}, {"certificate": "c.json"}])
def test_not_with_promises_that_it_would_break(tmp_path, options):
    with pytest.raises(UsageError, match="--fold"):
        convert(tmp_path, graph(f"{POOL1} y = Conv(p, w)", w=(4, 4, 1, 1)), **options)
    assert not (tmp_path / "o.onnx").exists()


def test_not_for_other_files_and_not_a_second_time(tmp_path):
    with pytest.raises(UsageError, match="fold is for ONNX files only"):
        depool.convert(tmp_path / "m.keras", fold=True)
    _, once = convert(tmp_path, graph(f"{POOL1} y = Conv(p, w)", w=(4, 4, 1, 1)), fold=False)
    with pytest.raises(UsageError, match="converted before"):
        convert(tmp_path, once)


def test_it_is_said_and_no_proof_is_claimed(tmp_path, capsys):
    from depool.cli import app

    (tmp_path / "m.onnx").write_bytes(graph(f"{POOL1} y = Conv(p, w)", w=(4, 4, 1, 1)).SerializeToString())
    arguments = ["convert", str(tmp_path / "m.onnx"), "--fold", "--force"]
    assert app([*arguments, "--json"], result_action="return_value") == Exit.DONE
    told = json.loads(capsys.readouterr().out)
    assert told["pools"][0]["folded"] == ["y"]
    assert told["proved"] is False
    assert told["unproved"] == "1 of 1 pools are folded into convolutions"
    app(arguments, result_action="return_value")
    assert "folded into y" in capsys.readouterr().out
    with pytest.raises(ProofError):
        certify(files.read(str(tmp_path / "m.onnx")), files.read(str(tmp_path / "m.depool.onnx")))
    found = depool.verify(tmp_path / "m.onnx", tmp_path / "m.depool.onnx", nonfinite=True)
    assert any("special values are not shown for pool" in note for note in found.notes)


@pytest.mark.parametrize("case", FOLDED)
def test_a_wrong_fold_is_noticed(tmp_path, case):
    """One weight of the composed convolution, by one part in a thousand."""
    nodes, weights, options, _ = FOLDED[case]
    _, folded = convert(tmp_path, graph(nodes, **weights), **options)
    (tensor,) = [t for t in folded.graph.initializer if t.name.endswith("depool/weight")]
    array = numpy_helper.to_array(tensor).copy()
    array.flat[np.flatnonzero(array)[-1]] *= 1.001
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    (tmp_path / "o.onnx").write_bytes(folded.SerializeToString())
    found = depool.verify(tmp_path / "m.onnx", tmp_path / "o.onnx", counterexample=tmp_path / "c.npz")
    assert found.equal is False
    assert "break their promise" in found.summary


def claimed(path, folded):
    """Let the record say that the pool was folded into something else."""
    model = onnx.load(path)
    (entry,) = [entry for entry in model.metadata_props if entry.key == KEY]
    records = json.loads(entry.value)
    records[0]["folded"] = folded
    entry.value = json.dumps(records)
    path.write_bytes(model.SerializeToString())


@pytest.mark.parametrize(
    ("folded", "why"),
    [("z", "does not stand next to it"), ("y", "no constant convolution"), ("nothing", "no constant")],
)
def test_what_a_record_claims_is_looked_up_in_the_original(tmp_path, folded, why):
    """z is no neighbour of the pool, and y no convolution."""
    model = graph(f"{POOL1} q = Conv(p, w) z = Conv(q, w) y = Relu(z)", w=(4, 4, 1, 1))
    convert(tmp_path, model)
    claimed(tmp_path / "o.onnx", [folded])
    found = depool.verify(tmp_path / "m.onnx", tmp_path / "o.onnx", counterexample=tmp_path / "c.npz")
    assert found.equal is False
    assert why in found.pools[0].note


def test_a_record_names_one_convolution(tmp_path):
    convert(tmp_path, graph(f"{POOL1} y = Conv(p, w)", w=(4, 4, 1, 1)))
    claimed(tmp_path / "o.onnx", ["y", "q"])
    with pytest.raises(FileError, match="damaged"):
        depool.verify(tmp_path / "m.onnx", tmp_path / "o.onnx")


def test_a_changed_convolution_elsewhere_is_still_noticed(tmp_path):
    model = graph(f"{POOL1} q = Conv(p, w) y = Conv(q, v)", w=(4, 4, 1, 1), v=(4, 4, 1, 1))
    _, folded = convert(tmp_path, model)
    (tensor,) = [t for t in folded.graph.initializer if t.name == "v"]
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * 2, "v"))
    (tmp_path / "o.onnx").write_bytes(folded.SerializeToString())
    found = depool.verify(tmp_path / "m.onnx", tmp_path / "o.onnx", counterexample=tmp_path / "c.npz")
    assert found.equal is False
    assert any("weight v changed" in note for note in found.notes)
