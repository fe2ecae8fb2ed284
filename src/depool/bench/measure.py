"""Time the candidates: each pool, then the whole models."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from depool.bench.candidates import Converted, PoolCase, model_feeds, pool_cases, refuse_wrong
from depool.bench.results import NATIVE, PoolTimes, Row, WholeTimes, rows
from depool.bench.sessions import Bound
from depool.bench.timing import interleaved
from depool.errors import NotEqual
from depool.onnx import files
from depool.progress import Progress
from depool.verification.compare import difference
from depool.verification.models import Feeds, Ranges, declared_dims
from depool.verification.oracle import CannotRunError
from depool.verification.regions import RegionError


@dataclass(frozen=True)
class Measure:
    """How to time.

    Attributes:
        seconds: for each pool, and for the model, at each number of threads.
        threads: the numbers of threads.
        seed: of the inputs.
    """

    seconds: float
    threads: tuple[int, ...]
    seed: int


def timed(
    original: files.Source,
    candidates: list[Converted],
    shapes: Mapping[str, tuple[int, ...]],
    ranges: Ranges,
    measure: Measure,
    progress: Progress,
) -> tuple[tuple[PoolTimes, ...], WholeTimes]:
    """Every converted pool, and the whole model.

    Args:
        original: the model before.
        candidates: the models after.
        shapes: of the inputs, where the user gave them.
        ranges: of the inputs, where the user gave them.
        measure: how.
        progress: is told how far it is.

    Raises:
        NotEqual: where a pool breaks its promise.
    """
    feeds = model_feeds(original.model, shapes, ranges, measure.seed)
    pools: list[PoolTimes] = []
    progress("timing pools", 0, 0)
    try:
        for case in pool_cases(original, candidates, feeds, measure.seed):
            pools.append(_pool(case, candidates, measure))
            progress("timing pools", len(pools), 0)
    except RegionError as error:
        raise NotEqual(f"not timed: {error}") from error
    progress("timing the model", 0, 0)
    return tuple(pools), _whole(original, candidates, feeds, shapes, measure)


def _pool(case: PoolCase, candidates: list[Converted], measure: Measure) -> PoolTimes:
    found: list[Row] = []
    untimed = ""
    try:
        for threads in measure.threads:
            bound = {name: Bound(model, case.feeds, threads) for name, model in case.models.items()}
            refuse_wrong(case, {name: next(iter(one.outputs.values())) for name, one in bound.items()}, candidates)
            found += rows(interleaved(bound, measure.seconds), threads)
    except CannotRunError as error:
        untimed = str(error)
    record = case.record
    batch, _, *sizes = case.feeds[record.source].shape
    return PoolTimes(
        case.where, record.op_type, record.spec, record.channels, record.dtype, record.facts, batch, tuple(sizes),
        case.nominal, case.how, tuple(found), untimed,
    )  # fmt: skip


def _whole(
    original: files.Source,
    candidates: list[Converted],
    feeds: Feeds,
    shapes: Mapping[str, tuple[int, ...]],
    measure: Measure,
) -> WholeTimes:
    models = {NATIVE: original} | {one.name: one.source for one in candidates}
    open_sizes = tuple(
        value.name
        for value in original.model.graph.input
        if value.name in feeds
        and value.name not in shapes
        and not all(isinstance(d, int) for d in declared_dims(value)[1:])
    )
    found: list[Row] = []
    differences: dict[str, float] = {}
    untimed = ""
    try:
        for threads in measure.threads:
            bound = {name: Bound(model, feeds, threads) for name, model in models.items()}
            for one in candidates:
                apart = _apart(bound[NATIVE], bound[one.name], one.name)
                differences[one.name] = max(differences.get(one.name, 0.0), apart)
            found += rows(interleaved(bound, measure.seconds), threads)
    except CannotRunError as error:
        untimed = f"{error}" + ("; give --shape" if open_sizes else "")
    inputs = {name: array.shape for name, array in feeds.items()}
    return WholeTimes(inputs, open_sizes, differences, tuple(found), untimed)


def _apart(native: Bound, other: Bound, name: str) -> float:
    """The smallest t with |a - b| <= t + t |b| over all outputs.

    Raises:
        NotEqual: where a shape differs.
    """
    worst = 0.0
    for output, expected in native.outputs.items():
        if not isinstance(expected, np.ndarray) or expected.dtype.kind in "OUS":
            continue
        got = other.outputs[output]
        if got.shape != expected.shape:
            raise NotEqual(f"not timed: {name}: output {output!r} is {list(got.shape)}, not {list(expected.shape)}")
        worst = max(worst, difference(expected, got).tolerance)
    return worst
