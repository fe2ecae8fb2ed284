"""Names for computed numbers: how each came about, so that a gate's parts know each other again.

    ("is", meaning)             exactly its meaning
    ("sum", (weight, name) ...) these, added up in some order
    ("r", a, b)                 r(fl(a - b))
    ("m0", a, b)                fl(b + r(fl(a - b)))
    ("t", a, b)                 r(m0 - a - 2 r(fl(b - a)))
    ("r+", y), ("r-", y)        r(y), r(-y)
    ("off", node, map, offset)  at most 0
    ("at", node, map, offset)   just some number

Meanings and names are given by their numbers.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from depool.proof.algebra import ZERO, Algebra, Form, MaxOf, ReluOf, Win, plain_sum

Name = tuple[Any, ...]
Parts = list[tuple[Fraction, int]]
"""The terms of a sum: weight and name."""


class Names:
    """All names in use, each with a bound on the error of its number."""

    def __init__(self, algebra: Algebra) -> None:
        self.algebra = algebra
        self._known: list[tuple[Name, float]] = []
        self._ids: dict[tuple[Name, float], int] = {}
        self._shifted: dict[tuple[int, int], int] = {}

    def number(self, name: Name, error: float) -> int:
        """The number of a name."""
        key = (name, error)
        if key not in self._ids:
            self._ids[key] = len(self._known)
            self._known.append(key)
        return self._ids[key]

    def __getitem__(self, number: int) -> Name:
        return self._known[number][0]

    def error(self, number: int) -> float:
        """A bound on the error of a named number."""
        return self._known[number][1]

    def exact(self, form: Form) -> int:
        """The name of the number that is exactly its meaning."""
        return self.number(("is", self.algebra.number(form)), 0.0)

    def meaning(self, number: int) -> Form:
        """What an exact number means."""
        return self.algebra.form(self[number][1])

    def is_exact(self, number: int) -> bool:
        """Whether it is exactly its meaning, or that times a power of two."""
        kind, *args = self[number]
        if kind == "sum" and len(args) == 1:
            return is_power(args[0][0]) and self.is_exact(args[0][1])
        return bool(kind == "is")

    def shift(self, number: int, by: int) -> int:
        """The same number `by` elements further on."""
        if not by:
            return number
        key = (number, by)
        if key not in self._shifted:
            (kind, *args), error = self._known[number]
            if kind == "is":
                moved: list[Any] = [self.algebra.number(self.algebra.shift(args[0], by))]
            elif kind in {"at", "off"}:
                moved = [*args[:2], args[2] + by]
            elif kind == "sum":
                moved = sorted((w, self.shift(part, by)) for w, part in args)
            else:
                moved = [self.shift(arg, by) for arg in args]
            self._shifted[key] = self.number((kind, *moved), error)
        return self._shifted[key]

    def constant(self, number: int) -> Fraction:
        """Of a number that is exactly a constant, that constant; else 0."""
        form = self.meaning(number) if self[number][0] == "is" else ZERO
        return Fraction(0) if form.terms else form.constant

    def at_least_an_element(self, number: int) -> bool:
        """Whether it is no less than some element of the input: a maximum of some, or fl(b + r(...)) >= b."""
        kind, *args = self[number]
        if kind == "m0":
            return self.at_least_an_element(args[1])
        form = self.meaning(number) if kind == "is" else ZERO
        return (
            not form.constant and [c for _, c in form.terms] == [1] and all(isinstance(a, MaxOf) for a, _ in form.terms)
        )

    def nonnegative(self, number: int) -> bool:
        """Whether it is never less than 0."""
        kind, *args = self[number]
        if kind == "is":
            form = self.algebra.form(args[0])
            return self.algebra.relu(form) == form
        return kind in {"r", "t", "r+", "r-"} or (kind == "m0" and self.nonnegative(args[1]))

    def below(self, one: int, other: int) -> bool:
        """Of exact numbers: whether the first is never more than the second."""
        difference = plain_sum([(Fraction(1), self.meaning(one)), (Fraction(-1), self.meaning(other))])
        return self.algebra.relu(difference) == ZERO

    def winners(self, *numbers: int) -> bool:
        """Whether these are exactly win(S), win(T) or max of one whole: of two, one is 0, or they are equal."""
        wholes = {self._whole(number) for number in numbers}
        return len(wholes) == 1 and None not in wholes

    def _whole(self, number: int) -> MaxOf | None:
        form = self.meaning(number) if self[number][0] == "is" else ZERO
        if form.constant or len(form.terms) != 1:
            return None
        ((atom, c),) = form.terms
        whole = atom.whole if isinstance(atom, Win) else atom
        return whole if isinstance(whole, MaxOf) and c == 1 else None

    def representable(self, form: Form, parts: Parts) -> bool:
        """Whether two exact numbers add up to one that the type holds, to which their sum is then rounded."""
        exact = len(parts) == 2 and all(self[number][0] == "is" for _, number in parts)
        number = not form.constant and len(form.terms) == 1 and all(is_power(c) for _, c in form.terms)
        return exact and number and not any(isinstance(atom, ReluOf) for atom, _ in form.terms)

    def rejoined(self, one: int, other: int, *, opposite: bool) -> int | None:
        """The name of `one + other` or, if `opposite`, `one - other`, where one of the two is always 0.

        y = r(y) - r(-y), and max = (max - win(T)) + win(T) of gate K: so they do not round, wherever in a sum.
        """
        a, b = self[one], self[other]
        if opposite and (a[0], b[0]) == ("r+", "r-") and a[1] == b[1]:
            return int(a[1])
        if (a[0], b[0]) != ("is", "is") or ZERO in {self.meaning(one), self.meaning(other)}:
            return None
        sign = Fraction(-1 if opposite else 1)
        form = plain_sum([(Fraction(1), self.meaning(one)), (sign, self.meaning(other))])
        if form.constant or len(form.terms) != 1 or not all(isinstance(atom, MaxOf) for atom, _ in form.terms):
            return None
        if opposite:
            return self.exact(form) if self.algebra.relu(form) == self.meaning(one) else None
        win = any(isinstance(atom, Win) for atom, _ in self.meaning(other).terms)
        return self.exact(form) if win and self.winners(other) else None

    def restored(self, raised: int, t: int) -> bool:
        """Whether (m0 + r(a - m0)) - t is all of gate Y, which is then exactly max(a, b)."""
        role, *args = self[raised]
        if role != "m0" or self[args[1]][0] != "m0" or self[args[1]][1] != args[0]:
            return False
        a, m0 = args
        b = self[m0][2]
        if not (self.is_exact(a) and self.is_exact(b)):
            return False
        return self[t] == ("t", a, b) or (self[t] == ("r", m0, a) and self.below(b, a))

    def multiples(self, parts: Parts) -> bool:
        """Whether every term is a multiple of |y|, y one exact number, and no partial sum in any order rounds."""
        if len(parts) < 2 or any(self[number][0] != "is" for _, number in parts):
            return False
        slopes = [_slopes(self.meaning(number)) for _, number in parts]
        for sign in (0, 1):
            sums = {Fraction(0)}
            for (w, _), slope in zip(parts, slopes, strict=True):
                if slope is None or slope[0] != (slopes[0] or slope)[0]:
                    return False
                sums |= {total + w * slope[1][sign] for total in sums}
            if not all(total == 0 or is_power(total) for total in sums):
                return False
        return True


def _slopes(form: Form) -> tuple[frozenset[int], tuple[Fraction, Fraction]] | None:
    """(S, (p, n)) where a meaning is p |y| for y = max S >= 0, and n |y| for y < 0."""
    atoms = [(atom, c) for atom, c in form.terms if isinstance(atom, MaxOf) and atom.floor in {None, 0}]
    sets = {atom.points for atom, _ in atoms}
    if form.constant or len(sets) != 1 or len(atoms) != len(form.terms):
        return None
    right = sum((c for _, c in atoms), Fraction(0))
    return sets.pop(), (right, -sum((c for atom, c in atoms if atom.floor is None), Fraction(0)))


def is_power(w: Fraction) -> bool:
    """Whether a weight is a power of two, of either sign: a product with it does not round."""
    n, d = abs(w.numerator), w.denominator
    return n & (n - 1) == 0 and d & (d - 1) == 0
