"""Meaning and computed number together, as small integers for arrays."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from depool.proof.algebra import ZERO, Algebra, Form
from depool.proof.floating import Floats, Value


class Values:
    """Numbers the values of one region.

    Args:
        algebra: computes meanings.
        floats: computes what rounding makes of them.
    """

    def __init__(self, algebra: Algebra, floats: Floats) -> None:
        self.algebra = algebra
        self.floats = floats
        self._values: list[Value] = []
        self._ids: dict[Value, int] = {}
        self._shifted: dict[tuple[int, int], Value] = {}
        self.zero = self.exact(ZERO)

    def number(self, value: Value) -> int:
        """The integer of a value."""
        found = self._ids.get(value)
        if found is None:
            found = self._ids[value] = len(self._values)
            self._values.append(value)
        return found

    def exact(self, form: Form) -> int:
        """The value that is exactly this meaning."""
        return self.number(self.floats.exact(form))

    def __getitem__(self, number: int) -> Value:
        return self._values[number]

    def shifted(self, number: int, by: int) -> Value:
        """A value about elements `by` further on."""
        key = (number, by)
        if key not in self._shifted:
            value = self._values[number]
            form = self.algebra.shift(self.algebra.number(value.form), by)
            self._shifted[key] = value._replace(form=form, name=self.floats.names.shift(value.name, by))
        return self._shifted[key]

    def total(self, terms: Sequence[tuple[Fraction, Value]], bias: Fraction, site: tuple[str, int]) -> int:
        """The sum of weight * value and a bias."""
        form = self.algebra.combine([(w, value.form) for w, value in terms], bias)
        return self.number(self.floats.total(form, terms, bias, site))

    def relu(self, number: int, site: tuple[str, int]) -> int:
        """r(value)."""
        value = self._values[number]
        return self.number(self.floats.relu(self.algebra.relu(value.form), value, site))
