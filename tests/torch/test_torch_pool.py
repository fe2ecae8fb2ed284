"""The layer in a pool's place: gradients, types, memory formats, sizes, copies."""

import copy
import io

import pytest

pytest.importorskip("torch.nn", reason="PyTorch is not installed")

import torch
from torch import nn

import depool.torch
from depool.errors import NotConverted
from depool.torch import ConvPool, ExactnessWarning

POOLS = {
    "2x2": nn.MaxPool2d(2),
    "3x3 padded": nn.MaxPool2d(3, 2, 1),
    "ceil": nn.MaxPool2d(3, 2, ceil_mode=True),
    "dilated": nn.MaxPool2d(2, 1, 1, 2),
    "1-D": nn.MaxPool1d(3, 2, 1),
    "3-D": nn.MaxPool3d(2),
    "adaptive": nn.AdaptiveMaxPool2d((3, 4)),
}
WAYS = [
    {"form": "branched"},
    {"form": "concat"},
    {"exact": True},
    {"scheme": "separable"},
    {"scheme": "horner"},
    {"scheme": "tree"},
    {"channels": "depthwise"},
    {"channels": "dense"},
    {"channels": "folded"},
    {"scheme": "shallow"},
    {"form": "sequential"},
    {"form": "sequential", "scheme": "shallow"},
]


def inputs(pool, *, dtype=torch.float64):
    """Distinct numbers of both signs, none of them 0."""
    rank = int(type(pool).__name__[-2])
    shape = (2, 3, *(7, 6, 5)[:rank])
    n = int(torch.tensor(shape).prod())
    return (torch.randperm(n).reshape(shape).to(dtype) - n / 2 + 0.5).requires_grad_()


def gradient(function, x, seed=0):
    y = function(x)
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed)).to(y.dtype)
    return torch.autograd.grad((y * weights).sum(), x)[0]


def converted(pool, x, way):
    try:
        return depool.torch.convert(pool.double(), x, **way)
    except NotConverted as error:
        (refusal,) = error.refusals
        pytest.skip(f"{refusal.code}: a chain, or the shallow scheme, at a signed border")


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("name", POOLS)
def test_gradients_are_the_native_ones_where_the_maximum_is_unique(name, way):
    torch.manual_seed(0)
    pool = POOLS[name]
    x = inputs(pool)
    model = converted(pool, x, way)
    torch.testing.assert_close(gradient(model, x), gradient(pool, x), rtol=1e-12, atol=0)


def test_a_maximum_of_exactly_0_passes_no_gradient_through_a_signed_chain():
    """x = r(x) - r(-x), and the derivative of a ReLU at 0 is 0; forms with branches carry x itself."""
    x = torch.tensor([[[-1.0, 0.0]]], requires_grad=True)
    for form, wanted in (("branched", 1.0), ("sequential", 0.0)):
        model = depool.torch.convert(nn.MaxPool1d(2), x, form=form)
        assert torch.autograd.grad(model(x).sum(), x)[0].tolist() == [[[0.0, wanted]]]


@pytest.mark.parametrize("way", WAYS, ids=str)
@pytest.mark.parametrize("name", POOLS)
def test_gradients_with_ties_among_the_others(name, way):
    torch.manual_seed(1)
    pool = POOLS[name]
    x = inputs(pool).detach()
    x[x < 20] = -3.0  # many equal elements; a window's maximum is not always unique
    x.requires_grad_()
    model = converted(pool, x, way)
    unique = gradient(pool, x) != 0
    tied = torch.isclose(x, torch.tensor(-3.0, dtype=x.dtype))
    ours, native = gradient(model, x), gradient(pool, x)
    assert (unique & ~tied).any()
    torch.testing.assert_close(ours[~tied], native[~tied], rtol=1e-12, atol=0)


@pytest.mark.parametrize("way", WAYS, ids=str)
def test_at_a_tie_a_window_still_gives_all_of_its_gradient(way):
    pool = nn.MaxPool2d(2)
    x = torch.full((1, 2, 4, 4), 1.5, dtype=torch.float64, requires_grad=True)
    model = depool.torch.convert(pool.double(), x, **way)
    grad = torch.autograd.grad(model(x).sum(), x)[0]
    assert grad.sum() == 8
    windows = grad.unfold(2, 2, 2).unfold(3, 2, 2).reshape(-1, 4)
    assert (windows.max(1).values == 1).all()


def test_double_backward():
    pool = nn.MaxPool2d(3, 2, 1)
    x = inputs(pool)[:1, :, :4, :3].detach().requires_grad_()
    model = depool.torch.convert(pool.double(), x)
    assert torch.autograd.gradgradcheck(lambda t: model(t).square(), (x,))


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("name", POOLS)
def test_another_type_is_planned_anew(name, dtype, exact):
    """The constants of exact gates and masks depend on the type: those of float32 are infinite in float16."""
    pool = copy.deepcopy(POOLS[name]).float()
    x = inputs(pool, dtype=torch.float32).detach() / 64
    model = depool.torch.convert(pool, x, exact=exact).to(dtype)
    assert all(torch.isfinite(buffer).all() for buffer in model.buffers())
    given = x.to(dtype)
    if exact:
        assert torch.equal(model(given), pool(given))
    else:
        eps = torch.finfo(dtype).eps
        torch.testing.assert_close(model(given), pool(given), rtol=0, atol=40 * eps)
    assert model(given).dtype == dtype


@pytest.mark.parametrize("back", ["half", "bfloat16"])
def test_there_and_back(back):
    pool = nn.MaxPool2d(3, 2, 1)
    x = torch.randn(1, 2, 9, 9) * 1e30
    model = depool.torch.convert(pool, x, exact=True)
    getattr(model, back)().float()
    assert torch.equal(model(x), pool(x))


def test_a_wider_type_than_planned_for():
    x = torch.randn(1, 2, 8, 8, dtype=torch.float64)
    model = depool.torch.convert(nn.MaxPool2d(2), exact=True)
    assert torch.equal(model(x), nn.MaxPool2d(2)(x))


def test_meta_and_deepcopy_and_saving():
    x = torch.randn(1, 2, 8, 8)
    model = depool.torch.convert(nn.MaxPool2d(3, 1, 1), x, exact=True)
    expected = nn.MaxPool2d(3, 1, 1)(x)
    assert torch.equal(copy.deepcopy(model)(x), expected)
    file = io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    assert torch.equal(torch.load(file, weights_only=False)(x), expected)
    assert copy.deepcopy(model).to("meta")(x.to("meta")).device.type == "meta"


@pytest.mark.parametrize(
    "way", [{"form": "branched"}, {"form": "concat"}, {"exact": True}, {"form": "sequential"}], ids=str
)
@pytest.mark.parametrize("name", ["2x2", "3x3 padded", "dilated", "adaptive"])
def test_nothing_that_others_read_is_written_over(name, way):
    """Sums and ReLUs are computed in place; the caller's tensor is not theirs, in either memory format."""
    pool = POOLS[name].float()
    x = torch.randn(2, 3, 7, 6, generator=torch.Generator().manual_seed(0)).abs().floor_divide(0.01)
    model = depool.torch.convert(pool, x, assume_nonnegative=True, **way)
    assert way == {"form": "sequential"} or any(getattr(step, "in_place", False) for step in model.steps)
    for layout in (torch.contiguous_format, torch.channels_last):
        given = x.to(memory_format=layout)
        with torch.no_grad():
            results = [model(given), model(given)]
        assert torch.equal(given, x)
        for y in results:
            assert torch.equal(y, pool(x))
            assert y.is_contiguous(memory_format=layout)


@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
def test_every_step_takes_backward_hooks():
    model = depool.torch.convert(nn.MaxPool2d(3, 1, 1))
    seen = []
    for module in model.modules():
        module.register_full_backward_hook(lambda *_: seen.append(1))
    x = torch.randn(1, 2, 5, 6, requires_grad=True)
    model(x).sum().backward()
    assert len(seen) > 3


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_exported_and_traced_graphs_hold_the_program_alone():
    """Nothing is written over in them, and nothing reordered, whatever pays when the pool runs by itself."""
    model = depool.torch.convert(nn.MaxPool2d(3, 1, 1))
    x = torch.randn(1, 2, 5, 6)
    exported = {str(node.target) for node in torch.export.export(model, (x,)).graph.nodes}
    assert {name for name in exported if "relu" in name or "add" in name} == {"aten.relu.default", "aten.add.Tensor"}
    traced = {node.kind() for node in torch.jit.trace(model, x).inlined_graph.nodes()}
    assert "aten::relu" in traced or "aten::relu_" in traced
    assert not traced & {"aten::permute", "aten::contiguous"}


def test_only_images_that_are_read_whole_are_reordered():
    x = torch.randn(1, 2, 8, 8)
    whole, strided = (depool.torch.convert(nn.MaxPool2d(k, s)) for k, s in ((3, 1), (2, 2)))
    assert whole._pays_reordering(x)
    assert not strided._pays_reordering(x)
    for other in (x.to(memory_format=torch.channels_last), x.double(), x[0]):
        assert not whole._pays_reordering(other)


def test_the_result_of_transposed_images_can_be_viewed():
    """Strides of the input that are neither NCHW nor channels last are not the result's, as with the native pool."""
    x = torch.randn(2, 3, 7, 6).transpose(2, 3).contiguous().transpose(2, 3)
    pool = nn.MaxPool2d(3, 1, 1)
    y = depool.torch.convert(pool)(x)
    assert y.stride() == pool(x).stride()
    torch.testing.assert_close(y, pool(x))


def test_channels_last_is_kept():
    x = torch.randn(2, 4, 8, 8).to(memory_format=torch.channels_last)
    for given in (x, None):
        model = depool.torch.convert(nn.Sequential(nn.MaxPool2d(3, 2, 1)), given)
        assert model(x).is_contiguous(memory_format=torch.channels_last)
        assert torch.equal(depool.torch.convert(nn.MaxPool2d(2), given, exact=True)(x), nn.MaxPool2d(2)(x))


def test_a_pool_that_depends_on_a_size_refuses_others():
    model = depool.torch.convert(nn.MaxPool2d(3, 2, 1), torch.randn(1, 2, 8, 8))
    if model.planned.sizes == (None, None):
        pytest.skip("this pool takes any size")
    with pytest.raises(ValueError, match="one size"):
        model(torch.randn(1, 2, 9, 9))


def test_a_pool_without_a_border_takes_any_size():
    model = depool.torch.convert(nn.MaxPool2d(2), torch.randn(1, 2, 8, 8), exact=True)
    for shape in ((3, 2, 5, 9), (2, 2, 2), (0, 2, 4, 4)):
        x = torch.randn(shape)
        assert torch.equal(model(x), nn.MaxPool2d(2)(x))


def test_any_number_of_channels_where_it_is_not_known():
    for way in WAYS:
        model = depool.torch.convert(nn.MaxPool2d(2).double(), **way)
        for channels in (1, 2, 5):
            x = torch.randn(2, channels, 6, 6, dtype=torch.float64)
            torch.testing.assert_close(model(x), nn.MaxPool2d(2)(x), rtol=0, atol=1e-13)


def test_other_shapes_are_errors():
    model = depool.torch.convert(nn.MaxPool2d(2), torch.randn(1, 2, 8, 8))
    for shape in ((8, 8), (1, 1, 2, 8, 8)):
        with pytest.raises(ValueError, match="number of spatial axes"):
            model(torch.randn(shape))
    with pytest.raises(ValueError, match="another number of channels"):
        model(torch.randn(1, 3, 8, 8))
    with pytest.raises(TypeError, match="floating-point"):
        model(torch.zeros(1, 2, 8, 8, dtype=torch.int64))


def test_autocast_warns_and_keeps_the_promise():
    pool = nn.Sequential(nn.Conv2d(2, 2, 1), nn.MaxPool2d(3, 2, 1))
    x = torch.randn(1, 2, 8, 8)
    model = depool.torch.convert(pool, x, exact=True)
    with torch.autocast("cpu", torch.bfloat16):
        expected = pool(x)
        with pytest.warns(ExactnessWarning, match="autocast is on"):
            got = model(x)
    assert torch.equal(got, expected)
    assert got.dtype == torch.bfloat16


def test_an_integer_model_is_refused():
    with pytest.raises(NotConverted, match="DTYPE"):
        depool.torch.convert(nn.MaxPool2d(2), torch.zeros(1, 2, 4, 4, dtype=torch.int32))


def test_its_weights_are_no_parameters_and_in_no_checkpoint():
    model = depool.torch.convert(nn.MaxPool2d(2))
    assert isinstance(model, ConvPool)
    assert list(model.parameters()) == []
    assert model.state_dict() == {}
    assert len(list(model.buffers())) > 1


def test_weights_that_were_on_meta_are_built_again():
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(3, 2, 1))
    x = torch.randn(1, 2, 9, 9, generator=torch.Generator().manual_seed(0)) - 2
    weights = model.state_dict()
    on_meta = copy.deepcopy(model).to("meta")
    moved = [
        depool.torch.convert(model, x, exact=True).to("meta").to_empty(device="cpu"),
        depool.torch.convert(model, x, exact=True).to_empty(device="cpu"),
        depool.torch.convert(on_meta, exact=True).to_empty(device="cpu"),
    ]
    for converted in moved:
        converted.load_state_dict(weights)
    assigned = depool.torch.convert(on_meta, exact=True)
    assigned.load_state_dict(weights, assign=True)
    for converted in (*moved, assigned):
        assert torch.equal(converted(x), model(x))
