"""What a number in the converted model means: a linear combination of maxima over elements of the pool's input.

    meaning = c0 + c1 * max(S1) + c2 * max(S2) + ...          c exact rationals, S sets of input elements

A set may hold one constant besides elements: r(max S) = max(S u {0}). With that, one lemma carries most pools:

    pair     r(max S - max T) = max(S u T) - max T
    floor    max(S u {c}) = max S                 where the elements of S are known to be >= c

A ReLU of any other combination stays an atom of its own, r(combination), until a lemma of `rewriting` applies.
Elements are offsets from the position where a meaning is read, so that one meaning serves all inner positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from depool.proof.problem import ProofError

MOST_ATOMS = 150
"""A combination with more, ReLUs in it, is none that a pool's replacement computes."""


class MaxOf(NamedTuple):
    """The largest of some elements and, where given, a constant."""

    points: frozenset[int]
    floor: Fraction | None


class Win(NamedTuple):
    """max(part) where it is max(whole), else 0."""

    part: MaxOf
    whole: MaxOf


class ReluOf(NamedTuple):
    """The ReLU of a combination that no lemma resolves."""

    inner: Form


Atom = MaxOf | Win | ReluOf


class Form(NamedTuple):
    """A linear combination of atoms, and a constant."""

    constant: Fraction
    terms: frozenset[tuple[Atom, Fraction]]


ZERO = Form(Fraction(0), frozenset())


@dataclass(frozen=True)
class Ground:
    """What may be assumed of the elements.

    Attributes:
        lower: every element is at least this; None where nothing is known.
        far: beyond the range of the statement: every element is at least this as well (-MAX / 2).
        grid: elements a < b are so far apart that grid * (b - a) >= a (2 to the number of significant bits).
    """

    lower: Fraction | None
    far: Fraction
    grid: Fraction


class Algebra:
    """Builds meanings in normal form, and remembers which lemmas it used.

    Args:
        ground: what may be assumed of the elements.
        rewrite: resolves a combination that contains `ReluOf` atoms, or gives None.
        relu_rows: lemmas for ReLUs that `pair` does not resolve, each giving the result or None.
    """

    def __init__(
        self,
        ground: Ground,
        relu_rows: Iterable[tuple[str, Callable[[Algebra, Form], Form | None]]] = (),
        rewrite: Callable[[Algebra, Form], Form | None] | None = None,
    ) -> None:
        self.ground = ground
        self.used: Counter[str] = Counter()
        self._relu_rows = tuple(relu_rows)
        self._rewrite = rewrite
        self._forms: list[Form] = []
        self._ids: dict[Form, int] = {}
        self._shifted: dict[tuple[int, int], Form] = {}
        self._relus: dict[Form, Form] = {}
        self._settled: dict[Form, Form] = {}

    def number(self, form: Form) -> int:
        """A small integer that stands for a meaning."""
        found = self._ids.get(form)
        if found is None:
            found = self._ids[form] = len(self._forms)
            self._forms.append(form)
        return found

    def form(self, number: int) -> Form:
        """The meaning that an integer stands for."""
        return self._forms[number]

    def maximum(self, points: Iterable[int], floor: Fraction | None = None) -> Form:
        """Max of elements and a constant; `floor` drops a constant that no element can be below."""
        points = frozenset(points)
        if not points:
            if floor is None:
                raise ValueError("the maximum of nothing")
            return Form(floor, frozenset())
        if floor is not None and self._beaten(floor):
            floor = None
        return Form(Fraction(0), frozenset({(MaxOf(points, floor), Fraction(1))}))

    def _beaten(self, constant: Fraction) -> bool:
        if self.ground.lower is not None and constant <= self.ground.lower:
            self.used["floor"] += 1
            return True
        if constant <= self.ground.far:
            self.used["mask"] += 1
            return True
        return False

    def within_range(self, form: Form) -> bool:
        """Whether a meaning never exceeds the range of the elements, which are >= 0: one maximum less others."""
        plus = [(atom, c) for atom, c in form.terms if c > 0]
        single = all(isinstance(atom, MaxOf) and c == 1 for atom, c in plus) and len(plus) <= 1
        return single and form.constant <= 0 and self.ground.lower == 0

    def combine(self, parts: Iterable[tuple[Fraction, Form]], constant: Fraction = Fraction(0)) -> Form:
        """The sum of coefficient * meaning, and a constant, in normal form."""
        return self._settle(plain_sum(parts, constant))

    def _settle(self, form: Form) -> Form:
        if self._rewrite is None or not any(isinstance(atom, ReluOf) for atom, _ in form.terms):
            return form
        if form not in self._settled:
            self._settled[form] = self._rewrite(self, form) or form
        return self._settled[form]

    def shift(self, number: int, by: int) -> Form:
        """The same meaning about elements `by` further on."""
        if not by:
            return self._forms[number]
        key = (number, by)
        if key not in self._shifted:
            self._shifted[key] = self._move(self._forms[number], by)
        return self._shifted[key]

    def _move(self, form: Form, by: int) -> Form:
        moved = []
        for atom, c in form.terms:
            if isinstance(atom, ReluOf):
                moved.append((c, self.relu(self._move(atom.inner, by))))
            elif isinstance(atom, Win):
                win: Atom = Win(moved_by(atom.part, by), moved_by(atom.whole, by))
                moved.append((c, Form(Fraction(0), frozenset({(win, Fraction(1))}))))
            else:
                moved.append((c, Form(Fraction(0), frozenset({(moved_by(atom, by), Fraction(1))}))))
        return plain_sum(moved, form.constant)

    def relu(self, form: Form) -> Form:
        """The meaning of r(meaning)."""
        if form not in self._relus:
            self._relus[form] = self._relu(form)
        return self._relus[form]

    def _relu(self, form: Form) -> Form:
        if not form.terms:
            return Form(max(form.constant, Fraction(0)), frozenset())
        pair = as_pair(form)
        if pair is not None:
            self.used["pair"] += 1
            k, one, other = pair
            joined = self.maximum(one.points | other.points, _larger(one.floor, other.floor))
            return plain_sum([(k, joined), (-k, self.maximum(other.points, other.floor))])
        for name, row in self._relu_rows:
            found = row(self, form)
            if found is not None:
                self.used[name] += 1
                return found
        return self._unresolved(form)

    def _unresolved(self, form: Form) -> Form:
        """r(k x) = k r(x) and r(-x) = r(x) - x leave one atom for all positive and negative multiples."""
        leading = min(form.terms, key=lambda term: order_key(term[0]))[1]
        scale = abs(leading)
        if _atoms(form) > MOST_ATOMS:
            raise ProofError("no lemma resolves its ReLU, nor those before it")
        inner = plain_sum([(1 / leading, form)])
        atom = Form(Fraction(0), frozenset({(ReluOf(inner), scale)}))
        return atom if leading > 0 else plain_sum([(Fraction(1), atom), (-scale, inner)])


def plain_sum(parts: Iterable[tuple[Fraction, Form]], constant: Fraction = Fraction(0)) -> Form:
    """The sum of coefficient * form without any lemma."""
    terms: dict[Atom, Fraction] = {}
    for factor, form in parts:
        constant += factor * form.constant
        for atom, c in form.terms:
            terms[atom] = terms.get(atom, Fraction(0)) + factor * c
    return Form(constant, frozenset((atom, c) for atom, c in terms.items() if c))


def as_pair(form: Form) -> tuple[Fraction, MaxOf, MaxOf] | None:
    """(k, S, T) with form = k (max S - max T), k > 0; the constant is a set of its own."""
    plus = [(atom, c) for atom, c in form.terms if c > 0]
    minus = [(atom, -c) for atom, c in form.terms if c < 0]
    if len(plus) > 1 or len(minus) > 1 or not all(isinstance(atom, MaxOf) for atom, _ in form.terms):
        return None
    if plus and minus:
        if form.constant or plus[0][1] != minus[0][1]:
            return None
        return plus[0][1], _as_max(plus[0][0]), _as_max(minus[0][0])
    if plus:
        k = plus[0][1]
        return k, _as_max(plus[0][0]), MaxOf(frozenset(), -form.constant / k)
    k = minus[0][1]
    return k, MaxOf(frozenset(), form.constant / k), _as_max(minus[0][0])


def _as_max(atom: Atom) -> MaxOf:
    if not isinstance(atom, MaxOf):
        raise TypeError("not a maximum")
    return atom


def moved_by(atom: MaxOf, by: int) -> MaxOf:
    """A maximum over elements `by` further on."""
    return MaxOf(frozenset(point + by for point in atom.points), atom.floor)


def _larger(one: Fraction | None, other: Fraction | None) -> Fraction | None:
    return max((c for c in (one, other) if c is not None), default=None)


def _atoms(form: Form) -> int:
    """How many atoms a combination has, those inside its ReLUs included."""
    return sum(1 + (_atoms(atom.inner) if isinstance(atom, ReluOf) else 0) for atom, _ in form.terms)


def order_key(atom: Atom) -> str:
    """A fixed order of atoms."""
    if isinstance(atom, MaxOf):
        return f"0{sorted(atom.points)}{atom.floor}"
    if isinstance(atom, Win):
        return f"1{order_key(atom.part)}{order_key(atom.whole)}"
    return f"2{sorted((order_key(inner), c) for inner, c in atom.inner.terms)}{atom.inner.constant}"
