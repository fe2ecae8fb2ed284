"""Converted models under PyTorch's own tools, and with shortened convolutions all around."""

import warnings

import pytest

pytest.importorskip("torch.nn", reason="PyTorch is not installed")

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import depool.torch
from depool.torch import full_precision


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)

    def forward(self, x):
        x = self.pool(self.conv(x))
        return F.max_pool2d(x, 2)


X = torch.randn(2, 3, 10, 12, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def pair():
    torch.manual_seed(0)
    model = Net().eval()
    return model, depool.torch.convert(model, X, exact=True)


def test_torch_jit_script(pair):
    model, converted = pair
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
        scripted = torch.jit.script(converted)
        assert torch.equal(scripted(X), model(X))


def test_a_scripted_pool_rounds_no_wider_type():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
        scripted = torch.jit.script(depool.torch.convert(nn.MaxPool2d(3, 2, 1), X, exact=True))
        with pytest.raises(torch.jit.Error, match="fewer digits"):
            scripted(X.double())
        assert torch.equal(scripted(X.half()), nn.MaxPool2d(3, 2, 1)(X.half()))


def test_torch_jit_trace(pair):
    model, converted = pair
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        traced = torch.jit.trace(converted, X)
        assert torch.equal(traced(X), model(X))


def test_torch_compile_without_a_break(pair):
    model, converted = pair
    compiled = torch.compile(converted, backend="aot_eager", fullgraph=True)
    assert torch.equal(compiled(X), model(X))
    x = X.clone().requires_grad_()
    compiled(x).sum().backward()
    native = X.clone().requires_grad_()
    model(native).sum().backward()
    torch.testing.assert_close(x.grad, native.grad)


@pytest.mark.parametrize("dynamic", [False, True])
def test_torch_export(pair, dynamic):
    model, converted = pair
    shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
    exported = torch.export.export(converted, (X,), dynamic_shapes=shapes)
    assert not any("pool" in str(node.target) for node in exported.graph.nodes if node.op == "call_function")
    x = torch.cat([X, -X]) if dynamic else X
    assert torch.equal(exported.module()(x), model(x))


def test_onnx_export_holds_no_pool(pair, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    model, converted = pair
    path = tmp_path / "converted.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own
        torch.onnx.export(converted, (X,), path, dynamo=True, verbose=False)
    operators = {node.op_type for node in onnx.load(path).graph.node}
    assert operators <= {"Conv", "Relu", "Add", "Concat", "Identity"}
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (got,) = session.run(None, {session.get_inputs()[0].name: X.numpy()})
    torch.testing.assert_close(torch.from_numpy(got), model(X), rtol=1e-5, atol=1e-5)  # the convolution before rounds


def test_functional_transforms(pair):
    _, converted = pair
    pool, native = converted.pool, nn.MaxPool2d(3, 2, 1)
    x = torch.randn(3, 2, 4, 10, 12)
    assert torch.equal(torch.func.vmap(pool)(x), torch.func.vmap(native)(x))
    grads = [torch.func.grad(lambda t, f=f: f(t).square().sum())(x[0]) for f in (pool, native)]
    torch.testing.assert_close(*grads)


# --- the precision of convolutions ----------------------------------------------------------------------------------


@pytest.fixture
def short():
    """Convolutions of the CPU may round their inputs to bfloat16."""
    before = torch.backends.mkldnn.conv.fp32_precision
    torch.backends.mkldnn.conv.fp32_precision = "bf16"
    yield
    torch.backends.mkldnn.conv.fp32_precision = before


def test_shortened_convolutions_leave_pools_alone(short):
    pool = nn.MaxPool2d(3, 2, 1)
    x = (torch.randn(2, 16, 24, 24) * 100).requires_grad_()
    converted = depool.torch.convert(pool, x, exact=True)
    expected, got = pool(x), converted(x)
    assert torch.equal(got, expected)
    weights = torch.randn(expected.shape)
    ours, native = (torch.autograd.grad((y * weights).sum(), x)[0] for y in (got, expected))
    torch.testing.assert_close(ours, native, rtol=1e-6, atol=1e-6)
    assert torch.backends.mkldnn.conv.fp32_precision == "bf16"


def test_the_setting_is_changed_around_each_convolution_and_restored(short, monkeypatch):
    seen = []
    plain = full_precision._plain

    def watched(*args):
        seen.append(torch.backends.mkldnn.conv.fp32_precision)
        return plain(*args)

    monkeypatch.setattr(full_precision, "_plain", watched)
    x = torch.randn(1, 2, 4, 4)
    depool.torch.convert(nn.MaxPool2d(2))(x)
    assert set(seen) == {"ieee"}
    assert torch.backends.mkldnn.conv.fp32_precision == "bf16"


def test_the_setting_is_restored_after_an_error(short, monkeypatch):
    pool = depool.torch.convert(nn.MaxPool2d(2), torch.randn(1, 2, 8, 8))
    monkeypatch.setattr(full_precision, "_plain", lambda *_: torch.zeros(1).view(2))
    with pytest.raises(RuntimeError, match="invalid for input of size"):
        pool(torch.randn(1, 2, 8, 8))
    assert torch.backends.mkldnn.conv.fp32_precision == "bf16"


def test_a_setting_that_is_inherited_stays_inherited():
    assert torch.backends.mkldnn.conv.fp32_precision == "none"
    with torch.backends.flags(fp32_precision="bf16"):
        x = torch.randn(1, 2, 8, 8)
        assert torch.equal(depool.torch.convert(nn.MaxPool2d(2), exact=True)(x), nn.MaxPool2d(2)(x))
    assert torch.backends.mkldnn.conv.fp32_precision == "none"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_with_tf32_everywhere():
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.MaxPool2d(3, 2, 1), nn.AdaptiveMaxPool2d(3)).cuda().eval()
    x = (torch.randn(2, 3, 33, 33, device="cuda") * 100).requires_grad_()
    converted = depool.torch.convert(model, x.detach(), exact=True)
    expected, got = model(x), converted(x)
    assert torch.equal(got, expected)
    ours, native = (torch.autograd.grad(y.sum(), x)[0] for y in (got, expected))
    torch.testing.assert_close(ours, native)
    assert torch.backends.cudnn.conv.fp32_precision == "tf32"
