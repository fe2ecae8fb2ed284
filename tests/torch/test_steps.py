"""Nodes as modules: what is computed in place."""

from dataclasses import replace

import numpy as np
import pytest

pytest.importorskip("torch.nn", reason="PyTorch is not installed")

import torch

from depool import PoolSpec
from depool.choice import Choice
from depool.choose import choose
from depool.facts import InputFacts
from depool.geometry import Window
from depool.numerics import Rounding
from depool.program import Add, Conv, Program, Relu
from depool.torch.steps import steps_of

POINT = Window((1,), (1,), (1,), ((0, 0),))
TWICE = Conv(0, np.full((1, 1, 1), 2.0), POINT)


def steps(*nodes):
    made = choose(PoolSpec((2,)), (None,), InputFacts(), Choice(), "float32")
    return steps_of(replace(made, program=Program(1, nodes, Rounding())), 1, torch.zeros(0))


def run(found, x):
    values = [x] * (1 + max(step.slot for step in found))
    for step in found:
        values[step.slot] = step(values, 0)
    return values[found[-1].slot]


def test_what_is_read_again_is_not_written_over():
    """2 x + r(2 x): r is written over, 2 x is not."""
    found = steps(TWICE, Relu(1), Add(1, 2))
    assert [step.in_place for step in found[1:]] == [False, True]
    x = torch.tensor([[[-3.0, 1.0]]])
    assert run(found, x).tolist() == [[[-6.0, 4.0]]]
    assert x.tolist() == [[[-3.0, 1.0]]]


def test_the_input_is_not_written_over():
    x = torch.tensor([[[-3.0, 1.0]]])
    assert run(steps(Relu(0)), x).tolist() == [[[0.0, 1.0]]]
    assert run(steps(TWICE, Add(0, 1)), x).tolist() == [[[-9.0, 3.0]]]
    assert x.tolist() == [[[-3.0, 1.0]]]


def test_what_is_read_once_is_written_over():
    """Of a sum whichever of the two it is."""
    for nodes in ((TWICE, Relu(0), Add(1, 2)), (Relu(0), TWICE, Add(1, 2))):
        found = steps(*nodes)
        assert found[-1].in_place
        assert run(found, torch.tensor([[[-3.0, 1.0]]])).tolist() == [[[-6.0, 3.0]]]
