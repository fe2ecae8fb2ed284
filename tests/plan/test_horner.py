"""Horner plans: coverage position by position, at every border; passes; and going on from another pool."""

from itertools import pairwise, product
from math import prod

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from depool.errors import UsageError
from depool.geometry import Window
from depool.plan.horner import chain, described, further, horner, in_order, lines, paths, recalled, snake
from depool.plan.model import Plan, Stage, leaves


def line(kernel, strides=1, dilations=1, pads=(0, 0)):
    return Window((kernel,), (strides,), (dilations,), (pads,))


def square(kernel, pad):
    return Window((kernel, kernel), (1, 1), (1, 1), ((pad, pad), (pad, pad)))


def stage(taps, dilation, pads):
    return Stage(Window((taps,), (1,), (dilation,), (pads,)), chain([(t,) for t in range(taps)]), merged=True)


def reached(plan, sizes):
    """Of each output position, the elements that it takes the maximum of; padding is nothing."""
    values = {at: frozenset([at]) for at in product(*map(range, sizes))}
    for one in plan.stages:
        w = one.window
        out = w.out_sizes(sizes)
        taps = list(leaves(one.expr))
        values = {
            at: frozenset().union(
                *(
                    values.get(
                        tuple(
                            a * s - p[0] + t * d
                            for a, s, p, t, d in zip(at, w.strides, w.pads, tap, w.dilations, strict=True)
                        ),
                        frozenset(),
                    )
                    for tap in taps
                )
            )
            for at in product(*map(range, out))
        }
        sizes = out
    return values


def wanted(w, sizes):
    inside = set(product(*map(range, sizes)))
    return {
        at: inside
        & set(
            product(
                *(
                    [a * s - p[0] + k * d for k in range(n)]
                    for a, s, p, n, d in zip(at, w.strides, w.pads, w.kernel_shape, w.dilations, strict=True)
                )
            )
        )
        for at in product(*map(range, w.out_sizes(sizes)))
    }


@st.composite
def windows(draw):
    kernel, dilation = draw(st.integers(2, 13)), draw(st.integers(1, 2))
    extent = (kernel - 1) * dilation + 1
    pads = draw(st.integers(0, extent - 1)), draw(st.integers(0, extent - 1))
    return line(kernel, draw(st.integers(1, 3)), dilation, pads)


@settings(max_examples=150, deadline=None)
@given(windows())
def test_plans_for_any_size_are_right_at_every_size(w):
    for plan in horner(w, (None,)):
        for size in range(1, 34):
            expected = wanted(w, (size,))
            if expected and all(expected.values()):
                assert reached(plan, (size,)) == expected, size


@settings(max_examples=150, deadline=None)
@given(windows(), st.integers(1, 30))
def test_plans_for_one_size_are_right_at_that_size(w, size):
    expected = wanted(w, (size,))
    assume(expected and all(expected.values()))
    plans = list(horner(w, (size,)))
    assert plans
    for plan in plans:
        assert reached(plan, (size,)) == expected


@pytest.mark.parametrize(
    ("kernel", "strides", "pads", "sizes"),
    [((3, 3), (2, 2), ((1, 1), (1, 1)), (7, 6)), ((2, 2), (2, 2), ((0, 0), (0, 0)), (5, 4)),
     ((5, 4), (1, 2), ((2, 2), (1, 2)), (6, 7)), ((2, 1, 3), (1, 2, 1), ((0, 1), (0, 0), (1, 1)), (3, 4, 4))],
)  # fmt: skip
def test_plans_in_several_axes(kernel, strides, pads, sizes):
    w = Window(kernel, strides, (1,) * len(kernel), pads)
    plans = list(horner(w, sizes))
    assert len({str(plan.stages) for plan in plans}) > 1
    for plan in plans:
        assert reached(plan, sizes) == wanted(w, sizes)
    single = [plan for plan in plans if len(plan.stages) == 1]
    assert (len(single) == 1) == (prod(kernel) <= 9 and sum(k > 1 for k in kernel) > 1)


@pytest.mark.parametrize(("kernel", "passes"), [(2, 2), (3, 3), (5, 5), (7, 6), (9, 6), (13, 8)])
def test_fewest_passes(kernel, passes):
    """As many as the mathematics says; no path of other radices has fewer."""
    best = paths(kernel, 1)[0]
    assert sum(taps for taps, _ in best) == passes
    (first, *_) = lines(line(kernel, pads=(kernel // 2,) * 2), 40)
    assert sum(one.window.kernel_shape[0] for one in first) == passes


def test_a_stride_is_worth_taking_all_taps_at_once():
    assert paths(3, 2)[0] == ((3, 1),)
    assert paths(16, 1)[0] != ((16, 1),)
    assert paths(16, 16)[0] == ((16, 1),)


def test_windows_of_9_of_windows_of_5_by_two_taps_are_wrong_near_the_border():
    """math: W9(i) = max(W5(i - 2), W5(i + 2)) loses elements where W5 of the same size is padded; three taps do not."""
    five = stage(5, 1, (2, 2))
    with pytest.raises(AssertionError, match="near its borders"):
        Plan(line(9, pads=(4, 4)), "horner", (five, stage(2, 4, (2, 2))), (20,))
    Plan(line(9, pads=(4, 4)), "horner", (five, stage(3, 2, (2, 2))), (20,))
    nine = stage(9, 1, (4, 4))
    Plan(line(13, pads=(6, 6)), "horner", (nine, stage(2, 4, (2, 2))), (20,))
    with pytest.raises(AssertionError, match="size 1 is"):  # of a single element nothing is left
        Plan(line(13, pads=(6, 6)), "horner", (nine, stage(2, 4, (2, 2))))


def test_a_size_beyond_the_borders_stands_for_one_that_looks_alike():
    wrong = (stage(5, 1, (2, 2)), stage(2, 4, (2, 2)))
    for size in (10, 11, 1000, 1001):
        with pytest.raises(AssertionError, match="near its borders"):
            Plan(line(9, pads=(4, 4)), "horner", wrong, (size,))


def test_going_on_from_another_pool():
    five = next(horner(square(5, 2), (20, 20)))
    nine = list(further(five, square(9, 4), (20, 20)))
    assert nine
    for plan in nine:
        assert plan.stages[: len(five.stages)] == five.stages
        assert reached(plan, (6, 5)) == wanted(square(9, 4), (6, 5))
    thirteen = next(further(nine[0], square(13, 6), (20, 20)))
    more = thirteen.stages[len(nine[0].stages) :]
    assert [max(one.window.kernel_shape) for one in more] == [2, 2]


@pytest.mark.parametrize(
    "other",
    [square(5, 2), square(3, 1), Window((9, 9), (2, 2), (1, 1), ((4, 4), (4, 4))),
     Window((9, 9), (1, 1), (2, 2), ((4, 4), (4, 4))), Window((9, 9), (1, 1), (1, 1), ((1, 1), (4, 4)))],
)  # fmt: skip
def test_pools_that_cannot_go_on(other):
    five = next(horner(square(5, 2), (20, 20)))
    assert not list(further(five, other, (20, 20)))


def test_a_plan_is_recalled_and_proved_anew():
    w = square(9, 4)
    for plan in horner(w, (20, 20)):
        told = described(plan)
        assert recalled(w, (20, 20), told) == plan
    (kernel, strides, dilations, pads, taps), *rest = told
    for wrong in (
        rest,
        [(kernel, strides, dilations, pads, taps[:-1]), *rest],
        [(kernel, (2, 2), dilations, pads, taps), *rest],
        [("x",), *rest],
        [(kernel, (1.0, 1.0), dilations, pads, taps), *rest],
        [(tuple(k + 2 for k in kernel), strides, dilations, pads, taps), *rest],
        [(kernel, strides, dilations, pads, ((0,),)), *rest],
    ):
        with pytest.raises(UsageError, match="do not make this pool"):
            recalled(w, (20, 20), tuple(wrong))


def test_a_snake_steps_along_one_axis():
    path = snake([[1, 0, 2], [0, 1], [2, 1, 0]])
    assert sorted(path) == sorted(product(range(3), range(2), range(3)))
    assert all(sum(a != b for a, b in zip(one, two, strict=True)) == 1 for one, two in pairwise(path))
    assert path[0] == (1, 0, 2)


def test_the_order_of_a_chain():
    taps = [(1,), (0,), (2,)]
    assert in_order(Stage(line(3), chain(taps), merged=True)) == taps
