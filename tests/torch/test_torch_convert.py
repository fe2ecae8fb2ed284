"""What conversion keeps, finds, lifts and refuses."""

import copy
import io
import random
import warnings

import pytest

pytest.importorskip("torch.nn", reason="PyTorch is not installed")

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import depool.torch
from depool.errors import NotConverted, UsageError
from depool.torch import ConvPool

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Functional(nn.Module):
    """A user's module: attributes, a method, dropout, and a functional pool."""

    def __init__(self):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.scale = 2.0
        self.notes = ["kept"]

    def described(self):
        return f"scale {self.scale}"

    def forward(self, x):
        x = self.bn(self.conv(x))
        x = F.dropout(x, 0.5, training=self.training) * self.scale
        return F.max_pool2d(x, 3, stride=2, padding=1)


def refused(model, example=X, **wishes):
    with pytest.raises(NotConverted) as caught:
        depool.torch.convert(model, example, **wishes)
    return [(refusal.code, refusal.where) for refusal in caught.value.refusals]


def test_a_lifted_forward_keeps_everything_else():
    model = Functional().eval()
    converted = depool.torch.convert(model, X, exact=True)
    assert torch.equal(converted(X), model(X))
    assert (converted.described(), converted.notes, type(converted).__name__) == ("scale 2.0", ["kept"], "Functional")
    assert isinstance(converted, Functional)
    assert type(model) is Functional
    assert list(converted.state_dict()) == list(model.state_dict())
    assert isinstance(converted.max_pool2d, ConvPool)


def test_a_lifted_forward_still_asks_for_its_mode():
    model = Functional()
    converted = depool.torch.convert(model, X, exact=True)
    for mode in (True, False):
        outputs = []
        for m in (copy.deepcopy(model), copy.deepcopy(converted)):
            torch.manual_seed(4)
            outputs.append(m.train(mode)(X))
        assert torch.equal(*outputs)


def test_a_lifted_module_is_copied_and_saved():
    converted = depool.torch.convert(Functional().eval(), X)
    file = io.BytesIO()
    torch.save(converted, file)
    file.seek(0)
    for other in (copy.deepcopy(converted), torch.load(file, weights_only=False)):
        assert torch.equal(other(X), converted(X))
        assert isinstance(other, Functional)
        assert isinstance(other.max_pool2d, ConvPool)


def test_modes_names_hooks_and_shared_modules_stay():
    pool = nn.MaxPool2d(3, 1, 1)
    model = nn.Sequential()
    model.add_module("first", pool)
    model.add_module("conv", nn.Conv2d(3, 3, 1))
    model.add_module("again", pool)
    model.add_module("list", nn.ModuleList([nn.ModuleDict({"a": nn.MaxPool2d(2)})]))
    calls = []
    pool.register_forward_hook(lambda *_: calls.append("after"))
    pool.register_forward_pre_hook(lambda *_: calls.append("before"))
    model.conv.eval()
    converted = depool.torch.convert(model)
    assert [name for name, _ in converted.named_children()] == ["first", "conv", "list"]
    assert converted.first is converted.again
    assert isinstance(converted.list[0]["a"], ConvPool)
    assert (converted.first.training, converted.conv.training) == (True, False)
    calls.clear()
    converted.first(X)
    assert calls == ["before", "after"]
    assert isinstance(model.first, nn.MaxPool2d)


def test_a_hook_that_changes_the_input_of_a_pool():
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1))
    model[1].register_forward_pre_hook(lambda _, args: (args[0] - 1,))
    assert torch.equal(depool.torch.convert(model, X, exact=True)(X), model(X))


@pytest.mark.parametrize("pool", [nn.MaxPool2d(2), nn.AvgPool2d(3, 2, 1), nn.AdaptiveMaxPool2d(3)], ids=str)
def test_the_module_itself_may_be_a_pool(pool):
    converted = depool.torch.convert(pool, X)
    assert isinstance(converted, ConvPool)
    torch.testing.assert_close(converted(X), pool(X), rtol=0, atol=2e-6)
    assert converted.depool.records[0].where == ""


def test_only_skip_and_pools():
    model = nn.Sequential(nn.MaxPool2d(2), nn.AvgPool2d(2), nn.MaxPool2d(2))

    def left(**wishes):
        return [name for name, m in depool.torch.convert(model, **wishes).named_children() if "Conv" not in repr(m)[:4]]

    assert left() == []
    assert left(pools="max") == ["1"]
    assert left(only=["0"]) == ["1", "2"]
    assert left(skip=["0"]) == ["0"]
    with pytest.raises(UsageError, match="no pool is named like nothing"):
        depool.torch.convert(model, only=["nothing"])


class Own(nn.MaxPool2d):
    def forward(self, x):
        return super().forward(F.pad(x, (1, 1)))


def test_refusals_of_modules():
    model = nn.Sequential(nn.MaxPool2d(2, return_indices=True), Own(2), nn.LPPool2d(2, 2), nn.MaxPool2d(2))
    assert refused(model, None) == [("INDICES_USED", "0"), ("OVERRIDDEN", "1")]
    partial = depool.torch.convert(model, allow_partial=True)
    assert [r.where for r in partial.depool.records] == ["3"]
    assert [r.code for r in partial.depool.left] == ["NOT_A_MAX_POOL"]
    replaced = nn.MaxPool2d(2)
    replaced.forward = lambda x: x
    assert refused(nn.Sequential(replaced), None) == [("OVERRIDDEN", "0")]
    assert refused(nn.AdaptiveMaxPool2d(2), None) == [("DYNAMIC_GLOBAL", "")]


class Pooled(nn.Module):
    """x -> a pool of what a function makes of it."""

    def __init__(self, function):
        super().__init__()
        self.function = function
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("steps", torch.zeros(1))
        self.seen = []
        self.inner = nn.Dropout(0.5)

    def forward(self, x, mask=None):
        return F.max_pool2d(self.function(self, x, mask), 2)


def assigned(m, x, mask):
    m.last = x
    return x


def grad_off(m, x, mask):
    with torch.no_grad():
        return x * m.scale


def remembered(m, x, mask):
    m.seen.append(x)
    return x


def augmented(m, x, mask):
    y = x
    y += 1
    return x


UNTRACEABLE = {
    "control flow": lambda m, x, mask: x if x.sum() > 0 else -x,
    "an argument that may be None": lambda m, x, mask: x if mask is None else x * mask,
    "a type that decides": lambda m, x, mask: x if isinstance(x, torch.Tensor) else x[0],
    "an attribute that is set": assigned,
    "a list that grows": remembered,
    "a context": grad_off,
    "a context of a decorator": lambda m, x, mask: torch.no_grad()(torch.relu)(x * m.scale),
    "random numbers of Python": lambda m, x, mask: x * random.random(),  # noqa: S311
    "a random choice": lambda m, x, mask: x if random.random() < 2 else -x,  # noqa: S311
    "random numbers of PyTorch": lambda m, x, mask: x * float(torch.rand(())),
    "a tensor of its own": lambda m, x, mask: x + torch.ones(1),
    "a mode of PyTorch": lambda m, x, mask: x * 2 if torch.is_grad_enabled() else x,
    "an attribute of a tensor": lambda m, x, mask: x * 2 if hasattr(x, "foo") else x,
    "the mode of a child": lambda m, x, mask: F.dropout(x, 0.5, m.inner.training),
    "another way in training": lambda m, x, mask: x * 2 if m.training else x,
}


@pytest.mark.parametrize("name", UNTRACEABLE)
def test_what_cannot_be_rewritten_is_refused(name):
    model = Pooled(UNTRACEABLE[name]).eval()
    before = dict(vars(model))
    assert refused(model) == [("NOT_TRACEABLE", "")]
    partial = depool.torch.convert(model, X, allow_partial=True)
    assert [r.code for r in partial.depool.refusals] == ["NOT_TRACEABLE"]
    assert vars(model).keys() - {"last"} == before.keys() - {"last"}
    assert all(isinstance(x, torch.Tensor) for x in partial.seen)


def test_statements_in_place_stay_in_place():
    model = Pooled(augmented)
    converted = depool.torch.convert(model, X.clone(), exact=True)
    ours, native = X.clone(), X.clone()
    assert torch.equal(converted(ours), model(native))
    assert torch.equal(ours, native)
    assert torch.equal(ours, X + 1)


def test_buffers_are_counted_on_calls_alone():
    model = Pooled(lambda m, x, mask: (m.steps.add_(1), x)[1])
    converted = depool.torch.convert(model)
    assert converted.steps == 0
    converted(X)
    converted(X)
    assert converted.steps == 2


def test_a_conversion_counts_and_remembers_nothing():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.calls, self.last = 0, None
            self.register_buffer("steps", torch.zeros(1))

        def forward(self, x):
            self.calls, self.last = self.calls + 1, x
            self.steps.add_(1)
            x += 1
            return x

    x = X.clone()
    converted = depool.torch.convert(nn.Sequential(Counting(), nn.MaxPool2d(2)), x)
    assert (converted[0].calls, converted[0].last, converted[0].steps) == (0, None, 0)
    assert torch.equal(x, X)


def test_a_kernel_computed_from_the_input_is_refused():
    class Global(nn.Module):
        def forward(self, x):
            return F.avg_pool2d(x, x.shape[2:])

    assert refused(Global()) == [("ATTRIBUTES", "avg_pool2d")]
    assert depool.torch.convert(nn.Sequential(Global(), nn.MaxPool2d(1)), X, pools="max").depool.refusals == ()


class Calls(nn.Module):
    """A pooling module, and functions that need no lifting."""

    def __init__(self, function, factor=1):
        super().__init__()
        self.pool = nn.MaxPool2d(2)
        self.function, self.factor = function, factor

    def forward(self, x):
        return self.function(self.pool(x)) * self.factor


def test_functions_that_are_not_selected_are_not_lifted():
    model = Calls(lambda x: F.max_pool2d(x, 2))
    converted = depool.torch.convert(model, X, only=["pool"], exact=True)
    assert (type(converted), [r.where for r in converted.depool.records]) == (Calls, ["pool"])
    converted.factor = 3
    assert torch.equal(converted(X), model(X) * 3)
    two = Calls(lambda x: F.max_pool2d(F.max_pool2d(x, 2), 2))
    for wishes, names in (({"only": ["max_pool2d_1"]}, ["max_pool2d_1"]), ({"skip": ["*_1"]}, ["pool", "max_pool2d"])):
        converted = depool.torch.convert(two, X, exact=True, **wishes)
        assert sorted(r.where for r in converted.depool.records) == sorted(names)
        assert torch.equal(converted(X), two(X))


def test_functions_that_are_no_maxima_do_not_stand_in_the_way():
    model = Calls(lambda x: F.lp_pool2d(x, 2.0, 2))
    done = depool.torch.convert(model, X).depool
    assert ([r.where for r in done.records], done.refusals) == (["pool"], ())
    assert [(r.code, r.where) for r in done.left] == [("NOT_A_MAX_POOL", "lp_pool2d")]


def test_operators_of_aten():
    model = Calls(lambda x: torch.ops.aten.avg_pool2d(torch.ops.aten.max_pool2d.default(x, [2, 2]), [2, 2]))
    done = depool.torch.convert(model, X).depool
    assert [r.where for r in done.records] == ["pool", "max_pool2d", "avg_pool2d"]
    model = Calls(lambda x: torch.ops.aten.max_pool2d(self=x, kernel_size=[2, 2]))
    assert torch.equal(depool.torch.convert(model, X, exact=True)(X), model(X))


def test_two_conversions_add_up():
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.Conv2d(3, 3, 1), nn.MaxPool2d(2))
    first = depool.torch.convert(model, X, only=["1"], exact=True)
    second = depool.torch.convert(first, X, only=["3"], exact=True)
    assert [r.where for r in second.depool.records] == ["1", "3"]
    assert [c.spec for c in second.depool.conversions] == [r.spec for r in second.depool.records]
    assert second.depool.inputs == first.depool.inputs
    assert torch.equal(second(X), model(X))


def test_scripted_children_stay():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*torch.jit.*", DeprecationWarning)
        model = nn.Sequential(torch.jit.script(nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU())), nn.MaxPool2d(2))
        assert torch.equal(depool.torch.convert(model, X, exact=True)(X), model(X))


def test_a_pool_called_by_a_hook_is_not_passed_over():
    model = nn.Sequential(nn.Conv2d(3, 3, 1))
    model[0].register_forward_hook(lambda module, args, output: F.max_pool2d(output, 2))
    assert ("NOT_TRACEABLE", "") in {(code, "") for code, _ in refused(model)}


def test_a_replaced_forward_is_not_rewritten():
    model = Functional().eval()
    model.forward = lambda x: F.max_pool2d(x, 2)
    assert refused(model)[0][0] == "NOT_TRACEABLE"


class Tapped(nn.Module):
    """Reads its layers' types and attributes."""

    def __init__(self, asks):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(3, 2, ceil_mode=True), nn.Conv2d(4, 2, 1))
        self.asks = asks

    def forward(self, x):
        taps = []
        for layer in self.features:
            if self.asks and isinstance(layer, nn.MaxPool2d):
                taps.append(x.mean())
            x = layer(x)
        return {"y": x * self.features[1].kernel_size + self.features[1].stride, "taps": taps}


def test_a_forward_that_asks_for_the_type_of_its_pools():
    assert refused(Tapped(asks=True)) == [("BEHAVES_OTHERWISE", "")]
    assert refused(Tapped(asks=True), allow_partial=True) == [("BEHAVES_OTHERWISE", "")]
    model = Tapped(asks=False)
    converted = depool.torch.convert(model, X, exact=True)
    assert torch.equal(converted(X)["y"], model(X)["y"])


def test_the_result_of_an_average_may_round():
    class Steep(nn.Module):
        def forward(self, x):
            return (F.avg_pool2d(x, 3) * 2.0**20).sin()

    x = torch.randn(4, 3, 9, 9, generator=torch.Generator().manual_seed(0))
    assert not torch.equal(depool.torch.convert(Steep(), x)(x), Steep()(x))


def test_geometry_may_be_read():
    for pool in (nn.MaxPool2d(3, padding=1), nn.AvgPool2d((2, 3), ceil_mode=True), nn.AdaptiveAvgPool2d((None, 2))):
        converted = depool.torch.convert(pool, X)
        public = {name for name in vars(pool) if not name.startswith("_")}
        assert {name: getattr(converted, name) for name in public} == {name: getattr(pool, name) for name in public}
        assert torch.equal(converted(input=X), converted(X))


def test_mistakes_of_the_caller():
    with pytest.raises(UsageError, match="is needed, not function"):
        depool.torch.convert(F.relu)
    with pytest.raises(UsageError, match="does not run on the example inputs"):
        depool.torch.convert(nn.Sequential(nn.Conv2d(3, 3, 1), nn.MaxPool2d(2)), torch.randn(1, 5, 8, 8))
    with pytest.raises(UsageError, match="max or all"):
        depool.torch.convert(nn.MaxPool2d(2), pools="min")
