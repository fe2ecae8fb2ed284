"""Pools whose windows are not all alike: adaptive ones, and averages that exclude their padding."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracle import draw, pool, run

from depool.adaptive import choose_adaptive
from depool.choice import Choice
from depool.choose import choose
from depool.errors import Refused
from depool.facts import InputFacts
from depool.geometry import PoolSpec
from depool.lowering.pieces import adaptive_runs

UNKNOWN = InputFacts()
KINDS = ("normal", "negative", "mixed", "integers", "ties")


def adaptive(x, outputs, kind):
    """By its definition: output i of m reads floor(i n / m) ... ceil((i + 1) n / m) - 1."""
    rows = [
        [range(i * n // m, -(-(i + 1) * n // m)) for i in range(m)] for n, m in zip(x.shape[2:], outputs, strict=True)
    ]
    y = np.empty((*x.shape[:2], *outputs), x.dtype if kind == "max" else np.float64)
    for at in np.ndindex(*outputs):
        index = list(product(*(row[i] for row, i in zip(rows, at, strict=True))))
        for n, c in np.ndindex(*x.shape[:2]):
            elements = [x[(n, c, *i)] for i in index]
            mean = sum(Fraction(float(e)) for e in elements) / len(elements) if kind == "average" else 0
            y[(n, c, *at)] = max(elements) if kind == "max" else float(mean)
    return y


def check(conversion, x, expected, exact, average=False):
    """Bit for bit, or within the bound for the largest |x|, whatever the order of the sums."""
    bound = float(conversion.program.error_bound(float(np.abs(x).max()), x.dtype))
    for order in ("forward", "reversed", "wide"):
        got = run(conversion.program, x, order)
        assert got.shape == expected.shape
        if exact and not average:
            assert np.array_equal(got, expected)
        assert np.abs(got.astype(np.float64) - expected).max() <= bound


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("kind", ["max", "average"])
@pytest.mark.parametrize(
    ("sizes", "outputs"),
    [
        ((4,), (3,)), ((7,), (5,)), ((3,), (5,)), ((7, 5), (3, 4)), ((8, 6), (4, 5)), ((2, 3), (3, 3)),
        ((5, 4, 3), (2, 3, 2)),
    ],
    ids=str,
)  # fmt: skip
def test_adaptive_pools_are_their_definition(sizes, outputs, kind, exact):
    conversion = choose_adaptive(kind, outputs, sizes, UNKNOWN, Choice(exact=exact), "float32")
    rng = np.random.default_rng(0)
    for data in KINDS:
        x = draw(rng, (2, 2, *sizes), data, "float32")
        check(conversion, x, adaptive(x, outputs, kind), exact, kind == "average")


@settings(max_examples=150)
@given(st.integers(1, 12), st.integers(1, 12), st.sampled_from(["max", "average"]), st.booleans())
def test_adaptive_pools_of_any_sizes(size, outputs, kind, exact):
    conversion = choose_adaptive(kind, (outputs,), (size,), UNKNOWN, Choice(exact=exact), "float64")
    x = draw(np.random.default_rng(size), (1, 2, size), "normal", "float64")
    check(conversion, x, adaptive(x, (outputs,), kind), exact, kind == "average")


def test_an_even_adaptive_pool_is_a_plain_one():
    conversion = choose_adaptive("max", (2, 3), (4, 9), UNKNOWN, Choice(), "float32")
    assert conversion.spec == PoolSpec((2, 3), (2, 3))
    assert conversion.scheme != "adaptive"


def test_an_axis_that_keeps_its_size():
    conversion = choose_adaptive("max", (None, 1), (None, 4), UNKNOWN, Choice(exact=True), "float32")
    x = draw(np.random.default_rng(0), (1, 2, 5, 4), "negative", "float32")
    assert np.array_equal(conversion.program(x), x.max(axis=3, keepdims=True))


@settings(max_examples=200)
@given(st.integers(1, 40), st.integers(1, 40))
def test_runs_say_every_window_once(size, outputs):
    runs = adaptive_runs(size, outputs)
    windows = [(run.start + i * run.stride, run.taps) for run in runs for i in range(run.count)]
    assert windows == [
        (i * size // outputs, -(-(i + 1) * size // outputs) - i * size // outputs) for i in range(outputs)
    ]


AVERAGES = [
    PoolSpec((3,), (1,), ((1, 1),), kind="average"),
    PoolSpec((3, 3), (2, 2), ((1, 1), (1, 1)), kind="average"),
    PoolSpec((3, 2), (2, 1), ((1, 0), (0, 1)), kind="average"),
    PoolSpec((2, 2), (2, 2), ceil_mode=True, kind="average"),
    PoolSpec((3, 3), (2, 2), ((1, 1), (0, 1)), (1, 2), kind="average"),
    PoolSpec((3, 3), auto_pad="SAME_LOWER", kind="average"),
    PoolSpec((3,) * 3, (2,) * 3, ((1, 1),) * 3, ceil_mode=True, kind="average"),
]


@pytest.mark.parametrize("spec", AVERAGES, ids=str)
def test_averages_that_exclude_their_padding_are_their_definition(spec):
    sizes = (7, 6, 5)[: spec.rank]
    conversion = choose(spec, sizes, UNKNOWN, Choice(), "float32")
    rng = np.random.default_rng(1)
    for data in KINDS:
        x = draw(rng, (1, 2, *sizes), data, "float32")
        check(conversion, x, pool(x, spec), exact=False)


@pytest.mark.parametrize("spec", AVERAGES, ids=str)
def test_they_need_static_sizes_and_branches(spec):
    if spec.auto_pad == "NOTSET" and not spec.ceil_mode:
        with pytest.raises(Refused, match="AVERAGE_EXCLUDES_PAD"):
            choose(spec, (None,) * spec.rank, UNKNOWN, Choice(), "float32")
    with pytest.raises(Refused, match="AVERAGE_EXCLUDES_PAD"):
        choose(spec, (7, 6, 5)[: spec.rank], UNKNOWN, Choice(target="portable"), "float32")


def test_adaptive_pools_that_are_refused():
    with pytest.raises(Refused, match="ADAPTIVE_UNEVEN"):
        choose_adaptive("max", (3,), (4,), UNKNOWN, Choice(target="portable"), "float32")
    with pytest.raises(Refused, match="ADAPTIVE_UNEVEN"):
        choose_adaptive("max", (3, None), (4, None), UNKNOWN, Choice(), "float32")
    with pytest.raises(Refused, match="DYNAMIC_GLOBAL"):
        choose_adaptive("average", (1,), (None,), UNKNOWN, Choice(), "float32")


@pytest.mark.parametrize("spec", AVERAGES[:4], ids=str)
def test_another_average_would_be_noticed(spec):
    """Counting the padding, or a window moved by one, is outside of the bound."""
    sizes = (7, 6)[: spec.rank]
    conversion = choose(spec, sizes, UNKNOWN, Choice(), "float32")
    x = draw(np.random.default_rng(2), (1, 2, *sizes), "negative", "float32")
    bound = float(conversion.program.error_bound(float(np.abs(x).max()), "float32"))
    moved = conversion.program(np.roll(x, 1, axis=-1))
    assert np.abs(moved - pool(x, spec)).max() > bound
    if spec.pads[0] != (0, 0):
        counted = pool(x, PoolSpec(spec.kernel_shape, spec.strides, spec.pads, kind="average", count_include_pad=True))
        assert np.abs(conversion.program(x) - counted).max() > bound
