"""Chains whose readers are ReLUs alone: r(max x) = max r(x), so a ReLU in front makes them chains of input >= 0."""

from itertools import product

import numpy as np
import onnx
import pytest
from onnx import parser

import depool
from depool import choose as choosing
from depool.choice import Choice
from depool.choose import choose
from depool.cost import relu_elements
from depool.facts import InputFacts
from depool.geometry import PoolSpec
from depool.program import Relu

READ_BY_RELUS = InputFacts(relu_follows=True)
GRID = [
    (k, s, p)
    for k, s in [
        ((2, 2), (2, 2)),
        ((2, 2), (1, 1)),
        ((3, 3), (2, 2)),
        ((3, 3), (1, 1)),
        ((5, 5), (1, 1)),
        ((2, 1), (2, 1)),
    ]
    for p in (0, 1)
    if p < min(k)
]


def chain(k, s, p, facts=READ_BY_RELUS, **options):
    spec = PoolSpec(k, s, ((p, p), (p, p)))
    return choose(spec, (12, 13), facts, Choice(form="sequential", **options), "float32")


def first_relu(program):
    """Whether the chain begins with r(x): a convolution that copies, and its ReLU."""
    copy, relu = program.nodes[:2]
    return copy.kernel.size == 1 and copy.kernel.item() == 1 and isinstance(relu, Relu)


def pooled(x, k, s, p):
    """r(max), by definition."""
    padded = np.pad(x, ((0, 0), (0, 0), (p, p), (p, p)), constant_values=-np.inf)
    sizes = [(n + 2 * p - a) // b + 1 for n, a, b in zip(x.shape[2:], k, s, strict=True)]
    taps = [
        padded[:, :, i : i + (sizes[0] - 1) * s[0] + 1 : s[0], j : j + (sizes[1] - 1) * s[1] + 1 : s[1]]
        for i, j in product(range(k[0]), range(k[1]))
    ]
    return np.maximum(np.max(taps, axis=0), 0)


@pytest.mark.parametrize(("k", "s", "p"), GRID)
def test_the_result_behind_the_relus_is_the_pools(k, s, p):
    program = chain(k, s, p).program
    assert first_relu(program)
    rng = np.random.default_rng(0)
    for x in (rng.integers(-99, 100, (2, 3, 12, 13)), -rng.integers(1, 100, (2, 3, 12, 13))):
        values = x.astype(np.float32)
        assert np.array_equal(np.maximum(program(values), 0), pooled(values, k, s, p))


@pytest.mark.parametrize(("k", "s", "p"), GRID)
def test_it_takes_fewer_products_and_no_more_relus(k, s, p, monkeypatch):
    """The ReLU behind the pool is counted where it was: behind one in front it decides nothing."""
    first = chain(k, s, p).program
    monkeypatch.setattr(choosing, "_pays_relu_first", lambda *_: False)
    plain = chain(k, s, p).program
    behind = np.prod(plain.sizes((12, 13))[-1])
    assert first.macs((12, 13)) < plain.macs((12, 13))
    assert relu_elements(first, (12, 12)) <= relu_elements(plain, (12, 12)) + behind


@pytest.mark.parametrize(
    ("facts", "options", "s"),
    [
        (InputFacts(), {}, (2, 2)),  # others read the pool
        (InputFacts(0.0, relu_follows=True), {}, (2, 2)),
        (READ_BY_RELUS, {"exact": True}, (2, 2)),
        (READ_BY_RELUS, {"scheme": "shallow"}, (2, 2)),
        (READ_BY_RELUS, {}, (3, 3)),  # elements are skipped
    ],
)
def test_elsewhere_there_is_no_relu_in_front(facts, options, s):
    assert not first_relu(chain((2, 2), s, 0, facts, **options).program)


@pytest.mark.parametrize("target", ["portable", "marabou", "litert"])
@pytest.mark.parametrize("pool", ["kernel_shape = [2,2], strides = [2,2]", "kernel_shape = [3,3], pads = [1,1,1,1]"])
def test_a_model_is_verified_and_proved(tmp_path, target, pool):
    model = parser.parse_model(f"""<ir_version: 8, opset_import: ["" : 13]>
        g (float[1,2,8,8] x) => (float[n,c,h,w] y) {{ p = MaxPool <{pool}>(x) y = Relu(p) }}""")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    result = depool.convert(tmp_path / "m.onnx", target=target)
    assert result.verdict.equal
    assert result.certificate is not None
    assert first_relu(result.conversions[0].program)
    assert [node.op_type for node in onnx.load(result.path).graph.node[:2]] == ["Conv", "Relu"]
