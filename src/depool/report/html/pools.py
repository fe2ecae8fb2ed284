"""What a report shows of a pool, the same for one that was converted and for one that was planned."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from depool.conversion import Conversion
from depool.onnx.inspect import Cost, Planned, cost
from depool.record import Record
from depool.report import words
from depool.report.html import charts
from depool.report.html.boxes import Box, program_boxes
from depool.report.html.network import network
from depool.report.html.sheets import NONE
from depool.report.html.svg import Drawn
from depool.report.html.typeset import typeset
from depool.verification.verdict import PoolCheck

OVERVIEW = ("pool", "geometry", "becomes", "ReLU layers", "MACs / sample", "comparisons / sample", "checked")
"""The columns of the table of all pools."""


@dataclass(frozen=True)
class Pool:
    """One pool.

    Attributes:
        key: unique on the page.
        name: of the node.
        title: its geometry and its input.
        status: ``kept``, ``unsure``, ``refused`` or ``planned``; what its sign looks like.
        said: the same in words.
        rows: (label, text).
        before, after, price, errors: pictures, where there are any.
        brief: its row in the table of all pools.
    """

    key: str
    name: str
    title: str
    status: str
    said: str
    rows: tuple[tuple[str, str], ...]
    before: Drawn | None = None
    after: Drawn | None = None
    price: Drawn | None = None
    errors: Drawn | None = None
    brief: tuple[str, ...] = ()


def converted(key: str, record: Record, conversion: Conversion, check: PoolCheck | None) -> Pool:
    """A pool that became convolutions, and how it was checked."""
    title = typeset(words.geometry(record.op_type, record.spec))
    tensor = typeset(words.tensor(record.channels or None, record.sizes, record.dtype))
    price = cost(conversion, record.channels or 1, record.sizes, record.dtype)
    status, said = _kept(check)
    rows = [
        ("input", typeset(words.facts(record.facts))),
        *_plan_rows(conversion, price),
        *([("promise", typeset(check.promise))] if check is not None else []),
        *_measured(check),
    ]
    counted = check.errors if check is not None and check.difference is not None and check.bound > 0 else None
    return Pool(
        key, record.where, f"{title} on {tensor}", status, said, tuple(rows),
        *_pictures(key, title, conversion, price, record.channels or None),
        errors=charts.errors(f"{key}-errors", counted) if counted is not None else None,
        brief=_brief(record.where, title, conversion, price, said),
    )  # fmt: skip


def planned_pool(key: str, planned: Planned) -> Pool:
    """A pool that would become convolutions, or would be refused."""
    site, conversion, price = planned.site, planned.conversion, planned.cost
    title = typeset(words.geometry(site.node.op_type, site.spec))
    whole = f"{title} on {typeset(words.tensor(site.channels, site.sizes, site.dtype))}"
    rows = [("input", f"from {planned.preceded_by}; {typeset(words.facts(site.facts))}")]
    if conversion is None or price is None:
        refusal = planned.refusal
        rows += [("refused", f"{refusal.code}: {refusal.reason}"), ("to do", refusal.fix)] if refusal else []
        brief = (site.where, title, "refused", NONE, NONE, NONE, "would be refused")
        return Pool(key, site.where, whole, "refused", "would be refused", tuple(rows), brief=brief)
    rows += [*_plan_rows(conversion, price), ("promise", typeset(planned.promise))]
    rows += [("warning", planned.warning)] if planned.warning else []
    return Pool(
        key, site.where, whole, "planned", "can be converted", tuple(rows),
        *_pictures(key, title, conversion, price, site.channels),
        brief=_brief(site.where, title, conversion, price, "not run"),
    )  # fmt: skip


def _plan_rows(conversion: Conversion, price: Cost) -> Iterator[tuple[str, str]]:
    yield "border", f"{conversion.border.rule}: {conversion.border.reason}"
    yield "plan", words.how(conversion.scheme, conversion.form, conversion.channels, conversion.gate)
    yield "depth", words.relus(conversion)
    yield "weights", f"{words.count(price.parameters)} parameters ({words.size(price.weight_bytes)})"
    nominal = f", counted at {'×'.join(map(str, price.sizes))} since the sizes are dynamic" if price.nominal else ""
    yield "memory", f"{words.size(price.activation_bytes)} of activations alive at once{nominal}"


def _measured(check: PoolCheck | None) -> Iterator[tuple[str, str]]:
    if check is None:
        yield "checked", "not verified"
    elif check.equal is None:
        yield "checked", f"could not be run: {check.note}"
    elif check.difference is None or check.bound == 0:
        yield "checked", f"{check.windows:,} outputs, all identical"
    else:
        found = check.difference
        yield "checked", f"{check.windows:,} outputs stay within {check.share:.0%} of the bound"
        size = f"{found.max_abs:.3g} ({found.max_ulp:.3g} ulp)"
        yield "worst", f"{size} off {found.expected:.3g}, on input ‘{check.kind}’; the bound there is {check.bound:.3g}"
    if check is not None and check.oracle:
        yield "ran", check.oracle


def _pictures(
    key: str, title: str, conversion: Conversion, price: Cost, channels: int | None
) -> tuple[Drawn, Drawn, Drawn]:
    """Before, after, and the cost of both."""
    dynamic = (None,) * len(price.sizes) if price.nominal else price.sizes
    outputs = conversion.window.out_sizes(price.sizes)
    given = typeset(words.shape(channels, dynamic))
    gives = typeset(words.shape(channels, (None,) * len(outputs) if price.nominal else outputs))
    name, *more = title.split(", ")
    lines = tuple(more)
    native = [Box("tensor", "input", (given,)), Box("pool", name, lines, (0,)), Box("tensor", "output", (gives,), (1,))]
    relus = price.relus_per_output * prod(outputs) * (channels or 1)
    return (
        network(f"{key}-before", "Before: the pool", native),
        network(f"{key}-after", "After: its convolutions", program_boxes(conversion, given, gives)),
        charts.cost(
            f"{key}-cost",
            [("comparisons", float(price.comparisons)), ("ReLUs", relus), ("MACs", float(price.macs))],
        ),
    )


def _brief(where: str, title: str, conversion: Conversion, price: Cost, said: str) -> tuple[str, ...]:
    numbers = (str(price.relu_layers), words.count(price.macs), words.count(price.comparisons))
    return (where, title, words.how(conversion.scheme, conversion.form, conversion.channels, conversion.gate),
            *numbers, said)  # fmt: skip


def _kept(check: PoolCheck | None) -> tuple[str, str]:
    if check is None:
        return "unsure", "not verified"
    if check.equal is None:
        return "unsure", "could not be run"
    return ("kept", "keeps its promise") if check.equal else ("refused", "breaks its promise")
