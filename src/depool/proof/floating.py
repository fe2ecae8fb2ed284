"""What the same nodes compute in floating point: exactly their meaning, or something that far from it.

Assumed of a runtime: a sum of two terms is rounded correctly, a longer one has the error of some order of summation;
nothing over- or underflows. With u the unit roundoff, gamma_n = n u / (1 - n u), and sizes in units of M + C, where
M >= |x| and C is the constant in use:

    sum     n weighted terms                 error <= sum |w| error + gamma_n-1 sum |w| (size + error)
    pair    m0 = fl(b + r(fl(a - b)))        error <= max(error a, error b) + 2 u (1 + that)
    Y       m0 + r(a - m0) - r(m0 - a - 2 s), s = r(fl(b - a)), in any order: max(a, b) exactly, for exact a and b
    off     r(-B - m) = 0, where m is no less than some element and B = MAX / 2
    K       r(a - K s) = win(a); win(a) - win(b) and win(b) + r(win(a) - win(b)) do not round
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from itertools import permutations
from math import inf
from typing import NamedTuple

from depool.proof.algebra import ZERO, Algebra, Form, Win, plain_sum
from depool.proof.names import Name, Names, Parts, is_power

LONGEST = 6
"""Sums of more terms are just some number."""
ONE, TWO = Fraction(1), Fraction(2)


class Value(NamedTuple):
    """A number in the converted model: its meaning over the reals, its name, and a bound on the difference."""

    form: Form
    name: int
    error: float


class Floats:
    """Follows computed numbers through sums and ReLUs.

    Args:
        algebra: for what they mean.
        roundoff: u.
        unit: C; constants are measured in it.
    """

    def __init__(self, algebra: Algebra, roundoff: float, unit: float) -> None:
        self.algebra = algebra
        self.names = Names(algebra)
        self.u = roundoff
        self.unit = unit
        self.constants = False
        self.gates: set[str] = set()

    def exact(self, form: Form) -> Value:
        """The number that is exactly its meaning."""
        return Value(form, self.names.exact(form), 0.0)

    def is_exact(self, value: Value) -> bool:
        """Whether a number is exactly its meaning."""
        return self.names.is_exact(value.name)

    def _value(self, form: Form, name: Name, error: float) -> Value:
        return Value(form, self.names.number(name, error), error)

    def relu(self, form: Form, value: Value, site: tuple[str, int]) -> Value:
        """r(computed), which means `form`."""
        kind, *args = self.names[value.name]
        if self.is_exact(value):
            return self.exact(form)
        if kind == "off" and form == ZERO:
            self.gates.add("off")
            return self.exact(form)
        if self.names.nonnegative(value.name):
            return value._replace(form=form)
        if kind == "m0":
            return self._value(form, ("r+", value.name), value.error)
        role = self._role(form, args) if kind == "sum" else None
        if role == ("is",):
            return self.exact(form)
        return self._value(form, role or ("at", *site, 0), value.error)

    def total(
        self, form: Form, terms: Sequence[tuple[Fraction, Value]], bias: Fraction, site: tuple[str, int]
    ) -> Value:
        """The computed sum of weight * number and a bias, which means `form`."""
        live = [(w, v) for w, v in terms if v.form != ZERO or not self.is_exact(v)]
        if (not bias and not live) or self._is_constant_sum(form, live, bias):
            return self.exact(form)
        parts = [] if bias else self._parts(live)
        if self._off(parts):
            return self._value(form, ("off", *site, 0), inf)
        error = self._error(live, bias)
        if bias:
            return self._value(form, ("at", *site, 0), error)
        if len(parts) > LONGEST:
            return self._value(form, ("at", *site, 0), error)
        if self.names.multiples(parts) or self.names.representable(form, parts):
            return self.exact(form)
        if (found := self._made(form, parts)) is not None:
            return found
        negated = sorted((-w, part) for w, part in parts)
        if (found := self._made(plain_sum([(-ONE, form)]), negated)) is not None:
            return self._value(form, ("sum", (-ONE, found.name)), found.error)
        if len(parts) == 1 and is_power(parts[0][0]):
            error = abs(float(parts[0][0])) * self.names.error(parts[0][1])
        return self._value(form, ("sum", *parts), error)

    def _parts(self, live: Sequence[tuple[Fraction, Value]]) -> Parts:
        """A sum's terms, those of sums within it included, and what is always 0 joined to what it belongs to."""
        parts: Parts = []
        for w, v in live:
            kind, *args = self.names[v.name]
            parts += [(w * inner, part) for inner, part in args] if kind == "sum" else [(w, v.name)]
        while (found := self._rejoined(parts)) is not None:
            parts = found
        return sorted(parts)

    def _rejoined(self, parts: Parts) -> Parts | None:
        if len(parts) > 2 * LONGEST:
            return None
        for i, j in permutations(range(len(parts)), 2):
            (w, one), (v, other) = parts[i], parts[j]
            whole = self.names.rejoined(one, other, opposite=w == -v) if abs(w) == abs(v) else None
            if whole is not None:
                return [*(part for k, part in enumerate(parts) if k not in {i, j}), (w, whole)]
        return None

    def _is_constant_sum(self, form: Form, live: Sequence[tuple[Fraction, Value]], bias: Fraction) -> bool:
        """Multiples of 1 and a bias, two terms at most, that add up to one of them or nothing."""
        if any(v.form.terms or not self.is_exact(v) or v.form.constant != 1 for _, v in live):
            return False
        terms = [w for w, _ in live] + [bias] * bool(bias)
        return len(terms) <= 2 and not form.terms and form.constant in {Fraction(0), *terms}

    def _off(self, parts: Parts) -> bool:
        """Whether a sum is at most 0 as computed: -B - m, or less."""
        far = self.algebra.ground.far
        return len(parts) == 2 and any(
            w == -ONE and self.names.at_least_an_element(m) and v * self.names.constant(one) <= far
            for (w, m), (v, one) in permutations(parts)
        )

    def _error(self, live: Sequence[tuple[Fraction, Value]], bias: Fraction) -> float:
        rounds = len(live) + bool(bias) - 1 + any(not is_power(w) for w, _ in live)
        gamma = rounds * self.u / (1 - rounds * self.u) if rounds * self.u < 1 else inf
        if not gamma:
            return sum(abs(float(w)) * v.error for w, v in live)
        sizes = sum(abs(float(w)) * (self._size(v.form) + v.error) for w, v in live) + self._measured(bias)
        return sum(abs(float(w)) * v.error for w, v in live) + gamma * sizes

    def _measured(self, constant: Fraction) -> float:
        if not constant:
            return 0.0
        self.constants = True
        return abs(float(constant)) / self.unit

    def _size(self, form: Form) -> float:
        """A bound on |meaning|."""
        lower = self.algebra.ground.lower
        if lower is not None and lower >= 0 and not form.constant and sorted(c for _, c in form.terms) == [-1, 1]:
            return 1.0
        return sum(abs(float(c)) for _, c in form.terms) + self._measured(form.constant)

    def _made(self, form: Form, parts: Parts) -> Value | None:
        """A sum that a gate ends in, or its m0."""
        weights, names = [w for w, _ in parts], [name for _, name in parts]
        if weights == [ONE]:
            return Value(form, names[0], self.names.error(names[0]))
        if weights == [-ONE, ONE]:
            return self.exact(form) if self.names.winners(*names) or self._restored(names[1], names[0]) else None
        if weights == [ONE, ONE]:
            return self._pair(form, *names) or self._pair(form, *names[::-1])
        if weights == [-ONE, ONE, ONE]:
            for m0, e in permutations(names[1:]):
                raised = self._pair(form, m0, e)
                if raised is not None and self._restored(raised.name, names[0]):
                    return self.exact(form)
        return None

    def _restored(self, raised: int, t: int) -> bool:
        found = self.names.restored(raised, t)
        self.gates |= {"Y"} if found else set()
        return found

    def _pair(self, form: Form, b: int, p: int) -> Value | None:
        role, *args = self.names[p]
        if role != "r" or args[1] != b:
            return None
        error = max(self.names.error(args[0]), self.names.error(b))
        return self._value(form, ("m0", *args), error + 2 * self.u * (1 + error))

    def _role(self, form: Form, parts: Parts) -> Name | None:
        """What r(sum), which means `form`, is to a gate; ("is",) where it is exact."""
        weights, names = [w for w, _ in parts], [name for _, name in parts]
        if weights == [-ONE]:
            return ("is",) if form == ZERO and self.names.nonnegative(names[0]) else ("r-", names[0])
        if weights == [-ONE, ONE]:
            b, a = names
            below = form == ZERO and self.names.is_exact(a) and self.names.is_exact(b)
            return ("is",) if below else ("r", a, b)  # where a <= b, fl(a - b) <= 0
        if weights == [-TWO, -ONE, ONE]:
            return self._t(*names[::-1])
        if len(weights) == 2 and weights[1] == ONE and is_power(weights[0]):
            return self._grid(form, names[1], names[0], -weights[0])
        return None

    def _t(self, m0: int, a: int, s: int) -> Name | None:
        """r(m0 - a - 2 s), s = r(fl(b - a))."""
        role, *args = self.names[m0]
        if not self.names.is_exact(a):
            return None
        if role == "m0" and args[0] == a and self.names.is_exact(args[1]) and self.names[s] == ("r", args[1], a):
            return ("t", *args)
        if role == "is" and self.names[s] == ("r", m0, a) and self.names.below(a, m0):
            return ("is",)  # m0 is b: in any order the sum is at most 0, as fl(b - 2 s) <= a, fl(-a - 2 s) <= -b
        return None

    def _grid(self, form: Form, a: int, s: int, k: Fraction) -> Name | None:
        """r(a - K s), s = r(fl(b - a)): a where s is 0, else 0."""
        role, *args = self.names[s]
        if role != "r" or args[1] != a or not self.names.is_exact(a) or not self.names.is_exact(args[0]):
            return None
        won = len(form.terms) == 1 and all(isinstance(atom, Win) and c == 1 for atom, c in form.terms)
        if not won or k < self.algebra.ground.grid:
            return None
        self.gates.add("K")
        return ("is",)
