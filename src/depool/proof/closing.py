"""The five-way gate's closing layer, recognised in a combination by the lemma `closing`.

    E + 1/2 [r(P-M1) + r(P-M3) + r(Q-M0) + r(Q-M2) + r(P+Q-2E) - r(P+Q-M1-M3) - r(P+Q-M0-M2)] = max(E u P u Q)

where E is in every Mi, P u E = M0 u M2 and Q u E = M1 u M3. Two of the ReLUs give away P, Q and the Mi.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import permutations

from depool.proof.algebra import Algebra, Form, MaxOf, ReluOf, order_key, plain_sum

HALF, ONE = Fraction(1, 2), Fraction(1)
Four = tuple[MaxOf, MaxOf, MaxOf, MaxOf]


def closed(algebra: Algebra, form: Form) -> Form | None:
    """One closing layer in a combination replaced by its maximum."""
    terms = sorted(form.terms, key=lambda term: order_key(term[0]))
    relus = [(atom.inner, c) for atom, c in terms if isinstance(atom, ReluOf)]
    for (one, c), (other, d) in permutations(relus, 2):
        if c != d:
            continue
        for p, q, m in _roles(one, other):
            for e in _lowest(relus, p, q, m):
                instance = _instance(algebra, e, p, q, m)
                if instance is None:
                    continue
                top = algebra.maximum(p.points | q.points | (e.points if e else frozenset()))
                changed = plain_sum([(ONE, form), (2 * c, instance), (-2 * c, top)])
                if _count(changed) < _count(form):
                    return changed
    return None


def _count(form: Form) -> int:
    return sum(isinstance(atom, ReluOf) for atom, _ in form.terms)


def _roles(one: Form, other: Form) -> Iterator[tuple[MaxOf, MaxOf, Four]]:
    """P, Q and M0 to M3 from P + Q - M1 - M3 and P + Q - M0 - M2, either sign."""
    for plus, odd in _sides(one):
        for same, even in _sides(other):
            if frozenset(plus) == frozenset(same):
                for p, q in (plus, plus[::-1]):
                    yield p, q, (even[0], odd[0], even[1], odd[1])


def _sides(form: Form) -> Iterator[tuple[tuple[MaxOf, MaxOf], tuple[MaxOf, MaxOf]]]:
    plus = [atom for atom, c in form.terms if c == 1 and isinstance(atom, MaxOf) and atom.floor is None]
    minus = [atom for atom, c in form.terms if c == -1 and isinstance(atom, MaxOf) and atom.floor is None]
    if len(plus) == len(minus) == 2 and len(form.terms) == 4 and not form.constant:
        yield (plus[0], plus[1]), (minus[0], minus[1])
        yield (minus[0], minus[1]), (plus[0], plus[1])


def _lowest(relus: list[tuple[Form, Fraction]], p: MaxOf, q: MaxOf, m: Four) -> Iterator[MaxOf | None]:
    """E, from r(P + Q - 2 E) among the ReLUs; None where P and Q hold it already, and it cancels."""
    if p.points == m[0].points | m[2].points and q.points == m[1].points | m[3].points:
        yield None
    for inner, _ in relus:
        others = {atom for atom, _ in inner.terms} - {p, q}
        if len(inner.terms) == 3 and len(others) == 1:
            e = others.pop()
            if isinstance(e, MaxOf) and e.floor is None:
                yield e


def _instance(algebra: Algebra, e: MaxOf | None, p: MaxOf, q: MaxOf, m: Four) -> Form | None:
    """The closing layer's left side, if the lemma's conditions hold; without E, what is left of it without E."""
    below = e.points if e else frozenset()
    if any(not below <= mi.points for mi in m):
        return None
    if p.points | below != m[0].points | m[2].points or q.points | below != m[1].points | m[3].points:
        return None
    fp, fq, *fm = (algebra.maximum(s.points) for s in (p, q, *m))
    singles = [(fp, fm[1]), (fp, fm[3]), (fq, fm[0]), (fq, fm[2])]
    parts = [(HALF, algebra.relu(plain_sum([(ONE, a), (-ONE, b)]))) for a, b in singles]
    for i, j in ((1, 3), (0, 2)):
        inner = plain_sum([(ONE, fp), (ONE, fq), (-ONE, fm[i]), (-ONE, fm[j])])
        parts.append((-HALF, algebra.relu(inner)))
    if e is None:
        return plain_sum([*parts, (HALF, fp), (HALF, fq)])
    fe = algebra.maximum(e.points)
    last = algebra.relu(plain_sum([(ONE, fp), (ONE, fq), (Fraction(-2), fe)]))
    return plain_sum([*parts, (HALF, last), (ONE, fe)])
