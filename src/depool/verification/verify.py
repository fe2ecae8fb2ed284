"""Are two models equal? Pool by pool against the promise, then end to end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from depool.errors import DepoolError
from depool.onnx import files
from depool.onnx.ensures import changed_elsewhere, changed_interface, foreign_operators
from depool.onnx.find import Selection, find
from depool.onnx.graph import scopes
from depool.onnx.prepare import prepared
from depool.onnx.records import Given, Record, read_given, read_records
from depool.verification.models import EndToEnd, Feeds, compare_models, drawn_inputs, given_inputs
from depool.verification.pools import Broken, check_pool, sites_by_output
from depool.verification.special import check_special
from depool.verification.verdict import OutputCheck, PoolCheck, SpecialCheck, Verdict

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class Check:
    """How to verify.

    Attributes:
        seed: of the drawn inputs.
        data: an .npz of the user's inputs, run besides the drawn ones.
        shapes: of the model's inputs, where they are dynamic.
        ranges: (low, high) by input name, "" for all; drawn inputs stay inside.
        tolerance: the t of |a - b| <= t + t |b|, for models that carry no promise.
        end_to_end: whether to run the whole models as well.
        nonfinite: whether to show what becomes of infinities, NaN and other special values.
        counterexample: where to save an input that shows a difference.
    """

    seed: int = 0
    data: Path | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()
    tolerance: float = 1e-5
    end_to_end: bool = True
    nonfinite: bool = False
    counterexample: Path = Path("counterexample.npz")


def verify_sources(original: files.Source, converted: files.Source, check: Check, progress: Progress) -> Verdict:
    """Verify a converted model against its original.

    With the `depool.*` metadata in it, every recorded pool must keep its promise and all else must be as it
    was. Without, the two are only compared end to end, at `check.tolerance`.

    Raises:
        FileError, UsageError: where the inputs cannot be read or do not fit.
    """
    rng = np.random.default_rng(check.seed)
    records = read_records(converted.model)
    given = read_given(converted.model)
    original = replace(original, model=prepared(original.model, given.shapes, given.opset))
    check = replace(check, ranges=check.ranges or given.ranges)
    known = read_records(original.model)
    records = tuple(record for record in records if record not in known)
    changes = list(changed_interface(original.model, converted.model)) if records else []
    if records:
        changes += changed_elsewhere(original.model, converted.model, original.folder, converted.folder, records)
        changes += foreign_operators(original.model, converted.model, converted.folder)
    pools, broken = _pools(original, converted, records, given, rng, progress) if records else ((), None)
    whole = _whole(original, converted, records, check, rng, progress) if check.end_to_end else EndToEnd()
    checks = whole.outputs
    if not records or changes:
        checks = tuple(replace(c, within=c.difference.tolerance <= check.tolerance) for c in checks)
    notes = _notes(whole, records, changes, checks)
    equal, summary = _judge(pools, checks, whole, changes, records, check)
    saved = None
    if equal is False:
        saved = _save(check.counterexample, broken, whole.failed or whole.worst)
    special = _special(original, converted, records) if check.nonfinite else ()
    return Verdict(equal, summary, pools, checks, notes, saved, special)


def _pools(
    original: files.Source,
    converted: files.Source,
    records: tuple[Record, ...],
    given: Given,
    rng: np.random.Generator,
    progress: Progress,
) -> tuple[tuple[PoolCheck, ...], Broken | None]:
    selection = Selection(pools="all", ranges=given.ranges, nonnegative=given.nonnegative)
    sites = sites_by_output(find(original.model, original.folder, selection))
    before = {scope.path: scope for scope in scopes(original.model, original.folder)}
    after = {scope.path: scope for scope in scopes(converted.model, converted.folder)}
    checks = []
    first: Broken | None = None
    for i, record in enumerate(records):
        progress("verifying pools", i, len(records))
        if record.scope not in before or record.scope not in after:
            checks.append(PoolCheck(record.where, False, "", note=f"{record.scope} is missing"))
            continue
        site = sites.get((record.scope, record.output))
        check, broken = check_pool(record, site, before[record.scope], after[record.scope], rng)
        checks.append(check)
        first = first or broken
    progress("verifying pools", len(records), len(records))
    return tuple(checks), first


def _special(original: files.Source, converted: files.Source, records: tuple[Record, ...]) -> tuple[SpecialCheck, ...]:
    before = {scope.path: scope for scope in scopes(original.model, original.folder)}
    after = {scope.path: scope for scope in scopes(converted.model, converted.folder)}
    return tuple(
        shown
        for record in records
        if record.scope in before and record.scope in after
        for shown in check_special(record, before[record.scope], after[record.scope])
    )


def _whole(
    original: files.Source,
    converted: files.Source,
    records: tuple[Record, ...],
    check: Check,
    rng: np.random.Generator,
    progress: Progress,
) -> EndToEnd:
    ranges = dict(check.ranges)
    drawn = drawn_inputs(original.model, dict(check.shapes), ranges, rng)
    whole = compare_models(original, converted, records, drawn, progress)
    if check.data is None:
        return whole
    given = compare_models(original, converted, records, given_inputs(original.model, check.data), progress)
    merged = {c.name: c for c in whole.outputs}
    for c in given.outputs:
        if c.name not in merged or c.difference.max_abs > merged[c.name].difference.max_abs:
            merged[c.name] = c
    seen = {
        name: (min(a[0], b[0]), max(a[1], b[1]))
        for name in whole.ranges.keys() | given.ranges.keys()
        for a, b in [(whole.ranges.get(name, given.ranges.get(name)), given.ranges.get(name, whole.ranges.get(name)))]
        if a is not None and b is not None
    }
    return EndToEnd(
        tuple(merged.values()), seen, (*whole.notes, *given.notes), given.worst or whole.worst,
        given.failed or whole.failed,
    )  # fmt: skip


def broken_assumptions(
    records: tuple[Record, ...], seen: Mapping[str, tuple[float, float]]
) -> list[tuple[Record, str]]:
    """Records whose pool met values outside the range that its conversion relies on."""
    found = []
    for record in records:
        low, high = seen.get(record.source, (0.0, 0.0))
        if record.source in seen and (low < record.facts.lower or high > record.facts.upper):
            text = f"{record.where}: values in [{low:.6g}, {high:.6g}] met an input "
            found.append(
                (
                    record,
                    f"{text}{record.facts.reason or 'bound'} in [{record.facts.lower:.6g}, {record.facts.upper:.6g}]",
                )
            )
    return found


def _notes(
    whole: EndToEnd, records: tuple[Record, ...], changes: list[str], checks: tuple[OutputCheck, ...]
) -> tuple[str, ...]:
    notes = list(whole.notes)
    for record, text in broken_assumptions(records, whole.ranges):
        kind = "a broken assumption, not a wrong conversion" if record.facts.declared else "the analysis is wrong"
        notes.append(f"{text}: {kind}")
    if changes:
        notes.append(f"besides the pools, {len(changes)} things differ, first: {changes[0]}")
    blind = [check.name for check in checks if check.noticed is False]
    if blind:
        notes.append(
            f"average pools instead of the max pools would not be noticed at {', '.join(blind)}: "
            "what is known of these outputs rests on the pools' own comparison"
        )
    return tuple(notes)


def _judge(
    pools: tuple[PoolCheck, ...],
    checks: tuple[OutputCheck, ...],
    whole: EndToEnd,
    changes: list[str],
    records: tuple[Record, ...],
    check: Check,
) -> tuple[bool | None, str]:
    """Equal or not, and why; the first reason that decides."""
    bad = [pool for pool in pools if pool.equal is False]
    if bad:
        return False, f"{len(bad)} of {len(pools)} pools break their promise; {bad[0].where}: {bad[0].note}"
    if whole.failed is not None:
        return False, whole.notes[-1]
    unlicensed = [text for record, text in broken_assumptions(records, whole.ranges) if not record.facts.declared]
    if unlicensed:
        return False, unlicensed[0]
    if any(c.within is False for c in checks):
        worst = max(checks, key=lambda c: c.difference.tolerance)
        smallest = worst.difference.tolerance
        return False, f"output {worst.name!r} differs; the smallest tolerance that would pass is {smallest:.3g}"
    open_pools = [pool for pool in pools if pool.equal is None]
    if open_pools:
        return None, f"{open_pools[0].where} could not be run: {open_pools[0].note}"
    if records and not changes:
        return True, f"equal: {len(pools)} pools keep their promise, and nothing else was changed"
    if not checks:
        return None, "nothing could be compared; see the notes"
    return True, f"equal within {check.tolerance:g} as measured end to end; nothing is promised"


def _save(path: Path, broken: Broken | None, feeds: Feeds | None) -> Path | None:
    try:
        if broken is not None:
            np.savez_compressed(
                path, pool=np.array(broken.where), x=broken.x, expected=broken.expected, got=broken.got,
                index=np.array(broken.index, np.int64),
            )  # fmt: skip
        elif feeds is not None:
            arrays: dict[str, Any] = dict(feeds)
            np.savez_compressed(path, **arrays)
        else:
            return None
    except OSError as error:
        raise DepoolError(f"{path}: the counterexample cannot be written ({error.strerror})") from error
    return path
