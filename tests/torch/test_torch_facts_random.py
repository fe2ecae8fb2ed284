"""Random small models: whatever is said to be >= 0 really is, on signed data, in both modes."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("torch.nn", reason="PyTorch is not installed")

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

from depool.torch.facts import nonnegative_inputs


def subtracted(y, z):
    w = y
    w -= 1
    return z


ONE = {
    "relu": torch.relu,
    "relu_": torch.relu_,
    "method relu": lambda y: y.relu(),
    "abs": torch.abs,
    "square": torch.square,
    "exp": lambda y: torch.exp(y.clamp(-5, 5)),
    "neg": torch.neg,
    "neg_": lambda y: y.neg_(),
    "sub": lambda y: y - 0.5,
    "sub_": lambda y: y.sub_(0.5),
    "add": lambda y: y + 0.5,
    "add method": lambda y: y.add(-0.5),
    "add_": lambda y: y.add_(0.5),
    "mul": lambda y: y * -2,
    "mul method": lambda y: y.mul(-1.0),
    "mul positive": lambda y: 2 * y,
    "clamp": lambda y: y.clamp(0, 2),
    "clamp low": lambda y: torch.clamp(y, -2, 2),
    "clamp contradicting": lambda y: torch.clamp(y, 0, -1),
    "hardtanh": lambda y: F.hardtanh(y, 0.0, 6.0),
    "leaky": lambda y: F.leaky_relu(y, 0.5),
    "leaky in place": lambda y: F.leaky_relu_(y, 0.5),
    "relu in place": lambda y: F.relu(y, True),
    "flatten": lambda y: y.flatten(2).view(y.shape),
    "view written": lambda y: (y.view(-1).sub_(1), y)[1],
    "slice written": lambda y: (y[:, 0].mul_(-1), y)[1],
    "chunk written": lambda y: (torch.chunk(y, 2, 1)[1].fill_(-1.0), y)[1],
    "copy written": lambda y: (y.clone().sub_(1), y)[1],
    "transposed": lambda y: y.transpose(2, 3),
    "contiguous": lambda y: y.contiguous(),
    "detached": lambda y: y.detach(),
    "padded": lambda y: F.pad(y, (1, -1)),
    "padded below": lambda y: F.pad(y, (1, -1), value=-1.0),
    "bicubic": lambda y: F.interpolate(y, (4, 4), None, "bicubic"),
    "bilinear": lambda y: F.interpolate(y, (4, 4), mode="bilinear"),
    "dropout": lambda y: F.dropout(y, 0.5, True),
    "softmax": lambda y: F.softmax(y, 1),
    "pooled": lambda y: F.max_pool2d(y, 3, 1, 1),
    "averaged": lambda y: F.avg_pool2d(y, 3, 1, 1),
    "averaged below": lambda y: F.avg_pool2d(y, 3, 1, 1, divisor_override=-3),
    "pixel shuffle": lambda y: F.pixel_shuffle(y, 1),
    "tanh": torch.tanh,
    "augmented": lambda y: subtracted(y, y),
}
TWO = {
    "add": torch.add,
    "add_": lambda y, z: y.add_(z),
    "alpha": lambda y, z: torch.add(y, z, alpha=-1),
    "alpha method": lambda y, z: y.add(z, alpha=-1),
    "sub": torch.sub,
    "mul": torch.mul,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
    "cat": lambda y, z: torch.cat([y, z], 1)[:, 1:3],
    "stack": lambda y, z: torch.stack([y, z]).sum(0),
    "copy_": lambda y, z: y.copy_(z),
    "out": lambda y, z: torch.sub(y, z, out=y),
    "out of another": lambda y, z: torch.neg(y, out=z),
    "first, the second written": lambda y, z: (z.sub_(1), y)[1],
    "augmented": subtracted,
}


class Model(nn.Module):
    """Steps that each read the last tensors, and a pool on one of them."""

    def __init__(self, steps, which):
        super().__init__()
        self.steps = steps
        self.which = which
        self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        values = [x.clone(), x * 1]
        for name, back, other in self.steps:
            y = values[-1 - back % len(values)]
            z = values[-1 - other % len(values)]
            values.append(ONE[name](y) if name in ONE else TWO[name[4:]](y, z))
        return self.pool(values[-1 - self.which % len(values)])


steps = st.lists(
    st.tuples(
        st.sampled_from([*ONE, *(f"two {name}" for name in TWO)]),
        st.integers(0, 3),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=6,
)
found = []


@settings(max_examples=250)
@given(steps, st.integers(0, 2), st.integers(0, 2**20))
def test_what_is_said_to_be_nonnegative_is(steps, which, seed):
    model = Model([("relu", 0, 0), ("relu", 0, 0), *steps] if seed % 2 else steps, which)
    torch.manual_seed(seed)
    if model.pool not in nonnegative_inputs(model):
        return
    found.append(steps)
    least = []
    model.pool.register_forward_pre_hook(lambda _, args: least.append(args[0].min().item()))
    for training in (True, False):
        try:
            model.train(training)(torch.randn(2, 2, 4, 4) * 3)
        except RuntimeError:  # such as an out= of another shape
            return
    assert min(least, default=0) >= 0


def test_the_property_was_not_empty():
    assert len(found) > 30
