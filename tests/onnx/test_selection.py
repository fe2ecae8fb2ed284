"""Which pools are converted, and what becomes of those that cannot be."""

import numpy as np
import pytest
from convert_models import convert, graph, operators, pool, run, signed, three, undone

import depool
from depool.errors import NotConverted, UsageError


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
