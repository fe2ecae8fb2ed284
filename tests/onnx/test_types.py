"""Types and opsets of all kinds, and shapes that a model declares wrongly."""

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from convert_models import SAME3, convert, crowded, graph, operators, pool, run, signed, three
from onnx import TensorProto, parser

import depool
from depool.errors import FileError, NotConverted, UsageError

# --- types and opsets ------------------------------------------------------------------------------------------------


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


# --- declared shapes that were wrong ---------------------------------------------------------------------------------


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
