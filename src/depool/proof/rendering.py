"""Meanings in words, for the certificate."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from math import prod

from depool.proof.algebra import Atom, Form, MaxOf, Win
from depool.proof.offsets import unpacked


def described(form: Form, rank: int) -> str:
    """A meaning, such as ``max[0..1, 0] - max[1, 0]``; offsets count from position * stride."""
    parts = sorted(((_atom(atom, rank), c) for atom, c in form.terms), key=lambda part: (part[1] < 0, part[0]))
    if form.constant or not parts:
        parts.append(("", form.constant))
    text = ""
    for name, c in parts:
        sign = "-" if c < 0 else "+"
        text += f" {sign} " if text else ("-" if c < 0 else "")
        text += _product(abs(c), name)
    return text


def _product(c: Fraction, name: str) -> str:
    number = str(c) if c.denominator <= 64 and c.numerator < 10**6 else f"{float(c)!r}"
    if not name:
        return number
    return name if c == 1 else f"{number} {name}"


def _atom(atom: Atom, rank: int) -> str:
    if isinstance(atom, MaxOf):
        floor = (
            "" if atom.floor is None else f", {_product(abs(atom.floor), '') if atom.floor >= 0 else float(atom.floor)}"
        )
        inside = _box(atom, rank)
        if floor:
            return f"max({inside}{floor})"
        return inside if len(atom.points) == 1 else f"max{inside}"
    if isinstance(atom, Win):
        return f"win({_atom(atom.part, rank)} of {_atom(atom.whole, rank)})"
    return f"r({described(atom.inner, rank)})"


def _box(atom: MaxOf, rank: int) -> str:
    """x[0, 1] for one element, [0..2, 1] for a box, else every offset."""
    offsets = sorted(unpacked(point, rank) for point in atom.points)
    if len(offsets) == 1:
        return f"x[{', '.join(map(str, offsets[0]))}]"
    axes = [sorted({offset[axis] for offset in offsets}) for axis in range(rank)]
    if prod(map(len, axes)) == len(offsets):
        return f"[{', '.join(map(_span, axes))}]"
    return "{" + " ".join(f"({','.join(map(str, offset))})" for offset in offsets) + "}"


def _span(values: list[int]) -> str:
    if len(values) == 1:
        return str(values[0])
    steps = {b - a for a, b in pairwise(values)}
    if len(steps) > 1:
        return "{" + ",".join(map(str, values)) + "}"
    step = steps.pop()
    return f"{values[0]}..{values[-1]}" + (f" by {step}" if step > 1 else "")
