"""Types and shapes of every value: windows that onnx counts and no runtime computes, subgraphs, function bodies."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, numpy_helper, parser

from depool.errors import FileError
from depool.onnx.prepare import fix_input_shapes
from depool.onnx.shapes import infer


def graph(nodes, x="float[1,2,8,8]", y="float[n,c,h,w] y", head='<ir_version: 8, opset_import: ["" : 13]>'):
    return parser.parse_model(f"{head} g ({x} x) => ({y}) {{ {nodes} }}")


def dims(model, name, path=""):
    return infer(model)[path][name].dims


def computed(model, shape):
    """The shape that ONNX Runtime computes."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.zeros(shape, np.float32)})[0].shape


@pytest.mark.parametrize("opset", [10, 11, 13, 22])
def test_ceil_mode_has_the_windows_that_onnx_runtime_computes(opset):
    head = f'<ir_version: 10, opset_import: ["" : {opset}]>'
    for kernel, stride, pad, size in itertools.product((1, 2, 3), (1, 2, 3), (0, 1), (4, 5, 6, 7)):
        if pad >= kernel:
            continue
        attributes = f"kernel_shape = {[kernel] * 2}, strides = {[stride] * 2}, pads = {[pad] * 4}, ceil_mode = 1"
        model = graph(f"y = MaxPool <{attributes}>(x)", x=f"float[1,2,{size},{size}]", head=head)
        assert dims(model, "y") == computed(model, (1, 2, size, size)), attributes


CEIL = "MaxPool <kernel_shape = [1, 1], strides = [2, 2], ceil_mode = 1>"


def test_onnx_itself_counts_a_window_too_many():
    """The reason for the correction; when this fails the correction can go."""
    model = graph(f"y = {CEIL}(x)", x="float[1,2,4,4]")
    inferred = onnx.shape_inference.infer_shapes(model).graph.output[0]
    assert [d.dim_value for d in inferred.type.tensor_type.shape.dim] == [1, 2, 3, 3]
    assert computed(model, (1, 2, 4, 4)) == (1, 2, 2, 2)


def test_a_correction_reaches_all_that_follows():
    model = graph(f"p = {CEIL}(x) q = Relu(p) y = {CEIL}(q) z = Concat <axis = 1>(q, p)", x="float[1,2,8,8]")
    model = onnx.shape_inference.infer_shapes(model)  # the wrong shapes are declared now
    assert dims(model, "p") == (1, 2, 4, 4)
    assert dims(model, "z") == (1, 4, 4, 4)
    assert dims(model, "y") == (1, 2, 2, 2)


def test_the_model_itself_is_not_changed():
    model = onnx.shape_inference.infer_shapes(graph(f"p = {CEIL}(x) y = Relu(p)", x="float[1,2,4,4]"))
    before = model.SerializeToString()
    infer(model)
    assert model.SerializeToString() == before


def test_dynamic_sizes_are_unknown():
    model = graph("p = Relu(x) y = GlobalMaxPool(p)", x="float[N,3,h,10]")
    assert dims(model, "p") == (None, 3, None, 10)
    assert dims(model, "y") == (None, 3, 1, 1)


def test_a_value_without_a_shape():
    model = parser.parse_model(
        """<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,2,8,8] x, int64[r] s) => (float y) { y = Reshape(x, s) }"""
    )
    model.graph.output[0].type.tensor_type.ClearField("shape")
    found = infer(model)[""]["y"]
    assert (found.elem_type, found.dims) == (TensorProto.FLOAT, None)


@pytest.mark.parametrize("external", [False, True])
def test_large_weights_are_not_needed(external):
    weight = numpy_helper.from_array(np.zeros((64, 2, 3, 3), np.float32), "w")
    if external:
        weight.ClearField("raw_data")
        weight.data_location = TensorProto.EXTERNAL
        weight.external_data.add(key="location", value="nowhere.bin")
    model = graph("y = Conv(x, w)")
    model.graph.initializer.append(weight)
    assert dims(model, "y") == (1, 64, 6, 6)
    assert dims(model, "w") == (64, 2, 3, 3)


def test_small_weights_say_shapes():
    model = graph("y = Reshape(x, s)", y="float[a,b] y")
    model.graph.initializer.append(numpy_helper.from_array(np.array([2, -1]), "s"))
    assert dims(model, "y") == (2, 64)


BRANCHES = """<ir_version: 8, opset_import: ["" : 13]> g (float[1,2,8,8] x, bool c) => (float[1,2,h,w] y) {{
    {name} y = If (c) <
        then_branch = yes () => (float[1,2,p,q] a) {{ r = Relu(x) a = MaxPool <kernel_shape = [2, 2]>(r) }},
        else_branch = no () => (float[1,2,p,q] b) {{ b = Neg(x) }}> }}"""


@pytest.mark.parametrize(("name", "path"), [("[choice]", "choice"), ("", "If:y")])
def test_a_branch_sees_the_values_around_it(name, path):
    found = infer(parser.parse_model(BRANCHES.format(name=name)))
    branch = found[f"{path}/then_branch/"]
    assert branch["r"].dims == branch["x"].dims == (1, 2, 8, 8)
    assert branch["a"].dims == (1, 2, 7, 7)
    assert "r" not in found[""]
    assert "r" not in found[f"{path}/else_branch/"]


FUNCTIONS = """<ir_version: 8, opset_import: ["" : 13, "loc" : 1]>
    g (float[1,2,8,8] x) => (float[n,c,h,w] y) {{ {calls} }}
    <domain: "loc", opset_import: ["" : 13, "loc" : 1]> Outer (q) => (w) {{ a = loc.Inner(q) w = Relu(a) }}
    <domain: "loc", opset_import: ["" : 13]> Inner (q) => (w) {{ w = MaxPool <kernel_shape = [2, 2]>(q) }}"""


@pytest.mark.parametrize(
    ("calls", "argument", "result"),
    [
        ("y = loc.Outer(x)", (1, 2, 8, 8), (1, 2, 7, 7)),
        ("a = loc.Inner(x) y = Neg(a)", (1, 2, 8, 8), (1, 2, 7, 7)),
        ("a = loc.Inner(x) b = Relu(x) y = loc.Outer(b)", (1, 2, 8, 8), (1, 2, 7, 7)),
        ("a = loc.Outer(x) y = loc.Inner(a)", (1, 2, None, None), (1, 2, None, None)),
        ("a = Concat <axis = 1>(x, x) b = loc.Inner(x) y = loc.Inner(a)", (1, None, 8, 8), (1, None, 7, 7)),
    ],
)
def test_a_function_body_has_what_its_calls_agree_on(calls, argument, result):
    body = infer(parser.parse_model(FUNCTIONS.format(calls=calls)))["function loc:Inner/"]
    assert (body["q"].dims, body["w"].dims) == (argument, result)
    assert body["q"].elem_type == TensorProto.FLOAT


def test_a_function_that_is_never_called_says_nothing():
    assert "function loc:Inner/" not in infer(parser.parse_model(FUNCTIONS.format(calls="y = Neg(x)")))


def test_attributes_of_a_call_reach_the_body():
    text = """<ir_version: 8, opset_import: ["" : 13, "loc" : 1]>
        g (float[1,2,8,8] x) => (float[n,c,h,w] y) { y = loc.F <size = [3, 3]>(x) }
        <domain: "loc", opset_import: ["" : 13]> F <size> (q) => (w) {
            a = MaxPool <kernel_shape: ints = @size>(q) w = Relu(a) }"""
    assert dims(parser.parse_model(text), "a", "function loc:F/") == (1, 2, 6, 6)


def test_a_window_too_many_in_a_function():
    text = f"""<ir_version: 8, opset_import: ["" : 13, "loc" : 1]>
        g (float[1,2,4,4] x) => (float[n,c,h,w] y) {{ y = loc.F(x) }}
        <domain: "loc", opset_import: ["" : 13]> F (q) => (w) {{ a = {CEIL}(q) w = Relu(a) }}"""
    assert dims(parser.parse_model(text), "a", "function loc:F/") == (1, 2, 2, 2)


def test_what_inference_cannot_read_is_a_file_error():
    """An operator of a domain that the model does not import."""
    with pytest.raises(FileError, match="shape inference fails on this model") as caught:
        infer(graph("y = mine.Op(x)"))
    assert "\n" not in str(caught.value)


def test_input_shapes_are_fixed_in_place():
    model = graph("y = Relu(x)", x="float[N,2,h,w]")
    fix_input_shapes(model, {"x": (1, 2, 5, 6)})
    assert [d.dim_value for d in model.graph.input[0].type.tensor_type.shape.dim] == [1, 2, 5, 6]
    assert not any(d.dim_param for d in model.graph.input[0].type.tensor_type.shape.dim)


def test_an_input_of_unknown_rank_gets_a_shape():
    model = graph("y = Relu(x)")
    model.graph.input[0].type.tensor_type.ClearField("shape")
    fix_input_shapes(model, {"x": (1, 2, 5, 6)})
    assert dims(model, "x") == (1, 2, 5, 6)
