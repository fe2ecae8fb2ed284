"""Are two models of any framework equal? Their pools against their promises, then end to end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from math import inf
from typing import Any

import numpy as np

from depool.errors import UsageError
from depool.numerics import TYPES
from depool.program import Array
from depool.progress import Progress
from depool.record import Record
from depool.verification.around import Around, paired
from depool.verification.compare import difference, worse
from depool.verification.inputs import MODEL_KINDS, dims_of, model_values, pool_inputs
from depool.verification.judge import judge, notes
from depool.verification.layouts import Layouts, matched, moved, moved_shape, settled
from depool.verification.models import GIVEN, EndToEnd, given_arrays, refuse_unusable
from depool.verification.pools import Broken, compared, promise
from depool.verification.subjects import Port, Subject
from depool.verification.verdict import OutputCheck, PoolCheck, Verdict
from depool.verification.verify import Check, save

ANY_CHANNELS = 3
"""How many are drawn for a pool that takes any number."""


def verify_objects(
    original: Subject, converted: Subject, check: Check, layouts: Layouts | None, progress: Progress
) -> Verdict:
    """Verify a model against another.

    Where depool converted the second from a model of the same framework as the first, every pool must keep its
    promise and all other weights must be as they were. Any other pair is compared end to end, at `check.tolerance`.

    Raises:
        UsageError: where the inputs do not fit each other, or their shapes are not known.
    """
    rng = np.random.default_rng(check.seed)
    known = converted.converted if original.framework == converted.framework else None
    before = {record.where for record in original.converted.records} if original.converted is not None else set()
    records = tuple(
        replace(record, source=record.where)
        for record in (known.records if known is not None else ())
        if record.where not in before
    )
    changes = changed_weights(original.state(), converted.state()) if records else []
    pools, broken = [], None
    for i, record in enumerate(records):
        progress("verifying pools", i, len(records))
        found, wrong = check_pool(record, original, converted, rng)
        pools.append(found)
        broken = broken or wrong
    whole = _end_to_end(original, converted, records, check, layouts, rng, progress) if check.end_to_end else EndToEnd()
    checks = whole.outputs
    if not records or changes:
        checks = tuple(replace(c, within=c.difference.tolerance <= check.tolerance) for c in checks)
    equal, summary = judge(tuple(pools), checks, whole, changes, records, check.tolerance)
    saved = None
    if equal is False:
        saved = save(check.counterexample, broken, whole.failed or whole.worst)
    return Verdict(equal, summary, tuple(pools), checks, notes(whole, records, changes, checks), saved)


def check_pool(
    record: Record, original: Subject, converted: Subject, rng: np.random.Generator
) -> tuple[PoolCheck, Broken | None]:
    """One pool: the framework's own and its replacement get the same tensors."""
    record = replace(record, channels=record.channels or ANY_CHANNELS)
    native, made = original.sides(record.where, converted)
    dtype = np.dtype(TYPES.get(record.dtype, record.dtype))
    check = PoolCheck(record.where, None, promise(record), oracle=f"{original.name} against its convolutions")
    for kind, x in pool_inputs(record, rng):
        expected, size, got = native(x), native(np.abs(x)), made(x)
        if got.shape != expected.shape:
            note = f"its shape is {list(got.shape)}, not {list(expected.shape)}"
            return replace(check, equal=False, kind=kind, note=note), Broken(record.where, x, expected, got, ())
        bound = record.rounding_bound(size.astype(np.float64), dtype)
        check, index = compared(check, kind, expected, got, bound)
        if index is not None:
            return check, Broken(record.where, x, expected, got, index)
    return replace(check, equal=True) if check.windows else check, None


def changed_weights(before: Mapping[str, Array], after: Mapping[str, Array]) -> list[str]:
    """What else is not as it was."""
    found = [f"{name} is missing" for name in before.keys() - after.keys()]
    found += [f"{name} is new" for name in after.keys() - before.keys()]
    for name in before.keys() & after.keys():
        if before[name].shape != after[name].shape or not np.array_equal(before[name], after[name], equal_nan=True):
            found.append(f"{name} has other values")
    return sorted(found)


def _end_to_end(
    original: Subject,
    converted: Subject,
    records: tuple[Record, ...],
    check: Check,
    layouts: Layouts | None,
    rng: np.random.Generator,
    progress: Progress,
) -> EndToEnd:
    order = matched(original.inputs, converted.inputs)
    layout = layouts or settled(original, converted, order)
    ports = _known(original, converted, order, layout, dict(check.shapes))
    around = Around.of(original, converted, records) if records else None
    found: dict[str, OutputCheck] = {}
    drawn: dict[str, tuple[float, float]] = {}
    given: dict[str, tuple[float, float]] = {}
    biggest: dict[str, float] = {}
    finite: set[str] = set()
    said: dict[str, None] = {}
    worst: Any = None
    watched = drawn

    def seen(where: str, x: Array) -> None:
        if not x.size:
            return
        low, high = watched.get(where, (inf, -inf))
        watched[where] = (min(low, float(x.min())), max(high, float(x.max())))

    for count, (kind, arrays) in enumerate(_fed(ports, check, rng)):
        progress("end to end", count, len(MODEL_KINDS))
        watched = given if kind == GIVEN else drawn
        expected = original(arrays, seen)
        results = paired(expected, converted([moved(arrays[place], *layout) for place in order]))
        if around is not None and (text := around.differs(arrays, expected, results, seen, check.tolerance)):
            return EndToEnd(notes=(text,), failed=_named(ports, arrays))
        averaged = around.averaged(arrays) if around is not None else {}
        for name, value in expected.items():
            got = moved(results[name], layout[1], layout[0])
            if got.shape != value.shape:
                text = f"output {name!r} has shape {list(got.shape)}, not {list(value.shape)}"
                return EndToEnd(notes=(text,), failed=_named(ports, arrays))
            if got.dtype != value.dtype:
                said[f"output {name!r} is {got.dtype}, not {value.dtype}"] = None
            if np.isfinite(value.astype(np.float64)).any():
                finite.add(name)
            here = difference(value, got)
            if name in averaged:
                biggest[name] = max(biggest.get(name, 0.0), difference(value, averaged[name]).max_abs)
            if name not in found or worse(found[name].difference, here):
                found[name] = OutputCheck(name, here, kind)
                worst = _named(ports, arrays)
    checks = tuple(
        replace(c, noticed=biggest[c.name] > c.difference.max_abs, swapped=biggest[c.name]) if c.name in biggest else c
        for c in found.values()
    )
    open_ends = [f"what {r.where} gets was declared, and could not be watched" for r in records
                 if r.facts.declared and r.where not in drawn]  # fmt: skip
    open_ends += [f"output {name!r} is never finite" for name in found if name not in finite]
    return EndToEnd(checks, drawn, given, tuple(said), worst, next(iter(open_ends), ""))


def _known(
    one: Subject,
    other: Subject,
    order: Sequence[int],
    layouts: Layouts,
    given: Mapping[str, tuple[int, ...]],
) -> list[Port]:
    """The inputs of the first model, with what the user or the second model knows of their shapes."""
    found = []
    for place, port in enumerate(one.inputs):
        twin = other.inputs[order.index(place)]
        shape = given.get(port.name, given.get(twin.name, port.shape))
        if twin.shape is not None:
            theirs = moved_shape(twin.shape, layouts[1], layouts[0])
            shape = theirs if shape is None else tuple(a or b for a, b in zip(shape, theirs, strict=True))
        if shape is None:
            raise UsageError(
                f"the shape of the input {port.name!r} is not known; give shapes={{{port.name!r}: (1, 3, 224, 224)}}, "
                "or convert with example inputs"
            )
        found.append(replace(port, shape=shape, dtype=port.dtype or twin.dtype or one.dtype))
    return found


def _fed(ports: Sequence[Port], check: Check, rng: np.random.Generator) -> Iterator[tuple[str, list[Array]]]:
    """Inputs of every kind, then the user's own."""
    yield from _drawn(ports, check, rng)
    if check.data is not None:
        arrays = given_arrays(check.data)
        for port in ports:
            if port.name not in arrays:
                held = ", ".join(arrays) or "none"
                raise UsageError(f"{check.data}: has no array {port.name!r}; it has {held}")
            refuse_unusable(check.data, port.name, arrays[port.name])
        yield GIVEN, [arrays[port.name].astype(np.dtype(TYPES.get(port.dtype, port.dtype))) for port in ports]


def _drawn(ports: Sequence[Port], check: Check, rng: np.random.Generator) -> Iterator[tuple[str, list[Array]]]:
    ranges = dict(check.ranges)
    for kind in MODEL_KINDS:
        arrays = []
        for port in ports:
            shape = dims_of(tuple("?" if n is None else n for n in port.shape or ()), (64, 48), batch=2)
            dtype = np.dtype(TYPES.get(port.dtype, port.dtype))
            low, high = ranges.get(port.name, ranges.get("", (-inf, inf)))
            floats = dtype.kind == "f" or dtype.name == "bfloat16"
            values = model_values(kind, rng, shape, low, high) if floats else rng.integers(0, 2, shape)
            arrays.append(values.astype(dtype))
        yield kind, arrays


def _named(ports: Sequence[Port], arrays: Sequence[Array]) -> dict[str, Array]:
    return {port.name: array for port, array in zip(ports, arrays, strict=True)}
