"""Are two models equal? Pool by pool against the promise, then end to end."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any

import numpy as np

from depool.errors import DepoolError, UsageError
from depool.onnx import files
from depool.onnx.ensures import changed_elsewhere, changed_interface, foreign_operators
from depool.onnx.find import Selection, find
from depool.onnx.graph import scopes
from depool.onnx.prepare import prepared
from depool.onnx.records import Given, read_given, read_records
from depool.program import Array
from depool.progress import Progress
from depool.record import Record
from depool.verification.judge import judge, notes
from depool.verification.models import EndToEnd, Feeds, compare_models, drawn_inputs, given_inputs
from depool.verification.pools import Broken, check_pool, sites_by_output
from depool.verification.special import check_special
from depool.verification.verdict import PoolCheck, SpecialCheck, Verdict


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
        counterexample: where to save an input that shows a difference; nowhere if None.
    """

    seed: int = 0
    data: Path | None = None
    shapes: tuple[tuple[str, tuple[int, ...]], ...] = ()
    ranges: tuple[tuple[str, tuple[float, float]], ...] = ()
    tolerance: float = 1e-5
    end_to_end: bool = True
    nonfinite: bool = False
    counterexample: Path | None = Path("counterexample.npz")


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
    if not records:
        _same_inputs(original, converted)
    original = replace(original, model=prepared(original.model, given.shapes, given.opset))
    check = replace(check, ranges=check.ranges or given.ranges)
    known = set(read_records(original.model))
    records = tuple(record for record in records if record not in known)
    changes = list(changed_interface(original.model, converted.model)) if records else []
    if records:
        changes += changed_elsewhere(original.model, converted.model, original.folder, converted.folder, records)
        changes += foreign_operators(original.model, converted.model, converted.folder, records)
    pools, broken = _pools(original, converted, records, given, rng, progress) if records else ((), None)
    whole = (
        _whole(original, converted, records, check, dict(given.ranges), rng, progress)
        if check.end_to_end
        else EndToEnd()
    )
    checks = whole.outputs
    if not records or changes:
        checks = tuple(replace(c, within=c.difference.tolerance <= check.tolerance) for c in checks)
    equal, summary = judge(pools, checks, whole, changes, records, check.tolerance)
    saved = None
    if equal is False:
        saved = save(check.counterexample, broken, whole.failed or whole.worst)
    special = _special(original, converted, records) if check.nonfinite else ()
    said = notes(whole, records, changes, checks)
    if check.nonfinite and (folded := [record.where for record in records if record.folded]):
        said = (*said, f"special values are not shown for {', '.join(folded)}, folded into a convolution")
    return Verdict(equal, summary, pools, checks, said, saved, special)


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
    declared: dict[str, tuple[float, float]],
    rng: np.random.Generator,
    progress: Progress,
) -> EndToEnd:
    inputs = drawn_inputs(original.model, dict(check.shapes), dict(check.ranges), rng)
    undeclared = ""
    if check.data is not None:
        own = list(given_inputs(original.model, check.data))
        undeclared = _undeclared(own[0][1], declared)
        inputs = chain(inputs, own)
    return replace(compare_models(original, converted, records, inputs, progress), undeclared=undeclared)


def _same_inputs(original: files.Source, converted: files.Source) -> None:
    names = [
        {v.name for v in s.model.graph.input} - {t.name for t in s.model.graph.initializer}
        for s in (original, converted)
    ]
    if names[0] != names[1]:
        one, other = (", ".join(sorted(n)) for n in names)
        raise UsageError(f"the two models take different inputs ({one}; {other}), so they cannot be compared")


def _undeclared(feeds: Feeds, declared: dict[str, tuple[float, float]]) -> str:
    """The first of the given arrays that lies outside what the conversion was told of it."""
    for name, array in feeds.items():
        low, high = declared.get(name, declared.get("", (-inf, inf)))
        if array.min() < low or array.max() > high:
            return f"the given {name!r} reaches [{array.min():.6g}, {array.max():.6g}], declared [{low:g}, {high:g}]"
    return ""


def _plain(array: Array) -> Array:
    """NumPy's files know no bfloat16; float32 holds its values."""
    return array.astype(np.float32) if array.dtype.name == "bfloat16" else array


def save(path: Path | None, broken: Broken | None, feeds: Feeds | None) -> Path | None:
    """Save an input that shows a difference: of a pool, else of the whole model."""
    if path is None:
        return None
    try:
        if broken is not None:
            np.savez_compressed(
                path, pool=np.array(broken.where), x=_plain(broken.x), expected=_plain(broken.expected),
                got=_plain(broken.got),
                index=np.array(broken.index, np.int64),
            )  # fmt: skip
        elif feeds is not None:
            arrays: dict[str, Any] = {name: _plain(array) for name, array in feeds.items()}
            np.savez_compressed(path, **arrays)
        else:
            return None
    except OSError as error:
        raise DepoolError(f"{path}: the counterexample cannot be written ({error.strerror})") from error
    return path
