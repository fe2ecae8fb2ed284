"""Convert: what is added, what stays byte for byte, what is recorded, and that ONNX Runtime gives the same numbers."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from convert_models import SAME3, convert, crowded, graph, operators, pool, run, signed, undone
from onnx import TensorProto, helper, numpy_helper

import depool
from depool.onnx.records import KEY, VERSION_KEY, read_records

# --- what stays ------------------------------------------------------------------------------------------------------


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


# --- names and provenance --------------------------------------------------------------------------------------------


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


# --- graphs around pools ---------------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("channels", [3, 8])
def test_what_is_alike_in_all_channels_has_one_where_they_fill_no_block(channels, exact, tmp_path):
    """The border of a signed pool of dynamic size, where a kernel of zeros makes it."""
    original = pool(SAME3, x=f"float[N,{channels},h,w]")
    result, converted = convert(tmp_path, original, exact=exact)
    weights = [numpy_helper.to_array(tensor) for tensor in converted.graph.initializer]
    zeros = [weight for weight in weights if weight.ndim == 4 and not weight.any()]
    assert {weight.shape[:2] for weight in zeros} == {(1, 3) if channels == 3 else (8, 1)}
    assert result.verdict.equal
    for height, width in ((1, 1), (4, 7), (9, 2)):
        x = signed((2, channels, height, width))
        for data in (np.round(100 * x), np.round(-100 * np.abs(x)) - 1, x * np.float32(1e30)):
            expected, got = (run(model, data.astype(np.float32))[0] for model in (original, converted))
            if exact or np.abs(data).max() < 1e6:
                np.testing.assert_array_equal(expected, got)
            else:
                np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e24)
