"""A Pad before a pool becomes part of it, or stays data."""

import ml_dtypes
import numpy as np
import pytest
from convert_models import HEAD, X8, convert, graph, operators, run, signed
from onnx import TensorProto, numpy_helper, parser

from depool.errors import NotConverted

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
