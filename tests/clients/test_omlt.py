"""OMLT with HiGHS finds the optimum of converted nets; what it refuses and what it drops without a word."""

from itertools import product

import numpy as np
import onnx
import pytest
from nets import DILATED, HALF, PADDED, PLAIN, digits, images, model_of, native
from onnx import helper, numpy_helper

import depool
from depool.onnx.convert import Result

pytestmark = pytest.mark.clients
pyo = pytest.importorskip("pyomo.environ", reason="needs the extra `clients`")
omlt = pytest.importorskip("omlt", reason="needs the extra `clients`")
neuralnet = pytest.importorskip("omlt.neuralnet", reason="needs the extra `clients`")
reader = pytest.importorskip("omlt.io.onnx", reason="needs the extra `clients`")
exact = pytest.importorskip("exact", reason="needs the extra `clients` (pyscipopt)", exc_type=ImportError)


@pytest.fixture
def converted(tmp_path):
    """Converts a model for OMLT; the result."""

    def convert(model, **arguments) -> Result:
        onnx.save(model, tmp_path / "net.onnx")
        output = tmp_path / "net.depool.onnx"
        return depool.convert(tmp_path / "net.onnx", output, **({"target": "omlt"} | arguments), force=True)

    return convert


def read(model, low, high):
    bounds = {at: (float(low[at]), float(high[at])) for at in np.ndindex(*low.shape)}
    return reader.load_onnx_neural_network(model, input_bounds=bounds)


def optimum(model, low, high, objective, sense):
    """The optimum by HiGHS, the x it was found at, and how many binary variables the problem has."""
    problem = pyo.ConcreteModel()
    problem.net = omlt.OmltBlock()
    problem.net.build_formulation(neuralnet.ReluBigMFormulation(read(model, low, high)))
    logits = [problem.net.outputs[at] for at in sorted(problem.net.outputs)]
    problem.goal = pyo.Objective(expr=objective(logits), sense=sense)
    solver = pyo.SolverFactory("appsi_highs")
    solver.config.mip_gap = 0.0
    solver.highs_options = {
        "mip_abs_gap": 1e-9,
        "primal_feasibility_tolerance": 1e-9,
        "mip_feasibility_tolerance": 1e-9,
    }
    solver.solve(problem)
    x = np.zeros(low.shape, np.float32)
    for at in np.ndindex(*low.shape):
        x[at] = pyo.value(problem.net.inputs[at])
    binaries = sum(v.is_binary() for v in problem.component_data_objects(pyo.Var))
    return pyo.value(problem.goal), x, binaries


def test_the_optimum_is_that_of_enumeration(converted):
    """A sum of maxima with weights >= 0 is convex, so its largest value over a box is at one of its 2^12 corners."""
    rng = np.random.default_rng(5)
    weights = {
        "w": rng.normal(size=(2, 1, 2, 2)).astype(np.float32),
        "m": np.abs(rng.normal(size=(4, 1))).astype(np.float32),
        "o": np.zeros(1, np.float32),
    }
    shape = numpy_helper.from_array(np.array([-1, 4]))
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], name="conv", **(PLAIN | {"kernel_shape": [2, 2]})),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("MaxPool", ["r"], ["p"], name="pool", **HALF),
        helper.make_node("Constant", [], ["shape"], name="shape", value=shape),
        helper.make_node("Reshape", ["p", "shape"], ["f"], name="reshape"),
        helper.make_node("Gemm", ["f", "m", "o"], ["y"], name="gemm", alpha=1.0, beta=1.0, transA=0, transB=0),
    ]
    model = model_of(nodes, weights, ["N", 1, 3, 5], ["N", 1])
    result = converted(model)
    low, high = np.full((1, 3, 5), -1.0), np.full((1, 3, 5), 1.0)
    low[0, :, 4] = high[0, :, 4] = 0.25  # the last column is fixed: no 2x2 window of the pool needs it
    corners = np.full((2**12, 1, 3, 5), 0.25, np.float32)
    corners[:, 0, :, :4] = np.array(list(product((-1, 1), repeat=12)), np.float32).reshape(-1, 3, 4)
    best = native(model, corners).max()
    found, x, binaries = optimum(result.model, low, high, lambda y: y[0], pyo.maximize)
    assert found == pytest.approx(float(best), abs=1e-5)
    assert native(model, x[None])[0, 0] == pytest.approx(found, abs=1e-5)
    own, outputs = 2 * 2 * 4, 2 * 1 * 2  # ReLUs of the net's own layer; outputs of the pool
    assert binaries == own + 6 * outputs


def test_the_optimum_is_that_of_a_second_solver(converted):
    """The smallest margin of a digit over a box, by OMLT and HiGHS converted, by SCIP native."""
    model = digits(HALF, filters=2, bias=False, reshape=True)
    result = converted(model)
    x, labels = images()
    scores = native(model, x[:20])
    chosen = [i for i in range(20) if scores[i].argmax() == labels[i]][:4]
    assert len(chosen) == 4
    for i in chosen:
        low, high = np.clip(x[i] - 0.04, 0, 1), np.clip(x[i] + 0.04, 0, 1)
        a, b = int(labels[i]), int(np.argsort(scores[i])[-2])
        wanted, _ = exact.optimum(model, low, high, lambda y, a=a, b=b: y[a] - y[b])
        found, at, binaries = optimum(result.model, low, high, lambda y, a=a, b=b: y[a] - y[b], pyo.minimize)
        assert found == pytest.approx(wanted, abs=1e-5)
        logits = native(model, at[None])[0]
        assert logits[a] - logits[b] == pytest.approx(found, abs=1e-5)
        assert binaries == 2 * 36 + 6 * 2 * 9


def test_signed_input_costs_nine_binaries(converted):
    """Two maps carry each value that waits; the optimum is right all the same."""
    model = digits(HALF, filters=1, bias=False, relu=False, reshape=True)
    result = converted(model)
    x = images()[0][3]
    low, high = np.clip(x - 0.04, 0, 1), np.clip(x + 0.04, 0, 1)
    wanted, _ = exact.optimum(model, low, high, lambda y: y[3] - y[5], "maximize")
    found, _, binaries = optimum(result.model, low, high, lambda y: y[3] - y[5], pyo.maximize)
    assert found == pytest.approx(wanted, abs=1e-5)
    assert binaries == 9 * 9


REFUSED = {
    "a pool": (HALF, 8, "Kernel shape [2] has 1 dimensions. Strides attribute has 2"),
    "a padded pool": (PADDED, 8, "has non-zero pads ([1, 1, 1, 1]). This is not supported."),
    "a dilated pool": (DILATED, 9, "has non-identity dilations ([2, 2])."),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_refuses_natively(name):
    pool, size, words = REFUSED[name]
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the text is compared below
        read(digits(pool, reshape=True, size=size), np.zeros((1, size, size)), np.ones((1, size, size)))
    assert words in str(caught.value)


def test_what_it_refuses_and_drops(converted):
    """Each caveat that convert prints is what happens, in the words of the preset."""
    low, high = np.zeros((1, 8, 8)), np.ones((1, 8, 8))
    plain = converted(digits(HALF, filters=1, bias=False, reshape=True))
    assert [caveat.where for caveat in plain.caveats] == [""]  # plain intervals, and no node is named
    read(plain.model, low, high)

    flat = converted(digits(HALF, filters=1, bias=False))
    assert "Flatten flatten: " in str(flat.caveats[0])
    assert "ValueError: Unhandled node type Flatten" in flat.caveats[0].text
    with pytest.raises(ValueError, match=r"^Unhandled node type Flatten$"):
        read(flat.model, low, high)

    fixed = converted(digits(HALF, filters=1, bias=False, reshape=True, batch=1))
    assert (fixed.caveats[0].where, fixed.caveats[0].silent) == ("x", False)
    with pytest.raises(ValueError, match="must have one more dimension"):
        read(fixed.model, low, high)

    biased = converted(digits(HALF, filters=1, reshape=True))
    assert (biased.caveats[0].where, biased.caveats[0].silent) == ("conv", True)
    bare = onnx.ModelProto()
    bare.CopyFrom(biased.model)
    next(node for node in bare.graph.node if node.name == "conv").input.pop()
    x = images()[0][0]
    near = x - 0.01, x + 0.01
    with_bias, _, _ = optimum(biased.model, *near, lambda y: y[0], pyo.minimize)
    without, _, _ = optimum(bare, *near, lambda y: y[0], pyo.minimize)
    assert with_bias == without
    assert abs(without - native(biased.model, x[None])[0, 0]) > 0.05


def test_it_takes_no_padding_so_padded_pools_are_refused_at_once(converted):
    with pytest.raises(depool.NotConverted, match="TARGET_LACKS: pool: target omlt takes no padding"):
        converted(digits(PADDED, reshape=True, bias=False))
    padded = converted(digits(PADDED, reshape=True, bias=False), target="portable")
    with pytest.raises(ValueError, match="has non-zero pads"):
        read(padded.model, np.zeros((1, 8, 8)), np.ones((1, 8, 8)))
