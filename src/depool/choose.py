"""Specification + facts + target -> program: the one way from a pool to its convolutions."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import inf, prod
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from depool.averages import average
from depool.choice import Channels, Choice, FormName, Scheme, form_of, gates_of, known_words, layout
from depool.conversion import Conversion
from depool.cost import effort, nominal
from depool.errors import DepoolError, Refused, UsageError
from depool.facts import InputFacts
from depool.geometry import PoolSpec, Size, Window
from depool.lowering.forms import Builder
from depool.lowering.guarded import guardable
from depool.lowering.lower import adapted, lower
from depool.lowering.padding import Border, border, guard
from depool.numerics import TYPES, Rounding
from depool.plan.horner import STAGE, Described, further, horner, recalled
from depool.plan.model import Plan, depth
from depool.plan.separable import separable
from depool.plan.shallow import shallow, with_relu
from depool.plan.tree import PAIRINGS, tree
from depool.program import Conv, Program, Relu, shifted
from depool.target import Target, named

Costs = tuple[float, float]
"""What plans are ranked by."""

RANKED = 6
"""How many candidates are kept for whoever wants to measure."""


def synthesize(
    spec: PoolSpec,
    scheme: Scheme = "auto",
    form: FormName = "auto",
    target: str | Target = "generic",
    *,
    sizes: tuple[Size, ...] | None = None,
    lower_bound: float = -inf,
    exact: bool = False,
    dtype: npt.DTypeLike = "float32",
    pairing: str = PAIRINGS[0],
    relu: bool = False,
) -> Program:
    """The convolutions that compute a pool.

    Args:
        spec: the pool.
        scheme: ``tree``, ``separable``, ``horner`` (fewest passes), ``shallow`` (fewest ReLU layers) or ``auto``.
        form: ``branched``, ``concat``, ``sequential`` or ``auto``.
        target: a preset's name, a TOML file or a `Target`.
        sizes: the input's spatial sizes, None each where dynamic; all dynamic if not given.
        lower_bound: the least value of the input, if known; 0 after a ReLU.
        exact: bit-exact in floating point for ``|x| <= MAX / 2``.
        dtype: the floating-point type that it will run in.
        pairing: for a tree over four elements, one of ``ab|cd``, ``ac|bd``, ``ad|bc``.
        relu: compute r(max(x)), the pool with a ReLU before or behind it: zero padding, and one ReLU at the end;
            with ``shallow`` and four elements, two ReLU layers in all.

    Raises:
        Refused: where it cannot be done; the error carries a `Refusal`.
    """
    facts = InputFacts(lower=lower_bound, reason="declared", relu_follows=relu)
    choice = Choice(scheme, form, "auto", target, exact, pairing, relu)
    return choose(spec, sizes or (None,) * spec.rank, facts, choice, dtype).program


def choose(
    spec: PoolSpec,
    sizes: tuple[Size, ...],
    facts: InputFacts,
    choice: Choice,
    dtype: npt.DTypeLike,
    given: tuple[Conversion, ...] = (),
    stages: Described = (),
) -> Conversion:
    """The cheapest of `choices`.

    Args:
        spec: the pool.
        sizes: of its input.
        facts: known of its input.
        choice: what the user asks for.
        dtype: of its input.
        given: other pools of the same input that have been converted, and may be gone on from.
        stages: the plan, where it is known already: from a record, or from measurements.

    Raises:
        Refused: with the code that says why.
        UsageError: where the stages do not make this pool.
    """
    return choices(spec, sizes, facts, choice, dtype, given, stages)[0]


def choices(
    spec: PoolSpec,
    sizes: tuple[Size, ...],
    facts: InputFacts,
    choice: Choice,
    dtype: npt.DTypeLike,
    given: tuple[Conversion, ...] = (),
    stages: Described = (),
) -> list[Conversion]:
    """Resolve the geometry, choose border, gate and form; lower each plan, adapt it to the target, and rank by cost.

    Takes and raises what `choose` does; the cheapest come first, `RANKED` of them at most.
    """
    target = named(choice.target)
    known_words(choice)
    window = spec.resolve(sizes)
    channels = layout(choice, target)
    if choice.relu and (spec.kind != "max" or np.dtype(dtype).kind in "iu"):
        raise UsageError("relu belongs to max pools of floating-point numbers")
    if np.dtype(dtype).kind in "iu":
        return [_integers(spec, window, sizes, choice, target)]
    if not (target.asymmetric_pads and target.auto_pad) and isinstance(window.pads, str):
        raise _dynamic_same(f"target {target.name} takes explicit symmetric pads only")
    if spec.kind == "average":
        mean = average(spec, window, sizes, target)
        return [replace(mean, channels=channels, program=adapted(mean.program, target, channels, mean.form))]
    form = form_of(choice, target)
    edges, masks = form != "sequential" and target.spatial_concat, form != "sequential" and target.large_constants
    edge = border(window, sizes, facts, choice.exact, edges=edges, masks=masks)
    base = _base(given, edge.window, sizes, edge, facts, form) if channels != "folded" else None
    sign = InputFacts(-inf if facts.signed else 0.0)
    wish = replace(choice, target=target)
    positive = form == "sequential" and not choice.exact and _pays_relu_first(window, facts, choice)
    if positive:
        sign = InputFacts(0.0)
    found: list[tuple[Costs, Conversion]] = []
    lacks: DepoolError | None = None
    for rule in _rules(edge, form, choice):
        gate = gates_of(choice, rule, facts, dtype)[2].name
        try:
            ranked = _ranked(wish, replace(rule, reason=""), sizes, sign, form, str(np.dtype(dtype)), base, stages)
        except (Refused, UsageError) as error:
            lacks = lacks or error
            continue
        for costs, plan, program in ranked:
            whole = _relu_first(program) if positive else program
            found.append((costs, Conversion(spec, window, rule, plan.scheme, form, channels, gate, whole, plan)))
    if not found:
        raise lacks or AssertionError("no plan")
    return [made for _, made in sorted(found, key=itemgetter(0))[:RANKED]]


def _rules(edge: Border, form: str, choice: Choice) -> list[Border]:
    """The border's rule, and what may cost less in its place."""
    chains = form == "branched" and choice.scheme in {"auto", "horner"} and choice.pairing == PAIRINGS[0]
    rule = guard(edge) if chains and not choice.exact else None
    return [edge] if rule is None else [edge, rule]


def _relu_first(program: Program) -> Program:
    point = Builder(program.rank).point()
    copy = Conv(0, np.ones((1, 1, *point.kernel_shape)), point)  # so that it stays a chain of both in turn
    return replace(program, nodes=(copy, Relu(1), *(shifted(node, 2) for node in program.nodes)))


def _pays_relu_first(window: Window, facts: InputFacts, choice: Choice) -> bool:
    """Whether to take r(x) for x, as r(max x) = max r(x), where only ReLUs read the pool.

    A chain carries a number that may be below 0 as r(x) and r(-x), and one >= 0 as itself. Only geometry decides: no
    element may be skipped, or its ReLU is wasted. The shallow scheme would get a layer more.
    """
    reads = prod(window.kernel_shape)
    asked = choice.relu or choice.scheme == "shallow"
    return facts.signed and facts.relu_follows and not asked and reads > 1 and prod(window.strides) <= reads


@lru_cache(maxsize=512)
def _ranked(
    choice: Choice,
    edge: Border,
    sizes: tuple[Size, ...],
    facts: InputFacts,
    form: str,
    dtype: str,
    base: Plan | None,
    stages: Described,
) -> tuple[tuple[Costs, Plan, Program], ...]:
    """The plans whose programs cost least, the cheapest first; what `base` computes is there already.

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
        return effort(program, count, target.minimise, fuses=target.fuses)

    found: list[tuple[Costs, Plan, Program]] = []
    lacks: Refused | None = None
    plans = [recalled(_inner(edge), sizes, stages)] if stages else _plans(choice, edge, sizes, form, target)
    if edge.rule == "guard" and not all(guardable(stage) for plan in plans for stage in plan.stages):
        raise UsageError("the stages do not make this pool: one starts from a tap on the padding")
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


def _base(
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
            raise _dynamic_same(f"the {choice.scheme} scheme splits the window")
        return [shallow(window) if choice.scheme == "shallow" else tree(window, choice.pairing)]
    inner = _inner(edge)
    if edge.rule == "guard":  # its chains are not merged, so a long one is deep
        fit = [plan for plan in horner(inner, sizes) if all(map(guardable, plan.stages))]
        return [plan for plan in fit if all(depth(stage.expr) < STAGE for stage in plan.stages)]
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


def _integers(spec: PoolSpec, window: Window, sizes: tuple[Size, ...], choice: Choice, target: Target) -> Conversion:
    """A chain of QLinearConv, zero point = lowest value: every number is >= 0 there, and its ReLU is saturation."""
    scheme: Scheme = "auto" if choice.scheme == "shallow" else choice.scheme  # a half is no integer weight
    layout: Channels = "grouped" if choice.channels == "depthwise" else choice.channels
    chain = Choice(scheme, "sequential", layout, target, pairing=choice.pairing)
    facts = InputFacts(lower=0.0, reason="padding with the zero point pads with the lowest integer")
    made = choose(spec, sizes, facts, chain, "float32")
    program = replace(made.program, rounding=Rounding())
    edge = made.border
    if edge.rule == "zero":
        edge = replace(edge, reason=facts.reason)
    return replace(made, window=window, border=edge, gate="saturating", program=program)


def _dynamic_same(why: str) -> Refused:
    return Refused(
        "DYNAMIC_SAME",
        f"the pads of auto_pad=SAME_* depend on a size known only at run time, and {why}.",
        "Fix the size with --shape NAME:1,3,224,224, or use --scheme tree with --target generic.",
    )
