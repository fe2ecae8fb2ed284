"""Specification + facts + target -> program: the one way from a pool to its convolutions."""

from __future__ import annotations

from dataclasses import replace
from math import inf, prod
from operator import itemgetter

import numpy as np
import numpy.typing as npt

from depool.averages import average
from depool.choice import Channels, Choice, FormName, Scheme, form_of, gates_of, known_words, layout
from depool.conversion import Conversion
from depool.errors import DepoolError, Refused, UsageError
from depool.facts import InputFacts
from depool.geometry import PoolSpec, Size, Window
from depool.lowering.forms import Builder
from depool.lowering.lower import adapted
from depool.lowering.padding import Border, border, guard
from depool.numerics import Rounding
from depool.plan.horner import Described
from depool.plan.tree import PAIRINGS
from depool.program import Conv, Program, Relu, shifted
from depool.ranking import RANKED, Costs, base_of, dynamic_same, ranked
from depool.target import Target, named


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
    channels: int = 0,
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
        channels: of its input, which may count for what is fast; 0 where not known.

    Raises:
        Refused: with the code that says why.
        UsageError: where the stages do not make this pool.
    """
    return choices(spec, sizes, facts, choice, dtype, given, stages, channels)[0]


def choices(
    spec: PoolSpec,
    sizes: tuple[Size, ...],
    facts: InputFacts,
    choice: Choice,
    dtype: npt.DTypeLike,
    given: tuple[Conversion, ...] = (),
    stages: Described = (),
    channels: int = 0,
) -> list[Conversion]:
    """Resolve the geometry, choose border, gate and form; lower each plan, adapt it to the target, and rank by cost.

    Takes and raises what `choose` does; the cheapest come first, `RANKED` of them at most.
    """
    target = named(choice.target)
    known_words(choice)
    window = spec.resolve(sizes)
    kernels = layout(choice, target)
    if choice.relu and (spec.kind != "max" or np.dtype(dtype).kind in "iu"):
        raise UsageError("relu belongs to max pools of floating-point numbers")
    if np.dtype(dtype).kind in "iu":
        return [_integers(spec, window, sizes, choice, target)]
    if not (target.asymmetric_pads and target.auto_pad) and isinstance(window.pads, str):
        raise dynamic_same(f"target {target.name} takes explicit symmetric pads only")
    if spec.kind == "average":
        mean = average(spec, window, sizes, target)
        return [replace(mean, channels=kernels, program=adapted(mean.program, target, kernels, mean.form))]
    form = form_of(choice, target)
    edges, masks = form != "sequential" and target.spatial_concat, form != "sequential" and target.large_constants
    edge = border(window, sizes, facts, choice.exact, edges=edges, masks=masks)
    base = base_of(given, edge.window, sizes, edge, facts, form) if kernels != "folded" else None
    sign = InputFacts(-inf if facts.signed else 0.0)
    wish = replace(choice, target=target)
    aligned = kernels != "folded" and channels % target.block == 0
    positive = form == "sequential" and not choice.exact and _pays_relu_first(window, facts, choice)
    if positive:
        sign = InputFacts(0.0)
    found: list[tuple[Costs, Conversion]] = []
    lacks: DepoolError | None = None
    for rule in _rules(edge, form, choice):
        gate = gates_of(choice, rule, facts, dtype)[2].name
        try:
            bare = replace(rule, reason="")
            rows = ranked(wish, bare, sizes, sign, form, str(np.dtype(dtype)), base, stages, aligned)
        except (Refused, UsageError) as error:
            lacks = lacks or error
            continue
        for costs, plan, program in rows:
            whole = _relu_first(program) if positive else program
            made = Conversion(spec, window, rule, plan.scheme, form, kernels, gate, whole, plan, aligned)
            found.append((costs, made))
    if not found:
        raise lacks or AssertionError("no plan")
    return [made for _, made in sorted(found, key=itemgetter(0))[:RANKED]]


def _rules(edge: Border, form: str, choice: Choice) -> list[Border]:
    """The border's rule, and what may cost less in its place."""
    chains = form == "branched" and choice.scheme in {"auto", "horner"} and choice.pairing == PAIRINGS[0]
    masked = edge.rule == "mask" and not isinstance(edge.window.pads, str)
    return [edge, guard(edge)] if masked and chains and not choice.exact else [edge]


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
