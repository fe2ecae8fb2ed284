"""What is known of a pool's input, and what it licenses."""

from math import inf

import numpy as np
import pytest
from convert_models import SAME3, convert, graph, pool, run, signed

import depool
from depool.errors import FileError, UsageError
from depool.onnx.records import read_records


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
