"""The plans that can make one pool at one border, lowered, in a target's terms, and ranked by what they cost."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import prod
from operator import itemgetter

from depool.choice import Choice, gates_of, layout
from depool.conversion import Conversion
from depool.cost import effort, nominal
from depool.errors import Refused
from depool.facts import InputFacts
from depool.geometry import Size, Window
from depool.lowering.guarded import guardable
from depool.lowering.lower import adapted, lower
from depool.lowering.padding import Border
from depool.numerics import TYPES
from depool.plan.horner import STAGE, Described, further, horner, recalled
from depool.plan.model import Plan, depth
from depool.plan.separable import separable
from depool.plan.shallow import shallow, with_relu
from depool.plan.tree import PAIRINGS, tree
from depool.program import Program, Relu
from depool.target import Target, named

Costs = tuple[float, float]
"""What plans are ranked by."""

RANKED = 6
"""How many candidates are kept for whoever wants to measure."""


@lru_cache(maxsize=512)
def ranked(
    choice: Choice,
    edge: Border,
    sizes: tuple[Size, ...],
    facts: InputFacts,
    form: str,
    dtype: str,
    base: Plan | None,
    stages: Described,
    aligned: bool,
) -> tuple[tuple[Costs, Plan, Program], ...]:
    """The plans whose programs cost least, the cheapest first; what `base` computes is there already.

    Args:
        choice: what the user asks for, its target resolved.
        edge: the border.
        sizes: of the input.
        facts: known of the input.
        form: how values travel.
        dtype: the name of the input's type.
        base: the plan of another pool of the input, to go on from.
        stages: the plan, where it is known already.
        aligned: whether the channels fill the target's blocks.

    Raises:
        Refused: where the target takes none.
        UsageError: where the stages do not make this pool.
    """
    target = named(choice.target)
    gates = gates_of(choice, edge, facts, TYPES.get(dtype, dtype))
    count = nominal(sizes, edge.window.extent)

    def written(plan: Plan) -> Program:
        made = lower(plan, edge, sizes, facts, form, gates, TYPES.get(dtype, dtype))
        return adapted(made, target, layout(choice, target), form)

    def price(program: Program) -> tuple[float, float]:
        return effort(program, count, target, aligned=aligned)

    found: list[tuple[Costs, Plan, Program]] = []
    lacks: Refused | None = None
    plans = [recalled(_inner(edge), sizes, stages)] if stages else _plans(choice, edge, sizes, form, target)
    if edge.rule == "guard":
        plans = [plan for plan in plans if all(map(guardable, plan.stages))]
    more = list(further(base, edge.window, sizes)) if base is not None and not stages else []
    there = price(written(base)) if base is not None and more else (0.0, 0.0)
    for i, plan in enumerate(plans + more):
        try:
            program = written(plan)
        except Refused as refused:
            lacks = lacks or refused
            continue
        paid = there if i >= len(plans) else (0.0, 0.0)
        new = price(program)
        costs = new[0] - paid[0], new[1] - paid[1]
        if choice.relu and not plan.floored:
            program = replace(program, nodes=(*program.nodes, Relu(len(program.nodes))))
        found.append((costs, plan, program))
    if lacks and not found:
        raise lacks
    return tuple(sorted(found, key=itemgetter(0))[:RANKED])


def base_of(
    given: tuple[Conversion, ...],
    window: Window,
    sizes: tuple[Size, ...],
    edge: Border,
    facts: InputFacts,
    form: str,
) -> Plan | None:
    """The plan of the largest pool of the same input that lies within this one.

    Zero pads must stand for nothing, so the input is >= 0.
    """
    if facts.signed or edge.rule != "zero" or form != "branched":
        return None
    plans = [made.plan for made in given if made.form == form and made.border.rule == "zero"]
    found = [plan for plan in plans if plan is not None and plan.scheme == "horner"]
    fit = [plan for plan in found if next(further(plan, window, sizes), None) is not None]
    return max(fit, key=lambda plan: prod(plan.window.kernel_shape), default=None)


def _plans(choice: Choice, edge: Border, sizes: tuple[Size, ...], form: str, target: Target) -> list[Plan]:
    """The plans to choose from, on the window that is left once the border is in the data."""
    window = edge.window
    if isinstance(window.pads, str):
        if choice.scheme in {"separable", "horner"}:
            raise dynamic_same(f"the {choice.scheme} scheme splits the window")
        return [shallow(window) if choice.scheme == "shallow" else tree(window, choice.pairing)]
    inner = _inner(edge)
    if edge.rule == "guard":  # its chains are not merged, so a long one is deep
        return [plan for plan in horner(inner, sizes) if all(depth(stage.expr) < STAGE for stage in plan.stages)]
    # a long tree in one chain or Concat drags every waiting tap along: it is offered only where asked for or small
    small = prod(inner.kernel_shape) <= (9 if form != "branched" else 25) or not target.mixed_axes
    if choice.scheme == "tree" or choice.pairing != PAIRINGS[0]:
        return [tree(inner, choice.pairing)]
    if choice.scheme == "separable":
        return [separable(inner)]
    if choice.scheme == "shallow":
        return [with_relu(inner) if choice.relu and prod(inner.kernel_shape) == 4 else shallow(inner)]
    if choice.scheme == "horner":
        return list(horner(inner, sizes))
    few = horner(inner, sizes) if form == "branched" else ()
    return [separable(inner), *([tree(inner)] if small else []), *few]


def _inner(edge: Border) -> Window:
    """The window on data that carry their border."""
    return edge.window.unpadded() if edge.rule in {"edge", "mask"} else edge.window


def dynamic_same(why: str) -> Refused:
    """Pads that depend on a size known only at run time, and why they cannot stay so."""
    return Refused(
        "DYNAMIC_SAME",
        f"the pads of auto_pad=SAME_* depend on a size known only at run time, and {why}.",
        "Fix the size with --shape NAME:1,3,224,224, or use --scheme tree with --target generic.",
    )
