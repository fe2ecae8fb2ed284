"""Well-known architectures, written out small: equal results, no pool left, another pool in its place is noticed."""

import copy

import pytest

pytest.importorskip("torch.nn", reason="PyTorch is not installed")

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import depool.torch
from depool.torch.spec import function_name, is_pool
from depool.torch.trace import traced


def unit(inputs, outputs, kernel=3, stride=1):
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(True)
    )


class Block(nn.Module):
    """ResNet's."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = nn.Conv2d(inputs, outputs, 1, stride) if stride > 1 else None

    def forward(self, x):
        identity = x
        out = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        if self.downsample is not None:
            identity = self.downsample(x)
        out += identity
        return self.relu(out)


class ResNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1, self.relu = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        self.layer1, self.layer2 = Block(8, 8, 1), Block(8, 12, 2)
        self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
        self.fc = nn.Linear(12, 5)

    def forward(self, x):
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.avgpool(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(x, 1))


def vgg():
    return nn.Sequential(
        unit(3, 6), nn.MaxPool2d(2, 2), unit(6, 8), unit(8, 8), nn.MaxPool2d(2, 2), nn.AdaptiveAvgPool2d((3, 3)),
        nn.Flatten(), nn.Linear(72, 5),
    )  # fmt: skip


class Fire(nn.Module):
    def __init__(self, inputs):
        super().__init__()
        self.squeeze, self.one, self.three = nn.Conv2d(inputs, 3, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, x):
        x = torch.relu(self.squeeze(x))
        return torch.cat([torch.relu(self.one(x)), torch.relu(self.three(x))], 1)


def squeezenet():
    pool = nn.MaxPool2d(3, 2, ceil_mode=True)
    return nn.Sequential(nn.Conv2d(3, 6, 3, 2), nn.ReLU(), pool, Fire(6), nn.MaxPool2d(3, 2, ceil_mode=True), Fire(8))


class Inception(nn.Module):
    """With a pool of averages as one branch, and functional pools as GoogLeNet and Inception have them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3)
        self.one, self.three, self.pool = unit(6, 4, 1), unit(6, 4, 3), unit(6, 4, 1)
        self.reduce = unit(12, 6, 3, 2)

    def forward(self, x):
        x = self.stem(x)  # signed
        x = F.max_pool2d(x, 3, stride=1, padding=1)
        branches = [self.one(x), self.three(x), self.pool(F.avg_pool2d(x, kernel_size=3, stride=1, padding=1))]
        x = torch.cat(branches, 1)
        return torch.cat([self.reduce(x), F.max_pool2d(x, 3, 2, 1)], 1)


class SPPF(nn.Module):
    """One pool, called three times on what a SiLU makes."""

    def __init__(self):
        super().__init__()
        self.before, self.after = nn.Conv2d(3, 4, 1), nn.Conv2d(16, 5, 1)
        self.m = nn.MaxPool2d(5, 1, 2)

    def forward(self, x):
        x = F.silu(self.before(x))
        y = self.m(x)
        z = self.m(y)
        return self.after(torch.cat((x, y, z, self.m(z)), 1))


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.middle = unit(3, 4), unit(4, 6)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(6, 4, 2, 2)
        self.out = nn.Conv2d(8, 2, 3, padding=1)

    def forward(self, x):
        skip = self.down(x)
        return self.out(torch.cat([skip, self.up(self.middle(self.pool(skip)))], 1))


def densenet():
    transition = nn.Sequential(nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 1), nn.AvgPool2d(2, 2))
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.MaxPool2d(3, 2, 1), transition, nn.AdaptiveMaxPool2d(2))


MODELS = {
    "resnet": (ResNet, 2),
    "vgg": (vgg, 3),
    "squeezenet": (squeezenet, 2),
    "inception": (Inception, 3),
    "sppf": (SPPF, 1),
    "unet": (UNet, 1),
    "densenet": (densenet, 3),
}
SIZE = (2, 3, 36, 36)


def alive(make):
    """Random weights, and BatchNorm statistics of the activations, so that they are alive and of both signs."""
    torch.manual_seed(3)
    model = make()
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.normal_()
                module.bias.normal_()
        model.train()
        for _ in range(20):
            model(torch.randn(SIZE))
    return model.eval()


def pools_left(model):
    modules = [module for module in model.modules() if is_pool(module)]
    graph = traced(model, lambda module: module.__class__ == depool.torch.ConvPool)[0]
    return modules + [n for n in graph.nodes if n.op == "call_function" and function_name(n.target)]


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", MODELS)
def test_equal_and_no_pool_left(name, exact):
    make, pools = MODELS[name]
    model = alive(make)
    x = torch.randn(SIZE)
    converted = depool.torch.convert(model, x, exact=exact)
    expected = model(x)
    assert len(converted.depool.records) == pools
    assert pools_left(model)
    assert pools_left(converted) == []
    assert expected.std() > 1e-3
    if exact and not any(record.average for record in converted.depool.records):
        assert torch.equal(converted(x), expected)
    else:  # measured: pools are within their bounds, what follows them is linear
        torch.testing.assert_close(converted(x), expected, rtol=1e-4, atol=1e-4)
    assert list(converted.state_dict()) == list(model.state_dict())
    converted.load_state_dict(model.state_dict())


@pytest.mark.parametrize("name", MODELS)
def test_another_pool_in_its_place_is_noticed(name):
    make, pools = MODELS[name]
    model = alive(make)
    x = torch.randn(SIZE)
    converted, expected = depool.torch.convert(model, x), model(x)
    noticed = 0
    for path, pool in list(converted.named_modules()):
        if isinstance(pool, depool.torch.ConvPool):
            wrong = copy.deepcopy(converted)
            parent = wrong.get_submodule(path.rpartition(".")[0])
            setattr(parent, path.rpartition(".")[2], Opposite(pool))
            noticed += not torch.allclose(wrong(x), expected, rtol=1e-4, atol=1e-4)
    assert noticed == pools


class Opposite(nn.Module):
    """The minimum for the maximum; another average by one percent."""

    def __init__(self, pool):
        super().__init__()
        self.pool = pool

    def forward(self, x):
        return -self.pool(-x) if self.pool.planned.geometry.kind == "max" else self.pool(x) * 1.01 + 0.01


def test_facts_are_found_in_them():
    """Else they would be converted as signed, and the tests of facts would say nothing about real models."""
    reasons = {name: alive(make) for name, (make, _) in MODELS.items()}
    found = {}
    for name, model in reasons.items():
        records = depool.torch.convert(model, torch.randn(SIZE)).depool.records
        found[name] = [record.facts.lower == 0 for record in records]
    assert found == {
        "resnet": [True, True],
        "vgg": [True, True, True],
        "squeezenet": [True, True],
        "inception": [False, False, True],
        "sppf": [False],
        "unet": [True],
        "densenet": [False, False, False],
    }


def test_training_goes_on():
    torch.manual_seed(0)
    model = alive(ResNet)
    x, target = torch.randn(8, 3, 36, 36), torch.arange(8) % 5
    converted = depool.torch.convert(model, x).train()
    ours = [b.clone() for p in converted.modules() if isinstance(p, depool.torch.ConvPool) for b in p.buffers()]
    assert {id(p) for p in converted.parameters()}.isdisjoint(id(b) for b in converted.buffers())
    assert [n for n, _ in converted.named_parameters()] == [n for n, _ in model.named_parameters()]
    optimiser = torch.optim.SGD(converted.parameters(), 0.1, weight_decay=0.01)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = F.cross_entropy(converted(x), target)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    after = [b for p in converted.modules() if isinstance(p, depool.torch.ConvPool) for b in p.buffers()]
    assert len(ours) > 5
    assert all(torch.equal(a, b) for a, b in zip(ours, after, strict=True))
    model.load_state_dict(converted.state_dict())
    assert torch.allclose(model.eval()(x), converted.eval()(x), atol=1e-4)
