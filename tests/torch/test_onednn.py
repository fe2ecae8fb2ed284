"""Convolution, sum and ReLU as one call: the same bits as one by one, and only where nobody else looks on."""

import copy
import io
from contextlib import nullcontext

import pytest

pytest.importorskip("torch.nn", reason="PyTorch is not installed")

import torch
from torch import nn
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils.flop_counter import FlopCounterMode

import depool.torch
from depool.torch import onednn, steps
from depool.torch.pool import SHAPES, ExactnessWarning
from depool.torch.steps import ConvStep

pytestmark = pytest.mark.skipif(not onednn.AVAILABLE, reason="this PyTorch has no oneDNN")

POOLS = {
    "2x2": nn.MaxPool2d(2),
    "2x2 of odd sizes": nn.MaxPool2d(2, ceil_mode=True),
    "3x3 padded": nn.MaxPool2d(3, 2, 1),
    "5x5": nn.MaxPool2d(5, 1, 2),
    "13x13": nn.MaxPool2d(13, 1, 6),
    "dilated": nn.MaxPool2d(3, 1, 1, 3),
}
DATA = {
    "mixed magnitudes": lambda x: x * 10.0 ** torch.randint(-20, 20, x.shape, generator=seeded()),
    "all negative": lambda x: -x.abs() - 1,
    "integers": lambda x: (1000 * x).round(),
}
LAYOUTS = {"NCHW": torch.contiguous_format, "channels last": torch.channels_last}


def seeded():
    return torch.Generator().manual_seed(0)


def images(layout=torch.channels_last, shape=(2, 8, 14, 17)):
    return torch.randn(shape, generator=seeded()).to(memory_format=layout)


def fused(model):
    """How many steps have a call of their own for what they were given."""
    return sum(any(step.calls.values()) for step in model.steps if isinstance(step, ConvStep))


@pytest.mark.filterwarnings("ignore:TF32 acceleration on top of oneDNN")
@pytest.mark.parametrize("exact", [False, True], ids=["", "exact"])
@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("data", DATA.values(), ids=DATA)
@pytest.mark.parametrize("pool", POOLS.values(), ids=POOLS)
def test_it_has_the_bits_of_what_is_computed_one_by_one(pool, data, layout, exact):
    x = data(images()).to(memory_format=layout)
    model = depool.torch.convert(pool, x, exact=exact)
    before = x.clone()
    with torch.no_grad(), torch.backends.mkldnn.flags(enabled=False):
        expected = model(x)
    assert not fused(model)
    with torch.no_grad():
        results = [model(x), model(x)]
    assert fused(model)
    for y in results:
        assert torch.equal(y, expected)
        assert y.is_contiguous(memory_format=layout)
    assert torch.equal(x, before)
    if exact:
        assert torch.equal(expected, pool(x))


def test_a_call_that_rounds_otherwise_is_not_taken(monkeypatch):
    """At a distance oneDNN begins with what is added: (r + x1) - x0; where kernels are not framed, steps see it."""
    monkeypatch.setattr(steps, "framed", lambda program, order: program)
    x = images()
    model = depool.torch.convert(nn.MaxPool2d(5, 1, 2), x, scheme="separable")
    with torch.no_grad():
        model(x)
        results = [model(x), model(x)]
    convolutions = [step for step in model.steps if isinstance(step, ConvStep)]
    monkeypatch.undo()
    with torch.no_grad():
        expected = depool.torch.convert(nn.MaxPool2d(5, 1, 2), x, scheme="separable")(x)
    assert all(torch.equal(y, expected) for y in results)
    assert any(max(step.dilation) > 1 and step.other >= 0 for step in convolutions)


def test_order_of_sums_is_tried_on_numbers_that_show_it(monkeypatch):
    """A call that adds first is refused, whatever oneDNN's do."""

    def first(kernel, bias, where, source, other, **_):
        padding, stride, dilation, groups = where

        def call(values):
            y = values[other] if other >= 0 else 0
            for tap in torch.eye(kernel[0].numel()).reshape(-1, *kernel.shape[1:]):
                y = y + nn.functional.conv2d(values[source], kernel * tap, None, stride, padding, dilation, groups)
            return torch.relu(y)

        return call

    x = images()
    model = depool.torch.convert(nn.MaxPool2d(2), x)
    monkeypatch.setattr(onednn, "prepared", first)
    monkeypatch.setattr(onednn, "arranged", lambda weight, where, like: weight)
    with torch.no_grad():
        model(x)
    summed = [step for step in model.steps if step.other >= 0 and len(step.weight[0].nonzero()) > 1]
    assert [list(step.calls.values()) for step in summed] == [[None]] * len(summed) != []


def _vmapped(model, x):
    return torch.func.vmap(lambda one: model(one[None])[0])(x)


def _dual(model, x):
    with forward_ad.dual_level():
        y = forward_ad.unpack_dual(model(forward_ad.make_dual(x, torch.ones_like(x))))
        assert y.tangent is not None
        return y.primal


def _counted(model, x):
    with FlopCounterMode(display=False) as counter:
        y = model(x)
    assert counter.get_total_flops() > 0
    return y


def _half_allowed(model, x):
    with torch.autocast("cpu", torch.bfloat16), pytest.warns(ExactnessWarning):
        return model(x)


WATCHED = {
    "vmap": _vmapped,
    "forward gradients": _dual,
    "a dispatch mode": _counted,
    "autocast": _half_allowed,
    "gradients": lambda model, x: model(x.requires_grad_()).detach(),
    "float64": lambda model, x: model(x.double()).float(),
    "one image": lambda model, x: torch.stack([model(one) for one in x]),
    "jvp": lambda model, x: torch.func.jvp(model, (x,), (x,))[0],
}


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
@pytest.mark.parametrize("way", WATCHED.values(), ids=WATCHED)
def test_where_somebody_looks_on_nothing_is_fused(way):
    """Also where a call for this shape is kept already."""
    pool = nn.MaxPool2d(3, 2, 1)
    x = images()
    model = depool.torch.convert(pool)
    with torch.no_grad():
        model(x)
    kept = [dict(step.calls) for step in model.steps if isinstance(step, ConvStep)]
    for step in model.steps:
        if isinstance(step, ConvStep):
            step.calls = dict.fromkeys(step.calls, _never)
    with nullcontext() if way in {WATCHED["gradients"], WATCHED["jvp"]} else torch.no_grad():
        y = way(model, x.clone(memory_format=torch.preserve_format))
    torch.testing.assert_close(y, pool(x), rtol=1e-6, atol=1e-6)
    assert any(map(bool, kept))


def _never(values):
    raise AssertionError("called")


def test_shortened_convolutions_are_not_called():
    x = images()
    model = depool.torch.convert(nn.MaxPool2d(2), x)
    before = torch.backends.mkldnn.conv.fp32_precision
    try:
        torch.backends.mkldnn.conv.fp32_precision = "bf16"
        with torch.no_grad():
            model(x)
    finally:
        torch.backends.mkldnn.conv.fp32_precision = before
    assert not fused(model)


def test_only_some_shapes_are_kept():
    model = depool.torch.convert(nn.MaxPool2d(2))
    pool = nn.MaxPool2d(2)
    with torch.no_grad():
        for side in range(10, 10 + 2 * SHAPES):
            x = images(shape=(1, 8, side, 12))
            torch.testing.assert_close(model(x), pool(x), rtol=1e-6, atol=1e-6)
    assert len(model.seen) == SHAPES
    assert {len(step.calls) for step in model.steps} == {SHAPES}


def test_shapes_that_come_at_once_have_calls_of_their_own(monkeypatch):
    """A kernel for an even size has lost a zero that an odd one needs; the odd image comes amid the even one."""
    pool = nn.MaxPool2d(2)
    model = depool.torch.convert(pool)
    even, odd = images(shape=(1, 8, 8, 8)), images(shape=(1, 8, 9, 9))
    whole, found = model._run, []

    def amid(x, seen):
        if not found:
            found.append(None)
            found[0] = model(odd)
        return whole(x, seen)

    monkeypatch.setattr(model, "_run", amid)
    with torch.no_grad():
        results = [model(even), found[0], model(even), model(odd)]
    for y, x in zip(results, (even, odd, even, odd), strict=True):
        torch.testing.assert_close(y, pool(x), rtol=1e-6, atol=1e-6)
    assert len(set(model.seen.values())) == 2


def test_copies_and_files_hold_no_calls():
    x = images()
    model = depool.torch.convert(nn.MaxPool2d(3, 1, 1), x, exact=True)
    with torch.no_grad():
        expected = model(x)
        file = io.BytesIO()
        torch.save(model, file)
        file.seek(0)
        for copied in (copy.deepcopy(model), torch.load(file, weights_only=False)):
            assert not fused(copied)
            assert not copied.seen
            assert torch.equal(copied(x), expected)
            assert fused(copied)


def test_another_type_forgets_the_calls():
    x = images()
    model = depool.torch.convert(nn.MaxPool2d(2), x)
    with torch.no_grad():
        model(x)
        assert fused(model)
        model.double()
        assert torch.equal(model(x.double()), nn.MaxPool2d(2)(x.double()))
    assert not fused(model)


def test_kernels_lose_only_zeros_that_no_window_needs():
    """Strides 2: of 4 columns none, of 5 the second of two would be a third window."""
    weight = torch.tensor([1.0, 0.0]).reshape(1, 1, 1, 2).repeat(2, 1, 1, 1)
    where = ([0, 0], [1, 2], [1, 1], 2)
    widths = {}
    for columns in (4, 5):
        x = images(torch.contiguous_format, (1, 2, 3, columns))
        kernel = onednn.arranged(weight, where, x)
        widths[columns] = kernel.shape[-1]
        convolved = [nn.functional.conv2d(x, w, None, (1, 2), groups=2) for w in (weight, kernel)]
        assert torch.equal(*convolved)
    assert widths == {4: 1, 5: 2}


@pytest.mark.parametrize("pool", [nn.MaxPool1d(3, 1, 1), nn.MaxPool2d(3, 1, 1), nn.MaxPool3d(2)], ids=["1", "2", "3"])
def test_every_rank_is_called_twice_with_a_batch_and_without(pool):
    """A volume without a batch has as many axes as images have with one."""
    rank = int(type(pool).__name__[-2])
    model = depool.torch.convert(pool)
    with torch.no_grad():
        for shape in ((4, *[8] * rank), (2, 4, *[8] * rank)):
            x = torch.randn(shape, generator=seeded())
            for _ in range(3):
                torch.testing.assert_close(model(x), pool(x), rtol=1e-6, atol=1e-6)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_a_pool_can_be_scripted_after_a_call():
    x = images()
    model = depool.torch.convert(nn.MaxPool2d(3, 1, 1))
    with torch.no_grad():
        expected = model(x)
        assert fused(model)
        torch.testing.assert_close(torch.jit.script(model)(x), expected)


def test_symbolic_shapes_are_traced_after_a_call():
    x = images()
    model = depool.torch.convert(nn.MaxPool2d(3, 1, 1))
    with torch.no_grad():
        model(x)
    graph = make_fx(model, tracing_mode="symbolic", _allow_non_fake_inputs=True)(x)
    assert not any("mkldnn" in str(node.target) for node in graph.graph.nodes)


def test_a_shape_that_does_not_fit_keeps_no_calls():
    model = depool.torch.convert(nn.MaxPool2d(5, 1))
    for _ in range(3):
        with torch.no_grad(), pytest.raises(RuntimeError):
            model(images(shape=(1, 8, 4, 4)))
    assert not any(step.calls for step in model.steps if isinstance(step, ConvStep))
    assert not model.seen


def test_each_number_of_threads_is_tried():
    x = images()
    model = depool.torch.convert(nn.MaxPool2d(2))
    with torch.no_grad():
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            model(x)
    assert {len(step.calls) for step in model.steps} == {2}
