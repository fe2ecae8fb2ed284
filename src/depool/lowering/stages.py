"""Plan -> Program: every stage's gates, level by level, in a style.

Given   a plan, a gate and a style
Result  the nodes of a program whose last tensor is the maximum over the plan's window
"""

from __future__ import annotations

from collections.abc import Callable

from depool.gates import Combination, Gate
from depool.lowering.forms import Form, combine
from depool.lowering.styles import Style
from depool.numerics import Step
from depool.plan.model import Expr, Index, Leaf, Max, Plan, Stage, depth
from depool.program import Ref

Tap = Callable[[Index], Form]
"""The value at a tap of the first stage's window."""


def lower_stages(plan: Plan, gate: Gate, style: Style, first: Tap, constant: float = 0.0) -> tuple[Ref, list[Step]]:
    """Emit the whole plan.

    Args:
        plan: what to compute.
        gate: how to take one maximum.
        style: how values become tensors.
        first: the data at a tap of the first stage.
        constant: added to the result.

    Returns:
        The result's tensor, and the roundings of each level.
    """
    steps: list[Step] = []
    tap = first
    for i, stage in enumerate(plan.stages):
        value = _stage(stage, gate, style, tap, steps, last=i == len(plan.stages) - 1)
        tap = value.at
    if constant:
        value = combine([(1, value), (1, Form((), constant, 1))], weight=value.weight)
    if not (style.materialises or gate.exact):
        steps.append(style.sums([value], []))
    return style.finish(value, plan.stages[-1].window), steps


def _stage(stage: Stage, gate: Gate, style: Style, tap: Tap, steps: list[Step], last: bool) -> Form:
    values: dict[Expr, Form] = {leaf: tap(leaf.index) for leaf in _all(stage.expr) if isinstance(leaf, Leaf)}
    deepest = depth(stage.expr)
    for level in range(1, deepest + 1):
        now = [e for e in _all(stage.expr) if isinstance(e, Max) and depth(e) == level]
        later = {arg for e in _all(stage.expr) if isinstance(e, Max) and depth(e) > level for arg in e.args}
        waiting = [e for e in values if e in later]
        scopes = [dict(zip("ab", (values[arg] for arg in e.args), strict=True)) for e in now]
        for i, layer in enumerate(gate.layers):
            relu = [_linear(c, scope) for scope in scopes for c in layer.relu.values()]
            keep = [_linear(c, scope) for scope in scopes for c in layer.keep.values()]
            keep += [values[e] for e in waiting]
            final = last and level == deepest and i == len(gate.layers) - 1
            neurons, kept = style.layer(relu, keep, stage.window, final)
            if not (style.materialises or gate.exact):
                steps.append(style.sums(relu, keep))
            fresh, carried = iter(neurons), iter(kept)
            scopes = [
                {name: _bounded(next(fresh), style) for name in layer.relu}
                | {name: next(carried) for name in layer.keep}
                for _ in scopes
            ]
            values |= {e: next(carried) for e in waiting}
        weight = 3 if style.signed else 1  # |p| + |b| <= 3 M; of non-negative terms the sum is the maximum itself
        results = [combine([(c, scope[name]) for name, c in gate.output.items()], weight) for scope in scopes]
        values |= dict(zip(now, style.settle(results, stage.window), strict=True))
        if style.materialises and not gate.exact:
            steps.append(Step(ulps=1))
    return values[stage.expr]


def _bounded(neuron: Form, style: Style) -> Form:
    """A neuron r(a - b) is at most 2 M, or M where nothing is negative."""
    return combine([(1, neuron)], weight=2 if style.signed else 1)


def _linear(combination: Combination, scope: dict[str, Form]) -> Form:
    return combine([(factor, scope[name]) for name, factor in combination.items()])


def _all(expr: Expr) -> dict[Expr, None]:
    """Every sub-expression once, in the order of a walk from left to right."""
    found: dict[Expr, None] = {}
    if isinstance(expr, Max):
        for arg in expr.args:
            found |= _all(arg)
    found[expr] = None
    return found
