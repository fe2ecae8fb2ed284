"""In which places the results of a program lie, and which may be written over."""

import numpy as np

from depool.choose import synthesize
from depool.geometry import PoolSpec, Window
from depool.numerics import Rounding
from depool.passes import passes, read_once, slots
from depool.program import Add, Conv, Program, Relu

POINT = Window((1,), (1,), (1,), ((0, 0),))
TWICE = Conv(0, np.full((1, 1, 1), 2.0), POINT)


def test_a_place_is_used_again_once_nobody_reads_its_tensor():
    """What a stage reads, what it made last, and what it makes."""
    order = passes(synthesize(PoolSpec((8,)), "horner", "branched"))
    places = slots(order)
    assert len(order) == 6  # windows of 1, 4 and 8: four taps, and two at a distance of 4
    assert max(places.values()) == 2
    for step, one in enumerate(order):
        made = places[one.nodes[-1] + 1]
        later = {ref for other in order[step + 1 :] for ref in other.reads if ref <= one.nodes[-1]}
        assert made not in {places[ref] for ref in (*one.reads, *later)}


def test_what_two_read_is_not_read_once():
    order = passes(Program(1, (TWICE, Relu(1), Add(1, 2)), Rounding()))
    assert [one.nodes for one in order] == [(0,), (1,), (2,)]
    assert read_once(order) == {2}
