"""The bounds are sound and not slack; gate Y is exact; what fails, fails as documented."""

from itertools import product
from math import inf

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracle import DTYPES, run

from depool.choose import synthesize
from depool.geometry import PoolSpec
from depool.numerics import Rounding, Step, bound, exact_integers, largest, safe, statement, unit_roundoff

ROUNDOFF = {"float32": 2.0**-24, "float64": 2.0**-53, "float16": 2.0**-11, "bfloat16": 2.0**-8}
PAIR = synthesize(PoolSpec((2,)), "tree", "branched")
FOUR = synthesize(PoolSpec((4,)), "tree", "branched")


def exact_pair(form="branched", dtype="float32"):
    return synthesize(PoolSpec((2,)), "tree", form, exact=True, dtype=dtype)


def rows(program, values):
    """The program over each row of `values` [n, k], as one window, in float64."""
    return program(values[:, None])[:, 0, 0].astype(np.float64)


def finite(dtype, count, seed=0):
    """Values with |x| <= MAX / 2 of a 16-bit type: `count` random bit patterns, and the edges."""
    info = ml_dtypes.finfo(np.dtype(dtype))
    half = float(info.max) / 2
    edges = np.array([0, info.smallest_subnormal, info.smallest_normal, 1, 1 + info.eps, half], np.float64)
    edges = np.concatenate([edges, -edges, [half * (1 - 2.0**-5), 3, 2.5]]).astype(np.dtype(dtype))
    bits = np.random.default_rng(seed).integers(0, 2**16, 3 * count, dtype=np.uint16)
    with np.errstate(invalid="ignore"):
        drawn = bits.view(np.dtype(dtype)).astype(np.float64)
    keep = np.isfinite(drawn) & (np.abs(np.nan_to_num(drawn)) <= half)
    return np.concatenate([edges, drawn[keep][:count].astype(np.dtype(dtype))])


def all_pairs(values):
    return np.stack([np.repeat(values, len(values)), np.tile(values, len(values))], axis=1)


def ulp(size, dtype):
    """The unit in the last place of `size` (float64, >= 0) in a type."""
    info = ml_dtypes.finfo(np.dtype(dtype))
    _, exponent = np.frexp(size)
    return np.maximum(np.ldexp(float(info.eps), exponent - 1), float(info.smallest_subnormal))


@pytest.mark.parametrize("dtype", DTYPES)
def test_constants(dtype):
    assert unit_roundoff(dtype) == ROUNDOFF[dtype]
    assert largest(dtype) == float(ml_dtypes.finfo(np.dtype(dtype)).max)


def test_bounds_by_hand():
    u = 2.0**-24
    assert bound(Rounding((Step(ulps=1),)), 3.0, "float32") == 6 * u
    assert bound(Rounding((Step(ulps=1),) * 2), 1.0, "float32") == 2 * u + 2 * u * (1 + 2 * u)
    gamma = 3 * u / (1 - 3 * u)
    assert bound(Rounding((Step(sums=((4, 6),)),)), 2.0, "float32") == pytest.approx(12 * gamma, rel=1e-15)
    assert bound(Rounding((Step(sums=((2, 1),)),), magnitude=8.0), 2.0, "float32") == pytest.approx(10 * u, rel=1e-6)
    assert bound(Rounding((Step(sums=((1, 5),)),)), 2.0, "float32") == 0
    assert bound(Rounding(), np.array([1.0, 2.0]), "float32").tolist() == [0, 0]
    assert bound(Rounding((Step(ulps=1), Step(growth=11.0))), 1.0, "float32") == 22 * u
    average = bound(Rounding(products=4), np.array([0.0, 1.0]), "float16")
    half = 2.0**-11
    assert average[0] == 4 * 2.0**-24
    assert average[1] == pytest.approx(5 * half / (1 - 5 * half) + 4 * 2.0**-24, rel=1e-12)
    # at n u >= 1 nothing is promised, and nothing that follows makes a promise of it
    assert bound(Rounding((Step(sums=((300, 1),)),)), 1.0, "bfloat16") == inf
    assert bound(Rounding((Step(sums=((300, 1),)), Step(sums=((2, 1),)), Step(ulps=1))), 1.0, "bfloat16") == inf


def test_exact_integers_by_hand():
    assert exact_integers(Rounding(heaviest=2.0), "float32") == 2**23
    assert exact_integers(Rounding(heaviest=4.0, halves=True), "float16") == 2**11 / 8
    assert exact_integers(Rounding(products=4), "float32") == 0
    assert exact_integers(Rounding(magnitude=8.0), "float32") == 0


def test_halves_of_subnormals_are_in_the_bound():
    """1/2 of an odd multiple of the smallest subnormal is rounded, whatever u M says."""
    program = synthesize(PoolSpec((5,)), "shallow", "branched")
    x = np.random.default_rng(1).integers(-9, 10, (2000, 5)) * 2.0**-149
    error = np.abs(rows(program, x.astype(np.float32)) - x.max(1))
    assert 0 < error.max() < 8 * 2.0**-149
    assert (error <= program.error_bound(np.abs(x).max(1))).all()


def test_bit_exact():
    assert Rounding().bit_exact
    assert Rounding((Step(sums=((1, 3), (1, 1))),)).bit_exact
    assert not Rounding((Step(sums=((2, 1),)),)).bit_exact
    assert not Rounding((Step(), Step(ulps=1))).bit_exact
    assert not Rounding(products=1).bit_exact


def test_statements():
    assert statement(PAIR.rounding, "float32").startswith("within 2 u M, u = 2^-24")
    assert statement(FOUR.rounding, "bfloat16").startswith("within 4.02 u M, u = 2^-8")
    shifted = synthesize(PoolSpec((2,), pads=((1, 0),)), form="sequential", lower_bound=-8.0)
    assert " u (M + 8), u = 2^-24" in statement(shifted.rounding, "float32")
    # gate Y is exact only up to MAX / 2, and says so; K and a subsampling are exact for all that is finite
    assert statement(exact_pair().rounding, "float32") == "bit-exact for |x| <= 1.7e+38"
    assert statement(exact_pair().rounding, "float16") == "bit-exact for |x| <= 3.28e+04"
    assert statement(synthesize(PoolSpec((2,)), exact=True, lower_bound=0.0).rounding, "float32") == "bit-exact"
    assert statement(synthesize(PoolSpec((1,), (2,))).rounding, "float32") == "bit-exact"


@given(
    st.sampled_from(["branched", "concat", "sequential"]),
    st.integers(1, 9),
    st.sampled_from(DTYPES),
    st.floats(0, 1e3),
    st.floats(0, 1e3),
)
def test_bounds_grow_with_the_data_and_the_window(form, kernel, dtype, one, other):
    less, more = (synthesize(PoolSpec((k,)), "tree", form) for k in (kernel, 2 * kernel))
    small, large = sorted([one, other])
    assert 0 <= less.error_bound(small, dtype) <= less.error_bound(large, dtype)
    assert less.error_bound(large, dtype) <= more.error_bound(large, dtype)
    levels = (kernel - 1).bit_length()
    assert more.error_bound(1.0, dtype) >= 2 * ROUNDOFF[dtype] * (levels + 1)
    if form == "branched":
        u = ROUNDOFF[dtype]
        assert less.error_bound(1.0, dtype) == pytest.approx((1 + 2 * u) ** levels - 1, rel=1e-3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_the_pair_gate_is_within_one_ulp(dtype):
    values = finite(dtype, 1200)
    values = values[np.abs(values.astype(np.float64)) <= largest(dtype) / 4]
    pairs = all_pairs(values)
    wide = pairs.astype(np.float64)
    error = np.abs(rows(PAIR, pairs) - wide.max(1))
    most = np.abs(wide).max(1)
    assert len(pairs) > 900_000
    assert (error <= ulp(most, dtype)).all()
    assert (error <= PAIR.error_bound(most, dtype)).all()
    assert (error == ulp(most, dtype)).sum() > 100  # and it does get there


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_a_tree_over_values_above_zero_is_within_one_ulp_of_the_maximum(dtype):
    values = np.abs(finite(dtype, 3000))
    values = values[values.astype(np.float64) <= largest(dtype) / 4]
    for kernel in (2, 4, 16):
        program = synthesize(PoolSpec((kernel,)), "tree", "branched")
        x = np.random.default_rng(kernel).choice(values, (20_000, kernel))
        true = x.astype(np.float64).max(1)
        assert (np.abs(rows(program, x) - true) <= ulp(true, dtype)).all()


def near_one():
    """Float32 values a few units in the last place around +-1, where differences lose most."""
    ulps = 1 + np.arange(5) * 2.0**-23
    return np.concatenate([ulps, -ulps]).astype(np.float32)


@pytest.mark.parametrize(("kernel", "share"), [(2, 0.999), (4, 0.999), (8, 0.5)])
def test_constructed_data_reaches_the_bound(kernel, share):
    """A tree's bound is 2 L u M: two levels of it are reached in full, so it cannot be much smaller."""
    program = synthesize(PoolSpec((kernel,)), "tree", "branched")
    if kernel == 8:
        x = np.random.default_rng(0).choice(near_one()[[0, 1, 5, 6]], (65_536, 8))
    else:
        x = np.array(list(product(near_one(), repeat=kernel)))
    wide = x.astype(np.float64)
    ratio = np.abs(rows(program, x) - wide.max(1)) / program.error_bound(np.abs(wide).max(1))
    assert share <= ratio.max() <= 1


@pytest.mark.parametrize("form", ["concat", "sequential"])
def test_merged_levels_round_more_than_two_levels_of_pairs_promise(form):
    """Sums of several terms: their own, larger bound holds in any order, and is within a factor of 16."""
    program = synthesize(PoolSpec((4,)), "tree", form)
    x = np.array(list(product(near_one()[[0, 1, 2, 5, 6, 7]], repeat=4)))
    wide = x.astype(np.float64)
    limit = program.error_bound(np.abs(wide).max(1))
    worst = 0.0
    for order in ("forward", "reversed", "shuffled", "wide"):
        ratio = np.abs(run(program, x[:, None], order)[:, 0, 0].astype(np.float64) - wide.max(1)) / limit
        worst = max(worst, ratio.max())
    assert 1 / 16 <= worst <= 1
    assert (limit > FOUR.error_bound(np.abs(wide).max(1))).all()


def test_the_pair_gate_loses_small_beside_large_and_gate_y_does_not():
    x = np.array([[1e-8, -1e8]], np.float32)
    assert rows(PAIR, x) == [0]
    assert PAIR.error_bound(1e8) >= 1e-8
    for form in ("branched", "concat", "sequential"):
        assert rows(exact_pair(form), x) == [np.float32(1e-8)]
    # the other way round nothing is lost
    assert rows(PAIR, x[:, ::-1].copy()) == [np.float32(1e-8)]


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("form", ["branched", "sequential"])
def test_gate_y_is_exact_on_all_pairs(dtype, form):
    program = exact_pair(form, dtype)
    assert program.rounding.bit_exact
    pairs = all_pairs(finite(dtype, 700, seed=3))
    assert len(pairs) > 500_000
    assert np.array_equal(rows(program, pairs), pairs.astype(np.float64).max(1))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("form", ["branched", "sequential"])
def test_gate_k_is_exact_on_all_pairs_up_to_the_largest_number(dtype, form):
    program = synthesize(PoolSpec((2,)), "tree", form, exact=True, lower_bound=0.0, dtype=dtype)
    most = np.array([largest(dtype), largest(dtype) * (1 - 2.0**-7), largest(dtype) / 2]).astype(np.dtype(dtype))
    values = np.concatenate([most, np.abs(finite(dtype, 700, seed=5))])
    pairs = all_pairs(values)
    assert safe(program.rounding, dtype) == largest(dtype)
    assert np.array_equal(rows(program, pairs), pairs.astype(np.float64).max(1))


@pytest.mark.parametrize("dtype", DTYPES)
def test_gate_y_is_exact_in_a_tree_and_in_any_order(dtype):
    rng = np.random.default_rng(4)
    short = dtype if dtype.endswith("16") else "float16"
    x = rng.choice(finite(short, 2000, seed=4), (4000, 5)).astype(np.dtype(dtype))
    if dtype != short:  # all 24 or 53 bits in use
        x = x * (1 + rng.random(x.shape)).astype(x.dtype)
    for form in ("branched", "concat", "sequential"):
        program = synthesize(PoolSpec((5,)), "tree", form, exact=True, dtype=dtype)
        for order in ("forward", "shuffled", "wide"):
            result = run(program, x[:, None], order)[:, 0, 0].astype(np.float64)
            assert np.array_equal(result, x.astype(np.float64).max(1))


def test_gate_y_promises_nothing_beyond_half_of_the_largest_number():
    most = np.float32(np.finfo(np.float32).max)
    x = np.array([[most, -most]], np.float32)
    assert safe(exact_pair().rounding, "float32") == most / 2
    assert rows(exact_pair(), x / 2) == [most / 2]
    with np.errstate(over="ignore", invalid="ignore"):
        assert rows(exact_pair(), x) != [most]


@pytest.mark.parametrize(
    ("dtype", "most"), [("float32", 2**23), ("float16", 2**10), ("bfloat16", 2**7), ("float64", 2**52)]
)
def test_integers_are_exact(dtype, most):
    rng = np.random.default_rng(7)
    program = synthesize(PoolSpec((9,)), "tree", "branched")
    edges = np.array([most, -most, most - 1, 1 - most, 0, 1, -1])
    signed = np.concatenate([rng.integers(-most, most + 1, (20_000, 9)), rng.choice(edges, (20_000, 9))])
    for integers in (signed, signed + most):  # twice the range where nothing is negative
        x = integers.astype(np.dtype(dtype))
        assert np.array_equal(x.astype(np.int64), integers)
        assert np.array_equal(rows(program, x).astype(np.int64), integers.max(1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("form", ["branched", "concat", "sequential"])
@pytest.mark.parametrize("scheme", ["tree", "shallow"])
def test_integers_are_exact_as_far_as_is_said(dtype, form, scheme):
    rng = np.random.default_rng(9)
    for lower_bound, kernel in product((-inf, 0.0), (2, 4, 5, 9)):
        program = synthesize(PoolSpec((kernel,)), scheme, form, lower_bound=lower_bound, dtype=dtype)
        most = int(exact_integers(program.rounding, dtype))
        assert most >= 1 or (dtype == "bfloat16" and scheme == "shallow")
        least = 0 if lower_bound == 0 else -most
        x = np.concatenate([rng.integers(least, most + 1, (500, kernel)), rng.choice([least, most], (500, kernel))])
        for order in ("forward", "reversed", "shuffled"):
            result = run(program, x[:, None].astype(np.dtype(dtype)), order)[:, 0, 0]
            assert np.array_equal(result.astype(np.int64), x.max(1))


def test_nothing_overflows_within_the_safe_range():
    """A level's result can exceed its inputs by an ulp, so MAX / 2 itself is too much for a second level."""
    x = np.array([[32752, -8, -32752, -32752]], np.float64)
    limit = safe(FOUR.rounding, "float16")
    assert limit < 32752
    scaled = x * (limit / 32752) * (1 - 2.0**-10)
    assert np.isfinite(rows(FOUR, scaled.astype(np.float16))).all()
    with np.errstate(over="ignore"):
        assert rows(FOUR, x.astype(np.float16)) == [inf]


@pytest.mark.parametrize("dtype", DTYPES)
def test_one_more_bit_is_not_exact(dtype):
    p = {"float32": 24, "float16": 11, "bfloat16": 8, "float64": 53}[dtype]
    x = np.array([[2.0**p - 1, -2.0]]).astype(np.dtype(dtype))  # a - b = 2^p + 1 is rounded
    assert rows(PAIR, x) == [2.0**p - 2]


def test_close_numbers_are_exact():
    """Sterbenz: b / 2 <= a <= 2 b, and whenever b is the maximum."""
    rng = np.random.default_rng(8)
    b = (rng.random(50_000) * 10.0 ** rng.uniform(-30, 30, 50_000)).astype(np.float32)
    a = np.clip(b * rng.uniform(0.5, 2, b.size).astype(np.float32), b / 2, 2 * b)
    for x in (np.stack([a, b], 1), np.stack([-a, -b], 1), np.stack([-b * 3, b], 1)):
        assert np.array_equal(rows(PAIR, x), x.astype(np.float64).max(1))


def horner_orders(x, dtype):
    """x0 + r((x1 - x0) + r(x2 - x1)) for rows of x, each sum of three in each order of summation."""
    x0, x1, x2 = x.astype(dtype).T
    zero = x0.dtype.type(0)
    r = np.maximum(x2 - x1, zero)
    for inner in ((x1 - x0) + r, (x1 + r) - x0, (r - x0) + x1):
        yield (x0 + np.maximum(inner, zero)).astype(np.float64)


@pytest.mark.parametrize("dtype", [np.float16, np.dtype(ml_dtypes.bfloat16)])
@pytest.mark.parametrize("signed", [False, True])
def test_a_horner_chain(dtype, signed):
    """Its bound holds in every order of summation: 2 g u M on input >= 0, (5 g - 2) u M on signed input, g gates."""
    program = synthesize(PoolSpec((3,)), "horner", lower_bound=-inf if signed else 0.0, dtype=dtype)
    u = unit_roundoff(dtype)
    promised = bound(program.rounding, 1.0, dtype)
    assert (8 if signed else 4) * u <= promised <= (8 if signed else 4) * u * (1 + 12 * u)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400_000, 3)) * 2.0 ** rng.integers(-6, 1, (400_000, 3))
    near = 1 + rng.integers(-9, 10, (400_000, 3)) * 2 * u  # close to each other, where signs differ most
    x = np.concatenate([x, near * rng.choice([-1.0, 1.0], near.shape)]).astype(dtype).astype(np.float64)
    x = x if signed else np.abs(x)
    most = np.abs(x).max(axis=1)
    worst = 0.0
    for got in horner_orders(x, dtype):
        off = np.abs(got - x.max(axis=1)) / np.maximum(most, 1e-3)
        assert (off <= promised).all()
        worst = max(worst, off.max())
    assert worst >= promised / 4  # nor is it slack
