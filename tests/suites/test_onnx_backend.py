"""ONNX's own backend tests: each pool case is converted and gives its expected output, or is refused by its code.

Node cases come from onnx.backend.test.case.node (written by the standard's authors, expected outputs by NumPy),
packaged cases from onnx/backend/test/data (recorded from PyTorch, most of them in opset 6 and IR 3).
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import depool
from depool.errors import NotConverted
from depool.onnx.graph import attributes
from depool.verification.oracle import Runner

MAX = {"MaxPool", "GlobalMaxPool"}
AVERAGE = {"AveragePool", "GlobalAveragePool"}
ALLOWED = {"Conv", "Relu", "Add", "Concat"}

NODE_MAX = {
    "test_globalmaxpool": None,
    "test_globalmaxpool_precomputed": None,
    "test_maxpool_1d_default": None,
    "test_maxpool_2d_ceil": None,
    "test_maxpool_2d_ceil_output_size_reduce_by_one": None,
    "test_maxpool_2d_default": None,
    "test_maxpool_2d_dilations": None,
    "test_maxpool_2d_pads": None,
    "test_maxpool_2d_precomputed_pads": None,
    "test_maxpool_2d_precomputed_same_upper": None,
    "test_maxpool_2d_precomputed_strides": None,
    "test_maxpool_2d_same_lower": None,
    "test_maxpool_2d_same_upper": None,
    "test_maxpool_2d_strides": None,
    "test_maxpool_2d_uint8": None,
    "test_maxpool_3d_default": None,
    "test_maxpool_3d_dilations": None,
    "test_maxpool_3d_dilations_use_ref_impl": None,
    "test_maxpool_3d_dilations_use_ref_impl_large": None,
    "test_maxpool_with_argmax_2d_precomputed_pads": "INDICES_USED",
    "test_maxpool_with_argmax_2d_precomputed_strides": "INDICES_USED",
}
PACKAGED_MAX = {
    "test_MaxPool1d": None,
    "test_MaxPool1d_stride": None,
    "test_MaxPool1d_stride_padding_dilation": None,
    "test_MaxPool2d": None,
    "test_MaxPool2d_stride_padding_dilation": None,
    "test_MaxPool3d": None,
    "test_MaxPool3d_stride": None,
    "test_MaxPool3d_stride_padding": None,
    "test_operator_maxpool": None,
}
NODE_AVERAGE = {
    "test_averagepool_1d_default": None,
    "test_averagepool_2d_ceil": None,
    "test_averagepool_2d_ceil_last_window_starts_on_pad": None,
    "test_averagepool_2d_default": None,
    "test_averagepool_2d_dilations": None,
    "test_averagepool_2d_pads": None,
    "test_averagepool_2d_pads_count_include_pad": None,
    "test_averagepool_2d_precomputed_pads": None,
    "test_averagepool_2d_precomputed_pads_count_include_pad": None,
    "test_averagepool_2d_precomputed_same_upper": None,
    "test_averagepool_2d_precomputed_strides": None,
    "test_averagepool_2d_same_lower": None,
    "test_averagepool_2d_same_upper": None,
    "test_averagepool_2d_strides": None,
    "test_averagepool_3d_default": None,
    "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_False": None,
    "test_averagepool_3d_dilations_large_count_include_pad_is_0_ceil_mode_is_True": None,
    "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_False": None,
    "test_averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True": None,
    "test_averagepool_3d_dilations_small": None,
    "test_globalaveragepool": None,
    "test_globalaveragepool_precomputed": None,
}
PACKAGED_AVERAGE = dict.fromkeys(
    [
        *("test_AvgPool1d", "test_AvgPool1d_stride", "test_AvgPool2d", "test_AvgPool2d_stride", "test_AvgPool3d"),
        *("test_AvgPool3d_stride", "test_AvgPool3d_stride1_pad0_gpu_input"),
    ]
)
EXPECTED = NODE_MAX | PACKAGED_MAX | NODE_AVERAGE | PACKAGED_AVERAGE
CONVERTED_MAX = [name for name, code in (NODE_MAX | PACKAGED_MAX).items() if code is None]

EXACT = {
    "test_maxpool_2d_ceil_output_size_reduce_by_one",  # kernel 1: a selection
    "test_maxpool_2d_uint8",  # QLinearConv on integers
    "test_MaxPool1d_stride_padding_dilation",  # a mask on the border, and long windows: gate Y
    "test_MaxPool2d_stride_padding_dilation",
}
KERNEL_1 = "test_maxpool_2d_ceil_output_size_reduce_by_one"  # the one case whose average is its maximum

# Its input and its expected output were each rounded to four decimals when they were written down; the sum of
# four such inputs is divided by 9.
WRITTEN = {"test_averagepool_2d_ceil_last_window_starts_on_pad": 0.5e-4 * (1 + 4 / 9)}

# Windows of 200 and of 4800 elements on inputs of 220000 and of a million elements take the verification minutes.
# Here they are compared with what is expected only.
GIANTS = {"test_MaxPool1d_stride_padding_dilation", "test_MaxPool2d_stride_padding_dilation"}


@dataclass(frozen=True, eq=False)
class Case:
    """One test of the suite: a model, its input, its first expected output."""

    model: onnx.ModelProto
    x: Any
    expected: Any

    @property
    def pools(self):
        return {node.op_type for node in self.model.graph.node} & (MAX | AVERAGE)


@pytest.fixture(scope="module")
def cases():
    return {"node": node_cases(), "packaged": packaged_cases()}


@pytest.fixture(scope="module")
def by_name(cases):
    return cases["node"] | cases["packaged"]


def node_cases():
    """All node cases of the four pooling operators; importing a case module collects its cases."""
    for module in ("maxpool", "globalmaxpool", "averagepool", "globalaveragepool"):
        importlib.import_module(f"onnx.backend.test.case.node.{module}")
    from onnx.backend.test.case.node import _NodeTestCases

    found = {}
    for test in _NodeTestCases:
        if {node.op_type for node in test.model.graph.node} & (MAX | AVERAGE):
            ((inputs, outputs),) = test.data_sets
            found[test.name] = Case(test.model, inputs[0], outputs[0])
    return found


def packaged_cases():
    """All recorded cases with a pool."""
    data = Path(onnx.__file__).parent / "backend" / "test" / "data"
    found = {}
    for path in sorted(data.glob("*/*/model.onnx")):
        model = onnx.load(path)
        if not {node.op_type for node in model.graph.node} & (MAX | AVERAGE):
            continue
        (folder,) = path.parent.glob("test_data_set_*")
        x, expected = (numpy_helper.to_array(onnx.load_tensor(folder / f"{n}_0.pb")) for n in ("input", "output"))
        assert path.parent.name not in found
        found[path.parent.name] = Case(model, x, expected)
    return found


def convert(case, name, folder):
    path = folder / f"{name}.onnx"
    onnx.save(case.model, path)
    pools = "all" if case.pools & AVERAGE else "max"
    return depool.convert(path, folder / "out.onnx", pools=pools, verify=name not in GIANTS)


def outside(case, record, got, written=0.0):
    """Elements that are further from what is expected than promised (0 where the pool is bit exact).

    `written` is what the expectation itself may be off by.
    """
    bound = written + record.rounding_bound(np.abs(case.x).max(), case.x.dtype)
    assert np.isfinite(bound)
    return int((~(np.abs(got.astype(np.float64) - case.expected.astype(np.float64)) <= bound)).sum())


def run(model, case):
    return Runner(model)({model.graph.input[0].name: case.x})[0]


def averaged(case):
    """What an average pool makes of the input, in an opset whose average pools know dilations.

    On integers it runs in float32, as no runtime has a kernel for them.
    """
    (node,) = (node for node in case.model.graph.node if node.op_type in MAX)
    swapped = helper.make_node(node.op_type.replace("Max", "Average"), ["x"], ["y"], **attributes(node))
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, case.x.shape)
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, case.expected.shape)
    graph = helper.make_graph([swapped], "swapped", [x], [y])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
    return run(model, Case(model, case.x.astype(np.float32), None)).astype(case.x.dtype)


def allowed(case):
    """What may be added: weights stand in Constant nodes below IR 4, and Add does not broadcast below opset 7."""
    if case.x.dtype == np.uint8:
        return {"QLinearConv"}
    constants = {"Constant"} if case.model.ir_version < 4 else set()
    return constants | ALLOWED - ({"Add"} if case.model.opset_import[0].version < 7 else set())


def test_the_tables_name_every_case_there_is(cases):
    def with_pools(kind, of):
        return {name for name, case in cases[kind].items() if case.pools & of}

    assert with_pools("node", MAX) == set(NODE_MAX)
    assert with_pools("packaged", MAX) == set(PACKAGED_MAX)
    assert with_pools("node", AVERAGE) == set(NODE_AVERAGE)
    assert with_pools("packaged", AVERAGE) == set(PACKAGED_AVERAGE)
    by_operator = [sum(op in case.pools for case in cases["node"].values()) for op in ("MaxPool", "GlobalMaxPool")]
    assert by_operator == [19, 2]
    assert len(PACKAGED_MAX) == 9


def test_the_tables_count_what_is_converted_and_what_is_refused():
    def count(table):
        codes = [code for code in table.values() if code is not None]
        return len(table) - len(codes), {code: codes.count(code) for code in set(codes)}

    assert count(NODE_MAX) == (19, {"INDICES_USED": 2})
    assert count(PACKAGED_MAX) == (9, {})
    assert count(NODE_AVERAGE) == (22, {})
    assert count(PACKAGED_AVERAGE) == (7, {})


@pytest.mark.parametrize("name", [name for name, code in EXPECTED.items() if code is None])
def test_converted_with_the_expected_output(name, by_name, tmp_path):
    case = by_name[name]
    result = convert(case, name, tmp_path)
    assert name in GIANTS or result.verdict.equal is True
    written = onnx.load(result.path)
    added = {node.op_type for node in written.graph.node} - {node.op_type for node in case.model.graph.node}
    assert added <= allowed(case)
    assert not {node.op_type for node in written.graph.node} & (MAX | AVERAGE)
    (record,) = result.records
    got = run(written, case)
    assert got.dtype == case.expected.dtype
    assert got.shape == case.expected.shape
    assert outside(case, record, got, WRITTEN.get(name, 0.0)) == 0
    exact = record.rounding.bit_exact
    assert exact == (name in EXACT)
    if exact:
        np.testing.assert_array_equal(got, case.expected)


@pytest.mark.parametrize(("name", "code"), [(n, code) for n, code in EXPECTED.items() if code is not None])
def test_refused_for_the_stated_reason(name, code, by_name, tmp_path):
    with pytest.raises(NotConverted) as caught:
        convert(by_name[name], name, tmp_path)
    assert [refusal.code for refusal in caught.value.refusals] == [code]
    assert [path.name for path in tmp_path.iterdir()] == [f"{name}.onnx"]


@pytest.mark.parametrize("name", CONVERTED_MAX)
def test_an_average_pool_in_its_place_would_be_noticed(name, by_name, tmp_path):
    case = by_name[name]
    (record,) = convert_unverified(case, name, tmp_path).records
    got = averaged(case)
    assert got.shape == case.expected.shape
    assert (outside(case, record, got) > 0) == (name != KERNEL_1)


@pytest.mark.parametrize("name", CONVERTED_MAX)
def test_another_element_of_the_input_would_be_noticed(name, by_name, tmp_path):
    """The pool moved by one element: what tells a kernel of 1, whose average is its maximum, from a wrong one."""
    case = by_name[name]
    result = convert_unverified(case, name, tmp_path)
    moved = Case(case.model, np.roll(case.x, 1, axis=-1), case.expected)
    changed = not np.array_equal(run(case.model, moved), case.expected)
    assert (outside(case, result.records[0], run(result.model, moved)) > 0) == changed


def convert_unverified(case, name, folder):
    path = folder / f"{name}.onnx"
    onnx.save(case.model, path)
    return depool.convert(path, folder / "out.onnx", verify=False)
