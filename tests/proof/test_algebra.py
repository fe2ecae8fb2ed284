"""The algebra and the float rules are sound: what they derive agrees with numbers."""

import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from depool.proof.algebra import Algebra, Form, Ground, MaxOf, ReluOf, Win, plain_sum
from depool.proof.axes import Sliding, slide
from depool.proof.offsets import packed, unpacked
from depool.proof.orders import multiple_of_maximum
from depool.proof.rendering import described
from depool.proof.rewriting import algebra as full_algebra

FAR, GRID = Fraction(-(2**40)), Fraction(2**24)
SETS = st.frozensets(st.integers(0, 4), min_size=1, max_size=3)
COEFFICIENTS = st.sampled_from([Fraction(n, 2) for n in range(-4, 5) if n])


def value(form, x):
    """A meaning's value at a point; x gives the elements."""
    total = form.constant
    for atom, c in form.terms:
        if isinstance(atom, MaxOf):
            number = most(atom, x)
        elif isinstance(atom, ReluOf):
            number = max(value(atom.inner, x), 0)
        else:
            number = most(atom.part, x) if most(atom.part, x) == most(atom.whole, x) else 0
        total += c * number
    return total


def most(atom, x):
    return max([x[point] for point in atom.points] + ([] if atom.floor is None else [atom.floor]))


@st.composite
def networks(draw):
    """Layers of (weights by value, bias, whether a ReLU follows), over sums and ReLUs of five elements."""
    layers = []
    for i in range(draw(st.integers(1, 6))):
        weights = draw(st.dictionaries(st.integers(0, 4 + i), COEFFICIENTS, min_size=1, max_size=4))
        layers.append((weights, draw(st.sampled_from([0, 0, 0, 1, -2])), draw(st.booleans())))
    return layers


def meanings(algebra, layers):
    forms = [algebra.maximum([i]) for i in range(5)]
    for weights, bias, relu in layers:
        form = algebra.combine([(c, forms[i]) for i, c in weights.items()], Fraction(bias))
        forms.append(algebra.relu(form) if relu else form)
    return forms


def numbers(x, layers):
    found = list(x)
    for weights, bias, relu in layers:
        total = sum(c * found[i] for i, c in weights.items()) + bias
        found.append(max(total, 0) if relu else total)
    return found


@given(networks(), st.sampled_from([None, 0, -2, 3]), st.lists(st.integers(0, 9), min_size=5, max_size=5))
def test_meanings_are_values(layers, lower, raw):
    ground = Ground(None if lower is None else Fraction(lower), FAR, GRID)
    forms = meanings(full_algebra(ground), layers)
    x = [Fraction(n - 4 if lower is None else n + lower) for n in raw]
    assert [value(form, x) for form in forms] == numbers(x, layers)


@given(st.lists(SETS, min_size=7, max_size=7), st.integers(0, 3), st.lists(st.integers(-9, 9), min_size=5, max_size=5))
def test_closing_layers_over_any_sets(sets, spoil, raw):
    """Resolved only where it is the maximum, and then rightly."""
    e, *x = sets[:5]
    m = [e | xi for xi in x]
    p, q = x[0] | x[2], x[1] | x[3]
    if spoil == 1:
        m[0] = sets[5]
    if spoil == 2:
        p = sets[6]
    algebra = full_algebra(Ground(None, FAR, GRID))
    one, half = Fraction(1), Fraction(1, 2)
    fe, fp, fq, *fm = (algebra.maximum(s) for s in (e, p, q, *m))

    def relu(*parts):
        return algebra.relu(algebra.combine(parts))

    terms = [(half, relu((one, a), (-one, b))) for a, b in ((fp, fm[1]), (fp, fm[3]), (fq, fm[0]), (fq, fm[2]))]
    terms.append((half, relu((one, fp), (one, fq), (-2 * one, fe))))
    terms += [(-half, relu((one, fp), (one, fq), (-one, fm[i]), (-one, fm[j]))) for i, j in ((1, 3), (0, 2))]
    out = algebra.combine([(one, fe), *terms])
    whole = algebra.maximum(frozenset().union(e, *x))
    if not spoil:
        assert out == whole
    point = [Fraction(n) for n in raw]
    exact = value(fe, point) + sum(c * value(form, point) for c, form in terms)
    assert value(out, point) == exact


def test_gate_k_on_the_grid():
    algebra = full_algebra(Ground(Fraction(0), FAR, GRID))
    a, b, one = algebra.maximum([0, 1]), algebra.maximum([1, 2]), Fraction(1)
    p, s = (algebra.relu(algebra.combine([(one, x), (-one, y)])) for x, y in ((a, b), (b, a)))
    wins = [algebra.relu(algebra.combine([(one, x), (-GRID, y)])) for x, y in ((a, s), (b, p))]
    assert all(isinstance(atom, Win) for win in wins for atom, _ in win.terms)
    last = algebra.relu(algebra.combine([(one, wins[0]), (-one, wins[1])]))
    assert algebra.combine([(one, last), (one, wins[1])]) == algebra.maximum([0, 1, 2])
    assert algebra.used["grid"] == 2


@pytest.mark.parametrize("ground", [Ground(None, FAR, GRID), Ground(Fraction(0), FAR, 2 * GRID)])
def test_gate_k_needs_the_sign_and_the_grid(ground):
    algebra = full_algebra(ground)
    a, b, one = algebra.maximum([0]), algebra.maximum([1]), Fraction(1)
    s = algebra.relu(algebra.combine([(one, b), (-one, a)]))
    win = algebra.relu(algebra.combine([(one, a), (-GRID, s)]))
    assert all(isinstance(atom, ReluOf) for atom, _ in win.terms if not isinstance(atom, MaxOf))


def test_floors_are_dropped_only_below_every_element():
    for lower, floor, kept in ((None, 0, True), (0, 0, False), (0, 1, True), (-1, 0, True), (-1, -2, False)):
        algebra = Algebra(Ground(None if lower is None else Fraction(lower), FAR, GRID))
        ((atom, _),) = algebra.maximum([3], Fraction(floor)).terms
        assert (atom.floor is not None) == kept
    ((atom, _),) = Algebra(Ground(None, FAR, GRID)).maximum([3], FAR).terms
    assert atom.floor is None


def test_orders_give_up_and_refuse():
    algebra = Algebra(Ground(None, FAR, GRID))
    one = Fraction(1)
    x = [algebra.maximum([i]) for i in range(8)]
    odd = algebra.relu(plain_sum([(one, x[0]), (one, x[1]), (-2 * one, x[2])]))
    assert multiple_of_maximum(plain_sum([(one, x[2]), (one, odd)]), algebra.ground) is None
    assert multiple_of_maximum(Form(one, odd.terms), algebra.ground) is None


@given(
    st.lists(st.integers(-(2**19), 2**19), min_size=1, max_size=3), st.lists(st.integers(-9, 9), min_size=3, max_size=3)
)
def test_offsets_pack(offset, by):
    moved = [o + b for o, b in zip(offset, by, strict=False)]
    assert unpacked(packed(offset) + packed(by[: len(offset)]), len(offset)) == tuple(moved)


@pytest.mark.parametrize(
    ("points", "text"),
    [
        ([(0, 0)], "x[0, 0]"),
        ([(0, 0), (0, 1)], "max[0, 0..1]"),
        ([(0, 0), (0, 2), (0, 4)], "max[0, 0..4 by 2]"),
        ([(0, 0), (0, 1), (0, 4)], "max[0, {0,1,4}]"),
        ([(-1, 0), (0, 1)], "max{(-1,0) (0,1)}"),
    ],
)
def test_meanings_in_words(points, text):
    algebra = Algebra(Ground(None, FAR, GRID))
    assert described(algebra.maximum(map(packed, points)), 2) == text
    half = plain_sum([(Fraction(-1, 2), algebra.maximum(map(packed, points)))], Fraction(3))
    assert described(half, 2) == f"-1/2 {text} + 3"


@pytest.mark.parametrize("seed", range(30))
def test_sliding_is_the_definition(seed):
    rng = random.Random(seed)  # noqa: S311 - tests
    kernel, stride, dilation = rng.randint(1, 4), rng.randint(1, 3), rng.randint(1, 2)
    pads = rng.choice([(rng.randint(0, 2), rng.randint(0, 2)), "SAME_UPPER", "SAME_LOWER"])
    sliding = Sliding(kernel, stride, dilation, pads)
    sizes = tuple(n for n in range(1, 12) if sliding.out(n) > 0)
    taps = slide(sliding, sizes)
    start = column = 0
    for size in sizes:
        begin = sliding.begin(size)
        for o in range(sliding.out(size)):
            want = [o * stride - begin + k * dilation for k in range(kernel)]
            inside = [start + w if 0 <= w < size else -1 for w in want]
            assert taps.index[:, column].tolist() == inside
            column += 1
        start += size
    assert np.array_equal(taps.sizes, [sliding.out(n) for n in sizes])
