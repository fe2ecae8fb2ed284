"""Convert: what is added, what stays byte for byte, what is recorded, and that ONNX Runtime gives the same numbers."""

import json
from math import inf

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

import depool
from depool.errors import FileError, NotConverted, UsageError
from depool.onnx.records import KEY, VERSION_KEY, read_records

HEAD = '<ir_version: 8, opset_import: ["" : 13]>'
SAME3 = "kernel_shape = [3, 3], pads = [1, 1, 1, 1]"
X8 = "float[1,2,8,8]"


def graph(nodes, x=X8, y="float[n,c,h,w] y", head=HEAD, weights=""):
    return parser.parse_model(f"{head} g ({x} x) => ({y}) {f'<{weights}>' if weights else ''} {{ {nodes} }}")


def pool(attributes=SAME3, **options):
    return graph(f"[pool] y = MaxPool <{attributes}>(x)", **options)


def convert(folder, model, **options):
    """The result, and the model as read back."""
    (folder / "m.onnx").write_bytes(model.SerializeToString())
    result = depool.convert(folder / "m.onnx", folder / "o.onnx", force=True, **options)
    return result, onnx.load(folder / "o.onnx")


def run(model, *arrays):
    """All outputs, as ONNX Runtime computes them without optimisations."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, dict(zip((i.name for i in session.get_inputs()), arrays, strict=True)))


def signed(shape=(1, 2, 8, 8), seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def operators(model):
    return [node.op_type for node in model.graph.node]


# --- what stays -----------------------------------------------------------------------------------------------------


def crowded():
    """A model with everything in it that a conversion could lose."""
    model = parser.parse_model("""<ir_version: 10, opset_import: ["" : 13, "mine" : 3, "loc" : 1]>
        g (float[1,2,8,8] x, float[1,2,1,1] scale) => (float[1,2,8,8] y, float[1,2,8,8] z)
        <float[1,2,1,1] scale = {2.0, 3.0}, float[1,2,1,1] shift = {0.5, -1.0}, float[1,2,8,8] a, float[1] unused = {1}>
        { [first] a = Mul(x, scale)
          [blob] t = mine.Blob <strength: float = 0.25>(a)
          [pool] p = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(a)
          [last] y = Add(p, shift)
          [call] z = loc.F(p) }
        <domain: "loc", opset_import: ["" : 13]>
        F (q) => (w) { [inner] w = Neg(q) }""")
    model.producer_name, model.producer_version = "somebody", "9"
    model.domain, model.model_version, model.doc_string = "org.example", 7, "the model"
    model.graph.doc_string, model.graph.node[0].doc_string = "the graph", "the node"
    model.graph.input[0].doc_string, model.graph.initializer[1].doc_string = "the input", "the weight"
    model.metadata_props.add(key="author", value="me")
    model.graph.metadata_props.add(key="part", value="1")
    model.graph.node[0].metadata_props.add(key="layer", value="a")
    annotation = model.graph.quantization_annotation.add(tensor_name="a")
    annotation.quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="shift")
    values = helper.make_tensor("sparse", TensorProto.FLOAT, [1], [3.0])
    indices = helper.make_tensor("at", TensorProto.INT64, [1], [2])
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [4]))
    training = model.training_info.add()
    training.initialization.name = "start"
    training.initialization_binding.add(key="scale", value="s")
    return model


def undone(converted, originals):
    """The converted model with the pools put back and all that is depool's taken away."""
    model = onnx.ModelProto()
    model.CopyFrom(converted)
    nodes, names = [], {node.name for node in originals}
    for node in converted.graph.node:
        owner = node.name.partition("/depool/")[0]
        if owner not in names:
            nodes.append(node)
        elif node.output[0] == next(n.output[0] for n in originals if n.name == owner):
            nodes.append(next(n for n in originals if n.name == owner))
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    for entries, added in (
        (model.graph.initializer, lambda tensor: "/depool/" in tensor.name),
        (model.metadata_props, lambda entry: entry.key.startswith("depool.")),
    ):
        for entry in [entry for entry in entries if added(entry)]:
            entries.remove(entry)
    return model


def test_everything_else_stays_byte_for_byte(tmp_path):
    original = crowded()
    _, converted = convert(tmp_path, original)
    back = undone(converted, [original.graph.node[2]])
    assert back.SerializeToString(deterministic=True) == original.SerializeToString(deterministic=True)
    added = [node for node in converted.graph.node if node.name.startswith("pool/depool/")]
    assert {node.op_type for node in added} == {"Conv", "Relu", "Add", "Concat"}
    assert all(node.domain == "" for node in added)


def test_the_file_that_was_read_stays_as_it_was(tmp_path):
    before = pool().SerializeToString()
    convert(tmp_path, pool())
    assert (tmp_path / "m.onnx").read_bytes() == before


def test_an_initialiser_that_is_also_an_input_can_still_be_overridden(tmp_path):
    original = graph("[r] a = Add(x, w) [pool] y = MaxPool <kernel_shape = [2, 2]>(a)", weights="float[1] w = {1.5}")
    original.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [1]))
    _, converted = convert(tmp_path, original, exact=True)
    x, w = signed(), np.array([-7], np.float32)
    session = onnxruntime.InferenceSession(converted.SerializeToString(), providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {"x": x, "w": w})
    np.testing.assert_array_equal(got, run(pool("kernel_shape = [2, 2]"), x + w)[0])


def test_a_weight_that_can_be_overridden_is_no_fact(tmp_path):
    """From IR 4 on a caller may give another value, so that it must not be read as a constant."""
    original = graph(
        "p = Pad(x, pads, low) [pool] y = MaxPool <kernel_shape = [3, 3]>(p)",
        weights="int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}, float low = {-3.4028234663852886e38}",
    )
    original.graph.input.append(helper.make_tensor_value_info("low", TensorProto.FLOAT, []))
    result, converted = convert(tmp_path, original, verify=False)
    assert result.records[0].source == "p"
    assert "Pad" in operators(converted)


# --- names and provenance -------------------------------------------------------------------------------------------


def test_added_nodes_are_named_after_their_pool(tmp_path):
    original = graph("r = Relu(x) [stem] p = MaxPool <kernel_shape = [2, 2]>(r) y = MaxPool <kernel_shape = [2, 2]>(p)")
    _, converted = convert(tmp_path, original)
    names = [node.name for node in converted.graph.node[1:]]
    assert all(name.startswith(("stem/depool/", "y/depool/")) for name in names)
    assert len(set(names)) == len(names)
    outputs = [name for node in converted.graph.node for name in node.output]
    assert len(set(outputs)) == len(outputs)
    assert {"p", "y"} <= set(outputs)


@pytest.mark.parametrize(
    "taken", ["pool/depool", "pool/depool/0_Conv", "pool/depool/0_Conv_weight", "pool/depool/1_Relu"]
)
@pytest.mark.parametrize("where", ["node", "output", "initializer"])
def test_names_that_the_model_has_already_are_not_used_again(taken, where, tmp_path):
    relu = helper.make_node("Add", ["x", "zero"], ["a"], name="before")
    weights = [numpy_helper.from_array(np.zeros(1, np.float32), "zero")]
    after = helper.make_node("MaxPool", ["a"], ["y"], name="pool", kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    if where == "node":
        relu.name = taken
    elif where == "output":
        relu.output[0] = after.input[0] = taken
    else:
        weights[0].name = relu.input[1] = taken
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 8, 8]) for name in "xy")
    made = helper.make_graph([relu, after], "g", [x], [y], weights)
    original = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    _, converted = convert(tmp_path, original, exact=True)
    np.testing.assert_array_equal(run(original, signed())[0], run(converted, signed())[0])
    assert undone_names(converted).isdisjoint({taken})


def undone_names(model):
    """Names that the conversion made."""
    made = [node for node in model.graph.node if node.name.startswith("pool/depool_2/")]
    assert made
    return {node.name for node in made} | {name for node in made for name in node.output}


def test_the_model_says_what_was_done(tmp_path):
    result, converted = convert(tmp_path, pool())
    metadata = {entry.key: entry.value for entry in converted.metadata_props}
    assert metadata[VERSION_KEY] == depool.__version__
    (record,) = json.loads(metadata[KEY])
    assert (record["where"], record["op_type"]) == ("pool", "MaxPool")
    assert (record["source"], record["output"]) == ("x", "y")
    assert (record["scheme"], record["form"]) == (result.records[0].scheme, result.records[0].form)
    assert record["facts"]["lower"] is None
    assert read_records(converted) == result.records


@pytest.mark.parametrize("ir", [9, 10])
def test_nodes_say_it_too_from_ir_10_on(ir, tmp_path):
    _, converted = convert(tmp_path, pool(head=f'<ir_version: {ir}, opset_import: ["" : 13]>'))
    found = [{entry.key: entry.value for entry in node.metadata_props} for node in converted.graph.node]
    if ir < 10:
        assert not any(found)
    else:
        assert all(entries["depool.pool"] == "pool" and entries["depool.op_type"] == "MaxPool" for entries in found)


def test_the_same_model_gives_the_same_bytes(tmp_path):
    convert(tmp_path, crowded())
    first = (tmp_path / "o.onnx").read_bytes()
    convert(tmp_path, crowded())
    assert (tmp_path / "o.onnx").read_bytes() == first


def test_a_converted_model_is_left_alone(tmp_path):
    result, converted = convert(tmp_path, pool())
    (tmp_path / "o.onnx").rename(tmp_path / "again.onnx")
    again = depool.convert(tmp_path / "again.onnx", tmp_path / "o.onnx")
    assert again.records == ()
    assert again.verdict.exit_code in {0, 4}
    assert onnx.load(tmp_path / "o.onnx") == converted
    assert read_records(onnx.load(tmp_path / "o.onnx")) == result.records


def test_pools_converted_one_after_the_other_are_all_remembered(tmp_path):
    original = graph("[one] p = MaxPool <kernel_shape = [2, 2]>(x) [two] y = MaxPool <kernel_shape = [2, 2]>(p)")
    convert(tmp_path, original, only=["one"])
    (tmp_path / "o.onnx").rename(tmp_path / "half.onnx")
    result = depool.convert(tmp_path / "half.onnx", tmp_path / "o.onnx")
    assert [record.where for record in result.records] == ["two"]
    assert result.verdict.equal
    assert [pool.where for pool in result.verdict.pools] == ["two"]
    assert [record.where for record in read_records(onnx.load(tmp_path / "o.onnx"))] == ["one", "two"]
    whole = depool.verify(tmp_path / "m.onnx", tmp_path / "o.onnx")
    assert whole.equal
    assert [pool.where for pool in whole.pools] == ["one", "two"]


def test_a_model_without_pools_only_gets_metadata(tmp_path):
    original = graph("y = Relu(x)")
    result, converted = convert(tmp_path, original)
    assert result.records == result.refusals == result.left == ()
    assert result.verdict.equal is True
    assert undone(converted, []) == original


# --- graphs around pools --------------------------------------------------------------------------------------------

SHAPES_OF_GRAPHS = {
    "one pool": "[pool] y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)",
    "input with several readers": """r = Neg(x)
        [a] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2]>(r)
        [b] q = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [0, 0, 1, 1]>(r)
        s = Mul(p, q) m = GlobalAveragePool(r) y = Add(s, m)""",
    "result with several readers": """[pool] p = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)
        a = Relu(p) b = Neg(p) y = Mul(a, b)""",
    "pools on pools": """[a] p = MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)
        [b] q = MaxPool <kernel_shape = [2, 2]>(p)
        [c] y = GlobalMaxPool(q)""",
    "the same pool three times in a row": """[a] p = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)
        [b] q = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(p)
        [c] r = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(q)
        y = Concat <axis = 1>(x, p, q, r)""",
    "positions that nobody reads": "[pool] y, at = MaxPool <kernel_shape = [2, 2], strides = [2, 2]>(x)",
    "SAME_UPPER": '[pool] y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER">(x)',
    "SAME_LOWER": '[pool] y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_LOWER">(x)',
    "dilated, padded": "[pool] y = MaxPool <kernel_shape = [2, 2], dilations = [3, 2], pads = [1, 0, 1, 1]>(x)",
    "ceil mode": "[pool] y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)",
    "long and short axis": "[pool] y = MaxPool <kernel_shape = [1, 6], strides = [3, 1]>(x)",
}


@pytest.mark.parametrize("channels", ["grouped", "depthwise", "dense"])
@pytest.mark.parametrize("name", SHAPES_OF_GRAPHS)
def test_only_four_operators_are_added_and_the_numbers_stay(name, channels, tmp_path):
    original = graph(SHAPES_OF_GRAPHS[name])
    result, converted = convert(tmp_path, original, exact=True, channels=channels)
    assert result.verdict.equal
    assert set(operators(converted)) - set(operators(original)) <= {"Conv", "Relu", "Add", "Concat"}
    assert not {"MaxPool", "GlobalMaxPool"} & set(operators(converted))
    np.testing.assert_array_equal(run(original, signed())[0], run(converted, signed())[0])
    groups = {g.i for n in converted.graph.node if n.op_type == "Conv" for g in n.attribute if g.name == "group"}
    assert groups <= ({1} if channels == "dense" else {2} if channels == "depthwise" else {1, 2})


@pytest.mark.parametrize("rank", [1, 3])
def test_one_and_three_axes(rank, tmp_path):
    size = ",".join(["7"] * rank)
    attributes = f"kernel_shape = {[3] * rank}, strides = {[2] * rank}, pads = {[1] * 2 * rank}"
    original = graph(
        f"[pool] y = MaxPool <{attributes}>(x)", x=f"float[2,3,{size}]", y=f"float[2,3,{','.join('abc'[:rank])}] y"
    )
    result, converted = convert(tmp_path, original, exact=True)
    assert result.verdict.equal
    x = signed((2, 3, *[7] * rank))
    np.testing.assert_array_equal(run(original, x)[0], run(converted, x)[0])


@pytest.mark.parametrize("scale", ["normal", "mixed magnitudes"])
def test_exact_is_exact(scale, tmp_path):
    original = pool("kernel_shape = [4, 3], strides = [2, 1], pads = [2, 1, 1, 1]")
    _, converted = convert(tmp_path, original, exact=True)
    rng = np.random.default_rng(1)
    for _ in range(5):
        x = rng.normal(size=(1, 2, 8, 8))
        x = (x * 10.0 ** rng.uniform(-35, 35, x.shape) if scale != "normal" else x).astype(np.float32)
        np.testing.assert_array_equal(run(original, x)[0], run(converted, x)[0])


def test_without_exact_some_last_bits_differ_and_no_more(tmp_path):
    """Else the tests of exactness would show nothing."""
    original = pool("kernel_shape = [4, 3], strides = [2, 1]")
    _, converted = convert(tmp_path, original)
    x = signed((1, 2, 8, 8))
    want, got = run(original, x)[0], run(converted, x)[0]
    assert (want != got).any()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


# --- types and opsets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("dtype", ["float", "double", "float16", "bfloat16"])
@pytest.mark.parametrize(
    "attributes", [SAME3, "kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1"]
)
def test_every_floating_point_type(dtype, exact, attributes, tmp_path):
    head = '<ir_version: 10, opset_import: ["" : 22]>'
    original = pool(attributes, x=f"{dtype}[1,2,7,7]", y=f"{dtype}[1,2,h,w] y", head=head)
    result, converted = convert(tmp_path, original, exact=exact)
    wanted = {"float": TensorProto.FLOAT, "double": TensorProto.DOUBLE, "float16": TensorProto.FLOAT16}
    assert {tensor.data_type for tensor in converted.graph.initializer} == {wanted.get(dtype, TensorProto.BFLOAT16)}
    assert result.verdict.equal is True
    (check,) = result.verdict.pools
    assert check.windows > 0
    assert ("bit-exact" in check.promise) is exact
    if exact:
        assert check.difference.max_abs == 0
    if dtype in {"double", "bfloat16"}:
        assert "reference" in check.oracle


def test_bfloat16_against_numpy(tmp_path):
    """No runtime here pools bfloat16: a maximum of neighbours is written out."""
    head = '<ir_version: 10, opset_import: ["" : 22]>'
    _, converted = convert(
        tmp_path, pool("kernel_shape = [1, 2]", x="bfloat16[1,2,8,8]", y="bfloat16[1,2,8,7] y", head=head), exact=True
    )
    x = signed().astype(ml_dtypes.bfloat16)
    (got,) = onnx.reference.ReferenceEvaluator(converted).run(None, {"x": x})
    np.testing.assert_array_equal(got, np.maximum(x[..., :-1], x[..., 1:]))


@pytest.mark.parametrize("opset", [6, 7, 8, 10, 11, 12, 13, 18, 21])
def test_opsets(opset, tmp_path):
    """At opset 6 ONNX Runtime has no Add; from 7 on it is used."""
    original = pool(
        "kernel_shape = [3, 2], strides = [2, 1], pads = [1, 0, 1, 1]",
        head=f'<ir_version: 3, opset_import: ["" : {opset}]>',
    )
    result, converted = convert(tmp_path, original, exact=True)
    assert result.verdict.equal
    assert ("Add" in operators(converted)) is (opset > 6)
    assert converted.opset_import == original.opset_import
    np.testing.assert_array_equal(run(original, signed())[0], run(converted, signed())[0])


@pytest.mark.parametrize("channels", ["grouped", "depthwise", "dense"])
def test_opset_6_in_every_layout(channels, tmp_path):
    original = pool("kernel_shape = [3, 3], pads = [1, 1, 1, 1]", head='<ir_version: 3, opset_import: ["" : 6]>')
    _, converted = convert(tmp_path, original, channels=channels)
    assert "Add" not in operators(converted)
    np.testing.assert_allclose(run(converted, signed())[0], run(original, signed())[0], atol=1e-5)


def test_an_old_opset_is_refused_and_raised_where_asked_for(tmp_path):
    original = pool(head='<ir_version: 3, opset_import: ["" : 5]>')
    original.metadata_props.add(key="author", value="me")
    with pytest.raises(NotConverted, match="OPSET_TOO_OLD"):
        convert(tmp_path, original)
    result, converted = convert(tmp_path, original, opset=13, exact=True)
    assert result.verdict.equal
    assert converted.opset_import[0].version == 13
    assert converted.metadata_props[0].value == "me"
    np.testing.assert_array_equal(run(pool(), signed())[0], run(converted, signed())[0])
    verdict = depool.verify(tmp_path / "m.onnx", tmp_path / "o.onnx")
    assert verdict.equal is True
    assert [check.equal for check in verdict.pools] == [True]


@pytest.mark.parametrize("what", ["functions", "training_info", "sparse_initializer", "quantization_annotation"])
def test_raising_the_opset_loses_nothing_in_silence(what, tmp_path):
    """onnx's version converter drops these without a word."""
    original = crowded()
    for name in {"training_info", "functions"} - {what}:
        original.ClearField(name)
    for name in {"sparse_initializer", "quantization_annotation"} - {what}:
        original.graph.ClearField(name)
    if what != "functions":
        del original.graph.node[4], original.graph.output[1]
    del original.graph.node[1]
    (tmp_path / "m.onnx").write_bytes(original.SerializeToString())
    try:
        depool.convert(tmp_path / "m.onnx", tmp_path / "o.onnx", opset=15)
    except FileError as error:
        assert "\n" not in str(error)  # noqa: PT017 - refusing and keeping are both right
        assert not (tmp_path / "o.onnx").exists()
    else:
        converted = onnx.load(tmp_path / "o.onnx")
        assert getattr(converted if hasattr(converted, what) else converted.graph, what)


def test_an_opset_that_does_not_exist(tmp_path):
    with pytest.raises(FileError, match="--opset 999") as caught:
        convert(tmp_path, pool(), opset=999)
    assert "\n" not in str(caught.value)


# --- selection ------------------------------------------------------------------------------------------------------


def three():
    """Pools named a/one, a/two and b/one."""
    pooled = " ".join(f"{out} = MaxPool <kernel_shape = [2, 2]>({x})" for out, x in ("px", "qp", "yq"))
    model = graph(pooled)
    for node, name in zip(model.graph.node, ["a/one", "a/two", "b/one"], strict=True):
        node.name = name
    return model


@pytest.mark.parametrize(
    ("options", "converted_names"),
    [
        ({}, ["a/one", "a/two", "b/one"]),
        ({"only": ["a/*"]}, ["a/one", "a/two"]),
        ({"skip": ["*/one"]}, ["a/two"]),
        ({"only": ["a/*", "b/*"], "skip": ["a/one"]}, ["a/two", "b/one"]),
        ({"skip": ["*"]}, []),
    ],
)
def test_only_and_skip(options, converted_names, tmp_path):
    result, converted = convert(tmp_path, three(), **options)
    assert [record.where for record in result.records] == converted_names
    assert not result.refusals
    left = [node.name for node in converted.graph.node if node.op_type == "MaxPool"]
    assert left == [name for name in ["a/one", "a/two", "b/one"] if name not in converted_names]
    assert result.verdict.equal


def test_a_pattern_that_names_no_pool_is_a_mistake(tmp_path):
    with pytest.raises(depool.UsageError, match="no pool is named like nothing"):
        convert(tmp_path, three(), only=["nothing"])


def test_a_refused_pool_stops_the_conversion_unless_a_part_is_enough(tmp_path):
    original = graph(
        """[good] p = MaxPool <kernel_shape = [2, 2]>(x)
           [bad] q, at = MaxPool <kernel_shape = [2, 2]>(p)
           z = Identity(at) y = Neg(q)""",
        y="float[1,2,h,w] y, int64[1,2,h,w] z",
    )
    with pytest.raises(NotConverted) as caught:
        convert(tmp_path, original)
    assert [refusal.where for refusal in caught.value.refusals] == ["bad"]
    assert not (tmp_path / "o.onnx").exists()
    result, converted = convert(tmp_path, original, allow_partial=True, exact=True)
    assert [record.where for record in result.records] == ["good"]
    assert [(refusal.code, refusal.where) for refusal in result.refusals] == [("INDICES_USED", "bad")]
    assert result.verdict.equal
    for want, got in zip(run(original, signed()), run(converted, signed()), strict=True):
        np.testing.assert_array_equal(want, got)


AVERAGES = {
    "inside": ("[mean] y = AveragePool <kernel_shape = [3, 2], strides = [2, 1]>(x)", {"Conv"}),
    "counts its padding": (
        "[mean] y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(x)",
        {"Conv"},
    ),
    "counts no padding": (
        "[mean] y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)",
        {"Conv", "Concat"},
    ),
    "ceil mode": (
        "[mean] y = AveragePool <kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)",
        {"Conv", "Concat"},
    ),
    "global": ("[mean] y = GlobalAveragePool(x)", {"Conv"}),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_average_pools_where_asked_for(name, tmp_path):
    text, made = AVERAGES[name]
    original = graph(text)
    untouched, same = convert(tmp_path, original)
    assert untouched.records == ()
    assert undone(same, []) == original
    result, converted = convert(tmp_path, original, pools="all")
    assert set(operators(converted)) == made
    assert len(operators(converted)) == 1 or "Concat" in made
    assert result.records[0].scheme == "average"
    assert result.verdict.equal
    np.testing.assert_allclose(run(converted, signed())[0], run(original, signed())[0], rtol=0, atol=1e-6)


def test_an_average_whose_border_counts_less_needs_static_sizes_and_branches(tmp_path):
    text = AVERAGES["counts no padding"][0]
    with pytest.raises(NotConverted, match="AVERAGE_EXCLUDES_PAD"):
        convert(tmp_path, graph(text, x="float[1,2,h,w]"), pools="all")
    with pytest.raises(NotConverted, match="AVERAGE_EXCLUDES_PAD"):
        convert(tmp_path, graph(text), pools="all", target="portable")


def test_a_global_average_of_dynamic_size_is_refused(tmp_path):
    with pytest.raises(NotConverted, match="DYNAMIC_GLOBAL"):
        convert(tmp_path, graph("[mean] y = GlobalAveragePool(x)", x="float[1,2,h,w]"), pools="all")


def test_an_unknown_kind_of_pools(tmp_path):
    with pytest.raises(UsageError, match="max or all"):
        convert(tmp_path, pool(), pools="min")


# --- facts ----------------------------------------------------------------------------------------------------------


def test_nonnegative_inputs_are_used_and_recorded(tmp_path):
    result, converted = convert(tmp_path, pool(), assume_nonnegative=True, exact=True, verify=False)
    (record,) = read_records(converted)
    assert record == result.records[0]
    assert (record.facts.lower, record.facts.upper, record.facts.declared) == (0.0, inf, True)
    assert "assume-nonnegative" in record.facts.reason
    assert record.border == "zero"
    x = np.abs(signed())
    np.testing.assert_array_equal(run(pool(), x)[0], run(converted, x)[0])


@pytest.mark.parametrize("given", [(-3.0, 3.0), {"x": (-3.0, 3.0)}])
def test_a_declared_range_is_used_and_recorded(given, tmp_path):
    result, converted = convert(tmp_path, pool(), input_range=given, form="sequential")
    (record,) = result.records
    assert (record.facts.lower, record.facts.upper, record.facts.declared) == (-3.0, 3.0, True)
    assert record.border == "shift"
    assert result.verdict.equal
    assert not [note for note in result.verdict.notes if "assumption" in note]
    x = np.clip(signed(), -3, 3)
    np.testing.assert_allclose(run(converted, x)[0], run(pool(), x)[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("given", [(1.0, 0.0), (float("nan"), 1.0), (inf, inf), {"x": (-inf, -inf)}])
def test_an_empty_range(given, tmp_path):
    with pytest.raises(UsageError, match="is empty"):
        convert(tmp_path, pool(), input_range=given)


@pytest.mark.parametrize(
    ("nodes", "border"),
    [
        (f"[pool] p = MaxPool <{SAME3}>(x) y = Relu(p)", "zero"),
        (f"[pool] p = MaxPool <{SAME3}>(x) y = Neg(p)", "edge"),
        (f"r = Relu(x) [pool] p = MaxPool <{SAME3}>(r) y = Neg(p)", "zero"),
        (f"[pool] p = MaxPool <{SAME3}, dilations = [1, 1]>(x) a = Relu(p) b = Sigmoid(p) y = Add(a, b)", "edge"),
    ],
)
def test_what_licenses_a_border_of_zeros(nodes, border, tmp_path):
    original = graph(nodes)
    result, converted = convert(tmp_path, original, exact=True)
    assert result.records[0].border == border
    assert result.verdict.equal
    for x in (signed(), -np.abs(signed()) - 1):
        np.testing.assert_array_equal(run(original, x)[0], run(converted, x)[0])


@pytest.mark.parametrize("size", ["7,7", "h,w"])
def test_shapes_fix_the_declared_input(size, tmp_path):
    original = pool("kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]", x=f"float[N,2,{size}]")
    result, converted = convert(tmp_path, original, shapes={"x": (1, 2, 7, 7)}, exact=True)
    assert [d.dim_value for d in converted.graph.input[0].type.tensor_type.shape.dim] == [1, 2, 7, 7]
    assert result.records[0].sizes == (7, 7)
    assert result.records[0].border == "edge"
    verdict = depool.verify(tmp_path / "m.onnx", tmp_path / "o.onnx")
    assert verdict.equal is True
    assert verdict.pools[0].windows


def test_a_dynamic_model_stays_dynamic(tmp_path):
    original = pool("kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]", x="float[N,2,h,w]")
    result, converted = convert(tmp_path, original, exact=True)
    assert converted.graph.input == original.graph.input
    assert result.records[0].sizes == (None, None)
    for shape in ((1, 2, 3, 3), (2, 2, 8, 5), (3, 2, 1, 9)):
        x = signed(shape)
        np.testing.assert_array_equal(run(original, x)[0], run(converted, x)[0])


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
def test_a_dynamic_model_keeps_pads_that_only_the_runtime_knows(auto_pad, tmp_path):
    original = pool(f'kernel_shape = [4, 4], strides = [3, 3], auto_pad = "{auto_pad}"', x="float[N,2,h,w]")
    result, converted = convert(tmp_path, original, exact=True)
    assert result.verdict.equal
    for shape in ((1, 2, 4, 7), (1, 2, 8, 5), (2, 2, 6, 9)):
        x = signed(shape)
        np.testing.assert_array_equal(run(original, x)[0], run(converted, x)[0])


@pytest.mark.parametrize(
    ("shapes", "error"),
    [
        ({"z": (1, 2, 8, 8)}, "no such input"),
        ({"x": (1, 2, 8)}, "4 dimensions, not 3"),
        ({"x": (1, 3, 8, 8)}, "cannot become 3"),
        ({"x": (1, 2, 0, 8)}, "positive"),
        ({"x": ()}, "positive"),
    ],
)
def test_shapes_that_do_not_fit(shapes, error, tmp_path):
    with pytest.raises((FileError, UsageError), match=error) as caught:
        convert(tmp_path, pool(x="float[N,2,h,w]"), shapes=shapes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "o.onnx").exists()


# --- Pads -----------------------------------------------------------------------------------------------------------

RING = "int64[8] pads = {0, 0, 1, 2, 0, 0, 2, 1}"
LOW = "float low = {-3.4028234663852886e38}"
PADS = {
    "inputs": ("p = Pad(x, pads, low)", f"{RING}, {LOW}", HEAD),
    "an attribute of opset 2": (
        "p = Pad <pads = [0, 0, 1, 2, 0, 0, 2, 1], value = -3.4028234663852886e38>(x)",
        "",
        '<ir_version: 8, opset_import: ["" : 10]>',
    ),
    "axes of opset 18": (
        "p = Pad(x, pads, low, axes)",
        f"int64[4] pads = {{2, 1, 1, 2}}, {LOW}, int64[2] axes = {{-1, 2}}",
        '<ir_version: 8, opset_import: ["" : 18]>',
    ),
    "Constant nodes": (
        """pads = Constant <value_ints: ints = [0, 0, 1, 2, 0, 0, 2, 1]>()
        low = Constant <value: tensor = float {-3.4028234663852886e38}>()
        p = Pad(x, pads, low)""",
        "",
        HEAD,
    ),
}


def padded(name, value=None, after="[pool] y = MaxPool <kernel_shape = [3, 3]>(p)", **options):
    """A Pad and a pool; `value` replaces the pads' value."""
    nodes, weights, head = PADS[name]
    model = graph(f"{nodes} {after}", weights=weights, head=head, **options)
    if value is not None:
        tensor = next(t for t in model.graph.initializer if t.name == "low")
        tensor.CopyFrom(numpy_helper.from_array(np.array(value, np.float32), "low"))
    return model


@pytest.mark.parametrize("name", PADS)
def test_a_pad_of_the_lowest_number_becomes_part_of_the_pool(name, tmp_path):
    original = padded(name)
    result, converted = convert(tmp_path, original, exact=True)
    assert result.records[0].spec.pads == ((1, 2), (2, 1))
    assert result.records[0].source == "x"
    assert "Pad" not in operators(converted)
    assert result.verdict.equal
    for x in (signed(), -np.abs(signed()) - 1):
        np.testing.assert_array_equal(run(original, x)[0], run(converted, x)[0])


@pytest.mark.parametrize("value", [-np.inf, -3.4028234663852886e38, -3e38, -1.8e38])
def test_whatever_lies_below_the_promise_stands_for_minus_infinity(value, tmp_path):
    original = padded("inputs", value)
    result, converted = convert(tmp_path, original, exact=True)
    assert "Pad" not in operators(converted)
    assert result.verdict.equal
    np.testing.assert_array_equal(run(original, signed())[0], run(converted, signed())[0])


@pytest.mark.parametrize("dtype", [np.float16, ml_dtypes.bfloat16])
def test_the_lowest_16_bit_number_stands_for_minus_infinity(dtype, tmp_path):
    name = "float16" if dtype is np.float16 else "bfloat16"
    model = graph(
        "p = Pad(x, pads, low) [pool] y = MaxPool <kernel_shape = [3, 3]>(p)",
        x=f"{name}[1,2,8,8]",
        y=f"{name}[1,2,h,w] y",
        weights="int64[8] pads = {0, 0, 1, 1, 0, 0, 1, 1}",
        head='<ir_version: 10, opset_import: ["" : 22]>',
    )
    model.graph.initializer.append(numpy_helper.from_array(np.array(ml_dtypes.finfo(dtype).min, dtype), "low"))
    result, converted = convert(tmp_path, model)
    assert result.records[0].spec.pads == ((1, 1), (1, 1))
    assert "Pad" not in operators(converted)


@pytest.mark.parametrize("value", [0.0, -1.0])
def test_any_other_pad_is_data(value, tmp_path):
    original = padded("inputs", value)
    result, converted = convert(tmp_path, original, exact=True)
    assert result.records[0].spec.pads == ((0, 0), (0, 0))
    assert "Pad" in operators(converted)
    for x in (signed(), -np.abs(signed()) - 3):
        np.testing.assert_array_equal(run(original, x)[0], run(converted, x)[0])


def test_a_reflecting_pad_is_data(tmp_path):
    original = graph('p = Pad <mode = "reflect">(x, pads) [pool] y = MaxPool <kernel_shape = [3, 3]>(p)', weights=RING)
    _, converted = convert(tmp_path, original, exact=True)
    assert "Pad" in operators(converted)
    np.testing.assert_array_equal(run(original, signed())[0], run(converted, signed())[0])


@pytest.mark.parametrize(
    ("after", "outputs", "kept"),
    [
        ("[pool] y = MaxPool <kernel_shape = [3, 3]>(p) z = Relu(p)", "float[n,c,h,w] y, float[n,c,a,b] z", True),
        ("[pool] y = MaxPool <kernel_shape = [3, 3]>(p)", "float[n,c,h,w] y, float[n,c,a,b] p", True),
        (
            "[pool] y = MaxPool <kernel_shape = [3, 3]>(p) [two] z = MaxPool <kernel_shape = [4, 4]>(p)",
            "float[n,c,h,w] y, float[n,c,a,b] z",
            False,
        ),
    ],
)
def test_an_absorbed_pad_stays_for_its_other_readers(after, outputs, kept, tmp_path):
    original = padded("inputs", after=after, y=outputs)
    result, converted = convert(tmp_path, original, exact=True)
    assert ("Pad" in operators(converted)) is kept
    assert result.verdict.equal
    for want, got in zip(run(original, signed()), run(converted, signed()), strict=True):
        np.testing.assert_array_equal(want, got)


@pytest.mark.parametrize("attributes", ["ceil_mode = 1", 'auto_pad = "SAME_UPPER"', "pads = [1, 0, 0, 1]"])
def test_a_pad_before_a_pool_with_pads_of_its_own(attributes, tmp_path):
    weights = f"int64[8] pads = {{0, 0, 1, 1, 0, 0, 1, 1}}, {LOW}"
    after = f"[pool] y = MaxPool <kernel_shape = [3, 3], strides = [2, 2], {attributes}>(p)"
    original = graph(f"p = Pad(x, pads, low) {after}", weights=weights)
    result, converted = convert(tmp_path, original, exact=True)
    assert "Pad" not in operators(converted)
    assert result.verdict.equal
    np.testing.assert_array_equal(run(original, signed())[0], run(converted, signed())[0])


def test_a_pad_before_a_global_pool(tmp_path):
    original = padded("inputs", after="[pool] y = GlobalMaxPool(p)")
    result, converted = convert(tmp_path, original, exact=True)
    assert "Pad" not in operators(converted)
    x = -np.abs(signed()) - 1
    np.testing.assert_array_equal(run(original, x)[0], run(converted, x)[0])
    assert result.verdict.equal


NOT_ABSORBED = {
    "negative pads": ("p = Pad(x, pads, low)", f"int64[8] pads = {{0, 0, -1, 1, 0, 0, 1, 1}}, {LOW}", X8),
    "pads on channels": ("p = Pad(x, pads, low)", f"int64[8] pads = {{0, 1, 0, 0, 0, 0, 1, 1}}, {LOW}", X8),
    "behind an Identity": ("q = Pad(x, pads, low) p = Identity(q)", f"{RING}, {LOW}", X8),
}


@pytest.mark.parametrize("name", NOT_ABSORBED)
def test_a_pad_of_the_lowest_number_that_cannot_be_absorbed_is_refused(name, tmp_path):
    """As data it would turn into NaN, or drown everything else in rounding."""
    nodes, weights, x = NOT_ABSORBED[name]
    with pytest.raises(NotConverted, match="PAD_NOT_ABSORBED: pool: "):
        convert(tmp_path, graph(f"{nodes} [pool] y = MaxPool <kernel_shape = [3, 3]>(p)", x=x, weights=weights))


def test_dynamic_pads_of_the_lowest_number_are_refused(tmp_path):
    text = f"""{HEAD} g ({X8} x, int64[8] pads) => (float[n,c,h,w] y) <{LOW}> {{
        p = Pad(x, pads, low) [pool] y = MaxPool <kernel_shape = [3, 3]>(p) }}"""
    model = parser.parse_model(text)
    value = model.graph.value_info.add(name="p")
    value.type.tensor_type.elem_type = TensorProto.FLOAT
    for size in (1, 2, 10, 10):
        value.type.tensor_type.shape.dim.add().dim_value = size
    with pytest.raises(NotConverted, match="PAD_NOT_ABSORBED"):
        convert(tmp_path, model)


def test_a_pad_of_an_outer_graph_is_refused(tmp_path):
    text = f"""{HEAD} g ({X8} x, bool c) => (float[1,2,h,w] y) <{RING}, {LOW}> {{
        p = Pad(x, pads, low)
        [choice] y = If (c) <
            then_branch = yes () => (float[1,2,9,9] a) {{ [pool] a = MaxPool <kernel_shape = [3, 3]>(p) }},
            else_branch = no () => (float[1,2,11,11] b) {{ b = Neg(p) }}> }}"""
    with pytest.raises(NotConverted, match="PAD_NOT_ABSORBED: choice/then_branch/pool"):
        convert(tmp_path, parser.parse_model(text))


# --- declared shapes that were wrong --------------------------------------------------------------------------------

CEIL = "kernel_shape = [1, 1], strides = [2, 2], ceil_mode = 1"


def dims(value):
    return [d.dim_value for d in value.type.tensor_type.shape.dim]


def test_a_window_too_many_is_no_longer_declared(tmp_path):
    """onnx counts 3 windows of 1 at distance 2 in 4 elements; every runtime computes 2."""
    original = graph(
        f"[pre] p = MaxPool <{CEIL}>(x) [post] q = MaxPool <{SAME3}>(p) y = Relu(q)",
        x="float[1,2,4,4]",
        y="float[1,2,3,3] y",
        head='<ir_version: 8, opset_import: ["" : 11]>',
    )
    original = onnx.shape_inference.infer_shapes(original)
    assert [dims(value) for value in original.graph.value_info] == [[1, 2, 3, 3]] * 2
    result, converted = convert(tmp_path, original, exact=True)
    assert [record.sizes for record in result.records] == [(4, 4), (2, 2)]
    assert dims(converted.graph.output[0]) == [1, 2, 2, 2]
    assert all(dims(value) == [1, 2, 2, 2] for value in converted.graph.value_info if value.name in "pq")
    onnx.checker.check_model(converted, full_check=True)
    x = signed((1, 2, 4, 4))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        pool(CEIL, head='<ir_version: 8, opset_import: ["" : 11]>', x="float[1,2,4,4]").SerializeToString(), options
    )
    (p,) = session.run(None, {"x": x})
    assert p.shape == (1, 2, 2, 2)
    (got,) = run(converted, x)
    np.testing.assert_array_equal(got, np.maximum(p.max((2, 3), keepdims=True), 0) * np.ones((2, 2), np.float32))


def test_a_window_too_many_declared_inside_a_branch(tmp_path):
    text = f"""<ir_version: 8, opset_import: ["" : 11]>
        g (float[1,2,4,4] x, bool c) => (float[1,2,h,w] y) {{
            [pre] p = MaxPool <{CEIL}>(x)
            [choice] y = If (c) <
                then_branch = yes () => (float[1,2,3,3] a) {{ [pool] a = MaxPool <{SAME3}>(p) }},
                else_branch = no () => (float[1,2,3,3] b) {{ b = Neg(p) }}> }}"""
    result, converted = convert(tmp_path, parser.parse_model(text), verify=False)
    assert [record.sizes for record in result.records] == [(4, 4), (2, 2)]
    onnx.checker.check_model(converted, full_check=True)
    assert run(converted, signed((1, 2, 4, 4)), np.array(True))[0].shape == (1, 2, 2, 2)


@pytest.mark.parametrize("opset", [11, 22])
def test_right_declarations_stay(opset, tmp_path):
    original = graph(
        "[pool] p = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(x) y = Relu(p)",
        x="float[1,2,5,5]",
        y="float[1,2,3,3] y",
        head=f'<ir_version: 10, opset_import: ["" : {opset}]>',
    )
    original = onnx.shape_inference.infer_shapes(original)
    _, converted = convert(tmp_path, original)
    assert converted.graph.value_info == original.graph.value_info
    assert converted.graph.output == original.graph.output


def test_a_pad_of_a_large_finite_number_is_data_and_exact(tmp_path):
    original = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]> g (float[1,2,6,6] x) => (float[1,2,6,6] y)
           <float low = {-1e9}, int64[8] pads = {0,0,1,1,0,0,1,1}>
           { p = Pad(x, pads, low) [pool] y = MaxPool<kernel_shape = [3, 3]>(p) }"""
    )
    result, _ = convert(tmp_path, original)
    assert [made.gate for made in result.conversions] == ["Y"]
    assert result.verdict.outputs[0].difference.max_abs == 0


def test_two_conversions_in_a_row_are_verified_against_the_first_original(tmp_path):
    original = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]> g (float[1,2,h,w] x) => (float[1,2,a,b] y)
           { [one] p = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)
             [two] y = MaxPool<kernel_shape = [3, 3]>(p) }"""
    )
    paths = [tmp_path / name for name in ("m.onnx", "half.onnx", "whole.onnx")]
    onnx.save(original, paths[0])
    depool.convert(paths[0], paths[1], only=["one"], shapes={"x": (1, 2, 8, 8)})
    depool.convert(paths[1], paths[2])
    assert depool.verify(paths[0], paths[2]).equal


def test_the_opset_is_only_raised(tmp_path):
    with pytest.raises(UsageError, match="only raised"):
        convert(tmp_path, three(), opset=9)
