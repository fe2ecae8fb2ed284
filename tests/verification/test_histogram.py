"""Errors are counted in halvings of the bound: every output once, ends where the formula says, memory bounded."""

from pathlib import Path

import numpy as np
import pytest

import depool
from depool.verification.histogram import HALVINGS, Histogram, histogram

DIGITS = Path(__file__).resolve().parents[2] / "examples" / "digits.onnx"


def one(apart, bound):
    return histogram(np.array([apart], np.float64), np.array([bound], np.float64))


@pytest.mark.parametrize("bound", [1.0, 3e-7, 2.0**100])
@pytest.mark.parametrize("k", range(HALVINGS))
def test_each_half_has_its_entry(bound, k):
    upper = bound * 2.0**-k
    for apart in (upper, upper * 0.75, np.nextafter(upper / 2, 1e99)):
        assert one(apart, bound).within == tuple(int(i == k) for i in range(HALVINGS))


def test_what_is_smaller_than_all_entries_is_in_the_last():
    for apart in (2.0**-HALVINGS, 1e-30, 5e-324):
        assert one(apart, 1.0).within[-1] == 1
    assert one(1.0, np.inf).within[-1] == 1  # nothing is promised, and nothing broken


def test_identical_and_beyond():
    assert one(0.0, 0.0) == one(0.0, 1.0) == Histogram(identical=1)
    for apart, bound in [(1e-45, 0.0), (np.nextafter(1.0, 2), 1.0), (np.nan, 1.0), (np.inf, 1.0)]:
        assert one(apart, bound) == Histogram(beyond=1)


def test_every_output_is_counted_once():
    rng = np.random.default_rng(0)
    apart = np.abs(rng.normal(size=(3, 5, 7))) * (rng.random((3, 5, 7)) > 0.3)
    bound = np.abs(rng.normal(size=apart.shape))
    found = histogram(apart, bound)
    assert found.total == apart.size
    assert found.identical == (apart == 0).sum()
    assert found.beyond == (apart > bound).sum()
    assert found + found == histogram(np.stack([apart, apart]), np.stack([bound, bound]))


def test_of_no_outputs():
    assert histogram(np.zeros((0, 3)), np.zeros((0, 3))) == Histogram()


def test_verification_counts_what_it_compares(tmp_path):
    made = depool.convert(DIGITS, tmp_path / "out.onnx")
    exact = depool.convert(DIGITS, tmp_path / "exact.onnx", exact=True)
    for check in made.verdict.pools:
        assert check.errors.total == check.windows
        assert sum(check.errors.within) > 0
        assert check.errors.beyond == 0
        top = next(k for k, count in enumerate(check.errors.within) if count)  # the worst lies in the highest entry
        assert 2.0 ** -(top + 1) < check.share <= 2.0**-top
    for check in exact.verdict.pools:
        assert check.errors == Histogram(identical=check.windows)
