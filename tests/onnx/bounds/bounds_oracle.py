"""The oracle of the bounds: ONNX Runtime, optimisations off, on ordinary and extreme inputs of the declared range."""

from math import inf
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper, parser

from depool.onnx.bounds import Interval, intervals
from depool.onnx.graph import scopes

# the least value of x * g(x), and of half of it for GELU
GELU, GELU_TANH, SILU, HSWISH, MISH = -0.16997120747, -0.1700407507, -0.27846454276107, -0.375, -0.30884


def model(body, *, dtype="float", opset=20, shape="1,2,4,4"):
    """A model of a few lines, x -> y; its constants are of the type of x, too."""
    head = f'<ir_version: 8, opset_import: ["": {opset}]> g ({dtype}[{shape}] x) => (y)'
    built = parser.parse_model(f"{head} {{ {body} }}")
    for tensor in (a.t for node in built.graph.node for a in node.attribute if a.name == "value"):
        if dtype == "float16":  # the parser knows no such constants
            half = numpy_helper.to_array(tensor).astype(np.float16)
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    return built


def derive(built, declared=None, outer=None):
    return intervals(next(scopes(built, Path())), declared or {}, outer or {})


def bound(body, declared=None, **kwargs):
    return derive(model(body, **kwargs), {"x": declared} if declared else {}).get("y", Interval())


def samples(shape, low, high, dtype, seed=0):
    """Ordinary, tiny and extreme values inside a range."""
    rng = np.random.default_rng(seed)
    most = 60000.0 if dtype == np.float16 else 1e30
    low, high = max(low, -most), min(high, most)
    size = int(np.prod(shape))
    centre = min(max(0.0, low), high)
    yield np.full(shape, low)
    yield np.full(shape, high)
    yield np.full(shape, centre)
    for scale in (1e-3, 0.3, 2.0, 30.0, 1e4):
        yield np.clip(centre + scale * rng.standard_normal(size), low, high).reshape(shape)
    yield rng.choice([low, high, centre], size).reshape(shape)
    yield np.linspace(max(low, -9), max(low, min(high, 9)), size).reshape(shape)


def observe(built, seed=0, declared=(-inf, inf)):
    """Yields the values of all float tensors of a model that ONNX Runtime can run."""
    names = {o for node in built.graph.node for o in node.output if o}
    open_all = onnx.ModelProto()
    open_all.CopyFrom(built)
    del open_all.graph.output[:]
    open_all.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(names))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(open_all.SerializeToString(), options, providers=["CPUExecutionProvider"])
    fed = built.graph.input[0].type.tensor_type
    dtype = helper.tensor_dtype_to_np_dtype(fed.elem_type)
    shape = [d.dim_value for d in fed.shape.dim]
    for x in samples(shape, *declared, dtype, seed):
        yield dict(zip(sorted(names), session.run(None, {"x": x.astype(dtype)}), strict=True))


def assert_sound(built, declared=None, seed=0):
    """Every observed value lies inside its interval."""
    found = derive(built, {"x": declared} if declared else {})
    seen = 0
    for values in observe(built, seed, declared or (-inf, inf)):
        for name, interval in found.items():
            if name in values:
                value = np.asarray(values[name]).astype(np.float64)
                value = value[~np.isnan(value)]
                seen += value.size
                assert (value >= interval.lower).all(), (name, value.min(), interval, onnx.printer.to_text(built))
                assert (value <= interval.upper).all(), (name, value.max(), interval, onnx.printer.to_text(built))
    return seen


def assert_about(interval, expected):
    """The interval contains the expected one, and is not much wider."""
    for got, want, sign in ((interval.lower, expected[0], 1), (interval.upper, expected[1], -1)):
        if want in {0.0, inf, -inf}:
            assert got == want, interval
        else:
            assert sign * got <= sign * want + 1e-6 * abs(want), interval
            assert abs(got - want) <= 0.017 * (abs(want) + 1), interval
