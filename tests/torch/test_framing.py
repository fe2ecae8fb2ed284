"""Kernels with zeros in and around them: the same numbers, in the shape that PyTorch's fast convolutions want."""

from itertools import product

import numpy as np
import pytest

from depool.geometry import Window
from depool.numerics import Rounding
from depool.passes import passes
from depool.program import Add, Conv, Program
from depool.torch.framing import framed as framed_in


def program(kernel, stride, dilation, pads):
    window = Window((1, kernel), (1, stride), (1, dilation), ((0, 0), pads))
    weight = np.arange(1.0, kernel + 1).reshape(1, 1, 1, kernel)
    return Program(2, (Conv(0, weight, window),), Rounding())


def framed(program):
    return framed_in(program, passes(program))


@pytest.mark.parametrize("kernel", [1, 2, 3])
def test_the_sums_stay_and_no_pads_reach_beyond_the_kernel(kernel):
    x = np.random.default_rng(0).integers(-99, 99, (2, 3, 4, 11)).astype(np.float64)
    for stride, dilation, begin, more in product((1, 2, 3), (1, 2, 3), range(6), (0, 1)):
        bare = program(kernel, stride, dilation, (begin, begin + more))
        made = framed(bare)
        (node,) = made.nodes
        assert all(max(p) < extent for p, extent in zip(node.window.pads, node.window.extent, strict=True))
        np.testing.assert_array_equal(made(x), bare(x))


def test_nothing_is_added_that_is_not_needed():
    for kernel, pads in ((3, (1, 1)), (2, (1, 1)), (2, (0, 0))):
        assert framed(program(kernel, 1, 1, pads)).nodes[0].kernel.shape == (1, 1, 1, kernel)
    assert framed(program(1, 2, 1, (0, 0))).nodes[0].kernel.shape == (1, 1, 1, 1)


def test_one_element_at_stride_1_is_framed_although_it_has_no_pads():
    (node,) = framed(program(1, 1, 1, (0, 0))).nodes
    assert (node.kernel.ravel().tolist(), node.window.pads) == ([0, 1, 0], ((0, 0), (1, 1)))


def test_nothing_is_summed_at_a_distance():
    """x0 + 2 x2 + 3 x4, and something added to it; the sum belongs to the first convolution of the two."""
    (bare,) = program(3, 1, 2, (2, 2)).nodes
    (one,) = program(1, 1, 2, (0, 0)).nodes
    summed = Program(2, (bare, one, Add(1, 2)), Rounding())
    node = framed(summed).nodes[0]
    assert (node.kernel.ravel().tolist(), node.window.dilations) == ([1, 0, 2, 0, 3], (1, 1))
    x = np.arange(22.0).reshape(1, 1, 2, 11)
    np.testing.assert_array_equal(framed(summed)(x), summed(x))


def test_long_pads_along_the_last_axis_have_no_distance():
    for pads, dilation in (((4, 4), 2), ((5, 5), 1)):
        (node,) = framed(program(3, 1, 2, pads)).nodes
        assert node.window.dilations == (1, dilation)
