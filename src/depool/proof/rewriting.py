"""Lemmas for what `pair` alone does not resolve: order, the exact gate K, and all orders of what is left."""

from __future__ import annotations

from fractions import Fraction

from depool.proof.algebra import Algebra, Atom, Form, Ground, MaxOf, ReluOf, Win, plain_sum
from depool.proof.closing import closed
from depool.proof.orders import groups, multiple_of_maximum

ONE = Fraction(1)


def algebra(ground: Ground) -> Algebra:
    """An algebra with all lemmas."""
    rows = (("order", _order), ("grid", _grid), ("winners", _winners))
    return Algebra(ground, rows, _resolved)


def _order(algebra: Algebra, form: Form) -> Form | None:
    """r(x) = x where every negative term lies below a positive one; r(-x) = 0."""
    lower = algebra.ground.lower
    if _positive(form, lower):
        return form
    if _positive(plain_sum([(-ONE, form)]), lower):
        return plain_sum([])
    return None


def _positive(form: Form, lower: Fraction | None) -> bool:
    if form.constant < 0:
        return False
    left = {atom: c for atom, c in form.terms if c > 0}
    for atom, c in form.terms:
        need = -c
        for above in sorted(left, key=_size) if need > 0 else ():
            if _above(above, atom):
                taken = min(need, left[above])
                left[above] -= taken
                need -= taken
        if need > 0:
            return False
    return all(not c or not isinstance(atom, MaxOf) or _nonnegative(atom, lower) for atom, c in left.items())


def _size(atom: Atom) -> tuple[int, list[int]]:
    return (len(atom.points), sorted(atom.points)) if isinstance(atom, MaxOf) else (0, [])


def _above(one: Atom, other: Atom) -> bool:
    if not isinstance(one, MaxOf):
        return False
    if isinstance(other, Win):
        other = other.whole
    if not isinstance(other, MaxOf) or not other.points <= one.points:
        return False
    return other.floor is None or (one.floor is not None and other.floor <= one.floor)


def _nonnegative(atom: MaxOf, lower: Fraction | None) -> bool:
    return (lower is not None and lower >= 0) or (atom.floor is not None and atom.floor >= 0)


def _grid(algebra: Algebra, form: Form) -> Form | None:
    """r(max S - K (max U - max S)) = win(S, U), S a part of U."""
    ground = algebra.ground
    if form.constant or len(form.terms) != 2 or ground.lower is None or ground.lower < 0:
        return None
    (whole, minus), (part, plus) = sorted(form.terms, key=lambda term: term[1])
    if not isinstance(whole, MaxOf) or not isinstance(part, MaxOf) or not _above(whole, part):
        return None
    scale = plus + minus
    if scale <= 0 or -minus / scale < ground.grid:
        return None
    return Form(Fraction(0), frozenset({(Win(part, whole), scale)}))


def _winners(algebra: Algebra, form: Form) -> Form | None:
    """r(win(S, U) - win(T, U)) = max U - win(T, U), S and T together U."""
    ground = algebra.ground
    if form.constant or len(form.terms) != 2 or ground.lower is None or ground.lower < 0:
        return None
    (other, minus), (one, plus) = sorted(form.terms, key=lambda term: term[1])
    if not isinstance(one, Win) or not isinstance(other, Win) or one.whole != other.whole or minus != -plus:
        return None
    if one.part.points | other.part.points != one.whole.points:
        return None
    rest = Form(Fraction(0), frozenset({(other, minus)}))
    return plain_sum([(plus, algebra.maximum(one.whole.points)), (ONE, rest)])


def _resolved(algebra: Algebra, form: Form) -> Form | None:
    """A combination with fewer unresolved ReLUs: as a multiple of one maximum, or with a gate in it replaced by its."""
    changed = _whole(algebra, form)
    if changed is None and (changed := closed(algebra, form)) is not None:
        algebra.used["closing"] += 1
    for part, rest in groups(form) if changed is None else ():
        if (found := _whole(algebra, part)) is not None:
            changed = plain_sum([(ONE, found), (ONE, rest)])
            break
    if changed is None or not any(isinstance(atom, ReluOf) for atom, _ in changed.terms):
        return changed
    return _resolved(algebra, changed) or changed


def _whole(algebra: Algebra, form: Form) -> Form | None:
    found = multiple_of_maximum(form, algebra.ground)
    if found is None:
        return None
    algebra.used["orders"] += 1
    factor, most = found
    return plain_sum([(factor, algebra.maximum(most.points, most.floor))])
