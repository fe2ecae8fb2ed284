"""What is left out for speed: convolutions that copy, and the frames that stand for padded ones."""

import numpy as np

import depool
from depool.geometry import Window
from depool.lowering.adapt import compacted, without_copies
from depool.numerics import Rounding
from depool.program import Add, Conv, Program

ONE = (1, 1)
POINT = Window(ONE, ONE, ONE, ((0, 0), (0, 0)))


def conv(source, kernel, window):
    return Conv(source, np.asarray(kernel, float).reshape(1, 1, *window.kernel_shape), window)


def program(*nodes):
    return Program(2, nodes, Rounding())


def kinds(made):
    return [type(node).__name__ for node in made.nodes]


def test_copies_are_left_out():
    """conv(x; 1) = x where nothing is strided or padded; the last node stays, whatever it is."""
    twice = program(conv(0, [1], POINT), conv(0, [2], POINT), Add(1, 2), conv(3, [1], POINT))
    made = without_copies(twice)
    assert kinds(made) == ["Conv", "Add", "Conv"]
    x = np.arange(12.0).reshape(1, 1, 3, 4)
    np.testing.assert_array_equal(made(x), 3 * x)
    padded = Window(ONE, ONE, ONE, ((1, 0), (0, 2)))
    strided = Window(ONE, (2, 1), ONE, ((0, 0), (0, 0)))
    for window in (padded, strided):
        kept = program(conv(0, [1], window), conv(0, [2], window), Add(1, 2))
        assert kinds(without_copies(kept)) == ["Conv", "Conv", "Add"]
        np.testing.assert_array_equal(without_copies(kept)(x), kept(x))


def test_programs_for_eager_runtimes_are_the_same_pool():
    spec = depool.PoolSpec((5, 3), (1, 2), ((2, 2), (1, 1)))
    x = np.random.default_rng(0).integers(0, 99, (2, 3, 9, 8)).astype(np.float32)
    fused = depool.synthesize(spec, sizes=(9, 8), lower_bound=0.0)
    apart = depool.synthesize(spec, sizes=(9, 8), lower_bound=0.0, target="pytorch")
    np.testing.assert_array_equal(fused(x), apart(x))
    points = [node for node in apart.nodes[:-1] if isinstance(node, Conv) and node.kernel.size == 1]
    assert not [node for node in points if set(node.window.strides) == {1} and not node.window.padded]


def test_compaction_keeps_every_window():
    """Zeros at the ends go as far as pads, or windows that end before the input does, allow; gaps become dilations."""
    cases = [
        ([0, 1, 0, -1, 0], 1, (1, 1), (2, 2, (0, 0))),  # one zero at each end, and one between
        ([0, 1, 0, -1, 0], 1, (0, 0), (5, 1, (0, 0))),  # no pads to take off
        ([1, 0], 2, (0, 0), (1, 1, (0, 0))),  # 8 elements: the window that ends at the last one ends before it
        ([1, 0, 0], 1, (2, 2), (1, 1, (2, 0))),
        ([0, 0, 1], 1, (2, 2), (1, 1, (0, 2))),
        ([1, 0, 1], 1, (0, 0), (2, 2, (0, 0))),
    ]
    x = np.arange(1.0, 9).reshape(1, 1, 8)
    for kernel, stride, pads, (taps, dilation, left) in cases:
        window = Window((len(kernel),), (stride,), (1,), (pads,))
        whole = Program(1, (Conv(0, np.asarray(kernel, float).reshape(1, 1, -1), window),), Rounding())
        small = compacted(whole, (8,))
        found = small.nodes[0].window
        assert (found.kernel_shape[0], found.dilations[0], found.pads[0]) == (taps, dilation, left)
        np.testing.assert_array_equal(small(x), whole(x))
        for size in range(len(kernel), 12):  # of a size that is not known, only pads may be taken off
            any_size = compacted(whole, (None,))
            y = np.arange(1.0, size + 1).reshape(1, 1, size)
            np.testing.assert_array_equal(any_size(y), whole(y))
