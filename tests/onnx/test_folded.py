"""Channels in the batch: every kind of geometry between two Reshapes, with kernels that no channel makes larger."""

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper, parser
from test_portable import HIGH, KINDS, LOW, WILD, model_of, run

import depool
from depool.errors import NotConverted, UsageError
from depool.onnx.records import read_records

OPERATORS = {"Conv", "Relu", "Add", "Concat", "Reshape"}
HEAD = '<ir_version: 8, opset_import: ["" : 13]>'


def convert(folder, model, **options):
    """The result, verified and proved, and the model as read back."""
    onnx.save(model, folder / "wild.onnx")
    result = depool.convert(folder / "wild.onnx", folder / "folded.onnx", channels="folded", force=True, **options)
    assert result.verdict.equal is True
    assert result.unproved == ""
    assert result.certificate is not None
    return result, onnx.load(folder / "folded.onnx")


def with_channels(model, channels):
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for value in (*other.graph.input, *other.graph.output):
        value.type.tensor_type.shape.dim[1].dim_value = channels
    return other


def dynamic(model):
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for axis, dim in enumerate(other.graph.input[0].type.tensor_type.shape.dim[2:]):
        dim.dim_param = f"d{axis}"
    return other


def weight_bytes(model):
    return sum(len(numpy_helper.to_array(tensor).tobytes()) for tensor in model.graph.initializer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", WILD)
def test_every_geometry_within_its_promise(name, kind, tmp_path):
    attributes, sizes = WILD[name]
    model = model_of(attributes, sizes, kind)
    result, written = convert(tmp_path, model)
    nodes = [node for node in written.graph.node if node.name.startswith("pool/depool/")]
    assert {node.op_type for node in nodes} <= OPERATORS
    assert [i for i, node in enumerate(nodes) if node.op_type == "Reshape"] == [0, len(nodes) - 1]
    groups = {a.i for node in nodes if node.op_type == "Conv" for a in node.attribute if a.name == "group"}
    assert groups == {1}
    _, wider = convert(tmp_path, with_channels(model, 7))
    assert weight_bytes(wider) == weight_bytes(written)
    rng = np.random.default_rng(len(name))
    program = result.conversions[0].program
    for x in (rng.uniform(LOW, HIGH, (3, 3, *sizes)), -(rng.uniform(0.5, 8, (1, 3, *sizes)) ** 2) / 8):
        fed = x.astype(np.float32)
        bound = program.error_bound(run(model, np.abs(fed)).astype(np.float64), "float32")
        want = run(model, fed)
        assert (np.abs(run(written, fed).astype(np.float64) - want) <= bound).all()
        assert kind != "signed" or (np.abs(np.roll(want, 1, 1) - want) > bound).any()  # channels are not exchanged


DYNAMIC = [name for name in WILD if "ceil" not in name and "SAME" not in name]


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("name", [*DYNAMIC, "2/2 ceil", "2/2 SAME"])
def test_dynamic_sizes_and_batch(name, optimised, tmp_path):
    attributes, sizes = WILD[name]
    model = dynamic(model_of(attributes, sizes, "signed"))
    result, written = convert(tmp_path, model, exact=True)
    assert {node.op_type for node in written.graph.node} <= OPERATORS
    assert result.records[0].layout == read_records(written)[0].layout == "folded"
    options = ort.SessionOptions()
    if not optimised:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(written.SerializeToString(), options)
    rng = np.random.default_rng(0)
    for batch, more in ((2, 0), (1, 3), (5, 4), (0, 1)):  # the -1 of an empty batch is 0: the other sizes are known
        x = rng.normal(size=(batch, 3, *(n + more for n in sizes))).astype(np.float32)
        want = run(model, x) if batch else run(model, np.zeros((1, *x.shape[1:]), np.float32))[:0]
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], want)


@pytest.mark.parametrize("form", ["branched", "concat", "sequential"])
@pytest.mark.parametrize("scheme", ["tree", "separable", "shallow"])
def test_every_form_and_scheme(form, scheme, tmp_path):
    attributes, sizes = WILD["3/2 p1"]
    _, written = convert(tmp_path, model_of(attributes, sizes, "behind a ReLU"), form=form, scheme=scheme)
    assert {"branched": "Add", "concat": "Concat", "sequential": "Conv"}[form] in {
        n.op_type for n in written.graph.node
    }


def test_average_pools(tmp_path):
    average = "AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>"
    text = f"{{ [pool] p = {average}(x) y = GlobalAveragePool(p) }}"
    model = parser.parse_model(f"{HEAD} g (float[n,3,8,7] x) => (float[n,3,1,1] y) {text}")
    _, written = convert(tmp_path, model, pools="all")
    assert {node.op_type for node in written.graph.node} <= OPERATORS
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 7)).astype(np.float32)
    np.testing.assert_allclose(run(written, x), run(model, x), atol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_pools_on_integers(dtype, tmp_path):
    elements = TensorProto.INT8 if dtype == "int8" else TensorProto.UINT8
    node = helper.make_node(
        "MaxPool", ["x"], ["y"], name="pool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1]
    )
    x, y = (helper.make_tensor_value_info(name, elements, ["n", 3, "h", "w"]) for name in "xy")
    graph = helper.make_graph([node], "g", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    _, written = convert(tmp_path, model)
    assert {node.op_type for node in written.graph.node} == {"Reshape", "QLinearConv"}
    info = np.iinfo(dtype)
    fed = np.random.default_rng(0).integers(info.min, info.max + 1, (2, 3, 8, 7)).astype(dtype)
    np.testing.assert_array_equal(run(written, fed), run(model, fed))


@pytest.mark.parametrize("called", [False, True])
def test_where_weights_are_held_in_constant_nodes(called, tmp_path):
    """Below IR 4, and in functions; the shapes of the Reshapes too."""
    pool, x = "MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>", "float[n,2,8,8]"
    if called:
        text = f"""<ir_version: 8, opset_import: ["" : 13, "loc" : 1]> g ({x} x) => ({x} y) {{ y = loc.F(x) }}
            <domain: "loc", opset_import: ["" : 13]> F (q) => (w) {{ [pool] w = {pool}(q) }}"""
    else:
        text = f'<ir_version: 3, opset_import: ["" : 9]> g ({x} x) => ({x} y) {{ [pool] y = {pool}(x) }}'
    model = parser.parse_model(text)
    _, written = convert(tmp_path, model)
    assert not written.graph.initializer
    nodes = written.functions[0].node if called else written.graph.node
    assert sum(node.op_type == "Reshape" for node in nodes) == 2
    x = np.random.default_rng(0).normal(size=(2, 2, 8, 8)).astype(np.float32) - 2
    np.testing.assert_allclose(run(written, x), run(model, x), atol=1e-5)


def test_opsets_without_integer_constants_are_refused(tmp_path):
    text = '<ir_version: 3, opset_import: ["" : 8]> g (float[1,2,4,4] x) => (float[1,2,3,3] y)'
    onnx.save(parser.parse_model(f"{text} {{ y = MaxPool <kernel_shape = [2, 2]>(x) }}"), tmp_path / "old.onnx")
    with pytest.raises(NotConverted, match="OPSET_TOO_OLD"):
        depool.convert(tmp_path / "old.onnx", channels="folded")
    assert depool.convert(tmp_path / "old.onnx", channels="folded", opset=13).verdict.equal is True


@pytest.mark.parametrize("target", ["portable", "marabou", "auto_lirpa", "nnenum", "omlt", "litert"])
def test_targets_that_take_no_reshape_say_so(target, tmp_path):
    attributes, sizes = WILD["2/2"]
    onnx.save(model_of(attributes, sizes, "signed"), tmp_path / "wild.onnx")
    with pytest.raises(UsageError, match=rf"target {target} takes no Reshape; use --channels \w+, or leave it out"):
        depool.convert(tmp_path / "wild.onnx", channels="folded", target=target)


def test_its_cost_does_not_grow_with_the_channels(tmp_path):
    attributes, sizes = WILD["2/2"]
    costs = []
    for channels in (3, 64):
        onnx.save(with_channels(model_of(attributes, sizes, "signed"), channels), tmp_path / "wild.onnx")
        (pool,) = depool.inspect(tmp_path / "wild.onnx", channels="folded").pools
        costs.append((pool.cost.parameters, pool.cost.weight_bytes, pool.cost.macs / channels))
    assert costs[0] == costs[1]
    _, written = convert(tmp_path, model_of(attributes, sizes, "signed"))
    assert costs[0][1] == weight_bytes(written) - 2 * 4 * 8  # the shapes of the Reshapes


def test_a_reshape_that_nobody_told_of_is_seen(tmp_path):
    attributes, sizes = WILD["2/2"]
    _, written = convert(tmp_path, model_of(attributes, sizes, "signed"))
    untold = onnx.ModelProto()
    untold.CopyFrom(written)
    for entry in untold.metadata_props:
        entry.value = entry.value.replace('"layout":"folded"', '"layout":"grouped"')
    onnx.save(untold, tmp_path / "changed.onnx")
    verdict = depool.verify(tmp_path / "wild.onnx", tmp_path / "changed.onnx")
    assert verdict.equal is False
    assert verdict.pools[0].note == "its replacement contains Reshape"
    written.graph.node.insert(2, helper.make_node("Reshape", ["x", written.graph.node[0].input[1]], ["z"]))
    onnx.save(written, tmp_path / "changed.onnx")
    assert "3 Reshape added" in " ".join(depool.verify(tmp_path / "wild.onnx", tmp_path / "changed.onnx").notes)


def test_verify_sees_a_wrong_order_of_channels(tmp_path):
    """Folded along another axis the shapes fit, and the numbers are those of other windows."""
    attributes, _ = WILD["3/1 p1"]
    _, written = convert(tmp_path, with_channels(model_of(attributes, (3, 3), "signed"), 3))
    (shape,) = (t for t in written.graph.initializer if t.name.endswith("unfold_shape"))
    shape.CopyFrom(numpy_helper.from_array(np.array([-1, 3, 3, 3]), shape.name))
    turn = helper.make_node("Transpose", ["pool/depool/pooled"], ["turned"], perm=[1, 0, 2, 3])
    written.graph.node[-1].input[0] = "turned"
    written.graph.node.insert(len(written.graph.node) - 1, turn)
    onnx.save(written, tmp_path / "changed.onnx")
    assert depool.verify(tmp_path / "wild.onnx", tmp_path / "changed.onnx").equal is False
