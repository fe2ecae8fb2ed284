"""A max pool and a ReLU as one program: zero padding, one ReLU at the end, or two ReLU layers in all."""

from itertools import product

import numpy as np
import pytest
from oracle import KINDS, draw, pool, run

from depool.choose import synthesize
from depool.errors import UsageError
from depool.geometry import PoolSpec
from depool.program import Conv, Relu

FORMS = ("branched", "concat", "sequential")
SPECS = {
    "2x2/2": PoolSpec((2, 2), (2, 2)),
    "2x2/1 padded": PoolSpec((2, 2), (1, 1), ((1, 1), (0, 1))),
    "2x2 dilated": PoolSpec((2, 2), (1, 2), ((2, 1), (1, 1)), (3, 2)),
    "4/2": PoolSpec((4,), (2,)),
    "3x3/2 p1": PoolSpec((3, 3), (2, 2), ((1, 1), (1, 1))),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("pairs", [True, False])
def test_every_window_of_small_integers(form, pairs):
    """All 7^4 windows, exactly; all ties and signs are among them."""
    x = np.array(list(product(range(-3, 4), repeat=4)), np.float32).reshape(-1, 1, 2, 2)
    program = synthesize(PoolSpec((2, 2), (2, 2)), "tree" if pairs else "shallow", form, relu=True)
    assert np.array_equal(program(x).ravel(), np.maximum(x.max(axis=(1, 2, 3)), 0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("scheme", ["shallow", "tree", "separable"])
@pytest.mark.parametrize("name", SPECS)
def test_it_keeps_its_promise(name, scheme, form, kind):
    """Signed input, and the padding is zeros all the same."""
    spec = SPECS[name]
    program = synthesize(spec, scheme, form, relu=True)
    x = draw(np.random.default_rng(7), (2, 2, *(7, 6)[: spec.rank]), kind, "float32", limit=1 / 16)
    want = np.maximum(pool(x, spec), 0).astype(np.float64)
    bound = program.error_bound(pool(np.abs(x), spec).astype(np.float64), "float32")
    for result in (program(x), run(program, x, "shuffled")):
        assert (np.abs(result - want) <= bound).all()
    assert all(node.bias is None for node in program.nodes if isinstance(node, Conv))


@pytest.mark.parametrize(("form", "neurons"), [("sequential", 15), ("branched", 13), ("concat", 13)])
def test_a_relu_and_a_2x2_pool_take_two_layers(form, neurons):
    program = synthesize(PoolSpec((2, 2), (2, 2)), "shallow", form, relu=True)
    assert (program.relu_layers, program.relus_per_output) == (2, neurons)
    assert not isinstance(program.nodes[-1], Relu)


def test_elsewhere_one_relu_ends_the_program():
    for scheme in ("tree", "separable"):
        program = synthesize(PoolSpec((2, 2), (2, 2)), scheme, "sequential", relu=True)
        assert (program.relu_layers, program.relus_per_output) == (3, 9 + 1)
        assert isinstance(program.nodes[-1], Relu)


def test_averages_and_integers_have_none():
    for arguments in ({"kind": "average"}, {}):
        with pytest.raises(UsageError, match="relu belongs to max pools"):
            synthesize(PoolSpec((2, 2), (2, 2), **arguments), relu=True, dtype="float32" if arguments else "int8")
