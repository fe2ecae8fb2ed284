"""Inputs are matched by name, else by order; channels move only where the shapes leave one possibility."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from depool.errors import UsageError
from depool.verification.layouts import matched, moved, moved_shape, settled
from depool.verification.subjects import Port


@dataclass
class Model:
    framework: str
    inputs: tuple[Port, ...]


def model(framework, *shapes):
    return Model(framework, tuple(Port(f"in{i}", shape, "float32") for i, shape in enumerate(shapes)))


def ports(*names):
    return [Port(name, (1,), "float32") for name in names]


def test_names_decide_where_they_are_the_same():
    assert matched(ports("a", "b", "c"), ports("c", "a", "b")) == [2, 0, 1]


def test_order_decides_where_names_differ():
    assert matched(ports("a", "b"), ports("x", "a")) == [0, 1]


def test_another_number_of_inputs_is_refused():
    with pytest.raises(UsageError, match=r"different inputs \(a, b; x\)"):
        matched(ports("a", "b"), ports("x"))


SETTLED = {
    "last to first": ((None, 8, 9, 3), (None, 3, 8, 9), ("NHWC", "NCHW")),
    "first to last": ((1, 3, 8, 9), (1, 8, 9, 3), ("NCHW", "NHWC")),
    "the same": ((None, 3, 8, 9), (2, 3, 8, 9), ("NCHW", "NCHW")),
    "no spatial axes": ((None, 5), (2, 5), ("NCHW", "NCHW")),
    "one spatial axis": ((None, 9, 3), (1, 3, 9), ("NHWC", "NCHW")),
    "three spatial axes": ((None, 7, 8, 9, 3), (1, 3, 7, 8, 9), ("NHWC", "NCHW")),
}


@pytest.mark.parametrize("name", SETTLED)
def test_shapes_settle_the_layouts(name):
    one, other, expected = SETTLED[name]
    assert settled(model("keras", one), model("onnx", other), [0]) == expected


def test_a_second_input_settles_what_the_first_leaves_open():
    one, other = model("keras", (None, 8, 8, 8), (None, 4, 6, 3)), model("onnx", (1, 8, 8, 8), (1, 3, 4, 6))
    assert settled(one, other, [0, 1]) == ("NHWC", "NCHW")


@pytest.mark.parametrize("shape", [(None, 8, 8, 8), None])
def test_what_shapes_do_not_settle_is_asked(shape):
    with pytest.raises(UsageError, match="give layouts"):
        settled(model("keras", shape), model("onnx", (1, 8, 8, 8)), [0])


def test_within_one_framework_channels_do_not_move():
    assert settled(model("keras", None), model("keras", (1, 8, 8, 8)), [0]) == ("NCHW", "NCHW")


def test_a_module_of_unknown_shape_has_channels_first_like_onnx():
    assert settled(model("torch", None), model("onnx", (1, 8, 8, 8)), [0]) == ("NCHW", "NCHW")


def test_shapes_that_fit_in_no_layout_are_shown():
    with pytest.raises(UsageError, match=r"in0 \['\?', 8, 9, 3\]; in0 \[1, 4, 8, 9\]"):
        settled(model("keras", (None, 8, 9, 3)), model("onnx", (1, 4, 8, 9)), [0])


@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 7), (2, 3, 4, 5, 6)])
def test_moving_there_and_back(shape):
    x = np.arange(np.prod(shape)).reshape(shape)
    there = moved(x, "NCHW", "NHWC")
    assert there.shape == (shape[0], *shape[2:], shape[1]) == moved_shape(shape, "NCHW", "NHWC")
    index = tuple(n - 1 for n in shape)
    assert there[(index[0], *index[2:], index[1])] == x[index]
    assert np.array_equal(moved(there, "NHWC", "NCHW"), x)


def test_vectors_stay():
    x = np.arange(6).reshape(2, 3)
    assert moved(x, "NHWC", "NCHW") is x
