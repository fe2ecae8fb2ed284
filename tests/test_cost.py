"""Counts against numbers worked out by hand, for a 2x2 max pool with strides 2 on 4x4 (per channel)."""

from dataclasses import replace
from math import inf

import pytest

from depool.choose import synthesize
from depool.cost import (
    COPIED,
    FRESH,
    READ,
    SPREAD,
    TAP,
    activation_elements,
    effort,
    nominal,
    relu_elements,
    work,
)
from depool.geometry import PoolSpec
from depool.passes import Pass, passes
from depool.program import Conv
from depool.target import named

HALF = PoolSpec((2, 2), (2, 2))
COUNTS = {
    # macs: kernel entries * 4 outputs: 4 kernels of 4, 2 of 4
    "concat": ("tree", "concat", -inf, 4 * (4 * 4 + 2 * 4), 3, 16 + 4 * 4),
    # 2 kernels of 2 * 4, 2 kernels of 2;   alive: input, r(a - b), b and d
    "branched": ("tree", "branched", -inf, 4 * (8 + 8 + 2 + 2), 3, 16 + 8 + 8),
    # 4 * 4, 2 * 4, 1 * 2;   alive: 4 maps before and behind a ReLU
    "chain, x >= 0": ("tree", "sequential", 0.0, 4 * (16 + 8 + 2), 6, 16 + 16),
    # 6 * 4, 3 * 6, 1 * 3;   alive: 6 maps before and behind a ReLU
    "chain": ("tree", "sequential", -inf, 4 * (24 + 18 + 3), 9, 24 + 24),
    # kernels 1x2 on 4x2 outputs, then 2x1 on 2x2;   alive: input, r(a - b), b on 4x2;   2 ReLUs for each output first
    "separable": ("separable", "branched", -inf, 8 * (2 + 2) + 4 * (2 + 2), 3, 16 + 8 + 8),
}


@pytest.mark.parametrize("name", COUNTS)
def test_counts_of_2x2(name):
    scheme, form, lower_bound, macs, relus, alive = COUNTS[name]
    program = synthesize(HALF, scheme, form, sizes=(4, 4), lower_bound=lower_bound)
    assert program.macs((4, 4)) == macs
    assert program.relus_per_output == relus
    assert activation_elements(program, (4, 4)) == alive


def test_passes_and_work_of_a_horner_chain():
    """x0 + r((x1 - x0) + r(x2 - x1)) over 4 elements to 4: each Add and ReLU is fused into the convolution before."""
    program = synthesize(PoolSpec((3,), (1,), ((1, 1),)), "horner", sizes=(4,), lower_bound=0.0)
    kinds = [type(node).__name__ for node in program.nodes]
    assert kinds == ["Conv", "Relu", "Conv", "Add", "Relu", "Conv", "Add"]
    assert passes(program) == [Pass((0, 1), (0,)), Pass((2, 3, 4), (0, 2)), Pass((5, 6), (0, 5))]
    # 4 written three times, once to memory of their own; 4 read three times; 2, 2 and 1 taps of 4 elements
    amount = 12 + FRESH * 4 + READ * 12 + TAP * 4 * (2 + 2 + 1)
    assert work(program, (4,)) == pytest.approx(amount)
    assert work(program, (4,), call=100.0) == pytest.approx(amount + 3 * 100)
    assert work(program, (4,), tap=COPIED) == pytest.approx(amount + (COPIED - TAP) * 4 * (2 + 2 + 1))
    # one by one: 7 times 4 written, each afresh; three convolutions read 4, as do two ReLUs, and two Adds twice 4
    assert work(program, (4,), fuses=False) == pytest.approx((1 + FRESH) * 28 + READ * 4 * 9 + TAP * 4 * 5)


def test_work_of_what_is_not_fused():
    """Maps mixed in one convolution cost more; a tensor that two read, or a second Add, is fused with nothing."""
    program = synthesize(HALF, "tree", "sequential", sizes=(4, 4), lower_bound=0.0)
    first, second, third = (4 * maps for maps in (4, 2, 1))
    reads = READ * (16 + first + second)
    taps = SPREAD * 4 * (4 * 4 + 2 * 4 + 2)
    assert work(program, (4, 4)) == pytest.approx((1 + FRESH) * (first + second + third) + reads + taps)
    # gate Y: e = r(a - m0) and t = r(m0 - a - 2 s) read m0 twice, and m0 + e - t has two Adds
    exact = synthesize(PoolSpec((2,)), "separable", "branched", sizes=(4,), exact=True)
    apart = [one.nodes[0] for one in passes(exact) if not isinstance(exact.nodes[one.nodes[0]], Conv)]
    assert [(i, type(exact.nodes[i]).__name__) for i in apart] == [(12, "Add"), (13, "Relu"), (14, "Add")]


def test_strides_skip_rows_but_not_columns():
    """The maximum of two rows reads both, that of one row in two reads half; columns share their lines."""
    rows = synthesize(PoolSpec((1, 1), (2, 1)), sizes=(4, 4))
    columns = synthesize(PoolSpec((1, 1), (1, 2)), sizes=(4, 4))
    assert work(rows, (4, 4)) == pytest.approx((1 + FRESH) * 8 + READ * 8 + TAP * 8)
    assert work(columns, (4, 4)) == pytest.approx((1 + FRESH) * 8 + READ * 16 + TAP * 8)


def test_sizes():
    program = synthesize(HALF, "separable", "branched")
    assert program.sizes((4, 4)) == [(4, 4)] + [(4, 2)] * 4 + [(2, 2)] * 4
    assert program.sizes((5, 7)) == [(5, 7)] + [(5, 3)] * 4 + [(2, 3)] * 4
    assert program.macs((5, 7)) == 15 * 4 + 6 * 4


def test_an_average_is_one_convolution():
    program = synthesize(PoolSpec((2, 2), (2, 2), kind="average"))
    assert (program.macs((4, 4)), activation_elements(program, (4, 4))) == (16, 20)
    assert work(program, (4, 4)) == pytest.approx((1 + FRESH) * 4 + READ * 16 + TAP * 16)
    assert (program.relus_per_output, program.relu_layers) == (0, 0)


def test_relus_per_output_counts_what_windows_share():
    # 4 taps at stride 1 by doubling: one gate per step and axis, where the tree has 15
    spec = PoolSpec((4, 4))
    assert synthesize(spec, "separable", "branched").relus_per_output == 4
    assert synthesize(spec, "tree", "branched").relus_per_output == 15
    # strides 2 along one axis: the other axis's gate runs at twice the resolution
    assert synthesize(PoolSpec((2, 2), (1, 2)), "separable", "branched").relus_per_output == 2
    assert synthesize(PoolSpec((4, 1), (2, 1)), "separable", "branched").relus_per_output == 3


def test_a_spatial_concat_is_a_pass_too():
    program = synthesize(PoolSpec((2,), (1,), ((1, 0),)), "tree", "branched", sizes=(4,))
    # the first element (1, by a kernel of two taps), the input with it repeated (5), then a - b and b (4 each)
    first, joined = (1 + FRESH) + READ * 4 + TAP * 2, (1 + FRESH) * 5 + READ * (1 + 4)
    gates = (1 + FRESH) * 4 + READ * 5 + TAP * 2 * 4, 4 + READ * 5 + TAP * 2 * 4
    assert work(program, (4,)) == pytest.approx(first + joined + sum(gates))
    assert program.sizes((4,)) == [(4,), (1,), (5,), (4,), (4,), (4,), (4,)]


def test_nominal_sizes():
    assert nominal((None, 10), (3, 20)) == (56, 10)
    assert nominal((None,), (20,)) == (80,)


def test_effort_counts_what_the_target_minimises():
    """3x3, strides 2, in a chain: axis by axis 15 ReLUs for each output, by the tree 19."""
    spec = PoolSpec((3, 3), (2, 2))
    tree, axes = (synthesize(spec, scheme, "sequential", lower_bound=0.0) for scheme in ("tree", "separable"))
    assert (tree.relus_per_output, axes.relus_per_output) == (19, 15)
    # sizes 9 x 9, outputs 4 x 4, 9 x 4 between them: 16 outputs * 19, and (3 + 2) * 36 + (3 + 2) * 16
    assert (relu_elements(tree, (9, 9)), relu_elements(axes, (9, 9))) == (16 * 19, 5 * 36 + 5 * 16)
    for program in (tree, axes):
        for target in (named("generic"), named("pytorch"), named("keras")):
            amount = work(program, (9, 9), fuses=target.fuses, call=target.call)
            assert effort(program, (9, 9), target)[0] == amount
            counted = effort(program, (9, 9), replace(target, minimise="relus"))
            assert counted == (relu_elements(program, (9, 9)), amount)
    chain = synthesize(HALF, "horner", sizes=(4, 4), lower_bound=0.0)
    copied = work(chain, (4, 4), tap=COPIED)
    assert effort(chain, (4, 4), named("generic"), aligned=False)[0] == copied > work(chain, (4, 4))
