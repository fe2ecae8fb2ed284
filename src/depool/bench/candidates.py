"""What is timed: each pool and what stands in its place cut out of the models, and the whole models."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf

import numpy as np
import onnx

from depool.bench.results import NATIVE, How
from depool.cost import nominal
from depool.errors import NotEqual
from depool.geometry import Size
from depool.onnx import files
from depool.onnx.graph import Scope, scopes
from depool.onnx.prepare import prepared
from depool.onnx.shapes import Types, ValueType, infer
from depool.program import Array
from depool.record import Record
from depool.verification.inputs import MODEL_KINDS, dims_of, pool_input
from depool.verification.models import Feeds, Ranges, declared_dims, drawn_input, fed
from depool.verification.pools import Side, cut, original_side, promise

SPATIAL = (224, 224)
"""What dynamic sizes of a model's input are timed at where the user names none."""


@dataclass(frozen=True, eq=False)
class Converted:
    """A converted model among the candidates.

    Attributes:
        name: of the candidate.
        source: the model.
        records: its pools, by the original's scope path and output.
    """

    name: str
    source: files.Source
    records: Mapping[tuple[str, str], Record]

    @classmethod
    def of(cls, name: str, source: files.Source, records: Iterable[Record]) -> Converted:
        """With these of its records."""
        return cls(name, source, {_key(record): record for record in records})


@dataclass(frozen=True, eq=False)
class PoolCase:
    """One pool, or several that are alike.

    Attributes:
        record: of the first candidate that converts it.
        scope: where it stands in the original.
        where: the names of all that are alike.
        feeds: the input, [batch, channels, *sizes].
        nominal: whether the model leaves the spatial sizes open.
        models: by candidate, the native pool first.
        how: by candidate, how it was converted.
    """

    record: Record
    scope: Scope
    where: tuple[str, ...]
    feeds: Feeds
    nominal: bool
    models: Mapping[str, onnx.ModelProto]
    how: Mapping[str, How]


def model_feeds(model: onnx.ModelProto, shapes: Mapping[str, tuple[int, ...]], ranges: Ranges, seed: int) -> Feeds:
    """Signed normal numbers for each input; dynamic sizes as given, else 1 for the batch and `SPATIAL`."""
    rng = np.random.default_rng(seed)
    inputs = [value for value in model.graph.input if value.name in fed(model)]
    return {
        v.name: drawn_input(
            v, MODEL_KINDS[0], shapes.get(v.name) or dims_of(declared_dims(v), SPATIAL, batch=1), ranges, rng
        )
        for v in inputs
    }


def pool_cases(original: files.Source, converted: list[Converted], feeds: Feeds, seed: int) -> Iterator[PoolCase]:
    """Every pool that some candidate converts; pools that are alike once.

    Raises:
        RegionError: where the models do not hold a pool in one piece.
    """
    before = _scopes(original)
    after = {one.name: _scopes(one.source) for one in converted}
    types = _types(original.model, feeds)
    groups: dict[object, list[Record]] = {}
    for key in dict.fromkeys(key for one in converted for key in one.records):
        made = [one.records.get(key) for one in converted]
        record = next(filter(None, made))
        alike = (_dims(types, record), len(record.inner), *(other and _nameless(other) for other in made))
        groups.setdefault(alike, []).append(record)
    for records in groups.values():
        record = records[0]
        own = {one.name: one.records[_key(record)] for one in converted if _key(record) in one.records}
        batch, sizes = _filled(_dims(types, record), record)
        x = pool_input(record, batch, sizes, np.random.default_rng(seed))
        models = {NATIVE: cut(record, before[record.scope], record.dtype)}
        models |= {name: cut(one, after[name][one.scope], one.dtype) for name, one in own.items()}
        yield PoolCase(
            record,
            before[record.scope],
            tuple(one.where for one in records),
            {record.source: x},
            None in record.sizes,
            models,
            {name: How(one.scheme, one.form, one.layout, one.gate) for name, one in own.items()},
        )


def refuse_wrong(case: PoolCase, outputs: Mapping[str, Array], converted: list[Converted]) -> None:
    """Only what is right is timed: each candidate's output against the native pool's, and its promise.

    Args:
        case: the pool; the native one is run with the runtime's optimisations off, which are not always right.
        outputs: what was computed from the case's input, by candidate.
        converted: the candidates' models.

    Raises:
        NotEqual: where a promise is broken.
    """
    record = case.record
    oracle: Side = original_side(record, case.scope)
    x = case.feeds[record.source]
    expected = oracle(x)
    size = oracle(x if x.dtype.kind in "iu" else np.abs(x)).astype(np.float64)
    for one in converted:
        if one.name not in outputs:
            continue
        own, got = one.records[_key(record)], outputs[one.name]
        if got.shape != expected.shape:
            raise NotEqual(
                f"{case.where[0]}: not timed: {one.name} gives {list(got.shape)}, not {list(expected.shape)}"
            )
        apart = np.abs(got.astype(np.float64) - expected.astype(np.float64))
        wrong = ~(apart <= own.rounding_bound(size, expected.dtype))
        if wrong.any():
            raise NotEqual(
                f"{case.where[0]}: not timed: {one.name} is {np.nan_to_num(apart[wrong], nan=inf).max():.3g} off the "
                f"native pool, which breaks its promise ({promise(own)})"
            )


def _scopes(source: files.Source) -> dict[str, Scope]:
    return {scope.path: scope for scope in scopes(source.model, source.folder)}


def _key(record: Record) -> tuple[str, str]:
    return record.scope, record.output


def _nameless(record: Record) -> Record:
    """Without names, which reasons quote as well."""
    facts = replace(record.facts, reason="")
    return replace(record, where="", scope="", source="", output="", inner=(), facts=facts, reason="")


def _types(model: onnx.ModelProto, feeds: Feeds) -> dict[str, Types]:
    """With every input's shape as it is fed."""
    return infer(prepared(model, tuple((name, array.shape) for name, array in feeds.items()), None))


def _dims(types: Mapping[str, Types], record: Record) -> tuple[Size, ...] | None:
    return types.get(record.scope, {}).get(record.source, ValueType(0, None)).dims


def _filled(dims: tuple[Size, ...] | None, record: Record) -> tuple[int, tuple[int, ...]]:
    """Batch and spatial sizes, assumed where they are not known."""
    window = record.spec
    extent = tuple((k - 1) * d + 1 for k, d in zip(window.kernel_shape, window.dilations, strict=True))
    batch, sizes = (None, record.sizes) if dims is None else (dims[0], dims[2:])
    return batch or 1, nominal(sizes, extent)
