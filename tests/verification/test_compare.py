"""Differences: infinite where one side is not finite, and counted in the expected value's own last places."""

from math import inf

import ml_dtypes
import numpy as np
import pytest

from depool.verification.compare import difference, worse

TYPES = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32, "float64": np.float64}


def of(expected, got, dtype=np.float32):
    return difference(np.array(expected, dtype), np.array(got, dtype))


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_equal_arrays(dtype):
    found = of([[1, -2], [0, 5]], [[1, -2], [-0.0, 5]], dtype)
    assert (found.max_abs, found.max_ulp, found.tolerance) == (0, 0, 0)


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize("value", [1.0, 1.5, -3.0, 96.0, 1024.0])
def test_one_unit_in_the_last_place(dtype, value):
    eps = float(ml_dtypes.finfo(dtype).eps)
    step = eps * 2.0 ** np.floor(np.log2(abs(value)))
    found = of([0, value], [0, value + np.copysign(3 * step, value)], dtype)
    assert found.max_ulp == 3
    assert found.max_abs == pytest.approx(3 * step, rel=1e-12)
    assert found.index == (1,)
    assert found.expected == value


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
def test_next_to_zero_the_unit_is_the_smallest_number(dtype):
    tiny = np.array(1, np.uint64 if dtype is np.float64 else np.uint32 if dtype is np.float32 else np.uint16).view(
        dtype
    )
    found = difference(np.zeros(1, dtype), tiny.reshape(1))
    assert found.max_abs == float(tiny)
    assert found.max_ulp == 1
    assert of([0.0], [1.0], dtype).max_ulp > 1e6


@pytest.mark.parametrize("dtype", TYPES.values(), ids=TYPES)
@pytest.mark.parametrize(
    ("expected", "got", "apart"),
    [
        (inf, inf, 0),
        (-inf, -inf, 0),
        (np.nan, np.nan, 0),
        (inf, -inf, inf),
        (1, inf, inf),
        (inf, 1, inf),
        (1, np.nan, inf),
        (np.nan, 1, inf),
        (inf, np.nan, inf),
    ],
)
def test_what_is_not_finite(expected, got, apart, dtype):
    found = of([0, expected], [0, got], dtype)
    assert (found.max_abs, found.max_ulp, found.tolerance) == (apart, apart, apart)
    assert found.index == ((1,) if apart else (0,))


def test_the_largest_numbers_do_not_overflow_into_a_warning():
    top = float(np.finfo(np.float64).max)
    assert of([top], [-top], np.float64).max_abs == inf
    assert of([0.0], [top], np.float64).max_abs == top


def test_the_worst_place_is_named():
    found = of([[1, 2], [3, 4]], [[1.5, 2], [3, -4]])
    assert (found.index, found.expected, found.got, found.max_abs) == ((1, 1), 4, -4, 8)


def test_the_tolerance_is_the_smallest_that_passes():
    expected, got = np.array([0.0, 100.0, -3.0]), np.array([0.01, 101.0, -3.002])
    t = difference(expected, got).tolerance
    apart = np.abs(expected - got)
    assert (apart <= t + t * np.abs(expected) + 1e-15).all()
    assert not (apart <= 0.999 * (t + t * np.abs(expected))).all()
    assert t == pytest.approx(0.01)


@pytest.mark.parametrize(("expected", "got"), [([True, False], [True, True]), ([3, 4], [3, 5])])
def test_integers_and_truth_values(expected, got):
    found = difference(np.array(expected), np.array(got))
    assert (found.max_abs, found.max_ulp, found.index) == (1, 1, (1,))


def test_unsigned_integers_do_not_wrap():
    assert of([0], [255], np.uint8).max_abs == 255


def test_a_single_number():
    found = difference(np.array(2.0, np.float32), np.array(2.5, np.float32))
    assert (found.max_abs, found.index, found.expected, found.got) == (0.5, (), 2.0, 2.5)


def test_nothing():
    assert difference(np.zeros((0, 3)), np.zeros((0, 3))).max_abs == 0


def test_the_arrays_stay_as_they_are():
    a, b = np.array([1.0, np.nan]), np.array([2.0, np.inf])
    difference(a, b)
    np.testing.assert_array_equal(a, [1, np.nan])
    np.testing.assert_array_equal(b, [2, np.inf])


def test_worse():
    small, large = of([1], [1.5]), of([1], [3])
    assert worse(None, small)
    assert worse(small, large)
    assert not worse(large, small)
    assert not worse(small, small)
