"""Taps on the padding that are switched off: which taps can lie there, and what the gates round."""

from itertools import product

import numpy as np
import pytest

from depool import PoolSpec
from depool.choice import Choice
from depool.choose import choices, choose
from depool.errors import UsageError
from depool.facts import InputFacts
from depool.geometry import Window
from depool.lowering.guarded import guardable, inside
from depool.numerics import Step, bound
from depool.plan.horner import chain
from depool.plan.model import Stage


def lies_inside(window, tap, size):
    """Looked at one window after the other."""
    (begin, end), stride, dilation = window.pads[0], window.strides[0], window.dilations[0]
    count = (size + begin + end - window.extent[0]) // stride + 1
    return all(0 <= i * stride + tap * dilation - begin < size for i in range(count))


@pytest.mark.parametrize("kernel", [2, 3, 4])
def test_a_tap_is_inside_where_no_window_of_any_size_finds_it_on_the_padding(kernel):
    for stride, dilation, begin, end in product((1, 2, 3), (1, 2), range(4), range(4)):
        window = Window((kernel,), (stride,), (dilation,), ((begin, end),))
        sizes = range(max(1, window.extent[0] - begin - end), 30)
        for tap in range(kernel):
            assert inside(window, (tap,)) == all(lies_inside(window, tap, size) for size in sizes)


def test_a_stage_is_guardable_where_its_first_tap_is_always_inside():
    window = Window((3,), (1,), (1,), ((1, 1),))
    orders = {
        order: guardable(Stage(window, chain([(t,) for t in order]), merged=True)) for order in ((1, 0, 2), (0, 1, 2))
    }
    assert orders == {(1, 0, 2): True, (0, 1, 2): False}
    assert not guardable(Stage(window, chain([(1,), (0,), (2,)])))
    found = choices(PoolSpec((5,), pads=((2, 2),)), (None,), InputFacts(), Choice(), "float32")
    guarded = [made.plan for made in found if made.border.rule == "guard"]
    assert guarded
    assert all(guardable(stage) for plan in guarded for stage in plan.stages)


def test_long_chains_are_not_guarded():
    """Each gate is a layer of ReLUs and a rounding: windows of 60 at stride 10 are left to doubling under a mask."""
    spec = PoolSpec((60,), (10,), ((10, 10),), dilations=(10,))
    assert choose(spec, (None,), InputFacts(), Choice(), "float32").border.rule == "mask"


def test_stages_from_elsewhere_are_guardable_or_refused():
    """A record or a memory of measurements may hold anything."""
    spec, stage = PoolSpec((3,), pads=((1, 1),)), ((3,), (1,), (1,), ((1, 1),))
    right, wrong = ((*stage, ((1,), (0,), (2,))),), ((*stage, ((0,), (1,), (2,))),)
    assert choose(spec, (None,), InputFacts(), Choice("horner"), "float32", stages=right).border.rule == "guard"
    with pytest.raises(UsageError, match="the stages do not make this pool"):
        choose(spec, (None,), InputFacts(), Choice("horner"), "float32", stages=wrong)


def test_a_pairing_is_a_wish_for_a_tree():
    spec = PoolSpec((2, 2), pads=((0, 1), (0, 1)))
    made = choose(spec, (None, None), InputFacts(), Choice(pairing="ac|bd"), "float32")
    assert (made.border.rule, made.scheme) == ("mask", "tree")


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_every_gate_may_round_once(dtype):
    made = choose(PoolSpec((3,), pads=((1, 1),)), (None,), InputFacts(), Choice(), dtype)
    assert (made.border.rule, made.program.rounding.steps) == ("guard", (Step(ulps=1),) * 2)
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((1, 1, 100_000)) * 2.0 ** rng.integers(-8, 8, 100_000)).astype(dtype)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1)), constant_values=-np.inf)
    windows = np.stack([padded[..., k : k + x.shape[-1]] for k in range(3)])
    error = np.abs(made.program(x).astype(np.float64) - windows.max(axis=0))
    largest = np.where(np.isinf(windows), 0, np.abs(windows)).max(axis=0)
    assert error.any()
    assert (error <= bound(made.program.rounding, largest, dtype)).all()


def test_nothing_is_guarded_where_its_zeros_would_do():
    """Known to be >= 0, or read by ReLUs only: no constant is needed."""
    spec = PoolSpec((3, 3), (2, 2), ((1, 1), (1, 1)))
    for facts in (InputFacts(lower=0.0, reason="declared"), InputFacts(relu_follows=True)):
        assert choose(spec, (None, None), facts, Choice(), "float32").border.rule == "zero"
    assert choose(spec, (7, 7), InputFacts(), Choice(), "float32").border.rule == "edge"
    assert choose(spec, (None, None), InputFacts(), Choice(form="concat"), "float32").border.rule == "mask"
