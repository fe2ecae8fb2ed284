"""A plan says which maxima are taken, and proves that together they cover the pool's window.

A plan is a sequence of stages. A stage slides its own small window over the previous stage's result and
takes the maximum of the taps by a tree of gates, so t_j(i) = max over taps o of t_{j-1}(i * stride_j + o).
In coordinates of the pool's input a composition of stages therefore covers

    { o_1 + S_1 * o_2 + S_1 * S_2 * o_3 + ... },   S_j the stride of stage j,

and the plan is right iff that set is the pool's window: max is associative, commutative and idempotent.

Where a later stage is padded too, that is not enough: what it reads beyond the previous result counts as nothing,
although windows reach there. Then every position near the borders is looked at (`plan/borders.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from math import prod

from depool.geometry import Size, Window
from depool.plan.borders import Line, prove_borders

Index = tuple[int, ...]
"""A tap: an entry of a kernel, one index per spatial axis, before dilation."""


@dataclass(frozen=True)
class Leaf:
    """One tap of a stage's window."""

    index: Index


@dataclass(frozen=True)
class Zero:
    """The number 0, for the maximum of a window and 0, which is a ReLU."""


@dataclass(frozen=True)
class Max:
    """One max gate over its arguments."""

    args: tuple[Expr, ...]


Expr = Leaf | Zero | Max


def leaves(expr: Expr) -> Iterator[Index]:
    """Every tap under an expression, from left to right."""
    if isinstance(expr, Leaf):
        yield expr.index
    elif isinstance(expr, Max):
        for arg in expr.args:
            yield from leaves(arg)


def depth(expr: Expr) -> int:
    """Gates on the longest path."""
    return 1 + max(map(depth, expr.args)) if isinstance(expr, Max) else 0


def gates(expr: Expr) -> int:
    """Gates in all."""
    return 1 + sum(map(gates, expr.args)) if isinstance(expr, Max) else 0


@dataclass(frozen=True)
class Stage:
    """One sliding maximum.

    Attributes:
        window: over the previous result.
        expr: the gates over its taps.
        merged: a chain of gates is lowered by Horner's rule, where the form allows it: a maximum that only the next
            gate reads is not written, its two terms enter that gate's difference.
    """

    window: Window
    expr: Expr
    merged: bool = False


@dataclass(frozen=True)
class Plan:
    """The stages that make up one pool; construction runs the coverage proof.

    Attributes:
        window: the pool's geometry, pads resolved.
        scheme: the planner's name.
        stages: applied in order.
        sizes: of the input; empty, or None for an axis, where the plan is for every size.

    Raises:
        AssertionError: where the stages do not cover the window, which would be a planner's mistake.
    """

    window: Window
    scheme: str
    stages: tuple[Stage, ...]
    sizes: tuple[Size, ...] = ()

    def __post_init__(self) -> None:
        prove_coverage(self)

    @property
    def gates(self) -> int:
        """Max gates in all stages."""
        return sum(gates(stage.expr) for stage in self.stages)

    @property
    def floored(self) -> bool:
        """Whether it is the maximum of the window and 0."""
        return ZERO in _prove_gates(self.stages[-1].expr)

    @property
    def depth(self) -> int:
        """Max gates on the longest path."""
        return sum(depth(stage.expr) for stage in self.stages)


def prove_coverage(plan: Plan) -> None:
    """Prove by set algebra that the plan takes the maximum over exactly the pool's windows, or of that and 0.

    Every gate is a maximum of its arguments; then four facts suffice: the composed offsets are the window's, and the
    kernels reach no further, so that there are as many outputs;
    per axis only the last stage that touches it has a stride, so output i starts at i * stride; and per axis
    only the first stage that touches it is padded, with the pool's pads, so every stage is defined wherever
    the next one reads it. Where a later one is padded as well, every position near the borders is proved instead.

    Raises:
        AssertionError: where one of them fails.
    """
    for stage in plan.stages:
        _prove_gates(stage.expr)
    window, rank = plan.window, len(plan.window.kernel_shape)
    covered = {(0,) * rank}
    strides = (1,) * rank
    extent = [1] * rank
    touched = [False] * rank
    late: set[int] = set()
    for stage in plan.stages:
        small = stage.window
        taps = set(leaves(stage.expr))
        if not all(0 <= i < k for tap in taps for i, k in zip(tap, small.kernel_shape, strict=True)):
            raise AssertionError(f"a tap lies outside its stage's kernel {small.kernel_shape}")
        covered = {
            tuple(c + s * i * d for c, s, i, d in zip(base, strides, tap, small.dilations, strict=True))
            for base in covered
            for tap in taps
        }
        for axis in range(rank):
            moves = small.kernel_shape[axis] > 1 or small.strides[axis] > 1
            padded = isinstance(small.pads, str) or small.pads[axis] != (0, 0)
            if moves and strides[axis] != 1:
                raise AssertionError(f"axis {axis} is used after its stride was applied")
            if padded and touched[axis]:
                late.add(axis)
            touched[axis] |= moves or padded
            extent[axis] += strides[axis] * (small.kernel_shape[axis] - 1) * small.dilations[axis]
        strides = tuple(s * t for s, t in zip(strides, small.strides, strict=True))
    wanted = set(product(*(range(0, k * d, d) for k, d in zip(window.kernel_shape, window.dilations, strict=True))))
    if covered != wanted:
        raise AssertionError(f"offsets {sorted(covered ^ wanted)[:4]} ... are covered wrongly")
    if strides != window.strides:
        raise AssertionError(f"strides {strides} are not the pool's {window.strides}")
    if any(extent[axis] != window.extent[axis] for axis in range(rank) if axis not in late):
        raise AssertionError(f"the stages' kernels reach over {extent} elements, the pool's over {window.extent}")
    _prove_pads(plan, late)


def _prove_pads(plan: Plan, late: set[int]) -> None:
    """The pool's pads, all in the first stage of an axis; or, along the axes `late`, what every position covers."""
    total, window = _total_pads(plan.stages, len(plan.window.kernel_shape)), plan.window
    if isinstance(total, str) or isinstance(window.pads, str):
        if late or total != window.pads:
            raise AssertionError(f"pads {total} are not the pool's {window.pads}")
        return
    for axis, (ours, theirs) in enumerate(zip(total, window.pads, strict=True)):
        if axis in late:
            size = plan.sizes[axis] if plan.sizes else None
            prove_borders(window, [_along(stage, axis) for stage in plan.stages], axis, size)
        elif ours != theirs:
            raise AssertionError(f"pads {ours} of axis {axis} are not the pool's {theirs}")


def _along(stage: Stage, axis: int) -> Line:
    """What a stage does along one axis; where it is a line, that is all it does there."""
    small = stage.window
    taps = set(leaves(stage.expr))
    along = {tap[axis] for tap in taps}
    if len(taps) != prod(len({tap[a] for tap in taps}) for a in range(len(small.kernel_shape))):
        raise AssertionError(f"axis {axis} is padded after its first stage, and a stage's taps are no grid")
    sliding = small.kernel_shape[axis], small.strides[axis], small.dilations[axis]
    return Line(tuple(sorted(along)), *sliding, small.pads_along(axis))


ZERO: Index = ()
"""What stands for the number 0 in a set of taps; no tap has no axes."""


def _prove_gates(expr: Expr) -> frozenset[Index]:
    """A closing gate's arguments overlap as its lemma wants: then its result is the maximum over all of them.

    With (e, m0, m1, m2, m3, p, q) as sets: e in every mi, p u e = m0 u m2, q u e = m1 u m3.
    The number 0 is an element like others.
    """
    if isinstance(expr, Leaf):
        return frozenset([expr.index])
    if isinstance(expr, Zero):
        return frozenset([ZERO])
    sets = [_prove_gates(arg) for arg in expr.args]
    if len(sets) == 7:
        e, m0, m1, m2, m3, p, q = sets
        if not all(e <= m for m in (m0, m1, m2, m3)) or p | e != m0 | m2 or q | e != m1 | m3:
            raise AssertionError("a closing gate's arguments do not overlap as its lemma wants")
    elif len(sets) != 2:
        raise AssertionError(f"no gate takes {len(sets)} arguments")
    return frozenset().union(*sets)


def _total_pads(stages: tuple[Stage, ...], rank: int) -> str | tuple[tuple[int, int], ...]:
    symbolic = [stage.window.pads for stage in stages if isinstance(stage.window.pads, str)]
    if symbolic:
        return symbolic[0] if len(stages) == 1 else "SAME_* in a stage of several"
    explicit = [stage.window.pads for stage in stages if not isinstance(stage.window.pads, str)]
    return tuple((sum(p[a][0] for p in explicit), sum(p[a][1] for p in explicit)) for a in range(rank))
