"""PyTorch's own pooling samples (OpInfo, torch.testing): each gives what the native function gives, or is refused.

In float32 every sample runs, on its own data; each of its geometries (sizes and arguments) runs on signed,
all-negative, integer and mixed-magnitude data besides. With exact=True everything is equal bit for bit; every third
geometry is converted without it too, and is within the promised bound. In the other types every twelfth geometry of a
max pool and all of the others do the same. The native function's own result is the expectation; the bound follows from
the native maximum of |x| in each window.
"""

from __future__ import annotations

import warnings
from collections import Counter

import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="PyTorch is not installed")
pytest.importorskip("expecttest", reason="torch.testing needs expecttest")

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn

import depool.torch
from depool.errors import NotConverted, UsageError

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    from torch.testing._internal.common_methods_invocations import op_db

MAX = [f"{kind}max_pool{rank}d" for kind in ("", "adaptive_") for rank in (1, 2, 3)]
AVERAGE = [f"{kind}avg_pool{rank}d" for kind in ("", "adaptive_") for rank in (1, 2, 3)]
OPS = {op.name.removeprefix("nn.functional."): op for op in op_db if "_pool" in op.name}
TYPES = [torch.float32, torch.float64, torch.float16, torch.bfloat16]
CASES = [(name, dtype) for name in MAX + AVERAGE for dtype in TYPES if dtype in OPS[name].dtypes]

# samples of torch 2.13.0: (all, asking for indices, adaptive with windows of several sizes)
COUNTS = {
    "max_pool1d": (864, 432, 0),
    "max_pool2d": (1440, 720, 0),
    "max_pool3d": (576, 288, 0),
    "adaptive_max_pool1d": (8, 4, 2),
    "adaptive_max_pool2d": (24, 12, 8),
    "adaptive_max_pool3d": (20, 10, 6),
    "avg_pool1d": (9, 0, 0),
    "avg_pool2d": (7, 0, 0),
    "avg_pool3d": (8, 0, 0),
    "adaptive_avg_pool1d": (6, 0, 4),
    "adaptive_avg_pool2d": (10, 0, 8),
    "adaptive_avg_pool3d": (12, 0, 8),
}


@pytest.fixture(autouse=True)
def one_thread():
    """Tensors of a hundred numbers are slower on several."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Call(nn.Module):
    """One call of a pooling function."""

    def __init__(self, name, args, kwargs):
        super().__init__()
        self.function = getattr(F, name)
        self.args = args
        self.kwargs = kwargs

    def forward(self, x):
        return self.function(x, *self.args, **self.kwargs)


def samples(name, dtype):
    return list(OPS[name].sample_inputs("cpu", dtype, requires_grad=False))


def with_indices(name, sample):
    kwargs = dict(sample.kwargs)
    positional = name.startswith("adaptive_max") and len(sample.args) > 1 and sample.args[1] is True
    return positional or bool(kwargs.get("return_indices"))


def negative_divisor(sample):
    """Averages divided by -2: PyTorch computes them, depool refuses them."""
    return -2 in sample.args[5:] or sample.kwargs.get("divisor_override") == -2


def uneven(name, sample):
    """Whether an adaptive pool has windows of several sizes."""
    if "adaptive" not in name:
        return False
    rank = int(name[-2])
    outputs = sample.args[0] if isinstance(sample.args[0], tuple | list) else (sample.args[0],) * rank
    return any(n is not None and size % n for n, size in zip(outputs, sample.input.shape[-rank:], strict=True))


def geometry(name, sample):
    """Samples that one conversion serves: the batch does not matter."""
    rank = int(name[-2])
    arguments = repr(sample.args), repr(sorted(sample.kwargs.items()))
    return tuple(sample.input.shape[-rank - 1 :]), *arguments, sample.input.numel() == 0


DATA = {
    "normal": torch.randn,
    "negative": lambda shape: -torch.rand(shape) - 0.5,
    "integers": lambda shape: torch.randint(-100, 101, shape).float(),
    "mixed": lambda shape: torch.randn(shape) * 10.0 ** torch.randint(-4, 4, shape),
}


def bound(record, x, call):
    """What may differ, window by window."""
    wide = x.abs().double()
    largest = call(wide)
    if record.average:  # the native average of |x| says nothing of its largest element
        largest = torch.full_like(largest, wide.max().item() if wide.numel() else 0.0)
    return torch.from_numpy(np.asarray(record.rounding_bound(largest.numpy(), record.dtype), dtype=np.float64))


def differ(got, expected, allowed):
    """Elements that are further apart than allowed."""
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    return int((~((got.double() - expected.double()).abs() <= allowed)).sum())


def converted(call, x, exact):
    model = depool.torch.convert(call, x, exact=exact)
    assert not model.depool.refusals
    (record,) = model.depool.records
    return model, record


@pytest.mark.parametrize(("name", "dtype"), CASES, ids=lambda value: str(value).removeprefix("torch."))
def test_samples(name, dtype):
    torch.manual_seed(0)
    made, seen = {}, Counter()
    part = 12 if dtype != torch.float32 and name.startswith("max") else 1
    for sample in samples(name, dtype):
        seen["all"] += 1
        call = Call(name, sample.args, sample.kwargs)
        if with_indices(name, sample):
            seen["indices"] += 1
            with pytest.raises(NotConverted, match="INDICES_USED"):
                depool.torch.convert(call, sample.input)
            continue
        if negative_divisor(sample):
            seen["negative"] += 1
            with pytest.raises(NotConverted, match="divisor_override"):
                depool.torch.convert(call, sample.input)
            continue
        seen["uneven"] += uneven(name, sample)
        key = geometry(name, sample)
        inputs = {"own": sample.input}
        if key not in made:
            ways = (True, False) if len(made) % (3 * part) == 0 or "max" not in name else (True,)
            chosen = len(made) % part == 0
            made[key] = [converted(call, sample.input, exact) for exact in ways] if chosen else []
            inputs |= {kind: draw(tuple(sample.input.shape)).to(dtype) for kind, draw in DATA.items()}
        if not made[key]:
            continue
        seen["compared"] += 1
        for kind, x in inputs.items():
            expected = call(x)
            for exact, (model, record) in zip((True, False), made[key], strict=False):
                allowed = bound(record, x, call)
                if exact and not record.average:
                    assert record.rounding.bit_exact
                assert differ(model(x), expected, allowed) == 0, (kind, exact, sample, record)
    print(f"{name} {dtype}: {dict(seen)}, {len(made)} geometries")  # noqa: T201
    assert seen["all"] == COUNTS[name][0]
    assert (seen["indices"], seen["uneven"]) == COUNTS[name][1:]
    assert seen["compared"] >= (seen["all"] - seen["indices"] - seen["negative"]) / (2 * part)
    if part == 1:
        assert seen["compared"] == seen["all"] - seen["indices"] - seen["negative"]


def test_the_samples_of_max_pools_are_as_many_as_were_counted():
    assert sum(COUNTS[name][0] for name in MAX) == 2932


@pytest.mark.parametrize("name", MAX + AVERAGE)
def test_error_inputs_raise(name):
    """What PyTorch refuses is refused, on conversion or when the result is called."""
    found = list(OPS[name].error_inputs("cpu")) if OPS[name].error_inputs_func else []
    for error in found:
        sample = error.sample_input
        call = Call(name, sample.args, {**sample.kwargs, "return_indices": False} if "max" in name else sample.kwargs)
        if "max" in name and "adaptive" in name:
            call = Call(name, sample.args[:1], {})
        with pytest.raises((RuntimeError, ValueError, TypeError, IndexError)):
            call(sample.input)
        with pytest.raises((NotConverted, UsageError, RuntimeError, ValueError, TypeError)):
            depool.torch.convert(call, sample.input)
        with pytest.raises((NotConverted, UsageError, RuntimeError, ValueError, TypeError)):
            depool.torch.convert(call)(sample.input)
    assert found or name == "no operator"


@pytest.mark.parametrize("name", ["max_pool2d", "adaptive_max_pool2d", "avg_pool2d"])
def test_another_kind_of_pool_would_be_noticed(name):
    """The comparison of these tests, with the pool's opposite in its place, and with a pool moved by one."""
    torch.manual_seed(0)
    noticed, moved, moves, compared = 0, 0, 0, 0
    found = samples(name, torch.float32)
    for sample in found[:: 1 + len(found) // 100]:
        if with_indices(name, sample) or negative_divisor(sample) or not sample.input.numel():
            continue
        call = Call(name, sample.args, sample.kwargs)
        x = torch.randn(sample.input.shape)
        model, record = converted(call, x, exact=False)
        expected = call(x)
        if expected.numel() in {0, x.numel()}:
            continue
        compared += 1
        allowed = bound(record, x, call)
        shifted = x.roll(1, -1)  # does not move a global maximum
        moves += differ(call(shifted), expected, 2 * allowed) > 0
        moved += differ(model(shifted), expected, allowed) > 0
        noticed += differ(-model(-x), expected, allowed) > 0 or "avg" in name
    assert compared >= moves >= 1
    assert moved >= moves
    assert noticed == compared


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_layouts_of_memory(dtype):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 9, 8).to(dtype)
    for pool in (nn.MaxPool2d(3, 2, 1), nn.MaxPool2d(2), nn.AdaptiveMaxPool2d((4, 3)), nn.AdaptiveMaxPool2d((3, 4))):
        expected = pool(x)
        for given in (x, x.to(memory_format=torch.channels_last), x.transpose(2, 3).contiguous().transpose(2, 3)):
            model = depool.torch.convert(pool, given, exact=True)
            assert differ(model(given), expected, 0.0) == 0
        assert differ(model(x[0]), expected[0], 0.0) == 0
        assert differ(model(x[:0]), expected[:0], 0.0) == 0
        twice = torch.randn(2, 3, 18, 8).to(dtype)[:, :, ::2]
        assert not twice.is_contiguous()
        assert differ(model(twice), pool(twice), 0.0) == 0
