"""Which form a bounder gets: the one whose linear relaxation is tightest, and what plain intervals make of it."""

import numpy as np
import pytest
from crown import bounds
from oracle import pool

from depool.choice import Choice
from depool.choose import choose
from depool.facts import InputFacts
from depool.geometry import PoolSpec
from depool.target import PRESETS, Target

POOLS = {
    "2x2/2": (PoolSpec((2, 2), (2, 2)), (6, 6)),
    "3x3/2": (PoolSpec((3, 3), (2, 2)), (7, 7)),
    "3x3/2 p1": (PoolSpec((3, 3), (2, 2), ((1, 1), (1, 1))), (6, 6)),
    "3/1 p1": (PoolSpec((3,), (1,), ((1, 1),)), (8,)),
}


def boxes(sizes, signed):
    rng = np.random.default_rng(4)
    for width in (0.2, 1.0, 3.0):
        middle = rng.normal(size=(1, 1, *sizes))
        low, high = middle - width * rng.random(middle.shape), middle + width * rng.random(middle.shape)
        yield (low, high) if signed else (np.maximum(low, 0), np.maximum(high, 0))


def program(spec, sizes, target, signed, **wishes):
    facts = InputFacts(lower=-8.0 if signed else 0.0, reason="test")
    return choose(spec, sizes, facts, Choice(target=target, **wishes), "float64").program


def width(made, low, high, plain=False):
    least, most = bounds(made, low, high, plain)
    return (most - least).mean()


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("name", POOLS)
@pytest.mark.parametrize("target", [name for name, target in PRESETS.items() if target.bounds == "linear"])
def test_bounds_are_sound(target, name, signed):
    """The oracle of this file: no maximum in the box lies outside, and at a point the bounds are the maximum."""
    spec, sizes = POOLS[name]
    made = program(spec, sizes, target, signed)
    rng = np.random.default_rng(1)
    for low, high in boxes(sizes, signed):
        for plain in (False, True):
            least, most = bounds(made, low, high, plain)
            for _ in range(50):
                x = low + (high - low) * rng.choice([0, 1, 0.5], low.shape)
                y = pool(x, spec).ravel()
                assert (y >= least - 1e-9).all()
                assert (y <= most + 1e-9).all()
        exactly = bounds(made, low, low)
        assert np.allclose(exactly, pool(low, spec).ravel(), atol=1e-9)


@pytest.mark.parametrize("name", POOLS)
def test_the_form_chosen_for_a_bounder_is_the_tightest(name):
    """Branches are never wider than a chain, and on signed input they are tighter; they also cost fewer ReLUs."""
    spec, sizes = POOLS[name]
    lirpa = PRESETS["auto_lirpa"]
    chain = Target("chain", "the same, without branches", **(limits(lirpa) | {"branches": False}))
    for signed in (False, True):
        branched, sequential = (program(spec, sizes, target, signed, scheme="tree") for target in (lirpa, chain))
        assert branched.relus_per_output < sequential.relus_per_output
        for low, high in boxes(sizes, signed):
            one, other = width(branched, low, high), width(sequential, low, high)
            assert one <= other + 1e-9
            if not signed or "p1" in name:  # what waits is >= 0, or was shifted to be: its ReLUs are straight lines
                assert one == pytest.approx(other)
        if signed and "p1" not in name:  # in the widest box both signs of what waits are possible
            assert one < other * 0.98


def limits(target):
    kept = ("groups", "dilation", "asymmetric_pads", "auto_pad", "mixed_axes", "spatial_concat", "minimise", "bounds")
    return {name: getattr(target, name) for name in kept}


def test_plain_intervals_get_wider():
    """What the warning for interval bounders says: the maximum of intervals is exact, and a sum of ReLUs is not."""
    spec, sizes = POOLS["2x2/2"]
    made = program(spec, sizes, "omlt", signed=False)
    for low, high in boxes(sizes, signed=False):
        exact = (pool(high, spec) - pool(low, spec)).mean()
        assert width(made, low, high, plain=True) > 1.5 * exact
        assert width(made, low, high) < width(made, low, high, plain=True)
