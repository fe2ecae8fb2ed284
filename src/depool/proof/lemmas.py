"""The lemmas that proofs rest on: formula, condition, and the statement that z3 proves over the reals.

`algebra` and `rewriting` apply them; a certificate lists those that it used. Letters stand for maxima over sets of
elements, so that max(S u T) is the maximum of two of them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from depool.errors import DepoolError
from depool.proof.problem import ProofError

Claim = Callable[[Any], Any]
"""Given the z3 module, the formula that holds for all reals."""


@dataclass(frozen=True)
class Lemma:
    """One row.

    Attributes:
        name: as certificates name it.
        formula: what it says.
        condition: when it may be used; empty where always.
        claim: the same for z3.
    """

    name: str
    formula: str
    condition: str
    claim: Claim


@dataclass(frozen=True)
class Proved:
    """A lemma that z3 has proved."""

    name: str
    formula: str
    status: str
    seconds: float


def _reals(z3: Any, names: str) -> Any:
    return z3.Reals(names)


def _max(z3: Any, first: Any, *others: Any) -> Any:
    for other in others:
        first = z3.If(first >= other, first, other)
    return first


def _relu(z3: Any, x: Any) -> Any:
    return z3.If(x >= 0, x, z3.RealVal(0))


def _pair(z3: Any) -> Any:
    a, b = _reals(z3, "a b")
    return _relu(z3, a - b) == _max(z3, a, b) - b


def _union(z3: Any) -> Any:
    a, b, c = _reals(z3, "a b c")
    return _max(z3, _max(z3, a, b), _max(z3, b, c)) == _max(z3, a, b, c)


def _floor(z3: Any) -> Any:
    a, c, low = _reals(z3, "a c L")
    return z3.Implies(z3.And(c <= low, low <= a), _max(z3, a, c) == a)


def _multiples(z3: Any) -> Any:
    k, x = _reals(z3, "k x")
    scaled = z3.Implies(k > 0, _relu(z3, k * x) == k * _relu(z3, x))
    return z3.And(scaled, _relu(z3, -x) == _relu(z3, x) - x)


def _order(z3: Any) -> Any:
    a, b, c, d, p, q = _reals(z3, "a b c d p q")
    above = z3.And(a >= b, c >= d, p >= 0, q >= 0)
    x = p * (a - b) + q * (c - d)
    return z3.Implies(above, z3.And(_relu(z3, x) == x, _relu(z3, -x) == 0))


def closing(z3: Any, e: Any, p: Any, q: Any, m: Any) -> Any:
    """Twice the five-way gate's result, from the maxima it reads."""
    singles = [_relu(z3, p - m[1]), _relu(z3, p - m[3]), _relu(z3, q - m[0]), _relu(z3, q - m[2])]
    sums = _relu(z3, p + q - 2 * e) - _relu(z3, p + q - m[1] - m[3]) - _relu(z3, p + q - m[0] - m[2])
    return 2 * e + z3.Sum(singles) + sums


def _closing(z3: Any) -> Any:
    e, *x = _reals(z3, "e x0 x1 x2 x3")
    m = [_max(z3, e, xi) for xi in x]
    p, q = _max(z3, x[0], x[2]), _max(z3, x[1], x[3])
    whole = 2 * _max(z3, e, p, q)
    bare = closing(z3, e, p, q, m) == whole
    raised = closing(z3, e, _max(z3, p, e), _max(z3, q, e), m) == whole
    return z3.And(bare, raised)


def _win(z3: Any, a: Any, b: Any) -> Any:
    return z3.If(a >= b, a, z3.RealVal(0))


def _grid(z3: Any) -> Any:
    a, b, k, n = _reals(z3, "a b K n")
    apart = z3.Implies(b > a, n * (b - a) >= a)
    left = _relu(z3, a - k * (_max(z3, a, b) - a))
    return z3.Implies(z3.And(a >= 0, b >= 0, k >= n, n > 0, apart), left == _win(z3, a, b))


def _winners(z3: Any) -> Any:
    a, b = _reals(z3, "a b")
    one, other, most = _win(z3, a, b), _win(z3, b, a), _max(z3, a, b)
    bounded = z3.And(one >= 0, one <= most)
    return z3.Implies(z3.And(a >= 0, b >= 0), z3.And(_relu(z3, one - other) == most - other, bounded))


def _rounded_y(z3: Any) -> Any:
    """In every order of summation, in a type of 3 exponent bits and 4 significant ones."""
    a, b, r, add, sub = _floats(z3)
    half, two = z3.FPVal(4.0, a.sort()), z3.FPVal(2.0, a.sort())
    p, s = r(sub(a, b)), r(sub(b, a))
    m0 = add(b, p)
    e, s2 = r(sub(a, m0)), z3.fpMul(z3.RNE(), two, s)
    orders = []
    for t in map(r, (sub(sub(m0, a), s2), sub(sub(m0, s2), a), sub(m0, add(a, s2)))):
        orders += [sub(add(m0, e), t), add(m0, sub(e, t)), add(sub(m0, t), e)]
    bounded = z3.And(z3.fpLEQ(z3.fpAbs(a), half), z3.fpLEQ(z3.fpAbs(b), half))
    return z3.Implies(bounded, z3.And([z3.fpEQ(m, _larger(z3, a, b)) for m in orders]))


def _rounded_k(z3: Any) -> Any:
    """In a type of 3 exponent bits and 4 significant ones; what overflows is behind a ReLU."""
    a, b, r, add, sub = _floats(z3)
    k = z3.FPVal(8.0, a.sort())
    twice = z3.FPVal(2.0, a.sort())

    def times_k(x: Any) -> Any:
        return z3.fpMul(z3.RNE(), twice, z3.fpMul(z3.RNE(), k, x))  # 16 is no number of the type

    p, s = r(sub(a, b)), r(sub(b, a))
    one, other = r(sub(a, times_k(s))), r(sub(b, times_k(p)))
    m = add(other, r(sub(one, other)))
    zero = z3.FPVal(0.0, a.sort())
    finite = [z3.And(z3.fpGEQ(x, zero), z3.Not(z3.fpIsInf(x))) for x in (a, b)]
    return z3.Implies(z3.And(finite), z3.fpEQ(m, _larger(z3, a, b)))


def _rounded_off(z3: Any) -> Any:
    """In a type of 3 exponent bits and 4 significant ones; a sum with a ReLU is no less than its other term."""
    a, b, r, add, sub = _floats(z3)
    far, zero = z3.FPVal(-4.0, a.sort()), z3.FPVal(0.0, a.sort())
    bounded = z3.And(z3.fpGEQ(b, far), z3.Not(z3.fpIsInf(b)), z3.Not(z3.fpIsNaN(a)))
    return z3.Implies(bounded, z3.And(z3.fpEQ(r(sub(far, b)), zero), z3.fpGEQ(add(b, r(a)), b)))


def _floats(z3: Any) -> Any:
    """(a, b, r, add, subtract) in a small floating-point type."""
    a, b = z3.FPs("a b", z3.FPSort(3, 4))
    zero, nearest = z3.FPVal(0.0, a.sort()), z3.RNE()

    def r(x: Any) -> Any:
        return z3.If(z3.fpGEQ(x, zero), x, zero)

    def add(x: Any, y: Any) -> Any:
        return z3.fpAdd(nearest, x, y)

    def sub(x: Any, y: Any) -> Any:
        return z3.fpSub(nearest, x, y)

    return a, b, r, add, sub


def _larger(z3: Any, a: Any, b: Any) -> Any:
    return z3.If(z3.fpGEQ(a, b), a, b)


LEMMAS = (
    Lemma("pair", "r(max S - max T) = max(S u T) - max T", "", _pair),
    Lemma("union", "max(max(S u T), max(T u U)) = max(S u T u U)", "", _union),
    Lemma("floor", "max(S u {c}) = max S", "the elements of S are >= L >= c", _floor),
    Lemma("mask", "max(S u {-B}) = max S", "the elements of S are >= -B, B = MAX / 2", _floor),
    Lemma("multiples", "r(k x) = k r(x), r(-x) = r(x) - x", "k > 0", _multiples),
    Lemma("order", "r(x) = x, r(-x) = 0", "x is a sum of p (max S - max T), p >= 0, S holds T", _order),
    Lemma(
        "closing",
        "e + 1/2 [r(p-m1) + r(p-m3) + r(q-m0) + r(q-m2) + r(p+q-2e) - r(p+q-m1-m3) - r(p+q-m0-m2)] = max(e, p, q)",
        "mi = max(e, xi), p = max(x0, x2) or max(e, x0, x2), q = max(x1, x3) or max(e, x1, x3)",
        _closing,
    ),
    Lemma(
        "grid",
        "r(max S - K (max(S u T) - max S)) = win(S, S u T), which is max S where that is the maximum, else 0",
        "elements are >= 0, and a < b implies K (b - a) >= a: so it is for floating-point numbers of p bits, K >= 2^p",
        _grid,
    ),
    Lemma(
        "winners",
        "r(win(S, S u T) - win(T, S u T)) = max(S u T) - win(T, S u T), 0 <= win(S, S u T) <= max(S u T)",
        "elements are >= 0",
        _winners,
    ),
    Lemma(
        "off",
        "r(-B - m) = 0 in floating point, and m is no less than some element",
        "m = fl(b + r(...)), b an element or such an m again; elements are >= -B, B = MAX / 2",
        _rounded_off,
    ),
    Lemma(
        "Y",
        "m0 + r(a - m0) - r(m0 - a - 2 s) = max(a, b) in floating point, m0 = b + r(a - b), s = r(b - a)",
        "a and b are exact, |a|, |b| <= MAX / 2, m0 and s are rounded correctly, the rest in any order "
        "(z3: in a type of 3 + 4 bits)",
        _rounded_y,
    ),
    Lemma(
        "K",
        "B + r(A - B) = max(a, b) in floating point, A = r(a - K r(b - a)), B = r(b - K r(a - b))",
        "a and b are exact and >= 0, K is a power of two >= 2^p, p the significant bits (z3: in a type of 3 + 4 bits)",
        _rounded_k,
    ),
)
"""Besides these, `orders` compares both sides as linear functions for every order of the maxima in them."""


def formula(name: str) -> str:
    """What a lemma says, with its condition."""
    if name == "orders":
        return "both sides are the same linear function for every order of the values in them (checked one by one)"
    lemma = next(lemma for lemma in LEMMAS if lemma.name == name)
    return f"{lemma.formula}{', if ' * bool(lemma.condition)}{lemma.condition}"


def prove_lemmas() -> list[Proved]:
    """Prove every lemma by z3.

    Raises:
        DepoolError: where z3 is not installed.
        ProofError: where z3 finds a counterexample or gives up.
    """
    try:
        import z3  # type: ignore[import-not-found, import-untyped, unused-ignore]
    except ImportError:
        raise DepoolError("proving the lemmas needs z3: pip install 'depool[prove]'") from None
    found = []
    for lemma in LEMMAS:
        solver = z3.Solver()
        solver.set("timeout", 60_000)
        solver.add(z3.Not(lemma.claim(z3)))
        start = time.perf_counter()
        answer = solver.check()
        if answer != z3.unsat:
            raise ProofError(f"lemma {lemma.name}: z3 answers {answer} for its negation: {lemma.formula}")
        found.append(Proved(lemma.name, lemma.formula, "proved", time.perf_counter() - start))
    return found
