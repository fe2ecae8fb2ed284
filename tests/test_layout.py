"""Which tensors of a program may have one channel, and the weights that this gives."""

import numpy as np

from depool.geometry import Window
from depool.layout import narrowed, widen
from depool.numerics import Rounding
from depool.program import Add, Conv, Program, Relu


def test_only_what_reads_one_channel_has_one():
    """What a sum with data needs for all channels, its other readers get for all, too."""
    point = Window((1, 1), (1, 1), (1, 1), ((0, 0), (0, 0)))
    one = np.ones((1, 1, 1, 1))
    first = (Conv(0, 0 * one, point, (1.0,)), Relu(1), Conv(0, one, point), Add(3, 1))
    nodes = (*first, Conv(2, one, point), Conv(5, one, point), Add(4, 6))
    program = Program(2, nodes, Rounding())
    assert narrowed(program) == frozenset()
    wide = [conv for conv in widen(program, 3, "grouped", narrow=True) if conv is not None]
    assert [conv.group for conv in wide] == [3, 3, 3, 3]
    shared = Program(2, (nodes[0], nodes[2], Conv(1, one, point), Add(2, 3)), Rounding())
    assert narrowed(shared) == {1}
