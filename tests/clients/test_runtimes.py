"""Runtimes give the native pool's outputs on converted models, within the promised bound, and what they do natively."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from nets import model_of, native, pool_model
from oracle import pool as by_loops

import depool
from depool.geometry import PoolSpec

pytestmark = [pytest.mark.clients, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
MODELS = Path(__file__).resolve().parents[3] / "shared" / "models"


def onnxruntime(path, x):
    """With all optimisations."""
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return session.run(None, {session.get_inputs()[0].name: x})[0]


def openvino(path, x):
    ov = pytest.importorskip("openvino", reason="needs the extra `clients`")
    core = ov.Core()
    compiled = core.compile_model(core.read_model(str(path)), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return compiled([x])[0]


def tract(path, x):
    module = pytest.importorskip("tract", reason="needs the extra `clients`")
    model = module.onnx().load(str(path))
    model.set_input_fact(0, ",".join(map(str, x.shape)) + ",f32")
    return model.into_model().into_runnable().run([x])[0].to_numpy()


def opencv(path, x):
    cv2 = pytest.importorskip("cv2", reason="needs the extra `clients`")
    net = cv2.dnn.readNetFromONNX(str(path))
    net.setInput(x)
    return net.forward()


RUNTIMES = {run.__name__: run for run in (onnxruntime, openvino, tract, opencv)}
POOLS = {
    "2x2/2": {"kernel_shape": [2, 2], "strides": [2, 2]},
    "3x3/2 p1": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4},
    "3x3/2 ceil": {"kernel_shape": [3, 3], "strides": [2, 2], "ceil_mode": 1},
    "2x2/2 SAME_UPPER": {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"},
    "5x5/1 p2": {"kernel_shape": [5, 5], "strides": [1, 1], "pads": [2] * 4},
    "3x3/1 dilated": {"kernel_shape": [3, 3], "strides": [1, 1], "dilations": [2, 2], "pads": [2] * 4},
    "3x3/2 asymmetric": {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [0, 0, 1, 1]},
    "1-D 3/2 p1": {"kernel_shape": [3], "strides": [2], "pads": [1, 1]},
    "3-D 1x3x3/1x2x2": {"kernel_shape": [1, 3, 3], "strides": [1, 2, 2], "pads": [0, 1, 1, 0, 1, 1]},
}
SIZES = (9, 8, 7)
LOW = -64.0


def mixed(rng, shape):
    """Signed numbers of many magnitudes, at most 64, some of them equal."""
    x = rng.choice([-1.0, 1.0], shape) * 2.0 ** rng.uniform(-20, 6, shape)
    return np.where(rng.random(shape) < 0.2, np.round(x), x).astype(np.float32)


def converted(model, folder, **arguments):
    onnx.save(model, folder / "pool.onnx")
    return depool.convert(folder / "pool.onnx", folder / "out.onnx", force=True, verify=False, **arguments)


def outputs(runtime, name, tmp_path, **arguments):
    """The native pool's outputs and the promised bounds, of inputs on which the converted pool keeps them."""
    sizes = SIZES[: len(POOLS[name]["kernel_shape"])]
    model = pool_model(POOLS[name], sizes)
    result = converted(model, tmp_path, input_range=(LOW, -LOW), **arguments)
    rng = np.random.default_rng(len(name))
    shape = (1, 4, *sizes)
    for x in (mixed(rng, shape), -rng.uniform(10, 60, shape).astype(np.float32)):
        want = native(model, x)
        bound = result.conversions[0].program.error_bound(native(model, np.abs(x)).astype(np.float64), "float32")
        got = RUNTIMES[runtime](result.path, x)
        assert got.shape == want.shape
        assert (np.abs(got.astype(np.float64) - want) <= bound).all()
        yield want, bound


@pytest.mark.parametrize("target", ["generic", "portable"])
@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_converted_pool_keeps_its_promise(runtime, name, target, tmp_path):
    """The bound is the printed one, window by window; an average in the pool's place would break it."""
    for want, bound in outputs(runtime, name, tmp_path, target=target):
        assert (np.abs(want - want.mean()) > bound).any()


MASKED = "3x3/1 dilated"
"""OpenVINO computes the border's mask of a signed pool wrongly where a convolution has one channel, folded or not."""


@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_channels_in_the_batch(runtime, name, tmp_path):
    """Two Reshapes whose -1 and 0 each runtime must read as ONNX means them."""
    if (runtime, name) == ("openvino", MASKED):
        pytest.skip("OpenVINO's one-channel convolutions lose the mask")
    for want, bound in outputs(runtime, name, tmp_path, channels="folded"):
        assert (np.abs(np.roll(want, 1, 1) - want) > bound).any()  # channels are not exchanged


def swapped(model):
    """The model with average pools in the place of its max pools."""
    other = onnx.ModelProto()
    other.CopyFrom(model)
    for node in other.graph.node:
        if node.op_type == "MaxPool":
            node.op_type = "AveragePool"
            kept = [a for a in node.attribute if a.name not in {"storage_order", "dilations"}]
            del node.attribute[:]
            node.attribute.extend(kept)
    return other


@pytest.mark.parametrize("name", ["mnist-wonnx", "mnist-marabou", "mtcnn-rnet", "mtcnn-onet"])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_trained_models_give_their_outputs(runtime, name, tmp_path):
    """End to end nothing is promised: what is asked is that the difference is far below that of a wrong pool."""
    path = MODELS / f"{name}.onnx"
    if not path.is_file():
        pytest.skip(f"the trained models are not at {MODELS}")
    model = onnx.load(path)
    dims = [dim.dim_value or 1 for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).normal(size=dims).astype(np.float32)
    declared = {"input_range": (-6.0, 6.0)}
    result = depool.convert(path, tmp_path / "out.onnx", target="portable", verify=False, **declared)
    want = native(model, x)
    wrong = np.abs(native(swapped(model), x) - want).max()
    got = RUNTIMES[runtime](result.path, x)
    assert got.shape == want.shape
    assert np.abs(got - want).max() < wrong / 100


SILENT = {
    "openvino": ({"kernel_shape": [2, 2], "strides": [2, 2], "pads": [1] * 4, "ceil_mode": 1}, (8, 7)),
    "opencv": ({"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "SAME_UPPER"}, (8, 7)),
    "tract": ({"kernel_shape": [3, 3], "strides": [2, 2], "auto_pad": "VALID", "ceil_mode": 1}, (8, 7)),
}
"""Pools that a runtime computes otherwise than ONNX Runtime, without a word. What tract does is the reading of onnx's
reference evaluator; ONNX Runtime and onnx's shape inference count one window more."""


@pytest.mark.parametrize("runtime", SILENT)
def test_what_a_runtime_gets_wrong_is_right_after_conversion(runtime, tmp_path):
    attributes, sizes = SILENT[runtime]
    model = pool_model(attributes, sizes, channels=2)
    result = converted(model, tmp_path)
    x = -np.abs(mixed(np.random.default_rng(2), (1, 2, *sizes))) - 1
    want = native(model, x)
    before = RUNTIMES[runtime](tmp_path / "pool.onnx", x)
    assert before.shape != want.shape or not np.array_equal(before, want)
    after = RUNTIMES[runtime](result.path, x)
    assert after.shape == want.shape
    bound = result.conversions[0].program.error_bound(native(model, np.abs(x)).astype(np.float64), "float32")
    assert (np.abs(after - want) <= bound).all()


def test_what_onnx_runtime_refuses_is_right_after_conversion(tmp_path):
    """Pads as large as the kernel, but smaller than the dilated kernel: every window holds an element of the input."""
    spec = PoolSpec((2, 2), (1, 1), ((2, 2), (2, 2)), (3, 3))
    pool = {"kernel_shape": [2, 2], "strides": [1, 1], "dilations": [3, 3], "pads": [2] * 4}
    node = onnx.helper.make_node("MaxPool", ["x"], ["y"], name="pool", **pool)
    model = model_of([node], {}, [1, 2, 8, 7], ["n", "c", "h", "w"])
    ort.set_default_logger_severity(4)
    with pytest.raises(Exception, match=r"Pad should be smaller than kernel\."):
        native(model, np.zeros((1, 2, 8, 7), np.float32))
    result = converted(model, tmp_path)
    x = -np.abs(mixed(np.random.default_rng(3), (1, 2, 8, 7))) - 1
    want, bound = by_loops(x, spec), result.conversions[0].program.error_bound(64.0)
    for got in (onnxruntime(result.path, x), native(onnx.load(result.path), x)):
        assert np.abs(got - want).max() <= bound
