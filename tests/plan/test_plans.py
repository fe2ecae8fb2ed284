"""The coverage proof rejects wrong plans; the planners' plans cover, and have the promised gates and depth."""

from dataclasses import replace
from itertools import product
from math import ceil, log2, prod

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from depool.errors import UsageError
from depool.geometry import Window
from depool.plan.model import Leaf, Max, Plan, Stage, depth, gates, leaves
from depool.plan.separable import separable
from depool.plan.shallow import layers_for, reach, shallow
from depool.plan.tree import PAIRINGS, pairwise, tree


def window(kernel, strides=None, dilations=None, pads=None):
    one, none = (1,) * len(kernel), ((0, 0),) * len(kernel)
    return Window(kernel, strides or one, dilations or one, pads or none)


def line(*taps):
    """A chain of gates over 1-D taps."""
    return pairwise([Leaf((tap,)) for tap in taps])


def by_simulation(plan):
    """Per output position 0, 1, 2 of every axis: the coordinates that reach it, pads ignored, stage by stage."""
    rank = len(plan.window.kernel_shape)
    found = {}
    for position in product(range(3), repeat=rank):
        reached = {position}
        for stage in reversed(plan.stages):
            small = stage.window
            reached = {
                tuple(p * s + i * d for p, s, i, d in zip(at, small.strides, tap, small.dilations, strict=True))
                for at in reached
                for tap in leaves(stage.expr)
            }
        found[position] = reached
    return found


def by_definition(w):
    return {
        position: {
            tuple(p * s + i * d for p, s, i, d in zip(position, w.strides, tap, w.dilations, strict=True))
            for tap in product(*map(range, w.kernel_shape))
        }
        for position in product(range(3), repeat=len(w.kernel_shape))
    }


POOL = Window((4,), (2,), (1,), ((1, 2),))
DOUBLED = (
    Stage(Window((2,), (1,), (1,), ((1, 2),)), line(0, 1)),
    Stage(Window((2,), (2,), (2,), ((0, 0),)), line(0, 1)),
)
SAME = Window((4,), (1,), (1,), "SAME_UPPER")


def test_the_plan_that_the_wrong_ones_are_made_of_is_right():
    plan = Plan(POOL, "right", DOUBLED)
    assert (plan.gates, plan.depth) == (2, 2)
    assert by_simulation(plan) == by_definition(POOL)


WRONG = {
    "missing tap": (POOL, [(1, {"expr": Leaf((1,))})], "offsets"),
    "missing tap in one stage": (Window((3,), (1,), (1,), ((0, 0),)), [Stage(window((3,)), line(0, 2))], "offsets"),
    "extra tap": (replace(POOL, kernel_shape=(3,)), [], "offsets"),
    "wrong gap": (POOL, [(1, {"window": Window((2,), (2,), (3,), ((0, 0),))})], "offsets"),
    "tap outside its kernel": (POOL, [(0, {"expr": line(0, 2)})], "outside"),
    "tap before its kernel": (POOL, [(0, {"expr": line(-1, 0)})], "outside"),
    "no stride": (POOL, [(1, {"window": Window((2,), (1,), (2,), ((0, 0),))})], "strides"),
    "another stride": (POOL, [(1, {"window": Window((2,), (3,), (2,), ((0, 0),))})], "strides"),
    "stride too early": (
        POOL,
        [
            (0, {"window": Window((2,), (2,), (1,), ((1, 2),))}),
            (1, {"window": Window((2,), (1,), (1,), ((0, 0),))}),
        ],
        "after its stride",
    ),
    "late padding": (
        POOL,
        [
            (0, {"window": Window((2,), (1,), (1,), ((0, 0),))}),
            (1, {"window": Window((2,), (2,), (2,), ((1, 2),))}),
        ],
        "near its borders",
    ),
    "padding split over stages": (
        POOL,
        [
            (0, {"window": Window((2,), (1,), (1,), ((1, 0),))}),
            (1, {"window": Window((2,), (2,), (2,), ((0, 2),))}),
        ],
        "near its borders",
    ),
    "one pad short": (POOL, [(0, {"window": Window((2,), (1,), (1,), ((1, 1),))})], "pads"),
    "pads swapped": (POOL, [(0, {"window": Window((2,), (1,), (1,), ((2, 1),))})], "pads"),
    "SAME in the first of several": (
        SAME,
        [
            Stage(Window((2,), (1,), (1,), "SAME_UPPER"), line(0, 1)),
            Stage(Window((2,), (1,), (2,), ((0, 0),)), line(0, 1)),
        ],
        "SAME",
    ),
    "SAME in each of several": (
        SAME,
        [
            Stage(Window((2,), (1,), (1,), "SAME_UPPER"), line(0, 1)),
            Stage(Window((2,), (1,), (2,), "SAME_UPPER"), line(0, 1)),
        ],
        "SAME",
    ),
    "the other SAME": (SAME, [Stage(replace(SAME, pads="SAME_LOWER"), line(0, 1, 2, 3))], "pads"),
    "a kernel longer than its taps": (
        Window((3,), (1,), (1,), ((0, 0),)),
        [Stage(window((5,)), line(0, 1, 2))],
        "reach over",
    ),
    "no stage": (POOL, None, "offsets"),
}


@pytest.mark.parametrize("name", WRONG)
def test_the_coverage_proof_rejects(name):
    pool, changes, says = WRONG[name]
    stages = list(DOUBLED)
    if changes is None:
        stages = []
    elif changes and isinstance(changes[0], Stage):
        stages = changes
    else:
        for i, change in changes:
            stages[i] = replace(stages[i], **change)
    with pytest.raises(AssertionError, match=says):
        Plan(pool, "wrong", tuple(stages))


@st.composite
def windows(draw, most=6):
    rank = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, most if rank < 3 else 3)) for _ in range(rank))
    strides = tuple(draw(st.integers(1, 4)) for _ in kernel)
    dilations = tuple(draw(st.integers(1, 3)) for _ in kernel)
    pads = tuple((draw(st.integers(0, k - 1)), draw(st.integers(0, k - 1))) for k in kernel)
    return Window(kernel, strides, dilations, pads)


@settings(max_examples=200)
@given(windows(), st.sampled_from([tree, separable, shallow]))
def test_planners_cover_by_simulation(w, planner):
    plan = planner(w)
    assert plan.window == w
    assert by_simulation(plan) == by_definition(w)
    for axis in range(len(w.kernel_shape)):
        padded = [i for i, stage in enumerate(plan.stages) if stage.window.pads[axis] != (0, 0)]
        moving = [i for i, stage in enumerate(plan.stages) if stage.window.kernel_shape[axis] > 1]
        strided = [i for i, stage in enumerate(plan.stages) if stage.window.strides[axis] > 1]
        assert len(padded) <= 1
        assert padded[:1] <= moving[:1]
        assert not moving or not strided or strided == moving[-1:]


@settings(max_examples=100)
@given(windows())
def test_a_tree_has_the_fewest_levels(w):
    plan, n = tree(w), prod(w.kernel_shape)
    assert plan.gates == n - 1
    assert plan.depth == ceil(log2(n))
    assert sorted(leaves(plan.stages[0].expr)) == sorted(product(*map(range, w.kernel_shape)))


def taps(expr):
    return set(leaves(expr))


def closings(expr):
    if isinstance(expr, Max):
        yield from [expr] if len(expr.args) > 2 else []
        for arg in expr.args:
            yield from closings(arg)


@settings(max_examples=100)
@given(windows())
def test_a_shallow_plan_has_fewer_levels_and_fitting_groups(w):
    """max(e, x0..x3) from e, mi = max(e, xi), p = max(x0, x2), q = max(x1, x3): the groups must be these."""
    plan, n = shallow(w), prod(w.kernel_shape)
    assert plan.depth == layers_for(n) <= ceil(log2(n))
    assert sum(map(len, (stage.window.kernel_shape for stage in plan.stages))) == len(w.kernel_shape)
    for closing in closings(plan.stages[0].expr):
        e, m0, m1, m2, m3, p, q = map(taps, closing.args)
        assert e <= m0 & m1 & m2 & m3
        assert p | e == m0 | m2
        assert q | e == m1 | m3


def test_the_reach_of_layers():
    assert [reach(layers) for layers in range(6)] == [1, 2, 5, 12, 30, 75]
    assert [layers_for(n) for n in (1, 2, 3, 5, 6, 12, 13, 30, 31)] == [0, 1, 2, 2, 3, 3, 4, 4, 5]
    assert [shallow(window((n,))).depth for n in (4, 5, 9, 12, 25)] == [2, 2, 3, 3, 4]


@settings(max_examples=100)
@given(windows())
def test_a_separable_plan_has_no_more_gates_than_the_tree(w):
    plan = separable(w)
    assert plan.gates <= prod(w.kernel_shape) - 1
    assert plan.gates <= sum(k - 1 for k in w.kernel_shape)
    assert plan.depth <= sum(ceil(log2(k)) for k in w.kernel_shape)


@pytest.mark.parametrize(
    ("kernel", "strides", "count", "levels", "stages"),
    [
        ((13, 13), (1, 1), 8, 8, 8),
        ((9, 9), (1, 1), 8, 8, 8),
        ((5, 5), (1, 1), 6, 6, 6),
        ((3, 3), (1, 1), 4, 4, 2),  # three taps at once: as many gates as two steps, in one stage
        ((2, 2), (2, 2), 2, 2, 2),
        ((3, 3), (2, 2), 4, 4, 2),  # k - 1 = 2 gates at half resolution cost less than one at full and one at half
        ((8,), (1,), 3, 3, 3),
        ((8,), (8,), 7, 3, 1),
        ((1, 4), (2, 1), 2, 2, 2),
        ((1, 1), (2, 3), 0, 0, 1),
    ],
)
def test_separable_gates(kernel, strides, count, levels, stages):
    plan = separable(window(kernel, strides))
    assert (plan.gates, plan.depth, len(plan.stages)) == (count, levels, stages)


def test_the_last_doubling_step_overlaps():
    gaps = [stage.window.dilations[0] for stage in separable(window((13,))).stages]
    assert gaps == [1, 2, 4, 5]
    assert [stage.window.dilations[0] for stage in separable(window((7,), dilations=(3,))).stages] == [3, 6, 9]


def test_the_axis_that_shrinks_most_comes_first():
    first = separable(window((2, 2), (1, 2))).stages[0].window
    assert first.kernel_shape == (1, 2)
    assert separable(window((2, 2), (2, 1))).stages[0].window.kernel_shape == (2, 1)
    assert separable(window((2, 2))).stages[0].window.kernel_shape == (1, 2)


def test_a_kernel_of_one_is_subsampled_at_once():
    plan = separable(window((1, 4), (2, 1)))
    assert [stage.window.strides for stage in plan.stages] == [(2, 1), (1, 1)]


def test_pairings():
    a, b, c, d = (Leaf(tap) for tap in [(0, 0), (0, 1), (1, 0), (1, 1)])
    pairs = {
        "ab|cd": Max((Max((a, b)), Max((c, d)))),
        "ac|bd": Max((Max((a, c)), Max((b, d)))),
        "ad|bc": Max((Max((a, d)), Max((b, c)))),
    }
    assert set(pairs) == set(PAIRINGS)
    for name, expr in pairs.items():
        plan = tree(window((2, 2), (2, 2)), name)
        assert plan.stages[0].expr == expr
        assert (plan.gates, plan.depth) == (3, 2)


def test_pairing_usage_errors():
    with pytest.raises(UsageError, match="not 9"):
        tree(window((3, 3)), "ac|bd")
    with pytest.raises(UsageError, match="must be one of"):
        tree(window((2, 2)), "da|bc")
    assert tree(window((4,)), "ad|bc").gates == 3


def test_depth_and_gates_of_an_expression():
    expr = Max((Max((Leaf((0,)), Leaf((1,)))), Leaf((2,))))
    assert (depth(expr), gates(expr), list(leaves(expr))) == (2, 2, [(0,), (1,), (2,)])
    assert (depth(Leaf((0,))), gates(Leaf((0,)))) == (0, 0)
    # an odd one out waits for the next level
    assert pairwise([Leaf((i,)) for i in range(5)]) == Max((line(0, 1, 2, 3), Leaf((4,))))
