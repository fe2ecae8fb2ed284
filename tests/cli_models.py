"""Models for the tests of the command line: one small pool, and a conversion that is wrong."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def pooled(path, *, rest=(), name="pool", opset=17, ir_version=8, **attributes):
    """A model of one 2x2 max pool, and what follows it."""
    node = helper.make_node("MaxPool", ["x"], ["y"], name=name, kernel_shape=[2, 2], **attributes)
    last = rest[-1].output[0] if rest else "y"
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4, None, None]) for n in ("x", last)]
    graph = helper.make_graph([node, *rest], "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("nowhere", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=ir_version), path)


def tampered(depool, path="tampered.onnx"):
    """A conversion with one wrong weight."""
    assert depool("convert", "digits.onnx", "-q") == (0, "", "")
    model = onnx.load("digits.depool.onnx")
    tensor = next(t for t in model.graph.initializer if "depool" in t.name)
    array = numpy_helper.to_array(tensor).copy()
    array.flat[np.flatnonzero(array)[0]] /= 2
    tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(model, path)
    return path
