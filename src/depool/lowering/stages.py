"""Plan -> Program: every stage's gates, level by level, in a style.

Given   a plan, a gate and a style
Result  the nodes of a program whose last tensor is the maximum over the plan's window
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from depool.gates import PAIR, Combination, Gate
from depool.geometry import Window
from depool.lowering.forms import Form, combine
from depool.lowering.guarded import guarded
from depool.lowering.horner import horner
from depool.lowering.styles import Branched, Style
from depool.numerics import Step
from depool.plan.model import Expr, Index, Leaf, Max, Plan, Stage, Zero, depth
from depool.program import Ref

Tap = Callable[[Index], Form]
"""The value at a tap of the first stage's window."""


Gates = Mapping[int, Gate]
"""The gate for a maximum of so many arguments."""

NOTHING = Form((), weight=0.0)
"""The number 0."""


def lower_stages(
    plan: Plan, gates: Gates, style: Style, first: Tap, constant: float = 0.0, guard: float = 0.0
) -> tuple[Ref, list[Step]]:
    """Emit the whole plan.

    Args:
        plan: what to compute.
        gates: how to take one maximum.
        style: how values become tensors.
        first: the data at a tap of the first stage.
        constant: added to the result.
        guard: what switches off the taps on the padding, if anything does.

    Returns:
        The result's tensor, and the roundings of each level.
    """
    steps: list[Step] = []
    tap = first
    for i, stage in enumerate(plan.stages):
        value = _stage(stage, gates, style, tap, steps, guard, last=i == len(plan.stages) - 1)
        tap = value.at
    if constant:
        value = combine([(1, value), (1, Form((), constant, 1))], weight=value.weight)
    if constant or not (style.materialises or gates[2].exact):
        steps.append(style.sums([value], []))
    return style.finish(value, plan.stages[-1].window), steps


def _stage(stage: Stage, gates: Gates, style: Style, tap: Tap, steps: list[Step], guard: float, last: bool) -> Form:
    if stage.merged and gates[2] is PAIR and isinstance(style, Branched):
        return guarded(stage, style, tap, guard, steps) if guard else horner(stage, style, tap, steps)
    nodes = list(_all(stage.expr))
    values: dict[Expr, Form] = {leaf: tap(leaf.index) for leaf in nodes if isinstance(leaf, Leaf)}
    values |= {zero: NOTHING for zero in nodes if isinstance(zero, Zero)}
    deepest = depth(stage.expr)
    for level in range(1, deepest + 1):
        now = [e for e in nodes if isinstance(e, Max) and depth(e) == level]
        later = {arg for e in nodes if isinstance(e, Max) and depth(e) > level for arg in e.args}
        waiting = {e: form for e, form in values.items() if e in later}
        done = _level(now, values, waiting, gates, style, stage.window, steps, last=last and level == deepest)
        values |= done
    return values[stage.expr]


def _level(
    now: list[Max],
    values: Mapping[Expr, Form],
    waiting: dict[Expr, Form],
    gates: Gates,
    style: Style,
    window: Window,
    steps: list[Step],
    last: bool,
) -> dict[Expr, Form]:
    """The values of one level's gates, all computed side by side, and of what waits for later ones."""
    rows = [gates[len(e.args)] for e in now]
    scopes = [
        dict(zip(gate.args, (values[arg] for arg in e.args), strict=True)) for e, gate in zip(now, rows, strict=True)
    ]
    exact = all(gate.exact for gate in rows)
    lemma = style.materialises and all(gate is PAIR for gate in rows)
    growth = max(gate.growth for gate in rows)
    share = max(sum(abs(c) for name, c in gate.output.items() if name in gate.layers[-1].relu) for gate in rows)
    for i, layers in enumerate(zip(*(gate.layers for gate in rows), strict=True), 1 - len(rows[0].layers)):
        final = last and i == 0
        relu = [_linear(c, scope) for layer, scope in zip(layers, scopes, strict=True) for c in layer.relu.values()]
        keep = [_linear(c, scope) for layer, scope in zip(layers, scopes, strict=True) for c in layer.keep.values()]
        if final and not relu:  # the last sums are the program's result itself
            scopes = [
                {name: _linear(c, scope) for name, c in layer.keep.items()}
                for layer, scope in zip(layers, scopes, strict=True)
            ]
            break
        keep += waiting.values()
        real = [form for form in keep if form != NOTHING]
        neurons, made = style.layer(relu, real, window, final)
        if len(real) < len(keep):  # the number 0 needs no neuron to wait
            rest = iter(made)
            made = [next(rest) if form != NOTHING else NOTHING for form in keep]
        if not (lemma or exact):
            steps.append(style.sums(relu, [] if style.materialises else real, share, growth))
        fresh, carried = iter(neurons), iter(made)
        scopes = [
            {name: replace(next(fresh), weight=_most(c, style.signed)) for name, c in layer.relu.items()}
            | {name: next(carried) for name in layer.keep}
            for layer in layers
        ]
        waiting = {e: next(carried) for e in waiting}
    results = [_result(gate, scope, style.signed) for gate, scope in zip(rows, scopes, strict=True)]
    if lemma:
        steps.append(Step(ulps=1))
    elif style.materialises and not exact:
        steps.append(style.sums(results, []))
    return waiting | dict(zip(now, style.settle(results, window), strict=True))


def _most(combination: Combination, signed: bool) -> float:
    """The largest value, in units of M, of a combination of numbers in [-M, M], or in [0, M]."""
    return sum(abs(c) if signed else max(c, 0.0) for c in combination.values())


def _result(gate: Gate, scope: Mapping[str, Form], signed: bool) -> Form:
    """The gate's output; terms that are all >= 0 and add up to the maximum are at most M together."""
    plain = not signed and min(gate.output.values()) > 0
    return combine([(c, scope[name]) for name, c in gate.output.items()], 1.0 if plain else None)


def _linear(combination: Combination, scope: Mapping[str, Form]) -> Form:
    return combine([(factor, scope[name]) for name, factor in combination.items()])


def _all(expr: Expr) -> dict[Expr, None]:
    """Every sub-expression once, in the order of a walk from left to right."""
    found: dict[Expr, None] = {}
    if isinstance(expr, Max):
        for arg in expr.args:
            found |= _all(arg)
    found[expr] = None
    return found
