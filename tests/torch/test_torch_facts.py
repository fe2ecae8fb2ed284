"""Which inputs of pools are taken to be >= 0, and above all which must not be: a wrong fact is a wrong answer."""

import operator
from collections import deque

import pytest

pytest.importorskip("torch.nn", reason="PyTorch is not installed")

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import depool.torch
from depool.torch.facts import nonnegative_in, nonnegative_inputs


class Before(nn.Module):
    """A function of the input, then a pool."""

    def __init__(self, function, **modules):
        super().__init__()
        self.conv = nn.Conv2d(2, 2, 1)
        self.relu = nn.ReLU()
        self.pool = nn.MaxPool2d(2)
        self.before = function
        for name, module in modules.items():
            self.add_module(name, module)

    def forward(self, x):
        return self.pool(self.before(self, self.conv(x)))


def known(model):
    return [type(pool).__name__ for pool in nonnegative_inputs(model)]


def changed(y, function):
    """y after something happened to it in place."""
    function(y)
    return y


def augmented(y):
    z = y
    z -= 1
    return y


def augmented_data(y):
    z = y.data
    z *= -1
    return y


def branch(m, x):
    y = m.relu(x)
    z = y.clone()
    z.sub_(5)
    return y


HOLDS = {
    "relu module": lambda m, x: m.relu(x),
    "F.relu": lambda m, x: F.relu(x),
    "F.relu in place": lambda m, x: F.relu(x, inplace=True),
    "torch.relu": lambda m, x: torch.relu(x),
    "torch.relu_": lambda m, x: torch.relu_(x),
    "method relu": lambda m, x: x.relu(),
    "F.relu6": lambda m, x: F.relu6(x),
    "sigmoid": lambda m, x: torch.sigmoid(x),
    "method sigmoid": lambda m, x: x.sigmoid(),
    "softmax": lambda m, x: F.softmax(x, dim=1),
    "method softmax": lambda m, x: x.softmax(1),
    "abs": lambda m, x: abs(x) if False else x.abs(),
    "exp": lambda m, x: torch.exp(x),
    "hardsigmoid": lambda m, x: F.hardsigmoid(x),
    "clamp": lambda m, x: torch.clamp(x, 0, 1),
    "clamp by name": lambda m, x: x.clamp(min=0.0),
    "clamp_min": lambda m, x: x.clamp_min(0),
    "hardtanh": lambda m, x: F.hardtanh(x, 0.0, 6.0),
    "sum": lambda m, x: m.relu(x) + x.abs(),
    "torch.add": lambda m, x: torch.add(m.relu(x), x.abs(), alpha=2),
    "product": lambda m, x: m.relu(x) * x.sigmoid(),
    "product with a number": lambda m, x: 3 * m.relu(x),
    "sum with a number": lambda m, x: m.relu(x) + 0.5,
    "cat": lambda m, x: torch.cat([m.relu(x), x.abs()], 1),
    "maximum": lambda m, x: torch.maximum(m.relu(x), x.abs()),
    "flatten and back": lambda m, x: m.relu(x).flatten(2).view(1, 2, 4, 4),
    "chunk": lambda m, x: torch.chunk(m.relu(x), 2, 1)[1],
    "getitem": lambda m, x: m.relu(x)[:, :1],
    "dropout": lambda m, x: F.dropout(m.relu(x), 0.5, m.training),
    "pad": lambda m, x: F.pad(m.relu(x), (1, 1)),
    "pad with a value": lambda m, x: F.pad(m.relu(x), (1, 1), "constant", 2.0),
    "interpolate": lambda m, x: F.interpolate(m.relu(x), scale_factor=2, mode="bilinear"),
    "another pool": lambda m, x: F.avg_pool2d(m.relu(x), 3, 1, 1),
    "permute": lambda m, x: m.relu(x).permute(0, 1, 3, 2),
    "relu, augmented": lambda m, x: augmented_sum(m.relu(x), x.abs()),
    "a copy that is changed": branch,
}


def augmented_sum(y, z):
    y += z
    return y


@pytest.mark.parametrize("name", HOLDS)
def test_known_to_be_nonnegative(name):
    model = Before(HOLDS[name])
    assert known(model) == ["MaxPool2d"]
    assert really(model)


NOT = {
    "nothing": lambda m, x: x,
    "sub_": lambda m, x: changed(m.relu(x), lambda y: y.sub_(1)),
    "augmented subtraction": lambda m, x: augmented(m.relu(x)),
    "augmented data": lambda m, x: augmented_data(m.relu(x)),
    "data": lambda m, x: changed(m.relu(x), lambda y: y.data.neg_()),
    "neg_ of a view": lambda m, x: changed(m.relu(x), lambda y: y[:, :1].neg_()),
    "neg_ of a reshape": lambda m, x: changed(m.relu(x), lambda y: y.flatten().neg_()),
    "neg_ of a chunk": lambda m, x: changed(m.relu(x), lambda y: torch.chunk(y, 2, 1)[0].neg_()),
    "neg_ of pixel_shuffle": lambda m, x: changed(m.relu(x), lambda y: F.pixel_shuffle(y, 1).neg_()),
    "neg_ of an unknown view": lambda m, x: changed(m.relu(x), lambda y: y.narrow(1, 0, 1).neg_()),
    "neg_ of attribute T": lambda m, x: changed(m.relu(x), lambda y: y.mT.neg_()),
    "neg_ of the ReLU's input": lambda m, x: changed_by(x.relu_, x.neg_),
    "out": lambda m, x: changed(m.relu(x), lambda y: torch.sub(y, 1, out=y)),
    "out from elsewhere": lambda m, x: changed(m.relu(x), lambda y: torch.sub(x, 1, out=y)),
    "copy_": lambda m, x: changed(m.relu(x), lambda y: y.copy_(x)),
    "fill_": lambda m, x: changed(m.relu(x), lambda y: y.fill_(-1)),
    "add_ of a negative number": lambda m, x: m.relu(x).add_(-1),
    "method add of a negative number": lambda m, x: m.relu(x).add(-1),
    "method mul by a negative number": lambda m, x: m.relu(x).mul(-1),
    "torch.mul by a negative number": lambda m, x: torch.mul(m.relu(x), -1),
    "operator by a negative number": lambda m, x: m.relu(x) * -1,
    "reflected": lambda m, x: -1 * m.relu(x),
    "sum with a negative number": lambda m, x: m.relu(x) + -1,
    "torch.add alpha": lambda m, x: torch.add(m.relu(x), x.abs(), alpha=-1),
    "method add alpha": lambda m, x: m.relu(x).add(x.abs(), alpha=-1),
    "add other by name": lambda m, x: torch.add(m.relu(x), other=-1),
    "difference": lambda m, x: m.relu(x) - x.abs(),
    "one minus": lambda m, x: 1 - m.relu(x),
    "negation": lambda m, x: -m.relu(x),
    "sum with signed": lambda m, x: m.relu(x) + x,
    "product with signed": lambda m, x: m.relu(x) * x,
    "cat with one signed": lambda m, x: torch.cat([m.relu(x), x], 1),
    "softmax minus its mean": lambda m, x: F.softmax(x, 1) - F.softmax(x, 1).mean(),
    "log_softmax": lambda m, x: F.log_softmax(x, 1),
    "leaky_relu": lambda m, x: F.leaky_relu(x),
    "elu": lambda m, x: F.elu(m.relu(x) - 1),
    "hardtanh": lambda m, x: F.hardtanh(x),
    "clamp below zero": lambda m, x: torch.clamp(x, -1, 1),
    "clamp with contradicting bounds": lambda m, x: torch.clamp(x, 0, -1),
    "clamp from above": lambda m, x: torch.clamp(x, max=1),
    "pad with a negative value": lambda m, x: F.pad(m.relu(x), (1, 1), value=-1.0),
    "pad with a negative value by place": lambda m, x: F.pad(m.relu(x), (1, 1), "constant", -1.0),
    "bicubic": lambda m, x: F.interpolate(m.relu(x), scale_factor=2, mode="bicubic"),
    "bicubic by place": lambda m, x: F.interpolate(m.relu(x), None, 2, "bicubic"),
    "softplus of another sign": lambda m, x: F.softplus(x, beta=-1),
    "softplus with a threshold": lambda m, x: F.softplus(x, 1.0, -100.0),
    "avg_pool2d with a negative divisor": lambda m, x: F.avg_pool2d(m.relu(x), 2, divisor_override=-1),
    "bits of another type": lambda m, x: m.relu(x).view(torch.bfloat16).float(),
    "setitem": lambda m, x: changed(m.relu(x), lambda y: operator.setitem(y, 0, -1)),
    "setitem by its method": lambda m, x: changed(m.relu(x), lambda y: y.__setitem__(0, -1)),
    "tanh": lambda m, x: torch.tanh(x),
    "instance norm": lambda m, x: F.instance_norm(m.relu(x)),
    "where": lambda m, x: torch.where(x > 0, m.relu(x), x),
    "branch on data": lambda m, x: m.relu(x) if x.sum() > 0 else x,
    "lerp": lambda m, x: torch.lerp(m.relu(x), x.abs(), 2.0),
    "mode by name": lambda m, x: m.relu(x) if m.training else x,
    "mode the other way": lambda m, x: x if m.training else m.relu(x),
}


def swallowed(x):
    try:
        if x.sum() > 0:
            x = -x
    except Exception:  # noqa: BLE001, S110 - which torch.fx's own error is too
        pass
    return x


NOT |= {
    "grad mode": lambda m, x: m.relu(x) if torch.is_grad_enabled() else x,
    "inference mode": lambda m, x: x if torch.is_inference_mode_enabled() else m.relu(x),
    "autocast": lambda m, x: x if torch.is_autocast_enabled("cpu") else m.relu(x),
    "an error that is caught": lambda m, x: swallowed(m.relu(x)),
    "an attribute that may be there": lambda m, x: x if hasattr(x, "min") else m.relu(x),
    "an attribute with a default": lambda m, x: m.relu(x) if getattr(x, "foo", True) is not None else x,
}


def changed_by(make, change):
    y = make()
    change()
    return y


@pytest.mark.parametrize("name", NOT)
def test_not_taken_to_be_nonnegative(name):
    assert known(Before(NOT[name])) == []


def really(model):
    """Whether what the pool gets on signed data is >= 0, in both modes."""
    least = []
    handle = model.pool.register_forward_pre_hook(lambda _, args: least.append(args[0].min().item()))
    for training in (True, False):
        with torch.no_grad():
            model.train(training)(torch.randn(1, 2, 4, 4) * 10)
    handle.remove()
    return len(least) == 2 and min(least) >= 0


def test_both_lists_are_true():
    torch.manual_seed(0)
    wrong = [name for name, function in HOLDS.items() if not really(Before(function))]
    negative = sum(signed_somewhere(Before(function)) for function in NOT.values())
    assert wrong == []
    assert negative >= 45


def signed_somewhere(model):
    try:
        return any(not really(model) for _ in range(5))
    except (RuntimeError, ValueError, TypeError):
        return False


MODULES = {
    "ReLU": (nn.ReLU(), True),
    "ReLU6": (nn.ReLU6(), True),
    "Sigmoid": (nn.Sigmoid(), True),
    "Hardtanh 0 6": (nn.Hardtanh(0.0, 6.0), True),
    "Hardtanh": (nn.Hardtanh(-1.0, 1.0), False),
    "LeakyReLU": (nn.LeakyReLU(), False),
    "PReLU": (nn.PReLU(), False),
    "ReLU then pad": (nn.Sequential(nn.ReLU(), nn.ZeroPad2d(1)), True),
    "ReLU then constant": (nn.Sequential(nn.ReLU(), nn.ConstantPad2d(1, -1.0)), False),
    "ReLU then nearest": (nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2)), True),
    "ReLU then bicubic": (nn.Sequential(nn.ReLU(), nn.Upsample(scale_factor=2, mode="bicubic")), False),
    "ReLU then BatchNorm": (nn.Sequential(nn.ReLU(), nn.BatchNorm2d(2)), False),
    "ReLU then LeakyReLU in place": (nn.Sequential(nn.ReLU(), nn.LeakyReLU(inplace=True)), False),
    "ReLU then average": (nn.Sequential(nn.ReLU(), nn.AvgPool2d(3, 1, 1)), True),
    "ReLU then negative average": (nn.Sequential(nn.ReLU(), nn.AvgPool2d(3, 1, 1, divisor_override=-2)), False),
    "Softplus": (nn.Softplus(beta=-1), False),
    "AlphaDropout": (nn.Sequential(nn.ReLU(), nn.AlphaDropout(0.5)), False),
    "Dropout2d": (nn.Sequential(nn.ReLU(), nn.Dropout2d(0.5)), True),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules(name):
    module, holds = MODULES[name]
    model = nn.Sequential(nn.Conv2d(2, 2, 1), module, nn.MaxPool2d(2))
    assert (model[2] in nonnegative_inputs(model)) is holds


def sequence(relu=None):
    return nn.Sequential(nn.Conv2d(2, 2, 1), relu or nn.ReLU(), nn.MaxPool2d(3, padding=1))


def test_a_hook_may_change_what_it_likes():
    model = sequence()
    assert known(model) == ["MaxPool2d"]
    handle = model[1].register_forward_hook(lambda module, args, output: output - 1)
    assert known(model) == []
    handle.remove()
    model[2].register_forward_pre_hook(lambda module, args: (args[0] - 1,))
    assert known(model) == []


def test_a_hook_of_all_modules_may_too():
    handle = nn.modules.module.register_module_forward_hook(lambda module, args, output: output - 1)
    try:
        assert known(sequence()) == []
    finally:
        handle.remove()


def test_a_forward_that_was_replaced_says_nothing():
    relu = nn.ReLU()
    relu.forward = lambda x: x - 1
    assert known(sequence(relu)) == []
    model = sequence()
    model.forward = lambda x: model[2](model[0](x))
    assert known(model) == []


def test_a_subclass_may_compute_something_else():
    class Shifted(nn.ReLU):
        def forward(self, x):
            return super().forward(x) - 1

    assert known(sequence(Shifted())) == []


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_shared_pool_needs_all_its_inputs_to_be_nonnegative(order):
    class Twice(Before):
        def forward(self, x):
            inputs = [self.relu(x), x]
            return [self.pool(inputs[i]) for i in order]

    assert known(Twice(None)) == []


def test_an_inplace_relu_after_a_signed_use():
    class Model(Before):
        def forward(self, x):
            y = self.conv(x)
            z = self.pool(y)
            return self.pool(torch.relu_(y)) + z

    assert known(Model(None)) == []


def test_two_arguments_may_be_one_tensor():
    class Model(Before):
        def forward(self, x, z):
            y = torch.relu_(x)
            z.sub_(1)
            return self.pool(y)

    assert known(Model(None)) == []


class Optional(Before):
    def forward(self, x, mask=None):
        y = x if mask is None else self.relu(x) * mask.abs()
        return self.pool(y)


def test_an_argument_that_may_be_none():
    assert known(Optional(None)) == []


def test_an_argument_whose_type_decides():
    class Model(Before):
        def forward(self, x):
            return self.pool(x if isinstance(x, torch.Tensor) else self.relu(x))

    assert known(Model(None)) == []


def test_attributes_that_are_none_are_no_arguments():
    class Model(Before):
        def forward(self, x):
            x = self.relu(x)
            if self.norm is not None:
                x = self.norm(x)
            return self.pool(x)

    model = Model(None)
    model.norm = None
    assert known(model) == ["MaxPool2d"]
    model.norm = nn.BatchNorm2d(2)
    assert known(model) == []


def test_a_user_function_may_write():
    assert known(Before(lambda m, x: changed(m.relu(x), scale))) == []


def scale(y):
    torch._foreach_neg_([y])


def test_tracing_leaves_the_modes_alone():
    model = sequence()
    model[0].eval()
    before = [module.training for module in model.modules()]
    nonnegative_inputs(model)
    assert [module.training for module in model.modules()] == before


class Remembers(nn.Module):
    """Counts its calls, and keeps what it got."""

    def __init__(self):
        super().__init__()
        self.calls, self.last, self.log = 0, None, deque()

    def forward(self, x):
        self.calls += 1
        self.last = x
        self.log.append(x)
        return torch.relu(x)


def test_children_are_as_they_were_before_a_trace():
    model = nn.Sequential(nn.Sequential(Remembers()), nn.MaxPool2d(2))
    assert known(model) == []
    assert (model[0][0].calls, model[0][0].last, len(model[0][0].log)) == (0, None, 0)


def test_a_converted_pool_keeps_what_is_known():
    model = nn.Sequential(nn.ReLU(), nn.MaxPool2d(3, 2, 1), nn.AvgPool2d(2, 1), nn.MaxPool2d(3, 2, 1))
    for exact, kept in ((True, ["MaxPool2d"]), (False, [])):
        way = {"exact": True} if exact else {"scheme": "shallow"}
        first = depool.torch.convert(model, only=["1", "2"], **way)
        assert known(first) == kept
    first[1].register_forward_hook(lambda module, args, output: output - 1)
    assert known(first) == []


def test_aten_operators_of_an_exported_graph():
    """torch.export writes all of it as operators; a rule of a name must read their arguments too."""
    for function, holds in [
        (lambda x: x.relu(), True),
        (F.relu6, True),
        (lambda x: x.relu().add(-1), False),
        (lambda x: x.relu().add_(-1), False),
        (lambda x: torch.add(x.relu(), x.abs(), alpha=-1), False),
        (lambda x: x.relu() * 2, True),
        (lambda x: F.pad(x.relu(), (1, 1), value=-1.0), False),
        (lambda x: changed(x.relu(), lambda y: y.neg_()), False),
        (lambda x: changed(x.relu(), lambda y: y[:, 0].neg_()), False),
        (F.hardtanh, False),
    ]:
        model = Before(lambda m, x, function=function: function(x))
        graph = torch.export.export(model, (torch.randn(1, 2, 4, 4),)).module()
        node = next(n for n in graph.graph.nodes if "max_pool2d" in str(n.target))
        graph.add_module("pool_", nn.MaxPool2d(2))
        with graph.graph.inserting_before(node):
            call = graph.graph.call_module("pool_", (node.args[0],))
        node.replace_all_uses_with(call)
        assert bool(nonnegative_in(graph, graph.graph)) is holds
