"""Small models with one pool, and their conversions, for the tests of the proofs."""

from __future__ import annotations

import onnx
from onnx import TensorProto, helper

import depool
from depool.onnx import files


def pool_model(attributes, size, *, before="", after="", channels=2, kind="MaxPool", dtype=TensorProto.FLOAT, opset=15):
    """x -> [before] -> pool -> [after] -> y; a size is a number, or a name where it is dynamic."""
    nodes, x = [], "x"
    if before:
        nodes.append(helper.make_node(before, [x], ["before"], name="before"))
        x = "before"
    nodes.append(helper.make_node(kind, [x], ["pooled" if after else "y"], name="pool", **attributes))
    if after:
        nodes.append(helper.make_node(after, ["pooled"], ["y"], name="after"))
    inputs = [helper.make_tensor_value_info("x", dtype, ["N", channels, *size])]
    graph = helper.make_graph(nodes, "g", inputs, [helper.make_tensor_value_info("y", dtype, None)])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def converted(folder, model, **options):
    """(original, converted), both as read back."""
    before, after = folder / "m.onnx", folder / "o.onnx"
    before.write_bytes(model.SerializeToString())
    depool.convert(before, after, force=True, verify=False, **options)
    return files.read(before), files.read(after)


def rewritten(source, change, name="t.onnx"):
    """The model with something changed, written beside it and read back."""
    model = onnx.ModelProto()
    model.CopyFrom(source.model)
    change(model)
    path = source.folder / name
    path.write_bytes(model.SerializeToString())
    return files.read(path)
