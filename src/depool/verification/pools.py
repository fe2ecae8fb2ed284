"""The promise, pool by pool: both sides get the same tensor, and must agree within the bound."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx

from depool.choice import Choice
from depool.conversion import Conversion
from depool.errors import DepoolError
from depool.numerics import TYPES, statement
from depool.onnx.ensures import ALLOWED
from depool.onnx.graph import Scope
from depool.onnx.site import PoolSite, plan_site
from depool.program import Array, Conv
from depool.record import Record
from depool.target import GENERIC, Target
from depool.verification.compare import difference
from depool.verification.folded import bounds, joint
from depool.verification.histogram import histogram
from depool.verification.inputs import pool_inputs
from depool.verification.oracle import CannotRunError, Runner
from depool.verification.regions import RegionError, region
from depool.verification.verdict import PoolCheck


@dataclass(frozen=True, eq=False)
class Broken:
    """An input on which a promise is broken."""

    where: str
    x: Array
    expected: Array
    got: Array
    index: tuple[int, ...]


def check_pool(
    recorded: Record, site: PoolSite | None, original: Scope, converted: Scope, rng: np.random.Generator
) -> tuple[PoolCheck, Broken | None]:
    """Check one pool.

    Args:
        recorded: what the conversion says of it.
        site: the same pool as found in the original now, or None where it is not there.
        original: the scope that the pool stands in.
        converted: the scope that its convolutions stand in.
        rng: draws the inputs.
    """
    record = recorded
    check = PoolCheck(record.where, None, promise(record))
    untrue, again = _untrue(record, site)
    if untrue:
        return replace(check, equal=False, note=untrue), None
    try:
        oracle = pool = original_side(record, original)
        allowed = _allowed(record, pool)
        if record.folded:
            record, allowed = _folded(record, pool, original, converted, again)
            oracle = original_side(record, original)
            check = replace(check, promise=f"{check.promise}, and then what its convolution and the composed one round")
        sides = replacement_sides(record, converted)
    except RegionError as error:
        return replace(check, equal=False, note=str(error)), None
    except CannotRunError as error:
        return replace(check, note=str(error)), None
    check = replace(check, oracle=f"{oracle.name} against {sides[0].name}")
    for kind, x in pool_inputs(record, rng):
        try:
            expected, bound = oracle(x), allowed(x)
        except CannotRunError as error:
            check = replace(check, note=f"the original pool does not run: {error}")
            continue
        for side in sides:
            try:
                got = side(x)
            except CannotRunError as error:
                broken = Broken(record.where, x, expected, np.zeros(0), ())
                return replace(check, equal=False, kind=kind, note=str(error)), broken
            if got.shape != expected.shape:
                note = f"its shape is {list(got.shape)}, not {list(expected.shape)}"
                return replace(check, equal=False, kind=kind, note=note), Broken(record.where, x, expected, got, ())
            check, index = compared(check, kind, expected, got, bound)
            if index is not None:
                return check, Broken(record.where, x, expected, got, index)
    if check.windows:
        check = replace(check, equal=True, note="")
    return check, None


Allowed = Callable[[Array], Array]
"""What the result may differ by, for an input."""


def _allowed(record: Record, pool: Side) -> Allowed:
    dtype = np.dtype(TYPES.get(record.dtype, record.dtype))
    integers = dtype.kind in "iu"
    return lambda x: record.rounding_bound(pool(x if integers else np.abs(x)).astype(np.float64), dtype)


def _folded(
    record: Record, pool: Side, original: Scope, converted: Scope, again: Conversion | None
) -> tuple[Record, Allowed]:
    """A pool and the convolution that it is one with, as one; and their bound."""
    nodes = again.program.nodes if again is not None else ()
    last = nodes[-1].kernel if nodes and isinstance(nodes[-1], Conv) else None
    both = joint(record, original, converted, last, alone=len(nodes) == 1)
    return both.record, bounds(both, record, pool)


def promise(record: Record) -> str:
    """The floating-point promise in words."""
    dtype = np.dtype(TYPES.get(record.dtype, record.dtype))
    after = " after the ReLU" if record.facts.relu_follows else ""
    return statement(record.rounding, dtype, record.facts.max_abs) + after


def compared(
    check: PoolCheck, kind: str, expected: Array, got: Array, bound: Array
) -> tuple[PoolCheck, tuple[int, ...] | None]:
    """The check with this comparison in it, and where it fails, if it does."""
    found = difference(expected, got)
    apart = np.abs(expected.astype(np.float64) - got.astype(np.float64))
    wrong = ~(apart <= bound)  # a NaN is wrong too
    counted = check.errors + histogram(apart, bound)
    check = replace(check, windows=counted.total, errors=counted)
    if wrong.any():
        excess = np.where(wrong, np.nan_to_num(apart - bound, nan=np.inf, posinf=np.inf), -1)
        at = tuple(int(i) for i in np.unravel_index(int(np.argmax(excess)), apart.shape))
        return replace(
            check,
            equal=False,
            kind=kind,
            difference=replace(found, index=at, expected=float(expected[at]), got=float(got[at])),
            bound=float(bound[at]),
            note=f"differs by {apart[at]:.6g} where {bound[at]:.3g} is promised, on {kind}",
        ), at
    share = np.divide(apart, bound, out=np.zeros_like(apart), where=bound > 0)
    if check.difference is None or share.max(initial=0) > check.share:
        at = tuple(int(i) for i in np.unravel_index(int(np.argmax(share)), share.shape))
        found = difference(expected[at].reshape(1), got[at].reshape(1))
        found = replace(found, index=at)
        check = replace(check, difference=found, kind=kind, bound=float(bound[at]), share=float(share[at]))
    return check, None


BOUNDER = Target("bounder", "shifts a signed input with branches", spatial_concat=False, bounds="linear")
"""Of a target, a promise depends on this alone: where the border of a branched program is shifted."""


def _untrue(record: Record, site: PoolSite | None) -> tuple[str, Conversion | None]:
    """Why the record does not describe the original's pool, or nothing; and the pool's conversion, made anew."""
    if site is None:
        return "the original has no such pool", None
    if (site.source, site.inner, site.spec, site.sizes, site.channels, site.dtype) != (
        record.source, record.inner, record.spec, record.sizes, record.channels, record.dtype,
    ):  # fmt: skip
        return "its recorded geometry is not the original's", None
    if site.node.op_type != record.op_type:
        return f"its recorded operator {record.op_type} is not the original's {site.node.op_type}", None
    facts = record.facts
    if facts.relu_follows and not site.facts.relu_follows:
        return "the conversion assumed that only ReLUs read it, and the original does not say so", None
    if facts.lower > site.facts.lower or facts.upper < site.facts.upper:
        return f"the conversion assumed an input in [{facts.lower:g}, {facts.upper:g}], which nothing licenses", None
    scheme: Any = "auto" if record.average else record.scheme
    form: Any = "auto" if record.average else record.form
    layout: Any = record.layout
    target = BOUNDER if record.border == "shift" and record.form != "sequential" else GENERIC
    choice = Choice(scheme, form, layout, target, exact=record.exact)
    try:
        again = plan_site(replace(site, facts=facts), choice, stages=record.stages)
    except DepoolError as error:
        return f"this version of depool would refuse it ({error})", None
    if again.program.rounding != record.rounding or again.border.rule != record.border:
        return "its recorded promise is not what this version of depool derives; convert the original again", None
    return "", again


def original_side(record: Record, scope: Scope) -> Side:
    """The original pool; in float32 where the type is bfloat16, since a maximum does not depend on it."""
    dtype = "float32" if record.dtype == "bfloat16" else record.dtype
    return Side(cut(record, scope, dtype), record, dtype, optimised=False)


def replacement_sides(record: Record, scope: Scope) -> list[Side]:
    """The convolutions, with the runtime's optimisations off and, as users run them, on."""
    model = cut(record, scope, record.dtype)
    allowed = ALLOWED | {"Reshape"} if record.layout == "folded" else ALLOWED
    foreign = {node.op_type for node in model.graph.node} - allowed
    if foreign:
        raise RegionError(f"its replacement contains {', '.join(sorted(foreign))}")
    return [Side(model, record, record.dtype, optimised=optimised) for optimised in (False, True)]


def cut(record: Record, scope: Scope, dtype: str) -> onnx.ModelProto:
    """The pool, or what stands in its place, as a model of its own; a ReLU behind it included.

    Raises:
        RegionError: where the scope does not hold it in one piece.
    """
    return region(
        scope, record.source, record.output, record.channels, record.sizes, dtype, relu=record.facts.relu_follows
    )


class Side:
    """A cut-out model, from array to array.

    Args:
        model: the region.
        record: the pool's.
        dtype: NumPy's name of the type that it runs in.
        optimised: with the runtime's optimisations.
    """

    def __init__(self, model: onnx.ModelProto, record: Record, dtype: str, *, optimised: bool) -> None:
        self._run = Runner(model, optimised=optimised)
        self._source = record.source
        self._dtype = np.dtype(TYPES.get(dtype, dtype))
        self._result = np.dtype(TYPES.get(record.dtype, record.dtype))
        self.name = self._run.name

    def __call__(self, x: Array) -> Array:
        """Run on one input.

        Raises:
            CannotRunError: where the runtime fails on it.
        """
        return self._run({self._source: x.astype(self._dtype)})[0].astype(self._result)


def sites_by_output(found: Iterator[Any]) -> dict[tuple[str, str], PoolSite]:
    """Pools of a model by scope path and output name."""
    return {(item.scope.path, item.output): item for item in found if isinstance(item, PoolSite)}
