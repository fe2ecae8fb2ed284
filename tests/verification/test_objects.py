"""`depool.verify` on model objects: right conversions pass, each kind of wrong one is named."""

from __future__ import annotations

import copy
import warnings

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="PyTorch is not installed")

from torch import nn  # noqa: E402

import depool  # noqa: E402
from depool.errors import UsageError  # noqa: E402
from depool.verification.subjects import framework_of  # noqa: E402


class Net(nn.Module):
    """Signed data at a padded pool, a function, an average."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3, padding=1)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.out = nn.Linear(6 * 9, 4)

    def forward(self, x):
        y = self.pool(self.conv(x))
        y = nn.functional.max_pool2d(y, 2, stride=1, padding=1)
        return self.out(nn.functional.adaptive_avg_pool2d(y, 3).flatten(1))


@pytest.fixture(scope="module")
def pair():
    torch.manual_seed(3)
    original = Net().eval()
    return original, depool.torch.convert(original, torch.randn(2, 3, 16, 14))


def changed(converted, change):
    wrong = copy.deepcopy(converted)
    with torch.no_grad():
        change(wrong)
    return wrong


def test_a_right_conversion(pair):
    verdict = depool.verify(*pair)
    assert verdict.equal is True
    assert verdict.summary == "equal: 3 pools keep their promise, and nothing else was changed"
    assert [check.where for check in verdict.pools] == ["pool", "max_pool2d", "adaptive_avg_pool2d"]
    assert all(check.windows > 1000 for check in verdict.pools if check.where != "adaptive_avg_pool2d")


def test_average_pools_would_be_noticed(pair):
    (check,) = depool.verify(*pair).outputs
    assert check.noticed is True
    assert check.swapped > 1e-3 > check.difference.max_abs


def test_a_wrong_pool_is_named_and_saved(pair, tmp_path):
    wrong = changed(pair[1], lambda model: model.pool.steps[0].weight.neg_())
    verdict = depool.verify(pair[0], wrong, counterexample=tmp_path / "wrong.npz")
    assert verdict.equal is False
    assert "1 of 3 pools break their promise; pool: differs by" in verdict.summary
    saved = np.load(tmp_path / "wrong.npz")
    native = pair[0].pool(torch.from_numpy(saved["x"])).numpy()
    assert np.array_equal(native, saved["expected"])
    assert not np.array_equal(saved["got"], native)


def test_no_file_is_left_unless_asked_for(pair, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = changed(pair[1], lambda model: model.pool.steps[0].weight.neg_())
    assert depool.verify(pair[0], wrong).counterexample is None
    assert list(tmp_path.iterdir()) == []


def test_another_weight_is_a_change(pair):
    wrong = changed(pair[1], lambda model: model.conv.weight.mul_(1 + 1e-6))
    verdict = depool.verify(*(pair[0], wrong))
    assert verdict.equal is False
    assert "something else was changed" in verdict.summary


def test_another_forward_is_a_change(pair):
    wrong = copy.deepcopy(pair[1])
    wrong.conv.register_forward_hook(lambda _module, _args, output: output * (1 + 1e-6))
    verdict = depool.verify(pair[0], wrong)
    assert verdict.equal is False
    assert "something else was changed" in verdict.summary


class Tapped(nn.Module):
    """Looks at the class of its layers, as encoders do that take a tap before each pool."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Conv2d(2, 3, 3), nn.MaxPool2d(2), nn.Conv2d(3, 3, 3), nn.MaxPool2d(2)])

    def forward(self, x):
        taps = 0.0
        for layer in self.layers:
            if isinstance(layer, nn.MaxPool2d):
                taps = taps + x.mean((1, 2, 3))
            x = layer(x)
        return x.mean((1, 2, 3)) + taps


def test_a_forward_that_asks_for_the_class_of_a_pool_is_noticed():
    original = Tapped().eval()
    converted = depool.torch.convert(original)
    verdict = depool.verify(original, converted, shapes={"x": (2, 2, 16, 16)})
    assert verdict.equal is False
    assert "around its pools the converted model computes something else" in verdict.summary


def test_hooks_on_pools_belong_to_both_models():
    original = nn.Sequential(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2)).eval()
    original[1].register_forward_hook(lambda _module, _args, output: output * 1.5)
    assert depool.verify(original, depool.torch.convert(original, torch.randn(1, 2, 9, 9))).equal is True


def test_inputs_of_integers_are_known_from_the_conversion():
    original = nn.Sequential(nn.Embedding(10, 4), nn.MaxPool1d(2)).eval()
    converted = depool.torch.convert(original, torch.randint(0, 10, (2, 6)))
    assert depool.verify(original, converted).equal is True


def test_outputs_that_are_never_finite_say_nothing():
    model = nn.Sequential(nn.Conv2d(2, 3, 3))
    model[0].weight.data.fill_(float("nan"))
    verdict = depool.verify(model, copy.deepcopy(model), shapes={"input": (1, 2, 5, 5)})
    assert verdict.equal is None
    assert "is never finite" in verdict.summary


def test_outputs_are_paired_by_name():
    class Two(nn.Module):
        def __init__(self, swapped):
            super().__init__()
            self.swapped = swapped

        def forward(self, x):
            found = {"a": x, "b": -x}
            return dict(reversed(found.items())) if self.swapped else found

    assert depool.verify(Two(False), Two(True), shapes={"x": (2, 3)}).equal is True


def test_a_broken_assumption_is_no_proof(pair):
    assumed = depool.torch.convert(pair[0], torch.randn(2, 3, 16, 14), assume_nonnegative=True)
    verdict = depool.verify(pair[0], assumed)
    assert verdict.equal is None
    assert any("a broken assumption" in note for note in verdict.notes)


def test_models_without_a_promise_are_measured(pair):
    torch.manual_seed(4)
    other = Net().eval()
    shapes = {"x": (2, 3, 16, 14)}
    assert depool.verify(pair[0], other, shapes=shapes).equal is False
    same = depool.verify(pair[0], copy.deepcopy(pair[0]), shapes=shapes)
    assert same.equal is True
    assert "nothing is promised" in same.summary


def test_unknown_shapes_are_asked_for(pair):
    with pytest.raises(UsageError, match=r"give shapes=\{'x'"):
        depool.verify(pair[0], copy.deepcopy(pair[0]))


def test_models_are_compared_in_evaluation():
    """In training BatchNorm would take the drawn inputs into its statistics."""
    original = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2)).train()
    converted = depool.torch.convert(original, torch.randn(1, 3, 9, 9))
    before = copy.deepcopy(original.state_dict())
    assert depool.verify(original, converted).equal is True
    for model in (original, converted):
        assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_mode_and_the_random_state_stay(pair):
    original, converted = (copy.deepcopy(model).train() for model in pair)
    before = torch.get_rng_state()
    depool.verify(original, converted)
    assert torch.equal(torch.get_rng_state(), before)
    assert original.training
    assert converted.pool.training


def test_a_module_against_an_onnx_file(pair, tmp_path):
    pytest.importorskip("onnxscript")
    path = tmp_path / "net.onnx"
    export(pair[1], path)
    verdict = depool.verify(pair[0], path)
    assert verdict.equal is True
    assert verdict.outputs[0].within is True
    assert verdict.pools == ()
    swapped = copy.deepcopy(pair[0])
    swapped.pool = nn.AvgPool2d(3, 2, 1)
    assert depool.verify(swapped, path).equal is False


def export(module, path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (torch.randn(2, 3, 16, 14),), path, dynamo=True, verbose=False)


def test_nonfinite_is_for_onnx_files(pair):
    with pytest.raises(UsageError, match="nonfinite is for ONNX files only"):
        depool.verify(*pair, nonfinite=True)


def test_the_users_own_data_decide_whether_a_declaration_holds(tmp_path):
    net = nn.Sequential(nn.Identity(), nn.MaxPool2d(3, 2, 1))
    assumed = depool.torch.convert(net, torch.rand(1, 2, 8, 8), assume_nonnegative=True)
    np.savez(tmp_path / "real.npz", input=np.random.default_rng(0).random((1, 2, 8, 8), np.float32))
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    assert depool.verify(net, assumed).equal is None
    assert depool.verify(net, assumed, data=tmp_path / "real.npz").equal is True
    with pytest.raises(UsageError, match="has no array 'input'; it has x"):
        depool.verify(net, assumed, data=tmp_path / "other.npz")


@pytest.mark.parametrize("layouts", ["NHWC", ("NCHW",), ("up", "NCHW")])
def test_layouts_are_two_known_words(pair, layouts):
    with pytest.raises(UsageError, match="layouts must be two of NHWC and NCHW"):
        depool.verify(*pair, layouts=layouts)


@pytest.mark.parametrize("function", [depool.convert, depool.inspect])
def test_functions_of_files_name_those_of_objects(function):
    with pytest.raises(UsageError, match=r"takes a file.*depool\.torch\.convert"):
        function(nn.MaxPool2d(2))


def test_what_is_no_model_is_refused(pair):
    with pytest.raises(UsageError, match="not dict"):
        depool.verify(pair[0], {})


@pytest.mark.parametrize(
    ("path", "framework"),
    [("a.onnx", "onnx"), ("-", "onnx"), ("a", "onnx"), ("a.KERAS", "keras"), ("b/a.pt2", "torch"), ("a.pth", "torch")],
)
def test_files_belong_to_the_framework_of_their_ending(path, framework):
    assert framework_of(path) == framework
