"""What computed numbers are taken for: where a sum far below 0 is known to vanish in its ReLU, and where it is not."""

from fractions import Fraction

import pytest

from depool.proof.algebra import ZERO, Algebra, Form, Ground, plain_sum
from depool.proof.floating import Floats, Value

FAR = Fraction(-8)
SITE = ("node", 0)


@pytest.fixture
def floats():
    return Floats(Algebra(Ground(None, FAR, Fraction(16))), 2.0**-4, 8.0)


def constant(number):
    return Form(Fraction(number), frozenset())


def switched(floats, by, m):
    """r(by - m)."""
    terms = [(Fraction(1), floats.exact(constant(by))), (Fraction(-1), m)]
    form = floats.algebra.combine([(w, value.form) for w, value in terms])
    return floats.relu(floats.algebra.relu(form), floats.total(form, terms, Fraction(0), SITE), SITE)


def pair(floats, a, b):
    """fl(b + r(fl(a - b)))."""
    difference = plain_sum([(Fraction(1), a.form), (Fraction(-1), b.form)])
    terms = [(Fraction(1), a), (Fraction(-1), b)]
    gained = floats.relu(floats.algebra.relu(difference), floats.total(difference, terms, Fraction(0), SITE), SITE)
    whole = floats.algebra.combine([(Fraction(1), b.form), (Fraction(1), gained.form)])
    return floats.total(whole, [(Fraction(1), b), (Fraction(1), gained)], Fraction(0), SITE)


@pytest.mark.parametrize("gates", range(3))
def test_minus_b_less_a_maximum_is_switched_off(floats, gates):
    m = floats.exact(floats.algebra.maximum([0]))
    for k in range(1, gates + 1):
        m = pair(floats, floats.exact(floats.algebra.maximum([k])), m)
    assert floats.is_exact(m) == (gates == 0)
    found = switched(floats, FAR, m)
    assert found.form == ZERO
    assert floats.is_exact(found)
    assert floats.gates == {"off"}


def test_less_than_b_switches_nothing_off(floats):
    found = switched(floats, FAR + 1, floats.exact(floats.algebra.maximum([0])))
    assert not floats.is_exact(found)
    assert found.form != ZERO


def test_a_number_that_may_be_less_than_every_element_is_not_switched_off(floats):
    """It means an element, but was rounded, so that -B less that may be above 0."""
    form = floats.algebra.maximum([0])
    m = Value(form, floats.names.number(("at", "other", 0, 0), 2.0**-4), 2.0**-4)
    found = switched(floats, FAR, m)
    assert found.form == ZERO
    assert not floats.is_exact(found)
    assert found.error > 0


def test_a_sum_that_no_relu_follows_has_no_bound(floats):
    m = floats.exact(floats.algebra.maximum([0]))
    terms = [(Fraction(1), floats.exact(constant(FAR))), (Fraction(-1), m)]
    assert floats.total(constant(0), terms, Fraction(0), SITE).error == float("inf")
