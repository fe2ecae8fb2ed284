"""Is a combination of maxima and ReLUs of maxima a multiple of one maximum? Decided for every order of the values.

The largest element of all is in some of the sets: these maxima are all y1. Without them, the largest element left is
y2, and so on: y1 >= y2 >= ... A ReLU's argument is then sum of s_j (y_j - y_j+1), s_j the sum of its first j
coefficients: if these have one sign, so has the argument; ReLUs that stay open must cancel. Equal for every choice of
sets is equal everywhere. So are the five-way gate's closing layers resolved, whatever their maxima share.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from itertools import accumulate
from math import gcd, lcm
from typing import NamedTuple

from depool.proof.algebra import Form, Ground, MaxOf, ReluOf, plain_sum

MOST = 60_000
"""ReLUs that are looked at, over all orders, before giving up."""

CONSTANT = -1
"""Stands for the constant among the elements' cells."""

Cells = frozenset[int]
Linear = tuple[int, ...]


def multiple_of_maximum(form: Form, ground: Ground) -> tuple[Fraction, MaxOf] | None:
    """(k, S) where the combination is k max S, S all elements in it."""
    parts = list(_parts(form))
    atoms = {atom for part in parts for atom, _ in part.terms if not isinstance(atom, ReluOf)}
    maxima = [atom for atom in atoms if isinstance(atom, MaxOf)]
    floors = {atom.floor for atom in maxima if atom.floor is not None}
    if len(maxima) != len(atoms) or not maxima or len(floors) > 1:
        return None
    problem = _Orders(form, maxima, floors.pop() if floors else None, ground.lower)
    return (problem.factor, problem.whole) if problem.holds() else None


def _parts(form: Form) -> Iterator[Form]:
    """A combination and the arguments of its ReLUs, at any depth."""
    yield form
    for atom, _ in form.terms:
        if isinstance(atom, ReluOf):
            yield from _parts(atom.inner)


class _Orders:
    """One question: form = factor * max(whole)?"""

    def __init__(self, form: Form, maxima: list[MaxOf], floor: Fraction | None, lower: Fraction | None) -> None:
        self.form = form
        self.value = floor if floor is not None else _constant(form)
        below = floor is None and lower is not None and self.value <= lower
        self.lowest = below or (floor is None and _balanced(form))  # nothing is below the constant, or it cancels
        self.whole = MaxOf(frozenset().union(*(atom.points for atom in maxima)), floor)
        self.cells = _cells(maxima)
        top = 2 * max(abs(self.value), Fraction(1))
        self.factor = self._at(form, dict.fromkeys(self.cells, top)) / top
        self.left = 0

    def holds(self) -> bool:
        """Whether it is so."""
        if (not self.value and self.form.constant) or not self._plausible():
            return False
        scale, whole = _integral(self.form, self.value)
        factor = self.factor * scale
        if factor.denominator != 1:
            return False
        unresolved = dict(self.cells)
        if not self.lowest:
            unresolved[MaxOf(frozenset(), self.value)] = frozenset({CONSTANT})
        self.left = MOST // (1 + _relus(whole))
        return self.left > 0 and all(
            self._linear_everywhere(whole, int(factor), rank, count) for rank, count in self._orders(unresolved, {}, 0)
        )

    def _plausible(self) -> bool:
        """Whether it holds at some random points, which is quickly seen."""
        draw = random.Random(0)  # noqa: S311 - no secrets here
        base = self.value if self.lowest else self.value - 50
        for _ in range(3):
            points = {cell: base + draw.randint(0, 100) for cells in self.cells.values() for cell in cells}
            points[CONSTANT] = self.value
            known = {atom: max(points[cell] for cell in cells) for atom, cells in self.cells.items()}
            if self._at(self.form, known) != self.factor * max(known[atom] for atom in known):
                return False
        return True

    def _at(self, form: Form, known: dict[MaxOf, Fraction]) -> Fraction:
        total = form.constant
        for atom, c in form.terms:
            if isinstance(atom, MaxOf):
                total += c * known[atom]
            elif isinstance(atom, ReluOf):
                total += c * max(self._at(atom.inner, known), Fraction(0))
        return total

    def _orders(
        self, unresolved: dict[MaxOf, Cells], rank: dict[MaxOf, int], count: int
    ) -> Iterator[tuple[dict[MaxOf, int], int]]:
        """Every way in which the maxima can come in order: the place of each, and how many places there are."""
        if not unresolved:
            self.left -= 1
            yield rank, count
            return
        kinds: dict[frozenset[MaxOf], None] = {}
        for cell in sorted(frozenset().union(*unresolved.values())):
            kinds.setdefault(frozenset(atom for atom, cells in unresolved.items() if cell in cells))
        for kind in kinds:
            if self.left <= 0:
                return
            rest = {atom: cells for atom, cells in unresolved.items() if atom not in kind}
            yield from self._orders(rest, rank | dict.fromkeys(kind, count), count + 1)

    def _linear_everywhere(self, whole: Integral, factor: int, rank: dict[MaxOf, int], count: int) -> bool:
        """Whether both sides are the same function in this order."""
        if self.left <= 0:
            return False
        place = rank.get(MaxOf(frozenset(), self.value), count)
        found = self._evaluated(whole, rank, place, count)
        if found is None:
            return False
        left, still_open = found
        left[min(rank[atom] for atom in self.cells)] -= factor
        if not self.value:
            left[place] = 0
        return not any(left) and not any(still_open.values())

    def _evaluated(
        self, form: Integral, rank: dict[MaxOf, int], place: int, count: int
    ) -> tuple[list[int], dict[Linear, int]] | None:
        """Coefficients of y1, y2, ..., the constant's place among them, and of the ReLUs whose sign is open."""
        left = [0] * (count + 1)
        still_open: dict[Linear, int] = {}
        left[place] += form.constant
        for atom, c in form.maxima:
            left[rank[atom]] += c
        for inner, c in form.relus:
            found = self._evaluated(inner, rank, place, count)
            if found is None or any(found[1].values()):
                return None
            part = found[0]
            if not self.value:
                part[place] -= sum(part)
            if not _add_relu(left, still_open, part, c):
                return None
        return left, still_open


class Integral(NamedTuple):
    """A combination with integer coefficients; the constant is counted in units of its value."""

    constant: int
    maxima: tuple[tuple[MaxOf, int], ...]
    relus: tuple[tuple[Integral, int], ...]


def _integral(form: Form, value: Fraction) -> tuple[int, Integral]:
    """(k, k * form) with integer coefficients throughout, since r(k x) = k r(x)."""
    constant = form.constant / value if value else Fraction(0)
    maxima = [(atom, c) for atom, c in form.terms if isinstance(atom, MaxOf)]
    relus = []
    for atom, c in form.terms:
        if isinstance(atom, ReluOf):
            scale, inner = _integral(atom.inner, value)
            relus.append((inner, c / scale))
    k = lcm(constant.denominator, *(c.denominator for _, c in maxima), *(c.denominator for _, c in relus))
    whole = tuple((atom, int(c * k)) for atom, c in maxima), tuple((inner, int(c * k)) for inner, c in relus)
    return k, Integral(int(constant * k), *whole)


def _relus(form: Integral) -> int:
    return sum(1 + _relus(inner) for inner, _ in form.relus)


def _add_relu(left: list[int], still_open: dict[Linear, int], part: list[int], c: int) -> bool:
    """Add c * r(part): a linear function, or one more of the ReLUs whose sign is open; False where it is unbalanced."""
    sums = list(accumulate(part))
    if sums[-1]:
        return False
    if max(sums) <= 0:
        return True
    linear = 0
    if min(sums) >= 0:
        linear = c
    else:  # r(k x) = k r(x), r(-x) = r(x) - x, so that equal ones meet
        leading = next(a for a in part if a)
        k = gcd(*part)
        key = tuple(a // k if leading > 0 else -(a // k) for a in part)
        still_open[key] = still_open.get(key, 0) + c * k
        linear = c if leading < 0 else 0
    for i, a in enumerate(part):
        left[i] += linear * a
    return True


def _constant(form: Form) -> Fraction:
    """What padding is worth, if anything: the v for which constants are multiples of v that balance the maxima."""
    for part in list(_parts(form))[1:]:
        if part.constant and not any(isinstance(atom, ReluOf) for atom, _ in part.terms):
            return -part.constant / (sum((c for _, c in part.terms), Fraction(0)) or 1)
    return Fraction(0)


def _balanced(form: Form) -> bool:
    """Whether adding one number to all elements changes no ReLU's argument, and there are no constants."""
    inner = list(_parts(form))[1:]
    shifts = [sum(c for atom, c in part.terms if isinstance(atom, MaxOf)) for part in inner]
    return not form.constant and not any(part.constant for part in inner) and not any(shifts)


def _cells(maxima: list[MaxOf]) -> dict[MaxOf, Cells]:
    """Each maximum as a set of cells, elements that are in the same maxima being one cell."""
    cells: dict[tuple[bool, ...], int] = {}
    found: dict[MaxOf, set[int]] = {atom: set() for atom in maxima}
    for point in sorted(frozenset().union(*(atom.points for atom in maxima))):
        key = tuple(point in atom.points for atom in maxima)
        cell = cells.setdefault(key, len(cells))
        for atom, inside in zip(maxima, key, strict=True):
            if inside:
                found[atom].add(cell)
    for atom in maxima:
        if atom.floor is not None:
            found[atom].add(CONSTANT)
    return {atom: frozenset(inside) for atom, inside in found.items()}


def groups(form: Form) -> Iterator[tuple[Form, Form]]:
    """The parts of a combination that may be gates of their own, each with the rest.

    ReLUs belong together whose elements are the same; with them go the maxima over these elements.
    """
    spans: dict[frozenset[int], None] = {}
    for atom, _ in form.terms:
        if isinstance(atom, ReluOf):
            inner = [a.points for part in _parts(atom.inner) for a, _ in part.terms if isinstance(a, MaxOf)]
            spans.setdefault(frozenset().union(*inner))
    for span in sorted(spans, key=lambda s: (len(s), sorted(s))):
        mine = frozenset(term for term in form.terms if _within(term[0], span))
        if any(isinstance(atom, ReluOf) for atom, _ in mine) and mine != form.terms:
            part = Form(Fraction(0), mine)
            yield part, plain_sum([(Fraction(1), form), (Fraction(-1), part)])


def _within(atom: object, span: frozenset[int]) -> bool:
    if isinstance(atom, MaxOf):
        return atom.points <= span
    if isinstance(atom, ReluOf):
        return all(_within(inner, span) for inner, _ in atom.inner.terms)
    return False
